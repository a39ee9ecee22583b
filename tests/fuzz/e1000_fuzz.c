/*
 * e1000_fuzz.c - the E1000 against a guest that does anything: accesses of every size to every
 *                window, polls, frames, link changes; all that DMA reads comes from the input.
 *                Built twice: e1000_snapshot saves and loads in between, which costs much time.
 *
 * Input    A configuration byte, then operations; what follows an operation are its operands.
 * Checks   Sanitizers; the line equals ICR & IMS after every call; heads stay inside the rings;
 *          work per poll is bounded.
 */
#include "card_guest.h"
#include "nic/e1000/internal.h"

#include <stdlib.h>
#include <string.h>

#ifndef SNAPSHOTS
#define SNAPSHOTS 0
#endif

static struct card_guest guest;
static struct e1000 *nic; /* guest.card */
static uint32_t saves;

static void mmio_write(void *card, uint32_t offset, uint32_t value)
{
    e1000_mmio_write(card, offset, 4, value);
}

static void invariants(void)
{
    struct desc_ring ring;
    const bool pending = (reg_get(nic, E1000_ICR) & reg_get(nic, E1000_IMS)) != 0;
    const bool gate = (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) != 0;

    must(guest.irq == (pending && !gate));
    must(guest.irq == e1000_irq_level(nic));
    if (ring_view(nic, E1000_TDBAL, &ring))
        must(ring.head < ring.count && ring.tail < ring.count);
    must(nic->queue.frames <= E1000_QUEUE_FRAMES);
    must(nic->tx.gathered <= TX_PACKET_MAX_BYTES && nic->tx.gathered <= nic->tx.bytes);
    must(nic->tx.gathered == nic->tx.bytes);
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
    const uint8_t pick = take8(&guest);

    if (pick < 200)
        return known[pick % (sizeof known / sizeof known[0])];
    return (take32(&guest) & 0x2ffff) + (pick & 3);
}

static const uint8_t tcp_start[] = {2, 0, 0,    0, 0, 1, 2, 0, 0,    0, 0,    2,
                                    8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 0x40, 6};

static void super_in(uint8_t how)
{
    const uint32_t bytes =
        (how & 0x10) != 0 ? take32(&guest) % (E1000_SUPER_MAX_BYTES + 8) : 54u + how;
    uint8_t *exact = malloc(bytes + 1);

    memset(exact, how, bytes);
    if (bytes >= 54) {
        memset(exact, 0, 54);
        memcpy(exact, tcp_start, sizeof tcp_start);
        exact[46] = 0x50;
        for (uint32_t i = how & 3; i > 0; i--)
            exact[take8(&guest) % 54] = take8(&guest);
    }
    must(e1000_rx_offer_super(nic, exact, bytes, (uint16_t)take32(&guest)) <= 0);
    free(exact);
}

static void frame_in(void)
{
    uint8_t frame[E1000_FRAME_MAX_BYTES + 8];
    const uint8_t how = take8(&guest);

    if ((how & 0x60) == 0x60) {
        super_in(how);
        return;
    }
    const uint32_t bytes =
        (how & 0x10) != 0 ? take32(&guest) % sizeof frame : 14u + take8(&guest) % 64;

    memset(frame, how, sizeof frame);
    for (uint32_t i = 0; i < 64 && i < bytes; i++)
        frame[i] = take8(&guest);
    uint8_t *exact = card_guest_copy(frame, bytes);
    const int result =
        (how & 1) != 0 ? e1000_receive(nic, exact, bytes) : e1000_rx_offer(nic, exact, bytes);
    must(result <= 0);
    free(exact);
}

/* A card loads what it saved and is the same again; then a blob with some bytes changed. */
static void save_and_load(void)
{
    const size_t bytes = e1000_save(nic, NULL, NULL, 0);
    uint8_t *blob = malloc(bytes);
    uint8_t *again = malloc(bytes);

    must(e1000_save(nic, NULL, blob, bytes) == bytes);
    if (take8(&guest) % 2 == 0) {
        card_guest_spoil(&guest, blob, bytes, 1 + take8(&guest) % 8);
        (void)e1000_load(nic, blob, bytes - take8(&guest) % 4);
    } else if (e1000_next_event_ns(nic) == UINT64_MAX) { /* timers expire on load */
        must(e1000_load(nic, blob, bytes) == 0);
        must(e1000_save(nic, NULL, again, bytes) == bytes);
        must(memcmp(blob, again, bytes) == 0);
    }
    free(blob);
    free(again);
}

static void operate(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 4, 4, 3, 8, 0};
    const uint8_t operation = take8(&guest);
    const uint32_t size = sizes[operation >> 4 & 7];

    guest.dma_calls = 0;
    switch (operation & 15) {
    case 0:
    case 1:
    case 2: {
        const uint32_t offset = take_offset();
        e1000_mmio_write(nic, offset, size, take32(&guest));
        break;
    }
    case 3:
        (void)e1000_mmio_read(nic, take_offset(), size);
        break;
    case 4:
        e1000_io_write(nic, take8(&guest) & 15, size, take32(&guest));
        break;
    case 5:
        (void)e1000_io_read(nic, take8(&guest) & 15, size);
        break;
    case 6: {
        const uint32_t offset = take8(&guest);
        e1000_config_write(nic, offset, size, take32(&guest));
        break;
    }
    case 7:
        (void)e1000_config_read(nic, take8(&guest), size);
        break;
    case 8:
    case 9:
        must(e1000_poll(nic, take8(&guest) * 32u) <= 255 * 32);
        break;
    case 10:
    case 11:
        frame_in();
        break;
    case 12:
        card_guest_fill(&guest, take32(&guest) % GUEST_RAM_BYTES);
        break;
    case 13:
        if (SNAPSHOTS && (operation & 0x60) == 0x60 && saves++ < 2)
            save_and_load();
        else
            e1000_set_link(nic, (operation & 0x10) != 0);
        break;
    case 14:
        guest.sink_room = take8(&guest) & 7;
        guest.now_ns += take32(&guest);
        (void)e1000_next_event_ns(nic);
        (void)e1000_work_pending(nic);
        break;
    default:
        e1000_set_pci_command(nic, (uint16_t)(take8(&guest) | (operation & 0x70) << 4));
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
    e1000_set_pci_command(nic, PCI_COMMAND_MASTER);
    for (uint32_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        e1000_mmio_write(nic, writes[i].offset, 4, writes[i].value);
    for (uint32_t i = 0; i < 16; i++)
        le64_put(guest.ram + 0x2000 + i * 16, 0x4000 + i * 0x800);
    if ((choice & 2) == 0)
        return;
    /* A TCP packet to segment, and its descriptors in front of the tail. */
    memcpy(guest.ram + 0x3000, tcp_start, sizeof tcp_start);
    guest.ram[0x3000 + 46] = 0x50;
    uint8_t *raw = guest.ram + 0x1000;
    memcpy(raw, (const uint8_t[]){14, 24, 33, 0, 34, 50, 0, 0, 0, 0, 0x0f, 0x27, 0, 54}, 14);
    le16_put(raw + 14, 1000);
    le64_put(raw + 16, 0x3000);
    le32_put(raw + 24, 0x6000 | UINT32_C(0x2d100000)); /* DEXT, TSE, RS, EOP; data */
    raw[29] = TXD_POPTS_IXSM | TXD_POPTS_TXSM;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void *memory;
    struct nic_host host = card_guest_host(&guest);

    if (memory == NULL)
        memory = aligned_alloc(16, (e1000_bytes() + 15) / 16 * 16);
    card_guest_begin(&guest, data, bytes);
    guest.frame_min_bytes = 1;
    guest.frame_max_bytes = E1000_FRAME_MAX_BYTES + ETH_VLAN_BYTES;
    guest.mmio_write = mmio_write;
    saves = 0;
    const uint8_t choice = take8(&guest);
    guest.mapped = (choice & 2) != 0;
    if ((choice & 0x80) == 0)
        host.super_begin = NULL;
    const struct e1000_config config = {
        .model = (choice >> 2) % 3,
        .mac = {2, 0, 0, 0, 0, 1},
        .autonegotiate_ms = (choice & 16) != 0 ? 500 : 0,
        .real_fcs = (choice & 32) != 0,
    };
    guest.card = nic = e1000_init(memory, e1000_bytes(), &host, &config);
    must(nic != NULL);
    start_driver(choice >> 6);
    while (guest.next < guest.end) {
        operate();
        invariants();
    }
    card_guest_end(&guest);
    return 0;
}
