#include "tcp_option.h"

#include "nic/packet.h"

#include <string.h>

enum { /* kinds and whole lengths */
       OPTION_END = 0,
       OPTION_NOP = 1,
       OPTION_MSS = 2,
       OPTION_SCALE = 3,
       OPTION_SACK_PERMITTED = 4,
       OPTION_SACK = 5,
       OPTION_TIMESTAMP = 8,

       MSS_BYTES = 4,
       SCALE_BYTES = 3,
       SACK_PERMITTED_BYTES = 2,
       SACK_BLOCK_BYTES = 8,
       TIMESTAMP_BYTES = 10,
};

static void parse_sacks(struct tcp_options *options, const uint8_t *value, uint32_t bytes)
{
    options->sack_count = 0;
    while (bytes >= SACK_BLOCK_BYTES && options->sack_count < TCP_OPTION_SACKS) {
        options->sacks[options->sack_count].from = be32_get(value);
        options->sacks[options->sack_count].to = be32_get(value + 4);
        options->sack_count++;
        value += SACK_BLOCK_BYTES;
        bytes -= SACK_BLOCK_BYTES;
    }
}

static void parse_one(struct tcp_options *options, const uint8_t *option, uint32_t bytes)
{
    const uint8_t *value = option + 2;

    if (option[0] == OPTION_MSS && bytes == MSS_BYTES) {
        options->has_mss = true;
        options->mss = be16_get(value);
    } else if (option[0] == OPTION_SCALE && bytes == SCALE_BYTES) {
        options->has_scale = true;
        options->scale = value[0] > TCP_OPTION_SCALE_MAX ? TCP_OPTION_SCALE_MAX : value[0];
    } else if (option[0] == OPTION_SACK_PERMITTED && bytes == SACK_PERMITTED_BYTES) {
        options->sack_permitted = true;
    } else if (option[0] == OPTION_TIMESTAMP && bytes == TIMESTAMP_BYTES) {
        options->has_timestamp = true;
        options->timestamp = be32_get(value);
        options->timestamp_echo = be32_get(value + 4);
    } else if (option[0] == OPTION_SACK) {
        parse_sacks(options, value, bytes - 2);
    }
}

void tcp_options_parse(struct tcp_options *options, const uint8_t *area, uint32_t bytes)
{
    memset(options, 0, sizeof *options);
    while (bytes > 0 && area[0] != OPTION_END) {
        uint32_t option_bytes = 1;

        if (area[0] != OPTION_NOP) {
            if (bytes < 2 || area[1] < 2 || area[1] > bytes)
                return;
            option_bytes = area[1];
            parse_one(options, area, option_bytes);
        }
        area += option_bytes;
        bytes -= option_bytes;
    }
}

static uint8_t *put_head(uint8_t *at, uint8_t kind, uint32_t bytes)
{
    at[0] = kind;
    at[1] = (uint8_t)bytes;
    return at + 2;
}

static uint8_t *put_sacks(const struct tcp_options *options, const uint8_t *area, uint8_t *at)
{
    const uint32_t room_bytes = TCP_OPTIONS_MAX_BYTES - 4 - (uint32_t)(at - area);
    uint32_t count = room_bytes / SACK_BLOCK_BYTES;

    count = options->sack_count < count ? options->sack_count : count;
    if (count == 0)
        return at;
    *at++ = OPTION_NOP;
    *at++ = OPTION_NOP;
    at = put_head(at, OPTION_SACK, 2 + count * SACK_BLOCK_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        be32_put(at, options->sacks[i].from);
        be32_put(at + 4, options->sacks[i].to);
        at += SACK_BLOCK_BYTES;
    }
    return at;
}

uint32_t tcp_options_write(const struct tcp_options *options, uint8_t *area)
{
    uint8_t *at = area;

    if (options->has_mss) {
        at = put_head(at, OPTION_MSS, MSS_BYTES);
        be16_put(at, options->mss);
        at += 2;
    }
    if (options->has_timestamp) {
        if (options->sack_permitted) { /* instead of the two NOPs */
            at = put_head(at, OPTION_SACK_PERMITTED, SACK_PERMITTED_BYTES);
        } else {
            *at++ = OPTION_NOP;
            *at++ = OPTION_NOP;
        }
        at = put_head(at, OPTION_TIMESTAMP, TIMESTAMP_BYTES);
        be32_put(at, options->timestamp);
        be32_put(at + 4, options->timestamp_echo);
        at += 8;
    } else if (options->sack_permitted) {
        *at++ = OPTION_NOP;
        *at++ = OPTION_NOP;
        at = put_head(at, OPTION_SACK_PERMITTED, SACK_PERMITTED_BYTES);
    }
    if (options->has_scale) {
        *at++ = OPTION_NOP;
        at = put_head(at, OPTION_SCALE, SCALE_BYTES);
        *at++ = options->scale;
    }
    if (options->sack_count > 0 && (at - area) <= TCP_OPTIONS_MAX_BYTES - 4)
        at = put_sacks(options, area, at);
    return (uint32_t)(at - area);
}
