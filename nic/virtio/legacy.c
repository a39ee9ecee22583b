#include "internal.h"

static struct vnet_queue *selected(struct virtio_net *nic)
{
    return nic->queue_select < vnet_queue_count(nic) ? &nic->queue[nic->queue_select] : NULL;
}

static uint32_t config_at(const struct virtio_net *nic)
{
    return vnet_msix_enabled(nic) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
}

/* Everything but ISR, which a read of its byte clears (§7). */
static void image_make(struct virtio_net *nic, uint8_t image[LEGACY_CONFIG_MSIX + CONFIG_BYTES])
{
    const struct vnet_queue *queue = selected(nic);

    __builtin_memset(image, 0, LEGACY_CONFIG_MSIX + CONFIG_BYTES);
    le32_put(image + LEGACY_HOST_FEATURES, (uint32_t)nic->offered);
    le32_put(image + LEGACY_GUEST_FEATURES, (uint32_t)nic->driver_features);
    if (queue != NULL) {
        le32_put(image + LEGACY_QUEUE_PFN,
                 queue->enabled ? (uint32_t)(queue->desc / LEGACY_PAGE_BYTES) : 0);
        le16_put(image + LEGACY_QUEUE_SIZE, queue->size);
    }
    le16_put(image + LEGACY_QUEUE_SELECT, nic->queue_select);
    image[LEGACY_STATUS] = nic->status;
    if (vnet_msix_enabled(nic)) {
        le16_put(image + LEGACY_MSIX_CONFIG, vnet_vector_valid(nic, nic->msix_config));
        le16_put(image + LEGACY_MSIX_QUEUE,
                 queue != NULL ? vnet_vector_valid(nic, queue->msix_vector) : VECTOR_NONE);
    }
    vnet_config_image(nic, image + config_at(nic));
}

uint32_t vnet_legacy_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    uint8_t image[LEGACY_CONFIG_MSIX + CONFIG_BYTES];
    uint32_t value = 0;

    image_make(nic, image);
    if (offset <= LEGACY_ISR && offset + size > LEGACY_ISR)
        image[LEGACY_ISR] = vnet_irq_collect(nic);
    for (uint32_t i = 0; i < size && offset + i < sizeof image; i++)
        value |= (uint32_t)image[offset + i] << 8 * i;
    return value;
}

/* §7: the three parts of a ring lie one behind the other from page `pfn` on. */
static void pfn_write(struct virtio_net *nic, uint32_t pfn)
{
    struct vnet_queue *queue = selected(nic);

    if (queue == NULL)
        return;
    if (pfn == 0) {
        const uint16_t vector = queue->msix_vector;

        vnet_queue_reset(nic, nic->queue_select);
        queue->msix_vector = vector;
        return;
    }
    if (queue->enabled)
        return;
    const uint64_t used_at =
        (uint64_t)queue->size * DESC_ENTRY_BYTES + 4 + 2u * queue->size + 2 + LEGACY_PAGE_BYTES - 1;
    queue->desc = (uint64_t)pfn * LEGACY_PAGE_BYTES;
    queue->avail = queue->desc + (uint64_t)queue->size * DESC_ENTRY_BYTES;
    queue->used = queue->desc + used_at / LEGACY_PAGE_BYTES * LEGACY_PAGE_BYTES;
    vnet_queue_enable(nic, queue);
}

static void field_write(struct virtio_net *nic, uint32_t field, uint32_t value)
{
    switch (field) {
    case LEGACY_GUEST_FEATURES: /* no FEATURES_OK: in force when written (§7) */
        nic->driver_features = value;
        nic->negotiated = value & nic->offered & UINT32_MAX;
        break;
    case LEGACY_QUEUE_PFN:
        pfn_write(nic, value);
        break;
    case LEGACY_QUEUE_SELECT:
        nic->queue_select = (uint16_t)value;
        break;
    case LEGACY_QUEUE_NOTIFY:
        if ((value & 0xffff) < vnet_queue_count(nic))
            nic->queue[value & 0xffff].kicked = true;
        break;
    case LEGACY_STATUS:
        vnet_status_write(nic, (uint8_t)value);
        break;
    default:
        break;
    }
}

static void vector_write(struct virtio_net *nic, uint32_t offset, uint16_t value)
{
    struct vnet_queue *queue = selected(nic);

    if (offset == LEGACY_MSIX_CONFIG)
        nic->msix_config = vnet_vector_valid(nic, value);
    else if (queue != NULL)
        queue->msix_vector = vnet_vector_valid(nic, value);
}

/* virtio §5.1.4.3: here the MAC is the driver's to write, a byte at a time, unless it has a command
 * for that. The rest of the configuration, and all of the contract's, is read-only (§2.4). */
static bool mac_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    const uint32_t first = config_at(nic) + CONFIG_MAC;

    if (!vnet_standard(nic) || vnet_has(nic, F_CTRL_MAC_ADDR) || offset < first ||
        size > sizeof nic->mac || offset - first > sizeof nic->mac - size)
        return false;
    for (uint32_t i = 0; i < size; i++)
        nic->mac[offset - first + i] = (uint8_t)(value >> 8 * i);
    return true;
}

void vnet_legacy_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    const bool status = offset == LEGACY_STATUS;
    const bool vector = vnet_msix_enabled(nic) && size == 2 &&
                        (offset == LEGACY_MSIX_CONFIG || offset == LEGACY_MSIX_QUEUE);

    if (nic->mode == MODE_MODERN) {
        if (status && (uint8_t)value == 0)
            vnet_device_reset(nic);
        return;
    }
    if (offset >= LEGACY_CONFIG && !vector && !mac_write(nic, offset, size, value))
        return;
    nic->mode = MODE_LEGACY;
    if (vector)
        vector_write(nic, offset, (uint16_t)value);
    else if (status ||
             (size == 2 && (offset == LEGACY_QUEUE_SELECT || offset == LEGACY_QUEUE_NOTIFY)) ||
             (size == 4 && (offset == LEGACY_GUEST_FEATURES || offset == LEGACY_QUEUE_PFN)))
        field_write(nic, offset, value);
}
