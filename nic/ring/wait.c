#define _GNU_SOURCE
#include "internal.h"

#if defined(__linux__)

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not FUTEX_PRIVATE_FLAG: the two ends of a ring may be two processes. */
void ring_notify(struct ring *ring, int word)
{
    syscall(SYS_futex, &ring->words[word], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void ring_sleep(struct ring *ring, int word, uint32_t value, uint32_t timeout_ms)
{
    const struct timespec limit = {
        .tv_sec = timeout_ms / 1000,
        .tv_nsec = (long)(timeout_ms % 1000) * 1000000,
    };

    syscall(SYS_futex, &ring->words[word], FUTEX_WAIT, value, &limit, NULL, 0);
}

void ring_pause(struct ring *ring, int word, uint32_t value)
{
    ring_sleep(ring, word, value, 1);
}

#elif defined(__wasm_atomics__)

void ring_notify(struct ring *ring, int word)
{
    __builtin_wasm_memory_atomic_notify((int *)&ring->words[word], ~0u);
}

void ring_sleep(struct ring *ring, int word, uint32_t value, uint32_t timeout_ms)
{
    __builtin_wasm_memory_atomic_wait32((int *)&ring->words[word], (int)value,
                                        (long long)timeout_ms * 1000000);
}

/* memory.atomic.wait32 traps on a browser's main thread, where a card may well push. */
void ring_pause(struct ring *ring, int word, uint32_t value)
{
    (void)ring;
    (void)word;
    (void)value;
}

#else

void ring_notify(struct ring *ring, int word)
{
    (void)ring;
    (void)word;
}

void ring_sleep(struct ring *ring, int word, uint32_t value, uint32_t timeout_ms)
{
    (void)ring;
    (void)word;
    (void)value;
    (void)timeout_ms;
}

void ring_pause(struct ring *ring, int word, uint32_t value)
{
    ring_sleep(ring, word, value, 1);
}

#endif

bool ring_wait_data(struct ring *ring, uint32_t timeout_ms)
{
    const uint32_t tail = ring_load(ring, RING_TAIL_COMMIT);

    if (tail != ring_load(ring, RING_HEAD))
        return true;
    ring_sleep(ring, RING_TAIL_COMMIT, tail, timeout_ms);
    return ring_has_data(ring);
}

bool ring_wait_space(struct ring *ring, uint32_t timeout_ms)
{
    if (ring->owes) { /* what keeps us is a producer, not the consumer */
        const uint32_t tail = ring_load(ring, RING_TAIL_COMMIT);

        if (!ring_settle(ring))
            ring_sleep(ring, RING_TAIL_COMMIT, tail, timeout_ms);
        return ring_settle(ring);
    }
    if (ring_load(ring, RING_HEAD) == ring->head_seen)
        ring_sleep(ring, RING_HEAD, ring->head_seen, timeout_ms);
    return ring_load(ring, RING_HEAD) != ring->head_seen;
}
