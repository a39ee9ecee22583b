/*
 * e1000_fuzz.c - the E1000 against a guest that does anything: accesses of every size to every
 *                window, polls, frames, link changes; all that DMA reads comes from the input.
 *                Built twice: e1000_snapshot saves and loads in between, which costs much time.
 *
 * Input    A configuration byte, then operations; what follows an operation are its operands.
 *          DMA reads and frames take their bytes from the input's end, backwards.
 * Checks   Sanitizers; the line equals ICR & IMS after every call; heads stay inside the rings;
 *          work per poll is bounded.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nic/e1000/internal.h"

#ifndef SNAPSHOTS
#define SNAPSHOTS 0
#endif

enum { RAM_BYTES = 1 << 16, DMA_CALLS_PER_POLL_MAX = 1 << 20 };

static struct {
    const uint8_t *next, *end;
    uint8_t ram[RAM_BYTES];
    uint32_t sink_room, dma_calls, saves;
    bool irq, map;
    uint64_t now_ns;
    uint8_t *frame;
    uint32_t frame_bytes;
    struct e1000 *nic;
} world;

static uint8_t take8(void)
{
    return world.next < world.end ? *world.next++ : 0;
}

static uint32_t take32(void)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 8 | take8();
    return value;
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* How many of the bytes at gpa lie in RAM; they come first. */
static uint32_t ram_part(uint64_t gpa, uint32_t bytes)
{
    if (gpa >= RAM_BYTES)
        return 0;
    return bytes < RAM_BYTES - gpa ? bytes : (uint32_t)(RAM_BYTES - gpa);
}

static bool dma_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    (void)context;
    check(++world.dma_calls < DMA_CALLS_PER_POLL_MAX);
    const uint32_t inside = ram_part(gpa, bytes);
    memcpy(to, world.ram + gpa % RAM_BYTES, inside);
    memset((uint8_t *)to + inside, (gpa >> 31 & 1) != 0 ? 0xff : 0, bytes - inside);
    /* A guest on another processor changes what it likes between two reads. */
    if ((gpa & 0x800) != 0)
        world.ram[gpa % RAM_BYTES] ^= take8();
    return gpa < RAM_BYTES && bytes <= RAM_BYTES - gpa;
}

static bool dma_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    (void)context;
    check(++world.dma_calls < DMA_CALLS_PER_POLL_MAX);
    memcpy(world.ram + gpa % RAM_BYTES, from, ram_part(gpa, bytes));
    /* Guest memory that is the card itself. */
    if (gpa >> 20 == 0xfeb)
        e1000_mmio_write(world.nic, (uint32_t)gpa & 0xffff, 4, take32());
    return gpa < RAM_BYTES && bytes <= RAM_BYTES - gpa;
}

static uint8_t *dma_map(void *context, uint64_t gpa, uint32_t bytes)
{
    (void)context;
    return world.map && gpa < RAM_BYTES && bytes <= RAM_BYTES - gpa ? world.ram + gpa : NULL;
}

static void irq(void *context, bool level)
{
    (void)context;
    check(level != world.irq);
    world.irq = level;
}

static uint8_t *frame_begin(void *context, uint32_t bytes)
{
    (void)context;
    check(bytes > 0 && bytes <= E1000_FRAME_MAX_BYTES + ETH_VLAN_BYTES);
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

static uint64_t now_ns(void *context)
{
    (void)context;
    return world.now_ns;
}

static void invariants(void)
{
    const struct e1000 *nic = world.nic;
    struct desc_ring ring;
    const bool pending = (reg_get(nic, E1000_ICR) & reg_get(nic, E1000_IMS)) != 0;
    const bool gate = (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) != 0;

    check(world.irq == (pending && !gate));
    check(world.irq == e1000_irq_level(nic));
    if (ring_view(nic, E1000_TDBAL, &ring))
        check(ring.head < ring.count && ring.tail < ring.count);
    check(nic->queue.frames <= E1000_QUEUE_FRAMES);
    check(nic->tx.gathered <= TX_PACKET_MAX_BYTES && nic->tx.gathered <= nic->tx.bytes);
    check(nic->tx.gathered == nic->tx.bytes);
}

/* Registers that matter are met more often than one in 32768. */
static uint32_t take_offset(void)
{
    static const uint16_t known[] = {
        E1000_CTRL, E1000_STATUS, E1000_EECD,   E1000_EERD,  E1000_MDIC,  E1000_VET,
        E1000_ICR,  E1000_ITR,    E1000_ICS,    E1000_IMS,   E1000_IMC,   E1000_RCTL,
        E1000_TCTL, E1000_PBA,    E1000_RDBAL,  E1000_RDBAH, E1000_RDLEN, E1000_RDH,
        E1000_RDT,  E1000_RDTR,   E1000_RADV,   E1000_TDBAL, E1000_TDBAH, E1000_TDLEN,
        E1000_TDH,  E1000_TDT,    E1000_TIDV,   E1000_TADV,  E1000_MTA,   E1000_RAL0,
        E1000_RAH0, E1000_VFTA,   E1000_RXCSUM, E1000_GORCH, E1000_MPC,   E1000_GPRC,
    };
    const uint8_t pick = take8();

    if (pick < 200)
        return known[pick % (sizeof known / sizeof known[0])];
    return (take32() & 0x2ffff) + (pick & 3);
}

static void ram_fill(void)
{
    uint32_t at = take32() % RAM_BYTES;
    const uint32_t bytes = take8();

    for (uint32_t i = 0; i < bytes && at < RAM_BYTES; i++)
        world.ram[at++] = take8();
}

static void frame_in(void)
{
    uint8_t frame[E1000_FRAME_MAX_BYTES + 8];
    const uint8_t how = take8();
    const uint32_t bytes = (how & 0x10) != 0 ? take32() % sizeof frame : 14u + take8() % 64;

    memset(frame, how, sizeof frame);
    for (uint32_t i = 0; i < 64 && i < bytes; i++)
        frame[i] = take8();
    uint8_t *exact = malloc(bytes + 1);
    memcpy(exact, frame, bytes);
    const int result = (how & 1) != 0 ? e1000_receive(world.nic, exact, bytes)
                                      : e1000_rx_offer(world.nic, exact, bytes);
    check(result <= 0);
    free(exact);
}

/* A card loads what it saved and is the same again; then a blob with some bytes changed. */
static void save_and_load(void)
{
    const size_t bytes = e1000_save(world.nic, NULL, NULL, 0);
    uint8_t *blob = malloc(bytes);
    uint8_t *again = malloc(bytes);

    check(e1000_save(world.nic, NULL, blob, bytes) == bytes);
    if (take8() % 2 == 0) {
        const uint32_t changes = 1 + take8() % 8;

        for (uint32_t i = 0; i < changes; i++)
            blob[take32() % bytes] = take8();
        (void)e1000_load(world.nic, blob, bytes - take8() % 4);
    } else if (e1000_next_event_ns(world.nic) == UINT64_MAX) { /* timers expire on load */
        check(e1000_load(world.nic, blob, bytes) == 0);
        check(e1000_save(world.nic, NULL, again, bytes) == bytes);
        check(memcmp(blob, again, bytes) == 0);
    }
    free(blob);
    free(again);
}

static void operate(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 4, 4, 3, 8, 0};
    const uint8_t operation = take8();
    const uint32_t size = sizes[operation >> 4 & 7];

    switch (operation & 15) {
    case 0:
    case 1:
    case 2: {
        const uint32_t offset = take_offset();
        e1000_mmio_write(world.nic, offset, size, take32());
        break;
    }
    case 3:
        (void)e1000_mmio_read(world.nic, take_offset(), size);
        break;
    case 4:
        e1000_io_write(world.nic, take8() & 15, size, take32());
        break;
    case 5:
        (void)e1000_io_read(world.nic, take8() & 15, size);
        break;
    case 6: {
        const uint32_t offset = take8();
        e1000_config_write(world.nic, offset, size, take32());
        break;
    }
    case 7:
        (void)e1000_config_read(world.nic, take8(), size);
        break;
    case 8:
    case 9:
        world.dma_calls = 0;
        check(e1000_poll(world.nic, take8() * 32u) <= 255 * 32);
        break;
    case 10:
    case 11:
        world.dma_calls = 0;
        frame_in();
        break;
    case 12:
        ram_fill();
        break;
    case 13:
        if (SNAPSHOTS && (operation & 0x60) == 0x60 && world.saves++ < 2)
            save_and_load();
        else
            e1000_set_link(world.nic, (operation & 0x10) != 0);
        break;
    case 14:
        world.sink_room = take8() & 7;
        world.now_ns += take32();
        (void)e1000_next_event_ns(world.nic);
        (void)e1000_work_pending(world.nic);
        break;
    default:
        e1000_set_pci_command(world.nic, (uint16_t)(take8() | (operation & 0x70) << 4));
        break;
    }
}

/* A driver's usual beginning, so that the input can go straight to what follows it. */
static void start_driver(uint8_t choice)
{
    static const struct {
        uint16_t offset;
        uint32_t value;
    } writes[] = {
        {E1000_TDBAL, 0x1000}, {E1000_TDLEN, 0x100},
        {E1000_RDBAL, 0x2000}, {E1000_RDLEN, 0x100},
        {E1000_RDT, 12},       {E1000_TCTL, TCTL_EN},
        {E1000_IMS, 0xff},     {E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_BAM | RCTL_MPE},
    };

    if ((choice & 1) == 0)
        return;
    e1000_set_pci_command(world.nic, PCI_COMMAND_MASTER);
    for (uint32_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        e1000_mmio_write(world.nic, writes[i].offset, 4, writes[i].value);
    for (uint32_t i = 0; i < 16; i++)
        le64_put(world.ram + 0x2000 + i * 16, 0x4000 + i * 0x800);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void *memory;
    const struct nic_host host = {
        .dma_read = dma_read,
        .dma_write = dma_write,
        .dma_map = dma_map,
        .irq = irq,
        .frame_begin = frame_begin,
        .frame_end = frame_end,
        .now_ns = now_ns,
    };

    if (memory == NULL)
        memory = aligned_alloc(16, (e1000_bytes() + 15) / 16 * 16);
    memset(world.ram, 0, sizeof world.ram);
    world.next = data;
    world.end = data + bytes;
    world.irq = false;
    world.sink_room = UINT32_MAX;
    world.saves = 0;
    world.now_ns = 1;
    const uint8_t choice = take8();
    world.map = (choice & 2) != 0;
    const struct e1000_config config = {
        .model = (choice >> 2) % 3,
        .mac = {2, 0, 0, 0, 0, 1},
        .autonegotiate_ms = (choice & 16) != 0 ? 500 : 0,
        .real_fcs = (choice & 32) != 0,
    };
    world.nic = e1000_init(memory, e1000_bytes(), &host, &config);
    check(world.nic != NULL);
    start_driver(choice >> 6);
    while (world.next < world.end) {
        operate();
        invariants();
    }
    free(world.frame);
    world.frame = NULL;
    return 0;
}
