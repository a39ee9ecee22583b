/*
 * WebSocket frames from a hostile client: however the bytes are cut into reads, the same messages
 * come out and the same code ends them (RFC 6455).
 */
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "ws/ws.h"

enum { CAP = 300, STORY_MAX = 1 << 16 };

/* What happened, as a hash over opcodes, lengths and payloads. */
struct story {
    uint64_t hash;
    uint32_t events;
    enum ws_result last;
};

static void tell(struct story *story, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        story->hash = (story->hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
}

/* Feeds `data` in reads of `step` bytes, as a session does: what is left of one is put in front of
 * the next. */
static struct story feed(const uint8_t *data, size_t bytes, size_t step)
{
    struct story story = {.hash = UINT64_C(0xcbf29ce484222325)};
    struct ws_in in;
    uint8_t partial[CAP + WS_HEADER_MAX_BYTES];
    size_t partial_bytes = 0;

    ws_in_init(&in, CAP);
    for (size_t at = 0; at < bytes && story.last != WS_FAIL; at += step) {
        const size_t fresh = bytes - at < step ? bytes - at : step;
        uint8_t *buffer = malloc(partial_bytes + fresh); /* exact, so that ASan sees its end */
        size_t used_all = 0, total = partial_bytes + fresh;

        memcpy(buffer, partial, partial_bytes);
        memcpy(buffer + partial_bytes, data + at, fresh);
        for (;;) {
            struct ws_event event;
            size_t used;
            const enum ws_result result =
                ws_next(&in, buffer + used_all, total - used_all, &used, &event);

            must(used <= total - used_all);
            used_all += used;
            story.last = result;
            if (result == WS_NEED_MORE || result == WS_FAIL) {
                if (result == WS_FAIL)
                    tell(&story, &event.code, sizeof event.code);
                break;
            }
            if (result == WS_PROGRESS)
                continue;
            must(event.bytes <= (result == WS_MESSAGE ? CAP : WS_CONTROL_MAX_BYTES));
            story.events++;
            tell(&story, &event.opcode, sizeof event.opcode);
            tell(&story, event.data, event.bytes);
        }
        partial_bytes = story.last == WS_FAIL ? 0 : total - used_all;
        must(partial_bytes <= sizeof partial);
        memcpy(partial, buffer + used_all, partial_bytes);
        free(buffer);
    }
    ws_in_free(&in);
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0 || bytes > STORY_MAX)
        return 0;
    const struct story whole = feed(data, bytes, bytes);
    const struct story pieces = feed(data, bytes, 1 + data[0] % 7);

    must(whole.hash == pieces.hash && whole.events == pieces.events);
    must((whole.last == WS_FAIL) == (pieces.last == WS_FAIL));
    return 0;
}
