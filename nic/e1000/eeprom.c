#include "internal.h"

enum {
    WORD_VALIDITY = 0x0a,
    WORD_SUBSYSTEM_ID = 0x0b,
    WORD_SUBSYSTEM_VENDOR = 0x0c,
    WORD_DEVICE_ID = 0x0d,
    WORD_VENDOR_ID = 0x0e,
    WORD_FLOW_CONTROL = 0x0f,
    WORD_CHECKSUM = 0x3f,
    CHECKSUM_SUM = 0xbaba,

    COMMAND_BITS = 9, /* start 1, opcode 2, address 6 */
    OPCODE_READ = 2,
};

void eeprom_build(struct e1000 *nic)
{
    uint16_t *word = nic->eeprom;
    uint16_t sum = 0;

    for (uint32_t i = 0; i < EEPROM_WORDS; i++)
        word[i] = 0xffff;
    for (uint32_t i = 0; i < 3; i++)
        word[i] = le16_get(nic->config.mac + 2 * i);
    word[3] = word[4] = 0;
    word[WORD_VALIDITY] = 0x4000;
    word[WORD_SUBSYSTEM_ID] = nic->pci.identity.subsystem_id;
    word[WORD_SUBSYSTEM_VENDOR] = nic->pci.identity.subsystem_vendor_id;
    word[WORD_DEVICE_ID] = nic->pci.identity.device_id;
    word[WORD_VENDOR_ID] = nic->pci.identity.vendor_id;
    word[WORD_FLOW_CONTROL] = 0x3000;
    for (uint32_t i = 0; i < WORD_CHECKSUM; i++)
        sum = (uint16_t)(sum + word[i]);
    word[WORD_CHECKSUM] = (uint16_t)(CHECKSUM_SUM - sum);
}

/* One rising edge of SK with CS high (§4). */
static void clock_bit(struct e1000 *nic, uint32_t *eecd)
{
    struct microwire *wire = &nic->microwire;

    if (wire->reading) {
        if (wire->bits_left == 0) { /* continued clocking goes on with the next word */
            wire->address = (uint8_t)((wire->address + 1) % EEPROM_WORDS);
            wire->bits_left = 16;
        }
        wire->bits_left--;
        const bool bit = (nic->eeprom[wire->address] >> wire->bits_left & 1) != 0;
        *eecd = bit ? *eecd | EECD_DO : *eecd & ~EECD_DO;
        return;
    }
    const bool in = (*eecd & EECD_DI) != 0;
    if (wire->command_bits == COMMAND_BITS || (wire->command_bits == 0 && !in))
        return; /* a finished write or erase is ignored; zeros before the start bit are, too */
    wire->command = (uint16_t)(wire->command << 1 | in);
    wire->command_bits++;
    if (wire->command_bits == COMMAND_BITS && (wire->command >> 6 & 3) == OPCODE_READ) {
        wire->reading = true;
        wire->address = wire->command % EEPROM_WORDS;
        wire->bits_left = 16;
        *eecd &= ~EECD_DO; /* the dummy zero */
    }
}

/* EECD was written over `before`: DO is ours, the rest is the driver's. */
void eeprom_microwire(struct e1000 *nic, uint32_t before)
{
    uint32_t eecd = (reg_get(nic, E1000_EECD) & ~EECD_DO) | (before & EECD_DO);

    if ((eecd & EECD_CS) == 0 || (before & EECD_CS) == 0)
        nic->microwire = (struct microwire){0};
    if (!nic->microwire.reading)
        eecd |= EECD_DO; /* ready */
    if ((eecd & EECD_CS) != 0 && (eecd & EECD_SK) != 0 && (before & EECD_SK) == 0)
        clock_bit(nic, &eecd);
    reg_put(nic, E1000_EECD, eecd);
}

uint32_t eeprom_eecd(const struct e1000 *nic)
{
    const uint32_t eecd = reg_get(nic, E1000_EECD);

    return (eecd & EECD_REQ) != 0 ? eecd | EECD_GNT : eecd;
}

void eeprom_eerd(struct e1000 *nic)
{
    const uint32_t eerd = reg_get(nic, E1000_EERD);
    const uint32_t address = eerd >> 8 & 0xff;

    if ((eerd & EERD_START) == 0)
        return;
    const uint32_t data = address < EEPROM_WORDS ? nic->eeprom[address] : 0xffff;
    reg_put(nic, E1000_EERD, data << 16 | address << 8 | EERD_DONE);
}
