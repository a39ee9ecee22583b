/* What the card does, seen from outside: its DMA, its frames, its line. */
#include "e1000_model.h"
#include "tcp_frame.h"

#include <string.h>

void model_wrong(struct model *m, const char *what)
{
    if (m->wrong == NULL)
        m->wrong = what;
}

uint32_t model_random(struct model *m, uint32_t bound)
{
    m->seed = m->seed * 1664525 + 1013904223;
    return (m->seed >> 8) % bound;
}

void model_expect(struct model *m, struct expected_queue *queue, const uint8_t *bytes,
                  uint32_t length)
{
    if (!expected_push(queue, bytes, length))
        model_wrong(m, "the script queues more than the model holds");
}

static bool inside(uint64_t gpa, uint32_t bytes, uint64_t from, uint64_t length)
{
    return gpa >= from && gpa - from <= length && bytes <= length - (gpa - from);
}

static void watch_write(struct model *m, uint64_t gpa, uint32_t bytes)
{
    if (inside(gpa, bytes, DRIVER_TX_RING, DRIVER_RING * 16)) {
        struct tx_slot *slot = &m->tx[(gpa - DRIVER_TX_RING) / 16];

        if (m->d->map)
            return; /* a notice of stores, for all slots between the first and the last */
        if (gpa % 16 != DESC_STATUS_AT || bytes != 1 || !slot->owned || !slot->report)
            model_wrong(m, "a write to the transmit ring that is no due status byte");
        if (++slot->reports > 1)
            model_wrong(m, "a descriptor was reported twice");
        m->tx_event = true;
        return;
    }
    if (inside(gpa, bytes, DRIVER_RX_RING, DRIVER_RING * 16)) {
        if (gpa % 16 < RXD_LENGTH_AT || !m->rx_owned[(gpa - DRIVER_RX_RING) / 16])
            model_wrong(m, "a write to a receive descriptor the card does not own");
        return;
    }
    const uint64_t slot = (gpa - DRIVER_RX_BUFFERS) / DRIVER_BUFFER_BYTES;
    if (gpa < DRIVER_RX_BUFFERS || slot >= DRIVER_RING || !m->rx_owned[slot] ||
        !inside(gpa, bytes, DRIVER_RX_BUFFERS + slot * DRIVER_BUFFER_BYTES, m->rx_buffer_bytes))
        model_wrong(m, "a write outside the buffers the card was given");
}

static void watch_read(struct model *m, uint64_t gpa, uint32_t bytes)
{
    if (inside(gpa, bytes, DRIVER_TX_RING, DRIVER_RING * 16) ||
        inside(gpa, bytes, DRIVER_RX_RING, DRIVER_RING * 16))
        return;
    for (uint32_t i = 0; i < DRIVER_RING; i++) {
        if (m->tx[i].owned && inside(gpa, bytes, m->tx[i].buffer, m->tx[i].bytes))
            return;
    }
    model_wrong(m, "a read outside the rings and the buffers of queued descriptors");
}

void model_watch(struct driver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    struct model *m = d->model;

    if (m->hostile)
        return;
    if (write)
        watch_write(m, gpa, bytes);
    else
        watch_read(m, gpa, bytes);
}

uint32_t model_tx_head(struct model *m)
{
    const uint32_t head = driver_get(m->d, E1000_TDH);

    if (head >= DRIVER_RING)
        model_wrong(m, "TDH left the ring");
    return head % DRIVER_RING;
}

static void count_wire(struct model *m, uint32_t bytes)
{
    m->tx_frames++;
    m->tx_octets += (bytes < 60 ? 60 : bytes) + 4;
}

/* The guest's counters see the segments of a super-frame, as the wire would have. */
static void count_out(struct model *m, const struct driver_frame *frame)
{
    const uint32_t mss = frame->gso_bytes;
    uint32_t bytes = frame->bytes;

    if (mss == 0 ? bytes > 1522 : bytes <= TCP_FRAME_HEADER_BYTES + mss)
        model_wrong(m, "a super-frame that is none, or none that is one");
    for (; mss != 0 && bytes > TCP_FRAME_HEADER_BYTES + mss; bytes -= mss)
        count_wire(m, TCP_FRAME_HEADER_BYTES + mss);
    count_wire(m, bytes);
}

/* What the sink took must be what was sent, whole and in order. */
static void compare_out(struct model *m)
{
    for (uint32_t i = 0; i < m->d->frames; i++) {
        const struct driver_frame *have = &m->d->frame[i];
        const struct expected *want = expected_at(&m->out, 0);

        if (m->out.count == 0) {
            model_wrong(m, "a frame nobody sent");
            break;
        }
        if (!expected_is(want, have->data, have->bytes))
            model_wrong(m, "a frame is not the next one that was sent");
        m->counts->frames_out++;
        count_out(m, have);
        expected_pop(&m->out);
    }
    driver_frames_clear(m->d);
}

void model_compare_in(struct model *m)
{
    uint8_t frame[4096];
    uint32_t bytes = 0;

    while (m->rx_owned[m->rx_next]) {
        const struct driver_rx rx = driver_rx(m->d, m->rx_next);
        const struct expected *want = expected_at(&m->in, 0);

        if ((rx.status & RXD_STATUS_DD) == 0)
            break;
        if (bytes + rx.length > sizeof frame || rx.length > m->rx_buffer_bytes) {
            model_wrong(m, "a received length is longer than its buffer");
            return;
        }
        memcpy(frame + bytes, m->d->ram + rx.buffer, rx.length);
        bytes += rx.length;
        m->rx_owned[m->rx_next] = false;
        m->rx_next = (m->rx_next + 1) % DRIVER_RING;
        if ((rx.status & RXD_STATUS_EOP) == 0)
            continue;
        if (m->in.count == 0) {
            model_wrong(m, "the guest got a frame nobody offered");
            return;
        }
        const uint32_t padded = want->length < 60 ? 60 : want->length;
        if (bytes != padded + 4 || memcmp(frame, want->bytes, want->length) != 0)
            model_wrong(m, "the guest got another frame than the next one offered");
        m->rx_frames++;
        m->counts->frames_in++;
        m->rx_octets += padded + 4;
        m->rx_event = true;
        expected_pop(&m->in);
        bytes = 0;
    }
    if (bytes > 0)
        model_wrong(m, "a frame without its last descriptor");
}

/* Where memory is mapped nobody sees the write, only what it left. */
static bool was_reported(const struct model *m, uint32_t index)
{
    const uint8_t *slot = m->d->ram + DRIVER_TX_RING + (size_t)index * 16;

    return m->d->map ? (slot[DESC_STATUS_AT] & TXD_STATUS_DD) != 0 : m->tx[index].reports == 1;
}

/* Descriptors behind TDH are the guest's again: each with RS must have been reported once. */
static void reclaim(struct model *m, uint32_t from)
{
    const uint32_t head = model_tx_head(m);

    for (uint32_t i = from; i != head; i = (i + 1) % DRIVER_RING) {
        if (m->tx[i].owned && was_reported(m, i) != m->tx[i].report)
            model_wrong(m, "a consumed descriptor was reported without RS, or not with it");
        m->tx_event |= m->tx[i].owned && m->tx[i].report;
        m->tx[i].owned = false;
    }
}

void model_invariants(struct model *m)
{
    struct driver *d = m->d;

    if (d->irq != ((driver_get(d, E1000_ICS) & driver_get(d, E1000_IMS)) != 0))
        model_wrong(m, "the line is not ICR & IMS");
    if (e1000_irq_level(d->nic) != d->irq)
        model_wrong(m, "the host was not told of the line's level");
    if (!m->hostile && driver_get(d, E1000_RDH) >= DRIVER_RING)
        model_wrong(m, "RDH left the ring");
}

void model_poll(struct model *m, uint32_t budget)
{
    const uint32_t from = model_tx_head(m);

    if (e1000_poll(m->d->nic, budget) > budget)
        model_wrong(m, "a poll exceeded its budget");
    reclaim(m, from);
    compare_out(m);
    model_compare_in(m);
}
