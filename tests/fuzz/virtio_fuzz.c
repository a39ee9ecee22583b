/*
 * virtio_fuzz.c - a virtio card under an arbitrary guest: configuration and BAR accesses, rings and
 *                 chains made of the input, frames, super-frames, link changes, snapshots.
 *
 * Input    A configuration byte, then operations; what follows an operation are its operands.
 * Checks   Sanitizers; the line equals ISR behind its gates after every call; work per poll is
 *          bounded; held chains stay below the ring's size; every chain comes back at most once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nic/virtio/internal.h"

enum { RAM_BYTES = 1 << 16, DMA_CALLS_MAX = 1 << 22, QUEUE_AT = 0x1000, BUFFERS_AT = 0x8000 };

static struct {
    const uint8_t *next, *end;
    uint8_t ram[RAM_BYTES];
    uint32_t sink_room, dma_calls;
    bool irq;
    uint8_t *frame;
    uint32_t frame_bytes;
    struct virtio_net *nic;
} world;

static uint8_t take8(void)
{
    return world.next < world.end ? *world.next++ : 0;
}

static uint32_t take16(void)
{
    const uint32_t high = take8();

    return high << 8 | take8();
}

static uint32_t take32(void)
{
    const uint32_t high = take16();

    return high << 16 | take16();
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool dma_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    (void)context;
    check(++world.dma_calls < DMA_CALLS_MAX);
    memset(to, 0, bytes);
    if (gpa > RAM_BYTES || bytes > RAM_BYTES - gpa)
        return false;
    memcpy(to, world.ram + gpa, bytes);
    if ((gpa & 0x800) != 0) /* a guest on another processor */
        world.ram[gpa % RAM_BYTES] ^= take8();
    return true;
}

static bool dma_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    (void)context;
    check(++world.dma_calls < DMA_CALLS_MAX);
    if (gpa >> 20 == 0xfeb) /* guest memory that is the card itself */
        virtio_net_mmio_write(world.nic, (uint32_t)gpa & 0x3fff, 4, take32());
    if (gpa > RAM_BYTES || bytes > RAM_BYTES - gpa)
        return false;
    memcpy(world.ram + gpa, from, bytes);
    return true;
}

static void irq(void *context, bool level)
{
    (void)context;
    check(level != world.irq);
    world.irq = level;
}

static void message(void *context, uint32_t vector)
{
    (void)context;
    check(vector < MSIX_VECTORS);
}

static uint8_t *frame_begin(void *context, uint32_t bytes)
{
    (void)context;
    check(bytes >= VIRTIO_NET_FRAME_MIN_BYTES && bytes <= 65535 + 22);
    free(world.frame); /* exactly as long as asked for: ASan sees a byte too many */
    world.frame = world.sink_room > 0 ? malloc(bytes) : NULL;
    world.frame_bytes = bytes;
    return world.frame;
}

static void frame_end(void *context, uint32_t bytes)
{
    (void)context;
    check(world.frame != NULL && bytes == world.frame_bytes);
    world.sink_room--;
}

static void invariants(void)
{
    const struct virtio_net *nic = world.nic;
    const bool gate = (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) != 0;

    check(world.irq == (nic->isr != 0 && !gate && !vnet_msix_enabled(nic)));
    check(world.irq == virtio_net_irq_level(nic));
    check(nic->held_count <= nic->queue[QUEUE_RX].size);
    check(nic->rx_queue.frames <= 256 && !nic->busy);
    check((nic->negotiated & ~nic->offered) == 0);
    check(nic->filter.tables[0] <= MAC_TABLE_MAX && nic->filter.tables[1] <= MAC_TABLE_MAX);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        check(nic->queue[i].size >= 2 && nic->queue[i].size <= nic->config.queue_size);
}

/* Where start_driver() puts the parts of queue q, 16 entries each. */
static uint32_t queue_at(uint32_t queue)
{
    return QUEUE_AT + queue * 0x1000;
}

/* A chain of a few descriptors, mostly sensible ones, made available. */
static void chain_post(void)
{
    const uint32_t queue = take8() % QUEUES_MAX;
    const uint32_t how = take8();
    const uint32_t head = how & 15;
    const uint32_t count = 1 + (how >> 4 & 3);
    uint8_t *avail = world.ram + queue_at(queue) + 0x400;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t *raw = world.ram + queue_at(queue) + (head + i) % 16 * DESC_ENTRY_BYTES;
        const uint32_t flags = take8();

        le64_put(raw, BUFFERS_AT + take8() * 64u);
        le32_put(raw + 8, (flags & 0x80) != 0 ? take16() : take8());
        le16_put(raw + 12, (uint16_t)((flags & 6) | (i + 1 < count ? DESC_NEXT : flags & 1)));
        le16_put(raw + 14, (uint16_t)((head + i + 1) % 16));
    }
    le16_put(avail + 4 + le16_get(avail + 2) % 16 * 2, (uint16_t)head);
    le16_put(avail + 2, (uint16_t)(le16_get(avail + 2) + 1));
}

static void ram_fill(void)
{
    uint32_t at = take16();

    for (uint32_t bytes = take8(); bytes > 0 && at < RAM_BYTES; bytes--)
        world.ram[at++] = take8();
}

static void frame_in(void)
{
    static const uint8_t ip[] = {0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6};
    uint8_t frame[4096];
    const uint8_t how = take8();
    const uint32_t bytes = (how & 0x10) != 0 ? take16() % sizeof frame : 14u + take8() % 128;
    int result;

    memset(frame, how, sizeof frame);
    if ((how & 0x20) != 0) {
        memcpy(frame + 12, ip, sizeof ip);
        frame[46] = 0x50;
    }
    for (uint32_t i = 0; i < 8; i++)
        frame[take8() % 80] = take8();
    uint8_t *exact = malloc(bytes + 1);
    memcpy(exact, frame, bytes);
    if ((how & 3) == 0)
        result = virtio_net_receive_super(world.nic, exact, bytes, (uint16_t)take16());
    else
        result = (how & 1) != 0 ? virtio_net_receive(world.nic, exact, bytes)
                                : virtio_net_rx_offer(world.nic, exact, bytes);
    check(result <= 0);
    free(exact);
}

/* Saves, changes a few bytes, loads: refused whole or a card that still works. */
static void snapshot(void)
{
    const size_t bytes = virtio_net_save(world.nic, NULL, 0);
    uint8_t *blob = malloc(bytes);

    check(virtio_net_save(world.nic, blob, bytes) == bytes);
    for (uint32_t i = take8() & 3; i > 0; i--)
        blob[take16() % bytes] = take8();
    const int result = virtio_net_load(world.nic, blob, bytes);
    check(result == 0 || result == VIRTIO_NET_ERR_ARGUMENT);
    free(blob);
}

static uint32_t take_offset(void)
{
    const uint32_t pick = take8();

    if (pick < 0x80)
        return pick % (COMMON_BYTES + 4);
    if (pick < 0xa0)
        return REGION_NOTIFY + (pick & 15);
    if (pick < 0xb0)
        return REGION_ISR;
    if (pick < 0xf0)
        return REGION_DEVICE + (take8() | (pick & 1u) << 8);
    return take16();
}

static void operate(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 4, 4, 3, 8, 0};
    const uint8_t operation = take8();
    const uint32_t size = sizes[operation >> 4 & 7];

    world.dma_calls = 0;
    switch (operation & 15) {
    case 0:
    case 1: {
        const uint32_t offset = take_offset();
        virtio_net_mmio_write(world.nic, offset, size, take32());
        break;
    }
    case 2:
        (void)virtio_net_mmio_read(world.nic, take_offset(), size);
        break;
    case 3: {
        const uint32_t offset = take8();
        virtio_net_io_write(world.nic, offset % 0x28, size, take32());
        break;
    }
    case 4:
        (void)virtio_net_io_read(world.nic, take8(), size);
        break;
    case 5: {
        const uint32_t offset = take8();
        virtio_net_config_write(world.nic, offset, size, take32());
        (void)virtio_net_config_read(world.nic, offset, size);
        break;
    }
    case 6:
    case 7:
        check(virtio_net_poll(world.nic, take8() * 8u) <= 2 * VIRTIO_NET_QUEUE_SIZE_MAX);
        break;
    case 8:
    case 9:
        frame_in();
        break;
    case 10:
    case 11:
    case 12:
        chain_post();
        break;
    case 13:
        ram_fill();
        break;
    case 14:
        virtio_net_set_link(world.nic, (operation & 0x10) != 0);
        world.sink_room = take8();
        (void)virtio_net_work_pending(world.nic);
        break;
    default:
        if ((operation & 0x10) != 0)
            snapshot();
        else
            virtio_net_set_pci_command(world.nic, (uint16_t)(take8() | (operation & 0x60) << 5));
        break;
    }
}

/* A driver's usual beginning with all features, so that the input can go on from there. */
static void start_driver(bool contract)
{
    struct virtio_net *nic = world.nic;
    const uint64_t features =
        nic->offered & ~(take8() & 1 ? F_EVENT_IDX : 0) & ~(take8() & 1 ? F_MRG_RXBUF : 0);

    virtio_net_set_pci_command(nic, 7);
    for (uint32_t i = 0; i < 2; i++) {
        virtio_net_mmio_write(nic, COMMON_DRIVER_FEATURE_SELECT, 4, i);
        virtio_net_mmio_write(nic, COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
    }
    virtio_net_mmio_write(nic, COMMON_DEVICE_STATUS, 1, 11);
    for (uint32_t i = 0; i < (contract ? 2u : 3u); i++) {
        virtio_net_mmio_write(nic, COMMON_QUEUE_SELECT, 2, i);
        virtio_net_mmio_write(nic, COMMON_QUEUE_DESC, 4, queue_at(i));
        virtio_net_mmio_write(nic, COMMON_QUEUE_AVAIL, 4, queue_at(i) + 0x400);
        virtio_net_mmio_write(nic, COMMON_QUEUE_USED, 4, queue_at(i) + 0x500);
        virtio_net_mmio_write(nic, COMMON_QUEUE_ENABLE, 2, 1);
    }
    virtio_net_mmio_write(nic, COMMON_DEVICE_STATUS, 1, 15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void *memory;
    struct nic_host host = {
        .dma_read = dma_read,
        .dma_write = dma_write,
        .irq = irq,
        .frame_begin = frame_begin,
        .frame_end = frame_end,
    };

    if (memory == NULL)
        memory = aligned_alloc(16, (virtio_net_bytes() + 15) / 16 * 16);
    memset(world.ram, 0, sizeof world.ram);
    world.next = data;
    world.end = data + bytes;
    world.irq = false;
    world.sink_room = UINT32_MAX;
    const uint8_t choice = take8();
    if ((choice & 0x10) != 0)
        host.message = message;
    const struct virtio_net_config config = {
        .transport = (choice & 3) % 3,
        .profile = (choice & 4) != 0 ? VIRTIO_NET_CONTRACT : VIRTIO_NET_STANDARD,
        .header = choice >> 6,
        .mtu = (choice & 0x20) != 0 ? 9000 : 0,
        .queue_size = 16,
        .mac = {2, 0, 0, 0, 0, 1},
    };
    world.nic = virtio_net_init(memory, virtio_net_bytes(), &host, &config);
    check(world.nic != NULL);
    if ((choice & 8) == 0)
        start_driver(config.profile == VIRTIO_NET_CONTRACT);
    while (world.next < world.end) {
        operate();
        invariants();
    }
    free(world.frame);
    world.frame = NULL;
    return 0;
}
