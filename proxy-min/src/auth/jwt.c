/* jwt.c - JSON Web Tokens signed with HS256 (RFC 7519, narrowed by spec/l2-proxy.md §3.2). */
#include <string.h>

#include <jansson.h>

#include "auth/auth.h"

struct parts {
    const char *header, *payload, *signature;
    size_t header_chars, payload_chars, signature_chars;
};

static bool split(const char *token, struct parts *parts)
{
    const char *first = strchr(token, '.');
    const char *second = first != NULL ? strchr(first + 1, '.') : NULL;

    if (second == NULL || strchr(second + 1, '.') != NULL)
        return false;
    *parts = (struct parts){.header = token,
                            .header_chars = (size_t)(first - token),
                            .payload = first + 1,
                            .payload_chars = (size_t)(second - first - 1),
                            .signature = second + 1,
                            .signature_chars = strlen(second + 1)};
    return parts->header_chars <= JWT_HEADER_MAX && parts->payload_chars <= JWT_PAYLOAD_MAX;
}

/* One JSON object without trailing bytes, or NULL. */
static json_t *load(const char *text, size_t chars)
{
    uint8_t json[JWT_PAYLOAD_MAX / 4 * 3];
    const int64_t bytes = base64url_decode(json, sizeof json, text, chars);
    json_t *root = bytes > 0 ? json_loadb((const char *)json, (size_t)bytes, 0, NULL) : NULL;

    if (!json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

static bool header_valid(const struct parts *parts)
{
    json_t *root = load(parts->header, parts->header_chars);
    const char *algorithm = json_string_value(json_object_get(root, "alg"));
    const json_t *type = json_object_get(root, "typ");
    const bool valid = root != NULL && algorithm != NULL && strcmp(algorithm, "HS256") == 0 &&
                       (type == NULL || json_is_string(type));

    json_decref(root);
    return valid;
}

/* A claim that may be absent but, when present, is a string. */
static bool optional_text(const json_t *root, const char *name, const char **text)
{
    const json_t *claim = json_object_get(root, name);

    *text = json_string_value(claim);
    return claim == NULL || *text != NULL;
}

static bool times_valid(const json_t *root, int64_t now_s)
{
    const json_t *iat = json_object_get(root, "iat"), *exp = json_object_get(root, "exp");
    const json_t *nbf = json_object_get(root, "nbf");

    if (!json_is_integer(iat) || !json_is_integer(exp) || now_s >= json_integer_value(exp))
        return false;
    return nbf == NULL || (json_is_integer(nbf) && now_s >= json_integer_value(nbf));
}

static enum jwt_result origin_result(const struct jwt_expect *expect, const char *claim)
{
    char normal[ORIGIN_MAX_BYTES];

    if (claim == NULL)
        return JWT_VALID;
    if (origin_normalise(claim, normal) != NULL)
        return JWT_ORIGIN_MISMATCH;
    if (expect->origin == NULL) /* in open mode nobody looks at the Origin later */
        return expect->open ? JWT_ORIGIN_MISMATCH : JWT_VALID;
    return strcmp(normal, expect->origin) == 0 ? JWT_VALID : JWT_ORIGIN_MISMATCH;
}

static enum jwt_result claims_result(const struct jwt_expect *expect, const json_t *root,
                                     char sid[SID_MAX_BYTES])
{
    const char *name = json_string_value(json_object_get(root, "sid"));
    const char *origin, *audience, *issuer;

    if (name == NULL || *name == '\0' || strlen(name) >= SID_MAX_BYTES ||
        !times_valid(root, expect->now_s) || !optional_text(root, "origin", &origin) ||
        !optional_text(root, "aud", &audience) || !optional_text(root, "iss", &issuer))
        return JWT_INVALID;
    if (expect->audience != NULL && (audience == NULL || strcmp(audience, expect->audience) != 0))
        return JWT_INVALID;
    if (expect->issuer != NULL && (issuer == NULL || strcmp(issuer, expect->issuer) != 0))
        return JWT_INVALID;
    const enum jwt_result result = origin_result(expect, origin);
    if (result == JWT_VALID)
        strcpy(sid, name);
    return result;
}

enum jwt_result jwt_verify(const struct jwt_expect *expect, const char *token,
                           char sid[SID_MAX_BYTES])
{
    struct parts parts;

    if (!split(token, &parts) ||
        !signature_valid(expect->secret, token, parts.header_chars + 1 + parts.payload_chars,
                         parts.signature, parts.signature_chars) ||
        !header_valid(&parts))
        return JWT_INVALID;
    json_t *root = load(parts.payload, parts.payload_chars);
    const enum jwt_result result = root != NULL ? claims_result(expect, root, sid) : JWT_INVALID;
    json_decref(root);
    return result;
}
