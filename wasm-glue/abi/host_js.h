/*
 * host_js.h - the functions the module imports from JavaScript, and the struct nic_host made of
 *             them. A native program that links this folder must define the env_ functions itself.
 */
#ifndef ABI_HOST_JS_H
#define ABI_HOST_JS_H

#include "card.h"

/* `card` is the address nic_open() was given; 1 for done, 0 for refused (nic/host.h). */
ABI_IMPORT(dma_read)
int32_t env_dma_read(struct card *card, uint32_t gpa_low, uint32_t gpa_high, void *to,
                     uint32_t bytes);
ABI_IMPORT(dma_write)
int32_t env_dma_write(struct card *card, uint32_t gpa_low, uint32_t gpa_high, const void *from,
                      uint32_t bytes);
/* ABI_HOST_LINEAR_WRITTEN only: the card wrote guest memory itself. */
ABI_IMPORT(dma_written)
void env_dma_written(struct card *card, uint32_t gpa_low, uint32_t gpa_high, uint32_t bytes);
ABI_IMPORT(irq) void env_irq(struct card *card, int32_t level);
/* ABI_HOST_MESSAGES only: an MSI-X message, as the guest programmed its vector. */
ABI_IMPORT(message)
void env_message(struct card *card, uint32_t address_low, uint32_t address_high, uint32_t data);
/* NET_TX is full: 1 when the other end drained it within the call. */
ABI_IMPORT(tx_full) int32_t env_tx_full(struct card *card);
/* Monotonic, milliseconds. */
ABI_IMPORT(now_ms) double env_now_ms(void);

/** The world of `card`, whose model, linear and backend are filled in already; `kind` of enum
 *  abi_host. */
struct nic_host host_js(struct card *card, uint32_t kind);

#endif
