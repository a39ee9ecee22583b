/*
 * nic_bench.c - the E1000 natively, without an emulator: ns per frame for each shape of traffic.
 *
 *   bench_nic [MS]              every case for about MS milliseconds of CPU time (default 20);
 *                               a line each: case, ns a unit, allocations
 *   bench_nic CASE BATCHES      one case, for callgrind
 *
 * A driver's work is laid out once: descriptors and frames stay, a batch moves the tail, polls the
 * card and reads ICR. Frames are TCP; the card inserts checksums (or segments) and judges them.
 * tests/bench/nic-card.js does the same with the wasm build.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "linear.h"
#include "nic/e1000.h"
#include "nic_limit.h"
#include "nic_traffic.h"

enum {
    RAM_BYTES = 1 << 20,
    TX_RING = 0x1000,
    RX_RING = 0x3000,
    TX_BUFFERS = 0x10000,
    RX_BUFFERS = 0x40000,
    BUFFER_BYTES = 2048,
    DESC_BYTES = 16,
    RX_SLOTS = 256,
    BATCH_ROOM_BYTES = 1 << 17,

    TDBAL = 0x3800,
    RDBAL = 0x2800,
    LENGTH = 0x08, /* of a ring's registers, from its base */
    TAIL = 0x18,
    ICR = 0x00c0,
    IMS = 0x00d0,
    RCTL = 0x0100,
    TCTL = 0x0400,
    RXCSUM = 0x5000,
    RCTL_EN_UPE_BAM_SECRC = 0x0400800a,
    TCTL_EN_PSP = 0x0a,
    RXCSUM_IP_TCP = 0x300,
    COMMAND_MEMORY_MASTER = 6,
};

struct bench {
    const struct shape *shape;
    struct linear linear;
    uint8_t *sent;     /* a batch: length and frame each, as NET_TX would have them */
    uint8_t *received; /* likewise */
    uint32_t sent_bytes;
    struct e1000 *nic;
    void *memory;
    uint32_t tx_count, tx_tail, tx_step; /* descriptors: of the ring, of a batch */
    uint32_t rx_tail;
    uint32_t received_bytes;
};

/* The world of the card: linear memory, and records in memory for a wire. */

static bool host_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    struct bench *b = context;

    return linear_read(&b->linear, gpa, to, bytes);
}

static bool host_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    struct bench *b = context;

    return linear_write(&b->linear, gpa, from, bytes);
}

static uint8_t *host_map(void *context, uint64_t gpa, uint32_t bytes)
{
    struct bench *b = context;

    return linear_map(&b->linear, gpa, bytes);
}

static void host_irq(void *context, bool level)
{
    (void)context;
    (void)level;
}

static uint8_t *host_frame_begin(void *context, uint32_t bytes)
{
    struct bench *b = context;

    if (bytes > BATCH_ROOM_BYTES - 8 || b->sent_bytes > BATCH_ROOM_BYTES - 8 - bytes)
        return NULL;
    return b->sent + b->sent_bytes + 4;
}

static void host_frame_end(void *context, uint32_t bytes)
{
    struct bench *b = context;

    le32_put(b->sent + b->sent_bytes, bytes);
    b->sent_bytes += record_bytes(bytes);
}

static uint64_t host_now(void *context)
{
    struct timespec now;

    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Transmit: descriptors for one unit from slot `slot` on. */

static uint8_t *tx_slot(const struct bench *b, uint32_t slot)
{
    return b->linear.ram + TX_RING + (size_t)slot * DESC_BYTES;
}

static void tx_context(const struct bench *b, uint32_t slot, bool segment)
{
    uint8_t *raw = tx_slot(b, slot);

    raw[0] = ETH_HEADER_BYTES;
    raw[1] = ETH_HEADER_BYTES + IPV4_CHECKSUM_AT;
    le16_put(raw + 2, ETH_HEADER_BYTES + IPV4_HEADER_BYTES - 1);
    raw[4] = ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
    raw[5] = ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_CHECKSUM_AT;
    le32_put(raw + 8, segment ? AGGREGATE_BYTES - HEADER_BYTES : 0);
    raw[11] = segment ? 0x27 : 0x23; /* DEXT, (TSE,) IP, TCP */
    raw[13] = segment ? HEADER_BYTES : 0;
    le16_put(raw + 14, segment ? MSS : 0);
}

static void tx_data(const struct bench *b, uint32_t slot, uint64_t gpa, uint32_t bytes, bool last,
                    bool segment)
{
    uint8_t *raw = tx_slot(b, slot);

    le64_put(raw, gpa);
    le32_put(raw + 8, bytes | 1u << 20);                            /* DTYP */
    raw[11] = (uint8_t)(0x22 | (segment ? 4 : 0) | (last ? 9 : 0)); /* DEXT, IFCS, TSE, EOP RS */
    raw[13] = segment ? 3 : 2;                                      /* IXSM, TXSM */
}

static void tx_lay_out(struct bench *b)
{
    const struct shape *shape = b->shape;
    uint8_t *buffer = b->linear.ram + TX_BUFFERS;
    uint8_t *tcp = buffer + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
    const uint32_t bytes = frame_make(shape, 0, buffer);
    const bool segment = frames_of(shape) > 1;

    be16_put(tcp + TCP_CHECKSUM_AT,
             checksum_fold(pseudo(buffer + ETH_HEADER_BYTES, segment ? 0 : tcp_bytes(bytes))));
    if (!segment) {
        b->tx_count = 4 * shape->units;
        b->tx_step = shape->units;
        for (uint32_t i = 0; i < b->tx_count; i++) {
            const uint32_t at = i % shape->units * BUFFER_BYTES;

            if (at != 0)
                memcpy(buffer + at, buffer, bytes);
            tx_data(b, i, TX_BUFFERS + at, bytes, true, false);
        }
        return;
    }
    be16_put(buffer + ETH_HEADER_BYTES + IPV4_CHECKSUM_AT, 0);
    for (uint32_t i = 1; i < frames_of(shape); i++) {
        uint8_t frame[FULL_BYTES];
        const uint32_t part = frame_make(shape, i, frame);

        memcpy(buffer + HEADER_BYTES + i * MSS, frame + HEADER_BYTES, part - HEADER_BYTES);
    }
    uint32_t slot = 0;
    for (int lap = 0; lap < 4; lap++) {
        tx_context(b, slot++, true);
        tx_data(b, slot++, TX_BUFFERS, HEADER_BYTES, false, true);
        for (uint32_t at = HEADER_BYTES; at < shape->bytes; at += PIECE_BYTES) {
            const uint32_t rest = shape->bytes - at;

            tx_data(b, slot++, TX_BUFFERS + at, rest < PIECE_BYTES ? rest : PIECE_BYTES,
                    rest <= PIECE_BYTES, true);
        }
        b->tx_step = lap == 0 ? slot : b->tx_step;
    }
    b->tx_count = slot;
}

static void rx_lay_out(struct bench *b)
{
    const struct shape *shape = b->shape;
    uint8_t *data = b->received;
    uint32_t at = 0;

    for (uint32_t unit = 0; unit < shape->units; unit++) {
        for (uint32_t i = 0; i < frames_of(shape); i++) {
            const uint32_t bytes = frame_make(shape, i, data + at + 4);

            le32_put(data + at, bytes);
            at += record_bytes(bytes);
        }
    }
    b->received_bytes = at;
    for (uint32_t i = 0; i < RX_SLOTS; i++)
        le64_put(b->linear.ram + RX_RING + i * DESC_BYTES, RX_BUFFERS + i * BUFFER_BYTES);
}

static void put(struct bench *b, uint32_t offset, uint32_t value)
{
    e1000_mmio_write(b->nic, offset, 4, value);
}

static void bench_open(struct bench *b, const struct shape *shape, bool direct)
{
    static const struct e1000_config config = {.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};
    const struct nic_host host = {
        .context = b,
        .dma_read = host_read,
        .dma_write = host_write,
        .dma_map = direct ? host_map : NULL,
        .irq = host_irq,
        .frame_begin = host_frame_begin,
        .frame_end = host_frame_end,
        .now_ns = host_now,
    };

    *b = (struct bench){.shape = shape};
    b->linear = (struct linear){.ram = calloc(1, RAM_BYTES), .ram_bytes = RAM_BYTES};
    b->sent = calloc(1, BATCH_ROOM_BYTES);
    b->received = calloc(1, BATCH_ROOM_BYTES);
    b->memory = aligned_alloc(16, (e1000_bytes() + 15) / 16 * 16);
    must(b->linear.ram != NULL && b->sent != NULL && b->received != NULL && b->memory != NULL,
         "no memory");
    b->nic = e1000_init(b->memory, e1000_bytes(), &host, &config);
    must(b->nic != NULL, "e1000_init");
    tx_lay_out(b);
    rx_lay_out(b);

    e1000_set_pci_command(b->nic, COMMAND_MEMORY_MASTER);
    put(b, TDBAL, TX_RING);
    put(b, TDBAL + LENGTH, b->tx_count * DESC_BYTES);
    put(b, RDBAL, RX_RING);
    put(b, RDBAL + LENGTH, RX_SLOTS * DESC_BYTES);
    put(b, RXCSUM, RXCSUM_IP_TCP);
    put(b, RCTL, RCTL_EN_UPE_BAM_SECRC);
    put(b, TCTL, TCTL_EN_PSP);
    put(b, IMS, 0xd7);
    if (frames_of(shape) == 1) {
        /* The context stays latched; its slot is a data descriptor's again afterwards. */
        uint8_t first[DESC_BYTES];

        memcpy(first, tx_slot(b, 0), sizeof first);
        memset(tx_slot(b, 0), 0, sizeof first);
        tx_context(b, 0, false);
        put(b, TDBAL + TAIL, b->tx_tail = 1);
        e1000_poll(b->nic, E1000_POLL_DESCRIPTORS);
        memcpy(tx_slot(b, 0), first, sizeof first);
    }
}

static void bench_close(struct bench *b)
{
    free(b->linear.ram);
    free(b->sent);
    free(b->received);
    free(b->memory);
}

static void run_tx(void *context, uint32_t batches)
{
    struct bench *b = context;
    for (uint32_t i = 0; i < batches; i++) {
        b->tx_tail = (b->tx_tail + b->tx_step) % b->tx_count;
        put(b, TDBAL + TAIL, b->tx_tail);
        e1000_poll(b->nic, E1000_POLL_DESCRIPTORS);
        e1000_mmio_read(b->nic, ICR, 4);
        b->sent_bytes = 0;
    }
}

static void run_rx(void *context, uint32_t batches)
{
    struct bench *b = context;
    const uint32_t slots = b->shape->units * frames_of(b->shape);

    for (uint32_t i = 0; i < batches; i++) {
        /* Batch behind batch, the tail stays a batch ahead of the head. */
        b->rx_tail = (b->rx_tail + slots) % RX_SLOTS;
        put(b, RDBAL + TAIL, b->rx_tail);
        for (uint32_t at = 0; at < b->received_bytes;) {
            const uint32_t bytes = le32_get(b->received + at);

            (void)e1000_rx_offer(b->nic, b->received + at + 4, bytes);
            at += record_bytes(bytes);
        }
        e1000_poll(b->nic, E1000_POLL_DESCRIPTORS);
        e1000_mmio_read(b->nic, ICR, 4);
    }
}

static void run_limit(void *context, uint32_t batches)
{
    struct bench *b = context;
    const struct shape *shape = b->shape;
    const uint32_t frames = frames_of(shape);

    limit_run(frame_bytes(shape, 0), frame_bytes(shape, frames - 1), shape->units * frames,
              batches);
}

/* One batch, looked at: each frame must come out as frame_make() makes it. */

static void check_tx(struct bench *b)
{
    const uint32_t frames = frames_of(b->shape);
    uint8_t want[FULL_BYTES];
    uint32_t at = 0;

    b->tx_tail = (b->tx_tail + b->tx_step) % b->tx_count;
    put(b, TDBAL + TAIL, b->tx_tail);
    e1000_poll(b->nic, E1000_POLL_DESCRIPTORS);
    for (uint32_t i = 0; i < b->shape->units * frames; i++) {
        const uint32_t bytes = frame_make(b->shape, i % frames, want);
        const uint8_t *have = b->sent + at;

        must(at < b->sent_bytes && le32_get(have) == bytes, "transmit: a frame's length");
        must(memcmp(have + 4, want, bytes) == 0, "transmit: a frame's bytes");
        at += record_bytes(bytes);
    }
    must(at == b->sent_bytes, "transmit: too many frames");
    b->sent_bytes = 0;
}

static void check_rx(struct bench *b)
{
    const uint32_t frames = frames_of(b->shape);
    uint8_t want[FULL_BYTES];

    run_rx(b, 1);
    for (uint32_t i = 0; i < b->shape->units * frames; i++) {
        const uint32_t bytes = frame_make(b->shape, i % frames, want);
        const uint8_t *slot = b->linear.ram + RX_RING + i * DESC_BYTES;

        must(le16_get(slot + 8) == bytes, "receive: a frame's length");
        must((slot[12] & 0x63) == 0x63 && slot[13] == 0, "receive: status DD EOP TCPCS IPCS");
        must(memcmp(b->linear.ram + RX_BUFFERS + (size_t)i * BUFFER_BYTES, want, bytes) == 0,
             "receive: a frame's bytes");
    }
}

struct path {
    const char *name, *memory;
    void (*run)(void *context, uint32_t batches);
    bool direct;
};

static const struct path paths[] = {
    {"limit", "", run_limit, true},  {"tx", "-callback", run_tx, false},
    {"tx", "-direct", run_tx, true}, {"rx", "-callback", run_rx, false},
    {"rx", "-direct", run_rx, true},
};
enum { PATHS = sizeof paths / sizeof paths[0] };

int main(int argc, char **argv)
{
    const bool one = argc == 3;
    const double ns_wanted = (argc == 2 ? strtod(argv[1], NULL) : 20) * 1e6;
    bool found = false;

    must(argc <= 3 && ns_wanted > 0, "usage: bench_nic [MS] | CASE BATCHES");
    for (uint32_t at = 0; at < SHAPES * PATHS; at++) {
        const struct shape *shape = &shapes[at / PATHS];
        const struct path *path = &paths[at % PATHS];
        struct bench b;
        char name[32];

        snprintf(name, sizeof name, "%s-%s%s", path->name, shape->name, path->memory);
        if (one && strcmp(name, argv[1]) != 0)
            continue;
        found = true;
        bench_open(&b, shape, path->direct);
        check_tx(&b);
        check_rx(&b);
        if (one)
            path->run(&b, (uint32_t)strtoul(argv[2], NULL, 10));
        else
            measure(name, shape, ns_wanted, path->run, &b);
        bench_close(&b);
    }
    must(found, "no such case");
    return 0;
}
