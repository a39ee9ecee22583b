#include "tcp_send.h"

/* The guest's window is shut. Is there something it should be asked about? A FIN needs no window
 * worth the name. */
static enum tcp_send_result arm_probe(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->probe_armed)
        return TCP_SEND_NOTHING;
    if (!flow->host_eof && flow->readable)
        tcp_look_behind(tcp, flow, flow->consume_bytes + (flow->snd_nxt - flow->snd_una),
                        flow->snd_nxt);
    if (flow->host_eof ? flow->fin_seq != flow->snd_nxt : flow->readable) {
        flow->probe_armed = true;
        flow->retries = 0;
        tcp_timer_retransmit(tcp, flow);
    } else if (flow->host_eof && !flow->fin_sent) {
        struct tcp_burst burst = {.seq = flow->snd_nxt, .max_segments = 1};
        return tcp_send_burst(tcp, flow, &burst);
    }
    return TCP_SEND_NOTHING;
}

/* RFC 9293 §3.8.6.1: one byte beyond the closed window, the same one each time. */
static enum tcp_send_result send_probe(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t snd_nxt = flow->snd_nxt;
    struct tcp_burst burst = {
        .seq = flow->snd_una, .max_bytes = 1, .max_segments = 1, .is_again = true};
    const enum tcp_send_result result = tcp_send_burst(tcp, flow, &burst);

    if (result == TCP_SEND_DONE) {
        nat_count(&tcp->nat->metrics->tcp_zero_window_probes_total);
        flow->snd_nxt = snd_nxt; /* not really sent: see leave_probing() */
    }
    if (result == TCP_SEND_DONE || result == TCP_SEND_NOTHING)
        flow->probe_due = false;
    return result;
}

/* RFC 8985 §7.3: the last segment once more. */
static enum tcp_send_result send_tail(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t flying_bytes = flow->snd_nxt - flow->snd_una;
    const uint32_t bytes = flying_bytes < flow->mss ? flying_bytes : flow->mss;
    struct tcp_burst burst = {
        .seq = flow->snd_nxt - bytes, .max_bytes = bytes, .max_segments = 1, .is_again = true};

    if (bytes == 0) {
        flow->tail_due = false;
        return TCP_SEND_NOTHING;
    }
    const enum tcp_send_result result = tcp_send_burst(tcp, flow, &burst);
    if (result == TCP_SEND_DONE)
        nat_count(&tcp->nat->metrics->tcp_retransmits_total);
    if (result == TCP_SEND_DONE || result == TCP_SEND_NOTHING)
        flow->tail_due = false;
    return result;
}

static enum tcp_send_result send_lost(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t from,
                                      uint32_t bytes, uint32_t segments_left)
{
    const uint32_t pipe_bytes = tcp_ack_pipe(flow), edge = flow->snd_wl2 + flow->snd_wnd;
    uint32_t room_bytes = flow->cwnd > pipe_bytes ? flow->cwnd - pipe_bytes : 0;

    if (room_bytes < flow->mss) {
        if (from != flow->snd_una) /* the first is sent whatever the pipe (RFC 6675 §5) */
            return TCP_SEND_NOTHING;
        room_bytes = flow->mss;
    }
    if (from != flow->snd_una && !seq_before(from, edge))
        return TCP_SEND_NOTHING;
    struct tcp_burst burst = {.seq = from,
                              .max_bytes = bytes < room_bytes ? bytes : room_bytes,
                              .max_segments = segments_left,
                              .is_again = true};
    const enum tcp_send_result result = tcp_send_burst(tcp, flow, &burst);
    if (result == TCP_SEND_DONE) {
        flow->rtx_next = burst.end;
        tcp_dsack_sent_again(flow, burst.bytes);
        atomic_fetch_add_explicit(&tcp->nat->metrics->tcp_retransmits_total, burst.segments,
                                  memory_order_relaxed);
    }
    return result;
}

static enum tcp_send_result send_new(struct nat_tcp *tcp, struct tcp_flow *flow,
                                     uint32_t segments_left)
{
    const uint32_t edge = flow->snd_wl2 + flow->snd_wnd;
    const uint32_t window_bytes = seq_before(flow->snd_nxt, edge) ? edge - flow->snd_nxt : 0;
    const uint32_t pipe_bytes = tcp_ack_pipe(flow);
    const bool is_flying = flow->snd_nxt != flow->snd_una;
    uint32_t room_bytes = flow->cwnd > pipe_bytes ? flow->cwnd - pipe_bytes : 0;

    if (flow->fin_sent || !(flow->readable || flow->host_eof))
        return TCP_SEND_NOTHING;
    if (window_bytes == 0 && !is_flying)
        return arm_probe(tcp, flow);
    room_bytes = window_bytes < room_bytes ? window_bytes : room_bytes;
    if (room_bytes < flow->mss && is_flying && room_bytes < flow->snd_wnd_max / 2 &&
        !(flow->host_eof && flow->fin_seq - flow->snd_nxt <= room_bytes))
        return TCP_SEND_NOTHING; /* RFC 9293 §3.8.6.2.1: no silly windows; an ACK is coming */
    if (room_bytes > flow->mss)
        room_bytes -= room_bytes % flow->mss;
    if (room_bytes == 0 && !(flow->host_eof && flow->fin_seq == flow->snd_nxt))
        return TCP_SEND_NOTHING;
    struct tcp_burst burst = {
        .seq = flow->snd_nxt, .max_bytes = room_bytes, .max_segments = segments_left};
    return tcp_send_burst(tcp, flow, &burst);
}

/* A turn's worth of data. SEND_DONE: there may be more. */
static enum tcp_send_result send_data(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    for (uint32_t bursts = 0; bursts < TCP_QUANTUM_SEGMENTS; bursts++) {
        uint32_t from, bytes;
        const uint32_t nxt = flow->snd_nxt;
        const enum tcp_send_result result =
            tcp_ack_lost(flow, &from, &bytes)
                ? send_lost(tcp, flow, from, bytes, TCP_QUANTUM_SEGMENTS)
                : send_new(tcp, flow, TCP_QUANTUM_SEGMENTS);

        if (result != TCP_SEND_DONE)
            return result;
        if (flow->snd_nxt - nxt >= TCP_QUANTUM_SEGMENTS / 2 * (uint32_t)flow->mss)
            return TCP_SEND_DONE;
    }
    return TCP_SEND_DONE;
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

static enum tcp_send_result open_turn(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    enum tcp_send_result result = TCP_SEND_NOTHING;

    consume(tcp, flow);
    if (tcp_host_finish(tcp, flow))
        return TCP_SEND_ENDED;
    if (flow->probe_due)
        result = send_probe(tcp, flow);
    else if (flow->tail_due)
        result = send_tail(tcp, flow);
    else if (!flow->probe_armed)
        result = send_data(tcp, flow);
    if (result == TCP_SEND_BLOCKED || result == TCP_SEND_ENDED)
        return result;
    if (flow->keepalive_due) {
        if (!tcp_send_ack(tcp, flow, flow->snd_una - 1))
            return TCP_SEND_BLOCKED;
        flow->keepalive_due = false;
    }
    if (flow->ack_due && !tcp_send_ack(tcp, flow, flow->snd_nxt))
        return TCP_SEND_BLOCKED;
    return result;
}

static enum tcp_send_result turn(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    switch ((enum tcp_state)flow->state) {
    case TCP_SYN_RECEIVED:
        if (flow->syn_ack_due && !tcp_send_syn_ack(tcp, flow))
            return TCP_SEND_BLOCKED;
        if (flow->ack_due && !tcp_send_ack(tcp, flow, flow->snd_nxt))
            return TCP_SEND_BLOCKED;
        return TCP_SEND_NOTHING;
    case TCP_OPEN:
        return open_turn(tcp, flow);
    case TCP_TIME_WAIT:
        return !flow->ack_due || tcp_send_ack(tcp, flow, flow->snd_nxt) ? TCP_SEND_NOTHING
                                                                        : TCP_SEND_BLOCKED;
    case TCP_FREE:
    case TCP_CONNECTING:
        break;
    }
    return TCP_SEND_NOTHING;
}

void tcp_output_run(struct nat_tcp *tcp)
{
    tcp_host_flush(tcp); /* nothing may be acknowledged that is not in the kernel or the pool */
    while (!tcp->blocked && tcp->lists[TCP_LIST_READY].first != 0) {
        struct tcp_flow *flow = tcp_flow_at(tcp, tcp->lists[TCP_LIST_READY].first);

        tcp_list_remove(tcp, TCP_LIST_READY, flow);
        flow->is_ready = false;
        const enum tcp_send_result result = turn(tcp, flow);
        if (result == TCP_SEND_BLOCKED)
            tcp->blocked = true;
        if (result == TCP_SEND_BLOCKED || result == TCP_SEND_DONE)
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
