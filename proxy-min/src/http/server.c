/* server.c - libmicrohttpd inside the main loop, plain answers, connection deadlines. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "http/internal.h"

enum {
    HEAD_SWEEP_MS = 250,
    BACKLOG = 1024,
    DESCRIPTORS_KEPT = 64, /* for loops, the resolver, logs */
    CONNECTIONS_MIN = 64,
};

static const char plain_text[] = "text/plain; charset=utf-8";

static void run_daemon(struct http *http);

enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                       const char *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);

    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Connection", "close");
    if (status == MHD_HTTP_UPGRADE_REQUIRED)
        MHD_add_response_header(response, "Sec-WebSocket-Version", "13");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET");
    const enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_version(const struct http *http, struct MHD_Connection *connection)
{
    const struct config *config = http->config;
    json_t *root = json_pack("{s:s,s:s,s:s}", "version", config->version, "gitSha", config->git_sha,
                             "builtAt", config->built_at);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    const enum MHD_Result result =
        text != NULL ? answer(connection, MHD_HTTP_OK, "application/json", text) : MHD_NO;

    free(text);
    json_decref(root);
    return result;
}

static enum MHD_Result answer_metrics(const struct http *http, struct MHD_Connection *connection)
{
    size_t bytes;
    char *text = metrics_render(http->metrics, &bytes);
    const enum MHD_Result result =
        text != NULL
            ? answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text)
            : MHD_NO;

    free(text);
    return result;
}

static bool is_tunnel_path(const char *path)
{
    return strcmp(path, "/l2") == 0 || strcmp(path, "/l2/") == 0 || strcmp(path, "/eth") == 0 ||
           strcmp(path, "/eth/") == 0;
}

static bool is_known_path(const char *path)
{
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0 ||
           strcmp(path, "/version") == 0 || strcmp(path, "/metrics") == 0;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **request_context)
{
    struct http *http = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    (void)upload;
    (void)upload_bytes;
    if (info != NULL && info->socket_context != NULL) {
        struct connection *each = info->socket_context;
        if (each->awaits_head) {
            DL_DELETE(http->awaiting, each);
            each->awaits_head = false;
        }
    }
    if (!is_tunnel_path(path) && !is_known_path(path))
        return answer(connection, MHD_HTTP_NOT_FOUND, plain_text, "not found");
    if (strcmp(method, "GET") != 0) {
        if (is_tunnel_path(path))
            metric_add(&http->metrics->upgrade_rejected, 1);
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain_text, "method not allowed");
    }
    if (is_tunnel_path(path))
        return upgrade_request(http, connection, version, request_context);
    if (strcmp(path, "/version") == 0)
        return answer_version(http, connection);
    if (strcmp(path, "/metrics") == 0)
        return answer_metrics(http, connection);
    if (strcmp(path, "/readyz") == 0 && http->draining)
        return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, plain_text, "shutting down");
    return answer(connection, MHD_HTTP_OK, plain_text, "");
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    struct tunnel *tunnel = *request_context;

    (void)context;
    (void)connection;
    (void)code;
    *request_context = NULL;
    if (tunnel != NULL)
        tunnel_forget(tunnel);
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void on_connection(void *context, struct MHD_Connection *handle, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    struct connection *connection = *socket_context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
        connection = calloc(1, sizeof *connection);
        *socket_context = connection;
        if (connection == NULL || info == NULL)
            return;
        connection->fd = info->connect_fd;
        connection->awaits_head = true;
        connection->head_deadline_ms = now_ms() + HTTP_HEAD_TIMEOUT_MS;
        DL_APPEND(http->awaiting, connection);
        return;
    }
    if (connection != NULL && connection->awaits_head)
        DL_DELETE(http->awaiting, connection);
    free(connection);
    *socket_context = NULL;
}

/* A head that trickles in keeps libmicrohttpd's inactivity time-out quiet; this one counts from
 * accept. The list is in order of accept. */
static void on_head_timer(uv_timer_t *timer)
{
    struct http *http = timer->data;
    const uint64_t now = now_ms();
    bool any = false;

    while (http->awaiting != NULL && http->awaiting->head_deadline_ms <= now) {
        struct connection *late = http->awaiting;
        DL_DELETE(http->awaiting, late);
        late->awaits_head = false;
        shutdown(late->fd, SHUT_RDWR);
        any = true;
    }
    if (any)
        run_daemon(http);
}

static void on_mhd_timer(uv_timer_t *timer)
{
    run_daemon(timer->data);
}

static void run_daemon(struct http *http)
{
    unsigned long long wait_ms = 0;

    http->has_upgraded = false;
    MHD_run(http->daemon);
    if (http->has_upgraded) /* it lets go of that request in its next run, but asks for none */
        uv_timer_start(&http->mhd_timer, on_mhd_timer, 0, 0);
    else if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
        uv_timer_start(&http->mhd_timer, on_mhd_timer, wait_ms, 0);
    else
        uv_timer_stop(&http->mhd_timer);
}

static void on_epoll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run_daemon(poll->data);
}

static int listen_socket(const struct config *config)
{
    const struct sockaddr *address = (const struct sockaddr *)&config->listen_address;
    const bool v6 = address->sa_family == AF_INET6;
    const int one = 1;
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) != 0 ||
        listen(fd, BACKLOG) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void write_address(struct http *http, int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";

    getsockname(fd, (struct sockaddr *)&address, &bytes);
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(http->address, sizeof http->address, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(http->address, sizeof http->address, "%s:%u", host, ntohs(v4->sin_port));
    }
}

static unsigned connection_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t most = limit.rlim_cur < (1 << 20) ? limit.rlim_cur : (1 << 20);
    return most > 2 * DESCRIPTORS_KEPT ? (unsigned)most - DESCRIPTORS_KEPT : CONNECTIONS_MIN;
}

static void ignore_log(void *context, const char *format, va_list arguments)
{
    (void)context; /* malformed requests are the client's affair, and could fill a disk */
    (void)format;
    (void)arguments;
}

static struct MHD_Daemon *start_daemon(struct http *http, int fd)
{
    const union MHD_DaemonInfo *info;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD_MAX_BYTES,
        MHD_OPTION_CONNECTION_LIMIT, connection_limit(), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(HTTP_HEAD_TIMEOUT_MS / 1000), MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);

    if (daemon == NULL)
        return NULL;
    info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(http->loop, &http->poll, info->epoll_fd) != 0) {
        MHD_stop_daemon(daemon);
        return NULL;
    }
    return daemon;
}

struct http *http_new(uv_loop_t *loop, const struct config *config, struct metrics *metrics)
{
    struct http *http = calloc(1, sizeof *http);
    const int fd = listen_socket(config);

    if (http == NULL || fd < 0) {
        fprintf(stderr, "aero-l2-proxy: cannot listen: %s\n", strerror(errno));
        free(http);
        return NULL;
    }
    http->loop = loop;
    http->config = config;
    http->metrics = metrics;
    write_address(http, fd);
    http->daemon = start_daemon(http, fd);
    if (http->daemon == NULL) {
        fprintf(stderr, "aero-l2-proxy: cannot start the HTTP listener\n");
        close(fd);
        free(http);
        return NULL;
    }
    uv_timer_init(loop, &http->mhd_timer);
    uv_timer_init(loop, &http->head_timer);
    http->poll.data = http->mhd_timer.data = http->head_timer.data = http;
    uv_poll_start(&http->poll, UV_READABLE, on_epoll);
    uv_timer_start(&http->head_timer, on_head_timer, HEAD_SWEEP_MS, HEAD_SWEEP_MS);
    return http;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

void http_set_pool(struct http *http, struct pool *pool)
{
    http->pool = pool;
}

static void tell_drained(struct http *http)
{
    if (http->drained == NULL || http->tunnels != 0)
        return;
    void (*drained)(void *context) = http->drained;
    http->drained = NULL;
    drained(http->drained_context);
}

void http_ticket_returned(void *context, struct worker_ticket *ticket)
{
    struct http *http = context;
    struct tunnel *tunnel = (struct tunnel *)ticket;

    close(ticket->fd);
    tunnel_release(tunnel);
    tell_drained(http);
}

void http_drain(struct http *http, void (*drained)(void *context), void *context)
{
    http->draining = true;
    http->drained = drained;
    http->drained_context = context;
    tell_drained(http);
}

void http_close(struct http *http)
{
    MHD_run(http->daemon);
    uv_close((uv_handle_t *)&http->poll, NULL);
    uv_close((uv_handle_t *)&http->mhd_timer, NULL);
    uv_close((uv_handle_t *)&http->head_timer, NULL);
    MHD_stop_daemon(http->daemon);
}

void http_free(struct http *http)
{
    free(http);
}
