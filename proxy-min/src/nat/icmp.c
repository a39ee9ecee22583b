#include "nat/ip6.h"

#include <string.h>

enum { /* RFC 792 */
       ICMP_ECHO_REPLY = 0,
       ICMP_UNREACHABLE = 3,
       ICMP_ECHO_REQUEST = 8,
       ICMP_TIME_EXCEEDED = 11,

       ICMP_CODE_NET = 0,
       ICMP_CODE_HOST = 1,
       ICMP_CODE_PORT = 3,
       ICMP_CODE_TOO_LONG = 4,
       ICMP_CODE_PROHIBITED = 13, /* RFC 1812 §5.2.7.1 */

       ICMP_MTU_AT = 6,
       QUOTED_L4_BYTES = 8,
       IPV4_BYTES_MAX = 65535,
};

void nat_icmp_input(struct nat *nat, const struct ip_packet *packet)
{
    const uint32_t bytes = packet->payload_bytes;

    /* Other types carry nothing we could use; groups are not pinged. */
    if (packet->payload[0] != ICMP_ECHO_REQUEST || packet->payload[1] != 0 ||
        nat_is_group4(nat, packet->key.remote.address)) {
        nat_count(&nat->metrics->guest_frames_ignored_total);
        return;
    }
    if (!nat_is_gateway4(nat, packet->key.remote.address)) {
        nat_udp_ping(nat, packet);
        return;
    }
    uint8_t reply[IPV4_BYTES_MAX];

    memcpy(reply, packet->payload, bytes);
    reply[0] = ICMP_ECHO_REPLY;
    be16_put(reply + ICMP_CHECKSUM_AT, 0);
    be16_put(reply + ICMP_CHECKSUM_AT, checksum_finish(checksum_add(0, reply, bytes)));
    nat_ip4_send(nat, &packet->key, IP_PROTOCOL_ICMP, reply, bytes);
}

/* RFC 792: the IP header and eight bytes of what it carried; both rebuilt, so that nothing the
 * guest did not send is quoted. */
struct error {
    uint8_t type, code;
    uint16_t mtu; /* RFC 1191 §4; else 0 */
    const uint8_t *source;
};

static void send_error(struct nat *nat, const struct error *error, const struct nat_flow_key *key,
                       uint8_t protocol, const uint8_t *l4)
{
    uint8_t icmp[ICMP_HEADER_BYTES + IPV4_HEADER_BYTES + QUOTED_L4_BYTES] = {error->type,
                                                                             error->code};
    uint8_t *ip = icmp + ICMP_HEADER_BYTES;
    struct nat_flow_key back = *key;

    be16_put(icmp + ICMP_MTU_AT, error->mtu);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, IPV4_HEADER_BYTES + QUOTED_L4_BYTES);
    ip[IPV4_TTL_AT] = 1;
    ip[IPV4_PROTOCOL_AT] = protocol;
    memcpy(ip + IPV4_SOURCE_AT, key->guest.address, 4);
    memcpy(ip + IPV4_DESTINATION_AT, key->remote.address, 4);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    memcpy(ip + IPV4_HEADER_BYTES, l4, QUOTED_L4_BYTES);
    be16_put(icmp + ICMP_CHECKSUM_AT, checksum_finish(checksum_add(0, icmp, sizeof icmp)));
    memcpy(back.remote.address, error->source, 4);
    nat_ip4_send(nat, &back, IP_PROTOCOL_ICMP, icmp, sizeof icmp);
}

void nat_icmp_unreachable(struct nat *nat, enum nat_unreachable why, const struct nat_flow_key *key,
                          uint8_t protocol, const uint8_t *l4)
{
    static const uint8_t codes[] = {
        [NAT_UNREACHABLE_NET] = ICMP_CODE_NET,
        [NAT_UNREACHABLE_HOST] = ICMP_CODE_HOST,
        [NAT_UNREACHABLE_PORT] = ICMP_CODE_PORT,
        [NAT_UNREACHABLE_PROHIBITED] = ICMP_CODE_PROHIBITED,
    };

    if (key->guest.family == 6) {
        nat_icmp6_unreachable(nat, why, key, protocol, l4);
        return;
    }
    /* The closed port is the remote's word, the rest the router's. */
    const struct error error = {
        .type = ICMP_UNREACHABLE,
        .code = codes[why],
        .source = why == NAT_UNREACHABLE_PORT ? key->remote.address : nat->config->gateway,
    };

    send_error(nat, &error, key, protocol, l4);
}

void nat_icmp_time_exceeded(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                            const uint8_t *l4)
{
    const struct error error = {.type = ICMP_TIME_EXCEEDED, .source = nat->config->gateway};

    send_error(nat, &error, key, protocol, l4);
}

void nat_icmp_too_long(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                       const uint8_t *l4, uint16_t mtu)
{
    const struct error error = {
        .type = ICMP_UNREACHABLE,
        .code = ICMP_CODE_TOO_LONG,
        .mtu = mtu,
        .source = nat->config->gateway,
    };

    send_error(nat, &error, key, protocol, l4);
}
