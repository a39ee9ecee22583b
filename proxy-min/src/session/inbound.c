/* inbound.c - from the client: one read, all its messages, one nat_flush() (§t3-§t6, §p4). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "session/internal.h"
#include "tunnel/batch.h"
#include "tunnel/super.h"

/* What one read adds up to; counted once. */
struct tally {
    uint64_t messages, frames, frame_bytes;
};

static void violation(struct session *session, int error, const uint8_t *wire, size_t bytes)
{
    char text[L2T_TEXT_BYTES];

    l2t_decode_text(text, error, wire, bytes, &session->limits);
    metric_add(&session->env->metrics->frames_dropped, 1);
    metric_add(&session->env->metrics->violations, 1);
    session_close(session, L2T_CODE_PROTOCOL_ERROR, WS_CODE_POLICY, text);
}

/* §p2.4, §p4: text messages count too. Returns false when a quota is used up. */
static bool within_quota(struct session *session, size_t bytes, uint64_t messages, uint64_t now_us)
{
    const struct config *config = session->env->config;
    struct metrics *metrics = session->env->metrics;

    session->quota_bytes += bytes;
    if (config->max_bytes_per_connection != 0 &&
        session->quota_bytes > config->max_bytes_per_connection) {
        metric_add(&metrics->closed_quota_bytes, 1);
        session_close(session, L2T_CODE_QUOTA_BYTES, WS_CODE_POLICY, "byte quota exceeded");
        return false;
    }
    if (now_us - session->window_start_us >= 1000000) {
        session->window_start_us = now_us;
        session->window_messages = 0;
    }
    session->window_messages += messages;
    if (config->max_frames_per_second != 0 &&
        session->window_messages > config->max_frames_per_second) {
        metric_add(&metrics->closed_quota_fps, 1);
        session_close(session, L2T_CODE_QUOTA_FPS, WS_CODE_POLICY, "frame rate quota exceeded");
        return false;
    }
    return true;
}

static void take_frame(struct session *session, const uint8_t *frame, uint32_t bytes,
                       struct tally *tally, uint64_t now_us)
{
    tally->frames++;
    tally->frame_bytes += bytes;
    session->nat_pending = true;
    nat_input(session->client.nat, frame, bytes, now_us);
}

/* l2-extensions.md §2: a malformed one delivers nothing; quotas count each frame. */
static void take_batch(struct session *session, const struct ws_event *event,
                       const struct l2t_message *message, struct tally *tally, uint64_t now_us)
{
    struct l2t_batch_reader reader;
    const int32_t frames = l2t_batch_open(&reader, message->payload, message->payload_bytes,
                                          session->limits.frame_max_bytes);
    const uint8_t *frame;
    uint32_t bytes;

    if (frames < 0) {
        violation(session, frames, event->data, event->bytes);
        return;
    }
    if (frames > 1 && !within_quota(session, 0, (uint64_t)frames - 1, now_us))
        return;
    metric_add(&session->env->metrics->batches_rx, 1);
    while ((frame = l2t_batch_next(&reader, &bytes)) != NULL)
        take_frame(session, frame, bytes, tally, now_us);
}

/* l2-extensions.md §6: one message, one frame, for the quotas too. */
static void take_super(struct session *session, const struct ws_event *event,
                       const struct l2t_message *message, struct tally *tally, uint64_t now_us)
{
    struct l2t_super super;
    const int error = l2t_super_parse(&super, message->payload, message->payload_bytes,
                                      session->limits.super_max_bytes);

    if (error != 0) {
        violation(session, error, event->data, event->bytes);
        return;
    }
    tally->frames++;
    tally->frame_bytes += super.frame_bytes;
    metric_add(&session->env->metrics->supers_rx, 1);
    session->nat_pending = true;
    nat_input_super(session->client.nat, super.frame, super.frame_bytes, now_us);
}

static void take_tunnel_message(struct session *session, const struct ws_event *event,
                                struct tally *tally, uint64_t now_us)
{
    struct l2t_message message;
    int error = l2t_decode(&message, event->data, event->bytes, &session->limits);

    if (error == 0 && message.type == L2T_HELLO)
        error = session_hello(session, message.payload, message.payload_bytes);
    if (error != 0) {
        violation(session, error, event->data, event->bytes);
        return;
    }
    switch (message.type) {
    case L2T_FRAME:
        take_frame(session, message.payload, message.payload_bytes, tally, now_us);
        break;
    case L2T_PING:
        if (!session_send_control(session, L2T_PONG, message.payload, message.payload_bytes))
            session->verdict = VERDICT_BACKPRESSURE;
        break;
    case L2T_PONG:
        session_pong_received(session, message.payload, message.payload_bytes, now_us);
        break;
    case L2T_BATCH:
        if (session->limits.message_max_bytes != 0) /* else unknown: nobody announced it */
            take_batch(session, event, &message, tally, now_us);
        break;
    case L2T_SUPER:
        if (session->limits.super_max_bytes != 0)
            take_super(session, event, &message, tally, now_us);
        break;
    default: /* ERROR is ignored (§t5), unknown types are dropped silently (§t6) */
        break;
    }
}

static void take_message(struct session *session, const struct ws_event *event, struct tally *tally,
                         uint64_t now_us)
{
    tally->messages++;
    if (!within_quota(session, event->bytes, 1, now_us))
        return;
    if (event->opcode != WS_BINARY)
        return; /* §t6: text is ignored */
    take_tunnel_message(session, event, tally, now_us);
    /* Frames of a reassembled message lie in the one assembly buffer: the next fragmented
     * message overwrites it. */
    if (event->assembled && session->nat_pending) {
        session->nat_pending = false;
        nat_flush(session->client.nat, now_us);
    }
}

static void take_control(struct session *session, const struct ws_event *event)
{
    switch (event->opcode) {
    case WS_CLOSE:
        session->peer_closed = true;
        session_close(session, 0, event->code, ""); /* RFC 6455 §5.5.1: echo the code */
        break;
    case WS_PING:
        session_batch_close(session);
        /* §5.5.3: answering only the latest ping is allowed, so one waiting pong is enough. */
        session->has_pong = !ws_out_push(&session->out, WS_PONG,
                                         &(struct iovec){event->data, event->bytes}, 1, false);
        if (session->has_pong) {
            memcpy(session->pong, event->data, event->bytes);
            session->pong_bytes = (uint32_t)event->bytes;
        }
        break;
    default:
        break;
    }
}

/* Of the exact size: ws_next() refuses a frame above the cap at its header, so that is the bound,
 * and a client between two frames costs nothing. */
static void keep_partial(struct session *session, const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return;
    session->partial = malloc(bytes);
    if (session->partial == NULL) {
        session->verdict = VERDICT_BROKEN;
        return;
    }
    memcpy(session->partial, data, bytes);
    session->partial_bytes = (uint32_t)bytes;
}

size_t session_take_partial(struct session *session)
{
    const size_t bytes = session->partial_bytes;

    if (bytes != 0)
        memcpy(session->env->read_buffer, session->partial, bytes);
    free(session->partial);
    session->partial = NULL;
    session->partial_bytes = 0;
    return bytes;
}

void session_feed(struct session *session, uint8_t *data, size_t bytes)
{
    const uint64_t now_us = session_now_us();
    struct metrics *metrics = session->env->metrics;
    struct tally tally = {0};
    enum ws_result result = WS_PROGRESS;
    size_t at = 0;

    session->last_inbound_us = now_us;
    while (!session->discard_only && !session->peer_closed) {
        struct ws_event event;
        size_t used;

        result = ws_next(&session->in, data + at, bytes - at, &used, &event);
        at += used;
        if (result == WS_NEED_MORE)
            break;
        if (result == WS_FAIL) {
            session->discard_only = true;
            metric_add(&metrics->violations, 1);
            session_close(session, 0, event.code, event.reason);
        } else if (result == WS_MESSAGE && session->state == SESSION_OPEN) {
            take_message(session, &event, &tally, now_us);
        } else if (result == WS_CONTROL &&
                   (session->state == SESSION_OPEN || event.opcode == WS_CLOSE)) {
            take_control(session, &event);
        }
    }
    if (session->nat_pending) {
        session->nat_pending = false;
        nat_flush(session->client.nat, now_us);
    }
    if (result == WS_NEED_MORE)
        keep_partial(session, data + at, bytes - at);
    metric_add(&metrics->ws_messages_rx, tally.messages);
    metric_add(&metrics->frames_rx, tally.frames);
    metric_add(&metrics->bytes_rx, tally.frame_bytes);
}

void session_readable(struct session *session)
{
    uint8_t *buffer = session->env->read_buffer;
    size_t kept = session->partial_bytes; /* moved there once something came */
    const ssize_t got = recv(session->fd, buffer + kept, SESSION_READ_BYTES - kept, 0);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        session_end(session);
        return;
    }
    metric_add(&session->env->metrics->ws_reads, 1);
    kept = session_take_partial(session);
    session_feed(session, buffer, kept + (size_t)got);
}
