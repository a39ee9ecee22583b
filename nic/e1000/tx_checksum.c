#include "internal.h"

/*
 * §7.3: one's-complement sum of css..cse inclusive, the field's own content included, complemented,
 * at cso. cse of 0 or past the frame means its end. 0 is sent as ffff: right for UDP, the same
 * number for the others. Every offset is the guest's: bounded here, against this very frame.
 */
void tx_checksum_insert(uint8_t *frame, uint32_t bytes, uint32_t css, uint32_t cso, uint32_t cse)
{
    const uint32_t end = cse == 0 || cse >= bytes ? bytes : cse + 1;

    if (bytes < 2 || cso > bytes - 2 || css >= end)
        return;
    const uint16_t sum = checksum_finish(checksum_add(0, frame + css, end - css));
    be16_put(frame + cso, sum != 0 ? sum : 0xffff);
}

/* An IPCSE that names no range of an IPv4 header gives way to the header's own length (§7.3). */
static uint32_t ip_checksum_end(const uint8_t *frame, uint32_t bytes,
                                const struct tx_context *context)
{
    const uint32_t ipcss = context->ipcss;

    if (context->ipcse >= ipcss && context->ipcse != 0 && context->ipcse < bytes)
        return context->ipcse;
    if (ipcss < bytes && frame[ipcss] >> 4 == 4 && (frame[ipcss] & 15) >= 5)
        return ipcss + (frame[ipcss] & 15u) * 4 - 1;
    return context->ipcse;
}

void tx_offload_checksums(uint8_t *frame, uint32_t bytes, const struct tx_packet *packet)
{
    const struct tx_context *context = &packet->context;

    if ((packet->popts & TXD_POPTS_IXSM) != 0)
        tx_checksum_insert(frame, bytes, context->ipcss, context->ipcso,
                           ip_checksum_end(frame, bytes, context));
    if ((packet->popts & TXD_POPTS_TXSM) != 0)
        tx_checksum_insert(frame, bytes, context->tucss, context->tucso, context->tucse);
}
