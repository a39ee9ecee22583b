#include "client_internal.h"

#include "internal.h"
#include "tunnel/super.h"

void l2t_client_send_control(struct l2t_client *client, enum l2t_type type, const uint8_t *payload,
                             uint32_t bytes)
{
    uint8_t *room = l2t_queue_begin(&client->queue, type, bytes);

    if (room == NULL) {
        client->stats.tx_refused_full++;
        l2t_client_fail(client, L2T_REASON_QUEUE_OVERFLOW, 0, 0);
        return;
    }
    if (bytes != 0)
        l2t_copy(room, payload, bytes);
    l2t_queue_end(&client->queue);
    client->stats.queued_bytes = client->queue.encoded_bytes;
}

/* What a frame may have on its way out: our own limit, and the peer's once it is known. Before,
 * limits above the base one bind as extensions do: they wait for the HELLO. */
uint32_t l2t_client_frame_max(const struct l2t_client *client)
{
    const uint32_t own = client->options.limits.frame_max_bytes;
    uint32_t peer = client->options.super_frames ? L2T_FRAME_MAX_DEFAULT : own;

    if (client->peer_known)
        peer = client->peer.frame_max_bytes;
    return peer < own ? peer : own;
}

static uint8_t *frame_begin(struct l2t_client *client, enum l2t_type type, uint32_t payload_bytes)
{
    uint8_t *room = l2t_queue_begin(&client->queue, type, payload_bytes);

    client->begun_super = false;
    if (room == NULL) {
        client->stats.tx_refused_full++;
        l2t_client_fail(client, L2T_REASON_QUEUE_OVERFLOW, 0, 0);
    }
    return room;
}

uint8_t *l2t_client_send_begin(struct l2t_client *client, uint32_t frame_bytes)
{
    if (client->state != L2T_CONNECTING && client->state != L2T_OPEN) {
        client->stats.tx_refused_state++;
        return NULL;
    }
    if (frame_bytes > l2t_client_frame_max(client)) {
        client->stats.tx_refused_size++;
        /* Who sends super-frames does not know what this peer takes: the frame is lost, no more. */
        if (!client->options.super_frames || frame_bytes > client->options.limits.frame_max_bytes)
            l2t_client_fail(client, L2T_REASON_FRAME_TOO_LARGE, 0, 0);
        return NULL;
    }
    return frame_begin(client, L2T_FRAME, frame_bytes);
}

uint32_t l2t_client_super_max(const struct l2t_client *client)
{
    const bool announced = client->peer_known && (client->peer.flags & L2T_HELLO_SUPER) != 0 &&
                           client->peer.message_max_bytes > L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES;

    if (!announced || client->options.limits.super_max_bytes == 0 || client->state != L2T_OPEN)
        return 0;
    const uint32_t frame_max = l2t_client_frame_max(client);
    const uint32_t message_max =
        client->peer.message_max_bytes - L2T_HEADER_BYTES - L2T_SUPER_HEAD_BYTES;

    return frame_max < message_max ? frame_max : message_max;
}

uint8_t *l2t_client_super_begin(struct l2t_client *client, uint32_t frame_bytes, uint16_t gso_bytes)
{
    if (frame_bytes == 0 || frame_bytes > l2t_client_super_max(client))
        return NULL;
    uint8_t *room = frame_begin(client, L2T_SUPER, L2T_SUPER_HEAD_BYTES + frame_bytes);
    if (room == NULL)
        return NULL;
    client->begun_super = true;
    l2t_put_be16(room, gso_bytes);
    return room + L2T_SUPER_HEAD_BYTES;
}

void l2t_client_send_end(struct l2t_client *client)
{
    const uint32_t before = client->queue.encoded_bytes;

    l2t_queue_end(&client->queue);
    if (client->queue.encoded_bytes == before) /* nothing begun, or given up since */
        return;
    client->stats.tx_frames++;
    client->stats.tx_bytes += client->queue.encoded_bytes - before - L2T_HEADER_BYTES;
    if (client->begun_super) {
        client->stats.tx_supers++;
        client->stats.tx_bytes -= L2T_SUPER_HEAD_BYTES;
    }
    client->stats.queued_bytes = client->queue.encoded_bytes;
}

bool l2t_client_send(struct l2t_client *client, const uint8_t *frame, uint32_t frame_bytes)
{
    uint8_t *room = l2t_client_send_begin(client, frame_bytes);

    if (room == NULL)
        return false;
    if (frame_bytes != 0)
        l2t_copy(room, frame, frame_bytes);
    l2t_client_send_end(client);
    return true;
}

const uint8_t *l2t_client_outbound(struct l2t_client *client, uint32_t *bytes)
{
    const bool batches = client->peer_known && (client->peer.flags & L2T_HELLO_BATCH) != 0;

    *bytes = 0;
    if (client->state != L2T_OPEN)
        return NULL;
    if (client->out.wire == NULL && client->hello_bytes != 0) {
        client->out = (struct l2t_outbound){.wire = client->hello, .bytes = client->hello_bytes};
        client->out_is_hello = true;
    } else if (client->out.wire == NULL) {
        client->out_is_hello = false;
        client->out = l2t_queue_outbound(&client->queue, l2t_client_frame_max(client),
                                         batches ? client->peer.message_max_bytes : 0);
    }
    if (client->out.over_limit != 0) { /* queued before the peer told its limit */
        client->stats.tx_refused_size++;
        l2t_client_fail(client, L2T_REASON_FRAME_TOO_LARGE, 0, 0);
    }
    *bytes = client->out.bytes;
    return client->out.wire;
}

void l2t_client_outbound_done(struct l2t_client *client)
{
    if (client->out.wire == NULL)
        return;
    client->stats.tx_messages++;
    if (client->out_is_hello) {
        client->hello_bytes = 0;
    } else {
        client->stats.tx_batches += client->out.records > 1;
        l2t_queue_drop(&client->queue, &client->out);
        client->stats.queued_bytes = client->queue.encoded_bytes;
    }
    client->out = (struct l2t_outbound){0};
}
