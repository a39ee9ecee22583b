#include "internal.h"

#define ALL UINT32_MAX

/*
 * One row a register, or `words` of them in a row. A register without a row is plain storage
 * that resets to 0 (§3.2, last paragraph).
 */
struct reg_row {
    uint16_t offset, words;
    uint32_t reset;
    uint32_t writable;                      /* takes the value written */
    uint32_t set;                           /* writing 1 sets */
    uint32_t clear;                         /* writing 1 clears */
    bool read_clears;                       /* reading clears it */
    uint32_t (*reading)(struct e1000 *nic); /* gives the value instead of the store */
    void (*written)(struct e1000 *nic, uint32_t before, uint32_t value); /* after the store */
};

static void ctrl_written(struct e1000 *nic, uint32_t before, uint32_t value);

static uint32_t eecd_read(struct e1000 *nic)
{
    return eeprom_eecd(nic);
}

static void eecd_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)value;
    eeprom_microwire(nic, before);
}

static void eerd_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    (void)value;
    eeprom_eerd(nic);
}

static void mdic_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    (void)value;
    phy_mdic(nic);
}

static uint32_t icr_read(struct e1000 *nic)
{
    return irq_collect(nic);
}

static void icr_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    nic->timers.held_causes &= ~value;
}

static uint32_t ics_read(struct e1000 *nic)
{
    return reg_get(nic, E1000_ICR);
}

static void ics_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    irq_raise(nic, value);
}

static void imc_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    reg_put(nic, E1000_IMS, reg_get(nic, E1000_IMS) & ~value);
}

static void pba_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    reg_put(nic, E1000_PBA, (64 - (value & 0xffff)) << 16 | (value & 0xffff));
}

static void rdtr_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    (void)before;
    if ((value & RDTR_FPD) != 0 && nic->timers.rx_delay != NEVER) {
        nic->timers.rx_delay = nic->timers.rx_absolute = NEVER;
        irq_raise(nic, IRQ_RXT0);
    }
}

static uint32_t pair_read(struct e1000 *nic, uint32_t high)
{
    const uint32_t value = reg_get(nic, high);

    reg_put(nic, high, 0);
    reg_put(nic, high - 4, 0);
    return value;
}

static uint32_t gorch_read(struct e1000 *nic)
{
    return pair_read(nic, E1000_GORCH);
}

static uint32_t gotch_read(struct e1000 *nic)
{
    return pair_read(nic, E1000_GOTCH);
}

static uint32_t torh_read(struct e1000 *nic)
{
    return pair_read(nic, E1000_TORH);
}

static uint32_t toth_read(struct e1000 *nic)
{
    return pair_read(nic, E1000_TOTH);
}

/* A later row wins over an earlier one that spans it. */
static const struct reg_row rows[] = {
    /* offset, words, reset, writable, set, clear, read clears, reading, written */
    {E1000_CTRL, 1, 0x00140240, ~(CTRL_RST | CTRL_PHY_RST), 0, 0, false, NULL, ctrl_written},
    {E1000_STATUS, 1, 0x80000081, 0, 0, 0, false, NULL, NULL}, /* LU: phy.c */
    {E1000_EECD, 1, EECD_PRES, EECD_SK | EECD_CS | EECD_DI | EECD_FWE | EECD_REQ, 0, 0, false,
     eecd_read, eecd_written},
    {E1000_EERD, 1, 0, ALL, 0, 0, false, NULL, eerd_written},
    {E1000_MDIC, 1, MDIC_READY, ALL, 0, 0, false, NULL, mdic_written},
    {E1000_VET, 1, ETH_TYPE_VLAN, ALL, 0, 0, false, NULL, NULL},
    {E1000_ICR, 1, 0, 0, 0, ALL, true, icr_read, icr_written},
    {E1000_ITR, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_ICS, 1, 0, 0, 0, 0, false, ics_read, ics_written},
    {E1000_IMS, 1, 0, 0, ALL, 0, false, NULL, NULL},
    {E1000_IMC, 1, 0, 0, 0, 0, false, NULL, imc_written},
    {E1000_RXCW, 1, 0, 0, 0, 0, false, NULL, NULL},
    {E1000_TIPG, 1, 0x00602008, ALL, 0, 0, false, NULL, NULL},
    {E1000_LEDCTL, 1, 0x00000602, ALL, 0, 0, false, NULL, NULL},
    {E1000_PBA, 1, 0x00100030, 0xffff, 0, 0, false, NULL, pba_written},
    {E1000_RDH, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_RDT, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_RDTR, 1, 0, 0xffff, 0, 0, false, NULL, rdtr_written},
    {E1000_RADV, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_TDH, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_TDT, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_TIDV, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_TADV, 1, 0, 0xffff, 0, 0, false, NULL, NULL},
    {E1000_STATISTICS, E1000_STATISTICS_WORDS, 0, 0, 0, 0, true, NULL, NULL},
    /* 64-bit pairs clear when the high half is read (§3.3). */
    {E1000_GORCL, 1, 0, 0, 0, 0, false, NULL, NULL},
    {E1000_GORCH, 1, 0, 0, 0, 0, true, gorch_read, NULL},
    {E1000_GOTCL, 1, 0, 0, 0, 0, false, NULL, NULL},
    {E1000_GOTCH, 1, 0, 0, 0, 0, true, gotch_read, NULL},
    {E1000_TORL, 1, 0, 0, 0, 0, false, NULL, NULL},
    {E1000_TORH, 1, 0, 0, 0, 0, true, torh_read, NULL},
    {E1000_TOTL, 1, 0, 0, 0, 0, false, NULL, NULL},
    {E1000_TOTH, 1, 0, 0, 0, 0, true, toth_read, NULL},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0], ROW_NONE = 0xff };
_Static_assert(ROW_COUNT < ROW_NONE, "row numbers are bytes");

static const struct reg_row *row_at(const struct e1000 *nic, uint32_t offset)
{
    if (offset >= REG_ROW_BYTES || nic->row_of[offset / 4] == ROW_NONE)
        return NULL;
    return &rows[nic->row_of[offset / 4]];
}

void regs_init(struct e1000 *nic)
{
    __builtin_memset(nic->row_of, ROW_NONE, sizeof nic->row_of);
    for (uint32_t i = 0; i < ROW_COUNT; i++) {
        for (uint32_t word = 0; word < rows[i].words; word++)
            nic->row_of[rows[i].offset / 4 + word] = (uint8_t)i;
    }
}

uint32_t reg_writable(const struct e1000 *nic, uint32_t offset)
{
    const struct reg_row *row = row_at(nic, offset);

    return row != NULL ? row->writable : ALL;
}

uint32_t reg_reset_value(const struct e1000 *nic, uint32_t offset)
{
    const struct reg_row *row = row_at(nic, offset);

    return row != NULL ? row->reset : 0;
}

/* Stores `value` as the guest would, without what else a write does. */
void reg_restore(struct e1000 *nic, uint32_t offset, uint32_t value)
{
    const uint32_t writable = reg_writable(nic, offset);

    reg_put(nic, offset, (reg_get(nic, offset) & ~writable) | (value & writable));
    if (offset == E1000_PBA)
        pba_written(nic, 0, value);
}

void regs_reset(struct e1000 *nic)
{
    const uint32_t link = reg_get(nic, E1000_STATUS) & STATUS_LU; /* survives (§9) */

    __builtin_memset(nic->regs, 0, sizeof nic->regs);
    for (uint32_t i = 0; i < ROW_COUNT; i++)
        reg_put(nic, rows[i].offset, rows[i].reset);
    reg_put(nic, E1000_STATUS, reg_get(nic, E1000_STATUS) | link);
    reg_put(nic, E1000_RAL0, (uint32_t)nic->eeprom[1] << 16 | nic->eeprom[0]);
    reg_put(nic, E1000_RAH0, RAH_AV | nic->eeprom[2]);
}

static void ctrl_written(struct e1000 *nic, uint32_t before, uint32_t value)
{
    if ((value & CTRL_PHY_RST) != 0) {
        phy_reset(nic);
        nic->mdio = (struct mdio){0};
    }
    if ((value & CTRL_RST) != 0) {
        card_reset_mac(nic);
        return;
    }
    if (nic->config.model == E1000_MODEL_82543GC)
        phy_mdio(nic, before);
    /* Old macOS waits for LSC after it has set the link up (quirks §1). */
    if ((value & ~before & CTRL_SLU) != 0 && (reg_get(nic, E1000_STATUS) & STATUS_LU) != 0)
        irq_raise(nic, IRQ_LSC);
}

static uint32_t read_word(struct e1000 *nic, uint32_t offset)
{
    if (offset >= REG_BYTES)
        return 0;
    const struct reg_row *row = row_at(nic, offset);
    const uint32_t stored = reg_get(nic, offset);

    if (row == NULL)
        return stored;
    if (row->reading != NULL)
        return row->reading(nic);
    if (row->read_clears)
        reg_put(nic, offset, 0);
    return stored;
}

static void write_word(struct e1000 *nic, uint32_t offset, uint32_t value)
{
    if (offset >= REG_BYTES)
        return;
    const struct reg_row *row = row_at(nic, offset);
    const uint32_t before = reg_get(nic, offset);

    if (row == NULL) {
        reg_put(nic, offset, value);
        return;
    }
    reg_put(nic, offset,
            ((before & ~row->writable) | (value & (row->writable | row->set))) &
                ~(value & row->clear));
    if (row->written != NULL)
        row->written(nic, before, value);
}

static uint32_t bytes_mask(uint32_t size)
{
    return size == 4 ? ALL : (UINT32_C(1) << 8 * size) - 1;
}

/* A register whose writes set or clear bits is not merged with what it holds: that would act on
 * bits the guest did not touch. */
static uint32_t merge_base(const struct e1000 *nic, uint32_t offset)
{
    const struct reg_row *row = row_at(nic, offset);

    if (offset >= REG_BYTES || (row != NULL && row->writable == 0))
        return 0;
    return reg_get(nic, offset);
}

static uint32_t word_of(uint32_t offset)
{
    const uint32_t word = offset & ~3u;

    return word == E1000_CTRL_DUP ? E1000_CTRL : word;
}

/* An access within one dword. */
static uint32_t read_part(struct e1000 *nic, uint32_t offset, uint32_t size)
{
    return read_word(nic, word_of(offset)) >> 8 * (offset & 3) & bytes_mask(size);
}

static void write_part(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    const uint32_t word = word_of(offset);
    const uint32_t shift = 8 * (offset & 3);
    const uint32_t mask = bytes_mask(size) << shift;

    if (size < 4)
        value = (merge_base(nic, word) & ~mask) | (value << shift & mask);
    write_word(nic, word, value);
}

static bool access_valid(uint32_t offset, uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && offset < E1000_MMIO_BYTES;
}

static uint32_t first_part(uint32_t offset, uint32_t size)
{
    const uint32_t room = 4 - (offset & 3);

    return size < room ? size : room;
}

static uint32_t window_read(struct e1000 *nic, uint32_t offset, uint32_t size)
{
    if (!access_valid(offset, size))
        return 0;
    const uint32_t part = first_part(offset, size);
    uint32_t value = read_part(nic, offset, part);

    if (part < size)
        value |= read_part(nic, offset + part, size - part) << 8 * part;
    return value;
}

static void window_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (!access_valid(offset, size))
        return;
    const uint32_t part = first_part(offset, size);

    write_part(nic, offset, part, value);
    if (part < size)
        write_part(nic, offset + part, size - part, value >> 8 * part);
}

uint32_t e1000_mmio_read(struct e1000 *nic, uint32_t offset, uint32_t size)
{
    if (nic->busy)
        return 0;
    const uint32_t value = window_read(nic, offset, size);

    irq_update(nic);
    return value;
}

void e1000_mmio_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (nic->busy)
        return;
    window_write(nic, offset, size, value);
    irq_update(nic);
}

enum { IOADDR = 0, IODATA = 4, IO_END = 8 };

static bool io_valid(const struct e1000 *nic, uint32_t offset, uint32_t size)
{
    return !nic->busy && (size == 1 || size == 2 || size == 4) && offset < IO_END;
}

/* An access that crosses from IOADDR to IODATA, or leaves IODATA, reaches only its first part. */
uint32_t e1000_io_read(struct e1000 *nic, uint32_t offset, uint32_t size)
{
    if (!io_valid(nic, offset, size))
        return 0;
    const uint32_t part = first_part(offset, size);

    if (offset < IODATA)
        return nic->io_address >> 8 * offset & bytes_mask(part);
    if (nic->io_address >= E1000_MMIO_BYTES)
        return 0;
    const uint32_t value = read_part(nic, nic->io_address + offset - IODATA, part);

    irq_update(nic);
    return value;
}

void e1000_io_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    if (!io_valid(nic, offset, size))
        return;
    const uint32_t part = first_part(offset, size);

    if (offset < IODATA) {
        const uint32_t mask = bytes_mask(part) << 8 * offset;

        nic->io_address = ((nic->io_address & ~mask) | (value << 8 * offset & mask)) & ~3u;
    } else if (nic->io_address < E1000_MMIO_BYTES) {
        write_part(nic, nic->io_address + offset - IODATA, part, value);
        irq_update(nic);
    }
}
