#include "tcp.h"

#include <string.h>

/* A flow may not have more than this share of the pool, so that one that the remote does not
 * read, or a guest that sends every other byte, leaves room for the others. */
static uint32_t share(const struct nat_tcp *tcp)
{
    return tcp->block_max - tcp->block_max / 4;
}

static uint32_t block_end(const struct tcp_block *block)
{
    return block->sequence + block->bytes;
}

static uint8_t *block_bytes(const struct nat_tcp *tcp, uint32_t id)
{
    return tcp->block_data + (size_t)(id - 1) * TCP_BLOCK_BYTES;
}

static uint32_t block_new(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    uint32_t id = tcp->block_free;

    if (flow->block_count >= share(tcp))
        return 0;
    if (id != 0)
        tcp->block_free = tcp->blocks[id].next;
    else if (tcp->block_used_max < tcp->block_max)
        id = ++tcp->block_used_max; /* first use: this is where the page gets real */
    else
        return 0;
    tcp->block_count++;
    flow->block_count++;
    return id;
}

static void block_give_back(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t id)
{
    tcp->blocks[id].next = tcp->block_free;
    tcp->block_free = id;
    tcp->block_count--;
    flow->block_count--;
}

/* Puts a prefix of the bytes behind block `previous` (0: at the front). Returns its length, 0 when
 * there is no block, and the block it went into. */
static uint32_t put(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t *previous,
                    uint32_t sequence, const uint8_t *data, uint32_t bytes)
{
    struct tcp_block *block = *previous != 0 ? &tcp->blocks[*previous] : NULL;
    uint32_t room_bytes = 0;

    if (block != NULL && block_end(block) == sequence)
        room_bytes = (uint32_t)TCP_BLOCK_BYTES - block->at - block->bytes;
    if (room_bytes == 0) {
        const uint32_t id = block_new(tcp, flow);

        if (id == 0)
            return 0;
        tcp->blocks[id] = (struct tcp_block){
            .sequence = sequence,
            .next = block != NULL ? block->next : flow->block_first,
        };
        if (block != NULL)
            block->next = id;
        else
            flow->block_first = id;
        if (flow->block_last == *previous)
            flow->block_last = id;
        *previous = id;
        block = &tcp->blocks[id];
        room_bytes = TCP_BLOCK_BYTES;
    }
    if (bytes > room_bytes)
        bytes = room_bytes;
    memcpy(block_bytes(tcp, *previous) + block->at + block->bytes, data, bytes);
    block->bytes = (uint16_t)(block->bytes + bytes);
    return bytes;
}

uint32_t tcp_reassembly_insert(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence,
                               const uint8_t *data, uint32_t bytes)
{
    uint32_t previous = 0, next = flow->block_first, done = 0;

    if (flow->block_last != 0 && !seq_before(sequence, tcp->blocks[flow->block_last].sequence)) {
        previous = flow->block_last; /* the usual case: a burst after a hole */
        next = 0;
        if (seq_before(sequence, block_end(&tcp->blocks[previous]))) {
            done = block_end(&tcp->blocks[previous]) - sequence;
            done = done < bytes ? done : bytes;
        }
    }
    while (next != 0 && !seq_after(block_end(&tcp->blocks[next]), sequence)) {
        previous = next;
        next = tcp->blocks[next].next;
    }
    while (done < bytes) {
        const uint32_t at = sequence + done;
        uint32_t gap = bytes - done;

        if (next != 0 && !seq_before(at, tcp->blocks[next].sequence)) {
            const uint32_t there = block_end(&tcp->blocks[next]) - at;
            done += there < gap ? there : gap; /* the first copy counts */
            previous = next;
            next = tcp->blocks[next].next;
            continue;
        }
        if (next != 0 && gap > tcp->blocks[next].sequence - at)
            gap = tcp->blocks[next].sequence - at;
        const uint32_t put_bytes = put(tcp, flow, &previous, at, data + done, gap);
        if (put_bytes == 0)
            break;
        done += put_bytes;
    }
    return done;
}

uint32_t tcp_reassembly_end(const struct nat_tcp *tcp, const struct tcp_flow *flow, uint32_t from)
{
    for (uint32_t id = flow->block_first; id != 0; id = tcp->blocks[id].next) {
        const struct tcp_block *block = &tcp->blocks[id];

        if (seq_after(block->sequence, from))
            break;
        from = seq_max(from, block_end(block));
    }
    return from;
}

int tcp_reassembly_peek(const struct nat_tcp *tcp, const struct tcp_flow *flow, uint32_t from,
                        uint32_t to, struct iovec *pieces, int piece_max)
{
    int count = 0;

    for (uint32_t id = flow->block_first; id != 0 && count < piece_max; id = tcp->blocks[id].next) {
        const struct tcp_block *block = &tcp->blocks[id];
        const uint32_t end = seq_min(block_end(block), to);

        if (!seq_after(end, from))
            continue;
        if (seq_after(block->sequence, from))
            break;
        pieces[count++] = (struct iovec){
            .iov_base = block_bytes(tcp, id) + block->at + (from - block->sequence),
            .iov_len = end - from,
        };
        from = end;
    }
    return count;
}

void tcp_reassembly_drop(struct nat_tcp *tcp, struct tcp_flow *flow, uint32_t sequence)
{
    while (flow->block_first != 0) {
        const uint32_t id = flow->block_first;
        struct tcp_block *block = &tcp->blocks[id];

        if (seq_after(block_end(block), sequence)) {
            if (seq_before(block->sequence, sequence)) {
                const uint16_t cut_bytes = (uint16_t)(sequence - block->sequence);

                block->sequence = sequence;
                block->at = (uint16_t)(block->at + cut_bytes);
                block->bytes = (uint16_t)(block->bytes - cut_bytes);
            }
            return;
        }
        flow->block_first = block->next;
        block_give_back(tcp, flow, id);
    }
    flow->block_last = 0;
}

void tcp_reassembly_clear(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    while (flow->block_first != 0) {
        const uint32_t id = flow->block_first;

        flow->block_first = tcp->blocks[id].next;
        block_give_back(tcp, flow, id);
    }
    flow->block_last = 0;
}

uint32_t tcp_reassembly_ranges(const struct nat_tcp *tcp, const struct tcp_flow *flow,
                               struct tcp_range *ranges, uint32_t range_max)
{
    uint32_t count = 0, id = flow->block_first;

    while (id != 0) {
        struct tcp_range range = {tcp->blocks[id].sequence, block_end(&tcp->blocks[id])};

        for (id = tcp->blocks[id].next; id != 0 && tcp->blocks[id].sequence == range.to;
             id = tcp->blocks[id].next)
            range.to = block_end(&tcp->blocks[id]);
        if (!seq_after(range.to, flow->rcv_nxt))
            continue; /* in order, not yet taken by the host */
        const bool is_recent =
            !seq_before(flow->sack_recent, range.from) && seq_before(flow->sack_recent, range.to);
        if (is_recent && count > 0) { /* RFC 2018 §4: the newest comes first */
            const uint32_t last = count < range_max ? count : range_max - 1;
            ranges[last] = ranges[0];
            ranges[0] = range;
            count = last + 1;
        } else if (count < range_max) {
            ranges[count++] = range;
        }
    }
    return count;
}
