/*
 * dns_wire.h - the bounded DNS parser and writer (RFC 1035, 2308, 6891): queries of a guest,
 *              answers of a resolver. Bytes in, values out; no table, no clock.
 *
 * Hostile  Both sides are. Every count and length is checked against the message; a compressed
 *          name is followed backwards only, so it ends.
 */
#ifndef PROXY_NAT_DNS_WIRE_H
#define PROXY_NAT_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_HEADER_BYTES = 12,
    DNS_NAME_WIRE_MAX = 255,
    DNS_NAME_TEXT_BYTES = 254, /* 253 characters and a NUL */
    DNS_UDP_MAX = 512,         /* RFC 1035 §4.2.1 */
    DNS_RECORDS_MAX = 64,      /* looked at in one answer section */

    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_NAPTR = 35,
    DNS_TYPE_SVCB = 64,
    DNS_TYPE_HTTPS = 65,
    DNS_TYPE_CAA = 257,
    DNS_CLASS_IN = 1,

    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
};

/* A query with exactly one question. */
struct dns_question {
    uint16_t id;
    bool recursion_desired;
    uint8_t opcode;
    uint16_t type, class;
    uint8_t wire[DNS_NAME_WIRE_MAX + 4]; /* name, type, class as the guest wrote them */
    uint16_t wire_bytes;
    char name[DNS_NAME_TEXT_BYTES]; /* lower case, no trailing dot; "" is the root */
};

/**
 * False, and nothing usable written, unless `message` is a query with one question whose name is
 * uncompressed and printable (§5.4: anything else is dropped). What follows the question (an OPT
 * record) is not looked at.
 */
bool dns_question_parse(struct dns_question *question, const uint8_t *message, size_t bytes);

/* One record of an answer, name and class checked to be there; rdata borrows the message. */
struct dns_record {
    uint16_t type, class;
    uint32_t ttl_s;
    uint16_t rdata_bytes;
    size_t rdata_at; /* in the message: names in it may point back */
};

/* Walks the sections of a response. */
struct dns_answer {
    const uint8_t *message;
    size_t bytes;
    uint8_t rcode;
    bool truncated;
    uint16_t answers, authorities;
    size_t at; /* the next record */
};

/** False unless `message` is a response whose question section can be skipped. */
bool dns_answer_open(struct dns_answer *answer, const uint8_t *message, size_t bytes);
/** The next record of whatever section follows; false when the message ends or is malformed. */
bool dns_answer_next(struct dns_answer *answer, struct dns_record *record);

/**
 * Copies the uncompressed form of the name at *at; moves *at behind it. Returns its bytes
 * (1..255), 0 if it is malformed.
 */
size_t dns_name_expand(const uint8_t *message, size_t bytes, size_t *at,
                       uint8_t out[DNS_NAME_WIRE_MAX]);

/**
 * Writes `record` of `answer` without compression, its owner a pointer to the question (c00c), its
 * TTL `ttl_s`. Returns the bytes written, 0 if the record is malformed or does not fit `room`.
 */
size_t dns_record_write(const struct dns_answer *answer, const struct dns_record *record,
                        uint32_t ttl_s, uint8_t *to, size_t room);

/** Writes header and question of a reply: QR, RD echoed, RA, rcode (§5.4). Returns the bytes. */
size_t dns_reply_head(uint8_t *to, const struct dns_question *question, uint8_t rcode,
                      uint16_t answers, bool truncated);

/** The address a PTR name asks about: the family, or 0 if the name is no reverse name. */
uint8_t dns_reverse_address(const char *name, uint8_t address[16]);

#endif
