/* auth.c - the modes of spec/l2-proxy.md §3.2: which credentials decide, and what a 401 says. */
#include <string.h>

#include "auth/auth.h"

enum verdict { ABSENT, WRONG, RIGHT };

/* The first source present decides: query token, query apiKey, subprotocol. */
static enum verdict check_token(const struct config *config, const struct credentials *given)
{
    const char *token = given->query_token != NULL     ? given->query_token
                        : given->query_api_key != NULL ? given->query_api_key
                                                       : given->protocol_token;

    if (token == NULL)
        return ABSENT;
    if (config->api_key == NULL)
        return WRONG;
    return constant_time_equal(token, strlen(token), config->api_key, strlen(config->api_key))
               ? RIGHT
               : WRONG;
}

/* Over all Cookie headers the first pair of the name decides, even if it is empty. */
static enum verdict check_cookie(const struct config *config, const struct credentials *given,
                                 struct auth_outcome *outcome)
{
    char value[COOKIE_PAYLOAD_MAX + 1 + SIGNATURE_CHARS + 1];

    for (uint32_t i = 0; i < given->cookie_count; i++) {
        const int found = cookie_find(given->cookies[i], value, sizeof value);
        if (found == 0)
            continue;
        if (found < 0 || !cookie_verify(config->session_secret, value, given->now_ms, outcome->sid))
            return WRONG;
        outcome->has_sid = true;
        return RIGHT;
    }
    return ABSENT;
}

/* The first token that verifies: bearer header, query, subprotocol. */
static enum verdict check_jwt(const struct config *config, const struct credentials *given,
                              struct auth_outcome *outcome, enum reject_reason *reason)
{
    const struct jwt_expect expect = {
        .secret = config->jwt_secret,
        .audience = config->jwt_audience,
        .issuer = config->jwt_issuer,
        .origin = given->origin,
        .open = config->open,
        .now_s = given->now_ms / 1000,
    };
    const char *const tokens[AUTH_JWTS_MAX] = {given->bearer, given->query_token,
                                               given->query_api_key, given->protocol_token};
    enum verdict verdict = ABSENT;

    *reason = REJECT_INVALID_JWT;
    for (int i = 0; i < AUTH_JWTS_MAX; i++) {
        if (tokens[i] == NULL)
            continue;
        const enum jwt_result result = jwt_verify(&expect, tokens[i], outcome->sid);
        if (result == JWT_VALID) {
            outcome->has_sid = true;
            return RIGHT;
        }
        if (result == JWT_ORIGIN_MISMATCH)
            *reason = REJECT_JWT_ORIGIN_MISMATCH;
        verdict = WRONG;
    }
    return verdict;
}

static void refuse(struct auth_outcome *outcome, enum reject_reason reason, const char *body)
{
    *outcome = (struct auth_outcome){.reason = reason, .body = body};
}

static void check_token_and_cookie(const struct config *config, const struct credentials *given,
                                   struct auth_outcome *outcome)
{
    static const char body[] = "missing or invalid auth";
    const enum verdict cookie = check_cookie(config, given, outcome);
    const enum verdict token = check_token(config, given);
    const bool both = config->auth_mode == AUTH_SESSION_AND_TOKEN;

    if (both ? cookie == RIGHT && token == RIGHT : cookie == RIGHT || token == RIGHT)
        outcome->allowed = true;
    else if (token == WRONG) /* with both kinds wrong the API key is named first */
        refuse(outcome, REJECT_INVALID_API_KEY, body);
    else if (cookie == WRONG)
        refuse(outcome, REJECT_INVALID_COOKIE, body);
    else
        refuse(outcome, REJECT_MISSING_CREDENTIALS, body);
}

static void check_cookie_then_jwt(const struct config *config, const struct credentials *given,
                                  struct auth_outcome *outcome)
{
    enum reject_reason reason;
    const enum verdict cookie = check_cookie(config, given, outcome);

    if (cookie == RIGHT) {
        outcome->allowed = true;
        return;
    }
    const enum verdict jwt = check_jwt(config, given, outcome, &reason);
    if (jwt == RIGHT)
        outcome->allowed = true;
    else if (jwt == WRONG)
        refuse(outcome, reason, "invalid jwt");
    else
        refuse(outcome, cookie == WRONG ? REJECT_INVALID_COOKIE : REJECT_MISSING_CREDENTIALS,
               "missing or invalid auth");
}

void auth_check(const struct config *config, const struct credentials *given,
                struct auth_outcome *outcome)
{
    enum reject_reason reason = REJECT_MISSING_CREDENTIALS;
    enum verdict verdict;

    *outcome = (struct auth_outcome){0};
    switch (config->auth_mode) {
    case AUTH_NONE:
        outcome->allowed = true;
        return;
    case AUTH_TOKEN:
        verdict = check_token(config, given);
        if (verdict == RIGHT)
            outcome->allowed = true;
        else
            refuse(outcome, verdict == WRONG ? REJECT_INVALID_API_KEY : REJECT_MISSING_CREDENTIALS,
                   "invalid token");
        return;
    case AUTH_SESSION:
        verdict = check_cookie(config, given, outcome);
        if (verdict == RIGHT)
            outcome->allowed = true;
        else
            refuse(outcome, verdict == WRONG ? REJECT_INVALID_COOKIE : REJECT_MISSING_CREDENTIALS,
                   "missing or expired session");
        return;
    case AUTH_JWT:
        verdict = check_jwt(config, given, outcome, &reason);
        if (verdict == RIGHT)
            outcome->allowed = true;
        else
            refuse(outcome, verdict == WRONG ? reason : REJECT_MISSING_CREDENTIALS, "invalid jwt");
        return;
    case AUTH_COOKIE_OR_JWT:
        check_cookie_then_jwt(config, given, outcome);
        return;
    case AUTH_SESSION_OR_TOKEN:
    case AUTH_SESSION_AND_TOKEN:
        check_token_and_cookie(config, given, outcome);
        return;
    }
}
