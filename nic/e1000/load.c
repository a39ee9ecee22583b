#include "nic/snapshot.h"
#include "snapshot.h"

/*
 * All or nothing: check() looks at every field and fills struct loaded with copies of the small
 * ones; only when nothing is wrong does apply() touch the card (§10.2).
 */
static const struct tagged_register tagged[] = TAGGED_REGISTERS;

enum { TAGGED_COUNT = sizeof tagged / sizeof tagged[0] };

/* A list of frames or registers inside the blob. */
struct list {
    const uint8_t *records; /* NULL: no such field */
    uint32_t count;
};

struct loaded {
    uint32_t regs[TAGGED_COUNT];
    uint32_t bar[2], io_address;
    bool bar_probe[2];
    bool line, drop, valid;
    uint32_t context[TAG_CONTEXT_FIELDS];
    uint8_t kind, cmd, popts;
    uint32_t css, cso;
    const uint8_t *config, *gather, *mac, *eeprom, *phy;
    uint32_t gather_bytes;
    const uint8_t *context_rest, *context_plain, *packet_context, *packet_rest;
    const uint8_t *microwire, *mdio, *link, *statistics, *rings_raw;
    uint32_t held_causes;
    uint32_t rah0;
    bool rah0_found;
    struct list registers, rx, jumbo, tx;
};

/* 1 or 0: fine; negative: not. */
static bool bad(int result)
{
    return result < 0;
}

static bool check_pci(const struct snapshot_reader *reader, struct loaded *in)
{
    for (uint16_t i = 0; i < 2; i++) {
        if (bad(snapshot_get_u32(reader, (uint16_t)(TAG_BAR0 + 2 * i), &in->bar[i])) ||
            bad(snapshot_get_bool(reader, (uint16_t)(TAG_BAR0_PROBE + 2 * i), &in->bar_probe[i])))
            return false;
    }
    if (bad(snapshot_get_bytes(reader, TAG_CONFIG_SPACE, &in->config, PCI_CONFIG_BYTES)) ||
        bad(snapshot_get_u32(reader, TAG_IOADDR, &in->io_address)))
        return false;
    return (in->bar[0] & 0xf) == 0 && (in->bar[1] & 3) == 1 && (in->io_address & 3) == 0 &&
           !(in->bar_probe[0] && in->bar[0] != 0) && !(in->bar_probe[1] && in->bar[1] != 1);
}

static uint32_t tagged_value(const struct loaded *in, uint32_t tag)
{
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (tagged[i].tag == tag)
            return in->regs[i];
    }
    return 0;
}

/* Length, head and tail of one ring, if the blob names any of them. */
static bool check_ring(const struct snapshot_reader *reader, const struct loaded *in,
                       uint16_t length_tag)
{
    uint32_t length;

    if (snapshot_find(reader, length_tag, &length) == NULL &&
        snapshot_find(reader, (uint16_t)(length_tag + 1), &length) == NULL &&
        snapshot_find(reader, (uint16_t)(length_tag + 2), &length) == NULL)
        return true;
    const uint32_t bytes = tagged_value(in, length_tag);
    const uint32_t count = bytes / DESC_BYTES;

    if (count > RING_DESCRIPTORS_MAX)
        return false;
    return count == 0 || bytes % DESC_BYTES != 0 ||
           (tagged_value(in, length_tag + 1) < count && tagged_value(in, length_tag + 2) < count);
}

static bool check_registers(const struct snapshot_reader *reader, struct loaded *in)
{
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (bad(snapshot_get_u32(reader, tagged[i].tag, &in->regs[i])))
            return false;
    }
    in->line = (tagged_value(in, TAG_ICR) & tagged_value(in, TAG_IMS)) != 0;
    const bool level = in->line;
    if (bad(snapshot_get_bool(reader, TAG_LINE, &in->line)) || in->line != level)
        return false;
    return check_ring(reader, in, TAG_RDLEN) && check_ring(reader, in, TAG_TDLEN);
}

static bool check_packet(const struct snapshot_reader *reader, struct loaded *in)
{
    in->gather = snapshot_find(reader, TAG_GATHER, &in->gather_bytes);
    if (in->gather != NULL && in->gather_bytes > TX_PACKET_MAX_BYTES)
        return false;
    for (uint16_t i = 0; i < TAG_CONTEXT_FIELDS; i++) {
        if (bad(snapshot_get_u32(reader, (uint16_t)(TAG_IPCSS + i), &in->context[i])) ||
            in->context[i] > TX_PACKET_MAX_BYTES)
            return false;
    }
    const int kind = snapshot_get_u8(reader, TAG_PACKET, &in->kind);
    return !bad(kind) && in->kind <= TX_ADVANCED &&
           !bad(snapshot_get_bool(reader, TAG_DROP, &in->drop)) &&
           !bad(snapshot_get_u8(reader, TAG_PACKET_CMD, &in->cmd)) &&
           !bad(snapshot_get_u32(reader, TAG_PACKET_CSS, &in->css)) &&
           !bad(snapshot_get_u32(reader, TAG_PACKET_CSO, &in->cso)) &&
           !bad(snapshot_get_u8(reader, TAG_PACKET_POPTS, &in->popts)) &&
           in->css <= TX_PACKET_MAX_BYTES && in->cso <= TX_PACKET_MAX_BYTES;
}

static bool check_identity(const struct snapshot_reader *reader, struct loaded *in)
{
    return !bad(snapshot_get_bytes(reader, TAG_MAC, &in->mac, 6)) &&
           !bad(snapshot_get_bool(reader, TAG_RAH0_VALID, &in->valid)) &&
           !bad(snapshot_get_bytes(reader, TAG_EEPROM, &in->eeprom, 2 * EEPROM_WORDS)) &&
           !bad(snapshot_get_bytes(reader, TAG_PHY, &in->phy, 2 * PHY_REGISTERS));
}

static bool check_other_registers(const struct snapshot_reader *reader, struct loaded *in)
{
    uint8_t seen[E1000_MMIO_BYTES / 4 / 8] = {0};
    uint32_t length;
    const uint8_t *field = snapshot_find(reader, TAG_REGISTERS, &length);

    if (field == NULL)
        return true;
    if (length < 4)
        return false;
    const uint32_t count = le32_get(field);
    if (count > 65536 || length - 4 != count * 8)
        return false;
    in->registers = (struct list){field + 4, count};
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t offset = le32_get(field + 4 + 8 * i);
        const uint32_t word = offset / 4;

        if (offset % 4 != 0)
            return false;
        if (offset >= E1000_MMIO_BYTES)
            continue;
        if ((seen[word / 8] >> word % 8 & 1) != 0)
            return false;
        seen[word / 8] |= (uint8_t)(1u << word % 8);
    }
    return true;
}

static bool check_frames(const struct snapshot_reader *reader, uint16_t tag, uint32_t max_bytes,
                         struct list *frames)
{
    uint32_t length;
    uint32_t queue_bytes = 0;
    const uint8_t *field = snapshot_find(reader, tag, &length);

    if (field == NULL)
        return true;
    if (length < 4 || le32_get(field) > E1000_QUEUE_FRAMES)
        return false;
    *frames = (struct list){field + 4, le32_get(field)};
    uint32_t at = 4;
    for (uint32_t i = 0; i < frames->count; i++) {
        if (length - at < 4)
            return false;
        const uint32_t bytes = le32_get(field + at);
        at += 4;
        if (bytes < E1000_FRAME_MIN_BYTES || bytes > max_bytes || bytes > length - at)
            return false;
        at += bytes;
        queue_bytes += frame_queue_record_bytes(bytes);
    }
    return at == length && queue_bytes <= RX_QUEUE_BYTES;
}

static bool check_rest(const struct snapshot_reader *reader, struct loaded *in)
{
    const int rah0 = snapshot_get_u32(reader, TAG_RAH0, &in->rah0);

    in->rah0_found = rah0 == 1;
    return !bad(rah0) && !bad(snapshot_get_u32(reader, TAG_HELD_CAUSES, &in->held_causes)) &&
           !bad(snapshot_get_bytes(reader, TAG_CONTEXT_REST, &in->context_rest,
                                   CONTEXT_REST_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_CONTEXT_PLAIN, &in->context_plain, CONTEXT_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_PACKET_CONTEXT, &in->packet_context,
                                   CONTEXT_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_PACKET_REST, &in->packet_rest, PACKET_REST_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_MICROWIRE, &in->microwire, MICROWIRE_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_MDIO, &in->mdio, MDIO_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_LINK, &in->link, LINK_BYTES)) &&
           !bad(snapshot_get_bytes(reader, TAG_STATISTICS, &in->statistics,
                                   4 * E1000_STATISTICS_WORDS)) &&
           !bad(snapshot_get_bytes(reader, TAG_RINGS_RAW, &in->rings_raw, RINGS_RAW_BYTES));
}

/* What the card holds now: a missing field keeps it. */
static void preset(const struct e1000 *nic, struct loaded *in)
{
    const struct tx_context *tso = &nic->contexts[1];
    const uint32_t context[TAG_CONTEXT_FIELDS] = {
        tso->ipcss, tso->ipcso, tso->ipcse, tso->tucss,
        tso->tucso, tso->tucse, tso->mss,   tso->header_bytes,
    };

    *in = (struct loaded){
        .io_address = nic->io_address,
        .drop = nic->tx.drop,
        .kind = (uint8_t)nic->tx.kind,
        .cmd = nic->tx.cmd,
        .popts = nic->tx.popts,
        .css = nic->tx.css,
        .cso = nic->tx.cso,
        .valid = (reg_get(nic, E1000_RAH0) & RAH_AV) != 0,
    };
    for (uint32_t i = 0; i < TAGGED_COUNT; i++)
        in->regs[i] = reg_get(nic, tagged[i].offset);
    for (uint32_t i = 0; i < 2; i++) {
        in->bar[i] = le32_get(nic->pci.bytes + PCI_BAR0 + 4 * i);
        in->bar_probe[i] = nic->pci.bar_probe[i];
    }
    for (uint32_t i = 0; i < TAG_CONTEXT_FIELDS; i++)
        in->context[i] = context[i];
}

static bool check(const struct snapshot_reader *reader, struct loaded *in)
{
    return check_pci(reader, in) && check_registers(reader, in) && check_packet(reader, in) &&
           check_identity(reader, in) && check_other_registers(reader, in) &&
           check_frames(reader, TAG_RX_FRAMES, E1K0_FRAME_MAX_BYTES, &in->rx) &&
           check_frames(reader, TAG_RX_JUMBO, E1000_FRAME_MAX_BYTES, &in->jumbo) &&
           check_frames(reader, TAG_TX_FRAMES, E1K0_FRAME_MAX_BYTES, &in->tx) &&
           check_rest(reader, in);
}

static struct tx_context context_unpack(const uint8_t *raw)
{
    if (raw == NULL)
        return (struct tx_context){0};
    return (struct tx_context){
        .ipcss = raw[0],
        .ipcso = raw[1],
        .ipcse = le16_get(raw + 2),
        .tucss = raw[4],
        .tucso = raw[5],
        .tucse = le16_get(raw + 6),
        .payload_bytes = le32_get(raw + 8) & 0xfffff,
        .tucmd = raw[11],
        .header_bytes = raw[12],
        .mss = le16_get(raw + 14),
    };
}

static void apply_pci(struct e1000 *nic, const struct loaded *in)
{
    static const uint8_t kept[] = {PCI_COMMAND, PCI_COMMAND + 1, PCI_CACHE_LINE_SIZE,
                                   PCI_LATENCY_TIMER, PCI_INTERRUPT_LINE};

    for (uint32_t i = 0; in->config != NULL && i < sizeof kept; i++)
        pci_config_write(&nic->pci, kept[i], 1, in->config[kept[i]]);
    for (uint32_t i = 0; i < 2; i++)
        pci_config_write(&nic->pci, PCI_BAR0 + 4 * i, 4,
                         in->bar_probe[i] ? UINT32_MAX : in->bar[i]);
    nic->io_address = in->io_address;
}

static void apply_registers(struct e1000 *nic, const struct loaded *in)
{
    const uint32_t ral0 = reg_get(nic, E1000_RAL0);
    const uint32_t rah0 = reg_get(nic, E1000_RAH0);

    regs_reset(nic);
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (tagged[i].offset == E1000_STATUS)
            reg_put(nic, E1000_STATUS,
                    (reg_get(nic, E1000_STATUS) & ~STATUS_LU) | (in->regs[i] & STATUS_LU));
        else if (tagged[i].offset == E1000_EECD)
            reg_put(nic, E1000_EECD, (in->regs[i] & 0x7f) | EECD_PRES);
        else if (reg_writable(nic, tagged[i].offset) == 0)
            reg_put(nic, tagged[i].offset, in->regs[i]);
        else
            reg_restore(nic, tagged[i].offset, in->regs[i]);
    }
    for (uint32_t i = 0; i < in->registers.count; i++) {
        const uint32_t offset = le32_get(in->registers.records + 8 * i);

        if (snapshot_is_other_register(nic, offset))
            reg_restore(nic, offset, le32_get(in->registers.records + 8 * i + 4));
    }
    reg_put(nic, E1000_RAL0, in->mac != NULL ? le32_get(in->mac) : ral0);
    const uint32_t high = in->mac != NULL ? le16_get(in->mac + 4) : rah0 & 0xffff;
    const uint32_t select = in->rah0_found ? in->rah0 & ~(RAH_AV | 0xffff) : 0;
    reg_put(nic, E1000_RAH0, high | select | (in->valid ? RAH_AV : 0));
    for (uint32_t i = 0; in->statistics != NULL && i < E1000_STATISTICS_WORDS; i++)
        reg_put(nic, E1000_STATISTICS + 4 * i, le32_get(in->statistics + 4 * i));
    static const uint16_t raw[] = {E1000_RDLEN, E1000_RDH, E1000_RDT,
                                   E1000_TDLEN, E1000_TDH, E1000_TDT};
    for (uint32_t i = 0; in->rings_raw != NULL && i < sizeof raw / sizeof raw[0]; i++)
        reg_restore(nic, raw[i], le32_get(in->rings_raw + 4 * i));
}

static void apply_packet(struct e1000 *nic, const struct loaded *in)
{
    const uint32_t *field = in->context;
    struct tx_packet *packet = &nic->tx;
    const uint32_t kept_bytes = packet->gathered;

    nic->contexts[0] = context_unpack(in->context_plain);
    nic->contexts[1] = (struct tx_context){
        .ipcss = (uint8_t)field[0],
        .ipcso = (uint8_t)field[1],
        .ipcse = (uint16_t)field[2],
        .tucss = (uint8_t)field[3],
        .tucso = (uint8_t)field[4],
        .tucse = (uint16_t)field[5],
        .mss = (uint16_t)field[6],
        .header_bytes = (uint8_t)field[7],
    };
    if (in->context_rest != NULL) {
        nic->contexts[1].payload_bytes = le32_get(in->context_rest) & 0xfffff;
        nic->contexts[1].tucmd = in->context_rest[4];
    }
    *packet = (struct tx_packet){
        .kind = (enum tx_kind)in->kind,
        .drop = in->drop && in->kind != TX_NONE,
        .started = in->kind == TX_ADVANCED,
        .cmd = in->cmd,
        .popts = in->popts,
        .css = (uint8_t)in->css,
        .cso = (uint8_t)in->cso,
        .context = in->packet_context != NULL ? context_unpack(in->packet_context)
                                              : nic->contexts[(in->cmd & TXD_CMD_TSE) != 0],
    };
    if (in->packet_rest != NULL) {
        packet->started = packet->kind == TX_ADVANCED && in->packet_rest[1] != 0;
        packet->special = le16_get(in->packet_rest + 2);
    }
    if (packet->kind == TX_NONE || packet->drop)
        return;
    packet->gathered = in->gather != NULL ? in->gather_bytes : kept_bytes;
    packet->bytes = packet->gathered;
    if (in->gather != NULL)
        __builtin_memcpy(nic->gather, in->gather, in->gather_bytes);
    if (in->packet_rest != NULL) {
        packet->held = in->packet_rest[0] != 0;
        packet->segment = le32_get(in->packet_rest + 4) % (TX_SEGMENTS_MAX + 1);
    }
    if (!packet->held)
        packet->segment = 0;
}

static void apply_wires(struct e1000 *nic, const struct loaded *in)
{
    nic->microwire = (struct microwire){0};
    nic->mdio = (struct mdio){0};
    if (in->microwire != NULL) /* the shifts below need their counts in range */
        nic->microwire = (struct microwire){
            .reading = in->microwire[0] != 0,
            .command_bits = in->microwire[1] % 10,
            .command = le16_get(in->microwire + 2),
            .address = in->microwire[4] % EEPROM_WORDS,
            .bits_left = in->microwire[5] % 17,
        };
    if (in->mdio != NULL)
        nic->mdio = (struct mdio){
            .ones = in->mdio[0] % 33,
            .bits = in->mdio[1] % 32,
            .out = le16_get(in->mdio + 2),
            .shift = le32_get(in->mdio + 4),
        };
    for (uint32_t i = 0; in->eeprom != NULL && i < EEPROM_WORDS; i++)
        nic->eeprom[i] = le16_get(in->eeprom + 2 * i);
    for (uint32_t i = 0; in->phy != NULL && i < PHY_REGISTERS; i++)
        nic->phy[i] = le16_get(in->phy + 2 * i);
}

static void apply_queue(struct e1000 *nic, const struct list *frames)
{
    const uint8_t *record = frames->records;

    for (uint32_t i = 0; i < frames->count; i++) {
        const uint32_t bytes = le32_get(record);

        if (!rx_keep(nic, record + 4, bytes))
            nic->stats.rx_dropped_full++;
        record += 4 + bytes;
    }
}

/* A timer's remaining time means nothing on another clock: early is legal (§6.2), so now. */
static void apply_timers(struct e1000 *nic, const struct loaded *in)
{
    nic->timers.autonegotiation = NEVER;
    irq_timers_clear(nic);
    irq_raise(nic, in->held_causes);
    nic->cable = in->link != NULL ? in->link[0] != 0 : e1000_link(nic);
    if (in->link != NULL && in->link[1] != 0) {
        reg_put(nic, E1000_STATUS, reg_get(nic, E1000_STATUS) & ~STATUS_LU);
        nic->timers.autonegotiation =
            nic->host.now_ns(nic->host.context) + (uint64_t)nic->config.autonegotiate_ms * 1000000;
    }
}

static void send_frames(struct e1000 *nic, const struct list *frames)
{
    const uint8_t *record = frames->records;

    for (uint32_t i = 0; i < frames->count; i++) {
        const uint32_t bytes = le32_get(record);
        uint8_t *room = nic->host.frame_begin(nic->host.context, bytes);

        if (room != NULL) {
            __builtin_memcpy(room, record + 4, bytes);
            nic->host.frame_end(nic->host.context, bytes);
        } else {
            nic->stats.tx_dropped++;
        }
        record += 4 + bytes;
    }
}

int e1000_load(struct e1000 *nic, const uint8_t *from, size_t bytes)
{
    struct snapshot_reader reader;
    struct loaded in;

    if (nic->busy || snapshot_open(&reader, from, bytes, "E1K0", E1K0_MAJOR) != 0)
        return E1000_ERR_ARGUMENT;
    preset(nic, &in);
    if (!check(&reader, &in))
        return E1000_ERR_ARGUMENT;
    apply_wires(nic, &in); /* before the registers: their reset reads the EEPROM */
    apply_pci(nic, &in);
    apply_registers(nic, &in);
    apply_packet(nic, &in);
    frame_queue_clear(&nic->queue);
    apply_queue(nic, in.jumbo.records != NULL ? &in.jumbo : &in.rx);
    apply_timers(nic, &in);
    send_frames(nic, &in.tx);
    irq_update(nic);
    return 0;
}
