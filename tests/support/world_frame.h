/*
 * world_frame.h - frames of the synthetic LAN: building the guest's, judging the gateway's.
 *
 * Pure functions over bytes, without cmocka: the tests' world (nat_world.h) and the fuzz targets
 * hold the NAT to the same rules.
 */
#ifndef SUPPORT_WORLD_FRAME_H
#define SUPPORT_WORLD_FRAME_H

#include "nic/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint8_t world_guest_mac[6];   /* 52:54:00:12:34:56 */
extern const uint8_t world_gateway_mac[6]; /* 02:00:00:00:00:01 */
extern const uint8_t world_guest[4];       /* 10.0.2.15 */
extern const uint8_t world_gateway[4];     /* 10.0.2.2 */
extern const uint8_t world_server[4];      /* 93.184.216.34 */

enum { WORLD_TCP_OPTIONS_MAX = 40 };

struct world_segment {
    uint8_t remote[4]; /* the other end: destination when sent, source when received */
    uint16_t remote_port, guest_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint8_t options[WORLD_TCP_OPTIONS_MAX];
    uint32_t options_bytes;
    const uint8_t *payload;
    uint32_t payload_bytes;
    uint16_t gso_bytes; /* not 0: a super-frame of such segments */
};

/* ---- building ---- */

/** Ethernet from guest to gateway; the type comes behind it. */
void world_frame_ethernet(uint8_t *frame, uint16_t type);
/** Ethernet + IPv4 around `l4`; returns the frame's bytes. */
uint32_t world_frame_ipv4(uint8_t *frame, uint16_t id, const uint8_t *source,
                          const uint8_t *destination, uint8_t protocol, const uint8_t *l4,
                          uint32_t l4_bytes);
/** A segment of the guest in a frame; returns the frame's bytes. */
uint32_t world_frame_tcp(uint8_t *frame, uint16_t id, const struct world_segment *segment);
/** Puts in the checksum of the IPv4 header at `ip`, `header_bytes` long with its options. */
void world_seal_ipv4_header(uint8_t *ip, uint32_t header_bytes);
/**
 * Puts in the checksum of what `ip` (IPv4 or IPv6) carries at `l4`. Protocols without a checksum
 * and headers cut short are left as they are.
 */
void world_seal_l4(const uint8_t *ip, uint8_t protocol, uint8_t *l4, uint32_t l4_bytes);

/* ---- judging ---- */

/**
 * Whether the gateway may send this frame to the guest: NULL, or what is wrong with it. Its
 * lengths agree, its checksums hold, no packet is above `mtu`.
 */
const char *world_frame_defect(const uint8_t *frame, uint32_t bytes, uint32_t mtu);

#endif
