/* Hostile drivers: every defect of guest-quirks §3 by its number, and spec/virtio-net.md §10. */
#include "virtio_driver.h"

#include <string.h>

static void good_frame(struct vdriver *d, uint16_t head)
{
    vdriver_send(d, head, NULL, 12, vdriver_frame(60), 60);
}

/* The queue goes on: one more frame leaves, as the nth used element. */
static void next_frame_flows(struct vdriver *d, uint32_t nth)
{
    const uint32_t frames = d->frames;

    good_frame(d, 100);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_TX, nth, 100, 0);
    assert_int_equal(d->frames, frames + 1);
}

/* §3.2 (CVE-2016-5403): avail.idx more than a ring ahead is an error of the device, no loop. */
static void available_index_ahead_of_the_ring(void **state)
{
    struct vdriver *d = *state;

    good_frame(d, 0);
    le16_put(d->ram + vdriver_queue(QUEUE_TX) + VDRIVER_AVAIL_AT + 2, 257);
    assert_int_equal(virtio_net_poll(d->nic, 4096), 0);
    assert_true((vdriver_get(d, COMMON_DEVICE_STATUS, 1) & STATUS_NEEDS_RESET) != 0);
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), ISR_CONFIG);
    const uint32_t calls = d->dma_calls;
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->dma_calls, calls);
    assert_int_equal(virtio_net_stats(d->nic)->needs_reset, 1);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX); /* and a reset cures it */
    next_frame_flows(d, 0);
}

/* The same in the contract (§4.1): at most a ring full of chains in one poll. */
static void contract_takes_a_ring_full_per_poll(void **state)
{
    struct vdriver *d = *state;

    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    d->sink_room = 4;
    le16_put(d->ram + vdriver_queue(QUEUE_TX) + VDRIVER_AVAIL_AT + 2, 0x8000);
    assert_int_equal(virtio_net_poll(d->nic, 100000), 256);
    d->dma_calls = 0;
    le16_put(d->ram + vdriver_queue(QUEUE_RX) + VDRIVER_AVAIL_AT + 2, 0x8000);
    (void)virtio_net_rx_offer(d->nic, vdriver_frame(60), 60);
    assert_true(d->dma_calls < 256 * 8);
    assert_int_equal(d->nic->status & STATUS_NEEDS_RESET, 0);
}

struct chain {
    uint16_t flags[3];
    uint16_t next[3];
};

/* §3.3 (CVE-2016-7422 and others), §4.1: faulty chains transfer nothing, complete with 0. */
static void faulty_chains_complete_with_zero(void **state)
{
    struct vdriver *d = *state;
    static const struct chain chains[] = {
        {{DESC_NEXT, DESC_NEXT, 0}, {1, 0, 0}},              /* a loop of two */
        {{DESC_NEXT, 0, 0}, {0, 0, 0}},                      /* of one */
        {{DESC_NEXT, DESC_NEXT, 0}, {1, 256, 0}},            /* next out of the table */
        {{DESC_NEXT, DESC_NEXT, 0}, {1, 0xffff, 0}},         /* far out */
        {{DESC_NEXT | DESC_WRITE, DESC_NEXT, 0}, {1, 2, 0}}, /* writable before readable */
        {{DESC_INDIRECT | DESC_NEXT, 0, 0}, {1, 0, 0}},      /* INDIRECT with NEXT */
    };
    const uint32_t count = sizeof chains / sizeof chains[0];

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < 3; k++)
            vdriver_desc(d, QUEUE_TX, k, VDRIVER_TX, 48, chains[i].flags[k], chains[i].next[k]);
        vdriver_post(d, QUEUE_TX, 0);
        assert_int_equal(virtio_net_poll(d->nic, 8), 1);
        assert_used(d, QUEUE_TX, i, 0, 0);
        assert_int_equal(virtio_net_stats(d->nic)->bad_chains, i + 1);
    }
    vdriver_post(d, QUEUE_TX, 256); /* head out of the table: its id as given */
    vdriver_post(d, QUEUE_TX, 0xffff);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_used(d, QUEUE_TX, count, 256, 0);
    assert_used(d, QUEUE_TX, count + 1, 0xffff, 0);
    assert_int_equal(d->frames, 0);
    next_frame_flows(d, count + 2);
}

/* §3.3: indirect tables of impossible length, or with another one inside. */
static void faulty_indirect_tables(void **state)
{
    struct vdriver *d = *state;
    static const uint32_t lengths[] = {0, 1, 15, 17, 4097 * 16, 0xfffffff0};
    uint32_t nth = 0;

    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_TX, 72, 0, 0);
    for (uint32_t i = 0; i < 6; i++) {
        vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TABLES, lengths[i], DESC_INDIRECT, 0);
        vdriver_post(d, QUEUE_TX, 0);
        virtio_net_poll(d->nic, 8);
        assert_used(d, QUEUE_TX, nth++, 0, 0);
    }
    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_TABLES, 16, DESC_INDIRECT, 0);
    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TABLES, 16, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 0); /* the table in itself */
    vdriver_desc_at(d, VDRIVER_TABLES, 4, VDRIVER_TX, 72, DESC_NEXT, 1);
    vdriver_desc(d, QUEUE_TX, 1, VDRIVER_TABLES + 64, 16, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 1); /* next out of the indirect table */
    virtio_net_poll(d->nic, 8);
    nth += 2;
    assert_int_equal(virtio_net_stats(d->nic)->bad_chains, nth);
    assert_int_equal(d->frames, 0);
    next_frame_flows(d, nth);
}

/* §4.1: INDIRECT that was not negotiated. */
static void indirect_not_negotiated(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, F_VERSION_1);
    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_TX, 72, 0, 0);
    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TABLES, 16, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 0);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    assert_int_equal(virtio_net_stats(d->nic)->bad_chains, 1);
}

/* §3.3: empty descriptors are no defect; a frame of only those has no header. */
static void zero_length_descriptors(void **state)
{
    struct vdriver *d = *state;

    vdriver_desc(d, QUEUE_TX, 0, 0xffffffffffffffff, 0, DESC_NEXT, 1);
    vdriver_desc(d, QUEUE_TX, 1, 0, 0, 0, 0);
    vdriver_post(d, QUEUE_TX, 0);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
    next_frame_flows(d, 1);
}

/* §4.1: a loop of empty descriptors grows no chain; no more hops than the table has entries. */
static void loops_of_empty_descriptors(void **state)
{
    struct vdriver *d = *state;

    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TX, 0, DESC_NEXT, 0);
    vdriver_post(d, QUEUE_TX, 0);
    for (uint32_t i = 0; i < 4096; i++)
        vdriver_desc_at(d, VDRIVER_BIG, i, VDRIVER_TX, 0, DESC_NEXT, (uint16_t)((i + 1) % 4096));
    vdriver_desc(d, QUEUE_TX, 1, VDRIVER_BIG, 4096 * 16, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 1);
    d->dma_calls = 0;
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_true(d->dma_calls < 256 + 4096 / 16 + 32);
    assert_int_equal(virtio_net_stats(d->nic)->bad_chains, 2);
    next_frame_flows(d, 2);
}

/* §3.13 (QEMU's large_tx/uint_max): 65 descriptors of UINT_MAX / 64 bytes. */
static void large_tx_uint_max(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < 65; i++)
        vdriver_desc(d, QUEUE_TX, i, 0x1000, UINT32_MAX / 64, i < 64 ? DESC_NEXT : 0,
                     (uint16_t)(i + 1));
    vdriver_post(d, QUEUE_TX, 0);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_TX, 0, 0, 0);
    assert_int_equal(d->frames, 0);
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 1);
    for (uint32_t i = 0; i < 65; i++) /* receive: capacities that add up beyond 32 bits */
        vdriver_desc(d, QUEUE_RX, i, VDRIVER_RX, UINT32_MAX, i < 64 ? DESC_NEXT | DESC_WRITE : 2,
                     (uint16_t)(i + 1));
    vdriver_post(d, QUEUE_RX, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 0, 72);
    next_frame_flows(d, 1);
}

/* §3.9, choices.md (QEMU 7.2 aborts): chains shorter than the header. */
static void chains_shorter_than_the_header(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t bytes = 0; bytes < 12; bytes++) {
        vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TX, bytes, 0, 0);
        vdriver_post(d, QUEUE_TX, 0);
        virtio_net_poll(d->nic, 8);
        assert_used(d, QUEUE_TX, bytes, 0, 0);
    }
    assert_int_equal(virtio_net_stats(d->nic)->tx_dropped, 12);
    next_frame_flows(d, 12);
}

/* §3.10 (Firecracker's list), mergeable: read-only, short, invalid; the next frame flows. */
static void broken_receive_chains(void **state)
{
    struct vdriver *d = *state;

    vdriver_desc(d, QUEUE_RX, 0, VDRIVER_RX, 2000, 0, 0);
    vdriver_post(d, QUEUE_RX, 0);
    vdriver_receive(d, 1, 11);
    vdriver_desc(d, QUEUE_RX, 2, VDRIVER_RX, 2000, DESC_WRITE | DESC_NEXT, 2);
    vdriver_post(d, QUEUE_RX, 2);
    vdriver_desc(d, QUEUE_RX, 3, VDRIVER_RAM_BYTES, 2000, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_RX, 3); /* outside RAM: this frame is lost */
    vdriver_receive(d, 4, 2000);
    assert_true(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60) < 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_used(d, QUEUE_RX, i, i, 0);
    assert_used(d, QUEUE_RX, 4, 4, 72);
    assert_int_equal(virtio_net_stats(d->nic)->bad_chains, 4);
}

/* §3.5 (CVE-2022-26353): an error within a set of merged buffers leaks none of them. */
static void cve_2022_26353_no_buffer_leaks(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 512);
    vdriver_desc(d, QUEUE_RX, 1, 0xb0000000, 512, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_RX, 1);
    vdriver_receive(d, 2, 512);
    vdriver_receive(d, 3, 512);
    assert_true(virtio_net_rx_offer(d->nic, vdriver_frame(1200), 1200) < 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
    assert_used(d, QUEUE_RX, 0, 0, 512); /* filled by then; its set ends in empty ones */
    assert_used(d, QUEUE_RX, 1, 1, 0);
    assert_used(d, QUEUE_RX, 2, 2, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 3, 3, 72);
}

/* §3.6 (CVE-2023-6693): the header copied is the negotiated one, never longer than its place. */
static void cve_2023_6693_header_stays_in_its_buffer(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 12 + 60);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    vdriver_assert_hex(vdriver_rx(d, 0) + 72, "5a 5a 5a 5a");
}

static void assert_no_marks(const struct vdriver *d)
{
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        assert_false(d->nic->queue[i].kicked);
    assert_false(virtio_net_work_pending(d->nic));
}

/* §3.7 (CVE-2011-2512, CVE-2024-6505): queue numbers are unsigned and bounded; a kick for none
 * of them marks nothing. */
static void cve_2011_2512_queue_numbers(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;
    static const uint16_t numbers[] = {3, 4, 0x7fff, 0x8000, 0xffff};

    virtio_net_poll(d->nic, 8);
    for (uint32_t i = 0; i < 5; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, numbers[i]);
        vdriver_put(d, COMMON_QUEUE_DESC, 4, 0x1000);
        vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_ENABLE, 2), 0);
    }
    for (uint32_t at = NOTIFY_MULTIPLIER * 3; at < 0x1000; at += NOTIFY_MULTIPLIER)
        vdriver_put(d, REGION_NOTIFY + at, 2, 0);
    assert_no_marks(d);
    next_frame_flows(d, 0);
    config.transport = VIRTIO_NET_TRANSITIONAL; /* by value there (§7) */
    vdriver_power_on(d, &config);
    vdriver_start_legacy(d, 0);
    virtio_net_poll(d->nic, 8);
    for (uint32_t i = 0; i < 5; i++)
        virtio_net_io_write(d->nic, LEGACY_QUEUE_NOTIFY, 2, numbers[i]);
    assert_no_marks(d);
}

/* §3.8: a reset forgets what waited: a packet cut in half, held chains, queued frames. */
static void reset_purges_everything(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[4000];
    const uint8_t header[12] = {HEADER_NEEDS_CSUM, HEADER_GSO_TCPV4, 54, 0, 0xe8, 3, 34, 0, 16};
    const uint32_t bytes = tcp_frame(frame, 3000);

    d->sink_room = 1;
    vdriver_send(d, 0, header, 12, frame, bytes);
    vdriver_receive(d, 0, 100);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(1000), 1000), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->nic->tx_segment, 1);
    assert_int_equal(d->nic->held_count, 1);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    assert_false(d->irq);
    d->sink_room = 99;
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 0);
    vdriver_frames_clear(d);
    vdriver_send(d, 0, header, 12, frame, bytes);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 3); /* from its first segment on */
}

/* §3.14: an unoffered bit or a missing VERSION_1; the rest is in virtio.pci. */
static void unoffered_features_stay_refused(void **state)
{
    struct vdriver *d = *state;
    const uint64_t offered = vdriver_offered(d);

    for (uint32_t bit = 0; bit < 64; bit++) {
        const bool fine = (offered & FEATURE(bit)) != 0;
        const uint8_t status = vdriver_negotiate(d, F_VERSION_1 | FEATURE(bit));

        assert_int_equal((status & STATUS_FEATURES_OK) != 0, fine);
    }
}

/* §3.15 (rx_stop_cont): frames queued while nothing polls arrive afterwards, in order. */
static void frames_queued_while_paused(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 8; i++)
        vdriver_receive(d, i, 2000);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60 + i), 60 + i), 0);
    virtio_net_poll(d->nic, 1);
    for (uint32_t i = 0; i < 8; i++)
        assert_used(d, QUEUE_RX, i, i, 72 + i);
}

/* §4.1: ring or descriptor memory outside RAM: NEEDS_RESET, no spinning. */
static void rings_outside_ram(void **state)
{
    struct vdriver *d = *state;
    static const uint64_t places[] = {VDRIVER_RAM_BYTES, 0xb0000000, 0xfffffffffff00000};

    for (uint32_t i = 0; i < 9; i++) {
        struct vnet_queue *queue = &d->nic->queue[QUEUE_TX];

        vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
        good_frame(d, 0);
        if (i % 3 == 0)
            queue->desc = places[i / 3];
        else if (i % 3 == 1)
            queue->avail = places[i / 3];
        else
            queue->used = places[i / 3];
        virtio_net_poll(d->nic, 8);
        assert_true((d->nic->status & STATUS_NEEDS_RESET) != 0);
    }
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_RAM_BYTES - 16, 32, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 0); /* an indirect table half outside */
    virtio_net_poll(d->nic, 8);
    assert_true((d->nic->status & STATUS_NEEDS_RESET) != 0);
}

static void reset_by_dma(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    (void)write;
    (void)gpa;
    (void)bytes;
    virtio_net_mmio_write(d->nic, COMMON_DEVICE_STATUS, 1, 0);
    virtio_net_reset(d->nic);
    virtio_net_poll(d->nic, 8);
    virtio_net_set_pci_command(d->nic, 0);
    assert_true(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60) < 0);
}

/* The CVE-2023-3019 family: DMA that lands in the card itself does not re-enter it. */
static void dma_into_the_card_itself(void **state)
{
    struct vdriver *d = *state;

    d->on_dma = reset_by_dma;
    good_frame(d, 0);
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    d->on_dma = NULL;
    next_frame_flows(d, 1);
}

/* A buffer that is smaller when it is used than when it was taken: no byte beyond it. */
static void buffers_that_shrink_meanwhile(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(3000), 3000),
                     VIRTIO_NET_ERR_NO_BUFFER);
    vdriver_desc(d, QUEUE_RX, 0, VDRIVER_RX, 20, DESC_WRITE, 0);
    vdriver_receive(d, 1, 2000);
    assert_true(virtio_net_rx_offer(d->nic, vdriver_frame(3000), 3000) < 0);
    vdriver_assert_hex(vdriver_rx(d, 0) + 20, "5a 5a 5a 5a");
    assert_used(d, QUEUE_RX, 0, 0, 0);
    assert_used(d, QUEUE_RX, 1, 1, 0);
    vdriver_receive(d, 2, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 2, 2, 72);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define C(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_contract, vdriver_teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        S(available_index_ahead_of_the_ring),
        C(contract_takes_a_ring_full_per_poll),
        S(faulty_chains_complete_with_zero),
        S(faulty_indirect_tables),
        S(indirect_not_negotiated),
        S(zero_length_descriptors),
        S(loops_of_empty_descriptors),
        S(large_tx_uint_max),
        S(chains_shorter_than_the_header),
        S(broken_receive_chains),
        S(cve_2022_26353_no_buffer_leaks),
        S(cve_2023_6693_header_stays_in_its_buffer),
        S(cve_2011_2512_queue_numbers),
        S(reset_purges_everything),
        S(unoffered_features_stay_refused),
        S(frames_queued_while_paused),
        S(rings_outside_ram),
        S(dma_into_the_card_itself),
        S(buffers_that_shrink_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
