/*
 * bad_wire.h - one direction of a path that loses, doubles, delays and reorders segments, all drawn
 * from a seed in virtual time.
 */
#ifndef PROXY_BAD_WIRE_H
#define PROXY_BAD_WIRE_H

#include "world_frame.h"

struct luck {
    uint64_t state;
};

void luck_seed(struct luck *luck, uint64_t seed);
/** 0 to below - 1; 0 if below is 0. */
uint32_t luck_draw(struct luck *luck, uint32_t below);
bool luck_percent(struct luck *luck, uint32_t share);

struct wire_plan {
    uint32_t loss_percent, duplicate_percent, delay_us, jitter_us;
    uint64_t dark_from_us, dark_to_us; /* nothing passes between them */
};

struct wire_counts {
    uint64_t segments, lost, doubled, overtaken;
};

enum { WIRE_MAX = 2048 };

struct wire_frame {
    uint64_t at_us, serial;
    struct world_segment segment;
    uint8_t payload[];
};

struct wire {
    struct wire_frame *frames[WIRE_MAX];
    uint32_t count;
    uint64_t serial, newest; /* of those put, of those taken */
    struct wire_counts counts;
};

/** Copies the segment onto the wire, or not. */
void wire_put(struct wire *wire, const struct wire_plan *plan, struct luck *luck, uint64_t now_us,
              const struct world_segment *segment);
/** The next one due, to be freed by the caller; NULL: none. */
struct wire_frame *wire_take(struct wire *wire, uint64_t now_us);
void wire_clear(struct wire *wire);

#endif
