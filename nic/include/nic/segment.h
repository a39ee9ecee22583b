/*
 * segment.h - TCP and UDP inside a frame: finding the headers, judging a checksum, cutting one
 *             large TCP packet into frames. Pure functions, shared by the cards.
 *
 * Source   RFC 791, 8200, 9293, 768, 3168; spec/choices.md on segments.
 * Hostile  Every offset a packet names is checked here, against the bytes the caller has.
 */
#ifndef NIC_SEGMENT_H
#define NIC_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

enum { SEGMENT_HEADERS_MAX_BYTES = 512 }; /* Ethernet, tags, IP with extensions, TCP */

/* Offsets of the headers in a frame; the IP header and 8 bytes of what follows it are there. */
struct l4_view {
    uint32_t l3, l4;
    uint8_t version; /* 4 or 6 */
    uint8_t protocol;
};

/** Looks through up to two VLAN tags. False: not IP, a fragment, or cut short. */
bool l4_find(struct l4_view *view, const uint8_t *frame, uint32_t bytes);

enum l4_verdict { L4_UNKNOWN, L4_GOOD, L4_BAD };

/** Judges the TCP or UDP checksum; UNKNOWN where there is none or the lengths disagree. */
enum l4_verdict l4_checksum_judge(const uint8_t *frame, uint32_t bytes);

/** Pseudo-header sum for `l4_bytes` of the view's protocol, folded. */
uint16_t l4_pseudo(const struct l4_view *view, const uint8_t *frame, uint32_t l4_bytes);

/**
 * Stores the checksum of frame[start, bytes), the field's own content included, at `at`; 0 is
 * stored as ffff. False, and nothing done, when the offsets leave the frame.
 */
bool checksum_complete(uint8_t *frame, uint32_t bytes, uint32_t start, uint32_t at);

/* How one TCP (the E1000: or UDP) packet becomes `count` frames, each of header_bytes and a part
 * of the payload. A plan that a guest made itself may place headers anywhere, see segment_edit().
 */
struct tcp_segments {
    struct l4_view view;
    uint32_t header_bytes, payload_bytes, mss, count;
};

/** Frames it takes, for mss > 0; a packet without payload is one. */
uint32_t segments_count(uint32_t payload_bytes, uint32_t mss);

/** Plans the cut of a packet of which `head` holds the first head_bytes. False: not possible. */
bool tcp_segments_plan(struct tcp_segments *plan, const uint8_t *head, uint32_t head_bytes,
                       uint32_t packet_bytes, uint32_t mss);

/** Payload bytes of segment `index`. */
static inline uint32_t tcp_segment_payload(const struct tcp_segments *plan, uint32_t index)
{
    return index + 1 < plan->count ? plan->mss : plan->payload_bytes - index * plan->mss;
}

/**
 * `frame` starts with the packet's headers: makes lengths, IPv4 identification, sequence number,
 * FIN and PSH (on the last one only) those of segment `index`. No checksum is touched. A field
 * outside header_bytes is left alone; 8 bytes from view.l4 on are the caller's part to check.
 */
void segment_edit(const struct tcp_segments *plan, uint8_t *frame, uint32_t index);

/**
 * `frame` holds the packet's headers and the payload of segment `index`: segment_edit(),
 * CWR on the first one only (RFC 3168 §6.1.2), and the checksums.
 */
void tcp_segment_finish(const struct tcp_segments *plan, uint8_t *frame, uint32_t index);

/** Makes segment `index` at `to` of the packet's headers and its whole payload. Returns its bytes.
 */
uint32_t tcp_segment_make(const struct tcp_segments *plan, uint8_t *to, const uint8_t *headers,
                          const uint8_t *payload, uint32_t index);

/** tcp_segment_finish() where the payload of segment `index` lies elsewhere; `headers` is
 * header_bytes long. */
void tcp_segment_headers(const struct tcp_segments *plan, uint8_t *headers, const uint8_t *payload,
                         uint32_t index);

/**
 * Whether a packet planned by tcp_segments_plan() may travel uncut, as a super-frame (spec/
 * l2-extensions.md §6): no VLAN tag, TCP right behind the IP header, an IP length of at most 65535,
 * and more than one segment.
 */
bool tcp_segments_super(const struct tcp_segments *plan);

/** Makes the IP length of a super-frame cover all of it; checksums are not touched. */
void super_frame_length(const struct tcp_segments *plan, uint8_t *frame);

/**
 * Makes the checksums of a super-frame's `headers` what a receiver with checksum offload wants: the
 * IPv4 header's own, and of TCP's the pseudo-header sum over all of the packet (partial).
 */
void super_frame_checksums(const struct tcp_segments *plan, uint8_t *headers);

#endif
