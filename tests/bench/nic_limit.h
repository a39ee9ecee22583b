/*
 * nic_limit.h - the least a card can do with a frame: copy it and sum it up. Native and wasm, so
 *               that both builds of the card have their own limit.
 */
#ifndef BENCH_NIC_LIMIT_H
#define BENCH_NIC_LIMIT_H

#include <stdint.h>

enum { LIMIT_FRAMES = 64, LIMIT_STRIDE_BYTES = 2048 };

/**
 * `times` times: copies `frames` (at most LIMIT_FRAMES) frames of `frame_bytes`, the last one of
 * `last_bytes`, from buffers of their own to places side by side, and takes the Internet checksum
 * of each copy. Returns something made of the sums.
 */
uint32_t limit_run(uint32_t frame_bytes, uint32_t last_bytes, uint32_t frames, uint32_t times);

#endif
