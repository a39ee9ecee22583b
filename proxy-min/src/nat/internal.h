/*
 * internal.h - what the files of nat/ share: the session, a parsed packet, frame building, and
 *              how each protocol plugs in. Nobody outside this folder includes it (tests may).
 *
 * Flow of a frame   nat_input() → eth.c → ip4.c (lengths, checksum, fragments) → icmp.c, udp.c
 *                   or tcp.c. Each of those owns its table behind a pointer in struct nat.
 * Reaching out      Always through nat->host, never through a pointer kept elsewhere: the
 *                   gateway's own stream services answer behind the same calls.
 */
#ifndef PROXY_NAT_INTERNAL_H
#define PROXY_NAT_INTERNAL_H

#include "nat/nat.h"
#include "nic/packet.h"
#include "policy/policy.h"

struct nat {
    const struct nat_config *config;
    struct nat_host host; /* the caller's, behind gateway.c */
    struct nat_metrics *metrics;
    uint64_t now_us; /* set at every public call; the only clock */

    uint32_t frame_max_bytes; /* of a frame to the guest: tunnel limit, or the client's */
    uint32_t super_max_bytes; /* of a super-frame to the guest; 0: it takes none */
    bool in_super;            /* a super-frame is being taken in */
    uint32_t mtu;             /* IP bytes to it: lan_mtu, less if frame_max_bytes demands it */
    uint16_t ip_id;           /* for fragments; whole datagrams have DF and id 0 (RFC 6864 §4.1) */

    uint8_t guest_mac[ETH_ADDRESS_BYTES];
    bool guest_ready; /* leased, or seen using the lease address: TCP, UDP and ICMP are served */

    uint8_t link6[16], gateway6[16]; /* the gateway's IPv6 addresses: router, name server */
    uint32_t ip6_id;                 /* of the last datagram sent in fragments */
    uint64_t ra_due_us;              /* the next unsolicited router advertisement */
    bool guest6_seen;                /* guest_mac speaks IPv6, with or without an IPv4 lease */

    struct nat_tcp *tcp;
    struct nat_udp *udp;
    struct nat_dns *dns;
    struct nat_reassembly *reassembly;
    struct nat_gateway *gateway;
};

/* Both ends of a flow, seen from the LAN: `guest` is the guest's own address and port, `remote`
 * the one it wanted (before any forward rule). Families are equal. */
struct nat_flow_key {
    struct nat_endpoint guest, remote;
};

/* A packet whose lengths and checksums (IP and the protocol's) are verified. */
struct ip_packet {
    struct nat_flow_key key; /* ports are 0 until the protocol fills them in; TCP, UDP: filled */
    uint8_t protocol;
    uint8_t ttl;
    bool whole; /* IPv4's DF: it must not be cut on its way */
    /* The protocol header on. Stays in place until nat_flush(); where it would not (reassembled
     * datagrams), nat_tcp_flush() is called before it vanishes. */
    const uint8_t *payload;
    uint32_t payload_bytes; /* TCP: >= 20, and the data offset lies inside */
};

/* ---- nat.c: time, frames, egress ---- */

enum {
    NAT_IP_TTL = 64, /* §5 */
    NAT_FRAME_HEADERS_MAX = 14 + 40,
};

/** Bytes of Ethernet and IP header in front of the protocol's: 34 or 54. */
static inline uint32_t nat_frame_headers_bytes(uint8_t family)
{
    return ETH_HEADER_BYTES + (family == 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES);
}

/**
 * Writes the Ethernet and IP header of a packet from key->remote to key->guest that carries
 * `l4_bytes` of `protocol`. `frame` has room for them. Returns where the protocol header starts.
 */
uint8_t *nat_frame_headers(const struct nat *nat, uint8_t *frame, const struct nat_flow_key *key,
                           uint8_t protocol, uint32_t l4_bytes);

/** Pseudo-header sum of either family; the same in both directions. */
uint32_t nat_pseudo_sum(const struct nat_flow_key *key, uint8_t protocol, uint32_t l4_bytes);

/**
 * Places for up to `count` frames of at most `bytes` each; how many there are. 0: the queue is full
 * or the tunnel does not take so long a frame. nat->host.frame_commit() sends them.
 */
uint32_t nat_frames_begin(struct nat *nat, uint32_t bytes, uint32_t count, uint8_t **places);

/** One place for a lone frame, or NULL. Fill it, then nat_frame_send() with the same length. */
uint8_t *nat_frame_begin(struct nat *nat, uint32_t bytes);
void nat_frame_send(struct nat *nat, uint32_t bytes);

/**
 * Where a flow to `wanted` really goes: the first forward rule that names it, else itself if the
 * policy agrees (§6.1; a rule bypasses the address list, not the port list). False: refused, and
 * counted in policy_denied_total.
 */
bool nat_egress(struct nat *nat, enum policy_protocol protocol, const struct nat_endpoint *wanted,
                struct nat_endpoint *actual);

bool nat_endpoint_equal(const struct nat_endpoint *a, const struct nat_endpoint *b);

static inline bool nat_flow_key_equal(const struct nat_flow_key *a, const struct nat_flow_key *b)
{
    return nat_endpoint_equal(&a->guest, &b->guest) && nat_endpoint_equal(&a->remote, &b->remote);
}

static inline void nat_count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline void nat_gauge(_Atomic int64_t *gauge, int64_t change)
{
    atomic_fetch_add_explicit(gauge, change, memory_order_relaxed);
}

/* ---- cookies of host sockets ---- */

/* The two top bits of a cookie say who owns the socket; the rest is the owner's business. */
enum {
    NAT_COOKIE_SHIFT = 30,
    NAT_COOKIE_TCP = 0,
    NAT_COOKIE_UDP = 1,
    NAT_COOKIE_PING = 2,
};
#define NAT_COOKIE_VALUE_MASK ((1u << NAT_COOKIE_SHIFT) - 1)

static inline uint32_t nat_cookie(uint32_t owner, uint32_t value)
{
    return owner << NAT_COOKIE_SHIFT | (value & NAT_COOKIE_VALUE_MASK);
}

/* ---- icmp.c ---- */

enum nat_unreachable { /* translated to ICMP (RFC 792) or ICMPv6 (RFC 4443) by family */
                       NAT_UNREACHABLE_NET,
                       NAT_UNREACHABLE_HOST,
                       NAT_UNREACHABLE_PORT,
                       NAT_UNREACHABLE_PROHIBITED,
};

/**
 * Tells the guest that its packet could not be delivered: from key->remote, quoting an IP header
 * rebuilt from `key` and the first 8 bytes of its protocol header, `l4`. Dropped when the queue
 * is full.
 */
void nat_icmp_unreachable(struct nat *nat, enum nat_unreachable why, const struct nat_flow_key *key,
                          uint8_t protocol, const uint8_t *l4);

/* ---- tcp.c (all calls have nat->now_us set) ---- */

/** Memory of the TCP tables for `config`. */
size_t nat_tcp_bytes(const struct nat_config *config);
/** Allocates nat->tcp; false when memory ran out. Tables are zero pages until they are used. */
bool nat_tcp_open(struct nat *nat);
/** Resets every host socket and frees nat->tcp (may be NULL). */
void nat_tcp_close(struct nat *nat);
/** nat->mtu changed: no segment of the flows that are there may exceed it. */
void nat_tcp_fit(struct nat *nat);
/** A segment from the guest; only from the guest, by its MAC and address. */
void nat_tcp_input(struct nat *nat, const struct ip_packet *packet);
/** Ends a batch: hands gathered payload to the host, acknowledges, sends. */
void nat_tcp_flush(struct nat *nat);
void nat_tcp_event(struct nat *nat, uint32_t cookie, uint32_t events);
void nat_tcp_writable(struct nat *nat);
/** Runs TCP timers due at nat->now_us. */
void nat_tcp_tick(struct nat *nat);
/** When nat_tcp_tick() has something to do next, or UINT64_MAX. */
uint64_t nat_tcp_deadline(const struct nat *nat);

#endif
