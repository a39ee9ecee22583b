#include "tunnel/codec.h"

#include "internal.h"
#include "tunnel/super.h"

enum { AT_MAGIC = 0, AT_VERSION = 1, AT_TYPE = 2, AT_FLAGS = 3 };

static uint32_t payload_max(uint8_t type, const struct l2t_limits *limits)
{
    if (type == L2T_FRAME)
        return limits->frame_max_bytes;
    /* Extensions §2: tag 2 bounds the whole message, so its header is taken off here. */
    if (type == L2T_BATCH && limits->message_max_bytes >= L2T_HEADER_BYTES)
        return limits->message_max_bytes - L2T_HEADER_BYTES;
    if (type == L2T_SUPER && limits->super_max_bytes != 0)
        return L2T_SUPER_HEAD_BYTES + limits->super_max_bytes;
    return limits->control_max_bytes;
}

int l2t_decode(struct l2t_message *message, const uint8_t *wire, size_t wire_bytes,
               const struct l2t_limits *limits)
{
    if (wire_bytes < L2T_HEADER_BYTES)
        return L2T_ERR_SHORT;
    if (wire[AT_MAGIC] != L2T_MAGIC)
        return L2T_ERR_MAGIC;
    if (wire[AT_VERSION] != L2T_VERSION)
        return L2T_ERR_VERSION;
    const size_t payload_bytes = wire_bytes - L2T_HEADER_BYTES;
    if (payload_bytes > payload_max(wire[AT_TYPE], limits))
        return L2T_ERR_LONG;
    *message = (struct l2t_message){
        .type = wire[AT_TYPE],
        .flags = wire[AT_FLAGS],
        .payload = wire + L2T_HEADER_BYTES,
        .payload_bytes = (uint32_t)payload_bytes, /* <= a 32-bit limit */
    };
    return 0;
}

void l2t_decode_text(char text[L2T_TEXT_BYTES], int error, const uint8_t *wire, size_t wire_bytes,
                     const struct l2t_limits *limits)
{
    struct l2t_text out = l2t_text_begin(text, L2T_TEXT_BYTES);

    switch (error) {
    case L2T_ERR_SHORT:
        l2t_text_add(&out, "message too short: ");
        l2t_text_decimal(&out, wire_bytes);
        l2t_text_add(&out, " < ");
        l2t_text_decimal(&out, L2T_HEADER_BYTES);
        break;
    case L2T_ERR_MAGIC:
        l2t_text_add(&out, "invalid magic: 0x");
        l2t_text_hex8(&out, wire[AT_MAGIC]);
        break;
    case L2T_ERR_VERSION:
        l2t_text_add(&out, "unsupported version: 0x");
        l2t_text_hex8(&out, wire[AT_VERSION]);
        break;
    case L2T_ERR_LONG:
        l2t_text_add(&out, "payload too large: ");
        l2t_text_decimal(&out, wire_bytes - L2T_HEADER_BYTES);
        l2t_text_add(&out, " > ");
        l2t_text_decimal(&out, payload_max(wire[AT_TYPE], limits));
        break;
    case L2T_ERR_HELLO:
        l2t_text_add(&out, "malformed hello");
        break;
    case L2T_ERR_HELLO_AGAIN:
        l2t_text_add(&out, "second hello");
        break;
    case L2T_ERR_BATCH:
        l2t_text_add(&out, "malformed batch");
        break;
    case L2T_ERR_SUPER:
        l2t_text_add(&out, "malformed super-frame");
        break;
    default:
        l2t_text_add(&out, "protocol error");
        break;
    }
}

void l2t_encode_header(uint8_t wire[L2T_HEADER_BYTES], enum l2t_type type)
{
    wire[AT_MAGIC] = L2T_MAGIC;
    wire[AT_VERSION] = L2T_VERSION;
    wire[AT_TYPE] = (uint8_t)type;
    wire[AT_FLAGS] = 0;
}

int64_t l2t_encode(uint8_t *wire, size_t room_bytes, enum l2t_type type, const uint8_t *payload,
                   size_t payload_bytes, const struct l2t_limits *limits)
{
    if (payload_bytes > payload_max((uint8_t)type, limits))
        return L2T_ERR_LONG;
    if (room_bytes < L2T_HEADER_BYTES || payload_bytes > room_bytes - L2T_HEADER_BYTES)
        return L2T_ERR_NO_ROOM;
    l2t_encode_header(wire, type);
    if (payload_bytes != 0)
        l2t_copy(wire + L2T_HEADER_BYTES, payload, payload_bytes);
    return L2T_HEADER_BYTES + (int64_t)payload_bytes;
}
