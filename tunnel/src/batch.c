#include "tunnel/batch.h"

#include "internal.h"

int32_t l2t_batch_open(struct l2t_batch_reader *reader, const uint8_t *payload,
                       uint32_t payload_bytes, uint32_t frame_max_bytes)
{
    const uint8_t *at = payload;
    uint32_t left = payload_bytes;
    int32_t frames = 0; /* an entry takes 3 bytes or more, so this cannot overflow */

    while (left != 0) {
        if (left < L2T_BATCH_ENTRY_HEAD_BYTES)
            return L2T_ERR_BATCH;
        const uint32_t bytes = l2t_be16(at);

        at += L2T_BATCH_ENTRY_HEAD_BYTES;
        left -= L2T_BATCH_ENTRY_HEAD_BYTES;
        if (bytes == 0 || bytes > left || bytes > frame_max_bytes)
            return L2T_ERR_BATCH;
        at += bytes;
        left -= bytes;
        frames++;
    }
    if (frames == 0)
        return L2T_ERR_BATCH;
    *reader = (struct l2t_batch_reader){.at = payload, .left_bytes = payload_bytes};
    return frames;
}

const uint8_t *l2t_batch_next(struct l2t_batch_reader *reader, uint32_t *frame_bytes)
{
    *frame_bytes = 0;
    if (reader->left_bytes < L2T_BATCH_ENTRY_HEAD_BYTES)
        return NULL;
    const uint32_t bytes = l2t_be16(reader->at);
    const uint8_t *frame = reader->at + L2T_BATCH_ENTRY_HEAD_BYTES;

    /* Checked again: the caller's buffer may have been rewritten since l2t_batch_open(). */
    if (bytes > reader->left_bytes - L2T_BATCH_ENTRY_HEAD_BYTES) {
        reader->left_bytes = 0;
        return NULL;
    }
    reader->at = frame + bytes;
    reader->left_bytes -= L2T_BATCH_ENTRY_HEAD_BYTES + bytes;
    *frame_bytes = bytes;
    return frame;
}

void l2t_batch_begin(struct l2t_batch_writer *writer, uint8_t *wire, uint32_t room_bytes,
                     uint32_t message_max_bytes)
{
    *writer = (struct l2t_batch_writer){
        .wire = wire,
        .room_bytes = room_bytes,
        .message_max_bytes = message_max_bytes,
        .used_bytes = L2T_HEADER_BYTES,
    };
}

uint8_t *l2t_batch_append(struct l2t_batch_writer *writer, uint32_t frame_bytes)
{
    const uint64_t used = (uint64_t)writer->used_bytes + L2T_BATCH_ENTRY_HEAD_BYTES + frame_bytes;
    uint64_t message_bytes = used;

    if (frame_bytes == 0 || used > writer->room_bytes)
        return NULL;
    if (writer->frames == 0) /* alone it goes as FRAME, two bytes shorter and of any length */
        message_bytes -= L2T_BATCH_ENTRY_HEAD_BYTES;
    else if (frame_bytes > L2T_BATCH_ENTRY_MAX || writer->sole)
        return NULL;
    if (message_bytes > writer->message_max_bytes)
        return NULL;
    uint8_t *entry = writer->wire + writer->used_bytes;
    l2t_put_be16(entry, (uint16_t)frame_bytes); /* overwritten when it stays alone */
    writer->used_bytes = (uint32_t)used;
    writer->frames++;
    writer->sole = frame_bytes > L2T_BATCH_ENTRY_MAX;
    return entry + L2T_BATCH_ENTRY_HEAD_BYTES;
}

const uint8_t *l2t_batch_end(struct l2t_batch_writer *writer, uint32_t *message_bytes)
{
    *message_bytes = 0;
    if (writer->frames == 0)
        return NULL;
    if (writer->frames > 1) {
        l2t_encode_header(writer->wire, L2T_BATCH);
        *message_bytes = writer->used_bytes;
        return writer->wire;
    }
    /* The FRAME header takes the place of the entry's length and of the two bytes before it. */
    uint8_t *start = writer->wire + L2T_BATCH_ENTRY_HEAD_BYTES;
    l2t_encode_header(start, L2T_FRAME);
    *message_bytes = writer->used_bytes - L2T_BATCH_ENTRY_HEAD_BYTES;
    return start;
}
