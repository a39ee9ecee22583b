/* cookie.c - the session cookie P.S of spec/l2-proxy.md §3.2. */
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "auth/auth.h"

static const char cookie_name[] = "aero_session";

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; false when a "%" is not followed by two hexadecimal digits, or hides a NUL. */
static bool percent_decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        const int high = hex_digit(from[1]);
        const int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int cookie_find(const char *header, char *value, size_t value_bytes)
{
    while (*header != '\0') {
        size_t bytes = strcspn(header, ";");
        const char *pair = header;
        header += bytes + (header[bytes] == ';');
        while (bytes > 0 && is_blank(pair[0])) {
            pair++;
            bytes--;
        }
        while (bytes > 0 && is_blank(pair[bytes - 1]))
            bytes--;
        const char *equals = memchr(pair, '=', bytes);
        if (equals == NULL)
            continue;
        size_t name_bytes = (size_t)(equals - pair);
        while (name_bytes > 0 && is_blank(pair[name_bytes - 1]))
            name_bytes--;
        if (name_bytes != sizeof cookie_name - 1 || memcmp(pair, cookie_name, name_bytes) != 0)
            continue;
        const char *from = equals + 1;
        size_t from_bytes = bytes - (size_t)(from - pair);
        while (from_bytes > 0 && is_blank(from[0])) {
            from++;
            from_bytes--;
        }
        if (from_bytes >= value_bytes)
            return -1;
        memcpy(value, from, from_bytes);
        value[from_bytes] = '\0';
        return percent_decode(value) ? 1 : -1;
    }
    return 0;
}

static bool payload_valid(const char *json, size_t bytes, int64_t now_ms, char sid[SID_MAX_BYTES])
{
    /* Numbers as reals: `v` may be written 1.0 and `exp` may have a fraction. */
    json_t *root = json_loadb(json, bytes, JSON_DECODE_INT_AS_REAL, NULL);
    const json_t *v = json_object_get(root, "v"), *exp = json_object_get(root, "exp");
    const char *name = json_string_value(json_object_get(root, "sid"));
    const double expiry = json_is_real(exp) ? json_real_value(exp) : NAN;

    const bool valid = json_is_real(v) && json_real_value(v) >= 1.0 && json_real_value(v) <= 1.0 &&
                       name != NULL && *name != '\0' && strlen(name) < SID_MAX_BYTES &&
                       isfinite(expiry) && expiry * 1000.0 > (double)now_ms;
    if (valid)
        strcpy(sid, name);
    json_decref(root);
    return valid;
}

bool cookie_verify(const char *secret, const char *value, int64_t now_ms, char sid[SID_MAX_BYTES])
{
    uint8_t payload[COOKIE_PAYLOAD_MAX / 4 * 3];
    const char *dot = strchr(value, '.');

    if (dot == NULL || strchr(dot + 1, '.') != NULL)
        return false;
    const size_t chars = (size_t)(dot - value);
    if (chars == 0 || chars > COOKIE_PAYLOAD_MAX ||
        !signature_valid(secret, value, chars, dot + 1, strlen(dot + 1)))
        return false;
    const int64_t bytes = base64url_decode(payload, sizeof payload, value, chars);
    return bytes > 0 && payload_valid((const char *)payload, (size_t)bytes, now_ms, sid);
}
