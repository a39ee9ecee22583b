/*
 * dns_guest.h - the guest's resolver in the world of tests/support/nat_world.h: questions from its
 *               port 5000, answers byte for byte.
 */
#ifndef PROXY_DNS_GUEST_H
#define PROXY_DNS_GUEST_H

#include "nat_world.h"

#define EXAMPLE                "076578616d706c6503636f6d00 "
#define QUERY_A                "1234 0100 0001 0000 0000 0000 " EXAMPLE "0001 0001"
#define A_RECORD(ttl, address) "c00c 0001 0001 " ttl " 0004 " address " "

void dns_ask(struct nat_world *world, const char *hex);
/** For the address of a name of one letter. */
void dns_ask_letter(struct nat_world *world, char letter);
/** The next frame is this answer. */
void dns_expect_answer(struct nat_world *world, const char *hex);
/** The RCODE of the next frame, which is an answer. */
uint8_t dns_next_code(struct nat_world *world);
/** What the host's resolver was asked last. */
struct world_query *dns_last_query(struct nat_world *world);

#endif
