#include "nic/packet.h"
#include "nic/snapshot.h"

static const uint8_t magic[4] = {'A', 'E', 'R', 'O'};

enum { MAGIC_AT = 0, FORMAT_AT = 4, DEVICE_AT = 8, DEVICE_MAJOR_AT = 12, DEVICE_MINOR_AT = 14 };

void snapshot_append(struct snapshot_writer *writer, const void *from, uint32_t bytes)
{
    if (bytes > 0 && writer->bytes <= writer->capacity && bytes <= writer->capacity - writer->bytes)
        __builtin_memcpy(writer->to + writer->bytes, from, bytes);
    writer->bytes += bytes;
}

void snapshot_append_u32(struct snapshot_writer *writer, uint32_t value)
{
    uint8_t raw[4];

    le32_put(raw, value);
    snapshot_append(writer, raw, sizeof raw);
}

void snapshot_begin(struct snapshot_writer *writer, uint8_t *to, size_t capacity,
                    const char device[4], uint16_t major, uint16_t minor)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES] = {0};

    *writer = (struct snapshot_writer){.to = to, .capacity = capacity};
    __builtin_memcpy(header + MAGIC_AT, magic, sizeof magic);
    le16_put(header + FORMAT_AT, SNAPSHOT_FORMAT_MAJOR);
    __builtin_memcpy(header + DEVICE_AT, device, 4);
    le16_put(header + DEVICE_MAJOR_AT, major);
    le16_put(header + DEVICE_MINOR_AT, minor);
    snapshot_append(writer, header, sizeof header);
}

void snapshot_open_field(struct snapshot_writer *writer, uint16_t tag, uint32_t bytes)
{
    uint8_t header[SNAPSHOT_FIELD_HEADER_BYTES];

    le16_put(header, tag);
    le32_put(header + 2, bytes);
    snapshot_append(writer, header, sizeof header);
}

void snapshot_field(struct snapshot_writer *writer, uint16_t tag, const void *from, uint32_t bytes)
{
    snapshot_open_field(writer, tag, bytes);
    snapshot_append(writer, from, bytes);
}

void snapshot_u8(struct snapshot_writer *writer, uint16_t tag, uint8_t value)
{
    snapshot_field(writer, tag, &value, 1);
}

void snapshot_bool(struct snapshot_writer *writer, uint16_t tag, bool value)
{
    snapshot_u8(writer, tag, value ? 1 : 0);
}

void snapshot_u32(struct snapshot_writer *writer, uint16_t tag, uint32_t value)
{
    snapshot_open_field(writer, tag, 4);
    snapshot_append_u32(writer, value);
}

/* Takes the field at *at; false at a cut. The blob's end is the caller's to notice. */
static bool field_next(const struct snapshot_reader *reader, size_t *at, uint16_t *tag,
                       uint32_t *length)
{
    if (reader->bytes - *at < SNAPSHOT_FIELD_HEADER_BYTES)
        return false;
    *tag = le16_get(reader->from + *at);
    *length = le32_get(reader->from + *at + 2);
    *at += SNAPSHOT_FIELD_HEADER_BYTES;
    return *length <= reader->bytes - *at;
}

static bool header_good(const uint8_t *from, size_t bytes, const char device[4], uint16_t major)
{
    return bytes >= SNAPSHOT_HEADER_BYTES &&
           __builtin_memcmp(from + MAGIC_AT, magic, sizeof magic) == 0 &&
           le16_get(from + FORMAT_AT) == SNAPSHOT_FORMAT_MAJOR &&
           __builtin_memcmp(from + DEVICE_AT, device, 4) == 0 &&
           le16_get(from + DEVICE_MAJOR_AT) == major; /* higher minors are accepted */
}

int snapshot_open(struct snapshot_reader *reader, const uint8_t *from, size_t bytes,
                  const char device[4], uint16_t major)
{
    uint8_t seen[65536 / 8] = {0};
    size_t at = SNAPSHOT_HEADER_BYTES;
    uint32_t fields = 0;

    if (!header_good(from, bytes, device, major))
        return SNAPSHOT_ERR_HEADER;
    *reader = (struct snapshot_reader){from, bytes};
    while (at < bytes) {
        uint16_t tag;
        uint32_t length;

        if (++fields > SNAPSHOT_FIELDS_MAX)
            return SNAPSHOT_ERR_FIELDS;
        if (!field_next(reader, &at, &tag, &length))
            return SNAPSHOT_ERR_TRUNCATED;
        if ((seen[tag / 8] >> tag % 8 & 1) != 0)
            return SNAPSHOT_ERR_DUPLICATE;
        seen[tag / 8] |= (uint8_t)(1u << tag % 8);
        at += length;
    }
    return 0;
}

const uint8_t *snapshot_find(const struct snapshot_reader *reader, uint16_t tag, uint32_t *length)
{
    size_t at = SNAPSHOT_HEADER_BYTES;
    uint16_t found;

    while (at < reader->bytes && field_next(reader, &at, &found, length)) {
        if (found == tag)
            return reader->from + at;
        at += *length;
    }
    return NULL;
}

int snapshot_get_bytes(const struct snapshot_reader *reader, uint16_t tag, const uint8_t **value,
                       uint32_t bytes)
{
    uint32_t length;
    const uint8_t *field = snapshot_find(reader, tag, &length);

    if (field == NULL)
        return 0;
    if (length != bytes)
        return SNAPSHOT_ERR_LENGTH;
    *value = field;
    return 1;
}

int snapshot_get_u8(const struct snapshot_reader *reader, uint16_t tag, uint8_t *value)
{
    const uint8_t *field;
    const int result = snapshot_get_bytes(reader, tag, &field, 1);

    if (result == 1)
        *value = *field;
    return result;
}

int snapshot_get_bool(const struct snapshot_reader *reader, uint16_t tag, bool *value)
{
    uint8_t byte;
    const int result = snapshot_get_u8(reader, tag, &byte);

    if (result == 1 && byte > 1)
        return SNAPSHOT_ERR_VALUE;
    if (result == 1)
        *value = byte == 1;
    return result;
}

int snapshot_get_u32(const struct snapshot_reader *reader, uint16_t tag, uint32_t *value)
{
    const uint8_t *field;
    const int result = snapshot_get_bytes(reader, tag, &field, 4);

    if (result == 1)
        *value = le32_get(field);
    return result;
}
