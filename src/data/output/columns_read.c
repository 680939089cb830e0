/* SPDX-License-Identifier: Apache-2.0 */
/* Results out of datasets, in batches that keep to a budget. */
#include "data/output/columns_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_ROWS = 1024,
    TEXT_BUDGET = 64 << 20, /* bytes of texts in memory, of one column's batch */
    VALUE_BUDGET = 1 << 20, /* items of a flat shape in memory, or values of a list, but for a
                               single result that has more */
};

/* Only a single result may have so much. */
static const size_t LARGEST_TEXT = (size_t)1 << 30;

/* ---- Opening ---- */

/* How many rows there are, each with a number. */
static status count_rows(struct columns_reader *self, hid_t file)
{
    struct hdf5_column rows = {0};
    status s = hdf5_column_open(file, OUTPUT_ROWS_PATH, H5T_INTEGER, 1, &rows);
    self->rows = rows.length;
    hdf5_column_close(&rows);
    return s;
}

/* Of a dataset of two dimensions the second. */
static hsize_t second_size(const struct hdf5_column *column)
{
    hsize_t sizes[2] = {0, 0};
    H5Sget_simple_extent_dims(column->space, sizes, NULL);
    return sizes[1];
}

static status check_rows(const struct columns_reader *self, const struct result_column *column,
                         const struct column_source *source)
{
    const struct hdf5_column *numbers = &source->numbers;
    if (column->width != 0 && (numbers->length != self->rows || source->width == 0)) {
        return status_fail(STATUS_INVALID, "%s: %lld rows of %lld where there are %lld rows",
                           column->path, (long long)numbers->length,
                           (long long)second_size(numbers), (long long)self->rows);
    }
    if (numbers->length != self->rows) {
        return status_fail(STATUS_INVALID, "%s: %lld rows where %s has %lld", column->path,
                           (long long)numbers->length, OUTPUT_ROWS_PATH, (long long)self->rows);
    }
    return STATUS_OK;
}

/* A flat column has as many items as the others of its shape. */
static status check_items(struct columns_reader *self, const struct result_column *column,
                          const struct hdf5_column *numbers)
{
    int64_t *total = &self->totals[column->shape];
    if (*total >= 0 && numbers->length != *total) {
        return status_fail(STATUS_INVALID, "%s: %lld tokens where another column has %lld",
                           column->path, (long long)numbers->length, (long long)*total);
    }
    *total = numbers->length;
    return STATUS_OK;
}

static status open_numbers(struct columns_reader *self, hid_t file,
                           const struct result_column *column, struct column_source *source)
{
    H5T_class_t type_class = H5Tget_class(column_memory_type(column));
    struct hdf5_column *numbers = &source->numbers;
    TRY(hdf5_column_open(file, column->path, type_class, column->width != 0 ? 2 : 1, numbers));
    source->width = 1;
    if (column->width != 0) {
        hsize_t width = second_size(numbers);
        source->width = width <= (hsize_t)column->widest ? (int32_t)width : 0;
    }
    return column->shape == PER_RESULT ? check_rows(self, column, source)
                                       : check_items(self, column, numbers);
}

static status open_column(struct columns_reader *self, hid_t file,
                          const struct result_column *column, struct column_source *source)
{
    if (column->path == NULL || (!column->is_required && !hdf5_path_exists(file, column->path))) {
        return STATUS_OK;
    }
    if (column->kind != COLUMN_TEXT) {
        return open_numbers(self, file, column, source);
    }
    source->width = 1;
    return output_text_open(file, column->path, self->rows, &source->texts);
}

/* A column of lists that are none, or longer than the table has them. */
static bool is_misshaped(const struct column_source *source)
{
    return source->numbers.dataset > 0 && source->width == 0;
}

/* Columns of one bit stand next to each other, are there together and have one width. */
static status check_widths(const struct columns_reader *self)
{
    for (size_t i = 1; i < result_column_count; i++) {
        const struct column_source *source = &self->sources[i], *before = source - 1;
        if (!column_leads(&result_columns[i]) &&
            (source->width != before->width || is_misshaped(source) || is_misshaped(before))) {
            return status_fail(STATUS_INVALID, "%s and %s do not go together",
                               result_columns[i - 1].path, result_columns[i].path);
        }
    }
    for (size_t i = 0; i < result_column_count; i++) {
        if (is_misshaped(&self->sources[i])) {
            return status_fail(STATUS_INVALID, "%s: lists of %lld values", result_columns[i].path,
                               (long long)second_size(&self->sources[i].numbers));
        }
    }
    return STATUS_OK;
}

static status open_offsets(struct columns_reader *self, hid_t file)
{
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        const char *path = flat_shapes[shape].offsets;
        if (self->totals[shape] < 0) {
            continue;
        }
        TRY(hdf5_column_open(file, path, H5T_INTEGER, 1, &self->offsets[shape]));
        if (self->offsets[shape].length != self->rows + 1) {
            return status_fail(STATUS_INVALID, "%s: %lld offsets for %lld rows", path,
                               (long long)self->offsets[shape].length, (long long)self->rows);
        }
    }
    return STATUS_OK;
}

status columns_reader_open(struct columns_reader *self, hid_t file)
{
    for (int shape = 0; shape < COLUMN_SHAPES; shape++) {
        self->totals[shape] = -1;
    }
    TRY(count_rows(self, file));
    for (size_t i = 0; i < result_column_count; i++) {
        TRY(open_column(self, file, &result_columns[i], &self->sources[i]));
    }
    TRY(check_widths(self));
    return open_offsets(self, file);
}

void columns_reader_close(struct columns_reader *self)
{
    for (size_t i = 0; i < result_column_count; i++) {
        hdf5_column_close(&self->sources[i].numbers);
        output_text_close(&self->sources[i].texts);
    }
    for (int shape = 0; shape < COLUMN_SHAPES; shape++) {
        hdf5_column_close(&self->offsets[shape]);
    }
}

/* ---- Batches ---- */

/* Results [first, first + count) in memory. Everything lives in the arena. */
struct result_batch {
    struct arena *arena;
    int64_t first, count;
    int64_t *offsets[COLUMN_SHAPES]; /* [count + 1]; NULL without columns of that shape */
    struct {
        void *values; /* of numbers; NULL where the file has none */
        const char **texts;
        size_t *lengths;
    } columns[RESULT_COLUMNS_MOST];
};

struct columns_cursor {
    const struct columns_reader *reader;
    const bool *wanted;        /* of texts and lists; NULL: all */
    struct arena arena;        /* of the batch */
    struct result_batch batch; /* what is at hand */
    int64_t next;              /* result */
    int64_t most;              /* results that the next batch may have */
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for results");
}

/* Reads the offsets of batch->count results and shortens the batch to what fits the budget. */
static status read_offsets(const struct columns_reader *self, enum column_shape shape,
                           struct result_batch *batch)
{
    int64_t total = self->totals[shape];
    int64_t *offsets =
        arena_allocate_array(batch->arena, (size_t)batch->count + 1, sizeof *offsets);
    if (offsets == NULL) {
        return no_memory();
    }
    TRY(hdf5_column_read(&self->offsets[shape], H5T_NATIVE_INT64, batch->first, batch->count + 1,
                         offsets));
    for (int64_t i = 0; i < batch->count; i++) {
        if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || offsets[i + 1] > total ||
            offsets[i + 1] - offsets[i] > INT32_MAX) {
            return status_fail(STATUS_INVALID, "%s: result %lld: %lld to %lld is no range of %lld",
                               flat_shapes[shape].offsets, (long long)(batch->first + i),
                               (long long)offsets[i], (long long)offsets[i + 1], (long long)total);
        }
        if (i > 0 && offsets[i + 1] - offsets[0] > VALUE_BUDGET) {
            batch->count = i;
        }
    }
    batch->offsets[shape] = offsets;
    return STATUS_OK;
}

static status read_numbers(const struct columns_reader *self, size_t index,
                           struct result_batch *batch)
{
    const struct result_column *column = &result_columns[index];
    const struct column_source *source = &self->sources[index];
    hid_t type = column_memory_type(column);
    const int64_t *offsets = batch->offsets[column->shape];
    int64_t first = offsets != NULL ? offsets[0] : batch->first;
    int64_t count = offsets != NULL ? offsets[batch->count] - first : batch->count;
    void *values = arena_allocate_array(batch->arena, (size_t)count,
                                        H5Tget_size(type) * (size_t)source->width);
    if (values == NULL) {
        return no_memory();
    }
    batch->columns[index].values = values;
    return hdf5_column_read(&source->numbers, type, first, count, values);
}

static status read_texts(const struct columns_reader *self, size_t index,
                         struct result_batch *batch)
{
    size_t count = (size_t)batch->count;
    const char **texts = arena_allocate_array(batch->arena, count, sizeof *texts);
    size_t *lengths = arena_allocate_array(batch->arena, count, sizeof *lengths);
    if (texts == NULL || lengths == NULL) {
        return no_memory();
    }
    batch->columns[index].texts = texts;
    batch->columns[index].lengths = lengths;
    size_t budget = batch->arena->used_bytes + (batch->count == 1 ? LARGEST_TEXT : TEXT_BUDGET);
    return output_text_read(&self->sources[index].texts, batch->first, batch->count, budget,
                            batch->arena, texts, lengths);
}

/* How many results fit into the budget by the lists that each of them has. */
static int64_t most_results(const struct columns_reader *self, int64_t count)
{
    for (size_t i = 0; i < result_column_count; i++) {
        bool is_list = result_columns[i].shape == PER_RESULT && result_columns[i].width != 0;
        int32_t width = self->sources[i].width;
        if (is_list && width > 0 && count > VALUE_BUDGET / width) {
            count = VALUE_BUDGET / width;
        }
    }
    return count;
}

static bool is_read(const struct columns_reader *self, const bool *wanted, size_t index)
{
    const bool is_large =
        result_columns[index].kind == COLUMN_TEXT || column_is_array(&result_columns[index]);
    return self->sources[index].width > 0 && (wanted == NULL || !is_large || wanted[index]);
}

/* Reads up to `count` results from `first` on; STATUS_LIMIT when so many have too long texts. */
static status read_batch(const struct columns_reader *self, const bool *wanted, int64_t first,
                         int64_t count, struct result_batch *batch)
{
    *batch = (struct result_batch){
        .arena = batch->arena, .first = first, .count = most_results(self, count)};
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        if (self->totals[shape] >= 0) {
            TRY(read_offsets(self, (enum column_shape)shape, batch));
        }
    }
    for (size_t i = 0; i < result_column_count; i++) {
        if (is_read(self, wanted, i)) {
            TRY(result_columns[i].kind == COLUMN_TEXT ? read_texts(self, i, batch)
                                                      : read_numbers(self, i, batch));
        }
    }
    return STATUS_OK;
}

/* ---- Results ---- */

/* A result that did not ask has NaN, and -1, throughout; an error has no tokens to show. */
static bool array_is_there(const struct result_column *column, const char *values, size_t items,
                           const struct stored_result *result)
{
    return items > 0 ? !column_is_fill(column, values)
                     : column->is_empty_list && result->result.finish_reason != FINISH_ERROR;
}

/* Sets an array of the batch's i-th result, whose counts are set; those of one bit are there where
 * their first one is. */
static void set_array(const struct columns_reader *self, const struct result_batch *batch,
                      size_t index, int64_t i, struct stored_result *result)
{
    const struct result_column *column = &result_columns[index];
    const int64_t *offsets = batch->offsets[column->shape];
    int64_t at = offsets != NULL ? offsets[i] - offsets[0] : i;
    size_t width = (size_t)self->sources[index].width, items = column_items(column, result);
    const char *values =
        (const char *)batch->columns[index].values + (size_t)at * width * sizeof(int32_t);
    bool is_there = column_leads(column) ? array_is_there(column, values, items, result)
                                         : column_pointer(column - 1, result) != NULL;
    if (is_there) {
        column_set_pointer(column, values, result);
        column_set_width(column, (int32_t)width, result);
    }
}

static void set_number(const struct result_column *column, const char *values, int64_t i,
                       struct stored_result *result)
{
    int8_t name;
    if (column->kind == COLUMN_NAME) {
        memcpy(&name, values + i, sizeof name);
        column_set_name(column, name, result);
        return;
    }
    memcpy(column_member_of(column, result), values + (size_t)i * column->member_bytes,
           column->member_bytes);
}

static void set_single(const struct result_batch *batch, size_t index, int64_t i,
                       struct stored_result *result)
{
    const struct result_column *column = &result_columns[index];
    const double none = NAN;
    if (batch->columns[index].texts != NULL) {
        column_set_text(column, batch->columns[index].texts[i], batch->columns[index].lengths[i],
                        result);
    } else if (batch->columns[index].values != NULL) {
        set_number(column, batch->columns[index].values, i, result);
    } else if (column->kind == COLUMN_DOUBLE) {
        memcpy(column_member_of(column, result), &none, sizeof none);
    }
}

static status check_counts(const struct result_batch *batch, int64_t i,
                           const struct stored_result *result)
{
    for (int shape = PER_RESULT + 1; shape < COLUMN_SHAPES; shape++) {
        const int64_t *offsets = batch->offsets[shape];
        int32_t count = flat_shape_count((enum column_shape)shape, result);
        if (offsets != NULL && offsets[i + 1] - offsets[i] != count) {
            return status_fail(STATUS_INVALID, "result %lld: %lld tokens where %s is %d",
                               (long long)(batch->first + i),
                               (long long)(offsets[i + 1] - offsets[i]), flat_shapes[shape].counted,
                               count);
        }
    }
    return STATUS_OK;
}

static status get_result(const struct columns_reader *self, const struct result_batch *batch,
                         int64_t i, struct stored_result *out)
{
    *out = (struct stored_result){0};
    for (size_t index = 0; index < result_column_count; index++) {
        if (!column_is_array(&result_columns[index])) {
            set_single(batch, index, i, out);
        }
    }
    if (!result_columns_sane(out)) {
        return status_fail(STATUS_INVALID, "result %lld: values out of range",
                           (long long)(batch->first + i));
    }
    TRY(check_counts(batch, i, out));
    for (size_t index = 0; index < result_column_count; index++) {
        if (batch->columns[index].values != NULL && column_is_array(&result_columns[index])) {
            set_array(self, batch, index, i, out);
        }
    }
    return STATUS_OK;
}

/* Reads the batch that begins at self->next, as large as texts allow. */
static status next_batch(struct columns_cursor *self)
{
    status s;
    do {
        int64_t left = self->reader->rows - self->next;
        arena_reset(&self->arena);
        self->batch.arena = &self->arena;
        s = read_batch(self->reader, self->wanted, self->next,
                       left < self->most ? left : self->most, &self->batch);
        self->most = s == STATUS_LIMIT ? self->batch.count / 8 : self->most * 2;
        self->most = self->most < 1 ? 1 : self->most < BATCH_ROWS ? self->most : BATCH_ROWS;
    } while (s == STATUS_LIMIT && self->batch.count > 1);
    return s;
}

status columns_cursor_open(const struct columns_reader *reader, struct columns_cursor **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return no_memory();
    }
    (*out)->reader = reader;
    (*out)->most = BATCH_ROWS;
    return STATUS_OK;
}

void columns_cursor_only(struct columns_cursor *self, const bool *wanted)
{
    self->wanted = wanted;
}

void columns_cursor_seek(struct columns_cursor *self, int64_t index)
{
    bool is_at_hand = index >= self->batch.first && index <= self->batch.first + self->batch.count;
    self->most = is_at_hand ? self->most : 1; /* who jumps may jump again */
    self->next = index;
}

status columns_cursor_next(struct columns_cursor *self, struct stored_result *out, bool *more)
{
    *more = self->next < self->reader->rows;
    if (!*more) {
        return STATUS_OK;
    }
    if (self->next < self->batch.first || self->next >= self->batch.first + self->batch.count) {
        status s = next_batch(self);
        self->batch.count = s == STATUS_OK ? self->batch.count : 0;
        TRY(s);
    }
    TRY(get_result(self->reader, &self->batch, self->next - self->batch.first, out));
    self->next++;
    return STATUS_OK;
}

void columns_cursor_close(struct columns_cursor *self)
{
    if (self != NULL) {
        arena_destroy(&self->arena);
        free(self);
    }
}
