#include "client_internal.h"

#include "internal.h"
#include "tunnel/super.h"

enum {
    LIMIT_MAX = 1 << 24,   /* keeps every sum of sizes far from 2^32 */
    CLOSE_PROTOCOL = 1002, /* §7 */
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

void l2t_client_emit(struct l2t_client *client, struct l2t_event event)
{
    if (client->events_count == L2T_EVENTS_MAX) {
        client->stats.events_lost++;
        return;
    }
    client->events[(client->events_first + client->events_count++) % L2T_EVENTS_MAX] = event;
}

static void shut(struct l2t_client *client)
{
    client->state = L2T_CLOSED;
    l2t_queue_clear(&client->queue);
    client->stats.queued_bytes = 0;
    client->out = (struct l2t_outbound){0};
    client->hello_bytes = 0;
}

void l2t_client_fail(struct l2t_client *client, enum l2t_reason reason, int32_t code,
                     uint16_t close_code)
{
    l2t_client_emit(client,
                    (struct l2t_event){.type = L2T_EVENT_ERROR, .reason = reason, .code = code});
    client->close_pending = true;
    client->close_code = close_code;
    shut(client);
}

void l2t_client_emit_throttled(struct l2t_client *client, struct l2t_event event, uint64_t now_ms)
{
    const uint32_t interval = client->options.error_interval_ms;

    if (interval != 0 && client->error_emitted && now_ms - client->error_ms < interval) {
        client->stats.errors_suppressed++;
        return;
    }
    client->error_emitted = true;
    client->error_ms = now_ms;
    l2t_client_emit(client, event);
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
        l2t_client_fail(client, L2T_REASON_SUBPROTOCOL, 0, CLOSE_PROTOCOL);
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

static void ping_send(struct l2t_client *client, uint64_t now_ms)
{
    uint8_t payload[L2T_NONCE_BYTES];
    uint32_t bytes = 0;

    if (client->options.limits.control_max_bytes >= L2T_NONCE_BYTES) {
        struct l2t_ping *ping = &client->pings[client->pings_next];

        client->pings_next = (client->pings_next + 1) % L2T_PINGS_REMEMBERED;
        *ping = (struct l2t_ping){.nonce = client->nonce, .waiting = true, .sent_ms = now_ms};
        l2t_put_be32(payload, client->nonce++);
        bytes = L2T_NONCE_BYTES;
    }
    client->ping_since_inbound = true;
    client->stats.pings_sent++;
    l2t_client_send_control(client, L2T_PING, payload, bytes);
}

uint64_t l2t_client_tick(struct l2t_client *client, uint64_t now_ms)
{
    const uint64_t silence_ms = 2 * (uint64_t)client->options.keepalive_max_ms;

    if (client->state != L2T_OPEN || !client->ping_scheduled)
        return UINT64_MAX;
    if (client->ping_since_inbound && now_ms - client->inbound_ms > silence_ms) {
        l2t_client_fail(client, L2T_REASON_DEAD_PEER, 0, 0);
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
        client->events_first = (client->events_first + 1) % L2T_EVENTS_MAX;
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
