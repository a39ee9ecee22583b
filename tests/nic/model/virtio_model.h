/*
 * virtio_model.h - a driver of virtqueues that does legal, odd and hostile things in any order,
 *                  and what must hold for every card whatever it does.
 *
 * The driver sleeps like a real one: it leaves its queues alone until an interrupt comes, and
 * kicks only when the card asks for it. Whoever forgets to wake the other one is found out.
 */
#ifndef NIC_MODEL_VIRTIO_MODEL_H
#define NIC_MODEL_VIRTIO_MODEL_H

#include "expected.h"
#include "script.h"
#include "virtio_driver.h"

enum {
    PIECES_MAX = 8,
    CHAINS_MAX = 256,
    HEADER_PART = HEADER_SHORT_BYTES, /* of the packet header, that expected frames start with */
    FILL = 0x5a,                      /* receive buffers before the card writes into them */
    MODEL_TABLES = 0x80000,           /* for each queue and head: an indirect table, */
    MODEL_TABLES_QUEUE = 0x10000,
    MODEL_TABLE_BYTES = 0x100,
    MODEL_RX = 0x100000, /* and room for the chain's buffers */
    MODEL_RX_BYTES = 0x2000,
    MODEL_CONTROL = 0x300000,
    MODEL_CONTROL_BYTES = 0x1000,
    MODEL_TX = 0x400000,
    MODEL_TX_BYTES = 0x4000,
};
#define MODEL_OUTSIDE (UINT64_C(1) << 40) /* no RAM there */

enum chain_kind {
    CHAIN_GOOD,
    CHAIN_TRAP, /* receive: its last buffer is outside RAM, which shows when it is used */
    CHAIN_BAD,  /* comes back with length 0 and is counted as bad_chains */
    CHAIN_DROP, /* transmit: comes back, its frame is counted as tx_dropped */
};

struct piece {
    uint64_t gpa;
    uint32_t bytes;
    bool writable;
};

/* A chain the card owns. */
struct chain {
    enum chain_kind kind;
    uint16_t head;
    uint32_t pieces, descs;
    struct piece piece[PIECES_MAX];
    uint16_t desc[PIECES_MAX + 1]; /* descriptors of the main table that it takes */
    uint64_t room;                 /* where its next piece goes */
    uint32_t header_bytes;
    uint8_t ack; /* control: the answer that must come */
    bool spent;  /* receive: a frame took it, and it comes back with used_bytes */
    uint32_t used_bytes;
};

struct ring_model {
    uint32_t size, count;
    struct chain chain[CHAINS_MAX]; /* in the order they were posted */
    bool taken[CHAINS_MAX];
    uint16_t used_seen, kicked_at;
    bool asleep;
    uint16_t event, since; /* used.idx that wakes the driver, used.idx when it fell asleep */
};

/* What control commands must have set, written down a second time. */
struct filter_model {
    bool mode[6]; /* CTRL_RX_... */
    uint32_t entries[2];
    uint8_t table[2][4][6];
    bool vlan[8];
};

struct vmodel {
    struct vdriver *d;
    const char *wrong; /* the first thing that was */
    struct script_counts *counts;
    uint32_t seed;
    bool hostile;   /* rings are broken, and much goes until the next reset */
    bool wild;      /* descriptors are, too: the card may read and write anywhere */
    bool flow_owed; /* a defect since the last proof that frames flow */
    bool legacy, contract, msix, link, announce;
    uint64_t features;
    uint8_t generation;
    uint8_t mac[6];
    struct filter_model filter;
    struct ring_model ring[QUEUES_MAX];
    uint8_t *shadow;  /* for each byte of RAM what the card may do to it */
    uint32_t outside; /* chains with a buffer outside RAM */

    struct expected_queue out, in; /* `in` with HEADER_PART bytes before each frame */
    uint32_t in_settled;  /* of `in`: in the guest's buffers; the others wait in the card */
    uint32_t in_lost;     /* frames that ended in a trap, which the guest has not seen yet */
    bool racing;          /* inside an access of the card to guest memory */
    bool slept_meanwhile; /* so what the driver asks for changed during a poll */
    uint32_t kicks_owed;
    bool rx_raced;    /* a receive chain came in during this call, and a kick for it */
    bool offer_waits; /* the host keeps a frame and offers it again after a kick */
    struct virtio_net_stats before; /* of cards before the last restore */
    struct virtio_net_stats must;   /* what the counters must be at rest */
    uint32_t messages[MSIX_VECTORS];
};

void vmodel_wrong(struct vmodel *m, const char *what);
uint32_t vmodel_random(struct vmodel *m, uint32_t bound);
bool vmodel_has(const struct vmodel *m, uint64_t feature);
void vmodel_expect(struct vmodel *m, struct expected_queue *queue, const uint8_t *bytes,
                   uint32_t length);

/* virtio_rings.c: the driver's half of the rings, and the shadow map */
void ring_start(struct vmodel *m, uint32_t queue, uint16_t base);
/** A new chain with a head, if the ring has room for `pieces` more. NULL: it has not. */
struct chain *chain_begin(struct vmodel *m, uint32_t queue, uint32_t pieces);
/** One more buffer behind a random gap; returns where it is. */
uint8_t *chain_add(struct vmodel *m, struct chain *chain, uint32_t bytes, bool writable);
/** Lays the descriptors out, direct or indirect, and makes the chain available. */
void chain_post(struct vmodel *m, uint32_t queue, struct chain *chain);
/** The same without a layout: whoever calls wrote the descriptors. */
void chain_offer(struct vmodel *m, uint32_t queue, struct chain *chain);
bool chain_take_desc(struct vmodel *m, uint32_t queue, struct chain *chain, uint16_t *desc);
void ring_kick(struct vmodel *m, uint32_t queue);
/** The next chain the card gave back. False: none. */
bool ring_used(struct vmodel *m, uint32_t queue, struct chain *chain, uint32_t *bytes);
/** Sleep until `delay` more chains came back; false: they did meanwhile. */
bool ring_sleep(struct vmodel *m, uint32_t queue, uint16_t delay);
void ring_wake(struct vmodel *m, uint32_t queue);
bool ring_due(const struct vmodel *m, uint32_t queue);
enum ring_part { PART_AVAIL, PART_DESC, PART_USED, PARTS };
/** As if the driver had enabled the queue with this part outside RAM. */
void ring_move_outside(struct vmodel *m, uint32_t queue, enum ring_part part);
void vmodel_watch(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes);

/* virtio_send.c and virtio_receive.c */
void vmodel_send(struct vmodel *m, const struct step *step);
void vmodel_send_segments(struct vmodel *m, const struct step *step);
void vmodel_compare_out(struct vmodel *m);
/** The card met a full sink so often in the poll whose frames were just compared. */
void vmodel_sink_full(struct vmodel *m, uint64_t times);
void vmodel_reap_tx(struct vmodel *m);
/** `offered`: by virtio_net_rx_offer(). */
void vmodel_receive(struct vmodel *m, const struct step *step, bool offered);
void vmodel_receive_super(struct vmodel *m, const struct step *step, bool offered);
void vmodel_refill(struct vmodel *m, uint32_t count, bool small);
void vmodel_reap_rx(struct vmodel *m);
uint32_t vmodel_header_bytes(const struct vmodel *m, uint32_t first_bytes);

/* virtio_room.c: the fate of frames that come in */
uint32_t chain_bytes(const struct chain *chain);
/** The largest frame that the oldest chain takes, or all merged ones together. 0: there are none.
 */
uint32_t vmodel_room(const struct vmodel *m);
/** Nothing the driver could post beside what is there would make room for such a frame. */
bool vmodel_too_large(const struct vmodel *m, uint32_t bytes);
/** Decides the oldest frame that waits as the card must have: 0, NO_BUFFER, FRAME_SIZE. */
int vmodel_settle_one(struct vmodel *m);
/** The same for all that wait, after a call that looks at them. False: some still wait. */
bool vmodel_settle(struct vmodel *m);
/** The card dropped as many as had to be dropped. */
void vmodel_drops(struct vmodel *m);

/* virtio_control.c */
void vmodel_control(struct vmodel *m, const struct step *step);
void vmodel_reap_control(struct vmodel *m);
void vmodel_filter_reset(struct vmodel *m);
bool vmodel_accepts(const struct vmodel *m, const uint8_t *frame, uint32_t bytes);

/* virtio_defects.c */
void vmodel_bad_chain(struct vmodel *m, const struct step *step);
void vmodel_break(struct vmodel *m, const struct step *step);
void vmodel_junk(struct vmodel *m, const struct step *step);
void vmodel_odd(struct vmodel *m, const struct step *step);

/* virtio_check.c: polls, interrupts, coming to rest */
void vmodel_poll(struct vmodel *m, uint32_t budget);
void vmodel_reap(struct vmodel *m);
/** What an interrupt handler does when there is an interrupt. */
void vmodel_interrupt(struct vmodel *m);
void vmodel_invariants(struct vmodel *m);
/** Interrupts that must come with what the card does between these two. */
struct watched {
    uint16_t used[QUEUES_MAX];
    uint32_t messages[MSIX_VECTORS];
    uint8_t isr, pending;
};
void vmodel_watch_begin(struct vmodel *m, struct watched *before);
void vmodel_watch_end(struct vmodel *m, const struct watched *before);
void vmodel_drain(struct vmodel *m);
/** A frame goes each way behind whatever is in the rings, and all comes to rest. */
void vmodel_next_frame_flows(struct vmodel *m);
/** Drained, and every counter is what was seen. */
void vmodel_rest(struct vmodel *m);

/* virtio_model.c */
void vmodel_start(struct vmodel *m, uint32_t features);

#endif
