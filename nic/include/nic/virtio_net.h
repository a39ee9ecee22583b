/*
 * virtio_net.h - virtio network card on PCI: modern, transitional or legacy transport, split
 *                queues, contract and standard feature profiles.
 *
 * Source   spec/virtio-net.md (§ below), Virtual I/O Device 1.2 (cited as "virtio §").
 * Memory   The caller owns virtio_net_bytes() of memory, 16-byte aligned, and keeps it in place
 *          from virtio_net_init() on; nothing here allocates. Frames are borrowed for the call.
 * Threads  One thread per device; the guest may run on another one (§4.1 memory order).
 * DMA      Register accesses never touch guest memory. virtio_net_poll() and
 *          virtio_net_rx_offer() do, and only while PCI bus mastering is on.
 * Guest    No value a guest can write reaches assert() or a trap; each refusal has a counter.
 */
#ifndef NIC_VIRTIO_NET_H
#define NIC_VIRTIO_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nic/host.h"

struct virtio_net; /* private; tests that look inside include nic/virtio/internal.h */

enum {
    VIRTIO_NET_BAR_ABSENT = UINT8_MAX,
    VIRTIO_NET_MMIO_BYTES = 0x4000,
    VIRTIO_NET_IO_BYTES = 0x100,
    VIRTIO_NET_QUEUE_SIZE_DEFAULT = 256,
    VIRTIO_NET_QUEUE_SIZE_MAX = 1024,
    VIRTIO_NET_FRAME_MIN_BYTES = 14,
    VIRTIO_NET_FRAME_MAX_BYTES = 65550, /* with large receive; 1522 in the contract profile */
};

enum virtio_net_error {
    VIRTIO_NET_ERR_NOT_READY = -1,  /* no DRIVER_OK, no bus master, link down: the frame is lost */
    VIRTIO_NET_ERR_NO_BUFFER = -2,  /* too few receive buffers: keep the frame, offer it again */
    VIRTIO_NET_ERR_FRAME_SIZE = -3, /* shorter or longer than the card or its buffers take */
    VIRTIO_NET_ERR_FILTERED = -4,   /* CTRL_RX, MAC table, VLAN filter */
    VIRTIO_NET_ERR_QUEUE = -5,      /* the receive queue is broken: NEEDS_RESET is set */
    VIRTIO_NET_ERR_ARGUMENT = -6,   /* init or load */
};

enum virtio_net_transport {
    VIRTIO_NET_MODERN,
    VIRTIO_NET_TRANSITIONAL,
    VIRTIO_NET_LEGACY,
};

enum virtio_net_profile {
    VIRTIO_NET_STANDARD, /* offloads, mergeable buffers, event index, control queue */
    VIRTIO_NET_CONTRACT, /* exactly the bits of §3, for AERO-W7-VIRTIO drivers */
};

enum virtio_net_header {                            /* §6.1 */
                         VIRTIO_NET_HEADER_DEFAULT, /* standard profile: 12; contract profile: auto
                                                     */
                         VIRTIO_NET_HEADER_10,
                         VIRTIO_NET_HEADER_12,
                         VIRTIO_NET_HEADER_AUTO,
};

struct virtio_net_config {
    enum virtio_net_transport transport;
    enum virtio_net_profile profile;
    enum virtio_net_header header;
    uint8_t mac[6];
    uint16_t mtu;        /* 68..65535, VIRTIO_NET_F_MTU; 0: 1500 */
    uint16_t queue_size; /* power of two, 2..1024; 0: the default */
};

struct virtio_net_stats {
    uint64_t tx_frames, tx_bytes;
    uint64_t rx_frames, rx_bytes;
    uint64_t tx_dropped;   /* header or frame of impossible size or form (§6.2) */
    uint64_t tx_sink_full; /* polls that stopped because the frame sink was full */
    uint64_t bad_chains;   /* §4.1 */
    uint64_t needs_reset;  /* times DEVICE_NEEDS_RESET was set */
    uint64_t rx_filtered;
    uint64_t rx_dropped_size; /* no buffer could ever take the frame */
    uint64_t rx_dropped_off;  /* offered before the driver was ready, or without a link */
    uint64_t rx_dropped_full; /* receive queue overflow */
    uint64_t control_refused; /* control commands answered with VIRTIO_NET_ERR */
    uint64_t interrupts;
};

size_t virtio_net_bytes(void);

/**
 * The BAR of the modern interface: 0, but 4 in a transitional card of the standard profile, whose
 * BAR 0 is the legacy one, where legacy drivers look (virtio §4.1.4.10). ABSENT in legacy mode.
 */
uint32_t virtio_net_mmio_bar(const struct virtio_net_config *config);

/** The BAR of the legacy interface: 2 in the contract (§1), 0 else. ABSENT in modern mode. */
uint32_t virtio_net_io_bar(const struct virtio_net_config *config);

/** Powers the card on in `memory`. NULL: misaligned or short memory, bad MAC, size or host. */
struct virtio_net *virtio_net_init(void *memory, size_t memory_bytes, const struct nic_host *host,
                                   const struct virtio_net_config *config);

void virtio_net_reset(struct virtio_net *nic);

/** Configuration space. The standard profile has the PCI configuration access capability (virtio
 *  §4.1.4.9): an access to its data is one to a BAR, with the register's side effects. */
uint32_t virtio_net_config_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void virtio_net_config_write(struct virtio_net *nic, uint32_t offset, uint32_t size,
                             uint32_t value);
void virtio_net_set_pci_command(struct virtio_net *nic, uint16_t command);

/** The modern (§2) and the legacy (§7) interface. Any offset, size 1, 2 or 4. */
uint32_t virtio_net_mmio_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void virtio_net_mmio_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value);
uint32_t virtio_net_io_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void virtio_net_io_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value);

/** Either of them by the number of its BAR. */
uint32_t virtio_net_bar_read(struct virtio_net *nic, uint32_t bar, uint32_t offset, uint32_t size);
void virtio_net_bar_write(struct virtio_net *nic, uint32_t bar, uint32_t offset, uint32_t size,
                          uint32_t value);

/** Transmit chains, control commands and queued frames; at most `budget` chains a queue (§4.2).
 *  Returns the number of chains completed. */
uint32_t virtio_net_poll(struct virtio_net *nic, uint32_t budget);
bool virtio_net_work_pending(const struct virtio_net *nic);

/** The driver takes frames: DRIVER_OK, bus master, a receive queue. Until then a host whose frames
 * can wait need not offer them (§6.3.1). */
bool virtio_net_ready(const struct virtio_net *nic);

/** As e1000_rx_offer() and e1000_receive(): a NO_BUFFER of the latter means the frame is lost. */
int virtio_net_rx_offer(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes);
int virtio_net_receive(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes);

/**
 * A TCP packet larger than a frame, whose receiver may cut it into gso_bytes of payload each; its
 * checksums mean nothing (spec/l2-extensions.md §6). A guest that negotiated GUEST_TSO4/6 gets it
 * whole, any other one gets the frames. 0 or a virtio_net_error; FRAME_SIZE for anything but TCP
 * and for more than 256 frames.
 */
int virtio_net_receive_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes,
                             uint16_t gso_bytes);

/** The same straight to the guest's buffers, as virtio_net_rx_offer(); of a cut one that has begun
 *  the rest waits in the card. NO_BUFFER: nothing was taken. */
int virtio_net_rx_offer_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes,
                              uint16_t gso_bytes);

/** Link state: configuration status bit, generation and interrupt (§2.4). */
void virtio_net_set_link(struct virtio_net *nic, bool up);
bool virtio_net_link(const struct virtio_net *nic);

/** INTA level: ISR != 0, gated by COMMAND.INTX_DISABLE and MSI-X (§2.3). */
bool virtio_net_irq_level(const struct virtio_net *nic);

/**
 * Address and data the guest programmed for `vector`, for a host whose message() delivers them.
 * MSI-X is offered when the host has message() and the transport has BAR0. False: not enabled.
 */
bool virtio_net_msix_message(const struct virtio_net *nic, uint32_t vector, uint64_t *address,
                             uint32_t *data);

void virtio_net_mac(const struct virtio_net *nic, uint8_t mac[6]);
const struct virtio_net_stats *virtio_net_stats(const struct virtio_net *nic);

/**
 * Saves the card (§9); the same state always gives the same bytes. Returns the snapshot's bytes;
 * they were written if that is <= room_bytes, so that a first call with NULL and 0 asks for it.
 */
size_t virtio_net_save(const struct virtio_net *nic, uint8_t *to, size_t room_bytes);

/** Loads a snapshot. All or nothing: 0, or VIRTIO_NET_ERR_ARGUMENT with the card unchanged. */
int virtio_net_load(struct virtio_net *nic, const uint8_t *from, size_t bytes);

#endif
