/* PCI configuration space: spec/e1000.md §1. */
#include "driver.h"

static uint32_t get(struct driver *d, uint32_t offset, uint32_t size)
{
    return e1000_config_read(d->nic, offset, size);
}

static void put(struct driver *d, uint32_t offset, uint32_t size, uint32_t value)
{
    e1000_config_write(d->nic, offset, size, value);
}

/* §1, table: what a driver finds at reset. */
static void identity_is_the_table(void **state)
{
    struct driver *d = *state;

    assert_int_equal(get(d, 0x00, 4), 0x100e8086);
    assert_int_equal(get(d, 0x04, 4), 0);
    assert_int_equal(get(d, 0x08, 4), 0x02000000);
    assert_int_equal(get(d, 0x0c, 4), 0);
    assert_int_equal(get(d, 0x10, 4), 0);
    assert_int_equal(get(d, 0x14, 4), 1);
    for (uint32_t bar = 0x18; bar < 0x28; bar += 4)
        assert_int_equal(get(d, bar, 4), 0);
    assert_int_equal(get(d, 0x2c, 4), 0x100e8086);
    assert_int_equal(get(d, 0x30, 4), 0);
    assert_int_equal(get(d, 0x34, 1), 0);
    assert_int_equal(get(d, 0x3c, 2), 0x0100);
}

/* §1: rows marked "no" keep their value, the others take it. */
static void only_the_writable_rows_change(void **state)
{
    struct driver *d = *state;

    for (uint32_t at = 0; at < 0x40; at += 4) {
        if (at != 0x04 && at != 0x10 && at != 0x14)
            put(d, at, 4, 0x5a5a5a5a);
    }
    assert_int_equal(get(d, 0x00, 4), 0x100e8086);
    assert_int_equal(get(d, 0x08, 4), 0x02000000);
    assert_int_equal(get(d, 0x0c, 4), 0x00005a5a);
    assert_int_equal(get(d, 0x18, 4), 0);
    assert_int_equal(get(d, 0x2c, 4), 0x100e8086);
    assert_int_equal(get(d, 0x30, 4), 0);
    assert_int_equal(get(d, 0x3c, 4), 0x0000015a);
}

/* §1, 06: a dword write to 04 does not change the status. */
static void a_command_dword_leaves_status_alone(void **state)
{
    struct driver *d = *state;

    put(d, 0x04, 4, 0xffff0407);
    assert_int_equal(get(d, 0x04, 4), 0x00000407);
}

/* choices, PCI STATUS bit 3: follows the line's cause, INTx disable or not. */
static void status_bit_3_follows_the_cause(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_IMS, IRQ_LSC);
    driver_put(d, E1000_ICS, IRQ_LSC);
    assert_int_equal(get(d, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
    put(d, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    assert_int_equal(get(d, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
    assert_false(d->irq);
    driver_get(d, E1000_ICR);
    assert_int_equal(get(d, PCI_STATUS, 2), 0);
}

/* §1, BAR sizing: only an aligned dword of all ones arms the probe. */
static void sizing_by_an_aligned_dword_of_ones(void **state)
{
    struct driver *d = *state;

    put(d, 0x10, 4, 0xffffffff);
    put(d, 0x14, 4, 0xffffffff);
    assert_int_equal(get(d, 0x10, 4), 0xfffe0000);
    assert_int_equal(get(d, 0x14, 4), 0xffffffc1);
    assert_int_equal(get(d, 0x12, 4), 0xffc1fffe);
    put(d, 0x10, 4, 0xe0012345);
    put(d, 0x14, 4, 0xc07f);
    assert_int_equal(get(d, 0x10, 4), 0xe0000000);
    assert_int_equal(get(d, 0x14, 4), 0xc041);
    assert_int_equal(pci_bar_base(&d->nic->pci, 0), 0xe0000000);
    assert_int_equal(pci_bar_base(&d->nic->pci, 1), 0xc040);
}

/* §1: a 1- or 2-byte write merges and never arms, even if the result is all ones. */
static void partial_writes_merge_and_never_arm(void **state)
{
    struct driver *d = *state;

    put(d, 0x10, 4, 0xe0000000);
    put(d, 0x13, 1, 0xd2);
    assert_int_equal(get(d, 0x10, 4), 0xd2000000);
    put(d, 0x10, 2, 0xffff);
    put(d, 0x12, 2, 0xffff);
    assert_int_equal(get(d, 0x10, 4), 0xfffe0000);
    assert_false(d->nic->pci.bar_probe[0]);
    put(d, 0x10, 4, 0xffffffff);
    put(d, 0x13, 1, 0xc0); /* ends the probe, merges into the programmed 0 */
    assert_int_equal(get(d, 0x10, 4), 0xc0000000);
}

/* §1: accesses that straddle BAR0 and BAR1 act bytewise. */
static void a_straddling_write_acts_bytewise(void **state)
{
    struct driver *d = *state;

    put(d, 0x12, 4, 0xc040e000);
    assert_int_equal(get(d, 0x10, 4), 0xe0000000);
    assert_int_equal(get(d, 0x14, 4), 0x0000c041);
    put(d, 0x12, 4, 0xffffffff);
    assert_false(d->nic->pci.bar_probe[0]);
    assert_false(d->nic->pci.bar_probe[1]);
}

/* §1: reads that leave the 256 bytes return 0, writes are ignored; sizes 1, 2, 4 anywhere. */
static void accesses_past_the_end_do_nothing(void **state)
{
    struct driver *d = *state;

    assert_int_equal(get(d, 0xfd, 4), 0);
    assert_int_equal(get(d, 0x100, 1), 0);
    assert_int_equal(get(d, UINT32_MAX, 4), 0);
    assert_int_equal(get(d, 0, 3), 0);
    put(d, 0xffffffff, 4, 1);
    put(d, 0x3d, 4, 0xffffffff);
    assert_int_equal(get(d, 0x3b, 4), 0x00010000);
    assert_int_equal(get(d, 0x01, 2), 0x0e80);
}

/* choices, COMMAND.INTX_DISABLE: implemented; §6: forces the line low. */
static void intx_disable_gates_the_line(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_IMS, IRQ_LSC);
    driver_put(d, E1000_ICS, IRQ_LSC);
    assert_true(d->irq);
    e1000_set_pci_command(d->nic, PCI_COMMAND_INTX_DISABLE);
    assert_false(d->irq);
    e1000_set_pci_command(d->nic, 0);
    assert_true(d->irq);
    assert_int_equal(d->irq_edges, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity_is_the_table, driver_setup, driver_teardown),
        cmocka_unit_test_setup_teardown(only_the_writable_rows_change, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(a_command_dword_leaves_status_alone, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(status_bit_3_follows_the_cause, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(sizing_by_an_aligned_dword_of_ones, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(partial_writes_merge_and_never_arm, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(a_straddling_write_acts_bytewise, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(accesses_past_the_end_do_nothing, driver_setup,
                                        driver_teardown),
        cmocka_unit_test_setup_teardown(intx_disable_gates_the_line, driver_setup, driver_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
