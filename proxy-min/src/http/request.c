/* request.c - reading a request: token lists, forwarded addresses (RFC 7230, RFC 7239). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"
#include "tunnel/codec.h"

const char *request_header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts the next comma-separated entry off *list, trimmed; false at the end of the list. */
static bool next_entry(const char **list, const char **entry, size_t *bytes)
{
    if (**list == '\0')
        return false;
    const char *from = *list;
    size_t count = strcspn(from, ",");
    *list = from + count + (from[count] == ',');
    while (count > 0 && is_blank(from[0])) {
        from++;
        count--;
    }
    while (count > 0 && is_blank(from[count - 1]))
        count--;
    *entry = from;
    *bytes = count;
    return true;
}

struct token_search {
    const char *name, *token;
    bool case_sensitive, found;
};

static enum MHD_Result search_token(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct token_search *search = context;
    const char *entry;
    size_t bytes;

    (void)kind;
    if (strcasecmp(key, search->name) != 0 || value == NULL)
        return MHD_YES;
    while (next_entry(&value, &entry, &bytes)) {
        if (bytes != strlen(search->token))
            continue;
        if (search->case_sensitive ? memcmp(entry, search->token, bytes) == 0
                                   : strncasecmp(entry, search->token, bytes) == 0)
            search->found = true;
    }
    return MHD_YES;
}

bool request_has_token(struct MHD_Connection *connection, const char *name, const char *token,
                       bool case_sensitive)
{
    struct token_search search = {.name = name, .token = token, .case_sensitive = case_sensitive};

    MHD_get_connection_values(connection, MHD_HEADER_KIND, search_token, &search);
    return search.found;
}

struct count_search {
    const char *name;
    uint32_t count;
};

static enum MHD_Result count_header(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct count_search *search = context;

    (void)kind;
    (void)value;
    search->count += strcasecmp(key, search->name) == 0;
    return MHD_YES;
}

uint32_t request_header_count(struct MHD_Connection *connection, const char *name)
{
    struct count_search search = {.name = name};

    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &search);
    return search.count;
}

struct protocol_search {
    bool offered, malformed;
    char *token;
    size_t token_bytes;
};

static bool is_tchar(char c) /* RFC 7230 §3.2.6 */
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void take_protocol(struct protocol_search *search, const char *entry, size_t bytes)
{
    static const char tunnel[] = L2T_SUBPROTOCOL, prefix[] = L2T_TOKEN_PREFIX;
    const size_t prefix_bytes = sizeof prefix - 1;

    for (size_t i = 0; i < bytes; i++)
        if (!is_tchar(entry[i]))
            search->malformed = true;
    if (bytes == sizeof tunnel - 1 && memcmp(entry, tunnel, bytes) == 0)
        search->offered = true;
    if (search->token[0] == '\0' && bytes > prefix_bytes &&
        memcmp(entry, prefix, prefix_bytes) == 0 && bytes - prefix_bytes < search->token_bytes) {
        memcpy(search->token, entry + prefix_bytes, bytes - prefix_bytes);
        search->token[bytes - prefix_bytes] = '\0';
    }
}

static enum MHD_Result search_protocol(void *context, enum MHD_ValueKind kind, const char *key,
                                       const char *value)
{
    struct protocol_search *search = context;
    const char *entry;
    size_t bytes;

    (void)kind;
    if (strcasecmp(key, "Sec-WebSocket-Protocol") != 0 || value == NULL)
        return MHD_YES;
    while (next_entry(&value, &entry, &bytes))
        take_protocol(search, entry, bytes);
    return MHD_YES;
}

bool request_protocols(struct MHD_Connection *connection, bool *tunnel_offered, char *token,
                       size_t token_bytes)
{
    struct protocol_search search = {.token = token, .token_bytes = token_bytes};

    token[0] = '\0';
    MHD_get_connection_values(connection, MHD_HEADER_KIND, search_protocol, &search);
    *tunnel_offered = search.offered;
    return !search.malformed;
}

bool request_first_entry(struct MHD_Connection *connection, const char *name, char *value,
                         size_t value_bytes)
{
    const char *list = request_header(connection, name);
    const char *entry;
    size_t bytes;

    if (list == NULL || !next_entry(&list, &entry, &bytes) || bytes == 0 || bytes >= value_bytes)
        return false;
    memcpy(value, entry, bytes);
    value[bytes] = '\0';
    return true;
}

/* RFC 7239 §4: parameters of the first element, `key=value` or `key="value"`. */
bool request_forwarded(struct MHD_Connection *connection, const char *key, char *value,
                       size_t value_bytes)
{
    const char *at = request_header(connection, "Forwarded");

    while (at != NULL && *at != '\0' && *at != ',') {
        const char *name = at + strspn(at, " \t;");
        const size_t name_bytes = strcspn(name, "=;,");
        size_t used = 0;

        if (name[name_bytes] != '=') {
            at = name + name_bytes;
            continue;
        }
        at = name + name_bytes + 1;
        const bool quoted = *at == '"';
        at += quoted;
        while (*at != '\0' && (quoted ? *at != '"' : strchr(";, \t", *at) == NULL)) {
            if (quoted && *at == '\\' && at[1] != '\0')
                at++;
            if (used + 1 < value_bytes)
                value[used++] = *at;
            at++;
        }
        at += quoted && *at == '"';
        value[used] = '\0';
        if (name_bytes == strlen(key) && strncasecmp(name, key, name_bytes) == 0)
            return used != 0;
        at += strspn(at, " \t");
    }
    return false;
}

static void map_ipv4(uint8_t address[16], const void *v4)
{
    memset(address, 0, 10);
    memset(address + 10, 0xff, 2);
    memcpy(address + 12, v4, 4);
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80". */
static bool parse_client(char *text, uint8_t address[16])
{
    uint8_t v4[4];
    char *end = text + strlen(text);

    if (text[0] == '[') {
        end = strchr(text, ']');
        if (end == NULL)
            return false;
        *end = '\0';
        return inet_pton(AF_INET6, text + 1, address) == 1;
    }
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL)
        *colon = '\0';
    if (inet_pton(AF_INET, text, v4) == 1) {
        map_ipv4(address, v4);
        return true;
    }
    return inet_pton(AF_INET6, text, address) == 1;
}

void request_client_address(const struct http *http, struct MHD_Connection *connection,
                            uint8_t address[16])
{
    char text[64];
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    memset(address, 0, 16);
    if (http->config->trust_proxy) {
        if (request_forwarded(connection, "for", text, sizeof text) && parse_client(text, address))
            return;
        if (request_first_entry(connection, "X-Forwarded-For", text, sizeof text) &&
            parse_client(text, address))
            return;
        memset(address, 0, 16);
    }
    if (info == NULL || info->client_addr == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET)
        map_ipv4(address, &((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr);
    else if (info->client_addr->sa_family == AF_INET6)
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)info->client_addr)->sin6_addr,
               16);
}
