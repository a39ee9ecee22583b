/*
 * ip6_guest.h - the guest's half of IPv6 in the world of tests/support/nat_world.h.
 */
#ifndef PROXY_IP6_GUEST_H
#define PROXY_IP6_GUEST_H

#include "nat_world.h"

enum {
    IP6_ECHO_REQUEST = 128,
    IP6_ECHO_REPLY = 129,
    IP6_RS = 133,
    IP6_RA = 134,
    IP6_NS = 135,
    IP6_NA = 136,
    IP6_ROOM = 4096,
};

typedef uint8_t ip6_address[16];

extern const ip6_address ip6_router;  /* fe80::ff:fe00:1 */
extern const ip6_address ip6_gateway; /* fd4b:c7f1:9a2e:2::2 */
extern const ip6_address ip6_guest, ip6_guest_link;
extern const ip6_address ip6_nobody; /* :: */
extern const ip6_address ip6_all_nodes, ip6_all_routers;
extern const ip6_address ip6_server; /* 2606:2800::34 */

/** cmocka: a world with IPv6 switched on; world_teardown() ends it. */
int ip6_setup(void **state);
#define IP6_TEST(name) cmocka_unit_test_setup_teardown(name, ip6_setup, world_teardown)

struct ip6_sent {
    const uint8_t *from, *to;
    uint8_t protocol, hops;
};

/** Neighbour discovery between two addresses: ICMPv6, hop limit 255. */
struct ip6_sent ip6_neighbour(const uint8_t *from, const uint8_t *to);
void ip6_send(struct nat_world *world, const struct ip6_sent *how, const uint8_t *payload,
              uint32_t bytes);
/** The same; the checksum of `icmp` is put in first. */
void ip6_send_icmp(struct nat_world *world, const struct ip6_sent *how, uint8_t *icmp,
                   uint32_t bytes);
void ip6_solicit_router(struct nat_world *world);
void ip6_solicit_neighbour(struct nat_world *world, const uint8_t *from, const uint8_t *target);
/** A datagram with its checksum at `udp`, which has IP6_ROOM; returns its bytes. */
uint32_t ip6_build_udp(const struct ip6_sent *how, uint8_t *udp, uint16_t from, uint16_t port,
                       const void *data, uint32_t bytes);
/** From the guest's port 5000. */
void ip6_send_udp(struct nat_world *world, const uint8_t *to, uint16_t port, const void *data,
                  uint32_t bytes);

struct ip6_got {
    const uint8_t *mac, *from, *to, *payload;
    uint8_t protocol, hops;
    uint32_t bytes;
};

/** The next frame must be IPv6. */
struct ip6_got ip6_next(struct nat_world *world);
/** … and says: destination unreachable, administratively prohibited (RFC 4443 §3.1). */
void ip6_expect_prohibited(struct nat_world *world);

#endif
