#include "nic/packet.h"

uint32_t checksum_add(uint32_t sum, const uint8_t *data, size_t bytes)
{
    uint64_t total = sum; /* 64 bits hold 2^48 words: no carry is lost for any size_t we see */

    while (bytes >= 4) {
        total += be32_get(data);
        data += 4;
        bytes -= 4;
    }
    if (bytes >= 2) {
        total += be16_get(data);
        data += 2;
        bytes -= 2;
    }
    if (bytes != 0)
        total += (uint32_t)data[0] << 8;
    total = (total & 0xffffffff) + (total >> 32);
    total = (total & 0xffffffff) + (total >> 32);
    return (uint32_t)total;
}

uint32_t checksum_pseudo_ipv4(const uint8_t source[4], const uint8_t destination[4],
                              uint8_t protocol, uint16_t l4_bytes)
{
    uint32_t sum = checksum_add(0, source, 4);

    sum = checksum_add(sum, destination, 4);
    sum = checksum_add16(sum, protocol);
    return checksum_add16(sum, l4_bytes);
}

uint32_t checksum_pseudo_ipv6(const uint8_t source[16], const uint8_t destination[16],
                              uint8_t protocol, uint32_t l4_bytes)
{
    uint32_t sum = checksum_add(0, source, 16);

    sum = checksum_add(sum, destination, 16);
    sum = checksum_add16(sum, (uint16_t)(l4_bytes >> 16));
    sum = checksum_add16(sum, (uint16_t)l4_bytes);
    return checksum_add16(sum, protocol);
}
