#include "driver.h"

#include <stdlib.h>
#include <string.h>

#include "vectors.h"

static const uint64_t hole_start = 0xb0000000;
static const uint64_t hole_end = 0x100000000;

static void dma_seen(struct driver *d, bool write, uint64_t gpa, uint32_t bytes)
{
    if (d->watch != NULL)
        d->watch(d, write, gpa, bytes);
    if (d->on_dma != NULL)
        d->on_dma(d);
}

/* Bytes from gpa on that lie in RAM, at most `bytes`. */
static uint32_t in_ram(uint64_t gpa, uint32_t bytes)
{
    if (gpa >= DRIVER_RAM_BYTES)
        return 0;
    return bytes <= DRIVER_RAM_BYTES - gpa ? bytes : (uint32_t)(DRIVER_RAM_BYTES - gpa);
}

static bool host_read(void *context, uint64_t gpa, void *to, uint32_t bytes)
{
    struct driver *d = context;
    const uint32_t good = in_ram(gpa, bytes);

    d->reads++;
    dma_seen(d, false, gpa, bytes);
    memcpy(to, d->ram + (good > 0 ? gpa : 0), good);
    for (uint32_t i = good; i < bytes; i++) {
        const uint64_t at = gpa + i;

        ((uint8_t *)to)[i] = at >= hole_start && at < hole_end ? 0xff : 0;
    }
    return good == bytes;
}

static bool host_write(void *context, uint64_t gpa, const void *from, uint32_t bytes)
{
    struct driver *d = context;
    const uint32_t good = in_ram(gpa, bytes);

    if (d->writes < DRIVER_WRITES_MAX)
        d->write[d->writes] = (struct driver_write){gpa, bytes};
    d->writes++;
    dma_seen(d, true, gpa, bytes);
    memcpy(d->ram + (good > 0 ? gpa : 0), from, good);
    return good == bytes;
}

static uint8_t *host_map(void *context, uint64_t gpa, uint32_t bytes)
{
    struct driver *d = context;

    return d->map && in_ram(gpa, bytes) == bytes ? d->ram + gpa : NULL;
}

static void host_written(void *context, uint64_t gpa, uint32_t bytes)
{
    struct driver *d = context;

    if (d->writes < DRIVER_WRITES_MAX)
        d->write[d->writes] = (struct driver_write){gpa, bytes};
    d->writes++;
    dma_seen(d, true, gpa, bytes);
}

static void host_irq(void *context, bool level)
{
    struct driver *d = context;

    assert_int_not_equal(level, d->irq); /* transitions only */
    d->irq = level;
    d->irq_edges += level;
}

static void pending_drop(struct driver *d)
{
    if (d->pending != NULL)
        vector_bytes_free(d->pending, d->pending_bytes);
    d->pending = NULL;
}

static uint8_t *host_frame_begin(void *context, uint32_t bytes)
{
    static const uint8_t stale[E1000_SUPER_MAX_BYTES] = {0xa5};
    struct driver *d = context;

    assert_true(bytes >= 1 && bytes <= sizeof stale);
    pending_drop(d);
    if (d->sink_room == 0 || d->frames == DRIVER_FRAMES_MAX)
        return NULL;
    d->pending = guarded_copy(stale, bytes);
    d->pending_bytes = bytes;
    d->pending_gso_bytes = 0;
    return d->pending;
}

static uint8_t *host_super_begin(void *context, uint32_t bytes, uint16_t gso_bytes)
{
    struct driver *d = context;
    uint8_t *room = host_frame_begin(context, bytes);

    assert_int_not_equal(gso_bytes, 0);
    d->pending_gso_bytes = gso_bytes;
    return room;
}

static void host_frame_end(void *context, uint32_t bytes)
{
    struct driver *d = context;

    assert_non_null(d->pending);
    assert_int_equal(bytes, d->pending_bytes);
    d->frame[d->frames++] = (struct driver_frame){d->pending, bytes, d->pending_gso_bytes};
    d->pending = NULL;
    d->sink_room--;
}

static uint64_t host_now(void *context)
{
    const struct driver *d = context;

    return d->now_ns;
}

void driver_power_on(struct driver *d, const struct e1000_config *config)
{
    d->config = *config;
    d->host.super_begin = d->super ? host_super_begin : NULL;
    d->irq = false;
    d->nic = e1000_init(d->memory, e1000_bytes(), &d->host, config);
    assert_non_null(d->nic);
}

int driver_setup(void **state)
{
    struct driver *d = calloc(1, sizeof *d);
    const struct e1000_config config = {.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                                        .real_fcs = true};

    assert_non_null(d);
    d->memory = aligned_alloc(16, (e1000_bytes() + 15) / 16 * 16);
    d->ram = calloc(1, DRIVER_RAM_BYTES);
    assert_non_null(d->memory);
    assert_non_null(d->ram);
    d->sink_room = UINT32_MAX;
    d->now_ns = 1000000000;
    d->host = (struct nic_host){
        .context = d,
        .dma_read = host_read,
        .dma_write = host_write,
        .dma_map = host_map,
        .dma_written = host_written,
        .irq = host_irq,
        .frame_begin = host_frame_begin,
        .frame_end = host_frame_end,
        .now_ns = host_now,
    };
    driver_power_on(d, &config);
    *state = d;
    return 0;
}

void driver_frames_clear(struct driver *d)
{
    for (uint32_t i = 0; i < d->frames; i++)
        vector_bytes_free(d->frame[i].data, d->frame[i].bytes);
    d->frames = 0;
}

int driver_teardown(void **state)
{
    struct driver *d = *state;

    pending_drop(d);
    driver_frames_clear(d);
    free(d->ram);
    free(d->memory);
    free(d);
    return 0;
}

int driver_setup_started(void **state)
{
    driver_setup(state);
    driver_start(*state);
    return 0;
}

uint32_t driver_get(struct driver *d, uint32_t offset)
{
    return e1000_mmio_read(d->nic, offset, 4);
}

void driver_put(struct driver *d, uint32_t offset, uint32_t value)
{
    e1000_mmio_write(d->nic, offset, 4, value);
}

void driver_tx_ring(struct driver *d, uint64_t gpa, uint32_t count)
{
    driver_put(d, E1000_TDBAL, (uint32_t)gpa);
    driver_put(d, E1000_TDBAH, (uint32_t)(gpa >> 32));
    driver_put(d, E1000_TDLEN, count * DESC_BYTES);
    driver_put(d, E1000_TDH, 0);
    driver_put(d, E1000_TDT, 0);
    d->tx_tail = 0;
    d->tx_count = count;
}

void driver_rx_ring(struct driver *d, uint64_t gpa, uint32_t count)
{
    driver_put(d, E1000_RDBAL, (uint32_t)gpa);
    driver_put(d, E1000_RDBAH, (uint32_t)(gpa >> 32));
    driver_put(d, E1000_RDLEN, count * DESC_BYTES);
    driver_put(d, E1000_RDH, 0);
    driver_put(d, E1000_RDT, 0);
    d->rx_tail = 0;
    d->rx_count = count;
}

void driver_start(struct driver *d)
{
    e1000_set_pci_command(d->nic, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver_tx_ring(d, DRIVER_TX_RING, DRIVER_RING);
    driver_rx_ring(d, DRIVER_RX_RING, DRIVER_RING);
    driver_put(d, E1000_TCTL, TCTL_EN);
    driver_put(d, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_BAM);
}

static uint8_t *tx_slot(const struct driver *d, uint32_t index)
{
    const uint64_t base = (uint64_t)reg_get(d->nic, E1000_TDBAH) << 32 |
                          (reg_get(d->nic, E1000_TDBAL) & ~UINT32_C(15));

    assert_true(base + (uint64_t)d->tx_count * DESC_BYTES <= DRIVER_RAM_BYTES);
    return d->ram + base + index * DESC_BYTES;
}

uint32_t driver_tx_put(struct driver *d, const uint8_t raw[16])
{
    const uint32_t index = d->tx_tail;

    memcpy(tx_slot(d, index), raw, DESC_BYTES);
    d->tx_tail = (index + 1) % d->tx_count;
    return index;
}

void driver_tx_kick(struct driver *d)
{
    driver_put(d, E1000_TDT, d->tx_tail);
}

uint8_t driver_pattern(uint32_t index, uint32_t at)
{
    return (uint8_t)(at * 7 + index * 13 + 1);
}

uint32_t driver_queue_legacy(struct driver *d, uint64_t gpa, uint32_t bytes, uint8_t cso,
                             uint8_t cmd, uint8_t css, uint16_t special)
{
    uint8_t raw[16] = {0};

    le64_put(raw, gpa);
    le16_put(raw + 8, (uint16_t)bytes);
    raw[10] = cso;
    raw[11] = cmd;
    raw[13] = css;
    le16_put(raw + 14, special);
    const uint32_t index = driver_tx_put(d, raw);
    driver_tx_kick(d);
    return index;
}

uint32_t driver_queue_tx(struct driver *d, uint32_t bytes, uint8_t cmd)
{
    const uint32_t index = d->tx_tail;
    const uint64_t gpa = DRIVER_TX_BUFFERS + (uint64_t)index * DRIVER_BUFFER_BYTES;

    assert_true(bytes <= DRIVER_BUFFER_BYTES);
    for (uint32_t i = 0; i < bytes; i++)
        d->ram[gpa + i] = driver_pattern(index, i);
    return driver_queue_legacy(d, gpa, bytes, 0, cmd, 0, 0);
}

uint32_t driver_queue_data(struct driver *d, uint64_t gpa, uint32_t bytes, uint8_t cmd,
                           uint8_t popts, uint16_t special)
{
    uint8_t raw[16] = {0};

    le64_put(raw, gpa);
    le32_put(raw + 8, bytes);
    raw[10] = (uint8_t)((bytes >> 16 & 15) | TXD_DTYP_DATA << 4);
    raw[11] = (uint8_t)(cmd | TXD_CMD_DEXT);
    raw[13] = popts;
    le16_put(raw + 14, special);
    const uint32_t index = driver_tx_put(d, raw);
    driver_tx_kick(d);
    return index;
}

uint32_t driver_queue_context(struct driver *d, const struct driver_context *context)
{
    uint8_t raw[16] = {0};

    raw[0] = context->ipcss;
    raw[1] = context->ipcso;
    le16_put(raw + 2, context->ipcse);
    raw[4] = context->tucss;
    raw[5] = context->tucso;
    le16_put(raw + 6, context->tucse);
    le32_put(raw + 8, context->paylen & 0xfffff);
    raw[11] = (uint8_t)(context->tucmd | TXD_CMD_DEXT);
    raw[13] = context->hdrlen;
    le16_put(raw + 14, context->mss);
    const uint32_t index = driver_tx_put(d, raw);
    driver_tx_kick(d);
    return index;
}

uint8_t driver_tx_status(const struct driver *d, uint32_t index)
{
    return tx_slot(d, index)[DESC_STATUS_AT];
}

static uint8_t *rx_slot(const struct driver *d, uint32_t index)
{
    const uint64_t base = (uint64_t)reg_get(d->nic, E1000_RDBAH) << 32 |
                          (reg_get(d->nic, E1000_RDBAL) & ~UINT32_C(15));

    assert_true(base + (uint64_t)d->rx_count * DESC_BYTES <= DRIVER_RAM_BYTES);
    return d->ram + base + index * DESC_BYTES;
}

void driver_rx_refill(struct driver *d, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *slot = rx_slot(d, d->rx_tail);

        memset(slot, 0, DESC_BYTES);
        le64_put(slot, DRIVER_RX_BUFFERS + (uint64_t)d->rx_tail * DRIVER_BUFFER_BYTES);
        d->rx_tail = (d->rx_tail + 1) % d->rx_count;
    }
    driver_put(d, E1000_RDT, d->rx_tail);
}

struct driver_rx driver_rx(const struct driver *d, uint32_t index)
{
    const uint8_t *slot = rx_slot(d, index);

    return (struct driver_rx){
        .buffer = le64_get(slot),
        .length = le16_get(slot + RXD_LENGTH_AT),
        .checksum = le16_get(slot + RXD_CHECKSUM_AT),
        .status = slot[DESC_STATUS_AT],
        .errors = slot[RXD_ERRORS_AT],
        .special = le16_get(slot + RXD_SPECIAL_AT),
    };
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Next byte of the text, or -1 at its end. */
static int hex_next(const char **text)
{
    while (**text == ' ')
        ++*text;
    if (**text == '\0')
        return -1;
    const int high = hex_digit((*text)[0]);
    const int low = hex_digit((*text)[1]);
    assert_true(high >= 0 && low >= 0);
    *text += 2;
    return high * 16 + low;
}

uint32_t driver_hex(struct driver *d, uint64_t gpa, const char *text)
{
    uint32_t bytes = 0;

    for (int byte; (byte = hex_next(&text)) >= 0; bytes++)
        d->ram[gpa + bytes] = (uint8_t)byte;
    return bytes;
}

void driver_assert_hex(const uint8_t *have, const char *text)
{
    for (uint32_t at = 0, byte; (byte = (uint32_t)hex_next(&text)) != UINT32_MAX; at++) {
        if (have[at] != byte)
            fail_msg("byte %u is %02x, want %02x", at, have[at], byte);
    }
}

const uint8_t *driver_frame(struct driver *d, uint32_t bytes)
{
    static uint8_t frame[E1000_FRAME_MAX_BYTES + 1];

    assert_true(bytes <= sizeof frame);
    memset(frame, 0, ETH_HEADER_BYTES);
    memcpy(frame, d->config.mac, ETH_ADDRESS_BYTES);
    frame[6] = 2;
    be16_put(frame + ETH_TYPE_AT, 0x88b5);
    for (uint32_t i = ETH_HEADER_BYTES; i < bytes; i++)
        frame[i] = (uint8_t)(i * 11 + 3);
    return frame;
}
