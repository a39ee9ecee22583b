/*
 * snapshot.h - fields of a `VPCI` 1.2 snapshot (spec/virtio-net.md §9). Tags from 90 on are ours:
 *              what a card needs to go on exactly where it stopped; other readers skip them.
 */
#ifndef NIC_VIRTIO_SNAPSHOT_H
#define NIC_VIRTIO_SNAPSHOT_H

enum {
    VPCI_MAJOR = 1,
    VPCI_MINOR = 2,

    TAG_PCI = 1,
    TAG_TRANSPORT = 2,
    TAG_DEVICE_TYPE = 3,
    TAG_MSIX_TABLE = 4,
    TAG_MSIX_PENDING = 5,
    TAG_CARD = 90, /* link, MAC, queue sizes, filter: see save.c */
    TAG_HELD = 91, /* receive chains taken, oldest first: capacity u32, head u16, header u8 */
    TAG_RX = 92,   /* count u32, then bytes u32, gso size u32 and the frame */
    TAG_MAC = 93,  /* the permanent address, which a device reset brings back */

    BAR_RECORD_BYTES = 9, /* base u64, probe flag u8 */
    PCI_FIELD_BYTES = 256 + 6 * BAR_RECORD_BYTES,
    TRANSPORT_HEAD_BYTES = 35,
    QUEUE_RECORD_BYTES = 34,
    SNAPSHOT_QUEUES_MAX = 16,
    DEVICE_TYPE_NET = 1,
    HELD_RECORD_BYTES = 7,

    CARD_MODE_AT = 0,
    CARD_LINK_AT = 1,
    CARD_ANNOUNCE_AT = 2,
    CARD_GENERATION_AT = 3,
    CARD_MAC_AT = 4,
    CARD_SEGMENT_AT = 10,
    CARD_SIZES_AT = 14,
    CARD_FILTER_AT = 20, /* ten bytes: six modes, two overflows, two table lengths */
    CARD_TABLES_AT = 30,
    CARD_VLAN_AT = CARD_TABLES_AT + 2 * 64 * 6,
    CARD_FIELD_BYTES = CARD_VLAN_AT + 512,
};

#endif
