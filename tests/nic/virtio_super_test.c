/* What a super-frame is when a guest takes it whole: spec/l2-extensions.md §6, virtio 1.2
 * §5.1.6.4. That it arrives, whole or cut: virtio_rx_test.c. */
#include "nic/segment.h"
#include "virtio_driver.h"

enum { PAYLOAD = 4000, MSS = 1400, FLAGS_AT = TCP_FRAME_L4_AT + TCP_FLAGS_AT };

static uint8_t frame[8000];

/* Offers the packet and returns what came: packet header, then frame. */
static const uint8_t *take(struct vdriver *d, uint16_t head)
{
    const uint32_t bytes = TCP_FRAME_HEADER_BYTES + PAYLOAD;

    vdriver_receive(d, head, 8000);
    assert_int_equal(virtio_net_rx_offer_super(d->nic, frame, bytes, MSS), 0);
    assert_used(d, QUEUE_RX, vdriver_used_idx(d, QUEUE_RX) - 1, head, 12 + bytes);
    return vdriver_rx(d, head);
}

/* §6: "the checksums of the super-frame are not meaningful: whoever cuts or delivers it computes
 * them": Linux sends what TSO shall cut with an IPv4 checksum of 0, and drops such a packet. */
static void both_checksums_are_made_by_who_delivers(void **state)
{
    struct vdriver *d = *state;
    struct l4_view view;

    tcp_frame(frame, PAYLOAD);
    be16_put(frame + ETH_HEADER_BYTES + IPV4_CHECKSUM_AT, 0);
    be16_put(frame + TCP_FRAME_L4_AT + TCP_CHECKSUM_AT, 0x1234);
    const uint8_t *came = take(d, 0) + 12;
    assert_int_equal(checksum_finish(checksum_add(0, came + ETH_HEADER_BYTES, IPV4_HEADER_BYTES)),
                     0);
    assert_true(l4_find(&view, came, TCP_FRAME_HEADER_BYTES));
    assert_int_equal(be16_get(came + TCP_FRAME_L4_AT + TCP_CHECKSUM_AT),
                     l4_pseudo(&view, came, TCP_HEADER_BYTES + PAYLOAD));
}

/* virtio §5.1.6.4.1: a packet that says CWR needs GUEST_ECN and then carries GSO_ECN. */
static void congestion_notification_is_marked(void **state)
{
    struct vdriver *d = *state;

    tcp_frame(frame, PAYLOAD);
    assert_int_equal(take(d, 0)[1], HEADER_GSO_TCPV4);
    frame[FLAGS_AT] |= TCP_CWR;
    assert_int_equal(take(d, 1)[1], HEADER_GSO_TCPV4 | HEADER_GSO_ECN);
}

/* Without GUEST_ECN it comes as frames: CWR in the first of them only (RFC 3168 §6.1.2). */
static void without_guest_ecn_it_is_cut(void **state)
{
    struct vdriver *d = *state;

    vdriver_start(d, vdriver_offered(d) & ~(F_EVENT_IDX | F_GUEST_ECN));
    tcp_frame(frame, PAYLOAD);
    frame[FLAGS_AT] |= TCP_CWR;
    for (uint16_t i = 0; i < 3; i++)
        vdriver_receive(d, i, 2000);
    assert_int_equal(
        virtio_net_rx_offer_super(d->nic, frame, TCP_FRAME_HEADER_BYTES + PAYLOAD, MSS), 0);
    assert_int_equal(vdriver_used_idx(d, QUEUE_RX), 3);
    for (uint16_t i = 0; i < 3; i++) {
        assert_int_equal(vdriver_rx(d, i)[1], HEADER_GSO_NONE);
        assert_int_equal(vdriver_rx(d, i)[12 + FLAGS_AT] & TCP_CWR, i == 0 ? TCP_CWR : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, vdriver_setup_standard, vdriver_teardown)
        T(both_checksums_are_made_by_who_delivers),
        T(congestion_notification_is_marked),
        T(without_guest_ecn_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
