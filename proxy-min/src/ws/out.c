/* out.c - the outbound queue: encoded messages in one buffer, so that many leave in one write. */
#include <stdlib.h>
#include <string.h>

#include "pool.h"

enum { FIN = 0x80 };

bool ws_out_init(struct ws_out *out, struct ws_pool *pool)
{
    *out = (struct ws_out){
        .capacity_bytes = pool->buffer_bytes,
        .bypass_bytes = pool->bypass_bytes,
        .limit = pool->limit,
        .ends = malloc((size_t)pool->limit * sizeof out->ends[0]),
    };
    if (out->ends == NULL || !ws_pool_join(pool)) {
        free(out->ends);
        out->ends = NULL;
        return false;
    }
    out->pool = pool;
    return true;
}

void ws_out_free(struct ws_out *out)
{
    if (out->pool == NULL)
        return;
    ws_out_rest(out);
    ws_pool_leave(out->pool);
    free(out->ends);
    *out = (struct ws_out){0};
}

void ws_out_hold(struct ws_out *out)
{
    if (out->base == NULL)
        out->base = ws_pool_take(out->pool);
}

void ws_out_rest(struct ws_out *out)
{
    if (out->base == NULL)
        return;
    ws_pool_give(out->pool, out->base);
    out->base = NULL;
    out->head = out->tail = 0;
}

uint32_t ws_header_bytes(uint32_t payload_bytes)
{
    return payload_bytes < 126 ? 2 : payload_bytes < 65536 ? 4 : 10;
}

uint32_t ws_header_write(uint8_t *at, enum ws_opcode opcode, uint32_t payload_bytes)
{
    at[0] = (uint8_t)(FIN | opcode);
    if (payload_bytes < 126) {
        at[1] = (uint8_t)payload_bytes;
        return 2;
    }
    if (payload_bytes < 65536) {
        at[1] = 126;
        at[2] = (uint8_t)(payload_bytes >> 8);
        at[3] = (uint8_t)payload_bytes;
        return 4;
    }
    at[1] = 127;
    memset(at + 2, 0, 4);
    for (int i = 0; i < 4; i++)
        at[6 + i] = (uint8_t)(payload_bytes >> (24 - 8 * i));
    return 10;
}

void ws_out_compact(struct ws_out *out)
{
    const uint32_t waiting = out->tail - out->head;

    if (out->head == 0)
        return;
    memmove(out->base, out->base + out->head, waiting);
    out->head = 0;
    out->tail = waiting;
}

/* Bytes free behind the tail, keeping `kept` for what bypasses the limit. */
static uint32_t free_bytes(const struct ws_out *out, uint32_t kept)
{
    const uint32_t free_now = out->capacity_bytes - out->tail;
    return free_now > kept ? free_now - kept : 0;
}

uint32_t ws_out_room(struct ws_out *out, uint32_t payload_bytes, uint32_t wanted)
{
    const uint32_t message_bytes = payload_bytes + ws_header_bytes(payload_bytes);
    uint32_t room = out->limit - out->count;

    if (room > wanted)
        room = wanted;
    if (room == 0)
        return 0;
    ws_out_hold(out);
    if (free_bytes(out, out->bypass_bytes) / message_bytes < room && out->head != 0)
        ws_out_compact(out);
    const uint32_t fit = free_bytes(out, out->bypass_bytes) / message_bytes;
    return room < fit ? room : fit;
}

void ws_out_commit(struct ws_out *out, uint32_t new_tail)
{
    if (out->count < out->limit) /* messages that bypass the limit ride on the last one's end */
        out->count++;
    out->ends[(out->first + out->count - 1) % out->limit] =
        out->written_total + (new_tail - out->head);
    out->tail = new_tail;
}

bool ws_out_push(struct ws_out *out, enum ws_opcode opcode, const struct iovec *parts,
                 int part_count, bool bypass)
{
    uint32_t payload_bytes = 0;

    for (int i = 0; i < part_count; i++)
        payload_bytes += (uint32_t)parts[i].iov_len;
    const uint32_t message_bytes = payload_bytes + ws_header_bytes(payload_bytes);
    if (!bypass && ws_out_room(out, payload_bytes, 1) == 0)
        return false;
    if (bypass && free_bytes(out, 0) < message_bytes) {
        ws_out_compact(out);
        if (free_bytes(out, 0) < message_bytes)
            return false;
    }
    ws_out_hold(out);
    uint8_t *at = out->base + out->tail;
    at += ws_header_write(at, opcode, payload_bytes);
    for (int i = 0; i < part_count; i++) {
        if (parts[i].iov_len == 0)
            continue;
        memcpy(at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    ws_out_commit(out, out->tail + message_bytes);
    return true;
}

bool ws_out_push_close(struct ws_out *out, uint16_t code, const char *reason)
{
    uint8_t payload[WS_CONTROL_MAX_BYTES];
    size_t bytes = 0;

    if (code != WS_CODE_NONE) {
        payload[0] = (uint8_t)(code >> 8);
        payload[1] = (uint8_t)code;
        bytes = strlen(reason);
        if (bytes > WS_REASON_MAX_BYTES) { /* cut on a character boundary (§5.5.1: UTF-8) */
            bytes = WS_REASON_MAX_BYTES;
            while (bytes > 0 && ((uint8_t)reason[bytes] & 0xc0) == 0x80)
                bytes--;
        }
        memcpy(payload + 2, reason, bytes);
        bytes += 2;
    }
    return ws_out_push(out, WS_CLOSE, &(struct iovec){payload, bytes}, 1, true);
}

void ws_out_written(struct ws_out *out, uint32_t bytes)
{
    out->head += bytes;
    out->written_total += bytes;
    while (out->count != 0 && out->ends[out->first] <= out->written_total) {
        out->first = (out->first + 1) % out->limit;
        out->count--;
    }
    if (out->head == out->tail)
        out->head = out->tail = 0;
}
