/* HELLO and BATCH: l2-extensions.md §1, §2, §7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/batch.h"
#include "tunnel/hello.h"
#include "vectors.h"

static size_t hex_put(char *to, size_t room, const uint8_t *bytes, size_t count)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used + 3 <= room; i++)
        used += (size_t)snprintf(to + used, room - used, "%02x", bytes[i]);
    return used;
}

static void expect(const struct vector *vector, const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        fail_msg("%s:%u %s: %s, want %s", vector->file, vector->line, vector->field[0], got, want);
}

static void describe(char *got, size_t room, const struct l2t_hello *hello)
{
    char token[40] = "-";
    char keep[16] = "-";
    char outcome[16] = "-";
    char mtu[16] = "-";

    if (hello->has_token)
        hex_put(token, sizeof token, hello->token, sizeof hello->token);
    if (hello->has_keep_s)
        snprintf(keep, sizeof keep, "%u", hello->keep_s);
    if (hello->outcome != L2T_OUTCOME_ABSENT)
        snprintf(outcome, sizeof outcome, "%u", hello->outcome);
    if (hello->lan_mtu != 0)
        snprintf(mtu, sizeof mtu, "%u", hello->lan_mtu);
    snprintf(got, room, "%u %u %u %s %s %s %s", hello->flags, hello->frame_max_bytes,
             hello->message_max_bytes, token, keep, outcome, mtu);
}

static void check_hello(const struct vector *vector)
{
    char got[160];
    struct l2t_hello hello;
    size_t bytes;
    uint8_t *payload = vector_bytes(vector->field[1], &bytes);
    const int error = l2t_hello_parse(&hello, payload, bytes);

    if (error == 0)
        describe(got, sizeof got, &hello);
    else
        snprintf(got, sizeof got, "%s",
                 error == L2T_ERR_HELLO_VERSION ? "ERR_HELLO_VERSION" : "ERR_HELLO");
    expect(vector, got, vector->field[2]);
    if (error == 0) { /* what we would write of it reads the same */
        uint8_t wire[L2T_HEADER_BYTES + L2T_HELLO_MAX_BYTES];
        char again[160];
        const int64_t wire_bytes = l2t_hello_encode(wire, sizeof wire, &hello);

        assert_true(wire_bytes > L2T_HEADER_BYTES);
        assert_int_equal(
            l2t_hello_parse(&hello, wire + L2T_HEADER_BYTES, (size_t)wire_bytes - L2T_HEADER_BYTES),
            0);
        describe(again, sizeof again, &hello);
        assert_string_equal(again, got);
    }
    vector_bytes_free(payload, bytes);
}

/* §1: "Unknown flags and tags are ignored; a truncated TLV makes the whole HELLO malformed". */
static void hello_reads_as_the_vectors_say(void **state)
{
    (void)state;
    vectors_for_each("l2t_hello", 3, check_hello);
}

/* §7: client HELLO: BATCH, RESUME, frames <= 65550, messages <= 262144. */
static void hello_is_written_as_in_the_worked_bytes(void **state)
{
    static const uint8_t want[] = {0xa2, 0x03, 0x10, 0x00, 0x01, 0x00, 0x00, 0x03, 0x01, 0x04,
                                   0x00, 0x01, 0x00, 0x0e, 0x02, 0x04, 0x00, 0x04, 0x00, 0x00};
    struct l2t_hello hello = l2t_hello_default();
    uint8_t wire[64];

    (void)state;
    hello.flags = L2T_HELLO_BATCH | L2T_HELLO_RESUME;
    hello.frame_max_bytes = 65550;
    hello.message_max_bytes = 262144;
    assert_int_equal(l2t_hello_encode(wire, sizeof want - 1, &hello), L2T_ERR_NO_ROOM);
    assert_int_equal(l2t_hello_encode(wire, sizeof want, &hello), sizeof want);
    assert_memory_equal(wire, want, sizeof want);
}

static void check_batch(const struct vector *vector)
{
    char got[256] = "ERR_BATCH";
    struct l2t_batch_reader reader = {0};
    size_t bytes;
    uint8_t *payload = vector_bytes(vector->field[2], &bytes);
    const int32_t frames = l2t_batch_open(&reader, payload, (uint32_t)bytes,
                                          (uint32_t)strtoul(vector->field[1], NULL, 10));

    if (frames < 0) {
        assert_int_equal(frames, L2T_ERR_BATCH);
        assert_null(reader.at); /* no frame of it is delivered */
    } else {
        size_t used = 0;
        uint32_t frame_bytes;
        int32_t seen = 0;
        const uint8_t *frame;

        while ((frame = l2t_batch_next(&reader, &frame_bytes)) != NULL) {
            if (seen++ != 0)
                got[used++] = ' ';
            used += hex_put(got + used, sizeof got - used, frame, frame_bytes);
        }
        got[used] = '\0';
        assert_int_equal(seen, frames);
    }
    expect(vector, got, vector->field[3]);
    vector_bytes_free(payload, bytes);
}

/* §2: "The entries must fill the message exactly"; otherwise it is malformed as a whole. */
static void batch_reads_as_the_vectors_say(void **state)
{
    (void)state;
    vectors_for_each("l2t_batch", 4, check_batch);
}

static void append(struct l2t_batch_writer *writer, const char *frame)
{
    uint8_t *room = l2t_batch_append(writer, (uint32_t)strlen(frame));

    assert_non_null(room);
    memcpy(room, frame, strlen(frame));
}

/* §7: BATCH of a 3-byte and a 2-byte entry. */
static void batch_is_written_as_in_the_worked_bytes(void **state)
{
    static const uint8_t want[] = {0xa2, 0x03, 0x11, 0x00, 0x00, 0x03, 0xaa,
                                   0xbb, 0xcc, 0x00, 0x02, 0xdd, 0xee};
    struct l2t_batch_writer writer;
    uint8_t room[64];
    uint32_t bytes;

    (void)state;
    l2t_batch_begin(&writer, room, sizeof room, 64);
    append(&writer, "\xaa\xbb\xcc");
    append(&writer, "\xdd\xee");
    const uint8_t *message = l2t_batch_end(&writer, &bytes);
    assert_int_equal(bytes, sizeof want);
    assert_memory_equal(message, want, sizeof want);
}

/* §2: "if one frame is waiting, send FRAME". */
static void a_lone_frame_is_written_as_frame(void **state)
{
    static const uint8_t want[] = {0xa2, 0x03, 0x00, 0x00, 'a', 'b', 'c'};
    struct l2t_batch_writer writer;
    uint8_t room[64];
    uint32_t bytes;

    (void)state;
    l2t_batch_begin(&writer, room, sizeof room, 64);
    assert_null(l2t_batch_end(&writer, &bytes));
    assert_int_equal(bytes, 0);
    append(&writer, "abc");
    const uint8_t *message = l2t_batch_end(&writer, &bytes);
    assert_int_equal(bytes, sizeof want);
    assert_memory_equal(message, want, sizeof want);
}

/* §1: tag 2 is the largest whole message; the last byte of it is used, not one more. */
static void a_message_never_exceeds_the_peers_limit(void **state)
{
    struct l2t_batch_writer writer;
    uint8_t room[16 + L2T_BATCH_ROOM_EXTRA];
    uint32_t bytes;

    (void)state;
    l2t_batch_begin(&writer, room, sizeof room, 16);
    append(&writer, "1234");                   /* 4 + 6 */
    assert_null(l2t_batch_append(&writer, 5)); /* 17 */
    append(&writer, "5678");                   /* 16 */
    assert_null(l2t_batch_append(&writer, 1));
    l2t_batch_end(&writer, &bytes);
    assert_int_equal(bytes, 16);

    l2t_batch_begin(&writer, room, sizeof room, 16);
    assert_null(l2t_batch_append(&writer, 13)); /* as FRAME 17 */
    assert_null(l2t_batch_append(&writer, 0));  /* no entry of length 0 */
    append(&writer, "123456789abc");            /* as FRAME exactly 16 */
    assert_null(l2t_batch_append(&writer, 1));
    l2t_batch_end(&writer, &bytes);
    assert_int_equal(bytes, 16);
}

/* §2: "Frames above 65 535 bytes cannot be batched and go as FRAME." */
static void a_frame_above_65535_goes_alone(void **state)
{
    struct l2t_batch_writer writer;
    const uint32_t room_bytes = 200000;
    uint8_t *room = malloc(room_bytes);
    uint32_t bytes;

    (void)state;
    assert_non_null(room);
    l2t_batch_begin(&writer, room, room_bytes, room_bytes);
    append(&writer, "x");
    assert_null(l2t_batch_append(&writer, 65536));
    assert_non_null(l2t_batch_append(&writer, 65535));
    l2t_batch_begin(&writer, room, room_bytes, room_bytes);
    assert_non_null(l2t_batch_append(&writer, 65536));
    assert_null(l2t_batch_append(&writer, 1));
    const uint8_t *message = l2t_batch_end(&writer, &bytes);
    assert_int_equal(bytes, L2T_HEADER_BYTES + 65536);
    assert_int_equal(message[2], L2T_FRAME);
    free(room);
}

/* What the writer writes, the reader reads, for any sizes. */
static void what_is_written_is_read(void **state)
{
    uint32_t seed = 7;
    uint8_t room[4098];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct l2t_batch_writer writer;
        struct l2t_batch_reader reader;
        uint32_t sizes[64];
        uint32_t count = 0;
        uint32_t bytes;
        uint8_t *to;

        l2t_batch_begin(&writer, room, sizeof room, 4096);
        for (;;) {
            seed = seed * 1664525u + 1013904223u;
            sizes[count] = 1 + (seed >> 16) % 300;
            to = count < 64 ? l2t_batch_append(&writer, sizes[count]) : NULL;
            if (to == NULL)
                break;
            memset(to, (int)count, sizes[count]);
            if (++count == 64)
                break;
        }
        const uint8_t *message = l2t_batch_end(&writer, &bytes);
        assert_true(count > 1 && bytes <= 4096);
        assert_int_equal(
            l2t_batch_open(&reader, message + L2T_HEADER_BYTES, bytes - L2T_HEADER_BYTES, 300),
            count);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t frame_bytes;
            const uint8_t *frame = l2t_batch_next(&reader, &frame_bytes);

            assert_int_equal(frame_bytes, sizes[i]);
            assert_int_equal(frame[0], i);
            assert_int_equal(frame[frame_bytes - 1], i);
        }
    }
}

/* Texts for ERROR and logs where l2-tunnel.md §4.1 has none. */
static void extension_errors_have_texts(void **state)
{
    static const struct l2t_limits limits = {2048, 256, 4096, 0};
    static const uint8_t wire[] = {0xa2, 0x03, 0x11, 0x00};
    static const struct {
        int error;
        const char *text;
    } rows[] = {{L2T_ERR_HELLO, "malformed hello"},
                {L2T_ERR_HELLO_AGAIN, "second hello"},
                {L2T_ERR_BATCH, "malformed batch"},
                {L2T_ERR_SUPER, "malformed super-frame"}};
    char text[L2T_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        l2t_decode_text(text, rows[i].error, wire, sizeof wire, &limits);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_reads_as_the_vectors_say),
        cmocka_unit_test(hello_is_written_as_in_the_worked_bytes),
        cmocka_unit_test(batch_reads_as_the_vectors_say),
        cmocka_unit_test(batch_is_written_as_in_the_worked_bytes),
        cmocka_unit_test(a_lone_frame_is_written_as_frame),
        cmocka_unit_test(a_message_never_exceeds_the_peers_limit),
        cmocka_unit_test(a_frame_above_65535_goes_alone),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(extension_errors_have_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
