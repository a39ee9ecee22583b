/* Rows of spec/choices.md and sentences of spec/e1000.md that need no file of their own. */
#include "driver.h"

#include <string.h>

enum { RCTL_CFIEN = 1 << 19 };

/* §3.2, 2800 and 3800; choices, RDBAL/TDBAL bits 3:0: ignored when used. */
static void the_low_bits_of_a_ring_base_are_ignored(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TDBAL, DRIVER_TX_RING | 0xf);
    driver_put(d, E1000_RDBAL, DRIVER_RX_RING | 0x7);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_rx_refill(d, 1);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    assert_int_equal(driver_rx(d, 0).length, 64);
}

/* §7: at most 4096 descriptors per poll, whatever the caller allows; the rest continues in the
 * next one. */
static void a_poll_takes_4096_descriptors_at_most(void **state)
{
    struct driver *d = *state;

    driver_tx_ring(d, 0x300000, 8192); /* zeros: empty descriptors without EOP */
    driver_put(d, E1000_TDT, 8000);
    assert_int_equal(e1000_poll(d->nic, UINT32_MAX), 4096);
    assert_int_equal(driver_get(d, E1000_TDH), 4096);
    assert_true(e1000_work_pending(d->nic));
    assert_int_equal(e1000_poll(d->nic, UINT32_MAX), 8000 - 4096);
    assert_false(e1000_work_pending(d->nic));
}

/* §7.2: TXDW once per poll if any descriptor with RS completed. */
static void txdw_comes_once_per_poll(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_IMS, IRQ_TXDW);
    for (uint32_t i = 0; i < 5; i++)
        driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->irq_edges, 1);
    assert_int_equal(e1000_stats(d->nic)->interrupts, 1);
}

/* §3.1, 0038: the low 16 bits of VET are used, on both sides. */
static void the_low_half_of_vet_is_used(void **state)
{
    struct driver *d = *state;
    uint8_t frame[64];

    driver_put(d, E1000_VET, 0xabcd9100);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_VLE);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 64);
    driver_assert_hex(d->frame[0].data + 12, "9100");
    memcpy(frame, driver_frame(d, 64), 64);
    be16_put(frame + 12, 0x9100);
    be16_put(frame + 14, 0x2123);
    driver_rx_refill(d, 1);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 64), 0);
    assert_int_equal(driver_rx(d, 0).special, 0x2123);
    assert_true((driver_rx(d, 0).status & RXD_STATUS_VP) != 0);
}

/* choices, PIF status bit: never set here, not for a frame that passed by its hash only either. */
static void a_hash_only_match_has_no_pif(void **state)
{
    struct driver *d = *state;
    uint8_t frame[60];

    memcpy(frame, driver_frame(d, 60), 60);
    driver_hex(d, 0x3000, "01005e0000fb");
    memcpy(frame, d->ram + 0x3000, 6);
    driver_put(d, E1000_RCTL, RCTL_EN);
    driver_put(d, 0x53f4, 1 << 16);
    driver_rx_refill(d, 1);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 60), 0);
    assert_int_equal(driver_rx(d, 0).status, RXD_STATUS_DD | RXD_STATUS_EOP | RXD_STATUS_IXSM);
}

/* choices, RCTL.CFIEN: not implemented, both values of the tag's CFI pass. */
static void cfien_filters_nothing(void **state)
{
    struct driver *d = *state;
    uint8_t frame[64];

    memcpy(frame, driver_frame(d, 64), 64);
    be16_put(frame + 12, ETH_TYPE_VLAN);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_VFE | RCTL_CFIEN);
    driver_put(d, E1000_VFTA + 4, 2); /* VLAN 33 */
    driver_rx_refill(d, 2);
    be16_put(frame + 14, 33);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 64), 0);
    be16_put(frame + 14, 0x1000 | 33);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 64), 0);
}

/* choices, PRCxx size classes when the CRC is stripped: the size includes the CRC. */
static void size_classes_count_a_stripped_crc(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC);
    driver_rx_refill(d, 2);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    assert_int_equal(driver_rx(d, 0).length, 60);
    assert_int_equal(driver_get(d, E1000_PRC64), 1);
    assert_int_equal(driver_get(d, E1000_GORCL), 64);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 124), 124), 0);
    assert_int_equal(driver_get(d, E1000_PRC64 + 8), 1); /* 128..255 */
}

/* choices, RXDMT0 below the threshold: with every frame below it, as other models do. */
static void rxdmt0_comes_with_every_frame_below(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
        assert_true((driver_get(d, E1000_ICR) & IRQ_RXDMT0) != 0);
    }
}

/* §5: register 19 clears on read. */
static void phy_register_19_clears_on_read(void **state)
{
    struct driver *d = *state;

    d->nic->phy[19] = 0x0400;
    driver_put(d, E1000_MDIC, MDIC_READ | 1 << 21 | 19 << 16);
    assert_int_equal(driver_get(d, E1000_MDIC) & 0xffff, 0x0400);
    driver_put(d, E1000_MDIC, MDIC_READ | 1 << 21 | 19 << 16);
    assert_int_equal(driver_get(d, E1000_MDIC) & 0xffff, 0);
}

/* §3.2, last paragraph: any register not listed reads back what was written, 0 initially; the
 * packet buffer memory may read 0, and does. */
static void unlisted_registers_are_storage(void **state)
{
    static const uint32_t offsets[] = {0x00108, 0x05f00, 0x08000, 0x0fffc};
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        assert_int_equal(driver_get(d, offsets[i]), 0);
        driver_put(d, offsets[i], 0x12345678 + i);
    }
    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        assert_int_equal(driver_get(d, offsets[i]), 0x12345678 + i);
    driver_put(d, 0x1fffc, 1);
    assert_int_equal(driver_get(d, 0x1fffc), 0);
}

/* §6, bit 3: RXSEQ is never raised by the card; a driver that sets it by ICS sees it (Linux). */
static void rxseq_is_never_raised(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 3);
    e1000_set_link(d->nic, false);
    e1000_set_link(d->nic, true);
    (void)e1000_rx_offer(d->nic, driver_frame(d, 60), 60);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_ICR) & 8, 0);
    driver_put(d, E1000_ICS, 8);
    assert_int_equal(driver_get(d, E1000_ICR), 8);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_low_bits_of_a_ring_base_are_ignored),
        T(a_poll_takes_4096_descriptors_at_most),
        T(txdw_comes_once_per_poll),
        T(the_low_half_of_vet_is_used),
        T(a_hash_only_match_has_no_pif),
        T(cfien_filters_nothing),
        T(size_classes_count_a_stripped_crc),
        T(rxdmt0_comes_with_every_frame_below),
        T(phy_register_19_clears_on_read),
        T(unlisted_registers_are_storage),
        T(rxseq_is_never_raised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
