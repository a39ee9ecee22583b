/*
 * peer_guest.h - a Linux kernel as a guest: this process's new network namespace, with tap0 in it.
 */
#ifndef PEER_GUEST_H
#define PEER_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUEST_FRAME_MAX = 65550, GUEST_HEADER_MAX = 16 };

struct guest_wish {
    unsigned mtu, queue_frames; /* what the tap holds; the kernel drops the rest */
    bool has_address;           /* 10.0.2.15/24 and a default route; else tap0 is only up */
    bool uncut;                 /* TCP passes uncut (TSO) */
};

struct guest {
    int tap;
    bool uncut;
    uint8_t room[GUEST_HEADER_MAX + GUEST_FRAME_MAX];
};

/** Moves this process into the namespace. Returns NULL, or what the system refused (errno). */
const char *guest_open(struct guest *guest, const struct guest_wish *wish);

/**
 * The next frame the guest sent: its bytes, 0 if there is none. *frame stays until the next call;
 * *gso_bytes is not 0 where TCP is uncut.
 */
size_t guest_take(struct guest *guest, uint8_t **frame, uint16_t *gso_bytes);

/** A frame for the guest; a full tap loses it. False when the tap broke. */
bool guest_give(struct guest *guest, uint8_t *frame, size_t bytes, uint16_t gso_bytes);

#endif
