/* Split queues: spec/virtio-net.md §4, virtio 1.2 §2.7. */
#include "virtio_driver.h"

#include <string.h>

/* A frame of 60 bytes in chain `head`; the header is 12 bytes. */
static void send60(struct vdriver *d, uint16_t head)
{
    vdriver_send(d, head, NULL, 12, vdriver_frame(60), 60);
}

/* §4.1: chains are completed in the order of the ring, once each, with length 0. */
static void every_chain_comes_back_once(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 10; i++)
        send60(d, (uint16_t)(2 * i));
    assert_int_equal(virtio_net_poll(d->nic, 256), 10);
    assert_int_equal(virtio_net_poll(d->nic, 256), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_TX), 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_used(d, QUEUE_TX, i, 2 * i, 0);
    assert_int_equal(d->frames, 10);
}

/* Quirks §3.1 (v86 1e179445): indices run freely, a full ring is not an empty one. */
static void a_full_ring_is_not_empty(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 128; i++)
        send60(d, (uint16_t)(2 * i));
    for (uint16_t i = 0; i < 128; i++) /* exactly queue_size of them */
        vdriver_post(d, QUEUE_TX, (uint16_t)(2 * i));
    assert_int_equal(virtio_net_poll(d->nic, 256), 256);
    assert_int_equal(vdriver_used_idx(d, QUEUE_TX), 256);
    assert_int_equal(d->nic->status & STATUS_NEEDS_RESET, 0);
}

/* §4.1: the 16-bit counters wrap. */
static void counters_wrap(void **state)
{
    struct vdriver *d = *state;

    d->avail[QUEUE_TX] = 0xfffe;
    d->nic->queue[QUEUE_TX].next_avail = d->nic->queue[QUEUE_TX].avail_seen = 0xfffe;
    d->nic->queue[QUEUE_TX].next_used = d->nic->queue[QUEUE_TX].published = 0xfffe;
    for (uint16_t i = 0; i < 4; i++)
        send60(d, (uint16_t)(2 * i));
    assert_int_equal(virtio_net_poll(d->nic, 256), 4);
    assert_int_equal(vdriver_used_idx(d, QUEUE_TX), 2);
    assert_used(d, QUEUE_TX, 0xfffe, 0, 0);
    assert_used(d, QUEUE_TX, 1, 6, 0);
}

/* §4.2: a poll takes at most its budget; the rest stays, and is pending. */
static void budget_leaves_the_rest(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 5; i++)
        send60(d, (uint16_t)(2 * i));
    vdriver_put(d, REGION_NOTIFY + 4, 2, 1);
    assert_true(virtio_net_work_pending(d->nic));
    assert_int_equal(virtio_net_poll(d->nic, 3), 3);
    assert_true(virtio_net_work_pending(d->nic));
    assert_int_equal(virtio_net_poll(d->nic, 3), 2);
    assert_false(virtio_net_work_pending(d->nic));
}

/* §2.2: a kick is 2 or 4 bytes at 4 times the index, any value. */
static void kicks_mark_their_queue(void **state)
{
    struct vdriver *d = *state;

    virtio_net_poll(d->nic, 8);
    vdriver_put(d, REGION_NOTIFY + 4, 1, 1);
    vdriver_put(d, REGION_NOTIFY + 6, 2, 1);
    vdriver_put(d, REGION_NOTIFY + 40, 2, 1);
    assert_false(virtio_net_work_pending(d->nic));
    vdriver_put(d, REGION_NOTIFY + 4, 4, 0xffffffff);
    assert_true(virtio_net_work_pending(d->nic));
    assert_int_equal(d->frames, 0); /* the write alone did nothing */
}

/* §4: indirect tables, alone and behind direct descriptors. */
static void indirect_chains(void **state)
{
    struct vdriver *d = *state;

    memcpy(d->ram + VDRIVER_TX, vdriver_frame(60), 60);
    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_BIG, 12, DESC_NEXT, 2);
    vdriver_desc_at(d, VDRIVER_TABLES, 2, VDRIVER_TX, 60, 0, 0);
    vdriver_desc(d, QUEUE_TX, 7, VDRIVER_TABLES, 48, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 7);
    vdriver_desc(d, QUEUE_TX, 8, VDRIVER_BIG, 12, DESC_NEXT, 9);
    vdriver_desc_at(d, VDRIVER_TABLES, 4, VDRIVER_TX, 60, 0, 0);
    vdriver_desc(d, QUEUE_TX, 9, VDRIVER_TABLES + 64, 16, DESC_INDIRECT | DESC_WRITE, 0);
    vdriver_post(d, QUEUE_TX, 8);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frames, 2);
    assert_memory_equal(d->frame[0].data, vdriver_frame(60), 60);
    assert_memory_equal(d->frame[1].data, vdriver_frame(60), 60);
    assert_used(d, QUEUE_TX, 0, 7, 0);
    assert_used(d, QUEUE_TX, 1, 8, 0);
}

/* §4.1: an indirect table may have 4096 entries, whatever the ring's size. */
static void an_indirect_table_longer_than_the_ring(void **state)
{
    struct vdriver *d = *state;

    memcpy(d->ram + VDRIVER_TX, vdriver_frame(5 * 299), 5 * 299);
    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_BIG, 12, DESC_NEXT, 1);
    for (uint16_t i = 1; i < 300; i++)
        vdriver_desc_at(d, VDRIVER_TABLES, i, VDRIVER_TX + 5u * (i - 1u), 5,
                        i < 299 ? DESC_NEXT : 0, (uint16_t)(i + 1));
    vdriver_desc(d, QUEUE_TX, 0, VDRIVER_TABLES, 300 * DESC_ENTRY_BYTES, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 0);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 5 * 299);
    assert_memory_equal(d->frame[0].data, vdriver_frame(5 * 299), 5 * 299);
    assert_used(d, QUEUE_TX, 0, 0, 0);
}

/* §2.3: no interrupt while the driver set avail.flags bit 0. */
static void no_interrupt_flag(void **state)
{
    struct vdriver *d = *state;
    uint8_t *flags = d->ram + vdriver_queue(QUEUE_TX) + VDRIVER_AVAIL_AT;

    le16_put(flags, AVAIL_NO_INTERRUPT);
    send60(d, 0);
    virtio_net_poll(d->nic, 8);
    assert_false(d->irq);
    le16_put(flags, 0);
    send60(d, 2);
    send60(d, 4);
    virtio_net_poll(d->nic, 8);
    assert_true(d->irq);
    assert_int_equal(d->irq_edges, 1); /* one for the batch */
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), ISR_QUEUE);
    assert_false(d->irq);
}

static void set_used_event(struct vdriver *d, uint32_t queue, uint16_t value)
{
    le16_put(d->ram + vdriver_queue(queue) + VDRIVER_AVAIL_AT + 4 + 512, value);
}

static uint16_t avail_event(const struct vdriver *d, uint32_t queue)
{
    return le16_get(d->ram + vdriver_queue(queue) + VDRIVER_USED_AT + 4 + 2048);
}

/* Virtio §2.7.7.2, quirks §3.12: interrupt only when used_event is among the entries shown. */
static void event_idx_interrupts_when_crossed(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d));
    set_used_event(d, QUEUE_TX, 2);
    send60(d, 0);
    send60(d, 2);
    virtio_net_poll(d->nic, 8); /* entries 0 and 1 */
    assert_false(d->irq);
    send60(d, 4);
    virtio_net_poll(d->nic, 8); /* entry 2 */
    assert_true(d->irq);
    (void)vdriver_get(d, REGION_ISR, 1);
    send60(d, 6);
    virtio_net_poll(d->nic, 8); /* 3: the event lies behind */
    assert_false(d->irq);
    set_used_event(d, QUEUE_TX, 5);
    for (uint16_t i = 4; i < 8; i++)
        send60(d, (uint16_t)(2 * i));
    virtio_net_poll(d->nic, 8); /* crossed in a batch */
    assert_true(d->irq);
}

/* The same at the wrap of the counters (choices.md, most likely to trip). */
static void event_idx_at_the_wrap(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d));
    struct vnet_queue *queue = &d->nic->queue[QUEUE_TX];
    d->avail[QUEUE_TX] = queue->next_avail = queue->avail_seen = 0xffff;
    queue->next_used = queue->published = 0xffff;
    set_used_event(d, QUEUE_TX, 0);
    send60(d, 0);
    virtio_net_poll(d->nic, 8); /* entry 0xffff */
    assert_false(d->irq);
    send60(d, 2);
    virtio_net_poll(d->nic, 8); /* entry 0 */
    assert_true(d->irq);
}

static void post_when_armed(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    (void)bytes;
    if (!write || gpa != vdriver_queue(QUEUE_TX) + VDRIVER_USED_AT + 4 + 2048)
        return;
    d->on_dma = NULL;
    send60(d, 2); /* just before avail_event is seen: the driver does not kick */
}

/* Quirks §3.11: after asking for kicks the device looks again. */
static void network_stall_waiting_for_kick(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d));
    send60(d, 0);
    d->on_dma = post_when_armed;
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frames, 2);
    assert_int_equal(avail_event(d, QUEUE_TX), 2);
}

/* §4: "addresses may be anywhere in 64-bit guest space, including above 4 GiB": rings, indirect
 * tables and buffers, both ways. */
static void rings_and_buffers_above_4_gib(void **state)
{
    struct vdriver *d = *state;

    d->high = UINT64_C(0x123456789000000);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    send60(d, 0);
    vdriver_desc_at(d, VDRIVER_TABLES, 0, VDRIVER_TX, 12, DESC_NEXT, 1);
    vdriver_desc_at(d, VDRIVER_TABLES, 1, VDRIVER_TX + 0x100, 60, 0, 0);
    vdriver_desc(d, QUEUE_TX, 2, VDRIVER_TABLES, 32, DESC_INDIRECT, 0);
    vdriver_post(d, QUEUE_TX, 2);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_used(d, QUEUE_TX, i, 2 * i, 0);
        assert_int_equal(d->frame[i].bytes, 60);
        assert_memory_equal(d->frame[i].data, vdriver_frame(60), 60);
    }
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 0, 72);
    assert_memory_equal(vdriver_rx(d, 0) + 12, vdriver_frame(60), 60);
}

/* The accesses to guest memory, in their order. */
struct accesses {
    uint32_t count;
    struct {
        bool write;
        uint64_t gpa;
    } at[64];
};

static void note_access(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    struct accesses *seen = d->model;

    (void)bytes;
    assert_true(seen->count < sizeof seen->at / sizeof seen->at[0]);
    seen->at[seen->count].write = write;
    seen->at[seen->count++].gpa = gpa;
}

/* When that place was touched for the first time; it was. */
static uint32_t first(const struct accesses *seen, bool write, uint64_t gpa)
{
    for (uint32_t i = 0; i < seen->count; i++) {
        if (seen->at[i].write == write && seen->at[i].gpa == gpa)
            return i;
    }
    fail_msg("%s of %llx is missing", write ? "write" : "read", (unsigned long long)gpa);
    return 0;
}

/* For the one chain of a queue, its data at `data`. */
static void assert_order(const struct vdriver *d, uint32_t queue, uint64_t data, bool data_written)
{
    const struct vdriver_ring *ring = &d->ring[queue];
    const struct accesses *seen = d->model;
    const uint32_t order[] = {
        first(seen, false, ring->avail + 2), first(seen, false, ring->avail + 4),
        first(seen, false, ring->desc),      first(seen, data_written, data),
        first(seen, true, ring->used + 4),   first(seen, true, ring->used + 2),
    };

    for (uint32_t i = 1; i < sizeof order / sizeof order[0]; i++)
        assert_true(order[i - 1] < order[i]);
}

/* §4.1: "read idx, then ring, then descriptors; on completion write the used element, then
 * used.idx", in both queues; the data is in between. */
static void memory_is_accessed_in_this_order(void **state)
{
    struct vdriver *d = *state;
    struct accesses seen = {0};

    d->model = &seen;
    d->on_dma = note_access;
    send60(d, 0);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_order(d, QUEUE_TX, VDRIVER_TX + 0x100, false);
    seen.count = 0;
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_order(d, QUEUE_RX, VDRIVER_RX + 12, true);
}

/* A poll and a frame that must come to nothing. */
static void assert_idle(struct vdriver *d)
{
    d->dma_calls = 0;
    assert_false(virtio_net_work_pending(d->nic));
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NOT_READY);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NOT_READY);
    assert_int_equal(d->dma_calls, 0);
}

/* §3 [US]: "process only with DRIVER_OK set"; what was kicked by then comes after it. */
static void nothing_is_processed_before_driver_ok(void **state)
{
    struct vdriver *d = *state;
    const uint8_t status = vdriver_negotiate(d, vdriver_offered(d) & ~F_EVENT_IDX);

    vdriver_queues(d);
    send60(d, 0);
    vdriver_receive(d, 0, 2000);
    vdriver_kick(d, QUEUE_TX);
    vdriver_kick(d, QUEUE_RX);
    assert_idle(d);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, status | STATUS_DRIVER_OK);
    assert_int_equal(d->dma_calls, 0);
    assert_true(virtio_net_work_pending(d->nic));
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
}

/* §3: DRIVER_OK without FEATURES_OK is not a modern driver's start. */
static void nothing_is_processed_without_features_ok(void **state)
{
    struct vdriver *d = *state;

    vdriver_reset(d);
    vdriver_queues(d);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
    send60(d, 0);
    vdriver_receive(d, 0, 2000);
    vdriver_kick(d, QUEUE_TX);
    assert_idle(d);
}

/* §3: nor without bus master, nor after FAILED; marks are kept. */
static void no_work_without_bus_master_or_after_failed(void **state)
{
    struct vdriver *d = *state;

    send60(d, 0);
    vdriver_put(d, REGION_NOTIFY + 4, 2, 1);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    const uint32_t calls = d->dma_calls;
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NOT_READY);
    assert_int_equal(d->dma_calls, calls);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_true(virtio_net_work_pending(d->nic));
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, d->nic->status | STATUS_FAILED);
    assert_int_equal(virtio_net_poll(d->nic, 8), 0);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, d->nic->status ^ STATUS_FAILED);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        T(every_chain_comes_back_once),
        T(a_full_ring_is_not_empty),
        T(counters_wrap),
        T(budget_leaves_the_rest),
        T(kicks_mark_their_queue),
        T(indirect_chains),
        T(an_indirect_table_longer_than_the_ring),
        T(no_interrupt_flag),
        T(event_idx_interrupts_when_crossed),
        T(event_idx_at_the_wrap),
        T(network_stall_waiting_for_kick),
        T(rings_and_buffers_above_4_gib),
        T(memory_is_accessed_in_this_order),
        T(nothing_is_processed_before_driver_ok),
        T(nothing_is_processed_without_features_ok),
        T(no_work_without_bus_master_or_after_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
