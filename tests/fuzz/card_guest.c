#include "card_guest.h"

#include <stdlib.h>
#include <string.h>

uint8_t take8(struct card_guest *guest)
{
    return guest->next < guest->end ? *guest->next++ : 0;
}

uint32_t take16(struct card_guest *guest)
{
    const uint32_t high = take8(guest);

    return high << 8 | take8(guest);
}

uint32_t take32(struct card_guest *guest)
{
    const uint32_t high = take16(guest);

    return high << 16 | take16(guest);
}

/* How many of the bytes at gpa lie in RAM; they come first. */
static uint32_t ram_part(uint64_t gpa, uint32_t bytes)
{
    if (gpa >= GUEST_RAM_BYTES)
        return 0;
    return bytes < GUEST_RAM_BYTES - gpa ? bytes : (uint32_t)(GUEST_RAM_BYTES - gpa);
}

static bool dma_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    struct card_guest *guest = context;
    const uint32_t inside = ram_part(gpa, bytes);

    must(++guest->dma_calls < GUEST_DMA_CALLS_MAX);
    memcpy(to, guest->ram + gpa % GUEST_RAM_BYTES, inside);
    memset((uint8_t *)to + inside, (gpa >> 31 & 1) != 0 ? 0xff : 0, bytes - inside);
    if ((gpa & 0x800) != 0) /* a guest on another processor */
        guest->ram[gpa % GUEST_RAM_BYTES] ^= take8(guest);
    return inside == bytes;
}

static bool dma_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    struct card_guest *guest = context;
    const uint32_t inside = ram_part(gpa, bytes);

    must(++guest->dma_calls < GUEST_DMA_CALLS_MAX);
    memcpy(guest->ram + gpa % GUEST_RAM_BYTES, from, inside);
    if (gpa >> 20 == 0xfeb) /* guest memory that is the card itself */
        guest->mmio_write(guest->card, (uint32_t)gpa & 0xffff, take32(guest));
    return inside == bytes;
}

static uint8_t *dma_map(void *context, uint64_t gpa, uint32_t bytes)
{
    struct card_guest *guest = context;

    return guest->mapped && gpa < GUEST_RAM_BYTES && bytes <= GUEST_RAM_BYTES - gpa
               ? guest->ram + gpa
               : NULL;
}

static void irq(void *context, bool level)
{
    struct card_guest *guest = context;

    must(level != guest->irq);
    guest->irq = level;
}

static void message(void *context, uint32_t vector)
{
    (void)context;
    must(vector < GUEST_VECTORS_MAX);
}

static uint8_t *frame_begin(void *context, uint32_t bytes)
{
    struct card_guest *guest = context;

    must(bytes >= guest->frame_min_bytes && bytes <= guest->frame_max_bytes);
    free(guest->frame);
    guest->frame = guest->sink_room > 0 ? malloc(bytes) : NULL;
    guest->frame_bytes = bytes;
    return guest->frame;
}

static uint8_t *super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct card_guest *guest = context;

    must(gso_bytes > 0 && bytes > gso_bytes && bytes <= GUEST_SUPER_MAX_BYTES);
    free(guest->frame);
    guest->frame = guest->sink_room > 0 ? malloc(bytes) : NULL;
    guest->frame_bytes = bytes;
    return guest->frame;
}

static void frame_end(void *context, uint32_t bytes)
{
    struct card_guest *guest = context;

    must(guest->frame != NULL && bytes == guest->frame_bytes);
    guest->sink_room--;
}

static uint64_t now_ns(void *context)
{
    return ((const struct card_guest *)context)->now_ns;
}

void card_guest_begin(struct card_guest *guest, const uint8_t *data, size_t bytes)
{
    memset(guest->ram, 0, sizeof guest->ram);
    guest->next = data;
    guest->end = data + bytes;
    guest->dma_calls = 0;
    guest->mapped = guest->irq = false;
    guest->now_ns = 1;
    guest->sink_room = UINT32_MAX;
    guest->frame = NULL;
}

void card_guest_end(struct card_guest *guest)
{
    free(guest->frame);
    guest->frame = NULL;
}

struct nic_host card_guest_host(struct card_guest *guest)
{
    return (struct nic_host){
        .context = guest,
        .dma_read = dma_read,
        .dma_write = dma_write,
        .dma_map = dma_map,
        .irq = irq,
        .message = message,
        .frame_begin = frame_begin,
        .frame_end = frame_end,
        .super_begin = super_begin,
        .now_ns = now_ns,
    };
}

void card_guest_fill(struct card_guest *guest, uint32_t at)
{
    for (uint32_t bytes = take8(guest); bytes > 0 && at < GUEST_RAM_BYTES; bytes--)
        guest->ram[at++] = take8(guest);
}

uint8_t *card_guest_copy(const uint8_t *data, uint32_t bytes)
{
    uint8_t *copy = malloc(bytes != 0 ? bytes : 1);

    must(copy != NULL);
    memcpy(copy, data, bytes);
    return copy;
}

void card_guest_spoil(struct card_guest *guest, uint8_t *blob, size_t bytes, uint32_t count)
{
    for (; count > 0; count--) {
        const uint32_t at = take32(guest);

        blob[at % bytes] = take8(guest);
    }
}
