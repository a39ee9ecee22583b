/* tcp_open_test.c - how a flow begins, or does not (spec/l2-proxy.md §6.1, §6.2; RFC 9293). */
#include "tcp_script.h"

#include "nat/tcp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_next_tcp(struct nat_world *world, const char *hex)
{
    uint8_t wanted[64];
    const uint32_t bytes = world_hex(hex, wanted, sizeof wanted);
    const struct world_packet packet = world_next_ipv4(world);

    assert_int_equal(packet.bytes, bytes);
    assert_memory_equal(packet.payload, wanted, bytes);
    world_expect_nothing(world);
}

/* §6.2: SYN-ACK example, remote 93.184.216.34:80, our ISN 0x10000000, SYN 0x01020304. */
static void the_worked_syn_ack_with_mss(void **state)
{
    struct nat_world world;
    const struct world_segment syn = {.guest_port = 49152,
                                      .remote_port = 80,
                                      .remote = {93, 184, 216, 34},
                                      .seq = 0x01020304,
                                      .flags = TCP_SYN,
                                      .window = 65535};

    (void)state;
    tcp_world_open(&world, 0x10000000, NULL);
    world_send_tcp(&world, &syn);
    world_expect_nothing(&world);
    world_connected(&world, &world.sockets[0]);
    assert_next_tcp(&world, "0050 c000 10000000 01020305 6012 ffff 81d5 0000 020405b4");
    world_close(&world);
}

/* §6.1: RST for a refused SYN, from 10.0.2.15:49152 to 192.168.1.1:80. */
static void the_worked_rst_of_a_refused_syn(void **state)
{
    struct nat_world world;
    const struct world_segment syn = {.guest_port = 49152,
                                      .remote_port = 80,
                                      .remote = {192, 168, 1, 1},
                                      .seq = 0x01020304,
                                      .flags = TCP_SYN,
                                      .window = 65535};

    (void)state;
    tcp_world_open(&world, 0x10000000, NULL);
    world_send_tcp(&world, &syn);
    assert_next_tcp(&world, "0050 c000 00000000 01020305 5014 0000 1dc1 0000");
    assert_int_equal(world.metrics.policy_denied_total, 1);
    assert_int_equal(world.socket_count, 0);
    world_close(&world);
}

/* §6.2: SYN-ACK only after the host's connect succeeded. */
static void the_handshake_waits_for_the_host(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "silence", "host opens 1", "+3s", "silence", "connects",
               "nat S. 0+0 ack 1 win 65535 mss 1460", "guest . 1+0 ack 1", "silence",
               "metric tcp_conns_active 1");
}

/* §6.2: a repeated SYN is answered again; while the host connects, silently. */
static void a_repeated_syn_opens_nothing_new(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "guest S 0+0", "silence", "host opens 1", "connects",
               "nat S. 0+0 ack 1", "guest S 0+0", "nat S. 0+0 ack 1", "silence");
}

/* RFC 9293 §3.10.7.4 after RFC 5961 §4: our answer lets a guest with another ISN reset us. */
static void a_syn_with_another_isn_is_challenged(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0 ack 1", "guest S 5000+0", "nat . 1+0 ack 1",
               "guest R 1+0", "host reset", "guest S 5000+0", "host opens 2");
}

/* RFC 7323 §2.2, §3.2; RFC 2018 §2: options are sent only if they were offered. */
static void offered_options_are_answered(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1460 sackok ts 7 0 ws 6", "connects",
               "nat S. 0+0 ack 1 win 65535 mss 1460 sackok ts 1000 7 ws 7");
    TCP_SCRIPT("guest S 0+0 mss 1460 ws 2", "connects", "nat S. 0+0 ack 1 mss 1460 ws 7");
    TCP_SCRIPT("guest S 0+0 mss 1460 sackok", "connects", "nat S. 0+0 mss 1460 sackok");
    TCP_SCRIPT("guest S 0+0 ts 9 0", "connects", "nat S. 0+0 mss 1460 ts 1000 9");
}

static void frames_of_1000(struct nat_config *config)
{
    config->frame_max_bytes = 1014;
}

/* §6.2: frame ≤ tunnel limit, in both directions. */
static void the_mss_fits_the_tunnel(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(frames_of_1000, "guest S 0+0 mss 1460", "connects", "nat S. 0+0 ack 1 mss 960",
                    "guest . 1+0 ack 1", "remote sends 1000", "nat . 1+960", "nat P. 961+40");
}

/* §6.2: default 536 if none offered. */
static void without_an_mss_segments_are_536(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "guest . 1+0 ack 1", "remote sends 600",
               "nat . 1+536", "nat P. 537+64");
}

/* Quirks §4, "clamp MSS": an absurd offer must not make us send headers only. */
static void an_absurd_mss_is_clamped(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 96", "nat . 1+48", "nat P. 49+48");
    TCP_SCRIPT("guest S 0+0 mss 65535", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 1460", "nat P. 1+1460");
}

/* §6.2: host connect fails → RST, counted. */
static void a_refusal_becomes_rst(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "refuses", "nat R. 0+0 abs 0 ack 1", "silence", "host reset",
               "metric connect_fail 1", "metric tcp_conns_active 0");
}

/* Issue "the NAT": unreachable becomes ICMP + RST. RFC 792: net is 0, host is 1. */
static void unreachable_becomes_icmp_and_rst(void **state)
{
    char refuses_host[32], refuses_net[32];

    (void)state;
    snprintf(refuses_host, sizeof refuses_host, "refuses %d", EHOSTUNREACH);
    snprintf(refuses_net, sizeof refuses_net, "refuses %d", ENETUNREACH);
    TCP_SCRIPT("guest S 0+0", refuses_host, "unreachable 1", "nat R. 0+0 abs 0 ack 1", "silence",
               "host reset", "metric connect_fail 1", "metric tcp_conns_active 0");
    TCP_SCRIPT("guest S 0+0", refuses_net, "unreachable 0", "nat R. 0+0 abs 0 ack 1", "silence");
}

/* RFC 792: no way to the host or network is told by ICMP, then by RST; whether connect() says so at
 * once or later. */
static void an_unreachable_host_becomes_icmp_and_rst(void **state)
{
    static const struct {
        int error;
        uint8_t code;
    } cases[] = {{ENETUNREACH, 0}, {EHOSTUNREACH, 1}};
    const struct world_segment syn = {.guest_port = 49152,
                                      .remote_port = 80,
                                      .remote = {93, 184, 216, 34},
                                      .seq = 0x01020304,
                                      .flags = TCP_SYN,
                                      .window = 65535};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const bool at_once = i % 2 == 0;
        const int error = cases[i / 2].error;
        struct nat_world world;

        tcp_world_open(&world, 0x10000000, NULL);
        world.connect_result = at_once ? -error : 0;
        world_send_tcp(&world, &syn);
        if (!at_once)
            world_socket_fails(&world, &world.sockets[0], error);
        const struct world_packet icmp = world_next_ipv4(&world);

        assert_int_equal(icmp.protocol, IP_PROTOCOL_ICMP);
        assert_int_equal(icmp.payload[0], 3);
        assert_int_equal(icmp.payload[1], cases[i / 2].code);
        assert_int_equal(be32_get(icmp.payload + 8 + 20 + 4), syn.seq);
        assert_next_tcp(&world, "0050 c000 00000000 01020305 5014 0000 a98f 0000");
        assert_int_equal(world.metrics.tcp_connect_fail_total, 1);
        assert_int_equal(world.metrics.tcp_conns_active, 0);
        world_close(&world);
    }
}

/* §2.2 AERO_L2_TCP_CONNECT_TIMEOUT_MS: silent, then RST. */
static void a_time_out_becomes_rst(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "+4999ms", "silence", "+1ms", "nat R. 0+0 abs 0 ack 1", "host reset",
               "metric connect_fail 1");
}

/* The time-out is the remote's: what the host has to say and could not yet, since the process was
 * busy, still counts. */
static void a_connection_that_came_in_time_is_no_time_out(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "ends", "+5s", "silence", "connects", "nat S. 0+0 ack 1",
               "metric connect_fail 0");
    TCP_SCRIPT("guest S 0+0", "ends", "+5s", "silence", "refuses", "nat R. 0+0 abs 0 ack 1",
               "metric connect_fail 1");
}

/* RFC 9293 §3.10.7.1: for a segment with ACK, <SEQ=SEG.ACK><CTL=RST>; without, ack its length. */
static void a_segment_of_no_flow_is_reset(void **state)
{
    (void)state;
    TCP_SCRIPT("guest . 500+10 ack 700", "nat R 700+0", "guest F 500+0", "nat R. 0+0 abs 0 ack 501",
               "guest R 500+0", "silence", "host opens 0");
}

/* Quirks §4, passt 60dee27: SYN+ACK from the guest must not open. */
static void syn_ack_from_the_guest_opens_nothing(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S. 0+0 ack 9", "nat R 9+0", "host opens 0");
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "guest S. 0+0 ack 1", "nat . 1+0 ack 1",
               "remote sends 5", "silence");
}

/* Quirks §4, passt 1b1b27c and RootlessRelay: early data and data on the handshake's ACK. */
static void early_data_is_kept(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+10", "guest . 11+20 ack 0", "silence", "connects", "nat S. 0+0 ack 1",
               "guest . 1+0 ack 1", "nat . 1+0 ack 31", "host got 30");
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "guest P. 1+100 ack 1", "host got 100",
               "+20ms", "nat . 1+0 ack 101");
}

static void early_64(struct nat_config *config)
{
    config->tcp_early_bytes = 64;
}

/* §2.2: guest data held before the host socket is connected; above → RST. */
static void too_much_early_data_is_reset(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(early_64, "guest S 0+0", "guest . 1+64 ack 0", "silence", "guest . 65+1 ack 0",
                    "nat R. 0+0 abs 0 ack 1", "host reset");
}

/* RFC 9293 §3.10.7.4: in SYN-RECEIVED an unacceptable ACK is answered by RST. */
static void a_wrong_handshake_ack_is_reset(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "guest . 1+0 ack 77", "nat R 77+0",
               "guest . 1+0 ack 1", "remote sends 5", "nat P. 1+5");
}

/* §6.2, a bound on half-open state; RFC 6298 §5: 1 s, doubling. */
static void syn_ack_is_repeated_then_given_up(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "+999ms", "silence", "+1ms", "nat S. 0+0",
               "+2s", "nat S. 0+0", "+4s", "nat S. 0+0", "+8s", "nat S. 0+0", "+16s", "nat S. 0+0",
               "+32s", "nat R. 1+0 ack 1", "host reset", "metric tcp_conns_active 0");
}

/* The answer to the first SYN-ACK counts while its repetition waits for room in the queue. */
static void a_repetition_that_waits_does_no_harm(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "queue 0", "guest S 0+0", "silence",
               "guest . 1+0 ack 1", "queue 100", "silence", "remote sends 5", "nat P. 1+5");
}

/* gvisor-tap-vsock#127: many SYN → RST health checks must not break later connections. */
static void a_hundred_health_checks_leave_nothing(void **state)
{
    struct nat_world world;
    struct world_segment segment = {
        .remote_port = 80, .remote = {93, 184, 216, 34}, .window = 65535};

    (void)state;
    tcp_world_open(&world, 1, NULL);
    for (uint16_t i = 0; i < 200; i++) {
        segment.guest_port = (uint16_t)(1000 + i);
        segment.seq = i;
        segment.flags = TCP_SYN;
        world_send_tcp(&world, &segment);
        world_connected(&world, &world.sockets[i]);
        assert_int_equal(world.metrics.tcp_conns_active, 1);
        segment.flags = TCP_RST;
        segment.seq++;
        world_send_tcp(&world, &segment);
        assert_int_equal(world.metrics.tcp_conns_active, 0);
        assert_true(world.sockets[i].reset);
    }
    world_close(&world);
}

static void one_flow(struct nat_config *config)
{
    config->tcp_max = 1;
}

static void no_flow(struct nat_config *config)
{
    config->tcp_max = 0;
}

/* tcp.h, Memory: what a busy hour touched is given back when the last flow ends; what comes late
 * for one of those flows does not meet the next in its place. */
static void an_idle_session_gives_its_tables_back(void **state)
{
    enum { MANY = 100 };
    static const uint8_t data[1000];
    struct nat_world world;
    struct world_segment segment = {
        .remote_port = 80, .remote = {93, 184, 216, 34}, .window = 65535, .payload = data};

    (void)state;
    tcp_world_open(&world, 1, NULL);
    for (int round = 0; round < 2; round++) {
        for (uint16_t i = 0; i < MANY; i++) {
            segment.guest_port = (uint16_t)(1000 + i);
            segment.seq = 0;
            segment.flags = TCP_SYN;
            segment.payload_bytes = 0;
            world_send_tcp(&world, &segment);
            world_connected(&world, &world.sockets[round * MANY + i]);
            segment.seq = 1001; /* out of order: kept in the pool */
            segment.ack = 2;
            segment.flags = TCP_ACK;
            segment.payload_bytes = sizeof data;
            world_send_tcp(&world, &segment);
        }
        assert_int_equal(world.nat->tcp->flow_used_max, MANY);
        assert_int_equal(world.nat->tcp->block_used_max, MANY);
        for (int i = 0; round > 0 && i < MANY; i++) /* of the first round's sockets */
            nat_socket_event(world.nat, world.sockets[i].cookie, NAT_SOCKET_FAILED, world.now_us);
        assert_int_equal(world.metrics.tcp_conns_active, MANY);
        for (uint16_t i = 0; i < MANY; i++) {
            segment.guest_port = (uint16_t)(1000 + i);
            segment.seq = 1;
            segment.flags = TCP_RST;
            segment.payload_bytes = 0;
            world_send_tcp(&world, &segment);
        }
        world_advance(&world, 1000);
        assert_int_equal(world.metrics.tcp_conns_active, 0);
        assert_int_equal(world.nat->tcp->flow_used_max, 0);
        assert_int_equal(world.nat->tcp->block_used_max, 0);
        world_skip_frames(&world);
    }
    world_close(&world);
}

/* §6.2: limit reached: new SYN → RST. §2.2: 0 refuses all. */
static void a_full_table_refuses(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(one_flow, "guest S 0+0", "guest S 0+0 port 5", "nat R. 0+0 abs 0 ack 1 port 5",
                    "metric flow_limit 1", "host opens 1", "guest R 1+0", "host reset",
                    "guest S 0+0 port 5", "host opens 2");
    TCP_SCRIPT_WITH(no_flow, "guest S 0+0", "nat R. 0+0 abs 0 ack 1", "host opens 0");
}

/* A guest that gave up and tries again with a new ISN while the host connects. */
static void a_new_attempt_takes_the_connect_over(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1460", "guest S 9000+0 mss 1000", "host opens 1", "connects",
               "nat S. 0+0 ack 9001", "guest . 9001+0 ack 1", "remote sends 1100", "nat . 1+1000",
               "nat P. 1001+100");
}

/* §2.5: traffic to the left side goes to the right side, which may be IPv6; a rule bypasses the
 * address policy, not the port policy, which judges the left side's port. */
static void a_forward_rule_leads_elsewhere(void **state)
{
    static const struct nat_forward rules[] = {
        {{4, {203, 0, 113, 7}, 80}, {4, {127, 0, 0, 1}, 8080}},
        {{4, {203, 0, 113, 7}, 443}, {6, {[15] = 1}, 8443}},
        {{4, {203, 0, 113, 7}, 25}, {4, {127, 0, 0, 1}, 80}},
    };
    static const uint8_t left[4] = {203, 0, 113, 7};
    struct nat_world *world = calloc(1, sizeof *world);
    struct world_segment got;

    (void)state;
    world_init(world);
    world->config.tcp_forwards = rules;
    world->config.tcp_forward_count = 3;
    world->policy.allowed_tcp_ports = "80,443";
    world_start_leased(world);
    world_skip_frames(world);
    for (int i = 0; i < 3; i++) {
        struct world_segment segment = {
            .guest_port = 5000, .remote_port = rules[i].from.port, .flags = TCP_SYN};

        memcpy(segment.remote, left, sizeof left);
        world_send_tcp(world, &segment);
        if (i < 2)
            world_connected(world, &world->sockets[i]);
        assert_true(world_next_tcp(world, &got));
        assert_memory_equal(got.remote, left, sizeof left);
        assert_int_equal(got.remote_port, rules[i].from.port);
        assert_int_equal(got.flags, i < 2 ? TCP_SYN | TCP_ACK : TCP_RST | TCP_ACK);
    }
    assert_int_equal(world->socket_count, 2);
    assert_int_equal(world->sockets[0].remote.port, 8080);
    assert_int_equal(world->sockets[1].remote.family, 6);
    assert_int_equal(world->sockets[1].remote.address[15], 1);
    assert_int_equal(world->sockets[1].remote.port, 8443);
    assert_int_equal(world->metrics.policy_denied_total, 1);
    world_close(world);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_syn_ack_with_mss),
        cmocka_unit_test(the_worked_rst_of_a_refused_syn),
        cmocka_unit_test(the_handshake_waits_for_the_host),
        cmocka_unit_test(a_repeated_syn_opens_nothing_new),
        cmocka_unit_test(a_syn_with_another_isn_is_challenged),
        cmocka_unit_test(offered_options_are_answered),
        cmocka_unit_test(the_mss_fits_the_tunnel),
        cmocka_unit_test(without_an_mss_segments_are_536),
        cmocka_unit_test(an_absurd_mss_is_clamped),
        cmocka_unit_test(a_refusal_becomes_rst),
        cmocka_unit_test(an_unreachable_host_becomes_icmp_and_rst),
        cmocka_unit_test(unreachable_becomes_icmp_and_rst),
        cmocka_unit_test(a_time_out_becomes_rst),
        cmocka_unit_test(a_connection_that_came_in_time_is_no_time_out),
        cmocka_unit_test(a_segment_of_no_flow_is_reset),
        cmocka_unit_test(syn_ack_from_the_guest_opens_nothing),
        cmocka_unit_test(early_data_is_kept),
        cmocka_unit_test(too_much_early_data_is_reset),
        cmocka_unit_test(a_wrong_handshake_ack_is_reset),
        cmocka_unit_test(syn_ack_is_repeated_then_given_up),
        cmocka_unit_test(a_repetition_that_waits_does_no_harm),
        cmocka_unit_test(a_hundred_health_checks_leave_nothing),
        cmocka_unit_test(an_idle_session_gives_its_tables_back),
        cmocka_unit_test(a_full_table_refuses),
        cmocka_unit_test(a_new_attempt_takes_the_connect_over),
        cmocka_unit_test(a_forward_rule_leads_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
