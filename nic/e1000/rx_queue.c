#include "internal.h"

/* Records of a 4-byte length and the frame, whole: one never wraps around the end. */
enum { RECORD_HEADER_BYTES = 4 };

uint32_t rx_queue_record_bytes(uint32_t frame_bytes)
{
    return RECORD_HEADER_BYTES + ((frame_bytes + 3) & ~3u);
}

void rx_queue_clear(struct rx_queue *queue)
{
    queue->head = queue->tail = queue->frames = 0;
    queue->wrap = RX_QUEUE_BYTES;
}

/* Free bytes in one stretch at tail, after wrapping there if that is what it takes. */
static bool make_room(struct rx_queue *queue, uint32_t bytes)
{
    if (queue->frames == 0)
        rx_queue_clear(queue);
    if (queue->tail >= queue->head && (queue->frames == 0 || queue->tail > queue->head)) {
        if (bytes <= RX_QUEUE_BYTES - queue->tail)
            return true;
        if (bytes > queue->head)
            return false;
        queue->wrap = queue->tail;
        queue->tail = 0;
        return true;
    }
    return bytes <= queue->head - queue->tail;
}

bool rx_queue_push(struct rx_queue *queue, const uint8_t *frame, uint32_t bytes)
{
    if (queue->frames == E1000_QUEUE_FRAMES || !make_room(queue, rx_queue_record_bytes(bytes)))
        return false;
    le32_put(queue->bytes + queue->tail, bytes);
    __builtin_memcpy(queue->bytes + queue->tail + RECORD_HEADER_BYTES, frame, bytes);
    queue->tail += rx_queue_record_bytes(bytes);
    queue->frames++;
    return true;
}

const uint8_t *rx_queue_front(const struct rx_queue *queue, uint32_t *bytes)
{
    if (queue->frames == 0)
        return NULL;
    *bytes = le32_get(queue->bytes + queue->head);
    return queue->bytes + queue->head + RECORD_HEADER_BYTES;
}

uint32_t rx_queue_next(const struct rx_queue *queue, uint32_t at)
{
    at += rx_queue_record_bytes(le32_get(queue->bytes + at));
    return at >= queue->wrap ? 0 : at;
}

void rx_queue_pop(struct rx_queue *queue)
{
    const uint32_t next = rx_queue_next(queue, queue->head);

    if (next == 0)
        queue->wrap = RX_QUEUE_BYTES;
    queue->head = next;
    queue->frames--;
}
