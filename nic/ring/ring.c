#include "internal.h"

enum {
    LENGTH_BYTES = 4,
    PUSH_TRIES = 1000,           /* §3.6: a producer's retries are bounded */
    COMMIT_SPINS = 200,          /* a commit is a few stores away unless its thread was preempted */
    COMMIT_PAUSES = 1000,        /* then sleep, 1 ms each at most */
    COMMIT_SPINS_ONLY = 1 << 20, /* where a thread may not sleep */
};

static const uint32_t wrap_marker = 0xffffffff;

static uint32_t length_get(const struct ring *ring, uint32_t at)
{
    uint32_t length;

    __builtin_memcpy(&length, ring->data + at, LENGTH_BYTES);
    return length;
}

static void length_put(struct ring *ring, uint32_t at, uint32_t length)
{
    __builtin_memcpy(ring->data + at, &length, LENGTH_BYTES);
}

/* Bytes from the cursor's place to the end of the data region, 1..capacity. */
static uint32_t bytes_to_end(const struct ring *ring, uint32_t cursor)
{
    return ring->capacity_bytes - cursor % ring->capacity_bytes;
}

/* R(len) of §3.2, or 0 when such a record can never fit. capacity_bytes >= 4 by ring_open(). */
static uint32_t record_bytes(const struct ring *ring, uint32_t length)
{
    if (length > ring->capacity_bytes - LENGTH_BYTES)
        return 0;
    return (length + LENGTH_BYTES + 3) & ~3u;
}

/* Where a record goes: the padding before it, and the cursors before and behind it. */
struct place {
    uint32_t tail;
    uint32_t start;
    uint32_t next;
};

/*
 * Looks for `need` bytes behind `tail`. False: no room.
 *
 * The place behind the padding is the start of the region, but for a cursor that wraps at 2^32 in
 * a ring that is no power of two (§3.7). With m = 2^32 mod capacity and tail = 2^32 - k it is then
 * capacity - m, the padding is capacity - m + k, and what passes the check below has
 * need <= m - k: it ends inside the region there too.
 */
static bool place_find(const struct ring *ring, uint32_t tail, uint32_t used, uint32_t need,
                       struct place *place)
{
    const uint32_t rem = bytes_to_end(ring, tail);
    const uint32_t pad = rem < need ? rem : 0;
    const uint32_t start = tail + pad;

    if ((uint64_t)pad + need > ring->capacity_bytes - used)
        return false;
    *place = (struct place){.tail = tail, .start = start, .next = start + need};
    return true;
}

/* Marker and length; the place belongs to us alone from reservation to commit. */
static uint8_t *place_fill(struct ring *ring, const struct place *place, uint32_t length)
{
    const uint32_t at = place->start % ring->capacity_bytes;

    if (place->start - place->tail >= LENGTH_BYTES)
        length_put(ring, place->tail % ring->capacity_bytes, wrap_marker);
    length_put(ring, at, length);
    return ring->data + at + LENGTH_BYTES;
}

static void commit(struct ring *ring, uint32_t next)
{
    ring_store(ring, RING_TAIL_COMMIT, next);
    ring_notify(ring, RING_TAIL_COMMIT);
}

/* Waits, within bounds, until everything before `at` is committed. */
static bool commit_turn(struct ring *ring, uint32_t at)
{
#if defined(__wasm__)
    const uint32_t spins = COMMIT_SPINS_ONLY;
    const uint32_t pauses = 0;
#else
    const uint32_t spins = COMMIT_SPINS;
    const uint32_t pauses = COMMIT_PAUSES;
#endif
    uint32_t seen = ring_load(ring, RING_TAIL_COMMIT);

    for (uint32_t i = 0; seen != at && i < spins; i++)
        seen = ring_load(ring, RING_TAIL_COMMIT);
    for (uint32_t i = 0; seen != at && i < pauses; i++) {
        ring_pause(ring, RING_TAIL_COMMIT, seen);
        seen = ring_load(ring, RING_TAIL_COMMIT);
    }
    return seen == at;
}

bool ring_settle(struct ring *ring)
{
    if (!ring->owes)
        return true;
    const uint32_t ahead = ring_load(ring, RING_TAIL_COMMIT) - ring->owed_at;
    if (ahead > ring->capacity_bytes) /* still before us */
        return false;
    ring->owes = false;
    if (ahead == 0)
        commit(ring, ring->owed_next);
    else /* somebody committed over our head: the words are not to be trusted, we owe nothing */
        ring->nth_corrupt++;
    return true;
}

/* Sane cursors, or false: §3.6. */
static bool cursors_used(const struct ring *ring, uint32_t head, uint32_t tail, uint32_t *used)
{
    *used = tail - head;
    return *used <= ring->capacity_bytes && (head | tail) % 4 == 0;
}

int ring_push(struct ring *ring, const uint8_t *record, uint32_t bytes)
{
    const uint32_t need = record_bytes(ring, bytes);
    struct place place;
    bool reserved = false;

    if (need == 0)
        return RING_ERR_TOO_LARGE;
    if (!ring_settle(ring))
        return RING_ERR_FULL;
    for (uint32_t tries = 0; !reserved; tries++) {
        const uint32_t head = ring_load(ring, RING_HEAD);
        uint32_t tail = ring_load(ring, RING_TAIL_RESERVE);
        uint32_t used;

        if (tries == PUSH_TRIES) {
            ring->nth_corrupt++;
            ring->head_seen = head;
            return RING_ERR_FULL;
        }
        if (!cursors_used(ring, head, tail, &used))
            continue; /* raced with the consumer between the two loads, or corrupt */
        if (!place_find(ring, tail, used, need, &place)) {
            ring->head_seen = head;
            return RING_ERR_FULL;
        }
        reserved = __atomic_compare_exchange_n(&ring->words[RING_TAIL_RESERVE], &tail, place.next,
                                               false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    uint8_t *payload = place_fill(ring, &place, bytes);
    if (bytes != 0)
        __builtin_memcpy(payload, record, bytes);
    if (commit_turn(ring, place.tail)) {
        commit(ring, place.next);
    } else {
        ring->owes = true;
        ring->owed_at = place.tail;
        ring->owed_next = place.next;
    }
    return 0;
}

int ring_reserve(struct ring *ring, struct ring_slot *slot, uint32_t bytes)
{
    const uint32_t need = record_bytes(ring, bytes);
    const uint32_t head = ring_load(ring, RING_HEAD);
    const uint32_t tail = ring_load(ring, RING_TAIL_COMMIT);
    struct place place;
    uint32_t used;

    if (need == 0)
        return RING_ERR_TOO_LARGE;
    ring->head_seen = head;
    /* No retry: only the consumer's head can race, and it only makes `used` smaller. */
    if (!cursors_used(ring, head, tail, &used)) {
        ring->nth_corrupt++;
        return RING_ERR_FULL;
    }
    if (!place_find(ring, tail, used, need, &place))
        return RING_ERR_FULL;
    *slot = (struct ring_slot){
        .payload = place_fill(ring, &place, bytes),
        .bytes = bytes,
        .next = place.next,
    };
    return 0;
}

void ring_commit(struct ring *ring, const struct ring_slot *slot)
{
    ring_store(ring, RING_TAIL_RESERVE, slot->next);
    commit(ring, slot->next);
}

static void head_move(struct ring *ring, uint32_t head)
{
    ring_store(ring, RING_HEAD, head);
    ring_notify(ring, RING_HEAD);
}

/* §3.6: the whole backlog goes, so that the next record finds sane cursors. */
static int64_t backlog_drop(struct ring *ring, uint32_t tail)
{
    ring->nth_corrupt++;
    head_move(ring, tail);
    return RING_ERR_CORRUPT;
}

int64_t ring_peek(struct ring *ring, const uint8_t **record, uint32_t max_bytes)
{
    const uint32_t tail = ring_load(ring, RING_TAIL_COMMIT); /* once: it bounds the loop */
    uint32_t head = ring_load(ring, RING_HEAD);

    while (head != tail) {
        const uint32_t rem = bytes_to_end(ring, head);
        uint32_t used;

        if (!cursors_used(ring, head, tail, &used))
            return backlog_drop(ring, tail);
        const uint32_t at = head % ring->capacity_bytes;
        const uint32_t length = rem < LENGTH_BYTES ? wrap_marker : length_get(ring, at);
        if (length == wrap_marker) {
            if (used < rem)
                return backlog_drop(ring, tail);
            head += rem;
            head_move(ring, head);
            continue;
        }
        const uint32_t need = record_bytes(ring, length);
        if (need == 0 || need > rem || need > used)
            return backlog_drop(ring, tail);
        if (length > max_bytes) {
            head_move(ring, head + need);
            return RING_ERR_TOO_LARGE;
        }
        *record = ring->data + at + LENGTH_BYTES;
        ring->peeked_next = head + need;
        return length;
    }
    return RING_ERR_EMPTY;
}

void ring_release(struct ring *ring)
{
    head_move(ring, ring->peeked_next);
}

int64_t ring_pop(struct ring *ring, uint8_t *to, uint32_t max_bytes)
{
    const uint8_t *record;
    const int64_t length = ring_peek(ring, &record, max_bytes);

    if (length < 0)
        return length;
    if (length != 0)
        __builtin_memcpy(to, record, (size_t)length);
    ring_release(ring);
    return length;
}

bool ring_has_data(const struct ring *ring)
{
    return ring_load(ring, RING_TAIL_COMMIT) != ring_load(ring, RING_HEAD);
}

void ring_drain(struct ring *ring)
{
    head_move(ring, ring_load(ring, RING_TAIL_COMMIT));
}
