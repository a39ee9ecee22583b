#include "config/reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PAYLOAD_MAX_BYTES = 1 << 18 }; /* a message must fit a worker's read buffer, twice */

const char *reader_get(const struct reader *reader, const char *name)
{
    return reader->source->get(reader->source->context, name);
}

/* Trims; an empty rest gives 0 bytes. */
static const char *trim(const char *text, size_t *bytes)
{
    size_t count = strlen(text);

    while (count > 0 && isspace((unsigned char)text[0])) {
        text++;
        count--;
    }
    while (count > 0 && isspace((unsigned char)text[count - 1]))
        count--;
    *bytes = count;
    return text;
}

uint64_t reader_u64(const struct reader *reader, const char *name, uint64_t fallback)
{
    const char *value = reader_get(reader, name);
    uint64_t number = 0;
    size_t bytes;

    if (value == NULL)
        return fallback;
    value = trim(value, &bytes);
    if (bytes == 0)
        return fallback;
    for (size_t i = 0; i < bytes; i++) {
        if (value[i] < '0' || value[i] > '9')
            return fallback;
        const uint64_t digit = (uint64_t)(value[i] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return fallback;
        number = number * 10 + digit;
    }
    return number;
}

bool reader_within(const struct reader *reader, const char *name, uint32_t *value, uint32_t min,
                   uint32_t max)
{
    const char *text = reader_get(reader, name);
    size_t bytes = 0;

    if (text != NULL)
        trim(text, &bytes);
    if (bytes == 0)
        return true;
    const uint64_t number = reader_u64(reader, name, UINT64_MAX);
    if (number < min || number > max)
        return false;
    *value = (uint32_t)number;
    return true;
}

uint32_t reader_u32(const struct reader *reader, const char *name, uint32_t fallback)
{
    const uint64_t number = reader_u64(reader, name, fallback);
    return number <= UINT32_MAX ? (uint32_t)number : fallback;
}

uint32_t reader_clamped(const struct reader *reader, const char *name, uint32_t fallback,
                        uint32_t max)
{
    const uint64_t number = reader_u64(reader, name, fallback);
    return number <= max ? (uint32_t)number : max;
}

uint32_t reader_size(const struct reader *reader, const char *name, const char *alias,
                     uint32_t fallback)
{
    uint64_t number = reader_u64(reader, name, 0);

    if (number == 0 && alias != NULL)
        number = reader_u64(reader, alias, 0);
    if (number == 0)
        return fallback;
    return number <= PAYLOAD_MAX_BYTES ? (uint32_t)number : PAYLOAD_MAX_BYTES;
}

bool reader_is_one(const struct reader *reader, const char *name)
{
    const char *value = reader_get(reader, name);
    return value != NULL && strcmp(value, "1") == 0;
}

bool config_is_true(const char *value)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    size_t bytes;

    if (value == NULL)
        return false;
    value = trim(value, &bytes);
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (strlen(yes[i]) == bytes && strncasecmp(value, yes[i], bytes) == 0)
            return true;
    return false;
}

bool reader_string(const struct reader *reader, char **value, const char *name, const char *second,
                   const char *third)
{
    const char *const names[] = {name, second, third};

    *value = NULL;
    for (size_t i = 0; i < 3 && names[i] != NULL; i++) {
        const char *text = reader_get(reader, names[i]);
        size_t bytes;
        if (text == NULL)
            continue;
        text = trim(text, &bytes);
        if (bytes == 0)
            continue;
        *value = strndup(text, bytes);
        return *value != NULL;
    }
    return true;
}

bool reader_text(const struct reader *reader, char **value, const char *name, const char *second)
{
    const char *text = reader_get(reader, name);

    if ((text == NULL || *text == '\0') && second != NULL)
        text = reader_get(reader, second);
    *value = NULL;
    if (text == NULL || *text == '\0')
        return true;
    *value = strdup(text);
    return *value != NULL;
}
