#include "internal.h"

/* Receive filter (virtio §5.1.6.5.1-3). Until a driver says otherwise everything passes
 * (spec/choices.md). */
enum { VLAN_ID_MASK = 0xfff };

void vnet_filter_reset(struct vnet_filter *filter)
{
    __builtin_memset(filter, 0, sizeof *filter);
    filter->promiscuous = true;
}

static bool vlan_accepts(const struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    if (!vnet_has(nic, F_CTRL_VLAN) || bytes < ETH_HEADER_BYTES + ETH_VLAN_BYTES ||
        be16_get(frame + ETH_TYPE_AT) != ETH_TYPE_VLAN)
        return true;
    const uint32_t id = be16_get(frame + ETH_TYPE_AT + 2) & VLAN_ID_MASK;
    return (nic->filter.vlan[id / 8] & 1u << id % 8) != 0;
}

static bool table_has(const struct vnet_filter *filter, uint32_t table, const uint8_t *address)
{
    for (uint32_t i = 0; i < filter->tables[table]; i++) {
        if (__builtin_memcmp(filter->table[table][i], address, ETH_ADDRESS_BYTES) == 0)
            return true;
    }
    return filter->table_overflow[table];
}

bool vnet_filter_accepts(const struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    static const uint8_t broadcast[ETH_ADDRESS_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct vnet_filter *filter = &nic->filter;

    if (filter->promiscuous)
        return true;
    if (!vlan_accepts(nic, frame, bytes))
        return false;
    if (__builtin_memcmp(frame, broadcast, ETH_ADDRESS_BYTES) == 0)
        return !filter->no_broadcast;
    if ((frame[0] & 1) != 0)
        return !filter->no_multicast && (filter->all_multicast || table_has(filter, 1, frame));
    if (filter->no_unicast)
        return false;
    return filter->all_unicast || __builtin_memcmp(frame, nic->mac, ETH_ADDRESS_BYTES) == 0 ||
           table_has(filter, 0, frame);
}
