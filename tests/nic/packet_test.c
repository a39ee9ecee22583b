#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nic/packet.h"
#include "vectors.h"

/* RFC 1071 §3: the example of the sum 0001 f203 f4f5 f6f7. */
static void the_example_of_rfc_1071(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    (void)state;

    assert_int_equal(checksum_fold(checksum_add(0, bytes, sizeof bytes)), 0xddf2);
    assert_int_equal(checksum_finish(checksum_add(0, bytes, sizeof bytes)), 0x220d);
}

/* Every length, alignment and split gives what the word-by-word definition gives. */
static void any_length_equals_the_definition(void **state)
{
    uint8_t data[200];
    (void)state;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 197 + 251);
    for (size_t bytes = 0; bytes < sizeof data; bytes++) {
        uint32_t sum = 0;

        for (size_t i = 0; i < bytes; i++)
            sum += (i & 1) != 0 ? data[i] : (uint32_t)data[i] << 8;
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        uint8_t *guarded = guarded_copy(data, bytes);
        assert_int_equal(checksum_fold(checksum_add(0, guarded, bytes)), sum);
        const size_t half = bytes / 2 & ~(size_t)1;
        const uint32_t first = checksum_add(0, guarded, half);
        assert_int_equal(checksum_fold(checksum_add(first, guarded + half, bytes - half)), sum);
        vector_bytes_free(guarded, bytes);
    }
}

/* 32-bit lanes must not overflow: as many ones as the NAT or a card never sums at once. */
static void a_mebibyte_of_ones(void **state)
{
    enum { BYTES = (1 << 20) + 3 };
    uint8_t *ones = malloc(BYTES);
    (void)state;

    assert_non_null(ones);
    memset(ones, 0xff, BYTES);
    assert_int_equal(checksum_fold(checksum_add(0, ones, BYTES - 3)), 0xffff);
    assert_int_equal(checksum_fold(checksum_add(1, ones, BYTES)), 0xff01);
    free(ones);
}

/* RFC 1071: +0 and -0 are told apart: only zeros sum to 0. */
static void only_zeros_sum_to_zero(void **state)
{
    static const uint8_t zeros[100];
    static const uint8_t pair[4] = {0xff, 0xfe, 0x00, 0x01};
    (void)state;

    assert_int_equal(checksum_fold(checksum_add(0, zeros, sizeof zeros)), 0);
    assert_int_equal(checksum_fold(checksum_add(0, pair, sizeof pair)), 0xffff);
}

/* IEEE 802.3: the check value of "123456789". */
static void fcs_of_the_check_string(void **state)
{
    (void)state;
    assert_int_equal(ethernet_fcs((const uint8_t *)"123456789", 9), 0xcbf43926);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_1071),
        cmocka_unit_test(any_length_equals_the_definition),
        cmocka_unit_test(a_mebibyte_of_ones),
        cmocka_unit_test(only_zeros_sum_to_zero),
        cmocka_unit_test(fcs_of_the_check_string),
    };

    return cmocka_run_group_tests_name("packet.checksum", tests, NULL, NULL);
}
