/* SPDX-License-Identifier: Apache-2.0 */
/* Records in order, over all files of a data set: JSON lines split here, rows of CSV and HDF5 from
 * record_csv.c and record_hdf5.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/input/byte_source.h"
#include "data/input/record_csv.h"
#include "data/input/record_hdf5.h"
#include "sluice/inputs.h"

enum { BLOCK_BYTES = 128 * 1024 };

struct record_reader {
    struct record_reader_options options;
    struct input_files files; /* our own; bytes and hash of those that were read to the end */
    int64_t *rows;            /* [files.count] read of each */
    int64_t next_row;
    /* Of the file that is read: */
    size_t current;
    struct record_hdf5 *hdf5;   /* or */
    struct byte_source *source; /* JSON lines, and what CSV is read from */
    struct record_csv *csv;
    int64_t line;        /* 1-based, of the line read last */
    size_t next, filled; /* of block */
    bool ended;
    char block[BLOCK_BYTES];
};

void record_describe_place(const struct record *record, char text[RECORD_PLACE_BYTES])
{
    const char *unit = record->unit == UNIT_LINE ? "line" : "prompt";
    if (record->file == NULL) {
        snprintf(text, RECORD_PLACE_BYTES, "%s %lld", unit, (long long)record->position);
        return;
    }
    /* Of a long path the end says more. */
    size_t length = strlen(record->file), most = RECORD_PLACE_BYTES - 40;
    bool is_long = length > most;
    snprintf(text, RECORD_PLACE_BYTES, "%s%s: %s %lld", is_long ? "…" : "",
             record->file + (is_long ? length - most : 0), unit, (long long)record->position);
}

/* ---- Files ---- */

static const char *current_path(const struct record_reader *reader)
{
    return reader->files.items[reader->current].path;
}

static status open_kind(struct record_reader *reader)
{
    const char *path = current_path(reader);
    enum data_kind kind = reader->files.items[reader->current].kind;
    /* The byte source is opened first: it says best what is wrong with a path. */
    TRY(byte_source_open(path, &reader->source));
    if (strlen(path) > 3 && strcasecmp(path + strlen(path) - 3, ".br") == 0) {
        /* Which has nothing in its first bytes to be told by. */
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: is compressed with brotli; unpack it, or write .gz or .zst: brotli "
                           "-d FILE",
                           path);
    }
    if (kind == DATA_HDF5) {
        byte_source_close(reader->source);
        reader->source = NULL;
        return record_hdf5_open(path, &reader->options, &reader->hdf5);
    }
    if (kind == DATA_CSV || kind == DATA_TSV) {
        return status_context(record_csv_open(reader->source, kind == DATA_CSV ? ',' : '\t',
                                              &reader->options, &reader->csv),
                              "%s", path);
    }
    return STATUS_OK;
}

static void close_file(struct record_reader *reader)
{
    record_csv_close(reader->csv);
    byte_source_close(reader->source);
    record_hdf5_close(reader->hdf5);
    reader->csv = NULL;
    reader->source = NULL;
    reader->hdf5 = NULL;
    reader->line = 0;
    reader->next = reader->filled = 0;
    reader->ended = false;
}

/* The hash of a file that is read as bytes comes with the reading. */
static status take_hash(struct record_reader *reader)
{
    struct input_file *file = &reader->files.items[reader->current];
    return reader->source != NULL && file->sha256[0] == '\0'
               ? byte_source_digest(reader->source, &file->bytes, file->sha256)
               : STATUS_OK;
}

static status next_file(struct record_reader *reader)
{
    TRY(take_hash(reader));
    if (reader->rows[reader->current] == 0 && !reader->options.quiet) {
        log_write(LOG_WARNING, "%s: holds no rows", current_path(reader));
    }
    close_file(reader);
    reader->current++;
    return open_kind(reader);
}

/* ---- Opening ---- */

static status add_file(struct record_reader *reader, const char *path, enum data_kind kind)
{
    struct input_files *files = &reader->files;
    void *items = files->items;
    status s = array_grow(&items, &files->capacity, files->count + 1, sizeof *files->items);
    files->items = items;
    TRY(s);
    struct input_file *file = &files->items[files->count];
    *file = (struct input_file){.path = strdup(path), .kind = kind};
    if (file->path == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    files->count++;
    return STATUS_OK;
}

static status take_files(struct record_reader *reader)
{
    const struct record_reader_options *options = &reader->options;
    if (options->files == NULL) {
        TRY(add_file(reader, options->path, data_kind_of(options->path)));
    }
    for (size_t i = 0; options->files != NULL && i < options->files->count; i++) {
        TRY(add_file(reader, options->files->items[i].path, options->files->items[i].kind));
    }
    reader->rows = calloc(reader->files.count, sizeof *reader->rows);
    return reader->rows != NULL ? STATUS_OK
                                : status_fail(STATUS_NO_MEMORY, "out of memory for reading");
}

status record_reader_open(const struct record_reader_options *options, struct record_reader **out)
{
    *out = NULL;
    struct record_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for reading");
    }
    reader->options = *options;
    status s = take_files(reader);
    if (s == STATUS_OK) {
        s = open_kind(reader);
    }
    if (s != STATUS_OK) {
        record_reader_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

/* ---- JSON lines ---- */

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

static size_t count_byte(const char *text, size_t length, char byte)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += text[i] == byte;
    }
    return count;
}

/* Whether two lines that are no JSON have as many separators. One alone may be a bad row. */
static bool looks_like_csv(const struct record_reader *reader, const struct buffer *line)
{
    const char *second = reader->block + reader->next;
    size_t left = reader->filled - reader->next;
    const char *newline = left > 0 ? memchr(second, '\n', left) : NULL;
    size_t length = newline != NULL ? (size_t)(newline - second) : left;
    if (length == 0 || second[0] == '{') {
        return false;
    }
    static const char separators[] = ",\t;";
    for (size_t i = 0; separators[i] != '\0'; i++) {
        size_t count = count_byte(line->data, line->length, separators[i]);
        if (count > 0 && count <= count_byte(second, length, separators[i])) {
            struct arena arena = {0};
            struct json *value;
            bool is_json = json_parse(line->data, line->length, &arena, &value) == STATUS_OK;
            arena_destroy(&arena);
            return !is_json;
        }
    }
    return false;
}

/* Not one bad row after the other for a file that is something else as a whole. */
static status check_first_line(const struct record_reader *reader, const struct buffer *line)
{
    size_t start = strspn(line->data, " \t"), end = line->length;
    while (end > start && strchr(" \t", line->data[end - 1]) != NULL) {
        end--;
    }
    if (line->data[start] == '[') {
        return status_fail(STATUS_INVALID,
                           "line %lld: holds a JSON array, not one object a line; "
                           "`jq -c '.[]'` makes lines of it",
                           (long long)reader->line);
    }
    if (line->data[start] == '{' && end == start + 1) {
        return status_fail(STATUS_INVALID,
                           "line %lld: holds JSON over several lines, not one object a line; "
                           "`jq -c .` makes lines of it",
                           (long long)reader->line);
    }
    const char *nul = memchr(line->data, 0, line->length);
    if (line->data[start] != '{' && nul != NULL) {
        return status_fail(STATUS_INVALID,
                           "line %lld: is no text but binary (byte %td is a NUL); write JSON lines "
                           "of it",
                           (long long)reader->line, nul - line->data);
    }
    if (line->data[start] != '{' && looks_like_csv(reader, line)) {
        return status_fail(STATUS_INVALID,
                           "line %lld: is no JSON but looks like CSV; call the file .csv or .tsv",
                           (long long)reader->line);
    }
    return STATUS_OK;
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
    return reader->rows[reader->current] == 0 ? check_first_line(reader, &record->bytes)
                                              : STATUS_OK;
}

/* ---- Rows of any kind ---- */

static status read_row(struct record_reader *reader, struct record *record, bool *more)
{
    record->unit = reader->hdf5 != NULL ? UNIT_PROMPT : UNIT_LINE;
    record->file = reader->files.count > 1 ? current_path(reader) : NULL;
    if (reader->hdf5 == NULL) {
        return status_context(reader->csv != NULL ? record_csv_next(reader->csv, record, more)
                                                  : read_json_line(reader, record, more),
                              "%s", current_path(reader));
    }
    record->position = reader->rows[reader->current];
    *more = record->position < record_hdf5_rows(reader->hdf5);
    return *more ? record_hdf5_read(reader->hdf5, record->position, record) : STATUS_OK;
}

static status refuse_empty(const struct record_reader *reader)
{
    size_t count = reader->files.count;
    return count == 1
               ? status_fail(STATUS_INVALID, "%s: holds no rows", current_path(reader))
               : status_fail(STATUS_INVALID, "data.input: the %zu files hold no rows", count);
}

status record_reader_next(struct record_reader *reader, struct record *record, bool *more)
{
    int64_t limit = reader->options.limit;
    buffer_clear(&record->bytes);
    *more = limit < 0 || reader->next_row < limit;
    while (*more) {
        TRY(read_row(reader, record, more));
        if (*more) {
            record->row = reader->next_row++;
            reader->rows[reader->current]++;
            return STATUS_OK;
        }
        if (reader->current + 1 == reader->files.count) {
            return reader->next_row > 0 ? STATUS_OK : refuse_empty(reader);
        }
        TRY(next_file(reader));
        *more = true;
    }
    return STATUS_OK;
}

/* The first line tells what is no JSON lines at all; HDF5 tells its rows. */
static status try_file(struct record_reader *reader, int64_t *rows)
{
    if (reader->hdf5 != NULL && *rows >= 0) {
        *rows += record_hdf5_rows(reader->hdf5);
        return STATUS_OK;
    }
    *rows = -1;
    if (reader->csv != NULL) {
        return STATUS_OK;
    }
    struct record record = {0};
    bool more;
    status s = read_row(reader, &record, &more);
    buffer_destroy(&record.bytes);
    return s;
}

status record_reader_try(const struct record_reader_options *options, int64_t *rows)
{
    *rows = 0;
    struct record_reader *reader;
    TRY(record_reader_open(options, &reader));
    status s = try_file(reader, rows);
    while (s == STATUS_OK && reader->current + 1 < reader->files.count) {
        s = interrupt_check();
        close_file(reader);
        reader->current++;
        if (s == STATUS_OK) {
            s = open_kind(reader);
        }
        if (s == STATUS_OK) {
            s = try_file(reader, rows);
        }
    }
    record_reader_close(reader);
    return s;
}

status record_reader_digest(struct record_reader *reader, int64_t *bytes, char sha256_hex[65])
{
    TRY(take_hash(reader));
    for (size_t i = 0; i < reader->files.count; i++) {
        struct input_file *file = &reader->files.items[i];
        if (file->sha256[0] == '\0') {
            TRY(byte_source_hash_file(file->path, NULL, &file->bytes, file->sha256, &file->lines));
        }
    }
    return input_files_digest(&reader->files, bytes, sha256_hex);
}

void record_reader_file_rows(const struct record_reader *reader, int64_t *rows)
{
    memcpy(rows, reader->rows, reader->files.count * sizeof *rows);
}

void record_reader_close(struct record_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    close_file(reader);
    input_files_destroy(&reader->files);
    free(reader->rows);
    free(reader);
}
