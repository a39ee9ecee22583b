#define _GNU_SOURCE
#include "nat_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const uint8_t world_guest_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
const uint8_t world_gateway_mac[6] = {2, 0, 0, 0, 0, 1};
const uint8_t world_guest[4] = {10, 0, 2, 15};
const uint8_t world_gateway[4] = {10, 0, 2, 2};
const uint8_t world_server[4] = {93, 184, 216, 34};

static void bytes_add(struct world_bytes *to, const void *data, size_t bytes)
{
    if (to->bytes + bytes > to->room) {
        to->room = (to->bytes + bytes) * 2;
        to->data = realloc(to->data, to->room);
        assert_non_null(to->data);
    }
    if (bytes != 0)
        memcpy(to->data + to->bytes, data, bytes);
    to->bytes += bytes;
}

static void bytes_drop(struct world_bytes *from, size_t bytes)
{
    assert_true(bytes <= from->bytes);
    from->bytes -= bytes;
    if (from->bytes != 0)
        memmove(from->data, from->data + bytes, from->bytes);
}

/* ---- struct nat_host ---- */

static void reserved_free(struct nat_world *world)
{
    for (uint32_t i = 0; i < world->reserved_count; i++)
        free(world->reserved[i]);
    free(world->reserved);
    world->reserved = NULL;
    world->reserved_count = 0;
}

static uint32_t host_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct nat_world *world = context;

    assert_true(bytes <= world->config.frame_max_bytes);
    reserved_free(world);
    if (count > world->frame_room)
        count = world->frame_room;
    world->reserved = calloc(count + 1u, sizeof *world->reserved);
    for (uint32_t i = 0; i < count; i++) {
        places[i] = world->reserved[i] = malloc(bytes); /* exactly: sanitizers see a byte too far */
        memset(places[i], 0xa5, bytes);
    }
    world->reserved_count = count;
    world->reserved_bytes = bytes;
    return count;
}

static void host_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct nat_world *world = context;

    assert_true(count <= world->reserved_count && last_bytes <= world->reserved_bytes);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(world->frame_count < WORLD_FRAMES_MAX);
        world->frames[world->frame_count++] = (struct world_frame){
            world->reserved[i],
            i + 1 == count ? last_bytes : world->reserved_bytes,
        };
        world->reserved[i] = NULL;
    }
    if (world->frame_room != UINT32_MAX)
        world->frame_room -= count;
    reserved_free(world);
}

static int host_connect(struct nat_world *world, uint32_t cookie, const struct nat_endpoint *remote,
                        bool tcp)
{
    if (world->connect_result < 0)
        return world->connect_result;
    assert_true(world->socket_count < WORLD_SOCKETS_MAX);
    world->sockets[world->socket_count] = (struct world_socket){
        .open = true,
        .tcp = tcp,
        .connected = !tcp,
        .cookie = cookie,
        .remote = *remote,
        .send_room = UINT32_MAX,
    };
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

static int host_ping_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return host_connect(context, cookie, remote, false);
}

static struct world_socket *host_socket(void *context, int socket, bool tcp)
{
    struct nat_world *world = context;

    assert_true(socket >= 0 && (uint32_t)socket < world->socket_count);
    struct world_socket *found = &world->sockets[socket];

    assert_true(found->open);
    assert_int_equal(found->tcp, tcp);
    return found;
}

static ssize_t host_tcp_peek(void *context, int number, uint32_t offset, const struct iovec *to,
                             int to_count)
{
    struct world_socket *socket = host_socket(context, number, true);
    size_t at = offset;

    if (socket->error != 0)
        return -socket->error;
    assert_true(offset <= socket->in.bytes);
    for (int i = 0; i < to_count; i++) {
        const size_t left = socket->in.bytes - at;
        const size_t part = left < to[i].iov_len ? left : to[i].iov_len;

        if (part != 0)
            memcpy(to[i].iov_base, socket->in.data + at, part);
        at += part;
    }
    if (at != offset)
        return (ssize_t)(at - offset);
    return socket->eof ? 0 : -EAGAIN;
}

static int host_tcp_consume(void *context, int number, uint32_t bytes)
{
    struct world_socket *socket = host_socket(context, number, true);

    bytes_drop(&socket->in, bytes);
    socket->consumed += bytes;
    return 0;
}

static ssize_t host_tcp_send(void *context, int number, const struct iovec *from, int from_count)
{
    struct world_socket *socket = host_socket(context, number, true);
    ssize_t total = 0;
    size_t wanted = 0;

    if (socket->error != 0)
        return -socket->error;
    assert_true(socket->connected && !socket->write_closed);
    for (int i = 0; i < from_count; i++) {
        const size_t part =
            from[i].iov_len < socket->send_room ? from[i].iov_len : socket->send_room;

        wanted += from[i].iov_len;
        bytes_add(&socket->out, from[i].iov_base, part);
        if (socket->send_room != UINT32_MAX)
            socket->send_room -= (uint32_t)part;
        total += (ssize_t)part;
    }
    return total == 0 && wanted != 0 ? -EAGAIN : total;
}

static uint32_t host_tcp_send_space(void *context, int number)
{
    const uint32_t room = host_socket(context, number, true)->send_room;

    return room != UINT32_MAX ? room : 4u << 20;
}

static int host_tcp_shutdown_write(void *context, int number)
{
    host_socket(context, number, true)->write_closed = true;
    return 0;
}

static ssize_t host_udp_send(void *context, int number, const uint8_t *data, uint32_t bytes)
{
    struct nat_world *world = context;
    struct world_socket *socket = host_socket(context, number, false);

    if (socket->error != 0) {
        const int error = socket->error;

        socket->error = 0;
        return -error;
    }
    if (world->udp_send_result < 0)
        return world->udp_send_result;
    bytes_add(&socket->out, &bytes, sizeof bytes);
    bytes_add(&socket->out, data, bytes);
    return (ssize_t)bytes;
}

static int32_t take_datagram(struct world_bytes *from, uint8_t *data, uint32_t room)
{
    uint32_t bytes;

    if (from->bytes < sizeof bytes)
        return -1;
    memcpy(&bytes, from->data, sizeof bytes);
    const uint32_t part = bytes < room ? bytes : room;

    memcpy(data, from->data + sizeof bytes, part);
    bytes_drop(from, sizeof bytes + bytes);
    return (int32_t)part;
}

static ssize_t host_udp_receive(void *context, int number, uint8_t *data, uint32_t max_bytes)
{
    struct world_socket *socket = host_socket(context, number, false);

    if (socket->error != 0) {
        const int error = socket->error;

        socket->error = 0;
        return -error;
    }
    const int32_t bytes = take_datagram(&socket->in, data, max_bytes);

    return bytes < 0 ? -EAGAIN : bytes;
}

/* A cone's socket: `remote` is whom it sent to last, and whom the next datagram is from. */
static int host_udp_open(void *context, uint32_t cookie, uint8_t family)
{
    const struct nat_endpoint nobody = {.family = family};

    return host_connect(context, cookie, &nobody, false);
}

static ssize_t host_udp_send_to(void *context, int number, const struct nat_endpoint *remote,
                                const uint8_t *data, uint32_t bytes)
{
    host_socket(context, number, false)->remote = *remote;
    return host_udp_send(context, number, data, bytes);
}

static ssize_t host_udp_receive_from(void *context, int number, struct nat_endpoint *remote,
                                     uint8_t *data, uint32_t max_bytes)
{
    *remote = host_socket(context, number, false)->remote;
    return host_udp_receive(context, number, data, max_bytes);
}

static int host_error(void *context, int number)
{
    struct nat_world *world = context;

    assert_true(number >= 0 && (uint32_t)number < world->socket_count);
    return world->sockets[number].error;
}

static void host_close(void *context, int number, bool reset)
{
    struct nat_world *world = context;

    assert_true(number >= 0 && (uint32_t)number < world->socket_count);
    assert_true(world->sockets[number].open); /* never twice */
    world->sockets[number].open = false;
    world->sockets[number].reset = reset;
}

static int host_dns_query(void *context, uint32_t query, const char *name, uint16_t type)
{
    struct nat_world *world = context;

    if (world->query_result < 0)
        return world->query_result;
    struct world_query *slot = &world->queries[world->query_count++ % WORLD_QUERIES_MAX];

    slot->handle = query;
    slot->type = type;
    assert_true(strlen(name) < sizeof slot->name);
    strcpy(slot->name, name);
    return 0;
}

static uint64_t host_random(void *context)
{
    struct nat_world *world = context;

    world->random_state = world->random_state * 6364136223846793005u + 1442695040888963407u;
    return world->random_state ^ world->random_state >> 33;
}

/* ---- opening, time ---- */

void world_init(struct nat_world *world)
{
    memset(world, 0, sizeof *world);
    world->config = (struct nat_config){
        .network = {10, 0, 2, 0},
        .netmask = {255, 255, 255, 0},
        .lan_mtu = 1500,
        .frame_max_bytes = 2048,
        .tcp_max = 1024,
        .udp_max = 256,
        .udp_idle_ms = 60000,
        .tcp_connect_timeout_ms = 5000,
        .tcp_early_bytes = 262144,
        .tcp_window_max_bytes = 4u << 20,
        .dns_pending_max = 1024,
        .dns_cache_max = 10000,
        .dns_timeout_ms = 2000,
        .dns_default_ttl_s = 60,
        .dns_max_ttl_s = 300,
    };
    memcpy(world->config.gateway_mac, world_gateway_mac, 6);
    memcpy(world->config.gateway, world_gateway, 4);
    memcpy(world->config.guest, world_guest, 4);
    world->host = (struct nat_host){
        .context = world,
        .frame_reserve = host_reserve,
        .frame_commit = host_commit,
        .tcp_connect = host_tcp_connect,
        .udp_connect = host_udp_connect,
        .ping_connect = host_ping_connect,
        .udp_open = host_udp_open,
        .udp_send_to = host_udp_send_to,
        .udp_receive_from = host_udp_receive_from,
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
    world->frames = calloc(WORLD_FRAMES_MAX, sizeof *world->frames);
    world->sockets = calloc(WORLD_SOCKETS_MAX, sizeof *world->sockets);
    world->frame_room = UINT32_MAX;
    world->now_us = 1000000;
    world->random_state = 42;
}

void world_start(struct nat_world *world)
{
    char why[128];

    world->config.policy = policy_new(&world->policy, why, sizeof why);
    assert_non_null(world->config.policy);
    world->nat = nat_open(&world->config, &world->host, &world->metrics, world->now_us);
    assert_non_null(world->nat);
    world->deadline_us = nat_tick(world->nat, world->now_us);
}

void world_open(struct nat_world *world)
{
    world_init(world);
    world_start(world);
    world_announce(world);
}

void world_close(struct nat_world *world)
{
    nat_close(world->nat);
    for (uint32_t i = 0; i < world->socket_count; i++) {
        assert_false(world->sockets[i].open); /* everything is released when the tunnel ends */
        free(world->sockets[i].in.data);
        free(world->sockets[i].out.data);
    }
    for (uint32_t i = 0; i < world->frame_count; i++)
        free(world->frames[i].data);
    for (uint32_t i = 0; i < world->batch_count; i++)
        free(world->batch[i]);
    reserved_free(world);
    free(world->frames);
    free(world->sockets);
    policy_free((struct policy *)(uintptr_t)world->config.policy);
}

static void world_tick(struct nat_world *world)
{
    world->deadline_us = nat_tick(world->nat, world->now_us);
}

void world_advance(struct nat_world *world, uint64_t us)
{
    const uint64_t end = world->now_us + us;

    world_tick(world);
    for (uint32_t rounds = 0; world->deadline_us <= end; rounds++) {
        assert_true(rounds < 1000000); /* a timer that never moves on */
        if (world->deadline_us > world->now_us)
            world->now_us = world->deadline_us;
        world_tick(world);
    }
    world->now_us = end;
}

/* ---- the guest sends ---- */

void world_input_batched(struct nat_world *world, const uint8_t *frame, uint32_t bytes)
{
    if (world->batch_count == sizeof world->batch / sizeof world->batch[0])
        world_flush(world);
    uint8_t *copy = malloc(bytes != 0 ? bytes : 1); /* exactly: sanitizers see a byte too far */

    if (bytes != 0)
        memcpy(copy, frame, bytes);
    world->batch[world->batch_count++] = copy;
    nat_input(world->nat, copy, bytes, world->now_us);
}

void world_flush(struct nat_world *world)
{
    nat_flush(world->nat, world->now_us);
    for (uint32_t i = 0; i < world->batch_count; i++)
        free(world->batch[i]);
    world->batch_count = 0;
    world_tick(world);
}

void world_input(struct nat_world *world, const uint8_t *frame, uint32_t bytes)
{
    world_input_batched(world, frame, bytes);
    world_flush(world);
}

uint32_t world_hex(const char *hex, uint8_t *to, uint32_t room)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t count = 0;

    while (*(hex += strspn(hex, " \n")) != '\0') {
        const char *high = strchr(digits, hex[0]);
        const char *low = hex[1] != '\0' ? strchr(digits, hex[1]) : NULL;

        assert_true(high != NULL && low != NULL && count < room);
        to[count++] = (uint8_t)((high - digits) * 16 + (low - digits));
        hex += 2;
    }
    return count;
}

void world_input_hex(struct nat_world *world, const char *hex)
{
    uint8_t frame[4096];

    world_input(world, frame, world_hex(hex, frame, sizeof frame));
}

void world_announce(struct nat_world *world)
{
    world_input_hex(world, "ffffffffffff 525400123456 0806 0001080006040001 525400123456 0a00020f"
                           "000000000000 0a00020f");
}

uint32_t world_build_ipv4(struct nat_world *world, uint8_t *frame, const uint8_t *source,
                          const uint8_t *destination, uint8_t protocol, const uint8_t *l4,
                          uint32_t l4_bytes)
{
    uint8_t *ip = frame + ETH_HEADER_BYTES;

    memcpy(frame, world_gateway_mac, 6);
    memcpy(frame + 6, world_guest_mac, 6);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    memset(ip, 0, IPV4_HEADER_BYTES);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + l4_bytes));
    be16_put(ip + IPV4_ID_AT, ++world->next_ip_id);
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = protocol;
    memcpy(ip + IPV4_SOURCE_AT, source, 4);
    memcpy(ip + IPV4_DESTINATION_AT, destination, 4);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    if (l4_bytes != 0)
        memcpy(ip + IPV4_HEADER_BYTES, l4, l4_bytes);
    return ETH_HEADER_BYTES + IPV4_HEADER_BYTES + l4_bytes;
}

void world_send_ipv4(struct nat_world *world, const uint8_t *destination, uint8_t protocol,
                     const uint8_t *l4, uint32_t l4_bytes)
{
    uint8_t *frame = malloc(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + l4_bytes);

    world_input(world, frame,
                world_build_ipv4(world, frame, world_guest, destination, protocol, l4, l4_bytes));
    free(frame);
}

void world_send_udp(struct nat_world *world, uint16_t from, const uint8_t *to, uint16_t port,
                    const void *data, uint32_t bytes)
{
    const uint32_t udp_bytes = UDP_HEADER_BYTES + bytes;
    uint8_t *udp = calloc(1, udp_bytes);

    be16_put(udp + UDP_SOURCE_AT, from);
    be16_put(udp + UDP_DESTINATION_AT, port);
    be16_put(udp + UDP_LENGTH_AT, (uint16_t)udp_bytes);
    if (bytes != 0)
        memcpy(udp + UDP_HEADER_BYTES, data, bytes);
    be16_put(udp + UDP_CHECKSUM_AT,
             checksum_finish(checksum_add(
                 checksum_pseudo_ipv4(world_guest, to, IP_PROTOCOL_UDP, (uint16_t)udp_bytes), udp,
                 udp_bytes)));
    world_send_ipv4(world, to, IP_PROTOCOL_UDP, udp, udp_bytes);
    free(udp);
}

uint32_t world_build_tcp(struct nat_world *world, uint8_t *frame,
                         const struct world_segment *segment)
{
    const uint32_t header_bytes = TCP_HEADER_BYTES + (segment->options_bytes + 3) / 4 * 4;
    const uint32_t tcp_bytes = header_bytes + segment->bytes;
    uint8_t *tcp = calloc(1, tcp_bytes);

    be16_put(tcp + TCP_SOURCE_AT, segment->guest_port);
    be16_put(tcp + TCP_DESTINATION_AT, segment->remote_port);
    be32_put(tcp + TCP_SEQUENCE_AT, segment->sequence);
    be32_put(tcp + TCP_ACKNOWLEDGMENT_AT, segment->acknowledgment);
    tcp[TCP_DATA_OFFSET_AT] = (uint8_t)(header_bytes / 4 << 4);
    tcp[TCP_FLAGS_AT] = segment->flags;
    be16_put(tcp + TCP_WINDOW_AT, segment->window);
    if (segment->options_bytes != 0)
        memcpy(tcp + TCP_HEADER_BYTES, segment->options, segment->options_bytes);
    if (segment->bytes != 0)
        memcpy(tcp + header_bytes, segment->data, segment->bytes);
    be16_put(tcp + TCP_CHECKSUM_AT, checksum_finish(checksum_add(
                                        checksum_pseudo_ipv4(world_guest, segment->remote,
                                                             IP_PROTOCOL_TCP, (uint16_t)tcp_bytes),
                                        tcp, tcp_bytes)));
    const uint32_t bytes = world_build_ipv4(world, frame, world_guest, segment->remote,
                                            IP_PROTOCOL_TCP, tcp, tcp_bytes);

    free(tcp);
    return bytes;
}

void world_send_tcp(struct nat_world *world, const struct world_segment *segment)
{
    uint8_t *frame = malloc(65536 + 64);

    world_input(world, frame, world_build_tcp(world, frame, segment));
    free(frame);
}

/* ---- the guest receives ---- */

const struct world_frame *world_next(struct nat_world *world)
{
    if (world->frame_read == world->frame_count)
        return NULL;
    return &world->frames[world->frame_read++];
}

void world_skip_frames(struct nat_world *world)
{
    world->frame_read = world->frame_count;
}

void world_expect_hex(struct nat_world *world, const char *hex)
{
    uint8_t expected[4096];
    const uint32_t bytes = world_hex(hex, expected, sizeof expected);
    const struct world_frame *frame = world_next(world);

    assert_non_null(frame);
    assert_int_equal(frame->bytes, bytes);
    assert_memory_equal(frame->data, expected, bytes);
}

static struct world_packet parse_ipv4(const struct world_frame *frame)
{
    assert_non_null(frame);
    assert_true(frame->bytes >= ETH_HEADER_BYTES + IPV4_HEADER_BYTES);
    assert_memory_equal(frame->data + 6, world_gateway_mac, 6);
    assert_int_equal(be16_get(frame->data + ETH_TYPE_AT), ETH_TYPE_IPV4);
    const uint8_t *ip = frame->data + ETH_HEADER_BYTES;
    const uint32_t total = be16_get(ip + IPV4_TOTAL_LENGTH_AT);

    assert_int_equal(ip[0], 0x45);
    assert_int_equal(total, frame->bytes - ETH_HEADER_BYTES);
    assert_int_equal(checksum_fold(checksum_add(0, ip, IPV4_HEADER_BYTES)), 0xffff);
    struct world_packet packet = {
        .protocol = ip[IPV4_PROTOCOL_AT],
        .ttl = ip[IPV4_TTL_AT],
        .id = be16_get(ip + IPV4_ID_AT),
        .fragment = be16_get(ip + IPV4_FRAGMENT_AT),
        .payload = ip + IPV4_HEADER_BYTES,
        .bytes = total - IPV4_HEADER_BYTES,
    };

    memcpy(packet.source, ip + IPV4_SOURCE_AT, 4);
    memcpy(packet.destination, ip + IPV4_DESTINATION_AT, 4);
    return packet;
}

struct world_packet world_next_ipv4(struct nat_world *world)
{
    return parse_ipv4(world_next(world));
}

const uint8_t *world_expect_udp(struct nat_world *world, const uint8_t *source, uint16_t port,
                                uint16_t guest_port, uint32_t *bytes)
{
    const struct world_packet packet = world_next_ipv4(world);

    assert_int_equal(packet.protocol, IP_PROTOCOL_UDP);
    assert_memory_equal(packet.source, source, 4);
    assert_true(packet.bytes >= UDP_HEADER_BYTES);
    assert_int_equal(be16_get(packet.payload + UDP_SOURCE_AT), port);
    assert_int_equal(be16_get(packet.payload + UDP_DESTINATION_AT), guest_port);
    assert_int_equal(be16_get(packet.payload + UDP_LENGTH_AT), packet.bytes);
    assert_int_not_equal(be16_get(packet.payload + UDP_CHECKSUM_AT), 0);
    assert_int_equal(
        checksum_fold(checksum_add(checksum_pseudo_ipv4(packet.source, packet.destination,
                                                        IP_PROTOCOL_UDP, (uint16_t)packet.bytes),
                                   packet.payload, packet.bytes)),
        0xffff);
    *bytes = packet.bytes - UDP_HEADER_BYTES;
    return packet.payload + UDP_HEADER_BYTES;
}

bool world_next_tcp(struct nat_world *world, struct world_segment *segment)
{
    const struct world_frame *frame = world_next(world);

    if (frame == NULL)
        return false;
    const struct world_packet packet = parse_ipv4(frame);
    const uint8_t *tcp = packet.payload;

    assert_int_equal(packet.protocol, IP_PROTOCOL_TCP);
    assert_true(packet.bytes >= TCP_HEADER_BYTES);
    const uint32_t header_bytes = (uint32_t)(tcp[TCP_DATA_OFFSET_AT] >> 4) * 4;

    assert_true(header_bytes >= TCP_HEADER_BYTES && header_bytes <= packet.bytes);
    assert_memory_equal(frame->data, world_guest_mac, 6);
    assert_memory_equal(packet.destination, world_guest, 4);
    assert_int_equal(
        checksum_fold(checksum_add(checksum_pseudo_ipv4(packet.source, packet.destination,
                                                        IP_PROTOCOL_TCP, (uint16_t)packet.bytes),
                                   tcp, packet.bytes)),
        0xffff);
    *segment = (struct world_segment){
        .remote_port = be16_get(tcp + TCP_SOURCE_AT),
        .guest_port = be16_get(tcp + TCP_DESTINATION_AT),
        .sequence = be32_get(tcp + TCP_SEQUENCE_AT),
        .acknowledgment = be32_get(tcp + TCP_ACKNOWLEDGMENT_AT),
        .flags = tcp[TCP_FLAGS_AT],
        .window = be16_get(tcp + TCP_WINDOW_AT),
        .options = tcp + TCP_HEADER_BYTES,
        .options_bytes = header_bytes - TCP_HEADER_BYTES,
        .data = tcp + header_bytes,
        .bytes = packet.bytes - header_bytes,
    };
    memcpy(segment->remote, packet.source, 4);
    return true;
}

/* ---- the world's sockets ---- */

struct world_socket *world_socket_to(struct nat_world *world, const uint8_t *address, uint16_t port)
{
    for (uint32_t i = world->socket_count; i-- > 0;) {
        const struct nat_endpoint *remote = &world->sockets[i].remote;

        if (remote->port == port &&
            memcmp(remote->address, address, remote->family == 6 ? 16 : 4) == 0)
            return &world->sockets[i];
    }
    return NULL;
}

void world_event(struct nat_world *world, struct world_socket *socket, uint32_t events)
{
    nat_socket_event(world->nat, socket->cookie, events, world->now_us);
    world_tick(world);
}

void world_connected(struct nat_world *world, struct world_socket *socket)
{
    assert_non_null(socket);
    socket->connected = true;
    world_event(world, socket, NAT_SOCKET_CONNECTED | NAT_SOCKET_WRITABLE);
}

void world_socket_fails(struct nat_world *world, struct world_socket *socket, int error)
{
    assert_non_null(socket);
    socket->error = error;
    world_event(world, socket, NAT_SOCKET_FAILED);
}

void world_remote_sends(struct nat_world *world, struct world_socket *socket, const void *data,
                        uint32_t bytes)
{
    assert_non_null(socket);
    assert_true(socket->open);
    if (!socket->tcp)
        bytes_add(&socket->in, &bytes, sizeof bytes);
    bytes_add(&socket->in, data, bytes);
    world_event(world, socket, NAT_SOCKET_READABLE);
}

void world_remote_closes(struct nat_world *world, struct world_socket *socket)
{
    assert_non_null(socket);
    socket->eof = true;
    world_event(world, socket, NAT_SOCKET_READABLE);
}

int32_t world_take_datagram(struct world_socket *socket, uint8_t *data, uint32_t room)
{
    return take_datagram(&socket->out, data, room);
}

void world_answer_hex(struct nat_world *world, uint32_t handle, const char *hex)
{
    uint8_t wire[8192];
    const uint32_t bytes = world_hex(hex, wire, sizeof wire);
    uint8_t *exact = malloc(bytes != 0 ? bytes : 1);

    memcpy(exact, wire, bytes);
    nat_dns_answer(world->nat, handle, exact, bytes, 0, world->now_us);
    free(exact);
    world_tick(world);
}
