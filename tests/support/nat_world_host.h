/*
 * nat_world_host.h - private to nat_world.c: the struct nat_host of a world made of memory.
 *
 * Every misuse of the interface by the NAT fails the test: a closed socket, a peek beyond what
 * came, a second shutdown, a frame the guest should not see (world_frame_defect()).
 */
#ifndef SUPPORT_NAT_WORLD_HOST_H
#define SUPPORT_NAT_WORLD_HOST_H

#include "nat_world.h"

struct nat_host world_host(struct nat_world *world);
/** Frees the places reserved and not committed. */
void world_host_clear(struct nat_world *world);

void world_bytes_add(struct world_bytes *to, const void *data, size_t bytes);
/** Takes the oldest datagram; its bytes or -1. */
int32_t world_bytes_take(struct world_bytes *from, uint8_t *data, uint32_t room);

#endif
