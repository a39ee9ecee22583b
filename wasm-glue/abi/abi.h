/*
 * abi.h - what the JavaScript side may call and must provide. The files beside this one are the
 *         only C with export attributes; natively they compile too, for tests.
 *
 * Values   Addresses are bytes in the module's memory, clock readings are milliseconds as double,
 *          guest-physical addresses travel as two words, so that no BigInt crosses the boundary.
 * Numbers  JavaScript repeats none: constants and statistics are exported with their names.
 * Memory   The caller lays out every object: it asks for the size, gives the place and keeps it.
 *          No file here has mutable statics, so instances may share a memory.
 */
#ifndef ABI_H
#define ABI_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __wasm__
#define ABI_EXPORT(name) __attribute__((export_name(#name)))
#define ABI_IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#else
#define ABI_EXPORT(name)
#define ABI_IMPORT(name)
#endif

enum {
    ABI_VERSION = 1,
    ABI_AREA_BYTES = 65552,        /* scratch of a card: frames in and out of it */
    ABI_MESSAGE_BYTES = 262144,    /* longest tunnel message a client announces to take (BATCH) */
    ABI_RING_FRAME_BYTES = 2048,   /* net-rings.md §4: longest frame that plain rings carry */
    ABI_SUPER_FRAME_BYTES = 65550, /* l2-extensions.md §4: of rings for super-frames */
    ABI_PUMP_FRAMES = 256,         /* net-rings.md §4.3: frames into the card, one poll */
    ABI_NAME_BYTES = 32,
    ABI_OPTION_UNSET = -1,
};

/* Results of nic_poll(), a set of bits. */
enum abi_poll {
    ABI_POLL_MORE = 1, /* more work waits right now: poll again soon */
    ABI_POLL_SENT = 2, /* NET_TX grew */
    ABI_POLL_TOOK = 4, /* NET_RX shrank */
};

enum abi_error {                         /* beside the ring_error values */
                 ABI_ERR_MODEL = -100,   /* no such model, or it refuses its MAC or options */
                 ABI_ERR_OPTIONS = -101, /* a client refuses its options, a card its snapshot */
                 ABI_ERR_REFUSED = -102, /* the card's own queue does not take this frame */
};

/* The extensions a tunnel client speaks, a set of bits; SUPER needs the other one. */
enum abi_tunnel { ABI_TUNNEL_EXTENDED = 1, ABI_TUNNEL_SUPER = 2 };

enum abi_host {
    ABI_HOST_CALLBACKS,
    ABI_HOST_LINEAR,
    ABI_HOST_LINEAR_WRITTEN, /* the same, and env_dma_written() is called */
    ABI_HOST_MESSAGES = 4,   /* a bit beside one of these: env_message() delivers MSI-X */
};

struct abi_constant {
    char name[ABI_NAME_BYTES];
    int32_t value;
};

/* An option of a model: one of `choices`, separated by spaces, whose value is its position; where
 * there are none a number from min to max. */
struct abi_option {
    char name[ABI_NAME_BYTES];
    char choices[2 * ABI_NAME_BYTES];
    int32_t min, max;
};

struct abi_name {
    char name[ABI_NAME_BYTES];
    uint32_t at; /* of a uint64_t in the statistics structure */
};

#endif
