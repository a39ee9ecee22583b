/* tcp_receive_test.c - from the guest to the host (spec/l2-proxy.md §6.2; RFC 9293, 5961, 7323). */
#include "tcp_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPEN      "guest S 0+0 mss 1460", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1"
#define OPEN_SACK "guest S 0+0 mss 1460 sackok", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1"
#define OPEN_TS                                                                                    \
    "guest S 0+0 mss 1460 ts 100 0", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1 ts 101 1000"

/* RFC 9293 §3.8.6.3: an ACK for at least every second full segment, and within 0.5 s. */
static void acks_are_delayed_but_not_for_long(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest . 1+1000 ack 1", "host got 1000", "silence", "+19ms", "silence", "+1ms",
               "nat . 1+0 ack 1001");
    TCP_SCRIPT(OPEN, "guest . 1+1460 ack 1", "silence", "guest . 1461+1460 ack 1",
               "nat . 1+0 ack 2921", "silence", "host got 2920");
}

/* tcp.h: payload of a batch goes to the host at its end, with one acknowledgment. */
static void a_batch_has_one_acknowledgment(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "batch . 1+1000 ack 1", "batch . 1001+1000 ack 1", "batch . 2001+1000 ack 1",
               "guest P. 3001+10 ack 1", "nat . 1+0 ack 3011", "silence", "host got 3010");
}

/* §6.2: out-of-order segments kept up to the receive window. RFC 5681 §4.2: told at once. */
static void out_of_order_data_waits_for_the_hole(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest . 1001+1000 ack 1", "nat . 1+0 ack 1", "guest . 2001+500 ack 1",
               "nat . 1+0 ack 1", "host got 0", "guest . 1+1000 ack 1", "nat . 1+0 ack 2501",
               "host got 2500", "metric out_of_order 2");
}

/* RFC 2018 §4: the first block is the one that triggered this ACK; all that fit are named. */
static void sack_names_what_is_kept(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "guest . 1001+100 ack 1", "nat . 1+0 ack 1 sack 1001-1101",
               "guest . 3001+100 ack 1", "nat . 1+0 ack 1 sack 3001-3101 1001-1101",
               "guest . 2001+100 ack 1", "nat . 1+0 ack 1 sack 2001-2101 1001-1101 3001-3101",
               "guest . 1101+100 ack 1", "nat . 1+0 ack 1 sack 1001-1201 2001-2101 3001-3101",
               "guest . 1+1000 ack 1", "nat . 1+0 ack 1201 sack 2001-2101 3001-3101",
               "host got 1200");
}

/* RFC 2883 §4: "the first block of the SACK option … specifies the sequence numbers of the
 * duplicate segment", below the acknowledgment or inside the block that follows; once. */
static void duplicates_are_reported(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "guest P. 1+100 ack 1", "+20ms", "nat . 1+0 ack 101 nooptions",
               "guest P. 1+100 ack 1", "nat . 1+0 ack 101 sack 1-101", "guest P. 51+100 ack 1",
               "nat . 1+0 ack 151 sack 51-101", "guest P. 151+10 ack 1", "+20ms",
               "nat . 1+0 ack 161 nooptions", "host got 160");
    TCP_SCRIPT(OPEN_SACK, "guest . 1001+100 ack 1", "nat . 1+0 ack 1 sack 1001-1101",
               "guest . 1051+100 ack 1", "nat . 1+0 ack 1 sack 1051-1101 1001-1151",
               "guest . 1001+10 ack 1", "nat . 1+0 ack 1 sack 1001-1011 1001-1151");
    TCP_SCRIPT(OPEN, "guest P. 1+100 ack 1", "guest P. 1+100 ack 1", "nat . 1+0 ack 101 nooptions");
}

/* §6.2: overlaps trimmed. RootlessRelay: overlapping tails. */
static void overlaps_are_trimmed(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P. 1+100 ack 1", "guest P. 51+100 ack 1", "host got 150",
               "guest P. 1+400 ack 1", "host got 400", "+1s");
    TCP_SCRIPT(OPEN, "guest . 101+100 ack 1", "guest . 51+200 ack 1", "guest . 151+50 ack 1",
               "guest . 301+100 ack 1", "guest . 1+350 ack 1", "host got 400");
}

/* RFC 9293 §3.10.7.4: an unacceptable segment is answered by an ACK and dropped. */
static void an_old_segment_is_acknowledged_again(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P. 1+100 ack 1", "+20ms", "nat . 1+0 ack 101", "guest P. 1+100 ack 1",
               "nat . 1+0 ack 101", "host got 100");
    TCP_SCRIPT(OPEN, "guest . 70000+10 ack 1", "nat . 1+0 ack 1", "host got 0");
}

/* tcp.h: two peers must not answer each other for ever. */
static void empty_unacceptable_segments_are_answered_sparingly(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest . 0+0 ack 1", "nat . 1+0 ack 1", "guest . 0+0 ack 1", "silence",
               "+50ms", "guest . 0+0 ack 1", "nat . 1+0 ack 1");
}

/* RFC 9293 §3.10.7.4: data beyond the right edge is trimmed, and its FIN with it. */
static void data_beyond_the_window_is_cut(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest F. 65001+1000 ack 1", "nat . 1+0 ack 1", "host waiting",
               "metric out_of_order 1");
}

static void kernel_of_5000(struct nat_config *config)
{
    config->tcp_window_max_bytes = 65535;
}

/* §6.2: receive window shrinks; never drop accepted data. A zero window opens again by itself. */
static void a_full_kernel_closes_the_window(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(kernel_of_5000, OPEN, "host room 1000", "guest . 1+1400 ack 1", "host got 1000",
                    "guest . 1401+1400 ack 1", "nat . 1+0 ack 2801 win 62735", "host got 1000",
                    "host room 100000", "host got 2800", "nat . 1+0 ack 2801 win 65535", "silence");
}

/* tcp.h: what neither the kernel nor the pool takes was never acknowledged, so the guest sends it
 * again, and what lies behind it is out of order once more. */
static void a_full_pool_takes_back_what_was_in_order(void **state)
{
    enum { HOLES = 600 }; /* a byte in a block of its own: more than a flow's share of the pool */
    static const char
        *const before[] = {OPEN},
               *const after[] = {
                   "nat . 1+0 ack 1",
                   "host room 300",
                   "guest . 1+1000 ack 1", /* the kernel takes 300, the pool none */
                   "nat . 1+0 ack 301",
                   "host got 300",
                   "guest . 301+700 ack 1", /* still full: kept by nobody */
                   "nat . 1+0 ack 301",
                   "host room 100000",
                   "silence",
                   "host waiting",
                   "guest . 301+700 ack 1", /* ... and the byte behind it that waits in the pool */
                   "nat . 1+0 ack 1002",
                   "host got 1001",
                   "fill 1002 2502",
                   "nat . 1+0 ack 2502",
                   "host got 2501",
                   NULL};
    static char holes[HOLES][32];
    const char *lines[64 + HOLES];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
        lines[count++] = before[i];
    for (int i = 0; i < HOLES; i++) {
        snprintf(holes[i], sizeof holes[i], "%s . %d+1 ack 1", i + 1 < HOLES ? "batch" : "guest",
                 1001 + 2 * i);
        lines[count++] = holes[i];
    }
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
        lines[count++] = after[i];
    tcp_script_with(kernel_of_5000, lines);
}

/* RFC 9293 §3.10.7.4: with a zero window, an ACK field is still processed, the data is not. */
static void a_probe_of_our_closed_window_is_answered(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "host room 0", "fill 1 65536", "nat . 1+0 ack 65536 win 0", "remote sends 10",
               "nat P. 1+10", "guest P. 65536+1 ack 11", "nat . 11+0 ack 65536 win 0",
               "host consumed 10", "host got 0", "guest F. 65536+0 ack 11", "nat . 11+0 ack 65537",
               "host room 100000", "host got 65535", "host shut");
    TCP_SCRIPT(OPEN, "host room 0", "fill 1 65536", "nat . 1+0 ack 65536 win 0", "host room 100000",
               "nat . 1+0 ack 65536 win 34465", "host got 65535");
}

/* More segments than a batch has places for: what the kernel did not take of the first of them
 * stays in front of the rest. */
static void a_batch_longer_than_its_list_stays_in_order(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "host room 0", "fill 1 60001 100", "nat . 1+0 ack 60001 win 5535",
               "host room 100000", "host got 60000");
    TCP_SCRIPT(OPEN, "host room 777", "fill 1 60001 100", "host room 100000", "host got 60000",
               "guest . 60001+100 ack 1", "host got 60100");
}

/* The connection breaks in the middle of such a batch: nothing is kept for the flow that ended. */
static void a_flow_may_end_in_the_middle_of_a_batch(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote is gone", "fill 1 514 1", "nat R. 1+0", "silence", "host reset",
               "metric tcp_conns_active 0", "guest S 0+0", "silence", "+100ms", "silence",
               "connects", "nat S. 0+0", "guest R 1+0", "metric tcp_conns_active 0", "+10s",
               "silence");
}

/* More flows than a batch has places for, most of them without payload that could be handed over.
 */
static void a_batch_of_many_flows_mixes_no_payload(void **state)
{
    enum { WITHOUT = 512, FLOWS = WITHOUT + 2 };
    struct nat_world *world = calloc(1, sizeof *world);
    struct world_segment segment = {
        .remote_port = 80, .remote = {93, 184, 216, 34}, .window = 65535};

    (void)state;
    tcp_world_open(world, 0x10000000, NULL);
    for (uint16_t i = 0; i < FLOWS; i++) {
        segment.guest_port = (uint16_t)(1000 + i);
        segment.seq = 1000;
        segment.flags = TCP_SYN;
        world_send_tcp(world, &segment);
        world_connected(world, &world->sockets[i]);
        segment.seq = 1001;
        segment.ack = 0x10000001;
        segment.flags = TCP_ACK;
        world_send_tcp(world, &segment);
        world_skip_frames(world);
    }
    for (uint16_t i = 0; i < FLOWS; i++) {
        const uint8_t byte = (uint8_t)i;

        segment.guest_port = (uint16_t)(1000 + i);
        segment.seq = i < WITHOUT ? 1002 : 1001; /* behind a hole, or next */
        segment.payload = &byte;
        segment.payload_bytes = 1;
        world_batch_tcp(world, &segment);
    }
    world_flush(world);
    for (uint16_t i = 0; i < FLOWS; i++) {
        const struct world_bytes *got = &world->sockets[i].out;

        assert_int_equal(got->bytes, i >= WITHOUT);
        assert_true(i < WITHOUT || got->data[0] == (uint8_t)i);
    }
    world_close(world);
    free(world);
}

/* Quirks §4, RootlessRelay: payload of six zero bytes or spaces is payload like any other; here:
 * one byte at a time in reverse order. */
static void tiny_segments_in_reverse(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "batch . 6+1 ack 1", "batch . 5+1 ack 1", "batch . 4+1 ack 1",
               "batch . 3+1 ack 1", "batch . 2+1 ack 1", "guest . 1+1 ack 1", "nat . 1+0 ack 7",
               "host got 6");
}

/* Quirks §4, CVE-2026-9539: URG is ignored, whatever its pointer says. */
static void urgent_data_is_data(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest U. 1+10 ack 1", "host got 10", "+20ms", "nat . 1+0 ack 11");
}

/* RFC 5961 §3.2: RST is believed only at RCV.NXT; elsewhere in the window it is challenged. */
static void a_reset_must_be_exact(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest R 500+0", "nat . 1+0 ack 1", "host waiting", "guest R 70000+0",
               "silence", "host waiting", "guest R 1+0", "silence", "host reset",
               "metric tcp_conns_active 0");
}

/* RFC 5961 §4.2: a SYN on an open connection is challenged, whatever its sequence number. */
static void a_syn_on_an_open_flow_is_challenged(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest S 1+0", "nat . 1+0 ack 1", "guest S 900000+0", "nat . 1+0 ack 1",
               "host opens 1", "host waiting");
}

/* RFC 5961 §7: challenges are limited, here to 100 a second and tunnel, so that a blind attacker
 * behind the guest's back, or the guest, can't make us a source of traffic. */
static void challenges_are_limited(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "times 100 guest S 900000+0", "times 100 nat . 1+0 ack 1",
               "times 50 guest S 900000+0", "times 50 guest R 500+0", "silence", "+1s",
               "guest R 500+0", "nat . 1+0 ack 1", "host waiting");
}

/* RFC 5961 §5.2 and RootlessRelay: an ACK of what was never sent is answered, and moves nothing. */
static void a_future_ack_changes_nothing(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P. 1+10 ack 5000 win 0", "nat . 1+0 ack 1", "host got 0",
               "remote sends 10", "nat P. 1+10");
}

/* RFC 9293 §3.10.7.4: if the ACK bit is off, drop the segment. */
static void data_without_ack_is_dropped(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P 1+10", "silence", "host got 0");
}

/* RFC 7323 §5.3: PAWS drops an old duplicate, answers it, and spares RST. */
static void paws_refuses_old_timestamps(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_TS, "guest P. 1+10 ack 1 ts 110 1000", "host got 10", "+20ms",
               "nat . 1+0 ack 11 ts 1020 110", "guest P. 11+10 ack 1 ts 105 1000",
               "nat . 1+0 ack 11", "host got 10", "guest P. 11+10 ack 1 ts 111 1000", "host got 20",
               "guest R 21+0 ts 50 1000", "host reset");
}

/* RFC 7323 §4.3: the echo is of the segment that the last ACK waited for, not of a later one. */
static void the_echo_is_of_the_oldest_unacknowledged(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_TS, "guest . 1+10 ack 1 ts 110 1000", "guest . 11+10 ack 1 ts 120 1000",
               "+20ms", "nat . 1+0 ack 21 ts 1020 110");
}

/* RFC 7323 §2.3: windows after the handshake are scaled by what each side offered. */
static void the_window_is_scaled(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1460 ws 3", "connects", "nat S. 0+0 ack 1 win 65535 mss 1460 ws 7",
               "guest . 1+0 ack 1", "guest . 1+1460 ack 1", "guest . 1461+1460 ack 1",
               "nat . 1+0 ack 2921 win 511");
}

/* ---- the window under a guest that sends as much as it may ---- */

enum {
    STEP_US = 5000,
    PATH_STEPS_MAX = 64, /* there and back */
    SEGMENT_BYTES = 1460,
};

struct upload { /* a guest behind a long path: what it learns is a round trip old */
    struct nat_world world;
    struct {
        uint32_t bytes, echo;
    } up[PATH_STEPS_MAX]; /* arrives in each of the next steps */
    struct {
        uint32_t ack, edge, stamp;
    } down[PATH_STEPS_MAX];
    uint32_t step, seq, acked, edge, stamp;
    uint32_t cwnd_bytes; /* grows by what is acknowledged: slow start */
    uint32_t waited_steps, window_bytes;
    bool timestamps;
};

static void upload_sends(struct upload *upload, uint32_t flags, uint32_t bytes, uint32_t echo)
{
    static const uint8_t payload[SEGMENT_BYTES];
    struct world_segment segment = {.guest_port = 4000,
                                    .remote_port = 80,
                                    .remote = {93, 184, 216, 34},
                                    .seq = upload->seq,
                                    .ack = flags == TCP_ACK ? 78 : 0,
                                    .flags = (uint8_t)flags,
                                    .window = 65535,
                                    .payload = payload,
                                    .payload_bytes = bytes};

    if (flags == TCP_SYN) {
        memcpy(segment.options, "\1\3\3\7", 4);
        segment.options_bytes = 4;
    }
    if (upload->timestamps) {
        uint8_t *option = segment.options + segment.options_bytes;

        memcpy(option, "\1\1\10\12", 4);
        be32_put(option + 4, 1 + upload->step);
        be32_put(option + 8, echo);
        segment.options_bytes += 12;
    }
    world_batch_tcp(&upload->world, &segment);
    upload->seq += bytes + (flags == TCP_SYN);
}

static void upload_open(struct upload *upload, uint32_t rtt_us, bool timestamps)
{
    struct world_segment got;

    *upload = (struct upload){.cwnd_bytes = 10 * SEGMENT_BYTES, .timestamps = timestamps};
    tcp_world_open(&upload->world, 77, NULL);
    upload_sends(upload, TCP_SYN, 0, 0);
    world_flush(&upload->world);
    world_connected(&upload->world, &upload->world.sockets[0]);
    world_advance(&upload->world, rtt_us);
    assert_true(world_next_tcp(&upload->world, &got));
    upload->acked = got.ack;
    upload->edge = got.ack + got.window;
    upload->window_bytes = got.window;
    upload->stamp = timestamps ? be32_get(got.options + 8) : 0; /* behind the MSS */
    upload_sends(upload, TCP_ACK, 0, upload->stamp);
    world_flush(&upload->world);
}

/* What left the guest half a round trip ago arrives, what it may send now leaves. */
static void upload_step(struct upload *upload, uint32_t rtt_steps)
{
    const uint32_t now = upload->step % PATH_STEPS_MAX;
    struct world_segment got;

    if (upload->down[now].ack != 0) {
        const uint32_t acked_bytes = upload->down[now].ack - upload->acked;
        upload->cwnd_bytes += acked_bytes;
        upload->acked = upload->down[now].ack;
        upload->edge = upload->down[now].edge;
        upload->stamp = upload->down[now].stamp;
        upload->down[now].ack = 0;
    }
    const uint32_t flying_bytes = upload->seq - upload->acked;
    uint32_t bytes = upload->cwnd_bytes > flying_bytes ? upload->cwnd_bytes - flying_bytes : 0;
    if (bytes > upload->edge - upload->seq) {
        bytes = upload->edge - upload->seq;
        upload->waited_steps++;
    }
    for (; bytes >= SEGMENT_BYTES; bytes -= SEGMENT_BYTES)
        upload_sends(upload, TCP_ACK, SEGMENT_BYTES, upload->stamp);
    world_socket_room(&upload->world, &upload->world.sockets[0], 16 << 20);
    world_flush(&upload->world);
    while (world_next_tcp(&upload->world, &got)) {
        const uint32_t back = (upload->step + rtt_steps) % PATH_STEPS_MAX;

        upload->window_bytes = (uint32_t)got.window << 7;
        upload->down[back].ack = got.ack;
        upload->down[back].edge = got.ack + upload->window_bytes;
        upload->down[back].stamp = upload->timestamps ? be32_get(got.options + 4) : 0;
    }
    upload->step++;
    world_advance(&upload->world, STEP_US);
}

/* Issue "the NAT": one flow fills 500 Mbit/s at 50 ms. The window is ahead of a guest in slow
 * start all the way up to config->tcp_window_max_bytes. */
static void a_guest_in_slow_start_never_waits_for_the_window(void **state)
{
    static struct upload upload;

    (void)state;
    for (int timestamps = 0; timestamps < 2; timestamps++) {
        upload_open(&upload, 50000, timestamps);
        while (upload.cwnd_bytes < 1 << 20) {
            upload_step(&upload, 50000 / STEP_US);
            assert_int_equal(upload.waited_steps, 0);
            assert_in_range(upload.step, 0, 200);
        }
        for (int i = 0; i < 100; i++)
            upload_step(&upload, 50000 / STEP_US);
        assert_in_range(upload.window_bytes, (4 << 20) - 128, 4 << 20);
        world_close(&upload.world);
    }
}

/* ... also when the path became longer since the handshake: data segments tell. */
static void the_window_follows_a_path_that_became_longer(void **state)
{
    static struct upload upload;

    (void)state;
    upload_open(&upload, 5000, true);
    for (int i = 0; i < 1000; i++)
        upload_step(&upload, 200000 / STEP_US);
    assert_in_range(upload.window_bytes, (4 << 20) - 128, 4 << 20);
    world_close(&upload.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_are_delayed_but_not_for_long),
        cmocka_unit_test(a_batch_has_one_acknowledgment),
        cmocka_unit_test(out_of_order_data_waits_for_the_hole),
        cmocka_unit_test(sack_names_what_is_kept),
        cmocka_unit_test(duplicates_are_reported),
        cmocka_unit_test(overlaps_are_trimmed),
        cmocka_unit_test(an_old_segment_is_acknowledged_again),
        cmocka_unit_test(empty_unacceptable_segments_are_answered_sparingly),
        cmocka_unit_test(data_beyond_the_window_is_cut),
        cmocka_unit_test(a_full_kernel_closes_the_window),
        cmocka_unit_test(a_full_pool_takes_back_what_was_in_order),
        cmocka_unit_test(a_probe_of_our_closed_window_is_answered),
        cmocka_unit_test(a_batch_longer_than_its_list_stays_in_order),
        cmocka_unit_test(a_flow_may_end_in_the_middle_of_a_batch),
        cmocka_unit_test(a_batch_of_many_flows_mixes_no_payload),
        cmocka_unit_test(tiny_segments_in_reverse),
        cmocka_unit_test(urgent_data_is_data),
        cmocka_unit_test(a_reset_must_be_exact),
        cmocka_unit_test(a_syn_on_an_open_flow_is_challenged),
        cmocka_unit_test(challenges_are_limited),
        cmocka_unit_test(a_future_ack_changes_nothing),
        cmocka_unit_test(data_without_ack_is_dropped),
        cmocka_unit_test(paws_refuses_old_timestamps),
        cmocka_unit_test(the_echo_is_of_the_oldest_unacknowledged),
        cmocka_unit_test(the_window_is_scaled),
        cmocka_unit_test(a_guest_in_slow_start_never_waits_for_the_window),
        cmocka_unit_test(the_window_follows_a_path_that_became_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
