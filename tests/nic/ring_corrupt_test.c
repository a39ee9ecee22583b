/* Corrupt state: net-rings.md §3.6. The lines of ring_trace.txt cover each condition once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring_fixture.h"

enum { HEAD, RESERVE, COMMIT };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* "sets head := tail_commit, i.e. drops the whole backlog, reports CORRUPT" and counts it. */
static void corruption_drops_the_backlog_once_and_is_counted(void **state)
{
    struct fixture f = {0};
    uint8_t got[64];

    (void)state;
    fixture_make(&f, 64);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ring_push(&f.ring, (const uint8_t *)"abcd", 4), 0);
    memset(f.ring.data, 0x7f, 4);
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), RING_ERR_CORRUPT);
    assert_int_equal(f.ring.nth_corrupt, 1);
    assert_int_equal(f.ring.words[HEAD], f.ring.words[COMMIT]);
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), RING_ERR_EMPTY);
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"next", 4), 0);
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), 4);
    assert_memory_equal(got, "next", 4);
    fixture_free(&f);
}

/* "by a producer repeatedly: bound the retries, then fail the push as FULL and count it". */
static void a_producer_gives_up_after_bounded_retries_and_counts(void **state)
{
    struct fixture f = {0};
    struct ring_slot slot;

    (void)state;
    fixture_make(&f, 64);
    f.ring.words[RESERVE] = f.ring.words[COMMIT] = 68;
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"a", 1), RING_ERR_FULL);
    assert_int_equal(f.ring.nth_corrupt, 1);
    assert_int_equal(ring_reserve(&f.ring, &slot, 1), RING_ERR_FULL);
    assert_int_equal(f.ring.nth_corrupt, 2);
    assert_int_equal(f.ring.words[RESERVE], 68);
    fixture_free(&f);
}

/* An ordinary FULL is no corruption. */
static void a_full_ring_is_not_counted_as_corrupt(void **state)
{
    struct fixture f = {0};
    uint8_t record[60] = {0};

    (void)state;
    fixture_make(&f, 64);
    assert_int_equal(ring_push(&f.ring, record, 60), 0);
    assert_int_equal(ring_push(&f.ring, record, 0), RING_ERR_FULL);
    assert_int_equal(f.ring.nth_corrupt, 0);
    fixture_free(&f);
}

/* §3.3: commits become visible in reservation order; §3.6: no loop without progress. */
static void behind_a_stalled_producer_the_commit_is_owed(void **state)
{
    struct fixture f = {0};
    struct ring second;
    uint8_t got[8];

    (void)state;
    fixture_make(&f, 64);
    assert_int_equal(ring_open(&second, f.buffer, f.buffer_bytes, RING_KIND_NET_TX, 0), 0);
    f.ring.words[RESERVE] = 8; /* somebody reserved 8 bytes and stalls */
    assert_int_equal(ring_push(&second, (const uint8_t *)"2", 1), 0);
    assert_int_equal(f.ring.words[RESERVE], 16);
    assert_int_equal(f.ring.words[COMMIT], 0);
    assert_int_equal(ring_pop(&f.ring, got, sizeof got), RING_ERR_EMPTY);
    assert_int_equal(ring_push(&second, (const uint8_t *)"3", 1), RING_ERR_FULL);
    memcpy(f.ring.data, (const uint8_t[]){1, 0, 0, 0, '1'}, 5);
    f.ring.words[COMMIT] = 8; /* it goes on */
    assert_int_equal(ring_push(&second, (const uint8_t *)"3", 1), 0);
    for (char c = '1'; c <= '3'; c++) {
        assert_int_equal(ring_pop(&f.ring, got, sizeof got), 1);
        assert_int_equal(got[0], c);
    }
    assert_int_equal(second.nth_corrupt, 0);
    fixture_free(&f);
}

/* A producer's last record does not stay invisible: nobody pushes after it. */
static void an_owed_commit_is_paid_by_settling(void **state)
{
    struct fixture f = {0};
    uint8_t got[8];

    (void)state;
    fixture_make(&f, 64);
    assert_true(ring_settle(&f.ring));
    f.ring.words[RESERVE] = 8;
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"2", 1), 0);
    assert_false(ring_settle(&f.ring));
    assert_false(ring_wait_space(&f.ring, 1)); /* waits for the producer, not for the consumer */
    memcpy(f.ring.data, (const uint8_t[]){1, 0, 0, 0, '1'}, 5);
    f.ring.words[COMMIT] = 8;
    assert_true(ring_wait_space(&f.ring, 1));
    for (char c = '1'; c <= '2'; c++) {
        assert_int_equal(ring_pop(&f.ring, got, sizeof got), 1);
        assert_int_equal(got[0], c);
    }
    assert_int_equal(f.ring.nth_corrupt, 0);
    fixture_free(&f);
}

/* Somebody commits over an owed commit: it is forgotten and counted, the producer goes on. */
static void an_owed_commit_that_was_passed_over_is_forgotten(void **state)
{
    struct fixture f = {0};

    (void)state;
    fixture_make(&f, 64);
    f.ring.words[RESERVE] = 8;
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"2", 1), 0);
    f.ring.words[COMMIT] = 16;
    assert_int_equal(ring_push(&f.ring, (const uint8_t *)"3", 1), 0);
    assert_int_equal(f.ring.nth_corrupt, 1);
    assert_int_equal(f.ring.words[COMMIT], 24);
    fixture_free(&f);
}

/* "MUST never read or write outside the data region whatever the cursors and lengths are". */
static void random_words_and_bytes_never_reach_outside(void **state)
{
    static const uint32_t capacities[] = {4, 8, 24, 64, 100, 4096};
    uint32_t seed = 1;
    uint8_t record[64] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        struct fixture f = {0};

        fixture_make(&f, capacities[i]);
        for (int round = 0; round < 3000; round++) {
            const uint32_t word = next_random(&seed) % 3;
            const uint32_t from = f.ring.words[next_random(&seed) % 3];
            struct ring_slot slot;

            f.ring.words[word] = next_random(&seed) % 4 == 0 ? next_random(&seed) << 8
                                                             : from + next_random(&seed) % 64;
            f.ring.data[next_random(&seed) % capacities[i]] = (uint8_t)next_random(&seed);
            f.ring.owes = false; /* its bound is for a live peer and takes a second each */
            switch (next_random(&seed) % 3) {
            case 0:
                f.ring.words[COMMIT] = f.ring.words[RESERVE];
                ring_push(&f.ring, record, next_random(&seed) % 64);
                break;
            case 1:
                if (ring_reserve(&f.ring, &slot, next_random(&seed) % 64) == 0) {
                    memset(slot.payload, 0, slot.bytes);
                    ring_commit(&f.ring, &slot);
                }
                break;
            default:
                ring_pop(&f.ring, record, sizeof record);
                break;
            }
            fixture_check_surroundings(&f);
        }
        fixture_free(&f);
    }
}

/* "MUST NOT wedge": after any state the consumer is at the tail within two calls. */
static void the_consumer_is_never_wedged(void **state)
{
    static const uint32_t words[] = {0, 2, 4, 60, 64, 68, 0x7fffffff, 0x80000000, 0xfffffffc};
    const size_t count = sizeof words / sizeof words[0];
    uint8_t got[64];

    (void)state;
    for (size_t head = 0; head < count; head++)
        for (size_t tail = 0; tail < count; tail++) {
            struct fixture f = {0};
            int calls = 0;

            fixture_make(&f, 64);
            memset(f.ring.data, 0xff, 64);
            f.ring.words[HEAD] = words[head];
            f.ring.words[RESERVE] = f.ring.words[COMMIT] = words[tail];
            while (ring_has_data(&f.ring) && calls < 3) {
                ring_pop(&f.ring, got, sizeof got);
                calls++;
            }
            assert_true(calls < 3);
            fixture_free(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corruption_drops_the_backlog_once_and_is_counted),
        cmocka_unit_test(a_producer_gives_up_after_bounded_retries_and_counts),
        cmocka_unit_test(a_full_ring_is_not_counted_as_corrupt),
        cmocka_unit_test(behind_a_stalled_producer_the_commit_is_owed),
        cmocka_unit_test(an_owed_commit_is_paid_by_settling),
        cmocka_unit_test(an_owed_commit_that_was_passed_over_is_forgotten),
        cmocka_unit_test(random_words_and_bytes_never_reach_outside),
        cmocka_unit_test(the_consumer_is_never_wedged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
