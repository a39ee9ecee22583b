/* internal.h - what worker.c and pool.c share. */
#ifndef PROXY_LOOP_INTERNAL_H
#define PROXY_LOOP_INTERNAL_H

#include "loop/worker.h"
#include "session/session.h"

/* A list that one thread fills and another empties, in order. */
struct mailbox {
    uv_mutex_t lock;
    struct worker_ticket *first, **end;
    bool shutdown, stop; /* orders, for workers only */
};

void mailbox_init(struct mailbox *box);
void mailbox_put(struct mailbox *box, struct worker_ticket *ticket);
/* Takes the whole list and the orders. */
struct worker_ticket *mailbox_take(struct mailbox *box, bool *shutdown, bool *stop);

struct worker {
    struct pool *pool;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t inbox_ready;
    uv_prepare_t prepare;
    uv_check_t check;
    struct mailbox inbox;
    struct host *host;
    struct ws_pool outbound;
    struct session_env env;
    struct session *sessions, *touched;
    uint32_t load; /* sessions given to it; the main thread's figure */
    bool started, shutting_down;
};

struct pool {
    const struct config *config;
    struct metrics *metrics;
    pool_returned_fn returned;
    void *context;
    uv_async_t outbox_ready;
    struct mailbox outbox;
    struct worker *workers;
    uint32_t worker_count;
};

/* worker.c */
bool worker_start(struct worker *worker, struct pool *pool);
void worker_join(struct worker *worker);
/* pool.c, called by workers */
void pool_return(struct pool *pool, struct worker_ticket *ticket);

#endif
