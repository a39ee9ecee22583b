/*
 * client_internal.h - what the client's three files share: client.c (its life, events and timers),
 *                     client_send.c (the way out) and client_receive.c (the way in).
 */
#ifndef TUNNEL_CLIENT_INTERNAL_H
#define TUNNEL_CLIENT_INTERNAL_H

#include "queue.h"
#include "tunnel/batch.h"
#include "tunnel/client.h"

enum {
    L2T_EVENTS_MAX = 8, /* one call makes two at most; fetched before the next feed */
    L2T_NONCE_BYTES = 4,
    L2T_HELLO_ROOM_BYTES = 64, /* ours has two tags: 20 bytes */
};

struct l2t_ping {
    uint32_t nonce;
    bool waiting;
    uint64_t sent_ms;
};

struct l2t_client {
    enum l2t_state state;
    struct l2t_options options;
    struct l2t_client_stats stats;
    struct l2t_queue queue;

    struct l2t_outbound out; /* handed out, not yet done */
    bool out_is_hello;
    bool begun_super;
    uint8_t hello[L2T_HELLO_ROOM_BYTES];
    uint32_t hello_bytes; /* 0: sent, or none to send */
    bool peer_known;
    struct l2t_hello peer;

    struct l2t_event events[L2T_EVENTS_MAX];
    uint32_t events_first, events_count;
    bool close_pending;
    uint16_t close_code;
    const uint8_t *frame; /* of a FRAME message not yet fetched */
    uint32_t frame_bytes;
    uint16_t frame_gso_bytes;
    struct l2t_batch_reader batch;

    struct l2t_ping pings[L2T_PINGS_REMEMBERED];
    uint32_t pings_next; /* the slot of the oldest */
    uint32_t nonce;
    uint32_t random;
    bool ping_scheduled;
    uint64_t ping_at_ms;
    uint64_t inbound_ms; /* last valid message, or open (§8) */
    bool ping_since_inbound;
    bool error_emitted;
    uint64_t error_ms; /* of the last throttled event */
};

void l2t_client_emit(struct l2t_client *client, struct l2t_event event);
/** At most one per error_interval_ms; what is held back is counted. */
void l2t_client_emit_throttled(struct l2t_client *client, struct l2t_event event, uint64_t now_ms);
/** Ends the tunnel. Its error is never throttled: it comes once. close_code 0: none. */
void l2t_client_fail(struct l2t_client *client, enum l2t_reason reason, int32_t code,
                     uint16_t close_code);
/** Queues a PING or PONG; no room is the overflow of §9.1. */
void l2t_client_send_control(struct l2t_client *client, enum l2t_type type, const uint8_t *payload,
                             uint32_t bytes);

#endif
