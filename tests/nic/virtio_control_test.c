/* Control queue and receive filter: virtio 1.2 §5.1.6.5, spec/choices.md. */
#include "virtio_driver.h"

#include <string.h>

static const uint8_t other[6] = {0x52, 0x54, 0, 1, 2, 3};
static const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1};

static uint8_t mode(struct vdriver *d, uint8_t what, uint8_t on)
{
    return vdriver_command(d, CTRL_RX, what, &on, 1);
}

/* What the card says to a frame for `to`; it has no receive buffer. */
static bool passes(struct vdriver *d, const uint8_t to[6])
{
    uint8_t frame[60];

    memcpy(frame, vdriver_frame(60), 60);
    memcpy(frame, to, 6);
    return virtio_net_rx_offer(d->nic, frame, 60) != VIRTIO_NET_ERR_FILTERED;
}

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* choices.md: promiscuous before any command; then by address. */
static void promiscuous_until_told_otherwise(void **state)
{
    struct vdriver *d = *state;

    assert_true(passes(d, other));
    assert_int_equal(mode(d, CTRL_RX_PROMISC, 0), CTRL_OK);
    assert_false(passes(d, other));
    assert_false(passes(d, group));
    assert_true(passes(d, broadcast));
    assert_true(passes(d, d->config.mac));
    assert_int_equal(virtio_net_stats(d->nic)->rx_filtered, 2);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    vdriver_start(d, vdriver_offered(d));
    assert_true(passes(d, other));
}

/* §5.1.6.5.1: each mode does what it says. */
static void receive_modes(void **state)
{
    struct vdriver *d = *state;

    mode(d, CTRL_RX_PROMISC, 0);
    mode(d, CTRL_RX_ALLMULTI, 1);
    assert_true(passes(d, group));
    assert_false(passes(d, other));
    mode(d, CTRL_RX_NOMULTI, 1);
    assert_false(passes(d, group));
    mode(d, CTRL_RX_ALLUNI, 1);
    assert_true(passes(d, other));
    mode(d, CTRL_RX_NOUNI, 1);
    assert_false(passes(d, d->config.mac));
    mode(d, CTRL_RX_NOBCAST, 1);
    assert_false(passes(d, broadcast));
    assert_int_equal(mode(d, 6, 1), CTRL_ERR);
}

/* §5.1.6.5.2: tables of both kinds; one that overflows means all of its kind. */
static void mac_tables(void **state)
{
    struct vdriver *d = *state;
    uint8_t data[8 + 70 * 6] = {1, 0, 0, 0};

    mode(d, CTRL_RX_PROMISC, 0);
    memcpy(data + 4, other, 6);
    data[10] = 1;
    memcpy(data + 14, group, 6);
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_TABLE_SET, data, 20), CTRL_OK);
    assert_true(passes(d, other));
    assert_true(passes(d, group));
    memset(data, 0, sizeof data);
    data[0] = 70;
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_TABLE_SET, data, 8 + 70 * 6), CTRL_OK);
    assert_true(passes(d, other)); /* overflow: all unicast */
    assert_false(passes(d, group));
    data[0] = 0;
    data[4] = 70;
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_TABLE_SET, data, 8 + 70 * 6), CTRL_OK);
    assert_false(passes(d, other));
    assert_true(passes(d, group)); /* all multicast */
}

/* CVE-2014-0150 (quirks §3.4): entries * 6 must not wrap; nothing changes on an error. */
static void cve_2014_0150_mac_table_count(void **state)
{
    struct vdriver *d = *state;
    static const uint32_t counts[] = {2, 0x2aaaaaab, 0x80000000, 0xffffffff};
    uint8_t data[20] = {0};

    mode(d, CTRL_RX_PROMISC, 0);
    for (uint32_t i = 0; i < 4; i++) {
        le32_put(data, counts[i]);
        memcpy(data + 4, other, 6);
        assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_TABLE_SET, data, 14), CTRL_ERR);
        assert_false(passes(d, other));
    }
    assert_int_equal(virtio_net_stats(d->nic)->control_refused, 4);
}

/* MAC_ADDR_SET shows in the configuration; a reset brings the original back (choices.md). */
static void mac_address_until_reset(void **state)
{
    struct vdriver *d = *state;
    uint8_t mac[6];

    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_ADDR_SET, other, 6), CTRL_OK);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + 4, 2), 0x0302);
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_ADDR_SET, group, 6), CTRL_ERR);
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_ADDR_SET, other, 5), CTRL_ERR);
    vdriver_put(d, COMMON_DEVICE_STATUS, 1, 0);
    virtio_net_mac(d->nic, mac);
    assert_memory_equal(mac, d->config.mac, 6);
}

/* §5.1.6.5.3: tagged frames pass by their VLAN, untagged ones always. */
static void vlan_filter(void **state)
{
    struct vdriver *d = *state;
    const uint8_t id[2] = {5, 0};
    const uint8_t bad[2] = {0xff, 0x0f};
    uint8_t frame[64];

    memcpy(frame, vdriver_frame(64), 64);
    be16_put(frame + 12, ETH_TYPE_VLAN);
    be16_put(frame + 14, 0xe005);
    mode(d, CTRL_RX_PROMISC, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, 64), VIRTIO_NET_ERR_FILTERED);
    assert_int_equal(vdriver_command(d, CTRL_VLAN, CTRL_VLAN_ADD, id, 2), CTRL_OK);
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, 64), VIRTIO_NET_ERR_NO_BUFFER);
    assert_int_equal(vdriver_command(d, CTRL_VLAN, CTRL_VLAN_DEL, id, 2), CTRL_OK);
    assert_int_equal(virtio_net_rx_offer(d->nic, frame, 64), VIRTIO_NET_ERR_FILTERED);
    assert_int_equal(vdriver_command(d, CTRL_VLAN, CTRL_VLAN_ADD, bad, 2), CTRL_ERR);
}

/* §5.1.6.5.4: the announcement is asked for when the link returns, until acknowledged. */
static void announcement(void **state)
{
    struct vdriver *d = *state;

    virtio_net_set_link(d->nic, false);
    virtio_net_set_link(d->nic, true);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_STATUS, 2),
                     CONFIG_LINK_UP | CONFIG_ANNOUNCE);
    assert_int_equal(vdriver_command(d, CTRL_ANNOUNCE, CTRL_ANNOUNCE_ACK, "", 0), CTRL_OK);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + CONFIG_STATUS, 2), CONFIG_LINK_UP);
}

/* Unknown classes, cut commands, no room for the answer. */
static void commands_that_are_refused(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(vdriver_command(d, 4, 0, "\1\0", 2), CTRL_ERR); /* MQ was not offered */
    assert_int_equal(vdriver_command(d, 77, 0, "", 0), CTRL_ERR);
    assert_int_equal(vdriver_command(d, CTRL_RX, CTRL_RX_PROMISC, "", 0), CTRL_ERR);
    vdriver_desc(d, QUEUE_CONTROL, 5, VDRIVER_COMMAND, 3, 0, 0);
    vdriver_post(d, QUEUE_CONTROL, 5); /* no answer wanted */
    vdriver_desc(d, QUEUE_CONTROL, 6, VDRIVER_ANSWER, 1, DESC_WRITE, 0);
    vdriver_post(d, QUEUE_CONTROL, 6); /* no question */
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_used(d, QUEUE_CONTROL, 3, 5, 0);
    assert_used(d, QUEUE_CONTROL, 4, 6, 0);
    assert_int_equal(mode(d, CTRL_RX_PROMISC, 1), CTRL_OK);
}

/* §2.1: config_generation "+1 whenever device configuration changes": the MAC, the bit that asks
 * for an announcement. */
static void the_generation_counts_what_commands_change(void **state)
{
    struct vdriver *d = *state;
    const uint32_t before = vdriver_get(d, COMMON_CONFIG_GENERATION, 1);

    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_ADDR_SET, other, 6), CTRL_OK);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), before + 1);
    virtio_net_set_link(d->nic, false);
    virtio_net_set_link(d->nic, true);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), before + 3);
    assert_int_equal(vdriver_command(d, CTRL_ANNOUNCE, CTRL_ANNOUNCE_ACK, "", 0), CTRL_OK);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), before + 4);
    assert_int_equal(vdriver_command(d, CTRL_ANNOUNCE, CTRL_ANNOUNCE_ACK, "", 0), CTRL_OK);
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), before + 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        S(promiscuous_until_told_otherwise),
        S(receive_modes),
        S(mac_tables),
        S(cve_2014_0150_mac_table_count),
        S(mac_address_until_reset),
        S(vlan_filter),
        S(announcement),
        S(the_generation_counts_what_commands_change),
        S(commands_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
