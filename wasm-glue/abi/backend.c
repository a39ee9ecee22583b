#include "backend.h"

#include "nic/packet.h"

static int reserve(struct backend *backend, uint32_t bytes)
{
    int result = ring_reserve(&backend->tx, &backend->slot, bytes);

    if (result == RING_ERR_FULL && backend->make_room != NULL &&
        backend->make_room(backend->context))
        result = ring_reserve(&backend->tx, &backend->slot, bytes);
    return result;
}

static uint32_t prefix_bytes(const struct backend *backend)
{
    return backend->super ? BACKEND_PREFIX_BYTES : 0;
}

/* Out of line: a module has 64 KiB. */
__attribute__((noinline)) static uint8_t *begin(struct backend *backend, uint32_t bytes,
                                                uint16_t gso_bytes)
{
    const uint32_t prefix = prefix_bytes(backend);
    int result = RING_ERR_TOO_LARGE;

    backend->begun = BACKEND_NONE;
    if (backend->waiting >= backend->waiting_max)
        return NULL;
    if (bytes <= backend->frame_max_bytes)
        result = reserve(backend, prefix + bytes);
    if (result == 0) {
        backend->begun = BACKEND_SLOT;
        if (backend->super)
            le16_put(backend->slot.payload, gso_bytes);
        return backend->slot.payload + prefix;
    }
    if (bytes > backend->spare_bytes)
        return NULL;
    /* The frame is taken from the guest and lost, as on a wire: descriptors held back for the
     * tunnel's sake would look like a hung card (design.md §6). */
    backend->begun = result == RING_ERR_TOO_LARGE ? BACKEND_OVERSIZE : BACKEND_FULL;
    return backend->spare;
}

uint8_t *backend_frame_begin(void *context, uint32_t bytes)
{
    return begin(context, bytes, 0);
}

uint8_t *backend_super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    return begin(context, bytes, gso_bytes);
}

void backend_frame_end(void *context, uint32_t bytes)
{
    struct backend *backend = context;
    struct backend_stats *stats = &backend->stats;

    switch (backend->begun) {
    case BACKEND_SLOT:
        ring_commit(&backend->tx, &backend->slot);
        if (backend->waiting_max != BACKEND_UNBOUNDED)
            backend->waiting++;
        stats->tx_pushed_frames++;
        stats->tx_pushed_bytes += bytes;
        break;
    case BACKEND_FULL:
        stats->tx_dropped_full++;
        stats->tx_dropped_full_bytes += bytes;
        break;
    case BACKEND_OVERSIZE:
        stats->tx_dropped_oversize++;
        stats->tx_dropped_oversize_bytes += bytes;
        break;
    case BACKEND_NONE:
        break;
    }
    backend->begun = BACKEND_NONE;
}

static enum backend_offer offer(struct backend *backend, const struct backend_card *card,
                                const uint8_t *frame, uint32_t bytes, uint16_t gso_bytes)
{
    struct backend_stats *stats = &backend->stats;

    if (bytes > backend->frame_max_bytes) {
        stats->rx_dropped_oversize++;
        stats->rx_dropped_oversize_bytes += bytes;
        return BACKEND_DONE;
    }
    const enum backend_offer result =
        gso_bytes != 0 ? card->offer_super(card->context, frame, bytes, gso_bytes)
                       : card->offer(card->context, frame, bytes);
    if (result == BACKEND_HOLD) {
        stats->rx_held++;
        backend->holding = true;
    } else {
        stats->rx_popped_frames++;
        stats->rx_popped_bytes += bytes;
    }
    return result;
}

/* The frame of a record; one too short for its prefix is an empty frame, which no card takes. */
static uint16_t unwrap(const struct backend *backend, const uint8_t **frame, uint32_t *bytes)
{
    if (!backend->super)
        return 0;
    if (*bytes < BACKEND_PREFIX_BYTES) {
        *bytes = 0;
        return 0;
    }
    const uint16_t gso_bytes = le16_get(*frame);
    *frame += BACKEND_PREFIX_BYTES;
    *bytes -= BACKEND_PREFIX_BYTES;
    return gso_bytes;
}

uint32_t backend_deliver(struct backend *backend, uint32_t budget, const struct backend_card *card)
{
    struct backend_stats *stats = &backend->stats;
    uint32_t taken = 0;

    backend->holding = false;
    while (taken < budget && stats->rx_broken == 0) {
        const uint8_t *frame;
        /* No maximum: the length of an oversized record is wanted for its counter. */
        const int64_t record_bytes = ring_peek(&backend->rx, &frame, UINT32_MAX - 1);

        if (record_bytes == RING_ERR_CORRUPT) {
            stats->rx_corrupt++;
            stats->rx_broken = 1; /* §3.6: never read again until attached anew */
        }
        if (record_bytes < 0)
            break;
        uint32_t bytes = (uint32_t)record_bytes;
        const uint16_t gso_bytes = unwrap(backend, &frame, &bytes);
        if (offer(backend, card, frame, bytes, gso_bytes) == BACKEND_HOLD)
            break;
        ring_release(&backend->rx);
        taken++;
    }
    return taken;
}

int backend_push(struct backend *backend, uint8_t *record, uint32_t bytes)
{
    const uint32_t prefix = prefix_bytes(backend);

    if (bytes > backend->frame_max_bytes)
        return RING_ERR_TOO_LARGE;
    if (backend->super)
        le16_put(record, 0);
    return ring_push(&backend->rx, record + BACKEND_PREFIX_BYTES - prefix, prefix + bytes);
}

static void record_done(struct backend *backend)
{
    ring_release(&backend->tx);
    backend->cut.plan.count = 0;
    if (backend->waiting > 0)
        backend->waiting--;
}

/* Starts on the super-frame at the front. False: it is none. */
static bool cut_open(struct backend *backend, const uint8_t *frame, uint32_t bytes, uint32_t mss)
{
    struct backend_cut *cut = &backend->cut;
    const uint32_t head_bytes = bytes < sizeof cut->head ? bytes : (uint32_t)sizeof cut->head;

    __builtin_memcpy(cut->head, frame, head_bytes);
    cut->record_end = backend->tx.peeked_next;
    cut->next = 0;
    if (!tcp_segments_plan(&cut->plan, cut->head, head_bytes, bytes, mss))
        cut->plan.count = 0;
    return cut->plan.count > 0;
}

static int64_t cut_take(struct backend *backend, const uint8_t *frame, uint8_t *to)
{
    struct backend_cut *cut = &backend->cut;
    const struct tcp_segments *plan = &cut->plan;
    const int64_t bytes =
        tcp_segment_make(plan, to, cut->head, frame + plan->header_bytes, cut->next);

    if (++cut->next == plan->count)
        record_done(backend);
    return bytes;
}

int64_t backend_take(struct backend *backend, uint8_t *to, uint32_t capacity)
{
    struct backend_cut *cut = &backend->cut;
    const uint8_t *frame;
    const int64_t record_bytes = ring_peek(&backend->tx, &frame, UINT32_MAX - 1);

    if (record_bytes < 0)
        return record_bytes;
    uint32_t bytes = (uint32_t)record_bytes;
    const uint16_t gso_bytes = unwrap(backend, &frame, &bytes);
    if (cut->plan.count > 0 && (cut->record_end != backend->tx.peeked_next ||
                                bytes != cut->plan.header_bytes + cut->plan.payload_bytes))
        cut->plan.count = 0; /* somebody else took the one we were at */
    if (bytes > capacity ||
        (gso_bytes != 0 && cut->plan.count == 0 && !cut_open(backend, frame, bytes, gso_bytes))) {
        record_done(backend);
        return RING_ERR_TOO_LARGE;
    }
    if (gso_bytes != 0)
        return cut_take(backend, frame, to);
    __builtin_memcpy(to, frame, bytes);
    record_done(backend);
    return bytes;
}

bool backend_has_frames(const struct backend *backend)
{
    return !backend->holding && backend->stats.rx_broken == 0 && ring_has_data(&backend->rx);
}
