/*
 * pci.h - PCI configuration space of a single-function device: type 0 header, BAR sizing,
 *         command gating.
 *
 * Source   PCI Local Bus 2.3 §6; spec/e1000.md §1, spec/virtio-net.md §1.
 * Memory   The caller owns struct pci_config; nothing here allocates.
 * Guest    Every offset, size and value is accepted; what leaves the 256 bytes reads 0 and
 *          ignores writes.
 */
#ifndef NIC_PCI_H
#define NIC_PCI_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PCI_CONFIG_BYTES = 256,
    PCI_BAR_COUNT = 6,

    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CACHE_LINE_SIZE = 0x0c,
    PCI_LATENCY_TIMER = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_CAPABILITY_POINTER = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,

    PCI_COMMAND_IO = 1u << 0,
    PCI_COMMAND_MEMORY = 1u << 1,
    PCI_COMMAND_MASTER = 1u << 2,
    PCI_COMMAND_INTX_DISABLE = 1u << 10,
    PCI_STATUS_INTERRUPT = 1u << 3,
    PCI_STATUS_CAPABILITIES = 1u << 4,
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_MEMORY32, PCI_BAR_MEMORY64, PCI_BAR_IO };

struct pci_bar {
    enum pci_bar_kind kind; /* a MEMORY64 bar takes the next slot too, which is then NONE */
    uint32_t bytes;         /* size: a power of two, >= 16 for memory, >= 4 for I/O */
};

struct pci_identity {
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id;
    uint8_t revision_id;
    uint8_t base_class, sub_class;
    struct pci_bar bars[PCI_BAR_COUNT];
};

struct pci_config {
    struct pci_identity identity;
    uint8_t bytes[PCI_CONFIG_BYTES];    /* as read by the guest, BAR probes aside */
    uint8_t writable[PCI_CONFIG_BYTES]; /* 1 bits a guest may change */
    bool bar_probe[PCI_BAR_COUNT];      /* the last aligned dword write to this BAR was all ones */
};

/** Fills in the header of `identity`, interrupt pin INTA, all BARs unprogrammed. */
void pci_config_init(struct pci_config *pci, const struct pci_identity *identity);

/** Reads 1, 2 or 4 bytes at any alignment; other sizes and offsets past the end give 0. */
uint32_t pci_config_read(const struct pci_config *pci, uint32_t offset, uint32_t size);

/** Writes 1, 2 or 4 bytes; read-only bits keep their value (spec/e1000.md §1 for BAR sizing). */
void pci_config_write(struct pci_config *pci, uint32_t offset, uint32_t size, uint32_t value);

static inline uint16_t pci_command(const struct pci_config *pci)
{
    return (uint16_t)(pci->bytes[PCI_COMMAND] | (uint32_t)pci->bytes[PCI_COMMAND + 1] << 8);
}
void pci_set_command(struct pci_config *pci, uint16_t command);

/** STATUS bit 3 follows the interrupt line (spec/choices.md). */
static inline void pci_set_interrupt_status(struct pci_config *pci, bool pending)
{
    uint8_t *status = pci->bytes + PCI_STATUS;

    *status = (uint8_t)((*status & ~PCI_STATUS_INTERRUPT) | (pending ? PCI_STATUS_INTERRUPT : 0));
}

/** Programmed base address of BAR `bar`, flag bits removed; 0 for a BAR that does not exist. */
uint64_t pci_bar_base(const struct pci_config *pci, uint32_t bar);

#endif
