#include "tcp.h"

#include <errno.h>

/* ---- what the guest sends ---- */

static void batch_add(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->in_batch)
        return;
    flow->in_batch = true;
    tcp->batch->flows[tcp->batch_count++] = tcp_flow_id(tcp, flow);
}

static void gather(struct nat_tcp *tcp, struct tcp_flow *flow, const uint8_t *data, uint32_t bytes)
{
    const uint32_t id = ++tcp->piece_count;

    tcp->batch->pieces[id] = (struct tcp_piece){.data = data, .bytes = bytes};
    if (flow->gathered_last != 0)
        tcp->batch->pieces[flow->gathered_last].next = id;
    else
        flow->gathered_first = id;
    flow->gathered_last = id;
    flow->gathered_bytes += bytes;
    flow->rcv_nxt += bytes;
}

void tcp_host_take(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence,
                   const uint8_t *data, uint32_t bytes)
{
    /* A place in both lists, before anything is decided: what the flush finds may end the flow, or
     * leave some of it in the pool. */
    if (tcp->piece_count == TCP_PIECES || tcp->batch_count == TCP_PIECES)
        tcp_host_flush(tcp);
    if (flow->state == TCP_FREE)
        return;
    const bool had_hole = flow->block_first != 0;

    if (sequence != flow->rcv_nxt) { /* RFC 5681 §4.2: tell at once */
        flow->ack_due = true;
        flow->sack_recent = sequence;
        nat_count(&tcp->nat->metrics->tcp_out_of_order_total);
        tcp_dsack_note(flow, sequence,
                       seq_min(tcp_reassembly_end(tcp, flow, sequence), sequence + bytes));
        tcp_reassembly_insert(tcp, flow, sequence, data, bytes);
    } else if (bytes > 0 && flow->rcv_nxt == flow->host_nxt + flow->gathered_bytes &&
               !flow->host_full) {
        gather(tcp, flow, data, bytes);
    } else if (bytes > 0) { /* behind what already waits in the pool */
        flow->rcv_nxt += tcp_reassembly_insert(tcp, flow, sequence, data, bytes);
    }
    if (had_hole) {
        flow->rcv_nxt = tcp_reassembly_end(tcp, flow, flow->rcv_nxt);
        flow->ack_due = true;
    }
    batch_add(tcp, flow);
    tcp_flow_ready(tcp, flow);
}

/* What is next for the host: pieces in frames, then the pool. Returns bytes. */
static size_t collect(const struct nat_tcp *tcp, const struct tcp_flow *flow, struct iovec *to,
                      int *to_count)
{
    const uint32_t end = flow->rcv_nxt - flow->guest_fin_done;
    size_t total_bytes = 0;
    uint32_t piece = flow->gathered_first;
    int count = 0;

    for (; piece != 0 && count < TCP_GATHER; piece = tcp->batch->pieces[piece].next)
        to[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)tcp->batch->pieces[piece].data,
                                     .iov_len = tcp->batch->pieces[piece].bytes};
    if (piece == 0)
        count += tcp_reassembly_peek(tcp, flow, flow->host_nxt + flow->gathered_bytes, end,
                                     to + count, TCP_GATHER - count);
    for (int i = 0; i < count; i++)
        total_bytes += to[i].iov_len;
    *to_count = count;
    return total_bytes;
}

static void taken(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t bytes)
{
    flow->host_nxt += bytes;
    while (bytes > 0 && flow->gathered_first != 0) {
        struct tcp_piece *piece = &tcp->batch->pieces[flow->gathered_first];
        const uint32_t part_bytes = bytes < piece->bytes ? bytes : piece->bytes;

        piece->data += part_bytes;
        piece->bytes -= part_bytes;
        flow->gathered_bytes -= part_bytes;
        bytes -= part_bytes;
        if (piece->bytes == 0)
            flow->gathered_first = piece->next;
    }
    if (flow->gathered_first == 0)
        flow->gathered_last = 0;
    tcp_reassembly_drop(tcp, flow, flow->host_nxt);
}

/* The frames vanish soon: what the kernel did not take goes to the pool. What does not fit there
 * was never acknowledged and is not in order any more. */
static void spill(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    uint32_t sequence = flow->host_nxt;

    for (uint32_t id = flow->gathered_first; id != 0; id = tcp->batch->pieces[id].next) {
        const struct tcp_piece *piece = &tcp->batch->pieces[id];
        const uint32_t kept = tcp_reassembly_insert(tcp, flow, sequence, piece->data, piece->bytes);

        sequence += kept;
        if (kept < piece->bytes) {
            flow->rcv_nxt = sequence;
            break;
        }
    }
    flow->gathered_first = flow->gathered_last = flow->gathered_bytes = 0;
}

/* RFC 7323 §4.1: the echo of a data segment tells the round trip to a guest that only sends, where
 * nothing of ours is acknowledged. The least of a round: the guest may wait before it sends. */
void tcp_host_rtt(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t echo)
{
    const uint32_t sample_ms = tcp_output_clock_ms(tcp) - echo;

    if (sample_ms <= TCP_RTO_MAX_US / 1000 && sample_ms * 1000 < flow->round_rtt_us)
        flow->round_rtt_us = sample_ms * 1000;
}

static uint32_t receive_rtt_us(const struct tcp_flow *flow)
{
    if (flow->rcv_rtt_us != 0)
        return flow->rcv_rtt_us;
    return flow->srtt_us != 0 ? flow->srtt_us : TCP_RTO_MIN_US;
}

/* Dynamic right-sizing. A window offered now is filled a round trip later, by a guest that may
 * double what it sends with each: so it leaves room for what comes if growth goes on as seen in
 * the round trip that ends here, twice over. */
static void right_size(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint64_t elapsed_us = tcp->nat->now_us - flow->round_at_us;
    const uint32_t got_bytes = flow->host_nxt - flow->round_seq;
    const uint32_t rtt_us = receive_rtt_us(flow);
    uint32_t most_bytes = tcp->nat->config->tcp_window_max_bytes;

    if (elapsed_us < rtt_us)
        return;
    if (!flow->scaled || most_bytes < TCP_WINDOW_INITIAL)
        most_bytes = TCP_WINDOW_INITIAL;
    const uint32_t more_bytes = got_bytes > flow->round_bytes ? got_bytes - flow->round_bytes : 0;
    const uint64_t ahead_bytes =
        2 * (uint64_t)(more_bytes < got_bytes / 2 ? more_bytes : got_bytes / 2);
    const uint64_t wanted_bytes = 2 * (got_bytes + ahead_bytes);
    if (!flow->host_full && wanted_bytes > flow->rcv_space && elapsed_us < 4 * (uint64_t)rtt_us &&
        tcp->block_count < tcp->block_max / 2) {
        flow->rcv_space = wanted_bytes < most_bytes ? (uint32_t)wanted_bytes : most_bytes;
        flow->host_slow = false;
    }
    if (flow->round_rtt_us != UINT32_MAX)
        flow->rcv_rtt_us = flow->round_rtt_us;
    flow->round_rtt_us = UINT32_MAX;
    flow->round_bytes = got_bytes;
    flow->round_seq = flow->host_nxt;
    flow->round_at_us = tcp->nat->now_us;
}

static void host_refused(struct tcp_flow *flow)
{
    if (!flow->host_full && flow->rcv_space > TCP_WINDOW_INITIAL)
        flow->rcv_space =
            flow->rcv_space / 2 > TCP_WINDOW_INITIAL ? flow->rcv_space / 2 : TCP_WINDOW_INITIAL;
    flow->host_full = flow->host_slow = true;
}

bool tcp_host_deliver(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct nat_host *host = &tcp->nat->host;

    while (!flow->host_full && flow->state == TCP_OPEN) {
        struct iovec from[TCP_GATHER];
        int from_count;
        const size_t bytes = collect(tcp, flow, from, &from_count);

        if (bytes == 0)
            break;
        const ssize_t result = host->tcp_send(host->context, flow->socket, from, from_count);
        if (result > 0) {
            taken(tcp, flow, (uint32_t)result); /* fewer than asked: ask again, for the -EAGAIN */
        } else if (result == -EAGAIN || result == -EWOULDBLOCK) {
            host_refused(flow);
        } else {
            tcp_host_abort(tcp, flow);
            return false;
        }
    }
    if (flow->gathered_first != 0)
        spill(tcp, flow);
    right_size(tcp, flow);
    if (flow->guest_fin_seen && !flow->guest_fin_done && flow->rcv_nxt == flow->guest_fin_seq) {
        flow->rcv_nxt++;
        flow->guest_fin_done = flow->ack_due = true;
        flow->we_closed_first = flow->fin_sent;
        tcp_timer_idle(tcp, flow);
    }
    if (flow->guest_fin_done && !flow->host_shut && flow->host_nxt == flow->guest_fin_seq) {
        flow->host_shut = true;
        if (host->tcp_shutdown_write(host->context, flow->socket) < 0) {
            tcp_host_abort(tcp, flow);
            return false;
        }
    }
    return true;
}

static void acknowledge(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t unacked_bytes = flow->rcv_nxt - flow->rcv_acked;

    if (flow->ack_due || unacked_bytes == 0)
        return;
    /* RFC 9293 §3.8.6.3; and before a guest of long segments has filled its window. */
    if (unacked_bytes >= 2 * (uint32_t)flow->mss || unacked_bytes >= flow->rcv_space / 2) {
        flow->ack_due = true;
    } else if (!flow->ack_delayed) {
        flow->ack_delayed = true;
        tcp_timer_set(tcp, flow, TCP_TIMER_ACK, tcp->nat->now_us + TCP_ACK_DELAY_US);
    }
}

void tcp_host_flush(struct nat_tcp *tcp)
{
    const uint32_t count = tcp->batch_count;

    for (uint32_t i = 0; i < count; i++) {
        struct tcp_flow *flow = tcp_flow_at(tcp, tcp->batch->flows[i]);

        if (!flow->in_batch) /* freed since, or freed, taken again and met already */
            continue;
        flow->in_batch = false;
        if (tcp_host_deliver(tcp, flow))
            acknowledge(tcp, flow);
    }
    tcp->batch_count = 0;
    tcp->piece_count = 0;
}

/* ---- the window we advertise ---- */

/* What the window must open by to be worth a word (RFC 9293 §3.8.6.2.2). */
static uint32_t worthwhile_bytes(const struct tcp_flow *flow)
{
    return flow->mss < flow->rcv_space / 2 ? flow->mss : flow->rcv_space / 2;
}

uint32_t tcp_host_window(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct nat_host *host = &tcp->nat->host;
    uint32_t space_bytes = flow->rcv_space;

    if (flow->host_full || flow->guest_fin_done || flow->socket < 0)
        return flow->rcv_edge - flow->rcv_nxt < UINT32_MAX / 2 ? flow->rcv_edge - flow->rcv_nxt : 0;
    if (flow->host_slow) { /* never below two segments: only a refused send brings WRITABLE */
        const uint32_t kernel_bytes = host->tcp_send_space(host->context, flow->socket);
        const uint32_t least_bytes = 2 * (uint32_t)tcp_output_mss(tcp, flow->key.remote.family);

        space_bytes = kernel_bytes < space_bytes ? kernel_bytes : space_bytes;
        space_bytes = space_bytes < least_bytes ? least_bytes : space_bytes;
        space_bytes = space_bytes < flow->rcv_space ? space_bytes : flow->rcv_space;
    }
    const uint32_t edge = flow->rcv_nxt + space_bytes; /* never back */
    if (seq_after(edge, flow->rcv_edge) && edge - flow->rcv_edge >= worthwhile_bytes(flow))
        flow->rcv_edge = edge;
    return flow->rcv_edge - flow->rcv_nxt;
}

/* ---- the end of a flow ---- */

bool tcp_host_finish(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->state != TCP_OPEN || !flow->host_shut || !flow->fin_acked)
        return false;
    if (flow->we_closed_first)
        tcp_flow_time_wait(tcp, flow);
    else
        tcp_flow_free(tcp, flow, false);
    return true;
}

void tcp_host_abort(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    tcp_output_reset(tcp, flow);
    tcp_flow_free(tcp, flow, true);
}

/* ---- events ---- */

static void connected(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    flow->state = TCP_SYN_RECEIVED;
    flow->iss = (uint32_t)tcp->nat->host.random(tcp->nat->host.context); /* RFC 9293 §3.4.1 */
    flow->snd_una = flow->iss;
    flow->snd_nxt = flow->snd_max = flow->iss + 1;
    flow->rto_us = TCP_RTO_INITIAL_US;
    flow->round_seq = flow->host_nxt;
    flow->round_at_us = tcp->nat->now_us;
    flow->round_rtt_us = UINT32_MAX;
    tcp_timer_set(tcp, flow, TCP_TIMER_SEND, 0);
    flow->syn_ack_due = true;
}

void tcp_host_unreached(struct nat_tcp *tcp, struct tcp_flow *flow, int error)
{
    struct nat *nat = tcp->nat;

    nat_count(&nat->metrics->tcp_connect_fail_total);
    if (error == ENETUNREACH || error == EHOSTUNREACH) {
        uint8_t quoted[8]; /* ports and sequence number of the SYN */

        be16_put(quoted + TCP_SOURCE_AT, flow->key.guest.port);
        be16_put(quoted + TCP_DESTINATION_AT, flow->key.remote.port);
        be32_put(quoted + TCP_SEQUENCE_AT, flow->rcv_nxt - 1);
        nat_icmp_unreachable(nat, error == ENETUNREACH ? NAT_UNREACHABLE_NET : NAT_UNREACHABLE_HOST,
                             &flow->key, IP_PROTOCOL_TCP, quoted);
    }
    tcp_host_abort(tcp, flow);
}

static void failed(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct nat_host *host = &tcp->nat->host;

    if (flow->state != TCP_CONNECTING)
        tcp_host_abort(tcp, flow);
    else
        tcp_host_unreached(
            tcp, flow, flow->socket >= 0 ? host->error(host->context, flow->socket) : ECONNREFUSED);
}

static void writable(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t before_bytes = flow->rcv_edge - flow->rcv_nxt;

    if (!flow->host_full)
        return;
    flow->host_full = false;
    if (!tcp_host_deliver(tcp, flow))
        return;
    const uint32_t now_bytes = tcp_host_window(tcp, flow);
    if (now_bytes > before_bytes && now_bytes - before_bytes >= worthwhile_bytes(flow))
        flow->ack_due = true;
    tcp_flow_ready(tcp, flow);
}

void nat_tcp_event(struct nat *nat, uint32_t cookie, uint32_t events)
{
    struct nat_tcp *tcp = nat->tcp;
    struct tcp_flow *flow = tcp_flow_by_cookie(tcp, cookie);

    if (flow == NULL || flow->state == TCP_TIME_WAIT)
        return;
    if ((events & NAT_SOCKET_FAILED) != 0) {
        failed(tcp, flow);
        return;
    }
    if ((events & NAT_SOCKET_CONNECTED) != 0 && flow->state == TCP_CONNECTING)
        connected(tcp, flow);
    if ((events & NAT_SOCKET_READABLE) != 0)
        flow->readable = true;
    tcp_flow_ready(tcp, flow);
    if ((events & NAT_SOCKET_WRITABLE) != 0)
        writable(tcp, flow);
    tcp_output_run(tcp);
}
