/*
 * client_fixture.h - a client over memory fenced by an unreadable page, and the proxy's half of
 *                    the talk: messages to feed, messages taken off the outbound side.
 */
#ifndef TUNNEL_CLIENT_FIXTURE_H
#define TUNNEL_CLIENT_FIXTURE_H

#include "tunnel/client.h"

struct talk {
    uint8_t *memory;
    size_t memory_bytes;
    struct l2t_client *client;
    uint64_t now_ms;
};

/* Open, base protocol, no keepalive unless the options say otherwise. */
void talk_open(struct talk *talk, uint32_t max_queued_bytes, const struct l2t_options *options);

/* Made, but still in L2T_IDLE. */
void talk_make(struct talk *talk, uint32_t max_queued_bytes, const struct l2t_options *options);
void talk_free(struct talk *talk);

/* Feeds a message given in hex, at talk->now_ms. */
void talk_feed(struct talk *talk, const char *hex);

/* The next event must be of that type. */
struct l2t_event talk_event(struct talk *talk, enum l2t_event_type type);

/* Takes the next outbound message off and compares it; "" when there must be none. */
void talk_outbound(struct talk *talk, const char *hex);

/* Queues `text` as a frame. */
bool talk_send(struct talk *talk, const char *text);

#endif
