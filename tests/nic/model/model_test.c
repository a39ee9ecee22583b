/*
 * Seeded scripts against the invariants of model.c. A failing script is shrunk and printed.
 *
 *   e1000.model [sequences [first seed]]     AERO_MODEL_SEQUENCES does the same under ctest
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { STEPS_MAX = 120 };

static uint32_t sequences = 300;
static uint32_t first_seed = 1;

/* How often each operation comes, out of the sum. */
static const uint8_t weights[OP_COUNT] = {
    [OP_SEND_LEGACY] = 10, [OP_SEND_DATA] = 10, [OP_SEND_SEGMENTS] = 6, [OP_POLL] = 14,
    [OP_RECEIVE] = 12,     [OP_OFFER] = 12,     [OP_REFILL] = 12,       [OP_SINK] = 5,
    [OP_TIME] = 5,         [OP_MASK] = 4,       [OP_READ_ICR] = 5,      [OP_MODERATION] = 2,
    [OP_LINK] = 1,         [OP_RESET] = 1,      [OP_SNAPSHOT] = 2,      [OP_HOSTILE] = 1,
    [OP_CHECK] = 2,
};

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static enum operation pick(uint32_t *seed)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < OP_COUNT; i++)
        sum += weights[i];
    uint32_t at = next_random(seed) % sum;
    for (uint32_t i = 0; i < OP_COUNT; i++) {
        if (at < weights[i])
            return (enum operation)i;
        at -= weights[i];
    }
    return OP_CHECK;
}

static uint32_t generate(struct step *steps, uint32_t seed)
{
    uint32_t random = seed * 2654435761u | 1;
    const uint32_t count = 10 + next_random(&random) % (STEPS_MAX - 10);

    for (uint32_t i = 0; i < count; i++) {
        steps[i].operation = pick(&random);
        steps[i].a = next_random(&random);
        steps[i].b = next_random(&random);
    }
    return count;
}

/* Leaves out as long a stretch as possible, again and again, while the script still fails. */
static uint32_t shrink(struct step *steps, uint32_t count)
{
    struct step shorter[STEPS_MAX];

    for (uint32_t chunk = count / 2; chunk > 0; chunk /= 2) {
        for (uint32_t at = 0; at + chunk <= count;) {
            memcpy(shorter, steps, at * sizeof *steps);
            memcpy(shorter + at, steps + at + chunk, (count - at - chunk) * sizeof *steps);
            if (run_script(shorter, count - chunk) != NULL) {
                count -= chunk;
                memcpy(steps, shorter, count * sizeof *steps);
            } else {
                at += chunk;
            }
        }
    }
    return count;
}

static void every_script_keeps_the_invariants(void **state)
{
    uint64_t operations = 0;

    (void)state;
    for (uint32_t seed = first_seed; seed < first_seed + sequences; seed++) {
        struct step steps[STEPS_MAX];
        uint32_t count = generate(steps, seed);

        operations += count;
        if (run_script(steps, count) == NULL)
            continue;
        count = shrink(steps, count);
        print_error("seed %u, shrunk to %u operations:\n", seed, count);
        for (uint32_t i = 0; i < count; i++)
            print_error("    {OP_%s, 0x%x, 0x%x},\n", operation_names[steps[i].operation],
                        steps[i].a, steps[i].b);
        fail_msg("%s", run_script(steps, count));
    }
    print_message("%u sequences, %llu operations\n", sequences, (unsigned long long)operations);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_script_keeps_the_invariants)};
    const char *wanted = argc > 1 ? argv[1] : getenv("AERO_MODEL_SEQUENCES");

    if (wanted != NULL)
        sequences = (uint32_t)strtoul(wanted, NULL, 10);
    if (argc > 2)
        first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
