/* l2-proxy.md §6.3, §6.1: UDP flows and the egress decision. */
#include "nat_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* §6.3: one connected host socket for each flow; replies carry the original remote address. */
static void a_datagram_goes_out_and_its_answer_comes_back(void **state)
{
    struct nat_world *world = *state;
    uint32_t bytes;

    world_send_udp(world, 5000, world_server, 1234, "ping", 4);
    struct world_socket *socket = world_socket_to(world, world_server, 1234);

    world_expect_datagram(socket, "ping");
    world_remote_sends(world, socket, "pong!", 5);
    const uint8_t *answer = world_expect_udp(world, world_server, 1234, 5000, &bytes);

    assert_int_equal(bytes, 5);
    assert_memory_equal(answer, "pong!", 5);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.udp_flows_active, 1);
}

/* §6.3: the flow key is (guest port, destination address, destination port). */
static void flows_are_told_apart_by_all_of_the_key(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t other[4] = {93, 184, 216, 35};

    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    world_send_udp(world, 5000, world_server, 1234, "b", 1);
    assert_int_equal(world->socket_count, 1);
    world_send_udp(world, 5001, world_server, 1234, "c", 1);
    world_send_udp(world, 5000, world_server, 1235, "d", 1);
    world_send_udp(world, 5000, other, 1234, "e", 1);
    assert_int_equal(world->socket_count, 4);
    assert_int_equal(world->metrics.udp_flows_active, 4);
}

/* quirks §4 (passt af9c98a; libslirp): zero-length datagrams pass, both ways. */
static void empty_datagrams_pass(void **state)
{
    struct nat_world *world = *state;
    uint32_t bytes;

    world_send_udp(world, 5000, world_server, 1234, "", 0);
    struct world_socket *socket = world_socket_to(world, world_server, 1234);

    world_expect_datagram(socket, "");
    world_remote_sends(world, socket, "", 0);
    world_expect_udp(world, world_server, 1234, 5000, &bytes);
    assert_int_equal(bytes, 0);
}

/* quirks §4 (RootlessRelay): six zero bytes and six spaces are data like any other. */
static void six_zero_bytes_and_six_spaces_are_data(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t zeros[6];
    uint8_t data[16];

    world_send_udp(world, 5000, world_server, 1234, zeros, 6);
    world_send_udp(world, 5000, world_server, 1234, "      ", 6);
    struct world_socket *socket = world_socket_to(world, world_server, 1234);

    assert_int_equal(world_take_datagram(socket, data, sizeof data), 6);
    assert_memory_equal(data, zeros, 6);
    world_expect_datagram(socket, "      ");
}

/* RFC 768: a checksum of zero was not computed; any other is verified (§5). */
static void checksums_are_verified_unless_zero(void **state)
{
    struct nat_world *world = *state;
    uint8_t udp[9] = {0x13, 0x88, 0x04, 0xd2, 0, 9, 0, 0, 'x'};

    world_send_ipv4(world, world_server, IP_PROTOCOL_UDP, udp, sizeof udp);
    world_expect_datagram(world_socket_to(world, world_server, 1234), "x");
    udp[7] = 1;
    world_send_ipv4(world, world_server, IP_PROTOCOL_UDP, udp, sizeof udp);
    assert_int_equal(world_take_datagram(world_socket_to(world, world_server, 1234), udp, 9), -1);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* quirks §4 (CVE-2021-3594): a length field that lies. */
static void a_length_beyond_the_packet_is_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t udp[9] = {0x13, 0x88, 0x04, 0xd2, 0, 0, 0, 0, 'x'};
    static const uint16_t wrong[] = {0, 7, 10, 65535};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        be16_put(udp + UDP_LENGTH_AT, wrong[i]);
        world_send_ipv4(world, world_server, IP_PROTOCOL_UDP, udp, sizeof udp);
    }
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_malformed_total, 4);
}

/* §6.3: replies larger than the MTU are sent as fragments, never truncated. */
static void a_large_reply_comes_as_fragments(void **state)
{
    struct nat_world *world = *state;
    static uint8_t data[65507];
    static uint8_t whole[65536];
    uint32_t at = 0;

    for (uint32_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 / 7);
    world_send_udp(world, 5000, world_server, 1234, "?", 1);
    world_remote_sends(world, world_socket_to(world, world_server, 1234), data, sizeof data);
    while (world->frame_read != world->frame_count) {
        const struct world_packet part = world_next_ipv4(world);

        assert_int_equal((part.fragment & IPV4_OFFSET_MASK) * 8, at);
        assert_true(part.bytes + IPV4_HEADER_BYTES <= 1500);
        assert_true((part.fragment & IPV4_FLAG_DF) == 0);
        memcpy(whole + at, part.payload, part.bytes);
        at += part.bytes;
        assert_int_equal((part.fragment & IPV4_FLAG_MF) != 0, at != UDP_HEADER_BYTES + sizeof data);
    }
    assert_int_equal(at, UDP_HEADER_BYTES + sizeof data);
    assert_memory_equal(whole + UDP_HEADER_BYTES, data, sizeof data);
    assert_int_equal(checksum_fold(checksum_add(checksum_pseudo_ipv4(world_server, world_guest,
                                                                     IP_PROTOCOL_UDP, (uint16_t)at),
                                                whole, at)),
                     0xffff);
}

/* §6.3: a new flow above the limit is dropped and counted; the others go on. */
static void a_flow_above_the_limit_is_dropped(void **state)
{
    struct nat_world *world = *state;

    world->config.udp_max = 3;
    world_start_leased(world);
    for (uint16_t port = 1; port <= 4; port++)
        world_send_udp(world, port, world_server, 1234, "x", 1);
    assert_int_equal(world->socket_count, 3);
    assert_int_equal(world->metrics.udp_flow_limit_exceeded_total, 1);
    world_send_udp(world, 3, world_server, 1234, "y", 1);
    assert_int_equal(world->metrics.udp_flow_limit_exceeded_total, 1);
}

/* By option the least recently used flow makes room instead. */
static void the_least_used_flow_may_be_evicted(void **state)
{
    struct nat_world *world = *state;

    world->config.udp_max = 2;
    world->config.udp_evict_oldest = true;
    world_start_leased(world);
    world_send_udp(world, 1, world_server, 1001, "x", 1);
    world_send_udp(world, 1, world_server, 1002, "x", 1);
    world_send_udp(world, 1, world_server, 1001, "x", 1);
    world_send_udp(world, 1, world_server, 1003, "x", 1);
    assert_true(world_socket_to(world, world_server, 1001)->open);
    assert_false(world_socket_to(world, world_server, 1002)->open);
    assert_true(world_socket_to(world, world_server, 1003)->open);
    assert_int_equal(world->metrics.udp_flow_limit_exceeded_total, 0);
    assert_int_equal(world->metrics.udp_flows_active, 2);
}

/* RFC 768: port 0 is nobody's. */
static void port_zero_is_dropped(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 5000, world_server, 0, "x", 1);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);
}

/* §6.3: idle time counts from the last datagram in either direction. */
static void an_idle_flow_ends(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world_send_udp(world, 2, world_server, 1235, "x", 1);
    struct world_socket *first = world_socket_to(world, world_server, 1234);
    struct world_socket *second = world_socket_to(world, world_server, 1235);

    world_advance(world, 40000000);
    world_remote_sends(world, first, "answer", 6);
    world_advance(world, 20000000); /* 60 s after the second flow's last datagram */
    assert_true(first->open);
    assert_false(second->open);
    world_advance(world, 39999999);
    assert_true(first->open);
    world_advance(world, 1);
    assert_false(first->open);
    assert_int_equal(world->metrics.udp_flows_active, 0);
}

/* §2.2: an idle time-out of 0 means never. */
static void an_idle_timeout_of_zero_means_never(void **state)
{
    struct nat_world *world = *state;

    world->config.udp_idle_ms = 0;
    world_start_leased(world);
    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world_advance(world, 86400000000);
    assert_true(world_socket_to(world, world_server, 1234)->open);
}

static void expect_unreachable(struct nat_world *world, const uint8_t *source, uint8_t code,
                               uint16_t guest_port, uint16_t port)
{
    const struct world_packet error = world_next_ipv4(world);

    assert_int_equal(error.protocol, IP_PROTOCOL_ICMP);
    assert_memory_equal(error.source, source, 4);
    assert_int_equal(error.payload[0], 3);
    assert_int_equal(error.payload[1], code);
    assert_int_equal(checksum_fold(checksum_add(0, error.payload, error.bytes)), 0xffff);
    assert_int_equal(be16_get(error.payload + 28), guest_port);
    assert_int_equal(be16_get(error.payload + 30), port);
}

/* §6.3: send failure closes the flow, counts, and disturbs no other; the guest hears of the closed
 * port from the remote (RFC 792). */
static void a_send_failure_ends_one_flow(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world_send_udp(world, 2, world_server, 1235, "x", 1);
    struct world_socket *broken = world_socket_to(world, world_server, 1234);

    broken->error = ECONNREFUSED; /* what the next call on the socket answers */
    world_send_udp(world, 1, world_server, 1234, "y", 1);
    assert_false(broken->open);
    assert_true(world_socket_to(world, world_server, 1235)->open);
    assert_int_equal(world->metrics.udp_send_fail_total, 1);
    expect_unreachable(world, world_server, 3, 1, 1234);
    /* The next datagram starts anew. */
    world_send_udp(world, 1, world_server, 1234, "z", 1);
    world_expect_datagram(world_socket_to(world, world_server, 1234), "z");
}

/* The guest's datagram of `bytes` in one frame, with or without DF. */
static void send_sized(struct nat_world *world, uint32_t bytes, bool whole)
{
    uint8_t udp[2000] = {0, 7, 0x04, 0xd2}; /* 7 to 1234, no checksum */
    uint8_t frame[2100];

    be16_put(udp + UDP_LENGTH_AT, (uint16_t)(UDP_HEADER_BYTES + bytes));
    const uint32_t frame_bytes = world_build_ipv4(world, frame, world_guest, world_server,
                                                  IP_PROTOCOL_UDP, udp, UDP_HEADER_BYTES + bytes);
    be16_put(frame + ETH_HEADER_BYTES + IPV4_FRAGMENT_AT, whole ? IPV4_FLAG_DF : 0);
    be16_put(udp + UDP_CHECKSUM_AT, 0);
    world_seal_ipv4_header(frame + ETH_HEADER_BYTES, IPV4_HEADER_BYTES);
    world_input(world, frame, frame_bytes);
}

/* Issue "the NAT": DF honoured. RFC 1191 §4: what is longer than the path and must not be cut is
 * dropped, and the guest told what would fit; the flow and its port live on. */
static void df_is_honoured(void **state)
{
    struct nat_world *world = *state;

    world->path_mtu = 1400;
    send_sized(world, 1372, true);
    assert_true(world->sockets[0].whole);
    world_expect_nothing(world);
    send_sized(world, 1373, true);
    const struct world_frame *frame = &world->frames[world->frame_read];
    expect_unreachable(world, world_gateway, 4, 7, 1234);
    assert_int_equal(be16_get(frame->data + ETH_HEADER_BYTES + IPV4_HEADER_BYTES + 6), 1400);
    send_sized(world, 1373, false); /* may be cut by the kernel, or on the way */
    assert_false(world->sockets[0].whole);
    world_expect_nothing(world);
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->metrics.udp_send_fail_total, 1);
    assert_int_equal(world->metrics.udp_flows_active, 1);
}

/* ... also when the network says so later, between datagrams. */
static void a_path_that_became_narrower_ends_no_flow(void **state)
{
    struct nat_world *world = *state;

    send_sized(world, 1400, true);
    world->path_mtu = 1300;
    world_socket_fails(world, world_socket_to(world, world_server, 1234), EMSGSIZE);
    expect_unreachable(world, world_gateway, 4, 7, 1234);
    assert_int_equal(world->metrics.udp_flows_active, 1);
    send_sized(world, 1400, false);
    world_socket_fails(world, world_socket_to(world, world_server, 1234), EMSGSIZE);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.udp_flows_active, 1);
}

/* quirks §4 (libslirp): ICMP errors are forwarded when they come between datagrams, too. */
static void an_error_event_is_translated(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 7, world_server, 1234, "x", 1);
    world_socket_fails(world, world_socket_to(world, world_server, 1234), EHOSTUNREACH);
    expect_unreachable(world, world_gateway, 1, 7, 1234);
    assert_int_equal(world->metrics.udp_flows_active, 0);
}

/* A host buffer that is full loses the datagram, not the flow. */
static void a_full_host_buffer_loses_the_datagram_only(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world->udp_send_result = -EAGAIN;
    world_send_udp(world, 1, world_server, 1234, "y", 1);
    assert_true(world_socket_to(world, world_server, 1234)->open);
    assert_int_equal(world->metrics.udp_send_fail_total, 0);
}

/* §4: failure of one flow (open) must not end the tunnel. */
static void a_socket_that_does_not_open_is_counted(void **state)
{
    struct nat_world *world = *state;

    world->connect_result = -EMFILE;
    world_send_udp(world, 1, world_server, 1234, "x", 1);
    assert_int_equal(world->metrics.udp_flows_active, 0);
    assert_int_equal(world->metrics.udp_send_fail_total, 1);
    world->connect_result = 0;
    world_send_udp(world, 1, world_server, 1234, "x", 1);
    assert_int_equal(world->metrics.udp_flows_active, 1);
}

/* §6.1: address and port policy; refusals are counted and answered as prohibited (§5.3, MAY). */
static void a_denied_destination_is_dropped_and_counted(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t denied[][4] = {
        {127, 0, 0, 1}, {169, 254, 169, 254}, {192, 168, 1, 1}, {203, 0, 113, 5}};

    world->policy.allowed_udp_ports = "53,1234";
    world_start_leased(world);
    for (size_t i = 0; i < 4; i++) {
        world_send_udp(world, 9, denied[i], 1234, "x", 1);
        expect_unreachable(world, world_gateway, 13, 9, 1234);
    }
    world_send_udp(world, 9, world_server, 1235, "x", 1);
    expect_unreachable(world, world_gateway, 13, 9, 1235);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.policy_denied_total, 5);
    world_send_udp(world, 9, world_server, 1234, "x", 1);
    assert_int_equal(world->socket_count, 1);
}

/* §2.5: a forward rule bypasses the address policy, not the port policy; answers come from the
 * left side. */
static void a_forward_rule_leads_elsewhere(void **state)
{
    struct nat_world *world = *state;
    static const struct nat_forward rules[] = {
        {{4, {203, 0, 113, 7}, 7}, {4, {127, 0, 0, 1}, 7777}},
        {{4, {203, 0, 113, 7}, 8}, {6, {[15] = 1}, 8888}},
        {{4, {203, 0, 113, 7}, 9}, {4, {127, 0, 0, 1}, 9999}},
    };
    static const uint8_t left[4] = {203, 0, 113, 7};
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    uint32_t bytes;

    world->config.udp_forwards = rules;
    world->config.udp_forward_count = 3;
    world->policy.allowed_udp_ports = "7,8";
    world_start_leased(world);
    world_send_udp(world, 5, left, 7, "x", 1);
    struct world_socket *socket = world_socket_to(world, loopback, 7777);

    assert_non_null(socket);
    world_remote_sends(world, socket, "y", 1);
    world_expect_udp(world, left, 7, 5, &bytes);
    world_send_udp(world, 5, left, 8, "x", 1);
    assert_int_equal(world->sockets[1].remote.family, 6);
    world_send_udp(world, 5, left, 9, "x", 1);
    assert_int_equal(world->socket_count, 2);
    assert_int_equal(world->metrics.policy_denied_total, 1);
}

/* §6.3: broadcast and multicast destinations are dropped, silently. */
static void broadcast_and_multicast_are_dropped(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t groups[][4] = {
        {255, 255, 255, 255}, {10, 0, 2, 255}, {224, 0, 0, 251}, {239, 255, 255, 250}};

    for (size_t i = 0; i < 4; i++)
        world_send_udp(world, 5353, groups[i], 5353, "x", 1);
    assert_int_equal(world->socket_count, 0);
    world_expect_nothing(world);
}

/* §6.3: datagrams to 10.0.2.2 other than DNS and DHCP are dropped; so is the rest of the LAN, even
 * where private addresses are allowed. */
static void the_lan_has_no_other_machines(void **state)
{
    struct nat_world *world = *state;

    world->policy.allow_private_ips = true;
    world_start_leased(world);
    world_send_udp(world, 1, world_gateway, 1234, "x", 1);
    world_send_udp(world, 1, (const uint8_t[]){10, 0, 2, 7}, 1234, "x", 1);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.policy_denied_total, 2);
    world_send_udp(world, 1, (const uint8_t[]){10, 0, 3, 7}, 1234, "x", 1);
    assert_int_equal(world->socket_count, 1);
}

/* Back-pressure: what finds the outbound queue full waits in the host's socket. */
static void replies_wait_for_room_in_the_queue(void **state)
{
    struct nat_world *world = *state;
    uint32_t bytes;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world_send_udp(world, 2, world_server, 1235, "x", 1);
    world->frame_room = 1;
    world_remote_sends(world, world_socket_to(world, world_server, 1234), "one", 3);
    world_remote_sends(world, world_socket_to(world, world_server, 1234), "two", 3);
    world_remote_sends(world, world_socket_to(world, world_server, 1235), "three", 5);
    world_expect_udp(world, world_server, 1234, 1, &bytes);
    world_expect_nothing(world);
    assert_true(world->deadline_us > world->now_us); /* and nobody spins */
    world->frame_room = UINT32_MAX;
    nat_writable(world->nat, world->now_us);
    world_expect_udp(world, world_server, 1234, 1, &bytes);
    world_expect_udp(world, world_server, 1235, 2, &bytes);
    world_expect_nothing(world);
}

/* One flow's flood does not keep another's datagram back. */
static void flows_take_turns(void **state)
{
    struct nat_world *world = *state;
    struct world_packet packet;
    uint32_t before = 0;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    world_send_udp(world, 2, world_server, 1235, "x", 1);
    struct world_socket *loud = world_socket_to(world, world_server, 1234);
    struct world_socket *quiet = world_socket_to(world, world_server, 1235);

    world->frame_room = 0;
    for (uint32_t i = 0; i < 500; i++)
        world_remote_sends(world, loud, "flood", 5);
    world_remote_sends(world, quiet, "me", 2);
    world->frame_room = UINT32_MAX;
    nat_writable(world->nat, world->now_us);
    world_advance(world, 0);
    assert_int_equal(world->frame_count - world->frame_read, 501);
    while (packet = world_next_ipv4(world), be16_get(packet.payload + UDP_SOURCE_AT) != 1235)
        before++;
    assert_true(before <= 64);
}

/* AERO_L2_MAX_FRAME_PAYLOAD may be absurdly small: nothing above it is sent, and nothing spins. */
static void a_tiny_frame_limit_sends_nothing_above_it(void **state)
{
    static const uint32_t limits[] = {1, 14, 34, 60, 81};

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct nat_world *tiny = calloc(1, sizeof *tiny);

        world_init(tiny);
        tiny->config.frame_max_bytes = limits[i];
        world_start_leased(tiny);
        world_send_udp(tiny, 1, world_server, 1234, "x", 1);
        world_remote_sends(tiny, world_socket_to(tiny, world_server, 1234), "answer", 6);
        world_send_udp(tiny, 1, world_gateway, 53, "?", 1);
        world_advance(tiny, 100000000);
        for (uint32_t k = 0; k < tiny->frame_count; k++)
            assert_true(tiny->frames[k].bytes <= limits[i]);
        world_close(tiny);
        free(tiny);
    }
}

/* A cookie of a flow that is gone reaches nobody. */
static void an_event_of_a_closed_flow_is_ignored(void **state)
{
    struct nat_world *world = *state;

    world_send_udp(world, 1, world_server, 1234, "x", 1);
    struct world_socket stale = *world_socket_to(world, world_server, 1234);

    world_advance(world, 60000000);
    world_send_udp(world, 2, world_server, 1235, "x", 1); /* takes the same slot */
    world_socket_to(world, world_server, 1235)->error = ECONNREFUSED;
    nat_socket_event(world->nat, stale.cookie, NAT_SOCKET_FAILED, world->now_us);
    nat_socket_event(world->nat, UINT32_MAX, NAT_SOCKET_READABLE, world->now_us);
    nat_socket_event(world->nat, 0x7fffffff, NAT_SOCKET_READABLE, world->now_us);
    assert_int_equal(world->metrics.udp_flows_active, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_datagram_goes_out_and_its_answer_comes_back),
        WORLD_TEST(flows_are_told_apart_by_all_of_the_key),
        WORLD_TEST(empty_datagrams_pass),
        WORLD_TEST(six_zero_bytes_and_six_spaces_are_data),
        WORLD_TEST(checksums_are_verified_unless_zero),
        WORLD_TEST(a_length_beyond_the_packet_is_dropped),
        WORLD_TEST(a_large_reply_comes_as_fragments),
        WORLD_TEST_LATER(a_flow_above_the_limit_is_dropped),
        WORLD_TEST_LATER(the_least_used_flow_may_be_evicted),
        WORLD_TEST(port_zero_is_dropped),
        WORLD_TEST(an_idle_flow_ends),
        WORLD_TEST_LATER(an_idle_timeout_of_zero_means_never),
        WORLD_TEST(a_send_failure_ends_one_flow),
        WORLD_TEST(df_is_honoured),
        WORLD_TEST(a_path_that_became_narrower_ends_no_flow),
        WORLD_TEST(an_error_event_is_translated),
        WORLD_TEST(a_full_host_buffer_loses_the_datagram_only),
        WORLD_TEST(a_socket_that_does_not_open_is_counted),
        WORLD_TEST_LATER(a_denied_destination_is_dropped_and_counted),
        WORLD_TEST_LATER(a_forward_rule_leads_elsewhere),
        WORLD_TEST(broadcast_and_multicast_are_dropped),
        WORLD_TEST_LATER(the_lan_has_no_other_machines),
        WORLD_TEST(replies_wait_for_room_in_the_queue),
        WORLD_TEST(flows_take_turns),
        cmocka_unit_test(a_tiny_frame_limit_sends_nothing_above_it),
        WORLD_TEST(an_event_of_a_closed_flow_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
