/* Building and opening AIPC buffers: net-rings.md §2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nic/ring.h"
#include "vectors.h"

static const struct {
    const char *name;
    int error;
} errors[] = {
    {"ERR_SHORT", RING_ERR_SHORT},           {"ERR_MAGIC", RING_ERR_MAGIC},
    {"ERR_VERSION", RING_ERR_VERSION},       {"ERR_TOTAL", RING_ERR_TOTAL},
    {"ERR_TABLE", RING_ERR_TABLE},           {"ERR_RESERVED", RING_ERR_RESERVED},
    {"ERR_MISALIGNED", RING_ERR_MISALIGNED}, {"ERR_BOUNDS", RING_ERR_BOUNDS},
    {"ERR_CAPACITY", RING_ERR_CAPACITY},     {"ERR_NOT_FOUND", RING_ERR_NOT_FOUND},
};

static const char *error_name(int error)
{
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].error == error)
            return errors[i].name;
    return "?";
}

static void check_layout(const struct vector *vector)
{
    struct ring ring;
    char got[64];
    size_t bytes;
    uint8_t *buffer = vector_bytes(vector->field[3], &bytes);
    const int result = ring_open(&ring, buffer, bytes, (uint32_t)strtoul(vector->field[1], NULL, 0),
                                 (uint32_t)strtoul(vector->field[2], NULL, 0));

    if (result == 0)
        snprintf(got, sizeof got, "%u %u", (unsigned)((uint8_t *)ring.words - buffer),
                 ring.capacity_bytes);
    else
        snprintf(got, sizeof got, "%s", error_name(result));
    if (strcmp(got, vector->field[4]) != 0)
        fail_msg("%s:%u %s: %s, want %s", vector->file, vector->line, vector->field[0], got,
                 vector->field[4]);
    if (result == 0)
        assert_ptr_equal(ring.data, (uint8_t *)ring.words + RING_HEADER_BYTES);
    vector_bytes_free(buffer, bytes);
}

/* §2.5: validate in this order, with a distinct error each. */
static void opening_checks_in_the_order_of_the_text(void **state)
{
    (void)state;
    vectors_for_each("ring_layout", 5, check_layout);
}

/* §2.6: the default browser buffer. */
static void default_buffer_has_the_offsets_of_the_table(void **state)
{
    static const struct ring_spec queues[] = {
        {RING_KIND_CMD, 32768},     {RING_KIND_EVT, 32768},      {RING_KIND_NET_TX, 524288},
        {RING_KIND_NET_RX, 524288}, {RING_KIND_HID_IN, 1048576},
    };
    static const uint32_t offsets[] = {96, 32880, 65664, 589968, 1114272};
    static const uint8_t first[96] = {
        0x41, 0x49, 0x50, 0x43, 1,    0,    0,    0, 0xb0, 0x00, 0x21, 0, 5, 0, 0, 0, /* 00 */
        0,    0,    0,    0,    96,   0,    0,    0, 0,    0x80, 0,    0, 0, 0, 0, 0, /* 10 */
        1,    0,    0,    0,    0x70, 0x80, 0,    0, 0,    0x80, 0,    0, 0, 0, 0, 0, /* 20 */
        2,    0,    0,    0,    0x80, 0,    1,    0, 0,    0,    8,    0, 0, 0, 0, 0, /* 30 */
        3,    0,    0,    0,    0x90, 0,    9,    0, 0,    0,    8,    0, 0, 0, 0, 0, /* 40 */
        4,    0,    0,    0,    0xa0, 0,    0x11, 0, 0,    0,    0x10, 0, 0, 0, 0, 0, /* 50 */
    };
    const size_t bytes = ring_buffer_bytes(queues, 5);
    uint8_t *buffer = malloc(bytes);

    (void)state;
    assert_int_equal(bytes, 2162864);
    assert_non_null(buffer);
    memset(buffer, 0xee, bytes);
    assert_int_equal(ring_build(buffer, bytes, queues, 5), 0);
    assert_memory_equal(buffer, first, sizeof first);
    for (uint32_t i = 0; i < 5; i++) {
        struct ring ring;

        assert_int_equal(ring_open(&ring, buffer, bytes, queues[i].kind, 0), 0);
        assert_int_equal((uint8_t *)ring.words - buffer, offsets[i]);
        assert_int_equal(ring.capacity_bytes, queues[i].capacity_bytes);
        /* §2.4: headers are {0, 0, 0, capacity}, data is zero. */
        assert_int_equal(ring.words[0] | ring.words[1] | ring.words[2], 0);
        assert_int_equal(ring.words[3], queues[i].capacity_bytes);
        assert_int_equal(ring.data[0] | ring.data[ring.capacity_bytes - 1], 0);
    }
    free(buffer);
}

/* §2.6: two rings of 64 bytes give a 208-byte buffer. */
static void two_rings_of_64_give_208_bytes(void **state)
{
    static const struct ring_spec queues[] = {{RING_KIND_NET_TX, 64}, {RING_KIND_NET_RX, 64}};
    static const uint8_t first[48] = {
        0x41, 0x49, 0x50, 0x43, 1,    0, 0, 0, 0xd0, 0, 0, 0, 2, 0, 0, 0, /* top */
        2,    0,    0,    0,    0x30, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, /* NET_TX */
        3,    0,    0,    0,    0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, /* NET_RX */
    };
    _Alignas(4) uint8_t buffer[208];

    (void)state;
    assert_int_equal(ring_buffer_bytes(queues, 2), sizeof buffer);
    assert_int_equal(ring_build(buffer, sizeof buffer, queues, 2), 0);
    assert_memory_equal(buffer, first, sizeof first);
}

/* §2.4: what cannot be laid out is refused, and nothing is written. */
static void building_refuses_what_cannot_be_opened(void **state)
{
    const struct ring_spec odd = {RING_KIND_NET_TX, 62};
    const struct ring_spec huge[] = {{2, 0xfffffffc}, {3, 0xfffffffc}};
    const struct ring_spec good = {RING_KIND_NET_TX, 64};
    _Alignas(4) uint8_t buffer[120] = {0};

    (void)state;
    assert_int_equal(ring_buffer_bytes(&odd, 1), 0);
    assert_int_equal(ring_buffer_bytes(huge, 1), 0);
    assert_int_equal(ring_buffer_bytes(huge, 2), 0);
    assert_int_equal(ring_buffer_bytes(huge, 0), 16);
    assert_int_equal(ring_build(buffer, 112, &odd, 1), RING_ERR_CAPACITY);
    assert_int_equal(ring_build(buffer + 1, 112, &good, 1), RING_ERR_MISALIGNED);
    assert_int_equal(ring_build(buffer, 108, &good, 1), RING_ERR_TOTAL);
    assert_int_equal(ring_build(buffer, 116, &good, 1), RING_ERR_TOTAL);
    assert_int_equal(buffer[0], 0);
}

/* §2.5: after opening, the capacity is never read from shared memory again. */
static void capacity_word_is_not_read_again(void **state)
{
    const struct ring_spec spec = {RING_KIND_NET_TX, 64};
    _Alignas(4) uint8_t buffer[112];
    uint8_t got[64];
    struct ring ring;

    (void)state;
    assert_int_equal(ring_build(buffer, sizeof buffer, &spec, 1), 0);
    assert_int_equal(ring_open(&ring, buffer, sizeof buffer, RING_KIND_NET_TX, 0), 0);
    ring.words[3] = 0xfffffffc;
    memset(got, 7, sizeof got);
    assert_int_equal(ring_push(&ring, got, 61), RING_ERR_TOO_LARGE);
    assert_int_equal(ring_push(&ring, got, 60), 0);
    assert_int_equal(ring_push(&ring, got, 0), RING_ERR_FULL);
    ring.words[3] = 0;
    assert_int_equal(ring_pop(&ring, got, sizeof got), 60);
}

/* A buffer that is not 4-aligned could not hold shared words. */
static void misaligned_buffer_is_refused(void **state)
{
    _Alignas(4) uint8_t buffer[117] = {0};
    struct ring ring;

    (void)state;
    assert_int_equal(ring_open(&ring, buffer + 1, 112, 2, 0), RING_ERR_MISALIGNED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_checks_in_the_order_of_the_text),
        cmocka_unit_test(default_buffer_has_the_offsets_of_the_table),
        cmocka_unit_test(two_rings_of_64_give_208_bytes),
        cmocka_unit_test(building_refuses_what_cannot_be_opened),
        cmocka_unit_test(capacity_word_is_not_read_again),
        cmocka_unit_test(misaligned_buffer_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
