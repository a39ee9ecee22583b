/*
 * pages.h - tables as zero pages: memory costs nothing until it is used.
 *
 * calloc() gives that only by luck: once a large block was freed, the C library serves the next
 * one from its heap and clears it by hand, and every session would hold megabytes it never uses.
 */
#ifndef PROXY_PAGES_H
#define PROXY_PAGES_H

#include <stddef.h>

/** `count` elements of `bytes` each, all zero; NULL when there is no memory. Never of size 0. */
void *pages_alloc(size_t count, size_t bytes);
/** Frees them; the same arguments. NULL is fine. */
void pages_free(void *pages, size_t count, size_t bytes);
/** What they hold is not needed any more: they may cost nothing again, contents undefined. */
void pages_forget(void *pages, size_t count, size_t bytes);

#endif
