/*
 * client.h - the client's side of the tunnel as a state machine: bytes and a clock reading in,
 *            bytes and events out. Who owns the WebSocket drives it.
 *
 * Source   spec/l2-tunnel.md §8, §9; every § below is a section of it. HELLO, BATCH and SUPER:
 *          spec/l2-extensions.md.
 * Memory   The caller owns struct l2t_client and the queue memory given at init; nothing
 *          allocates. An outbound message borrows it until l2t_client_outbound_done(), a FRAME
 *          event borrows the wire it was fed.
 * Clock    now_ms is any monotonic millisecond clock; it never goes back.
 * Hostile  Whatever l2t_client_feed() gets leaves a usable client.
 */
#ifndef TUNNEL_CLIENT_H
#define TUNNEL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/codec.h"
#include "tunnel/hello.h"

enum { L2T_PINGS_REMEMBERED = 16 };

enum l2t_state { L2T_IDLE, L2T_CONNECTING, L2T_OPEN, L2T_CLOSED };

struct l2t_options {
    struct l2t_limits limits;  /* zero: the defaults of §4, L2T_BATCH_MESSAGE_MAX */
    uint32_t keepalive_min_ms; /* §8; both 0: no keepalive */
    uint32_t keepalive_max_ms;
    uint32_t error_interval_ms; /* one throttled error event per interval; 0: unlimited */
    uint32_t random_seed;       /* jitter and first nonce */
    bool base_protocol_only;    /* send no HELLO, take HELLO and BATCH for unknown types */
    bool super_frames;          /* announce SUPER; frames of L2T_FRAME_MAX_JUMBO by default */
};

struct l2t_client_stats {
    uint64_t tx_frames, tx_bytes; /* frames accepted by l2t_client_send_* */
    uint64_t rx_frames, rx_bytes;
    uint64_t tx_refused_state; /* not connected, closing */
    uint64_t tx_refused_size;  /* over the frame limit: closes (§9.1) */
    uint64_t tx_refused_full;  /* queue overflow: closes (§9.1) */
    uint64_t rx_undecodable;
    uint64_t rx_unknown_type;
    uint64_t rx_errors;         /* ERROR messages */
    uint64_t errors_suppressed; /* by the throttle */
    uint64_t pings_sent, pongs_received;
    uint32_t last_rtt_ms;             /* UINT32_MAX before the first sample */
    uint32_t queued_bytes;            /* encoded as FRAME, not yet outbound_done() */
    uint64_t tx_messages, tx_batches; /* handed out and done; BATCH among them */
    uint64_t rx_messages, rx_batches; /* valid ones */
    uint64_t tx_supers, rx_supers;    /* SUPER; among the frames and messages above */
    uint64_t events_lost;             /* PONG or ERROR events nobody fetched in time */
};

enum l2t_event_type {
    L2T_EVENT_NONE,
    L2T_EVENT_FRAME, /* frame, frame_bytes, gso_bytes */
    L2T_EVENT_PONG,  /* rtt_ms, or UINT32_MAX for an unknown nonce */
    L2T_EVENT_ERROR, /* reason, code */
    L2T_EVENT_CLOSE, /* close_code: the owner must close the transport with it; 0: none given */
};

enum l2t_reason {
    L2T_REASON_PEER_ERROR,  /* ERROR message; code as received, -1 if unstructured */
    L2T_REASON_UNDECODABLE, /* code is the l2t_error, HELLO's and BATCH's too */
    L2T_REASON_FRAME_TOO_LARGE,
    L2T_REASON_QUEUE_OVERFLOW,
    L2T_REASON_DEAD_PEER,
    L2T_REASON_SUBPROTOCOL,
};

struct l2t_event {
    enum l2t_event_type type;
    const uint8_t *frame;
    uint32_t frame_bytes;
    uint16_t gso_bytes; /* a super-frame's segments; 0: an ordinary frame */
    uint32_t rtt_ms;
    enum l2t_reason reason;
    int32_t code;
    uint32_t detail; /* unstructured ERROR: its payload length */
    uint16_t close_code;
};

struct l2t_client;

/**
 * Bytes for a client that queues up to max_queued_bytes of encoded messages with these limits.
 * 0: the options are out of range (below).
 */
size_t l2t_client_bytes(uint32_t max_queued_bytes, const struct l2t_options *options);

/**
 * Returns the client in L2T_IDLE, or NULL: memory short or not aligned to 8, keepalive min > max,
 * a limit of 16 MiB or more.
 */
struct l2t_client *l2t_client_init(void *memory, size_t memory_bytes, uint32_t max_queued_bytes,
                                   const struct l2t_options *options);

enum l2t_state l2t_client_state(const struct l2t_client *client);
const struct l2t_client_stats *l2t_client_stats(const struct l2t_client *client);

/** The proxy's HELLO, or NULL as long as none came: then the base protocol is spoken. */
const struct l2t_hello *l2t_client_peer(const struct l2t_client *client);

/** The owner starts to connect: frames may be queued from now on. */
void l2t_client_connecting(struct l2t_client *client, uint64_t now_ms);

/** The transport is open; subprotocol_ok false makes it a CLOSE 1002 event (§2). */
void l2t_client_opened(struct l2t_client *client, bool subprotocol_ok, uint64_t now_ms);

/** The transport is gone, or the owner closes: the queue is discarded. */
void l2t_client_closed(struct l2t_client *client);

/**
 * Queues one frame (§9.3): room for `frame_bytes` to fill in before l2t_client_send_end(), or
 * NULL when it was refused (stats say why; an event may follow). Any other call in between
 * gives the room up.
 */
uint8_t *l2t_client_send_begin(struct l2t_client *client, uint32_t frame_bytes);
void l2t_client_send_end(struct l2t_client *client);

/** The longest frame that may be sent now: our own limit, and the peer's. */
uint32_t l2t_client_frame_max(const struct l2t_client *client);

/** The longest super-frame the peer takes; 0: none, or no HELLO of its came yet. */
uint32_t l2t_client_super_max(const struct l2t_client *client);
/**
 * As l2t_client_send_begin(), for a frame that l2t_super_headers() agrees with, of at most
 * l2t_client_super_max() bytes. NULL above that without any further consequence: it must be cut.
 */
uint8_t *l2t_client_super_begin(struct l2t_client *client, uint32_t frame_bytes,
                                uint16_t gso_bytes);
bool l2t_client_send(struct l2t_client *client, const uint8_t *frame, uint32_t frame_bytes);

/**
 * The next message to send, or NULL: nothing waits, or the tunnel is not open. HELLO comes first.
 * With a peer that takes BATCH it carries all frames that wait, up to the peer's limit; a lone
 * frame goes as FRAME. It stays the same until l2t_client_outbound_done().
 */
const uint8_t *l2t_client_outbound(struct l2t_client *client, uint32_t *bytes);
void l2t_client_outbound_done(struct l2t_client *client);

/**
 * One binary transport message. Its events come from l2t_client_event() before the next feed;
 * a FRAME event borrows `wire`.
 */
void l2t_client_feed(struct l2t_client *client, const uint8_t *wire, size_t wire_bytes,
                     uint64_t now_ms);

/**
 * Keepalive and dead-peer clock (§8). Returns the time of the next tick wanted, or UINT64_MAX.
 * To be called once after l2t_client_opened(), then at the time it returned last or later.
 */
uint64_t l2t_client_tick(struct l2t_client *client, uint64_t now_ms);

/** The next event; L2T_EVENT_NONE when there is none left. CLOSE is always the last. */
struct l2t_event l2t_client_event(struct l2t_client *client);

#endif
