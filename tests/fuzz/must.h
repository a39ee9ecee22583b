/* must.h - what the fuzz targets promise: a broken one is a finding. */
#ifndef FUZZ_MUST_H
#define FUZZ_MUST_H

#include <stdbool.h>
#include <stdlib.h>

static inline void must(bool holds) /* assert() is compiled out of optimised builds */
{
    if (!holds)
        abort();
}

#endif
