/*
 * ping_connect of nat/nat.h over loopback: icmp(7), net.ipv4.ping_group_range. The range belongs
 * to the network namespace, so each story runs in one of its own, where that is allowed.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/host.h"

enum { COOKIE = 5 };

struct nat { /* notes what it is told */
    uint32_t events;
};

void nat_socket_event(struct nat *nat, uint32_t cookie, uint32_t events, uint64_t now_us)
{
    (void)now_us;
    assert_int_equal(cookie, COOKIE);
    nat->events |= events;
}

void nat_dns_answer(struct nat *nat, uint32_t query, const uint8_t *wire, size_t wire_bytes,
                    int status, uint64_t now_us)
{
    (void)nat, (void)query, (void)wire, (void)wire_bytes, (void)status, (void)now_us;
}

static void touched(struct host_client *client)
{
    (void)client;
}

/* A namespace with nothing but a loopback interface; false where nobody may make one. */
static bool alone_with_loopback(const char *ping_group_range)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    FILE *range;

    if (unshare(CLONE_NEWNET) != 0)
        return false;
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    const bool is_up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    range = fopen("/proc/sys/net/ipv4/ping_group_range", "w");
    if (range == NULL)
        return false;
    const bool is_written = fputs(ping_group_range, range) >= 0;
    return fclose(range) == 0 && is_written && is_up;
}

struct world {
    uv_loop_t loop;
    struct host *host;
    struct host_client client;
    struct nat nat;
    struct nat_host ops;
};

static void open_world(struct world *world)
{
    *world = (struct world){.client = {.nat = &world->nat, .touched = touched}};
    uv_loop_init(&world->loop);
    world->host = host_new(&world->loop, "127.0.0.1:9", 500);
    assert_non_null(world->host);
    host_bind(world->host, &world->client, &world->ops);
}

static void close_world(struct world *world)
{
    host_forget(&world->client);
    host_close(world->host);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    host_free(world->host);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

/* l2-proxy.md §5.3: pings pass "when the host allows it". */
static void an_echo_goes_out_and_its_reply_comes_back(void **state)
{
    const struct nat_endpoint loopback = {.family = 4, .address = {127, 0, 0, 1}};
    const uint8_t echo[12] = {ICMP_ECHO, 0, 0, 0, 0x12, 0x34, 0, 1, 'a', 'b', 'c', 'd'};
    uint8_t reply[64];
    struct world world;

    (void)state;
    if (!alone_with_loopback("0 2147483647"))
        skip();
    open_world(&world);
    assert_non_null(world.ops.ping_connect);
    const int fd = world.ops.ping_connect(&world.client, COOKIE, &loopback);

    assert_true(fd >= 0);
    assert_int_equal(world.ops.udp_send(&world.client, fd, echo, sizeof echo), sizeof echo);
    while ((world.nat.events & NAT_SOCKET_READABLE) == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(world.ops.udp_receive(&world.client, fd, reply, sizeof reply), sizeof echo);
    assert_int_equal(reply[0], ICMP_ECHOREPLY);
    assert_memory_equal(reply + 6, echo + 6, sizeof echo - 6);
    world.ops.close(&world.client, fd, false);
    close_world(&world);
}

/* §5.3: "else stay silent": the NAT is told by a NULL. */
static void a_kernel_that_refuses_leaves_the_call_out(void **state)
{
    struct world world;

    (void)state;
    if (!alone_with_loopback("1 0"))
        skip();
    open_world(&world);
    assert_null(world.ops.ping_connect);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_echo_goes_out_and_its_reply_comes_back),
        cmocka_unit_test(a_kernel_that_refuses_leaves_the_call_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
