/*
 * tunnel_fuzz.c - what a peer can send: l2-tunnel.md §4 to §6, l2-extensions.md §1, §2, §6.
 *
 * Input    byte 0: options; then messages, each { length u8, length high u8, bytes }, between
 *          which byte-sized steps send frames and move the clock.
 * Checks   each message is a heap block of its own, so that a byte too far is seen; limits hold
 *          for what comes out; the queue stays within its bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "tunnel/batch.h"
#include "tunnel/client.h"
#include "tunnel/super.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { QUEUED_MAX = 3000 };

static void decode_alone(const uint8_t *wire, size_t bytes)
{
    static const struct l2t_limits limits = {600, 100, 900, 600};
    struct l2t_message message;
    struct l2t_batch_reader reader;
    struct l2t_hello hello;
    char text[L2T_TEXT_BYTES];
    uint8_t again[1024];
    const int error = l2t_decode(&message, wire, bytes, &limits);

    if (error != 0) {
        l2t_decode_text(text, error, wire, bytes, &limits);
        must(strlen(text) > 8);
        return;
    }
    const int64_t encoded = l2t_encode(again, sizeof again, message.type, message.payload,
                                       message.payload_bytes, &limits);
    must(encoded == (int64_t)bytes);
    again[3] = wire[3]; /* flags */
    must(memcmp(again, wire, bytes) == 0);
    l2t_error_parse(message.payload, message.payload_bytes);
    if (l2t_hello_parse(&hello, message.payload, message.payload_bytes) == 0)
        must(l2t_hello_encode(again, sizeof again, &hello) > 0);
    struct l2t_super super;
    if (l2t_super_parse(&super, message.payload, message.payload_bytes, 600) == 0) {
        must(super.gso_bytes != 0 && super.frame_bytes <= 600);
        must(l2t_super_headers(super.frame, super.frame_bytes) <= super.frame_bytes);
    }
    const int32_t frames = l2t_batch_open(&reader, message.payload, message.payload_bytes, 600);
    for (int32_t i = 0; i < frames; i++) {
        uint32_t frame_bytes;
        const uint8_t *frame = l2t_batch_next(&reader, &frame_bytes);

        must(frame != NULL && frame_bytes != 0 && frame_bytes <= 600);
    }
}

static void drain(struct l2t_client *client)
{
    struct l2t_event event;
    uint32_t sum = 0;

    do {
        event = l2t_client_event(client);
        if (event.type == L2T_EVENT_FRAME)
            for (uint32_t i = 0; i < event.frame_bytes; i++)
                sum += event.frame[i]; /* read every byte that was handed out */
    } while (event.type != L2T_EVENT_NONE);
    must(sum != UINT32_MAX);
}

static void send_all(struct l2t_client *client, const struct l2t_limits *limits)
{
    const uint8_t *wire;
    uint32_t bytes;
    struct l2t_message message;
    struct l2t_limits wide = *limits;

    wide.message_max_bytes = 1u << 20; /* the peer's, which may be anything */
    wide.super_max_bytes = wide.frame_max_bytes;
    while ((wire = l2t_client_outbound(client, &bytes)) != NULL) {
        must(l2t_decode(&message, wire, bytes, &wide) == 0);
        if (message.type == L2T_BATCH) {
            struct l2t_batch_reader reader;

            must(l2t_batch_open(&reader, message.payload, message.payload_bytes,
                                limits->frame_max_bytes) > 1);
            must(bytes <= l2t_client_peer(client)->message_max_bytes);
        }
        if (message.type == L2T_SUPER) {
            must(bytes <= l2t_client_peer(client)->message_max_bytes);
            must(message.payload_bytes - 2 <= l2t_client_peer(client)->frame_max_bytes);
        }
        l2t_client_outbound_done(client);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t frame[700];
    uint64_t now_ms = 1;

    if (bytes < 1)
        return 0;
    const struct l2t_options options = {
        .limits = {.frame_max_bytes = 600, .control_max_bytes = 100, .message_max_bytes = 900},
        .keepalive_min_ms = data[0] & 1 ? 10 : 0,
        .keepalive_max_ms = data[0] & 1 ? 100 : 0,
        .error_interval_ms = data[0] & 2 ? 100 : 0,
        .random_seed = data[0],
        .base_protocol_only = (data[0] & 4) != 0,
        .super_frames = (data[0] & 16) != 0,
    };
    const size_t memory_bytes = l2t_client_bytes(QUEUED_MAX, &options);
    void *memory = malloc(memory_bytes);
    struct l2t_client *client = l2t_client_init(memory, memory_bytes, QUEUED_MAX, &options);

    l2t_client_opened(client, (data[0] & 8) == 0, now_ms);
    data++;
    bytes--;
    while (bytes >= 2) {
        const size_t length = data[0];
        const uint8_t act = data[1];

        data += 2;
        bytes -= 2;
        now_ms += act;
        if (act & 1)
            l2t_client_send(client, frame, (uint32_t)length * 3 % 601);
        if ((act & 16) && l2t_client_super_begin(client, (uint32_t)length * 3 % 601, 100) != NULL)
            l2t_client_send_end(client);
        if (act & 2)
            l2t_client_tick(client, now_ms);
        if (act & 4)
            send_all(client, &options.limits);
        if ((act & 8) == 0) {
            const size_t take = length < bytes ? length : bytes;
            uint8_t *wire = malloc(take + 1);
            uint8_t *exact = realloc(wire, take == 0 ? 1 : take);

            memcpy(exact, data, take);
            decode_alone(exact, take);
            l2t_client_feed(client, exact, take, now_ms);
            drain(client);
            free(exact);
            data += take;
            bytes -= take;
        }
        must(l2t_client_stats(client)->queued_bytes <= QUEUED_MAX);
    }
    send_all(client, &options.limits);
    free(memory);
    return 0;
}
