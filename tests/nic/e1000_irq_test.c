/* Causes, line and moderation: spec/e1000.md §6, quirks 2.18 to 2.21. */
#include "driver.h"

/* §6: line level = (ICR & IMS) != 0; unmasking a pending cause raises it. */
static void the_line_is_icr_and_ims(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_ICS, IRQ_LSC | IRQ_RXT0);
    assert_false(d->irq);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    assert_true(d->irq);
    driver_put(d, E1000_IMC, IRQ_RXT0);
    assert_false(d->irq);
    driver_put(d, E1000_IMS, IRQ_LSC);
    assert_true(d->irq);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC | IRQ_RXT0);
    assert_false(d->irq);
    assert_int_equal(e1000_stats(d->nic)->interrupts, 2);
}

/* §6: IMS writes OR, IMC writes clear, IMS reads the mask, IMC reads 0. */
static void the_mask_is_set_and_cleared_by_bits(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_IMS, 0x0f);
    driver_put(d, E1000_IMS, 0xf0);
    driver_put(d, E1000_IMC, 0x18);
    assert_int_equal(driver_get(d, E1000_IMS), 0xe7);
    assert_int_equal(driver_get(d, E1000_IMC), 0);
    driver_put(d, E1000_IMC, 0xffffffff);
    assert_int_equal(driver_get(d, E1000_IMS), 0);
}

/* §6: an ICR write clears the bits written as 1; a read clears all, masked or not. */
static void icr_clears_by_read_and_by_ones(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_ICS, 0x97);
    driver_put(d, E1000_ICR, 0x05);
    assert_int_equal(driver_get(d, E1000_ICR), 0x92);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
}

/* §3.1, 00C8; choices, reading ICS: mirrors ICR (VxWorks), keeps reserved bits (RXSEQ). */
static void ics_mirrors_icr(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_ICS, 0xffffffff);
    assert_int_equal(driver_get(d, E1000_ICS), 0xffffffff);
    assert_int_equal(driver_get(d, E1000_ICR), 0xffffffff);
}

/* §6 table, bits 0 and 1; quirk 2.19. */
static void transmit_raises_txdw_for_rs_and_txqe(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 60, TXD_CMD_EOP);
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_TXQE);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP);
    e1000_poll(d->nic, 1);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_TXDW);
}

/* §6 table, bit 4: free descriptors <= ring size / 2, 4, 8. */
static void rxdmt0_by_threshold(void **state)
{
    struct driver *d = *state;

    for (uint32_t rdmts = 0; rdmts < 3; rdmts++) {
        const uint32_t threshold = DRIVER_RING >> (1 + rdmts);

        driver_rx_ring(d, DRIVER_RX_RING, DRIVER_RING);
        driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | rdmts << RCTL_RDMTS_SHIFT);
        driver_rx_refill(d, threshold + 2);
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
        assert_int_equal(driver_get(d, E1000_ICR), IRQ_RXT0);
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
        assert_int_equal(driver_get(d, E1000_ICR), IRQ_RXT0 | IRQ_RXDMT0);
    }
}

static void receive(struct driver *d)
{
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
}

/* §6.2, ITR in 256 ns units: the next interrupt waits, none is lost. */
static void itr_holds_the_second_interrupt_back(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_ITR, 200);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    receive(d);
    assert_true(d->irq);
    assert_int_equal(driver_get(d, E1000_ICR) & IRQ_RXT0, IRQ_RXT0);
    receive(d);
    assert_false(d->irq);
    assert_int_equal(e1000_next_event_ns(d->nic), d->now_ns + 200 * 256);
    d->now_ns += 200 * 256 - 1;
    e1000_poll(d->nic, 1);
    assert_false(d->irq);
    d->now_ns += 1;
    e1000_poll(d->nic, 1);
    assert_true(d->irq);
    assert_true(e1000_next_event_ns(d->nic) == UINT64_MAX);
}

/* §6.2: a driver that polls ICR meanwhile sees everything. */
static void a_read_of_icr_collects_what_is_held(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_ITR, 200);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    receive(d);
    driver_get(d, E1000_ICR);
    receive(d);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_RXT0);
    d->now_ns += 1000000;
    e1000_poll(d->nic, 1);
    assert_false(d->irq);
}

/* §6.2: turning ITR off must not strand a held cause. */
static void clearing_itr_releases_at_the_next_tick(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_ITR, 0xffff);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    receive(d);
    driver_get(d, E1000_ICR);
    receive(d);
    driver_put(d, E1000_ITR, 0);
    e1000_poll(d->nic, 1);
    assert_true(d->irq);
}

/* §6.2, RDTR restarts with each frame, RADV limits it; 1.024 us units. */
static void rdtr_and_radv(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_RDTR, 10);
    driver_put(d, E1000_RADV, 15);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    receive(d);
    assert_false(d->irq);
    assert_int_equal(e1000_next_event_ns(d->nic), d->now_ns + 10 * 1024);
    d->now_ns += 9 * 1024;
    receive(d);
    assert_int_equal(e1000_next_event_ns(d->nic), d->now_ns + 6 * 1024);
    d->now_ns += 6 * 1024;
    e1000_poll(d->nic, 1);
    assert_true(d->irq);
}

/* §3.2, RDTR bit 31: flush. */
static void fpd_flushes_the_delay(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_RDTR, 1000);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    receive(d);
    assert_false(d->irq);
    driver_put(d, E1000_RDTR, RDTR_FPD | 1000);
    assert_true(d->irq);
    assert_int_equal(driver_get(d, E1000_RDTR), 1000);
}

/* §6.2: IDE only allows a delay; a descriptor without it is reported at once. */
static void tidv_delays_descriptors_with_ide(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TIDV, 8);
    driver_put(d, E1000_TADV, 32);
    driver_put(d, E1000_IMS, IRQ_TXDW);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_IDE);
    e1000_poll(d->nic, 8);
    assert_false(d->irq);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    d->now_ns += 8 * 1024;
    e1000_poll(d->nic, 8);
    assert_true(d->irq);
    driver_get(d, E1000_ICR);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);
    assert_true(d->irq);
}

/* quirk 2.26: reset cancels timers. */
static void reset_cancels_timers(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    driver_put(d, E1000_RDTR, 10);
    receive(d);
    driver_put(d, E1000_CTRL, CTRL_RST);
    assert_true(e1000_next_event_ns(d->nic) == UINT64_MAX);
    d->now_ns += 1000000;
    e1000_poll(d->nic, 1);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_line_is_icr_and_ims),
        T(the_mask_is_set_and_cleared_by_bits),
        T(icr_clears_by_read_and_by_ones),
        T(ics_mirrors_icr),
        T(transmit_raises_txdw_for_rs_and_txqe),
        T(rxdmt0_by_threshold),
        T(itr_holds_the_second_interrupt_back),
        T(a_read_of_icr_collects_what_is_held),
        T(clearing_itr_releases_at_the_next_tick),
        T(rdtr_and_radv),
        T(fpd_flushes_the_delay),
        T(tidv_delays_descriptors_with_ide),
        T(reset_cancels_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
