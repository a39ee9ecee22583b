/*
 * nic_virtio_bench.c - virtio-net natively, as nic_bench.c does the E1000; the same arguments.
 *
 * A batch moves avail.idx, notifies, polls and reads ISR. "-super": an aggregate passes whole both
 * ways (spec/l2-extensions.md §6) instead of as its 45 frames.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"
#include "nic/virtio_net.h"
#include "nic_traffic.h"

enum {
    RAM_BYTES = 2 << 20,
    QUEUE_BYTES = 0x10000, /* queue q lies at (q + 1) times this */
    AVAIL_AT = 0x4000,
    USED_AT = 0x6000,
    RX_BUFFERS = 0x80000,
    TX_BUFFERS = 0x100000,
    BUFFER_BYTES = 2048,
    SLOTS = 256,
    CHAINS = 8, /* of an aggregate's descriptors in the ring */
    DESC_BYTES = 16,
    VNET_BYTES = 12,
    BATCH_ROOM_BYTES = 1 << 17,
    L4_AT = ETH_HEADER_BYTES + IPV4_HEADER_BYTES,

    RX = 0,
    TX = 1,
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    DEVICE_STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_ENABLE = 0x1c,
    QUEUE_DESC = 0x20,
    QUEUE_AVAIL = 0x28,
    QUEUE_USED = 0x30,
    NOTIFY = 0x1000,
    ISR = 0x2000,
    FEATURES = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 7 | 1 << 11 | 1 << 15 | 1 << 16,
    /* CSUM, GUEST_CSUM, MAC, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, STATUS; VERSION_1 in word 1 */
};

struct bench {
    const struct shape *shape;
    bool super;
    struct linear linear;
    struct virtio_net *nic;
    void *memory;
    uint8_t *sent;     /* a batch: length and frame each */
    uint8_t *received; /* likewise */
    uint32_t sent_bytes, received_bytes;
    uint16_t avail[2], step[2];
};

static bool host_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    return linear_read(&((struct bench *)context)->linear, gpa, to, bytes);
}

static bool host_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    return linear_write(&((struct bench *)context)->linear, gpa, from, bytes);
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

static uint8_t *host_super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    (void)gso_bytes;
    return host_frame_begin(context, bytes);
}

static void host_frame_end(void *context, uint32_t bytes)
{
    struct bench *b = context;

    le32_put(b->sent + b->sent_bytes, bytes);
    b->sent_bytes += record_bytes(bytes);
}

static uint64_t host_now(void *context)
{
    (void)context;
    return 0;
}

static void put(struct bench *b, uint32_t offset, uint32_t size, uint32_t value)
{
    virtio_net_mmio_write(b->nic, offset, size, value);
}

static void descriptor(const struct bench *b, uint32_t queue, uint32_t slot, uint32_t at,
                       uint32_t bytes, uint16_t flags)
{
    uint8_t *raw = b->linear.ram + (queue + 1) * QUEUE_BYTES + slot * DESC_BYTES;

    le64_put(raw, at);
    le32_put(raw + 8, bytes);
    le16_put(raw + 12, flags);
    le16_put(raw + 14, (uint16_t)(slot + 1));
}

static void available(const struct bench *b, uint32_t queue, uint32_t entry, uint32_t head)
{
    le16_put(b->linear.ram + (queue + 1) * QUEUE_BYTES + AVAIL_AT + 4 + 2 * entry, (uint16_t)head);
}

/* The aggregate, or the frame, as a driver leaves it to the card. Returns its bytes. */
static uint32_t packet_make(const struct shape *shape, uint8_t *to, bool partial)
{
    uint32_t bytes = frame_make(shape, 0, to);
    uint8_t *tcp = to + L4_AT;

    for (uint32_t i = 1; i < frames_of(shape); i++) {
        uint8_t frame[FULL_BYTES];
        const uint32_t part = frame_make(shape, i, frame);

        memcpy(to + bytes, frame + HEADER_BYTES, part - HEADER_BYTES);
        bytes += part - HEADER_BYTES;
    }
    if (partial)
        be16_put(tcp + TCP_CHECKSUM_AT,
                 checksum_fold(
                     pseudo(to + ETH_HEADER_BYTES, frames_of(shape) > 1 ? 0 : tcp_bytes(bytes))));
    return bytes;
}

static uint32_t sent_packet(const struct bench *b, uint32_t at)
{
    uint8_t *raw = b->linear.ram + at;
    const bool segment = frames_of(b->shape) > 1;

    raw[0] = 1; /* NEEDS_CSUM */
    raw[1] = segment;
    le16_put(raw + 2, HEADER_BYTES);
    le16_put(raw + 4, segment ? MSS : 0);
    le16_put(raw + 6, L4_AT);
    le16_put(raw + 8, TCP_CHECKSUM_AT);
    return VNET_BYTES + packet_make(b->shape, raw + VNET_BYTES, true);
}

static void tx_lay_out(struct bench *b)
{
    b->step[TX] = (uint16_t)b->shape->units;
    if (frames_of(b->shape) == 1) {
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            const uint32_t at = TX_BUFFERS + slot % b->shape->units * BUFFER_BYTES;

            descriptor(b, TX, slot, at, sent_packet(b, at), 0);
            available(b, TX, slot, slot);
        }
        return;
    }
    const uint32_t bytes = sent_packet(b, TX_BUFFERS);
    const uint32_t pieces = (bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    for (uint32_t i = 0; i < CHAINS * pieces; i++) {
        const uint32_t at = i % pieces * PIECE_BYTES;
        const uint32_t rest = bytes - at;

        descriptor(b, TX, i, TX_BUFFERS + at, rest < PIECE_BYTES ? rest : PIECE_BYTES,
                   rest > PIECE_BYTES ? DESC_NEXT : 0);
    }
    for (uint32_t entry = 0; entry < SLOTS; entry++)
        available(b, TX, entry, entry % CHAINS * pieces);
}

static void rx_lay_out(struct bench *b)
{
    uint32_t at = 0;

    if (b->super) {
        const uint32_t bytes = packet_make(b->shape, b->received + 4, false);

        be16_put(b->received + 4 + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT,
                 (uint16_t)(bytes - ETH_HEADER_BYTES));
        le32_put(b->received, bytes);
        at = record_bytes(bytes);
        b->step[RX] = (uint16_t)((bytes + VNET_BYTES + BUFFER_BYTES - 1) / BUFFER_BYTES);
    } else {
        const uint32_t frames = frames_of(b->shape);

        b->step[RX] = (uint16_t)(b->shape->units * frames);
        for (uint32_t i = 0; i < b->step[RX]; i++) {
            const uint32_t bytes = frame_make(b->shape, i % frames, b->received + at + 4);

            le32_put(b->received + at, bytes);
            at += record_bytes(bytes);
        }
    }
    b->received_bytes = at;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        descriptor(b, RX, slot, RX_BUFFERS + slot * BUFFER_BYTES, BUFFER_BYTES, DESC_WRITE);
        available(b, RX, slot, slot);
    }
}

static void bench_open(struct bench *b, const struct shape *shape, bool super)
{
    static const struct virtio_net_config config = {.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};
    const struct nic_host host = {
        .context = b,
        .dma_read = host_read,
        .dma_write = host_write,
        .irq = host_irq,
        .frame_begin = host_frame_begin,
        .frame_end = host_frame_end,
        .super_begin = super ? host_super_begin : NULL,
        .now_ns = host_now,
    };

    *b = (struct bench){.shape = shape, .super = super};
    b->linear = (struct linear){.ram = calloc(1, RAM_BYTES), .ram_bytes = RAM_BYTES};
    b->sent = calloc(1, BATCH_ROOM_BYTES);
    b->received = calloc(1, BATCH_ROOM_BYTES);
    b->memory = aligned_alloc(16, (virtio_net_bytes() + 15) / 16 * 16);
    must(b->linear.ram != NULL && b->sent != NULL && b->received != NULL && b->memory != NULL,
         "no memory");
    b->nic = virtio_net_init(b->memory, virtio_net_bytes(), &host, &config);
    must(b->nic != NULL, "virtio_net_init");
    virtio_net_set_pci_command(b->nic, 6);
    put(b, DEVICE_STATUS, 1, 3);
    for (uint32_t word = 0; word < 2; word++) {
        put(b, DRIVER_FEATURE_SELECT, 4, word);
        put(b, DRIVER_FEATURE, 4, word == 0 ? FEATURES : 1);
    }
    put(b, DEVICE_STATUS, 1, 11);
    for (uint32_t queue = RX; queue <= TX; queue++) {
        const uint32_t at = (queue + 1) * QUEUE_BYTES;

        put(b, QUEUE_SELECT, 2, queue);
        put(b, QUEUE_DESC, 4, at);
        put(b, QUEUE_AVAIL, 4, at + AVAIL_AT);
        put(b, QUEUE_USED, 4, at + USED_AT);
        put(b, QUEUE_ENABLE, 2, 1);
    }
    tx_lay_out(b);
    rx_lay_out(b);
    put(b, DEVICE_STATUS, 1, 15);
}

static void bench_close(struct bench *b)
{
    free(b->linear.ram);
    free(b->sent);
    free(b->received);
    free(b->memory);
}

static void kick(struct bench *b, uint32_t queue)
{
    b->avail[queue] = (uint16_t)(b->avail[queue] + b->step[queue]);
    le16_put(b->linear.ram + (queue + 1) * QUEUE_BYTES + AVAIL_AT + 2, b->avail[queue]);
    put(b, NOTIFY + 4 * queue, 2, queue);
}

static void run_tx(void *context, uint32_t batches)
{
    struct bench *b = context;

    for (uint32_t i = 0; i < batches; i++) {
        b->sent_bytes = 0;
        kick(b, TX);
        virtio_net_poll(b->nic, SLOTS);
        (void)virtio_net_mmio_read(b->nic, ISR, 1);
    }
}

static void run_rx(void *context, uint32_t batches)
{
    struct bench *b = context;

    for (uint32_t i = 0; i < batches; i++) {
        kick(b, RX);
        for (uint32_t at = 0; at < b->received_bytes;) {
            const uint32_t bytes = le32_get(b->received + at);
            const uint8_t *frame = b->received + at + 4;

            if (b->super)
                (void)virtio_net_rx_offer_super(b->nic, frame, bytes, MSS);
            else
                (void)virtio_net_rx_offer(b->nic, frame, bytes);
            at += record_bytes(bytes);
        }
        virtio_net_poll(b->nic, SLOTS);
        (void)virtio_net_mmio_read(b->nic, ISR, 1);
    }
}

/* A batch each way, looked at. */
static void check(struct bench *b)
{
    const uint32_t frames = frames_of(b->shape);
    uint8_t want[FULL_BYTES];
    uint32_t at = 0;

    run_tx(b, 1);
    run_rx(b, 1);
    if (b->super) {
        const uint8_t *have = b->linear.ram + RX_BUFFERS; /* the buffers lie in a row */

        must(le32_get(b->sent) == b->shape->bytes, "transmit: a super-frame's length");
        must(le16_get(have + 10) == b->step[RX] && have[1] == 1, "receive: num_buffers, gso_type");
        must(memcmp(b->sent + 4 + HEADER_BYTES, b->received + 4 + HEADER_BYTES,
                    b->shape->bytes - HEADER_BYTES) == 0 &&
                 memcmp(have + VNET_BYTES + HEADER_BYTES, b->received + 4 + HEADER_BYTES,
                        b->shape->bytes - HEADER_BYTES) == 0,
             "a super-frame's bytes");
        return;
    }
    for (uint32_t i = 0; i < b->shape->units * frames; i++) {
        const uint32_t bytes = frame_make(b->shape, i % frames, want);
        const uint8_t *have = b->linear.ram + RX_BUFFERS + (size_t)i * BUFFER_BYTES;

        must(le32_get(b->sent + at) == bytes && memcmp(b->sent + at + 4, want, bytes) == 0,
             "transmit: a frame");
        must(have[0] == 2 && memcmp(have + VNET_BYTES, want, bytes) == 0, "receive: a frame");
        at += record_bytes(bytes);
    }
}

int main(int argc, char **argv)
{
    const bool one = argc == 3;
    const double ns_wanted = (argc == 2 ? strtod(argv[1], NULL) : 20) * 1e6;
    bool found = false;

    must(argc <= 3 && ns_wanted > 0, "usage: bench_virtio [MS] | CASE BATCHES");
    for (uint32_t at = 0; at < SHAPES * 4; at++) {
        const struct shape *shape = &shapes[at / 4];
        const bool receive = (at & 1) != 0;
        const bool super = (at & 2) != 0;
        struct bench b;
        char name[32];

        snprintf(name, sizeof name, "%s-%s-virtio%s", receive ? "rx" : "tx", shape->name,
                 super ? "-super" : "");
        if ((super && frames_of(shape) == 1) || (one && strcmp(name, argv[1]) != 0))
            continue;
        found = true;
        bench_open(&b, shape, super);
        check(&b);
        if (one)
            (receive ? run_rx : run_tx)(&b, (uint32_t)strtoul(argv[2], NULL, 10));
        else
            measure(name, shape, ns_wanted, receive ? run_rx : run_tx, &b);
        bench_close(&b);
    }
    must(found, "no such case");
    return 0;
}
