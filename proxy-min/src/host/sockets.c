/* sockets.c - the only file that opens a socket to the outside. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/internal.h"

enum {
    SCRATCH_BYTES = 64 * 1024,
    SKIP_IOVECS = 512, /* the fallback skips up to 32 MiB, more than any window here */
    SOCKETS_MAX = 1 << 20,
    HOLD_FIRST_BYTES = 128 * 1024, /* what the kernel's receive buffer starts with, about */
    HOLD_MOST_BYTES = 16 << 20,
};

static struct host *host_of(void *context)
{
    return ((struct host_client *)context)->host;
}

/* The row of a handle that belongs to this client; NULL for any other number. */
static struct host_socket *row_of(void *context, int socket)
{
    struct host *host = host_of(context);

    if (socket < 0 || (uint32_t)socket >= host->socket_max)
        return NULL;
    struct host_socket *row = &host->sockets[socket];
    return row->client == context ? row : NULL;
}

static socklen_t to_sockaddr(const struct nat_endpoint *endpoint, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    if (endpoint->family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        memcpy(&v4->sin_addr, endpoint->address, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint->port);
    memcpy(&v6->sin6_addr, endpoint->address, 16);
    return sizeof *v6;
}

static void from_sockaddr(const struct sockaddr_storage *address, struct nat_endpoint *endpoint)
{
    *endpoint = (struct nat_endpoint){.family = address->ss_family == AF_INET6 ? 6 : 4};
    if (endpoint->family == 6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        endpoint->port = ntohs(v6->sin6_port);
        memcpy(endpoint->address, &v6->sin6_addr, 16);
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        endpoint->port = ntohs(v4->sin_port);
        memcpy(endpoint->address, &v4->sin_addr, 4);
    }
}

static int watch(struct host *host, int fd, const struct host_socket *row)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)row->generation << 32 | (uint32_t)fd};

    return epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

enum kind { KIND_TCP, KIND_UDP, KIND_UDP_OPEN, KIND_PING };

static int protocol_of(enum kind kind, uint8_t family)
{
    if (kind != KIND_PING)
        return 0; /* the type says it */
    return family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
}

static int open_socket(void *context, uint32_t cookie, const struct nat_endpoint *remote,
                       enum kind kind)
{
    const bool tcp = kind == KIND_TCP;
    struct host *host = host_of(context);
    struct sockaddr_storage address;
    const socklen_t address_bytes = to_sockaddr(remote, &address);
    const int type = (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const int one = 1, zero = 0;
    int result = 0;

    const int fd = socket(address.ss_family, type, protocol_of(kind, remote->family));
    if (fd < 0)
        return -errno;
    if ((uint32_t)fd >= host->socket_max) {
        close(fd);
        return -EMFILE;
    }
    struct host_socket *row = &host->sockets[fd];
    *row = (struct host_socket){.client = context,
                                .generation = row->generation + 1,
                                .cookie = cookie,
                                .tcp = tcp,
                                .hold_bytes = HOLD_FIRST_BYTES};
    if (tcp) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (host->keepalive_s != 0) {
            setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &host->keepalive_s, sizeof(int));
        }
        if (host->use_peek_offset)
            setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof zero);
    }
    if (kind == KIND_UDP_OPEN && remote->family == 6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one); /* no mapped strangers */
    if (kind != KIND_UDP_OPEN && connect(fd, (struct sockaddr *)&address, address_bytes) != 0) {
        if (errno == EINPROGRESS)
            row->connecting = true;
        else
            result = -errno;
    } else if (tcp) {
        row->connecting = true; /* connected at once: the edge still arrives, CONNECTED then */
    }
    if (result == 0 && watch(host, fd, row) != 0)
        result = -errno;
    if (result != 0) {
        row->client = NULL;
        close(fd);
        return result;
    }
    return fd;
}

static int tcp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return open_socket(context, cookie, remote, KIND_TCP);
}

static int udp_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return open_socket(context, cookie, remote, KIND_UDP);
}

/* icmp(7): an unprivileged echo socket; the kernel sets identifier and checksum, and delivers
 * the replies to what was sent here only. */
static int ping_connect(void *context, uint32_t cookie, const struct nat_endpoint *remote)
{
    return open_socket(context, cookie, remote, KIND_PING);
}

/* net.ipv4.ping_group_range decides, and a sandbox may. */
static bool ping_supported(void)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* What was peeked at stays in the kernel's queue for a round trip to the guest, but the kernel
 * sizes its receive buffer by the round trip to the remote. SO_RCVLOWAT makes room at once, up to
 * half of tcp_rmem, and unlike SO_RCVBUF does not end the kernel's own tuning. */
static void hold(int fd, struct host_socket *row, uint32_t unread_bytes)
{
    const int low = 1;

    if (unread_bytes <= row->hold_bytes / 2 || row->hold_bytes >= HOLD_MOST_BYTES)
        return;
    row->hold_bytes = 4 * unread_bytes < HOLD_MOST_BYTES ? 4 * unread_bytes : HOLD_MOST_BYTES;
    const int hold_bytes = (int)row->hold_bytes;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &hold_bytes, sizeof hold_bytes) == 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
}

/* Without SO_PEEK_OFF: everything from the first unconsumed byte on, the part before `offset`
 * into the scratch block again and again. */
static ssize_t peek_skipping(struct host *host, struct host_socket *row, int fd, uint32_t offset,
                             const struct iovec *to, int to_count)
{
    struct iovec parts[SKIP_IOVECS + 64];
    int count = 0;

    for (uint32_t left = offset; left != 0;) {
        const uint32_t bytes = left < SCRATCH_BYTES ? left : SCRATCH_BYTES;
        if (count == SKIP_IOVECS)
            return -EINVAL;
        parts[count++] = (struct iovec){host->scratch, bytes};
        left -= bytes;
    }
    for (int i = 0; i < to_count && i < 64; i++)
        parts[count++] = to[i];

    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    const ssize_t got = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0)
        return -errno;
    if ((size_t)got > offset) {
        hold(fd, row, (uint32_t)got);
        return got - (ssize_t)offset;
    }
    /* Nothing behind the offset: the end of the stream only when the peer's FIN was seen, since
     * then everything it sent is queued here. */
    return (size_t)got == offset && (row->peer_ended || got == 0) ? 0 : -EAGAIN;
}

static ssize_t tcp_peek(void *context, int socket, uint32_t offset, const struct iovec *to,
                        int to_count)
{
    struct host *host = host_of(context);
    struct host_socket *row = row_of(context, socket);

    if (row == NULL)
        return -EBADF;
    if (!host->use_peek_offset)
        return peek_skipping(host, row, socket, offset, to, to_count);
    if (row->peek_offset != offset) {
        const int value = (int)offset;
        if (setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &value, sizeof value) != 0)
            return -errno;
        row->peek_offset = offset;
    }
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)to,
                             .msg_iovlen = (size_t)to_count};
    const ssize_t got = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0)
        return -errno;
    row->peek_offset += (uint32_t)got;
    hold(socket, row, row->peek_offset);
    return got;
}

static uint32_t tcp_unread(void *context, int socket)
{
    int bytes = 0;

    if (row_of(context, socket) == NULL || ioctl(socket, SIOCINQ, &bytes) != 0 || bytes < 0)
        return 0;
    return (uint32_t)bytes;
}

static bool tcp_connect_ended(void *context, int socket)
{
    struct pollfd ready = {.fd = socket, .events = POLLOUT};
    const struct host_socket *row = row_of(context, socket);

    return row != NULL && (!row->connecting || poll(&ready, 1, 0) > 0);
}

static int tcp_consume(void *context, int socket, uint32_t bytes)
{
    struct host_socket *row = row_of(context, socket);

    if (row == NULL)
        return -EBADF;
    while (bytes != 0) { /* tcp(7): MSG_TRUNC discards without copying */
        const ssize_t got = recv(socket, NULL, bytes, MSG_TRUNC | MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? -EPIPE : -errno;
        bytes -= (uint32_t)got;
        /* The kernel moves its own offset back with the queue. */
        row->peek_offset -= row->peek_offset < (uint32_t)got ? row->peek_offset : (uint32_t)got;
    }
    return 0;
}

static ssize_t tcp_send(void *context, int socket, const struct iovec *from, int from_count)
{
    struct host_socket *row = row_of(context, socket);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)from,
                             .msg_iovlen = (size_t)from_count};
    size_t offered = 0;

    if (row == NULL)
        return -EBADF;
    for (int i = 0; i < from_count; i++)
        offered += from[i].iov_len;
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    row->want_write = sent < 0 || (size_t)sent < offered;
    return sent < 0 ? -errno : sent;
}

static uint32_t tcp_send_space(void *context, int socket)
{
    int queued = 0, buffer = 0;
    socklen_t buffer_bytes = sizeof buffer;

    if (row_of(context, socket) == NULL || ioctl(socket, SIOCOUTQ, &queued) != 0 ||
        getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer, &buffer_bytes) != 0)
        return 0;
    return buffer > queued ? (uint32_t)(buffer - queued) : 0;
}

static int tcp_shutdown_write(void *context, int socket)
{
    if (row_of(context, socket) == NULL)
        return -EBADF;
    return shutdown(socket, SHUT_WR) == 0 ? 0 : -errno;
}

static ssize_t udp_send(void *context, int socket, const uint8_t *data, uint32_t bytes)
{
    struct host_socket *row = row_of(context, socket);

    if (row == NULL)
        return -EBADF;
    const ssize_t sent = send(socket, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    row->want_write = sent < 0 && errno == EAGAIN;
    return sent < 0 ? -errno : sent;
}

static ssize_t udp_receive(void *context, int socket, uint8_t *data, uint32_t max_bytes)
{
    if (row_of(context, socket) == NULL)
        return -EBADF;
    const ssize_t got = recv(socket, data, max_bytes, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

/* ip(7): IP_PMTUDISC_DO sets DF and refuses what the path was found not to carry. */
static int udp_whole(void *context, int socket, bool whole)
{
    const int how = whole ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT;
    int mtu = 0;
    socklen_t mtu_bytes = sizeof mtu;

    if (row_of(context, socket) == NULL)
        return -EBADF;
    if (setsockopt(socket, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof how) != 0 ||
        getsockopt(socket, IPPROTO_IP, IP_MTU, &mtu, &mtu_bytes) != 0)
        return -errno;
    return mtu;
}

static int udp_open(void *context, uint32_t cookie, uint8_t family)
{
    return open_socket(context, cookie, &(struct nat_endpoint){.family = family}, KIND_UDP_OPEN);
}

static ssize_t udp_send_to(void *context, int socket, const struct nat_endpoint *remote,
                           const uint8_t *data, uint32_t bytes)
{
    struct host_socket *row = row_of(context, socket);
    struct sockaddr_storage address;
    const socklen_t address_bytes = to_sockaddr(remote, &address);

    if (row == NULL)
        return -EBADF;
    const ssize_t sent = sendto(socket, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT,
                                (const struct sockaddr *)&address, address_bytes);
    row->want_write = sent < 0 && errno == EAGAIN;
    return sent < 0 ? -errno : sent;
}

static ssize_t udp_receive_from(void *context, int socket, struct nat_endpoint *remote,
                                uint8_t *data, uint32_t max_bytes)
{
    struct sockaddr_storage address = {0};
    socklen_t address_bytes = sizeof address;

    if (row_of(context, socket) == NULL)
        return -EBADF;
    const ssize_t got = recvfrom(socket, data, max_bytes, MSG_DONTWAIT, (struct sockaddr *)&address,
                                 &address_bytes);
    if (got < 0)
        return -errno;
    from_sockaddr(&address, remote);
    return got;
}

static int socket_error(void *context, int socket)
{
    int error = 0;
    socklen_t bytes = sizeof error;

    if (row_of(context, socket) == NULL)
        return EBADF;
    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

static void close_socket(void *context, int socket, bool reset)
{
    struct host_socket *row = row_of(context, socket);

    if (row == NULL)
        return;
    if (reset && row->tcp) { /* socket(7): zero linger time makes close() a reset */
        const struct linger none = {.l_onoff = 1, .l_linger = 0};
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    row->client = NULL;
    close(socket); /* leaves the epoll set with its last descriptor */
}

static uint64_t random_bits(void *context)
{
    uint64_t bits = 0;

    (void)context;
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        bits = uv_hrtime() * UINT64_C(0x9e3779b97f4a7c15);
    return bits;
}

void host_bind(struct host *host, struct host_client *client, struct nat_host *ops)
{
    client->host = host;
    ops->context = client;
    ops->tcp_connect = tcp_connect;
    ops->udp_connect = udp_connect;
    ops->ping_connect = host->can_ping ? ping_connect : NULL;
    ops->udp_whole = udp_whole;
    ops->udp_open = udp_open;
    ops->udp_send_to = udp_send_to;
    ops->udp_receive_from = udp_receive_from;
    ops->tcp_peek = tcp_peek;
    ops->tcp_unread = tcp_unread;
    ops->tcp_connect_ended = tcp_connect_ended;
    ops->tcp_consume = tcp_consume;
    ops->tcp_send = tcp_send;
    ops->tcp_send_space = tcp_send_space;
    ops->tcp_shutdown_write = tcp_shutdown_write;
    ops->udp_send = udp_send;
    ops->udp_receive = udp_receive;
    ops->error = socket_error;
    ops->close = close_socket;
    ops->dns_query = host_dns_query;
    ops->random = random_bits;
}

/* What an epoll event means to the NAT. */
static uint32_t translate(struct host_socket *row, uint32_t epoll_events)
{
    uint32_t events = 0;

    if (row->connecting) {
        if ((epoll_events & (EPOLLERR | EPOLLHUP)) != 0)
            return NAT_SOCKET_FAILED;
        if ((epoll_events & EPOLLOUT) == 0)
            return 0;
        row->connecting = false;
        events |= NAT_SOCKET_CONNECTED | NAT_SOCKET_WRITABLE;
    }
    if ((epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0)
        events |= NAT_SOCKET_READABLE;
    if ((epoll_events & (EPOLLRDHUP | EPOLLHUP)) != 0)
        row->peer_ended = true;
    if ((epoll_events & EPOLLERR) != 0)
        events |= NAT_SOCKET_FAILED;
    /* Every edge carries EPOLLOUT as well; only who was refused room wants to hear of it. */
    if ((epoll_events & EPOLLOUT) != 0 && row->want_write) {
        row->want_write = false;
        events |= NAT_SOCKET_WRITABLE;
    }
    return events;
}

static void on_epoll(uv_poll_t *poll, int status, int poll_events)
{
    struct host *host = poll->data;
    struct epoll_event ready[HOST_EVENTS];

    (void)poll_events;
    if (status != 0)
        return;
    const int count = epoll_wait(host->epoll_fd, ready, HOST_EVENTS, 0);
    const uint64_t now_us = uv_hrtime() / 1000;
    for (int i = 0; i < count; i++) {
        struct host_socket *row = &host->sockets[(uint32_t)ready[i].data.u64];
        struct host_client *client = row->client;

        /* Closed, or closed and opened anew, by an earlier event of this very batch. */
        if (client == NULL || row->generation != ready[i].data.u64 >> 32)
            continue;
        const uint32_t events = translate(row, ready[i].events);
        if (events == 0)
            continue;
        nat_socket_event(client->nat, row->cookie, events, now_us);
        client->touched(client);
    }
}

/* A connection to ourselves, two bytes: is the second one seen at offset 1? */
static bool probe(int listener, int client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    const int offset = 1;
    char byte = 0;
    bool works = false;

    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) != 0 ||
        connect(client, (struct sockaddr *)&address, bytes) != 0)
        return false;
    const int served = accept(listener, NULL, NULL);
    if (served >= 0) {
        works = setsockopt(client, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0 &&
                send(served, "ab", 2, MSG_NOSIGNAL) == 2 && recv(client, &byte, 1, MSG_PEEK) == 1 &&
                byte == 'b';
        close(served);
    }
    return works;
}

bool host_peek_offset_supported(void)
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool works = listener >= 0 && client >= 0 && probe(listener, client);

    if (listener >= 0)
        close(listener);
    if (client >= 0)
        close(client);
    return works;
}

void host_peek_offset_force(struct host *host, bool use)
{
    host->use_peek_offset = use;
}

static uint32_t descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur < SOCKETS_MAX ? (uint32_t)limit.rlim_cur : SOCKETS_MAX;
}

void host_keepalive(struct host *host, uint32_t idle_ms)
{
    const uint32_t idle_s = idle_ms / 1000 + (idle_ms % 1000 != 0);

    /* TCP_KEEPIDLE knows no more than 32767. */
    host->keepalive_s = idle_s < INT16_MAX ? (int)idle_s : INT16_MAX;
}

struct host *host_new(uv_loop_t *loop, const char *dns_servers, uint32_t dns_timeout_ms)
{
    struct host *host = calloc(1, sizeof *host);

    if (host == NULL)
        return NULL;
    host->loop = loop;
    host->socket_max = descriptor_limit();
    host->sockets = calloc(host->socket_max, sizeof host->sockets[0]);
    host->scratch = malloc(SCRATCH_BYTES);
    host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    host->use_peek_offset = host_peek_offset_supported();
    host->can_ping = ping_supported();
    if (host->sockets == NULL || host->scratch == NULL || host->epoll_fd < 0 ||
        uv_poll_init(loop, &host->poll, host->epoll_fd) != 0)
        goto failed;
    host->poll.data = host;
    uv_poll_start(&host->poll, UV_READABLE, on_epoll);
    if (host_resolver_init(host, dns_servers, dns_timeout_ms) != 0) {
        uv_close((uv_handle_t *)&host->poll, NULL);
        uv_run(loop, UV_RUN_NOWAIT);
        goto failed;
    }
    return host;
failed:
    fprintf(stderr, "aero-l2-proxy: a worker's sockets or resolver cannot be set up\n");
    host_free(host);
    return NULL;
}

void host_close(struct host *host)
{
    uv_close((uv_handle_t *)&host->poll, NULL);
    host_resolver_close(host);
}

void host_free(struct host *host)
{
    if (host->epoll_fd >= 0)
        close(host->epoll_fd);
    free(host->sockets);
    free(host->scratch);
    free(host->queries);
    free(host);
}
