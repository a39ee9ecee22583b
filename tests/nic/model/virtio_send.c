/* Packets the model's driver sends, and what must leave for them. */
#include "virtio_model.h"

#include <string.h>

enum { FLAT_MAX = HEADER_LONG_BYTES + 12100 };

/* §6.1, written down a second time. */
uint32_t vmodel_header_bytes(const struct vmodel *m, uint32_t first_bytes)
{
    const enum virtio_net_header header = m->d->config.header;

    if (m->legacy)
        return vmodel_has(m, F_MRG_RXBUF) ? HEADER_LONG_BYTES : HEADER_SHORT_BYTES;
    if (m->contract && (header == VIRTIO_NET_HEADER_10 ||
                        (header != VIRTIO_NET_HEADER_12 && first_bytes == HEADER_SHORT_BYTES)))
        return HEADER_SHORT_BYTES;
    return HEADER_LONG_BYTES;
}

/* The packet cut anywhere, empty pieces included; `first` bytes in the first one if not 0. */
static void add_pieces(struct vmodel *m, struct chain *chain, const uint8_t *packet, uint32_t bytes,
                       uint32_t first, uint32_t pieces)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t part = i + 1 == pieces ? bytes - at : vmodel_random(m, bytes - at + 1);

        if (i == 0 && first != 0)
            part = first;
        else if (i == 0 && part == HEADER_SHORT_BYTES)
            part++;
        memcpy(chain_add(m, chain, part, false), packet + at, part);
        at += part;
    }
}

/* What nobody negotiated is not looked at (§6.2.4). */
static void junk_header(struct vmodel *m, uint8_t *header)
{
    for (uint32_t i = 0; i < HEADER_LONG_BYTES; i++)
        header[i] = (uint8_t)vmodel_random(m, 256);
    if (vmodel_has(m, F_CSUM)) {
        header[0] &= (uint8_t)~HEADER_NEEDS_CSUM;
        header[1] = HEADER_GSO_NONE;
    }
}

/* §6.5 NEEDS_CSUM: the frame as it leaves. */
static void complete(struct vmodel *m, uint8_t *header, uint8_t *frame, uint32_t bytes)
{
    const uint32_t start = vmodel_random(m, bytes - 1);
    const uint32_t offset = vmodel_random(m, bytes - 1 - start);
    const uint16_t sum = checksum_finish(checksum_add(0, frame + start, bytes - start));

    header[0] = HEADER_NEEDS_CSUM;
    le16_put(header + 6, (uint16_t)start);
    le16_put(header + 8, (uint16_t)offset);
    be16_put(frame + start + offset, sum != 0 ? sum : 0xffff);
}

/* With the gso size in front, 0 for an ordinary frame. */
static uint32_t out_record(uint8_t *record, uint32_t gso_bytes, const uint8_t *frame,
                           uint32_t bytes)
{
    le16_put(record, (uint16_t)gso_bytes);
    memcpy(record + 2, frame, bytes);
    return 2 + bytes;
}

static void expect_out(struct vmodel *m, uint32_t gso_bytes, const uint8_t *frame, uint32_t bytes)
{
    uint8_t record[2 + FLAT_MAX];

    vmodel_expect(m, &m->out, record, out_record(record, gso_bytes, frame, bytes));
}

static void post(struct vmodel *m, struct chain *chain)
{
    chain_post(m, QUEUE_TX, chain);
    if (vmodel_random(m, 3) != 0)
        ring_kick(m, QUEUE_TX);
}

void vmodel_send(struct vmodel *m, const struct step *step)
{
    const uint32_t pieces = 1 + step->b % 5;
    const bool jumbo = !m->contract && m->d->config.mtu > 1500 && step->b % 7 == 0;
    const uint32_t bytes = 14 + step->a % (jumbo ? 9000 : 1501);
    uint8_t packet[FLAT_MAX];
    struct chain *chain = chain_begin(m, QUEUE_TX, pieces);

    if (chain == NULL)
        return;
    const bool alone = pieces > 1 && vmodel_random(m, 2) != 0;
    const uint32_t header_bytes = vmodel_header_bytes(m, alone ? HEADER_SHORT_BYTES : 0);
    uint8_t frame[FLAT_MAX];
    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = (uint8_t)vmodel_random(m, 256);
    junk_header(m, packet);
    memcpy(packet + header_bytes, frame, bytes);
    if (vmodel_has(m, F_CSUM) && vmodel_random(m, 2) != 0)
        complete(m, packet, frame, bytes);
    add_pieces(m, chain, packet, header_bytes + bytes, alone ? header_bytes : 0, pieces);
    if (m->link)
        expect_out(m, 0, frame, bytes);
    post(m, chain);
}

void vmodel_send_segments(struct vmodel *m, const struct step *step)
{
    const uint32_t payload = 1 + step->a % 12000;
    const uint32_t mss = 100 + step->b % 1361;
    const uint32_t pieces = 1 + step->b % 6;
    uint8_t packet[FLAT_MAX] = {HEADER_NEEDS_CSUM,
                                HEADER_GSO_TCPV4,
                                TCP_FRAME_HEADER_BYTES,
                                0,
                                (uint8_t)mss,
                                (uint8_t)(mss >> 8),
                                34,
                                0,
                                16};
    uint8_t frame[FLAT_MAX];

    if (!vmodel_has(m, F_CSUM) || !vmodel_has(m, F_HOST_TSO4)) {
        vmodel_send(m, step);
        return;
    }
    struct chain *chain = chain_begin(m, QUEUE_TX, pieces);
    if (chain == NULL)
        return;
    const uint32_t header_bytes = vmodel_header_bytes(m, 0);
    const uint32_t bytes = tcp_frame(packet + header_bytes, payload);
    for (uint32_t i = 0; i < 12; i++)
        packet[header_bytes + i] = (uint8_t)vmodel_random(m, 256);
    if (m->link && m->d->super && payload > mss) /* uncut, if there is anything to cut */
        expect_out(m, mss, packet + header_bytes, bytes);
    for (uint32_t i = 0; m->link && (!m->d->super || payload <= mss) && i * mss < payload; i++)
        expect_out(m, 0, frame, tcp_frame_segment(packet + header_bytes, bytes, mss, i, frame));
    add_pieces(m, chain, packet, header_bytes + bytes, 0, pieces);
    post(m, chain);
}

/* Every frame leaves once, in order. */
void vmodel_compare_out(struct vmodel *m)
{
    for (uint32_t i = 0; i < m->d->frames && m->wrong == NULL && !m->hostile; i++) {
        const struct vdriver_frame *frame = &m->d->frame[i];
        uint8_t have[2 + FLAT_MAX];

        if (frame->bytes > FLAT_MAX) {
            vmodel_wrong(m, "a frame longer than any that was sent");
            break;
        }
        const uint32_t bytes = out_record(have, frame->gso_bytes, frame->data, frame->bytes);
        if (m->out.count == 0) {
            vmodel_wrong(m, "a frame nobody sent");
            break;
        }
        if (!expected_is(expected_at(&m->out, 0), have, bytes))
            vmodel_wrong(m, "a frame is not the next one that was sent");
        m->must.tx_frames++;
        m->counts->frames_out++;
        expected_pop(&m->out);
    }
    vdriver_frames_clear(m->d);
}

/* A full sink stays full for the rest of a poll, so that the contract, which never waits for it
 * (§6.2.6), drops just the frames behind the last one that left. */
void vmodel_sink_full(struct vmodel *m, uint64_t times)
{
    for (; m->contract && times > 0 && m->wrong == NULL; times--) {
        if (m->out.count == 0) {
            vmodel_wrong(m, "more frames were dropped for a full sink than were sent");
            return;
        }
        m->must.tx_dropped++;
        expected_pop(&m->out);
    }
}

void vmodel_reap_tx(struct vmodel *m)
{
    struct chain chain;
    uint32_t bytes;

    while (ring_used(m, QUEUE_TX, &chain, &bytes)) {
        if (bytes != 0)
            vmodel_wrong(m, "a used length on transmit");
        m->must.bad_chains += chain.kind == CHAIN_BAD;
        m->must.tx_dropped += chain.kind == CHAIN_DROP;
        m->counts->defects += chain.kind != CHAIN_GOOD;
    }
}
