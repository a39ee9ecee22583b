#include "internal.h"

enum {
    MTU_DEFAULT = 1500,
    MTU_MIN = 68,
    FRAMING_BYTES = ETH_HEADER_BYTES + 2 * ETH_VLAN_BYTES, /* 1522 with an MTU of 1500 */
};

size_t virtio_net_bytes(void)
{
    return sizeof(struct virtio_net);
}

static bool host_complete(const struct nic_host *host)
{
    return host->dma_read != NULL && host->dma_write != NULL && host->irq != NULL &&
           host->frame_begin != NULL && host->frame_end != NULL;
}

static bool config_complete(struct virtio_net_config *config)
{
    if (config->mtu == 0)
        config->mtu = MTU_DEFAULT;
    if (config->queue_size == 0)
        config->queue_size = VIRTIO_NET_QUEUE_SIZE_DEFAULT;
    if (config->header == VIRTIO_NET_HEADER_DEFAULT)
        config->header =
            config->profile == VIRTIO_NET_CONTRACT ? VIRTIO_NET_HEADER_AUTO : VIRTIO_NET_HEADER_12;
    return (uint32_t)config->transport <= VIRTIO_NET_LEGACY &&
           (uint32_t)config->profile <= VIRTIO_NET_CONTRACT &&
           (uint32_t)config->header <= VIRTIO_NET_HEADER_AUTO && config->mtu >= MTU_MIN &&
           config->queue_size >= 2 && config->queue_size <= VIRTIO_NET_QUEUE_SIZE_MAX &&
           (config->queue_size & (config->queue_size - 1)) == 0 && (config->mac[0] & 1) == 0;
}

struct virtio_net *virtio_net_init(void *memory, size_t memory_bytes, const struct nic_host *host,
                                   const struct virtio_net_config *config)
{
    struct virtio_net *nic = memory;
    struct virtio_net_config complete = *config;

    if (memory == NULL || (uintptr_t)memory % 16 != 0 || memory_bytes < sizeof *nic ||
        !host_complete(host) || !config_complete(&complete))
        return NULL;
    __builtin_memset(nic, 0, offsetof(struct virtio_net, chain)); /* buffers need no start value */
    nic->host = *host;
    nic->config = complete;
    nic->offered = vnet_features_offered(&complete);
    nic->link = true;
    frame_queue_init(&nic->rx_queue, nic->rx_queue_bytes, RX_QUEUE_BYTES, QUEUE_FRAMES);
    virtio_net_reset(nic);
    return nic;
}

void vnet_device_reset(struct virtio_net *nic)
{
    static const enum vnet_mode modes[] = {
        [VIRTIO_NET_MODERN] = MODE_MODERN,
        [VIRTIO_NET_TRANSITIONAL] = MODE_OPEN,
        [VIRTIO_NET_LEGACY] = MODE_LEGACY,
    };

    nic->mode = modes[nic->config.transport];
    nic->status = nic->isr = 0;
    nic->driver_features = nic->negotiated = 0;
    nic->device_feature_select = nic->driver_feature_select = 0;
    nic->queue_select = 0;
    nic->msix_config = VECTOR_NONE;
    nic->msix_pending = 0;
    nic->announce = false;
    __builtin_memcpy(nic->mac, nic->config.mac, sizeof nic->mac);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        vnet_queue_reset(nic, i);
    vnet_filter_reset(&nic->filter);
    frame_queue_clear(&nic->rx_queue);
    nic->rx_starved = false;
    vnet_irq_update(nic);
}

void virtio_net_reset(struct virtio_net *nic)
{
    if (nic->busy)
        return;
    vnet_identify(nic);
    vnet_msix_reset(nic);
    nic->generation = 0;
    vnet_device_reset(nic);
}

bool vnet_running(const struct virtio_net *nic)
{
    const uint8_t judged = STATUS_DRIVER_OK | STATUS_FAILED | STATUS_NEEDS_RESET;

    return (nic->status & judged) == STATUS_DRIVER_OK &&
           (nic->mode == MODE_LEGACY || (nic->status & STATUS_FEATURES_OK) != 0) &&
           (pci_command(&nic->pci) & PCI_COMMAND_MASTER) != 0;
}

uint32_t vnet_frame_limit(const struct virtio_net *nic)
{
    const uint32_t by_mtu = (uint32_t)nic->config.mtu + FRAMING_BYTES;

    if (!vnet_standard(nic) || by_mtu < FRAME_CONTRACT_MAX_BYTES)
        return FRAME_CONTRACT_MAX_BYTES;
    return by_mtu < VIRTIO_NET_FRAME_MAX_BYTES ? by_mtu : VIRTIO_NET_FRAME_MAX_BYTES;
}

uint32_t vnet_header_bytes(const struct virtio_net *nic, uint32_t first_bytes)
{
    if (nic->config.header == VIRTIO_NET_HEADER_10 || !vnet_has(nic, F_VERSION_1 | F_MRG_RXBUF) ||
        (nic->config.header == VIRTIO_NET_HEADER_AUTO && first_bytes == HEADER_SHORT_BYTES))
        return HEADER_SHORT_BYTES;
    return HEADER_LONG_BYTES;
}

void vnet_needs_reset(struct virtio_net *nic)
{
    if ((nic->status & STATUS_NEEDS_RESET) != 0)
        return;
    nic->status |= STATUS_NEEDS_RESET;
    nic->stats.needs_reset++;
    if ((nic->status & STATUS_DRIVER_OK) != 0)
        vnet_irq_config(nic);
}

static void pci_changed(struct virtio_net *nic)
{
    vnet_msix_unmasked(nic);
    vnet_irq_update(nic);
}

uint32_t virtio_net_config_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    vnet_window_read(nic, offset, size);
    return pci_config_read(&nic->pci, offset, size);
}

void virtio_net_config_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (nic->busy)
        return;
    pci_config_write(&nic->pci, offset, size, value);
    vnet_window_written(nic, offset, size);
    pci_changed(nic);
}

void virtio_net_set_pci_command(struct virtio_net *nic, uint16_t command)
{
    if (nic->busy)
        return;
    pci_set_command(&nic->pci, command);
    pci_changed(nic);
}

static uint32_t all_ones(uint32_t size)
{
    return size == 1 ? 0xff : size == 2 ? 0xffff : size == 0 ? 0 : 0xffffffff;
}

/* §2: decoding on, a BAR that exists, an access that PCI knows. */
static bool decodes(const struct virtio_net *nic, uint32_t bar, uint32_t command, uint32_t offset,
                    uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && bar != VIRTIO_NET_BAR_ABSENT &&
           offset <= nic->pci.identity.bars[bar].bytes - size &&
           (pci_command(&nic->pci) & command) != 0 && !nic->busy;
}

uint32_t virtio_net_mmio_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    return decodes(nic, virtio_net_mmio_bar(&nic->config), PCI_COMMAND_MEMORY, offset, size)
               ? vnet_modern_read(nic, offset, size)
               : all_ones(size);
}

void virtio_net_mmio_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (decodes(nic, virtio_net_mmio_bar(&nic->config), PCI_COMMAND_MEMORY, offset, size))
        vnet_modern_write(nic, offset, size, value);
}

uint32_t virtio_net_io_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    return decodes(nic, virtio_net_io_bar(&nic->config), PCI_COMMAND_IO, offset, size)
               ? vnet_legacy_read(nic, offset, size)
               : all_ones(size);
}

void virtio_net_io_write(struct virtio_net *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (decodes(nic, virtio_net_io_bar(&nic->config), PCI_COMMAND_IO, offset, size))
        vnet_legacy_write(nic, offset, size, value);
}

uint32_t virtio_net_bar_read(struct virtio_net *nic, uint32_t bar, uint32_t offset, uint32_t size)
{
    if (bar == virtio_net_mmio_bar(&nic->config))
        return virtio_net_mmio_read(nic, offset, size);
    return bar == virtio_net_io_bar(&nic->config) ? virtio_net_io_read(nic, offset, size)
                                                  : all_ones(size);
}

void virtio_net_bar_write(struct virtio_net *nic, uint32_t bar, uint32_t offset, uint32_t size,
                          uint32_t value)
{
    if (bar == virtio_net_mmio_bar(&nic->config))
        virtio_net_mmio_write(nic, offset, size, value);
    else if (bar == virtio_net_io_bar(&nic->config))
        virtio_net_io_write(nic, offset, size, value);
}

uint32_t virtio_net_poll(struct virtio_net *nic, uint32_t budget)
{
    uint32_t done = 0;

    if (nic->busy || !vnet_running(nic))
        return 0;
    nic->busy = true;
    done += vnet_control_poll(nic, budget); /* before the frames it may let through */
    done += vnet_tx_poll(nic, budget);
    vnet_rx_poll(nic);
    nic->busy = false;
    vnet_irq_update(nic);
    return done;
}

bool virtio_net_work_pending(const struct virtio_net *nic)
{
    return vnet_running(nic) && (nic->queue[QUEUE_TX].kicked || nic->queue[QUEUE_CONTROL].kicked ||
                                 vnet_rx_pending(nic));
}

bool virtio_net_ready(const struct virtio_net *nic)
{
    return vnet_running(nic) && nic->queue[QUEUE_RX].enabled;
}

int virtio_net_rx_offer(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    if (nic->busy)
        return VIRTIO_NET_ERR_NO_BUFFER;
    nic->busy = true;
    const int result = vnet_rx_offer(nic, frame, bytes);
    nic->busy = false;
    vnet_irq_update(nic);
    return result;
}

int virtio_net_receive(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    return nic->busy ? VIRTIO_NET_ERR_NO_BUFFER : vnet_rx_arrive(nic, frame, bytes);
}

int virtio_net_receive_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes,
                             uint16_t gso_bytes)
{
    return nic->busy ? VIRTIO_NET_ERR_NO_BUFFER : vnet_rx_super(nic, frame, bytes, gso_bytes);
}

int virtio_net_rx_offer_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes,
                              uint16_t gso_bytes)
{
    if (nic->busy)
        return VIRTIO_NET_ERR_NO_BUFFER;
    nic->busy = true;
    const int result = vnet_rx_offer_super(nic, frame, bytes, gso_bytes);
    nic->busy = false;
    vnet_irq_update(nic);
    return result;
}

void virtio_net_set_link(struct virtio_net *nic, bool up)
{
    if (nic->link == up)
        return;
    nic->link = up;
    nic->announce = up && vnet_has(nic, F_GUEST_ANNOUNCE);
    vnet_config_changed(nic);
    if (!nic->busy)
        vnet_irq_update(nic);
}

bool virtio_net_link(const struct virtio_net *nic)
{
    return nic->link;
}

bool virtio_net_irq_level(const struct virtio_net *nic)
{
    return nic->line;
}

bool virtio_net_msix_message(const struct virtio_net *nic, uint32_t vector, uint64_t *address,
                             uint32_t *data)
{
    if (vector >= MSIX_VECTORS || !vnet_msix_enabled(nic))
        return false;
    *address = le64_get(nic->msix_table + vector * MSIX_ENTRY_BYTES);
    *data = le32_get(nic->msix_table + vector * MSIX_ENTRY_BYTES + 8);
    return true;
}

void virtio_net_mac(const struct virtio_net *nic, uint8_t mac[6])
{
    __builtin_memcpy(mac, nic->mac, sizeof nic->mac);
}

const struct virtio_net_stats *virtio_net_stats(const struct virtio_net *nic)
{
    return &nic->stats;
}
