/*
 * ring_fixture.h - one ring in a buffer whose last data byte touches an unreadable page, with a
 *                  fence before the ring header.
 */
#ifndef NIC_RING_FIXTURE_H
#define NIC_RING_FIXTURE_H

#include "nic/ring.h"

struct fixture {
    uint8_t *buffer;
    size_t buffer_bytes;
    uint8_t *before; /* copy of everything before the ring header */
    struct ring ring;
};

void fixture_make(struct fixture *fixture, uint32_t capacity_bytes);
void fixture_free(struct fixture *fixture);

/* Nothing but the ring itself, and of its header not the capacity, may have changed. */
void fixture_check_surroundings(const struct fixture *fixture);

#endif
