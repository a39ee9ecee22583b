/*
 * internal.h - the shared words of a ring (§3.1) and what layout.c, ring.c and wait.c share.
 */
#ifndef RING_INTERNAL_H
#define RING_INTERNAL_H

#include "nic/ring.h"

enum { RING_HEAD = 0, RING_TAIL_RESERVE = 1, RING_TAIL_COMMIT = 2, RING_CAPACITY = 3 };

/* §3.4: loads of cursors are acquire, stores release. */
static inline uint32_t ring_load(const struct ring *ring, int word)
{
    return __atomic_load_n(&ring->words[word], __ATOMIC_ACQUIRE);
}

static inline void ring_store(struct ring *ring, int word, uint32_t value)
{
    __atomic_store_n(&ring->words[word], value, __ATOMIC_RELEASE);
}

/* Wakes all who wait on the word: one wake-up could go to the wrong one (§3.5). */
void ring_notify(struct ring *ring, int word);

/* Sleeps while the word has `value`, at most timeout_ms; may wake for no reason. */
void ring_sleep(struct ring *ring, int word, uint32_t value, uint32_t timeout_ms);

/* The same for a producer in commit wait: safe on every thread, so it may just return. */
void ring_pause(struct ring *ring, int word, uint32_t value);

#endif
