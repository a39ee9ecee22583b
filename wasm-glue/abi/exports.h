/*
 * exports.h - every function JavaScript may call.
 *
 * Memory   An object lives where its caller put it; results are borrowed until the next call.
 * Trust    Addresses come from our own JavaScript. Offsets, sizes and values of config and BAR
 *          accesses come from the guest, received messages from the proxy: any value is accepted.
 */
#ifndef ABI_EXPORTS_H
#define ABI_EXPORTS_H

#include "abi.h"

struct card;
struct tunnel;
struct tunnel_event;

/* A card (card.h). */

/** The name of model 0, 1, ...; 0 behind the last one. */
ABI_EXPORT(nic_model_name)
const char *nic_model_name(uint32_t model);

ABI_EXPORT(nic_card_bytes)
uint32_t nic_card_bytes(uint32_t model);

/** The name of option 0, 1, ... of a model; 0 behind the last one. */
ABI_EXPORT(nic_option_name)
const char *nic_option_name(uint32_t model, uint32_t option);

/** What it can be, separated by spaces; 0: a number in a range. */
ABI_EXPORT(nic_option_choices)
const char *nic_option_choices(uint32_t model, uint32_t option);

ABI_EXPORT(nic_option_min)
int32_t nic_option_min(uint32_t model, uint32_t option);

ABI_EXPORT(nic_option_max)
int32_t nic_option_max(uint32_t model, uint32_t option);

/**
 * Powers a card on in `memory`, nic_card_bytes(model) bytes of zeros, with NET_TX and NET_RX of
 * the AIPC buffer `rings`. `options` has one word for each option of the model: the position of
 * the choice, the number, or ABI_OPTION_UNSET. `host` is of enum abi_host. `super` other than 0:
 * the rings are for super-frames (backend.h, Records). Returns 0, a ring_error or an abi_error.
 */
ABI_EXPORT(nic_open)
int32_t nic_open(struct card *card, uint32_t model, const uint8_t *mac, const int32_t *options,
                 void *rings, uint32_t rings_bytes, uint32_t host, uint8_t *ram, uint32_t ram_bytes,
                 uint32_t super);

/** Gives an open card other rings, of the same kind, and counters that start at 0. 0 or a
 *  ring_error: it keeps its own. Not inside a call of the card's. */
ABI_EXPORT(nic_attach)
int32_t nic_attach(struct card *card, void *rings, uint32_t rings_bytes);

ABI_EXPORT(nic_bar_kind)
uint32_t nic_bar_kind(struct card *card, uint32_t bar);

ABI_EXPORT(nic_bar_bytes)
uint32_t nic_bar_bytes(struct card *card, uint32_t bar);

ABI_EXPORT(nic_reset)
void nic_reset(struct card *card);

ABI_EXPORT(nic_config_read)
uint32_t nic_config_read(struct card *card, uint32_t offset, uint32_t size);

ABI_EXPORT(nic_config_write)
void nic_config_write(struct card *card, uint32_t offset, uint32_t size, uint32_t value);

/** Size 1, 2 or 4; a BAR the model does not have reads all ones. */
ABI_EXPORT(nic_bar_read)
uint32_t nic_bar_read(struct card *card, uint32_t bar, uint32_t offset, uint32_t size);

ABI_EXPORT(nic_bar_write)
void nic_bar_write(struct card *card, uint32_t bar, uint32_t offset, uint32_t size, uint32_t value);

ABI_EXPORT(nic_work_pending)
int32_t nic_work_pending(struct card *card);

/** One bounded step in the order of net-rings.md §4.3. Returns a set of abi_poll bits. */
ABI_EXPORT(nic_poll)
uint32_t nic_poll(struct card *card);

ABI_EXPORT(nic_irq_level)
int32_t nic_irq_level(struct card *card);

/** On the clock of now_ms(); infinite when no timer runs. */
ABI_EXPORT(nic_next_event_ms)
double nic_next_event_ms(struct card *card);

ABI_EXPORT(nic_set_link)
void nic_set_link(struct card *card, int32_t up);

ABI_EXPORT(nic_link)
int32_t nic_link(struct card *card);

/** Scratch of ABI_AREA_BYTES for nic_receive() and nic_take(), good until the next call. */
ABI_EXPORT(nic_area)
uint8_t *nic_area(struct card *card);

/** Puts the frame in the area behind those that wait in NET_RX. 0 or a ring_error. */
ABI_EXPORT(nic_receive)
int32_t nic_receive(struct card *card, uint32_t bytes);

/**
 * Puts the frame in the area into the card's own queue, which is part of its saved state, unlike
 * NET_RX. No DMA. 0 or an abi_error.
 */
ABI_EXPORT(nic_queue)
int32_t nic_queue(struct card *card, uint32_t bytes);

/**
 * At most `frames` wait in NET_TX until nic_take(): while there are as many the card keeps its
 * descriptors. Called before the first poll of a card without a tunnel; later with any number.
 */
ABI_EXPORT(nic_limit_waiting)
void nic_limit_waiting(struct card *card, uint32_t frames);

/** Takes the oldest frame of NET_TX into the area. Its bytes, or a ring_error. */
ABI_EXPORT(nic_take)
int32_t nic_take(struct card *card);

/** Name of statistic 0, 1, ... of this card; 0 behind the last one. */
ABI_EXPORT(nic_stat_name)
const char *nic_stat_name(struct card *card, uint32_t stat);

/** A snapshot of all statistics, uint64_t each, in the order of their names. */
ABI_EXPORT(nic_stats)
const uint64_t *nic_stats(struct card *card);

/**
 * Saves the card's state, without the rings (net-rings.md §5). Returns the snapshot's bytes; they
 * were written if that is <= capacity, so that capacity 0 asks for the size. `outgoing` may be 0:
 * frames that were taken from NET_TX but not passed on, each with its little-endian length in
 * front, go into the state; nic_load() puts them into NET_TX again.
 */
ABI_EXPORT(nic_save)
uint32_t nic_save(struct card *card, uint8_t *to, uint32_t capacity, const uint8_t *outgoing,
                  uint32_t outgoing_count, uint32_t outgoing_bytes);

/** All or nothing: 0, or an abi_error with the card unchanged. */
ABI_EXPORT(nic_load)
int32_t nic_load(struct card *card, const uint8_t *from, uint32_t bytes);

/* Rings (nic/ring.h). */

/** Bytes of a buffer with both rings, 0 for a capacity no ring can have. */
ABI_EXPORT(rings_bytes)
uint32_t rings_bytes(uint32_t tx_bytes, uint32_t rx_bytes);

ABI_EXPORT(rings_build)
int32_t rings_build(void *buffer, uint32_t bytes, uint32_t tx_bytes, uint32_t rx_bytes);

/** Offset in the buffer of the header of the first ring of `kind`, or a ring_error. */
ABI_EXPORT(rings_find)
int32_t rings_find(void *buffer, uint32_t bytes, uint32_t kind);

/* The tunnel client (tunnel/client.h). */

/**
 * Bytes of memory for a client with these options (§9.1), 0 when they are out of range.
 * `extensions` are abi_tunnel bits. With SUPER a frame_max_bytes of 0 means 65550, as tag 1 must.
 */
ABI_EXPORT(tunnel_bytes)
uint32_t tunnel_bytes(uint32_t max_queued_bytes, uint32_t frame_max_bytes,
                      uint32_t control_max_bytes, uint32_t keepalive_min_ms,
                      uint32_t keepalive_max_ms, uint32_t error_interval_ms, uint32_t random_seed,
                      int32_t extensions);

/** Makes a fresh client in that memory. 0 or an abi_error. */
ABI_EXPORT(tunnel_init)
int32_t tunnel_init(struct tunnel *tunnel, uint32_t max_queued_bytes, uint32_t frame_max_bytes,
                    uint32_t control_max_bytes, uint32_t keepalive_min_ms,
                    uint32_t keepalive_max_ms, uint32_t error_interval_ms, uint32_t random_seed,
                    int32_t extensions);

ABI_EXPORT(tunnel_connecting)
void tunnel_connecting(struct tunnel *tunnel, double now_ms);

ABI_EXPORT(tunnel_opened)
void tunnel_opened(struct tunnel *tunnel, int32_t subprotocol_ok, double now_ms);

ABI_EXPORT(tunnel_closed)
void tunnel_closed(struct tunnel *tunnel);

/** Room to write one frame into before tunnel_send_end(), or 0: refused. */
ABI_EXPORT(tunnel_send_begin)
uint8_t *tunnel_send_begin(struct tunnel *tunnel, uint32_t frame_bytes);

ABI_EXPORT(tunnel_send_end)
void tunnel_send_end(struct tunnel *tunnel);

/**
 * The same for a super-frame of segments of gso_bytes (> 0): sent uncut to a proxy that takes it,
 * cut into frames for any other. tunnel_super_end() returns how many frames it made, 0 when it
 * cannot be cut and was dropped, -1 when one was refused.
 */
ABI_EXPORT(tunnel_super_begin)
uint8_t *tunnel_super_begin(struct tunnel *tunnel, uint32_t frame_bytes, uint32_t gso_bytes);

ABI_EXPORT(tunnel_super_end)
int32_t tunnel_super_end(struct tunnel *tunnel);

/** The oldest message to send, or 0; tunnel_outbound_bytes() says how long it is. */
ABI_EXPORT(tunnel_outbound)
const uint8_t *tunnel_outbound(struct tunnel *tunnel);

ABI_EXPORT(tunnel_outbound_bytes)
uint32_t tunnel_outbound_bytes(struct tunnel *tunnel);

ABI_EXPORT(tunnel_outbound_done)
void tunnel_outbound_done(struct tunnel *tunnel);

ABI_EXPORT(tunnel_queued_bytes)
uint32_t tunnel_queued_bytes(struct tunnel *tunnel);

/**
 * Where a received message goes before tunnel_feed(): ABI_MESSAGE_BYTES and one more, at which
 * a longer message may be cut off.
 */
ABI_EXPORT(tunnel_area)
uint8_t *tunnel_area(struct tunnel *tunnel);

ABI_EXPORT(tunnel_feed)
void tunnel_feed(struct tunnel *tunnel, uint32_t bytes, double now_ms);

/** Keepalive and dead-peer clock; the time of the next tick wanted, or infinite. */
ABI_EXPORT(tunnel_tick)
double tunnel_tick(struct tunnel *tunnel, double now_ms);

/**
 * The next event as nine words, good until the next call; its type is 0 when there is none. The
 * last one is a frame's gso_size, 0 for an ordinary frame.
 */
ABI_EXPORT(tunnel_event)
const struct tunnel_event *tunnel_event(struct tunnel *tunnel);

ABI_EXPORT(tunnel_stat_name)
const char *tunnel_stat_name(uint32_t stat);

/** A snapshot of all statistics, uint64_t each, in the order of their names. */
ABI_EXPORT(tunnel_stats)
const uint64_t *tunnel_stats(struct tunnel *tunnel);

/** Our wording for the code of an ERROR (§5), 0 for an unknown one. */
ABI_EXPORT(tunnel_code_text)
const char *tunnel_code_text(int32_t code);

/* Constants. */

/** Entries of ABI_NAME_BYTES of name, zero-padded, and an int32_t; abi_constants_count() many. */
ABI_EXPORT(abi_constants)
const struct abi_constant *abi_constants(void);

ABI_EXPORT(abi_constants_count)
uint32_t abi_constants_count(void);

/** Bytes of one entry: its value is the last word. */
ABI_EXPORT(abi_constant_bytes)
uint32_t abi_constant_bytes(void);

#endif
