/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 input: a dataset of strings, or token ids end to end with offsets; read a window at a time.
 */
#include "data/record_hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hdf5_support.h"

enum {
    STRING_WINDOW = 256,     /* strings read at once, fewer when they are long */
    OFFSET_WINDOW = 4096,    /* offsets */
    TOKEN_WINDOW = 64 * 1024 /* token ids */
};

/* Integers of a dataset, [first, first + count) of them in memory. */
struct integer_window {
    struct hdf5_column column;
    int64_t first, count;
    int64_t capacity;
    int64_t *values; /* [capacity] */
};

struct record_hdf5 {
    const char *path;
    hid_t file;
    int64_t rows;
    bool tokens;
    struct hdf5_column strings;
    struct arena arena; /* of the strings in the window */
    int64_t first, count;
    const char *texts[STRING_WINDOW];
    size_t lengths[STRING_WINDOW];
    struct integer_window offsets, ids;
};

bool record_hdf5_detect(const char *path)
{
    hdf5_silence();
    bool found = H5Fis_hdf5(path) > 0;
    H5Eclear2(H5E_DEFAULT);
    return found;
}

static status window_open(hid_t file, const char *path, int64_t capacity,
                          struct integer_window *window)
{
    TRY(hdf5_column_open(file, path, H5T_INTEGER, 1, &window->column));
    window->capacity = capacity;
    window->values = malloc((size_t)capacity * sizeof *window->values);
    return window->values != NULL ? STATUS_OK
                                  : status_fail(STATUS_NO_MEMORY, "out of memory for %s", path);
}

static status window_get(struct integer_window *window, int64_t index, int64_t *out)
{
    if (index < window->first || index >= window->first + window->count) {
        int64_t left = window->column.length - index;
        window->count = 0;
        window->first = index;
        int64_t count = left < window->capacity ? left : window->capacity;
        TRY(hdf5_column_read(&window->column, H5T_NATIVE_INT64, index, count, window->values));
        window->count = count;
    }
    *out = window->values[index - window->first];
    return STATUS_OK;
}

static status open_tokens(struct record_hdf5 *reader)
{
    TRY(window_open(reader->file, "/input_ids", TOKEN_WINDOW, &reader->ids));
    TRY(window_open(reader->file, "/input_offsets", OFFSET_WINDOW, &reader->offsets));
    reader->tokens = true;
    if (reader->offsets.column.length < 1) {
        return status_fail(STATUS_INVALID,
                           "/input_offsets: empty; it holds one offset more than there are rows");
    }
    reader->rows = reader->offsets.column.length - 1;
    return STATUS_OK;
}

static status open_layout(struct record_hdf5 *reader, const char *prompt_field)
{
    if (prompt_field == NULL && !hdf5_path_exists(reader->file, "/prompt")) {
        if (!hdf5_path_exists(reader->file, "/input_ids")) {
            return status_fail(STATUS_INVALID,
                               "holds neither /prompt nor /input_ids with /input_offsets; "
                               "data.prompt_field names another dataset of strings");
        }
        return open_tokens(reader);
    }
    TRY(hdf5_column_open(reader->file, prompt_field != NULL ? prompt_field : "/prompt", H5T_STRING,
                         1, &reader->strings));
    reader->rows = reader->strings.length;
    return STATUS_OK;
}

status record_hdf5_open(const char *path, const char *prompt_field, struct record_hdf5 **out)
{
    *out = NULL;
    struct record_hdf5 *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    reader->path = path;
    status s = hdf5_open_readonly(path, &reader->file);
    if (s == STATUS_OK) {
        s = status_context(open_layout(reader, prompt_field), "%s", path);
    }
    if (s != STATUS_OK) {
        record_hdf5_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

int64_t record_hdf5_rows(const struct record_hdf5 *reader)
{
    return reader->rows;
}

static status record_spoil(struct record *record, const char *why)
{
    record->kind = RECORD_BAD;
    buffer_clear(&record->bytes);
    return buffer_append_text(&record->bytes, why);
}

/* Fills the window from `row` on, with fewer strings where they are long. `count` is 0 afterwards
 * when the one string at `row` is too long on its own. */
static status fill_strings(struct record_hdf5 *reader, int64_t row)
{
    int64_t left = reader->rows - row;
    int64_t count = left < STRING_WINDOW ? left : STRING_WINDOW;
    reader->first = row;
    reader->count = 0;
    for (;;) {
        arena_reset(&reader->arena);
        status s = hdf5_column_read_strings(&reader->strings, row, count, RECORD_MAX_BYTES,
                                            &reader->arena, reader->texts, reader->lengths);
        if (s != STATUS_LIMIT) {
            reader->count = s == STATUS_OK ? count : 0;
            return s;
        }
        if (count == 1) {
            return STATUS_OK;
        }
        count = count / 4 > 0 ? count / 4 : 1;
    }
}

static status read_string(struct record_hdf5 *reader, int64_t row, struct record *record)
{
    if (row < reader->first || row >= reader->first + reader->count) {
        TRY(fill_strings(reader, row));
        if (reader->count == 0) {
            return record_spoil(record, "a string of more than 64 MiB");
        }
    }
    int64_t at = row - reader->first;
    record->kind = RECORD_TEXT;
    return buffer_append(&record->bytes, reader->texts[at], reader->lengths[at]);
}

static status read_tokens(struct record_hdf5 *reader, int64_t row, struct record *record)
{
    int64_t begin;
    int64_t end;
    char why[160];
    TRY(window_get(&reader->offsets, row, &begin));
    TRY(window_get(&reader->offsets, row + 1, &end));
    if (begin < 0 || end < begin || end > reader->ids.column.length) {
        snprintf(why, sizeof why, "input_offsets: %lld to %lld is no range of %lld input_ids",
                 (long long)begin, (long long)end, (long long)reader->ids.column.length);
        return record_spoil(record, why);
    }
    if (end - begin > RECORD_MAX_BYTES / (int64_t)sizeof(int32_t)) {
        snprintf(why, sizeof why, "%lld input_ids; a row may have %lld", (long long)(end - begin),
                 (long long)(RECORD_MAX_BYTES / (int64_t)sizeof(int32_t)));
        return record_spoil(record, why);
    }
    record->kind = RECORD_TOKENS;
    for (int64_t i = begin; i < end; i++) {
        int64_t id;
        TRY(window_get(&reader->ids, i, &id));
        if (id < 0 || id > INT32_MAX) {
            snprintf(why, sizeof why, "input_ids: %lld is no token id", (long long)id);
            return record_spoil(record, why);
        }
        int32_t token = (int32_t)id;
        TRY(buffer_append(&record->bytes, &token, sizeof token));
    }
    return STATUS_OK;
}

status record_hdf5_read(struct record_hdf5 *reader, int64_t row, struct record *record)
{
    buffer_clear(&record->bytes);
    status s = reader->tokens ? read_tokens(reader, row, record) : read_string(reader, row, record);
    return status_context(s, "%s", reader->path);
}

void record_hdf5_close(struct record_hdf5 *reader)
{
    if (reader == NULL) {
        return;
    }
    hdf5_column_close(&reader->strings);
    hdf5_column_close(&reader->offsets.column);
    hdf5_column_close(&reader->ids.column);
    if (reader->file > 0) {
        H5Fclose(reader->file);
    }
    free(reader->offsets.values);
    free(reader->ids.values);
    arena_destroy(&reader->arena);
    free(reader);
}
