/* Address and VLAN filters: spec/e1000.md §8.2, quirk 2.27. */
#include "driver.h"
#include "vectors.h"

#include <string.h>

static int offer_to(struct driver *d, const char *address, uint32_t rctl)
{
    uint8_t frame[60];

    memcpy(frame, driver_frame(d, 60), 60);
    driver_hex(d, 0x3000, address);
    memcpy(frame, d->ram + 0x3000, 6);
    driver_put(d, E1000_RCTL, RCTL_EN | rctl);
    driver_rx_refill(d, 1);
    return e1000_rx_offer(d->nic, frame, sizeof frame);
}

#define BROADCAST "ffffffffffff"
#define OWN       "525400123456"
#define OTHER     "525400123457"
#define GROUP     "01005e0000fb"

/* §8.2: broadcast: BAM accepts, UPE and MPE do as well (choices). */
static void broadcast_by_bam_upe_or_mpe(void **state)
{
    struct driver *d = *state;

    assert_int_equal(offer_to(d, BROADCAST, 0), E1000_ERR_FILTERED);
    assert_int_equal(offer_to(d, BROADCAST, RCTL_BAM), 0);
    assert_int_equal(offer_to(d, BROADCAST, RCTL_UPE), 0);
    assert_int_equal(offer_to(d, BROADCAST, RCTL_MPE), 0);
}

/* §8.2: unicast: exact match, or UPE. */
static void unicast_by_match_or_upe(void **state)
{
    struct driver *d = *state;

    assert_int_equal(offer_to(d, OWN, 0), 0);
    assert_int_equal(offer_to(d, OTHER, RCTL_BAM | RCTL_MPE), E1000_ERR_FILTERED);
    assert_int_equal(offer_to(d, OTHER, RCTL_UPE), 0);
    assert_int_equal(e1000_stats(d->nic)->rx_filtered, 1);
}

/* §8.2: any of 16 RAL/RAH pairs with AV. */
static void sixteen_addresses(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < 16; i++) {
        driver_put(d, E1000_RA + 8 * i, 0x44332202);
        driver_put(d, E1000_RA + 8 * i + 4, 0x6655);
        assert_int_equal(offer_to(d, "022233445566", 0), E1000_ERR_FILTERED);
        driver_put(d, E1000_RA + 8 * i + 4, RAH_AV | 0x6655);
        assert_int_equal(offer_to(d, "022233445566", 0), 0);
        driver_put(d, E1000_RA + 8 * i + 4, 0);
    }
}

/* §8.2: group addresses match exactly, too. */
static void multicast_by_mpe_or_match(void **state)
{
    struct driver *d = *state;

    assert_int_equal(offer_to(d, GROUP, RCTL_BAM | RCTL_UPE), E1000_ERR_FILTERED);
    assert_int_equal(offer_to(d, GROUP, RCTL_MPE), 0);
    driver_put(d, E1000_RA + 8, 0x005e0001);
    driver_put(d, E1000_RA + 12, RAH_AV | 0xfb00);
    assert_int_equal(offer_to(d, GROUP, 0), 0);
}

/* §8.2, hash: four offsets; the text's two examples among them. */
static void multicast_hash_with_each_offset(void **state)
{
    struct driver *d = *state;
    const struct {
        uint32_t word, bit;
    } cases[] = {{0x53f4, 16}, {0x53ec, 0}, {0x53d8, 0}, {0x5360, 0}};
    /* b5 b4 = fb00: >> 4 = fb0, >> 3 = f60 (1f60 & fff), >> 2 = ec0, >> 0 = b00 */
    const uint32_t hashes[] = {0xfb0, 0xf60, 0xec0, 0xb00};

    assert_int_equal(cases[0].word, E1000_MTA + 4 * (hashes[0] >> 5));
    assert_int_equal(cases[0].bit, hashes[0] & 31);
    assert_int_equal(cases[3].word, E1000_MTA + 4 * (hashes[3] >> 5));
    for (uint32_t mo = 0; mo < 4; mo++) {
        const uint32_t word = E1000_MTA + 4 * (hashes[mo] >> 5);

        assert_int_equal(offer_to(d, GROUP, mo << RCTL_MO_SHIFT), E1000_ERR_FILTERED);
        driver_put(d, word, UINT32_C(1) << (hashes[mo] & 31));
        assert_int_equal(offer_to(d, GROUP, mo << RCTL_MO_SHIFT), 0);
        driver_put(d, word, ~(UINT32_C(1) << (hashes[mo] & 31)));
        assert_int_equal(offer_to(d, GROUP, mo << RCTL_MO_SHIFT), E1000_ERR_FILTERED);
        driver_put(d, word, 0);
    }
}

/* choices, MTA hash and unicast frames: multicast only. */
static void the_hash_is_for_multicast_only(void **state)
{
    struct driver *d = *state;

    for (uint32_t i = 0; i < E1000_MTA_WORDS; i++)
        driver_put(d, E1000_MTA + 4 * i, 0xffffffff);
    assert_int_equal(offer_to(d, OTHER, 0), E1000_ERR_FILTERED);
    assert_int_equal(offer_to(d, GROUP, 0), 0);
}

static int offer_vlan(struct driver *d, uint32_t vid, uint32_t rctl)
{
    uint8_t frame[64];

    memcpy(frame, driver_frame(d, 64), 64);
    be16_put(frame + 12, 0x8100);
    be16_put(frame + 14, (uint16_t)(0xe000 | vid));
    driver_put(d, E1000_RCTL, RCTL_EN | rctl);
    driver_rx_refill(d, 1);
    return e1000_rx_offer(d->nic, frame, sizeof frame);
}

/* §8.2, VLAN: only with VFE; it applies even in promiscuous mode (choices). */
static void vfta_filters_with_vfe(void **state)
{
    struct driver *d = *state;

    assert_int_equal(offer_vlan(d, 0x123, RCTL_UPE), 0);
    assert_int_equal(offer_vlan(d, 0x123, RCTL_UPE | RCTL_MPE | RCTL_VFE), E1000_ERR_FILTERED);
    driver_put(d, E1000_VFTA + 4 * (0x123 >> 5), 1 << (0x123 & 31));
    assert_int_equal(offer_vlan(d, 0x123, RCTL_VFE), 0);
    assert_int_equal(offer_vlan(d, 0x122, RCTL_VFE), E1000_ERR_FILTERED);
    assert_int_equal(offer_to(d, OWN, RCTL_VFE), 0); /* untagged frames pass */
    driver_put(d, E1000_VET, 0x88a8);
    assert_int_equal(offer_vlan(d, 0x122, RCTL_VFE), 0); /* not the type of a tag */
}

/* Found by the fuzzer: a tag cut short was read beyond the frame. It counts as padded: VLAN 0. */
static void fuzz_a_tag_cut_short_is_vlan_0(void **state)
{
    struct driver *d = *state;
    uint8_t frame[18];

    memcpy(frame, driver_frame(d, 60), 12);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_VLAN);
    be16_put(frame + ETH_TYPE_AT + 2, 0x123);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_VFE);
    driver_put(d, E1000_VFTA + 4 * (0x123 >> 5), 1 << (0x123 & 31));
    driver_rx_refill(d, 8);
    for (uint32_t bytes = 14; bytes <= 18; bytes++) {
        uint8_t *guarded = guarded_copy(frame, bytes);

        driver_put(d, E1000_VFTA, 0);
        assert_int_equal(e1000_rx_offer(d->nic, guarded, bytes),
                         bytes == 18 ? 0 : E1000_ERR_FILTERED);
        driver_put(d, E1000_VFTA, 1);
        assert_int_equal(e1000_rx_offer(d->nic, guarded, bytes), 0);
        vector_bytes_free(guarded, bytes);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, driver_setup_started, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(broadcast_by_bam_upe_or_mpe),
        T(unicast_by_match_or_upe),
        T(sixteen_addresses),
        T(multicast_by_mpe_or_match),
        T(multicast_hash_with_each_offset),
        T(the_hash_is_for_multicast_only),
        T(vfta_filters_with_vfe),
        T(fuzz_a_tag_cut_short_is_vlan_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
