/* l2-proxy.md §5.4: DNS. */
#include "nat_world.h"

#include "nat/dns_wire.h"
#include "vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXAMPLE "076578616d706c6503636f6d00 "
#define QUERY_A "1234 0100 0001 0000 0000 0000 " EXAMPLE "0001 0001"

static int open_leased(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    world_open(world);
    *state = world;
    return 0;
}

static int open_later(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    world_init(world);
    *state = world;
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

static void start(struct nat_world *world)
{
    world_start(world);
    world_announce(world);
}

static void ask(struct nat_world *world, const char *hex)
{
    uint8_t query[600];

    world_send_udp(world, 5000, world_gateway, 53, query, world_hex(hex, query, sizeof query));
}

static void expect_answer(struct nat_world *world, const char *hex)
{
    uint8_t expected[600];
    const uint32_t expected_bytes = world_hex(hex, expected, sizeof expected);
    uint32_t bytes;
    const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

    assert_int_equal(bytes, expected_bytes);
    assert_memory_equal(answer, expected, bytes);
}

static uint8_t next_code(struct nat_world *world)
{
    uint32_t bytes;
    const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

    assert_true(bytes >= DNS_HEADER_BYTES);
    return answer[3] & 15;
}

static struct world_query *last_query(struct nat_world *world)
{
    assert_true(world->query_count > 0);
    return &world->queries[(world->query_count - 1) % WORLD_QUERIES_MAX];
}

#define A_RECORD(ttl, address) "c00c 0001 0001 " ttl " 0004 " address " "

/* §5.4: the worked query and answer. */
static void an_answer_has_the_worked_bytes(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    assert_string_equal(last_query(world)->name, "example.com");
    assert_int_equal(last_query(world)->type, DNS_TYPE_A);
    world_expect_nothing(world);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001 c00c 0001 0001 0000003c 0004 5db8d822");
    assert_int_equal(world->metrics.dns_queries_total, 1);
}

/* §5.4: the worked NXDOMAIN, for a name the resolver does not know. */
static void a_name_that_does_not_exist_is_nxdomain(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8183 0001 0000 0000 0000 " EXAMPLE "0001 0001");
    expect_answer(world, "1234 8183 0001 0000 0000 0000 " EXAMPLE "0001 0001");
    assert_int_equal(world->metrics.dns_fail_total, 1);
}

/* §5.4: the question is echoed as it was asked; names are lower-cased for the resolver. */
static void the_case_of_the_question_is_kept(void **state)
{
    struct nat_world *world = *state;

    ask(world, "1234 0000 0001 0000 0000 0000 074578614d706c6503434f4d00 0001 0001");
    assert_string_equal(last_query(world)->name, "example.com");
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    /* RD echoed: it was clear. */
    expect_answer(world, "1234 8080 0001 0001 0000 0000 074578614d706c6503434f4d00 0001 0001"
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
        ask(world, wrong[i]);
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

    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "0001 0003");
    assert_int_equal(next_code(world), DNS_NOTIMP);
    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "fff0 0001");
    assert_int_equal(next_code(world), DNS_NOTIMP);
    ask(world, "1234 2800 0001 0000 0000 0000 " EXAMPLE "0001 0001"); /* opcode UPDATE */
    assert_int_equal(next_code(world), DNS_NOTIMP);
    assert_int_equal(world->query_count, 0);
}

/* §5.4: AAAA: NOERROR with zero answers: the LAN has no IPv6. */
static void aaaa_has_no_answers(void **state)
{
    struct nat_world *world = *state;

    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "001c 0001");
    expect_answer(world, "1234 8180 0001 0000 0000 0000 " EXAMPLE "001c 0001");
}

/* §5.4: name blocked by domain policy: NXDOMAIN, whatever the type. */
static void a_blocked_name_does_not_exist(void **state)
{
    struct nat_world *world = *state;

    world->policy.blocked_domains = "com";
    start(world);
    ask(world, QUERY_A);
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "001c 0001");
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 0);
    assert_int_equal(world->metrics.policy_denied_total, 2);
}

/* §5.4: resolved but address denied: NXDOMAIN (rebinding defence); allowed ones beside it stay. */
static void a_denied_address_is_not_answered(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "7f000001"));
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->metrics.policy_denied_total, 1);
    ask(world, QUERY_A); /* and it was not cached as an answer */
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "0a000001") A_RECORD("0000003c", "5db8d822")
                         A_RECORD("0000003c", "a9fea9fe"));
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001" A_RECORD("0000003c", "5db8d822"));
}

/* §5.4 [US]: all addresses are returned, also behind a CNAME. */
static void all_addresses_are_returned(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE
                     "0001 0001 c00c 0005 0001 0000003c 0004 0177c00c"
                     "c029 0001 0001 0000003c 0004 5db8d822"
                     "c029 0001 0001 0000003c 0004 5db8d823");
    expect_answer(world, "1234 8180 0001 0002 0000 0000 " EXAMPLE "0001 0001" A_RECORD(
                             "0000003c", "5db8d822") A_RECORD("0000003c", "5db8d823"));
}

/* §5.4: TTL = resolver's TTL limited by the maximum; 0 → default. */
static void the_ttl_is_limited(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0002 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("7fffffff", "5db8d822") A_RECORD("00000000", "5db8d823"));
    expect_answer(world, "1234 8180 0001 0002 0000 0000 " EXAMPLE "0001 0001" A_RECORD(
                             "0000012c", "5db8d822") A_RECORD("0000003c", "5db8d823"));
}

/* §5.4: cached and not expired: answer with remaining TTL. */
static void a_cached_answer_counts_down_and_expires(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    world_skip_frames(world);
    world_advance(world, 20000000);
    ask(world, QUERY_A);
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001" A_RECORD("00000028", "5db8d822"));
    assert_int_equal(world->query_count, 1);
    world_advance(world, 40000000);
    ask(world, QUERY_A);
    assert_int_equal(world->query_count, 2);
}

/* §2.2: a cache of 0 entries is off. */
static void a_cache_of_zero_entries_is_off(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_cache_max = 0;
    start(world);
    for (uint32_t i = 0; i < 2; i++) {
        ask(world, QUERY_A);
        world_answer_hex(world, last_query(world)->handle,
                         "beef 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001" A_RECORD("0000003c", "5db8d822"));
    }
    assert_int_equal(world->query_count, 2);
}

static void ask_letter(struct nat_world *world, char letter)
{
    char hex[128];

    snprintf(hex, sizeof hex, "1234 0100 0001 0000 0000 0000 01%02x00 0001 0001", (unsigned)letter);
    ask(world, hex);
}

/* §5.4: oldest entry evicted first. */
static void the_oldest_cached_name_is_evicted(void **state)
{
    struct nat_world *world = *state;
    uint32_t asked = 0;

    world->config.dns_cache_max = 2;
    start(world);
    for (char letter = 'a'; letter <= 'c'; letter++) {
        ask_letter(world, letter);
        world_answer_hex(world, last_query(world)->handle,
                         "beef 8180 0000 0001 0000 0000 00 0001 0001 0000003c 0004 5db8d822");
    }
    asked = world->query_count;
    ask_letter(world, 'b');
    ask_letter(world, 'c');
    assert_int_equal(world->query_count, asked);
    ask_letter(world, 'a');
    assert_int_equal(world->query_count, asked + 1);
}

/* A tiny cache under many names: entries change places and buckets, and lookups still end. */
static void a_cache_that_is_always_full_stays_consistent(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_cache_max = 3;
    start(world);
    for (uint32_t i = 0; i < 500; i++) {
        const uint32_t asked = world->query_count;

        ask_letter(world, (char)('a' + i * 7 % 23));
        if (world->query_count != asked)
            world_answer_hex(world, last_query(world)->handle,
                             "beef 8180 0000 0001 0000 0000 00 0001 0001 0000003c 0004 5db8d822");
        assert_int_equal(next_code(world), DNS_NOERROR);
    }
    assert_true(world->query_count > 400);
}

/* §5.4: too many pending: SERVFAIL; §2.2: a limit of 0 answers SERVFAIL to all. */
static void too_many_pending_is_servfail(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_pending_max = 2;
    start(world);
    ask_letter(world, 'a');
    ask_letter(world, 'b');
    world_expect_nothing(world);
    ask_letter(world, 'c');
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    assert_int_equal(world->metrics.dns_queries_total, 2);
}

static void no_pending_at_all_is_servfail(void **state)
{
    struct nat_world *world = *state;

    world->config.dns_pending_max = 0;
    start(world);
    ask(world, QUERY_A);
    assert_int_equal(next_code(world), DNS_SERVFAIL);
}

/* §5.4 [US]: a resolver failure is SERVFAIL, never NXDOMAIN. */
static void a_resolver_failure_is_servfail(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8185 0001 0000 0000 0000 " EXAMPLE "0001 0001"); /* REFUSED */
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    ask(world, QUERY_A);
    nat_dns_answer(world->nat, last_query(world)->handle, NULL, 0, -ETIMEDOUT, world->now_us);
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle, "beef 8180 0001");
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    world->query_result = -ENOMEM;
    ask(world, QUERY_A);
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    assert_int_equal(world->metrics.dns_fail_total, 4);
}

/* §2.2: AERO_L2_DNS_LOOKUP_TIMEOUT_MS; an answer that comes later reaches nobody. */
static void a_lookup_times_out(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    const uint32_t late = last_query(world)->handle;

    world_advance(world, 1999999);
    world_expect_nothing(world);
    world_advance(world, 1);
    assert_int_equal(next_code(world), DNS_SERVFAIL);
    ask_letter(world, 'b'); /* takes the same place */
    world_answer_hex(world, late,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    world_expect_nothing(world);
}

/* A guest that repeats a pending question causes one lookup and gets one answer. */
static void a_repeated_question_is_asked_once(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    ask(world, QUERY_A);
    assert_int_equal(world->query_count, 1);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "0001 0001" A_RECORD("0000003c", "5db8d822"));
    assert_int_equal(next_code(world), DNS_NOERROR);
    world_expect_nothing(world);
}

/* RFC 2308 §5: "no such name" and "no such data" are remembered as long as the SOA says. */
static void negative_answers_are_cached_with_their_soa(void **state)
{
    struct nat_world *world = *state;

    ask(world, QUERY_A);
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8183 0001 0000 0001 0000 " EXAMPLE "0001 0001"
                     "c014 0006 0001 00000e10 0016 00 00 00000001 00000002 00000003 00000004 "
                     "0000000a");
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    world_advance(world, 9999999);
    ask(world, QUERY_A);
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 1);
    world_advance(world, 1);
    ask(world, QUERY_A);
    assert_int_equal(world->query_count, 2);
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
    start(world);
    ask(world, QUERY_A);
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "0001 0001" A_RECORD("0000003c", "cb007105"));
    ask_letter(world, 'a');
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "000f 0001");
    assert_int_equal(next_code(world), DNS_NOERROR);
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
    ask(world, "1234 0100 0001 0000 0000 0001 " EXAMPLE "0001 0001 00 0029 1000 00000000 0000");
    nat_dns_answer(world->nat, last_query(world)->handle, wire, bytes, 0, world->now_us);
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

    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "000f 0001");
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0001 0000 0000 " EXAMPLE
                     "000f 0001 c00c 000f 0001 0000003c 0009 000a 046d61696c c00c");
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "000f 0001 c00c 000f 0001 0000003c 0014 000a 046d61696c " EXAMPLE);
}

/* Policy after resolution for every address in an answer: hints of HTTPS records, too. */
static void a_service_record_with_a_denied_hint_is_left_out(void **state)
{
    struct nat_world *world = *state;

    ask(world, "1234 0100 0001 0000 0000 0000 " EXAMPLE "0041 0001");
    world_answer_hex(world, last_query(world)->handle,
                     "beef 8180 0001 0003 0000 0000 " EXAMPLE "0041 0001 "
                     "c00c 0041 0001 0000003c 000b 0001 00 0004 0004 7f000001"
                     "c00c 0041 0001 0000003c 000b 0002 00 0004 0004 5db8d822"
                     "c00c 0041 0001 0000003c 0017 0003 00 0006 0010 "
                     "fe800000000000000000000000000001");
    expect_answer(world, "1234 8180 0001 0001 0000 0000 " EXAMPLE
                         "0041 0001 c00c 0041 0001 0000003c 000b 0002 00 0004 0004 5db8d822");
}

/* What the host's own networks call their machines is none of the guest's business. */
static void reverse_names_of_denied_addresses_do_not_exist(void **state)
{
    struct nat_world *world = *state;

    ask(world, "1234 0100 0001 0000 0000 0000 0131 0131 03313638 03313932 07696e2d61646472 "
               "0461727061 00 000c 0001");
    assert_int_equal(next_code(world), DNS_NXDOMAIN);
    assert_int_equal(world->query_count, 0);
    ask(world, "1234 0100 0001 0000 0000 0000 023334 03323136 03313834 023933 07696e2d61646472 "
               "0461727061 00 000c 0001");
    assert_string_equal(last_query(world)->name, "34.216.184.93.in-addr.arpa");
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
    start(world);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint32_t bytes;

        ask(world, QUERY_A);
        world_answer_hex(world, last_query(world)->handle, wrong[i]);
        const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

        assert_int_equal(bytes, 29); /* no record came through */
        assert_int_equal(be16_get(answer + 6), 0);
    }
}

int main(void)
{
#define TEST(name)            cmocka_unit_test_setup_teardown(name, open_leased, close_world)
#define TEST_CONFIGURED(name) cmocka_unit_test_setup_teardown(name, open_later, close_world)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_has_the_worked_bytes),
        TEST(a_name_that_does_not_exist_is_nxdomain),
        TEST(the_case_of_the_question_is_kept),
        TEST(malformed_queries_are_dropped),
        cmocka_unit_test(a_query_cut_anywhere_is_dropped),
        cmocka_unit_test(the_longest_name_passes_and_one_more_does_not),
        TEST(other_classes_and_types_are_not_implemented),
        TEST(aaaa_has_no_answers),
        TEST_CONFIGURED(a_blocked_name_does_not_exist),
        TEST(a_denied_address_is_not_answered),
        TEST(all_addresses_are_returned),
        TEST(the_ttl_is_limited),
        TEST(a_cached_answer_counts_down_and_expires),
        TEST_CONFIGURED(a_cache_of_zero_entries_is_off),
        TEST_CONFIGURED(the_oldest_cached_name_is_evicted),
        TEST_CONFIGURED(a_cache_that_is_always_full_stays_consistent),
        TEST_CONFIGURED(too_many_pending_is_servfail),
        TEST_CONFIGURED(no_pending_at_all_is_servfail),
        TEST(a_resolver_failure_is_servfail),
        TEST(a_lookup_times_out),
        TEST(a_repeated_question_is_asked_once),
        TEST(negative_answers_are_cached_with_their_soa),
        TEST_CONFIGURED(overrides_are_answered_without_the_resolver),
        TEST(a_large_answer_is_truncated_at_a_record),
        TEST(names_in_records_are_expanded),
        TEST(a_service_record_with_a_denied_hint_is_left_out),
        TEST(reverse_names_of_denied_addresses_do_not_exist),
        cmocka_unit_test(reverse_names_are_understood),
        TEST_CONFIGURED(hostile_answers_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
