/*
 * internal.h - the two halves of the policy: address.c knows the deny lists, policy.c the rest.
 */
#ifndef PROXY_POLICY_INTERNAL_H
#define PROXY_POLICY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/** True when §6.1 denies the address. `documentation_too`: the three networks 192.0.2.0/24,
 *  198.51.100.0/24 and 203.0.113.0/24 count as denied. An unknown family is denied. */
bool policy_address_denied(uint8_t family, const uint8_t *address, bool documentation_too);

#endif
