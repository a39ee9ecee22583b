#include "nat/flow.h"
#include "nat/ip6.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * §6.3: one connected host socket for each (guest port, remote address, remote port). By option
 * (udp_full_cone) one unconnected socket for each guest port instead, that answers to everybody:
 * endpoint-independent mapping and filtering (RFC 4787 §4.1, §5).
 */
enum {
    DNS_PORT = 53,
    DHCP_SERVER_PORT = 67,
    DATAGRAM_BYTES_MAX = 65507,
    ICMP_ID_AT = 4,
    ICMP_ECHO_REPLY = 0,
    ICMP6_ECHO_REPLY = 129,
    DHCP6_SERVER_PORT = 547,
    PATH_MTU_MIN = 68,  /* RFC 791 §3.2 */
    RECEIVE_BURST = 32, /* datagrams of one flow before the next one's turn */
};

enum flow_kind {
    FLOW_CONNECTED,
    FLOW_PING, /* ICMP echo: the guest's port is the identifier */
    FLOW_CONE,
};

struct udp_flow {
    struct flow flow; /* first: the table's own */
    int socket;
    uint64_t used_us;
    uint8_t sent_header[UDP_HEADER_BYTES]; /* of the guest's last packet, for ICMP errors */
    uint32_t ready_next;                   /* slot + 1 */
    enum flow_kind kind;
    bool whole; /* the socket keeps datagrams in one piece: so the guest's last one wants it */
    bool ready; /* on the list of flows with something to read */
};

struct nat_udp {
    struct flow_table table;
    uint32_t ready_head, ready_tail; /* slot + 1 */
    bool blocked;                    /* the outbound queue was full: wait for nat_writable() */
};

static uint32_t capacity(const struct nat_config *config)
{
    return config->udp_max == 0 ? 65535 : config->udp_max;
}

size_t nat_udp_bytes(const struct nat_config *config)
{
    return sizeof(struct nat_udp) + flow_table_bytes(capacity(config), sizeof(struct udp_flow));
}

bool nat_udp_open(struct nat *nat)
{
    nat->udp = calloc(1, sizeof *nat->udp);
    return nat->udp != NULL &&
           flow_table_open(&nat->udp->table, capacity(nat->config), sizeof(struct udp_flow),
                           nat->host.random(nat->host.context));
}

static struct udp_flow *at(const struct nat_udp *udp, uint32_t link)
{
    return link == 0 ? NULL : (struct udp_flow *)(void *)flow_at_slot(&udp->table, link - 1);
}

static void ready_add(struct nat_udp *udp, struct udp_flow *flow)
{
    if (flow->ready)
        return;
    flow->ready = true;
    flow->ready_next = 0;
    if (udp->ready_tail != 0)
        at(udp, udp->ready_tail)->ready_next = flow->flow.slot + 1;
    else
        udp->ready_head = flow->flow.slot + 1;
    udp->ready_tail = flow->flow.slot + 1;
}

static void ready_drop(struct nat_udp *udp, struct udp_flow *flow)
{
    uint32_t before = 0;

    if (!flow->ready)
        return;
    for (uint32_t link = udp->ready_head; link != flow->flow.slot + 1;
         link = at(udp, link)->ready_next)
        before = link;
    if (before != 0)
        at(udp, before)->ready_next = flow->ready_next;
    else
        udp->ready_head = flow->ready_next;
    if (udp->ready_tail == flow->flow.slot + 1)
        udp->ready_tail = before;
    flow->ready = false;
}

static void flow_close(struct nat *nat, struct udp_flow *flow)
{
    ready_drop(nat->udp, flow);
    nat->host.close(nat->host.context, flow->socket, false);
    flow_remove(&nat->udp->table, &flow->flow);
    nat_gauge(&nat->metrics->udp_flows_active, -1);
}

void nat_udp_close(struct nat *nat)
{
    struct flow *oldest;

    if (nat->udp == NULL)
        return;
    while (nat->udp->table.entries != NULL && (oldest = flow_oldest(&nat->udp->table)) != NULL)
        flow_close(nat, (struct udp_flow *)(void *)oldest);
    flow_table_close(&nat->udp->table);
    free(nat->udp);
}

/* The guest hears why, if it is worth hearing. */
static void tell_guest(struct nat *nat, int error, const struct nat_flow_key *key, uint8_t protocol,
                       const uint8_t *l4)
{
    if (error == -ECONNREFUSED)
        nat_icmp_unreachable(nat, NAT_UNREACHABLE_PORT, key, protocol, l4);
    else if (error == -EHOSTUNREACH)
        nat_icmp_unreachable(nat, NAT_UNREACHABLE_HOST, key, protocol, l4);
    else if (error == -ENETUNREACH)
        nat_icmp_unreachable(nat, NAT_UNREACHABLE_NET, key, protocol, l4);
    else if (error == -EACCES || error == -EPERM)
        nat_icmp_unreachable(nat, NAT_UNREACHABLE_PROHIBITED, key, protocol, l4);
}

static uint8_t protocol_of(const struct nat_flow_key *key, bool ping)
{
    if (!ping)
        return IP_PROTOCOL_UDP;
    return key->guest.family == 6 ? IP_PROTOCOL_ICMPV6 : IP_PROTOCOL_ICMP;
}

/* A send or receive failed for good: the flow ends. */
static void flow_failed(struct nat *nat, struct udp_flow *flow, int error)
{
    const struct nat_flow_key key = flow->flow.key;
    const enum flow_kind kind = flow->kind;
    uint8_t header[UDP_HEADER_BYTES];

    memcpy(header, flow->sent_header, sizeof header);
    nat_count(&nat->metrics->udp_send_fail_total);
    flow_close(nat, flow);
    if (kind != FLOW_CONE) /* whose packet it was is not known */
        tell_guest(nat, error, &key, protocol_of(&key, kind == FLOW_PING), header);
}

/* A place in the table, by force where that is configured. */
static struct udp_flow *flow_claim(struct nat *nat, const struct nat_flow_key *key)
{
    struct nat_udp *udp = nat->udp;
    struct flow *flow = flow_add(&udp->table, key);

    if (flow == NULL && nat->config->udp_evict_oldest && flow_oldest(&udp->table) != NULL) {
        flow_close(nat, (struct udp_flow *)(void *)flow_oldest(&udp->table));
        flow = flow_add(&udp->table, key);
    }
    if (flow == NULL)
        nat_count(&nat->metrics->udp_flow_limit_exceeded_total);
    return (struct udp_flow *)(void *)flow;
}

static int socket_open(struct nat *nat, enum flow_kind kind, uint32_t cookie,
                       const struct nat_endpoint *actual)
{
    const struct nat_host *host = &nat->host;

    if (kind == FLOW_CONE)
        return host->udp_open(host->context, cookie, actual->family);
    return kind == FLOW_PING ? host->ping_connect(host->context, cookie, actual)
                             : host->udp_connect(host->context, cookie, actual);
}

/* The egress decision was made. */
static struct udp_flow *flow_open(struct nat *nat, const struct nat_flow_key *key,
                                  enum flow_kind kind, const struct nat_endpoint *actual)
{
    struct udp_flow *flow = flow_claim(nat, key);

    if (flow == NULL)
        return NULL;
    flow->kind = kind;
    flow->socket =
        socket_open(nat, kind, nat_cookie(NAT_COOKIE_UDP, flow_cookie(&flow->flow)), actual);
    if (flow->socket < 0) {
        flow_remove(&nat->udp->table, &flow->flow);
        nat_count(&nat->metrics->udp_send_fail_total);
        return NULL;
    }
    nat_gauge(&nat->metrics->udp_flows_active, 1);
    return flow;
}

static bool may_leave(struct nat *nat, const struct nat_flow_key *key, bool ping, const uint8_t *l4,
                      struct nat_endpoint *actual)
{
    *actual = key->remote;
    if (ping ? nat_egress_address(nat, &key->remote)
             : nat_egress(nat, POLICY_UDP, &key->remote, actual))
        return true;
    nat_icmp_unreachable(nat, NAT_UNREACHABLE_PROHIBITED, key, protocol_of(key, ping), l4);
    return false;
}

static void flow_used(struct nat *nat, struct udp_flow *flow)
{
    flow->used_us = nat->now_us;
    flow_touch(&nat->udp->table, &flow->flow);
}

/* Issue "the NAT", DF honoured: what the guest wants in one piece leaves so, or not at all. */
static void set_whole(struct nat *nat, struct udp_flow *flow, const struct ip_packet *packet)
{
    const struct nat_host *host = &nat->host;

    if (packet->whole == flow->whole || host->udp_whole == NULL)
        return;
    if (host->udp_whole(host->context, flow->socket, packet->whole) >= 0)
        flow->whole = packet->whole;
}

/* The path turned out to be narrower than the datagram. The flow lives on, under its port. */
static void too_long(struct nat *nat, struct udp_flow *flow)
{
    const struct nat_host *host = &nat->host;

    nat_count(&nat->metrics->udp_send_fail_total);
    if (!flow->whole) /* the kernel cuts the next one */
        return;
    const int mtu = host->udp_whole(host->context, flow->socket, true);
    if (mtu >= PATH_MTU_MIN && mtu <= UINT16_MAX)
        nat_icmp_too_long(nat, &flow->flow.key,
                          protocol_of(&flow->flow.key, flow->kind == FLOW_PING), flow->sent_header,
                          (uint16_t)mtu);
}

/* `data` is what the host's socket sends of the packet. */
static void to_world(struct nat *nat, const struct nat_flow_key *key, bool ping,
                     const struct ip_packet *packet, const uint8_t *data, uint32_t bytes)
{
    const uint8_t *l4 = packet->payload;
    struct udp_flow *flow = (struct udp_flow *)(void *)flow_find(&nat->udp->table, key);

    if (flow == NULL) {
        struct nat_endpoint actual;

        if (may_leave(nat, key, ping, l4, &actual))
            flow = flow_open(nat, key, ping ? FLOW_PING : FLOW_CONNECTED, &actual);
    }
    if (flow == NULL)
        return;
    memcpy(flow->sent_header, l4, sizeof flow->sent_header);
    flow_used(nat, flow);
    set_whole(nat, flow, packet);

    const ssize_t sent = nat->host.udp_send(nat->host.context, flow->socket, data, bytes);

    /* A full host buffer loses the datagram as any router would; the flow lives on. */
    if (sent < 0 && sent != -EAGAIN && sent != -ENOBUFS && sent != -EMSGSIZE)
        flow_failed(nat, flow, (int)sent);
    else if (sent == -EMSGSIZE)
        too_long(nat, flow);
}

/* The flow of a guest's port, whoever is at the other end. It is kept under an address that no
 * packet and no ping has, since groups never get this far. */
static struct nat_flow_key cone_key(const struct nat_flow_key *key)
{
    struct nat_flow_key cone = {.guest = key->guest, .remote = {.family = key->guest.family}};

    memset(cone.remote.address, 0xff, sizeof cone.remote.address);
    return cone;
}

/* The socket is open to all, so each datagram's destination is judged (§6.1). */
static void cone_to_world(struct nat *nat, const struct nat_flow_key *key, const uint8_t *l4,
                          const uint8_t *data, uint32_t bytes)
{
    const struct nat_flow_key cone = cone_key(key);
    struct nat_endpoint actual;

    if (!may_leave(nat, key, false, l4, &actual))
        return;
    struct udp_flow *flow = (struct udp_flow *)(void *)flow_find(&nat->udp->table, &cone);

    if (flow == NULL)
        flow = flow_open(nat, &cone, FLOW_CONE, &actual);
    if (flow == NULL)
        return;
    flow_used(nat, flow);
    const ssize_t sent =
        nat->host.udp_send_to(nat->host.context, flow->socket, &actual, data, bytes);

    /* One remote's trouble is not the others': the flow lives on. */
    if (sent < 0 && sent != -EAGAIN && sent != -ENOBUFS) {
        nat_count(&nat->metrics->udp_send_fail_total);
        tell_guest(nat, (int)sent, key, IP_PROTOCOL_UDP, l4);
    }
}

void nat_udp_ping(struct nat *nat, const struct ip_packet *packet)
{
    struct nat_flow_key key = packet->key;

    if (nat->host.ping_connect == NULL) { /* §5.3: silent */
        nat_count(&nat->metrics->guest_frames_ignored_total);
        return;
    }
    key.guest.port = be16_get(packet->payload + ICMP_ID_AT);
    key.remote.port = 0; /* no UDP flow has it */
    to_world(nat, &key, true, packet, packet->payload, packet->payload_bytes);
}

static bool is_forwarded(const struct nat *nat, const struct nat_endpoint *wanted)
{
    for (uint32_t i = 0; i < nat->config->udp_forward_count; i++)
        if (nat_endpoint_equal(&nat->config->udp_forwards[i].from, wanted))
            return true;
    return false;
}

/* The gateway's own services over IPv6, and groups; false: for the world. */
static bool to_lan6(struct nat *nat, const struct nat_flow_key *key, const uint8_t *payload,
                    uint32_t payload_bytes)
{
    static const uint8_t all_dhcp_servers[16] = {0xff,
                                                 0x02, [13] = 1, [15] = 2}; /* RFC 8415 §7.1 */
    const bool gateway = nat_is_gateway6(nat, key->remote.address);

    if (key->remote.port == DHCP6_SERVER_PORT &&
        (gateway || memcmp(key->remote.address, all_dhcp_servers, 16) == 0)) {
        nat_dhcp6_input(nat, key, payload, payload_bytes);
    } else if (nat_is_group6(key->remote.address)) {
        nat_count(&nat->metrics->guest_frames_ignored_total);
    } else if (key->remote.port == DNS_PORT && gateway) {
        const struct dns_client client = {.key = *key};

        nat_dns_input(nat, &client, payload, payload_bytes);
    } else {
        return false;
    }
    return true;
}

void nat_udp_input(struct nat *nat, const struct ip_packet *packet)
{
    const struct nat_flow_key *key = &packet->key;
    const uint8_t *payload = packet->payload + UDP_HEADER_BYTES;
    const uint32_t payload_bytes = packet->payload_bytes - UDP_HEADER_BYTES;

    if (key->guest.family == 4) {
        const bool gateway = nat_is_gateway4(nat, key->remote.address);
        const bool group = nat_is_group4(nat, key->remote.address);

        if (key->remote.port == DHCP_SERVER_PORT && (gateway || group)) {
            nat_dhcp_input(nat, payload, payload_bytes);
            return;
        }
        if (group) { /* §6.3: broadcast and multicast are dropped */
            nat_count(&nat->metrics->guest_frames_ignored_total);
            return;
        }
        if (key->remote.port == DNS_PORT && gateway && !is_forwarded(nat, &key->remote)) {
            const struct dns_client client = {.key = *key};

            nat_dns_input(nat, &client, payload, payload_bytes);
            return;
        }
    }
    if (key->guest.family == 6 && to_lan6(nat, key, payload, payload_bytes))
        return;
    if (key->remote.port == 0) { /* RFC 768: nobody listens there; pings are kept under it */
        nat_count(&nat->metrics->guest_frames_ignored_total);
        return;
    }
    /* Behind a forward rule the answer's address is not the one the guest knows. */
    if (nat->config->udp_full_cone && nat->host.udp_open != NULL &&
        !is_forwarded(nat, &key->remote))
        cone_to_world(nat, key, packet->payload, payload, payload_bytes);
    else
        to_world(nat, key, false, packet, payload, payload_bytes);
}

bool nat_udp_send(struct nat *nat, const struct nat_flow_key *key, uint8_t *room,
                  uint32_t payload_bytes)
{
    const uint32_t bytes = UDP_HEADER_BYTES + payload_bytes;

    be16_put(room + UDP_SOURCE_AT, key->remote.port);
    be16_put(room + UDP_DESTINATION_AT, key->guest.port);
    be16_put(room + UDP_LENGTH_AT, (uint16_t)bytes);
    be16_put(room + UDP_CHECKSUM_AT, 0);
    const uint16_t checksum =
        checksum_finish(checksum_add(nat_pseudo_sum(key, IP_PROTOCOL_UDP, bytes), room, bytes));

    be16_put(room + UDP_CHECKSUM_AT, checksum != 0 ? checksum : 0xffff); /* RFC 768 */
    return nat_ip_send(nat, key, IP_PROTOCOL_UDP, room, bytes);
}

/* An ICMP message from the host: echo replies get the guest's identifier back. */
static void ping_reply(struct nat *nat, const struct nat_flow_key *key, uint8_t *icmp,
                       uint32_t bytes)
{
    const bool is_v6 = key->guest.family == 6;
    const uint8_t protocol = protocol_of(key, true);

    if (bytes < ICMP_HEADER_BYTES || icmp[0] != (is_v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY))
        return;
    be16_put(icmp + ICMP_ID_AT, key->guest.port);
    be16_put(icmp + ICMP_CHECKSUM_AT, 0);
    const uint32_t sum = is_v6 ? nat_pseudo_sum(key, protocol, bytes) : 0; /* RFC 4443 §2.3 */

    be16_put(icmp + ICMP_CHECKSUM_AT, checksum_finish(checksum_add(sum, icmp, bytes)));
    nat_ip_send(nat, key, protocol, icmp, bytes);
}

/* Says in `remote` whom a datagram of a cone's socket is from. */
static ssize_t receive(struct nat *nat, const struct udp_flow *flow, struct nat_endpoint *remote,
                       uint8_t *data)
{
    const struct nat_host *host = &nat->host;

    if (flow->kind == FLOW_CONE)
        return host->udp_receive_from(host->context, flow->socket, remote, data,
                                      DATAGRAM_BYTES_MAX);
    return host->udp_receive(host->context, flow->socket, data, DATAGRAM_BYTES_MAX);
}

/* Returns false once there is no more to read, or no flow. */
static bool from_world(struct nat *nat, struct udp_flow *flow)
{
    uint8_t room[UDP_HEADER_BYTES + DATAGRAM_BYTES_MAX];

    for (uint32_t i = 0; i < RECEIVE_BURST; i++) {
        /* Room for the first frame, else the datagram waits in the host's socket. */
        if (nat_frame_begin(nat, ETH_HEADER_BYTES + nat->mtu) == NULL) {
            nat->udp->blocked = true;
            return true;
        }
        struct nat_flow_key key = flow->flow.key;
        const ssize_t bytes = receive(nat, flow, &key.remote, room + UDP_HEADER_BYTES);

        if (bytes == -EAGAIN)
            return false;
        if (bytes == -EMSGSIZE && flow->kind != FLOW_CONE) {
            too_long(nat, flow);
            continue;
        }
        if (bytes < 0) {
            flow_failed(nat, flow, (int)bytes);
            return false;
        }
        /* Whom the guest may not call has no business calling it: the host's neighbours. */
        if (flow->kind == FLOW_CONE && !nat_egress_address(nat, &key.remote))
            continue;
        flow_used(nat, flow);
        if (flow->kind == FLOW_PING)
            ping_reply(nat, &key, room + UDP_HEADER_BYTES, (uint32_t)bytes);
        else
            nat_udp_send(nat, &key, room, (uint32_t)bytes);
    }
    return true;
}

static void serve_ready(struct nat *nat)
{
    struct nat_udp *udp = nat->udp;

    /* One lap: flows with more left go to the end and wait for the next call. */
    for (uint32_t last = udp->ready_tail, link = 0; udp->ready_head != 0 && link != last;) {
        struct udp_flow *flow = at(udp, udp->ready_head);

        link = udp->ready_head;
        udp->ready_head = flow->ready_next;
        if (udp->ready_head == 0)
            udp->ready_tail = 0;
        flow->ready = false;
        if (from_world(nat, flow))
            ready_add(udp, flow);
        if (udp->blocked)
            return;
    }
}

void nat_udp_event(struct nat *nat, uint32_t cookie, uint32_t events)
{
    struct udp_flow *flow =
        (struct udp_flow *)(void *)flow_by_cookie(&nat->udp->table, cookie & NAT_COOKIE_VALUE_MASK);

    if (flow == NULL || (events & (NAT_SOCKET_READABLE | NAT_SOCKET_FAILED)) == 0)
        return;
    if ((events & NAT_SOCKET_FAILED) != 0) {
        const int error = nat->host.error(nat->host.context, flow->socket);

        if (error == EMSGSIZE && flow->kind != FLOW_CONE) {
            too_long(nat, flow);
        } else if (error != 0) {
            flow_failed(nat, flow, -error);
            return;
        }
    }
    ready_add(nat->udp, flow);
    if (!nat->udp->blocked)
        serve_ready(nat);
}

void nat_udp_writable(struct nat *nat)
{
    nat->udp->blocked = false;
    serve_ready(nat);
}

void nat_udp_tick(struct nat *nat)
{
    const uint64_t idle_us = (uint64_t)nat->config->udp_idle_ms * 1000;
    struct udp_flow *oldest;

    if (!nat->udp->blocked)
        serve_ready(nat);
    if (idle_us == 0)
        return;
    while ((oldest = (struct udp_flow *)(void *)flow_oldest(&nat->udp->table)) != NULL &&
           oldest->used_us + idle_us <= nat->now_us)
        flow_close(nat, oldest);
}

uint64_t nat_udp_deadline(const struct nat *nat)
{
    const uint64_t idle_us = (uint64_t)nat->config->udp_idle_ms * 1000;
    const struct udp_flow *oldest =
        (const struct udp_flow *)(const void *)flow_oldest(&nat->udp->table);

    if (nat->udp->ready_head != 0 && !nat->udp->blocked)
        return nat->now_us; /* the rest of a burst */
    return oldest == NULL || idle_us == 0 ? UINT64_MAX : oldest->used_us + idle_us;
}
