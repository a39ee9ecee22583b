/* session.c - a tunnel's life: open, settle after each wake-up, close, end (§t7, §t8). */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/internal.h"

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

void session_touch(struct session *session)
{
    if (session->state != SESSION_ENDED)
        session->env->touched(session->env->context, session);
}

static void client_touched(struct host_client *client)
{
    session_touch((struct session *)client);
}

struct session_links *session_links(struct session *session)
{
    return &session->links;
}

static void release(struct session *session)
{
    ws_in_free(&session->in);
    ws_out_free(&session->out);
    free(session->partial);
    free(session);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;

    if (--session->handles == 0)
        release(session);
}

static struct l2t_limits limits_of(const struct config *config)
{
    return (struct l2t_limits){.frame_max_bytes = config->frame_max_bytes,
                               .control_max_bytes = config->control_max_bytes};
}

static uint32_t transport_cap_bytes(const struct l2t_limits *limits) /* §t4 */
{
    const uint32_t larger = limits->frame_max_bytes > limits->control_max_bytes
                                ? limits->frame_max_bytes
                                : limits->control_max_bytes;
    return L2T_HEADER_BYTES + larger;
}

void session_pool_init(struct ws_pool *pool, const struct config *config)
{
    const struct l2t_limits limits = limits_of(config);

    ws_pool_init(pool, config->ws_send_buffer, transport_cap_bytes(&limits),
                 SUPER_HEAD_BYTES + session_frame_most(config));
}

/* Everything but the libuv handles; false: memory ran out, all of it was given back. */
static bool allocate(struct session *session)
{
    const struct config *config = session->env->config;
    struct nat_host ops = {.context = &session->client, .batch = session->env->batch};

    ws_in_init(&session->in, transport_cap_bytes(&session->limits));
    if (!ws_out_init(&session->out, session->env->outbound))
        return false;
    host_bind(session->env->host, &session->client, &ops);
    session_bind_frames(session, &ops);
    session->client.touched = client_touched;
    session->client.nat =
        nat_open(&config->nat, &ops, &session->env->metrics->nat, session_now_us());
    return session->client.nat != NULL;
}

struct session *session_open(const struct session_env *env, int fd, const uint8_t *extra,
                             size_t extra_bytes)
{
    const struct config *config = env->config;
    struct session *session = calloc(1, sizeof *session);

    if (session == NULL)
        return NULL;
    session->env = env;
    session->fd = fd;
    session->limits = limits_of(config);
    session->timer_due_us = UINT64_MAX;
    session->nat_due_us = UINT64_MAX;
    session->send_frame_max_bytes = config->frame_max_bytes;
    if (!allocate(session)) {
        release(session);
        return NULL;
    }
    const uint64_t now_us = session_now_us();
    session->last_inbound_us = now_us;
    session->window_start_us = now_us;
    session->ping_due_us = config->ping_interval_ms != 0 ? now_us : UINT64_MAX;

    if (uv_poll_init(env->loop, &session->poll, fd) != 0) {
        nat_close(session->client.nat);
        host_forget(&session->client);
        release(session);
        return NULL;
    }
    uv_timer_init(env->loop, &session->timer);
    session->handles = 2;
    session->poll.data = session;
    session->timer.data = session;
    session->poll_events = UV_READABLE;
    uv_poll_start(&session->poll, session->poll_events, on_poll);

    for (size_t at = 0; at < extra_bytes && session->state == SESSION_OPEN;) {
        /* The head buffer of the listener is smaller than the read buffer; see http/. */
        const size_t kept = session_take_partial(session);
        const size_t room = SESSION_READ_BYTES - kept;
        const size_t bytes = extra_bytes - at < room ? extra_bytes - at : room;
        memcpy(env->read_buffer + kept, extra + at, bytes);
        session_feed(session, env->read_buffer, kept + bytes);
        at += bytes;
    }
    session_touch(session);
    return session;
}

static void leave_nat(struct session *session)
{
    if (session->client.nat == NULL)
        return;
    nat_close(session->client.nat);
    session->client.nat = NULL;
    session->nat_waiting = false;
    session->nat_pending = false;
    host_forget(&session->client);
}

void session_end(struct session *session)
{
    if (session->state == SESSION_ENDED)
        return;
    leave_nat(session);
    session->state = SESSION_ENDED;
    uv_close((uv_handle_t *)&session->poll, on_handle_closed);
    uv_close((uv_handle_t *)&session->timer, on_handle_closed);
    /* The listener closes the descriptor a moment later; the peer should not wait for that. */
    shutdown(session->fd, SHUT_RDWR);
    session->env->ended(session->env->context, session);
}

void session_close(struct session *session, uint16_t error_code, uint16_t close_code,
                   const char *reason)
{
    if (session->state != SESSION_OPEN)
        return;
    if (session->nat_pending) { /* what came before in the same read still takes effect */
        session->nat_pending = false;
        nat_flush(session->client.nat, session_now_us());
    }
    leave_nat(session);
    session_batch_close(session);
    session->state = SESSION_CLOSING;
    session->close_deadline_us = session_now_us() + SESSION_CLOSE_MS * UINT64_C(1000);
    if (error_code != 0)
        session_send_error(session, error_code, reason);
    ws_out_push_close(&session->out, close_code, reason);
    session_touch(session);
}

void session_shutdown(struct session *session)
{
    session_close(session, 0, WS_CODE_GOING_AWAY, "shutting down");
}

void session_abort(struct session *session)
{
    session_end(session);
}

/* Verdicts noted below the NAT become closes here. */
static void execute_verdict(struct session *session)
{
    struct metrics *metrics = session->env->metrics;

    switch (session->verdict) {
    case VERDICT_NONE:
        return;
    case VERDICT_BROKEN:
        session_end(session);
        return;
    case VERDICT_QUOTA_BYTES:
        if (session->state == SESSION_OPEN)
            metric_add(&metrics->closed_quota_bytes, 1);
        session_close(session, L2T_CODE_QUOTA_BYTES, WS_CODE_POLICY, "byte quota exceeded");
        break;
    case VERDICT_BACKPRESSURE:
        if (session->state == SESSION_OPEN)
            metric_add(&metrics->closed_backpressure, 1);
        session_close(session, L2T_CODE_BACKPRESSURE, WS_CODE_POLICY,
                      "outbound websocket backpressure");
        break;
    }
    session->verdict = VERDICT_NONE;
}

static void run_clocks(struct session *session, uint64_t now_us)
{
    const struct config *config = session->env->config;
    const uint64_t idle_us = config->idle_timeout_ms * UINT64_C(1000);

    if (session->stalled_since_us != 0 &&
        now_us - session->stalled_since_us >= SESSION_STALL_MS * UINT64_C(1000))
        session->verdict = VERDICT_BACKPRESSURE;
    if (idle_us != 0 && now_us - session->last_inbound_us >= idle_us) {
        metric_add(&session->env->metrics->idle_timeouts, 1);
        session_close(session, 0, WS_CODE_POLICY, "idle timeout");
        return;
    }
    if (now_us >= session->ping_due_us)
        session_ping(session, now_us);
    session->nat_due_us = nat_tick(session->client.nat, now_us);
}

/* Writing makes room, room lets the NAT continue, which gives more to write: bounded. */
static void pump_out(struct session *session, uint64_t now_us)
{
    for (int round = 0; round < SESSION_SETTLE_ROUNDS; round++) {
        const bool progress = session_write(session);

        if (session->verdict == VERDICT_BROKEN)
            return;
        if (session->has_pong &&
            ws_out_push(&session->out, WS_PONG, &(struct iovec){session->pong, session->pong_bytes},
                        1, false))
            session->has_pong = false;
        if (session->nat_waiting && (progress || !session->write_blocked)) {
            session->nat_waiting = false;
            nat_writable(session->client.nat, now_us);
        } else if (!progress) {
            return;
        }
        if (ws_out_waiting(&session->out) == 0 && session->batch.frames == 0)
            return;
    }
}

static uint64_t next_due_us(const struct session *session)
{
    const uint64_t idle_us = session->env->config->idle_timeout_ms * UINT64_C(1000);
    uint64_t due = session->nat_due_us;

    if (session->state == SESSION_CLOSING)
        return session->close_deadline_us;
    if (session->ping_due_us < due)
        due = session->ping_due_us;
    if (idle_us != 0 && session->last_inbound_us + idle_us < due)
        due = session->last_inbound_us + idle_us;
    if (session->stalled_since_us != 0 &&
        session->stalled_since_us + SESSION_STALL_MS * UINT64_C(1000) < due)
        due = session->stalled_since_us + SESSION_STALL_MS * UINT64_C(1000);
    return due;
}

/* A timer armed too early is left alone: it finds nothing due and is armed anew. */
static void arm_timer(struct session *session, uint64_t now_us)
{
    const uint64_t due_us = next_due_us(session);

    if (due_us == UINT64_MAX || due_us >= session->timer_due_us)
        return;
    const uint64_t wait_ms = due_us > now_us ? (due_us - now_us + 999) / 1000 : 0;
    session->timer_due_us = due_us;
    uv_update_time(session->env->loop);
    uv_timer_start(&session->timer, on_timer, wait_ms, 0);
}

static void arm_poll(struct session *session)
{
    int events = UV_READABLE;

    if (ws_out_waiting(&session->out) != 0 || session->nat_waiting || session->has_pong)
        events |= UV_WRITABLE;
    if (session->write_ended)
        events &= ~UV_WRITABLE;
    if (events != session->poll_events) {
        session->poll_events = events;
        uv_poll_start(&session->poll, events, on_poll);
    }
}

/* §t7: everything was said; what remains is the peer's turn, or the deadline's. */
static void settle_closing(struct session *session, uint64_t now_us)
{
    if (now_us >= session->close_deadline_us) {
        session_end(session);
        return;
    }
    if (ws_out_waiting(&session->out) != 0)
        return;
    if (session->peer_closed) {
        session_end(session);
        return;
    }
    if (session->discard_only && !session->write_ended) {
        session->write_ended = true;
        shutdown(session->fd, SHUT_WR);
    }
}

void session_settle(struct session *session)
{
    const uint64_t now_us = session_now_us();

    if (session->state == SESSION_ENDED)
        return;
    if (session->state == SESSION_OPEN)
        run_clocks(session, now_us);
    pump_out(session, now_us);
    execute_verdict(session);
    if (session->state == SESSION_CLOSING) {
        session_write(session);
        if (session->verdict == VERDICT_BROKEN) {
            session_end(session);
            return;
        }
        settle_closing(session, now_us);
    }
    if (session->state == SESSION_ENDED)
        return;
    session_batch_close(session); /* what the last round left open must be seen as waiting */
    if (ws_out_waiting(&session->out) == 0)
        ws_out_rest(&session->out);
    arm_poll(session);
    arm_timer(session, now_us);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *session = timer->data;

    session->timer_due_us = UINT64_MAX;
    session_touch(session);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct session *session = poll->data;

    if (status != 0) {
        session_end(session);
        return;
    }
    if ((events & UV_READABLE) != 0)
        session_readable(session);
    session_touch(session); /* writable: settling writes */
}
