/* lists.c - comma-separated values: string lists, forward rules, fixed DNS answers (§2.4, §2.5),
 * and what DHCP hands out beside the lease. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

static char *trimmed(const char *from, size_t bytes)
{
    while (bytes > 0 && isspace((unsigned char)from[0])) {
        from++;
        bytes--;
    }
    while (bytes > 0 && isspace((unsigned char)from[bytes - 1]))
        bytes--;
    return strndup(from, bytes);
}

bool config_list(struct string_list *list, const char *value)
{
    while (value != NULL && *value != '\0') {
        const size_t bytes = strcspn(value, ",");
        char *item = trimmed(value, bytes);
        if (item == NULL)
            return false;
        value += bytes + (value[bytes] == ',');
        if (*item == '\0') {
            free(item);
            continue;
        }
        char **items = realloc(list->items, (list->count + 1) * sizeof items[0]);
        if (items == NULL) {
            free(item);
            return false;
        }
        list->items = items;
        list->items[list->count++] = item;
    }
    return true;
}

void config_list_free(struct string_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct string_list){0};
}

/* Digits only, 1..65535 (0 too when allowed). */
static bool parse_port(const char *text, bool allow_zero, uint16_t *port)
{
    unsigned long value = 0;
    size_t digits = 0;

    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++)
        value = value * 10 + (unsigned long)(text[digits] - '0');
    if (digits == 0 || digits > 5 || text[digits] != '\0' || value > 65535 ||
        (value == 0 && !allow_zero))
        return false;
    *port = (uint16_t)value;
    return true;
}

/* Cuts "host:port" or "[v6]:port" in place. */
static bool split_host_port(char *text, bool allow_zero, char **host, uint16_t *port)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL || !parse_port(colon + 1, allow_zero, port))
        return false;
    *colon = '\0';
    *host = text;
    if (text[0] == '[') {
        if (colon - text < 3 || colon[-1] != ']')
            return false;
        colon[-1] = '\0';
        *host = text + 1;
        return strchr(*host, ':') != NULL;
    }
    return text[0] != '\0' && strchr(text, ':') == NULL;
}

bool config_parse_address(const char *text, struct sockaddr_storage *address)
{
    char copy[128];
    char *host;
    uint16_t port;
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

    if (strlen(text) >= sizeof copy)
        return false;
    strcpy(copy, text);
    const bool bracketed = copy[0] == '[';
    if (!split_host_port(copy, true, &host, &port))
        return false;
    memset(address, 0, sizeof *address);
    if (bracketed) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

/* The target of a forward rule may be a name: resolved now, so that the NAT sees numbers. */
static bool resolve(const char *host, uint16_t port, struct nat_endpoint *endpoint)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    endpoint->port = port;
    if (inet_pton(AF_INET, host, endpoint->address) == 1) {
        endpoint->family = 4;
        return true;
    }
    if (inet_pton(AF_INET6, host, endpoint->address) == 1) {
        endpoint->family = 6;
        return true;
    }
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    const struct addrinfo *chosen = found;
    for (const struct addrinfo *each = found; each != NULL; each = each->ai_next)
        if (each->ai_family == AF_INET) { /* an IPv4 address is what the rule's left side is */
            chosen = each;
            break;
        }
    if (chosen->ai_family == AF_INET) {
        endpoint->family = 4;
        memcpy(endpoint->address, &((struct sockaddr_in *)chosen->ai_addr)->sin_addr, 4);
    } else {
        endpoint->family = 6;
        memcpy(endpoint->address, &((struct sockaddr_in6 *)chosen->ai_addr)->sin6_addr, 16);
    }
    freeaddrinfo(found);
    return true;
}

static bool parse_forward(char *item, struct nat_forward *forward)
{
    char *equals = strchr(item, '=');
    char *host;
    uint16_t port;

    if (equals == NULL)
        return false;
    *equals = '\0';
    char *left = trimmed(item, strlen(item));
    char *right = trimmed(equals + 1, strlen(equals + 1));
    bool good = left != NULL && right != NULL && split_host_port(left, false, &host, &port) &&
                inet_pton(AF_INET, host, forward->from.address) == 1;
    if (good) {
        forward->from.family = 4;
        forward->from.port = port;
        good = split_host_port(right, false, &host, &port) && resolve(host, port, &forward->to);
    }
    free(left);
    free(right);
    return good;
}

bool config_forwards(const char *name, const char *value, struct nat_forward **forwards,
                     uint32_t *count, char why[CONFIG_WHY_BYTES])
{
    struct string_list list = {0};
    bool good = config_list(&list, value);

    if (good && list.count != 0) {
        *forwards = calloc(list.count, sizeof(*forwards)[0]);
        good = *forwards != NULL;
    }
    for (uint32_t i = 0; good && i < list.count; i++) {
        if (parse_forward(list.items[i], &(*forwards)[i]))
            continue;
        snprintf(why, CONFIG_WHY_BYTES,
                 "%s: entry %u is not ipv4:port=host:port, or its host "
                 "does not resolve",
                 name, i + 1);
        good = false;
    }
    *count = list.count;
    config_list_free(&list);
    return good;
}

/* Lower case, without trailing dot; letters, digits, "-", "_" in labels of 1..63. */
static bool normalise_name(const char *text, char name[254])
{
    size_t bytes = strlen(text), label = 0;

    if (bytes > 0 && text[bytes - 1] == '.')
        bytes--;
    if (bytes == 0 || bytes > 253)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char letter = (unsigned char)text[i];
        if (letter == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!isalnum(letter) && letter != '-' && letter != '_') {
            return false;
        } else if (++label > 63) {
            return false;
        }
        name[i] = (char)tolower(letter);
    }
    name[bytes] = '\0';
    return label != 0;
}

static bool parse_override(char *item, struct nat_dns_override *override)
{
    char *equals = strchr(item, '=');

    if (equals == NULL)
        return false;
    *equals = '\0';
    char *left = trimmed(item, strlen(item));
    char *right = trimmed(equals + 1, strlen(equals + 1));
    const bool good = left != NULL && right != NULL && normalise_name(left, override->name) &&
                      inet_pton(AF_INET, right, override->address) == 1;
    free(left);
    free(right);
    return good;
}

bool config_dns_overrides(const char *value, struct nat_dns_override **overrides, uint32_t *count,
                          char why[CONFIG_WHY_BYTES])
{
    struct string_list list = {0};
    bool good = config_list(&list, value);

    if (good && list.count != 0) {
        *overrides = calloc(list.count, sizeof(*overrides)[0]);
        good = *overrides != NULL;
    }
    for (uint32_t i = 0; good && i < list.count; i++) {
        if (parse_override(list.items[i], &(*overrides)[i]))
            continue;
        snprintf(why, CONFIG_WHY_BYTES, "AERO_L2_DNS_A: entry %u is not name=ipv4", i + 1);
        good = false;
    }
    *count = list.count;
    config_list_free(&list);
    return good;
}

bool config_dhcp_domain(const char *value, struct nat_config *nat, char why[CONFIG_WHY_BYTES])
{
    char name[254];
    char *text = trimmed(value != NULL ? value : "", value != NULL ? strlen(value) : 0);
    const bool is_empty = text == NULL || text[0] == '\0';
    const bool good =
        is_empty || (normalise_name(text, name) && strlen(name) <= NAT_DOMAIN_MAX_CHARS);

    free(text);
    if (!good)
        snprintf(why, CONFIG_WHY_BYTES, "AERO_L2_DHCP_DOMAIN: not a domain name of at most %d",
                 NAT_DOMAIN_MAX_CHARS);
    else if (!is_empty)
        strcpy(nat->dhcp_domain, name);
    return good;
}

bool config_dhcp_ntp(const char *value, struct nat_config *nat, char why[CONFIG_WHY_BYTES])
{
    struct string_list list = {0};
    bool good = config_list(&list, value) && list.count <= NAT_NTP_MAX;

    for (uint32_t i = 0; good && i < list.count; i++)
        good = inet_pton(AF_INET, list.items[i], nat->dhcp_ntp[i]) == 1;
    if (!good)
        snprintf(why, CONFIG_WHY_BYTES, "AERO_L2_DHCP_NTP: not a list of at most %d IPv4 addresses",
                 NAT_NTP_MAX);
    nat->dhcp_ntp_count = list.count;
    config_list_free(&list);
    return good;
}
