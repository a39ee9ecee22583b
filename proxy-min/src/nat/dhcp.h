/*
 * dhcp.h - the bounded parser of DHCP requests (RFC 2131, 2132).
 *
 * Hostile  Every length is checked against the message before it is used; nothing is kept of a
 *          message that does not parse.
 */
#ifndef PROXY_NAT_DHCP_H
#define PROXY_NAT_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* RFC 2131 §2, offsets in the fixed header */
       DHCP_XID_AT = 4,
       DHCP_FLAGS_AT = 10,
       DHCP_CIADDR_AT = 12,
       DHCP_YIADDR_AT = 16,
       DHCP_SIADDR_AT = 20,
       DHCP_CHADDR_AT = 28,
       DHCP_HEADER_BYTES = 236,
};

enum { /* RFC 2132 */
       DHCP_PAD = 0,
       DHCP_SUBNET_MASK = 1,
       DHCP_ROUTER = 3,
       DHCP_DNS_SERVER = 6,
       DHCP_DOMAIN = 15,
       DHCP_INTERFACE_MTU = 26,
       DHCP_NTP_SERVER = 42,
       DHCP_REQUESTED_ADDRESS = 50,
       DHCP_LEASE_TIME = 51,
       DHCP_MESSAGE_TYPE = 53,
       DHCP_SERVER_ID = 54,
       DHCP_RENEW_TIME = 58,
       DHCP_REBIND_TIME = 59,
       DHCP_END = 255,
};

enum { /* values of DHCP_MESSAGE_TYPE */
       DHCP_DISCOVER = 1,
       DHCP_OFFER = 2,
       DHCP_REQUEST = 3,
       DHCP_DECLINE = 4,
       DHCP_ACK = 5,
       DHCP_NAK = 6,
       DHCP_RELEASE = 7,
       DHCP_INFORM = 8,
};

struct dhcp_request {
    uint8_t type;
    uint32_t xid;
    uint16_t flags;
    uint8_t mac[6];
    uint8_t client[4]; /* ciaddr */
    bool has_requested, has_server;
    uint8_t requested[4], server[4];
};

/** False, and nothing written, unless it is a well-formed request of an Ethernet client that names
 *  its message type. */
bool dhcp_parse(struct dhcp_request *request, const uint8_t *message, size_t bytes);

#endif
