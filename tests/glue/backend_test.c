/* The ring back end of a card (spec/net-rings.md §4, design.md §6, l2-extensions.md §6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend.h"
#include "nic/packet.h"

enum { RING_BYTES = 64, SPARE_BYTES = 128, FRAME_MAX = 40, FRAMES_KEPT = 8 };

struct card { /* what a card does with the frames it is offered */
    uint32_t taken;
    uint32_t bytes[FRAMES_KEPT];
    uint32_t room; /* frames until it says hold */
    uint16_t gso_bytes;
};

struct world {
    uint32_t memory[128];
    uint8_t spare[SPARE_BYTES];
    struct backend backend;
    struct ring tunnel_tx, tunnel_rx; /* the other ends */
    struct card card;
    uint32_t asked; /* times make_room() was called */
    bool drains;
};

static bool make_room(void *context)
{
    struct world *w = context;

    w->asked++;
    if (w->drains)
        ring_drain(&w->tunnel_tx);
    return w->drains;
}

static enum backend_offer offer(void *context, const uint8_t *frame, uint32_t bytes)
{
    struct card *card = context;

    (void)frame;
    if (card->room == 0)
        return BACKEND_HOLD;
    card->room--;
    card->bytes[card->taken++ % FRAMES_KEPT] = bytes;
    return BACKEND_DONE;
}

static enum backend_offer offer_super(void *context, const uint8_t *frame, uint32_t bytes,
                                      uint16_t gso_bytes)
{
    struct card *card = context;

    card->gso_bytes = gso_bytes;
    return offer(context, frame, bytes);
}

static uint32_t deliver(struct world *w, uint32_t budget)
{
    const struct backend_card card = {&w->card, offer, offer_super};

    return backend_deliver(&w->backend, budget, &card);
}

static int setup(void **state)
{
    static struct world w;
    const struct ring_spec queues[] = {{RING_KIND_NET_TX, RING_BYTES},
                                       {RING_KIND_NET_RX, RING_BYTES}};

    w = (struct world){.card.room = FRAMES_KEPT};
    const size_t bytes = ring_buffer_bytes(queues, 2);

    assert_true(bytes <= sizeof w.memory);
    assert_int_equal(ring_build(w.memory, bytes, queues, 2), 0);
    assert_int_equal(ring_open(&w.backend.tx, w.memory, bytes, RING_KIND_NET_TX, 0), 0);
    assert_int_equal(ring_open(&w.backend.rx, w.memory, bytes, RING_KIND_NET_RX, 0), 0);
    w.tunnel_tx = w.backend.tx;
    w.tunnel_rx = w.backend.rx;
    w.backend.spare = w.spare;
    w.backend.spare_bytes = SPARE_BYTES;
    w.backend.frame_max_bytes = FRAME_MAX;
    w.backend.waiting_max = BACKEND_UNBOUNDED;
    *state = &w;
    return 0;
}

static void send(struct world *w, uint8_t byte, uint32_t bytes)
{
    uint8_t *room = backend_frame_begin(&w->backend, bytes);

    assert_non_null(room);
    memset(room, byte, bytes);
    backend_frame_end(&w->backend, bytes);
}

static void push(struct world *w, uint32_t bytes)
{
    const uint8_t record[RING_BYTES] = {0};

    assert_int_equal(ring_push(&w->tunnel_rx, record, bytes), 0);
}

/* §4.1: tx_pushed_frames, tx_pushed_bytes: frame written to NET_TX. */
static void a_sent_frame_is_in_net_tx(void **state)
{
    struct world *w = *state;
    uint8_t got[RING_BYTES];

    send(w, 0x5a, 20);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), 20);
    assert_int_equal(got[19], 0x5a);
    assert_int_equal(w->backend.stats.tx_pushed_frames, 1);
    assert_int_equal(w->backend.stats.tx_pushed_bytes, 20);
}

/* nic/host.h: or lets it go by never calling frame_end(). */
static void a_frame_never_ended_leaves_no_trace(void **state)
{
    struct world *w = *state;

    assert_non_null(backend_frame_begin(&w->backend, 20));
    assert_false(ring_has_data(&w->tunnel_tx));
    send(w, 1, 30);
    assert_int_equal(ring_pop(&w->tunnel_tx, w->spare, SPARE_BYTES), 30);
    assert_false(ring_has_data(&w->tunnel_tx));
}

/* design.md §6: drop with a counter, as a wire does; the newest one. */
static void full_drops_the_newest_frame(void **state)
{
    struct world *w = *state;
    uint8_t got[RING_BYTES];

    send(w, 1, 28);
    send(w, 2, 28);
    send(w, 3, 28);
    assert_int_equal(w->backend.stats.tx_dropped_full, 1);
    assert_int_equal(w->backend.stats.tx_dropped_full_bytes, 28);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), 28);
    assert_int_equal(got[0], 1);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), 28);
    assert_int_equal(got[0], 2);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), RING_ERR_EMPTY);
}

/* e1000.md §7: stop processing descriptors while the host queue is full. */
static void a_bound_on_waiting_frames_keeps_the_next_one_in_the_card(void **state)
{
    struct world *w = *state;
    uint8_t got[RING_BYTES];

    w->backend.waiting_max = 1;
    send(w, 1, 20);
    assert_null(backend_frame_begin(&w->backend, 20));
    assert_int_equal(w->backend.stats.tx_dropped_full, 0);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), 20);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), RING_ERR_EMPTY);
    send(w, 2, 20);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), 20);
    assert_int_equal(got[0], 2);
}

static void room_made_in_time_saves_the_frame(void **state)
{
    struct world *w = *state;

    w->backend.make_room = make_room;
    w->backend.context = w;
    send(w, 1, 28);
    send(w, 2, 28);
    send(w, 3, 28); /* nobody drains */
    assert_int_equal(w->asked, 1);
    assert_int_equal(w->backend.stats.tx_dropped_full, 1);
    w->drains = true;
    send(w, 4, 28);
    assert_int_equal(w->backend.stats.tx_dropped_full, 1);
    assert_int_equal(ring_pop(&w->tunnel_tx, w->spare, SPARE_BYTES), 28);
    assert_int_equal(w->spare[0], 4);
}

/* §4: producer, larger frame: drop and count; never truncate. */
static void oversize_is_counted_by_itself(void **state)
{
    struct world *w = *state;

    send(w, 1, FRAME_MAX + 1);
    assert_false(ring_has_data(&w->tunnel_tx));
    assert_int_equal(w->backend.stats.tx_dropped_oversize, 1);
    assert_int_equal(w->backend.stats.tx_dropped_oversize_bytes, FRAME_MAX + 1);
    assert_null(backend_frame_begin(&w->backend, SPARE_BYTES + 1));
}

/* §4.3: the receive budget bounds the number of polls. */
static void delivers_up_to_the_budget_in_order(void **state)
{
    struct world *w = *state;

    push(w, 4);
    push(w, 8);
    push(w, 12);
    assert_int_equal(deliver(w, 0), 0);
    assert_int_equal(deliver(w, 2), 2);
    assert_true(backend_has_frames(&w->backend));
    assert_int_equal(deliver(w, 2), 1);
    assert_false(backend_has_frames(&w->backend));
    assert_int_equal(w->card.bytes[0], 4);
    assert_int_equal(w->card.bytes[1], 8);
    assert_int_equal(w->card.bytes[2], 12);
    assert_int_equal(w->backend.stats.rx_popped_frames, 3);
    assert_int_equal(w->backend.stats.rx_popped_bytes, 24);
}

/* guest.md §4: never drop for lack of descriptors, hold the frame until RDT moves. */
static void a_held_frame_stays_the_oldest(void **state)
{
    struct world *w = *state;

    push(w, 4);
    push(w, 8);
    w->card.room = 1;
    assert_int_equal(deliver(w, 9), 1);
    assert_int_equal(w->backend.stats.rx_held, 1);
    assert_false(backend_has_frames(&w->backend)); /* nothing one could do now */
    assert_true(ring_has_data(&w->tunnel_rx));
    w->card.room = 1;
    assert_int_equal(deliver(w, 9), 1);
    assert_int_equal(w->card.bytes[1], 8);
}

/* §4: consumer, larger record: drop, count, go on. */
static void an_oversized_record_is_dropped_and_counted(void **state)
{
    struct world *w = *state;

    push(w, FRAME_MAX + 4);
    push(w, 8);
    assert_int_equal(deliver(w, 9), 2);
    assert_int_equal(w->card.taken, 1);
    assert_int_equal(w->backend.stats.rx_dropped_oversize, 1);
    assert_int_equal(w->backend.stats.rx_dropped_oversize_bytes, FRAME_MAX + 4);
}

/* §3.6: counts rx_corrupt, sets rx_broken and never reads that ring again. */
static void a_corrupt_ring_is_never_read_again(void **state)
{
    struct world *w = *state;

    w->tunnel_rx.words[2] = 2 * RING_BYTES; /* tail_commit: more than the ring holds */
    assert_int_equal(deliver(w, 9), 0);
    assert_int_equal(w->backend.stats.rx_corrupt, 1);
    assert_int_equal(w->backend.stats.rx_broken, 1);
    w->tunnel_rx.words[0] = w->tunnel_rx.words[1] = w->tunnel_rx.words[2] = 0;
    push(w, 8);
    assert_int_equal(deliver(w, 9), 0);
    assert_false(backend_has_frames(&w->backend));
    send(w, 1, 20); /* the other direction goes on */
    assert_true(ring_has_data(&w->tunnel_tx));
}

enum { SUPER_RING_BYTES = 4096, SUPER_MAX = 3000, TCP_AT = 34, HEADERS = 54 };

struct super_world {
    uint32_t memory[(2 * SUPER_RING_BYTES + 256) / 4];
    uint8_t spare[SUPER_MAX];
    struct world w;
};

static int setup_super(void **state)
{
    static struct super_world s;
    const struct ring_spec queues[] = {{RING_KIND_NET_TX, SUPER_RING_BYTES},
                                       {RING_KIND_NET_RX, SUPER_RING_BYTES}};
    const size_t bytes = ring_buffer_bytes(queues, 2);
    struct world *w = &s.w;

    assert_true(bytes <= sizeof s.memory);
    *w = (struct world){.card.room = FRAMES_KEPT};
    assert_int_equal(ring_build(s.memory, bytes, queues, 2), 0);
    assert_int_equal(ring_open(&w->backend.tx, s.memory, bytes, RING_KIND_NET_TX, 0), 0);
    assert_int_equal(ring_open(&w->backend.rx, s.memory, bytes, RING_KIND_NET_RX, 0), 0);
    w->tunnel_tx = w->backend.tx;
    w->tunnel_rx = w->backend.rx;
    w->backend.spare = s.spare;
    w->backend.spare_bytes = SUPER_MAX;
    w->backend.frame_max_bytes = SUPER_MAX;
    w->backend.super = true;
    w->backend.waiting_max = BACKEND_UNBOUNDED;
    *state = w;
    return 0;
}

static uint32_t tcp_make(uint8_t *frame, uint32_t payload)
{
    memset(frame, 0, HEADERS);
    be16_put(frame + ETH_TYPE_AT, ETH_TYPE_IPV4);
    frame[ETH_HEADER_BYTES] = 0x45;
    frame[ETH_HEADER_BYTES + IPV4_PROTOCOL_AT] = IP_PROTOCOL_TCP;
    frame[TCP_AT + TCP_DATA_OFFSET_AT] = 0x50;
    for (uint32_t i = 0; i < payload; i++)
        frame[HEADERS + i] = (uint8_t)(i * 3);
    return HEADERS + payload;
}

/* l2-extensions.md §6: record prefix when both ends are opened with super-frames on. */
static void every_record_has_a_prefix(void **state)
{
    struct world *w = *state;
    uint8_t got[SUPER_MAX];

    send(w, 0x5a, 20);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), 22);
    assert_int_equal(le16_get(got), 0);
    assert_int_equal(got[2], 0x5a);
    uint8_t *room = backend_super_begin(&w->backend, 2000, 1460);
    assert_non_null(room);
    memset(room, 1, 2000);
    backend_frame_end(&w->backend, 2000);
    assert_int_equal(ring_pop(&w->tunnel_tx, got, sizeof got), 2002);
    assert_int_equal(le16_get(got), 1460);
    assert_int_equal(w->backend.stats.tx_pushed_frames, 2);
    assert_int_equal(w->backend.stats.tx_pushed_bytes, 2020); /* of frames */
    assert_non_null(backend_frame_begin(&w->backend, SUPER_MAX));
    send(w, 1, SUPER_MAX); /* the longest frame fits with its prefix */
    assert_int_equal(w->backend.stats.tx_dropped_oversize, 0);
}

/* The card gets the frame without the prefix; a record too short for one is no frame. */
static void prefixes_tell_super_frames_apart(void **state)
{
    struct world *w = *state;
    uint8_t record[2002] = {0};

    assert_int_equal(ring_push(&w->tunnel_rx, record, 62), 0);
    le16_put(record, 1460);
    assert_int_equal(ring_push(&w->tunnel_rx, record, 2002), 0);
    assert_int_equal(ring_push(&w->tunnel_rx, record, 1), 0);
    assert_int_equal(backend_push(&w->backend, record, 100), 0);
    assert_int_equal(deliver(w, 1), 1);
    assert_int_equal(w->card.bytes[0], 60);
    assert_int_equal(w->card.gso_bytes, 0);
    assert_int_equal(deliver(w, 9), 3);
    assert_int_equal(w->card.gso_bytes, 1460);
    assert_int_equal(w->card.bytes[1], 2000);
    assert_int_equal(w->card.bytes[2], 0);
    assert_int_equal(w->card.bytes[3], 100);
    assert_int_equal(backend_push(&w->backend, record, SUPER_MAX + 1), RING_ERR_TOO_LARGE);
}

/* A held super-frame is offered again, whole. */
static void a_held_super_frame_stays(void **state)
{
    struct world *w = *state;
    uint8_t record[2002] = {0};

    le16_put(record, 1460);
    assert_int_equal(ring_push(&w->tunnel_rx, record, 2002), 0);
    w->card.room = 0;
    assert_int_equal(deliver(w, 9), 0);
    w->card.room = 1;
    assert_int_equal(deliver(w, 9), 1);
    assert_int_equal(w->card.bytes[0], 2000);
    assert_int_equal(w->card.gso_bytes, 1460);
}

/* Whoever takes frames one by one gets a super-frame cut; one that cannot be cut is dropped. */
static void super_frames_are_taken_cut(void **state)
{
    struct world *w = *state;
    uint8_t packet[SUPER_MAX];
    uint8_t got[SUPER_MAX];
    const uint32_t bytes = tcp_make(packet, 1000);

    memcpy(backend_super_begin(&w->backend, bytes, 400), packet, bytes);
    backend_frame_end(&w->backend, bytes);
    memset(backend_super_begin(&w->backend, 500, 400), 0, 500);
    backend_frame_end(&w->backend, 500);
    send(w, 9, 60);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t payload = i < 2 ? 400 : 200;

        assert_int_equal(backend_take(&w->backend, got, sizeof got), HEADERS + payload);
        assert_memory_equal(got + HEADERS, packet + HEADERS + 400 * i, payload);
        assert_int_equal(be32_get(got + TCP_AT + TCP_SEQUENCE_AT), 400 * i);
        assert_int_equal(l4_checksum_judge(got, HEADERS + payload), L4_GOOD);
    }
    assert_int_equal(backend_take(&w->backend, got, sizeof got), RING_ERR_TOO_LARGE);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), 60);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), RING_ERR_EMPTY);
}

/* NET_TX was emptied in the middle of one: the next one, as long, starts at its own beginning. */
static void a_drained_super_frame_is_not_gone_on_with(void **state)
{
    struct world *w = *state;
    uint8_t packet[SUPER_MAX];
    uint8_t got[SUPER_MAX];
    const uint32_t bytes = tcp_make(packet, 1000);

    memcpy(backend_super_begin(&w->backend, bytes, 400), packet, bytes);
    backend_frame_end(&w->backend, bytes);
    assert_int_equal(backend_take(&w->backend, got, sizeof got), HEADERS + 400);
    ring_drain(&w->tunnel_tx);
    be32_put(packet + TCP_AT + TCP_SEQUENCE_AT, 5000);
    memcpy(backend_super_begin(&w->backend, bytes, 400), packet, bytes);
    backend_frame_end(&w->backend, bytes);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(backend_take(&w->backend, got, sizeof got) > HEADERS);
        assert_int_equal(be32_get(got + TCP_AT + TCP_SEQUENCE_AT), 5000 + 400 * i);
    }
    assert_int_equal(backend_take(&w->backend, got, sizeof got), RING_ERR_EMPTY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_sent_frame_is_in_net_tx, setup),
        cmocka_unit_test_setup(a_frame_never_ended_leaves_no_trace, setup),
        cmocka_unit_test_setup(full_drops_the_newest_frame, setup),
        cmocka_unit_test_setup(a_bound_on_waiting_frames_keeps_the_next_one_in_the_card, setup),
        cmocka_unit_test_setup(room_made_in_time_saves_the_frame, setup),
        cmocka_unit_test_setup(oversize_is_counted_by_itself, setup),
        cmocka_unit_test_setup(delivers_up_to_the_budget_in_order, setup),
        cmocka_unit_test_setup(a_held_frame_stays_the_oldest, setup),
        cmocka_unit_test_setup(an_oversized_record_is_dropped_and_counted, setup),
        cmocka_unit_test_setup(a_corrupt_ring_is_never_read_again, setup),
        cmocka_unit_test_setup(every_record_has_a_prefix, setup_super),
        cmocka_unit_test_setup(prefixes_tell_super_frames_apart, setup_super),
        cmocka_unit_test_setup(a_held_super_frame_stays, setup_super),
        cmocka_unit_test_setup(super_frames_are_taken_cut, setup_super),
        cmocka_unit_test_setup(a_drained_super_frame_is_not_gone_on_with, setup_super),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
