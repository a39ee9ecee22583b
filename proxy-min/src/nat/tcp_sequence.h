/*
 * tcp_sequence.h - arithmetic modulo 2^32 (RFC 9293 §3.4): a is before b if the way from a to b
 *                  is less than half the circle.
 */
#ifndef PROXY_NAT_TCP_SEQUENCE_H
#define PROXY_NAT_TCP_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return a - b > UINT32_MAX / 2; /* the top bit of the difference */
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
    return seq_before(b, a);
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? a : b;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? b : a;
}

#endif
