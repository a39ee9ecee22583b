/* The client's keepalive: l2-tunnel.md §8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client_fixture.h"

static const struct l2t_options base = {.base_protocol_only = true};
static const struct l2t_options keepalive = {
    .keepalive_min_ms = 5000,
    .keepalive_max_ms = 15000,
    .random_seed = 42,
    .base_protocol_only = true,
};

/* The nonce of the PING that must be next, and nothing else. */
static uint32_t take_ping(struct talk *talk)
{
    uint32_t bytes;
    const uint8_t *wire = l2t_client_outbound(talk->client, &bytes);

    assert_non_null(wire);
    assert_int_equal(bytes, 8);
    assert_memory_equal(wire, "\xa2\x03\x01\x00", 4);
    const uint32_t nonce =
        (uint32_t)wire[4] << 24 | (uint32_t)wire[5] << 16 | (uint32_t)wire[6] << 8 | wire[7];
    l2t_client_outbound_done(talk->client);
    return nonce;
}

static void feed_pong(struct talk *talk, uint32_t nonce)
{
    const uint8_t wire[] = {0xa2,
                            3,
                            2,
                            0,
                            (uint8_t)(nonce >> 24),
                            (uint8_t)(nonce >> 16),
                            (uint8_t)(nonce >> 8),
                            (uint8_t)nonce};

    l2t_client_feed(talk->client, wire, sizeof wire, talk->now_ms);
}

/* §8 Interval: uniform random in [5000, 15000] ms, chosen anew each time. */
static void pings_come_at_random_intervals_within_the_bounds(void **state)
{
    struct talk t;
    uint64_t low = UINT64_MAX;
    uint64_t high = 0;
    uint64_t sum = 0;
    uint32_t nonce = 0;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    for (int i = 0; i < 1000; i++) {
        const uint64_t from = t.now_ms;
        const uint64_t next = l2t_client_tick(t.client, from);

        talk_outbound(&t, ""); /* not before its time */
        l2t_client_tick(t.client, next - 1);
        talk_outbound(&t, "");
        t.now_ms = next;
        l2t_client_tick(t.client, next);
        const uint32_t this_nonce = take_ping(&t);
        if (i > 0)
            assert_int_equal(this_nonce, nonce + 1); /* +1 per PING */
        nonce = this_nonce;
        feed_pong(&t, nonce);
        talk_event(&t, L2T_EVENT_PONG);
        low = next - from < low ? next - from : low;
        high = next - from > high ? next - from : high;
        sum += next - from;
    }
    assert_true(low >= 5000 && low < 5200);
    assert_true(high <= 15000 && high > 14800);
    assert_true(sum / 1000 > 9500 && sum / 1000 < 10500);
    talk_free(&t);
}

/* §8: both bounds 0 disables; other clients than one with the same seed differ. */
static void keepalive_of_0_and_0_is_off(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    assert_true(l2t_client_tick(t.client, 1000000000) == UINT64_MAX);
    talk_outbound(&t, "");
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    talk_free(&t);
}

/* §8 RTT sample: on PONG whose first 4 bytes match a remembered nonce. */
static void pong_to_a_remembered_nonce_gives_the_rtt(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    assert_int_equal(l2t_client_stats(t.client)->last_rtt_ms, UINT32_MAX);
    t.now_ms = l2t_client_tick(t.client, t.now_ms);
    l2t_client_tick(t.client, t.now_ms);
    const uint32_t nonce = take_ping(&t);
    t.now_ms += 37;
    feed_pong(&t, nonce + 1); /* "payloads that match nothing outstanding are not errors" */
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, UINT32_MAX);
    feed_pong(&t, nonce);
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, 37);
    assert_int_equal(l2t_client_stats(t.client)->last_rtt_ms, 37);
    feed_pong(&t, nonce); /* a second one matches nothing any more */
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, UINT32_MAX);
    talk_feed(&t, "a2030200aabb"); /* too short for a nonce */
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, UINT32_MAX);
    talk_feed(&t, "a2030200");
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, UINT32_MAX);
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §8 Outstanding: at most 16 remembered, oldest forgotten. */
static void sixteen_pings_are_remembered(void **state)
{
    struct talk t;
    uint32_t first = 0;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    for (int i = 0; i < 17; i++) {
        t.now_ms = l2t_client_tick(t.client, t.now_ms);
        l2t_client_tick(t.client, t.now_ms);
        const uint32_t nonce = take_ping(&t);
        first = i == 0 ? nonce : first;
        talk_feed(&t, "a2034200"); /* it lives, but does not answer */
    }
    feed_pong(&t, first);
    assert_int_equal(talk_event(&t, L2T_EVENT_PONG).rtt_ms, UINT32_MAX);
    for (uint32_t i = 1; i <= 16; i++) {
        feed_pong(&t, first + i);
        assert_true(talk_event(&t, L2T_EVENT_PONG).rtt_ms != UINT32_MAX);
    }
    talk_free(&t);
}

/* §8 Payload: empty if the control limit is below 4. */
static void ping_is_empty_when_the_limit_is_below_4(void **state)
{
    struct l2t_options options = keepalive;
    struct talk t;

    (void)state;
    options.limits.control_max_bytes = 3;
    talk_open(&t, 1000, &options);
    l2t_client_tick(t.client, l2t_client_tick(t.client, t.now_ms));
    talk_outbound(&t, "a2030100");
    talk_free(&t);
}

/* §8 Dead peer: silent for more than 2 x upper bound with a PING sent since: error, close. */
static void a_silent_peer_is_declared_dead(void **state)
{
    struct talk t;
    uint64_t next;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    next = t.now_ms;
    while (l2t_client_state(t.client) == L2T_OPEN) {
        t.now_ms = next;
        next = l2t_client_tick(t.client, t.now_ms);
        if (l2t_client_state(t.client) == L2T_OPEN)
            talk_event(&t, L2T_EVENT_NONE);
    }
    assert_int_equal(t.now_ms, 1000 + 30000 + 1); /* "more than": not at 30000 */
    assert_true(next == UINT64_MAX);
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_DEAD_PEER);
    talk_event(&t, L2T_EVENT_CLOSE);
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §8: "more than" twice the upper bound. */
static void at_exactly_twice_the_bound_the_peer_is_not_dead(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    l2t_client_tick(t.client, l2t_client_tick(t.client, t.now_ms));
    l2t_client_tick(t.client, 1000 + 30000);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    l2t_client_tick(t.client, 1000 + 30001);
    assert_int_equal(l2t_client_state(t.client), L2T_CLOSED);
    talk_free(&t);
}

/* §8: "at least one PING sent since the last inbound message". */
static void without_a_ping_since_nobody_is_dead(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &keepalive);
    t.now_ms += 1000000; /* the owner slept: the first tick comes far too late */
    l2t_client_tick(t.client, t.now_ms);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    take_ping(&t);
    talk_free(&t);
}

/* §8: the clock is advanced by every valid message of any type, not by undecodable ones. */
static void only_valid_messages_keep_the_peer_alive(void **state)
{
    static const struct {
        const char *wire;
        enum l2t_state state;
    } rows[] = {{"a2034200", L2T_OPEN}, {"a2037f00", L2T_OPEN}, {"a2030100", L2T_OPEN},
                {"a2030200", L2T_OPEN}, {"a2030000", L2T_OPEN}, {"a2020000", L2T_CLOSED}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk t;

        talk_open(&t, 1000, &keepalive);
        t.now_ms = l2t_client_tick(t.client, t.now_ms);
        l2t_client_tick(t.client, t.now_ms);
        talk_feed(&t, rows[i].wire);
        l2t_client_tick(t.client, 1000 + 30001);
        assert_int_equal(l2t_client_state(t.client), rows[i].state);
        talk_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pings_come_at_random_intervals_within_the_bounds),
        cmocka_unit_test(keepalive_of_0_and_0_is_off),
        cmocka_unit_test(pong_to_a_remembered_nonce_gives_the_rtt),
        cmocka_unit_test(sixteen_pings_are_remembered),
        cmocka_unit_test(ping_is_empty_when_the_limit_is_below_4),
        cmocka_unit_test(a_silent_peer_is_declared_dead),
        cmocka_unit_test(at_exactly_twice_the_bound_the_peer_is_not_dead),
        cmocka_unit_test(without_a_ping_since_nobody_is_dead),
        cmocka_unit_test(only_valid_messages_keep_the_peer_alive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
