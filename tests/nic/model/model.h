/*
 * model.h - a driver that does legal, odd and hostile things in any order, and what must hold
 *           for every card whatever it does (issue: property test).
 *
 * A script is a list of operations; the same script always runs the same way. run_script()
 * powers a card on, runs it and returns NULL, or a sentence about the first thing that was wrong.
 */
#ifndef NIC_MODEL_H
#define NIC_MODEL_H

#include "driver.h"

enum operation {
    OP_SEND_LEGACY,
    OP_SEND_DATA,
    OP_SEND_SEGMENTS,
    OP_POLL,
    OP_RECEIVE,
    OP_OFFER,
    OP_REFILL,
    OP_SINK,
    OP_TIME,
    OP_MASK,
    OP_READ_ICR,
    OP_MODERATION,
    OP_LINK,
    OP_RESET,
    OP_SNAPSHOT,
    OP_HOSTILE,
    OP_CHECK,
    OP_COUNT,
};

extern const char *const operation_names[OP_COUNT];

struct step {
    enum operation operation;
    uint32_t a, b; /* meaning depends on the operation; any value is legal */
};

const char *run_script(const struct step *steps, uint32_t count);

#endif
