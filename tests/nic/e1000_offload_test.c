/* Checksum insertion and segmentation: spec/e1000.md §7.3, §7.4. */
#include "driver.h"

#include <string.h>

static const char worked_header[] = "020000000002 525400123456 0800"
                                    "45000000 12344000 40060000 0a00020f 5db8d822"
                                    "c000 0050 01020304 0a0b0c0d 5019 2000 41f0 0000";

static const struct driver_context worked_context = {
    .ipcss = 14,
    .ipcso = 24,
    .ipcse = 33,
    .tucss = 34,
    .tucso = 50,
    .paylen = 10,
    .tucmd = TXD_TUCMD_TCP | TXD_TUCMD_IP | TXD_CMD_TSE | TXD_CMD_RS,
    .hdrlen = 54,
    .mss = 4,
};

static const char *const worked_segments[] = {
    "4500002c123440004006e6ae0a00020f5db8d822 c0000050010203040a0b0c0d50102000eef10000 41424344",
    "4500002c123540004006e6ad0a00020f5db8d822 c0000050010203080a0b0c0d50102000e6e50000 45464748",
    "4500002a123640004006e6ae0a00020f5db8d822 c00000500102030c0a0b0c0d501920002a1f0000 494a",
};

enum { DATA_CMD = TXD_CMD_EOP | TXD_CMD_IFCS | TXD_CMD_TSE | TXD_CMD_RS, BOTH_SUMS = 3 };

static void assert_worked_frames(const struct driver *d, uint32_t first)
{
    static const uint32_t bytes[] = {58, 58, 56};

    assert_int_equal(d->frames, first + 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct driver_frame *frame = &d->frame[first + i];

        assert_int_equal(frame->bytes, bytes[i]);
        driver_assert_hex(frame->data, "020000000002 525400123456 0800");
        driver_assert_hex(frame->data + 14, worked_segments[i]);
    }
}

/* §7.4, worked example. */
static void the_worked_example_gives_its_three_frames(void **state)
{
    struct driver *d = *state;

    driver_hex(d, 0x123400, worked_header);
    memcpy(d->ram + 0x123400 + 54, "ABCDEFGHIJ", 10);
    driver_queue_context(d, &worked_context);
    driver_queue_data(d, 0x123400, 64, DATA_CMD, BOTH_SUMS, 0);
    e1000_poll(d->nic, 8);
    assert_worked_frames(d, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_worked_example_gives_its_three_frames,
                                        driver_setup_started, driver_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
