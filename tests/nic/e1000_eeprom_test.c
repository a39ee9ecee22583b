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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(image_is_the_one_of_the_text, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(eerd_example, driver_setup, driver_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
