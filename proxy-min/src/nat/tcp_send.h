/*
 * tcp_send.h - what tcp_output.c (whose turn, how much) asks of tcp_segment.c (segments without
 *              payload, headers) and tcp_burst.c (payload, peeked into its places).
 */
#ifndef PROXY_NAT_TCP_SEND_H
#define PROXY_NAT_TCP_SEND_H

#include "tcp.h"

enum tcp_send_result { TCP_SEND_DONE, TCP_SEND_NOTHING, TCP_SEND_BLOCKED, TCP_SEND_ENDED };

/* ---- tcp_segment.c ---- */

struct tcp_header { /* of segments that differ only in sequence number, flags and payload */
    const struct nat_flow_key *key;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    bool is_super;
    uint8_t options_bytes;
    uint8_t options[TCP_OPTIONS_MAX_BYTES];
};

/** Everything that a flow's segments have in common now. */
void tcp_header_fill(struct nat_tcp *tcp, struct tcp_flow *flow, struct tcp_header *header,
                     uint32_t seq, uint8_t flags, bool with_sack);
/** Bytes in front of the payload, Ethernet's included. */
uint32_t tcp_header_bytes(const struct tcp_header *header);
/** Writes Ethernet to TCP header of a segment whose payload is in place behind them. */
void tcp_header_write(const struct nat_tcp *tcp, const struct tcp_header *header, uint8_t *frame,
                      uint32_t payload_bytes);

/** A segment left that acknowledges everything. */
void tcp_acknowledged(struct tcp_flow *flow);
/** An acknowledgment should say what lies behind a hole. */
bool tcp_has_sack(const struct tcp_flow *flow);
/** False: the queue is full. */
bool tcp_send_ack(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t seq);
bool tcp_send_syn_ack(struct nat_tcp *tcp, struct tcp_flow *flow);

/* ---- tcp_burst.c ---- */

struct tcp_burst {
    uint32_t seq;       /* of its first byte */
    uint32_t max_bytes; /* of payload */
    uint32_t max_segments;
    bool is_again; /* a retransmission or probe */

    bool is_super;                 /* one super-frame of segment_bytes */
    bool is_all;                   /* the kernel was seen to have no more than this */
    uint32_t segment_bytes;        /* payload of all segments but the last */
    uint32_t segments, bytes, end; /* results */
};

/** Peeks up to max_bytes at burst->seq straight into frames, or one super-frame, and sends them. */
enum tcp_send_result tcp_send_burst(struct nat_tcp *tcp, struct tcp_flow *flow,
                                    struct tcp_burst *burst);
/** Was this the end of what the remote sent so far? Learns of EOF early enough for the FIN to
 * ride on the last segment. */
void tcp_look_behind(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t offset, uint32_t end);

#endif
