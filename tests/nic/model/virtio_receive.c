/* Receive buffers of the model's driver, frames for the card, and what the guest must get. */
#include "virtio_model.h"

#include <string.h>

enum {
    FRAME_MAX = 8192,
    FLAT_MAX = 65536,
    JUMBO_MAX = 5000, /* what a ring of JUMBO_RING small buffers takes for sure */
    JUMBO_RING = 64,
    SMALL_MIN = 128,
};

/* Mergeable buffers may be small; the others take an ordinary frame, most of them. */
static uint32_t capacity(struct vmodel *m, bool small)
{
    if (small && (vmodel_has(m, F_MRG_RXBUF) || m->contract || vmodel_random(m, 8) == 0))
        return SMALL_MIN + vmodel_random(m, vmodel_random(m, 2) != 0 ? 400 : 16);
    return HEADER_LONG_BYTES + 1522 + vmodel_random(m, 4) * 1500;
}

static bool refill_one(struct vmodel *m, bool small)
{
    const uint32_t pieces = small ? 1 : 1 + vmodel_random(m, 4);
    uint32_t rest = capacity(m, small);
    struct chain *chain = chain_begin(m, QUEUE_RX, pieces);

    if (chain == NULL)
        return false;
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t part = i + 1 == pieces ? rest : vmodel_random(m, rest + 1);

        /* The contract wants the header whole in the first descriptor (§6.3.2). */
        if (m->contract && i == 0 && (part < HEADER_LONG_BYTES || vmodel_random(m, 2) != 0))
            part = pieces > 1 ? vmodel_header_bytes(m, HEADER_SHORT_BYTES) : rest;
        chain_add(m, chain, part, true);
        rest -= part;
    }
    chain->header_bytes = vmodel_header_bytes(m, chain->piece[0].bytes);
    chain_post(m, QUEUE_RX, chain);
    return true;
}

void vmodel_refill(struct vmodel *m, uint32_t count, bool small)
{
    while (count-- > 0 && refill_one(m, small))
        ;
    ring_kick(m, QUEUE_RX);
}

/* What the card wrote into a chain; the rest of the chain must be untouched (§6.3.4). */
static void gather(struct vmodel *m, const struct chain *chain, uint32_t bytes, uint8_t *to)
{
    if (bytes > chain_bytes(chain)) {
        vmodel_wrong(m, "a used length beyond the chain");
        return;
    }
    for (uint32_t i = 0; i < chain->pieces; i++) {
        const struct piece *piece = &chain->piece[i];
        const uint32_t part = bytes < piece->bytes ? bytes : piece->bytes;

        if (piece->gpa >= MODEL_OUTSIDE)
            continue;
        memcpy(to, m->d->ram + piece->gpa, part);
        to += part;
        bytes -= part;
        for (uint32_t k = part; k < piece->bytes; k++) {
            if (m->d->ram[piece->gpa + k] != FILL)
                vmodel_wrong(m, "bytes of a buffer after the frame were modified");
        }
    }
}

static void arrived(struct vmodel *m, const uint8_t *frame, uint32_t bytes)
{
    if (m->in_settled == 0) {
        vmodel_wrong(m, "the guest got a frame nobody offered");
        return;
    }
    if (!expected_is(expected_at(&m->in, 0), frame, bytes))
        vmodel_wrong(m, "the guest got another frame or header than the next one offered");
    m->must.rx_frames++;
    m->counts->frames_in++;
    m->in_settled--;
    expected_pop(&m->in);
}

static void lost_in_trap(struct vmodel *m)
{
    m->in_lost--;
    m->must.bad_chains++;
    m->counts->defects++;
}

/* The next chain that came back, and with it what the model says it got. */
static bool next_used(struct vmodel *m, struct chain *chain, uint32_t *bytes)
{
    if (!ring_used(m, QUEUE_RX, chain, bytes))
        return false;
    if (*bytes != chain->used_bytes || (!chain->spent && chain->kind != CHAIN_BAD))
        vmodel_wrong(m, "a receive chain comes back with another length than it must have");
    return m->wrong == NULL;
}

/* The buffers of one frame: as many as num_buffers says, each but the last one full. */
static void take_frame(struct vmodel *m, struct chain *chain, uint32_t bytes)
{
    uint8_t flat[FLAT_MAX];
    const uint32_t header_bytes = chain->header_bytes;
    uint32_t total = 0;
    uint32_t buffers = 1;
    bool lost = false;

    for (uint32_t i = 0; i < buffers && m->wrong == NULL; i++) {
        if (i > 0 && !next_used(m, chain, &bytes)) {
            vmodel_wrong(m, "a set of merged buffers is shown in parts");
            return;
        }
        lost |= bytes == 0;
        if (total + bytes > FLAT_MAX) {
            vmodel_wrong(m, "a used length of a merged buffer");
            return;
        }
        if (!lost)
            gather(m, chain, bytes, flat + total);
        if (i == 0 && header_bytes == HEADER_LONG_BYTES)
            buffers = le16_get(flat + HEADER_PART);
        if (i + 1 < buffers && !lost && bytes != chain_bytes(chain))
            vmodel_wrong(m, "a merged buffer is not full and not the last one");
        total += bytes;
    }
    if (buffers == 0 || (buffers > 1 && !vmodel_has(m, F_MRG_RXBUF)))
        vmodel_wrong(m, "num_buffers is not the number of buffers");
    if (m->wrong != NULL)
        return;
    if (lost) {
        lost_in_trap(m);
        return;
    }
    memmove(flat + HEADER_PART, flat + header_bytes, total - header_bytes);
    arrived(m, flat, total - header_bytes + HEADER_PART);
}

void vmodel_reap_rx(struct vmodel *m)
{
    struct chain chain;
    uint32_t bytes;

    while (next_used(m, &chain, &bytes)) {
        if (chain.kind == CHAIN_BAD) {
            m->must.bad_chains++;
            m->counts->defects++;
        } else if (bytes != 0) {
            take_frame(m, &chain, bytes);
        } else if (chain.kind == CHAIN_TRAP) {
            lost_in_trap(m);
        } /* else one of the same set, behind the trap */
    }
}

/* A frame that just fits what is posted, or just does not; `bytes` if there is none. It must not
 * wait in the card for ever: any ring takes an ordinary frame some time, a larger one only where
 * buffers need not be merged or are many. */
static uint32_t at_the_edge(const struct vmodel *m, const struct step *step, uint32_t bytes,
                            bool offered)
{
    const bool many =
        offered || !vmodel_has(m, F_MRG_RXBUF) || m->ring[QUEUE_RX].size >= JUMBO_RING;
    const uint32_t edge = vmodel_room(m) + (step->a >> 8 & 1);
    const uint32_t edge_max = m->contract || !many ? 1522 : JUMBO_MAX;

    return edge >= VIRTIO_NET_FRAME_MIN_BYTES && edge <= edge_max ? edge : bytes;
}

/* To us, a group, everybody, somebody else, or tagged; TCP with right checksums, too. */
static uint32_t make_frame(struct vmodel *m, const struct step *step, uint8_t *header,
                           uint8_t *frame, bool offered)
{
    const bool jumbo =
        vmodel_has(m, F_MRG_RXBUF) && m->ring[QUEUE_RX].size >= JUMBO_RING && step->b % 11 == 0;
    uint32_t bytes = 14 + step->b % (jumbo ? JUMBO_MAX : 1509);
    const uint32_t kind = step->a % 10;

    memset(header, 0, HEADER_PART);
    if (kind == 9)
        bytes = at_the_edge(m, step, bytes, offered);
    if (kind == 3) {
        bytes = tcp_frame(frame, step->b % 1400);
        header[0] = vmodel_has(m, F_GUEST_CSUM) ? HEADER_DATA_VALID : 0;
    } else {
        for (uint32_t i = 12; i < bytes; i++)
            frame[i] = (uint8_t)vmodel_random(m, 256);
        be16_put(frame + ETH_TYPE_AT, 0x88b5);
    }
    memcpy(frame, m->mac, ETH_ADDRESS_BYTES);
    for (uint32_t i = 6; i < 12; i++)
        frame[i] = (uint8_t)vmodel_random(m, 256);
    if (kind == 4)
        memset(frame, 0xff, ETH_ADDRESS_BYTES);
    if (kind == 5 || kind == 6) { /* the addresses control commands put in tables */
        memset(frame, 0, ETH_ADDRESS_BYTES);
        frame[0] = kind == 5 ? 1 : 2;
        frame[5] = (uint8_t)(step->a >> 8 & 3);
    }
    if (kind == 7 && bytes >= ETH_HEADER_BYTES + ETH_VLAN_BYTES) {
        be16_put(frame + ETH_TYPE_AT, ETH_TYPE_VLAN);
        be16_put(frame + ETH_TYPE_AT + 2, (uint16_t)(0xe000 | (step->a >> 8 & 7)));
    }
    return bytes;
}

/* Frames no card takes: too short, too long. */
static void receive_impossible(struct vmodel *m, const struct step *step)
{
    static const uint8_t frame[VIRTIO_NET_FRAME_MAX_BYTES + 1];
    const uint32_t longest = m->contract ? 1522 : VIRTIO_NET_FRAME_MAX_BYTES;
    const uint32_t bytes = (step->a & 1) != 0 ? step->b % 14 : longest + 1;

    if (virtio_net_receive(m->d->nic, frame, bytes) != VIRTIO_NET_ERR_FRAME_SIZE)
        vmodel_wrong(m, "a frame of impossible size was taken");
    m->must.rx_dropped_size++;
    m->counts->defects++;
}

/* Sends one frame of `in` to the card: what it must say, and what then waits in it. `refused`: by
 * the link or the filter, or 0. A frame that is not offered goes to the queue of a card. */
static int receive_result(struct vmodel *m, const uint8_t *flat, uint32_t bytes, int refused,
                          bool offered)
{
    if (offered && !vmodel_settle(m))
        return VIRTIO_NET_ERR_NO_BUFFER; /* it looks at those before it first */
    if (refused != 0)
        return refused;
    if (!offered && m->in.count - m->in_settled == QUEUE_FRAMES)
        return VIRTIO_NET_ERR_NO_BUFFER;
    vmodel_expect(m, &m->in, flat, bytes);
    const int result = offered ? vmodel_settle_one(m) : 0;
    if (result == VIRTIO_NET_ERR_NO_BUFFER)
        expected_unpush(&m->in);
    return result;
}

/* Compares the card's answer with the one it must have given. */
static void receive_judge(struct vmodel *m, int result, int wanted, bool offered)
{
    m->offer_waits = offered && result == VIRTIO_NET_ERR_NO_BUFFER;
    if (result != wanted && wanted == 0 && result == VIRTIO_NET_ERR_NO_BUFFER)
        vmodel_wrong(m, "a frame was refused for which there is room");
    else if (result != wanted)
        vmodel_wrong(m, "a frame got another answer than it must get");
    vmodel_drops(m);
}

void vmodel_receive(struct vmodel *m, const struct step *step, bool offered)
{
    uint8_t flat[HEADER_PART + FRAME_MAX];
    uint8_t *frame = flat + HEADER_PART;
    struct watched before;

    if (step->a % 32 == 31) {
        receive_impossible(m, step);
        return;
    }
    const uint32_t bytes = make_frame(m, step, flat, frame, offered);
    const int refused = !m->link                           ? VIRTIO_NET_ERR_NOT_READY
                        : !vmodel_accepts(m, frame, bytes) ? VIRTIO_NET_ERR_FILTERED
                                                           : 0;

    m->offer_waits = false;
    vmodel_watch_begin(m, &before);
    const int result = offered ? virtio_net_rx_offer(m->d->nic, frame, bytes)
                               : virtio_net_receive(m->d->nic, frame, bytes);
    vmodel_watch_end(m, &before);
    receive_judge(m, result, receive_result(m, flat, HEADER_PART + bytes, refused, offered),
                  offered);
}

/* What the guest must get for a super-frame: all of it, or its segments. True: all of it. An
 * offered one that all buffers of the ring together can't hold is cut, too. */
static bool expect_super(struct vmodel *m, const uint8_t *packet, uint32_t bytes, uint32_t mss,
                         bool offered)
{
    const uint32_t frames = (bytes - TCP_FRAME_HEADER_BYTES + mss - 1) / mss;
    const bool cut = offered && vmodel_has(m, F_MRG_RXBUF) && vmodel_too_large(m, bytes);
    uint8_t flat[HEADER_PART + FRAME_MAX] = {
        HEADER_NEEDS_CSUM, HEADER_GSO_TCPV4,    TCP_FRAME_HEADER_BYTES, 0,
        (uint8_t)mss,      (uint8_t)(mss >> 8), TCP_FRAME_L4_AT,        0,
        TCP_CHECKSUM_AT};
    uint8_t *frame = flat + HEADER_PART;

    if (frames > 1 && !cut && vmodel_has(m, F_GUEST_TSO4) && vmodel_has(m, F_GUEST_CSUM)) {
        memcpy(frame, packet, bytes);
        be16_put(frame + TCP_FRAME_L4_AT + TCP_CHECKSUM_AT,
                 checksum_fold(checksum_pseudo_ipv4(packet + 26, packet + 30, IP_PROTOCOL_TCP,
                                                    (uint16_t)(bytes - TCP_FRAME_L4_AT))));
        vmodel_expect(m, &m->in, flat, HEADER_PART + bytes);
        return true;
    }
    memset(flat, 0, HEADER_PART);
    flat[0] = vmodel_has(m, F_GUEST_CSUM) ? HEADER_DATA_VALID : 0;
    for (uint32_t i = 0; i < frames; i++) {
        const uint32_t part = tcp_frame_segment(packet, bytes, mss, i, frame);

        vmodel_expect(m, &m->in, flat, HEADER_PART + part);
    }
    return false;
}

/* As receive_result(). Cut, its frames go as far as there is room and the others wait in the card;
 * uncut, it is one frame.
 *
 * Here the model is not exact: the card looks twice for merged buffers of such a frame, and when it
 * has taken a ring full of chains (§4.1) it refuses it without a last look. That may miss a chain
 * that came in just then, which is no harm if the driver was asked to kick and did. */
static int super_result(struct vmodel *m, const uint8_t *packet, uint32_t bytes, uint32_t mss,
                        int refused, bool offered, int have)
{
    if (offered && !vmodel_settle(m))
        return VIRTIO_NET_ERR_NO_BUFFER;
    if (refused != 0)
        return refused;
    if (offered && have == VIRTIO_NET_ERR_NO_BUFFER && m->rx_raced && vmodel_has(m, F_MRG_RXBUF) &&
        vmodel_has(m, F_GUEST_TSO4))
        return have;
    const bool whole = expect_super(m, packet, bytes, mss, offered);
    if (!offered)
        return 0;
    if (!whole) {
        (void)vmodel_settle(m);
        return 0;
    }
    const int result = vmodel_settle_one(m);
    if (result == VIRTIO_NET_ERR_NO_BUFFER)
        expected_unpush(&m->in);
    return result;
}

/* Payload of a super-frame that may wait in the card: all buffers of a ring together hold it. */
static uint32_t super_limit(const struct vmodel *m, bool offered)
{
    const uint32_t size = m->ring[QUEUE_RX].size;

    if (size >= JUMBO_RING || (offered && vmodel_has(m, F_MRG_RXBUF)))
        return JUMBO_MAX - 100;
    return vmodel_has(m, F_MRG_RXBUF) && size * SMALL_MIN < 1500
               ? size * SMALL_MIN - HEADER_LONG_BYTES - TCP_FRAME_HEADER_BYTES
               : 1400;
}

void vmodel_receive_super(struct vmodel *m, const struct step *step, bool offered)
{
    uint8_t packet[FRAME_MAX];
    const uint32_t bytes = tcp_frame(packet, 1 + step->a % super_limit(m, offered));
    const uint16_t mss = (uint16_t)(100 + step->b % 1361);
    struct watched before;

    memcpy(packet, m->mac, ETH_ADDRESS_BYTES);
    for (uint32_t i = 6; i < 12; i++)
        packet[i] = (uint8_t)vmodel_random(m, 256);
    const int refused = !m->link                            ? VIRTIO_NET_ERR_NOT_READY
                        : !vmodel_accepts(m, packet, bytes) ? VIRTIO_NET_ERR_FILTERED
                                                            : 0;
    if (m->in.count > 80)
        return; /* the card's own queue is finite */
    m->offer_waits = false;
    vmodel_watch_begin(m, &before);
    const int result = offered ? virtio_net_rx_offer_super(m->d->nic, packet, bytes, mss)
                               : virtio_net_receive_super(m->d->nic, packet, bytes, mss);
    vmodel_watch_end(m, &before);
    receive_judge(m, result, super_result(m, packet, bytes, mss, refused, offered, result),
                  offered);
}
