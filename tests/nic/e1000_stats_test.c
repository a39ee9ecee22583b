/* Statistics: spec/e1000.md §3.3, quirk 2.34. */
#include "driver.h"

static void receive(struct driver *d, uint32_t bytes, uint8_t first)
{
    uint8_t frame[1522];

    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = i < 6 ? first : 0;
    driver_rx_refill(d, 1);
    assert_int_equal(e1000_rx_offer(d->nic, frame, bytes), 0);
}

/* §3.3: size classes; octets and sizes include the 4-byte FCS. */
static void received_frames_fall_into_classes(void **state)
{
    static const uint16_t sizes[] = {60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514};
    static const uint8_t classes[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5};
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        receive(d, sizes[i], 2);
        for (uint32_t class = 0; class < 6; class ++)
            assert_int_equal(driver_get(d, E1000_PRC64 + 4 * class), class == classes[i]);
        assert_int_equal(driver_get(d, E1000_GORCL), sizes[i] + 4);
        assert_int_equal(driver_get(d, E1000_GORCH), 0);
        assert_int_equal(driver_get(d, E1000_GPRC), 1);
    }
}

static void sent_frames_fall_into_classes(void **state)
{
    static const uint16_t sizes[] = {60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514};
    static const uint8_t classes[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5};
    struct driver *d = *state;

    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        driver_queue_tx(d, sizes[i], TXD_CMD_EOP);
        e1000_poll(d->nic, 8);
        for (uint32_t class = 0; class < 6; class ++)
            assert_int_equal(driver_get(d, E1000_PTC64 + 4 * class), class == classes[i]);
        assert_int_equal(driver_get(d, E1000_GOTCL), sizes[i] + 4);
        driver_get(d, E1000_GOTCH);
        assert_int_equal(driver_get(d, E1000_TOTL), sizes[i] + 4);
        driver_get(d, E1000_TOTH);
        assert_int_equal(driver_get(d, E1000_GPTC), 1);
        assert_int_equal(driver_get(d, E1000_TPT), 1);
    }
}

/* choices, octet counters with an inserted tag: count the tag. */
static void the_inserted_tag_counts(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_CTRL, driver_get(d, E1000_CTRL) | CTRL_VME);
    driver_queue_tx(d, 100, TXD_CMD_EOP | TXD_CMD_VLE);
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_GOTCL), 108);
}

static void broadcast_and_multicast_are_told_apart(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE);
    receive(d, 60, 0xff);
    receive(d, 60, 0x03);
    receive(d, 60, 0x02);
    assert_int_equal(driver_get(d, E1000_BPRC), 1);
    assert_int_equal(driver_get(d, E1000_MPRC), 1);
    assert_int_equal(driver_get(d, E1000_TPR), 3);
    for (uint32_t i = 0; i < 3; i++) {
        static const uint8_t first[] = {0xff, 0x03, 0x02};

        const uint32_t index = driver_queue_tx(d, 60, TXD_CMD_EOP);
        for (uint32_t at = 0; at < 6; at++)
            d->ram[DRIVER_TX_BUFFERS + index * DRIVER_BUFFER_BYTES + at] = first[i];
    }
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_BPTC), 1);
    assert_int_equal(driver_get(d, E1000_MPTC), 1);
    assert_int_equal(driver_get(d, E1000_GPTC), 3);
}

/* §3.3: all cleared when read; choices, MPC and RNBC, too. */
static void every_counter_clears_when_read(void **state)
{
    struct driver *d = *state;

    for (uint32_t at = E1000_STATISTICS; at < E1000_STATISTICS + 256; at += 4)
        reg_put(d->nic, at, 5);
    for (uint32_t at = E1000_STATISTICS; at < E1000_STATISTICS + 256; at += 4) {
        const bool low =
            at == E1000_GORCL || at == E1000_GOTCL || at == E1000_TORL || at == E1000_TOTL;

        assert_int_equal(driver_get(d, at), 5);
        assert_int_equal(reg_get(d->nic, at), low ? 5 : 0);
    }
}

/* §3.3: 64-bit pairs clear when the high half is read. */
static void pairs_clear_with_the_high_half(void **state)
{
    static const uint16_t lows[] = {E1000_GORCL, E1000_GOTCL, E1000_TORL, E1000_TOTL};
    struct driver *d = *state;

    for (uint32_t i = 0; i < 4; i++) {
        reg_put(d->nic, lows[i], 7);
        reg_put(d->nic, lows[i] + 4, 1);
        assert_int_equal(driver_get(d, lows[i]), 7);
        assert_int_equal(driver_get(d, lows[i]), 7);
        assert_int_equal(driver_get(d, lows[i] + 4), 1);
        assert_int_equal(driver_get(d, lows[i]), 0);
    }
}

/* §3.3: counters saturate; pairs carry and saturate as one. */
static void counters_saturate(void **state)
{
    struct driver *d = *state;

    reg_put(d->nic, E1000_GPRC, 0xfffffffe);
    reg_put(d->nic, E1000_GORCL, 0xffffffff);
    reg_put(d->nic, E1000_TORL, 0xfffffff0);
    reg_put(d->nic, E1000_TORH, 0xffffffff);
    for (int i = 0; i < 3; i++)
        receive(d, 60, 2);
    assert_int_equal(driver_get(d, E1000_GPRC), 0xffffffff);
    assert_int_equal(driver_get(d, E1000_GORCL), 3 * 64 - 1);
    assert_int_equal(driver_get(d, E1000_GORCH), 1);
    assert_int_equal(driver_get(d, E1000_TORL), 0xffffffff);
    assert_int_equal(driver_get(d, E1000_TORH), 0xffffffff);
}

/* choices, TPR and filtered frames; GPRC counts only what the guest got. */
static void filtered_frames_count_on_the_wire_only(void **state)
{
    struct driver *d = *state;

    driver_put(d, E1000_RCTL, RCTL_EN);
    uint8_t frame[60] = {2};
    assert_int_equal(e1000_rx_offer(d->nic, frame, 60), E1000_ERR_FILTERED);
    assert_int_equal(driver_get(d, E1000_TPR), 1);
    assert_int_equal(driver_get(d, E1000_TORL), 64);
    assert_int_equal(driver_get(d, E1000_GPRC), 0);
}

static void tso_contexts_are_counted(void **state)
{
    struct driver *d = *state;
    struct driver_context context = {.tucmd = TXD_CMD_TSE};

    driver_queue_context(d, &context);
    context.tucmd = 0;
    driver_queue_context(d, &context);
    e1000_poll(d->nic, 8);
    assert_int_equal(driver_get(d, E1000_TSCTC), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(received_frames_fall_into_classes),
        T(sent_frames_fall_into_classes),
        T(the_inserted_tag_counts),
        T(broadcast_and_multicast_are_told_apart),
        T(every_counter_clears_when_read),
        T(pairs_clear_with_the_high_half),
        T(counters_saturate),
        T(filtered_frames_count_on_the_wire_only),
        T(tso_contexts_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
