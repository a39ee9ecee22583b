/*
 * tcp.h - the terminating TCP between a guest (frames) and host sockets: what its files share.
 *
 * Source   RFC 9293 (TCP), 7323 (scale, timestamps), 2018, 2883 and 6675 (SACK), 6298 (RTO), 5681,
 *          6582 and 8985 §7 (loss recovery), 5961 (blind attacks); spec/l2-proxy.md §6.2, cited as
 *          §.
 *
 * Theory of operation
 *
 *   A flow joins two TCP connections: ours with the guest, spoken here in segments, and the
 *   kernel's with the remote, spoken through struct nat_host. Neither side's bytes are stored
 *   here if that can be helped: *the kernel's socket buffers are the buffer*.
 *
 *   To the guest. Unacknowledged data stays in the kernel's receive queue. We peek at it, straight
 *   into frames, from any offset behind SND.UNA on, and drop it from the queue (consume) only when
 *   the guest has acknowledged it. A retransmission is another peek. A guest that stops reading
 *   thus closes the remote's window without a byte of ours. The host makes that queue large enough
 *   for a round trip to the guest (hold() of host/sockets.c): by itself the kernel would size it by
 *   the round trip to the remote.
 *
 *   To the host. Payload that is next in sequence is not copied: the pieces of a batch of frames
 *   are collected where they lie and handed to the kernel in one gathering write at flush. What
 *   comes out of order, or what the kernel did not take, goes into a pool of blocks shared by the
 *   session's flows. Pool memory is bounded; what does not fit is dropped *before* it is
 *   acknowledged, so the guest sends it again. Acknowledged data is never dropped.
 *
 *   The guest's SYN is answered when the kernel's connect() is: a refusal becomes RST, silence
 *   stays silence until the time-out, and data is never accepted for nobody.
 *
 *   Windows. The one we advertise starts at 64 KiB and grows with what the guest sends in a round
 *   trip, ahead of a guest in slow start, while the kernel takes all of it (dynamic right-sizing),
 *   up to config->tcp_window_max_bytes; while the kernel refuses data it does not move at all.
 *   The one towards the guest is the guest's, under a congestion window: the tunnel is reliable,
 *   but the frames' path is not - a receive ring overflows in bursts, and a bridge may drop. It
 *   starts at 64 KiB, since nothing is between us and the guest that could collapse under that,
 *   doubles per round trip, and after a loss becomes what the guest was measured to take in a round
 *   trip and a quarter more: loss is no sign of congestion here, so a burst that an emulated card
 *   dropped, or a leg with random loss, must not cost a halving each time, while a narrow leg is
 *   not flooded.
 *
 *   Order of work. Input only marks: gathered pieces, "acknowledge", "send". Delivery to the host
 *   happens at flush for every flow of the batch, since the frames vanish then. Output is a round
 *   robin over the `ready` list with a quantum per turn; it stops when the frame queue is full
 *   (`blocked`) and resumes in nat_tcp_writable(). So a batch costs at most one write, one
 *   acknowledgment and a few reads per flow.
 *
 * Memory   nat_tcp_open() maps all tables once, as zero pages: a flow or pool block that was never
 *          used costs no memory, and what a busy hour touched is given back when the last flow
 *          ends. Ids are 1-based so that zero means none. Nothing else allocates.
 * Hostile  Guest, remote and timing. Each table is bounded; per segment the work is bounded by the
 *          number of blocks or ranges a flow may have.
 */
#ifndef PROXY_NAT_TCP_H
#define PROXY_NAT_TCP_H

#include "internal.h"
#include "tcp_option.h"
#include "tcp_sequence.h"

enum {
    TCP_MSS_DEFAULT = 536, /* RFC 9293 §3.7.1: when the guest offers none */
    TCP_MSS_MIN = 48,      /* an offer below would make us send headers only */
    TCP_WINDOW_INITIAL = 65535,
    TCP_SEND_INITIAL_BYTES = 65536, /* congestion window at start */
    TCP_SEND_INITIAL_SEGMENTS = 2,  /* ... at least, for an MSS of that order (RFC 6928 §2) */
    TCP_SEND_LOW_SEGMENTS = 32,     /* ... and where a loss leaves it at least, */
    TCP_SEND_LOW_JUMBO = 4,         /* or with less, if 64 KiB are more segments than these */
    TCP_RATE_ROUNDS = 8,            /* round trips a measured rate is believed at least */
    TCP_SEND_RTO_SEGMENTS = 4,      /* ... and a time-out */
    TCP_QUANTUM_SEGMENTS = 32,      /* frames per flow and turn */
    TCP_SUPER_SEGMENTS_MAX = 256,   /* what a card cuts one into: nic/virtio_net.h, nic/e1000.h */
    TCP_DUP_ACKS = 3,               /* RFC 5681 §3.2 */
    TCP_DUP_ACKS_MAX = 64,          /* ... where the path was seen to change the order */
    TCP_RANGES = 24,                /* SACK scoreboard entries per flow; more are forgotten */
    TCP_PIECES = 512,               /* segments gathered per batch */
    TCP_GATHER = 64,                /* pieces per host write */
    TCP_BLOCK_BYTES = 2048,         /* of the pool: a full segment at MTU 1500 fits one */

    TCP_RTO_INITIAL_US = 1000000, /* RFC 6298 §2.1 */
    TCP_RTO_MIN_US = 200000,
    TCP_RTO_MAX_US = 60000000,
    TCP_TAIL_MIN_US = 20000,   /* a tail loss probe waits two round trips, at least this */
    TCP_TAIL_ALONE_US = 40000, /* ... and this more for a lone segment: its ACK may be delayed */
    TCP_SYN_ACK_RETRIES = 5,   /* 1 + 2 + 4 + 8 + 16 + 32 s: half-open flows end after a minute */
    TCP_DATA_RETRIES = 12,
    TCP_CONNECT_TOLD_US = 1000000, /* connect() ended, but nobody said so yet: asked again */
    TCP_PROBE_RETRIES = 12,        /* zero-window probes without any answer */
    TCP_ACK_DELAY_US = 20000,
    TCP_TIME_WAIT_US = 60000000,          /* as Linux; a full table does not wait for it */
    TCP_KEEPALIVE_CLOSING_US = 60000000,  /* a quiet guest is asked, once either side has closed */
    TCP_KEEPALIVE_INTERVAL_US = 30000000, /* between probes, at most */
    TCP_KEEPALIVE_PARTS = 20,             /* ... and this part of the configured quiet */
    TCP_KEEPALIVE_PROBES = 8,
    TCP_ANSWER_INTERVAL_US = 50000, /* between answers to unacceptable empty segments */
    TCP_CHALLENGES_PER_S = 100,     /* RFC 5961 §7, per session */
};

/*
 * States. RFC 9293's nine synchronized states are TCP_OPEN plus two independent halves, because a
 * NAT relays each direction's end separately:
 *
 *   guest_fin_done  host_eof/fin_sent  fin_acked    RFC 9293 name
 *   no              no                              ESTABLISHED
 *   no              yes                no           FIN-WAIT-1
 *   no              yes                yes          FIN-WAIT-2
 *   yes             no                              CLOSE-WAIT
 *   yes             yes                no           LAST-ACK, or CLOSING if our FIN was first
 *   yes             yes                yes          TIME-WAIT, or CLOSED if the guest's was first
 */
enum tcp_state {
    /* Not in use: no field but `hash_next` (free list) means anything.
     * Left by tcp_flow_new(). */
    TCP_FREE,
    /* The guest's SYN came; connect() runs. rcv_*, options and the pool may be touched (early
     * data), snd_* may not. Left by the host's CONNECTED (→ TCP_SYN_RECEIVED), its failure, the
     * connect time-out or the guest's RST (→ TCP_FREE). */
    TCP_CONNECTING,
    /* SYN-ACK is due or sent. No data goes to the guest. Left by the guest's acknowledgment
     * (→ TCP_OPEN), RST, host failure or too many retransmissions (→ TCP_FREE). */
    TCP_SYN_RECEIVED,
    /* Data flows. Left when both halves are closed and delivered (→ TCP_TIME_WAIT or TCP_FREE),
     * by RST from the guest, by a broken host socket or a dead guest (→ TCP_FREE). */
    TCP_OPEN,
    /* No host socket any more: socket < 0, nothing in the pool. Only answers retransmitted FINs.
     * Left by its timer, by a newer SYN, or when the table is full (→ TCP_FREE). */
    TCP_TIME_WAIT,
};

enum tcp_timer {
    TCP_TIMER_SEND, /* connect, SYN-ACK, RTO, zero-window probe, TIME-WAIT: never two at once */
    TCP_TIMER_ACK,  /* delayed acknowledgment */
    TCP_TIMER_IDLE, /* keepalive */
    TCP_TIMER_COUNT,
};

struct tcp_range {
    uint32_t from, to; /* sequence numbers, `to` excluded */
};

enum tcp_list { TCP_LIST_READY, TCP_LIST_TIME_WAIT, TCP_LIST_COUNT };

struct tcp_link { /* doubly linked lists through flows, by id */
    uint32_t previous, next;
};

struct tcp_ends {
    uint32_t first, last;
};

struct tcp_flow {
    struct nat_flow_key key;
    uint8_t state; /* enum tcp_state */
    uint8_t rcv_scale, snd_scale;
    uint8_t retries;                 /* of the send timer since the last progress: its backoff */
    uint8_t probes_lost, keepalives; /* unanswered */
    uint16_t generation;
    uint16_t mss; /* payload of our segments, options already deducted */
    int32_t socket;
    uint32_t hash_next;
    struct tcp_link links[TCP_LIST_COUNT];

    bool is_ready : 1; /* on the ready list */
    bool in_batch : 1; /* has an entry in batch->flows */
    bool scaled : 1, timestamps : 1, sack : 1;
    bool syn_ack_due : 1, ack_due : 1, probe_due : 1, keepalive_due : 1;
    bool readable : 1; /* peek may find something at SND.NXT */
    bool host_eof : 1; /* the remote closed; data ends at fin_seq */
    bool fin_sent : 1; /* SND.NXT counts the FIN */
    bool fin_acked : 1;
    bool guest_fin_seen : 1; /* guest_fin_seq is known, maybe out of order */
    bool guest_fin_done : 1; /* RCV.NXT counts it */
    bool host_shut : 1;      /* ... and the host was told */
    bool we_closed_first : 1;
    bool host_full : 1;               /* the kernel refused bytes; WRITABLE follows */
    bool host_slow : 1;               /* ... it did so since the window last grew */
    bool tail_armed : 1;              /* the send timer is a tail loss probe (RFC 8985 §7) */
    bool tail_due : 1, tail_sent : 1; /* ... to be sent, sent since SND.UNA moved */
    bool probe_armed : 1; /* the guest's window is closed and there is something to send */
    bool recovering : 1;
    bool rtt_timing : 1;
    bool ack_delayed : 1; /* some data is unacknowledged on purpose */

    /* From the guest. host_nxt <= rcv_nxt <= rcv_edge. [host_nxt, rcv_nxt) is acknowledged or
     * about to be: gathered_bytes of it lie in frames of this batch, the rest in the pool. */
    uint32_t rcv_nxt, rcv_edge, rcv_acked, host_nxt;
    uint32_t guest_fin_seq;
    uint32_t rcv_space;   /* the window we are ready to offer */
    uint32_t round_seq;   /* right-sizing: RCV.NXT at the start of this round trip */
    uint32_t round_bytes; /* what came in the one before */
    uint64_t round_at_us;
    uint32_t round_rtt_us; /* least echo in this one; UINT32_MAX: none */
    uint32_t rcv_rtt_us;   /* ... in the last that had one; 0: below a millisecond, or none */
    uint32_t gathered_first, gathered_last, gathered_bytes;
    uint32_t block_first, block_last, block_count; /* pool, sorted by sequence */
    uint32_t sack_recent; /* a sequence number in the block the guest sent last out of order */
    struct tcp_range duplicate; /* came twice, to be told with the next bare segment; else empty */

    /* To the guest. snd_una <= snd_nxt <= snd_max. */
    uint32_t iss, snd_una, snd_nxt, snd_max;
    uint32_t snd_wnd, snd_wnd_max, snd_wl1, snd_wl2;
    uint32_t fin_seq;
    uint32_t consume_bytes; /* acknowledged, still in the kernel's queue before SND.UNA */
    uint32_t cwnd, ssthresh;
    uint32_t dup_acks;
    uint32_t recover;                  /* recovery ends when SND.UNA reaches it */
    uint32_t rtx_next;                 /* what is below was retransmitted in this pass */
    uint32_t rtx_lost_to;              /* what is not SACKed below counts as lost */
    uint32_t rtx_marker;               /* SND.MAX when the pass began or SND.UNA moved last */
    uint32_t undo_from, undo_bytes;    /* SND.UNA when recovery began, what was sent again since */
    uint32_t undo_cwnd, undo_ssthresh; /* what they were then */
    uint8_t dup_threshold;             /* segments SACKed above a hole that make it a loss */
    uint32_t sacked_bytes, range_count;
    struct tcp_range ranges[TCP_RANGES];

    uint32_t srtt_us, rttvar_us, rto_us, rtt_min_us;
    uint32_t rtt_seq;
    uint64_t rtt_at_us;
    uint32_t rate_bytes, rate_rounds; /* delivered in this round trip; rounds in this epoch */
    uint64_t rate_at_us, rate_best_per_s[2]; /* of this epoch and the one before */
    uint32_t ts_recent;
    uint64_t ts_recent_at_us;
    uint64_t heard_at_us, answered_at_us;

    uint64_t timer_us[TCP_TIMER_COUNT]; /* 0: off */
    uint64_t heap_us;                   /* the key under which the heap knows this flow */
    uint32_t heap_at;                   /* 1-based place in the heap; 0: not there */
};

struct tcp_piece { /* payload of one frame of the batch */
    const uint8_t *data;
    uint32_t bytes, next;
};

struct nat_batch { /* its counts are in struct nat_tcp */
    struct tcp_piece pieces[TCP_PIECES + 1];
    uint32_t flows[TCP_PIECES];
};

struct tcp_block { /* a pool block's label; its bytes are elsewhere, so that walks stay small */
    uint32_t sequence, next;
    uint16_t at, bytes; /* used part of the block */
};

struct nat_tcp {
    struct nat *nat;
    uint32_t flow_max, flow_used_max, flow_free, flow_count;
    struct tcp_flow *flows; /* [flow_max + 1], [0] unused */
    uint32_t *buckets;
    uint32_t bucket_mask, hash_secret;
    struct tcp_ends lists[TCP_LIST_COUNT];
    bool blocked; /* the frame queue was full */

    uint32_t *heap; /* [flow_max + 1]; 1-based */
    uint32_t heap_count;

    struct nat_batch *batch, *own_batch; /* own: NULL where the thread has one */
    uint32_t piece_count, batch_count;

    uint32_t block_max, block_used_max, block_free, block_count;
    struct tcp_block *blocks; /* [block_max + 1] */
    uint8_t *block_data;

    uint16_t generation; /* of the flow opened last */
    uint64_t challenge_at_us;
    uint32_t challenges;
    uint32_t ts_offset;
};

/* A segment from the guest, options parsed. */
struct tcp_segment {
    const struct nat_flow_key *key;
    const uint8_t *header;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    uint8_t payload_trimmed; /* its tail was cut off, so its FIN does not count */
    const uint8_t *payload;
    uint32_t payload_bytes;
    struct tcp_options options;
};

static inline struct tcp_flow *tcp_flow_at(const struct nat_tcp *tcp, uint32_t id)
{
    return id != 0 ? &tcp->flows[id] : NULL;
}

static inline uint32_t tcp_flow_id(const struct nat_tcp *tcp, const struct tcp_flow *flow)
{
    return (uint32_t)(flow - tcp->flows);
}

/* ---- tcp_flow.c: the table ---- */

struct tcp_flow *tcp_flow_find(const struct nat_tcp *tcp, const struct nat_flow_key *key);
/** A zeroed flow in TCP_CONNECTING without socket, or NULL: the table is full. */
struct tcp_flow *tcp_flow_new(struct nat_tcp *tcp, const struct nat_flow_key *key);
/** Closes the host socket, gives everything back. `flow` is TCP_FREE then. */
void tcp_flow_free(struct nat_tcp *tcp, struct tcp_flow *flow, bool reset);
/** Both halves are done: closes the host socket and waits out late duplicates. */
void tcp_flow_time_wait(struct nat_tcp *tcp, struct tcp_flow *flow);
/** While there is no flow: tables that were well used become untouched pages again. */
void tcp_flow_trim(struct nat_tcp *tcp);
uint32_t tcp_flow_cookie(const struct nat_tcp *tcp, const struct tcp_flow *flow);
struct tcp_flow *tcp_flow_by_cookie(const struct nat_tcp *tcp, uint32_t cookie);
/** Puts the flow on the ready list: it has something to send, or may have. */
void tcp_flow_ready(struct nat_tcp *tcp, struct tcp_flow *flow);
void tcp_list_append(struct nat_tcp *tcp, enum tcp_list which, struct tcp_flow *flow);
void tcp_list_remove(struct nat_tcp *tcp, enum tcp_list which, struct tcp_flow *flow);

/* ---- tcp_timer.c ---- */

/** Sets a timer; at_us 0 stops it. */
void tcp_timer_set(struct nat_tcp *tcp, struct tcp_flow *flow, enum tcp_timer timer,
                   uint64_t at_us);
void tcp_timer_forget(struct nat_tcp *tcp, struct tcp_flow *flow);
/** (Re)starts the time after which a quiet guest is asked. */
void tcp_timer_idle(struct nat_tcp *tcp, struct tcp_flow *flow);
/** (Re)starts the retransmission timer for what is in flight, or stops it. */
void tcp_timer_retransmit(struct nat_tcp *tcp, struct tcp_flow *flow);
/** RFC 6298 §2: takes a sample. */
void tcp_rtt_sample(struct tcp_flow *flow, uint64_t sample_us);

/* ---- tcp_ack.c: what an acknowledgment from the guest means ---- */

/** Returns false when the segment must not be processed further (RFC 5961 §5). */
bool tcp_ack_input(struct nat_tcp *tcp, struct tcp_flow *flow, const struct tcp_segment *segment);
/** The retransmission timer fired: everything not SACKed counts as lost (RFC 6298 §5). */
void tcp_ack_timeout(struct nat_tcp *tcp, struct tcp_flow *flow);
/** Bytes believed to be on the way (RFC 6675 §4, pipe). */
uint32_t tcp_ack_pipe(const struct tcp_flow *flow);
/** The next bytes to retransmit. False: none. */
bool tcp_ack_lost(const struct tcp_flow *flow, uint32_t *from, uint32_t *bytes);

/* ---- tcp_dsack.c: duplicates, ours and the guest's (RFC 2883) ---- */

/** The guest sent [from, to) twice: the next acknowledgment says so. */
void tcp_dsack_note(struct tcp_flow *flow, uint32_t from, uint32_t to);
/** The block to put first, if there is one. Returns how many: 0 or 1. */
uint32_t tcp_dsack_report(const struct tcp_flow *flow, struct tcp_range *ranges);
/** A recovery begins, before it changes the windows. */
void tcp_dsack_begin(struct tcp_flow *flow);
void tcp_dsack_sent_again(struct tcp_flow *flow, uint32_t bytes);
/** True if the segment reports a duplicate; undoes a recovery that was not needed. */
bool tcp_dsack_input(struct tcp_flow *flow, const struct tcp_segment *segment);
/** As many bytes SACKed above a hole make it a loss. */
uint32_t tcp_dsack_threshold_bytes(const struct tcp_flow *flow);

/* ---- tcp_reassembly.c: the pool ---- */

/** Keeps the bytes that are not there yet. Returns how many, counted from the front, are held
 * now: fewer than `bytes` when the pool is full. */
uint32_t tcp_reassembly_insert(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence,
                               const uint8_t *data, uint32_t bytes);
/** The sequence number up to which the pool continues `from` without a hole. */
uint32_t tcp_reassembly_end(const struct nat_tcp *tcp, const struct tcp_flow *flow, uint32_t from);
/** Blocks from `from` on, in order, without a hole, below `to`. Returns how many. */
int tcp_reassembly_peek(const struct nat_tcp *tcp, const struct tcp_flow *flow, uint32_t from,
                        uint32_t to, struct iovec *pieces, int piece_max);
/** Gives back what lies below `sequence`. */
void tcp_reassembly_drop(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence);
void tcp_reassembly_clear(struct nat_tcp *tcp, struct tcp_flow *flow);
/** Ranges for a SACK option (RFC 2018 §4), the one with sack_recent first. */
uint32_t tcp_reassembly_ranges(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                               struct tcp_range *ranges, uint32_t range_max);

/* ---- tcp_host.c: guest to host, and the host socket's events ---- */

/** Takes acceptable payload: gathers it if it is next, else keeps it in the pool. */
void tcp_host_take(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence,
                   const uint8_t *data, uint32_t bytes);
/** Takes the round trip from the echo of a data segment. */
void tcp_host_rtt(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t echo);
/** Hands over what is in order. Returns false when the flow ended (the socket broke). */
bool tcp_host_deliver(struct nat_tcp *tcp, struct tcp_flow *flow);
/** The window to advertise now; moves rcv_edge, never to the left. */
uint32_t tcp_host_window(struct nat_tcp *tcp, struct tcp_flow *flow);
/** Delivers every flow of the batch. */
void tcp_host_flush(struct nat_tcp *tcp);
/** Ends the flow if both halves are done. Returns true if it did. */
bool tcp_host_finish(struct nat_tcp *tcp, struct tcp_flow *flow);
/** connect() failed with that errno: ICMP to the guest where that tells more, then abort. */
void tcp_host_unreached(struct nat_tcp *tcp, struct tcp_flow *flow, int error);
/** RST to the guest, reset to the host, free. */
void tcp_host_abort(struct nat_tcp *tcp, struct tcp_flow *flow);

/* ---- tcp_output.c, tcp_segment.c; more between them in tcp_send.h ---- */

/** Sends what is due until the lists are empty or the frame queue is full. */
void tcp_output_run(struct nat_tcp *tcp);
/** RST in answer to a segment that belongs to no flow, or may not open one (RFC 9293 §3.10.7.1). */
void tcp_output_refuse(struct nat_tcp *tcp, const struct tcp_segment *segment);
/** RST that ends a flow. */
void tcp_output_reset(struct nat_tcp *tcp, struct tcp_flow *flow);
/** The MSS we announce: what a frame to or from the guest can carry. */
uint16_t tcp_output_mss(const struct nat_tcp *tcp, uint8_t family);
uint32_t tcp_output_clock_ms(const struct nat_tcp *tcp);

#endif
