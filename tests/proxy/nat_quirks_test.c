/*
 * nat_quirks_test.c - guest-quirks.md §4, defects other NATs had. Each line of that section, and
 * the test that would see it here; those without a file name are below.
 *
 *   CVE-2019-14378, CVE-2020-1983     nat_ip: overlapping_fragments_are_refused,
 *                                     a_datagram_cannot_outgrow_its_bounds
 *   CVE-2020-7039, CVE-2020-8608      cve_2020_7039_and_8608_no_payload_is_rewritten
 *   CVE-2020-10756                    nat_icmp: a_short_message_is_dropped;
 *                                     cve_2020_10756_an_icmpv6_echo_cut_short
 *   CVE-2020-29129, CVE-2020-29130    nat_arp: a_short_arp_frame_is_dropped
 *   CVE-2021-3592                     nat_dhcp: a_message_cut_anywhere_is_safe
 *   CVE-2021-3593                     cve_2021_3593_a_udp6_header_cut_short
 *   CVE-2021-3594                     nat_udp: a_length_beyond_the_packet_is_dropped
 *   CVE-2021-3595                     cve_2021_3595_there_is_no_tftp
 *   CVE-2026-9539                     tcp_receive: urgent_data_is_data
 *   libslirp: empty UDP, TTL, ICMP    nat_udp: empty_datagrams_pass, an_error_event_is_translated;
 *                                     nat_icmp: ttl_is_honoured
 *   libslirp: zero scope id           host: libslirp_the_scope_of_a_remote_is_zero
 *   libslirp: ECONNABORTED            libslirp_a_receive_that_aborts_ends_the_flow
 *   libslirp: DHCP option length      nat_dhcp: odd_options_are_survived
 *   passt 2166c58, 64c0f20, af55c4e   nat_arp: the_guests_own_address_is_not_answered_for,
 *                                     duplicate_address_detection_is_not_sabotaged
 *   passt af9c98a                     nat_udp: empty_datagrams_pass
 *   passt 60dee27, 1b1b27c, be265ee   tcp_open: syn_ack_from_the_guest_opens_nothing,
 *                                     early_data_is_kept, an_absurd_mss_is_clamped
 *   passt 7c82ea4, ffaf1d0            tcp_send: a_lone_fin_is_not_fast_retransmitted,
 *                                     a_pure_window_update_resumes_sending
 *   passt 77a6d97                     passt_77a6d97_the_netmask_is_told
 *   RootlessRelay                     rootlessrelay_six_zeros_or_spaces_in_a_segment and nat_udp's;
 *                                     tcp_open: early_data_is_kept; tcp_receive:
 *                                     overlaps_are_trimmed, a_future_ack_changes_nothing,
 *                                     a_probe_of_our_closed_window_is_answered; tcp_send:
 *                                     a_pure_window_update_resumes_sending, a_zero_window_is_probed
 *   gvisor-tap-vsock#127              tcp_open: a_hundred_health_checks_leave_nothing
 *   v86: ICMP source, late FIN        nat_icmp: a_ping_to_the_world_is_relayed;
 *                                     tcp_send: an_early_fin_waits_for_its_data
 *   v86: finding an unused port       v86_a_port_in_use_elsewhere_is_no_obstacle
 *   v86: client identifiers           v86_a_client_identifier_changes_nothing
 */
#include "ip6_guest.h"

#include "nat/dhcp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- TCP ---- */

static struct world_segment segment_to(uint16_t guest_port, const uint8_t *remote, uint16_t port)
{
    struct world_segment segment = {
        .guest_port = guest_port, .remote_port = port, .flags = TCP_SYN, .window = 65535};

    memcpy(segment.remote, remote, sizeof segment.remote);
    return segment;
}

/* The three-way handshake; returns what the guest's next segment looks like. */
static struct world_segment open_flow(struct nat_world *world, uint16_t guest_port,
                                      const uint8_t *remote, uint16_t port)
{
    struct world_segment segment = segment_to(guest_port, remote, port), answer;

    world_send_tcp(world, &segment);
    assert_non_null(world_socket_to(world, remote, port));
    world_connected(world, world_socket_to(world, remote, port));
    assert_true(world_next_tcp(world, &answer));
    assert_int_equal(answer.flags, TCP_SYN | TCP_ACK);
    segment.flags = TCP_ACK;
    segment.seq = 1;
    segment.ack = answer.seq + 1;
    world_send_tcp(world, &segment);
    return segment;
}

static void send_text(struct nat_world *world, struct world_segment *segment, const void *text,
                      uint32_t bytes)
{
    segment->payload = text;
    segment->payload_bytes = bytes;
    world_send_tcp(world, segment);
    segment->seq += bytes;
}

/* tcp_emu rewrote FTP's PORT and IRC's DCC, beyond its buffer. "Do not do ALG." */
static void cve_2020_7039_and_8608_no_payload_is_rewritten(void **state)
{
    static const char port[] = "PORT 10,0,2,15,4,1\r\n";
    static const char dcc[] = "PRIVMSG a :\001DCC SEND f 167772687 1025 9\001\r\n";
    static const struct {
        uint16_t port;
        const char *text;
        uint32_t bytes;
    } cases[] = {{21, port, sizeof port - 1}, {6667, dcc, sizeof dcc - 1}};
    struct nat_world *world = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world_segment segment = open_flow(world, 5000, world_server, cases[i].port);
        const struct world_socket *socket = world_socket_to(world, world_server, cases[i].port);

        send_text(world, &segment, cases[i].text, cases[i].bytes);
        assert_int_equal(socket->out.bytes, cases[i].bytes);
        assert_memory_equal(socket->out.data, cases[i].text, cases[i].bytes);
    }
}

/* Six zero bytes, or six spaces, looked like Ethernet padding and were dropped. */
static void rootlessrelay_six_zeros_or_spaces_in_a_segment(void **state)
{
    struct nat_world *world = *state;
    struct world_segment segment = open_flow(world, 5000, world_server, 80);
    const struct world_socket *socket = world_socket_to(world, world_server, 80);

    send_text(world, &segment, "\0\0\0\0\0", 6);
    send_text(world, &segment, "      ", 6);
    assert_int_equal(socket->out.bytes, 12);
    assert_memory_equal(socket->out.data, "\0\0\0\0\0\0      ", 12);
}

/* Windows hosts and some kernels say ECONNABORTED where others say ECONNRESET. */
static void libslirp_a_receive_that_aborts_ends_the_flow(void **state)
{
    struct nat_world *world = *state;
    struct world_segment got;

    open_flow(world, 5000, world_server, 80);
    struct world_socket *socket = world_socket_to(world, world_server, 80);
    socket->error = ECONNABORTED;
    world_event(world, socket, NAT_SOCKET_READABLE);
    assert_true(world_next_tcp(world, &got));
    assert_int_equal(got.flags & TCP_RST, TCP_RST);
    assert_true(socket->closed || socket->reset);
    assert_int_equal(world->metrics.tcp_conns_active, 0);
}

/* Looking for a free port of the host's is the kernel's work: a guest's port may be in use towards
 * any number of remotes at once, and each flow has a socket of its own. */
static void v86_a_port_in_use_elsewhere_is_no_obstacle(void **state)
{
    enum { REMOTES = 20 };
    struct nat_world *world = *state;

    for (uint8_t i = 0; i < REMOTES; i++) {
        const uint8_t remote[4] = {93, 184, 216, (uint8_t)(100 + i)};
        struct world_segment segment = open_flow(world, 5000, remote, 80);

        send_text(world, &segment, &i, 1);
        assert_int_equal(world_socket_to(world, remote, 80)->out.data[0], i);
    }
    assert_int_equal(world->socket_count, REMOTES);
}

/* ---- UDP, ICMP ---- */

/* An IPv6 packet that ends inside the UDP header, or whose UDP length lies. */
static void cve_2021_3593_a_udp6_header_cut_short(void **state)
{
    struct nat_world *world = *state;
    const struct ip6_sent how = {ip6_guest, ip6_server, IP_PROTOCOL_UDP, 64};
    uint8_t udp[IP6_ROOM];
    const uint32_t bytes = ip6_build_udp(&how, udp, 5000, 1234, "data", 4);

    for (uint32_t cut = 0; cut < bytes; cut++)
        ip6_send(world, &how, udp, cut);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_malformed_total, bytes);
    ip6_send(world, &how, udp, bytes);
    assert_int_equal(world->socket_count, 1);
}

/* The length of an echo request is the packet's, not what its sender claims. */
static void cve_2020_10756_an_icmpv6_echo_cut_short(void **state)
{
    struct nat_world *world = *state;
    const struct ip6_sent how = {ip6_guest, ip6_gateway, IP_PROTOCOL_ICMPV6, 64};
    uint8_t echo[16] = {IP6_ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 1};

    for (uint32_t bytes = 0; bytes < 8; bytes++) {
        ip6_send_icmp(world, &how, echo, bytes);
        world_expect_nothing(world);
    }
    ip6_send_icmp(world, &how, echo, 8);
    assert_int_equal(ip6_next(world).bytes, 8);
}

/* libslirp has a TFTP server and read its requests from too short a buffer; here is none. */
static void cve_2021_3595_there_is_no_tftp(void **state)
{
    struct nat_world *world = *state;

    for (uint32_t bytes = 0; bytes <= 16; bytes++) {
        world_send_udp(world, 5000, world_gateway, 69, "\0\1/etc/passwd\0octet", bytes);
        assert_int_equal(world_next_ipv4(world).protocol, IP_PROTOCOL_ICMP); /* unreachable */
        world_expect_nothing(world);
    }
    assert_int_equal(world->socket_count, 0);
}

/* ---- DHCP ---- */

static void send_dhcp(struct nat_world *world, const char *options)
{
    static const uint8_t everyone[4] = {255, 255, 255, 255};
    uint8_t message[512] = {1, 1, 6};
    const uint32_t bytes = DHCP_HEADER_BYTES + world_hex(options, message + DHCP_HEADER_BYTES, 200);
    uint8_t udp[600] = {0, 68, 0, 67};
    uint8_t frame[700];
    static const uint8_t nobody[4];

    memcpy(message + DHCP_CHADDR_AT, world_guest_mac, sizeof world_guest_mac);
    be16_put(udp + UDP_LENGTH_AT, (uint16_t)(UDP_HEADER_BYTES + bytes));
    memcpy(udp + UDP_HEADER_BYTES, message, bytes);
    world_input(world, frame,
                world_build_ipv4(world, frame, nobody, everyone, IP_PROTOCOL_UDP, udp,
                                 UDP_HEADER_BYTES + bytes));
}

/* The value of an option in a reply; NULL if it is not there. */
static const uint8_t *option_of(const uint8_t *message, uint32_t bytes, uint8_t code)
{
    for (uint32_t at = DHCP_HEADER_BYTES + 4; at + 1 < bytes && message[at] != DHCP_END;
         at += 2u + message[at + 1])
        if (message[at] == code)
            return message + at + 2;
    return NULL;
}

static void passt_77a6d97_the_netmask_is_told(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t netmask[4] = {255, 255, 255, 0};
    uint32_t bytes;

    send_dhcp(world, "63825363 350101 ff");
    const uint8_t *message = world_expect_udp(world, world_gateway, 67, 68, &bytes);
    assert_non_null(option_of(message, bytes, DHCP_SUBNET_MASK));
    assert_memory_equal(option_of(message, bytes, DHCP_SUBNET_MASK), netmask, 4);
}

/* v86 rewrote client identifiers where it translated MACs. Here chaddr alone says who asks. */
static void v86_a_client_identifier_changes_nothing(void **state)
{
    struct nat_world *world = *state;
    uint32_t bytes;

    send_dhcp(world, "63825363 350103 32040a00020f 3d07 01 0badc0ffee00 ff");
    const uint8_t *message = world_expect_udp(world, world_gateway, 67, 68, &bytes);
    assert_int_equal(*option_of(message, bytes, DHCP_MESSAGE_TYPE), DHCP_ACK);
    assert_memory_equal(message + DHCP_CHADDR_AT, world_guest_mac, 6);
    world_skip_frames(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1); /* served under its own MAC */
    assert_int_equal(world->socket_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(cve_2020_7039_and_8608_no_payload_is_rewritten),
        WORLD_TEST(rootlessrelay_six_zeros_or_spaces_in_a_segment),
        WORLD_TEST(libslirp_a_receive_that_aborts_ends_the_flow),
        WORLD_TEST(v86_a_port_in_use_elsewhere_is_no_obstacle),
        IP6_TEST(cve_2021_3593_a_udp6_header_cut_short),
        IP6_TEST(cve_2020_10756_an_icmpv6_echo_cut_short),
        WORLD_TEST(cve_2021_3595_there_is_no_tftp),
        WORLD_TEST_UNLEASED(passt_77a6d97_the_netmask_is_told),
        WORLD_TEST_UNLEASED(v86_a_client_identifier_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
