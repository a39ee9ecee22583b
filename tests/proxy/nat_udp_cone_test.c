/* RFC 4787: UDP through a full cone, by option (l2-proxy.md §6.3). */
#include "nat_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t stranger[4] = {198, 35, 26, 96};

static struct nat_endpoint endpoint_of(const uint8_t *address, uint16_t port)
{
    struct nat_endpoint endpoint = {.family = 4, .port = port};

    memcpy(endpoint.address, address, 4);
    return endpoint;
}

static void start_full_cone(struct nat_world *world)
{
    world->config.udp_full_cone = true;
    world_start_leased(world);
}

/* RFC 4787 §4.1: endpoint-independent mapping: one socket whoever the guest's port talks to;
 * another port has another. */
static void a_cone_has_one_socket_for_all_remotes(void **state)
{
    struct nat_world *world = *state;

    start_full_cone(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    world_expect_datagram(world_socket_to(world, world_server, 1234), "a");
    world_send_udp(world, 5000, stranger, 99, "b", 1);
    world_expect_datagram(world_socket_to(world, stranger, 99), "b");
    assert_int_equal(world->socket_count, 1);
    assert_int_equal(world->metrics.udp_flows_active, 1);
    world_send_udp(world, 5001, world_server, 1234, "c", 1);
    assert_int_equal(world->socket_count, 2);
    world_advance(world, 60000000);
    assert_false(world->sockets[0].open || world->sockets[1].open);
}

/* RFC 4787 §5: endpoint-independent filtering: whoever sends to the port reaches the guest, under
 * its own address. */
static void a_stranger_reaches_a_cone(void **state)
{
    struct nat_world *world = *state;
    uint32_t bytes;

    start_full_cone(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    world->sockets[0].remote = endpoint_of(stranger, 4321);
    world_remote_sends(world, &world->sockets[0], "hello", 5);
    assert_memory_equal(world_expect_udp(world, stranger, 4321, 5000, &bytes), "hello", 5);
    assert_int_equal(bytes, 5);
}

/* §6.1: each datagram's destination is judged although the socket is open; and whom the guest may
 * not call reaches it no more than before. */
static void a_cone_widens_no_policy(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t neighbour[4] = {192, 168, 1, 1};

    start_full_cone(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    world_expect_datagram(world_socket_to(world, world_server, 1234), "a");
    world_send_udp(world, 5000, neighbour, 1234, "b", 1);
    assert_int_equal(world_next_ipv4(world).payload[1], 13);
    assert_int_equal(world->sockets[0].out.bytes, 0);
    assert_int_equal(world->metrics.policy_denied_total, 1);
    world->sockets[0].remote = endpoint_of(neighbour, 53);
    world_remote_sends(world, &world->sockets[0], "evil", 4);
    world_expect_nothing(world);
    assert_int_equal(world->metrics.policy_denied_total, 2);
}

/* §2.5: behind a forward rule the answer must carry the address the guest knows. */
static void a_forwarded_flow_stays_connected_beside_a_cone(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t left[4] = {203, 0, 113, 1}, right[4] = {127, 0, 0, 1};
    const struct nat_forward rule = {.from = endpoint_of(left, 53), .to = endpoint_of(right, 5353)};
    uint32_t bytes;

    world->config.udp_forwards = &rule;
    world->config.udp_forward_count = 1;
    start_full_cone(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    world_send_udp(world, 5000, left, 53, "q", 1);
    struct world_socket *socket = world_socket_to(world, right, 5353);

    world_expect_datagram(socket, "q");
    world_remote_sends(world, socket, "r", 1);
    assert_memory_equal(world_expect_udp(world, left, 53, 5000, &bytes), "r", 1);
}

/* One remote's trouble is not the others': the guest hears of it, the cone lives on. */
static void a_cone_survives_an_unreachable_remote(void **state)
{
    struct nat_world *world = *state;

    start_full_cone(world);
    world->udp_send_result = -EHOSTUNREACH;
    world_send_udp(world, 5000, stranger, 99, "a", 1);
    const struct world_packet error = world_next_ipv4(world);

    assert_int_equal(error.payload[0], 3);
    assert_int_equal(error.payload[1], 1);
    assert_memory_equal(error.payload + 8 + IPV4_DESTINATION_AT, stranger, 4);
    assert_int_equal(world->metrics.udp_send_fail_total, 1);
    world->udp_send_result = 0;
    world_send_udp(world, 5000, world_server, 1234, "b", 1);
    world_expect_datagram(world_socket_to(world, world_server, 1234), "b");
    assert_int_equal(world->socket_count, 1);
}

/* A ping whose identifier is a cone's port, to an address that is nobody's, does not meet it. */
static void a_ping_never_meets_a_cone(void **state)
{
    struct nat_world *world = *state;
    static const uint8_t ones[4] = {255, 255, 255, 255};
    uint8_t echo[8] = {8, 0, 0, 0, 0x13, 0x88, 0, 1}; /* 5000 */

    start_full_cone(world);
    world_send_udp(world, 5000, world_server, 1234, "a", 1);
    be16_put(echo + 2, checksum_finish(checksum_add(0, echo, sizeof echo)));
    world_send_ipv4(world, ones, IP_PROTOCOL_ICMP, echo, sizeof echo);
    world_expect_datagram(&world->sockets[0], "a");
    assert_int_equal(world->sockets[0].out.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST_LATER(a_cone_has_one_socket_for_all_remotes),
        WORLD_TEST_LATER(a_stranger_reaches_a_cone),
        WORLD_TEST_LATER(a_cone_widens_no_policy),
        WORLD_TEST_LATER(a_forwarded_flow_stays_connected_beside_a_cone),
        WORLD_TEST_LATER(a_cone_survives_an_unreachable_remote),
        WORLD_TEST_LATER(a_ping_never_meets_a_cone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
