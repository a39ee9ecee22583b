/*
 * peer_leg.h - a bad line between a guest and its tunnel: late, lost, doubled, overtaking, narrow.
 *
 * One struct leg per direction. A frame enters when it was sent and leaves when it is due, so the
 * caller only has to come back at leg_due_ns(). Chances come from a seed: the same frames meet the
 * same fate.
 */
#ifndef PEER_LEG_H
#define PEER_LEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leg_quality {
    unsigned delay_us;
    unsigned loss, duplicate, reorder; /* per mille; who is reordered passes all that waits */
    unsigned rate_kbit;                /* 0: as fast as it comes */
    unsigned queue_bytes;              /* what waits for a narrow line; more is lost */
};

struct leg_frame {
    uint64_t due_ns;
    size_t bytes;
    uint16_t gso_bytes; /* the caller's, goes along */
    struct leg_frame *next;
    uint8_t data[];
};

struct leg_counts {
    uint64_t frames, lost, doubled, overtaking, overflowed;
};

struct leg {
    const struct leg_quality *quality;
    uint64_t random;
    uint64_t free_at_ns;
    struct leg_frame *first, *last;
    struct leg_counts counts;
};

void leg_init(struct leg *leg, const struct leg_quality *quality, unsigned seed);

/** False: the line does nothing to a frame, so that nobody has to enter it. */
bool leg_is_bad(const struct leg_quality *quality);

/** Copies the frame, or loses it. False when memory ran out. */
bool leg_enter(struct leg *leg, const uint8_t *data, size_t bytes, uint16_t gso_bytes,
               uint64_t now_ns);

/** The next frame that is due, or NULL; the caller frees it. */
struct leg_frame *leg_leave(struct leg *leg, uint64_t now_ns);

/** When the next frame is due; UINT64_MAX if none waits. */
uint64_t leg_due_ns(const struct leg *leg);

#endif
