#include "internal.h"

enum { HEADER_MAX_BYTES = 255, LBM_MAC = 1, LBM_PHY = 3 };

/* Reads the packet front to back: first gather[], then the pieces still in guest memory. */
struct cursor {
    const struct tx_run *run;
    uint32_t at;    /* in gather[] */
    uint32_t piece; /* next one, and how much of it is used */
    uint32_t used;
};

/* With no `to`, skips. Asking for no more than tx.bytes in all is the caller's part. */
static void cursor_read(struct e1000 *nic, struct cursor *cursor, uint8_t *to, uint32_t bytes)
{
    if (cursor->at < nic->tx.gathered && bytes > 0) {
        const uint32_t rest = nic->tx.gathered - cursor->at;
        const uint32_t part = bytes < rest ? bytes : rest;

        if (to != NULL) {
            __builtin_memcpy(to, nic->gather + cursor->at, part);
            to += part;
        }
        cursor->at += part;
        bytes -= part;
    }
    while (bytes > 0) {
        const struct tx_piece *piece = &cursor->run->piece[cursor->piece];
        const uint32_t rest = piece->bytes - cursor->used;
        const uint32_t part = bytes < rest ? bytes : rest;

        if (to != NULL) {
            (void)nic->host.dma_read(nic->host.context, piece->gpa + cursor->used, to, part);
            to += part;
        }
        cursor->used += part;
        if (cursor->used == piece->bytes) {
            cursor->piece++;
            cursor->used = 0;
        }
        bytes -= part;
    }
}

static bool loopback(const struct e1000 *nic)
{
    const uint32_t mode = reg_get(nic, E1000_RCTL) >> RCTL_LBM_SHIFT & 3;

    return mode == LBM_MAC || mode == LBM_PHY || phy_loopback(nic);
}

static uint32_t frame_limit(const struct e1000 *nic)
{
    return (reg_get(nic, E1000_RCTL) & RCTL_LPE) != 0 ? E1000_FRAME_MAX_BYTES
                                                      : FRAME_LEGACY_MAX_BYTES;
}

static uint32_t tag_bytes(const struct e1000 *nic)
{
    return (nic->tx.cmd & TXD_CMD_VLE) != 0 && (reg_get(nic, E1000_CTRL) & CTRL_VME) != 0
               ? ETH_VLAN_BYTES
               : 0;
}

/* Without a link frames are consumed and lost, else a driver would report a hung unit. */
static bool frame_leaves(const struct e1000 *nic)
{
    return loopback(nic) || (reg_get(nic, E1000_STATUS) & STATUS_LU) != 0;
}

/* Room for a frame of `bytes` and the tag before it, or NULL. */
static uint8_t *room_get(struct e1000 *nic, uint32_t bytes)
{
    if (loopback(nic))
        return nic->scratch;
    return nic->host.frame_begin(nic->host.context, bytes);
}

/* The frame lies after tag_bytes() spare bytes: move the addresses down and put the tag (§7.2). */
static void room_send(struct e1000 *nic, uint8_t *room, uint32_t bytes, uint32_t tag)
{
    if (tag != 0) {
        __builtin_memmove(room, room + tag, 2 * ETH_ADDRESS_BYTES);
        be16_put(room + ETH_TYPE_AT, (uint16_t)reg_get(nic, E1000_VET));
        be16_put(room + ETH_TYPE_AT + 2, nic->tx.special);
    }
    stat_tx(nic, room, bytes, 1);
    if (loopback(nic))
        (void)rx_arrive(nic, room, bytes); /* to the queue: never re-enters the receive path */
    else
        nic->host.frame_end(nic->host.context, bytes);
}

static bool emit_whole(struct e1000 *nic, struct cursor cursor, bool offload)
{
    const struct tx_packet *packet = &nic->tx;
    const uint32_t tag = tag_bytes(nic);
    uint32_t bytes = packet->bytes;

    if (bytes == 0)
        return true; /* a lone EOP of length 0 is no frame */
    if (bytes < E1000_FRAME_MIN_BYTES || bytes > frame_limit(nic)) {
        nic->stats.tx_dropped++;
        return true;
    }
    if (!frame_leaves(nic))
        return true;
    /* PSP looks at the frame as it leaves, tag included. */
    if ((reg_get(nic, E1000_TCTL) & TCTL_PSP) != 0 && bytes + tag < ETH_MIN_BYTES)
        bytes = ETH_MIN_BYTES - tag;
    uint8_t *room = room_get(nic, bytes + tag);
    if (room == NULL)
        return false;
    uint8_t *frame = room + tag;
    cursor_read(nic, &cursor, frame, packet->bytes);
    if (bytes > packet->bytes)
        __builtin_memset(frame + packet->bytes, 0, bytes - packet->bytes);
    if (offload && packet->kind == TX_ADVANCED)
        tx_offload_checksums(frame, packet->bytes, packet);
    else if (offload && (packet->cmd & TXD_CMD_IC) != 0)
        tx_checksum_insert(frame, packet->bytes, packet->css, packet->cso, 0);
    room_send(nic, room, bytes + tag, tag);
    return true;
}

/* What segmentation needs to know of the packet, checked once (§7.4). */
static bool segments_plan(const struct tx_packet *packet, struct tcp_segments *plan)
{
    const struct tx_context *context = &packet->context;

    plan->view = (struct l4_view){
        .l3 = context->ipcss,
        .l4 = context->tucss,
        .version = (context->tucmd & TXD_TUCMD_IP) != 0 ? 4 : 6,
        .protocol = (context->tucmd & TXD_TUCMD_TCP) != 0 ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP,
    };
    plan->header_bytes = context->header_bytes;
    plan->mss = context->mss;
    if (plan->mss == 0 || plan->header_bytes < context->tucss + 8u ||
        plan->header_bytes < E1000_FRAME_MIN_BYTES || plan->header_bytes > packet->bytes)
        return false;
    plan->payload_bytes = packet->bytes - plan->header_bytes;
    if (plan->payload_bytes > context->payload_bytes)
        plan->payload_bytes = context->payload_bytes;
    plan->count = segments_count(plan->payload_bytes, plan->mss);
    return plan->count <= TX_SEGMENTS_MAX;
}

/* Steps 1 to 3 of §7.4 on one segment. */
static void segment_finish(uint8_t *frame, uint32_t bytes, const struct tx_packet *packet,
                           const struct tcp_segments *plan)
{
    const struct tx_context *context = &packet->context;

    segment_edit(plan, frame, packet->segment);
    if ((packet->popts & TXD_POPTS_TXSM) != 0 && context->tucso + 2u <= bytes) {
        uint8_t *seed = frame + context->tucso; /* holds the pseudo header's sum without length */
        const uint32_t sum = checksum_add16(be16_get(seed), (uint16_t)(bytes - context->tucss));

        be16_put(seed, checksum_fold(sum));
    }
    tx_offload_checksums(frame, bytes, packet);
}

/* Whether the host takes the packet uncut: only if all that a receiver will cut by is what this
 * context asks for, and each segment would have left. */
static bool super_wanted(const struct e1000 *nic, const uint8_t *header,
                         const struct tcp_segments *plan)
{
    const struct tx_packet *packet = &nic->tx;
    const uint8_t sums = plan->view.version == 4 ? TXD_POPTS_IXSM | TXD_POPTS_TXSM : TXD_POPTS_TXSM;
    struct tcp_segments seen;

    return nic->host.super_begin != NULL && packet->segment == 0 && tag_bytes(nic) == 0 &&
           !loopback(nic) && plan->header_bytes + plan->mss <= frame_limit(nic) &&
           (packet->popts & sums) == sums &&
           packet->context.tucso == plan->view.l4 + TCP_CHECKSUM_AT &&
           tcp_segments_plan(&seen, header, plan->header_bytes,
                             plan->header_bytes + plan->payload_bytes, plan->mss) &&
           seen.header_bytes == plan->header_bytes && seen.view.l3 == plan->view.l3 &&
           seen.view.l4 == plan->view.l4 && seen.view.version == plan->view.version &&
           plan->view.protocol == IP_PROTOCOL_TCP && tcp_segments_super(&seen);
}

static bool emit_super(struct e1000 *nic, struct cursor cursor, const uint8_t *header,
                       const struct tcp_segments *plan)
{
    const uint32_t bytes = plan->header_bytes + plan->payload_bytes;
    uint8_t *room = nic->host.super_begin(nic->host.context, bytes, (uint16_t)plan->mss);

    if (room == NULL)
        return false;
    __builtin_memcpy(room, header, plan->header_bytes);
    cursor_read(nic, &cursor, room + plan->header_bytes, plan->payload_bytes);
    super_frame_length(plan, room);
    /* The guest's counters see what the wire would have. */
    stat_tx(nic, room, plan->header_bytes + plan->mss, plan->count - 1);
    stat_tx(nic, room, plan->header_bytes + tcp_segment_payload(plan, plan->count - 1), 1);
    nic->host.frame_end(nic->host.context, bytes);
    return true;
}

static bool emit_segments(struct e1000 *nic, struct cursor cursor, const struct tcp_segments *plan)
{
    struct tx_packet *packet = &nic->tx;
    const uint32_t tag = tag_bytes(nic);
    uint8_t header[HEADER_MAX_BYTES];

    cursor_read(nic, &cursor, header, plan->header_bytes);
    if (super_wanted(nic, header, plan))
        return emit_super(nic, cursor, header, plan);
    if (packet->segment > 0) /* resumed: everything is in gather[] */
        cursor.at += packet->segment * plan->mss;
    for (; packet->segment < plan->count; packet->segment++) {
        const uint32_t payload = tcp_segment_payload(plan, packet->segment);
        const uint32_t bytes = plan->header_bytes + payload;

        if (bytes > frame_limit(nic)) {
            nic->stats.tx_dropped++;
            cursor_read(nic, &cursor, NULL, payload);
            continue;
        }
        uint8_t *room = room_get(nic, bytes + tag);
        if (room == NULL)
            return false;
        __builtin_memcpy(room + tag, header, plan->header_bytes);
        cursor_read(nic, &cursor, room + tag + plan->header_bytes, payload);
        segment_finish(room + tag, bytes, packet, plan);
        room_send(nic, room, bytes + tag, tag);
    }
    return true;
}

bool tx_emit(struct e1000 *nic, const struct tx_run *run)
{
    const struct cursor cursor = {.run = run};
    struct tcp_segments plan;

    if (nic->tx.kind != TX_ADVANCED || (nic->tx.cmd & TXD_CMD_TSE) == 0)
        return emit_whole(nic, cursor, true);
    if (!segments_plan(&nic->tx, &plan)) {
        stat_add(nic, E1000_TSCTFC, 1);
        return emit_whole(nic, cursor, false); /* as it is (§7.4) */
    }
    return !frame_leaves(nic) || emit_segments(nic, cursor, &plan);
}
