/* reader.h - one variable at a time: numbers that do not parse take the default (§2). */
#ifndef PROXY_CONFIG_READER_H
#define PROXY_CONFIG_READER_H

#include "config/config.h"

struct reader {
    const struct config_source *source;
    char *why; /* CONFIG_WHY_BYTES */
};

/** The value as it stands; NULL: unset. */
const char *reader_get(const struct reader *reader, const char *name);

/** Decimal digits, blanks around them allowed; anything else, or too large: the default. */
uint64_t reader_u64(const struct reader *reader, const char *name, uint64_t fallback);
uint32_t reader_u32(const struct reader *reader, const char *name, uint32_t fallback);
uint32_t reader_clamped(const struct reader *reader, const char *name, uint32_t fallback,
                        uint32_t max);
/** Leaves *value if unset or blank. False: not a number from min to max. */
bool reader_within(const struct reader *reader, const char *name, uint32_t *value, uint32_t min,
                   uint32_t max);
/** A payload limit: empty or 0 counts as unset, then the alias is asked. */
uint32_t reader_size(const struct reader *reader, const char *name, const char *alias,
                     uint32_t fallback);
/** Exactly "1". */
bool reader_is_one(const struct reader *reader, const char *name);
/** A trimmed copy of the first non-empty of up to three variables, or NULL in *value. False:
 *  out of memory. */
bool reader_string(const struct reader *reader, char **value, const char *name, const char *second,
                   const char *third);
/** The same, as it stands: secrets that may begin or end with a blank. */
bool reader_text(const struct reader *reader, char **value, const char *name, const char *second);

#endif
