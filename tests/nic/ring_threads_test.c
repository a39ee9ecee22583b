#define _POSIX_C_SOURCE 200809L
/* Rings between real threads: net-rings.md §3.3, §3.5. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ring_fixture.h"

enum {
    PRODUCERS = 4,
    RECORDS = 20000,
    ROUNDS = 20000,
    WAIT_MS = 5000, /* only a lost wake-up lets it pass */
};

struct producer {
    struct ring ring; /* each thread has its own view */
    uint32_t id;
    uint32_t stuck;
};

static uint32_t record_bytes(uint32_t sequence)
{
    return 8 + sequence % 53;
}

static void *produce(void *argument)
{
    struct producer *self = argument;
    uint8_t record[64];

    for (uint32_t sequence = 0; sequence < RECORDS; sequence++) {
        memset(record, (int)((sequence + self->id) & 0xff), sizeof record);
        memcpy(record, &self->id, 4);
        memcpy(record + 4, &sequence, 4);
        while (ring_push(&self->ring, record, record_bytes(sequence)) != 0)
            if (!ring_wait_space(&self->ring, WAIT_MS))
                self->stuck++;
    }
    while (!ring_settle(&self->ring)) /* else a last record stays behind a preempted producer */
        ring_wait_space(&self->ring, WAIT_MS);
    return NULL;
}

static void stress(uint32_t capacity_bytes)
{
    struct fixture f = {0};
    struct producer producers[PRODUCERS] = {{.id = 0}};
    pthread_t threads[PRODUCERS];
    uint32_t counts[PRODUCERS] = {0};
    uint32_t empty_waits = 0;

    fixture_make(&f, capacity_bytes);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i].id = i;
        assert_int_equal(
            ring_open(&producers[i].ring, f.buffer, f.buffer_bytes, RING_KIND_NET_TX, 0), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (uint32_t seen = 0; seen < PRODUCERS * RECORDS;) {
        uint8_t record[64];
        uint32_t id;
        uint32_t sequence;
        const int64_t bytes = ring_pop(&f.ring, record, sizeof record);

        if (bytes == RING_ERR_EMPTY) {
            if (!ring_wait_data(&f.ring, WAIT_MS))
                assert_true(++empty_waits < 1000); /* early returns are allowed, a hang is not */
            continue;
        }
        assert_true(bytes >= 8);
        memcpy(&id, record, 4);
        memcpy(&sequence, record + 4, 4);
        assert_true(id < PRODUCERS);
        assert_int_equal(sequence, counts[id]); /* in order per producer, none lost or doubled */
        assert_int_equal(bytes, record_bytes(sequence));
        for (int64_t i = 8; i < bytes; i++)
            assert_int_equal(record[i], (sequence + id) & 0xff);
        counts[id]++;
        seen++;
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(producers[i].ring.nth_corrupt, 0);
    }
    assert_int_equal(f.ring.nth_corrupt, 0);
    assert_false(ring_has_data(&f.ring));
    fixture_check_surroundings(&f);
    fixture_free(&f);
}

/* §3.3: several producers, a ring that is full most of the time. */
static void four_producers_in_a_small_ring(void **state)
{
    (void)state;
    stress(256);
}

static void four_producers_in_a_large_ring(void **state)
{
    (void)state;
    stress(65536);
}

struct side {
    struct ring out;
    struct ring back;
    uint32_t lost;
};

/* Sleeps for data. A sleep that ran to its end was not woken, whatever it finds then. */
static uint32_t sleep_lost(struct ring *ring)
{
    struct timespec from;
    struct timespec to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    ring_wait_data(ring, WAIT_MS);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= WAIT_MS;
}

static void receive(struct side *side)
{
    uint8_t record[8];

    while (side->lost == 0 && ring_pop(&side->back, record, sizeof record) != 1)
        side->lost += sleep_lost(&side->back);
}

static void *answer(void *argument)
{
    struct side *side = argument;

    for (int round = 0; round < ROUNDS && side->lost == 0; round++) {
        receive(side);
        ring_push(&side->out, (const uint8_t *)"a", 1);
    }
    return NULL;
}

/* §3.5: wait with the value last seen: a commit between the look and the sleep is not missed. */
static void two_threads_that_answer_each_other_never_miss_a_wake_up(void **state)
{
    struct fixture forth = {0};
    struct fixture back = {0};
    struct side asking = {.lost = 0};
    struct side answering = {.lost = 0};
    pthread_t thread;

    (void)state;
    fixture_make(&forth, 64);
    fixture_make(&back, 64);
    asking.out = answering.back = forth.ring;
    asking.back = answering.out = back.ring;
    assert_int_equal(pthread_create(&thread, NULL, answer, &answering), 0);
    for (int round = 0; round < ROUNDS && asking.lost == 0; round++) {
        assert_int_equal(ring_push(&asking.out, (const uint8_t *)"q", 1), 0);
        receive(&asking);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(asking.lost, 0);
    assert_int_equal(answering.lost, 0);
    fixture_free(&forth);
    fixture_free(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_producers_in_a_small_ring),
        cmocka_unit_test(four_producers_in_a_large_ring),
        cmocka_unit_test(two_threads_that_answer_each_other_never_miss_a_wake_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
