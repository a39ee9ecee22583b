/* Polls and what must be true after them: interrupts, sleeping drivers, counters at rest. */
#include "virtio_model.h"

#include <string.h>

enum { ROUNDS_MAX = 3000, POLL_BUDGET = 64 };

void vmodel_wrong(struct vmodel *m, const char *what)
{
    if (m->wrong == NULL)
        m->wrong = what;
}

uint32_t vmodel_random(struct vmodel *m, uint32_t bound)
{
    m->seed = m->seed * 1664525 + 1013904223;
    return (m->seed >> 8) % bound;
}

bool vmodel_has(const struct vmodel *m, uint64_t feature)
{
    return (m->features & feature) != 0;
}

void vmodel_expect(struct vmodel *m, struct expected_queue *queue, const uint8_t *bytes,
                   uint32_t length)
{
    if (!expected_push(queue, bytes, length))
        vmodel_wrong(m, "the script queues more than the model holds");
}

static uint32_t vector_of(uint32_t queue)
{
    return queue == QUEUE_RX ? 1 : 2;
}

static bool ring_used_here(const struct vmodel *m, uint32_t queue)
{
    return m->ring[queue].size != 0;
}

void vmodel_watch_begin(struct vmodel *m, struct watched *before)
{
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        before->used[i] = vdriver_used_idx(m->d, i);
    memcpy(before->messages, m->d->messages, sizeof before->messages);
    before->isr = m->d->nic->isr;
    before->pending = m->d->nic->msix_pending;
    m->slept_meanwhile = m->rx_raced = false;
}

/* What the driver wrote for the card to read decides, not what it would like (§2.3, virtio
 * §2.7.7.2): exactly those interrupts, no other. */
static bool interrupt_due(const struct vmodel *m, uint32_t queue, uint16_t before)
{
    const uint8_t *avail = m->d->ram + m->d->ring[queue].avail;
    const uint16_t now = vdriver_used_idx(m->d, queue);
    const uint16_t event = le16_get(avail + 4 + 2 * m->ring[queue].size);

    if (now == before)
        return false;
    return vmodel_has(m, F_EVENT_IDX) ? (uint16_t)(now - event - 1) < (uint16_t)(now - before)
                                      : (le16_get(avail) & AVAIL_NO_INTERRUPT) == 0;
}

void vmodel_watch_end(struct vmodel *m, const struct watched *before)
{
    bool due[MSIX_VECTORS] = {false};
    const struct virtio_net *nic = m->d->nic;

    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        if ((m->kicks_owed & 1u << i) != 0)
            vdriver_kick(m->d, i);
    }
    m->kicks_owed = 0;
    if (m->slept_meanwhile)
        return; /* sleepers() tells whether it is woken */
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        due[vector_of(i)] |= ring_used_here(m, i) && interrupt_due(m, i, before->used[i]);
    if (!m->msix) {
        const bool raised = (nic->isr & ISR_QUEUE) != 0;

        if (raised != (due[1] || due[2] || (before->isr & ISR_QUEUE) != 0))
            vmodel_wrong(m, raised ? "an interrupt the driver did not ask for"
                                   : "an interrupt was not raised");
        return;
    }
    for (uint32_t v = 1; v < MSIX_VECTORS; v++) {
        const bool raised = m->d->messages[v] != before->messages[v] ||
                            (nic->msix_pending & ~before->pending & 1u << v) != 0;

        if (due[v] ? !raised && (nic->msix_pending & 1u << v) == 0 : raised)
            vmodel_wrong(m, raised ? "a message the driver did not ask for"
                                   : "a message was not sent");
    }
}

void vmodel_poll(struct vmodel *m, uint32_t budget)
{
    const struct virtio_net_stats *stats = virtio_net_stats(m->d->nic);
    const uint64_t full_before = stats->tx_sink_full;
    struct watched before;

    vmodel_watch_begin(m, &before);
    if (virtio_net_poll(m->d->nic, budget) > 2 * budget)
        vmodel_wrong(m, "a poll exceeded its budget");
    vmodel_watch_end(m, &before);
    (void)vmodel_settle(m);
    vmodel_drops(m);
    const uint64_t full = stats->tx_sink_full - full_before;
    if (full > 0 && m->d->sink_room != 0 && m->d->frames != VDRIVER_FRAMES_MAX)
        vmodel_wrong(m, "a sink with room was called full");
    vmodel_compare_out(m);
    vmodel_sink_full(m, full);
}

static void reap_queue(struct vmodel *m, uint32_t queue)
{
    static void (*const reap[])(struct vmodel *) = {vmodel_reap_rx, vmodel_reap_tx,
                                                    vmodel_reap_control};

    if (!ring_used_here(m, queue))
        return;
    ring_wake(m, queue);
    do
        reap[queue](m);
    while (m->wrong == NULL && !ring_sleep(m, queue, 0));
}

void vmodel_reap(struct vmodel *m)
{
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        reap_queue(m, i);
}

void vmodel_interrupt(struct vmodel *m)
{
    struct vdriver *d = m->d;

    if (d->irq) {
        const uint8_t cause = vdriver_isr(d);

        if (cause == 0 || d->irq || vdriver_isr(d) != 0)
            vmodel_wrong(m, "reading ISR does not give the cause and clear the line");
        if ((cause & ISR_QUEUE) != 0)
            vmodel_reap(m);
    }
    for (uint32_t v = 1; v < MSIX_VECTORS; v++) {
        if (d->messages[v] == m->messages[v])
            continue;
        m->messages[v] = d->messages[v];
        for (uint32_t i = 0; i < QUEUES_MAX; i++) {
            if (vector_of(i) == v)
                reap_queue(m, i);
        }
    }
}

/* A driver that sleeps is woken, whatever else happened since. */
static void sleepers(struct vmodel *m)
{
    const struct virtio_net *nic = m->d->nic;

    for (uint32_t i = 0; i < QUEUES_MAX; i++) {
        const uint32_t v = vector_of(i);
        const bool woken =
            m->msix ? m->d->messages[v] != m->messages[v] || (nic->msix_pending & 1u << v) != 0
                    : (nic->isr & ISR_QUEUE) != 0;

        if (ring_used_here(m, i) && ring_due(m, i) && !woken)
            vmodel_wrong(m, "an interrupt was lost: the driver sleeps for ever");
    }
}

static void configuration(struct vmodel *m)
{
    struct vdriver *d = m->d;
    const uint8_t status =
        (uint8_t)((m->link ? CONFIG_LINK_UP : 0) | (m->announce ? CONFIG_ANNOUNCE : 0));

    for (uint32_t i = 0; i < sizeof m->mac; i++) {
        if (vdriver_config(d, CONFIG_MAC + i) != m->mac[i])
            vmodel_wrong(m, "the configuration shows another MAC");
    }
    if (vdriver_config(d, CONFIG_STATUS) != status)
        vmodel_wrong(m, "the configuration shows another link status");
    if (!m->legacy && vdriver_get(d, COMMON_CONFIG_GENERATION, 1) != m->generation)
        vmodel_wrong(m, "config_generation is not the number of changes");
    if ((vdriver_status(d) & STATUS_NEEDS_RESET) != 0)
        vmodel_wrong(m, "NEEDS_RESET without a reason");
}

void vmodel_invariants(struct vmodel *m)
{
    const struct virtio_net *nic = m->d->nic;
    const bool pending = nic->isr != 0 && !m->msix;
    const uint16_t command = pci_command(&nic->pci);

    if (m->d->irq != (pending && (command & PCI_COMMAND_INTX_DISABLE) == 0))
        vmodel_wrong(m, "the line is not ISR != 0, gated");
    if (virtio_net_irq_level(nic) != m->d->irq)
        vmodel_wrong(m, "the host was not told of the line's level");
    if (((virtio_net_config_read(m->d->nic, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT) != 0) != pending)
        vmodel_wrong(m, "PCI status bit 3 does not follow the cause");
    if (m->hostile)
        return;
    sleepers(m);
    configuration(m);
}

static void unmask(struct vmodel *m)
{
    virtio_net_set_pci_command(m->d->nic, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (uint32_t v = 0; v < MSIX_VECTORS && m->msix; v++)
        vdriver_put(m->d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES * v + MSIX_ENTRY_CONTROL_AT, 4, 0);
}

/* Lets everything under way come to its end, by nothing but interrupts and kicks. */
void vmodel_drain(struct vmodel *m)
{
    const struct ring_model *ring = m->ring;

    m->d->sink_room = UINT32_MAX;
    unmask(m);
    vmodel_reap(m);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        ring_kick(m, i);
    for (uint32_t i = 0; i < ROUNDS_MAX && m->wrong == NULL; i++) {
        if (m->out.count == 0 && m->in.count == 0 && m->in_lost == 0 && ring[QUEUE_TX].count == 0 &&
            ring[QUEUE_CONTROL].count == 0)
            break;
        vmodel_refill(m, 16, false);
        if (virtio_net_work_pending(m->d->nic))
            vmodel_poll(m, POLL_BUDGET);
        sleepers(m);
        vmodel_interrupt(m);
    }
    if (ring[QUEUE_TX].count != 0 || ring[QUEUE_CONTROL].count != 0)
        vmodel_wrong(m, "a chain never came back");
    if (m->out.count != 0)
        vmodel_wrong(m, "a frame that was sent never left");
    if (m->in.count != 0 || m->in_lost != 0)
        vmodel_wrong(m, "a frame that was accepted never reached the guest");
    expected_clear(&m->out);
    expected_clear(&m->in);
    m->in_settled = m->in_lost = 0;
}

/* Nothing a guest did wrong stops a queue (§4.1), nor does it outlive a reset. The frames fit into
 * any buffer; a second round only where the ring was full or a trap took the first one. */
void vmodel_next_frame_flows(struct vmodel *m)
{
    static const struct step send = {0, 46, 0}, receive = {0, 8, 46};
    const uint64_t out = m->counts->frames_out;
    const uint64_t in = m->counts->frames_in;
    uint8_t frame[60] = {0};
    bool flows = false;

    m->flow_owed = false;
    memcpy(frame, m->mac, sizeof m->mac);
    const bool accepted = m->link && vmodel_accepts(m, frame, sizeof frame);
    for (uint32_t i = 0; i < 2 && !flows; i++) {
        vmodel_send(m, &send);
        vmodel_refill(m, 1, false);
        vmodel_receive(m, &receive, false);
        vmodel_drain(m);
        flows =
            (!m->link || m->counts->frames_out != out) && (!accepted || m->counts->frames_in != in);
    }
    if (!flows)
        vmodel_wrong(m, "no frame gets through after a defect");
}

static void count(struct vmodel *m, uint64_t have, uint64_t before, uint64_t must, const char *what)
{
    if (have + before != must)
        vmodel_wrong(m, what);
}

void vmodel_rest(struct vmodel *m)
{
    const struct virtio_net_stats *have = virtio_net_stats(m->d->nic);
    const struct virtio_net_stats *before = &m->before;
    const struct virtio_net_stats *must = &m->must;

    if (m->flow_owed)
        vmodel_next_frame_flows(m);
    vmodel_drain(m);
    count(m, have->tx_frames, before->tx_frames, must->tx_frames, "tx_frames is not what left");
    count(m, have->rx_frames, before->rx_frames, must->rx_frames, "rx_frames is not what came");
    count(m, have->bad_chains, before->bad_chains, must->bad_chains,
          "bad_chains is not the number of bad chains");
    count(m, have->tx_dropped, before->tx_dropped, must->tx_dropped,
          "tx_dropped is not the number of frames that could not be sent");
    count(m, have->control_refused, before->control_refused, must->control_refused,
          "control_refused is not the number of refused commands");
    count(m, have->needs_reset, before->needs_reset, must->needs_reset,
          "needs_reset is not the number of broken rings");
}
