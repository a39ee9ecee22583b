/* constants.c - the numbers JavaScript needs by name, so that it repeats none of them. */
#include <stddef.h>

#include "card.h"
#include "exports.h"
#include "nic/ring.h"
#include "tunnel/client.h"

#define CONSTANT(name)                                                                             \
    {                                                                                              \
#name, (int32_t)(name)                                                                     \
    }

static const struct abi_constant constants[] = {
    CONSTANT(ABI_VERSION),
    CONSTANT(ABI_AREA_BYTES),
    CONSTANT(ABI_MESSAGE_BYTES),
    CONSTANT(ABI_RING_FRAME_BYTES),
    CONSTANT(ABI_SUPER_FRAME_BYTES),
    CONSTANT(ABI_OPTION_UNSET),
    CONSTANT(ABI_POLL_MORE),
    CONSTANT(ABI_POLL_SENT),
    CONSTANT(ABI_POLL_TOOK),
    CONSTANT(ABI_ERR_MODEL),
    CONSTANT(ABI_ERR_OPTIONS),
    CONSTANT(ABI_TUNNEL_EXTENDED),
    CONSTANT(ABI_TUNNEL_SUPER),
    CONSTANT(ABI_HOST_CALLBACKS),
    CONSTANT(ABI_HOST_LINEAR),
    CONSTANT(ABI_HOST_LINEAR_WRITTEN),
    CONSTANT(ABI_HOST_MESSAGES),
    CONSTANT(CARD_BARS),
    CONSTANT(CARD_BAR_NONE),
    CONSTANT(CARD_BAR_MEMORY),
    CONSTANT(CARD_BAR_IO),
    CONSTANT(RING_KIND_NET_TX),
    CONSTANT(RING_KIND_NET_RX),
    CONSTANT(RING_HEADER_BYTES),
    CONSTANT(L2T_EVENT_NONE),
    CONSTANT(L2T_EVENT_FRAME),
    CONSTANT(L2T_EVENT_PONG),
    CONSTANT(L2T_EVENT_ERROR),
    CONSTANT(L2T_EVENT_CLOSE),
    CONSTANT(L2T_REASON_PEER_ERROR),
    CONSTANT(L2T_REASON_UNDECODABLE),
    CONSTANT(L2T_REASON_FRAME_TOO_LARGE),
    CONSTANT(L2T_REASON_QUEUE_OVERFLOW),
    CONSTANT(L2T_REASON_DEAD_PEER),
    CONSTANT(L2T_REASON_SUBPROTOCOL),
};

const struct abi_constant *abi_constants(void)
{
    return constants;
}

uint32_t abi_constants_count(void)
{
    return sizeof constants / sizeof constants[0];
}

uint32_t abi_constant_bytes(void)
{
    return sizeof(struct abi_constant);
}
