/* Origins, the Host header, base64url: spec/l2-proxy.md §3.2-§3.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "vectors.h"

static void check_origin(const struct vector *vector)
{
    char normal[ORIGIN_MAX_BYTES];
    const char *problem = origin_normalise(vector->field[0], normal);

    if (strcmp(vector->field[1], "!") == 0) {
        if (problem == NULL)
            fail_msg("%s:%u: \"%s\" became \"%s\"", vector->file, vector->line, vector->field[0],
                     normal);
    } else if (problem != NULL) {
        fail_msg("%s:%u: \"%s\": %s", vector->file, vector->line, vector->field[0], problem);
    } else {
        assert_string_equal(normal, vector->field[1]);
        assert_null(origin_normalise(normal, normal)); /* the form is its own form */
        assert_string_equal(normal, vector->field[1]);
    }
}

/* §3.3, rules 1 to 7. */
static void origins_have_one_form(void **state)
{
    (void)state;
    vectors_for_each("origin", 2, check_origin);
}

/* §3.3, rule 1. */
static void blanks_around_are_trimmed(void **state)
{
    char normal[ORIGIN_MAX_BYTES];

    (void)state;
    assert_null(origin_normalise(" \thttp://a \r\n", normal));
    assert_string_equal(normal, "http://a");
    assert_non_null(origin_normalise("", normal));
    assert_non_null(origin_normalise("  ", normal));
    assert_non_null(origin_normalise("http://a b", normal));
}

/* §3.3: a host that does not fit is refused, whatever its length. */
static void long_hosts_are_refused(void **state)
{
    char text[2000] = "http://", normal[ORIGIN_MAX_BYTES];

    (void)state;
    for (size_t bytes = 300; bytes < sizeof text - 8; bytes++) {
        memset(text + 7, 'a', bytes);
        text[7 + bytes] = '\0';
        if (origin_normalise(text, normal) == NULL)
            assert_string_equal(normal, text);
        else
            assert_true(bytes > 400);
    }
}

/* §3.3: the Host header read with the origin's scheme, for the empty list. */
static void host_header_is_compared_as_an_origin(void **state)
{
    static const struct {
        const char *scheme, *host, *same;
    } cases[] = {
        {"https", "example.com:443", "https://example.com"},
        {"https", "Example.com", "https://example.com"},
        {"http", "example.com:443", "http://example.com:443"},
        {"http", "010.0.0.1", "http://8.0.0.1"},
        {"https", "[::1]:8443", "https://[::1]:8443"},
        {"https", "a:", NULL},
        {"https", "a/", NULL},
        {"https", "a?", NULL},
        {"https", "a#", NULL},
        {"https", "@a", NULL},
        {"https", "[a]", NULL},
        {"https", "", NULL},
    };
    char normal[ORIGIN_MAX_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool good = origin_of_host(cases[i].scheme, cases[i].host, normal);
        assert_int_equal(good, cases[i].same != NULL);
        if (good)
            assert_string_equal(normal, cases[i].same);
    }
    assert_null(origin_scheme("null"));
    assert_string_equal(origin_scheme("http://https:1"), "http");
}

/* §3.4: lower case, default port dropped; blanks, empty and non-numeric ports are malformed. */
static void host_header_form(void **state)
{
    static const struct {
        const char *host, *http, *https;
    } cases[] = {
        {"Example.COM", "example.com", "example.com"},
        {"example.com:80", "example.com", "example.com:80"},
        {"example.com:443", "example.com:443", "example.com"},
        {"[::1]:443", "[::1]:443", "[::1]"},
        {"[::1]", "[::1]", "[::1]"},
        {"example.com:", NULL, NULL},
        {"example.com:x", NULL, NULL},
        {"example.com:65536", NULL, NULL},
        {"example.com:80:80", NULL, NULL},
        {"a b", NULL, NULL},
        {" a", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[::1]x", NULL, NULL},
        {":80", NULL, NULL},
        {"", NULL, NULL},
    };
    char normal[ORIGIN_MAX_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(host_normalise(cases[i].host, false, normal), cases[i].http != NULL);
        if (cases[i].http == NULL)
            continue;
        assert_string_equal(normal, cases[i].http);
        assert_true(host_normalise(cases[i].host, true, normal));
        assert_string_equal(normal, cases[i].https);
    }
}

/* §3.2: length mod 4 is not 1, no padding, unused trailing bits are zero. */
static void base64url_is_canonical(void **state)
{
    static const char *const bad[] = {"A", "AAAAA", "AA==", "AB", "AAB", "A+", "A/", "A A", "A\n"};
    uint8_t bytes[16];
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(base64url_decode(bytes, sizeof bytes, bad[i], strlen(bad[i])), -1);
    assert_int_equal(base64url_decode(bytes, sizeof bytes, "", 0), 0);
    assert_int_equal(base64url_decode(bytes, sizeof bytes, "-_8", 3), 2);
    assert_memory_equal(bytes, "\xfb\xff", 2);
    assert_int_equal(base64url_decode(bytes, 1, "-_8", 3), -1); /* no room */
    for (size_t count = 0; count <= sizeof bytes; count++) {
        for (size_t i = 0; i < count; i++)
            bytes[i] = (uint8_t)(251 * i + count);
        uint8_t back[sizeof bytes];
        const size_t chars = base64url_encode(text, bytes, count);
        assert_int_equal(strlen(text), chars);
        assert_int_equal(base64url_decode(back, sizeof back, text, chars), count);
        assert_memory_equal(back, bytes, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_have_one_form),
        cmocka_unit_test(blanks_around_are_trimmed),
        cmocka_unit_test(long_hosts_are_refused),
        cmocka_unit_test(host_header_is_compared_as_an_origin),
        cmocka_unit_test(host_header_form),
        cmocka_unit_test(base64url_is_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
