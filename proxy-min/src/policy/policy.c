#include "policy/policy.h"

#include "policy/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = 65536 };

struct port_list {
    bool restricted; /* false: unset, every port passes */
    uint8_t allowed[PORTS / 8];
};

/* A list kept as one lower-case text: "example.com\0other.org\0\0". */
struct domain_list {
    char *text;
};

struct policy {
    bool allow_private_ips;
    struct port_list ports[2]; /* by enum policy_protocol */
    struct domain_list allowed, blocked;
};

/* Cuts the next comma-separated entry off *rest, trimmed; false at the end of the list. */
static bool next_entry(const char **rest, const char **entry, size_t *length)
{
    if (*rest == NULL)
        return false;
    const char *start = *rest;
    const char *comma = strchr(start, ',');
    const char *end = comma != NULL ? comma : start + strlen(start);

    *rest = comma != NULL ? comma + 1 : NULL;
    while (start < end && isspace((unsigned char)*start))
        start++;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    *entry = start;
    *length = (size_t)(end - start);
    return true;
}

/* Empty entries ("80,,443", a trailing comma) are ignored; anything else must be 0..65535. */
static bool ports_parse(struct port_list *list, const char *text, const char *what, char *why,
                        uint32_t why_bytes)
{
    const char *entry;
    size_t length;

    list->restricted = text != NULL;
    while (next_entry(&text, &entry, &length)) {
        uint32_t port = 0;

        if (length == 0)
            continue;
        for (size_t i = 0; i < length && port < PORTS; i++)
            port =
                isdigit((unsigned char)entry[i]) ? port * 10 + (uint32_t)(entry[i] - '0') : PORTS;
        if (port >= PORTS) {
            snprintf(why, why_bytes, "%s: bad port \"%.*s\"", what, length < 32 ? (int)length : 32,
                     entry);
            return false;
        }
        list->allowed[port / 8] |= (uint8_t)(1u << port % 8);
    }
    return true;
}

static bool domains_parse(struct domain_list *list, const char *text)
{
    const char *entry;
    size_t length;

    if (text == NULL)
        return true;
    list->text = calloc(1, strlen(text) + 3);
    if (list->text == NULL)
        return false;
    char *to = list->text;
    while (next_entry(&text, &entry, &length)) {
        while (length > 0 && entry[0] == '.') {
            entry++;
            length--;
        }
        while (length > 0 && entry[length - 1] == '.')
            length--;
        if (length == 0) /* §2.5: entries that are only dots are ignored */
            continue;
        for (size_t i = 0; i < length; i++)
            *to++ = (char)tolower((unsigned char)entry[i]);
        *to++ = '\0';
    }
    return true;
}

static bool domains_match(const struct domain_list *list, const char *name)
{
    const size_t name_length = strlen(name);

    for (const char *entry = list->text; entry != NULL && *entry != '\0';
         entry += strlen(entry) + 1) {
        const size_t length = strlen(entry);

        if (name_length < length || strcmp(name + name_length - length, entry) != 0)
            continue;
        if (name_length == length || name[name_length - length - 1] == '.')
            return true;
    }
    return false;
}

struct policy *policy_new(const struct policy_options *options, char *why, uint32_t why_bytes)
{
    struct policy *policy = calloc(1, sizeof *policy);

    if (policy == NULL) {
        snprintf(why, why_bytes, "out of memory");
        return NULL;
    }
    policy->allow_private_ips = options->allow_private_ips;
    if (!ports_parse(&policy->ports[POLICY_TCP], options->allowed_tcp_ports,
                     "AERO_L2_ALLOWED_TCP_PORTS", why, why_bytes) ||
        !ports_parse(&policy->ports[POLICY_UDP], options->allowed_udp_ports,
                     "AERO_L2_ALLOWED_UDP_PORTS", why, why_bytes)) {
        policy_free(policy);
        return NULL;
    }
    if (!domains_parse(&policy->allowed, options->allowed_domains) ||
        !domains_parse(&policy->blocked, options->blocked_domains)) {
        snprintf(why, why_bytes, "out of memory");
        policy_free(policy);
        return NULL;
    }
    return policy;
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    free(policy->allowed.text);
    free(policy->blocked.text);
    free(policy);
}

enum policy_verdict policy_check_port(const struct policy *policy, enum policy_protocol protocol,
                                      uint16_t port)
{
    const struct port_list *list = &policy->ports[protocol];

    if (list->restricted && (list->allowed[port / 8] & 1u << port % 8) == 0)
        return POLICY_DENY_PORT;
    return POLICY_ALLOW;
}

enum policy_verdict policy_check_address(const struct policy *policy, uint8_t family,
                                         const uint8_t *address, bool is_override)
{
    if (!policy->allow_private_ips && policy_address_denied(family, address, !is_override))
        return POLICY_DENY_ADDRESS;
    return POLICY_ALLOW;
}

enum policy_verdict policy_check(const struct policy *policy, enum policy_protocol protocol,
                                 uint8_t family, const uint8_t *address, uint16_t port)
{
    const enum policy_verdict verdict = policy_check_address(policy, family, address, false);

    return verdict != POLICY_ALLOW ? verdict : policy_check_port(policy, protocol, port);
}

enum policy_verdict policy_check_name(const struct policy *policy, const char *name)
{
    const bool list_given = policy->allowed.text != NULL && policy->allowed.text[0] != '\0';

    if (domains_match(&policy->blocked, name))
        return POLICY_DENY_DOMAIN; /* §2.5: block wins */
    if (list_given && !domains_match(&policy->allowed, name))
        return POLICY_DENY_DOMAIN;
    return POLICY_ALLOW;
}
