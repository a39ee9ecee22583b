#include "nic/packet.h"

#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

/*
 * The one's-complement sum does not care which end of a word is the high one (RFC 1071 §2.B): the
 * bytes are added as little-endian words, as everything we build for loads them, and the folded
 * result is swapped once.
 */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "checksum.c adds little-endian words"
#endif

enum {
    BLOCK_BYTES = 32,
    /* A 32-bit lane takes 2 * 0xffff from each block: it holds 2^15 of them. */
    STRETCH_BYTES = 8192 * BLOCK_BYTES,
};

static inline uint64_t load64(const uint8_t *from)
{
    uint64_t value;

    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t load32(const uint8_t *from)
{
    uint32_t value;

    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

/* A 64-bit word as the sum of its halves: no carry is lost in a 64-bit total. */
static inline uint64_t halves(uint64_t value)
{
    return (value & 0xffffffff) + (value >> 32);
}

#ifndef __wasm_simd128__
typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair load_pair(const uint8_t *from)
{
    pair value;

    __builtin_memcpy(&value, from, sizeof value);
    return value;
}
#endif

/* Sum of whole blocks, STRETCH_BYTES at most. */
static uint64_t sum_blocks(const uint8_t *data, const uint8_t *end)
{
#ifdef __wasm_simd128__
    v128_t a = wasm_i32x4_splat(0);
    v128_t b = a;

    for (; data != end; data += BLOCK_BYTES) {
        a = wasm_i32x4_add(a, wasm_u32x4_extadd_pairwise_u16x8(wasm_v128_load(data)));
        b = wasm_i32x4_add(b, wasm_u32x4_extadd_pairwise_u16x8(wasm_v128_load(data + 16)));
    }
    a = wasm_i64x2_add(wasm_u64x2_extend_low_u32x4(a), wasm_u64x2_extend_high_u32x4(a));
    b = wasm_i64x2_add(wasm_u64x2_extend_low_u32x4(b), wasm_u64x2_extend_high_u32x4(b));
    a = wasm_i64x2_add(a, b);
    return (uint64_t)wasm_i64x2_extract_lane(a, 0) + (uint64_t)wasm_i64x2_extract_lane(a, 1);
#else
    /* Low and high halves of the 64-bit words in lanes of their own: no carry to look after. */
    pair low = {0, 0};
    pair high = {0, 0};

    for (; data != end; data += BLOCK_BYTES) {
        const pair x = load_pair(data);
        const pair y = load_pair(data + 16);

        low += (x & 0xffffffff) + (y & 0xffffffff);
        high += (x >> 32) + (y >> 32);
    }
    low += high;
    return low[0] + low[1];
#endif
}

uint32_t checksum_add(uint32_t sum, const uint8_t *data, size_t bytes)
{
    uint64_t total = 0;

    while (bytes >= BLOCK_BYTES) {
        const size_t whole = bytes - bytes % BLOCK_BYTES;
        const size_t stretch = whole < STRETCH_BYTES ? whole : STRETCH_BYTES;

        total += sum_blocks(data, data + stretch);
        data += stretch;
        bytes -= stretch;
    }
    for (; bytes >= 8; bytes -= 8, data += 8)
        total += halves(load64(data));
    if (bytes >= 4) {
        total += load32(data);
        data += 4;
        bytes -= 4;
    }
    if (bytes >= 2) {
        total += (uint32_t)data[1] << 8 | data[0];
        data += 2;
        bytes -= 2;
    }
    if (bytes != 0)
        total += data[0];
    total = halves(halves(total));
    const uint16_t folded = checksum_fold((uint32_t)total);
    return checksum_add16(sum, (uint16_t)(folded << 8 | folded >> 8));
}

uint32_t checksum_pseudo_ipv4(const uint8_t source[4], const uint8_t destination[4],
                              uint8_t protocol, uint16_t l4_bytes)
{
    /* Six words: no carry to look after. */
    return (uint32_t)be16_get(source) + be16_get(source + 2) + be16_get(destination) +
           be16_get(destination + 2) + protocol + l4_bytes;
}

uint32_t checksum_pseudo_ipv6(const uint8_t source[16], const uint8_t destination[16],
                              uint8_t protocol, uint32_t l4_bytes)
{
    uint32_t sum = checksum_add(0, source, 16);

    sum = checksum_add(sum, destination, 16);
    sum = checksum_add16(sum, (uint16_t)(l4_bytes >> 16));
    sum = checksum_add16(sum, (uint16_t)l4_bytes);
    return checksum_add16(sum, protocol);
}
