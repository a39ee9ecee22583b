#include "exchange.h"

#include <string.h>

enum { GUEST_SEGMENT = 1400, GUEST_SUPER_MAX = 40000 };

static uint32_t guest_window(const struct exchange *x)
{
    const uint32_t held = x->guest.rcv_nxt - (x->guest.nat_isn + 1) - x->guest.read_bytes;

    return x->plan.window_bytes > held ? x->plan.window_bytes - held : 0;
}

static void put_option(struct world_segment *segment, const uint8_t *option, uint32_t bytes)
{
    memcpy(segment->options + segment->options_bytes, option, bytes);
    segment->options_bytes += bytes;
}

static void guest_options(struct exchange *x, struct world_segment *segment)
{
    const struct guest *guest = &x->guest;
    const bool is_syn = (segment->flags & TCP_SYN) != 0;

    if (is_syn)
        put_option(segment, (uint8_t[]){2, 4, (uint8_t)(x->plan.mss >> 8), (uint8_t)x->plan.mss},
                   4);
    if (is_syn && x->plan.sack)
        put_option(segment, (uint8_t[]){1, 1, 4, 2}, 4);
    if (is_syn && x->plan.has_scale)
        put_option(segment, (uint8_t[]){1, 3, 3, (uint8_t)x->plan.scale}, 4);
    if (is_syn ? x->plan.timestamps : guest->timestamps) {
        uint8_t option[12] = {1, 1, 8, 10};
        be32_put(option + 4, (uint32_t)(x->world.now_us / 1000) + 77);
        be32_put(option + 8, guest->ts_recent);
        put_option(segment, option, 12);
    }
    if (!is_syn && guest->sack) {
        uint8_t option[4 + 24] = {1, 1, 5, 2};
        uint32_t count = 0, at = guest->rcv_nxt - (guest->nat_isn + 1);

        if (guest->again_from != guest->again_to) {
            be32_put(option + 4, guest->again_from);
            be32_put(option + 8, guest->again_to);
            option[3] = 2 + 8;
            count++;
        }
        while (count < 3 && at < x->plan.down_bytes) {
            while (at < x->plan.down_bytes && !guest->have[at])
                at++;
            const uint32_t from = at;
            while (at < x->plan.down_bytes && guest->have[at])
                at++;
            if (at == from)
                break;
            be32_put(option + 4 + 8 * count, guest->nat_isn + 1 + from);
            be32_put(option + 8 + 8 * count, guest->nat_isn + 1 + at);
            option[3] = (uint8_t)(option[3] + 8);
            count++;
        }
        if (count > 0)
            put_option(segment, option, 4 + 8 * count);
    }
}

static void guest_emit(struct exchange *x, uint8_t flags, uint32_t seq, uint32_t bytes)
{
    static uint8_t payload[GUEST_SUPER_MAX];
    struct guest *guest = &x->guest;
    uint32_t window = guest_window(x);
    struct world_segment segment = {.guest_port = 40000,
                                    .remote_port = 443,
                                    .remote = {93, 184, 216, 34},
                                    .seq = seq,
                                    .flags = flags};

    if ((flags & TCP_SYN) == 0)
        window >>= guest->scaled ? x->plan.scale : 0;
    segment.window = (uint16_t)(window < 65535 ? window : 65535);
    if (guest->is_open) {
        segment.flags |= TCP_ACK;
        segment.ack = guest->rcv_nxt;
    }
    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = tcp_pattern(seq + i - (guest->isn + 1));
    segment.payload = payload;
    segment.payload_bytes = bytes;
    segment.gso_bytes = bytes > GUEST_SEGMENT ? GUEST_SEGMENT : 0;
    guest_options(x, &segment);
    wire_put(&x->up, &x->plan.wire, &x->luck, x->world.now_us, &segment);
    guest->ack_due = false;
    guest->again_from = guest->again_to = 0;
}

static void guest_got_option(struct guest *guest, const struct world_segment *segment)
{
    for (uint32_t at = 0; at < segment->options_bytes;) {
        const uint8_t *option = segment->options + at;

        if (option[0] == 1) {
            at++;
            continue;
        }
        if (option[0] == 3) {
            guest->scaled = true;
            guest->peer_scale = option[2];
        } else if (option[0] == 4) {
            guest->sack = true;
        } else if (option[0] == 8) {
            guest->timestamps = true;
            if ((int32_t)(be32_get(option + 2) - guest->ts_recent) > 0)
                guest->ts_recent = be32_get(option + 2);
        }
        at += option[1];
    }
}

static void guest_takes_data(struct exchange *x, const struct world_segment *segment)
{
    struct guest *guest = &x->guest;
    const uint32_t base = guest->nat_isn + 1;
    uint32_t room_edge = guest->rcv_nxt + guest_window(x);

    if (segment->payload_bytes > 0 &&
        (int32_t)(segment->seq + segment->payload_bytes - guest->rcv_nxt) <= 0) {
        guest->again_from = segment->seq;
        guest->again_to = segment->seq + segment->payload_bytes;
    }

    for (uint32_t i = 0; i < segment->payload_bytes; i++) {
        const uint32_t seq = segment->seq + i, offset = seq - base;

        if ((int32_t)(seq - guest->rcv_nxt) < 0 || (int32_t)(seq - room_edge) >= 0)
            continue;
        CHECK(x, offset < x->plan.down_bytes);
        CHECK(x, segment->payload[i] == tcp_pattern(offset));
        guest->have[offset] = 1;
    }
    while (guest->rcv_nxt - base < x->plan.down_bytes && guest->have[guest->rcv_nxt - base])
        guest->rcv_nxt++;
    if ((segment->flags & TCP_FIN) != 0) {
        const uint32_t fin_seq = segment->seq + segment->payload_bytes;
        CHECK(x, x->remote_closed);
        CHECK(x, fin_seq - base == x->remote_sent); /* §6.2: FIN behind all data */
        guest->fin_seq = fin_seq;
        guest->fin_seen = guest->fin_seen || guest->rcv_nxt == fin_seq;
    }
    if (guest->fin_seen && guest->rcv_nxt == guest->fin_seq)
        guest->rcv_nxt++;
    guest->ack_due = true;
}

void exchange_guest_gets(struct exchange *x, const struct world_segment *segment)
{
    struct guest *guest = &x->guest;

    if ((segment->flags & TCP_RST) != 0) {
        if (!guest->is_open || segment->seq == guest->rcv_nxt)
            guest->is_reset = true;
        else if (segment->seq - guest->rcv_nxt <= guest_window(x))
            guest->ack_due = true; /* RFC 5961 challenge */
        return;
    }
    if ((segment->flags & TCP_SYN) != 0) {
        if (!guest->is_open) {
            guest->is_open = true;
            guest->nat_isn = segment->seq;
            guest->rcv_nxt = segment->seq + 1;
            guest->una = guest->nxt = segment->ack;
            guest->edge = segment->ack + segment->window;
            guest_got_option(guest, segment);
        }
        guest->ack_due = true;
        return;
    }
    if (!guest->is_open)
        return;
    guest_got_option(guest, segment);
    const uint32_t end = guest->isn + 1 + x->plan.up_bytes + guest->fin_ever_sent;
    CHECK(x, (int32_t)(segment->ack - end) <= 0); /* never more than was sent */
    const uint32_t edge =
        segment->ack + ((uint32_t)segment->window << (guest->scaled ? guest->peer_scale : 0));
    if ((int32_t)(segment->ack - guest->una) > 0) {
        guest->una = segment->ack;
        guest->backoff = 0;
        guest->retransmit_at_us = x->world.now_us + 300000;
        if ((int32_t)(guest->nxt - guest->una) < 0)
            guest->nxt = guest->una;
    }
    if ((int32_t)(edge - guest->edge) > 0)
        guest->edge = edge; /* the NAT never takes window back; reordered frames seem to */
    guest->fin_acked |= guest->fin_ever_sent && guest->una == end;
    if (segment->payload_bytes > 0 || (segment->flags & TCP_FIN) != 0 ||
        segment->seq != guest->rcv_nxt)
        guest_takes_data(x, segment);
}

void exchange_guest_runs(struct exchange *x)
{
    struct guest *guest = &x->guest;
    const uint32_t end = guest->isn + 1 + x->plan.up_bytes;
    const uint64_t now_us = x->world.now_us;

    if (guest->is_reset)
        return;
    if (!guest->is_open) {
        if (now_us >= guest->retransmit_at_us) {
            guest_emit(x, TCP_SYN, guest->isn, 0);
            guest->retransmit_at_us = now_us + 1000000;
        }
        return;
    }
    const uint32_t readable = guest->rcv_nxt - (guest->nat_isn + 1) - guest->fin_seen;
    if (pauses(x, &x->plan.guest_pause)) {
        guest->ack_due |= percent(x, 1);
    } else if (!x->plan.guest_reads_slowly) {
        const bool was_shut = guest_window(x) < x->plan.mss;
        guest->read_bytes = readable;
        guest->ack_due |= was_shut;
    } else if (percent(x, 3) && guest->read_bytes < readable) {
        const bool was_shut = guest_window(x) < x->plan.mss;
        guest->read_bytes += 1 + draw(x, readable - guest->read_bytes);
        guest->ack_due |= was_shut;
    }
    if (x->plan.guest_resets_at != 0 && guest->nxt - guest->isn >= x->plan.guest_resets_at) {
        guest_emit(x, TCP_RST, guest->nxt, 0);
        guest->is_reset = true;
        return;
    }
    if (now_us >= guest->retransmit_at_us && guest->una != guest->nxt) {
        guest->nxt = guest->una; /* go back N */
        guest->fin_sent = false;
        guest->backoff += guest->backoff < 5;
        guest->retransmit_at_us = now_us + ((uint64_t)300000 << guest->backoff);
    }
    for (int i = 0; i < 20 && (int32_t)(end - guest->nxt) > 0; i++) {
        uint32_t bytes = end - guest->nxt;
        const int32_t room = (int32_t)(guest->edge - guest->nxt);

        if (room <= 0 && (guest->una != guest->nxt || now_us < guest->retransmit_at_us))
            break;
        bytes = room > 0 && bytes > (uint32_t)room ? (uint32_t)room : room > 0 ? bytes : 1;
        const uint32_t most =
            x->plan.super_max_bytes != 0 ? 1 + draw(x, GUEST_SUPER_MAX) : GUEST_SEGMENT;
        bytes = bytes > most ? most : bytes;
        if (guest->una == guest->nxt)
            guest->retransmit_at_us = now_us + ((uint64_t)300000 << guest->backoff);
        guest_emit(x, TCP_PSH, guest->nxt, bytes);
        guest->nxt += bytes;
    }
    if (guest->nxt == end && !guest->fin_sent && !guest->fin_acked &&
        (x->plan.half_close_first || guest->fin_seen || percent(x, 1))) {
        if (guest->una == guest->nxt)
            guest->retransmit_at_us = now_us + 300000;
        guest_emit(x, TCP_FIN, guest->nxt, 0);
        guest->fin_sent = guest->fin_ever_sent = true;
        guest->nxt++;
    }
    if (guest->ack_due)
        guest_emit(x, 0, guest->nxt, 0);
}
