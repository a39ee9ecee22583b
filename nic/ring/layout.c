#include "internal.h"

/* Top header and descriptor fields (§2.1, §2.2), by byte offset. */
enum {
    TOP_MAGIC = 0,
    TOP_VERSION = 4,
    TOP_TOTAL = 8,
    TOP_COUNT = 12,

    DESC_KIND = 0,
    DESC_OFFSET = 4,
    DESC_CAPACITY = 8,
    DESC_RESERVED = 12,
};

/* Aligned words, little-endian hosts only: the cursors are shared as native words anyway. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ring words are little-endian (§3.1)");

static uint32_t word_get(const uint8_t *at)
{
    return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void word_put(uint8_t *at, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)at, value, __ATOMIC_RELEASE);
}

static bool aligned(const void *pointer)
{
    return ((uintptr_t)pointer & 3) == 0;
}

size_t ring_buffer_bytes(const struct ring_spec *queues, uint32_t count)
{
    uint64_t total = RING_TOP_HEADER_BYTES + (uint64_t)count * RING_DESCRIPTOR_BYTES;

    for (uint32_t i = 0; i < count; i++) {
        if (queues[i].capacity_bytes % 4 != 0)
            return 0;
        total += RING_HEADER_BYTES + (uint64_t)queues[i].capacity_bytes;
        if (total > UINT32_MAX) /* total_bytes is a u32 */
            return 0;
    }
    return total > UINT32_MAX ? 0 : (size_t)total;
}

int ring_build(void *buffer, size_t buffer_bytes, const struct ring_spec *queues, uint32_t count)
{
    const size_t total = ring_buffer_bytes(queues, count);
    uint8_t *base = buffer;

    if (total == 0)
        return RING_ERR_CAPACITY;
    if (!aligned(buffer))
        return RING_ERR_MISALIGNED;
    if (total != buffer_bytes)
        return RING_ERR_TOTAL;
    __builtin_memset(base, 0, total);

    uint8_t *desc = base + RING_TOP_HEADER_BYTES;
    size_t offset = RING_TOP_HEADER_BYTES + (size_t)count * RING_DESCRIPTOR_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        word_put(desc + DESC_KIND, queues[i].kind);
        word_put(desc + DESC_OFFSET, (uint32_t)offset);
        word_put(desc + DESC_CAPACITY, queues[i].capacity_bytes);
        word_put(base + offset + RING_CAPACITY * sizeof(uint32_t), queues[i].capacity_bytes);
        desc += RING_DESCRIPTOR_BYTES;
        offset += RING_HEADER_BYTES + (size_t)queues[i].capacity_bytes;
    }
    word_put(base + TOP_TOTAL, (uint32_t)total);
    word_put(base + TOP_COUNT, count);
    word_put(base + TOP_VERSION, RING_VERSION);
    word_put(base + TOP_MAGIC, RING_MAGIC);
    return 0;
}

/* One descriptor, copied once: the buffer may change while it is looked at. */
struct descriptor {
    uint32_t kind;
    uint32_t offset_bytes;
    uint32_t capacity_bytes;
};

static int descriptor_check(struct descriptor *desc, const uint8_t *base, size_t buffer_bytes,
                            uint32_t index)
{
    const uint8_t *at = base + RING_TOP_HEADER_BYTES + (size_t)index * RING_DESCRIPTOR_BYTES;

    desc->kind = word_get(at + DESC_KIND);
    desc->offset_bytes = word_get(at + DESC_OFFSET);
    desc->capacity_bytes = word_get(at + DESC_CAPACITY);
    if (word_get(at + DESC_RESERVED) != 0)
        return RING_ERR_RESERVED;
    if (desc->offset_bytes % 4 != 0 || desc->capacity_bytes % 4 != 0)
        return RING_ERR_MISALIGNED;
    if (buffer_bytes < RING_HEADER_BYTES || desc->offset_bytes > buffer_bytes - RING_HEADER_BYTES ||
        desc->capacity_bytes > buffer_bytes - RING_HEADER_BYTES - desc->offset_bytes)
        return RING_ERR_BOUNDS;
    if (word_get(base + desc->offset_bytes + RING_CAPACITY * sizeof(uint32_t)) !=
        desc->capacity_bytes)
        return RING_ERR_CAPACITY;
    return 0;
}

static int top_check(uint32_t *count, const uint8_t *base, size_t buffer_bytes)
{
    if (buffer_bytes < RING_TOP_HEADER_BYTES)
        return RING_ERR_SHORT;
    if (!aligned(base))
        return RING_ERR_MISALIGNED;
    if (word_get(base + TOP_MAGIC) != RING_MAGIC)
        return RING_ERR_MAGIC;
    if (word_get(base + TOP_VERSION) != RING_VERSION)
        return RING_ERR_VERSION;
    if (word_get(base + TOP_TOTAL) != buffer_bytes)
        return RING_ERR_TOTAL;
    *count = word_get(base + TOP_COUNT);
    if (*count > (buffer_bytes - RING_TOP_HEADER_BYTES) / RING_DESCRIPTOR_BYTES)
        return RING_ERR_TABLE;
    return 0;
}

int ring_open(struct ring *ring, void *buffer, size_t buffer_bytes, uint32_t kind, uint32_t nth)
{
    uint8_t *base = buffer;
    struct descriptor chosen = {0};
    bool found = false;
    uint32_t count;
    int error = top_check(&count, base, buffer_bytes);

    if (error != 0)
        return error;
    for (uint32_t i = 0; i < count; i++) { /* all of them, wanted or not (§2.5) */
        struct descriptor desc;

        error = descriptor_check(&desc, base, buffer_bytes, i);
        if (error != 0)
            return error;
        if (desc.kind != kind || found || nth-- != 0)
            continue;
        chosen = desc;
        found = true;
    }
    if (!found)
        return RING_ERR_NOT_FOUND;
    if (chosen.capacity_bytes == 0)
        return RING_ERR_CAPACITY;
    *ring = (struct ring){
        .words = (uint32_t *)(void *)(base + chosen.offset_bytes),
        .data = base + chosen.offset_bytes + RING_HEADER_BYTES,
        .capacity_bytes = chosen.capacity_bytes,
    };
    return 0;
}
