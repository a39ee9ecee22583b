/* Checksum insertion and segmentation: spec/e1000.md §7.3, §7.4. */
#include "driver.h"

#include <string.h>

static const char worked_header[] = "020000000002 525400123456 0800"
                                    "45000000 12344000 40060000 0a00020f 5db8d822"
                                    "c000 0050 01020304 0a0b0c0d 5019 2000 41f0 0000";

static const struct driver_context worked_context = {
    .ipcss = 14,
    .ipcso = 24,
    .ipcse = 33,
    .tucss = 34,
    .tucso = 50,
    .paylen = 10,
    .tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP | TXD_CMD_TSE | TXD_CMD_RS,
    .hdrlen = 54,
    .mss = 4,
};

static const char *const worked_segments[] = {
    "4500002c123440004006e6ae0a00020f5db8d822 c0000050010203040a0b0c0d50102000eef10000 41424344",
    "4500002c123540004006e6ad0a00020f5db8d822 c0000050010203080a0b0c0d50102000e6e50000 45464748",
    "4500002a123640004006e6ae0a00020f5db8d822 c00000500102030c0a0b0c0d501920002a1f0000 494a",
};

enum { DATA_CMD = TXD_CMD_EOP | TXD_CMD_IFCS | TXD_CMD_TSE | TXD_CMD_RS, BOTH_SUMS = 3 };

static void assert_worked_frames(const struct driver *d, uint32_t first)
{
    static const uint32_t bytes[] = {58, 58, 56};

    assert_int_equal(d->frames, first + 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct driver_frame *frame = &d->frame[first + i];

        assert_int_equal(frame->bytes, bytes[i]);
        driver_assert_hex(frame->data, "020000000002 525400123456 0800");
        driver_assert_hex(frame->data + 14, worked_segments[i]);
    }
}

/* §7.4, worked example. */
static void the_worked_example_gives_its_three_frames(void **state)
{
    struct driver *d = *state;

    driver_hex(d, 0x123400, worked_header);
    memcpy(d->ram + 0x123400 + 54, "ABCDEFGHIJ", 10);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

static uint32_t put_hex(struct driver *d, const char *text)
{
    driver_hex(d, 0x3000, text);
    return driver_tx_put(d, d->ram + 0x3000);
}

/* §7.1, examples: the context and data descriptors byte by byte; DD goes to offset 12 of a context
 * descriptor as well (§7.2). */
static void worked_descriptors(void **state)
{
    struct driver *d = *state;

    driver_hex(d, 0x123400, worked_header);
    memcpy(d->ram + 0x123400 + 54, "ABCDEFGHIJ", 10);
    put_hex(d, "0e 18 21 00 22 32 00 00 0a 00 00 2f 00 36 04 00");
    put_hex(d, "00 34 12 00 00 00 00 00 40 00 10 2f 00 03 00 00");
    driver_tx_kick(d);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    const uint32_t plain = put_hex(d, "0e 18 21 00 22 32 00 00 00 00 00 2b 00 00 00 00");
    put_hex(d, "00 34 12 00 00 00 00 00 40 00 10 2b 00 03 00 00");
    driver_tx_kick(d);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 4);
    assert_int_equal(d->frame[3].bytes, 64);
    const uint8_t *ip = d->frame[3].data + 14;
    assert_int_equal(checksum_finish(checksum_add(0, ip, 20)), 0);
    assert_int_equal(checksum_finish(checksum_add(0x41f0, ip + 20, 30)), 0); /* with its seed */
    assert_int_equal(driver_tx_status(d, plain), TXD_STATUS_DD);
}

static void queue_worked_payload(struct driver *d)
{
    driver_hex(d, 0x123400, worked_header);
    memcpy(d->ram + 0x123400 + 54, "ABCDEFGHIJ", 10);
}

/* §7.4: the header may span several descriptors; quirk: a request spread over TDT writes. */
static void the_header_may_span_descriptors_and_polls(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_queue_context(d, &worked_context);
    for (uint32_t at = 0; at < 64; at++) {
        driver_queue_data(d, 0x123400 + at, 1, (at == 63 ? TXD_CMD_EOP : 0) | TXD_CMD_TSE,
                          BOTH_SUMS, 0);
        if (at % 5 == 0 || at >= 60)
            e1000_poll(d->nic, 64);
    }
    assert_worked_frames(d, 0);
}

/* §7.2: contexts persist across packets (FreeBSD does not resend them). */
static void a_context_serves_many_packets(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_queue_context(d, &worked_context);
    for (uint32_t i = 0; i < 3; i++) {
        driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
        e1000_poll(d->nic, 8);
        assert_worked_frames(d, 3 * i);
    }
}

/* §7.2: two contexts, chosen by TSE; quirk 2.32. */
static void the_plain_context_does_not_disturb_tso(void **state)
{
    struct driver *d = *state;
    struct driver_context plain = worked_context;

    queue_worked_payload(d);
    plain.tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP;
    plain.ipcss = plain.tucss = 60;
    driver_queue_context(d, &worked_context);
    driver_queue_context(d, &plain);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

/* quirk 2.11: a context between the data descriptors of a packet does not change it. */
static void a_context_inside_a_packet_waits_for_the_next(void **state)
{
    struct driver *d = *state;
    struct driver_context evil = worked_context;

    queue_worked_payload(d);
    evil.hdrlen = 255;
    evil.mss = 65535;
    evil.paylen = 0xfffff;
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 30, TXD_CMD_TSE, BOTH_SUMS, 0);
    driver_queue_context(d, &evil);
    driver_queue_data(d, 0x123400 + 30, 34, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
    assert_int_equal(driver_tx_status(d, 3), TXD_STATUS_DD);
}

/* §7.2 [US]: a sink that fills in the middle of a segmented packet. */
static void a_full_sink_in_the_middle_of_segments(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    d->sink_room = 1;
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    memset(d->ram + 0x123400, 0xee, 64); /* the descriptor was reported: the buffer is free */
    d->sink_room = 1;
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 2);
    d->sink_room = 5;
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

/* §7.4.4: the tag is inserted in each segment, checksum offsets do not shift. */
static void every_segment_gets_the_tag(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD | TXD_CMD_VLE, BOTH_SUMS, 0x2042);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 3);
    for (uint32_t i = 0; i < 3; i++) {
        driver_assert_hex(d->frame[i].data, "020000000002 525400123456 8100 2042 0800");
        driver_assert_hex(d->frame[i].data + 18, worked_segments[i]);
    }
}

/* choices, payload an exact multiple of MSS: no extra segment, PSH and FIN in the last only. */
static void an_exact_multiple_gives_no_extra_segment(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.mss = 5;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[0].data[47], 0x10);
    assert_int_equal(d->frame[1].data[47], 0x19);
    assert_int_equal(be32_get(d->frame[1].data + 38), 0x01020304 + 5);
}

/* §7.4: a payload of zero bytes yields one segment. */
static void an_empty_payload_yields_one_segment(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 54, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 54);
    assert_int_equal(d->frame[0].data[47], 0x19);
}

/* §7.4: payload = the rest up to PAYLEN. */
static void bytes_beyond_paylen_are_ignored(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.paylen = 6;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[1].bytes, 56);
}

static uint16_t sum_of(const uint8_t *from, uint32_t bytes, uint32_t pseudo)
{
    return checksum_fold(checksum_add(pseudo, from, bytes));
}

/* §7.4.1, §7.4.2: UDP length, IPv4 identification; choices, 0 is sent as FFFF. */
static void udp_segments(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {
        .ipcss = 14,
        .ipcso = 24,
        .ipcse = 33,
        .tucss = 34,
        .tucso = 40,
        .paylen = 3000,
        .tucmd = TXD_TUCMD_IP | TXD_CMD_TSE,
        .hdrlen = 42,
        .mss = 1000,
    };
    static const uint8_t source[4] = {10, 0, 2, 15};
    static const uint8_t target[4] = {93, 184, 216, 34};

    driver_hex(d, 0x123400,
               "020000000002 525400123456 0800 45000000 ffff4000 40110000 0a00020f 5db8d822"
               "c000 0035 0000 0000");
    be16_put(d->ram + 0x123400 + 40,
             checksum_fold(checksum_pseudo_ipv4(source, target, IP_PROTOCOL_UDP, 0)));
    for (uint32_t i = 0; i < 3000; i++)
        d->ram[0x123400 + 42 + i] = (uint8_t)(i * 3);
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 3042, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const uint8_t *frame = d->frame[i].data;

        assert_int_equal(d->frame[i].bytes, 1042);
        assert_int_equal(be16_get(frame + 16), 1028);
        assert_int_equal(be16_get(frame + 18), (uint16_t)(0xffff + i));
        assert_int_equal(be16_get(frame + 38), 1008);
        assert_int_equal(sum_of(frame + 14, 20, 0), 0xffff);
        assert_int_equal(sum_of(frame + 34, 1008, checksum_pseudo_ipv4(source, target, 17, 1008)),
                         0xffff);
        assert_memory_equal(frame + 42, d->ram + 0x123400 + 42 + 1000 * i, 1000);
    }
}

/* §7.4.1, IPv6; choices: payload length without the 40 bytes of its header. */
static void tcp_over_ipv6_segments(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {
        .tucss = 54,
        .tucso = 70,
        .ipcss = 14,
        .paylen = 2500,
        .tucmd = TXD_TUCMD_TCP | TXD_CMD_TSE,
        .hdrlen = 74,
        .mss = 1440,
    };
    uint8_t *header = d->ram + 0x123400;

    driver_hex(d, 0x123400,
               "020000000002 525400123456 86dd 60000000 0000 06 40"
               "fd000000000000000000000000000002 fd000000000000000000000000000003"
               "c000 0050 00000001 00000000 5018 ffff 0000 0000");
    be16_put(header + 70,
             checksum_fold(checksum_pseudo_ipv6(header + 22, header + 38, IP_PROTOCOL_TCP, 0)));
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 2574, DATA_CMD, TXD_POPTS_TXSM, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *frame = d->frame[i].data;
        const uint32_t payload = i == 0 ? 1440 : 1060;

        assert_int_equal(be16_get(frame + 18), 20 + payload);
        assert_int_equal(be32_get(frame + 58), 1 + 1440 * i);
        assert_int_equal(frame[67], i == 0 ? 0x10 : 0x18);
        assert_int_equal(
            sum_of(frame + 54, 20 + payload,
                   checksum_pseudo_ipv6(frame + 22, frame + 38, IP_PROTOCOL_TCP, 20 + payload)),
            0xffff);
    }
}

/* §7.2: aggregates up to 256 KiB, at most 256 segments. */
static void the_largest_aggregate(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.mss = 1460;
    context.paylen = 262144 - 54;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 262144, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, (262144 - 54 + 1459) / 1460);
    assert_memory_equal(d->frame[100].data + 54, d->ram + 0x123400 + 54 + 146000, 1460);
    driver_queue_data(d, 0x123400, 262145, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, (262144 - 54 + 1459) / 1460);
    assert_int_equal(e1000_stats(d->nic)->tx_dropped, 1);
}

/* §7.4, validation: a packet that fails is sent as it is when 14..1522 bytes, else dropped. */
static void a_failing_packet_is_sent_as_it_is(void **state)
{
    struct driver *d = *state;
    const struct {
        uint8_t hdrlen, tucss;
        uint16_t mss;
        uint32_t bytes;
        bool sent;
    } cases[] = {
        {54, 34, 0, 64, true},   /* MSS >= 1 */
        {41, 34, 4, 64, true},   /* HDRLEN >= TUCSS + 8 */
        {65, 34, 4, 64, true},   /* HDRLEN <= packet; CVE-2021-20257 */
        {54, 34, 1, 1000, true}, /* at most 256 segments */
        {54, 34, 0, 1523, false}, {0, 255, 4, 13, false},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct driver_context context = worked_context;
        const uint32_t before = d->frames;

        queue_worked_payload(d);
        context.hdrlen = cases[i].hdrlen;
        context.tucss = cases[i].tucss;
        context.mss = cases[i].mss;
        context.paylen = 2000;
        driver_queue_context(d, &context);
        driver_queue_data(d, 0x123400, cases[i].bytes, DATA_CMD, BOTH_SUMS, 0);
        e1000_poll(d->nic, 8);
        assert_int_equal(d->frames - before, cases[i].sent);
        if (cases[i].sent) {
            assert_int_equal(d->frame[before].bytes, cases[i].bytes);
            assert_memory_equal(d->frame[before].data, d->ram + 0x123400, cases[i].bytes);
        }
    }
    assert_true(driver_get(d, E1000_TSCTFC) > 0);
}

/* §7.4: each produced segment above 1522 bytes is dropped, a shorter last one is not. */
static void segments_above_1522_bytes_are_dropped(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.mss = 1469;
    context.paylen = 1469 + 100;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 54 + 1469 + 100, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 154);
    assert_memory_equal(d->frame[0].data + 54, d->ram + 0x123400 + 54 + 1469, 100);
}

static struct driver_frame sum_frame(struct driver *d, const struct driver_context *context,
                                     uint8_t popts, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        d->ram[0x123400 + i] = (uint8_t)(i * 29 + 7);
    driver_queue_context(d, context);
    driver_queue_data(d, 0x123400, bytes, TXD_CMD_EOP, popts, 0);
    e1000_poll(d->nic, 8);
    return d->frame[d->frames - 1];
}

/* §7.3: css..cse inclusive with the field's own content, stored big-endian at cso. */
static void the_generic_rule(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {.tucss = 20, .tucso = 26, .tucse = 59};
    const struct driver_frame frame = sum_frame(d, &context, TXD_POPTS_TXSM, 80);
    const uint8_t *raw = d->ram + 0x123400;

    assert_int_equal(be16_get(frame.data + 26), checksum_finish(checksum_add(0, raw + 20, 40)));
    assert_memory_equal(frame.data, raw, 26);
    assert_memory_equal(frame.data + 28, raw + 28, 52);
}

/* §7.3: xCSE = 0 or beyond the packet: to its end, odd lengths, too. */
static void an_end_of_0_or_beyond_means_the_packet_end(void **state)
{
    struct driver *d = *state;
    static const uint16_t ends[] = {0, 80, 81, 0xffff, 80};

    for (uint32_t i = 0; i < 5; i++) {
        const struct driver_context context = {.tucss = 20, .tucso = 26, .tucse = ends[i]};
        const struct driver_frame frame = sum_frame(d, &context, TXD_POPTS_TXSM, 81);

        assert_int_equal(be16_get(frame.data + 26),
                         checksum_finish(checksum_add(0, d->ram + 0x123400 + 20, 61)));
    }
}

/* §7.3: nothing is done if xCSO + 2 or xCSS lies outside; CVE-2016-2857, CVE-2022-23087. */
static void offsets_outside_the_packet_change_nothing(void **state)
{
    struct driver *d = *state;
    const struct driver_context contexts[] = {
        {.tucss = 20, .tucso = 79},   {.tucss = 80, .tucso = 20},
        {.tucss = 255, .tucso = 255}, {.tucss = 40, .tucso = 20, .tucse = 39},
        {.ipcss = 80, .ipcso = 10},   {.ipcss = 10, .ipcso = 80},
    };

    for (uint32_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        const uint8_t popts = i < 4 ? TXD_POPTS_TXSM : TXD_POPTS_IXSM;
        const struct driver_frame frame = sum_frame(d, &contexts[i], popts, 80);

        assert_memory_equal(frame.data, d->ram + 0x123400, 80);
    }
}

/* choices, computed checksum of 0: FFFF. */
static void a_sum_of_0_is_sent_as_ffff(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {.tucss = 14, .tucso = 16};

    memset(d->ram + 0x123400, 0, 60);
    be16_put(d->ram + 0x123400 + 20, 0xffff);
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 60, TXD_CMD_EOP, TXD_POPTS_TXSM, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(be16_get(d->frame[0].data + 16), 0xffff);
}

/* §7.3: an unusable IPCSE gives way to the header's length field. */
static void ipcse_of_0_uses_the_header_length(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.ipcse = 0;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

/* quirk 2.32: POPTS of the first data descriptor count, those of the later ones do not. */
static void popts_come_from_the_first_descriptor(void **state)
{
    struct driver *d = *state;

    queue_worked_payload(d);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 54, TXD_CMD_TSE, BOTH_SUMS, 0);
    driver_queue_data(d, 0x123400 + 54, 10, DATA_CMD, 0, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

/* §7.3, legacy IC: CSS to the end, stored at CSO; quirk 2.33; out of range: unchanged. */
static void legacy_insertion(void **state)
{
    struct driver *d = *state;
    const uint8_t cmd = TXD_CMD_EOP | TXD_CMD_IC;

    for (uint32_t i = 0; i < 60; i++)
        d->ram[0x123400 + i] = (uint8_t)(i * 31);
    driver_queue_legacy(d, 0x123400, 60, 30, cmd, 14, 0);
    driver_queue_legacy(d, 0x123400, 60, 59, cmd, 14, 0);
    driver_queue_legacy(d, 0x123400, 60, 58, cmd, 14, 0);
    driver_queue_legacy(d, 0x123400, 60, 30, cmd, 60, 0);
    e1000_poll(d->nic, 8);
    const uint16_t want = checksum_finish(checksum_add(0, d->ram + 0x123400 + 14, 46));
    assert_int_equal(be16_get(d->frame[0].data + 30), want);
    assert_memory_equal(d->frame[1].data, d->ram + 0x123400, 60);
    assert_int_equal(be16_get(d->frame[2].data + 58), want);
    assert_memory_equal(d->frame[3].data, d->ram + 0x123400, 60);
}

/* §7.1, DTALEN has 20 bits. */
static void data_length_has_20_bits(void **state)
{
    struct driver *d = *state;
    struct driver_context context = worked_context;

    queue_worked_payload(d);
    context.mss = 1460;
    context.paylen = 70000;
    driver_queue_context(d, &context);
    driver_queue_data(d, 0x123400, 54 + 70000, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 48);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_worked_example_gives_its_three_frames),
        T(worked_descriptors),
        T(the_header_may_span_descriptors_and_polls),
        T(a_context_serves_many_packets),
        T(the_plain_context_does_not_disturb_tso),
        T(a_context_inside_a_packet_waits_for_the_next),
        T(a_full_sink_in_the_middle_of_segments),
        T(every_segment_gets_the_tag),
        T(an_exact_multiple_gives_no_extra_segment),
        T(an_empty_payload_yields_one_segment),
        T(bytes_beyond_paylen_are_ignored),
        T(udp_segments),
        T(tcp_over_ipv6_segments),
        T(the_largest_aggregate),
        T(a_failing_packet_is_sent_as_it_is),
        T(segments_above_1522_bytes_are_dropped),
        T(the_generic_rule),
        T(an_end_of_0_or_beyond_means_the_packet_end),
        T(offsets_outside_the_packet_change_nothing),
        T(a_sum_of_0_is_sent_as_ffff),
        T(ipcse_of_0_uses_the_header_length),
        T(popts_come_from_the_first_descriptor),
        T(legacy_insertion),
        T(data_length_has_20_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
