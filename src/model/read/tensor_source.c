/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to a tensor of weights, and reading rectangles of it: staging, expansion of blocks,
 * zeros and scales. */
#include "model/read/tensor_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/read/shared_reads.h"
#include "weights/gguf_quants.h"

/* ---- What belongs to a tensor ---- */

/* Behind the name of a weight, "….weight": scales of AutoFP8, compressed-tensors and ModelOpt, and
 * of DeepSeek's blocks; zero points of compressed-tensors. */
static const char *const scale_suffixes[] = {"_scale", "_scale_inv"};
static const char *const zero_suffixes[] = {"_zero_point"};
/* The group of each column, where groups are of columns that do not stand side by side. */
static const char *const order_suffixes[] = {"_g_idx"};

/* In place of "weight" in it, the scale of the product's input: AutoFP8, compressed-tensors and
 * ModelOpt; transformers' own FP8 layers; the first AutoFP8 files. */
static const char *const input_scale_names[] = {"input_scale", "activation_scale", "act_scale"};

/* bitsandbytes has the largest magnitude of each row in place of "weight"; 127 stands for it. The
 * product with 1/127 as its int8_vectorwise_dequant has it. */
static const char *const magnitude_names[] = {"SCB"};
static const float magnitude_factor = 7.874015718698502315e-3f;

/* The first that is there of the tensors called by the first `kept` characters of the name and an
 * ending; NULL where none is. */
static const struct tensor *find_beside(const struct tensor_table *table,
                                        const struct tensor *values, size_t kept,
                                        const char *const *endings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[512];
        const int length =
            snprintf(name, sizeof name, "%.*s%s", (int)kept, values->name, endings[i]);
        const struct tensor *found =
            length > 0 && (size_t)length < sizeof name ? tensor_table_find(table, name) : NULL;
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

/* The same, by names in place of "weight" at the end of it. */
static const struct tensor *find_instead(const struct tensor_table *table,
                                         const struct tensor *values, const char *const *names,
                                         size_t count)
{
    static const char replaced[] = "weight";
    const size_t length = strlen(values->name), cut = sizeof replaced - 1;
    if (length < cut || strcmp(values->name + length - cut, replaced) != 0) {
        return NULL;
    }
    return find_beside(table, values, length - cut, names, count);
}

/* The block side that cuts `length` into `parts` equal blocks, of which the last may be short: one
 * for all, one each, or the power of two that gives that many. 0 where none does. */
static int64_t block_side(int64_t length, int64_t parts)
{
    if (parts == 1) {
        return length;
    }
    for (int64_t side = 1; side <= length; side *= 2) {
        if ((length + side - 1) / side == parts) {
            return side;
        }
    }
    return 0;
}

/* How the numbers of `beside` lie over `values`. */
static status grid_find(const struct tensor_table *table, const struct tensor *values,
                        const struct tensor *beside, struct tensor_grid *out)
{
    enum { MOST_NUMBERS = 1 << 26 };
    if (values->rank != 2) {
        return status_fail(STATUS_UNSUPPORTED, "%s: tensor %s: %s weights of %d dimensions",
                           tensor_path(table, values), values->name, values->type_name,
                           values->rank);
    }
    int64_t rows = 1, columns = 1;
    if (beside->rank == 1) {
        rows = beside->shape[0];
    } else if (beside->rank == 2) {
        rows = beside->shape[0];
        columns = beside->shape[1];
    }
    *out = (struct tensor_grid){.tensor = beside,
                                .block_rows = block_side(values->shape[0], rows),
                                .block_columns = block_side(values->shape[1], columns),
                                .columns = columns};
    /* Some numbers in one dimension would be of tensors that were joined: it is not said where. */
    const bool is_list = beside->rank == 1 && rows > 1 && rows < values->shape[0];
    return beside->rank > 2 || is_list || out->block_rows == 0 || out->block_columns == 0 ||
                   rows > MOST_NUMBERS / columns
               ? status_fail(STATUS_INVALID, "%s: tensor %s does not fit the shape of %s",
                             tensor_path(table, beside), beside->name, values->name)
               : STATUS_OK;
}

status tensor_source_find(const struct tensor_table *table, const struct tensor *values,
                          struct tensor_source *out)
{
    const struct weight_format_facts *facts = weight_format_facts(values->format);
    const size_t whole = strlen(values->name);
    *out = (struct tensor_source){.values = values};
    if (values->packed != NULL) {
        return STATUS_OK; /* all of it was found when the table was made */
    }
    if (facts->scales != SCALES_BESIDE && facts->scales != SCALES_BESIDE_OR_ONE) {
        return STATUS_OK;
    }
    out->input_scale = find_instead(table, values, input_scale_names, COUNT_OF(input_scale_names));
    const struct tensor *scales =
        find_beside(table, values, whole, scale_suffixes, COUNT_OF(scale_suffixes));
    float factor = 1;
    if (scales == NULL && values->format == WEIGHT_INT8) {
        scales = find_instead(table, values, magnitude_names, COUNT_OF(magnitude_names));
        factor = magnitude_factor;
    }
    const struct tensor *zeros = facts->symmetric ? NULL
                                                  : find_beside(table, values, whole, zero_suffixes,
                                                                COUNT_OF(zero_suffixes));
    const struct tensor *order =
        find_beside(table, values, whole, order_suffixes, COUNT_OF(order_suffixes));
    if (order != NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: tensor %s: columns of groups in an order of their own are not "
                           "supported; take a checkpoint without \"actorder\"",
                           tensor_path(table, order), order->name);
    }
    if (scales == NULL && facts->scales == SCALES_BESIDE) {
        return status_fail(STATUS_INVALID, "%s: tensor %s: type %s, and no %s%s beside it",
                           tensor_path(table, values), values->name, values->type_name,
                           values->name, scale_suffixes[0]);
    }
    if (scales != NULL) {
        TRY(grid_find(table, values, scales, &out->scales));
        out->scales.factor = factor;
    }
    return zeros != NULL ? grid_find(table, values, zeros, &out->zeros) : STATUS_OK;
}

/* Whether its rows are parts of the file's rows. */
static bool is_plain(const struct tensor_source *source)
{
    return source->row_step <= 1 && !source->is_turned && source->rows == 0 && source->columns == 0;
}

bool tensor_source_is_by_rows(const struct tensor_source *source)
{
    const struct tensor *values = source->values;
    return values->rank == 2 && is_plain(source) &&
           weight_format_facts(values->format)->elements == 1 && source->zeros.tensor == NULL &&
           (source->scales.tensor == NULL || source->scales.block_columns >= values->shape[1]);
}

/* ---- Numbers, as they lie ---- */

void tensor_scratch_destroy(struct tensor_scratch *scratch)
{
    free(scratch->raw);
    free(scratch->expanded);
    free(scratch->scales);
    free(scratch->zeros);
    free(scratch->row_scales);
    free(scratch->codes);
    free(scratch->zero_codes);
    free(scratch->groups);
    free(scratch->moved);
    memset(scratch, 0, sizeof *scratch);
}

static int64_t row_length(const struct tensor *tensor)
{
    return tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1];
}

int tensor_rows_within(const struct tensor_source *source, size_t bytes)
{
    /* A turned matrix is read by ranges of the file's rows: long ones, of all rows. */
    enum { TURNED_ROWS = 1024 };
    const struct weight_format_facts *facts = weight_format_facts(source->values->format);
    /* What a row takes while it is staged: its bytes in the file and, for what is expanded, its
     * values; a column range may still need whole rows. */
    uint64_t length = (uint64_t)row_length(source->values);
    uint64_t row = length / (uint64_t)facts->elements * (uint64_t)facts->bytes;
    if (facts->expand != NULL) {
        row += length * sizeof(float);
    }
    if (source->is_turned) {
        return TURNED_ROWS;
    }
    row *= source->row_step > 1 ? (uint64_t)source->row_step : 1;
    uint64_t rows = row == 0 ? 1 : bytes / row;
    return rows < 1 ? 1 : rows > 1 << 20 ? 1 << 20 : (int)rows;
}

static status floats_grow(float **floats, size_t *capacity, size_t count,
                          const struct tensor *tensor)
{
    void *grown = *floats;
    const status s = array_grow(&grown, capacity, count, sizeof **floats);
    *floats = grown;
    return status_context(s, "tensor %s", tensor->name);
}

/* Staged rows of a rectangle: whole blocks, from a column that may be before the first wanted. */
struct staged_rows {
    int64_t first_column;
    size_t columns; /* of each staged row */
    size_t blocks;  /* likewise */
};

static size_t row_bytes_of(const struct tensor *tensor)
{
    const struct weight_format_facts *facts = weight_format_facts(tensor->format);
    return (size_t)row_length(tensor) / (size_t)facts->elements * (size_t)facts->bytes;
}

static status check_rectangle(const struct tensor_table *table, const struct tensor_read *read)
{
    const struct tensor *tensor = read->source.values;
    const size_t row_bytes = row_bytes_of(tensor);
    if (tensor->format == WEIGHT_NONE) {
        return status_fail(STATUS_UNSUPPORTED, "%s: tensor %s: type %s is not one of weights",
                           tensor_path(table, tensor), tensor->name, tensor->type_name);
    }
    return read->first_row < 0 || read->row_count < 1 || read->first_column < 0 ||
                   read->column_count < 1 ||
                   (int64_t)read->first_column + read->column_count > row_length(tensor) ||
                   row_bytes == 0 ||
                   (uint64_t)read->first_row + (uint64_t)read->row_count > tensor->bytes / row_bytes
               ? status_fail(STATUS_INTERNAL, "%s: tensor %s: %d × %d values from %lld, %d",
                             tensor_path(table, tensor), tensor->name, read->row_count,
                             read->column_count, (long long)read->first_row, read->first_column)
               : STATUS_OK;
}

/* Reads the rectangle's bytes into scratch->raw. */
static status stage_rows(const struct tensor_table *table, const struct tensor_read *read,
                         struct tensor_scratch *scratch, struct staged_rows *out)
{
    /* Below this many bytes a row's range is not worth a read of its own, beside other rows'. */
    enum { WORTHWHILE_BYTES = 4096 };
    const struct tensor *tensor = read->source.values;
    const struct weight_format_facts *facts = weight_format_facts(tensor->format);
    const size_t elements = (size_t)facts->elements, block_bytes = (size_t)facts->bytes;
    const size_t row_bytes = row_bytes_of(tensor);
    size_t first_block = (size_t)read->first_column / elements;
    const size_t end = (size_t)read->first_column + (size_t)read->column_count;
    size_t blocks = (end + elements - 1) / elements - first_block;
    size_t range_bytes = blocks * block_bytes;
    const bool by_range =
        (range_bytes >= WORTHWHILE_BYTES || read->row_count == 1) && range_bytes <= row_bytes / 2;
    if (!by_range) {
        first_block = 0;
        blocks = row_bytes / block_bytes;
        range_bytes = row_bytes;
    }
    const size_t rows = (size_t)read->row_count;
    void *raw = scratch->raw;
    status s = array_grow(&raw, &scratch->raw_capacity, rows * range_bytes, 1);
    scratch->raw = raw;
    const uint64_t start = tensor->offset + (uint64_t)read->first_row * row_bytes;
    if (s == STATUS_OK && !by_range) {
        s = tensor_table_read(table, tensor->file, start, scratch->raw, rows * row_bytes);
    }
    for (size_t row = 0; s == STATUS_OK && by_range && row < rows; row++) {
        s = tensor_table_read(table, tensor->file,
                              start + row * row_bytes + first_block * block_bytes,
                              scratch->raw + row * range_bytes, range_bytes);
    }
    *out = (struct staged_rows){.first_column = (int64_t)(first_block * elements),
                                .columns = blocks * elements,
                                .blocks = blocks};
    return status_context(s, "tensor %s", tensor->name);
}

static float number_at(const void *data, enum dtype dtype, size_t index)
{
    if (dtype == DTYPE_FLOAT32) {
        float value;
        memcpy(&value, (const uint8_t *)data + 4 * index, sizeof value);
        return value;
    }
    uint16_t half;
    memcpy(&half, (const uint8_t *)data + 2 * index, sizeof half);
    if (dtype == DTYPE_FLOAT16) {
        return gguf_half_to_float(half);
    }
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The first row of a read in float32. */
static status read_floats(const struct tensor_table *table, const struct tensor_read *read,
                          struct tensor_scratch *scratch, float *out)
{
    struct weight_rows rows;
    TRY(tensor_read_rows(table, read, scratch, &rows));
    const enum dtype numbers = weight_format_facts(rows.format)->numbers;
    for (int i = 0; i < read->column_count; i++) {
        out[i] = number_at(rows.data, numbers, (size_t)i);
    }
    return STATUS_OK;
}

status tensor_read_row(const struct tensor_table *table, const struct tensor_source *source,
                       int64_t row, struct tensor_scratch *scratch, float *out)
{
    const struct tensor_read read = {.source = *source,
                                     .first_row = row,
                                     .row_count = 1,
                                     .column_count = (int)row_length(source->values)};
    return read_floats(table, &read, scratch, out);
}

status tensor_read_values(const struct tensor_table *table, const struct tensor *tensor,
                          int64_t first, int count, struct tensor_scratch *scratch, float *out)
{
    struct tensor row = *tensor; /* the same bytes as one row */
    uint64_t length;
    if (tensor->packed != NULL) {
        return status_fail(STATUS_INVALID, "%s: tensor %s is packed where plain numbers belong",
                           tensor_path(table, tensor), tensor->name);
    }
    if (!tensor_count_elements(tensor->shape, tensor->rank, &length) || length > INT32_MAX) {
        return status_fail(STATUS_INVALID, "%s: tensor %s is too large for a vector",
                           tensor_path(table, tensor), tensor->name);
    }
    row.rank = 1;
    row.shape[0] = (int64_t)length;
    const struct tensor_read read = {.source = {.values = &row},
                                     .row_count = 1,
                                     .first_column = (int)first,
                                     .column_count = count};
    return read_floats(table, &read, scratch, out);
}

status tensor_read_vector(const struct tensor_table *table, const struct tensor_source *source,
                          int first, int count, struct tensor_scratch *scratch, float *out)
{
    const int step = source->row_step > 1 ? source->row_step : 1;
    const int64_t at = source->first_row + (int64_t)step * first;
    if (step == 1) {
        return tensor_read_values(table, source->values, at, count, scratch, out);
    }
    const int span = step * (count - 1) + 1;
    TRY(floats_grow(&scratch->row_scales, &scratch->row_scales_capacity, (size_t)span,
                    source->values));
    TRY(tensor_read_values(table, source->values, at, span, scratch, scratch->row_scales));
    for (int i = 0; i < count; i++) {
        out[i] = scratch->row_scales[step * i];
    }
    return STATUS_OK;
}

/* ---- Zeros and scales ---- */

/* How many numbers of a grid the rows of a read need. */
static int grid_count(const struct tensor_grid *grid, const struct tensor_read *read)
{
    const int64_t first = read->first_row / grid->block_rows;
    const int64_t last = (read->first_row + read->row_count - 1) / grid->block_rows;
    return (int)((last - first + 1) * grid->columns);
}

static status grid_read(const struct tensor_table *table, const struct tensor_grid *grid,
                        const struct tensor_read *read, struct tensor_scratch *scratch,
                        float **numbers, size_t *capacity)
{
    const int count = grid_count(grid, read);
    TRY(floats_grow(numbers, capacity, (size_t)count, grid->tensor));
    return tensor_read_values(table, grid->tensor,
                              read->first_row / grid->block_rows * grid->columns, count, scratch,
                              *numbers);
}

/* 0 is the scale of rows that are all 0. */
static status check_scales(const struct tensor_table *table, const struct tensor *tensor,
                           const float *scales, int count)
{
    for (int i = 0; i < count; i++) {
        if (!(scales[i] >= 0) || isinf(scales[i])) {
            return status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                               tensor_path(table, tensor), tensor->name, (double)scales[i]);
        }
    }
    return STATUS_OK;
}

/* Into scratch->scales and scratch->zeros, where the source has them. */
static status read_grids(const struct tensor_table *table, const struct tensor_read *read,
                         struct tensor_scratch *scratch)
{
    const struct tensor_grid *scales = &read->source.scales, *zeros = &read->source.zeros;
    if (scales->tensor != NULL) {
        TRY(grid_read(table, scales, read, scratch, &scratch->scales, &scratch->scales_capacity));
        TRY(check_scales(table, scales->tensor, scratch->scales, grid_count(scales, read)));
    }
    return zeros->tensor == NULL
               ? STATUS_OK
               : grid_read(table, zeros, read, scratch, &scratch->zeros, &scratch->zeros_capacity);
}

/* Row `row`'s numbers of a grid that was read from `first_row` on. */
static const float *grid_row(const struct tensor_grid *grid, const float *numbers,
                             int64_t first_row, int row)
{
    const int64_t at = (first_row + row) / grid->block_rows - first_row / grid->block_rows;
    return numbers + at * grid->columns;
}

static status list_row_scales(const struct tensor_read *read, struct tensor_scratch *scratch,
                              const float **out)
{
    const struct tensor_grid *grid = &read->source.scales;
    TRY(floats_grow(&scratch->row_scales, &scratch->row_scales_capacity, (size_t)read->row_count,
                    read->source.values));
    for (int row = 0; row < read->row_count; row++) {
        scratch->row_scales[row] =
            grid->tensor != NULL ? *grid_row(grid, scratch->scales, read->first_row, row) : 1.0f;
    }
    *out = scratch->row_scales;
    return STATUS_OK;
}

static void apply_grids(const struct tensor_read *read, const struct tensor_scratch *scratch,
                        const struct staged_rows *staged)
{
    const struct tensor_grid *scales = &read->source.scales, *zeros = &read->source.zeros;
    for (int row = 0; row < read->row_count; row++) {
        float *at = scratch->expanded + (size_t)row * staged->columns;
        const int64_t first = staged->first_column, columns = (int64_t)staged->columns;
        if (zeros->tensor != NULL) {
            const float *zero = grid_row(zeros, scratch->zeros, read->first_row, row);
            for (int64_t column = 0; column < columns; column++) {
                at[column] -= zero[(first + column) / zeros->block_columns];
            }
        }
        if (scales->tensor != NULL) {
            const float *scale = grid_row(scales, scratch->scales, read->first_row, row);
            for (int64_t column = 0; column < columns; column++) {
                at[column] *= scale[(first + column) / scales->block_columns];
                at[column] *= scales->factor;
            }
        }
    }
}

/* ---- Rows ---- */

/* Rows that are counted from the file's first. */
static status read_file_rows(const struct tensor_table *table, const struct tensor_read *read,
                             struct tensor_scratch *scratch, struct weight_rows *out)
{
    const struct tensor *values = read->source.values;
    const struct weight_format_facts *facts = weight_format_facts(values->format);
    struct staged_rows staged;
    if (values->read_rows != NULL) {
        return values->read_rows(table, read, scratch, out);
    }
    *out = (struct weight_rows){.format = values->format};
    TRY(check_rectangle(table, read));
    TRY(read_grids(table, read, scratch));
    TRY(stage_rows(table, read, scratch, &staged));
    const size_t skipped = (size_t)(read->first_column - staged.first_column);
    out->stride = staged.columns;
    if (facts->expand == NULL || read->as_it_is) {
        out->data = scratch->raw + skipped * (size_t)facts->bytes;
        return facts->expand == NULL ? STATUS_OK : list_row_scales(read, scratch, &out->scales);
    }
    const size_t rows = (size_t)read->row_count;
    TRY(floats_grow(&scratch->expanded, &scratch->expanded_capacity, rows * staged.columns,
                    values));
    facts->expand(scratch->raw, rows * staged.blocks, scratch->expanded);
    apply_grids(read, scratch, &staged);
    out->data = scratch->expanded + skipped;
    out->format = WEIGHT_FLOAT32;
    return STATUS_OK;
}

/* ---- Where they are not a plain part of the file's rows ---- */

/* How much of [first, first + count) lies before `end`; an end of 0: all of it. */
static int part_before(int64_t first, int count, int end)
{
    return end == 0 || first + count <= end ? count : first < end ? (int)(end - first) : 0;
}

/* Values of `from` as rows of their own: to[rows][columns], of which what is not there stays 0. */
static void move_values(const struct tensor_source *source, const struct weight_rows *from,
                        size_t rows, size_t columns, size_t width, uint8_t *to)
{
    const size_t step = source->row_step > 1 ? (size_t)source->row_step : 1;
    const size_t bytes = (size_t)weight_format_facts(from->format)->bytes;
    const size_t down = source->is_turned ? step : step * from->stride;
    const size_t along = source->is_turned ? from->stride : 1;
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *at = (const uint8_t *)from->data + row * down * bytes;
        uint8_t *out = to + row * width * bytes;
        for (size_t column = 0; column < columns; column++) {
            memcpy(out + column * bytes, at + column * along * bytes, bytes);
        }
    }
}

/* What the file has of it, in one rectangle. */
static struct tensor_read rectangle_in_file(const struct tensor_read *read, int rows, int columns)
{
    const struct tensor_source *source = &read->source;
    const int step = source->row_step > 1 ? source->row_step : 1;
    const int span = step * (rows - 1) + 1;
    struct tensor_read out = *read;
    out.first_row = source->first_row + (int64_t)step * read->first_row;
    out.row_count = span;
    out.first_column = source->first_column + read->first_column;
    out.column_count = columns;
    if (source->is_turned) {
        out.first_row = source->first_row + read->first_column;
        out.row_count = columns;
        out.first_column = source->first_column + step * (int)read->first_row;
        out.column_count = span;
    }
    return out;
}

status tensor_read_rows(const struct tensor_table *table, const struct tensor_read *read,
                        struct tensor_scratch *scratch, struct weight_rows *out)
{
    const struct tensor_source *source = &read->source;
    const int rows = part_before(read->first_row, read->row_count, source->rows);
    const int columns = part_before(read->first_column, read->column_count, source->columns);
    const size_t width = (size_t)read->column_count;
    struct weight_rows from = {.format = WEIGHT_FLOAT32};
    if (rows > 0 && columns > 0) {
        const struct tensor_read here = rectangle_in_file(read, rows, columns);
        TRY(read_file_rows(table, &here, scratch, &from));
    }
    if (is_plain(source)) {
        *out = from;
        return STATUS_OK;
    }
    const size_t bytes =
        (size_t)read->row_count * width * (size_t)weight_format_facts(from.format)->bytes;
    void *moved = scratch->moved;
    const status s = array_grow(&moved, &scratch->moved_capacity, bytes, 1);
    scratch->moved = moved;
    TRY(status_context(s, "tensor %s", source->values->name));
    memset(scratch->moved, 0, bytes);
    if (rows > 0 && columns > 0) {
        move_values(source, &from, (size_t)rows, (size_t)columns, width, scratch->moved);
    }
    *out = (struct weight_rows){.data = scratch->moved, .format = from.format, .stride = width};
    return STATUS_OK;
}
