#include "internal.h"

bool vnet_msix_enabled(const struct virtio_net *nic)
{
    return vnet_msix_offered(nic) && (nic->pci.bytes[MSIX_CONTROL_AT] & MSIX_CONTROL_ENABLE) != 0;
}

uint16_t vnet_vector_valid(const struct virtio_net *nic, uint16_t vector)
{
    return vnet_msix_enabled(nic) && vector < MSIX_VECTORS ? vector : VECTOR_NONE;
}

static bool vector_masked(const struct virtio_net *nic, uint32_t vector)
{
    return (nic->pci.bytes[MSIX_CONTROL_AT] & MSIX_CONTROL_MASK) != 0 ||
           (nic->msix_table[vector * MSIX_ENTRY_BYTES + MSIX_ENTRY_CONTROL_AT] &
            MSIX_ENTRY_MASKED) != 0;
}

void vnet_msix_reset(struct virtio_net *nic)
{
    __builtin_memset(nic->msix_table, 0, sizeof nic->msix_table);
    for (uint32_t i = 0; i < MSIX_VECTORS; i++)
        nic->msix_table[i * MSIX_ENTRY_BYTES + MSIX_ENTRY_CONTROL_AT] = MSIX_ENTRY_MASKED;
}

static void message_send(struct virtio_net *nic, uint16_t vector)
{
    if (vector >= MSIX_VECTORS)
        return; /* VECTOR_NONE: silence */
    nic->msix_pending |= (uint8_t)(1u << vector);
    vnet_msix_unmasked(nic);
}

void vnet_msix_unmasked(struct virtio_net *nic)
{
    if (!vnet_msix_enabled(nic))
        return;
    for (uint32_t vector = 0; vector < MSIX_VECTORS; vector++) {
        const uint8_t bit = (uint8_t)(1u << vector);

        if ((nic->msix_pending & bit) == 0 || vector_masked(nic, vector))
            continue;
        nic->msix_pending &= (uint8_t)~bit;
        nic->stats.interrupts++;
        nic->host.message(nic->host.context, vector);
    }
}

void vnet_irq_queue(struct virtio_net *nic, const struct vnet_queue *queue)
{
    if (vnet_msix_enabled(nic))
        message_send(nic, queue->msix_vector);
    else
        nic->isr |= ISR_QUEUE;
}

void vnet_irq_config(struct virtio_net *nic)
{
    if (vnet_msix_enabled(nic))
        message_send(nic, nic->msix_config);
    else
        nic->isr |= ISR_CONFIG;
}

uint8_t vnet_irq_collect(struct virtio_net *nic)
{
    const uint8_t value = nic->isr;

    nic->isr = 0;
    vnet_irq_update(nic);
    return value;
}

void vnet_irq_update(struct virtio_net *nic)
{
    const bool pending = nic->isr != 0 && !vnet_msix_enabled(nic);
    const bool level = pending && (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) == 0;

    pci_set_interrupt_status(&nic->pci, pending);
    if (level == nic->line)
        return;
    nic->line = level;
    nic->stats.interrupts += level;
    nic->host.irq(nic->host.context, level);
}
