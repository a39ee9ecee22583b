/* Control commands, and what each must change (virtio §5.1.6.5). */
#include "virtio_model.h"

#include <string.h>

enum { COMMAND_MAX = 64, TABLE_MAX = 4, VLANS = 8 };

void vmodel_filter_reset(struct vmodel *m)
{
    m->filter = (struct filter_model){.mode[CTRL_RX_PROMISC] = true};
    memcpy(m->mac, m->d->config.mac, sizeof m->mac);
    m->announce = false;
}

static bool in_table(const struct vmodel *m, uint32_t table, const uint8_t *address)
{
    for (uint32_t i = 0; i < m->filter.entries[table]; i++) {
        if (memcmp(m->filter.table[table][i], address, ETH_ADDRESS_BYTES) == 0)
            return true;
    }
    return false;
}

bool vmodel_accepts(const struct vmodel *m, const uint8_t *frame, uint32_t bytes)
{
    static const uint8_t broadcast[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const bool *mode = m->filter.mode;
    const bool tagged = bytes >= ETH_HEADER_BYTES + ETH_VLAN_BYTES &&
                        be16_get(frame + ETH_TYPE_AT) == ETH_TYPE_VLAN;

    if (mode[CTRL_RX_PROMISC])
        return true;
    if (tagged && vmodel_has(m, F_CTRL_VLAN) && !m->filter.vlan[frame[15] % VLANS])
        return false;
    if (memcmp(frame, broadcast, sizeof broadcast) == 0)
        return !mode[CTRL_RX_NOBCAST];
    if ((frame[0] & 1) != 0)
        return !mode[CTRL_RX_NOMULTI] && (mode[CTRL_RX_ALLMULTI] || in_table(m, 1, frame));
    return !mode[CTRL_RX_NOUNI] &&
           (mode[CTRL_RX_ALLUNI] || memcmp(frame, m->mac, sizeof m->mac) == 0 ||
            in_table(m, 0, frame));
}

static uint32_t mac_tables(struct vmodel *m, const struct step *step, bool fine, uint8_t *data)
{
    uint32_t bytes = 0;

    for (uint32_t table = 0; table < 2; table++) {
        const uint32_t entries = (step->b >> 2 * table) % TABLE_MAX;

        le32_put(data + bytes, entries);
        bytes += 4;
        for (uint32_t i = 0; i < entries; i++) {
            const uint8_t address[6] = {table == 0 ? 2 : 1, 0, 0, 0, 0, (uint8_t)i};

            memcpy(data + bytes, address, sizeof address);
            bytes += sizeof address;
            if (fine)
                memcpy(m->filter.table[table][i], address, sizeof address);
        }
        if (fine)
            m->filter.entries[table] = entries;
    }
    return bytes;
}

/* Writes a command; *fine is what must become of it, and then it has its effect here, too. */
static uint32_t make(struct vmodel *m, const struct step *step, uint8_t *command, bool *fine)
{
    const uint32_t what = step->a % 16; /* the last ones: promiscuous mode off */
    uint8_t *data = command + 2;

    command[1] = 0;
    switch (what) {
    case 6:
        command[0] = CTRL_MAC;
        *fine = vmodel_has(m, F_CTRL_RX);
        return 2 + mac_tables(m, step, *fine, data);
    case 7:
        command[0] = CTRL_MAC;
        command[1] = CTRL_MAC_ADDR_SET;
        memcpy(data, "\x02\x00\x00\x00\x07", 5);
        data[5] = (uint8_t)step->b;
        *fine = vmodel_has(m, F_CTRL_MAC_ADDR);
        if (*fine) {
            memcpy(m->mac, data, sizeof m->mac);
            m->generation++;
        }
        return 8;
    case 8:
    case 9:
        command[0] = CTRL_VLAN;
        command[1] = what == 8 ? CTRL_VLAN_ADD : CTRL_VLAN_DEL;
        le16_put(data, (uint16_t)(step->b % VLANS));
        *fine = vmodel_has(m, F_CTRL_VLAN);
        if (*fine)
            m->filter.vlan[step->b % VLANS] = what == 8;
        return 4;
    case 10:
        command[0] = CTRL_ANNOUNCE;
        *fine = vmodel_has(m, F_GUEST_ANNOUNCE);
        if (*fine) {
            m->generation += m->announce;
            m->announce = false;
        }
        return 2;
    case 11: /* more entries than bytes (CVE-2014-0150) */
        command[0] = CTRL_MAC;
        le32_put(data, 0x2aaaaaab + step->b % 3);
        memset(data + 4, 2, 12);
        *fine = false;
        return 2 + 16;
    case 12: /* no such class or command, or one cut short */
        command[0] = (uint8_t)(step->b % 3);
        command[1] = (uint8_t)(6 + step->b % 200);
        *fine = false;
        return 2 + step->b % 2;
    default:
        command[0] = CTRL_RX;
        command[1] = what < 6 ? (uint8_t)what : CTRL_RX_PROMISC;
        data[0] = what < 6 ? step->b & 1 : 0;
        *fine = vmodel_has(m, command[1] >= CTRL_RX_ALLUNI ? F_CTRL_RX_EXTRA : F_CTRL_RX);
        if (*fine)
            m->filter.mode[command[1]] = data[0] != 0;
        return 3;
    }
}

/* The driver waits for the answer, as Linux does. */
void vmodel_control(struct vmodel *m, const struct step *step)
{
    uint8_t command[COMMAND_MAX];
    bool fine;

    if (!vmodel_has(m, F_CTRL_VQ))
        return;
    struct chain *chain = chain_begin(m, QUEUE_CONTROL, 4);
    if (chain == NULL)
        return;
    const uint32_t bytes = make(m, step, command, &fine);
    const uint32_t cut = vmodel_random(m, bytes + 1);
    memcpy(chain_add(m, chain, cut, false), command, cut);
    memcpy(chain_add(m, chain, bytes - cut, false), command + cut, bytes - cut);
    chain_add(m, chain, 1 + vmodel_random(m, 3), true);
    chain->ack = fine ? CTRL_OK : CTRL_ERR;
    m->must.control_refused += !fine;
    m->counts->defects += !fine;
    chain_post(m, QUEUE_CONTROL, chain);
    ring_kick(m, QUEUE_CONTROL);
    vmodel_poll(m, 64);
    vmodel_reap_control(m);
    if (m->ring[QUEUE_CONTROL].count != 0)
        vmodel_wrong(m, "a control command was not answered");
}

void vmodel_reap_control(struct vmodel *m)
{
    struct chain chain;
    uint32_t bytes;

    while (ring_used(m, QUEUE_CONTROL, &chain, &bytes)) {
        const bool good = chain.kind == CHAIN_GOOD;
        const uint8_t *answer = m->d->ram + (good ? chain.piece[chain.pieces - 1].gpa : 0);

        if (bytes != good)
            vmodel_wrong(m, "the used length of a control command");
        else if (good && (answer[0] != chain.ack ||
                          (chain.piece[chain.pieces - 1].bytes > 1 && answer[1] != FILL)))
            vmodel_wrong(m, "the answer to a control command");
        m->must.bad_chains += !good;
        m->counts->defects += !good;
    }
}
