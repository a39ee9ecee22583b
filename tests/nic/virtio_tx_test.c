/* Transmit: spec/virtio-net.md §6.1, §6.2, §6.5; segments by spec/choices.md. */
#include "nic/segment.h"
#include "virtio_driver.h"

#include <string.h>

/* §6.4: the worked bytes, contract profile. */
static void worked_bytes(void **state)
{
    struct vdriver *d = *state;

    vdriver_hex(d->ram + vdriver_queue(QUEUE_TX),
                "00 70 00 00 00 00 00 00 0a 00 00 00 01 00 01 00"
                "00 71 00 00 00 00 00 00 3c 00 00 00 00 00 00 00");
    memcpy(d->ram + 0x7100, vdriver_frame(60), 60);
    vdriver_post(d, QUEUE_TX, 0);
    assert_int_equal(virtio_net_poll(d->nic, 256), 1);
    vdriver_assert_hex(d->ram + vdriver_queue(QUEUE_TX) + VDRIVER_USED_AT,
                       "00 00 01 00 00 00 00 00 00 00 00 00");
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 60);
    assert_memory_equal(d->frame[0].data, vdriver_frame(60), 60);
    assert_true(d->irq);
}

/* §6.1: auto is 10 bytes when the first descriptor has exactly 10, else 12. */
static void auto_header_per_chain(void **state)
{
    struct vdriver *d = *state;
    uint8_t one[72] = {0};

    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    vdriver_send(d, 2, NULL, 12, vdriver_frame(60), 60);
    memcpy(one + 12, vdriver_frame(60), 60);
    memcpy(d->ram + VDRIVER_BIG, one, sizeof one);
    vdriver_desc(d, QUEUE_TX, 4, VDRIVER_BIG, sizeof one, 0, 0);
    vdriver_post(d, QUEUE_TX, 4);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(d->frame[i].bytes, 60);
        assert_memory_equal(d->frame[i].data, vdriver_frame(60), 60);
    }
}

/* Quirks §3.9: the header may be cut anywhere over descriptors; standard: always 12 bytes. */
static void header_cut_anywhere(void **state)
{
    struct vdriver *d = *state;

    memcpy(d->ram + VDRIVER_BIG + 12, vdriver_frame(60), 60);
    for (uint32_t cut = 1; cut < 30; cut++) {
        vdriver_desc(d, QUEUE_TX, 0, VDRIVER_BIG, cut, DESC_NEXT, 1);
        vdriver_desc(d, QUEUE_TX, 1, VDRIVER_BIG + cut, 0, DESC_NEXT, 2); /* and an empty one */
        vdriver_desc(d, QUEUE_TX, 2, VDRIVER_BIG + cut, 72 - cut, 0, 0);
        vdriver_post(d, QUEUE_TX, 0);
        virtio_net_poll(d->nic, 8);
        assert_int_equal(d->frames, cut);
        assert_int_equal(d->frame[cut - 1].bytes, 60);
        assert_memory_equal(d->frame[cut - 1].data, vdriver_frame(60), 60);
    }
}

/* §5, §6.2.3: 14..1522 bytes; others are dropped, their chains completed with 0. */
static void sizes_that_are_dropped(void **state)
{
    struct vdriver *d = *state;
    static const uint32_t sizes[] = {0, 13, 14, 1522, 1523, 3000};

    for (uint16_t i = 0; i < 6; i++)
        vdriver_send(d, (uint16_t)(2 * i), NULL, 10, vdriver_frame(3000), sizes[i]);
    assert_int_equal(virtio_net_poll(d->nic, 8), 6);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[0].bytes, 14);
    assert_int_equal(d->frame[1].bytes, 1522);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 4);
    for (uint32_t i = 0; i < 6; i++)
        assert_used(d, QUEUE_TX, i, 2 * i, 0);
}

/* Counts the bytes a card reads of buffers, not of rings. */
static void count_read(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    uint64_t *read = d->model;

    if (!write && gpa >= VDRIVER_TX)
        *read += bytes;
}

/* §6.2.3: a total above 1522 is dropped, "reading at most 1523 bytes of guest data". */
static void frames_too_long_are_hardly_read(void **state)
{
    struct vdriver *d = *state;
    static const uint32_t sizes[] = {1523, 3000, 0x200000};

    for (uint16_t i = 0; i < 3; i++) {
        uint64_t read = 0;

        d->model = &read;
        d->on_dma = count_read;
        vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TX, 10, DESC_NEXT, 1);
        vdriver_desc(d, QUEUE_TX, 1, VDRIVER_BIG, sizes[i], 0, 0);
        vdriver_post(d, QUEUE_TX, 0);
        assert_int_equal(virtio_net_poll(d->nic, 8), 1);
        assert_in_range(read, 0, 1523);
        assert_used(d, QUEUE_TX, i, 0, 0);
        assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, i + 1);
    }
    assert_int_equal(d->frames, 0);
}

/* §6.2.1: one WRITE descriptor anywhere drops the frame. */
static void writable_descriptor_drops(void **state)
{
    struct vdriver *d = *state;

    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    vdriver_desc(d, QUEUE_TX, 1, VDRIVER_TX + 0x100, 60, DESC_WRITE, 0);
    vdriver_send(d, 2, NULL, 10, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frames, 1);
    assert_used(d, QUEUE_TX, 0, 0, 0);
}

/* §6.2.4: what was not negotiated is ignored. */
static void contract_ignores_the_header(void **state)
{
    struct vdriver *d = *state;
    const uint8_t header[10] = {1, 1, 54, 0, 100, 0, 34, 0, 16, 0};

    vdriver_send(d, 0, header, 10, vdriver_frame(200), 200);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_memory_equal(d->frame[0].data, vdriver_frame(200), 200);
}

/* §6.2.5: a buffer outside RAM drops the frame, the queue goes on. */
static void buffer_outside_ram(void **state)
{
    struct vdriver *d = *state;

    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    vdriver_desc(d, QUEUE_TX, 1, VDRIVER_RAM_BYTES - 10, 60, 0, 0);
    vdriver_send(d, 2, NULL, 10, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frames, 1);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    assert_int_equal(d->nic->status & STATUS_NEEDS_RESET, 0);
}

/* §6.2.6: the contract drops at a full back end; the standard profile keeps the chain. */
static void full_sink_contract(void **state)
{
    struct vdriver *d = *state;

    d->sink_room = 1;
    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    vdriver_send(d, 2, NULL, 10, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
}

static void full_sink_standard(void **state)
{
    struct vdriver *d = *state;

    d->sink_room = 1;
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    vdriver_send(d, 2, NULL, 12, vdriver_frame(61), 61);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(virtio_net_stats(d->nic)->tx_sink_full, 1);
    assert_true(virtio_net_work_pending(d->nic));
    d->sink_room = 5;
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frame[1].bytes, 61);
}

/* choices.md: without link the buffers return, the frames are lost. */
static void without_link_buffers_return(void **state)
{
    struct vdriver *d = *state;

    virtio_net_set_link(d->nic, false);
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 0);
    assert_used(d, QUEUE_TX, 0, 0, 0);
}

/* §6.5: NEEDS_CSUM sums from csum_start to the end, seed included. */
static void needs_csum_is_completed(void **state)
{
    struct vdriver *d = *state;
    const uint8_t header[12] = {HEADER_NEEDS_CSUM, 0, 0, 0, 0, 0, 34, 0, 16, 0};
    uint8_t want[300];
    uint8_t frame[300];
    const uint32_t bytes = tcp_frame(want, 101);
    struct l4_view view;

    memcpy(frame, want, bytes);
    assert_true(l4_find(&view, frame, bytes));
    be16_put(frame + 34 + 16, l4_pseudo(&view, frame, bytes - 34));
    vdriver_send(d, 0, header, 12, frame, bytes);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_memory_equal(d->frame[0].data, want, bytes);
}

/* Offsets outside the frame: dropped, counted, the chain comes back. */
static void needs_csum_outside_the_frame(void **state)
{
    struct vdriver *d = *state;
    static const uint16_t offsets[][2] = {{60, 0}, {0, 59}, {0xffff, 0xffff}, {58, 1}};

    for (uint16_t i = 0; i < 4; i++) {
        uint8_t header[12] = {HEADER_NEEDS_CSUM};

        le16_put(header + 6, offsets[i][0]);
        le16_put(header + 8, offsets[i][1]);
        vdriver_send(d, (uint16_t)(2 * i), header, 12, vdriver_frame(60), 60);
    }
    assert_int_equal(virtio_net_poll(d->nic, 8), 4);
    assert_int_equal(d->frames, 0);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 4);
}

static void check_segment(const struct vdriver_frame *frame, uint32_t index, uint32_t count,
                          uint32_t mss)
{
    const uint8_t *tcp = frame->data + 34;

    assert_int_equal(be16_get(frame->data + 16), frame->bytes - 14);
    assert_int_equal(be16_get(frame->data + 18), 0x1234 + index);
    assert_int_equal(checksum_fold(checksum_add(0, frame->data + 14, 20)), 0xffff);
    assert_int_equal(be32_get(tcp + TCP_SEQUENCE_AT), 0xfffffc00 + index * mss);
    assert_int_equal(tcp[TCP_FLAGS_AT], index + 1 == count ? TCP_ACK | TCP_PSH | TCP_FIN : TCP_ACK);
    assert_int_equal(l4_checksum_judge(frame->data, frame->bytes), L4_GOOD);
}

static const uint8_t tso_header[12] = {
    HEADER_NEEDS_CSUM, HEADER_GSO_TCPV4, 54, 0, 0xe8, 3, 34, 0, 16, 0}; /* 1000 bytes each */

/* §6.5, choices.md: TSO; payload an exact multiple makes no extra segment. */
static void tso_is_cut(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[6000];
    const uint32_t bytes = tcp_frame(frame, 5000);
    uint8_t back[5000];

    vdriver_send(d, 0, tso_header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 5);
    for (uint32_t i = 0; i < 5; i++) {
        check_segment(&d->frame[i], i, 5, 1000);
        memcpy(back + 1000 * i, d->frame[i].data + 54, 1000);
    }
    assert_memory_equal(back, frame + 54, 5000);
    assert_used(d, QUEUE_TX, 0, 0, 0);
}

/* §6.5, gso_type 4; choices.md, IPv6 payload length: tagged, behind an extension header. */
static void tso_over_ipv6_is_cut(void **state)
{
    struct vdriver *d = *state;
    uint8_t frame[3000];
    const uint32_t bytes = tcp_frame_ipv6(frame, 2500);
    const uint32_t header_bytes = TCP_FRAME_IPV6_HEADER_BYTES;
    const uint32_t l4 = TCP_FRAME_IPV6_L4_AT;
    uint8_t header[12] = {
        HEADER_NEEDS_CSUM, HEADER_GSO_TCPV6, (uint8_t)header_bytes, 0, 0xe8, 3, (uint8_t)l4, 0,
        TCP_CHECKSUM_AT};

    vdriver_send(d, 0, header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t payload = i < 2 ? 1000 : 500;
        const uint8_t *sent = d->frame[i].data;

        assert_int_equal(d->frame[i].bytes, header_bytes + payload);
        assert_int_equal(be16_get(sent + TCP_FRAME_IPV6_AT + IPV6_PAYLOAD_LENGTH_AT),
                         TCP_FRAME_EXTENSION_BYTES + TCP_HEADER_BYTES + payload);
        assert_int_equal(be32_get(sent + l4 + TCP_SEQUENCE_AT), 1000 * i);
        assert_int_equal(sent[l4 + TCP_FLAGS_AT],
                         TCP_ACK | (i == 0 ? TCP_CWR : 0) | (i == 2 ? TCP_FIN : 0));
        assert_memory_equal(sent + header_bytes, frame + header_bytes + 1000 * i, payload);
        assert_int_equal(l4_checksum_judge(sent, d->frame[i].bytes), L4_GOOD);
    }
    assert_used(d, QUEUE_TX, 0, 0, 0);
}

/* §6.5, gso_type bit 0x80; RFC 3168 §6.1.2: CWR is said once, by the first segment. */
static void tso_with_ecn_keeps_cwr_on_the_first_segment(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[6000];
    const uint32_t bytes = tcp_frame(frame, 3000);
    uint8_t header[12];

    memcpy(header, tso_header, 12);
    header[1] = HEADER_GSO_TCPV4 | HEADER_GSO_ECN;
    frame[TCP_FRAME_L4_AT + TCP_FLAGS_AT] |= TCP_CWR;
    vdriver_send(d, 0, header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(d->frame[i].bytes, 54 + 1000);
        assert_int_equal(d->frame[i].data[TCP_FRAME_L4_AT + TCP_FLAGS_AT],
                         TCP_ACK | (i == 0 ? TCP_CWR : 0) | (i == 2 ? TCP_PSH | TCP_FIN : 0));
        assert_int_equal(l4_checksum_judge(d->frame[i].data, d->frame[i].bytes), L4_GOOD);
    }
}

/* A packet to cut, of `bytes` in pieces of 64 KiB that all are the same memory. */
static void send_huge(struct vdriver *d, const uint8_t *frame, uint32_t bytes)
{
    uint8_t header[12];
    uint16_t i = 1;

    memcpy(header, tso_header, 12);
    le16_put(header + 4, 1400); /* 749 segments */
    memcpy(d->ram + VDRIVER_TX, header, 12);
    memcpy(d->ram + VDRIVER_BIG, frame, 0x10000);
    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TX, 12, DESC_NEXT, 1);
    for (; bytes > 0x10000; bytes -= 0x10000, i++)
        vdriver_desc(d, QUEUE_TX, i, VDRIVER_BIG, 0x10000, DESC_NEXT, (uint16_t)(i + 1));
    vdriver_desc(d, QUEUE_TX, i, VDRIVER_BIG, bytes, 0, 0);
    vdriver_post(d, QUEUE_TX, 0);
}

/* §6.5: "input packet limit 1 MiB"; what is longer is dropped, its chain comes back. */
static void packets_beyond_1_mib_are_dropped(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[0x10000];

    (void)tcp_frame(frame, sizeof frame - 54);
    send_huge(d, frame, (1 << 20) + 1);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 0);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    d->sink_room = 1;
    send_huge(d, frame, 1 << 20);
    assert_int_equal(virtio_net_poll(d->nic, 8), 0); /* under way, the sink is full */
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 54 + 1400);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
}

/* A sink full in between: the chain waits, each segment leaves once. */
static void tso_resumes(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[6000];
    const uint32_t bytes = tcp_frame(frame, 4500);

    d->sink_room = 2;
    vdriver_send(d, 0, tso_header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_TX), 0);
    d->sink_room = 1;
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    d->sink_room = 9;
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 5);
    for (uint32_t i = 0; i < 5; i++)
        check_segment(&d->frame[i], i, 5, 1000);
    assert_int_equal(d->frame[4].bytes, 554);
}

/* Requests that make no sense: gso_size 0, UDP, wrong version, segments above the MTU. */
static void tso_that_makes_no_sense(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[3000];
    const uint32_t bytes = tcp_frame(frame, 2500);
    uint8_t header[12];

    memcpy(header, tso_header, 12);
    le16_put(header + 4, 0);
    vdriver_send(d, 0, header, 12, frame, bytes);
    le16_put(header + 4, 2000);
    vdriver_send(d, 2, header, 12, frame, bytes);
    le16_put(header + 4, 1);
    vdriver_send(d, 4, header, 12, frame, bytes); /* 2500 segments */
    memcpy(header, tso_header, 12);
    header[1] = HEADER_GSO_TCPV6;
    vdriver_send(d, 6, header, 12, frame, bytes);
    frame[ETH_HEADER_BYTES + IPV4_PROTOCOL_AT] = IP_PROTOCOL_UDP;
    vdriver_send(d, 8, tso_header, 12, frame, bytes);
    vdriver_send(d, 10, tso_header, 12, frame, 30); /* header cut short */
    assert_int_equal(virtio_net_poll(d->nic, 8), 6);
    assert_int_equal(d->frames, 0);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 6);
}

/* l2-extensions §6: uncut where the host takes it so; what is no super-frame is cut all the same.
 */
static void tso_leaves_whole(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[70000];
    uint32_t bytes = tcp_frame(frame, 65535 - 40);

    d->super = true;
    vdriver_power_on(d, &d->config);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    be16_put(frame + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT, 0);
    vdriver_send(d, 0, tso_header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].gso_bytes, 1000);
    assert_int_equal(d->frame[0].bytes, 65549);
    assert_int_equal(be16_get(d->frame[0].data + ETH_HEADER_BYTES + IPV4_TOTAL_LENGTH_AT), 65535);
    assert_memory_equal(d->frame[0].data + 34, frame + 34, bytes - 34);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    bytes = tcp_frame(frame, 65535 - 39); /* an IP length of 65536 */
    vdriver_send(d, 2, tso_header, 12, frame, bytes);
    bytes = tcp_frame(frame, 1000); /* one segment */
    vdriver_send(d, 4, tso_header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frames, 1 + 66 + 1);
    for (uint32_t i = 1; i < d->frames; i++) {
        assert_int_equal(d->frame[i].gso_bytes, 0);
        assert_int_equal(l4_checksum_judge(d->frame[i].data, d->frame[i].bytes), L4_GOOD);
    }
}

/* A full sink: the chain stays, its super-frame leaves once. */
static void a_super_frame_waits_for_the_sink(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[6000];
    const uint32_t bytes = tcp_frame(frame, 5000);

    d->super = true;
    vdriver_power_on(d, &d->config);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    d->sink_room = 0;
    vdriver_send(d, 0, tso_header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    d->sink_room = 9;
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_memory_equal(d->frame[0].data, frame, bytes);
}

/* nic/host.h: NULL says "later", so a card must not ask for more than VIRTIO_NET_FRAME_MAX_BYTES,
 * which is what every sink has room for: that "later" would never come, whatever the MTU. */
static void the_largest_mtu_stops_at_the_largest_frame(void **state)
{
    struct vdriver *d = *state;
    const struct virtio_net_config config = {.mtu = UINT16_MAX, .mac = {2, 0, 0, 0, 0, 1}};
    static uint8_t frame[VIRTIO_NET_FRAME_MAX_BYTES + 1];

    vdriver_power_on(d, &config);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    vdriver_send(d, 0, NULL, 12, frame, sizeof frame);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
    vdriver_send(d, 2, NULL, 12, frame, sizeof frame - 1);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, VIRTIO_NET_FRAME_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define C(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_contract, vdriver_teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        C(worked_bytes),
        C(auto_header_per_chain),
        S(header_cut_anywhere),
        C(sizes_that_are_dropped),
        C(frames_too_long_are_hardly_read),
        C(writable_descriptor_drops),
        C(contract_ignores_the_header),
        C(buffer_outside_ram),
        C(full_sink_contract),
        S(full_sink_standard),
        S(without_link_buffers_return),
        S(needs_csum_is_completed),
        S(needs_csum_outside_the_frame),
        S(tso_is_cut),
        S(tso_over_ipv6_is_cut),
        S(tso_with_ecn_keeps_cwr_on_the_first_segment),
        S(packets_beyond_1_mib_are_dropped),
        S(tso_resumes),
        S(tso_that_makes_no_sense),
        S(tso_leaves_whole),
        S(a_super_frame_waits_for_the_sink),
        S(the_largest_mtu_stops_at_the_largest_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
