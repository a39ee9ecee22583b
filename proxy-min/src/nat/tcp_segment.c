#include "tcp_send.h"

#include <string.h>

uint32_t tcp_output_clock_ms(const struct nat_tcp *tcp)
{
    return tcp->ts_offset + (uint32_t)(tcp->nat->now_us / 1000);
}

uint16_t tcp_output_mss(const struct nat_tcp *tcp, uint8_t family)
{
    const uint32_t headers_bytes =
        nat_frame_headers_bytes(family) - ETH_HEADER_BYTES + TCP_HEADER_BYTES;
    const uint32_t mtu = tcp->nat->mtu;

    return (uint16_t)(mtu > headers_bytes + TCP_MSS_MIN ? mtu - headers_bytes : TCP_MSS_MIN);
}

void nat_tcp_fit(struct nat *nat)
{
    struct nat_tcp *tcp = nat->tcp;

    for (uint32_t id = 1; id <= tcp->flow_used_max; id++) {
        struct tcp_flow *flow = &tcp->flows[id];
        const uint32_t options_bytes = flow->timestamps ? TCP_OPTION_TIMESTAMP_BYTES : 0;
        const uint32_t most_bytes = tcp_output_mss(tcp, flow->key.remote.family) - options_bytes;

        if (flow->state != TCP_FREE && flow->mss > most_bytes)
            flow->mss = (uint16_t)most_bytes;
    }
}

/* Writes Ethernet to TCP header of a segment whose payload is in place behind them. */
void tcp_header_write(const struct nat_tcp *tcp, const struct tcp_header *header, uint8_t *frame,
                      uint32_t payload_bytes)
{
    const uint32_t tcp_bytes = TCP_HEADER_BYTES + header->options_bytes;
    uint8_t *at =
        nat_frame_headers(tcp->nat, frame, header->key, IP_PROTOCOL_TCP, tcp_bytes + payload_bytes);

    be16_put(at + TCP_SOURCE_AT, header->key->remote.port);
    be16_put(at + TCP_DESTINATION_AT, header->key->guest.port);
    be32_put(at + TCP_SEQUENCE_AT, header->seq);
    be32_put(at + TCP_ACKNOWLEDGMENT_AT, header->ack);
    at[TCP_DATA_OFFSET_AT] = (uint8_t)(tcp_bytes / 4 << 4);
    at[TCP_FLAGS_AT] = header->flags;
    be16_put(at + TCP_WINDOW_AT, header->window);
    be16_put(at + TCP_CHECKSUM_AT, 0);
    be16_put(at + TCP_URGENT_AT, 0);
    memcpy(at + TCP_HEADER_BYTES, header->options, header->options_bytes);
    if (header->is_super) /* l2-extensions.md §6: who cuts or delivers it computes them */
        return;
    const uint32_t sum = nat_pseudo_sum(header->key, IP_PROTOCOL_TCP, tcp_bytes + payload_bytes);
    be16_put(at + TCP_CHECKSUM_AT,
             checksum_finish(checksum_add(sum, at, tcp_bytes + payload_bytes)));
}

uint32_t tcp_header_bytes(const struct tcp_header *header)
{
    return nat_frame_headers_bytes(header->key->remote.family) + TCP_HEADER_BYTES +
           header->options_bytes;
}

/* A segment without payload. False: the queue is full. */
static bool send_bare(struct nat_tcp *tcp, const struct tcp_header *header)
{
    const uint32_t bytes = tcp_header_bytes(header);
    uint8_t *frame = nat_frame_begin(tcp->nat, bytes);

    if (frame == NULL)
        return false;
    tcp_header_write(tcp, header, frame, 0);
    nat_frame_send(tcp->nat, bytes);
    return true;
}

/* Everything that a flow's segments have in common now. */
void tcp_header_fill(struct nat_tcp *tcp, struct tcp_flow *flow, struct tcp_header *header,
                     uint32_t seq, uint8_t flags, bool with_sack)
{
    const uint32_t window_bytes = tcp_host_window(tcp, flow) >> flow->rcv_scale;
    struct tcp_options options = {0};

    *header = (struct tcp_header){
        .key = &flow->key,
        .seq = seq,
        .ack = flow->rcv_nxt,
        .window = (uint16_t)(window_bytes < UINT16_MAX ? window_bytes : UINT16_MAX),
        .flags = flags | TCP_ACK,
    };
    if (flow->timestamps) {
        options.has_timestamp = true;
        options.timestamp = tcp_output_clock_ms(tcp);
        options.timestamp_echo = flow->ts_recent;
    }
    if (with_sack) {
        struct tcp_range ranges[TCP_OPTION_SACKS];

        options.sack_count = tcp_dsack_report(flow, ranges);
        options.sack_count += tcp_reassembly_ranges(tcp, flow, ranges + options.sack_count,
                                                    TCP_OPTION_SACKS - options.sack_count);
        for (uint32_t i = 0; i < options.sack_count; i++) {
            options.sacks[i].from = ranges[i].from;
            options.sacks[i].to = ranges[i].to;
        }
    }
    header->options_bytes = (uint8_t)tcp_options_write(&options, header->options);
}

/* A segment left that acknowledges everything. */
void tcp_acknowledged(struct tcp_flow *flow)
{
    flow->rcv_acked = flow->rcv_nxt;
    flow->ack_due = flow->ack_delayed = false;
    flow->timer_us[TCP_TIMER_ACK] = 0;
}

bool tcp_has_sack(const struct tcp_flow *flow)
{
    return flow->sack && (flow->block_first != 0 || flow->duplicate.from != flow->duplicate.to);
}

bool tcp_send_ack(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t seq)
{
    struct tcp_header header;

    tcp_header_fill(tcp, flow, &header, seq, 0, tcp_has_sack(flow));
    if (!send_bare(tcp, &header))
        return false;
    flow->duplicate = (struct tcp_range){0};
    tcp_acknowledged(flow);
    return true;
}

bool tcp_send_syn_ack(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct tcp_options options = {
        .has_mss = true,
        .mss = tcp_output_mss(tcp, flow->key.remote.family),
        .has_scale = flow->scaled,
        .scale = flow->rcv_scale,
        .sack_permitted = flow->sack,
        .has_timestamp = flow->timestamps,
        .timestamp = tcp_output_clock_ms(tcp),
        .timestamp_echo = flow->ts_recent,
    };
    struct tcp_header header = {
        .key = &flow->key,
        .seq = flow->iss,
        .ack = flow->rcv_nxt,
        .window = TCP_WINDOW_INITIAL, /* not scaled (RFC 7323 §2.2) */
        .flags = TCP_SYN | TCP_ACK,
    };

    header.options_bytes = (uint8_t)tcp_options_write(&options, header.options);
    if (!send_bare(tcp, &header))
        return false;
    flow->rcv_edge = flow->rcv_nxt + TCP_WINDOW_INITIAL;
    flow->syn_ack_due = false;
    if (flow->retries == 0) {
        flow->rtt_timing = true;
        flow->rtt_at_us = tcp->nat->now_us;
    }
    tcp_acknowledged(flow);
    tcp_timer_retransmit(tcp, flow);
    return true;
}

void tcp_output_refuse(struct nat_tcp *tcp, const struct tcp_segment *segment)
{
    struct tcp_header header = {.key = segment->key};

    if ((segment->flags & TCP_RST) != 0)
        return;
    if ((segment->flags & TCP_ACK) != 0) {
        header.seq = segment->ack;
        header.flags = TCP_RST;
    } else {
        header.ack = segment->seq + segment->payload_bytes + ((segment->flags & TCP_SYN) != 0) +
                     ((segment->flags & TCP_FIN) != 0);
        header.flags = TCP_RST | TCP_ACK;
    }
    nat_count(&tcp->nat->metrics->tcp_resets_total);
    send_bare(tcp, &header); /* a full queue: the guest will ask again */
}

void tcp_output_reset(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const struct tcp_header header = {
        .key = &flow->key,
        .seq = flow->state == TCP_CONNECTING ? 0 : flow->snd_max,
        .ack = flow->rcv_nxt,
        .flags = TCP_RST | TCP_ACK,
    };

    nat_count(&tcp->nat->metrics->tcp_resets_total);
    send_bare(tcp, &header);
}
