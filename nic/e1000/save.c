#include "nic/snapshot.h"
#include "snapshot.h"

static const struct tagged_register tagged[] = TAGGED_REGISTERS;

enum { TAGGED_COUNT = sizeof tagged / sizeof tagged[0] };

bool snapshot_is_other_register(const struct e1000 *nic, uint32_t offset)
{
    if (offset >= REG_BYTES || offset == E1000_RAL0 || offset == E1000_RAH0 ||
        reg_writable(nic, offset) == 0)
        return false;
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (tagged[i].offset == offset)
            return false;
    }
    return true;
}

/* Fields 42..54 must name a ring a reader accepts; what the guest really wrote goes to 138. */
static uint32_t ring_field(const struct e1000 *nic, uint32_t offset, uint32_t length_offset)
{
    const uint32_t value = reg_get(nic, offset);
    const uint32_t count = reg_get(nic, length_offset) / DESC_BYTES;

    if (count > RING_DESCRIPTORS_MAX)
        return offset == length_offset ? 0 : value;
    return offset == length_offset || count == 0 ? value : value % count;
}

static uint32_t register_field(const struct e1000 *nic, uint32_t offset)
{
    switch (offset) {
    case E1000_RDLEN:
    case E1000_RDH:
    case E1000_RDT:
        return ring_field(nic, offset, E1000_RDLEN);
    case E1000_TDLEN:
    case E1000_TDH:
    case E1000_TDT:
        return ring_field(nic, offset, E1000_TDLEN);
    default:
        return reg_get(nic, offset);
    }
}

static void save_registers(struct snapshot_writer *writer, const struct e1000 *nic, uint32_t from,
                           uint32_t to)
{
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (tagged[i].tag >= from && tagged[i].tag <= to)
            snapshot_u32(writer, tagged[i].tag, register_field(nic, tagged[i].offset));
    }
}

static void save_pci(struct snapshot_writer *writer, const struct e1000 *nic)
{
    const struct pci_config *pci = &nic->pci;

    snapshot_field(writer, TAG_CONFIG_SPACE, pci->bytes, sizeof pci->bytes);
    for (uint16_t bar = 0; bar < 2; bar++) {
        snapshot_u32(writer, (uint16_t)(TAG_BAR0 + 2 * bar),
                     le32_get(pci->bytes + PCI_BAR0 + 4 * bar));
        snapshot_bool(writer, (uint16_t)(TAG_BAR0_PROBE + 2 * bar), pci->bar_probe[bar]);
    }
}

static void context_pack(uint8_t raw[CONTEXT_BYTES], const struct tx_context *context)
{
    raw[0] = context->ipcss;
    raw[1] = context->ipcso;
    le16_put(raw + 2, context->ipcse);
    raw[4] = context->tucss;
    raw[5] = context->tucso;
    le16_put(raw + 6, context->tucse);
    le32_put(raw + 8, context->payload_bytes | (uint32_t)context->tucmd << 24);
    raw[12] = context->header_bytes;
    raw[13] = 0;
    le16_put(raw + 14, context->mss);
}

static void save_packet(struct snapshot_writer *writer, const struct e1000 *nic)
{
    const struct tx_packet *packet = &nic->tx;
    const struct tx_context *tso = &nic->contexts[1];
    const uint32_t fields[TAG_CONTEXT_FIELDS] = {
        tso->ipcss, tso->ipcso, tso->ipcse, tso->tucss,
        tso->tucso, tso->tucse, tso->mss,   tso->header_bytes,
    };

    snapshot_field(writer, TAG_GATHER, nic->gather, packet->gathered);
    snapshot_bool(writer, TAG_DROP, packet->drop);
    for (uint16_t i = 0; i < TAG_CONTEXT_FIELDS; i++)
        snapshot_u32(writer, (uint16_t)(TAG_IPCSS + i), fields[i]);
    snapshot_u8(writer, TAG_PACKET, (uint8_t)packet->kind);
    snapshot_u8(writer, TAG_PACKET_CMD, packet->cmd);
    snapshot_u32(writer, TAG_PACKET_CSS, packet->css);
    snapshot_u32(writer, TAG_PACKET_CSO, packet->cso);
    snapshot_u8(writer, TAG_PACKET_POPTS, packet->popts);
}

static void save_identity(struct snapshot_writer *writer, const struct e1000 *nic)
{
    uint8_t mac[6];

    e1000_mac(nic, mac);
    snapshot_field(writer, TAG_MAC, mac, sizeof mac);
    snapshot_bool(writer, TAG_RAH0_VALID, (reg_get(nic, E1000_RAH0) & RAH_AV) != 0);
    snapshot_open_field(writer, TAG_EEPROM, 2 * EEPROM_WORDS);
    for (uint32_t i = 0; i < EEPROM_WORDS; i += 2)
        snapshot_append_u32(writer, (uint32_t)nic->eeprom[i + 1] << 16 | nic->eeprom[i]);
    snapshot_open_field(writer, TAG_PHY, 2 * PHY_REGISTERS);
    for (uint32_t i = 0; i < PHY_REGISTERS; i += 2)
        snapshot_append_u32(writer, (uint32_t)nic->phy[i + 1] << 16 | nic->phy[i]);
}

static bool differs(const struct e1000 *nic, uint32_t offset)
{
    return reg_get(nic, offset) != reg_reset_value(nic, offset) &&
           snapshot_is_other_register(nic, offset);
}

static void save_other_registers(struct snapshot_writer *writer, const struct e1000 *nic)
{
    uint32_t count = 0;

    for (uint32_t offset = 0; offset < REG_BYTES; offset += 4)
        count += differs(nic, offset);
    snapshot_open_field(writer, TAG_REGISTERS, 4 + 8 * count);
    snapshot_append_u32(writer, count);
    for (uint32_t offset = 0; offset < REG_BYTES; offset += 4) {
        if (differs(nic, offset)) {
            snapshot_append_u32(writer, offset);
            snapshot_append_u32(writer, reg_get(nic, offset));
        }
    }
}

/* Frames that wait for the guest: bytes of their field, or the field itself. */
static uint32_t queue_bytes(const struct frame_queue *queue, uint32_t *longest)
{
    uint32_t at = queue->head;
    uint32_t total = 4;

    *longest = 0;
    for (uint32_t i = 0; i < queue->frames; i++) {
        const uint8_t *frame;
        uint32_t bytes, note;

        at = frame_queue_at(queue, at, &frame, &bytes, &note);
        total += 4 + bytes;
        if (bytes > *longest)
            *longest = bytes;
    }
    return total;
}

static void save_queue(struct snapshot_writer *writer, const struct frame_queue *queue,
                       uint16_t tag)
{
    uint32_t longest;
    uint32_t at = queue->head;

    snapshot_open_field(writer, tag, queue_bytes(queue, &longest));
    snapshot_append_u32(writer, queue->frames);
    for (uint32_t i = 0; i < queue->frames; i++) {
        const uint8_t *frame;
        uint32_t bytes, note;

        at = frame_queue_at(queue, at, &frame, &bytes, &note);
        snapshot_append_u32(writer, bytes);
        snapshot_append(writer, frame, bytes);
    }
}

static void save_frames(struct snapshot_writer *writer, const struct e1000 *nic,
                        const struct e1000_frames *outgoing, bool jumbo)
{
    if (!jumbo)
        save_queue(writer, &nic->queue, TAG_RX_FRAMES);
    snapshot_open_field(writer, TAG_TX_FRAMES, 4 + (outgoing != NULL ? outgoing->bytes : 0));
    snapshot_append_u32(writer, outgoing != NULL ? outgoing->count : 0);
    if (outgoing != NULL)
        snapshot_append(writer, outgoing->records, outgoing->bytes);
}

static void save_packet_rest(struct snapshot_writer *writer, const struct e1000 *nic)
{
    const struct tx_packet *packet = &nic->tx;
    uint8_t context[CONTEXT_BYTES];
    uint8_t rest[PACKET_REST_BYTES] = {packet->held, packet->started};

    snapshot_open_field(writer, TAG_CONTEXT_REST, CONTEXT_REST_BYTES);
    snapshot_append_u32(writer, nic->contexts[1].payload_bytes);
    snapshot_append(writer, &nic->contexts[1].tucmd, 1);
    context_pack(context, &nic->contexts[0]);
    snapshot_field(writer, TAG_CONTEXT_PLAIN, context, sizeof context);
    context_pack(context, &packet->context);
    snapshot_field(writer, TAG_PACKET_CONTEXT, context, sizeof context);
    le16_put(rest + 2, packet->special);
    le32_put(rest + 4, packet->held ? packet->segment : 0);
    snapshot_field(writer, TAG_PACKET_REST, rest, sizeof rest);
}

static void save_wires(struct snapshot_writer *writer, const struct e1000 *nic)
{
    const struct microwire *wire = &nic->microwire;
    uint8_t microwire[MICROWIRE_BYTES] = {wire->reading, wire->command_bits};
    uint8_t mdio[MDIO_BYTES] = {nic->mdio.ones, nic->mdio.bits};

    le16_put(microwire + 2, wire->command);
    microwire[4] = wire->address;
    microwire[5] = wire->bits_left;
    snapshot_field(writer, TAG_MICROWIRE, microwire, sizeof microwire);
    le16_put(mdio + 2, nic->mdio.out);
    le32_put(mdio + 4, nic->mdio.shift);
    snapshot_field(writer, TAG_MDIO, mdio, sizeof mdio);
}

/* Clocks differ between hosts: what a timer would raise is saved, not when. */
static uint32_t causes_to_come(const struct e1000 *nic)
{
    return nic->timers.held_causes | (nic->timers.rx_delay != NEVER ? IRQ_RXT0 : 0) |
           (nic->timers.tx_delay != NEVER ? IRQ_TXDW : 0);
}

static bool rings_differ(const struct e1000 *nic)
{
    for (uint32_t i = 0; i < TAGGED_COUNT; i++) {
        if (register_field(nic, tagged[i].offset) != reg_get(nic, tagged[i].offset))
            return true;
    }
    return false;
}

static void save_rings_raw(struct snapshot_writer *writer, const struct e1000 *nic)
{
    static const uint16_t offsets[] = {E1000_RDLEN, E1000_RDH, E1000_RDT,
                                       E1000_TDLEN, E1000_TDH, E1000_TDT};

    if (!rings_differ(nic))
        return;
    snapshot_open_field(writer, TAG_RINGS_RAW, RINGS_RAW_BYTES);
    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        snapshot_append_u32(writer, reg_get(nic, offsets[i]));
}

size_t e1000_save(const struct e1000 *nic, const struct e1000_frames *outgoing, uint8_t *to,
                  size_t capacity)
{
    struct snapshot_writer writer;
    const uint8_t link[LINK_BYTES] = {nic->cable, nic->timers.autonegotiation != NEVER};
    uint32_t longest;

    (void)queue_bytes(&nic->queue, &longest);
    const bool jumbo = longest > E1K0_FRAME_MAX_BYTES;

    snapshot_begin(&writer, to, capacity, "E1K0", E1K0_MAJOR, E1K0_MINOR);
    save_pci(&writer, nic);
    save_registers(&writer, nic, 10, 15);
    snapshot_u32(&writer, TAG_IOADDR, nic->io_address);
    save_registers(&writer, nic, TAG_ICR, TAG_IMS);
    snapshot_bool(&writer, TAG_LINE, (reg_get(nic, E1000_ICR) & reg_get(nic, E1000_IMS)) != 0);
    save_registers(&writer, nic, 30, TAG_TDT);
    save_packet(&writer, nic);
    save_identity(&writer, nic);
    save_other_registers(&writer, nic);
    save_frames(&writer, nic, outgoing, jumbo);
    save_packet_rest(&writer, nic);
    save_wires(&writer, nic);
    snapshot_u32(&writer, TAG_HELD_CAUSES, causes_to_come(nic));
    snapshot_field(&writer, TAG_LINK, link, sizeof link);
    snapshot_open_field(&writer, TAG_STATISTICS, 4 * E1000_STATISTICS_WORDS);
    for (uint32_t i = 0; i < E1000_STATISTICS_WORDS; i++)
        snapshot_append_u32(&writer, reg_get(nic, E1000_STATISTICS + 4 * i));
    snapshot_u32(&writer, TAG_RAH0, reg_get(nic, E1000_RAH0));
    save_rings_raw(&writer, nic);
    if (jumbo)
        save_queue(&writer, &nic->queue, TAG_RX_JUMBO);
    return writer.bytes;
}
