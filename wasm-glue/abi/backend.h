/*
 * backend.h - the ring back end of a card: frames go to NET_TX, frames come from NET_RX.
 *
 * Source   spec/net-rings.md §4; design.md §6 for what happens when NET_TX is full;
 *          spec/l2-extensions.md §6 for super-frames.
 * Records  Of plain rings: the frame. Of rings opened for super-frames, which both ends must know:
 *          a little-endian u16 gso_size, 0 for an ordinary frame, then the frame.
 * Memory   The caller owns struct backend and the spare room; the rings live elsewhere.
 * Threads  The card's thread. The other ends of the rings may be on another one.
 */
#ifndef ABI_BACKEND_H
#define ABI_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/ring.h"
#include "nic/segment.h"

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

enum { BACKEND_PREFIX_BYTES = 2 }; /* of a record, in rings for super-frames */

/** What became of a frame offered to the card. */
enum backend_offer { BACKEND_DONE, BACKEND_HOLD };

/** The card as backend_deliver() sees it. */
struct backend_card {
    void *context;
    enum backend_offer (*offer)(void *context, const uint8_t *frame, uint32_t bytes);
    /* For rings for super-frames; gso_bytes > 0. */
    enum backend_offer (*offer_super)(void *context, const uint8_t *frame, uint32_t bytes,
                                      uint16_t gso_bytes);
};

/* A super-frame that backend_take() hands out piece by piece. */
struct backend_cut {
    struct tcp_segments plan; /* count 0: none */
    uint32_t record_end;      /* of its record, as a cursor: which one it is */
    uint32_t next;
    uint8_t head[SEGMENT_HEADERS_MAX_BYTES];
};

struct backend {
    struct ring tx, rx;
    struct ring_slot slot; /* the frame being written, when begun says so */
    enum { BACKEND_NONE, BACKEND_SLOT, BACKEND_FULL, BACKEND_OVERSIZE } begun;
    bool holding;   /* the card had no buffer for the oldest record of NET_RX */
    uint8_t *spare; /* where a frame goes that will be dropped */
    uint32_t spare_bytes;
    uint32_t frame_max_bytes;
    bool super;           /* the rings are for super-frames */
    uint32_t waiting_max; /* frames that may wait in NET_TX; the card keeps the next one */
    uint32_t waiting;     /* counted for waiting_max: pushed and not taken by backend_take() */
    struct backend_cut cut;
    struct backend_stats stats;

    /** Optional: NET_TX is full; true when room was made and the push is worth another try. */
    bool (*make_room)(void *context);
    void *context;
};

/** struct nic_host's functions, `context` being the struct backend; super_begin is for rings for
 *  super-frames only. */
uint8_t *backend_frame_begin(void *context, uint32_t bytes);
uint8_t *backend_super_begin(void *context, uint32_t bytes, uint16_t gso_bytes);
void backend_frame_end(void *context, uint32_t bytes);

/**
 * Offers up to `budget` records of NET_RX to the card. A frame that `offer` holds stays the
 * oldest record. Returns the number of records taken out of the ring.
 */
uint32_t backend_deliver(struct backend *backend, uint32_t budget, const struct backend_card *card);

/** Puts a frame into NET_RX as another producer would: `record` has BACKEND_PREFIX_BYTES of room
 *  before `bytes` of frame. 0 or a ring_error. */
int backend_push(struct backend *backend, uint8_t *record, uint32_t bytes);

/** Takes the oldest frame of NET_TX; a super-frame comes cut. Its bytes, or a ring_error. */
int64_t backend_take(struct backend *backend, uint8_t *to, uint32_t capacity);

/** True while backend_deliver() would take a record out, as far as one can tell. */
bool backend_has_frames(const struct backend *backend);

#endif
