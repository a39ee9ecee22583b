/* pool.c - the main thread's side of the workers: who gets a connection, who gave one back. */
#include <stdio.h>
#include <stdlib.h>

#include "loop/internal.h"

void mailbox_init(struct mailbox *box)
{
    *box = (struct mailbox){0};
    box->end = &box->first;
    uv_mutex_init(&box->lock);
}

void mailbox_put(struct mailbox *box, struct worker_ticket *ticket)
{
    ticket->next = NULL;
    uv_mutex_lock(&box->lock);
    *box->end = ticket;
    box->end = &ticket->next;
    uv_mutex_unlock(&box->lock);
}

struct worker_ticket *mailbox_take(struct mailbox *box, bool *shutdown, bool *stop)
{
    uv_mutex_lock(&box->lock);
    struct worker_ticket *list = box->first;
    box->first = NULL;
    box->end = &box->first;
    *shutdown = box->shutdown;
    *stop = box->stop;
    box->shutdown = box->stop = false;
    uv_mutex_unlock(&box->lock);
    return list;
}

void pool_return(struct pool *pool, struct worker_ticket *ticket)
{
    mailbox_put(&pool->outbox, ticket);
    uv_async_send(&pool->outbox_ready);
}

static void empty_outbox(struct pool *pool)
{
    bool unused;
    struct worker_ticket *list = mailbox_take(&pool->outbox, &unused, &unused);

    while (list != NULL) {
        struct worker_ticket *ticket = list;
        list = ticket->next;
        pool->workers[ticket->worker].load--;
        pool->returned(pool->context, ticket);
    }
}

static void on_outbox(uv_async_t *async)
{
    empty_outbox(async->data);
}

struct pool *pool_new(uv_loop_t *main_loop, const struct config *config, struct metrics *metrics,
                      pool_returned_fn returned, void *context)
{
    struct pool *pool = calloc(1, sizeof *pool);

    if (pool == NULL)
        return NULL;
    pool->config = config;
    pool->metrics = metrics;
    pool->returned = returned;
    pool->context = context;
    mailbox_init(&pool->outbox);
    pool->workers = calloc(config->workers, sizeof pool->workers[0]);
    bool good =
        pool->workers != NULL && uv_async_init(main_loop, &pool->outbox_ready, on_outbox) == 0;
    pool->outbox_ready.data = pool;
    while (good && pool->worker_count < config->workers)
        good = worker_start(&pool->workers[pool->worker_count++], pool);
    if (!good) { /* the process ends with this; its threads end with it */
        fprintf(stderr, "aero-l2-proxy: cannot start worker threads\n");
        return NULL;
    }
    return pool;
}

void pool_give(struct pool *pool, struct worker_ticket *ticket)
{
    uint32_t chosen = 0;

    for (uint32_t i = 1; i < pool->worker_count; i++)
        if (pool->workers[i].load < pool->workers[chosen].load)
            chosen = i;
    struct worker *worker = &pool->workers[chosen];
    worker->load++;
    ticket->worker = chosen;
    mailbox_put(&worker->inbox, ticket);
    uv_async_send(&worker->inbox_ready);
}

static void order(struct pool *pool, bool stop)
{
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        struct mailbox *box = &pool->workers[i].inbox;
        uv_mutex_lock(&box->lock);
        box->shutdown = true;
        box->stop |= stop;
        uv_mutex_unlock(&box->lock);
        uv_async_send(&pool->workers[i].inbox_ready);
    }
}

void pool_shutdown(struct pool *pool)
{
    order(pool, false);
}

void pool_stop(struct pool *pool)
{
    order(pool, true);
    for (uint32_t i = 0; i < pool->worker_count; i++)
        worker_join(&pool->workers[i]);
    empty_outbox(pool);
    uv_close((uv_handle_t *)&pool->outbox_ready, NULL);
}

void pool_free(struct pool *pool)
{
    uv_mutex_destroy(&pool->outbox.lock);
    free(pool->workers);
    free(pool);
}
