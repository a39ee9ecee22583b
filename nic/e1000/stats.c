#include "internal.h"

/* Upper bounds of the size classes but the last (§3.3); sizes include the FCS. */
static const uint16_t class_max_bytes[] = {64, 127, 255, 511, 1023};

void stat_add(struct e1000 *nic, uint32_t offset, uint32_t amount)
{
    uint32_t *counter = &nic->regs[offset / 4];

    *counter = amount > UINT32_MAX - *counter ? UINT32_MAX : *counter + amount;
}

/* Counters of two words, low one first; they saturate as one (§3.3). */
static void stat_add64(struct e1000 *nic, uint32_t low, uint32_t amount)
{
    const uint64_t old = (uint64_t)reg_get(nic, low + 4) << 32 | reg_get(nic, low);
    const uint64_t sum = amount > UINT64_MAX - old ? UINT64_MAX : old + amount;

    reg_put(nic, low, (uint32_t)sum);
    reg_put(nic, low + 4, (uint32_t)(sum >> 32));
}

static void stat_size_class(struct e1000 *nic, uint32_t first, uint32_t bytes, uint32_t frames)
{
    uint32_t class = 0;

    while (class < sizeof class_max_bytes / sizeof class_max_bytes[0] &&
           bytes > class_max_bytes[class])
        class ++;
    stat_add(nic, first + 4 * class, frames);
}

static bool is_broadcast(const uint8_t *frame)
{
    return (frame[0] & frame[1] & frame[2] & frame[3] & frame[4] & frame[5]) == 0xff;
}

/* A frame's size on the wire: padded, with FCS. */
static uint32_t wire_bytes(uint32_t bytes)
{
    return (bytes < ETH_MIN_BYTES ? ETH_MIN_BYTES : bytes) + ETH_FCS_BYTES;
}

/* Every frame that reached the card, filtered or not. */
void stat_rx_wire(struct e1000 *nic, uint32_t bytes)
{
    stat_add(nic, E1000_TPR, 1);
    stat_add64(nic, E1000_TORL, wire_bytes(bytes));
}

/* Every frame the guest got. */
void stat_rx_good(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    stat_add(nic, E1000_GPRC, 1);
    stat_add64(nic, E1000_GORCL, wire_bytes(bytes));
    stat_size_class(nic, E1000_PRC64, wire_bytes(bytes), 1);
    if (is_broadcast(frame))
        stat_add(nic, E1000_BPRC, 1);
    else if ((frame[0] & 1) != 0)
        stat_add(nic, E1000_MPRC, 1);
}

void stat_tx(struct e1000 *nic, const uint8_t *frame, uint32_t bytes, uint32_t frames)
{
    const uint32_t octets = frames * wire_bytes(bytes); /* TX_PACKET_MAX_BYTES at most, and FCS */

    stat_add(nic, E1000_GPTC, frames);
    stat_add(nic, E1000_TPT, frames);
    stat_add64(nic, E1000_GOTCL, octets);
    stat_add64(nic, E1000_TOTL, octets);
    stat_size_class(nic, E1000_PTC64, wire_bytes(bytes), frames);
    if (is_broadcast(frame))
        stat_add(nic, E1000_BPTC, frames);
    else if ((frame[0] & 1) != 0)
        stat_add(nic, E1000_MPTC, frames);
    nic->stats.tx_frames += frames;
    nic->stats.tx_bytes += (uint64_t)frames * bytes;
}
