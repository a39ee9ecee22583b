/* SUPER, in the codec and in the client: l2-extensions.md §1, §5, §6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "tunnel/super.h"
#include "vectors.h"

/* A segment of six bytes, as it travels. */
#define FRAME                                                                                      \
    "525400123456020000000001080045000"                                                            \
    "02e0000400040060000"                                                                          \
    "5db8d8220a00020f0050c00010000001010203045018ffff00000000616263646566"
#define SUPER "a203120005a8" FRAME

#define OUR_HELLO                                                                                  \
    "a203100001000005"                                                                             \
    "01040001000e"                                                                                 \
    "020400010014" /* BATCH and SUPER */
#define PROXY_SUPER                                                                                \
    "a203100001000005"                                                                             \
    "01040001000e"                                                                                 \
    "020400010014"
#define PROXY_BATCH                                                                                \
    "a203100001000001"                                                                             \
    "01040001000e"                                                                                 \
    "020400010014"
#define PROXY_SHORT                                                                                \
    "a203100001000005"                                                                             \
    "01040000003c"                                                                                 \
    "020400010014" /* frames of 60 bytes */
#define PROXY_MIDGET                                                                               \
    "a203100001000005"                                                                             \
    "01040001000e"                                                                                 \
    "020400000041" /* messages of 65 */

static const struct l2t_options with_super = {.random_seed = 1, .super_frames = true};

static void check_super(const struct vector *vector)
{
    char got[64] = "ERR_SUPER";
    struct l2t_super super = {0};
    size_t bytes;
    uint8_t *payload = vector_bytes(vector->field[2], &bytes);
    const int error = l2t_super_parse(&super, payload, (uint32_t)bytes,
                                      (uint32_t)strtoul(vector->field[1], NULL, 10));

    if (error == 0) {
        assert_ptr_equal(super.frame, payload + L2T_SUPER_HEAD_BYTES);
        snprintf(got, sizeof got, "%u %u %u", super.gso_bytes,
                 l2t_super_headers(super.frame, super.frame_bytes), super.frame_bytes);
    } else {
        assert_int_equal(error, L2T_ERR_SUPER);
        assert_null(super.frame);
    }
    if (strcmp(got, vector->field[3]) != 0)
        fail_msg("%s:%u %s: %s, want %s", vector->file, vector->line, vector->field[0], got,
                 vector->field[3]);
    vector_bytes_free(payload, bytes);
}

/* §6: "Malformed (not TCP, headers cut short, lengths that disagree, over the announced frame
 * limit)". */
static void super_reads_as_the_vectors_say(void **state)
{
    (void)state;
    vectors_for_each("l2t_super", 4, check_super);
}

/* §6: "IP total length covers the whole super-frame (<= 65535)". */
static void the_longest_super_frame_is_65549_bytes(void **state)
{
    uint8_t *frame = calloc(1, L2T_SUPER_FRAME_MAX + 1);
    size_t bytes;
    uint8_t *shorter = vector_bytes(FRAME, &bytes);

    (void)state;
    memcpy(frame, shorter, bytes);
    frame[16] = frame[17] = 0xff;
    assert_int_equal(l2t_super_headers(frame, L2T_SUPER_FRAME_MAX), 54);
    assert_int_equal(l2t_super_headers(frame, L2T_SUPER_FRAME_MAX + 1), 0);
    frame[16] = frame[17] = 0; /* 65536 */
    assert_int_equal(l2t_super_headers(frame, L2T_SUPER_FRAME_MAX + 1), 0);
    vector_bytes_free(shorter, bytes);
    free(frame);
}

static void greet(struct talk *talk, const char *proxy_hello)
{
    talk_open(talk, 300000, &with_super);
    talk_outbound(talk, OUR_HELLO);
    if (proxy_hello != NULL)
        talk_feed(talk, proxy_hello);
    talk_event(talk, L2T_EVENT_NONE);
}

static bool send_super(struct talk *talk)
{
    size_t bytes;
    uint8_t *frame = vector_bytes(FRAME, &bytes);
    uint8_t *room = l2t_client_super_begin(talk->client, (uint32_t)bytes, 1448);

    if (room != NULL) {
        memcpy(room, frame, bytes);
        l2t_client_send_end(talk->client);
    }
    vector_bytes_free(frame, bytes);
    return room != NULL;
}

/* §1: the flag, and tags that fit super-frames; only when asked for. */
static void super_is_announced_only_when_the_options_say_so(void **state)
{
    static const struct l2t_options plain = {.random_seed = 1};
    struct talk t;

    (void)state;
    greet(&t, NULL);
    talk_free(&t);
    talk_open(&t, 1000, &plain);
    talk_outbound(&t, "a20310000100000101040000080002040001"
                      "0000");
    talk_feed(&t, PROXY_SUPER);
    assert_int_equal(l2t_client_super_max(t.client), 0);
    talk_free(&t);
}

/* §5: order is that of sending, and a super-frame is never inside a BATCH. */
static void a_super_frame_keeps_its_place_between_frames(void **state)
{
    struct talk t;

    (void)state;
    greet(&t, PROXY_SUPER);
    assert_int_equal(l2t_client_super_max(t.client), 65550);
    assert_true(talk_send(&t, "a"));
    assert_true(talk_send(&t, "b"));
    assert_true(send_super(&t));
    assert_true(talk_send(&t, "c"));
    assert_true(send_super(&t));
    talk_outbound(&t, "a2031100"
                      "000161"
                      "000162");
    talk_outbound(&t, SUPER);
    talk_outbound(&t, "a203000063");
    talk_outbound(&t, SUPER);
    talk_outbound(&t, "");
    const struct l2t_client_stats *stats = l2t_client_stats(t.client);
    assert_int_equal(stats->tx_supers, 2);
    assert_int_equal(stats->tx_frames, 5);
    assert_int_equal(stats->tx_bytes, 3 + 2 * 60);
    assert_int_equal(stats->queued_bytes, 0);
    talk_free(&t);
}

/* §1: sent only to a peer that announced it, within its limits; refused without consequence. */
static void a_super_frame_the_peer_does_not_take_is_left_to_the_caller(void **state)
{
    static const char *const hellos[] = {NULL, PROXY_BATCH, PROXY_MIDGET};
    struct talk t;

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        greet(&t, hellos[i]);
        assert_false(send_super(&t));
        talk_event(&t, L2T_EVENT_NONE);
        assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
        talk_outbound(&t, "");
        talk_free(&t);
    }
    greet(&t, PROXY_SHORT);
    assert_int_equal(l2t_client_super_max(t.client), 60);
    assert_true(send_super(&t));
    talk_outbound(&t, SUPER);
    assert_null(l2t_client_super_begin(t.client, 61, 1448));
    talk_free(&t);
}

/* §6 */
static void a_super_frame_arrives_with_its_segment_size(void **state)
{
    struct talk t;

    (void)state;
    greet(&t, PROXY_SUPER);
    talk_feed(&t, SUPER);
    const struct l2t_event event = talk_event(&t, L2T_EVENT_FRAME);
    assert_int_equal(event.gso_bytes, 1448);
    assert_int_equal(event.frame_bytes, 60);
    assert_int_equal(event.frame[59], 'f');
    talk_feed(&t, "a203000061");
    assert_int_equal(talk_event(&t, L2T_EVENT_FRAME).gso_bytes, 0);
    assert_int_equal(l2t_client_stats(t.client)->rx_supers, 1);
    assert_int_equal(l2t_client_stats(t.client)->rx_frames, 2);
    assert_int_equal(l2t_client_stats(t.client)->rx_bytes, 61);
    talk_free(&t);
}

/* l2-tunnel.md §6: dropped, reported, the tunnel stays. */
static void a_malformed_super_frame_is_reported(void **state)
{
    struct talk t;

    (void)state;
    greet(&t, PROXY_SUPER);
    talk_feed(&t, "a20312000000" FRAME);
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).code, L2T_ERR_SUPER);
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_undecodable, 1);
    assert_int_equal(l2t_client_state(t.client), L2T_OPEN);
    talk_free(&t);
}

/* §1: who did not announce it treats it as any unknown type. */
static void without_the_option_it_is_an_unknown_type(void **state)
{
    static const struct l2t_options plain = {.random_seed = 1};
    struct talk t;

    (void)state;
    talk_open(&t, 1000, &plain);
    talk_outbound(&t, "a20310000100000101040000080002040001"
                      "0000");
    talk_feed(&t, SUPER);
    talk_event(&t, L2T_EVENT_NONE);
    assert_int_equal(l2t_client_stats(t.client)->rx_unknown_type, 1);
    talk_free(&t);
}

/* §4: "with tag 1 above 2048 on both sides": a jumbo frame that the peer does not take is lost and
 * counted, and the tunnel goes on. */
static void a_jumbo_frame_waits_for_the_peers_hello(void **state)
{
    static const char jumbo_hello[] = "a203100001000001"
                                      "010400002328"; /* frames of 9000 bytes */
    struct talk t;

    (void)state;
    greet(&t, NULL);
    assert_non_null(l2t_client_send_begin(t.client, 2048));
    assert_null(l2t_client_send_begin(t.client, 2049));
    assert_int_equal(l2t_client_stats(t.client)->tx_refused_size, 1);
    talk_event(&t, L2T_EVENT_NONE);
    talk_feed(&t, jumbo_hello);
    assert_non_null(l2t_client_send_begin(t.client, 9000));
    assert_null(l2t_client_send_begin(t.client, 9001));
    talk_event(&t, L2T_EVENT_NONE);
    assert_null(l2t_client_send_begin(t.client, L2T_FRAME_MAX_JUMBO + 1)); /* nobody takes that */
    assert_int_equal(talk_event(&t, L2T_EVENT_ERROR).reason, L2T_REASON_FRAME_TOO_LARGE);
    talk_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(super_reads_as_the_vectors_say),
        cmocka_unit_test(the_longest_super_frame_is_65549_bytes),
        cmocka_unit_test(super_is_announced_only_when_the_options_say_so),
        cmocka_unit_test(a_super_frame_keeps_its_place_between_frames),
        cmocka_unit_test(a_super_frame_the_peer_does_not_take_is_left_to_the_caller),
        cmocka_unit_test(a_super_frame_arrives_with_its_segment_size),
        cmocka_unit_test(a_malformed_super_frame_is_reported),
        cmocka_unit_test(without_the_option_it_is_an_unknown_type),
        cmocka_unit_test(a_jumbo_frame_waits_for_the_peers_hello),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
