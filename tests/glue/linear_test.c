/* The linear host: guest memory as a stretch of the module's own (spec/host-api.md §2.2, §2.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "linear.h"
#include "vectors.h"

enum { RAM_BYTES = 4096 };

#define GIB UINT64_C(0x40000000)

/* §2.2, the example: size 0xC0000000 (3 GiB). */
static void addresses_of_three_gib_of_ram(void **state)
{
    (void)state;
    const struct linear linear = {.ram_bytes = 3 * GIB};
    const struct {
        uint64_t gpa;
        enum linear_kind kind;
        uint64_t offset;
    } rows[] = {
        {0x1000, LINEAR_RAM, 0x1000},          {0xafffffff, LINEAR_RAM, 0xafffffff},
        {0xb0000000, LINEAR_HOLE, 0},          {0xffffffff, LINEAR_HOLE, 0},
        {0x100000000, LINEAR_RAM, 0xb0000000}, {0x10fffffff, LINEAR_RAM, 0xbfffffff},
        {0x110000000, LINEAR_OUTSIDE, 0},      {UINT64_MAX, LINEAR_OUTSIDE, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct linear_part part = linear_first(&linear, rows[i].gpa, 1);

        assert_int_equal(part.kind, rows[i].kind);
        assert_int_equal(part.offset, rows[i].offset);
        assert_int_equal(part.bytes, 1);
    }
}

/* §2.2: out of range only when size < 0xB0000000; then the hole, whatever the size. */
static void small_ram_ends_before_the_hole(void **state)
{
    (void)state;
    const struct linear linear = {.ram_bytes = RAM_BYTES};

    assert_int_equal(linear_first(&linear, RAM_BYTES - 1, 1).kind, LINEAR_RAM);
    assert_int_equal(linear_first(&linear, RAM_BYTES, 1).kind, LINEAR_OUTSIDE);
    assert_int_equal(linear_first(&linear, 0xafffffff, 1).kind, LINEAR_OUTSIDE);
    assert_int_equal(linear_first(&linear, 0xb0000000, 1).kind, LINEAR_HOLE);
    assert_int_equal(linear_first(&linear, 0x100000000, 1).kind, LINEAR_OUTSIDE);
}

/* §2.3: a range crossing a boundary is split at the boundary. */
static void a_range_is_cut_where_the_kind_changes(void **state)
{
    (void)state;
    const struct linear linear = {.ram_bytes = 3 * GIB};
    const struct {
        uint64_t gpa;
        uint32_t bytes;
        uint32_t first;
    } rows[] = {
        {0xaffffff0, 64, 16},  {0xffffffff, 2, 1},       {0x10ffffffc, 8, 4},
        {0x110000000, 64, 64}, {UINT64_MAX - 3, 64, 64}, /* past 2^64: outside to its end */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(linear_first(&linear, rows[i].gpa, rows[i].bytes).bytes, rows[i].first);
}

static struct linear small_ram(uint8_t **ram)
{
    uint8_t bytes[RAM_BYTES];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    *ram = guarded_copy(bytes, sizeof bytes); /* a byte past the end crashes */
    return (struct linear){.ram = *ram, .ram_bytes = RAM_BYTES};
}

/* §2.3: read in RAM gives bytes, out of range 0x00; each part by its own rule. */
static void a_read_over_the_end_of_ram_gives_zeros_there(void **state)
{
    (void)state;
    uint8_t *ram;
    struct linear linear = small_ram(&ram);
    uint8_t got[8];

    assert_true(linear_read(&linear, RAM_BYTES - 8, got, 8));
    assert_memory_equal(got, ram + RAM_BYTES - 8, 8);
    memset(got, 0xee, sizeof got);
    assert_false(linear_read(&linear, RAM_BYTES - 3, got, 8));
    assert_memory_equal(got, ram + RAM_BYTES - 3, 3);
    assert_memory_equal(got + 3, "\0\0\0\0\0", 5);
    vector_bytes_free(ram, RAM_BYTES);
}

/* §2.3: read in hole 0xFF; address + length overflow: the rest reads 0. */
static void the_hole_reads_ones_and_an_overflow_zeros(void **state)
{
    (void)state;
    uint8_t *ram;
    struct linear linear = small_ram(&ram);
    uint8_t got[8];

    assert_false(linear_read(&linear, 0xfffffffe, got, 4));
    assert_memory_equal(got, "\xff\xff\0\0", 4);
    assert_false(linear_read(&linear, 0xaffffffe, got, 4));
    assert_memory_equal(got, "\0\0\xff\xff", 4);
    memset(got, 0xee, sizeof got);
    assert_false(linear_read(&linear, UINT64_MAX - 1, got, 8));
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0", 8);
    vector_bytes_free(ram, RAM_BYTES);
}

/* §2.3: write in hole or out of range ignored; the part inside RAM is written. */
static void a_write_over_the_end_of_ram_writes_what_is_inside(void **state)
{
    (void)state;
    uint8_t *ram;
    struct linear linear = small_ram(&ram);
    const uint8_t first = ram[0];

    assert_true(linear_write(&linear, RAM_BYTES - 4, "abcd", 4));
    assert_false(linear_write(&linear, RAM_BYTES - 2, "wxyz", 4));
    assert_memory_equal(ram + RAM_BYTES - 4, "abwx", 4);
    assert_false(linear_write(&linear, 0xb0000000, "abcd", 4));
    assert_false(linear_write(&linear, UINT64_MAX - 1, "abcd", 4)); /* must not reach address 0 */
    assert_int_equal(ram[0], first);
    vector_bytes_free(ram, RAM_BYTES);
}

/* nic/host.h: a pointer, or NULL when the range is not wholly inside one RAM region. */
static void a_map_is_whole_or_nothing(void **state)
{
    (void)state;
    uint8_t *ram;
    struct linear linear = small_ram(&ram);

    assert_ptr_equal(linear_map(&linear, 16, RAM_BYTES - 16), ram + 16);
    assert_null(linear_map(&linear, 16, RAM_BYTES - 15));
    assert_null(linear_map(&linear, 0, 0));
    assert_null(linear_map(&linear, 0xb0000000, 1));
    assert_null(linear_map(&linear, UINT64_MAX, UINT32_MAX));
    vector_bytes_free(ram, RAM_BYTES);
}

/* §2.3, the column of virtio: RAM; the hole in one piece up to 64 KiB; everything else fails. */
static void virtio_reads_whole_ranges_or_fails(void **state)
{
    (void)state;
    static uint8_t ram[RAM_BYTES], to[LINEAR_HOLE_READ_MAX + 1];
    struct linear linear = {.ram = ram, .ram_bytes = sizeof ram};

    memset(ram, 0x5a, sizeof ram);
    assert_true(linear_read_whole(&linear, RAM_BYTES - 8, to, 8));
    assert_int_equal(to[7], 0x5a);
    assert_false(linear_read_whole(&linear, RAM_BYTES - 8, to, 9)); /* crosses a boundary */
    assert_int_equal(to[0], 0);
    assert_true(linear_read_whole(&linear, 0xb0000000, to, LINEAR_HOLE_READ_MAX));
    assert_int_equal(to[LINEAR_HOLE_READ_MAX - 1], 0xff);
    assert_false(linear_read_whole(&linear, 0xb0000000, to, sizeof to));
    assert_false(linear_read_whole(&linear, 0xfffffff8, to, 16)); /* out of the hole's end */
    assert_false(linear_read_whole(&linear, RAM_BYTES, to, 1));
    assert_false(linear_read_whole(&linear, UINT64_MAX - 3, to, 8)); /* overflow */
}

static void virtio_writes_whole_ranges_or_fails(void **state)
{
    (void)state;
    static uint8_t ram[RAM_BYTES];
    struct linear linear = {.ram = ram, .ram_bytes = sizeof ram};

    assert_true(linear_write_whole(&linear, RAM_BYTES - 4, "abcd", 4));
    assert_memory_equal(ram + RAM_BYTES - 4, "abcd", 4);
    assert_false(linear_write_whole(&linear, RAM_BYTES - 3, "wxyz", 4));
    assert_memory_equal(ram + RAM_BYTES - 4, "abcd", 4);             /* not a byte of it */
    assert_true(linear_write_whole(&linear, 0xc0000000, "wxyz", 4)); /* ignored */
    assert_false(linear_write_whole(&linear, RAM_BYTES, "wxyz", 4));
    assert_false(linear_write_whole(&linear, UINT64_MAX - 1, "wxyz", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_three_gib_of_ram),
        cmocka_unit_test(small_ram_ends_before_the_hole),
        cmocka_unit_test(a_range_is_cut_where_the_kind_changes),
        cmocka_unit_test(a_read_over_the_end_of_ram_gives_zeros_there),
        cmocka_unit_test(the_hole_reads_ones_and_an_overflow_zeros),
        cmocka_unit_test(a_write_over_the_end_of_ram_writes_what_is_inside),
        cmocka_unit_test(a_map_is_whole_or_nothing),
        cmocka_unit_test(virtio_reads_whole_ranges_or_fails),
        cmocka_unit_test(virtio_writes_whole_ranges_or_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
