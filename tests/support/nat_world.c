#include "nat_world.h"

#include "nat_world_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- opening, time ---- */

void world_init(struct nat_world *world)
{
    memset(world, 0, sizeof *world);
    world->config = (struct nat_config){
        .network = {10, 0, 2, 0},
        .netmask = {255, 255, 255, 0},
        .lan_mtu = 1500,
        .frame_max_bytes = 2048,
        .tcp_max = 1024,
        .udp_max = 256,
        .udp_idle_ms = 60000,
        .tcp_connect_timeout_ms = 5000,
        .tcp_early_bytes = 262144,
        .tcp_window_max_bytes = 4u << 20,
        .tcp_keepalive_ms = 600000,
        .dns_pending_max = 1024,
        .dns_cache_max = 10000,
        .dns_timeout_ms = 2000,
        .dns_default_ttl_s = 60,
        .dns_max_ttl_s = 300,
    };
    memcpy(world->config.gateway_mac, world_gateway_mac, 6);
    memcpy(world->config.gateway, world_gateway, 4);
    memcpy(world->config.guest, world_guest, 4);
    world->host = world_host(world);
    world->frames = calloc(WORLD_FRAMES_MAX, sizeof *world->frames);
    world->sockets = calloc(WORLD_SOCKETS_MAX, sizeof *world->sockets);
    assert_true(world->frames != NULL && world->sockets != NULL);
    world->send_room = UINT32_MAX;
    world->frame_room = UINT32_MAX;
    world->now_us = 1000000;
    world->random_state = 42;
}

void world_start(struct nat_world *world)
{
    char why[128];

    world->config.policy = policy_new(&world->policy, why, sizeof why);
    assert_non_null(world->config.policy);
    world->frame_max_bytes = world->config.frame_max_bytes;
    world->nat = nat_open(&world->config, &world->host, &world->metrics, world->now_us);
    assert_non_null(world->nat);
    world->deadline_us = nat_tick(world->nat, world->now_us);
}

void world_start_leased(struct nat_world *world)
{
    world_start(world);
    world_announce(world);
}

void world_open(struct nat_world *world)
{
    world_init(world);
    world_start_leased(world);
}

void world_close(struct nat_world *world)
{
    nat_close(world->nat);
    for (uint32_t i = 0; i < world->socket_count; i++) {
        assert_false(world->sockets[i].open); /* everything is released when the tunnel ends */
        free(world->sockets[i].in.data);
        free(world->sockets[i].out.data);
    }
    for (uint32_t i = 0; i < world->frame_count; i++)
        free(world->frames[i].data);
    for (uint32_t i = 0; i < world->batch_count; i++)
        free(world->batch[i]);
    world_host_clear(world);
    free(world->frames);
    free(world->sockets);
    policy_free((struct policy *)(uintptr_t)world->config.policy);
}

static void world_tick(struct nat_world *world)
{
    world->deadline_us = nat_tick(world->nat, world->now_us);
}

void world_advance(struct nat_world *world, uint64_t us)
{
    const uint64_t end = world->now_us + us;

    for (uint32_t standing = 0;;) {
        world_tick(world);
        standing = world->deadline_us > world->now_us ? 0 : standing + 1;
        assert_true(standing < 1000); /* a burst goes on at once; for ever, the proxy would spin */
        if (world->deadline_us > end)
            break;
        if (standing == 0)
            world->now_us = world->deadline_us;
    }
    world->now_us = end;
    world_tick(world);
}

/* ---- the guest sends ---- */

static void input_batched(struct nat_world *world, const uint8_t *frame, uint32_t bytes,
                          bool is_super)
{
    if (world->batch_count == sizeof world->batch / sizeof world->batch[0])
        world_flush(world);
    uint8_t *copy = malloc(bytes != 0 ? bytes : 1); /* exactly: sanitizers see a byte too far */

    if (bytes != 0)
        memcpy(copy, frame, bytes);
    world->batch[world->batch_count++] = copy;
    if (is_super)
        nat_input_super(world->nat, copy, bytes, world->now_us);
    else
        nat_input(world->nat, copy, bytes, world->now_us);
}

void world_input_batched(struct nat_world *world, const uint8_t *frame, uint32_t bytes)
{
    input_batched(world, frame, bytes, false);
}

void world_flush(struct nat_world *world)
{
    nat_flush(world->nat, world->now_us);
    for (uint32_t i = 0; i < world->batch_count; i++)
        free(world->batch[i]);
    world->batch_count = 0;
    world_tick(world);
}

void world_input(struct nat_world *world, const uint8_t *frame, uint32_t bytes)
{
    world_input_batched(world, frame, bytes);
    world_flush(world);
}

uint32_t world_hex(const char *hex, uint8_t *to, uint32_t room)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t count = 0;

    while (*(hex += strspn(hex, " \n")) != '\0') {
        const char *high = strchr(digits, hex[0]);
        const char *low = hex[1] != '\0' ? strchr(digits, hex[1]) : NULL;

        assert_true(high != NULL && low != NULL && count < room);
        to[count++] = (uint8_t)((high - digits) * 16 + (low - digits));
        hex += 2;
    }
    return count;
}

void world_input_hex(struct nat_world *world, const char *hex)
{
    uint8_t frame[4096];

    world_input(world, frame, world_hex(hex, frame, sizeof frame));
}

void world_announce(struct nat_world *world)
{
    world_input_hex(world, "ffffffffffff 525400123456 0806 0001080006040001 525400123456 0a00020f"
                           "000000000000 0a00020f");
}

uint32_t world_build_ipv4(struct nat_world *world, uint8_t *frame, const uint8_t *source,
                          const uint8_t *destination, uint8_t protocol, const uint8_t *l4,
                          uint32_t l4_bytes)
{
    return world_frame_ipv4(frame, ++world->next_ip_id, source, destination, protocol, l4,
                            l4_bytes);
}

void world_send_ipv4(struct nat_world *world, const uint8_t *destination, uint8_t protocol,
                     const uint8_t *l4, uint32_t l4_bytes)
{
    uint8_t *frame = malloc(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + l4_bytes);

    world_input(world, frame,
                world_build_ipv4(world, frame, world_guest, destination, protocol, l4, l4_bytes));
    free(frame);
}

void world_send_udp(struct nat_world *world, uint16_t from, const uint8_t *to, uint16_t port,
                    const void *data, uint32_t bytes)
{
    const uint32_t udp_bytes = UDP_HEADER_BYTES + bytes;
    uint8_t *frame = malloc(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + udp_bytes);
    uint8_t *ip = frame + ETH_HEADER_BYTES, *udp = ip + IPV4_HEADER_BYTES;

    be16_put(udp + UDP_SOURCE_AT, from);
    be16_put(udp + UDP_DESTINATION_AT, port);
    be16_put(udp + UDP_LENGTH_AT, (uint16_t)udp_bytes);
    if (bytes != 0)
        memcpy(udp + UDP_HEADER_BYTES, data, bytes);
    const uint32_t frame_bytes =
        world_build_ipv4(world, frame, world_guest, to, IP_PROTOCOL_UDP, udp, udp_bytes);

    world_seal_l4(ip, IP_PROTOCOL_UDP, udp, udp_bytes);
    world_input(world, frame, frame_bytes);
    free(frame);
}

void world_batch_tcp(struct nat_world *world, const struct world_segment *segment)
{
    uint8_t *frame = malloc(ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES +
                            WORLD_TCP_OPTIONS_MAX + segment->payload_bytes);

    const uint32_t bytes = world_frame_tcp(frame, ++world->next_ip_id, segment);
    if (segment->gso_bytes != 0) {
        frame[ETH_HEADER_BYTES + IPV4_CHECKSUM_AT] ^= 0x5a;
        frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_CHECKSUM_AT] ^= 0x5a;
    }
    input_batched(world, frame, bytes, segment->gso_bytes != 0);
    free(frame);
}

void world_send_tcp(struct nat_world *world, const struct world_segment *segment)
{
    world_batch_tcp(world, segment);
    world_flush(world);
}

/* ---- the guest receives ---- */

const struct world_frame *world_next(struct nat_world *world)
{
    if (world->frame_read == world->frame_count)
        return NULL;
    return &world->frames[world->frame_read++];
}

void world_skip_frames(struct nat_world *world)
{
    world->frame_read = world->frame_count;
}

void world_expect_hex(struct nat_world *world, const char *hex)
{
    uint8_t expected[4096];
    const uint32_t bytes = world_hex(hex, expected, sizeof expected);
    const struct world_frame *frame = world_next(world);

    assert_non_null(frame);
    assert_int_equal(frame->bytes, bytes);
    assert_memory_equal(frame->data, expected, bytes);
}

struct world_packet world_next_ipv4(struct nat_world *world)
{
    const struct world_frame *frame = world_next(world);

    assert_non_null(frame);
    assert_int_equal(be16_get(frame->data + ETH_TYPE_AT), ETH_TYPE_IPV4);
    const uint8_t *ip = frame->data + ETH_HEADER_BYTES;
    struct world_packet packet = {
        .mac = frame->data,
        .protocol = ip[IPV4_PROTOCOL_AT],
        .ttl = ip[IPV4_TTL_AT],
        .id = be16_get(ip + IPV4_ID_AT),
        .fragment = be16_get(ip + IPV4_FRAGMENT_AT),
        .payload = ip + IPV4_HEADER_BYTES,
        .bytes = frame->bytes - ETH_HEADER_BYTES - IPV4_HEADER_BYTES,
    };

    memcpy(packet.source, ip + IPV4_SOURCE_AT, 4);
    memcpy(packet.destination, ip + IPV4_DESTINATION_AT, 4);
    return packet;
}

const uint8_t *world_expect_udp(struct nat_world *world, const uint8_t *source, uint16_t port,
                                uint16_t guest_port, uint32_t *bytes)
{
    const struct world_packet packet = world_next_ipv4(world);

    assert_int_equal(packet.protocol, IP_PROTOCOL_UDP);
    assert_memory_equal(packet.source, source, 4);
    assert_int_equal(be16_get(packet.payload + UDP_SOURCE_AT), port);
    assert_int_equal(be16_get(packet.payload + UDP_DESTINATION_AT), guest_port);
    *bytes = packet.bytes - UDP_HEADER_BYTES;
    return packet.payload + UDP_HEADER_BYTES;
}

bool world_next_tcp(struct nat_world *world, struct world_segment *segment)
{
    if (world->frame_read == world->frame_count)
        return false;
    const uint16_t gso_bytes = world->frames[world->frame_read].gso_bytes;
    const struct world_packet packet = world_next_ipv4(world);
    const uint8_t *tcp = packet.payload;

    assert_int_equal(packet.protocol, IP_PROTOCOL_TCP);
    assert_memory_equal(packet.mac, world_guest_mac, 6);
    assert_memory_equal(packet.destination, world_guest, 4);
    const uint32_t header_bytes = (uint32_t)(tcp[TCP_DATA_OFFSET_AT] >> 4) * 4;

    *segment = (struct world_segment){
        .remote_port = be16_get(tcp + TCP_SOURCE_AT),
        .guest_port = be16_get(tcp + TCP_DESTINATION_AT),
        .seq = be32_get(tcp + TCP_SEQUENCE_AT),
        .ack = be32_get(tcp + TCP_ACKNOWLEDGMENT_AT),
        .flags = tcp[TCP_FLAGS_AT],
        .window = be16_get(tcp + TCP_WINDOW_AT),
        .options_bytes = header_bytes - TCP_HEADER_BYTES,
        .payload = tcp + header_bytes,
        .payload_bytes = packet.bytes - header_bytes,
        .gso_bytes = gso_bytes,
    };
    memcpy(segment->remote, packet.source, 4);
    memcpy(segment->options, tcp + TCP_HEADER_BYTES, segment->options_bytes);
    return true;
}

/* ---- the world's sockets ---- */

struct world_socket *world_socket_to(struct nat_world *world, const uint8_t *address, uint16_t port)
{
    for (uint32_t i = world->socket_count; i-- > 0;) {
        const struct nat_endpoint *remote = &world->sockets[i].remote;

        if (remote->port == port &&
            memcmp(remote->address, address, remote->family == 6 ? 16 : 4) == 0)
            return &world->sockets[i];
    }
    return NULL;
}

void world_event(struct nat_world *world, struct world_socket *socket, uint32_t events)
{
    nat_socket_event(world->nat, socket->cookie, events, world->now_us);
    world_tick(world);
}

void world_connected(struct nat_world *world, struct world_socket *socket)
{
    assert_non_null(socket);
    socket->connected = true;
    world_event(world, socket, NAT_SOCKET_CONNECTED | NAT_SOCKET_WRITABLE);
}

void world_socket_fails(struct nat_world *world, struct world_socket *socket, int error)
{
    assert_non_null(socket);
    socket->error = error;
    world_event(world, socket, NAT_SOCKET_FAILED);
}

void world_remote_sends(struct nat_world *world, struct world_socket *socket, const void *data,
                        uint32_t bytes)
{
    assert_non_null(socket);
    assert_true(socket->open);
    if (!socket->tcp)
        world_bytes_add(&socket->in, &bytes, sizeof bytes);
    world_bytes_add(&socket->in, data, bytes);
    world_event(world, socket, NAT_SOCKET_READABLE);
}

void world_remote_closes(struct nat_world *world, struct world_socket *socket)
{
    assert_non_null(socket);
    socket->eof = true;
    world_event(world, socket, NAT_SOCKET_READABLE);
}

void world_socket_room(struct nat_world *world, struct world_socket *socket, uint32_t bytes)
{
    socket->send_room = bytes;
    if (bytes == 0 || !socket->send_refused)
        return;
    socket->send_refused = false;
    world_event(world, socket, NAT_SOCKET_WRITABLE);
}

int32_t world_take_datagram(struct world_socket *socket, uint8_t *data, uint32_t room)
{
    return world_bytes_take(&socket->out, data, room);
}

void world_expect_datagram(struct world_socket *socket, const char *text)
{
    uint8_t data[256];

    assert_non_null(socket);
    assert_int_equal(world_take_datagram(socket, data, sizeof data), strlen(text));
    assert_memory_equal(data, text, strlen(text));
}

void world_queue(struct nat_world *world, uint32_t frames)
{
    world->frame_room = frames;
    if (frames == 0 || !world->frames_refused)
        return;
    world->frames_refused = false;
    nat_writable(world->nat, world->now_us);
}

uint32_t world_limit(struct nat_world *world, uint32_t frame_max_bytes)
{
    world->frame_max_bytes = frame_max_bytes;
    return nat_frame_limit(world->nat, frame_max_bytes);
}

void world_super(struct nat_world *world, uint32_t frame_max_bytes)
{
    world->super_max_bytes = frame_max_bytes;
    nat_super_limit(world->nat, frame_max_bytes);
}

/* ---- the resolver ---- */

void world_answer_hex(struct nat_world *world, uint32_t handle, const char *hex)
{
    uint8_t wire[8192];
    const uint32_t bytes = world_hex(hex, wire, sizeof wire);
    uint8_t *exact = malloc(bytes != 0 ? bytes : 1);

    memcpy(exact, wire, bytes);
    nat_dns_answer(world->nat, handle, exact, bytes, 0, world->now_us);
    free(exact);
    world_tick(world);
}

/* ---- fixtures ---- */

int world_setup_later(void **state)
{
    struct nat_world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    world_init(world);
    *state = world;
    return 0;
}

int world_setup_unleased(void **state)
{
    world_setup_later(state);
    world_start(*state);
    return 0;
}

int world_setup_leased(void **state)
{
    world_setup_later(state);
    world_start_leased(*state);
    return 0;
}

int world_teardown(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}
