#include "nat/ip6.h"

#include <string.h>

enum { /* RFC 4443 */
       ICMP6_UNREACHABLE = 1,
       ICMP6_TIME_EXCEEDED = 3,
       ICMP6_ECHO_REQUEST = 128,
       ICMP6_ECHO_REPLY = 129,
       ICMP6_ND_FIRST = 133, /* RFC 4861: router solicitation to redirect */
       ICMP6_ND_LAST = 137,

       ICMP6_CODE_NO_ROUTE = 0,
       ICMP6_CODE_PROHIBITED = 1,
       ICMP6_CODE_ADDRESS = 3,
       ICMP6_CODE_PORT = 4,

       QUOTED_L4_BYTES = 8,
       IPV6_BYTES_MAX = 65535,
};

static void finish(struct nat *nat, const struct nat_flow_key *key, uint8_t *icmp, uint32_t bytes)
{
    be16_put(icmp + ICMP_CHECKSUM_AT, 0);
    be16_put(
        icmp + ICMP_CHECKSUM_AT,
        checksum_finish(checksum_add(nat_pseudo_sum(key, IP_PROTOCOL_ICMPV6, bytes), icmp, bytes)));
    nat_ip6_send(nat, key, IP_PROTOCOL_ICMPV6, icmp, bytes);
}

/* §4.2: the request's data, from the address it was sent to. */
static void echo_reply(struct nat *nat, const struct ip_packet *packet)
{
    uint8_t reply[IPV6_BYTES_MAX];

    memcpy(reply, packet->payload, packet->payload_bytes);
    reply[0] = ICMP6_ECHO_REPLY;
    finish(nat, &packet->key, reply, packet->payload_bytes);
}

void nat_icmp6_input(struct nat *nat, const struct ip_packet *packet)
{
    const uint8_t *icmp = packet->payload, *to = packet->key.remote.address;
    const uint32_t bytes = packet->payload_bytes;

    if (bytes < ICMP_HEADER_BYTES) {
        nat_count(&nat->metrics->guest_malformed_total);
        return;
    }
    /* §2.3 */
    if (checksum_fold(checksum_add(nat_pseudo_sum(&packet->key, IP_PROTOCOL_ICMPV6, bytes), icmp,
                                   bytes)) != 0xffff) {
        nat_count(&nat->metrics->guest_bad_checksum_total);
        return;
    }
    if (icmp[0] >= ICMP6_ND_FIRST && icmp[0] <= ICMP6_ND_LAST) {
        nat_nd_input(nat, packet);
        return;
    }
    if (icmp[0] != ICMP6_ECHO_REQUEST || icmp[1] != 0 || nat_is_group6(to) ||
        nat_is_unspecified6(packet->key.guest.address))
        nat_count(&nat->metrics->guest_frames_ignored_total);
    else if (nat_is_gateway6(nat, to))
        echo_reply(nat, packet);
    else
        nat_udp_ping(nat, packet);
}

/* §3.1, §3.3: the packet's header, rebuilt, and as much of it as IPv4 would quote. */
static void send_error(struct nat *nat, uint8_t type, uint8_t code, const uint8_t *source,
                       const struct nat_flow_key *key, uint8_t protocol, const uint8_t *l4)
{
    uint8_t icmp[ICMP_HEADER_BYTES + IPV6_HEADER_BYTES + QUOTED_L4_BYTES] = {type, code};
    uint8_t *ip = icmp + ICMP_HEADER_BYTES;
    struct nat_flow_key back = *key;

    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, QUOTED_L4_BYTES);
    ip[IPV6_NEXT_HEADER_AT] = protocol;
    ip[IPV6_HOP_LIMIT_AT] = 1;
    memcpy(ip + IPV6_SOURCE_AT, key->guest.address, 16);
    memcpy(ip + IPV6_DESTINATION_AT, key->remote.address, 16);
    memcpy(ip + IPV6_HEADER_BYTES, l4, QUOTED_L4_BYTES);
    memcpy(back.remote.address, source, 16);
    finish(nat, &back, icmp, sizeof icmp);
}

void nat_icmp6_unreachable(struct nat *nat, enum nat_unreachable why,
                           const struct nat_flow_key *key, uint8_t protocol, const uint8_t *l4)
{
    static const uint8_t codes[] = {
        [NAT_UNREACHABLE_NET] = ICMP6_CODE_NO_ROUTE,
        [NAT_UNREACHABLE_HOST] = ICMP6_CODE_ADDRESS,
        [NAT_UNREACHABLE_PORT] = ICMP6_CODE_PORT,
        [NAT_UNREACHABLE_PROHIBITED] = ICMP6_CODE_PROHIBITED,
    };

    /* The closed port is the remote's word, the rest the router's. */
    send_error(nat, ICMP6_UNREACHABLE, codes[why],
               why == NAT_UNREACHABLE_PORT ? key->remote.address : nat->gateway6, key, protocol,
               l4);
}

void nat_icmp6_time_exceeded(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                             const uint8_t *l4)
{
    send_error(nat, ICMP6_TIME_EXCEEDED, 0, nat->gateway6, key, protocol, l4);
}
