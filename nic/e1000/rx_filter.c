#include "internal.h"

static bool bit_at(const struct e1000 *nic, uint32_t table, uint32_t number)
{
    return (reg_get(nic, table + 4 * (number >> 5)) >> (number & 31) & 1) != 0;
}

static bool vlan_accepts(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    if ((reg_get(nic, E1000_RCTL) & RCTL_VFE) == 0 ||
        be16_get(frame + ETH_TYPE_AT) != (reg_get(nic, E1000_VET) & 0xffff))
        return true;
    /* A tag that is cut short is padded with zeros (§8.3): VLAN 0. */
    const bool whole = bytes >= ETH_HEADER_BYTES + ETH_VLAN_BYTES;
    return bit_at(nic, E1000_VFTA, whole ? be16_get(frame + ETH_TYPE_AT + 2) & 0xfff : 0);
}

static bool exact_match(const struct e1000 *nic, const uint8_t *frame)
{
    const uint32_t low = le32_get(frame);
    const uint32_t high = RAH_AV | le16_get(frame + 4);

    for (uint32_t i = 0; i < E1000_RA_PAIRS; i++) {
        if (reg_get(nic, E1000_RA + 8 * i) == low &&
            (reg_get(nic, E1000_RA + 8 * i + 4) & (RAH_AV | 0xffff)) == high)
            return true;
    }
    return false;
}

static bool hash_match(const struct e1000 *nic, const uint8_t *frame)
{
    static const uint8_t shifts[] = {4, 3, 2, 0}; /* by RCTL.MO */
    const uint32_t shift = shifts[reg_get(nic, E1000_RCTL) >> RCTL_MO_SHIFT & 3];

    return bit_at(nic, E1000_MTA, (uint32_t)le16_get(frame + 4) >> shift & 0xfff);
}

static bool address_accepts(const struct e1000 *nic, const uint8_t *frame)
{
    const uint32_t rctl = reg_get(nic, E1000_RCTL);

    if (le32_get(frame) == UINT32_MAX && le16_get(frame + 4) == 0xffff)
        return (rctl & (RCTL_BAM | RCTL_UPE | RCTL_MPE)) != 0 || exact_match(nic, frame);
    if ((frame[0] & 1) != 0)
        return (rctl & RCTL_MPE) != 0 || exact_match(nic, frame) || hash_match(nic, frame);
    return (rctl & RCTL_UPE) != 0 || exact_match(nic, frame);
}

/* §8.2: the VLAN filter, promiscuous or not, then the address filter. */
bool rx_filter_accepts(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    return vlan_accepts(nic, frame, bytes) && address_accepts(nic, frame);
}
