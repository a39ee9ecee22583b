/*
 * snapshot.h - fields of the E1K0 snapshot (spec/e1000.md §10.2), shared by save.c and load.c.
 */
#ifndef NIC_E1000_SNAPSHOT_H
#define NIC_E1000_SNAPSHOT_H

#include "internal.h"

enum { E1K0_MAJOR = 1, E1K0_MINOR = 0, E1K0_FRAME_MAX_BYTES = 1522 };

enum {
    TAG_CONFIG_SPACE = 1,
    TAG_BAR0 = 2, /* value, probe, value, probe */
    TAG_BAR0_PROBE = 3,
    TAG_BAR1 = 4,
    TAG_BAR1_PROBE = 5,
    TAG_IOADDR = 16,
    TAG_ICR = 20,
    TAG_IMS = 21,
    TAG_LINE = 22,
    TAG_RDLEN = 42,
    TAG_RDH = 43,
    TAG_RDT = 44,
    TAG_TDLEN = 52,
    TAG_TDH = 53,
    TAG_TDT = 54,
    TAG_GATHER = 60,
    TAG_DROP = 61,
    TAG_IPCSS = 62, /* then ipcso, ipcse, tucss, tucso, tucse, mss, hdr_len */
    TAG_CONTEXT_FIELDS = 8,
    TAG_PACKET = 70,
    TAG_PACKET_CMD = 71,
    TAG_PACKET_CSS = 72,
    TAG_PACKET_CSO = 73,
    TAG_PACKET_POPTS = 74,
    TAG_MAC = 80,
    TAG_RAH0_VALID = 81,
    TAG_EEPROM = 82,
    TAG_PHY = 83,
    TAG_REGISTERS = 90,
    TAG_RX_FRAMES = 91,
    TAG_TX_FRAMES = 92,
    /* Ours; absent means the reset value. */
    TAG_CONTEXT_REST = 128,  /* of the TSE context: PAYLEN u32, TUCMD u8 */
    TAG_CONTEXT_PLAIN = 129, /* CONTEXT_BYTES */
    TAG_PACKET_CONTEXT = 130,
    TAG_PACKET_REST = 131, /* held u8, started u8, special u16, segment u32 */
    TAG_MICROWIRE = 132,   /* reading u8, bits u8, command u16, address u8, bits left u8 */
    TAG_MDIO = 133,        /* ones u8, bits u8, out u16, shift u32 */
    TAG_HELD_CAUSES = 134,
    TAG_LINK = 135,       /* cable u8, autonegotiating u8 */
    TAG_STATISTICS = 136, /* 64 x u32 */
    TAG_RAH0 = 137,
    TAG_RINGS_RAW = 138, /* RDLEN, RDH, RDT, TDLEN, TDH, TDT as written, where 42..54 may not */
    TAG_RX_JUMBO = 139,  /* as 91, when a frame is longer than 91 allows */
};

enum {
    CONTEXT_BYTES = 16,
    CONTEXT_REST_BYTES = 5,
    PACKET_REST_BYTES = 8,
    MICROWIRE_BYTES = 6,
    MDIO_BYTES = 8,
    LINK_BYTES = 2,
    RINGS_RAW_BYTES = 24,
};

/* Registers with a field of their own, in tag order. */
struct tagged_register {
    uint16_t tag, offset;
};
#define TAGGED_REGISTERS                                                                           \
    {                                                                                              \
        {10, E1000_CTRL}, {11, E1000_STATUS}, {12, E1000_EECD}, {13, E1000_EERD},                  \
            {14, E1000_CTRL_EXT}, {15, E1000_MDIC}, {TAG_ICR, E1000_ICR}, {TAG_IMS, E1000_IMS},    \
            {30, E1000_RCTL}, {31, E1000_TCTL}, {40, E1000_RDBAL}, {41, E1000_RDBAH},              \
            {TAG_RDLEN, E1000_RDLEN}, {TAG_RDH, E1000_RDH}, {TAG_RDT, E1000_RDT},                  \
            {50, E1000_TDBAL}, {51, E1000_TDBAH}, {TAG_TDLEN, E1000_TDLEN}, {TAG_TDH, E1000_TDH},  \
            {TAG_TDT, E1000_TDT},                                                                  \
    }

/* True for registers that travel in TAG_REGISTERS. */
bool snapshot_is_other_register(const struct e1000 *nic, uint32_t offset);

#endif
