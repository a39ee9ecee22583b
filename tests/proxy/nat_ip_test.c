/* l2-proxy.md §5: IPv4 input: lengths, checksums, options, fragments. */
#include "nat_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A UDP datagram to the world's server as one frame; the payload counts up. */
static uint32_t udp_frame(struct nat_world *world, uint8_t *frame, uint32_t data_bytes)
{
    uint8_t udp[2048] = {0x11, 0x22, 0x33, 0x44};

    be16_put(udp + UDP_LENGTH_AT, (uint16_t)(UDP_HEADER_BYTES + data_bytes));
    for (uint32_t i = 0; i < data_bytes; i++)
        udp[UDP_HEADER_BYTES + i] = (uint8_t)i;
    return world_build_ipv4(world, frame, world_guest, world_server, IP_PROTOCOL_UDP, udp,
                            UDP_HEADER_BYTES + data_bytes);
}

static void header_checksum(uint8_t *frame)
{
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, (ip[0] & 15u) * 4)));
}

/* The bytes of the last datagram that reached the server, -1 if none did. */
static int32_t arrived(struct nat_world *world)
{
    static uint8_t data[65536];
    struct world_socket *socket = world_socket_to(world, world_server, 0x3344);

    return socket == NULL ? -1 : world_take_datagram(socket, data, sizeof data);
}

/* A frame cut at any byte is dropped, and nothing beyond its end is read. */
static void a_frame_cut_anywhere_is_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[128];
    const uint32_t bytes = udp_frame(world, frame, 10);

    for (uint32_t cut = 0; cut < bytes; cut++)
        world_input(world, frame, cut);
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_malformed_total, bytes);
    world_input(world, frame, bytes);
    assert_int_equal(arrived(world), 10);
}

/* §5: padding after the IPv4 total length is ignored (quirks §4, RootlessRelay: also when it is
 * six zero bytes). */
static void padding_is_ignored(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[128] = {0};

    udp_frame(world, frame, 2);
    world_input(world, frame, ETH_MIN_BYTES);
    assert_int_equal(arrived(world), 2);
    udp_frame(world, frame, 6);
    memset(frame + 42, 0, 6);
    world_input(world, frame, ETH_MIN_BYTES);
    assert_int_equal(arrived(world), 6);
}

/* §5: the header checksum is verified. */
static void a_bad_header_checksum_is_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[128];
    const uint32_t bytes = udp_frame(world, frame, 10);

    frame[ETH_HEADER_BYTES + IPV4_TTL_AT]--;
    world_input(world, frame, bytes);
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* RFC 791 §3.1: header options are skipped. */
static void options_are_skipped(void **state)
{
    struct nat_world *world = *state;
    uint8_t plain[128];
    uint8_t frame[128];
    const uint32_t bytes = udp_frame(world, plain, 10);

    memcpy(frame, plain, 34);
    memcpy(frame + 34, (const uint8_t[]){0x94, 4, 0, 0}, 4); /* router alert */
    memcpy(frame + 38, plain + 34, bytes - 34);
    frame[ETH_HEADER_BYTES] = 0x46;
    be16_put(frame + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT, (uint16_t)(bytes - 14 + 4));
    header_checksum(frame);
    world_input(world, frame, bytes + 4);
    assert_int_equal(arrived(world), 10);
}

/* Lengths that lie: header below 20 bytes or beyond the packet, version, total length. */
static void lengths_that_lie_are_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[128];
    const uint32_t bytes = udp_frame(world, frame, 10);
    static const struct {
        uint8_t version;
        uint16_t total;
    } wrong[] = {{0x44, 38}, {0x40, 38}, {0x4f, 38}, {0x65, 38}, {0x45, 19}, {0x45, 39}, {0x45, 0}};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        frame[ETH_HEADER_BYTES] = wrong[i].version;
        be16_put(frame + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT, wrong[i].total);
        header_checksum(frame);
        world_input(world, frame, bytes);
    }
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_malformed_total, sizeof wrong / sizeof wrong[0]);
}

/* Only the lease address may send; anybody else is counted (§5.2: before the lease, apart). */
static void other_sources_are_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[128];
    const uint32_t bytes = udp_frame(world, frame, 10);

    frame[ETH_HEADER_BYTES + IPV4_SOURCE_AT + 3] = 16;
    header_checksum(frame);
    world_input(world, frame, bytes);
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);
}

/* Protocols that are none of ours. */
static void other_protocols_are_dropped(void **state)
{
    struct nat_world *world = *state;

    world_send_ipv4(world, world_server, 47, (const uint8_t[]){0, 0, 8, 0}, 4);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);
}

/* ---- fragments ---- */

enum { BIG = 4000 }; /* payload of a datagram sent in fragments */

static uint8_t big_udp[UDP_HEADER_BYTES + BIG];

static void make_big(void)
{
    memset(big_udp, 0, sizeof big_udp);
    be16_put(big_udp + UDP_SOURCE_AT, 0x1122);
    be16_put(big_udp + UDP_DESTINATION_AT, 0x3344);
    be16_put(big_udp + UDP_LENGTH_AT, sizeof big_udp);
    for (uint32_t i = 0; i < BIG; i++)
        big_udp[UDP_HEADER_BYTES + i] = (uint8_t)(i * 7 / 5);
    be16_put(big_udp + UDP_CHECKSUM_AT,
             checksum_finish(checksum_add(
                 checksum_pseudo_ipv4(world_guest, world_server, IP_PROTOCOL_UDP, sizeof big_udp),
                 big_udp, sizeof big_udp)));
}

static void send_part(struct nat_world *world, uint16_t id, uint32_t offset, const uint8_t *data,
                      uint32_t bytes, bool more)
{
    uint8_t frame[2048];
    const uint32_t frame_bytes =
        world_build_ipv4(world, frame, world_guest, world_server, IP_PROTOCOL_UDP, data, bytes);

    be16_put(frame + ETH_HEADER_BYTES + IPV4_ID_AT, id);
    be16_put(frame + ETH_HEADER_BYTES + IPV4_FRAGMENT_AT,
             (uint16_t)((more ? IPV4_FLAG_MF : 0) | offset / 8));
    header_checksum(frame);
    world_input(world, frame, frame_bytes);
}

static void send_big_part(struct nat_world *world, uint16_t id, uint32_t offset, uint32_t bytes)
{
    send_part(world, id, offset, big_udp + offset, bytes, offset + bytes < sizeof big_udp);
}

static void expect_big(struct nat_world *world)
{
    uint8_t data[65536];
    struct world_socket *socket = world_socket_to(world, world_server, 0x3344);

    assert_non_null(socket);
    assert_int_equal(world_take_datagram(socket, data, sizeof data), BIG);
    assert_memory_equal(data, big_udp + UDP_HEADER_BYTES, BIG);
}

/* §5: fragments are reassembled, whatever order they come in. */
static void fragments_make_a_datagram_in_any_order(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint32_t offsets[3] = {0, 1480, 2960};
    static const uint32_t lengths[3] = {1480, 1480, sizeof big_udp - 2960};

    make_big();
    for (uint32_t i = 0; i < 6; i++) {
        for (uint32_t k = 0; k < 3; k++)
            send_big_part(world, (uint16_t)(100 + i), offsets[orders[i][k]], lengths[orders[i][k]]);
        expect_big(world);
        assert_int_equal(arrived(world), -1);
    }
}

/* A fragment that arrives twice, byte for byte, changes nothing. */
static void a_duplicate_fragment_is_harmless(void **state)
{
    struct nat_world *world = *state;

    make_big();
    send_big_part(world, 1, 0, 1480);
    send_big_part(world, 1, 0, 1480);
    send_big_part(world, 1, 1480, 1480);
    send_big_part(world, 1, 2960, sizeof big_udp - 2960);
    expect_big(world);
}

/* quirks §4 (CVE-2019-14378, CVE-2020-1983): overlaps end the datagram, and only that one. */
static void overlapping_fragments_are_refused(void **state)
{
    struct nat_world *world = *state;

    make_big();
    send_big_part(world, 1, 0, 1480);
    send_part(world, 1, 1472, big_udp, 1480, true); /* over the end of the first */
    send_big_part(world, 1, 1480, 1480);
    send_big_part(world, 1, 2960, sizeof big_udp - 2960);
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_malformed_total, 1);

    send_big_part(world, 2, 1480, 1480);
    send_part(world, 2, 0, big_udp, 1488, true); /* an oversized first one, afterwards */
    send_big_part(world, 2, 2960, sizeof big_udp - 2960);
    assert_int_equal(arrived(world), -1);

    send_big_part(world, 3, 0, 1480);
    send_big_part(world, 3, 1480, 1480);
    send_big_part(world, 3, 2960, sizeof big_udp - 2960);
    expect_big(world);
}

/* 64 KiB a datagram: nothing beyond it is written, and the sum of lengths can't lie. */
static void a_datagram_cannot_outgrow_its_bounds(void **state)
{
    struct nat_world *world = *state;

    make_big();
    send_part(world, 1, 65528, big_udp, 1480, true);
    send_part(world, 2, 65528, big_udp, 8, false);
    send_part(world, 3, 65512, big_udp, 8, false);
    send_part(world, 4, 0, big_udp, 1479, true); /* not a multiple of 8 */
    send_part(world, 5, 0, big_udp, 0, true);    /* nothing at all */
    send_part(world, 6, 64, big_udp, 8, true);   /* behind what turns out to be the end */
    send_part(world, 6, 8, big_udp, 8, false);
    send_part(world, 7, 16, big_udp, 8, false); /* a second end, elsewhere */
    send_part(world, 7, 24, big_udp, 8, false);
    assert_int_equal(arrived(world), -1);
    assert_int_equal(world->metrics.guest_malformed_total, 7);
}

/* A fragment behind the end: the lengths add up to enough, the datagram is not whole. */
static void nothing_may_lie_behind_the_last_fragment(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t header[8] = {0x11, 0x22, 0x33, 0x44, 0, 16, 0, 0};
    static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    send_part(world, 1, 0, header, 8, true);
    send_part(world, 1, 24, data, 8, true);
    send_part(world, 1, 8, data, 8, false);
    assert_int_equal(arrived(world), -1);
    send_part(world, 2, 0, header, 8, true);
    send_part(world, 2, 8, data, 8, false);
    assert_int_equal(arrived(world), 8);
}

/* §5: 16 datagrams; one more pushes the oldest out. */
static void the_oldest_of_seventeen_datagrams_is_lost(void **state)
{
    struct nat_world *world = *state;

    make_big();
    for (uint16_t id = 1; id <= 17; id++) {
        send_big_part(world, id, 0, 1480);
        send_big_part(world, id, 1480, 1480);
        world_advance(world, 1000);
    }
    send_big_part(world, 1, 2960, sizeof big_udp - 2960); /* takes the place of 2 */
    assert_int_equal(arrived(world), -1);
    send_big_part(world, 3, 2960, sizeof big_udp - 2960);
    expect_big(world);
    send_big_part(world, 17, 2960, sizeof big_udp - 2960);
    expect_big(world);
}

/* §5: 30 s. */
static void an_incomplete_datagram_is_forgotten_after_30_seconds(void **state)
{
    struct nat_world *world = *state;

    make_big();
    send_big_part(world, 1, 0, 1480);
    send_big_part(world, 1, 1480, 1480);
    world_advance(world, 29999 * 1000);
    send_big_part(world, 1, 2960, sizeof big_udp - 2960);
    expect_big(world);

    send_big_part(world, 2, 0, 1480);
    send_big_part(world, 2, 1480, 1480);
    world_advance(world, 30000 * 1000);
    send_big_part(world, 2, 2960, sizeof big_udp - 2960);
    assert_int_equal(arrived(world), -1);
}

/* l2-extensions.md §4: the NAT never sends a frame above what the client accepts. */
static void frames_fit_what_the_client_takes(void **state)
{
    struct nat_world *world = *state;
    uint8_t data[1024] = {0};
    uint32_t payload_bytes = 0;

    assert_int_equal(world_limit(world, 9000), 1500);
    assert_int_equal(world_limit(world, 600), 586);
    world_send_udp(world, 5000, world_server, 1234, "x", 1);
    world_remote_sends(world, world_socket_to(world, world_server, 1234), data, sizeof data);
    for (const struct world_frame *frame; (frame = world_next(world)) != NULL;) {
        assert_true(frame->bytes <= 600);
        payload_bytes += frame->bytes - (ETH_HEADER_BYTES + IPV4_HEADER_BYTES);
    }
    assert_int_equal(payload_bytes, UDP_HEADER_BYTES + sizeof data);
}

/* l2-extensions.md §4: on a jumbo LAN a long datagram is one frame, both ways. */
static void a_long_datagram_fits_a_jumbo_frame(void **state)
{
    struct nat_world *world = *state;
    enum { BYTES = 60000 };
    uint8_t *data = malloc(BYTES), *got = malloc(BYTES);
    uint32_t bytes;

    world->config.lan_mtu = 65520;
    world_start_leased(world);
    assert_int_equal(world_limit(world, 65550), 65520);
    world_skip_frames(world);
    for (uint32_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i + i / 256);
    world_send_udp(world, 5000, world_server, 1234, data, BYTES);
    struct world_socket *socket = world_socket_to(world, world_server, 1234);
    assert_int_equal(world_take_datagram(socket, got, BYTES), BYTES);
    assert_memory_equal(got, data, BYTES);
    world_remote_sends(world, socket, data, BYTES);
    const uint8_t *answer = world_expect_udp(world, world_server, 1234, 5000, &bytes);
    assert_int_equal(bytes, BYTES);
    assert_memory_equal(answer, data, BYTES);
    world_expect_nothing(world);
    free(data);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_frame_cut_anywhere_is_dropped),
        WORLD_TEST(padding_is_ignored),
        WORLD_TEST(a_bad_header_checksum_is_dropped),
        WORLD_TEST(options_are_skipped),
        WORLD_TEST(lengths_that_lie_are_dropped),
        WORLD_TEST(other_sources_are_dropped),
        WORLD_TEST(other_protocols_are_dropped),
        WORLD_TEST(fragments_make_a_datagram_in_any_order),
        WORLD_TEST(a_duplicate_fragment_is_harmless),
        WORLD_TEST(overlapping_fragments_are_refused),
        WORLD_TEST(a_datagram_cannot_outgrow_its_bounds),
        WORLD_TEST(nothing_may_lie_behind_the_last_fragment),
        WORLD_TEST(the_oldest_of_seventeen_datagrams_is_lost),
        WORLD_TEST(an_incomplete_datagram_is_forgotten_after_30_seconds),
        WORLD_TEST(frames_fit_what_the_client_takes),
        WORLD_TEST_LATER(a_long_datagram_fits_a_jumbo_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
