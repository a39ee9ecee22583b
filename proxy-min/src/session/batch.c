/*
 * batch.c - frames to a client that announced BATCH (spec/l2-extensions.md §2): all frames of one
 *           wake-up in as few messages as it accepts, built in place in the outbound queue.
 *
 * The open message lies behind the queue's tail with room for a 4-byte WebSocket header, and
 * becomes part of the queue when it is closed: before a write, before any other message. A lone
 * frame then turns into a FRAME message.
 */
#include <string.h>

#include "session/internal.h"
#include "tunnel/batch.h"

enum {
    WS_HEADER = 4, /* payloads of 126 to 65535 bytes */
    HEAD = WS_HEADER + L2T_HEADER_BYTES,
    MESSAGE_MAX = 65535,
    MESSAGE_MIN = L2T_HEADER_BYTES + L2T_FRAME_MAX_DEFAULT, /* below it batching is no use */
};

void session_batch_announced(struct session *session, uint32_t message_max_bytes)
{
    const uint32_t queue_bytes = (session->out.capacity_bytes - session->out.bypass_bytes) / 2;

    if (message_max_bytes > MESSAGE_MAX)
        message_max_bytes = MESSAGE_MAX;
    if (message_max_bytes + HEAD > queue_bytes)
        message_max_bytes = queue_bytes - HEAD;
    if (message_max_bytes >= MESSAGE_MIN)
        session->batch_max_bytes = message_max_bytes;
}

static struct batch_layout begin(const struct session *session)
{
    struct batch_layout layout = session->batch;

    layout.slots = session->out.limit - session->out.count;
    if (layout.frames == 0)
        layout.start = session->out.tail;
    else if (layout.slots != 0)
        layout.slots--;
    return layout;
}

/* Where the next frame of `bytes` goes; false: the queue is full. */
static bool next_place(const struct session *session, struct batch_layout *layout, uint32_t bytes,
                       uint32_t *place)
{
    const uint32_t entry_bytes = L2T_BATCH_ENTRY_HEAD_BYTES + bytes;

    if (layout->frames != 0 && layout->used_bytes + entry_bytes > session->batch_max_bytes) {
        layout->start += WS_HEADER + layout->used_bytes;
        layout->frames = 0;
    }
    if (layout->frames == 0) {
        if (layout->slots == 0)
            return false;
        layout->slots--;
        layout->used_bytes = L2T_HEADER_BYTES;
    }
    const uint32_t at = layout->start + WS_HEADER + layout->used_bytes;
    if (at + entry_bytes > session->out.capacity_bytes - session->out.bypass_bytes)
        return false;
    *place = at + L2T_BATCH_ENTRY_HEAD_BYTES;
    layout->used_bytes += entry_bytes;
    layout->frames++;
    return true;
}

static uint32_t give_places(struct session *session, uint32_t bytes, uint32_t count,
                            uint8_t **places)
{
    /* An open message that cannot take one more ends here, so that messages which end in the
     * middle of a reservation are always long enough for their 4-byte header. */
    if (session->batch.frames != 0 &&
        session->batch.used_bytes + L2T_BATCH_ENTRY_HEAD_BYTES + bytes > session->batch_max_bytes)
        session_batch_close(session);
    struct batch_layout layout = begin(session);
    uint32_t given = 0, place;

    while (given < count && next_place(session, &layout, bytes, &place))
        places[given++] = session->out.base + place;
    return given;
}

uint32_t session_batch_reserve(struct session *session, uint32_t bytes, uint32_t count,
                               uint8_t **places)
{
    ws_out_hold(&session->out);
    uint32_t given = give_places(session, bytes, count, places);

    if (given < count) { /* make room: out with what waits, and the rest to the front */
        session_batch_close(session);
        if (!session->write_blocked)
            session_write(session);
        ws_out_compact(&session->out);
        given = give_places(session, bytes, count, places);
    }
    return given;
}

static void finish(struct session *session, const struct batch_layout *layout)
{
    uint8_t *at = session->out.base + layout->start;

    ws_header_write(at, WS_BINARY, layout->used_bytes);
    l2t_encode_header(at + WS_HEADER, L2T_BATCH);
    ws_out_commit(&session->out, layout->start + WS_HEADER + layout->used_bytes);
    session_count_message(session, layout->used_bytes);
    metric_add(&session->env->metrics->batches_tx, 1);
}

void session_batch_commit(struct session *session, uint32_t bytes, uint32_t count,
                          uint32_t last_bytes)
{
    struct batch_layout layout = begin(session);

    for (uint32_t i = 0; i < count; i++) {
        const struct batch_layout before = layout;
        const uint32_t frame_bytes = i + 1 == count ? last_bytes : bytes;
        uint32_t place;

        if (!next_place(session, &layout, bytes, &place))
            break; /* cannot be: the same steps gave the places */
        if (before.frames != 0 && layout.start != before.start)
            finish(session, &before);
        session->out.base[place - 2] = (uint8_t)(frame_bytes >> 8);
        session->out.base[place - 1] = (uint8_t)frame_bytes;
        layout.used_bytes -= bytes - frame_bytes;
    }
    session->batch = layout;
}

void session_batch_close(struct session *session)
{
    struct ws_out *out = &session->out;
    struct batch_layout *batch = &session->batch;

    if (batch->frames == 0)
        return;
    const bool lone = batch->frames == 1;
    const uint32_t skipped = lone ? L2T_BATCH_ENTRY_HEAD_BYTES : 0;
    const uint32_t payload_bytes = batch->used_bytes - skipped;
    const uint32_t header_bytes = ws_header_bytes(payload_bytes);
    const uint32_t data_bytes = payload_bytes - L2T_HEADER_BYTES;
    const uint32_t shift = skipped + WS_HEADER - header_bytes;
    uint32_t start = batch->start;
    uint8_t *data = out->base + start + HEAD + skipped;

    /* Shorter headers leave a hole in front. Nothing waiting before it: begin behind the hole. */
    if (shift != 0 && out->head == out->tail) {
        start += shift;
        out->head = out->tail = start;
    } else if (shift != 0) {
        memmove(data - shift, data, data_bytes);
    }
    ws_header_write(out->base + start, WS_BINARY, payload_bytes);
    l2t_encode_header(out->base + start + header_bytes, lone ? L2T_FRAME : L2T_BATCH);
    ws_out_commit(out, start + header_bytes + payload_bytes);
    session_count_message(session, payload_bytes);
    if (!lone)
        metric_add(&session->env->metrics->batches_tx, 1);
    batch->frames = 0;
}
