/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 input: datasets of one value a row, and token ids end to end with offsets; read a window at
 * a time.
 *
 * The datasets beside the prompts are the rows' other fields, so that a row is the JSON that a line
 * of the same fields would be. Prompts alone, texts or token ids, go on as they are. */
#include "data/input/record_hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hdf5/support.h"
#include "data/hdf5/table.h"
#include "data/row/prompt_template.h"

enum {
    OFFSET_WINDOW = 4096,    /* offsets read at once */
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
    const char *rows_path;  /* the dataset that says how many there are */
    enum record_kind kind;  /* of its records, bad ones aside */
    const char *tokens_key; /* what token ids are called in a row's JSON; NULL: there are none */
    struct integer_window offsets, ids;
    struct hdf5_table_column *columns[HDF5_TABLE_COLUMNS];
    size_t column_count;
    bool quiet;
    const struct record_reader_options *options; /* while it is opened */
    bool strict;           /* every dataset of the table's group has to be a column */
    struct buffer folder;  /* of the table, with a slash at its end; empty: the root */
    struct buffer scratch; /* a path */
};

bool record_hdf5_detect(const char *path)
{
    hdf5_silence();
    bool found = H5Fis_hdf5(path) > 0;
    H5Eclear2(H5E_DEFAULT);
    return found;
}

/* ---- Token ids ---- */

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

static status open_tokens(struct record_hdf5 *reader, const char *key)
{
    TRY(window_open(reader->file, "/input_ids", TOKEN_WINDOW, &reader->ids));
    TRY(window_open(reader->file, "/input_offsets", OFFSET_WINDOW, &reader->offsets));
    reader->tokens_key = key;
    if (reader->offsets.column.length < 1) {
        return status_fail(STATUS_INVALID,
                           "/input_offsets: empty; it holds one offset more than there are rows");
    }
    reader->rows = reader->offsets.column.length - 1;
    reader->rows_path = "/input_offsets less one";
    return STATUS_OK;
}

/* ---- Which datasets are columns ---- */

static const char *without_root(const char *path)
{
    return path + strspn(path, "/");
}

static bool has_column(const struct record_hdf5 *reader, const char *path)
{
    for (size_t i = 0; i < reader->column_count; i++) {
        if (strcmp(without_root(hdf5_table_column_path(reader->columns[i])), without_root(path)) ==
            0) {
            return true;
        }
    }
    return false;
}

static bool has_key(const struct record_hdf5 *reader, const char *key)
{
    for (size_t i = 0; i < reader->column_count; i++) {
        if (strcmp(hdf5_table_column_key(reader->columns[i]), key) == 0) {
            return true;
        }
    }
    return reader->tokens_key != NULL && strcmp(reader->tokens_key, key) == 0;
}

/* The first column says how many rows there are, where token ids do not. */
static status take_column(struct record_hdf5 *reader, struct hdf5_table_column *column)
{
    int64_t length = hdf5_table_column_length(column);
    if (reader->rows_path == NULL) {
        reader->rows = length;
        reader->rows_path = hdf5_table_column_path(column);
    } else if (length != reader->rows) {
        return status_fail(STATUS_INVALID, "%s: %lld values where there are %lld rows (%s)",
                           hdf5_table_column_path(column), (long long)length,
                           (long long)reader->rows, reader->rows_path);
    }
    if (reader->column_count == HDF5_TABLE_COLUMNS) {
        return status_fail(STATUS_LIMIT, "%s: more than %d datasets of the rows",
                           hdf5_table_column_path(column), HDF5_TABLE_COLUMNS);
    }
    reader->columns[reader->column_count++] = column;
    return STATUS_OK;
}

static status add_column(struct record_hdf5 *reader, const char *path, const char *key)
{
    struct hdf5_table_column *column;
    TRY(hdf5_table_column_open(reader->file, path, key, column_reading_of(key, reader->options),
                               &column));
    status s = take_column(reader, column);
    if (s != STATUS_OK) {
        hdf5_table_column_close(column);
    }
    return s;
}

/* A dataset that the job names; in the rows' JSON it is called as the job calls it. */
static status add_named(struct record_hdf5 *reader, const char *name, const char *job_key)
{
    return name == NULL || has_key(reader, name)
               ? STATUS_OK
               : status_context(add_column(reader, name, name), "%s", job_key);
}

static status add_prompt(struct record_hdf5 *reader, const char *path, const char *key)
{
    TRY(add_column(reader, path, key));
    if (!hdf5_table_column_is_text(reader->columns[reader->column_count - 1])) {
        return status_fail(STATUS_INVALID, "%s: expected a dataset of strings", path);
    }
    const char *name = strrchr(path, '/');
    return name != NULL ? buffer_append(&reader->folder, without_root(path),
                                        (size_t)(name + 1 - without_root(path)))
                        : STATUS_OK;
}

static bool is_there(const struct record_hdf5 *reader, const char *path)
{
    return hdf5_path_exists(reader->file, path);
}

/* The prompts where the job does not name them. */
static status add_usual_prompt(struct record_hdf5 *reader)
{
    bool tokens = is_there(reader, "/input_ids");
    static const char *const others[] = {"/text", "/messages"};
    if (is_there(reader, "/prompt")) {
        return add_prompt(reader, "/prompt", "prompt");
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (!is_there(reader, others[i])) {
            continue;
        }
        if (tokens) {
            return status_fail(STATUS_INVALID,
                               "holds %s and /input_ids; data.prompt_field says which are the "
                               "prompts",
                               others[i]);
        }
        return add_prompt(reader, others[i], others[i] + 1);
    }
    if (!tokens) {
        return status_fail(STATUS_INVALID,
                           "holds neither /prompt nor /input_ids with /input_offsets; "
                           "data.prompt_field names another dataset of strings");
    }
    return open_tokens(reader, "prompt_token_ids");
}

static status add_template_columns(struct record_hdf5 *reader, const char *text)
{
    struct template_piece piece;
    while (prompt_template_next(&text, &piece)) {
        if (piece.is_column) {
            buffer_clear(&reader->scratch);
            TRY(buffer_append(&reader->scratch, piece.text, piece.length));
            TRY(add_named(reader, reader->scratch.data, "data.prompt_template"));
        }
    }
    return STATUS_OK;
}

/* ---- The rest of the table ---- */

static bool is_of_tokens(const char *path)
{
    return strcmp(path, "input_ids") == 0 || strcmp(path, "input_offsets") == 0;
}

static status add_other(void *context, const char *name)
{
    struct record_hdf5 *reader = context;
    buffer_clear(&reader->scratch);
    TRY(buffer_format(&reader->scratch, "/%s%s",
                      reader->folder.data != NULL ? reader->folder.data : "", name));
    const char *path = reader->scratch.data;
    if (has_column(reader, path) || is_of_tokens(path + 1) ||
        hdf5_path_is_group(reader->file, path)) {
        return STATUS_OK;
    }
    status s =
        has_key(reader, name)
            ? status_fail(STATUS_INVALID, "%s: another dataset of the rows has this name", path)
            : add_column(reader, path, name);
    if (s == STATUS_OK || s == STATUS_NO_MEMORY) {
        return s;
    }
    if (reader->strict) {
        return status_fail(s,
                           "%s; every dataset beside the prompts is a field of the rows: move what "
                           "is none into a group",
                           status_message());
    }
    if (!reader->quiet) {
        log_write(LOG_WARNING, "%s: left out, no field of the rows: %s", reader->path,
                  status_message());
    }
    return STATUS_OK;
}

static bool is_alone(const struct record_hdf5 *reader, const char *prompt_template)
{
    bool texts = reader->column_count == 1 && reader->tokens_key == NULL &&
                 strcmp(hdf5_table_column_key(reader->columns[0]), "messages") != 0;
    bool tokens = reader->column_count == 0 && reader->tokens_key != NULL;
    return prompt_template == NULL && (texts || tokens);
}

static status open_layout(struct record_hdf5 *reader, const struct record_reader_options *options)
{
    const char *prompt = options->prompt_field;
    if (options->prompt_template != NULL) {
        TRY(add_template_columns(reader, options->prompt_template));
    } else if (prompt != NULL && strcmp(without_root(prompt), "input_ids") == 0 &&
               is_there(reader, "/input_offsets")) {
        TRY(open_tokens(reader, prompt));
    } else if (prompt != NULL) {
        TRY(add_prompt(reader, prompt, prompt));
    } else {
        TRY(add_usual_prompt(reader));
    }
    TRY(add_named(reader, options->id_field, "data.id_field"));
    TRY(add_named(reader, options->completion_field, "data.completion_field"));
    reader->strict = reader->folder.length == 0;
    TRY(hdf5_visit_links(reader->file, reader->strict ? "/" : reader->folder.data, add_other,
                         reader));
    reader->kind = !is_alone(reader, options->prompt_template) ? RECORD_JSON
                   : reader->tokens_key != NULL                ? RECORD_TOKENS
                                                               : RECORD_TEXT;
    return STATUS_OK;
}

status record_hdf5_open(const char *path, const struct record_reader_options *options,
                        struct record_hdf5 **out)
{
    *out = NULL;
    if (!record_hdf5_detect(path)) {
        return status_fail(STATUS_INVALID,
                           "%s: is no HDF5 file, as its name says, or damaged; JSON lines are "
                           "called .jsonl",
                           path);
    }
    struct record_hdf5 *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    reader->path = path;
    reader->quiet = options->quiet;
    reader->options = options;
    status s = hdf5_open_readonly(path, &reader->file);
    if (s == STATUS_OK) {
        s = status_context(open_layout(reader, options), "%s", path);
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

/* ---- Rows ---- */

static status find_tokens(struct record_hdf5 *reader, int64_t row, int64_t *begin, int64_t *end)
{
    TRY(window_get(&reader->offsets, row, begin));
    TRY(window_get(&reader->offsets, row + 1, end));
    if (*begin < 0 || *end < *begin || *end > reader->ids.column.length) {
        return status_fail(STATUS_INVALID,
                           "input_offsets: %lld to %lld is no range of %lld "
                           "input_ids",
                           (long long)*begin, (long long)*end,
                           (long long)reader->ids.column.length);
    }
    int64_t most = RECORD_MAX_BYTES / (int64_t)sizeof(int32_t);
    return *end - *begin <= most ? STATUS_OK
                                 : status_fail(STATUS_LIMIT, "%lld input_ids; a row may have %lld",
                                               (long long)(*end - *begin), (long long)most);
}

static status get_token(struct record_hdf5 *reader, int64_t index, int32_t *token)
{
    int64_t id;
    TRY(window_get(&reader->ids, index, &id));
    if (id < 0 || id > INT32_MAX) {
        return status_fail(STATUS_INVALID, "input_ids: %lld is no token id", (long long)id);
    }
    *token = (int32_t)id;
    return STATUS_OK;
}

static status read_tokens(struct record_hdf5 *reader, int64_t row, struct buffer *out)
{
    int64_t begin, end;
    TRY(find_tokens(reader, row, &begin, &end));
    for (int64_t i = begin; i < end; i++) {
        int32_t token;
        TRY(get_token(reader, i, &token));
        TRY(buffer_append(out, &token, sizeof token));
    }
    return STATUS_OK;
}

static status write_tokens(struct record_hdf5 *reader, int64_t row, struct buffer *json)
{
    int64_t begin, end;
    TRY(find_tokens(reader, row, &begin, &end));
    TRY(buffer_append_byte(json, '['));
    for (int64_t i = begin; i < end; i++) {
        int32_t token;
        TRY(get_token(reader, i, &token));
        TRY(buffer_format(json, "%s%d", i > begin ? "," : "", token));
    }
    return buffer_append_byte(json, ']');
}

static status read_text(struct record_hdf5 *reader, int64_t row, struct buffer *out)
{
    const char *text;
    size_t length;
    TRY(hdf5_table_column_text(reader->columns[0], row, &text, &length));
    return text != NULL ? buffer_append(out, text, length)
                        : status_fail(STATUS_LIMIT, "a string of more than 64 MiB");
}

static status begin_member(const char *key, struct buffer *json)
{
    TRY(buffer_append_byte(json, json->length == 0 ? '{' : ','));
    TRY(json_write_string(key, strlen(key), json));
    return buffer_append_byte(json, ':');
}

static status write_row(struct record_hdf5 *reader, int64_t row, struct buffer *json)
{
    if (reader->tokens_key != NULL) {
        TRY(begin_member(reader->tokens_key, json));
        TRY(write_tokens(reader, row, json));
    }
    for (size_t i = 0; i < reader->column_count; i++) {
        TRY(begin_member(hdf5_table_column_key(reader->columns[i]), json));
        TRY(hdf5_table_column_write(reader->columns[i], row, json));
        if (json->length > RECORD_MAX_BYTES) {
            return status_fail(STATUS_LIMIT, "a row of more than 64 MiB");
        }
    }
    return buffer_append_byte(json, '}');
}

status record_hdf5_read(struct record_hdf5 *reader, int64_t row, struct record *record)
{
    buffer_clear(&record->bytes);
    record->kind = reader->kind;
    status s = reader->kind == RECORD_TOKENS ? read_tokens(reader, row, &record->bytes)
               : reader->kind == RECORD_TEXT ? read_text(reader, row, &record->bytes)
                                             : write_row(reader, row, &record->bytes);
    if (s != STATUS_OK) {
        s = record_spoil(record, s);
    }
    return status_context(s, "%s", reader->path);
}

void record_hdf5_close(struct record_hdf5 *reader)
{
    if (reader == NULL) {
        return;
    }
    for (size_t i = 0; i < reader->column_count; i++) {
        hdf5_table_column_close(reader->columns[i]);
    }
    hdf5_column_close(&reader->offsets.column);
    hdf5_column_close(&reader->ids.column);
    if (reader->file > 0) {
        H5Fclose(reader->file);
    }
    free(reader->offsets.values);
    free(reader->ids.values);
    buffer_destroy(&reader->folder);
    buffer_destroy(&reader->scratch);
    free(reader);
}
