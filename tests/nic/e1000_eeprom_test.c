/* EEPROM by EERD and by Microwire: spec/e1000.md §4, quirks 2.22 and 2.23. */
#include "driver.h"

static uint32_t eerd(struct driver *d, uint32_t word)
{
    driver_put(d, E1000_EERD, word << 8 | EERD_START);
    return driver_get(d, E1000_EERD);
}

static void clock_in(struct driver *d, uint32_t bit)
{
    const uint32_t base = EECD_CS | EECD_REQ | (bit != 0 ? EECD_DI : 0);

    driver_put(d, E1000_EECD, base);
    driver_put(d, E1000_EECD, base | EECD_SK);
    driver_put(d, E1000_EECD, base);
}

static void command(struct driver *d, uint32_t bits, uint32_t value)
{
    while (bits-- > 0)
        clock_in(d, value >> bits & 1);
}

/* A driver raises SK, reads DO, lowers SK, 16 times. */
static uint16_t word_out(struct driver *d)
{
    uint16_t word = 0;

    for (int i = 0; i < 16; i++) {
        driver_put(d, E1000_EECD, EECD_CS | EECD_REQ | EECD_SK);
        word = (uint16_t)(word << 1 | ((driver_get(d, E1000_EECD) & EECD_DO) != 0));
        driver_put(d, E1000_EECD, EECD_CS | EECD_REQ);
    }
    return word;
}

static uint16_t microwire_read(struct driver *d, uint32_t word)
{
    driver_put(d, E1000_EECD, EECD_REQ);
    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    command(d, 3, 6);
    command(d, 6, word);
    return word_out(d);
}

/* §4, image for MAC 52:54:00:12:34:56. */
static void image_is_the_one_of_the_text(void **state)
{
    struct driver *d = *state;
    static const uint16_t head[16] = {
        0x5452, 0x1200, 0x5634, 0x0000, 0x0000, 0xffff, 0xffff, 0xffff,
        0xffff, 0xffff, 0x4000, 0x100e, 0x8086, 0x100e, 0x8086, 0x3000,
    };

    for (uint32_t i = 0; i < 64; i++) {
        const uint16_t want = i < 16 ? head[i] : i == 63 ? 0x6d40 : 0xffff;

        assert_int_equal(eerd(d, i) >> 16, want);
        assert_int_equal(microwire_read(d, i), want);
    }
}

/* §4: write 0x00000101, read 0x12000110. */
static void eerd_example(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_EERD, 0x00000101);
    assert_int_equal(driver_get(d, E1000_EERD), 0x12000110);
}

/* §4: address >= 64 reads FFFF; quirk 2.22: DONE all the same. Bit 1 is never set. */
static void eerd_beyond_the_end(void **state)
{
    struct driver *d = *state;

    for (uint32_t word = 64; word < 256; word++)
        assert_int_equal(eerd(d, word), 0xffff0000 | word << 8 | EERD_DONE);
    driver_put(d, E1000_EERD, 0x3f00);
    assert_int_equal(driver_get(d, E1000_EERD), 0x3f00); /* no START, no read */
}

/* §4, table: PRES always 1, SIZE 0, GNT while REQ; FWE stored; DO is not the driver's. */
static void eecd_bits(void **state)
{
    struct driver *d = *state;

    assert_int_equal(driver_get(d, E1000_EECD), 0x100);
    driver_put(d, E1000_EECD, 0xfffffff0);
    assert_int_equal(driver_get(d, E1000_EECD), 0x1f8); /* PRES GNT REQ FWE, DO ready */
    driver_put(d, E1000_EECD, 0);
    assert_int_equal(driver_get(d, E1000_EECD) & ~EECD_DO, EECD_PRES);
}

/* §4: zero bits before the start bit are ignored. */
static void leading_zeros_are_ignored(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    command(d, 5, 0);
    command(d, 9, 6 << 6 | 0x3f);
    assert_int_equal(word_out(d), 0x6d40);
}

/* §4: continued clocking goes on with the next word. */
static void continued_clocking_reads_the_next_word(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    command(d, 9, 6 << 6 | 0);
    assert_int_equal(word_out(d), 0x5452);
    assert_int_equal(word_out(d), 0x1200);
    assert_int_equal(word_out(d), 0x5634);
    driver_put(d, E1000_EECD, EECD_REQ);
    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    command(d, 9, 6 << 6 | 63);
    assert_int_equal(word_out(d), 0x6d40);
    assert_int_equal(word_out(d), 0x5452);
}

/* §4: a CS rising edge resets the shift state. */
static void cs_starts_anew(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    command(d, 5, 0x1a);
    assert_int_equal(microwire_read(d, 0x0d), 0x100e);
    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    word_out(d);
    assert_int_equal(microwire_read(d, 0x0e), 0x8086);
}

/* §4: the last address bit puts a dummy 0 on DO; when not reading DO reads 1. */
static void the_dummy_zero_and_ready(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
    assert_int_equal(driver_get(d, E1000_EECD) & EECD_DO, EECD_DO);
    command(d, 8, (6 << 6 | 5) >> 1);
    assert_int_equal(driver_get(d, E1000_EECD) & EECD_DO, EECD_DO);
    command(d, 1, 1);
    assert_int_equal(driver_get(d, E1000_EECD) & EECD_DO, 0);
}

/* §4: write and erase commands change nothing and answer ready. */
static void writes_are_ignored(void **state)
{
    struct driver *d = *state;

    for (uint32_t opcode = 0; opcode < 4; opcode++) {
        if (opcode == 2)
            continue;
        driver_put(d, E1000_EECD, EECD_REQ);
        driver_put(d, E1000_EECD, EECD_REQ | EECD_CS);
        command(d, 9, (4 | opcode) << 6 | 0);
        command(d, 16, 0x1234);
        assert_int_equal(driver_get(d, E1000_EECD) & EECD_DO, EECD_DO);
    }
    assert_int_equal(eerd(d, 0) >> 16, 0x5452);
}

/* Without CS nothing is clocked in. */
static void clocks_without_cs_do_nothing(void **state)
{
    struct driver *d = *state;

    for (int i = 0; i < 20; i++) {
        driver_put(d, E1000_EECD, EECD_DI | EECD_SK);
        driver_put(d, E1000_EECD, EECD_DI);
    }
    assert_int_equal(microwire_read(d, 1), 0x1200);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(image_is_the_one_of_the_text),
        T(eerd_example),
        T(eerd_beyond_the_end),
        T(eecd_bits),
        T(leading_zeros_are_ignored),
        T(continued_clocking_reads_the_next_word),
        T(cs_starts_anew),
        T(the_dummy_zero_and_ready),
        T(writes_are_ignored),
        T(clocks_without_cs_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
