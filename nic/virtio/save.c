#include "internal.h"
#include "nic/snapshot.h"
#include "snapshot.h"

static void append_u8(struct snapshot_writer *writer, uint8_t value)
{
    snapshot_append(writer, &value, 1);
}

static void append_u16(struct snapshot_writer *writer, uint16_t value)
{
    uint8_t raw[2];

    le16_put(raw, value);
    snapshot_append(writer, raw, sizeof raw);
}

static void append_u64(struct snapshot_writer *writer, uint64_t value)
{
    uint8_t raw[8];

    le64_put(raw, value);
    snapshot_append(writer, raw, sizeof raw);
}

static void save_pci(const struct virtio_net *nic, struct snapshot_writer *writer)
{
    snapshot_open_field(writer, TAG_PCI, PCI_FIELD_BYTES);
    snapshot_append(writer, nic->pci.bytes, PCI_CONFIG_BYTES);
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        append_u64(writer, pci_bar_base(&nic->pci, i));
        append_u8(writer, nic->pci.bar_probe[i]);
    }
}

static void save_queue(const struct virtio_net *nic, struct snapshot_writer *writer, uint32_t index)
{
    const struct vnet_queue *queue = &nic->queue[index];

    append_u64(writer, queue->desc);
    append_u64(writer, queue->avail);
    append_u64(writer, queue->used);
    append_u8(writer, queue->enabled);
    append_u16(writer, queue->msix_vector);
    append_u16(writer, (uint16_t)index);
    append_u16(writer, queue->next_avail);
    append_u16(writer, queue->next_used);
    append_u8(writer, vnet_has(nic, F_EVENT_IDX));
}

static void save_transport(const struct virtio_net *nic, struct snapshot_writer *writer)
{
    const uint32_t queues = vnet_queue_count(nic);

    snapshot_open_field(writer, TAG_TRANSPORT, TRANSPORT_HEAD_BYTES + queues * QUEUE_RECORD_BYTES);
    append_u8(writer, nic->status);
    append_u64(writer, nic->negotiated);
    snapshot_append_u32(writer, nic->device_feature_select);
    snapshot_append_u32(writer, nic->driver_feature_select);
    append_u64(writer, nic->driver_features);
    append_u16(writer, nic->msix_config);
    append_u16(writer, nic->queue_select);
    append_u8(writer, nic->isr);
    append_u8(writer, nic->line);
    snapshot_append_u32(writer, queues);
    for (uint32_t i = 0; i < queues; i++)
        save_queue(nic, writer, i);
}

static void save_card(const struct virtio_net *nic, struct snapshot_writer *writer)
{
    const struct vnet_filter *filter = &nic->filter;
    const uint8_t modes[] = {
        filter->promiscuous,       filter->all_multicast,     filter->all_unicast,
        filter->no_multicast,      filter->no_unicast,        filter->no_broadcast,
        filter->table_overflow[0], filter->table_overflow[1], filter->tables[0],
        filter->tables[1],
    };

    snapshot_open_field(writer, TAG_CARD, CARD_FIELD_BYTES);
    append_u8(writer, (uint8_t)nic->mode);
    append_u8(writer, nic->link);
    append_u8(writer, nic->announce);
    append_u8(writer, nic->generation);
    snapshot_append(writer, nic->mac, sizeof nic->mac);
    snapshot_append_u32(writer, nic->tx_segment);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        append_u16(writer, nic->queue[i].size);
    snapshot_append(writer, modes, sizeof modes);
    snapshot_append(writer, filter->table, sizeof filter->table);
    snapshot_append(writer, filter->vlan, sizeof filter->vlan);
}

static void save_held(const struct virtio_net *nic, struct snapshot_writer *writer)
{
    snapshot_open_field(writer, TAG_HELD, nic->held_count * HELD_RECORD_BYTES);
    for (uint32_t i = 0; i < nic->held_count; i++) {
        const struct vnet_held *held =
            &nic->held[(nic->held_first + i) % VIRTIO_NET_QUEUE_SIZE_MAX];

        snapshot_append_u32(writer, held->capacity_bytes);
        append_u16(writer, held->head);
        append_u8(writer, held->header_bytes);
    }
}

static void save_frames(const struct virtio_net *nic, struct snapshot_writer *writer)
{
    const struct frame_queue *queue = &nic->rx_queue;
    uint32_t at = queue->head;
    uint32_t total = 4;
    const uint8_t *frame;
    uint32_t bytes;
    uint32_t mss;

    for (uint32_t i = 0; i < queue->frames; i++) {
        at = frame_queue_at(queue, at, &frame, &bytes, &mss);
        total += 8 + bytes;
    }
    snapshot_open_field(writer, TAG_RX, total);
    snapshot_append_u32(writer, queue->frames);
    at = queue->head;
    for (uint32_t i = 0; i < queue->frames; i++) {
        at = frame_queue_at(queue, at, &frame, &bytes, &mss);
        snapshot_append_u32(writer, bytes);
        snapshot_append_u32(writer, mss);
        snapshot_append(writer, frame, bytes);
    }
}

size_t virtio_net_save(const struct virtio_net *nic, uint8_t *to, size_t room_bytes)
{
    struct snapshot_writer writer;

    snapshot_begin(&writer, to, to != NULL ? room_bytes : 0, "VPCI", VPCI_MAJOR, VPCI_MINOR);
    save_pci(nic, &writer);
    save_transport(nic, &writer);
    snapshot_u8(&writer, TAG_DEVICE_TYPE, DEVICE_TYPE_NET);
    if (vnet_msix_offered(nic)) {
        const uint8_t pending[MSIX_PENDING_BYTES] = {nic->msix_pending};

        snapshot_field(&writer, TAG_MSIX_TABLE, nic->msix_table, MSIX_TABLE_BYTES);
        snapshot_field(&writer, TAG_MSIX_PENDING, pending, sizeof pending);
    }
    save_card(nic, &writer);
    save_held(nic, &writer);
    save_frames(nic, &writer);
    snapshot_field(&writer, TAG_MAC, nic->config.mac, sizeof nic->config.mac);
    return writer.bytes;
}
