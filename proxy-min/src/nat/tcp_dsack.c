#include "tcp.h"

/*
 * Duplicates (RFC 2883). We report what came twice, so that a guest learns which of its
 * retransmissions were not needed; and what the guest reports tells us the same: if all that was
 * sent again in a recovery came twice, nothing had been lost, the path had only changed the order.
 * Then the windows return to what they were, and more is needed to believe in a loss next time.
 */

/* ---- reports to the guest ---- */

void tcp_dsack_note(struct tcp_flow *flow, uint32_t from, uint32_t to)
{
    if (flow->sack && seq_before(from, to)) {
        flow->duplicate = (struct tcp_range){from, to};
        flow->ack_due = true;
    }
}

uint32_t tcp_dsack_report(const struct tcp_flow *flow, struct tcp_range *ranges)
{
    if (flow->duplicate.from == flow->duplicate.to)
        return 0;
    ranges[0] = flow->duplicate;
    return 1;
}

/* ---- reports from the guest ---- */

/* §4: the first block, if it lies below the acknowledgment or inside the second block. */
static bool is_report(const struct tcp_segment *segment, struct tcp_range *range)
{
    const struct tcp_options *options = &segment->options;

    if (options->sack_count == 0)
        return false;
    *range = (struct tcp_range){options->sacks[0].from, options->sacks[0].to};
    if (!seq_before(range->from, range->to))
        return false;
    return !seq_after(range->to, segment->ack) ||
           (options->sack_count > 1 && !seq_before(range->from, options->sacks[1].from) &&
            !seq_after(range->to, options->sacks[1].to));
}

void tcp_dsack_begin(struct tcp_flow *flow)
{
    flow->undo_from = flow->snd_una;
    flow->undo_bytes = 0;
    flow->undo_cwnd = flow->cwnd;
    flow->undo_ssthresh = flow->ssthresh;
}

void tcp_dsack_sent_again(struct tcp_flow *flow, uint32_t bytes)
{
    flow->undo_bytes += bytes;
}

static void undo(struct tcp_flow *flow)
{
    flow->recovering = false;
    flow->dup_acks = 0;
    flow->cwnd = flow->cwnd > flow->undo_cwnd ? flow->cwnd : flow->undo_cwnd;
    flow->ssthresh = flow->undo_ssthresh;
    if (flow->dup_threshold <= TCP_DUP_ACKS_MAX / 2)
        flow->dup_threshold = (uint8_t)(2 * flow->dup_threshold);
}

bool tcp_dsack_input(struct tcp_flow *flow, const struct tcp_segment *segment)
{
    struct tcp_range range;

    if (!flow->sack || !is_report(segment, &range))
        return false;
    if (flow->undo_bytes == 0 || seq_before(range.from, flow->undo_from) ||
        seq_after(range.to, flow->snd_max))
        return true; /* the path itself doubles, or it is about a recovery long ago */
    const uint32_t bytes = range.to - range.from;

    flow->undo_bytes -= bytes < flow->undo_bytes ? bytes : flow->undo_bytes;
    if (flow->undo_bytes == 0)
        undo(flow);
    return true;
}

uint32_t tcp_dsack_threshold_bytes(const struct tcp_flow *flow)
{
    const uint32_t half_flight = (flow->snd_nxt - flow->snd_una) / (2 * (uint32_t)flow->mss);
    uint32_t segments = flow->dup_threshold < half_flight ? flow->dup_threshold : half_flight;

    if (segments < TCP_DUP_ACKS)
        segments = TCP_DUP_ACKS;
    return segments * flow->mss;
}
