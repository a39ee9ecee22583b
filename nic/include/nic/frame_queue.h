/*
 * frame_queue.h - frames a card keeps until the guest has room, in memory of the caller.
 *
 * Memory   The caller owns the struct and its bytes. A record is whole: it never wraps.
 * Threads  One.
 */
#ifndef NIC_FRAME_QUEUE_H
#define NIC_FRAME_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct frame_queue {
    uint8_t *bytes; /* 4-aligned */
    uint32_t capacity_bytes, frames_max;
    uint32_t head, tail; /* offsets of the oldest record and of the free space */
    uint32_t wrap;       /* where the records at the end stop, when tail has wrapped */
    uint32_t frames;
};

void frame_queue_init(struct frame_queue *queue, uint8_t *bytes, uint32_t capacity_bytes,
                      uint32_t frames_max);
void frame_queue_clear(struct frame_queue *queue);

/** What a frame takes of capacity_bytes. */
uint32_t frame_queue_record_bytes(uint32_t frame_bytes);

/** Room for a frame at the end of the queue, filled by the caller; NULL when it is full. `note`
 *  is the caller's own word beside the frame. */
uint8_t *frame_queue_push(struct frame_queue *queue, uint32_t bytes, uint32_t note);

/** The oldest frame, or NULL. */
uint8_t *frame_queue_front(const struct frame_queue *queue, uint32_t *bytes, uint32_t *note);
void frame_queue_pop(struct frame_queue *queue);

/** For walking without taking: the record at `at`, which starts as queue->head; returns the
 *  next one's place. Call it queue->frames times. */
uint32_t frame_queue_at(const struct frame_queue *queue, uint32_t at, const uint8_t **frame,
                        uint32_t *bytes, uint32_t *note);

#endif
