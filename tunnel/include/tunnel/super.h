/*
 * super.h - SUPER, one long TCP segment that whoever delivers it cuts.
 *
 * Source   spec/l2-extensions.md §6; every § below is a section of it.
 * Memory   What is read borrows the payload.
 * Hostile  Any payload is accepted and answered by a struct l2t_super or L2T_ERR_SUPER.
 */
#ifndef TUNNEL_SUPER_H
#define TUNNEL_SUPER_H

#include <stddef.h>
#include <stdint.h>

#include "tunnel/codec.h"

enum {
    L2T_SUPER_HEAD_BYTES = 2,         /* gso_size */
    L2T_SUPER_GSO_MAX = 65495,        /* 65535 less the shortest headers */
    L2T_SUPER_FRAME_MAX = 14 + 65535, /* IP total length covers all of it */
};

struct l2t_super {
    uint16_t gso_bytes; /* TCP payload of each segment it stands for */
    const uint8_t *frame;
    uint32_t frame_bytes;
};

/**
 * Is this frame one to go as SUPER? TCP over IPv4 or IPv6, no VLAN tag, no fragment, no IPv6
 * extension headers, headers complete, the IP length exactly the frame's. Checksums mean nothing.
 * Returns the bytes in front of the TCP payload, 0: no.
 */
uint32_t l2t_super_headers(const uint8_t *frame, uint32_t frame_bytes);

/** Reads the payload of a SUPER. Returns 0, or L2T_ERR_SUPER with *super untouched. */
int l2t_super_parse(struct l2t_super *super, const uint8_t *payload, uint32_t payload_bytes,
                    uint32_t frame_max_bytes);

#endif
