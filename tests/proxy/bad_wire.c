#include "bad_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void luck_seed(struct luck *luck, uint64_t seed)
{
    luck->state = seed * 0x9e3779b97f4a7c15u + 1;
}

uint32_t luck_draw(struct luck *luck, uint32_t below)
{
    luck->state ^= luck->state << 13;
    luck->state ^= luck->state >> 7;
    luck->state ^= luck->state << 17;
    return below == 0 ? 0 : (uint32_t)(luck->state >> 11) % below;
}

bool luck_percent(struct luck *luck, uint32_t share)
{
    return luck_draw(luck, 100) < share;
}

void wire_put(struct wire *wire, const struct wire_plan *plan, struct luck *luck, uint64_t now_us,
              const struct world_segment *segment)
{
    const uint32_t copies = 1 + luck_percent(luck, plan->duplicate_percent);

    wire->counts.segments++;
    if (luck_percent(luck, plan->loss_percent) ||
        (now_us >= plan->dark_from_us && now_us < plan->dark_to_us)) {
        wire->counts.lost++;
        return;
    }
    wire->counts.doubled += copies - 1;
    for (uint32_t i = 0; i < copies && wire->count < WIRE_MAX; i++) {
        struct wire_frame *frame = malloc(sizeof *frame + segment->payload_bytes);

        assert_non_null(frame);
        frame->at_us = now_us + plan->delay_us + luck_draw(luck, plan->jitter_us);
        frame->serial = ++wire->serial;
        frame->segment = *segment;
        if (segment->payload_bytes > 0)
            memcpy(frame->payload, segment->payload, segment->payload_bytes);
        frame->segment.payload = frame->payload;
        wire->frames[wire->count++] = frame;
    }
}

struct wire_frame *wire_take(struct wire *wire, uint64_t now_us)
{
    uint32_t first = 0;

    for (uint32_t i = 1; i < wire->count; i++)
        if (wire->frames[i]->at_us < wire->frames[first]->at_us)
            first = i;
    if (wire->count == 0 || wire->frames[first]->at_us > now_us)
        return NULL;
    struct wire_frame *frame = wire->frames[first];
    wire->count--;
    memmove(&wire->frames[first], &wire->frames[first + 1],
            (wire->count - first) * sizeof wire->frames[0]);
    wire->counts.overtaken += frame->serial < wire->newest;
    wire->newest = frame->serial > wire->newest ? frame->serial : wire->newest;
    return frame;
}

void wire_clear(struct wire *wire)
{
    while (wire->count > 0)
        free(wire->frames[--wire->count]);
}
