/* The driver's half of the rings: chains laid out in every way, and who owns which byte. */
#include "virtio_model.h"

#include <string.h>

enum shadow { SHADOW_GUEST, SHADOW_READ, SHADOW_WRITE };

static void shadow_set(struct vmodel *m, uint64_t gpa, uint64_t bytes, enum shadow what)
{
    if (gpa < VDRIVER_RAM_BYTES)
        memset(m->shadow + gpa, (int)what, (size_t)bytes);
}

/* The guest's other processor, at the moments that matter: chains come in just before the card
 * asks for kicks, and a driver falls asleep just before the card shows what it used. */
static void race(struct vmodel *m, uint64_t gpa)
{
    const struct step one = {0, vmodel_random(m, 3000), vmodel_random(m, 5)};

    m->racing = true;
    for (uint32_t i = QUEUE_RX; i <= QUEUE_TX; i++) {
        const uint64_t used = m->d->ring[i].used;

        if (gpa == used + 2 && !m->ring[i].asleep) {
            ring_sleep(m, i, 0);
            m->slept_meanwhile = true;
        }
        if (gpa != used && gpa != used + 4 + 8u * m->ring[i].size)
            continue;
        if (i == QUEUE_RX) {
            vmodel_refill(m, 1, false);
            m->rx_raced |= (m->kicks_owed & 1u << QUEUE_RX) != 0;
        } else {
            vmodel_send(m, &one);
            ring_kick(m, QUEUE_TX);
        }
    }
    m->racing = false;
}

void vmodel_watch(struct vdriver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    struct vmodel *m = d->model;

    if (m->wild)
        return;
    if (gpa >= VDRIVER_RAM_BYTES || bytes > VDRIVER_RAM_BYTES - gpa) {
        if (m->outside == 0)
            vmodel_wrong(m, "an access outside RAM that no descriptor asks for");
        return;
    }
    if (write && bytes == 2 && !m->hostile && !m->racing && vmodel_random(m, 4) == 0)
        race(m, gpa);
    for (uint32_t i = 0; i < bytes; i++) {
        if (m->shadow[gpa + i] != (write ? SHADOW_WRITE : SHADOW_READ))
            vmodel_wrong(m, write ? "a byte written that no descriptor gives to the card"
                                  : "a byte read that no descriptor gives to the card");
    }
}

static uint8_t *avail_event(struct vmodel *m, uint32_t queue)
{
    return m->d->ram + m->d->ring[queue].used + 4 + 8 * m->ring[queue].size;
}

static uint8_t *used_event(struct vmodel *m, uint32_t queue)
{
    return m->d->ram + m->d->ring[queue].avail + 4 + 2 * m->ring[queue].size;
}

/* After the card was told of the ring. `base`: both sides start there, so that scripts pass the
 * end of the 16-bit counters; no register sets that, hence the look inside. */
void ring_start(struct vmodel *m, uint32_t queue, uint16_t base)
{
    const struct vdriver_ring *at = &m->d->ring[queue];
    struct vnet_queue *inside = &m->d->nic->queue[queue];
    struct ring_model *ring = &m->ring[queue];

    *ring = (struct ring_model){.size = inside->size, .used_seen = base, .kicked_at = base};
    inside->avail_seen = inside->next_avail = inside->next_used = inside->published = base;
    m->d->avail[queue] = base;
    le16_put(m->d->ram + at->avail + 2, base);
    le16_put(m->d->ram + at->used + 2, base);
    le16_put(avail_event(m, queue), base);
    shadow_set(m, at->desc, (uint64_t)ring->size * DESC_ENTRY_BYTES, SHADOW_READ);
    shadow_set(m, at->avail, 4 + 2u * ring->size + 2, SHADOW_READ);
    shadow_set(m, at->used, 4 + 8u * ring->size + 2, SHADOW_WRITE);
    ring_sleep(m, queue, 0);
}

/* The other queues stay as they are. Where the part was belongs to the guest again. */
void ring_move_outside(struct vmodel *m, uint32_t queue, enum ring_part part)
{
    const struct vdriver_ring *at = &m->d->ring[queue];
    struct vnet_queue *inside = &m->d->nic->queue[queue];
    const uint32_t size = inside->size;

    m->outside++;
    if (part == PART_AVAIL) {
        inside->avail = MODEL_OUTSIDE;
        shadow_set(m, at->avail, 4 + 2u * size + 2, SHADOW_GUEST);
    } else if (part == PART_DESC) {
        inside->desc = MODEL_OUTSIDE;
        shadow_set(m, at->desc, (uint64_t)size * DESC_ENTRY_BYTES, SHADOW_GUEST);
    } else {
        inside->used = MODEL_OUTSIDE;
        shadow_set(m, at->used, 4 + 8u * size + 2, SHADOW_GUEST);
    }
}

bool chain_take_desc(struct vmodel *m, uint32_t queue, struct chain *chain, uint16_t *desc)
{
    struct ring_model *ring = &m->ring[queue];
    const uint32_t from = vmodel_random(m, ring->size);

    for (uint32_t i = 0; i < ring->size; i++) {
        const uint32_t index = (from + i) % ring->size;

        if (ring->taken[index])
            continue;
        ring->taken[index] = true;
        *desc = chain->desc[chain->descs++] = (uint16_t)index;
        return true;
    }
    return false;
}

struct chain *chain_begin(struct vmodel *m, uint32_t queue, uint32_t pieces)
{
    static const struct {
        uint32_t at, bytes;
    } rooms[QUEUES_MAX] = {{MODEL_RX, MODEL_RX_BYTES},
                           {MODEL_TX, MODEL_TX_BYTES},
                           {MODEL_CONTROL, MODEL_CONTROL_BYTES}};
    struct ring_model *ring = &m->ring[queue];
    struct chain *chain = &ring->chain[ring->count];
    uint32_t free = 0;

    for (uint32_t i = 0; i < ring->size; i++)
        free += !ring->taken[i];
    if (free < pieces || ring->count == ring->size)
        return NULL;
    *chain = (struct chain){.kind = CHAIN_GOOD};
    chain_take_desc(m, queue, chain, &chain->head);
    chain->room = rooms[queue].at + (uint64_t)chain->head * rooms[queue].bytes;
    memset(m->d->ram + chain->room, FILL, rooms[queue].bytes);
    return chain;
}

uint8_t *chain_add(struct vmodel *m, struct chain *chain, uint32_t bytes, bool writable)
{
    const uint64_t gpa = chain->room + vmodel_random(m, 32);

    chain->piece[chain->pieces++] = (struct piece){gpa, bytes, writable};
    chain->room = gpa + bytes;
    return m->d->ram + gpa;
}

static uint16_t flags_of(const struct piece *piece, bool more)
{
    return (uint16_t)((piece->writable ? DESC_WRITE : 0) | (more ? DESC_NEXT : 0));
}

/* Pieces from `from` on in a table of their own; entries may lie apart. */
static void lay_table(struct vmodel *m, uint32_t queue, const struct chain *chain, uint32_t from,
                      uint16_t desc)
{
    const uint64_t table =
        MODEL_TABLES + queue * MODEL_TABLES_QUEUE + (uint64_t)chain->head * MODEL_TABLE_BYTES;
    const uint32_t stride = 1 + vmodel_random(m, 2);
    const uint32_t last = (chain->pieces - 1 - from) * stride;

    memset(m->d->ram + table, 0xff, MODEL_TABLE_BYTES);
    for (uint32_t i = from; i < chain->pieces; i++) {
        const struct piece *piece = &chain->piece[i];
        const uint32_t at = (i - from) * stride;

        vdriver_desc_at(m->d, table, at, piece->gpa, piece->bytes,
                        flags_of(piece, i + 1 < chain->pieces), (uint16_t)(at + stride));
    }
    vdriver_desc(m->d, queue, desc, table, (last + 1) * DESC_ENTRY_BYTES, DESC_INDIRECT, 0xffff);
    shadow_set(m, table, (last + 1) * DESC_ENTRY_BYTES, SHADOW_READ);
}

void chain_post(struct vmodel *m, uint32_t queue, struct chain *chain)
{
    const bool indirect = vmodel_has(m, F_INDIRECT_DESC) && vmodel_random(m, 2) != 0;
    const uint32_t direct = indirect ? vmodel_random(m, chain->pieces) : chain->pieces;
    uint16_t desc = chain->head;

    for (uint32_t i = 0; i < direct; i++) {
        const struct piece *piece = &chain->piece[i];
        const uint16_t here = desc;
        const bool more = i + 1 < chain->pieces;

        if (more && !chain_take_desc(m, queue, chain, &desc))
            vmodel_wrong(m, "the model's ring has no room");
        vdriver_desc(m->d, queue, here, piece->gpa, piece->bytes, flags_of(piece, more), desc);
    }
    if (direct < chain->pieces)
        lay_table(m, queue, chain, direct, desc);
    chain_offer(m, queue, chain);
}

/* Chains that must not transfer data give the card nothing to write to. */
void chain_offer(struct vmodel *m, uint32_t queue, struct chain *chain)
{
    m->ring[queue].count++;
    for (uint32_t i = 0; i < chain->pieces; i++) {
        const struct piece *piece = &chain->piece[i];

        m->outside += piece->gpa >= MODEL_OUTSIDE;
        if (!piece->writable)
            shadow_set(m, piece->gpa, piece->bytes, SHADOW_READ);
        else if (chain->kind == CHAIN_GOOD || chain->kind == CHAIN_TRAP)
            shadow_set(m, piece->gpa, piece->bytes, SHADOW_WRITE);
    }
    vdriver_post(m->d, queue, chain->head);
}

/* Kicks if the card asks for it (virtio §2.7.10, §2.7.7). */
void ring_kick(struct vmodel *m, uint32_t queue)
{
    struct ring_model *ring = &m->ring[queue];
    const uint16_t now = m->d->avail[queue];
    const uint16_t event = le16_get(avail_event(m, queue));
    const bool wanted = vmodel_has(m, F_EVENT_IDX)
                            ? (uint16_t)(now - event - 1) < (uint16_t)(now - ring->kicked_at)
                            : (le16_get(m->d->ram + m->d->ring[queue].used) & USED_NO_NOTIFY) == 0;

    if (now != ring->kicked_at && queue == QUEUE_RX) {
        if (m->offer_waits && !wanted)
            vmodel_wrong(m, "a refused frame waits for buffers, and no kick is asked for");
        m->offer_waits = false;
    }
    if (now != ring->kicked_at && wanted) {
        if (m->racing)
            m->kicks_owed |= 1u << queue; /* the access arrives when the card is free again */
        else
            vdriver_kick(m->d, queue);
    }
    ring->kicked_at = now;
}

static void give_back(struct vmodel *m, uint32_t queue, uint32_t nth, struct chain *chain)
{
    struct ring_model *ring = &m->ring[queue];

    *chain = ring->chain[nth];
    ring->count--;
    memmove(ring->chain + nth, ring->chain + nth + 1, (ring->count - nth) * sizeof *chain);
    for (uint32_t i = 0; i < chain->descs; i++)
        ring->taken[chain->desc[i]] = false;
    for (uint32_t i = 0; i < chain->pieces; i++) {
        m->outside -= chain->piece[i].gpa >= MODEL_OUTSIDE;
        shadow_set(m, chain->piece[i].gpa, chain->piece[i].bytes, SHADOW_GUEST);
    }
}

/* Transmit and control chains return in order; of the receive chains those that were refused
 * return at once, and in the contract profile the others by their size (§6.3.5). */
static bool may_pass(const struct vmodel *m, uint32_t queue, const struct chain *chain)
{
    return queue == QUEUE_RX && (m->contract || chain->kind == CHAIN_BAD);
}

bool ring_used(struct vmodel *m, uint32_t queue, struct chain *chain, uint32_t *bytes)
{
    struct ring_model *ring = &m->ring[queue];
    const uint16_t news = (uint16_t)(vdriver_used_idx(m->d, queue) - ring->used_seen);

    if (news == 0 || m->wrong != NULL)
        return false;
    if (news > ring->count) {
        vmodel_wrong(m, "more chains come back than the card has");
        return false;
    }
    const struct vdriver_used used = vdriver_used(m->d, queue, ring->used_seen);
    for (uint32_t i = 0; i < ring->count; i++) {
        if (ring->chain[i].head == used.id) {
            if (i > 0 && !may_pass(m, queue, &ring->chain[i]))
                vmodel_wrong(m, "a chain comes back before an older one");
            give_back(m, queue, i, chain);
            *bytes = used.bytes;
            ring->used_seen++;
            return true;
        }
    }
    vmodel_wrong(m, "a chain comes back that the card does not own");
    return false;
}

/* Was used.idx `from`, is it now `to`, and did it pass the one the driver waits for? */
static bool passed(const struct vmodel *m, uint16_t event, uint16_t from, uint16_t to)
{
    return vmodel_has(m, F_EVENT_IDX) ? (uint16_t)(to - event - 1) < (uint16_t)(to - from)
                                      : to != from;
}

bool ring_due(const struct vmodel *m, uint32_t queue)
{
    const struct ring_model *ring = &m->ring[queue];

    return ring->asleep && passed(m, ring->event, ring->since, vdriver_used_idx(m->d, queue));
}

bool ring_sleep(struct vmodel *m, uint32_t queue, uint16_t delay)
{
    struct ring_model *ring = &m->ring[queue];

    ring->since = ring->used_seen;
    ring->event = (uint16_t)(ring->used_seen + delay);
    ring->asleep = true;
    if (vmodel_has(m, F_EVENT_IDX))
        le16_put(used_event(m, queue), ring->event);
    else
        le16_put(m->d->ram + m->d->ring[queue].avail, 0);
    if (ring_due(m, queue))
        ring->asleep = false;
    return ring->asleep;
}

/* With EVENT_IDX the event stays behind, which keeps the card quiet as well. */
void ring_wake(struct vmodel *m, uint32_t queue)
{
    m->ring[queue].asleep = false;
    if (!vmodel_has(m, F_EVENT_IDX))
        le16_put(m->d->ram + m->d->ring[queue].avail, AVAIL_NO_INTERRUPT);
}
