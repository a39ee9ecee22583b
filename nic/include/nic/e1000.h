/*
 * e1000.h - Intel 82540EM network card: PCI function, registers, descriptor rings, INTA line.
 *
 * Source   Intel 8254x SDM (317453) through spec/e1000.md; § below is a section of that text.
 * Memory   The caller owns e1000_bytes() of memory, 16-byte aligned, and keeps it in place from
 *          e1000_init() on; nothing here allocates. Frames are borrowed for the call they are
 *          passed to, never kept.
 * Threads  One thread per device.
 * DMA      Register accesses never touch guest memory. e1000_poll() and both offers do,
 *          and only while PCI bus mastering is on.
 * Guest    No value a guest can write reaches assert() or a trap; each refusal has a counter.
 */
#ifndef NIC_E1000_H
#define NIC_E1000_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nic/host.h"

struct e1000; /* private; tests that look inside include nic/e1000/internal.h */

enum {
    E1000_BAR_MMIO = 0,
    E1000_BAR_IO = 1,
    E1000_MMIO_BYTES = 0x20000,
    E1000_IO_BYTES = 0x40,
    E1000_POLL_DESCRIPTORS = 4096, /* §7: most transmit descriptors one poll consumes */
    E1000_QUEUE_FRAMES = 256,      /* §8.1: frames e1000_receive() keeps for the guest */
    E1000_FRAME_MIN_BYTES = 14,
    E1000_FRAME_MAX_BYTES = 16384, /* jumbo with RCTL.LPE; 1522 without */
    E1000_SUPER_MAX_BYTES = 65550, /* spec/l2-extensions.md §4 */
};

enum e1000_error {
    E1000_ERR_RX_DISABLED = -1, /* RCTL.EN, bus master or link is off: the frame is lost */
    E1000_ERR_NO_BUFFER = -2,   /* too few free descriptors: keep it, offer again after RDT moves */
    E1000_ERR_FRAME_SIZE = -3,  /* shorter or longer than the card accepts: drop it */
    E1000_ERR_FILTERED = -4,    /* no address or VLAN filter takes it: drop it (§8.2) */
    E1000_ERR_RING = -5,        /* RDLEN/RDBA name no usable ring (§8.1): drop it */
    E1000_ERR_ARGUMENT = -6,    /* init: bad MAC or host; load: invalid snapshot */
};

enum e1000_model { E1000_MODEL_82540EM, E1000_MODEL_82543GC, E1000_MODEL_82545EM };

struct e1000_config {
    enum e1000_model model;
    uint8_t mac[6];            /* unicast */
    uint32_t autonegotiate_ms; /* 0..500: how long the link stays down after a restart (§5) */
    bool real_fcs; /* received frames end in their CRC-32; false: in zeros, unless the guest
                      stores bad packets (RCTL.SBP). §8.3.3 allows both */
};

/* What the card did and refused, for people and tests; never reset by the guest. */
struct e1000_stats {
    uint64_t tx_frames, tx_bytes;
    uint64_t rx_frames, rx_bytes;
    uint64_t tx_dropped;   /* a packet of impossible size or form (§7.2, §7.4) */
    uint64_t tx_bad_ring;  /* a poll found a ring it may not read (§7) */
    uint64_t tx_sink_full; /* polls that stopped because the frame sink was full */
    uint64_t rx_filtered;
    uint64_t rx_dropped_size;
    uint64_t rx_dropped_off;  /* receiver, bus master or link off */
    uint64_t rx_dropped_full; /* receive queue overflow (MPC, RXO) */
    uint64_t rx_bad_ring;
    uint64_t interrupts; /* transitions of the line to active */
};

/** Bytes of memory a card needs; a constant of the build. */
size_t e1000_bytes(void);

/**
 * Powers the card on in `memory`. Returns the card, or NULL for a misaligned or short memory,
 * a group MAC or a host without its mandatory functions.
 */
struct e1000 *e1000_init(void *memory, size_t memory_bytes, const struct nic_host *host,
                         const struct e1000_config *config);

/** Power-on reset (§9): registers, PCI configuration, EEPROM and PHY; queues are emptied. */
void e1000_reset(struct e1000 *nic);

uint32_t e1000_config_read(const struct e1000 *nic, uint32_t offset, uint32_t size);
void e1000_config_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value);
void e1000_set_pci_command(struct e1000 *nic, uint16_t command);

/** Register window (§2). Any offset, size 1, 2 or 4. Reads have the register's side effects. */
uint32_t e1000_mmio_read(struct e1000 *nic, uint32_t offset, uint32_t size);
void e1000_mmio_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value);

/** IOADDR / IODATA window (§2). */
uint32_t e1000_io_read(struct e1000 *nic, uint32_t offset, uint32_t size);
void e1000_io_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value);

/**
 * Does the card's pending work: transmits up to `budget` descriptors, delivers queued frames,
 * lets timers expire. Returns the number of transmit descriptors consumed, 0..budget.
 */
uint32_t e1000_poll(struct e1000 *nic, uint32_t budget);

/** True while e1000_poll() would find transmit descriptors or deliverable frames at once. */
bool e1000_work_pending(const struct e1000 *nic);

/**
 * Offers one frame, without FCS, straight to the guest's receive ring, behind frames that
 * e1000_receive() holds. Returns 0 once it is in guest memory, else an e1000_error.
 */
int e1000_rx_offer(struct e1000 *nic, const uint8_t *frame, uint32_t bytes);

/**
 * As e1000_rx_offer(), for a TCP packet larger than a frame whose checksums mean nothing (spec/
 * l2-extensions.md §6): the guest gets it as frames of gso_bytes payload each, under one
 * interrupt; those that find no buffer wait in the card. FRAME_SIZE for anything but TCP and for
 * more than E1000_QUEUE_FRAMES segments; NO_BUFFER: nothing was taken.
 */
int e1000_rx_offer_super(struct e1000 *nic, const uint8_t *frame, uint32_t bytes,
                         uint16_t gso_bytes);

/** Queues a copy of the frame for the next poll; no DMA. 0 or an e1000_error (§8.1). */
int e1000_receive(struct e1000 *nic, const uint8_t *frame, uint32_t bytes);

/** Takes the cable out or puts it in (§5); LSC once per change. */
void e1000_set_link(struct e1000 *nic, bool up);
bool e1000_link(const struct e1000 *nic);

/** Level of INTA: (ICR & IMS) != 0, gated by COMMAND.INTX_DISABLE (§6). */
bool e1000_irq_level(const struct e1000 *nic);

/** Host clock time of the next timer expiry, or UINT64_MAX: the emulator may sleep till then. */
uint64_t e1000_next_event_ns(const struct e1000 *nic);

/** Current receive address 0. */
void e1000_mac(const struct e1000 *nic, uint8_t mac[6]);

const struct e1000_stats *e1000_stats(const struct e1000 *nic);

/* Frames the card has handed to the sink but the host has not yet passed on: `count` times a
 * little-endian u32 length and the frame, as in field 92 of the snapshot. */
struct e1000_frames {
    uint32_t count;
    const uint8_t *records;
    uint32_t bytes;
};

/**
 * Saves the card (§10.2); the same state always gives the same bytes. `outgoing` (may be NULL) goes
 * into field 92. Returns the snapshot's bytes; they were written if that is <= capacity, so
 * that a first call with capacity 0 asks for the size.
 */
size_t e1000_save(const struct e1000 *nic, const struct e1000_frames *outgoing, uint8_t *to,
                  size_t capacity);

/**
 * Loads a snapshot. All or nothing: returns 0, or E1000_ERR_ARGUMENT with the card unchanged.
 * Frames of field 92 go to the sink as far as it takes them; timers that ran expire at once.
 */
int e1000_load(struct e1000 *nic, const uint8_t *from, size_t bytes);

#endif
