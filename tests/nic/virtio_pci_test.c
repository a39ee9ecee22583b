/* Identity, capabilities, common configuration, interrupts: spec/virtio-net.md §1-3. */
#include "virtio_driver.h"

#include <string.h>

static uint32_t pci32(struct vdriver *d, uint32_t offset)
{
    return virtio_net_config_read(d->nic, offset, 4);
}

/* §1: the identity of each transport; virtio §4.1.4.10: legacy drivers look behind BAR0. */
static void identity_of_each_transport(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    assert_int_equal(pci32(d, PCI_VENDOR_ID), 0x10411af4);
    assert_int_equal(pci32(d, PCI_SUBSYSTEM_VENDOR_ID), 0x00011af4);
    assert_int_equal(pci32(d, PCI_REVISION_ID), 0x02000001);
    assert_int_equal(pci32(d, PCI_INTERRUPT_LINE) >> 8, 1);
    virtio_net_config_write(d->nic, PCI_BAR0, 4, UINT32_MAX);
    virtio_net_config_write(d->nic, PCI_BAR0 + 4, 4, UINT32_MAX);
    assert_int_equal(pci32(d, PCI_BAR0), 0xffffc004);
    assert_int_equal(pci32(d, PCI_BAR0 + 4), 0xffffffff);
    config.transport = VIRTIO_NET_TRANSITIONAL;
    vdriver_power_on(d, &config);
    assert_int_equal(pci32(d, PCI_VENDOR_ID), 0x10001af4);
    assert_int_equal(pci32(d, PCI_REVISION_ID), 0x02000000);
    assert_int_equal(pci32(d, PCI_BAR0), 1);         /* I/O */
    assert_int_equal(pci32(d, PCI_BAR0 + 4 * 4), 4); /* 64-bit memory */
    config.profile = VIRTIO_NET_CONTRACT;
    vdriver_power_on(d, &config);
    assert_int_equal(pci32(d, PCI_BAR0), 4);
    assert_int_equal(pci32(d, PCI_BAR0 + 4 * 2), 1);
    config.profile = VIRTIO_NET_STANDARD;
    config.transport = VIRTIO_NET_LEGACY;
    vdriver_power_on(d, &config);
    assert_int_equal(pci32(d, PCI_VENDOR_ID), 0x10001af4);
    assert_int_equal(pci32(d, PCI_BAR0), 1);
    assert_int_equal(pci32(d, PCI_CAPABILITY_POINTER), 0);
    assert_int_equal(pci32(d, PCI_COMMAND) >> 16 & PCI_STATUS_CAPABILITIES, 0);
}

/* §1.1: the bytes of the capability list, without MSI-X; "a PCI configuration access capability
 * (cfg_type 5) is not present". */
static void capabilities_are_the_worked_bytes(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(pci32(d, PCI_CAPABILITY_POINTER), 0x50);
    assert_true((pci32(d, PCI_COMMAND) >> 16 & PCI_STATUS_CAPABILITIES) != 0);
    const uint8_t *bytes = d->nic->pci.bytes;
    vdriver_assert_hex(bytes + 0x50, "09 60 10 01 00 00 00 00 00 00 00 00 00 01 00 00");
    vdriver_assert_hex(bytes + 0x60, "09 74 14 02 00 00 00 00 00 10 00 00 00 01 00 00 04 00 00 00");
    vdriver_assert_hex(bytes + 0x74, "09 84 10 03 00 00 00 00 00 20 00 00 20 00 00 00");
    vdriver_assert_hex(bytes + 0x84, "09 00 10 04 00 00 00 00 00 30 00 00 00 01 00 00");
}

/* Transitional: behind BAR4, where every capability says the modern interface is. */
static void capabilities_name_the_bar(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_TRANSITIONAL;
    vdriver_power_on(d, &config);
    const uint8_t *bytes = d->nic->pci.bytes;
    for (uint32_t at = CAP_COMMON; at != 0; at = bytes[at + 1])
        assert_int_equal(bytes[at + 4], at == CAP_WINDOW ? 0 : 4);
    assert_int_equal(virtio_net_bar_read(d->nic, 4, COMMON_NUM_QUEUES, 2), 3);
    assert_int_equal(virtio_net_bar_read(d->nic, 0, LEGACY_QUEUE_SIZE, 2), 256);
    assert_int_equal(virtio_net_bar_read(d->nic, 2, 0, 2), 0xffff);
    virtio_net_bar_write(d->nic, 0, LEGACY_STATUS, 1, STATUS_DRIVER);
    assert_int_equal(virtio_net_bar_read(d->nic, 0, LEGACY_STATUS, 1), STATUS_DRIVER);
}

/* §1.1: "a 3-entry table at BAR0 + 0x3100 and the pending array at BAR0 + 0x3130", behind the BAR
 * of the modern interface. */
static void msix_capability_names_table_and_pending_array(void **state)
{
    static const struct {
        enum virtio_net_transport transport;
        enum virtio_net_profile profile;
        uint32_t bar, next;
    } cases[] = {
        {VIRTIO_NET_MODERN, VIRTIO_NET_STANDARD, 0, CAP_WINDOW},
        {VIRTIO_NET_TRANSITIONAL, VIRTIO_NET_STANDARD, 4, CAP_WINDOW},
        {VIRTIO_NET_TRANSITIONAL, VIRTIO_NET_CONTRACT, 0, 0},
    };
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        config.transport = cases[i].transport;
        config.profile = cases[i].profile;
        vdriver_power_on(d, &config);
        assert_int_equal(pci32(d, CAP_MSIX), 0x00020011 | cases[i].next << 8);
        assert_int_equal(pci32(d, CAP_MSIX + 4), 0x3100 | cases[i].bar);
        assert_int_equal(pci32(d, CAP_MSIX + 8), 0x3130 | cases[i].bar);
        virtio_net_bar_write(d->nic, cases[i].bar, 0x3100 + 2 * 16, 4, 0xfee00000);
        assert_int_equal(virtio_net_bar_read(d->nic, cases[i].bar, 0x3100 + 2 * 16, 4), 0xfee00000);
    }
}

static uint32_t window_get(struct vdriver *d, uint32_t bar, uint32_t offset, uint32_t bytes)
{
    virtio_net_config_write(d->nic, WINDOW_BAR, 1, bar);
    virtio_net_config_write(d->nic, WINDOW_OFFSET, 4, offset);
    virtio_net_config_write(d->nic, WINDOW_LENGTH, 4, bytes);
    return virtio_net_config_read(d->nic, WINDOW_DATA, bytes);
}

static void window_put(struct vdriver *d, uint32_t bar, uint32_t offset, uint32_t bytes,
                       uint32_t value)
{
    virtio_net_config_write(d->nic, WINDOW_BAR, 1, bar);
    virtio_net_config_write(d->nic, WINDOW_OFFSET, 4, offset);
    virtio_net_config_write(d->nic, WINDOW_LENGTH, 4, bytes);
    virtio_net_config_write(d->nic, WINDOW_DATA, bytes, value);
}

/* virtio §4.1.4.9, standard profile: the capability, and accesses by it without any decoding. */
static void configuration_access_reaches_the_bar(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(pci32(d, CAP_DEVICE) >> 8 & 0xff, CAP_MSIX);
    assert_int_equal(pci32(d, CAP_MSIX) >> 8 & 0xff, CAP_WINDOW);
    assert_int_equal(pci32(d, CAP_WINDOW), 0x05140009);
    virtio_net_set_pci_command(d->nic, 0);
    assert_int_equal(window_get(d, 0, COMMON_NUM_QUEUES, 2), 3);
    window_put(d, 0, COMMON_DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE);
    assert_int_equal(window_get(d, 0, COMMON_DEVICE_STATUS, 1), STATUS_ACKNOWLEDGE);
    assert_int_equal(window_get(d, 0, REGION_DEVICE, 4), 0x12005452);
    window_put(d, 0, COMMON_QUEUE_DESC, 4, 0x5000);
    assert_int_equal(window_get(d, 0, COMMON_QUEUE_DESC + 1, 1), 0x50);
}

/* virtio §4.1.4.9: reading the data is a read of the register, reading beside it is not. */
static void configuration_access_has_the_registers_side_effects(void **state)
{
    struct vdriver *d = *state;

    virtio_net_set_link(d->nic, false);
    assert_true(d->irq);
    virtio_net_config_write(d->nic, WINDOW_OFFSET, 4, REGION_ISR);
    virtio_net_config_write(d->nic, WINDOW_LENGTH, 4, 1);
    assert_int_equal(pci32(d, WINDOW_LENGTH), 1);
    assert_true(d->irq);
    assert_int_equal(virtio_net_config_read(d->nic, WINDOW_DATA, 1), ISR_CONFIG);
    assert_false(d->irq);
}

/* A window that describes no access keeps its bytes and does nothing. */
static void configuration_access_of_nonsense_does_nothing(void **state)
{
    struct vdriver *d = *state;
    static const uint32_t cases[][3] = {
        {0, COMMON_DEVICE_STATUS, 0},
        {0, COMMON_DEVICE_STATUS, 3},
        {0, 0, UINT32_MAX},
        {0, VIRTIO_NET_MMIO_BYTES, 1},
        {0, 0x3ffe, 4},
        {0, UINT32_MAX, 4},
        {1, COMMON_DEVICE_STATUS, 1},
        {2, LEGACY_STATUS, 1},
        {6, 0, 4},
        {255, 0, 1},
    };

    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        virtio_net_config_write(d->nic, WINDOW_BAR, 1, cases[i][0]);
        virtio_net_config_write(d->nic, WINDOW_OFFSET, 4, cases[i][1]);
        virtio_net_config_write(d->nic, WINDOW_LENGTH, 4, cases[i][2]);
        virtio_net_config_write(d->nic, WINDOW_DATA, 4, 0x01010101);
        assert_int_equal(pci32(d, WINDOW_DATA), 0x01010101);
        assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0);
    }
}

/* The transitional card's I/O BAR, too. */
static void configuration_access_reaches_the_legacy_bar(void **state)
{
    struct vdriver *d = *state;
    struct virtio_net_config config = d->config;

    config.transport = VIRTIO_NET_TRANSITIONAL;
    vdriver_power_on(d, &config);
    window_put(d, 0, LEGACY_STATUS, 1, STATUS_DRIVER);
    assert_int_equal(window_get(d, 0, LEGACY_STATUS, 1), STATUS_DRIVER);
    assert_int_equal(d->nic->mode, MODE_LEGACY);
}

/* §2: decoding off reads all ones; elsewhere reads 0; beyond the BAR all ones. */
static void decoding_gates_every_access(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(vdriver_get(d, 0x800, 4), 0);
    assert_int_equal(vdriver_get(d, 0x3ffe, 4), 0xffffffff);
    virtio_net_set_pci_command(d->nic, 0);
    assert_int_equal(vdriver_get(d, COMMON_NUM_QUEUES, 2), 0xffff);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 1);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_STATUS, 1), 0);
}

/* §2: "elsewhere: reads return 0, writes ignored"; so is what starts behind the fields, and the
 * ISR, the device configuration and the pending array take no writes. */
static void writes_elsewhere_are_ignored(void **state)
{
    static const uint32_t values[] = {0, 1, UINT32_MAX};
    static uint8_t before[0x4000];
    static uint8_t after[0x4000];
    struct vdriver *d = *state;

    virtio_net_poll(d->nic, 8);
    const size_t bytes = virtio_net_save(d->nic, before, sizeof before);
    assert_true(bytes <= sizeof before);
    for (uint32_t i = 0; i < 3 * 3; i++) {
        for (uint32_t at = COMMON_BYTES; at < VIRTIO_NET_MMIO_BYTES; at++) {
            if ((at >= REGION_NOTIFY && at < REGION_NOTIFY + REGION_BYTES) ||
                (at >= REGION_MSIX_TABLE && at < REGION_MSIX_PENDING))
                continue;
            vdriver_put(d, at, 1u << i % 3, values[i / 3]);
            if (at < REGION_DEVICE || at >= REGION_MSIX_PENDING)
                assert_int_equal(vdriver_get(d, at, 1), 0);
        }
        assert_int_equal(virtio_net_save(d->nic, after, sizeof after), bytes);
        assert_memory_equal(after, before, bytes);
        assert_false(virtio_net_work_pending(d->nic));
    }
}

/* §3: exactly these bits in the contract profile. */
static void contract_offers_exactly_its_bits(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(vdriver_offered(d), UINT64_C(0x0000000110010020));
    assert_int_equal(vdriver_get(d, COMMON_NUM_QUEUES, 2), 2);
    vdriver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 2);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_FEATURE, 4), 0);
}

/* §3, choices.md: a bit that was not offered, or no VERSION_1: FEATURES_OK does not stick. */
static void features_ok_is_refused(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(vdriver_negotiate(d, F_VERSION_1 | FEATURE(34)) & STATUS_FEATURES_OK, 0);
    assert_int_equal(d->nic->negotiated, 0);
    assert_int_equal(vdriver_negotiate(d, F_MAC) & STATUS_FEATURES_OK, 0);
    assert_true((vdriver_negotiate(d, F_VERSION_1 | F_MAC) & STATUS_FEATURES_OK) != 0);
    vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, 0);
    vdriver_put(d, COMMON_DRIVER_FEATURE, 4, 0); /* too late */
    assert_int_equal(vdriver_get(d, COMMON_DRIVER_FEATURE, 4), F_MAC);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    vdriver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, 0);
    assert_int_equal(vdriver_get(d, COMMON_DRIVER_FEATURE, 4), 0); /* choices.md */
}

/* §2: accesses of any width; fields keep the bytes an access does not cover. */
static void accesses_of_any_width(void **state)
{
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_QUEUE_SELECT, 1, 1);
    vdriver_put(d, COMMON_QUEUE_DESC + 1, 1, 0xab);
    vdriver_put(d, COMMON_QUEUE_DESC + 4, 2, 0x1234);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_DESC, 4), 0xab00);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_DESC + 4, 4), 0x1234);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_NOTIFY_OFF, 2), 1);
    vdriver_put(d, COMMON_QUEUE_SELECT, 2, 3);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 0);
    vdriver_put(d, COMMON_QUEUE_DESC, 4, 0x77);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_DESC, 4), 0);
}

/* §2.1: queue_notify_off "equals the queue index; 0 if out of range". */
static void queue_notify_off_is_the_index(void **state)
{
    static const uint16_t beyond[] = {3, 4, 0x8000, 0xffff};
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < 3; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_NOTIFY_OFF, 2), i);
    }
    for (uint32_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, beyond[i]);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_NOTIFY_OFF, 2), 0);
    }
}

/* §4: each part has its alignment, 16, 2 and 4 bytes; one misaligned part leaves the queue off. */
static void one_misaligned_part_leaves_a_queue_off(void **state)
{
    static const uint8_t off[][3] = {{8, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 2}, {0, 0, 1}};
    struct vdriver *d = *state;

    for (uint32_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        vdriver_put(d, COMMON_QUEUE_DESC, 4, 0x1000u + off[i][0]);
        vdriver_put(d, COMMON_QUEUE_AVAIL, 4, 0x2002u + off[i][1]);
        vdriver_put(d, COMMON_QUEUE_USED, 4, 0x3004u + off[i][2]);
        vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_ENABLE, 2), 0);
    }
    vdriver_put(d, COMMON_QUEUE_USED, 4, 0x3004);
    vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_ENABLE, 2), 1); /* 16, 2 and 4 are enough */
}

/* §2.1: a queue in use stays where it is, and on. */
static void a_queue_in_use_keeps_its_place(void **state)
{
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_QUEUE_DESC, 4, 0x1000);
    vdriver_put(d, COMMON_QUEUE_DESC + 4, 4, 0xffffffff);
    vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
    vdriver_put(d, COMMON_QUEUE_ENABLE, 2, 0);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_ENABLE, 2), 1); /* high memory is fine */
    vdriver_put(d, COMMON_QUEUE_DESC, 4, 0x5000);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_DESC, 4), 0x1000); /* in use */
}

/* §2.1: queue_size is read-only in the contract; others may make a queue smaller. */
static void queue_size_by_profile(void **state)
{
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_QUEUE_SIZE, 2, 64);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 64);
    vdriver_put(d, COMMON_QUEUE_SIZE, 2, 48);
    vdriver_put(d, COMMON_QUEUE_SIZE, 2, 512);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 64);
    const struct virtio_net_config contract = {.profile = VIRTIO_NET_CONTRACT};
    vdriver_power_on(d, &contract);
    vdriver_put(d, COMMON_QUEUE_SIZE, 2, 64);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SIZE, 2), 256);
}

/* §2.4: the worked bytes of the device configuration; a link change shows there. */
static void device_configuration(void **state)
{
    struct vdriver *d = *state;
    uint8_t have[12];

    for (uint32_t i = 0; i < sizeof have; i++)
        have[i] = (uint8_t)vdriver_get(d, REGION_DEVICE + i, 1);
    vdriver_assert_hex(have, "02 00 00 00 00 01 01 00 01 00 00 00");
    vdriver_put(d, REGION_DEVICE, 4, 0x12345678);
    assert_int_equal(vdriver_get(d, REGION_DEVICE, 4), 2);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_STATUS, 2), 0);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), 1);
    assert_true(d->irq);
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), ISR_CONFIG); /* choices.md: bit 1 only */
    assert_false(d->irq);
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), 0);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), 1);
}

/* §2.4, virtio §2.1.2: before DRIVER_OK the generation tells of a link change, no interrupt. */
static void a_link_change_before_driver_ok_is_silent(void **state)
{
    struct vdriver *d = *state;

    assert_true((vdriver_negotiate(d, vdriver_offered(d)) & STATUS_FEATURES_OK) != 0);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), 1);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_STATUS, 2), 0);
    assert_int_equal(d->irq_edges, 0);
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), 0);
}

/* §2.3: the line is gated by INTx disable, the pending state is kept. */
static void intx_disable_keeps_the_cause(void **state)
{
    struct vdriver *d = *state;

    virtio_net_set_link(d->nic, false);
    assert_true(d->irq);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    assert_false(d->irq);
    virtio_net_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    assert_true(d->irq);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0); /* reset drops line and ISR */
    assert_false(d->irq);
    assert_int_equal(vdriver_get(d, REGION_ISR, 1), 0);
}

/* §2.3: with MSI-X only messages; a masked vector pends and is delivered on unmask. */
static void msix_messages_and_pending_bits(void **state)
{
    struct vdriver *d = *state;
    uint64_t address;
    uint32_t data;

    assert_int_equal(vdriver_get(d, COMMON_MSIX_CONFIG, 2), 0xffff);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    vdriver_start(d, vdriver_offered(d));
    vdriver_put(d, COMMON_MSIX_CONFIG, 2, 7); /* out of range */
    assert_int_equal(vdriver_get(d, COMMON_MSIX_CONFIG, 2), 0xffff);
    vdriver_put(d, COMMON_MSIX_CONFIG, 2, 1);
    vdriver_put(d, REGION_MSIX_TABLE + 16, 4, 0xfee00000);
    vdriver_put(d, REGION_MSIX_TABLE + 24, 4, 0x41);
    virtio_net_set_link(d->nic, false);
    assert_int_equal(d->messages[1], 0); /* masked after power-on */
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 2);
    vdriver_put(d, REGION_MSIX_TABLE + 28, 4, 0);
    assert_int_equal(d->messages[1], 1);
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 0);
    assert_int_equal(d->irq_edges, 0);
    assert_true(virtio_net_msix_message(d->nic, 1, &address, &data));
    assert_int_equal(address, 0xfee00000);
    assert_int_equal(data, 0x41);
}

/* §2.1: queue_msix_vector reads FFFF "when MSI-X absent/disabled or vector >= table size". */
static void vectors_beyond_the_table_read_ffff(void **state)
{
    static const uint16_t beyond[] = {3, 4, 0x100, 0x8000, 0xffff};
    struct vdriver *d = *state;

    vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, 1);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_MSIX_VECTOR, 2), 0xffff);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    for (uint32_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, 2);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_MSIX_VECTOR, 2), 2);
        vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, beyond[i]);
        assert_int_equal(vdriver_get(d, COMMON_QUEUE_MSIX_VECTOR, 2), 0xffff);
    }
    vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, 2);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_MSIX_VECTOR, 2), 0xffff);
}

/* §2.3, PCI 6.8.2.3: the function mask holds every vector, and lets all go when it clears. */
static void the_function_mask_holds_every_vector(void **state)
{
    struct vdriver *d = *state;

    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0xc000);
    vdriver_put(d, COMMON_MSIX_CONFIG, 2, 0);
    for (uint32_t i = 0; i < 2; i++) {
        vdriver_put(d, COMMON_QUEUE_SELECT, 2, i);
        vdriver_put(d, COMMON_QUEUE_MSIX_VECTOR, 2, i + 1);
    }
    for (uint32_t i = 0; i < MSIX_VECTORS; i++)
        vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES * i + MSIX_ENTRY_CONTROL_AT, 4, 0);
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    virtio_net_set_link(d->nic, false);
    for (uint32_t i = 0; i < MSIX_VECTORS; i++)
        assert_int_equal(d->messages[i], 0);
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 7);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    for (uint32_t i = 0; i < MSIX_VECTORS; i++)
        assert_int_equal(d->messages[i], 1);
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 0);
    assert_int_equal(d->irq_edges, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, vdriver_teardown)
        T(identity_of_each_transport, vdriver_setup),
        T(capabilities_are_the_worked_bytes, vdriver_setup_contract),
        T(capabilities_name_the_bar, vdriver_setup),
        T(msix_capability_names_table_and_pending_array, vdriver_setup),
        T(configuration_access_reaches_the_bar, vdriver_setup),
        T(configuration_access_has_the_registers_side_effects, vdriver_setup_standard),
        T(configuration_access_of_nonsense_does_nothing, vdriver_setup),
        T(configuration_access_reaches_the_legacy_bar, vdriver_setup),
        T(decoding_gates_every_access, vdriver_setup),
        T(writes_elsewhere_are_ignored, vdriver_setup_standard),
        T(contract_offers_exactly_its_bits, vdriver_setup_contract),
        T(features_ok_is_refused, vdriver_setup),
        T(accesses_of_any_width, vdriver_setup),
        T(queue_notify_off_is_the_index, vdriver_setup),
        T(one_misaligned_part_leaves_a_queue_off, vdriver_setup),
        T(a_queue_in_use_keeps_its_place, vdriver_setup),
        T(queue_size_by_profile, vdriver_setup),
        T(device_configuration, vdriver_setup_contract),
        T(a_link_change_before_driver_ok_is_silent, vdriver_setup),
        T(intx_disable_keeps_the_cause, vdriver_setup_standard),
        T(msix_messages_and_pending_bits, vdriver_setup),
        T(vectors_beyond_the_table_read_ffff, vdriver_setup_standard),
        T(the_function_mask_holds_every_vector, vdriver_setup_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
