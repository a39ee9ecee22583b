#include "internal.h"
#include "nic/segment.h"

/*
 * From frames to receive chains (§6.3). Chains are taken from the ring as frames need them and
 * held, in order, until they are completed. The standard profile fills the oldest ones; the
 * contract picks the first one large enough, so that they may complete out of order.
 */

/* A frame from the host, in one piece or, when headers were remade, headers and payload. */
struct packet {
    const uint8_t *head, *body;
    uint32_t head_bytes, body_bytes;
    uint32_t mss;   /* of a super-frame that goes to the guest whole; 0: an ordinary frame */
    bool made_here; /* the checksums are ours: good */
};

/* Chains chosen for one frame: `count` held ones from `first` on. */
struct choice {
    uint32_t first, count;
};

static struct vnet_held *held_at(struct virtio_net *nic, uint32_t nth)
{
    return &nic->held[(nic->held_first + nth) % VIRTIO_NET_QUEUE_SIZE_MAX];
}

/* Takes the nth held chain out; those before it move up, which keeps their order. */
static struct vnet_held held_remove(struct virtio_net *nic, uint32_t nth)
{
    const struct vnet_held held = *held_at(nic, nth);

    for (; nth > 0; nth--)
        *held_at(nic, nth) = *held_at(nic, nth - 1);
    nic->held_first = (nic->held_first + 1) % VIRTIO_NET_QUEUE_SIZE_MAX;
    nic->held_count--;
    return held;
}

/* §6.3.2. The contract wants the whole header in the first descriptor; the standard lets a
 * driver cut where it likes. */
static bool chain_valid(const struct virtio_net *nic, const struct vnet_chain *chain,
                        uint32_t header_bytes)
{
    return chain->readable_bytes == 0 && chain->writable_bytes >= header_bytes &&
           (vnet_standard(nic) || chain->first_bytes >= header_bytes);
}

static void refuse(struct virtio_net *nic, uint16_t head)
{
    nic->stats.bad_chains++;
    vnet_queue_complete(nic, &nic->queue[QUEUE_RX], head, 0);
}

static uint32_t capacity(const struct vnet_chain *chain)
{
    return chain->writable_bytes < UINT32_MAX ? (uint32_t)chain->writable_bytes : UINT32_MAX;
}

/* Takes one more chain from the ring. False: there is none, or the queue broke. */
static bool hold_one(struct virtio_net *nic)
{
    struct vnet_queue *queue = &nic->queue[QUEUE_RX];
    uint16_t head;

    if (!vnet_queue_next(nic, queue, &head))
        return false;
    nic->chain_held = NO_HEAD;
    const enum vnet_walk state = vnet_chain_walk(nic, queue, head, &nic->chain);
    if (state == WALK_BROKEN)
        return false;
    const uint32_t header_bytes = vnet_header_bytes(nic, nic->chain.first_bytes);
    queue->next_avail++;
    if (state != WALK_DONE || nic->held_count == queue->size ||
        !chain_valid(nic, &nic->chain, header_bytes)) {
        refuse(nic, head);
        return true;
    }
    *held_at(nic, nic->held_count++) =
        (struct vnet_held){capacity(&nic->chain), head, (uint8_t)header_bytes};
    nic->chain_held = head;
    return true;
}

/* The same, after asking for a kick and looking again; at most a ring full in a poll (§4.1). */
static bool hold_more(struct virtio_net *nic)
{
    struct vnet_queue *queue = &nic->queue[QUEUE_RX];

    if (nic->rx_left == 0) {
        queue->kicked |= vnet_queue_arm(nic, queue); /* the next poll looks, or a kick comes */
        return false;
    }
    nic->rx_left--;
    return hold_one(nic) || (vnet_queue_arm(nic, queue) && hold_one(nic));
}

/* Mergeable buffers: as many of the oldest chains as the frame needs, or none at all. */
static int choose_merged(struct virtio_net *nic, uint32_t bytes, struct choice *choice)
{
    uint64_t room = 0;

    *choice = (struct choice){0, 0};
    for (;;) {
        while (choice->count < nic->held_count) {
            room += held_at(nic, choice->count++)->capacity_bytes;
            if (room >= (uint64_t)bytes + held_at(nic, 0)->header_bytes)
                return 0;
        }
        if (nic->held_count == nic->queue[QUEUE_RX].size)
            return VIRTIO_NET_ERR_FRAME_SIZE; /* all the driver has is not enough */
        if (!hold_more(nic))
            return VIRTIO_NET_ERR_NO_BUFFER;
    }
}

/* One chain for one frame. */
static int choose_single(struct virtio_net *nic, uint32_t bytes, struct choice *choice)
{
    const uint32_t looked_at_max = vnet_standard(nic) ? 1 : VIRTIO_NET_QUEUE_SIZE_MAX;

    for (uint32_t i = 0; i < looked_at_max; i++) {
        while (i == nic->held_count) { /* one that is refused does not count */
            if (!hold_more(nic))
                return i == 0 ? VIRTIO_NET_ERR_NO_BUFFER : VIRTIO_NET_ERR_FRAME_SIZE;
        }
        const struct vnet_held *held = held_at(nic, i);
        if (held->capacity_bytes - held->header_bytes >= bytes) {
            *choice = (struct choice){i, 1};
            return 0;
        }
    }
    return VIRTIO_NET_ERR_FRAME_SIZE; /* drop the frame, keep the buffers */
}

/* The packet header (§6.1). */
static void header_make(const struct virtio_net *nic, const struct packet *packet,
                        uint8_t raw[HEADER_LONG_BYTES])
{
    const uint8_t *frame = packet->head;
    struct l4_view view;

    __builtin_memset(raw, 0, HEADER_LONG_BYTES);
    if (packet->mss != 0 && l4_find(&view, frame, packet->head_bytes) &&
        packet->head_bytes - view.l4 >= TCP_HEADER_BYTES) {
        raw[0] = HEADER_NEEDS_CSUM;
        raw[1] = view.version == 4 ? HEADER_GSO_TCPV4 : HEADER_GSO_TCPV6;
        if ((frame[view.l4 + TCP_FLAGS_AT] & TCP_CWR) != 0) /* only with GUEST_ECN: super_open() */
            raw[1] |= HEADER_GSO_ECN;
        le16_put(raw + 2, (uint16_t)(view.l4 + (frame[view.l4 + TCP_DATA_OFFSET_AT] >> 4) * 4u));
        le16_put(raw + 4, (uint16_t)packet->mss);
        le16_put(raw + 6, (uint16_t)view.l4);
        le16_put(raw + 8, TCP_CHECKSUM_AT);
    } else if (vnet_has(nic, F_GUEST_CSUM) &&
               (packet->made_here || l4_checksum_judge(frame, packet->head_bytes) == L4_GOOD)) {
        raw[0] = HEADER_DATA_VALID;
    }
}

/* Writes `bytes` of the packet from `at` on. */
static bool packet_write(struct virtio_net *nic, struct vnet_cursor *cursor,
                         const struct packet *packet, uint32_t at, uint32_t bytes)
{
    if (at < packet->head_bytes) {
        const uint32_t rest = packet->head_bytes - at;
        const uint32_t part = bytes < rest ? bytes : rest;

        if (!vnet_cursor_write(nic, cursor, packet->head + at, part))
            return false;
        at += part;
        bytes -= part;
    }
    return bytes == 0 ||
           vnet_cursor_write(nic, cursor, packet->body + (at - packet->head_bytes), bytes);
}

/* Writes a part of header and frame into one chain, re-read and checked unless it was held only
 * now: its descriptors may have changed since. Returns the used length, 0 when it can't take its
 * part. */
static uint32_t fill(struct virtio_net *nic, const struct vnet_held *held, const uint8_t *header,
                     const struct packet *packet, uint32_t at, uint32_t bytes)
{
    const uint32_t header_bytes = header != NULL ? held->header_bytes : 0;
    struct vnet_cursor cursor = {.chain = &nic->chain};

    const bool known = nic->chain_held == held->head;
    nic->chain_held = NO_HEAD;
    if ((!known &&
         vnet_chain_walk(nic, &nic->queue[QUEUE_RX], held->head, &nic->chain) != WALK_DONE) ||
        nic->chain.readable_bytes > 0 ||
        nic->chain.writable_bytes < (uint64_t)header_bytes + bytes ||
        (header != NULL && !vnet_cursor_write(nic, &cursor, header, header_bytes)) ||
        !packet_write(nic, &cursor, packet, at, bytes))
        return 0;
    return header_bytes + bytes;
}

/* All used elements follow all data, and used.idx follows them (vnet_queue_publish()). */
static int deliver_to(struct virtio_net *nic, const struct choice *choice,
                      const struct packet *packet, uint8_t *header)
{
    const uint32_t bytes = packet->head_bytes + packet->body_bytes;
    struct vnet_queue *queue = &nic->queue[QUEUE_RX];
    uint32_t at = 0;
    bool good = true;

    le16_put(header + HEADER_SHORT_BYTES, (uint16_t)choice->count); /* num_buffers */
    for (uint32_t i = 0; i < choice->count; i++) {
        struct vnet_held held = held_remove(nic, choice->first);
        const uint32_t room = held.capacity_bytes - (i == 0 ? held.header_bytes : 0);
        const uint32_t part = bytes - at < room ? bytes - at : room;
        const uint32_t used = good ? fill(nic, &held, i == 0 ? header : NULL, packet, at, part) : 0;

        good = used != 0;
        at += part;
        vnet_queue_complete(nic, queue, held.head, used);
    }
    if (!good) {
        nic->stats.bad_chains++;
        return vnet_running(nic) ? VIRTIO_NET_ERR_FRAME_SIZE : VIRTIO_NET_ERR_QUEUE;
    }
    nic->stats.rx_frames++;
    nic->stats.rx_bytes += bytes;
    return 0;
}

/* Puts one screened frame into guest memory: 0, NO_BUFFER (keep it), else it is lost. */
static int deliver(struct virtio_net *nic, const struct packet *packet)
{
    const uint32_t bytes = packet->head_bytes + packet->body_bytes;
    struct choice choice;
    uint8_t header[HEADER_LONG_BYTES];

    const int result = vnet_has(nic, F_MRG_RXBUF) ? choose_merged(nic, bytes, &choice)
                                                  : choose_single(nic, bytes, &choice);
    if (!vnet_running(nic))
        return VIRTIO_NET_ERR_QUEUE;
    if (result == VIRTIO_NET_ERR_FRAME_SIZE)
        nic->stats.rx_dropped_size++;
    nic->rx_starved = result == VIRTIO_NET_ERR_NO_BUFFER;
    if (result != 0)
        return result;
    header_make(nic, packet, header);
    return deliver_to(nic, &choice, packet, header);
}

/* Largest frame from the wire: buffers decide in the standard profile. */
static uint32_t wire_limit(const struct virtio_net *nic)
{
    return vnet_standard(nic) ? VIRTIO_NET_FRAME_MAX_BYTES : FRAME_CONTRACT_MAX_BYTES;
}

static int screen(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    if (bytes < VIRTIO_NET_FRAME_MIN_BYTES || bytes > wire_limit(nic)) {
        nic->stats.rx_dropped_size++;
        return VIRTIO_NET_ERR_FRAME_SIZE;
    }
    if (!nic->link || !virtio_net_ready(nic)) {
        nic->stats.rx_dropped_off++;
        return VIRTIO_NET_ERR_NOT_READY;
    }
    if (!vnet_filter_accepts(nic, frame, bytes)) {
        nic->stats.rx_filtered++;
        return VIRTIO_NET_ERR_FILTERED;
    }
    return 0;
}

static uint8_t *push(struct virtio_net *nic, uint32_t bytes, uint32_t mss)
{
    uint8_t *room = frame_queue_push(&nic->rx_queue, bytes, mss);

    if (room == NULL)
        nic->stats.rx_dropped_full++;
    else if (nic->rx_queue.frames == 1)
        nic->rx_starved = false; /* that was another frame, which was offered and not kept */
    return room;
}

int vnet_rx_arrive(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    const int refused = screen(nic, frame, bytes);

    if (refused != 0)
        return refused;
    uint8_t *room = push(nic, bytes, 0);
    if (room == NULL)
        return VIRTIO_NET_ERR_NO_BUFFER;
    __builtin_memcpy(room, frame, bytes);
    return 0;
}

/* A super-frame on its way in: the headers read once, the payload where it came. */
struct super {
    struct tcp_segments plan;
    const uint8_t *payload;
    bool whole; /* the guest takes it so */
    uint8_t head[SEGMENT_HEADERS_MAX_BYTES];
};

static int super_open(struct virtio_net *nic, struct super *in, const uint8_t *frame,
                      uint32_t bytes, uint16_t mss)
{
    const uint32_t head_bytes = bytes < sizeof in->head ? bytes : (uint32_t)sizeof in->head;
    const struct tcp_segments *plan = &in->plan;

    __builtin_memcpy(in->head, frame, head_bytes);
    if (bytes < VIRTIO_NET_FRAME_MIN_BYTES || bytes > VIRTIO_NET_FRAME_MAX_BYTES ||
        !tcp_segments_plan(&in->plan, in->head, head_bytes, bytes, mss) ||
        plan->header_bytes + tcp_segment_payload(plan, 0) > wire_limit(nic)) {
        nic->stats.rx_dropped_size++;
        return VIRTIO_NET_ERR_FRAME_SIZE;
    }
    in->payload = frame + plan->header_bytes;
    in->whole =
        vnet_has(nic, plan->view.version == 4 ? F_GUEST_TSO4 : F_GUEST_TSO6) &&
        vnet_has(nic, F_GUEST_CSUM) && plan->count > 1 &&
        (vnet_has(nic, F_GUEST_ECN) || (in->head[plan->view.l4 + TCP_FLAGS_AT] & TCP_CWR) == 0);
    if (!in->whole && plan->count > QUEUE_FRAMES) {
        nic->stats.rx_dropped_size++;
        return VIRTIO_NET_ERR_FRAME_SIZE;
    }
    if (in->whole) /* partial (virtio §5.1.6.4): the guest, or who it forwards to, completes it */
        super_frame_checksums(plan, in->head);
    return screen(nic, in->head, bytes < wire_limit(nic) ? bytes : wire_limit(nic));
}

static bool super_keep(struct virtio_net *nic, const struct super *in)
{
    const struct tcp_segments *plan = &in->plan;
    uint8_t *room = push(nic, plan->header_bytes + plan->payload_bytes, plan->mss);

    if (room == NULL)
        return false;
    __builtin_memcpy(room, in->head, plan->header_bytes);
    __builtin_memcpy(room + plan->header_bytes, in->payload, plan->payload_bytes);
    return true;
}

/* Segment `index` of one that the guest does not take whole: cut as the wire would have it. */
static bool segment_keep(struct virtio_net *nic, const struct super *in, uint32_t index)
{
    const struct tcp_segments *plan = &in->plan;
    uint8_t *room = push(nic, plan->header_bytes + tcp_segment_payload(plan, index), 0);

    if (room == NULL)
        return false;
    (void)tcp_segment_make(plan, room, in->head, in->payload, index);
    return true;
}

int vnet_rx_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes, uint16_t mss)
{
    struct super in;
    const int refused = super_open(nic, &in, frame, bytes, mss);
    bool kept = true;

    if (refused != 0)
        return refused;
    if (in.whole)
        kept = super_keep(nic, &in);
    for (uint32_t i = 0; kept && !in.whole && i < in.plan.count; i++)
        kept = segment_keep(nic, &in, i);
    return kept ? 0 : VIRTIO_NET_ERR_NO_BUFFER;
}

static int segment_deliver(struct virtio_net *nic, const struct super *in, uint32_t index)
{
    const uint8_t *payload = in->payload + index * in->plan.mss;
    uint8_t headers[SEGMENT_HEADERS_MAX_BYTES];

    __builtin_memcpy(headers, in->head, in->plan.header_bytes);
    tcp_segment_headers(&in->plan, headers, payload, index);
    return deliver(nic, &(struct packet){
                            .head = headers,
                            .head_bytes = in->plan.header_bytes,
                            .body = payload,
                            .body_bytes = tcp_segment_payload(&in->plan, index),
                            .made_here = true,
                        });
}

/* Cut as the frames go; from the first one on that finds no buffer they wait in the queue. */
static int offer_cut(struct virtio_net *nic, const struct super *in)
{
    bool waiting = false;

    for (uint32_t i = 0; i < in->plan.count; i++) {
        waiting = waiting || segment_deliver(nic, in, i) == VIRTIO_NET_ERR_NO_BUFFER;
        if (waiting)
            (void)segment_keep(nic, in, i); /* an empty queue had room for all of them */
    }
    return 0;
}

/* False: older frames wait, too. */
static bool offer_open(struct virtio_net *nic)
{
    vnet_rx_poll(nic);
    nic->rx_left = nic->queue[QUEUE_RX].size; /* those before it may have had their ring full */
    return nic->rx_queue.frames == 0;
}

int vnet_rx_offer_super(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes, uint16_t mss)
{
    struct choice choice;
    struct super in;

    if (!offer_open(nic))
        return VIRTIO_NET_ERR_NO_BUFFER;
    const int refused = super_open(nic, &in, frame, bytes, mss);
    if (refused != 0)
        return refused;
    const struct packet whole = {
        .head = in.head,
        .head_bytes = in.plan.header_bytes,
        .body = in.payload,
        .body_bytes = in.plan.payload_bytes,
        .mss = mss,
    };
    /* More than all buffers of a small queue hold: it would be lost each time it comes again.
     * (Single buffers must hold it, virtio §5.1.6.3.1.) */
    if (in.whole && vnet_has(nic, F_MRG_RXBUF) && in.plan.count <= QUEUE_FRAMES &&
        choose_merged(nic, bytes, &choice) == VIRTIO_NET_ERR_FRAME_SIZE)
        in.whole = false;
    const int result = in.whole ? deliver(nic, &whole) : offer_cut(nic, &in);
    vnet_queue_publish(nic, &nic->queue[QUEUE_RX]);
    return result;
}

void vnet_rx_poll(struct virtio_net *nic)
{
    struct vnet_queue *queue = &nic->queue[QUEUE_RX];
    const uint8_t *frame;
    uint32_t bytes;
    uint32_t mss;

    if (!vnet_queue_begin(queue))
        return;
    nic->rx_left = queue->size;
    nic->chain_held = NO_HEAD;
    while (vnet_running(nic) && (frame = frame_queue_front(&nic->rx_queue, &bytes, &mss)) != NULL) {
        const struct packet packet = {.head = frame, .head_bytes = bytes, .mss = mss};

        if (deliver(nic, &packet) == VIRTIO_NET_ERR_NO_BUFFER)
            break;
        frame_queue_pop(&nic->rx_queue); /* delivered, or nothing can ever take it */
    }
    /* Buffers are at hand: whoever is out of them, or has too few, asks for kicks again. */
    if (!nic->rx_starved && (nic->held_count > 0 || queue->avail_seen != queue->next_avail) &&
        vnet_running(nic))
        vnet_queue_quiet(nic, queue);
    vnet_queue_publish(nic, queue);
}

int vnet_rx_offer(struct virtio_net *nic, const uint8_t *frame, uint32_t bytes)
{
    if (!offer_open(nic))
        return VIRTIO_NET_ERR_NO_BUFFER;
    const int refused = screen(nic, frame, bytes);
    if (refused != 0)
        return refused;
    const int result = deliver(nic, &(struct packet){.head = frame, .head_bytes = bytes});
    vnet_queue_publish(nic, &nic->queue[QUEUE_RX]);
    return result;
}

bool vnet_rx_pending(const struct virtio_net *nic)
{
    const struct vnet_queue *queue = &nic->queue[QUEUE_RX];

    return nic->rx_queue.frames > 0 && queue->enabled && (!nic->rx_starved || queue->kicked);
}
