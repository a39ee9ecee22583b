/* internal.h - what server.c, upgrade.c, request.c and limits.c share. */
#ifndef PROXY_HTTP_INTERNAL_H
#define PROXY_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <uthash.h>
#include <utlist.h>

#include "auth/auth.h"
#include "http/http.h"

/* How many tunnels one address or one session has. */
struct limit_entry {
    UT_hash_handle hh;
    uint32_t count;
    uint32_t key_bytes;
    uint8_t key[SID_MAX_BYTES];
};

/* One TCP connection, from accept to close. */
struct connection {
    struct connection *prev, *next; /* of those whose head is not complete yet */
    int fd;
    uint64_t head_deadline_ms;
    bool awaits_head;
};

/* A tunnel's place in the limits and its way through the workers. */
struct tunnel {
    struct worker_ticket ticket; /* first: given back as a ticket */
    struct http *http;
    struct limit_entry *address, *session; /* NULL: not limited */
    bool handed_over;                      /* to a worker: released when it comes back */
    bool counted;                          /* in l2_sessions_active */
    /* It is freed when its places were given back and libmicrohttpd's request is over. */
    bool released, forgotten;
};

struct http {
    uv_loop_t *loop;
    const struct config *config;
    struct metrics *metrics;
    struct pool *pool;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t mhd_timer, head_timer;
    char address[64];

    struct connection *awaiting;
    struct limit_entry *addresses, *sessions;
    uint32_t tunnels;
    bool draining;
    bool has_upgraded; /* in this run of the daemon */
    void (*drained)(void *context);
    void *drained_context;
};

/* request.c: views of a request */
const char *request_header(struct MHD_Connection *connection, const char *name);
/* Is `token` among the comma-separated values of all header fields of that name? */
bool request_has_token(struct MHD_Connection *connection, const char *name, const char *token,
                       bool case_sensitive);
uint32_t request_header_count(struct MHD_Connection *connection, const char *name);
/* Entries of Sec-WebSocket-Protocol: false when one is not an RFC 7230 token. The first
 * aero-l2-token. entry's rest is copied into `token` ("" when there is none). */
bool request_protocols(struct MHD_Connection *connection, bool *tunnel_offered, char *token,
                       size_t token_bytes);
/* `key` of the first element of Forwarded, unquoted; false when it is not there. */
bool request_forwarded(struct MHD_Connection *connection, const char *key, char *value,
                       size_t value_bytes);
/* The first entry of a comma-separated header; false when empty or absent. */
bool request_first_entry(struct MHD_Connection *connection, const char *name, char *value,
                         size_t value_bytes);
/* The client's address as 16 bytes, IPv4 mapped; behind a trusted proxy as that one says. */
void request_client_address(const struct http *http, struct MHD_Connection *connection,
                            uint8_t address[16]);

/* limits.c: false when the limit is reached, else the entry to give back (NULL: no limit) */
bool limit_take(struct limit_entry **table, const void *key, uint32_t key_bytes, uint32_t max,
                struct limit_entry **entry);
void limit_give(struct limit_entry **table, struct limit_entry *entry);

/* upgrade.c */
enum MHD_Result upgrade_request(struct http *http, struct MHD_Connection *connection,
                                const char *version, void **request_context);
/* Gives its places in the limits back. */
void tunnel_release(struct tunnel *tunnel);
/* libmicrohttpd's request is over and holds it no longer. */
void tunnel_forget(struct tunnel *tunnel);

/* server.c */
enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                       const char *body);

#endif
