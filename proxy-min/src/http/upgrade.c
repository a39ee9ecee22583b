/* upgrade.c - from a request to a tunnel: the checks of spec/l2-proxy.md §3.1, in their order. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/evp.h>

#include "http/internal.h"
#include "tunnel/codec.h"

enum { ACCEPT_CHARS = 28, KEY_CHARS = 24, KEY_BYTES = 16, UNSENT_BYTES = 256 * 1024 };

static enum MHD_Result refuse(struct http *http, struct MHD_Connection *connection,
                              _Atomic uint64_t *reason, unsigned status, const char *body)
{
    metric_add(&http->metrics->upgrade_rejected, 1);
    if (reason != NULL)
        metric_add(reason, 1);
    return answer(connection, status, "text/plain; charset=utf-8", body);
}

/* Check 1, RFC 6455 §4.2.1. Returns 0 or the status to refuse with. */
static unsigned handshake_status(struct MHD_Connection *connection, const char *version,
                                 const char **body)
{
    const char *key = request_header(connection, "Sec-WebSocket-Key");
    const char *ws_version = request_header(connection, "Sec-WebSocket-Version");
    uint8_t decoded[KEY_BYTES + 2];

    *body = "expected a WebSocket upgrade";
    if (strcmp(version, "HTTP/1.1") != 0 ||
        !request_has_token(connection, "Connection", "upgrade", false) ||
        !request_has_token(connection, "Upgrade", "websocket", false))
        return MHD_HTTP_BAD_REQUEST;
    *body = "unsupported WebSocket version";
    if (ws_version == NULL || strcmp(ws_version, "13") != 0)
        return MHD_HTTP_UPGRADE_REQUIRED;
    *body = "invalid Sec-WebSocket-Key";
    if (key == NULL || strlen(key) != KEY_CHARS ||
        request_header_count(connection, "Sec-WebSocket-Key") != 1 || key[KEY_CHARS - 3] == '=' ||
        EVP_DecodeBlock(decoded, (const unsigned char *)key, KEY_CHARS) != KEY_BYTES + 2 ||
        strcmp(key + KEY_CHARS - 2, "==") != 0)
        return MHD_HTTP_BAD_REQUEST;
    return 0;
}

static void accept_value(const char *key, char value[ACCEPT_CHARS + 1]) /* RFC 6455 §4.2.2 */
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_CHARS + sizeof guid];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;

    snprintf(text, sizeof text, "%s%s", key, guid);
    EVP_Digest(text, strlen(text), digest, &digest_bytes, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)value, digest, (int)digest_bytes);
}

/* What the header callbacks gather. */
struct gathered {
    struct credentials credentials;
    char protocol_token[HTTP_HEAD_MAX_BYTES];
    char origin[ORIGIN_MAX_BYTES];
    uint32_t origin_count;
    const char *origin_text;
    const char *origin_problem;
};

static enum MHD_Result gather_header(void *context, enum MHD_ValueKind kind, const char *key,
                                     const char *value)
{
    struct gathered *gathered = context;
    struct credentials *credentials = &gathered->credentials;

    (void)kind;
    if (value == NULL)
        value = "";
    if (strcasecmp(key, "Cookie") == 0 && credentials->cookie_count < AUTH_COOKIES_MAX)
        credentials->cookies[credentials->cookie_count++] = value;
    if (strcasecmp(key, "Origin") == 0) {
        gathered->origin_count++;
        gathered->origin_text = value;
    }
    if (strcasecmp(key, "Authorization") == 0 && credentials->bearer == NULL &&
        strncasecmp(value, "Bearer ", 7) == 0)
        credentials->bearer = value + 7 + strspn(value + 7, " ");
    return MHD_YES;
}

static const char *query_value(struct MHD_Connection *connection, const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    return value != NULL && *value != '\0' ? value : NULL; /* an empty value counts as absent */
}

static void gather(struct MHD_Connection *connection, struct gathered *gathered)
{
    struct timespec now;

    gathered->credentials = (struct credentials){0};
    gathered->origin_count = 0;
    gathered->origin_text = NULL;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, gather_header, gathered);
    gathered->credentials.query_token = query_value(connection, "token");
    gathered->credentials.query_api_key = query_value(connection, "apiKey");
    if (gathered->protocol_token[0] != '\0')
        gathered->credentials.protocol_token = gathered->protocol_token;
    clock_gettime(CLOCK_REALTIME, &now);
    gathered->credentials.now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;

    gathered->origin_problem = "missing";
    if (gathered->origin_count == 1)
        gathered->origin_problem = origin_normalise(gathered->origin_text, gathered->origin);
    if (gathered->origin_count == 1 && gathered->origin_problem == NULL)
        gathered->credentials.origin = gathered->origin;
}

/* The host the client meant: behind a trusted edge as that one says. */
static bool effective_host(const struct http *http, struct MHD_Connection *connection, char *host,
                           size_t host_bytes)
{
    if (http->config->trust_proxy_host &&
        (request_forwarded(connection, "host", host, host_bytes) ||
         request_first_entry(connection, "X-Forwarded-Host", host, host_bytes)))
        return true;
    const char *header = request_header(connection, "Host");
    if (header == NULL || strlen(header) >= host_bytes)
        return false;
    strcpy(host, header);
    return *host != '\0';
}

static bool origin_listed(const struct http *http, struct MHD_Connection *connection,
                          const char *origin)
{
    const struct string_list *allowed = &http->config->allowed_origins;
    char host[ORIGIN_MAX_BYTES], same[ORIGIN_MAX_BYTES];

    for (uint32_t i = 0; i < allowed->count; i++)
        if (strcmp(allowed->items[i], "*") == 0 || strcmp(allowed->items[i], origin) == 0)
            return true;
    if (allowed->count != 0 || origin_scheme(origin) == NULL)
        return false;
    return effective_host(http, connection, host, sizeof host) &&
           origin_of_host(origin_scheme(origin), host, same) && strcmp(same, origin) == 0;
}

/* Check 5, §3.3. Returns true when it passed; else the refusal was queued into *result. */
static bool check_origin(struct http *http, struct MHD_Connection *connection,
                         const struct gathered *gathered, enum MHD_Result *result)
{
    struct metrics *metrics = http->metrics;
    char body[ORIGIN_MAX_BYTES + 64];

    if (http->config->open)
        return true;
    const char *text = gathered->origin_text;
    if (gathered->origin_count == 0 ||
        (gathered->origin_count == 1 && text[strspn(text, " \t")] == '\0')) {
        *result = refuse(http, connection, &metrics->origin_missing, MHD_HTTP_FORBIDDEN,
                         "missing Origin header");
        return false;
    }
    if (gathered->origin_count > 1) {
        *result = refuse(http, connection, &metrics->origin_not_allowed, MHD_HTTP_FORBIDDEN,
                         "invalid Origin header: multiple values");
        return false;
    }
    if (gathered->origin_problem != NULL) {
        snprintf(body, sizeof body, "invalid Origin header: %s", gathered->origin_problem);
        *result = refuse(http, connection, &metrics->origin_not_allowed, MHD_HTTP_FORBIDDEN, body);
        return false;
    }
    if (!origin_listed(http, connection, gathered->origin)) {
        snprintf(body, sizeof body, "Origin not allowed: %s", gathered->origin);
        *result = refuse(http, connection, &metrics->origin_not_allowed, MHD_HTTP_FORBIDDEN, body);
        return false;
    }
    return true;
}

static bool effective_https(const struct http *http, struct MHD_Connection *connection,
                            const struct gathered *gathered)
{
    char scheme[16];

    if (http->config->trust_proxy_host &&
        (request_forwarded(connection, "proto", scheme, sizeof scheme) ||
         request_first_entry(connection, "X-Forwarded-Proto", scheme, sizeof scheme)))
        return strcasecmp(scheme, "https") == 0 || strcasecmp(scheme, "wss") == 0;
    return gathered->credentials.origin != NULL &&
           strncmp(gathered->credentials.origin, "https:", 6) == 0;
}

/* Check 6, §3.4. */
static bool check_host(struct http *http, struct MHD_Connection *connection,
                       const struct gathered *gathered, enum MHD_Result *result)
{
    const struct string_list *allowed = &http->config->allowed_hosts;
    struct metrics *metrics = http->metrics;
    char host[ORIGIN_MAX_BYTES], normal[ORIGIN_MAX_BYTES], wanted[ORIGIN_MAX_BYTES];
    char body[ORIGIN_MAX_BYTES + 64];
    const bool https = effective_https(http, connection, gathered);

    if (allowed->count == 0)
        return true;
    if (!effective_host(http, connection, host, sizeof host)) {
        *result = refuse(http, connection, &metrics->host_missing, MHD_HTTP_FORBIDDEN,
                         "missing Host header");
        return false;
    }
    if (!host_normalise(host, https, normal)) {
        *result = refuse(http, connection, &metrics->host_invalid, MHD_HTTP_FORBIDDEN,
                         "malformed Host header");
        return false;
    }
    for (uint32_t i = 0; i < allowed->count; i++)
        if (host_normalise(allowed->items[i], https, wanted) && strcmp(wanted, normal) == 0)
            return true;
    snprintf(body, sizeof body, "Host not allowed: %s", normal);
    *result = refuse(http, connection, &metrics->host_not_allowed, MHD_HTTP_FORBIDDEN, body);
    return false;
}

/* Check 4, §3.2. */
static bool check_auth(struct http *http, struct MHD_Connection *connection,
                       const struct gathered *gathered, struct auth_outcome *outcome,
                       enum MHD_Result *result)
{
    struct metrics *metrics = http->metrics;

    auth_check(http->config, &gathered->credentials, outcome);
    if (outcome->allowed)
        return true;
    metric_add(&metrics->auth_failures, 1);
    metric_add(&metrics->auth_reject[outcome->reason], 1);
    *result = refuse(http, connection,
                     outcome->reason == REJECT_MISSING_CREDENTIALS ? &metrics->auth_missing
                                                                   : &metrics->auth_invalid,
                     MHD_HTTP_UNAUTHORIZED, outcome->body);
    return false;
}

static void tunnel_free(struct tunnel *tunnel)
{
    free(tunnel->ticket.extra);
    free(tunnel);
}

/* Checks 7 to 9: a tunnel with its places taken, or NULL and a refusal. */
static struct tunnel *take_places(struct http *http, struct MHD_Connection *connection,
                                  const struct auth_outcome *outcome, enum MHD_Result *result)
{
    const struct config *config = http->config;
    struct metrics *metrics = http->metrics;
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    uint8_t address[16];

    if (tunnel == NULL) {
        *result = refuse(http, connection, NULL, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        return NULL;
    }
    tunnel->http = http;
    http->tunnels++;
    request_client_address(http, connection, address);
    if (!limit_take(&http->addresses, address, sizeof address, config->max_connections_per_ip,
                    &tunnel->address)) {
        *result = refuse(http, connection, &metrics->ip_limit, MHD_HTTP_TOO_MANY_REQUESTS,
                         "max connections per ip exceeded");
    } else if (config->max_connections != 0 && http->tunnels > config->max_connections) {
        *result = refuse(http, connection, &metrics->max_connections, MHD_HTTP_TOO_MANY_REQUESTS,
                         "max connections exceeded");
    } else if (outcome->has_sid &&
               !limit_take(&http->sessions, outcome->sid, (uint32_t)strlen(outcome->sid),
                           config->max_connections_per_session, &tunnel->session)) {
        *result = refuse(http, connection, &metrics->max_per_session, MHD_HTTP_TOO_MANY_REQUESTS,
                         "quota_connections: max connections per session exceeded");
    } else {
        return tunnel;
    }
    tunnel_forget(tunnel);
    return NULL;
}

void tunnel_release(struct tunnel *tunnel)
{
    struct http *http = tunnel->http;

    limit_give(&http->addresses, tunnel->address);
    limit_give(&http->sessions, tunnel->session);
    http->tunnels--;
    if (tunnel->counted)
        atomic_fetch_sub_explicit(&http->metrics->sessions_active, 1, memory_order_relaxed);
    tunnel->released = true;
    if (tunnel->forgotten)
        tunnel_free(tunnel);
}

void tunnel_forget(struct tunnel *tunnel)
{
    tunnel->forgotten = true;
    if (!tunnel->handed_over) /* the connection ended before the 101 was sent */
        tunnel_release(tunnel);
    else if (tunnel->released)
        tunnel_free(tunnel);
}

/* Everything the worker needs, or false: memory or descriptors ran out. */
static bool fill_ticket(struct worker_ticket *ticket, int fd, const char *extra, size_t extra_bytes)
{
    if (extra_bytes != 0) {
        ticket->extra = malloc(extra_bytes);
        if (ticket->extra == NULL)
            return false;
        memcpy(ticket->extra, extra, extra_bytes);
        ticket->extra_bytes = extra_bytes;
    }
    ticket->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return ticket->fd >= 0;
}

/* The 101 has been sent. The tunnel goes on with a descriptor of its own: libmicrohttpd closes its
 * one, without shutdown(), and gives back the request's 16 KiB, which a tunnel would hold for
 * nothing all its life. */
static void on_upgraded(void *context, struct MHD_Connection *connection, void *request_context,
                        const char *extra, size_t extra_bytes, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *upgrade)
{
    struct tunnel *tunnel = context;
    const int one = 1, unsent_bytes = UNSENT_BYTES;

    (void)connection;
    (void)request_context;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* tcp(7): frames that cannot leave yet wait with their flows, where order can still change,
     * not in megabytes of one socket's buffer before a guest's next key stroke. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
    if (fill_ticket(&tunnel->ticket, fd, extra, extra_bytes)) {
        tunnel->handed_over = true;
        pool_give(tunnel->http->pool, &tunnel->ticket);
    }
    tunnel->http->has_upgraded = true;
    MHD_upgrade_action(upgrade, MHD_UPGRADE_ACTION_CLOSE); /* tunnel_forget() follows */
}

static enum MHD_Result accept_upgrade(struct MHD_Connection *connection, struct tunnel *tunnel)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgraded, tunnel);
    char accept[ACCEPT_CHARS + 1];

    if (response == NULL)
        return MHD_NO;
    accept_value(request_header(connection, "Sec-WebSocket-Key"), accept);
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    MHD_add_response_header(response, "Sec-WebSocket-Protocol", L2T_SUBPROTOCOL);
    const enum MHD_Result queued =
        MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    if (queued == MHD_YES) { /* before the client can see the 101 */
        tunnel->counted = true;
        atomic_fetch_add_explicit(&tunnel->http->metrics->sessions_active, 1, memory_order_relaxed);
        metric_add(&tunnel->http->metrics->sessions_total, 1);
    }
    return queued;
}

enum MHD_Result upgrade_request(struct http *http, struct MHD_Connection *connection,
                                const char *version, void **request_context)
{
    struct auth_outcome outcome;
    enum MHD_Result result = MHD_NO;
    const char *body;
    bool offered;

    const unsigned bad_handshake = handshake_status(connection, version, &body);
    if (bad_handshake != 0)
        return refuse(http, connection, NULL, bad_handshake, body);
    struct gathered *gathered = calloc(1, sizeof *gathered);
    if (gathered == NULL)
        return MHD_NO;
    const bool protocols_valid = request_protocols(connection, &offered, gathered->protocol_token,
                                                   sizeof gathered->protocol_token);
    gather(connection, gathered);
    struct tunnel *tunnel = NULL;
    if (http->draining)
        result = refuse(http, connection, NULL, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down");
    else if (!offered || !protocols_valid)
        result = refuse(http, connection, NULL, MHD_HTTP_BAD_REQUEST,
                        "missing required websocket subprotocol \"" L2T_SUBPROTOCOL "\"");
    else if (check_auth(http, connection, gathered, &outcome, &result) &&
             check_origin(http, connection, gathered, &result) &&
             check_host(http, connection, gathered, &result))
        tunnel = take_places(http, connection, &outcome, &result);
    free(gathered);
    if (tunnel == NULL)
        return result;
    *request_context = tunnel;
    return accept_upgrade(connection, tunnel);
}
