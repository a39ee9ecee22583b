#include "tcp_script.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUEST_PORT = 49152, REMOTE_PORT = 80, TOKENS = 32, PAYLOAD_MAX = 65536 };

struct script {
    struct nat_world world;
    uint32_t guest_isn, nat_isn;
    struct world_socket *socket; /* the last one opened */
    size_t remote_bytes;         /* sent so far */
    const char *line;
    const char *token[TOKENS];
    int tokens, at;
    char text[256];
};

uint8_t tcp_pattern(uint32_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) * 7 + (offset >> 16));
}

void tcp_world_open(struct nat_world *world, uint32_t nat_isn,
                    void (*configure)(struct nat_config *))
{
    world_init(world);
    world->random_stands = true;
    world->random_state = nat_isn;
    world->send_room = 1 << 20;
    if (configure != NULL)
        configure(&world->config);
    world_start(world);
}

static void broken(const struct script *script, const char *why)
{
    fail_msg("\"%s\": %s (isn %08" PRIx32 "/%08" PRIx32 ")", script->line, why, script->guest_isn,
             script->nat_isn);
}

static void want(const struct script *script, const char *what, uint32_t got, uint32_t wanted)
{
    char why[96];

    if (got == wanted)
        return;
    snprintf(why, sizeof why, "%s is %" PRIu32 ", not %" PRIu32, what, got, wanted);
    broken(script, why);
}

static bool next_is(struct script *script, const char *word)
{
    if (script->at >= script->tokens || strcmp(script->token[script->at], word) != 0)
        return false;
    script->at++;
    return true;
}

static uint32_t number(struct script *script)
{
    char *end;

    if (script->at >= script->tokens)
        broken(script, "number expected");
    const unsigned long value = strtoul(script->token[script->at++], &end, 0);
    if (*end != '\0')
        broken(script, "not a number");
    return (uint32_t)value;
}

/* ---- segments as text ---- */

struct wanted { /* which fields a line names, and the options it names */
    struct world_segment segment;
    bool ack, window, options;
};

static uint8_t parse_flags(struct script *script)
{
    static const char letters[] = "FSRP.U";
    uint8_t flags = 0;

    for (const char *at = script->token[script->at++]; *at != '\0'; at++) {
        const char *letter = strchr(letters, *at);

        if (letter == NULL)
            broken(script, "unknown flag");
        flags |= (uint8_t)(1u << (letter - letters));
    }
    return flags;
}

static void parse_sacks(struct script *script, struct world_segment *segment, uint32_t base)
{
    const int first = script->at;

    while (script->at < script->tokens && strchr(script->token[script->at], '-') != NULL)
        script->at++;
    uint8_t *at = segment->options + segment->options_bytes;
    *at++ = 1;
    *at++ = 1;
    *at++ = 5;
    *at++ = (uint8_t)(2 + 8 * (script->at - first));
    for (int i = first; i < script->at; i++) {
        unsigned from, to;

        if (sscanf(script->token[i], "%u-%u", &from, &to) != 2)
            broken(script, "sack A-B expected");
        be32_put(at, base + from);
        be32_put(at + 4, base + to);
        at += 8;
    }
    segment->options_bytes = (uint32_t)(at - segment->options);
}

/* The options in the one order and padding that the NAT uses; any order does for the guest. */
static struct wanted parse_segment(struct script *script, bool from_guest)
{
    const uint32_t own = from_guest ? script->guest_isn : script->nat_isn;
    const uint32_t other = from_guest ? script->nat_isn : script->guest_isn;
    struct wanted wanted = {.segment = {.guest_port = GUEST_PORT,
                                        .remote_port = REMOTE_PORT,
                                        .remote = {93, 184, 216, 34},
                                        .window = 65535}};
    struct world_segment *segment = &wanted.segment;
    unsigned seq, bytes;
    bool sackok = false;

    segment->flags = parse_flags(script);
    if (sscanf(script->token[script->at++], "%u+%u", &seq, &bytes) != 2)
        broken(script, "SEQ+LEN expected");
    segment->seq = own + seq;
    segment->payload_bytes = bytes;
    while (script->at < script->tokens) {
        uint8_t *at = segment->options + segment->options_bytes;

        if (next_is(script, "ack")) {
            segment->ack = other + number(script);
            wanted.ack = true;
        } else if (next_is(script, "win")) {
            segment->window = (uint16_t)number(script);
            wanted.window = true;
        } else if (next_is(script, "port")) {
            segment->guest_port = (uint16_t)number(script);
        } else if (next_is(script, "gso")) {
            segment->gso_bytes = (uint16_t)number(script);
        } else if (next_is(script, "abs")) { /* a RST without relation to the NAT's numbers */
            segment->seq = number(script);
        } else if (next_is(script, "nooptions")) {
            wanted.options = true;
        } else if (next_is(script, "mss")) {
            const uint32_t mss = number(script);
            memcpy(at, (const uint8_t[]){2, 4, (uint8_t)(mss >> 8), (uint8_t)mss}, 4);
            segment->options_bytes += 4;
        } else if (next_is(script, "sackok")) {
            sackok = true; /* goes with the timestamp, if there is one */
            if (script->at >= script->tokens || strcmp(script->token[script->at], "ts") != 0) {
                memcpy(at, "\1\1\4\2", 4);
                segment->options_bytes += 4;
            }
        } else if (next_is(script, "ts")) {
            memcpy(at, sackok ? "\4\2\10\12" : "\1\1\10\12", 4);
            be32_put(at + 4, number(script));
            be32_put(at + 8, number(script));
            segment->options_bytes += 12;
        } else if (next_is(script, "ws")) {
            memcpy(at, "\1\3\3", 3);
            at[3] = (uint8_t)number(script);
            segment->options_bytes += 4;
        } else if (next_is(script, "sack")) {
            parse_sacks(script, segment, other);
        } else {
            broken(script, "unknown field");
        }
    }
    wanted.options |= segment->options_bytes > 0;
    return wanted;
}

/* Stream offsets start behind the SYN. */
static void do_guest(struct script *script)
{
    static uint8_t payload[PAYLOAD_MAX];
    struct wanted wanted = parse_segment(script, true);
    const uint32_t syn = (wanted.segment.flags & TCP_SYN) != 0;

    for (uint32_t i = 0; i < wanted.segment.payload_bytes; i++)
        payload[i] = tcp_pattern(wanted.segment.seq + syn + i - (script->guest_isn + 1));
    wanted.segment.payload = payload;
    world_batch_tcp(&script->world, &wanted.segment);
}

static void do_fill(struct script *script)
{
    uint32_t from = number(script);
    const uint32_t to = number(script);
    const uint32_t step_bytes = script->at < script->tokens ? number(script) : 1000;
    char line[64];

    while (from != to) {
        const uint32_t bytes = to - from < step_bytes ? to - from : step_bytes;

        snprintf(line, sizeof line, ". %" PRIu32 "+%" PRIu32 " ack 1", from, bytes);
        script->tokens = script->at = 0;
        for (char *at = strtok(line, " "); at != NULL; at = strtok(NULL, " "))
            script->token[script->tokens++] = at;
        do_guest(script);
        from += bytes;
    }
    world_flush(&script->world);
}

static void do_nat(struct script *script)
{
    const bool is_reset = script->token[script->at][0] == 'R';
    struct wanted wanted = parse_segment(script, false);
    struct world_segment got;

    if (!world_next_tcp(&script->world, &got))
        broken(script, "no frame");
    want(script, "flags", got.flags, wanted.segment.flags);
    want(script, "seq", got.seq - script->nat_isn, wanted.segment.seq - script->nat_isn);
    want(script, "len", got.payload_bytes, wanted.segment.payload_bytes);
    want(script, "gso", got.gso_bytes, wanted.segment.gso_bytes);
    want(script, "port", got.guest_port, wanted.segment.guest_port);
    if (wanted.ack)
        want(script, "ack", got.ack - script->guest_isn, wanted.segment.ack - script->guest_isn);
    if (wanted.window)
        want(script, "win", got.window, wanted.segment.window);
    if (is_reset)
        want(script, "win of a RST", got.window, 0);
    if (wanted.options) {
        want(script, "options length", got.options_bytes, wanted.segment.options_bytes);
        for (uint32_t i = 0; i < got.options_bytes; i++)
            want(script, "option byte", got.options[i], wanted.segment.options[i]);
    }
    for (uint32_t i = 0; i < got.payload_bytes; i++)
        want(script, "payload byte", got.payload[i],
             tcp_pattern(got.seq + i - (script->nat_isn + 1)));
}

/* ---- host and remote as text ---- */

static struct world_socket *newest(struct script *script)
{
    struct nat_world *world = &script->world;

    if (world->socket_count == 0)
        broken(script, "no socket");
    for (uint32_t i = world->socket_count; i-- > 0;)
        if (world->sockets[i].open)
            script->socket = &world->sockets[i];
    if (script->socket == NULL)
        script->socket = &world->sockets[0]; /* opened and closed already */
    return script->socket;
}

static void host_got(struct script *script)
{
    const struct world_socket *socket = script->socket;

    want(script, "bytes the host got", (uint32_t)socket->out.bytes, number(script));
    for (uint32_t i = 0; i < socket->out.bytes; i++)
        want(script, "byte the host got", socket->out.data[i], tcp_pattern(i));
}

static void do_host(struct script *script)
{
    if (script->world.socket_count > 0)
        newest(script);
    if (next_is(script, "opens"))
        want(script, "connects", script->world.socket_count, number(script));
    else if (next_is(script, "got"))
        host_got(script);
    else if (next_is(script, "shut"))
        want(script, "shut", script->socket->write_closed, 1);
    else if (next_is(script, "closed"))
        want(script, "closed", script->socket->closed, 1);
    else if (next_is(script, "reset"))
        want(script, "reset", script->socket->reset, 1);
    else if (next_is(script, "waiting"))
        want(script, "open and not shut", script->socket->open && !script->socket->write_closed, 1);
    else if (next_is(script, "consumed"))
        want(script, "consumed", (uint32_t)script->socket->consumed, number(script));
    else if (next_is(script, "room"))
        world_socket_room(&script->world, script->socket, number(script));
    else
        broken(script, "unknown");
}

static void do_remote(struct script *script)
{
    struct world_socket *socket = newest(script);

    if (next_is(script, "sends")) {
        const uint32_t bytes = number(script);
        uint8_t *data = malloc(bytes);

        for (uint32_t i = 0; i < bytes; i++)
            data[i] = tcp_pattern((uint32_t)script->remote_bytes + i);
        world_remote_sends(&script->world, socket, data, bytes);
        script->remote_bytes += bytes;
        free(data);
    } else if (next_is(script, "closes")) {
        world_remote_closes(&script->world, socket);
    } else if (next_is(script, "is")) {
        want(script, "gone", next_is(script, "gone"), 1);
        socket->error = ECONNRESET;
    } else if (next_is(script, "breaks")) {
        socket->error = ECONNRESET;
        world_event(&script->world, socket, NAT_SOCKET_FAILED | NAT_SOCKET_READABLE);
    } else {
        broken(script, "unknown");
    }
}

static void do_metric(struct script *script)
{
    const struct nat_metrics *metrics = &script->world.metrics;
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
        {"tcp_conns_active", (uint64_t)metrics->tcp_conns_active},
        {"policy_denied", metrics->policy_denied_total},
        {"connect_fail", metrics->tcp_connect_fail_total},
        {"flow_limit", metrics->tcp_flow_limit_exceeded_total},
        {"retransmits", metrics->tcp_retransmits_total},
        {"out_of_order", metrics->tcp_out_of_order_total},
        {"resets", metrics->tcp_resets_total},
        {"probes", metrics->tcp_zero_window_probes_total},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (next_is(script, all[i].name)) {
            want(script, all[i].name, (uint32_t)all[i].value, number(script));
            return;
        }
    }
    broken(script, "unknown metric");
}

/* RFC 792: destination unreachable, the SYN's IP header and first eight bytes behind it. */
static void do_unreachable(struct script *script)
{
    const struct world_packet packet = world_next_ipv4(&script->world);
    const uint8_t *quoted = packet.payload + ICMP_HEADER_BYTES;

    want(script, "protocol", packet.protocol, IP_PROTOCOL_ICMP);
    want(script, "from the gateway", (uint32_t)memcmp(packet.source, world_gateway, 4), 0);
    want(script, "type", packet.payload[0], 3);
    want(script, "code", packet.payload[1], number(script));
    want(script, "quoted protocol", quoted[IPV4_PROTOCOL_AT], IP_PROTOCOL_TCP);
    want(script, "quoted source", (uint32_t)memcmp(quoted + IPV4_SOURCE_AT, world_guest, 4), 0);
    want(script, "quoted destination",
         (uint32_t)memcmp(quoted + IPV4_DESTINATION_AT, world_server, 4), 0);
    quoted += IPV4_HEADER_BYTES;
    want(script, "quoted port", be16_get(quoted + TCP_SOURCE_AT), GUEST_PORT);
    want(script, "quoted remote port", be16_get(quoted + TCP_DESTINATION_AT), REMOTE_PORT);
    want(script, "quoted seq", be32_get(quoted + TCP_SEQUENCE_AT), script->guest_isn);
}

static void do_line(struct script *script, const char *line);

static void do_times(struct script *script)
{
    const uint32_t times = number(script);
    const char *line = script->line;

    for (int skipped = 0; skipped < 2; skipped++)
        line += strcspn(line, " ") + 1;
    for (uint32_t i = 0; i < times; i++)
        do_line(script, line);
}

static void do_advance(struct script *script)
{
    char unit[3];
    unsigned value;

    if (sscanf(script->token[0], "+%u%2s", &value, unit) != 2)
        broken(script, "+Nus, +Nms or +Ns expected");
    world_advance(&script->world, (uint64_t)value * (strcmp(unit, "us") == 0   ? 1
                                                     : strcmp(unit, "ms") == 0 ? 1000
                                                                               : 1000000));
}

static void do_line(struct script *script, const char *line)
{
    script->line = line;
    script->tokens = script->at = 0;
    snprintf(script->text, sizeof script->text, "%s", line);
    for (char *at = strtok(script->text, " "); at != NULL; at = strtok(NULL, " "))
        script->token[script->tokens++] = at;
    if (next_is(script, "guest")) {
        do_guest(script);
        world_flush(&script->world);
    } else if (next_is(script, "batch")) {
        do_guest(script);
    } else if (next_is(script, "fill")) {
        do_fill(script);
    } else if (next_is(script, "nat")) {
        do_nat(script);
    } else if (next_is(script, "unreachable")) {
        do_unreachable(script);
    } else if (next_is(script, "skip")) {
        for (uint32_t left = number(script); left > 0; left--)
            want(script, "frames", world_next(&script->world) != NULL, 1);
    } else if (next_is(script, "times")) {
        do_times(script);
    } else if (next_is(script, "silence")) {
        struct world_segment got;
        if (world_next_tcp(&script->world, &got))
            want(script, "flags of a frame to the guest", got.flags, 0);
    } else if (next_is(script, "ends")) {
        newest(script)->connect_ended = true;
    } else if (next_is(script, "connects")) {
        world_connected(&script->world, newest(script));
    } else if (next_is(script, "refuses")) {
        world_socket_fails(&script->world, newest(script),
                           script->at < script->tokens ? (int)number(script) : ECONNREFUSED);
    } else if (next_is(script, "host")) {
        do_host(script);
    } else if (next_is(script, "remote")) {
        do_remote(script);
    } else if (next_is(script, "queue")) {
        world_queue(&script->world, number(script));
    } else if (next_is(script, "limit")) {
        world_limit(&script->world, number(script));
    } else if (next_is(script, "super")) {
        world_super(&script->world, number(script));
    } else if (next_is(script, "metric")) {
        do_metric(script);
    } else {
        do_advance(script);
    }
}

void tcp_script_with(void (*configure)(struct nat_config *), const char *const *lines)
{
    static const uint32_t isns[][2] = {{0x01020304, 0x10000000}, /* those of §6.2 */
                                       {0xffffff00, 0xfffffffe},
                                       {0x7ffffff0, 0xffffffff}};

    for (size_t i = 0; i < sizeof isns / sizeof isns[0]; i++) {
        struct script *script = calloc(1, sizeof *script);

        assert_non_null(script);
        script->guest_isn = isns[i][0];
        script->nat_isn = isns[i][1];
        tcp_world_open(&script->world, script->nat_isn, configure);
        for (const char *const *line = lines; *line != NULL; line++)
            do_line(script, *line);
        world_close(&script->world);
        free(script);
    }
}

void tcp_script(const char *const *lines)
{
    tcp_script_with(NULL, lines);
}
