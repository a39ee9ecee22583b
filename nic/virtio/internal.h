/*
 * internal.h - the card from inside: its state and the seams between its files. Included by
 *              nic/virtio/ and by tests that look inside; § is a section of spec/virtio-net.md.
 */
#ifndef NIC_VIRTIO_INTERNAL_H
#define NIC_VIRTIO_INTERNAL_H

#include "nic/frame_queue.h"
#include "nic/packet.h"
#include "nic/pci.h"
#include "nic/virtio_net.h"
#include "registers.h"

enum {
    QUEUE_RX,
    QUEUE_TX,
    QUEUE_CONTROL, /* with CTRL_VQ only */
    QUEUES_MAX,

    FRAME_CONTRACT_MAX_BYTES = 1522, /* §5 */
    TX_PACKET_MAX_BYTES = 1 << 20,   /* §6.5: before segmentation */
    TX_SEGMENTS_MAX = 1024,
    QUEUE_FRAMES = 256,       /* §4.2 */
    RX_QUEUE_BYTES = 1 << 20, /* 256 frames of 1522 bytes, or 16 of 64 KiB */
    MAC_TABLE_MAX = 64,
    NO_HEAD = 0x10000,
    VLAN_IDS = 4096,
};

struct vnet_queue {
    uint64_t desc, avail, used; /* guest-physical; checked when the queue was enabled */
    uint16_t size, msix_vector;
    uint16_t next_avail, next_used; /* free-running */
    uint16_t avail_seen;            /* avail.idx as last read */
    uint16_t published;             /* used.idx as last written */
    bool enabled;
    bool kicked; /* worth a look in the next poll */
    bool quiet;  /* used.flags tells the driver not to kick */
};

struct vnet_piece {
    uint64_t gpa;
    uint32_t bytes; /* never 0 */
};

/* A chain copied out of guest memory and checked (§4.1): readable pieces first. */
struct vnet_chain {
    uint32_t pieces, readable;
    uint32_t first_bytes; /* of its first descriptor */
    uint64_t readable_bytes, writable_bytes;
    struct vnet_piece piece[INDIRECT_ENTRIES_MAX];
};

/* Reads or writes a chain front to back. */
struct vnet_cursor {
    const struct vnet_chain *chain;
    uint32_t piece, used; /* and how much of it */
};

/* A receive chain taken from the ring and not completed (§4.2). */
struct vnet_held {
    uint32_t capacity_bytes; /* header included */
    uint16_t head;
    uint8_t header_bytes;
};

enum vnet_mode { MODE_OPEN, MODE_MODERN, MODE_LEGACY }; /* §7, mode lock */

/* What control commands set (virtio §5.1.6.5); MAC tables hold unicast first. */
struct vnet_filter {
    bool promiscuous, all_multicast, all_unicast;
    bool no_multicast, no_unicast, no_broadcast;
    bool table_overflow[2]; /* unicast, multicast: more than fits means all */
    uint8_t tables[2];      /* entries of each */
    uint8_t table[2][MAC_TABLE_MAX][6];
    uint8_t vlan[VLAN_IDS / 8];
};

struct virtio_net {
    struct nic_host host;
    struct virtio_net_config config;
    struct virtio_net_stats stats;
    struct pci_config pci;

    bool busy; /* inside DMA: a host that maps the card into its own DMA space gets no further */
    bool line; /* INTA as last told to the host */
    bool link;
    bool announce;

    enum vnet_mode mode;
    uint8_t status, isr, generation;
    uint64_t offered, driver_features, negotiated;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, msix_config;
    uint8_t msix_table[MSIX_TABLE_BYTES];
    uint8_t msix_pending;
    uint8_t mac[6];

    struct vnet_queue queue[QUEUES_MAX];
    struct vnet_filter filter;

    uint32_t tx_segment; /* of the chain at the front, when the sink was full in between */

    struct vnet_held held[VIRTIO_NET_QUEUE_SIZE_MAX];
    uint32_t held_first, held_count;
    uint32_t rx_left; /* chains this poll may still take */
    bool rx_starved;  /* the frame tried last waits for buffers */
    struct frame_queue rx_queue;

    struct vnet_chain chain; /* the one being worked on */
    uint32_t chain_held;     /* during a receive call: its head, when it was just held; NO_HEAD */
    _Alignas(4) uint8_t rx_queue_bytes[RX_QUEUE_BYTES];
};

static inline bool vnet_has(const struct virtio_net *nic, uint64_t feature)
{
    return (nic->negotiated & feature) != 0;
}

static inline bool vnet_standard(const struct virtio_net *nic)
{
    return nic->config.profile == VIRTIO_NET_STANDARD;
}

static inline uint32_t vnet_queue_count(const struct virtio_net *nic)
{
    return (nic->offered & F_CTRL_VQ) != 0 ? 3 : 2;
}

/* card.c */
void vnet_device_reset(struct virtio_net *nic); /* status 0 (§3) */
bool vnet_running(const struct virtio_net *nic);
uint32_t vnet_frame_limit(const struct virtio_net *nic); /* an ordinary frame */
/** Bytes of the packet header for a chain whose first descriptor has first_bytes (§6.1). */
uint32_t vnet_header_bytes(const struct virtio_net *nic, uint32_t first_bytes);
void vnet_needs_reset(struct virtio_net *nic);

/* identity.c (§1) */
void vnet_identify(struct virtio_net *nic);
bool vnet_msix_offered(const struct virtio_net *nic);

/* window.c: what an access to the configuration space does to a BAR */
bool vnet_window_offered(const struct virtio_net *nic);
void vnet_window_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void vnet_window_written(struct virtio_net *nic, uint32_t offset, uint32_t size);

/* features.c (§3) */
uint64_t vnet_features_offered(const struct virtio_net_config *config);
uint32_t vnet_features_window(uint64_t features, uint32_t select);
void vnet_features_write(struct virtio_net *nic, uint32_t value);
void vnet_status_write(struct virtio_net *nic, uint8_t value);
/** Device configuration (§2.4), the same for both transports. */
void vnet_config_image(const struct virtio_net *nic, uint8_t image[CONFIG_BYTES]);
void vnet_config_changed(struct virtio_net *nic);

/* modern.c (§2), legacy.c (§7) */
uint32_t vnet_modern_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void vnet_modern_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value);
uint32_t vnet_legacy_read(struct virtio_net *nic, uint32_t offset, uint32_t size);
void vnet_legacy_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value);

/* irq.c (§2.3): the line moves in vnet_irq_update() only. */
bool vnet_msix_enabled(const struct virtio_net *nic);
void vnet_irq_queue(struct virtio_net *nic, const struct vnet_queue *queue);
void vnet_irq_config(struct virtio_net *nic);
uint8_t vnet_irq_collect(struct virtio_net *nic); /* ISR read: value and clear */
void vnet_irq_update(struct virtio_net *nic);
void vnet_msix_reset(struct virtio_net *nic);    /* all vectors masked */
void vnet_msix_unmasked(struct virtio_net *nic); /* sends what pends and may */
uint16_t vnet_vector_valid(const struct virtio_net *nic, uint16_t vector);

/* queue.c (§4) */
void vnet_queue_reset(struct virtio_net *nic, uint32_t index);
void vnet_queue_enable(struct virtio_net *nic, struct vnet_queue *queue);
/** Begins a poll: its kick is seen. Also when the queue is off, or the mark would stay for ever. */
static inline bool vnet_queue_begin(struct vnet_queue *queue)
{
    queue->kicked = false;
    return queue->enabled;
}
/** The next head of the available ring, not yet taken. False: none, or the queue broke. */
bool vnet_queue_next(struct virtio_net *nic, struct vnet_queue *queue, uint16_t *head);

enum vnet_walk { WALK_MORE, WALK_DONE, WALK_BAD, WALK_BROKEN };
/** Copies the chain at `head`: DONE; BAD: complete it with 0; BROKEN: NEEDS_RESET was set. */
enum vnet_walk vnet_chain_walk(struct virtio_net *nic, const struct vnet_queue *queue,
                               uint16_t head, struct vnet_chain *chain);

/** Puts a used element behind those already there; vnet_queue_publish() shows them. */
void vnet_queue_complete(struct virtio_net *nic, struct vnet_queue *queue, uint16_t head,
                         uint32_t bytes);
/** Writes used.idx and raises the interrupt the driver asked for. */
void vnet_queue_publish(struct virtio_net *nic, struct vnet_queue *queue);
/** Asks for kicks and looks again: true when chains came in meanwhile. */
bool vnet_queue_arm(struct virtio_net *nic, struct vnet_queue *queue);
/** Tells the driver that kicks are not needed for now. */
void vnet_queue_quiet(struct virtio_net *nic, struct vnet_queue *queue);

/** Cursors: false when guest memory is not there or the chain is at its end. NULL skips. */
bool vnet_cursor_read(struct virtio_net *nic, struct vnet_cursor *cursor, void *to, uint32_t bytes);
bool vnet_cursor_write(struct virtio_net *nic, struct vnet_cursor *cursor, const void *from,
                       uint32_t bytes);

/* tx.c (§6.2), rx.c (§6.3), control.c; each returns the chains completed */
uint32_t vnet_tx_poll(struct virtio_net *nic, uint32_t budget);
void vnet_rx_poll(struct virtio_net *nic);
int vnet_rx_arrive(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes);
int vnet_rx_offer(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes);
int vnet_rx_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes, uint16_t mss);
int vnet_rx_offer_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes, uint16_t mss);
bool vnet_rx_pending(const struct virtio_net *nic);
uint32_t vnet_control_poll(struct virtio_net *nic, uint32_t budget);

/* filter.c */
void vnet_filter_reset(struct vnet_filter *filter);
bool vnet_filter_accepts(const struct virtio_net *nic, const uint8_t *frame, uint32_t bytes);

#endif
