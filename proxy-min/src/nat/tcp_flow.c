#include "tcp.h"

#include "memory/pages.h"

#include <stdlib.h>
#include <string.h>

enum {
    FLOW_MAX = 65535,            /* §2.2; also what fits the cookie */
    COOKIE_GENERATION_BITS = 14, /* behind 16 bits of id */
    POOL_MIN_BYTES = 1 << 20,
    KEPT_FLOWS = 16, /* tables used no further keep their pages */
    KEPT_BLOCKS = 16,
};

static uint32_t flow_max(const struct nat_config *config)
{
    return config->tcp_max < FLOW_MAX ? config->tcp_max : FLOW_MAX;
}

static uint32_t bucket_count(uint32_t flows)
{
    uint32_t count = 16;

    while (count < flows)
        count *= 2;
    return count;
}

/* One flow's largest window, or its early data, may be out of order as a whole. */
static uint32_t block_max(const struct nat_config *config)
{
    uint32_t bytes = POOL_MIN_BYTES;

    bytes = config->tcp_window_max_bytes > bytes ? config->tcp_window_max_bytes : bytes;
    bytes = config->tcp_early_bytes > bytes ? config->tcp_early_bytes : bytes;
    return bytes / TCP_BLOCK_BYTES * 4 / 3 + 1;
}

size_t nat_tcp_bytes(const struct nat_config *config)
{
    const size_t flows = (size_t)flow_max(config) + 1, blocks = (size_t)block_max(config) + 1;

    return sizeof(struct nat_tcp) + flows * (sizeof(struct tcp_flow) + sizeof(uint32_t)) +
           bucket_count(flow_max(config)) * sizeof(uint32_t) +
           blocks * (sizeof(struct tcp_block) + TCP_BLOCK_BYTES);
}

struct nat_batch *nat_batch_new(void)
{
    return pages_alloc(1, sizeof(struct nat_batch));
}

void nat_batch_free(struct nat_batch *batch)
{
    pages_free(batch, 1, sizeof *batch);
}

bool nat_tcp_open(struct nat *nat)
{
    struct nat_tcp *tcp = calloc(1, sizeof *tcp);

    if (tcp == NULL)
        return false;
    nat->tcp = tcp;
    tcp->nat = nat;
    if (nat->host.batch == NULL)
        tcp->own_batch = nat_batch_new();
    tcp->batch = nat->host.batch != NULL ? nat->host.batch : tcp->own_batch;
    tcp->flow_max = flow_max(nat->config);
    tcp->block_max = block_max(nat->config);
    tcp->bucket_mask = bucket_count(tcp->flow_max) - 1;
    tcp->flows = pages_alloc((size_t)tcp->flow_max + 1, sizeof *tcp->flows);
    tcp->heap = pages_alloc((size_t)tcp->flow_max + 1, sizeof *tcp->heap);
    tcp->buckets = pages_alloc((size_t)tcp->bucket_mask + 1, sizeof *tcp->buckets);
    tcp->blocks = pages_alloc((size_t)tcp->block_max + 1, sizeof *tcp->blocks);
    tcp->block_data = pages_alloc(tcp->block_max, TCP_BLOCK_BYTES);
    if (tcp->flows == NULL || tcp->heap == NULL || tcp->buckets == NULL || tcp->blocks == NULL ||
        tcp->block_data == NULL || tcp->batch == NULL) {
        nat_tcp_close(nat);
        return false;
    }
    const uint64_t secret = nat->host.random(nat->host.context);
    tcp->hash_secret = (uint32_t)secret;
    tcp->ts_offset = (uint32_t)(secret >> 32);
    return true;
}

void nat_tcp_close(struct nat *nat)
{
    struct nat_tcp *tcp = nat->tcp;

    if (tcp == NULL)
        return;
    if (tcp->flows != NULL) {
        for (uint32_t id = 1; id <= tcp->flow_used_max; id++) {
            if (tcp->flows[id].state != TCP_FREE)
                tcp_flow_free(tcp, &tcp->flows[id], true);
        }
    }
    pages_free(tcp->flows, (size_t)tcp->flow_max + 1, sizeof *tcp->flows);
    pages_free(tcp->heap, (size_t)tcp->flow_max + 1, sizeof *tcp->heap);
    pages_free(tcp->buckets, (size_t)tcp->bucket_mask + 1, sizeof *tcp->buckets);
    pages_free(tcp->blocks, (size_t)tcp->block_max + 1, sizeof *tcp->blocks);
    pages_free(tcp->block_data, tcp->block_max, TCP_BLOCK_BYTES);
    nat_batch_free(tcp->own_batch);
    free(tcp);
    nat->tcp = NULL;
}

/* The guest chooses all of the key but only fools its own session; the secret keeps a remote
 * that makes the guest connect from doing so. */
static uint32_t *bucket_of(const struct nat_tcp *tcp, const struct nat_flow_key *key)
{
    uint32_t hash = tcp->hash_secret ^ ((uint32_t)key->guest.port << 16 | key->remote.port);

    for (uint32_t i = 0; i < (key->remote.family == 6 ? 16u : 4u); i += 4)
        hash = (hash ^ be32_get(key->remote.address + i)) * 0x9e3779b1u;
    hash ^= hash >> 15;
    hash *= 0x85ebca6bu;
    return &tcp->buckets[(hash ^ hash >> 13) & tcp->bucket_mask];
}

struct tcp_flow *tcp_flow_find(const struct nat_tcp *tcp, const struct nat_flow_key *key)
{
    struct tcp_flow *flow = tcp_flow_at(tcp, *bucket_of(tcp, key));

    while (flow != NULL && !(flow->key.guest.port == key->guest.port &&
                             nat_endpoint_equal(&flow->key.remote, &key->remote)))
        flow = tcp_flow_at(tcp, flow->hash_next);
    return flow;
}

struct tcp_flow *tcp_flow_new(struct nat_tcp *tcp, const struct nat_flow_key *key)
{
    uint32_t id = tcp->flow_free;

    if (id == 0 && tcp->flow_used_max == tcp->flow_max &&
        tcp->lists[TCP_LIST_TIME_WAIT].first != 0) {
        /* Full: the oldest TIME-WAIT has waited longest (RFC 9293 §3.6.1 is a SHOULD). */
        tcp_flow_free(tcp, tcp_flow_at(tcp, tcp->lists[TCP_LIST_TIME_WAIT].first), false);
        id = tcp->flow_free;
    }
    if (id != 0)
        tcp->flow_free = tcp->flows[id].hash_next;
    else if (tcp->flow_used_max < tcp->flow_max)
        id = ++tcp->flow_used_max;
    else
        return NULL;

    struct tcp_flow *flow = &tcp->flows[id];
    uint32_t *bucket = bucket_of(tcp, key);

    memset(flow, 0, sizeof *flow);
    flow->generation = ++tcp->generation; /* so that late events of the slot's last flow miss */
    flow->key = *key;
    flow->state = TCP_CONNECTING;
    flow->socket = -1;
    flow->hash_next = *bucket;
    *bucket = id;
    tcp->flow_count++;
    nat_gauge(&tcp->nat->metrics->tcp_conns_active, 1);
    return flow;
}

static void unhash(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const uint32_t id = tcp_flow_id(tcp, flow);
    uint32_t *link = bucket_of(tcp, &flow->key);

    while (*link != id)
        link = &tcp->flows[*link].hash_next;
    *link = flow->hash_next;
}

/* What a flow holds beside its slot: socket, pool blocks, timers, list places. Payload gathered
 * in this batch is forgotten with the flow; batch->flows may still name it. */
static void release(struct nat_tcp *tcp, struct tcp_flow *flow, bool reset)
{
    if (flow->socket >= 0)
        tcp->nat->host.close(tcp->nat->host.context, flow->socket, reset);
    flow->socket = -1;
    tcp_reassembly_clear(tcp, flow);
    flow->gathered_first = flow->gathered_last = flow->gathered_bytes = 0;
    if (flow->is_ready)
        tcp_list_remove(tcp, TCP_LIST_READY, flow);
    flow->is_ready = false;
    tcp_timer_forget(tcp, flow);
}

void tcp_flow_free(struct nat_tcp *tcp, struct tcp_flow *flow, bool reset)
{
    if (flow->state == TCP_TIME_WAIT)
        tcp_list_remove(tcp, TCP_LIST_TIME_WAIT, flow);
    else
        nat_gauge(&tcp->nat->metrics->tcp_conns_active, -1);
    release(tcp, flow, reset);
    unhash(tcp, flow);
    flow->state = TCP_FREE;
    flow->in_batch = false;
    flow->hash_next = tcp->flow_free;
    tcp->flow_free = tcp_flow_id(tcp, flow);
    tcp->flow_count--;
}

void tcp_flow_trim(struct nat_tcp *tcp)
{
    if (tcp->flow_count != 0 ||
        (tcp->flow_used_max <= KEPT_FLOWS && tcp->block_used_max <= KEPT_BLOCKS))
        return;
    pages_forget(tcp->flows, (size_t)tcp->flow_max + 1, sizeof *tcp->flows);
    pages_forget(tcp->heap, (size_t)tcp->flow_max + 1, sizeof *tcp->heap);
    pages_forget(tcp->blocks, (size_t)tcp->block_max + 1, sizeof *tcp->blocks);
    pages_forget(tcp->block_data, tcp->block_max, TCP_BLOCK_BYTES);
    tcp->flow_used_max = tcp->flow_free = 0;
    tcp->block_used_max = tcp->block_free = 0;
}

void tcp_flow_time_wait(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    const bool ack_due = flow->ack_due;

    release(tcp, flow, false);
    nat_gauge(&tcp->nat->metrics->tcp_conns_active, -1); /* nothing of the host's is left */
    flow->state = TCP_TIME_WAIT;
    tcp_list_append(tcp, TCP_LIST_TIME_WAIT, flow);
    tcp_timer_set(tcp, flow, TCP_TIMER_SEND, tcp->nat->now_us + TCP_TIME_WAIT_US);
    flow->ack_due = ack_due;
    if (ack_due)
        tcp_flow_ready(tcp, flow);
}

uint32_t tcp_flow_cookie(const struct nat_tcp *tcp, const struct tcp_flow *flow)
{
    const uint32_t generation = flow->generation & ((1u << COOKIE_GENERATION_BITS) - 1);

    return nat_cookie(NAT_COOKIE_TCP, generation << 16 | tcp_flow_id(tcp, flow));
}

struct tcp_flow *tcp_flow_by_cookie(const struct nat_tcp *tcp, uint32_t cookie)
{
    const uint32_t id = cookie & 0xffff;

    if (id == 0 || id > tcp->flow_used_max || tcp->flows[id].state == TCP_FREE ||
        tcp_flow_cookie(tcp, &tcp->flows[id]) != cookie)
        return NULL;
    return &tcp->flows[id];
}

void tcp_list_append(struct nat_tcp *tcp, enum tcp_list which, struct tcp_flow *flow)
{
    struct tcp_ends *list = &tcp->lists[which];
    const uint32_t id = tcp_flow_id(tcp, flow);

    flow->links[which] = (struct tcp_link){.previous = list->last};
    if (list->last != 0)
        tcp->flows[list->last].links[which].next = id;
    else
        list->first = id;
    list->last = id;
}

void tcp_list_remove(struct nat_tcp *tcp, enum tcp_list which, struct tcp_flow *flow)
{
    struct tcp_ends *list = &tcp->lists[which];
    const struct tcp_link link = flow->links[which];

    if (link.previous != 0)
        tcp->flows[link.previous].links[which].next = link.next;
    else
        list->first = link.next;
    if (link.next != 0)
        tcp->flows[link.next].links[which].previous = link.previous;
    else
        list->last = link.previous;
}

void tcp_flow_ready(struct nat_tcp *tcp, struct tcp_flow *flow)
{
    if (flow->is_ready || flow->state == TCP_FREE)
        return;
    flow->is_ready = true;
    tcp_list_append(tcp, TCP_LIST_READY, flow);
}
