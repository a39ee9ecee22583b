#include "nic/packet.h"

/* IEEE 802.3 §3.2.9, reflected polynomial; one nibble at a time keeps the table at 64 bytes. */
static const uint32_t crc_nibble[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

static uint32_t crc_add(uint32_t crc, uint8_t byte)
{
    crc = crc >> 4 ^ crc_nibble[(crc ^ byte) & 15];
    return crc >> 4 ^ crc_nibble[(crc ^ (uint32_t)(byte >> 4)) & 15];
}

uint32_t ethernet_fcs(const uint8_t *frame, size_t bytes)
{
    return ethernet_fcs_padded(frame, bytes, 0);
}

uint32_t ethernet_fcs_padded(const uint8_t *frame, size_t bytes, size_t padding)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < bytes; i++)
        crc = crc_add(crc, frame[i]);
    for (size_t i = 0; i < padding; i++)
        crc = crc_add(crc, 0);
    return ~crc;
}
