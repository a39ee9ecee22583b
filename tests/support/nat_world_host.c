#include "nat_world_host.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void world_bytes_add(struct world_bytes *to, const void *data, size_t bytes)
{
    if (to->at != 0 && to->bytes + bytes > to->room) {
        to->bytes -= to->at;
        memmove(to->data, to->data + to->at, to->bytes);
        to->at = 0;
    }
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
    assert_true(bytes <= from->bytes - from->at);
    from->at += bytes;
    if (from->at == from->bytes)
        from->at = from->bytes = 0;
}

int32_t world_bytes_take(struct world_bytes *from, uint8_t *data, uint32_t room)
{
    uint32_t bytes;

    if (from->bytes - from->at < sizeof bytes)
        return -1;
    memcpy(&bytes, from->data + from->at, sizeof bytes);
    const uint32_t part = bytes < room ? bytes : room;

    if (part != 0)
        memcpy(data, from->data + from->at + sizeof bytes, part);
    bytes_drop(from, sizeof bytes + bytes);
    return (int32_t)part;
}

/* ---- frames to the guest ---- */

void world_host_clear(struct nat_world *world)
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

    assert_true(bytes <= world->frame_max_bytes);
    world_host_clear(world);
    if (count > world->frame_room) {
        count = world->frame_room;
        world->frames_refused = true;
    }
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
        const uint32_t bytes = i + 1 == count ? last_bytes : world->reserved_bytes;
        const char *defect = world_frame_defect(world->reserved[i], bytes, world->config.lan_mtu);

        if (defect != NULL)
            fail_msg("frame %u to the guest: %s", world->frame_count, defect);
        assert_true(world->frame_count < WORLD_FRAMES_MAX);
        world->frames[world->frame_count++] = (struct world_frame){world->reserved[i], bytes, 0};
        world->reserved[i] = NULL;
    }
    if (world->frame_room != UINT32_MAX)
        world->frame_room -= count;
    world_host_clear(world);
}

static uint8_t *host_super_reserve(void *context, uint32_t bytes)
{
    struct nat_world *world = context;
    const uint32_t frame_max_bytes = world->frame_max_bytes;
    uint8_t *place;

    assert_true(bytes <= world->super_max_bytes);
    world->frame_max_bytes = world->super_max_bytes;
    const uint32_t count = host_reserve(context, bytes, 1, &place);
    world->frame_max_bytes = frame_max_bytes;
    return count != 0 ? place : NULL;
}

/* l2-extensions.md §6: as a frame, but for its length and the TCP checksum, which is put in here.
 */
static void host_super_commit(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct nat_world *world = context;

    assert_true(bytes <= world->reserved_bytes && world->reserved_count <= 1);
    if (bytes != 0) {
        uint8_t *frame = world->reserved[0], *ip = frame + ETH_HEADER_BYTES;
        const bool is_v6 = ip[0] >> 4 == 6;
        const uint32_t ip_bytes = is_v6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;

        assert_true(gso_bytes != 0);
        world_seal_l4(ip, IP_PROTOCOL_TCP, ip + ip_bytes, bytes - ETH_HEADER_BYTES - ip_bytes);
        const char *defect = world_frame_defect(frame, bytes, UINT16_MAX);
        if (defect != NULL)
            fail_msg("super-frame %u to the guest: %s", world->frame_count, defect);
        assert_true(world->frame_count < WORLD_FRAMES_MAX);
        world->frames[world->frame_count++] = (struct world_frame){frame, bytes, gso_bytes};
        world->reserved[0] = NULL;
        if (world->frame_room != UINT32_MAX)
            world->frame_room--;
    }
    world_host_clear(world);
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
        .send_room = world->send_room,
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
    const size_t from = socket->in.at + offset;
    size_t at = from;

    if (socket->error != 0)
        return -socket->error;
    assert_true(from <= socket->in.bytes); /* never beyond what there is */
    for (int i = 0; i < to_count; i++) {
        const size_t left = socket->in.bytes - at;
        const size_t part = left < to[i].iov_len ? left : to[i].iov_len;

        if (part != 0)
            memcpy(to[i].iov_base, socket->in.data + at, part);
        at += part;
    }
    if (at != from)
        return (ssize_t)(at - from);
    return socket->eof ? 0 : -EAGAIN;
}

static uint32_t host_tcp_unread(void *context, int number)
{
    const struct world_socket *socket = host_socket(context, number, true);

    return (uint32_t)(socket->in.bytes - socket->in.at);
}

static bool host_tcp_connect_ended(void *context, int number)
{
    return host_socket(context, number, true)->connect_ended;
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
        world_bytes_add(&socket->out, from[i].iov_base, part);
        if (socket->send_room != UINT32_MAX)
            socket->send_room -= (uint32_t)part;
        total += (ssize_t)part;
    }
    socket->send_refused |= (size_t)total < wanted;
    return total == 0 && wanted != 0 ? -EAGAIN : total;
}

static uint32_t host_tcp_send_space(void *context, int number)
{
    const uint32_t room = host_socket(context, number, true)->send_room;

    return room != UINT32_MAX ? room : 4u << 20;
}

static int host_tcp_shutdown_write(void *context, int number)
{
    struct world_socket *socket = host_socket(context, number, true);

    assert_false(socket->write_closed);
    socket->write_closed = true;
    return -socket->error;
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
    if (socket->whole && world->path_mtu != 0 &&
        IPV4_HEADER_BYTES + UDP_HEADER_BYTES + bytes > (uint32_t)world->path_mtu)
        return -EMSGSIZE;
    world_bytes_add(&socket->out, &bytes, sizeof bytes);
    world_bytes_add(&socket->out, data, bytes);
    return (ssize_t)bytes;
}

static int host_udp_whole(void *context, int number, bool whole)
{
    struct nat_world *world = context;

    host_socket(context, number, false)->whole = whole;
    return world->path_mtu != 0 ? world->path_mtu : 65535;
}

static ssize_t host_udp_receive(void *context, int number, uint8_t *data, uint32_t max_bytes)
{
    struct world_socket *socket = host_socket(context, number, false);

    if (socket->error != 0) {
        const int error = socket->error;

        socket->error = 0;
        return -error;
    }
    const int32_t bytes = world_bytes_take(&socket->in, data, max_bytes);

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
    struct world_socket *socket = &world->sockets[number];
    const int error = socket->error;

    if (!socket->tcp) /* reading SO_ERROR clears it; what broke a connection stays */
        socket->error = 0;
    return error;
}

static void host_close(void *context, int number, bool reset)
{
    struct nat_world *world = context;

    assert_true(number >= 0 && (uint32_t)number < world->socket_count);
    assert_true(world->sockets[number].open); /* never twice */
    world->sockets[number].open = false;
    world->sockets[number].closed = !reset;
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

    if (world->random_stands)
        return world->random_state;
    world->random_state = world->random_state * 6364136223846793005u + 1442695040888963407u;
    return world->random_state ^ world->random_state >> 33;
}

struct nat_host world_host(struct nat_world *world)
{
    return (struct nat_host){
        .context = world,
        .frame_reserve = host_reserve,
        .frame_commit = host_commit,
        .super_reserve = host_super_reserve,
        .super_commit = host_super_commit,
        .tcp_connect = host_tcp_connect,
        .udp_connect = host_udp_connect,
        .ping_connect = host_ping_connect,
        .udp_open = host_udp_open,
        .udp_send_to = host_udp_send_to,
        .udp_receive_from = host_udp_receive_from,
        .tcp_peek = host_tcp_peek,
        .tcp_unread = host_tcp_unread,
        .tcp_connect_ended = host_tcp_connect_ended,
        .tcp_consume = host_tcp_consume,
        .tcp_send = host_tcp_send,
        .tcp_send_space = host_tcp_send_space,
        .tcp_shutdown_write = host_tcp_shutdown_write,
        .udp_send = host_udp_send,
        .udp_receive = host_udp_receive,
        .udp_whole = host_udp_whole,
        .error = host_error,
        .close = host_close,
        .dns_query = host_dns_query,
        .random = host_random,
    };
}
