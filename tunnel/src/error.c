#include "tunnel/codec.h"

#include "internal.h"

enum { ERROR_HEAD_BYTES = 4, ERROR_TEXT_MAX = 65535 };

/* Bytes of the well-formed UTF-8 character at `text` (Unicode 15, table 3-7), 0 for none. */
static uint32_t utf8_char_bytes(const uint8_t *text, uint32_t bytes)
{
    const uint8_t lead = text[0];
    uint32_t need;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    need = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (need > bytes)
        return 0;
    /* The second byte's range rules out overlong forms, surrogates and beyond U+10FFFF. */
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (uint32_t i = 2; i < need; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

static int utf8_valid(const uint8_t *text, uint32_t bytes)
{
    while (bytes != 0) {
        const uint32_t step = utf8_char_bytes(text, bytes);

        if (step == 0)
            return 0;
        text += step;
        bytes -= step;
    }
    return 1;
}

struct l2t_error_payload l2t_error_parse(const uint8_t *payload, size_t payload_bytes)
{
    struct l2t_error_payload error = {0};

    if (payload_bytes < ERROR_HEAD_BYTES)
        return error;
    const uint32_t text_bytes = l2t_be16(payload + 2);
    if (payload_bytes - ERROR_HEAD_BYTES != text_bytes)
        return error;
    if (!utf8_valid(payload + ERROR_HEAD_BYTES, text_bytes))
        return error;
    error.structured = 1;
    error.code = l2t_be16(payload);
    error.text = payload + ERROR_HEAD_BYTES;
    error.text_bytes = text_bytes;
    return error;
}

uint32_t l2t_utf8_prefix(const uint8_t *text, uint32_t bytes, uint32_t max)
{
    if (bytes <= max)
        return bytes;
    while (max != 0 && (text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

uint32_t l2t_error_encode(uint8_t *payload, uint32_t limit, uint16_t code, const char *text)
{
    uint32_t text_max;
    uint32_t bytes = 0;

    if (limit < ERROR_HEAD_BYTES)
        return 0;
    text_max = limit - ERROR_HEAD_BYTES;
    if (text_max > ERROR_TEXT_MAX)
        text_max = ERROR_TEXT_MAX;
    while (bytes <= text_max && text[bytes] != '\0') /* one beyond tells that it must be cut */
        bytes++;
    bytes = l2t_utf8_prefix((const uint8_t *)text, bytes, text_max);
    l2t_put_be16(payload, code);
    l2t_put_be16(payload + 2, (uint16_t)bytes);
    if (bytes != 0)
        l2t_copy(payload + ERROR_HEAD_BYTES, text, bytes);
    return ERROR_HEAD_BYTES + bytes;
}

const char *l2t_code_text(int32_t code)
{
    static const char *const texts[] = {
        [L2T_CODE_PROTOCOL_ERROR] = "protocol error",
        [L2T_CODE_AUTH_REQUIRED] = "authentication required",
        [L2T_CODE_AUTH_INVALID] = "invalid authentication token",
        [L2T_CODE_ORIGIN_MISSING] = "missing Origin",
        [L2T_CODE_ORIGIN_DENIED] = "Origin denied",
        [L2T_CODE_QUOTA_BYTES] = "quota exceeded (bytes)",
        [L2T_CODE_QUOTA_FPS] = "quota exceeded (fps)",
        [L2T_CODE_QUOTA_CONNECTIONS] = "quota exceeded (connections)",
        [L2T_CODE_BACKPRESSURE] = "backpressure",
    };

    if (code < 0 || code >= (int32_t)(sizeof texts / sizeof texts[0]))
        return NULL;
    return texts[code];
}

void l2t_peer_error_text(char text[L2T_TEXT_BYTES], int32_t code, uint32_t detail)
{
    struct l2t_text out = l2t_text_begin(text, L2T_TEXT_BYTES);
    const char *wording = l2t_code_text(code);

    l2t_text_add(&out, "l2 tunnel error (");
    if (code < 0) {
        l2t_text_add(&out, "unstructured payload, ");
        l2t_text_decimal(&out, detail);
        l2t_text_add(&out, " bytes)");
        return;
    }
    l2t_text_decimal(&out, (uint64_t)code);
    l2t_text_add(&out, ")");
    if (wording != NULL) {
        l2t_text_add(&out, ": ");
        l2t_text_add(&out, wording);
    }
}
