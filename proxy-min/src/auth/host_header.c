/* host_header.c - the form Host headers are compared in (spec/l2-proxy.md §3.4). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "auth/auth.h"

static bool read_port(const char *digits, uint32_t *port)
{
    size_t count = 0;

    *port = 0;
    for (; digits[count] != '\0'; count++) {
        if (!isdigit((unsigned char)digits[count]) || count == 5)
            return false;
        *port = *port * 10 + (uint32_t)(digits[count] - '0');
    }
    return count != 0 && *port <= 65535;
}

bool host_normalise(const char *text, bool https, char normal[ORIGIN_MAX_BYTES])
{
    size_t bytes = strlen(text);
    uint32_t port = 0;

    if (bytes == 0 || bytes >= ORIGIN_MAX_BYTES - 8)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c > '~' || strchr("/?#@\\", c) != NULL)
            return false;
    }
    const char *end = text[0] == '[' ? strchr(text, ']') : text;
    if (end == NULL || (text[0] == '[' && end[1] != '\0' && end[1] != ':'))
        return false;
    const char *colon = strchr(end, ':');
    size_t name_bytes = bytes;
    if (colon != NULL) {
        if (!read_port(colon + 1, &port))
            return false;
        name_bytes = (size_t)(colon - text);
    }
    if (name_bytes == 0)
        return false;
    for (size_t i = 0; i < name_bytes; i++)
        normal[i] = (char)tolower((unsigned char)text[i]);
    normal[name_bytes] = '\0';
    if (colon != NULL && port != (https ? 443u : 80u))
        snprintf(normal + name_bytes, ORIGIN_MAX_BYTES - name_bytes, ":%u", port);
    return true;
}
