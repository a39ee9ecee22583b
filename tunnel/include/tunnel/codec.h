/*
 * codec.h - messages of aero-l2-tunnel-v1: bytes in, views out; no I/O, no clock, no heap.
 *
 * Source   spec/l2-tunnel.md; every § below is a section of it. tunnel/PROTOCOL.md is our text.
 * Memory   A decoded message borrows the wire bytes it was decoded from.
 * Hostile  Any byte sequence is accepted and answered by a message or an l2t_error.
 */
#ifndef TUNNEL_CODEC_H
#define TUNNEL_CODEC_H

#include <stddef.h>
#include <stdint.h>

enum {
    L2T_MAGIC = 0xa2,
    L2T_VERSION = 0x03,
    L2T_HEADER_BYTES = 4,
    L2T_FRAME_MAX_DEFAULT = 2048,  /* §4: payload of FRAME */
    L2T_FRAME_MAX_JUMBO = 65550,   /* l2-extensions.md §4: the most a tag 1 is good for */
    L2T_CONTROL_MAX_DEFAULT = 256, /* §4: payload of everything else */
    L2T_TEXT_BYTES = 64,           /* room every decode text of §4.1 fits in, with its NUL */
    L2T_REASON_MAX_BYTES = 123,    /* RFC 6455 §5.5: close reason */
};

#define L2T_SUBPROTOCOL  "aero-l2-tunnel-v1"
#define L2T_TOKEN_PREFIX "aero-l2-token."

enum l2t_type {
    L2T_FRAME = 0x00,
    L2T_PING = 0x01,
    L2T_PONG = 0x02,
    L2T_HELLO = 0x10, /* spec/l2-extensions.md; unknown to a peer of the base protocol */
    L2T_BATCH = 0x11,
    L2T_SUPER = 0x12,
    L2T_ERROR = 0x7f,
};

enum l2t_error { /* in the order they are checked (§4.1) */
                 L2T_ERR_SHORT = -1,
                 L2T_ERR_MAGIC = -2,
                 L2T_ERR_VERSION = -3,
                 L2T_ERR_LONG = -4,
                 L2T_ERR_NO_ROOM = -5, /* encode: the output does not fit */

                 L2T_ERR_HELLO = -6, /* hello.h: truncated, or a known tag of a wrong length */
                 L2T_ERR_HELLO_VERSION =
                     -7, /* hello.h: not version 1, to be dropped like an unknown type */
                 L2T_ERR_HELLO_AGAIN = -8, /* a second HELLO on one connection */
                 L2T_ERR_BATCH = -9,  /* batch.h: entries do not fill the message, or a bad entry */
                 L2T_ERR_SUPER = -10, /* super.h: not one whole TCP segment, or a bad gso_size */
};

enum l2t_error_code { /* §5: codes of an ERROR message */
                      L2T_CODE_PROTOCOL_ERROR = 1,
                      L2T_CODE_AUTH_REQUIRED = 2,
                      L2T_CODE_AUTH_INVALID = 3,
                      L2T_CODE_ORIGIN_MISSING = 4,
                      L2T_CODE_ORIGIN_DENIED = 5,
                      L2T_CODE_QUOTA_BYTES = 6,
                      L2T_CODE_QUOTA_FPS = 7,
                      L2T_CODE_QUOTA_CONNECTIONS = 8,
                      L2T_CODE_BACKPRESSURE = 9,
};

struct l2t_limits {
    uint32_t frame_max_bytes;   /* payload of FRAME */
    uint32_t control_max_bytes; /* payload of every other type, unknown ones too */
    uint32_t message_max_bytes; /* a whole BATCH; 0: BATCH is an unknown type like any other */
    uint32_t super_max_bytes;   /* the frame in a SUPER; 0: likewise */
};

struct l2t_message {
    uint8_t type;
    uint8_t flags; /* ignored, here for tests */
    const uint8_t *payload;
    uint32_t payload_bytes;
};

/** Returns 0 and fills *message, or the first failing check of §4.1. */
int l2t_decode(struct l2t_message *message, const uint8_t *wire, size_t wire_bytes,
               const struct l2t_limits *limits);

/**
 * The exact text of §4.1 for a wire that l2t_decode() refused with `error`, and a text of our own
 * for the extensions' errors. Always terminated.
 */
void l2t_decode_text(char text[L2T_TEXT_BYTES], int error, const uint8_t *wire, size_t wire_bytes,
                     const struct l2t_limits *limits);

/** Writes the 4-byte header of a message whose payload the caller puts behind it. */
void l2t_encode_header(uint8_t wire[L2T_HEADER_BYTES], enum l2t_type type);

/** Writes a whole message. Returns its bytes, L2T_ERR_LONG or L2T_ERR_NO_ROOM. */
int64_t l2t_encode(uint8_t *wire, size_t room_bytes, enum l2t_type type, const uint8_t *payload,
                   size_t payload_bytes, const struct l2t_limits *limits);

/** A structured ERROR payload (§5), or structured = 0 for any other byte sequence. */
struct l2t_error_payload {
    int structured;
    uint16_t code;
    const uint8_t *text;
    uint32_t text_bytes;
};

/** Anything that is not exactly the structured form, valid UTF-8 included, is unstructured. */
struct l2t_error_payload l2t_error_parse(const uint8_t *payload, size_t payload_bytes);

/** Encodes code and UTF-8 text into at most `limit` bytes (§5). Returns the payload's bytes. */
uint32_t l2t_error_encode(uint8_t *payload, uint32_t limit, uint16_t code, const char *text);

/** Longest prefix of `bytes` UTF-8 bytes that is <= max and ends on a character boundary. */
uint32_t l2t_utf8_prefix(const uint8_t *text, uint32_t bytes, uint32_t max);

/** Our wording for an ERROR's code (§5), or NULL for an unknown one. */
const char *l2t_code_text(int32_t code);

/**
 * The line shown to a user for an ERROR (§5): `l2 tunnel error (<code>): <text>`. code -1 stands
 * for an unstructured payload of `detail` bytes. Nothing the peer wrote gets into it.
 */
void l2t_peer_error_text(char text[L2T_TEXT_BYTES], int32_t code, uint32_t detail);

#endif
