#include "internal.h"

#define CONTRACT_FEATURES (F_VERSION_1 | F_INDIRECT_DESC | F_STATUS | F_MAC)
#define STANDARD_FEATURES                                                                          \
    (CONTRACT_FEATURES | F_CSUM | F_GUEST_CSUM | F_MTU | F_GUEST_TSO4 | F_GUEST_TSO6 |             \
     F_GUEST_ECN | F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_MRG_RXBUF | F_CTRL_VQ | F_CTRL_RX |  \
     F_CTRL_VLAN | F_CTRL_RX_EXTRA | F_GUEST_ANNOUNCE | F_CTRL_MAC_ADDR | F_EVENT_IDX |            \
     F_SPEED_DUPLEX)

enum { LINK_SPEED_MBIT = 1000, LINK_FULL_DUPLEX = 1 };

uint64_t vnet_features_offered(const struct virtio_net_config *config)
{
    if (config->profile == VIRTIO_NET_CONTRACT)
        return config->transport == VIRTIO_NET_LEGACY ? CONTRACT_FEATURES & UINT32_MAX
                                                      : CONTRACT_FEATURES;
    switch (config->transport) {
    case VIRTIO_NET_TRANSITIONAL:
        return STANDARD_FEATURES | F_ANY_LAYOUT;
    case VIRTIO_NET_LEGACY:
        return (STANDARD_FEATURES | F_ANY_LAYOUT) & UINT32_MAX;
    case VIRTIO_NET_MODERN:
        break;
    }
    return STANDARD_FEATURES;
}

uint32_t vnet_features_window(uint64_t features, uint32_t select)
{
    return select == 0 ? (uint32_t)features : select == 1 ? (uint32_t)(features >> 32) : 0;
}

void vnet_features_write(struct virtio_net *nic, uint32_t value)
{
    const uint32_t shift = 32 * nic->driver_feature_select;

    if (nic->driver_feature_select > 1 || (nic->status & STATUS_FEATURES_OK) != 0)
        return;
    nic->driver_features =
        (nic->driver_features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/* Modern: the driver's set is taken when FEATURES_OK is first set, or the bit does not stick. */
static bool features_take(struct virtio_net *nic)
{
    if ((nic->driver_features & ~nic->offered) != 0 || (nic->driver_features & F_VERSION_1) == 0)
        return false;
    nic->negotiated = nic->driver_features;
    return true;
}

void vnet_status_write(struct virtio_net *nic, uint8_t value)
{
    const uint8_t before = nic->status;

    if (value == 0) {
        vnet_device_reset(nic);
        return;
    }
    if (nic->mode != MODE_LEGACY && (value & ~before & STATUS_FEATURES_OK) != 0 &&
        !features_take(nic))
        value &= (uint8_t)~STATUS_FEATURES_OK;
    /* Only a reset takes these back (virtio §2.1.1). */
    nic->status = (uint8_t)(value | (before & (STATUS_NEEDS_RESET | STATUS_FEATURES_OK)));
    if ((nic->status & ~before & STATUS_DRIVER_OK) != 0) {
        for (uint32_t i = 0; i < QUEUES_MAX; i++)
            nic->queue[i].kicked = nic->queue[i].enabled;
    }
}

void vnet_config_image(const struct virtio_net *nic, uint8_t image[CONFIG_BYTES])
{
    __builtin_memset(image, 0, CONFIG_BYTES);
    __builtin_memcpy(image + CONFIG_MAC, nic->mac, sizeof nic->mac);
    image[CONFIG_STATUS] =
        (uint8_t)((nic->link ? CONFIG_LINK_UP : 0) | (nic->announce ? CONFIG_ANNOUNCE : 0));
    le16_put(image + CONFIG_PAIRS, 1);
    if (!vnet_standard(nic))
        return;
    le16_put(image + CONFIG_MTU, nic->config.mtu);
    le32_put(image + CONFIG_SPEED, LINK_SPEED_MBIT);
    image[CONFIG_DUPLEX] = LINK_FULL_DUPLEX;
}

void vnet_config_changed(struct virtio_net *nic)
{
    nic->generation++;
    if ((nic->status & STATUS_DRIVER_OK) != 0) /* no news before that (virtio §2.1.2) */
        vnet_irq_config(nic);
}
