/* Drivers that are wrong: chains no driver may post, rings that break the card, junk. */
#include "virtio_model.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_ENTRIES = MODEL_TABLE_BYTES / DESC_ENTRY_BYTES };

static uint64_t table_of(uint32_t queue, const struct chain *chain)
{
    return MODEL_TABLES + queue * MODEL_TABLES_QUEUE + (uint64_t)chain->head * MODEL_TABLE_BYTES;
}

/* Chains whose form is wrong on any queue (§4.1): back with length 0, no data moved. */
static void malformed(struct vmodel *m, uint32_t queue, struct chain *chain, uint32_t kind)
{
    static const uint32_t lengths[] = {0, 8, 17, 4097 * DESC_ENTRY_BYTES};
    struct vdriver *d = m->d;
    const uint16_t direction = queue == QUEUE_RX ? DESC_WRITE : 0;
    const uint64_t table = table_of(queue, chain);
    const uint64_t gpa = chain->room;
    const uint16_t beyond = (uint16_t)(m->ring[queue].size + vmodel_random(m, 1000));
    uint16_t other = chain->head;

    chain->kind = CHAIN_BAD;
    switch (kind) {
    case 0: /* a head that is no descriptor: the one taken is not used */
        m->ring[queue].taken[chain->head] = false;
        chain->descs = 0;
        chain->head = beyond;
        break;
    case 1: /* next that is no descriptor */
        vdriver_desc(d, queue, chain->head, gpa, 64, direction | DESC_NEXT, beyond);
        break;
    case 2: /* a loop */
        chain_take_desc(m, queue, chain, &other);
        vdriver_desc(d, queue, chain->head, gpa, 64, direction | DESC_NEXT, other);
        vdriver_desc(d, queue, other, gpa, 64, direction | DESC_NEXT,
                     vmodel_random(m, 2) != 0 ? chain->head : other);
        break;
    case 3: /* INDIRECT with NEXT, or not negotiated at all */
        vdriver_desc(d, queue, chain->head, table, 16, DESC_INDIRECT | DESC_NEXT, 0);
        break;
    case 4: /* an indirect table of impossible length */
        vdriver_desc(d, queue, chain->head, table, lengths[vmodel_random(m, 4)], DESC_INDIRECT, 0);
        break;
    case 5: /* readable behind writable */
        chain_take_desc(m, queue, chain, &other);
        vdriver_desc(d, queue, chain->head, gpa, 64, DESC_WRITE | DESC_NEXT, other);
        vdriver_desc(d, queue, other, gpa, 64, 0, 0);
        break;
    default: /* a buffer over the last address */
        vdriver_desc(d, queue, chain->head, UINT64_MAX - 20, 64, direction, 0);
        break;
    }
    chain_offer(m, queue, chain);
}

/* The form is right, the content is nothing to send (§6.2): counted, and back with length 0. */
static void unsendable(struct vmodel *m, struct chain *chain, uint32_t kind)
{
    const uint32_t header_bytes = vmodel_header_bytes(m, 0);
    const uint32_t limit = m->contract || m->d->config.mtu < 1500 ? 1522 : m->d->config.mtu + 22u;
    uint8_t *header =
        chain_add(m, chain, kind == 1 ? 1 + vmodel_random(m, 9) : header_bytes, false);

    chain->kind = CHAIN_DROP;
    memset(header, 0, HEADER_SHORT_BYTES);
    switch (kind) {
    case 0: /* one WRITE descriptor */
        chain_add(m, chain, 60, false);
        chain_add(m, chain, 4, true);
        break;
    case 1: /* no header */
        break;
    case 2: /* too long */
        chain_add(m, chain, limit + 1, false);
        break;
    case 3: /* too short */
        chain_add(m, chain, 1 + vmodel_random(m, 13), false);
        break;
    default: /* a buffer outside RAM */
        chain_add(m, chain, 60, false);
        chain->piece[chain->pieces++] = (struct piece){MODEL_OUTSIDE, 60, false};
        break;
    }
    chain_post(m, QUEUE_TX, chain);
    ring_kick(m, QUEUE_TX);
    m->d->sink_room = UINT32_MAX; /* the contract would count a full sink beside it (§6.2.6) */
    vmodel_poll(m, CHAINS_MAX);
}

/* Receive chains that can't take a frame (§6.3.2), or only seem to. */
static void unreceivable(struct vmodel *m, struct chain *chain, uint32_t kind)
{
    chain->kind = CHAIN_BAD;
    if (kind == 0) { /* read-only */
        chain_add(m, chain, 1600, false);
    } else if (kind == 1 || m->outside != 0) { /* no room for a header */
        chain_add(m, chain, 1 + vmodel_random(m, 9), true);
        if (m->contract)
            chain_add(m, chain, 1600, true);
    } else {
        chain->kind = CHAIN_TRAP;
        chain_add(m, chain, 12, true);
        chain->piece[chain->pieces++] = (struct piece){MODEL_OUTSIDE, 2000, true};
        chain->header_bytes = vmodel_header_bytes(m, 12);
    }
    chain_post(m, QUEUE_RX, chain);
    ring_kick(m, QUEUE_RX);
}

/* Commands nobody can answer. */
static void unanswerable(struct vmodel *m, struct chain *chain, uint32_t kind)
{
    chain->kind = CHAIN_BAD;
    chain_add(m, chain, kind == 0 ? 3 : 1, false);
    if (kind != 0)
        chain_add(m, chain, 1, true);
    chain_post(m, QUEUE_CONTROL, chain);
}

void vmodel_bad_chain(struct vmodel *m, const struct step *step)
{
    const uint32_t queue = step->b % (vmodel_has(m, F_CTRL_VQ) ? 3 : 2);
    const uint32_t kind = step->a >> 4;
    struct chain *chain = chain_begin(m, queue, 3);

    if (chain == NULL)
        return;
    if (step->a % 2 == 0 || (queue == QUEUE_TX && !m->link))
        malformed(m, queue, chain, kind % 7);
    else if (queue == QUEUE_TX)
        unsendable(m, chain, kind % 5);
    else if (queue == QUEUE_RX)
        unreceivable(m, chain, kind % 3);
    else
        unanswerable(m, chain, kind % 2);
    ring_kick(m, queue);
    if (queue == QUEUE_CONTROL) {
        vmodel_poll(m, 64);
        vmodel_reap_control(m);
    }
    m->flow_owed = true;
    if ((step->a & 8) != 0) /* the others after whatever the script does in between */
        vmodel_next_frame_flows(m);
}

/* avail.idx further ahead than the ring has places (quirks §3.2). */
static void too_far(struct vmodel *m, uint32_t queue)
{
    const uint16_t idx = (uint16_t)(m->d->avail[queue] + m->ring[queue].size + 1);

    le16_put(m->d->ram + m->d->ring[queue].avail + 2, idx);
}

/* A ring, or a table, where there is no RAM. */
static void outside(struct vmodel *m, uint32_t queue, uint32_t part)
{
    struct chain *chain = chain_begin(m, queue, 2);

    if (chain != NULL && vmodel_has(m, F_INDIRECT_DESC) && part == 0) {
        m->outside++;
        vdriver_desc(m->d, queue, chain->head, MODEL_OUTSIDE, 32, DESC_INDIRECT, 0);
        chain_offer(m, queue, chain);
        return;
    }
    if (chain != NULL) {
        chain_add(m, chain, 100, queue == QUEUE_RX);
        if (queue == QUEUE_CONTROL)
            chain_add(m, chain, 1, true);
        chain_post(m, queue, chain);
    }
    ring_move_outside(m, queue, (enum ring_part)(part % PARTS));
}

/* With the contract no error, but never more than a ring full. It has the card take what is left
 * in the ring from earlier laps: chains whose buffers the driver got back long ago, so that no byte
 * can be said to be out of bounds. With the standard profile it is, as after any other break. */
static void too_far_unnoticed(struct vmodel *m, uint32_t queue)
{
    m->wild = m->contract;
    too_far(m, queue);
    (void)virtio_net_poll(m->d->nic, CHAINS_MAX);
    const uint16_t news = (uint16_t)(vdriver_used_idx(m->d, queue) - m->ring[queue].used_seen);
    if (news > m->ring[queue].size)
        vmodel_wrong(m, "a poll takes more than a ring full");
}

/* What breaks the whole card: DEVICE_NEEDS_RESET and silence, and all is well after a reset. Until
 * then every byte is watched: a ring in the wrong place leaves the descriptors as they were. */
void vmodel_break(struct vmodel *m, const struct step *step)
{
    const uint32_t queue = step->b % (vmodel_has(m, F_CTRL_VQ) ? 3 : 2);
    struct vdriver *d = m->d;
    const uint32_t mask = step->b >> 8;

    vmodel_drain(m);
    m->hostile = true;
    m->counts->defects++;
    if (!m->link || (m->contract && step->a % 4 == 0)) {
        too_far_unnoticed(m, queue);
        vmodel_start(m, mask);
        vmodel_next_frame_flows(m);
        return;
    }
    if (step->a % 4 == 0)
        too_far(m, queue);
    else
        outside(m, queue, step->a >> 4 & 3);
    const uint64_t resets = virtio_net_stats(d->nic)->needs_reset;
    static const uint8_t frame[60];
    m->filter.mode[CTRL_RX_PROMISC] = d->nic->filter.promiscuous = true;
    for (uint32_t i = 0; i <= m->ring[queue].size && !(vdriver_status(d) & STATUS_NEEDS_RESET);
         i++) {
        (void)virtio_net_receive(d->nic, frame, sizeof frame);
        (void)virtio_net_poll(d->nic, 64);
    }
    if ((vdriver_status(d) & STATUS_NEEDS_RESET) == 0 ||
        virtio_net_stats(d->nic)->needs_reset != resets + 1)
        vmodel_wrong(m, "a broken ring does not set NEEDS_RESET");
    if (!m->msix && (d->nic->isr & ISR_CONFIG) == 0)
        vmodel_wrong(m, "NEEDS_RESET without a configuration interrupt");
    const uint32_t calls = d->dma_calls;
    if (virtio_net_poll(d->nic, 64) != 0 || virtio_net_rx_offer(d->nic, frame, 60) >= 0 ||
        d->dma_calls != calls)
        vmodel_wrong(m, "a card that needs a reset goes on");
    vmodel_invariants(m);
    vmodel_start(m, mask);
    vmodel_next_frame_flows(m);
}

/* Junk in rings, tables and registers. Only the line, the bounds and the process must hold. */
void vmodel_junk(struct vmodel *m, const struct step *step)
{
    struct vdriver *d = m->d;

    vmodel_drain(m);
    m->hostile = m->wild = true;
    m->seed ^= step->a;
    for (uint32_t i = 0; i < 1 + step->b % 40; i++) {
        const uint32_t queue = vmodel_random(m, QUEUES_MAX);
        const uint64_t places[] = {d->ring[queue].desc, d->ring[queue].avail, d->ring[queue].used,
                                   MODEL_TABLES + queue * MODEL_TABLES_QUEUE};
        uint8_t junk[64];

        for (uint32_t at = 0; at < sizeof junk; at++)
            junk[at] = (uint8_t)vmodel_random(m, vmodel_random(m, 2) != 0 ? 256 : 4);
        memcpy(d->ram + places[vmodel_random(m, 4)] + vmodel_random(m, 256), junk, sizeof junk);
        const uint32_t offset = vmodel_random(m, 4) * 0x1000 + vmodel_random(m, 0x40);
        const uint32_t value =
            vmodel_random(m, 3) != 0 ? vmodel_random(m, 16) : vmodel_random(m, 1 << 24) * 257;
        virtio_net_mmio_write(d->nic, offset, 1u << vmodel_random(m, 3), value);
        virtio_net_io_write(d->nic, vmodel_random(m, 0x28), 1u << vmodel_random(m, 3), value);
        (void)virtio_net_receive(d->nic, junk, 60);
        (void)virtio_net_rx_offer(d->nic, junk, 64);
        if (virtio_net_poll(d->nic, 64) > 2 * 64)
            vmodel_wrong(m, "a poll exceeded its budget");
        m->counts->defects++;
        vmodel_invariants(m);
        vdriver_frames_clear(d);
    }
    vmodel_start(m, step->b >> 8);
    vmodel_next_frame_flows(m);
}

/* What odd drivers do and no card may mind: registers written at the wrong time or width. */
void vmodel_odd(struct vmodel *m, const struct step *step)
{
    struct vdriver *d = m->d;
    const uint16_t command = pci_command(&d->nic->pci);
    const uint32_t calls = d->dma_calls;

    virtio_net_set_pci_command(d->nic, command & (uint16_t)~PCI_COMMAND_MASTER);
    if (virtio_net_poll(d->nic, 8) != 0 || d->dma_calls != calls)
        vmodel_wrong(m, "DMA without bus master");
    virtio_net_set_pci_command(d->nic, command);
    for (uint32_t i = 0; i < 2 && !m->legacy; i++) {
        vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, i);
        vdriver_put(d, COMMON_DRIVER_FEATURE, 4, step->a);
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, step->b >> i);
        vdriver_put(d, COMMON_QUEUE_SIZE, 2, step->a);
        vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 0);
        vdriver_put(d, COMMON_QUEUE_DESC, 4, step->b);
        vdriver_put(d, REGION_DEVICE + step->a % 64, 1u << step->b % 3, step->b);
        vdriver_put(d, REGION_NOTIFY + 4 * (step->a % 64), 2, step->b);
        vdriver_put(d, REGION_NOTIFY + step->b % 64, 1, step->a);
    }
    (void)vdriver_get(d, step->b % 0x1000, 1u << step->a % 3);
    (void)virtio_net_io_read(d->nic, step->a % 0x10, 1u << step->b % 3);
    if (!m->legacy)
        return;
    virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, step->a);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_NOTIFY, 2, step->b);
    const uint32_t at = LEGACY_CONFIG + step->a % 32;
    virtio_net_io_write(d->nic, at, 1, step->b);
    const uint32_t mac_at = vnet_msix_enabled(d->nic) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
    if (at - mac_at < sizeof m->mac && d->config.profile == VIRTIO_NET_STANDARD &&
        !vmodel_has(m, F_CTRL_MAC_ADDR))
        m->mac[at - mac_at] = (uint8_t)step->b; /* virtio §5.1.4.3 */
    vdriver_put(d, COMMON_QUEUE_SELECT, 2, step->a);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 1 + step->a % 255);
}
