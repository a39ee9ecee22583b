/*
 * internal.h - what the files of tunnel/src share: byte order and text building without libc, so
 *              that the same objects link into a freestanding module.
 */
#ifndef TUNNEL_INTERNAL_H
#define TUNNEL_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define l2t_copy            __builtin_memcpy
#define l2t_zero(to, bytes) __builtin_memset((to), 0, (bytes))

static inline uint16_t l2t_be16(const uint8_t *at)
{
    return (uint16_t)((at[0] << 8) | at[1]);
}

static inline uint32_t l2t_be32(const uint8_t *at)
{
    return (uint32_t)l2t_be16(at) << 16 | l2t_be16(at + 2);
}

static inline void l2t_put_be16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void l2t_put_be32(uint8_t *at, uint32_t value)
{
    l2t_put_be16(at, (uint16_t)(value >> 16));
    l2t_put_be16(at + 2, (uint16_t)value);
}

/* A terminated text that is cut, never overrun, when its room ends. */
struct l2t_text {
    char *to;
    size_t room;
    size_t used;
};

struct l2t_text l2t_text_begin(char *to, size_t room);
void l2t_text_add(struct l2t_text *text, const char *what);
void l2t_text_decimal(struct l2t_text *text, uint64_t value);
void l2t_text_hex8(struct l2t_text *text, uint8_t value);

#endif
