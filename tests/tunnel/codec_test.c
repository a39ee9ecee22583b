/* The codec: l2-tunnel.md §3 to §5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/codec.h"
#include "vectors.h"

static const struct l2t_limits defaults = {
    .frame_max_bytes = L2T_FRAME_MAX_DEFAULT,
    .control_max_bytes = L2T_CONTROL_MAX_DEFAULT,
};

static const char *error_name(int error)
{
    switch (error) {
    case L2T_ERR_SHORT:
        return "ERR_SHORT";
    case L2T_ERR_MAGIC:
        return "ERR_MAGIC";
    case L2T_ERR_VERSION:
        return "ERR_VERSION";
    case L2T_ERR_LONG:
        return "ERR_LONG";
    default:
        return "?";
    }
}

static char *to_hex(const uint8_t *bytes, size_t count)
{
    static char hex[8192];

    snprintf(hex, sizeof hex, "-");
    for (size_t i = 0; i < count; i++)
        snprintf(hex + 2 * i, sizeof hex - 2 * i, "%02x", bytes[i]);
    return hex;
}

static void expect(const struct vector *vector, const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        fail_msg("%s:%u %s: %s, want %s", vector->file, vector->line, vector->field[0], got, want);
}

static void check_decode(const struct vector *vector)
{
    static char got[8200];
    struct l2t_message message = {0};
    struct l2t_limits limits;
    size_t bytes;
    uint8_t *wire = vector_bytes(vector->field[2], &bytes);

    assert_int_equal(sscanf(vector->field[1], "%u,%u,%u", &limits.frame_max_bytes,
                            &limits.control_max_bytes, &limits.message_max_bytes),
                     3);
    const int error = l2t_decode(&message, wire, bytes, &limits);
    if (error == 0) {
        snprintf(got, sizeof got, "%02x %s", message.type,
                 to_hex(message.payload, message.payload_bytes));
        assert_int_equal(message.flags, wire[3]);
    } else {
        char text[L2T_TEXT_BYTES];

        l2t_decode_text(text, error, wire, bytes, &limits);
        snprintf(got, sizeof got, "%s %s", error_name(error), text);
        assert_null(message.payload); /* written only on success */
    }
    expect(vector, got, vector->field[3]);
    vector_bytes_free(wire, bytes);
}

/* §3, §4, §4.1: "checks in this order and reports the first failure". */
static void decoding_follows_the_table(void **state)
{
    (void)state;
    vectors_for_each("l2t_decode", 4, check_decode);
}

/* §3: what decodes with flags 0 encodes to the same bytes. */
static void check_encode(const struct vector *vector)
{
    struct l2t_message message;
    struct l2t_limits limits;
    uint8_t out[512];
    size_t bytes;
    uint8_t *wire = vector_bytes(vector->field[2], &bytes);

    sscanf(vector->field[1], "%u,%u,%u", &limits.frame_max_bytes, &limits.control_max_bytes,
           &limits.message_max_bytes);
    if (l2t_decode(&message, wire, bytes, &limits) == 0 && message.flags == 0) {
        assert_int_equal(l2t_encode(out, bytes - 1, message.type, message.payload,
                                    message.payload_bytes, &limits),
                         L2T_ERR_NO_ROOM);
        assert_int_equal(
            l2t_encode(out, bytes, message.type, message.payload, message.payload_bytes, &limits),
            bytes);
        assert_memory_equal(out, wire, bytes);
    }
    vector_bytes_free(wire, bytes);
}

static void worked_bytes_encode_as_they_decode(void **state)
{
    (void)state;
    vectors_for_each("l2t_decode", 4, check_encode);
}

/* §4: "A sender MUST NOT emit a payload above its own limit." */
static void a_payload_above_the_own_limit_is_not_encoded(void **state)
{
    static uint8_t payload[2049];
    static uint8_t wire[4096];

    (void)state;
    assert_int_equal(l2t_encode(wire, sizeof wire, L2T_FRAME, payload, 2048, &defaults), 2052);
    assert_int_equal(l2t_encode(wire, sizeof wire, L2T_FRAME, payload, 2049, &defaults),
                     L2T_ERR_LONG);
    assert_int_equal(l2t_encode(wire, sizeof wire, L2T_PING, payload, 256, &defaults), 260);
    assert_int_equal(l2t_encode(wire, sizeof wire, L2T_PING, payload, 257, &defaults),
                     L2T_ERR_LONG);
}

/* Every prefix of a message is answered; the wire ends at an unreadable page. */
static void every_prefix_of_a_message_is_answered(void **state)
{
    static const uint8_t whole[] = {0xa2, 0x03, 0x7f, 0x00, 0, 6, 0, 3, 'a', 'b', 'c'};

    (void)state;
    for (size_t bytes = 0; bytes <= sizeof whole; bytes++) {
        struct l2t_message message;
        uint8_t *wire = guarded_copy(whole, bytes);
        const int error = l2t_decode(&message, wire, bytes, &defaults);

        assert_int_equal(error, bytes < 4 ? L2T_ERR_SHORT : 0);
        if (error == 0)
            assert_int_equal(l2t_error_parse(message.payload, message.payload_bytes).structured,
                             bytes == sizeof whole);
        vector_bytes_free(wire, bytes);
    }
}

static void check_error_parse(const struct vector *vector)
{
    static char got[8200];
    size_t bytes;
    uint8_t *payload = vector_bytes(vector->field[1], &bytes);
    const struct l2t_error_payload error = l2t_error_parse(payload, bytes);

    if (error.structured)
        snprintf(got, sizeof got, "%u %s", error.code, to_hex(error.text, error.text_bytes));
    else
        snprintf(got, sizeof got, "UNSTRUCTURED");
    expect(vector, got, vector->field[2]);
    vector_bytes_free(payload, bytes);
}

/* §5: "structured if and only if its length is at least 4, equals 4 + msg_len exactly, and msg
 * is valid UTF-8". */
static void error_payload_is_structured_exactly_when_the_text_says(void **state)
{
    (void)state;
    vectors_for_each("l2t_error", 3, check_error_parse);
}

static void check_error_encode(const struct vector *vector)
{
    const uint32_t limit = (uint32_t)strtoul(vector->field[1], NULL, 10);
    const uint16_t code = (uint16_t)strtoul(vector->field[2], NULL, 10);
    uint8_t out[512];
    char text[256] = "";
    size_t bytes;
    uint8_t *raw = vector_bytes(vector->field[3], &bytes);

    memcpy(text, raw, bytes);
    memset(out, 0xee, sizeof out);
    const uint32_t used = l2t_error_encode(out, limit, code, text);
    assert_true(used <= limit);
    assert_int_equal(out[used], 0xee);
    expect(vector, to_hex(out, used), vector->field[4]);
    if (used != 0)
        assert_true(l2t_error_parse(out, used).structured);
    vector_bytes_free(raw, bytes);
}

/* §5: "the longest prefix ... that ends on a UTF-8 character boundary". */
static void error_text_is_cut_at_a_character(void **state)
{
    (void)state;
    vectors_for_each("l2t_error_encode", 5, check_error_encode);
}

/* §5: at most min(L - 4, 65535) bytes of text. */
static void error_text_never_exceeds_its_length_field(void **state)
{
    char *text = malloc(70001);
    uint8_t *out = malloc(70010);

    (void)state;
    memset(text, 'x', 70000);
    text[70000] = '\0';
    assert_int_equal(l2t_error_encode(out, 70010, 1, text), 65539);
    assert_memory_equal(out, "\0\1\xff\xff", 4);
    assert_true(l2t_error_parse(out, 65539).structured);
    free(text);
    free(out);
}

/* §6: a close reason has at most 123 bytes on a UTF-8 boundary. */
static void utf8_prefix_ends_on_a_boundary(void **state)
{
    const uint8_t *text = (const uint8_t *)"a\xe2\x82\xac"
                                           "b";

    (void)state;
    assert_int_equal(l2t_utf8_prefix(text, 5, 9), 5);
    assert_int_equal(l2t_utf8_prefix(text, 5, 5), 5);
    assert_int_equal(l2t_utf8_prefix(text, 5, 4), 4);
    assert_int_equal(l2t_utf8_prefix(text, 5, 3), 1);
    assert_int_equal(l2t_utf8_prefix(text, 5, 2), 1);
    assert_int_equal(l2t_utf8_prefix(text, 5, 1), 1);
    assert_int_equal(l2t_utf8_prefix(text, 5, 0), 0);
}

/* §5: the client's own wording, never the peer's bytes. */
static void wording_for_an_error_is_ours(void **state)
{
    static const struct {
        int32_t code;
        uint32_t detail;
        const char *line;
    } rows[] = {
        {1, 0, "l2 tunnel error (1): protocol error"},
        {2, 0, "l2 tunnel error (2): authentication required"},
        {3, 0, "l2 tunnel error (3): invalid authentication token"},
        {4, 0, "l2 tunnel error (4): missing Origin"},
        {5, 0, "l2 tunnel error (5): Origin denied"},
        {6, 0, "l2 tunnel error (6): quota exceeded (bytes)"},
        {7, 0, "l2 tunnel error (7): quota exceeded (fps)"},
        {8, 0, "l2 tunnel error (8): quota exceeded (connections)"},
        {9, 0, "l2 tunnel error (9): backpressure"},
        {0, 0, "l2 tunnel error (0)"},
        {10, 0, "l2 tunnel error (10)"},
        {65535, 0, "l2 tunnel error (65535)"},
        {-1, 7, "l2 tunnel error (unstructured payload, 7 bytes)"},
    };
    char text[L2T_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        l2t_peer_error_text(text, rows[i].code, rows[i].detail);
        assert_string_equal(text, rows[i].line);
    }
    l2t_peer_error_text(text, -1, UINT32_MAX);
    assert_string_equal(text, "l2 tunnel error (unstructured payload, 4294967295 bytes)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_follows_the_table),
        cmocka_unit_test(worked_bytes_encode_as_they_decode),
        cmocka_unit_test(a_payload_above_the_own_limit_is_not_encoded),
        cmocka_unit_test(every_prefix_of_a_message_is_answered),
        cmocka_unit_test(error_payload_is_structured_exactly_when_the_text_says),
        cmocka_unit_test(error_text_is_cut_at_a_character),
        cmocka_unit_test(error_text_never_exceeds_its_length_field),
        cmocka_unit_test(utf8_prefix_ends_on_a_boundary),
        cmocka_unit_test(wording_for_an_error_is_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
