#include "nat/dns_cache.h"

#include "memory/pages.h"

#include <string.h>

static uint32_t bucket_count(uint32_t capacity)
{
    uint32_t count = 16;

    while (count < capacity)
        count *= 2;
    return count;
}

size_t dns_cache_bytes(uint32_t capacity)
{
    return capacity * sizeof(struct dns_cached) + bucket_count(capacity) * sizeof(uint32_t);
}

bool dns_cache_open(struct dns_cache *cache, uint32_t capacity, uint64_t seed)
{
    const uint32_t buckets = bucket_count(capacity);

    *cache = (struct dns_cache){
        .entries = pages_alloc(capacity, sizeof *cache->entries),
        .buckets = pages_alloc(buckets, sizeof *cache->buckets),
        .capacity = capacity,
        .bucket_mask = buckets - 1,
        .seed = seed,
    };
    if (cache->entries != NULL && cache->buckets != NULL)
        return true;
    dns_cache_close(cache);
    return false;
}

void dns_cache_close(struct dns_cache *cache)
{
    pages_free(cache->entries, cache->capacity, sizeof *cache->entries);
    pages_free(cache->buckets, cache->bucket_mask + 1, sizeof *cache->buckets);
    *cache = (struct dns_cache){.entries = NULL};
}

/* FNV-1a over a secret start: the guest chooses names, not buckets. */
static uint32_t *bucket_of(const struct dns_cache *cache, const char *name, uint16_t type)
{
    uint64_t hash = (cache->seed ^ type) * 0x100000001b3u;

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    hash ^= hash >> 32;
    return &cache->buckets[(uint32_t)hash & cache->bucket_mask];
}

static struct dns_cached *find(const struct dns_cache *cache, const char *name, uint16_t type)
{
    uint32_t link = *bucket_of(cache, name, type);

    while (link != 0) {
        struct dns_cached *entry = &cache->entries[link - 1];

        if (entry->type == type && strcmp(entry->name, name) == 0)
            return entry;
        link = entry->next;
    }
    return NULL;
}

const struct dns_cached *dns_cache_find(const struct dns_cache *cache, const char *name,
                                        uint16_t type, uint64_t now_us)
{
    const struct dns_cached *entry = find(cache, name, type);

    return entry != NULL && entry->expires_us > now_us ? entry : NULL;
}

static void unlink_entry(struct dns_cache *cache, struct dns_cached *entry)
{
    uint32_t *link = bucket_of(cache, entry->name, entry->type);
    const uint32_t self = (uint32_t)(entry - cache->entries) + 1;

    while (*link != self)
        link = &cache->entries[*link - 1].next;
    *link = entry->next;
    entry->used = false;
}

void dns_cache_put(struct dns_cache *cache, const char *name, uint16_t type, uint8_t rcode,
                   const uint8_t *records, size_t bytes, uint16_t count, uint64_t expires_us)
{
    if (cache->capacity == 0 || bytes > DNS_CACHED_BYTES_MAX)
        return;
    struct dns_cached *entry = find(cache, name, type);

    if (entry == NULL) {
        entry = &cache->entries[cache->turn];
        cache->turn = (cache->turn + 1) % cache->capacity;
        if (entry->used)
            unlink_entry(cache, entry);
        uint32_t *bucket = bucket_of(cache, name, type);

        strcpy(entry->name, name); /* both are DNS_NAME_TEXT_BYTES long */
        entry->type = type;
        entry->used = true;
        entry->next = *bucket;
        *bucket = (uint32_t)(entry - cache->entries) + 1;
    }
    entry->rcode = rcode;
    entry->count = count;
    entry->bytes = (uint16_t)bytes;
    entry->expires_us = expires_us;
    memcpy(entry->records, records, bytes);
}
