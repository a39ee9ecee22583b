/*
 * http.h - the listener: health, version, metrics, and upgrades that become tunnels.
 *
 * Source   spec/l2-proxy.md §3. libmicrohttpd parses requests; it runs inside the main loop
 *          without threads of its own, its epoll descriptor watched by a uv_poll.
 * Memory   One block per connection. Every answer that is not an upgrade closes its connection,
 *          so a connection has one request head and one deadline for it.
 * Threads  Main thread only.
 * Hostile  16 KiB of head (431), 10 s to send it, a bound on open connections.
 */
#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <uv.h>

#include "config/config.h"
#include "loop/worker.h"
#include "metrics/metrics.h"

struct http;

enum { HTTP_HEAD_MAX_BYTES = 16 * 1024, HTTP_HEAD_TIMEOUT_MS = 10000 };

/** Listens on config->listen_address. Returns NULL with a reason on stderr. */
struct http *http_new(uv_loop_t *loop, const struct config *config, struct metrics *metrics);

/** Where it listens, port 0 resolved: "127.0.0.1:8090" or "[::1]:8090". */
const char *http_address(const struct http *http);

/** Upgraded connections go there from now on. */
void http_set_pool(struct http *http, struct pool *pool);
/** pool_returned_fn; context is the struct http. */
void http_ticket_returned(void *context, struct worker_ticket *ticket);

/** Refuses new upgrades with 503; calls `drained` once no tunnel is open, possibly at once. */
void http_drain(struct http *http, void (*drained)(void *context), void *context);

/** Closes everything. The loop must run once more before http_free(). */
void http_close(struct http *http);
void http_free(struct http *http);

#endif
