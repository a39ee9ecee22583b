/* l2-proxy.md §2.5: port lists and domain lists. */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct policy *open_policy(const struct policy_options *options)
{
    char why[128];
    struct policy *policy = policy_new(options, why, sizeof why);

    assert_non_null(policy);
    return policy;
}

static enum policy_verdict tcp_port(const char *list, uint16_t port)
{
    struct policy *policy = open_policy(&(struct policy_options){.allowed_tcp_ports = list});
    const enum policy_verdict verdict = policy_check_port(policy, POLICY_TCP, port);

    assert_int_equal(policy_check_port(policy, POLICY_UDP, port), POLICY_ALLOW);
    policy_free(policy);
    return verdict;
}

/* §2.5: unset = all; set: only listed ports; set but empty: none. */
static void a_port_list_is_unset_empty_or_listed(void **state)
{
    (void)state;
    assert_int_equal(tcp_port(NULL, 1), POLICY_ALLOW);
    assert_int_equal(tcp_port("", 80), POLICY_DENY_PORT);
    assert_int_equal(tcp_port("  ", 80), POLICY_DENY_PORT);
    assert_int_equal(tcp_port("80", 80), POLICY_ALLOW);
    assert_int_equal(tcp_port("80", 443), POLICY_DENY_PORT);
    assert_int_equal(tcp_port(" 80 , 443 ", 443), POLICY_ALLOW);
    assert_int_equal(tcp_port("80,,443,", 443), POLICY_ALLOW);
    assert_int_equal(tcp_port("65535", 65535), POLICY_ALLOW);
}

/* §2.5: a bad entry is a configuration error, and the reason names it. */
static void a_bad_port_entry_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {"http", "80;443", "65536", "-1", "1-2", "99999999999", "8 0"};
    char why[128];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(
            policy_new(&(struct policy_options){.allowed_udp_ports = bad[i]}, why, sizeof why));
        assert_non_null(strstr(why, "AERO_L2_ALLOWED_UDP_PORTS"));
        assert_non_null(strstr(why, bad[i]));
    }
}

static enum policy_verdict name(const char *allowed, const char *blocked, const char *asked)
{
    struct policy *policy = open_policy(
        &(struct policy_options){.allowed_domains = allowed, .blocked_domains = blocked});
    const enum policy_verdict verdict = policy_check_name(policy, asked);

    policy_free(policy);
    return verdict;
}

/* §2.5: suffix lists, case-insensitive, on label boundary. */
static void a_domain_covers_itself_and_its_children(void **state)
{
    (void)state;
    assert_int_equal(name(NULL, "Example.COM", "example.com"), POLICY_DENY_DOMAIN);
    assert_int_equal(name(NULL, "example.com", "www.example.com"), POLICY_DENY_DOMAIN);
    assert_int_equal(name(NULL, "example.com", "badexample.com"), POLICY_ALLOW);
    assert_int_equal(name(NULL, "example.com", "com"), POLICY_ALLOW);
    assert_int_equal(name(NULL, " .example.com. , other.org", "a.other.org"), POLICY_DENY_DOMAIN);
}

/* §2.5: with an allow list only its names pass; block wins. */
static void an_allow_list_is_exclusive_and_block_wins(void **state)
{
    (void)state;
    assert_int_equal(name("example.com", NULL, "example.com"), POLICY_ALLOW);
    assert_int_equal(name("example.com", NULL, "example.org"), POLICY_DENY_DOMAIN);
    assert_int_equal(name("example.com", "ads.example.com", "x.ads.example.com"),
                     POLICY_DENY_DOMAIN);
    assert_int_equal(name("ads.example.com", "example.com", "ads.example.com"), POLICY_DENY_DOMAIN);
}

/* §2.5: entries that are only dots are ignored, and so is a list of nothing else. */
static void entries_of_dots_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(name("..., .", NULL, "example.org"), POLICY_ALLOW);
    assert_int_equal(name(NULL, ".", "example.org"), POLICY_ALLOW);
    assert_int_equal(name(".,example.com", NULL, "example.org"), POLICY_DENY_DOMAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_list_is_unset_empty_or_listed),
        cmocka_unit_test(a_bad_port_entry_is_an_error),
        cmocka_unit_test(a_domain_covers_itself_and_its_children),
        cmocka_unit_test(an_allow_list_is_exclusive_and_block_wins),
        cmocka_unit_test(entries_of_dots_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
