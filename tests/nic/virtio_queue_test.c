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

/* §3: nothing is processed before DRIVER_OK, after FAILED, without bus master; marks are kept. */
static void no_work_before_its_time(void **state)
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
        T(no_interrupt_flag),
        T(event_idx_interrupts_when_crossed),
        T(event_idx_at_the_wrap),
        T(network_stall_waiting_for_kick),
        T(no_work_before_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
