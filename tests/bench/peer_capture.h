/*
 * peer_capture.h - the tunnel's frames as a pcap file, as they were on the tunnel: what the proxy
 * sent before the line could harm it, what the guest sent after.
 */
#ifndef PEER_CAPTURE_H
#define PEER_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture; /* NULL: nothing is captured */

/** Creates the file, or returns NULL with errno. `frames_max` bounds it; later frames pass. */
struct capture *capture_open(const char *path, uint64_t frames_max);

void capture_frame(struct capture *capture, const uint8_t *data, size_t bytes);

/** False when not all of it could be written. */
bool capture_close(struct capture *capture);

#endif
