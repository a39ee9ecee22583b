#include "ip6_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

const ip6_address ip6_router = {0xfe, 0x80, [11] = 0xff, [12] = 0xfe, [15] = 1};
const ip6_address ip6_gateway = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 2};
const ip6_address ip6_guest = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0,    2,
                               0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56};
const ip6_address ip6_guest_link = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                    0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56};
const ip6_address ip6_nobody;
const ip6_address ip6_all_nodes = {0xff, 0x02, [15] = 1};
const ip6_address ip6_all_routers = {0xff, 0x02, [15] = 2};
const ip6_address ip6_server = {0x26, 0x06, 0x28, 0x00, [15] = 0x34};

int ip6_setup(void **state)
{
    world_setup_later(state);
    struct nat_world *world = *state;

    world->config.ipv6 = true;
    world_start(world);
    return 0;
}

/* ---- the guest sends ---- */

void ip6_send(struct nat_world *world, const struct ip6_sent *how, const uint8_t *payload,
              uint32_t bytes)
{
    uint8_t frame[IP6_ROOM] = {0};
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    world_frame_ethernet(frame, ETH_TYPE_IPV6);
    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)bytes);
    ip[IPV6_NEXT_HEADER_AT] = how->protocol;
    ip[IPV6_HOP_LIMIT_AT] = how->hops;
    memcpy(ip + IPV6_SOURCE_AT, how->from, 16);
    memcpy(ip + IPV6_DESTINATION_AT, how->to, 16);
    memcpy(ip + IPV6_HEADER_BYTES, payload, bytes);
    world_input(world, frame, ETH_HEADER_BYTES + IPV6_HEADER_BYTES + bytes);
}

void ip6_send_icmp(struct nat_world *world, const struct ip6_sent *how, uint8_t *icmp,
                   uint32_t bytes)
{
    const uint32_t sum = checksum_pseudo_ipv6(how->from, how->to, IP_PROTOCOL_ICMPV6, bytes);

    be16_put(icmp + 2, 0);
    be16_put(icmp + 2, checksum_finish(checksum_add(sum, icmp, bytes)));
    ip6_send(world, how, icmp, bytes);
}

struct ip6_sent ip6_neighbour(const uint8_t *from, const uint8_t *to)
{
    return (struct ip6_sent){from, to, IP_PROTOCOL_ICMPV6, 255};
}

void ip6_solicit_router(struct nat_world *world)
{
    const struct ip6_sent how = ip6_neighbour(ip6_guest_link, ip6_all_routers);
    uint8_t rs[16] = {IP6_RS, [8] = 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56};

    ip6_send_icmp(world, &how, rs, sizeof rs);
}

void ip6_solicit_neighbour(struct nat_world *world, const uint8_t *from, const uint8_t *target)
{
    ip6_address group = {0xff, 0x02, [11] = 1, [12] = 0xff};
    const struct ip6_sent how = ip6_neighbour(from, group);
    uint8_t ns[24] = {IP6_NS};

    memcpy(group + 13, target + 13, 3);
    memcpy(ns + 8, target, 16);
    ip6_send_icmp(world, &how, ns, sizeof ns);
}

uint32_t ip6_build_udp(const struct ip6_sent *how, uint8_t *udp, uint16_t from, uint16_t port,
                       const void *data, uint32_t bytes)
{
    const uint32_t total = UDP_HEADER_BYTES + bytes;

    be16_put(udp, from);
    be16_put(udp + 2, port);
    be16_put(udp + 4, (uint16_t)total);
    be16_put(udp + 6, 0);
    memcpy(udp + UDP_HEADER_BYTES, data, bytes);
    be16_put(udp + 6,
             checksum_finish(checksum_add(
                 checksum_pseudo_ipv6(how->from, how->to, IP_PROTOCOL_UDP, total), udp, total)));
    return total;
}

void ip6_send_udp(struct nat_world *world, const uint8_t *to, uint16_t port, const void *data,
                  uint32_t bytes)
{
    const struct ip6_sent how = {ip6_guest, to, IP_PROTOCOL_UDP, 64};
    uint8_t udp[IP6_ROOM];

    ip6_send(world, &how, udp, ip6_build_udp(&how, udp, 5000, port, data, bytes));
}

/* ---- the guest receives ---- */

struct ip6_got ip6_next(struct nat_world *world)
{
    const struct world_frame *frame = world_next(world);

    assert_non_null(frame);
    const uint8_t *ip = frame->data + ETH_HEADER_BYTES;
    const struct ip6_got got = {
        .mac = frame->data,
        .from = ip + IPV6_SOURCE_AT,
        .to = ip + IPV6_DESTINATION_AT,
        .payload = ip + IPV6_HEADER_BYTES,
        .protocol = ip[IPV6_NEXT_HEADER_AT],
        .hops = ip[IPV6_HOP_LIMIT_AT],
        .bytes = be16_get(ip + IPV6_PAYLOAD_LENGTH_AT),
    };

    assert_int_equal(be16_get(frame->data + ETH_TYPE_AT), ETH_TYPE_IPV6);
    return got;
}

void ip6_expect_prohibited(struct nat_world *world)
{
    const struct ip6_got error = ip6_next(world);

    assert_int_equal(error.protocol, IP_PROTOCOL_ICMPV6);
    assert_int_equal(error.payload[0], 1);
    assert_int_equal(error.payload[1], 1);
}
