#define _GNU_SOURCE
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifndef __EMSCRIPTEN__
#include <sys/mman.h>
#include <unistd.h>
#endif

void vectors_for_each(const char *name, int fields, void (*check)(const struct vector *vector))
{
    static char text[VECTOR_LINE_MAX];
    char path[512];
    unsigned line = 0;
    unsigned cases = 0;

    snprintf(path, sizeof path, "%s/%s.txt", AERO_VECTORS_DIR, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("no vector file %s", path);
    while (fgets(text, sizeof text, file) != NULL) {
        struct vector vector = {.file = name, .line = ++line};
        char *rest = text;

        text[strcspn(text, "\n")] = '\0';
        rest += strspn(rest, " \t");
        if (*rest == '#' || *rest == '\0')
            continue;
        while (*rest != '\0' && vector.fields < fields) {
            vector.field[vector.fields++] = rest;
            if (vector.fields == fields)
                break;
            rest += strcspn(rest, " \t");
            if (*rest != '\0')
                *rest++ = '\0';
            rest += strspn(rest, " \t");
        }
        if (vector.fields != fields)
            fail_msg("%s:%u: %d fields, want %d", name, line, vector.fields, fields);
        check(&vector);
        cases++;
    }
    fclose(file);
    assert_true(cases > 0);
}

#ifdef __EMSCRIPTEN__
uint8_t *guarded_copy(const void *from, size_t bytes)
{
    uint8_t *block = malloc(bytes + 1);

    assert_non_null(block);
    memcpy(block, from, bytes);
    return block;
}

void vector_bytes_free(uint8_t *block, size_t bytes)
{
    (void)bytes;
    free(block);
}
#else
static size_t guarded_span(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) / page * page + page;
}

uint8_t *guarded_copy(const void *from, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t span = guarded_span(bytes);
    uint8_t *base = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + span - page, page, PROT_NONE), 0);
    uint8_t *block = base + span - page - bytes;
    memcpy(block, from, bytes);
    return block;
}

void vector_bytes_free(uint8_t *block, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t span = guarded_span(bytes);

    munmap(block + bytes + page - span, span);
}
#endif

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

uint8_t *vector_bytes(const char *hex, size_t *bytes)
{
    static uint8_t raw[VECTOR_LINE_MAX / 2];
    size_t length = 0;

    if (strcmp(hex, "-") != 0) {
        for (; hex[0] != '\0' && hex[0] != ' '; hex += 2) {
            const int high = hex_digit(hex[0]);
            const int low = hex_digit(hex[1]);

            if (high < 0 || low < 0)
                fail_msg("not hex: %s", hex);
            raw[length++] = (uint8_t)(high * 16 + low);
        }
    }
    *bytes = length;
    return guarded_copy(raw, length);
}
