#include "tunnel/super.h"

#include "internal.h"

enum {
    ETH_BYTES = 14,
    ETH_TYPE_AT = 12,
    ETH_IPV4 = 0x0800,
    ETH_IPV6 = 0x86dd,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    PROTOCOL_TCP = 6,
};

/* Bytes of an IPv4 header that carries a whole TCP segment of ip_bytes altogether; 0: not that. */
static uint32_t ipv4_bytes(const uint8_t *ip, uint32_t ip_bytes)
{
    const uint32_t header_bytes = (ip[0] & 15u) * 4;
    const uint32_t fragment = l2t_be16(ip + 6) & 0x3fffu; /* RFC 791: MF and the offset */

    if (ip[0] >> 4 != 4 || header_bytes < IPV4_BYTES || l2t_be16(ip + 2) != ip_bytes ||
        fragment != 0 || ip[9] != PROTOCOL_TCP)
        return 0;
    return header_bytes;
}

static uint32_t ipv6_bytes(const uint8_t *ip, uint32_t ip_bytes)
{
    if (ip[0] >> 4 != 6 || ip_bytes < IPV6_BYTES || l2t_be16(ip + 4) != ip_bytes - IPV6_BYTES ||
        ip[6] != PROTOCOL_TCP)
        return 0;
    return IPV6_BYTES;
}

uint32_t l2t_super_headers(const uint8_t *frame, uint32_t frame_bytes)
{
    if (frame_bytes < ETH_BYTES + IPV4_BYTES + TCP_BYTES || frame_bytes > L2T_SUPER_FRAME_MAX)
        return 0;
    const uint32_t type = l2t_be16(frame + ETH_TYPE_AT);
    const uint32_t all_bytes = frame_bytes - ETH_BYTES;
    uint32_t ip_bytes = 0;

    if (type == ETH_IPV4)
        ip_bytes = ipv4_bytes(frame + ETH_BYTES, all_bytes);
    else if (type == ETH_IPV6)
        ip_bytes = ipv6_bytes(frame + ETH_BYTES, all_bytes);
    if (ip_bytes == 0 || ip_bytes > all_bytes || all_bytes - ip_bytes < TCP_BYTES)
        return 0;
    const uint32_t tcp_bytes = (frame[ETH_BYTES + ip_bytes + 12] >> 4) * 4u;

    if (tcp_bytes < TCP_BYTES || tcp_bytes > all_bytes - ip_bytes)
        return 0;
    return ETH_BYTES + ip_bytes + tcp_bytes;
}

int l2t_super_parse(struct l2t_super *super, const uint8_t *payload, uint32_t payload_bytes,
                    uint32_t frame_max_bytes)
{
    if (payload_bytes < L2T_SUPER_HEAD_BYTES)
        return L2T_ERR_SUPER;
    const uint16_t gso_bytes = l2t_be16(payload);
    const uint8_t *frame = payload + L2T_SUPER_HEAD_BYTES;
    const uint32_t frame_bytes = payload_bytes - L2T_SUPER_HEAD_BYTES;

    if (gso_bytes == 0 || gso_bytes > L2T_SUPER_GSO_MAX || frame_bytes > frame_max_bytes ||
        l2t_super_headers(frame, frame_bytes) == 0)
        return L2T_ERR_SUPER;
    *super = (struct l2t_super){.gso_bytes = gso_bytes, .frame = frame, .frame_bytes = frame_bytes};
    return 0;
}
