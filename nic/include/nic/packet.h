/*
 * packet.h - bytes of packets: byte order, the Internet checksum, Ethernet / ARP / IPv4 / IPv6 /
 *            UDP / TCP / ICMP header offsets. Pure functions; used by the cards and by the NAT.
 *
 * Source   RFC 791, 768, 9293, 792, 826, 8200, 1071; IEEE 802.3.
 * Hostile  Nothing here reads a length out of a packet: the caller checks, then asks.
 */
#ifndef NIC_PACKET_H
#define NIC_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum {
    ETH_HEADER_BYTES = 14,
    ETH_ADDRESS_BYTES = 6,
    ETH_TYPE_AT = 12,
    ETH_MIN_BYTES = 60, /* without FCS */
    ETH_FCS_BYTES = 4,
    ETH_VLAN_BYTES = 4,
    ETH_TYPE_IPV4 = 0x0800,
    ETH_TYPE_ARP = 0x0806,
    ETH_TYPE_VLAN = 0x8100,
    ETH_TYPE_IPV6 = 0x86dd,

    IPV4_HEADER_BYTES = 20, /* without options */
    IPV4_TOTAL_LENGTH_AT = 2,
    IPV4_ID_AT = 4,
    IPV4_FRAGMENT_AT = 6, /* flags and offset */
    IPV4_TTL_AT = 8,
    IPV4_PROTOCOL_AT = 9,
    IPV4_CHECKSUM_AT = 10,
    IPV4_SOURCE_AT = 12,
    IPV4_DESTINATION_AT = 16,
    IPV4_FLAG_DF = 0x4000,
    IPV4_FLAG_MF = 0x2000,
    IPV4_OFFSET_MASK = 0x1fff, /* in units of 8 bytes */

    IPV6_HEADER_BYTES = 40,
    IPV6_PAYLOAD_LENGTH_AT = 4,
    IPV6_NEXT_HEADER_AT = 6,
    IPV6_HOP_LIMIT_AT = 7,
    IPV6_SOURCE_AT = 8,
    IPV6_DESTINATION_AT = 24,

    IP_PROTOCOL_ICMP = 1,
    IP_PROTOCOL_TCP = 6,
    IP_PROTOCOL_UDP = 17,
    IP_PROTOCOL_ICMPV6 = 58,

    UDP_HEADER_BYTES = 8,
    UDP_SOURCE_AT = 0,
    UDP_DESTINATION_AT = 2,
    UDP_LENGTH_AT = 4,
    UDP_CHECKSUM_AT = 6,

    TCP_HEADER_BYTES = 20, /* without options */
    TCP_SOURCE_AT = 0,
    TCP_DESTINATION_AT = 2,
    TCP_SEQUENCE_AT = 4,
    TCP_ACKNOWLEDGMENT_AT = 8,
    TCP_DATA_OFFSET_AT = 12, /* high nibble, in 32-bit words */
    TCP_FLAGS_AT = 13,
    TCP_WINDOW_AT = 14,
    TCP_CHECKSUM_AT = 16,
    TCP_URGENT_AT = 18,
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_ECE = 0x40,
    TCP_CWR = 0x80,

    ICMP_HEADER_BYTES = 8,
    ICMP_CHECKSUM_AT = 2,
    ARP_BYTES = 28, /* Ethernet / IPv4 */
};

/* Network byte order. */
static inline uint16_t be16_get(const uint8_t *from)
{
    return (uint16_t)((uint32_t)from[0] << 8 | from[1]);
}

static inline uint32_t be32_get(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static inline void be16_put(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline void be32_put(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

/* Guest memory and registers. */
static inline uint16_t le16_get(const uint8_t *from)
{
    return (uint16_t)((uint32_t)from[1] << 8 | from[0]);
}

static inline uint32_t le32_get(const uint8_t *from)
{
    return (uint32_t)from[3] << 24 | (uint32_t)from[2] << 16 | (uint32_t)from[1] << 8 | from[0];
}

static inline uint64_t le64_get(const uint8_t *from)
{
    return (uint64_t)le32_get(from + 4) << 32 | le32_get(from);
}

static inline void le16_put(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline void le32_put(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

static inline void le64_put(uint8_t *to, uint64_t value)
{
    le32_put(to, (uint32_t)value);
    le32_put(to + 4, (uint32_t)(value >> 32));
}

/*
 * The Internet checksum (RFC 1071) in three steps: start with 0 or a pseudo-header sum, add
 * pieces, finish. A sum is a 32-bit one's-complement accumulator whose 16-bit fold is the sum
 * of big-endian words. Every piece but the last must have an even length.
 */

/** Adds `bytes` bytes, an odd last one as the high half of a word. */
uint32_t checksum_add(uint32_t sum, const uint8_t *data, size_t bytes);

/** Adds one 16-bit value in host order. */
static inline uint32_t checksum_add16(uint32_t sum, uint16_t value)
{
    const uint32_t added = sum + value;
    return added + (added < value); /* end-around carry */
}

/** Folds to 16 bits without complementing. */
static inline uint16_t checksum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/** Folds and complements: the value to store. */
static inline uint16_t checksum_finish(uint32_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

/** Pseudo-header sum of IPv4 (RFC 9293 §3.1) for `l4_bytes` of `protocol`. */
uint32_t checksum_pseudo_ipv4(const uint8_t source[4], const uint8_t destination[4],
                              uint8_t protocol, uint16_t l4_bytes);

/** Pseudo-header sum of IPv6 (RFC 8200 §8.1). */
uint32_t checksum_pseudo_ipv6(const uint8_t source[16], const uint8_t destination[16],
                              uint8_t protocol, uint32_t l4_bytes);

/** CRC-32 of IEEE 802.3, the FCS; sent least significant byte first. */
uint32_t ethernet_fcs(const uint8_t *frame, size_t bytes);

/** The same of a frame followed by `padding` zeros. */
uint32_t ethernet_fcs_padded(const uint8_t *frame, size_t bytes, size_t padding);

#endif
