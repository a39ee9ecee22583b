/* Receive: spec/virtio-net.md §6.3, l2-extensions §6; link and announcement: §2.4. */
#include "nic/segment.h"
#include "virtio_driver.h"

#include <string.h>

/* A receive chain of the contract's drivers: header alone, then the buffer. */
static void receive_two(struct vdriver *d, uint16_t head, uint32_t header_bytes, uint32_t bytes)
{
    const uint32_t at = VDRIVER_RX + (uint32_t)head * VDRIVER_BUFFER_BYTES;

    memset(d->ram + at, 0x5a, VDRIVER_BUFFER_BYTES);
    vdriver_desc(d, QUEUE_RX, head, at, header_bytes, DESC_WRITE | DESC_NEXT, (uint16_t)(head + 1));
    vdriver_desc(d, QUEUE_RX, head + 1u, at + 0x100, bytes, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_RX, head);
}

/* §6.4: the worked bytes; §6.3.4: bytes after the frame are not modified. */
static void worked_bytes(void **state)
{
    struct vdriver *d = *state;

    vdriver_hex(d->ram + vdriver_queue(QUEUE_RX),
                "00 80 00 00 00 00 00 00 0a 00 00 00 03 00 01 00"
                "00 81 00 00 00 00 00 00 f2 05 00 00 02 00 00 00");
    memset(d->ram + 0x8000, 0x5a, 0x1000);
    vdriver_post(d, QUEUE_RX, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    vdriver_assert_hex(d->ram + vdriver_queue(QUEUE_RX) + VDRIVER_USED_AT,
                       "00 00 01 00 00 00 00 00 46 00 00 00");
    vdriver_assert_hex(d->ram + 0x8000, "00 00 00 00 00 00 00 00 00 00 5a 5a");
    assert_memory_equal(d->ram + 0x8100, vdriver_frame(60), 60);
    vdriver_assert_hex(d->ram + 0x8100 + 60, "5a 5a 5a 5a");
    assert_true(d->irq);
}

/* §6.1: 12 bytes carry num_buffers = 1, also without MRG_RXBUF. */
static void num_buffers_is_one(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d) & ~(F_EVENT_IDX | F_MRG_RXBUF));
    receive_two(d, 0, 12, 1522);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    vdriver_assert_hex(vdriver_rx(d, 0), "00 00 00 00 00 00 00 00 00 00 01 00 5a");
    assert_used(d, QUEUE_RX, 0, 0, 72);
}

/* §6.3.1: no chain, no loss: the frame is kept and delivered once a chain is there. */
static void frames_wait_for_buffers(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    virtio_net_poll(d->nic, 8);
    assert_false(virtio_net_work_pending(d->nic));
    receive_two(d, 0, 12, 1522);
    vdriver_put(d, REGION_NOTIFY, 2, 0);
    assert_true(virtio_net_work_pending(d->nic));
    virtio_net_poll(d->nic, 8);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 1);
    assert_false(virtio_net_work_pending(d->nic));
}

/* §4.2: 256 frames wait in the card at most; they come in order once there are buffers. */
static void the_receive_queue_holds_256_frames(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < 256; i++)
        assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60 + i), 60 + i), 0);
    assert_int_equal(virtio_net_stats(d->nic)->rx_dropped_full, 0);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(virtio_net_stats(d->nic)->rx_dropped_full, 1);
    for (uint16_t i = 0; i < 256; i++)
        vdriver_receive(d, i, 2000);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 256);
    for (uint16_t i = 0; i < 256; i++) {
        assert_used(d, QUEUE_RX, i, i, 72u + i);
        assert_memory_equal(vdriver_rx(d, i) + 12, vdriver_frame(60u + i), 60u + i);
    }
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
}

/* §6.3.2: read-only or short chains at the front complete with 0; the frame goes on. */
static void invalid_chains_at_the_front(void **state)
{
    struct vdriver *d = *state;

    vdriver_desc(d, QUEUE_RX, 20, VDRIVER_RX, 2000, 0, 0);
    vdriver_post(d, QUEUE_RX, 20); /* read-only */
    vdriver_receive(d, 21, 9);     /* shorter than a header */
    receive_two(d, 22, 4, 1522);   /* header not in the first one */
    receive_two(d, 0, 10, 1522);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 20, 0);
    assert_used(d, QUEUE_RX, 1, 21, 0);
    assert_used(d, QUEUE_RX, 2, 22, 0);
    assert_used(d, QUEUE_RX, 3, 0, 70);
    assert_int_equal(virtio_net_stats(d->nic)->bad_chains, 3);
}

/* The standard profile takes a header cut over descriptors (issue: follows the standard). */
static void standard_header_may_be_cut(void **state)
{
    struct vdriver *d = *state;

    receive_two(d, 0, 4, 1522);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 0, 72);
    vdriver_assert_hex(vdriver_rx(d, 0), "00 00 00 00 5a");
    vdriver_assert_hex(vdriver_rx(d, 0) + 0x100, "00 00 00 00 00 00 01 00 52 54");
}

/* §6.3.3, .5: the contract takes the first chain large enough; ids identify them. */
static void contract_first_fit_out_of_order(void **state)
{
    struct vdriver *d = *state;

    receive_two(d, 0, 10, 64);
    receive_two(d, 2, 10, 1522);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 2, 1010);
    assert_used(d, QUEUE_RX, 1, 0, 70);
    receive_two(d, 4, 10, 64);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000),
                     VIRTIO_NET_ERR_FRAME_SIZE); /* dropped, the chain stays */
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 2);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 2, 4, 70);
}

/* §5: 14..1522 bytes in the contract. */
static void sizes_that_are_refused(void **state)
{
    struct vdriver *d = *state;

    receive_two(d, 0, 10, 4000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(13), 13), VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(1523), 1523),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1522), 1522), 0);
    assert_int_equal(virtio_net_stats(d->nic)->rx_dropped_size, 2);
}

/* choices.md, standard without MRG_RXBUF: frame too large is dropped, the buffer kept. */
static void too_large_without_mergeable(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d) & ~(F_EVENT_IDX | F_MRG_RXBUF));
    vdriver_receive(d, 0, 100);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(88), 88), 0);
    assert_used(d, QUEUE_RX, 0, 0, 100);
}

/* MRG_RXBUF: num_buffers and used lengths exact; header only in the first buffer. */
static void mergeable_buffers(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 4; i++)
        vdriver_receive(d, i, 512);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1200), 1200), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
    assert_used(d, QUEUE_RX, 0, 0, 512);
    assert_used(d, QUEUE_RX, 1, 1, 512);
    assert_used(d, QUEUE_RX, 2, 2, 1212 - 1024);
    vdriver_assert_hex(vdriver_rx(d, 0), "00 00 00 00 00 00 00 00 00 00 03 00");
    assert_memory_equal(vdriver_rx(d, 0) + 12, vdriver_frame(1200), 500);
    assert_memory_equal(vdriver_rx(d, 1), vdriver_frame(1200) + 500, 512);
    assert_memory_equal(vdriver_rx(d, 2), vdriver_frame(1200) + 1012, 188);
    vdriver_assert_hex(vdriver_rx(d, 2) + 188, "5a 5a");
}

/* choices.md: a partial set of buffers is never consumed. */
static void mergeable_never_partial(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 512);
    vdriver_receive(d, 1, 512);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1200), 1200),
                     VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 0);
    vdriver_receive(d, 2, 512);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1200), 1200), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
}

/* The header counts: 1012 bytes fill two buffers of 512 to the last byte, 1013 need a third. */
static void mergeable_to_the_last_byte(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 5; i++)
        vdriver_receive(d, i, 512);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1012), 1012), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 2);
    assert_used(d, QUEUE_RX, 1, 1, 512);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1013), 1013), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 5);
    assert_used(d, QUEUE_RX, 4, 4, 1);
}

/* A frame that all buffers of a full ring can't hold is dropped, not held for ever. */
static void mergeable_that_never_fits(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < 256; i++) {
        vdriver_desc(d, QUEUE_RX, i, VDRIVER_RX, 16, DESC_WRITE, 0);
        vdriver_post(d, QUEUE_RX, (uint16_t)i);
    }
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(9000), 9000),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(20), 20), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 2);
}

/* Quirks §3.5 (CVE-2021-3748): num_buffers is written before any element is returned. */
static void header_before_used(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    const uint64_t idx = vdriver_queue(QUEUE_RX) + VDRIVER_USED_AT + 2;
    uint32_t *hits = d->model;

    (void)bytes;
    if (!write || gpa < idx || gpa >= idx + 2 + UINT64_C(8) * 256)
        return;
    assert_int_equal(vdriver_rx(d, 0)[10], 2);
    ++*hits;
}

static void cve_2021_3748_num_buffers_first(void **state)
{
    struct vdriver *d = *state;
    uint32_t hits = 0;

    vdriver_receive(d, 0, 512);
    vdriver_receive(d, 1, 512);
    d->model = &hits;
    d->on_dma = header_before_used;
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(700), 700), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 2);
    assert_int_equal(hits, 3); /* two elements and used.idx */
}

/* GUEST_CSUM: a checksum found right is marked, anything else is left to the guest. */
static void checksum_good_is_marked(void **state)
{
    struct vdriver *d = *state;
    uint8_t frame[300];
    const uint32_t bytes = tcp_frame(frame, 100);

    vdriver_receive(d, 0, 2000);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, bytes), 0);
    frame[100] ^= 1;
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, bytes), 0);
    assert_int_equal(vdriver_rx(d, 0)[0], HEADER_DATA_VALID);
    assert_int_equal(vdriver_rx(d, 1)[0], 0);
}

/* l2-extensions §6: a guest with GUEST_TSO4 gets a super-frame whole, checksum partial. */
static void super_frame_whole(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[8000];
    const uint32_t bytes = tcp_frame(frame, 7000);

    for (uint16_t i = 0; i < 4; i++)
        vdriver_receive(d, i, 2048);
    assert_int_equal(virtio_net_receive_super(d->nic, frame, bytes, 1400), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 4);
    vdriver_assert_hex(vdriver_rx(d, 0), "01 01 36 00 78 05 22 00 10 00 04 00");
    struct l4_view view;
    assert_true(l4_find(&view, frame, bytes));
    assert_int_equal(be16_get(vdriver_rx(d, 0) + 12 + 34 + TCP_CHECKSUM_AT),
                     l4_pseudo(&view, frame, bytes - 34));
}

/* The same for a guest without it: frames, each with right checksums, one interrupt. */
static void super_frame_is_cut(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[8000];
    const uint32_t bytes = tcp_frame(frame, 4000);

    vdriver_start(d, vdriver_offered(d) & ~(F_EVENT_IDX | F_GUEST_TSO4));
    for (uint16_t i = 0; i < 4; i++)
        vdriver_receive(d, i, 2048);
    assert_int_equal(virtio_net_receive_super(d->nic, frame, bytes, 1400), 0);
    assert_int_equal(virtio_net_receive_super(d->nic, vdriver_frame(2000), 2000, 1400),
                     VIRTIO_NET_ERR_FRAME_SIZE); /* not TCP */
    virtio_net_poll(d->nic, 8);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
    assert_int_equal(d->irq_edges, 1);
    for (uint16_t i = 0; i < 3; i++) {
        assert_int_equal(vdriver_rx(d, i)[0], HEADER_DATA_VALID);
        assert_int_equal(vdriver_used(d, QUEUE_RX, i).bytes, 12 + 54 + (i < 2 ? 1400 : 1200));
    }
}

/* The same without the card's queue between: straight from where the host has it. */
static void an_offered_super_frame(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[8000];
    const uint32_t bytes = tcp_frame(frame, 7000);
    uint8_t back[8000];

    vdriver_receive(d, 0, 2048);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 1400),
                     VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 0); /* nothing was taken */
    for (uint16_t i = 1; i < 4; i++)
        vdriver_receive(d, i, 2048);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 1400), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 4);
    vdriver_assert_hex(vdriver_rx(d, 0), "01 01 36 00 78 05 22 00 10 00 04 00");
    memcpy(back, vdriver_rx(d, 0) + 12, 2036);
    memcpy(back + 2036, vdriver_rx(d, 1), 2048);
    memcpy(back + 4084, vdriver_rx(d, 2), 2048);
    memcpy(back + 6132, vdriver_rx(d, 3), bytes - 6132);
    assert_memory_equal(back, frame, 34 + TCP_CHECKSUM_AT);
    assert_memory_equal(back + 52, frame + 52, bytes - 52);
    assert_int_equal(d->irq_edges, 1);
}

/* Cut on the way: what finds no chain waits in the card, in order. */
static void an_offered_super_frame_is_cut(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[8000];
    const uint32_t bytes = tcp_frame(frame, 4000);
    uint8_t back[4000];

    vdriver_start(d, vdriver_offered(d) & ~(F_EVENT_IDX | F_GUEST_TSO4));
    vdriver_receive(d, 0, 2048);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 1400), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 1);
    assert_int_equal(d->nic->rx_queue.frames, 2);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 1400),
                     VIRTIO_NET_ERR_NO_BUFFER);
    vdriver_receive(d, 1, 2048);
    vdriver_receive(d, 2, 2048);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
    for (uint16_t i = 0; i < 3; i++) {
        const uint32_t payload = i < 2 ? 1400 : 1200;

        assert_int_equal(vdriver_rx(d, i)[0], HEADER_DATA_VALID);
        assert_int_equal(vdriver_used(d, QUEUE_RX, i).bytes, 12 + 54 + payload);
        assert_int_equal(l4_checksum_judge(vdriver_rx(d, i) + 12, 54 + payload), L4_GOOD);
        memcpy(back + 1400 * i, vdriver_rx(d, i) + 12 + 54, payload);
    }
    assert_memory_equal(back, frame + 54, 4000);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 15), /* 267 frames */
                     VIRTIO_NET_ERR_FRAME_SIZE);
}

/* A small queue can never hold it whole: a driver that gave all it has gets frames instead. */
static void an_offered_super_frame_longer_than_all_buffers_is_cut(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[8000];
    const uint32_t bytes = tcp_frame(frame, 7000);

    d->nic->queue[QUEUE_RX].size = 4;
    for (uint16_t i = 0; i < 4; i++)
        vdriver_receive(d, i, 1500);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, 1400), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 4);
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(vdriver_used(d, QUEUE_RX, i).bytes, 12 + 54 + 1400);
        assert_int_equal(l4_checksum_judge(vdriver_rx(d, i) + 12, 54 + 1400), L4_GOOD);
    }
    assert_int_equal(d->nic->rx_queue.frames, 1); /* waits for the next buffer */
    assert_int_equal(virtio_net_stats(d->nic)->rx_dropped_size, 0);
}

/* Frames for a card that is down are lost and counted. */
static void link_down_refuses(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 2000);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NOT_READY);
    assert_int_equal(virtio_net_stats(d->nic)->rx_dropped_off, 1);
}

/* used.flags: with buffers at hand no kick is needed; out of buffers it is asked for. */
static void kicks_are_suppressed_while_buffers_last(void **state)
{
    struct vdriver *d = *state;
    const uint8_t *flags = d->ram + vdriver_queue(QUEUE_RX) + VDRIVER_USED_AT;

    vdriver_receive(d, 0, 2000);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(le16_get(flags), USED_NO_NOTIFY);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(le16_get(flags), 0);
}

/* Quirks §3.11: a frame that waits for more buffers than are at hand asks for a kick, and the
 * poll that could not deliver it does not take that back. Found by the model. */
static void too_few_buffers_ask_for_a_kick(void **state)
{
    struct vdriver *d = *state;
    const uint8_t *flags = d->ram + vdriver_queue(QUEUE_RX) + VDRIVER_USED_AT;

    vdriver_receive(d, 0, 200);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(1000), 1000), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->nic->held_count, 1);
    assert_int_equal(le16_get(flags), 0);
    assert_false(virtio_net_work_pending(d->nic));
    vdriver_receive(d, 1, 2000);
    vdriver_kick(d, QUEUE_RX);
    assert_true(virtio_net_work_pending(d->nic));
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_RX, 1, 1, 812);
}

/* A frame that was offered, refused and not kept says nothing about the next one. Found by the
 * model: the card looked starved for ever. */
static void a_refused_offer_does_not_hold_up_smaller_frames(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 200);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000),
                     VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    assert_true(virtio_net_work_pending(d->nic));
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_RX, 0, 0, 72);
}

/* The same when queued frames took a ring full of chains in the same call (§4.2). Found by the
 * model. */
static void a_ring_full_taken_asks_for_a_kick(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.queue_size = 4;
    vdriver_power_on(d, &config);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    for (uint16_t i = 0; i < 4; i++)
        vdriver_receive(d, i, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    virtio_net_poll(d->nic, 8);
    const uint8_t *flags = d->ram + d->ring[QUEUE_RX].used;
    assert_int_equal(le16_get(flags), USED_NO_NOTIFY);
    vdriver_receive(d, 0, 2000);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 5);
    assert_int_equal(le16_get(flags), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define C(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_contract, vdriver_teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        C(worked_bytes),
        S(num_buffers_is_one),
        S(frames_wait_for_buffers),
        S(the_receive_queue_holds_256_frames),
        C(invalid_chains_at_the_front),
        S(standard_header_may_be_cut),
        C(contract_first_fit_out_of_order),
        C(sizes_that_are_refused),
        S(too_large_without_mergeable),
        S(mergeable_buffers),
        S(mergeable_never_partial),
        S(mergeable_to_the_last_byte),
        S(mergeable_that_never_fits),
        S(cve_2021_3748_num_buffers_first),
        S(checksum_good_is_marked),
        S(super_frame_whole),
        S(super_frame_is_cut),
        S(an_offered_super_frame),
        S(an_offered_super_frame_is_cut),
        S(an_offered_super_frame_longer_than_all_buffers_is_cut),
        S(link_down_refuses),
        S(kicks_are_suppressed_while_buffers_last),
        S(too_few_buffers_ask_for_a_kick),
        S(a_refused_offer_does_not_hold_up_smaller_frames),
        S(a_ring_full_taken_asks_for_a_kick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
