/* Transmit: spec/e1000.md §7, quirks §2. */
#include "driver.h"

#include <string.h>

/* §7.1, examples: a legacy descriptor before and after completion. */
static void legacy_example_completes_with_dd_only(void **state)
{
    struct driver *d = *state;
    uint8_t raw[16];

    driver_hex(d, DRIVER_TX_RING, "00 34 12 00 00 00 00 00 3c 00 00 0b 00 00 00 00");
    memcpy(raw, d->ram + DRIVER_TX_RING, sizeof raw);
    driver_tx_put(d, raw);
    driver_tx_kick(d);
    memset(d->ram + 0x123400, 0x5a, 60);

    assert_int_equal(e1000_poll(d->nic, 8), 1);
    driver_assert_hex(d->ram + DRIVER_TX_RING, "00 34 12 00 00 00 00 00 3c 00 00 0b 01 00 00 00");
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 60); /* no FCS regardless of IFCS */
    assert_memory_equal(d->frame[0].data, d->ram + 0x123400, 60);
}

/* §7.2: DD only in descriptors with RS or RPS [PRM]. */
static void only_descriptors_with_rs_get_dd(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 60, TXD_CMD_EOP);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RPS);

    assert_int_equal(e1000_poll(d->nic, 8), 3);
    assert_int_equal(driver_tx_status(d, 0), 0);
    assert_int_equal(driver_tx_status(d, 1), TXD_STATUS_DD);
    assert_int_equal(driver_tx_status(d, 2), TXD_STATUS_DD);
}

/* §7.2: buffers accumulate until EOP. */
static void buffers_accumulate_until_eop(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 20, 0);
    driver_queue_tx(d, 30, 0);
    driver_queue_tx(d, 40, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);

    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 90);
    assert_int_equal(d->frame[0].data[0], driver_pattern(0, 0));
    assert_int_equal(d->frame[0].data[20], driver_pattern(1, 0));
    assert_int_equal(d->frame[0].data[50], driver_pattern(2, 0));
    assert_int_equal(d->frame[0].data[89], driver_pattern(2, 39));
}

/* §7: bus master, TCTL.EN and a valid ring, otherwise no DMA at all; quirk 2.39. */
static void nothing_is_read_without_the_preconditions(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 60, TXD_CMD_EOP);
    e1000_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    assert_int_equal(e1000_poll(d->nic, 8), 0);
    e1000_set_pci_command(d->nic, PCI_COMMAND_MASTER);
    driver_put(d, E1000_TCTL, 0);
    assert_int_equal(e1000_poll(d->nic, 8), 0);
    driver_put(d, E1000_TCTL, TCTL_EN);
    static const uint32_t bad_bytes[] = {0, 8, 15, 17, 24, 65536 * 16 + 16};
    for (uint32_t i = 0; i < sizeof bad_bytes / sizeof bad_bytes[0]; i++) {
        driver_put(d, E1000_TDLEN, bad_bytes[i]);
        assert_int_equal(e1000_poll(d->nic, 8), 0);
    }
    driver_put(d, E1000_TDLEN, DRIVER_RING * 16);
    driver_put(d, E1000_TDBAH, 0xffffffff);
    driver_put(d, E1000_TDBAL, 0xfffffff0);
    assert_int_equal(e1000_poll(d->nic, 8), 0);
    assert_int_equal(d->reads + d->writes, 0);
    assert_true(e1000_stats(d->nic)->tx_bad_ring > 0);
    driver_put(d, E1000_TDBAH, 0);
    driver_put(d, E1000_TDBAL, DRIVER_TX_RING);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
}

/* quirk 2.13, Windows 10: TCTL.EN first, the ring afterwards. */
static void the_ring_may_be_set_after_enable(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TCTL, TCTL_EN);
    driver_tx_ring(d, DRIVER_TX_RING, 8);
    driver_queue_tx(d, 60, TXD_CMD_EOP);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
}

/* §7: at most 4096 descriptors per poll, the rest continues in the next. */
static void a_poll_consumes_its_budget_at_most(void **state)
{
    struct driver *d = *state;

    for (int i = 0; i < 10; i++)
        driver_queue_tx(d, 60, TXD_CMD_EOP);
    assert_true(e1000_work_pending(d->nic));
    assert_int_equal(e1000_poll(d->nic, 3), 3);
    assert_int_equal(driver_get(d, E1000_TDH), 3);
    assert_int_equal(e1000_poll(d->nic, UINT32_MAX), 7);
    assert_int_equal(d->frames, 10);
    assert_false(e1000_work_pending(d->nic));

    driver_tx_ring(d, DRIVER_TX_RING, 8192); /* zeros: descriptors of nothing */
    driver_put(d, E1000_TDT, 8000);
    assert_int_equal(e1000_poll(d->nic, UINT32_MAX), E1000_POLL_DESCRIPTORS);
    assert_int_equal(e1000_poll(d->nic, UINT32_MAX), 8000 - E1000_POLL_DESCRIPTORS);
}

static void the_ring_wraps(void **state)
{
    struct driver *d = *state;

    driver_tx_ring(d, DRIVER_TX_RING, 8);
    for (uint32_t i = 0; i < 30; i++) {
        driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
        driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
        driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
        assert_int_equal(e1000_poll(d->nic, 64), 3);
        assert_int_equal(driver_get(d, E1000_TDH), (3 * (i + 1)) % 8);
    }
    assert_int_equal(d->frames, 90);
    assert_int_equal(d->frame[89].data[0], driver_pattern(89 % 8, 0));
}

/* Zephyr: one descriptor of 16 bytes is a ring that is always empty (choices, quirks §1). */
static void a_ring_of_one_is_always_empty(void **state)
{
    struct driver *d = *state;

    driver_tx_ring(d, DRIVER_TX_RING, 1);
    driver_put(d, E1000_TDT, 1);
    assert_int_equal(e1000_poll(d->nic, 8), 0);
}

/* §7.2: head reached by a packet spread over several TDT writes. */
static void a_packet_may_arrive_in_several_polls(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 20, TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    memset(d->ram + DRIVER_TX_BUFFERS, 0xee, 20); /* the driver may reuse it now */
    driver_queue_tx(d, 30, TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 0);
    driver_queue_tx(d, 40, TXD_CMD_EOP | TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 90);
    assert_int_equal(d->frame[0].data[0], driver_pattern(0, 0));
    assert_int_equal(d->frame[0].data[49], driver_pattern(1, 29));
    assert_int_equal(d->frame[0].data[50], driver_pattern(2, 0));
}

/* More descriptors than the card looks ahead: nothing is lost. */
static void a_packet_of_a_thousand_descriptors(void **state)
{
    struct driver *d = *state;

    driver_tx_ring(d, DRIVER_TX_RING, 1024);
    for (uint32_t i = 0; i < 1000; i++) {
        d->ram[DRIVER_TX_BUFFERS + i] = (uint8_t)(i * 5);
        driver_queue_legacy(d, DRIVER_TX_BUFFERS + i, 1, 0,
                            i == 999 ? TXD_CMD_EOP | TXD_CMD_RS : TXD_CMD_RS, 0, 0);
    }
    assert_int_equal(e1000_poll(d->nic, 4096), 1000);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 1000);
    assert_memory_equal(d->frame[0].data, d->ram + DRIVER_TX_BUFFERS, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(driver_tx_status(d, i), TXD_STATUS_DD);
}

/* §7.2: a null address or zero length contributes nothing. */
static void null_and_empty_buffers_contribute_nothing(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 30, 0);
    driver_queue_legacy(d, 0, 100, 0, 0, 0, 0);
    driver_queue_tx(d, 0, 0);
    driver_queue_tx(d, 30, TXD_CMD_EOP);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 60);
}

/* choices, lone EOP descriptor of length 0: dropped silently. */
static void a_lone_empty_eop_is_dropped_silently(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 0, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 8), 2);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    assert_int_equal(d->frames, 1);
    assert_int_equal(e1000_stats(d->nic)->tx_dropped, 0);
}

/* §7.2: mixing legacy and data descriptors: drop what was gathered, start anew. */
static void mixed_descriptors_start_anew(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 30, TXD_CMD_RS);
    driver_queue_data(d, DRIVER_TX_BUFFERS + 0x40000, 60, TXD_CMD_EOP | TXD_CMD_RS, 0, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 60);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    assert_int_equal(e1000_stats(d->nic)->tx_dropped, 1);
}

/* §7.2: more than 1522 bytes: drop mode until EOP, descriptors still complete. */
static void too_long_a_packet_enters_drop_mode(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 1522, TXD_CMD_EOP);
    driver_queue_tx(d, 1500, TXD_CMD_RS);
    driver_queue_tx(d, 23, TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 2);
    const uint32_t reads = d->reads;
    e1000_poll(d->nic, 3);
    assert_int_equal(d->reads, reads + 1); /* the descriptors, no buffer */
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[0].bytes, 1522);
    assert_int_equal(d->frame[1].bytes, 60);
    for (uint32_t i = 1; i < 6; i++)
        assert_int_equal(driver_tx_status(d, i), TXD_STATUS_DD);
    assert_int_equal(e1000_stats(d->nic)->tx_dropped, 1);
}

/* A guest that has turned jumbo frames on (LPE) may send them. */
static void jumbo_frames_leave_with_lpe(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_LPE);
    driver_queue_tx(d, 9014, TXD_CMD_EOP);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 9014);
}

/* LPE taken away in the middle of a long packet must not underflow the room that is left. */
static void lpe_cleared_in_the_middle_of_a_packet(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_LPE);
    driver_queue_tx(d, 9000, 0);
    e1000_poll(d->nic, 8);
    driver_put(d, E1000_RCTL, RCTL_EN);
    driver_queue_tx(d, 9000, 0);
    e1000_poll(d->nic, 8);
    assert_true(d->nic->tx.drop);
    driver_queue_tx(d, 9000, TXD_CMD_EOP);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 0);
    assert_int_equal(e1000_stats(d->nic)->tx_dropped, 1);
}

/* §7.2: a finished packet shorter than 14 bytes is dropped. */
static void shorter_than_14_bytes_is_dropped(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 13, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 14, TXD_CMD_EOP | TXD_CMD_RS);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 1);
    assert_int_equal(d->frame[0].bytes, 14);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
}

/* choices, IFCS clear: the flag is ignored, all bytes are sent. */
static void ifcs_changes_nothing(void **state)
{
    struct driver *d = *state;

    driver_queue_tx(d, 64, TXD_CMD_EOP);
    driver_queue_tx(d, 64, TXD_CMD_EOP | TXD_CMD_IFCS);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 64);
    assert_int_equal(d->frame[1].bytes, 64);
}

/* choices, TXQE: only after the last descriptor was used, not by writes to an empty ring. */
static void txqe_needs_a_used_descriptor(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TDT, 0);
    driver_put(d, E1000_TCTL, TCTL_EN);
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    driver_queue_tx(d, 64, TXD_CMD_EOP);
    assert_int_equal(driver_get(d, E1000_ICR), 0); /* nothing happens before the poll */
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_TXQE);
}

/* quirk 2.37 and §2: no register write touches guest memory. */
static void register_writes_touch_no_guest_memory(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 20);
    driver_queue_tx(d, 64, TXD_CMD_EOP | TXD_CMD_RS);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), 0);
    for (uint32_t offset = 0; offset < 0x6000; offset += 4) {
        if (offset != E1000_CTRL && offset != E1000_CTRL_DUP)
            driver_put(d, offset, driver_get(d, offset));
    }
    assert_int_equal(d->reads + d->writes, 0);
    assert_int_equal(d->frames, 0);
}

/* choices, TCTL.PSP: pad with zeros to 60. */
static void psp_pads_with_zeros(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TCTL, TCTL_EN | TCTL_PSP);
    driver_queue_tx(d, 42, TXD_CMD_EOP);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 60);
    for (uint32_t i = 42; i < 60; i++)
        assert_int_equal(d->frame[0].data[i], 0);
}

/* §7.1: reserved DTYP transfers nothing, DD where RS asks for it. */
static void reserved_types_transfer_nothing(void **state)
{
    struct driver *d = *state;
    uint8_t raw[16] = {0};

    for (uint32_t dtyp = 2; dtyp < 16; dtyp++) {
        le64_put(raw, DRIVER_TX_BUFFERS);
        le16_put(raw + 8, 60);
        raw[10] = (uint8_t)(dtyp << 4);
        raw[11] = TXD_CMD_DEXT | TXD_CMD_EOP | TXD_CMD_RS;
        driver_tx_put(d, raw);
    }
    driver_tx_kick(d);
    assert_int_equal(e1000_poll(d->nic, 64), 14);
    assert_int_equal(d->frames, 0);
    assert_int_equal(driver_tx_status(d, 13), TXD_STATUS_DD);
}

/* §7.2; quirk 2.19: EC, LC and TU are cleared, only the status byte is written. */
static void only_the_status_byte_is_written(void **state)
{
    struct driver *d = *state;

    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 60, 0, TXD_CMD_EOP | TXD_CMD_RS, 0, 0xabcd);
    d->ram[DRIVER_TX_RING + DESC_STATUS_AT] = 0x0e;
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    assert_int_equal(d->writes, 1);
    assert_int_equal(d->write[0].gpa, DRIVER_TX_RING + DESC_STATUS_AT);
    assert_int_equal(d->write[0].bytes, 1);
}

/* §7.2 [US]: while the host's queue is full nothing is lost; it resumes on a later poll. */
static void a_full_sink_loses_nothing(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < 10; i++)
        driver_queue_tx(d, 60 + i, TXD_CMD_EOP | TXD_CMD_RS);
    d->sink_room = 3;
    assert_int_equal(e1000_poll(d->nic, 64), 4); /* the fourth waits inside the card */
    assert_int_equal(e1000_poll(d->nic, 64), 0);
    assert_int_equal(driver_get(d, E1000_TDH), 4);
    assert_true(e1000_work_pending(d->nic));
    assert_int_equal(e1000_stats(d->nic)->tx_sink_full, 2);
    d->sink_room = 100;
    assert_int_equal(e1000_poll(d->nic, 64), 6);
    assert_int_equal(d->frames, 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(d->frame[i].bytes, 60 + i);
        assert_int_equal(d->frame[i].data[0], driver_pattern(i, 0));
    }
}

/* choices, transmit without link: consumed and lost. */
static void without_a_link_frames_are_consumed(void **state)
{
    struct driver *d = *state;

    e1000_set_link(d->nic, false);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 8), 1);
    assert_int_equal(driver_tx_status(d, 0), TXD_STATUS_DD);
    assert_int_equal(d->frames, 0);
}

/* §7.2: VLAN insertion needs CTRL.VME and VLE; VET and special follow the source address. */
static void vlan_tag_is_inserted(void **state)
{
    struct driver *d = *state;

    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 60, 0, TXD_CMD_EOP | TXD_CMD_VLE, 0, 0x6123);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 60);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_put(d, E1000_VET, 0x88a8);
    for (uint32_t i = 0; i < 60; i++)
        d->ram[DRIVER_TX_BUFFERS + i] = (uint8_t)i;
    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 60, 0, TXD_CMD_EOP | TXD_CMD_VLE, 0, 0x6123);
    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 60, 0, TXD_CMD_EOP, 0, 0x6123);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[1].bytes, 64);
    driver_assert_hex(d->frame[1].data, "000102030405060708090a0b 88a8 6123 0c0d0e0f");
    assert_int_equal(d->frame[2].bytes, 60);
}

/* §7.2: VLE and special of a legacy packet come from its EOP descriptor. */
static void legacy_vlan_comes_from_the_eop_descriptor(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 30, 0, 0, 0, 0x0111);
    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 30, 0, TXD_CMD_EOP | TXD_CMD_VLE, 0, 0x0222);
    e1000_poll(d->nic, 8);
    assert_int_equal(be16_get(d->frame[0].data + 14), 0x0222);
}

/* §7.2: properties of advanced packets come from the first data descriptor. */
static void advanced_properties_come_from_the_first(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 30, TXD_CMD_VLE, 0, 0x0111);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 30, TXD_CMD_EOP, 0, 0x0222);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 64);
    assert_int_equal(be16_get(d->frame[0].data + 14), 0x0111);
}

static void looped(struct driver *d)
{
    driver_rx_refill(d, 8);
    driver_queue_tx(d, 60, TXD_CMD_EOP);
    d->ram[DRIVER_TX_BUFFERS + (uint64_t)((d->tx_tail + 63) % 64) * DRIVER_BUFFER_BYTES] = 2;
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frames, 0);
}

/* §7.2 loopback; quirk 2.6; choices, RCTL.LBM = 01: loops. */
static void loopback_by_lbm_and_by_phy(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_LBM_SHIFT);
    looped(d);
    assert_int_equal(driver_get(d, E1000_RDH), 1);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 1 << RCTL_LBM_SHIFT);
    looped(d);
    assert_int_equal(driver_get(d, E1000_RDH), 2);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE);
    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 0x4140);
    e1000_set_link(d->nic, false); /* inside the card no link is needed */
    looped(d);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    assert_int_equal(driver_rx(d, 2).length, 64);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(legacy_example_completes_with_dd_only),
        T(only_descriptors_with_rs_get_dd),
        T(buffers_accumulate_until_eop),
        T(nothing_is_read_without_the_preconditions),
        T(the_ring_may_be_set_after_enable),
        T(a_poll_consumes_its_budget_at_most),
        T(the_ring_wraps),
        T(a_ring_of_one_is_always_empty),
        T(a_packet_may_arrive_in_several_polls),
        T(a_packet_of_a_thousand_descriptors),
        T(null_and_empty_buffers_contribute_nothing),
        T(a_lone_empty_eop_is_dropped_silently),
        T(mixed_descriptors_start_anew),
        T(too_long_a_packet_enters_drop_mode),
        T(jumbo_frames_leave_with_lpe),
        T(lpe_cleared_in_the_middle_of_a_packet),
        T(shorter_than_14_bytes_is_dropped),
        T(ifcs_changes_nothing),
        T(txqe_needs_a_used_descriptor),
        T(register_writes_touch_no_guest_memory),
        T(psp_pads_with_zeros),
        T(reserved_types_transfer_nothing),
        T(only_the_status_byte_is_written),
        T(a_full_sink_loses_nothing),
        T(without_a_link_frames_are_consumed),
        T(vlan_tag_is_inserted),
        T(legacy_vlan_comes_from_the_eop_descriptor),
        T(advanced_properties_come_from_the_first),
        T(loopback_by_lbm_and_by_phy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
