#include "nat/dhcp.h"

#include "nat/parts.h"

#include <string.h>

enum {
    BOOT_REQUEST = 1,
    BOOT_REPLY = 2,
    SERVER_PORT = 67,
    CLIENT_PORT = 68,
    REPLY_MIN_BYTES = 300, /* §5.2: old clients want BOOTP's size */
    REPLY_MAX_BYTES = 548, /* RFC 2131 §2: what every client takes */

    LEASE_S = 86400, /* §5 */
    RENEW_S = 43200,
    REBIND_S = 75600,

    BROADCAST_FLAG = 0x8000,
};

static const uint8_t magic_cookie[4] = {0x63, 0x82, 0x53, 0x63};

static void parse_option(struct dhcp_request *request, uint8_t code, const uint8_t *value,
                         uint32_t bytes)
{
    switch (code) {
    case DHCP_MESSAGE_TYPE:
        if (bytes == 1)
            request->type = value[0];
        break;
    case DHCP_REQUESTED_ADDRESS:
        if (bytes == 4) {
            request->has_requested = true;
            memcpy(request->requested, value, 4);
        }
        break;
    case DHCP_SERVER_ID:
        if (bytes == 4) {
            request->has_server = true;
            memcpy(request->server, value, 4);
        }
        break;
    default:
        break;
    }
}

bool dhcp_parse(struct dhcp_request *request, const uint8_t *message, size_t bytes)
{
    if (bytes < DHCP_HEADER_BYTES + sizeof magic_cookie)
        return false;
    if (message[0] != BOOT_REQUEST || message[1] != 1 || message[2] != ETH_ADDRESS_BYTES)
        return false;
    if (memcmp(message + DHCP_HEADER_BYTES, magic_cookie, sizeof magic_cookie) != 0)
        return false;

    struct dhcp_request parsed = {
        .xid = be32_get(message + DHCP_XID_AT),
        .flags = be16_get(message + DHCP_FLAGS_AT),
    };
    size_t at = DHCP_HEADER_BYTES + sizeof magic_cookie;

    memcpy(parsed.client, message + DHCP_CIADDR_AT, 4);
    memcpy(parsed.mac, message + DHCP_CHADDR_AT, ETH_ADDRESS_BYTES);
    /* RFC 2131 §4.1: options run up to END; RFC 951 clients may leave END out. */
    while (at < bytes && message[at] != DHCP_END) {
        if (message[at] == DHCP_PAD) {
            at++;
            continue;
        }
        if (bytes - at < 2 || bytes - at - 2 < message[at + 1])
            return false; /* the option is cut short */
        parse_option(&parsed, message[at], message + at + 2, message[at + 1]);
        at += 2u + message[at + 1];
    }
    if (parsed.type == 0 || (parsed.mac[0] & 1) != 0)
        return false;
    *request = parsed;
    return true;
}

struct writer {
    uint8_t *bytes;
    uint32_t length;
};

static void put_option(struct writer *out, uint8_t code, const void *value, uint8_t bytes)
{
    out->bytes[out->length] = code;
    out->bytes[out->length + 1] = bytes;
    memcpy(out->bytes + out->length + 2, value, bytes);
    out->length += 2u + bytes;
}

static void put_option32(struct writer *out, uint8_t code, uint32_t value)
{
    uint8_t raw[4];

    be32_put(raw, value);
    put_option(out, code, raw, sizeof raw);
}

/* The order of §5.2's example. */
static void put_options(const struct nat *nat, struct writer *out, uint8_t type, bool lease)
{
    const struct nat_config *config = nat->config;

    put_option(out, DHCP_MESSAGE_TYPE, &type, 1);
    put_option(out, DHCP_SERVER_ID, config->gateway, 4);
    if (type != DHCP_NAK) {
        put_option(out, DHCP_SUBNET_MASK, config->netmask, 4);
        put_option(out, DHCP_ROUTER, config->gateway, 4);
        put_option(out, DHCP_DNS_SERVER, config->gateway, 4);
        if (lease) {
            put_option32(out, DHCP_LEASE_TIME, LEASE_S);
            put_option32(out, DHCP_RENEW_TIME, RENEW_S);
            put_option32(out, DHCP_REBIND_TIME, REBIND_S);
        }
        if (nat->mtu != 1500) { /* Ethernet's own goes without saying */
            uint8_t mtu[2];

            be16_put(mtu, (uint16_t)nat->mtu);
            put_option(out, DHCP_INTERFACE_MTU, mtu, sizeof mtu);
        }
        if (config->dhcp_domain[0] != '\0')
            put_option(out, DHCP_DOMAIN, config->dhcp_domain, (uint8_t)strlen(config->dhcp_domain));
        if (config->dhcp_ntp_count != 0)
            put_option(out, DHCP_NTP_SERVER, config->dhcp_ntp,
                       (uint8_t)(config->dhcp_ntp_count * sizeof config->dhcp_ntp[0]));
    }
    out->bytes[out->length++] = DHCP_END;
}

/* Returns the message's length; `reply` is zeroed room of REPLY_MAX_BYTES. */
static uint32_t build(const struct nat *nat, uint8_t *reply, const struct dhcp_request *request,
                      uint8_t type, bool lease)
{
    struct writer out = {reply, DHCP_HEADER_BYTES + sizeof magic_cookie};

    reply[0] = BOOT_REPLY;
    reply[1] = 1;
    reply[2] = ETH_ADDRESS_BYTES;
    be32_put(reply + DHCP_XID_AT, request->xid);
    be16_put(reply + DHCP_FLAGS_AT,
             type == DHCP_NAK ? request->flags | BROADCAST_FLAG : request->flags);
    if (type == DHCP_ACK && !lease) /* RFC 2131 §4.3.5: INFORM keeps its own address */
        memcpy(reply + DHCP_CIADDR_AT, request->client, 4);
    if (lease)
        memcpy(reply + DHCP_YIADDR_AT, nat->config->guest, 4);
    if (type != DHCP_NAK)
        memcpy(reply + DHCP_SIADDR_AT, nat->config->gateway, 4);
    memcpy(reply + DHCP_CHADDR_AT, request->mac, ETH_ADDRESS_BYTES);
    memcpy(reply + DHCP_HEADER_BYTES, magic_cookie, sizeof magic_cookie);
    put_options(nat, &out, type, lease);
    return out.length < REPLY_MIN_BYTES ? REPLY_MIN_BYTES : out.length;
}

static void send_copy(struct nat *nat, const uint8_t *mac, const uint8_t *address, uint8_t *room,
                      uint32_t payload_bytes)
{
    struct nat_flow_key key = {
        .guest = {.family = 4, .port = CLIENT_PORT},
        .remote = {.family = 4, .port = SERVER_PORT},
    };
    uint8_t usual_mac[ETH_ADDRESS_BYTES];

    memcpy(key.guest.address, address, 4);
    memcpy(key.remote.address, nat->config->gateway, 4);
    memcpy(usual_mac, nat->guest_mac, sizeof usual_mac);
    memcpy(nat->guest_mac, mac, sizeof usual_mac); /* where nat_frame_headers() sends to */
    nat_udp_send(nat, &key, room, payload_bytes);
    memcpy(nat->guest_mac, usual_mac, sizeof usual_mac);
}

static void answer(struct nat *nat, const struct dhcp_request *request, uint8_t type)
{
    static const uint8_t everyone[ETH_ADDRESS_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t room[UDP_HEADER_BYTES + REPLY_MAX_BYTES] = {0};
    const bool inform = request->type == DHCP_INFORM;
    const bool lease = !inform && type != DHCP_NAK;
    const uint32_t bytes = build(nat, room + UDP_HEADER_BYTES, request, type, lease);

    /* §5.2: to everyone, then to the client: one of them suits every client. */
    if (!inform)
        send_copy(nat, everyone, everyone, room, bytes);
    if (inform)
        send_copy(nat, request->mac, request->client, room, bytes);
    else if (type != DHCP_NAK)
        send_copy(nat, request->mac, nat->config->guest, room, bytes);
}

static void request_received(struct nat *nat, const struct dhcp_request *request)
{
    const uint8_t *wanted = request->has_requested ? request->requested : request->client;

    if (request->has_server && !nat_is_gateway4(nat, request->server))
        return; /* the client chose somebody else */
    if (!nat_is_guest4(nat, wanted)) {
        answer(nat, request, DHCP_NAK);
        return;
    }
    answer(nat, request, DHCP_ACK);
    nat_guest_is(nat, request->mac);
}

void nat_dhcp_input(struct nat *nat, const uint8_t *message, uint32_t bytes)
{
    struct dhcp_request request;

    if (!dhcp_parse(&request, message, bytes)) {
        nat_count(&nat->metrics->guest_malformed_total);
        return;
    }
    switch (request.type) {
    case DHCP_DISCOVER:
        answer(nat, &request, DHCP_OFFER);
        break;
    case DHCP_REQUEST:
        request_received(nat, &request);
        break;
    case DHCP_INFORM:
        if (be32_get(request.client) != 0) /* RFC 2131 §4.4.3: it says where it is */
            answer(nat, &request, DHCP_ACK);
        break;
    case DHCP_DECLINE:
    case DHCP_RELEASE:
        if (memcmp(request.mac, nat->guest_mac, ETH_ADDRESS_BYTES) == 0)
            nat->guest_ready = false;
        break;
    default:
        nat_count(&nat->metrics->guest_frames_ignored_total);
        break;
    }
}
