/*
 * nat.h - the synthetic LAN of one guest: Ethernet frames on one side, host sockets on the other.
 *
 * Source   spec/l2-proxy.md §5, §6 (cited as §) and the RFCs named in each file.
 * Memory   nat_open() allocates the session's tables once (sizes from struct nat_config); after
 *          that nothing allocates. Full tables refuse and count.
 * Threads  One session, one thread. struct nat_config and struct nat_metrics are shared by all.
 * I/O      None here: the host's sockets, resolver and the frame sink are reached through
 *          struct nat_host. So the whole NAT runs under a virtual host and clock in tests.
 * Clock    now_us is a monotonic microsecond clock, read once per wake-up by the caller.
 * Hostile  Frames are written by an attacker; so are DNS answers and remote bytes.
 */
#ifndef PROXY_NAT_H
#define PROXY_NAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct nat;
struct policy; /* policy/policy.h */

/* A remote endpoint. IPv4 uses the first four bytes of `address`. */
struct nat_endpoint {
    uint8_t family; /* 4 or 6 */
    uint8_t address[16];
    uint16_t port; /* host order */
};

/* What a host socket has to say; delivered by the host through nat_socket_event(). Edge
 * triggered: READABLE is repeated only when more arrives. */
enum nat_socket_event {
    NAT_SOCKET_CONNECTED = 1u << 0, /* TCP: connect() succeeded */
    NAT_SOCKET_READABLE = 1u << 1,  /* data, EOF or a pending error */
    NAT_SOCKET_WRITABLE = 1u << 2,
    NAT_SOCKET_FAILED = 1u << 3, /* connect failed or the socket broke: nat_host.error() */
};

/*
 * What the NAT asks of its host. `socket` is the handle (>= 0) an open call returned; results
 * are >= 0 or a negative errno. Nothing blocks.
 */
struct nat_host {
    void *context;

    /*
     * Frames to the guest. reserve() gives up to `count` places of `bytes` each in the outbound
     * queue and returns how many (0: full; nat_writable() follows when there is room again).
     * commit() sends the first `count` of the places last reserved, all full but the last, which
     * holds `last_bytes`; the others vanish. One reservation at a time.
     */
    uint32_t (*frame_reserve)(void *context, uint32_t bytes, uint32_t count, uint8_t **places);
    void (*frame_commit)(void *context, uint32_t count, uint32_t last_bytes);
    /*
     * Super-frames (spec/l2-extensions.md §6), used once nat_super_limit() was called: one place,
     * or NULL like frame_reserve()'s 0. super_commit() sends its first `bytes`; 0: it vanishes.
     */
    uint8_t *(*super_reserve)(void *context, uint32_t bytes);
    void (*super_commit)(void *context, uint32_t bytes, uint16_t gso_bytes);

    /* Sockets. `cookie` comes back in nat_socket_event(). TCP sockets have TCP_NODELAY. */
    int (*tcp_connect)(void *context, uint32_t cookie, const struct nat_endpoint *remote);
    int (*udp_connect)(void *context, uint32_t cookie, const struct nat_endpoint *remote);
    /* Optional (NULL: the host does not allow it): an unprivileged ICMP echo socket. udp_send()
     * and udp_receive() carry whole ICMP messages; the kernel picks the identifier. */
    int (*ping_connect)(void *context, uint32_t cookie, const struct nat_endpoint *remote);
    /* Optional, for full-cone UDP: a socket that any remote may answer. udp_receive_from() says
     * in *remote who did. */
    int (*udp_open)(void *context, uint32_t cookie, uint8_t family);
    ssize_t (*udp_send_to)(void *context, int socket, const struct nat_endpoint *remote,
                           const uint8_t *data, uint32_t bytes);
    ssize_t (*udp_receive_from)(void *context, int socket, struct nat_endpoint *remote,
                                uint8_t *data, uint32_t max_bytes);
    /* TCP: copies received bytes from `offset` behind the consumed ones on, without consuming.
     * Returns bytes, 0 at EOF exactly there, -EAGAIN when no more is there yet. */
    ssize_t (*tcp_peek)(void *context, int socket, uint32_t offset, const struct iovec *to,
                        int to_count);
    /* TCP: bytes received and not consumed yet; for super-frames. */
    uint32_t (*tcp_unread)(void *context, int socket);
    /* TCP: connect() has ended, well or not; the event that says so may not have come yet. */
    bool (*tcp_connect_ended)(void *context, int socket);
    /* TCP: drops `bytes` peeked bytes; the guest has acknowledged them. */
    int (*tcp_consume)(void *context, int socket, uint32_t bytes);
    /* TCP: bytes the kernel took (may be fewer), or -EAGAIN; WRITABLE follows then. */
    ssize_t (*tcp_send)(void *context, int socket, const struct iovec *from, int from_count);
    /* TCP: bytes the kernel would take now, a hint for the receive window. */
    uint32_t (*tcp_send_space)(void *context, int socket);
    int (*tcp_shutdown_write)(void *context, int socket);
    ssize_t (*udp_send)(void *context, int socket, const uint8_t *data, uint32_t bytes);
    ssize_t (*udp_receive)(void *context, int socket, uint8_t *data, uint32_t max_bytes);
    /* Optional, IPv4: from now on datagrams leave in one piece or, with -EMSGSIZE, not at all; or
     * as the kernel likes. Returns the MTU of the path as far as it is known. */
    int (*udp_whole)(void *context, int socket, bool whole);
    int (*error)(void *context, int socket); /* SO_ERROR as a positive errno, 0 if none */
    void (*close)(void *context, int socket, bool reset);

    /* Resolver: exactly one nat_dns_answer() with `query` follows, never from inside the call.
     * `name` is lower case without trailing dot. Returns 0 or a negative errno (no answer). */
    int (*dns_query)(void *context, uint32_t query, const char *name, uint16_t type);

    uint64_t (*random)(void *context); /* for ISN, ports, ids */

    /* Optional: one for all sessions of a thread, of which only one is between nat_input() and
     * nat_flush() at a time. NULL: the session brings its own. */
    struct nat_batch *batch;
};

/** What is noted of a batch's frames until nat_flush(). NULL when memory ran out. */
struct nat_batch *nat_batch_new(void);
void nat_batch_free(struct nat_batch *batch);

struct nat_forward { /* AERO_L2_TCP_FORWARD, AERO_L2_UDP_FORWARD: numeric after start-up */
    struct nat_endpoint from, to;
};

struct nat_dns_override { /* AERO_L2_DNS_A */
    char name[254];
    uint8_t address[4];
};

enum { NAT_NTP_MAX = 4, NAT_DOMAIN_MAX_CHARS = 190 }; /* so that a reply fits 548 bytes */

struct nat_config {
    const struct policy *policy;
    uint8_t gateway_mac[6];
    uint8_t network[4], gateway[4], guest[4], netmask[4];
    uint32_t lan_mtu;         /* AERO_L2_LAN_MTU */
    uint32_t frame_max_bytes; /* tunnel limit, for a client that announces none */
    uint32_t tcp_max;         /* AERO_L2_STACK_MAX_TCP_CONNECTIONS */
    uint32_t udp_max;         /* AERO_L2_MAX_UDP_FLOWS_PER_TUNNEL; 0: 65535 */
    uint32_t udp_idle_ms;     /* 0: never */
    bool udp_evict_oldest;    /* a flow above udp_max takes the least recently used one's place */
    bool ipv6;                /* AERO_L2_IPV6: the LAN has a /64 and a router */
    bool udp_full_cone;       /* a guest port is one socket that answers to everybody */
    uint32_t tcp_connect_timeout_ms;
    uint32_t tcp_early_bytes;      /* AERO_L2_STACK_MAX_BUFFERED_TCP_BYTES_PER_CONN */
    uint32_t tcp_window_max_bytes; /* receive window towards the guest, from 65535 on */
    uint32_t tcp_keepalive_ms;     /* a guest quiet for so long is asked; 0: never */
    uint32_t dns_pending_max, dns_cache_max, dns_timeout_ms, dns_default_ttl_s, dns_max_ttl_s;
    const struct nat_forward *tcp_forwards, *udp_forwards;
    uint32_t tcp_forward_count, udp_forward_count;
    const struct nat_dns_override *dns_overrides;
    uint32_t dns_override_count;
    char dhcp_domain[NAT_DOMAIN_MAX_CHARS + 1]; /* option 15; "": none */
    uint8_t dhcp_ntp[NAT_NTP_MAX][4];           /* option 42 */
    uint32_t dhcp_ntp_count;
};

struct nat_metrics { /* §7; the session layer owns one per process */
    _Atomic int64_t tcp_conns_active, udp_flows_active;
    _Atomic uint64_t policy_denied_total, tcp_connect_fail_total, udp_send_fail_total,
        udp_flow_limit_exceeded_total, tcp_flow_limit_exceeded_total, dns_queries_total,
        dns_fail_total;
    _Atomic uint64_t guest_frames_ignored_total, guest_bad_checksum_total, guest_malformed_total,
        guest_before_lease_total;
    _Atomic uint64_t tcp_retransmits_total, tcp_out_of_order_total, tcp_resets_total,
        tcp_zero_window_probes_total;
};

/** Bytes of memory one idle session takes; for --help and capacity planning. */
size_t nat_session_bytes(const struct nat_config *config);

/** Returns a LAN with no lease and no flow, or NULL when memory ran out. */
struct nat *nat_open(const struct nat_config *config, const struct nat_host *host,
                     struct nat_metrics *metrics, uint64_t now_us);

/**
 * The client takes frames of at most `frame_max_bytes`, from now on, also of flows that are there
 * already. Returns the LAN's MTU: what was configured, as far as that fits; more than Ethernet's
 * 1500 only above the tunnel's base limit (spec/l2-extensions.md §4). DHCP option 26, router
 * advertisements and the MSS of later flows follow it.
 */
uint32_t nat_frame_limit(struct nat *nat, uint32_t frame_max_bytes);

/** The client takes super-frames of at most `frame_max_bytes`; 0, at first: none. */
void nat_super_limit(struct nat *nat, uint32_t frame_max_bytes);

/** Closes every host socket (reset) and frees the tables. */
void nat_close(struct nat *nat);

/**
 * One frame from the guest. It must stay in place until nat_flush(), so that the payload of
 * several frames can go to the host in one call.
 */
void nat_input(struct nat *nat, const uint8_t *frame, uint32_t bytes, uint64_t now_us);

/** The same for a well-formed super-frame: its checksums mean nothing (l2-extensions.md §6). */
void nat_input_super(struct nat *nat, const uint8_t *frame, uint32_t bytes, uint64_t now_us);

/** Ends a batch of nat_input(): hands gathered payload to the host, sends what is due. */
void nat_flush(struct nat *nat, uint64_t now_us);

void nat_socket_event(struct nat *nat, uint32_t cookie, uint32_t events, uint64_t now_us);

/** The outbound queue has room again after frame_reserve() gave less than asked. */
void nat_writable(struct nat *nat, uint64_t now_us);

/** A raw DNS message for `query`, or wire == NULL with a negative errno in `status`. */
void nat_dns_answer(struct nat *nat, uint32_t query, const uint8_t *wire, size_t wire_bytes,
                    int status, uint64_t now_us);

/** Runs timers due. Returns the time of the next one, or UINT64_MAX. */
uint64_t nat_tick(struct nat *nat, uint64_t now_us);

#endif
