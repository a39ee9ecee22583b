/* PHY, MDIC and link: spec/e1000.md §5, quirks 2.24, 2.25 and 2.40. */
#include "driver.h"

static uint32_t mdic(struct driver *d, uint32_t operation, uint32_t phy, uint32_t reg,
                     uint32_t data)
{
    driver_put(d, E1000_MDIC, operation | phy << 21 | reg << 16 | data);
    return driver_get(d, E1000_MDIC);
}

static uint32_t phy_get(struct driver *d, uint32_t reg)
{
    const uint32_t answer = mdic(d, MDIC_READ, 1, reg, 0);

    assert_int_equal(answer & (MDIC_READY | MDIC_ERROR), MDIC_READY);
    return answer & 0xffff;
}

static void phy_put(struct driver *d, uint32_t reg, uint32_t data)
{
    assert_int_equal(mdic(d, MDIC_WRITE, 1, reg, data) & (MDIC_READY | MDIC_ERROR), MDIC_READY);
}

/* §5: write 0x08220000, read 0x18220141. */
static void mdic_example(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_MDIC, 0x08220000);
    assert_int_equal(driver_get(d, E1000_MDIC), 0x18220141);
}

/* §5, table; choices, PHY status bit 5: auto-negotiation completes by itself. */
static void registers_reset_to_the_table(void **state)
{
    static const uint16_t table[][2] = {
        {0, 0x1140}, {1, 0x796d}, {2, 0x0141},  {3, 0x0c20},  {4, 0x0de1},  {5, 0x45e1},
        {6, 0},      {9, 0x0e00}, {10, 0x3c00}, {15, 0x3000}, {16, 0x0360}, {17, 0xac00},
        {18, 0},     {19, 0},     {20, 0x0d60}, {21, 0},      {29, 0},      {30, 0},
    };

    for (uint32_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(phy_get(*state, table[i][0]), table[i][1]);
}

/* §5: PHY address 1 exists, any other sets ERROR; quirk 2.24: unimplemented registers, too. */
static void other_addresses_and_registers_set_error(void **state)
{
    struct driver *d = *state;

    for (uint32_t phy = 0; phy < 32; phy++) {
        const uint32_t answer = mdic(d, MDIC_READ, phy, 2, 0);

        assert_int_equal(answer & MDIC_ERROR, phy == 1 ? 0 : MDIC_ERROR);
        assert_int_equal(answer & MDIC_READY, MDIC_READY);
    }
    assert_int_equal(mdic(d, MDIC_READ, 1, 25, 0) & MDIC_ERROR, MDIC_ERROR);
}

/* §5: if bit 29 was set, raise MDAC. */
static void mdac_only_with_interrupt_enable(void **state)
{
    struct driver *d = *state;

    mdic(d, MDIC_READ, 1, 2, 0);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    mdic(d, MDIC_READ | MDIC_INT_ENABLE, 1, 2, 0);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_MDAC);
}

static void identifier_and_status_are_read_only(void **state)
{
    struct driver *d = *state;

    for (uint32_t reg = 1; reg <= 3; reg++)
        phy_put(d, reg, 0xffff);
    assert_int_equal(phy_get(d, 1), 0x796d);
    assert_int_equal(phy_get(d, 2), 0x0141);
    assert_int_equal(phy_get(d, 3), 0x0c20);
    phy_put(d, 4, 0x01e1);
    assert_int_equal(phy_get(d, 4), 0x01e1);
}

/* §5, register 0: bits 15 and 9 clear themselves; 15 resets the registers. */
static void control_bits_clear_themselves(void **state)
{
    struct driver *d = *state;

    phy_put(d, 4, 0x01e1);
    phy_put(d, 0, 0x1340);
    assert_int_equal(phy_get(d, 0), 0x1140);
    assert_int_equal(phy_get(d, 4), 0x01e1);
    phy_put(d, 0, 0x9140);
    assert_int_equal(phy_get(d, 0), 0x1140);
    assert_int_equal(phy_get(d, 4), 0x0de1);
}

/* §9: PHY_RST resets the PHY registers and clears itself. */
static void ctrl_phy_rst_resets_the_phy(void **state)
{
    struct driver *d = *state;

    phy_put(d, 4, 0x01e1);
    driver_put(d, E1000_CTRL, 0x00140240 | CTRL_PHY_RST);
    assert_int_equal(driver_get(d, E1000_CTRL), 0x00140240);
    assert_int_equal(phy_get(d, 4), 0x0de1);
}

/* §5: autonegotiation restart: complete at once, LSC raised. */
static void restart_completes_at_once(void **state)
{
    struct driver *d = *state;

    phy_put(d, 0, 0x1340);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
    assert_int_equal(phy_get(d, 1), 0x796d);
}

/* §5, quirk 2.25; choices, LSC when done: with a delay the link is down until it is over. */
static void restart_with_a_delay_drops_the_link(void **state)
{
    struct driver *d = *state;
    struct e1000_config config = d->config;

    config.autonegotiate_ms = 500;
    driver_power_on(d, &config);
    assert_true(e1000_link(d->nic));
    phy_put(d, 0, 0x1340);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    assert_false(e1000_link(d->nic));
    assert_int_equal(phy_get(d, 1), 0x7949);
    assert_int_equal(e1000_next_event_ns(d->nic), d->now_ns + 500000000);

    d->now_ns += 499999999;
    e1000_poll(d->nic, 1);
    assert_false(e1000_link(d->nic));
    d->now_ns += 1;
    e1000_poll(d->nic, 1);
    assert_true(e1000_link(d->nic));
    assert_int_equal(phy_get(d, 1), 0x796d);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
    assert_true(e1000_next_event_ns(d->nic) == UINT64_MAX);
}

/* §5, link down; quirk 2.40: LSC once per change. */
static void cable_out_and_in(void **state)
{
    struct driver *d = *state;

    e1000_set_link(d->nic, false);
    assert_int_equal(driver_get(d, E1000_STATUS), 0x80000081);
    assert_int_equal(phy_get(d, 1), 0x7949);
    assert_int_equal(phy_get(d, 17), 0xa800);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
    e1000_set_link(d->nic, false);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    e1000_set_link(d->nic, true);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
    assert_int_equal(phy_get(d, 17), 0xac00);
}

/* quirks §1, macOS: LSC after SLU is set with the link up. */
static void setting_slu_raises_lsc(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL, 0);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    driver_put(d, E1000_CTRL, CTRL_SLU);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
}

/* The 82543 has no MDIC in its driver: CTRL.SWDPIN3 is the clock, SWDPIN2 the data. */
static void mdio_bit(struct driver *d, uint32_t bit)
{
    const uint32_t base = CTRL_SWDPIO2 | UINT32_C(1) << 25 | (bit != 0 ? CTRL_SWDPIN2 : 0);

    driver_put(d, E1000_CTRL, base);
    driver_put(d, E1000_CTRL, base | CTRL_SWDPIN3);
    driver_put(d, E1000_CTRL, base);
}

static void mdio_bits(struct driver *d, uint32_t bits, uint32_t value)
{
    while (bits-- > 0)
        mdio_bit(d, value >> bits & 1);
}

static uint32_t mdio_in(struct driver *d)
{
    const uint32_t base = UINT32_C(1) << 25;

    driver_put(d, E1000_CTRL, base | CTRL_SWDPIN3);
    const uint32_t bit = (driver_get(d, E1000_CTRL) & CTRL_SWDPIN2) != 0;
    driver_put(d, E1000_CTRL, base);
    return bit;
}

static uint32_t mdio_get(struct driver *d, uint32_t reg)
{
    uint32_t value = 0;

    mdio_bits(d, 32, 0xffffffff);
    mdio_bits(d, 14, 1 << 12 | 2 << 10 | 1 << 5 | reg);
    driver_put(d, E1000_CTRL, UINT32_C(1) << 25);
    mdio_in(d); /* turnaround */
    for (int i = 0; i < 16; i++)
        value = value << 1 | mdio_in(d);
    mdio_in(d);
    return value;
}

static void the_82543_answers_on_its_pins(void **state)
{
    struct driver *d = *state;
    struct e1000_config config = d->config;

    config.model = E1000_MODEL_82543GC;
    driver_power_on(d, &config);
    assert_int_equal(e1000_config_read(d->nic, 0, 4), 0x10048086);
    assert_int_equal(mdio_get(d, 2), 0x0141);
    assert_int_equal(mdio_get(d, 3), 0x0c50);
    mdio_bits(d, 32, 0xffffffff);
    mdio_bits(d, 14, 1 << 12 | 1 << 10 | 1 << 5 | 4);
    mdio_bits(d, 2, 2);
    mdio_bits(d, 16, 0x01e1);
    assert_int_equal(mdio_get(d, 4), 0x01e1);
    assert_int_equal(mdio_get(d, 1), 0x796d);
}

static void the_82545_has_its_own_identity(void **state)
{
    struct driver *d = *state;
    struct e1000_config config = d->config;

    config.model = E1000_MODEL_82545EM;
    driver_power_on(d, &config);
    assert_int_equal(e1000_config_read(d->nic, 0, 4), 0x100f8086);
    assert_int_equal(phy_get(d, 3), 0x0c20);
    uint32_t sum = 0;
    for (uint32_t word = 0; word < 64; word++) {
        driver_put(d, E1000_EERD, word << 8 | EERD_START);
        sum += driver_get(d, E1000_EERD) >> 16;
    }
    assert_int_equal(sum & 0xffff, 0xbaba);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mdic_example),
        T(registers_reset_to_the_table),
        T(other_addresses_and_registers_set_error),
        T(mdac_only_with_interrupt_enable),
        T(identifier_and_status_are_read_only),
        T(control_bits_clear_themselves),
        T(ctrl_phy_rst_resets_the_phy),
        T(restart_completes_at_once),
        T(restart_with_a_delay_drops_the_link),
        T(cable_out_and_in),
        T(setting_slu_raises_lsc),
        T(the_82543_answers_on_its_pins),
        T(the_82545_has_its_own_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
