/* Hostile guests: spec/e1000.md §13, quirks §2 (the defects of other models, by name). */
#include "driver.h"

#include <string.h>

static const uint64_t bad_places[] = {
    DRIVER_RAM_BYTES - 8, /* over the end of RAM */
    DRIVER_RAM_BYTES,     /* out of range */
    0xb0000000,           /* the hole */
    0xfffffff0,           /* hole into high memory */
    0xffffffffffffff00,   /* the last place where a ring of 16 fits */
};

/* §13: rings at any address. */
static void rings_at_any_address(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof bad_places / sizeof bad_places[0]; i++) {
        driver_put(d, E1000_TDBAL, (uint32_t)bad_places[i]);
        driver_put(d, E1000_TDBAH, (uint32_t)(bad_places[i] >> 32));
        driver_put(d, E1000_TDLEN, 256);
        driver_put(d, E1000_TDH, 0);
        driver_put(d, E1000_TDT, 15);
        driver_put(d, E1000_RDBAL, (uint32_t)bad_places[i]);
        driver_put(d, E1000_RDBAH, (uint32_t)(bad_places[i] >> 32));
        driver_put(d, E1000_RDLEN, 256);
        driver_put(d, E1000_RDH, 0);
        driver_put(d, E1000_RDT, 15);
        assert_int_equal(e1000_poll(d->nic, 64), 15);
        e1000_rx_offer(d->nic, driver_frame(d, 100), 100);
    }
    assert_int_equal(d->frames, 0);
    assert_true(e1000_stats(d->nic)->tx_bad_ring > 0);
}

/* CVE-2016-1981: heads and tails beyond the ring must not spin. */
static void cve_2016_1981_heads_beyond_the_ring(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TDLEN, 128);
    driver_put(d, E1000_TDH, 0xfff3);
    driver_put(d, E1000_TDT, 0xffff);
    assert_int_equal(e1000_poll(d->nic, 4096), 4);
    assert_int_equal(driver_get(d, E1000_TDH), 7);
    driver_put(d, E1000_RDLEN, 128);
    driver_put(d, E1000_RDH, 0xfff3);
    driver_put(d, E1000_RDT, 0xffff);
    for (uint32_t i = 0; i < 8; i++)
        le64_put(d->ram + DRIVER_RX_RING + 16 * i, DRIVER_RX_BUFFERS);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 4);
}

/* CVE-2015-6815, CVE-2021-20257: segmentation makes progress whatever the context says. */
static void cve_2021_20257_segments_always_progress(void **state)
{
    struct driver *d = *state;
    static const uint32_t values[] = {0, 1, 8, 54, 255, 65535};

    for (uint32_t i = 0; i < 6 * 6 * 6; i++) {
        const struct driver_context context = {
            .tucss = (uint8_t)values[i % 6],
            .tucso = 255,
            .ipcss = 250,
            .ipcso = 255,
            .paylen = values[i / 6 % 6] * 16,
            .tucmd = (uint8_t)(TXD_CMD_TSE | i % 4),
            .hdrlen = (uint8_t)values[i / 36],
            .mss = (uint16_t)values[i / 6 % 6],
        };

        driver_queue_context(d, &context);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 200, TXD_CMD_TSE, 3, 0);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 0, TXD_CMD_TSE, 3, 0);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 300, TXD_CMD_TSE | TXD_CMD_EOP, 3, 0);
        assert_int_equal(e1000_poll(d->nic, 64), 4);
    }
}

/* §13: all-ones descriptors (the hole's filler). */
static void all_ones_descriptors(void **state)
{
    struct driver *d = *state;

    memset(d->ram + DRIVER_TX_RING, 0xff, 16 * 63);
    driver_put(d, E1000_TDT, 63);
    assert_int_equal(e1000_poll(d->nic, 64), 63);
    memset(d->ram + DRIVER_RX_RING, 0xff, 16 * 63);
    driver_put(d, E1000_RDT, 63);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 1000), 1000), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 1);
}

/* §13: self-overlapping rings and buffers. */
static void rings_that_overlap_their_buffers(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TDBAL, DRIVER_RX_RING);
    for (uint32_t i = 0; i < 63; i++)
        le64_put(d->ram + DRIVER_RX_RING + 16 * i, DRIVER_RX_RING + 8 * i);
    driver_put(d, E1000_RDT, 63);
    driver_put(d, E1000_TDT, 63);
    for (uint32_t i = 0; i < 40; i++) {
        e1000_rx_offer(d->nic, driver_frame(d, 1000), 1000);
        e1000_poll(d->nic, 64);
    }
}

/* CVE-2012-6075: a frame longer than its buffer without LPE, and with SBP: never past it. */
static void cve_2012_6075_frames_longer_than_the_buffer(void **state)
{
    struct driver *d = *state;
    static const uint32_t rctl[] = {0, RCTL_SBP, RCTL_LPE, RCTL_SBP | RCTL_LPE};

    for (uint32_t i = 0; i < 4; i++) {
        driver_rx_ring(d, DRIVER_RX_RING, DRIVER_RING);
        driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT | rctl[i]);
        driver_rx_refill(d, 63);
        d->writes = 0;
        (void)e1000_rx_offer(d->nic, driver_frame(d, 16000), 16000);
        (void)e1000_rx_offer(d->nic, driver_frame(d, 1600), 1600);
        for (uint32_t w = 0; w < d->writes; w++) {
            const struct driver_write *write = &d->write[w];

            assert_true(write->bytes <= 256);
            if (write->gpa >= DRIVER_RX_BUFFERS)
                assert_true((write->gpa - DRIVER_RX_BUFFERS) % DRIVER_BUFFER_BYTES == 0);
        }
    }
}

/* CVE-2015-6815: descriptors of no bytes inside a segmented packet. */
static void cve_2015_6815_empty_chunks(void **state)
{
    struct driver *d = *state;
    const struct driver_context context = {
        .tucss = 34, .tucso = 50, .paylen = 0, .tucmd = 7, .hdrlen = 54, .mss = 1};

    driver_queue_context(d, &context);
    for (uint32_t i = 0; i < 40; i++)
        driver_queue_data(d, DRIVER_TX_BUFFERS, 0, TXD_CMD_TSE, 3, 0);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 0, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS, 3, 0);
    assert_int_equal(e1000_poll(d->nic, 64), 42);
    assert_int_equal(d->frames, 0);
    assert_int_equal(driver_tx_status(d, 41), TXD_STATUS_DD);
}

/* CVE-2016-2857: lengths inside the packet are never believed. */
static void cve_2016_2857_lengths_in_the_packet(void **state)
{
    struct driver *d = *state;

    memset(d->ram + DRIVER_TX_BUFFERS, 0xff, 100);
    be16_put(d->ram + DRIVER_TX_BUFFERS + 12, ETH_TYPE_IPV4);
    d->ram[DRIVER_TX_BUFFERS + 14] = 0x4f; /* a header of 60 bytes in 20 */
    const struct driver_context context = {
        .ipcss = 14, .ipcso = 24, .ipcse = 0, .tucss = 33, .tucso = 30};
    driver_queue_context(d, &context);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 34, TXD_CMD_EOP, 3, 0);
    e1000_poll(d->nic, 8);
    assert_int_equal(d->frame[0].bytes, 34); /* the sink's block ends at an unreadable page */
}

/* CVE-2022-23087: checksum offsets past the header, past the frame, in every combination. */
static void cve_2022_23087_checksum_offsets(void **state)
{
    struct driver *d = *state;
    static const uint8_t places[] = {0, 13, 53, 54, 57, 58, 59, 60, 254, 255};

    for (uint32_t i = 0; i < 1000; i++) {
        const struct driver_context context = {
            .ipcss = places[i % 10],
            .ipcso = places[i / 10 % 10],
            .ipcse = places[i / 100],
            .tucss = places[i / 10 % 10],
            .tucso = places[i % 10],
            .tucse = places[i / 100],
            .paylen = 6,
            .tucmd = (uint8_t)(TXD_CMD_TSE | i % 4),
            .hdrlen = 54,
            .mss = 4,
        };

        driver_queue_context(d, &context);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 60, TXD_CMD_EOP | TXD_CMD_TSE, 3, 0);
        assert_int_equal(e1000_poll(d->nic, 8), 2);
        driver_frames_clear(d);
    }
}

/* CVE-2017-10235: PAYLEN, HDRLEN and MSS change between the data descriptors of a packet that
 * is looped back. */
static void cve_2017_10235_contexts_inside_a_looped_packet(void **state)
{
    struct driver *d = *state;
    struct driver_context context = {
        .tucss = 34, .tucso = 50, .paylen = 100, .tucmd = 7, .hdrlen = 54, .mss = 50};

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | 3 << RCTL_LBM_SHIFT);
    driver_rx_refill(d, 60);
    for (uint32_t i = 0; i < 60; i++) {
        driver_queue_context(d, &context);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 40 + i, TXD_CMD_TSE, 3, 0);
        context.paylen = i * 4099 % 0x100000;
        context.hdrlen = (uint8_t)(i * 37);
        context.mss = (uint16_t)(i * 1021);
        driver_queue_context(d, &context);
        driver_queue_data(d, DRIVER_TX_BUFFERS, 3000, TXD_CMD_TSE | TXD_CMD_EOP, 3, 0);
        assert_int_equal(e1000_poll(d->nic, 64), 4);
    }
}

/* CVE-2020-16092: buffers of odd sizes at odd addresses, across the end of RAM. */
static void cve_2020_16092_odd_fragments(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < 15; i++) {
        driver_queue_legacy(d, DRIVER_RAM_BYTES - 7 + i, 2 * i + 1, 0, 0, 0, 0);
        driver_queue_legacy(d, UINT64_MAX - i, 2 * i + 1, 0, TXD_CMD_EOP, 0, 0);
    }
    assert_int_equal(e1000_poll(d->nic, 64), 30);
    driver_rx_refill(d, 8);
    le64_put(d->ram + DRIVER_RX_RING, UINT64_MAX - 3);
    le64_put(d->ram + DRIVER_RX_RING + 16, DRIVER_RAM_BYTES - 3);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 99), 99), 0);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 99), 99), 0);
}

/* CVE-2020-28916: null buffers, with the receive ring full of them. */
static void cve_2020_28916_null_receive_buffers(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_LPE | 3 << RCTL_BSIZE_SHIFT);
    driver_put(d, E1000_RDLEN, 65536 * 16);
    driver_put(d, E1000_RDBAL, 0x400000); /* out of range: reads as zeros */
    driver_put(d, E1000_RDT, 0xffff);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 9000), 9000), E1000_ERR_NO_BUFFER);
    assert_true(d->reads <= 65536);
    assert_int_equal(driver_get(d, E1000_RDH), 0xffff);
}

static void poke_registers(struct driver *d)
{
    e1000_mmio_write(d->nic, E1000_CTRL, 4, CTRL_RST);
    e1000_mmio_write(d->nic, E1000_TDH, 4, 0);
    assert_int_equal(e1000_poll(d->nic, 64), 0);
    assert_true(e1000_rx_offer(d->nic, driver_frame(d, 60), 60) < 0);
    assert_true(e1000_receive(d->nic, driver_frame(d, 60), 60) < 0);
    e1000_reset(d->nic);
}

/* CVE-2023-3019: DMA that lands in the card's own registers changes nothing. */
static void cve_2023_3019_dma_into_the_card(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 8);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_tx(d, 60, TXD_CMD_EOP | TXD_CMD_RS);
    d->on_dma = poke_registers;
    assert_int_equal(e1000_poll(d->nic, 64), 2);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    assert_int_equal(d->frames, 2);
    assert_int_equal(driver_get(d, E1000_TDH), 2);
}

/* CVE-2021-3416: loopback goes through the queue, however many frames. */
static void cve_2021_3416_loopback_does_not_recurse(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | 3 << RCTL_LBM_SHIFT);
    driver_put(d, E1000_RDBAL, DRIVER_TX_RING); /* looped data over the transmit ring itself */
    driver_put(d, E1000_RDT, 63);
    for (uint32_t i = 0; i < 63; i++)
        driver_queue_tx(d, 1514, TXD_CMD_EOP);
    for (uint32_t i = 0; i < 8; i++)
        e1000_poll(d->nic, 4096);
    assert_true(d->nic->queue.frames <= E1000_QUEUE_FRAMES);
}

/* §13: register writes of every size and offset, then traffic. */
static void junk_in_every_register(void **state)
{
    struct driver *d = *state;

    for (uint32_t pass = 0; pass < 4; pass++) {
        static const uint32_t junk[] = {0xffffffff, 0x80000001, 0x7fffffff, 0x55aa55aa};

        for (uint32_t offset = 0; offset < 0x6000; offset++)
            e1000_mmio_write(d->nic, offset, 1u << (offset & 1) * (pass & 1), junk[pass]);
        e1000_set_pci_command(d->nic, 0xffff);
        e1000_poll(d->nic, 4096);
        e1000_rx_offer(d->nic, driver_frame(d, 1500), 1500);
        e1000_receive(d->nic, driver_frame(d, 1500), 1500);
        for (uint32_t offset = 0; offset < E1000_MMIO_BYTES + 16; offset++)
            (void)e1000_mmio_read(d->nic, offset, 2);
        e1000_poll(d->nic, 4096);
    }
}

/* quirk 2.38: a clock that jumps by hours only makes timers due. */
static void the_clock_jumps(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 8);
    driver_put(d, E1000_ITR, 0xffff);
    driver_put(d, E1000_RDTR, 0xffff);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    d->now_ns += UINT64_C(86400000000000);
    e1000_poll(d->nic, 1);
    assert_true(d->irq);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rings_at_any_address),
        T(cve_2016_1981_heads_beyond_the_ring),
        T(cve_2021_20257_segments_always_progress),
        T(all_ones_descriptors),
        T(rings_that_overlap_their_buffers),
        T(cve_2012_6075_frames_longer_than_the_buffer),
        T(cve_2015_6815_empty_chunks),
        T(cve_2016_2857_lengths_in_the_packet),
        T(cve_2017_10235_contexts_inside_a_looped_packet),
        T(cve_2020_16092_odd_fragments),
        T(cve_2020_28916_null_receive_buffers),
        T(cve_2022_23087_checksum_offsets),
        T(cve_2023_3019_dma_into_the_card),
        T(cve_2021_3416_loopback_does_not_recurse),
        T(junk_in_every_register),
        T(the_clock_jumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
