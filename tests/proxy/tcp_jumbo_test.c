/* tcp_jumbo_test.c - TCP on a LAN of long frames, and with clients that take shorter ones
 * (spec/l2-extensions.md §1, §4). */
#include "tcp_script.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void lan_of_9000(struct nat_config *config)
{
    config->lan_mtu = 9000;
}

static void lan_of_65520(struct nat_config *config)
{
    config->lan_mtu = 65520;
}

/* §4: jumbo frames need tag 1 above 2048 on both sides. */
static void a_client_of_base_frames_has_a_lan_of_1500(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_9000, "guest S 0+0 mss 8960", "connects", "nat S. 0+0 ack 1 mss 1460",
                    "guest . 1+0 ack 1", "remote sends 3000", "nat . 1+1460", "nat . 1461+1460",
                    "nat P. 2921+80");
    TCP_SCRIPT_WITH(lan_of_9000, "limit 2048", "guest S 0+0 mss 8960", "connects",
                    "nat S. 0+0 ack 1 mss 1460");
}

static void a_client_of_long_frames_gets_them(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_9000, "limit 65550", "guest S 0+0 mss 8960", "connects",
                    "nat S. 0+0 ack 1 mss 8960", "guest . 1+0 ack 1", "remote sends 20000",
                    "nat . 1+8960", "nat . 8961+8960", "nat P. 17921+2080");
}

/* §1: min(own limit, peer's tag 1). */
static void a_client_in_between_gets_what_it_takes(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_9000, "limit 4054", "guest S 0+0 mss 8960", "connects",
                    "nat S. 0+0 ack 1 mss 4000", "guest . 1+0 ack 1", "remote sends 5000",
                    "nat . 1+4000", "nat P. 4001+1000");
}

/* The guest's own MSS counts, too: its card may not take what the LAN could carry. */
static void the_guests_mss_counts_on_a_jumbo_lan(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_65520, "limit 65550", "guest S 0+0 mss 1460", "connects",
                    "nat S. 0+0 ack 1 mss 65480", "guest . 1+0 ack 1", "remote sends 2000",
                    "nat . 1+1460", "nat P. 1461+540");
}

/* §1: a limit binds from the moment it is received: flows that are there, what was sent already,
 * and segments with a timestamp. */
static void a_later_limit_binds_flows_that_are_there(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1460", "connects", "nat S. 0+0 ack 1 mss 1460", "guest . 1+0 ack 1",
               "remote sends 1460", "nat P. 1+1460", "limit 600", "+200ms", "nat . 1+546",
               "nat . 547+546", "nat P. 1093+368", "guest . 1+0 ack 1461", "remote sends 600",
               "nat . 1461+546", "nat P. 2007+54");
    TCP_SCRIPT("guest S 0+0 mss 1460 sackok ts 7 0", "connects", "nat S. 0+0 ack 1",
               "guest . 1+0 ack 1 ts 8 0", "limit 600", "remote sends 600", "nat . 1+534",
               "nat P. 535+66");
    TCP_SCRIPT_WITH(lan_of_9000, "limit 65550", "guest S 0+0 mss 8960", "connects", "limit 614",
                    "nat S. 0+0 ack 1", "guest . 1+0 ack 1", "remote sends 600", "nat . 1+560",
                    "nat P. 561+40");
}

/* A limit that no segment fits into (met by fuzzing: MSS and MTU have lower bounds of their own).
 * Nothing is sent above it, and the flow waits. */
static void a_limit_below_any_segment_sends_nothing(void **state)
{
    (void)state;
    TCP_SCRIPT("guest S 0+0 mss 1460", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1",
               "limit 60", "remote sends 3000", "silence", "+10s", "silence");
    TCP_SCRIPT("guest S 0+0 mss 1460", "connects", "nat S. 0+0 ack 1", "guest . 1+0 ack 1",
               "limit 4", "remote sends 3000", "guest . 1+10 ack 1", "host got 10", "+10s",
               "silence");
}

/* RFC 9293 §3.8.6.3 asks for an acknowledgment every second segment; a guest whose window is one
 * segment long must not wait for the timer. */
static void a_long_segment_is_acknowledged_at_once(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_65520, "limit 65550", "guest S 0+0 mss 65480", "connects", "nat S. 0+0",
                    "guest . 1+0 ack 1", "guest . 1+65480 ack 1", "nat . 1+0 ack 65481",
                    "host got 65480", "guest . 65481+10 ack 1", "silence");
}

/* A window that opens again is told in steps the guest can use: half of it, not a whole segment. */
static void a_window_shorter_than_a_segment_reopens(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_65520, "limit 65550", "guest S 0+0 mss 65480", "connects", "nat S. 0+0",
                    "guest . 1+0 ack 1", "host room 0", "guest . 1+40000 ack 1",
                    "nat . 1+0 ack 40001", "host room 60000", "nat . 1+0 ack 40001 win 65535",
                    "host got 40000");
}

/* RFC 6928 §2: two segments at least, so that an acknowledgment follows at once. */
static void two_long_segments_go_first(void **state)
{
    (void)state;
    TCP_SCRIPT_WITH(lan_of_65520, "limit 65550", "guest S 0+0 mss 65480 ws 7", "connects",
                    "nat S. 0+0", "guest . 1+0 ack 1 win 2000", "remote sends 200000",
                    "nat . 1+65480", "nat . 65481+65480", "silence",
                    "guest . 1+0 ack 130961 win 2000", "nat . 130961+65480", "nat P. 196441+3560");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_of_base_frames_has_a_lan_of_1500),
        cmocka_unit_test(a_client_of_long_frames_gets_them),
        cmocka_unit_test(a_client_in_between_gets_what_it_takes),
        cmocka_unit_test(the_guests_mss_counts_on_a_jumbo_lan),
        cmocka_unit_test(a_later_limit_binds_flows_that_are_there),
        cmocka_unit_test(a_limit_below_any_segment_sends_nothing),
        cmocka_unit_test(a_long_segment_is_acknowledged_at_once),
        cmocka_unit_test(a_window_shorter_than_a_segment_reopens),
        cmocka_unit_test(two_long_segments_go_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
