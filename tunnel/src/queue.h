/*
 * queue.h - the client's outbound queue: a byte ring whose frames already lie as BATCH entries.
 *
 * A frame is kept as { length u16, bytes }, so a run of frames becomes a BATCH by four header
 * bytes written *before* the run, and one frame becomes a FRAME by four header bytes over its
 * length and the two bytes before it. What lies before the oldest record has been sent already
 * (or is the gap kept for it), so nothing is ever moved or copied. Every other message, SUPER too,
 * and a frame of 0 or more than 65535 bytes, is kept as { 0 u16, type u8, 0 u8, length u32, bytes
 * }.
 *
 * A record never straddles the end of the ring.
 */
#ifndef TUNNEL_QUEUE_H
#define TUNNEL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/codec.h"

struct l2t_queue {
    uint8_t *ring;
    uint32_t ring_bytes;
    uint32_t max_bytes; /* encoded */
    uint32_t head;      /* of the oldest record; the L2T_HEADER_BYTES before it are free */
    uint32_t tail;
    uint32_t wrap_at;       /* where records end when tail has wrapped, else ring_bytes */
    uint32_t encoded_bytes; /* sum over the records, each as a message of its own */

    uint32_t begun_bytes; /* the record between begin and end; UINT32_MAX: none */
    uint32_t begun_at;
    uint32_t begun_next;
};

/* A message made of the oldest records; taken off with l2t_queue_drop(). */
struct l2t_outbound {
    const uint8_t *wire; /* NULL: none */
    uint32_t bytes;
    uint32_t records;
    uint32_t next_head;
    uint32_t encoded_bytes; /* what the records counted for */
    uint32_t over_limit;    /* 1: the oldest frame is above frame_max_bytes, nothing is made */
};

/* Ring bytes with which max_bytes of frames always fit, whatever their sizes; 0: out of range. */
size_t l2t_queue_ring_bytes(uint32_t max_bytes, const struct l2t_limits *limits);

void l2t_queue_init(struct l2t_queue *queue, uint8_t *ring, uint32_t ring_bytes,
                    uint32_t max_bytes);
void l2t_queue_clear(struct l2t_queue *queue);

/* Room for a payload, or NULL when it would exceed max_bytes. Nothing is queued before end(). */
uint8_t *l2t_queue_begin(struct l2t_queue *queue, enum l2t_type type, uint32_t payload_bytes);
void l2t_queue_end(struct l2t_queue *queue);

/* Builds the next message in place: a BATCH of up to message_max_bytes (0: no BATCH). */
struct l2t_outbound l2t_queue_outbound(struct l2t_queue *queue, uint32_t frame_max_bytes,
                                       uint32_t message_max_bytes);
void l2t_queue_drop(struct l2t_queue *queue, const struct l2t_outbound *sent);

#endif
