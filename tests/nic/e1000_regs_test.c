/* The register windows and the table: spec/e1000.md §2, §3, §9. */
#include "driver.h"

/* §3.1, §3.2: reset values. */
static void reset_values_are_the_table(void **state)
{
    static const struct {
        uint32_t offset, value;
    } table[] = {
        {E1000_CTRL, 0x00140240},
        {E1000_CTRL_DUP, 0x00140240},
        {E1000_STATUS, 0x80000083},
        {E1000_EECD, 0x100},
        {E1000_EERD, 0},
        {E1000_CTRL_EXT, 0},
        {E1000_MDIC, 0x10000000},
        {E1000_FCAL, 0},
        {E1000_FCAH, 0},
        {E1000_FCT, 0},
        {E1000_VET, 0x8100},
        {E1000_ICR, 0},
        {E1000_ITR, 0},
        {E1000_ICS, 0},
        {E1000_IMS, 0},
        {E1000_IMC, 0},
        {E1000_RCTL, 0},
        {E1000_FCTTV, 0},
        {E1000_TXCW, 0},
        {E1000_RXCW, 0},
        {E1000_TCTL, 0},
        {E1000_TIPG, 0x00602008},
        {E1000_AIT, 0},
        {E1000_PBA, 0x00100030},
        {E1000_FCRTL, 0},
        {E1000_RDBAL, 0},
        {E1000_RDLEN, 0},
        {E1000_RDH, 0},
        {E1000_RDT, 0},
        {E1000_TDLEN, 0},
        {E1000_RXCSUM, 0},
        {E1000_MTA, 0},
        {E1000_RAL0, 0x12005452},
        {E1000_RAH0, 0x80005634},
        {E1000_VFTA, 0},
        {E1000_WUC, 0},
        {E1000_MANC, 0},
        {0x5408, 0},
        {0x1234, 0},
    };

    for (uint32_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (driver_get(*state, table[i].offset) != table[i].value)
            fail_msg("register %04x resets to %08x", table[i].offset,
                     driver_get(*state, table[i].offset));
    }
}

/* §3, "store"; choices, TIPG to FCRTL: plain storage. */
static void store_registers_read_back_what_was_written(void **state)
{
    static const uint32_t offsets[] = {
        E1000_CTRL_EXT, E1000_FCAL,  E1000_FCAH,   E1000_FCT,    E1000_VET,   E1000_FCTTV,
        E1000_TXCW,     E1000_TIPG,  E1000_AIT,    E1000_LEDCTL, E1000_FCRTL, E1000_FCRTH,
        E1000_RXDCTL,   E1000_RSRPD, E1000_TXDMAC, E1000_TXDCTL, E1000_TSPMT, E1000_RXCSUM,
        E1000_MTA,      0x53fc,      0x547c,       E1000_VFTA,   0x57fc,      E1000_WUC,
        E1000_WUFC,     E1000_WUS,   E1000_MANC,   0x2410,       0x3430,      0x5904,
    };
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        driver_put(d, offsets[i], 0xa5000000 + i);
    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        assert_int_equal(driver_get(d, offsets[i]), 0xa5000000 + i);
}

/* §3.1, §3.2 and quirk 2.36: widths. */
static void narrow_registers_keep_their_width(void **state)
{
    static const uint32_t offsets[] = {E1000_ITR,  E1000_RDH,  E1000_RDT,  E1000_TDH, E1000_TDT,
                                       E1000_RDTR, E1000_RADV, E1000_TIDV, E1000_TADV};
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        driver_put(d, offsets[i], 0xffffffff);
        assert_int_equal(driver_get(d, offsets[i]), 0xffff);
    }
}

static void read_only_registers_ignore_writes(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_STATUS, 0);
    driver_put(d, E1000_RXCW, 0x1234);
    driver_put(d, E1000_GPRC, 0x1234);
    assert_int_equal(driver_get(d, E1000_STATUS), 0x80000083);
    assert_int_equal(driver_get(d, E1000_RXCW), 0);
    assert_int_equal(driver_get(d, E1000_GPRC), 0);
}

/* §3.1, 0004: alias of CTRL. */
static void ctrl_has_an_alias(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL_DUP, 0x00000841);
    assert_int_equal(driver_get(d, E1000_CTRL), 0x00000841);
    e1000_mmio_write(d->nic, E1000_CTRL_DUP + 3, 1, 0x40);
    assert_int_equal(driver_get(d, E1000_CTRL), 0x40000841);
}

/* §3.1, 1000: low 16 bits writable, high = 64 - low. */
static void pba_splits_64_kib(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_PBA, 0xffff0020);
    assert_int_equal(driver_get(d, E1000_PBA), 0x00200020);
}

/* §2: a sub-dword read is the selected bytes; a sub-dword write is a read-modify-write. */
static void sub_dword_accesses_select_bytes(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_FCAL, 0x44332211);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(e1000_mmio_read(d->nic, E1000_FCAL + i, 1), 0x11 * (i + 1));
    assert_int_equal(e1000_mmio_read(d->nic, E1000_FCAL + 2, 2), 0x4433);
    e1000_mmio_write(d->nic, E1000_FCAL + 1, 2, 0xbbaa);
    assert_int_equal(driver_get(d, E1000_FCAL), 0x44bbaa11);
    e1000_mmio_write(d->nic, E1000_FCAL + 3, 4, 0x99887766); /* crosses into FCAH */
    assert_int_equal(driver_get(d, E1000_FCAL), 0x66bbaa11);
    assert_int_equal(driver_get(d, E1000_FCAH), 0x00998877);
    assert_int_equal(e1000_mmio_read(d->nic, E1000_FCAL + 3, 4), 0x99887766);
}

/* §2: with the register's read side effects; writes without. */
static void a_byte_read_of_icr_clears_all_of_it(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_ICS, 0x00000284);
    assert_int_equal(e1000_mmio_read(d->nic, E1000_ICR + 1, 1), 0x02);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    driver_put(d, E1000_ICS, 0x00000284);
    e1000_mmio_write(d->nic, E1000_ICR, 1, 0x04);
    assert_int_equal(driver_get(d, E1000_ICR), 0x280);
}

/* §2: beyond 0x20000 reads give 0 and writes are ignored; odd sizes, too (§13). */
static void the_window_ends_at_128_kib(void **state)
{
    struct driver *d = *state;

    for (uint32_t size = 0; size <= 9; size++) {
        e1000_mmio_write(d->nic, 0x20000, size, 0xffffffff);
        e1000_mmio_write(d->nic, 0xffffffff, size, 0xffffffff);
        assert_int_equal(e1000_mmio_read(d->nic, 0x20000, size), 0);
        assert_int_equal(e1000_mmio_read(d->nic, 0xffffffff, size), 0);
    }
    e1000_mmio_write(d->nic, 0x1fffe, 4, 0xffffffff);
    assert_int_equal(e1000_mmio_read(d->nic, 0x1fffe, 4), 0);
    e1000_mmio_write(d->nic, E1000_FCAL, 3, 0xffffffff);
    assert_int_equal(driver_get(d, E1000_FCAL), 0);
}

/* §2, BAR1; quirk 2.35: both registers in every width. */
static void io_window_reaches_every_register(void **state)
{
    struct driver *d = *state;

    e1000_io_write(d->nic, 0, 4, E1000_FCAL + 3);
    assert_int_equal(e1000_io_read(d->nic, 0, 4), E1000_FCAL);
    e1000_io_write(d->nic, 4, 4, 0x44332211);
    assert_int_equal(driver_get(d, E1000_FCAL), 0x44332211);
    assert_int_equal(e1000_io_read(d->nic, 4, 4), 0x44332211);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(e1000_io_read(d->nic, 4 + i, 1), 0x11 * (i + 1));
    assert_int_equal(e1000_io_read(d->nic, 6, 2), 0x4433);
    e1000_io_write(d->nic, 5, 1, 0xee);
    e1000_io_write(d->nic, 6, 2, 0xaabb);
    assert_int_equal(driver_get(d, E1000_FCAL), 0xaabbee11);
    e1000_io_write(d->nic, 0, 1, 0x38);
    assert_int_equal(e1000_io_read(d->nic, 4, 2), 0x8100);
    e1000_io_write(d->nic, 1, 1, 0x54);
    assert_int_equal(e1000_io_read(d->nic, 0, 2), 0x5438);
}

static void io_window_outside_reads_0(void **state)
{
    struct driver *d = *state;

    for (uint32_t offset = 8; offset < 0x48; offset++) {
        e1000_io_write(d->nic, offset, 4, 0xffffffff);
        assert_int_equal(e1000_io_read(d->nic, offset, 4), 0);
    }
    e1000_io_write(d->nic, 0, 4, 0x20000);
    e1000_io_write(d->nic, 4, 4, 0xffffffff);
    assert_int_equal(e1000_io_read(d->nic, 4, 4), 0);
    e1000_io_write(d->nic, 0, 4, 0xffffffff);
    assert_int_equal(e1000_io_read(d->nic, 0, 4), 0xfffffffc);
    assert_int_equal(e1000_io_read(d->nic, 4, 4), 0);
}

/* §9; choices, CTRL.RST: a real reset that keeps PCI, EEPROM and PHY. */
static void ctrl_rst_resets_the_mac_only(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    e1000_config_write(d->nic, PCI_BAR0, 4, 0xe0000000);
    driver_put(d, E1000_RAL0, 0x11111111);
    driver_put(d, E1000_RAL0 + 8, 0x22222222);
    driver_put(d, E1000_MTA + 8, 0xff);
    driver_put(d, E1000_VFTA + 8, 0xff);
    driver_put(d, E1000_IMS, IRQ_LSC);
    driver_put(d, E1000_ICS, IRQ_LSC);
    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 16 << 16 | 0x1234);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 100), 100), 0);
    driver_queue_tx(d, 60, 0);
    e1000_poll(d->nic, 8);
    assert_true(d->irq);

    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_RST);
    assert_false(d->irq);
    reset_values_are_the_table(state);
    assert_int_equal(d->nic->queue.frames, 0);
    assert_int_equal(d->nic->tx.gathered, 0);
    assert_int_equal(e1000_config_read(d->nic, PCI_BAR0, 4), 0xe0000000);
    assert_int_equal(pci_command(&d->nic->pci), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver_put(d, E1000_MDIC, MDIC_READ | 1 << 21 | 16 << 16);
    assert_int_equal(driver_get(d, E1000_MDIC) & 0xffff, 0x1234);
}

/* §12, Linux: the 82540 is reset through the I/O window. */
static void reset_through_the_io_window(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN);
    e1000_io_write(d->nic, 0, 4, E1000_CTRL);
    e1000_io_write(d->nic, 4, 4, 0x00140240 | CTRL_RST);
    assert_int_equal(driver_get(d, E1000_RCTL), 0);
    assert_int_equal(driver_get(d, E1000_CTRL), 0x00140240); /* self-clearing */
}

/* §9: STATUS.LU survives. */
static void a_pulled_cable_stays_pulled_over_reset(void **state)
{
    struct driver *d = *state;

    e1000_set_link(d->nic, false);
    driver_put(d, E1000_CTRL, CTRL_RST);
    assert_int_equal(driver_get(d, E1000_STATUS) & STATUS_LU, 0);
    assert_false(e1000_link(d->nic));
}

/* §4: writing RAL/RAH does not change the EEPROM; §9: RST brings the old address back. */
static void a_guest_set_mac_is_lost_with_rst(void **state)
{
    struct driver *d = *state;
    static const uint8_t set[] = {2, 3, 4, 5, 6, 7};
    uint8_t mac[6];

    driver_put(d, E1000_RAL0, 0x05040302);
    driver_put(d, E1000_RAH0, 0x80000706);
    e1000_mac(d->nic, mac);
    assert_memory_equal(mac, set, 6);
    driver_put(d, E1000_EERD, EERD_START);
    assert_int_equal(driver_get(d, E1000_EERD) >> 16, 0x5452);
    driver_put(d, E1000_CTRL, CTRL_RST);
    e1000_mac(d->nic, mac);
    assert_memory_equal(mac, d->config.mac, 6);
}

/* seam: NULL for a misaligned or short memory, a group MAC, a host without its functions. */
static void init_refuses_what_it_cannot_use(void **state)
{
    struct driver *d = *state;
    struct e1000_config config = d->config;
    struct nic_host host = d->host;

    assert_null(e1000_init((uint8_t *)d->memory + 8, e1000_bytes(), &host, &config));
    assert_null(e1000_init(d->memory, e1000_bytes() - 1, &host, &config));
    assert_null(e1000_init(NULL, e1000_bytes(), &host, &config));
    config.mac[0] |= 1;
    assert_null(e1000_init(d->memory, e1000_bytes(), &host, &config));
    config = d->config;
    config.model = (enum e1000_model)3;
    assert_null(e1000_init(d->memory, e1000_bytes(), &host, &config));
    host.dma_read = NULL;
    assert_null(e1000_init(d->memory, e1000_bytes(), &host, &d->config));
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reset_values_are_the_table),
        T(store_registers_read_back_what_was_written),
        T(narrow_registers_keep_their_width),
        T(read_only_registers_ignore_writes),
        T(ctrl_has_an_alias),
        T(pba_splits_64_kib),
        T(sub_dword_accesses_select_bytes),
        T(a_byte_read_of_icr_clears_all_of_it),
        T(the_window_ends_at_128_kib),
        T(io_window_reaches_every_register),
        T(io_window_outside_reads_0),
        T(ctrl_rst_resets_the_mac_only),
        T(reset_through_the_io_window),
        T(a_pulled_cable_stays_pulled_over_reset),
        T(a_guest_set_mac_is_lost_with_rst),
        T(init_refuses_what_it_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
