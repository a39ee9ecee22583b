#include "queue.h"

#include "internal.h"
#include "tunnel/batch.h"
#include "tunnel/super.h"

enum {
    GAP_BYTES = L2T_HEADER_BYTES, /* before the oldest record, for the header of its message */
    OTHER_HEAD_BYTES = 8,         /* 0 u16, type u8, 0 u8, length u32 */
    SLACK_BYTES = 64,             /* a few control messages' heads, which count only for 4 */
};

static const uint32_t none_begun = UINT32_MAX;

size_t l2t_queue_ring_bytes(uint32_t max_bytes, const struct l2t_limits *limits)
{
    uint64_t largest = (uint64_t)limits->frame_max_bytes + L2T_SUPER_HEAD_BYTES;

    if (largest < limits->control_max_bytes)
        largest = limits->control_max_bytes;
    /* At most one record's worth is lost where the ring wraps; see queue.h. */
    const uint64_t total =
        (uint64_t)max_bytes + largest + OTHER_HEAD_BYTES + 2 * GAP_BYTES + SLACK_BYTES;
    return total > INT32_MAX ? 0 : (size_t)total;
}

void l2t_queue_clear(struct l2t_queue *queue)
{
    queue->head = GAP_BYTES;
    queue->tail = GAP_BYTES;
    queue->wrap_at = queue->ring_bytes;
    queue->encoded_bytes = 0;
    queue->begun_bytes = none_begun;
}

void l2t_queue_init(struct l2t_queue *queue, uint8_t *ring, uint32_t ring_bytes, uint32_t max_bytes)
{
    *queue = (struct l2t_queue){.ring = ring, .ring_bytes = ring_bytes, .max_bytes = max_bytes};
    l2t_queue_clear(queue);
}

static bool wrapped(const struct l2t_queue *queue)
{
    return queue->wrap_at != queue->ring_bytes;
}

/* A place for `bytes` in one piece, or 0 (which is inside the first gap): no room. */
static uint32_t place_find(const struct l2t_queue *queue, uint32_t bytes)
{
    if (wrapped(queue))
        /* The gap before head stays free: it becomes the header of the next message. */
        return bytes <= queue->head - GAP_BYTES - queue->tail ? queue->tail : 0;
    /* One byte stays over at the end, so that wrap_at == ring_bytes always means "not wrapped". */
    if (bytes < queue->ring_bytes - queue->tail)
        return queue->tail;
    if (queue->head >= 2 * GAP_BYTES && bytes <= queue->head - 2 * GAP_BYTES)
        return GAP_BYTES;
    return 0;
}

uint8_t *l2t_queue_begin(struct l2t_queue *queue, enum l2t_type type, uint32_t payload_bytes)
{
    const bool entry =
        type == L2T_FRAME && payload_bytes != 0 && payload_bytes <= L2T_BATCH_ENTRY_MAX;
    const uint32_t head_bytes = entry ? L2T_BATCH_ENTRY_HEAD_BYTES : OTHER_HEAD_BYTES;
    const uint32_t free_bytes = queue->max_bytes - queue->encoded_bytes;

    queue->begun_bytes = none_begun;
    if (free_bytes < L2T_HEADER_BYTES || payload_bytes > free_bytes - L2T_HEADER_BYTES)
        return NULL;
    const uint32_t at = place_find(queue, head_bytes + payload_bytes);
    if (at == 0)
        return NULL;
    uint8_t *record = queue->ring + at;
    l2t_put_be16(record, entry ? (uint16_t)payload_bytes : 0);
    if (!entry) {
        record[2] = (uint8_t)type;
        record[3] = 0;
        l2t_put_be32(record + 4, payload_bytes);
    }
    queue->begun_bytes = payload_bytes;
    queue->begun_at = at;
    queue->begun_next = at + head_bytes + payload_bytes;
    return record + head_bytes;
}

void l2t_queue_end(struct l2t_queue *queue)
{
    if (queue->begun_bytes == none_begun)
        return;
    if (queue->begun_at != queue->tail)
        queue->wrap_at = queue->tail;
    queue->tail = queue->begun_next;
    queue->encoded_bytes += L2T_HEADER_BYTES + queue->begun_bytes;
    queue->begun_bytes = none_begun;
}

static struct l2t_outbound other_outbound(uint8_t *record, uint32_t head)
{
    const enum l2t_type type = record[2];
    const uint32_t payload_bytes = l2t_be32(record + 4);
    uint8_t *wire = record + OTHER_HEAD_BYTES - L2T_HEADER_BYTES;

    l2t_encode_header(wire, type);
    return (struct l2t_outbound){
        .wire = wire,
        .bytes = L2T_HEADER_BYTES + payload_bytes,
        .records = 1,
        .next_head = head + OTHER_HEAD_BYTES + payload_bytes,
        .encoded_bytes = L2T_HEADER_BYTES + payload_bytes,
    };
}

static uint32_t records_end(const struct l2t_queue *queue)
{
    return wrapped(queue) ? queue->wrap_at : queue->tail;
}

struct l2t_outbound l2t_queue_outbound(struct l2t_queue *queue, uint32_t frame_max_bytes,
                                       uint32_t message_max_bytes)
{
    struct l2t_outbound out = {0};

    if (queue->encoded_bytes == 0)
        return out;
    uint8_t *first = queue->ring + queue->head;
    uint32_t bytes = l2t_be16(first);
    if (bytes == 0 && first[2] != L2T_FRAME)
        return other_outbound(first, queue->head);
    if ((bytes != 0 ? bytes : l2t_be32(first + 4)) > frame_max_bytes)
        return (struct l2t_outbound){.over_limit = 1};
    if (bytes == 0)
        return other_outbound(first, queue->head);

    const uint32_t end = records_end(queue);
    uint32_t at = queue->head;
    do {
        at += L2T_BATCH_ENTRY_HEAD_BYTES + bytes;
        out.records++;
        out.encoded_bytes += L2T_HEADER_BYTES + bytes;
        if (at == end)
            break;
        bytes = l2t_be16(queue->ring + at);
    } while (bytes != 0 && bytes <= frame_max_bytes &&
             L2T_HEADER_BYTES + (uint64_t)(at - queue->head) + L2T_BATCH_ENTRY_HEAD_BYTES + bytes <=
                 message_max_bytes);

    out.next_head = at;
    const uint32_t before =
        out.records > 1 ? L2T_HEADER_BYTES : L2T_HEADER_BYTES - L2T_BATCH_ENTRY_HEAD_BYTES;
    uint8_t *wire = first - before;
    l2t_encode_header(wire, out.records > 1 ? L2T_BATCH : L2T_FRAME);
    out.wire = wire;
    out.bytes = at - queue->head + before;
    return out;
}

void l2t_queue_drop(struct l2t_queue *queue, const struct l2t_outbound *sent)
{
    queue->encoded_bytes -= sent->encoded_bytes;
    queue->head = sent->next_head;
    queue->begun_bytes = none_begun;
    if (queue->encoded_bytes == 0) {
        l2t_queue_clear(queue); /* the longest run, and the warmest cache lines, next time */
    } else if (wrapped(queue) && queue->head == queue->wrap_at) {
        queue->head = GAP_BYTES;
        queue->wrap_at = queue->ring_bytes;
    }
}
