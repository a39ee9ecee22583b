/*
 * hello.h - HELLO, with which both ends announce the extensions they can receive.
 *
 * Source   spec/l2-extensions.md §1; every § below is a section of it.
 * Memory   Values are copied out of the payload; nothing is borrowed.
 * Hostile  Any payload is accepted and answered by a struct l2t_hello or an l2t_error.
 */
#ifndef TUNNEL_HELLO_H
#define TUNNEL_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/codec.h"

enum {
    L2T_HELLO_VERSION = 1,
    L2T_HELLO_MAX_BYTES = 256, /* payload: it must pass the base control limit */
    L2T_HELLO_TOKEN_BYTES = 16,
    L2T_MESSAGE_MAX_DEFAULT = L2T_HEADER_BYTES + L2T_FRAME_MAX_DEFAULT, /* tag 2 left out */
    L2T_BATCH_MESSAGE_MAX = 65536, /* what our ends announce as tag 2 unless told otherwise */
};

enum l2t_hello_flag {                           /* the sender of this HELLO ... */
                      L2T_HELLO_BATCH = 1 << 0, /* can receive BATCH */
                      L2T_HELLO_RESUME =
                          1 << 1, /* proxy: keeps lost sessions; client: asks for that */
                      L2T_HELLO_SUPER = 1 << 2, /* can receive super-frames */
};

enum l2t_hello_outcome { L2T_OUTCOME_NEW = 0, L2T_OUTCOME_RESUMED = 1, L2T_OUTCOME_ABSENT = 255 };

struct l2t_hello {
    uint16_t flags;             /* l2t_hello_flag; unknown bits as received */
    uint32_t frame_max_bytes;   /* tag 1 */
    uint32_t message_max_bytes; /* tag 2; bounds a whole BATCH message */
    bool has_token;             /* tag 3 */
    uint8_t token[L2T_HELLO_TOKEN_BYTES];
    bool has_keep_s; /* tag 4: seconds a lost session is kept */
    uint32_t keep_s;
    uint8_t outcome;  /* tag 5: l2t_hello_outcome */
    uint16_t lan_mtu; /* tag 6; 0: absent */
};

/** A HELLO that announces nothing: no flags, the base limits, every other tag absent. */
struct l2t_hello l2t_hello_default(void);

/**
 * Reads the payload of a HELLO. Unknown tags and flags are passed over; of a repeated tag the
 * last one counts. Returns 0, L2T_ERR_HELLO or L2T_ERR_HELLO_VERSION; *hello is written only on
 * success and then has the defaults where a tag is absent.
 */
int l2t_hello_parse(struct l2t_hello *hello, const uint8_t *payload, size_t payload_bytes);

/**
 * Writes a whole HELLO message, header included: tags 1 and 2 always, the others when present.
 * Returns its bytes or L2T_ERR_NO_ROOM; L2T_HEADER_BYTES + L2T_HELLO_MAX_BYTES always suffice.
 */
int64_t l2t_hello_encode(uint8_t *wire, size_t room_bytes, const struct l2t_hello *hello);

#endif
