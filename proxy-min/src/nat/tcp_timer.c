#include "tcp.h"

/*
 * A binary heap of flows by their earliest deadline. A deadline that moves later - which it does
 * with each acknowledgment - leaves the heap alone: the flow comes up early, finds nothing due and
 * goes back under its true key.
 */

static bool heap_less(const struct nat_tcp *tcp, uint32_t a, uint32_t b)
{
    return tcp->flows[tcp->heap[a]].heap_us < tcp->flows[tcp->heap[b]].heap_us;
}

static void heap_swap(struct nat_tcp *tcp, uint32_t a, uint32_t b)
{
    const uint32_t id = tcp->heap[a];

    tcp->heap[a] = tcp->heap[b];
    tcp->heap[b] = id;
    tcp->flows[tcp->heap[a]].heap_at = a;
    tcp->flows[tcp->heap[b]].heap_at = b;
}

static void heap_up(struct nat_tcp *tcp, uint32_t at)
{
    while (at > 1 && heap_less(tcp, at, at / 2)) {
        heap_swap(tcp, at, at / 2);
        at /= 2;
    }
}

static void heap_down(struct nat_tcp *tcp, uint32_t at)
{
    for (;;) {
        uint32_t least = at;

        for (uint32_t child = 2 * at; child <= 2 * at + 1 && child <= tcp->heap_count; child++)
            least = heap_less(tcp, child, least) ? child : least;
        if (least == at)
            return;
        heap_swap(tcp, at, least);
        at = least;
    }
}

static void heap_insert(struct nat_tcp *tcp, struct tcp_flow *flow, uint64_t at_us)
{
    if (flow->heap_at == 0) {
        flow->heap_at = ++tcp->heap_count;
        tcp->heap[flow->heap_at] = tcp_flow_id(tcp, flow);
    }
    flow->heap_us = at_us;
    heap_up(tcp, flow->heap_at);
}

static void heap_remove(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t at = flow->heap_at;

    if (at == 0)
        return;
    heap_swap(tcp, at, tcp->heap_count);
    tcp->heap_count--;
    flow->heap_at = 0;
    if (at <= tcp->heap_count) {
        heap_up(tcp, at);
        heap_down(tcp, at);
    }
}

void tcp_timer_set(struct nat_tcp *tcp, struct tcp_flow *flow, enum tcp_timer timer, uint64_t at_us)
{
    flow->timer_us[timer] = at_us;
    if (at_us != 0 && (flow->heap_at == 0 || at_us < flow->heap_us))
        heap_insert(tcp, flow, at_us);
}

void tcp_timer_forget(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    for (int timer = 0; timer < TCP_TIMER_COUNT; timer++)
        flow->timer_us[timer] = 0;
    heap_remove(tcp, flow);
}

static uint64_t backed_off(const struct tcp_flow *flow)
{
    const uint64_t rto_us = (uint64_t)flow->rto_us << (flow->retries < 16 ? flow->retries : 16);

    return rto_us < TCP_RTO_MAX_US ? rto_us : TCP_RTO_MAX_US;
}

/* RFC 8985 §7.2: how long to wait before the last segment is sent again, to learn by SACK of a
 * lost tail before the RTO. 0: not at all. */
static uint64_t tail_probe_us(const struct tcp_flow *flow)
{
    uint64_t wait_us = 2 * (uint64_t)flow->srtt_us;

    if (!flow->sack || flow->state != TCP_OPEN || flow->recovering || flow->probe_armed ||
        flow->tail_sent || flow->retries != 0 || flow->srtt_us == 0)
        return 0;
    wait_us = wait_us < TCP_TAIL_MIN_US ? TCP_TAIL_MIN_US : wait_us;
    if (flow->snd_nxt - flow->snd_una <= flow->mss)
        wait_us += TCP_TAIL_ALONE_US;
    return wait_us < flow->rto_us ? wait_us : 0;
}

void tcp_timer_retransmit(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const bool is_needed = flow->snd_nxt != flow->snd_una || flow->probe_armed;
    const uint64_t tail_us = is_needed ? tail_probe_us(flow) : 0;
    const uint64_t wait_us = tail_us != 0 ? tail_us : backed_off(flow);

    flow->tail_armed = tail_us != 0;
    tcp_timer_set(tcp, flow, TCP_TIMER_SEND, is_needed ? tcp->nat->now_us + wait_us : 0);
}

void tcp_rtt_sample(struct tcp_flow *flow, uint64_t sample_us)
{
    const uint32_t rtt_us = sample_us < TCP_RTO_MAX_US ? (uint32_t)sample_us : TCP_RTO_MAX_US;

    if (flow->srtt_us == 0) { /* §2.2 */
        flow->srtt_us = rtt_us != 0 ? rtt_us : 1;
        flow->rttvar_us = rtt_us / 2;
    } else { /* §2.3, alpha 1/8, beta 1/4 */
        const uint32_t off_us =
            flow->srtt_us > rtt_us ? flow->srtt_us - rtt_us : rtt_us - flow->srtt_us;

        flow->rttvar_us = flow->rttvar_us - flow->rttvar_us / 4 + off_us / 4;
        flow->srtt_us = flow->srtt_us - flow->srtt_us / 8 + rtt_us / 8;
        flow->srtt_us += flow->srtt_us == 0;
    }
    if (flow->rtt_min_us == 0 || rtt_us < flow->rtt_min_us)
        flow->rtt_min_us = rtt_us != 0 ? rtt_us : 1;

    const uint64_t rto_us = (uint64_t)flow->srtt_us + 4 * (uint64_t)flow->rttvar_us;
    flow->rto_us = rto_us < TCP_RTO_MIN_US   ? TCP_RTO_MIN_US
                   : rto_us > TCP_RTO_MAX_US ? TCP_RTO_MAX_US
                                             : (uint32_t)rto_us;
}

/* ---- what happens when one is due; each returns false when the flow ended ---- */

static bool connect_timed_out(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct nat_host *host = &tcp->nat->host;

    /* Who is late may be us: a loop that was busy runs its timers before it looks at sockets. */
    if (host->tcp_connect_ended(host->context, flow->socket)) {
        tcp_timer_set(tcp, flow, TCP_TIMER_SEND, tcp->nat->now_us + TCP_CONNECT_TOLD_US);
        return true;
    }
    nat_count(&tcp->nat->metrics->tcp_connect_fail_total);
    tcp_host_abort(tcp, flow);
    return false;
}

static bool send_timer(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    switch ((enum tcp_state)flow->state) {
    case TCP_CONNECTING:
        return connect_timed_out(tcp, flow);
    case TCP_TIME_WAIT:
        tcp_flow_free(tcp, flow, false);
        return false;
    case TCP_SYN_RECEIVED:
        if (++flow->retries > TCP_SYN_ACK_RETRIES) {
            tcp_host_abort(tcp, flow);
            return false;
        }
        nat_count(&tcp->nat->metrics->tcp_retransmits_total);
        flow->syn_ack_due = true;
        flow->rtt_timing = false; /* Karn: RFC 6298 §3 */
        break;
    case TCP_OPEN:
        if (tcp->blocked)
            break; /* our own queue is what is late: nothing was lost */
        if (flow->tail_armed) {
            flow->tail_due = flow->tail_sent = true;
            break;
        }
        flow->retries++;
        if (flow->probe_armed) {
            if (++flow->probes_lost > TCP_PROBE_RETRIES) {
                tcp_host_abort(tcp, flow);
                return false;
            }
            flow->probe_due = true;
        } else {
            if (flow->retries > TCP_DATA_RETRIES) {
                tcp_host_abort(tcp, flow);
                return false;
            }
            tcp_ack_timeout(tcp, flow);
        }
        break;
    case TCP_FREE:
        return false;
    }
    tcp_timer_retransmit(tcp, flow);
    tcp_flow_ready(tcp, flow);
    return true;
}

static bool ack_timer(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    flow->ack_due |= flow->ack_delayed;
    tcp_flow_ready(tcp, flow);
    return true;
}

static uint64_t idle_bound_us(const struct nat_tcp *tcp, const struct tcp_flow *flow)
{
    const uint64_t idle_us = (uint64_t)tcp->nat->config->tcp_keepalive_ms * 1000;
    const bool is_closing = flow->guest_fin_done || flow->fin_sent;

    if (is_closing && (idle_us == 0 || idle_us > TCP_KEEPALIVE_CLOSING_US))
        return TCP_KEEPALIVE_CLOSING_US; /* half a connection is bounded in any case */
    return idle_us;
}

void tcp_timer_idle(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint64_t idle_us = idle_bound_us(tcp, flow);

    tcp_timer_set(tcp, flow, TCP_TIMER_IDLE, idle_us != 0 ? tcp->nat->now_us + idle_us : 0);
}

static uint64_t probe_interval_us(const struct nat_tcp *tcp)
{
    const uint64_t part_us =
        (uint64_t)tcp->nat->config->tcp_keepalive_ms * 1000 / TCP_KEEPALIVE_PARTS;

    return part_us == 0 || part_us > TCP_KEEPALIVE_INTERVAL_US ? TCP_KEEPALIVE_INTERVAL_US
                                                               : part_us;
}

/* RFC 1122 §4.2.3.6: keepalives, so that a guest that went away does not hold its slot. Time is
 * counted from the last segment heard; the timer need not move for each. */
static bool idle_timer(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint64_t idle_us = idle_bound_us(tcp, flow);
    const uint64_t due_us = flow->heard_at_us + idle_us;

    if (flow->state != TCP_OPEN || idle_us == 0)
        return true;
    if (tcp->nat->now_us < due_us) {
        flow->keepalives = 0;
        tcp_timer_set(tcp, flow, TCP_TIMER_IDLE, due_us);
        return true;
    }
    if (++flow->keepalives > TCP_KEEPALIVE_PROBES) {
        tcp_host_abort(tcp, flow);
        return false;
    }
    /* With data on the way, retransmission finds out; and when both halves are closed the guest
     * has forgotten the connection: only the kernel's queue is still draining. */
    if (flow->snd_una == flow->snd_nxt && !(flow->guest_fin_done && flow->fin_acked))
        flow->keepalive_due = true;
    tcp_timer_set(tcp, flow, TCP_TIMER_IDLE, tcp->nat->now_us + probe_interval_us(tcp));
    tcp_flow_ready(tcp, flow);
    return true;
}

static bool (*const on_timer[TCP_TIMER_COUNT])(struct nat_tcp *, struct tcp_flow *) = {
    [TCP_TIMER_SEND] = send_timer,
    [TCP_TIMER_ACK] = ack_timer,
    [TCP_TIMER_IDLE] = idle_timer,
};

static void requeue(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    uint64_t next_us = 0;

    for (int timer = 0; timer < TCP_TIMER_COUNT; timer++) {
        const uint64_t at_us = flow->timer_us[timer];

        if (at_us != 0 && (next_us == 0 || at_us < next_us))
            next_us = at_us;
    }
    heap_remove(tcp, flow);
    if (next_us != 0)
        heap_insert(tcp, flow, next_us);
}

void nat_tcp_tick(struct nat *nat)
{
    struct nat_tcp *tcp = nat->tcp;
    /* Each flow comes up at most once: a handler never sets a time that is already due. */
    while (tcp->heap_count > 0 && tcp->flows[tcp->heap[1]].heap_us <= nat->now_us) {
        struct tcp_flow *flow = &tcp->flows[tcp->heap[1]];
        bool is_alive = true;

        for (int timer = 0; is_alive && timer < TCP_TIMER_COUNT; timer++) {
            const uint64_t at_us = flow->timer_us[timer];

            if (at_us == 0 || at_us > nat->now_us)
                continue;
            flow->timer_us[timer] = 0;
            is_alive = on_timer[timer](tcp, flow);
        }
        if (is_alive)
            requeue(tcp, flow);
    }
    tcp_output_run(tcp);
    tcp_flow_trim(tcp);
}

uint64_t nat_tcp_deadline(const struct nat *nat)
{
    const struct nat_tcp *tcp = nat->tcp;

    return tcp->heap_count > 0 ? tcp->flows[tcp->heap[1]].heap_us : UINT64_MAX;
}
