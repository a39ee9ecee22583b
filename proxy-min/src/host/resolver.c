/* resolver.c - c-ares under the worker's loop: raw answers, each query answered exactly once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/internal.h"

enum { CLASS_IN = 1, TRIES = 2, TIMEOUT_DEFAULT_MS = 5000 };

static void arm_timer(struct host *host);

static void give_back(struct host_query *query)
{
    query->client = NULL;
    query->next = query->host->free_queries;
    query->host->free_queries = query;
}

static void deliver(struct host_query *query, const uint8_t *wire, size_t bytes, int status)
{
    struct host_client *client = query->client;
    const uint32_t number = query->query;

    give_back(query);
    if (client == NULL)
        return;
    client->queries--;
    nat_dns_answer(client->nat, number, wire, bytes, status, uv_hrtime() / 1000);
    client->touched(client);
}

static int to_errno(int status)
{
    switch (status) {
    case ARES_ETIMEOUT:
        return -ETIMEDOUT;
    case ARES_ENOMEM:
        return -ENOMEM;
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
        return -EINVAL;
    case ARES_ECONNREFUSED:
        return -ECONNREFUSED;
    default:
        return -EIO;
    }
}

/* Answers that came from inside ares_query() are told now: never from inside dns_query(). */
static void on_idle(uv_idle_t *idle)
{
    struct host *host = idle->data;
    struct host_query *list = host->failed;

    host->failed = NULL;
    uv_idle_stop(idle);
    while (list != NULL) {
        struct host_query *query = list;
        list = query->next;
        deliver(query, NULL, 0, query->status);
    }
}

static void on_answer(void *context, int status, int timeouts, unsigned char *wire, int bytes)
{
    struct host_query *query = context;
    struct host *host = query->host;

    (void)timeouts;
    if (query->submitting) {
        query->status = status == ARES_SUCCESS ? -EIO : to_errno(status);
        query->next = host->failed;
        host->failed = query;
        uv_idle_start(&host->dns_idle, on_idle);
        return;
    }
    /* A name error is an answer too: c-ares hands the message over with its own status. */
    if (wire != NULL && bytes > 0)
        deliver(query, wire, (size_t)bytes, 0);
    else
        deliver(query, NULL, 0, status == ARES_SUCCESS ? -EIO : to_errno(status));
}

int host_dns_query(void *context, uint32_t number, const char *name, uint16_t type)
{
    struct host_client *client = context;
    struct host *host = client->host;
    struct host_query *query = host->free_queries;

    if (query == NULL)
        return -EAGAIN;
    host->free_queries = query->next;
    query->client = client;
    query->query = number;
    query->submitting = true;
    client->queries++;
    ares_query(host->channel, name, CLASS_IN, type, on_answer, query);
    query->submitting = false;
    arm_timer(host);
    return 0;
}

void host_forget(struct host_client *client)
{
    struct host *host = client->host;

    if (client->queries == 0)
        return;
    for (int i = 0; i < HOST_QUERIES; i++)
        if (host->queries[i].client == client)
            host->queries[i].client = NULL;
    client->queries = 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct host *host = timer->data;

    ares_process_fd(host->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(host);
}

static void arm_timer(struct host *host)
{
    struct timeval space;
    const struct timeval *wait = ares_timeout(host->channel, NULL, &space);

    if (wait == NULL) {
        uv_timer_stop(&host->dns_timer);
        return;
    }
    uv_timer_start(&host->dns_timer, on_timer,
                   (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1, 0);
}

static void on_dns_socket(uv_poll_t *poll, int status, int events)
{
    struct host_dns_socket *slot = poll->data;
    struct host *host = slot->host;
    const ares_socket_t fd = slot->fd;
    const bool broken = status != 0;

    ares_process_fd(host->channel, broken || (events & UV_READABLE) != 0 ? fd : ARES_SOCKET_BAD,
                    broken || (events & UV_WRITABLE) != 0 ? fd : ARES_SOCKET_BAD);
    arm_timer(host);
}

static void on_dns_socket_closed(uv_handle_t *handle)
{
    struct host_dns_socket *slot = handle->data;
    slot->used = false;
}

/* c-ares opens, wants watched or is about to close one of its sockets. */
static void on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
    struct host *host = context;
    struct host_dns_socket *slot = NULL, *unused = NULL;

    for (int i = 0; i < HOST_DNS_SOCKETS && slot == NULL; i++) {
        struct host_dns_socket *candidate = &host->dns_sockets[i];
        if (candidate->used && candidate->fd == fd)
            slot = candidate;
        else if (!candidate->used && unused == NULL)
            unused = candidate;
    }
    if (!readable && !writable) {
        if (slot != NULL) {
            slot->fd = ARES_SOCKET_BAD; /* the number may come back before the handle is gone */
            uv_close((uv_handle_t *)&slot->poll, on_dns_socket_closed);
        }
        return;
    }
    if (slot == NULL) {
        if (unused == NULL || uv_poll_init(host->loop, &unused->poll, fd) != 0)
            return; /* its queries time out */
        slot = unused;
        slot->used = true;
        slot->host = host;
        slot->fd = fd;
        slot->poll.data = slot;
    }
    uv_poll_start(&slot->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                  on_dns_socket);
}

int host_resolver_init(struct host *host, const char *servers, uint32_t timeout_ms)
{
    if (timeout_ms == 0)
        timeout_ms = TIMEOUT_DEFAULT_MS;
    struct ares_options options = {
        .timeout = (int)(timeout_ms > TRIES ? timeout_ms / TRIES : 1),
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = host,
    };
    const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;

    host->queries = calloc(HOST_QUERIES, sizeof host->queries[0]);
    if (host->queries == NULL || ares_init_options(&host->channel, &options, mask) != ARES_SUCCESS)
        return -ENOMEM;
    if (servers != NULL && ares_set_servers_ports_csv(host->channel, servers) != ARES_SUCCESS) {
        ares_destroy(host->channel);
        return -EINVAL;
    }
    for (int i = HOST_QUERIES - 1; i >= 0; i--) {
        host->queries[i].host = host;
        give_back(&host->queries[i]);
    }
    host->has_channel = true;
    uv_timer_init(host->loop, &host->dns_timer);
    uv_idle_init(host->loop, &host->dns_idle);
    host->dns_timer.data = host;
    host->dns_idle.data = host;
    return 0;
}

void host_resolver_close(struct host *host)
{
    if (!host->has_channel)
        return;
    host->has_channel = false;
    ares_destroy(host->channel); /* closes its sockets through on_socket_state() */
    uv_close((uv_handle_t *)&host->dns_timer, NULL);
    uv_close((uv_handle_t *)&host->dns_idle, NULL);
}
