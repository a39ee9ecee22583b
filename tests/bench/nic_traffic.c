#define _POSIX_C_SOURCE 200809L
#include "nic_traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct shape shapes[SHAPES] = {
    {"60", 60, 64},
    {"1514", FULL_BYTES, 64},
    {"64K", AGGREGATE_BYTES, 1},
};

uint64_t allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    allocations++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    allocations++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    allocations++;
    return __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    allocations++;
    return __real_aligned_alloc(alignment, bytes);
}

void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench: %s\n", what);
        exit(1);
    }
}

uint32_t record_bytes(uint32_t bytes)
{
    return (bytes + 4 + 3) & ~3u;
}

uint32_t frames_of(const struct shape *shape)
{
    return shape->bytes <= FULL_BYTES ? 1 : (shape->bytes - HEADER_BYTES + MSS - 1) / MSS;
}

uint32_t frame_bytes(const struct shape *shape, uint32_t index)
{
    const uint32_t sent = index * MSS;

    if (shape->bytes <= FULL_BYTES)
        return shape->bytes;
    return HEADER_BYTES +
           (shape->bytes - HEADER_BYTES - sent < MSS ? shape->bytes - HEADER_BYTES - sent : MSS);
}

uint32_t tcp_bytes(uint32_t bytes)
{
    return bytes <= 60 ? TCP_HEADER_BYTES : bytes - ETH_HEADER_BYTES - IPV4_HEADER_BYTES;
}

uint32_t pseudo(const uint8_t *ip, uint32_t bytes)
{
    return checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT, IP_PROTOCOL_TCP,
                                (uint16_t)bytes);
}

uint32_t frame_make(const struct shape *shape, uint32_t index, uint8_t *frame)
{
    static const uint8_t start[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x52, 0x55,
                                    0x0a, 0,    2,    2,    0x08, 0,    0x45};
    static const uint8_t addresses[] = {10, 0, 2, 15, 10, 0, 2, 2};
    const uint32_t bytes = frame_bytes(shape, index);
    uint8_t *ip = frame + ETH_HEADER_BYTES;
    uint8_t *tcp = ip + IPV4_HEADER_BYTES;

    memset(frame, 0, bytes);
    memcpy(frame, start, sizeof start);
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(IPV4_HEADER_BYTES + tcp_bytes(bytes)));
    be16_put(ip + IPV4_ID_AT, (uint16_t)(7 + index));
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    memcpy(ip + IPV4_SOURCE_AT, addresses, sizeof addresses);
    be16_put(ip + IPV4_CHECKSUM_AT, checksum_finish(checksum_add(0, ip, IPV4_HEADER_BYTES)));
    be16_put(tcp + TCP_SOURCE_AT, 40000);
    be16_put(tcp + TCP_DESTINATION_AT, 80);
    be32_put(tcp + TCP_SEQUENCE_AT, 1 + index * MSS);
    tcp[TCP_DATA_OFFSET_AT] = TCP_HEADER_BYTES / 4 << 4;
    tcp[TCP_FLAGS_AT] = TCP_ACK;
    be16_put(tcp + TCP_WINDOW_AT, 512);
    if (bytes > 60) {
        for (uint32_t i = HEADER_BYTES; i < bytes; i++)
            frame[i] = (uint8_t)(i * 31 + index);
    }
    be16_put(tcp + TCP_CHECKSUM_AT,
             checksum_finish(checksum_add(pseudo(ip, tcp_bytes(bytes)), tcp, tcp_bytes(bytes))));
    return bytes;
}

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

void measure(const char *name, const struct shape *shape, double ns_wanted,
             void (*run)(void *bench, uint32_t batches), void *bench)
{
    uint32_t batches = 1;
    double ns = 0;

    for (; ns < ns_wanted / 16; batches *= 2) { /* warms up, too */
        const double start = cpu_ns();

        run(bench, batches);
        ns = cpu_ns() - start;
    }
    batches = (uint32_t)(ns_wanted / ns * batches / 2) + 1;
    const uint64_t allocated = allocations;
    const double start = cpu_ns();
    run(bench, batches);
    ns = cpu_ns() - start;
    printf("%s %.2f %llu\n", name, ns / batches / shape->units,
           (unsigned long long)(allocations - allocated));
}
