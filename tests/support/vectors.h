/*
 * vectors.h - reads tests/vectors/<name>.txt: one case a line, fields separated by blanks,
 *             "#" starts a comment, hex fields "-" for no bytes. JavaScript reads the same files.
 */
#ifndef SUPPORT_VECTORS_H
#define SUPPORT_VECTORS_H

#include <stddef.h>
#include <stdint.h>

enum { VECTOR_FIELDS_MAX = 16, VECTOR_LINE_MAX = 65536 };

struct vector {
    const char *file;
    unsigned line;
    int fields;
    char *field[VECTOR_FIELDS_MAX]; /* the last one holds the rest of the line */
};

/** Calls `check` for each case of the file; fails the test when the file has none. */
void vectors_for_each(const char *name, int fields, void (*check)(const struct vector *vector));

/** Decodes hex into exactly *bytes; the block ends at an unreadable page natively, so that one
 *  byte read too far crashes. Free it with vector_bytes_free(). */
uint8_t *vector_bytes(const char *hex, size_t *bytes);
void vector_bytes_free(uint8_t *block, size_t bytes);

/** The same placement for `bytes` bytes of any origin. */
uint8_t *guarded_copy(const void *from, size_t bytes);

#endif
