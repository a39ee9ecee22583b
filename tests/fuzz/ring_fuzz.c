/*
 * ring_fuzz.c - a ring between a hostile writer and us: net-rings.md §2.5, §3.6.
 *
 * Input    byte 0: capacity / 4 - 1; byte 1: 0 opens the rest as an AIPC buffer, else a script of
 *          steps follows, one byte each with its operands.
 * Checks   no access outside the buffer (it is a heap block of its own), no change outside the
 *          ring, no endless loop, and the consumer at the tail after two calls.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nic/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { OTHER_BYTES = 64, SPAN_BEFORE = 16 + 2 * 16 + 16 + OTHER_BYTES };

struct script {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct script *script)
{
    if (script->left == 0)
        return 0;
    script->left--;
    return *script->at++;
}

static uint32_t take_word(struct script *script)
{
    uint32_t word = 0;

    for (int i = 0; i < 4; i++)
        word = word << 8 | take(script);
    return word;
}

static void open_hostile(const uint8_t *data, size_t bytes)
{
    uint8_t *buffer = malloc(bytes == 0 ? 1 : bytes);
    uint8_t record[64];

    if (bytes != 0)
        memcpy(buffer, data, bytes);
    for (uint32_t kind = 0; kind < 5; kind++) {
        struct ring ring;

        if (ring_open(&ring, buffer, bytes, kind, 0) != 0)
            continue;
        ring.owes = false;
        for (int i = 0; i < 4; i++)
            ring_pop(&ring, record, sizeof record);
    }
    free(buffer);
}

static void step(struct ring *ring, struct script *script)
{
    static const uint8_t record[256];
    uint8_t got[256];
    struct ring_slot slot;
    const uint8_t *peeked;
    const uint8_t op = take(script);

    switch (op % 8) {
    case 0: /* a word as another thread may leave it */
        ring->words[op / 8 % 4] = take_word(script);
        break;
    case 1: /* a small move of a cursor */
        ring->words[op / 8 % 3] += take(script);
        break;
    case 2: /* bytes of the data region */
        ring->data[take_word(script) % ring->capacity_bytes] = take(script);
        break;
    case 3: /* a length or a marker */
        memset(ring->data + take(script) * 4u % ring->capacity_bytes, take(script), 4);
        break;
    case 4:
        /* With a stalled predecessor it would sleep for its second: not what is looked for. */
        ring->words[2] = ring->words[1];
        ring->owes = false;
        ring_push(ring, record, take(script));
        break;
    case 5:
        if (ring_reserve(ring, &slot, take(script)) == 0) {
            memset(slot.payload, 0x5a, slot.bytes);
            if (op >= 128)
                ring_commit(ring, &slot);
        }
        break;
    case 6: {
        const uint32_t max = take(script);
        const int64_t length = ring_pop(ring, got, max);

        if (length > (int64_t)max)
            abort();
        break;
    }
    default: {
        const int64_t length = ring_peek(ring, &peeked, UINT32_MAX);

        if (length >= 0) {
            if (peeked < ring->data ||
                (uint64_t)(peeked - ring->data) + (uint64_t)length > ring->capacity_bytes)
                abort();
            ring_release(ring);
        }
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2)
        return 0;
    if (data[1] == 0) {
        open_hostile(data + 2, bytes - 2);
        return 0;
    }
    const struct ring_spec queues[] = {{RING_KIND_CMD, OTHER_BYTES},
                                       {RING_KIND_NET_TX, 4 * ((uint32_t)data[0] + 1)}};
    const size_t buffer_bytes = ring_buffer_bytes(queues, 2);
    uint8_t *buffer = malloc(buffer_bytes);
    uint8_t before[SPAN_BEFORE];
    struct script script = {data + 2, bytes - 2};
    struct ring ring;
    uint8_t got[1024];

    if (ring_build(buffer, buffer_bytes, queues, 2) != 0 ||
        ring_open(&ring, buffer, buffer_bytes, RING_KIND_NET_TX, 0) != 0)
        abort();
    memcpy(before, buffer, sizeof before);
    while (script.left != 0)
        step(&ring, &script);
    if (memcmp(before, buffer, sizeof before) != 0)
        abort();
    for (int calls = 0; ring_has_data(&ring); calls++) {
        if (calls == 300) /* more records than the largest ring holds, then it must be empty */
            abort();
        ring_pop(&ring, got, sizeof got);
    }
    free(buffer);
    return 0;
}
