/*
 * tcp_load.c - both ends of a TCP transfer, checked byte by byte.
 *
 *   tcp_load serve [ADDRESS]         prints "port N", serves until its input ends
 *   tcp_load down|up|half HOST PORT BYTES [FLOWS [sha256]]
 *                                    prints one JSON line: seconds, bytes, ok, worst stall, and
 *                                    when half of it was through (of the first flow)
 *   tcp_load idle HOST PORT FLOWS    opens them, prints "open N", holds them until its input ends
 *
 * "half" sends, shuts down, and only then receives the bytes back.
 *
 * A client opens with 16 bytes: 'd' or 'u' or 'h', 's' for sha256, 6 bytes of nothing, BYTES
 * big-endian. The stream is a pseudo-random block repeated with an odd period, so a lost, doubled
 * or moved byte shows; the receiver compares all of it. An upload is answered with "ok". With
 * sha256 each end also hashes what it sent or received, and the server says its digest last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
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

enum { PERIOD = 1000003, CHUNK = 262144, HEAD_BYTES = 16, DIGEST_BYTES = 32 };

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

struct stream {
    int fd;
    uint64_t bytes;
    EVP_MD_CTX *sent, *received; /* NULL: nobody wants a digest */
    double stall_s;              /* the longest wait for a single call */
};

static void hash(EVP_MD_CTX *context, const void *data, size_t bytes)
{
    if (context != NULL)
        EVP_DigestUpdate(context, data, bytes);
}

static void want_digests(struct stream *stream)
{
    stream->sent = EVP_MD_CTX_new();
    stream->received = EVP_MD_CTX_new();
    if (stream->sent == NULL || stream->received == NULL ||
        EVP_DigestInit_ex(stream->sent, EVP_sha256(), NULL) != 1 ||
        EVP_DigestInit_ex(stream->received, EVP_sha256(), NULL) != 1)
        exit(1);
}

static void close_stream(struct stream *stream)
{
    EVP_MD_CTX_free(stream->sent);
    EVP_MD_CTX_free(stream->received);
    close(stream->fd);
}

static bool send_all(int fd, const void *data, size_t bytes)
{
    return send(fd, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes; /* few bytes, all at once */
}

static void note_stall(struct stream *stream, double since_s)
{
    const double stall_s = now_s() - since_s;

    if (stall_s > stream->stall_s)
        stream->stall_s = stall_s;
}

static bool send_stream(struct stream *stream)
{
    for (uint64_t at = 0; at < stream->bytes;) {
        const uint64_t left = stream->bytes - at;
        const uint8_t *data = block + at % PERIOD;
        const double before_s = now_s();
        const ssize_t done = send(stream->fd, data, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);

        if (done <= 0)
            return false;
        hash(stream->sent, data, (size_t)done);
        at += (uint64_t)done;
        note_half(at, stream->bytes);
        note_stall(stream, before_s);
    }
    return true;
}

/* Receives exactly the stream's bytes, all right. */
static bool receive_stream(struct stream *stream)
{
    static uint8_t data[CHUNK];

    for (uint64_t at = 0; at < stream->bytes;) {
        const uint64_t left = stream->bytes - at;
        const double before_s = now_s();
        const ssize_t got = recv(stream->fd, data, left < CHUNK ? left : CHUNK, 0);

        if (got <= 0 || memcmp(data, block + at % PERIOD, (size_t)got) != 0)
            return false;
        hash(stream->received, data, (size_t)got);
        at += (uint64_t)got;
        note_half(at, stream->bytes);
        note_stall(stream, before_s);
    }
    return true;
}

static bool receive_end(int fd)
{
    uint8_t byte;

    return recv(fd, &byte, 1, 0) == 0;
}

/* The server's last word: a digest of what it sent or received. */
static bool say_digest(int fd, EVP_MD_CTX *context)
{
    uint8_t digest[DIGEST_BYTES];

    return context == NULL ||
           (EVP_DigestFinal_ex(context, digest, NULL) == 1 && send_all(fd, digest, sizeof digest));
}

static bool hear_digest(int fd, EVP_MD_CTX *context)
{
    uint8_t ours[DIGEST_BYTES], theirs[DIGEST_BYTES];

    return context == NULL || (EVP_DigestFinal_ex(context, ours, NULL) == 1 &&
                               recv(fd, theirs, sizeof theirs, MSG_WAITALL) == DIGEST_BYTES &&
                               memcmp(ours, theirs, sizeof ours) == 0);
}

static void serve_one(int fd)
{
    struct stream stream = {.fd = fd};
    uint8_t head[HEAD_BYTES];

    if (recv(fd, head, sizeof head, MSG_WAITALL) != HEAD_BYTES)
        return;
    for (int i = 8; i < HEAD_BYTES; i++)
        stream.bytes = stream.bytes << 8 | head[i];
    if (head[1] == 's')
        want_digests(&stream);
    if (head[0] == 'd') {
        if (send_stream(&stream))
            say_digest(fd, stream.sent);
        return;
    }
    const bool ok = receive_stream(&stream) && receive_end(fd);
    if (head[0] == 'u')
        send_all(fd, ok ? "ok" : "no", 2);
    if (ok && (head[0] == 'u' || send_stream(&stream)))
        say_digest(fd, stream.received);
}

static struct addrinfo *find_address(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;

    if (getaddrinfo(host, port, &hints, &found) != 0) {
        fprintf(stderr, "tcp_load: %s port %s is no address\n", host, port);
        exit(2);
    }
    return found;
}

static int serve(const char *host)
{
    const struct addrinfo *address = find_address(host, "0");
    struct sockaddr_in6 bound; /* the port is where sockaddr_in has it, too */
    socklen_t bound_bytes = sizeof bound;
    const int listener = socket(address->ai_family, SOCK_STREAM, 0);
    struct pollfd polls[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};

    if (bind(listener, address->ai_addr, address->ai_addrlen) != 0 || listen(listener, 1024) != 0 ||
        getsockname(listener, (struct sockaddr *)&bound, &bound_bytes) != 0)
        return 1;
    printf("port %u\n", ntohs(bound.sin6_port));
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

static int connect_to(const struct addrinfo *address)
{
    const int fd = socket(address->ai_family, SOCK_STREAM, 0);

    /* Linux's own, whatever this machine prefers; without the right to choose, so be it. */
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    return fd >= 0 && connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? fd : -1;
}

static int hold_idle(const struct addrinfo *address, int flows)
{
    int open = 0;
    char byte;

    while (open < flows && connect_to(address) >= 0)
        open++;
    printf("open %d\n", open);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return open == flows ? 0 : 1;
}

struct job {
    char kind;
    bool sha256;
    uint64_t bytes;
    const struct addrinfo *address;
};

static bool transfer(const struct job *job, double *stall_s)
{
    uint8_t head[HEAD_BYTES] = {(uint8_t)job->kind, job->sha256 ? 's' : 0};
    struct stream stream = {.fd = connect_to(job->address), .bytes = job->bytes};
    char answer[2];
    bool ok;

    for (int i = 0; i < 8; i++)
        head[15 - i] = (uint8_t)(job->bytes >> (8 * i));
    if (stream.fd < 0 || !send_all(stream.fd, head, sizeof head))
        return false;
    if (job->sha256)
        want_digests(&stream);
    if (job->kind == 'd') {
        ok = receive_stream(&stream) && hear_digest(stream.fd, stream.received);
    } else {
        ok = send_stream(&stream) && shutdown(stream.fd, SHUT_WR) == 0;
        if (job->kind == 'h')
            ok = ok && receive_stream(&stream);
        else
            ok = ok && recv(stream.fd, answer, 2, MSG_WAITALL) == 2 && memcmp(answer, "ok", 2) == 0;
        ok = ok && hear_digest(stream.fd, stream.sent);
    }
    if (job->kind != 'u' || job->sha256) /* pasta of Debian 12 repeats that answer */
        ok = ok && receive_end(stream.fd);
    *stall_s = stream.stall_s;
    close_stream(&stream);
    return ok;
}

int main(int argc, char **argv)
{
    fill_block();
    if (argc >= 2 && strcmp(argv[1], "serve") == 0)
        return serve(argc > 2 ? argv[2] : "127.0.0.1");
    if (argc < 5) {
        fprintf(stderr, "usage: tcp_load serve [ADDRESS] |"
                        " down|up|half|idle HOST PORT BYTES [FLOWS [sha256]]\n");
        return 2;
    }
    struct addrinfo *address = find_address(argv[2], argv[3]);
    const struct job job = {.kind = argv[1][0],
                            .sha256 = argc > 6 && strcmp(argv[6], "sha256") == 0,
                            .bytes = strtoull(argv[4], NULL, 10),
                            .address = address};
    if (strcmp(argv[1], "idle") == 0)
        return hold_idle(job.address, atoi(argv[4]));
    const int flows = argc > 5 ? atoi(argv[5]) : 1;
    const double start_s = now_s();
    double stall_s = 0;

    for (int i = 1; i < flows; i++) {
        if (fork() == 0)
            _exit(transfer(&job, &stall_s) ? 0 : 1);
    }
    bool ok = transfer(&job, &stall_s);
    for (int status; wait(&status) > 0;)
        ok = ok && status == 0;
    printf("{\"seconds\":%.6f,\"half_s\":%.6f,\"bytes\":%llu,\"ok\":%s,\"sha256\":%s,"
           "\"stall_s\":%.3f}\n",
           now_s() - start_s, half_at_s - start_s, (unsigned long long)job.bytes * (unsigned)flows,
           ok ? "true" : "false", ok && job.sha256 ? "true" : "false", stall_s);
    freeaddrinfo(address);
    return ok ? 0 : 1;
}
