/* l2-proxy.md §5, §5.1: Ethernet and ARP. */
#include "nat_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST_HEAD "ffffffffffff 525400123456 0806 0001080006040001 525400123456 "
#define GATEWAY_REPLY                                                                              \
    "525400123456 020000000001 0806 0001080006040002 020000000001 0a000202 525400123456 "

/* §5.1: the worked reply, byte for byte. */
static void the_gateway_answers_for_its_address(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 0a000202");
    world_expect_hex(world, GATEWAY_REPLY "0a00020f");
    world_expect_nothing(world);
}

/* §5.1: reply to requests for 10.0.2.2 only. */
static void nobody_else_is_answered_for(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 0a000203");
    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 08080808");
    world_expect_nothing(world);
}

/* quirks §4 (passt 2166c58, 64c0f20): neither the guest's own address nor its announcements. */
static void the_guests_own_address_is_not_answered_for(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 0a00020f");
    world_input_hex(world, REQUEST_HEAD "0a00020f ffffffffffff 0a00020f");
    world_expect_nothing(world);
}

/* quirks §4 (passt af55c4e), RFC 5227 §2.1.1: a probe for the lease address stays unanswered, one
 * for the gateway's is answered, since that address is taken. */
static void duplicate_address_detection_is_not_sabotaged(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, REQUEST_HEAD "00000000 000000000000 0a00020f");
    world_expect_nothing(world);
    world_input_hex(world, REQUEST_HEAD "00000000 000000000000 0a000202");
    world_expect_hex(world, GATEWAY_REPLY "00000000");
}

static void expect_ping_reply_to(struct nat_world *world, const char *mac)
{
    uint8_t expected[6];
    const uint8_t echo[12] = {8, 0, 0xc3, 0xef, 0x12, 0x34, 0, 1, 0x11, 0x22, 0x11, 0xb8};
    uint8_t icmp[12];

    memcpy(icmp, echo, sizeof icmp);
    be16_put(icmp + 2, 0);
    be16_put(icmp + 2, checksum_finish(checksum_add(0, icmp, sizeof icmp)));
    world_hex(mac, expected, sizeof expected);
    uint8_t frame[64];
    const uint32_t bytes = world_build_ipv4(world, frame, world_guest, world_gateway,
                                            IP_PROTOCOL_ICMP, icmp, sizeof icmp);

    memcpy(frame + 6, expected, 6);
    world_input(world, frame, bytes);
    const struct world_frame *reply = world_next(world);

    assert_non_null(reply);
    assert_memory_equal(reply->data, expected, 6);
}

/* §5.1: a guest announcement updates the guest MAC. */
static void an_announcement_moves_the_guest(void **state)
{
    struct nat_world *world = *state;

    world_announce(world);
    expect_ping_reply_to(world, "525400123456");
    world_input_hex(world, "ffffffffffff 525400aabbcc 0806 0001080006040001 525400aabbcc 0a00020f "
                           "000000000000 0a00020f");
    expect_ping_reply_to(world, "525400aabbcc");
}

/* §5.2: a static 10.0.2.15 is served as soon as it ARPs or sends from that address. */
static void a_guest_without_dhcp_is_served_when_it_sends(void **state)
{
    struct nat_world *world = *state;

    expect_ping_reply_to(world, "525400123456");
}

/* A second machine behind the tunnel, without the address, is refused and counted. */
static void a_second_mac_is_refused(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[64];
    const uint8_t udp[8] = {0, 1, 0, 2, 0, 8, 0, 0};

    world_announce(world);
    const uint32_t bytes =
        world_build_ipv4(world, frame, world_guest, world_server, IP_PROTOCOL_UDP, udp, 8);

    frame[11] ^= 1;
    world_input(world, frame, bytes);
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);
}

/* quirks §4 (CVE-2020-29129/29130): a frame cut at any byte is no ARP request. */
static void a_short_arp_frame_is_dropped(void **state)
{
    struct nat_world *world = *state;
    uint8_t frame[64];
    const uint32_t bytes =
        world_hex(REQUEST_HEAD "0a00020f 000000000000 0a000202", frame, sizeof frame);

    for (uint32_t cut = 0; cut < bytes; cut++)
        world_input(world, frame, cut);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_malformed_total, bytes);
    world_input(world, frame, bytes);
    assert_non_null(world_next(world));
}

/* §5.1: Ethernet/IPv4, hlen 6, plen 4; the sender has a MAC of its own. */
static void other_arp_is_dropped(void **state)
{
    struct nat_world *world = *state;
    static const char *const wrong[] = {
        "ffffffffffff 525400123456 0806 0006080006040001 525400123456 0a00020f 000000000000 "
        "0a000202",
        "ffffffffffff 525400123456 0806 000186dd06040001 525400123456 0a00020f 000000000000 "
        "0a000202",
        "ffffffffffff 525400123456 0806 0001080008040001 525400123456 0a00020f 000000000000 "
        "0a000202",
        "ffffffffffff 525400123456 0806 0001080006100001 525400123456 0a00020f 000000000000 "
        "0a000202",
        "ffffffffffff 525400123456 0806 0001080006040001 ffffffffffff 0a00020f 000000000000 "
        "0a000202",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        world_input_hex(world, wrong[i]);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_malformed_total, sizeof wrong / sizeof wrong[0]);
}

/* A reply is no question. */
static void a_reply_is_not_answered(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, "020000000001 525400123456 0806 0001080006040002 525400123456 0a00020f "
                           "020000000001 0a000202");
    world_expect_nothing(world);
}

/* §5: accept gateway, broadcast and multicast destinations, drop others. */
static void frames_for_other_machines_are_dropped(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, "525400999999 525400123456 0806 0001080006040001 525400123456 0a00020f "
                           "000000000000 0a000202");
    world_expect_nothing(world);
    world_input_hex(world, "020000000001 525400123456 0806 0001080006040001 525400123456 0a00020f "
                           "000000000000 0a000202");
    assert_non_null(world_next(world));
    world_input_hex(world, "01005e000001 525400123456 0806 0001080006040001 525400123456 0a00020f "
                           "000000000000 0a000202");
    assert_non_null(world_next(world));
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);
}

/* §5: other types are dropped silently. */
static void other_ethernet_types_are_dropped(void **state)
{
    struct nat_world *world = *state;

    world_input_hex(world, "ffffffffffff 525400123456 86dd 6000000000000000");
    world_input_hex(world, "ffffffffffff 525400123456 8100 00010800 4500");
    world_input_hex(world, "ffffffffffff 525400123456 0026 42420300");
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 3);
}

/* A full outbound queue loses the reply; the guest asks again. */
static void a_full_queue_loses_the_reply_and_nothing_else(void **state)
{
    struct nat_world *world = *state;

    world->frame_room = 0;
    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 0a000202");
    world_expect_nothing(world);
    world->frame_room = 1;
    world_input_hex(world, REQUEST_HEAD "0a00020f 000000000000 0a000202");
    assert_non_null(world_next(world));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST_UNLEASED(the_gateway_answers_for_its_address),
        WORLD_TEST_UNLEASED(nobody_else_is_answered_for),
        WORLD_TEST_UNLEASED(the_guests_own_address_is_not_answered_for),
        WORLD_TEST_UNLEASED(duplicate_address_detection_is_not_sabotaged),
        WORLD_TEST_UNLEASED(an_announcement_moves_the_guest),
        WORLD_TEST_UNLEASED(a_guest_without_dhcp_is_served_when_it_sends),
        WORLD_TEST_UNLEASED(a_second_mac_is_refused),
        WORLD_TEST_UNLEASED(a_short_arp_frame_is_dropped),
        WORLD_TEST_UNLEASED(other_arp_is_dropped),
        WORLD_TEST_UNLEASED(a_reply_is_not_answered),
        WORLD_TEST_UNLEASED(frames_for_other_machines_are_dropped),
        WORLD_TEST_UNLEASED(other_ethernet_types_are_dropped),
        WORLD_TEST_UNLEASED(a_full_queue_loses_the_reply_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
