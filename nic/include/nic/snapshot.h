/*
 * snapshot.h - the container every device's saved state travels in: a header and tagged fields.
 *
 * Source   spec/e1000.md §10.1.
 * Memory   Writer and reader are small structs of the caller; the reader borrows the blob and
 *          copies nothing.
 * Hostile  snapshot_open() checks the whole structure once; after it no field leaves the blob.
 */
#ifndef NIC_SNAPSHOT_H
#define NIC_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SNAPSHOT_HEADER_BYTES = 16,
    SNAPSHOT_FIELD_HEADER_BYTES = 6,
    SNAPSHOT_FIELDS_MAX = 4096,
    SNAPSHOT_FORMAT_MAJOR = 1,
};

enum snapshot_error {
    SNAPSHOT_ERR_HEADER = -1,    /* short, wrong magic, format, device or device major */
    SNAPSHOT_ERR_TRUNCATED = -2, /* a field leaves the blob */
    SNAPSHOT_ERR_DUPLICATE = -3,
    SNAPSHOT_ERR_FIELDS = -4, /* more than 4096 fields */
    SNAPSHOT_ERR_LENGTH = -5, /* a field has not the length its type needs */
    SNAPSHOT_ERR_VALUE = -6,  /* a boolean other than 0 and 1 */
};

/*
 * Writes fields one after the other; the caller keeps tags ascending. Whatever does not fit
 * into `capacity` is counted, not written, so that a writer without room tells the size.
 */
struct snapshot_writer {
    uint8_t *to;
    size_t capacity;
    size_t bytes; /* of the whole blob so far */
};

void snapshot_begin(struct snapshot_writer *writer, uint8_t *to, size_t capacity,
                    const char device[4], uint16_t major, uint16_t minor);
void snapshot_field(struct snapshot_writer *writer, uint16_t tag, const void *from, uint32_t bytes);
void snapshot_u8(struct snapshot_writer *writer, uint16_t tag, uint8_t value);
void snapshot_bool(struct snapshot_writer *writer, uint16_t tag, bool value);
void snapshot_u32(struct snapshot_writer *writer, uint16_t tag, uint32_t value);
/** A field whose `bytes` bytes follow by snapshot_append(). */
void snapshot_open_field(struct snapshot_writer *writer, uint16_t tag, uint32_t bytes);
void snapshot_append(struct snapshot_writer *writer, const void *from, uint32_t bytes);
void snapshot_append_u32(struct snapshot_writer *writer, uint32_t value);

struct snapshot_reader {
    const uint8_t *from;
    size_t bytes;
};

/** Checks the blob from end to end: 0, or a snapshot_error. */
int snapshot_open(struct snapshot_reader *reader, const uint8_t *from, size_t bytes,
                  const char device[4], uint16_t major);

/** The field's bytes and *length, or NULL when the blob has no such field. */
const uint8_t *snapshot_find(const struct snapshot_reader *reader, uint16_t tag, uint32_t *length);

/**
 * Typed fields. 1: found and stored; 0: missing, *value untouched; else a snapshot_error.
 */
int snapshot_get_u8(const struct snapshot_reader *reader, uint16_t tag, uint8_t *value);
int snapshot_get_bool(const struct snapshot_reader *reader, uint16_t tag, bool *value);
int snapshot_get_u32(const struct snapshot_reader *reader, uint16_t tag, uint32_t *value);
/** A field of exactly `bytes` bytes; *value borrows the blob. */
int snapshot_get_bytes(const struct snapshot_reader *reader, uint16_t tag, const uint8_t **value,
                       uint32_t bytes);

#endif
