/*
 * tcp_frame.h - TCP packets to send through a card, and what segmentation must make of them,
 *               written down a second time.
 */
#ifndef SUPPORT_TCP_FRAME_H
#define SUPPORT_TCP_FRAME_H

#include <stdint.h>

#include "nic/packet.h"

enum {
    TCP_FRAME_L4_AT = ETH_HEADER_BYTES + IPV4_HEADER_BYTES,
    TCP_FRAME_HEADER_BYTES = TCP_FRAME_L4_AT + TCP_HEADER_BYTES,

    TCP_FRAME_IPV6_AT = ETH_HEADER_BYTES + ETH_VLAN_BYTES,
    TCP_FRAME_EXTENSION_BYTES = 8,
    TCP_FRAME_IPV6_L4_AT = TCP_FRAME_IPV6_AT + IPV6_HEADER_BYTES + TCP_FRAME_EXTENSION_BYTES,
    TCP_FRAME_IPV6_HEADER_BYTES = TCP_FRAME_IPV6_L4_AT + TCP_HEADER_BYTES,
};

/** An IPv4 packet of `payload` bytes with right checksums; returns its bytes. */
uint32_t tcp_frame(uint8_t *frame, uint32_t payload);

/** A tagged IPv6 one behind a destination options header, with ACK, FIN and CWR; the same. */
uint32_t tcp_frame_ipv6(uint8_t *frame, uint32_t payload);

/** Frame `index` of an IPv4 one, cut at `mss`, with right checksums; returns its bytes. */
uint32_t tcp_frame_segment(const uint8_t *packet, uint32_t bytes, uint32_t mss, uint32_t index,
                           uint8_t *frame);

#endif
