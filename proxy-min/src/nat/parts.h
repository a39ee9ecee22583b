/*
 * parts.h - the protocols of nat/ besides TCP, as nat.c and each other see them.
 */
#ifndef PROXY_NAT_PARTS_H
#define PROXY_NAT_PARTS_H

#include "nat/internal.h"

/* ---- ip4.c, reassembly.c ---- */

/** An Ethernet frame of type IPv4; `bytes` counts from the IP header on. */
void nat_ip4_input(struct nat *nat, const uint8_t *source_mac, const uint8_t *ip, uint32_t bytes);

/**
 * Sends `l4_bytes` (at most 65515) of `protocol` from key->remote to key->guest, as fragments
 * where the MTU demands it. False: the queue is full and nothing, or not all, was sent.
 */
bool nat_ip4_send(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                  const uint8_t *l4, uint32_t l4_bytes);

/** Packets whose IP headers are done with: header and checksum, then to their protocol. */
void nat_ip_udp(struct nat *nat, struct ip_packet *packet);
void nat_ip_tcp(struct nat *nat, struct ip_packet *packet);

/* One fragment, header checked. */
struct ip_fragment {
    uint8_t source[16], destination[16]; /* IPv4: four bytes, the rest 0 */
    uint8_t family, protocol, ttl;
    uint32_t id;
    uint32_t offset; /* bytes */
    bool more;
    const uint8_t *data;
    uint32_t bytes;
};

size_t nat_reassembly_bytes(void);
bool nat_reassembly_open(struct nat *nat);
void nat_reassembly_close(struct nat *nat);
/**
 * Takes a fragment. Returns the datagram's payload once it is complete, with its length in
 * *bytes; it stays in place until the next call. Else NULL.
 */
const uint8_t *nat_reassembly_take(struct nat *nat, const struct ip_fragment *fragment,
                                   uint32_t *bytes);
void nat_reassembly_tick(struct nat *nat);
uint64_t nat_reassembly_deadline(const struct nat *nat);

/* ---- ip6.c, dhcp6.c; more in ip6.h ---- */

void nat_ip6_open(struct nat *nat);
/** Switched on, and the LAN's MTU is large enough for it. */
bool nat_ip6_on(const struct nat *nat);
/** An Ethernet frame of type IPv6; only while it is on. */
void nat_ip6_input(struct nat *nat, const uint8_t *source_mac, const uint8_t *ip, uint32_t bytes);
/** As nat_ip4_send(), over IPv6. */
bool nat_ip6_send(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                  const uint8_t *l4, uint32_t l4_bytes);
bool nat_is_gateway6(const struct nat *nat, const uint8_t *address);
/** On the LAN: its prefix, or link-local. */
bool nat_is_lan6(const uint8_t *address);
/** A UDP payload to port 547 of the gateway, or of all DHCPv6 servers. */
void nat_dhcp6_input(struct nat *nat, const struct nat_flow_key *key, const uint8_t *message,
                     uint32_t bytes);

/** nat_ip4_send() or nat_ip6_send(), by the key's family. */
static inline bool nat_ip_send(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                               const uint8_t *l4, uint32_t l4_bytes)
{
    return key->guest.family == 6 ? nat_ip6_send(nat, key, protocol, l4, l4_bytes)
                                  : nat_ip4_send(nat, key, protocol, l4, l4_bytes);
}

/* ---- arp.c ---- */

void nat_arp_input(struct nat *nat, const uint8_t *arp, uint32_t bytes);

/* ---- dhcp.c ---- */

/** A UDP payload to port 67, from any address. */
void nat_dhcp_input(struct nat *nat, const uint8_t *message, uint32_t bytes);

/* ---- icmp.c ---- */

void nat_icmp_input(struct nat *nat, const struct ip_packet *packet);
/** Time exceeded (RFC 792 type 11 code 0) for a packet that would leave with TTL 0. */
void nat_icmp_time_exceeded(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                            const uint8_t *l4);
/** RFC 792, RFC 1191 §4: the packet is longer than the path's `mtu`, and must not be cut. */
void nat_icmp_too_long(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                       const uint8_t *l4, uint16_t mtu);

/* ---- udp.c ---- */

size_t nat_udp_bytes(const struct nat_config *config);
bool nat_udp_open(struct nat *nat);
void nat_udp_close(struct nat *nat);
/** A datagram from the guest: header and checksum verified, ports in the key. */
void nat_udp_input(struct nat *nat, const struct ip_packet *packet);
/** An echo request to the world (§5.3): an ICMP socket of the host, kept as a UDP flow is. */
void nat_udp_ping(struct nat *nat, const struct ip_packet *packet);
void nat_udp_event(struct nat *nat, uint32_t cookie, uint32_t events);
void nat_udp_writable(struct nat *nat);
void nat_udp_tick(struct nat *nat);
uint64_t nat_udp_deadline(const struct nat *nat);
/** Sends a datagram from key->remote to key->guest; dropped when the queue is full. `room` is
 *  payload preceded by UDP_HEADER_BYTES of space for the header. */
bool nat_udp_send(struct nat *nat, const struct nat_flow_key *key, uint8_t *room,
                  uint32_t payload_bytes);

/* ---- dns.c ---- */

size_t nat_dns_bytes(const struct nat_config *config);
bool nat_dns_open(struct nat *nat);
void nat_dns_close(struct nat *nat);

/* Who asked: a UDP flow, or a stream of gateway.c (0: none). */
struct dns_client {
    struct nat_flow_key key;
    int stream;
};

/** A query to the gateway's port 53. False: dropped, no answer will follow. */
bool nat_dns_input(struct nat *nat, const struct dns_client *client, const uint8_t *message,
                   uint32_t bytes);
void nat_dns_tick(struct nat *nat);
uint64_t nat_dns_deadline(const struct nat *nat);

/* ---- gateway.c ---- */

size_t nat_gateway_bytes(void);
/** Puts the gateway's own stream services in front of `host`: sets nat->host. */
bool nat_gateway_open(struct nat *nat, const struct nat_host *host);
void nat_gateway_close(struct nat *nat);
/** True for a TCP endpoint that is answered here (DNS over TCP). */
bool nat_gateway_serves(const struct nat *nat, const struct nat_endpoint *remote);
void nat_gateway_reply(struct nat *nat, int stream, const uint8_t *message, uint32_t bytes);
/** Tells tcp.c what happened on the gateway's streams; never called from inside a host call. */
void nat_gateway_run(struct nat *nat);
uint64_t nat_gateway_deadline(const struct nat *nat);

/* ---- nat.c ---- */

/** The guest with this MAC uses the lease address from now on. */
void nat_guest_is(struct nat *nat, const uint8_t *mac);

static inline bool nat_is_guest4(const struct nat *nat, const uint8_t *address)
{
    return be32_get(address) == be32_get(nat->config->guest);
}

static inline bool nat_is_gateway4(const struct nat *nat, const uint8_t *address)
{
    return be32_get(address) == be32_get(nat->config->gateway);
}

/** nat_egress() for what has no port: address policy alone, no forward rules. */
bool nat_egress_address(struct nat *nat, const struct nat_endpoint *wanted);

/** Limited, directed or multicast: never leaves the LAN. */
bool nat_is_group4(const struct nat *nat, const uint8_t *address);

#endif
