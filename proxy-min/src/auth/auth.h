/*
 * auth.h - who may open a tunnel: credentials, Origin, Host (spec/l2-proxy.md §3.2-§3.4).
 *
 * Memory   Results are written into the caller's buffers; a check allocates only inside jansson
 *          and gives it back before it returns.
 * Threads  Pure functions over read-only configuration.
 * Hostile  Every string is the client's. Secrets are compared in constant time.
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "metrics/metrics.h"

enum {
    ORIGIN_MAX_BYTES = 512, /* a normalised origin with its NUL */
    SID_MAX_BYTES = 256,    /* a session's name with its NUL */
    COOKIE_PAYLOAD_MAX = 16384,
    JWT_HEADER_MAX = 4096,
    JWT_PAYLOAD_MAX = 16384,
    SIGNATURE_CHARS = 43,
    HMAC_BYTES = 32,
};

/* ---- base64url.c ---- */

/** Canonical base64url without padding (§3.2). Returns bytes written, or -1. */
int64_t base64url_decode(uint8_t *to, size_t room_bytes, const char *text, size_t chars);
/** Writes 4 characters per 3 bytes and a NUL; returns characters. */
size_t base64url_encode(char *to, const uint8_t *from, size_t bytes);
bool constant_time_equal(const void *a, size_t a_bytes, const void *b, size_t b_bytes);
/** HMAC-SHA256 over `text` equals the base64url signature of exactly 43 characters? */
bool signature_valid(const char *secret, const char *text, size_t bytes, const char *signature,
                     size_t signature_chars);

/* ---- cookie.c ---- */

/**
 * Finds `aero_session` in a Cookie header value. Returns 1 with the raw value copied into
 * `value` (percent-decoded when it contains "%"), 0 when there is no such pair, -1 when it is
 * there but longer than the buffer or badly encoded.
 */
int cookie_find(const char *header, char *value, size_t value_bytes);
/** Verifies a session cookie's value; its `sid` goes to the caller. */
bool cookie_verify(const char *secret, const char *value, int64_t now_ms, char sid[SID_MAX_BYTES]);

/* ---- jwt.c ---- */

enum jwt_result { JWT_VALID, JWT_INVALID, JWT_ORIGIN_MISMATCH };

struct jwt_expect {
    const char *secret, *audience, *issuer; /* the latter two may be NULL */
    const char *origin;                     /* the request's, normalised; NULL: it has none */
    bool open;                              /* AERO_L2_OPEN */
    int64_t now_s;
};

enum jwt_result jwt_verify(const struct jwt_expect *expect, const char *token,
                           char sid[SID_MAX_BYTES]);

/* ---- origin.c ---- */

/** Returns NULL and the normalised origin, or why it is invalid (a static text). */
const char *origin_normalise(const char *text, char normal[ORIGIN_MAX_BYTES]);
/** The Host header read as an origin of this scheme, for the empty-list rule. */
bool origin_of_host(const char *scheme, const char *host, char normal[ORIGIN_MAX_BYTES]);
/** "https" or "http" of a normalised origin; "null" has none: NULL. */
const char *origin_scheme(const char *normal);

/* ---- host_header.c ---- */

/** Lower case, default port dropped (443 when https). Returns false: malformed. */
bool host_normalise(const char *text, bool https, char normal[ORIGIN_MAX_BYTES]);

/* ---- auth.c ---- */

enum { AUTH_COOKIES_MAX = 64, AUTH_JWTS_MAX = 4 };

/* What a request brought along; NULL where absent. */
struct credentials {
    const char *cookies[AUTH_COOKIES_MAX]; /* Cookie header values, in order */
    uint32_t cookie_count;
    const char *bearer;         /* Authorization: Bearer */
    const char *query_token;    /* not empty */
    const char *query_api_key;  /* not empty */
    const char *protocol_token; /* the rest of the first aero-l2-token. entry, not empty */
    const char *origin;         /* normalised, NULL: none or invalid */
    int64_t now_ms;
};

struct auth_outcome {
    bool allowed;
    enum reject_reason reason; /* not allowed */
    const char *body;          /* not allowed: of the 401 */
    bool has_sid;
    char sid[SID_MAX_BYTES];
};

void auth_check(const struct config *config, const struct credentials *credentials,
                struct auth_outcome *outcome);

#endif
