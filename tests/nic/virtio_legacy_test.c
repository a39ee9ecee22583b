/* Legacy I/O interface and the mode lock: spec/virtio-net.md §7. */
#include "virtio_driver.h"

#include <string.h>

static uint32_t in(struct vdriver *d, uint32_t offset, uint32_t size)
{
    return virtio_net_io_read(d->nic, offset, size);
}

static void out(struct vdriver *d, uint32_t offset, uint32_t size, uint32_t value)
{
    virtio_net_io_write(d->nic, offset, size, value);
}

static const struct virtio_net_config transitional = {.transport = VIRTIO_NET_TRANSITIONAL,
                                                      .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56}};

static int setup_transitional(void **state)
{
    vdriver_setup(state);
    struct vdriver *d = *state;
    d->host.message = NULL;
    vdriver_power_on(d, &transitional);
    return 0;
}

static int setup_with_messages(void **state)
{
    vdriver_setup(state);
    vdriver_power_on(*state, &transitional);
    return 0;
}

static void legacy_start(struct vdriver *d, uint32_t features)
{
    out(d, LEGACY_STATUS, 1, 0);
    out(d, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    out(d, LEGACY_GUEST_FEATURES, 4, features);
    for (uint32_t i = 0; i < 2; i++) {
        out(d, LEGACY_QUEUE_SELECT, 2, i);
        out(d, LEGACY_QUEUE_PFN, 4, 0x123 + 16 * i);
    }
    out(d, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
}

/* §7: for N = 256 and PFN 0x123 the parts lie at 0x123000, 0x124000, 0x125000. */
static void ring_layout(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(in(d, LEGACY_QUEUE_SIZE, 2), 256);
    legacy_start(d, 0);
    assert_int_equal(d->nic->queue[0].desc, 0x123000);
    assert_int_equal(d->nic->queue[0].avail, 0x124000);
    assert_int_equal(d->nic->queue[0].used, 0x125000);
    out(d, LEGACY_QUEUE_SELECT, 2, 0);
    assert_int_equal(in(d, LEGACY_QUEUE_PFN, 4), 0x123);
    out(d, LEGACY_QUEUE_PFN, 4, 0);
    assert_int_equal(in(d, LEGACY_QUEUE_PFN, 4), 0);
    assert_false(d->nic->queue[0].enabled);
    out(d, LEGACY_QUEUE_SELECT, 2, 9);
    assert_int_equal(in(d, LEGACY_QUEUE_SIZE, 2), 0);
}

/* §7, §6.1: low features only, in force when written, header of 10 bytes; notify by value. */
static void a_frame_by_the_legacy_interface(void **state)
{
    struct vdriver *d = *state;
    const uint64_t queue = 0x133000;

    assert_int_equal(in(d, LEGACY_HOST_FEATURES, 4) & (uint32_t)(F_MAC | F_STATUS),
                     F_MAC | F_STATUS);
    legacy_start(d, (uint32_t)(F_MAC | F_STATUS));
    memcpy(d->ram + 0x200100, vdriver_frame(60), 60);
    vdriver_desc_at(d, queue, 0, 0x200000, 10, DESC_NEXT, 1);
    vdriver_desc_at(d, queue, 1, 0x200100, 60, 0, 0);
    le16_put(d->ram + 0x134002, 1);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_memory_equal(d->frame[0].data, vdriver_frame(60), 60);
    vdriver_assert_hex(d->ram + 0x135000, "00 00 01 00 00 00 00 00 00 00 00 00");
    assert_true(d->irq);
    assert_int_equal(in(d, LEGACY_ISR, 1), ISR_QUEUE);
    assert_false(d->irq);
    out(d, LEGACY_QUEUE_NOTIFY, 2, 1);
    assert_true(virtio_net_work_pending(d->nic));
}

/* §7: device configuration from 0x14 on. */
static void configuration_follows(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(in(d, LEGACY_CONFIG, 4), 0x12005452);
    assert_int_equal(in(d, LEGACY_CONFIG + CONFIG_STATUS, 2), CONFIG_LINK_UP);
}

/* §7, mode lock: the first write decides, status 0 through either resets. */
static void mode_lock(void **state)
{
    struct vdriver *d = *state;

    out(d, LEGACY_STATUS, 1, 1);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 3); /* deaf */
    assert_int_equal(in(d, LEGACY_STATUS, 1), 1);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 1); /* reads stay live */
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    assert_int_equal(in(d, LEGACY_STATUS, 1), 0);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 1);
    out(d, LEGACY_STATUS, 1, 7);
    out(d, LEGACY_GUEST_FEATURES, 4, 1);
    assert_int_equal(in(d, LEGACY_STATUS, 1), 1);
    out(d, LEGACY_STATUS, 1, 0);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0);
    vdriver_start(d, vdriver_offered(d)); /* the modern way still works */
}

/* §7: the first write of consequence "other than MSI-X" locks; one to nowhere has none. */
static void msix_table_writes_lock_nothing(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t at = 0; at < MSIX_TABLE_BYTES + MSIX_PENDING_BYTES; at += 4)
        vdriver_put(d, REGION_MSIX_TABLE + at, 4, 1);
    assert_int_equal(vdriver_get(d, REGION_MSIX_TABLE, 4), 1);
    vdriver_put(d, COMMON_BYTES, 4, 1);
    vdriver_put(d, REGION_ISR, 1, 1);
    vdriver_put(d, REGION_DEVICE, 4, 1);
    vdriver_put(d, 0x3ffc, 4, 1);
    assert_int_equal(d->nic->mode, MODE_OPEN);
    out(d, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE);
    assert_int_equal(in(d, LEGACY_STATUS, 1), STATUS_ACKNOWLEDGE);
    assert_int_equal(d->nic->mode, MODE_LEGACY);
    vdriver_put(d, REGION_MSIX_TABLE, 4, 2); /* and is never locked out */
    assert_int_equal(vdriver_get(d, REGION_MSIX_TABLE, 4), 2);
}

/* §7: writes to the other interface are ignored: a kick by the wrong one marks nothing. */
static void kicks_by_the_other_interface_mark_nothing(void **state)
{
    struct vdriver *d = *state;

    vdriver_start_legacy(d, 0);
    virtio_net_poll(d->nic, 8);
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        vdriver_put(d, REGION_NOTIFY + NOTIFY_MULTIPLIER * i, 2, i);
    assert_false(virtio_net_work_pending(d->nic));
    vdriver_kick(d, QUEUE_TX);
    assert_true(virtio_net_work_pending(d->nic));
    vdriver_reset(d);
    vdriver_start(d, vdriver_offered(d));
    virtio_net_poll(d->nic, 8);
    out(d, LEGACY_QUEUE_NOTIFY, 2, QUEUE_TX);
    assert_false(virtio_net_work_pending(d->nic));
    vdriver_kick(d, QUEUE_TX);
    assert_true(virtio_net_work_pending(d->nic));
}

/* §1, §7: legacy alone has no memory BAR; modern alone has no I/O BAR. */
static void absent_bars_read_all_ones(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_LEGACY;
    vdriver_power_on(d, &config);
    assert_int_equal(vdriver_get(d, 0, 4), 0xffffffff);
    assert_int_not_equal(in(d, 0, 4), 0xffffffff);
    assert_int_equal(in(d, 0, 4) & (uint32_t)F_CTRL_VQ, F_CTRL_VQ);
    config.transport = VIRTIO_NET_MODERN;
    vdriver_power_on(d, &config);
    assert_int_equal(in(d, 0, 4), 0xffffffff);
}

/* §2: I/O decoding gates the legacy interface by itself; what it does not decode locks nothing. */
static void io_decoding_gates_the_legacy_interface(void **state)
{
    struct vdriver *d = *state;

    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    assert_int_equal(in(d, LEGACY_STATUS, 1), 0xff);
    assert_int_equal(in(d, LEGACY_QUEUE_SIZE, 2), 0xffff);
    out(d, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE);
    assert_int_equal(d->nic->mode, MODE_OPEN);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_IO);
    assert_int_equal(in(d, LEGACY_STATUS, 1), 0);
    assert_int_equal(in(d, LEGACY_QUEUE_SIZE, 2), 256);
    out(d, LEGACY_STATUS, 1, STATUS_ACKNOWLEDGE);
    assert_int_equal(d->nic->mode, MODE_LEGACY);
    assert_int_equal(in(d, LEGACY_STATUS, 1), STATUS_ACKNOWLEDGE);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0xff);
}

static void mac_write(struct vdriver *d, const char *hex)
{
    uint8_t mac[6];

    vdriver_hex(mac, hex);
    for (uint32_t i = 0; i < sizeof mac; i++) /* a byte at a time, as Linux does */
        out(d, LEGACY_CONFIG + CONFIG_MAC + i, 1, mac[i]);
}

static void assert_mac(struct vdriver *d, const char *hex)
{
    uint8_t mac[6];

    virtio_net_mac(d->nic, mac);
    vdriver_assert_hex(mac, hex);
    for (uint32_t i = 0; i < sizeof mac; i++)
        assert_int_equal(in(d, LEGACY_CONFIG + CONFIG_MAC + i, 1), mac[i]);
}

/* virtio §5.1.4.3: a legacy driver without CTRL_MAC_ADDR writes its address into the configuration;
 * status behind it stays read-only, a reset brings back the first one (choices.md). */
static void the_mac_is_written_into_the_configuration(void **state)
{
    struct vdriver *d = *state;

    legacy_start(d, (uint32_t)(F_MAC | F_STATUS));
    mac_write(d, "52 54 00 00 00 09");
    assert_mac(d, "52 54 00 00 00 09");
    out(d, LEGACY_CONFIG + CONFIG_STATUS, 2, 0);
    assert_int_equal(in(d, LEGACY_CONFIG + CONFIG_STATUS, 2), CONFIG_LINK_UP);
    out(d, LEGACY_CONFIG + CONFIG_MAC + 4, 4, 0); /* over its end: refused whole */
    assert_mac(d, "52 54 00 00 00 09");
    out(d, LEGACY_STATUS, 1, 0);
    assert_mac(d, "52 54 00 12 34 56");
}

/* Who has a command for it uses that; in the contract it is read-only (§2.4). */
static void the_mac_stays_where_a_command_sets_it(void **state)
{
    struct vdriver *d = *state;
    const struct virtio_net_config contract = {.transport = VIRTIO_NET_TRANSITIONAL,
                                               .profile = VIRTIO_NET_CONTRACT,
                                               .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56}};

    legacy_start(d, (uint32_t)(F_CTRL_VQ | F_CTRL_MAC_ADDR));
    mac_write(d, "52 54 00 00 00 09");
    assert_mac(d, "52 54 00 12 34 56");
    vdriver_power_on(d, &contract);
    legacy_start(d, 0);
    mac_write(d, "52 54 00 00 00 09");
    assert_mac(d, "52 54 00 12 34 56");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_transitional, vdriver_teardown)
        T(ring_layout),
        T(a_frame_by_the_legacy_interface),
        T(configuration_follows),
        T(mode_lock),
        cmocka_unit_test_setup_teardown(msix_table_writes_lock_nothing, setup_with_messages,
                                        vdriver_teardown),
        T(kicks_by_the_other_interface_mark_nothing),
        T(absent_bars_read_all_ones),
        T(io_decoding_gates_the_legacy_interface),
        T(the_mac_is_written_into_the_configuration),
        T(the_mac_stays_where_a_command_sets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
