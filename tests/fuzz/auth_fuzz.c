/*
 * What a request's headers are read with: origins, Host, cookies, tokens (l2-proxy.md §3.2-§3.4).
 * The first byte chooses the reader; a normal form must be its own normal form.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "must.h"

static void read_origin(const char *text)
{
    char normal[ORIGIN_MAX_BYTES], again[ORIGIN_MAX_BYTES];

    if (origin_normalise(text, normal) != NULL)
        return;
    must(strlen(normal) < ORIGIN_MAX_BYTES);
    must(origin_normalise(normal, again) == NULL);
    must(strcmp(normal, again) == 0);
}

static void read_host(const char *text)
{
    char normal[ORIGIN_MAX_BYTES];

    if (host_normalise(text, true, normal))
        must(strlen(normal) <= strlen(text));
    if (origin_of_host("http", text, normal))
        must(strncmp(normal, "http://", 7) == 0);
}

static void read_cookie(const char *text)
{
    char value[COOKIE_PAYLOAD_MAX + 64], sid[SID_MAX_BYTES];

    if (cookie_find(text, value, sizeof value) == 1)
        must(!cookie_verify("a secret nobody signed with", value, 0, sid));
}

static void read_jwt(const char *text)
{
    const struct jwt_expect expect = {.secret = "a secret nobody signed with"};
    char sid[SID_MAX_BYTES];

    must(jwt_verify(&expect, text, sid) == JWT_INVALID);
}

static void read_base64url(const char *text)
{
    uint8_t bytes[4096];
    char again[8192];
    const int64_t count = base64url_decode(bytes, sizeof bytes, text, strlen(text));

    if (count < 0)
        return;
    base64url_encode(again, bytes, (size_t)count);
    must(strcmp(text, again) == 0); /* one text for one value */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void (*const readers[])(const char *text) = {read_origin, read_host, read_cookie,
                                                        read_jwt, read_base64url};

    if (bytes == 0)
        return 0;
    char *text = malloc(bytes); /* the rest and its NUL, exactly */
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    readers[data[0] % (sizeof readers / sizeof readers[0])](text);
    free(text);
    return 0;
}
