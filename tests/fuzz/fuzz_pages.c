/*
 * fuzz_pages.c - memory/pages.h for a target that opens and closes the same tables thousands of
 *                times a second: a block is kept and given again, instead of unmapped.
 *
 * Tables come zeroed, as pages.h promises. Stores of content do not: clearing their megabytes
 * would take longer than what is looked for, and who reads a byte of theirs that it did not write
 * has a defect anyway. Each block is one of malloc()'s, with its red zones.
 */
#include "memory/pages.h"
#include "must.h"

#include <string.h>

enum { BLOCKS_MAX = 64, TABLE_MAX_BYTES = 48 << 10 };

static struct block {
    void *at;
    size_t bytes;
    bool taken;
} blocks[BLOCKS_MAX];

void *pages_alloc(size_t count, size_t bytes)
{
    const size_t total = (count + 1) * bytes; /* as there: what lies behind the last element */
    struct block *block = blocks;

    while (block->at != NULL && (block->taken || block->bytes != total))
        must(++block < blocks + BLOCKS_MAX);
    if (block->at == NULL) {
        block->at = calloc(1, total);
        block->bytes = total;
    } else if (total <= TABLE_MAX_BYTES) {
        memset(block->at, 0, total);
    }
    block->taken = block->at != NULL;
    return block->at;
}

void pages_free(void *pages, size_t count, size_t bytes)
{
    (void)count;
    (void)bytes;
    for (struct block *block = blocks; pages != NULL; block++) {
        must(block < blocks + BLOCKS_MAX);
        if (block->at == pages) {
            must(block->taken);
            block->taken = false;
            return;
        }
    }
}

void pages_forget(void *pages, size_t count, size_t bytes)
{
    (void)pages;
    (void)count;
    (void)bytes;
}
