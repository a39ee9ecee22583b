#include "nat/ip6.h"

#include <string.h>

/* RFC 4861: router and neighbour discovery, the gateway's half. */
enum {
    ND_ROUTER_SOLICITATION = 133,
    ND_NEIGHBOUR_SOLICITATION = 135,
    ND_NEIGHBOUR_ADVERTISEMENT = 136,

    ND_HOP_LIMIT = 255,
    RS_BYTES = 8,
    NS_BYTES = 24,
    TARGET_AT = 8,
    NA_FLAGS_AT = 4,
    NA_ROUTER = 0x80,
    NA_SOLICITED = 0x40,
    NA_OVERRIDE = 0x20,

    OPTION_SOURCE_LINK = 1,
    OPTION_TARGET_LINK = 2,
};

const uint8_t nat_all_nodes6[16] = {0xff, 0x02, [15] = 1};

void nat_nd_send(struct nat *nat, const uint8_t *to, uint8_t *icmp, uint32_t bytes)
{
    const uint32_t frame_bytes = nat_frame_headers_bytes(6) + bytes;
    struct nat_flow_key key = {.guest = {.family = 6}, .remote = {.family = 6}};
    uint8_t *frame = nat_frame_begin(nat, frame_bytes);

    if (frame == NULL)
        return;
    memcpy(key.guest.address, to, 16);
    memcpy(key.remote.address, nat->link6, 16);
    be16_put(icmp + ICMP_CHECKSUM_AT, 0);
    be16_put(icmp + ICMP_CHECKSUM_AT,
             checksum_finish(
                 checksum_add(nat_pseudo_sum(&key, IP_PROTOCOL_ICMPV6, bytes), icmp, bytes)));
    memcpy(nat_frame_headers(nat, frame, &key, IP_PROTOCOL_ICMPV6, bytes), icmp, bytes);
    frame[ETH_HEADER_BYTES + IPV6_HOP_LIMIT_AT] = ND_HOP_LIMIT;
    if (nat_is_group6(to)) { /* RFC 2464 §7 */
        frame[0] = frame[1] = 0x33;
        memcpy(frame + 2, to + 12, 4);
    }
    nat_frame_send(nat, frame_bytes);
}

/* §6.1.1, §7.1.1: "All included options have a length that is greater than zero." Says whether
 * one of them is the sender's link-layer address. */
static bool options_valid(const uint8_t *options, uint32_t bytes, bool *has_source_link)
{
    *has_source_link = false;
    for (uint32_t at = 0; at < bytes;) {
        const uint32_t option_bytes = bytes - at >= 2 ? options[at + 1] * 8u : 0;

        if (option_bytes == 0 || option_bytes > bytes - at)
            return false;
        *has_source_link |= options[at] == OPTION_SOURCE_LINK;
        at += option_bytes;
    }
    return true;
}

/* RFC 4291 §2.7.1 */
static bool is_solicited_node(const uint8_t *group, const uint8_t *target)
{
    static const uint8_t head[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};

    return memcmp(group, head, sizeof head) == 0 && memcmp(group + 13, target + 13, 3) == 0;
}

static void advertise(struct nat *nat, const uint8_t *to, const uint8_t *target)
{
    const bool asked_by_somebody = !nat_is_unspecified6(to);
    uint8_t icmp[NS_BYTES + 8] = {ND_NEIGHBOUR_ADVERTISEMENT};

    /* §7.2.4: who has no address yet is answered to all nodes, and not as "solicited": so a guest
     * that tries our address learns that it is taken (RFC 4862 §5.4.4). */
    icmp[NA_FLAGS_AT] = (uint8_t)(NA_ROUTER | NA_OVERRIDE | (asked_by_somebody ? NA_SOLICITED : 0));
    memcpy(icmp + TARGET_AT, target, 16);
    icmp[NS_BYTES] = OPTION_TARGET_LINK;
    icmp[NS_BYTES + 1] = 1;
    memcpy(icmp + NS_BYTES + 2, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
    nat_nd_send(nat, asked_by_somebody ? to : nat_all_nodes6, icmp, sizeof icmp);
}

static bool neighbour_solicited(struct nat *nat, const struct ip_packet *packet)
{
    const uint8_t *source = packet->key.guest.address, *to = packet->key.remote.address;
    const uint8_t *icmp = packet->payload, *target = icmp + TARGET_AT;
    bool has_source_link;

    if (packet->payload_bytes < NS_BYTES || nat_is_group6(target) ||
        !options_valid(icmp + NS_BYTES, packet->payload_bytes - NS_BYTES, &has_source_link))
        return false;
    if (nat_is_unspecified6(source) && (has_source_link || !is_solicited_node(to, target)))
        return false;
    /* Silence about any other address: the guest's duplicate detection must not fail. */
    if (nat_is_gateway6(nat, target))
        advertise(nat, source, target);
    return true;
}

static bool router_solicited(struct nat *nat, const struct ip_packet *packet)
{
    bool has_source_link;

    if (packet->payload_bytes < RS_BYTES ||
        !options_valid(packet->payload + RS_BYTES, packet->payload_bytes - RS_BYTES,
                       &has_source_link) ||
        (has_source_link && nat_is_unspecified6(packet->key.guest.address)))
        return false;
    nat_ra_solicited(nat);
    return true;
}

void nat_nd_input(struct nat *nat, const struct ip_packet *packet)
{
    const uint8_t type = packet->payload[0];
    bool is_valid = true;

    /* §6.1, §7.1: hop limit 255, so from this link, and code 0. */
    if (packet->ttl != ND_HOP_LIMIT || packet->payload[1] != 0)
        is_valid = false;
    else if (type == ND_NEIGHBOUR_SOLICITATION)
        is_valid = neighbour_solicited(nat, packet);
    else if (type == ND_ROUTER_SOLICITATION)
        is_valid = router_solicited(nat, packet);
    else /* there is one guest: what it advertises we know, and nobody redirects us */
        nat_count(&nat->metrics->guest_frames_ignored_total);
    if (!is_valid)
        nat_count(&nat->metrics->guest_malformed_total);
}
