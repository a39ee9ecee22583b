#include "world_frame.h"

#include <string.h>

const uint8_t world_guest_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
const uint8_t world_gateway_mac[6] = {2, 0, 0, 0, 0, 1};
const uint8_t world_guest[4] = {10, 0, 2, 15};
const uint8_t world_gateway[4] = {10, 0, 2, 2};
const uint8_t world_server[4] = {93, 184, 216, 34};

enum { HEADER_FRAGMENT = 44 };

/* The sum a checksum of `protocol` begins with: ICMP for IPv4 has no pseudo-header (RFC 792). */
static uint32_t pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t l4_bytes)
{
    if (ip[0] >> 4 == 6)
        return checksum_pseudo_ipv6(ip + IPV6_SOURCE_AT, ip + IPV6_DESTINATION_AT, protocol,
                                    l4_bytes);
    if (protocol == IP_PROTOCOL_ICMP)
        return 0;
    return checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT, protocol,
                                (uint16_t)l4_bytes);
}

/* Where the checksum stands, and how long the shortest header is. */
static bool l4_shape(const uint8_t *ip, uint8_t protocol, uint32_t *checksum_at,
                     uint32_t *header_bytes)
{
    const uint8_t icmp = ip[0] >> 4 == 6 ? IP_PROTOCOL_ICMPV6 : IP_PROTOCOL_ICMP;

    if (protocol == IP_PROTOCOL_TCP) {
        *checksum_at = TCP_CHECKSUM_AT;
        *header_bytes = TCP_HEADER_BYTES;
    } else if (protocol == IP_PROTOCOL_UDP) {
        *checksum_at = UDP_CHECKSUM_AT;
        *header_bytes = UDP_HEADER_BYTES;
    } else if (protocol == icmp) {
        *checksum_at = ICMP_CHECKSUM_AT;
        *header_bytes = ICMP_HEADER_BYTES;
    } else {
        return false;
    }
    return true;
}

/* ---- building ---- */

void world_frame_ethernet(uint8_t *frame, uint16_t type)
{
    memcpy(frame, world_gateway_mac, 6);
    memcpy(frame + 6, world_guest_mac, 6);
    be16_put(frame + ETH_TYPE_AT, type);
}

void world_seal_ipv4_header(uint8_t *ip, uint32_t header_bytes)
{
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, header_bytes)));
}

void world_seal_l4(const uint8_t *ip, uint8_t protocol, uint8_t *l4, uint32_t l4_bytes)
{
    uint32_t checksum_at, header_bytes;

    if (!l4_shape(ip, protocol, &checksum_at, &header_bytes) || l4_bytes < header_bytes)
        return;
    be16_put(l4 + checksum_at, 0);
    uint16_t sum = checksum_finish(checksum_add(pseudo_sum(ip, protocol, l4_bytes), l4, l4_bytes));

    if (sum == 0 && protocol == IP_PROTOCOL_UDP)
        sum = 0xffff; /* RFC 768: 0 says that there is none */
    be16_put(l4 + checksum_at, sum);
}

uint32_t world_frame_ipv4(uint8_t *frame, uint16_t id, const uint8_t *source,
                          const uint8_t *destination, uint8_t protocol, const uint8_t *l4,
                          uint32_t l4_bytes)
{
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    world_frame_ethernet(frame, ETH_TYPE_IPV4);
    memset(ip, 0, IPV4_HEADER_BYTES);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + l4_bytes));
    be16_put(ip + IPV4_ID_AT, id);
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = protocol;
    memcpy(ip + IPV4_SOURCE_AT, source, 4);
    memcpy(ip + IPV4_DESTINATION_AT, destination, 4);
    world_seal_ipv4_header(ip, IPV4_HEADER_BYTES);
    if (l4_bytes != 0)
        memmove(ip + IPV4_HEADER_BYTES, l4, l4_bytes);
    return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + l4_bytes;
}

uint32_t world_frame_tcp(uint8_t *frame, uint16_t id, const struct world_segment *segment)
{
    const uint32_t header_bytes = TCP_HEADER_BYTES + (segment->options_bytes + 3) / 4 * 4;
    const uint32_t tcp_bytes = header_bytes + segment->payload_bytes;
    uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;

    memset(tcp, 0, header_bytes);
    be16_put(tcp + TCP_SOURCE_AT, segment->guest_port);
    be16_put(tcp + TCP_DESTINATION_AT, segment->remote_port);
    be32_put(tcp + TCP_SEQUENCE_AT, segment->seq);
    be32_put(tcp + TCP_ACKNOWLEDGMENT_AT, segment->ack);
    tcp[TCP_DATA_OFFSET_AT] = (uint8_t)(header_bytes / 4 << 4);
    tcp[TCP_FLAGS_AT] = segment->flags;
    be16_put(tcp + TCP_WINDOW_AT, segment->window);
    if ((segment->flags & TCP_URG) != 0)
        be16_put(tcp + TCP_URGENT_AT, 0xffff);
    memcpy(tcp + TCP_HEADER_BYTES, segment->options, segment->options_bytes);
    if (segment->payload_bytes != 0)
        memcpy(tcp + header_bytes, segment->payload, segment->payload_bytes);
    const uint32_t bytes =
        world_frame_ipv4(frame, id, world_guest, segment->remote, IP_PROTOCOL_TCP, tcp, tcp_bytes);

    world_seal_l4(ip, IP_PROTOCOL_TCP, tcp, tcp_bytes);
    return bytes;
}

/* ---- judging ---- */

static const char *l4_defect(const uint8_t *ip, uint8_t protocol, const uint8_t *l4, uint32_t bytes)
{
    uint32_t checksum_at, header_bytes;

    if (!l4_shape(ip, protocol, &checksum_at, &header_bytes))
        return "a protocol the gateway does not speak";
    if (bytes < header_bytes)
        return "less than a header";
    if (protocol == IP_PROTOCOL_TCP && ((l4[TCP_DATA_OFFSET_AT] >> 4) * 4u < TCP_HEADER_BYTES ||
                                        (l4[TCP_DATA_OFFSET_AT] >> 4) * 4u > bytes))
        return "TCP data offset";
    if (protocol == IP_PROTOCOL_UDP && be16_get(l4 + UDP_LENGTH_AT) != bytes)
        return "UDP length";
    if (protocol == IP_PROTOCOL_UDP && be16_get(l4 + UDP_CHECKSUM_AT) == 0)
        return "UDP without a checksum";
    if (checksum_fold(checksum_add(pseudo_sum(ip, protocol, bytes), l4, bytes)) != 0xffff)
        return "checksum";
    return NULL;
}

static const char *ipv4_defect(const uint8_t *ip, uint32_t bytes)
{
    if (bytes < IPV4_HEADER_BYTES || ip[0] != 0x45)
        return "IPv4 header length";
    if (be16_get(ip + IPV4_TOTAL_LENGTH_AT) != bytes)
        return "IPv4 total length";
    if (checksum_fold(checksum_add(0, ip, IPV4_HEADER_BYTES)) != 0xffff)
        return "IPv4 header checksum";
    if ((be16_get(ip + IPV4_FRAGMENT_AT) & (IPV4_FLAG_MF | IPV4_OFFSET_MASK)) != 0)
        return NULL;
    return l4_defect(ip, ip[IPV4_PROTOCOL_AT], ip + IPV4_HEADER_BYTES, bytes - IPV4_HEADER_BYTES);
}

static const char *ipv6_defect(const uint8_t *ip, uint32_t bytes)
{
    if (bytes < IPV6_HEADER_BYTES || ip[0] != 0x60)
        return "IPv6 header";
    if (be16_get(ip + IPV6_PAYLOAD_LENGTH_AT) != bytes - IPV6_HEADER_BYTES)
        return "IPv6 payload length";
    if (ip[IPV6_NEXT_HEADER_AT] == HEADER_FRAGMENT)
        return bytes - IPV6_HEADER_BYTES < 8 ? "IPv6 fragment header" : NULL;
    return l4_defect(ip, ip[IPV6_NEXT_HEADER_AT], ip + IPV6_HEADER_BYTES,
                     bytes - IPV6_HEADER_BYTES);
}

const char *world_frame_defect(const uint8_t *frame, uint32_t bytes, uint32_t mtu)
{
    if (bytes < ETH_HEADER_BYTES || bytes - ETH_HEADER_BYTES > mtu)
        return "frame length";
    if (memcmp(frame + 6, world_gateway_mac, 6) != 0)
        return "not from the gateway";
    const uint8_t *packet = frame + ETH_HEADER_BYTES;

    switch (be16_get(frame + ETH_TYPE_AT)) {
    case ETH_TYPE_ARP:
        return bytes != ETH_HEADER_BYTES + ARP_BYTES ? "ARP length" : NULL;
    case ETH_TYPE_IPV4:
        return ipv4_defect(packet, bytes - ETH_HEADER_BYTES);
    case ETH_TYPE_IPV6:
        return ipv6_defect(packet, bytes - ETH_HEADER_BYTES);
    default:
        return "Ethernet type";
    }
}
