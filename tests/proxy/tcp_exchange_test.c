/*
 * tcp_exchange_test.c - any loss, duplication and reordering of frames in both directions ends
 * with identical bytes on both sides, or with a clean reset (issue "the NAT", Prove).
 *
 * A small guest TCP talks to the NAT over a bad wire in virtual time. Everything is drawn from a
 * seed: what is lost, doubled, late and overtaken, how slowly either end reads, when it stops
 * reading at all and the window closes, when nothing passes, who closes first, who breaks off. A
 * failure prints the seed. TCP_SEED=n begins with that one, TCP_RUNS=n runs that many.
 */
#include "exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_MAX = 400000, LIMIT_MS = 4000000 };

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
        exchange_guest_gets(x, &frame->segment);
        free(frame);
    }
    exchange_guest_runs(x);
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
