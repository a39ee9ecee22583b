#include "nat/nat.h"

#include "nat/ip6.h"

#include <stdlib.h>
#include <string.h>

enum {
    MTU_MIN = 68, /* RFC 791 §3.2: every link carries so much */
    MTU_ETHERNET = 1500,
    FRAME_MAX_BASE_BYTES = 2048, /* spec/l2-tunnel.md §4; jumbo frames need more */
};

bool nat_endpoint_equal(const struct nat_endpoint *a, const struct nat_endpoint *b)
{
    return a->port == b->port && a->family == b->family &&
           memcmp(a->address, b->address, a->family == 6 ? 16 : 4) == 0;
}

size_t nat_session_bytes(const struct nat_config *config)
{
    return sizeof(struct nat) + nat_tcp_bytes(config) + nat_udp_bytes(config) +
           nat_dns_bytes(config) + nat_reassembly_bytes() + nat_gateway_bytes();
}

/* A guest behind a client of base frames has an ordinary card, whatever the LAN could do. */
static uint32_t mtu_for(uint32_t lan_mtu, uint32_t frame_max_bytes)
{
    uint32_t mtu = lan_mtu;

    if (frame_max_bytes <= FRAME_MAX_BASE_BYTES && mtu > MTU_ETHERNET)
        mtu = MTU_ETHERNET;
    if (frame_max_bytes < ETH_HEADER_BYTES + MTU_MIN)
        return MTU_MIN; /* then frames above the limit are not sent at all */
    return mtu < frame_max_bytes - ETH_HEADER_BYTES ? mtu : frame_max_bytes - ETH_HEADER_BYTES;
}

struct nat *nat_open(const struct nat_config *config, const struct nat_host *host,
                     struct nat_metrics *metrics, uint64_t now_us)
{
    struct nat *nat = calloc(1, sizeof *nat);

    if (nat == NULL)
        return NULL;
    nat->config = config;
    nat->metrics = metrics;
    nat->now_us = now_us;
    nat->frame_max_bytes = config->frame_max_bytes;
    nat->mtu = mtu_for(config->lan_mtu, config->frame_max_bytes);
    nat->ip_id = (uint16_t)host->random(host->context);
    nat->host = *host;
    nat_ip6_open(nat);
    if (nat_gateway_open(nat, host) && nat_tcp_open(nat) && nat_udp_open(nat) &&
        nat_dns_open(nat) && nat_reassembly_open(nat))
        return nat;
    nat_close(nat);
    return NULL;
}

uint32_t nat_frame_limit(struct nat *nat, uint32_t frame_max_bytes)
{
    const uint32_t before = nat->mtu;

    nat->frame_max_bytes = frame_max_bytes;
    nat->mtu = mtu_for(nat->config->lan_mtu, frame_max_bytes);
    nat_tcp_fit(nat);
    if (nat->mtu != before && nat->ra_due_us != UINT64_MAX) /* who was told is told again */
        nat->ra_due_us = nat->now_us;
    return nat->mtu;
}

void nat_super_limit(struct nat *nat, uint32_t frame_max_bytes)
{
    nat->super_max_bytes = frame_max_bytes;
}

void nat_close(struct nat *nat)
{
    nat_tcp_close(nat);
    nat_udp_close(nat);
    nat_dns_close(nat);
    nat_reassembly_close(nat);
    nat_gateway_close(nat);
    free(nat);
}

static bool is_for_us(const struct nat *nat, const uint8_t *mac)
{
    return (mac[0] & 1) != 0 || memcmp(mac, nat->config->gateway_mac, ETH_ADDRESS_BYTES) == 0;
}

void nat_input(struct nat *nat, const uint8_t *frame, uint32_t bytes, uint64_t now_us)
{
    nat->now_us = now_us;
    if (bytes < ETH_HEADER_BYTES) {
        nat_count(&nat->metrics->guest_malformed_total);
        return;
    }
    const uint8_t *source = frame + ETH_ADDRESS_BYTES;
    const uint8_t *body = frame + ETH_HEADER_BYTES;

    if (!is_for_us(nat, frame) || (source[0] & 1) != 0) {
        nat_count(&nat->metrics->guest_frames_ignored_total);
        return;
    }
    switch (be16_get(frame + ETH_TYPE_AT)) {
    case ETH_TYPE_IPV4:
        nat_ip4_input(nat, source, body, bytes - ETH_HEADER_BYTES);
        break;
    case ETH_TYPE_ARP:
        nat_arp_input(nat, body, bytes - ETH_HEADER_BYTES);
        break;
    case ETH_TYPE_IPV6:
        if (nat_ip6_on(nat)) {
            nat_ip6_input(nat, source, body, bytes - ETH_HEADER_BYTES);
            break;
        }
        /* fallthrough */
    default: /* §5: dropped silently */
        nat_count(&nat->metrics->guest_frames_ignored_total);
        break;
    }
}

void nat_input_super(struct nat *nat, const uint8_t *frame, uint32_t bytes, uint64_t now_us)
{
    nat->in_super = true;
    nat_input(nat, frame, bytes, now_us);
    nat->in_super = false;
}

void nat_flush(struct nat *nat, uint64_t now_us)
{
    nat->now_us = now_us;
    nat_tcp_flush(nat);
    nat_gateway_run(nat);
}

void nat_socket_event(struct nat *nat, uint32_t cookie, uint32_t events, uint64_t now_us)
{
    nat->now_us = now_us;
    switch (cookie >> NAT_COOKIE_SHIFT) {
    case NAT_COOKIE_TCP:
        nat_tcp_event(nat, cookie, events);
        break;
    case NAT_COOKIE_UDP:
        nat_udp_event(nat, cookie, events);
        break;
    default:
        break;
    }
}

void nat_writable(struct nat *nat, uint64_t now_us)
{
    nat->now_us = now_us;
    nat_udp_writable(nat);
    nat_tcp_writable(nat);
}

uint64_t nat_tick(struct nat *nat, uint64_t now_us)
{
    nat->now_us = now_us;
    nat_tcp_tick(nat);
    nat_udp_tick(nat);
    nat_dns_tick(nat);
    nat_gateway_run(nat);
    nat_reassembly_tick(nat);
    nat_ra_tick(nat);

    const uint64_t deadlines[] = {
        nat_tcp_deadline(nat),     nat_udp_deadline(nat),
        nat_dns_deadline(nat),     nat_reassembly_deadline(nat),
        nat_gateway_deadline(nat), nat_ip6_on(nat) ? nat->ra_due_us : UINT64_MAX,
    };
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++)
        if (deadlines[i] < first)
            first = deadlines[i];
    return first;
}

void nat_guest_is(struct nat *nat, const uint8_t *mac)
{
    memcpy(nat->guest_mac, mac, ETH_ADDRESS_BYTES);
    nat->guest_ready = true;
}

bool nat_is_group4(const struct nat *nat, const uint8_t *address)
{
    const uint32_t host_mask = ~be32_get(nat->config->netmask);
    const uint32_t value = be32_get(address);

    return value >> 28 == 0xe || value == UINT32_MAX ||
           value == (be32_get(nat->config->network) | host_mask);
}

static bool on_the_lan(const struct nat *nat, const struct nat_endpoint *endpoint)
{
    const uint32_t mask = be32_get(nat->config->netmask);

    if (endpoint->family == 6)
        return nat_is_lan6(endpoint->address);
    return endpoint->family == 4 &&
           (be32_get(endpoint->address) & mask) == (be32_get(nat->config->network) & mask);
}

static bool egress_verdict(const struct nat *nat, enum policy_protocol protocol,
                           const struct nat_endpoint *wanted, struct nat_endpoint *actual)
{
    const struct nat_config *config = nat->config;
    const bool tcp = protocol == POLICY_TCP;
    const struct nat_forward *forwards = tcp ? config->tcp_forwards : config->udp_forwards;
    const uint32_t count = tcp ? config->tcp_forward_count : config->udp_forward_count;

    for (uint32_t i = 0; i < count; i++) {
        if (nat_endpoint_equal(&forwards[i].from, wanted)) {
            *actual = forwards[i].to;
            return policy_check_port(config->policy, protocol, wanted->port) == POLICY_ALLOW;
        }
    }
    if (tcp && nat_gateway_serves(nat, wanted)) { /* no host socket opens: nothing to judge */
        *actual = *wanted;
        return true;
    }
    /* The LAN ends here: even with private addresses allowed, the host's 10.0.2.2 is not ours. */
    if (on_the_lan(nat, wanted))
        return false;
    *actual = *wanted;
    return policy_check(config->policy, protocol, wanted->family, wanted->address, wanted->port) ==
           POLICY_ALLOW;
}

bool nat_egress(struct nat *nat, enum policy_protocol protocol, const struct nat_endpoint *wanted,
                struct nat_endpoint *actual)
{
    if (egress_verdict(nat, protocol, wanted, actual))
        return true;
    nat_count(&nat->metrics->policy_denied_total);
    return false;
}

bool nat_egress_address(struct nat *nat, const struct nat_endpoint *wanted)
{
    if (!on_the_lan(nat, wanted) && policy_check_address(nat->config->policy, wanted->family,
                                                         wanted->address, false) == POLICY_ALLOW)
        return true;
    nat_count(&nat->metrics->policy_denied_total);
    return false;
}
