/*
 * worker.h - worker threads: one libuv loop each, owning its sessions whole (docs/architecture.md).
 *
 * Memory   A pool and its workers live from pool_new() to pool_free(). A ticket belongs to the
 *          listener, is lent to a worker by pool_give() and comes back through `returned`.
 * Threads  Everything here is called on the main thread; `returned` runs there too.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <uv.h>

#include "config/config.h"
#include "metrics/metrics.h"

struct pool;

/* An upgraded connection on its way to a worker and back. */
struct worker_ticket {
    struct worker_ticket *next; /* the pool's */
    uint32_t worker;            /* the pool's */
    int fd;
    uint8_t *extra; /* bytes that came with the request head; the listener frees them */
    size_t extra_bytes;
};

typedef void (*pool_returned_fn)(void *context, struct worker_ticket *ticket);

/** Starts config->workers threads. Returns NULL with a reason on stderr. */
struct pool *pool_new(uv_loop_t *main_loop, const struct config *config, struct metrics *metrics,
                      pool_returned_fn returned, void *context);

/** Hands the connection to the worker with the fewest sessions. */
void pool_give(struct pool *pool, struct worker_ticket *ticket);

/** Tells every session to say goodbye (1001); tickets come back as they end. */
void pool_shutdown(struct pool *pool);

/** Ends every session and every thread, and waits for them; the last tickets come back from
 *  inside this call. pool_free() follows. */
void pool_stop(struct pool *pool);
void pool_free(struct pool *pool);

#endif
