/*
 * session.h - one guest's tunnel: joins the WebSocket, the tunnel codec and the NAT.
 *
 * Source   spec/l2-tunnel.md §3-§8, spec/l2-proxy.md §4 (cited as §t and §p in the sources).
 * Memory   session_open() allocates everything the tunnel will ever use.
 * Threads  A session lives on one worker's loop.
 * Hostile  Every byte from the client; see ws.h, codec.h and nat.h for who refuses what.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <uv.h>

#include "config/config.h"
#include "host/host.h"
#include "metrics/metrics.h"
#include "ws/ws.h"

struct session;

enum { SESSION_READ_BYTES = 512 * 1024 };

/* What a worker lends its sessions. */
struct session_env {
    uv_loop_t *loop;
    struct host *host;
    const struct config *config;
    struct metrics *metrics;
    uint8_t *read_buffer;     /* SESSION_READ_BYTES, one for all: used only inside a read */
    struct ws_pool *outbound; /* session_pool_init() */
    struct nat_batch *batch;
    void *context;
    /* The session wants session_settle() before the loop sleeps; repeated calls are one. */
    void (*touched)(void *context, struct session *session);
    /* The socket is no longer watched and may be closed; the session is freed afterwards. */
    void (*ended)(void *context, struct session *session);
};

/* Links for the worker's lists; the session does not look at them. */
struct session_links {
    struct session *prev, *next;
    struct session *touched_next;
    bool is_touched;
    void *owner; /* the connection handle given back to the listener */
};

/** Buffers for the queues of one worker's sessions; ws_pool_free() once they ended. */
void session_pool_init(struct ws_pool *pool, const struct config *config);

/**
 * Takes over a socket whose upgrade was answered; `extra` are bytes that came with the head.
 * Returns NULL when memory ran out; the socket is untouched then.
 */
struct session *session_open(const struct session_env *env, int fd, const uint8_t *extra,
                             size_t extra_bytes);

struct session_links *session_links(struct session *session);

/** Timers due, gathered output written, the next timer armed. */
void session_settle(struct session *session);

/** Process shutdown: 1001 "shutting down" (§t7). */
void session_shutdown(struct session *session);

/** Ends it now, without any farewell; `ended` follows. */
void session_abort(struct session *session);

#endif
