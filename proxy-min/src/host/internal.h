/* internal.h - what sockets.c and resolver.c share. */
#ifndef PROXY_HOST_INTERNAL_H
#define PROXY_HOST_INTERNAL_H

#include <ares.h>

#include "host/host.h"

/* One row per file descriptor. A handle given to the NAT is the descriptor itself. */
struct host_socket {
    struct host_client *client; /* NULL: not ours */
    uint32_t generation;        /* grows at each open: events of an earlier life do not match */
    uint32_t cookie;
    uint32_t peek_offset; /* what the kernel's SO_PEEK_OFF stands at */
    uint32_t hold_bytes;  /* unread data its receive buffer was made to hold */
    bool tcp, connecting, want_write, peer_ended;
};

/* A query handed to c-ares. */
struct host_query {
    struct host *host;
    struct host_client *client; /* NULL: the client went away, the answer is thrown away */
    struct host_query *next;    /* free list, or the list of answers to deliver later */
    uint32_t query;
    int status;      /* when it is delivered later */
    bool submitting; /* inside ares_query(): the answer must wait for the next wake-up */
};

enum {
    HOST_QUERIES = 4096,   /* per worker; more are refused */
    HOST_EVENTS = 256,     /* per epoll_wait() */
    HOST_DNS_SOCKETS = 64, /* c-ares: a UDP and a TCP socket per server */
};

struct host_dns_socket {
    uv_poll_t poll;
    struct host *host;
    ares_socket_t fd;
    bool used;
};

struct host {
    uv_loop_t *loop;
    int epoll_fd;
    uv_poll_t poll;
    struct host_socket *sockets; /* indexed by descriptor */
    uint32_t socket_max;
    bool use_peek_offset;
    int keepalive_s;  /* 0: off */
    bool can_ping;    /* the kernel lends this group ICMP sockets */
    uint8_t *scratch; /* what the fallback of tcp_peek skips is read into here */

    ares_channel channel;
    bool has_channel;
    uv_timer_t dns_timer;
    uv_idle_t dns_idle; /* runs while `failed` is not empty */
    struct host_dns_socket dns_sockets[HOST_DNS_SOCKETS];
    struct host_query *queries, *free_queries, *failed;
};

/* resolver.c */
int host_resolver_init(struct host *host, const char *servers, uint32_t timeout_ms);
void host_resolver_close(struct host *host);
int host_dns_query(void *context, uint32_t query, const char *name, uint16_t type);

#endif
