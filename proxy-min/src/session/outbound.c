/* outbound.c - to the client: frames built in place, control messages, one write for all. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "session/internal.h"
#include "tunnel/batch.h"

static void count_sent(struct session *session, uint64_t payload_bytes)
{
    const uint64_t limit = session->env->config->max_bytes_per_connection;

    session->quota_bytes += payload_bytes;
    if (limit != 0 && session->quota_bytes > limit && session->verdict == VERDICT_NONE)
        session->verdict = VERDICT_QUOTA_BYTES;
}

void session_count_message(struct session *session, uint64_t payload_bytes)
{
    metric_add(&session->env->metrics->ws_messages_tx, 1);
    count_sent(session, payload_bytes);
}

bool session_write(struct session *session)
{
    session_batch_close(session);
    const uint32_t waiting = ws_out_waiting(&session->out);

    if (waiting == 0 || session->verdict == VERDICT_BROKEN)
        return false;
    const ssize_t sent = send(session->fd, session->out.base + session->out.head, waiting,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        session->write_blocked = true;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            session->verdict = VERDICT_BROKEN;
        return false;
    }
    session->write_blocked = (uint32_t)sent < waiting;
    session->stalled_since_us = 0;
    ws_out_written(&session->out, (uint32_t)sent);
    metric_add(&session->env->metrics->ws_writes, 1);
    return true;
}

/* A message for each frame, which begins `head_bytes` into it. */
static uint32_t reserve_messages(struct session *session, uint32_t payload_bytes,
                                 uint32_t head_bytes, uint32_t count, uint8_t **places)
{
    uint32_t room = ws_out_room(&session->out, payload_bytes, count);

    if (room < count && !session->write_blocked && session_write(session))
        room = ws_out_room(&session->out, payload_bytes, count);
    const uint32_t header_bytes = ws_header_bytes(payload_bytes);
    uint8_t *at = session->out.base + session->out.tail;
    for (uint32_t i = 0; i < room; i++, at += header_bytes + payload_bytes)
        places[i] = at + header_bytes + head_bytes;
    return room;
}

static void out_of_room(struct session *session)
{
    session->nat_waiting = true;
    if (session->stalled_since_us == 0 && session->write_blocked)
        session->stalled_since_us = session_now_us();
    session_touch(session);
}

static uint32_t frame_reserve(void *context, uint32_t bytes, uint32_t count, uint8_t **places)
{
    struct session *session = context;
    const uint32_t payload_bytes = L2T_HEADER_BYTES + bytes;

    if (bytes > session->send_frame_max_bytes) {
        metric_add(&session->env->metrics->frames_dropped, 1);
        return 0;
    }
    /* A frame that fills a message alone goes as FRAME. */
    session->reserved_in_batch =
        payload_bytes + L2T_BATCH_ENTRY_HEAD_BYTES <= session->batch_max_bytes;
    if (!session->reserved_in_batch)
        session_batch_close(session);
    const uint32_t room =
        session->reserved_in_batch
            ? session_batch_reserve(session, bytes, count, places)
            : reserve_messages(session, payload_bytes, L2T_HEADER_BYTES, count, places);
    if (room < count)
        out_of_room(session);
    session->reserved_bytes = bytes;
    session->reserved_count = room;
    return room;
}

/* One frame whose bytes lie where a reservation said, `bytes` of them, `head_bytes` into its
 * message. Returns where these are. */
static uint8_t *finish_message(struct session *session, enum l2t_type type, uint32_t head_bytes,
                               uint32_t bytes)
{
    struct ws_out *out = &session->out;
    const uint32_t reserved_header = ws_header_bytes(head_bytes + session->reserved_bytes);
    const uint32_t header_bytes = ws_header_bytes(head_bytes + bytes);
    uint8_t *at = out->base + out->tail;

    /* A last frame much shorter than its place has a shorter header (RFC 6455 §5.2: minimal
     * length); it moves up so that the stream has no hole. */
    if (header_bytes != reserved_header)
        memmove(at + header_bytes + head_bytes, at + reserved_header + head_bytes, bytes);
    ws_header_write(at, WS_BINARY, head_bytes + bytes);
    l2t_encode_header(at + header_bytes, type);
    ws_out_commit(out, out->tail + header_bytes + head_bytes + bytes);
    return at + header_bytes;
}

static void finish_frame(struct session *session, uint32_t bytes)
{
    finish_message(session, L2T_FRAME, L2T_HEADER_BYTES, bytes);
}

static void frame_commit(void *context, uint32_t count, uint32_t last_bytes)
{
    struct session *session = context;
    struct metrics *metrics = session->env->metrics;

    if (count > session->reserved_count)
        count = session->reserved_count;
    session->reserved_count = 0;
    if (count == 0)
        return;
    const uint64_t frame_bytes = (uint64_t)(count - 1) * session->reserved_bytes + last_bytes;
    if (session->reserved_in_batch) {
        session_batch_commit(session, session->reserved_bytes, count, last_bytes);
    } else {
        for (uint32_t i = 0; i + 1 < count; i++)
            finish_frame(session, session->reserved_bytes);
        finish_frame(session, last_bytes);
        metric_add(&metrics->ws_messages_tx, count);
        count_sent(session, frame_bytes + (uint64_t)count * L2T_HEADER_BYTES);
    }
    metric_add(&metrics->frames_tx, count);
    metric_add(&metrics->bytes_tx, frame_bytes);
    session_touch(session);
}

/* l2-extensions.md §6: in a message of its own, behind what waits. */
static uint8_t *super_reserve(void *context, uint32_t bytes)
{
    struct session *session = context;
    uint8_t *place;

    session_batch_close(session);
    session->reserved_bytes = bytes;
    session->reserved_count =
        reserve_messages(session, SUPER_HEAD_BYTES + bytes, SUPER_HEAD_BYTES, 1, &place);
    if (session->reserved_count != 0)
        return place;
    out_of_room(session);
    return NULL;
}

static void super_commit(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct session *session = context;
    struct metrics *metrics = session->env->metrics;

    if (session->reserved_count == 0)
        return;
    session->reserved_count = 0;
    if (bytes == 0)
        return;
    uint8_t *message = finish_message(session, L2T_SUPER, SUPER_HEAD_BYTES, bytes);
    message[L2T_HEADER_BYTES] = (uint8_t)(gso_bytes >> 8);
    message[L2T_HEADER_BYTES + 1] = (uint8_t)gso_bytes;
    session_count_message(session, (uint64_t)SUPER_HEAD_BYTES + bytes);
    metric_add(&metrics->supers_tx, 1);
    metric_add(&metrics->frames_tx, 1);
    metric_add(&metrics->bytes_tx, bytes);
    session_touch(session);
}

void session_bind_frames(struct session *session, struct nat_host *ops)
{
    (void)session;
    ops->frame_reserve = frame_reserve;
    ops->frame_commit = frame_commit;
    ops->super_reserve = super_reserve;
    ops->super_commit = super_commit;
}

static bool send_message(struct session *session, enum l2t_type type, const uint8_t *payload,
                         uint32_t payload_bytes, bool bypass)
{
    uint8_t header[L2T_HEADER_BYTES];
    const struct iovec parts[2] = {{header, sizeof header},
                                   {(void *)(uintptr_t)payload, payload_bytes}};

    l2t_encode_header(header, type);
    session_batch_close(session);
    if (!ws_out_push(&session->out, WS_BINARY, parts, 2, bypass)) {
        /* The queue may only be full because this wake-up has not written yet. */
        if (bypass || session->write_blocked || !session_write(session) ||
            !ws_out_push(&session->out, WS_BINARY, parts, 2, false))
            return false;
    }
    session_count_message(session, L2T_HEADER_BYTES + payload_bytes);
    return true;
}

bool session_send_control(struct session *session, enum l2t_type type, const uint8_t *payload,
                          uint32_t payload_bytes)
{
    return send_message(session, type, payload, payload_bytes, false);
}

void session_send_error(struct session *session, uint16_t code, const char *text)
{
    uint8_t payload[256];
    const uint32_t limit = session->limits.control_max_bytes < sizeof payload
                               ? session->limits.control_max_bytes
                               : (uint32_t)sizeof payload;
    const uint32_t bytes = l2t_error_encode(payload, limit, code, text);

    send_message(session, L2T_ERROR, payload, bytes, true);
}

void session_ping(struct session *session, uint64_t now_us)
{
    const uint64_t interval_us = session->env->config->ping_interval_ms * UINT64_C(1000);
    uint8_t payload[8];

    session->ping_due_us = now_us + interval_us;
    /* §t8: one outstanding; it is replaced when unanswered for three intervals. */
    if (session->ping_outstanding && now_us - session->ping_sent_us < 3 * interval_us)
        return;
    session->ping_id++;
    for (int i = 0; i < 8; i++)
        payload[i] = (uint8_t)(session->ping_id >> (56 - 8 * i));
    if (!session_send_control(session, L2T_PING, payload, sizeof payload))
        return; /* a full queue is judged elsewhere; the next interval tries again */
    session->ping_outstanding = true;
    session->ping_sent_us = now_us;
}

void session_pong_received(struct session *session, const uint8_t *payload, uint32_t bytes,
                           uint64_t now_us)
{
    uint64_t id = 0;

    if (!session->ping_outstanding || bytes != 8)
        return;
    for (int i = 0; i < 8; i++)
        id = id << 8 | payload[i];
    if (id != session->ping_id)
        return;
    session->ping_outstanding = false;
    metrics_rtt(session->env->metrics, now_us - session->ping_sent_us);
}
