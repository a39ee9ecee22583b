/*
 * tcp_script.h - one guest's TCP in the world of tests/support/nat_world.h, driven by scripts.
 *
 * A script is a list of lines, in the spirit of packetdrill. The guest's and the NAT's sequence
 * numbers are relative to their SYNs, so a script runs unchanged at any pair of initial sequence
 * numbers; tcp_script() runs it at several, two of which wrap.
 *
 *   guest FLAGS SEQ+LEN [ack N] [win N] [mss N] [ws N] [sackok] [ts V E] [sack A-B ...]
 *                     the guest sends; FLAGS of S F R P U and . for ACK. The batch ends.
 *                     [gso N]: as one super-frame of such segments
 *   batch FLAGS ...   the same, the batch goes on
 *   fill FROM TO [N]  the guest sends these sequence numbers as one batch of segments of N bytes,
 *                     of 1000 if not said
 *   nat FLAGS SEQ+LEN ...   the next frame to the guest is this; fields left out are not compared
 *   unreachable CODE  the next frame is that ICMP message of the gateway, about the guest's SYN
 *   skip N            the next N frames are of no interest
 *   silence           no frame waits
 *   times N LINE      the line, N times
 *   +N us|ms|s        the clock advances, timers run on their way
 *   connects | refuses [N]     the host's connect() succeeds, fails with errno N
 *   ends              ... has ended, but the NAT is not told yet
 *   host opens N      tcp_connect() was called N times so far
 *   host got N        the kernel holds N bytes from the guest in all, the right ones
 *   host shut | host closed | host reset | host waiting   what the NAT did with the socket
 *   host consumed N   bytes the NAT took from the kernel's receive queue in all
 *   host room N       the kernel takes N more bytes; WRITABLE follows if it refused some
 *   remote sends N | remote closes | remote breaks
 *   remote is gone    broken, but the NAT was not told yet: it learns from its next call
 *   queue N           the outbound queue takes N more frames; nat_writable() if it was full
 *   limit N           the client's HELLO comes now: frames of at most N bytes
 *   super N           ... with SUPER, of at most N bytes
 *   metric NAME N
 */
#ifndef PROXY_TCP_SCRIPT_H
#define PROXY_TCP_SCRIPT_H

#include "nat_world.h"

/** A world whose NAT begins every connection at `nat_isn`; `configure` may be NULL. */
void tcp_world_open(struct nat_world *world, uint32_t nat_isn,
                    void (*configure)(struct nat_config *));
/** The byte at `offset` of every stream in scripts. */
uint8_t tcp_pattern(uint32_t offset);

/** Runs a script, last line NULL, at several pairs of initial sequence numbers. */
void tcp_script(const char *const *lines);
void tcp_script_with(void (*configure)(struct nat_config *), const char *const *lines);

#define TCP_SCRIPT(...) tcp_script((const char *const[]){__VA_ARGS__, NULL})
#define TCP_SCRIPT_WITH(configure, ...)                                                            \
    tcp_script_with(configure, (const char *const[]){__VA_ARGS__, NULL})

#endif
