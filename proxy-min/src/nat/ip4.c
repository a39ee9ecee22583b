#include "nat/parts.h"

#include <string.h>

static void malformed(struct nat *nat)
{
    nat_count(&nat->metrics->guest_malformed_total);
}

static bool checksum_good(struct nat *nat, uint32_t sum)
{
    if (checksum_fold(sum) == 0xffff)
        return true;
    nat_count(&nat->metrics->guest_bad_checksum_total);
    return false;
}

void nat_ip_udp(struct nat *nat, struct ip_packet *packet)
{
    const uint8_t *udp = packet->payload;

    if (packet->payload_bytes < UDP_HEADER_BYTES) {
        malformed(nat);
        return;
    }
    const uint32_t bytes = be16_get(udp + UDP_LENGTH_AT);

    if (bytes < UDP_HEADER_BYTES || bytes > packet->payload_bytes) {
        malformed(nat);
        return;
    }
    const uint16_t checksum = be16_get(udp + UDP_CHECKSUM_AT);

    /* RFC 768: zero was not computed, which RFC 8200 §8.1 forbids. */
    if (checksum == 0 && packet->key.guest.family == 6) {
        nat_count(&nat->metrics->guest_bad_checksum_total);
        return;
    }
    if (checksum != 0 &&
        !checksum_good(
            nat, checksum_add(nat_pseudo_sum(&packet->key, IP_PROTOCOL_UDP, bytes), udp, bytes)))
        return;
    packet->payload_bytes = bytes;
    packet->key.guest.port = be16_get(udp + UDP_SOURCE_AT);
    packet->key.remote.port = be16_get(udp + UDP_DESTINATION_AT);
    nat_udp_input(nat, packet);
}

void nat_ip_tcp(struct nat *nat, struct ip_packet *packet)
{
    const uint8_t *tcp = packet->payload;
    const uint32_t bytes = packet->payload_bytes;

    if (bytes < TCP_HEADER_BYTES) {
        malformed(nat);
        return;
    }
    const uint32_t header_bytes = (uint32_t)(tcp[TCP_DATA_OFFSET_AT] >> 4) * 4;

    if (header_bytes < TCP_HEADER_BYTES || header_bytes > bytes) {
        malformed(nat);
        return;
    }
    if (!nat->in_super &&
        !checksum_good(
            nat, checksum_add(nat_pseudo_sum(&packet->key, IP_PROTOCOL_TCP, bytes), tcp, bytes)))
        return;
    packet->key.guest.port = be16_get(tcp + TCP_SOURCE_AT);
    packet->key.remote.port = be16_get(tcp + TCP_DESTINATION_AT);
    nat_tcp_input(nat, packet);
}

static void icmp_input(struct nat *nat, const struct ip_packet *packet)
{
    if (packet->payload_bytes < ICMP_HEADER_BYTES) {
        malformed(nat);
        return;
    }
    if (checksum_good(nat, checksum_add(0, packet->payload, packet->payload_bytes)))
        nat_icmp_input(nat, packet);
}

/* DHCP comes from 0.0.0.0 or, when renewing, from the lease; both before and after it is known. */
static bool is_dhcp(const struct nat *nat, const struct ip_packet *packet)
{
    const uint8_t *destination = packet->key.remote.address;

    return packet->protocol == IP_PROTOCOL_UDP && packet->payload_bytes >= UDP_HEADER_BYTES &&
           be16_get(packet->payload + UDP_DESTINATION_AT) == 67 &&
           (nat_is_gateway4(nat, destination) || be32_get(destination) == UINT32_MAX);
}

static bool guest_may_send(struct nat *nat, const uint8_t *source_mac,
                           const struct ip_packet *packet)
{
    if (is_dhcp(nat, packet))
        return true;
    if (!nat_is_guest4(nat, packet->key.guest.address)) {
        nat_count(nat->guest_ready ? &nat->metrics->guest_frames_ignored_total
                                   : &nat->metrics->guest_before_lease_total);
        return false;
    }
    if (!nat->guest_ready) /* §5.2: a static 10.0.2.15 is served as soon as it sends */
        nat_guest_is(nat, source_mac);
    if (memcmp(nat->guest_mac, source_mac, ETH_ADDRESS_BYTES) == 0)
        return true;
    nat_count(&nat->metrics->guest_frames_ignored_total); /* one guest behind one tunnel */
    return false;
}

/* RFC 1122 §3.2.2: no ICMP error about an ICMP error. */
static bool may_be_answered_by_error(const struct ip_packet *packet)
{
    if (packet->payload_bytes < 8)
        return false;
    return packet->protocol != IP_PROTOCOL_ICMP || packet->payload[0] == 8;
}

static void deliver(struct nat *nat, struct ip_packet *packet)
{
    const uint8_t *destination = packet->key.remote.address;

    /* RFC 1812 §5.3.1: the gateway itself is no hop. */
    if (packet->ttl <= 1 && !nat_is_gateway4(nat, destination) &&
        !nat_is_group4(nat, destination)) {
        if (may_be_answered_by_error(packet))
            nat_icmp_time_exceeded(nat, &packet->key, packet->protocol, packet->payload);
        return;
    }
    switch (packet->protocol) {
    case IP_PROTOCOL_TCP:
        nat_ip_tcp(nat, packet);
        break;
    case IP_PROTOCOL_UDP:
        nat_ip_udp(nat, packet);
        break;
    case IP_PROTOCOL_ICMP:
        icmp_input(nat, packet);
        break;
    default:
        nat_count(&nat->metrics->guest_frames_ignored_total);
        break;
    }
}

static void deliver_fragment(struct nat *nat, struct ip_packet *packet, const uint8_t *ip)
{
    const uint32_t field = be16_get(ip + IPV4_FRAGMENT_AT);
    struct ip_fragment fragment = {
        .family = 4,
        .protocol = packet->protocol,
        .ttl = packet->ttl,
        .id = be16_get(ip + IPV4_ID_AT),
        .offset = (field & IPV4_OFFSET_MASK) * 8,
        .more = (field & IPV4_FLAG_MF) != 0,
        .data = packet->payload,
        .bytes = packet->payload_bytes,
    };

    memcpy(fragment.source, ip + IPV4_SOURCE_AT, 4);
    memcpy(fragment.destination, ip + IPV4_DESTINATION_AT, 4);
    packet->payload = nat_reassembly_take(nat, &fragment, &packet->payload_bytes);
    if (packet->payload == NULL)
        return;
    deliver(nat, packet);
    nat_tcp_flush(nat); /* the payload does not outlive the next fragment */
}

void nat_ip4_input(struct nat *nat, const uint8_t *source_mac, const uint8_t *ip, uint32_t bytes)
{
    if (bytes < IPV4_HEADER_BYTES || ip[0] >> 4 != 4) {
        malformed(nat);
        return;
    }
    const uint32_t header_bytes = (ip[0] & 15u) * 4; /* options are skipped */
    const uint32_t total_bytes = be16_get(ip + IPV4_TOTAL_LENGTH_AT);

    if (header_bytes < IPV4_HEADER_BYTES || total_bytes < header_bytes || total_bytes > bytes) {
        malformed(nat);
        return;
    }
    if (!nat->in_super && !checksum_good(nat, checksum_add(0, ip, header_bytes)))
        return;

    struct ip_packet packet = {
        .key = {.guest = {.family = 4}, .remote = {.family = 4}},
        .protocol = ip[IPV4_PROTOCOL_AT],
        .ttl = ip[IPV4_TTL_AT],
        .payload = ip + header_bytes,
        .payload_bytes = total_bytes - header_bytes,
    };

    memcpy(packet.key.guest.address, ip + IPV4_SOURCE_AT, 4);
    memcpy(packet.key.remote.address, ip + IPV4_DESTINATION_AT, 4);
    const uint32_t fragment = be16_get(ip + IPV4_FRAGMENT_AT);

    packet.whole = fragment == IPV4_FLAG_DF;
    if ((fragment & (IPV4_FLAG_MF | IPV4_OFFSET_MASK)) == 0) {
        if (guest_may_send(nat, source_mac, &packet))
            deliver(nat, &packet);
        return;
    }
    /* A fragment is nobody's DHCP message: judge it by its addresses alone. */
    const uint32_t payload_bytes = packet.payload_bytes;

    packet.payload_bytes = 0;
    if (!guest_may_send(nat, source_mac, &packet))
        return;
    packet.payload_bytes = payload_bytes;
    deliver_fragment(nat, &packet, ip);
}
