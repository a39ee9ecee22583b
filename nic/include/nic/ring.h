/*
 * ring.h - NET_TX and NET_RX: frame rings in shared memory, the AIPC layout.
 *
 * Source   spec/net-rings.md; every § below is a section of it.
 * Memory   A struct ring is a checked view on memory somebody else owns; it holds no data.
 * Threads  Many producers, one consumer, each with a struct ring of its own.
 * Hostile  The shared words may change at any time. Only the validated copies in struct ring
 *          are used as bounds; no access leaves the data region whatever the words say, and no
 *          loop runs without progress (§3.6).
 */
#ifndef NIC_RING_H
#define NIC_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_KIND_CMD = 0,
    RING_KIND_EVT = 1,
    RING_KIND_NET_TX = 2,
    RING_KIND_NET_RX = 3,
    RING_KIND_HID_IN = 4,

    RING_MAGIC = 0x43504941, /* "AIPC" */
    RING_VERSION = 1,
    RING_TOP_HEADER_BYTES = 16,
    RING_DESCRIPTOR_BYTES = 16,
    RING_HEADER_BYTES = 16,
};

enum ring_error {
    RING_ERR_SHORT = -1, /* opening, in the order of §2.5 */
    RING_ERR_MAGIC = -2,
    RING_ERR_VERSION = -3,
    RING_ERR_TOTAL = -4,
    RING_ERR_TABLE = -5,
    RING_ERR_RESERVED = -6,
    RING_ERR_MISALIGNED = -7,
    RING_ERR_BOUNDS = -8,
    RING_ERR_CAPACITY = -9, /* zero, or not what the ring header says */
    RING_ERR_NOT_FOUND = -10,

    RING_ERR_EMPTY = -11,     /* pop */
    RING_ERR_FULL = -12,      /* push: try again after head moved */
    RING_ERR_TOO_LARGE = -13, /* push: can never fit; pop: record dropped, over the maximum */
    RING_ERR_CORRUPT = -14,   /* pop: the backlog was dropped (§3.6) */
};

struct ring {
    uint32_t *words; /* head, tail_reserve, tail_commit, capacity (§3.1) */
    uint8_t *data;
    uint32_t capacity_bytes; /* the validated copy */
    uint32_t nth_corrupt;    /* times this view found §3.6 corruption */
    uint32_t head_seen;      /* by the last push that found the ring full */
    uint32_t peeked_next;    /* head after the record of the last ring_peek() */
    uint32_t owed_at;        /* commit a stalled earlier producer keeps us from (ring_push()) */
    uint32_t owed_next;
    bool owes;
};

/* A reservation: filled between ring_reserve() and ring_commit(). */
struct ring_slot {
    uint8_t *payload;
    uint32_t bytes;
    uint32_t next; /* both tails after ring_commit() */
};

/** Describes one queue of an AIPC buffer to build. */
struct ring_spec {
    uint32_t kind;
    uint32_t capacity_bytes; /* multiple of 4 */
};

/** Bytes ring_build() needs for `count` queues, 0 on overflow or a bad capacity (§2.4). */
size_t ring_buffer_bytes(const struct ring_spec *queues, uint32_t count);

/**
 * Lays an AIPC buffer out in `buffer` (4-aligned), before anybody else looks at it. buffer_bytes
 * is exactly ring_buffer_bytes(). Returns 0, RING_ERR_CAPACITY, _MISALIGNED or _TOTAL.
 */
int ring_build(void *buffer, size_t buffer_bytes, const struct ring_spec *queues, uint32_t count);

/** Opens the `nth` ring of `kind` in an AIPC buffer after checking all of it (§2.5). */
int ring_open(struct ring *ring, void *buffer, size_t buffer_bytes, uint32_t kind, uint32_t nth);

/**
 * Copies a record in (§3.3, multi-producer). 0, RING_ERR_FULL or RING_ERR_TOO_LARGE.
 *
 * Commits become visible in reservation order. If the producer before us stalls between its two
 * steps, the call does not wait for ever: it returns 0 with the record in place and the commit
 * owed; the next ring_push() of this view settles that first and is FULL while it cannot. A
 * producer that has pushed its last record calls ring_settle() until it says true.
 */
int ring_push(struct ring *ring, const uint8_t *record, uint32_t bytes);

/** Pays an owed commit. False: the producer before us still stalls; ring_wait_space() waits. */
bool ring_settle(struct ring *ring);

/**
 * The same in two steps for a *single* producer (§3.3, last paragraph): reserve gives the place
 * for exactly `bytes`, commit publishes it; a slot never committed leaves no trace.
 */
int ring_reserve(struct ring *ring, struct ring_slot *slot, uint32_t bytes);
void ring_commit(struct ring *ring, const struct ring_slot *slot);

/**
 * Takes the oldest record (§3.4): returns its bytes (0..max_bytes), copied to `to`, or
 * RING_ERR_EMPTY, RING_ERR_TOO_LARGE (dropped) or RING_ERR_CORRUPT (backlog dropped).
 */
int64_t ring_pop(struct ring *ring, uint8_t *to, uint32_t max_bytes);

/**
 * The same without a copy: *record points into the ring until ring_release(), which frees the
 * space. Returns the record's bytes or a ring_error. The content may change underneath.
 */
int64_t ring_peek(struct ring *ring, const uint8_t **record, uint32_t max_bytes);
void ring_release(struct ring *ring);

/** True while the consumer would find something. */
bool ring_has_data(const struct ring *ring);

/** Drops everything readable: head := tail_commit. */
void ring_drain(struct ring *ring);

/**
 * Block until there is something to read (consumer), or until head differs from what the last
 * FULL push saw or an owed commit is paid (producer), at most timeout_ms (§3.5). Returns whether it
 * is so now; false may come early, after a wake-up meant for somebody else. Futex on Linux,
 * memory.atomic.wait32 in wasm with atomics (never call it on a browser's main thread, nor on
 * unshared memory: it traps); elsewhere they do not block.
 */
bool ring_wait_data(struct ring *ring, uint32_t timeout_ms);
bool ring_wait_space(struct ring *ring, uint32_t timeout_ms);

#endif
