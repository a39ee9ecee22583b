/*
 * tunnel_peer.c - a Linux kernel as the guest of a tunnel: a tap device in a network namespace of
 * its own, bridged to a proxy over a WebSocket, and a command that runs inside.
 *
 *   tunnel_peer --proxy 127.0.0.1:8090 [--token T] [--mtu 1500] [--super 1] [--delay-us N]
 *               [--loss P] [--duplicate P] [--reorder P] [--seed N] [--queue N] -- command args...
 *   tunnel_peer --slirp SOCKET ... the same behind slirp4netns --target-type=bess SOCKET
 *
 * --super 1: the tap hands over and takes TCP uncut (TSO), which travels as super-frames
 * (spec/l2-extensions.md §6). That, and an MTU above 1500, is announced in a HELLO.
 *
 * The leg between tap and tunnel can be made a bad one, both ways: each frame is late by N
 * microseconds, lost or doubled with P per mille, or overtakes what waits.
 *
 * --queue is the tap's own, in frames: the kernel drops what does not fit, where a network card's
 * driver would wait. The default is the kernel's, 500.
 *
 * The tap is 10.0.2.15/24 with the proxy's gateway as default route. Ends with the command's
 * status; 77 when the system does not let us make a namespace or a tap, 70 when the tunnel broke.
 * A test peer: its masking key is zero.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_SKIP = 77,
    EXIT_TUNNEL = 70,
    FRAME_MAX = 65550,
    BUFFER_BYTES = 1 << 20,
    FRAMES_PER_TURN = 64,
};

static struct {                        /* one process, one tunnel */
    const char *proxy, *token, *slirp; /* slirp: a socket of raw frames, one per packet */
    int mtu, queue, tap, ws;
    bool super;
    unsigned delay_us, loss, duplicate, reorder;
    uint64_t random;
    char **command;
    uint8_t *in, *out;
    size_t in_bytes, out_at, out_bytes;
} peer = {.proxy = "127.0.0.1:8090", .mtu = 1500, .random = 1};

static void quit(int status, const char *what)
{
    fprintf(stderr, "tunnel_peer: %s: %s\n", what, strerror(errno));
    exit(status);
}

static void parse_options(int argc, char **argv)
{
    int i = 1;

    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        if (strcmp(argv[i], "--proxy") == 0)
            peer.proxy = argv[i + 1];
        else if (strcmp(argv[i], "--token") == 0)
            peer.token = argv[i + 1];
        else if (strcmp(argv[i], "--slirp") == 0)
            peer.slirp = argv[i + 1];
        else if (strcmp(argv[i], "--mtu") == 0)
            peer.mtu = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--super") == 0)
            peer.super = argv[i + 1][0] == '1';
        else if (strcmp(argv[i], "--delay-us") == 0)
            peer.delay_us = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--loss") == 0)
            peer.loss = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--duplicate") == 0)
            peer.duplicate = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--reorder") == 0)
            peer.reorder = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--queue") == 0)
            peer.queue = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            peer.random = strtoull(argv[i + 1], NULL, 10) * 2 + 1;
        else
            break;
    }
    if (i + 1 >= argc || strcmp(argv[i], "--") != 0) {
        fprintf(stderr, "usage: tunnel_peer [--proxy H:P] [--token T] [--mtu N] -- command ...\n");
        exit(2);
    }
    peer.command = argv + i + 1;
}

/* ---- the tunnel ---- */

/* Frames of 65550 bytes, messages of 256 KiB; no BATCH. The answer is passed over. */
static void say_hello(void)
{
    uint8_t hello[] = {0x82, 0x80 | 20, 0, 0, 0, 0, 0xa2, 3, 0x10, 0, 1, 0, 0,
                       0,    1,         4, 0, 1, 0, 14,   2, 4,    0, 4, 0, 0};

    hello[13] = peer.super ? 4 : 0;
    if ((peer.super || peer.mtu > 1500) && write(peer.ws, hello, sizeof hello) != sizeof hello)
        quit(EXIT_TUNNEL, "hello");
}

static void connect_tunnel(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strchr(peer.proxy, ':');
    char host[64], request[1024], reply[2048];
    const int one = 1;
    size_t got = 0;

    snprintf(host, sizeof host, "%.*s", colon != NULL ? (int)(colon - peer.proxy) : 0, peer.proxy);
    if (colon == NULL || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "tunnel_peer: --proxy wants IPV4:PORT\n");
        exit(2);
    }
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    peer.ws = socket(AF_INET, SOCK_STREAM, 0);
    if (peer.ws < 0 || connect(peer.ws, (struct sockaddr *)&address, sizeof address) != 0)
        quit(EXIT_TUNNEL, "connect");
    setsockopt(peer.ws, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const int bytes = snprintf(request, sizeof request,
                               "GET /l2%s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nOrigin: http://%s\r\n"
                               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Protocol: aero-l2-tunnel-v1\r\n\r\n",
                               peer.token != NULL ? "?token=" : "",
                               peer.token != NULL ? peer.token : "", peer.proxy, peer.proxy);
    if (write(peer.ws, request, (size_t)bytes) != bytes)
        quit(EXIT_TUNNEL, "request");
    while (got < sizeof reply - 1) { /* byte by byte: frames may follow at once */
        if (read(peer.ws, reply + got, 1) != 1)
            quit(EXIT_TUNNEL, "reply");
        got++;
        if (got >= 4 && memcmp(reply + got - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    reply[got] = '\0';
    if (strncmp(reply, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "tunnel_peer: refused: %s\n", reply);
        exit(EXIT_TUNNEL);
    }
    say_hello();
    fcntl(peer.ws, F_SETFL, O_NONBLOCK);
}

static void connect_slirp(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int queue_bytes = 4 << 20;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", peer.slirp);
    peer.ws = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    if (peer.ws < 0 || connect(peer.ws, (struct sockaddr *)&address, sizeof address) != 0)
        quit(EXIT_TUNNEL, "connect");
    setsockopt(peer.ws, SOL_SOCKET, SO_SNDBUFFORCE, &queue_bytes, sizeof queue_bytes);
}

/* ---- the guest ---- */

static void set_address(int fd, unsigned long request, struct ifreq *interface, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&interface->ifr_addr, &address, sizeof address);
    if (ioctl(fd, request, interface) != 0)
        quit(EXIT_SKIP, "address");
}

static void add_default_route(int fd)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_in gateway = {.sin_family = AF_INET};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};

    inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    memcpy(&route.rt_gateway, &gateway, sizeof gateway);
    if (ioctl(fd, SIOCADDRT, &route) != 0)
        quit(EXIT_SKIP, "route");
}

/* The namespace starts with this machine's settings; a guest has Linux's own. */
static void set_default(const char *name, const char *value)
{
    char path[128];

    snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        fprintf(stderr, "tunnel_peer: %s stays as it is: %s\n", name, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void make_guest(void)
{
    struct ifreq interface = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    const unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    if (unshare(CLONE_NEWNET) != 0)
        quit(EXIT_SKIP, "network namespace");
    set_default("tcp_rmem", "4096 131072 6291456");
    set_default("tcp_wmem", "4096 16384 4194304");
    peer.tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strcpy(interface.ifr_name, "tap0");
    if (peer.super)
        interface.ifr_flags |= IFF_VNET_HDR;
    if (peer.tap < 0 || ioctl(peer.tap, TUNSETIFF, &interface) != 0 ||
        (peer.super && ioctl(peer.tap, TUNSETOFFLOAD, offload) != 0))
        quit(EXIT_SKIP, "tap");
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    interface.ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
    memcpy(interface.ifr_hwaddr.sa_data, mac, sizeof mac);
    if (fd < 0 || ioctl(fd, SIOCSIFHWADDR, &interface) != 0)
        quit(EXIT_SKIP, "mac");
    interface.ifr_mtu = peer.mtu;
    if (ioctl(fd, SIOCSIFMTU, &interface) != 0)
        quit(EXIT_SKIP, "mtu");
    interface.ifr_qlen = peer.queue;
    if (peer.queue != 0 && ioctl(fd, SIOCSIFTXQLEN, &interface) != 0)
        quit(EXIT_SKIP, "queue");
    set_address(fd, SIOCSIFADDR, &interface, "10.0.2.15");
    set_address(fd, SIOCSIFNETMASK, &interface, "255.255.255.0");
    interface.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &interface) != 0)
        quit(EXIT_SKIP, "up");
    add_default_route(fd);
    close(fd);
}

/* ---- the bad leg ---- */

struct late { /* a frame on its way */
    uint64_t due_ns;
    size_t bytes;
    uint16_t gso_bytes;
    struct late *next;
    uint8_t frame[];
};

static struct leg { /* one direction, sorted by time */
    struct late *first, *last;
} to_proxy, to_guest;

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static bool happens(unsigned per_mille)
{
    peer.random ^= peer.random << 13;
    peer.random ^= peer.random >> 7;
    peer.random ^= peer.random << 17;
    return (peer.random >> 11) % 1000 < per_mille;
}

static bool is_bad(void)
{
    return peer.delay_us != 0 || peer.loss != 0 || peer.duplicate != 0 || peer.reorder != 0;
}

static void put_late(struct leg *leg, const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    struct late *late = malloc(sizeof *late + bytes);

    if (late == NULL)
        quit(EXIT_TUNNEL, "memory");
    *late = (struct late){.due_ns = now_ns() + (uint64_t)peer.delay_us * 1000,
                          .bytes = bytes,
                          .gso_bytes = gso_bytes};
    memcpy(late->frame, frame, bytes);
    if (happens(peer.reorder)) {
        late->next = leg->first; /* before all that waits */
        late->due_ns = leg->first != NULL ? leg->first->due_ns : late->due_ns;
        leg->first = late;
        leg->last = leg->last != NULL ? leg->last : late;
        return;
    }
    if (leg->last != NULL)
        leg->last->next = late;
    else
        leg->first = late;
    leg->last = late;
}

static void enter_leg(struct leg *leg, const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    if (happens(peer.loss))
        return;
    put_late(leg, frame, bytes, gso_bytes);
    if (happens(peer.duplicate))
        put_late(leg, frame, bytes, gso_bytes);
}

static struct late *leave_leg(struct leg *leg)
{
    struct late *late = leg->first;

    if (late == NULL || late->due_ns > now_ns())
        return NULL;
    leg->first = late->next;
    if (leg->first == NULL)
        leg->last = NULL;
    return late;
}

/* ---- the bridge ---- */

static bool flush_out(void)
{
    while (peer.out_at < peer.out_bytes) {
        const ssize_t done = write(peer.ws, peer.out + peer.out_at, peer.out_bytes - peer.out_at);

        if (done < 0 && errno == EAGAIN)
            return false;
        if (done < 0)
            quit(EXIT_TUNNEL, "send");
        peer.out_at += (size_t)done;
    }
    peer.out_at = peer.out_bytes = 0;
    return true;
}

/* WebSocket header of a client: always masked, here with zeros, so the payload stays as it is. */
static size_t put_header(uint8_t *at, size_t payload_bytes)
{
    size_t bytes = 2;

    at[0] = 0x82;
    if (payload_bytes < 126) {
        at[1] = (uint8_t)(0x80 | payload_bytes);
    } else if (payload_bytes < 65536) {
        at[1] = 0x80 | 126;
        at[2] = (uint8_t)(payload_bytes >> 8);
        at[3] = (uint8_t)payload_bytes;
        bytes = 4;
    } else {
        at[1] = 0x80 | 127;
        memset(at + 2, 0, 8);
        for (int i = 0; i < 4; i++)
            at[6 + i] = (uint8_t)(payload_bytes >> (24 - 8 * i));
        bytes = 10;
    }
    memset(at + bytes, 0, 4);
    return bytes + 4;
}

static bool has_room(void)
{
    return BUFFER_BYTES - peer.out_bytes > FRAME_MAX + 32;
}

static void put_frame(const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    const uint8_t head[6] = {
        0xa2, 0x03, gso_bytes != 0 ? 0x12 : 0, 0, (uint8_t)(gso_bytes >> 8), (uint8_t)gso_bytes};
    const size_t head_bytes = gso_bytes != 0 ? 6 : 4;
    uint8_t *at = peer.out + peer.out_bytes;

    if (peer.slirp != NULL) { /* its queue is larger than any window it offers */
        if (send(peer.ws, frame, bytes, 0) < 0)
            quit(EXIT_TUNNEL, "slirp");
        return;
    }
    at += put_header(at, head_bytes + bytes);
    memcpy(at, head, head_bytes);
    memcpy(at + head_bytes, frame, bytes);
    peer.out_bytes = (size_t)(at - peer.out) + head_bytes + bytes;
}

static uint16_t checksum(const uint8_t *data, size_t bytes)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 1 < bytes; i += 2)
        sum += (uint64_t)(data[i] << 8 | data[i + 1]);
    if (bytes % 2 != 0)
        sum += (uint64_t)data[bytes - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* A frame of the tap's; with --super it has the header of a virtio card, whose work is done here.
 * Returns its bytes, 0 when there is none. */
static size_t take_tap(const uint8_t **frame, uint16_t *gso_bytes)
{
    static uint8_t room[sizeof(struct virtio_net_hdr) + FRAME_MAX];
    const size_t head_bytes = peer.super ? sizeof(struct virtio_net_hdr) : 0;
    const ssize_t got = read(peer.tap, room, sizeof room);
    struct virtio_net_hdr head;
    uint8_t *data = room + head_bytes;

    *frame = data;
    *gso_bytes = 0;
    if (got <= (ssize_t)head_bytes)
        return 0;
    const size_t bytes = (size_t)got - head_bytes;
    if (!peer.super)
        return bytes;
    memcpy(&head, room, sizeof head);
    if (head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        *gso_bytes = head.gso_size;
    else if ((head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        put16(data + head.csum_start + head.csum_offset,
              checksum(data + head.csum_start, bytes - head.csum_start));
    return bytes;
}

static void tap_to_tunnel(void)
{
    const uint8_t *frame;
    uint16_t gso_bytes;

    for (int i = 0; i < FRAMES_PER_TURN && has_room(); i++) {
        const size_t bytes = take_tap(&frame, &gso_bytes);
        if (bytes == 0)
            break;
        if (is_bad())
            enter_leg(&to_proxy, frame, bytes, gso_bytes);
        else
            put_frame(frame, bytes, gso_bytes);
    }
    flush_out();
}

/* As a virtio card that lets its guest trust the checksums. IPv4 is all that runs here. */
static void write_super(uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    const uint16_t tcp_at = (uint16_t)(14 + (frame[14] & 15) * 4);
    struct virtio_net_hdr head = {0};
    const struct iovec parts[2] = {{&head, sizeof head}, {frame, bytes}};

    if (gso_bytes != 0) {
        head =
            (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                    .hdr_len = (uint16_t)(tcp_at + (frame[tcp_at + 12] >> 4) * 4),
                                    .gso_size = gso_bytes,
                                    .csum_start = tcp_at,
                                    .csum_offset = 16};
        put16(frame + 24, 0);
        put16(frame + 24, checksum(frame + 14, tcp_at - 14u));
    }
    if (writev(peer.tap, parts, 2) < 0 && errno != EAGAIN && errno != EIO)
        quit(EXIT_TUNNEL, "tap");
}

static void put_tap(uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    if (peer.super)
        write_super(frame, bytes, gso_bytes);
    else if (write(peer.tap, frame, bytes) < 0 && errno != EAGAIN && errno != EIO)
        quit(EXIT_TUNNEL, "tap");
}

static void run_legs(void)
{
    struct late *late;

    while (has_room() && (late = leave_leg(&to_proxy)) != NULL) {
        put_frame(late->frame, late->bytes, late->gso_bytes);
        free(late);
    }
    flush_out();
    while ((late = leave_leg(&to_guest)) != NULL) {
        put_tap(late->frame, late->bytes, late->gso_bytes);
        free(late);
    }
}

static int until_due_ms(void)
{
    uint64_t due_ns = UINT64_MAX;

    if (to_proxy.first != NULL)
        due_ns = to_proxy.first->due_ns;
    if (to_guest.first != NULL && to_guest.first->due_ns < due_ns)
        due_ns = to_guest.first->due_ns;
    if (due_ns == UINT64_MAX)
        return -1;
    const uint64_t now = now_ns();
    return due_ns > now ? (int)((due_ns - now + 999999) / 1000000) : 0;
}

/* Returns the bytes of the first whole message of `data`, 0 if it is not there yet. */
static size_t message(uint8_t *data, size_t bytes, uint8_t **payload, size_t *length)
{
    size_t header_bytes = 2;

    if (bytes < 2)
        return 0;
    *length = data[1] & 0x7f;
    if (*length == 126) {
        header_bytes = 4;
        if (bytes < 4)
            return 0;
        *length = (size_t)data[2] << 8 | data[3];
    } else if (*length == 127) {
        header_bytes = 10;
        if (bytes < 10)
            return 0;
        *length = (size_t)data[6] << 24 | (size_t)data[7] << 16 | (size_t)data[8] << 8 | data[9];
    }
    *payload = data + header_bytes;
    return bytes - header_bytes >= *length ? header_bytes + *length : 0;
}

static void tunnel_to_tap(void)
{
    const ssize_t got = read(peer.ws, peer.in + peer.in_bytes, BUFFER_BYTES - peer.in_bytes);
    size_t at = 0, used, length;
    uint8_t *payload;

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        quit(EXIT_TUNNEL, "receive");
    peer.in_bytes += (size_t)got;
    while ((used = message(peer.in + at, peer.in_bytes - at, &payload, &length)) != 0) {
        if (peer.in[at] == 0x88) {
            fprintf(stderr, "tunnel_peer: closed: %.*s\n", (int)length - 2,
                    (const char *)payload + 2);
            exit(EXIT_TUNNEL);
        }
        if (peer.in[at] == 0x82 && length > 6 && (payload[2] == 0 || payload[2] == 0x12)) {
            const bool is_super = payload[2] == 0x12;
            const size_t head_bytes = is_super ? 6 : 4;
            const uint16_t gso_bytes = is_super ? (uint16_t)(payload[4] << 8 | payload[5]) : 0;

            if (is_bad())
                enter_leg(&to_guest, payload + head_bytes, length - head_bytes, gso_bytes);
            else
                put_tap(payload + head_bytes, length - head_bytes, gso_bytes);
        }
        at += used;
    }
    memmove(peer.in, peer.in + at, peer.in_bytes - at);
    peer.in_bytes -= at;
}

static void from_tunnel(void)
{
    if (peer.slirp == NULL) {
        tunnel_to_tap();
        return;
    }
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        const ssize_t bytes = read(peer.ws, peer.in, FRAME_MAX);

        if (bytes < 0 && errno == EAGAIN)
            return;
        if (bytes <= 0)
            quit(EXIT_TUNNEL, "receive");
        if (is_bad())
            enter_leg(&to_guest, peer.in, (size_t)bytes, 0);
        else
            put_tap(peer.in, (size_t)bytes, 0);
    }
}

static int bridge(pid_t command)
{
    const int ended = (int)syscall(SYS_pidfd_open, command, 0);
    struct pollfd polls[3] = {{.fd = ended, .events = POLLIN}, {.fd = peer.ws}, {.fd = peer.tap}};
    int status = 0;

    if (ended < 0)
        quit(EXIT_SKIP, "pidfd");
    for (;;) {
        const bool is_clear = peer.out_bytes == 0;

        polls[1].events = (short)(POLLIN | (is_clear ? 0 : POLLOUT));
        polls[2].events = is_clear ? POLLIN : 0;
        if (poll(polls, 3, until_due_ms()) < 0)
            quit(EXIT_TUNNEL, "poll");
        if ((polls[0].revents & POLLIN) != 0)
            break;
        if ((polls[1].revents & POLLOUT) != 0)
            flush_out();
        if ((polls[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            from_tunnel();
        if ((polls[2].revents & POLLIN) != 0)
            tap_to_tunnel();
        if (is_bad())
            run_legs();
    }
    waitpid(command, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    peer.in = malloc(BUFFER_BYTES);
    peer.out = malloc(BUFFER_BYTES);
    if (peer.in == NULL || peer.out == NULL)
        quit(EXIT_TUNNEL, "memory");
    signal(SIGPIPE, SIG_IGN);
    if (peer.slirp != NULL)
        connect_slirp();
    else
        connect_tunnel();
    make_guest();
    const pid_t command = fork();
    if (command == 0) {
        execvp(peer.command[0], peer.command);
        fprintf(stderr, "tunnel_peer: %s: %s\n", peer.command[0], strerror(errno));
        _exit(127);
    }
    return bridge(command);
}
