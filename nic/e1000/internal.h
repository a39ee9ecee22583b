/*
 * internal.h - the card from inside: its state and the seams between its files. Included by
 *              nic/e1000/ and by tests that look inside; § is a section of spec/e1000.md.
 */
#ifndef NIC_E1000_INTERNAL_H
#define NIC_E1000_INTERNAL_H

#include "nic/e1000.h"
#include "nic/frame_queue.h"
#include "nic/packet.h"
#include "nic/pci.h"
#include "nic/segment.h"
#include "registers.h"

enum {
    REG_BYTES = 0x10000, /* stored registers; the packet buffer window above reads 0 (§3.2) */
    REG_ROW_BYTES = 0x6000,
    EEPROM_WORDS = 64,
    PHY_REGISTERS = 32,
    FRAME_LEGACY_MAX_BYTES = 1522,    /* §7.2, §8.2; without RCTL.LPE */
    TX_PACKET_MAX_BYTES = 256 * 1024, /* §7.2: largest aggregate */
    TX_SEGMENTS_MAX = 256,            /* §7.4 */
    TX_RUN_MAX = 64,                  /* descriptors looked ahead before their bytes are gathered */
    RX_SLOTS_MAX = 128,               /* descriptors one frame may take, empty ones included */
    RX_QUEUE_BYTES = 400 * 1024,      /* 256 frames of 1522 bytes, and the gap at the wrap */
    RING_DESCRIPTORS_MAX = 65536,     /* §7 */
};

#define NEVER UINT64_MAX

/* A latched context descriptor (§7.1). */
struct tx_context {
    uint32_t payload_bytes;
    uint16_t ipcse, tucse, mss;
    uint8_t ipcss, ipcso, tucss, tucso, header_bytes, tucmd;
};

enum tx_kind { TX_NONE, TX_LEGACY, TX_ADVANCED };

/* The packet between its first descriptor and the last frame handed to the host. */
struct tx_packet {
    enum tx_kind kind;
    bool drop;                 /* §7.2 drop mode: complete descriptors, read nothing, until EOP */
    bool started;              /* the first data descriptor was seen */
    bool held;                 /* all bytes are in gather[], the sink was full: emit before more */
    uint8_t cmd, popts;        /* legacy: of the EOP descriptor; advanced: of the first one */
    uint8_t css, cso;          /* legacy IC */
    uint16_t special;          /* VLAN tag */
    uint32_t bytes;            /* of all descriptors so far */
    uint32_t gathered;         /* of these, already copied to gather[] */
    uint32_t segment;          /* next one to emit */
    struct tx_context context; /* as it was at the first descriptor */
};

/* Microwire EEPROM behind EECD (§4). */
struct microwire {
    bool reading;
    uint8_t command_bits;
    uint16_t command; /* start bit, opcode, address */
    uint8_t address;  /* word being shifted out */
    uint8_t bits_left;
};

/* MDIO by CTRL.SWDPIN2/3, the 82543's only way to its PHY. */
struct mdio {
    uint8_t ones;   /* of the preamble */
    uint8_t bits;   /* of the frame, start bits included */
    uint32_t shift; /* frame bits received */
    uint16_t out;   /* data of a read */
};

/* Deadlines on the host's clock, NEVER when off (§6.2). */
struct timers {
    uint32_t held_causes; /* wait for throttle_until, not yet in ICR */
    uint64_t throttle_until;
    uint64_t rx_delay, rx_absolute;
    uint64_t tx_delay, tx_absolute;
    uint64_t autonegotiation;
};

struct e1000 {
    struct nic_host host;
    struct e1000_config config;
    struct e1000_stats stats;
    struct pci_config pci;

    bool busy;  /* inside DMA: a host that maps the card into its own DMA space gets no further */
    bool line;  /* INTA as last told to the host */
    bool cable; /* e1000_set_link() */

    uint32_t io_address;
    uint16_t eeprom[EEPROM_WORDS];
    uint16_t phy[PHY_REGISTERS];
    struct microwire microwire;
    struct mdio mdio;
    struct timers timers;

    struct tx_context contexts[2]; /* [TSE] */
    struct tx_packet tx;
    struct frame_queue queue; /* frames that wait for the guest */

    uint8_t row_of[REG_ROW_BYTES / 4]; /* register word -> row of the table in regs.c */
    uint32_t regs[REG_BYTES / 4];

    uint8_t scratch[E1000_FRAME_MAX_BYTES + 64]; /* one frame: loopback, split receive writes */
    uint8_t gather[TX_PACKET_MAX_BYTES];
    _Alignas(4) uint8_t queue_bytes[RX_QUEUE_BYTES];
};

static inline uint32_t reg_get(const struct e1000 *nic, uint32_t offset)
{
    return nic->regs[offset / 4];
}

static inline void reg_put(struct e1000 *nic, uint32_t offset, uint32_t value)
{
    nic->regs[offset / 4] = value;
}

/* card.c */
void card_reset_mac(struct e1000 *nic); /* CTRL.RST (§9) */

/* regs.c */
void regs_init(struct e1000 *nic);
void regs_reset(struct e1000 *nic);
uint32_t reg_writable(const struct e1000 *nic, uint32_t offset);
uint32_t reg_reset_value(const struct e1000 *nic, uint32_t offset);
void reg_restore(struct e1000 *nic, uint32_t offset, uint32_t value);

/* irq.c: causes are recorded anywhere, the line moves in irq_update() only. */
static inline void irq_raise(struct e1000 *nic, uint32_t causes)
{
    nic->regs[E1000_ICR / 4] |= causes;
}
void irq_raise_throttled(struct e1000 *nic, uint32_t causes);
void irq_raise_rx(struct e1000 *nic);
void irq_raise_tx(struct e1000 *nic, bool delay);
uint32_t irq_collect(struct e1000 *nic); /* ICR read: value and clear */
void irq_update(struct e1000 *nic);
void irq_timers_clear(struct e1000 *nic);
void irq_timers_run(struct e1000 *nic);
uint64_t irq_next_event(const struct e1000 *nic);

/* eeprom.c */
void eeprom_build(struct e1000 *nic);
void eeprom_microwire(struct e1000 *nic, uint32_t before);
uint32_t eeprom_eecd(const struct e1000 *nic);
void eeprom_eerd(struct e1000 *nic);

/* phy.c */
void phy_reset(struct e1000 *nic);
void phy_mdic(struct e1000 *nic);
void phy_mdio(struct e1000 *nic, uint32_t before);
void phy_link_changed(struct e1000 *nic);
void phy_timer(struct e1000 *nic);
bool phy_loopback(const struct e1000 *nic);

/* ring.c */
struct desc_ring {
    uint64_t base;
    uint32_t count, head, tail;
    uint8_t *slots; /* after ring_map(): the ring where the host maps guest memory, else NULL */
};
bool ring_view(const struct e1000 *nic, uint32_t base_register, struct desc_ring *ring);
void ring_map(const struct e1000 *nic, struct desc_ring *ring);
/** Copies descriptors, or their first bytes, once; counts nothing. False: outside RAM. */
bool ring_read(struct e1000 *nic, const struct desc_ring *ring, uint32_t index, void *to,
               uint32_t bytes);
/* The status byte of a mapped descriptor, written after everything else, whoever looks on. */
static inline void slot_status_put(uint8_t *slot, uint8_t status)
{
    __atomic_store_n(slot + DESC_STATUS_AT, status, __ATOMIC_RELEASE);
}
static inline bool dma_enabled(const struct e1000 *nic)
{
    return (pci_command(&nic->pci) & PCI_COMMAND_MASTER) != 0;
}
static inline uint32_t ring_free(const struct desc_ring *ring)
{
    return ring->tail >= ring->head ? ring->tail - ring->head
                                    : ring->count - ring->head + ring->tail;
}

/* tx.c */
struct tx_piece {
    uint64_t gpa;
    uint32_t bytes;
};
struct tx_report {
    uint32_t index;
    uint8_t status;
};
/* Descriptors taken from the ring whose buffers have not been read yet. */
struct tx_run {
    const struct desc_ring *ring;
    uint32_t pieces, reports;
    bool reported, reported_now; /* any RS; any RS without IDE */
    struct tx_piece piece[TX_RUN_MAX];
    struct tx_report report[TX_RUN_MAX];
};
uint32_t tx_poll(struct e1000 *nic, uint32_t budget);
bool tx_pending(const struct e1000 *nic);

/* tx_frame.c: true once every frame of the packet has left, false when the sink is full. */
bool tx_emit(struct e1000 *nic, const struct tx_run *run);

/* tx_checksum.c */
void tx_checksum_insert(uint8_t *frame, uint32_t bytes, uint32_t css, uint32_t cso, uint32_t cse);
void tx_offload_checksums(uint8_t *frame, uint32_t bytes, const struct tx_packet *packet);

/* rx.c */
int rx_arrive(struct e1000 *nic, const uint8_t *frame, uint32_t bytes); /* to the queue */
bool rx_keep(struct e1000 *nic, const uint8_t *frame, uint32_t bytes);  /* screened already */
int rx_offer(struct e1000 *nic, const uint8_t *frame, uint32_t bytes);
int rx_offer_super(struct e1000 *nic, const uint8_t *frame, uint32_t bytes, uint16_t gso_bytes);
void rx_poll(struct e1000 *nic);
bool rx_pending(const struct e1000 *nic);

/* rx_filter.c */
bool rx_filter_accepts(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes);

/* rx_checksum.c */
struct rx_result { /* what a descriptor says of its frame beside the length */
    uint8_t status, errors;
    uint16_t checksum, special;
};
/* `made_here`: the frame's checksums are right, and its payload lies elsewhere. */
void rx_checksum_status(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes,
                        bool made_here, struct rx_result *result);

/* stats.c (§3.3) */
void stat_add(struct e1000 *nic, uint32_t offset, uint32_t amount);
void stat_rx_wire(struct e1000 *nic, uint32_t bytes);
void stat_rx_good(struct e1000 *nic, const uint8_t *frame, uint32_t bytes);
/* `frames` alike, of which the first one is `frame`. */
void stat_tx(struct e1000 *nic, const uint8_t *frame, uint32_t bytes, uint32_t frames);

#endif
