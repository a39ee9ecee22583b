#include "nat/ip6.h"

#include <string.h>

/*
 * RFC 8415, the stateless half: Information-request is answered with the name server; addresses
 * come from the router advertisement, so whoever asks for one here gets no answer.
 */
enum {
    DHCP6_SERVER_PORT = 547,
    DHCP6_REPLY = 7,
    DHCP6_INFORMATION_REQUEST = 11,
    HEADER_BYTES = 4, /* type, transaction id (§8) */

    OPTION_CLIENT_ID = 1,
    OPTION_SERVER_ID = 2,
    OPTION_IA_NA = 3,
    OPTION_IA_TA = 4,
    OPTION_DNS_SERVERS = 23, /* RFC 3646 §3 */
    OPTION_IA_PD = 25,
    OPTION_BYTES = 4, /* code, length (§21.1) */

    DUID_BYTES = 10, /* DUID-LL with an Ethernet address (§11.4) */
    CLIENT_ID_MAX_BYTES = 130,
};

struct request {
    const uint8_t *client_id; /* NULL: none */
    uint32_t client_id_bytes;
};

static void server_duid(const struct nat *nat, uint8_t duid[DUID_BYTES])
{
    be16_put(duid, 3);
    be16_put(duid + 2, 1);
    memcpy(duid + 4, nat->config->gateway_mac, ETH_ADDRESS_BYTES);
}

/* §16.12: another server's, or one that asks for addresses, is discarded. */
static bool parse(const struct nat *nat, const uint8_t *options, uint32_t bytes,
                  struct request *request)
{
    uint8_t duid[DUID_BYTES];

    server_duid(nat, duid);
    for (uint32_t at = 0; at < bytes;) {
        if (bytes - at < OPTION_BYTES || be16_get(options + at + 2) > bytes - at - OPTION_BYTES)
            return false;
        const uint16_t code = be16_get(options + at);
        const uint32_t value_bytes = be16_get(options + at + 2);
        const uint8_t *value = options + at + OPTION_BYTES;

        if (code == OPTION_IA_NA || code == OPTION_IA_TA || code == OPTION_IA_PD)
            return false;
        if (code == OPTION_SERVER_ID &&
            (value_bytes != DUID_BYTES || memcmp(value, duid, DUID_BYTES) != 0))
            return false;
        if (code == OPTION_CLIENT_ID) {
            if (value_bytes > CLIENT_ID_MAX_BYTES)
                return false;
            request->client_id = value;
            request->client_id_bytes = value_bytes;
        }
        at += OPTION_BYTES + value_bytes;
    }
    return true;
}

static uint8_t *put_option(uint8_t *at, uint16_t code, const uint8_t *value, uint32_t bytes)
{
    be16_put(at, code);
    be16_put(at + 2, (uint16_t)bytes);
    memcpy(at + OPTION_BYTES, value, bytes);
    return at + OPTION_BYTES + bytes;
}

void nat_dhcp6_input(struct nat *nat, const struct nat_flow_key *key, const uint8_t *message,
                     uint32_t bytes)
{
    uint8_t room[UDP_HEADER_BYTES + 256], duid[DUID_BYTES];
    uint8_t *reply = room + UDP_HEADER_BYTES, *at = reply + HEADER_BYTES;
    struct nat_flow_key back = {.guest = key->guest,
                                .remote = {.family = 6, .port = DHCP6_SERVER_PORT}};
    struct request request = {.client_id = NULL};

    if (bytes < HEADER_BYTES || message[0] != DHCP6_INFORMATION_REQUEST ||
        !parse(nat, message + HEADER_BYTES, bytes - HEADER_BYTES, &request)) {
        nat_count(&nat->metrics->guest_frames_ignored_total);
        return;
    }
    memcpy(back.remote.address, nat->link6, 16);
    memcpy(reply, message, HEADER_BYTES); /* §18.3.6: its transaction id */
    reply[0] = DHCP6_REPLY;
    server_duid(nat, duid);
    at = put_option(at, OPTION_SERVER_ID, duid, DUID_BYTES);
    if (request.client_id != NULL)
        at = put_option(at, OPTION_CLIENT_ID, request.client_id, request.client_id_bytes);
    at = put_option(at, OPTION_DNS_SERVERS, nat->gateway6, 16);
    nat_udp_send(nat, &back, room, (uint32_t)(at - reply));
}
