#include "nat/parts.h"

#include <string.h>

static void ipv4_header(uint8_t *ip, const struct nat_flow_key *key, uint8_t protocol,
                        uint32_t l4_bytes)
{
    memset(ip, 0, IPV4_HEADER_BYTES);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + l4_bytes));
    be16_put(ip + IPV4_FRAGMENT_AT, IPV4_FLAG_DF);
    ip[IPV4_TTL_AT] = NAT_IP_TTL;
    ip[IPV4_PROTOCOL_AT] = protocol;
    memcpy(ip + IPV4_SOURCE_AT, key->remote.address, 4);
    memcpy(ip + IPV4_DESTINATION_AT, key->guest.address, 4);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
}

static void ipv6_header(uint8_t *ip, const struct nat_flow_key *key, uint8_t protocol,
                        uint32_t l4_bytes)
{
    be32_put(ip, 0x60000000);
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)l4_bytes);
    ip[IPV6_NEXT_HEADER_AT] = protocol;
    ip[IPV6_HOP_LIMIT_AT] = NAT_IP_TTL;
    memcpy(ip + IPV6_SOURCE_AT, key->remote.address, 16);
    memcpy(ip + IPV6_DESTINATION_AT, key->guest.address, 16);
}

uint8_t *nat_frame_headers(const struct nat *nat, uint8_t *frame, const struct nat_flow_key *key,
                           uint8_t protocol, uint32_t l4_bytes)
{
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    memcpy(frame, nat->guest_mac, ETH_ADDRESS_BYTES);
    memcpy(frame + ETH_ADDRESS_BYTES, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
    if (key->guest.family == 6) {
        be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV6);
        ipv6_header(ip, key, protocol, l4_bytes);
        return ip + IPV6_HEADER_BYTES;
    }
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    ipv4_header(ip, key, protocol, l4_bytes);
    return ip + IPV4_HEADER_BYTES;
}

uint32_t nat_pseudo_sum(const struct nat_flow_key *key, uint8_t protocol, uint32_t l4_bytes)
{
    if (key->guest.family == 6)
        return checksum_pseudo_ipv6(key->remote.address, key->guest.address, protocol, l4_bytes);
    return checksum_pseudo_ipv4(key->remote.address, key->guest.address, protocol,
                                (uint16_t)l4_bytes);
}

uint32_t nat_frames_begin(struct nat *nat, uint32_t bytes, uint32_t count, uint8_t **places)
{
    if (bytes > nat->frame_max_bytes)
        return 0;
    return nat->host.frame_reserve(nat->host.context, bytes, count, places);
}

uint8_t *nat_frame_begin(struct nat *nat, uint32_t bytes)
{
    uint8_t *place;

    return nat_frames_begin(nat, bytes, 1, &place) == 1 ? place : NULL;
}

void nat_frame_send(struct nat *nat, uint32_t bytes)
{
    nat->host.frame_commit(nat->host.context, 1, bytes);
}

/* RFC 791 §3.2: all fragments but the last carry a multiple of 8 bytes. */
bool nat_ip4_send(struct nat *nat, const struct nat_flow_key *key, uint8_t protocol,
                  const uint8_t *l4, uint32_t l4_bytes)
{
    const uint32_t room = nat->mtu - IPV4_HEADER_BYTES;
    const uint32_t step = l4_bytes <= room ? room : room / 8 * 8;
    const uint16_t id = l4_bytes <= room ? 0 : ++nat->ip_id;
    uint32_t at = 0;

    do {
        const uint32_t part = l4_bytes - at < step ? l4_bytes - at : step;
        const uint32_t frame_bytes = nat_frame_headers_bytes(4) + part;
        uint8_t *frame = nat_frame_begin(nat, frame_bytes);

        if (frame == NULL)
            return false;
        memcpy(nat_frame_headers(nat, frame, key, protocol, part), l4 + at, part);
        if (l4_bytes > room) {
            uint8_t *ip = frame + ETH_HEADER_BYTES;
            const uint32_t more = at + part < l4_bytes ? IPV4_FLAG_MF : 0;

            be16_put(ip + IPV4_ID_AT, id);
            be16_put(ip + IPV4_FRAGMENT_AT, (uint16_t)(more | at / 8));
            be16_put(ip + IPV4_CHECKSUM_AT, 0);
            be16_put(ip + IPV4_CHECKSUM_AT,
                     checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
        }
        nat_frame_send(nat, frame_bytes);
        at += part;
    } while (at < l4_bytes);
    return true;
}
