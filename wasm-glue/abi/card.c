/*
 * card.c - the exports that open and drive a card. Offsets, sizes and values come from the guest
 *          and are passed on as they are; addresses come from our own JavaScript and are trusted.
 */
#include "card.h"
#include "exports.h"
#include "host_js.h"

#define NS_PER_MS 1e6

#define STAT(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct backend_stats, field)                                              \
    }

static const struct abi_name backend_names[] = {
    STAT(tx_pushed_frames),
    STAT(tx_pushed_bytes),
    STAT(tx_dropped_oversize),
    STAT(tx_dropped_oversize_bytes),
    STAT(tx_dropped_full),
    STAT(tx_dropped_full_bytes),
    STAT(rx_popped_frames),
    STAT(rx_popped_bytes),
    STAT(rx_dropped_oversize),
    STAT(rx_dropped_oversize_bytes),
    STAT(rx_corrupt),
    STAT(rx_broken),
    STAT(rx_held),
};
enum { BACKEND_NAMES = sizeof backend_names / sizeof backend_names[0] };

static const struct card_model *model_at(uint32_t model)
{
    uint32_t at = 0;

    while (at < model && card_models[at] != NULL)
        at++;
    return card_models[at];
}

const char *nic_model_name(uint32_t model)
{
    const struct card_model *found = model_at(model);

    return found == NULL ? NULL : found->name;
}

uint32_t nic_card_bytes(uint32_t model)
{
    const struct card_model *found = model_at(model);

    return found == NULL ? 0 : (uint32_t)(sizeof(struct card) + 16 + found->bytes());
}

static const struct abi_option *option_at(uint32_t model, uint32_t option)
{
    const struct card_model *found = model_at(model);

    return found == NULL || option >= found->option_count ? NULL : &found->options[option];
}

const char *nic_option_name(uint32_t model, uint32_t option)
{
    const struct abi_option *found = option_at(model, option);

    return found == NULL ? NULL : found->name;
}

const char *nic_option_choices(uint32_t model, uint32_t option)
{
    const struct abi_option *found = option_at(model, option);

    return found == NULL || found->choices[0] == 0 ? NULL : found->choices;
}

int32_t nic_option_min(uint32_t model, uint32_t option)
{
    const struct abi_option *found = option_at(model, option);

    return found == NULL ? 0 : found->min;
}

int32_t nic_option_max(uint32_t model, uint32_t option)
{
    const struct abi_option *found = option_at(model, option);

    return found == NULL ? 0 : found->max;
}

static bool make_room(void *context)
{
    return env_tx_full(context) != 0;
}

static int32_t attach(struct card *card, void *rings, uint32_t rings_bytes, bool super)
{
    struct ring tx, rx;
    int result = ring_open(&tx, rings, rings_bytes, RING_KIND_NET_TX, 0);

    if (result == 0)
        result = ring_open(&rx, rings, rings_bytes, RING_KIND_NET_RX, 0);
    if (result < 0)
        return result;
    card->backend = (struct backend){
        .tx = tx,
        .rx = rx,
        .spare = nic_area(card),
        .spare_bytes = ABI_AREA_BYTES,
        .frame_max_bytes = super ? ABI_SUPER_FRAME_BYTES : ABI_RING_FRAME_BYTES,
        .super = super,
        .waiting_max = BACKEND_UNBOUNDED,
        .make_room = make_room,
        .context = card,
    };
    return 0;
}

int32_t nic_attach(struct card *card, void *rings, uint32_t rings_bytes)
{
    return attach(card, rings, rings_bytes, card->backend.super);
}

int32_t nic_open(struct card *card, uint32_t model, const uint8_t *mac, const int32_t *options,
                 void *rings, uint32_t rings_bytes, uint32_t host, uint8_t *ram, uint32_t ram_bytes,
                 uint32_t super)
{
    const struct card_model *found = model_at(model);

    if (found == NULL)
        return ABI_ERR_MODEL;
    card->model = found;
    for (uint32_t i = 0; i < found->option_count; i++)
        card->options[i] = options[i];
    card->linear = (struct linear){.ram = ram, .ram_bytes = ram_bytes};
    const int32_t result = attach(card, rings, rings_bytes, super != 0);
    if (result < 0)
        return result;
    const struct nic_host world = host_js(card, host);
    uint8_t *state = (uint8_t *)card + sizeof *card;

    state += -(uintptr_t)state & 15;
    card->nic = found->init(state, found->bytes(), &world, mac, card->options);
    return card->nic == NULL ? ABI_ERR_MODEL : 0;
}

void nic_reset(struct card *card)
{
    card->backend.holding = false;
    card->model->reset(card->nic);
}

uint32_t nic_config_read(struct card *card, uint32_t offset, uint32_t size)
{
    return card->model->config_read(card->nic, offset, size);
}

void nic_config_write(struct card *card, uint32_t offset, uint32_t size, uint32_t value)
{
    /* Bus mastering may come on, or a queue be kicked through the window (virtio §4.1.4.9). */
    card->backend.holding = false;
    card->model->config_write(card->nic, offset, size, value);
}

uint32_t nic_bar_kind(struct card *card, uint32_t bar)
{
    return (uint32_t)card->model->bar(card->options, bar).kind;
}

uint32_t nic_bar_bytes(struct card *card, uint32_t bar)
{
    return card->model->bar(card->options, bar).bytes;
}

uint32_t nic_bar_read(struct card *card, uint32_t bar, uint32_t offset, uint32_t size)
{
    return card->model->bar_read(card->nic, bar, offset, size);
}

void nic_bar_write(struct card *card, uint32_t bar, uint32_t offset, uint32_t size, uint32_t value)
{
    /* It may be RDT that moves: the frame that waits in NET_RX is worth another try. */
    card->backend.holding = false;
    card->model->bar_write(card->nic, bar, offset, size, value);
}

int32_t nic_work_pending(struct card *card)
{
    return card->model->work_pending(card->nic) || backend_has_frames(&card->backend);
}

uint32_t nic_poll(struct card *card)
{
    const struct card_model *model = card->model;
    struct backend *backend = &card->backend;
    const struct backend_card receiver = {card->nic, model->offer, model->offer_super};
    const uint64_t sent_before = backend->stats.tx_pushed_frames;
    uint32_t result = 0;

    model->poll(card->nic);
    if (backend_deliver(backend, ABI_PUMP_FRAMES, &receiver) > 0) {
        result |= ABI_POLL_TOOK;
        model->poll(card->nic);
    }
    if (backend->stats.tx_pushed_frames != sent_before)
        result |= ABI_POLL_SENT;
    if (nic_work_pending(card) != 0)
        result |= ABI_POLL_MORE;
    return result;
}

int32_t nic_irq_level(struct card *card)
{
    return card->model->irq_level(card->nic);
}

double nic_next_event_ms(struct card *card)
{
    const uint64_t at = card->model->next_event_ns(card->nic);

    return at == UINT64_MAX ? __builtin_inf() : (double)at / NS_PER_MS;
}

void nic_set_link(struct card *card, int32_t up)
{
    card->model->set_link(card->nic, up != 0);
}

int32_t nic_link(struct card *card)
{
    return card->model->link(card->nic);
}

uint8_t *nic_area(struct card *card)
{
    return card->record + BACKEND_PREFIX_BYTES;
}

int32_t nic_receive(struct card *card, uint32_t bytes)
{
    return backend_push(&card->backend, card->record, bytes);
}

void nic_limit_waiting(struct card *card, uint32_t frames)
{
    card->backend.waiting_max = frames;
}

int32_t nic_take(struct card *card)
{
    return (int32_t)backend_take(&card->backend, nic_area(card), ABI_AREA_BYTES);
}

const char *nic_stat_name(struct card *card, uint32_t stat)
{
    if (stat < card->model->stat_count)
        return card->model->stat_names[stat].name;
    stat -= card->model->stat_count;
    return stat < BACKEND_NAMES ? backend_names[stat].name : NULL;
}

const uint64_t *nic_stats(struct card *card)
{
    const struct card_model *model = card->model;
    const uint8_t *own = model->stats(card->nic);
    const uint8_t *backend = (const uint8_t *)&card->backend.stats;
    uint64_t *to = card->stats;

    for (uint32_t i = 0; i < model->stat_count && i < CARD_STATS_MAX - BACKEND_NAMES; i++)
        __builtin_memcpy(to++, own + model->stat_names[i].at, sizeof *to);
    for (uint32_t i = 0; i < BACKEND_NAMES; i++)
        __builtin_memcpy(to++, backend + backend_names[i].at, sizeof *to);
    return card->stats;
}

int32_t nic_queue(struct card *card, uint32_t bytes)
{
    if (card->model->queue == NULL || bytes > ABI_AREA_BYTES)
        return ABI_ERR_REFUSED;
    return card->model->queue(card->nic, nic_area(card), bytes);
}

uint32_t nic_save(struct card *card, uint8_t *to, uint32_t capacity, const uint8_t *outgoing,
                  uint32_t outgoing_count, uint32_t outgoing_bytes)
{
    const struct card_frames frames = {outgoing_count, outgoing, outgoing_bytes};

    return (uint32_t)card->model->save(card->nic, &frames, to, capacity);
}

int32_t nic_load(struct card *card, const uint8_t *from, uint32_t bytes)
{
    card->backend.holding = false;
    return card->model->load(card->nic, from, bytes) < 0 ? ABI_ERR_OPTIONS : 0;
}
