/* worker.c - one thread: takes tickets, runs sessions, settles those that were touched. */
#include <stdio.h>
#include <stdlib.h>

#include "loop/internal.h"

static void touched(void *context, struct session *session)
{
    struct worker *worker = context;
    struct session_links *links = session_links(session);

    if (links->is_touched)
        return;
    links->is_touched = true;
    links->touched_next = worker->touched;
    worker->touched = session;
}

static void ended(void *context, struct session *session)
{
    struct worker *worker = context;
    struct session_links *links = session_links(session);

    if (links->prev != NULL)
        session_links(links->prev)->next = links->next;
    else
        worker->sessions = links->next;
    if (links->next != NULL)
        session_links(links->next)->prev = links->prev;
    pool_return(worker->pool, links->owner);
}

/* Before the loop sleeps and after it woke: a session that several events touched writes once.
 * What a session touches while it settles is its own affair and done by then. */
static void settle_all(struct worker *worker)
{
    struct session *list = worker->touched;

    worker->touched = NULL;
    while (list != NULL) {
        struct session *session = list;
        struct session_links *links = session_links(session);
        list = links->touched_next;
        session_settle(session);
        links->is_touched = false;
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    settle_all(prepare->data);
}

static void on_check(uv_check_t *check)
{
    settle_all(check->data);
}

static void take_ticket(struct worker *worker, struct worker_ticket *ticket)
{
    struct session *session =
        session_open(&worker->env, ticket->fd, ticket->extra, ticket->extra_bytes);

    if (session == NULL) {
        pool_return(worker->pool, ticket);
        return;
    }
    struct session_links *links = session_links(session);
    links->owner = ticket;
    links->next = worker->sessions;
    if (links->next != NULL)
        session_links(links->next)->prev = session;
    worker->sessions = session;
    if (worker->shutting_down)
        session_shutdown(session);
}

static void for_all_sessions(struct worker *worker, void (*act)(struct session *session))
{
    for (struct session *next, *each = worker->sessions; each != NULL; each = next) {
        next = session_links(each)->next;
        act(each);
    }
}

static void stop(struct worker *worker)
{
    for_all_sessions(worker, session_abort);
    host_close(worker->host);
    uv_close((uv_handle_t *)&worker->inbox_ready, NULL);
    uv_close((uv_handle_t *)&worker->prepare, NULL);
    uv_close((uv_handle_t *)&worker->check, NULL);
}

static void on_inbox(uv_async_t *async)
{
    struct worker *worker = async->data;
    bool shutdown_wanted, stop_wanted;
    struct worker_ticket *list = mailbox_take(&worker->inbox, &shutdown_wanted, &stop_wanted);

    worker->shutting_down |= shutdown_wanted;
    while (list != NULL) {
        struct worker_ticket *ticket = list;
        list = ticket->next;
        take_ticket(worker, ticket);
    }
    if (shutdown_wanted)
        for_all_sessions(worker, session_shutdown);
    if (stop_wanted)
        stop(worker);
}

static void run(void *argument)
{
    struct worker *worker = argument;

    uv_run(&worker->loop, UV_RUN_DEFAULT);
}

static bool prepare_loop(struct worker *worker)
{
    struct pool *pool = worker->pool;

    if (uv_loop_init(&worker->loop) != 0)
        return false;
    worker->env.read_buffer = malloc(SESSION_READ_BYTES);
    worker->env.batch = nat_batch_new();
    if (worker->env.read_buffer == NULL || worker->env.batch == NULL)
        return false;
    worker->host =
        host_new(&worker->loop, pool->config->dns_servers, pool->config->nat.dns_timeout_ms);
    if (worker->host == NULL || uv_async_init(&worker->loop, &worker->inbox_ready, on_inbox) != 0)
        return false;
    host_keepalive(worker->host, pool->config->nat.tcp_keepalive_ms);
    uv_prepare_init(&worker->loop, &worker->prepare);
    uv_check_init(&worker->loop, &worker->check);
    worker->inbox_ready.data = worker->prepare.data = worker->check.data = worker;
    uv_prepare_start(&worker->prepare, on_prepare);
    uv_check_start(&worker->check, on_check);
    return true;
}

bool worker_start(struct worker *worker, struct pool *pool)
{
    worker->pool = pool;
    worker->env.loop = &worker->loop;
    worker->env.config = pool->config;
    worker->env.metrics = pool->metrics;
    session_pool_init(&worker->outbound, pool->config);
    worker->env.outbound = &worker->outbound;
    worker->env.context = worker;
    worker->env.touched = touched;
    worker->env.ended = ended;
    mailbox_init(&worker->inbox);
    if (!prepare_loop(worker))
        return false;
    worker->env.host = worker->host;
    worker->started = uv_thread_create(&worker->thread, run, worker) == 0;
    return worker->started;
}

void worker_join(struct worker *worker)
{
    if (!worker->started)
        return;
    uv_thread_join(&worker->thread);
    host_free(worker->host);
    uv_loop_close(&worker->loop);
    uv_mutex_destroy(&worker->inbox.lock);
    ws_pool_free(&worker->outbound);
    nat_batch_free(worker->env.batch);
    free(worker->env.read_buffer);
}
