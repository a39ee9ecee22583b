/*
 * tunnel.c - the exports that drive a tunnel client. What arrives from the proxy is only ever
 *            handed to l2t_client_feed().
 */
#include <stddef.h>

#include "exports.h"
#include "tunnel/client.h"
#include "tunnel_super.h"

#define STAT(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct l2t_client_stats, field)                                           \
    }

static const struct abi_name names[] = {
    STAT(tx_frames),        STAT(tx_bytes),        STAT(rx_frames),         STAT(rx_bytes),
    STAT(tx_refused_state), STAT(tx_refused_size), STAT(tx_refused_full),   STAT(rx_undecodable),
    STAT(rx_unknown_type),  STAT(rx_errors),       STAT(errors_suppressed), STAT(pings_sent),
    STAT(pongs_received),   STAT(tx_messages),     STAT(tx_batches),        STAT(rx_messages),
    STAT(rx_batches),       STAT(tx_supers),       STAT(rx_supers),         STAT(events_lost),
};
enum { ALIGNMENT = 16 };
enum { NAMES = sizeof names / sizeof names[0] };

/* An l2t_event as JavaScript reads it, all words. */
struct tunnel_event {
    uint32_t type;
    const uint8_t *frame;
    uint32_t frame_bytes;
    uint32_t rtt_ms;
    uint32_t reason;
    int32_t code;
    uint32_t detail;
    uint32_t close_code;
    uint32_t gso_bytes;
};

struct tunnel {
    struct l2t_client *client;
    struct tunnel_event event;
    uint32_t outbound_bytes;
    uint64_t stats[NAMES]; /* a snapshot, made by tunnel_stats() */
    struct tunnel_super super;
    uint8_t area[ABI_MESSAGE_BYTES + 1]; /* so that a message over the limit still is one */
};

static struct l2t_options options_of(uint32_t frame_max_bytes, uint32_t control_max_bytes,
                                     uint32_t keepalive_min_ms, uint32_t keepalive_max_ms,
                                     uint32_t error_interval_ms, uint32_t random_seed,
                                     int32_t extensions)
{
    return (struct l2t_options){
        .limits = {.frame_max_bytes = frame_max_bytes,
                   .control_max_bytes = control_max_bytes,
                   .message_max_bytes = ABI_MESSAGE_BYTES},
        .keepalive_min_ms = keepalive_min_ms,
        .keepalive_max_ms = keepalive_max_ms,
        .error_interval_ms = error_interval_ms,
        .random_seed = random_seed,
        .base_protocol_only = (extensions & ABI_TUNNEL_EXTENDED) == 0,
        .super_frames = (extensions & ABI_TUNNEL_SUPER) != 0,
    };
}

uint32_t tunnel_bytes(uint32_t max_queued_bytes, uint32_t frame_max_bytes,
                      uint32_t control_max_bytes, uint32_t keepalive_min_ms,
                      uint32_t keepalive_max_ms, uint32_t error_interval_ms, uint32_t random_seed,
                      int32_t extensions)
{
    const struct l2t_options options =
        options_of(frame_max_bytes, control_max_bytes, keepalive_min_ms, keepalive_max_ms,
                   error_interval_ms, random_seed, extensions);
    const size_t bytes = l2t_client_bytes(max_queued_bytes, &options);

    return bytes == 0 ? 0 : (uint32_t)(sizeof(struct tunnel) + ALIGNMENT + bytes);
}

int32_t tunnel_init(struct tunnel *tunnel, uint32_t max_queued_bytes, uint32_t frame_max_bytes,
                    uint32_t control_max_bytes, uint32_t keepalive_min_ms,
                    uint32_t keepalive_max_ms, uint32_t error_interval_ms, uint32_t random_seed,
                    int32_t extensions)
{
    const struct l2t_options options =
        options_of(frame_max_bytes, control_max_bytes, keepalive_min_ms, keepalive_max_ms,
                   error_interval_ms, random_seed, extensions);
    uint8_t *memory = (uint8_t *)tunnel + sizeof *tunnel;

    memory += -(uintptr_t)memory & (ALIGNMENT - 1);
    tunnel->client = l2t_client_init(memory, l2t_client_bytes(max_queued_bytes, &options),
                                     max_queued_bytes, &options);
    return tunnel->client == NULL ? ABI_ERR_OPTIONS : 0;
}

void tunnel_connecting(struct tunnel *tunnel, double now_ms)
{
    l2t_client_connecting(tunnel->client, (uint64_t)now_ms);
}

void tunnel_opened(struct tunnel *tunnel, int32_t subprotocol_ok, double now_ms)
{
    l2t_client_opened(tunnel->client, subprotocol_ok != 0, (uint64_t)now_ms);
}

void tunnel_closed(struct tunnel *tunnel)
{
    l2t_client_closed(tunnel->client);
}

uint8_t *tunnel_send_begin(struct tunnel *tunnel, uint32_t frame_bytes)
{
    return l2t_client_send_begin(tunnel->client, frame_bytes);
}

void tunnel_send_end(struct tunnel *tunnel)
{
    l2t_client_send_end(tunnel->client);
}

uint8_t *tunnel_super_begin(struct tunnel *tunnel, uint32_t frame_bytes, uint32_t gso_bytes)
{
    return tunnel_super_start(&tunnel->super, tunnel->client, frame_bytes, (uint16_t)gso_bytes);
}

int32_t tunnel_super_end(struct tunnel *tunnel)
{
    return tunnel_super_finish(&tunnel->super, tunnel->client);
}

const uint8_t *tunnel_outbound(struct tunnel *tunnel)
{
    return l2t_client_outbound(tunnel->client, &tunnel->outbound_bytes);
}

uint32_t tunnel_outbound_bytes(struct tunnel *tunnel)
{
    return tunnel->outbound_bytes;
}

void tunnel_outbound_done(struct tunnel *tunnel)
{
    l2t_client_outbound_done(tunnel->client);
}

uint32_t tunnel_queued_bytes(struct tunnel *tunnel)
{
    return l2t_client_stats(tunnel->client)->queued_bytes;
}

uint8_t *tunnel_area(struct tunnel *tunnel)
{
    return tunnel->area;
}

void tunnel_feed(struct tunnel *tunnel, uint32_t bytes, double now_ms)
{
    l2t_client_feed(tunnel->client, tunnel->area, bytes, (uint64_t)now_ms);
}

double tunnel_tick(struct tunnel *tunnel, double now_ms)
{
    const uint64_t next = l2t_client_tick(tunnel->client, (uint64_t)now_ms);

    return next == UINT64_MAX ? __builtin_inf() : (double)next;
}

const struct tunnel_event *tunnel_event(struct tunnel *tunnel)
{
    const struct l2t_event event = l2t_client_event(tunnel->client);

    tunnel->event = (struct tunnel_event){
        .type = (uint32_t)event.type,
        .frame = event.frame,
        .frame_bytes = event.frame_bytes,
        .rtt_ms = event.rtt_ms,
        .reason = (uint32_t)event.reason,
        .code = event.code,
        .detail = event.detail,
        .close_code = event.close_code,
        .gso_bytes = event.gso_bytes,
    };
    return &tunnel->event;
}

const char *tunnel_stat_name(uint32_t stat)
{
    return stat < NAMES ? names[stat].name : NULL;
}

const uint64_t *tunnel_stats(struct tunnel *tunnel)
{
    const uint8_t *own = (const uint8_t *)l2t_client_stats(tunnel->client);

    for (uint32_t i = 0; i < NAMES; i++)
        __builtin_memcpy(&tunnel->stats[i], own + names[i].at, sizeof tunnel->stats[i]);
    return tunnel->stats;
}

const char *tunnel_code_text(int32_t code)
{
    return l2t_code_text(code);
}
