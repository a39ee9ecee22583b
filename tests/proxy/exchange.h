/*
 * exchange.h - one exchange of tcp_exchange_test.c: what was drawn for it, a small guest TCP at one
 *              end (exchange_guest.c), the remote at the other, a bad wire between guest and NAT.
 */
#ifndef TEST_EXCHANGE_H
#define TEST_EXCHANGE_H

#include "bad_wire.h"
#include "tcp_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

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

#define CHECK(x, condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("TCP_SEED=%llu: %s", (unsigned long long)(x)->seed, #condition);              \
    } while (0)

static inline uint32_t draw(struct exchange *x, uint32_t below)
{
    return luck_draw(&x->luck, below);
}

static inline bool percent(struct exchange *x, uint32_t share)
{
    return luck_percent(&x->luck, share);
}

static inline bool pauses(const struct exchange *x, const struct pause *pause)
{
    return x->world.now_us >= pause->from_us && x->world.now_us < pause->to_us;
}

/** What the NAT's segment does to the guest. */
void exchange_guest_gets(struct exchange *x, const struct world_segment *segment);
/** A millisecond of the guest: it reads, sends, sends again, acknowledges. */
void exchange_guest_runs(struct exchange *x);

#endif
