/*
 * tcp_load.c - both ends of a TCP transfer, checked byte by byte.
 *
 *   tcp_load serve                   prints "port N", serves until its input ends
 *   tcp_load down|up HOST PORT BYTES [FLOWS]
 *                                    prints one JSON line: seconds, bytes, ok, worst stall, and
 *                                    when half of it was through (of the first flow)
 *   tcp_load idle HOST PORT FLOWS    opens them, prints "open N", holds them until its input ends
 *   tcp_load half HOST PORT BYTES    sends, shuts down, and only then receives the bytes back
 *
 * A client opens with 16 bytes: 'd' or 'u' or 'h', 7 bytes of nothing, BYTES big-endian. The
 * stream is a pseudo-random block repeated with an odd period, so a lost, doubled or moved byte
 * shows. The receiver compares all of it and answers an upload with "ok".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD = 1000003, CHUNK = 262144, HEAD_BYTES = 16 };

static uint8_t block[PERIOD + CHUNK];
static double half_at_s; /* when half of the stream was sent or received */

static void fill_block(void)
{
    uint64_t random = 88172645463325252u;

    for (size_t i = 0; i < sizeof block; i++) {
        if (i >= PERIOD) {
            block[i] = block[i - PERIOD];
            continue;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        block[i] = (uint8_t)random;
    }
}

static double now_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void note_half(uint64_t at, uint64_t bytes)
{
    if (half_at_s == 0 && at >= bytes / 2)
        half_at_s = now_s();
}

static bool send_stream(int fd, uint64_t bytes, double *stall_s)
{
    for (uint64_t at = 0; at < bytes;) {
        const uint64_t left = bytes - at;
        const double before_s = now_s();
        const ssize_t done =
            send(fd, block + at % PERIOD, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);

        if (done <= 0)
            return false;
        at += (uint64_t)done;
        note_half(at, bytes);
        if (now_s() - before_s > *stall_s)
            *stall_s = now_s() - before_s;
    }
    return true;
}

/* Receives exactly `bytes`, all right; then, if `to_end`, the end of the stream. */
static bool receive_stream(int fd, uint64_t bytes, bool to_end, double *stall_s)
{
    static uint8_t data[CHUNK];
    uint64_t at = 0;

    for (;;) {
        const uint64_t left = bytes - at;
        const double before_s = now_s();

        if (left == 0 && !to_end)
            return true;
        const ssize_t got = recv(fd, data, left == 0 ? 1 : left < CHUNK ? left : CHUNK, 0);
        if (got <= 0)
            return got == 0 && left == 0;
        if (left == 0 || memcmp(data, block + at % PERIOD, (size_t)got) != 0)
            return false;
        at += (uint64_t)got;
        note_half(at, bytes);
        if (now_s() - before_s > *stall_s)
            *stall_s = now_s() - before_s;
    }
}

static void serve_one(int fd)
{
    uint8_t head[HEAD_BYTES];
    double stall_s = 0;
    uint64_t bytes = 0;
    bool ok = false;

    if (recv(fd, head, sizeof head, MSG_WAITALL) != HEAD_BYTES)
        return;
    for (int i = 8; i < HEAD_BYTES; i++)
        bytes = bytes << 8 | head[i];
    if (head[0] == 'd') {
        send_stream(fd, bytes, &stall_s);
        return;
    }
    ok = receive_stream(fd, bytes, true, &stall_s);
    if (head[0] == 'h' && ok)
        send_stream(fd, bytes, &stall_s);
    else
        send(fd, ok ? "ok" : "no", 2, MSG_NOSIGNAL);
}

static int serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct pollfd polls[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};

    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 512) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &address_bytes) != 0)
        return 1;
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        if (poll(polls, 2, -1) < 0)
            return 1;
        if (polls[0].revents != 0)
            return 0;
        const int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            serve_one(fd);
            _exit(0);
        }
        close(fd);
    }
}

static int connect_to(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    /* Linux's own, whatever this machine prefers; without the right to choose, so be it. */
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    inet_pton(AF_INET, host, &address.sin_addr);
    return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

static int hold_idle(const char *host, const char *port, int flows)
{
    int open = 0;
    char byte;

    while (open < flows && connect_to(host, port) >= 0)
        open++;
    printf("open %d\n", open);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return open == flows ? 0 : 1;
}

static bool transfer(char kind, const char *host, const char *port, uint64_t bytes, double *stall_s)
{
    uint8_t head[HEAD_BYTES] = {(uint8_t)kind};
    char answer[2];
    const int fd = connect_to(host, port);

    for (int i = 0; i < 8; i++)
        head[15 - i] = (uint8_t)(bytes >> (8 * i));
    if (fd < 0 || send(fd, head, sizeof head, MSG_NOSIGNAL) != HEAD_BYTES)
        return false;
    if (kind == 'd')
        return receive_stream(fd, bytes, true, stall_s);
    if (!send_stream(fd, bytes, stall_s) || shutdown(fd, SHUT_WR) != 0)
        return false;
    if (kind == 'h')
        return receive_stream(fd, bytes, true, stall_s);
    return recv(fd, answer, 2, MSG_WAITALL) == 2 && memcmp(answer, "ok", 2) == 0;
}

int main(int argc, char **argv)
{
    fill_block();
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve();
    if (argc < 5) {
        fprintf(stderr, "usage: tcp_load serve | down|up|half|idle HOST PORT BYTES [FLOWS]\n");
        return 2;
    }
    if (strcmp(argv[1], "idle") == 0)
        return hold_idle(argv[2], argv[3], atoi(argv[4]));
    const uint64_t bytes = strtoull(argv[4], NULL, 10);
    const int flows = argc > 5 ? atoi(argv[5]) : 1;
    const double start_s = now_s();
    double stall_s = 0;
    bool ok = true;

    for (int i = 1; i < flows; i++) {
        if (fork() == 0)
            _exit(transfer(argv[1][0], argv[2], argv[3], bytes, &stall_s) ? 0 : 1);
    }
    ok = transfer(argv[1][0], argv[2], argv[3], bytes, &stall_s);
    for (int status; wait(&status) > 0;)
        ok = ok && status == 0;
    printf("{\"seconds\":%.6f,\"half_s\":%.6f,\"bytes\":%llu,\"ok\":%s,\"stall_s\":%.3f}\n",
           now_s() - start_s, half_at_s - start_s, (unsigned long long)bytes * (unsigned)flows,
           ok ? "true" : "false", stall_s);
    return ok ? 0 : 1;
}
