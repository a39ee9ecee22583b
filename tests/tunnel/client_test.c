/* The client of the base protocol: l2-tunnel.md §6, §9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client_fixture.h"

static const struct l2t_options base = {.base_protocol_only = true};
/* §9.3: false when not connected; frames queued before "open" are sent on open, in order. */
static void frames_may_be_queued_before_open(void **state)
{
    struct talk t;

    (void)state;
    talk_make(&t, 1000, &base);
    assert_false(talk_send(&t, "early"));
    assert_int_equal(l2t_client_stats(t.client)->tx_refused_state, 1);
    l2t_client_connecting(t.client, t.now_ms);
    assert_true(talk_send(&t, "one"));
    assert_true(talk_send(&t, "two"));
    talk_outbound(&t, ""); /* the transport is not open */
    l2t_client_opened(t.client, true, t.now_ms);
    talk_outbound(&t, "a20300006f6e65");
    talk_outbound(&t, "a203000074776f");
    talk_outbound(&t, "");
    assert_int_equal(l2t_client_stats(t.client)->tx_frames, 2);
    assert_int_equal(l2t_client_stats(t.client)->tx_bytes, 6);
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §2: any other subprotocol: an error, close with 1002, never open. */
static void another_subprotocol_closes_with_1002(void **state)
{
    struct talk t;

    (void)state;
    talk_make(&t, 1000, &base);
    l2t_client_connecting(t.client, t.now_ms);
    assert_true(talk_send(&t, "one"));
    l2t_client_opened(t.client, false, t.now_ms);
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_SUBPROTOCOL);
    assert_int_equal(talk_event(&t, L2T_EVENT_CLOSE).close_code, 1002);
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_state(t.client), L2T_CLOSED);
    talk_outbound(&t, "");
    talk_free(&t);
}

/* §9.3: close() discards the queue; a closed client is never reused. */
static void closing_discards_the_queue(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    assert_true(talk_send(&t, "one"));
    l2t_client_closed(t.client);
    assert_int_equal(l2t_client_stats(t.client)->queued_bytes, 0);
    assert_false(talk_send(&t, "two"));
    l2t_client_connecting(t.client, t.now_ms);
    l2t_client_opened(t.client, true, t.now_ms);
    assert_int_equal(l2t_client_state(t.client), L2T_CLOSED);
    talk_outbound(&t, "");
    talk_feed(&t, "a2030000aa");
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §9.1 maxFrameSize: an outbound frame above it: error event and close. */
static void an_outbound_frame_above_the_limit_closes(void **state)
{
    static const struct l2t_options small = {.limits = {.frame_max_bytes = 4},
                                             .base_protocol_only = true};
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &small);
    assert_true(talk_send(&t, "1234"));
    assert_false(talk_send(&t, "12345"));
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_FRAME_TOO_LARGE);
    talk_event(&t, L2T_EVENT_CLOSE);
    assert_int_equal(l2t_client_stats(t.client)->tx_refused_size, 1);
    assert_false(talk_send(&t, "1"));
    talk_free(&t);
}

/* §9.1 maxQueuedBytes: encoded bytes; an enqueue that would exceed it: error event, close. */
static void exceeding_max_queued_bytes_closes(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 24, &base);
    assert_true(talk_send(&t, "12345678")); /* 12 */
    assert_true(talk_send(&t, "12345678")); /* 24: exactly full */
    assert_int_equal(l2t_client_stats(t.client)->queued_bytes, 24);
    talk_outbound(&t, "a20300003132333435363738");
    assert_int_equal(l2t_client_stats(t.client)->queued_bytes, 12);
    assert_true(talk_send(&t, "12345678"));
    assert_false(talk_send(&t, ""));
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_QUEUE_OVERFLOW);
    assert_int_equal(talk_event(&t, L2T_EVENT_CLOSE).close_code, 0);
    assert_int_equal(l2t_client_stats(t.client)->tx_refused_full, 1);
    talk_free(&t);
}

/* Whatever the sizes, max_queued_bytes of frames fit and come out as they went in. */
static void the_queue_holds_its_bytes_in_any_shape(void **state)
{
    static const struct l2t_options big = {.limits = {.frame_max_bytes = 300},
                                           .base_protocol_only = true};
    struct talk t;
    uint8_t frame[300];
    uint32_t seed = 3;
    uint32_t in = 0;
    uint32_t out = 0;
    uint32_t sizes[4096];

    (void)state;
    talk_open(&t, 2000, &big);
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525u + 1013904223u;
        const uint32_t bytes = (seed >> 16) % 301;
        const uint32_t queued = l2t_client_stats(t.client)->queued_bytes;

        if (queued + 4 + bytes <= 2000) { /* then it must be taken */
            memset(frame, (int)(in & 0xff), sizeof frame);
            sizes[in % 4096] = bytes;
            in++;
            assert_true(l2t_client_send(t.client, frame, bytes));
            continue;
        }
        for (uint32_t drops = 1 + (seed >> 28); drops > 0 && out < in; drops--) {
            uint32_t got;
            const uint8_t *wire = l2t_client_outbound(t.client, &got);

            assert_non_null(wire);
            assert_memory_equal(wire, "\xa2\x03\x00\x00", 4);
            assert_int_equal(got, 4 + sizes[out % 4096]);
            if (got > 4) {
                assert_int_equal(wire[4], out & 0xff);
                assert_int_equal(wire[got - 1], out & 0xff);
            }
            l2t_client_outbound_done(t.client);
            out++;
        }
    }
    assert_int_equal(l2t_client_stats(t.client)->tx_refused_full, 0);
    assert_true(out > 1000);
    talk_free(&t);
}

/* Empty frames need more room than they count for: queues frames behind `skip` sent ones until
 * the queue is full or `limit` are in. Returns how many went in. */
static uint32_t fill(struct talk *talk, uint32_t skip, uint32_t limit)
{
    static const uint8_t frame[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint32_t count = 0;
    uint32_t bytes;

    static const struct l2t_options tight = {
        .limits = {.frame_max_bytes = 8, .control_max_bytes = 8}, .base_protocol_only = true};

    talk_open(talk, 400, &tight);
    for (uint32_t i = 0; i < 20; i++)
        assert_true(l2t_client_send(talk->client, frame, 8));
    for (uint32_t i = 0; i < skip; i++) {
        l2t_client_outbound(talk->client, &bytes);
        l2t_client_outbound_done(talk->client);
    }
    while (count < limit && l2t_client_send(talk->client, frame, count % 7 == 6 ? 7 : 0))
        count++;
    return count;
}

/* A queue that is full to the last byte of its ring loses and spoils nothing. */
static void a_full_ring_keeps_every_byte(void **state)
{
    (void)state;
    for (uint32_t skip = 0; skip < 20; skip++) {
        struct talk t;
        const uint32_t room = fill(&t, skip, UINT32_MAX);

        talk_free(&t);
        assert_int_equal(fill(&t, skip, room), room);
        for (uint32_t i = skip; i < 20; i++)
            talk_outbound(&t, "a20300000102030405060708");
        for (uint32_t i = 0; i < room; i++)
            talk_outbound(&t, i % 7 == 6 ? "a203000001020304050607" : "a2030000");
        talk_outbound(&t, "");
        talk_free(&t);
    }
}

/* The same message until it is done, also while more is queued behind it. */
static void an_outbound_message_stays_until_done(void **state)
{
    struct talk t;
    uint32_t bytes;

    (void)state;
    talk_open(&t, 1000, &base);
    assert_true(talk_send(&t, "one"));
    const uint8_t *wire = l2t_client_outbound(t.client, &bytes);
    assert_true(talk_send(&t, "two"));
    assert_ptr_equal(l2t_client_outbound(t.client, &bytes), wire);
    assert_memory_equal(wire, "\xa2\x03\x00\x00one", 7);
    talk_outbound(&t, "a20300006f6e65");
    talk_outbound(&t, "a203000074776f");
    talk_free(&t);
}

/* Room that is begun and not ended leaves no trace. */
static void a_frame_begun_and_not_ended_is_not_sent(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    assert_non_null(l2t_client_send_begin(t.client, 100));
    assert_true(talk_send(&t, "one"));
    assert_non_null(l2t_client_send_begin(t.client, 100));
    talk_feed(&t, "a203010001"); /* the PONG takes its place */
    l2t_client_send_end(t.client);
    talk_outbound(&t, "a20300006f6e65");
    talk_outbound(&t, "a203020001");
    talk_outbound(&t, "");
    assert_int_equal(l2t_client_stats(t.client)->tx_frames, 1);
    talk_free(&t);
}

/* §3: FRAME, an empty one too, is handed to the next layer. */
static void frames_are_handed_up(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    talk_feed(&t, "a2030000aabbcc");
    const struct l2t_event event = talk_event(&t, L2T_EVENT_FRAME);
    assert_int_equal(event.frame_bytes, 3);
    assert_memory_equal(event.frame, "\xaa\xbb\xcc", 3);
    talk_event(&t, L2T_EVENT_NONE);
    talk_feed(&t, "a2030000");
    assert_int_equal(talk_event(&t, L2T_EVENT_FRAME).frame_bytes, 0);
    assert_int_equal(l2t_client_stats(t.client)->rx_frames, 2);
    assert_int_equal(l2t_client_stats(t.client)->rx_bytes, 3);
    talk_free(&t);
}

/* §8: "the receiver MUST answer at once with a PONG carrying the identical payload". */
static void ping_is_answered_with_its_payload(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    talk_feed(&t, "a20301000000000000000001");
    talk_outbound(&t, "a20302000000000000000001");
    talk_feed(&t, "a2030100");
    talk_outbound(&t, "a2030200");
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §6: unknown type within limits: drop silently. Flags: process normally. */
static void unknown_types_and_flags_are_no_errors(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    talk_feed(&t, "a2034200aabb");
    talk_feed(&t, "a203100001000001"); /* HELLO and BATCH: unknown to the base protocol */
    talk_feed(&t, "a20311000001aa");
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_unknown_type, 3);
    assert_null(l2t_client_peer(t.client));
    talk_feed(&t, "a20300ffaa");
    talk_event(&t, L2T_EVENT_FRAME);
    talk_free(&t);
}

/* §6: undecodable binary message: drop, emit a throttled error event, keep the tunnel. */
static void undecodable_messages_are_reported_once_an_interval(void **state)
{
    static const struct l2t_options throttle = {.error_interval_ms = 1000,
                                                .base_protocol_only = true};
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &throttle);
    talk_feed(&t, "a2");
    const struct l2t_event event = talk_event(&t, L2T_EVENT_ERROR);
    assert_int_equal(event.reason, L2T_REASON_UNDECODABLE);
    assert_int_equal(event.code, L2T_ERR_SHORT);
    t.now_ms += 999;
    talk_feed(&t, "00030000");
    talk_event(&t, L2T_EVENT_NONE);
    t.now_ms += 1;
    talk_feed(&t, "a2020000");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, L2T_ERR_VERSION);
    assert_int_equal(l2t_client_stats(t.client)->rx_undecodable, 3);
    assert_int_equal(l2t_client_stats(t.client)->errors_suppressed, 1);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    talk_free(&t);
}

/* §9.1 errorIntervalMs: 0 = unlimited. */
static void an_interval_of_0_throttles_nothing(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    for (int i = 0; i < 3; i++) {
        talk_feed(&t, "a2");
        talk_event(&t, L2T_EVENT_ERROR);
    }
    talk_free(&t);
}

/* §5: an ERROR is reported by number and does not itself close the tunnel. */
static void error_is_reported_and_the_tunnel_stays(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &base);
    talk_feed(&t, "a2037f000006000162");
    struct l2t_event event = talk_event(&t, L2T_EVENT_ERROR);
    assert_int_equal(event.reason, L2T_REASON_PEER_ERROR);
    assert_int_equal(event.code, 6);
    talk_feed(&t, "a2037f00676f2061776179");
    event = talk_event(&t, L2T_EVENT_ERROR);
    assert_int_equal(event.code, -1);
    assert_int_equal(event.detail, 7);
    talk_feed(&t, "a2037f00ffff0000");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, 65535);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    assert_int_equal(l2t_client_stats(t.client)->rx_errors, 3);
    talk_free(&t);
}

/* §9.1: min > max is a range error. */
static void options_out_of_range_are_refused(void **state)
{
    static const struct l2t_options crossed = {.keepalive_min_ms = 2, .keepalive_max_ms = 1};
    static const struct l2t_options huge = {.limits = {.frame_max_bytes = 1u << 24}};
    _Alignas(16) static uint8_t memory[65536];

    (void)state;
    assert_int_equal(l2t_client_bytes(1000, &crossed), 0);
    assert_int_equal(l2t_client_bytes(1000, &huge), 0);
    assert_int_equal(l2t_client_bytes(UINT32_MAX, &base), 0);
    assert_null(l2t_client_init(memory, sizeof memory, 1000, &crossed));
    assert_null(l2t_client_init(memory, l2t_client_bytes(1000, &base) - 1, 1000, &base));
    assert_null(l2t_client_init(memory + 1, sizeof memory - 1, 1000, &base));
    assert_non_null(l2t_client_init(memory, l2t_client_bytes(1000, &base), 1000, &base));
}

/* A flood of PINGs that cannot be answered ends in the overflow of §9.1, not in memory. */
static void pings_that_cannot_be_answered_overflow_the_queue(void **state)
{
    struct talk t;

    (void)state;
    talk_open(&t, 100, &base);
    for (int i = 0; i < 100 && l2t_client_state(t.client) == L2T_OPEN; i++)
        talk_feed(&t, "a2030100");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_QUEUE_OVERFLOW);
    talk_event(&t, L2T_EVENT_CLOSE);
    talk_free(&t);
}

/* Events nobody fetches are bounded and counted; CLOSE is never among the lost. */
static void events_nobody_fetches_are_counted(void **state)
{
    struct talk t;
    int pongs = 0;

    (void)state;
    talk_open(&t, 100, &base);
    for (int i = 0; i < 20; i++)
        talk_feed(&t, "a2030200");
    l2t_client_send_begin(t.client, 3000);
    for (;;) {
        const struct l2t_event event = l2t_client_event(t.client);

        if (event.type != L2T_EVENT_PONG) {
            assert_int_equal(event.type, L2T_EVENT_CLOSE);
            break;
        }
        pongs++;
    }
    assert_int_equal(pongs + (int)l2t_client_stats(t.client)->events_lost, 21);
    talk_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_may_be_queued_before_open),
        cmocka_unit_test(another_subprotocol_closes_with_1002),
        cmocka_unit_test(closing_discards_the_queue),
        cmocka_unit_test(an_outbound_frame_above_the_limit_closes),
        cmocka_unit_test(exceeding_max_queued_bytes_closes),
        cmocka_unit_test(the_queue_holds_its_bytes_in_any_shape),
        cmocka_unit_test(a_full_ring_keeps_every_byte),
        cmocka_unit_test(an_outbound_message_stays_until_done),
        cmocka_unit_test(a_frame_begun_and_not_ended_is_not_sent),
        cmocka_unit_test(frames_are_handed_up),
        cmocka_unit_test(ping_is_answered_with_its_payload),
        cmocka_unit_test(unknown_types_and_flags_are_no_errors),
        cmocka_unit_test(undecodable_messages_are_reported_once_an_interval),
        cmocka_unit_test(an_interval_of_0_throttles_nothing),
        cmocka_unit_test(error_is_reported_and_the_tunnel_stays),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(pings_that_cannot_be_answered_overflow_the_queue),
        cmocka_unit_test(events_nobody_fetches_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
