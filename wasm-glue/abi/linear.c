#include "linear.h"

#include <string.h>

/* Descriptors and status bytes outnumber payloads; a call costs more than they do. */
static void copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    switch (bytes) {
    case 1:
        *to = *from;
        break;
    case 2: /* a virtio ring's index */
        memcpy(to, from, 2);
        break;
    case 8:
        memcpy(to, from, 8);
        break;
    case 12: /* and its packet header */
        memcpy(to, from, 12);
        break;
    case 16:
        memcpy(to, from, 16);
        break;
    default:
        memcpy(to, from, bytes);
    }
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Out of line: a module has 64 KiB, and in_low() sees to what is frequent. */
__attribute__((noinline)) struct linear_part linear_first(const struct linear *linear, uint64_t gpa,
                                                          uint32_t bytes)
{
    const uint64_t low_end = min_u64(linear->ram_bytes, LINEAR_HOLE_FIRST);
    const uint64_t high_end = LINEAR_HOLE_END + (linear->ram_bytes - low_end);
    struct linear_part part = {.kind = LINEAR_OUTSIDE};
    uint64_t left = UINT64_MAX; /* a range past 2^64 stays outside to its end (§2.3, last row) */

    if (gpa < low_end) {
        part.kind = LINEAR_RAM;
        part.offset = gpa;
        left = low_end - gpa;
    } else if (gpa < LINEAR_HOLE_FIRST) {
        left = LINEAR_HOLE_FIRST - gpa;
    } else if (gpa < LINEAR_HOLE_END) {
        part.kind = LINEAR_HOLE;
        left = LINEAR_HOLE_END - gpa;
    } else if (gpa < high_end) {
        part.kind = LINEAR_RAM;
        part.offset = LINEAR_HOLE_FIRST + (gpa - LINEAR_HOLE_END);
        left = high_end - gpa;
    }
    part.bytes = (uint32_t)min_u64(bytes, left);
    return part;
}

/* Where nearly every access lies: wholly in RAM below the hole. */
static bool in_low(const struct linear *linear, uint64_t gpa, uint32_t bytes)
{
    const uint64_t low_end = min_u64(linear->ram_bytes, LINEAR_HOLE_FIRST);

    return gpa <= low_end && bytes <= low_end - gpa;
}

bool linear_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    const struct linear *linear = context;
    uint8_t *at = to;
    bool inside = true;

    if (in_low(linear, gpa, bytes)) {
        copy(at, linear->ram + gpa, bytes);
        return true;
    }
    while (bytes > 0) {
        const struct linear_part part = linear_first(linear, gpa, bytes);

        if (part.kind == LINEAR_RAM) {
            memcpy(at, linear->ram + part.offset, part.bytes);
        } else {
            memset(at, part.kind == LINEAR_HOLE ? 0xff : 0, part.bytes);
            inside = false;
        }
        gpa += part.bytes;
        at += part.bytes;
        bytes -= part.bytes;
    }
    return inside;
}

bool linear_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    const struct linear *linear = context;
    const uint8_t *at = from;
    bool inside = true;

    /* A status byte is written by a call of its own after the payload: whoever sees it sees the
     * payload too (nic/host.h, Order). */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (in_low(linear, gpa, bytes)) {
        copy(linear->ram + gpa, at, bytes);
        return true;
    }
    while (bytes > 0) {
        const struct linear_part part = linear_first(linear, gpa, bytes);

        if (part.kind == LINEAR_RAM)
            memcpy(linear->ram + part.offset, at, part.bytes);
        else
            inside = false;
        gpa += part.bytes;
        at += part.bytes;
        bytes -= part.bytes;
    }
    return inside;
}

/* A range that no boundary crosses; LINEAR_OUTSIDE for any other. */
static struct linear_part whole(const struct linear *linear, uint64_t gpa, uint32_t bytes)
{
    struct linear_part part = linear_first(linear, gpa, bytes);

    if (part.bytes != bytes)
        part.kind = LINEAR_OUTSIDE;
    return part;
}

bool linear_read_whole(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    const struct linear *linear = context;

    if (in_low(linear, gpa, bytes)) {
        copy(to, linear->ram + gpa, bytes);
        return true;
    }
    const struct linear_part part = whole(linear, gpa, bytes);

    if (part.kind == LINEAR_RAM) {
        memcpy(to, linear->ram + part.offset, bytes);
        return true;
    }
    memset(to, part.kind == LINEAR_HOLE ? 0xff : 0, bytes);
    return part.kind == LINEAR_HOLE && bytes <= LINEAR_HOLE_READ_MAX;
}

bool linear_write_whole(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    const struct linear *linear = context;

    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (in_low(linear, gpa, bytes)) {
        copy(linear->ram + gpa, from, bytes);
        return true;
    }
    const struct linear_part part = whole(linear, gpa, bytes);

    if (part.kind == LINEAR_RAM)
        memcpy(linear->ram + part.offset, from, bytes);
    return part.kind != LINEAR_OUTSIDE;
}

uint8_t *linear_map(void *context, uint64_t gpa, uint32_t bytes)
{
    const struct linear *linear = context;

    if (bytes == 0)
        return NULL;
    if (in_low(linear, gpa, bytes))
        return linear->ram + gpa;
    const struct linear_part part = linear_first(linear, gpa, bytes);

    if (part.kind != LINEAR_RAM || part.bytes != bytes)
        return NULL;
    return linear->ram + part.offset;
}
