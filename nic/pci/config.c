#include "nic/pci.h"

#include "nic/packet.h"

enum { BAR_MEMORY64_FLAG = 0x4, BAR_IO_FLAG = 0x1, BARS_END = PCI_BAR0 + 4 * PCI_BAR_COUNT };

static bool is_upper_half(const struct pci_config *pci, uint32_t bar)
{
    return bar > 0 && pci->identity.bars[bar - 1].kind == PCI_BAR_MEMORY64;
}

/* Address bits of a BAR register the guest may set; 0 for one that does not exist. */
static uint32_t bar_mask(const struct pci_config *pci, uint32_t bar)
{
    if (is_upper_half(pci, bar))
        return 0xffffffff; /* sizes stay below 4 GiB */
    if (pci->identity.bars[bar].kind == PCI_BAR_NONE)
        return 0;
    return ~(pci->identity.bars[bar].bytes - 1);
}

static uint32_t bar_flags(const struct pci_config *pci, uint32_t bar)
{
    switch (pci->identity.bars[bar].kind) {
    case PCI_BAR_MEMORY64:
        return BAR_MEMORY64_FLAG;
    case PCI_BAR_IO:
        return BAR_IO_FLAG;
    case PCI_BAR_NONE:
    case PCI_BAR_MEMORY32:
        break;
    }
    return 0;
}

static uint8_t *bar_bytes(struct pci_config *pci, uint32_t bar)
{
    return pci->bytes + PCI_BAR0 + 4 * bar;
}

static void bar_program(struct pci_config *pci, uint32_t bar, uint32_t value, bool probe)
{
    le32_put(bar_bytes(pci, bar), (value & bar_mask(pci, bar)) | bar_flags(pci, bar));
    pci->bar_probe[bar] = probe && bar_mask(pci, bar) != 0;
}

static void writable_set(struct pci_config *pci, uint32_t offset, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        pci->writable[offset + i] = 0xff;
}

void pci_config_init(struct pci_config *pci, const struct pci_identity *identity)
{
    *pci = (struct pci_config){.identity = *identity};
    le16_put(pci->bytes + PCI_VENDOR_ID, identity->vendor_id);
    le16_put(pci->bytes + PCI_DEVICE_ID, identity->device_id);
    pci->bytes[PCI_REVISION_ID] = identity->revision_id;
    pci->bytes[PCI_CLASS_PROG + 1] = identity->sub_class;
    pci->bytes[PCI_CLASS_PROG + 2] = identity->base_class;
    le16_put(pci->bytes + PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor_id);
    le16_put(pci->bytes + PCI_SUBSYSTEM_ID, identity->subsystem_id);
    pci->bytes[PCI_INTERRUPT_PIN] = 1; /* INTA */
    writable_set(pci, PCI_COMMAND, 2);
    writable_set(pci, PCI_CACHE_LINE_SIZE, 2);
    writable_set(pci, PCI_INTERRUPT_LINE, 1);
    for (uint32_t bar = 0; bar < PCI_BAR_COUNT; bar++)
        bar_program(pci, bar, 0, false);
}

static bool access_valid(uint32_t offset, uint32_t size)
{
    return (size == 1 || size == 2 || size == 4) && offset <= PCI_CONFIG_BYTES - size;
}

static uint8_t read_byte(const struct pci_config *pci, uint32_t offset)
{
    if (offset >= PCI_BAR0 && offset < BARS_END) {
        const uint32_t bar = (offset - PCI_BAR0) / 4;

        if (pci->bar_probe[bar])
            return (uint8_t)((bar_mask(pci, bar) | bar_flags(pci, bar)) >> 8 * (offset % 4));
    }
    return pci->bytes[offset];
}

uint32_t pci_config_read(const struct pci_config *pci, uint32_t offset, uint32_t size)
{
    uint32_t value = 0;

    if (!access_valid(offset, size))
        return 0;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint32_t)read_byte(pci, offset + i) << 8 * i;
    return value;
}

/* A partial BAR write merges into the programmed value and never arms the probe (§1). */
static void write_bar_byte(struct pci_config *pci, uint32_t offset, uint8_t value)
{
    const uint32_t bar = (offset - PCI_BAR0) / 4;
    const uint32_t shift = 8 * (offset % 4);
    const uint32_t programmed = le32_get(bar_bytes(pci, bar));

    bar_program(pci, bar, (programmed & ~(UINT32_C(0xff) << shift)) | (uint32_t)value << shift,
                false);
}

void pci_config_write(struct pci_config *pci, uint32_t offset, uint32_t size, uint32_t value)
{
    if (!access_valid(offset, size))
        return;
    if (size == 4 && offset % 4 == 0 && offset >= PCI_BAR0 && offset < BARS_END) {
        const bool probe = value == 0xffffffff;

        bar_program(pci, (offset - PCI_BAR0) / 4, probe ? 0 : value, probe);
        return;
    }
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t at = offset + i;
        const uint8_t byte = (uint8_t)(value >> 8 * i);

        if (at >= PCI_BAR0 && at < BARS_END)
            write_bar_byte(pci, at, byte);
        else
            pci->bytes[at] =
                (uint8_t)((pci->bytes[at] & ~pci->writable[at]) | (byte & pci->writable[at]));
    }
}

void pci_set_command(struct pci_config *pci, uint16_t command)
{
    pci_config_write(pci, PCI_COMMAND, 2, command);
}

uint64_t pci_bar_base(const struct pci_config *pci, uint32_t bar)
{
    if (bar >= PCI_BAR_COUNT || pci->identity.bars[bar].kind == PCI_BAR_NONE)
        return 0;
    uint64_t base = le32_get(pci->bytes + PCI_BAR0 + 4 * bar) & bar_mask(pci, bar);
    if (pci->identity.bars[bar].kind == PCI_BAR_MEMORY64 && bar + 1 < PCI_BAR_COUNT)
        base |= (uint64_t)le32_get(pci->bytes + PCI_BAR0 + 4 * (bar + 1)) << 32;
    return base;
}
