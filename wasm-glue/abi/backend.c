#include "backend.h"

static int reserve(struct backend *backend, uint32_t bytes)
{
    int result = ring_reserve(&backend->tx, &backend->slot, bytes);

    if (result == RING_ERR_FULL && backend->make_room != NULL &&
        backend->make_room(backend->context))
        result = ring_reserve(&backend->tx, &backend->slot, bytes);
    return result;
}

uint8_t *backend_frame_begin(void *context, uint32_t bytes)
{
    struct backend *backend = context;
    int result = RING_ERR_TOO_LARGE;

    backend->begun = BACKEND_NONE;
    if (backend->waiting >= backend->waiting_max)
        return NULL;
    if (bytes <= backend->frame_max_bytes)
        result = reserve(backend, bytes);
    if (result == 0) {
        backend->begun = BACKEND_SLOT;
        return backend->slot.payload;
    }
    if (bytes > backend->spare_bytes)
        return NULL;
    /* The frame is taken from the guest and lost, as on a wire: descriptors held back for the
     * tunnel's sake would look like a hung card (design.md §6). */
    backend->begun = result == RING_ERR_TOO_LARGE ? BACKEND_OVERSIZE : BACKEND_FULL;
    return backend->spare;
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

uint32_t backend_deliver(struct backend *backend, uint32_t budget,
                         enum backend_offer (*offer)(void *card, const uint8_t *frame,
                                                     uint32_t bytes),
                         void *card)
{
    struct backend_stats *stats = &backend->stats;
    uint32_t taken = 0;

    backend->holding = false;
    while (taken < budget && stats->rx_broken == 0) {
        const uint8_t *frame;
        /* No maximum: the length of an oversized record is wanted for its counter. */
        const int64_t bytes = ring_peek(&backend->rx, &frame, UINT32_MAX - 1);

        if (bytes == RING_ERR_CORRUPT) {
            stats->rx_corrupt++;
            stats->rx_broken = 1; /* §3.6: never read again until attached anew */
        }
        if (bytes < 0)
            break;
        if (bytes > backend->frame_max_bytes) {
            stats->rx_dropped_oversize++;
            stats->rx_dropped_oversize_bytes += (uint64_t)bytes;
        } else if (offer(card, frame, (uint32_t)bytes) == BACKEND_HOLD) {
            stats->rx_held++;
            backend->holding = true;
            break;
        } else {
            stats->rx_popped_frames++;
            stats->rx_popped_bytes += (uint64_t)bytes;
        }
        ring_release(&backend->rx);
        taken++;
    }
    return taken;
}

int64_t backend_take(struct backend *backend, uint8_t *to, uint32_t capacity)
{
    const int64_t bytes = ring_pop(&backend->tx, to, capacity);

    if (bytes >= 0 && backend->waiting > 0)
        backend->waiting--;
    return bytes;
}

bool backend_has_frames(const struct backend *backend)
{
    return !backend->holding && backend->stats.rx_broken == 0 && ring_has_data(&backend->rx);
}
