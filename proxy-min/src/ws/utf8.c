/* utf8.c - RFC 3629 §4: the grammar of well-formed UTF-8, one lead byte at a time. */
#include "ws.h"

bool ws_utf8_valid(const uint8_t *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        const uint8_t lead = text[at++];
        uint8_t low = 0x80, high = 0xbf; /* the second byte's range narrows for some leads */
        size_t tail;

        if (lead < 0x80)
            continue;
        if (lead >= 0xc2 && lead <= 0xdf) {
            tail = 1;
        } else if (lead >= 0xe0 && lead <= 0xef) {
            tail = 2;
            low = lead == 0xe0 ? 0xa0 : low;   /* overlong */
            high = lead == 0xed ? 0x9f : high; /* surrogates */
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            tail = 3;
            low = lead == 0xf0 ? 0x90 : low;   /* overlong */
            high = lead == 0xf4 ? 0x8f : high; /* above U+10FFFF */
        } else {
            return false;
        }
        if (bytes - at < tail || text[at] < low || text[at] > high)
            return false;
        for (size_t i = 1; i < tail; i++)
            if ((text[at + i] & 0xc0) != 0x80)
                return false;
        at += tail;
    }
    return true;
}
