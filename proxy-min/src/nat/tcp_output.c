#include "tcp.h"

#include <errno.h>
#include <string.h>

/* ---- one segment ---- */

enum send_result { SEND_DONE, SEND_NOTHING, SEND_BLOCKED, SEND_ENDED };

struct header { /* of segments that differ only in sequence number, flags and payload */
    const struct nat_flow_key *key;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    bool is_super;
    uint8_t options_bytes;
    uint8_t options[TCP_OPTIONS_MAX_BYTES];
};

uint32_t tcp_output_clock_ms(const struct nat_tcp *tcp)
{
    return tcp->ts_offset + (uint32_t)(tcp->nat->now_us / 1000);
}

uint16_t tcp_output_mss(const struct nat_tcp *tcp, uint8_t family)
{
    const uint32_t headers_bytes =
        nat_frame_headers_bytes(family) - ETH_HEADER_BYTES + TCP_HEADER_BYTES;
    const uint32_t mtu = tcp->nat->mtu;

    return (uint16_t)(mtu > headers_bytes + TCP_MSS_MIN ? mtu - headers_bytes : TCP_MSS_MIN);
}

void nat_tcp_fit(struct nat *nat)
{
    struct nat_tcp *tcp = nat->tcp;

    for (uint32_t id = 1; id <= tcp->flow_used_max; id++) {
        struct tcp_flow *flow = &tcp->flows[id];
        const uint32_t options_bytes = flow->timestamps ? TCP_OPTION_TIMESTAMP_BYTES : 0;
        const uint32_t most_bytes = tcp_output_mss(tcp, flow->key.remote.family) - options_bytes;

        if (flow->state != TCP_FREE && flow->mss > most_bytes)
            flow->mss = (uint16_t)most_bytes;
    }
}

/* Writes Ethernet to TCP header of a segment whose payload is in place behind them. */
static void header_write(const struct nat_tcp *tcp, const struct header *header, uint8_t *frame,
                         uint32_t payload_bytes)
{
    const uint32_t tcp_bytes = TCP_HEADER_BYTES + header->options_bytes;
    uint8_t *at =
        nat_frame_headers(tcp->nat, frame, header->key, IP_PROTOCOL_TCP, tcp_bytes + payload_bytes);

    be16_put(at + TCP_SOURCE_AT, header->key->remote.port);
    be16_put(at + TCP_DESTINATION_AT, header->key->guest.port);
    be32_put(at + TCP_SEQUENCE_AT, header->seq);
    be32_put(at + TCP_ACKNOWLEDGMENT_AT, header->ack);
    at[TCP_DATA_OFFSET_AT] = (uint8_t)(tcp_bytes / 4 << 4);
    at[TCP_FLAGS_AT] = header->flags;
    be16_put(at + TCP_WINDOW_AT, header->window);
    be16_put(at + TCP_CHECKSUM_AT, 0);
    be16_put(at + TCP_URGENT_AT, 0);
    memcpy(at + TCP_HEADER_BYTES, header->options, header->options_bytes);
    if (header->is_super) /* l2-extensions.md §6: who cuts or delivers it computes them */
        return;
    const uint32_t sum = nat_pseudo_sum(header->key, IP_PROTOCOL_TCP, tcp_bytes + payload_bytes);
    be16_put(at + TCP_CHECKSUM_AT,
             checksum_finish(checksum_add(sum, at, tcp_bytes + payload_bytes)));
}

static uint32_t header_bytes(const struct header *header)
{
    return nat_frame_headers_bytes(header->key->remote.family) + TCP_HEADER_BYTES +
           header->options_bytes;
}

/* A segment without payload. False: the queue is full. */
static bool send_bare(struct nat_tcp *tcp, const struct header *header)
{
    const uint32_t bytes = header_bytes(header);
    uint8_t *frame = nat_frame_begin(tcp->nat, bytes);

    if (frame == NULL)
        return false;
    header_write(tcp, header, frame, 0);
    nat_frame_send(tcp->nat, bytes);
    return true;
}

/* Everything that a flow's segments have in common now. */
static void header_fill(struct nat_tcp *tcp, struct tcp_flow *flow, struct header *header,
                        uint32_t seq, uint8_t flags, bool with_sack)
{
    const uint32_t window_bytes = tcp_host_window(tcp, flow) >> flow->rcv_scale;
    struct tcp_options options = {0};

    *header = (struct header){
        .key = &flow->key,
        .seq = seq,
        .ack = flow->rcv_nxt,
        .window = (uint16_t)(window_bytes < UINT16_MAX ? window_bytes : UINT16_MAX),
        .flags = flags | TCP_ACK,
    };
    if (flow->timestamps) {
        options.has_timestamp = true;
        options.timestamp = tcp_output_clock_ms(tcp);
        options.timestamp_echo = flow->ts_recent;
    }
    if (with_sack) {
        struct tcp_range ranges[TCP_OPTION_SACKS];

        options.sack_count = tcp_dsack_report(flow, ranges);
        options.sack_count += tcp_reassembly_ranges(tcp, flow, ranges + options.sack_count,
                                                    TCP_OPTION_SACKS - options.sack_count);
        for (uint32_t i = 0; i < options.sack_count; i++) {
            options.sacks[i].from = ranges[i].from;
            options.sacks[i].to = ranges[i].to;
        }
    }
    header->options_bytes = (uint8_t)tcp_options_write(&options, header->options);
}

/* A segment left that acknowledges everything. */
static void acknowledged(struct tcp_flow *flow)
{
    flow->rcv_acked = flow->rcv_nxt;
    flow->ack_due = flow->ack_delayed = false;
    flow->timer_us[TCP_TIMER_ACK] = 0;
}

static bool has_sack(const struct tcp_flow *flow)
{
    return flow->sack && (flow->block_first != 0 || flow->duplicate.from != flow->duplicate.to);
}

static bool send_ack(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t seq)
{
    struct header header;

    header_fill(tcp, flow, &header, seq, 0, has_sack(flow));
    if (!send_bare(tcp, &header))
        return false;
    flow->duplicate = (struct tcp_range){0};
    acknowledged(flow);
    return true;
}

static bool send_syn_ack(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct tcp_options options = {
        .has_mss = true,
        .mss = tcp_output_mss(tcp, flow->key.remote.family),
        .has_scale = flow->scaled,
        .scale = flow->rcv_scale,
        .sack_permitted = flow->sack,
        .has_timestamp = flow->timestamps,
        .timestamp = tcp_output_clock_ms(tcp),
        .timestamp_echo = flow->ts_recent,
    };
    struct header header = {
        .key = &flow->key,
        .seq = flow->iss,
        .ack = flow->rcv_nxt,
        .window = TCP_WINDOW_INITIAL, /* not scaled (RFC 7323 §2.2) */
        .flags = TCP_SYN | TCP_ACK,
    };

    header.options_bytes = (uint8_t)tcp_options_write(&options, header.options);
    if (!send_bare(tcp, &header))
        return false;
    flow->rcv_edge = flow->rcv_nxt + TCP_WINDOW_INITIAL;
    flow->syn_ack_due = false;
    if (flow->retries == 0) {
        flow->rtt_timing = true;
        flow->rtt_at_us = tcp->nat->now_us;
    }
    acknowledged(flow);
    tcp_timer_retransmit(tcp, flow);
    return true;
}

void tcp_output_refuse(struct nat_tcp *tcp, const struct tcp_segment *segment)
{
    struct header header = {.key = segment->key};

    if ((segment->flags & TCP_RST) != 0)
        return;
    if ((segment->flags & TCP_ACK) != 0) {
        header.seq = segment->ack;
        header.flags = TCP_RST;
    } else {
        header.ack = segment->seq + segment->payload_bytes + ((segment->flags & TCP_SYN) != 0) +
                     ((segment->flags & TCP_FIN) != 0);
        header.flags = TCP_RST | TCP_ACK;
    }
    nat_count(&tcp->nat->metrics->tcp_resets_total);
    send_bare(tcp, &header); /* a full queue: the guest will ask again */
}

void tcp_output_reset(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct header header = {
        .key = &flow->key,
        .seq = flow->state == TCP_CONNECTING ? 0 : flow->snd_max,
        .ack = flow->rcv_nxt,
        .flags = TCP_RST | TCP_ACK,
    };

    nat_count(&tcp->nat->metrics->tcp_resets_total);
    send_bare(tcp, &header);
}

/* ---- data ---- */

/* Was this the end of what the remote sent so far? Learns of EOF early enough for the FIN to ride
 * on the last segment. */
static void look_behind(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t offset, uint32_t end)
{
    uint8_t byte;
    const struct iovec to = {&byte, 1};
    const ssize_t result =
        tcp->nat->host.tcp_peek(tcp->nat->host.context, flow->socket, offset, &to, 1);

    if (result == 0) {
        flow->host_eof = true;
        flow->fin_seq = end;
    }
    if (result <= 0) /* an error comes back as an event, or at the next peek */
        flow->readable = false;
}

static void sent(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t seq, uint32_t first_bytes,
                 uint32_t end, bool is_again)
{
    const uint32_t fin_end = flow->fin_seq + 1;

    if (!is_again && !flow->rtt_timing && !flow->recovering) {
        flow->rtt_timing = true;
        flow->rtt_seq = seq + first_bytes;
        flow->rtt_at_us = tcp->nat->now_us;
    }
    if (seq_after(end, flow->snd_nxt))
        flow->snd_nxt = end;
    flow->snd_max = seq_max(flow->snd_max, end);
    if (flow->host_eof && end == fin_end && !flow->fin_sent) {
        flow->fin_sent = true;
        tcp_timer_idle(tcp, flow);
    }
    if (flow->timer_us[TCP_TIMER_SEND] == 0)
        tcp_timer_retransmit(tcp, flow);
}

struct burst {
    uint32_t seq;       /* of its first byte */
    uint32_t max_bytes; /* of payload */
    uint32_t max_segments;
    bool is_again; /* a retransmission or probe */

    bool is_super;                 /* one super-frame of segment_bytes */
    bool is_all;                   /* the kernel was seen to have no more than this */
    uint32_t segment_bytes;        /* payload of all segments but the last */
    uint32_t segments, bytes, end; /* results */
};

/* Peeks at burst->seq into the payload areas of the places. SEND_NOTHING: there is nothing. */
static enum send_result burst_read(struct nat_tcp *tcp, struct tcp_flow *flow, struct burst *burst,
                                   uint8_t **places, uint32_t place_count, uint32_t before_bytes)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t places_bytes = place_count * burst->segment_bytes;
    const uint32_t room_bytes = burst->max_bytes < places_bytes ? burst->max_bytes : places_bytes;
    const uint32_t offset = flow->consume_bytes + (burst->seq - flow->snd_una);
    struct iovec to[TCP_QUANTUM_SEGMENTS];

    if (room_bytes == 0)
        return flow->host_eof && burst->seq == flow->fin_seq ? SEND_DONE : SEND_NOTHING;
    for (uint32_t i = 0; i < place_count; i++)
        to[i] = (struct iovec){places[i] + before_bytes, burst->segment_bytes};
    to[place_count - 1].iov_len = room_bytes - (place_count - 1) * burst->segment_bytes;
    const ssize_t got = host->tcp_peek(host->context, flow->socket, offset, to, (int)place_count);
    if (got < 0) {
        flow->readable = false;
        return got == -EAGAIN || got == -EWOULDBLOCK ? SEND_NOTHING : SEND_ENDED;
    }
    burst->bytes = (uint32_t)got;
    if (got == 0 && !flow->host_eof) {
        flow->host_eof = true;
        flow->fin_seq = burst->seq;
        flow->readable = false;
    } else if ((burst->bytes < room_bytes || burst->is_all) && !flow->host_eof) {
        look_behind(tcp, flow, offset + burst->bytes, burst->seq + burst->bytes);
    }
    return SEND_DONE;
}

/* Headers in front of what was read, and off it goes. */
static void burst_write(struct nat_tcp *tcp, struct tcp_flow *flow, struct burst *burst,
                        struct header *header, uint8_t **places)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t full_bytes = burst->segment_bytes, end = burst->seq + burst->bytes;
    const bool has_fin = flow->host_eof && end == flow->fin_seq;
    /* RFC 9293 §3.9.1: PSH on the last data there is */
    const bool is_pushed =
        burst->bytes > 0 && (burst->is_again ? end + has_fin == flow->snd_nxt : !flow->readable);
    const uint32_t frames =
        burst->bytes > full_bytes ? (burst->bytes + full_bytes - 1) / full_bytes : 1;
    const uint32_t last_bytes = burst->bytes - (frames - 1) * full_bytes;

    for (uint32_t i = 0; i < frames - 1; i++) {
        header->seq = burst->seq + i * full_bytes;
        header_write(tcp, header, places[i], full_bytes);
    }
    header->seq = end - last_bytes;
    header->flags = (uint8_t)(TCP_ACK | (is_pushed ? TCP_PSH : 0) | (has_fin ? TCP_FIN : 0));
    header_write(tcp, header, places[frames - 1], last_bytes);
    if (burst->is_super)
        host->super_commit(host->context, header_bytes(header) + last_bytes, flow->mss);
    else
        host->frame_commit(host->context, frames, header_bytes(header) + last_bytes);
    burst->segments = burst->bytes > flow->mss ? (burst->bytes + flow->mss - 1u) / flow->mss : 1;
    burst->end = end + has_fin;
    sent(tcp, flow, burst->seq, burst->bytes < flow->mss ? burst->bytes : flow->mss, burst->end,
         burst->is_again);
}

/* §6: as much as the guest's window and 64 KiB allow, in one super-frame; worth it from the second
 * segment on. Whole segments, unless it is all there is: so that the guest gets no short ones. */
static void plan_super(const struct nat_tcp *tcp, const struct tcp_flow *flow, struct burst *burst,
                       uint32_t before_bytes)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t mss = flow->mss, super_max_bytes = tcp->nat->super_max_bytes;
    const uint32_t offset = flow->consume_bytes + (burst->seq - flow->snd_una);

    if (burst->max_bytes <= mss || super_max_bytes <= before_bytes + mss)
        return;
    const uint32_t unread_bytes = host->tcp_unread(host->context, flow->socket);
    const uint32_t there_bytes = unread_bytes > offset ? unread_bytes - offset : 0;
    uint32_t bytes = super_max_bytes - before_bytes;

    bytes -= bytes % mss;
    bytes = burst->max_bytes < bytes ? burst->max_bytes : bytes;
    if (there_bytes <= mss) {
        burst->max_segments = 1;
        burst->is_all = true;
    }
    if (there_bytes <= mss || bytes <= mss)
        return;
    burst->is_super = true;
    burst->is_all = there_bytes <= bytes;
    burst->segment_bytes = burst->is_all ? there_bytes : bytes;
}

static uint32_t burst_reserve(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                              struct burst *burst, uint32_t before_bytes, uint8_t **places)
{
    const struct nat_host *host = &tcp->nat->host;
    uint32_t count = 1;

    if (burst->is_super) {
        places[0] = host->super_reserve(host->context, before_bytes + burst->segment_bytes);
        return places[0] != NULL;
    }
    burst->segment_bytes = burst->max_bytes < flow->mss ? burst->max_bytes : flow->mss;
    if (burst->segment_bytes != 0)
        count = (burst->max_bytes + burst->segment_bytes - 1) / burst->segment_bytes;
    count = count < burst->max_segments ? count : burst->max_segments;
    return nat_frames_begin(tcp->nat, before_bytes + burst->segment_bytes, count, places);
}

/* Peeks up to max_bytes at burst->seq straight into frames and sends them. */
static enum send_result send_burst(struct nat_tcp *tcp, struct tcp_flow *flow, struct burst *burst)
{
    const struct nat_host *host = &tcp->nat->host;
    uint8_t *places[TCP_QUANTUM_SEGMENTS];
    struct header header;

    if (flow->host_eof && burst->max_bytes > flow->fin_seq - burst->seq)
        burst->max_bytes = flow->fin_seq - burst->seq;
    header_fill(tcp, flow, &header, burst->seq, 0, false);
    const uint32_t before_bytes = header_bytes(&header);
    if (tcp->nat->super_max_bytes != 0)
        plan_super(tcp, flow, burst, before_bytes);
    header.is_super = burst->is_super;
    const uint32_t count = burst_reserve(tcp, flow, burst, before_bytes, places);
    if (count == 0)
        return SEND_BLOCKED;
    const enum send_result result = burst_read(tcp, flow, burst, places, count, before_bytes);
    if (result != SEND_DONE) {
        if (burst->is_super)
            host->super_commit(host->context, 0, 0);
        else
            host->frame_commit(host->context, 0, 0);
        if (result == SEND_ENDED)
            tcp_host_abort(tcp, flow);
        return result;
    }
    burst_write(tcp, flow, burst, &header, places);
    if (!has_sack(flow)) /* else a bare segment follows, with SACK */
        acknowledged(flow);
    return SEND_DONE;
}

/* The guest's window is shut. Is there something it should be asked about? A FIN needs no window
 * worth the name. */
static enum send_result arm_probe(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->probe_armed)
        return SEND_NOTHING;
    if (!flow->host_eof && flow->readable)
        look_behind(tcp, flow, flow->consume_bytes + (flow->snd_nxt - flow->snd_una),
                    flow->snd_nxt);
    if (flow->host_eof ? flow->fin_seq != flow->snd_nxt : flow->readable) {
        flow->probe_armed = true;
        flow->retries = 0;
        tcp_timer_retransmit(tcp, flow);
    } else if (flow->host_eof && !flow->fin_sent) {
        struct burst burst = {.seq = flow->snd_nxt, .max_segments = 1};
        return send_burst(tcp, flow, &burst);
    }
    return SEND_NOTHING;
}

/* RFC 9293 §3.8.6.1: one byte beyond the closed window, the same one each time. */
static enum send_result send_probe(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t snd_nxt = flow->snd_nxt;
    struct burst burst = {
        .seq = flow->snd_una, .max_bytes = 1, .max_segments = 1, .is_again = true};
    const enum send_result result = send_burst(tcp, flow, &burst);

    if (result == SEND_DONE) {
        nat_count(&tcp->nat->metrics->tcp_zero_window_probes_total);
        flow->snd_nxt = snd_nxt; /* not really sent: see leave_probing() */
    }
    if (result == SEND_DONE || result == SEND_NOTHING)
        flow->probe_due = false;
    return result;
}

/* RFC 8985 §7.3: the last segment once more. */
static enum send_result send_tail(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t flying_bytes = flow->snd_nxt - flow->snd_una;
    const uint32_t bytes = flying_bytes < flow->mss ? flying_bytes : flow->mss;
    struct burst burst = {
        .seq = flow->snd_nxt - bytes, .max_bytes = bytes, .max_segments = 1, .is_again = true};

    if (bytes == 0) {
        flow->tail_due = false;
        return SEND_NOTHING;
    }
    const enum send_result result = send_burst(tcp, flow, &burst);
    if (result == SEND_DONE)
        nat_count(&tcp->nat->metrics->tcp_retransmits_total);
    if (result == SEND_DONE || result == SEND_NOTHING)
        flow->tail_due = false;
    return result;
}

static enum send_result send_lost(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t from,
                                  uint32_t bytes, uint32_t segments_left)
{
    const uint32_t pipe_bytes = tcp_ack_pipe(flow), edge = flow->snd_wl2 + flow->snd_wnd;
    uint32_t room_bytes = flow->cwnd > pipe_bytes ? flow->cwnd - pipe_bytes : 0;

    if (room_bytes < flow->mss) {
        if (from != flow->snd_una) /* the first is sent whatever the pipe (RFC 6675 §5) */
            return SEND_NOTHING;
        room_bytes = flow->mss;
    }
    if (from != flow->snd_una && !seq_before(from, edge))
        return SEND_NOTHING;
    struct burst burst = {.seq = from,
                          .max_bytes = bytes < room_bytes ? bytes : room_bytes,
                          .max_segments = segments_left,
                          .is_again = true};
    const enum send_result result = send_burst(tcp, flow, &burst);
    if (result == SEND_DONE) {
        flow->rtx_next = burst.end;
        tcp_dsack_sent_again(flow, burst.bytes);
        atomic_fetch_add_explicit(&tcp->nat->metrics->tcp_retransmits_total, burst.segments,
                                  memory_order_relaxed);
    }
    return result;
}

static enum send_result send_new(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t segments_left)
{
    const uint32_t edge = flow->snd_wl2 + flow->snd_wnd;
    const uint32_t window_bytes = seq_before(flow->snd_nxt, edge) ? edge - flow->snd_nxt : 0;
    const uint32_t pipe_bytes = tcp_ack_pipe(flow);
    const bool is_flying = flow->snd_nxt != flow->snd_una;
    uint32_t room_bytes = flow->cwnd > pipe_bytes ? flow->cwnd - pipe_bytes : 0;

    if (flow->fin_sent || !(flow->readable || flow->host_eof))
        return SEND_NOTHING;
    if (window_bytes == 0 && !is_flying)
        return arm_probe(tcp, flow);
    room_bytes = window_bytes < room_bytes ? window_bytes : room_bytes;
    if (room_bytes < flow->mss && is_flying && room_bytes < flow->snd_wnd_max / 2 &&
        !(flow->host_eof && flow->fin_seq - flow->snd_nxt <= room_bytes))
        return SEND_NOTHING; /* RFC 9293 §3.8.6.2.1: no silly windows; an ACK is coming */
    if (room_bytes > flow->mss)
        room_bytes -= room_bytes % flow->mss;
    if (room_bytes == 0 && !(flow->host_eof && flow->fin_seq == flow->snd_nxt))
        return SEND_NOTHING;
    struct burst burst = {
        .seq = flow->snd_nxt, .max_bytes = room_bytes, .max_segments = segments_left};
    return send_burst(tcp, flow, &burst);
}

/* A turn's worth of data. SEND_DONE: there may be more. */
static enum send_result send_data(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    for (uint32_t bursts = 0; bursts < TCP_QUANTUM_SEGMENTS; bursts++) {
        uint32_t from, bytes;
        const uint32_t nxt = flow->snd_nxt;
        const enum send_result result =
            tcp_ack_lost(flow, &from, &bytes)
                ? send_lost(tcp, flow, from, bytes, TCP_QUANTUM_SEGMENTS)
                : send_new(tcp, flow, TCP_QUANTUM_SEGMENTS);

        if (result != SEND_DONE)
            return result;
        if (flow->snd_nxt - nxt >= TCP_QUANTUM_SEGMENTS / 2 * (uint32_t)flow->mss)
            return SEND_DONE;
    }
    return SEND_DONE;
}

/* ---- a flow's turn ---- */

/* Acknowledged bytes leave the kernel's queue, which opens the remote's window. In large lumps: the
 * kernel sizes its receive buffer by what one read takes away per round trip to the *remote*, and
 * that buffer must hold a round trip to the guest. Many small reads would keep it at its start. */
static void consume(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t flying_bytes = flow->snd_nxt - flow->snd_una;

    if (flow->consume_bytes == 0 || flow->consume_bytes < flying_bytes / 2)
        return;
    tcp->nat->host.tcp_consume(tcp->nat->host.context, flow->socket, flow->consume_bytes);
    flow->consume_bytes = 0;
}

static enum send_result open_turn(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    enum send_result result = SEND_NOTHING;

    consume(tcp, flow);
    if (tcp_host_finish(tcp, flow))
        return SEND_ENDED;
    if (flow->probe_due)
        result = send_probe(tcp, flow);
    else if (flow->tail_due)
        result = send_tail(tcp, flow);
    else if (!flow->probe_armed)
        result = send_data(tcp, flow);
    if (result == SEND_BLOCKED || result == SEND_ENDED)
        return result;
    if (flow->keepalive_due) {
        if (!send_ack(tcp, flow, flow->snd_una - 1))
            return SEND_BLOCKED;
        flow->keepalive_due = false;
    }
    if (flow->ack_due && !send_ack(tcp, flow, flow->snd_nxt))
        return SEND_BLOCKED;
    return result;
}

static enum send_result turn(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    switch ((enum tcp_state)flow->state) {
    case TCP_SYN_RECEIVED:
        if (flow->syn_ack_due && !send_syn_ack(tcp, flow))
            return SEND_BLOCKED;
        if (flow->ack_due && !send_ack(tcp, flow, flow->snd_nxt))
            return SEND_BLOCKED;
        return SEND_NOTHING;
    case TCP_OPEN:
        return open_turn(tcp, flow);
    case TCP_TIME_WAIT:
        return !flow->ack_due || send_ack(tcp, flow, flow->snd_nxt) ? SEND_NOTHING : SEND_BLOCKED;
    case TCP_FREE:
    case TCP_CONNECTING:
        break;
    }
    return SEND_NOTHING;
}

void tcp_output_run(struct nat_tcp *tcp)
{
    tcp_host_flush(tcp); /* nothing may be acknowledged that is not in the kernel or the pool */
    while (!tcp->blocked && tcp->lists[TCP_LIST_READY].first != 0) {
        struct tcp_flow *flow = tcp_flow_at(tcp, tcp->lists[TCP_LIST_READY].first);

        tcp_list_remove(tcp, TCP_LIST_READY, flow);
        flow->is_ready = false;
        const enum send_result result = turn(tcp, flow);
        if (result == SEND_BLOCKED)
            tcp->blocked = true;
        if (result == SEND_BLOCKED || result == SEND_DONE)
            tcp_flow_ready(tcp, flow);
    }
}

void nat_tcp_flush(struct nat *nat)
{
    tcp_output_run(nat->tcp);
}

void nat_tcp_writable(struct nat *nat)
{
    nat->tcp->blocked = false;
    tcp_output_run(nat->tcp);
}
