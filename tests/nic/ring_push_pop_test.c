/* Pushing and popping: net-rings.md §3.2 to §3.5, §3.7, §3.8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring_fixture.h"
#include "vectors.h"

/* The vector file drives one ring; `pusher` is the way a record gets in. */
static struct fixture trace;
static int (*pusher)(struct ring *ring, const uint8_t *record, uint32_t bytes);

static int push_reserved(struct ring *ring, const uint8_t *record, uint32_t bytes)
{
    struct ring_slot slot;
    const int result = ring_reserve(ring, &slot, bytes);

    if (result != 0)
        return result;
    assert_int_equal(slot.bytes, bytes);
    if (bytes != 0)
        memcpy(slot.payload, record, bytes);
    ring_commit(ring, &slot);
    return 0;
}

static const char *status_name(int64_t status)
{
    switch (status) {
    case 0:
        return "OK";
    case RING_ERR_EMPTY:
        return "EMPTY";
    case RING_ERR_FULL:
        return "FULL";
    case RING_ERR_TOO_LARGE:
        return "TOO_LARGE";
    case RING_ERR_CORRUPT:
        return "CORRUPT";
    default:
        return "?";
    }
}

static void step_push(const char *argument, char *got, size_t got_bytes)
{
    uint8_t filler[64];
    size_t bytes;

    if (argument[0] == '+') {
        bytes = strtoul(argument + 1, NULL, 10);
        assert_true(bytes <= sizeof filler);
        memset(filler, 0x5a, sizeof filler);
        snprintf(got, got_bytes, "%s", status_name(pusher(&trace.ring, filler, (uint32_t)bytes)));
        return;
    }
    uint8_t *record = vector_bytes(argument, &bytes);
    snprintf(got, got_bytes, "%s", status_name(pusher(&trace.ring, record, (uint32_t)bytes)));
    vector_bytes_free(record, bytes);
}

static void step_pop(const char *argument, char *got, size_t got_bytes)
{
    uint8_t record[64];
    const int64_t length = ring_pop(&trace.ring, record, (uint32_t)strtoul(argument, NULL, 10));

    if (length < 0) {
        snprintf(got, got_bytes, "%s", status_name(length));
        return;
    }
    snprintf(got, got_bytes, "-");
    for (int64_t i = 0; i < length; i++)
        snprintf(got + 2 * i, got_bytes - 2 * (size_t)i, "%02x", record[i]);
}

static void step_words(const char *argument, int first)
{
    char *end;

    for (int word = first; word < 3; word++) {
        trace.ring.words[word] = (uint32_t)strtoul(argument, &end, 10);
        argument = end + 1;
    }
}

static void step_poke(const char *argument)
{
    char *hex;
    const unsigned long at = strtoul(argument, &hex, 10);
    size_t bytes;
    uint8_t *value = vector_bytes(hex + 1, &bytes);

    memcpy(trace.ring.data + at, value, bytes);
    vector_bytes_free(value, bytes);
}

static void check_data(const struct vector *vector, const char *want)
{
    if (strcmp(want, "*") == 0)
        return;
    assert_int_equal(strlen(want), 2 * trace.ring.capacity_bytes);
    for (uint32_t i = 0; i < trace.ring.capacity_bytes; i++) {
        char got[3];

        snprintf(got, sizeof got, "%02x", trace.ring.data[i]);
        if (want[2 * i] != '.' && memcmp(got, want + 2 * i, 2) != 0)
            fail_msg("%s:%u: data[%u] is %s, want %.2s", vector->file, vector->line, i, got,
                     want + 2 * i);
    }
}

static void check_step(const struct vector *vector)
{
    const char *op = vector->field[0];
    const char *argument = vector->field[1];
    char got[160] = "OK";
    char cursors[64];

    if (strcmp(op, "ring") == 0) {
        char *words;

        fixture_free(&trace);
        fixture_make(&trace, (uint32_t)strtoul(argument, &words, 10));
        step_words(words + 1, 0);
    } else if (strcmp(op, "poke") == 0) {
        step_poke(argument);
    } else if (strcmp(op, "push") == 0) {
        step_push(argument, got, sizeof got);
    } else if (strcmp(op, "pop") == 0) {
        step_pop(argument, got, sizeof got);
    } else if (strcmp(op, "drain") == 0) {
        ring_drain(&trace.ring);
    } else {
        fail_msg("%s:%u: what is %s?", vector->file, vector->line, op);
    }
    if (strcmp(got, vector->field[2]) != 0)
        fail_msg("%s:%u: %s, want %s", vector->file, vector->line, got, vector->field[2]);
    snprintf(cursors, sizeof cursors, "%u,%u,%u", trace.ring.words[0], trace.ring.words[1],
             trace.ring.words[2]);
    if (strcmp(cursors, vector->field[3]) != 0)
        fail_msg("%s:%u: cursors %s, want %s", vector->file, vector->line, cursors,
                 vector->field[3]);
    check_data(vector, vector->field[4]);
    fixture_check_surroundings(&trace);
}

/* §3.8 and the rules around it, as a producer among several. */
static void trace_with_push(void **state)
{
    (void)state;
    pusher = ring_push;
    vectors_for_each("ring_trace", 5, check_step);
    fixture_free(&trace);
}

/* §3.3, last paragraph: a single producer's simplified form leaves the same words and bytes. */
static void trace_with_reserve_and_commit(void **state)
{
    (void)state;
    pusher = push_reserved;
    vectors_for_each("ring_trace", 5, check_step);
    fixture_free(&trace);
}

/* §3.7: 524 288 bytes hold 344 frames of 1514 bytes, 255 of 2048, 8192 of 60. */
static void default_ring_holds_as_many_frames_as_the_table_says(void **state)
{
    static const struct {
        uint32_t bytes, frames;
    } rows[] = {{1514, 344}, {2048, 255}, {60, 8192}};
    static uint8_t frame[2048];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f = {0};
        uint32_t frames = 0;

        fixture_make(&f, 524288);
        while (ring_push(&f.ring, frame, rows[i].bytes) == 0)
            frames++;
        assert_int_equal(frames, rows[i].frames);
        while (ring_pop(&f.ring, frame, sizeof frame) == rows[i].bytes)
            frames--;
        assert_int_equal(frames, 0);
        fixture_free(&f);
    }
}

/* §3.7: records with R <= capacity / 2 always fit an empty ring, wherever the cursors are. */
static void half_the_capacity_always_fits_an_empty_ring(void **state)
{
    uint8_t record[28] = {0};

    (void)state;
    for (uint32_t at = 0; at < 64; at += 4) {
        struct fixture f = {0};

        fixture_make(&f, 64);
        f.ring.words[0] = f.ring.words[1] = f.ring.words[2] = at;
        assert_int_equal(ring_push(&f.ring, record, sizeof record), 0);
        assert_int_equal(ring_pop(&f.ring, record, sizeof record), sizeof record);
        fixture_free(&f);
    }
}

/* A slot never committed leaves no trace. */
static void reservation_without_commit_is_invisible(void **state)
{
    struct fixture f = {0};
    struct ring_slot slot;
    uint8_t got[8];

    (void)state;
    fixture_make(&f, 64);
    assert_int_equal(ring_reserve(&f.ring, &slot, 8), 0);
    memset(slot.payload, 0xaa, 8);
    assert_false(ring_has_data(&f.ring));
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), RING_ERR_EMPTY);
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"x", 1), 0);
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), 1);
    assert_int_equal(got[0], 'x');
    fixture_free(&f);
}

/* §3.4: the payload is consumed before head is stored: a peek frees nothing. */
static void peek_leaves_the_record_until_release(void **state)
{
    struct fixture f = {0};
    const uint8_t *record;

    (void)state;
    fixture_make(&f, 64);
    assert_int_equal(ring_peek(&f.ring, &record, 64), RING_ERR_EMPTY);
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"abc", 3), 0);
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"de", 2), 0);
    assert_int_equal(ring_peek(&f.ring, &record, 64), 3);
    assert_memory_equal(record, "abc", 3);
    assert_int_equal(f.ring.words[0], 0);
    assert_int_equal(ring_peek(&f.ring, &record, 64), 3);
    ring_release(&f.ring);
    assert_int_equal(ring_peek(&f.ring, &record, 64), 2);
    assert_memory_equal(record, "de", 2);
    ring_release(&f.ring);
    assert_false(ring_has_data(&f.ring));
    fixture_free(&f);
}

/* §3.2: every length and every position, against a plain queue of what went in. */
static void every_length_at_every_place_comes_back(void **state)
{
    struct fixture f = {0};
    uint8_t record[64];
    uint8_t got[64];

    (void)state;
    fixture_make(&f, 128);
    f.ring.words[0] = f.ring.words[1] = f.ring.words[2] = 0xffffff80;
    for (uint32_t round = 0; round < 5000; round++) {
        const uint32_t bytes = (round * 7 + round / 61) % 61; /* R <= 64: always fits empty */

        memset(record, (int)(round & 0xff), sizeof record);
        assert_int_equal(ring_push(&f.ring, record, bytes), 0);
        assert_int_equal(ring_pop(&f.ring, got, sizeof got), bytes);
        assert_memory_equal(got, record, bytes);
        fixture_check_surroundings(&f);
    }
    fixture_free(&f);
}

/* §3.5: waiting for what is there already does not block. */
static void waiting_for_what_is_there_returns_at_once(void **state)
{
    struct fixture f = {0};
    uint8_t record[28] = {0};

    (void)state;
    fixture_make(&f, 32);
    assert_false(ring_wait_data(&f.ring, 1));
    assert_int_equal(ring_push(&f.ring, record, 28), 0);
    assert_true(ring_wait_data(&f.ring, 1000000));
    assert_int_equal(ring_push(&f.ring, record, 28), RING_ERR_FULL);
    assert_false(ring_wait_space(&f.ring, 1));
    assert_int_equal(ring_pop(&f.ring, record, 28), 28);
    assert_true(ring_wait_space(&f.ring, 1000000));
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace_with_push),
        cmocka_unit_test(trace_with_reserve_and_commit),
        cmocka_unit_test(default_ring_holds_as_many_frames_as_the_table_says),
        cmocka_unit_test(half_the_capacity_always_fits_an_empty_ring),
        cmocka_unit_test(reservation_without_commit_is_invisible),
        cmocka_unit_test(peek_leaves_the_record_until_release),
        cmocka_unit_test(every_length_at_every_place_comes_back),
        cmocka_unit_test(waiting_for_what_is_there_returns_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
