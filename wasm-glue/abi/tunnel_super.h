/*
 * tunnel_super.h - super-frames of a card on their way into a tunnel: uncut to a proxy that takes
 *                  them, cut into ordinary frames for any other.
 *
 * Source   spec/l2-extensions.md §6.
 * Memory   The caller owns the struct, and keeps it and the client in place.
 * Guest    Wrote the frame: what cannot be cut is dropped.
 */
#ifndef ABI_TUNNEL_SUPER_H
#define ABI_TUNNEL_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "tunnel/client.h"
#include "tunnel/super.h"

struct tunnel_super {
    uint8_t *room; /* the client's queue, or scratch */
    uint32_t frame_bytes;
    uint16_t gso_bytes;
    uint8_t scratch[L2T_FRAME_MAX_JUMBO];
};

/**
 * Room for a super-frame of segments of gso_bytes, to be filled in before tunnel_super_finish().
 * NULL: longer than any super-frame, or the client refused it (its events say why).
 */
uint8_t *tunnel_super_start(struct tunnel_super *super, struct l2t_client *client,
                            uint32_t frame_bytes, uint16_t gso_bytes);

/**
 * Queues it. Returns how many frames that made, 0 when it is no TCP packet that can be cut, or
 * -1 when the client refused one of them.
 */
int32_t tunnel_super_finish(struct tunnel_super *super, struct l2t_client *client);

#endif
