/* l2-proxy.md §5.3: ICMP. */
#include "nat_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void send_echo(struct nat_world *world, const uint8_t *to, uint32_t data_bytes)
{
    uint8_t *icmp = calloc(1, ICMP_HEADER_BYTES + data_bytes);

    icmp[0] = 8;
    be16_put(icmp + 4, 0x1234);
    for (uint32_t i = 0; i < data_bytes; i++)
        icmp[ICMP_HEADER_BYTES + i] = (uint8_t)i;
    be16_put(icmp + ICMP_CHECKSUM_AT,
             checksum_finish(checksum_add(0, icmp, ICMP_HEADER_BYTES + data_bytes)));
    world_send_ipv4(world, to, IP_PROTOCOL_ICMP, icmp, ICMP_HEADER_BYTES + data_bytes);
    free(icmp);
}

/* §5.3: the worked request and reply. */
static void a_ping_to_the_gateway_has_the_worked_bytes(void **state)
{
    struct nat_world *world = *state;
    uint8_t icmp[64];
    uint8_t expected[64];
    const uint32_t bytes = world_hex("0800 5435 1234 0001 6162636465666768", icmp, sizeof icmp);

    world_hex("0000 5c35 1234 0001 6162636465666768", expected, sizeof expected);
    world_send_ipv4(world, world_gateway, IP_PROTOCOL_ICMP, icmp, bytes);
    const struct world_packet reply = world_next_ipv4(world);

    assert_int_equal(reply.protocol, IP_PROTOCOL_ICMP);
    assert_int_equal(reply.bytes, bytes);
    assert_memory_equal(reply.payload, expected, bytes);
    assert_memory_equal(reply.source, world_gateway, 4);
    assert_memory_equal(reply.destination, world_guest, 4);
    /* §5: TTL 64, DF set. */
    assert_int_equal(reply.ttl, 64);
    assert_int_equal(reply.fragment, IPV4_FLAG_DF);
}

/* §5.3: the same data, whatever its length; an odd one has its checksum, too. */
static void a_ping_of_any_size_comes_back_whole(void **state)
{
    struct nat_world *world = *state;
    static const uint32_t sizes[] = {0, 1, 7, 56, 1471, 1472};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        send_echo(world, world_gateway, sizes[i]);
        const struct world_packet reply = world_next_ipv4(world);

        assert_int_equal(reply.bytes, ICMP_HEADER_BYTES + sizes[i]);
        assert_int_equal(checksum_fold(checksum_add(0, reply.payload, reply.bytes)), 0xffff);
        for (uint32_t k = 0; k < sizes[i]; k++)
            assert_int_equal(reply.payload[ICMP_HEADER_BYTES + k], (uint8_t)k);
    }
}

/* §5.3: a reply above the MTU leaves as fragments (RFC 791 §3.2), none above it. */
static void a_large_reply_is_fragmented(void **state)
{
    struct nat_world *world = *state;
    uint8_t datagram[65536];
    uint32_t at = 0;

    send_echo(world, world_gateway, 1473); /* the guest's own frame may be this long: limit 2048 */
    const struct world_packet first = world_next_ipv4(world);
    const struct world_packet second = world_next_ipv4(world);

    world_expect_nothing(world);
    assert_int_equal(first.fragment, IPV4_FLAG_MF);
    assert_int_equal(first.bytes, 1480);
    assert_int_equal(second.fragment, 1480 / 8);
    assert_int_equal(first.id, second.id);
    memcpy(datagram, first.payload, first.bytes);
    at += first.bytes;
    memcpy(datagram + at, second.payload, second.bytes);
    at += second.bytes;
    assert_int_equal(at, ICMP_HEADER_BYTES + 1473);
    assert_int_equal(checksum_fold(checksum_add(0, datagram, at)), 0xffff);
}

/* RFC 791 §3.2: fragments are cut at multiples of 8 bytes, whatever the MTU. */
static void an_odd_mtu_is_cut_at_multiples_of_eight(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    (void)state;
    world_init(world);
    world->config.lan_mtu = 1499;
    world_start(world);
    world_announce(world);
    send_echo(world, world_gateway, 1473);
    assert_int_equal(world_next_ipv4(world).bytes, 1472);
    assert_int_equal(world_next_ipv4(world).fragment, 1472 / 8);
    world_expect_nothing(world);
    world_close(world);
    free(world);
}

/* RFC 792: only a request is answered. */
static void other_messages_are_not_echoed(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t types[][2] = {{0, 0}, {3, 3}, {13, 0}, {8, 1}};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        uint8_t icmp[8] = {types[i][0], types[i][1]};

        be16_put(icmp + 2, checksum_finish(checksum_add(0, icmp, sizeof icmp)));
        world_send_ipv4(world, world_gateway, IP_PROTOCOL_ICMP, icmp, sizeof icmp);
    }
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 4);
}

/* §5.3: other destinations: silent where the host has no ICMP socket for us. */
static void a_ping_to_the_world_stays_unanswered(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    (void)state;
    world_init(world);
    world->host.ping_connect = NULL;
    world_start(world);
    world_announce(world);
    send_echo(world, world_server, 8);
    send_echo(world, (const uint8_t[]){10, 0, 2, 3}, 8);
    send_echo(world, (const uint8_t[]){10, 0, 2, 255}, 8);
    world_expect_nothing(world);
    world_close(world);
    free(world);
}

/* §5.3 [US]: pings are relayed through an unprivileged ICMP socket; the kernel has chosen its own
 * identifier, the guest gets its own back (quirks §4, v86: from the address it had pinged). */
static void a_ping_to_the_world_is_relayed(void **state)
{
    struct nat_world *world = *state;
    uint8_t icmp[64];

    send_echo(world, world_server, 8);
    struct world_socket *socket = world_socket_to(world, world_server, 0);

    assert_non_null(socket);
    assert_int_equal(world_take_datagram(socket, icmp, sizeof icmp), 16);
    assert_int_equal(icmp[0], 8);
    icmp[0] = 0;
    be16_put(icmp + 4, 0x7777);
    world_remote_sends(world, socket, icmp, 16);
    const struct world_packet reply = world_next_ipv4(world);

    assert_int_equal(reply.protocol, IP_PROTOCOL_ICMP);
    assert_memory_equal(reply.source, world_server, 4);
    assert_int_equal(reply.bytes, 16);
    assert_int_equal(be16_get(reply.payload + 4), 0x1234);
    assert_memory_equal(reply.payload + 6, icmp + 6, 10);
    assert_int_equal(checksum_fold(checksum_add(0, reply.payload, reply.bytes)), 0xffff);
    /* Anything but an echo reply is the kernel's affair. */
    icmp[0] = 3;
    world_remote_sends(world, socket, icmp, 16);
    world_remote_sends(world, socket, icmp, 3);
    world_expect_nothing(world);
    world_advance(world, 60000000);
    assert_false(socket->open);
}

/* §6.1: the address policy holds for pings as well; the refusal says prohibited. */
static void a_ping_to_a_denied_address_is_prohibited(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t denied[][4] = {{127, 0, 0, 1}, {169, 254, 169, 254}, {10, 0, 2, 3}};

    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        send_echo(world, denied[i], 8);
        const struct world_packet error = world_next_ipv4(world);

        assert_int_equal(error.payload[0], 3);
        assert_int_equal(error.payload[1], 13);
        assert_int_equal(error.payload[8 + IPV4_PROTOCOL_AT], IP_PROTOCOL_ICMP);
        assert_int_equal(be16_get(error.payload + 28 + 4), 0x1234);
    }
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.policy_denied_total, 3);
}

/* §5: ICMP checksums are verified. */
static void a_bad_checksum_is_dropped_and_counted(void **state)
{
    struct nat_world *world = *state;
    uint8_t icmp[16] = {8, 0, 0x54, 0x36, 0x12, 0x34, 0, 1, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'};

    world_send_ipv4(world, world_gateway, IP_PROTOCOL_ICMP, icmp, sizeof icmp);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* quirks §4 (CVE-2020-10756): an ICMP message cut inside its header. */
static void a_short_message_is_dropped(void **state)
{
    struct nat_world *world = *state;
    const uint8_t icmp[8] = {8, 0, 0xf7, 0xff};

    for (uint32_t cut = 0; cut < 8; cut++)
        world_send_ipv4(world, world_gateway, IP_PROTOCOL_ICMP, icmp, cut);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_malformed_total, 8);
}

/* RFC 792: a packet that would leave with TTL 0 brings a time-exceeded from the gateway, which
 * quotes its header and first eight bytes; one for the gateway itself is served. */
static void ttl_is_honoured(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[64];
    const uint8_t udp[8] = {0x11, 0x22, 0x82, 0x9a, 0, 8, 0, 0};
    const uint32_t bytes =
        world_build_ipv4(world, frame, world_guest, world_server, IP_PROTOCOL_UDP, udp, 8);
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    ip[IPV4_TTL_AT] = 1;
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, 20)));
    world_input(world, frame, bytes);
    const struct world_packet error = world_next_ipv4(world);

    assert_int_equal(world->socket_count, 0);
    assert_memory_equal(error.source, world_gateway, 4);
    assert_int_equal(error.bytes, 8 + 20 + 8);
    assert_int_equal(error.payload[0], 11);
    assert_int_equal(error.payload[1], 0);
    assert_int_equal(checksum_fold(checksum_add(0, error.payload, error.bytes)), 0xffff);
    assert_memory_equal(error.payload + 8 + IPV4_SOURCE_AT, world_guest, 4);
    assert_memory_equal(error.payload + 8 + IPV4_DESTINATION_AT, world_server, 4);
    assert_memory_equal(error.payload + 8 + 20, udp, 8);

    /* RFC 1122 §3.2.2: never about an ICMP error. */
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_ICMP;
    ip[IPV4_HEADER_BYTES] = 3;
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, 20)));
    world_input(world, frame, bytes);
    world_expect_nothing(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_ping_to_the_gateway_has_the_worked_bytes),
        WORLD_TEST(a_ping_of_any_size_comes_back_whole),
        WORLD_TEST(a_large_reply_is_fragmented),
        cmocka_unit_test(an_odd_mtu_is_cut_at_multiples_of_eight),
        WORLD_TEST(other_messages_are_not_echoed),
        cmocka_unit_test(a_ping_to_the_world_stays_unanswered),
        WORLD_TEST(a_ping_to_the_world_is_relayed),
        WORLD_TEST(a_ping_to_a_denied_address_is_prohibited),
        WORLD_TEST(a_bad_checksum_is_dropped_and_counted),
        WORLD_TEST(a_short_message_is_dropped),
        WORLD_TEST(ttl_is_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
