/* Session cookies and JSON Web Tokens: spec/l2-proxy.md §3.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/auth.h"

enum { TOKEN_MAX = 40000 };

static const char secret[] = "correct-horse";
static const char example_cookie[] = "eyJ2IjoxLCJzaWQiOiJzLTQyIiwiZXhwIjoxOTAwMDAwMDAwfQ."
                                     "PLNOkRazFv51jadWyxCUeRwFBLREPbhoxqzEpRb6qU0";
static const char example_jwt[] =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpYXQiOjE4OTk5OTk3MDAsImV4cCI6MTkwMDAwMDAwMCwic2lkIjoicy00MiIsIm9yaWdpbiI6Imh0dHBzOi8vYXBwLm"
    "V4YW1wbGUifQ.Lr8-tZkNqHcE0OxpMv0FUdz2gIDuuq5jl4WcL1sADlY";
static const int64_t before_ms = INT64_C(1899999999999), at_expiry_ms = INT64_C(1900000000000);

static void append_signature(char *text)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    const size_t used = strlen(text);

    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, used, digest,
         &bytes);
    text[used] = '.';
    base64url_encode(text + used + 1, digest, bytes);
}

static void make_cookie(char *text, const char *json)
{
    base64url_encode(text, (const uint8_t *)json, strlen(json));
    append_signature(text);
}

static void make_jwt(char *text, const char *header, const char *claims)
{
    size_t used = base64url_encode(text, (const uint8_t *)header, strlen(header));
    text[used++] = '.';
    base64url_encode(text + used, (const uint8_t *)claims, strlen(claims));
    append_signature(text);
}

/* §3.2: the table's cookie; expired when exp x 1000 <= now in ms. */
static void cookie_of_the_specification(void **state)
{
    char sid[SID_MAX_BYTES];

    (void)state;
    assert_true(cookie_verify(secret, example_cookie, before_ms, sid));
    assert_string_equal(sid, "s-42");
    assert_false(cookie_verify(secret, example_cookie, at_expiry_ms, sid));
    assert_false(cookie_verify("wrong-horse", example_cookie, before_ms, sid));
}

/* §3.2: one changed character anywhere makes it invalid; so does any cut. */
static void cookie_with_any_change_is_refused(void **state)
{
    char text[sizeof example_cookie], sid[SID_MAX_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof example_cookie - 1; i++) {
        strcpy(text, example_cookie);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_false(cookie_verify(secret, text, before_ms, sid));
        strcpy(text, example_cookie);
        text[i] = '\0';
        assert_false(cookie_verify(secret, text, before_ms, sid));
    }
}

/* §3.2: what the signed JSON must hold. */
static void cookie_payloads(void **state)
{
    static const struct {
        const char *json;
        bool valid;
    } cases[] = {
        {"{\"v\":1.0,\"sid\":\"a\",\"exp\":1900000000.5,\"more\":[]}", true},
        {"{\"v\":1,\"sid\":\"a\",\"exp\":1e300}", true},
        {"{\"v\":1,\"sid\":\"a\",\"exp\":99999999999999999999999}", true},
        {"{\"v\":1,\"sid\":\"a\",\"exp\":1e999}", false},
        {"{\"v\":2,\"sid\":\"a\",\"exp\":1900000000}", false},
        {"{\"v\":\"1\",\"sid\":\"a\",\"exp\":1900000000}", false},
        {"{\"sid\":\"a\",\"exp\":1900000000}", false},
        {"{\"v\":1,\"sid\":\"\",\"exp\":1900000000}", false},
        {"{\"v\":1,\"sid\":7,\"exp\":1900000000}", false},
        {"{\"v\":1,\"sid\":\"a\",\"exp\":\"1900000000\"}", false},
        {"{\"v\":1,\"sid\":\"a\"}", false},
        {"[1]", false},
        {"{\"v\":1,\"sid\":\"a\",\"exp\":1900000000} x", false},
        {"", false},
    };
    char text[TOKEN_MAX], sid[SID_MAX_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_cookie(text, cases[i].json);
        assert_int_equal(cookie_verify(secret, text, before_ms, sid), cases[i].valid);
    }
}

/* §3.2: exactly one dot, at most 16384 characters before it. */
static void cookie_shape(void **state)
{
    static char json[16384], text[TOKEN_MAX];
    char sid[SID_MAX_BYTES];

    (void)state;
    snprintf(text, sizeof text, "%s.", example_cookie);
    assert_false(cookie_verify(secret, text, before_ms, sid));
    assert_false(cookie_verify(secret, "", before_ms, sid));
    assert_false(cookie_verify(secret, ".", before_ms, sid));
    for (int bytes = 12288; bytes <= 12289; bytes++) { /* 16384 characters, then 16386 */
        const int used =
            snprintf(json, sizeof json, "{\"v\":1,\"sid\":\"a\",\"exp\":1e300,\"x\":\"");
        memset(json + used, 'x', (size_t)(bytes - used - 2));
        strcpy(json + bytes - 2, "\"}");
        make_cookie(text, json);
        assert_int_equal(cookie_verify(secret, text, before_ms, sid), bytes == 12288);
    }
}

/* §3.2: the first pair of that name decides, even if empty; "%" is percent-decoded. */
static void cookie_header(void **state)
{
    static const struct {
        const char *header;
        int found;
        const char *value;
    } cases[] = {
        {"aero_session=abc", 1, "abc"},
        {"a=b; aero_session=abc; aero_session=def", 1, "abc"},
        {"aero_session=; aero_session=def", 1, ""},
        {"  aero_session = abc ;x", 1, "abc"},
        {"aero_session=a%2Eb", 1, "a.b"},
        {"aero_session=a%2", -1, NULL},
        {"aero_session=a%zz", -1, NULL},
        {"aero_session=a%00b", -1, NULL},
        {"aero_session=a=b", 1, "a=b"},
        {"aero_sessions=abc", 0, NULL},
        {"xaero_session=abc", 0, NULL},
        {"AERO_SESSION=abc", 0, NULL},
        {"aero_session", 0, NULL},
        {";;;", 0, NULL},
        {"", 0, NULL},
        {"aero_session=12345678901234567", -1, NULL},
    };
    char value[17];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(cookie_find(cases[i].header, value, sizeof value), cases[i].found);
        if (cases[i].found == 1)
            assert_string_equal(value, cases[i].value);
    }
}

static enum jwt_result verify(const char *token, const char *origin, bool open, int64_t now_s)
{
    const struct jwt_expect expect = {
        .secret = secret, .origin = origin, .open = open, .now_s = now_s};
    char sid[SID_MAX_BYTES];

    return jwt_verify(&expect, token, sid);
}

/* §3.2: the example; now >= exp is too late; its origin must be the request's. */
static void jwt_of_the_specification(void **state)
{
    const char *page = "https://app.example";

    (void)state;
    assert_int_equal(verify(example_jwt, page, false, 1899999999), JWT_VALID);
    assert_int_equal(verify(example_jwt, page, false, 1900000000), JWT_INVALID);
    assert_int_equal(verify(example_jwt, "https://b.example", false, 1), JWT_ORIGIN_MISMATCH);
    assert_int_equal(verify(example_jwt, NULL, true, 1), JWT_ORIGIN_MISMATCH);
    assert_int_equal(verify(example_jwt, NULL, false, 1), JWT_VALID); /* the Origin check's turn */
}

static void jwt_with_any_change_is_refused(void **state)
{
    char text[sizeof example_jwt];

    (void)state;
    for (size_t i = 0; i < sizeof example_jwt - 1; i++) {
        strcpy(text, example_jwt);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_equal(verify(text, NULL, false, 1), JWT_INVALID);
        strcpy(text, example_jwt);
        text[i] = '\0';
        assert_int_equal(verify(text, NULL, false, 1), JWT_INVALID);
    }
}

/* §3.2: alg is HS256, typ a string if present; types of the claims. */
static void jwt_headers_and_claims(void **state)
{
    static const char good_header[] = "{\"alg\":\"HS256\"}";
    static const char good_claims[] = "{\"iat\":1,\"exp\":100,\"sid\":\"a\"}";
    static const struct {
        const char *header, *claims;
        bool valid;
    } cases[] = {
        {good_header, good_claims, true},
        {"{\"alg\":\"HS256\",\"typ\":\"x\"}", good_claims, true},
        {"{\"alg\":\"HS256\",\"typ\":null}", good_claims, false},
        {"{\"alg\":\"none\"}", good_claims, false},
        {"{\"alg\":\"HS384\"}", good_claims, false},
        {"{}", good_claims, false},
        {"[]", good_claims, false},
        {"{\"alg\":\"HS256\"}{}", good_claims, false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"nbf\":50,\"aud\":\"x\"}", true},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"nbf\":51}", false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"nbf\":1.5}", false},
        {good_header, "{\"iat\":1,\"exp\":100.0,\"sid\":\"a\"}", false},
        {good_header, "{\"iat\":1.0,\"exp\":100,\"sid\":\"a\"}", false},
        {good_header, "{\"exp\":100,\"sid\":\"a\"}", false},
        {good_header, "{\"iat\":1,\"sid\":\"a\"}", false},
        {good_header, "{\"iat\":1,\"exp\":100}", false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"\"}", false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"aud\":[\"x\"]}", false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"iss\":null}", false},
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\"} ", true}, /* JSON allows blanks */
        {good_header, "{\"iat\":1,\"exp\":100,\"sid\":\"a\"}x", false},
    };
    char text[TOKEN_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_jwt(text, cases[i].header, cases[i].claims);
        assert_int_equal(verify(text, NULL, false, 50), cases[i].valid ? JWT_VALID : JWT_INVALID);
    }
}

/* §3.2: audience and issuer are checked only when configured, then they must be there. */
static void jwt_audience_and_issuer(void **state)
{
    struct jwt_expect expect = {.secret = secret, .audience = "us", .now_s = 50};
    char text[TOKEN_MAX], sid[SID_MAX_BYTES];

    (void)state;
    make_jwt(text, "{\"alg\":\"HS256\"}",
             "{\"iat\":1,\"exp\":100,\"sid\":\"a\",\"aud\":\"us\",\"iss\":\"gate\"}");
    assert_int_equal(jwt_verify(&expect, text, sid), JWT_VALID);
    expect.issuer = "gate";
    assert_int_equal(jwt_verify(&expect, text, sid), JWT_VALID);
    expect.issuer = "other";
    assert_int_equal(jwt_verify(&expect, text, sid), JWT_INVALID);
    make_jwt(text, "{\"alg\":\"HS256\"}", "{\"iat\":1,\"exp\":100,\"sid\":\"a\"}");
    assert_int_equal(jwt_verify(&expect, text, sid), JWT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cookie_of_the_specification),
        cmocka_unit_test(cookie_with_any_change_is_refused),
        cmocka_unit_test(cookie_payloads),
        cmocka_unit_test(cookie_shape),
        cmocka_unit_test(cookie_header),
        cmocka_unit_test(jwt_of_the_specification),
        cmocka_unit_test(jwt_with_any_change_is_refused),
        cmocka_unit_test(jwt_headers_and_claims),
        cmocka_unit_test(jwt_audience_and_issuer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
