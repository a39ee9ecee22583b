/*
 * host.h - the host's side of the NAT: non-blocking sockets and the resolver of one worker.
 *
 * Source   nat/nat.h (struct nat_host), tcp(7), udp(7), socket(7) SO_PEEK_OFF, epoll(7).
 * Memory   host_new() allocates a table indexed by file descriptor and a pool of DNS queries;
 *          after that only c-ares allocates.
 * Threads  One host per worker; everything here is called on its loop.
 * Events   One edge-triggered epoll per host, itself watched by one uv_poll. libuv's own poll is
 *          level triggered and would spin on bytes that are peeked but not consumed yet.
 */
#ifndef PROXY_HOST_H
#define PROXY_HOST_H

#include <uv.h>

#include "nat/nat.h"

struct host;

/* Whom a socket's events and answers belong to. Lives in the session; the NAT's context. */
struct host_client {
    struct host *host;
    struct nat *nat;
    void (*touched)(struct host_client *client); /* the NAT ran: flush and re-arm soon */
    uint32_t queries;                            /* DNS queries out; host's own */
};

/** `dns_servers` NULL: the system's. Returns NULL with a reason on stderr. */
struct host *host_new(uv_loop_t *loop, const char *dns_servers, uint32_t dns_timeout_ms);
/** TCP sockets opened from now on ask a remote that was quiet for so long (tcp(7)); 0, as at first:
 *  never. */
void host_keepalive(struct host *host, uint32_t idle_ms);
/** Stops watching; the loop must run once more before host_free(). */
void host_close(struct host *host);
void host_free(struct host *host);

/** Fills the socket and resolver members of *ops; `client` must be ops->context. ping_connect is
 *  NULL where the kernel refuses ICMP sockets (icmp(7): ping_group_range). */
void host_bind(struct host *host, struct host_client *client, struct nat_host *ops);

/** The client goes away: answers still out are thrown away. Sockets were closed by the NAT. */
void host_forget(struct host_client *client);

/** Tells whether SO_PEEK_OFF works on TCP here; tests switch it off to reach the fallback. */
bool host_peek_offset_supported(void);
void host_peek_offset_force(struct host *host, bool use);

#endif
