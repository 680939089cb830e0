/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an output file back: attributes, ranks, results in order and in bounded memory.
 *
 * The file may come from anywhere: every type, shape and value is checked before it is used. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/output/columns_read.h"
#include "data/output/inputs.h"
#include "data/output/layout.h"
#include "data/output/metrics.h"
#include "data/output/vocabulary.h"

enum { MAX_RANKS = 1 << 20, MAX_POINTS = 1 << 16, MAX_TIMELINE_BYTES = 64 << 20 };

struct output_reader {
    char *path;
    hid_t file;
    struct columns_reader columns;
    struct arena arena;             /* of the next */
    const char *const *input_paths; /* [input_count] */
    size_t input_count;
    bool tells_files; /* which of them a row is from */
};

/* ---- Opening ---- */

static status check_version(struct output_reader *reader)
{
    struct arena arena = {0};
    const char *text = output_attribute_text(reader, "format_version", &arena);
    status s = STATUS_OK;
    if (text == NULL) {
        s = status_fail(STATUS_INVALID, "not an output file of this program: no format_version");
    } else if (strtol(text, NULL, 10) < OUTPUT_VERSION_VARIABLE ||
               strtol(text, NULL, 10) > OUTPUT_VERSION_PACKED) {
        s = status_fail(STATUS_UNSUPPORTED,
                        "format version %.20s; this program reads versions %d to %d", text,
                        OUTPUT_VERSION_VARIABLE, OUTPUT_VERSION_PACKED);
    }
    arena_destroy(&arena);
    return s;
}

static status open_all(struct output_reader *reader)
{
    TRY(check_version(reader));
    TRY(columns_reader_open(&reader->columns, reader->file));
    reader->tells_files = hdf5_path_exists(reader->file, OUTPUT_FILES_PATH);
    return output_inputs_read(reader->file, &reader->arena, &reader->input_paths,
                              &reader->input_count);
}

status output_open(const char *path, struct output_reader **out)
{
    *out = NULL;
    struct output_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL || (reader->path = strdup(path)) == NULL) {
        free(reader);
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", path);
    }
    status s = hdf5_open_readonly(path, &reader->file);
    if (s == STATUS_OK) {
        s = status_context(open_all(reader), "%s", path);
        /* What is missing in a file is a fault of the file. */
        s = s == STATUS_NOT_FOUND ? STATUS_INVALID : s;
    }
    if (s != STATUS_OK) {
        output_reader_close(reader);
        return s;
    }
    *out = reader;
    return STATUS_OK;
}

void output_reader_close(struct output_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    columns_reader_close(&reader->columns);
    if (reader->file > 0) {
        H5Fclose(reader->file);
    }
    arena_destroy(&reader->arena);
    free(reader->path);
    free(reader);
}

void output_input_paths(const struct output_reader *reader, const char *const **paths,
                        size_t *count)
{
    *paths = reader->input_paths;
    *count = reader->input_count;
}

int64_t output_result_count(const struct output_reader *reader)
{
    return reader->columns.rows;
}

void output_columns_join(const struct output_reader *reader, struct output_columns *columns)
{
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        void *when = column_when(column, columns);
        const int32_t width = reader->columns.sources[i].width;
        if (when == NULL || width == 0) {
            continue;
        }
        if (column->width == 0) {
            *(bool *)when = true;
        } else if (*(int32_t *)when < width) {
            *(int32_t *)when = width;
        }
    }
}

const char *output_reader_path(const struct output_reader *reader)
{
    return reader->path;
}

bool output_reader_has(const struct output_reader *reader, const struct result_column *column)
{
    return reader->columns.sources[column - result_columns].width > 0;
}

status output_reader_vocabulary(const struct output_reader *reader, struct arena *arena,
                                struct vocabulary *out)
{
    return status_context(vocabulary_read(reader->file, arena, out), "%s", reader->path);
}

/* ---- Attributes and ranks ---- */

static const char *read_text_attribute(hid_t attribute, hid_t stored, struct arena *arena)
{
    size_t size = H5Tget_size(stored);
    char *text = NULL;
    if (H5Tis_variable_str(stored) > 0) {
        char *read = NULL;
        if (H5Aread(attribute, stored, &read) >= 0 && read != NULL) {
            text = arena_copy(arena, read, strlen(read));
        }
        H5free_memory(read);
    } else if (size > 0 && size <= 65536) { /* what fits into an attribute */
        text = arena_allocate(arena, size + 1);
        if (text != NULL && H5Aread(attribute, stored, text) < 0) {
            text = NULL;
        }
    }
    return text;
}

const char *output_attribute_text(struct output_reader *reader, const char *name,
                                  struct arena *arena)
{
    if (H5Aexists(reader->file, name) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return NULL;
    }
    hid_t attribute = H5Aopen(reader->file, name, H5P_DEFAULT);
    hid_t stored = attribute >= 0 ? H5Aget_type(attribute) : H5I_BADID;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : H5I_BADID;
    const char *text = NULL;
    char number[40];
    if (stored >= 0 && space >= 0 && H5Sget_simple_extent_npoints(space) == 1) {
        int64_t integer;
        double real;
        switch (H5Tget_class(stored)) {
        case H5T_STRING:
            text = read_text_attribute(attribute, stored, arena);
            break;
        case H5T_INTEGER:
            if (H5Aread(attribute, H5T_NATIVE_INT64, &integer) >= 0) {
                int length = snprintf(number, sizeof number, "%lld", (long long)integer);
                text = arena_copy(arena, number, (size_t)length);
            }
            break;
        case H5T_FLOAT:
            if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &real) >= 0) {
                /* Whole numbers, such as counts, without an exponent. */
                int length =
                    snprintf(number, sizeof number,
                             fabs(real) < 1e15 && real == floor(real) ? "%.0f" : "%.15g", real);
                text = arena_copy(arena, number, (size_t)length);
            }
            break;
        default:
            break;
        }
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (stored >= 0) {
        H5Tclose(stored);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    H5Eclear2(H5E_DEFAULT);
    return text;
}

status output_rank_metrics(struct output_reader *reader, struct arena *arena,
                           const struct rank_metrics **ranks, size_t *count)
{
    struct hdf5_column column = {0};
    *ranks = NULL;
    *count = 0;
    if (!hdf5_path_exists(reader->file, OUTPUT_RANKS_PATH)) {
        return STATUS_OK;
    }
    status s = hdf5_column_open(reader->file, OUTPUT_RANKS_PATH, H5T_COMPOUND, 1, &column);
    struct rank_metrics *read = NULL;
    if (s == STATUS_OK && column.length > MAX_RANKS) {
        s = status_fail(STATUS_INVALID, "%s: %lld ranks", OUTPUT_RANKS_PATH,
                        (long long)column.length);
    }
    if (s == STATUS_OK) {
        read = arena_allocate_array(arena, (size_t)column.length, sizeof *read);
        hid_t type = metrics_rank_type();
        if (read == NULL || type < 0) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for the table of ranks");
        } else {
            s = hdf5_column_read(&column, type, 0, column.length, read);
        }
        if (type >= 0) {
            H5Tclose(type);
        }
    }
    for (int64_t i = 0; s == STATUS_OK && i < column.length; i++) {
        read[i].host[sizeof read[i].host - 1] = '\0';
        read[i].device[sizeof read[i].device - 1] = '\0';
    }
    if (s == STATUS_OK) {
        *ranks = read;
        *count = (size_t)column.length;
    }
    hdf5_column_close(&column);
    return status_context(s, "%s", reader->path);
}

/* Appends one rank's samples. */
static status read_timeline(struct output_reader *reader, int32_t rank, struct buffer *out)
{
    struct hdf5_column column = {0};
    char path[64];
    snprintf(path, sizeof path, OUTPUT_TIMELINE_PATH "/rank_%d", (int)rank);
    if (!hdf5_path_exists(reader->file, path)) {
        return STATUS_OK;
    }
    status s = hdf5_column_open(reader->file, path, H5T_COMPOUND, 1, &column);
    if (s == STATUS_OK && column.length > MAX_POINTS) {
        s = status_fail(STATUS_INVALID, "%s: %lld samples", path, (long long)column.length);
    }
    const size_t count = s == STATUS_OK ? (size_t)column.length : 0;
    const size_t bytes = count * sizeof(struct timeline_point);
    if (s == STATUS_OK) {
        s = buffer_reserve(out, bytes);
    }
    if (s == STATUS_OK) {
        /* Fields that the file lacks stay as they are. */
        struct timeline_point *points = (void *)(out->data + out->length);
        memset(points, 0, bytes);
        hid_t type = metrics_timeline_type();
        s = hdf5_column_read(&column, type, 0, column.length, points);
        H5Tclose(type);
        for (size_t i = 0; i < count; i++) {
            points[i].rank = rank;
        }
        out->length += s == STATUS_OK ? bytes : 0;
    }
    hdf5_column_close(&column);
    return s;
}

status output_timeline(struct output_reader *reader, const struct rank_metrics *ranks, size_t count,
                       struct arena *arena, const struct timeline_point **points,
                       size_t *point_count)
{
    struct buffer read = {0};
    status s = STATUS_OK;
    *points = NULL;
    *point_count = 0;
    for (size_t i = 0; s == STATUS_OK && i < count && read.length < MAX_TIMELINE_BYTES; i++) {
        s = read_timeline(reader, ranks[i].rank, &read);
    }
    if (s == STATUS_OK && read.length > 0) {
        *points = (const void *)arena_copy(arena, read.data, read.length);
        *point_count = read.length / sizeof **points;
        s = *points != NULL ? s : status_fail(STATUS_NO_MEMORY, "out of memory for a timeline");
    }
    buffer_destroy(&read);
    return status_context(s, "%s", reader->path);
}

/* ---- Results ---- */

struct output_cursor {
    const struct output_reader *reader;
    struct columns_cursor *columns;
    struct stored_result stored; /* where the last one is */
    int64_t index;               /* of the next */
};

status output_cursor_open(const struct output_reader *reader, struct output_cursor **out)
{
    struct output_cursor *self = calloc(1, sizeof *self);
    *out = NULL;
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for reading", reader->path);
    }
    self->reader = reader;
    status s = columns_cursor_open(&reader->columns, &self->columns);
    if (s != STATUS_OK) {
        output_cursor_close(self);
        return status_context(s, "%s", reader->path);
    }
    *out = self;
    return STATUS_OK;
}

void output_cursor_close(struct output_cursor *self)
{
    if (self != NULL) {
        columns_cursor_close(self->columns);
        free(self);
    }
}

void output_cursor_seek(struct output_cursor *self, int64_t index)
{
    columns_cursor_seek(self->columns, index);
    self->index = index;
}

/* Names the input file that a row is from. */
static status name_file(struct output_cursor *self)
{
    const struct output_reader *reader = self->reader;
    struct stored_result *stored = &self->stored;
    if (!reader->tells_files) {
        return STATUS_OK;
    }
    if (stored->file < 0 || (size_t)stored->file >= reader->input_count) {
        return status_fail(STATUS_INVALID, "result %lld: of input file %d of %zu",
                           (long long)self->index, stored->file, reader->input_count);
    }
    stored->result.file = reader->input_paths[stored->file];
    stored->result.file_length = strlen(stored->result.file);
    return STATUS_OK;
}

static status next_result(struct output_cursor *self, bool *more)
{
    TRY(columns_cursor_next(self->columns, &self->stored, more));
    if (*more) {
        TRY(name_file(self));
        self->stored.result.is_fault = self->stored.status_code >= 500;
        self->index++;
    }
    return STATUS_OK;
}

void output_cursor_only(struct output_cursor *self, const bool *wanted)
{
    columns_cursor_only(self->columns, wanted);
}

status output_cursor_next_stored(struct output_cursor *self, const struct stored_result **stored)
{
    bool more = false;
    *stored = NULL;
    TRY(status_context(next_result(self, &more), "%s", self->reader->path));
    *stored = more ? &self->stored : NULL;
    return STATUS_OK;
}

status output_cursor_next(struct output_cursor *self, const struct result **result)
{
    const struct stored_result *stored;
    *result = NULL;
    TRY(output_cursor_next_stored(self, &stored));
    *result = stored != NULL ? &stored->result : NULL;
    return STATUS_OK;
}

status output_visit(struct output_reader *reader, result_visitor visit, void *context)
{
    struct output_cursor *cursor;
    const struct result *result = NULL;
    TRY(output_cursor_open(reader, &cursor));
    status s;
    while ((s = output_cursor_next(cursor, &result)) == STATUS_OK && result != NULL &&
           (s = visit(context, result)) == STATUS_OK) {
    }
    output_cursor_close(cursor);
    return s;
}
