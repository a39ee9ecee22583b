/* l2-proxy.md §5.4: DNS. */
#include "dns_guest.h"

#include "nat/dns_wire.h"
#include "vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* §5.4: the worked query and answer. */
static void an_answer_has_the_worked_bytes(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    assert_string_equal(dns_last_query(world)->name, "example.com");
    assert_int_equal(dns_last_query(world)->type, DNS_TYPE_A);
    world_expect_nothing(world);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "0001 0001 c00c 0001 0001 0000003c 0004 5db8d822");
    assert_int_equal(world->metrics.dns_queries_total, 1);
}

/* §5.4: the worked NXDOMAIN, for a name the resolver does not know. */
static void a_name_that_does_not_exist_is_nxdomain(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8183 0001 0000 0000 0000 " EXAMPLE "0001 0001");
    dns_expect_answer(world, "1234 8183 0001 0000 0000 0000 " EXAMPLE "0001 0001");
    assert_int_equal(world->metrics.dns_fail_total, 1);
}

/* §5.4: the question is echoed as it was asked; names are lower-cased for the resolver. */
static void the_case_of_the_question_is_kept(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0000 0001 0000 0000 0000 074578614d706c6503434f4d00 0001 0001");
    assert_string_equal(dns_last_query(world)->name, "example.com");
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    /* RD echoed: it was clear. */
    dns_expect_answer(world, "1234 8080 0001 0001 0000 0000 074578614d706c6503434f4d00 0001 0001"
                             "c00c 0001 0001 0000003c 0004 5db8d822");
}

/* §5.4: not exactly one question, response bit set, compressed or malformed name: dropped. */
static void malformed_queries_are_dropped(void **state)
{
    struct nat_world *world = *state;
    static const char *const wrong[] = {
        "1234 0100 0000 0000 0000 0000",
        "1234 0100 0002 0000 0000 0000 " EXAMPLE "0001 0001 " EXAMPLE "0001 0001",
        "1234 8100 0001 0000 0000 0000 " EXAMPLE "0001 0001",
        "1234 0100 0001 0000 0000 0000 c00c 0001 0001",
        "1234 0100 0001 0000 0000 0000 0161c00c 0001 0001",
        "1234 0100 0001 0000 0000 0000 4161 00 0001 0001",
        "1234 0100 0001 0000 0000 0000 0361002e00 0001 0001",
        "1234 0100 0001 0000 0000 0000 03612e6200 0001 0001",
        "1234 0100 0001 0000 0000 0000 0161 0001",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        dns_ask(world, wrong[i]);
    world_expect_nothing(world);
    assert_int_equal(world->query_count, 0);
    assert_int_equal(world->metrics.guest_malformed_total, sizeof wrong / sizeof wrong[0]);
}

/* The parser never reads beyond a query cut at any byte. */
static void a_query_cut_anywhere_is_dropped(void **state)
{
    (void)state;
    uint8_t query[64];
    struct dns_question question;
    const uint32_t bytes = world_hex(QUERY_A, query, sizeof query);

    for (uint32_t cut = 0; cut < bytes; cut++) {
        uint8_t *guarded = guarded_copy(query, cut);

        assert_false(dns_question_parse(&question, guarded, cut));
        vector_bytes_free(guarded, cut);
    }
    assert_true(dns_question_parse(&question, query, bytes));
}

/* RFC 1035 §2.3.4: 255 octets are the longest name. */
static void the_longest_name_passes_and_one_more_does_not(void **state)
{
    (void)state;
    uint8_t query[400] = {0x12, 0x34, 1, 0, 0, 1};
    struct dns_question question;
    uint32_t at = 12;

    for (int i = 0; i < 4; i++) {
        const uint8_t label = i < 3 ? 63 : 61;

        query[at++] = label;
        memset(query + at, 'a', label);
        at += label;
    }
    query[at++] = 0;
    be16_put(query + at, 1);
    be16_put(query + at + 2, 1);
    assert_int_equal(at - 12, 255);
    assert_true(dns_question_parse(&question, query, at + 4));
    assert_int_equal(strlen(question.name), 253);

    query[12 + 3 * 64] = 62;
    query[at - 1] = 'a';
    query[at] = 0;
    be16_put(query + at + 1, 1);
    be16_put(query + at + 3, 1);
    assert_false(dns_question_parse(&question, query, at + 5));
}

/* §5.4: class not IN, or a type nobody knows: NOTIMP. */
static void other_classes_and_types_are_not_implemented(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "0001 0003");
    assert_int_equal(dns_next_code(world), DNS_NOTIMP);
    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "fff0 0001");
    assert_int_equal(dns_next_code(world), DNS_NOTIMP);
    dns_ask(world, "1234 2800 0001 0000 0000 0000 " EXAMPLE "0001 0001"); /* opcode UPDATE */
    assert_int_equal(dns_next_code(world), DNS_NOTIMP);
    assert_int_equal(world->query_count, 0);
}

/* §5.4: AAAA: NOERROR with zero answers: the LAN has no IPv6. */
static void aaaa_has_no_answers(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "001c 0001");
    dns_expect_answer(world, "1234 8180 0001 0000 0000 0000 " EXAMPLE "001c 0001");
}

/* §5.4: name blocked by domain policy: NXDOMAIN, whatever the type. */
static void a_blocked_name_does_not_exist(void **state)
{
    struct nat_world *world = *state;

    world->policy.blocked_domains = "com";
    world_start_leased(world);
    dns_ask(world, QUERY_A);
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "001c 0001");
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 0);
    assert_int_equal(world->metrics.policy_denied_total, 2);
}

/* §5.4: resolved but address denied: NXDOMAIN (rebinding defence); allowed ones beside it stay. */
static void a_denied_address_is_not_answered(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "7f000001"));
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->metrics.policy_denied_total, 1);
    dns_ask(world, QUERY_A); /* and it was not cached as an answer */
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "0a000001") A_RECORD("0000003c", "5db8d822")
                         A_RECORD("0000003c", "a9fea9fe"));
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "0001 0001" A_RECORD("0000003c", "5db8d822"));
}

/* §5.4 [US]: all addresses are returned, also behind a CNAME. */
static void all_addresses_are_returned(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, QUERY_A);
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE
                     "0001 0001 c00c 0005 0001 0000003c 0004 0177c00c"
                     "c029 0001 0001 0000003c 0004 5db8d822"
                     "c029 0001 0001 0000003c 0004 5db8d823");
    dns_expect_answer(world, "1234 8180 0001 0002 0000 0000 " EXAMPLE "0001 0001" A_RECORD(
                                 "0000003c", "5db8d822") A_RECORD("0000003c", "5db8d823"));
}

/* §5.4: fixed overrides, documentation networks included, other denied addresses filtered. */
static void overrides_are_answered_without_the_resolver(void **state)
{
    struct nat_world *world = *state;
    static const struct nat_dns_override fixed[] = {
        {"example.com", {203, 0, 113, 5}},
        {"a", {10, 0, 0, 1}},
    };

    world->config.dns_overrides = fixed;
    world->config.dns_override_count = 2;
    world_start_leased(world);
    dns_ask(world, QUERY_A);
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "0001 0001" A_RECORD("0000003c", "cb007105"));
    dns_ask_letter(world, 'a');
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "000f 0001");
    assert_int_equal(dns_next_code(world), DNS_NOERROR);
    assert_int_equal(world->query_count, 0);
}

/* §5.4 [US]: OPT is ignored; an answer above 512 bytes is cut at a record, with TC. */
static void a_large_answer_is_truncated_at_a_record(void **state)
{
    struct nat_world *world = *state;
    uint8_t wire[2048];
    uint32_t bytes = world_hex("beef 8180 0001 0032 0000 0000 " EXAMPLE "0001 0001", wire, 64);
    uint32_t answer_bytes;

    for (uint32_t i = 0; i < 50; i++)
        bytes += world_hex(A_RECORD("0000003c", "5db8d822"), wire + bytes, 16);
    dns_ask(world, "1234 0100 0001 0000 0000 0001 " EXAMPLE "0001 0001 00 0029 1000 00000000 0000");
    nat_dns_answer(world->nat, dns_last_query(world)->handle, wire, bytes, 0, world->now_us);
    const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &answer_bytes);

    assert_int_equal(be16_get(answer + 2), 0x8380);
    assert_int_equal(be16_get(answer + 6), (512 - 29) / 16);
    assert_int_equal(answer_bytes, 29 + (512 - 29) / 16 * 16);
}

/* Real data for other types: names in rdata are written out, since their pointers led into a
 * message the guest never sees (RFC 3597 §4). */
static void names_in_records_are_expanded(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "000f 0001");
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "000f 0001 c00c 000f 0001 0000003c 0009 000a 046d61696c c00c");
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "000f 0001 c00c 000f 0001 0000003c 0014 000a 046d61696c " EXAMPLE);
}

/* Policy after resolution for every address in an answer: hints of HTTPS records, too. */
static void a_service_record_with_a_denied_hint_is_left_out(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "0041 0001");
    world_answer_hex(world, dns_last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE "0041 0001 "
                     "c00c 0041 0001 0000003c 000b 0001 00 0004 0004 7f000001"
                     "c00c 0041 0001 0000003c 000b 0002 00 0004 0004 5db8d822"
                     "c00c 0041 0001 0000003c 0017 0003 00 0006 0010 "
                     "fe800000000000000000000000000001");
    dns_expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                             "0041 0001 c00c 0041 0001 0000003c 000b 0002 00 0004 0004 5db8d822");
}

/* What the host's own networks call their machines is none of the guest's business. */
static void reverse_names_of_denied_addresses_do_not_exist(void **state)
{
    struct nat_world *world = *state;

    dns_ask(world, "1234 0100 0001 0000 0000 0000 0131 0131 03313638 03313932 07696e2d61646472 "
                   "0461727061 00 000c 0001");
    assert_int_equal(dns_next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 0);
    dns_ask(world, "1234 0100 0001 0000 0000 0000 023334 03323136 03313834 023933 07696e2d61646472 "
                   "0461727061 00 000c 0001");
    assert_string_equal(dns_last_query(world)->name, "34.216.184.93.in-addr.arpa");
}

/* The reverse form of IPv6 (RFC 3596 §2.5). */
static void reverse_names_are_understood(void **state)
{
    (void)state;
    uint8_t address[16];
    static const uint8_t expected[16] = {0xfe, 0x80, [15] = 0x21};

    assert_int_equal(dns_reverse_address("1.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
                                         "0.8.e.f.ip6.arpa",
                                         address),
                     6);
    assert_memory_equal(address, expected, 16);
    assert_int_equal(dns_reverse_address("4.3.2.1.in-addr.arpa", address), 4);
    assert_memory_equal(address, ((const uint8_t[]){1, 2, 3, 4}), 4);
    assert_int_equal(dns_reverse_address("256.3.2.1.in-addr.arpa", address), 0);
    assert_int_equal(dns_reverse_address("4.3.2.1.in-addr.arpa.x", address), 0);
    assert_int_equal(dns_reverse_address("example.com", address), 0);
}

/* Hostile answers: pointers that lead forward or in a circle, counts and lengths that lie. */
static void hostile_answers_end(void **state)
{
    struct nat_world *world = *state;
    static const char *const wrong[] = {
        "beef 8180 0001 0001 0000 0000 c00c 0001 0001",
        "beef 8180 0001 ffff 0000 0000 " EXAMPLE "0001 0001",
        "beef 8180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c01d 0001 0001 0000003c 0004 5db8d822",
        "beef 8180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c0ff 0001 0001 0000003c 0004 5db8d822",
        "beef 8180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c00c 0001 0001 0000003c ffff 5db8d822",
        "beef 8180 0001 0001 0000 0000 " EXAMPLE
        "0001 0001 c00c 0001 0001 0000003c 0005 5db8d82200",
        "beef 8180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c00c 0001 0003 0000003c 0004 5db8d822",
        "beef 0180 0001 0001 0000 0000 " EXAMPLE "0001 0001 c00c 0001 0001 0000003c 0004 5db8d822",
    };

    world->config.dns_cache_max = 0;
    world_start_leased(world);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint32_t bytes;

        dns_ask(world, QUERY_A);
        world_answer_hex(world, dns_last_query(world)->handle, wrong[i]);
        const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

        assert_int_equal(bytes, 29); /* no record came through */
        assert_int_equal(be16_get(answer + 6), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(an_answer_has_the_worked_bytes),
        WORLD_TEST(a_name_that_does_not_exist_is_nxdomain),
        WORLD_TEST(the_case_of_the_question_is_kept),
        WORLD_TEST(malformed_queries_are_dropped),
        cmocka_unit_test(a_query_cut_anywhere_is_dropped),
        cmocka_unit_test(the_longest_name_passes_and_one_more_does_not),
        WORLD_TEST(other_classes_and_types_are_not_implemented),
        WORLD_TEST(aaaa_has_no_answers),
        WORLD_TEST_LATER(a_blocked_name_does_not_exist),
        WORLD_TEST(a_denied_address_is_not_answered),
        WORLD_TEST(all_addresses_are_returned),
        WORLD_TEST_LATER(overrides_are_answered_without_the_resolver),
        WORLD_TEST(a_large_answer_is_truncated_at_a_record),
        WORLD_TEST(names_in_records_are_expanded),
        WORLD_TEST(a_service_record_with_a_denied_hint_is_left_out),
        WORLD_TEST(reverse_names_of_denied_addresses_do_not_exist),
        cmocka_unit_test(reverse_names_are_understood),
        WORLD_TEST_LATER(hostile_answers_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
