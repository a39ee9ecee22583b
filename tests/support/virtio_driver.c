#include "virtio_driver.h"

#include <stdlib.h>
#include <string.h>

#include "vectors.h"

static bool in_ram(uint64_t gpa, uint32_t bytes)
{
    return gpa <= VDRIVER_RAM_BYTES && bytes <= VDRIVER_RAM_BYTES - gpa;
}

static bool host_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    struct vdriver *d = context;

    gpa -= d->high;
    d->dma_calls++;
    if (d->on_dma != NULL)
        d->on_dma(d, false, gpa, bytes);
    memset(to, 0, bytes);
    if (!in_ram(gpa, bytes))
        return false;
    memcpy(to, d->ram + gpa, bytes);
    return true;
}

static bool host_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    struct vdriver *d = context;

    gpa -= d->high;
    d->dma_calls++;
    if (d->on_dma != NULL)
        d->on_dma(d, true, gpa, bytes);
    if (!in_ram(gpa, bytes))
        return false;
    memcpy(d->ram + gpa, from, bytes);
    return true;
}

static void host_irq(void *context, bool level)
{
    struct vdriver *d = context;

    assert_int_not_equal(level, d->irq); /* transitions only */
    d->irq = level;
    d->irq_edges += level;
}

static void host_message(void *context, uint32_t vector)
{
    struct vdriver *d = context;

    assert_true(vector < MSIX_VECTORS);
    d->messages[vector]++;
}

static void pending_drop(struct vdriver *d)
{
    if (d->pending != NULL)
        vector_bytes_free(d->pending, d->pending_bytes);
    d->pending = NULL;
}

static uint8_t *host_frame_begin(void *context, uint32_t bytes)
{
    static const uint8_t stale[VIRTIO_NET_FRAME_MAX_BYTES] = {0xa5};
    struct vdriver *d = context;

    assert_true(bytes >= 14 && bytes <= sizeof stale);
    pending_drop(d);
    if (d->sink_room == 0 || d->frames == VDRIVER_FRAMES_MAX)
        return NULL;
    d->pending = guarded_copy(stale, bytes);
    d->pending_bytes = bytes;
    d->pending_gso_bytes = 0;
    return d->pending;
}

static uint8_t *host_super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct vdriver *d = context;
    uint8_t *room = host_frame_begin(context, bytes);

    assert_int_not_equal(gso_bytes, 0);
    d->pending_gso_bytes = gso_bytes;
    return room;
}

static void host_frame_end(void *context, uint32_t bytes)
{
    struct vdriver *d = context;

    assert_non_null(d->pending);
    assert_int_equal(bytes, d->pending_bytes);
    d->frame[d->frames++] = (struct vdriver_frame){d->pending, bytes, d->pending_gso_bytes};
    d->pending = NULL;
    d->sink_room--;
}

static uint64_t host_now(void *context)
{
    (void)context;
    return 0;
}

uint64_t vdriver_queue(uint32_t queue)
{
    return (uint64_t)(queue + 1) * VDRIVER_QUEUE_BYTES;
}

static struct vdriver_ring modern_ring(uint32_t queue)
{
    const uint64_t base = vdriver_queue(queue);

    return (struct vdriver_ring){base, base + VDRIVER_AVAIL_AT, base + VDRIVER_USED_AT};
}

void vdriver_power_on(struct vdriver *d, const struct virtio_net_config *config)
{
    d->config = *config;
    d->irq = false;
    d->host.super_begin = d->super ? host_super_begin : NULL;
    d->nic = virtio_net_init(d->memory, virtio_net_bytes(), &d->host, config);
    assert_non_null(d->nic);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int vdriver_setup(void **state)
{
    struct vdriver *d = calloc(1, sizeof *d);
    const struct virtio_net_config config = {.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};

    assert_non_null(d);
    d->memory = aligned_alloc(16, (virtio_net_bytes() + 15) / 16 * 16);
    d->ram = calloc(1, VDRIVER_RAM_BYTES);
    assert_non_null(d->memory);
    assert_non_null(d->ram);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        d->ring[i] = modern_ring(i);
    d->sink_room = UINT32_MAX;
    d->host = (struct nic_host){
        .context = d,
        .dma_read = host_read,
        .dma_write = host_write,
        .irq = host_irq,
        .frame_begin = host_frame_begin,
        .frame_end = host_frame_end,
        .now_ns = host_now,
        .message = host_message,
    };
    vdriver_power_on(d, &config);
    *state = d;
    return 0;
}

int vdriver_teardown(void **state)
{
    struct vdriver *d = *state;

    pending_drop(d);
    vdriver_frames_clear(d);
    free(d->ram);
    free(d->memory);
    free(d);
    return 0;
}

int vdriver_setup_standard(void **state)
{
    vdriver_setup(state);
    struct vdriver *d = *state;
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    return 0;
}

int vdriver_setup_contract(void **state)
{
    const struct virtio_net_config config = {.profile = VIRTIO_NET_CONTRACT,
                                             .mac = {0x02, 0, 0, 0, 0, 1}};

    vdriver_setup(state);
    struct vdriver *d = *state;
    d->host.message = NULL;
    vdriver_power_on(d, &config);
    vdriver_start(d, vdriver_offered(d));
    return 0;
}

uint32_t vdriver_get(struct vdriver *d, uint32_t offset, uint32_t size)
{
    return virtio_net_mmio_read(d->nic, offset, size);
}

void vdriver_put(struct vdriver *d, uint32_t offset, uint32_t size, uint32_t value)
{
    virtio_net_mmio_write(d->nic, offset, size, value);
}

uint64_t vdriver_offered(struct vdriver *d)
{
    vdriver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 0);
    const uint32_t low = vdriver_get(d, COMMON_DEVICE_FEATURE, 4);
    vdriver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 1);
    return (uint64_t)vdriver_get(d, COMMON_DEVICE_FEATURE, 4) << 32 | low;
}

uint8_t vdriver_negotiate(struct vdriver *d, uint64_t features)
{
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (uint32_t i = 0; i < 2; i++) {
        vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, i);
        vdriver_put(d, COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
    }
    vdriver_put(d, COMMON_DEVICE_STATUS, 1,
                STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return (uint8_t)vdriver_get(d, COMMON_DEVICE_STATUS, 1);
}

static void ring_place(struct vdriver *d, uint32_t queue, struct vdriver_ring ring)
{
    memset(d->ram + ring.desc, 0, VDRIVER_QUEUE_BYTES);
    d->ring[queue] = ring;
    d->avail[queue] = 0;
}

static void put_address(struct vdriver *d, uint32_t field, uint64_t gpa)
{
    vdriver_put(d, field, 4, (uint32_t)gpa);
    vdriver_put(d, field + 4, 4, (uint32_t)(gpa >> 32));
}

void vdriver_queues(struct vdriver *d)
{
    for (uint32_t i = 0; i < vdriver_get(d, COMMON_NUM_QUEUES, 2); i++) {
        ring_place(d, i, modern_ring(i));
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        put_address(d, COMMON_QUEUE_DESC, d->high + d->ring[i].desc);
        put_address(d, COMMON_QUEUE_AVAIL, d->high + d->ring[i].avail);
        put_address(d, COMMON_QUEUE_USED, d->high + d->ring[i].used);
        vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
    }
}

void vdriver_start(struct vdriver *d, uint64_t features)
{
    const uint8_t status = vdriver_negotiate(d, features);

    assert_true((status & STATUS_FEATURES_OK) != 0);
    d->legacy = false;
    vdriver_queues(d);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, status | STATUS_DRIVER_OK);
}

void vdriver_start_legacy(struct vdriver *d, uint32_t features)
{
    const uint8_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

    d->legacy = true;
    vdriver_reset(d);
    virtio_net_io_write(d->nic, LEGACY_STATUS, 1, status);
    virtio_net_io_write(d->nic, LEGACY_GUEST_FEATURES, 4, features);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        const uint64_t base = vdriver_queue(i);

        virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, i);
        const uint32_t size = virtio_net_io_read(d->nic, LEGACY_QUEUE_SIZE, 2);
        const uint64_t avail = base + size * DESC_ENTRY_BYTES;
        const uint64_t end = avail + 4 + 2u * size + 2;
        if (size == 0)
            continue;
        ring_place(d, i,
                   (struct vdriver_ring){base, avail,
                                         (end + LEGACY_PAGE_BYTES - 1) / LEGACY_PAGE_BYTES *
                                             LEGACY_PAGE_BYTES});
        virtio_net_io_write(d->nic, LEGACY_QUEUE_PFN, 4, (uint32_t)(base / LEGACY_PAGE_BYTES));
    }
    virtio_net_io_write(d->nic, LEGACY_STATUS, 1, status | STATUS_DRIVER_OK);
}

uint8_t vdriver_status(struct vdriver *d)
{
    return (uint8_t)(d->legacy ? virtio_net_io_read(d->nic, LEGACY_STATUS, 1)
                               : vdriver_get(d, COMMON_DEVICE_STATUS, 1));
}

void vdriver_reset(struct vdriver *d)
{
    if (d->legacy)
        virtio_net_io_write(d->nic, LEGACY_STATUS, 1, 0);
    else
        vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
}

void vdriver_kick(struct vdriver *d, uint32_t queue)
{
    if (d->legacy)
        virtio_net_io_write(d->nic, LEGACY_QUEUE_NOTIFY, 2, queue);
    else
        vdriver_put(d, REGION_NOTIFY + NOTIFY_MULTIPLIER * queue, 2, queue);
}

uint8_t vdriver_isr(struct vdriver *d)
{
    return (uint8_t)(d->legacy ? virtio_net_io_read(d->nic, LEGACY_ISR, 1)
                               : vdriver_get(d, REGION_ISR, 1));
}

uint8_t vdriver_config(struct vdriver *d, uint32_t offset)
{
    if (!d->legacy)
        return (uint8_t)vdriver_get(d, REGION_DEVICE + offset, 1);
    const uint32_t at = vnet_msix_enabled(d->nic) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
    return (uint8_t)virtio_net_io_read(d->nic, at + offset, 1);
}

void vdriver_desc_at(struct vdriver *d, uint64_t table, uint32_t index, uint64_t gpa,
                     uint32_t bytes, uint16_t flags, uint16_t next)
{
    uint8_t *raw = d->ram + table + (uint64_t)index * DESC_ENTRY_BYTES;

    le64_put(raw, d->high + gpa);
    le32_put(raw + 8, bytes);
    le16_put(raw + 12, flags);
    le16_put(raw + 14, next);
}

void vdriver_desc(struct vdriver *d, uint32_t queue, uint32_t index, uint64_t gpa, uint32_t bytes,
                  uint16_t flags, uint16_t next)
{
    vdriver_desc_at(d, vdriver_queue(queue), index, gpa, bytes, flags, next);
}

void vdriver_post(struct vdriver *d, uint32_t queue, uint16_t head)
{
    uint8_t *avail = d->ram + d->ring[queue].avail;

    le16_put(avail + 4 + 2 * (d->avail[queue] % d->nic->queue[queue].size), head);
    le16_put(avail + 2, ++d->avail[queue]);
}

uint16_t vdriver_used_idx(const struct vdriver *d, uint32_t queue)
{
    return le16_get(d->ram + d->ring[queue].used + 2);
}

struct vdriver_used vdriver_used(const struct vdriver *d, uint32_t queue, uint32_t nth)
{
    const uint8_t *raw = d->ram + d->ring[queue].used + 4 + 8 * (nth % d->nic->queue[queue].size);

    assert_true((uint16_t)(vdriver_used_idx(d, queue) - nth - 1) < 0x8000);
    return (struct vdriver_used){le32_get(raw), le32_get(raw + 4)};
}

void vdriver_send(struct vdriver *d, uint16_t head, const uint8_t *header, uint32_t header_bytes,
                  const uint8_t *frame, uint32_t bytes)
{
    const uint32_t at = bytes > VDRIVER_BUFFER_BYTES - 0x100
                            ? VDRIVER_BIG
                            : VDRIVER_TX + (uint32_t)head * VDRIVER_BUFFER_BYTES;

    if (header != NULL)
        memcpy(d->ram + at, header, header_bytes);
    else
        memset(d->ram + at, 0, header_bytes);
    memcpy(d->ram + at + 0x100, frame, bytes);
    vdriver_desc(d, QUEUE_TX, head, at, header_bytes, DESC_NEXT, (uint16_t)(head + 1));
    vdriver_desc(d, QUEUE_TX, head + 1u, at + 0x100, bytes, 0, 0);
    vdriver_post(d, QUEUE_TX, head);
}

void vdriver_receive(struct vdriver *d, uint16_t head, uint32_t bytes)
{
    const uint32_t at = VDRIVER_RX + (uint32_t)head * VDRIVER_BUFFER_BYTES;

    memset(d->ram + at, 0x5a, VDRIVER_BUFFER_BYTES);
    vdriver_desc(d, QUEUE_RX, head, at, bytes, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_RX, head);
}

const uint8_t *vdriver_rx(const struct vdriver *d, uint16_t head)
{
    return d->ram + VDRIVER_RX + (uint32_t)head * VDRIVER_BUFFER_BYTES;
}

uint8_t vdriver_command(struct vdriver *d, uint8_t class, uint8_t what, const void *data,
                        uint32_t bytes)
{
    const uint16_t before = vdriver_used_idx(d, QUEUE_CONTROL);

    d->ram[VDRIVER_COMMAND] = class;
    d->ram[VDRIVER_COMMAND + 1] = what;
    memcpy(d->ram + VDRIVER_COMMAND + 0x10, data, bytes);
    d->ram[VDRIVER_ANSWER] = 0xee;
    vdriver_desc(d, QUEUE_CONTROL, 0, VDRIVER_COMMAND, 2, DESC_NEXT, 1);
    vdriver_desc(d, QUEUE_CONTROL, 1, VDRIVER_COMMAND + 0x10, bytes, DESC_NEXT, 2);
    vdriver_desc(d, QUEUE_CONTROL, 2, VDRIVER_ANSWER, 1, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_CONTROL, 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal((uint16_t)(vdriver_used_idx(d, QUEUE_CONTROL) - before), 1);
    assert_used(d, QUEUE_CONTROL, before, 0, 1);
    return d->ram[VDRIVER_ANSWER];
}

const uint8_t *vdriver_frame(uint32_t bytes)
{
    static uint8_t frame[VIRTIO_NET_FRAME_MAX_BYTES];
    static const uint8_t head[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 9, 0x88, 0xb5};

    assert_true(bytes <= sizeof frame);
    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = i < sizeof head ? head[i] : (uint8_t)(i * 7 + 1);
    return frame;
}

void vdriver_frames_clear(struct vdriver *d)
{
    for (uint32_t i = 0; i < d->frames; i++)
        vector_bytes_free(d->frame[i].data, d->frame[i].bytes);
    d->frames = 0;
}

uint32_t vdriver_hex(uint8_t *to, const char *text)
{
    uint32_t bytes = 0;

    for (; *text != '\0'; text++) {
        char pair[3] = {text[0], 0, 0};

        if (*text == ' ')
            continue;
        pair[1] = *++text;
        to[bytes++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

void vdriver_assert_hex(const uint8_t *have, const char *text)
{
    uint8_t want[256];
    const uint32_t bytes = vdriver_hex(want, text);

    assert_memory_equal(have, want, bytes);
}
