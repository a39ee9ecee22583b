/* Snapshots: spec/virtio-net.md §9. */
#include "virtio_driver.h"

#include <stdlib.h>
#include <string.h>

static uint8_t blob[1 << 21];

static size_t save(struct vdriver *d)
{
    const size_t bytes = virtio_net_save(d->nic, NULL, 0);

    assert_true(bytes <= sizeof blob);
    assert_int_equal(virtio_net_save(d->nic, blob, sizeof blob), bytes);
    return bytes;
}

/* A fresh card of the same configuration over the same RAM. */
static void power_cycle(struct vdriver *d)
{
    const struct virtio_net_config config = d->config;

    virtio_net_reset(d->nic);
    memset(d->memory, 0xa5, virtio_net_bytes());
    vdriver_power_on(d, &config);
}

/* §9: the header bytes; the same state gives the same bytes. */
static void header_bytes(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = save(d);

    vdriver_assert_hex(blob, "41 45 52 4f 01 00 00 00 56 50 43 49 01 00 02 00");
    vdriver_assert_hex(blob + 16, "01 00 36 01 00 00 f4 1a 41 10");
    uint8_t *copy = malloc(bytes);
    memcpy(copy, blob, bytes);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, copy, bytes), 0);
    assert_int_equal(save(d), bytes);
    assert_memory_equal(blob, copy, bytes);
    free(copy);
}

/* A blob as §9 writes it down, with nothing of ours: a contract card that runs, its two queues at
 * vdriver's places, five chains done in each. */
static size_t blob_by_the_text(uint8_t *to)
{
    const size_t pci = 16 + 6;
    const size_t transport = pci + 256 + 6 * 9 + 6;
    const size_t queues = transport + 35;
    const size_t type = queues + 2 * 34 + 6;

    memset(to, 0, type + 1);
    vdriver_hex(to, "41 45 52 4f 01 00 00 00 56 50 43 49 01 00 02 00" /* the container's header */
                    "01 00 36 01 00 00 f4 1a 41 10 07 00");           /* ids and command 7 */
    le64_put(to + pci + 256, UINT64_C(0x1fe000000));                  /* the base of BAR0 */
    vdriver_hex(to + transport - 6, "02 00 67 00 00 00"
                                    "0f 20 00 01 10 01 00 00 00" /* status, negotiated */
                                    "01 00 00 00 00 00 00 00"    /* selectors */
                                    "20 00 00 10 01 00 00 00"    /* the driver's: other ones */
                                    "ff ff 01 00 03 01"          /* vector, queue, ISR, line */
                                    "02 00 00 00");              /* queues */
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *record = to + queues + (size_t)i * 34;

        le64_put(record, vdriver_queue(i));
        le64_put(record + 8, vdriver_queue(i) + VDRIVER_AVAIL_AT);
        le64_put(record + 16, vdriver_queue(i) + VDRIVER_USED_AT);
        vdriver_hex(record + 24, "01 ff ff 00 00 05 00 05 00 00"); /* enabled, vector, off, next */
        record[27] = (uint8_t)i;
    }
    vdriver_hex(to + type - 6, "03 00 01 00 00 00 01");
    return type + 1;
}

/* §9: layout and meaning of tags 1 to 3, by a blob that no card of ours has made. */
static void a_blob_by_the_text_is_loaded(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = blob_by_the_text(blob);

    power_cycle(d);
    for (uint32_t i = 0; i < 2; i++) {
        d->avail[i] = 5;
        le16_put(d->ram + d->ring[i].avail + 2, 5);
        le16_put(d->ram + d->ring[i].used + 2, 5);
    }
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(d->nic->negotiated, UINT64_C(0x110010020));
    assert_int_equal(vdriver_status(d), 15);
    assert_int_equal(vdriver_get(d, COMMON_DEVICE_FEATURE, 4), 1);
    assert_int_equal(vdriver_get(d, COMMON_DRIVER_FEATURE, 4), 0x10000020);
    assert_int_equal(vdriver_get(d, COMMON_QUEUE_SELECT, 2), 1);
    assert_int_equal(pci_bar_base(&d->nic->pci, 0), UINT64_C(0x1fe000000));
    assert_int_equal(d->nic->queue[QUEUE_TX].msix_vector, VECTOR_NONE);
    assert_true(d->irq);
    assert_int_equal(vdriver_isr(d), ISR_QUEUE | ISR_CONFIG);
    vdriver_send(d, 0, NULL, 10, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
    assert_int_equal(vdriver_used_idx(d, QUEUE_TX), 6);
    assert_used(d, QUEUE_TX, 5, 0, 0);
    assert_memory_equal(d->frame[0].data, vdriver_frame(60), 60);
    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 5, 0, 72);
}

static const uint8_t set_mac[6] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
static const uint8_t table_unicast[2][6] = {{0x52, 0x54, 0, 1, 2, 3}, {0x52, 0x54, 0, 4, 5, 6}};
static const uint8_t table_group[6] = {0x01, 0, 0x5e, 0, 0, 1};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t stranger[6] = {0x52, 0x54, 0, 9, 9, 9};
static const uint8_t strange_group[6] = {0x01, 0, 0x5e, 0, 0, 9};

/* What the filter says to a frame, 64 bytes, perhaps tagged; there are no receive buffers. */
static bool passes(struct vdriver *d, const uint8_t to[6], uint16_t vlan)
{
    uint8_t frame[64];

    memcpy(frame, vdriver_frame(sizeof frame), sizeof frame);
    memcpy(frame, to, 6);
    if (vlan != 0) {
        be16_put(frame + ETH_TYPE_AT, ETH_TYPE_VLAN);
        be16_put(frame + ETH_TYPE_AT + 2, vlan);
    }
    return virtio_net_rx_offer(d->nic, frame, sizeof frame) == VIRTIO_NET_ERR_NO_BUFFER;
}

static void assert_filter(struct vdriver *d)
{
    assert_true(passes(d, set_mac, 0));
    assert_true(passes(d, table_unicast[0], 0));
    assert_true(passes(d, table_unicast[1], 0));
    assert_true(passes(d, table_group, 0));
    assert_true(passes(d, set_mac, 5));
    assert_false(passes(d, broadcast, 0));
    assert_false(passes(d, d->config.mac, 0));
    assert_false(passes(d, stranger, 0));
    assert_false(passes(d, strange_group, 0));
    assert_false(passes(d, set_mac, 6));
}

/* Everything a driver and a host can set that is not at its start value. */
static void use_well(struct vdriver *d)
{
    static const uint8_t vlan[2] = {5, 0};
    static const uint8_t off = 0;
    static const uint8_t on = 1;
    uint8_t tables[26] = {2, 0, 0, 0};

    memcpy(tables + 4, table_unicast, 12);
    tables[16] = 1;
    memcpy(tables + 20, table_group, 6);
    virtio_net_config_write(d->nic, PCI_BAR0, 4, 0xfe000000);
    virtio_net_config_write(d->nic, PCI_BAR0 + 4, 4, 0x12);
    virtio_net_config_write(d->nic, PCI_INTERRUPT_LINE, 1, 11);
    virtio_net_set_pci_command(d->nic,
                               PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    virtio_net_config_write(d->nic, CAP_MSIX + 2, 2, 0x8000);
    vdriver_put(d, COMMON_MSIX_CONFIG, 2, 1);
    vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES, 4, 0xfee01000);
    vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES + 4, 4, 3);
    vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES + 8, 4, 0x4142);
    assert_int_equal(vdriver_command(d, CTRL_RX, CTRL_RX_PROMISC, &off, 1), CTRL_OK);
    assert_int_equal(vdriver_command(d, CTRL_RX, CTRL_RX_NOBCAST, &on, 1), CTRL_OK);
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_ADDR_SET, set_mac, 6), CTRL_OK);
    assert_int_equal(vdriver_command(d, CTRL_MAC, CTRL_MAC_TABLE_SET, tables, sizeof tables),
                     CTRL_OK);
    assert_int_equal(vdriver_command(d, CTRL_VLAN, CTRL_VLAN_ADD, vlan, 2), CTRL_OK);
    assert_filter(d);
    virtio_net_set_link(d->nic, false); /* the vector is masked: it pends */
}

/* §9: a restored card is the same card, in every byte of its blob and in what it does. */
static void a_well_used_card_is_the_same_card(void **state)
{
    struct vdriver *d = *state;
    static uint8_t before[sizeof blob];
    uint64_t address;
    uint32_t data;

    use_well(d);
    const size_t bytes = save(d);
    memcpy(before, blob, bytes);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, before, bytes), 0);
    assert_int_equal(save(d), bytes);
    assert_memory_equal(blob, before, bytes);

    assert_int_equal(pci_bar_base(&d->nic->pci, 0), UINT64_C(0x12fe000000));
    assert_int_equal(virtio_net_config_read(d->nic, PCI_INTERRUPT_LINE, 1), 11);
    assert_int_equal(virtio_net_config_read(d->nic, PCI_COMMAND, 2), 0x406);
    assert_int_equal(vdriver_get(d, REGION_DEVICE + 4, 2), 0xccbb);
    assert_false(virtio_net_link(d->nic));
    assert_int_equal(vdriver_get(d, COMMON_CONFIG_GENERATION, 1), 2); /* MAC, link */
    assert_int_equal(vdriver_get(d, REGION_MSIX_PENDING, 4), 2);
    assert_int_equal(d->messages[1], 0);
    vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_BYTES + MSIX_ENTRY_CONTROL_AT, 4, 0);
    assert_int_equal(d->messages[1], 1);
    assert_true(virtio_net_msix_message(d->nic, 1, &address, &data));
    assert_int_equal(address, UINT64_C(0x3fee01000));
    assert_int_equal(data, 0x4142);
    virtio_net_set_link(d->nic, true);
    assert_filter(d);
}

/* A card restored under load goes on: waiting chains, queued frames, the interrupt line. */
static void restored_under_load(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60); /* never kicked */
    vdriver_receive(d, 1, 512);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(900), 900), 0);
    vdriver_send(d, 2, NULL, 12, vdriver_frame(61), 61);
    d->sink_room = 0;
    virtio_net_poll(d->nic, 8);
    assert_int_equal(d->nic->held_count, 1);
    assert_true(d->irq);
    const size_t bytes = save(d);
    power_cycle(d);
    assert_false(d->irq);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_true(d->irq);
    d->sink_room = 99;
    vdriver_receive(d, 2, 512);
    assert_int_equal(virtio_net_poll(d->nic, 8), 2);
    assert_int_equal(d->frame[1].bytes, 61);
    assert_used(d, QUEUE_RX, 1, 1, 512);
    assert_used(d, QUEUE_RX, 2, 2, 400);
}

/* A driver between two writes to the PCI configuration access capability finds them kept. */
static void a_half_written_window_survives(void **state)
{
    struct vdriver *d = *state;

    virtio_net_config_write(d->nic, WINDOW_OFFSET, 4, COMMON_NUM_QUEUES);
    virtio_net_config_write(d->nic, WINDOW_LENGTH, 4, 2);
    const size_t bytes = save(d);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(virtio_net_config_read(d->nic, WINDOW_DATA, 2), 3);
}

/* used.flags is in guest memory: a card restored while it said "no kicks" asks for them again when
 * a frame needs buffers. Found by the model. */
static void kicks_are_asked_for_again(void **state)
{
    struct vdriver *d = *state;
    const uint8_t *flags = d->ram + vdriver_queue(QUEUE_RX) + VDRIVER_USED_AT;

    vdriver_receive(d, 0, 2000);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(le16_get(flags), USED_NO_NOTIFY);
    const size_t bytes = save(d);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(60), 60), 0);
    assert_int_equal(virtio_net_receive(d->nic, vdriver_frame(61), 61), 0);
    virtio_net_poll(d->nic, 8);
    assert_int_equal(le16_get(flags), 0);
}

/* Chains completed out of order: none is used twice after a restore. */
static void held_chains_survive(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 74);
    vdriver_receive(d, 1, 2000);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000), 0);
    assert_used(d, QUEUE_RX, 0, 1, 1012);
    const size_t bytes = save(d);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 1, 0, 72);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), VIRTIO_NET_ERR_NO_BUFFER);
}

/* Bytes of the blob without the field `tag`. */
static size_t without(uint16_t tag, size_t bytes)
{
    for (size_t at = 16; at < bytes;) {
        const size_t field = 6 + le32_get(blob + at + 2);

        if (le16_get(blob + at) == tag) {
            memmove(blob + at, blob + at + field, bytes - at - field);
            return bytes - field;
        }
        at += field;
    }
    fail();
    return 0;
}

/* §9: a blob of the other implementation: next_avail := next_used for the receive queue. */
static void taken_chains_are_taken_again(void **state)
{
    struct vdriver *d = *state;

    vdriver_receive(d, 0, 100);
    assert_true(virtio_net_rx_offer(d->nic, vdriver_frame(1000), 1000) < 0);
    assert_int_equal(d->nic->queue[QUEUE_RX].next_avail, 1);
    size_t bytes = save(d);
    bytes = without(90, bytes);
    bytes = without(91, bytes);
    bytes = without(92, bytes);
    power_cycle(d);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(d->nic->queue[QUEUE_RX].next_avail, 0);
    assert_int_equal(virtio_net_rx_offer(d->nic, vdriver_frame(60), 60), 0);
    assert_used(d, QUEUE_RX, 0, 0, 72);
}

/* §9: negotiated features are masked by what this card offers. */
static void features_are_masked_by_what_is_offered(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = save(d);
    const struct virtio_net_config contract = {.profile = VIRTIO_NET_CONTRACT,
                                               .mac = {2, 0, 0, 0, 0, 1}};

    vdriver_power_on(d, &contract);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(d->nic->negotiated & ~vdriver_offered(d), 0);
    assert_true(vnet_has(d->nic, F_INDIRECT_DESC));
}

/* §9: at most 16 queues; those that this card does not have are passed over. */
static void queues_of_a_larger_card(void **state)
{
    struct vdriver *d = *state;
    size_t bytes = save(d);
    const size_t transport = 16 + 6 + 310;
    const size_t records = transport + 6 + 35;
    const uint32_t count = le32_get(blob + records - 4);
    const size_t end = records + count * 34;

    for (uint32_t queues = count + 1; queues <= 17; queues++) {
        memmove(blob + end + 34, blob + end, bytes - end);
        memcpy(blob + end, blob + records, 34);
        bytes += 34;
        le32_put(blob + transport + 2, 35 + queues * 34);
        le32_put(blob + records - 4, queues);
        assert_int_equal(virtio_net_load(d->nic, blob, bytes),
                         queues <= 16 ? 0 : VIRTIO_NET_ERR_ARGUMENT);
    }
    vdriver_send(d, 0, NULL, 12, vdriver_frame(60), 60);
    assert_int_equal(virtio_net_poll(d->nic, 8), 1);
}

/* §9: all or nothing: a blob cut anywhere is refused and the card stays as it is. */
static void cut_anywhere(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = save(d);
    uint8_t *before = malloc(bytes);

    memcpy(before, blob, bytes);
    for (size_t cut = 0; cut < bytes; cut += cut < 600 ? 1 : 37) {
        const int result = virtio_net_load(d->nic, before, cut);

        if (result == 0) { /* between two fields that may be missing */
            assert_true(cut > 16 + 6 + 310 + 6 + 35);
            assert_int_equal(virtio_net_load(d->nic, before, bytes), 0);
        }
        assert_int_equal(save(d), bytes);
        assert_memory_equal(blob, before, bytes);
    }
    free(before);
}

/* §9: impossible values are refused whole. */
static void impossible_values(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = save(d);
    const size_t pci = 16 + 6;
    const size_t transport = pci + 310 + 6;
    const size_t card = transport + 35 + 3 * 34 + 6 + 1 + 6 + 48 + 6 + 8 + 6;
    const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {8, 'X'},                      /* device id */
        {12, 2},                       /* major */
        {pci + 256 + 8, 2},            /* probe flag */
        {transport + 30, 2},           /* line */
        {transport + 31, 17},          /* queues */
        {transport + 35, 8},           /* a misaligned ring */
        {transport + 35 + 24, 7},      /* enabled */
        {transport + 35 + 102 + 6, 2}, /* device type */
        {card, 3},                     /* mode */
        {card + 14, 3},                /* queue size */
        {card + 20, 2},                /* promiscuous */
        {card + 28, 65},               /* MAC table */
    };

    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const uint8_t kept = blob[bad[i].at];

        blob[bad[i].at] = bad[i].value;
        assert_int_equal(virtio_net_load(d->nic, blob, bytes), VIRTIO_NET_ERR_ARGUMENT);
        blob[bad[i].at] = kept;
    }
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
}

/* §9: the state of another kind of card is refused whole: its driver would find other BARs. */
static void a_state_of_another_transport_is_refused(void **state)
{
    struct vdriver *d = *state;
    const enum virtio_net_transport transports[] = {VIRTIO_NET_MODERN, VIRTIO_NET_TRANSITIONAL,
                                                    VIRTIO_NET_LEGACY};

    for (uint32_t from = 0; from < 3; from++) {
        for (uint32_t to = 0; to < 3; to++) {
            vdriver_power_on(d, &(struct virtio_net_config){.transport = transports[from],
                                                            .mac = {2, 0, 0, 0, 0, 1}});
            const size_t bytes = save(d);
            vdriver_power_on(d, &(struct virtio_net_config){.transport = transports[to],
                                                            .mac = {2, 0, 0, 0, 0, 1}});
            /* A transitional card has all that a legacy one has, in the same place. */
            const bool same =
                from == to || (from == VIRTIO_NET_LEGACY && to == VIRTIO_NET_TRANSITIONAL);
            assert_int_equal(virtio_net_load(d->nic, blob, bytes),
                             same ? 0 : VIRTIO_NET_ERR_ARGUMENT);
        }
    }
}

/* quirks §1: "W98 cannot reload a driver after restore: keep MAC": a device reset brings back the
 * address the guest has known, not that of the card it was restored into. */
static void the_permanent_address_is_restored(void **state)
{
    struct vdriver *d = *state;
    const struct virtio_net_config other = {.mac = {2, 0, 0, 0, 0, 0x77}};
    uint8_t mac[6];
    const size_t bytes = save(d);

    vdriver_power_on(d, &other);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    vdriver_reset(d);
    virtio_net_mac(d->nic, mac);
    vdriver_assert_hex(mac, "52 54 00 12 34 56");
}

/* §9: without tag 4 the vectors are as after a reset: masked, whatever this card's guest had set.
 */
static void without_a_vector_table_all_are_masked(void **state)
{
    struct vdriver *d = *state;
    const size_t bytes = without(4, save(d));

    vdriver_put(d, REGION_MSIX_TABLE, 4, 0xfee00000);
    vdriver_put(d, REGION_MSIX_TABLE + MSIX_ENTRY_CONTROL_AT, 4, 0);
    assert_int_equal(virtio_net_load(d->nic, blob, bytes), 0);
    assert_int_equal(vdriver_get(d, REGION_MSIX_TABLE, 4), 0);
    assert_int_equal(vdriver_get(d, REGION_MSIX_TABLE + MSIX_ENTRY_CONTROL_AT, 4),
                     MSIX_ENTRY_MASKED);
}

/* Puts `frames` frames of `bytes` into the blob's field of waiting frames. */
static size_t with_frames(size_t blob_bytes, uint32_t frames, uint32_t bytes)
{
    size_t at = without(92, blob_bytes);

    le16_put(blob + at, 92);
    le32_put(blob + at + 2, 4 + frames * (8 + bytes));
    le32_put(blob + at + 6, frames);
    at += 10;
    for (uint32_t i = 0; i < frames; i++) {
        le32_put(blob + at, bytes);
        le32_put(blob + at + 4, 0);
        memcpy(blob + at + 8, vdriver_frame(bytes), bytes);
        at += 8 + bytes;
    }
    assert_true(at <= sizeof blob);
    return at;
}

/* §4.2: the card keeps 256 frames, in 1 MiB; a blob with more is no state it can have had. */
static void more_frames_than_fit_are_refused(void **state)
{
    struct vdriver *d = *state;

    assert_int_equal(virtio_net_load(d->nic, blob, with_frames(save(d), 256, 60)), 0);
    assert_int_equal(d->nic->rx_queue.frames, 256);
    assert_int_equal(virtio_net_load(d->nic, blob, with_frames(save(d), 257, 60)),
                     VIRTIO_NET_ERR_ARGUMENT);
    assert_int_equal(virtio_net_load(d->nic, blob, with_frames(save(d), 131, 8000)),
                     VIRTIO_NET_ERR_ARGUMENT);
    assert_int_equal(virtio_net_load(d->nic, blob, with_frames(save(d), 130, 8000)), 0);
    assert_int_equal(d->nic->rx_queue.frames, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define C(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_contract, vdriver_teardown)
#define S(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        S(header_bytes),
        C(a_blob_by_the_text_is_loaded),
        S(a_well_used_card_is_the_same_card),
        S(a_half_written_window_survives),
        S(restored_under_load),
        S(kicks_are_asked_for_again),
        C(held_chains_survive),
        C(taken_chains_are_taken_again),
        S(cut_anywhere),
        S(impossible_values),
        S(features_are_masked_by_what_is_offered),
        S(queues_of_a_larger_card),
        S(a_state_of_another_transport_is_refused),
        S(the_permanent_address_is_restored),
        S(without_a_vector_table_all_are_masked),
        S(more_frames_than_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
