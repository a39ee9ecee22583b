#include "internal.h"

/*
 * From descriptors to packets (§7). Descriptors are looked ahead: their buffers stay in guest
 * memory, listed in a tx_run, until the packet's EOP is seen, so that one DMA read puts them
 * straight into the host's frame. Only a packet that cannot be finished now (no EOP yet, list full,
 * sink full) is copied to gather[]. A descriptor is reported (DD) once its bytes were read.
 */
enum { FETCH_MAX = 16 };

static uint32_t packet_limit(const struct e1000 *nic, uint8_t cmd, enum tx_kind kind)
{
    if (kind == TX_ADVANCED && (cmd & TXD_CMD_TSE) != 0)
        return TX_PACKET_MAX_BYTES;
    /* A driver that turned jumbo frames on sends them, too. */
    return (reg_get(nic, E1000_RCTL) & RCTL_LPE) != 0 ? E1000_FRAME_MAX_BYTES
                                                      : FRAME_LEGACY_MAX_BYTES;
}

static void written(const struct e1000 *nic, const struct desc_ring *ring, uint32_t first,
                    uint32_t last)
{
    nic->host.dma_written(nic->host.context,
                          ring->base + (uint64_t)first * DESC_BYTES + DESC_STATUS_AT,
                          (last - first) * DESC_BYTES + 1);
}

/* Only the status byte is written (§7.2). */
static void report_mapped(const struct e1000 *nic, const struct tx_run *run)
{
    const uint32_t first = run->report[0].index;
    const uint32_t last = run->report[run->reports - 1].index;

    for (uint32_t i = 0; i < run->reports; i++)
        slot_status_put(run->ring->slots + (size_t)run->report[i].index * DESC_BYTES,
                        run->report[i].status);
    if (nic->host.dma_written == NULL)
        return;
    if (first <= last) {
        written(nic, run->ring, first, last);
    } else { /* around the end of the ring */
        written(nic, run->ring, first, run->ring->count - 1);
        written(nic, run->ring, 0, last);
    }
}

static void report_all(struct e1000 *nic, struct tx_run *run)
{
    if (run->reports > 0 && run->ring->slots != NULL) {
        report_mapped(nic, run);
    } else {
        for (uint32_t i = 0; i < run->reports; i++)
            (void)nic->host.dma_write(
                nic->host.context,
                run->ring->base + (uint64_t)run->report[i].index * DESC_BYTES + DESC_STATUS_AT,
                &run->report[i].status, 1);
    }
    run->reports = 0;
}

/* Copies what the packet has so far out of guest memory and lets the descriptors go. */
static void settle(struct e1000 *nic, struct tx_run *run)
{
    for (uint32_t i = 0; i < run->pieces; i++) {
        (void)nic->host.dma_read(nic->host.context, run->piece[i].gpa,
                                 nic->gather + nic->tx.gathered, run->piece[i].bytes);
        nic->tx.gathered += run->piece[i].bytes;
    }
    run->pieces = 0;
    report_all(nic, run);
}

static void packet_end(struct e1000 *nic, struct tx_run *run)
{
    nic->tx = (struct tx_packet){0};
    run->pieces = 0;
    report_all(nic, run);
}

static void piece_add(struct e1000 *nic, struct tx_run *run, uint64_t gpa, uint32_t bytes)
{
    struct tx_packet *packet = &nic->tx;

    if (packet->drop || gpa == 0 || bytes == 0)
        return;
    const uint32_t limit = packet_limit(nic, packet->cmd, packet->kind);
    if (packet->bytes > limit || bytes > limit - packet->bytes) { /* LPE may have changed */
        packet->drop = true;
        packet->gathered = packet->bytes = 0;
        run->pieces = 0;
        return;
    }
    run->piece[run->pieces++] = (struct tx_piece){gpa, bytes};
    packet->bytes += bytes;
}

/* True when the packet is out of the way, false when it waits for room in the sink. */
static bool packet_finish(struct e1000 *nic, struct tx_run *run)
{
    if (nic->tx.drop) {
        nic->stats.tx_dropped++;
        packet_end(nic, run);
        return true;
    }
    nic->tx.segment = 0; /* only a held packet resumes */
    if (tx_emit(nic, run)) {
        packet_end(nic, run);
        return true;
    }
    settle(nic, run);
    nic->tx.held = true;
    return false;
}

static void packet_open(struct e1000 *nic, struct tx_run *run, enum tx_kind kind)
{
    if (nic->tx.kind == kind)
        return;
    if (nic->tx.kind != TX_NONE) { /* legacy and data descriptors do not mix (§7.2) */
        nic->stats.tx_dropped++;
        run->pieces = 0;
    }
    nic->tx = (struct tx_packet){.kind = kind};
}

static void context_latch(struct e1000 *nic, const uint8_t *raw)
{
    const uint8_t tucmd = raw[11];

    nic->contexts[(tucmd & TXD_CMD_TSE) != 0] = (struct tx_context){
        .ipcss = raw[0],
        .ipcso = raw[1],
        .ipcse = le16_get(raw + 2),
        .tucss = raw[4],
        .tucso = raw[5],
        .tucse = le16_get(raw + 6),
        .payload_bytes = le32_get(raw + 8) & 0xfffff,
        .tucmd = tucmd,
        .header_bytes = raw[13],
        .mss = le16_get(raw + 14),
    };
    if ((tucmd & TXD_CMD_TSE) != 0)
        stat_add(nic, E1000_TSCTC, 1);
}

/* One descriptor. False: its packet is complete but the sink is full. */
static bool take(struct e1000 *nic, struct tx_run *run, const uint8_t *raw, uint32_t index)
{
    struct tx_packet *packet = &nic->tx;
    const uint8_t cmd = raw[11];
    const uint8_t dtyp = raw[10] >> 4;

    if ((cmd & (TXD_CMD_RS | TXD_CMD_RPS)) != 0) { /* EC, LC and TU of STA read 0 */
        run->report[run->reports++] =
            (struct tx_report){index, (uint8_t)((raw[DESC_STATUS_AT] & 0xf0) | TXD_STATUS_DD)};
        run->reported = true;
        run->reported_now |= (cmd & TXD_CMD_IDE) == 0;
    }
    if ((cmd & TXD_CMD_DEXT) == 0) {
        packet_open(nic, run, TX_LEGACY);
        packet->cmd = cmd;
        packet->cso = raw[10];
        packet->css = raw[13];
        packet->special = le16_get(raw + 14);
        piece_add(nic, run, le64_get(raw), le16_get(raw + 8));
    } else if (dtyp == TXD_DTYP_DATA) {
        packet_open(nic, run, TX_ADVANCED);
        if (!packet->started) {
            packet->started = true;
            packet->cmd = cmd;
            packet->popts = raw[13];
            packet->special = le16_get(raw + 14);
            packet->context = nic->contexts[(cmd & TXD_CMD_TSE) != 0];
        }
        piece_add(nic, run, le64_get(raw), le32_get(raw + 8) & 0xfffff);
    } else {
        if (dtyp == TXD_DTYP_CONTEXT)
            context_latch(nic, raw);
        return true; /* reserved types transfer nothing (§7.1) */
    }
    return (cmd & TXD_CMD_EOP) == 0 || packet_finish(nic, run);
}

/* A packet kept back for a full sink goes first. */
static bool held_emit(struct e1000 *nic)
{
    if (!nic->tx.held)
        return true;
    if (!tx_emit(nic, NULL)) {
        nic->stats.tx_sink_full++;
        return false;
    }
    nic->tx = (struct tx_packet){0};
    return true;
}

static uint32_t fetch_count(const struct desc_ring *ring, uint32_t budget)
{
    uint32_t count = ring_free(ring); /* descriptors from head to tail */

    if (count > ring->count - ring->head)
        count = ring->count - ring->head;
    if (count > budget)
        count = budget;
    return count < FETCH_MAX ? count : FETCH_MAX;
}

static uint32_t ring_drain(struct e1000 *nic, struct desc_ring *ring, struct tx_run *run,
                           uint32_t budget)
{
    uint8_t raw[FETCH_MAX * DESC_BYTES]; /* read once: the guest may rewrite them while we look */
    uint32_t done = 0;
    bool room = true;

    while (room && done < budget && ring->head != ring->tail) {
        const uint32_t count = fetch_count(ring, budget - done);

        /* Outside RAM the filler is parsed like any descriptor (§13). */
        if (!ring_read(nic, ring, ring->head, raw, count * DESC_BYTES))
            nic->stats.tx_bad_ring++;
        for (uint32_t i = 0; i < count && room; i++) {
            if (run->pieces == TX_RUN_MAX || run->reports == TX_RUN_MAX)
                settle(nic, run);
            room = take(nic, run, raw + i * DESC_BYTES, ring->head);
            ring->head = ring->head + 1 == ring->count ? 0 : ring->head + 1;
            done++;
        }
    }
    if (!room)
        nic->stats.tx_sink_full++;
    return done;
}

uint32_t tx_poll(struct e1000 *nic, uint32_t budget)
{
    struct desc_ring ring;
    struct tx_run run;

    if (!held_emit(nic) || (reg_get(nic, E1000_TCTL) & TCTL_EN) == 0 ||
        reg_get(nic, E1000_TDH) == reg_get(nic, E1000_TDT))
        return 0;
    if (!ring_view(nic, E1000_TDBAL, &ring)) {
        nic->stats.tx_bad_ring++;
        return 0;
    }
    ring_map(nic, &ring);
    run.ring = &ring;
    run.pieces = run.reports = 0;
    run.reported = run.reported_now = false;
    const uint32_t done = ring_drain(nic, &ring, &run, budget);
    settle(nic, &run);
    reg_put(nic, E1000_TDH, ring.head);
    if (run.reported)
        irq_raise_tx(nic, !run.reported_now);
    if (done > 0 && ring.head == ring.tail)
        irq_raise_throttled(nic, IRQ_TXQE);
    return done;
}

bool tx_pending(const struct e1000 *nic)
{
    struct desc_ring ring;

    if (nic->tx.held)
        return true;
    return (reg_get(nic, E1000_TCTL) & TCTL_EN) != 0 && ring_view(nic, E1000_TDBAL, &ring) &&
           ring.head != ring.tail;
}
