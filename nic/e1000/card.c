#include "internal.h"

#define DEFAULT_ALIGNMENT 16

struct model {
    uint16_t device_id;
};

static const struct model models[] = {
    [E1000_MODEL_82540EM] = {0x100e},
    [E1000_MODEL_82543GC] = {0x1004},
    [E1000_MODEL_82545EM] = {0x100f},
};

size_t e1000_bytes(void)
{
    return sizeof(struct e1000);
}

static bool host_complete(const struct nic_host *host)
{
    return host->dma_read != NULL && host->dma_write != NULL && host->irq != NULL &&
           host->frame_begin != NULL && host->frame_end != NULL && host->now_ns != NULL;
}

static void pci_identify(struct e1000 *nic)
{
    const uint16_t device_id = models[nic->config.model].device_id;

    pci_config_init(
        &nic->pci, &(struct pci_identity){
                       .vendor_id = 0x8086,
                       .device_id = device_id,
                       .subsystem_vendor_id = 0x8086,
                       .subsystem_id = device_id,
                       .base_class = 0x02,
                       .bars = {{PCI_BAR_MEMORY32, E1000_MMIO_BYTES}, {PCI_BAR_IO, E1000_IO_BYTES}},
                   });
}

struct e1000 *e1000_init(void *memory, size_t memory_bytes, const struct nic_host *host,
                         const struct e1000_config *config)
{
    struct e1000 *nic = memory;

    if (memory == NULL || (uintptr_t)memory % DEFAULT_ALIGNMENT != 0 ||
        memory_bytes < sizeof *nic || !host_complete(host) || (config->mac[0] & 1) != 0 ||
        (uint32_t)config->model >= sizeof models / sizeof models[0])
        return NULL;
    __builtin_memset(nic, 0, offsetof(struct e1000, scratch)); /* the buffers need no start value */
    nic->host = *host;
    nic->config = *config;
    frame_queue_init(&nic->queue, nic->queue_bytes, RX_QUEUE_BYTES, E1000_QUEUE_FRAMES);
    regs_init(nic);
    pci_identify(nic);
    eeprom_build(nic);
    nic->cable = true;
    e1000_reset(nic);
    return nic;
}

void card_reset_mac(struct e1000 *nic)
{
    regs_reset(nic);
    nic->microwire = (struct microwire){0};
    nic->contexts[0] = nic->contexts[1] = (struct tx_context){0};
    nic->tx = (struct tx_packet){0};
    frame_queue_clear(&nic->queue);
    irq_timers_clear(nic);
}

void e1000_reset(struct e1000 *nic)
{
    if (nic->busy)
        return;
    pci_identify(nic);
    nic->io_address = 0;
    nic->mdio = (struct mdio){0};
    nic->timers.autonegotiation = NEVER;
    phy_reset(nic);
    reg_put(nic, E1000_STATUS, nic->cable ? STATUS_LU : 0);
    card_reset_mac(nic);
    irq_update(nic);
}

uint32_t e1000_config_read(const struct e1000 *nic, uint32_t offset, uint32_t size)
{
    return pci_config_read(&nic->pci, offset, size);
}

void e1000_config_write(struct e1000 *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    pci_config_write(&nic->pci, offset, size, value);
    if (!nic->busy)
        irq_update(nic);
}

void e1000_set_pci_command(struct e1000 *nic, uint16_t command)
{
    pci_set_command(&nic->pci, command);
    if (!nic->busy)
        irq_update(nic);
}

uint32_t e1000_poll(struct e1000 *nic, uint32_t budget)
{
    uint32_t consumed = 0;

    if (nic->busy)
        return 0;
    nic->busy = true;
    irq_timers_run(nic);
    if (dma_enabled(nic)) {
        consumed = tx_poll(nic, budget < E1000_POLL_DESCRIPTORS ? budget : E1000_POLL_DESCRIPTORS);
        rx_poll(nic);
    }
    nic->busy = false;
    irq_update(nic);
    return consumed;
}

bool e1000_work_pending(const struct e1000 *nic)
{
    return dma_enabled(nic) && (tx_pending(nic) || rx_pending(nic));
}

int e1000_rx_offer(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    if (nic->busy)
        return E1000_ERR_NO_BUFFER;
    nic->busy = true;
    const int result = rx_offer(nic, frame, bytes);
    nic->busy = false;
    irq_update(nic);
    return result;
}

int e1000_rx_offer_super(struct e1000 *nic, const uint8_t *frame, uint32_t bytes,
                         uint16_t gso_bytes)
{
    if (nic->busy)
        return E1000_ERR_NO_BUFFER;
    nic->busy = true;
    const int result = rx_offer_super(nic, frame, bytes, gso_bytes);
    nic->busy = false;
    irq_update(nic);
    return result;
}

int e1000_receive(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    if (nic->busy)
        return E1000_ERR_NO_BUFFER;
    const int result = rx_arrive(nic, frame, bytes);
    irq_update(nic);
    return result;
}

void e1000_set_link(struct e1000 *nic, bool up)
{
    nic->cable = up;
    phy_link_changed(nic);
    if (!nic->busy)
        irq_update(nic);
}

bool e1000_link(const struct e1000 *nic)
{
    return (reg_get(nic, E1000_STATUS) & STATUS_LU) != 0;
}

bool e1000_irq_level(const struct e1000 *nic)
{
    return nic->line;
}

uint64_t e1000_next_event_ns(const struct e1000 *nic)
{
    return irq_next_event(nic);
}

void e1000_mac(const struct e1000 *nic, uint8_t mac[6])
{
    le32_put(mac, reg_get(nic, E1000_RAL0));
    le16_put(mac + 4, (uint16_t)reg_get(nic, E1000_RAH0));
}

const struct e1000_stats *e1000_stats(const struct e1000 *nic)
{
    return &nic->stats;
}
