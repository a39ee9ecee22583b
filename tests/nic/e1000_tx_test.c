/* Transmit: spec/e1000.md §7, quirks §2. */
#include "driver.h"

#include <string.h>

/* §7.1, examples: a legacy descriptor before and after completion. */
static void legacy_example_completes_with_dd_only(void **state)
{
    struct driver *d = *state;
    uint8_t raw[16];

    driver_hex(d, DRIVER_TX_RING, "00 34 12 00 00 00 00 00 3c 00 00 0b 00 00 00 00");
    memcpy(raw, d->ram + DRIVER_TX_RING, sizeof raw);
    driver_tx_put(d, raw);
    driver_tx_kick(d);
    memset(d->ram + 0x123400, 0x5a, 60);

    assert_int_equal(e1000_poll(d->nic, 8), 1);
    driver_assert_hex(d->ram + DRIVER_TX_RING, "00 34 12 00 00 00 00 00 3c 00 00 0b 01 00 00 00");
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 60); /* no FCS regardless of IFCS */
    assert_memory_equal(d->frame[0].data, d->ram + 0x123400, 60);
}

/* §7.2: DD only in descriptors with RS or RPS [PRM]. */
static void only_descriptors_with_rs_get_dd(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 60, TXD_CMD_EOP);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RPS);

    assert_int_equal(e1000_poll(d->nic, 8), 3);
    assert_int_equal(driver_tx_status(d, 0), 0);
    assert_int_equal(driver_tx_status(d, 1), TXD_STATUS_DD);
    assert_int_equal(driver_tx_status(d, 2), TXD_STATUS_DD);
}

/* §7.2: buffers accumulate until EOP. */
static void buffers_accumulate_until_eop(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 20, 0);
    driver_queue_tx(d, 30, 0);
    driver_queue_tx(d, 40, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);

    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 90);
    assert_int_equal(d->frame[0].data[0], driver_pattern(0, 0));
    assert_int_equal(d->frame[0].data[20], driver_pattern(1, 0));
    assert_int_equal(d->frame[0].data[50], driver_pattern(2, 0));
    assert_int_equal(d->frame[0].data[89], driver_pattern(2, 39));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(legacy_example_completes_with_dd_only, driver_setup_started,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(only_descriptors_with_rs_get_dd, driver_setup_started,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(buffers_accumulate_until_eop, driver_setup_started,
                                        driver_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
