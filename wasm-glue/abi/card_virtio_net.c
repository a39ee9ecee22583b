/* The virtio network card in the terms of card.h. */
#include "card.h"
#include "nic/virtio_net.h"

enum { POLL_CHAINS = 256 }; /* virtio-net.md §4.2, host-api.md §4 */

/* Positions in options_known. */
enum { PROFILE, TRANSPORT, HEADER_MODE, QUEUE_SIZE, MTU };

/* Choices stand in the order of the enumerations of virtio_net.h. */
static const struct abi_option options_known[] = {
    [PROFILE] = {.name = "profile", .choices = "standard contract"},
    [TRANSPORT] = {.name = "transport", .choices = "modern transitional legacy"},
    [HEADER_MODE] = {.name = "headerMode", .choices = "default 10 12 auto"},
    [QUEUE_SIZE] = {.name = "queueSize", .choices = "2 4 8 16 32 64 128 256 512 1024"},
    [MTU] = {.name = "mtu", .min = 68, .max = 65535},
};
_Static_assert(VIRTIO_NET_STANDARD == 0 && VIRTIO_NET_CONTRACT == 1, "order of profile");
_Static_assert(VIRTIO_NET_MODERN == 0 && VIRTIO_NET_TRANSITIONAL == 1 && VIRTIO_NET_LEGACY == 2,
               "order of transport");
_Static_assert(VIRTIO_NET_HEADER_DEFAULT == 0 && VIRTIO_NET_HEADER_10 == 1 &&
                   VIRTIO_NET_HEADER_12 == 2 && VIRTIO_NET_HEADER_AUTO == 3,
               "order of headerMode");
_Static_assert(VIRTIO_NET_QUEUE_SIZE_MAX == 1024, "last of queueSize");

#define STAT(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct virtio_net_stats, field)                                           \
    }

static const struct abi_name stat_names[] = {
    STAT(tx_frames),       STAT(tx_bytes),        STAT(rx_frames),      STAT(rx_bytes),
    STAT(tx_dropped),      STAT(tx_sink_full),    STAT(bad_chains),     STAT(needs_reset),
    STAT(rx_filtered),     STAT(rx_dropped_size), STAT(rx_dropped_off), STAT(rx_dropped_full),
    STAT(control_refused), STAT(interrupts),
};

/* What is left out is the first choice, or 0: the card's own default. */
static uint32_t chosen(const int32_t *options, uint32_t option)
{
    return options[option] < 0 ? 0 : (uint32_t)options[option];
}

static struct virtio_net_config config_of(const int32_t *options)
{
    return (struct virtio_net_config){
        .transport = (enum virtio_net_transport)chosen(options, TRANSPORT),
        .profile = (enum virtio_net_profile)chosen(options, PROFILE),
        .header = (enum virtio_net_header)chosen(options, HEADER_MODE),
        .mtu = (uint16_t)chosen(options, MTU),
        .queue_size = (uint16_t)(options[QUEUE_SIZE] < 0 ? 0 : 2u << (options[QUEUE_SIZE] & 15)),
    };
}

static void *init(void *memory, size_t memory_bytes, const struct nic_host *host,
                  const uint8_t mac[6], const int32_t *options)
{
    struct virtio_net_config config = config_of(options);

    for (int i = 0; i < 6; i++)
        config.mac[i] = mac[i];
    return virtio_net_init(memory, memory_bytes, host, &config);
}

static struct card_bar bar(const int32_t *options, uint32_t index)
{
    const struct virtio_net_config config = config_of(options);

    if (index == virtio_net_mmio_bar(&config))
        return (struct card_bar){CARD_BAR_MEMORY, VIRTIO_NET_MMIO_BYTES};
    if (index == virtio_net_io_bar(&config))
        return (struct card_bar){CARD_BAR_IO, VIRTIO_NET_IO_BYTES};
    return (struct card_bar){CARD_BAR_NONE, 0};
}

static void reset(void *nic)
{
    virtio_net_reset(nic);
}

static uint32_t config_read(void *nic, uint32_t offset, uint32_t size)
{
    return virtio_net_config_read(nic, offset, size);
}

static void config_write(void *nic, uint32_t offset, uint32_t size, uint32_t value)
{
    virtio_net_config_write(nic, offset, size, value);
}

static uint32_t bar_read(void *nic, uint32_t index, uint32_t offset, uint32_t size)
{
    return virtio_net_bar_read(nic, index, offset, size);
}

static void bar_write(void *nic, uint32_t index, uint32_t offset, uint32_t size, uint32_t value)
{
    virtio_net_bar_write(nic, index, offset, size, value);
}

static void poll(void *nic)
{
    virtio_net_poll(nic, POLL_CHAINS);
}

static bool work_pending(void *nic)
{
    return virtio_net_work_pending(nic);
}

/* §6.3, 1: what comes before the driver is ready waits; what meets a pulled cable is lost. */
static bool waits(const struct virtio_net *nic)
{
    return virtio_net_link(nic) && !virtio_net_ready(nic);
}

static enum backend_offer offered(int result)
{
    return result == VIRTIO_NET_ERR_NO_BUFFER ? BACKEND_HOLD : BACKEND_DONE;
}

static enum backend_offer offer(void *nic, const uint8_t *frame, uint32_t bytes)
{
    return waits(nic) ? BACKEND_HOLD : offered(virtio_net_rx_offer(nic, frame, bytes));
}

static enum backend_offer offer_super(void *nic, const uint8_t *frame, uint32_t bytes,
                                      uint16_t gso_bytes)
{
    return waits(nic) ? BACKEND_HOLD
                      : offered(virtio_net_rx_offer_super(nic, frame, bytes, gso_bytes));
}

static void set_link(void *nic, bool up)
{
    virtio_net_set_link(nic, up);
}

static bool link(void *nic)
{
    return virtio_net_link(nic);
}

static bool irq_level(void *nic)
{
    return virtio_net_irq_level(nic);
}

static bool message(void *nic, uint32_t vector, uint64_t *address, uint32_t *data)
{
    return virtio_net_msix_message(nic, vector, address, data);
}

static uint64_t next_event_ns(void *nic)
{
    (void)nic; /* it has no timers */
    return UINT64_MAX;
}

static const void *stats(void *nic)
{
    return virtio_net_stats(nic);
}

static int queue(void *nic, const uint8_t *frame, uint32_t bytes)
{
    return virtio_net_receive(nic, frame, bytes) < 0 ? ABI_ERR_REFUSED : 0;
}

static size_t save(void *nic, const struct card_frames *outgoing, uint8_t *to, size_t capacity)
{
    (void)outgoing; /* the snapshot of virtio-net.md §9 has no place for them */
    return virtio_net_save(nic, to, capacity);
}

static int load(void *nic, const uint8_t *from, size_t bytes)
{
    return virtio_net_load(nic, from, bytes);
}

const struct card_model card_virtio_net = {
    .name = "virtio-net",
    .options = options_known,
    .option_count = sizeof options_known / sizeof options_known[0],
    .stat_names = stat_names,
    .stat_count = sizeof stat_names / sizeof stat_names[0],
    .dma_whole = true,
    .bytes = virtio_net_bytes,
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
    .message = message,
    .queue = queue,
    .save = save,
    .load = load,
};
