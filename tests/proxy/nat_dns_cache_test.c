/* l2-proxy.md §5.4, §2.2: how long DNS answers live, and how many questions may wait. */
#include "dns_guest.h"

#include "nat/dns_wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* §5.4: TTL = resolver's TTL limited by the maximum; 0 → default. */
static void the_ttl_is_limited(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0002 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("7fffffff", "5db8d822") A_RECORD("00000000", "5db8d823"));
    dns_expect_answer(world, "1234 8180 0001 0002 0000 0000 " EXAMPLE "0001 0001" A_RECORD(
                                 "0000012c", "5db8d822") A_RECORD("0000003c", "5db8d823"));
}

/* §5.4: cached and not expired: answer with remaining TTL. */
static void a_cached_answer_counts_down_and_expires(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    world_skip_frames(world);
    world_advance(world, 20000000);
    dns_ask(world, QUERY_A);
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "0001 0001" A_RECORD("00000028", "5db8d822"));
    assert_int_equal(world->query_count, 1);
    world_advance(world, 40000000);
    dns_ask(world, QUERY_A);
    assert_int_equal(world->query_count, 2);
}

/* §2.2: a cache of 0 entries is off. */
static void a_cache_of_zero_entries_is_off(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_cache_max = 0;
    world_start_leased(world);
    for (uint32_t i = 0; i < 2; i++) {
        dns_ask(world, QUERY_A);
        world_answer_hex(world, dns_last_query(world)->handle,
                         "beef 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001" A_RECORD("0000003c", "5db8d822"));
    }
    assert_int_equal(world->query_count, 2);
}

/* §5.4: oldest entry evicted first. */
static void the_oldest_cached_name_is_evicted(void **state)
{
    struct nat_world *world = *state;
    uint32_t asked = 0;

    world->config.dns_cache_max = 2;
    world_start_leased(world);
    for (char letter = 'a'; letter <= 'c'; letter++) {
        dns_ask_letter(world, letter);
        world_answer_hex(world, dns_last_query(world)->handle,
                         "beef 8180 0000 0001 0000 0000 00 0001 0001 0000003c 0004 5db8d822");
    }
    asked = world->query_count;
    dns_ask_letter(world, 'b');
    dns_ask_letter(world, 'c');
    assert_int_equal(world->query_count, asked);
    dns_ask_letter(world, 'a');
    assert_int_equal(world->query_count, asked + 1);
}

/* A tiny cache under many names: entries change places and buckets, and lookups still end. */
static void a_cache_that_is_always_full_stays_consistent(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_cache_max = 3;
    world_start_leased(world);
    for (uint32_t i = 0; i < 500; i++) {
        const uint32_t asked = world->query_count;

        dns_ask_letter(world, (char)('a' + i * 7 % 23));
        if (world->query_count != asked)
            world_answer_hex(world, dns_last_query(world)->handle,
                             "beef 8180 0000 0001 0000 0000 00 0001 0001 0000003c 0004 5db8d822");
        assert_int_equal(dns_next_code(world), DNS_NOERROR);
    }
    assert_true(world->query_count > 400);
}

/* §5.4: too many pending: SERVFAIL; §2.2: a limit of 0 answers SERVFAIL to all. */
static void too_many_pending_is_servfail(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_pending_max = 2;
    world_start_leased(world);
    dns_ask_letter(world, 'a');
    dns_ask_letter(world, 'b');
    world_expect_nothing(world);
    dns_ask_letter(world, 'c');
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    assert_int_equal(world->metrics.dns_queries_total, 2);
}

static void no_pending_at_all_is_servfail(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_pending_max = 0;
    world_start_leased(world);
    dns_ask(world, QUERY_A);
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
}

/* §5.4 [US]: a resolver failure is SERVFAIL, never NXDOMAIN. */
static void a_resolver_failure_is_servfail(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8185 0001 0000 0000 0000 " EXAMPLE "0001 0001"); /* REFUSED */
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    dns_ask(world, QUERY_A);
    nat_dns_answer(world->nat, dns_last_query(world)->handle, NULL, 0, -ETIMEDOUT, world->now_us);
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle, "beef 8180 0001");
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    world->query_result = -ENOMEM;
    dns_ask(world, QUERY_A);
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    assert_int_equal(world->metrics.dns_fail_total, 4);
}

/* §2.2: AERO_L2_DNS_LOOKUP_TIMEOUT_MS; an answer that comes later reaches nobody. */
static void a_lookup_times_out(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    const uint32_t late = dns_last_query(world)->handle;

    world_advance(world, 1999999);
    world_expect_nothing(world);
    world_advance(world, 1);
    assert_int_equal(dns_next_code(world), DNS_SERVFAIL);
    dns_ask_letter(world, 'b'); /* takes the same place */
    world_answer_hex(world, late,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    world_expect_nothing(world);
}

/* A guest that repeats a pending question causes one lookup and gets one answer. */
static void a_repeated_question_is_asked_once(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    dns_ask(world, QUERY_A);
    assert_int_equal(world->query_count, 1);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    assert_int_equal(dns_next_code(world), DNS_NOERROR);
    world_expect_nothing(world);
}

/* RFC 2308 §5: "no such name" and "no such data" are remembered as long as the SOA says. */
static void negative_answers_are_cached_with_their_soa(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8183 0001 0000 0001 0000 " EXAMPLE "0001 0001"
                     "c014 0006 0001 00000e10 0016 00 00 00000001 00000002 00000003 00000004 "
                     "0000000a");
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    world_advance(world, 9999999);
    dns_ask(world, QUERY_A);
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 1);
    world_advance(world, 1);
    dns_ask(world, QUERY_A);
    assert_int_equal(world->query_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(the_ttl_is_limited),
        WORLD_TEST(a_cached_answer_counts_down_and_expires),
        WORLD_TEST_LATER(a_cache_of_zero_entries_is_off),
        WORLD_TEST_LATER(the_oldest_cached_name_is_evicted),
        WORLD_TEST_LATER(a_cache_that_is_always_full_stays_consistent),
        WORLD_TEST_LATER(too_many_pending_is_servfail),
        WORLD_TEST_LATER(no_pending_at_all_is_servfail),
        WORLD_TEST(a_resolver_failure_is_servfail),
        WORLD_TEST(a_lookup_times_out),
        WORLD_TEST(a_repeated_question_is_asked_once),
        WORLD_TEST(negative_answers_are_cached_with_their_soa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
