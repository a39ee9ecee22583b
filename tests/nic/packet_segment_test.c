/* nic/packet/segment.c and frame_queue.c: RFC 791, 768, 8200, 9293; spec/choices.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nic/frame_queue.h"
#include "nic/packet.h"
#include "nic/segment.h"
#include "tcp_frame.h"
#include "vectors.h"

/* choices.md: the IPv6 length field counts no header; RFC 3168 §6.1.2: CWR on the first only. */
static void ipv6_segments(void **state)
{
    uint8_t packet[1000];
    const uint32_t bytes = tcp_frame_ipv6(packet, 250);
    struct tcp_segments plan;

    (void)state;
    assert_int_equal(l4_checksum_judge(packet, bytes), L4_GOOD);
    assert_true(tcp_segments_plan(&plan, packet, bytes, bytes, 100));
    assert_int_equal(plan.count, 3);
    for (uint32_t i = 0; i < plan.count; i++) {
        const uint32_t payload = tcp_segment_payload(&plan, i);
        uint8_t frame[1000];

        memcpy(frame, packet, plan.header_bytes);
        memcpy(frame + plan.header_bytes, packet + plan.header_bytes + 100 * i, payload);
        tcp_segment_finish(&plan, frame, i);
        assert_int_equal(payload, i < 2 ? 100 : 50);
        assert_int_equal(be16_get(frame + TCP_FRAME_IPV6_AT + IPV6_PAYLOAD_LENGTH_AT),
                         TCP_FRAME_EXTENSION_BYTES + TCP_HEADER_BYTES + payload);
        assert_int_equal(be32_get(frame + plan.view.l4 + TCP_SEQUENCE_AT), 100 * i);
        assert_int_equal(frame[plan.view.l4 + TCP_FLAGS_AT],
                         TCP_ACK | (i == 0 ? TCP_CWR : 0) | (i == 2 ? TCP_FIN : 0));
        assert_int_equal(l4_checksum_judge(frame, plan.header_bytes + payload), L4_GOOD);
    }
}

/* A packet cut anywhere before its payload has no plan, and nobody reads past its end. */
static void packets_cut_anywhere(void **state)
{
    uint8_t packet[1000];
    const uint32_t bytes = tcp_frame_ipv6(packet, 250);
    struct tcp_segments plan;

    (void)state;
    for (uint32_t cut = 0; cut < bytes; cut++) {
        uint8_t *guarded = guarded_copy(packet, cut);

        assert_int_equal(tcp_segments_plan(&plan, guarded, cut, cut, 100), cut >= bytes - 250);
        assert_int_equal(l4_checksum_judge(guarded, cut), L4_UNKNOWN);
        vector_bytes_free(guarded, cut);
    }
    assert_false(tcp_segments_plan(&plan, packet, bytes, bytes, 0));
}

/* RFC 768: a UDP checksum of 0 was not computed; fragments carry no checksum of their own. */
static void verdicts_that_are_none(void **state)
{
    uint8_t frame[60] = {0};

    (void)state;
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    frame[14] = 0x45;
    be16_put(frame + 14 + IPV4_TOTAL_LENGTH_AT, 40);
    frame[14 + IPV4_PROTOCOL_AT] = IP_PROTOCOL_UDP;
    be16_put(frame + 34 + UDP_LENGTH_AT, 20);
    assert_int_equal(l4_checksum_judge(frame, 60), L4_UNKNOWN);
    frame[34 + UDP_CHECKSUM_AT] = 1;
    assert_int_equal(l4_checksum_judge(frame, 60), L4_BAD);
    be16_put(frame + 14 + IPV4_FRAGMENT_AT, IPV4_FLAG_MF);
    assert_int_equal(l4_checksum_judge(frame, 60), L4_UNKNOWN);
}

/* Frames come out as they went in, over many wraps; a full queue says so. */
static void frame_queue_in_order(void **state)
{
    static uint8_t bytes[1000];
    struct frame_queue queue;
    uint32_t in = 0;
    uint32_t out = 0;
    uint32_t refused = 0;

    (void)state;
    frame_queue_init(&queue, bytes, sizeof bytes, 8);
    for (uint32_t step = 0; step < 5000; step++) {
        uint32_t length = 14 + in * 37 % 200;
        uint32_t note;
        uint8_t *room = step % 5 < 3 ? frame_queue_push(&queue, length, in) : NULL;

        if (room != NULL) {
            assert_true(room >= bytes && room + length <= bytes + sizeof bytes);
            memset(room, (int)(in++ & 0xff), length);
        }
        refused += step % 5 < 3 && room == NULL;
        if (step % 5 < 3)
            continue;
        const uint8_t *front = frame_queue_front(&queue, &length, &note);
        if (front == NULL)
            continue;
        assert_int_equal(note, out);
        assert_int_equal(length, 14 + out * 37 % 200);
        for (uint32_t i = 0; i < length; i++)
            assert_int_equal(front[i], out & 0xff);
        frame_queue_pop(&queue);
        out++;
    }
    assert_true(refused > 100 && out > 1000);
    assert_int_equal(in - out, queue.frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv6_segments),
        cmocka_unit_test(packets_cut_anywhere),
        cmocka_unit_test(verdicts_that_are_none),
        cmocka_unit_test(frame_queue_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
