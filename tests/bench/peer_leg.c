#include "peer_leg.h"

#include <stdlib.h>
#include <string.h>

static bool happens(struct leg *leg, unsigned per_mille)
{
    leg->random ^= leg->random << 13;
    leg->random ^= leg->random >> 7;
    leg->random ^= leg->random << 17;
    return (leg->random >> 11) % 1000 < per_mille;
}

void leg_init(struct leg *leg, const struct leg_quality *quality, unsigned seed)
{
    *leg = (struct leg){.quality = quality, .random = (seed + 1) * 0x9e3779b97f4a7c15u};
}

bool leg_is_bad(const struct leg_quality *quality)
{
    return quality->delay_us != 0 || quality->loss != 0 || quality->duplicate != 0 ||
           quality->reorder != 0 || quality->rate_kbit != 0;
}

static uint64_t on_the_line_ns(const struct leg *leg, size_t bytes)
{
    return leg->quality->rate_kbit == 0 ? 0 : bytes * 8 * 1000000 / leg->quality->rate_kbit;
}

static bool put(struct leg *leg, const uint8_t *data, size_t bytes, uint16_t gso_bytes,
                uint64_t now_ns)
{
    const uint64_t start_ns = leg->free_at_ns > now_ns ? leg->free_at_ns : now_ns;

    if (start_ns - now_ns > on_the_line_ns(leg, leg->quality->queue_bytes)) {
        leg->counts.overflowed++;
        return true;
    }
    struct leg_frame *frame = malloc(sizeof *frame + bytes);

    if (frame == NULL)
        return false;
    leg->free_at_ns = start_ns + on_the_line_ns(leg, bytes);
    *frame = (struct leg_frame){.due_ns = leg->free_at_ns + leg->quality->delay_us * 1000ull,
                                .bytes = bytes,
                                .gso_bytes = gso_bytes};
    memcpy(frame->data, data, bytes);
    if (leg->first != NULL && happens(leg, leg->quality->reorder)) {
        frame->due_ns = leg->first->due_ns;
        frame->next = leg->first;
        leg->first = frame;
        leg->counts.overtaking++;
        return true;
    }
    if (leg->first == NULL)
        leg->first = frame;
    else
        leg->last->next = frame;
    leg->last = frame;
    return true;
}

bool leg_enter(struct leg *leg, const uint8_t *data, size_t bytes, uint16_t gso_bytes,
               uint64_t now_ns)
{
    leg->counts.frames++;
    if (happens(leg, leg->quality->loss)) {
        leg->counts.lost++;
        return true;
    }
    if (!put(leg, data, bytes, gso_bytes, now_ns))
        return false;
    if (!happens(leg, leg->quality->duplicate))
        return true;
    leg->counts.doubled++;
    return put(leg, data, bytes, gso_bytes, now_ns);
}

struct leg_frame *leg_leave(struct leg *leg, uint64_t now_ns)
{
    struct leg_frame *frame = leg->first;

    if (frame == NULL || frame->due_ns > now_ns)
        return NULL;
    leg->first = frame->next;
    return frame;
}

uint64_t leg_due_ns(const struct leg *leg)
{
    return leg->first == NULL ? UINT64_MAX : leg->first->due_ns;
}
