/*
 * driver.h - the guest's half of an E1000: RAM, rings, the registers a driver writes; and the
 *            host's half: a frame sink, an interrupt line and a clock that tests move by hand.
 *
 * Guest RAM answers as host-api.md §2.3 says: ff in the PCI hole, 0 out of range, writes there
 * ignored, ranges that cross a border split.
 */
#ifndef SUPPORT_DRIVER_H
#define SUPPORT_DRIVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nic/e1000/internal.h"

enum {
    DRIVER_RAM_BYTES = 4 * 1024 * 1024,
    DRIVER_FRAMES_MAX = 1024,
    DRIVER_WRITES_MAX = 4096,
    DRIVER_RING = 64,        /* descriptors of each ring after driver_start() */
    DRIVER_RX_RING = 0x1000, /* guest-physical places */
    DRIVER_TX_RING = 0x2000,
    DRIVER_RX_BUFFERS = 0x100000,
    DRIVER_TX_BUFFERS = 0x200000,
    DRIVER_BUFFER_BYTES = 16384,
};

struct driver_frame {
    uint8_t *data;
    uint32_t bytes;
    uint16_t gso_bytes; /* of a super-frame, else 0 */
};

struct driver_write {
    uint64_t gpa;
    uint32_t bytes;
};

struct driver {
    struct e1000 *nic;
    void *memory;
    struct nic_host host;
    struct e1000_config config;

    uint8_t *ram;
    bool map;       /* offer dma_map() */
    bool super;     /* take super-frames; as of driver_power_on() */
    uint32_t reads; /* DMA calls */
    uint32_t writes;
    struct driver_write write[DRIVER_WRITES_MAX];
    void (*on_dma)(struct driver *d); /* called before each DMA access */
    /* Sees every access before it happens; `model` is the caller's own. */
    void (*watch)(struct driver *d, bool write, uint64_t gpa, uint32_t bytes);
    void *model;

    uint32_t tx_tail, tx_count, rx_tail, rx_count;

    uint32_t sink_room; /* frames the sink still takes */
    uint32_t frames;    /* taken so far */
    struct driver_frame frame[DRIVER_FRAMES_MAX];
    uint8_t *pending; /* given by frame_begin(), guarded at its end */
    uint32_t pending_bytes;
    uint16_t pending_gso_bytes;

    bool irq;
    uint32_t irq_edges;
    uint64_t now_ns;
};

/* cmocka setup and teardown: a powered-on card, nothing programmed. *state is the driver. */
int driver_setup(void **state);
int driver_teardown(void **state);
/** Setup and driver_start(). */
int driver_setup_started(void **state);

/** A second power-on with another configuration. */
void driver_power_on(struct driver *d, const struct e1000_config *config);

uint32_t driver_get(struct driver *d, uint32_t offset);
void driver_put(struct driver *d, uint32_t offset, uint32_t value);

/** Bus master on, both rings of DRIVER_RING descriptors, receiver (UPE, BAM) and transmitter on. */
void driver_start(struct driver *d);
void driver_tx_ring(struct driver *d, uint64_t gpa, uint32_t count);
void driver_rx_ring(struct driver *d, uint64_t gpa, uint32_t count);

/** Puts a raw descriptor at the tail; TDT moves with driver_tx_kick(). Returns its index. */
uint32_t driver_tx_put(struct driver *d, const uint8_t raw[16]);
void driver_tx_kick(struct driver *d);
/** Legacy descriptor for `bytes` bytes of a pattern in the buffer of its own. */
uint32_t driver_queue_tx(struct driver *d, uint32_t bytes, uint8_t cmd);
uint32_t driver_queue_legacy(struct driver *d, uint64_t gpa, uint32_t bytes, uint8_t cso,
                             uint8_t cmd, uint8_t css, uint16_t special);
uint32_t driver_queue_data(struct driver *d, uint64_t gpa, uint32_t bytes, uint8_t cmd,
                           uint8_t popts, uint16_t special);
struct driver_context {
    uint8_t ipcss, ipcso;
    uint16_t ipcse;
    uint8_t tucss, tucso;
    uint16_t tucse;
    uint32_t paylen;
    uint8_t tucmd, hdrlen;
    uint16_t mss;
};
uint32_t driver_queue_context(struct driver *d, const struct driver_context *context);
uint8_t driver_tx_status(const struct driver *d, uint32_t index);
/** The pattern byte at `at` of transmit buffer `index`. */
uint8_t driver_pattern(uint32_t index, uint32_t at);

/** Makes `count` more descriptors available, each with a buffer of its own. */
void driver_rx_refill(struct driver *d, uint32_t count);
struct driver_rx {
    uint64_t buffer;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};
struct driver_rx driver_rx(const struct driver *d, uint32_t index);
/** Writes `count` hex digits pairs of `text` to guest memory; blanks are skipped. Returns bytes. */
uint32_t driver_hex(struct driver *d, uint64_t gpa, const char *text);

/** Forgets the frames the sink took so far. */
void driver_frames_clear(struct driver *d);

/** A frame to the card's own address with a recognisable payload; returned block is static. */
const uint8_t *driver_frame(struct driver *d, uint32_t bytes);
void driver_assert_hex(const uint8_t *have, const char *text);

#endif
