/*
 * policy.h - who a guest may talk to: the deny list of addresses, port lists, domain lists.
 *
 * Source   spec/l2-proxy.md §2.5, §6.1. One question, asked where a host socket is opened, about
 *          the very address that goes to connect().
 * Memory   Built once at start-up, then read-only and shared by all threads.
 */
#ifndef PROXY_POLICY_H
#define PROXY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum policy_verdict {
    POLICY_ALLOW,
    POLICY_DENY_ADDRESS,
    POLICY_DENY_PORT,
    POLICY_DENY_DOMAIN,
};

enum policy_protocol { POLICY_TCP, POLICY_UDP };

struct policy;

/* Values as in the environment; NULL: unset. */
struct policy_options {
    bool allow_private_ips;
    const char *allowed_tcp_ports, *allowed_udp_ports;
    const char *allowed_domains, *blocked_domains;
};

/** Returns a policy, or NULL with a one-line reason (bad port entry …) in `why`. */
struct policy *policy_new(const struct policy_options *options, char *why, uint32_t why_bytes);
void policy_free(struct policy *policy);

/** `family` 4 or 6; address in network order (4 or 16 bytes); port in host order. */
enum policy_verdict policy_check(const struct policy *policy, enum policy_protocol protocol,
                                 uint8_t family, const uint8_t *address, uint16_t port);

enum policy_verdict policy_check_port(const struct policy *policy, enum policy_protocol protocol,
                                      uint16_t port);

/** For DNS answers: the address list alone. Overrides may name documentation networks (§5.4). */
enum policy_verdict policy_check_address(const struct policy *policy, uint8_t family,
                                         const uint8_t *address, bool is_override);

/** `name` is lower case without trailing dot. */
enum policy_verdict policy_check_name(const struct policy *policy, const char *name);

#endif
