/*
 * nat_world.h - a NAT with everything around it made of memory: host sockets, resolver, outbound
 *               queue and clock, plus the guest's half of the LAN: frames in, frames out.
 *
 * A test opens a world, leases the address, sends packets as the guest and looks at what comes
 * back; or plays the remote side of a host socket. Every helper fails the test when it can't.
 */
#ifndef SUPPORT_NAT_WORLD_H
#define SUPPORT_NAT_WORLD_H

#include "world_frame.h"

#include "nat/nat.h"
#include "policy/policy.h"

enum {
    WORLD_FRAMES_MAX = 65536,
    WORLD_SOCKETS_MAX = 2048,
    WORLD_QUERIES_MAX = 64,
    WORLD_BATCH_MAX = 4096,
};

struct world_frame {
    uint8_t *data;
    uint32_t bytes;
    uint16_t gso_bytes; /* not 0: a super-frame */
};

/* A growing run of bytes, [at, bytes) not taken yet; UDP: datagrams, each with a 4-byte length
 * before it. */
struct world_bytes {
    uint8_t *data;
    size_t at, bytes, room;
};

struct world_socket {
    bool open, tcp, connected, write_closed;
    bool connect_ended; /* and nobody was told yet */
    bool closed, reset; /* how the NAT closed it */
    bool whole;         /* UDP: datagrams leave in one piece or not at all */
    bool send_refused;  /* it wanted more room than there was */
    uint32_t cookie;
    struct nat_endpoint remote;
    struct world_bytes in;  /* what the remote sent and the NAT has not consumed */
    struct world_bytes out; /* what the NAT sent; UDP: as in `in` */
    bool eof;               /* the remote closed its side behind `in` */
    int error;              /* pending: what error(), peek and send answer with (positive) */
    uint32_t send_room;     /* bytes the kernel takes now; UINT32_MAX: all */
    uint64_t consumed;
};

struct world_query {
    uint32_t handle;
    char name[254];
    uint16_t type;
};

struct nat_world {
    struct nat *nat;
    struct nat_config config; /* change it between world_init() and world_start() */
    struct policy_options policy;
    struct nat_host host;
    struct nat_metrics metrics;
    uint64_t now_us;
    uint64_t deadline_us; /* of the last nat_tick() */

    struct world_frame *frames; /* all that went to the guest */
    uint32_t frame_count, frame_read;
    uint32_t frame_room; /* places left in the outbound queue; UINT32_MAX: no end */
    bool frames_refused;
    uint32_t frame_max_bytes; /* what the client takes */
    uint32_t super_max_bytes;
    uint8_t **reserved;
    uint32_t reserved_count, reserved_bytes;

    struct world_socket *sockets;
    uint32_t socket_count;
    uint32_t send_room; /* what a new socket takes at first; UINT32_MAX: all */
    int connect_result; /* what tcp_connect and udp_connect answer if negative */
    int udp_send_result;
    int path_mtu; /* 0: any datagram fits */

    struct world_query queries[WORLD_QUERIES_MAX];
    uint32_t query_count;
    int query_result;

    uint8_t *batch[WORLD_BATCH_MAX]; /* frames that stay in place until world_flush() */
    uint32_t batch_count;
    uint64_t random_state;
    bool random_stands; /* random() answers random_state, each time */
    uint16_t next_ip_id;
};

/** Defaults of l2-proxy.md §2; the NAT itself is opened by world_start(). */
void world_init(struct nat_world *world);
void world_start(struct nat_world *world);
/** … and the guest has announced its address. */
void world_start_leased(struct nat_world *world);
/** init and start_leased. */
void world_open(struct nat_world *world);
void world_close(struct nat_world *world);

/* ---- time ---- */

/** Moves the clock on, running each timer at its own time. */
void world_advance(struct nat_world *world, uint64_t us);

/* ---- the guest sends ---- */

/** One frame, at once: nat_input() and nat_flush(). */
void world_input(struct nat_world *world, const uint8_t *frame, uint32_t bytes);
/** The same without the flush: the frame stays in place until world_flush(). */
void world_input_batched(struct nat_world *world, const uint8_t *frame, uint32_t bytes);
void world_flush(struct nat_world *world);
/** Hex text, blanks ignored. */
void world_input_hex(struct nat_world *world, const char *hex);
void world_announce(struct nat_world *world);

/** Ethernet + IPv4 around `l4`; returns the frame's bytes. */
uint32_t world_build_ipv4(struct nat_world *world, uint8_t *frame, const uint8_t *source,
                          const uint8_t *destination, uint8_t protocol, const uint8_t *l4,
                          uint32_t l4_bytes);
void world_send_ipv4(struct nat_world *world, const uint8_t *destination, uint8_t protocol,
                     const uint8_t *l4, uint32_t l4_bytes);
void world_send_udp(struct nat_world *world, uint16_t from, const uint8_t *to, uint16_t port,
                    const void *data, uint32_t bytes);

/** One segment of a batch, as world_input_batched(); a super-frame with nonsense for checksums. */
void world_batch_tcp(struct nat_world *world, const struct world_segment *segment);
void world_send_tcp(struct nat_world *world, const struct world_segment *segment);

/* ---- the guest receives ---- */

/** The next frame not looked at, or NULL. */
const struct world_frame *world_next(struct nat_world *world);
void world_skip_frames(struct nat_world *world);
#define world_expect_nothing(world) assert_null(world_next(world))
void world_expect_hex(struct nat_world *world, const char *hex);

struct world_packet {
    const uint8_t *mac; /* the frame's destination */
    uint8_t source[4], destination[4];
    uint8_t protocol, ttl;
    uint16_t id, fragment;
    const uint8_t *payload;
    uint32_t bytes;
};

/** The next frame must be IPv4. Lengths and checksums of every frame were judged as it left. */
struct world_packet world_next_ipv4(struct nat_world *world);
/** … and UDP from `source`:`port`; the payload. */
const uint8_t *world_expect_udp(struct nat_world *world, const uint8_t *source, uint16_t port,
                                uint16_t guest_port, uint32_t *bytes);
/** The next frame must be TCP; false when there is no frame. Its payload is borrowed. */
bool world_next_tcp(struct nat_world *world, struct world_segment *segment);

/* ---- the world's sockets ---- */

/** The newest socket to address:port; NULL if there was none. */
struct world_socket *world_socket_to(struct nat_world *world, const uint8_t *address,
                                     uint16_t port);
void world_event(struct nat_world *world, struct world_socket *socket, uint32_t events);
void world_connected(struct nat_world *world, struct world_socket *socket);
/** connect() or the connection fails with a positive errno. */
void world_socket_fails(struct nat_world *world, struct world_socket *socket, int error);
/** The remote sends: bytes of a stream, or one datagram. READABLE follows. */
void world_remote_sends(struct nat_world *world, struct world_socket *socket, const void *data,
                        uint32_t bytes);
void world_remote_closes(struct nat_world *world, struct world_socket *socket);
/** The host takes `bytes` more of a stream; WRITABLE follows if it refused some. */
void world_socket_room(struct nat_world *world, struct world_socket *socket, uint32_t bytes);
/** The outbound queue takes `frames` more; nat_writable() follows if it refused some. */
void world_queue(struct nat_world *world, uint32_t frames);
/** The client announces its frame limit; the LAN's MTU from now on. */
uint32_t world_limit(struct nat_world *world, uint32_t frame_max_bytes);
/** The client announces that it takes super-frames. */
void world_super(struct nat_world *world, uint32_t frame_max_bytes);
/** Takes the oldest datagram the NAT sent; its bytes or -1. */
int32_t world_take_datagram(struct world_socket *socket, uint8_t *data, uint32_t room);
void world_expect_datagram(struct world_socket *socket, const char *text);

/* ---- the resolver ---- */

void world_answer_hex(struct nat_world *world, uint32_t handle, const char *hex);

/** Decodes hex, blanks ignored; the number of bytes. */
uint32_t world_hex(const char *hex, uint8_t *to, uint32_t room);

/* ---- cmocka: *state is the world ---- */

int world_setup_leased(void **state);   /* world_open() */
int world_setup_unleased(void **state); /* started; the guest has said nothing yet */
int world_setup_later(void **state);    /* world_init(): the test configures and starts it */
int world_teardown(void **state);

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup_leased, world_teardown)
#define WORLD_TEST_UNLEASED(name)                                                                  \
    cmocka_unit_test_setup_teardown(name, world_setup_unleased, world_teardown)
#define WORLD_TEST_LATER(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, world_setup_later, world_teardown)

#endif
