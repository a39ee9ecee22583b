/*
 * dns_fuzz.c - the DNS parser: every input is taken as a query and as an answer. What is parsed
 *              must stay inside its bounds, and what is written must parse again.
 */
#include "must.h"
#include "nat/dns_wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void as_query(const uint8_t *data, size_t bytes)
{
    struct dns_question question;
    struct dns_question again;
    uint8_t address[16];
    uint8_t reply[1024];

    if (!dns_question_parse(&question, data, bytes))
        return;
    must(strlen(question.name) <= 253);
    must(question.wire_bytes >= 5 && question.wire_bytes <= sizeof question.wire);
    dns_reverse_address(question.name, address);
    const size_t reply_bytes = dns_reply_head(reply, &question, DNS_NXDOMAIN, 0, false);

    reply[2] &= 0x7f; /* a query once more */
    must(dns_question_parse(&again, reply, reply_bytes));
    must(strcmp(question.name, again.name) == 0 && question.type == again.type);
}

static void as_answer(const uint8_t *data, size_t bytes)
{
    struct dns_answer answer;
    struct dns_record record;
    uint8_t out[4096];

    if (!dns_answer_open(&answer, data, bytes))
        return;
    for (uint32_t i = 0; i < DNS_RECORDS_MAX && dns_answer_next(&answer, &record); i++) {
        must(record.rdata_at <= bytes && record.rdata_bytes <= bytes - record.rdata_at);
        const size_t room = sizeof out / (i % 3 + 1);
        const size_t written = dns_record_write(&answer, &record, 60, out, room);

        must(written <= room);
        if (written != 0)
            must(written == 12u + (size_t)(out[10] << 8 | out[11]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    as_query(data, bytes);
    as_answer(data, bytes);
    return 0;
}
