#include "nat/flow.h"

#include "memory/pages.h"

#include <string.h>

enum { FLOW_CAPACITY_MAX = 65535 }; /* a slot fits the 16 bits flow_cookie() gives it */

static struct flow *flow_at(const struct flow_table *table, uint32_t link)
{
    return link == 0 ? NULL : flow_at_slot(table, link - 1);
}

static uint32_t bucket_count(uint32_t capacity)
{
    uint32_t count = 16;

    while (count < capacity)
        count *= 2;
    return count;
}

size_t flow_table_bytes(uint32_t capacity, size_t entry_bytes)
{
    return capacity * entry_bytes + bucket_count(capacity) * sizeof(uint32_t);
}

bool flow_table_open(struct flow_table *table, uint32_t capacity, size_t entry_bytes, uint64_t seed)
{
    if (capacity > FLOW_CAPACITY_MAX)
        capacity = FLOW_CAPACITY_MAX;
    const uint32_t buckets = bucket_count(capacity);

    *table = (struct flow_table){
        .entries = pages_alloc(capacity, entry_bytes),
        .buckets = pages_alloc(buckets, sizeof(uint32_t)),
        .seed = seed | 1,
        .entry_bytes = entry_bytes,
        .capacity = capacity,
        .bucket_mask = buckets - 1,
    };
    if (table->entries != NULL && table->buckets != NULL)
        return true;
    flow_table_close(table);
    return false;
}

void flow_table_close(struct flow_table *table)
{
    pages_free(table->entries, table->capacity, table->entry_bytes);
    pages_free(table->buckets, table->bucket_mask + 1, sizeof(uint32_t));
    *table = (struct flow_table){.entries = NULL};
}

/* Multiply and fold, seeded: fast, and not predictable without the seed. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t mix_endpoint(uint64_t hash, const struct nat_endpoint *endpoint)
{
    uint64_t words[2] = {0, 0};

    memcpy(words, endpoint->address, endpoint->family == 6 ? 16 : 4);
    hash = mix(hash, words[0]);
    if (endpoint->family == 6)
        hash = mix(hash, words[1]);
    return mix(hash, endpoint->port);
}

static uint32_t *bucket_of(const struct flow_table *table, const struct nat_flow_key *key)
{
    uint64_t hash = mix_endpoint(table->seed, &key->remote);

    hash = mix_endpoint(hash, &key->guest);
    hash = mix(hash, table->seed);
    return &table->buckets[(uint32_t)(hash >> 32) & table->bucket_mask];
}

struct flow *flow_find(const struct flow_table *table, const struct nat_flow_key *key)
{
    struct flow *flow = flow_at(table, *bucket_of(table, key));

    while (flow != NULL && !nat_flow_key_equal(&flow->key, key))
        flow = flow_at(table, flow->hash_next);
    return flow;
}

static void lru_append(struct flow_table *table, struct flow *flow)
{
    struct flow *newest = flow_at(table, table->newest);

    flow->older = table->newest;
    flow->newer = 0;
    if (newest != NULL)
        newest->newer = flow->slot + 1;
    else
        table->oldest = flow->slot + 1;
    table->newest = flow->slot + 1;
}

static void lru_unlink(struct flow_table *table, const struct flow *flow)
{
    struct flow *older = flow_at(table, flow->older);
    struct flow *newer = flow_at(table, flow->newer);

    if (older != NULL)
        older->newer = flow->newer;
    else
        table->oldest = flow->newer;
    if (newer != NULL)
        newer->older = flow->older;
    else
        table->newest = flow->older;
}

struct flow *flow_add(struct flow_table *table, const struct nat_flow_key *key)
{
    uint32_t link = table->free_head;
    uint16_t generation = 0;

    if (link != 0) {
        struct flow *free_flow = flow_at(table, link);

        table->free_head = free_flow->hash_next;
        generation = free_flow->generation;
    } else if (table->fresh < table->capacity) {
        link = ++table->fresh;
    } else {
        return NULL;
    }
    struct flow *flow = flow_at(table, link);
    uint32_t *bucket = bucket_of(table, key);

    memset(flow, 0, table->entry_bytes);
    flow->key = *key;
    flow->slot = link - 1;
    flow->generation = generation;
    flow->used = true;
    flow->hash_next = *bucket;
    *bucket = link;
    lru_append(table, flow);
    table->count++;
    return flow;
}

struct flow *flow_oldest(const struct flow_table *table)
{
    return flow_at(table, table->oldest);
}

struct flow *flow_by_cookie(const struct flow_table *table, uint32_t value)
{
    const uint32_t slot = value & 0xffff;

    if (slot >= table->fresh)
        return NULL;
    struct flow *flow = flow_at(table, slot + 1);

    return flow->used && flow_cookie(flow) == value ? flow : NULL;
}

void flow_touch(struct flow_table *table, struct flow *flow)
{
    if (table->newest == flow->slot + 1)
        return;
    lru_unlink(table, flow);
    lru_append(table, flow);
}

void flow_remove(struct flow_table *table, struct flow *flow)
{
    uint32_t *link = bucket_of(table, &flow->key);

    while (*link != flow->slot + 1)
        link = &flow_at(table, *link)->hash_next;
    *link = flow->hash_next;
    lru_unlink(table, flow);
    flow->used = false;
    flow->generation++;
    flow->hash_next = table->free_head;
    table->free_head = flow->slot + 1;
    table->count--;
}
