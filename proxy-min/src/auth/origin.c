/* origin.c - the canonical form of an Origin header (spec/l2-proxy.md §3.3; rule numbers from it).
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth/auth.h"

struct span {
    const char *at;
    size_t bytes;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static struct span trim(const char *text)
{
    struct span span = {text, strlen(text)};

    while (span.bytes > 0 && is_blank(span.at[0])) {
        span.at++;
        span.bytes--;
    }
    while (span.bytes > 0 && is_blank(span.at[span.bytes - 1]))
        span.bytes--;
    return span;
}

static bool characters_allowed(struct span span) /* rule 2 */
{
    for (size_t i = 0; i < span.bytes; i++) {
        const char c = span.at[i];
        if (c <= ' ' || c > '~' || strchr("%,\\{}`<>^|\"", c) != NULL)
            return false;
    }
    return true;
}

/* Rule 4: digits of a port, 1..65535. */
static bool read_port(struct span digits, uint32_t *port)
{
    uint32_t value = 0;

    if (digits.bytes == 0 || digits.bytes > 5)
        return false;
    for (size_t i = 0; i < digits.bytes; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(digits.at[i] - '0');
    }
    *port = value;
    return value >= 1 && value <= 65535;
}

/* RFC 5952, but the last 32 bits always in hexadecimal (rule 5). */
static void write_ipv6(const uint8_t address[16], char *to, size_t room)
{
    uint32_t group[8];
    int best = -1, best_length = 1; /* §4.2.2: a single zero group is not shortened */

    for (int i = 0; i < 8; i++)
        group[i] = (uint32_t)address[2 * i] << 8 | address[2 * i + 1];
    for (int i = 0; i < 8; i++) {
        int length = 0;
        while (i + length < 8 && group[i + length] == 0)
            length++;
        if (length > best_length) { /* §4.2.3: the first of equally long runs */
            best = i;
            best_length = length;
        }
    }
    size_t used = 0;
    to[0] = '\0';
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            used += (size_t)snprintf(to + used, room - used, "::");
            i += best_length - 1;
            continue;
        }
        const bool colon = i != 0 && i != best + (best >= 0 ? best_length : 9);
        used += (size_t)snprintf(to + used, room - used, colon ? ":%x" : "%x", group[i]);
    }
}

static bool write_bracketed(struct span inside, char *to, size_t room)
{
    char text[INET6_ADDRSTRLEN + 1];
    uint8_t address[16];

    if (inside.bytes == 0 || inside.bytes >= sizeof text)
        return false;
    memcpy(text, inside.at, inside.bytes);
    text[inside.bytes] = '\0';
    if (inet_pton(AF_INET6, text, address) != 1)
        return false;
    to[0] = '[';
    write_ipv6(address, to + 1, room - 2);
    strcat(to, "]");
    return true;
}

static bool all_of(struct span span, int (*is)(int))
{
    for (size_t i = 0; i < span.bytes; i++)
        if (!is((unsigned char)span.at[i]))
            return false;
    return span.bytes != 0;
}

static bool is_hex_form(struct span part)
{
    if (part.bytes < 2 || part.at[0] != '0' || (part.at[1] != 'x' && part.at[1] != 'X'))
        return false;
    return part.bytes == 2 || all_of((struct span){part.at + 2, part.bytes - 2}, isxdigit);
}

/* One part of an IPv4 number form: decimal, octal by a leading 0, hexadecimal by 0x. */
static bool read_number(struct span part, uint64_t *number)
{
    uint32_t base = 10;

    if (part.bytes == 0)
        return false;
    if (is_hex_form(part)) {
        base = 16;
        part.at += 2;
        part.bytes -= 2;
    } else if (part.bytes > 1 && part.at[0] == '0') {
        base = 8;
    }
    *number = 0;
    for (size_t i = 0; i < part.bytes; i++) {
        const char c = (char)tolower((unsigned char)part.at[i]);
        const uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                               : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                      : 99;
        if (digit >= base)
            return false;
        *number = *number * base + digit;
        if (*number > UINT32_MAX)
            return false;
    }
    return true;
}

static struct span last_label(struct span host)
{
    size_t start = host.bytes;

    while (start > 0 && host.at[start - 1] != '.')
        start--;
    return (struct span){host.at + start, host.bytes - start};
}

/* Rule 6. */
static bool write_ipv4(struct span host, char *to, size_t room)
{
    uint64_t part[4];
    uint32_t count = 0, address = 0;

    for (size_t at = 0; at <= host.bytes; at++) {
        size_t end = at;
        while (end < host.bytes && host.at[end] != '.')
            end++;
        if (count == 4 || !read_number((struct span){host.at + at, end - at}, &part[count]))
            return false;
        count++;
        at = end;
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        if (part[i] > 255)
            return false;
        address |= (uint32_t)part[i] << (24 - 8 * i);
    }
    if (part[count - 1] >> (8 * (5 - count)) != 0) /* the last one fills the bytes that remain */
        return false;
    address |= (uint32_t)part[count - 1];
    snprintf(to, room, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
             address & 255);
    return true;
}

static bool write_host(struct span host, char *to, size_t room)
{
    if (host.bytes == 0 || host.bytes >= room)
        return false;
    if (host.at[0] == '[')
        return host.at[host.bytes - 1] == ']' &&
               write_bracketed((struct span){host.at + 1, host.bytes - 2}, to, room);
    if (memchr(host.at, '[', host.bytes) != NULL || memchr(host.at, ']', host.bytes) != NULL ||
        memchr(host.at, ':', host.bytes) != NULL)
        return false;

    struct span plain = host;
    if (plain.bytes > 1 && plain.at[plain.bytes - 1] == '.')
        plain.bytes--;
    const struct span label = last_label(plain);
    if (all_of(label, isdigit) || is_hex_form(label))
        return write_ipv4(plain, to, room);
    for (size_t i = 0; i < host.bytes; i++)
        to[i] = (char)tolower((unsigned char)host.at[i]);
    to[host.bytes] = '\0';
    return true;
}

/* host[:port] of a scheme: rules 4 to 7. */
static const char *write_origin(bool https, struct span authority, char *normal)
{
    char host[ORIGIN_MAX_BYTES - 16];
    uint32_t port = 0;
    struct span name = authority;
    const char *bracket = memchr(authority.at, ']', authority.bytes);
    const char *from = bracket != NULL ? bracket : authority.at;
    const char *colon = memchr(from, ':', authority.bytes - (size_t)(from - authority.at));

    if (colon != NULL) {
        name.bytes = (size_t)(colon - authority.at);
        if (!read_port((struct span){colon + 1, authority.bytes - name.bytes - 1}, &port))
            return "invalid port";
    }
    if (!write_host(name, host, sizeof host))
        return "invalid host";
    const char *scheme = https ? "https" : "http";
    if (port == 0 || port == (https ? 443u : 80u))
        snprintf(normal, ORIGIN_MAX_BYTES, "%s://%s", scheme, host);
    else
        snprintf(normal, ORIGIN_MAX_BYTES, "%s://%s:%u", scheme, host, port);
    return NULL;
}

const char *origin_normalise(const char *text, char normal[ORIGIN_MAX_BYTES])
{
    struct span span = trim(text); /* rule 1 */
    bool https;

    if (span.bytes == 0)
        return "empty";
    if (span.bytes == 4 && memcmp(span.at, "null", 4) == 0) {
        strcpy(normal, "null");
        return NULL;
    }
    if (!characters_allowed(span))
        return "invalid character";
    if (span.bytes >= 8 && strncasecmp(span.at, "https://", 8) == 0)
        https = true;
    else if (span.bytes >= 7 && strncasecmp(span.at, "http://", 7) == 0)
        https = false;
    else
        return "scheme is not http or https";
    span.at += https ? 8 : 7;
    span.bytes -= https ? 8 : 7;
    if (span.bytes > 0 && span.at[span.bytes - 1] == '/') /* rule 3: exactly one */
        span.bytes--;
    if (span.bytes == 0)
        return "empty authority";
    for (size_t i = 0; i < span.bytes; i++)
        if (strchr("/?#@", span.at[i]) != NULL)
            return "more than scheme, host and port";
    return write_origin(https, span, normal);
}

bool origin_of_host(const char *scheme, const char *host, char normal[ORIGIN_MAX_BYTES])
{
    const struct span span = trim(host);

    if (span.bytes == 0 || !characters_allowed(span))
        return false;
    for (size_t i = 0; i < span.bytes; i++)
        if (strchr("/?#@", span.at[i]) != NULL)
            return false;
    return write_origin(strcmp(scheme, "https") == 0, span, normal) == NULL;
}

const char *origin_scheme(const char *normal)
{
    if (strncmp(normal, "https:", 6) == 0)
        return "https";
    return strncmp(normal, "http:", 5) == 0 ? "http" : NULL;
}
