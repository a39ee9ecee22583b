#include "nat_hostile.h"

#include "must.h"
#include "tests/support/world_frame.h"
#include "tunnel/super.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 600 }; /* datagrams above it do not leave */

void hostile_clear(struct hostile *hostile)
{
    for (uint32_t i = 0; i < hostile->reserved_count; i++)
        free(hostile->reserved[i]);
    hostile->reserved_count = 0;
}

static uint32_t host_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct hostile *hostile = context;

    must(bytes >= ETH_HEADER_BYTES && bytes <= hostile->frame_max_bytes && count != 0);
    hostile_clear(hostile);
    count = count < HOSTILE_RESERVED_MAX ? count : HOSTILE_RESERVED_MAX;
    count = count < hostile->room ? count : hostile->room;
    for (uint32_t i = 0; i < count; i++)
        places[i] = hostile->reserved[i] = malloc(bytes);
    hostile->reserved_count = count;
    hostile->reserved_bytes = bytes;
    return count;
}

static void host_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct hostile *hostile = context;

    must(count <= hostile->reserved_count && last_bytes <= hostile->reserved_bytes);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bytes = i + 1 == count ? last_bytes : hostile->reserved_bytes;

        must(world_frame_defect(hostile->reserved[i], bytes, hostile->mtu) == NULL);
        if (hostile->seen != NULL)
            hostile->seen(hostile->seen_context, hostile->reserved[i], bytes);
    }
    if (hostile->room != UINT32_MAX)
        hostile->room -= count;
    hostile_clear(hostile);
}

static uint8_t *host_super_reserve(void *context, uint32_t bytes)
{
    struct hostile *hostile = context;

    must(bytes >= ETH_HEADER_BYTES && bytes <= hostile->super_max_bytes);
    hostile_clear(hostile);
    if (hostile->room == 0)
        return NULL;
    hostile->reserved_count = 1;
    hostile->reserved_bytes = bytes;
    return hostile->reserved[0] = malloc(bytes);
}

/* A frame but for its length and the TCP checksum, which is put in here (l2-extensions.md §6). */
static void host_super_commit(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct hostile *hostile = context;

    must(hostile->reserved_count <= 1 && bytes <= hostile->reserved_bytes);
    if (bytes != 0) {
        uint8_t *frame = hostile->reserved[0], *ip = frame + ETH_HEADER_BYTES;
        const uint32_t ip_bytes = ip[0] >> 4 == 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES;

        must(hostile->reserved_count == 1 && gso_bytes != 0);
        must(l2t_super_headers(frame, bytes) != 0);
        world_seal_l4(ip, IP_PROTOCOL_TCP, ip + ip_bytes, bytes - ETH_HEADER_BYTES - ip_bytes);
        must(world_frame_defect(frame, bytes, UINT16_MAX) == NULL);
        if (hostile->seen != NULL)
            hostile->seen(hostile->seen_context, frame, bytes);
        if (hostile->room != UINT32_MAX)
            hostile->room--;
    }
    hostile_clear(hostile);
}

/* The policy's coarsest promises (l2-proxy.md §6.1): no loopback, no link, no group, nobody on the
 * LAN. */
static void check_remote(const struct nat_endpoint *remote)
{
    const uint8_t *address = remote->address;

    if (remote->family == 4) {
        must(address[0] != 127 && address[0] != 10 && address[0] < 224);
        must(address[0] != 169 || address[1] != 254);
        return;
    }
    must(remote->family == 6);
    must((address[0] & 0xfe) != 0xfc && address[0] != 0xff);
    must(address[0] != 0xfe || address[1] < 0x80);
}

static int host_connect(struct hostile *hostile, uint32_t cookie, const struct nat_endpoint *remote,
                        bool tcp)
{
    check_remote(remote);
    if ((hostile->mood & MOOD_NO_SOCKETS) != 0 || hostile->socket_count == HOSTILE_SOCKETS_MAX)
        return -EMFILE;
    hostile->sockets[hostile->socket_count] =
        (struct hostile_socket){.open = true, .tcp = tcp, .cookie = cookie};
    return (int)hostile->socket_count++;
}

/* Every byte handed over is one that may be read. */
static void read_all(const void *data, size_t bytes)
{
    static uint8_t nowhere[65536];

    for (size_t at = 0; at < bytes; at += sizeof nowhere)
        memcpy(nowhere, (const uint8_t *)data + at,
               bytes - at < sizeof nowhere ? bytes - at : sizeof nowhere);
}

static int host_tcp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return host_connect(context, cookie, remote, true);
}

static int host_udp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return host_connect(context, cookie, remote, false);
}

static struct hostile_socket *socket_of(void *context, int number, bool tcp)
{
    struct hostile *hostile = context;

    must(number >= 0 && (uint32_t)number < hostile->socket_count);
    must(hostile->sockets[number].open && hostile->sockets[number].tcp == tcp);
    return &hostile->sockets[number];
}

static ssize_t host_tcp_peek(void *context, int number, uint32_t offset, const struct iovec *to,
                             int to_count)
{
    struct hostile_socket *socket = socket_of(context, number, true);
    uint32_t at = offset;

    if (socket->error != 0)
        return -socket->error;
    must(offset <= socket->in_bytes);
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

static uint32_t host_tcp_unread(void *context, int number)
{
    return socket_of(context, number, true)->in_bytes;
}

static bool host_tcp_connect_ended(void *context, int number)
{
    const struct hostile *hostile = context;

    socket_of(context, number, true);
    return hostile->random >> 63 != 0;
}

static int host_tcp_consume(void *context, int number, uint32_t bytes)
{
    struct hostile_socket *socket = socket_of(context, number, true);

    must(bytes <= socket->in_bytes);
    socket->in_bytes -= bytes;
    return 0;
}

static ssize_t host_tcp_send(void *context, int number, const struct iovec *from, int from_count)
{
    struct hostile *hostile = context;
    struct hostile_socket *socket = socket_of(context, number, true);
    size_t total = 0;

    if (socket->error != 0)
        return -socket->error;
    if ((hostile->mood & MOOD_SEND_FULL) != 0)
        return -EAGAIN;
    for (int i = 0; i < from_count; i++) {
        read_all(from[i].iov_base, from[i].iov_len);
        total += from[i].iov_len;
    }
    if ((hostile->mood & MOOD_SEND_HALF) != 0)
        total = (total + 1) / 2;
    return (ssize_t)total;
}

static uint32_t host_tcp_send_space(void *context, int number)
{
    struct hostile *hostile = context;

    socket_of(context, number, true);
    return (hostile->mood & MOOD_SEND_FULL) != 0 ? 0 : 65536;
}

static int host_tcp_shutdown_write(void *context, int number)
{
    socket_of(context, number, true);
    return 0;
}

static ssize_t host_udp_send(void *context, int number, const uint8_t *data, uint32_t bytes)
{
    struct hostile *hostile = context;
    socket_of(context, number, false);
    read_all(data, bytes);
    if ((hostile->mood & MOOD_UDP_REFUSED) != 0)
        return -ECONNREFUSED;
    return bytes > PATH_BYTES ? -EMSGSIZE : (ssize_t)bytes;
}

/* A path whose MTU is anything, or unknown. */
static int host_udp_whole(void *context, int number, bool whole)
{
    struct hostile *hostile = context;

    socket_of(context, number, false);
    return (int)(hostile->random >> 47) - (whole ? 1 : 0);
}

static ssize_t host_udp_receive(void *context, int number, uint8_t *data, uint32_t max_bytes)
{
    struct hostile_socket *socket = socket_of(context, number, false);
    const uint32_t bytes = socket->in_bytes < max_bytes ? socket->in_bytes : max_bytes;

    if (bytes == 0)
        return socket->error != 0 ? -socket->error : -EAGAIN;
    memset(data, 0x5a, bytes);
    socket->in_bytes = 0;
    return (ssize_t)bytes;
}

/* A cone: whom it sends to is judged as a connect is, whom it hears from may be anybody. */
static int host_udp_open(void *context, uint32_t cookie, uint8_t family)
{
    const struct nat_endpoint nobody = {.family = family, .address = {93, 184, 216, 34}};

    return host_connect(context, cookie, &nobody, false);
}

static ssize_t host_udp_send_to(void *context, int number, const struct nat_endpoint *remote,
                                const uint8_t *data, uint32_t bytes)
{
    check_remote(remote);
    return host_udp_send(context, number, data, bytes);
}

static ssize_t host_udp_receive_from(void *context, int number, struct nat_endpoint *remote,
                                     uint8_t *data, uint32_t max_bytes)
{
    struct hostile *hostile = context;
    const uint64_t drawn = hostile->random += 0x9e3779b97f4a7c15u;

    remote->family = 4;
    remote->port = (uint16_t)drawn;
    be32_put(remote->address, (uint32_t)(drawn >> 16));
    return host_udp_receive(context, number, data, max_bytes);
}

static int host_error(void *context, int number)
{
    struct hostile *hostile = context;

    must(number >= 0 && (uint32_t)number < hostile->socket_count);
    return hostile->sockets[number].error;
}

static void host_close(void *context, int number, bool reset)
{
    struct hostile *hostile = context;

    (void)reset;
    must(number >= 0 && (uint32_t)number < hostile->socket_count && hostile->sockets[number].open);
    hostile->sockets[number].open = false;
}

static int host_dns_query(void *context, uint32_t query, const char *name, uint16_t type)
{
    struct hostile *hostile = context;

    (void)type;
    must(strlen(name) < 254);
    if ((hostile->mood & MOOD_NO_RESOLVER) != 0)
        return -ENOMEM;
    hostile->queries[hostile->query_count++] = query;
    return 0;
}

static uint64_t host_random(void *context)
{
    struct hostile *hostile = context;

    return hostile->random += 0x9e3779b97f4a7c15u;
}

struct nat_host hostile_host(struct hostile *hostile)
{
    return (struct nat_host){
        .context = hostile,
        .frame_reserve = host_reserve,
        .frame_commit = host_commit,
        .super_reserve = host_super_reserve,
        .super_commit = host_super_commit,
        .tcp_unread = host_tcp_unread,
        .tcp_connect_ended = host_tcp_connect_ended,
        .tcp_connect = host_tcp_connect,
        .udp_connect = host_udp_connect,
        .ping_connect = host_udp_connect, /* the same, as far as the NAT can tell */
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
        .udp_whole = host_udp_whole,
        .error = host_error,
        .close = host_close,
        .dns_query = host_dns_query,
        .random = host_random,
    };
}
