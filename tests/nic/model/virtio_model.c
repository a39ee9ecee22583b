/* The operations of a script, and running one. */
#include "virtio_model.h"

#include <stdlib.h>
#include <string.h>

enum operation {
    OP_POWER,
    OP_RESET,
    OP_SEND,
    OP_SEND_SEGMENTS,
    OP_RECEIVE,
    OP_OFFER,
    OP_SUPER,
    OP_OFFER_SUPER,
    OP_REFILL,
    OP_REFILL_SMALL,
    OP_POLL,
    OP_INTERRUPT,
    OP_REAP,
    OP_SLEEP,
    OP_BUSY,
    OP_MASK,
    OP_SINK,
    OP_CONTROL,
    OP_LINK,
    OP_SNAPSHOT,
    OP_ODD,
    OP_BAD_CHAIN,
    OP_BREAK,
    OP_JUNK,
    OP_CHECK,
    OP_COUNT,
};

static const struct script_operation operations[OP_COUNT] = {
    [OP_POWER] = {"POWER", 4},      [OP_RESET] = {"RESET", 2},
    [OP_SEND] = {"SEND", 20},       [OP_SEND_SEGMENTS] = {"SEND_SEGMENTS", 6},
    [OP_RECEIVE] = {"RECEIVE", 14}, [OP_OFFER] = {"OFFER", 12},
    [OP_SUPER] = {"SUPER", 4},      [OP_OFFER_SUPER] = {"OFFER_SUPER", 4},
    [OP_REFILL] = {"REFILL", 12},   [OP_REFILL_SMALL] = {"REFILL_SMALL", 4},
    [OP_POLL] = {"POLL", 16},       [OP_INTERRUPT] = {"INTERRUPT", 10},
    [OP_REAP] = {"REAP", 3},        [OP_SLEEP] = {"SLEEP", 5},
    [OP_BUSY] = {"BUSY", 3},        [OP_MASK] = {"MASK", 3},
    [OP_SINK] = {"SINK", 5},        [OP_CONTROL] = {"CONTROL", 9},
    [OP_LINK] = {"LINK", 2},        [OP_SNAPSHOT] = {"SNAPSHOT", 6},
    [OP_ODD] = {"ODD", 3},          [OP_BAD_CHAIN] = {"BAD_CHAIN", 12},
    [OP_BREAK] = {"BREAK", 2},      [OP_JUNK] = {"JUNK", 1},
    [OP_CHECK] = {"CHECK", 2},
};

/* One vector for the configuration, one for receive, one for the rest. */
static void messages_on(struct vmodel *m)
{
    struct vdriver *d = m->d;

    virtio_net_config_write(d->nic, MSIX_CONTROL_AT, 1, MSIX_CONTROL_ENABLE);
    for (uint32_t v = 0; v < MSIX_VECTORS; v++)
        vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES * v + MSIX_ENTRY_CONTROL_AT, 4, 0);
    if (m->legacy)
        virtio_net_io_write(d->nic, LEGACY_MSIX_CONFIG, 2, 0);
    else
        vdriver_put(d, COMMON_MSIX_CONFIG, 2, 0);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        const uint32_t vector = i == QUEUE_RX ? 1 : 2;

        if (m->legacy) {
            virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, i);
            virtio_net_io_write(d->nic, LEGACY_MSIX_QUEUE, 2, vector);
        } else {
            vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
            vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, vector);
        }
    }
}

/* Outside the contract a driver may make a queue smaller before it enables it (§2.1). */
static void start_modern(struct vmodel *m, uint32_t mask)
{
    struct vdriver *d = m->d;
    const uint8_t status = vdriver_negotiate(d, m->features);

    if ((status & STATUS_FEATURES_OK) == 0)
        vmodel_wrong(m, "offered features are refused");
    for (uint32_t i = 0; i < QUEUES_MAX && !m->contract; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        vdriver_put(d, COMMON_QUEUE_SIZE, 2, (uint32_t)d->config.queue_size >> (mask >> i & 1));
    }
    vdriver_queues(d);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, status | STATUS_DRIVER_OK);
}

/* Device reset and a new start with the offered features that `mask` leaves; whatever the driver
 * did before is over, and forgiven. */
void vmodel_start(struct vmodel *m, uint32_t mask)
{
    struct vdriver *d = m->d;
    const uint64_t offered = d->nic->offered;
    const uint64_t wanted = mask % 4 == 0 ? UINT64_MAX : mask * UINT64_C(0x100000001);
    const uint16_t base = (uint16_t)(mask % 3 == 0 ? 0 : 0xfff8 + mask % 8);

    m->features = (offered & wanted) | (m->legacy ? 0 : F_VERSION_1);
    if (m->legacy)
        m->features &= UINT32_MAX;
    vdriver_reset(d);
    if (m->legacy)
        vdriver_start_legacy(d, (uint32_t)m->features);
    else
        start_modern(m, mask);
    if (m->msix)
        messages_on(m);
    memset(m->shadow, 0, VDRIVER_RAM_BYTES);
    memset(m->ring, 0, sizeof m->ring);
    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        if (d->nic->queue[i].enabled)
            ring_start(m, i, base);
    }
    vmodel_filter_reset(m);
    vdriver_frames_clear(d);
    expected_clear(&m->out);
    expected_clear(&m->in);
    m->in_settled = m->in_lost = m->outside = 0;
    m->hostile = m->wild = m->offer_waits = false;
    memset(&m->before, 0, sizeof m->before);
    m->must = *virtio_net_stats(d->nic);
    memcpy(m->messages, d->messages, sizeof m->messages);
}

/* Another card: transport, profile, header mode, MTU, queue size, with messages or without, with a
 * host that takes super-frames or cuts. */
static void power(struct vmodel *m, const struct step *step)
{
    static const enum virtio_net_transport transports[] = {
        VIRTIO_NET_MODERN, VIRTIO_NET_TRANSITIONAL, VIRTIO_NET_TRANSITIONAL, VIRTIO_NET_LEGACY};
    const uint32_t way = step->a & 3;
    struct virtio_net_config config = {
        .transport = transports[way],
        .profile = (step->a >> 2) % 4 == 0 ? VIRTIO_NET_CONTRACT : VIRTIO_NET_STANDARD,
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = (step->a >> 4 & 1) != 0 ? 9000 : 0,
        .queue_size = (uint16_t)(8u << (step->a >> 5) % 6),
    };

    m->contract = config.profile == VIRTIO_NET_CONTRACT;
    if (m->contract)
        config.header = (enum virtio_net_header)((step->a >> 8) % 4);
    m->legacy = way >= 2;
    m->msix = (step->a >> 10 & 1) != 0 && way != 3;
    m->d->legacy = m->legacy;
    m->d->super = (step->a >> 11 & 1) != 0;
    vdriver_power_on(m->d, &config);
    m->link = true;
    m->generation = 0;
    vmodel_start(m, step->b);
}

static void link_change(struct vmodel *m)
{
    const uint32_t messages = m->d->messages[0];

    vmodel_drain(m);
    m->link = !m->link;
    m->generation++;
    m->announce = m->link && vmodel_has(m, F_GUEST_ANNOUNCE);
    virtio_net_set_link(m->d->nic, m->link);
    if (m->msix ? m->d->messages[0] == messages && (m->d->nic->msix_pending & 1) == 0
                : (m->d->nic->isr & ISR_CONFIG) == 0)
        vmodel_wrong(m, "a link change without a configuration interrupt");
}

/* Counters are the host's: they start anew with a card, and what the old one counted still
 * happened. */
static void carry(struct vmodel *m)
{
    const struct virtio_net_stats *old = virtio_net_stats(m->d->nic);

    m->before.tx_frames += old->tx_frames;
    m->before.rx_frames += old->rx_frames;
    m->before.bad_chains += old->bad_chains;
    m->before.tx_dropped += old->tx_dropped;
    m->before.rx_dropped_size += old->rx_dropped_size;
    m->before.control_refused += old->control_refused;
    m->before.needs_reset += old->needs_reset;
}

static void snapshot(struct vmodel *m)
{
    const size_t bytes = virtio_net_save(m->d->nic, NULL, 0);
    uint8_t *blob = malloc(bytes);
    const struct virtio_net_config config = m->d->config;

    virtio_net_save(m->d->nic, blob, bytes);
    carry(m);
    m->offer_waits = false; /* the host starts anew, too */
    vdriver_power_on(m->d, &config);
    if (virtio_net_load(m->d->nic, blob, bytes) != 0)
        vmodel_wrong(m, "the card refuses its own snapshot");
    free(blob);
}

static void mask(struct vmodel *m, const struct step *step)
{
    uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

    if (!m->msix) {
        if ((step->a & 1) != 0)
            command |= PCI_COMMAND_INTX_DISABLE;
        virtio_net_set_pci_command(m->d->nic, command);
        return;
    }
    vdriver_put(m->d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES * (step->b % 3) + MSIX_ENTRY_CONTROL_AT,
                4, step->a & 1);
}

static void run_queue_step(struct vmodel *m, const struct step *step)
{
    const uint32_t queue = step->a % 2;

    switch ((enum operation)step->operation) {
    case OP_REFILL:
        vmodel_refill(m, 1 + step->a % 8, false);
        break;
    case OP_REFILL_SMALL: /* a full ring of them may be too small for a frame */
        vmodel_refill(m, step->a % 2 == 0 ? CHAINS_MAX : 1 + step->a % 8, true);
        break;
    case OP_POLL:
        vmodel_poll(m, 1 + step->a % 64);
        break;
    case OP_INTERRUPT:
        vmodel_interrupt(m);
        break;
    case OP_REAP: /* as under NAPI: the interrupt's cause stays */
        vmodel_reap(m);
        break;
    case OP_SLEEP:
        ring_sleep(m, queue, (uint16_t)(step->b % (m->ring[queue].count + 1)));
        break;
    case OP_BUSY:
        ring_wake(m, queue);
        break;
    case OP_MASK:
        mask(m, step);
        break;
    default:
        break;
    }
}

static void run_step(struct vmodel *m, const struct step *step)
{
    switch ((enum operation)step->operation) {
    case OP_POWER:
        power(m, step);
        break;
    case OP_RESET:
        vmodel_rest(m);
        vmodel_start(m, step->b);
        break;
    case OP_SEND:
        vmodel_send(m, step);
        break;
    case OP_SEND_SEGMENTS:
        vmodel_send_segments(m, step);
        break;
    case OP_RECEIVE:
    case OP_OFFER:
        vmodel_receive(m, step, step->operation == OP_OFFER);
        break;
    case OP_SUPER:
    case OP_OFFER_SUPER:
        vmodel_receive_super(m, step, step->operation == OP_OFFER_SUPER);
        break;
    case OP_SINK:
        m->d->sink_room = step->a % 5;
        break;
    case OP_CONTROL:
        vmodel_control(m, step);
        break;
    case OP_LINK:
        link_change(m);
        break;
    case OP_SNAPSHOT:
        snapshot(m);
        break;
    case OP_ODD:
        vmodel_odd(m, step);
        break;
    case OP_BAD_CHAIN:
        vmodel_bad_chain(m, step);
        break;
    case OP_BREAK:
        vmodel_break(m, step);
        break;
    case OP_JUNK:
        vmodel_junk(m, step);
        break;
    case OP_CHECK:
        vmodel_rest(m);
        break;
    default:
        run_queue_step(m, step);
        break;
    }
}

static const char *run(const struct step *steps, uint32_t count, struct script_counts *counts)
{
    void *state;
    struct vmodel *m = calloc(1, sizeof *m);
    const struct step ordinary = {OP_POWER, 0x64, 0};

    vdriver_setup(&state);
    m->d = state;
    m->d->model = m;
    m->d->on_dma = vmodel_watch;
    m->shadow = calloc(1, VDRIVER_RAM_BYTES);
    m->counts = counts;
    m->seed = 12345;
    power(m, &ordinary);
    for (uint32_t i = 0; i < count && m->wrong == NULL; i++) {
        run_step(m, &steps[i]);
        vmodel_invariants(m);
    }
    if (m->wrong == NULL)
        vmodel_rest(m);
    const char *result = m->wrong;
    expected_clear(&m->out);
    expected_clear(&m->in);
    free(m->shadow);
    free(m);
    vdriver_teardown(&state);
    return result;
}

const struct script_kind script_kind = {"virtio-net", operations, OP_COUNT, run};
