/*
 * WebSocket frames, server side, against RFC 6455. The peer is wslay's encoder; what wslay would
 * not write is written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <wslay/wslay.h>

#include "vectors.h"
#include "ws/ws.h"

enum { CAP = 70000, WIRE_MAX = 200000 };

struct wire {
    uint8_t bytes[WIRE_MAX];
    size_t used;
};

static ssize_t on_send(const uint8_t *data, size_t bytes, int flags, void *context)
{
    struct wire *wire = context;

    (void)flags;
    memcpy(wire->bytes + wire->used, data, bytes);
    wire->used += bytes;
    return (ssize_t)bytes;
}

static int on_mask(uint8_t *mask, size_t bytes, void *context)
{
    (void)context;
    for (size_t i = 0; i < bytes; i++)
        mask[i] = (uint8_t)(0x5a + 77 * i);
    return 0;
}

/* Appends one masked frame as a client writes it. */
static void client_frame(struct wire *wire, uint8_t opcode, bool fin, const void *data,
                         size_t bytes)
{
    const struct wslay_frame_callbacks callbacks = {.send_callback = on_send,
                                                    .genmask_callback = on_mask};
    wslay_frame_context_ptr context;
    struct wslay_frame_iocb frame = {.fin = fin,
                                     .opcode = opcode,
                                     .payload_length = bytes,
                                     .mask = 1,
                                     .data = data,
                                     .data_length = bytes};

    assert_int_equal(wslay_frame_context_init(&context, &callbacks, wire), 0);
    assert_int_equal(wslay_frame_send(context, &frame), bytes);
    wslay_frame_context_free(context);
}

static const uint8_t *pattern(void)
{
    static uint8_t bytes[CAP];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    return bytes;
}

/* §5.2: all three length encodings, at their borders. */
static void lengths_of_every_encoding(void **state)
{
    static const size_t lengths[] = {0, 1, 3, 31, 32, 33, 125, 126, 127, 65535, 65536, CAP};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        static struct wire wire;
        struct ws_in in;
        struct ws_event event;
        size_t used;

        wire.used = 0;
        client_frame(&wire, WS_BINARY, true, pattern(), lengths[i]);
        uint8_t *copy = guarded_copy(wire.bytes, wire.used); /* a byte too far crashes */
        ws_in_init(&in, CAP);
        assert_int_equal(ws_next(&in, copy, wire.used, &used, &event), WS_MESSAGE);
        assert_int_equal(used, wire.used);
        assert_int_equal(event.opcode, WS_BINARY);
        assert_int_equal(event.bytes, lengths[i]);
        assert_memory_equal(event.data, pattern(), lengths[i]);
        ws_in_free(&in);
        vector_bytes_free(copy, wire.used);
    }
}

/* §5.4: fragments, empty ones too, with a ping between them; cut off at every place in turn. */
static void stream_cut_anywhere_gives_the_same_messages(void **state)
{
    static struct wire wire;

    (void)state;
    wire.used = 0;
    client_frame(&wire, WS_TEXT, false, "h\xc3", 2);
    client_frame(&wire, WS_PING, true, "p", 1);
    client_frame(&wire, WS_CONTINUATION, false, "", 0);
    client_frame(&wire, WS_CONTINUATION, true, "\xa4llo", 4);
    client_frame(&wire, WS_BINARY, true, pattern(), 300);
    client_frame(&wire, WS_CLOSE, true, "\x03\xe8yes", 5);

    for (size_t cut = 0; cut <= wire.used; cut++) {
        struct ws_in in;
        char story[8] = "";
        uint8_t *bytes = malloc(wire.used);
        size_t at = 0;

        memcpy(bytes, wire.bytes, wire.used);
        ws_in_init(&in, CAP);
        for (int half = 0; half < 2; half++) {
            const size_t end = half == 0 ? cut : wire.used;
            struct ws_event event;
            enum ws_result result;
            size_t used;

            while ((result = ws_next(&in, bytes + at, end - at, &used, &event)) != WS_NEED_MORE) {
                at += used;
                assert_int_not_equal(result, WS_FAIL);
                if (result == WS_PROGRESS)
                    continue;
                if (event.opcode == WS_TEXT)
                    assert_memory_equal(event.data, "h\xc3\xa4llo", 6);
                if (event.opcode == WS_BINARY)
                    assert_memory_equal(event.data, pattern(), 300);
                if (event.opcode == WS_CLOSE)
                    assert_int_equal(event.code, 1000);
                story[strlen(story)] = "?TB?????CP?"[event.opcode];
            }
        }
        assert_string_equal(story, "PTBC");
        assert_int_equal(at, wire.used);
        ws_in_free(&in);
        free(bytes);
    }
}

/* What each bad beginning is answered with (§7.4.1), and how few bytes suffice to know. */
static void malformed_frames_and_their_codes(void **state)
{
    static const struct {
        const char *what, *hex;
        uint16_t code;
    } cases[] = {
        {"RSV1", "c2", 1002},
        {"RSV2", "a2", 1002},
        {"RSV3", "92", 1002},
        {"opcode 3", "83", 1002},
        {"opcode 7", "87", 1002},
        {"opcode 11", "8b", 1002},
        {"opcode 15", "8f", 1002},
        {"fragmented ping", "09", 1002},
        {"fragmented close", "08", 1002},
        {"continuation of nothing", "80", 1002},
        {"not masked", "8200", 1002},
        {"ping of 126", "89fe", 1002},
        {"close of 127", "88ff", 1002},
        {"125 in 16 bits", "82fe007d", 1002},
        {"65535 in 64 bits", "82ff000000000000ffff", 1002},
        {"63 bits and one more", "82ff8000000000000000", 1002},
        {"above the cap, 64 bits", "82ff0000000000011171", 1009},
        {"above the cap, all bits", "82ff7fffffffffffffff", 1009},
        {"close of one byte", "88810000000003", 1002},
        {"close 1005", "88820000000003ed", 1002},
        {"close 1006", "88820000000003ee", 1002},
        {"close 1015", "88820000000003f7", 1002},
        {"close 1004", "88820000000003ec", 1002},
        {"close 0", "8882000000000000", 1002},
        {"close 2999", "8882000000000bb7", 1002},
        {"close 5000", "8882000000001388", 1002},
        {"close reason not UTF-8", "88830000000003e8ff", 1007},
        {"text not UTF-8", "818100000000ff", 1007},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ws_in in;
        struct ws_event event;
        size_t bytes, used;
        uint8_t *wire = vector_bytes(cases[i].hex, &bytes);

        ws_in_init(&in, CAP);
        for (size_t given = 0; given < bytes; given++) /* one byte fewer is not enough yet */
            assert_int_equal(ws_next(&in, wire, given, &used, &event), WS_NEED_MORE);
        if (ws_next(&in, wire, bytes, &used, &event) != WS_FAIL || event.code != cases[i].code)
            fail_msg("%s: expected %u", cases[i].what, cases[i].code);
        assert_non_null(event.reason);
        assert_int_equal(ws_next(&in, wire, bytes, &used, &event), WS_FAIL); /* for good */
        ws_in_free(&in);
        vector_bytes_free(wire, bytes);
    }
}

/* §7.4: codes a peer may send. */
static void close_codes_of_the_registry(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        const bool expected = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                              (code >= 3000 && code <= 4999);
        assert_int_equal(ws_close_code_valid((uint16_t)code), expected);
    }
}

/* §5.4, §10.4: the cap holds for the sum of the fragments, and is the same after ws_in_raise(). */
static void fragments_are_bounded_by_the_cap(void **state)
{
    static struct wire wire;
    struct ws_in in;
    struct ws_event event;
    size_t used;

    (void)state;
    ws_in_init(&in, 100);
    wire.used = 0;
    client_frame(&wire, WS_BINARY, false, pattern(), 60);
    client_frame(&wire, WS_CONTINUATION, true, pattern(), 40);
    client_frame(&wire, WS_BINARY, false, pattern(), 60);
    client_frame(&wire, WS_CONTINUATION, true, pattern(), 41);
    size_t at = 0;
    assert_int_equal(ws_next(&in, wire.bytes + at, wire.used - at, &used, &event), WS_PROGRESS);
    at += used;
    assert_int_equal(ws_next(&in, wire.bytes + at, wire.used - at, &used, &event), WS_MESSAGE);
    assert_int_equal(event.bytes, 100);
    assert_true(event.assembled);
    at += used;
    assert_int_equal(ws_next(&in, wire.bytes + at, wire.used - at, &used, &event), WS_PROGRESS);
    at += used;
    assert_true(ws_in_raise(&in, 101)); /* in the middle of a message */
    assert_int_equal(ws_next(&in, wire.bytes + at, wire.used - at, &used, &event), WS_MESSAGE);
    assert_int_equal(event.bytes, 101);
    assert_memory_equal(event.data, pattern(), 60);
    assert_memory_equal(event.data + 60, pattern(), 41);
    assert_true(ws_in_raise(&in, 50)); /* never lowered */
    assert_int_equal(in.cap_bytes, 101);
    ws_in_free(&in);
}

/* RFC 3629 §4, and the examples of the Unicode standard's table 3-7. */
static void utf8_is_judged_strictly(void **state)
{
    static const struct {
        const char *hex;
        bool valid;
    } cases[] = {
        {"-", true},         {"00", true},         {"7f", true},        {"80", false},
        {"c280", true},      {"c080", false},      {"c1bf", false},     {"dfbf", true},
        {"c2", false},       {"c27f", false},      {"e0a080", true},    {"e09f80", false},
        {"ed9fbf", true},    {"eda080", false},    {"edbfbf", false},   {"ee8080", true},
        {"efbfbf", true},    {"e282", false},      {"f0908080", true},  {"f08fbfbf", false},
        {"f48fbfbf", true},  {"f4908080", false},  {"f5808080", false}, {"ff", false},
        {"f0908041", false}, {"61e282ac62", true}, {"e28261", false},   {"fe", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bytes;
        uint8_t *text = vector_bytes(cases[i].hex, &bytes);
        if (ws_utf8_valid(text, bytes) != cases[i].valid)
            fail_msg("%s", cases[i].hex);
        vector_bytes_free(text, bytes);
    }
}

/* §5.3, at every alignment and around the width of the inner loop. */
static void masking_is_its_own_inverse(void **state)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    uint8_t bytes[160];

    (void)state;
    for (size_t offset = 0; offset < 8; offset++)
        for (size_t count = 0; count <= 100; count++) {
            memset(bytes, 0, sizeof bytes);
            ws_unmask(bytes + offset, count, mask);
            for (size_t i = 0; i < sizeof bytes; i++)
                assert_int_equal(bytes[i],
                                 i >= offset && i < offset + count ? mask[(i - offset) & 3] : 0);
        }
}

/* §5.2: the server's frames, as wslay's receiver reads them. */
static ssize_t on_receive(uint8_t *data, size_t bytes, int flags, void *context)
{
    struct wire *wire = context;
    const size_t count = bytes < wire->used ? bytes : wire->used;

    (void)flags;
    if (count == 0)
        return -1;
    memcpy(data, wire->bytes, count);
    wire->used -= count;
    memmove(wire->bytes, wire->bytes + count, wire->used);
    return (ssize_t)count;
}

static void outbound_frames_are_read_by_a_client(void **state)
{
    static const uint32_t lengths[] = {0, 125, 126, 65535, 65536};
    const struct wslay_frame_callbacks callbacks = {.recv_callback = on_receive};
    static struct wire wire;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct ws_pool pool;
        struct ws_out out;
        wslay_frame_context_ptr context;
        struct wslay_frame_iocb frame;
        size_t got = 0;

        ws_pool_init(&pool, 2, CAP, CAP);
        assert_true(ws_out_init(&out, &pool));
        assert_true(ws_out_push(
            &out, WS_BINARY, &(struct iovec){(void *)(uintptr_t)pattern(), lengths[i]}, 1, false));
        wire.used = ws_out_waiting(&out);
        memcpy(wire.bytes, out.base + out.head, wire.used);
        assert_int_equal(wslay_frame_context_init(&context, &callbacks, &wire), 0);
        do {
            const ssize_t bytes = wslay_frame_recv(context, &frame);
            assert_true(bytes >= 0);
            assert_memory_equal(frame.data, pattern() + got, (size_t)bytes);
            got += (size_t)bytes;
        } while (got < lengths[i]);
        assert_int_equal(frame.payload_length, lengths[i]);
        assert_int_equal(frame.opcode, WS_BINARY);
        assert_int_equal(frame.mask, 0);
        assert_int_equal(frame.fin, 1);
        wslay_frame_context_free(context);
        ws_out_free(&out);
        ws_pool_free(&pool);
    }
}

/* l2-proxy.md §4: the queue counts messages; ERROR and close bypass it, in order. */
static void queue_is_bounded_and_bypassed(void **state)
{
    struct ws_pool pool;
    struct ws_out out;
    const struct iovec part = {(void *)(uintptr_t)pattern(), 100};

    (void)state;
    ws_pool_init(&pool, 3, 200, 200);
    assert_true(ws_out_init(&out, &pool));
    for (int i = 0; i < 3; i++)
        assert_true(ws_out_push(&out, WS_BINARY, &part, 1, false));
    assert_false(ws_out_push(&out, WS_BINARY, &part, 1, false));
    assert_int_equal(ws_out_room(&out, 100, 5), 0);
    assert_true(ws_out_push(&out, WS_BINARY, &part, 1, true));
    assert_true(ws_out_push_close(&out, 1008, "why"));
    assert_int_equal(ws_out_waiting(&out), 4 * 102 + 2 + 5);
    ws_out_written(&out, 101); /* not yet whole: no room */
    assert_int_equal(ws_out_room(&out, 100, 5), 0);
    ws_out_written(&out, 1);
    assert_int_equal(ws_out_room(&out, 100, 5), 1);
    ws_out_written(&out, ws_out_waiting(&out));
    assert_int_equal(ws_out_room(&out, 100, 5), 3);
    ws_out_free(&out);
    ws_pool_free(&pool);
}

/* Every byte comes out in order, whatever is written when. */
static void queue_keeps_order_under_partial_writes(void **state)
{
    struct ws_pool pool;
    struct ws_out out;
    uint32_t random = 1, pushed = 0, read = 0;

    (void)state;
    ws_pool_init(&pool, 8, 300, 300);
    assert_true(ws_out_init(&out, &pool));
    while (read < 20000) {
        random = random * 1664525 + 1013904223;
        uint8_t payload[300];
        const uint32_t bytes = random >> 16 & 255;
        for (uint32_t i = 0; i < bytes; i++)
            payload[i] = (uint8_t)(pushed + i);
        if (ws_out_push(&out, WS_BINARY, &(struct iovec){payload, bytes}, 1, false))
            pushed += bytes;
        while (ws_out_waiting(&out) != 0 && (random >> 8 & 3) != 0) {
            const uint8_t *frame = out.base + out.head; /* one whole frame a time */
            const uint32_t head = frame[1] == 126 ? 4 : 2;
            const uint32_t body = head == 4 ? (uint32_t)(frame[2] << 8 | frame[3]) : frame[1];
            for (uint32_t i = 0; i < body; i++)
                assert_int_equal(frame[head + i], (uint8_t)(read + i));
            read += body;
            ws_out_written(&out, head);
            ws_out_written(&out, body);
            random = random * 1664525 + 1013904223;
        }
    }
    ws_out_free(&out);
    ws_pool_free(&pool);
}

/* §5.5: a close frame's reason is at most 123 bytes and never cut inside a character. */
static void close_reason_is_cut_on_a_character(void **state)
{
    struct ws_pool pool;
    struct ws_out out;
    char reason[200];

    (void)state;
    for (int pad = 0; pad < 3; pad++) {
        memset(reason, 'a', (size_t)pad);
        for (int i = 0; i < 60; i++)
            memcpy(reason + pad + 3 * i, "\xe2\x82\xac", 4);
        ws_pool_init(&pool, 1, 10, 10);
        assert_true(ws_out_init(&out, &pool));
        assert_true(ws_out_push_close(&out, 1008, reason));
        const uint8_t *frame = out.base;
        assert_int_equal(frame[0], 0x88);
        assert_true(frame[1] <= 125 && frame[1] > 120);
        assert_true(ws_utf8_valid(frame + 4, frame[1] - 2u));
        ws_out_free(&out);
        ws_pool_free(&pool);
    }
}

/* ws.h: a quiet connection holds no buffer; the one used last serves the next. */
static void resting_queues_share_a_buffer(void **state)
{
    enum { QUEUES = 100 };
    static struct ws_out outs[QUEUES];
    struct ws_pool pool;
    uint8_t *first = NULL;

    (void)state;
    ws_pool_init(&pool, 3, 200, 200);
    for (int i = 0; i < QUEUES; i++)
        assert_true(ws_out_init(&outs[i], &pool));
    for (int i = 0; i < QUEUES; i++) {
        assert_null(outs[i].base);
        assert_int_equal(ws_out_room(&outs[i], 100, 5), 3);
        first = i == 0 ? outs[i].base : first;
        assert_ptr_equal(outs[i].base, first);
        ws_out_rest(&outs[i]);
    }
    for (int i = 0; i < QUEUES; i++) /* none waits for another */
        assert_true(ws_out_push_close(&outs[i], 1000, ""));
    for (int i = 0; i < QUEUES; i++) {
        assert_memory_equal(outs[i].base, "\x88\x02\x03\xe8", 4);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(outs[k].base, outs[i].base);
    }
    for (int i = 0; i < QUEUES; i++)
        ws_out_free(&outs[i]);
    assert_int_equal(pool.total, 0);
    assert_int_equal(pool.free_count, 0);
    ws_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_of_every_encoding),
        cmocka_unit_test(stream_cut_anywhere_gives_the_same_messages),
        cmocka_unit_test(malformed_frames_and_their_codes),
        cmocka_unit_test(close_codes_of_the_registry),
        cmocka_unit_test(fragments_are_bounded_by_the_cap),
        cmocka_unit_test(utf8_is_judged_strictly),
        cmocka_unit_test(masking_is_its_own_inverse),
        cmocka_unit_test(outbound_frames_are_read_by_a_client),
        cmocka_unit_test(queue_is_bounded_and_bypassed),
        cmocka_unit_test(queue_keeps_order_under_partial_writes),
        cmocka_unit_test(close_reason_is_cut_on_a_character),
        cmocka_unit_test(resting_queues_share_a_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
