#include "internal.h"

enum {
    PHY_ADDRESS = 1,

    PHY_CONTROL = 0,
    PHY_STATUS = 1,
    PHY_ID2 = 3,
    PHY_SPECIFIC_STATUS = 17,
    PHY_INTERRUPT_STATUS = 19,

    CONTROL_RESTART_AUTONEG = 1 << 9,
    CONTROL_AUTONEG = 1 << 12,
    CONTROL_LOOPBACK = 1 << 14,
    CONTROL_RESET = 1 << 15,
    STATUS_LINK = 1 << 2,
    STATUS_AUTONEG_DONE = 1 << 5,
    SPECIFIC_STATUS_LINK = 1 << 10,

    ID2_M88E1011 = 0x0c20,
    ID2_M88E1000 = 0x0c50, /* on the 82543GC */

    MDIO_PREAMBLE_BITS = 32,
    MDIO_COMMAND_BITS = 14, /* start, operation, PHY address, register */
    MDIO_FRAME_BITS = 32,
    MDIO_START = 1,
    MDIO_OP_READ = 2,
    MDIO_OP_WRITE = 1,
};

#define PHY_BIT(n) (UINT32_C(1) << (n))

struct phy_row {
    uint8_t number;
    uint16_t reset;
    uint16_t writable;
};

static const struct phy_row rows[] = {
    /* §5 */
    {PHY_CONTROL, 0x1140, 0x7fff & ~CONTROL_RESTART_AUTONEG},
    {PHY_STATUS, 0x7949, 0}, /* link and autonegotiation bits are added when read */
    {2, 0x0141, 0},
    {PHY_ID2, ID2_M88E1011, 0},
    {4, 0x0de1, 0xffff},
    {5, 0x45e1, 0},
    {6, 0, 0},
    {7, 0, 0xffff},
    {8, 0, 0},
    {9, 0x0e00, 0xffff},
    {10, 0x3c00, 0},
    {15, 0x3000, 0},
    {16, 0x0360, 0xffff},
    {PHY_SPECIFIC_STATUS, 0xac00 & ~SPECIFIC_STATUS_LINK, 0},
    {18, 0, 0xffff},
    {PHY_INTERRUPT_STATUS, 0, 0},
    {20, 0x0d60, 0xffff},
    {21, 0, 0},
    {29, 0, 0xffff},
    {30, 0, 0xffff},
};

static const struct phy_row *row_find(uint32_t number)
{
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].number == number)
            return &rows[i];
    }
    return NULL;
}

static bool link_is_up(const struct e1000 *nic)
{
    return (reg_get(nic, E1000_STATUS) & STATUS_LU) != 0;
}

/* STATUS.LU follows the cable and autonegotiation; LSC once per change (§5). */
void phy_link_changed(struct e1000 *nic)
{
    const bool up = nic->cable && nic->timers.autonegotiation == NEVER;
    const uint32_t status = reg_get(nic, E1000_STATUS);

    if (up == link_is_up(nic))
        return;
    reg_put(nic, E1000_STATUS, up ? status | STATUS_LU : status & ~STATUS_LU);
    irq_raise(nic, IRQ_LSC);
}

void phy_timer(struct e1000 *nic)
{
    if (nic->timers.autonegotiation == NEVER ||
        nic->host.now_ns(nic->host.context) < nic->timers.autonegotiation)
        return;
    nic->timers.autonegotiation = NEVER;
    phy_link_changed(nic);
}

static void autonegotiate(struct e1000 *nic)
{
    if (nic->config.autonegotiate_ms == 0) {
        nic->timers.autonegotiation = NEVER;
        phy_link_changed(nic);
        if (link_is_up(nic))
            irq_raise(nic, IRQ_LSC); /* done at once: still a result the driver waits for */
        return;
    }
    /* The loss of the link is announced by its return alone (choices: LSC when done). */
    nic->timers.autonegotiation =
        nic->host.now_ns(nic->host.context) + (uint64_t)nic->config.autonegotiate_ms * 1000000;
    reg_put(nic, E1000_STATUS, reg_get(nic, E1000_STATUS) & ~STATUS_LU);
}

/* Registers only; the link stays as it is until autonegotiation is restarted. */
void phy_reset(struct e1000 *nic)
{
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        nic->phy[rows[i].number] = rows[i].reset;
    if (nic->config.model == E1000_MODEL_82543GC)
        nic->phy[PHY_ID2] = ID2_M88E1000;
}

bool phy_loopback(const struct e1000 *nic)
{
    return (nic->phy[PHY_CONTROL] & CONTROL_LOOPBACK) != 0;
}

static uint16_t phy_read(struct e1000 *nic, uint32_t number)
{
    uint16_t value = nic->phy[number];

    if (number == PHY_STATUS && link_is_up(nic))
        value |= STATUS_LINK | STATUS_AUTONEG_DONE;
    if (number == PHY_SPECIFIC_STATUS && link_is_up(nic))
        value |= SPECIFIC_STATUS_LINK;
    if (number == PHY_INTERRUPT_STATUS)
        nic->phy[number] = 0;
    return value;
}

static void phy_write(struct e1000 *nic, const struct phy_row *row, uint16_t value)
{
    uint16_t *stored = &nic->phy[row->number];

    *stored = (uint16_t)((*stored & ~row->writable) | (value & row->writable));
    if (row->number != PHY_CONTROL)
        return;
    if ((value & CONTROL_RESET) != 0)
        phy_reset(nic);
    if ((value & (CONTROL_RESET | CONTROL_RESTART_AUTONEG)) != 0 &&
        (nic->phy[PHY_CONTROL] & CONTROL_AUTONEG) != 0)
        autonegotiate(nic);
}

/* MDIC was written: completes at once (§5). */
void phy_mdic(struct e1000 *nic)
{
    uint32_t mdic = reg_get(nic, E1000_MDIC);
    const struct phy_row *row = row_find(mdic >> 16 & 31);
    const uint32_t operation = mdic & (MDIC_WRITE | MDIC_READ);

    mdic &= ~(MDIC_READY | MDIC_ERROR);
    if ((mdic >> 21 & 31) != PHY_ADDRESS || row == NULL)
        mdic |= MDIC_ERROR;
    else if (operation == MDIC_READ)
        mdic = (mdic & ~UINT32_C(0xffff)) | phy_read(nic, row->number);
    else if (operation == MDIC_WRITE)
        phy_write(nic, row, (uint16_t)mdic);
    else
        mdic |= MDIC_ERROR;
    reg_put(nic, E1000_MDIC, mdic | MDIC_READY);
    if ((mdic & MDIC_INT_ENABLE) != 0)
        irq_raise(nic, IRQ_MDAC);
}

/*
 * IEEE 802.3 clause 22 management frame, bit by bit: 32 ones, start 01, operation, PHY address,
 * register, turnaround, 16 data bits. `in` is the level at the rising edge of MDC; the return
 * value is what the PHY drives after that edge.
 */
static bool mdio_clock(struct e1000 *nic, bool driven, bool in)
{
    struct mdio *mdio = &nic->mdio;

    if (mdio->bits == 0) {
        if (!driven || (in && mdio->ones < MDIO_PREAMBLE_BITS)) {
            mdio->ones = (uint8_t)(driven ? mdio->ones + 1 : 0);
            return true;
        }
        if (in)
            return true; /* a preamble may be longer */
        if (mdio->ones < MDIO_PREAMBLE_BITS) {
            mdio->ones = 0;
            return true;
        }
    }
    mdio->shift = mdio->shift << 1 | in;
    mdio->bits++;
    const uint32_t command =
        mdio->shift >> (mdio->bits > MDIO_COMMAND_BITS ? mdio->bits - MDIO_COMMAND_BITS : 0);
    const uint32_t operation = command >> 10 & 3;
    const struct phy_row *row = (command >> 5 & 31) == PHY_ADDRESS ? row_find(command & 31) : NULL;

    if (mdio->bits == MDIO_COMMAND_BITS) {
        if (command >> 12 != MDIO_START)
            nic->mdio = (struct mdio){0};
        else if (operation == MDIO_OP_READ)
            mdio->out = row != NULL ? phy_read(nic, row->number) : 0xffff;
        return true;
    }
    if (mdio->bits < MDIO_COMMAND_BITS)
        return true;
    bool out = true;
    if (operation == MDIO_OP_READ) { /* one turnaround zero, then the data, high bit first */
        const uint32_t position = mdio->bits - MDIO_COMMAND_BITS - 1u;
        out = position >= 1 && position <= 16 && (mdio->out >> (16 - position) & 1) != 0;
    }
    if (mdio->bits == MDIO_FRAME_BITS) {
        if (operation == MDIO_OP_WRITE && row != NULL)
            phy_write(nic, row, (uint16_t)mdio->shift);
        nic->mdio = (struct mdio){0};
    }
    return out;
}

/* CTRL was written over `before` on an 82543: watch for rising MDC. */
void phy_mdio(struct e1000 *nic, uint32_t before)
{
    const uint32_t ctrl = reg_get(nic, E1000_CTRL);
    const bool driven = (ctrl & CTRL_SWDPIO2) != 0;

    if ((ctrl & CTRL_SWDPIN3) == 0 || (before & CTRL_SWDPIN3) != 0)
        return;
    const bool out = mdio_clock(nic, driven, !driven || (ctrl & CTRL_SWDPIN2) != 0);
    if (!driven)
        reg_put(nic, E1000_CTRL, out ? ctrl | CTRL_SWDPIN2 : ctrl & ~CTRL_SWDPIN2);
}
