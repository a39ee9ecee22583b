/* hello.c - a client announces its extensions and is told ours (spec/l2-extensions.md §1). */
#include "tunnel/hello.h"
#include "session/internal.h"

enum { WS_SHORT_MAX_BYTES = 65535 }; /* RFC 6455 §5.2: a length of 16 bits */

static bool answer(struct session *session, uint32_t lan_mtu)
{
    uint8_t wire[L2T_HEADER_BYTES + L2T_HELLO_MAX_BYTES];
    struct l2t_hello hello = l2t_hello_default();

    hello.flags = L2T_HELLO_BATCH;
    if (session->limits.super_max_bytes != 0)
        hello.flags |= L2T_HELLO_SUPER;
    hello.frame_max_bytes = session->limits.frame_max_bytes;
    hello.message_max_bytes = session->in.cap_bytes;
    hello.lan_mtu = (uint16_t)lan_mtu;
    const int64_t bytes = l2t_hello_encode(wire, sizeof wire, &hello);
    return bytes > L2T_HEADER_BYTES &&
           session_send_control(session, L2T_HELLO, wire + L2T_HEADER_BYTES,
                                (uint32_t)bytes - L2T_HEADER_BYTES);
}

uint32_t session_frame_most(const struct config *config)
{
    const uint32_t base_bytes = config->frame_max_bytes;

    return base_bytes < L2T_FRAME_MAX_DEFAULT || base_bytes > L2T_FRAME_MAX_JUMBO
               ? base_bytes
               : L2T_FRAME_MAX_JUMBO;
}

/* From now on frames and messages may be as long as our tags 1 and 2 say, and ours to the client as
 * its tag 1 does. */
static bool raise_limits(struct session *session, const struct l2t_hello *hello)
{
    const uint32_t frame_max_bytes = session_frame_most(session->env->config);
    uint32_t message_max_bytes = L2T_BATCH_MESSAGE_MAX;

    if (message_max_bytes < SUPER_HEAD_BYTES + frame_max_bytes)
        message_max_bytes = SUPER_HEAD_BYTES + frame_max_bytes;
    const uint32_t send_max_bytes =
        hello->frame_max_bytes < frame_max_bytes ? hello->frame_max_bytes : frame_max_bytes;

    if (!ws_in_raise(&session->in, message_max_bytes))
        return false;
    session->limits.frame_max_bytes = frame_max_bytes;
    session->limits.message_max_bytes = session->in.cap_bytes;
    session->send_frame_max_bytes = send_max_bytes;
    if (frame_max_bytes >= L2T_FRAME_MAX_JUMBO) /* then a super-frame fits as well */
        session->limits.super_max_bytes = frame_max_bytes;
    return true;
}

/* The longest super-frame to this client. A few bytes short of what could be, so that the WebSocket
 * header has 4 bytes whatever comes of it. */
static uint32_t super_max(const struct session *session, uint32_t message_max_bytes)
{
    uint32_t bytes = session->send_frame_max_bytes;

    if (session->limits.super_max_bytes == 0 || message_max_bytes <= SUPER_HEAD_BYTES)
        return 0;
    if (message_max_bytes > WS_SHORT_MAX_BYTES)
        message_max_bytes = WS_SHORT_MAX_BYTES;
    if (bytes > message_max_bytes - SUPER_HEAD_BYTES)
        bytes = message_max_bytes - SUPER_HEAD_BYTES;
    return bytes;
}

int session_hello(struct session *session, const uint8_t *payload, uint32_t payload_bytes)
{
    struct l2t_hello hello;
    const int error = l2t_hello_parse(&hello, payload, payload_bytes);

    if (error == L2T_ERR_HELLO_VERSION)
        return 0; /* a later version: like an unknown type */
    if (error != 0)
        return error;
    if (session->hello_received)
        return L2T_ERR_HELLO_AGAIN;
    session->hello_received = true;
    if (!raise_limits(session, &hello))
        return 0; /* no answer: the client stays with the base protocol */
    /* §1, §4: its limit binds us from now on; what the guest is told to use fits into it. */
    if (!answer(session, nat_frame_limit(session->client.nat, session->send_frame_max_bytes))) {
        session->verdict = VERDICT_BACKPRESSURE;
        return 0;
    }
    if ((hello.flags & L2T_HELLO_SUPER) != 0)
        nat_super_limit(session->client.nat, super_max(session, hello.message_max_bytes));
    if ((hello.flags & L2T_HELLO_BATCH) != 0)
        session_batch_announced(session, hello.message_max_bytes);
    return 0;
}
