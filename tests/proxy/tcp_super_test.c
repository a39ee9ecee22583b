/* tcp_super_test.c - super-frames between the guest and the NAT's TCP (spec/l2-extensions.md §6).
 */
#include "tcp_script.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OPEN "super 65529", "guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1"
#define OPEN_SACK                                                                                  \
    "super 65529", "guest S 0+0 mss 1000 sackok", "connects", "nat S. 0+0", "guest . 1+0 ack 1"

/* "the NAT sends as much as the guest's window and 64 KiB allow": whole segments of it. */
static void a_burst_is_one_super_frame(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 100000", "nat . 1+65000 gso 1000", "silence", "host consumed 0",
               "guest . 1+0 ack 65001", "host consumed 65000", "nat P. 65001+35000 gso 1000",
               "guest . 1+0 ack 100001", "host consumed 100000", "+10s", "silence");
}

/* What fits a segment goes as a frame, with checksums that count. */
static void a_lone_segment_is_a_frame(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 1000", "nat P. 1+1000", "remote sends 500", "nat P. 1001+500",
               "guest . 1+0 ack 1501", "remote sends 1001", "nat P. 1501+1001 gso 1000",
               "guest . 1+0 ack 2502", "remote closes", "nat F. 2502+0");
}

/* Who did not announce SUPER gets none; whoever takes shorter ones only, those. */
static void the_clients_limit_holds(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 2000", "nat . 1+1000", "nat P. 1001+1000");
    TCP_SCRIPT("super 3200", "guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 5000", "nat . 1+3000 gso 1000", "nat P. 3001+2000 gso 1000");
    TCP_SCRIPT("super 1100", "guest S 0+0 mss 1000", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 2000", "nat . 1+1000", "nat P. 1001+1000");
}

/* A card that must cut one for its guest has room for 256 frames (nic/virtio_net.h, nic/e1000.h)
 * and loses longer ones whole: a guest with a small MTU would live on time-outs. */
static void no_more_segments_than_a_card_cuts(void **state)
{
    (void)state;
    TCP_SCRIPT("super 65529", "guest S 0+0 mss 100", "connects", "nat S. 0+0", "guest . 1+0 ack 1",
               "remote sends 30000", "nat . 1+25600 gso 100", "guest . 1+0 ack 25601",
               "host consumed 25600", "nat P. 25601+4400 gso 100");
}

/* RFC 9293 §3.8.6.2.1: the guest's window counts as for frames, and so does its MSS. */
static void the_guest_window_is_respected(void **state)
{
    (void)state;
    TCP_SCRIPT("super 65529", "guest S 0+0 mss 1000", "connects", "nat S. 0+0",
               "guest . 1+0 ack 1 win 4500", "remote sends 9000", "nat . 1+4000 gso 1000",
               "silence", "guest . 1+0 ack 4001 win 1500", "nat . 4001+1000",
               "guest . 1+0 ack 5001 win 0", "silence", "guest . 1+0 ack 5001 win 8000",
               "nat P. 5001+4000 gso 1000");
}

/* The FIN rides on the last segment of it (§6: whoever cuts keeps it there). */
static void fin_and_push_ride_on_a_super_frame(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "queue 0", "remote sends 2500", "remote closes", "queue 100",
               "nat PF. 1+2500 gso 1000", "guest F. 1+0 ack 2502", "host shut", "host closed");
}

/* A card that cut it may have dropped the rest: the guest acknowledges a middle. */
static void the_guest_may_acknowledge_a_middle(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 6000", "nat P. 1+6000 gso 1000", "guest . 1+0 ack 2501",
               "host consumed 2500", "silence", "+200ms", "nat P. 2501+3500 gso 1000",
               "guest . 1+0 ack 6001", "host consumed 6000", "metric retransmits 5");
}

/* RFC 6675: only the holes go again, each in one piece: as a frame or as a super-frame. */
static void sack_fills_holes_inside_a_super_frame(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "remote sends 12000", "nat P. 1+12000 gso 1000",
               "guest . 1+0 ack 1001 sack 2001-4001",
               "guest . 1+0 ack 1001 sack 2001-4001 7001-12001", "nat . 1001+1000",
               "nat . 4001+3000 gso 1000", "silence", "guest . 1+0 ack 12001",
               "host consumed 12000", "metric retransmits 4");
}

/* RFC 5681: duplicates come per segment of a super-frame that was cut. */
static void three_duplicates_repair_a_super_frame(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "remote sends 6000", "nat P. 1+6000 gso 1000", "guest . 1+0 ack 1",
               "guest . 1+0 ack 1", "silence", "guest . 1+0 ack 1", "nat . 1+1000", "silence",
               "guest . 1+0 ack 2001", "nat . 2001+1000", "guest . 1+0 ack 6001",
               "host consumed 6000", "metric retransmits 2");
}

/* The outbound queue is full: nothing is lost, what came since goes along. */
static void a_full_queue_makes_it_wait(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "queue 0", "remote sends 3000", "silence", "remote sends 3000", "queue 1",
               "nat P. 1+6000 gso 1000", "guest . 1+0 ack 6001", "host consumed 6000");
}

/* l2-extensions.md §1, §4: an MSS that shrank is the gso_size from then on. */
static void a_later_limit_makes_the_segments_shorter(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "limit 600", "super 600", "remote sends 1000", "nat . 1+546",
               "nat P. 547+454");
    TCP_SCRIPT(OPEN, "limit 600", "remote sends 1000", "nat P. 1+1000 gso 546");
}

/* From the guest: taken whole, whatever its checksums say. */
static void a_super_frame_of_the_guest_is_taken_as_it_is(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "guest P. 1+50000 ack 1 gso 1460", "nat . 1+0 ack 50001", "host got 50000",
               "guest PF. 50001+3000 ack 1 gso 1460", "nat . 1+0 ack 53002", "host got 53000",
               "host shut");
}

/* The window is the NAT's to keep; what is beyond it is cut off, and comes again. */
static void a_super_frame_beyond_the_window_is_trimmed(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN, "host room 0", "guest . 1+60000 ack 1 gso 1460", "nat . 1+0 ack 60001",
               "guest . 60001+20000 ack 1 gso 1460", "nat . 1+0 ack 65536 win 0",
               "host room 100000", "nat . 1+0 ack 65536", "host got 65535");
}

/* Out of order, overlapping, doubled. */
static void super_frames_of_the_guest_may_overlap(void **state)
{
    (void)state;
    TCP_SCRIPT(OPEN_SACK, "guest . 20001+20000 ack 1 gso 1000", "nat . 1+0 ack 1 sack 20001-40001",
               "guest . 1+30000 ack 1 gso 1000", "nat . 1+0 ack 40001 nooptions", "host got 40000",
               "guest . 1+30000 ack 1 gso 1000", "nat . 1+0 ack 40001", "host got 40000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_one_super_frame),
        cmocka_unit_test(a_lone_segment_is_a_frame),
        cmocka_unit_test(the_clients_limit_holds),
        cmocka_unit_test(no_more_segments_than_a_card_cuts),
        cmocka_unit_test(the_guest_window_is_respected),
        cmocka_unit_test(fin_and_push_ride_on_a_super_frame),
        cmocka_unit_test(the_guest_may_acknowledge_a_middle),
        cmocka_unit_test(sack_fills_holes_inside_a_super_frame),
        cmocka_unit_test(three_duplicates_repair_a_super_frame),
        cmocka_unit_test(a_full_queue_makes_it_wait),
        cmocka_unit_test(a_later_limit_makes_the_segments_shorter),
        cmocka_unit_test(a_super_frame_of_the_guest_is_taken_as_it_is),
        cmocka_unit_test(a_super_frame_beyond_the_window_is_trimmed),
        cmocka_unit_test(super_frames_of_the_guest_may_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
