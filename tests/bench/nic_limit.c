#include "nic_limit.h"

#include "nic/packet.h"

static uint8_t from[LIMIT_FRAMES * LIMIT_STRIDE_BYTES];
static uint8_t to[LIMIT_FRAMES * LIMIT_STRIDE_BYTES];

#ifdef __wasm__
__attribute__((export_name("limit_run")))
#endif
uint32_t
limit_run(uint32_t frame_bytes, uint32_t last_bytes, uint32_t frames, uint32_t times)
{
    const uint32_t record_bytes = (frame_bytes + 4 + 3) & ~3u; /* as NET_TX puts them */
    uint32_t sum = 0;

    for (uint32_t time = 0; time < times; time++) {
        for (uint32_t i = 0; i < frames; i++) {
            const uint32_t bytes = i + 1 == frames ? last_bytes : frame_bytes;
            uint8_t *copy = to + i * record_bytes;

            __builtin_memcpy(copy, from + i * LIMIT_STRIDE_BYTES, bytes);
            sum = checksum_add(sum, copy, bytes);
        }
    }
    return sum;
}
