/*
 * What becomes of a frame on its way in, by nothing but the chains the driver posted (§6.3.3, and
 * choices.md on frames that find no buffer or too small a one). The card's counters are compared
 * with this, never believed.
 *
 * A chain of the guest's other processor (virtio_rings.c, race()) counts as if it had been there
 * when the call began. That is exact: chains come in while the card asks for kicks, which it does
 * for the first frame it finds no room for, and it must look again before it gives that frame up;
 * the frames before it have older chains, and no choice depends on younger ones. Nor can a call
 * meet more chains than the ring full it may take (§4.1): what it uses comes back at its end. The
 * one exception is in virtio_receive.c, super_result(). A hostile guest has no such rules; there
 * the next start of the card forgives all (vmodel_start()).
 */
#include "virtio_model.h"

struct choice {
    uint32_t first, count; /* chains a frame may use, from the one at `first` on */
};

uint32_t chain_bytes(const struct chain *chain)
{
    uint32_t bytes = 0;

    for (uint32_t i = 0; i < chain->pieces; i++)
        bytes += chain->piece[i].bytes;
    return bytes;
}

/* A trap takes frames like any other chain; that there is no memory shows when it is written. */
static bool takes_frames(const struct chain *chain)
{
    return !chain->spent && (chain->kind == CHAIN_GOOD || chain->kind == CHAIN_TRAP);
}

/* The oldest chains that hold it together. Too large only when the ring has no place for another
 * chain and all of them can take a frame. */
static int find_merged(const struct ring_model *ring, uint32_t bytes, struct choice *choice)
{
    uint64_t room = 0;

    choice->count = 0;
    for (uint32_t i = 0; i < ring->count; i++) {
        const struct chain *chain = &ring->chain[i];

        if (!takes_frames(chain))
            continue;
        if (choice->count++ == 0)
            choice->first = i;
        room += chain_bytes(chain);
        if (room >= (uint64_t)bytes + ring->chain[choice->first].header_bytes)
            return 0;
    }
    return choice->count == ring->size ? VIRTIO_NET_ERR_FRAME_SIZE : VIRTIO_NET_ERR_NO_BUFFER;
}

/* The standard profile looks at the oldest chain only, the contract takes the first that fits. */
static int find_single(const struct vmodel *m, uint32_t bytes, struct choice *choice)
{
    const struct ring_model *ring = &m->ring[QUEUE_RX];
    int result = VIRTIO_NET_ERR_NO_BUFFER;

    for (uint32_t i = 0; i < ring->count; i++) {
        const struct chain *chain = &ring->chain[i];

        if (!takes_frames(chain) || (!m->contract && result == VIRTIO_NET_ERR_FRAME_SIZE))
            continue;
        result = VIRTIO_NET_ERR_FRAME_SIZE;
        if (chain_bytes(chain) - chain->header_bytes >= bytes) {
            *choice = (struct choice){i, 1};
            return 0;
        }
    }
    return result;
}

/* Gives header and frame to the chosen chains. False: lost in a trap, from which on all of them
 * come back empty. */
static bool spend(struct vmodel *m, const struct choice *choice, uint32_t bytes)
{
    struct chain *chain = &m->ring[QUEUE_RX].chain[choice->first];
    uint32_t header_bytes = chain->header_bytes;
    bool lost = false;

    for (uint32_t left = choice->count; left > 0; chain++) {
        if (!takes_frames(chain))
            continue;
        const uint32_t room = chain_bytes(chain) - header_bytes;
        const uint32_t part = bytes < room ? bytes : room;

        lost |= chain->kind == CHAIN_TRAP && header_bytes + part > chain->piece[0].bytes;
        chain->spent = true;
        chain->used_bytes = lost ? 0 : header_bytes + part;
        bytes -= part;
        header_bytes = 0;
        left--;
    }
    return !lost;
}

static int find(const struct vmodel *m, uint32_t bytes, struct choice *choice)
{
    return vmodel_has(m, F_MRG_RXBUF) ? find_merged(&m->ring[QUEUE_RX], bytes, choice)
                                      : find_single(m, bytes, choice);
}

bool vmodel_too_large(const struct vmodel *m, uint32_t bytes)
{
    struct choice choice;

    return find(m, bytes, &choice) == VIRTIO_NET_ERR_FRAME_SIZE;
}

uint32_t vmodel_room(const struct vmodel *m)
{
    const struct ring_model *ring = &m->ring[QUEUE_RX];
    uint32_t room = 0;

    for (uint32_t i = 0; i < ring->count; i++) {
        const struct chain *chain = &ring->chain[i];

        if (takes_frames(chain) && room == 0)
            room = chain_bytes(chain) - chain->header_bytes;
        else if (takes_frames(chain) && vmodel_has(m, F_MRG_RXBUF))
            room += chain_bytes(chain);
    }
    return room;
}

int vmodel_settle_one(struct vmodel *m)
{
    const uint32_t bytes = expected_at(&m->in, m->in_settled)->length - HEADER_PART;
    struct choice choice;
    const int result = find(m, bytes, &choice);

    if (result == VIRTIO_NET_ERR_NO_BUFFER)
        return result;
    if (result == 0 && spend(m, &choice, bytes)) {
        m->in_settled++;
        return 0;
    }
    m->in_lost += result == 0;
    m->must.rx_dropped_size += result != 0;
    expected_remove(&m->in, m->in_settled);
    return VIRTIO_NET_ERR_FRAME_SIZE;
}

bool vmodel_settle(struct vmodel *m)
{
    while (m->in_settled < m->in.count) {
        if (vmodel_settle_one(m) == VIRTIO_NET_ERR_NO_BUFFER)
            return false;
    }
    return true;
}

void vmodel_drops(struct vmodel *m)
{
    const uint64_t have = virtio_net_stats(m->d->nic)->rx_dropped_size + m->before.rx_dropped_size;

    if (have != m->must.rx_dropped_size)
        vmodel_wrong(m, have > m->must.rx_dropped_size
                            ? "a frame was dropped that fits, or has to wait"
                            : "a frame that can't ever fit was not dropped");
}
