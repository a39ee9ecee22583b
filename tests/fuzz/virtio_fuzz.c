/*
 * virtio_fuzz.c - a virtio card under an arbitrary guest: configuration and BAR accesses, rings and
 *                 chains made of the input, frames, super-frames, link changes, snapshots.
 *
 * Input    A configuration byte, then operations; what follows an operation are its operands.
 * Checks   Sanitizers; the line equals ISR behind its gates after every call; work per poll is
 *          bounded; held chains stay below the ring's size; every chain that was taken came back
 *          once or is held; only polls and offered frames touch guest memory.
 */
#include "card_guest.h"
#include "nic/virtio/internal.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_AT = 0x1000, BUFFERS_AT = 0x8000 };

static struct card_guest guest;
static struct virtio_net *nic; /* guest.card */
static bool legacy;            /* a driver of the legacy interface has started the card */
static bool spoiled;           /* the indices come from a changed snapshot */

static void mmio_write(void *card, uint32_t offset, uint32_t value)
{
    virtio_net_mmio_write(card, offset & 0x3fff, 4, value);
}

/* Chains taken and not completed are the held ones. A changed snapshot may say anything of the
 * indices, as only the guest could tell that they are wrong (§9); once right, as after a reset,
 * they stay so. */
static void chains_counted(void)
{
    bool counted = true;

    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        const struct vnet_queue *queue = &nic->queue[i];

        counted &= (uint16_t)(queue->next_avail - queue->next_used) ==
                   (i == QUEUE_RX ? nic->held_count : 0);
    }
    spoiled &= !counted;
    must(counted || spoiled);
}

static void invariants(void)
{
    const bool gate = (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) != 0;

    must(guest.irq == (nic->isr != 0 && !gate && !vnet_msix_enabled(nic)));
    must(guest.irq == virtio_net_irq_level(nic));
    must(nic->held_count <= nic->queue[QUEUE_RX].size);
    must(nic->rx_queue.frames <= 256 && !nic->busy);
    must((nic->negotiated & ~nic->offered) == 0);
    must(nic->filter.tables[0] <= MAC_TABLE_MAX && nic->filter.tables[1] <= MAC_TABLE_MAX);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        must(nic->queue[i].size >= 2 && nic->queue[i].size <= nic->config.queue_size);
    chains_counted();
}

/* Where start_driver() puts the parts of queue q, 16 entries each; in a legacy card the used ring
 * is a page behind the descriptors (§7). */
static uint32_t queue_at(uint32_t queue)
{
    return QUEUE_AT + queue * (legacy ? 2 : 1) * LEGACY_PAGE_BYTES;
}

static uint32_t avail_at(uint32_t queue)
{
    return queue_at(queue) + (legacy ? 16 * DESC_ENTRY_BYTES : 0x400);
}

static void make_available(uint32_t queue, uint32_t head)
{
    uint8_t *avail = guest.ram + avail_at(queue);

    le16_put(avail + 4 + le16_get(avail + 2) % 16 * 2, (uint16_t)head);
    le16_put(avail + 2, (uint16_t)(le16_get(avail + 2) + 1));
}

/* A TSO send in one descriptor: header and TCP packet. */
static void tso_post(void)
{
    static const uint8_t start[] = {1, 1, 54,   0, 100, 0, 34, 0, 16,   0, 0,    0,
                                    2, 0, 0,    0, 0,   1, 2,  0, 0,    0, 0,    2,
                                    8, 0, 0x45, 0, 0,   0, 0,  0, 0x40, 0, 0x40, 6};
    uint8_t *raw = guest.ram + queue_at(QUEUE_TX);
    uint8_t *packet = guest.ram + BUFFERS_AT;

    memset(packet, 0, 80);
    memcpy(packet, start, sizeof start);
    packet[12 + 46] = 0x50;
    for (uint32_t i = take8(&guest) & 3; i > 0; i--)
        packet[take8(&guest) % 70] = take8(&guest);
    le64_put(raw, BUFFERS_AT);
    le32_put(raw + 8, take16(&guest) % 0x7000);
    le32_put(raw + 12, 0);
    make_available(QUEUE_TX, 0);
}

/* A command as drivers send it: class, command and data in one descriptor, a byte for the answer
 * behind them in another. */
static void control_post(void)
{
    uint8_t *raw = guest.ram + queue_at(QUEUE_CONTROL);
    uint8_t *command = guest.ram + BUFFERS_AT;
    const uint32_t what = take8(&guest);
    const uint32_t data_bytes = take8(&guest);

    command[0] = (uint8_t)(what >> 4);
    command[1] = (uint8_t)(what & 15);
    for (uint32_t i = 0; i < data_bytes; i++)
        command[2 + i] = take8(&guest);
    le64_put(raw, BUFFERS_AT);
    le32_put(raw + 8, 2 + data_bytes);
    le16_put(raw + 12, DESC_NEXT);
    le16_put(raw + 14, 1);
    le64_put(raw + DESC_ENTRY_BYTES, BUFFERS_AT + 2 + data_bytes);
    le32_put(raw + DESC_ENTRY_BYTES + 8, 1);
    le32_put(raw + DESC_ENTRY_BYTES + 12, DESC_WRITE);
    make_available(QUEUE_CONTROL, 0);
}

/* A chain of a few descriptors, mostly sensible ones, made available. */
static void chain_post(void)
{
    const uint32_t queue = take8(&guest) % QUEUES_MAX;
    const uint32_t how = take8(&guest);
    const uint32_t head = how & 15;
    const uint32_t count = 1 + (how >> 4 & 3);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t *raw = guest.ram + queue_at(queue) + (head + i) % 16 * DESC_ENTRY_BYTES;
        const uint32_t flags = take8(&guest);

        le64_put(raw, BUFFERS_AT + take8(&guest) * 64u);
        le32_put(raw + 8, (flags & 0x80) != 0 ? take16(&guest) : take8(&guest));
        le16_put(raw + 12, (uint16_t)((flags & 6) | (i + 1 < count ? DESC_NEXT : flags & 1)));
        le16_put(raw + 14, (uint16_t)((head + i + 1) % 16));
    }
    make_available(queue, head);
}

static void frame_in(void)
{
    static const uint8_t ip[] = {0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6};
    uint8_t frame[4096];
    const uint8_t how = take8(&guest);
    const uint32_t bytes =
        (how & 0x10) != 0 ? take16(&guest) % sizeof frame : 14u + take8(&guest) % 128;
    int result;

    memset(frame, how, sizeof frame);
    if ((how & 0x20) != 0) {
        memcpy(frame + 12, ip, sizeof ip);
        frame[46] = 0x50;
    }
    for (uint32_t i = 0; i < 8; i++)
        frame[take8(&guest) % 80] = take8(&guest);
    uint8_t *exact = card_guest_copy(frame, bytes);
    if ((how & 7) == 4)
        result = virtio_net_rx_offer_super(nic, exact, bytes, (uint16_t)take16(&guest));
    else if ((how & 3) == 0)
        result = virtio_net_receive_super(nic, exact, bytes, (uint16_t)take16(&guest));
    else
        result = (how & 1) != 0 ? virtio_net_receive(nic, exact, bytes)
                                : virtio_net_rx_offer(nic, exact, bytes);
    must(result <= 0);
    must(guest.dma_calls == 0 || (how & 7) == 4 || (how & 3) == 2);
    free(exact);
}

/* Saves, changes a few bytes, loads: refused whole or a card that still works. */
static void snapshot(void)
{
    const size_t bytes = virtio_net_save(nic, NULL, 0);
    uint8_t *blob = malloc(bytes);

    must(virtio_net_save(nic, blob, bytes) == bytes);
    const uint32_t changes = take8(&guest) & 3;
    card_guest_spoil(&guest, blob, bytes, changes);
    const int result = virtio_net_load(nic, blob, bytes);
    must(result == 0 || result == VIRTIO_NET_ERR_ARGUMENT);
    spoiled |= result == 0 && changes > 0;
    free(blob);
}

static uint32_t take_offset(void)
{
    const uint32_t pick = take8(&guest);

    if (pick < 0x80)
        return pick % (COMMON_BYTES + 4);
    if (pick < 0xa0)
        return REGION_NOTIFY + (pick & 15);
    if (pick < 0xb0)
        return REGION_ISR;
    if (pick < 0xf0)
        return REGION_DEVICE + (take8(&guest) | (pick & 1u) << 8);
    return take16(&guest);
}

static void operate(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 4, 4, 3, 8, 0};
    const uint8_t operation = take8(&guest);
    const uint32_t size = sizes[operation >> 4 & 7];

    guest.dma_calls = 0;
    switch (operation & 15) {
    case 0:
    case 1: {
        const uint32_t offset = take_offset();
        virtio_net_mmio_write(nic, offset, size, take32(&guest));
        break;
    }
    case 2:
        (void)virtio_net_mmio_read(nic, take_offset(), size);
        break;
    case 3: {
        const uint32_t offset = take8(&guest);
        virtio_net_io_write(nic, offset % 0x28, size, take32(&guest));
        break;
    }
    case 4:
        (void)virtio_net_io_read(nic, take8(&guest), size);
        break;
    case 5: {
        const uint32_t offset = take8(&guest);
        virtio_net_config_write(nic, offset, size, take32(&guest));
        (void)virtio_net_config_read(nic, offset, size);
        break;
    }
    case 6:
    case 7:
        must(virtio_net_poll(nic, take8(&guest) * 8u) <= 2 * VIRTIO_NET_QUEUE_SIZE_MAX);
        break;
    case 8:
    case 9:
        frame_in();
        break;
    case 10:
    case 11:
    case 12:
        if (operation == 0xfc)
            control_post();
        else if ((operation & 0x70) == 0x70)
            tso_post();
        else
            chain_post();
        break;
    case 13:
        card_guest_fill(&guest, take16(&guest));
        break;
    case 14:
        virtio_net_set_link(nic, (operation & 0x10) != 0);
        guest.sink_room = take8(&guest);
        (void)virtio_net_work_pending(nic);
        break;
    default:
        if ((operation & 0x10) != 0)
            snapshot();
        else
            virtio_net_set_pci_command(nic, (uint16_t)(take8(&guest) | (operation & 0x60) << 5));
        break;
    }
    const uint32_t kind = operation & 15;
    must(guest.dma_calls == 0 || kind == 6 || kind == 7 || kind == 8 || kind == 9);
}

static void start_legacy(uint32_t features)
{
    virtio_net_io_write(nic, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    virtio_net_io_write(nic, LEGACY_GUEST_FEATURES, 4, features);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        virtio_net_io_write(nic, LEGACY_QUEUE_SELECT, 2, i);
        virtio_net_io_write(nic, LEGACY_QUEUE_PFN, 4, queue_at(i) / LEGACY_PAGE_BYTES);
    }
    virtio_net_io_write(nic, LEGACY_STATUS, 1,
                        STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
}

/* A driver's usual beginning with all features, so that the input can go on from there. */
static void start_driver(bool contract)
{
    const uint64_t features = nic->offered & ~(take8(&guest) & 1 ? F_EVENT_IDX : 0) &
                              ~(take8(&guest) & 1 ? F_MRG_RXBUF : 0);

    virtio_net_set_pci_command(nic, 7);
    if (legacy) {
        start_legacy((uint32_t)features);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        virtio_net_mmio_write(nic, COMMON_DRIVER_FEATURE_SELECT, 4, i);
        virtio_net_mmio_write(nic, COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
    }
    virtio_net_mmio_write(nic, COMMON_DEVICE_STATUS, 1, 11);
    for (uint32_t i = 0; i < (contract ? 2u : 3u); i++) {
        virtio_net_mmio_write(nic, COMMON_QUEUE_SELECT, 2, i);
        virtio_net_mmio_write(nic, COMMON_QUEUE_DESC, 4, queue_at(i));
        virtio_net_mmio_write(nic, COMMON_QUEUE_AVAIL, 4, avail_at(i));
        virtio_net_mmio_write(nic, COMMON_QUEUE_USED, 4, queue_at(i) + 0x500);
        virtio_net_mmio_write(nic, COMMON_QUEUE_ENABLE, 2, 1);
    }
    virtio_net_mmio_write(nic, COMMON_DEVICE_STATUS, 1, 15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void *memory;
    struct nic_host host = card_guest_host(&guest);

    if (memory == NULL)
        memory = aligned_alloc(16, (virtio_net_bytes() + 15) / 16 * 16);
    card_guest_begin(&guest, data, bytes);
    guest.frame_min_bytes = VIRTIO_NET_FRAME_MIN_BYTES;
    guest.frame_max_bytes = 65535 + 22;
    guest.mmio_write = mmio_write;
    const uint8_t choice = take8(&guest);
    if ((choice & 0x10) == 0)
        host.message = NULL;
    if ((choice & 0x20) == 0)
        host.super_begin = NULL;
    const struct virtio_net_config config = {
        .transport = (choice & 3) % 3,
        .profile = (choice & 4) != 0 ? VIRTIO_NET_CONTRACT : VIRTIO_NET_STANDARD,
        .header = choice >> 6,
        .mtu = (choice & 0x20) != 0 ? 9000 : 0,
        .queue_size = 16,
        .mac = {2, 0, 0, 0, 0, 1},
    };
    legacy = config.transport == VIRTIO_NET_LEGACY;
    spoiled = false;
    guest.card = nic = virtio_net_init(memory, virtio_net_bytes(), &host, &config);
    must(nic != NULL);
    if ((choice & 8) == 0)
        start_driver(config.profile == VIRTIO_NET_CONTRACT);
    while (guest.next < guest.end) {
        operate();
        invariants();
    }
    card_guest_end(&guest);
    return 0;
}
