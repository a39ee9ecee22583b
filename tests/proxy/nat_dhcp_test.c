/* l2-proxy.md §5.2: DHCP. */
#include "nat_world.h"

#include "nat/dhcp.h"
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t everyone[4] = {255, 255, 255, 255};
static const uint8_t zero[4];

#define COOKIE        "63825363"
#define ASK_10_0_2_15 "32040a00020f"
#define SERVER_IS_US  "36040a000202"

/* A client message with xid 3903f326 and the broadcast flag; `options` begin with the cookie. */
static uint32_t build(uint8_t *message, const uint8_t *ciaddr, const char *options)
{
    memset(message, 0, DHCP_HEADER_BYTES);
    message[0] = 1;
    message[1] = 1;
    message[2] = 6;
    be32_put(message + DHCP_XID_AT, 0x3903f326);
    be16_put(message + DHCP_FLAGS_AT, 0x8000);
    memcpy(message + DHCP_CIADDR_AT, ciaddr, 4);
    memcpy(message + DHCP_CHADDR_AT, world_guest_mac, 6);
    return DHCP_HEADER_BYTES + world_hex(options, message + DHCP_HEADER_BYTES, 512);
}

static void send_message(struct nat_world *world, const uint8_t *source, const uint8_t *to,
                         const uint8_t *message, uint32_t bytes)
{
    uint8_t udp[1024] = {0, 68, 0, 67};
    uint8_t frame[1024];

    be16_put(udp + UDP_LENGTH_AT, (uint16_t)(UDP_HEADER_BYTES + bytes));
    memcpy(udp + UDP_HEADER_BYTES, message, bytes);
    const uint32_t frame_bytes =
        world_build_ipv4(world, frame, source, to, IP_PROTOCOL_UDP, udp, UDP_HEADER_BYTES + bytes);

    if (to == everyone)
        memset(frame, 0xff, 6);
    world_input(world, frame, frame_bytes);
}

static void send(struct nat_world *world, const uint8_t *ciaddr, const char *options)
{
    uint8_t message[1024];
    const uint32_t bytes = build(message, ciaddr, options);

    send_message(world, ciaddr, memcmp(ciaddr, zero, 4) == 0 ? everyone : world_gateway, message,
                 bytes);
}

/* Returns the type of the next reply, checking what every reply has in common; 0: none. */
static uint8_t next_reply(struct nat_world *world, const uint8_t **message, bool to_everyone)
{
    uint32_t bytes;

    if (world->frame_read == world->frame_count)
        return 0;
    const struct world_frame *frame = &world->frames[world->frame_read];
    static const uint8_t broadcast_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    *message = world_expect_udp(world, world_gateway, 67, 68, &bytes);
    assert_memory_equal(frame->data, to_everyone ? broadcast_mac : world_guest_mac, 6);
    assert_memory_equal(frame->data + 30, to_everyone ? everyone : world_guest, 4);
    assert_true(bytes >= 300); /* §5.2: padded for old clients */
    assert_int_equal((*message)[0], 2);
    assert_int_equal(be32_get(*message + DHCP_XID_AT), 0x3903f326);
    assert_memory_equal(*message + DHCP_CHADDR_AT, world_guest_mac, 6);
    assert_int_equal((*message)[240], DHCP_MESSAGE_TYPE);
    return (*message)[242];
}

static void expect_both_copies(struct nat_world *world, uint8_t type)
{
    const uint8_t *first;
    const uint8_t *second;

    assert_int_equal(next_reply(world, &first, true), type);
    assert_int_equal(next_reply(world, &second, false), type);
    assert_memory_equal(first, second, 300);
    world_expect_nothing(world);
}

/* §5.2: the worked OFFER: 286 bytes as printed, zeros up to 300, sent twice. */
static void an_offer_has_the_worked_bytes(void **state)
{
    struct nat_world *world = *state;
    uint8_t expected[300] = {0};
    const uint8_t *message;

    world_hex("02010600 3903f326 0000 8000 00000000 0a00020f 0a000202 00000000 525400123456",
              expected, sizeof expected);
    assert_int_equal(DHCP_HEADER_BYTES +
                         world_hex("63825363 350102 36040a000202 0104ffffff00 03040a000202 "
                                   "06040a000202 330400015180 3a040000a8c0 3b0400012750 ff",
                                   expected + DHCP_HEADER_BYTES, 64),
                     286);
    send(world, zero, COOKIE "350101 ff");
    assert_int_equal(world->frames[0].bytes, 14 + 20 + 8 + 300);
    assert_int_equal(next_reply(world, &message, true), DHCP_OFFER);
    assert_memory_equal(message, expected, sizeof expected);
    assert_int_equal(next_reply(world, &message, false), DHCP_OFFER);
    assert_memory_equal(message, expected, sizeof expected);
    world_expect_nothing(world);
}

/* §5.2: ACK if the requested address (option 50) is 10.0.2.15 and the server id 10.0.2.2 or absent.
 */
static void a_request_for_the_lease_is_acknowledged(void **state)
{
    struct nat_world *world = *state;

    send(world, zero, COOKIE "350103" ASK_10_0_2_15 SERVER_IS_US "ff");
    expect_both_copies(world, DHCP_ACK);
    send(world, zero, COOKIE "350103" ASK_10_0_2_15 "ff"); /* INIT-REBOOT */
    expect_both_copies(world, DHCP_ACK);
}

/* §5.2: … else ciaddr: renewing and rebinding. */
static void a_renewal_by_ciaddr_is_acknowledged(void **state)
{
    struct nat_world *world = *state;

    send(world, world_guest, COOKIE "350103 ff");
    expect_both_copies(world, DHCP_ACK);
}

/* §5.2: other address → NAK, which everyone hears and which carries no lease. */
static void a_request_for_another_address_is_refused(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *message;
    static const uint8_t other[4] = {192, 168, 1, 7};

    send(world, zero, COOKIE "350103 3204c0a80107 ff");
    assert_int_equal(next_reply(world, &message, true), DHCP_NAK);
    assert_memory_equal(message + DHCP_YIADDR_AT, zero, 4);
    world_expect_nothing(world);

    uint8_t raw[1024];
    const uint32_t bytes = build(raw, other, COOKIE "350103 ff");

    send_message(world, other, everyone, raw, bytes);
    assert_int_equal(next_reply(world, &message, true), DHCP_NAK);
}

/* §5.2: other server id → silence. */
static void a_request_to_another_server_is_left_alone(void **state)
{
    struct nat_world *world = *state;

    send(world, zero, COOKIE "350103" ASK_10_0_2_15 "36040a000203 ff");
    world_expect_nothing(world);
}

/* §5.2: INFORM → ACK without yiaddr and lease options. */
static void an_inform_gets_no_lease(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *message;

    send(world, world_guest, COOKIE "350108 ff");
    assert_int_equal(next_reply(world, &message, false), DHCP_ACK);
    assert_memory_equal(message + DHCP_YIADDR_AT, zero, 4);
    uint8_t expected[64];
    const uint32_t bytes = world_hex("63825363 350105 36040a000202 0104ffffff00 03040a000202 "
                                     "06040a000202 ff",
                                     expected, sizeof expected);

    assert_memory_equal(message + DHCP_HEADER_BYTES, expected, bytes);
    world_expect_nothing(world);
    send(world, zero, COOKIE "350108 ff"); /* from nowhere: there is nobody to answer */
    world_expect_nothing(world);
}

static void send_some_udp(struct nat_world *world)
{
    world_send_udp(world, 1000, world_server, 2000, "x", 1);
}

/* §5.2: release clears the assigned state; the next use of the address sets it again. */
static void a_release_frees_the_lease(void **state)
{
    struct nat_world *world = *state;
    uint8_t message[1024];

    send(world, zero, COOKIE "350103" ASK_10_0_2_15 "ff");
    world_skip_frames(world);
    send(world, world_guest, COOKIE "350107" SERVER_IS_US "ff");
    world_expect_nothing(world);

    /* Another guest may have it now. */
    const uint32_t bytes = build(message, zero, COOKIE "350103" ASK_10_0_2_15 "ff");

    message[DHCP_CHADDR_AT + 5] = 0x77;
    send_message(world, zero, everyone, message, bytes);
    send_some_udp(world); /* from the first MAC */
    assert_int_equal(world->socket_count, 0);
}

/* §5.1, §5.2: whoever asks for 10.0.2.15 gets it, so the address moves; it is one MAC's at a time,
 * and the packets of the other are refused. */
static void a_lease_to_another_mac_moves_the_address(void **state)
{
    struct nat_world *world = *state;
    uint8_t message[1024], frame[128];
    const uint8_t udp[9] = {0x03, 0xe8, 0x07, 0xd0, 0, 9, 0, 0, 'x'};

    send(world, zero, COOKIE "350103" ASK_10_0_2_15 "ff");
    const uint32_t bytes = build(message, zero, COOKIE "350103" ASK_10_0_2_15 "ff");

    message[DHCP_CHADDR_AT + 5] = 0x77;
    world_skip_frames(world);
    send_message(world, zero, everyone, message, bytes);
    assert_int_equal(world->frame_count - world->frame_read, 2);
    world_skip_frames(world);
    send_some_udp(world); /* from the first MAC */
    assert_int_equal(world->socket_count, 0);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 1);

    const uint32_t frame_bytes =
        world_build_ipv4(world, frame, world_guest, world_server, IP_PROTOCOL_UDP, udp, sizeof udp);

    frame[11] = 0x77;
    world_input(world, frame, frame_bytes);
    assert_int_equal(world->socket_count, 1);
    world_remote_sends(world, &world->sockets[0], "y", 1);
    assert_int_equal(world_next(world)->data[5], 0x77);
}

/* §5.2: xid, flags and chaddr are echoed. */
static void flags_are_echoed(void **state)
{
    struct nat_world *world = *state;
    uint8_t message[1024];
    const uint8_t *reply;
    const uint32_t bytes = build(message, zero, COOKIE "350101 ff");

    be16_put(message + DHCP_FLAGS_AT, 0);
    send_message(world, zero, everyone, message, bytes);
    assert_int_equal(next_reply(world, &reply, true), DHCP_OFFER);
    assert_int_equal(be16_get(reply + DHCP_FLAGS_AT), 0);
}

/* l2-extensions.md §4: option 26 announces a LAN MTU other than Ethernet's. */
static void another_mtu_is_announced(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);
    const uint8_t *message;
    static const uint8_t option[4] = {26, 2, 0x23, 0x28};

    (void)state;
    world_init(world);
    world->config.lan_mtu = 9000;
    world->config.frame_max_bytes = 9014;
    world_start(world);
    send(world, zero, COOKIE "350101 ff");
    assert_int_equal(next_reply(world, &message, true), DHCP_OFFER);
    assert_memory_equal(message + 285, option, sizeof option);
    assert_int_equal(message[289], DHCP_END);
    world_close(world);
    free(world);
}

/* §5.2: options 26 and 15 MAY be added; 42 as well, off by default. RFC 2132 §3.17, §8.3. */
static void domain_and_time_servers_are_told_if_configured(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);
    const uint8_t *message;
    uint8_t expected[64];
    const uint32_t bytes = world_hex("0f0b 6c616e2e6578616d706c65 2a08 c0000201 c0000202 ff",
                                     expected, sizeof expected);

    (void)state;
    world_init(world);
    strcpy(world->config.dhcp_domain, "lan.example");
    world->config.dhcp_ntp_count = 2;
    memcpy(world->config.dhcp_ntp, "\xc0\x00\x02\x01\xc0\x00\x02\x02", 8);
    world_start(world);
    send(world, zero, COOKIE "350101 ff");
    assert_int_equal(next_reply(world, &message, true), DHCP_OFFER);
    assert_memory_equal(message + 285, expected, bytes);
    world_close(world);
    free(world);
}

/* RFC 2131 §2: a client takes 312 bytes of options, 548 in all, whatever is configured. */
static void the_longest_reply_fits_every_client(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);
    const struct world_frame *frame;

    (void)state;
    world_init(world);
    memset(world->config.dhcp_domain, 'a', NAT_DOMAIN_MAX_CHARS);
    world->config.dhcp_ntp_count = NAT_NTP_MAX;
    world->config.lan_mtu = 1400;
    world_start(world);
    send(world, zero, COOKIE "350101 ff");
    frame = world_next(world);
    assert_non_null(frame);
    assert_in_range(frame->bytes, 42 + 301, 42 + 548);
    assert_int_equal(frame->data[frame->bytes - 1], DHCP_END);
    world_close(world);
    free(world);
}

/* quirks §4 (CVE-2021-3592): a message cut at any byte behind the header is answered or dropped,
 * never read beyond. */
static void a_message_cut_anywhere_is_safe(void **state)
{
    (void)state;
    uint8_t message[1024];
    const uint32_t bytes = build(message, zero, COOKIE "350103" ASK_10_0_2_15 SERVER_IS_US "ff");
    struct dhcp_request request;

    for (uint32_t cut = 0; cut < bytes; cut++) {
        uint8_t *guarded = guarded_copy(message, cut);
        const bool complete_options = cut == 243 || cut == 249 || cut == 255;

        assert_int_equal(dhcp_parse(&request, guarded, cut), complete_options);
        vector_bytes_free(guarded, cut);
    }
    assert_true(dhcp_parse(&request, message, bytes));
    assert_int_equal(request.type, DHCP_REQUEST);
    assert_memory_equal(request.requested, world_guest, 4);
    assert_memory_equal(request.server, world_gateway, 4);
}

/* RFC 2132: pads are skipped, options of a wrong length ignored, END ends. */
static void odd_options_are_survived(void **state)
{
    (void)state;
    uint8_t message[1024];
    struct dhcp_request request;
    uint32_t bytes = build(message, zero, COOKIE "000000 3202c0a8 350103 ff 3204c0a80101");

    assert_true(dhcp_parse(&request, message, bytes));
    assert_false(request.has_requested);
    bytes = build(message, zero, COOKIE "3501");
    assert_false(dhcp_parse(&request, message, bytes));
    bytes = build(message, zero, COOKIE "35ff03");
    assert_false(dhcp_parse(&request, message, bytes));
    bytes = build(message, zero, COOKIE "ff"); /* BOOTP names no type */
    assert_false(dhcp_parse(&request, message, bytes));
    bytes = build(message, zero, "00000000 350101 ff");
    assert_false(dhcp_parse(&request, message, bytes));
}

/* Fields of a client that isn't an Ethernet one, or is no client. */
static void foreign_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t at, value;
    } wrong[] = {{0, 2}, {1, 6}, {2, 16}, {DHCP_CHADDR_AT, 0xff}};
    uint8_t message[1024];
    struct dhcp_request request;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint32_t bytes = build(message, zero, COOKIE "350101 ff");

        message[wrong[i].at] = wrong[i].value;
        assert_false(dhcp_parse(&request, message, bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST_UNLEASED(an_offer_has_the_worked_bytes),
        WORLD_TEST_UNLEASED(a_request_for_the_lease_is_acknowledged),
        WORLD_TEST_UNLEASED(a_renewal_by_ciaddr_is_acknowledged),
        WORLD_TEST_UNLEASED(a_request_for_another_address_is_refused),
        WORLD_TEST_UNLEASED(a_request_to_another_server_is_left_alone),
        WORLD_TEST_UNLEASED(an_inform_gets_no_lease),
        WORLD_TEST_UNLEASED(a_release_frees_the_lease),
        WORLD_TEST_UNLEASED(a_lease_to_another_mac_moves_the_address),
        WORLD_TEST_UNLEASED(flags_are_echoed),
        cmocka_unit_test(another_mtu_is_announced),
        cmocka_unit_test(domain_and_time_servers_are_told_if_configured),
        cmocka_unit_test(the_longest_reply_fits_every_client),
        cmocka_unit_test(a_message_cut_anywhere_is_safe),
        cmocka_unit_test(odd_options_are_survived),
        cmocka_unit_test(foreign_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
