/* Receive: spec/e1000.md §8.1, §8.3. */
#include "driver.h"

#include <string.h>

static const char arp_request[] = "ffffffffffff 525400123456 0806 0001 0800 06 04 0001"
                                  "525400123456 0a00020f 000000000000 0a000202";

static uint32_t arp_frame(struct driver *d, uint8_t *frame)
{
    const uint32_t bytes = driver_hex(d, 0x3000, arp_request);

    memcpy(frame, d->ram + 0x3000, bytes);
    return bytes;
}

static void offer_arp(struct driver *d)
{
    uint8_t frame[64];
    const uint32_t bytes = arp_frame(d, frame);

    assert_int_equal(bytes, 42);
    le64_put(d->ram + DRIVER_RX_RING, 0x123400);
    driver_put(d, E1000_RDT, 2);
    assert_int_equal(e1000_rx_offer(d->nic, frame, bytes), 0);
}

/* §8.3, example: padded to 60, FCS behind it and counted. */
static void arp_example_with_fcs(void **state)
{
    struct driver *d = *state;

    offer_arp(d);
    driver_assert_hex(d->ram + DRIVER_RX_RING, "00 34 12 00 00 00 00 00 40 00 00 00 07 00 00 00");
    driver_assert_hex(d->ram + 0x123400, arp_request);
    driver_assert_hex(d->ram + 0x123400 + 42, "000000000000000000000000000000000000 8b1fe63c");
    assert_int_equal(driver_get(d, E1000_RDH), 1);
}

/* §8.3, example: SECRC = 1. */
static void arp_example_with_stripped_fcs(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
    offer_arp(d);
    driver_assert_hex(d->ram + DRIVER_RX_RING, "00 34 12 00 00 00 00 00 3c 00 00 00 07 00 00 00");
    driver_assert_hex(d->ram + 0x123400 + 60, "00000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arp_example_with_fcs, driver_setup_started,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(arp_example_with_stripped_fcs, driver_setup_started,
                                        driver_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
