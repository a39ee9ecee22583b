#include "memory/pages.h"
#include "nat/dns_cache.h"
#include "nat/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * §5.4. A question is answered from the overrides, the cache or the host's resolver; whatever the
 * source, an address reaches the guest only if the policy would let a connection to it pass.
 */
enum {
    REPLY_BYTES_MAX = 65535,
    RECORD_FIXED_BYTES = 12, /* of our own records: pointer, type, class, TTL, length */
    SVC_IPV4_HINT = 4,       /* RFC 9460 §14.3.2 */
    SVC_IPV6_HINT = 6,
    SOA_MINIMUM_BYTES = 4,
};

struct pending {
    struct dns_client client;
    struct dns_question question;
    uint64_t deadline_us;
    uint32_t older, newer; /* slot + 1; `newer` also links free slots */
    uint16_t generation;
    bool used;
};

struct nat_dns {
    struct dns_cache cache;
    struct pending *pending;
    uint32_t capacity, fresh, free_head; /* as in struct flow_table */
    uint32_t oldest, newest;
};

/* An answer section under construction. */
struct section {
    uint8_t records[REPLY_BYTES_MAX - DNS_HEADER_BYTES - DNS_NAME_WIRE_MAX - 4];
    size_t bytes;
    uint16_t count;
    uint32_t ttl_s; /* the smallest */
    bool denied;    /* the policy kept an address back */
};

size_t nat_dns_bytes(const struct nat_config *config)
{
    return sizeof(struct nat_dns) + config->dns_pending_max * sizeof(struct pending) +
           dns_cache_bytes(config->dns_cache_max);
}

bool nat_dns_open(struct nat *nat)
{
    struct nat_dns *dns = calloc(1, sizeof *dns);

    nat->dns = dns;
    if (dns == NULL)
        return false;
    dns->capacity = nat->config->dns_pending_max < 0xffff ? nat->config->dns_pending_max : 0xffff;
    dns->pending = pages_alloc(dns->capacity, sizeof *dns->pending);
    return dns->pending != NULL && dns_cache_open(&dns->cache, nat->config->dns_cache_max,
                                                  nat->host.random(nat->host.context));
}

void nat_dns_close(struct nat *nat)
{
    if (nat->dns == NULL)
        return;
    dns_cache_close(&nat->dns->cache);
    pages_free(nat->dns->pending, nat->dns->capacity, sizeof *nat->dns->pending);
    free(nat->dns);
}

/* ---- the table of unanswered questions, oldest first ---- */

static struct pending *pending_at(struct nat_dns *dns, uint32_t link)
{
    return link == 0 ? NULL : &dns->pending[link - 1];
}

static struct pending *pending_add(struct nat_dns *dns)
{
    uint32_t link = dns->free_head;

    if (link != 0)
        dns->free_head = dns->pending[link - 1].newer;
    else if (dns->fresh < dns->capacity)
        link = ++dns->fresh;
    else
        return NULL;
    struct pending *pending = &dns->pending[link - 1];

    pending->used = true;
    pending->newer = 0;
    pending->older = dns->newest;
    if (dns->newest != 0)
        pending_at(dns, dns->newest)->newer = link;
    else
        dns->oldest = link;
    dns->newest = link;
    return pending;
}

static void pending_remove(struct nat_dns *dns, struct pending *pending)
{
    const uint32_t link = (uint32_t)(pending - dns->pending) + 1;

    if (pending->older != 0)
        pending_at(dns, pending->older)->newer = pending->newer;
    else
        dns->oldest = pending->newer;
    if (pending->newer != 0)
        pending_at(dns, pending->newer)->older = pending->older;
    else
        dns->newest = pending->older;
    pending->used = false;
    pending->generation++;
    pending->newer = dns->free_head;
    dns->free_head = link;
}

static uint32_t pending_handle(const struct nat_dns *dns, const struct pending *pending)
{
    return (uint32_t)pending->generation << 16 | (uint32_t)(pending - dns->pending);
}

static struct pending *pending_find(struct nat_dns *dns, uint32_t handle)
{
    const uint32_t slot = handle & 0xffff;

    if (slot >= dns->fresh || !dns->pending[slot].used ||
        dns->pending[slot].generation != handle >> 16)
        return NULL;
    return &dns->pending[slot];
}

static bool same_client(const struct dns_client *a, const struct dns_client *b)
{
    return a->stream == b->stream && (a->stream != 0 || nat_flow_key_equal(&a->key, &b->key));
}

/* A guest that repeats itself gets one answer. */
static bool pending_repeats(struct nat_dns *dns, const struct dns_client *client,
                            const struct dns_question *question)
{
    for (uint32_t link = dns->newest; link != 0; link = dns->pending[link - 1].older) {
        const struct pending *pending = &dns->pending[link - 1];

        if (pending->question.id == question->id &&
            pending->question.wire_bytes == question->wire_bytes &&
            same_client(&pending->client, client) &&
            memcmp(pending->question.wire, question->wire, question->wire_bytes) == 0)
            return true;
    }
    return false;
}

/* ---- replies ---- */

static void reply(struct nat *nat, const struct dns_client *client,
                  const struct dns_question *question, uint8_t rcode, const uint8_t *records,
                  uint16_t count)
{
    uint8_t room[UDP_HEADER_BYTES + REPLY_BYTES_MAX];
    uint8_t *message = room + UDP_HEADER_BYTES;
    const size_t limit = client->stream != 0 ? REPLY_BYTES_MAX : DNS_UDP_MAX;
    const size_t space = limit - DNS_HEADER_BYTES - question->wire_bytes;
    size_t fitting = 0;
    uint16_t whole = 0;

    while (whole < count) {
        const size_t record = RECORD_FIXED_BYTES + (size_t)be16_get(records + fitting + 10);

        if (record > space - fitting)
            break;
        fitting += record;
        whole++;
    }
    const size_t head = dns_reply_head(message, question, rcode, whole, whole < count);

    if (fitting != 0)
        memcpy(message + head, records, fitting);
    if (client->stream != 0)
        nat_gateway_reply(nat, client->stream, message, (uint32_t)(head + fitting));
    else
        nat_udp_send(nat, &client->key, room, (uint32_t)(head + fitting));
}

static void reply_code(struct nat *nat, const struct dns_client *client,
                       const struct dns_question *question, uint8_t rcode)
{
    reply(nat, client, question, rcode, NULL, 0);
}

static void reply_cached(struct nat *nat, const struct dns_client *client,
                         const struct dns_question *question, const struct dns_cached *cached)
{
    uint8_t records[DNS_CACHED_BYTES_MAX];
    const uint64_t left_s = (cached->expires_us - nat->now_us + 999999) / 1000000;
    size_t at = 0;

    memcpy(records, cached->records, cached->bytes);
    for (uint32_t i = 0; i < cached->count; i++) {
        be32_put(records + at + 6, (uint32_t)left_s);
        at += RECORD_FIXED_BYTES + (size_t)be16_get(records + at + 10);
    }
    reply(nat, client, question, cached->rcode, records, cached->count);
}

/* ---- answers ---- */

static uint32_t ttl_limited(const struct nat *nat, uint32_t ttl_s)
{
    if (ttl_s == 0)
        ttl_s = nat->config->dns_default_ttl_s;
    return ttl_s < nat->config->dns_max_ttl_s ? ttl_s : nat->config->dns_max_ttl_s;
}

static bool address_allowed(const struct nat *nat, uint8_t family, const uint8_t *address)
{
    return policy_check_address(nat->config->policy, family, address, false) == POLICY_ALLOW;
}

/* RFC 9460 §2.2: priority, target, parameters; each hinted address is an answered address. */
static bool service_allowed(const struct nat *nat, const struct dns_answer *answer,
                            const struct dns_record *record)
{
    const size_t end = record->rdata_at + record->rdata_bytes;
    uint8_t target[DNS_NAME_WIRE_MAX];
    size_t at = record->rdata_at + 2;

    if (record->rdata_bytes < 3 || dns_name_expand(answer->message, end, &at, target) == 0)
        return false;
    while (at < end) {
        if (end - at < 4)
            return false;
        const uint32_t key = be16_get(answer->message + at);
        const size_t bytes = be16_get(answer->message + at + 2);
        const uint8_t *value = answer->message + at + 4;
        const uint32_t step = key == SVC_IPV4_HINT ? 4 : 16;

        if (bytes > end - at - 4)
            return false;
        at += 4 + bytes;
        if (key != SVC_IPV4_HINT && key != SVC_IPV6_HINT)
            continue;
        if (bytes % step != 0)
            return false;
        for (size_t i = 0; i < bytes; i += step)
            if (!address_allowed(nat, step == 4 ? 4 : 6, value + i))
                return false;
    }
    return true;
}

static bool record_allowed(const struct nat *nat, const struct dns_answer *answer,
                           const struct dns_record *record)
{
    const uint8_t *rdata = answer->message + record->rdata_at;

    switch (record->type) {
    case DNS_TYPE_A:
        return record->rdata_bytes == 4 && address_allowed(nat, 4, rdata);
    case DNS_TYPE_AAAA:
        return record->rdata_bytes == 16 && address_allowed(nat, 6, rdata);
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
        return service_allowed(nat, answer, record);
    default:
        return true;
    }
}

/* Takes the records of the wanted type; a chain of CNAMEs before them is cut short: the owner of
 * every record is the name that was asked for. */
static void section_collect(struct nat *nat, struct section *section, struct dns_answer *answer,
                            uint16_t type)
{
    struct dns_record record;

    for (uint32_t i = 0; i < answer->answers && i < DNS_RECORDS_MAX; i++) {
        if (!dns_answer_next(answer, &record))
            return;
        if (record.type != type || record.class != DNS_CLASS_IN)
            continue;
        if (!record_allowed(nat, answer, &record)) {
            section->denied = true;
            continue;
        }
        const uint32_t ttl_s = ttl_limited(nat, record.ttl_s);
        const size_t bytes =
            dns_record_write(answer, &record, ttl_s, section->records + section->bytes,
                             sizeof section->records - section->bytes);

        if (bytes == 0)
            continue;
        section->bytes += bytes;
        section->count++;
        if (ttl_s < section->ttl_s)
            section->ttl_s = ttl_s;
    }
}

/* RFC 2308 §5: how long "no" may be remembered; 0 without an SOA record. */
static uint32_t negative_ttl(const struct nat *nat, struct dns_answer *answer)
{
    struct dns_record record;

    for (uint32_t i = 0; i < DNS_RECORDS_MAX && dns_answer_next(answer, &record); i++) {
        if (record.type != DNS_TYPE_SOA || record.rdata_bytes < SOA_MINIMUM_BYTES)
            continue;
        const uint32_t minimum =
            be32_get(answer->message + record.rdata_at + record.rdata_bytes - SOA_MINIMUM_BYTES);
        const uint32_t ttl_s = minimum < record.ttl_s ? minimum : record.ttl_s;

        return ttl_s < nat->config->dns_max_ttl_s ? ttl_s : nat->config->dns_max_ttl_s;
    }
    return 0;
}

static void remember(struct nat *nat, const struct dns_question *question, uint8_t rcode,
                     const struct section *section, uint32_t ttl_s)
{
    if (ttl_s != 0)
        dns_cache_put(&nat->dns->cache, question->name, question->type, rcode, section->records,
                      section->bytes, section->count, nat->now_us + (uint64_t)ttl_s * 1000000);
}

static void fail(struct nat *nat, const struct pending *pending, uint8_t rcode)
{
    nat_count(&nat->metrics->dns_fail_total);
    reply_code(nat, &pending->client, &pending->question, rcode);
}

static void answer_received(struct nat *nat, const struct pending *pending,
                            struct dns_answer *answer)
{
    const struct dns_question *question = &pending->question;
    struct section section; /* too large to zero: `records` is written before it is read */

    section.bytes = 0;
    section.count = 0;
    section.ttl_s = UINT32_MAX;
    section.denied = false;
    if (answer->rcode != DNS_NOERROR && answer->rcode != DNS_NXDOMAIN) {
        fail(nat, pending, DNS_SERVFAIL);
        return;
    }
    if (answer->rcode == DNS_NOERROR)
        section_collect(nat, &section, answer, question->type);
    if (section.count != 0) {
        remember(nat, question, DNS_NOERROR, &section, section.ttl_s);
        reply(nat, &pending->client, question, DNS_NOERROR, section.records, section.count);
    } else if (section.denied) { /* the rebinding defence */
        nat_count(&nat->metrics->policy_denied_total);
        reply_code(nat, &pending->client, question, DNS_NXDOMAIN);
    } else {
        remember(nat, question, answer->rcode, &section, negative_ttl(nat, answer));
        if (answer->rcode == DNS_NXDOMAIN)
            nat_count(&nat->metrics->dns_fail_total);
        reply_code(nat, &pending->client, question, answer->rcode);
    }
}

void nat_dns_answer(struct nat *nat, uint32_t query, const uint8_t *wire, size_t wire_bytes,
                    int status, uint64_t now_us)
{
    struct pending *pending = pending_find(nat->dns, query);
    struct dns_answer answer;

    nat->now_us = now_us;
    if (pending == NULL)
        return; /* timed out before */
    if (wire == NULL)
        fail(nat, pending, status == -ENOENT ? DNS_NXDOMAIN : DNS_SERVFAIL);
    else if (!dns_answer_open(&answer, wire, wire_bytes))
        fail(nat, pending, DNS_SERVFAIL);
    else
        answer_received(nat, pending, &answer);
    pending_remove(nat->dns, pending);
    nat_gateway_run(nat);
}

/* ---- questions ---- */

/* §5.4: fixed answers. True when the name has any. */
static bool answer_override(struct nat *nat, const struct dns_client *client,
                            const struct dns_question *question)
{
    const struct nat_config *config = nat->config;
    uint8_t records[DNS_UDP_MAX];
    size_t bytes = 0;
    uint16_t count = 0;
    bool known = false;

    for (uint32_t i = 0; i < config->dns_override_count; i++) {
        const struct nat_dns_override *override = &config->dns_overrides[i];
        const struct dns_answer source = {.message = override->address, .bytes = 4};
        const struct dns_record record = {.type = DNS_TYPE_A, .rdata_bytes = 4};

        if (strcmp(override->name, question->name) != 0)
            continue;
        known = true;
        if (policy_check_address(config->policy, 4, override->address, true) != POLICY_ALLOW)
            continue;
        const size_t added = dns_record_write(&source, &record, ttl_limited(nat, 0),
                                              records + bytes, sizeof records - bytes);

        bytes += added;
        count = (uint16_t)(count + (added != 0));
    }
    if (!known)
        return false;
    if (question->type != DNS_TYPE_A)
        reply_code(nat, client, question, DNS_NOERROR);
    else if (count == 0)
        reply_code(nat, client, question, DNS_NXDOMAIN);
    else
        reply(nat, client, question, DNS_NOERROR, records, count);
    return true;
}

static bool type_served(uint16_t type)
{
    switch (type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
    case DNS_TYPE_NS:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_SOA:
    case DNS_TYPE_PTR:
    case DNS_TYPE_MX:
    case DNS_TYPE_TXT:
    case DNS_TYPE_SRV:
    case DNS_TYPE_NAPTR:
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
    case DNS_TYPE_CAA:
        return true;
    default:
        return false;
    }
}

static bool name_allowed(const struct nat *nat, const struct dns_question *question)
{
    uint8_t address[16];

    if (policy_check_name(nat->config->policy, question->name) != POLICY_ALLOW)
        return false;
    /* A PTR answer would tell what the host's own networks call their machines. */
    const uint8_t family =
        question->type == DNS_TYPE_PTR ? dns_reverse_address(question->name, address) : 0;

    return family == 0 || address_allowed(nat, family, address);
}

static void resolve(struct nat *nat, const struct dns_client *client,
                    const struct dns_question *question)
{
    struct nat_dns *dns = nat->dns;
    const uint64_t timeout_us = (uint64_t)nat->config->dns_timeout_ms * 1000;

    struct pending *pending = pending_add(dns);

    if (pending == NULL) {
        reply_code(nat, client, question, DNS_SERVFAIL);
        return;
    }
    pending->client = *client;
    pending->question = *question;
    pending->deadline_us = timeout_us == 0 ? UINT64_MAX : nat->now_us + timeout_us;
    nat_count(&nat->metrics->dns_queries_total);
    if (nat->host.dns_query(nat->host.context, pending_handle(dns, pending), question->name,
                            question->type) < 0) {
        fail(nat, pending, DNS_SERVFAIL);
        pending_remove(dns, pending);
    }
}

/* The question is well-formed and new: exactly one answer follows. */
static void question_received(struct nat *nat, const struct dns_client *client,
                              const struct dns_question *question)
{
    if (!name_allowed(nat, question)) {
        nat_count(&nat->metrics->policy_denied_total);
        reply_code(nat, client, question, DNS_NXDOMAIN);
        return;
    }
    if (question->opcode != 0 || question->class != DNS_CLASS_IN) {
        reply_code(nat, client, question, DNS_NOTIMP);
        return;
    }
    if (answer_override(nat, client, question))
        return;
    /* Without IPv6 on the LAN such an address would mislead. */
    if (question->type == DNS_TYPE_AAAA && !nat_ip6_on(nat)) {
        reply_code(nat, client, question, DNS_NOERROR);
        return;
    }
    if (!type_served(question->type)) {
        reply_code(nat, client, question, DNS_NOTIMP);
        return;
    }
    const struct dns_cached *cached =
        dns_cache_find(&nat->dns->cache, question->name, question->type, nat->now_us);

    if (cached != NULL)
        reply_cached(nat, client, question, cached);
    else
        resolve(nat, client, question);
}

bool nat_dns_input(struct nat *nat, const struct dns_client *client, const uint8_t *message,
                   uint32_t bytes)
{
    struct dns_question question;

    if (!dns_question_parse(&question, message, bytes)) {
        nat_count(&nat->metrics->guest_malformed_total);
        return false;
    }
    if (pending_repeats(nat->dns, client, &question))
        return false;
    question_received(nat, client, &question);
    return true;
}

void nat_dns_tick(struct nat *nat)
{
    struct nat_dns *dns = nat->dns;
    struct pending *pending;

    /* All wait equally long, so the oldest is due first. */
    while ((pending = pending_at(dns, dns->oldest)) != NULL &&
           pending->deadline_us <= nat->now_us) {
        fail(nat, pending, DNS_SERVFAIL);
        pending_remove(dns, pending);
    }
}

uint64_t nat_dns_deadline(const struct nat *nat)
{
    const struct nat_dns *dns = nat->dns;

    return dns->oldest == 0 ? UINT64_MAX : dns->pending[dns->oldest - 1].deadline_us;
}
