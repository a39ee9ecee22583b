/*
 * ip6.h - IPv6 on the guest's LAN: addresses, neighbours, routers, ICMPv6 and stateless DHCPv6.
 *
 * Source   RFC 8200 (IPv6), 4291 (addresses), 4861 and 4862 (neighbours, autoconfiguration),
 *          4443 (ICMPv6), 8106 (RDNSS), 8415 (DHCPv6); cited in each file.
 * LAN      One /64 of unique local addresses (RFC 4193). The gateway is fe80::/EUI-64 as router
 *          and prefix::2 as name server; the guest makes its own addresses.
 */
#ifndef PROXY_NAT_IP6_H
#define PROXY_NAT_IP6_H

#include "nat/parts.h"

/* ---- nd.c, ra.c ---- */

/** Router and neighbour solicitations; the checksum holds. Others are ignored. */
void nat_nd_input(struct nat *nat, const struct ip_packet *packet);
/** An ICMPv6 message of the gateway's, checksum still open, with hop limit 255 (RFC 4861). */
void nat_nd_send(struct nat *nat, const uint8_t *to, uint8_t *icmp, uint32_t bytes);
/** Answers a solicitation; from then on advertisements go out by themselves. */
void nat_ra_solicited(struct nat *nat);
void nat_ra_tick(struct nat *nat);

/* ---- icmp6.c ---- */

void nat_icmp6_input(struct nat *nat, const struct ip_packet *packet);
void nat_icmp6_unreachable(struct nat *nat, enum nat_unreachable why,
                           const struct nat_flow_key *key, uint8_t protocol, const uint8_t *l4);
void nat_icmp6_time_exceeded(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                             const uint8_t *l4);

/* ---- addresses ---- */

extern const uint8_t nat_all_nodes6[16];

static inline bool nat_is_group6(const uint8_t *address)
{
    return address[0] == 0xff;
}

static inline bool nat_is_link6(const uint8_t *address) /* fe80::/10 */
{
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static inline bool nat_is_unspecified6(const uint8_t *address)
{
    uint8_t any = 0;

    for (int i = 0; i < 16; i++)
        any |= address[i];
    return any == 0;
}

#endif
