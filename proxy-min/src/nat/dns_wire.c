#include "nat/dns_wire.h"

#include "nic/packet.h"

#include <stdio.h>
#include <string.h>

enum { /* RFC 1035 §4.1.1 */
       FLAG_RESPONSE = 0x8000,
       FLAG_TRUNCATED = 0x0200,
       FLAG_RECURSION_DESIRED = 0x0100,
       FLAG_RECURSION_AVAILABLE = 0x0080,
       OPCODE_SHIFT = 11,
       RCODE_MASK = 0x000f,

       FLAGS_AT = 2,
       QUESTIONS_AT = 4,
       ANSWERS_AT = 6,
       AUTHORITIES_AT = 8,

       LABEL_MAX = 63,
       POINTER_BITS = 0xc0,
       NAME_POINTER = 0xc00c, /* to the question's name */
       RECORD_FIXED_BYTES = 10,
};

/* Text of one label; what a host's resolver could not be asked for, is refused. */
static bool label_text(char *to, const uint8_t *label, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        const uint8_t c = label[i];

        if (c < 0x20 || c > 0x7e || c == '.' || c == '\\')
            return false;
        to[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    return true;
}

/* The uncompressed name at `message + at`; returns its wire bytes, 0 if malformed. */
static size_t question_name(char text[DNS_NAME_TEXT_BYTES], const uint8_t *message, size_t bytes,
                            size_t at)
{
    size_t used = 0;
    size_t length = 0;

    for (;;) {
        if (at + used >= bytes)
            return 0;
        const uint32_t label = message[at + used];

        used++;
        if (label == 0)
            break;
        if (label > LABEL_MAX || label > bytes - at - used || used + label >= DNS_NAME_WIRE_MAX)
            return 0;
        if (length != 0)
            text[length++] = '.';
        if (!label_text(text + length, message + at + used, label))
            return 0;
        length += label;
        used += label;
    }
    text[length] = '\0';
    return used;
}

bool dns_question_parse(struct dns_question *question, const uint8_t *message, size_t bytes)
{
    if (bytes < DNS_HEADER_BYTES)
        return false;
    const uint32_t flags = be16_get(message + FLAGS_AT);

    if ((flags & FLAG_RESPONSE) != 0 || be16_get(message + QUESTIONS_AT) != 1)
        return false;
    const size_t name_bytes = question_name(question->name, message, bytes, DNS_HEADER_BYTES);

    if (name_bytes == 0 || bytes - DNS_HEADER_BYTES - name_bytes < 4)
        return false;
    const uint8_t *after = message + DNS_HEADER_BYTES + name_bytes;

    question->id = be16_get(message);
    question->recursion_desired = (flags & FLAG_RECURSION_DESIRED) != 0;
    question->opcode = (uint8_t)(flags >> OPCODE_SHIFT & 15);
    question->type = be16_get(after);
    question->class = be16_get(after + 2);
    question->wire_bytes = (uint16_t)(name_bytes + 4);
    memcpy(question->wire, message + DNS_HEADER_BYTES, question->wire_bytes);
    return true;
}

size_t dns_name_expand(const uint8_t *message, size_t bytes, size_t *at,
                       uint8_t out[DNS_NAME_WIRE_MAX])
{
    size_t read = *at;
    size_t limit = bytes; /* a pointer must lead before the piece it ends */
    size_t written = 0;
    bool jumped = false;

    for (;;) {
        if (read >= limit)
            return 0;
        const uint32_t label = message[read];

        if (label >= POINTER_BITS) {
            if (limit - read < 2)
                return 0;
            const size_t target = be16_get(message + read) & 0x3fffu;

            if (!jumped)
                *at = read + 2;
            jumped = true;
            limit = read; /* strictly shrinking: forward pointers fail, and the walk ends */
            read = target;
            continue;
        }
        if (label > LABEL_MAX || label > limit - read - 1 ||
            written + 1 + label + (label != 0) > DNS_NAME_WIRE_MAX)
            return 0;
        memcpy(out + written, message + read, 1 + label);
        written += 1 + label;
        read += 1 + label;
        if (label == 0)
            break;
    }
    if (!jumped)
        *at = read;
    return written;
}

bool dns_answer_open(struct dns_answer *answer, const uint8_t *message, size_t bytes)
{
    uint8_t name[DNS_NAME_WIRE_MAX];
    size_t at = DNS_HEADER_BYTES;

    if (bytes < DNS_HEADER_BYTES)
        return false;
    const uint32_t flags = be16_get(message + FLAGS_AT);
    const uint32_t questions = be16_get(message + QUESTIONS_AT);

    if ((flags & FLAG_RESPONSE) == 0 || questions > 1)
        return false;
    if (questions == 1) {
        if (dns_name_expand(message, bytes, &at, name) == 0 || bytes - at < 4)
            return false;
        at += 4;
    }
    *answer = (struct dns_answer){
        .message = message,
        .bytes = bytes,
        .rcode = flags & RCODE_MASK,
        .truncated = (flags & FLAG_TRUNCATED) != 0,
        .answers = be16_get(message + ANSWERS_AT),
        .authorities = be16_get(message + AUTHORITIES_AT),
        .at = at,
    };
    return true;
}

bool dns_answer_next(struct dns_answer *answer, struct dns_record *record)
{
    const uint8_t *message = answer->message;
    uint8_t owner[DNS_NAME_WIRE_MAX];
    size_t at = answer->at;

    if (dns_name_expand(message, answer->bytes, &at, owner) == 0 ||
        answer->bytes - at < RECORD_FIXED_BYTES)
        return false;
    *record = (struct dns_record){
        .type = be16_get(message + at),
        .class = be16_get(message + at + 2),
        .ttl_s = be32_get(message + at + 4),
        .rdata_bytes = be16_get(message + at + 8),
        .rdata_at = at + RECORD_FIXED_BYTES,
    };
    if (record->rdata_bytes > answer->bytes - record->rdata_at)
        return false;
    answer->at = record->rdata_at + record->rdata_bytes;
    return true;
}

/* How rdata is laid out: fixed bytes, then names, then more fixed bytes (RFC 1035 §3.3, 2782). */
struct layout {
    uint8_t before, names, after;
};

static struct layout layout_of(uint16_t type)
{
    switch (type) {
    case DNS_TYPE_NS:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_PTR:
        return (struct layout){0, 1, 0};
    case DNS_TYPE_SOA:
        return (struct layout){0, 2, 20};
    case DNS_TYPE_MX:
        return (struct layout){2, 1, 0};
    case DNS_TYPE_SRV:
        return (struct layout){6, 1, 0};
    default:
        return (struct layout){0, 0, 0}; /* RFC 3597 §4: later types may not compress */
    }
}

static size_t rdata_write(const struct dns_answer *answer, const struct dns_record *record,
                          uint8_t *to, size_t room)
{
    const struct layout layout = layout_of(record->type);
    const size_t end = record->rdata_at + record->rdata_bytes;
    size_t at = record->rdata_at;
    size_t written = 0;

    if (layout.names == 0) {
        if (record->rdata_bytes > room)
            return 0;
        memcpy(to, answer->message + at, record->rdata_bytes);
        return record->rdata_bytes;
    }
    if (layout.before > record->rdata_bytes || layout.before > room)
        return 0;
    memcpy(to, answer->message + at, layout.before);
    at += layout.before;
    written += layout.before;
    for (uint32_t i = 0; i < layout.names; i++) {
        uint8_t name[DNS_NAME_WIRE_MAX];
        const size_t bytes = dns_name_expand(answer->message, end, &at, name);

        if (bytes == 0 || bytes > room - written)
            return 0;
        memcpy(to + written, name, bytes);
        written += bytes;
    }
    if (end - at != layout.after || layout.after > room - written)
        return 0;
    memcpy(to + written, answer->message + at, layout.after);
    return written + layout.after;
}

size_t dns_record_write(const struct dns_answer *answer, const struct dns_record *record,
                        uint32_t ttl_s, uint8_t *to, size_t room)
{
    const size_t head = 2 + RECORD_FIXED_BYTES;

    if (room < head)
        return 0;
    const size_t rdata_bytes = rdata_write(answer, record, to + head, room - head);

    if (rdata_bytes == 0 && record->rdata_bytes != 0)
        return 0;
    be16_put(to, NAME_POINTER);
    be16_put(to + 2, record->type);
    be16_put(to + 4, DNS_CLASS_IN);
    be32_put(to + 6, ttl_s);
    be16_put(to + 10, (uint16_t)rdata_bytes);
    return head + rdata_bytes;
}

size_t dns_reply_head(uint8_t *to, const struct dns_question *question, uint8_t rcode,
                      uint16_t answers, bool truncated)
{
    uint32_t flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | rcode;

    flags |= (uint32_t)question->opcode << OPCODE_SHIFT;
    if (question->recursion_desired)
        flags |= FLAG_RECURSION_DESIRED;
    if (truncated)
        flags |= FLAG_TRUNCATED;
    memset(to, 0, DNS_HEADER_BYTES);
    be16_put(to, question->id);
    be16_put(to + FLAGS_AT, (uint16_t)flags);
    be16_put(to + QUESTIONS_AT, 1);
    be16_put(to + ANSWERS_AT, answers);
    memcpy(to + DNS_HEADER_BYTES, question->wire, question->wire_bytes);
    return DNS_HEADER_BYTES + (size_t)question->wire_bytes;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3596 §2.5: 32 nibbles, the last one first. */
static bool reverse6(const char *name, uint8_t address[16])
{
    if (strlen(name) != 64 + sizeof "ip6.arpa" - 1 || strcmp(name + 64, "ip6.arpa") != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        const int low = hex_value(name[60 - 4 * i + 0]);
        const int high = hex_value(name[60 - 4 * i + 2]);

        if (low < 0 || high < 0)
            return false;
        address[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

uint8_t dns_reverse_address(const char *name, uint8_t address[16])
{
    unsigned part[4];
    int end = 0;

    if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &part[3], &part[2], &part[1], &part[0],
               &end) == 4 &&
        end != 0 && name[end] == '\0') {
        for (int i = 0; i < 4; i++) {
            if (part[i] > 255)
                return 0;
            address[i] = (uint8_t)part[i];
        }
        return 4;
    }
    return reverse6(name, address) ? 6 : 0;
}
