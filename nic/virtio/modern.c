#include "internal.h"

static struct vnet_queue *selected(struct virtio_net *nic)
{
    return nic->queue_select < vnet_queue_count(nic) ? &nic->queue[nic->queue_select] : NULL;
}

/* The common configuration as a driver reads it now (§2.1). */
static void common_image(struct virtio_net *nic, uint8_t image[COMMON_BYTES])
{
    const struct vnet_queue *queue = selected(nic);

    __builtin_memset(image, 0, COMMON_BYTES);
    le32_put(image + COMMON_DEVICE_FEATURE_SELECT, nic->device_feature_select);
    le32_put(image + COMMON_DEVICE_FEATURE,
             vnet_features_window(nic->offered, nic->device_feature_select));
    le32_put(image + COMMON_DRIVER_FEATURE_SELECT, nic->driver_feature_select);
    le32_put(image + COMMON_DRIVER_FEATURE,
             vnet_features_window(nic->driver_features, nic->driver_feature_select));
    le16_put(image + COMMON_MSIX_CONFIG, vnet_vector_valid(nic, nic->msix_config));
    le16_put(image + COMMON_NUM_QUEUES, (uint16_t)vnet_queue_count(nic));
    image[COMMON_DEVICE_STATUS] = nic->status;
    image[COMMON_CONFIG_GENERATION] = nic->generation;
    le16_put(image + COMMON_QUEUE_SELECT, nic->queue_select);
    le16_put(image + COMMON_QUEUE_MSIX_VECTOR, VECTOR_NONE);
    if (queue == NULL)
        return;
    le16_put(image + COMMON_QUEUE_SIZE, queue->size);
    le16_put(image + COMMON_QUEUE_MSIX_VECTOR, vnet_vector_valid(nic, queue->msix_vector));
    le16_put(image + COMMON_QUEUE_ENABLE, queue->enabled);
    le16_put(image + COMMON_QUEUE_NOTIFY_OFF, nic->queue_select);
    le64_put(image + COMMON_QUEUE_DESC, queue->desc);
    le64_put(image + COMMON_QUEUE_AVAIL, queue->avail);
    le64_put(image + COMMON_QUEUE_USED, queue->used);
}

/* [US] of §2.1: drivers outside the contract may make a queue smaller. */
static void queue_size_write(const struct virtio_net *nic, struct vnet_queue *queue, uint16_t size)
{
    if (vnet_standard(nic) && size >= 2 && size <= nic->config.queue_size &&
        (size & (size - 1)) == 0)
        queue->size = size;
}

static void queue_field_write(struct virtio_net *nic, uint32_t field, const uint8_t *value)
{
    struct vnet_queue *queue = selected(nic);

    if (queue == NULL)
        return;
    if (field == COMMON_QUEUE_MSIX_VECTOR) {
        queue->msix_vector = vnet_vector_valid(nic, le16_get(value));
        return;
    }
    if (queue->enabled)
        return; /* only a reset changes a queue in use */
    if (field == COMMON_QUEUE_SIZE)
        queue_size_write(nic, queue, le16_get(value));
    else if (field == COMMON_QUEUE_DESC)
        queue->desc = le64_get(value);
    else if (field == COMMON_QUEUE_AVAIL)
        queue->avail = le64_get(value);
    else if (field == COMMON_QUEUE_USED)
        queue->used = le64_get(value);
    else if (field == COMMON_QUEUE_ENABLE && le16_get(value) == 1)
        vnet_queue_enable(nic, queue);
}

static void field_write(struct virtio_net *nic, uint32_t field, const uint8_t *value)
{
    switch (field) {
    case COMMON_DEVICE_FEATURE_SELECT:
        nic->device_feature_select = le32_get(value);
        break;
    case COMMON_DRIVER_FEATURE_SELECT:
        nic->driver_feature_select = le32_get(value);
        break;
    case COMMON_DRIVER_FEATURE:
        vnet_features_write(nic, le32_get(value));
        break;
    case COMMON_MSIX_CONFIG:
        nic->msix_config = vnet_vector_valid(nic, le16_get(value));
        break;
    case COMMON_DEVICE_STATUS:
        vnet_status_write(nic, *value);
        break;
    case COMMON_QUEUE_SELECT:
        nic->queue_select = le16_get(value);
        break;
    default:
        queue_field_write(nic, field, value);
        break;
    }
}

/* Bytes of an access land in the fields they cover; the rest of a field keeps its value. */
static void common_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    static const uint8_t fields[] = {
        COMMON_DEVICE_FEATURE_SELECT,
        COMMON_DEVICE_FEATURE,
        COMMON_DRIVER_FEATURE_SELECT,
        COMMON_DRIVER_FEATURE,
        COMMON_MSIX_CONFIG,
        COMMON_NUM_QUEUES,
        COMMON_DEVICE_STATUS,
        COMMON_CONFIG_GENERATION,
        COMMON_QUEUE_SELECT,
        COMMON_QUEUE_SIZE,
        COMMON_QUEUE_MSIX_VECTOR,
        COMMON_QUEUE_ENABLE,
        COMMON_QUEUE_NOTIFY_OFF,
        COMMON_QUEUE_DESC,
        COMMON_QUEUE_AVAIL,
        COMMON_QUEUE_USED,
        COMMON_BYTES,
    };

    for (uint32_t i = 0; i + 1 < sizeof fields; i++) {
        uint8_t image[COMMON_BYTES + 4];

        if (offset >= fields[i + 1] || offset + size <= fields[i])
            continue;
        common_image(nic, image); /* anew: the field before may have moved a selector */
        for (uint32_t k = 0; k < size; k++)
            image[offset + k] = (uint8_t)(value >> 8 * k);
        field_write(nic, fields[i], image + fields[i]);
    }
}

static uint32_t bytes_read(const uint8_t *image, uint32_t image_bytes, uint32_t offset,
                           uint32_t size)
{
    uint32_t value = 0;

    for (uint32_t i = 0; i < size && offset + i < image_bytes; i++)
        value |= (uint32_t)image[offset + i] << 8 * i;
    return value;
}

static bool msix_range(const struct virtio_net *nic, uint32_t offset)
{
    return vnet_msix_offered(nic) && offset >= REGION_MSIX_TABLE &&
           offset < REGION_MSIX_PENDING + MSIX_PENDING_BYTES;
}

static uint32_t msix_read(const struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    uint8_t image[MSIX_TABLE_BYTES + MSIX_PENDING_BYTES] = {0};

    __builtin_memcpy(image, nic->msix_table, MSIX_TABLE_BYTES);
    image[MSIX_TABLE_BYTES] = nic->msix_pending;
    return bytes_read(image, sizeof image, offset - REGION_MSIX_TABLE, size);
}

static void msix_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t at = offset - REGION_MSIX_TABLE + i;

        if (at < MSIX_TABLE_BYTES)
            nic->msix_table[at] = (uint8_t)(value >> 8 * i);
    }
    vnet_msix_unmasked(nic);
}

uint32_t vnet_modern_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    uint8_t image[COMMON_BYTES];

    if (offset < REGION_BYTES) {
        common_image(nic, image);
        return bytes_read(image, COMMON_BYTES, offset, size);
    }
    if (offset == REGION_ISR)
        return vnet_irq_collect(nic);
    if (offset >= REGION_DEVICE && offset < REGION_DEVICE + REGION_BYTES) {
        vnet_config_image(nic, image);
        return bytes_read(image, CONFIG_BYTES, offset - REGION_DEVICE, size);
    }
    if (msix_range(nic, offset))
        return msix_read(nic, offset, size);
    return 0;
}

/* §7, mode lock: status 0 always resets; else the interface that was not chosen is deaf. */
static bool modern_locked_out(struct virtio_net *nic, uint32_t offset, uint32_t size,
                              uint32_t value)
{
    const bool reset = offset <= COMMON_DEVICE_STATUS && offset + size > COMMON_DEVICE_STATUS &&
                       (uint8_t)(value >> 8 * (COMMON_DEVICE_STATUS - offset)) == 0;

    if (nic->mode == MODE_LEGACY) {
        if (reset)
            vnet_device_reset(nic);
        return true;
    }
    nic->mode = MODE_MODERN;
    return false;
}

void vnet_modern_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (msix_range(nic, offset)) {
        msix_write(nic, offset, size, value);
    } else if (offset < COMMON_BYTES) {
        if (!modern_locked_out(nic, offset, size, value))
            common_write(nic, offset, size, value);
    } else if (offset >= REGION_NOTIFY && offset < REGION_NOTIFY + REGION_BYTES) {
        const uint32_t index = (offset - REGION_NOTIFY) / NOTIFY_MULTIPLIER;

        if (size == 1 || offset % NOTIFY_MULTIPLIER != 0 || index >= vnet_queue_count(nic) ||
            nic->mode == MODE_LEGACY)
            return;
        nic->mode = MODE_MODERN;
        nic->queue[index].kicked = true;
    }
}
