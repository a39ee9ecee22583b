/* Habits of real drivers: spec/e1000.md §12, guest-quirks.md §1. */
#include "driver.h"

#include <string.h>

/* Linux: reset by the I/O window, PHY identified and polled, watchdog started by ICS.LSC. */
static void linux_attaches(void **state)
{
    struct driver *d = *state;

    e1000_set_pci_command(d->nic, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver_put(d, E1000_IMC, 0xffffffff);
    driver_put(d, E1000_RCTL, 0);
    driver_put(d, E1000_TCTL, TCTL_PSP);
    e1000_io_write(d->nic, 0, 4, E1000_CTRL);
    e1000_io_write(d->nic, 4, 4, driver_get(d, E1000_CTRL) | CTRL_RST);
    driver_put(d, E1000_IMC, 0xffffffff);
    assert_int_equal(driver_get(d, E1000_ICR), 0);

    driver_put(d, E1000_EECD, driver_get(d, E1000_EECD) | EECD_REQ);
    assert_int_equal(driver_get(d, E1000_EECD) & EECD_GNT, EECD_GNT);
    driver_put(d, E1000_EECD, driver_get(d, E1000_EECD) & ~EECD_REQ);

    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 0x1340); /* restart autonegotiation */
    driver_put(d, E1000_MDIC, MDIC_READ | 1 << 21 | 1 << 16);
    assert_int_equal(driver_get(d, E1000_MDIC) & 0x24, 0x24);
    assert_int_equal(driver_get(d, E1000_STATUS) & 0xc3, 0x83); /* up, full duplex, 1000 */

    driver_get(d, E1000_ICR);
    driver_put(d, E1000_IMS, 0x9d);
    assert_false(d->irq);
    driver_put(d, E1000_ICS, IRQ_LSC);
    assert_true(d->irq);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_LSC);
    assert_int_equal(driver_get(d, E1000_ICR), 0); /* 0: "not mine" */
    assert_false(d->irq);
}

/* Linux under NAPI: masked while it polls, unmasked after; what came meanwhile interrupts. */
static void napi_loses_no_interrupt(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    driver_rx_refill(d, 60);
    driver_put(d, E1000_ITR, 195);
    driver_put(d, E1000_IMS, 0x9d);
    for (uint32_t round = 0; round < 50; round++) {
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
        for (uint32_t i = 0; !d->irq && i < 3; i++) { /* sleep as next_event says */
            assert_true(e1000_next_event_ns(d->nic) != UINT64_MAX);
            d->now_ns = e1000_next_event_ns(d->nic);
            e1000_poll(d->nic, 1);
        }
        assert_true(d->irq);
        assert_true((driver_get(d, E1000_ICR) & IRQ_RXT0) != 0);
        driver_put(d, E1000_IMC, 0xffffffff);
        driver_rx_refill(d, 1);
        driver_put(d, E1000_IMS, 0x9d);
    }
}

/* iPXE: legacy descriptors, SECRC, rings of 16 with 8 filled, ICR polled with IMS clear. */
static void ipxe_polls(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_RST);
    assert_int_equal(driver_get(d, E1000_RAL0), 0x12005452);
    assert_int_equal(driver_get(d, E1000_RAH0), 0x80005634);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_SLU | 1 << 5);
    assert_int_equal(driver_get(d, E1000_STATUS) & STATUS_LU, STATUS_LU);
    e1000_set_pci_command(d->nic, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver_tx_ring(d, DRIVER_TX_RING, 16);
    driver_put(d, E1000_TXDCTL, 1 << 25);
    driver_rx_ring(d, DRIVER_RX_RING, 16);
    driver_put(d, E1000_RXDCTL, 1 << 25);
    driver_put(d, E1000_TCTL, TCTL_EN | TCTL_PSP);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
    driver_rx_refill(d, 8);
    for (uint32_t round = 0; round < 40; round++) {
        driver_queue_tx(d, 42, TXD_CMD_RS | TXD_CMD_IFCS | TXD_CMD_EOP);
        e1000_poll(d->nic, 16);
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 342), 342), 0);
        const uint32_t icr = driver_get(d, E1000_ICR);
        assert_int_equal(icr & (IRQ_TXDW | IRQ_RXT0), IRQ_TXDW | IRQ_RXT0);
        assert_int_equal(driver_tx_status(d, round % 16), TXD_STATUS_DD);
        assert_int_equal(driver_rx(d, round % 16).length, 342);
        driver_rx_refill(d, 1);
    }
    assert_int_equal(d->frames, 40);
    assert_int_equal(d->irq_edges, 0);
}

/* Windows: up to 45 descriptors in one segmented packet, the header in one of its own. */
static void windows_sends_45_descriptors_in_one_packet(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {
        .ipcss = 14,
        .ipcso = 24,
        .ipcse = 33,
        .tucss = 34,
        .tucso = 50,
        .paylen = 44 * 1000,
        .tucmd = 7,
        .hdrlen = 54,
        .mss = 1460,
    };

    driver_start(d);
    for (uint32_t i = 0; i < 44 * 1000 + 54; i++)
        d->ram[DRIVER_TX_BUFFERS + i] = (uint8_t)(i * 7 + i / 256);
    driver_queue_context(d, &context);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 54, TXD_CMD_TSE, 0, 0);
    for (uint32_t i = 0; i < 44; i++)
        driver_queue_data(d, DRIVER_TX_BUFFERS + 54 + i * 1000, 1000,
                          (uint8_t)(TXD_CMD_TSE | (i == 43 ? TXD_CMD_EOP | TXD_CMD_RS : 0)), 0, 0);
    e1000_poll(d->nic, 64);
    assert_int_equal(d->frames, 31);
    for (uint32_t i = 0; i < 31; i++)
        assert_memory_equal(d->frame[i].data + 54, d->ram + DRIVER_TX_BUFFERS + 54 + i * 1460,
                            i < 30 ? 1460 : 200);
    assert_int_equal(driver_tx_status(d, 45), TXD_STATUS_DD);
}

/* Windows XP: adds 15 receive descriptors at a time. */
static void windows_xp_adds_15_descriptors_at_a_time(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    for (uint32_t round = 0; round < 20; round++) {
        driver_rx_refill(d, 15);
        for (uint32_t i = 0; i < 15; i++)
            assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 600), 600), 0);
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 600), 600), E1000_ERR_NO_BUFFER);
    }
}

/* Windows 10, quirk 2.13: RCTL.EN before the receive ring is set. */
static void the_receive_ring_may_be_set_after_enable(void **state)
{
    struct driver *d = *state;

    e1000_set_pci_command(d->nic, PCI_COMMAND_MASTER);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), E1000_ERR_RING);
    driver_rx_ring(d, DRIVER_RX_RING, 8);
    driver_rx_refill(d, 7);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
}

/* Toro: a driver that forgets the bus master bit gets no DMA and no crash. */
static void no_bus_master_no_dma(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    e1000_set_pci_command(d->nic, PCI_COMMAND_MEMORY);
    driver_rx_refill(d, 7);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    assert_int_equal(e1000_poll(d->nic, 64), 0);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), E1000_ERR_RX_DISABLED);
    assert_int_equal(d->reads + d->writes, 0);
    assert_false(e1000_work_pending(d->nic));
}

/* DOS packet driver: a small ring, one descriptor given back after each frame, so that a card that
 * looks ahead must not hand out what it looked at twice. */
static void dos_gives_back_one_descriptor_at_a_time(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    driver_rx_ring(d, DRIVER_RX_RING, 8);
    driver_rx_refill(d, 7);
    for (uint32_t i = 0; i < 40; i++) {
        const uint32_t bytes = 60 + i;

        assert_int_equal(e1000_receive(d->nic, driver_frame(d, bytes), bytes), 0);
        e1000_poll(d->nic, 8);
        assert_int_equal(driver_rx(d, i % 8).length, bytes + 4);
        assert_int_equal(driver_rx(d, (i + 1) % 8).status & (i < 7 ? RXD_STATUS_DD : 0), 0);
        driver_rx_refill(d, 1);
    }
}

/* Windows 98 can't load its driver again after a restore: the MAC it set is still there. */
static void windows_98_keeps_its_mac_over_a_restore(void **state)
{
    static const uint8_t set[] = {2, 3, 4, 5, 6, 7};
    static uint8_t blob[1 << 20];
    struct driver *d = *state;
    uint8_t mac[6];

    driver_put(d, E1000_RAL0, 0x05040302);
    driver_put(d, E1000_RAH0, 0x80000706);
    const size_t bytes = e1000_save(d->nic, NULL, blob, sizeof blob);
    assert_true(bytes <= sizeof blob);
    driver_power_on(d, &d->config);
    assert_int_equal(e1000_load(d->nic, blob, bytes), 0);
    e1000_mac(d->nic, mac);
    assert_memory_equal(mac, set, sizeof mac);
    assert_int_equal(driver_get(d, E1000_RAL0), 0x05040302);
}

/* MINIX, SerenityOS, MOROS: odd orders of initialisation; every rotation of the writes works,
 * forwards and backwards, if the tails come last. */
static void any_order_of_initialisation_works(void **state)
{
    static const uint32_t writes[][2] = {
        {E1000_TCTL, TCTL_EN},
        {E1000_TDBAL, DRIVER_TX_RING},
        {E1000_TDLEN, 128},
        {E1000_TDH, 0},
        {E1000_RCTL, RCTL_EN | RCTL_UPE},
        {E1000_RDBAL, DRIVER_RX_RING},
        {E1000_RDLEN, 128},
        {E1000_RDH, 0},
        {E1000_IMS, IRQ_RXT0},
    };
    enum { WRITES = sizeof writes / sizeof writes[0] };
    struct driver *d = *state;

    for (uint32_t order = 0; order < 2 * WRITES; order++) {
        driver_start(d);
        driver_tx_ring(d, DRIVER_TX_RING, 8);
        driver_rx_ring(d, DRIVER_RX_RING, 8);
        driver_put(d, E1000_CTRL, CTRL_RST);
        driver_frames_clear(d);
        for (uint32_t i = 0; i < WRITES; i++) {
            const uint32_t at = (order < WRITES ? order + i : 3 * WRITES - order - i) % WRITES;

            driver_put(d, writes[at][0], writes[at][1]);
            e1000_poll(d->nic, 8);
        }
        driver_queue_tx(d, 60, TXD_CMD_EOP);
        driver_rx_refill(d, 3);
        e1000_poll(d->nic, 8);
        assert_int_equal(d->frames, 1);
        assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
        assert_true(d->irq);
        assert_true((driver_get(d, E1000_ICR) & IRQ_RXT0) != 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(linux_attaches),
        T(napi_loses_no_interrupt),
        T(ipxe_polls),
        T(windows_sends_45_descriptors_in_one_packet),
        T(windows_xp_adds_15_descriptors_at_a_time),
        T(the_receive_ring_may_be_set_after_enable),
        T(no_bus_master_no_dma),
        T(dos_gives_back_one_descriptor_at_a_time),
        T(windows_98_keeps_its_mac_over_a_restore),
        T(any_order_of_initialisation_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
