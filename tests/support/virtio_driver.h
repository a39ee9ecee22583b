/*
 * virtio_driver.h - the guest's half of a virtio card: RAM, rings laid out by hand so that any
 *                   broken chain takes five lines, and the host's half: sink, line, messages.
 *
 *     vdriver_desc(d, QUEUE_TX, 0, 0x200000, 12, DESC_NEXT, 1);
 *     vdriver_desc(d, QUEUE_TX, 1, 0x200100, 60, DESC_NEXT, 0); // a loop
 *     vdriver_post(d, QUEUE_TX, 0);
 *     virtio_net_poll(d->nic, 8);
 *     assert_used(d, QUEUE_TX, 0, 0, 0); // first used element: head 0, length 0
 */
#ifndef SUPPORT_VIRTIO_DRIVER_H
#define SUPPORT_VIRTIO_DRIVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nic/virtio/internal.h"
#include "tcp_frame.h"

enum {
    VDRIVER_RAM_BYTES = 8 * 1024 * 1024,
    VDRIVER_FRAMES_MAX = 256,
    VDRIVER_QUEUE_BYTES = 0x10000, /* queue q lies at (q + 1) times this */
    VDRIVER_AVAIL_AT = 0x4000,
    VDRIVER_USED_AT = 0x6000,
    VDRIVER_TABLES = 0x80000, /* indirect tables */
    VDRIVER_COMMAND = 0x90000,
    VDRIVER_ANSWER = 0x9f000,
    VDRIVER_RX = 0x100000, /* receive buffer i at + i * VDRIVER_BUFFER_BYTES */
    VDRIVER_TX = 0x200000,
    VDRIVER_BIG = 0x400000,
    VDRIVER_BUFFER_BYTES = 0x1000,
};

struct vdriver_frame {
    uint8_t *data;
    uint32_t bytes;
    uint16_t gso_bytes; /* of a super-frame, else 0 */
};

/* Where a queue's parts are in guest memory, as the driver told the card. */
struct vdriver_ring {
    uint64_t desc, avail, used;
};

struct vdriver {
    struct virtio_net *nic;
    void *memory;
    struct nic_host host;
    struct virtio_net_config config;
    uint8_t *ram;
    uint64_t high; /* where RAM begins for the card; the addresses below are places in RAM */
    bool legacy;   /* started by the I/O BAR */
    struct vdriver_ring ring[QUEUES_MAX];
    uint16_t avail[QUEUES_MAX]; /* next avail.idx */
    void (*on_dma)(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes);
    void *model; /* the caller's own */
    uint32_t dma_calls;

    uint32_t sink_room, frames;
    struct vdriver_frame frame[VDRIVER_FRAMES_MAX];
    uint8_t *pending; /* given by frame_begin(), guarded at its end */
    uint32_t pending_bytes;
    uint16_t pending_gso_bytes;
    bool super; /* take super-frames; as of vdriver_power_on() */

    bool irq;
    uint32_t irq_edges, messages[MSIX_VECTORS];
};

/* cmocka setup and teardown: powered on, nothing negotiated. *state is the driver. */
int vdriver_setup(void **state);
int vdriver_teardown(void **state);
int vdriver_setup_standard(void **state); /* started with every feature but EVENT_IDX */
int vdriver_setup_contract(void **state); /* contract profile, started with all it offers */

/** A power-on with another configuration; bus master and decoding are switched on. */
void vdriver_power_on(struct vdriver *d, const struct virtio_net_config *config);

uint32_t vdriver_get(struct vdriver *d, uint32_t offset, uint32_t size);
void vdriver_put(struct vdriver *d, uint32_t offset, uint32_t size, uint32_t value);
uint64_t vdriver_offered(struct vdriver *d);
/** Reset, then up to FEATURES_OK with these features. Returns the status read back. */
uint8_t vdriver_negotiate(struct vdriver *d, uint64_t features);
/** The same, all queues in their places, DRIVER_OK. */
void vdriver_start(struct vdriver *d, uint64_t features);
/** Negotiated is done: tells the card where the queues are, empty, and enables them. */
void vdriver_queues(struct vdriver *d);
/** The whole start by the legacy interface; queue q at page (q + 1) * 16. */
void vdriver_start_legacy(struct vdriver *d, uint32_t features);
/** Status by the interface in use. */
uint8_t vdriver_status(struct vdriver *d);
void vdriver_reset(struct vdriver *d);
void vdriver_kick(struct vdriver *d, uint32_t queue);
/** ISR by the interface in use: value and clear. */
uint8_t vdriver_isr(struct vdriver *d);
/** A byte of the device configuration. */
uint8_t vdriver_config(struct vdriver *d, uint32_t offset);

uint64_t vdriver_queue(uint32_t queue); /* where its descriptors are */
void vdriver_desc(struct vdriver *d, uint32_t queue, uint32_t index, uint64_t gpa, uint32_t bytes,
                  uint16_t flags, uint16_t next);
/** Writes a descriptor anywhere: indirect tables. */
void vdriver_desc_at(struct vdriver *d, uint64_t table, uint32_t index, uint64_t gpa,
                     uint32_t bytes, uint16_t flags, uint16_t next);
/** Makes `head` available; no kick. */
void vdriver_post(struct vdriver *d, uint32_t queue, uint16_t head);
uint16_t vdriver_used_idx(const struct vdriver *d, uint32_t queue);
struct vdriver_used {
    uint32_t id, bytes;
};
struct vdriver_used vdriver_used(const struct vdriver *d, uint32_t queue, uint32_t nth);
#define assert_used(d, queue, nth, head, length)                                                   \
    do {                                                                                           \
        const struct vdriver_used used_ = vdriver_used((d), (queue), (nth));                       \
        assert_int_equal(used_.id, (head));                                                        \
        assert_int_equal(used_.bytes, (length));                                                   \
    } while (0)

/** Header of header_bytes (NULL: zeros) and frame in descriptors head, head + 1, posted. */
void vdriver_send(struct vdriver *d, uint16_t head, const uint8_t *header, uint32_t header_bytes,
                  const uint8_t *frame, uint32_t bytes);
/** One writable buffer of `bytes` in descriptor `head`, posted. */
void vdriver_receive(struct vdriver *d, uint16_t head, uint32_t bytes);
const uint8_t *vdriver_rx(const struct vdriver *d, uint16_t head);

/** One control command in the three descriptors Linux uses; returns the answer. */
uint8_t vdriver_command(struct vdriver *d, uint8_t class, uint8_t what, const void *data,
                        uint32_t bytes);

/** A frame to the card's address with a recognisable payload; the block is static. */
const uint8_t *vdriver_frame(uint32_t bytes);
void vdriver_frames_clear(struct vdriver *d);
uint32_t vdriver_hex(uint8_t *to, const char *text);
void vdriver_assert_hex(const uint8_t *have, const char *text);

#endif
