/* Kicks that find nothing to do: spec/virtio-net.md §2.2, §10. A host polls for as long as work
 * is pending, so a mark that no poll takes away is a guest that stops its host. */
#include "virtio_driver.h"

static void assert_poll_ends(struct vdriver *d)
{
    virtio_net_poll(d->nic, 8);
    assert_false(virtio_net_work_pending(d->nic));
}

/* A driver that enables every queue there is, but does not take CTRL_VQ. */
static void a_control_queue_that_was_not_negotiated(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, F_VERSION_1);
    assert_true(d->nic->queue[QUEUE_CONTROL].enabled);
    assert_poll_ends(d);
    vdriver_kick(d, QUEUE_CONTROL);
    assert_poll_ends(d);
}

/* §2.2: whatever is written to a queue that is off, the next poll has seen it. */
static void kicks_of_queues_that_are_off(void **state)
{
    struct vdriver *d = *state;
    const uint8_t status = vdriver_negotiate(d, vdriver_offered(d));

    vdriver_put(d, COMMON_DEVICE_STATUS, 1, status | STATUS_DRIVER_OK);
    for (uint32_t queue = 0; queue < QUEUES_MAX; queue++) {
        vdriver_kick(d, queue);
        assert_poll_ends(d);
    }
}

/* §7: PFN 0 turns a queue off while frames wait for it; they come when it is there again. */
static void frames_wait_for_a_legacy_queue(void **state)
{
    const struct virtio_net_config config = {.transport = VIRTIO_NET_TRANSITIONAL,
                                             .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56}};
    struct vdriver *d = *state;

    vdriver_power_on(d, &config);
    vdriver_start_legacy(d, 0);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, QUEUE_RX);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_PFN, 4, 0);
    vdriver_kick(d, QUEUE_RX);
    assert_poll_ends(d);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_PFN, 4, (QUEUE_RX + 1) * 16);
    vdriver_receive(d, 0, 2000);
    assert_poll_ends(d);
    assert_used(d, QUEUE_RX, 0, 0, 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, vdriver_setup, vdriver_teardown)
        T(a_control_queue_that_was_not_negotiated),
        T(kicks_of_queues_that_are_off),
        T(frames_wait_for_a_legacy_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
