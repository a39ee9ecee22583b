/*
 * batch.h - BATCH, several frames in one message.
 *
 * Source   spec/l2-extensions.md §2; every § below is a section of it.
 * Memory   The reader borrows the payload, the writer the room it was given.
 * Hostile  A payload is checked as a whole before the first frame of it comes out.
 */
#ifndef TUNNEL_BATCH_H
#define TUNNEL_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/codec.h"

enum {
    L2T_BATCH_ENTRY_HEAD_BYTES = 2,
    L2T_BATCH_ENTRY_MAX = 65535, /* a longer frame goes as FRAME */
    L2T_BATCH_ROOM_EXTRA = 2,    /* room a writer wants beyond the largest message */
};

struct l2t_batch_reader {
    const uint8_t *at;
    uint32_t left_bytes;
};

/**
 * Checks the payload of a BATCH whole: its entries fill it exactly and each has 1 to
 * frame_max_bytes. Returns the number of frames (quotas count each) and sets the reader to the
 * first one, or L2T_ERR_BATCH: then none of its frames may be delivered.
 */
int32_t l2t_batch_open(struct l2t_batch_reader *reader, const uint8_t *payload,
                       uint32_t payload_bytes, uint32_t frame_max_bytes);

/** The next frame, or NULL behind the last one. */
const uint8_t *l2t_batch_next(struct l2t_batch_reader *reader, uint32_t *frame_bytes);

/* A message being built. `wire` is the caller's; begin again after each l2t_batch_end(). */
struct l2t_batch_writer {
    uint8_t *wire;
    uint32_t room_bytes;
    uint32_t message_max_bytes;
    uint32_t used_bytes; /* header and entries so far */
    uint32_t frames;
    bool sole; /* the frame in it is too long for a BATCH: nothing can follow */
};

/**
 * Starts a message that the peer accepts: message_max_bytes is tag 2 of its HELLO. `room_bytes`
 * of message_max_bytes + L2T_BATCH_ROOM_EXTRA let it fill that.
 */
void l2t_batch_begin(struct l2t_batch_writer *writer, uint8_t *wire, uint32_t room_bytes,
                     uint32_t message_max_bytes);

/**
 * Room for one more frame, to be filled in place before the next call, or NULL: it does not fit
 * behind the others (end this message, then begin another), has length 0, or alone is too long.
 * A frame over 65535 bytes fits only as the first and last one. The peer's frame limit is the
 * caller's to check.
 */
uint8_t *l2t_batch_append(struct l2t_batch_writer *writer, uint32_t frame_bytes);

/**
 * Finishes the message: a lone frame as FRAME, several as BATCH, none as NULL. Returns where in
 * the room it starts and its bytes; the room is free again once that has been sent.
 */
const uint8_t *l2t_batch_end(struct l2t_batch_writer *writer, uint32_t *message_bytes);

#endif
