#include "internal.h"

/*
 * Control queue (virtio §5.1.6.5): class, command and data in the readable part of a chain, one
 * byte of answer in the writable part. A command is read whole before it changes anything.
 */
enum { COMMAND_HEADER_BYTES = 2, VLAN_ID_MAX = 4094 };

struct command {
    struct vnet_cursor cursor; /* behind what was read */
    uint64_t rest;             /* readable bytes there */
};

static bool take(struct virtio_net *nic, struct command *command, void *to, uint32_t bytes)
{
    if (command->rest < bytes || !vnet_cursor_read(nic, &command->cursor, to, bytes))
        return false;
    command->rest -= bytes;
    return true;
}

static bool rx_mode(struct virtio_net *nic, uint8_t what, struct command *command)
{
    struct vnet_filter *filter = &nic->filter;
    bool *const modes[] = {
        [CTRL_RX_PROMISC] = &filter->promiscuous, [CTRL_RX_ALLMULTI] = &filter->all_multicast,
        [CTRL_RX_ALLUNI] = &filter->all_unicast,  [CTRL_RX_NOMULTI] = &filter->no_multicast,
        [CTRL_RX_NOUNI] = &filter->no_unicast,    [CTRL_RX_NOBCAST] = &filter->no_broadcast,
    };
    uint8_t on;

    if (!vnet_has(nic, what >= CTRL_RX_ALLUNI ? F_CTRL_RX_EXTRA : F_CTRL_RX) ||
        what >= sizeof modes / sizeof modes[0] || !take(nic, command, &on, 1))
        return false;
    *modes[what] = on != 0;
    return true;
}

/* One of the two tables of MAC_TABLE_SET. The count is the guest's: it is compared by division,
 * never multiplied (CVE-2014-0150); what the card can't keep means "all of this kind". */
static bool mac_table(struct virtio_net *nic, struct vnet_filter *filter, uint32_t table,
                      struct command *command)
{
    uint8_t raw[4];

    if (!take(nic, command, raw, sizeof raw))
        return false;
    const uint32_t entries = le32_get(raw);
    if (entries > command->rest / ETH_ADDRESS_BYTES)
        return false;
    const uint32_t kept = entries <= MAC_TABLE_MAX ? entries : 0;
    filter->table_overflow[table] = entries > MAC_TABLE_MAX;
    filter->tables[table] = (uint8_t)kept;
    if (!take(nic, command, filter->table[table], kept * ETH_ADDRESS_BYTES))
        return false;
    for (uint32_t i = kept; i < entries; i++) {
        if (!take(nic, command, NULL, ETH_ADDRESS_BYTES))
            return false;
    }
    return true;
}

static bool mac_tables(struct virtio_net *nic, struct command *command)
{
    struct vnet_filter next = nic->filter;

    if (!vnet_has(nic, F_CTRL_RX) || !mac_table(nic, &next, 0, command) ||
        !mac_table(nic, &next, 1, command) || command->rest != 0)
        return false;
    nic->filter = next;
    return true;
}

static bool mac_address(struct virtio_net *nic, struct command *command)
{
    uint8_t mac[ETH_ADDRESS_BYTES];

    if (!vnet_has(nic, F_CTRL_MAC_ADDR) || command->rest != sizeof mac ||
        !take(nic, command, mac, sizeof mac) || (mac[0] & 1) != 0)
        return false;
    __builtin_memcpy(nic->mac, mac, sizeof mac);
    nic->generation++; /* §2.1: it is in the device configuration; the driver needs no news */
    return true;
}

static bool vlan(struct virtio_net *nic, uint8_t what, struct command *command)
{
    uint8_t raw[2];

    if (!vnet_has(nic, F_CTRL_VLAN) || what > CTRL_VLAN_DEL || !take(nic, command, raw, 2))
        return false;
    const uint32_t id = le16_get(raw);
    if (id > VLAN_ID_MAX)
        return false;
    const uint8_t bit = (uint8_t)(1u << id % 8);
    if (what == CTRL_VLAN_ADD)
        nic->filter.vlan[id / 8] |= bit;
    else
        nic->filter.vlan[id / 8] &= (uint8_t)~bit;
    return true;
}

static bool announced(struct virtio_net *nic)
{
    if (!vnet_has(nic, F_GUEST_ANNOUNCE))
        return false;
    nic->generation += nic->announce;
    nic->announce = false;
    return true;
}

static bool execute(struct virtio_net *nic, struct command *command)
{
    uint8_t header[COMMAND_HEADER_BYTES];

    if (!take(nic, command, header, sizeof header))
        return false;
    const uint8_t what = header[1];
    switch (header[0]) {
    case CTRL_RX:
        return rx_mode(nic, what, command);
    case CTRL_MAC:
        return what == CTRL_MAC_TABLE_SET  ? mac_tables(nic, command)
               : what == CTRL_MAC_ADDR_SET ? mac_address(nic, command)
                                           : false;
    case CTRL_VLAN:
        return vlan(nic, what, command);
    case CTRL_ANNOUNCE:
        return what == CTRL_ANNOUNCE_ACK && announced(nic);
    default:
        return false;
    }
}

/* Returns the used length: 1 when the answer was written. */
static uint32_t chain_execute(struct virtio_net *nic)
{
    const struct vnet_chain *chain = &nic->chain;
    struct command command = {.cursor = {.chain = chain}, .rest = chain->readable_bytes};
    struct vnet_cursor answer = {.chain = chain, .piece = chain->readable};

    if (chain->writable_bytes == 0 || chain->readable_bytes < COMMAND_HEADER_BYTES) {
        nic->stats.bad_chains++;
        return 0;
    }
    const uint8_t ack = execute(nic, &command) ? CTRL_OK : CTRL_ERR;
    nic->stats.control_refused += ack;
    return vnet_cursor_write(nic, &answer, &ack, 1) ? 1 : 0;
}

uint32_t vnet_control_poll(struct virtio_net *nic, uint32_t budget)
{
    struct vnet_queue *queue = &nic->queue[QUEUE_CONTROL];
    uint32_t done = 0;
    uint16_t head;

    if (!vnet_queue_begin(queue) || !vnet_has(nic, F_CTRL_VQ))
        return 0;
    if (budget > queue->size)
        budget = queue->size;
    do {
        while (done < budget && vnet_queue_next(nic, queue, &head)) {
            const enum vnet_walk state = vnet_chain_walk(nic, queue, head, &nic->chain);

            if (state == WALK_BROKEN)
                break;
            nic->stats.bad_chains += state == WALK_BAD;
            queue->next_avail++;
            vnet_queue_complete(nic, queue, head, state == WALK_BAD ? 0 : chain_execute(nic));
            done++;
        }
    } while (done < budget && vnet_queue_arm(nic, queue));
    queue->kicked |= done == budget;
    vnet_queue_publish(nic, queue);
    return done;
}
