#include "nic/frame_queue.h"

#include "nic/packet.h"

enum { RECORD_HEADER_BYTES = 8 }; /* length, note */

uint32_t frame_queue_record_bytes(uint32_t frame_bytes)
{
    return RECORD_HEADER_BYTES + ((frame_bytes + 3) & ~3u);
}

void frame_queue_init(struct frame_queue *queue, uint8_t *bytes, uint32_t capacity_bytes,
                      uint32_t frames_max)
{
    *queue = (struct frame_queue){
        .bytes = bytes, .capacity_bytes = capacity_bytes, .frames_max = frames_max};
    frame_queue_clear(queue);
}

void frame_queue_clear(struct frame_queue *queue)
{
    queue->head = queue->tail = queue->frames = 0;
    queue->wrap = queue->capacity_bytes;
}

/* Free bytes in one stretch at tail, after wrapping there if that is what it takes. */
static bool make_room(struct frame_queue *queue, uint32_t bytes)
{
    if (queue->frames == 0)
        frame_queue_clear(queue);
    if (queue->frames == 0 || queue->tail > queue->head) {
        if (bytes <= queue->capacity_bytes - queue->tail)
            return true;
        if (bytes > queue->head)
            return false;
        queue->wrap = queue->tail;
        queue->tail = 0;
        return true;
    }
    return bytes <= queue->head - queue->tail;
}

uint8_t *frame_queue_push(struct frame_queue *queue, uint32_t bytes, uint32_t note)
{
    if (queue->frames == queue->frames_max || !make_room(queue, frame_queue_record_bytes(bytes)))
        return NULL;
    uint8_t *record = queue->bytes + queue->tail;
    le32_put(record, bytes);
    le32_put(record + 4, note);
    queue->tail += frame_queue_record_bytes(bytes);
    queue->frames++;
    return record + RECORD_HEADER_BYTES;
}

uint32_t frame_queue_at(const struct frame_queue *queue, uint32_t at, const uint8_t **frame,
                        uint32_t *bytes, uint32_t *note)
{
    *bytes = le32_get(queue->bytes + at);
    *note = le32_get(queue->bytes + at + 4);
    *frame = queue->bytes + at + RECORD_HEADER_BYTES;
    at += frame_queue_record_bytes(*bytes);
    return at >= queue->wrap ? 0 : at;
}

uint8_t *frame_queue_front(const struct frame_queue *queue, uint32_t *bytes, uint32_t *note)
{
    const uint8_t *frame;

    if (queue->frames == 0)
        return NULL;
    (void)frame_queue_at(queue, queue->head, &frame, bytes, note);
    return queue->bytes + (frame - queue->bytes);
}

void frame_queue_pop(struct frame_queue *queue)
{
    const uint32_t next =
        queue->head + frame_queue_record_bytes(le32_get(queue->bytes + queue->head));

    queue->head = next;
    if (next >= queue->wrap) {
        queue->head = 0;
        queue->wrap = queue->capacity_bytes;
    }
    queue->frames--;
}
