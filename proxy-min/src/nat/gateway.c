#include "memory/pages.h"
#include "nat/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The gateway's own TCP services: DNS over TCP (RFC 7766; §5.4). To tcp.c such a stream is a host
 * socket like any other: this file stands between the NAT and its host, keeps the handles from
 * STREAM_HANDLE on for itself, and passes everything else through.
 */
enum {
    STREAMS_MAX = 8,
    STREAM_HANDLE = 1 << 30,
    STREAM_SLOT_BITS = 3,
    DNS_PORT = 53,
    QUERY_BYTES_MAX = 1024,
    REPLY_ROOM_BYTES = 2 + 65535,
    IDLE_US = 30 * 1000 * 1000, /* RFC 7766 §6.2.3 leaves it to the server */
};

struct stream {
    bool used;
    bool ended;       /* nothing follows `reply`: EOF behind it */
    bool guest_ended; /* no more queries */
    uint16_t generation;
    uint16_t unanswered;
    uint32_t cookie;
    uint32_t events; /* to be told to tcp.c */
    uint64_t used_us;
    uint32_t query_bytes, reply_bytes;
    uint8_t query[2 + QUERY_BYTES_MAX]; /* RFC 1035 §4.2.2: length, message */
};

struct nat_gateway {
    struct nat_host host; /* the real one */
    uint32_t count;
    struct stream *streams; /* [STREAMS_MAX] */
    uint8_t (*replies)[REPLY_ROOM_BYTES];
};

size_t nat_gateway_bytes(void)
{
    return sizeof(struct nat_gateway) +
           (size_t)STREAMS_MAX * (sizeof(struct stream) + REPLY_ROOM_BYTES);
}

static int handle_of(const struct nat_gateway *gateway, const struct stream *stream)
{
    return (int)(STREAM_HANDLE | (uint32_t)stream->generation << STREAM_SLOT_BITS |
                 (uint32_t)(stream - gateway->streams));
}

static struct stream *stream_of(const struct nat *nat, int handle)
{
    if (handle < STREAM_HANDLE)
        return NULL;
    struct stream *stream =
        &nat->gateway->streams[(uint32_t)handle & ((1u << STREAM_SLOT_BITS) - 1)];

    return stream->used && handle_of(nat->gateway, stream) == handle ? stream : NULL;
}

/* ---- what a stream answers in a host socket's place ---- */

static int stream_open(struct nat *nat, uint32_t cookie)
{
    struct nat_gateway *gateway = nat->gateway;

    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        struct stream *stream = &gateway->streams[i];

        if (stream->used)
            continue;
        const uint16_t generation = (uint16_t)(stream->generation + 1);

        *stream = (struct stream){
            .used = true,
            .generation = generation,
            .cookie = cookie,
            .events = NAT_SOCKET_CONNECTED | NAT_SOCKET_WRITABLE,
            .used_us = nat->now_us,
        };
        gateway->count++;
        return handle_of(gateway, stream);
    }
    return -EMFILE;
}

static void stream_end(struct stream *stream)
{
    stream->ended = true;
    stream->events |= NAT_SOCKET_READABLE;
}

/* Takes bytes of the length-prefixed queries; a whole one goes to the DNS. */
static void stream_write(struct nat *nat, struct stream *stream, const uint8_t *data, size_t bytes)
{
    while (bytes != 0 && !stream->ended) {
        const uint32_t wanted =
            stream->query_bytes < 2 ? 2 : 2u + (uint32_t)be16_get(stream->query);

        if (wanted > sizeof stream->query) {
            nat_count(&nat->metrics->guest_malformed_total);
            stream_end(stream);
            return;
        }
        const uint32_t missing = wanted - stream->query_bytes;
        const uint32_t part = bytes < missing ? (uint32_t)bytes : missing;

        memcpy(stream->query + stream->query_bytes, data, part);
        stream->query_bytes += part;
        data += part;
        bytes -= part;
        if (stream->query_bytes < 2 || stream->query_bytes < 2u + (uint32_t)be16_get(stream->query))
            continue;
        const struct dns_client client = {.stream = handle_of(nat->gateway, stream)};
        const uint32_t message_bytes = stream->query_bytes - 2;

        stream->query_bytes = 0;
        stream->unanswered++;
        if (!nat_dns_input(nat, &client, stream->query + 2, message_bytes))
            stream->unanswered--; /* dropped: no answer will follow */
    }
}

static void stream_settle(struct stream *stream)
{
    if (stream->guest_ended && stream->unanswered == 0 && !stream->ended)
        stream_end(stream);
}

void nat_gateway_reply(struct nat *nat, int handle, const uint8_t *message, uint32_t bytes)
{
    struct stream *stream = stream_of(nat, handle);

    if (stream == NULL || stream->ended)
        return;
    if (stream->unanswered != 0)
        stream->unanswered--;
    if (bytes > REPLY_ROOM_BYTES - 2 - stream->reply_bytes) { /* a guest that asks, never reads */
        stream_end(stream);
        return;
    }
    uint8_t *to = nat->gateway->replies[stream - nat->gateway->streams] + stream->reply_bytes;

    be16_put(to, (uint16_t)bytes);
    memcpy(to + 2, message, bytes);
    stream->reply_bytes += 2 + bytes;
    stream->events |= NAT_SOCKET_READABLE;
    stream->used_us = nat->now_us;
    stream_settle(stream);
}

static ssize_t stream_peek(const struct nat *nat, const struct stream *stream, uint32_t offset,
                           const struct iovec *to, int to_count)
{
    const uint8_t *reply = nat->gateway->replies[stream - nat->gateway->streams];
    uint32_t at = offset;

    for (int i = 0; i < to_count && at < stream->reply_bytes; i++) {
        const uint32_t left = stream->reply_bytes - at;
        const uint32_t part = left < to[i].iov_len ? left : (uint32_t)to[i].iov_len;

        memcpy(to[i].iov_base, reply + at, part);
        at += part;
    }
    if (at != offset)
        return (ssize_t)(at - offset);
    return stream->ended ? 0 : -EAGAIN;
}

static void stream_consume(const struct nat *nat, struct stream *stream, uint32_t bytes)
{
    uint8_t *reply = nat->gateway->replies[stream - nat->gateway->streams];

    if (bytes > stream->reply_bytes)
        bytes = stream->reply_bytes;
    stream->reply_bytes -= bytes;
    memmove(reply, reply + bytes, stream->reply_bytes);
}

/* ---- struct nat_host in front of the caller's ---- */

#define OUTER(nat) (&(nat)->gateway->host)

static uint32_t frame_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct nat *nat = context;

    return OUTER(nat)->frame_reserve(OUTER(nat)->context, bytes, count, places);
}

static void frame_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct nat *nat = context;

    OUTER(nat)->frame_commit(OUTER(nat)->context, count, last_bytes);
}

static uint8_t *super_reserve(void *context, uint32_t bytes)
{
    struct nat *nat = context;

    return OUTER(nat)->super_reserve(OUTER(nat)->context, bytes);
}

static void super_commit(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct nat *nat = context;

    OUTER(nat)->super_commit(OUTER(nat)->context, bytes, gso_bytes);
}

static int tcp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    struct nat *nat = context;

    if (nat_gateway_serves(nat, remote))
        return stream_open(nat, cookie);
    return OUTER(nat)->tcp_connect(OUTER(nat)->context, cookie, remote);
}

static int udp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_connect(OUTER(nat)->context, cookie, remote);
}

static int ping_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    struct nat *nat = context;

    return OUTER(nat)->ping_connect(OUTER(nat)->context, cookie, remote);
}

static int udp_open(void *context, uint32_t cookie, uint8_t family)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_open(OUTER(nat)->context, cookie, family);
}

static ssize_t udp_send_to(void *context, int socket, const struct nat_endpoint *remote,
                           const uint8_t *data, uint32_t bytes)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_send_to(OUTER(nat)->context, socket, remote, data, bytes);
}

static ssize_t udp_receive_from(void *context, int socket, struct nat_endpoint *remote,
                                uint8_t *data, uint32_t max_bytes)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_receive_from(OUTER(nat)->context, socket, remote, data, max_bytes);
}

static ssize_t tcp_peek(void *context, int socket, uint32_t offset, const struct iovec *to,
                        int to_count)
{
    struct nat *nat = context;
    const struct stream *stream = stream_of(nat, socket);

    if (stream != NULL)
        return stream_peek(nat, stream, offset, to, to_count);
    return OUTER(nat)->tcp_peek(OUTER(nat)->context, socket, offset, to, to_count);
}

static uint32_t tcp_unread(void *context, int socket)
{
    struct nat *nat = context;
    const struct stream *stream = stream_of(nat, socket);

    if (stream != NULL)
        return stream->reply_bytes;
    return OUTER(nat)->tcp_unread(OUTER(nat)->context, socket);
}

static bool tcp_connect_ended(void *context, int socket)
{
    struct nat *nat = context;

    return stream_of(nat, socket) != NULL ||
           OUTER(nat)->tcp_connect_ended(OUTER(nat)->context, socket);
}

static int tcp_consume(void *context, int socket, uint32_t bytes)
{
    struct nat *nat = context;
    struct stream *stream = stream_of(nat, socket);

    if (stream == NULL)
        return OUTER(nat)->tcp_consume(OUTER(nat)->context, socket, bytes);
    stream_consume(nat, stream, bytes);
    return 0;
}

static ssize_t tcp_send(void *context, int socket, const struct iovec *from, int from_count)
{
    struct nat *nat = context;
    struct stream *stream = stream_of(nat, socket);
    size_t total = 0;

    if (stream == NULL)
        return OUTER(nat)->tcp_send(OUTER(nat)->context, socket, from, from_count);
    stream->used_us = nat->now_us;
    for (int i = 0; i < from_count; i++) {
        stream_write(nat, stream, from[i].iov_base, from[i].iov_len);
        total += from[i].iov_len;
    }
    return (ssize_t)total;
}

static uint32_t tcp_send_space(void *context, int socket)
{
    struct nat *nat = context;

    if (stream_of(nat, socket) != NULL)
        return QUERY_BYTES_MAX * 4;
    return OUTER(nat)->tcp_send_space(OUTER(nat)->context, socket);
}

static int tcp_shutdown_write(void *context, int socket)
{
    struct nat *nat = context;
    struct stream *stream = stream_of(nat, socket);

    if (stream == NULL)
        return OUTER(nat)->tcp_shutdown_write(OUTER(nat)->context, socket);
    stream->guest_ended = true;
    stream_settle(stream);
    return 0;
}

static ssize_t udp_send(void *context, int socket, const uint8_t *data, uint32_t bytes)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_send(OUTER(nat)->context, socket, data, bytes);
}

static ssize_t udp_receive(void *context, int socket, uint8_t *data, uint32_t max_bytes)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_receive(OUTER(nat)->context, socket, data, max_bytes);
}

static int udp_whole(void *context, int socket, bool whole)
{
    struct nat *nat = context;

    return OUTER(nat)->udp_whole(OUTER(nat)->context, socket, whole);
}

static int socket_error(void *context, int socket)
{
    struct nat *nat = context;

    if (stream_of(nat, socket) != NULL)
        return 0;
    return OUTER(nat)->error(OUTER(nat)->context, socket);
}

static void socket_close(void *context, int socket, bool reset)
{
    struct nat *nat = context;
    struct stream *stream = stream_of(nat, socket);

    if (stream == NULL) {
        OUTER(nat)->close(OUTER(nat)->context, socket, reset);
        return;
    }
    stream->used = false;
    nat->gateway->count--;
}

static int dns_query(void *context, uint32_t query, const char *name, uint16_t type)
{
    struct nat *nat = context;

    return OUTER(nat)->dns_query(OUTER(nat)->context, query, name, type);
}

static uint64_t random_bits(void *context)
{
    struct nat *nat = context;

    return OUTER(nat)->random(OUTER(nat)->context);
}

/* ---- the session's calls ---- */

bool nat_gateway_open(struct nat *nat, const struct nat_host *host)
{
    struct nat_gateway *gateway = calloc(1, sizeof *gateway);

    if (gateway == NULL)
        return false;
    nat->gateway = gateway;
    gateway->host = *host;
    gateway->streams = pages_alloc(STREAMS_MAX, sizeof *gateway->streams);
    gateway->replies = pages_alloc(STREAMS_MAX, sizeof *gateway->replies);
    nat->host = (struct nat_host){
        .context = nat,
        .frame_reserve = frame_reserve,
        .frame_commit = frame_commit,
        .super_reserve = super_reserve,
        .super_commit = super_commit,
        .tcp_connect = tcp_connect,
        .udp_connect = udp_connect,
        .ping_connect = host->ping_connect != NULL ? ping_connect : NULL,
        .udp_open = host->udp_open != NULL ? udp_open : NULL,
        .udp_send_to = udp_send_to,
        .udp_receive_from = udp_receive_from,
        .tcp_peek = tcp_peek,
        .tcp_unread = tcp_unread,
        .tcp_connect_ended = tcp_connect_ended,
        .tcp_consume = tcp_consume,
        .tcp_send = tcp_send,
        .tcp_send_space = tcp_send_space,
        .tcp_shutdown_write = tcp_shutdown_write,
        .udp_send = udp_send,
        .udp_receive = udp_receive,
        .udp_whole = host->udp_whole != NULL ? udp_whole : NULL,
        .error = socket_error,
        .close = socket_close,
        .dns_query = dns_query,
        .random = random_bits,
        .batch = host->batch,
    };
    return gateway->streams != NULL && gateway->replies != NULL;
}

void nat_gateway_close(struct nat *nat)
{
    if (nat->gateway != NULL) {
        pages_free(nat->gateway->streams, STREAMS_MAX, sizeof *nat->gateway->streams);
        pages_free(nat->gateway->replies, STREAMS_MAX, sizeof *nat->gateway->replies);
    }
    free(nat->gateway);
}

bool nat_gateway_serves(const struct nat *nat, const struct nat_endpoint *remote)
{
    return remote->port == DNS_PORT &&
           (remote->family == 4 ? nat_is_gateway4(nat, remote->address)
                                : nat_is_gateway6(nat, remote->address));
}

void nat_gateway_run(struct nat *nat)
{
    struct nat_gateway *gateway = nat->gateway;

    for (uint32_t i = 0; gateway->count != 0 && i < STREAMS_MAX; i++) {
        struct stream *stream = &gateway->streams[i];

        if (stream->used && !stream->ended && stream->used_us + IDLE_US <= nat->now_us)
            stream_end(stream);
        if (!stream->used || stream->events == 0)
            continue;
        const uint32_t events = stream->events;

        stream->events = 0;
        nat_tcp_event(nat, stream->cookie, events);
    }
}

uint64_t nat_gateway_deadline(const struct nat *nat)
{
    uint64_t first = UINT64_MAX;

    for (uint32_t i = 0; nat->gateway->count != 0 && i < STREAMS_MAX; i++) {
        const struct stream *stream = &nat->gateway->streams[i];

        if (!stream->used)
            continue;
        if (stream->events != 0)
            return nat->now_us;
        if (!stream->ended && stream->used_us + IDLE_US < first)
            first = stream->used_us + IDLE_US;
    }
    return first;
}
