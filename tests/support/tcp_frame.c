#include "tcp_frame.h"

#include <string.h>

#include "nic/segment.h"

uint32_t tcp_frame(uint8_t *frame, uint32_t payload)
{
    static const uint8_t addresses[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 9};
    const uint32_t l4 = TCP_FRAME_L4_AT;
    const uint32_t bytes = l4 + TCP_HEADER_BYTES + payload;
    uint8_t *ip = frame + ETH_HEADER_BYTES;
    uint8_t *tcp = frame + l4;

    memset(frame, 0, l4 + TCP_HEADER_BYTES);
    memcpy(frame, addresses, sizeof addresses);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(bytes - ETH_HEADER_BYTES));
    be16_put(ip + IPV4_ID_AT, 0x1234);
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    be32_put(ip + IPV4_SOURCE_AT, 0x0a000202);
    be32_put(ip + IPV4_DESTINATION_AT, 0x0a00020f);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    be16_put(tcp + TCP_DESTINATION_AT, 80);
    be32_put(tcp + TCP_SEQUENCE_AT, 0xfffffc00); /* wraps soon */
    tcp[TCP_DATA_OFFSET_AT] = 0x50;
    tcp[TCP_FLAGS_AT] = TCP_ACK | TCP_PSH | TCP_FIN;
    for (uint32_t i = 0; i < payload; i++)
        tcp[TCP_HEADER_BYTES + i] = (uint8_t)(i * 13 + 5);
    const uint32_t pseudo = checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                 IP_PROTOCOL_TCP, (uint16_t)(bytes - l4));
    be16_put(tcp + TCP_CHECKSUM_AT, checksum_finish(checksum_add(pseudo, tcp, bytes - l4)));
    return bytes;
}

uint32_t tcp_frame_ipv6(uint8_t *frame, uint32_t payload)
{
    const uint32_t l4 = TCP_FRAME_IPV6_L4_AT;
    const uint32_t bytes = l4 + TCP_HEADER_BYTES + payload;
    const struct l4_view view = {TCP_FRAME_IPV6_AT, l4, 6, IP_PROTOCOL_TCP};
    uint8_t *ip = frame + TCP_FRAME_IPV6_AT;
    uint8_t *tcp = frame + l4;

    memset(frame, 0, l4 + TCP_HEADER_BYTES);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_VLAN);
    be16_put(frame + ETH_TYPE_AT + ETH_VLAN_BYTES, ETH_TYPE_IPV6);
    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT,
             (uint16_t)(bytes - TCP_FRAME_IPV6_AT - IPV6_HEADER_BYTES));
    ip[IPV6_NEXT_HEADER_AT] = 60;
    ip[IPV6_SOURCE_AT + 15] = 1;
    ip[IPV6_DESTINATION_AT + 15] = 2;
    ip[IPV6_HEADER_BYTES] = IP_PROTOCOL_TCP;
    tcp[TCP_DATA_OFFSET_AT] = 0x50;
    tcp[TCP_FLAGS_AT] = TCP_ACK | TCP_FIN | TCP_CWR;
    for (uint32_t i = 0; i < payload; i++)
        tcp[TCP_HEADER_BYTES + i] = (uint8_t)(i * 11);
    be16_put(tcp + TCP_CHECKSUM_AT, l4_pseudo(&view, frame, bytes - l4));
    (void)checksum_complete(frame, bytes, l4, l4 + TCP_CHECKSUM_AT);
    return bytes;
}

uint32_t tcp_frame_segment(const uint8_t *packet, uint32_t bytes, uint32_t mss, uint32_t index,
                           uint8_t *frame)
{
    const uint32_t from = index * mss;
    const uint32_t payload = bytes - TCP_FRAME_HEADER_BYTES;
    const uint32_t part = payload - from < mss ? payload - from : mss;
    uint8_t *ip = frame + ETH_HEADER_BYTES;
    uint8_t *tcp = ip + IPV4_HEADER_BYTES;
    const uint32_t l4_bytes = TCP_HEADER_BYTES + part;

    memcpy(frame, packet, TCP_FRAME_HEADER_BYTES);
    memcpy(tcp + TCP_HEADER_BYTES, packet + TCP_FRAME_HEADER_BYTES + from, part);
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + l4_bytes));
    be16_put(ip + IPV4_ID_AT, (uint16_t)(be16_get(ip + IPV4_ID_AT) + index));
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    be32_put(tcp + TCP_SEQUENCE_AT, be32_get(tcp + TCP_SEQUENCE_AT) + from);
    if (from + part < payload)
        tcp[TCP_FLAGS_AT] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    be16_put(tcp + TCP_CHECKSUM_AT, 0);
    const uint32_t pseudo = checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                 IP_PROTOCOL_TCP, (uint16_t)l4_bytes);
    const uint16_t sum = checksum_finish(checksum_add(pseudo, tcp, l4_bytes));
    be16_put(tcp + TCP_CHECKSUM_AT, sum != 0 ? sum : 0xffff); /* choices.md */
    return TCP_FRAME_HEADER_BYTES + part;
}
