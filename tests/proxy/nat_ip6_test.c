/* IPv6 on the LAN: RFC 4861, 4862, 8106 (autoconfiguration), 8415 (DHCPv6). */
#include "ip6_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- RFC 4861, 4862, 8106 ---- */

/* RFC 4861 §6.2.6: "A router sends Router Advertisements in response to valid Router
 * Solicitations"; §4.2, §4.6.2: prefix for addresses; RFC 8106 §5.1: the name server. */
static void a_solicitation_brings_prefix_and_name_server(void **state)
{
    struct nat_world *world = *state;
    uint32_t seen = 0;

    ip6_solicit_router(world);
    const struct ip6_got ra = ip6_next(world);

    assert_int_equal(ra.payload[0], IP6_RA);
    assert_int_equal(ra.hops, 255);
    assert_memory_equal(ra.from, ip6_router, 16);
    assert_memory_equal(ra.to, ip6_all_nodes, 16);
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
            assert_memory_equal(at + 16, ip6_guest, 8);
            assert_true(be32_get(at + 4) >= be32_get(at + 8)); /* §4.6.2: valid ≥ preferred */
        }
        if (at[0] == 5)
            assert_int_equal(be32_get(at + 4), 1500);
        if (at[0] == 25)
            assert_memory_equal(at + 8, ip6_gateway, 16);
    }
    assert_int_equal(seen, 1u << 1 | 1u << 3 | 1u << 5 | 1u << 25);
    world_expect_nothing(world);
}

static uint32_t advertised_mtu(struct nat_world *world)
{
    const struct ip6_got ra = ip6_next(world);

    assert_int_equal(ra.payload[0], IP6_RA);
    for (const uint8_t *at = ra.payload + 16; at < ra.payload + ra.bytes; at += at[1] * 8)
        if (at[0] == 5) /* §4.6.4 */
            return be32_get(at + 4);
    return 0;
}

/* l2-extensions.md §1, §4: the LAN's MTU as far as the client goes; told again when it changes. */
static void the_advertised_mtu_is_the_clients(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    (void)state;
    world_init(world);
    world->config.ipv6 = true;
    world->config.lan_mtu = 9000;
    world_start_leased(world);
    ip6_solicit_router(world);
    assert_int_equal(advertised_mtu(world), 1500);
    assert_int_equal(world_limit(world, 65550), 9000);
    world_advance(world, 0);
    assert_int_equal(advertised_mtu(world), 9000);
    assert_int_equal(world_limit(world, 9014), 9000);
    world_advance(world, 0);
    world_expect_nothing(world);
    world_close(world);
    free(world);
}

/* §6.2.4: advertisements go out before the lifetime of the last one ends. */
static void advertisements_are_repeated(void **state)
{
    struct nat_world *world = *state;

    world_advance(world, UINT64_C(3600) * 1000000);
    world_expect_nothing(world); /* not to a guest that never asked */
    ip6_solicit_router(world);
    ip6_next(world);
    world_advance(world, UINT64_C(1801) * 1000000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ip6_next(world).payload[0], IP6_RA);
    world_expect_nothing(world);
}

/* §6.1.1, §7.1.1: "A node MUST silently discard any received … messages that do not satisfy all
 * of the following validity checks". */
static void invalid_solicitations_are_discarded(void **state)
{
    struct nat_world *world = *state;
    struct ip6_sent how = ip6_neighbour(ip6_guest_link, ip6_all_routers);
    uint8_t rs[16] = {IP6_RS, [8] = 1, 1}, ns[24] = {IP6_NS};

    how.hops = 254; /* "could not possibly have been forwarded by a router" */
    ip6_send_icmp(world, &how, rs, sizeof rs);
    how.hops = 255;
    rs[1] = 1; /* "ICMP Code is 0" */
    ip6_send_icmp(world, &how, rs, sizeof rs);
    rs[1] = 0;
    rs[9] = 0; /* "All included options have a length that is greater than zero" */
    ip6_send_icmp(world, &how, rs, sizeof rs);
    rs[9] = 1;
    how.from = ip6_nobody; /* "no source link-layer address option" from the unspecified address */
    ip6_send_icmp(world, &how, rs, sizeof rs);
    memcpy(ns + 8, ip6_gateway, 16);
    how.to = ip6_all_nodes; /* from the unspecified address: "a solicited-node multicast address" */
    ip6_send_icmp(world, &how, ns, sizeof ns);
    how.from = ip6_guest_link;
    ip6_send_icmp(world, &how, ns, 23); /* "24 or more octets" */
    memcpy(ns + 8, ip6_all_nodes, 16);  /* "Target Address is not a multicast address" */
    ip6_send_icmp(world, &how, ns, sizeof ns);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_malformed_total, 7);
    rs[2] ^= 1; /* "ICMP Checksum is valid" */
    ip6_send(world, &how, rs, sizeof rs);
    assert_int_equal(world->metrics.guest_bad_checksum_total, 1);
}

/* §7.2.4: the answer is solicited, overrides, says router and carries our link-layer address. */
static void the_gateway_is_found_under_both_addresses(void **state)
{
    struct nat_world *world = *state;
    const uint8_t *const targets[] = {ip6_router, ip6_gateway};

    for (int i = 0; i < 2; i++) {
        ip6_solicit_neighbour(world, ip6_guest_link, targets[i]);
        const struct ip6_got na = ip6_next(world);

        assert_int_equal(na.payload[0], IP6_NA);
        assert_int_equal(na.hops, 255);
        assert_memory_equal(na.to, ip6_guest_link, 16);
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

    ip6_solicit_neighbour(world, ip6_nobody, ip6_guest);
    ip6_solicit_neighbour(world, ip6_nobody, ip6_guest_link);
    world_expect_nothing(world);
    ip6_solicit_neighbour(world, ip6_nobody, ip6_gateway);
    const struct ip6_got na = ip6_next(world);

    assert_memory_equal(na.to, ip6_all_nodes, 16);
    assert_int_equal(na.payload[4], 0xa0);
}

/* RFC 8200 §5: no link below 1280 carries it; and the switch is off by default. */
static void without_switch_or_mtu_there_is_no_ipv6(void **state)
{
    struct nat_world *world = *state;

    assert_int_equal(world_limit(world, 1293), 1279);
    ip6_solicit_router(world);
    ip6_solicit_neighbour(world, ip6_guest_link, ip6_gateway);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.guest_frames_ignored_total, 2);
}

/* ---- DHCPv6, DNS ---- */

static void send_dhcp(struct nat_world *world, const char *hex)
{
    static const ip6_address servers = {0xff, 0x02, [13] = 1, [15] = 2};
    const struct ip6_sent how = {ip6_guest_link, servers, IP_PROTOCOL_UDP, 1};
    uint8_t message[256], udp[IP6_ROOM];
    const uint32_t bytes = world_hex(hex, message, sizeof message);

    ip6_send(world, &how, udp, ip6_build_udp(&how, udp, 546, 547, message, bytes));
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
    const struct ip6_got reply = ip6_next(world);

    assert_memory_equal(reply.from, ip6_router, 16);
    assert_memory_equal(reply.to, ip6_guest_link, 16);
    assert_int_equal(be16_get(reply.payload), 547);
    assert_int_equal(be16_get(reply.payload + 2), 546);
    assert_int_equal(reply.bytes, UDP_HEADER_BYTES + bytes);
    assert_memory_equal(reply.payload + UDP_HEADER_BYTES, expected, bytes);
}

/* §16.12: "Servers MUST discard any received Information-request message that": names another
 * ip6_server, or includes an IA option; and addresses are not ours to give. */
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

    ip6_send_udp(world, ip6_gateway, 53, query, bytes);
    assert_int_equal(world->query_count, 1);
    assert_int_equal(world->queries[0].type, 28);
    world_answer_hex(world, world->queries[0].handle,
                     "0000 8180 0001 0001 0000 0000 076578616d706c6503636f6d00 001c 0001"
                     "c00c 001c 0001 0000003c 0010 26062800 00000000 00000000 00000034");
    const struct ip6_got answer = ip6_next(world);

    assert_memory_equal(answer.from, ip6_gateway, 16);
    assert_int_equal(be16_get(answer.payload), 53);
    assert_int_equal(be16_get(answer.payload + UDP_HEADER_BYTES + 6), 1); /* one answer */
    assert_memory_equal(answer.payload + answer.bytes - 16, ip6_server, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IP6_TEST(a_solicitation_brings_prefix_and_name_server),
        cmocka_unit_test(the_advertised_mtu_is_the_clients),
        IP6_TEST(advertisements_are_repeated),
        IP6_TEST(invalid_solicitations_are_discarded),
        IP6_TEST(the_gateway_is_found_under_both_addresses),
        IP6_TEST(duplicate_address_detection_works),
        IP6_TEST(without_switch_or_mtu_there_is_no_ipv6),
        IP6_TEST(information_requests_are_answered),
        IP6_TEST(other_dhcp_messages_are_discarded),
        IP6_TEST(the_name_server_is_asked_for_aaaa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
