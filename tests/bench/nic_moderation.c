/*
 * nic_moderation.c - what interrupt moderation does to a download: frames of 1514 bytes arrive at
 *                    1 Gbit/s on a clock of our own, the guest answers each interrupt at once.
 *
 *   bench_moderation [FRAMES]   a line a setting: name, interrupts per 1000 frames, ns a frame in
 *                               the card (its handler's instructions are the guest's, and more)
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "linear.h"
#include "nic/e1000.h"
#include "nic/packet.h"

enum {
    FRAME_BYTES = 1514,
    FRAME_NS = (FRAME_BYTES + 24) * 8, /* on the wire: preamble, FCS and gap */
    RAM_BYTES = 1 << 20,
    RX_RING = 0x1000,
    RX_BUFFERS = 0x40000,
    BUFFER_BYTES = 2048,
    DESC_BYTES = 16,
    SLOTS = 256,

    ICR = 0x00c0,
    ITR = 0x00c4,
    IMS = 0x00d0,
    RCTL = 0x0100,
    RDBAL = 0x2800,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    RDTR = 0x2820,
    RADV = 0x282c,
    RCTL_EN_UPE_BAM_SECRC = 0x0400800a,
    IMS_RXT0 = 0x80,
    COMMAND_MEMORY_MASTER = 6,
};

struct setting {
    const char *name;
    uint32_t itr, rdtr, radv; /* in units of 256 ns and 1.024 us */
};

static const struct setting settings[] = {
    {"off", 0, 0, 0},
    {"ITR-195", 195, 0, 0}, /* 20000 a second: Linux at its start */
    {"ITR-976", 976, 0, 0}, /* 4000 a second: Linux under bulk traffic */
    {"RDTR-32-RADV-128", 0, 32, 128},
};

struct world {
    struct linear linear;
    struct e1000 *nic;
    uint64_t now_ns;
    uint64_t interrupts;
    bool line;
};

static void irq(void *context, bool level)
{
    struct world *w = context;

    w->line = level;
    w->interrupts += level;
}

static uint8_t *no_frame(void *context, uint32_t bytes)
{
    (void)context;
    (void)bytes;
    return NULL;
}

static void no_frame_end(void *context, uint32_t bytes)
{
    (void)context;
    (void)bytes;
}

static bool read_ram(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    return linear_read(&((struct world *)context)->linear, gpa, to, bytes);
}

static bool write_ram(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    return linear_write(&((struct world *)context)->linear, gpa, from, bytes);
}

static uint8_t *map_ram(void *context, uint64_t gpa, uint32_t bytes)
{
    return linear_map(&((struct world *)context)->linear, gpa, bytes);
}

static uint64_t clock_ns(void *context)
{
    return ((const struct world *)context)->now_ns;
}

/* The guest's handler: it takes what is there and gives the descriptors back. */
static void guest_answers(struct world *w)
{
    while (w->line) {
        (void)e1000_mmio_read(w->nic, ICR, 4);
        const uint32_t head = e1000_mmio_read(w->nic, RDH, 4);
        e1000_mmio_write(w->nic, RDT, 4, (head + SLOTS - 1) % SLOTS);
    }
}

/* Up to `until`, as an emulator that sleeps till next_event_ns() would. */
static void pass_time(struct world *w, uint64_t until)
{
    uint64_t next;

    while ((next = e1000_next_event_ns(w->nic)) <= until) {
        w->now_ns = next > w->now_ns ? next : w->now_ns;
        e1000_poll(w->nic, E1000_POLL_DESCRIPTORS);
        guest_answers(w);
    }
    w->now_ns = until;
}

static void start(struct world *w, const struct setting *setting)
{
    const struct {
        uint32_t offset, value;
    } writes[] = {
        {RDBAL, RX_RING},    {RDLEN, SLOTS * DESC_BYTES},   {RDT, SLOTS - 1},
        {ITR, setting->itr}, {RDTR, setting->rdtr},         {RADV, setting->radv},
        {IMS, IMS_RXT0},     {RCTL, RCTL_EN_UPE_BAM_SECRC},
    };

    e1000_reset(w->nic);
    e1000_set_pci_command(w->nic, COMMAND_MEMORY_MASTER);
    for (uint32_t i = 0; i < SLOTS; i++)
        le64_put(w->linear.ram + RX_RING + i * DESC_BYTES, RX_BUFFERS + i * BUFFER_BYTES);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        e1000_mmio_write(w->nic, writes[i].offset, 4, writes[i].value);
    w->interrupts = 0;
}

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static const struct e1000_config config = {.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};
    static const uint8_t frame[FRAME_BYTES] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    const uint32_t frames = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    struct world w = {.linear = {.ram = calloc(1, RAM_BYTES), .ram_bytes = RAM_BYTES}};
    const struct nic_host host = {
        .context = &w,
        .dma_read = read_ram,
        .dma_write = write_ram,
        .dma_map = map_ram,
        .irq = irq,
        .frame_begin = no_frame,
        .frame_end = no_frame_end,
        .now_ns = clock_ns,
    };
    void *memory = aligned_alloc(16, (e1000_bytes() + 15) / 16 * 16);

    if (frames == 0 || w.linear.ram == NULL || memory == NULL)
        return 1;
    w.nic = e1000_init(memory, e1000_bytes(), &host, &config);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        uint32_t lost = 0;

        start(&w, &settings[i]);
        const double begin = cpu_ns();
        for (uint32_t k = 0; k < frames; k++) {
            pass_time(&w, w.now_ns + FRAME_NS);
            lost += e1000_rx_offer(w.nic, frame, sizeof frame) != 0;
            guest_answers(&w);
        }
        const double ns = (cpu_ns() - begin) / frames;
        if (lost != 0) {
            fprintf(stderr, "bench_moderation: %s lost %u frames\n", settings[i].name, lost);
            return 1;
        }
        printf("%s %.2f %.2f\n", settings[i].name, 1000.0 * (double)w.interrupts / frames, ns);
    }
    free(memory);
    free(w.linear.ram);
    return 0;
}
