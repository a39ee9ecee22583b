#include "tcp.h"

/*
 * Loss is tracked with four numbers instead of a label per segment. In recovery, what the guest
 * has not SACKed in [rtx_next, rtx_lost_to) is lost and still to be sent again; what lies below
 * rtx_next was sent again in this pass. rtx_marker tells when a pass failed: SACKs for data first
 * sent after the pass began, while SND.UNA did not move since, mean that the retransmission was
 * lost too.
 */

/* ---- scoreboard (RFC 6675 §3) ---- */

static void ranges_count(struct tcp_flow *flow)
{
    flow->sacked_bytes = 0;
    for (uint32_t i = 0; i < flow->range_count; i++)
        flow->sacked_bytes += flow->ranges[i].to - flow->ranges[i].from;
}

static void range_add(struct tcp_flow *flow, struct tcp_range add)
{
    uint32_t at = 0, kept;

    while (at < flow->range_count && seq_before(flow->ranges[at].to, add.from))
        at++;
    for (kept = at; kept < flow->range_count && !seq_after(flow->ranges[kept].from, add.to);
         kept++) { /* touches or overlaps: becomes part of `add` */
        add.from = seq_min(add.from, flow->ranges[kept].from);
        add.to = seq_max(add.to, flow->ranges[kept].to);
    }
    if (kept == at && flow->range_count == TCP_RANGES) {
        if (at == TCP_RANGES)
            return; /* forget the highest: it will be sent again at worst */
        flow->range_count--;
    }
    const uint32_t tail = flow->range_count > kept ? flow->range_count - kept : 0;
    if (kept == at) {
        for (uint32_t i = tail; i > 0; i--)
            flow->ranges[at + i] = flow->ranges[at + i - 1];
    } else {
        for (uint32_t i = 0; i < tail; i++)
            flow->ranges[at + 1 + i] = flow->ranges[kept + i];
    }
    flow->ranges[at] = add;
    flow->range_count = at + 1 + tail;
}

static void ranges_cut(struct tcp_flow *flow)
{
    uint32_t gone = 0;

    while (gone < flow->range_count && !seq_after(flow->ranges[gone].to, flow->snd_una))
        gone++;
    for (uint32_t i = gone; i < flow->range_count; i++)
        flow->ranges[i - gone] = flow->ranges[i];
    flow->range_count -= gone;
    if (flow->range_count > 0)
        flow->ranges[0].from = seq_max(flow->ranges[0].from, flow->snd_una);
}

/* Takes the SACK option over. Blocks outside of what is in flight are nonsense, or report a
 * duplicate (tcp_dsack.c): ignored. */
static void ranges_input(struct tcp_flow *flow, const struct tcp_options *options)
{
    if (!flow->sack)
        return;
    const uint32_t flying_bytes = flow->snd_max - flow->snd_una;

    for (uint32_t i = 0; i < options->sack_count; i++) { /* a block may claim any length: no sign */
        const struct tcp_range range = {options->sacks[i].from, options->sacks[i].to};
        const uint32_t from = range.from - flow->snd_una, to = range.to - flow->snd_una;

        if (from > 0 && from < to && to <= flying_bytes)
            range_add(flow, range);
    }
    ranges_count(flow);
}

/* Bytes in [from, to) that the guest has not SACKed. */
static uint32_t unsacked_bytes(const struct tcp_flow *flow, uint32_t from, uint32_t to)
{
    if (!seq_before(from, to))
        return 0;
    uint32_t bytes = to - from;

    for (uint32_t i = 0; i < flow->range_count; i++) {
        const uint32_t a = seq_max(flow->ranges[i].from, from);
        const uint32_t b = seq_min(flow->ranges[i].to, to);

        bytes -= seq_before(a, b) ? b - a : 0;
    }
    return bytes;
}

/* RFC 6675 §4, IsLost(): below the point above which more than (DupThresh - 1) segments were
 * SACKed. SND.UNA if there is none. */
static uint32_t lost_below(const struct tcp_flow *flow)
{
    uint32_t above_bytes = 0;

    for (uint32_t i = flow->range_count; i-- > 0;) {
        above_bytes += flow->ranges[i].to - flow->ranges[i].from;
        if (above_bytes > tcp_dsack_threshold_bytes(flow) - flow->mss)
            return flow->ranges[i].from;
    }
    return flow->snd_una;
}

bool tcp_ack_lost(const struct tcp_flow *flow, uint32_t *from, uint32_t *bytes)
{
    uint32_t at = seq_max(flow->rtx_next, flow->snd_una), to = flow->rtx_lost_to;

    if (!flow->recovering)
        return false;
    for (uint32_t i = 0; i < flow->range_count; i++) {
        const struct tcp_range *range = &flow->ranges[i];

        if (!seq_before(at, range->from) && seq_before(at, range->to)) {
            at = range->to;
        } else if (seq_before(at, range->from)) {
            to = seq_min(to, range->from);
            break;
        }
    }
    if (!seq_before(at, to))
        return false;
    *from = at;
    *bytes = to - at;
    return true;
}

uint32_t tcp_ack_pipe(const struct tcp_flow *flow)
{
    uint32_t pipe_bytes = unsacked_bytes(flow, flow->snd_una, flow->snd_nxt);

    if (flow->recovering)
        pipe_bytes -= unsacked_bytes(flow, seq_max(flow->rtx_next, flow->snd_una),
                                     seq_min(flow->rtx_lost_to, flow->snd_nxt));
    if (!flow->sack) { /* RFC 6582: each duplicate is a segment that left the path */
        const uint64_t left_bytes = (uint64_t)flow->dup_acks * flow->mss;
        pipe_bytes -= left_bytes < pipe_bytes ? (uint32_t)left_bytes : pipe_bytes;
    }
    return pipe_bytes;
}

/* ---- congestion window ---- */

/* What the guest takes per second: the best round trip of the last eight to sixteen. */
static void rate_count(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t delivered_bytes)
{
    const uint64_t now_us = tcp->nat->now_us, elapsed_us = now_us - flow->rate_at_us;

    flow->rate_bytes += delivered_bytes;
    if (elapsed_us < flow->srtt_us || elapsed_us == 0)
        return;
    const uint64_t rate_per_s = (uint64_t)flow->rate_bytes * 1000000 / elapsed_us;
    if (++flow->rate_rounds == TCP_RATE_ROUNDS) {
        flow->rate_rounds = 0;
        flow->rate_best_per_s[1] = flow->rate_best_per_s[0];
        flow->rate_best_per_s[0] = 0;
    }
    if (rate_per_s > flow->rate_best_per_s[0])
        flow->rate_best_per_s[0] = rate_per_s;
    flow->rate_bytes = 0;
    flow->rate_at_us = now_us;
}

static uint32_t low_bytes(const struct tcp_flow *flow)
{
    const uint32_t mss = flow->mss, low = TCP_SEND_LOW_SEGMENTS * mss;

    if (low <= TCP_SEND_INITIAL_BYTES)
        return low;
    return TCP_SEND_LOW_JUMBO * mss > TCP_SEND_INITIAL_BYTES ? TCP_SEND_LOW_JUMBO * mss
                                                             : TCP_SEND_INITIAL_BYTES;
}

/* After a loss: what the path was seen to carry, and a quarter more to find out whether it carries
 * more. */
static void window_fit(struct tcp_flow *flow)
{
    const uint64_t best_per_s = flow->rate_best_per_s[0] > flow->rate_best_per_s[1]
                                    ? flow->rate_best_per_s[0]
                                    : flow->rate_best_per_s[1];
    const uint64_t carried_bytes = best_per_s * flow->rtt_min_us / 1000000;
    const uint64_t fit_bytes = carried_bytes + carried_bytes / 4;

    flow->ssthresh = fit_bytes < 2 * (uint64_t)flow->cwnd ? (uint32_t)fit_bytes : 2 * flow->cwnd;
    if (flow->ssthresh < low_bytes(flow))
        flow->ssthresh = low_bytes(flow);
}

static void window_grow(struct tcp_flow *flow, uint32_t acked_bytes, uint32_t flight_bytes)
{
    const uint32_t most_bytes =
        flow->snd_wnd_max > TCP_SEND_INITIAL_BYTES ? flow->snd_wnd_max : TCP_SEND_INITIAL_BYTES;

    if (flight_bytes < flow->cwnd / 2 || flow->cwnd >= most_bytes)
        return; /* RFC 7661: not what limits us */
    if (flow->cwnd < flow->ssthresh)
        flow->cwnd += acked_bytes;
    else if (!flow->recovering)
        flow->cwnd += acked_bytes / 8; /* an eighth per round trip */
    if (flow->cwnd > most_bytes)
        flow->cwnd = most_bytes;
}

/* ---- recovery ---- */

static void recovery_begin(struct tcp_flow *flow)
{
    if (!flow->recovering)
        tcp_dsack_begin(flow);
    flow->recovering = true;
    flow->recover = flow->snd_max;
    flow->rtx_next = flow->snd_una;
    flow->rtx_marker = flow->snd_max;
    flow->rtx_lost_to = seq_min(flow->snd_una + flow->mss, flow->snd_max);
    flow->rtt_timing = false; /* Karn: RFC 6298 §3 */
    window_fit(flow);
    flow->cwnd = flow->ssthresh;
}

static void recovery_end(struct tcp_flow *flow)
{
    flow->recovering = false;
    flow->dup_acks = 0;
    if (flow->cwnd > flow->ssthresh)
        flow->cwnd = flow->ssthresh;
}

/* More than (DupThresh - 1) segments arrived that were sent after this pass began. */
static bool is_pass_over(const struct tcp_flow *flow)
{
    const uint32_t later_bytes = flow->snd_max - flow->rtx_marker;
    const uint32_t sacked_bytes =
        later_bytes - unsacked_bytes(flow, flow->rtx_marker, flow->snd_max);

    return sacked_bytes > tcp_dsack_threshold_bytes(flow) - flow->mss;
}

static void recovery_update(struct tcp_flow *flow)
{
    uint32_t to;

    /* A FIN without data is not fast-retransmitted: duplicates would come from elsewhere. */
    if (flow->snd_una == flow->snd_nxt || (flow->fin_sent && flow->snd_una == flow->fin_seq))
        return;
    to = lost_below(flow);
    if (flow->tail_sent && flow->range_count > 0 &&
        flow->ranges[flow->range_count - 1].to == flow->snd_max) /* the tail probe arrived */
        to = flow->ranges[flow->range_count - 1].from;
    if (!flow->recovering &&
        (flow->dup_acks * (uint64_t)flow->mss >= tcp_dsack_threshold_bytes(flow) ||
         to != flow->snd_una))
        recovery_begin(flow);
    if (!flow->recovering)
        return;
    flow->rtx_lost_to = seq_max(flow->rtx_lost_to, to);
    if (seq_after(flow->rtx_next, flow->snd_una) && is_pass_over(flow)) {
        flow->rtx_next = flow->snd_una; /* this pass lost something, too: the next */
        flow->rtx_marker = flow->snd_max;
    }
}

void tcp_ack_timeout(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->snd_wnd == 0) { /* the guest closed its window under what was sent */
        flow->probe_armed = flow->probe_due = true;
        return;
    }
    if (flow->retries > 1) { /* RFC 2018 §8: the guest may have discarded what it SACKed */
        flow->range_count = 0;
        flow->sacked_bytes = 0;
    }
    recovery_begin(flow);
    flow->rtx_lost_to = flow->snd_max;
    flow->cwnd = TCP_SEND_RTO_SEGMENTS * (uint32_t)flow->mss;
    flow->dup_acks = 0;
    nat_count(&tcp->nat->metrics->tcp_retransmits_total);
}

/* ---- the acknowledgment itself ---- */

static void take_rtt(struct nat_tcp *tcp, struct tcp_flow *flow, const struct tcp_segment *segment)
{
    if (flow->rtt_timing && !seq_before(segment->ack, flow->rtt_seq)) {
        flow->rtt_timing = false;
        tcp_rtt_sample(flow, tcp->nat->now_us - flow->rtt_at_us);
    } else if (flow->recovering && flow->timestamps && segment->options.has_timestamp) {
        /* The echo says which transmission was answered (RFC 7323 §4). */
        const uint32_t ms = tcp_output_clock_ms(tcp) - segment->options.timestamp_echo;
        if (ms < TCP_RTO_MAX_US / 1000)
            tcp_rtt_sample(flow, (uint64_t)ms * 1000);
    }
}

static void advance(struct nat_tcp *tcp, struct tcp_flow *flow, const struct tcp_segment *segment)
{
    const uint32_t acked_bytes = segment->ack - flow->snd_una;
    const uint32_t flight_bytes = flow->snd_nxt - flow->snd_una;
    uint32_t data_bytes = acked_bytes;

    if (flow->host_eof && segment->ack == flow->fin_seq + 1) {
        flow->fin_sent = flow->fin_acked = true;
        data_bytes--;
    }
    flow->consume_bytes += data_bytes;
    take_rtt(tcp, flow, segment);
    flow->snd_una = segment->ack;
    flow->snd_nxt = seq_max(flow->snd_nxt, flow->snd_una);
    ranges_cut(flow);
    ranges_count(flow);
    flow->retries = 0;
    flow->tail_due = flow->tail_sent = false;
    window_grow(flow, acked_bytes, flight_bytes);
    if (!flow->recovering) {
        flow->dup_acks = 0;
    } else if (!seq_before(flow->snd_una, flow->recover)) {
        recovery_end(flow);
    } else { /* RFC 6582 §3.2: a partial acknowledgment points at the next hole */
        const uint32_t acked_segments = acked_bytes / flow->mss;

        flow->dup_acks -= acked_segments < flow->dup_acks ? acked_segments : flow->dup_acks;
        flow->rtx_marker = flow->snd_max;
        if (!flow->sack && !seq_after(flow->rtx_lost_to, flow->snd_una)) {
            flow->rtx_next = flow->snd_una;
            flow->rtx_lost_to = seq_min(flow->snd_una + flow->mss, flow->snd_max);
        }
    }
    tcp_timer_retransmit(tcp, flow);
}

/* RFC 9293 §3.10.7.4: the window of the newest segment counts. A higher acknowledgment was sent
 * later, even if its segment repeats old data. */
static bool update_window(struct tcp_flow *flow, const struct tcp_segment *segment)
{
    const uint32_t window_bytes = (uint32_t)segment->window << flow->snd_scale;

    if (!seq_after(segment->ack, flow->snd_wl2) &&
        (segment->ack != flow->snd_wl2 || seq_before(segment->seq, flow->snd_wl1)))
        return false;
    const bool is_changed = window_bytes != flow->snd_wnd;

    flow->snd_wnd = window_bytes;
    flow->snd_wnd_max = window_bytes > flow->snd_wnd_max ? window_bytes : flow->snd_wnd_max;
    flow->snd_wl1 = segment->seq;
    flow->snd_wl2 = segment->ack;
    return is_changed;
}

/* The window opened (or is still closed, but the guest answers). */
static void leave_probing(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    flow->probes_lost = 0;
    if (flow->snd_wnd == 0)
        return;
    flow->probe_armed = flow->probe_due = false;
    flow->retries = 0;
    /* What lay beyond the closed window, the probed byte at least, was not kept: from there on
     * everything is sent again, as if it had never been. */
    if (flow->range_count == 0)
        flow->snd_nxt = flow->snd_una;
    flow->recovering = flow->rtt_timing = false;
    flow->readable = true;
    flow->fin_sent = flow->fin_sent && seq_after(flow->snd_nxt, flow->fin_seq);
    tcp_timer_retransmit(tcp, flow);
}

bool tcp_ack_input(struct nat_tcp *tcp, struct tcp_flow *flow, const struct tcp_segment *segment)
{
    if (seq_after(segment->ack, flow->snd_max) ||
        seq_before(segment->ack, flow->snd_una - flow->snd_wnd_max))
        return false; /* RFC 5961 §5.2 */
    if (seq_before(segment->ack, flow->snd_una))
        return true; /* an old one: its data may be new */

    const bool is_window_new = update_window(flow, segment);
    const bool is_duplicate_report = tcp_dsack_input(flow, segment);
    const uint32_t delivered_before = flow->snd_una + flow->sacked_bytes;

    ranges_input(flow, &segment->options);
    if (seq_after(segment->ack, flow->snd_una)) {
        advance(tcp, flow, segment);
    } else if (flow->snd_una != flow->snd_nxt && segment->payload_bytes == 0 && !is_window_new &&
               !is_duplicate_report &&
               (segment->flags & (TCP_SYN | TCP_FIN)) == 0) { /* RFC 5681 §2 */
        flow->dup_acks += flow->dup_acks < UINT16_MAX;
    }
    rate_count(tcp, flow, flow->snd_una + flow->sacked_bytes - delivered_before);
    if (flow->probe_armed)
        leave_probing(tcp, flow);
    recovery_update(flow);
    tcp_flow_ready(tcp, flow);
    return true;
}
