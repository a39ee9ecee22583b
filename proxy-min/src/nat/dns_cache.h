/*
 * dns_cache.h - answers kept until their TTL ends: name and type → rcode and answer section.
 *
 * Memory   Sized once; the oldest entry makes room for a new one (§5.4). Pages never used stay
 *          with the operating system.
 */
#ifndef PROXY_NAT_DNS_CACHE_H
#define PROXY_NAT_DNS_CACHE_H

#include "nat/dns_wire.h"

enum { DNS_CACHED_BYTES_MAX = 512 }; /* of an answer section; longer ones are asked for again */

struct dns_cached {
    char name[DNS_NAME_TEXT_BYTES];
    uint16_t type;
    uint8_t rcode;
    bool used;
    uint16_t count; /* records */
    uint16_t bytes; /* of them */
    uint32_t next;  /* in the bucket; slot + 1 */
    uint64_t expires_us;
    uint8_t records[DNS_CACHED_BYTES_MAX];
};

struct dns_cache {
    struct dns_cached *entries;
    uint32_t *buckets;
    uint32_t capacity, bucket_mask;
    uint32_t turn; /* the slot filled next: the oldest one */
    uint64_t seed;
};

size_t dns_cache_bytes(uint32_t capacity);
bool dns_cache_open(struct dns_cache *cache, uint32_t capacity, uint64_t seed);
void dns_cache_close(struct dns_cache *cache);

/** NULL: not there, or expired. */
const struct dns_cached *dns_cache_find(const struct dns_cache *cache, const char *name,
                                        uint16_t type, uint64_t now_us);
/** Ignored when the answer is too long or the cache is off. */
void dns_cache_put(struct dns_cache *cache, const char *name, uint16_t type, uint8_t rcode,
                   const uint8_t *records, size_t bytes, uint16_t count, uint64_t expires_us);

#endif
