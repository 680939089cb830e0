/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rectangles of tensors: staging, expansion of block formats, scales of FP8 weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/formats/gguf_quants.h"
#include "model/read/model_tensors.h"

void tensor_scratch_destroy(struct tensor_scratch *scratch)
{
    free(scratch->raw);
    free(scratch->expanded);
    free(scratch->scales);
    memset(scratch, 0, sizeof *scratch);
}

static int64_t row_length(const struct tensor *tensor)
{
    return tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1];
}

int tensor_rows_within(const struct tensor *tensor, size_t bytes)
{
    const struct tensor_format_facts *facts = tensor_format_facts(tensor->format);
    /* What a row takes while it is staged: its bytes in the file and, for what is expanded, its
     * values; a column range may still need whole rows. */
    uint64_t length = (uint64_t)row_length(tensor);
    uint64_t row = length / (uint64_t)facts->elements * (uint64_t)facts->bytes;
    if (facts->expand != NULL) {
        row += length * sizeof(float);
    }
    uint64_t rows = row == 0 ? 1 : bytes / row;
    return rows < 1 ? 1 : rows > 1 << 20 ? 1 << 20 : (int)rows;
}

/* How an FP8 tensor's scales lie: scale of (row, column) is values[row / block_rows * stride +
 * column / block_columns]. */
struct scale_grid {
    float *values;
    int64_t block_rows, block_columns, stride;
};

static const struct tensor *find_scale(const struct tensor_table *table,
                                       const struct tensor *tensor)
{
    static const char *const suffixes[] = {"_scale", "_scale_inv"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        char name[512];
        int length = snprintf(name, sizeof name, "%s%s", tensor->name, suffixes[i]);
        if (length > 0 && (size_t)length < sizeof name) {
            const struct tensor *found = tensor_table_find(table, name);
            if (found != NULL) {
                return found;
            }
        }
    }
    return NULL;
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

static status scale_grid_read(const struct tensor_table *table, const struct tensor *tensor,
                              const struct tensor *scale, struct scale_grid *out)
{
    enum { MAX_SCALES = 1 << 26 };
    if (tensor->rank != 2) {
        return status_fail(STATUS_UNSUPPORTED, "%s: tensor %s: FP8 weights of %d dimensions",
                           tensor_path(table, tensor), tensor->name, tensor->rank);
    }
    int64_t rows = 1, columns = 1;
    if (scale->rank == 1) {
        rows = scale->shape[0];
    } else if (scale->rank == 2) {
        rows = scale->shape[0];
        columns = scale->shape[1];
    }
    out->block_rows = block_side(tensor->shape[0], rows);
    out->block_columns = block_side(tensor->shape[1], columns);
    out->stride = columns;
    /* Some scales in one dimension would be of tensors that were joined: it is not said where. */
    const bool is_list = scale->rank == 1 && rows > 1 && rows < tensor->shape[0];
    if (scale->rank > 2 || is_list || out->block_rows == 0 || out->block_columns == 0 ||
        rows > MAX_SCALES / columns) {
        return status_fail(STATUS_INVALID, "%s: tensor %s does not fit the shape of %s",
                           tensor_path(table, scale), scale->name, tensor->name);
    }
    struct tensor_scratch scratch = {0};
    out->values = malloc((size_t)(rows * columns) * sizeof *out->values);
    if (out->values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "tensor %s: out of memory", scale->name);
    }
    status s = tensor_read_values(table, scale, 0, (int)(rows * columns), &scratch, out->values);
    tensor_scratch_destroy(&scratch);
    for (int64_t i = 0; s == STATUS_OK && i < rows * columns; i++) {
        if (!(out->values[i] >= 0) || isinf(out->values[i])) { /* 0: of rows that are all 0 */
            s = status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                            tensor_path(table, scale), scale->name, (double)out->values[i]);
        }
    }
    if (s != STATUS_OK) {
        free(out->values);
        out->values = NULL;
    }
    return s;
}

/* One scale a row where the tensor's are so, else *out is NULL. */
static status read_row_scales(const struct tensor_table *table, const struct tensor *tensor,
                              int64_t first_row, int row_count, struct tensor_scratch *scratch,
                              const float **out)
{
    const struct tensor *scale = find_scale(table, tensor);
    struct scale_grid grid = {0};
    *out = NULL;
    if (tensor->rank != 2) {
        return STATUS_OK;
    }
    if (scale != NULL) {
        TRY(scale_grid_read(table, tensor, scale, &grid));
        if (grid.block_columns < tensor->shape[1]) {
            free(grid.values);
            return STATUS_OK;
        }
    }
    void *scales = scratch->scales;
    status s = array_grow(&scales, &scratch->scales_capacity, (size_t)row_count, sizeof(float));
    scratch->scales = scales;
    for (int row = 0; s == STATUS_OK && row < row_count; row++) {
        scratch->scales[row] =
            scale != NULL ? grid.values[(first_row + row) / grid.block_rows * grid.stride] : 1.0f;
    }
    free(grid.values);
    *out = s == STATUS_OK ? scratch->scales : NULL;
    return s;
}

static status apply_scale(const struct tensor_table *table, const struct tensor *tensor,
                          int64_t first_row, int row_count, int64_t first_column,
                          int64_t column_count, float *values)
{
    const struct tensor *scale = find_scale(table, tensor);
    if (scale == NULL) {
        return STATUS_OK;
    }
    struct scale_grid grid = {0};
    TRY(scale_grid_read(table, tensor, scale, &grid));
    for (int row = 0; row < row_count; row++) {
        const float *scales = grid.values + (first_row + row) / grid.block_rows * grid.stride;
        float *at = values + (size_t)row * (size_t)column_count;
        for (int64_t column = 0; column < column_count; column++) {
            at[column] *= scales[(first_column + column) / grid.block_columns];
        }
    }
    free(grid.values);
    return STATUS_OK;
}

status tensor_read_rows(const struct tensor_table *table, const struct tensor *tensor,
                        int64_t first_row, int row_count, int first_column, int column_count,
                        struct tensor_scratch *scratch, struct tensor_rows *out)
{
    /* Below this many bytes a row's range is not worth a read of its own. */
    enum { WORTHWHILE_BYTES = 4096 };
    const struct tensor_format_facts *facts = tensor_format_facts(tensor->format);
    const struct tensor_file *file = &table->files[tensor->file];
    if (tensor->format == FORMAT_OTHER) {
        return status_fail(STATUS_UNSUPPORTED, "%s: tensor %s: type %s is not one of weights",
                           file->path, tensor->name, tensor->type_name);
    }
    size_t length = (size_t)row_length(tensor);
    size_t row_bytes = length / (size_t)facts->elements * (size_t)facts->bytes;
    if (first_row < 0 || row_count < 1 || first_column < 0 || column_count < 1 ||
        (size_t)first_column + (size_t)column_count > length || row_bytes == 0 ||
        (uint64_t)first_row + (uint64_t)row_count > tensor->bytes / row_bytes) {
        return status_fail(STATUS_INTERNAL, "%s: tensor %s: %d × %d values from %lld, %d",
                           file->path, tensor->name, row_count, column_count, (long long)first_row,
                           first_column);
    }
    size_t first_block = (size_t)first_column / (size_t)facts->elements;
    size_t end_block = ((size_t)first_column + (size_t)column_count + (size_t)facts->elements - 1) /
                       (size_t)facts->elements;
    size_t range_bytes = (end_block - first_block) * (size_t)facts->bytes;
    bool by_range = range_bytes >= WORTHWHILE_BYTES && range_bytes <= row_bytes / 2;
    if (!by_range) {
        first_block = 0;
        end_block = length / (size_t)facts->elements;
        range_bytes = row_bytes;
    }
    void *raw = scratch->raw;
    status s = array_grow(&raw, &scratch->raw_capacity, (size_t)row_count * range_bytes, 1);
    scratch->raw = raw;
    uint64_t start = tensor->offset + (uint64_t)first_row * row_bytes;
    if (s == STATUS_OK && !by_range) {
        s = tensor_file_read(file, start, scratch->raw, (size_t)row_count * row_bytes);
    }
    for (int row = 0; s == STATUS_OK && by_range && row < row_count; row++) {
        s = tensor_file_read(file,
                             start + (uint64_t)row * row_bytes + first_block * (size_t)facts->bytes,
                             scratch->raw + (size_t)row * range_bytes, range_bytes);
    }
    if (s != STATUS_OK) {
        return status_context(s, "tensor %s", tensor->name);
    }
    size_t kept = (end_block - first_block) * (size_t)facts->elements; /* values a staged row */
    size_t skipped = (size_t)first_column - first_block * (size_t)facts->elements;
    out->dtype = facts->dtype;
    out->stride = kept;
    out->scales = NULL;
    if (tensor->format == FORMAT_FLOAT8_E4M3 && scratch->keep_float8) {
        TRY(read_row_scales(table, tensor, first_row, row_count, scratch, &out->scales));
    }
    if (out->scales != NULL) {
        out->dtype = DTYPE_FLOAT8_E4M3;
        out->data = scratch->raw + skipped;
        return STATUS_OK;
    }
    if (facts->expand == NULL) {
        out->data = scratch->raw + skipped * (size_t)facts->bytes;
        return STATUS_OK;
    }
    void *expanded = scratch->expanded;
    s = array_grow(&expanded, &scratch->expanded_capacity, (size_t)row_count * kept, sizeof(float));
    scratch->expanded = expanded;
    if (s != STATUS_OK) {
        return status_context(s, "tensor %s", tensor->name);
    }
    facts->expand(scratch->raw, (size_t)row_count * (end_block - first_block), scratch->expanded);
    if (tensor->format == FORMAT_FLOAT8_E4M3) {
        TRY(apply_scale(table, tensor, first_row, row_count, (int64_t)first_block, (int64_t)kept,
                        scratch->expanded));
    }
    out->data = scratch->expanded + skipped;
    return STATUS_OK;
}

static float value_at(const void *data, enum dtype dtype, size_t index)
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

status tensor_read_values(const struct tensor_table *table, const struct tensor *tensor,
                          int64_t first, int count, struct tensor_scratch *scratch, float *out)
{
    struct tensor row = *tensor; /* the same bytes as one row */
    uint64_t length;
    if (!tensor_count_elements(tensor->shape, tensor->rank, &length) || length > INT32_MAX) {
        return status_fail(STATUS_INVALID, "%s: tensor %s is too large for a vector",
                           tensor_path(table, tensor), tensor->name);
    }
    row.rank = 1;
    row.shape[0] = (int64_t)length;
    struct tensor_rows rows;
    TRY(tensor_read_rows(table, &row, 0, 1, (int)first, count, scratch, &rows));
    for (int i = 0; i < count; i++) {
        out[i] = value_at(rows.data, rows.dtype, (size_t)i);
    }
    return STATUS_OK;
}
