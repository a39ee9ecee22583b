/* TCP packets the card does not cut, or cuts for the guest: spec/l2-extensions.md §6. */
#include "driver.h"

#include <string.h>

#include "nic/segment.h"

enum {
    L4_AT = ETH_HEADER_BYTES + IPV4_HEADER_BYTES,
    HEADERS = L4_AT + TCP_HEADER_BYTES,
    AT = DRIVER_TX_BUFFERS, /* of the packet in guest memory */
    MSS = 1460,
    DATA_CMD = TXD_CMD_EOP | TXD_CMD_IFCS | TXD_CMD_TSE | TXD_CMD_RS,
    BOTH_SUMS = TXD_POPTS_IXSM | TXD_POPTS_TXSM,
    PACKET_MAX_BYTES = 80000,
};

static const struct driver_context tcp4 = {
    .ipcss = ETH_HEADER_BYTES,
    .ipcso = ETH_HEADER_BYTES + IPV4_CHECKSUM_AT,
    .ipcse = L4_AT - 1,
    .tucss = L4_AT,
    .tucso = L4_AT + TCP_CHECKSUM_AT,
    .tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP | TXD_CMD_TSE,
    .hdrlen = HEADERS,
    .mss = MSS,
};

/* As a driver leaves it to the card: lengths 0, the pseudo header's sum in the checksum field. */
static uint32_t packet_make(uint8_t *packet, uint32_t payload)
{
    static const uint8_t start[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 2,    0,
                                    0,    0,    0,    2,    0x08, 0,    0x45, 0};
    uint8_t *ip = packet + ETH_HEADER_BYTES;
    uint8_t *tcp = packet + L4_AT;

    memset(packet, 0, HEADERS);
    memcpy(packet, start, sizeof start);
    be16_put(ip + IPV4_ID_AT, 0xfffe);
    ip[IPV4_TTL_AT] = 64;
    ip[IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    be32_put(ip + IPV4_SOURCE_AT, 0x0a00020f);
    be32_put(ip + IPV4_DESTINATION_AT, 0x0a000202);
    be32_put(tcp + TCP_SEQUENCE_AT, 0xfffffff0);
    tcp[TCP_DATA_OFFSET_AT] = TCP_HEADER_BYTES / 4 << 4;
    tcp[TCP_FLAGS_AT] = TCP_ACK | TCP_PSH | TCP_FIN;
    be16_put(tcp + TCP_CHECKSUM_AT,
             checksum_fold(checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                IP_PROTOCOL_TCP, 0)));
    for (uint32_t i = 0; i < payload; i++)
        packet[HEADERS + i] = (uint8_t)(i * 7 + i / 251);
    return HEADERS + payload;
}

static void power_on(struct driver *d, bool super)
{
    const struct e1000_config config = d->config;

    driver_frames_clear(d);
    d->super = super;
    driver_power_on(d, &config);
    driver_start(d);
}

static int setup(void **state)
{
    driver_setup(state);
    power_on(*state, true);
    return 0;
}

static void queue_packet(struct driver *d, const struct driver_context *context, uint32_t bytes,
                         uint8_t cmd, uint8_t popts)
{
    struct driver_context full = *context;

    full.paylen = bytes - context->hdrlen;
    driver_queue_context(d, &full);
    driver_queue_data(d, AT, 100, cmd & (uint8_t)~TXD_CMD_EOP, popts, 5);
    driver_queue_data(d, AT + 100, bytes - 100, cmd, popts, 5);
}

/* §6: a TSO send of either card is forwarded uncut; the IP length covers all of it. */
static void an_aggregate_leaves_whole(void **state)
{
    struct driver *d = *state;
    const uint32_t bytes = packet_make(d->ram + AT, 20000);

    queue_packet(d, &tcp4, bytes, DATA_CMD, BOTH_SUMS);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].gso_bytes, MSS);
    assert_int_equal(d->frame[0].bytes, bytes);
    assert_int_equal(be16_get(d->frame[0].data + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT),
                     bytes - ETH_HEADER_BYTES);
    assert_memory_equal(d->frame[0].data + L4_AT, d->ram + AT + L4_AT, bytes - L4_AT);
    assert_int_equal(driver_tx_status(d, 2), TXD_STATUS_DD);
    /* §3.3: counters see the 14 frames of the wire, 1514 bytes but the last one, FCS each. */
    assert_int_equal(e1000_stats(d->nic)->tx_frames, 14);
    assert_int_equal(e1000_stats(d->nic)->tx_bytes, 20000 + 14 * HEADERS);
    assert_int_equal(driver_get(d, E1000_GOTCL), 20000 + 14 * (HEADERS + ETH_FCS_BYTES));
    assert_int_equal(driver_get(d, E1000_GPTC), 14);
}

/* TCP over IPv6 as well, behind the IP header only. */
static void an_ipv6_aggregate_leaves_whole(void **state)
{
    struct driver *d = *state;
    struct driver_context context = tcp4;
    const uint32_t l4 = ETH_HEADER_BYTES + IPV6_HEADER_BYTES;
    uint8_t *packet = d->ram + AT;

    memset(packet, 0, 5000);
    be16_put(packet + ETH_TYPE_AT, ETH_TYPE_IPV6);
    packet[ETH_HEADER_BYTES] = 0x60;
    packet[ETH_HEADER_BYTES + IPV6_NEXT_HEADER_AT] = IP_PROTOCOL_TCP;
    packet[l4 + TCP_DATA_OFFSET_AT] = 0x50;
    context.tucmd &= (uint8_t)~TXD_TUCMD_IP;
    context.tucss = (uint8_t)l4;
    context.tucso = (uint8_t)(l4 + TCP_CHECKSUM_AT);
    context.hdrlen = (uint8_t)(l4 + TCP_HEADER_BYTES);
    context.mss = 1440;
    queue_packet(d, &context, 5000, DATA_CMD, TXD_POPTS_TXSM);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].gso_bytes, 1440);
    assert_int_equal(be16_get(d->frame[0].data + ETH_HEADER_BYTES + IPV6_PAYLOAD_LENGTH_AT),
                     5000 - l4);
}

struct cut_case {
    uint32_t payload;
    uint8_t cmd, popts, hdrlen, tucmd;
    uint16_t mss;
};

static uint32_t send_case(struct driver *d, bool super, const struct cut_case *one)
{
    struct driver_context context = tcp4;

    power_on(d, super);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    context.hdrlen = one->hdrlen;
    context.tucmd = one->tucmd;
    context.mss = one->mss;
    queue_packet(d, &context, packet_make(d->ram + AT, one->payload), one->cmd, one->popts);
    e1000_poll(d->nic, 8);
    for (uint32_t i = 0; i < d->frames; i++)
        assert_int_equal(d->frame[i].gso_bytes, 0);
    return d->frames;
}

/* Everything else is cut in the card, into the very frames of a card without super-frames. */
static void what_is_no_super_frame_is_cut(void **state)
{
    static const struct cut_case cases[] = {
        {5000, DATA_CMD | TXD_CMD_VLE, BOTH_SUMS, HEADERS, 7, MSS},  /* a VLAN tag */
        {65536 - 40, DATA_CMD, BOTH_SUMS, HEADERS, 7, MSS},          /* IP length of 65536 */
        {MSS, DATA_CMD, BOTH_SUMS, HEADERS, 7, MSS},                 /* one segment */
        {5000, DATA_CMD, BOTH_SUMS, HEADERS, 6, MSS},                /* UDP */
        {5000, DATA_CMD, TXD_POPTS_TXSM, HEADERS, 7, MSS},           /* no IP checksum */
        {5000, DATA_CMD, TXD_POPTS_IXSM, HEADERS, 7, MSS},           /* no TCP checksum */
        {5000, DATA_CMD, BOTH_SUMS, HEADERS + 4, 7, MSS},            /* other headers */
        {5000, DATA_CMD, BOTH_SUMS, HEADERS, 7, 1522 - HEADERS + 1}, /* segments too long */
    };
    struct driver *d = *state;
    static uint8_t want[PACKET_MAX_BYTES * 2];

    for (uint32_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const uint32_t frames = send_case(d, false, &cases[c]);
        uint32_t at = 0;

        for (uint32_t i = 0; i < frames; at += d->frame[i++].bytes)
            memcpy(want + at, d->frame[i].data, d->frame[i].bytes);
        const uint32_t bytes = at;
        assert_int_equal(send_case(d, true, &cases[c]), frames);
        at = 0;
        for (uint32_t i = 0; i < frames; at += d->frame[i++].bytes)
            assert_memory_equal(want + at, d->frame[i].data, d->frame[i].bytes);
        assert_int_equal(at, bytes);
    }
}

/* §4: frames up to 65550 bytes; the largest IP length is 65535. */
static void the_longest_one(void **state)
{
    struct driver *d = *state;
    const uint32_t bytes = packet_make(d->ram + AT, 65535 - 40);

    queue_packet(d, &tcp4, bytes, DATA_CMD, BOTH_SUMS);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 65549);
}

static void a_full_sink_gets_it_later(void **state)
{
    struct driver *d = *state;
    const uint32_t bytes = packet_make(d->ram + AT, 20000);

    d->sink_room = 0;
    queue_packet(d, &tcp4, bytes, DATA_CMD, BOTH_SUMS);
    e1000_poll(d->nic, 8);
    memset(d->ram + AT, 0, bytes); /* its descriptors were given back */
    d->sink_room = 1;
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].gso_bytes, MSS);
    packet_make(d->ram + AT, 20000);
    assert_memory_equal(d->frame[0].data + L4_AT, d->ram + AT + L4_AT, bytes - L4_AT);
}

/* Receive: a super-frame as the tunnel brings it, its checksums meaning nothing. */
static uint32_t super_make(uint8_t *packet, uint32_t payload)
{
    const uint32_t bytes = packet_make(packet, payload);

    be16_put(packet + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT,
             (uint16_t)(bytes - ETH_HEADER_BYTES));
    be16_put(packet + L4_AT + TCP_CHECKSUM_AT, 0xdead);
    return bytes;
}

/* Descriptor `index` holds segment `index` as tcp_segment_finish() makes it, and `trailer` more. */
static void assert_segment(const struct driver *d, const uint8_t *packet, uint32_t bytes,
                           uint32_t mss, uint32_t index, uint32_t trailer)
{
    const struct driver_rx rx = driver_rx(d, index);
    uint8_t want[E1000_FRAME_MAX_BYTES];
    struct tcp_segments plan;

    assert_true(tcp_segments_plan(&plan, packet, bytes, bytes, mss));
    const uint32_t payload = tcp_segment_payload(&plan, index);
    memcpy(want, packet, HEADERS);
    memcpy(want + HEADERS, packet + HEADERS + index * mss, payload);
    tcp_segment_finish(&plan, want, index);
    assert_int_equal(l4_checksum_judge(want, HEADERS + payload), L4_GOOD);
    assert_int_equal(rx.status & 3, RXD_STATUS_DD | RXD_STATUS_EOP);
    assert_int_equal(rx.length, HEADERS + payload + trailer);
    assert_memory_equal(d->ram + rx.buffer, want, HEADERS + payload);
    if (trailer != 0)
        assert_int_equal(le32_get(d->ram + rx.buffer + HEADERS + payload),
                         ethernet_fcs(want, HEADERS + payload));
}

/* §6: the E1000 cuts it into MSS-sized frames and delivers them under one interrupt. */
static void a_super_frame_comes_as_frames(void **state)
{
    static uint8_t packet[PACKET_MAX_BYTES];
    const uint32_t bytes = super_make(packet, 7000);
    struct driver *d = *state;

    for (uint32_t way = 0; way < 3; way++) { /* callbacks, mapped memory, with FCS */
        power_on(d, true);
        d->map = way == 1;
        d->irq_edges = 0;
        driver_put(d, E1000_IMS, IRQ_RXT0);
        driver_put(d, E1000_RXCSUM, RXCSUM_IPOFL | RXCSUM_TUOFL);
        driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | (way == 2 ? 0 : RCTL_SECRC));
        driver_rx_refill(d, 8);
        assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, MSS), 0);
        assert_int_equal(driver_get(d, E1000_RDH), 5);
        for (uint32_t i = 0; i < 5; i++) {
            assert_segment(d, packet, bytes, MSS, i, way == 2 ? ETH_FCS_BYTES : 0);
            assert_int_equal(driver_rx(d, i).status,
                             RXD_STATUS_DD | RXD_STATUS_EOP | RXD_STATUS_IPCS | RXD_STATUS_TCPCS);
            assert_int_equal(driver_rx(d, i).errors, 0);
        }
        assert_int_equal(d->irq_edges, 1);
        assert_int_equal(e1000_stats(d->nic)->rx_frames, 5);
        assert_int_equal(driver_get(d, E1000_GPRC), 5);
        assert_int_equal(driver_get(d, E1000_TPR), 5);
    }
}

/* What finds no descriptor waits like any frame; nothing overtakes it. */
static void the_rest_waits_for_descriptors(void **state)
{
    static uint8_t packet[PACKET_MAX_BYTES];
    const uint32_t bytes = super_make(packet, 7000);
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC);
    driver_rx_refill(d, 2);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, MSS), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 2);
    assert_int_equal(d->nic->queue.frames, 3);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, MSS), E1000_ERR_NO_BUFFER);
    assert_int_equal(d->nic->queue.frames, 3);
    driver_rx_refill(d, 8);
    e1000_poll(d->nic, 8);
    for (uint32_t i = 0; i < 5; i++)
        assert_segment(d, packet, bytes, MSS, i, 0);
    assert_int_equal(driver_get(d, E1000_MPC), 0);
}

/* The smallest segments that fit: as many as the card keeps, without a single buffer. */
static void a_ring_without_buffers_takes_all_later(void **state)
{
    static uint8_t packet[PACKET_MAX_BYTES];
    const uint32_t bytes = super_make(packet, 65535 - 40);
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, 256), 0);
    assert_int_equal(d->nic->queue.frames, 256);
    driver_rx_refill(d, 63);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->nic->queue.frames, 256 - 63);
    assert_segment(d, packet, bytes, 256, 62, 0);
}

/* Jumbo frames with RCTL.LPE: up to 16 KiB each. */
static void segments_may_be_jumbo_frames(void **state)
{
    static uint8_t packet[PACKET_MAX_BYTES];
    const uint32_t bytes = super_make(packet, 40000);
    struct driver *d = *state;

    driver_put(d, E1000_RCTL,
               RCTL_EN | RCTL_UPE | RCTL_SECRC | RCTL_LPE | RCTL_BSEX | 1u << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 8);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, 8960), 0);
    for (uint32_t i = 0; i < 5; i++)
        assert_segment(d, packet, bytes, 8960, i, 0);
}

/* Hostile: whatever it claims, it is refused whole and counted. */
static void what_cannot_be_cut_is_refused(void **state)
{
    static uint8_t packet[PACKET_MAX_BYTES];
    const uint32_t bytes = super_make(packet, 7000);
    struct driver *d = *state;

    driver_rx_refill(d, 32);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, 0), E1000_ERR_FRAME_SIZE);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, 27), E1000_ERR_FRAME_SIZE);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, 65551, MSS), E1000_ERR_FRAME_SIZE);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, 1469), E1000_ERR_FRAME_SIZE);
    for (uint32_t cut = 0; cut < HEADERS; cut++)
        assert_int_equal(e1000_rx_offer_super(d->nic, packet, cut, MSS), E1000_ERR_FRAME_SIZE);
    packet[ETH_HEADER_BYTES + IPV4_PROTOCOL_AT] = IP_PROTOCOL_UDP;
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, MSS), E1000_ERR_FRAME_SIZE);
    assert_int_equal(e1000_stats(d->nic)->rx_dropped_size, 5 + HEADERS);
    super_make(packet, 7000);
    e1000_set_link(d->nic, false);
    assert_int_equal(e1000_rx_offer_super(d->nic, packet, bytes, MSS), E1000_ERR_RX_DISABLED);
    assert_int_equal(driver_get(d, E1000_RDH), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)
        T(an_aggregate_leaves_whole),      T(an_ipv6_aggregate_leaves_whole),
        T(what_is_no_super_frame_is_cut),  T(the_longest_one),
        T(a_full_sink_gets_it_later),      T(a_super_frame_comes_as_frames),
        T(the_rest_waits_for_descriptors), T(a_ring_without_buffers_takes_all_later),
        T(segments_may_be_jumbo_frames),   T(what_cannot_be_cut_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
