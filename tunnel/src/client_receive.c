#include "client_internal.h"

#include "internal.h"
#include "tunnel/super.h"

static void undecodable(struct l2t_client *client, int error, uint64_t now_ms)
{
    client->stats.rx_undecodable++;
    l2t_client_emit_throttled(client,
                              (struct l2t_event){.type = L2T_EVENT_ERROR,
                                                 .reason = L2T_REASON_UNDECODABLE,
                                                 .code = error},
                              now_ms);
}

static void take_frame(struct l2t_client *client, const uint8_t *frame, uint32_t frame_bytes,
                       uint16_t gso_bytes)
{
    client->frame = frame;
    client->frame_bytes = frame_bytes;
    client->frame_gso_bytes = gso_bytes;
    client->stats.rx_frames++;
    client->stats.rx_bytes += frame_bytes;
}

static int take_super(struct l2t_client *client, const struct l2t_message *message)
{
    struct l2t_super super;
    const int error = l2t_super_parse(&super, message->payload, message->payload_bytes,
                                      client->options.limits.super_max_bytes);

    if (error != 0)
        return error;
    take_frame(client, super.frame, super.frame_bytes, super.gso_bytes);
    client->stats.rx_supers++;
    return 0;
}

static void take_pong(struct l2t_client *client, const struct l2t_message *message, uint64_t now_ms)
{
    struct l2t_event event = {.type = L2T_EVENT_PONG, .rtt_ms = UINT32_MAX};

    client->stats.pongs_received++;
    for (uint32_t i = 0; message->payload_bytes >= L2T_NONCE_BYTES && i < L2T_PINGS_REMEMBERED;
         i++) {
        struct l2t_ping *ping = &client->pings[i];

        if (!ping->waiting || ping->nonce != l2t_be32(message->payload))
            continue;
        const uint64_t rtt_ms = now_ms - ping->sent_ms;
        ping->waiting = false;
        event.rtt_ms = rtt_ms < UINT32_MAX ? (uint32_t)rtt_ms : UINT32_MAX - 1;
        client->stats.last_rtt_ms = event.rtt_ms;
        break;
    }
    l2t_client_emit(client, event);
}

static void take_error(struct l2t_client *client, const struct l2t_message *message,
                       uint64_t now_ms)
{
    const struct l2t_error_payload error =
        l2t_error_parse(message->payload, message->payload_bytes);
    struct l2t_event event = {
        .type = L2T_EVENT_ERROR,
        .reason = L2T_REASON_PEER_ERROR,
        .code = error.structured ? error.code : -1,
        .detail = error.structured ? 0 : message->payload_bytes,
    };

    client->stats.rx_errors++;
    l2t_client_emit_throttled(client, event, now_ms);
}

static int take_hello(struct l2t_client *client, const struct l2t_message *message)
{
    struct l2t_hello hello;

    if (client->peer_known)
        return L2T_ERR_HELLO_AGAIN;
    const int error = l2t_hello_parse(&hello, message->payload, message->payload_bytes);
    if (error == L2T_ERR_HELLO_VERSION) { /* a HELLO to come: for us an unknown type */
        client->stats.rx_unknown_type++;
        return 0;
    }
    if (error != 0)
        return error;
    client->peer = hello;
    client->peer_known = true;
    return 0;
}

static int take_batch(struct l2t_client *client, const struct l2t_message *message)
{
    const int32_t frames = l2t_batch_open(&client->batch, message->payload, message->payload_bytes,
                                          client->options.limits.frame_max_bytes);
    if (frames < 0)
        return frames;
    client->stats.rx_batches++;
    client->stats.rx_frames += (uint32_t)frames;
    client->stats.rx_bytes +=
        message->payload_bytes - (uint32_t)frames * L2T_BATCH_ENTRY_HEAD_BYTES;
    return 0;
}

/* Returns 0 or, for a message that is malformed inside, an l2t_error. */
static int take_message(struct l2t_client *client, const struct l2t_message *message,
                        uint64_t now_ms)
{
    const bool extensions = !client->options.base_protocol_only;

    switch (message->type) {
    case L2T_FRAME:
        take_frame(client, message->payload, message->payload_bytes, 0);
        return 0;
    case L2T_PING:
        l2t_client_send_control(client, L2T_PONG, message->payload, message->payload_bytes);
        return 0;
    case L2T_PONG:
        take_pong(client, message, now_ms);
        return 0;
    case L2T_ERROR:
        take_error(client, message, now_ms);
        return 0;
    case L2T_HELLO:
        if (extensions)
            return take_hello(client, message);
        break;
    case L2T_BATCH:
        if (extensions)
            return take_batch(client, message);
        break;
    case L2T_SUPER:
        if (client->options.super_frames)
            return take_super(client, message);
        break;
    default:
        break;
    }
    client->stats.rx_unknown_type++;
    return 0;
}

void l2t_client_feed(struct l2t_client *client, const uint8_t *wire, size_t wire_bytes,
                     uint64_t now_ms)
{
    struct l2t_message message;

    client->frame = NULL; /* what was not fetched is gone: it was borrowed */
    client->batch = (struct l2t_batch_reader){0};
    if (client->state != L2T_OPEN)
        return;
    int error = l2t_decode(&message, wire, wire_bytes, &client->options.limits);
    if (error == 0)
        error = take_message(client, &message, now_ms);
    if (error != 0) {
        undecodable(client, error, now_ms);
        return;
    }
    client->stats.rx_messages++;
    client->inbound_ms = now_ms;
    client->ping_since_inbound = false;
}
