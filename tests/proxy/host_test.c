/*
 * The host's sockets as the NAT sees them (nat/nat.h, struct nat_host), over loopback: a test plays
 * the NAT and the remote.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/host.h"

enum { COOKIE = 77, EVENTS_MAX = 64 };

/* The NAT of these tests: it notes what it is told. */
struct nat {
    uint32_t cookies[EVENTS_MAX], events[EVENTS_MAX];
    uint32_t count, touched, answers;
    uint32_t answer_query;
    struct world *reuse; /* at its first event: closes sockets[1 - cookie], opens a new one */
    int sockets[2], reused;
    int answer_status;
    size_t answer_bytes;
    uint8_t answer[512];
};

static void reuse_the_other_number(struct nat *nat, uint32_t cookie);

void nat_socket_event(struct nat *nat, uint32_t cookie, uint32_t events, uint64_t now_us)
{
    (void)now_us;
    assert_true(nat->count < EVENTS_MAX);
    nat->cookies[nat->count] = cookie;
    nat->events[nat->count++] = events;
    if (nat->reuse != NULL)
        reuse_the_other_number(nat, cookie);
}

void nat_dns_answer(struct nat *nat, uint32_t query, const uint8_t *wire, size_t wire_bytes,
                    int status, uint64_t now_us)
{
    (void)now_us;
    nat->answers++;
    nat->answer_query = query;
    nat->answer_status = status;
    nat->answer_bytes = wire_bytes;
    assert_true(wire_bytes <= sizeof nat->answer);
    if (wire != NULL)
        memcpy(nat->answer, wire, wire_bytes);
}

struct world {
    uv_loop_t loop;
    struct host *host;
    struct host_client client;
    struct nat nat;
    struct nat_host ops;
    int listener;
    struct nat_endpoint remote;
};

static void touched(struct host_client *client)
{
    client->nat->touched++;
}

static int bound_socket(int type, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, type, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static struct world *world_new(const char *dns_servers)
{
    struct world *world = calloc(1, sizeof *world);

    uv_loop_init(&world->loop);
    world->host = host_new(&world->loop, dns_servers, 500);
    assert_non_null(world->host);
    world->client.nat = &world->nat;
    world->client.touched = touched;
    host_bind(world->host, &world->client, &world->ops);
    world->remote = (struct nat_endpoint){.family = 4, .address = {127, 0, 0, 1}};
    world->listener = bound_socket(SOCK_STREAM, &world->remote.port);
    assert_int_equal(listen(world->listener, 4), 0);
    return world;
}

static void world_free(struct world *world)
{
    host_forget(&world->client);
    host_close(world->host);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    host_free(world->host);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    close(world->listener);
    free(world);
}

static int set_up(void **state)
{
    *state = world_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    world_free(*state);
    return 0;
}

/* Runs the loop until the NAT was told of `wanted`; forgets what it was told. */
static void await_event(struct world *world, uint32_t wanted)
{
    uint32_t seen = 0;

    for (int turns = 0; (seen & wanted) != wanted && turns < 1000; turns++) {
        uv_run(&world->loop, UV_RUN_ONCE);
        for (uint32_t i = 0; i < world->nat.count; i++) {
            assert_int_equal(world->nat.cookies[i], COOKIE);
            seen |= world->nat.events[i];
        }
        world->nat.count = 0;
    }
    assert_int_equal(seen & wanted, wanted);
}

static int connect_to(struct world *world, int *served)
{
    const int fd = world->ops.tcp_connect(&world->client, COOKIE, &world->remote);

    assert_true(fd >= 0);
    await_event(world, NAT_SOCKET_CONNECTED);
    *served = accept(world->listener, NULL, NULL);
    assert_true(*served >= 0);
    return fd;
}

/* nat.h, tcp_connect_ended(): known before the loop could tell, and only then. */
static void the_end_of_connect_is_known_before_it_is_told(void **state)
{
    struct world *world = *state;

    assert_int_equal(listen(world->listener, 0), 0); /* one waits in the queue; no more SYNs */
    const int served = world->ops.tcp_connect(&world->client, COOKIE, &world->remote);
    const int silent = world->ops.tcp_connect(&world->client, COOKIE, &world->remote);

    assert_true(served >= 0 && silent >= 0);
    assert_true(world->ops.tcp_connect_ended(&world->client, served));
    assert_false(world->ops.tcp_connect_ended(&world->client, silent));
    assert_int_equal(world->nat.count, 0);
    await_event(world, NAT_SOCKET_CONNECTED);
    world->ops.close(&world->client, served, true);
    assert_false(world->ops.tcp_connect_ended(&world->client, served));
    world->ops.close(&world->client, silent, true);
}

static ssize_t peek(struct world *world, int fd, uint32_t offset, char *to, size_t bytes)
{
    const struct iovec parts[2] = {{to, bytes / 2}, {to + bytes / 2, bytes - bytes / 2}};
    return world->ops.tcp_peek(&world->client, fd, offset, parts, 2);
}

static void stream_can_be_peeked_at_any_offset_and_consumed(struct world *world)
{
    char text[8];
    int served;
    const int fd = connect_to(world, &served);

    assert_int_equal(peek(world, fd, 0, text, sizeof text), -EAGAIN);
    assert_int_equal(send(served, "0123456789", 10, 0), 10);
    await_event(world, NAT_SOCKET_READABLE);
    assert_int_equal(peek(world, fd, 0, text, 4), 4);
    assert_memory_equal(text, "0123", 4);
    assert_int_equal(peek(world, fd, 4, text, 8), 6);
    assert_memory_equal(text, "456789", 6);
    assert_int_equal(peek(world, fd, 10, text, 4), -EAGAIN);
    /* a retransmission: back to what the guest has not acknowledged */
    assert_int_equal(peek(world, fd, 2, text, 4), 4);
    assert_memory_equal(text, "2345", 4);
    assert_int_equal(world->ops.tcp_consume(&world->client, fd, 3), 0);
    assert_int_equal(peek(world, fd, 6, text, 4),
                     1); /* where the last peek ended, but further on */
    assert_memory_equal(text, "9", 1);
    assert_int_equal(peek(world, fd, 0, text, 4), 4);
    assert_memory_equal(text, "3456", 4);
    assert_int_equal(peek(world, fd, 4, text, 4), 3);
    assert_memory_equal(text, "789", 3);
    /* the end of the stream is behind the last byte and nowhere else */
    close(served);
    await_event(world, NAT_SOCKET_READABLE);
    assert_int_equal(peek(world, fd, 7, text, 4), 0);
    assert_int_equal(peek(world, fd, 6, text, 4), 1);
    assert_int_equal(world->ops.tcp_consume(&world->client, fd, 7), 0);
    assert_int_equal(peek(world, fd, 0, text, 4), 0);
    world->ops.close(&world->client, fd, false);
}

/* nat.h: tcp_peek(), tcp_consume(), with the kernel's SO_PEEK_OFF. */
static void peeking_with_the_kernels_offset(void **state)
{
    if (!host_peek_offset_supported()) /* before Linux 6.9; the next test covers such hosts */
        return;
    stream_can_be_peeked_at_any_offset_and_consumed(*state);
}

/* The same where the kernel has no SO_PEEK_OFF for TCP. */
static void peeking_by_skipping(void **state)
{
    struct world *world = *state;

    host_peek_offset_force(world->host, false);
    stream_can_be_peeked_at_any_offset_and_consumed(world);
}

/* design.md §3: the kernel's queue is the buffer, so it must hold what the guest has not
 * acknowledged, twice over, although nobody reads it. */
static void receive_buffer_grows_with_what_was_peeked_at(void **state)
{
    enum { UNREAD_BYTES = 80000 };
    static char block[UNREAD_BYTES];
    struct world *world = *state;
    int served, before_bytes = 0, after_bytes = 0;
    socklen_t length = sizeof before_bytes;
    uint32_t unread = 0;
    const int fd = connect_to(world, &served);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &before_bytes, &length), 0);
    assert_true(before_bytes < 4 * UNREAD_BYTES);
    assert_int_equal(send(served, block, sizeof block, 0), sizeof block);
    while (unread < UNREAD_BYTES) {
        const ssize_t got = peek(world, fd, unread, block, sizeof block);
        if (got == -EAGAIN)
            await_event(world, NAT_SOCKET_READABLE);
        else
            assert_true(got > 0);
        unread += got > 0 ? (uint32_t)got : 0;
    }
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &after_bytes, &length), 0);
    assert_true(after_bytes >= 4 * UNREAD_BYTES);
    /* the next byte alone makes it readable: nobody waits for a full buffer */
    assert_int_equal(world->ops.tcp_consume(&world->client, fd, UNREAD_BYTES), 0);
    world->nat.count = 0;
    assert_int_equal(send(served, "x", 1, 0), 1);
    await_event(world, NAT_SOCKET_READABLE);
    close(served);
    world->ops.close(&world->client, fd, false);
}

/* nat.h: FAILED when connect fails, error() says why. */
static void refused_connection_fails(void **state)
{
    struct world *world = *state;

    close(world->listener);
    const int fd = world->ops.tcp_connect(&world->client, COOKIE, &world->remote);
    if (fd >= 0) {
        await_event(world, NAT_SOCKET_FAILED);
        assert_int_equal(world->ops.error(&world->client, fd), ECONNREFUSED);
        world->ops.close(&world->client, fd, true);
    } else {
        assert_int_equal(fd, -ECONNREFUSED);
    }
    world->listener = bound_socket(SOCK_STREAM, &world->remote.port);
}

/* nat.h: tcp_send() may take fewer; WRITABLE follows once there is room. */
static void writable_follows_a_full_socket(void **state)
{
    struct world *world = *state;
    static uint8_t block[1 << 20];
    const struct iovec part = {block, sizeof block};
    int served;
    const int fd = connect_to(world, &served);
    size_t queued = 0;
    ssize_t sent;

    assert_true(world->ops.tcp_send_space(&world->client, fd) > 0);
    while ((sent = world->ops.tcp_send(&world->client, fd, &part, 1)) >= 0)
        queued += (size_t)sent;
    assert_int_equal(sent, -EAGAIN);
    for (size_t got = 0; got < queued;) {
        const ssize_t bytes = recv(served, block, sizeof block, MSG_DONTWAIT);
        if (bytes > 0)
            got += (size_t)bytes;
        else
            poll(&(struct pollfd){.fd = served, .events = POLLIN}, 1, 1000);
    }
    await_event(world, NAT_SOCKET_WRITABLE);
    assert_int_equal(world->ops.tcp_shutdown_write(&world->client, fd), 0);
    assert_int_equal(recv(served, block, 1, 0), 0);
    world->ops.close(&world->client, fd, false);
    close(served);
}

/* nat.h: close(reset). */
static void reset_reaches_the_remote(void **state)
{
    struct world *world = *state;
    uint8_t byte;
    int served;
    const int fd = connect_to(world, &served);

    world->ops.close(&world->client, fd, true);
    assert_int_equal(recv(served, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(served);
}

/* §6.2 [US], keepalive: a remote that went away does not hold a flow for ever. */
static void quiet_remotes_are_asked_if_wanted(void **state)
{
    static const struct {
        uint32_t idle_ms;
        int seconds;
    } cases[] = {{1, 1}, {600000, 600}, {86400000, 32767}};
    struct world *world = *state;
    int value = -1, served;
    socklen_t bytes = sizeof value;
    int fd = connect_to(world, &served);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &bytes), 0);
    assert_int_equal(value, 0);
    world->ops.close(&world->client, fd, false);
    close(served);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        host_keepalive(world->host, cases[i].idle_ms);
        fd = connect_to(world, &served);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &bytes), 0);
        assert_int_equal(value, 1);
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &bytes), 0);
        assert_int_equal(value, cases[i].seconds);
        world->ops.close(&world->client, fd, false);
        close(served);
    }
}

/* guest-quirks.md §4 (libslirp): the scope of an IPv6 remote is zero, not what memory held. */
static void libslirp_the_scope_of_a_remote_is_zero(void **state)
{
    struct world *world = *state;
    const struct nat_endpoint remote = {.family = 6, .address = {[15] = 1}, .port = 9};
    struct sockaddr_in6 peer;
    socklen_t bytes = sizeof peer;
    const int fd = world->ops.udp_connect(&world->client, COOKIE, &remote);

    if (fd < 0) /* a host without IPv6 */
        skip();
    assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &bytes), 0);
    assert_int_equal(peer.sin6_scope_id, 0);
    assert_int_equal(peer.sin6_flowinfo, 0);
    world->ops.close(&world->client, fd, false);
}

/* nat.h: udp_whole(): DF, or as the kernel likes; the path's MTU either way. */
static void datagrams_may_be_kept_whole(void **state)
{
    struct world *world = *state;
    const int fd = world->ops.udp_connect(&world->client, COOKIE, &world->remote);
    int how = -1;
    socklen_t bytes = sizeof how;

    assert_true(fd >= 0);
    for (int whole = 1; whole >= 0; whole--) {
        assert_in_range(world->ops.udp_whole(&world->client, fd, whole != 0), 68, 65536);
        assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, &bytes), 0);
        assert_int_equal(how, whole != 0 ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT);
    }
    world->ops.close(&world->client, fd, false);
    assert_int_equal(world->ops.udp_whole(&world->client, fd, true), -EBADF);
}

static void reuse_the_other_number(struct nat *nat, uint32_t cookie)
{
    struct world *world = nat->reuse;

    nat->reuse = NULL;
    world->ops.close(&world->client, nat->sockets[1 - cookie], true);
    nat->reused = world->ops.udp_connect(&world->client, COOKIE, &world->remote);
    assert_int_equal(nat->reused, nat->sockets[1 - cookie]);
}

/* Two events of one wake-up: the first one's handler closes the second one's socket, and the
 * number is in use again before that event's turn comes. It must not reach the new owner. */
static void stale_events_do_not_reach_a_reused_number(void **state)
{
    struct world *world = *state;
    struct nat *nat = &world->nat;
    int served[2];

    for (uint32_t i = 0; i < 2; i++) {
        nat->sockets[i] = world->ops.tcp_connect(&world->client, i, &world->remote);
        served[i] = accept(world->listener, NULL, NULL);
        assert_true(served[i] >= 0);
    }
    while (nat->count < 2)
        uv_run(&world->loop, UV_RUN_ONCE);
    nat->count = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(send(served[i], "x", 1, 0), 1);
    nat->reuse = world;
    while (nat->count == 0)
        uv_run(&world->loop, UV_RUN_ONCE);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_int_equal(nat->count, 1);

    const int fd = nat->reused;
    assert_int_equal(world->ops.tcp_send_space(&world->client, 1 << 30), 0);
    world->ops.close(&world->client, fd, false);
    world->ops.close(&world->client, fd, false); /* a handle that is gone is no harm */
    assert_int_equal(world->ops.tcp_consume(&world->client, fd, 1), -EBADF);
    world->ops.close(&world->client, nat->sockets[nat->cookies[0]], true);
    close(served[0]);
    close(served[1]);
}

/* nat.h: UDP both ways, and a refusal by ICMP. */
static void datagrams_and_port_unreachable(void **state)
{
    struct world *world = *state;
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof from;
    uint8_t data[16];
    struct nat_endpoint remote = world->remote;
    const int server = bound_socket(SOCK_DGRAM, &remote.port);
    const int fd = world->ops.udp_connect(&world->client, COOKIE, &remote);

    assert_int_equal(world->ops.udp_send(&world->client, fd, (const uint8_t *)"ab", 2), 2);
    assert_int_equal(recvfrom(server, data, sizeof data, 0, (struct sockaddr *)&from, &from_bytes),
                     2);
    assert_int_equal(sendto(server, "cde", 3, 0, (struct sockaddr *)&from, from_bytes), 3);
    await_event(world, NAT_SOCKET_READABLE);
    assert_int_equal(world->ops.udp_receive(&world->client, fd, data, sizeof data), 3);
    assert_int_equal(world->ops.udp_receive(&world->client, fd, data, sizeof data), -EAGAIN);
    close(server);
    assert_int_equal(world->ops.udp_send(&world->client, fd, data, 1), 1);
    await_event(world, NAT_SOCKET_FAILED);
    assert_int_equal(world->ops.error(&world->client, fd), ECONNREFUSED);
    world->ops.close(&world->client, fd, false);
}

/* nat.h: exactly one answer for each query, raw, never from inside the call. */
static void resolver_hands_over_raw_answers(void **state)
{
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof from;
    uint8_t query[512];
    char servers[32];
    uint16_t port;
    const int server = bound_socket(SOCK_DGRAM, &port);

    (void)state;
    snprintf(servers, sizeof servers, "127.0.0.1:%u", port);
    struct world *world = world_new(servers);
    assert_int_equal(world->ops.dns_query(&world->client, 9, "a.example", 1), 0);
    assert_int_equal(world->nat.answers, 0);
    const ssize_t bytes =
        recvfrom(server, query, sizeof query, 0, (struct sockaddr *)&from, &from_bytes);
    assert_true(bytes > 12);
    query[2] |= 0x80; /* a response, NXDOMAIN */
    query[3] = 3;
    assert_int_equal(sendto(server, query, (size_t)bytes, 0, (struct sockaddr *)&from, from_bytes),
                     bytes);
    while (world->nat.answers == 0)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(world->nat.answer_query, 9);
    assert_int_equal(world->nat.answer_status, 0);
    assert_int_equal(world->nat.answer[3] & 15, 3);

    /* silence is a time-out, and a client that leaves hears nothing */
    assert_int_equal(world->ops.dns_query(&world->client, 10, "b.example", 1), 0);
    while (world->nat.answers == 1)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(world->nat.answer_query, 10);
    assert_int_equal(world->nat.answer_status, -ETIMEDOUT);
    assert_int_equal(world->ops.dns_query(&world->client, 11, "bad..name", 1), 0);
    assert_int_equal(world->nat.answers, 2);
    while (world->nat.answers == 2)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_true(world->nat.answer_status < 0);
    assert_int_equal(world->ops.dns_query(&world->client, 12, "c.example", 1), 0);
    world_free(world);
    close(server);
}

/* nat.h: udp_open(): any remote may answer, and the receiver learns who did. */
static void an_open_socket_hears_everybody(void **state)
{
    struct world *world = *state;
    struct nat_endpoint asked = world->remote, other = world->remote, who;
    const int server = bound_socket(SOCK_DGRAM, &asked.port);
    const int stranger = bound_socket(SOCK_DGRAM, &other.port);
    const int fd = world->ops.udp_open(&world->client, COOKIE, 4);
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof from;
    uint8_t data[16];

    assert_true(fd >= 0);
    assert_int_equal(world->ops.udp_send_to(&world->client, fd, &asked, (const uint8_t *)"ab", 2),
                     2);
    assert_int_equal(recvfrom(server, data, sizeof data, 0, (struct sockaddr *)&from, &from_bytes),
                     2);
    assert_int_equal(sendto(stranger, "cde", 3, 0, (struct sockaddr *)&from, from_bytes), 3);
    await_event(world, NAT_SOCKET_READABLE);
    assert_int_equal(world->ops.udp_receive_from(&world->client, fd, &who, data, sizeof data), 3);
    assert_int_equal(who.family, 4);
    assert_int_equal(who.port, other.port);
    assert_memory_equal(who.address, other.address, 4);
    assert_int_equal(world->ops.udp_receive_from(&world->client, fd, &who, data, sizeof data),
                     -EAGAIN);
    world->ops.close(&world->client, fd, false);
    close(server);
    close(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(peeking_with_the_kernels_offset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(peeking_by_skipping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(receive_buffer_grows_with_what_was_peeked_at, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_connect_is_known_before_it_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(refused_connection_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writable_follows_a_full_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_reaches_the_remote, set_up, tear_down),
        cmocka_unit_test_setup_teardown(datagrams_may_be_kept_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(libslirp_the_scope_of_a_remote_is_zero, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quiet_remotes_are_asked_if_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_events_do_not_reach_a_reused_number, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(datagrams_and_port_unreachable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_socket_hears_everybody, set_up, tear_down),
        cmocka_unit_test(resolver_hands_over_raw_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
