/*
 * tcp_world.h - one guest, one NAT and the Internet in memory, driven by scripts.
 *
 * A script is a list of lines, in the spirit of packetdrill. The guest's and the NAT's sequence
 * numbers are relative to their SYNs, so a script runs unchanged at any pair of initial sequence
 * numbers; tcp_script() runs it at several, two of which wrap.
 *
 *   guest FLAGS SEQ+LEN [ack N] [win N] [mss N] [ws N] [sackok] [ts V E] [sack A-B ...]
 *                     the guest sends; FLAGS of S F R P U and . for ACK. The batch ends.
 *   batch FLAGS ...   the same, the batch goes on
 *   fill FROM TO      the guest sends these sequence numbers as one batch of segments of 1000 bytes
 *   nat FLAGS SEQ+LEN ...   the next frame to the guest is this; fields left out are not compared
 *   silence           no frame waits
 *   +N us|ms|s        the clock advances, timers run on their way
 *   connects | refuses [N]     the host's connect() succeeds, fails with errno N
 *   host opens N      tcp_connect() was called N times so far
 *   host got N        the kernel holds N bytes from the guest in all, the right ones
 *   host shut | host closed | host reset | host waiting   what the NAT did with the socket
 *   host consumed N   bytes the NAT took from the kernel's receive queue in all
 *   host room N       the kernel takes N more bytes; WRITABLE follows if it refused some
 *   remote sends N | remote closes | remote breaks
 *   queue N           the outbound queue takes N more frames; nat_writable() if it was full
 *   limit N           the client's HELLO comes now: frames of at most N bytes
 *   metric NAME N
 */
#ifndef PROXY_TCP_WORLD_H
#define PROXY_TCP_WORLD_H

#include "nat/nat.h"
#include "nic/packet.h"
#include "policy/policy.h"

enum {
    WORLD_SOCKETS = 64,
    WORLD_FRAMES = 4096,
    WORLD_FRAME_BYTES = 2048, /* room of one, unless the configuration wants more */
    WORLD_PAYLOAD_MAX = 65536,
    WORLD_PLACES = 64,
};

struct world_segment { /* absolute sequence numbers */
    uint16_t guest_port, remote_port;
    uint8_t remote[4];
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint8_t options[40];
    uint32_t options_bytes;
    const uint8_t *payload;
    uint32_t payload_bytes;
};

struct world_socket {
    bool is_open, is_connected, was_reset, was_closed, is_shut, refused_send;
    uint32_t cookie;
    struct nat_endpoint remote;
    int error;
    uint8_t *in; /* from the remote: [in_at, in_bytes) is unconsumed */
    size_t in_at, in_bytes, in_room;
    bool in_eof;
    uint8_t *out; /* from the guest */
    size_t out_bytes, out_room;
    uint32_t send_room; /* what the kernel would take now */
    int broken;         /* errno of every call from now on */
};

struct world {
    struct nat_config config;
    struct nat_metrics metrics;
    struct policy *policy;
    struct nat *nat;
    uint64_t now_us;
    uint32_t nat_isn;
    uint32_t connects;
    struct world_socket sockets[WORLD_SOCKETS];

    uint32_t frame_bytes;     /* room of each: the configured limit, or what `limit` said */
    uint32_t frame_max_bytes; /* what the NAT may send */
    uint8_t *frames;          /* to the guest: a ring */
    uint32_t *frame_lengths;
    uint32_t frame_first, frame_count;
    uint32_t queue_room; /* frames it takes; refused_frames: it said no */
    bool refused_frames;
    uint32_t reserved, reserved_bytes;

    uint8_t *sent; /* by the guest, in place until the flush */
    uint32_t sent_count;
};

/** Fills in the defaults and opens the NAT; `configure` may change the configuration before. */
void world_open(struct world *world, uint32_t nat_isn, void (*configure)(struct nat_config *));
void world_close(struct world *world);
void world_advance(struct world *world, uint64_t us);
/** Builds and delivers a segment; it belongs to the batch until world_flush(). */
void world_guest_sends(struct world *world, const struct world_segment *segment);
void world_flush(struct world *world);
/** The next segment to the guest, its checksums verified; false: none. Borrowed from the ring. */
bool world_guest_gets(struct world *world, struct world_segment *segment);
void world_event(struct world *world, struct world_socket *socket, uint32_t events);
void world_remote_sends(struct world *world, struct world_socket *socket, const uint8_t *data,
                        size_t bytes);
void world_room(struct world *world, struct world_socket *socket, uint32_t bytes);
void world_queue(struct world *world, uint32_t frames);
/** The client announces its frame limit. */
void world_limit(struct world *world, uint32_t frame_max_bytes);
uint8_t world_pattern(uint32_t offset);

/** Runs a script, last line NULL, at several pairs of initial sequence numbers. */
void tcp_script(const char *const *lines);
void tcp_script_with(void (*configure)(struct nat_config *), const char *const *lines);

#define TCP_SCRIPT(...) tcp_script((const char *const[]){__VA_ARGS__, NULL})
#define TCP_SCRIPT_WITH(configure, ...)                                                            \
    tcp_script_with(configure, (const char *const[]){__VA_ARGS__, NULL})

#endif
