/* Packets the model's driver sends, and what must leave for them. */
#include "e1000_model.h"
#include "tcp_frame.h"

#include <string.h>

enum { HEADER = 54 };

static uint32_t tx_room(struct model *m)
{
    return (model_tx_head(m) + DRIVER_RING - m->d->tx_tail - 1) % DRIVER_RING;
}

static void slot_queue(struct model *m, uint32_t index, uint64_t buffer, uint32_t bytes,
                       bool report)
{
    m->tx[index] =
        (struct tx_slot){.owned = true, .report = report, .buffer = buffer, .bytes = bytes};
    m->d->ram[DRIVER_TX_RING + index * 16 + DESC_STATUS_AT] = 0;
}

static uint64_t slot_buffer(uint32_t index)
{
    return DRIVER_TX_BUFFERS + (uint64_t)index * DRIVER_BUFFER_BYTES;
}

/* A packet of a few pieces, some of them empty, reported here and there. */
void model_send_plain(struct model *m, const struct step *step, bool advanced)
{
    const uint32_t pieces = 1 + step->a % 5;
    const uint32_t total = 14 + step->b % 1500;
    uint8_t packet[1522];
    uint32_t at = 0;

    if (tx_room(m) < pieces)
        return;
    for (uint32_t i = 0; i < total; i++)
        packet[i] = (uint8_t)model_random(m, 256);
    if (m->link)
        model_expect(m, &m->out, packet, total);
    for (uint32_t i = 0; i < pieces; i++) {
        const bool last = i + 1 == pieces;
        const uint32_t part = last ? total - at : model_random(m, total - at + 1);
        const uint8_t cmd =
            (uint8_t)((last ? TXD_CMD_EOP : 0) | (model_random(m, 2) != 0 ? TXD_CMD_RS : 0) |
                      (model_random(m, 4) == 0 ? TXD_CMD_IDE : 0));
        const uint32_t index = m->d->tx_tail;

        memcpy(m->d->ram + slot_buffer(index), packet + at, part);
        if (advanced)
            driver_queue_data(m->d, slot_buffer(index), part, cmd, 0, 0);
        else
            driver_queue_legacy(m->d, slot_buffer(index), part, 0, cmd, 0, 0);
        slot_queue(m, index, slot_buffer(index), part, (cmd & TXD_CMD_RS) != 0);
        at += part;
        if (model_random(m, 6) == 0)
            model_poll(m, 1 + model_random(m, 4));
    }
}

/* What §7.4 says of one segment, written down a second time. */
static void expect_segment(struct model *m, const uint8_t *packet, uint32_t sent, uint32_t part,
                           uint32_t index, bool last)
{
    uint8_t frame[HEADER + 1460];

    memcpy(frame, packet, HEADER);
    memcpy(frame + HEADER, packet + HEADER + sent, part);
    be16_put(frame + 16, (uint16_t)(HEADER - 14 + part));
    be16_put(frame + 18, (uint16_t)(be16_get(packet + 18) + index));
    be32_put(frame + 38, be32_get(packet + 38) + sent);
    if (!last)
        frame[47] &= 0xf6;
    model_expect(m, &m->out, frame, HEADER + part);
}

void model_send_segments(struct model *m, const struct step *step)
{
    const uint32_t payload = 1 + step->a % 12000;
    const uint32_t mss = 100 + step->b % 1361;
    const struct driver_context context = {
        .ipcss = 14,
        .ipcso = 24,
        .ipcse = 33,
        .tucss = 34,
        .tucso = 50,
        .paylen = payload,
        .tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP | TXD_CMD_TSE,
        .hdrlen = HEADER,
        .mss = (uint16_t)mss,
    };
    uint8_t packet[HEADER + 12000];
    uint32_t at = 0;

    if (tx_room(m) < 4)
        return;
    for (uint32_t i = 0; i < HEADER + payload; i++)
        packet[i] = (uint8_t)model_random(m, 256);
    for (uint32_t sent = 0, index = 0; m->link && sent < payload; sent += mss, index++) {
        const uint32_t part = payload - sent < mss ? payload - sent : mss;

        expect_segment(m, packet, sent, part, index, sent + part == payload);
    }
    const uint32_t first = driver_queue_context(m->d, &context);
    slot_queue(m, first, 0, 0, false);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t rest = HEADER + payload - at;
        const uint32_t part = i == 2 ? rest : model_random(m, rest + 1);
        const uint32_t index = m->d->tx_tail;
        const bool report = model_random(m, 2) != 0;

        memcpy(m->d->ram + slot_buffer(index), packet + at, part);
        driver_queue_data(
            m->d, slot_buffer(index), part,
            (uint8_t)(TXD_CMD_TSE | (i == 2 ? TXD_CMD_EOP : 0) | (report ? TXD_CMD_RS : 0)), 0, 0);
        slot_queue(m, index, slot_buffer(index), part, report);
        at += part;
        if (model_random(m, 6) == 0)
            model_poll(m, 1 + model_random(m, 4));
    }
}

/* A packet of which a host that takes super-frames gets all, any other one the segments. */
void model_send_tcp(struct model *m, const struct step *step)
{
    const uint32_t payload = 1 + step->a % 12000;
    const uint32_t mss = 100 + step->b % 1361;
    const struct driver_context context = {
        .ipcss = ETH_HEADER_BYTES,
        .ipcso = ETH_HEADER_BYTES + IPV4_CHECKSUM_AT,
        .ipcse = TCP_FRAME_L4_AT - 1,
        .tucss = TCP_FRAME_L4_AT,
        .tucso = TCP_FRAME_L4_AT + TCP_CHECKSUM_AT,
        .paylen = payload,
        .tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP | TXD_CMD_TSE,
        .hdrlen = TCP_FRAME_HEADER_BYTES,
        .mss = (uint16_t)mss,
    };
    uint8_t packet[TCP_FRAME_HEADER_BYTES + 12000], frame[TCP_FRAME_HEADER_BYTES + 1460];
    const uint32_t bytes = tcp_frame(packet, payload);
    uint8_t *ip = packet + ETH_HEADER_BYTES;

    if (tx_room(m) < 2)
        return;
    for (uint32_t i = 0; i < 12; i++)
        packet[i] = (uint8_t)model_random(m, 256);
    for (uint32_t i = 0; m->link && !(m->d->super && payload > mss) && i * mss < payload; i++)
        model_expect(m, &m->out, frame, tcp_frame_segment(packet, bytes, mss, i, frame));
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(packet + context.tucso, /* the pseudo header without the length (§7.3) */
             checksum_fold(checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                IP_PROTOCOL_TCP, 0)));
    if (m->link && m->d->super && payload > mss)
        model_expect(m, &m->out, packet, bytes);
    slot_queue(m, driver_queue_context(m->d, &context), 0, 0, false);
    const uint32_t index = m->d->tx_tail;
    memcpy(m->d->ram + slot_buffer(index), packet, bytes);
    driver_queue_data(m->d, slot_buffer(index), bytes, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS,
                      TXD_POPTS_IXSM | TXD_POPTS_TXSM, 0);
    slot_queue(m, index, slot_buffer(index), bytes, true);
}
