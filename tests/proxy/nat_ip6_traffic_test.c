/* IPv6 through the gateway: RFC 8200 (packets), 4443 (ICMPv6), UDP, TCP and policy. */
#include "ip6_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- ICMPv6 ---- */

/* RFC 4443 §4.2: the data, from the address that was pinged. */
static void the_gateway_answers_echo(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *const targets[] = {ip6_router, ip6_gateway};

    for (int i = 0; i < 2; i++) {
        const struct ip6_sent how = {ip6_guest, targets[i], IP_PROTOCOL_ICMPV6, 64};
        uint8_t echo[13] = {IP6_ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1, 'h', 'e', 'l', 'l', 'o'};

        ip6_send_icmp(world, &how, echo, sizeof echo);
        const struct ip6_got reply = ip6_next(world);

        assert_int_equal(reply.payload[0], IP6_ECHO_REPLY);
        assert_memory_equal(reply.from, targets[i], 16);
        assert_memory_equal(reply.to, ip6_guest, 16);
        assert_int_equal(reply.bytes, sizeof echo);
        assert_memory_equal(reply.payload + 4, echo + 4, sizeof echo - 4);
    }
}

/* l2-proxy.md §5.3: pings to the world through the host's socket, the identifier put back. */
static void a_ping_to_the_world_is_relayed(void **state)
{
    struct nat_world *world = *state;
    const struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_ICMPV6, 64};
    uint8_t echo[8] = {IP6_ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1};

    ip6_send_icmp(world, &how, echo, sizeof echo);
    assert_int_equal(world->socket_count, 1);
    assert_memory_equal(world->sockets[0].remote.address, ip6_server, 16);
    echo[0] = IP6_ECHO_REPLY;
    be16_put(echo + 4, 0x7777);
    world_remote_sends(world, &world->sockets[0], echo, sizeof echo);
    const struct ip6_got reply = ip6_next(world);

    assert_int_equal(reply.payload[0], IP6_ECHO_REPLY);
    assert_int_equal(be16_get(reply.payload + 4), 0x1234);
    assert_memory_equal(reply.from, ip6_server, 16);
}

/* RFC 8200 §3, RFC 4443 §3.3: hop limit exceeded; the gateway itself is no hop. */
static void the_hop_limit_is_honoured(void **state)
{
    struct nat_world *world = *state;
    struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 1};
    uint8_t udp[IP6_ROOM];

    ip6_send(world, &how, udp, ip6_build_udp(&how, udp, 5000, 1234, "x", 1));
    const struct ip6_got error = ip6_next(world);

    assert_int_equal(error.payload[0], 3);
    assert_memory_equal(error.from, ip6_gateway, 16);
    assert_memory_equal(error.payload + 8 + IPV6_DESTINATION_AT, ip6_server, 16);
    assert_memory_equal(error.payload + 48, udp, 8);
    assert_int_equal(world->socket_count, 0);
}

/* ---- UDP, TCP ---- */

static void a_datagram_goes_out_and_its_answer_comes_back(void **state)
{
    struct nat_world *world = *state;
    uint8_t data[16];

    ip6_send_udp(world, ip6_server, 1234, "ping", 4);
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->sockets[0].remote.family, 6);
    assert_int_equal(world->sockets[0].remote.port, 1234);
    assert_int_equal(world_take_datagram(&world->sockets[0], data, sizeof data), 4);
    world_remote_sends(world, &world->sockets[0], "pong!", 5);
    const struct ip6_got answer = ip6_next(world);

    assert_int_equal(answer.hops, 64);
    assert_memory_equal(answer.from, ip6_server, 16);
    assert_memory_equal(answer.mac, world_guest_mac, 6);
    assert_memory_equal(answer.payload + UDP_HEADER_BYTES, "pong!", 5);
}

/* RFC 8200 §4.5: a large answer in fragments of multiples of 8 bytes, one identification. */
static void a_large_answer_is_fragmented(void **state)
{
    struct nat_world *world = *state;
    uint8_t data[3000], whole[IP6_ROOM];
    uint32_t at = 0, id = 0;

    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    ip6_send_udp(world, ip6_server, 1234, "x", 1);
    world_remote_sends(world, &world->sockets[0], data, sizeof data);
    for (bool more = true; more;) {
        const struct ip6_got part = ip6_next(world);
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
    assert_int_equal(
        checksum_fold(checksum_add(checksum_pseudo_ipv6(ip6_server, ip6_guest, IP_PROTOCOL_UDP, at),
                                   whole, at)),
        0xffff);
}

/* §4.5: fragments in any order are one datagram; RFC 5722: overlapping ones are none. */
static void fragments_of_the_guest_are_put_together(void **state)
{
    struct nat_world *world = *state;
    const struct ip6_sent plain = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 64};
    const struct ip6_sent how = {ip6_guest, ip6_server, 44, 64};
    uint8_t udp[IP6_ROOM], data[1000] = {1, 2, 3}, part[IP6_ROOM], got[2000];
    const uint32_t bytes = ip6_build_udp(&plain, udp, 5000, 1234, data, sizeof data);

    for (uint32_t id = 1; id <= 2; id++) { /* the second one overlaps */
        for (uint32_t at = 504;; at = 0) {
            const uint32_t end = at != 0 ? bytes : id == 1 ? 504 : 512;
            const uint8_t header[8] = {IP_PROTOCOL_UDP, 0, (uint8_t)(at >> 8),
                                       (uint8_t)(at | (at == 0 ? 1u : 0u)), [7] = (uint8_t)id};

            memcpy(part, header, 8);
            memcpy(part + 8, udp + at, end - at);
            ip6_send(world, &how, part, 8 + end - at);
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
    const struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 64};
    uint8_t udp[IP6_ROOM];
    const uint32_t bytes = ip6_build_udp(&how, udp, 5000, 1234, "x", 1);

    be16_put(udp + 6, 0);
    ip6_send(world, &how, udp, bytes);
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
    const struct ip6_sent plain = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 64};
    uint8_t packet[IP6_ROOM] = {0}, data[64];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ip6_sent how = {ip6_guest, ip6_server, cases[i].type, 64};
        const uint32_t header_bytes = 8u + 8u * cases[i].header[1];

        memset(packet, 0, 16);
        memcpy(packet, cases[i].header, 8);
        ip6_send(world, &how, packet,
                 header_bytes + ip6_build_udp(&plain, packet + header_bytes, 5000, 1234, "x", 1));
        const bool passed = world->socket_count != 0 &&
                            world_take_datagram(&world->sockets[0], data, sizeof data) == 1;
        assert_int_equal(passed, cases[i].passes);
    }
    const struct ip6_sent chain = {ip6_guest, ip6_server, 60, 64};

    for (uint32_t at = 0; at < 80; at += 8) /* ten headers in a row */
        memcpy(packet + at, (uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
    ip6_send(world, &chain, packet, 80);
    ip6_send(world, &chain, packet, 4);
    world_expect_nothing(world);
}

static void send_segment(struct nat_world *world, uint8_t *tcp, uint32_t bytes)
{
    const struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_TCP, 64};
    const uint32_t sum = checksum_pseudo_ipv6(ip6_guest, ip6_server, IP_PROTOCOL_TCP, bytes);

    be16_put(tcp + TCP_CHECKSUM_AT, 0);
    be16_put(tcp + TCP_CHECKSUM_AT, checksum_finish(checksum_add(sum, tcp, bytes)));
    ip6_send(world, &how, tcp, bytes);
}

/* RFC 9293 over IPv6: the host's connect first, then a SYN-ACK whose MSS fits (RFC 8200 §8.3). */
static void a_connection_opens(void **state)
{
    struct nat_world *world = *state;
    uint8_t syn[24] = {
        0xc0, 0, 0, 80, 1, 2, 3, 4, [12] = 0x60, 2, 0xff, 0xff, [20] = 2, 4, 5, 0xa0};

    send_segment(world, syn, sizeof syn);
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->sockets[0].remote.family, 6);
    assert_memory_equal(world->sockets[0].remote.address, ip6_server, 16);
    world_expect_nothing(world);
    world_connected(world, &world->sockets[0]);
    const struct ip6_got answer = ip6_next(world);

    assert_int_equal(answer.protocol, IP_PROTOCOL_TCP);
    assert_int_equal(answer.payload[13], TCP_SYN | TCP_ACK);
    assert_memory_equal(answer.from, ip6_server, 16);
    assert_int_equal(be16_get(answer.payload + 22), 1440);
}

/* l2-extensions.md §6: the same over IPv6, whose header has no checksum and another length. */
static void super_frames_pass_both_ways(void **state)
{
    struct nat_world *world = *state;
    enum { DOWN = 30000, UP = 20000, HEADERS = ETH_HEADER_BYTES + IPV6_HEADER_BYTES };
    uint8_t *data = calloc(1, DOWN), *frame = calloc(1, HEADERS + TCP_HEADER_BYTES + UP);
    uint8_t ack[20] = {0xc0, 0, 0, 80, 1, 2, 3, 5, [12] = 0x50, TCP_ACK, 0xff, 0xff};

    a_connection_opens(state);
    const uint32_t isn =
        be32_get(world->frames[world->frame_read - 1].data + HEADERS + TCP_SEQUENCE_AT);
    be32_put(ack + TCP_ACKNOWLEDGMENT_AT, isn + 1);
    world_super(world, 65529);
    send_segment(world, ack, sizeof ack);
    for (uint32_t i = 0; i < DOWN; i++)
        data[i] = (uint8_t)(i + i / 256);
    world_remote_sends(world, &world->sockets[0], data, DOWN);
    assert_int_equal(world->frames[world->frame_read].gso_bytes, 1440);
    const struct ip6_got down = ip6_next(world);
    assert_int_equal(down.bytes, TCP_HEADER_BYTES + DOWN);
    assert_memory_equal(down.payload + TCP_HEADER_BYTES, data, DOWN);
    world_expect_nothing(world);

    world_frame_ethernet(frame, ETH_TYPE_IPV6);
    uint8_t *ip = frame + ETH_HEADER_BYTES;
    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, TCP_HEADER_BYTES + UP);
    ip[IPV6_NEXT_HEADER_AT] = IP_PROTOCOL_TCP;
    ip[IPV6_HOP_LIMIT_AT] = 64;
    memcpy(ip + IPV6_SOURCE_AT, ip6_guest, 16);
    memcpy(ip + IPV6_DESTINATION_AT, ip6_server, 16);
    memcpy(frame + HEADERS, ack, sizeof ack); /* with a checksum that is wrong now */
    memcpy(frame + HEADERS + TCP_HEADER_BYTES, data, UP);
    nat_input_super(world->nat, frame, HEADERS + TCP_HEADER_BYTES + UP, world->now_us);
    world_flush(world);
    assert_int_equal(world->sockets[0].out.bytes, UP);
    assert_memory_equal(world->sockets[0].out.data, data, UP);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 0);
    free(data);
    free(frame);
}

/* ---- policy ---- */

/* l2-proxy.md §6.1: the IPv6 deny list, embedded IPv4 addresses included; and the LAN itself. */
static void denied_addresses_are_prohibited(void **state)
{
    struct nat_world *world = *state;
    static const ip6_address denied[] = {
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
        ip6_send_udp(world, denied[i], 1234, "x", 1);
        ip6_expect_prohibited(world);
    }
    ip6_send_udp(world, ip6_gateway, 9, "x", 1);
    ip6_expect_prohibited(world);
    assert_int_equal(world->socket_count, 0);
    ip6_send_udp(world, ip6_all_nodes, 1234, "x", 1); /* groups are dropped */
    world_expect_nothing(world);
}

/* The LAN ends at the gateway: even with private addresses allowed, the host's network of the same
 * prefix, or its links, are not the guest's. */
static void the_lan_is_never_the_hosts(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);
    static const ip6_address other = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 3, [15] = 1};

    (void)state;
    world_init(world);
    world->config.ipv6 = true;
    world->policy.allow_private_ips = true;
    world_start(world);
    ip6_send_udp(world, (const ip6_address){0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 9}, 1,
                 "x", 1);
    ip6_expect_prohibited(world);
    ip6_send_udp(world, (const ip6_address){0xfe, 0x80, [15] = 9}, 1, "x", 1);
    ip6_expect_prohibited(world);
    assert_int_equal(world->socket_count, 0);
    ip6_send_udp(world, other, 1, "x", 1);
    assert_int_equal(world->socket_count, 1);
    world_close(world);
    free(world);
}

/* One guest behind one tunnel; and nobody else's address. */
static void strangers_on_the_lan_are_not_served(void **state)
{
    struct nat_world *world = *state;
    struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 64};
    uint8_t udp[IP6_ROOM];
    const uint8_t *const sources[] = {ip6_server, ip6_gateway,   ip6_router,
                                      ip6_nobody, ip6_all_nodes, ip6_guest_link};

    world_announce(world); /* IPv4 says who the guest is */
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        how.from = sources[i];
        ip6_send(world, &how, udp, ip6_build_udp(&how, udp, 5000, 1234, "x", 1));
    }
    assert_int_equal(world->metrics.guest_frames_ignored_total, 6);
    uint8_t frame[IP6_ROOM] = {0};

    memcpy(frame, world_gateway_mac, 6);
    frame[6] = 2; /* another MAC */
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV6);
    frame[14] = 0x60;
    frame[20] = IP_PROTOCOL_UDP;
    memcpy(frame + 14 + IPV6_SOURCE_AT, ip6_guest, 16);
    memcpy(frame + 14 + IPV6_DESTINATION_AT, ip6_server, 16);
    world_input(world, frame, 54);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 7);
    assert_int_equal(world->socket_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IP6_TEST(the_gateway_answers_echo),
        IP6_TEST(a_ping_to_the_world_is_relayed),
        IP6_TEST(the_hop_limit_is_honoured),
        IP6_TEST(a_datagram_goes_out_and_its_answer_comes_back),
        IP6_TEST(a_large_answer_is_fragmented),
        IP6_TEST(fragments_of_the_guest_are_put_together),
        IP6_TEST(a_zero_checksum_is_discarded),
        IP6_TEST(extension_headers),
        IP6_TEST(a_connection_opens),
        IP6_TEST(super_frames_pass_both_ways),
        IP6_TEST(denied_addresses_are_prohibited),
        cmocka_unit_test(the_lan_is_never_the_hosts),
        IP6_TEST(strangers_on_the_lan_are_not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
