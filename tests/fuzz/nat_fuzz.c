/*
 * nat_fuzz.c - the NAT under a guest, a world and a clock that are all hostile.
 *
 * Input    byte 0: the configuration; then steps: u8 what, u8 argument, u16 length, `length` bytes.
 * Checks   Sanitizers; every frame the NAT sends is well-formed (world_frame_defect()) and fits
 *          the client; the host's calls are legal (nat_hostile.c); in the end no socket is open.
 */
#include "must.h"
#include "nat_hostile.h"
#include "policy/policy.h"
#include "tests/support/world_frame.h"
#include "tunnel/super.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
    STEPS_MAX = 400,
    BATCH_MAX = 16,
    START_US = 1000000,
};

enum choice { /* bits of the input's first byte */
              CHOICE_FULL_CONE = 1,
              CHOICE_EVICT = 2,
              CHOICE_JUMBO = 4,
              CHOICE_IPV4_ONLY = 8,
};

enum step {
    STEP_RAW_FRAME,  /* as it is */
    STEP_IP_FRAME,   /* addresses, lengths and checksums put right first */
    STEP_TIME,       /* argument × 2^(length % 20) microseconds */
    STEP_EVENT,      /* socket `argument`: the first byte are the events, the rest arrives */
    STEP_DNS_ANSWER, /* to query `argument` */
    STEP_QUEUE,      /* room for `argument` more frames, 255: no end */
    STEP_HOST,       /* the host's mood: how calls end */
    STEP_FLUSH,
    STEP_LIMIT,         /* the client takes frames of `length` bytes */
    STEP_SEGMENT,       /* of a TCP that knows its numbers: see step_segment() */
    STEP_SUPER_LIMIT,   /* the client takes super-frames of `length` bytes */
    STEP_SUPER,         /* as STEP_IP_FRAME, as a super-frame */
    STEP_SUPER_SEGMENT, /* as STEP_SEGMENT, as a super-frame */
    STEP_COUNT,
};

enum {
    FLOWS_MAX = 8,
    FLOW_PORT = 40000,
    SEGMENT_MAX = 1460,
};

/* One of the guest's connections: sequence numbers are a hash's, and without them no input would
 * ever get past the handshake. */
struct flow {
    uint32_t seq, ack; /* of the next segment */
};

struct story {
    struct nat *nat;
    uint64_t now_us;
    struct hostile host;
    struct flow flows[FLOWS_MAX];
    uint8_t *batch[BATCH_MAX]; /* frames in place until the flush */
    uint32_t batch_count;
};

/* Makes the packet one that the first checks let pass: lengths, checksums, for odd addresses the
 * guest's. IPv6 extension headers stay as they are. */
static void put_right6(uint8_t *ip, uint32_t bytes)
{
    static const uint8_t guest_ip6[16] = {0xfd, 0x4b, 0xc7, 0xf1, 0x9a, 0x2e, 0, 2, [15] = 15};
    const uint32_t l4_bytes = bytes - IPV6_HEADER_BYTES;

    ip[0] = (uint8_t)(0x60 | (ip[0] & 15));
    be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)l4_bytes);
    if ((ip[IPV6_SOURCE_AT] & 1) != 0)
        memcpy(ip + IPV6_SOURCE_AT, guest_ip6, 16);
    if (ip[IPV6_NEXT_HEADER_AT] == IP_PROTOCOL_UDP && l4_bytes >= UDP_HEADER_BYTES)
        be16_put(ip + IPV6_HEADER_BYTES + UDP_LENGTH_AT, (uint16_t)l4_bytes);
    world_seal_l4(ip, ip[IPV6_NEXT_HEADER_AT], ip + IPV6_HEADER_BYTES, l4_bytes);
}

static void put_right4(uint8_t *ip, uint32_t bytes)
{
    uint32_t header_bytes = (ip[0] & 15u) * 4;

    if (header_bytes < IPV4_HEADER_BYTES || header_bytes > bytes)
        header_bytes = IPV4_HEADER_BYTES;
    ip[0] = (uint8_t)(0x40 | header_bytes / 4);
    be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)bytes);
    if ((ip[IPV4_SOURCE_AT] & 1) != 0)
        memcpy(ip + IPV4_SOURCE_AT, world_guest, 4);
    world_seal_ipv4_header(ip, header_bytes);
    uint8_t *l4 = ip + header_bytes;
    const uint32_t l4_bytes = bytes - header_bytes;

    if (ip[IPV4_PROTOCOL_AT] == IP_PROTOCOL_UDP && l4_bytes >= UDP_HEADER_BYTES)
        be16_put(l4 + UDP_LENGTH_AT, (uint16_t)l4_bytes);
    world_seal_l4(ip, ip[IPV4_PROTOCOL_AT], l4, l4_bytes);
}

static void put_right(uint8_t *frame, uint32_t bytes)
{
    if (bytes < ETH_HEADER_BYTES + IPV4_HEADER_BYTES)
        return;
    const bool is6 = be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_IPV6 &&
                     bytes >= ETH_HEADER_BYTES + IPV6_HEADER_BYTES;

    world_frame_ethernet(frame, is6 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4);
    if (is6)
        put_right6(frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES);
    else
        put_right4(frame + ETH_HEADER_BYTES, bytes - ETH_HEADER_BYTES);
}

/* ---- steps ---- */

static uint8_t *exact_copy(const uint8_t *data, uint32_t bytes)
{
    uint8_t *copy = malloc(bytes != 0 ? bytes : 1);

    must(copy != NULL);
    if (bytes != 0)
        memcpy(copy, data, bytes);
    return copy;
}

static void batch_flush(struct story *story)
{
    nat_flush(story->nat, story->now_us);
    for (uint32_t i = 0; i < story->batch_count; i++)
        free(story->batch[i]);
    story->batch_count = 0;
}

static void step_frame(struct story *story, enum step how, const uint8_t *data, uint32_t bytes)
{
    uint8_t *frame = exact_copy(data, bytes);

    if (how == STEP_IP_FRAME || how == STEP_SUPER)
        put_right(frame, bytes);
    story->batch[story->batch_count++] = frame;
    if (how != STEP_SUPER && how != STEP_SUPER_SEGMENT)
        nat_input(story->nat, frame, bytes, story->now_us);
    else if (l2t_super_headers(frame, bytes) != 0) /* the session lets no other pass */
        nat_input_super(story->nat, frame, bytes, story->now_us);
    if (story->batch_count == BATCH_MAX)
        batch_flush(story);
}

/* Follows what the NAT sends to the guest's connections. */
static void flow_sees(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct story *story = context;
    const uint8_t *ip = frame + ETH_HEADER_BYTES, *tcp = ip + IPV4_HEADER_BYTES;

    if (be16_get(frame + ETH_TYPE_AT) != ETH_TYPE_IPV4 || ip[IPV4_PROTOCOL_AT] != IP_PROTOCOL_TCP)
        return;
    const uint32_t flow_index = be16_get(tcp + TCP_DESTINATION_AT) - (uint32_t)FLOW_PORT;
    const uint32_t headers_bytes =
        ETH_HEADER_BYTES + IPV4_HEADER_BYTES + 4u * (tcp[TCP_DATA_OFFSET_AT] >> 4);

    if (flow_index >= FLOWS_MAX)
        return;
    struct flow *flow = &story->flows[flow_index];
    const uint32_t seq = be32_get(tcp + TCP_SEQUENCE_AT);
    const uint8_t flags = tcp[TCP_FLAGS_AT];

    if ((flags & TCP_SYN) != 0)
        flow->seq = be32_get(tcp + TCP_ACKNOWLEDGMENT_AT);
    if ((flags & TCP_SYN) != 0 || seq == flow->ack)
        flow->ack =
            seq + bytes - headers_bytes + ((flags & TCP_SYN) != 0) + ((flags & TCP_FIN) != 0);
}

/*
 * argument   bits 0..2 the connection, 3..4 whom to, 5 options follow, 6..7 the window
 * body       flags, sequence off by (signed) × 64, acknowledgment likewise, bytes / 8; then the
 *            options behind their length, then the payload's beginning
 */
static void step_segment(struct story *story, enum step how, uint8_t argument, const uint8_t *body,
                         uint32_t length)
{
    static const uint16_t windows[] = {65535, 0, 1000, 65535};
    static uint8_t payload[SEGMENT_MAX];
    struct flow *flow = &story->flows[argument & 7];
    uint8_t frame[ETH_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES + WORLD_TCP_OPTIONS_MAX +
                  SEGMENT_MAX];
    uint32_t at = 4;

    if (length < 4)
        return;
    const uint8_t *remote = (argument >> 3 & 3) == 1 ? world_gateway : world_server;
    struct world_segment segment = {
        .remote_port = remote == world_gateway  ? 53
                       : (argument & 0x10) != 0 ? 443
                                                : 80,
        .guest_port = (uint16_t)(FLOW_PORT + (argument & 7)),
        .seq = flow->seq + (uint32_t)((int8_t)body[1] * 64),
        .ack = flow->ack + (uint32_t)((int8_t)body[2] * 64),
        .flags = body[0],
        .window = windows[argument >> 6],
        .payload = payload,
        .payload_bytes = body[3] * 8u < SEGMENT_MAX ? body[3] * 8u : SEGMENT_MAX,
    };

    memcpy(segment.remote, remote, 4);
    if ((argument & 0x20) != 0 && at < length) {
        const uint32_t wanted = body[at++] & 0x3cu, left = length - at;

        segment.options_bytes = wanted < left ? wanted & ~3u : left & ~3u;
        if (segment.options_bytes > WORLD_TCP_OPTIONS_MAX)
            segment.options_bytes = WORLD_TCP_OPTIONS_MAX;
        memcpy(segment.options, body + at, segment.options_bytes);
        at += segment.options_bytes;
    }
    const uint32_t given =
        length - at < segment.payload_bytes ? length - at : segment.payload_bytes;

    memset(payload, 0, sizeof payload);
    memcpy(payload, body + at, given);
    if (body[1] == 0)
        flow->seq +=
            segment.payload_bytes + ((body[0] & TCP_SYN) != 0) + ((body[0] & TCP_FIN) != 0);
    step_frame(story, how, frame, world_frame_tcp(frame, 0, &segment));
}

static void step_event(struct story *story, uint32_t which, const uint8_t *data, uint32_t bytes)
{
    if (story->host.socket_count == 0 || bytes == 0)
        return;
    struct hostile_socket *socket = &story->host.sockets[which % story->host.socket_count];

    if (socket->in_bytes < 1u << 20)
        socket->in_bytes += (bytes - 1) * (socket->tcp ? 64 : 1);
    socket->eof |= (data[0] & 0x10) != 0;
    if ((data[0] & NAT_SOCKET_FAILED) != 0)
        socket->error = (data[0] & 0x20) != 0 ? ECONNREFUSED : EHOSTUNREACH;
    nat_socket_event(story->nat, socket->cookie, data[0] & 15u, story->now_us);
}

static void step_dns(struct story *story, uint8_t which, const uint8_t *data, uint32_t bytes)
{
    uint8_t *exact = exact_copy(data, bytes);

    nat_dns_answer(story->nat, story->host.queries[which], bytes == 0 ? NULL : exact, bytes,
                   -ETIMEDOUT, story->now_us);
    free(exact);
}

/* A client may announce less than it said before only between its frames. */
static void step_limit(struct story *story, uint32_t frame_max_bytes)
{
    batch_flush(story);
    story->host.frame_max_bytes = frame_max_bytes;
    nat_frame_limit(story->nat, frame_max_bytes);
}

static bool step_has_body(enum step step)
{
    return step != STEP_TIME && step != STEP_QUEUE && step != STEP_HOST && step != STEP_FLUSH &&
           step != STEP_LIMIT && step != STEP_SUPER_LIMIT;
}

static void step(struct story *story, enum step step, uint8_t argument, uint32_t wanted,
                 const uint8_t *body, uint32_t length)
{
    switch (step) {
    case STEP_RAW_FRAME:
    case STEP_IP_FRAME:
    case STEP_SUPER:
        step_frame(story, step, body, length);
        break;
    case STEP_TIME:
        story->now_us += (uint64_t)argument << wanted % 20;
        batch_flush(story);
        nat_tick(story->nat, story->now_us);
        break;
    case STEP_EVENT:
        step_event(story, argument, body, length);
        break;
    case STEP_DNS_ANSWER:
        step_dns(story, argument, body, length);
        break;
    case STEP_QUEUE:
        story->host.room = argument == 255 ? UINT32_MAX : argument;
        nat_writable(story->nat, story->now_us);
        break;
    case STEP_HOST:
        story->host.mood = argument;
        break;
    case STEP_SEGMENT:
    case STEP_SUPER_SEGMENT:
        step_segment(story, step, argument, body, length);
        break;
    case STEP_SUPER_LIMIT:
        story->host.super_max_bytes = wanted < L2T_SUPER_FRAME_MAX ? wanted : L2T_SUPER_FRAME_MAX;
        nat_super_limit(story->nat, story->host.super_max_bytes);
        break;
    case STEP_LIMIT:
        step_limit(story, wanted);
        break;
    default:
        batch_flush(story);
        break;
    }
}

static void tell(struct story *story, const uint8_t *data, size_t bytes)
{
    for (uint32_t steps = 0; bytes >= 4 && steps < STEPS_MAX; steps++) {
        const enum step what = data[0] % STEP_COUNT;
        const uint32_t wanted = (uint32_t)(data[2] << 8 | data[3]);
        const uint32_t most = step_has_body(what) ? wanted : 0;
        const uint32_t length = most <= bytes - 4 ? most : (uint32_t)(bytes - 4);

        step(story, what, data[1], wanted, data + 4, length);
        data += 4 + length;
        bytes -= 4 + length;
    }
    batch_flush(story);
    nat_tick(story->nat, story->now_us);
}

/* Tables as small as they may be: a full one is met soon, and opening costs little. */
static struct nat_config configure(uint8_t choice)
{
    static const struct policy *policy;
    static const struct nat_dns_override overrides[] = {{"a", {203, 0, 113, 1}}};
    char why[64];

    if (policy == NULL)
        policy = policy_new(&(struct policy_options){0}, why, sizeof why);
    return (struct nat_config){
        .policy = policy,
        .gateway_mac = {2, 0, 0, 0, 0, 1},
        .network = {10, 0, 2, 0},
        .gateway = {10, 0, 2, 2},
        .guest = {10, 0, 2, 15},
        .netmask = {255, 255, 255, 0},
        .ipv6 = (choice & CHOICE_IPV4_ONLY) == 0,
        .udp_full_cone = (choice & CHOICE_FULL_CONE) != 0,
        .udp_evict_oldest = (choice & CHOICE_EVICT) != 0,
        .lan_mtu = (choice & CHOICE_JUMBO) != 0 ? 9000 : 1500,
        .frame_max_bytes = (choice & CHOICE_JUMBO) != 0 ? 9014 : 2048,
        .tcp_max = 8,
        .udp_max = 8,
        .udp_idle_ms = 60000,
        .tcp_connect_timeout_ms = 5000,
        .tcp_keepalive_ms = 600000,
        .tcp_early_bytes = 4096,
        .tcp_window_max_bytes = 1u << 20,
        .dns_pending_max = 8,
        .dns_cache_max = 8,
        .dns_timeout_ms = 2000,
        .dns_default_ttl_s = 60,
        .dns_max_ttl_s = 300,
        .dns_overrides = overrides,
        .dns_override_count = 1,
        .dhcp_domain = "lan.example",
        .dhcp_ntp = {{203, 0, 113, 2}},
        .dhcp_ntp_count = 1,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct story story;
    static struct nat_metrics metrics;

    if (bytes == 0)
        return 0;
    const struct nat_config config = configure(data[0]);
    const struct nat_host host = hostile_host(&story.host);

    memset(&story, 0, sizeof story);
    memset(&metrics, 0, sizeof metrics);
    story.now_us = START_US;
    story.host.seen = flow_sees;
    story.host.seen_context = &story;
    story.host.room = UINT32_MAX;
    story.host.frame_max_bytes = config.frame_max_bytes;
    story.host.mtu = config.lan_mtu;
    story.nat = nat_open(&config, &host, &metrics, story.now_us);
    must(story.nat != NULL);
    tell(&story, data + 1, bytes - 1);
    nat_close(story.nat);
    for (uint32_t i = 0; i < story.host.socket_count; i++)
        must(!story.host.sockets[i].open);
    must(metrics.tcp_conns_active == 0 && metrics.udp_flows_active == 0);
    hostile_clear(&story.host);
    return 0;
}
