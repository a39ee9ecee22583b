#include "nat/parts.h"

#include <string.h>

/* RFC 826; Ethernet and IPv4 only. */
enum {
    ARP_HARDWARE_AT = 0,
    ARP_PROTOCOL_AT = 2,
    ARP_LENGTHS_AT = 4,
    ARP_OPERATION_AT = 6,
    ARP_SENDER_MAC_AT = 8,
    ARP_SENDER_IP_AT = 14,
    ARP_TARGET_MAC_AT = 18,
    ARP_TARGET_IP_AT = 24,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
};

static void reply(struct nat *nat, const uint8_t *request)
{
    uint8_t *frame = nat_frame_begin(nat, ETH_HEADER_BYTES + ARP_BYTES);

    if (frame == NULL)
        return;
    uint8_t *arp = frame + ETH_HEADER_BYTES;

    memcpy(frame, request + ARP_SENDER_MAC_AT, ETH_ADDRESS_BYTES);
    memcpy(frame + ETH_ADDRESS_BYTES, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_ARP);
    memcpy(arp, request, ARP_OPERATION_AT);
    be16_put(arp + ARP_OPERATION_AT, ARP_REPLY);
    memcpy(arp + ARP_SENDER_MAC_AT, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
    memcpy(arp + ARP_SENDER_IP_AT, nat->config->gateway, 4);
    memcpy(arp + ARP_TARGET_MAC_AT, request + ARP_SENDER_MAC_AT, ETH_ADDRESS_BYTES);
    memcpy(arp + ARP_TARGET_IP_AT, request + ARP_SENDER_IP_AT, 4);
    nat_frame_send(nat, ETH_HEADER_BYTES + ARP_BYTES);
}

void nat_arp_input(struct nat *nat, const uint8_t *arp, uint32_t bytes)
{
    static const uint8_t lengths[2] = {ETH_ADDRESS_BYTES, 4};

    if (bytes < ARP_BYTES || be16_get(arp + ARP_HARDWARE_AT) != 1 ||
        be16_get(arp + ARP_PROTOCOL_AT) != ETH_TYPE_IPV4 ||
        memcmp(arp + ARP_LENGTHS_AT, lengths, sizeof lengths) != 0 ||
        (arp[ARP_SENDER_MAC_AT] & 1) != 0) {
        nat_count(&nat->metrics->guest_malformed_total);
        return;
    }
    /* §5.1, §5.2: an announcement moves the address to another MAC, and a guest that simply uses
     * the address has it. A probe (RFC 5227: sender 0.0.0.0) does neither. */
    if (nat_is_guest4(nat, arp + ARP_SENDER_IP_AT))
        nat_guest_is(nat, arp + ARP_SENDER_MAC_AT);
    /* Only the gateway's own address is answered for: never the guest's, whose probes and
     * announcements would meet a false conflict. */
    if (be16_get(arp + ARP_OPERATION_AT) == ARP_REQUEST &&
        nat_is_gateway4(nat, arp + ARP_TARGET_IP_AT))
        reply(nat, arp);
}
