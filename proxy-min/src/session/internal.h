/* internal.h - what the files of this folder share. */
#ifndef PROXY_SESSION_INTERNAL_H
#define PROXY_SESSION_INTERNAL_H

#include "session/session.h"
#include "tunnel/codec.h"
#include "tunnel/super.h"
#include "ws/ws.h"

enum session_state {
    SESSION_OPEN,
    SESSION_CLOSING, /* our close frame is queued: flush it, wait for the peer's */
    SESSION_ENDED,   /* the socket is no longer ours; memory goes when libuv lets go */
};

/* Why the session should end, noted where ending it is not possible (inside the NAT's calls). */
enum session_verdict {
    VERDICT_NONE,
    VERDICT_BROKEN, /* the socket is dead */
    VERDICT_QUOTA_BYTES,
    VERDICT_BACKPRESSURE,
};

enum { SUPER_HEAD_BYTES = L2T_HEADER_BYTES + L2T_SUPER_HEAD_BYTES }; /* in front of its frame */

/* The open BATCH message, or the one places are being given in (batch.c). */
struct batch_layout {
    uint32_t start;      /* offset of its WebSocket header in the outbound buffer */
    uint32_t used_bytes; /* tunnel header and entries */
    uint32_t frames;     /* 0: none is open */
    uint32_t slots;      /* messages that may still begin */
};

struct session {
    struct host_client client; /* first: the NAT's context is both */
    struct session_links links;
    const struct session_env *env;
    enum session_state state;
    enum session_verdict verdict;

    uv_poll_t poll; /* the WebSocket's socket */
    uv_timer_t timer;
    int fd;
    int handles; /* libuv handles not closed yet */
    int poll_events;
    uint64_t timer_due_us; /* when the armed timer fires; UINT64_MAX: not armed */

    struct ws_in in;
    struct ws_out out;
    struct l2t_limits limits;
    uint8_t *partial; /* the beginning of a frame, between two reads; NULL: none */
    uint32_t partial_bytes;
    bool peer_closed;   /* its close frame came */
    bool discard_only;  /* parsing failed: whatever comes is thrown away */
    bool write_blocked; /* the kernel took less than it was offered */
    bool write_ended;   /* our half is shut down */
    bool has_pong;      /* a WebSocket pong waits for room in the queue */
    uint8_t pong[WS_CONTROL_MAX_BYTES];
    uint32_t pong_bytes;

    bool hello_received;
    uint32_t send_frame_max_bytes; /* the lesser of our limit and the client's */
    uint32_t batch_max_bytes;      /* what a BATCH to this client may measure; 0: it wants none */
    struct batch_layout batch;

    /* frame_reserve() .. frame_commit() */
    uint32_t reserved_bytes, reserved_count;
    bool reserved_in_batch;
    bool nat_waiting; /* it got less than it asked for */
    bool nat_pending; /* nat_input() without nat_flush() yet */

    uint64_t close_deadline_us;
    uint64_t stalled_since_us; /* queue full, nothing written since; 0: not stalled */
    uint64_t last_inbound_us;
    uint64_t nat_due_us;

    uint64_t ping_due_us, ping_sent_us, ping_id;
    bool ping_outstanding;

    uint64_t quota_bytes; /* received and sent payload */
    uint64_t window_start_us, window_messages;
};

enum {
    SESSION_CLOSE_MS = 1000,   /* §t7: for the peer's close frame and for our writer */
    SESSION_STALL_MS = 5000,   /* a full queue of which the client took nothing: backpressure */
    SESSION_SETTLE_ROUNDS = 8, /* writes per wake-up before another session has its turn */
};

static inline uint64_t session_now_us(void)
{
    return uv_hrtime() / 1000;
}

void session_touch(struct session *session);

/* Ends it: an ERROR first when error_code is not 0, then the close frame. Top level only. */
void session_close(struct session *session, uint16_t error_code, uint16_t close_code,
                   const char *reason);
/* The socket is given back at once. Top level only. */
void session_end(struct session *session);

/* inbound.c */
/* Moves what the last read left over to the front of the read buffer; its bytes. */
size_t session_take_partial(struct session *session);
void session_readable(struct session *session);
void session_feed(struct session *session, uint8_t *data, size_t bytes);

/* outbound.c */
void session_bind_frames(struct session *session, struct nat_host *ops);
/* Writes what waits. Returns true when the kernel took something. */
bool session_write(struct session *session);
bool session_send_control(struct session *session, enum l2t_type type, const uint8_t *payload,
                          uint32_t payload_bytes);
/* Counts a binary message that was queued. */
void session_count_message(struct session *session, uint64_t payload_bytes);
void session_send_error(struct session *session, uint16_t code, const char *text);
void session_ping(struct session *session, uint64_t now_us);
void session_pong_received(struct session *session, const uint8_t *payload, uint32_t bytes,
                           uint64_t now_us);

/* batch.c: after the client announced what it accepts */
void session_batch_announced(struct session *session, uint32_t message_max_bytes);
uint32_t session_batch_reserve(struct session *session, uint32_t bytes, uint32_t count,
                               uint8_t **places);
void session_batch_commit(struct session *session, uint32_t bytes, uint32_t count,
                          uint32_t last_bytes);
/* Ends the open message, if any: what follows in the queue is written behind it. */
void session_batch_close(struct session *session);

/* hello.c: the frame limit once a client sent HELLO; an operator's below the base one stays. */
uint32_t session_frame_most(const struct config *config);
/* A HELLO's payload. Returns 0 or the l2t_error that ends the tunnel. */
int session_hello(struct session *session, const uint8_t *payload, uint32_t payload_bytes);

#endif
