/*
 * host.h - the world a card lives in: guest memory, interrupt line, frame sink, clock.
 *
 * Memory   The caller owns struct nic_host and whatever `context` points to; a card copies the
 *          struct at init and keeps calling the functions until it is no longer used.
 * Threads  Every function is called on the thread that calls into the card, never concurrently.
 * Guest    Addresses and lengths come from the guest. A host function must accept any value,
 *          refuse what lies outside guest RAM (false / NULL) and never trap.
 * Order    dma_write() calls become visible to the guest in the order they are made: a status
 *          byte written last is seen last. Hosts whose guest runs on another thread put a
 *          release fence before each write.
 */
#ifndef NIC_HOST_H
#define NIC_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct nic_host {
    void *context; /* handed back as the first argument of every call below */

    /**
     * Copies `bytes` of guest memory from guest-physical address `gpa` to `to`.
     * Returns false when any byte lies outside guest memory in the sense of host-api.md §2.3;
     * `to` is filled all the same (0xff in the PCI hole, 0 elsewhere), so that a card may
     * choose to carry on as the E1000 does.
     */
    bool (*dma_read)(void *context, uint64_t gpa, void *to, uint32_t bytes);

    /** Copies `bytes` to guest memory. Bytes outside RAM are ignored and make it return false. */
    bool (*dma_write)(void *context, uint64_t gpa, const void *from, uint32_t bytes);

    /**
     * Optional (may be NULL): a pointer to guest memory [gpa, gpa + bytes), valid until the card
     * returns to its caller, or NULL when the range is not wholly inside one RAM region.
     * The guest may rewrite those bytes at any time: copy before checking.
     */
    uint8_t *(*dma_map)(void *context, uint64_t gpa, uint32_t bytes);

    /** Optional: the card has written [gpa, gpa + bytes) through a dma_map() pointer. */
    void (*dma_written)(void *context, uint64_t gpa, uint32_t bytes);

    /** Interrupt line INTA: called on transitions only. Delivery need not be synchronous. */
    void (*irq)(void *context, bool level);

    /** Optional: MSI-X message for `vector`. */
    void (*message)(void *context, uint32_t vector);

    /**
     * Room for one outgoing frame of exactly `bytes`, or NULL when the sink is full: the card
     * keeps the frame and asks again in a later poll. The card fills the room and calls
     * frame_end() before it asks for the next one, or lets it go by never calling frame_end().
     */
    uint8_t *(*frame_begin)(void *context, uint32_t bytes);

    /** The frame given by the last frame_begin() or super_begin() is complete (Ethernet, no FCS).
     */
    void (*frame_end)(void *context, uint32_t bytes);

    /**
     * Optional: as frame_begin(), for one TCP packet that the guest wants cut and the card passes
     * on whole (spec/l2-extensions.md §6): gso_bytes of payload in each segment. It has no VLAN
     * tag, its IP length covers all of it and is at most 65535, its checksums mean nothing. Without
     * this hook the card cuts.
     */
    uint8_t *(*super_begin)(void *context, uint32_t bytes, uint16_t gso_bytes);

    /** Monotonic clock in nanoseconds. */
    uint64_t (*now_ns)(void *context);
};

#endif
