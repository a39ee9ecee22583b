/*
 * asan_options.c - AddressSanitizer for targets that allocate much and keep nothing: the default
 *                  quarantine of 256 MB makes every block a cold one.
 */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:thread_local_quarantine_size_kb=64:malloc_context_size=10";
}
