/* The operations of a script, and running one. */
#include "e1000_model.h"
#include "tcp_frame.h"

#include <stdlib.h>
#include <string.h>

enum { TIMERS = 8 }; /* no more than these one after the other */

enum operation {
    OP_SEND_LEGACY,
    OP_SEND_DATA,
    OP_SEND_SEGMENTS,
    OP_SEND_TCP,
    OP_POLL,
    OP_RECEIVE,
    OP_OFFER,
    OP_OFFER_SUPER,
    OP_REFILL,
    OP_SINK,
    OP_TIME,
    OP_MASK,
    OP_READ_ICR,
    OP_MODERATION,
    OP_LINK,
    OP_RESET,
    OP_SNAPSHOT,
    OP_HOSTILE,
    OP_CHECK,
    OP_COUNT,
};

static const struct script_operation operations[OP_COUNT] = {
    [OP_SEND_LEGACY] = {"SEND_LEGACY", 10},
    [OP_SEND_DATA] = {"SEND_DATA", 10},
    [OP_SEND_SEGMENTS] = {"SEND_SEGMENTS", 6},
    [OP_SEND_TCP] = {"SEND_TCP", 6},
    [OP_POLL] = {"POLL", 14},
    [OP_RECEIVE] = {"RECEIVE", 12},
    [OP_OFFER] = {"OFFER", 12},
    [OP_OFFER_SUPER] = {"OFFER_SUPER", 4},
    [OP_REFILL] = {"REFILL", 12},
    [OP_SINK] = {"SINK", 5},
    [OP_TIME] = {"TIME", 5},
    [OP_MASK] = {"MASK", 4},
    [OP_READ_ICR] = {"READ_ICR", 5},
    [OP_MODERATION] = {"MODERATION", 2},
    [OP_LINK] = {"LINK", 1},
    [OP_RESET] = {"RESET", 1},
    [OP_SNAPSHOT] = {"SNAPSHOT", 2},
    [OP_HOSTILE] = {"HOSTILE", 1},
    [OP_CHECK] = {"CHECK", 2},
};

static void start(struct model *m)
{
    static const uint32_t bsize[] = {2048, 1024, 512, 256};
    const uint32_t size = model_random(m, 4);

    driver_start(m->d);
    m->d->map = model_random(m, 2) != 0;
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

static void receive(struct model *m, const struct step *step, bool offered)
{
    uint8_t frame[1522];
    const uint32_t bytes = 14 + step->a % 1509;

    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = (uint8_t)model_random(m, 256);
    const int result =
        offered ? e1000_rx_offer(m->d->nic, frame, bytes) : e1000_receive(m->d->nic, frame, bytes);
    if (result == 0 && !m->link)
        model_wrong(m, "a frame came in without a link");
    if (result == 0)
        model_expect(m, &m->in, frame, bytes);
    model_compare_in(m);
}

/* The guest gets it as frames; those without a buffer wait in the card. */
static void offer_super(struct model *m, const struct step *step)
{
    const uint32_t mss = 100 + step->b % 1361;
    uint8_t packet[TCP_FRAME_HEADER_BYTES + 9000], frame[TCP_FRAME_HEADER_BYTES + 1460];
    const uint32_t bytes = tcp_frame(packet, 1 + step->a % 9000);

    for (uint32_t i = 0; i < 12; i++)
        packet[i] = (uint8_t)model_random(m, 256);
    const int result = e1000_rx_offer_super(m->d->nic, packet, bytes, (uint16_t)mss);
    if (result == 0 && !m->link)
        model_wrong(m, "a frame came in without a link");
    for (uint32_t i = 0; result == 0 && i * mss < bytes - TCP_FRAME_HEADER_BYTES; i++)
        model_expect(m, &m->in, frame, tcp_frame_segment(packet, bytes, mss, i, frame));
    model_compare_in(m);
}

static void refill(struct model *m, const struct step *step)
{
    uint32_t count = 1 + step->a % 16;

    while (count-- > 0 && !m->rx_owned[m->d->rx_tail] &&
           (m->d->rx_tail + 1) % DRIVER_RING != m->rx_next) {
        m->rx_owned[m->d->rx_tail] = true;
        driver_rx_refill(m->d, 1);
    }
}

/* Lets everything under way come to its end. */
static void drain(struct model *m)
{
    const struct step more = {OP_REFILL, 15, 0};

    m->d->sink_room = UINT32_MAX;
    for (;;) { /* a host that sleeps unless e1000_work_pending() says otherwise */
        model_compare_in(m);
        refill(m, &more);
        refill(m, &more);
        if (!e1000_work_pending(m->d->nic) || m->wrong != NULL)
            break;
        model_poll(m, 64);
    }
    if (m->out.count != 0)
        model_wrong(m, "a frame that was sent never left");
    if (m->in.count != 0)
        model_wrong(m, "a frame that was accepted never reached the guest");
}

static uint64_t counter(struct model *m, uint32_t low)
{
    const uint64_t value = driver_get(m->d, low);

    return (uint64_t)driver_get(m->d, low + 4) << 32 | value;
}

/* At rest: interrupts delivered, counters equal to what was seen on the wire. */
static void check_rest(struct model *m)
{
    uint64_t next;

    drain(m);
    for (uint32_t i = 0; i < TIMERS && (next = e1000_next_event_ns(m->d->nic)) != UINT64_MAX; i++) {
        if (m->d->now_ns < next)
            m->d->now_ns = next;
        model_poll(m, 1);
    }
    if (e1000_next_event_ns(m->d->nic) != UINT64_MAX)
        model_wrong(m, "a timer that never ends");
    const uint32_t causes = driver_get(m->d, E1000_ICS);
    if ((m->rx_event && (causes & IRQ_RXT0) == 0) || (m->tx_event && (causes & IRQ_TXDW) == 0))
        model_wrong(m, "an interrupt was lost");
    driver_get(m->d, E1000_ICR);
    m->rx_event = m->tx_event = false;
    if (driver_get(m->d, E1000_GPTC) != m->tx_frames || counter(m, E1000_GOTCL) != m->tx_octets)
        model_wrong(m, "transmit counters are not what was on the wire");
    if (driver_get(m->d, E1000_GPRC) != m->rx_frames || counter(m, E1000_GORCL) != m->rx_octets)
        model_wrong(m, "receive counters are not what the guest got");
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
        model_wrong(m, "the card refuses its own snapshot");
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
            junk[at] = (uint8_t)model_random(m, 256);
        memcpy(d->ram + DRIVER_TX_RING + model_random(m, 900), junk, sizeof junk);
        memcpy(d->ram + DRIVER_RX_RING + model_random(m, 900), junk, sizeof junk);
        const uint32_t offset = model_random(m, 3) == 0 ? model_random(m, 0x6000)
                                                        : 0x2800u + 0x1000 * model_random(m, 2) +
                                                              4 * model_random(m, 16);
        e1000_mmio_write(d->nic, offset, 1u << model_random(m, 3), model_random(m, 1 << 24) * 257);
        (void)e1000_receive(d->nic, junk, 60);
        (void)e1000_rx_offer(d->nic, junk, 64);
        m->counts->defects++;
        if (e1000_poll(d->nic, 64) > 64)
            model_wrong(m, "a poll exceeded its budget");
        model_invariants(m);
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

    switch ((enum operation)step->operation) {
    case OP_SEND_LEGACY:
    case OP_SEND_DATA:
        model_send_plain(m, step, step->operation == OP_SEND_DATA);
        break;
    case OP_SEND_SEGMENTS:
        model_send_segments(m, step);
        break;
    case OP_SEND_TCP:
        model_send_tcp(m, step);
        break;
    case OP_OFFER_SUPER:
        offer_super(m, step);
        break;
    case OP_POLL:
        model_poll(m, 1 + step->a % 64);
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
        model_poll(m, 1);
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

static const char *run(const struct step *steps, uint32_t count, struct script_counts *counts)
{
    void *state;
    struct model *m = calloc(1, sizeof *m);
    const struct e1000_config config = {.mac = {2, 0, 0, 0, 0, 1}};

    driver_setup(&state);
    m->d = state;
    m->d->model = m;
    m->d->watch = model_watch;
    m->counts = counts;
    m->link = true;
    m->seed = 12345;
    m->d->super = count > 0 && (steps[0].b & 1) != 0;
    driver_power_on(m->d, &config);
    start(m);
    for (uint32_t i = 0; i < count && m->wrong == NULL; i++) {
        run_step(m, &steps[i]);
        model_invariants(m);
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

const struct script_kind script_kind = {"e1000", operations, OP_COUNT, run};
