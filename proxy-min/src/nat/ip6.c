#include "nat/ip6.h"

#include <string.h>

/*
 * IPv6 towards the guest: headers checked from the outside in (RFC 8200), then the same TCP, UDP
 * and flow code as for IPv4. Off below the smallest MTU a link may have (§5).
 */
enum {
    MTU_MIN = 1280, /* RFC 8200 §5 */
    PREFIX_BYTES = 8,
    HEADERS_MAX = 8, /* extension headers of one packet; more is an attack */

    HEADER_HOP_BY_HOP = 0,
    HEADER_ROUTING = 43,
    HEADER_FRAGMENT = 44,
    HEADER_DESTINATION = 60,
    FRAGMENT_BYTES = 8,

    OPTION_PAD1 = 0,
};

/* RFC 4193: a prefix whose global ID was drawn once and for all; it never leaves the LAN, so
 * every proxy may use it, and a guest that reconnects elsewhere keeps its addresses. */
static const uint8_t lan_prefix[PREFIX_BYTES] = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0x00, 0x02};

void nat_ip6_open(struct nat *nat)
{
    const uint8_t *mac = nat->config->gateway_mac;
    const uint8_t link[16] = {0xfe,
                              0x80,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0, /* RFC 4291 §2.5.6, */
                              (uint8_t)(mac[0] ^ 2),
                              mac[1],
                              mac[2],
                              0xff,
                              0xfe, /* appendix A */
                              mac[3],
                              mac[4],
                              mac[5]};

    memcpy(nat->link6, link, sizeof link);
    memcpy(nat->gateway6, lan_prefix, PREFIX_BYTES);
    nat->gateway6[15] = 2; /* as 10.0.2.2 */
    nat->ra_due_us = UINT64_MAX;
    nat->ip6_id = (uint32_t)nat->host.random(nat->host.context);
}

bool nat_ip6_on(const struct nat *nat)
{
    return nat->config->ipv6 && nat->mtu >= MTU_MIN;
}

bool nat_is_gateway6(const struct nat *nat, const uint8_t *address)
{
    return memcmp(address, nat->gateway6, 16) == 0 || memcmp(address, nat->link6, 16) == 0;
}

bool nat_is_lan6(const uint8_t *address)
{
    return nat_is_link6(address) || memcmp(address, lan_prefix, PREFIX_BYTES) == 0;
}

static void malformed(struct nat *nat)
{
    nat_count(&nat->metrics->guest_malformed_total);
}

static void ignored(struct nat *nat)
{
    nat_count(&nat->metrics->guest_frames_ignored_total);
}

/* RFC 4291 §2.5.2: the unspecified address is only for who has none yet, asking for one; and a
 * link-local source has no business beyond the link (§2.5.6). */
static bool source_good(const struct nat *nat, const struct ip_packet *packet)
{
    const uint8_t *source = packet->key.guest.address, *to = packet->key.remote.address;

    if (nat_is_unspecified6(source))
        return packet->protocol == IP_PROTOCOL_ICMPV6 && (nat_is_group6(to) || nat_is_link6(to));
    if (nat_is_link6(source))
        return (nat_is_group6(to) || nat_is_gateway6(nat, to)) && !nat_is_gateway6(nat, source);
    return nat_is_lan6(source) && !nat_is_gateway6(nat, source);
}

/* One guest behind one tunnel, whichever protocol it began with. */
static bool guest_may_send(struct nat *nat, const uint8_t *source_mac,
                           const struct ip_packet *packet)
{
    if (source_good(nat, packet)) {
        if (!nat->guest_ready && !nat->guest6_seen)
            memcpy(nat->guest_mac, source_mac, ETH_ADDRESS_BYTES);
        nat->guest6_seen = true;
        if (memcmp(nat->guest_mac, source_mac, ETH_ADDRESS_BYTES) == 0)
            return true;
    }
    ignored(nat);
    return false;
}

static void deliver(struct nat *nat, struct ip_packet *packet)
{
    const uint8_t *to = packet->key.remote.address;
    const bool group = nat_is_group6(to);

    /* RFC 8200 §3: a router discards what it would forward with 0 left. */
    if (packet->ttl <= 1 && !group && !nat_is_gateway6(nat, to)) {
        if (packet->payload_bytes >= 8 &&
            (packet->protocol != IP_PROTOCOL_ICMPV6 || packet->payload[0] >= 128))
            nat_icmp6_time_exceeded(nat, &packet->key, packet->protocol, packet->payload);
        return;
    }
    if (packet->protocol == IP_PROTOCOL_ICMPV6)
        nat_icmp6_input(nat, packet);
    else if (packet->protocol == IP_PROTOCOL_UDP)
        nat_ip_udp(nat, packet);
    else if (packet->protocol == IP_PROTOCOL_TCP && !group)
        nat_ip_tcp(nat, packet);
    else
        ignored(nat);
}

/* RFC 8200 §4.2: options with 00 in the two highest bits may be skipped, the others we don't know
 * and discard the packet. */
static bool options_skippable(const uint8_t *options, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes;) {
        if (options[at] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (bytes - at < 2 || options[at + 1] > bytes - at - 2 || options[at] >> 6 != 0)
            return false;
        at += 2u + options[at + 1];
    }
    return true;
}

/* Moves past the header packet->protocol names; false: the packet ends here. */
static bool skip_header(struct ip_packet *packet, bool first)
{
    const uint8_t *header = packet->payload;
    const uint8_t type = packet->protocol;

    if (packet->payload_bytes < 8 || (type == HEADER_HOP_BY_HOP && !first))
        return false;
    const uint32_t bytes = 8u + 8u * header[1];

    if (bytes > packet->payload_bytes)
        return false;
    if (type == HEADER_ROUTING ? header[3] != 0 /* §4.4: segments left */
                               : !options_skippable(header + 2, bytes - 2))
        return false;
    packet->protocol = header[0];
    packet->payload += bytes;
    packet->payload_bytes -= bytes;
    return true;
}

/* §4.5. False: nothing to deliver yet, or ever. */
static bool take_fragment(struct nat *nat, struct ip_packet *packet, bool *whole)
{
    const uint8_t *header = packet->payload;

    if (packet->payload_bytes < FRAGMENT_BYTES) {
        malformed(nat);
        return false;
    }
    const uint32_t field = be16_get(header + 2);
    struct ip_fragment fragment = {
        .family = 6,
        .protocol = header[0],
        .ttl = packet->ttl,
        .id = be32_get(header + 4),
        .offset = field & 0xfff8,
        .more = (field & 1) != 0,
        .data = header + FRAGMENT_BYTES,
        .bytes = packet->payload_bytes - FRAGMENT_BYTES,
    };

    packet->protocol = header[0];
    packet->payload += FRAGMENT_BYTES;
    packet->payload_bytes -= FRAGMENT_BYTES;
    if (fragment.offset == 0 && !fragment.more) /* RFC 6946: atomic, on its own */
        return true;
    memcpy(fragment.source, packet->key.guest.address, 16);
    memcpy(fragment.destination, packet->key.remote.address, 16);
    packet->payload = nat_reassembly_take(nat, &fragment, &packet->payload_bytes);
    *whole = packet->payload != NULL;
    return *whole;
}

void nat_ip6_input(struct nat *nat, const uint8_t *source_mac, const uint8_t *ip, uint32_t bytes)
{
    if (bytes < IPV6_HEADER_BYTES || ip[0] >> 4 != 6 ||
        be16_get(ip + IPV6_PAYLOAD_LENGTH_AT) > bytes - IPV6_HEADER_BYTES) {
        malformed(nat);
        return;
    }
    struct ip_packet packet = {
        .key = {.guest = {.family = 6}, .remote = {.family = 6}},
        .protocol = ip[IPV6_NEXT_HEADER_AT],
        .ttl = ip[IPV6_HOP_LIMIT_AT],
        .payload = ip + IPV6_HEADER_BYTES,
        .payload_bytes = be16_get(ip + IPV6_PAYLOAD_LENGTH_AT),
    };
    bool first = true, reassembled = false;

    memcpy(packet.key.guest.address, ip + IPV6_SOURCE_AT, 16);
    memcpy(packet.key.remote.address, ip + IPV6_DESTINATION_AT, 16);
    for (uint32_t count = 0;; count++, first = false) {
        const uint8_t type = packet.protocol;

        if (count == HEADERS_MAX) {
            malformed(nat);
            return;
        }
        if (type == HEADER_FRAGMENT) {
            /* Before it may take a place of the table: is it the guest's? */
            if (reassembled || !guest_may_send(nat, source_mac, &packet) ||
                !take_fragment(nat, &packet, &reassembled))
                return;
        } else if (type == HEADER_HOP_BY_HOP || type == HEADER_ROUTING ||
                   type == HEADER_DESTINATION) {
            if (!skip_header(&packet, first)) {
                malformed(nat);
                return;
            }
        } else {
            break;
        }
    }
    if (guest_may_send(nat, source_mac, &packet))
        deliver(nat, &packet);
    if (reassembled)
        nat_tcp_flush(nat); /* the payload does not outlive the next fragment */
}

/* RFC 8200 §4.5: all fragments but the last carry a multiple of 8 bytes. */
bool nat_ip6_send(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                  const uint8_t *l4, uint32_t l4_bytes)
{
    const bool cut = l4_bytes > nat->mtu - IPV6_HEADER_BYTES;
    const uint32_t head_bytes = cut ? FRAGMENT_BYTES : 0;
    const uint32_t step = cut ? (nat->mtu - IPV6_HEADER_BYTES - FRAGMENT_BYTES) / 8 * 8 : l4_bytes;
    uint32_t at = 0;

    if (cut)
        nat->ip6_id++;
    do {
        const uint32_t part = l4_bytes - at < step ? l4_bytes - at : step;
        const uint32_t frame_bytes = nat_frame_headers_bytes(6) + head_bytes + part;
        uint8_t *frame = nat_frame_begin(nat, frame_bytes);

        if (frame == NULL)
            return false;
        uint8_t *to =
            nat_frame_headers(nat, frame, key, cut ? HEADER_FRAGMENT : protocol, head_bytes + part);

        if (cut) {
            to[0] = protocol;
            to[1] = 0;
            be16_put(to + 2, (uint16_t)(at | (at + part < l4_bytes ? 1u : 0u)));
            be32_put(to + 4, nat->ip6_id);
        }
        memcpy(to + head_bytes, l4 + at, part);
        nat_frame_send(nat, frame_bytes);
        at += part;
    } while (at < l4_bytes);
    return true;
}
