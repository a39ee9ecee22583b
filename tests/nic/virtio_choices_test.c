/* Rows of spec/choices.md, lines of guest-quirks.md §1 and sentences of spec/virtio-net.md that
 * need no file of their own. */
#include "virtio_driver.h"

#include <string.h>

/* choices, feature without the one it depends on: accepted, and without effect. */
static void features_without_what_they_depend_on(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[2000];
    const uint8_t header[12] = {HEADER_NEEDS_CSUM, HEADER_GSO_TCPV4, 54, 0, 100, 0, 34, 0, 16};
    const uint32_t bytes = tcp_frame(frame, 1000);

    vdriver_start(d, F_VERSION_1 | F_HOST_TSO4 | F_GUEST_TSO4 | F_CTRL_RX | F_MRG_RXBUF);
    vdriver_send(d, 0, header, 12, frame, bytes);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 1); /* no CSUM: the header asks for nothing */
    assert_memory_equal(d->frame[0].data, frame, bytes);
    vdriver_receive(d, 0, 2000);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_receive_super(d->nic, frame, bytes, 500), 0);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_RX, 1, 1, 12 + 54 + 500); /* no GUEST_CSUM: two frames */
}

/* choices, short frames: not padded, in neither direction. */
static void short_frames_are_not_padded(void **state)
{
    struct vdriver *d = *state;

    vdriver_send(d, 0, NULL, 12, vdriver_frame(14), 14);
    vdriver_receive(d, 0, 2000);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 14);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(14), 14), 0);
    assert_used(d, QUEUE_RX, 0, 0, 26);
    assert_int_equal(vdriver_rx(d, 0)[26], 0x5a);
}

/* Quirks §1, NetKVM: no multiqueue and no RSS; §3: nothing packed, no platform access. */
static void no_multiqueue_is_offered(void **state)
{
    static const uint32_t never[] = {2,  10, 22, 33, 34,
                                     38, 40, 57, 60}; /* MQ 22, HASH 57, RSS 60 */
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_int_equal(vdriver_offered(d) & FEATURE(never[i]), 0);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_PAIRS, 2), 1);
}

/* Quirks §1, iPXE: rings of 256 by default, up to 1024 by option. */
static void ring_sizes_by_option(void **state)
{
    static const uint16_t refused[] = {1, 3, 100, 1023, 2048};
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 256);
    config.queue_size = 1024;
    vdriver_power_on(d, &config);
    for (uint32_t i = 0; i < 3; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 1024);
    }
    for (uint32_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        config.queue_size = refused[i];
        assert_null(virtio_net_init(d->memory, virtio_net_bytes(), &d->host, &config));
    }
    vdriver_power_on(d, &d->config);
}

/* Quirks §1: legacy header 10 bytes without MRG_RXBUF, 12 with it; modern always 12. */
static void the_header_grows_with_mergeable_or_version_1(void **state)
{
    static const struct {
        bool legacy;
        uint64_t features;
        uint32_t bytes;
    } cases[] = {{true, 0, 10}, {true, F_MRG_RXBUF, 12}, {false, 0, 12}, {false, F_MRG_RXBUF, 12}};
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_TRANSITIONAL;
    for (uint32_t i = 0; i < 4; i++) {
        vdriver_power_on(d, &config);
        if (cases[i].legacy)
            vdriver_start_legacy(d, (uint32_t)cases[i].features);
        else
            vdriver_start(d, cases[i].features | F_VERSION_1);
        vdriver_receive(d, 0, 2000);
        assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
        assert_used(d, QUEUE_RX, 0, 0, cases[i].bytes + 60);
        assert_memory_equal(vdriver_rx(d, 0) + cases[i].bytes, vdriver_frame(60), 60);
        vdriver_frames_clear(d);
        vdriver_send(d, 0, NULL, cases[i].bytes, vdriver_frame(60), 60);
        virtio_net_poll(d->nic, 8);
        assert_memory_equal(d->frame[0].data, vdriver_frame(60), 60);
    }
}

/* Quirks §1, old dhclient: a UDP checksum is never left to the guest, whatever was negotiated. */
static void udp_checksums_are_never_partial(void **state)
{
    struct vdriver *d = *state;
    static uint8_t frame[400];
    const uint32_t bytes = tcp_frame(frame, 300);

    frame[ETH_HEADER_BYTES + IPV4_PROTOCOL_AT] = IP_PROTOCOL_UDP;
    assert_int_equal(virtio_net_receive_super(d->nic, frame, bytes, 100),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, bytes), 0);
    assert_int_equal(vdriver_rx(d, 0)[0] & HEADER_NEEDS_CSUM, 0);
    assert_memory_equal(vdriver_rx(d, 0) + 12, frame, bytes);
}

/* §2.3: with MSI-X enabled and vector FFFF: silence, on the line as well. */
static void vector_ffff_is_silence(void **state)
{
    struct vdriver *d = *state;

    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    virtio_net_poll(d->nic, 8);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(d->messages[0] + d->messages[1] + d->messages[2], 0);
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 0);
    assert_false(d->irq);
}

/* §3: writing 0 resets features, selectors, status, ISR, queues and vectors; PCI configuration
 * and BARs stay. */
static void status_0_resets_everything_but_pci(void **state)
{
    struct vdriver *d = *state;

    virtio_net_config_write(d->nic, PCI_BAR0, 4, 0xfe000000);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    vdriver_put(d, COMMON_MSIX_CONFIG, 2, 0);
    vdriver_put(d, COMMON_QUEUE_SELECT, 2, 1);
    vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, 1);
    vdriver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 1);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    static const uint8_t zero[] = {COMMON_DEVICE_FEATURE_SELECT, COMMON_DRIVER_FEATURE_SELECT,
                                   COMMON_DRIVER_FEATURE};
    for (uint32_t i = 0; i < sizeof zero; i++)
        assert_int_equal(vdriver_get(d, zero[i], 4), 0);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SELECT, 2), 0);
    assert_int_equal(vdriver_get(d, COMMON_MSIX_CONFIG, 2), VECTOR_NONE);
    for (uint32_t i = 0; i < 3; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_ENABLE, 2), 0);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_DESC, 4), 0);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_USED, 4), 0);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_MSIX_VECTOR, 2), VECTOR_NONE);
        assert_int_equal(d->nic->queue[i].next_avail + d->nic->queue[i].next_used, 0);
    }
    assert_int_equal(virtio_net_config_read(d->nic, PCI_BAR0, 4), 0xfe000004);
    assert_int_equal(virtio_net_config_read(d->nic, CAP_MSIX + 2, 2), 0x8002);
    assert_int_equal(pci_command(&d->nic->pci) & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
}

/* §2.1: selectors other than 0 and 1 read 0 and take nothing. */
static void feature_selectors_beyond_64_bits(void **state)
{
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, 2);
    vdriver_put(d, COMMON_DRIVER_FEATURE, 4, UINT32_MAX);
    vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, UINT32_MAX);
    vdriver_put(d, COMMON_DRIVER_FEATURE, 4, UINT32_MAX);
    assert_int_equal(vdriver_get(d, COMMON_DRIVER_FEATURE, 4), 0);
    assert_int_equal(d->nic->driver_features, 0);
    vdriver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, UINT32_MAX);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_FEATURE, 4), 0);
}

/* A card that runs and has work. */
static void restart(struct vdriver *d, bool legacy)
{
    vdriver_reset(d); /* by the interface it was started with: the other one is locked out */
    if (legacy)
        vdriver_start_legacy(d, 0);
    else
        vdriver_start(d, vdriver_offered(d));
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    vdriver_receive(d, 0, 2000);
}

/* §2: "No access to BAR0/BAR2 touches guest memory"; the legacy doorbell waits for a poll, too. */
static void register_accesses_touch_no_guest_memory(void **state)
{
    static const uint32_t values[] = {0, 1, 0xf, UINT32_MAX};
    static const struct {
        uint32_t bar, bytes;
    } bars[] = {{0, VIRTIO_NET_MMIO_BYTES}, {2, VIRTIO_NET_IO_BYTES}};
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_TRANSITIONAL;
    config.profile = VIRTIO_NET_CONTRACT; /* BAR0 and BAR2 */
    vdriver_power_on(d, &config);
    for (uint32_t i = 0; i < 2 * 2 * 4 * 3; i++) {
        const bool legacy = i % 2 != 0;
        const uint32_t bar = bars[i / 2 % 2].bar;
        const uint32_t value = values[i / 4 % 4];
        const uint32_t size = 1u << i / 16;

        restart(d, legacy);
        for (uint32_t at = 0; at < bars[i / 2 % 2].bytes; at++) {
            (void)virtio_net_bar_read(d->nic, bar, at, size);
            virtio_net_bar_write(d->nic, bar, at, size, value);
            if (!vnet_running(d->nic) || !d->nic->queue[QUEUE_TX].enabled)
                restart(d, legacy);
        }
    }
    assert_int_equal(d->dma_calls, 0);
    restart(d, false);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_true(d->dma_calls > 0);
}

/* §2: an access that starts inside a region but covers bytes without a field gets 0 for them. */
static void bytes_without_a_field_read_0(void **state)
{
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_QUEUE_USED + 4, 4, 0xa1b2c3d4);
    assert_int_equal(vdriver_get(d, COMMON_BYTES - 2, 4), 0xa1b2);
    assert_int_equal(vdriver_get(d, COMMON_BYTES, 4), 0);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_BYTES - 1, 4), 0);
    assert_int_equal(vdriver_get(d, REGION_ISR + 4, 4), 0);
    assert_int_equal(vdriver_get(d, REGION_NOTIFY, 4), 0);
}

/* Virtio §5.1.4: what the standard profile adds to the configuration. */
static void standard_configuration(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.mtu = 9000;
    vdriver_power_on(d, &config);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_MTU, 2), 9000);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_SPEED, 4), 1000);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_DUPLEX, 1), 1);
    vdriver_start(d, vdriver_offered(d) & ~F_EVENT_IDX);
    vdriver_send(d, 0, NULL, 12, vdriver_frame(9014), 9014);
    vdriver_send(d, 2, NULL, 12, vdriver_frame(9023), 9023);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 9014);
}

/* §4.2: at most N receive chains are held; further ones complete with length 0. */
static void chains_beyond_a_ring_full_come_back(void **state)
{
    struct vdriver *d = *state;

    for (uint16_t i = 0; i < 256; i++)
        vdriver_receive(d, i, 74);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(d->nic->held_count, 256);
    for (uint16_t i = 0; i < 3; i++)
        vdriver_post(d, QUEUE_RX, i);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000),
                     VIRTIO_NET_ERR_FRAME_SIZE);
    assert_int_equal(d->nic->held_count, 256);
    for (uint32_t i = 0; i < 3; i++)
        assert_used(d, QUEUE_RX, i, i, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 3, 0, 72);
}

/* §7: with MSI-X enabled vectors lie at 0x14 and 0x16 and the configuration moves to 0x18. */
static void legacy_vectors_move_the_configuration(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_TRANSITIONAL;
    vdriver_power_on(d, &config);
    assert_int_equal(virtio_net_io_read(d->nic, LEGACY_CONFIG, 1), d->config.mac[0]);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    vdriver_start_legacy(d, (uint32_t)F_STATUS);
    assert_int_equal(virtio_net_io_read(d->nic, LEGACY_MSIX_CONFIG, 2), VECTOR_NONE);
    virtio_net_io_write(d->nic, LEGACY_MSIX_CONFIG, 2, 0);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, 1);
    virtio_net_io_write(d->nic, LEGACY_MSIX_QUEUE, 2, 2);
    virtio_net_io_write(d->nic, LEGACY_QUEUE_SELECT, 2, 0);
    assert_int_equal(virtio_net_io_read(d->nic, LEGACY_MSIX_QUEUE, 2), VECTOR_NONE);
    assert_int_equal(virtio_net_io_read(d->nic, LEGACY_CONFIG_MSIX, 1), d->config.mac[0]);
    for (uint32_t v = 0; v < MSIX_VECTORS; v++)
        vdriver_put(d, REGION_MSIX_TABLE + 16 * v + MSIX_ENTRY_CONTROL_AT, 4, 0);
    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->messages[2], 1);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(d->messages[0], 1);
    assert_false(d->irq);
}

/* Quirks §3.10, Firecracker's "retry" and "multiple frames": three frames wait for buffers, two
 * come, then one; each frame once, in order. */
static void waiting_frames_come_as_buffers_do(void **state)
{
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60 + i), 60 + i), 0);
    virtio_net_poll(d->nic, 8);
    vdriver_receive(d, 0, 2000);
    vdriver_receive(d, 1, 2000);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_RX, 0, 0, 72);
    assert_used(d, QUEUE_RX, 1, 1, 73);
    assert_int_equal(d->irq_edges, 1);
    vdriver_receive(d, 2, 2000);
    virtio_net_poll(d->nic, 8);
    assert_used(d, QUEUE_RX, 2, 2, 74);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define P(name) cmocka_unit_test_setup_teardown(name, vdriver_setup, vdriver_teardown)
#define C(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_contract, vdriver_teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        P(features_without_what_they_depend_on),
        S(short_frames_are_not_padded),
        P(no_multiqueue_is_offered),
        P(ring_sizes_by_option),
        P(the_header_grows_with_mergeable_or_version_1),
        S(udp_checksums_are_never_partial),
        S(vector_ffff_is_silence),
        S(status_0_resets_everything_but_pci),
        P(feature_selectors_beyond_64_bits),
        P(register_accesses_touch_no_guest_memory),
        P(bytes_without_a_field_read_0),
        P(standard_configuration),
        C(chains_beyond_a_ring_full_come_back),
        P(legacy_vectors_move_the_configuration),
        S(waiting_frames_come_as_buffers_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
