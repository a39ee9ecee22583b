#include "internal.h"

/* A frame from the host, in one piece or, when the card cuts, headers and payload. */
struct arrival {
    const uint8_t *head, *body; /* body: of a segment whose checksums the card made itself */
    uint32_t head_bytes, body_bytes;
};

/*
 * The frame as the guest will see it, in up to four parts: the frame (to a stripped tag), what
 * follows the tag, a segment's payload, and what the card adds: padding and FCS (§8.3).
 */
enum { PARTS = 4, TRAILER_MAX_BYTES = ETH_MIN_BYTES + ETH_FCS_BYTES };

struct image {
    const uint8_t *part[PARTS];
    uint32_t part_bytes[PARTS];
    uint32_t bytes;
    uint8_t trailer[TRAILER_MAX_BYTES];
    struct rx_result result; /* for the last descriptor */
};

/* Free descriptors chosen for one frame. */
struct slots {
    uint32_t count;
    uint64_t buffer[RX_SLOTS_MAX];
};

static uint32_t frame_limit(const struct e1000 *nic)
{
    return (reg_get(nic, E1000_RCTL) & (RCTL_LPE | RCTL_SBP)) != 0 ? E1000_FRAME_MAX_BYTES
                                                                   : FRAME_LEGACY_MAX_BYTES;
}

static bool receiver_on(const struct e1000 *nic)
{
    return (reg_get(nic, E1000_RCTL) & RCTL_EN) != 0 && dma_enabled(nic);
}

/* What the wire side decides about a frame. 0: it is for the guest. */
static int screen(struct e1000 *nic, const uint8_t *frame, uint32_t bytes, bool wire)
{
    if (bytes < E1000_FRAME_MIN_BYTES || bytes > E1000_FRAME_MAX_BYTES) {
        nic->stats.rx_dropped_size++;
        return E1000_ERR_FRAME_SIZE;
    }
    if (!receiver_on(nic) || (wire && !e1000_link(nic))) {
        nic->stats.rx_dropped_off++;
        return E1000_ERR_RX_DISABLED;
    }
    if (!rx_filter_accepts(nic, frame, bytes)) {
        stat_rx_wire(nic, bytes);
        nic->stats.rx_filtered++;
        return E1000_ERR_FILTERED;
    }
    if (bytes > frame_limit(nic)) {
        stat_rx_wire(nic, bytes);
        stat_add(nic, E1000_ROC, 1);
        nic->stats.rx_dropped_size++;
        return E1000_ERR_FRAME_SIZE;
    }
    return 0;
}

static uint32_t buffer_bytes(const struct e1000 *nic)
{
    static const uint16_t plain[] = {2048, 1024, 512, 256};
    static const uint16_t extended[] = {16384, 16384, 8192, 4096}; /* 0 is reserved */
    const uint32_t rctl = reg_get(nic, E1000_RCTL);
    const uint32_t size = rctl >> RCTL_BSIZE_SHIFT & 3;

    return (rctl & RCTL_BSEX) != 0 ? extended[size] : plain[size];
}

/* The FCS, or zeros where nobody looks (§8.3, 3). */
static bool fcs_wanted(const struct e1000 *nic)
{
    const uint32_t rctl = reg_get(nic, E1000_RCTL);

    return (rctl & RCTL_SECRC) == 0 && (nic->config.real_fcs || (rctl & RCTL_SBP) != 0);
}

static void image_make(const struct e1000 *nic, struct image *image, const struct arrival *arrival)
{
    const uint8_t *frame = arrival->head;
    const uint32_t head_bytes = arrival->head_bytes;
    const uint32_t bytes = head_bytes + arrival->body_bytes;
    const uint32_t padding = bytes < ETH_MIN_BYTES ? ETH_MIN_BYTES - bytes : 0;
    uint32_t trailer_bytes = padding;

    image->result = (struct rx_result){.status = RXD_STATUS_DD | RXD_STATUS_EOP};
    rx_checksum_status(nic, frame, bytes, arrival->body != NULL, &image->result);
    image->part[0] = frame;
    image->part_bytes[0] = head_bytes;
    image->part_bytes[1] = 0;
    image->part[2] = arrival->body;
    image->part_bytes[2] = arrival->body_bytes;
    if ((reg_get(nic, E1000_CTRL) & CTRL_VME) != 0 && bytes >= ETH_HEADER_BYTES + ETH_VLAN_BYTES &&
        be16_get(frame + ETH_TYPE_AT) == (reg_get(nic, E1000_VET) & 0xffff)) {
        image->result.special = be16_get(frame + ETH_TYPE_AT + 2);
        image->result.status |= RXD_STATUS_VP;
        image->part_bytes[0] = 2 * ETH_ADDRESS_BYTES;
        image->part[1] = frame + 2 * ETH_ADDRESS_BYTES + ETH_VLAN_BYTES;
        image->part_bytes[1] = head_bytes - 2 * ETH_ADDRESS_BYTES - ETH_VLAN_BYTES;
    }
    if (padding > 0)
        __builtin_memset(image->trailer, 0, padding);
    if ((reg_get(nic, E1000_RCTL) & RCTL_SECRC) == 0) {
        le32_put(image->trailer + padding, 0);
        if (fcs_wanted(nic))
            le32_put(image->trailer + padding, ethernet_fcs_padded(frame, bytes, padding));
        trailer_bytes += ETH_FCS_BYTES;
    }
    image->part[3] = image->trailer;
    image->part_bytes[3] = trailer_bytes;
    image->bytes =
        image->part_bytes[0] + image->part_bytes[1] + image->part_bytes[2] + trailer_bytes;
}

static void image_copy(const struct image *image, uint32_t at, uint8_t *to, uint32_t bytes)
{
    for (uint32_t i = 0; i < PARTS && bytes > 0; i++) {
        if (at >= image->part_bytes[i]) {
            at -= image->part_bytes[i];
            continue;
        }
        const uint32_t rest = image->part_bytes[i] - at;
        const uint32_t part = bytes < rest ? bytes : rest;

        __builtin_memcpy(to, image->part[i] + at, part);
        to += part;
        bytes -= part;
        at = 0;
    }
}

static void image_write(struct e1000 *nic, const struct image *image, uint32_t at, uint64_t gpa,
                        uint32_t bytes)
{
    const struct nic_host *host = &nic->host;
    uint8_t *room = host->dma_map != NULL ? host->dma_map(host->context, gpa, bytes) : NULL;

    if (room == NULL) {
        image_copy(image, at, nic->scratch, bytes);
        (void)host->dma_write(host->context, gpa, nic->scratch, bytes);
        return;
    }
    image_copy(image, at, room, bytes);
    if (host->dma_written != NULL)
        host->dma_written(host->context, gpa, bytes);
}

/* Data first, then the upper half of the descriptor at head, then its status: the guest polls DD.
 * The head moves on. */
static void slot_write(struct e1000 *nic, struct desc_ring *ring, uint32_t bytes,
                       const struct rx_result *result)
{
    const struct nic_host *host = &nic->host;
    const uint64_t gpa = ring->base + (uint64_t)ring->head * DESC_BYTES + RXD_LENGTH_AT;
    uint8_t half[DESC_BYTES - RXD_LENGTH_AT];
    uint8_t *to =
        ring->slots == NULL ? half : ring->slots + (size_t)ring->head * DESC_BYTES + RXD_LENGTH_AT;

    le16_put(to, (uint16_t)bytes);
    le16_put(to + (RXD_CHECKSUM_AT - RXD_LENGTH_AT), result->checksum);
    to[RXD_ERRORS_AT - RXD_LENGTH_AT] = result->errors;
    le16_put(to + (RXD_SPECIAL_AT - RXD_LENGTH_AT), result->special);
    if (ring->slots != NULL) {
        slot_status_put(to - RXD_LENGTH_AT, result->status);
        if (host->dma_written != NULL)
            host->dma_written(host->context, gpa, sizeof half);
    } else {
        half[DESC_STATUS_AT - RXD_LENGTH_AT] = 0;
        (void)host->dma_write(host->context, gpa, half, sizeof half);
        (void)host->dma_write(host->context, gpa + (DESC_STATUS_AT - RXD_LENGTH_AT),
                              &result->status, 1);
    }
    ring->head = ring->head + 1 == ring->count ? 0 : ring->head + 1;
}

static uint64_t buffer_read(struct e1000 *nic, const struct desc_ring *ring, uint32_t index)
{
    uint8_t raw[8]; /* read once; what a bad address gives is taken like any other (§13) */

    if (!ring_read(nic, ring, index, raw, sizeof raw))
        nic->stats.rx_bad_ring++;
    return le64_get(raw);
}

/* The first buffer that is one. Null ones at the head are given back at once (§8.3.6), so that
 * each is met only once; 0 when nothing else is free. */
static uint64_t first_buffer(struct e1000 *nic, struct desc_ring *ring)
{
    static const struct rx_result skipped = {.status = RXD_STATUS_DD};

    for (uint32_t left = ring_free(ring); left > 0; left--) {
        const uint64_t buffer = buffer_read(nic, ring, ring->head);

        if (buffer != 0)
            return buffer;
        slot_write(nic, ring, 0, &skipped);
        reg_put(nic, E1000_RDH, ring->head);
    }
    return 0;
}

/* Descriptors from head on whose buffers hold `bytes`; 0, or an e1000_error. */
static int slots_choose(struct e1000 *nic, struct desc_ring *ring, uint32_t bytes,
                        struct slots *slots)
{
    const uint32_t size = buffer_bytes(nic);
    const uint64_t first = first_buffer(nic, ring);
    const uint32_t free = ring_free(ring);
    uint32_t index = ring->head;
    uint32_t room = size;

    if (first == 0)
        return E1000_ERR_NO_BUFFER;
    slots->buffer[0] = first;
    for (slots->count = 1; room < bytes; slots->count++) {
        if (slots->count == free)
            return E1000_ERR_NO_BUFFER;
        if (slots->count == RX_SLOTS_MAX)
            return E1000_ERR_RING; /* a desert of null buffers */
        index = index + 1 == ring->count ? 0 : index + 1;
        slots->buffer[slots->count] = buffer_read(nic, ring, index);
        if (slots->buffer[slots->count] != 0)
            room += size;
    }
    return 0;
}

static void fill(struct e1000 *nic, struct desc_ring *ring, const struct slots *slots,
                 const struct image *image)
{
    static const struct rx_result more = {.status = RXD_STATUS_DD};
    const uint32_t size = buffer_bytes(nic);
    uint32_t at = 0;

    for (uint32_t i = 0; i < slots->count; i++) {
        const uint32_t rest = image->bytes - at;
        const uint32_t bytes = slots->buffer[i] == 0 ? 0 : rest < size ? rest : size;

        if (bytes > 0)
            image_write(nic, image, at, slots->buffer[i], bytes);
        at += bytes;
        slot_write(nic, ring, bytes, i + 1 == slots->count ? &image->result : &more);
    }
    reg_put(nic, E1000_RDH, ring->head);
}

static void threshold_check(struct e1000 *nic, const struct desc_ring *ring)
{
    const uint32_t rdmts = reg_get(nic, E1000_RCTL) >> RCTL_RDMTS_SHIFT & 3;

    if (ring_free(ring) <= ring->count >> (1 + rdmts))
        irq_raise_throttled(nic, IRQ_RXDMT0);
}

static void frame_lost(struct e1000 *nic)
{
    nic->stats.rx_dropped_full++;
    stat_add(nic, E1000_MPC, 1);
    irq_raise(nic, IRQ_RXO);
}

/* Puts one screened frame into guest memory: 0, E1000_ERR_NO_BUFFER (keep it) or _RING. */
static int deliver(struct e1000 *nic, const struct arrival *arrival)
{
    const uint32_t bytes = arrival->head_bytes + arrival->body_bytes;
    struct desc_ring ring;
    struct image image;
    struct slots slots;

    if (!ring_view(nic, E1000_RDBAL, &ring)) {
        nic->stats.rx_bad_ring++;
        return E1000_ERR_RING;
    }
    if (ring.head == ring.tail)
        return E1000_ERR_NO_BUFFER;
    ring_map(nic, &ring);
    image_make(nic, &image, arrival);
    if (image.bytes > (uint64_t)(ring.count - 1) * buffer_bytes(nic)) {
        stat_add(nic, E1000_RNBC, 1); /* no refill ever makes room for it */
        frame_lost(nic);
        return E1000_ERR_RING;
    }
    const int result = slots_choose(nic, &ring, image.bytes, &slots);
    if (result == E1000_ERR_RING)
        frame_lost(nic);
    if (result != 0)
        return result;
    fill(nic, &ring, &slots, &image);
    stat_rx_good(nic, arrival->head, bytes);
    nic->stats.rx_frames++;
    nic->stats.rx_bytes += bytes;
    irq_raise_rx(nic);
    threshold_check(nic, &ring);
    return 0;
}

/* A frame comes and has to wait (§3.3, RNBC). */
static void no_buffer_check(struct e1000 *nic)
{
    struct desc_ring ring;

    if (ring_view(nic, E1000_RDBAL, &ring) && ring.head == ring.tail)
        stat_add(nic, E1000_RNBC, 1);
}

bool rx_keep(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    uint8_t *room = frame_queue_push(&nic->queue, bytes, 0);

    if (room == NULL)
        return false;
    __builtin_memcpy(room, frame, bytes);
    return true;
}

int rx_arrive(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    /* A looped frame comes from inside: the link does not matter. */
    const int refused = screen(nic, frame, bytes, !nic->busy);

    if (refused != 0)
        return refused;
    stat_rx_wire(nic, bytes);
    no_buffer_check(nic);
    if (!rx_keep(nic, frame, bytes)) {
        frame_lost(nic);
        return E1000_ERR_NO_BUFFER;
    }
    return 0;
}

void rx_poll(struct e1000 *nic)
{
    const uint8_t *frame;
    uint32_t bytes, note;

    if ((reg_get(nic, E1000_RCTL) & RCTL_EN) == 0)
        return;
    while ((frame = frame_queue_front(&nic->queue, &bytes, &note)) != NULL) {
        const int result = deliver(nic, &(struct arrival){.head = frame, .head_bytes = bytes});

        if (result == E1000_ERR_NO_BUFFER)
            break;
        frame_queue_pop(&nic->queue); /* delivered, or the ring can never take it */
    }
}

int rx_offer(struct e1000 *nic, const uint8_t *frame, uint32_t bytes)
{
    if (nic->queue.frames > 0)
        rx_poll(nic);
    if (nic->queue.frames > 0)
        return E1000_ERR_NO_BUFFER;
    const int refused = screen(nic, frame, bytes, true);
    if (refused != 0)
        return refused;
    const int result = deliver(nic, &(struct arrival){.head = frame, .head_bytes = bytes});
    if (result != E1000_ERR_NO_BUFFER) /* that one is offered again and counted then */
        stat_rx_wire(nic, bytes);
    return result;
}

/* Segment `index` to the queue, complete. */
static void segment_keep(struct e1000 *nic, const uint8_t *head, const uint8_t *frame,
                         const struct tcp_segments *plan, uint32_t index)
{
    const uint32_t bytes = plan->header_bytes + tcp_segment_payload(plan, index);
    uint8_t *room = frame_queue_push(&nic->queue, bytes, 0);

    no_buffer_check(nic);
    if (room == NULL) { /* an empty queue has room for any super-frame */
        frame_lost(nic);
        return;
    }
    (void)tcp_segment_make(plan, room, head, frame + plan->header_bytes, index);
}

/* Segment `index` straight to the guest, as deliver(). */
static int segment_deliver(struct e1000 *nic, const uint8_t *head, const uint8_t *frame,
                           const struct tcp_segments *plan, uint32_t index)
{
    const uint8_t *payload = frame + plan->header_bytes + index * plan->mss;
    uint8_t headers[SEGMENT_HEADERS_MAX_BYTES];

    __builtin_memcpy(headers, head, plan->header_bytes);
    tcp_segment_headers(plan, headers, payload, index);
    return deliver(nic, &(struct arrival){
                            .head = headers,
                            .head_bytes = plan->header_bytes,
                            .body = payload,
                            .body_bytes = tcp_segment_payload(plan, index),
                        });
}

/*
 * The frames are cut as they go to the guest; from the first one on for which there is no buffer
 * they wait in the queue. Where a sum over the whole frame is wanted, all take that way.
 */
int rx_offer_super(struct e1000 *nic, const uint8_t *frame, uint32_t bytes, uint16_t gso_bytes)
{
    uint8_t head[SEGMENT_HEADERS_MAX_BYTES]; /* read once */
    const uint32_t head_bytes = bytes < sizeof head ? bytes : (uint32_t)sizeof head;
    bool waiting = fcs_wanted(nic) || (reg_get(nic, E1000_RXCSUM) & RXCSUM_PCSS) != 0;
    struct tcp_segments plan;

    rx_poll(nic);
    if (nic->queue.frames > 0)
        return E1000_ERR_NO_BUFFER;
    __builtin_memcpy(head, frame, head_bytes);
    if (bytes > E1000_SUPER_MAX_BYTES ||
        !tcp_segments_plan(&plan, head, head_bytes, bytes, gso_bytes) ||
        plan.count > E1000_QUEUE_FRAMES) {
        nic->stats.rx_dropped_size++;
        return E1000_ERR_FRAME_SIZE;
    }
    const int refused = screen(nic, head, plan.header_bytes + tcp_segment_payload(&plan, 0), true);
    if (refused != 0)
        return refused;
    for (uint32_t i = 0; i < plan.count; i++) {
        stat_rx_wire(nic, plan.header_bytes + tcp_segment_payload(&plan, i));
        waiting = waiting || segment_deliver(nic, head, frame, &plan, i) == E1000_ERR_NO_BUFFER;
        if (waiting)
            segment_keep(nic, head, frame, &plan, i);
    }
    rx_poll(nic);
    return 0;
}

/* False while the oldest frame needs more descriptors than are free: a host may sleep on it. */
bool rx_pending(const struct e1000 *nic)
{
    struct desc_ring ring;
    uint32_t bytes, note;

    if (frame_queue_front(&nic->queue, &bytes, &note) == NULL || !receiver_on(nic) ||
        !ring_view(nic, E1000_RDBAL, &ring))
        return false;
    bytes += (reg_get(nic, E1000_RCTL) & RCTL_SECRC) == 0 ? ETH_FCS_BYTES : 0;
    const uint32_t needed = (bytes + buffer_bytes(nic) - 1) / buffer_bytes(nic);
    return ring_free(&ring) >= (needed < ring.count ? needed : 1);
}
