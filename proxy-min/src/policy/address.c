#include "policy/internal.h"

#include <stddef.h>
#include <string.h>

enum { IPV6_BYTES = 16 };

struct network {
    uint8_t prefix[IPV6_BYTES];
    uint8_t bits;
};

/* l2-proxy.md §6.1. */
static const struct network denied_ipv4[] = {
    {{0}, 8},         {{10}, 8},       {{100, 64}, 10},   {{127}, 8},
    {{169, 254}, 16}, {{172, 16}, 12}, {{192, 0, 0}, 24}, {{192, 168}, 16},
    {{198, 18}, 15},  {{224}, 4},      {{240}, 4},
};

static const struct network documentation_ipv4[] = {
    {{192, 0, 2}, 24},
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24},
};

static const struct network denied_ipv6[] = {
    {{0}, 128},
    {{[15] = 1}, 128},
    {{0xfe, 0x80}, 10},
    {{0xfe, 0xc0}, 10},
    {{0xfc}, 7},
    {{0xff}, 8},
    {{0x20, 0x01, 0x0d, 0xb8}, 32},
    {{0x01, 0x00}, 64}, /* 100::/64, discard only */
};

/* Networks that carry an IPv4 address, and where. */
static const struct {
    struct network network;
    uint8_t address_at;
} embedding_ipv6[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96}, 12}, /* ::ffff:0:0/96, IPv4-mapped */
    {{{0}, 96}, 12},                        /* ::/96, IPv4-compatible */
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},   /* 64:ff9b::/96, NAT64 */
    {{{0x20, 0x02}, 16}, 2},                /* 2002::/16, 6to4 */
};

static bool inside(const uint8_t *address, const struct network *network)
{
    const uint32_t whole = network->bits / 8;
    const uint32_t rest = network->bits % 8;

    if (memcmp(address, network->prefix, whole) != 0)
        return false;
    return rest == 0 || (address[whole] ^ network->prefix[whole]) >> (8 - rest) == 0;
}

static bool inside_any(const uint8_t *address, const struct network *networks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (inside(address, &networks[i]))
            return true;
    return false;
}

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

bool policy_address_denied(uint8_t family, const uint8_t *address, bool documentation_too)
{
    if (family == 4)
        return inside_any(address, denied_ipv4, COUNT(denied_ipv4)) ||
               (documentation_too &&
                inside_any(address, documentation_ipv4, COUNT(documentation_ipv4)));
    if (family != 6 || inside_any(address, denied_ipv6, COUNT(denied_ipv6)))
        return true;
    for (size_t i = 0; i < COUNT(embedding_ipv6); i++)
        if (inside(address, &embedding_ipv6[i].network))
            return policy_address_denied(4, address + embedding_ipv6[i].address_at,
                                         documentation_too);
    return false;
}
