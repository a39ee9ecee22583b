/* Receive: spec/e1000.md §8.1, §8.3. */
#include "driver.h"

#include <string.h>

static const char arp_request[] = "ffffffffffff 525400123456 0806 0001 0800 06 04 0001"
                                  "525400123456 0a00020f 000000000000 0a000202";

static uint32_t arp_frame(struct driver *d, uint8_t *frame)
{
    const uint32_t bytes = driver_hex(d, 0x3000, arp_request);

    memcpy(frame, d->ram + 0x3000, bytes);
    return bytes;
}

static void offer_arp(struct driver *d)
{
    uint8_t frame[64];
    const uint32_t bytes = arp_frame(d, frame);

    assert_int_equal(bytes, 42);
    le64_put(d->ram + DRIVER_RX_RING, 0x123400);
    driver_put(d, E1000_RDT, 2);
    assert_int_equal(e1000_rx_offer(d->nic, frame, bytes), 0);
}

/* §8.3, example: padded to 60, FCS behind it and counted. */
static void arp_example_with_fcs(void **state)
{
    struct driver *d = *state;

    offer_arp(d);
    driver_assert_hex(d->ram + DRIVER_RX_RING, "00 34 12 00 00 00 00 00 40 00 00 00 07 00 00 00");
    driver_assert_hex(d->ram + 0x123400, arp_request);
    driver_assert_hex(d->ram + 0x123400 + 42, "000000000000000000000000000000000000 8b1fe63c");
    assert_int_equal(driver_get(d, E1000_RDH), 1);
}

/* §8.3, example: SECRC = 1. */
static void arp_example_with_stripped_fcs(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
    offer_arp(d);
    driver_assert_hex(d->ram + DRIVER_RX_RING, "00 34 12 00 00 00 00 00 3c 00 00 00 07 00 00 00");
    driver_assert_hex(d->ram + 0x123400 + 60, "00000000");
}

static int offer(struct driver *d, uint32_t bytes)
{
    return e1000_rx_offer(d->nic, driver_frame(d, bytes), bytes);
}

/* §8.3.4: split over descriptors, each with its length, EOP only on the last; quirk 2.15. */
static void a_frame_is_split_over_descriptors(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 8);
    for (uint32_t i = 0; i < 8; i++) /* what an earlier round may have left there */
        memset(d->ram + DRIVER_RX_RING + i * 16 + 8, 0xff, 8);
    assert_int_equal(offer(d, 600), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    const uint8_t *frame = driver_frame(d, 600);
    for (uint32_t i = 0; i < 3; i++) {
        const struct driver_rx rx = driver_rx(d, i);
        const uint32_t bytes = i < 2 ? 256 : 604 - 512;

        assert_int_equal(rx.length, bytes);
        assert_int_equal(rx.status, i < 2 ? 1 : 7);
        assert_int_equal(rx.errors, 0);
        assert_int_equal(rx.special, 0);
        assert_memory_equal(d->ram + rx.buffer, frame + 256 * i, i < 2 ? 256 : 88);
    }
}

/* choices: the 4 FCS bytes may spill into a descriptor of their own. */
static void the_fcs_may_spill_into_another_descriptor(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 8);
    assert_int_equal(offer(d, 510), 0);
    assert_int_equal(driver_rx(d, 1).length, 256);
    assert_int_equal(driver_rx(d, 1).status, RXD_STATUS_DD);
    assert_int_equal(driver_rx(d, 2).length, 2);
    const uint32_t fcs = ethernet_fcs(driver_frame(d, 510), 510);
    assert_int_equal(le16_get(d->ram + driver_rx(d, 1).buffer + 254), fcs & 0xffff);
    assert_int_equal(le16_get(d->ram + driver_rx(d, 2).buffer), fcs >> 16);
}

/* §8.3, BSEX and BSIZE: the manual's sizes. */
static void buffer_sizes_are_the_manuals(void **state)
{
    static const uint32_t sizes[2][4] = {{2048, 1024, 512, 256}, {16384, 16384, 8192, 4096}};
    struct driver *d = *state;

    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t size = sizes[i / 4][i % 4];

        driver_rx_ring(d, DRIVER_RX_RING, DRIVER_RING);
        driver_put(d, E1000_RCTL,
                   RCTL_EN | RCTL_UPE | RCTL_LPE | RCTL_SECRC | (i % 4) << RCTL_BSIZE_SHIFT |
                       (i >= 4 ? RCTL_BSEX : 0));
        driver_rx_refill(d, 60);
        assert_int_equal(offer(d, size), 0);
        assert_int_equal(driver_get(d, E1000_RDH), 1);
        if (size < E1000_FRAME_MAX_BYTES) {
            assert_int_equal(offer(d, size + 1), 0);
            assert_int_equal(driver_get(d, E1000_RDH), 3);
        }
    }
}

/* §8.1: head = tail means no free descriptor: n - 1 are usable; quirk 2.14. */
static void n_minus_1_descriptors_are_usable(void **state)
{
    struct driver *d = *state;

    driver_rx_ring(d, DRIVER_RX_RING, 8);
    driver_rx_refill(d, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(offer(d, 60), 0);
    assert_int_equal(offer(d, 60), E1000_ERR_NO_BUFFER);
    assert_int_equal(driver_get(d, E1000_RDH), driver_get(d, E1000_RDT));
    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 60), 0);
}

/* §8.3.5: not enough free descriptors for the whole packet: deliver nothing. */
static void a_partial_set_of_buffers_is_not_consumed(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 2);
    assert_int_equal(offer(d, 600), E1000_ERR_NO_BUFFER);
    assert_int_equal(driver_get(d, E1000_RDH), 0);
    assert_int_equal(driver_rx(d, 0).status, 0);
    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 600), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    assert_int_equal(driver_get(d, E1000_TPR), 1);
}

/* seam, e1000_work_pending: no host spins on a frame that cannot be delivered yet. */
static void work_is_pending_only_when_a_poll_helps(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 2);
    assert_false(e1000_work_pending(d->nic));
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 600), 600), 0);
    assert_false(e1000_work_pending(d->nic));
    driver_rx_refill(d, 1);
    assert_true(e1000_work_pending(d->nic));
    e1000_poll(d->nic, 1);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    assert_false(e1000_work_pending(d->nic));
}

/* choices, frame larger than all free descriptors: when no refill can help, dropped whole. */
static void a_frame_larger_than_the_ring_is_dropped(void **state)
{
    struct driver *d = *state;

    driver_rx_ring(d, DRIVER_RX_RING, 3);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 2);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 600), 600), 0);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), 0);
    e1000_poll(d->nic, 1);
    assert_int_equal(driver_get(d, E1000_ICR) & IRQ_RXO, IRQ_RXO);
    assert_int_equal(driver_get(d, E1000_MPC), 1);
    assert_int_equal(driver_get(d, E1000_RNBC), 1);
    assert_int_equal(driver_get(d, E1000_RDH), 1);
    assert_int_equal(driver_rx(d, 0).length, 64);
}

/* §8.3.6; quirks 2.5 and 2.17: a null buffer is written back with DD and skipped. */
static void null_buffers_are_skipped(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 8);
    le64_put(d->ram + DRIVER_RX_RING, 0);
    le64_put(d->ram + DRIVER_RX_RING + 16, 0);
    assert_int_equal(offer(d, 60), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    assert_int_equal(driver_rx(d, 0).status, RXD_STATUS_DD);
    assert_int_equal(driver_rx(d, 0).length, 0);
    assert_int_equal(driver_rx(d, 2).status, 7);
    assert_int_equal(d->ram[0], 0);
}

static void a_null_buffer_inside_a_frame(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 8);
    le64_put(d->ram + DRIVER_RX_RING + 16, 0);
    assert_int_equal(offer(d, 500), 0);
    assert_int_equal(driver_get(d, E1000_RDH), 3);
    assert_int_equal(driver_rx(d, 1).status, RXD_STATUS_DD);
    assert_int_equal(driver_rx(d, 1).length, 0);
    assert_int_equal(driver_rx(d, 2).length, 248);
    assert_int_equal(driver_rx(d, 2).status, 7);
}

/* CVE-2020-28916: a ring of null buffers only: every one skipped once, then no buffer. */
static void a_ring_of_null_buffers_ends(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RDT, 63);
    assert_int_equal(offer(d, 60), E1000_ERR_NO_BUFFER);
    assert_int_equal(driver_get(d, E1000_RDH), 63);
    const uint32_t reads = d->reads;
    assert_int_equal(offer(d, 60), E1000_ERR_NO_BUFFER);
    assert_int_equal(d->reads, reads);
}

/* §8.3: data before the descriptor's status byte; quirk 2.16: DD in a later write of its own. */
static void the_status_byte_is_written_last(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 60), 0);
    assert_true(d->writes >= 2);
    const struct driver_write *last = &d->write[d->writes - 1];
    assert_int_equal(last->gpa, DRIVER_RX_RING + DESC_STATUS_AT);
    assert_int_equal(last->bytes, 1);
    assert_int_equal(d->write[0].gpa, driver_rx(d, 0).buffer);
}

static void status_follows_data(struct driver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    if (write)
        assert_int_equal(driver_rx(d, 0).status, gpa == DRIVER_RX_RING + 8 ? 7 : 0);
    (void)bytes;
}

/* The same where guest memory is mapped: there a write is a store, told of afterwards. */
static void the_status_byte_is_stored_last(void **state)
{
    struct driver *d = *state;

    d->map = true;
    d->watch = status_follows_data;
    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 60), 0);
    assert_int_equal(d->writes, 2);
    assert_int_equal(d->write[0].gpa, driver_rx(d, 0).buffer);
    assert_int_equal(d->write[1].gpa, DRIVER_RX_RING + 8);
    assert_int_equal(d->write[1].bytes, 8);
}

/* choices, errors and checksum fields: the whole upper half is written. */
static void the_whole_upper_half_is_written(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 2);
    memset(d->ram + DRIVER_RX_RING + 8, 0xff, 8);
    assert_int_equal(offer(d, 60), 0);
    driver_assert_hex(d->ram + DRIVER_RX_RING + 8, "40 00 00 00 07 00 00 00");
}

/* §8.1: frames of 14..1522 bytes are accepted; §8.2, ROC; choices, 1519..1522 accepted. */
static void sizes_the_card_accepts(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 60);
    assert_int_equal(offer(d, 13), E1000_ERR_FRAME_SIZE);
    assert_int_equal(offer(d, 14), 0);
    assert_int_equal(offer(d, 1522), 0);
    assert_int_equal(driver_rx(d, 1).length, 1526);
    assert_int_equal(offer(d, 1523), E1000_ERR_FRAME_SIZE);
    assert_int_equal(driver_get(d, E1000_ROC), 1);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 1523), 1523), E1000_ERR_FRAME_SIZE);
    assert_int_equal(driver_get(d, E1000_ROC), 1);
}

/* §8.2; quirks 2.4 and 2.30: LPE or SBP take longer ones, never past the buffers. */
static void jumbo_frames_with_lpe_or_sbp(void **state)
{
    struct driver *d = *state;
    static const uint32_t bits[] = {RCTL_LPE, RCTL_SBP};

    for (uint32_t i = 0; i < 2; i++) {
        driver_rx_ring(d, DRIVER_RX_RING, DRIVER_RING);
        driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | bits[i]);
        driver_rx_refill(d, 60);
        assert_int_equal(offer(d, 16384), 0);
        assert_int_equal(driver_get(d, E1000_RDH), 9);
        assert_int_equal(driver_rx(d, 8).length, 4);
        assert_int_equal(offer(d, 16385), E1000_ERR_FRAME_SIZE);
        for (uint32_t slot = 0; slot < 8; slot++)
            assert_memory_equal(d->ram + driver_rx(d, slot).buffer,
                                driver_frame(d, 16384) + 2048 * slot, 2048);
    }
}

/* §8.1: RCTL.EN, bus master, STATUS.LU: otherwise the frame is lost; quirk 2.40. */
static void a_receiver_that_is_off_drops(void **state)
{
    struct driver *d = *state;

    driver_rx_refill(d, 8);
    driver_put(d, E1000_RCTL, 0);
    assert_int_equal(offer(d, 60), E1000_ERR_RX_DISABLED);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), E1000_ERR_RX_DISABLED);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE);
    e1000_set_pci_command(d->nic, 0);
    assert_int_equal(offer(d, 60), E1000_ERR_RX_DISABLED);
    e1000_set_pci_command(d->nic, PCI_COMMAND_MASTER);
    e1000_set_link(d->nic, false);
    assert_int_equal(offer(d, 60), E1000_ERR_RX_DISABLED);
    e1000_set_link(d->nic, true);
    assert_int_equal(e1000_stats(d->nic)->rx_dropped_off, 4);
    assert_int_equal(d->reads + d->writes, 0);
    assert_int_equal(offer(d, 60), 0);
}

/* §8.1: the queue holds 256 frames; the newest is dropped: MPC and RXO; quirk 2.18. */
static void the_queue_holds_256_frames(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < 256; i++)
        assert_int_equal(e1000_receive(d->nic, driver_frame(d, 1000 + i), 1000 + i), 0);
    assert_int_equal(driver_get(d, E1000_ICR), 0);
    assert_int_equal(driver_get(d, E1000_RNBC), 256);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), E1000_ERR_NO_BUFFER);
    assert_int_equal(driver_get(d, E1000_ICR), IRQ_RXO);
    assert_int_equal(driver_get(d, E1000_MPC), 1);
    assert_int_equal(e1000_stats(d->nic)->rx_dropped_full, 1);
    for (uint32_t i = 0; i < 256; i++) { /* nothing of it is lost, and in order */
        driver_rx_refill(d, 1);
        e1000_poll(d->nic, 1);
        assert_int_equal(driver_rx(d, i % DRIVER_RING).length, 1004 + i);
    }
    assert_int_equal(d->nic->queue.frames, 0);
}

/* The queue's bytes wrap; what comes out is what went in. */
static void the_queue_keeps_frames_whole_over_its_end(void **state)
{
    struct driver *d = *state;
    uint32_t seed = 1;

    for (uint32_t round = 0; round < 4000; round++) {
        seed = seed * 1664525 + 1013904223;
        const uint32_t bytes = 14 + (seed >> 8) % 1509;

        assert_int_equal(e1000_receive(d->nic, driver_frame(d, bytes), bytes), 0);
        if (round < 250)
            continue;
        driver_rx_refill(d, 1);
        e1000_poll(d->nic, 1);
    }
    assert_int_equal(d->nic->queue.frames, 250);
    assert_int_equal(e1000_stats(d->nic)->rx_frames, 3750);
}

/* seam: a frame that is offered comes behind those that wait. */
static void an_offered_frame_waits_its_turn(void **state)
{
    struct driver *d = *state;

    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 100), 100), 0);
    assert_int_equal(offer(d, 200), E1000_ERR_NO_BUFFER);
    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 200), E1000_ERR_NO_BUFFER);
    assert_int_equal(driver_rx(d, 0).length, 104);
    driver_rx_refill(d, 1);
    assert_int_equal(offer(d, 200), 0);
    assert_int_equal(driver_rx(d, 1).length, 204);
}

/* §8.3.2: the tag is removed, its TCI in special, VP set; choices: not padded again. */
static void vlan_tag_is_stripped_with_vme(void **state)
{
    struct driver *d = *state;
    uint8_t frame[60] = {0};

    memcpy(frame, driver_frame(d, 60), 60);
    be16_put(frame + 12, 0x8100);
    be16_put(frame + 14, 0x6123);
    be16_put(frame + 16, 0x0800);
    driver_rx_refill(d, 8);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 60), 0);
    assert_int_equal(driver_rx(d, 0).length, 64);
    assert_int_equal(driver_rx(d, 0).status & RXD_STATUS_VP, 0);
    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    assert_int_equal(e1000_rx_offer(d->nic, frame, 60), 0);
    const struct driver_rx rx = driver_rx(d, 1);
    assert_int_equal(rx.length, 60);
    assert_int_equal(rx.special, 0x6123);
    assert_int_equal(rx.status & RXD_STATUS_VP, RXD_STATUS_VP);
    assert_memory_equal(d->ram + rx.buffer, frame, 12);
    assert_memory_equal(d->ram + rx.buffer + 12, frame + 16, 44);
    driver_put(d, E1000_VET, 0x88a8); /* another type is no tag */
    assert_int_equal(e1000_rx_offer(d->nic, frame, 60), 0);
    assert_int_equal(driver_rx(d, 2).length, 64);
}

static uint8_t checksum_bits(struct driver *d, const char *frame, uint8_t *errors)
{
    uint8_t bytes[200];
    const uint32_t count = driver_hex(d, 0x3000, frame);

    memcpy(bytes, d->ram + 0x3000, count);
    const uint32_t slot = driver_get(d, E1000_RDH);
    driver_rx_refill(d, 1);
    assert_int_equal(e1000_rx_offer(d->nic, bytes, count), 0);
    *errors = driver_rx(d, slot).errors;
    return driver_rx(d, slot).status & 0x64;
}

/* The first segment of §7.4's example, and its variations. */
#define ETH      "525400123456 020000000002 0800"
#define IP_GOOD  "4500002c123440004006e6ae0a00020f5db8d822"
#define TCP_GOOD "c0000050010203040a0b0c0d50102000eef10000 41424344"

/* §8.3, checksum status. */
static void rxcsum_gives_verdicts(void **state)
{
    struct driver *d = *state;
    uint8_t errors;

    assert_int_equal(checksum_bits(d, ETH IP_GOOD TCP_GOOD, &errors), RXD_STATUS_IXSM);
    driver_put(d, E1000_RXCSUM, RXCSUM_IPOFL);
    assert_int_equal(checksum_bits(d, ETH IP_GOOD TCP_GOOD, &errors), RXD_STATUS_IPCS);
    driver_put(d, E1000_RXCSUM, RXCSUM_TUOFL);
    assert_int_equal(checksum_bits(d, ETH IP_GOOD TCP_GOOD, &errors), RXD_STATUS_TCPCS);
    driver_put(d, E1000_RXCSUM, RXCSUM_IPOFL | RXCSUM_TUOFL);
    assert_int_equal(checksum_bits(d, ETH IP_GOOD TCP_GOOD, &errors),
                     RXD_STATUS_IPCS | RXD_STATUS_TCPCS);
    assert_int_equal(errors, 0);
    /* header wrong, TCP right */
    checksum_bits(d, ETH "4500002c123440003f06e6ae0a00020f5db8d822" TCP_GOOD, &errors);
    assert_int_equal(errors, RXD_ERROR_IPE);
    /* one payload byte wrong */
    checksum_bits(d, ETH IP_GOOD "c0000050010203040a0b0c0d50102000eef10000 41424345", &errors);
    assert_int_equal(errors, RXD_ERROR_TCPE);
    /* a fragment: no TCP verdict */
    assert_int_equal(
        checksum_bits(d, ETH "4500002c123420004006 06af 0a00020f5db8d822" TCP_GOOD, &errors),
        RXD_STATUS_IPCS);
    assert_int_equal(errors, 0);
    /* UDP without a checksum, ARP, a total length past the frame, a header of 4 bytes */
    assert_int_equal(checksum_bits(d,
                                   ETH "4500001c000000004011 0eed 0a00020f5db8d822"
                                       "0035 0035 0008 0000",
                                   &errors),
                     RXD_STATUS_IPCS);
    assert_int_equal(checksum_bits(d, arp_request, &errors), RXD_STATUS_IXSM);
    assert_int_equal(
        checksum_bits(d, ETH "4500ffff123440004006e6ae0a00020f5db8d822" TCP_GOOD, &errors),
        RXD_STATUS_IXSM);
    assert_int_equal(
        checksum_bits(d, ETH "4100002c123440004006e6ae0a00020f5db8d822" TCP_GOOD, &errors),
        RXD_STATUS_IXSM);
}

/* §8.3: packet checksum, one's-complement sum from PCSS to the end. */
static void packet_checksum_from_pcss(void **state)
{
    struct driver *d = *state;
    const uint8_t *frame = driver_frame(d, 100);

    driver_rx_refill(d, 4);
    driver_put(d, E1000_RXCSUM, 14);
    assert_int_equal(offer(d, 100), 0);
    assert_int_equal(driver_rx(d, 0).checksum, checksum_fold(checksum_add(0, frame + 14, 86)));
    driver_put(d, E1000_RXCSUM, 200);
    assert_int_equal(offer(d, 100), 0);
    assert_int_equal(driver_rx(d, 1).checksum, 0);
}

/* §8.3.3 without real_fcs: zeros, unless the guest stores bad packets. */
static void fcs_bytes_are_zeros_unless_somebody_looks(void **state)
{
    struct driver *d = *state;
    struct e1000_config config = d->config;

    config.real_fcs = false;
    driver_power_on(d, &config);
    driver_start(d);
    driver_rx_refill(d, 8);
    memset(d->ram + DRIVER_RX_BUFFERS, 0xee, 200);
    assert_int_equal(offer(d, 100), 0);
    assert_int_equal(driver_rx(d, 0).length, 104);
    assert_int_equal(le32_get(d->ram + driver_rx(d, 0).buffer + 100), 0);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_SBP);
    assert_int_equal(offer(d, 100), 0);
    assert_int_equal(le32_get(d->ram + driver_rx(d, 1).buffer + 100),
                     ethernet_fcs(driver_frame(d, 100), 100));
}

/* design §4: the direct path gives the very bytes of the callback path. */
static void mapped_memory_gets_the_same_bytes(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | 3 << RCTL_BSIZE_SHIFT);
    driver_rx_refill(d, 8);
    assert_int_equal(offer(d, 511), 0);
    d->map = true;
    assert_int_equal(offer(d, 511), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const struct driver_rx a = driver_rx(d, i);
        const struct driver_rx b = driver_rx(d, 3 + i);

        assert_int_equal(a.length, b.length);
        assert_int_equal(a.status, b.status);
        assert_memory_equal(d->ram + a.buffer, d->ram + b.buffer, a.length);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(arp_example_with_fcs),
        T(arp_example_with_stripped_fcs),
        T(a_frame_is_split_over_descriptors),
        T(the_fcs_may_spill_into_another_descriptor),
        T(buffer_sizes_are_the_manuals),
        T(n_minus_1_descriptors_are_usable),
        T(a_partial_set_of_buffers_is_not_consumed),
        T(work_is_pending_only_when_a_poll_helps),
        T(a_frame_larger_than_the_ring_is_dropped),
        T(null_buffers_are_skipped),
        T(a_null_buffer_inside_a_frame),
        T(a_ring_of_null_buffers_ends),
        T(the_status_byte_is_written_last),
        T(the_status_byte_is_stored_last),
        T(the_whole_upper_half_is_written),
        T(sizes_the_card_accepts),
        T(jumbo_frames_with_lpe_or_sbp),
        T(a_receiver_that_is_off_drops),
        T(the_queue_holds_256_frames),
        T(the_queue_keeps_frames_whole_over_its_end),
        T(an_offered_frame_waits_its_turn),
        T(vlan_tag_is_stripped_with_vme),
        T(rxcsum_gives_verdicts),
        T(packet_checksum_from_pcss),
        T(fcs_bytes_are_zeros_unless_somebody_looks),
        T(mapped_memory_gets_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
