#include "tcp_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t guest_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t gateway_mac[6] = {0x02, 0, 0, 0, 0, 0x01};

uint8_t world_pattern(uint32_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) * 7 + (offset >> 16));
}

static uint8_t *frame_at(const struct world *world, uint8_t *frames, uint32_t at)
{
    return frames + (size_t)at * world->frame_bytes;
}

/* ---- struct nat_host ---- */

static uint32_t frame_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct world *world = context;
    uint32_t given = 0;

    assert_int_equal(world->reserved, 0); /* one reservation at a time */
    assert_true(bytes <= world->frame_max_bytes);
    if (count > world->queue_room) {
        count = world->queue_room;
        world->refused_frames = true;
    }
    for (; given < count && world->frame_count + given < WORLD_FRAMES; given++) {
        const uint32_t at = (world->frame_first + world->frame_count + given) % WORLD_FRAMES;
        places[given] = frame_at(world, world->frames, at);
        world->frame_lengths[at] = bytes;
    }
    world->refused_frames |= given < count;
    world->reserved = given;
    world->reserved_bytes = bytes;
    return given;
}

static void frame_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct world *world = context;

    assert_true(count <= world->reserved);
    if (count > 0) {
        assert_true(last_bytes <= world->reserved_bytes);
        world->frame_lengths[(world->frame_first + world->frame_count + count - 1) % WORLD_FRAMES] =
            last_bytes;
    }
    world->frame_count += count;
    world->queue_room -= count;
    world->reserved = 0;
}

static struct world_socket *socket_at(struct world *world, int socket)
{
    assert_in_range(socket, 0, WORLD_SOCKETS - 1);
    assert_true(world->sockets[socket].is_open);
    return &world->sockets[socket];
}

static int tcp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    struct world *world = context;

    for (int i = 0; i < WORLD_SOCKETS; i++) {
        struct world_socket *socket = &world->sockets[i];

        if (socket->is_open)
            continue;
        free(socket->in);
        free(socket->out);
        *socket = (struct world_socket){
            .is_open = true, .cookie = cookie, .remote = *remote, .send_room = 1 << 20};
        world->connects++;
        return i;
    }
    return -EMFILE;
}

static int udp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    (void)context, (void)cookie, (void)remote;
    return -EMFILE;
}

static ssize_t tcp_peek(void *context, int handle, uint32_t offset, const struct iovec *to,
                        int to_count)
{
    struct world_socket *socket = socket_at(context, handle);
    size_t at = socket->in_at + offset;
    ssize_t total = 0;

    if (socket->broken != 0)
        return -socket->broken;
    assert_true(at <= socket->in_bytes); /* never beyond what there is */
    for (int i = 0; i < to_count; i++) {
        const size_t left = socket->in_bytes - at;
        const size_t part = to[i].iov_len < left ? to[i].iov_len : left;

        if (part > 0)
            memcpy(to[i].iov_base, socket->in + at, part);
        at += part;
        total += (ssize_t)part;
    }
    return total > 0 ? total : socket->in_eof ? 0 : -EAGAIN;
}

static int tcp_consume(void *context, int handle, uint32_t bytes)
{
    struct world_socket *socket = socket_at(context, handle);

    assert_true(bytes <= socket->in_bytes - socket->in_at);
    socket->in_at += bytes;
    return 0;
}

static ssize_t tcp_send(void *context, int handle, const struct iovec *from, int from_count)
{
    struct world_socket *socket = socket_at(context, handle);
    ssize_t total = 0;

    assert_true(socket->is_connected);
    assert_false(socket->is_shut);
    if (socket->broken != 0)
        return -socket->broken;
    for (int i = 0; i < from_count; i++) {
        const size_t part =
            from[i].iov_len < socket->send_room ? from[i].iov_len : socket->send_room;

        if (socket->out_bytes + part > socket->out_room) {
            socket->out_room = (socket->out_bytes + part) * 2;
            socket->out = realloc(socket->out, socket->out_room);
            assert_non_null(socket->out);
        }
        if (part > 0)
            memcpy(socket->out + socket->out_bytes, from[i].iov_base, part);
        socket->out_bytes += part;
        socket->send_room -= (uint32_t)part;
        total += (ssize_t)part;
        if (part < from[i].iov_len) {
            socket->refused_send = true;
            break;
        }
    }
    return total > 0 ? total : -EAGAIN;
}

static uint32_t tcp_send_space(void *context, int handle)
{
    return socket_at(context, handle)->send_room;
}

static int tcp_shutdown_write(void *context, int handle)
{
    struct world_socket *socket = socket_at(context, handle);

    assert_false(socket->is_shut);
    socket->is_shut = true;
    return socket->broken != 0 ? -socket->broken : 0;
}

static ssize_t udp_send(void *context, int socket, const uint8_t *data, uint32_t bytes)
{
    (void)context, (void)socket, (void)data, (void)bytes;
    return -EBADF;
}

static ssize_t udp_receive(void *context, int socket, uint8_t *data, uint32_t max_bytes)
{
    (void)context, (void)socket, (void)data, (void)max_bytes;
    return -EBADF;
}

static int socket_error(void *context, int handle)
{
    return socket_at(context, handle)->error;
}

static void socket_close(void *context, int handle, bool reset)
{
    struct world_socket *socket = socket_at(context, handle);

    socket->is_open = false;
    socket->was_closed = !reset;
    socket->was_reset = reset;
}

static int dns_query(void *context, uint32_t query, const char *name, uint16_t type)
{
    (void)context, (void)query, (void)name, (void)type;
    return -ENOSYS;
}

static uint64_t random_isn(void *context)
{
    return ((struct world *)context)->nat_isn;
}

/* ---- life ---- */

void world_open(struct world *world, uint32_t nat_isn, void (*configure)(struct nat_config *))
{
    const struct policy_options options = {0};
    char why[128];

    memset(world, 0, sizeof *world);
    world->policy = policy_new(&options, why, sizeof why);
    assert_non_null(world->policy);
    world->config = (struct nat_config){
        .policy = world->policy,
        .network = {10, 0, 2, 0},
        .gateway = {10, 0, 2, 2},
        .guest = {10, 0, 2, 15},
        .netmask = {255, 255, 255, 0},
        .lan_mtu = 1500,
        .frame_max_bytes = 2048,
        .tcp_max = 64,
        .udp_max = 16,
        .udp_idle_ms = 60000,
        .tcp_connect_timeout_ms = 5000,
        .tcp_early_bytes = 262144,
        .tcp_window_max_bytes = 4 << 20,
        .dns_pending_max = 16,
        .dns_cache_max = 16,
        .dns_timeout_ms = 2000,
        .dns_default_ttl_s = 60,
        .dns_max_ttl_s = 300,
    };
    memcpy(world->config.gateway_mac, gateway_mac, 6);
    if (configure != NULL)
        configure(&world->config);
    world->frame_max_bytes = world->config.frame_max_bytes;
    world->frame_bytes = WORLD_FRAME_BYTES;
    if (world->config.lan_mtu > WORLD_FRAME_BYTES) /* a later HELLO may raise the limit */
        world->frame_bytes = ETH_HEADER_BYTES + world->config.lan_mtu;
    world->frames = calloc(WORLD_FRAMES, world->frame_bytes);
    world->frame_lengths = calloc(WORLD_FRAMES, sizeof *world->frame_lengths);
    world->sent = calloc(WORLD_FRAMES, world->frame_bytes);
    assert_true(world->frames != NULL && world->frame_lengths != NULL && world->sent != NULL);
    world->queue_room = WORLD_FRAMES;
    world->now_us = 1000000;
    world->nat_isn = nat_isn;

    const struct nat_host host = {
        .context = world,
        .frame_reserve = frame_reserve,
        .frame_commit = frame_commit,
        .tcp_connect = tcp_connect,
        .udp_connect = udp_connect,
        .tcp_peek = tcp_peek,
        .tcp_consume = tcp_consume,
        .tcp_send = tcp_send,
        .tcp_send_space = tcp_send_space,
        .tcp_shutdown_write = tcp_shutdown_write,
        .udp_send = udp_send,
        .udp_receive = udp_receive,
        .error = socket_error,
        .close = socket_close,
        .dns_query = dns_query,
        .random = random_isn,
    };
    world->nat = nat_open(&world->config, &host, &world->metrics, world->now_us);
    assert_non_null(world->nat);
}

void world_close(struct world *world)
{
    nat_close(world->nat);
    assert_int_equal(world->metrics.tcp_conns_active, 0);
    for (int i = 0; i < WORLD_SOCKETS; i++) {
        assert_false(world->sockets[i].is_open); /* every socket is given back */
        free(world->sockets[i].in);
        free(world->sockets[i].out);
    }
    policy_free(world->policy);
    free(world->frames);
    free(world->frame_lengths);
    free(world->sent);
}

void world_advance(struct world *world, uint64_t us)
{
    const uint64_t until_us = world->now_us + us;

    for (;;) {
        const uint64_t next_us = nat_tick(world->nat, world->now_us);

        assert_true(next_us > world->now_us); /* or the proxy would spin */
        if (next_us > until_us)
            break;
        world->now_us = next_us;
    }
    world->now_us = until_us;
    nat_tick(world->nat, until_us);
}

/* ---- the guest's side ---- */

void world_guest_sends(struct world *world, const struct world_segment *segment)
{
    assert_true(world->sent_count < WORLD_FRAMES);
    uint8_t *frame = frame_at(world, world->sent, world->sent_count++);
    uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;
    const uint32_t header_bytes = TCP_HEADER_BYTES + segment->options_bytes;
    const uint32_t tcp_bytes = header_bytes + segment->payload_bytes;

    memset(frame, 0, ETH_HEADER_BYTES + IPV4_HEADER_BYTES + header_bytes);
    memcpy(frame, gateway_mac, 6);
    memcpy(frame + 6, guest_mac, 6);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    ip[0] = 0x45;
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + tcp_bytes));
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    memcpy(ip + IPV4_SOURCE_AT, world->config.guest, 4);
    memcpy(ip + IPV4_DESTINATION_AT, segment->remote, 4);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    be16_put(tcp + TCP_SOURCE_AT, segment->guest_port);
    be16_put(tcp + TCP_DESTINATION_AT, segment->remote_port);
    be32_put(tcp + TCP_SEQUENCE_AT, segment->seq);
    be32_put(tcp + TCP_ACKNOWLEDGMENT_AT, segment->ack);
    tcp[TCP_DATA_OFFSET_AT] = (uint8_t)(header_bytes / 4 << 4);
    tcp[TCP_FLAGS_AT] = segment->flags;
    be16_put(tcp + TCP_WINDOW_AT, segment->window);
    if ((segment->flags & TCP_URG) != 0)
        be16_put(tcp + TCP_URGENT_AT, 0xffff);
    memcpy(tcp + TCP_HEADER_BYTES, segment->options, segment->options_bytes);
    if (segment->payload_bytes > 0)
        memcpy(tcp + header_bytes, segment->payload, segment->payload_bytes);
    const uint32_t sum = checksum_pseudo_ipv4(world->config.guest, segment->remote, IP_PROTOCOL_TCP,
                                              (uint16_t)tcp_bytes);
    be16_put(tcp + TCP_CHECKSUM_AT, checksum_finish(checksum_add(sum, tcp, tcp_bytes)));
    nat_input(world->nat, frame, ETH_HEADER_BYTES + IPV4_HEADER_BYTES + tcp_bytes, world->now_us);
}

void world_flush(struct world *world)
{
    nat_flush(world->nat, world->now_us);
    memset(world->sent, 0xdd, (size_t)world->sent_count * world->frame_bytes); /* they vanish */
    world->sent_count = 0;
}

bool world_guest_gets(struct world *world, struct world_segment *segment)
{
    if (world->frame_count == 0)
        return false;
    const uint8_t *frame = frame_at(world, world->frames, world->frame_first);
    const uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;
    const uint32_t bytes = world->frame_lengths[world->frame_first];
    const uint32_t tcp_bytes = bytes - ETH_HEADER_BYTES - IPV4_HEADER_BYTES;

    assert_memory_equal(frame, guest_mac, 6);
    assert_memory_equal(frame + 6, gateway_mac, 6);
    assert_int_equal(be16_get(frame + ETH_TYPE_AT), ETH_TYPE_IPV4);
    assert_int_equal(ip[0], 0x45);
    assert_int_equal(be16_get(ip + IPV4_TOTAL_LENGTH_AT), bytes - ETH_HEADER_BYTES);
    assert_int_equal(ip[IPV4_PROTOCOL_AT], IP_PROTOCOL_TCP);
    assert_int_equal(checksum_fold(checksum_add(0, ip, IPV4_HEADER_BYTES)), 0xffff);
    assert_memory_equal(ip + IPV4_DESTINATION_AT, world->config.guest, 4);
    const uint32_t sum = checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                              IP_PROTOCOL_TCP, (uint16_t)tcp_bytes);
    assert_int_equal(checksum_fold(checksum_add(sum, tcp, tcp_bytes)), 0xffff);

    const uint32_t header_bytes = 4u * (tcp[TCP_DATA_OFFSET_AT] >> 4);
    *segment = (struct world_segment){
        .guest_port = be16_get(tcp + TCP_DESTINATION_AT),
        .remote_port = be16_get(tcp + TCP_SOURCE_AT),
        .seq = be32_get(tcp + TCP_SEQUENCE_AT),
        .ack = be32_get(tcp + TCP_ACKNOWLEDGMENT_AT),
        .flags = tcp[TCP_FLAGS_AT],
        .window = be16_get(tcp + TCP_WINDOW_AT),
        .options_bytes = header_bytes - TCP_HEADER_BYTES,
        .payload = tcp + header_bytes,
        .payload_bytes = tcp_bytes - header_bytes,
    };
    memcpy(segment->remote, ip + IPV4_SOURCE_AT, 4);
    memcpy(segment->options, tcp + TCP_HEADER_BYTES, segment->options_bytes);
    world->frame_first = (world->frame_first + 1) % WORLD_FRAMES;
    world->frame_count--;
    return true;
}

/* ---- the remote's side ---- */

void world_event(struct world *world, struct world_socket *socket, uint32_t events)
{
    if (socket->is_open)
        nat_socket_event(world->nat, socket->cookie, events, world->now_us);
}

void world_remote_sends(struct world *world, struct world_socket *socket, const uint8_t *data,
                        size_t bytes)
{
    if (socket->in_bytes + bytes > socket->in_room) {
        socket->in_room = (socket->in_bytes + bytes) * 2;
        socket->in = realloc(socket->in, socket->in_room);
        assert_non_null(socket->in);
    }
    memcpy(socket->in + socket->in_bytes, data, bytes);
    socket->in_bytes += bytes;
    world_event(world, socket, NAT_SOCKET_READABLE);
}

void world_room(struct world *world, struct world_socket *socket, uint32_t bytes)
{
    socket->send_room = bytes;
    if (bytes > 0 && socket->refused_send) {
        socket->refused_send = false;
        world_event(world, socket, NAT_SOCKET_WRITABLE);
    }
}

void world_queue(struct world *world, uint32_t frames)
{
    world->queue_room = frames;
    if (frames > 0 && world->refused_frames) {
        world->refused_frames = false;
        nat_writable(world->nat, world->now_us);
    }
}

void world_limit(struct world *world, uint32_t frame_max_bytes)
{
    world->frame_max_bytes = frame_max_bytes;
    nat_frame_limit(world->nat, frame_max_bytes);
}
