#include "internal.h"
#include "nic/snapshot.h"
#include "snapshot.h"

/*
 * All or nothing: check() looks at every field and only keeps pointers and counts; apply() cannot
 * fail any more (§9). A blob without our own fields comes from another model: its receive chains
 * are taken again, the rest starts as after a reset.
 */
enum { TRANSPORT_QUEUES_AT = 31, NOT_THERE = 0, BAR_KIND_MASK = 7 };

/* Offsets in the fixed part of TAG_TRANSPORT. */
enum {
    AT_STATUS = 0,
    AT_NEGOTIATED = 1,
    AT_DEVICE_SELECT = 9,
    AT_DRIVER_SELECT = 13,
    AT_DRIVER_FEATURES = 17,
    AT_MSIX_CONFIG = 25,
    AT_QUEUE_SELECT = 27,
    AT_ISR = 29,
    AT_LINE = 30,
};

/* Offsets in a queue's record. */
enum { AT_ENABLED = 24, AT_VECTOR = 25, AT_NEXT_AVAIL = 29, AT_NEXT_USED = 31, AT_EVENT_IDX = 33 };

struct loaded {
    const uint8_t *pci, *transport, *card, *msix_table, *msix_pending;
    const uint8_t *held, *frames, *mac; /* NULL: no such field */
    uint32_t queues, helds, frame_count;
    struct vnet_queue queue[QUEUES_MAX];
};

static bool check_flags(const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (from[i] > 1)
            return false;
    }
    return true;
}

static bool check_card(const struct virtio_net *nic, struct loaded *in)
{
    const uint8_t *card = in->card;

    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        in->queue[i].size = nic->config.queue_size;
    if (card == NULL)
        return true;
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        const uint16_t size = le16_get(card + CARD_SIZES_AT + 2 * i);

        if (size < 2 || size > nic->config.queue_size || (size & (size - 1)) != 0)
            return false;
        in->queue[i].size = size;
    }
    const uint8_t mode = card[CARD_MODE_AT];
    return mode <= MODE_LEGACY &&
           (nic->config.transport == VIRTIO_NET_TRANSITIONAL ||
            mode == (nic->config.transport == VIRTIO_NET_LEGACY ? MODE_LEGACY : MODE_MODERN)) &&
           check_flags(card + CARD_LINK_AT, 2) && check_flags(card + CARD_FILTER_AT, 8) &&
           card[CARD_FILTER_AT + 8] <= MAC_TABLE_MAX && card[CARD_FILTER_AT + 9] <= MAC_TABLE_MAX;
}

static bool check_queue(struct virtio_net *nic, struct loaded *in, uint32_t index)
{
    const uint8_t *raw = in->transport + TRANSPORT_HEAD_BYTES + index * QUEUE_RECORD_BYTES;
    struct vnet_queue *queue = &in->queue[index];

    if (raw[AT_ENABLED] > 1 || raw[AT_EVENT_IDX] > 1)
        return false;
    queue->desc = le64_get(raw);
    queue->avail = le64_get(raw + 8);
    queue->used = le64_get(raw + 16);
    queue->msix_vector = le16_get(raw + AT_VECTOR);
    queue->next_avail = le16_get(raw + AT_NEXT_AVAIL);
    queue->next_used = le16_get(raw + AT_NEXT_USED);
    if (raw[AT_ENABLED] == 0)
        return true;
    vnet_queue_enable(nic, queue);
    queue->quiet = true;   /* used.flags may say so: the next one to ask for kicks writes it */
    return queue->enabled; /* one that could never have been enabled */
}

static bool check_transport(struct virtio_net *nic, const struct snapshot_reader *reader,
                            struct loaded *in)
{
    uint32_t bytes;

    in->transport = snapshot_find(reader, TAG_TRANSPORT, &bytes);
    if (in->transport == NULL || bytes < TRANSPORT_HEAD_BYTES)
        return false;
    in->queues = le32_get(in->transport + TRANSPORT_QUEUES_AT);
    if (in->queues > SNAPSHOT_QUEUES_MAX ||
        bytes != TRANSPORT_HEAD_BYTES + in->queues * QUEUE_RECORD_BYTES ||
        in->transport[AT_LINE] > 1)
        return false;
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        in->queue[i].msix_vector = VECTOR_NONE;
        if (i < in->queues && i < vnet_queue_count(nic) && !check_queue(nic, in, i))
            return false;
    }
    return true;
}

static bool check_held(const struct snapshot_reader *reader, struct loaded *in)
{
    uint32_t bytes;

    in->held = snapshot_find(reader, TAG_HELD, &bytes);
    if (in->held == NULL)
        return true;
    in->helds = bytes / HELD_RECORD_BYTES;
    if (bytes % HELD_RECORD_BYTES != 0 || in->helds > in->queue[QUEUE_RX].size)
        return false;
    for (uint32_t i = 0; i < in->helds; i++) {
        const uint8_t *raw = in->held + i * HELD_RECORD_BYTES;

        if ((raw[6] != HEADER_SHORT_BYTES && raw[6] != HEADER_LONG_BYTES) || le32_get(raw) < raw[6])
            return false;
    }
    return in->helds == 0 || in->queue[QUEUE_RX].enabled;
}

static bool check_frames(const struct snapshot_reader *reader, struct loaded *in)
{
    uint32_t bytes;
    uint32_t at = 4;
    uint32_t room = RX_QUEUE_BYTES;

    in->frames = snapshot_find(reader, TAG_RX, &bytes);
    if (in->frames == NULL)
        return true;
    if (bytes < 4)
        return false;
    in->frame_count = le32_get(in->frames);
    if (in->frame_count > QUEUE_FRAMES)
        return false;
    for (uint32_t i = 0; i < in->frame_count; i++) {
        if (bytes - at < 8)
            return false;
        const uint32_t frame_bytes = le32_get(in->frames + at);
        at += 8;
        if (frame_bytes < VIRTIO_NET_FRAME_MIN_BYTES || frame_bytes > VIRTIO_NET_FRAME_MAX_BYTES ||
            frame_bytes > bytes - at || le32_get(in->frames + at - 4) > UINT16_MAX ||
            frame_queue_record_bytes(frame_bytes) > room)
            return false;
        room -= frame_queue_record_bytes(frame_bytes);
        at += frame_bytes;
    }
    return at == bytes;
}

/* The width of this field is not written down anywhere: 1, 2 and 4 bytes are taken. */
static bool check_type(const struct snapshot_reader *reader)
{
    uint32_t bytes;
    const uint8_t *type = snapshot_find(reader, TAG_DEVICE_TYPE, &bytes);
    uint32_t value = 0;

    if (type == NULL)
        return true;
    if (bytes != 1 && bytes != 2 && bytes != 4)
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint32_t)type[i] << 8 * i;
    return value == DEVICE_TYPE_NET;
}

/* The same card for the guest: what its driver bound to, and BARs of the same kinds. A blob of
 * another model may have them in their records alone. */
static bool check_identity(const struct virtio_net *nic, const uint8_t *pci)
{
    const uint8_t *own = nic->pci.bytes;

    if (le32_get(pci + PCI_VENDOR_ID) != le32_get(own + PCI_VENDOR_ID))
        return false;
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        const uint32_t at = PCI_BAR0 + 4 * i;

        if (nic->pci.identity.bars[i].kind != PCI_BAR_NONE && le32_get(pci + at) != 0 &&
            ((pci[at] ^ own[at]) & BAR_KIND_MASK) != 0)
            return false;
    }
    return true;
}

static bool check(struct virtio_net *nic, const struct snapshot_reader *reader, struct loaded *in)
{
    if (snapshot_get_bytes(reader, TAG_PCI, &in->pci, PCI_FIELD_BYTES) != 1 ||
        snapshot_get_bytes(reader, TAG_CARD, &in->card, CARD_FIELD_BYTES) < NOT_THERE ||
        snapshot_get_bytes(reader, TAG_MAC, &in->mac, ETH_ADDRESS_BYTES) < NOT_THERE ||
        snapshot_get_bytes(reader, TAG_MSIX_TABLE, &in->msix_table, MSIX_TABLE_BYTES) < NOT_THERE ||
        snapshot_get_bytes(reader, TAG_MSIX_PENDING, &in->msix_pending, MSIX_PENDING_BYTES) <
            NOT_THERE)
        return false;
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        if (in->pci[PCI_CONFIG_BYTES + i * BAR_RECORD_BYTES + 8] > 1)
            return false;
    }
    if (in->mac != NULL && (in->mac[0] & 1) != 0)
        return false;
    return check_identity(nic, in->pci) && check_type(reader) && check_card(nic, in) &&
           check_transport(nic, reader, in) && check_held(reader, in) && check_frames(reader, in);
}

static void apply_pci(struct virtio_net *nic, const struct loaded *in)
{
    static const uint8_t kept[] = {PCI_COMMAND,       PCI_COMMAND + 1,    PCI_CACHE_LINE_SIZE,
                                   PCI_LATENCY_TIMER, PCI_INTERRUPT_LINE, MSIX_CONTROL_AT};

    vnet_identify(nic);
    for (uint32_t i = 0; i < sizeof kept; i++)
        pci_config_write(&nic->pci, kept[i], 1, in->pci[kept[i]]);
    for (uint32_t i = WINDOW_BAR; i < WINDOW_END; i++) /* read-only where there is no window */
        pci_config_write(&nic->pci, i, 1, in->pci[i]);
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        const uint8_t *raw = in->pci + PCI_CONFIG_BYTES + i * BAR_RECORD_BYTES;
        const bool wide = nic->pci.identity.bars[i].kind == PCI_BAR_MEMORY64;

        if (nic->pci.identity.bars[i].kind == PCI_BAR_NONE && raw[8] == 0)
            continue;
        pci_config_write(&nic->pci, PCI_BAR0 + 4 * i, 4, raw[8] != 0 ? UINT32_MAX : le32_get(raw));
        if (wide)
            pci_config_write(&nic->pci, PCI_BAR0 + 4 * (i + 1), 4, le32_get(raw + 4));
    }
}

static void apply_transport(struct virtio_net *nic, const struct loaded *in)
{
    const uint8_t *raw = in->transport;

    nic->status = raw[AT_STATUS];
    nic->negotiated = le64_get(raw + AT_NEGOTIATED) & nic->offered;
    nic->driver_features = le64_get(raw + AT_DRIVER_FEATURES);
    nic->device_feature_select = le32_get(raw + AT_DEVICE_SELECT);
    nic->driver_feature_select = le32_get(raw + AT_DRIVER_SELECT);
    nic->msix_config = le16_get(raw + AT_MSIX_CONFIG);
    nic->queue_select = le16_get(raw + AT_QUEUE_SELECT);
    nic->isr = raw[AT_ISR] & (ISR_QUEUE | ISR_CONFIG);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        struct vnet_queue *queue = &nic->queue[i];

        *queue = in->queue[i];
        if (i == QUEUE_RX && in->held == NULL)
            queue->next_avail = queue->next_used;
        queue->avail_seen = queue->next_avail;
        queue->published = queue->next_used;
    }
    if (in->msix_table != NULL)
        __builtin_memcpy(nic->msix_table, in->msix_table, MSIX_TABLE_BYTES);
    if (in->msix_pending != NULL)
        nic->msix_pending = in->msix_pending[0] & ((1u << MSIX_VECTORS) - 1);
    if (nic->config.transport == VIRTIO_NET_TRANSITIONAL && nic->status != 0)
        nic->mode = vnet_has(nic, F_VERSION_1) ? MODE_MODERN : MODE_LEGACY;
}

static void apply_card(struct virtio_net *nic, const uint8_t *card)
{
    struct vnet_filter *filter = &nic->filter;
    const uint8_t *modes = card + CARD_FILTER_AT;

    nic->mode = (enum vnet_mode)card[CARD_MODE_AT];
    nic->link = card[CARD_LINK_AT] != 0;
    nic->announce = card[CARD_ANNOUNCE_AT] != 0;
    nic->generation = card[CARD_GENERATION_AT];
    __builtin_memcpy(nic->mac, card + CARD_MAC_AT, sizeof nic->mac);
    nic->tx_segment = le32_get(card + CARD_SEGMENT_AT) % (TX_SEGMENTS_MAX + 1);
    filter->promiscuous = modes[0] != 0;
    filter->all_multicast = modes[1] != 0;
    filter->all_unicast = modes[2] != 0;
    filter->no_multicast = modes[3] != 0;
    filter->no_unicast = modes[4] != 0;
    filter->no_broadcast = modes[5] != 0;
    for (uint32_t i = 0; i < 2; i++) {
        filter->table_overflow[i] = modes[6 + i] != 0;
        filter->tables[i] = modes[8 + i];
    }
    __builtin_memcpy(filter->table, card + CARD_TABLES_AT, sizeof filter->table);
    __builtin_memcpy(filter->vlan, card + CARD_VLAN_AT, sizeof filter->vlan);
}

static void apply_lists(struct virtio_net *nic, const struct loaded *in)
{
    const uint8_t *record = in->frames != NULL ? in->frames + 4 : NULL;

    for (uint32_t i = 0; i < in->helds; i++) {
        const uint8_t *raw = in->held + i * HELD_RECORD_BYTES;

        nic->held[i] = (struct vnet_held){le32_get(raw), le16_get(raw + 4), raw[6]};
    }
    nic->held_count = in->helds;
    for (uint32_t i = 0; i < in->frame_count; i++) {
        const uint32_t bytes = le32_get(record);
        uint8_t *room = frame_queue_push(&nic->rx_queue, bytes, le32_get(record + 4));

        if (room != NULL) /* check_frames() has counted the room */
            __builtin_memcpy(room, record + 8, bytes);
        record += 8 + bytes;
    }
}

int virtio_net_load(struct virtio_net *nic, const uint8_t *from, size_t bytes)
{
    struct snapshot_reader reader;
    struct loaded in = {0};

    if (nic->busy || snapshot_open(&reader, from, bytes, "VPCI", VPCI_MAJOR) != 0 ||
        !check(nic, &reader, &in))
        return VIRTIO_NET_ERR_ARGUMENT;
    if (in.mac != NULL)
        __builtin_memcpy(nic->config.mac, in.mac, sizeof nic->config.mac);
    vnet_device_reset(nic);
    vnet_msix_reset(nic);
    apply_pci(nic, &in);
    apply_transport(nic, &in);
    if (in.card != NULL)
        apply_card(nic, in.card);
    apply_lists(nic, &in);
    vnet_irq_update(nic);
    return 0;
}
