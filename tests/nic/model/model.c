#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

enum {
    RING = DRIVER_RING,
    EXPECT_MAX = 2048,
    BUFFER = 2048,
    HEADER = 54,
};

const char *const operation_names[OP_COUNT] = {
    "SEND_LEGACY", "SEND_DATA", "SEND_SEGMENTS", "POLL",    "RECEIVE",  "OFFER",
    "REFILL",      "SINK",      "TIME",          "MASK",    "READ_ICR", "MODERATION",
    "LINK",        "RESET",     "SNAPSHOT",      "HOSTILE", "CHECK",
};

struct expected {
    uint8_t *bytes;
    uint32_t length;
};

/* Frames in the order they must arrive. */
struct expected_queue {
    uint32_t head, count;
    struct expected frame[EXPECT_MAX];
};

struct tx_slot {
    bool owned, report;
    uint32_t reports; /* DD writes seen */
    uint64_t buffer;
    uint32_t bytes;
};

struct model {
    struct driver *d;
    const char *wrong;
    uint32_t seed;
    bool hostile; /* anything goes until the next reset */
    bool link;
    uint32_t rx_buffer_bytes;
    uint32_t rx_next, rx_free_from; /* guest's own indices */
    struct tx_slot tx[RING];
    bool rx_owned[RING];
    struct expected_queue out, in;
    bool rx_event, tx_event;                             /* since ICR was read */
    uint64_t tx_frames, tx_octets, rx_frames, rx_octets; /* since the counters were read */
};

static void wrong(struct model *m, const char *what)
{
    if (m->wrong == NULL)
        m->wrong = what;
}

static uint32_t random_below(struct model *m, uint32_t bound)
{
    m->seed = m->seed * 1664525 + 1013904223;
    return (m->seed >> 8) % bound;
}

static void expect(struct model *m, struct expected_queue *queue, const uint8_t *bytes,
                   uint32_t length)
{
    struct expected *frame = &queue->frame[(queue->head + queue->count) % EXPECT_MAX];

    if (queue->count == EXPECT_MAX) {
        wrong(m, "the script queues more than the model holds");
        return;
    }
    frame->bytes = malloc(length);
    memcpy(frame->bytes, bytes, length);
    frame->length = length;
    queue->count++;
}

static void expected_pop(struct expected_queue *queue)
{
    free(queue->frame[queue->head].bytes);
    queue->head = (queue->head + 1) % EXPECT_MAX;
    queue->count--;
}

static void expected_clear(struct expected_queue *queue)
{
    while (queue->count > 0)
        expected_pop(queue);
}

static bool inside(uint64_t gpa, uint32_t bytes, uint64_t from, uint64_t length)
{
    return gpa >= from && gpa - from <= length && bytes <= length - (gpa - from);
}

static void watch_write(struct model *m, uint64_t gpa, uint32_t bytes)
{
    if (inside(gpa, bytes, DRIVER_TX_RING, RING * 16)) {
        struct tx_slot *slot = &m->tx[(gpa - DRIVER_TX_RING) / 16];

        if (gpa % 16 != DESC_STATUS_AT || bytes != 1 || !slot->owned || !slot->report)
            wrong(m, "a write to the transmit ring that is no due status byte");
        if (++slot->reports > 1)
            wrong(m, "a descriptor was reported twice");
        m->tx_event = true;
        return;
    }
    if (inside(gpa, bytes, DRIVER_RX_RING, RING * 16)) {
        if (gpa % 16 < RXD_LENGTH_AT || !m->rx_owned[(gpa - DRIVER_RX_RING) / 16])
            wrong(m, "a write to a receive descriptor the card does not own");
        return;
    }
    const uint64_t slot = (gpa - DRIVER_RX_BUFFERS) / DRIVER_BUFFER_BYTES;
    if (gpa < DRIVER_RX_BUFFERS || slot >= RING || !m->rx_owned[slot] ||
        !inside(gpa, bytes, DRIVER_RX_BUFFERS + slot * DRIVER_BUFFER_BYTES, m->rx_buffer_bytes))
        wrong(m, "a write outside the buffers the card was given");
}

static void watch_read(struct model *m, uint64_t gpa, uint32_t bytes)
{
    if (inside(gpa, bytes, DRIVER_TX_RING, RING * 16) ||
        inside(gpa, bytes, DRIVER_RX_RING, RING * 16))
        return;
    for (uint32_t i = 0; i < RING; i++) {
        if (m->tx[i].owned && inside(gpa, bytes, m->tx[i].buffer, m->tx[i].bytes))
            return;
    }
    wrong(m, "a read outside the rings and the buffers of queued descriptors");
}

static void watch(struct driver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    struct model *m = d->model;

    if (m->hostile)
        return;
    if (write)
        watch_write(m, gpa, bytes);
    else
        watch_read(m, gpa, bytes);
}

static void start(struct model *m)
{
    static const uint32_t bsize[] = {2048, 1024, 512, 256};
    const uint32_t size = random_below(m, 4);

    driver_start(m->d);
    driver_put(m->d, E1000_RCTL,
               RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | size << RCTL_BSIZE_SHIFT);
    m->rx_buffer_bytes = bsize[size];
    m->rx_next = 0;
    memset(m->tx, 0, sizeof m->tx);
    memset(m->rx_owned, 0, sizeof m->rx_owned);
    m->tx_frames = m->tx_octets = m->rx_frames = m->rx_octets = 0;
    m->rx_event = m->tx_event = false;
    m->hostile = false;
}

static uint32_t tx_head(struct model *m)
{
    const uint32_t head = driver_get(m->d, E1000_TDH);

    if (head >= RING)
        wrong(m, "TDH left the ring");
    return head % RING;
}

static uint32_t tx_room(struct model *m)
{
    return (tx_head(m) + RING - m->d->tx_tail - 1) % RING;
}

/* What the sink took must be what was sent, whole and in order. */
static void compare_out(struct model *m)
{
    for (uint32_t i = 0; i < m->d->frames; i++) {
        const struct driver_frame *have = &m->d->frame[i];
        const struct expected *want = &m->out.frame[m->out.head];

        if (m->out.count == 0) {
            wrong(m, "a frame nobody sent");
            break;
        }
        if (have->bytes != want->length || memcmp(have->data, want->bytes, want->length) != 0)
            wrong(m, "a frame is not the next one that was sent");
        m->tx_frames++;
        m->tx_octets += (have->bytes < 60 ? 60 : have->bytes) + 4;
        expected_pop(&m->out);
    }
    driver_frames_clear(m->d);
}

/* The guest takes what has DD, frame by frame. */
static void compare_in(struct model *m)
{
    uint8_t frame[4096];
    uint32_t bytes = 0;

    while (m->rx_owned[m->rx_next]) {
        const struct driver_rx rx = driver_rx(m->d, m->rx_next);
        const struct expected *want = &m->in.frame[m->in.head];

        if ((rx.status & RXD_STATUS_DD) == 0)
            break;
        if (bytes + rx.length > sizeof frame || rx.length > m->rx_buffer_bytes) {
            wrong(m, "a received length is longer than its buffer");
            return;
        }
        memcpy(frame + bytes, m->d->ram + rx.buffer, rx.length);
        bytes += rx.length;
        m->rx_owned[m->rx_next] = false;
        m->rx_next = (m->rx_next + 1) % RING;
        if ((rx.status & RXD_STATUS_EOP) == 0)
            continue;
        if (m->in.count == 0) {
            wrong(m, "the guest got a frame nobody offered");
            return;
        }
        const uint32_t padded = want->length < 60 ? 60 : want->length;
        if (bytes != padded + 4 || memcmp(frame, want->bytes, want->length) != 0)
            wrong(m, "the guest got another frame than the next one offered");
        m->rx_frames++;
        m->rx_octets += padded + 4;
        m->rx_event = true;
        expected_pop(&m->in);
        bytes = 0;
    }
    if (bytes > 0)
        wrong(m, "a frame without its last descriptor");
}

/* Descriptors behind TDH are the guest's again: each with RS must have been reported once. */
static void reclaim(struct model *m, uint32_t from)
{
    const uint32_t head = tx_head(m);

    for (uint32_t i = from; i != head; i = (i + 1) % RING) {
        if (m->tx[i].owned && m->tx[i].reports != (m->tx[i].report ? 1 : 0))
            wrong(m, "a consumed descriptor with RS was not reported");
        m->tx[i].owned = false;
    }
}

static void invariants(struct model *m)
{
    struct driver *d = m->d;

    if (d->irq != ((driver_get(d, E1000_ICS) & driver_get(d, E1000_IMS)) != 0))
        wrong(m, "the line is not ICR & IMS");
    if (e1000_irq_level(d->nic) != d->irq)
        wrong(m, "the host was not told of the line's level");
    if (!m->hostile && driver_get(d, E1000_RDH) >= RING)
        wrong(m, "RDH left the ring");
}

static void poll(struct model *m, uint32_t budget)
{
    const uint32_t from = tx_head(m);

    if (e1000_poll(m->d->nic, budget) > budget)
        wrong(m, "a poll exceeded its budget");
    reclaim(m, from);
    compare_out(m);
    compare_in(m);
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
static void send_plain(struct model *m, const struct step *step, bool advanced)
{
    const uint32_t pieces = 1 + step->a % 5;
    const uint32_t total = 14 + step->b % 1500;
    uint8_t packet[1522];
    uint32_t at = 0;

    if (tx_room(m) < pieces)
        return;
    for (uint32_t i = 0; i < total; i++)
        packet[i] = (uint8_t)random_below(m, 256);
    if (m->link)
        expect(m, &m->out, packet, total);
    for (uint32_t i = 0; i < pieces; i++) {
        const bool last = i + 1 == pieces;
        const uint32_t part = last ? total - at : random_below(m, total - at + 1);
        const uint8_t cmd =
            (uint8_t)((last ? TXD_CMD_EOP : 0) | (random_below(m, 2) != 0 ? TXD_CMD_RS : 0) |
                      (random_below(m, 4) == 0 ? TXD_CMD_IDE : 0));
        const uint32_t index = m->d->tx_tail;

        memcpy(m->d->ram + slot_buffer(index), packet + at, part);
        if (advanced)
            driver_queue_data(m->d, slot_buffer(index), part, cmd, 0, 0);
        else
            driver_queue_legacy(m->d, slot_buffer(index), part, 0, cmd, 0, 0);
        slot_queue(m, index, slot_buffer(index), part, (cmd & TXD_CMD_RS) != 0);
        at += part;
        if (random_below(m, 6) == 0)
            poll(m, 1 + random_below(m, 4));
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
    expect(m, &m->out, frame, HEADER + part);
}

static void send_segments(struct model *m, const struct step *step)
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
        packet[i] = (uint8_t)random_below(m, 256);
    for (uint32_t sent = 0, index = 0; m->link && sent < payload; sent += mss, index++) {
        const uint32_t part = payload - sent < mss ? payload - sent : mss;

        expect_segment(m, packet, sent, part, index, sent + part == payload);
    }
    const uint32_t first = driver_queue_context(m->d, &context);
    slot_queue(m, first, 0, 0, false);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t rest = HEADER + payload - at;
        const uint32_t part = i == 2 ? rest : random_below(m, rest + 1);
        const uint32_t index = m->d->tx_tail;
        const bool report = random_below(m, 2) != 0;

        memcpy(m->d->ram + slot_buffer(index), packet + at, part);
        driver_queue_data(
            m->d, slot_buffer(index), part,
            (uint8_t)(TXD_CMD_TSE | (i == 2 ? TXD_CMD_EOP : 0) | (report ? TXD_CMD_RS : 0)), 0, 0);
        slot_queue(m, index, slot_buffer(index), part, report);
        at += part;
        if (random_below(m, 6) == 0)
            poll(m, 1 + random_below(m, 4));
    }
}

static void receive(struct model *m, const struct step *step, bool offered)
{
    uint8_t frame[1522];
    const uint32_t bytes = 14 + step->a % 1509;

    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = (uint8_t)random_below(m, 256);
    const int result =
        offered ? e1000_rx_offer(m->d->nic, frame, bytes) : e1000_receive(m->d->nic, frame, bytes);
    if (result == 0 && !m->link)
        wrong(m, "a frame came in without a link");
    if (result == 0)
        expect(m, &m->in, frame, bytes);
    compare_in(m);
}

static void refill(struct model *m, const struct step *step)
{
    uint32_t count = 1 + step->a % 16;

    while (count-- > 0 && !m->rx_owned[m->d->rx_tail] && (m->d->rx_tail + 1) % RING != m->rx_next) {
        m->rx_owned[m->d->rx_tail] = true;
        driver_rx_refill(m->d, 1);
    }
}

/* Lets everything under way come to its end. */
static void drain(struct model *m)
{
    const struct step more = {OP_REFILL, 15, 0};

    m->d->sink_room = UINT32_MAX;
    for (uint32_t i = 0; i < 200 && m->wrong == NULL; i++) {
        refill(m, &more);
        refill(m, &more);
        poll(m, 64);
    }
    if (m->out.count != 0)
        wrong(m, "a frame that was sent never left");
    if (m->in.count != 0)
        wrong(m, "a frame that was accepted never reached the guest");
}

static uint64_t counter(struct model *m, uint32_t low)
{
    const uint64_t value = driver_get(m->d, low);

    return (uint64_t)driver_get(m->d, low + 4) << 32 | value;
}

/* At rest: interrupts delivered, counters equal to what was seen on the wire. */
static void check_rest(struct model *m)
{
    drain(m);
    m->d->now_ns += 1000000000;
    poll(m, 1);
    poll(m, 1);
    const uint32_t causes = driver_get(m->d, E1000_ICS);
    if ((m->rx_event && (causes & IRQ_RXT0) == 0) || (m->tx_event && (causes & IRQ_TXDW) == 0))
        wrong(m, "an interrupt was lost");
    driver_get(m->d, E1000_ICR);
    m->rx_event = m->tx_event = false;
    if (driver_get(m->d, E1000_GPTC) != m->tx_frames || counter(m, E1000_GOTCL) != m->tx_octets)
        wrong(m, "transmit counters are not what was on the wire");
    if (driver_get(m->d, E1000_GPRC) != m->rx_frames || counter(m, E1000_GORCL) != m->rx_octets)
        wrong(m, "receive counters are not what the guest got");
    m->tx_frames = m->tx_octets = m->rx_frames = m->rx_octets = 0;
}

static void reset(struct model *m)
{
    driver_put(m->d, E1000_CTRL, CTRL_RST);
    start(m);
}

static void snapshot(struct model *m)
{
    const size_t bytes = e1000_save(m->d->nic, NULL, NULL, 0);
    uint8_t *blob = malloc(bytes);

    e1000_save(m->d->nic, NULL, blob, bytes);
    driver_power_on(m->d, &m->d->config);
    if (e1000_load(m->d->nic, blob, bytes) != 0)
        wrong(m, "the card refuses its own snapshot");
    free(blob);
}

/* Junk everywhere, then a reset: the card must work as before. */
static void hostile(struct model *m, const struct step *step)
{
    struct driver *d = m->d;

    drain(m);
    m->hostile = true;
    m->seed ^= step->a;
    for (uint32_t i = 0; i < 1 + step->b % 40; i++) {
        uint8_t junk[64];

        for (uint32_t at = 0; at < sizeof junk; at++)
            junk[at] = (uint8_t)random_below(m, 256);
        memcpy(d->ram + DRIVER_TX_RING + random_below(m, 900), junk, sizeof junk);
        memcpy(d->ram + DRIVER_RX_RING + random_below(m, 900), junk, sizeof junk);
        const uint32_t offset = random_below(m, 3) == 0 ? random_below(m, 0x6000)
                                                        : 0x2800u + 0x1000 * random_below(m, 2) +
                                                              4 * random_below(m, 16);
        e1000_mmio_write(d->nic, offset, 1u << random_below(m, 3), random_below(m, 1 << 24) * 257);
        (void)e1000_receive(d->nic, junk, 60);
        (void)e1000_rx_offer(d->nic, junk, 64);
        if (e1000_poll(d->nic, 64) > 64)
            wrong(m, "a poll exceeded its budget");
        invariants(m);
    }
    driver_frames_clear(d);
    driver_put(d, E1000_IMC, UINT32_MAX);
    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 0x8000);
    d->now_ns += 1000000000;
    e1000_poll(d->nic, 1);
    reset(m);
    m->link = e1000_link(d->nic);
}

static void run_step(struct model *m, const struct step *step)
{
    struct driver *d = m->d;

    switch (step->operation) {
    case OP_SEND_LEGACY:
    case OP_SEND_DATA:
        send_plain(m, step, step->operation == OP_SEND_DATA);
        break;
    case OP_SEND_SEGMENTS:
        send_segments(m, step);
        break;
    case OP_POLL:
        poll(m, 1 + step->a % 64);
        break;
    case OP_RECEIVE:
    case OP_OFFER:
        receive(m, step, step->operation == OP_OFFER);
        break;
    case OP_REFILL:
        refill(m, step);
        break;
    case OP_SINK:
        d->sink_room = step->a % 5;
        break;
    case OP_TIME:
        d->now_ns += step->a % 1000000;
        poll(m, 1);
        break;
    case OP_MASK:
        driver_put(d, E1000_IMC, step->a);
        driver_put(d, E1000_IMS, step->b & 0x3ff);
        break;
    case OP_READ_ICR:
        driver_get(d, E1000_ICR);
        m->rx_event = m->tx_event = false;
        break;
    case OP_MODERATION:
        driver_put(d, E1000_ITR, step->a % 400);
        driver_put(d, E1000_RDTR, step->a % 3 == 0 ? 0 : step->b % 64);
        driver_put(d, E1000_RADV, step->b % 100);
        driver_put(d, E1000_TIDV, step->b % 64);
        driver_put(d, E1000_TADV, step->a % 100);
        break;
    case OP_LINK:
        drain(m);
        m->link = !m->link;
        e1000_set_link(d->nic, m->link);
        break;
    case OP_RESET:
        check_rest(m);
        reset(m);
        break;
    case OP_SNAPSHOT:
        snapshot(m);
        break;
    case OP_HOSTILE:
        hostile(m, step);
        break;
    case OP_CHECK:
    case OP_COUNT:
        check_rest(m);
        break;
    }
}

const char *run_script(const struct step *steps, uint32_t count)
{
    void *state;
    struct model *m = calloc(1, sizeof *m);
    const struct e1000_config config = {.mac = {2, 0, 0, 0, 0, 1}};

    driver_setup(&state);
    m->d = state;
    m->d->model = m;
    m->d->watch = watch;
    m->link = true;
    m->seed = 12345;
    driver_power_on(m->d, &config);
    start(m);
    for (uint32_t i = 0; i < count && m->wrong == NULL; i++) {
        run_step(m, &steps[i]);
        invariants(m);
    }
    if (m->wrong == NULL)
        check_rest(m);
    const char *result = m->wrong;
    expected_clear(&m->out);
    expected_clear(&m->in);
    driver_teardown(&state);
    free(m);
    return result;
}
