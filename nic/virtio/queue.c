#include "internal.h"

#include <stdatomic.h>

/*
 * Split rings (§4, virtio §2.7). Both indices run freely over 16 bits: a full ring and an empty
 * one differ. The guest may be on another processor: avail.idx is read before what it covers, used
 * elements are written before used.idx, and whoever asks for news looks again afterwards.
 */
enum {
    FLAGS_AT = 0,
    IDX_AT = 2,
    RING_AT = 4,
    AVAIL_ENTRY_BYTES = 2,
    USED_ENTRY_BYTES = 8,
    WALK_AHEAD = 16, /* descriptors of an indirect table read at once */
};

void vnet_queue_reset(struct virtio_net *nic, uint32_t index)
{
    nic->queue[index] =
        (struct vnet_queue){.size = nic->config.queue_size, .msix_vector = VECTOR_NONE};
    if (index == QUEUE_RX)
        nic->held_first = nic->held_count = 0;
    if (index == QUEUE_TX)
        nic->tx_segment = 0;
}

static bool part_valid(uint64_t gpa, uint64_t bytes, uint64_t alignment)
{
    return gpa % alignment == 0 && gpa <= UINT64_MAX - bytes;
}

/* §4: misaligned parts leave the queue off; so do parts that run over the last address. */
void vnet_queue_enable(struct virtio_net *nic, struct vnet_queue *queue)
{
    const uint32_t size = queue->size;

    queue->enabled =
        part_valid(queue->desc, (uint64_t)size * DESC_ENTRY_BYTES, 16) &&
        part_valid(queue->avail, RING_AT + (uint64_t)size * AVAIL_ENTRY_BYTES + 2, 2) &&
        part_valid(queue->used, RING_AT + (uint64_t)size * USED_ENTRY_BYTES + 2, 4);
    queue->kicked = queue->enabled;
    (void)nic;
}

static bool read16(struct virtio_net *nic, uint64_t gpa, uint16_t *value)
{
    uint8_t raw[2];

    if (!nic->host.dma_read(nic->host.context, gpa, raw, sizeof raw)) {
        vnet_needs_reset(nic);
        return false;
    }
    *value = le16_get(raw);
    return true;
}

static bool write16(struct virtio_net *nic, uint64_t gpa, uint16_t value)
{
    uint8_t raw[2];

    le16_put(raw, value);
    if (nic->host.dma_write(nic->host.context, gpa, raw, sizeof raw))
        return true;
    vnet_needs_reset(nic);
    return false;
}

/* Chains that the device has taken and not completed. */
static uint32_t outstanding(const struct virtio_net *nic, const struct vnet_queue *queue)
{
    return queue == &nic->queue[QUEUE_RX] ? nic->held_count : 0;
}

/* Reads avail.idx. More chains than the ring has places is no ring any more (quirks §3.2); in the
 * contract profile such a driver only ever gets its budget (§4.1). */
static bool look(struct virtio_net *nic, struct vnet_queue *queue)
{
    if (!read16(nic, queue->avail + IDX_AT, &queue->avail_seen))
        return false;
    atomic_thread_fence(memory_order_acquire);
    const uint16_t waiting = (uint16_t)(queue->avail_seen - queue->next_avail);
    if (vnet_standard(nic) && waiting > queue->size - outstanding(nic, queue)) {
        vnet_needs_reset(nic);
        return false;
    }
    return waiting > 0;
}

bool vnet_queue_next(struct virtio_net *nic, struct vnet_queue *queue, uint16_t *head)
{
    if (!queue->enabled || !vnet_running(nic) ||
        (queue->avail_seen == queue->next_avail && !look(nic, queue)))
        return false;
    const uint32_t slot = queue->next_avail % queue->size;
    return read16(nic, queue->avail + RING_AT + slot * AVAIL_ENTRY_BYTES, head);
}

/* Where the walk is: in which table, how many descriptors it may still visit. */
struct walk {
    uint64_t table;
    uint32_t entries, hops;
    uint32_t next;
    bool indirect;
    uint32_t ahead_first, ahead_count; /* descriptors already in ahead[] */
    uint8_t ahead[WALK_AHEAD * DESC_ENTRY_BYTES];
};

/* The descriptor at walk->next, read from guest memory once. */
static const uint8_t *fetch(struct virtio_net *nic, struct walk *walk)
{
    if (walk->next < walk->ahead_first || walk->next - walk->ahead_first >= walk->ahead_count) {
        const uint32_t rest = walk->entries - walk->next;

        /* The main table's neighbours belong to other chains. */
        walk->ahead_count = !walk->indirect ? 1 : rest < WALK_AHEAD ? rest : WALK_AHEAD;
        walk->ahead_first = walk->next;
        if (!nic->host.dma_read(nic->host.context,
                                walk->table + (uint64_t)walk->next * DESC_ENTRY_BYTES, walk->ahead,
                                walk->ahead_count * DESC_ENTRY_BYTES))
            return NULL;
    }
    return walk->ahead + (walk->next - walk->ahead_first) * DESC_ENTRY_BYTES;
}

/* §4.1: only when negotiated, only as the last descriptor of the main table, only whole ones. */
static enum vnet_walk enter_indirect(const struct virtio_net *nic, struct walk *walk,
                                     uint64_t table, uint32_t bytes, uint16_t flags)
{
    const uint32_t entries = bytes / DESC_ENTRY_BYTES;

    if (!vnet_has(nic, F_INDIRECT_DESC) || walk->indirect || (flags & DESC_NEXT) != 0 ||
        entries == 0 || bytes % DESC_ENTRY_BYTES != 0 || entries > INDIRECT_ENTRIES_MAX ||
        table > UINT64_MAX - bytes)
        return WALK_BAD;
    *walk = (struct walk){.table = table, .entries = entries, .hops = entries, .indirect = true};
    return WALK_MORE;
}

static bool piece_add(struct vnet_chain *chain, uint64_t gpa, uint32_t bytes, bool writable)
{
    if (!writable && chain->writable_bytes > 0)
        return false; /* readable ones come first (virtio §2.7.4.2) */
    if (bytes == 0)
        return true;
    if (chain->pieces == INDIRECT_ENTRIES_MAX || gpa > UINT64_MAX - bytes)
        return false;
    chain->piece[chain->pieces++] = (struct vnet_piece){gpa, bytes};
    if (writable) {
        chain->writable_bytes += bytes;
    } else {
        chain->readable_bytes += bytes;
        chain->readable = chain->pieces;
    }
    return true;
}

/* One descriptor: MORE when another one follows. */
static enum vnet_walk step(struct virtio_net *nic, struct walk *walk, struct vnet_chain *chain,
                           bool *first)
{
    if (walk->next >= walk->entries || walk->hops == 0)
        return WALK_BAD; /* out of the table, or a loop: no chain has more hops than entries */
    walk->hops--;
    const uint8_t *raw = fetch(nic, walk);
    if (raw == NULL) {
        vnet_needs_reset(nic);
        return WALK_BROKEN;
    }
    const uint64_t gpa = le64_get(raw);
    const uint32_t bytes = le32_get(raw + 8);
    const uint16_t flags = le16_get(raw + 12);
    if ((flags & DESC_INDIRECT) != 0)
        return enter_indirect(nic, walk, gpa, bytes, flags);
    if (*first)
        chain->first_bytes = bytes;
    *first = false;
    if (!piece_add(chain, gpa, bytes, (flags & DESC_WRITE) != 0))
        return WALK_BAD;
    walk->next = le16_get(raw + 14);
    return (flags & DESC_NEXT) != 0 ? WALK_MORE : WALK_DONE;
}

enum vnet_walk vnet_chain_walk(struct virtio_net *nic, const struct vnet_queue *queue,
                               uint16_t head, struct vnet_chain *chain)
{
    struct walk walk;
    bool first = true;
    enum vnet_walk state = WALK_MORE;

    walk.table = queue->desc;
    walk.entries = walk.hops = queue->size;
    walk.next = head;
    walk.indirect = false;
    walk.ahead_first = walk.ahead_count = 0;
    chain->pieces = chain->readable = chain->first_bytes = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    while (state == WALK_MORE)
        state = step(nic, &walk, chain, &first);
    return state;
}

void vnet_queue_complete(struct virtio_net *nic, struct vnet_queue *queue, uint16_t head,
                         uint32_t bytes)
{
    const uint32_t slot = queue->next_used % queue->size;
    uint8_t raw[USED_ENTRY_BYTES];

    le32_put(raw, head);
    le32_put(raw + 4, bytes);
    if (!nic->host.dma_write(nic->host.context,
                             queue->used + RING_AT + (uint64_t)slot * USED_ENTRY_BYTES, raw,
                             sizeof raw))
        vnet_needs_reset(nic);
    queue->next_used++;
}

/* virtio §2.7.7.2 and §2.7.10: was the entry the driver waits for among those just shown? */
static bool interrupt_wanted(struct virtio_net *nic, const struct vnet_queue *queue,
                             uint16_t before)
{
    const uint16_t now = queue->next_used;
    uint16_t value;

    if (!vnet_has(nic, F_EVENT_IDX))
        return read16(nic, queue->avail + FLAGS_AT, &value) && (value & AVAIL_NO_INTERRUPT) == 0;
    if (!read16(nic, queue->avail + RING_AT + (uint64_t)queue->size * AVAIL_ENTRY_BYTES, &value))
        return false;
    return (uint16_t)(now - value - 1) < (uint16_t)(now - before);
}

void vnet_queue_publish(struct virtio_net *nic, struct vnet_queue *queue)
{
    const uint16_t before = queue->published;

    if (queue->next_used == before)
        return;
    atomic_thread_fence(memory_order_release);
    queue->published = queue->next_used;
    if (!write16(nic, queue->used + IDX_AT, queue->next_used))
        return;
    atomic_thread_fence(memory_order_seq_cst); /* against the driver that re-enables, then looks */
    if (interrupt_wanted(nic, queue, before))
        vnet_irq_queue(nic, queue);
}

bool vnet_queue_arm(struct virtio_net *nic, struct vnet_queue *queue)
{
    if (!queue->enabled || !vnet_running(nic))
        return false;
    if (vnet_has(nic, F_EVENT_IDX)) {
        if (!write16(nic, queue->used + RING_AT + (uint64_t)queue->size * USED_ENTRY_BYTES,
                     queue->next_avail))
            return false;
    } else if (queue->quiet) {
        queue->quiet = false;
        if (!write16(nic, queue->used + FLAGS_AT, 0))
            return false;
    }
    atomic_thread_fence(memory_order_seq_cst);
    return queue->avail_seen != queue->next_avail || look(nic, queue);
}

void vnet_queue_quiet(struct virtio_net *nic, struct vnet_queue *queue)
{
    /* With EVENT_IDX an avail_event left behind does the same; the contract's ring has no use
     * for the flag. */
    if (queue->quiet || vnet_has(nic, F_EVENT_IDX) || !vnet_standard(nic))
        return;
    queue->quiet = write16(nic, queue->used + FLAGS_AT, USED_NO_NOTIFY);
}

/* The next stretch of the piece the cursor is in, at most `bytes`. False at the end. */
static bool cursor_part(const struct vnet_cursor *cursor, uint32_t bytes, uint64_t *gpa,
                        uint32_t *part)
{
    if (cursor->piece >= cursor->chain->pieces)
        return false;
    const struct vnet_piece *piece = &cursor->chain->piece[cursor->piece];
    const uint32_t rest = piece->bytes - cursor->used;

    *gpa = piece->gpa + cursor->used;
    *part = bytes < rest ? bytes : rest;
    return true;
}

static void cursor_step(struct vnet_cursor *cursor, uint32_t part)
{
    cursor->used += part;
    if (cursor->used == cursor->chain->piece[cursor->piece].bytes) {
        cursor->piece++;
        cursor->used = 0;
    }
}

bool vnet_cursor_read(struct virtio_net *nic, struct vnet_cursor *cursor, void *to, uint32_t bytes)
{
    uint8_t *next = to;
    uint64_t gpa;
    uint32_t part;

    while (bytes > 0) {
        if (!cursor_part(cursor, bytes, &gpa, &part))
            return false;
        if (next != NULL) {
            if (!nic->host.dma_read(nic->host.context, gpa, next, part))
                return false;
            next += part;
        }
        cursor_step(cursor, part);
        bytes -= part;
    }
    return true;
}

bool vnet_cursor_write(struct virtio_net *nic, struct vnet_cursor *cursor, const void *from,
                       uint32_t bytes)
{
    const uint8_t *next = from;
    uint64_t gpa;
    uint32_t part;

    while (bytes > 0) {
        if (!cursor_part(cursor, bytes, &gpa, &part))
            return false;
        if (next != NULL) {
            if (!nic->host.dma_write(nic->host.context, gpa, next, part))
                return false;
            next += part;
        }
        cursor_step(cursor, part);
        bytes -= part;
    }
    return true;
}
