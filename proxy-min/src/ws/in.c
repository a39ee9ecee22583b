/*
 * in.c - frames from a client: header checks in wire order, unmasking in place, reassembly.
 *
 * Not wslay's receiver: it copies every payload through a 4 KiB buffer of its own, and frames
 * must stay in place here until the NAT has sent their bytes on. Its encoder is the peer this
 * file is tested against.
 */
#include <stdlib.h>
#include <string.h>

#include "ws.h"

enum {
    FIN = 0x80,
    RSV = 0x70,
    OPCODE = 0x0f,
    CONTROL = 0x08,
    MASKED = 0x80,
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    MASK_BYTES = 4,
};

void ws_in_init(struct ws_in *in, uint32_t cap_bytes)
{
    *in = (struct ws_in){.cap_bytes = cap_bytes};
}

void ws_in_free(struct ws_in *in)
{
    free(in->assembly);
    in->assembly = NULL;
}

bool ws_in_raise(struct ws_in *in, uint32_t cap_bytes)
{
    if (cap_bytes <= in->cap_bytes)
        return true;
    if (in->assembly != NULL) {
        uint8_t *larger = realloc(in->assembly, cap_bytes);
        if (larger == NULL)
            return false;
        in->assembly = larger;
    }
    in->cap_bytes = cap_bytes;
    return true;
}

bool ws_close_code_valid(uint16_t code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    /* IANA registry: 1004 is reserved, 1005, 1006 and 1015 never appear on the wire. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

static enum ws_result fail(struct ws_in *in, struct ws_event *event, uint16_t code,
                           const char *reason)
{
    in->failed = true;
    *event = (struct ws_event){.opcode = WS_CLOSE, .code = code, .reason = reason};
    return WS_FAIL;
}

struct header {
    uint8_t opcode;
    bool fin;
    uint32_t header_bytes;
    uint64_t payload_bytes;
};

static bool opcode_known(uint8_t opcode)
{
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

/* §5.2, §5.4, §5.5 on what is known so far: a bad first byte is refused before the second came. */
static enum ws_result read_header(struct ws_in *in, const uint8_t *data, size_t bytes,
                                  struct header *header, struct ws_event *event)
{
    if (bytes == 0)
        return WS_NEED_MORE;
    header->opcode = data[0] & OPCODE;
    header->fin = (data[0] & FIN) != 0;
    const bool control = (header->opcode & CONTROL) != 0;

    if ((data[0] & RSV) != 0)
        return fail(in, event, WS_CODE_PROTOCOL, "reserved bit set");
    if (!opcode_known(header->opcode))
        return fail(in, event, WS_CODE_PROTOCOL, "unknown opcode");
    if (control && !header->fin)
        return fail(in, event, WS_CODE_PROTOCOL, "fragmented control frame");
    if (header->opcode == WS_CONTINUATION && in->assembling == 0)
        return fail(in, event, WS_CODE_PROTOCOL, "continuation of nothing");
    if (!control && header->opcode != WS_CONTINUATION && in->assembling != 0)
        return fail(in, event, WS_CODE_PROTOCOL, "message inside a message");
    if (bytes < 2)
        return WS_NEED_MORE;
    if ((data[1] & MASKED) == 0)
        return fail(in, event, WS_CODE_PROTOCOL, "frame not masked");

    const uint8_t length = data[1] & LENGTH;
    if (control && length > WS_CONTROL_MAX_BYTES)
        return fail(in, event, WS_CODE_PROTOCOL, "control frame too long");
    const uint32_t extra_bytes = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
    header->header_bytes = 2 + extra_bytes + MASK_BYTES;
    if (bytes < 2 + extra_bytes)
        return WS_NEED_MORE;
    header->payload_bytes = length;
    if (extra_bytes != 0) {
        uint64_t value = 0;
        for (uint32_t i = 0; i < extra_bytes; i++)
            value = value << 8 | data[2 + i];
        header->payload_bytes = value;
        if (value < (extra_bytes == 2 ? 126u : 65536u) || value >> 63 != 0)
            return fail(in, event, WS_CODE_PROTOCOL, "length not minimal");
    }
    if (!control && (header->payload_bytes > in->cap_bytes ||
                     header->payload_bytes > in->cap_bytes - in->assembled_bytes))
        return fail(in, event, WS_CODE_TOO_BIG, "message too big");
    if (bytes < header->header_bytes)
        return WS_NEED_MORE;
    return WS_PROGRESS;
}

void ws_unmask(uint8_t *data, size_t bytes, const uint8_t mask[4])
{
    uint64_t wide;
    memcpy(&wide, mask, 4);
    memcpy((uint8_t *)&wide + 4, mask, 4);

    size_t at = 0;
    for (; bytes - at >= 32; at += 32) {
        uint64_t words[4];
        memcpy(words, data + at, sizeof words);
        for (int i = 0; i < 4; i++)
            words[i] ^= wide;
        memcpy(data + at, words, sizeof words);
    }
    for (; at < bytes; at++)
        data[at] ^= mask[at & 3];
}

static enum ws_result take_close(struct ws_in *in, uint8_t *data, size_t bytes,
                                 struct ws_event *event)
{
    if (bytes == 1)
        return fail(in, event, WS_CODE_PROTOCOL, "close frame of one byte");
    uint16_t code = WS_CODE_NONE;
    if (bytes >= 2) {
        code = (uint16_t)(data[0] << 8 | data[1]);
        if (!ws_close_code_valid(code))
            return fail(in, event, WS_CODE_PROTOCOL, "invalid close code");
        if (!ws_utf8_valid(data + 2, bytes - 2))
            return fail(in, event, WS_CODE_BAD_DATA, "close reason is not UTF-8");
    }
    *event = (struct ws_event){.opcode = WS_CLOSE, .data = data, .bytes = bytes, .code = code};
    return WS_CONTROL;
}

static enum ws_result take_data(struct ws_in *in, const struct header *header, uint8_t *data,
                                struct ws_event *event)
{
    const uint32_t bytes = (uint32_t)header->payload_bytes; /* at most cap_bytes */
    *event = (struct ws_event){.opcode = header->opcode, .data = data, .bytes = bytes};

    if (header->opcode == WS_CONTINUATION || !header->fin) {
        if (in->assembly == NULL)
            in->assembly = malloc(in->cap_bytes != 0 ? in->cap_bytes : 1);
        if (in->assembly == NULL)
            return fail(in, event, WS_CODE_INTERNAL, "out of memory");
        if (header->opcode != WS_CONTINUATION)
            in->assembling = header->opcode;
        memcpy(in->assembly + in->assembled_bytes, data, bytes);
        in->assembled_bytes += bytes;
        if (!header->fin)
            return WS_PROGRESS;
        *event = (struct ws_event){.opcode = in->assembling,
                                   .data = in->assembly,
                                   .bytes = in->assembled_bytes,
                                   .assembled = true};
        in->assembling = 0;
        in->assembled_bytes = 0;
    }
    if (event->opcode == WS_TEXT && !ws_utf8_valid(event->data, event->bytes))
        return fail(in, event, WS_CODE_BAD_DATA, "text is not UTF-8");
    return WS_MESSAGE;
}

enum ws_result ws_next(struct ws_in *in, uint8_t *data, size_t bytes, size_t *used,
                       struct ws_event *event)
{
    struct header header;

    *used = 0;
    if (in->failed)
        return fail(in, event, WS_CODE_PROTOCOL, "already failed");
    const enum ws_result result = read_header(in, data, bytes, &header, event);
    if (result != WS_PROGRESS)
        return result;
    if (bytes - header.header_bytes < header.payload_bytes)
        return WS_NEED_MORE;

    const uint8_t *mask = data + header.header_bytes - MASK_BYTES;
    uint8_t *payload = data + header.header_bytes;
    ws_unmask(payload, (size_t)header.payload_bytes, mask);
    *used = header.header_bytes + (size_t)header.payload_bytes;

    if (header.opcode == WS_CLOSE)
        return take_close(in, payload, (size_t)header.payload_bytes, event);
    if ((header.opcode & CONTROL) != 0) {
        *event = (struct ws_event){
            .opcode = header.opcode, .data = payload, .bytes = (size_t)header.payload_bytes};
        return WS_CONTROL;
    }
    return take_data(in, &header, payload, event);
}
