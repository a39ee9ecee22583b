/* The client with extensions: l2-extensions.md §1, §2, §5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "tunnel/batch.h"

static const struct l2t_options extended = {.random_seed = 1};

/* HELLO of our client: BATCH, frames <= 2048, messages <= 65536. */
#define OUR_HELLO "a203100001000001010400000800020400010000"
/* A proxy's: BATCH, frames <= 2048, messages <= 26. */
#define PROXY_HELLO_26                                                                             \
    "a2031000010000010204"                                                                         \
    "0000001a"

static void talk_greet(struct talk *talk, const char *proxy_hello)
{
    talk_open(talk, 100000, &extended);
    talk_outbound(talk, OUR_HELLO);
    if (proxy_hello != NULL)
        talk_feed(talk, proxy_hello);
    talk_event(talk, L2T_EVENT_NONE);
}

/* §1: "The client sends HELLO as its first message after open, before any FRAME." */
static void hello_is_the_first_message(void **state)
{
    struct talk t;

    (void)state;
    talk_make(&t, 1000, &extended);
    l2t_client_connecting(t.client, t.now_ms);
    assert_true(talk_send(&t, "early"));
    assert_int_equal(l2t_client_stats(t.client)->queued_bytes, 9); /* HELLO is not counted */
    l2t_client_opened(t.client, true, t.now_ms);
    talk_outbound(&t, OUR_HELLO);
    talk_outbound(&t, "a20300006561726c79");
    talk_outbound(&t, "");
    talk_free(&t);
}

/* With an unknown peer both sides speak the base protocol exactly. */
static void without_a_hello_from_the_peer_frames_go_one_by_one(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, NULL);
    assert_null(l2t_client_peer(t.client));
    assert_true(talk_send(&t, "a"));
    assert_true(talk_send(&t, "b"));
    talk_outbound(&t, "a203000061");
    talk_outbound(&t, "a203000062");
    talk_outbound(&t, "");
    assert_int_equal(l2t_client_stats(t.client)->tx_batches, 0);
    talk_free(&t);
}

/* A HELLO without the BATCH flag does not ask for batches. */
static void a_peer_without_the_flag_gets_no_batch(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, "a203100001000000");
    assert_non_null(l2t_client_peer(t.client));
    assert_true(talk_send(&t, "a"));
    assert_true(talk_send(&t, "b"));
    talk_outbound(&t, "a203000061");
    talk_outbound(&t, "a203000062");
    talk_free(&t);
}

/* §2: all that waits, in order, up to the peer's tag 2; a lone frame goes as FRAME. */
static void what_waits_goes_together_up_to_the_peers_limit(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    assert_int_equal(l2t_client_peer(t.client)->message_max_bytes, 26);
    assert_true(talk_send(&t, "first"));  /* 4 + 7 */
    assert_true(talk_send(&t, "second")); /* 19 */
    assert_true(talk_send(&t, "third"));  /* 26: exactly full */
    assert_true(talk_send(&t, "x"));
    talk_outbound(&t, "a2031100"
                      "00056669727374"
                      "00067365636f6e64"
                      "00057468697264");
    talk_outbound(&t, "a203000078");
    talk_outbound(&t, "");
    assert_int_equal(l2t_client_stats(t.client)->tx_batches, 1);
    assert_int_equal(l2t_client_stats(t.client)->tx_messages, 3); /* HELLO among them */
    assert_int_equal(l2t_client_stats(t.client)->queued_bytes, 0);
    talk_free(&t);
}

/* A frame that alone fills more than tag 2 still goes, as FRAME, within the frame limit. */
static void a_frame_too_long_for_a_batch_goes_as_frame(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    assert_true(talk_send(&t, "a"));
    assert_true(talk_send(&t, "0123456789012345678901234567"));
    assert_true(talk_send(&t, "b"));
    talk_outbound(&t, "a203000061");
    talk_outbound(&t, "a203000030313233343536373839303132333435363738393031323334353637");
    talk_outbound(&t, "a203000062");
    talk_free(&t);
}

/* §5: delivered in the order given, control messages and empty frames among them. */
static void other_messages_keep_their_place_between_batches(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, "a2031000010000010204"
                   "00001000");
    assert_true(talk_send(&t, "a"));
    assert_true(talk_send(&t, "b"));
    talk_feed(&t, "a203010077");
    assert_true(talk_send(&t, "c"));
    assert_true(talk_send(&t, "")); /* no entry of length 0: goes as FRAME */
    assert_true(talk_send(&t, "d"));
    assert_true(talk_send(&t, "e"));
    talk_outbound(&t, "a2031100000161000162");
    talk_outbound(&t, "a203020077");
    talk_outbound(&t, "a203000063");
    talk_outbound(&t, "a2030000");
    talk_outbound(&t, "a2031100000164000165");
    talk_outbound(&t, "");
    talk_free(&t);
}

/* Batches of what a full queue holds, over many turns of its ring. */
static void batches_carry_every_frame_once_and_in_order(void **state)
{
    struct talk t;
    uint8_t frame[200];
    uint32_t sizes[4096];
    uint32_t seed = 5;
    uint32_t in = 0;
    uint32_t out = 0;

    (void)state;
    talk_open(&t, 3000, &extended);
    talk_outbound(&t, OUR_HELLO);
    talk_feed(&t, "a2031000010000010204"
                  "00000258"); /* 600 */
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525u + 1013904223u;
        const uint32_t bytes = 1 + (seed >> 16) % 200;

        if ((seed >> 30) != 0 && l2t_client_stats(t.client)->queued_bytes + 4 + bytes <= 3000) {
            memset(frame, (int)(in & 0xff), sizeof frame);
            sizes[in++ % 4096] = bytes;
            assert_true(l2t_client_send(t.client, frame, bytes));
            continue;
        }
        uint32_t got;
        const uint8_t *wire = l2t_client_outbound(t.client, &got);
        struct l2t_message message;
        struct l2t_batch_reader reader = {0};
        const struct l2t_limits limits = {2048, 256, 600, 0};

        if (wire == NULL) {
            assert_int_equal(in, out);
            continue;
        }
        assert_int_equal(l2t_decode(&message, wire, got, &limits), 0);
        if (message.type == L2T_FRAME) {
            assert_int_equal(message.payload_bytes, sizes[out % 4096]);
            assert_int_equal(message.payload[0], out++ & 0xff);
        } else {
            uint32_t frame_bytes;
            const uint8_t *entry;

            assert_int_equal(message.type, L2T_BATCH);
            assert_true(l2t_batch_open(&reader, message.payload, message.payload_bytes, 200) > 1);
            while ((entry = l2t_batch_next(&reader, &frame_bytes)) != NULL) {
                assert_int_equal(frame_bytes, sizes[out % 4096]);
                assert_int_equal(entry[0], out & 0xff);
                assert_int_equal(entry[frame_bytes - 1], out++ & 0xff);
            }
        }
        l2t_client_outbound_done(t.client);
    }
    assert_true(out > 1000);
    assert_true(l2t_client_stats(t.client)->tx_batches > 100);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    talk_free(&t);
}

/* §2: several FRAME events, in order, from one message. */
static void a_batch_becomes_its_frames(void **state)
{
    struct talk t;
    struct l2t_event event;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    talk_feed(&t, "a20311000003aabbcc0002ddee");
    event = talk_event(&t, L2T_EVENT_FRAME);
    assert_int_equal(event.frame_bytes, 3);
    assert_memory_equal(event.frame, "\xaa\xbb\xcc", 3);
    event = talk_event(&t, L2T_EVENT_FRAME);
    assert_int_equal(event.frame_bytes, 2);
    assert_memory_equal(event.frame, "\xdd\xee", 2);
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_frames, 2);
    assert_int_equal(l2t_client_stats(t.client)->rx_bytes, 5);
    assert_int_equal(l2t_client_stats(t.client)->rx_batches, 1);
    talk_free(&t);
}

/* §2: "malformed as a whole: no frame of it is delivered"; base rules, l2-tunnel.md §6. */
static void a_malformed_batch_delivers_nothing(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    talk_feed(&t, "a20311000001aa0003bbcc");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, L2T_ERR_BATCH);
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_frames, 0);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    talk_free(&t);
}

/* Frames nobody fetched are gone with the next feed: they were borrowed. */
static void unfetched_frames_end_with_the_next_feed(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    talk_feed(&t, "a20311000001aa0001bb");
    talk_event(&t, L2T_EVENT_FRAME);
    talk_feed(&t, "a2030000cc");
    assert_int_equal(talk_event(&t, L2T_EVENT_FRAME).frame[0], 0xcc);
    talk_event(&t, L2T_EVENT_NONE);
    talk_free(&t);
}

/* §1: "a truncated TLV makes the whole HELLO malformed". A later version is an unknown type. */
static void a_malformed_hello_changes_nothing(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, NULL);
    talk_feed(&t, "a20310000100000102");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, L2T_ERR_HELLO);
    talk_feed(&t, "a203100002000001");
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_unknown_type, 1);
    assert_null(l2t_client_peer(t.client));
    talk_feed(&t, "a203100001000001");
    assert_non_null(l2t_client_peer(t.client));
    talk_free(&t);
}

/* §1: "HELLO may be sent once per direction and connection; a second one is a violation." */
static void a_second_hello_is_a_violation(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, PROXY_HELLO_26);
    talk_feed(&t, "a203100001000000");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, L2T_ERR_HELLO_AGAIN);
    assert_int_equal(l2t_client_peer(t.client)->message_max_bytes, 26);
    talk_free(&t);
}

/* §1: "Either side may send frames up to min(own limit, peer's tag 1)", from then on. */
static void the_peers_frame_limit_binds_from_its_hello_on(void **state)
{
    struct talk t;

    (void)state;
    talk_greet(&t, "a2031000010000010104"
                   "00000004");
    assert_true(talk_send(&t, "1234"));
    talk_outbound(&t, "a203000031323334");
    assert_false(talk_send(&t, "12345"));
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_FRAME_TOO_LARGE);
    talk_event(&t, L2T_EVENT_CLOSE);
    talk_free(&t);

    talk_greet(&t, NULL); /* queued before the limit was known: not sent either */
    assert_true(talk_send(&t, "12"));
    assert_true(talk_send(&t, "12345"));
    talk_feed(&t, "a2031000010000010104"
                  "00000004");
    talk_outbound(&t, "a20300003132");
    talk_outbound(&t, "");
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_FRAME_TOO_LARGE);
    talk_event(&t, L2T_EVENT_CLOSE);
    talk_free(&t);
}

/* §1: HELLO must pass the control limit; where it cannot, the base protocol is spoken. */
static void a_small_control_limit_means_no_hello(void **state)
{
    static const struct l2t_options small = {.limits = {.control_max_bytes = 15}};
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &small);
    assert_true(talk_send(&t, "a"));
    talk_outbound(&t, "a203000061");
    talk_free(&t);
}

/* §4: frames above 65 535 bytes pass as FRAME, next to batches. */
static void jumbo_frames_go_alone(void **state)
{
    static const struct l2t_options jumbo = {.limits = {.frame_max_bytes = 65550}};
    static uint8_t frame[65550];
    struct talk t;
    uint32_t bytes;

    (void)state;
    talk_open(&t, 400000, &jumbo);
    l2t_client_outbound(t.client, &bytes);
    l2t_client_outbound_done(t.client);
    talk_feed(&t, "a2031000010000010104"
                  "0001000e"
                  "0204"
                  "00040000");
    assert_true(l2t_client_send(t.client, frame, 100));
    assert_true(l2t_client_send(t.client, frame, 65535));
    assert_true(l2t_client_send(t.client, frame, 65550));
    const uint8_t *wire = l2t_client_outbound(t.client, &bytes);
    assert_int_equal(wire[2], L2T_BATCH);
    assert_int_equal(bytes, 4 + 102 + 65537);
    l2t_client_outbound_done(t.client);
    wire = l2t_client_outbound(t.client, &bytes);
    assert_int_equal(wire[2], L2T_FRAME);
    assert_int_equal(bytes, 4 + 65550);
    l2t_client_outbound_done(t.client);
    talk_outbound(&t, "");
    talk_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_is_the_first_message),
        cmocka_unit_test(without_a_hello_from_the_peer_frames_go_one_by_one),
        cmocka_unit_test(a_peer_without_the_flag_gets_no_batch),
        cmocka_unit_test(what_waits_goes_together_up_to_the_peers_limit),
        cmocka_unit_test(a_frame_too_long_for_a_batch_goes_as_frame),
        cmocka_unit_test(other_messages_keep_their_place_between_batches),
        cmocka_unit_test(batches_carry_every_frame_once_and_in_order),
        cmocka_unit_test(a_batch_becomes_its_frames),
        cmocka_unit_test(a_malformed_batch_delivers_nothing),
        cmocka_unit_test(unfetched_frames_end_with_the_next_feed),
        cmocka_unit_test(a_malformed_hello_changes_nothing),
        cmocka_unit_test(a_second_hello_is_a_violation),
        cmocka_unit_test(the_peers_frame_limit_binds_from_its_hello_on),
        cmocka_unit_test(a_small_control_limit_means_no_hello),
        cmocka_unit_test(jumbo_frames_go_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
