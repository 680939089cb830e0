/* SPDX-License-Identifier: Apache-2.0 */
/* Results into datasets, a batch at a time. */
#include "data/output/columns_write.h"

#include <math.h>

#include "sluice/inputs.h"

enum {
    BATCH_BYTES = 8 << 20, /* results are written at once in batches of OUTPUT_BATCH_ROWS, or of
                              fewer when they are large */
    CHUNK_VALUES = 64 * 1024,
};

/* ---- Creating ---- */

/* Rows of a chunk: as many as there are of single values, as fit of lists. */
static hsize_t chunk_rows(const struct result_column *column, int32_t width)
{
    if (!column_is_array(column)) {
        return OUTPUT_BATCH_ROWS;
    }
    return width < CHUNK_VALUES ? (hsize_t)(CHUNK_VALUES / width) : 1;
}

static status create_numbers(hid_t file, const struct result_column *column,
                             struct stored_column *stored)
{
    hid_t memory = column_memory_type(column), type = memory;
    if (column->kind == COLUMN_NAME) {
        type = stored->enum_type = column_enum_type(column);
        if (type < 0) {
            return hdf5_fail(STATUS_NO_MEMORY, "%s: no type", column->path);
        }
        memory = type; /* HDF5 turns no integers into enums */
    }
    return output_number_create(file, column->path, type, memory, chunk_rows(column, stored->width),
                                column->width != 0 ? stored->width : 0, &stored->numbers);
}

/* Which file a row came from is known when its turn comes. */
static size_t record_bytes(const struct result_column *column, const struct stored_column *stored)
{
    if (column->member == offsetof(struct stored_result, file)) {
        return 0;
    }
    return column->kind == COLUMN_TEXT ? STRING_REFERENCE_BYTES : stored->numbers.item_bytes;
}

static status create_offsets(struct columns_writer *self, hid_t file, enum column_shape shape)
{
    const int64_t first = 0;
    struct number_column *offsets = &self->offsets[shape];
    if (shape == PER_RESULT || offsets->dataset > 0) {
        return STATUS_OK;
    }
    TRY(output_number_create(file, flat_shapes[shape].offsets, H5T_NATIVE_INT64, H5T_NATIVE_INT64,
                             OUTPUT_BATCH_ROWS, 0, offsets));
    return buffer_append(&offsets->batch, &first, sizeof first);
}

static bool tells_files_apart(const struct output_columns *columns)
{
    return columns->files != NULL && columns->files->count > 1;
}

status columns_writer_create(struct columns_writer *self, hid_t file, int fd, hid_t string_type,
                             const struct output_columns *columns)
{
    self->columns = *columns;
    self->columns.several_files = tells_files_apart(columns);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        struct stored_column *stored = &self->stored[i];
        stored->width = column_file_width(column, &self->columns);
        if (stored->width == 0) {
            continue;
        }
        if (stored->width < 0 || (column->width != 0 && stored->width > column->widest)) {
            return status_fail(STATUS_INTERNAL, "%s: %d values", column->path, stored->width);
        }
        TRY(column->kind == COLUMN_TEXT ? output_text_create(file, fd, column->path, string_type,
                                                             columns->packed_texts, &stored->texts)
                                        : create_numbers(file, column, stored));
        TRY(create_offsets(self, file, column->shape));
        stored->record_bytes = record_bytes(column, stored);
    }
    return STATUS_OK;
}

/* ---- Results ---- */

static status append_fill(const struct result_column *column, size_t count, struct buffer *batch)
{
    const int32_t no_id = -1;
    const float no_value = NAN;
    const void *fill =
        column->kind == COLUMN_TOKEN_IDS ? (const void *)&no_id : (const void *)&no_value;
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_append(batch, fill, sizeof no_id));
    }
    return STATUS_OK;
}

/* A list of each item: the first ones where there are too many, filled up where there are too few.
 * Of one that a whole result has, the width is the file's. */
static status append_array(struct columns_writer *self, const struct result_column *column,
                           struct stored_column *stored, const struct stored_result *result)
{
    size_t width = (size_t)stored->width, items = column_items(column, result);
    struct buffer *batch = &stored->numbers.batch;
    if (!column_is_there(column, result)) {
        return append_fill(column, items * width, batch);
    }
    size_t own = (size_t)column_width(column, result);
    size_t taken = own < width ? own : width;
    if (column->shape == PER_RESULT && own != width) {
        return status_fail(STATUS_INTERNAL, "%s: %zu values where there are %zu", column->path, own,
                           width);
    }
    const char *values = column_pointer(column, result);
    for (size_t i = 0; i < items; i++, values += own * sizeof(int32_t)) {
        TRY(buffer_append(batch, values, taken * sizeof(int32_t)));
        TRY(append_fill(column, width - taken, batch));
        if (column->kind == COLUMN_TOKEN_IDS) {
            TRY(token_set_add(&self->tokens, (const int32_t *)(const void *)values, taken));
        }
    }
    return STATUS_OK;
}

static status append_number(const struct result_column *column, size_t bytes,
                            const struct stored_result *result, struct buffer *out)
{
    if (column->kind == COLUMN_NAME) {
        const int8_t value = (int8_t)column_name_value(column, result);
        return buffer_append(out, &value, sizeof value);
    }
    return buffer_append(out, column_member(column, result), bytes);
}

static status append_value(struct columns_writer *self, const struct result_column *column,
                           struct stored_column *stored, const struct stored_result *result)
{
    if (column->kind == COLUMN_TEXT) {
        return output_text_append(&stored->texts, column_pointer(column, result),
                                  column_text_length(column, result));
    }
    if (column_is_array(column)) {
        return append_array(self, column, stored, result);
    }
    return append_number(column, stored->numbers.item_bytes, result, &stored->numbers.batch);
}

static status append_offsets(struct columns_writer *self, const struct stored_result *result)
{
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        struct number_column *offsets = &self->offsets[shape];
        if (offsets->dataset > 0) {
            self->totals[shape] += flat_shape_count((enum column_shape)shape, result);
            TRY(buffer_append(&offsets->batch, &self->totals[shape], sizeof self->totals[shape]));
        }
    }
    return STATUS_OK;
}

/* ---- What is made of the rest ---- */

/* Rows come in order, and so do the files that they are of. The last file that has rows may get
 * more while the output is written beside the job. */
static int32_t file_of(struct columns_writer *self, int64_t row)
{
    const struct output_columns *columns = &self->columns;
    if (!columns->several_files) {
        return 0;
    }
    while (self->input + 1 < columns->files->count &&
           row >= self->input_start + columns->file_rows[self->input]) {
        self->input_start += columns->file_rows[self->input++];
    }
    return (int32_t)self->input;
}

#define LOG_OF_2 0.69314718055994530942

/* Natural logarithms of the probability of all tokens together and of a token on average, and what
 * the text costs in bits a byte of its UTF-8; NaN where there are none. Added in float64 in the
 * tokens' order. */
static void add_scores(struct result *result)
{
    bool scored = result->logprobs != NULL && result->completion_tokens > 0;
    double sum = scored ? 0 : NAN;
    for (int32_t i = 0; scored && i < result->completion_tokens; i++) {
        sum += (double)result->logprobs[i];
    }
    result->logprob_sum = sum;
    result->logprob_mean = scored ? sum / result->completion_tokens : NAN;
    result->bytes = scored ? (int64_t)result->text_length : 0;
    result->bits_per_byte = result->bytes > 0 ? -sum / LOG_OF_2 / (double)result->bytes : NAN;
}

/* The largest of a result's scores; NaN where there are none. */
static void add_score(struct result *result)
{
    result->score = NAN;
    for (int32_t i = 0; result->label_scores != NULL && i < result->labels; i++) {
        const double score = (double)result->label_scores[i];
        result->score = i == 0 || score > result->score ? score : result->score;
    }
}

static struct stored_result complete(const struct columns_writer *self, const struct result *result,
                                     int32_t file)
{
    struct stored_result stored = {.result = *result,
                                   .status_code = result_status_code(result),
                                   .copied_from = result->copied - 1,
                                   .file = file};
    if (self->columns.scores) {
        add_scores(&stored.result);
    }
    if (self->columns.score) {
        add_score(&stored.result);
    }
    return stored;
}

/* ---- Batches ---- */

static size_t batch_bytes(const struct columns_writer *self)
{
    size_t bytes = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        const struct stored_column *stored = &self->stored[i];
        bytes += stored->numbers.batch.length + output_text_pending(&stored->texts);
    }
    return bytes;
}

static status end_result(struct columns_writer *self)
{
    self->batch_rows++;
    return self->batch_rows == OUTPUT_BATCH_ROWS || batch_bytes(self) >= BATCH_BYTES
               ? columns_writer_flush(self)
               : STATUS_OK;
}

status columns_writer_append(struct columns_writer *self, const struct result *result)
{
    const struct stored_result stored = complete(self, result, file_of(self, result->row));
    for (size_t i = 0; i < result_column_count; i++) {
        if (self->stored[i].width > 0) {
            TRY(append_value(self, &result_columns[i], &self->stored[i], &stored));
        }
    }
    TRY(append_offsets(self, &stored));
    return end_result(self);
}

/* ---- Records ---- */

size_t columns_writer_record_bytes(const struct columns_writer *self)
{
    size_t bytes = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        if (self->stored[i].width > 0 && column_is_array(&result_columns[i])) {
            return 0;
        }
        bytes += self->stored[i].record_bytes;
    }
    return self->columns.packed_texts ? 0 : bytes;
}

size_t columns_writer_next_text(const struct columns_writer *self, size_t *column)
{
    size_t at = 0;
    for (size_t i = 0; i < result_column_count; i++) {
        if (i >= *column && self->stored[i].width > 0 && result_columns[i].kind == COLUMN_TEXT) {
            *column = i + 1;
            return at;
        }
        at += self->stored[i].record_bytes;
    }
    return SIZE_MAX;
}

status columns_writer_record(struct columns_writer *self, const struct result *result,
                             struct string_heap *heaps, struct buffer *records)
{
    const struct stored_result stored = complete(self, result, 0);
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (self->stored[i].record_bytes == 0) {
            continue;
        }
        if (column->kind == COLUMN_TEXT) {
            TRY(output_text_put(heaps++, column_pointer(column, &stored),
                                column_text_length(column, &stored), records));
        } else {
            TRY(append_number(column, self->stored[i].record_bytes, &stored, records));
        }
    }
    return STATUS_OK;
}

status columns_writer_append_record(struct columns_writer *self, int64_t row, const char *record)
{
    const int32_t file = file_of(self, row);
    for (size_t i = 0; i < result_column_count; i++) {
        struct stored_column *stored = &self->stored[i];
        const size_t bytes = stored->record_bytes;
        if (bytes == 0 && stored->width > 0) {
            TRY(buffer_append(&stored->numbers.batch, &file, sizeof file));
        } else if (bytes > 0 && result_columns[i].kind == COLUMN_TEXT) {
            TRY(output_text_append_reference(&stored->texts, record));
        } else if (bytes > 0) {
            TRY(buffer_append(&stored->numbers.batch, record, bytes));
        }
        record += bytes;
    }
    /* It makes no batch large. */
    return ++self->batch_rows == OUTPUT_BATCH_ROWS ? columns_writer_flush(self) : STATUS_OK;
}

/* ---- Writing ---- */

status columns_writer_flush(struct columns_writer *self)
{
    for (size_t i = 0; i < result_column_count; i++) {
        TRY(output_number_flush(&self->stored[i].numbers));
        TRY(output_text_flush(&self->stored[i].texts));
    }
    for (int shape = 0; shape < COLUMN_SHAPES; shape++) {
        TRY(output_number_flush(&self->offsets[shape]));
    }
    self->batch_rows = 0;
    return STATUS_OK;
}

bool columns_writer_has_tokens(const struct columns_writer *self)
{
    return self->offsets[PER_TOKEN].dataset > 0;
}

void columns_writer_destroy(struct columns_writer *self)
{
    for (size_t i = 0; i < result_column_count; i++) {
        struct stored_column *stored = &self->stored[i];
        buffer_destroy(&stored->numbers.batch);
        output_text_destroy(&stored->texts);
        if (stored->enum_type > 0) {
            H5Tclose(stored->enum_type);
        }
    }
    for (int shape = 0; shape < COLUMN_SHAPES; shape++) {
        buffer_destroy(&self->offsets[shape].batch);
    }
    token_set_destroy(&self->tokens);
}
