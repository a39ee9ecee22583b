/*
 * ws.h - the server's half of RFC 6455: bytes in, messages out; messages in, bytes out. No I/O.
 *
 * Source   RFC 6455; every § below is a section of it.
 * Memory   struct ws_in and struct ws_out belong to the caller. A queue's buffer comes from the
 *          pool of its thread, the assembly with the first fragmented message, which most clients
 *          never send. Messages that arrived unfragmented are unmasked where they lie in the
 *          caller's read buffer and borrowed.
 * Threads  None of its own; one owner at a time.
 * Hostile  Any byte sequence ends in a message or in WS_FAIL with the close code it deserves.
 */
#ifndef PROXY_WS_H
#define PROXY_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* §5.2 */
enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xa,
};

/* §7.4.1 */
enum ws_close_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NONE = 1005, /* never on the wire: a close frame without a code */
    WS_CODE_BAD_DATA = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL = 1011,
};

enum {
    WS_HEADER_MAX_BYTES = 14, /* 2 + 8 + mask, from a client */
    WS_CONTROL_MAX_BYTES = 125,
    WS_REASON_MAX_BYTES = 123,
};

/* ---- inbound ---- */

enum ws_result {
    WS_NEED_MORE, /* the rest of the buffer is the beginning of a frame: keep it */
    WS_PROGRESS,  /* a fragment was taken; call again */
    WS_MESSAGE,   /* text or binary, whole */
    WS_CONTROL,   /* ping, pong or close */
    WS_FAIL,      /* close the connection with `code`; nothing more can be parsed */
};

struct ws_event {
    enum ws_opcode opcode;
    uint8_t *data; /* borrows the read buffer, or the assembly until the next WS_MESSAGE */
    size_t bytes;
    uint16_t code;      /* WS_FAIL: to close with; close frame: as received or WS_CODE_NONE */
    bool assembled;     /* the data lies in the one assembly buffer of this connection */
    const char *reason; /* WS_FAIL: a few words for the close frame and the log */
};

struct ws_in {
    uint32_t cap_bytes; /* largest message */
    uint8_t *assembly;  /* cap_bytes, for fragmented messages; NULL until one comes */
    uint32_t assembled_bytes;
    uint8_t assembling; /* opcode of the message being assembled, 0: none */
    bool failed;
};

void ws_in_init(struct ws_in *in, uint32_t cap_bytes);
void ws_in_free(struct ws_in *in);
/** A larger cap from now on. Returns false, and keeps the old one, when memory ran out. */
bool ws_in_raise(struct ws_in *in, uint32_t cap_bytes);

/**
 * Takes at most one frame from `bytes` bytes at `data`; *used says how many it took. The payload
 * is unmasked in place, so the same bytes must not be offered twice after they were used.
 */
enum ws_result ws_next(struct ws_in *in, uint8_t *data, size_t bytes, size_t *used,
                       struct ws_event *event);

/** §7.4: may a peer put this code on the wire? */
bool ws_close_code_valid(uint16_t code);

/** RFC 3629, whole text at once: no overlong form, no surrogate, nothing above U+10FFFF. */
bool ws_utf8_valid(const uint8_t *text, size_t bytes);

/** XORs with the mask, which starts at its first byte. */
void ws_unmask(uint8_t *data, size_t bytes, const uint8_t mask[4]);

/* ---- outbound ---- */

/*
 * Buffers for the queues of one thread. Each queue brings one, but holds one only while something
 * waits in it: a thousand quiet connections share the few that are in use at the same moment, and
 * those stay in the caches. The rest are pages nobody touched, or touched too long ago.
 */
struct ws_pool {
    uint32_t limit, buffer_bytes, bypass_bytes; /* of each queue */
    uint8_t **free; /* [free_count]; the last `warm_count` were used lately, the newest last */
    uint32_t free_count, warm_count, total, room;
};

/** For queues of `limit` messages of `message_max_bytes` payload, or fewer of `longest_bytes`. */
void ws_pool_init(struct ws_pool *pool, uint32_t limit, uint32_t message_max_bytes,
                  uint32_t longest_bytes);
/** After the last of its queues. */
void ws_pool_free(struct ws_pool *pool);

/*
 * A queue of encoded messages in one linear buffer: [head, tail) waits to be written. Messages
 * are counted, because AERO_L2_WS_SEND_BUFFER bounds their number; `bypass_bytes` at the end
 * are kept for what bypasses that bound (close, the last ERROR, pongs).
 */
struct ws_out {
    struct ws_pool *pool;
    uint8_t *base; /* NULL while it holds no buffer: nothing waits */
    uint32_t capacity_bytes;
    uint32_t bypass_bytes;
    uint32_t head, tail;
    uint64_t written_total; /* stream position of head */
    uint64_t *ends;         /* stream position behind each waiting message; a ring */
    uint32_t limit, first, count;
};

/** Returns false when memory ran out. */
bool ws_out_init(struct ws_out *out, struct ws_pool *pool);
void ws_out_free(struct ws_out *out);

/** Makes sure there is a buffer; whoever writes at `base` without the calls below asks first. */
void ws_out_hold(struct ws_out *out);
/** Lends the buffer to others until the next message. Nothing may be waiting or half written. */
void ws_out_rest(struct ws_out *out);

static inline uint32_t ws_out_waiting(const struct ws_out *out)
{
    return out->tail - out->head;
}

/** How many more messages of `payload_bytes` fit, at most `wanted`. May move waiting bytes. */
uint32_t ws_out_room(struct ws_out *out, uint32_t payload_bytes, uint32_t wanted);

/** Moves waiting bytes to the front of the buffer. */
void ws_out_compact(struct ws_out *out);

/** Header bytes a frame of this payload needs (§5.2: the minimal encoding). */
uint32_t ws_header_bytes(uint32_t payload_bytes);
/** Writes a FIN frame's header; returns its bytes. */
uint32_t ws_header_write(uint8_t *at, enum ws_opcode opcode, uint32_t payload_bytes);

/** Bytes up to `new_tail` are one whole message now. */
void ws_out_commit(struct ws_out *out, uint32_t new_tail);

/** Queues one whole message of up to two parts; false: full. `bypass` ignores the limit. */
bool ws_out_push(struct ws_out *out, enum ws_opcode opcode, const struct iovec *parts,
                 int part_count, bool bypass);
/** A close frame; code WS_CODE_NONE sends an empty one. The reason is cut at 123 bytes. */
bool ws_out_push_close(struct ws_out *out, uint16_t code, const char *reason);

/** `bytes` of the waiting ones were written to the socket. */
void ws_out_written(struct ws_out *out, uint32_t bytes);

#endif
