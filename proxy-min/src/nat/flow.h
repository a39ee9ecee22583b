/*
 * flow.h - a table of flows of fixed capacity: hash by key, and a list from the least to the most
 *          recently used one.
 *
 * Memory   flow_table_open() allocates for the full capacity, but touches nothing: pages that were
 *          never used stay with the operating system.
 * Hostile  Keys are chosen by the guest; the hash is keyed with the session's random seed, so a
 *          guest can't aim for one bucket.
 */
#ifndef PROXY_NAT_FLOW_H
#define PROXY_NAT_FLOW_H

#include "nat/internal.h"

/* First member of every entry. Links are slot + 1, 0 for none. */
struct flow {
    struct nat_flow_key key;
    uint32_t slot;
    uint32_t hash_next;
    uint32_t older, newer;
    uint16_t generation; /* changes whenever the slot is freed */
    bool used;
};

struct flow_table {
    uint8_t *entries;
    uint32_t *buckets;
    uint64_t seed;
    size_t entry_bytes;
    uint32_t capacity, bucket_mask;
    uint32_t count;
    uint32_t fresh; /* slots from here on were never used */
    uint32_t free_head;
    uint32_t oldest, newest;
};

/** Bytes for `capacity` entries of `entry_bytes` each. */
size_t flow_table_bytes(uint32_t capacity, size_t entry_bytes);
bool flow_table_open(struct flow_table *table, uint32_t capacity, size_t entry_bytes,
                     uint64_t seed);
void flow_table_close(struct flow_table *table);

/** All return NULL for "none"; flow_add() when the table is full. The entry behind struct flow is
 *  zero after flow_add(). */
struct flow *flow_find(const struct flow_table *table, const struct nat_flow_key *key);
struct flow *flow_add(struct flow_table *table, const struct nat_flow_key *key);
struct flow *flow_oldest(const struct flow_table *table);

/** The entry in `slot`, used or not; slot < fresh. */
static inline struct flow *flow_at_slot(const struct flow_table *table, uint32_t slot)
{
    return (struct flow *)(void *)(table->entries + slot * table->entry_bytes);
}

/** The flow a cookie value of flow_cookie() names, unless it is gone. */
struct flow *flow_by_cookie(const struct flow_table *table, uint32_t value);
static inline uint32_t flow_cookie(const struct flow *flow)
{
    return (uint32_t)(flow->generation & 0x3fff) << 16 | flow->slot;
}

/** Makes the flow the most recently used one. */
void flow_touch(struct flow_table *table, struct flow *flow);
void flow_remove(struct flow_table *table, struct flow *flow);

#endif
