/* l2-proxy.md §5.4: DNS over TCP to the gateway (RFC 7766). */
#include "dns_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUEST_PORT = 40000, GUEST_ISN = 1000 };

struct client {
    struct nat_world world;
    uint32_t sequence, acknowledgment; /* what we send next, what we have received */
    uint8_t received[131072];
    uint32_t received_bytes;
    bool ended, reset;
};

static struct world_segment segment(const struct client *client, uint8_t flags)
{
    struct world_segment out = {
        .remote_port = 53,
        .guest_port = GUEST_PORT,
        .seq = client->sequence,
        .ack = client->acknowledgment,
        .flags = flags,
        .window = 65535,
    };

    memcpy(out.remote, world_gateway, 4);
    return out;
}

/* Takes what has come and acknowledges it, until nothing comes any more. */
static void receive(struct client *client)
{
    struct world_segment in;

    for (;;) {
        bool any = false;

        while (world_next_tcp(&client->world, &in)) {
            client->reset |= (in.flags & TCP_RST) != 0;
            if (in.seq != client->acknowledgment)
                continue;
            assert_true(in.payload_bytes <= sizeof client->received - client->received_bytes);
            memcpy(client->received + client->received_bytes, in.payload, in.payload_bytes);
            client->received_bytes += in.payload_bytes;
            client->acknowledgment += in.payload_bytes + ((in.flags & TCP_FIN) != 0);
            client->ended |= (in.flags & TCP_FIN) != 0;
            any |= in.payload_bytes != 0 || (in.flags & TCP_FIN) != 0;
        }
        if (!any)
            return;
        const struct world_segment ack = segment(client, TCP_ACK);

        world_send_tcp(&client->world, &ack);
    }
}

static void send_bytes(struct client *client, const uint8_t *data, uint32_t bytes)
{
    struct world_segment out = segment(client, TCP_ACK | TCP_PSH);

    out.payload = data;
    out.payload_bytes = bytes;
    world_send_tcp(&client->world, &out);
    client->sequence += bytes;
    receive(client);
}

static void ask(struct client *client, const char *hex)
{
    uint8_t message[600];
    const uint32_t bytes = world_hex(hex, message + 2, sizeof message - 2);

    be16_put(message, (uint16_t)bytes);
    send_bytes(client, message, 2 + bytes);
}

static int open_connected(void **state)
{
    struct client *client = calloc(1, sizeof *client);
    struct world_segment in;

    *state = client;
    world_open(&client->world);
    client->sequence = GUEST_ISN;
    struct world_segment syn = segment(client, TCP_SYN);

    world_send_tcp(&client->world, &syn);
    assert_true(world_next_tcp(&client->world, &in));
    assert_int_equal(in.flags & (TCP_SYN | TCP_ACK | TCP_RST), TCP_SYN | TCP_ACK);
    client->sequence++;
    client->acknowledgment = in.seq + 1;
    const struct world_segment ack = segment(client, TCP_ACK);

    world_send_tcp(&client->world, &ack);
    receive(client);
    assert_int_equal(client->world.socket_count, 0); /* no host socket is involved */
    return 0;
}

static int close_client(void **state)
{
    struct client *client = *state;

    world_close(&client->world);
    free(client);
    return 0;
}

static void answer_last(struct client *client, const char *hex)
{
    world_answer_hex(&client->world, dns_last_query(&client->world)->handle, hex);
    receive(client);
}

#define ANSWER                                                                                     \
    "beef 8180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c00c 0001 0001 0000003c 0004 5db8d822"

static void expect_answer(struct client *client, uint32_t at)
{
    uint8_t expected[128];
    const uint32_t bytes = world_hex("002d 1234 8180 0001 0001 0000 0000 " EXAMPLE
                                     "0001 0001 c00c 0001 0001 0000003c 0004 5db8d822",
                                     expected, sizeof expected);

    assert_true(client->received_bytes >= at + bytes);
    assert_memory_equal(client->received + at, expected, bytes);
}

/* RFC 1035 §4.2.2: the message is prefixed with a two-byte length. */
static void a_query_over_tcp_is_answered_with_its_length(void **state)
{
    struct client *client = *state;

    ask(client, QUERY_A);
    answer_last(client, ANSWER);
    assert_int_equal(client->received_bytes, 47);
    expect_answer(client, 0);
    assert_false(client->ended); /* RFC 7766 §6.2.1: the connection stays for the next one */
}

/* RFC 7766 §8: the length and the message may come in any pieces. */
static void a_query_may_come_byte_by_byte(void **state)
{
    struct client *client = *state;
    uint8_t message[64];
    const uint32_t bytes = world_hex("001d" QUERY_A, message, sizeof message);

    for (uint32_t i = 0; i < bytes; i++)
        send_bytes(client, message + i, 1);
    answer_last(client, ANSWER);
    expect_answer(client, 0);
}

/* RFC 7766 §6.2.1.1: queries may be pipelined. */
static void queries_may_be_pipelined(void **state)
{
    struct client *client = *state;
    uint8_t messages[128];
    const uint32_t bytes =
        world_hex("001d" QUERY_A "001d 1235 0100 0001 0000 0000 0000 " EXAMPLE "0001 0001",
                  messages, sizeof messages);

    send_bytes(client, messages, bytes);
    assert_int_equal(client->world.query_count, 2);
    world_answer_hex(&client->world, client->world.queries[0].handle, ANSWER);
    answer_last(client, ANSWER);
    assert_int_equal(client->received_bytes, 2 * 47);
    expect_answer(client, 0);
    assert_int_equal(be16_get(client->received + 49), 0x1235);
}

/* §5.4: what UDP had to truncate comes whole. */
static void a_large_answer_comes_whole(void **state)
{
    struct client *client = *state;
    uint8_t wire[2048];
    uint32_t bytes = world_hex("beef 8180 0001 0032 0000 0000 " EXAMPLE "0001 0001", wire, 64);

    for (uint32_t i = 0; i < 50; i++)
        bytes += world_hex("c00c 0001 0001 0000003c 0004 5db8d822", wire + bytes, 16);
    ask(client, QUERY_A);
    nat_dns_answer(client->world.nat, client->world.queries[0].handle, wire, bytes, 0,
                   client->world.now_us);
    receive(client);
    assert_int_equal(client->received_bytes, 2 + 29 + 50 * 16);
    assert_int_equal(be16_get(client->received + 4), 0x8180); /* no TC */
    assert_int_equal(be16_get(client->received + 8), 50);
}

/* A guest that half-closes still gets its answers, then our FIN. */
static void answers_follow_a_half_close(void **state)
{
    struct client *client = *state;

    ask(client, QUERY_A);
    const struct world_segment fin = segment(client, TCP_FIN | TCP_ACK);

    world_send_tcp(&client->world, &fin);
    client->sequence++;
    receive(client);
    assert_false(client->ended);
    answer_last(client, ANSWER);
    expect_answer(client, 0);
    assert_true(client->ended);
}

/* RFC 7766 §6.2.3: an idle connection is closed. */
static void an_idle_connection_is_closed(void **state)
{
    struct client *client = *state;

    world_advance(&client->world, 29000000);
    receive(client);
    assert_false(client->ended);
    world_advance(&client->world, 1000000);
    receive(client);
    assert_true(client->ended);
}

/* A length no query of ours has ends the connection; nothing is kept of it. */
static void an_oversized_query_ends_the_connection(void **state)
{
    struct client *client = *state;

    send_bytes(client, (const uint8_t[]){0xff, 0xff, 1, 2, 3}, 5);
    assert_true(client->ended || client->reset);
    assert_int_equal(client->world.metrics.guest_malformed_total, 1);
}

/* A reset while the resolver works: the answer reaches nobody. */
static void a_reset_forgets_the_question(void **state)
{
    struct client *client = *state;

    ask(client, QUERY_A);
    const struct world_segment rst = segment(client, TCP_RST);

    world_send_tcp(&client->world, &rst);
    answer_last(client, ANSWER);
    assert_int_equal(client->received_bytes, 0);
    assert_int_equal(client->world.metrics.tcp_conns_active, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_connected, close_client)
    const struct CMUnitTest tests[] = {
        TEST(a_query_over_tcp_is_answered_with_its_length),
        TEST(a_query_may_come_byte_by_byte),
        TEST(queries_may_be_pipelined),
        TEST(a_large_answer_comes_whole),
        TEST(answers_follow_a_half_close),
        TEST(an_idle_connection_is_closed),
        TEST(an_oversized_query_ends_the_connection),
        TEST(a_reset_forgets_the_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
