#include "dns_guest.h"

#include "nat/dns_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

void dns_ask(struct nat_world *world, const char *hex)
{
    uint8_t query[600];

    world_send_udp(world, 5000, world_gateway, 53, query, world_hex(hex, query, sizeof query));
}

void dns_expect_answer(struct nat_world *world, const char *hex)
{
    uint8_t expected[600];
    const uint32_t expected_bytes = world_hex(hex, expected, sizeof expected);
    uint32_t bytes;
    const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

    assert_int_equal(bytes, expected_bytes);
    assert_memory_equal(answer, expected, bytes);
}

uint8_t dns_next_code(struct nat_world *world)
{
    uint32_t bytes;
    const uint8_t *answer = world_expect_udp(world, world_gateway, 53, 5000, &bytes);

    assert_true(bytes >= DNS_HEADER_BYTES);
    return answer[3] & 15;
}

struct world_query *dns_last_query(struct nat_world *world)
{
    assert_true(world->query_count > 0);
    return &world->queries[(world->query_count - 1) % WORLD_QUERIES_MAX];
}

void dns_ask_letter(struct nat_world *world, char letter)
{
    char hex[128];

    snprintf(hex, sizeof hex, "1234 0100 0001 0000 0000 0000 01%02x00 0001 0001", (unsigned)letter);
    dns_ask(world, hex);
}
