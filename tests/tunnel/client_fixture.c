#include "client_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

void talk_make(struct talk *talk, uint32_t max_queued_bytes, const struct l2t_options *options)
{
    size_t bytes = l2t_client_bytes(max_queued_bytes, options);

    assert_true(bytes != 0);
    bytes = (bytes + 15) & ~(size_t)15; /* the page's end then gives an aligned start */
    uint8_t *empty = calloc(1, bytes);
    *talk = (struct talk){.memory_bytes = bytes, .now_ms = 1000};
    talk->memory = guarded_copy(empty, bytes);
    free(empty);
    talk->client = l2t_client_init(talk->memory, bytes, max_queued_bytes, options);
    assert_non_null(talk->client);
}

void talk_open(struct talk *talk, uint32_t max_queued_bytes, const struct l2t_options *options)
{
    talk_make(talk, max_queued_bytes, options);
    l2t_client_connecting(talk->client, talk->now_ms);
    l2t_client_opened(talk->client, true, talk->now_ms);
    assert_int_equal(l2t_client_state(talk->client), L2T_OPEN);
}

void talk_free(struct talk *talk)
{
    vector_bytes_free(talk->memory, talk->memory_bytes);
    *talk = (struct talk){0};
}

void talk_feed(struct talk *talk, const char *hex)
{
    size_t bytes;
    /* Left mapped until the next feed, since a FRAME event borrows it; tests are short. */
    uint8_t *wire = vector_bytes(hex, &bytes);

    l2t_client_feed(talk->client, wire, bytes, talk->now_ms);
}

struct l2t_event talk_event(struct talk *talk, enum l2t_event_type type)
{
    const struct l2t_event event = l2t_client_event(talk->client);

    assert_int_equal(event.type, type);
    return event;
}

void talk_outbound(struct talk *talk, const char *hex)
{
    char got[4096] = "";
    uint32_t bytes;
    const uint8_t *wire = l2t_client_outbound(talk->client, &bytes);

    assert_true(wire != NULL || bytes == 0);
    for (uint32_t i = 0; i < bytes && 2 * i + 3 < sizeof got; i++)
        snprintf(got + 2 * i, 3, "%02x", wire[i]);
    assert_string_equal(got, hex);
    l2t_client_outbound_done(talk->client);
}

bool talk_send(struct talk *talk, const char *text)
{
    return l2t_client_send(talk->client, (const uint8_t *)text, (uint32_t)strlen(text));
}
