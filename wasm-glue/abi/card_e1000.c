/* The E1000 in the terms of card.h. */
#include "card.h"
#include "nic/e1000.h"

#define STAT(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct e1000_stats, field)                                                \
    }

static const struct abi_name stat_names[] = {
    STAT(tx_frames),       STAT(tx_bytes),       STAT(rx_frames),       STAT(rx_bytes),
    STAT(tx_dropped),      STAT(tx_bad_ring),    STAT(tx_sink_full),    STAT(rx_filtered),
    STAT(rx_dropped_size), STAT(rx_dropped_off), STAT(rx_dropped_full), STAT(rx_bad_ring),
    STAT(interrupts),
};

static const struct abi_option options_known[] = {
    {.name = "mtu", .min = 68, .max = E1000_FRAME_MAX_BYTES - 18}, /* header and VLAN tag */
};

static void *init(void *memory, size_t memory_bytes, const struct nic_host *host,
                  const uint8_t mac[6], const int32_t *options)
{
    struct e1000_config config = {.model = E1000_MODEL_82540EM};

    (void)options; /* any mtu: jumbo frames need no more than RCTL.LPE */
    for (int i = 0; i < 6; i++)
        config.mac[i] = mac[i];
    return e1000_init(memory, memory_bytes, host, &config);
}

static struct card_bar bar(const int32_t *options, uint32_t index)
{
    (void)options;
    switch (index) {
    case E1000_BAR_MMIO:
        return (struct card_bar){CARD_BAR_MEMORY, E1000_MMIO_BYTES};
    case E1000_BAR_IO:
        return (struct card_bar){CARD_BAR_IO, E1000_IO_BYTES};
    default:
        return (struct card_bar){CARD_BAR_NONE, 0};
    }
}

static void reset(void *nic)
{
    e1000_reset(nic);
}

static uint32_t config_read(void *nic, uint32_t offset, uint32_t size)
{
    return e1000_config_read(nic, offset, size);
}

static void config_write(void *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    e1000_config_write(nic, offset, size, value);
}

static uint32_t bar_read(void *nic, uint32_t index, uint32_t offset, uint32_t size)
{
    if (index == E1000_BAR_MMIO)
        return e1000_mmio_read(nic, offset, size);
    return index == E1000_BAR_IO ? e1000_io_read(nic, offset, size) : UINT32_MAX;
}

static void bar_write(void *nic, uint32_t index, uint32_t offset, uint32_t size, uint32_t value)
{
    if (index == E1000_BAR_MMIO)
        e1000_mmio_write(nic, offset, size, value);
    else if (index == E1000_BAR_IO)
        e1000_io_write(nic, offset, size, value);
}

static void poll(void *nic)
{
    e1000_poll(nic, E1000_POLL_DESCRIPTORS);
}

static bool work_pending(void *nic)
{
    return e1000_work_pending(nic);
}

static enum backend_offer offer(void *nic, const uint8_t *frame, uint32_t bytes)
{
    /* Only "no buffer" passes by itself; every other refusal loses the frame and has a counter. */
    return e1000_rx_offer(nic, frame, bytes) == E1000_ERR_NO_BUFFER ? BACKEND_HOLD : BACKEND_DONE;
}

static enum backend_offer offer_super(void *nic, const uint8_t *frame, uint32_t bytes,
                                      uint16_t gso_bytes)
{
    return e1000_rx_offer_super(nic, frame, bytes, gso_bytes) == E1000_ERR_NO_BUFFER ? BACKEND_HOLD
                                                                                     : BACKEND_DONE;
}

static void set_link(void *nic, bool up)
{
    e1000_set_link(nic, up);
}

static bool link(void *nic)
{
    return e1000_link(nic);
}

static bool irq_level(void *nic)
{
    return e1000_irq_level(nic);
}

static uint64_t next_event_ns(void *nic)
{
    return e1000_next_event_ns(nic);
}

static const void *stats(void *nic)
{
    return e1000_stats(nic);
}

static int queue(void *nic, const uint8_t *frame, uint32_t bytes)
{
    return e1000_receive(nic, frame, bytes) < 0 ? ABI_ERR_REFUSED : 0;
}

static size_t save(void *nic, const struct card_frames *outgoing, uint8_t *to, size_t capacity)
{
    const struct e1000_frames frames = {outgoing->count, outgoing->records, outgoing->bytes};

    return e1000_save(nic, &frames, to, capacity);
}

static int load(void *nic, const uint8_t *from, size_t bytes)
{
    return e1000_load(nic, from, bytes);
}

const struct card_model card_e1000 = {
    .name = "e1000",
    .options = options_known,
    .option_count = sizeof options_known / sizeof options_known[0],
    .stat_names = stat_names,
    .stat_count = sizeof stat_names / sizeof stat_names[0],
    .bytes = e1000_bytes,
    .init = init,
    .bar = bar,
    .reset = reset,
    .config_read = config_read,
    .config_write = config_write,
    .bar_read = bar_read,
    .bar_write = bar_write,
    .poll = poll,
    .work_pending = work_pending,
    .offer = offer,
    .offer_super = offer_super,
    .set_link = set_link,
    .link = link,
    .irq_level = irq_level,
    .next_event_ns = next_event_ns,
    .stats = stats,
    .queue = queue,
    .save = save,
    .load = load,
};
