/*
 * nat_fuzz.c - the NAT under a guest, a world and a clock that are all hostile.
 *
 * The input is a list of steps: u8 what, u8 argument, u16 length, `length` bytes. Whatever the
 * steps do, every frame the NAT sends must be well-formed: its lengths agree, its checksums hold,
 * it fits the tunnel, it comes from the gateway; and at the end no socket is left open.
 */
#include "nat/nat.h"
#include "nic/packet.h"
#include "policy/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
    SOCKETS_MAX = 256,
    FRAME_MAX_BYTES = 2048,
    STEPS_MAX = 400,
    RESERVED_MAX = 64,
    BATCH_MAX = 16,
};

enum step {
    STEP_RAW_FRAME,  /* as it is */
    STEP_IP_FRAME,   /* addresses, lengths and checksums put right first */
    STEP_TIME,       /* argument × 2^(length % 20) microseconds */
    STEP_EVENT,      /* socket `argument`: the first byte are the events, the rest arrives */
    STEP_DNS_ANSWER, /* to query `argument` */
    STEP_QUEUE,      /* room for `argument` more frames, 255: no end */
    STEP_HOST,       /* the host's mood: how calls end */
    STEP_FLUSH,
    STEP_COUNT,
};

struct fuzz_socket {
    bool open, tcp, eof;
    uint32_t cookie;
    uint32_t in_bytes; /* unread; the content does not matter */
    int error;
};

struct world {
    struct fuzz_socket sockets[SOCKETS_MAX];
    uint32_t socket_count;
    uint8_t *reserved[RESERVED_MAX];
    uint32_t reserved_count, reserved_bytes;
    uint32_t room;
    uint32_t queries[256];
    uint8_t query_count;
    uint8_t mood;
    uint64_t random;
    uint8_t *batch[BATCH_MAX];
    uint32_t batch_count;
};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static const uint8_t gateway_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static const uint8_t guest_ip[4] = {10, 0, 2, 15};

static void check_l4(const uint8_t *ip, const uint8_t *l4, uint32_t bytes)
{
    const uint8_t protocol = ip[IPV4_PROTOCOL_AT];
    uint32_t sum = checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT, protocol,
                                        (uint16_t)bytes);

    switch (protocol) {
    case IP_PROTOCOL_TCP:
        CHECK(bytes >= TCP_HEADER_BYTES);
        CHECK((l4[TCP_DATA_OFFSET_AT] >> 4) * 4u >= TCP_HEADER_BYTES);
        CHECK((l4[TCP_DATA_OFFSET_AT] >> 4) * 4u <= bytes);
        break;
    case IP_PROTOCOL_UDP:
        CHECK(bytes >= UDP_HEADER_BYTES && be16_get(l4 + UDP_LENGTH_AT) == bytes);
        break;
    default:
        CHECK(protocol == IP_PROTOCOL_ICMP && bytes >= ICMP_HEADER_BYTES);
        sum = 0;
        break;
    }
    CHECK(checksum_fold(checksum_add(sum, l4, bytes)) == 0xffff);
}

enum { HEADER_FRAGMENT = 44 };

static void check_frame6(const uint8_t *ip, uint32_t bytes)
{
    CHECK(bytes >= IPV6_HEADER_BYTES && bytes <= 1500 && ip[0] == 0x60);
    const uint8_t protocol = ip[IPV6_NEXT_HEADER_AT];
    const uint8_t *l4 = ip + IPV6_HEADER_BYTES;
    const uint32_t l4_bytes = bytes - IPV6_HEADER_BYTES;

    CHECK(be16_get(ip + IPV6_PAYLOAD_LENGTH_AT) == l4_bytes && l4_bytes >= 8);
    if (protocol == HEADER_FRAGMENT)
        return;
    CHECK(protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP ||
          protocol == IP_PROTOCOL_ICMPV6);
    CHECK(
        checksum_fold(checksum_add(
            checksum_pseudo_ipv6(ip + IPV6_SOURCE_AT, ip + IPV6_DESTINATION_AT, protocol, l4_bytes),
            l4, l4_bytes)) == 0xffff);
}

static void check_frame(const uint8_t *frame, uint32_t bytes)
{
    CHECK(bytes >= ETH_HEADER_BYTES && bytes <= FRAME_MAX_BYTES);
    CHECK(memcmp(frame + 6, gateway_mac, 6) == 0);
    if (be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_ARP) {
        CHECK(bytes == ETH_HEADER_BYTES + ARP_BYTES);
        return;
    }
    const uint8_t *ip = frame + ETH_HEADER_BYTES;

    if (be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_IPV6) {
        check_frame6(ip, bytes - ETH_HEADER_BYTES);
        return;
    }
    CHECK(be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_IPV4);
    CHECK(bytes >= ETH_HEADER_BYTES + IPV4_HEADER_BYTES && ip[0] == 0x45);
    CHECK(be16_get(ip + IPV4_TOTAL_LENGTH_AT) == bytes - ETH_HEADER_BYTES);
    CHECK(bytes - ETH_HEADER_BYTES <= 1500);
    CHECK(checksum_fold(checksum_add(0, ip, IPV4_HEADER_BYTES)) == 0xffff);
    if ((be16_get(ip + IPV4_FRAGMENT_AT) & (IPV4_FLAG_MF | IPV4_OFFSET_MASK)) == 0)
        check_l4(ip, ip + IPV4_HEADER_BYTES, bytes - ETH_HEADER_BYTES - IPV4_HEADER_BYTES);
}

/* ---- struct nat_host ---- */

static void reserved_free(struct world *world)
{
    for (uint32_t i = 0; i < world->reserved_count; i++)
        free(world->reserved[i]);
    world->reserved_count = 0;
}

static uint32_t host_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct world *world = context;

    CHECK(bytes >= ETH_HEADER_BYTES && bytes <= FRAME_MAX_BYTES && count != 0);
    reserved_free(world);
    count = count < RESERVED_MAX ? count : RESERVED_MAX;
    count = count < world->room ? count : world->room;
    for (uint32_t i = 0; i < count; i++)
        places[i] = world->reserved[i] = malloc(bytes);
    world->reserved_count = count;
    world->reserved_bytes = bytes;
    return count;
}

static void host_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct world *world = context;

    CHECK(count <= world->reserved_count && last_bytes <= world->reserved_bytes);
    for (uint32_t i = 0; i < count; i++)
        check_frame(world->reserved[i], i + 1 == count ? last_bytes : world->reserved_bytes);
    if (world->room != UINT32_MAX)
        world->room -= count;
    reserved_free(world);
}

static int host_connect(struct world *world, uint32_t cookie, const struct nat_endpoint *remote,
                        bool tcp)
{
    static const uint8_t loopback = 127;

    if (remote->family == 4)
        CHECK(remote->address[0] != loopback && remote->address[0] != 10);
    else /* unique local, link-local, groups */
        CHECK(remote->family == 6 && (remote->address[0] & 0xfc) != 0xfc);
    if ((world->mood & 1) != 0 || world->socket_count == SOCKETS_MAX)
        return -EMFILE;
    world->sockets[world->socket_count] =
        (struct fuzz_socket){.open = true, .tcp = tcp, .cookie = cookie};
    return (int)world->socket_count++;
}

static int host_tcp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return host_connect(context, cookie, remote, true);
}

static int host_udp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return host_connect(context, cookie, remote, false);
}

static struct fuzz_socket *socket_of(void *context, int number, bool tcp)
{
    struct world *world = context;

    CHECK(number >= 0 && (uint32_t)number < world->socket_count);
    CHECK(world->sockets[number].open && world->sockets[number].tcp == tcp);
    return &world->sockets[number];
}

static ssize_t host_tcp_peek(void *context, int number, uint32_t offset, const struct iovec *to,
                             int to_count)
{
    struct fuzz_socket *socket = socket_of(context, number, true);
    uint32_t at = offset;

    if (socket->error != 0)
        return -socket->error;
    CHECK(offset <= socket->in_bytes);
    for (int i = 0; i < to_count; i++) {
        const uint32_t left = socket->in_bytes - at;
        const uint32_t part = left < to[i].iov_len ? left : (uint32_t)to[i].iov_len;

        memset(to[i].iov_base, 0x5a, part);
        at += part;
    }
    if (at != offset)
        return (ssize_t)(at - offset);
    return socket->eof ? 0 : -EAGAIN;
}

static int host_tcp_consume(void *context, int number, uint32_t bytes)
{
    struct fuzz_socket *socket = socket_of(context, number, true);

    CHECK(bytes <= socket->in_bytes);
    socket->in_bytes -= bytes;
    return 0;
}

static ssize_t host_tcp_send(void *context, int number, const struct iovec *from, int from_count)
{
    struct world *world = context;
    struct fuzz_socket *socket = socket_of(context, number, true);
    volatile uint8_t sum = 0;
    size_t total = 0;

    if (socket->error != 0)
        return -socket->error;
    if ((world->mood & 2) != 0)
        return -EAGAIN;
    for (int i = 0; i < from_count; i++) {
        for (size_t k = 0; k < from[i].iov_len; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)from[i].iov_base)[k]);
        total += from[i].iov_len;
    }
    if ((world->mood & 4) != 0)
        total = (total + 1) / 2;
    return (ssize_t)total;
}

static uint32_t host_tcp_send_space(void *context, int number)
{
    struct world *world = context;

    socket_of(context, number, true);
    return (world->mood & 2) != 0 ? 0 : 65536;
}

static int host_tcp_shutdown_write(void *context, int number)
{
    socket_of(context, number, true);
    return 0;
}

static ssize_t host_udp_send(void *context, int number, const uint8_t *data, uint32_t bytes)
{
    struct world *world = context;
    volatile uint8_t sum = 0;

    socket_of(context, number, false);
    for (uint32_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + data[i]);
    return (world->mood & 8) != 0 ? -ECONNREFUSED : (ssize_t)bytes;
}

static ssize_t host_udp_receive(void *context, int number, uint8_t *data, uint32_t max_bytes)
{
    struct fuzz_socket *socket = socket_of(context, number, false);
    const uint32_t bytes = socket->in_bytes < max_bytes ? socket->in_bytes : max_bytes;

    if (bytes == 0)
        return socket->error != 0 ? -socket->error : -EAGAIN;
    memset(data, 0x5a, bytes);
    socket->in_bytes = 0;
    return (ssize_t)bytes;
}

static int host_error(void *context, int number)
{
    struct world *world = context;

    CHECK(number >= 0 && (uint32_t)number < world->socket_count);
    return world->sockets[number].error;
}

static void host_close(void *context, int number, bool reset)
{
    struct world *world = context;

    (void)reset;
    CHECK(number >= 0 && (uint32_t)number < world->socket_count && world->sockets[number].open);
    world->sockets[number].open = false;
}

static int host_dns_query(void *context, uint32_t query, const char *name, uint16_t type)
{
    struct world *world = context;

    (void)type;
    CHECK(strlen(name) < 254);
    if ((world->mood & 16) != 0)
        return -ENOMEM;
    world->queries[world->query_count++] = query;
    return 0;
}

static uint64_t host_random(void *context)
{
    struct world *world = context;

    return world->random += 0x9e3779b97f4a7c15u;
}

/* ---- steps ---- */

/* The checksum of what stands behind the IPv6 header; extension headers stay as they are. */
static void put_right6(uint8_t *frame, uint32_t bytes)
{
    static const uint8_t guest_ip6[16] = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 15};
    uint8_t *ip = frame + ETH_HEADER_BYTES, *l4 = ip + IPV6_HEADER_BYTES;
    const uint32_t l4_bytes = bytes - ETH_HEADER_BYTES - IPV6_HEADER_BYTES;
    const uint8_t protocol = ip[IPV6_NEXT_HEADER_AT];
    const uint32_t checksum_at = protocol == IP_PROTOCOL_TCP   ? TCP_CHECKSUM_AT
                                 : protocol == IP_PROTOCOL_UDP ? UDP_CHECKSUM_AT
                                                               : ICMP_CHECKSUM_AT;

    ip[0] = (uint8_t)(0x60 | (ip[0] & 15));
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)l4_bytes);
    if ((ip[IPV6_SOURCE_AT] & 1) != 0)
        memcpy(ip + IPV6_SOURCE_AT, guest_ip6, 16);
    if (checksum_at + 2 > l4_bytes || (protocol != IP_PROTOCOL_TCP && protocol != IP_PROTOCOL_UDP &&
                                       protocol != IP_PROTOCOL_ICMPV6))
        return;
    if (protocol == IP_PROTOCOL_UDP)
        be16_put(l4 + UDP_LENGTH_AT, (uint16_t)l4_bytes);
    be16_put(l4 + checksum_at, 0);
    be16_put(
        l4 + checksum_at,
        checksum_finish(checksum_add(
            checksum_pseudo_ipv6(ip + IPV6_SOURCE_AT, ip + IPV6_DESTINATION_AT, protocol, l4_bytes),
            l4, l4_bytes)));
}

/* Makes the frame one that the first checks let pass. */
static void put_right(uint8_t *frame, uint32_t bytes)
{
    uint8_t *ip = frame + ETH_HEADER_BYTES;
    uint32_t header_bytes;

    if (bytes < ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
        return;
    memcpy(frame, gateway_mac, 6);
    memcpy(frame + 6, guest_mac, 6);
    if (be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_IPV6 &&
        bytes >= ETH_HEADER_BYTES + IPV6_HEADER_BYTES) {
        put_right6(frame, bytes);
        return;
    }
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    header_bytes = (ip[0] & 15u) * 4;
    if (header_bytes < IPV4_HEADER_BYTES || header_bytes > bytes - ETH_HEADER_BYTES)
        header_bytes = IPV4_HEADER_BYTES;
    ip[0] = (uint8_t)(0x40 | header_bytes / 4);
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(bytes - ETH_HEADER_BYTES));
    if ((ip[IPV4_SOURCE_AT] & 1) != 0)
        memcpy(ip + IPV4_SOURCE_AT, guest_ip, 4);
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, header_bytes)));

    uint8_t *l4 = ip + header_bytes;
    const uint32_t l4_bytes = bytes - ETH_HEADER_BYTES - header_bytes;
    const uint8_t protocol = ip[IPV4_PROTOCOL_AT];
    const uint32_t pseudo = checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                 protocol, (uint16_t)l4_bytes);

    if (protocol == IP_PROTOCOL_TCP && l4_bytes >= TCP_HEADER_BYTES) {
        be16_put(l4 + TCP_CHECKSUM_AT, 0);
        be16_put(l4 + TCP_CHECKSUM_AT, checksum_finish(checksum_add(pseudo, l4, l4_bytes)));
    } else if (protocol == IP_PROTOCOL_UDP && l4_bytes >= UDP_HEADER_BYTES) {
        be16_put(l4 + UDP_LENGTH_AT, (uint16_t)l4_bytes);
        be16_put(l4 + UDP_CHECKSUM_AT, 0);
    } else if (protocol == IP_PROTOCOL_ICMP && l4_bytes >= ICMP_HEADER_BYTES) {
        be16_put(l4 + ICMP_CHECKSUM_AT, 0);
        be16_put(l4 + ICMP_CHECKSUM_AT, checksum_finish(checksum_add(0, l4, l4_bytes)));
    }
}

static void batch_flush(struct world *world, struct nat *nat, uint64_t now_us)
{
    nat_flush(nat, now_us);
    for (uint32_t i = 0; i < world->batch_count; i++)
        free(world->batch[i]);
    world->batch_count = 0;
}

static void step_frame(struct world *world, struct nat *nat, const uint8_t *data, uint32_t bytes,
                       bool right, uint64_t now_us)
{
    uint8_t *frame = malloc(bytes != 0 ? bytes : 1);

    if (bytes != 0)
        memcpy(frame, data, bytes);
    if (right)
        put_right(frame, bytes);
    world->batch[world->batch_count++] = frame;
    nat_input(nat, frame, bytes, now_us);
    if (world->batch_count == BATCH_MAX)
        batch_flush(world, nat, now_us);
}

static void step_event(struct world *world, struct nat *nat, uint32_t which, const uint8_t *data,
                       uint32_t bytes, uint64_t now_us)
{
    if (world->socket_count == 0 || bytes == 0)
        return;
    struct fuzz_socket *socket = &world->sockets[which % world->socket_count];

    if (socket->in_bytes < 1u << 20)
        socket->in_bytes += (bytes - 1) * (socket->tcp ? 64 : 1);
    socket->eof |= (data[0] & 0x10) != 0;
    if ((data[0] & NAT_SOCKET_FAILED) != 0)
        socket->error = (data[0] & 0x20) != 0 ? ECONNREFUSED : EHOSTUNREACH;
    nat_socket_event(nat, socket->cookie, data[0] & 15u, now_us);
}

static void step_dns(struct world *world, struct nat *nat, uint8_t which, const uint8_t *data,
                     uint32_t bytes, uint64_t now_us)
{
    uint8_t *exact = malloc(bytes != 0 ? bytes : 1);

    if (bytes != 0)
        memcpy(exact, data, bytes);
    nat_dns_answer(nat, world->queries[which], bytes == 0 ? NULL : exact, bytes, -ETIMEDOUT,
                   now_us);
    free(exact);
}

static void run(struct world *world, struct nat *nat, const uint8_t *data, size_t bytes)
{
    uint64_t now_us = 1000000;

    for (uint32_t steps = 0; bytes >= 4 && steps < STEPS_MAX; steps++) {
        const uint8_t argument = data[1];
        const uint32_t wanted = (uint32_t)(data[2] << 8 | data[3]);
        const uint32_t length = wanted <= bytes - 4 ? wanted : (uint32_t)(bytes - 4);
        const uint8_t *body = data + 4;

        switch (data[0] % STEP_COUNT) {
        case STEP_RAW_FRAME:
        case STEP_IP_FRAME:
            step_frame(world, nat, body, length, data[0] % STEP_COUNT == STEP_IP_FRAME, now_us);
            break;
        case STEP_TIME:
            now_us += (uint64_t)argument << wanted % 20;
            batch_flush(world, nat, now_us);
            nat_tick(nat, now_us);
            break;
        case STEP_EVENT:
            step_event(world, nat, argument, body, length, now_us);
            break;
        case STEP_DNS_ANSWER:
            step_dns(world, nat, argument, body, length, now_us);
            break;
        case STEP_QUEUE:
            world->room = argument == 255 ? UINT32_MAX : argument;
            nat_writable(nat, now_us);
            break;
        case STEP_HOST:
            world->mood = argument;
            break;
        default:
            batch_flush(world, nat, now_us);
            break;
        }
        if (data[0] % STEP_COUNT == STEP_TIME || data[0] % STEP_COUNT >= STEP_QUEUE) {
            data += 4; /* these have no body */
            bytes -= 4;
        } else {
            data += 4 + length;
            bytes -= 4 + length;
        }
    }
    batch_flush(world, nat, now_us);
    nat_tick(nat, now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct world world;
    static struct nat_metrics metrics;
    char why[64];
    struct policy *policy = policy_new(&(struct policy_options){0}, why, sizeof why);
    static const struct nat_dns_override overrides[] = {{"a", {203, 0, 113, 1}}};
    struct nat_config config = {
        .policy = policy,
        .gateway_mac = {2, 0, 0, 0, 0, 1},
        .network = {10, 0, 2, 0},
        .gateway = {10, 0, 2, 2},
        .guest = {10, 0, 2, 15},
        .netmask = {255, 255, 255, 0},
        .ipv6 = true,
        .lan_mtu = 1500,
        .frame_max_bytes = FRAME_MAX_BYTES,
        .tcp_max = 8,
        .udp_max = 8,
        .udp_idle_ms = 60000,
        .tcp_connect_timeout_ms = 5000,
        .tcp_early_bytes = 4096,
        .tcp_window_max_bytes = 1u << 20,
        .tcp_keepalive_ms = 600000,
        .dns_pending_max = 8,
        .dns_cache_max = 8,
        .dns_timeout_ms = 2000,
        .dns_default_ttl_s = 60,
        .dns_max_ttl_s = 300,
        .dns_overrides = overrides,
        .dns_override_count = 1,
    };
    const struct nat_host host = {
        .context = &world,
        .frame_reserve = host_reserve,
        .frame_commit = host_commit,
        .tcp_connect = host_tcp_connect,
        .udp_connect = host_udp_connect,
        .ping_connect = host_udp_connect, /* the same, as far as the NAT can tell */
        .tcp_peek = host_tcp_peek,
        .tcp_consume = host_tcp_consume,
        .tcp_send = host_tcp_send,
        .tcp_send_space = host_tcp_send_space,
        .tcp_shutdown_write = host_tcp_shutdown_write,
        .udp_send = host_udp_send,
        .udp_receive = host_udp_receive,
        .error = host_error,
        .close = host_close,
        .dns_query = host_dns_query,
        .random = host_random,
    };

    memset(&world, 0, sizeof world);
    memset(&metrics, 0, sizeof metrics);
    world.room = UINT32_MAX;
    struct nat *nat = nat_open(&config, &host, &metrics, 1000000);

    run(&world, nat, data, bytes);
    nat_close(nat);
    for (uint32_t i = 0; i < world.socket_count; i++)
        CHECK(!world.sockets[i].open);
    CHECK(metrics.tcp_conns_active == 0 && metrics.udp_flows_active == 0);
    reserved_free(&world);
    policy_free(policy);
    return 0;
}
