#include "internal.h"

/*
 * The PCI configuration access capability (virtio §4.1.4.9): firmware drivers reach through it a
 * BAR that they cannot map, whether it is decoded or not. The contract does not know it.
 */
bool vnet_window_offered(const struct virtio_net *nic)
{
    return vnet_standard(nic) && nic->config.transport != VIRTIO_NET_LEGACY;
}

struct access {
    uint32_t bar, offset, bytes;
};

/* What the capability describes now; false: nothing that a BAR can answer. */
static bool described(const struct virtio_net *nic, struct access *access)
{
    const uint8_t *raw = nic->pci.bytes;

    *access = (struct access){raw[WINDOW_BAR], le32_get(raw + WINDOW_OFFSET),
                              le32_get(raw + WINDOW_LENGTH)};
    return (access->bytes == 1 || access->bytes == 2 || access->bytes == 4) &&
           access->bar < PCI_BAR_COUNT &&
           nic->pci.identity.bars[access->bar].kind != PCI_BAR_NONE &&
           access->offset <= nic->pci.identity.bars[access->bar].bytes - access->bytes;
}

static bool touched(const struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    return vnet_window_offered(nic) && !nic->busy && size <= 4 && offset < WINDOW_END &&
           offset + size > WINDOW_DATA;
}

void vnet_window_read(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    struct access access;

    if (!touched(nic, offset, size) || !described(nic, &access))
        return;
    const uint32_t value = access.bar == virtio_net_mmio_bar(&nic->config)
                               ? vnet_modern_read(nic, access.offset, access.bytes)
                               : vnet_legacy_read(nic, access.offset, access.bytes);
    for (uint32_t i = 0; i < access.bytes; i++)
        nic->pci.bytes[WINDOW_DATA + i] = (uint8_t)(value >> 8 * i);
}

void vnet_window_written(struct virtio_net *nic, uint32_t offset, uint32_t size)
{
    const uint32_t data = le32_get(nic->pci.bytes + WINDOW_DATA);
    struct access access;

    if (!touched(nic, offset, size) || !described(nic, &access))
        return;
    const uint32_t value = access.bytes == 4 ? data : data & ((1u << 8 * access.bytes) - 1);
    if (access.bar == virtio_net_mmio_bar(&nic->config))
        vnet_modern_write(nic, access.offset, access.bytes, value);
    else
        vnet_legacy_write(nic, access.offset, access.bytes, value);
}
