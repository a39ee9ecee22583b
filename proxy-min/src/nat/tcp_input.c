#include "tcp.h"

enum {
    CHALLENGE_ROUND_US = 1000000,
    PAWS_IDLE_US_HIGH = 24, /* days after which a timestamp proves nothing (RFC 7323 §5.5) */
};
static const uint64_t paws_idle_us = (uint64_t)PAWS_IDLE_US_HIGH * 86400 * 1000000;

static bool segment_parse(struct tcp_segment *segment, const struct ip_packet *packet)
{
    const uint8_t *header = packet->payload;
    const uint32_t header_bytes = 4u * (header[TCP_DATA_OFFSET_AT] >> 4);

    if (header_bytes < TCP_HEADER_BYTES || header_bytes > packet->payload_bytes)
        return false;
    *segment = (struct tcp_segment){
        .key = &packet->key,
        .header = header,
        .seq = be32_get(header + TCP_SEQUENCE_AT),
        .ack = be32_get(header + TCP_ACKNOWLEDGMENT_AT),
        .window = be16_get(header + TCP_WINDOW_AT),
        .flags = header[TCP_FLAGS_AT],
        .payload = header + header_bytes,
        .payload_bytes = packet->payload_bytes - header_bytes,
    };
    tcp_options_parse(&segment->options, header + TCP_HEADER_BYTES,
                      header_bytes - TCP_HEADER_BYTES);
    return true;
}

/* ---- a segment for no flow (RFC 9293 §3.10.7.1, .2) ---- */

static void take_syn(struct nat_tcp *tcp, struct tcp_flow *flow, const struct tcp_segment *segment)
{
    const struct tcp_options *options = &segment->options;
    const uint16_t ours = tcp_output_mss(tcp, flow->key.remote.family);
    uint32_t mss = options->has_mss ? options->mss : TCP_MSS_DEFAULT;

    mss = mss < TCP_MSS_MIN ? TCP_MSS_MIN : mss;
    mss = mss > ours ? ours : mss;
    flow->scaled = options->has_scale;
    flow->snd_scale = options->has_scale ? options->scale : 0;
    flow->sack = options->sack_permitted;
    flow->timestamps = options->has_timestamp;
    if (flow->timestamps) {
        mss -= TCP_OPTION_TIMESTAMP_BYTES; /* RFC 6691: the MSS counts no options */
        flow->ts_recent = options->timestamp;
        flow->ts_recent_at_us = tcp->nat->now_us;
    }
    flow->mss = (uint16_t)mss;
    flow->rcv_scale = 0;
    while (flow->scaled && flow->rcv_scale < TCP_OPTION_SCALE_MAX &&
           tcp->nat->config->tcp_window_max_bytes >> flow->rcv_scale > UINT16_MAX)
        flow->rcv_scale++;
    flow->rcv_space = TCP_WINDOW_INITIAL;
    flow->rcv_nxt = flow->rcv_acked = flow->host_nxt = segment->seq + 1;
    flow->rcv_edge = flow->rcv_nxt;
    flow->snd_wnd = flow->snd_wnd_max = segment->window; /* never scaled in a SYN */
    flow->snd_wl1 = segment->seq;
    flow->heard_at_us = tcp->nat->now_us;
}

/* §6.2: data before the host is connected, in the SYN itself or impatient, is kept up to a limit.
 * Nothing is acknowledged yet. Returns false when it was too much and the flow ended. */
static bool take_early(struct nat_tcp *tcp, struct tcp_flow *flow,
                       const struct tcp_segment *segment)
{
    const uint32_t data_at = segment->seq + ((segment->flags & TCP_SYN) != 0);
    const uint32_t limit_bytes = tcp->nat->config->tcp_early_bytes;
    const uint32_t skip_bytes = data_at - flow->rcv_nxt;

    if (segment->payload_bytes == 0)
        return true;
    if (skip_bytes > UINT32_MAX / 2)
        return true; /* before the SYN: not of this connection */
    if (skip_bytes > limit_bytes || segment->payload_bytes > limit_bytes - skip_bytes) {
        tcp_host_abort(tcp, flow);
        return false;
    }
    tcp_reassembly_insert(tcp, flow, data_at, segment->payload, segment->payload_bytes);
    return true;
}

static void listen_input(struct nat_tcp *tcp, const struct tcp_segment *segment)
{
    struct nat *nat = tcp->nat;
    struct nat_endpoint actual;
    struct tcp_flow *flow;

    if ((segment->flags & TCP_RST) != 0)
        return;
    /* SYN+ACK from the guest opens nothing; SYN+FIN is nobody's honest opening. */
    if ((segment->flags & (TCP_SYN | TCP_ACK | TCP_FIN)) != TCP_SYN) {
        tcp_output_refuse(tcp, segment);
        return;
    }
    if (!nat_egress(nat, POLICY_TCP, &segment->key->remote, &actual)) {
        tcp_output_refuse(tcp, segment);
        return;
    }
    flow = tcp_flow_new(tcp, segment->key);
    if (flow == NULL) {
        nat_count(&nat->metrics->tcp_flow_limit_exceeded_total);
        tcp_output_refuse(tcp, segment);
        return;
    }
    take_syn(tcp, flow, segment);
    if (!take_early(tcp, flow, segment))
        return;
    const int socket =
        nat->host.tcp_connect(nat->host.context, tcp_flow_cookie(tcp, flow), &actual);
    if (socket < 0) {
        tcp_host_unreached(tcp, flow, -socket);
        return;
    }
    flow->socket = socket;
    if (flow->state == TCP_CONNECTING)
        tcp_timer_set(tcp, flow, TCP_TIMER_SEND,
                      nat->now_us + (uint64_t)nat->config->tcp_connect_timeout_ms * 1000);
}

/* ---- while connect() runs ---- */

static void connecting_input(struct nat_tcp *tcp, struct tcp_flow *flow,
                             const struct tcp_segment *segment)
{
    const uint32_t irs = flow->rcv_nxt - 1;

    if ((segment->flags & TCP_RST) != 0) {
        if (segment->seq == irs || segment->seq == irs + 1)
            tcp_flow_free(tcp, flow, true);
        return;
    }
    if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && segment->seq != irs) {
        /* The guest gave up and tries anew from the same port; the connect() will serve. */
        tcp_reassembly_clear(tcp, flow);
        take_syn(tcp, flow, segment);
    }
    (void)take_early(tcp, flow, segment);
}

/* ---- synchronized states (RFC 9293 §3.10.7.4) ---- */

static void challenge(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint64_t now_us = tcp->nat->now_us;

    if (now_us - tcp->challenge_at_us >= CHALLENGE_ROUND_US) {
        tcp->challenge_at_us = now_us;
        tcp->challenges = 0;
    }
    if (tcp->challenges >= TCP_CHALLENGES_PER_S)
        return;
    tcp->challenges++;
    flow->ack_due = true;
    tcp_flow_ready(tcp, flow);
}

/* An acknowledgment for a segment out of the window: the peer must learn where we are, but two
 * peers must not be able to answer each other for ever. */
static void answer_unacceptable(struct nat_tcp *tcp, struct tcp_flow *flow,
                                const struct tcp_segment *segment)
{
    const uint64_t now_us = tcp->nat->now_us;

    if (segment->payload_bytes == 0 && (segment->flags & (TCP_SYN | TCP_FIN)) == 0 &&
        now_us - flow->answered_at_us < TCP_ANSWER_INTERVAL_US)
        return;
    flow->answered_at_us = now_us;
    if (seq_before(segment->seq, flow->rcv_nxt))
        tcp_dsack_note(flow, segment->seq,
                       seq_min(segment->seq + segment->payload_bytes, flow->rcv_nxt));
    flow->ack_due = true;
    tcp_flow_ready(tcp, flow);
}

/* RFC 7323 §5.3, R1: true for an old duplicate. */
static bool paws_refuses(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                         const struct tcp_segment *segment)
{
    return flow->timestamps && segment->options.has_timestamp &&
           seq_before(segment->options.timestamp, flow->ts_recent) &&
           tcp->nat->now_us - flow->ts_recent_at_us < paws_idle_us &&
           (segment->flags & TCP_RST) == 0;
}

/* First check: any part of it in the window? Trims it to the window then. A pure acknowledgment
 * may stand at the right edge: where a guest stands that filled the window while a segment was
 * lost. */
static bool trim(struct tcp_flow *flow, struct tcp_segment *segment)
{
    const uint32_t window_bytes = flow->rcv_edge - flow->rcv_nxt;
    const uint32_t fin = (segment->flags & TCP_FIN) != 0;

    if (segment->payload_bytes + fin == 0)
        return segment->seq - flow->rcv_nxt <= window_bytes;
    if (seq_before(segment->seq, flow->rcv_nxt)) {
        const uint32_t old_bytes = flow->rcv_nxt - segment->seq;

        if (old_bytes >= segment->payload_bytes + fin)
            return false;
        tcp_dsack_note(flow, segment->seq, flow->rcv_nxt);
        segment->seq += old_bytes;
        segment->payload += old_bytes;
        segment->payload_bytes -= old_bytes; /* old_bytes > payload only with FIN: excluded above */
    }
    const uint32_t offset_bytes = segment->seq - flow->rcv_nxt;
    if (offset_bytes > window_bytes || (offset_bytes == window_bytes && segment->payload_bytes > 0))
        return false;
    if (segment->payload_bytes > window_bytes - offset_bytes) {
        segment->payload_bytes = window_bytes - offset_bytes;
        segment->payload_trimmed = 1;
    }
    return true;
}

/* RFC 5961 §3.2. Returns true if the segment is dealt with. */
static bool input_reset(struct nat_tcp *tcp, struct tcp_flow *flow,
                        const struct tcp_segment *segment)
{
    if ((segment->flags & TCP_RST) == 0)
        return false;
    if (segment->seq == flow->rcv_nxt)
        tcp_flow_free(tcp, flow, true);
    else if (segment->seq - flow->rcv_nxt < flow->rcv_edge - flow->rcv_nxt)
        challenge(tcp, flow);
    return true;
}

static void note_timestamp(const struct nat_tcp *tcp, struct tcp_flow *flow,
                           const struct tcp_segment *segment, uint32_t seq)
{
    /* RFC 7323 §4.3: from the segment that touches the last acknowledgment sent. */
    if (flow->timestamps && segment->options.has_timestamp && !seq_after(seq, flow->rcv_acked)) {
        flow->ts_recent = segment->options.timestamp;
        flow->ts_recent_at_us = tcp->nat->now_us;
    }
}

/* SYN-ACK is out: only its acknowledgment opens the flow. Returns false: stop here. */
static bool input_syn_received(struct nat_tcp *tcp, struct tcp_flow *flow,
                               const struct tcp_segment *segment)
{
    const bool was_answered = flow->rcv_edge != flow->rcv_nxt; /* a repetition may still be due */

    if (!was_answered || segment->ack != flow->iss + 1) {
        tcp_output_refuse(tcp, segment);
        return false;
    }
    flow->state = TCP_OPEN;
    flow->syn_ack_due = false;
    flow->snd_una = segment->ack;
    flow->snd_wl1 = segment->seq;
    flow->snd_wl2 = segment->ack;
    flow->snd_wnd = flow->snd_wnd_max = (uint32_t)segment->window << flow->snd_scale;
    flow->retries = 0;
    flow->readable = true; /* the remote may have spoken first */
    if (flow->rtt_timing)
        tcp_rtt_sample(flow, tcp->nat->now_us - flow->rtt_at_us);
    flow->rtt_timing = false;
    flow->cwnd = TCP_SEND_INITIAL_SEGMENTS * (uint32_t)flow->mss;
    if (flow->cwnd < TCP_SEND_INITIAL_BYTES)
        flow->cwnd = TCP_SEND_INITIAL_BYTES;
    flow->ssthresh = UINT32_MAX;
    flow->dup_threshold = TCP_DUP_ACKS;
    flow->rate_at_us = tcp->nat->now_us;
    tcp_timer_set(tcp, flow, TCP_TIMER_SEND, 0);
    tcp_timer_idle(tcp, flow);
    if (flow->block_first != 0)
        tcp_host_take(tcp, flow, flow->rcv_nxt, NULL, 0); /* early data is in order now */
    tcp_flow_ready(tcp, flow);
    return true;
}

static void input_payload(struct nat_tcp *tcp, struct tcp_flow *flow, struct tcp_segment *segment)
{
    const uint32_t end = segment->seq + segment->payload_bytes;

    if (flow->guest_fin_done)
        return; /* nothing follows a FIN */
    if ((segment->flags & TCP_FIN) != 0 && !segment->payload_trimmed && !flow->guest_fin_seen) {
        flow->guest_fin_seen = true;
        flow->guest_fin_seq = end;
    }
    if (flow->guest_fin_seen && seq_after(end, flow->guest_fin_seq)) {
        if (!seq_before(segment->seq, flow->guest_fin_seq))
            return;
        segment->payload_bytes = flow->guest_fin_seq - segment->seq;
    }
    tcp_host_take(tcp, flow, segment->seq, segment->payload, segment->payload_bytes);
}

static void synchronized_input(struct nat_tcp *tcp, struct tcp_flow *flow,
                               struct tcp_segment *segment)
{
    const uint32_t seq = segment->seq; /* before trimming */

    if (paws_refuses(tcp, flow, segment)) {
        answer_unacceptable(tcp, flow, segment);
        return;
    }
    if (input_reset(tcp, flow, segment))
        return;
    if ((segment->flags & TCP_SYN) != 0) {
        if (flow->state == TCP_SYN_RECEIVED && segment->seq + 1 == flow->rcv_nxt &&
            (segment->flags & TCP_ACK) == 0) { /* repeated: so is our answer */
            flow->syn_ack_due = true;
            tcp_flow_ready(tcp, flow);
            return;
        }
        challenge(tcp, flow); /* RFC 5961 §4.2, whatever the sequence number */
        return;
    }
    const bool is_acceptable = trim(flow, segment);
    if (!is_acceptable && !(segment->seq == flow->rcv_nxt && segment->payload_bytes > 0)) {
        answer_unacceptable(tcp, flow, segment);
        return;
    }
    if (!is_acceptable) { /* a probe of our closed window: without its data it is acceptable */
        segment->payload_bytes = 0;
        segment->payload_trimmed = 1;
        flow->ack_due = true;
        tcp_flow_ready(tcp, flow);
    }
    if ((segment->flags & TCP_ACK) == 0)
        return;
    if (flow->state == TCP_SYN_RECEIVED && !input_syn_received(tcp, flow, segment))
        return;
    flow->heard_at_us = tcp->nat->now_us;
    note_timestamp(tcp, flow, segment, seq);
    if (flow->timestamps && segment->options.has_timestamp && segment->payload_bytes > 0)
        tcp_host_rtt(tcp, flow, segment->options.timestamp_echo);
    if (!tcp_ack_input(tcp, flow, segment)) {
        challenge(tcp, flow);
        return;
    }
    /* URG: the pointer is ignored, its byte is data like any other (RFC 6093 §4). */
    if (segment->payload_bytes > 0 || (segment->flags & TCP_FIN) != 0)
        input_payload(tcp, flow, segment);
}

/* ---- both halves closed ---- */

/* Returns true when the flow went and the segment opens a new one (RFC 9293 §3.6.1). */
static bool time_wait_input(struct nat_tcp *tcp, struct tcp_flow *flow,
                            const struct tcp_segment *segment)
{
    if ((segment->flags & TCP_RST) != 0) {
        if (segment->seq == flow->rcv_nxt)
            tcp_flow_free(tcp, flow, false);
        return false;
    }
    if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
        (seq_after(segment->seq, flow->rcv_nxt) ||
         (flow->timestamps && segment->options.has_timestamp &&
          seq_after(segment->options.timestamp, flow->ts_recent)))) {
        tcp_flow_free(tcp, flow, false);
        return true;
    }
    if (segment->payload_bytes > 0 || (segment->flags & (TCP_FIN | TCP_SYN)) != 0) {
        flow->ack_due = true;
        tcp_flow_ready(tcp, flow);
        if ((segment->flags & TCP_FIN) != 0)
            tcp_timer_set(tcp, flow, TCP_TIMER_SEND, tcp->nat->now_us + TCP_TIME_WAIT_US);
    }
    return false;
}

void nat_tcp_input(struct nat *nat, const struct ip_packet *packet)
{
    struct nat_tcp *tcp = nat->tcp;
    struct tcp_segment segment;

    if (!segment_parse(&segment, packet))
        return;
    struct tcp_flow *flow = tcp_flow_find(tcp, segment.key);
    if (flow != NULL && flow->state == TCP_TIME_WAIT) {
        if (!time_wait_input(tcp, flow, &segment))
            return;
        flow = NULL;
    }
    if (flow == NULL)
        listen_input(tcp, &segment);
    else if (flow->state == TCP_CONNECTING)
        connecting_input(tcp, flow, &segment);
    else
        synchronized_input(tcp, flow, &segment);
}
