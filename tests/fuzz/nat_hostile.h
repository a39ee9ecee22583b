/*
 * nat_hostile.h - the host of a NAT in a fuzz target: sockets that are numbers, a resolver that
 *                 only notes, an outbound queue that judges every frame and throws it away.
 *
 * Cheaper than tests/support/nat_world.h, which keeps what passes: nothing here does, and no block
 * outlives its use, so that ASan sees a byte too far.
 */
#ifndef FUZZ_NAT_HOSTILE_H
#define FUZZ_NAT_HOSTILE_H

#include "nat/nat.h"

enum { HOSTILE_SOCKETS_MAX = 256, HOSTILE_RESERVED_MAX = 64 };

enum hostile_mood { /* how calls end */
                    MOOD_NO_SOCKETS = 1,
                    MOOD_SEND_FULL = 2,
                    MOOD_SEND_HALF = 4,
                    MOOD_UDP_REFUSED = 8,
                    MOOD_NO_RESOLVER = 16,
};

struct hostile_socket {
    bool open, tcp, eof;
    uint32_t cookie;
    uint32_t in_bytes; /* unread; the content does not matter */
    int error;
};

struct hostile {
    struct hostile_socket sockets[HOSTILE_SOCKETS_MAX];
    uint32_t socket_count;
    uint8_t *reserved[HOSTILE_RESERVED_MAX];
    uint32_t reserved_count, reserved_bytes;
    uint32_t room; /* frames the queue takes; UINT32_MAX: no end */
    uint32_t frame_max_bytes, super_max_bytes, mtu;
    uint32_t queries[256];
    uint8_t query_count;
    uint8_t mood;
    uint64_t random;
    /* Optional: what goes to the guest. */
    void (*seen)(void *context, const uint8_t *frame, uint32_t bytes);
    void *seen_context;
};

struct nat_host hostile_host(struct hostile *hostile);
/** Frees the places reserved and not committed. */
void hostile_clear(struct hostile *hostile);

#endif
