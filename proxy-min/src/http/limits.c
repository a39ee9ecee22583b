/* limits.c - counted keys: an entry exists while somebody holds it. */
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

bool limit_take(struct limit_entry **table, const void *key, uint32_t key_bytes, uint32_t max,
                struct limit_entry **entry)
{
    struct limit_entry *found = NULL;

    *entry = NULL;
    if (max == 0)
        return true;
    HASH_FIND(hh, *table, key, key_bytes, found);
    if (found == NULL) {
        found = calloc(1, sizeof *found);
        if (found == NULL || key_bytes > sizeof found->key) {
            free(found);
            return false;
        }
        memcpy(found->key, key, key_bytes);
        found->key_bytes = key_bytes;
        HASH_ADD(hh, *table, key, key_bytes, found);
    }
    if (found->count >= max)
        return false;
    found->count++;
    *entry = found;
    return true;
}

void limit_give(struct limit_entry **table, struct limit_entry *entry)
{
    if (entry == NULL || --entry->count != 0)
        return;
    HASH_DEL(*table, entry);
    free(entry);
}
