/* tcp_send_test.c - from the host to the guest, and the end of a flow (spec/l2-proxy.md §6.2;
 * RFC 9293, 5681, 6298, 6582, 6675, 1122). */
#include "tcp_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPEN      "guest S 0+0 mss 1000", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1"
#define OPEN_SACK "guest S 0+0 mss 1000 sackok", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1"

/* Segments of the MSS, PSH where the buffer is empty; consumed only once acknowledged. */
static void data_is_segmented_and_kept_until_acknowledged(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 2500", "nat . 1+1000", "nat . 1001+1000", "nat P. 2001+500",
               "silence", "host consumed 0", "guest . 1+0 ack 1001", "host consumed 1000",
               "guest . 1+0 ack 2501", "host consumed 2500", "+10s", "silence");
}

/* §6.2: respect the guest window. RFC 9293 §3.8.6.2.1: no silly little segments. */
static void the_guest_window_is_respected(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1 win 2500",
               "remote sends 6000", "nat . 1+1000", "nat . 1001+1000", "silence",
               "guest . 1+0 ack 2001 win 500", "nat . 2001+500", "silence",
               "guest . 1+0 ack 2501 win 2500", "nat . 2501+1000", "nat . 3501+1000");
}

/* Quirks §4, passt ffaf1d0 and RootlessRelay: an ACK that only updates the window counts. */
static void a_pure_window_update_resumes_sending(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1 win 1000",
               "remote sends 2000", "nat . 1+1000", "guest . 1+0 ack 1001 win 0", "silence",
               "guest . 1+0 ack 1001 win 1000", "nat . 1001+1000", "metric probes 0");
}

/* RFC 9293 §3.8.6.1: probe a zero window after the RTO, then ever more rarely, without end as long
 * as the guest answers; a lost window update does no harm. */
static void a_zero_window_is_probed(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1 win 0",
               "remote sends 2000", "silence", "+199ms", "silence", "+1ms", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+399ms", "silence", "+1ms", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+800ms", "nat . 1+1", "guest . 1+0 ack 2 win 3000",
               "nat . 2+1000", "nat P. 1002+999", "metric probes 3");
}

/* ... and for hours. */
static void probing_never_ends_while_the_guest_answers(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1 win 0",
               "remote sends 20", "+200ms", "nat . 1+1", "guest . 1+0 ack 1 win 0", "+1s",
               "nat . 1+1", "guest . 1+0 ack 1 win 0", "+1s", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+2s", "nat . 1+1", "guest . 1+0 ack 1 win 0", "+4s",
               "nat . 1+1", "guest . 1+0 ack 1 win 0", "+8s", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+13s", "nat . 1+1", "guest . 1+0 ack 1 win 0", "+26s",
               "nat . 1+1", "guest . 1+0 ack 1 win 0", "+52s", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+60s", "nat . 1+1", "guest . 1+0 ack 1 win 0", "+60s",
               "nat . 1+1", "guest . 1+0 ack 1 win 0", "+60s", "nat . 1+1",
               "guest . 1+0 ack 1 win 0", "+60s", "nat . 1+1", "guest . 1+0 ack 1 win 0", "+60s",
               "nat . 1+1", "guest . 1+0 ack 1 win 1000", "nat P. 1+20");
}

/* §6.2: retransmit. RFC 6298 §2.4, §5.5: the RTO is at least 200 ms here, and doubles. */
static void lost_data_is_sent_again(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 500", "nat P. 1+500", "+199ms", "silence", "+1ms",
               "nat P. 1+500", "+399ms", "silence", "+1ms", "nat P. 1+500", "+800ms",
               "nat P. 1+500", "guest . 1+0 ack 501", "+100s", "silence", "host consumed 500",
               "metric retransmits 6");
}

/* RFC 9293 §3.8.3: a guest that is gone is given up, with RST on both sides. */
static void a_dead_guest_is_given_up(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 500", "nat P. 1+500", "queue 0", "queue 4096", "+600s",
               "host reset", "metric tcp_conns_active 0");
}

/* RFC 5681 §3.2: three duplicate ACKs; RFC 6582: a partial ACK points at the next hole. */
static void three_duplicates_retransmit_at_once(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 6000", "nat . 1+1000", "nat . 1001+1000", "nat . 2001+1000",
               "nat . 3001+1000", "nat . 4001+1000", "nat P. 5001+1000", "guest . 1+0 ack 1",
               "guest . 1+0 ack 1", "silence", "guest . 1+0 ack 1", "nat . 1+1000", "silence",
               "guest . 1+0 ack 2001", "nat . 2001+1000", "silence", "guest . 1+0 ack 6001",
               "silence", "host consumed 6000", "metric retransmits 2");
}

/* RFC 6675 §5: every hole below enough SACKed data is filled in one go, and nothing else. */
static void sack_fills_the_holes(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 9000", "nat . 1+1000", "nat . 1001+1000", "nat . 2001+1000",
               "nat . 3001+1000", "nat . 4001+1000", "nat . 5001+1000", "nat . 6001+1000",
               "nat . 7001+1000", "nat P. 8001+1000", "guest . 1+0 ack 1 sack 1001-2001",
               "guest . 1+0 ack 1 sack 1001-2001 3001-4001", "silence",
               "guest . 1+0 ack 1 sack 1001-2001 3001-4001 5001-8001", "nat . 1+1000",
               "nat . 2001+1000", "nat . 4001+1000", "silence", "guest . 1+0 ack 8001", "silence",
               "guest . 1+0 ack 9001", "host consumed 9000", "metric retransmits 3");
}

/* RFC 2018 §4: a block is about data in flight. One of half the sequence space, whose ends compare
 * as if it were, is none. */
static void a_sack_block_of_2_gigabytes_is_nonsense(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 3000", "nat . 1+1000", "nat . 1001+1000",
               "nat P. 2001+1000", "guest . 1+0 ack 1 sack 100001-2147583649", "silence",
               "guest . 1+0 ack 3001", "host consumed 3000", "metric retransmits 0");
}

/* A retransmission may be lost, too. Data sent after it tells, long before the RTO does: then
 * every hole is filled once more (RFC 8985 §6.2 finds it by time). */
static void a_lost_retransmission_is_sent_again(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 6000", "nat . 1+1000", "nat . 1001+1000", "nat . 2001+1000",
               "nat . 3001+1000", "nat . 4001+1000", "nat P. 5001+1000",
               "guest . 1+0 ack 1 sack 3001-6001 1001-2001", "nat . 1+1000", "nat . 2001+1000",
               "silence", "remote sends 4000", "nat . 6001+1000", "nat . 7001+1000",
               "nat . 8001+1000", "nat P. 9001+1000", "guest . 1+0 ack 1 sack 3001-7001 1001-2001",
               "guest . 1+0 ack 1 sack 3001-8001 1001-2001", "silence",
               "guest . 1+0 ack 1 sack 3001-9001 1001-2001", "nat . 1+1000", "nat . 2001+1000",
               "guest . 1+0 ack 1 sack 3001-10001 1001-2001", "silence", "guest . 1+0 ack 10001",
               "host consumed 10000", "metric retransmits 4");
}

/* ... but what was sent before SND.UNA moved says nothing about what is repaired since. */
static void progress_makes_a_pass_wait(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 6000", "nat . 1+1000", "nat . 1001+1000", "nat . 2001+1000",
               "nat . 3001+1000", "nat . 4001+1000", "nat P. 5001+1000",
               "guest . 1+0 ack 1 sack 3001-6001 1001-2001", "nat . 1+1000", "nat . 2001+1000",
               "remote sends 4000", "nat . 6001+1000", "nat . 7001+1000", "nat . 8001+1000",
               "nat P. 9001+1000", "guest . 1+0 ack 2001 sack 3001-6001",
               "guest . 1+0 ack 2001 sack 3001-10001", "silence", "guest . 1+0 ack 10001",
               "metric retransmits 2");
}

/* RFC 2883 §5.1: a retransmission that came twice was not needed: what recovery did to the windows
 * is undone, and three duplicates are no loss any more on a path that changes the order. Here a
 * segment was overtaken by three; without the undo 32 segments would follow, not 60. */
static void a_needless_recovery_is_undone(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 10000", "skip 10", "guest . 1+0 ack 1 sack 1001-4001",
               "nat . 1+1000", "guest . 1+0 ack 10001", "guest . 1+0 ack 10001 sack 1-1001",
               "remote sends 60000", "skip 60", "silence", "guest . 1+0 ack 10001 sack 11001-14001",
               "silence", "guest . 1+0 ack 10001 sack 11001-17001", "nat . 10001+1000",
               "metric retransmits 2");
}

/* ... but a recovery of which only a part was needless stands, and so does one when the path
 * doubles segments by itself. */
static void a_needed_recovery_stands(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 10000", "skip 10",
               "guest . 1+0 ack 1 sack 5001-9001 1001-2001", "nat . 1+1000", "skip 3",
               "guest . 1+0 ack 10001", "guest . 1+0 ack 10001 sack 1-1001", "remote sends 60000",
               "skip 32", "silence");
    TCP_SCRIPT(OPEN_SACK, "remote sends 10000", "skip 10", "guest . 1+0 ack 10001",
               "guest . 1+0 ack 10001 sack 1-1001", "remote sends 10000", "skip 10",
               "guest . 1+0 ack 10001 sack 11001-14001", "nat . 10001+1000");
}

/* RFC 8985 §7: a lost tail is found by sending its last segment again, before the RTO. */
static void a_lost_tail_is_probed(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000 sackok", "connects", "nat S. 0+0", "+5ms", "guest . 1+0 ack 1",
               "remote sends 4000", "nat . 1+1000", "nat . 1001+1000", "nat . 2001+1000",
               "nat P. 3001+1000", "+19ms", "silence", "+1ms", "nat P. 3001+1000", "silence",
               "guest . 1+0 ack 1 sack 3001-4001", "nat . 1+1000", "nat . 1001+1000",
               "nat . 2001+1000", "guest . 1+0 ack 4001", "+10s", "silence",
               "metric retransmits 4");
}

/* Blocks beyond what was sent, or turned around, are nonsense. */
static void senseless_sacks_are_ignored(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 3000", "nat . 1+1000", "nat . 1001+1000",
               "nat P. 2001+1000", "guest . 1+0 ack 1 sack 2001-900000",
               "guest . 1+0 ack 1 sack 2001-1001", "silence", "guest . 1+0 ack 3001",
               "host consumed 3000");
}

/* Quirks §4, passt 7c82ea4: a FIN without data is not fast-retransmitted. */
static void a_lone_fin_is_not_fast_retransmitted(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote closes", "nat F. 1+0 ack 1", "guest . 1+0 ack 1", "guest . 1+0 ack 1",
               "guest . 1+0 ack 1", "guest . 1+0 ack 1", "silence", "+200ms", "nat F. 1+0 ack 1");
}

/* tcp.h: the queue is the limit: resume when it has room, in turn. */
static void a_full_queue_pauses_and_resumes(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "queue 2", "remote sends 5000", "nat . 1+1000", "nat . 1001+1000", "silence",
               "guest P. 1+10 ack 1001", "silence", "host got 10", "queue 1",
               "nat . 2001+1000 ack 11", "queue 100", "nat . 3001+1000", "nat P. 4001+1000",
               "silence");
}

/* ---- several flows ---- */

enum { FLOWS = 3, FLOW_PORT = 2000, MSS = 1000 };

static struct world_segment flow_segment(uint32_t flow, uint8_t flags)
{
    struct world_segment segment = {.guest_port = (uint16_t)(FLOW_PORT + flow),
                                    .remote_port = (uint16_t)(80 + flow),
                                    .flags = flags,
                                    .window = 65535};

    memcpy(segment.remote, world_server, sizeof segment.remote);
    return segment;
}

/* Three flows, each with its own remote port, so that world_socket_to() tells them apart. */
static void open_flows(struct nat_world *world)
{
    static const uint8_t mss_1000[4] = {2, 4, MSS >> 8, MSS & 255};

    tcp_world_open(world, 0, NULL);
    for (uint32_t flow = 0; flow < FLOWS; flow++) {
        struct world_segment segment = flow_segment(flow, TCP_SYN), answer;

        memcpy(segment.options, mss_1000, sizeof mss_1000);
        segment.options_bytes = sizeof mss_1000;
        world_send_tcp(world, &segment);
        world_connected(world, world_socket_to(world, world_server, segment.remote_port));
        assert_true(world_next_tcp(world, &answer));
        segment = flow_segment(flow, TCP_ACK);
        segment.seq = 1;
        segment.ack = answer.seq + 1;
        world_send_tcp(world, &segment);
    }
    world_expect_nothing(world);
}

/* Issue "the NAT": one flow can't starve another (round-robin with a quantum): three that have more
 * to send than the queue takes share it evenly but for a quantum, whoever
 * was there first. */
static void flows_share_the_queue(void **state)
{
    static const uint8_t data[60 * MSS];
    struct nat_world *world = calloc(1, sizeof *world);
    uint32_t frames[FLOWS] = {0};
    struct world_segment got;

    (void)state;
    open_flows(world);
    world->frame_room = 0;
    for (uint32_t flow = 0; flow < FLOWS; flow++)
        world_remote_sends(world, world_socket_to(world, world_server, (uint16_t)(80 + flow)), data,
                           sizeof data);
    world_queue(world, 50 * FLOWS);
    while (world_next_tcp(world, &got)) {
        uint32_t least = UINT32_MAX;

        assert_in_range(got.guest_port, FLOW_PORT, FLOW_PORT + FLOWS - 1);
        frames[got.guest_port - FLOW_PORT]++;
        for (uint32_t flow = 0; flow < FLOWS; flow++)
            least = frames[flow] < least ? frames[flow] : least;
        assert_in_range(frames[got.guest_port - FLOW_PORT] - least, 0, 32);
    }
    assert_int_equal(frames[0] + frames[1] + frames[2], 50 * FLOWS);
    world_close(world);
    free(world);
}

/* ... and the other way: a remote that takes nothing holds up its own flow only. */
static void a_stalled_remote_holds_up_no_other_flow(void **state)
{
    static const uint8_t data[MSS];
    struct nat_world *world = calloc(1, sizeof *world);
    struct world_segment got;
    uint32_t acked[FLOWS] = {0};

    (void)state;
    open_flows(world);
    world_socket_to(world, world_server, 81)->send_room = 0;
    for (uint32_t i = 0; i < 40; i++)
        for (uint32_t flow = 0; flow < FLOWS; flow++) {
            struct world_segment segment = flow_segment(flow, TCP_ACK);

            segment.seq = 1 + i * MSS;
            segment.ack = 1;
            segment.payload = data;
            segment.payload_bytes = MSS;
            world_batch_tcp(world, &segment);
        }
    world_flush(world);
    while (world_next_tcp(world, &got))
        acked[got.guest_port - FLOW_PORT] = got.ack;
    for (uint32_t flow = 0; flow < FLOWS; flow++) {
        const struct world_socket *socket =
            world_socket_to(world, world_server, (uint16_t)(80 + flow));

        assert_int_equal(acked[flow], 1 + 40 * MSS); /* the stalled one's is kept here */
        assert_int_equal(socket->out.bytes, flow == 1 ? 0 : 40 * MSS);
    }
    world_close(world);
    free(world);
}

/* ---- the end ---- */

/* §6.2, Guest FIN: half-close: the host is shut for writing, its data still flows. */
static void the_guest_closes_first(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest FP. 1+10 ack 1", "host got 10", "host shut", "nat . 1+0 ack 12",
               "remote sends 100", "nat P. 1+100 ack 12", "guest . 12+0 ack 101", "remote closes",
               "nat F. 101+0 ack 12", "guest . 12+0 ack 102", "silence", "host closed",
               "metric tcp_conns_active 0");
}

/* §6.2, Host EOF: FIN to the guest, which may go on sending; then TIME-WAIT. */
static void the_host_closes_first(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 100", "nat P. 1+100", "remote closes", "nat F. 101+0",
               "guest . 1+0 ack 102", "guest P. 1+50 ack 102", "+20ms", "nat . 102+0 ack 51",
               "host got 50", "host waiting", "guest F. 51+0 ack 102", "nat . 102+0 ack 52",
               "host closed", "metric tcp_conns_active 0", "guest F. 51+0 ack 102",
               "nat . 102+0 ack 52", "+60s", "silence", "guest F. 51+0 ack 102", "nat R 102+0");
}

/* RFC 9293 §3.6 case 3: both close at once. */
static void both_close_at_once(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote closes", "nat F. 1+0 ack 1", "guest F. 1+0 ack 1", "host shut",
               "nat . 2+0 ack 2", "guest . 2+0 ack 2", "host closed", "metric tcp_conns_active 0",
               "guest F. 1+0 ack 2", "nat . 2+0 ack 2", "+60s", "guest F. 1+0 ack 2", "nat R 2+0");
}

/* The FIN rides on the last data when the remote's end is known in time. */
static void the_fin_rides_on_the_last_data(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "remote sends 1500",
               "remote closes", "silence", "guest . 1+0 ack 1", "nat . 1+1000", "nat FP. 1001+500",
               "guest F. 1+0 ack 1502", "nat . 1502+0 ack 2", "host closed");
}

/* §6.2: FIN takes effect only in sequence. v86: a late FIN. */
static void an_early_fin_waits_for_its_data(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest F. 101+50 ack 1", "nat . 1+0 ack 1", "host waiting", "host got 0",
               "guest . 1+100 ack 1", "nat . 1+0 ack 152", "host got 150", "host shut");
}

/* Never drop accepted data: the host is shut only behind what waits for the kernel. */
static void the_shutdown_waits_for_the_kernel(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "host room 10", "guest FP. 1+100 ack 1", "nat . 1+0 ack 102", "host got 10",
               "host waiting", "host room 1000", "host got 100", "host shut");
}

/* §6.2, Host error: RST. */
static void a_broken_host_socket_resets_the_guest(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P. 1+10 ack 1", "remote breaks", "nat R. 1+0 ack 11", "host reset",
               "guest . 11+0 ack 1", "nat R 1+0");
    TCP_SCRIPT("guest S 0+0", "connects", "nat S. 0+0", "remote breaks", "nat R. 1+0 ack 1",
               "host reset");
}

/* RFC 9293 §3.6.1: a new SYN beyond the old sequence numbers ends TIME-WAIT. */
static void time_wait_yields_to_a_newer_syn(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote closes", "nat F. 1+0", "guest F. 1+0 ack 2", "nat . 2+0 ack 2",
               "host closed", "guest S 1+0", "nat . 2+0 ack 2", "host opens 1", "guest S 100000+0",
               "host opens 2", "metric tcp_conns_active 1");
}

static void one_flow(struct nat_config *config)
{
    config->tcp_max = 1;
}

static void six_flows(struct nat_config *config)
{
    config->tcp_max = 6;
}

/* §6.2: a bound on time-wait state, in time: it is over after 2 MSL, counted anew from each late
 * FIN (RFC 9293 §3.10.7.4), and holds neither a host socket nor a place in the metric. */
static void time_wait_is_bounded_in_time(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote closes", "nat F. 1+0", "guest F. 1+0 ack 2", "nat . 2+0 ack 2",
               "host closed", "metric tcp_conns_active 0", "+59s", "guest F. 1+0 ack 2",
               "nat . 2+0 ack 2", "+59s", "guest F. 1+0 ack 2", "nat . 2+0 ack 2", "+60s",
               "guest F. 1+0 ack 2", "nat R 2+0");
}

/* ... and in number: it never keeps a new connection out, however many came before. */
static void time_wait_never_keeps_a_new_flow_out(void **state)
{
    static const char *const life[] = {"guest S 0+0 mss 1000 port %d",
                                       "connects",
                                       "nat S. 0+0 ack 1 port %d",
                                       "guest . 1+0 ack 1 port %d",
                                       "remote closes",
                                       "nat F. 1+0 port %d",
                                       "guest F. 1+0 ack 2 port %d",
                                       "nat . 2+0 ack 2 port %d"};
    enum { LIVES = 30, LINES = sizeof life / sizeof life[0] };
    static char lines[LIVES * LINES][48];
    const char *script[LIVES * LINES + 1] = {NULL};

    (void)state;
    for (int i = 0; i < LIVES * LINES; i++) {
        const char *form = life[i % LINES];
        const char *place = strstr(form, "%d");

        snprintf(lines[i], sizeof lines[i], "%.*s", place != NULL ? (int)(place - form) : 40, form);
        if (place != NULL)
            snprintf(lines[i] + (place - form), 8, "%d", 1000 + i / LINES);
        script[i] = lines[i];
    }
    tcp_script_with(six_flows, script);
}

/* §6.2: a bound on time-wait state: a full table takes the oldest. */
static void a_full_table_takes_time_wait_flows(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(one_flow, OPEN, "remote closes", "nat F. 1+0", "guest F. 1+0 ack 2",
                    "nat . 2+0 ack 2", "guest S 0+0 port 7", "host opens 2", "silence");
}

/* RFC 1122 §4.2.3.6: a quiet guest is asked at SND.NXT - 1; who answers stays, who does not goes.
 */
static void a_quiet_guest_is_asked(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "+599s", "silence", "+1s", "nat . 0+0 ack 1", "guest . 1+0 ack 1", "+599s",
               "silence", "+1s", "nat . 0+0 ack 1", "+30s", "nat . 0+0 ack 1", "+30s", "nat . 0+0",
               "+30s", "nat . 0+0", "+30s", "nat . 0+0", "+30s", "nat . 0+0", "+30s", "nat . 0+0",
               "+30s", "nat . 0+0", "+30s", "nat R. 1+0", "host reset",
               "metric tcp_conns_active 0");
}

/* ... after one minute when either side has closed (a guest that forgot its half). */
static void a_half_closed_guest_is_asked_sooner(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote closes", "nat F. 1+0", "guest . 1+0 ack 2", "+59s", "silence", "+1s",
               "nat . 1+0 ack 1", "guest R 1+0", "host reset", "metric tcp_conns_active 0");
}

static void never_ask(struct nat_config *config)
{
    config->tcp_keepalive_ms = 0;
}

static void ask_soon(struct nat_config *config)
{
    config->tcp_keepalive_ms = 5000;
}

/* §6.2 [US]: keepalive, configurable; 0 leaves quiet flows alone, half a connection never. */
static void keepalive_is_configurable(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(ask_soon, OPEN, "+4s", "silence", "+1s", "nat . 0+0 ack 1");
    TCP_SCRIPT_WITH(ask_soon, OPEN, "remote closes", "nat F. 1+0", "guest . 1+0 ack 2", "+5s",
                    "nat . 1+0 ack 1");
    TCP_SCRIPT_WITH(never_ask, OPEN, "+86400s", "silence", "host waiting", "remote closes",
                    "nat F. 1+0", "guest . 1+0 ack 2", "+59s", "silence", "+1s", "nat . 1+0 ack 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_is_segmented_and_kept_until_acknowledged),
        cmocka_unit_test(the_guest_window_is_respected),
        cmocka_unit_test(a_pure_window_update_resumes_sending),
        cmocka_unit_test(a_zero_window_is_probed),
        cmocka_unit_test(probing_never_ends_while_the_guest_answers),
        cmocka_unit_test(lost_data_is_sent_again),
        cmocka_unit_test(a_dead_guest_is_given_up),
        cmocka_unit_test(three_duplicates_retransmit_at_once),
        cmocka_unit_test(sack_fills_the_holes),
        cmocka_unit_test(a_sack_block_of_2_gigabytes_is_nonsense),
        cmocka_unit_test(a_lost_retransmission_is_sent_again),
        cmocka_unit_test(progress_makes_a_pass_wait),
        cmocka_unit_test(a_needless_recovery_is_undone),
        cmocka_unit_test(a_needed_recovery_stands),
        cmocka_unit_test(a_lost_tail_is_probed),
        cmocka_unit_test(senseless_sacks_are_ignored),
        cmocka_unit_test(a_lone_fin_is_not_fast_retransmitted),
        cmocka_unit_test(a_full_queue_pauses_and_resumes),
        cmocka_unit_test(flows_share_the_queue),
        cmocka_unit_test(a_stalled_remote_holds_up_no_other_flow),
        cmocka_unit_test(the_guest_closes_first),
        cmocka_unit_test(the_host_closes_first),
        cmocka_unit_test(both_close_at_once),
        cmocka_unit_test(the_fin_rides_on_the_last_data),
        cmocka_unit_test(an_early_fin_waits_for_its_data),
        cmocka_unit_test(the_shutdown_waits_for_the_kernel),
        cmocka_unit_test(a_broken_host_socket_resets_the_guest),
        cmocka_unit_test(time_wait_yields_to_a_newer_syn),
        cmocka_unit_test(time_wait_is_bounded_in_time),
        cmocka_unit_test(time_wait_never_keeps_a_new_flow_out),
        cmocka_unit_test(a_full_table_takes_time_wait_flows),
        cmocka_unit_test(a_quiet_guest_is_asked),
        cmocka_unit_test(a_half_closed_guest_is_asked_sooner),
        cmocka_unit_test(keepalive_is_configurable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
