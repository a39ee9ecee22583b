/*
 * Seeded scripts against the invariants of a card's model. A failing script is shrunk and printed.
 *
 *   <card>.model [sequences [first seed]]     AERO_MODEL_SEQUENCES does the same under ctest
 */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MIN = 10, STEPS_MAX = 120 };

static uint32_t sequences = 300;
static uint32_t first_seed = 1;

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static uint32_t pick(uint32_t *seed)
{
    uint32_t sum = 0;
    uint32_t i = 0;

    for (i = 0; i < script_kind.operation_count; i++)
        sum += script_kind.operations[i].weight;
    uint32_t at = next_random(seed) % sum;
    for (i = 0; at >= script_kind.operations[i].weight; i++)
        at -= script_kind.operations[i].weight;
    return i;
}

static uint32_t generate(struct step *steps, uint32_t seed)
{
    uint32_t random = seed * 2654435761u | 1;
    const uint32_t count = STEPS_MIN + next_random(&random) % (STEPS_MAX - STEPS_MIN);

    for (uint32_t i = 0; i < count; i++) {
        steps[i].operation = pick(&random);
        steps[i].a = next_random(&random);
        steps[i].b = next_random(&random);
    }
    return count;
}

static const char *run(const struct step *steps, uint32_t count)
{
    struct script_counts unused = {0};

    return script_kind.run(steps, count, &unused);
}

/* Leaves out every stretch of `chunk` steps without which the script still fails. */
static uint32_t leave_out(struct step *steps, uint32_t count, uint32_t chunk)
{
    struct step shorter[STEPS_MAX];

    for (uint32_t at = 0; at + chunk <= count;) {
        memcpy(shorter, steps, at * sizeof *steps);
        memcpy(shorter + at, steps + at + chunk, (count - at - chunk) * sizeof *steps);
        if (run(shorter, count - chunk) != NULL) {
            count -= chunk;
            memcpy(steps, shorter, count * sizeof *steps);
        } else {
            at += chunk;
        }
    }
    return count;
}

/* Long stretches first, and all over again until nothing can be left out any more. */
static uint32_t shrink(struct step *steps, uint32_t count)
{
    uint32_t before;

    do {
        before = count;
        for (uint32_t chunk = count / 2; chunk > 0; chunk /= 2)
            count = leave_out(steps, count, chunk);
    } while (count < before);
    return count;
}

static void every_script_keeps_the_invariants(void **state)
{
    struct script_counts counts = {0};
    uint64_t operations = 0;

    (void)state;
    for (uint32_t seed = first_seed; seed < first_seed + sequences; seed++) {
        struct step steps[STEPS_MAX];
        uint32_t count = generate(steps, seed);

        operations += count;
        if (script_kind.run(steps, count, &counts) == NULL)
            continue;
        count = shrink(steps, count);
        print_error("seed %u, shrunk to %u operations:\n", seed, count);
        for (uint32_t i = 0; i < count; i++)
            print_error("    {OP_%s, 0x%x, 0x%x},\n",
                        script_kind.operations[steps[i].operation].name, steps[i].a, steps[i].b);
        fail_msg("%s", run(steps, count));
    }
    print_message("%s: %u sequences, %llu operations, %llu defects, %llu frames out, %llu in\n",
                  script_kind.name, sequences, (unsigned long long)operations,
                  (unsigned long long)counts.defects, (unsigned long long)counts.frames_out,
                  (unsigned long long)counts.frames_in);
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
