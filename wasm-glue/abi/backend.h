/*
 * backend.h - the ring back end of a card: frames go to NET_TX, frames come from NET_RX.
 *
 * Source   spec/net-rings.md §4; design.md §6 for what happens when NET_TX is full.
 * Memory   The caller owns struct backend and the spare room; the rings live elsewhere.
 * Threads  The card's thread. The other ends of the rings may be on another one.
 */
#ifndef ABI_BACKEND_H
#define ABI_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/ring.h"

/* §4.1, under the names of the host API; never reset. */
struct backend_stats {
    uint64_t tx_pushed_frames, tx_pushed_bytes;
    uint64_t tx_dropped_oversize, tx_dropped_oversize_bytes;
    uint64_t tx_dropped_full, tx_dropped_full_bytes;
    uint64_t rx_popped_frames, rx_popped_bytes;
    uint64_t rx_dropped_oversize, rx_dropped_oversize_bytes;
    uint64_t rx_corrupt;
    uint64_t rx_broken; /* 0 or 1: NET_RX is not read again */
    uint64_t rx_held;   /* times a frame waited in NET_RX for the guest's next buffer */
};

#define BACKEND_UNBOUNDED UINT32_MAX /* for waiting_max */

/** What became of a frame offered to the card. */
enum backend_offer { BACKEND_DONE, BACKEND_HOLD };

struct backend {
    struct ring tx, rx;
    struct ring_slot slot; /* the frame being written, when begun says so */
    enum { BACKEND_NONE, BACKEND_SLOT, BACKEND_FULL, BACKEND_OVERSIZE } begun;
    bool holding;   /* the card had no buffer for the oldest record of NET_RX */
    uint8_t *spare; /* where a frame goes that will be dropped */
    uint32_t spare_bytes;
    uint32_t frame_max_bytes;
    uint32_t waiting_max; /* frames that may wait in NET_TX; the card keeps the next one */
    uint32_t waiting;     /* counted for waiting_max: pushed and not taken by backend_take() */
    struct backend_stats stats;

    /** Optional: NET_TX is full; true when room was made and the push is worth another try. */
    bool (*make_room)(void *context);
    void *context;
};

/** struct nic_host's frame_begin and frame_end, `context` being the struct backend. */
uint8_t *backend_frame_begin(void *context, uint32_t bytes);
void backend_frame_end(void *context, uint32_t bytes);

/**
 * Offers up to `budget` records of NET_RX to the card. A frame that `offer` holds stays the
 * oldest record. Returns the number of records taken out of the ring.
 */
uint32_t backend_deliver(struct backend *backend, uint32_t budget,
                         enum backend_offer (*offer)(void *card, const uint8_t *frame,
                                                     uint32_t bytes),
                         void *card);

/** Takes the oldest frame of NET_TX. Its bytes, or a ring_error. */
int64_t backend_take(struct backend *backend, uint8_t *to, uint32_t capacity);

/** True while backend_deliver() would take a record out, as far as one can tell. */
bool backend_has_frames(const struct backend *backend);

#endif
