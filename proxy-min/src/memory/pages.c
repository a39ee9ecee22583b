#include "memory/pages.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define USE_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USE_HEAP 1
#endif
#endif

#ifdef USE_HEAP /* with red zones around each table */

void *pages_alloc(size_t count, size_t bytes)
{
    return calloc(count + 1, bytes);
}

void pages_free(void *pages, size_t count, size_t bytes)
{
    (void)count;
    (void)bytes;
    free(pages);
}

void pages_forget(void *pages, size_t count, size_t bytes)
{
    (void)pages;
    (void)count;
    (void)bytes;
}

#else

void *pages_alloc(size_t count, size_t bytes)
{
    void *pages = mmap(NULL, (count + 1) * bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return pages != MAP_FAILED ? pages : NULL;
}

void pages_free(void *pages, size_t count, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, (count + 1) * bytes);
}

void pages_forget(void *pages, size_t count, size_t bytes)
{
    madvise(pages, (count + 1) * bytes, MADV_DONTNEED);
}

#endif
