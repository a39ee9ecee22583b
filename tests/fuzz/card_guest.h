/*
 * card_guest.h - the machine around a card in a fuzz target: the input as a source of operands,
 *                guest memory, an interrupt line, a sink for frames, a clock.
 *
 * Memory is that of a guest on another processor: what was read once may have changed at the next
 * read; and a DMA write may lead back into the card's own registers.
 */
#ifndef FUZZ_CARD_GUEST_H
#define FUZZ_CARD_GUEST_H

#include "must.h"
#include "nic/host.h"

#include <stddef.h>
#include <stdint.h>

enum {
    GUEST_RAM_BYTES = 1 << 16,
    GUEST_DMA_CALLS_MAX = 1 << 20, /* in one operation */
    GUEST_VECTORS_MAX = 4,
    GUEST_SUPER_MAX_BYTES = 14 + 65535, /* spec/l2-extensions.md §6 */
};

struct card_guest {
    const uint8_t *next, *end; /* of the input */
    uint8_t ram[GUEST_RAM_BYTES];
    uint32_t dma_calls; /* the target clears it before each operation */
    bool mapped;        /* dma_map() works */
    bool irq;
    uint64_t now_ns;

    uint32_t sink_room; /* frames it takes */
    uint32_t frame_min_bytes, frame_max_bytes;
    uint8_t *frame; /* being filled: exactly as long as asked for, so that ASan sees its end */
    uint32_t frame_bytes;

    void *card;
    void (*mmio_write)(void *card, uint32_t offset, uint32_t value);
};

/** Empty memory, an open sink, the line low; operands come from `data`. */
void card_guest_begin(struct card_guest *guest, const uint8_t *data, size_t bytes);
void card_guest_end(struct card_guest *guest);
/** The host of a card. `message`, `dma_map` and `super_begin` may be taken out. */
struct nic_host card_guest_host(struct card_guest *guest);

/* ---- operands: 0 behind the input's end ---- */

uint8_t take8(struct card_guest *guest);
uint32_t take16(struct card_guest *guest);
uint32_t take32(struct card_guest *guest);

/** Puts up to 255 bytes of the input into memory. */
void card_guest_fill(struct card_guest *guest, uint32_t at);
/** A copy of exactly `bytes`, for free(). */
uint8_t *card_guest_copy(const uint8_t *data, uint32_t bytes);
/** Changes `count` bytes of a snapshot. */
void card_guest_spoil(struct card_guest *guest, uint8_t *blob, size_t bytes, uint32_t count);

#endif
