/*
 * tcp_exchange_test.c - any loss, duplication and reordering of frames in both directions ends
 * with identical bytes on both sides, or with a clean reset (issue "the NAT", Prove).
 *
 * A small guest TCP talks to the NAT over a bad wire in virtual time. Everything is drawn from a
 * seed: what is lost, doubled, late and overtaken, how slowly either end reads, when it stops
 * reading at all and the window closes, when nothing passes, who closes first, who breaks off. A
 * failure prints the seed. TCP_SEED=n begins with that one, TCP_RUNS=n runs that many.
 */
#include "bad_wire.h"
#include "tcp_script.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    STREAM_MAX = 400000,
    LIMIT_MS = 4000000,
    GUEST_SEGMENT = 1400,
    GUEST_SUPER_MAX = 40000,
};

struct pause {
    uint64_t from_us, to_us;
};

struct plan {              /* drawn from the seed */
    struct wire_plan wire; /* both ways */
    uint32_t up_bytes, down_bytes, mss, scale, window_bytes;
    bool sack, timestamps, has_scale, guest_reads_slowly, host_reads_slowly, queue_is_tight;
    bool half_close_first;                      /* the guest closes before it got anything */
    struct pause guest_pause, host_pause;       /* it takes nothing: the window closes */
    uint32_t remote_breaks_at, guest_resets_at; /* in sent bytes; 0: never */
    uint32_t super_max_bytes;                   /* 0: no super-frames */
    bool cuts_supers; /* the guest's card does, and each segment is lost on its own */
};

struct guest {
    bool is_open, is_reset, fin_sent, fin_ever_sent, fin_acked, fin_seen;
    uint32_t isn, una, nxt, edge; /* towards the NAT */
    uint32_t nat_isn, rcv_nxt, fin_seq, read_bytes;
    uint64_t retransmit_at_us;
    uint32_t ts_recent, peer_scale, backoff;
    uint8_t *have; /* per byte of the download */
    bool ack_due, timestamps, sack, scaled;
    uint32_t again_from, again_to; /* came twice: RFC 2883 */
};

struct exchange {
    struct nat_world world;
    struct plan plan;
    struct guest guest;
    struct wire up, down;
    uint64_t seed;
    struct luck luck;
    uint32_t remote_sent, supers;
    bool remote_closed, remote_broke;
};

static uint32_t draw(struct exchange *x, uint32_t below)
{
    return luck_draw(&x->luck, below);
}

static bool percent(struct exchange *x, uint32_t share)
{
    return luck_percent(&x->luck, share);
}

#define CHECK(x, condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("TCP_SEED=%llu: %s", (unsigned long long)(x)->seed, #condition);              \
    } while (0)

/* In the first two seconds, and perhaps for long. The world's clock begins at one. */
static struct pause make_pause(struct exchange *x, uint32_t share, uint32_t most_s)
{
    struct pause pause = {0, 0};

    if (percent(x, share)) {
        pause.from_us = 1000000 + draw(x, 2000000);
        pause.to_us = pause.from_us + draw(x, most_s * 1000000);
    }
    return pause;
}

static bool pauses(const struct exchange *x, const struct pause *pause)
{
    return x->world.now_us >= pause->from_us && x->world.now_us < pause->to_us;
}

static void make_plan(struct exchange *x)
{
    static const uint32_t msses[] = {1460, 1460, 536, 100, 1200};
    struct plan *plan = &x->plan;

    plan->wire.loss_percent = percent(x, 30) ? 0 : draw(x, 20);
    plan->wire.duplicate_percent = percent(x, 50) ? 0 : draw(x, 20);
    plan->wire.delay_us = percent(x, 30) ? 0 : draw(x, 60000);
    plan->wire.jitter_us = percent(x, 40) ? 0 : draw(x, 30000);
    plan->up_bytes = percent(x, 20) ? 0 : draw(x, percent(x, 50) ? 3000 : STREAM_MAX);
    plan->down_bytes = percent(x, 20) ? 0 : draw(x, percent(x, 50) ? 3000 : STREAM_MAX);
    plan->mss = msses[draw(x, 5)];
    plan->has_scale = percent(x, 60);
    plan->scale = draw(x, 8);
    plan->window_bytes = 1000 + draw(x, plan->has_scale ? 500000 : 60000);
    plan->sack = percent(x, 60);
    plan->timestamps = percent(x, 50);
    plan->guest_reads_slowly = percent(x, 30);
    plan->host_reads_slowly = percent(x, 30);
    plan->queue_is_tight = percent(x, 30);
    plan->half_close_first = percent(x, 20);
    plan->guest_pause = make_pause(x, 20, 100);
    plan->host_pause = make_pause(x, 20, 100);
    const struct pause dark = make_pause(x, 15, 20);
    plan->wire.dark_from_us = dark.from_us;
    plan->wire.dark_to_us = dark.to_us;
    if (percent(x, 50))
        plan->super_max_bytes = percent(x, 50) ? 65529 : 200 + draw(x, 65329);
    plan->cuts_supers = percent(x, 60);
    if (percent(x, 10))
        plan->remote_breaks_at = 1 + draw(x, plan->down_bytes + 1);
    if (percent(x, 10))
        plan->guest_resets_at = 1 + draw(x, plan->up_bytes + 1);
}

/* ---- the guest's TCP ---- */

static uint32_t guest_window(const struct exchange *x)
{
    const uint32_t held = x->guest.rcv_nxt - (x->guest.nat_isn + 1) - x->guest.read_bytes;

    return x->plan.window_bytes > held ? x->plan.window_bytes - held : 0;
}

static void put_option(struct world_segment *segment, const uint8_t *option, uint32_t bytes)
{
    memcpy(segment->options + segment->options_bytes, option, bytes);
    segment->options_bytes += bytes;
}

static void guest_options(struct exchange *x, struct world_segment *segment)
{
    const struct guest *guest = &x->guest;
    const bool is_syn = (segment->flags & TCP_SYN) != 0;

    if (is_syn)
        put_option(segment, (uint8_t[]){2, 4, (uint8_t)(x->plan.mss >> 8), (uint8_t)x->plan.mss},
                   4);
    if (is_syn && x->plan.sack)
        put_option(segment, (uint8_t[]){1, 1, 4, 2}, 4);
    if (is_syn && x->plan.has_scale)
        put_option(segment, (uint8_t[]){1, 3, 3, (uint8_t)x->plan.scale}, 4);
    if (is_syn ? x->plan.timestamps : guest->timestamps) {
        uint8_t option[12] = {1, 1, 8, 10};
        be32_put(option + 4, (uint32_t)(x->world.now_us / 1000) + 77);
        be32_put(option + 8, guest->ts_recent);
        put_option(segment, option, 12);
    }
    if (!is_syn && guest->sack) {
        uint8_t option[4 + 24] = {1, 1, 5, 2};
        uint32_t count = 0, at = guest->rcv_nxt - (guest->nat_isn + 1);

        if (guest->again_from != guest->again_to) {
            be32_put(option + 4, guest->again_from);
            be32_put(option + 8, guest->again_to);
            option[3] = 2 + 8;
            count++;
        }
        while (count < 3 && at < x->plan.down_bytes) {
            while (at < x->plan.down_bytes && !guest->have[at])
                at++;
            const uint32_t from = at;
            while (at < x->plan.down_bytes && guest->have[at])
                at++;
            if (at == from)
                break;
            be32_put(option + 4 + 8 * count, guest->nat_isn + 1 + from);
            be32_put(option + 8 + 8 * count, guest->nat_isn + 1 + at);
            option[3] = (uint8_t)(option[3] + 8);
            count++;
        }
        if (count > 0)
            put_option(segment, option, 4 + 8 * count);
    }
}

static void guest_emit(struct exchange *x, uint8_t flags, uint32_t seq, uint32_t bytes)
{
    static uint8_t payload[GUEST_SUPER_MAX];
    struct guest *guest = &x->guest;
    uint32_t window = guest_window(x);
    struct world_segment segment = {.guest_port = 40000,
                                    .remote_port = 443,
                                    .remote = {93, 184, 216, 34},
                                    .seq = seq,
                                    .flags = flags};

    if ((flags & TCP_SYN) == 0)
        window >>= guest->scaled ? x->plan.scale : 0;
    segment.window = (uint16_t)(window < 65535 ? window : 65535);
    if (guest->is_open) {
        segment.flags |= TCP_ACK;
        segment.ack = guest->rcv_nxt;
    }
    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = tcp_pattern(seq + i - (guest->isn + 1));
    segment.payload = payload;
    segment.payload_bytes = bytes;
    segment.gso_bytes = bytes > GUEST_SEGMENT ? GUEST_SEGMENT : 0;
    guest_options(x, &segment);
    wire_put(&x->up, &x->plan.wire, &x->luck, x->world.now_us, &segment);
    guest->ack_due = false;
    guest->again_from = guest->again_to = 0;
}

static void guest_got_option(struct guest *guest, const struct world_segment *segment)
{
    for (uint32_t at = 0; at < segment->options_bytes;) {
        const uint8_t *option = segment->options + at;

        if (option[0] == 1) {
            at++;
            continue;
        }
        if (option[0] == 3) {
            guest->scaled = true;
            guest->peer_scale = option[2];
        } else if (option[0] == 4) {
            guest->sack = true;
        } else if (option[0] == 8) {
            guest->timestamps = true;
            if ((int32_t)(be32_get(option + 2) - guest->ts_recent) > 0)
                guest->ts_recent = be32_get(option + 2);
        }
        at += option[1];
    }
}

static void guest_takes_data(struct exchange *x, const struct world_segment *segment)
{
    struct guest *guest = &x->guest;
    const uint32_t base = guest->nat_isn + 1;
    uint32_t room_edge = guest->rcv_nxt + guest_window(x);

    if (segment->payload_bytes > 0 &&
        (int32_t)(segment->seq + segment->payload_bytes - guest->rcv_nxt) <= 0) {
        guest->again_from = segment->seq;
        guest->again_to = segment->seq + segment->payload_bytes;
    }

    for (uint32_t i = 0; i < segment->payload_bytes; i++) {
        const uint32_t seq = segment->seq + i, offset = seq - base;

        if ((int32_t)(seq - guest->rcv_nxt) < 0 || (int32_t)(seq - room_edge) >= 0)
            continue;
        CHECK(x, offset < x->plan.down_bytes);
        CHECK(x, segment->payload[i] == tcp_pattern(offset));
        guest->have[offset] = 1;
    }
    while (guest->rcv_nxt - base < x->plan.down_bytes && guest->have[guest->rcv_nxt - base])
        guest->rcv_nxt++;
    if ((segment->flags & TCP_FIN) != 0) {
        const uint32_t fin_seq = segment->seq + segment->payload_bytes;
        CHECK(x, x->remote_closed);
        CHECK(x, fin_seq - base == x->remote_sent); /* §6.2: FIN behind all data */
        guest->fin_seq = fin_seq;
        guest->fin_seen = guest->fin_seen || guest->rcv_nxt == fin_seq;
    }
    if (guest->fin_seen && guest->rcv_nxt == guest->fin_seq)
        guest->rcv_nxt++;
    guest->ack_due = true;
}

static void guest_gets(struct exchange *x, const struct world_segment *segment)
{
    struct guest *guest = &x->guest;

    if ((segment->flags & TCP_RST) != 0) {
        if (!guest->is_open || segment->seq == guest->rcv_nxt)
            guest->is_reset = true;
        else if (segment->seq - guest->rcv_nxt <= guest_window(x))
            guest->ack_due = true; /* RFC 5961 challenge */
        return;
    }
    if ((segment->flags & TCP_SYN) != 0) {
        if (!guest->is_open) {
            guest->is_open = true;
            guest->nat_isn = segment->seq;
            guest->rcv_nxt = segment->seq + 1;
            guest->una = guest->nxt = segment->ack;
            guest->edge = segment->ack + segment->window;
            guest_got_option(guest, segment);
        }
        guest->ack_due = true;
        return;
    }
    if (!guest->is_open)
        return;
    guest_got_option(guest, segment);
    const uint32_t end = guest->isn + 1 + x->plan.up_bytes + guest->fin_ever_sent;
    CHECK(x, (int32_t)(segment->ack - end) <= 0); /* never more than was sent */
    const uint32_t edge =
        segment->ack + ((uint32_t)segment->window << (guest->scaled ? guest->peer_scale : 0));
    if ((int32_t)(segment->ack - guest->una) > 0) {
        guest->una = segment->ack;
        guest->backoff = 0;
        guest->retransmit_at_us = x->world.now_us + 300000;
        if ((int32_t)(guest->nxt - guest->una) < 0)
            guest->nxt = guest->una;
    }
    if ((int32_t)(edge - guest->edge) > 0)
        guest->edge = edge; /* the NAT never takes window back; reordered frames seem to */
    guest->fin_acked |= guest->fin_ever_sent && guest->una == end;
    if (segment->payload_bytes > 0 || (segment->flags & TCP_FIN) != 0 ||
        segment->seq != guest->rcv_nxt)
        guest_takes_data(x, segment);
}

static void guest_runs(struct exchange *x)
{
    struct guest *guest = &x->guest;
    const uint32_t end = guest->isn + 1 + x->plan.up_bytes;
    const uint64_t now_us = x->world.now_us;

    if (guest->is_reset)
        return;
    if (!guest->is_open) {
        if (now_us >= guest->retransmit_at_us) {
            guest_emit(x, TCP_SYN, guest->isn, 0);
            guest->retransmit_at_us = now_us + 1000000;
        }
        return;
    }
    const uint32_t readable = guest->rcv_nxt - (guest->nat_isn + 1) - guest->fin_seen;
    if (pauses(x, &x->plan.guest_pause)) {
        guest->ack_due |= percent(x, 1);
    } else if (!x->plan.guest_reads_slowly) {
        const bool was_shut = guest_window(x) < x->plan.mss;
        guest->read_bytes = readable;
        guest->ack_due |= was_shut;
    } else if (percent(x, 3) && guest->read_bytes < readable) {
        const bool was_shut = guest_window(x) < x->plan.mss;
        guest->read_bytes += 1 + draw(x, readable - guest->read_bytes);
        guest->ack_due |= was_shut;
    }
    if (x->plan.guest_resets_at != 0 && guest->nxt - guest->isn >= x->plan.guest_resets_at) {
        guest_emit(x, TCP_RST, guest->nxt, 0);
        guest->is_reset = true;
        return;
    }
    if (now_us >= guest->retransmit_at_us && guest->una != guest->nxt) {
        guest->nxt = guest->una; /* go back N */
        guest->fin_sent = false;
        guest->backoff += guest->backoff < 5;
        guest->retransmit_at_us = now_us + ((uint64_t)300000 << guest->backoff);
    }
    for (int i = 0; i < 20 && (int32_t)(end - guest->nxt) > 0; i++) {
        uint32_t bytes = end - guest->nxt;
        const int32_t room = (int32_t)(guest->edge - guest->nxt);

        if (room <= 0 && (guest->una != guest->nxt || now_us < guest->retransmit_at_us))
            break;
        bytes = room > 0 && bytes > (uint32_t)room ? (uint32_t)room : room > 0 ? bytes : 1;
        const uint32_t most =
            x->plan.super_max_bytes != 0 ? 1 + draw(x, GUEST_SUPER_MAX) : GUEST_SEGMENT;
        bytes = bytes > most ? most : bytes;
        if (guest->una == guest->nxt)
            guest->retransmit_at_us = now_us + ((uint64_t)300000 << guest->backoff);
        guest_emit(x, TCP_PSH, guest->nxt, bytes);
        guest->nxt += bytes;
    }
    if (guest->nxt == end && !guest->fin_sent && !guest->fin_acked &&
        (x->plan.half_close_first || guest->fin_seen || percent(x, 1))) {
        if (guest->una == guest->nxt)
            guest->retransmit_at_us = now_us + 300000;
        guest_emit(x, TCP_FIN, guest->nxt, 0);
        guest->fin_sent = guest->fin_ever_sent = true;
        guest->nxt++;
    }
    if (guest->ack_due)
        guest_emit(x, 0, guest->nxt, 0);
}

/* ---- host and remote ---- */

static void host_runs(struct exchange *x)
{
    struct world_socket *socket = &x->world.sockets[0];
    static uint8_t data[30000];

    if (!socket->open)
        return;
    if (!socket->connected) {
        if (percent(x, 10)) {
            world_connected(&x->world, socket);
        }
        return;
    }
    if (x->plan.remote_breaks_at != 0 && x->remote_sent + 1 >= x->plan.remote_breaks_at) {
        x->remote_broke = true;
        world_socket_fails(&x->world, socket, ECONNRESET);
        return;
    }
    if (x->remote_sent < x->plan.down_bytes && percent(x, 30)) {
        uint32_t bytes = 1 + draw(x, sizeof data);

        bytes = bytes > x->plan.down_bytes - x->remote_sent ? x->plan.down_bytes - x->remote_sent
                                                            : bytes;
        for (uint32_t i = 0; i < bytes; i++)
            data[i] = tcp_pattern(x->remote_sent + i);
        x->remote_sent += bytes;
        world_remote_sends(&x->world, socket, data, bytes);
    }
    if (x->remote_sent == x->plan.down_bytes && !x->remote_closed && percent(x, 5)) {
        x->remote_closed = true;
        world_remote_closes(&x->world, socket);
    }
    if (pauses(x, &x->plan.host_pause))
        socket->send_room = 0;
    else if (!x->plan.host_reads_slowly)
        world_socket_room(&x->world, socket, 1 << 20);
    else if (percent(x, 5))
        world_socket_room(&x->world, socket, draw(x, 20000));
}

/* From the NAT to the guest; its card may have cut it (RFC 9293: FIN and PSH on the last part). */
static void deliver(struct exchange *x, const struct world_segment *whole)
{
    const uint32_t step_bytes =
        whole->gso_bytes != 0 && x->plan.cuts_supers ? whole->gso_bytes : whole->payload_bytes;
    uint32_t at = 0;

    CHECK(x, whole->gso_bytes == 0 || whole->payload_bytes > whole->gso_bytes);
    x->supers += whole->gso_bytes != 0;
    do {
        struct world_segment part = *whole;
        const uint32_t left = whole->payload_bytes - at;

        part.seq += at;
        part.payload += at;
        part.payload_bytes = left < step_bytes ? left : step_bytes;
        if (part.payload_bytes < left)
            part.flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        wire_put(&x->down, &x->plan.wire, &x->luck, x->world.now_us, &part);
        at += part.payload_bytes;
    } while (at < whole->payload_bytes);
}

static void step(struct exchange *x)
{
    struct nat_world *world = &x->world;
    struct wire_frame *frame;
    struct world_segment segment;

    world_advance(world, 1000);
    world_queue(world, x->plan.queue_is_tight ? draw(x, 8) : 1000);
    host_runs(x);
    for (uint32_t batch = 0; (frame = wire_take(&x->up, x->world.now_us)) != NULL; batch++) {
        world_batch_tcp(world, &frame->segment);
        free(frame);
        if (percent(x, 30))
            world_flush(world);
    }
    world_flush(world);
    while (world_next_tcp(world, &segment))
        deliver(x, &segment);
    while ((frame = wire_take(&x->down, x->world.now_us)) != NULL) {
        guest_gets(x, &frame->segment);
        free(frame);
    }
    guest_runs(x);
}

static bool is_complete(const struct exchange *x)
{
    const struct world_socket *socket = &x->world.sockets[0];

    return x->guest.fin_acked && x->guest.fin_seen && socket->closed;
}

struct totals {
    struct wire_counts up, down;
    uint64_t exchanges, resets, supers, retransmits, probes, out_of_order;
};

static void add_wire(struct wire_counts *sum, const struct wire_counts *counts)
{
    sum->segments += counts->segments;
    sum->lost += counts->lost;
    sum->doubled += counts->doubled;
    sum->overtaken += counts->overtaken;
}

static void add_totals(struct totals *totals, const struct exchange *x)
{
    const struct nat_metrics *metrics = &x->world.metrics;

    add_wire(&totals->up, &x->up.counts);
    add_wire(&totals->down, &x->down.counts);
    totals->exchanges++;
    totals->resets += !is_complete(x);
    totals->supers += x->supers;
    totals->retransmits += metrics->tcp_retransmits_total;
    totals->probes += metrics->tcp_zero_window_probes_total;
    totals->out_of_order += metrics->tcp_out_of_order_total;
}

static void run(uint64_t seed, struct totals *totals)
{
    struct exchange *x = calloc(1, sizeof *x);
    uint32_t ms = 0;

    assert_non_null(x);
    x->seed = seed;
    luck_seed(&x->luck, seed);
    make_plan(x);
    tcp_world_open(&x->world, draw(x, UINT32_MAX), NULL);
    if (x->plan.super_max_bytes != 0)
        world_super(&x->world, x->plan.super_max_bytes);
    x->guest.isn = percent(x, 30) ? UINT32_MAX - draw(x, 10000) : draw(x, UINT32_MAX);
    x->guest.have = calloc(1, x->plan.down_bytes + 1);
    assert_non_null(x->guest.have);

    const struct world_socket *socket = &x->world.sockets[0];
    while (!is_complete(x) && !x->guest.is_reset && !socket->reset) {
        CHECK(x, ++ms < LIMIT_MS); /* no stall */
        step(x);
    }
    const bool is_reset_expected = x->remote_broke || x->plan.guest_resets_at != 0;
    CHECK(x, is_complete(x) || is_reset_expected);
    CHECK(x, socket->out.bytes <= x->plan.up_bytes);
    for (uint32_t i = 0; i < socket->out.bytes; i++)
        CHECK(x, socket->out.data[i] == tcp_pattern(i));
    if (is_complete(x)) {
        CHECK(x, socket->out.bytes == x->plan.up_bytes);
        CHECK(x, x->guest.rcv_nxt - x->guest.nat_isn - 2 == x->plan.down_bytes);
        CHECK(x, socket->in.at == socket->in.bytes);
    }
    /* What is left ends by itself: time-wait, or the keepalive of a guest that went away. */
    x->plan.queue_is_tight = false;
    world_queue(&x->world, 1000);
    wire_clear(&x->up);
    for (ms = 0; x->world.metrics.tcp_conns_active != 0; ms++) {
        struct world_segment segment;

        CHECK(x, ms < 7200);
        world_advance(&x->world, 1000000);
        world_queue(&x->world, 1000);
        while (world_next_tcp(&x->world, &segment)) {
        }
    }
    add_totals(totals, x);
    wire_clear(&x->down);
    world_close(&x->world);
    free(x->guest.have);
    free(x);
}

static void print_wire(const char *name, const struct wire_counts *counts)
{
    print_message("  %s: %llu segments, %llu lost, %llu doubled, %llu overtaken\n", name,
                  (unsigned long long)counts->segments, (unsigned long long)counts->lost,
                  (unsigned long long)counts->doubled, (unsigned long long)counts->overtaken);
}

static void both_sides_agree_in_the_end(void **state)
{
    const char *seed = getenv("TCP_SEED"), *runs = getenv("TCP_RUNS");
    const uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    const uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : seed != NULL ? 1 : 300;
    struct totals totals = {.exchanges = 0};

    (void)state;
    for (uint64_t i = 0; i < count; i++)
        run(first + i, &totals);
    print_message("TCP_SEED=%llu TCP_RUNS=%llu: %llu clean resets, the others agree\n",
                  (unsigned long long)first, (unsigned long long)count,
                  (unsigned long long)totals.resets);
    print_wire("guest to NAT", &totals.up);
    print_wire("NAT to guest", &totals.down);
    print_message("  %llu retransmissions, %llu probes, %llu out of order, %llu super-frames\n",
                  (unsigned long long)totals.retransmits, (unsigned long long)totals.probes,
                  (unsigned long long)totals.out_of_order, (unsigned long long)totals.supers);
    if (count < 100)
        return;
    /* Or nothing was learnt about them. */
    assert_true(totals.supers > 0 && totals.probes > 0 && totals.retransmits > 0);
    assert_true(totals.resets > 0 && totals.resets < count / 2);
    assert_true(totals.up.overtaken > 0 && totals.down.overtaken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
