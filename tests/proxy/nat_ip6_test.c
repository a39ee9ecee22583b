/* IPv6 towards the guest: RFC 4861, 4862, 8106 (autoconfiguration), 8200 (packets), 8415 (DHCPv6).
 */
#include "nat_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    RS = 133,
    RA = 134,
    NS = 135,
    NA = 136,
    ECHO_REQUEST = 128,
    ECHO_REPLY = 129,
    ROOM = 4096,
};

typedef uint8_t address[16];

static const address router = {0xfe, 0x80, [11] = 0xff, [12] = 0xfe, [15] = 1};
static const address gateway = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 2};
static const address guest = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0,    2,
                              0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56};
static const address guest_link = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                   0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56};
static const address nobody;
static const address all_nodes = {0xff, 0x02, [15] = 1};
static const address all_routers = {0xff, 0x02, [15] = 2};
static const address server = {0x26, 0x06, 0x28, 0x00, [15] = 0x34};

static int open_world(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    world_init(world);
    world->config.ipv6 = true;
    world_start(world);
    *state = world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

/* ---- the guest sends ---- */

struct sent {
    const uint8_t *from, *to;
    uint8_t protocol, hops;
};

static void send_packet(struct nat_world *world, const struct sent *how, const uint8_t *payload,
                        uint32_t bytes)
{
    uint8_t frame[ROOM] = {0};
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    memcpy(frame, world_gateway_mac, 6);
    memcpy(frame + 6, world_guest_mac, 6);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV6);
    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)bytes);
    ip[IPV6_NEXT_HEADER_AT] = how->protocol;
    ip[IPV6_HOP_LIMIT_AT] = how->hops;
    memcpy(ip + IPV6_SOURCE_AT, how->from, 16);
    memcpy(ip + IPV6_DESTINATION_AT, how->to, 16);
    memcpy(ip + IPV6_HEADER_BYTES, payload, bytes);
    world_input(world, frame, ETH_HEADER_BYTES + IPV6_HEADER_BYTES + bytes);
}

static void send_icmp(struct nat_world *world, const struct sent *how, uint8_t *icmp,
                      uint32_t bytes)
{
    const uint32_t sum = checksum_pseudo_ipv6(how->from, how->to, IP_PROTOCOL_ICMPV6, bytes);

    be16_put(icmp + 2, 0);
    be16_put(icmp + 2, checksum_finish(checksum_add(sum, icmp, bytes)));
    send_packet(world, how, icmp, bytes);
}

static struct sent neighbour(const uint8_t *from, const uint8_t *to)
{
    return (struct sent){from, to, IP_PROTOCOL_ICMPV6, 255};
}

static void solicit_router(struct nat_world *world)
{
    const struct sent how = neighbour(guest_link, all_routers);
    uint8_t rs[16] = {RS, [8] = 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56};

    send_icmp(world, &how, rs, sizeof rs);
}

static void solicit_neighbour(struct nat_world *world, const uint8_t *from, const uint8_t *target)
{
    address group = {0xff, 0x02, [11] = 1, [12] = 0xff};
    const struct sent how = neighbour(from, group);
    uint8_t ns[24] = {NS};

    memcpy(group + 13, target + 13, 3);
    memcpy(ns + 8, target, 16);
    send_icmp(world, &how, ns, sizeof ns);
}

static uint32_t build_udp(const struct sent *how, uint8_t *udp, uint16_t from, uint16_t port,
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

static void send_udp(struct nat_world *world, const uint8_t *to, uint16_t port, const void *data,
                     uint32_t bytes)
{
    const struct sent how = {guest, to, IP_PROTOCOL_UDP, 64};
    uint8_t udp[ROOM];

    send_packet(world, &how, udp, build_udp(&how, udp, 5000, port, data, bytes));
}

/* ---- the guest receives ---- */

struct got {
    const uint8_t *mac, *from, *to, *payload;
    uint8_t protocol, hops;
    uint32_t bytes;
};

/* The next frame, its lengths and checksum good. */
static struct got next(struct nat_world *world)
{
    const struct world_frame *frame = world_next(world);

    assert_non_null(frame);
    const uint8_t *ip = frame->data + ETH_HEADER_BYTES;
    const struct got got = {
        .mac = frame->data,
        .from = ip + IPV6_SOURCE_AT,
        .to = ip + IPV6_DESTINATION_AT,
        .payload = ip + IPV6_HEADER_BYTES,
        .protocol = ip[IPV6_NEXT_HEADER_AT],
        .hops = ip[IPV6_HOP_LIMIT_AT],
        .bytes = be16_get(ip + IPV6_PAYLOAD_LENGTH_AT),
    };

    assert_int_equal(be16_get(frame->data + ETH_TYPE_AT), ETH_TYPE_IPV6);
    assert_int_equal(ip[0] >> 4, 6);
    assert_int_equal(frame->bytes, ETH_HEADER_BYTES + IPV6_HEADER_BYTES + got.bytes);
    if (got.protocol != 44)
        assert_int_equal(checksum_fold(checksum_add(
                             checksum_pseudo_ipv6(got.from, got.to, got.protocol, got.bytes),
                             got.payload, got.bytes)),
                         0xffff);
    return got;
}

static void expect_prohibited(struct nat_world *world)
{
    const struct got error = next(world);

    assert_int_equal(error.protocol, IP_PROTOCOL_ICMPV6);
    assert_int_equal(error.payload[0], 1);
    assert_int_equal(error.payload[1], 1);
}

/* ---- RFC 4861, 4862, 8106 ---- */

/* RFC 4861 §6.2.6: "A router sends Router Advertisements in response to valid Router
 * Solicitations"; §4.2, §4.6.2: prefix for addresses; RFC 8106 §5.1: the name server. */
static void a_solicitation_brings_prefix_and_name_server(void **state)
{
    struct nat_world *world = *state;
    uint32_t seen = 0;

    solicit_router(world);
    const struct got ra = next(world);

    assert_int_equal(ra.payload[0], RA);
    assert_int_equal(ra.hops, 255);
    assert_memory_equal(ra.from, router, 16);
    assert_memory_equal(ra.to, all_nodes, 16);
    assert_memory_equal(ra.mac, ((const uint8_t[]){0x33, 0x33, 0, 0, 0, 1}), 6);
    assert_int_equal(ra.payload[5], 0x40); /* O: the rest by stateless DHCPv6 */
    assert_int_equal(be16_get(ra.payload + 6), 1800);
    for (const uint8_t *at = ra.payload + 16; at < ra.payload + ra.bytes; at += at[1] * 8) {
        seen |= 1u << at[0];
        if (at[0] == 1)
            assert_memory_equal(at + 2, world_gateway_mac, 6);
        if (at[0] == 3) {
            assert_int_equal(at[2], 64);
            assert_int_equal(at[3], 0xc0); /* on-link, autonomous */
            assert_memory_equal(at + 16, guest, 8);
            assert_true(be32_get(at + 4) >= be32_get(at + 8)); /* §4.6.2: valid ≥ preferred */
        }
        if (at[0] == 5)
            assert_int_equal(be32_get(at + 4), 1500);
        if (at[0] == 25)
            assert_memory_equal(at + 8, gateway, 16);
    }
    assert_int_equal(seen, 1u << 1 | 1u << 3 | 1u << 5 | 1u << 25);
    world_expect_nothing(world);
}

/* §6.2.4: advertisements go out before the lifetime of the last one ends. */
static void advertisements_are_repeated(void **state)
{
    struct nat_world *world = *state;

    world_advance(world, UINT64_C(3600) * 1000000);
    world_expect_nothing(world); /* not to a guest that never asked */
    solicit_router(world);
    next(world);
    world_advance(world, UINT64_C(1801) * 1000000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(next(world).payload[0], RA);
    world_expect_nothing(world);
}

/* §6.1.1, §7.1.1: "A node MUST silently discard any received … messages that do not satisfy all
 * of the following validity checks". */
static void invalid_solicitations_are_discarded(void **state)
{
    struct nat_world *world = *state;
    struct sent how = neighbour(guest_link, all_routers);
    uint8_t rs[16] = {RS, [8] = 1, 1}, ns[24] = {NS};

    how.hops = 254; /* "could not possibly have been forwarded by a router" */
    send_icmp(world, &how, rs, sizeof rs);
    how.hops = 255;
    rs[1] = 1; /* "ICMP Code is 0" */
    send_icmp(world, &how, rs, sizeof rs);
    rs[1] = 0;
    rs[9] = 0; /* "All included options have a length that is greater than zero" */
    send_icmp(world, &how, rs, sizeof rs);
    rs[9] = 1;
    how.from = nobody; /* "no source link-layer address option" from the unspecified address */
    send_icmp(world, &how, rs, sizeof rs);
    memcpy(ns + 8, gateway, 16);
    how.to = all_nodes; /* from the unspecified address: "a solicited-node multicast address" */
    send_icmp(world, &how, ns, sizeof ns);
    how.from = guest_link;
    send_icmp(world, &how, ns, 23); /* "24 or more octets" */
    memcpy(ns + 8, all_nodes, 16);  /* "Target Address is not a multicast address" */
    send_icmp(world, &how, ns, sizeof ns);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_malformed_total, 7);
    rs[2] ^= 1; /* "ICMP Checksum is valid" */
    send_packet(world, &how, rs, sizeof rs);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* §7.2.4: the answer is solicited, overrides, says router and carries our link-layer address. */
static void the_gateway_is_found_under_both_addresses(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *const targets[] = {router, gateway};

    for (int i = 0; i < 2; i++) {
        solicit_neighbour(world, guest_link, targets[i]);
        const struct got na = next(world);

        assert_int_equal(na.payload[0], NA);
        assert_int_equal(na.hops, 255);
        assert_memory_equal(na.to, guest_link, 16);
        assert_memory_equal(na.mac, world_guest_mac, 6);
        assert_int_equal(na.payload[4], 0xe0);
        assert_memory_equal(na.payload + 8, targets[i], 16);
        assert_int_equal(na.payload[24], 2);
        assert_memory_equal(na.payload + 26, world_gateway_mac, 6);
    }
}

/* RFC 4862 §5.4; quirks §4 (passt af55c4e): a guest's test of its own address stays unanswered;
 * our address is defended, to all nodes and not as solicited (RFC 4861 §7.2.4). */
static void duplicate_address_detection_works(void **state)
{
    struct nat_world *world = *state;

    solicit_neighbour(world, nobody, guest);
    solicit_neighbour(world, nobody, guest_link);
    world_expect_nothing(world);
    solicit_neighbour(world, nobody, gateway);
    const struct got na = next(world);

    assert_memory_equal(na.to, all_nodes, 16);
    assert_int_equal(na.payload[4], 0xa0);
}

/* ---- ICMPv6 ---- */

/* RFC 4443 §4.2: the data, from the address that was pinged. */
static void the_gateway_answers_echo(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *const targets[] = {router, gateway};

    for (int i = 0; i < 2; i++) {
        const struct sent how = {guest, targets[i], IP_PROTOCOL_ICMPV6, 64};
        uint8_t echo[13] = {ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1, 'h', 'e', 'l', 'l', 'o'};

        send_icmp(world, &how, echo, sizeof echo);
        const struct got reply = next(world);

        assert_int_equal(reply.payload[0], ECHO_REPLY);
        assert_memory_equal(reply.from, targets[i], 16);
        assert_memory_equal(reply.to, guest, 16);
        assert_int_equal(reply.bytes, sizeof echo);
        assert_memory_equal(reply.payload + 4, echo + 4, sizeof echo - 4);
    }
}

/* l2-proxy.md §5.3: pings to the world through the host's socket, the identifier put back. */
static void a_ping_to_the_world_is_relayed(void **state)
{
    struct nat_world *world = *state;
    const struct sent how = {guest, server, IP_PROTOCOL_ICMPV6, 64};
    uint8_t echo[8] = {ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1};

    send_icmp(world, &how, echo, sizeof echo);
    assert_int_equal(world->socket_count, 1);
    assert_memory_equal(world->sockets[0].remote.address, server, 16);
    echo[0] = ECHO_REPLY;
    be16_put(echo + 4, 0x7777);
    world_remote_sends(world, &world->sockets[0], echo, sizeof echo);
    const struct got reply = next(world);

    assert_int_equal(reply.payload[0], ECHO_REPLY);
    assert_int_equal(be16_get(reply.payload + 4), 0x1234);
    assert_memory_equal(reply.from, server, 16);
}

/* RFC 8200 §3, RFC 4443 §3.3: hop limit exceeded; the gateway itself is no hop. */
static void the_hop_limit_is_honoured(void **state)
{
    struct nat_world *world = *state;
    struct sent how = {guest, server, IP_PROTOCOL_UDP, 1};
    uint8_t udp[ROOM];

    send_packet(world, &how, udp, build_udp(&how, udp, 5000, 1234, "x", 1));
    const struct got error = next(world);

    assert_int_equal(error.payload[0], 3);
    assert_memory_equal(error.from, gateway, 16);
    assert_memory_equal(error.payload + 8 + IPV6_DESTINATION_AT, server, 16);
    assert_memory_equal(error.payload + 48, udp, 8);
    assert_int_equal(world->socket_count, 0);
}

/* ---- UDP, TCP ---- */

static void a_datagram_goes_out_and_its_answer_comes_back(void **state)
{
    struct nat_world *world = *state;
    uint8_t data[16];

    send_udp(world, server, 1234, "ping", 4);
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->sockets[0].remote.family, 6);
    assert_int_equal(world->sockets[0].remote.port, 1234);
    assert_int_equal(world_take_datagram(&world->sockets[0], data, sizeof data), 4);
    world_remote_sends(world, &world->sockets[0], "pong!", 5);
    const struct got answer = next(world);

    assert_int_equal(answer.hops, 64);
    assert_memory_equal(answer.from, server, 16);
    assert_memory_equal(answer.mac, world_guest_mac, 6);
    assert_memory_equal(answer.payload + UDP_HEADER_BYTES, "pong!", 5);
}

/* RFC 8200 §4.5: a large answer in fragments of multiples of 8 bytes, one identification. */
static void a_large_answer_is_fragmented(void **state)
{
    struct nat_world *world = *state;
    uint8_t data[3000], whole[ROOM];
    uint32_t at = 0, id = 0;

    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    send_udp(world, server, 1234, "x", 1);
    world_remote_sends(world, &world->sockets[0], data, sizeof data);
    for (bool more = true; more;) {
        const struct got part = next(world);
        const uint32_t field = be16_get(part.payload + 2);

        assert_int_equal(part.protocol, 44);
        assert_true(part.bytes <= 1460);
        assert_int_equal(part.payload[0], IP_PROTOCOL_UDP);
        assert_int_equal(field & 0xfff8, at);
        more = (field & 1) != 0;
        assert_true(at == 0 || be32_get(part.payload + 4) == id);
        id = be32_get(part.payload + 4);
        memcpy(whole + at, part.payload + 8, part.bytes - 8);
        at += part.bytes - 8;
    }
    world_expect_nothing(world);
    assert_int_equal(at, UDP_HEADER_BYTES + sizeof data);
    assert_memory_equal(whole + UDP_HEADER_BYTES, data, sizeof data);
    assert_int_equal(checksum_fold(checksum_add(
                         checksum_pseudo_ipv6(server, guest, IP_PROTOCOL_UDP, at), whole, at)),
                     0xffff);
}

/* §4.5: fragments in any order are one datagram; RFC 5722: overlapping ones are none. */
static void fragments_of_the_guest_are_put_together(void **state)
{
    struct nat_world *world = *state;
    const struct sent plain = {guest, server, IP_PROTOCOL_UDP, 64};
    const struct sent how = {guest, server, 44, 64};
    uint8_t udp[ROOM], data[1000] = {1, 2, 3}, part[ROOM], got[2000];
    const uint32_t bytes = build_udp(&plain, udp, 5000, 1234, data, sizeof data);

    for (uint32_t id = 1; id <= 2; id++) { /* the second one overlaps */
        for (uint32_t at = 504;; at = 0) {
            const uint32_t end = at != 0 ? bytes : id == 1 ? 504 : 512;
            const uint8_t header[8] = {IP_PROTOCOL_UDP, 0, (uint8_t)(at >> 8),
                                       (uint8_t)(at | (at == 0 ? 1u : 0u)), [7] = (uint8_t)id};

            memcpy(part, header, 8);
            memcpy(part + 8, udp + at, end - at);
            send_packet(world, &how, part, 8 + end - at);
            if (at == 0)
                break;
        }
    }
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world_take_datagram(&world->sockets[0], got, sizeof got), sizeof data);
    assert_memory_equal(got, data, sizeof data);
    assert_int_equal(world_take_datagram(&world->sockets[0], got, sizeof got), -1);
}

/* §8.1: "IPv6 receivers must discard UDP packets containing a zero checksum". */
static void a_zero_checksum_is_discarded(void **state)
{
    struct nat_world *world = *state;
    const struct sent how = {guest, server, IP_PROTOCOL_UDP, 64};
    uint8_t udp[ROOM];
    const uint32_t bytes = build_udp(&how, udp, 5000, 1234, "x", 1);

    be16_put(udp + 6, 0);
    send_packet(world, &how, udp, bytes);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* §4: extension headers are passed over; what may not be, discards the packet. */
static void extension_headers(void **state)
{
    struct nat_world *world = *state;
    static const struct {
        uint8_t type, header[8];
        bool passes;
    } cases[] = {
        {0, {17, 0, 1, 4}, true},               /* hop-by-hop, PadN */
        {60, {17, 0, 0x1e, 2, 0, 0, 0}, true},  /* §4.2: 00: skip over this option */
        {60, {17, 0, 0x9e, 2, 0, 0, 0}, false}, /* 10: discard the packet */
        {60, {17, 0, 1, 9}, false},             /* an option longer than its header */
        {60, {17, 1}, true},                    /* cut short below: see the length */
        {43, {17, 0, 0, 0}, true},              /* §4.4: segments left 0: ignore it */
        {43, {17, 0, 0, 1}, false},
        {60, {0, 0, 1, 4}, false}, /* §4.1: hop-by-hop only right after the IPv6 header */
        {59, {17}, false},         /* §4.7: no next header */
    };
    const struct sent plain = {guest, server, IP_PROTOCOL_UDP, 64};
    uint8_t packet[ROOM] = {0}, data[64];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sent how = {guest, server, cases[i].type, 64};
        const uint32_t header_bytes = 8u + 8u * cases[i].header[1];

        memset(packet, 0, 16);
        memcpy(packet, cases[i].header, 8);
        send_packet(world, &how, packet,
                    header_bytes + build_udp(&plain, packet + header_bytes, 5000, 1234, "x", 1));
        const bool passed = world->socket_count != 0 &&
                            world_take_datagram(&world->sockets[0], data, sizeof data) == 1;
        assert_int_equal(passed, cases[i].passes);
    }
    const struct sent chain = {guest, server, 60, 64};

    for (uint32_t at = 0; at < 80; at += 8) /* ten headers in a row */
        memcpy(packet + at, (uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
    send_packet(world, &chain, packet, 80);
    send_packet(world, &chain, packet, 4);
    world_expect_nothing(world);
}

/* RFC 9293 over IPv6: the host's connect first, then a SYN-ACK whose MSS fits (RFC 8200 §8.3). */
static void a_connection_opens(void **state)
{
    struct nat_world *world = *state;
    const struct sent how = {guest, server, IP_PROTOCOL_TCP, 64};
    uint8_t syn[24] = {
        0xc0, 0, 0, 80, 1, 2, 3, 4, [12] = 0x60, 2, 0xff, 0xff, [20] = 2, 4, 5, 0xa0};
    const uint32_t sum = checksum_pseudo_ipv6(guest, server, IP_PROTOCOL_TCP, sizeof syn);

    be16_put(syn + 16, checksum_finish(checksum_add(sum, syn, sizeof syn)));
    send_packet(world, &how, syn, sizeof syn);
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->sockets[0].remote.family, 6);
    assert_memory_equal(world->sockets[0].remote.address, server, 16);
    world_expect_nothing(world);
    world_connected(world, &world->sockets[0]);
    const struct got answer = next(world);

    assert_int_equal(answer.protocol, IP_PROTOCOL_TCP);
    assert_int_equal(answer.payload[13], TCP_SYN | TCP_ACK);
    assert_memory_equal(answer.from, server, 16);
    assert_int_equal(be16_get(answer.payload + 22), 1440);
}

/* ---- policy ---- */

/* l2-proxy.md §6.1: the IPv6 deny list, embedded IPv4 addresses included; and the LAN itself. */
static void denied_addresses_are_prohibited(void **state)
{
    struct nat_world *world = *state;
    static const address denied[] = {
        {[15] = 1},                                              /* ::1 */
        {0xfc},                                                  /* fc00::/7 */
        {0xfe, 0xc0},                                            /* fec0::/10 */
        {0x20, 0x01, 0x0d, 0xb8, [15] = 1},                      /* 2001:db8::/32 */
        {0x01},                                                  /* 100::/64 */
        {[10] = 0xff, 0xff, 127, 0, 0, 1},                       /* ::ffff:127.0.0.1 */
        {[12] = 10, 0, 0, 1},                                    /* ::10.0.0.1 */
        {0x00, 0x64, 0xff, 0x9b, [12] = 169, 254, 169, 254},     /* 64:ff9b::169.254.169.254 */
        {0x20, 0x02, 192, 168, 0, 1},                            /* 2002:c0a8:1:: */
        {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 0x99}, /* a neighbour that is not there */
    };

    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        send_udp(world, denied[i], 1234, "x", 1);
        expect_prohibited(world);
    }
    send_udp(world, gateway, 9, "x", 1);
    expect_prohibited(world);
    assert_int_equal(world->socket_count, 0);
    send_udp(world, all_nodes, 1234, "x", 1); /* groups are dropped */
    world_expect_nothing(world);
}

/* The LAN ends at the gateway: even with private addresses allowed, the host's network of the same
 * prefix, or its links, are not the guest's. */
static void the_lan_is_never_the_hosts(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);
    static const address other = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 3, [15] = 1};

    (void)state;
    world_init(world);
    world->config.ipv6 = true;
    world->policy.allow_private_ips = true;
    world_start(world);
    send_udp(world, (const address){0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 9}, 1, "x", 1);
    expect_prohibited(world);
    send_udp(world, (const address){0xfe, 0x80, [15] = 9}, 1, "x", 1);
    expect_prohibited(world);
    assert_int_equal(world->socket_count, 0);
    send_udp(world, other, 1, "x", 1);
    assert_int_equal(world->socket_count, 1);
    world_close(world);
    free(world);
}

/* One guest behind one tunnel; and nobody else's address. */
static void strangers_on_the_lan_are_not_served(void **state)
{
    struct nat_world *world = *state;
    struct sent how = {guest, server, IP_PROTOCOL_UDP, 64};
    uint8_t udp[ROOM];
    const uint8_t *const sources[] = {server, gateway, router, nobody, all_nodes, guest_link};

    world_announce(world); /* IPv4 says who the guest is */
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        how.from = sources[i];
        send_packet(world, &how, udp, build_udp(&how, udp, 5000, 1234, "x", 1));
    }
    assert_int_equal(world->metrics.guest_frames_ignored_total, 6);
    uint8_t frame[ROOM] = {0};

    memcpy(frame, world_gateway_mac, 6);
    frame[6] = 2; /* another MAC */
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV6);
    frame[14] = 0x60;
    frame[20] = IP_PROTOCOL_UDP;
    memcpy(frame + 14 + IPV6_SOURCE_AT, guest, 16);
    memcpy(frame + 14 + IPV6_DESTINATION_AT, server, 16);
    world_input(world, frame, 54);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 7);
    assert_int_equal(world->socket_count, 0);
}

/* RFC 8200 §5: no link below 1280 carries it; and the switch is off by default. */
static void without_switch_or_mtu_there_is_no_ipv6(void **state)
{
    struct nat_world *world = *state;

    assert_int_equal(nat_frame_limit(world->nat, 1293), 1279);
    solicit_router(world);
    solicit_neighbour(world, guest_link, gateway);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 2);
}

/* ---- DHCPv6, DNS ---- */

static void send_dhcp(struct nat_world *world, const char *hex)
{
    static const address servers = {0xff, 0x02, [13] = 1, [15] = 2};
    const struct sent how = {guest_link, servers, IP_PROTOCOL_UDP, 1};
    uint8_t message[256], udp[ROOM];
    const uint32_t bytes = world_hex(hex, message, sizeof message);

    send_packet(world, &how, udp, build_udp(&how, udp, 546, 547, message, bytes));
}

/* RFC 8415 §18.3.6: Reply with the transaction id, server and client identifier, and the name
 * server (RFC 3646 §3). */
static void information_requests_are_answered(void **state)
{
    struct nat_world *world = *state;
    uint8_t expected[128];
    const uint32_t bytes = world_hex("07abcdef 0002000a 00030001 020000000001"
                                     "0001000a 00030001 525400123456"
                                     "00170010 fd4bc7f19a2e00020000000000000002",
                                     expected, sizeof expected);

    send_dhcp(world, "0babcdef 0001000a 00030001 525400123456 00060002 0017");
    const struct got reply = next(world);

    assert_memory_equal(reply.from, router, 16);
    assert_memory_equal(reply.to, guest_link, 16);
    assert_int_equal(be16_get(reply.payload), 547);
    assert_int_equal(be16_get(reply.payload + 2), 546);
    assert_int_equal(reply.bytes, UDP_HEADER_BYTES + bytes);
    assert_memory_equal(reply.payload + UDP_HEADER_BYTES, expected, bytes);
}

/* §16.12: "Servers MUST discard any received Information-request message that": names another
 * server, or includes an IA option; and addresses are not ours to give. */
static void other_dhcp_messages_are_discarded(void **state)
{
    struct nat_world *world = *state;

    send_dhcp(world, "0babcdef 0002000a 00030001 020000000099");
    send_dhcp(world, "0babcdef 0003000c 000000010000000000000000");
    send_dhcp(world, "01abcdef 0001000a 00030001 525400123456");
    send_dhcp(world, "0babcdef 0001000b 00030001 525400123456"); /* one byte short */
    send_dhcp(world, "0babcd");
    world_expect_nothing(world);
}

/* The name server of the advertisement answers, and AAAA questions reach the resolver. */
static void the_name_server_is_asked_for_aaaa(void **state)
{
    struct nat_world *world = *state;
    uint8_t query[64];
    const uint32_t bytes = world_hex(
        "1234 0100 0001 0000 0000 0000 076578616d706c6503636f6d00 001c 0001", query, sizeof query);

    send_udp(world, gateway, 53, query, bytes);
    assert_int_equal(world->query_count, 1);
    assert_int_equal(world->queries[0].type, 28);
    world_answer_hex(world, world->queries[0].handle,
                     "0000 8180 0001 0001 0000 0000 076578616d706c6503636f6d00 001c 0001"
                     "c00c 001c 0001 0000003c 0010 26062800 00000000 00000000 00000034");
    const struct got answer = next(world);

    assert_memory_equal(answer.from, gateway, 16);
    assert_int_equal(be16_get(answer.payload), 53);
    assert_int_equal(be16_get(answer.payload + UDP_HEADER_BYTES + 6), 1); /* one answer */
    assert_memory_equal(answer.payload + answer.bytes - 16, server, 16);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(a_solicitation_brings_prefix_and_name_server),
        TEST(advertisements_are_repeated),
        TEST(invalid_solicitations_are_discarded),
        TEST(the_gateway_is_found_under_both_addresses),
        TEST(duplicate_address_detection_works),
        TEST(the_gateway_answers_echo),
        TEST(a_ping_to_the_world_is_relayed),
        TEST(the_hop_limit_is_honoured),
        TEST(a_datagram_goes_out_and_its_answer_comes_back),
        TEST(a_large_answer_is_fragmented),
        TEST(fragments_of_the_guest_are_put_together),
        TEST(a_zero_checksum_is_discarded),
        TEST(extension_headers),
        TEST(a_connection_opens),
        TEST(denied_addresses_are_prohibited),
        cmocka_unit_test(the_lan_is_never_the_hosts),
        TEST(strangers_on_the_lan_are_not_served),
        TEST(without_switch_or_mtu_there_is_no_ipv6),
        TEST(information_requests_are_answered),
        TEST(other_dhcp_messages_are_discarded),
        TEST(the_name_server_is_asked_for_aaaa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
