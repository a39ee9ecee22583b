/* A card's super-frames on their way into the tunnel: l2-extensions.md §6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "nic/packet.h"
#include "nic/segment.h"
#include "tunnel_super.h"

#define OUR_HELLO                                                                                  \
    "a2031000"                                                                                     \
    "01000005"                                                                                     \
    "01040001000e"                                                                                 \
    "020400010014"
#define TAKES_SUPER OUR_HELLO
#define TAKES_BATCH                                                                                \
    "a2031000"                                                                                     \
    "01000001"                                                                                     \
    "01040001000e"                                                                                 \
    "020400010014"
#define TAKES_SHORT                                                                                \
    "a2031000"                                                                                     \
    "01000005"                                                                                     \
    "0104000005ea"                                                                                 \
    "020400010014" /* frames of 1514 */

enum { MSS = 1448, HEADERS = 14 + 20 + 32, PAYLOAD = 10 * MSS + 100 };

static const uint32_t first_sequence = 0xfffffff0; /* wraps */

struct fixture {
    struct talk talk;
    struct tunnel_super super;
    uint8_t frame[HEADERS + 8 + PAYLOAD];
    uint32_t frame_bytes;
};

/* TCP over IPv4 with timestamps; PSH, FIN and CWR set, checksums left to who cuts it. */
static void build(struct fixture *f)
{
    uint8_t *ip = f->frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;

    f->frame_bytes = HEADERS + PAYLOAD;
    memset(f->frame, 0, HEADERS);
    be16_put(f->frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(f->frame_bytes - ETH_HEADER_BYTES));
    be16_put(ip + IPV4_ID_AT, 7);
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    memcpy(ip + IPV4_SOURCE_AT, "\x0a\0\x02\x0f\x5d\xb8\xd8\x22", 8);
    be32_put(tcp + TCP_SEQUENCE_AT, first_sequence);
    tcp[TCP_DATA_OFFSET_AT] = 0x80;
    tcp[TCP_FLAGS_AT] = TCP_ACK | TCP_PSH | TCP_FIN | TCP_CWR;
    memcpy(tcp + TCP_HEADER_BYTES, "\1\1\10\12\0\0\0\1\0\0\0\2", 12);
    for (uint32_t i = 0; i < PAYLOAD; i++)
        f->frame[HEADERS + i] = (uint8_t)(i * 7 + i / 256);
}

static void greet(struct fixture *f, uint32_t queue_bytes, const char *hello)
{
    static const struct l2t_options options = {.random_seed = 1, .super_frames = true};

    talk_open(&f->talk, queue_bytes, &options);
    talk_outbound(&f->talk, OUR_HELLO);
    if (hello != NULL)
        talk_feed(&f->talk, hello);
    build(f);
}

static int32_t pass_on(struct fixture *f)
{
    uint8_t *room = tunnel_super_start(&f->super, f->talk.client, f->frame_bytes, MSS);

    assert_non_null(room);
    memcpy(room, f->frame, f->frame_bytes);
    return tunnel_super_finish(&f->super, f->talk.client);
}

static const uint8_t *next_message(struct fixture *f, uint32_t *bytes)
{
    return l2t_client_outbound(f->talk.client, bytes);
}

static struct fixture *begin(void)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    return f;
}

static void end(struct fixture *f)
{
    talk_free(&f->talk);
    free(f);
}

static void a_peer_that_takes_super_frames_gets_them_uncut(void **state)
{
    struct fixture *f = begin();
    uint32_t bytes;

    (void)state;
    greet(f, 300000, TAKES_SUPER);
    assert_int_equal(pass_on(f), 1);
    const uint8_t *wire = next_message(f, &bytes);
    assert_int_equal(bytes, L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES + f->frame_bytes);
    assert_int_equal(wire[2], L2T_SUPER);
    assert_int_equal(be16_get(wire + L2T_HEADER_BYTES), MSS);
    assert_memory_equal(wire + L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES, f->frame, f->frame_bytes);
    l2t_client_outbound_done(f->talk.client);
    assert_null(next_message(f, &bytes));
    end(f);
}

/* Frames of one message, FRAME or BATCH; each is checked and counted. */
static uint32_t expect_segments(const struct fixture *f, const uint8_t *wire, uint32_t bytes,
                                uint32_t segment)
{
    const uint8_t *at = wire + L2T_HEADER_BYTES, *const stop = wire + bytes;
    const bool batch = wire[2] == L2T_BATCH;

    while (at < stop) {
        const uint32_t frame_bytes = batch ? be16_get(at) : bytes - L2T_HEADER_BYTES;
        const uint8_t *frame = batch ? at + 2 : at;
        const uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;
        const uint32_t first = segment * MSS;
        const bool last = first + MSS >= PAYLOAD;

        assert_int_equal(frame_bytes, HEADERS + (last ? PAYLOAD - first : MSS));
        assert_int_equal(be16_get(ip + IPV4_TOTAL_LENGTH_AT), frame_bytes - ETH_HEADER_BYTES);
        assert_int_equal(be16_get(ip + IPV4_ID_AT), 7 + segment);
        assert_int_equal(checksum_fold(checksum_add(0, ip, IPV4_HEADER_BYTES)), 0xffff);
        assert_int_equal(l4_checksum_judge(frame, frame_bytes), L4_GOOD);
        assert_int_equal(be32_get(tcp + TCP_SEQUENCE_AT), first_sequence + first);
        assert_int_equal(tcp[TCP_FLAGS_AT],
                         TCP_ACK | (last ? TCP_PSH | TCP_FIN : 0) | (segment == 0 ? TCP_CWR : 0));
        assert_memory_equal(tcp + TCP_HEADER_BYTES, "\1\1\10\12\0\0\0\1\0\0\0\2", 12);
        assert_memory_equal(frame + HEADERS, f->frame + HEADERS + first, frame_bytes - HEADERS);
        segment++;
        at = frame + frame_bytes;
    }
    return segment;
}

/* No HELLO yet; a proxy without SUPER; one whose tag 1 is too low. */
static void any_other_peer_gets_segments(void **state)
{
    static const char *const hellos[] = {NULL, TAKES_BATCH, TAKES_SHORT};

    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        struct fixture *f = begin();
        uint32_t segments = 0, bytes;
        const uint8_t *wire;

        greet(f, 300000, hellos[i]);
        assert_int_equal(pass_on(f), 11);
        while ((wire = next_message(f, &bytes)) != NULL) {
            segments = expect_segments(f, wire, bytes, segments);
            l2t_client_outbound_done(f->talk.client);
        }
        assert_int_equal(segments, 11);
        assert_int_equal(l2t_client_stats(f->talk.client)->tx_supers, 0);
        end(f);
    }
}

/* §6 knows no extension headers, a card's TSO does: no reason to end the tunnel. */
static void what_no_super_frame_may_be_is_cut_all_the_same(void **state)
{
    struct fixture *f = begin();
    uint8_t *ip = f->frame + ETH_HEADER_BYTES;
    const uint32_t headers = 14 + 40 + 8 + 20;
    uint32_t bytes, frames = 0;
    const uint8_t *wire;

    (void)state;
    greet(f, 300000, TAKES_SUPER);
    memset(f->frame, 0, headers);
    be16_put(f->frame + ETH_TYPE_AT, ETH_TYPE_IPV6);
    f->frame_bytes = headers + 2 * MSS;
    ip[0] = 0x60;
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)(f->frame_bytes - 54));
    memcpy(ip + 40, "\6\0\1\4", 4); /* destination options: PadN */
    ip[IPV6_NEXT_HEADER_AT] = 60;
    ip[48 + TCP_DATA_OFFSET_AT] = 0x50;
    assert_int_equal(pass_on(f), 2);
    while ((wire = next_message(f, &bytes)) != NULL) {
        assert_int_equal(wire[2], L2T_BATCH);
        assert_int_equal(be16_get(wire + 4), headers + MSS);
        assert_int_equal(l4_checksum_judge(wire + 6, headers + MSS), L4_GOOD);
        l2t_client_outbound_done(f->talk.client);
        frames++;
    }
    assert_int_equal(frames, 1);
    end(f);
}

static void what_cannot_be_cut_is_dropped(void **state)
{
    struct fixture *f = begin();
    uint32_t bytes;

    (void)state;
    greet(f, 300000, TAKES_SUPER);
    f->frame[ETH_HEADER_BYTES + IPV4_PROTOCOL_AT] = IP_PROTOCOL_UDP;
    assert_int_equal(pass_on(f), 0);
    f->frame_bytes = 20;
    assert_int_equal(pass_on(f), 0);
    build(f);
    f->frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_DATA_OFFSET_AT] = 0x40;
    assert_int_equal(pass_on(f), 0);
    assert_null(next_message(f, &bytes));
    assert_null(tunnel_super_start(&f->super, f->talk.client, L2T_FRAME_MAX_JUMBO + 1, MSS));
    assert_int_equal(tunnel_super_finish(&f->super, f->talk.client), -1);
    build(f);
    assert_int_equal(pass_on(f), 1); /* the tunnel goes on */
    end(f);
}

/* A guest whose MTU is above that of the tunnel loses such packets, not the tunnel. */
static void segments_above_the_frame_limit_are_refused_and_no_more(void **state)
{
    static const struct l2t_options options[] = {
        {.random_seed = 1, .super_frames = true, .base_protocol_only = true},
        {.random_seed = 1, .super_frames = true, .limits.frame_max_bytes = HEADERS + MSS - 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        struct fixture *f = begin();

        talk_open(&f->talk, 300000, &options[i]);
        build(f);
        const uint16_t mss = i == 0 ? L2T_FRAME_MAX_DEFAULT : MSS;
        assert_non_null(tunnel_super_start(&f->super, f->talk.client, f->frame_bytes, mss));
        memcpy(f->super.room, f->frame, f->frame_bytes);
        assert_int_equal(tunnel_super_finish(&f->super, f->talk.client), -1);
        assert_int_equal(l2t_client_state(f->talk.client), L2T_OPEN);
        end(f);
    }
}

/* l2-tunnel.md §9.1: overflow ends the tunnel; nothing is lost silently. */
static void a_full_queue_refuses(void **state)
{
    struct fixture *f = begin();

    (void)state;
    greet(f, 5000, TAKES_BATCH);
    assert_int_equal(pass_on(f), -1);
    assert_int_equal(talk_event(&f->talk, L2T_EVENT_ERROR).reason, L2T_REASON_QUEUE_OVERFLOW);
    end(f);
    f = begin();
    greet(f, 5000, TAKES_SUPER);
    assert_null(tunnel_super_start(&f->super, f->talk.client, f->frame_bytes, MSS));
    assert_int_equal(tunnel_super_finish(&f->super, f->talk.client), -1);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_takes_super_frames_gets_them_uncut),
        cmocka_unit_test(any_other_peer_gets_segments),
        cmocka_unit_test(what_no_super_frame_may_be_is_cut_all_the_same),
        cmocka_unit_test(what_cannot_be_cut_is_dropped),
        cmocka_unit_test(segments_above_the_frame_limit_are_refused_and_no_more),
        cmocka_unit_test(a_full_queue_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
