#include "tunnel/hello.h"

#include "internal.h"

enum { HEAD_BYTES = 4, TLV_HEAD_BYTES = 2 };

enum tag {
    TAG_FRAME_MAX = 1,
    TAG_MESSAGE_MAX = 2,
    TAG_TOKEN = 3,
    TAG_KEEP = 4,
    TAG_OUTCOME = 5,
    TAG_LAN_MTU = 6,
    TAG_END,
};

static const uint8_t tag_bytes[TAG_END] = {
    [TAG_FRAME_MAX] = 4, [TAG_MESSAGE_MAX] = 4, [TAG_TOKEN] = L2T_HELLO_TOKEN_BYTES,
    [TAG_KEEP] = 4,      [TAG_OUTCOME] = 1,     [TAG_LAN_MTU] = 2,
};

struct l2t_hello l2t_hello_default(void)
{
    return (struct l2t_hello){
        .frame_max_bytes = L2T_FRAME_MAX_DEFAULT,
        .message_max_bytes = L2T_MESSAGE_MAX_DEFAULT,
        .outcome = L2T_OUTCOME_ABSENT,
    };
}

static void take_tag(struct l2t_hello *hello, uint8_t tag, const uint8_t *value)
{
    switch (tag) {
    case TAG_FRAME_MAX:
        hello->frame_max_bytes = l2t_be32(value);
        break;
    case TAG_MESSAGE_MAX:
        hello->message_max_bytes = l2t_be32(value);
        break;
    case TAG_TOKEN:
        hello->has_token = true;
        l2t_copy(hello->token, value, L2T_HELLO_TOKEN_BYTES);
        break;
    case TAG_KEEP:
        hello->has_keep_s = true;
        hello->keep_s = l2t_be32(value);
        break;
    case TAG_OUTCOME:
        hello->outcome = value[0];
        break;
    case TAG_LAN_MTU:
        hello->lan_mtu = l2t_be16(value);
        break;
    default:
        break;
    }
}

int l2t_hello_parse(struct l2t_hello *hello, const uint8_t *payload, size_t payload_bytes)
{
    struct l2t_hello found = l2t_hello_default();

    if (payload_bytes < HEAD_BYTES || payload_bytes > L2T_HELLO_MAX_BYTES)
        return L2T_ERR_HELLO;
    if (payload[0] != L2T_HELLO_VERSION)
        return L2T_ERR_HELLO_VERSION;
    found.flags = l2t_be16(payload + 2);

    const uint8_t *at = payload + HEAD_BYTES;
    size_t left = payload_bytes - HEAD_BYTES;
    while (left != 0) {
        if (left < TLV_HEAD_BYTES || left - TLV_HEAD_BYTES < at[1])
            return L2T_ERR_HELLO;
        const uint8_t tag = at[0];
        const uint8_t value_bytes = at[1];
        const bool known = tag < TAG_END && tag_bytes[tag] != 0;

        if (known && tag_bytes[tag] != value_bytes)
            return L2T_ERR_HELLO;
        take_tag(&found, tag, at + TLV_HEAD_BYTES);
        at += TLV_HEAD_BYTES + value_bytes;
        left -= (size_t)TLV_HEAD_BYTES + value_bytes;
    }
    *hello = found;
    return 0;
}

static uint8_t *put_tag(uint8_t *at, uint8_t tag)
{
    at[0] = tag;
    at[1] = tag_bytes[tag];
    return at + TLV_HEAD_BYTES;
}

static uint8_t *put_tag_u32(uint8_t *at, uint8_t tag, uint32_t value)
{
    at = put_tag(at, tag);
    l2t_put_be32(at, value);
    return at + 4;
}

int64_t l2t_hello_encode(uint8_t *wire, size_t room_bytes, const struct l2t_hello *hello)
{
    /* All tags together are far below L2T_HELLO_MAX_BYTES, so only the copy is checked. */
    uint8_t built[L2T_HEADER_BYTES + L2T_HELLO_MAX_BYTES];
    uint8_t *at = built + L2T_HEADER_BYTES;

    l2t_encode_header(built, L2T_HELLO);
    at[0] = L2T_HELLO_VERSION;
    at[1] = 0;
    l2t_put_be16(at + 2, hello->flags);
    at += HEAD_BYTES;
    at = put_tag_u32(at, TAG_FRAME_MAX, hello->frame_max_bytes);
    at = put_tag_u32(at, TAG_MESSAGE_MAX, hello->message_max_bytes);
    if (hello->has_token) {
        at = put_tag(at, TAG_TOKEN);
        l2t_copy(at, hello->token, L2T_HELLO_TOKEN_BYTES);
        at += L2T_HELLO_TOKEN_BYTES;
    }
    if (hello->has_keep_s)
        at = put_tag_u32(at, TAG_KEEP, hello->keep_s);
    if (hello->outcome != L2T_OUTCOME_ABSENT) {
        at = put_tag(at, TAG_OUTCOME);
        *at++ = hello->outcome;
    }
    if (hello->lan_mtu != 0) {
        at = put_tag(at, TAG_LAN_MTU);
        l2t_put_be16(at, hello->lan_mtu);
        at += 2;
    }

    const size_t bytes = (size_t)(at - built);
    if (bytes > room_bytes)
        return L2T_ERR_NO_ROOM;
    l2t_copy(wire, built, bytes);
    return (int64_t)bytes;
}
