/* Snapshot: spec/e1000.md §10. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

#include "vectors.h"

struct blob {
    uint8_t *data;
    size_t bytes;
};

static struct blob save(const struct driver *d)
{
    struct blob blob = {.bytes = e1000_save(d->nic, NULL, NULL, 0)};

    blob.data = malloc(blob.bytes);
    assert_non_null(blob.data);
    assert_int_equal(e1000_save(d->nic, NULL, blob.data, blob.bytes), blob.bytes);
    return blob;
}

/* Loads from a block whose last byte touches an unreadable page. */
static int load(struct driver *d, const uint8_t *data, size_t bytes)
{
    uint8_t *guarded = guarded_copy(data, bytes);
    const int result = e1000_load(d->nic, guarded, bytes);

    vector_bytes_free(guarded, bytes);
    return result;
}

static void assert_same(const struct blob *a, const struct blob *b)
{
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
}

static uint8_t *field_of(struct blob *blob, uint16_t tag)
{
    for (size_t at = 16; at < blob->bytes; at += 6 + le32_get(blob->data + at + 2)) {
        if (le16_get(blob->data + at) == tag)
            return blob->data + at + 6;
    }
    fail_msg("no field %u", tag);
    return NULL;
}

/* A card in the middle of everything. */
static void make_busy(struct driver *d)
{
    const struct driver_context context = {.ipcss = 14,
                                           .tucss = 34,
                                           .tucso = 50,
                                           .hdrlen = 54,
                                           .mss = 100,
                                           .paylen = 1000,
                                           .tucmd = 7};
    const struct driver_context plain = {.tucss = 20, .tucso = 26};

    driver_start(d);
    e1000_config_write(d->nic, PCI_BAR0, 4, 0xe0000000);
    e1000_config_write(d->nic, PCI_BAR0 + 4, 4, 0xc040);
    e1000_config_write(d->nic, PCI_INTERRUPT_LINE, 1, 10);
    for (uint32_t i = 0; i < 128; i++)
        driver_put(d, E1000_MTA + 4 * i, i * 0x01010101);
    driver_put(d, E1000_RA + 8, 0x12345678);
    driver_put(d, E1000_RAL0, 0xddccbb02);
    driver_put(d, E1000_RAH0, RAH_AV | 0x1ffee);
    driver_put(d, E1000_ITR, 200);
    driver_put(d, E1000_TIPG, 1);
    driver_put(d, E1000_RXCSUM, 0x300);
    driver_put(d, E1000_IMS, 0x9d);
    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 4 << 16 | 0x01e1);
    e1000_io_write(d->nic, 0, 4, 0x5400);
    driver_put(d, E1000_EECD, EECD_CS | EECD_REQ);
    driver_put(d, E1000_EECD, EECD_CS | EECD_REQ | EECD_DI);
    driver_put(d, E1000_EECD, EECD_CS | EECD_REQ | EECD_DI | EECD_SK);
    driver_queue_context(d, &context);
    driver_queue_context(d, &plain);
    driver_queue_tx(d, 100, TXD_CMD_EOP | TXD_CMD_RS);
    driver_queue_data(d, DRIVER_TX_BUFFERS, 500, TXD_CMD_TSE | TXD_CMD_RS, 3, 0x123);
    e1000_poll(d->nic, 64);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60 + i), 60 + i), 0);
}

/* §10.1: the header for this device. */
static void header_is_the_example(void **state)
{
    struct blob blob = save(*state);

    driver_assert_hex(blob.data, "41 45 52 4f 01 00 00 00 45 31 4b 30 01 00 00 00");
    free(blob.data);
}

/* §10.2: saving is deterministic; a loaded card is the saved one. */
static void a_round_trip_gives_the_same_card(void **state)
{
    struct driver *d = *state;

    make_busy(d);
    struct blob before = save(d);
    struct blob again = save(d);
    assert_same(&before, &again);

    driver_power_on(d, &d->config);
    d->irq = false;
    assert_int_equal(load(d, before.data, before.bytes), 0);
    struct blob after = save(d);
    assert_same(&before, &after);
    assert_int_equal(d->irq, (driver_get(d, E1000_ICS) & driver_get(d, E1000_IMS)) != 0);
    free(before.data);
    free(again.data);
    free(after.data);
}

/* quirk 2.38: what was under way goes on: the packet, the frames, the interrupts. */
static void work_under_way_goes_on(void **state)
{
    struct driver *d = *state;

    make_busy(d);
    const uint32_t sent = d->frames;
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    memset(d->ram + DRIVER_TX_BUFFERS, 0x77, 600);
    driver_queue_data(d, DRIVER_TX_BUFFERS + 500, 54, TXD_CMD_TSE | TXD_CMD_EOP, 0, 0);
    driver_rx_refill(d, 8);
    e1000_poll(d->nic, 64);
    assert_int_equal(d->frames, sent + 5);
    assert_int_equal(d->frame[sent].bytes, 154);
    assert_int_equal(driver_get(d, E1000_RDH), 5);
    assert_int_equal(driver_rx(d, 4).length, 68);
    free(blob.data);
}

/* A packet that waits for a full sink survives, and is not sent twice. */
static void a_held_packet_survives(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    d->sink_room = 1;
    driver_queue_tx(d, 100, TXD_CMD_EOP);
    driver_queue_tx(d, 101, TXD_CMD_EOP);
    e1000_poll(d->nic, 64);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    d->sink_room = 10;
    e1000_poll(d->nic, 64);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[1].bytes, 101);
    assert_int_equal(d->frame[1].data[0], driver_pattern(1, 0));
    free(blob.data);
}

/* quirk 2.40: the link's state survives. */
static void a_pulled_cable_survives(void **state)
{
    struct driver *d = *state;

    e1000_set_link(d->nic, false);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    assert_false(e1000_link(d->nic));
    driver_put(d, E1000_MDIC, MDIC_WRITE | 1 << 21 | 0x1340); /* no cable to negotiate over */
    assert_false(e1000_link(d->nic));
    e1000_set_link(d->nic, true);
    assert_true(e1000_link(d->nic));
    free(blob.data);
}

/* A held interrupt is delivered at once rather than lost (§6.2: early is legal). */
static void held_causes_are_delivered_on_load(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    driver_rx_refill(d, 8);
    driver_put(d, E1000_RDTR, 1000);
    driver_put(d, E1000_IMS, IRQ_RXT0);
    assert_int_equal(e1000_rx_offer(d->nic, driver_frame(d, 60), 60), 0);
    assert_false(d->irq);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    assert_true(d->irq);
    free(blob.data);
}

/* Rings the guest left in a state fields 42..54 may not have come back as written. */
static void odd_rings_survive(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_TDLEN, 0xffffffff);
    driver_put(d, E1000_TDH, 0xfff0);
    driver_put(d, E1000_RDLEN, 128);
    driver_put(d, E1000_RDT, 0xffff);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    assert_int_equal(driver_get(d, E1000_TDLEN), 0xffffffff);
    assert_int_equal(driver_get(d, E1000_TDH), 0xfff0);
    assert_int_equal(driver_get(d, E1000_RDT), 0xffff);
    free(blob.data);
}

/* Found by the fuzzer: reserved bits of RAH0, stored like any other, were lost by a load. */
static void fuzz_reserved_bits_of_rah0_survive(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t value = i == 0 ? 0xffffffff : 0x7ffd1234;

        driver_put(d, E1000_RAH0, value);
        struct blob blob = save(d);
        driver_power_on(d, &d->config);
        assert_int_equal(load(d, blob.data, blob.bytes), 0);
        assert_int_equal(driver_get(d, E1000_RAH0), value);
        free(blob.data);
    }
}

/* Found by the fuzzer: a packet in drop mode (§7.2) lost its special field in a load. */
static void fuzz_a_dropped_packet_is_saved_as_it_was_loaded(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    driver_queue_legacy(d, DRIVER_TX_BUFFERS, 2000, 0, 0, 0, 0x1002);
    driver_tx_kick(d);
    e1000_poll(d->nic, 64);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    struct blob again = save(d);
    assert_same(&blob, &again);
    free(blob.data);
    free(again.data);
}

/* Jumbo frames, which field 91 may not hold, come back in order. */
static void jumbo_frames_in_the_queue_survive(void **state)
{
    struct driver *d = *state;

    driver_start(d);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_LPE);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 60), 60), 0);
    assert_int_equal(e1000_receive(d->nic, driver_frame(d, 9000), 9000), 0);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    driver_rx_refill(d, 20);
    e1000_poll(d->nic, 1);
    assert_int_equal(driver_get(d, E1000_RDH), 6);
    free(blob.data);
}

/* §10.2, field 92: the host's outgoing frames travel along and leave through the sink. */
static void outgoing_frames_leave_through_the_sink(void **state)
{
    struct driver *d = *state;
    uint8_t records[4 + 14 + 4 + 60] = {14};
    uint8_t blob[8192];

    records[18] = 60;
    records[22] = 0xab;
    const struct e1000_frames outgoing = {2, records, sizeof records};
    const size_t bytes = e1000_save(d->nic, &outgoing, blob, sizeof blob);
    assert_true(bytes <= sizeof blob);
    assert_int_equal(load(d, blob, bytes), 0);
    assert_int_equal(d->frames, 2);
    assert_int_equal(d->frame[0].bytes, 14);
    assert_int_equal(d->frame[1].bytes, 60);
    assert_int_equal(d->frame[1].data[0], 0xab);
}

/* §10.2: a missing field keeps the value the card has; 90..92 are cleared. */
static void missing_fields_keep_what_is_there(void **state)
{
    struct driver *d = *state;
    struct blob blob = save(d);

    make_busy(d);
    assert_int_equal(load(d, blob.data, 16), 0); /* a header alone */
    assert_int_equal(driver_get(d, E1000_RAL0), 0xddccbb02);
    assert_int_equal(driver_get(d, E1000_RCTL), RCTL_EN | RCTL_UPE | RCTL_BAM);
    assert_int_equal(e1000_config_read(d->nic, PCI_BAR0, 4), 0xe0000000);
    assert_int_equal(driver_get(d, E1000_MTA + 8), 0);
    assert_int_equal(driver_get(d, E1000_TIPG), 0x00602008);
    assert_int_equal(d->nic->queue.frames, 0);
    free(blob.data);
}

/* §10.2: identity bytes are not overwritten. */
static void identity_stays(void **state)
{
    struct driver *d = *state;
    struct blob blob = save(d);

    memset(field_of(&blob, 1), 0xee, 0x10);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    assert_int_equal(e1000_config_read(d->nic, 0, 4), 0x100e8086);
    assert_int_equal(e1000_config_read(d->nic, PCI_COMMAND, 2), 0xeeee);
    free(blob.data);
}

static void assert_refused(struct driver *d, const uint8_t *data, size_t bytes)
{
    struct blob before = save(d);

    assert_int_equal(load(d, data, bytes), E1000_ERR_ARGUMENT);
    struct blob after = save(d);
    assert_same(&before, &after);
    free(before.data);
    free(after.data);
}

/* §10.1: truncation; all-or-nothing. Cut off at each byte that is not between fields. */
static void a_blob_cut_anywhere_is_refused(void **state)
{
    struct driver *d = *state;

    make_busy(d);
    struct blob blob = save(d);
    size_t next = 16;
    for (size_t cut = 0; cut < blob.bytes; cut++) {
        if (cut == next) {
            next += 6 + le32_get(blob.data + next + 2);
            continue; /* a shorter list of fields is a whole blob */
        }
        assert_int_equal(load(d, blob.data, cut), E1000_ERR_ARGUMENT);
    }
    struct blob after = save(d);
    assert_same(&blob, &after);
    free(blob.data);
    free(after.data);
}

/* §10.1: wrong magic, format major, device id, device major; minors are accepted. */
static void header_rules(void **state)
{
    struct driver *d = *state;
    struct blob blob = save(d);

    for (uint32_t at = 0; at < 16; at++) {
        const bool minor = at == 6 || at == 7 || at == 14 || at == 15;

        blob.data[at] ^= 1;
        if (minor)
            assert_int_equal(load(d, blob.data, blob.bytes), 0);
        else
            assert_refused(d, blob.data, blob.bytes);
        blob.data[at] ^= 1;
    }
    free(blob.data);
}

/* A blob of the header and one field. */
static int load_field(struct driver *d, uint16_t tag, const void *value, uint32_t bytes)
{
    static uint8_t blob[16 + 6 + 300000];
    static const uint8_t header[16] = {0x41, 0x45, 0x52, 0x4f, 1, 0, 0, 0,
                                       0x45, 0x31, 0x4b, 0x30, 1, 0, 0, 0};

    assert_true(bytes <= 300000);
    memcpy(blob, header, 16);
    le16_put(blob + 16, tag);
    le32_put(blob + 18, bytes);
    memcpy(blob + 22, value, bytes);
    return load(d, blob, 22 + bytes);
}

static int load_u32(struct driver *d, uint16_t tag, uint32_t value)
{
    uint8_t raw[4];

    le32_put(raw, value);
    return load_field(d, tag, raw, sizeof raw);
}

/* §10.2: each rule of "reject when". */
static void each_reject_rule(void **state)
{
    struct driver *d = *state;
    static uint8_t zeros[300000];
    static const uint16_t u32_tags[] = {2,  4,  10, 16, 20, 21, 30, 31,  40,
                                        44, 50, 54, 62, 69, 72, 73, 134, 137};
    static const uint16_t bool_tags[] = {3, 5, 22, 61, 81};
    static const uint16_t sized_tags[][2] = {{1, 256},  {80, 6},    {82, 128}, {83, 64}, {128, 5},
                                             {129, 16}, {130, 16},  {131, 8},  {132, 6}, {133, 8},
                                             {135, 2},  {136, 256}, {138, 24}};

    for (uint32_t i = 0; i < sizeof u32_tags / 2; i++) {
        assert_int_equal(load_field(d, u32_tags[i], zeros, 3), E1000_ERR_ARGUMENT);
        assert_int_equal(load_field(d, u32_tags[i], zeros, 5), E1000_ERR_ARGUMENT);
    }
    for (uint32_t i = 0; i < sizeof bool_tags / 2; i++) {
        assert_int_equal(load_field(d, bool_tags[i], "\2", 1), E1000_ERR_ARGUMENT);
        assert_int_equal(load_field(d, bool_tags[i], zeros, 2), E1000_ERR_ARGUMENT);
    }
    for (uint32_t i = 0; i < sizeof sized_tags / sizeof sized_tags[0]; i++) {
        assert_int_equal(load_field(d, sized_tags[i][0], zeros, sized_tags[i][1] + 1u),
                         E1000_ERR_ARGUMENT);
        assert_int_equal(load_field(d, sized_tags[i][0], zeros, sized_tags[i][1]), 0);
        driver_power_on(d, &d->config);
    }
    assert_int_equal(load_u32(d, 2, 0xe0000008), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 4, 0xc042), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 4, 0xc043), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 16, 2), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 42, 65537 * 16), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 42, 65536 * 16), 0);
    assert_int_equal(load_u32(d, 44, 65536), E1000_ERR_ARGUMENT);
    assert_int_equal(load_u32(d, 44, 65535), 0);
    assert_int_equal(load_u32(d, 52, 128), 0);
    assert_int_equal(load_u32(d, 53, 8), E1000_ERR_ARGUMENT);
    assert_int_equal(load_field(d, 22, "\1", 1), E1000_ERR_ARGUMENT);
    for (uint16_t tag = 62; tag < 74; tag++) {
        if (tag == 70 || tag == 71)
            continue;
        assert_int_equal(load_u32(d, tag, 262145), E1000_ERR_ARGUMENT);
        assert_int_equal(load_u32(d, tag, 262144), 0);
    }
    assert_int_equal(load_field(d, 70, "\3", 1), E1000_ERR_ARGUMENT);
    assert_int_equal(load_field(d, 60, zeros, 262145), E1000_ERR_ARGUMENT);
    assert_int_equal(load_field(d, 60, zeros, 262144), 0);
}

/* §10.2: probe set but BAR not 0 (BAR0) or 1 (BAR1). */
static void a_probe_needs_an_empty_bar(void **state)
{
    struct driver *d = *state;

    e1000_config_write(d->nic, PCI_BAR0, 4, 0xe0000000);
    e1000_config_write(d->nic, PCI_BAR0 + 4, 4, 0xc040);
    assert_int_equal(load_field(d, 3, "\1", 1), E1000_ERR_ARGUMENT);
    assert_int_equal(load_field(d, 5, "\1", 1), E1000_ERR_ARGUMENT);
    e1000_config_write(d->nic, PCI_BAR0, 4, 0xffffffff);
    struct blob blob = save(d);
    driver_power_on(d, &d->config);
    assert_int_equal(load(d, blob.data, blob.bytes), 0);
    assert_int_equal(e1000_config_read(d->nic, PCI_BAR0, 4), 0xfffe0000);
    free(blob.data);
}

/* §10.2, field 90: unaligned or duplicate offsets; beyond the window ignored; trailing bytes. */
static void register_list_rules(void **state)
{
    struct driver *d = *state;
    uint8_t raw[4 + 16 + 1] = {2};

    le32_put(raw + 4, 0x5200);
    le32_put(raw + 8, 0x11);
    le32_put(raw + 12, 0x20000);
    assert_int_equal(load_field(d, 90, raw, 20), 0);
    assert_int_equal(driver_get(d, 0x5200), 0x11);
    assert_int_equal(load_field(d, 90, raw, 21), E1000_ERR_ARGUMENT);
    assert_int_equal(load_field(d, 90, raw, 19), E1000_ERR_ARGUMENT);
    le32_put(raw + 12, 0x5200);
    assert_int_equal(load_field(d, 90, raw, 20), E1000_ERR_ARGUMENT);
    le32_put(raw + 12, 0x5202);
    assert_int_equal(load_field(d, 90, raw, 20), E1000_ERR_ARGUMENT);
    le32_put(raw, 65537);
    assert_int_equal(load_field(d, 90, raw, 20), E1000_ERR_ARGUMENT);
    le32_put(raw, 0x20000002); /* times 8 wraps to 16 */
    assert_int_equal(load_field(d, 90, raw, 20), E1000_ERR_ARGUMENT);
}

/* §10.2, fields 91 and 92: more than 256, outside 14..1522, trailing bytes. */
static void frame_list_rules(void **state)
{
    struct driver *d = *state;
    static uint8_t raw[300000];

    for (uint16_t tag = 91; tag <= 92; tag++) {
        memset(raw, 0, sizeof raw);
        raw[0] = 1;
        raw[4] = 14;
        assert_int_equal(load_field(d, tag, raw, 22), 0);
        assert_int_equal(load_field(d, tag, raw, 23), E1000_ERR_ARGUMENT);
        assert_int_equal(load_field(d, tag, raw, 21), E1000_ERR_ARGUMENT);
        raw[4] = 13;
        assert_int_equal(load_field(d, tag, raw, 21), E1000_ERR_ARGUMENT);
        le32_put(raw + 4, 1522);
        assert_int_equal(load_field(d, tag, raw, 1530), 0);
        le32_put(raw + 4, 1523);
        assert_int_equal(load_field(d, tag, raw, 1531), E1000_ERR_ARGUMENT);
        for (uint32_t i = 0; i < 257; i++)
            le32_put(raw + 4 + 18 * i, 14);
        le32_put(raw, 256);
        assert_int_equal(load_field(d, tag, raw, 4 + 18 * 256), 0);
        le32_put(raw, 257);
        assert_int_equal(load_field(d, tag, raw, 4 + 18 * 257), E1000_ERR_ARGUMENT);
    }
}

/* §10.1: duplicate tags and more than 4096 fields; unknown tags are accepted. */
static void container_rules(void **state)
{
    struct driver *d = *state;
    static uint8_t blob[16 + 6 * 4097];
    struct blob saved = save(d);

    memcpy(blob, saved.data, 16);
    for (uint32_t i = 0; i < 4097; i++)
        le16_put(blob + 16 + 6 * i, (uint16_t)(0x4000 + i));
    assert_int_equal(load(d, blob, 16 + 6 * 4096), 0);
    assert_refused(d, blob, 16 + 6 * 4097);
    le16_put(blob + 16 + 6 * 9, 0x4000);
    assert_refused(d, blob, 16 + 6 * 10);
    free(saved.data);
}

/* Hostile blobs: any byte of a whole one may be wrong; the card goes on either way. */
static void a_blob_with_any_byte_changed(void **state)
{
    struct driver *d = *state;

    make_busy(d);
    struct blob blob = save(d);
    for (size_t at = 16; at < blob.bytes; at++) {
        blob.data[at] ^= 0xff;
        if (load(d, blob.data, blob.bytes) == 0 && at % 8 == 0) {
            e1000_poll(d->nic, 8);
            (void)e1000_receive(d->nic, driver_frame(d, 100), 100);
            driver_get(d, E1000_ICR);
        }
        blob.data[at] ^= 0xff;
    }
    free(blob.data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(header_is_the_example),
        T(a_round_trip_gives_the_same_card),
        T(work_under_way_goes_on),
        T(a_held_packet_survives),
        T(a_pulled_cable_survives),
        T(held_causes_are_delivered_on_load),
        T(odd_rings_survive),
        T(fuzz_reserved_bits_of_rah0_survive),
        T(fuzz_a_dropped_packet_is_saved_as_it_was_loaded),
        T(jumbo_frames_in_the_queue_survive),
        T(outgoing_frames_leave_through_the_sink),
        T(missing_fields_keep_what_is_there),
        T(identity_stays),
        T(a_blob_cut_anywhere_is_refused),
        T(header_rules),
        T(each_reject_rule),
        T(a_probe_needs_an_empty_bar),
        T(register_list_rules),
        T(frame_list_rules),
        T(container_rules),
        T(a_blob_with_any_byte_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
