#include "nat/ip6.h"

#include <string.h>

/* RFC 4861 §4.2, §6.2: what the guest learns of its LAN; RFC 8106: and of its name server. */
enum {
    ND_ROUTER_ADVERTISEMENT = 134,
    RA_BYTES = 16,
    RA_HOP_LIMIT_AT = 4,
    RA_FLAGS_AT = 5,
    RA_OTHER_CONFIG = 0x40, /* the rest by stateless DHCPv6 (RFC 8415) */
    RA_LIFETIME_AT = 6,

    OPTION_SOURCE_LINK = 1,
    OPTION_PREFIX = 3,
    OPTION_MTU = 5,
    OPTION_RDNSS = 25,
    PREFIX_OPTION_BYTES = 32,
    PREFIX_BITS = 64,
    PREFIX_ON_LINK = 0x80,
    PREFIX_AUTONOMOUS = 0x40,

    ROUTER_LIFETIME_S = 1800, /* §6.2.1: three times the interval */
    INTERVAL_S = 600,
    PREFERRED_S = 14400,
    VALID_S = 86400,
};

static uint8_t *option(uint8_t *at, uint8_t type, uint32_t bytes)
{
    memset(at, 0, bytes);
    at[0] = type;
    at[1] = (uint8_t)(bytes / 8);
    return at;
}

static void advertise(struct nat *nat)
{
    uint8_t icmp[RA_BYTES + 8 + 8 + PREFIX_OPTION_BYTES + 24] = {ND_ROUTER_ADVERTISEMENT};
    uint8_t *at = icmp + RA_BYTES;

    icmp[RA_HOP_LIMIT_AT] = NAT_IP_TTL;
    icmp[RA_FLAGS_AT] = RA_OTHER_CONFIG;
    be16_put(icmp + RA_LIFETIME_AT, ROUTER_LIFETIME_S);

    memcpy(option(at, OPTION_SOURCE_LINK, 8) + 2, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
    at += 8;
    be32_put(option(at, OPTION_MTU, 8) + 4, nat->mtu);
    at += 8;
    option(at, OPTION_PREFIX, PREFIX_OPTION_BYTES);
    at[2] = PREFIX_BITS;
    at[3] = PREFIX_ON_LINK | PREFIX_AUTONOMOUS;
    be32_put(at + 4, VALID_S);
    be32_put(at + 8, PREFERRED_S);
    memcpy(at + 16, nat->gateway6, PREFIX_BITS / 8);
    at += PREFIX_OPTION_BYTES;
    option(at, OPTION_RDNSS, 24);
    be32_put(at + 4, ROUTER_LIFETIME_S);
    memcpy(at + 8, nat->gateway6, 16);
    nat_nd_send(nat, nat_all_nodes6, icmp, sizeof icmp);
    nat->ra_due_us = nat->now_us + INTERVAL_S * UINT64_C(1000000);
}

/* §6.2.6: a solicitation may be answered to all nodes; the one there is listens. */
void nat_ra_solicited(struct nat *nat)
{
    advertise(nat);
}

void nat_ra_tick(struct nat *nat)
{
    if (nat->now_us >= nat->ra_due_us && nat_ip6_on(nat))
        advertise(nat);
}
