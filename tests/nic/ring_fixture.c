#include "ring_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

enum { RING_AT = RING_TOP_HEADER_BYTES + 2 * RING_DESCRIPTOR_BYTES + RING_HEADER_BYTES + 64 };

void fixture_make(struct fixture *fixture, uint32_t capacity_bytes)
{
    const struct ring_spec queues[] = {{RING_KIND_CMD, 64}, {RING_KIND_NET_TX, capacity_bytes}};
    const size_t bytes = ring_buffer_bytes(queues, 2);
    uint8_t *built = calloc(1, bytes);

    assert_non_null(built);
    assert_int_equal(ring_build(built, bytes, queues, 2), 0);
    *fixture = (struct fixture){
        .buffer = guarded_copy(built, bytes),
        .buffer_bytes = bytes,
        .before = built,
    };
    assert_int_equal(ring_open(&fixture->ring, fixture->buffer, bytes, RING_KIND_NET_TX, 0), 0);
}

void fixture_free(struct fixture *fixture)
{
    if (fixture->buffer == NULL)
        return;
    vector_bytes_free(fixture->buffer, fixture->buffer_bytes);
    free(fixture->before);
    *fixture = (struct fixture){0};
}

void fixture_check_surroundings(const struct fixture *fixture)
{
    assert_memory_equal(fixture->buffer, fixture->before, RING_AT);
    assert_int_equal(fixture->ring.words[3], fixture->ring.capacity_bytes);
}
