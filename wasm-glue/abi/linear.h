/*
 * linear.h - guest memory as a stretch of the module's own linear memory: the host of an emulator
 *            that lets the card live in its memory.
 *
 * Source   spec/host-api.md; every § below is a section of it.
 * Memory   struct linear borrows the RAM it describes.
 * Guest    Any address and length is accepted; what lies outside RAM is treated as §2.3 says.
 */
#ifndef ABI_LINEAR_H
#define ABI_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#define LINEAR_HOLE_FIRST    UINT64_C(0xb0000000)  /* §2.2: ECAM and PCI windows */
#define LINEAR_HOLE_END      UINT64_C(0x100000000) /* high RAM continues here */
#define LINEAR_HOLE_READ_MAX 65536                 /* §2.3, virtio */
#define LINEAR_RAM_MAX       UINT64_C(0xe0000000)

struct linear {
    uint8_t *ram; /* of guest RAM offset 0 */
    uint64_t ram_bytes;
};

/** What lies at an address (§2.2). */
enum linear_kind { LINEAR_RAM, LINEAR_HOLE, LINEAR_OUTSIDE };

struct linear_part {
    enum linear_kind kind;
    uint64_t offset; /* in RAM, for LINEAR_RAM */
    uint32_t bytes;  /* of the range, from its start to the next boundary; never 0 */
};

/** Describes the first part of [gpa, gpa + bytes), bytes > 0, cut where the kind changes. */
struct linear_part linear_first(const struct linear *linear, uint64_t gpa, uint32_t bytes);

/**
 * struct nic_host's dma_read, dma_write and dma_map; `context` is a struct linear. By the column
 * of the E1000: a range is split at boundaries, each part is read or ignored by its own rule.
 */
bool linear_read(void *context, uint64_t gpa, void *to, uint32_t bytes);
bool linear_write(void *context, uint64_t gpa, const void *from, uint32_t bytes);

/** By the column of virtio: what is neither wholly in RAM nor wholly in the hole is an error. */
bool linear_read_whole(void *context, uint64_t gpa, void *to, uint32_t bytes);
bool linear_write_whole(void *context, uint64_t gpa, const void *from, uint32_t bytes);
uint8_t *linear_map(void *context, uint64_t gpa, uint32_t bytes);

#endif
