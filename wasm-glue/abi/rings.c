/* rings.c - building an AIPC buffer with NET_TX and NET_RX, and finding a ring in one. */
#include "exports.h"
#include "nic/ring.h"

uint32_t rings_bytes(uint32_t tx_bytes, uint32_t rx_bytes)
{
    const struct ring_spec queues[] = {{RING_KIND_NET_TX, tx_bytes}, {RING_KIND_NET_RX, rx_bytes}};

    return (uint32_t)ring_buffer_bytes(queues, 2);
}

int32_t rings_build(void *buffer, uint32_t bytes, uint32_t tx_bytes, uint32_t rx_bytes)
{
    const struct ring_spec queues[] = {{RING_KIND_NET_TX, tx_bytes}, {RING_KIND_NET_RX, rx_bytes}};

    return ring_build(buffer, bytes, queues, 2);
}

int32_t rings_find(void *buffer, uint32_t bytes, uint32_t kind)
{
    struct ring ring;
    const int result = ring_open(&ring, buffer, bytes, kind, 0);

    return result < 0 ? result : (int32_t)((uint8_t *)ring.words - (uint8_t *)buffer);
}
