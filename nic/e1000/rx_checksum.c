#include "internal.h"

/* Where the IPv4 header lies and what it says of itself, checked against the frame. */
struct ipv4_view {
    const uint8_t *ip;
    uint32_t header_bytes, total_bytes;
};

static bool ipv4_find(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes,
                      struct ipv4_view *view)
{
    uint32_t at = ETH_HEADER_BYTES;

    if (be16_get(frame + ETH_TYPE_AT) == (reg_get(nic, E1000_VET) & 0xffff))
        at += ETH_VLAN_BYTES;
    if (bytes < at + IPV4_HEADER_BYTES || be16_get(frame + at - 2) != ETH_TYPE_IPV4)
        return false;
    view->ip = frame + at;
    view->header_bytes = (view->ip[0] & 15u) * 4;
    view->total_bytes = be16_get(view->ip + IPV4_TOTAL_LENGTH_AT);
    return view->ip[0] >> 4 == 4 && view->header_bytes >= IPV4_HEADER_BYTES &&
           view->total_bytes >= view->header_bytes && view->total_bytes <= bytes - at;
}

/* True when the datagram carries a TCP or UDP checksum that can be judged; *good is the verdict. */
static bool l4_judge(const struct ipv4_view *view, bool *good)
{
    const uint8_t *l4 = view->ip + view->header_bytes;
    const uint32_t l4_bytes = view->total_bytes - view->header_bytes;
    const uint8_t protocol = view->ip[IPV4_PROTOCOL_AT];

    if ((be16_get(view->ip + IPV4_FRAGMENT_AT) & (IPV4_FLAG_MF | IPV4_OFFSET_MASK)) != 0)
        return false;
    if (protocol == IP_PROTOCOL_TCP) {
        if (l4_bytes < TCP_HEADER_BYTES)
            return false;
    } else if (protocol != IP_PROTOCOL_UDP || l4_bytes < UDP_HEADER_BYTES ||
               be16_get(l4 + UDP_LENGTH_AT) != l4_bytes || be16_get(l4 + UDP_CHECKSUM_AT) == 0) {
        return false; /* a UDP checksum of 0 was not computed by the sender */
    }
    const uint32_t pseudo = checksum_pseudo_ipv4(
        view->ip + IPV4_SOURCE_AT, view->ip + IPV4_DESTINATION_AT, protocol, (uint16_t)l4_bytes);
    *good = checksum_fold(checksum_add(pseudo, l4, l4_bytes)) == 0xffff;
    return true;
}

/* §8.3, checksum status. Without a verdict IXSM tells the driver to look for itself. */
void rx_checksum_status(const struct e1000 *nic, const uint8_t *frame, uint32_t bytes,
                        bool made_here, struct rx_result *result)
{
    const uint32_t rxcsum = reg_get(nic, E1000_RXCSUM);
    const uint32_t start = rxcsum & RXCSUM_PCSS;
    const uint8_t before = result->status;
    struct ipv4_view view;
    bool good = true;

    /* A start of 0 is a driver that does not look: §8.3 allows 0 then. */
    if (start != 0 && start < bytes && !made_here)
        result->checksum = checksum_fold(checksum_add(0, frame + start, bytes - start));
    if ((rxcsum & (RXCSUM_IPOFL | RXCSUM_TUOFL)) != 0 && ipv4_find(nic, frame, bytes, &view)) {
        if ((rxcsum & RXCSUM_IPOFL) != 0) {
            result->status |= RXD_STATUS_IPCS;
            if (!made_here && checksum_fold(checksum_add(0, view.ip, view.header_bytes)) != 0xffff)
                result->errors |= RXD_ERROR_IPE;
        }
        if ((rxcsum & RXCSUM_TUOFL) != 0 && (made_here || l4_judge(&view, &good))) {
            result->status |= RXD_STATUS_TCPCS;
            if (!good)
                result->errors |= RXD_ERROR_TCPE;
        }
    }
    if (result->status == before)
        result->status |= RXD_STATUS_IXSM;
}
