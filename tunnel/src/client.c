#include "tunnel/client.h"

#include "internal.h"
#include "queue.h"
#include "tunnel/batch.h"
#include "tunnel/super.h"

enum {
    EVENTS_MAX = 8,      /* one call makes two at most; fetched before the next feed */
    LIMIT_MAX = 1 << 24, /* keeps every sum of sizes far from 2^32 */
    NONCE_BYTES = 4,
    HELLO_ROOM_BYTES = 64, /* ours has two tags: 20 bytes */
    CLOSE_PROTOCOL = 1002, /* §7 */
};

struct ping {
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
    uint8_t hello[HELLO_ROOM_BYTES];
    uint32_t hello_bytes; /* 0: sent, or none to send */
    bool peer_known;
    struct l2t_hello peer;

    struct l2t_event events[EVENTS_MAX];
    uint32_t events_first, events_count;
    bool close_pending;
    uint16_t close_code;
    const uint8_t *frame; /* of a FRAME message not yet fetched */
    uint32_t frame_bytes;
    uint16_t frame_gso_bytes;
    struct l2t_batch_reader batch;

    struct ping pings[L2T_PINGS_REMEMBERED];
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

static uint32_t super_message_bytes(const struct l2t_limits *limits)
{
    return L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES + limits->super_max_bytes;
}

/* Fills in defaults; false when an option is out of range (§9.1). */
static bool options_settle(struct l2t_options *options)
{
    struct l2t_limits *limits = &options->limits;

    if (options->base_protocol_only)
        options->super_frames = false;
    if (limits->frame_max_bytes == 0)
        limits->frame_max_bytes =
            options->super_frames ? L2T_FRAME_MAX_JUMBO : L2T_FRAME_MAX_DEFAULT;
    limits->super_max_bytes = options->super_frames ? limits->frame_max_bytes : 0;
    if (limits->control_max_bytes == 0)
        limits->control_max_bytes = L2T_CONTROL_MAX_DEFAULT;
    if (limits->message_max_bytes == 0)
        limits->message_max_bytes = L2T_BATCH_MESSAGE_MAX;
    if (options->super_frames && limits->message_max_bytes < super_message_bytes(limits))
        limits->message_max_bytes = super_message_bytes(limits); /* tag 2 is for any message */
    if (options->base_protocol_only)
        limits->message_max_bytes = 0; /* the codec then takes BATCH for an unknown type */
    return limits->frame_max_bytes < LIMIT_MAX && limits->control_max_bytes < LIMIT_MAX &&
           limits->message_max_bytes < LIMIT_MAX &&
           options->keepalive_min_ms <= options->keepalive_max_ms;
}

size_t l2t_client_bytes(uint32_t max_queued_bytes, const struct l2t_options *options)
{
    struct l2t_options settled = *options;

    if (!options_settle(&settled))
        return 0;
    const size_t ring_bytes = l2t_queue_ring_bytes(max_queued_bytes, &settled.limits);
    return ring_bytes == 0 ? 0 : sizeof(struct l2t_client) + ring_bytes;
}

/* xorshift32: jitter against synchronised clients needs no more. */
static uint32_t random_next(struct l2t_client *client)
{
    uint32_t x = client->random;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    client->random = x;
    return x;
}

static void hello_prepare(struct l2t_client *client)
{
    struct l2t_hello hello = l2t_hello_default();

    hello.flags =
        client->options.super_frames ? L2T_HELLO_BATCH | L2T_HELLO_SUPER : L2T_HELLO_BATCH;
    hello.frame_max_bytes = client->options.limits.frame_max_bytes;
    hello.message_max_bytes = client->options.limits.message_max_bytes;
    const int64_t bytes = l2t_hello_encode(client->hello, sizeof client->hello, &hello);
    /* §4: never a payload above our own limit. The base protocol needs no HELLO. */
    if (bytes > 0 && bytes - L2T_HEADER_BYTES <= client->options.limits.control_max_bytes)
        client->hello_bytes = (uint32_t)bytes;
}

struct l2t_client *l2t_client_init(void *memory, size_t memory_bytes, uint32_t max_queued_bytes,
                                   const struct l2t_options *options)
{
    struct l2t_client *client = memory;
    const size_t need = l2t_client_bytes(max_queued_bytes, options);

    if (memory == NULL || need == 0 || memory_bytes < need ||
        (uintptr_t)memory % _Alignof(struct l2t_client) != 0)
        return NULL;
    l2t_zero(client, sizeof *client);
    client->options = *options;
    options_settle(&client->options);
    client->stats.last_rtt_ms = UINT32_MAX;
    client->random = options->random_seed != 0 ? options->random_seed : 0x9e3779b9;
    client->nonce = random_next(client);
    l2t_queue_init(&client->queue, (uint8_t *)memory + sizeof *client,
                   (uint32_t)(need - sizeof *client), max_queued_bytes);
    if (!options->base_protocol_only)
        hello_prepare(client);
    return client;
}

enum l2t_state l2t_client_state(const struct l2t_client *client)
{
    return client->state;
}

const struct l2t_client_stats *l2t_client_stats(const struct l2t_client *client)
{
    return &client->stats;
}

const struct l2t_hello *l2t_client_peer(const struct l2t_client *client)
{
    return client->peer_known ? &client->peer : NULL;
}

static void emit(struct l2t_client *client, struct l2t_event event)
{
    if (client->events_count == EVENTS_MAX) {
        client->stats.events_lost++;
        return;
    }
    client->events[(client->events_first + client->events_count++) % EVENTS_MAX] = event;
}

static void shut(struct l2t_client *client)
{
    client->state = L2T_CLOSED;
    l2t_queue_clear(&client->queue);
    client->stats.queued_bytes = 0;
    client->out = (struct l2t_outbound){0};
    client->hello_bytes = 0;
}

/* An error that ends the tunnel is never throttled: it comes once. */
static void fail(struct l2t_client *client, enum l2t_reason reason, int32_t code,
                 uint16_t close_code)
{
    emit(client, (struct l2t_event){.type = L2T_EVENT_ERROR, .reason = reason, .code = code});
    client->close_pending = true;
    client->close_code = close_code;
    shut(client);
}

static void emit_throttled(struct l2t_client *client, struct l2t_event event, uint64_t now_ms)
{
    const uint32_t interval = client->options.error_interval_ms;

    if (interval != 0 && client->error_emitted && now_ms - client->error_ms < interval) {
        client->stats.errors_suppressed++;
        return;
    }
    client->error_emitted = true;
    client->error_ms = now_ms;
    emit(client, event);
}

static void ping_schedule(struct l2t_client *client, uint64_t now_ms)
{
    const struct l2t_options *options = &client->options;
    const uint64_t span = (uint64_t)options->keepalive_max_ms - options->keepalive_min_ms + 1;

    client->ping_scheduled = options->keepalive_max_ms != 0; /* min <= max: both 0 (§8) */
    client->ping_at_ms = now_ms + options->keepalive_min_ms + (random_next(client) * span >> 32);
}

void l2t_client_connecting(struct l2t_client *client, uint64_t now_ms)
{
    (void)now_ms;
    if (client->state == L2T_IDLE)
        client->state = L2T_CONNECTING;
}

void l2t_client_opened(struct l2t_client *client, bool subprotocol_ok, uint64_t now_ms)
{
    if (client->state != L2T_IDLE && client->state != L2T_CONNECTING)
        return;
    if (!subprotocol_ok) {
        fail(client, L2T_REASON_SUBPROTOCOL, 0, CLOSE_PROTOCOL);
        return;
    }
    client->state = L2T_OPEN;
    client->inbound_ms = now_ms;
    ping_schedule(client, now_ms);
}

void l2t_client_closed(struct l2t_client *client)
{
    if (client->state != L2T_CLOSED)
        shut(client);
}

/* Queues a PING or PONG; no room is the overflow of §9.1. */
static void send_control(struct l2t_client *client, enum l2t_type type, const uint8_t *payload,
                         uint32_t bytes)
{
    uint8_t *room = l2t_queue_begin(&client->queue, type, bytes);

    if (room == NULL) {
        client->stats.tx_refused_full++;
        fail(client, L2T_REASON_QUEUE_OVERFLOW, 0, 0);
        return;
    }
    if (bytes != 0)
        l2t_copy(room, payload, bytes);
    l2t_queue_end(&client->queue);
    client->stats.queued_bytes = client->queue.encoded_bytes;
}

/* What a frame may have on its way out: our own limit, and the peer's once it is known. Before,
 * limits above the base one bind as extensions do: they wait for the HELLO. */
static uint32_t frame_out_max(const struct l2t_client *client)
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
        fail(client, L2T_REASON_QUEUE_OVERFLOW, 0, 0);
    }
    return room;
}

uint8_t *l2t_client_send_begin(struct l2t_client *client, uint32_t frame_bytes)
{
    if (client->state != L2T_CONNECTING && client->state != L2T_OPEN) {
        client->stats.tx_refused_state++;
        return NULL;
    }
    if (frame_bytes > frame_out_max(client)) {
        client->stats.tx_refused_size++;
        /* Who sends super-frames does not know what this peer takes: the frame is lost, no more. */
        if (!client->options.super_frames || frame_bytes > client->options.limits.frame_max_bytes)
            fail(client, L2T_REASON_FRAME_TOO_LARGE, 0, 0);
        return NULL;
    }
    return frame_begin(client, L2T_FRAME, frame_bytes);
}

uint32_t l2t_client_frame_max(const struct l2t_client *client)
{
    return frame_out_max(client);
}

uint32_t l2t_client_super_max(const struct l2t_client *client)
{
    const bool announced = client->peer_known && (client->peer.flags & L2T_HELLO_SUPER) != 0 &&
                           client->peer.message_max_bytes > L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES;

    if (!announced || client->options.limits.super_max_bytes == 0 || client->state != L2T_OPEN)
        return 0;
    const uint32_t frame_max = frame_out_max(client);
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
        client->out = l2t_queue_outbound(&client->queue, frame_out_max(client),
                                         batches ? client->peer.message_max_bytes : 0);
    }
    if (client->out.over_limit != 0) { /* queued before the peer told its limit */
        client->stats.tx_refused_size++;
        fail(client, L2T_REASON_FRAME_TOO_LARGE, 0, 0);
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

static void undecodable(struct l2t_client *client, int error, uint64_t now_ms)
{
    client->stats.rx_undecodable++;
    emit_throttled(client,
                   (struct l2t_event){
                       .type = L2T_EVENT_ERROR, .reason = L2T_REASON_UNDECODABLE, .code = error},
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
    for (uint32_t i = 0; message->payload_bytes >= NONCE_BYTES && i < L2T_PINGS_REMEMBERED; i++) {
        struct ping *ping = &client->pings[i];

        if (!ping->waiting || ping->nonce != l2t_be32(message->payload))
            continue;
        const uint64_t rtt_ms = now_ms - ping->sent_ms;
        ping->waiting = false;
        event.rtt_ms = rtt_ms < UINT32_MAX ? (uint32_t)rtt_ms : UINT32_MAX - 1;
        client->stats.last_rtt_ms = event.rtt_ms;
        break;
    }
    emit(client, event);
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
    emit_throttled(client, event, now_ms);
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
        send_control(client, L2T_PONG, message->payload, message->payload_bytes);
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

static void ping_send(struct l2t_client *client, uint64_t now_ms)
{
    uint8_t payload[NONCE_BYTES];
    uint32_t bytes = 0;

    if (client->options.limits.control_max_bytes >= NONCE_BYTES) {
        struct ping *ping = &client->pings[client->pings_next];

        client->pings_next = (client->pings_next + 1) % L2T_PINGS_REMEMBERED;
        *ping = (struct ping){.nonce = client->nonce, .waiting = true, .sent_ms = now_ms};
        l2t_put_be32(payload, client->nonce++);
        bytes = NONCE_BYTES;
    }
    client->ping_since_inbound = true;
    client->stats.pings_sent++;
    send_control(client, L2T_PING, payload, bytes);
}

uint64_t l2t_client_tick(struct l2t_client *client, uint64_t now_ms)
{
    const uint64_t silence_ms = 2 * (uint64_t)client->options.keepalive_max_ms;

    if (client->state != L2T_OPEN || !client->ping_scheduled)
        return UINT64_MAX;
    if (client->ping_since_inbound && now_ms - client->inbound_ms > silence_ms) {
        fail(client, L2T_REASON_DEAD_PEER, 0, 0);
        return UINT64_MAX;
    }
    if (now_ms >= client->ping_at_ms) {
        ping_send(client, now_ms);
        ping_schedule(client, now_ms);
    }
    if (client->state != L2T_OPEN) /* the PING found no room */
        return UINT64_MAX;
    const uint64_t dead_ms = client->inbound_ms + silence_ms + 1;
    return client->ping_since_inbound && dead_ms < client->ping_at_ms ? dead_ms
                                                                      : client->ping_at_ms;
}

struct l2t_event l2t_client_event(struct l2t_client *client)
{
    struct l2t_event event = {.type = L2T_EVENT_NONE};

    if (client->events_count != 0) {
        event = client->events[client->events_first];
        client->events_first = (client->events_first + 1) % EVENTS_MAX;
        client->events_count--;
        return event;
    }
    event.frame = client->frame;
    event.frame_bytes = client->frame_bytes;
    event.gso_bytes = event.frame != NULL ? client->frame_gso_bytes : 0;
    client->frame = NULL;
    if (event.frame == NULL)
        event.frame = l2t_batch_next(&client->batch, &event.frame_bytes);
    if (event.frame != NULL) {
        event.type = L2T_EVENT_FRAME;
    } else if (client->close_pending) {
        client->close_pending = false;
        event.type = L2T_EVENT_CLOSE;
        event.close_code = client->close_code;
    }
    return event;
}
