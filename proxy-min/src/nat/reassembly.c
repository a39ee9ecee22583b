#include "memory/pages.h"
#include "nat/parts.h"

#include <stdlib.h>
#include <string.h>

/*
 * RFC 791 §3.2 and RFC 8200 §4.5 with the bounds of §5: so many datagrams at a time, so large, for
 * so long. A bit map says which 8-byte blocks have arrived; a fragment that covers an arrived block
 * makes the datagram worthless (RFC 5722's rule, for IPv4 as well), so no byte is ever written
 * twice.
 */
enum {
    DATAGRAMS_MAX = 16,
    DATAGRAM_BYTES_MAX = 65535 - IPV4_HEADER_BYTES,
    BLOCKS_MAX = (65536 / 8),
    LIFETIME_US = 30 * 1000 * 1000,
};

struct datagram {
    bool used, broken;
    uint8_t source[16], destination[16];
    uint8_t family, protocol;
    uint32_t id;
    uint64_t expires_us;
    uint32_t total_bytes; /* 0 until the last fragment came */
    uint32_t held_bytes;
    uint32_t end_bytes; /* the furthest byte that arrived */
};

/* Kept apart, so that looking for a datagram touches no page of another. */
struct content {
    uint8_t arrived[BLOCKS_MAX / 8];
    uint8_t data[65536];
};

struct nat_reassembly {
    struct content *contents; /* one for each datagram */
    uint32_t used_count;
    struct datagram datagrams[DATAGRAMS_MAX];
};

size_t nat_reassembly_bytes(void)
{
    return sizeof(struct nat_reassembly) + DATAGRAMS_MAX * sizeof(struct content);
}

bool nat_reassembly_open(struct nat *nat)
{
    nat->reassembly = calloc(1, sizeof *nat->reassembly);
    if (nat->reassembly == NULL)
        return false;
    nat->reassembly->contents = pages_alloc(DATAGRAMS_MAX, sizeof(struct content));
    return nat->reassembly->contents != NULL;
}

void nat_reassembly_close(struct nat *nat)
{
    if (nat->reassembly != NULL)
        pages_free(nat->reassembly->contents, DATAGRAMS_MAX, sizeof(struct content));
    free(nat->reassembly);
}

static struct content *content_of(struct nat_reassembly *table, const struct datagram *datagram)
{
    return &table->contents[datagram - table->datagrams];
}

static void forget(struct nat_reassembly *table, struct datagram *datagram)
{
    datagram->used = false;
    table->used_count--;
}

static struct datagram *find(struct nat_reassembly *table, const struct ip_fragment *fragment)
{
    for (uint32_t i = 0; i < DATAGRAMS_MAX; i++) {
        struct datagram *datagram = &table->datagrams[i];

        if (datagram->used && datagram->id == fragment->id &&
            datagram->family == fragment->family && datagram->protocol == fragment->protocol &&
            memcmp(datagram->source, fragment->source, 16) == 0 &&
            memcmp(datagram->destination, fragment->destination, 16) == 0)
            return datagram;
    }
    return NULL;
}

/* A free place, or the one that would expire first. */
static struct datagram *claim(struct nat *nat, const struct ip_fragment *fragment)
{
    struct nat_reassembly *table = nat->reassembly;
    struct datagram *chosen = &table->datagrams[0];

    for (uint32_t i = 0; i < DATAGRAMS_MAX && chosen->used; i++) {
        struct datagram *datagram = &table->datagrams[i];

        if (!datagram->used || datagram->expires_us < chosen->expires_us)
            chosen = datagram;
    }
    if (chosen->used)
        nat_count(&nat->metrics->guest_frames_ignored_total);
    else
        table->used_count++;
    chosen->used = true;
    chosen->broken = false;
    chosen->protocol = fragment->protocol;
    chosen->id = fragment->id;
    chosen->family = fragment->family;
    memcpy(chosen->source, fragment->source, 16);
    memcpy(chosen->destination, fragment->destination, 16);
    chosen->expires_us = nat->now_us + LIFETIME_US;
    chosen->total_bytes = 0;
    chosen->held_bytes = 0;
    chosen->end_bytes = 0;
    memset(content_of(table, chosen)->arrived, 0, sizeof table->contents->arrived);
    return chosen;
}

/* Marks the fragment's blocks; false if one of them was there before. */
static bool mark(struct content *content, uint32_t offset, uint32_t bytes)
{
    const uint32_t end = (offset + bytes + 7) / 8;

    for (uint32_t block = offset / 8; block < end; block++) {
        if ((content->arrived[block / 8] & 1u << block % 8) != 0)
            return false;
        content->arrived[block / 8] |= (uint8_t)(1u << block % 8);
    }
    return true;
}

static bool fits(const struct datagram *datagram, const struct ip_fragment *fragment)
{
    const uint32_t end = fragment->offset + fragment->bytes; /* both below 2^16: cannot wrap */

    if (fragment->bytes == 0 || end > DATAGRAM_BYTES_MAX)
        return false;
    if (fragment->more)
        return fragment->bytes % 8 == 0 &&
               (datagram->total_bytes == 0 || end <= datagram->total_bytes);
    return datagram->total_bytes == 0 && datagram->end_bytes <= end;
}

/* The same bytes once more: harmless, a duplicate. */
static bool seen(const struct datagram *datagram, const struct content *content,
                 const struct ip_fragment *fragment)
{
    const uint32_t end = (fragment->offset + fragment->bytes + 7) / 8;

    if (fragment->bytes == 0 || end > BLOCKS_MAX ||
        fragment->offset + fragment->bytes > datagram->end_bytes)
        return false;
    for (uint32_t block = fragment->offset / 8; block < end; block++)
        if ((content->arrived[block / 8] & 1u << block % 8) == 0)
            return false;
    return memcmp(content->data + fragment->offset, fragment->data, fragment->bytes) == 0;
}

const uint8_t *nat_reassembly_take(struct nat *nat, const struct ip_fragment *fragment,
                                   uint32_t *bytes)
{
    struct nat_reassembly *table = nat->reassembly;
    struct datagram *datagram = find(table, fragment);

    if (datagram == NULL)
        datagram = claim(nat, fragment);
    struct content *content = content_of(table, datagram);

    if (datagram->broken || seen(datagram, content, fragment))
        return NULL;
    if (!fits(datagram, fragment) || !mark(content, fragment->offset, fragment->bytes)) {
        /* Kept until it expires, so that its other fragments don't start a datagram anew. */
        nat_count(&nat->metrics->guest_malformed_total);
        datagram->broken = true;
        return NULL;
    }
    memcpy(content->data + fragment->offset, fragment->data, fragment->bytes);
    datagram->held_bytes += fragment->bytes;
    if (datagram->end_bytes < fragment->offset + fragment->bytes)
        datagram->end_bytes = fragment->offset + fragment->bytes;
    if (!fragment->more)
        datagram->total_bytes = fragment->offset + fragment->bytes;
    /* No block was marked twice and none lies behind the end, so equal sums mean no gap. */
    if (datagram->total_bytes == 0 || datagram->held_bytes < datagram->total_bytes)
        return NULL;
    forget(table, datagram); /* its bytes stay until the next claim() */
    *bytes = datagram->total_bytes;
    return content->data;
}

void nat_reassembly_tick(struct nat *nat)
{
    struct nat_reassembly *table = nat->reassembly;

    for (uint32_t i = 0; table->used_count != 0 && i < DATAGRAMS_MAX; i++)
        if (table->datagrams[i].used && table->datagrams[i].expires_us <= nat->now_us)
            forget(table, &table->datagrams[i]);
}

uint64_t nat_reassembly_deadline(const struct nat *nat)
{
    const struct nat_reassembly *table = nat->reassembly;
    uint64_t first = UINT64_MAX;

    for (uint32_t i = 0; table->used_count != 0 && i < DATAGRAMS_MAX; i++)
        if (table->datagrams[i].used && table->datagrams[i].expires_us < first)
            first = table->datagrams[i].expires_us;
    return first;
}
