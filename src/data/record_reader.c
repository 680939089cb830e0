/* SPDX-License-Identifier: Apache-2.0 */
/* Records in order: JSON lines split here, HDF5 rows from record_hdf5.c. */
#include <stdlib.h>
#include <string.h>

#include "data/byte_source.h"
#include "data/record_hdf5.h"

enum { BLOCK_BYTES = 128 * 1024 };

struct record_reader {
    char *path;
    int64_t limit; /* -1: none */
    int64_t next_row;
    struct record_hdf5 *hdf5;   /* one of the two */
    struct byte_source *source; /* JSON lines */
    int64_t line;               /* 1-based, of the line read last */
    size_t next, filled;        /* of block */
    bool ended;
    char block[BLOCK_BYTES];
};

status record_reader_open(const struct record_reader_options *options, struct record_reader **out)
{
    *out = NULL;
    struct record_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL || (reader->path = strdup(options->path)) == NULL) {
        free(reader);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", options->path);
    }
    reader->limit = options->limit;
    /* The byte source is opened first: it says best what is wrong with a path. */
    status s = byte_source_open(reader->path, &reader->source);
    if (s == STATUS_OK && record_hdf5_detect(reader->path)) {
        byte_source_close(reader->source);
        reader->source = NULL;
        s = record_hdf5_open(reader->path, options->prompt_field, &reader->hdf5);
    }
    if (s != STATUS_OK) {
        record_reader_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

static status reader_fill(struct record_reader *reader)
{
    if (reader->next < reader->filled || reader->ended) {
        return STATUS_OK;
    }
    reader->next = 0;
    reader->filled = 0;
    TRY(status_context(
        byte_source_read(reader->source, reader->block, sizeof reader->block, &reader->filled),
        "line %lld", (long long)reader->line + 1));
    reader->ended = reader->filled == 0;
    return STATUS_OK;
}

/* Reads one line without its end; *more is false when there is none. A line past the limit is
 * skipped and *too_long set. */
static status read_line(struct record_reader *reader, struct buffer *line, bool *too_long,
                        bool *more)
{
    buffer_clear(line);
    *too_long = false;
    *more = false;
    for (;;) {
        TRY(reader_fill(reader));
        if (reader->ended) {
            reader->line += *more; /* a last line without newline */
            return STATUS_OK;
        }
        *more = true;
        const char *start = reader->block + reader->next;
        size_t there = reader->filled - reader->next;
        const char *newline = memchr(start, '\n', there);
        size_t length = newline != NULL ? (size_t)(newline - start) : there;
        reader->next += length + (newline != NULL);
        *too_long |= length > RECORD_MAX_BYTES - line->length;
        if (!*too_long) {
            TRY(buffer_append(line, start, length));
        }
        if (newline != NULL) {
            reader->line++;
            return STATUS_OK;
        }
    }
}

static bool is_blank(const struct buffer *line)
{
    for (size_t i = 0; i < line->length; i++) {
        if (strchr(" \t\r\v\f", line->data[i]) == NULL || line->data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static status read_json_line(struct record_reader *reader, struct record *record, bool *more)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    bool too_long;
    do {
        TRY(read_line(reader, &record->bytes, &too_long, more));
        struct buffer *line = &record->bytes;
        if (reader->line == 1 && line->length >= 3 && memcmp(line->data, byte_order_mark, 3) == 0) {
            memmove(line->data, line->data + 3, line->length - 3 + 1);
            line->length -= 3;
        }
        if (line->length > 0 && line->data[line->length - 1] == '\r') {
            line->data[--line->length] = '\0';
        }
    } while (*more && !too_long && is_blank(&record->bytes));
    if (!*more) {
        return STATUS_OK;
    }
    record->position = reader->line;
    record->kind = RECORD_JSON;
    if (too_long) {
        record->kind = RECORD_BAD;
        buffer_clear(&record->bytes);
        return buffer_append_text(&record->bytes, "a line of more than 64 MiB");
    }
    /* Not one bad row after the other for a file that is one JSON array. */
    if (reader->next_row == 0 && record->bytes.data[strspn(record->bytes.data, " \t")] == '[') {
        return status_fail(STATUS_INVALID,
                           "line %lld: holds a JSON array, not one object a line; "
                           "`jq -c '.[]'` makes lines of it",
                           (long long)reader->line);
    }
    return STATUS_OK;
}

status record_reader_next(struct record_reader *reader, struct record *record, bool *more)
{
    buffer_clear(&record->bytes);
    *more = reader->limit < 0 || reader->next_row < reader->limit;
    if (!*more) {
        return STATUS_OK;
    }
    if (reader->hdf5 != NULL) {
        *more = reader->next_row < record_hdf5_rows(reader->hdf5);
        if (*more) {
            record->position = reader->next_row;
            TRY(record_hdf5_read(reader->hdf5, reader->next_row, record));
        }
    } else {
        TRY(status_context(read_json_line(reader, record, more), "%s", reader->path));
    }
    if (*more) {
        record->row = reader->next_row++;
    } else if (reader->next_row == 0) {
        return status_fail(STATUS_INVALID, "%s: holds no rows", reader->path);
    }
    return STATUS_OK;
}

status record_reader_digest(struct record_reader *reader, int64_t *file_bytes, char sha256_hex[65])
{
    if (reader->source != NULL) {
        return byte_source_digest(reader->source, file_bytes, sha256_hex);
    }
    return byte_source_hash_file(reader->path, file_bytes, sha256_hex);
}

void record_reader_close(struct record_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    byte_source_close(reader->source);
    record_hdf5_close(reader->hdf5);
    free(reader->path);
    free(reader);
}
