/* base64url.c - RFC 4648 §5 without padding, and the comparisons that must not leak time. */
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/auth.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int64_t base64url_decode(uint8_t *to, size_t room_bytes, const char *text, size_t chars)
{
    uint32_t bits = 0, held = 0;
    size_t used = 0;

    if (chars % 4 == 1)
        return -1;
    for (size_t i = 0; i < chars; i++) {
        const int value = value_of(text[i]);
        if (value < 0)
            return -1;
        bits = (bits << 6 | (uint32_t)value) & 0xfff;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (used == room_bytes)
            return -1;
        to[used++] = (uint8_t)(bits >> held);
    }
    /* RFC 4648 §3.5: the bits that fill no byte must be zero, or two texts mean one value. */
    return (bits & ((1u << held) - 1)) == 0 ? (int64_t)used : -1;
}

size_t base64url_encode(char *to, const uint8_t *from, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0, held = 0;
    size_t used = 0;

    for (size_t i = 0; i < bytes; i++) {
        bits = (bits << 8 | from[i]) & 0xffff;
        held += 8;
        while (held >= 6) {
            held -= 6;
            to[used++] = digits[bits >> held & 63];
        }
    }
    if (held != 0)
        to[used++] = digits[bits << (6 - held) & 63];
    to[used] = '\0';
    return used;
}

bool constant_time_equal(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    /* A length is no secret: tokens of a wrong length are common, their content is not. */
    return a_bytes == b_bytes && CRYPTO_memcmp(a, b, a_bytes) == 0;
}

bool signature_valid(const char *secret, const char *text, size_t bytes, const char *signature,
                     size_t signature_chars)
{
    uint8_t given[HMAC_BYTES], wanted[EVP_MAX_MD_SIZE];
    unsigned wanted_bytes = 0;

    if (signature_chars != SIGNATURE_CHARS ||
        base64url_decode(given, sizeof given, signature, signature_chars) != HMAC_BYTES ||
        strlen(secret) > INT_MAX)
        return false;
    if (HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, bytes, wanted,
             &wanted_bytes) == NULL)
        return false;
    return constant_time_equal(given, sizeof given, wanted, wanted_bytes);
}
