#include "internal.h"

#include <stdatomic.h>

/*
 * The five ring registers lie alike for both directions: base low, base high, length, head, tail
 * (§3.2). They are read at use, never cached: drivers set them in any order (§12, quirks 2.13).
 */
enum { BASE_HIGH = 4, LENGTH = 8, HEAD = 16, TAIL = 24 };

/* Inside the ring whatever the driver wrote; a division only for one that wrote nonsense. */
static uint32_t index_in(uint32_t index, uint32_t count)
{
    return index < count ? index : index % count;
}

bool ring_view(const struct e1000 *nic, uint32_t base_register, struct desc_ring *ring)
{
    const uint32_t bytes = reg_get(nic, base_register + LENGTH);
    const uint64_t base = (uint64_t)reg_get(nic, base_register + BASE_HIGH) << 32 |
                          (reg_get(nic, base_register) & ~UINT32_C(15));

    if (bytes < DESC_BYTES || bytes % DESC_BYTES != 0 ||
        bytes / DESC_BYTES > RING_DESCRIPTORS_MAX || bytes - 1 > UINT64_MAX - base)
        return false;
    ring->slots = NULL;
    ring->base = base;
    ring->count = bytes / DESC_BYTES;
    ring->head = index_in(reg_get(nic, base_register + HEAD), ring->count);
    ring->tail = index_in(reg_get(nic, base_register + TAIL), ring->count);
    return true;
}

void ring_map(const struct e1000 *nic, struct desc_ring *ring)
{
    if (nic->host.dma_map != NULL)
        ring->slots = nic->host.dma_map(nic->host.context, ring->base, ring->count * DESC_BYTES);
}

bool ring_read(struct e1000 *nic, const struct desc_ring *ring, uint32_t index, void *to,
               uint32_t bytes)
{
    if (ring->slots == NULL)
        return nic->host.dma_read(nic->host.context, ring->base + (uint64_t)index * DESC_BYTES, to,
                                  bytes);
    __builtin_memcpy(to, ring->slots + (size_t)index * DESC_BYTES, bytes);
    atomic_signal_fence(memory_order_acq_rel); /* the compiler shall not read it again later */
    return true;
}
