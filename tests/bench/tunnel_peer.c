/*
 * tunnel_peer.c - a Linux kernel as the guest of a tunnel: a tap device in a network namespace of
 * its own, bridged to a proxy over a WebSocket, and a command that runs inside.
 *
 *   tunnel_peer [options] -- command args...
 *     --proxy 127.0.0.1:8090, --token T    where, and as whom
 *     --slirp SOCKET                       instead: slirp4netns --target-type=bess SOCKET
 *     --mtu 1500
 *     --super 1                            TCP passes uncut (TSO), as super-frames
 *                                          (spec/l2-extensions.md §6)
 *     --queue N                            frames the tap holds; the kernel drops what does not
 *                                          fit, where a network card's driver would wait
 *     --address static | none              none: the command finds an address for tap0
 *     --delay-us N, --loss P, --duplicate P, --reorder P, --rate-kbit N, --queue-bytes N, --seed N
 *                                          a bad line, both ways alike (peer_leg.h); P per mille
 *     --capture FILE, --capture-frames N   what was on the tunnel, as pcap
 *
 * --super, and an MTU above 1500, are announced in a HELLO. Super-frames are not captured: their
 * checksums are still to be filled in.
 *
 * The tap is 10.0.2.15/24 with the proxy's gateway as default route. Ends with the command's
 * status; 77 when the system does not let us make a namespace or a tap, 70 when the tunnel broke.
 * What a bad line did is told on stderr. A test peer: its masking key is zero.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer_capture.h"
#include "peer_guest.h"
#include "peer_leg.h"

enum {
    EXIT_SKIP = 77,
    EXIT_TUNNEL = 70,
    BUFFER_BYTES = 1 << 20,
    FRAMES_PER_TURN = 64,
};

static struct {                                  /* one process, one tunnel */
    const char *proxy, *token, *slirp, *address; /* slirp: a socket of frames, one per packet */
    const char *capture_path;
    unsigned mtu, queue, uncut, seed, capture_frames;
    struct leg_quality quality;
    struct leg to_proxy, to_guest;
    struct capture *capture;
    struct guest guest;
    int ws;
    char **command;
    uint8_t *in, *out;
    size_t in_bytes, out_at, out_bytes;
} peer = {
    .proxy = "127.0.0.1:8090",
    .address = "static",
    .mtu = 1500,
    .queue = 10000, /* more than a window */
    .capture_frames = UINT32_MAX,
    .quality = {.queue_bytes = 100000},
};

static const struct option {
    const char *name, **text;
    unsigned *number; /* or this */
} options[] = {
    {.name = "--proxy", .text = &peer.proxy},
    {.name = "--token", .text = &peer.token},
    {.name = "--slirp", .text = &peer.slirp},
    {.name = "--address", .text = &peer.address},
    {.name = "--capture", .text = &peer.capture_path},
    {.name = "--capture-frames", .number = &peer.capture_frames},
    {.name = "--mtu", .number = &peer.mtu},
    {.name = "--queue", .number = &peer.queue},
    {.name = "--super", .number = &peer.uncut},
    {.name = "--delay-us", .number = &peer.quality.delay_us},
    {.name = "--loss", .number = &peer.quality.loss},
    {.name = "--duplicate", .number = &peer.quality.duplicate},
    {.name = "--reorder", .number = &peer.quality.reorder},
    {.name = "--rate-kbit", .number = &peer.quality.rate_kbit},
    {.name = "--queue-bytes", .number = &peer.quality.queue_bytes},
    {.name = "--seed", .number = &peer.seed},
};

static void quit(int status, const char *what)
{
    fprintf(stderr, "tunnel_peer: %s: %s\n", what, strerror(errno));
    exit(status);
}

static bool set_option(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (options[i].text != NULL)
            *options[i].text = value;
        else
            *options[i].number = (unsigned)strtoul(value, NULL, 10);
        return true;
    }
    return false;
}

static void parse_options(int argc, char **argv)
{
    int i = 1;

    while (i + 1 < argc && strcmp(argv[i], "--") != 0 && set_option(argv[i], argv[i + 1]))
        i += 2;
    if (i + 1 >= argc || strcmp(argv[i], "--") != 0) {
        fprintf(stderr, "usage: tunnel_peer [--proxy H:P] [--mtu N] ... -- command ...\n");
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

    hello[13] = peer.uncut != 0 ? 4 : 0;
    if ((peer.uncut != 0 || peer.mtu > 1500) && write(peer.ws, hello, sizeof hello) != sizeof hello)
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

/* ---- the bridge ---- */

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static bool is_bad(void)
{
    return leg_is_bad(&peer.quality);
}

static void enter_leg(struct leg *leg, const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    if (!leg_enter(leg, frame, bytes, gso_bytes, now_ns()))
        quit(EXIT_TUNNEL, "memory");
}

static void print_leg(const char *name, const struct leg *leg)
{
    const struct leg_counts *counts = &leg->counts;

    fprintf(stderr, "%s: frames %llu lost %llu doubled %llu overtaking %llu overflowed %llu\n",
            name, (unsigned long long)counts->frames, (unsigned long long)counts->lost,
            (unsigned long long)counts->doubled, (unsigned long long)counts->overtaking,
            (unsigned long long)counts->overflowed);
}

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
    return BUFFER_BYTES - peer.out_bytes > GUEST_FRAME_MAX + 32;
}

static void capture(const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    if (gso_bytes == 0)
        capture_frame(peer.capture, frame, bytes);
}

static void put_frame(const uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    const uint8_t head[6] = {
        0xa2, 0x03, gso_bytes != 0 ? 0x12 : 0, 0, (uint8_t)(gso_bytes >> 8), (uint8_t)gso_bytes};
    const size_t head_bytes = gso_bytes != 0 ? 6 : 4;
    uint8_t *at = peer.out + peer.out_bytes;

    capture(frame, bytes, gso_bytes);
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

static void tap_to_tunnel(void)
{
    uint8_t *frame;
    uint16_t gso_bytes;

    for (int i = 0; i < FRAMES_PER_TURN && has_room(); i++) {
        const size_t bytes = guest_take(&peer.guest, &frame, &gso_bytes);
        if (bytes == 0)
            break;
        if (is_bad())
            enter_leg(&peer.to_proxy, frame, bytes, gso_bytes);
        else
            put_frame(frame, bytes, gso_bytes);
    }
    flush_out();
}

static void put_tap(uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    if (!guest_give(&peer.guest, frame, bytes, gso_bytes))
        quit(EXIT_TUNNEL, "tap");
}

static void run_legs(void)
{
    struct leg_frame *late;

    while (has_room() && (late = leg_leave(&peer.to_proxy, now_ns())) != NULL) {
        put_frame(late->data, late->bytes, late->gso_bytes);
        free(late);
    }
    flush_out();
    while ((late = leg_leave(&peer.to_guest, now_ns())) != NULL) {
        put_tap(late->data, late->bytes, late->gso_bytes);
        free(late);
    }
}

/* How long to sleep; NULL: until something comes. */
static const struct timespec *until_due(struct timespec *time)
{
    const uint64_t to_proxy_ns = leg_due_ns(&peer.to_proxy),
                   to_guest_ns = leg_due_ns(&peer.to_guest);
    const uint64_t due_ns = to_proxy_ns < to_guest_ns ? to_proxy_ns : to_guest_ns;
    const uint64_t now = now_ns();
    const uint64_t left_ns = due_ns > now ? due_ns - now : 0;

    *time = (struct timespec){.tv_sec = (time_t)(left_ns / 1000000000u),
                              .tv_nsec = (long)(left_ns % 1000000000u)};
    return due_ns == UINT64_MAX ? NULL : time;
}

/* From the tunnel, towards the guest. */
static void take_frame(uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    capture(frame, bytes, gso_bytes);
    if (is_bad())
        enter_leg(&peer.to_guest, frame, bytes, gso_bytes);
    else
        put_tap(frame, bytes, gso_bytes);
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
        if (peer.in[at] == 0x82 && length > 4 && payload[2] == 0)
            take_frame(payload + 4, length - 4, 0);
        else if (peer.in[at] == 0x82 && length > 6 && payload[2] == 0x12)
            take_frame(payload + 6, length - 6, (uint16_t)(payload[4] << 8 | payload[5]));
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
        const ssize_t bytes = read(peer.ws, peer.in, GUEST_FRAME_MAX);

        if (bytes < 0 && errno == EAGAIN)
            return;
        if (bytes <= 0)
            quit(EXIT_TUNNEL, "receive");
        take_frame(peer.in, (size_t)bytes, 0);
    }
}

/* What the guest said in its last moments: a datagram, a FIN. */
static void drain_tap(void)
{
    struct pollfd tap = {.fd = peer.guest.tap, .events = POLLIN};

    while (has_room() && poll(&tap, 1, 0) > 0)
        tap_to_tunnel();
}

static int bridge(pid_t command)
{
    const int ended = (int)syscall(SYS_pidfd_open, command, 0);
    struct pollfd polls[3] = {
        {.fd = ended, .events = POLLIN}, {.fd = peer.ws}, {.fd = peer.guest.tap}};
    struct timespec pause;
    int status = 0;

    if (ended < 0)
        quit(EXIT_SKIP, "pidfd");
    for (;;) {
        const bool is_clear = peer.out_bytes == 0;

        polls[1].events = (short)(POLLIN | (is_clear ? 0 : POLLOUT));
        polls[2].events = is_clear ? POLLIN : 0;
        if (ppoll(polls, 3, until_due(&pause), NULL) < 0)
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
    drain_tap();
    waitpid(command, &status, 0);
    if (is_bad()) {
        print_leg("to the proxy", &peer.to_proxy);
        print_leg("to the guest", &peer.to_guest);
    }
    if (!capture_close(peer.capture))
        quit(EXIT_TUNNEL, "capture");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    peer.in = malloc(BUFFER_BYTES);
    peer.out = malloc(BUFFER_BYTES);
    if (peer.in == NULL || peer.out == NULL)
        quit(EXIT_TUNNEL, "memory");
    leg_init(&peer.to_proxy, &peer.quality, 2 * peer.seed);
    leg_init(&peer.to_guest, &peer.quality, 2 * peer.seed + 1);
    if (peer.capture_path != NULL) {
        peer.capture = capture_open(peer.capture_path, peer.capture_frames);
        if (peer.capture == NULL)
            quit(EXIT_TUNNEL, peer.capture_path);
    }
    signal(SIGPIPE, SIG_IGN);
    if (peer.slirp != NULL)
        connect_slirp();
    else
        connect_tunnel();
    const struct guest_wish wish = {.mtu = peer.mtu,
                                    .queue_frames = peer.queue,
                                    .has_address = strcmp(peer.address, "static") == 0,
                                    .uncut = peer.uncut != 0};
    const char *refused = guest_open(&peer.guest, &wish);
    if (refused != NULL)
        quit(EXIT_SKIP, refused);
    const pid_t command = fork();
    if (command == 0) {
        execvp(peer.command[0], peer.command);
        fprintf(stderr, "tunnel_peer: %s: %s\n", peer.command[0], strerror(errno));
        _exit(127);
    }
    return bridge(command);
}
