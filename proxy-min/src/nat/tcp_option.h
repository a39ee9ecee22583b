/*
 * tcp_option.h - TCP options: MSS, window scale, SACK and timestamps, read and written.
 *
 * Source   RFC 9293 §3.1, §3.2; RFC 7323 §2, §3; RFC 2018 §2, §3.
 * Hostile  The option area is cut to the data offset by the caller. A malformed option ends the
 *          list: what came before counts, the rest is ignored, the segment is not.
 */
#ifndef PROXY_NAT_TCP_OPTION_H
#define PROXY_NAT_TCP_OPTION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TCP_OPTIONS_MAX_BYTES = 40,
    TCP_OPTION_SACKS = 4,            /* blocks that fit */
    TCP_OPTION_TIMESTAMP_BYTES = 12, /* with two NOPs in front (RFC 7323 appendix A) */
    TCP_OPTION_SCALE_MAX = 14,       /* RFC 7323 §2.3 */
};

struct tcp_options {
    bool has_mss, has_scale, has_timestamp, sack_permitted;
    uint8_t scale; /* at most 14 */
    uint16_t mss;
    uint32_t timestamp, timestamp_echo;
    uint32_t sack_count;
    struct {
        uint32_t from, to;
    } sacks[TCP_OPTION_SACKS];
};

void tcp_options_parse(struct tcp_options *options, const uint8_t *area, uint32_t bytes);

/**
 * Writes the options that are set, in the order MSS, SACK-permitted, timestamp, scale, SACK,
 * padded to a multiple of 4; SACK blocks that do not fit are left out. Returns the bytes, at
 * most TCP_OPTIONS_MAX_BYTES.
 */
uint32_t tcp_options_write(const struct tcp_options *options, uint8_t *area);

#endif
