/*
 * nic_traffic.h - what the native card benchmarks share: the frames, as nic-frames.js makes them,
 * and the measuring.
 */
#ifndef BENCH_NIC_TRAFFIC_H
#define BENCH_NIC_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/packet.h"

enum {
    HEADER_BYTES = ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES,
    MSS = 1460,
    FULL_BYTES = HEADER_BYTES + MSS,
    AGGREGATE_BYTES = 65536,
    PIECE_BYTES = 4096, /* as drivers cut page fragments */
};

/* What a batch carries: units of one frame, or one unit that is cut into many frames. */
struct shape {
    const char *name;
    uint32_t bytes; /* of a unit */
    uint32_t units;
};

enum { SHAPES = 3 };
extern const struct shape shapes[SHAPES];

/** Calls of malloc() and its kin so far; the program is linked with --wrap. */
extern uint64_t allocations;

/** Ends the program with a message. */
void must(bool good, const char *what);

/** Bytes of a ring's record. */
uint32_t record_bytes(uint32_t bytes);

uint32_t frames_of(const struct shape *shape);
uint32_t frame_bytes(const struct shape *shape, uint32_t index);
/** TCP bytes of a frame. */
uint32_t tcp_bytes(uint32_t bytes);
/** The pseudo header's sum. */
uint32_t pseudo(const uint8_t *ip, uint32_t bytes);
/** Frame `index` of a unit, complete with checksums: what the wire shall see. Its bytes. */
uint32_t frame_make(const struct shape *shape, uint32_t index, uint8_t *frame);

/** Runs batches for about ns_wanted and prints a line: name, ns a unit, allocations. */
void measure(const char *name, const struct shape *shape, double ns_wanted,
             void (*run)(void *bench, uint32_t batches), void *bench);

#endif
