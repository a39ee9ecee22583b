/*
 * card.h - one card and everything it needs, laid out in one piece of memory: the host it sees,
 *          its ring back end, its scratch area and the model's own state.
 *
 * Memory   nic_card_bytes() bytes, 16-byte aligned, in place from nic_open() until nobody calls
 *          any more; there is nothing to close.
 * Threads  One thread per card.
 */
#ifndef ABI_CARD_H
#define ABI_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "backend.h"
#include "linear.h"
#include "nic/host.h"

enum { CARD_STATS_MAX = 64, CARD_BARS = 6, CARD_OPTIONS_MAX = 8 };

enum card_bar_kind { CARD_BAR_NONE, CARD_BAR_MEMORY, CARD_BAR_IO };

struct card_bar {
    enum card_bar_kind kind;
    uint32_t bytes;
};

/* Frames its user has not passed on yet: `count` times a little-endian length and the bytes. */
struct card_frames {
    uint32_t count;
    const uint8_t *records;
    uint32_t bytes;
};

/* A model as this folder sees it; `nic` is the model's own state. */
struct card_model {
    char name[ABI_NAME_BYTES];
    const struct abi_option *options;
    uint32_t option_count; /* <= CARD_OPTIONS_MAX */
    const struct abi_name *stat_names;
    uint32_t stat_count;
    bool dma_whole; /* linear_read_whole() and linear_write_whole() are its rules */

    size_t (*bytes)(void);
    /* `options` holds a value, or ABI_OPTION_UNSET, for each row of the table above. */
    void *(*init)(void *memory, size_t memory_bytes, const struct nic_host *host,
                  const uint8_t mac[6], const int32_t *options);
    struct card_bar (*bar)(const int32_t *options, uint32_t bar);
    void (*reset)(void *nic);
    uint32_t (*config_read)(void *nic, uint32_t offset, uint32_t size);
    void (*config_write)(void *nic, uint32_t offset, uint32_t size, uint32_t value);
    uint32_t (*bar_read)(void *nic, uint32_t bar, uint32_t offset, uint32_t size);
    void (*bar_write)(void *nic, uint32_t bar, uint32_t offset, uint32_t size, uint32_t value);
    void (*poll)(void *nic);
    bool (*work_pending)(void *nic);
    enum backend_offer (*offer)(void *nic, const uint8_t *frame, uint32_t bytes);
    enum backend_offer (*offer_super)(void *nic, const uint8_t *frame, uint32_t bytes,
                                      uint16_t gso_bytes);
    void (*set_link)(void *nic, bool up);
    bool (*link)(void *nic);
    bool (*irq_level)(void *nic);
    uint64_t (*next_event_ns)(void *nic);
    const void *(*stats)(void *nic);
    /* Optional: what the guest programmed for an MSI-X vector; false: not enabled. */
    bool (*message)(void *nic, uint32_t vector, uint64_t *address, uint32_t *data);
    /* Optional: keeps a copy for a later poll in the card's own queue. 0 or an abi_error. */
    int (*queue)(void *nic, const uint8_t *frame, uint32_t bytes);
    /* Returns what it needs. */
    size_t (*save)(void *nic, const struct card_frames *outgoing, uint8_t *to, size_t capacity);
    int (*load)(void *nic, const uint8_t *from, size_t bytes);
};

extern const struct card_model card_e1000, card_virtio_net;

/* Those of this module, NULL behind the last one (models.c). */
extern const struct card_model *const card_models[];

struct card {
    const struct card_model *model;
    void *nic;
    int32_t options[CARD_OPTIONS_MAX];
    struct nic_host host;
    struct linear linear;
    struct backend backend;
    uint64_t stats[CARD_STATS_MAX];                        /* a snapshot, made by nic_stats() */
    uint8_t record[BACKEND_PREFIX_BYTES + ABI_AREA_BYTES]; /* the area, and room before it */
};

#endif
