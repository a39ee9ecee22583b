#include "internal.h"

enum { VENDOR = 0x1af4, DEVICE_MODERN = 0x1041, DEVICE_TRANSITIONAL = 0x1000 };

uint32_t virtio_net_mmio_bar(const struct virtio_net_config *config)
{
    if (config->transport == VIRTIO_NET_LEGACY)
        return VIRTIO_NET_BAR_ABSENT;
    return config->transport == VIRTIO_NET_TRANSITIONAL && config->profile == VIRTIO_NET_STANDARD
               ? 4
               : 0;
}

uint32_t virtio_net_io_bar(const struct virtio_net_config *config)
{
    if (config->transport == VIRTIO_NET_MODERN)
        return VIRTIO_NET_BAR_ABSENT;
    return config->profile == VIRTIO_NET_CONTRACT ? 2 : 0;
}

/* §1.1, byte for byte: the interface is behind BAR0. */
static const uint8_t capabilities[] = {
    0x09, 0x60, 0x10, 0x01, 0, 0, 0, 0, 0x00, 0x00, 0, 0, 0x00, 0x01, 0, 0,             /* 50 */
    0x09, 0x74, 0x14, 0x02, 0, 0, 0, 0, 0x00, 0x10, 0, 0, 0x00, 0x01, 0, 0, 4, 0, 0, 0, /* 60 */
    0x09, 0x84, 0x10, 0x03, 0, 0, 0, 0, 0x00, 0x20, 0, 0, 0x20, 0x00, 0, 0,             /* 74 */
    0x09, 0x00, 0x10, 0x04, 0, 0, 0, 0, 0x00, 0x30, 0, 0, 0x00, 0x01, 0, 0,             /* 84 */
};

/* Table of MSIX_VECTORS entries and pending array, both behind BAR0. */
static const uint8_t capability_msix[] = {
    0x11, 0x00, MSIX_VECTORS - 1, 0x00, 0x00, 0x31, 0, 0, 0x30, 0x31, 0, 0,
};

/* virtio §4.1.4.9. Empty: the driver fills in BAR, offset and length before each access. */
static const uint8_t capability_window[] = {0x09, 0x00, WINDOW_END - CAP_WINDOW, 0x05};

bool vnet_msix_offered(const struct virtio_net *nic)
{
    return nic->host.message != NULL && nic->config.transport != VIRTIO_NET_LEGACY;
}

/* Puts a capability behind the one at `*last`. */
static void capability_add(struct virtio_net *nic, uint8_t *last, uint8_t at, const uint8_t *raw,
                           size_t bytes)
{
    __builtin_memcpy(nic->pci.bytes + at, raw, bytes);
    nic->pci.bytes[*last + 1] = at;
    *last = at;
}

void vnet_identify(struct virtio_net *nic)
{
    const uint8_t mmio_bar = (uint8_t)virtio_net_mmio_bar(&nic->config);
    const uint8_t io_bar = (uint8_t)virtio_net_io_bar(&nic->config);
    const bool modern = io_bar == VIRTIO_NET_BAR_ABSENT;
    const bool legacy = mmio_bar == VIRTIO_NET_BAR_ABSENT;
    struct pci_identity identity = {
        .vendor_id = VENDOR,
        .device_id = modern ? DEVICE_MODERN : DEVICE_TRANSITIONAL,
        .subsystem_vendor_id = VENDOR,
        .subsystem_id = 1,
        .revision_id = modern ? 1 : 0, /* Linux's legacy driver insists on 0 */
        .base_class = 0x02,
    };

    if (!legacy)
        identity.bars[mmio_bar] = (struct pci_bar){PCI_BAR_MEMORY64, VIRTIO_NET_MMIO_BYTES};
    if (!modern)
        identity.bars[io_bar] = (struct pci_bar){PCI_BAR_IO, VIRTIO_NET_IO_BYTES};
    pci_config_init(&nic->pci, &identity);
    if (legacy)
        return;
    nic->pci.bytes[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    nic->pci.bytes[PCI_CAPABILITY_POINTER] = CAP_COMMON;
    __builtin_memcpy(nic->pci.bytes + CAP_COMMON, capabilities, sizeof capabilities);
    for (uint32_t at = CAP_COMMON; at != 0; at = nic->pci.bytes[at + 1])
        nic->pci.bytes[at + CAP_BAR] = mmio_bar;
    uint8_t last = CAP_DEVICE;
    if (vnet_msix_offered(nic)) {
        capability_add(nic, &last, CAP_MSIX, capability_msix, sizeof capability_msix);
        nic->pci.bytes[MSIX_TABLE_BAR] |= mmio_bar;
        nic->pci.bytes[MSIX_PENDING_BAR] |= mmio_bar;
        nic->pci.writable[MSIX_CONTROL_AT] = MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK;
    }
    if (vnet_window_offered(nic)) {
        capability_add(nic, &last, CAP_WINDOW, capability_window, sizeof capability_window);
        nic->pci.writable[WINDOW_BAR] = 0xff;
        __builtin_memset(nic->pci.writable + WINDOW_OFFSET, 0xff, WINDOW_END - WINDOW_OFFSET);
    }
}
