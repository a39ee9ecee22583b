/*
 * script.h - property tests: seeded scripts of operations, run against a card and its model.
 *
 * A script is a list of steps; the same script always runs the same way. A model gives the table
 * `script_kind`; main() in script.c makes scripts from seeds, runs them, shrinks one that fails
 * to a short one and prints it. Any value of a step is legal, so that any part of a script is.
 */
#ifndef NIC_MODEL_SCRIPT_H
#define NIC_MODEL_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct step {
    uint32_t operation, a, b; /* a and b: their meaning depends on the operation */
};

struct script_counts {
    uint64_t frames_out, frames_in; /* compared byte by byte */
    uint64_t defects;               /* of the guest: refused, dropped or answered by a reset */
};

struct script_operation {
    const char *name;
    uint8_t weight; /* how often it comes, out of the sum */
};

struct script_kind {
    const char *name;
    const struct script_operation *operations;
    uint32_t operation_count;
    /** Powers a card on and runs it. NULL, or a sentence about the first thing that was wrong. */
    const char *(*run)(const struct step *steps, uint32_t count, struct script_counts *counts);
};

extern const struct script_kind script_kind;

#endif
