#define _GNU_SOURCE
#include "peer_capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The classic format, in this machine's byte order: readers look at the magic number. */
struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    int32_t zone;
    uint32_t accuracy, snap_bytes, link_type;
};

struct record_header {
    uint32_t seconds, nanoseconds, kept_bytes, bytes;
};

struct capture {
    FILE *file;
    uint64_t frames_left;
};

struct capture *capture_open(const char *path, uint64_t frames_max)
{
    const struct file_header header = {
        .magic = 0xa1b23c4d, /* nanoseconds */
        .major = 2,
        .minor = 4,
        .snap_bytes = 65550,
        .link_type = 1, /* Ethernet */
    };
    struct capture *capture = malloc(sizeof *capture);

    if (capture == NULL)
        return NULL;
    *capture = (struct capture){.file = fopen(path, "wbe"), .frames_left = frames_max};
    if (capture->file != NULL && fwrite(&header, sizeof header, 1, capture->file) == 1)
        return capture;
    if (capture->file != NULL)
        fclose(capture->file);
    free(capture);
    return NULL;
}

void capture_frame(struct capture *capture, const uint8_t *data, size_t bytes)
{
    struct timespec now;

    if (capture == NULL || capture->frames_left == 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct record_header header = {
        .seconds = (uint32_t)now.tv_sec,
        .nanoseconds = (uint32_t)now.tv_nsec,
        .kept_bytes = (uint32_t)bytes,
        .bytes = (uint32_t)bytes,
    };

    capture->frames_left--;
    fwrite(&header, sizeof header, 1, capture->file); /* capture_close() sees a failure */
    fwrite(data, 1, bytes, capture->file);
}

bool capture_close(struct capture *capture)
{
    if (capture == NULL)
        return true;
    const bool good = ferror(capture->file) == 0;
    const bool closed = fclose(capture->file) == 0;

    free(capture);
    return good && closed;
}
