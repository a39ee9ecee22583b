#include "internal.h"
#include "nic/segment.h"

/*
 * From chains to frames (§6.2). A chain's bytes go from guest memory straight into the room the
 * host gives for a frame; only the headers of a packet that is cut are looked at before.
 */
struct tx_header {
    uint8_t flags, gso_type;
    uint16_t gso_bytes, csum_start, csum_offset;
};

enum tx_result { TX_SENT, TX_DROP, TX_WAIT };

static void frame_send(struct virtio_net *nic, uint32_t bytes)
{
    nic->stats.tx_frames++;
    nic->stats.tx_bytes += bytes;
    nic->host.frame_end(nic->host.context, bytes);
}

/* What the header asks for and the driver has negotiated; the rest is ignored (§6.2.4). */
static struct tx_header header_parse(const struct virtio_net *nic, const uint8_t *raw)
{
    struct tx_header header = {0};
    const uint8_t kind = (uint8_t)(raw[1] & ~HEADER_GSO_ECN);

    if (!vnet_has(nic, F_CSUM))
        return header;
    header.flags = raw[0] & HEADER_NEEDS_CSUM;
    header.csum_start = le16_get(raw + 6);
    header.csum_offset = le16_get(raw + 8);
    if ((kind == HEADER_GSO_TCPV4 && vnet_has(nic, F_HOST_TSO4)) ||
        (kind == HEADER_GSO_TCPV6 && vnet_has(nic, F_HOST_TSO6))) {
        header.gso_type = kind;
        header.gso_bytes = le16_get(raw + 4);
    }
    return header;
}

static enum tx_result send_whole(struct virtio_net *nic, struct vnet_cursor cursor, uint32_t bytes,
                                 const struct tx_header *header)
{
    if (bytes < VIRTIO_NET_FRAME_MIN_BYTES || bytes > vnet_frame_limit(nic))
        return TX_DROP;
    uint8_t *room = nic->host.frame_begin(nic->host.context, bytes);
    if (room == NULL)
        return TX_WAIT;
    if (!vnet_cursor_read(nic, &cursor, room, bytes))
        return TX_DROP; /* a buffer outside RAM (§6.2.5) */
    if ((header->flags & HEADER_NEEDS_CSUM) != 0 &&
        !checksum_complete(room, bytes, header->csum_start,
                           (uint32_t)header->csum_start + header->csum_offset))
        return TX_DROP;
    frame_send(nic, bytes);
    return TX_SENT;
}

/* The whole packet for whoever cuts it (spec/l2-extensions.md §6). */
static enum tx_result send_super(struct virtio_net *nic, struct vnet_cursor cursor,
                                 const uint8_t *head, const struct tcp_segments *plan)
{
    const uint32_t bytes = plan->header_bytes + plan->payload_bytes;
    uint8_t *room = nic->host.super_begin(nic->host.context, bytes, (uint16_t)plan->mss);

    if (room == NULL)
        return TX_WAIT;
    __builtin_memcpy(room, head, plan->header_bytes);
    if (!vnet_cursor_read(nic, &cursor, NULL, plan->header_bytes) ||
        !vnet_cursor_read(nic, &cursor, room + plan->header_bytes, plan->payload_bytes))
        return TX_DROP;
    super_frame_length(plan, room);
    frame_send(nic, bytes);
    return TX_SENT;
}

static enum tx_result send_segments(struct virtio_net *nic, struct vnet_cursor cursor,
                                    uint32_t bytes, const struct tx_header *header)
{
    uint8_t head[SEGMENT_HEADERS_MAX_BYTES];
    const uint32_t head_bytes = bytes < sizeof head ? bytes : (uint32_t)sizeof head;
    struct vnet_cursor looking = cursor;
    struct tcp_segments plan;

    if (bytes > TX_PACKET_MAX_BYTES || !vnet_cursor_read(nic, &looking, head, head_bytes) ||
        !tcp_segments_plan(&plan, head, head_bytes, bytes, header->gso_bytes) ||
        plan.view.version != (header->gso_type == HEADER_GSO_TCPV4 ? 4 : 6) ||
        plan.count > TX_SEGMENTS_MAX ||
        plan.header_bytes + tcp_segment_payload(&plan, 0) > vnet_frame_limit(nic))
        return TX_DROP;
    if (nic->host.super_begin != NULL && nic->tx_segment == 0 && tcp_segments_super(&plan))
        return send_super(nic, cursor, head, &plan);
    /* Resumed: a guest that changed the packet meanwhile gets what it now says. */
    if (nic->tx_segment >= plan.count)
        return TX_DROP;
    if (!vnet_cursor_read(nic, &cursor, NULL, plan.header_bytes + nic->tx_segment * plan.mss))
        return TX_DROP;
    for (; nic->tx_segment < plan.count; nic->tx_segment++) {
        const uint32_t payload = tcp_segment_payload(&plan, nic->tx_segment);
        uint8_t *room = nic->host.frame_begin(nic->host.context, plan.header_bytes + payload);

        if (room == NULL)
            return TX_WAIT;
        __builtin_memcpy(room, head, plan.header_bytes);
        if (!vnet_cursor_read(nic, &cursor, room + plan.header_bytes, payload))
            return TX_DROP;
        tcp_segment_finish(&plan, room, nic->tx_segment);
        frame_send(nic, plan.header_bytes + payload);
    }
    return TX_SENT;
}

static enum tx_result chain_send(struct virtio_net *nic)
{
    const struct vnet_chain *chain = &nic->chain;
    const uint32_t header_bytes = vnet_header_bytes(nic, chain->first_bytes);
    struct vnet_cursor cursor = {.chain = chain};
    uint8_t raw[HEADER_LONG_BYTES];

    if (chain->writable_bytes > 0 || chain->readable_bytes < header_bytes ||
        chain->readable_bytes - header_bytes > TX_PACKET_MAX_BYTES ||
        !vnet_cursor_read(nic, &cursor, raw, header_bytes))
        return TX_DROP;
    const uint32_t bytes = (uint32_t)chain->readable_bytes - header_bytes;
    const struct tx_header header = header_parse(nic, raw);
    if (!nic->link)
        return bytes < VIRTIO_NET_FRAME_MIN_BYTES ? TX_DROP : TX_SENT; /* consumed and lost */
    return header.gso_type != HEADER_GSO_NONE ? send_segments(nic, cursor, bytes, &header)
                                              : send_whole(nic, cursor, bytes, &header);
}

/* False: the chain stays where it is, the sink is full. */
static bool take(struct virtio_net *nic, enum vnet_walk state)
{
    if (state == WALK_BAD) {
        nic->stats.bad_chains++;
    } else {
        enum tx_result result = chain_send(nic);

        if (result == TX_WAIT) {
            nic->stats.tx_sink_full++;
            if (vnet_standard(nic))
                return false;
            result = TX_DROP; /* the contract never holds a chain for the back end (§6.2.6) */
        }
        if (result == TX_DROP)
            nic->stats.tx_dropped++;
    }
    nic->tx_segment = 0;
    return true;
}

uint32_t vnet_tx_poll(struct virtio_net *nic, uint32_t budget)
{
    struct vnet_queue *queue = &nic->queue[QUEUE_TX];
    uint32_t done = 0;
    bool room = true;
    uint16_t head;

    if (!vnet_queue_begin(queue))
        return 0;
    if (budget > queue->size)
        budget = queue->size;
    do {
        while (room && done < budget && vnet_queue_next(nic, queue, &head)) {
            const enum vnet_walk state = vnet_chain_walk(nic, queue, head, &nic->chain);

            if (state == WALK_BROKEN)
                break;
            room = take(nic, state);
            if (!room)
                break;
            queue->next_avail++;
            vnet_queue_complete(nic, queue, head, 0);
            done++;
        }
    } while (room && done < budget && vnet_queue_arm(nic, queue));
    queue->kicked |= !room || done == budget;
    vnet_queue_publish(nic, queue);
    return done;
}
