/* l2-proxy.md §6.1: the deny list of addresses, IPv6 forms that carry an IPv4 address included. */
#include "policy/policy.h"
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct policy *open_policy(const struct policy_options *options)
{
    char why[128];
    struct policy *policy = policy_new(options, why, sizeof why);

    assert_non_null(policy);
    return policy;
}

static enum policy_verdict expected(const char *word)
{
    assert_true(strcmp(word, "deny") == 0 || strcmp(word, "allow") == 0);
    return word[0] == 'd' ? POLICY_DENY_ADDRESS : POLICY_ALLOW;
}

static void check_vector(const struct vector *vector)
{
    struct policy *policy = open_policy(&(struct policy_options){0});
    const uint8_t family = (uint8_t)atoi(vector->field[1]);
    size_t bytes;
    uint8_t *address = vector_bytes(vector->field[2], &bytes);
    char override[16] = {0};

    strncpy(override, vector->field[4], sizeof override - 1);
    override[strcspn(override, " ")] = '\0';
    print_message("%s\n", vector->field[0]);
    assert_int_equal(bytes, family == 4 ? 4 : 16);
    assert_int_equal(policy_check_address(policy, family, address, false),
                     expected(vector->field[3]));
    assert_int_equal(policy_check(policy, POLICY_TCP, family, address, 80),
                     expected(vector->field[3]));
    assert_int_equal(policy_check_address(policy, family, address, true), expected(override));
    vector_bytes_free(address, bytes);
    policy_free(policy);
}

/* §6.1, §5.4: every edge of every network, for connections and for overrides. */
static void each_network_ends_where_the_table_says(void **state)
{
    (void)state;
    vectors_for_each("policy", 5, check_vector);
}

/* §2.5: AERO_L2_ALLOW_PRIVATE_IPS disables the address deny list, not the port list. */
static void private_addresses_can_be_allowed(void **state)
{
    (void)state;
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    struct policy *policy =
        open_policy(&(struct policy_options){.allow_private_ips = true, .allowed_tcp_ports = "80"});

    assert_int_equal(policy_check(policy, POLICY_TCP, 4, loopback, 80), POLICY_ALLOW);
    assert_int_equal(policy_check(policy, POLICY_TCP, 4, loopback, 81), POLICY_DENY_PORT);
    policy_free(policy);
}

/* An address of no known family is nobody's. */
static void an_unknown_family_is_denied(void **state)
{
    (void)state;
    static const uint8_t bytes[16] = {93, 184, 216, 34};
    struct policy *policy = open_policy(&(struct policy_options){0});

    assert_int_equal(policy_check_address(policy, 5, bytes, false), POLICY_DENY_ADDRESS);
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_network_ends_where_the_table_says),
        cmocka_unit_test(private_addresses_can_be_allowed),
        cmocka_unit_test(an_unknown_family_is_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
