#include "host_js.h"

#define NS_PER_MS 1e6

static bool read_js(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    return env_dma_read(context, (uint32_t)gpa, (uint32_t)(gpa >> 32), to, bytes) != 0;
}

static bool write_js(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    return env_dma_write(context, (uint32_t)gpa, (uint32_t)(gpa >> 32), from, bytes) != 0;
}

static bool read_linear(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    struct card *card = context;

    return card->model->dma_whole ? linear_read_whole(&card->linear, gpa, to, bytes)
                                  : linear_read(&card->linear, gpa, to, bytes);
}

static void written(void *context, uint64_t gpa, uint32_t bytes)
{
    env_dma_written(context, (uint32_t)gpa, (uint32_t)(gpa >> 32), bytes);
}

static bool write_linear(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    struct card *card = context;

    return card->model->dma_whole ? linear_write_whole(&card->linear, gpa, from, bytes)
                                  : linear_write(&card->linear, gpa, from, bytes);
}

static bool write_linear_and_tell(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    const bool inside = write_linear(context, gpa, from, bytes);

    written(context, gpa, bytes);
    return inside;
}

static uint8_t *map_linear(void *context, uint64_t gpa, uint32_t bytes)
{
    struct card *card = context;

    return linear_map(&card->linear, gpa, bytes);
}

static void irq(void *context, bool level)
{
    env_irq(context, level);
}

static void message(void *context, uint32_t vector)
{
    struct card *card = context;
    uint64_t address;
    uint32_t data;

    if (card->model->message(card->nic, vector, &address, &data))
        env_message(card, (uint32_t)address, (uint32_t)(address >> 32), data);
}

static uint8_t *frame_begin(void *context, uint32_t bytes)
{
    struct card *card = context;

    return backend_frame_begin(&card->backend, bytes);
}

static void frame_end(void *context, uint32_t bytes)
{
    struct card *card = context;

    backend_frame_end(&card->backend, bytes);
}

static uint8_t *super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct card *card = context;

    return backend_super_begin(&card->backend, bytes, gso_bytes);
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return (uint64_t)(env_now_ms() * NS_PER_MS);
}

struct nic_host host_js(struct card *card, uint32_t kind)
{
    const bool messages = (kind & ABI_HOST_MESSAGES) != 0 && card->model->message != NULL;
    struct nic_host host = {
        .context = card,
        .dma_read = read_js,
        .dma_write = write_js,
        .irq = irq,
        .message = messages ? message : NULL,
        .frame_begin = frame_begin,
        .frame_end = frame_end,
        .super_begin = card->backend.super ? super_begin : NULL,
        .now_ns = now_ns,
    };

    kind &= ~(uint32_t)ABI_HOST_MESSAGES;
    if (kind != ABI_HOST_CALLBACKS) {
        host.dma_read = read_linear;
        host.dma_write = write_linear;
        host.dma_map = map_linear;
    }
    if (kind == ABI_HOST_LINEAR_WRITTEN) {
        host.dma_write = write_linear_and_tell;
        host.dma_written = written;
    }
    return host;
}
