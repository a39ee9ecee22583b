#include "tcp_send.h"

#include <errno.h>

/* Was this the end of what the remote sent so far? Learns of EOF early enough for the FIN to ride
 * on the last segment. */
void tcp_look_behind(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t offset, uint32_t end)
{
    uint8_t byte;
    const struct iovec to = {&byte, 1};
    const ssize_t result =
        tcp->nat->host.tcp_peek(tcp->nat->host.context, flow->socket, offset, &to, 1);

    if (result == 0) {
        flow->host_eof = true;
        flow->fin_seq = end;
    }
    if (result <= 0) /* an error comes back as an event, or at the next peek */
        flow->readable = false;
}

static void sent(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t seq, uint32_t first_bytes,
                 uint32_t end, bool is_again)
{
    const uint32_t fin_end = flow->fin_seq + 1;

    if (!is_again && !flow->rtt_timing && !flow->recovering) {
        flow->rtt_timing = true;
        flow->rtt_seq = seq + first_bytes;
        flow->rtt_at_us = tcp->nat->now_us;
    }
    if (seq_after(end, flow->snd_nxt))
        flow->snd_nxt = end;
    flow->snd_max = seq_max(flow->snd_max, end);
    if (flow->host_eof && end == fin_end && !flow->fin_sent) {
        flow->fin_sent = true;
        tcp_timer_idle(tcp, flow);
    }
    if (flow->timer_us[TCP_TIMER_SEND] == 0)
        tcp_timer_retransmit(tcp, flow);
}

/* Peeks at burst->seq into the payload areas of the places. SEND_NOTHING: there is nothing. */
static enum tcp_send_result burst_read(struct nat_tcp *tcp, struct tcp_flow *flow,
                                       struct tcp_burst *burst, uint8_t **places,
                                       uint32_t place_count, uint32_t before_bytes)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t places_bytes = place_count * burst->segment_bytes;
    const uint32_t room_bytes = burst->max_bytes < places_bytes ? burst->max_bytes : places_bytes;
    const uint32_t offset = flow->consume_bytes + (burst->seq - flow->snd_una);
    struct iovec to[TCP_QUANTUM_SEGMENTS];

    if (room_bytes == 0)
        return flow->host_eof && burst->seq == flow->fin_seq ? TCP_SEND_DONE : TCP_SEND_NOTHING;
    for (uint32_t i = 0; i < place_count; i++)
        to[i] = (struct iovec){places[i] + before_bytes, burst->segment_bytes};
    to[place_count - 1].iov_len = room_bytes - (place_count - 1) * burst->segment_bytes;
    const ssize_t got = host->tcp_peek(host->context, flow->socket, offset, to, (int)place_count);
    if (got < 0) {
        flow->readable = false;
        return got == -EAGAIN || got == -EWOULDBLOCK ? TCP_SEND_NOTHING : TCP_SEND_ENDED;
    }
    burst->bytes = (uint32_t)got;
    if (got == 0 && !flow->host_eof) {
        flow->host_eof = true;
        flow->fin_seq = burst->seq;
        flow->readable = false;
    } else if ((burst->bytes < room_bytes || burst->is_all) && !flow->host_eof) {
        tcp_look_behind(tcp, flow, offset + burst->bytes, burst->seq + burst->bytes);
    }
    return TCP_SEND_DONE;
}

/* Headers in front of what was read, and off it goes. */
static void burst_write(struct nat_tcp *tcp, struct tcp_flow *flow, struct tcp_burst *burst,
                        struct tcp_header *header, uint8_t **places)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t full_bytes = burst->segment_bytes, end = burst->seq + burst->bytes;
    const bool has_fin = flow->host_eof && end == flow->fin_seq;
    /* RFC 9293 §3.9.1: PSH on the last data there is */
    const bool is_pushed =
        burst->bytes > 0 && (burst->is_again ? end + has_fin == flow->snd_nxt : !flow->readable);
    const uint32_t frames =
        burst->bytes > full_bytes ? (burst->bytes + full_bytes - 1) / full_bytes : 1;
    const uint32_t last_bytes = burst->bytes - (frames - 1) * full_bytes;

    for (uint32_t i = 0; i < frames - 1; i++) {
        header->seq = burst->seq + i * full_bytes;
        tcp_header_write(tcp, header, places[i], full_bytes);
    }
    header->seq = end - last_bytes;
    header->flags = (uint8_t)(TCP_ACK | (is_pushed ? TCP_PSH : 0) | (has_fin ? TCP_FIN : 0));
    tcp_header_write(tcp, header, places[frames - 1], last_bytes);
    if (burst->is_super)
        host->super_commit(host->context, tcp_header_bytes(header) + last_bytes, flow->mss);
    else
        host->frame_commit(host->context, frames, tcp_header_bytes(header) + last_bytes);
    burst->segments = burst->bytes > flow->mss ? (burst->bytes + flow->mss - 1u) / flow->mss : 1;
    burst->end = end + has_fin;
    sent(tcp, flow, burst->seq, burst->bytes < flow->mss ? burst->bytes : flow->mss, burst->end,
         burst->is_again);
}

/* §6: as much as the guest's window and 64 KiB allow, in one super-frame; worth it from the second
 * segment on. Whole segments, unless it is all there is: so that the guest gets no short ones. */
static void plan_super(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                       struct tcp_burst *burst, uint32_t before_bytes)
{
    const struct nat_host *host = &tcp->nat->host;
    const uint32_t mss = flow->mss, super_max_bytes = tcp->nat->super_max_bytes;
    const uint32_t offset = flow->consume_bytes + (burst->seq - flow->snd_una);

    if (burst->max_bytes <= mss || super_max_bytes <= before_bytes + mss)
        return;
    const uint32_t unread_bytes = host->tcp_unread(host->context, flow->socket);
    const uint32_t there_bytes = unread_bytes > offset ? unread_bytes - offset : 0;
    uint32_t bytes = super_max_bytes - before_bytes;

    bytes -= bytes % mss;
    bytes = bytes < TCP_SUPER_SEGMENTS_MAX * mss ? bytes : TCP_SUPER_SEGMENTS_MAX * mss;
    bytes = burst->max_bytes < bytes ? burst->max_bytes : bytes;
    if (there_bytes <= mss) {
        burst->max_segments = 1;
        burst->is_all = true;
    }
    if (there_bytes <= mss || bytes <= mss)
        return;
    burst->is_super = true;
    burst->is_all = there_bytes <= bytes;
    burst->segment_bytes = burst->is_all ? there_bytes : bytes;
}

static uint32_t burst_reserve(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                              struct tcp_burst *burst, uint32_t before_bytes, uint8_t **places)
{
    const struct nat_host *host = &tcp->nat->host;
    uint32_t count = 1;

    if (burst->is_super) {
        places[0] = host->super_reserve(host->context, before_bytes + burst->segment_bytes);
        return places[0] != NULL;
    }
    burst->segment_bytes = burst->max_bytes < flow->mss ? burst->max_bytes : flow->mss;
    if (burst->segment_bytes != 0)
        count = (burst->max_bytes + burst->segment_bytes - 1) / burst->segment_bytes;
    count = count < burst->max_segments ? count : burst->max_segments;
    return nat_frames_begin(tcp->nat, before_bytes + burst->segment_bytes, count, places);
}

/* Peeks up to max_bytes at burst->seq straight into frames and sends them. */
enum tcp_send_result tcp_send_burst(struct nat_tcp *tcp, struct tcp_flow *flow,
                                    struct tcp_burst *burst)
{
    const struct nat_host *host = &tcp->nat->host;
    uint8_t *places[TCP_QUANTUM_SEGMENTS];
    struct tcp_header header;

    if (flow->host_eof && burst->max_bytes > flow->fin_seq - burst->seq)
        burst->max_bytes = flow->fin_seq - burst->seq;
    tcp_header_fill(tcp, flow, &header, burst->seq, 0, false);
    const uint32_t before_bytes = tcp_header_bytes(&header);
    if (tcp->nat->super_max_bytes != 0)
        plan_super(tcp, flow, burst, before_bytes);
    header.is_super = burst->is_super;
    const uint32_t count = burst_reserve(tcp, flow, burst, before_bytes, places);
    if (count == 0)
        return TCP_SEND_BLOCKED;
    const enum tcp_send_result result = burst_read(tcp, flow, burst, places, count, before_bytes);
    if (result != TCP_SEND_DONE) {
        if (burst->is_super)
            host->super_commit(host->context, 0, 0);
        else
            host->frame_commit(host->context, 0, 0);
        if (result == TCP_SEND_ENDED)
            tcp_host_abort(tcp, flow);
        return result;
    }
    burst_write(tcp, flow, burst, &header, places);
    if (!tcp_has_sack(flow)) /* else a bare segment follows, with SACK */
        tcp_acknowledged(flow);
    return TCP_SEND_DONE;
}
