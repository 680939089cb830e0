/* SPDX-License-Identifier: Apache-2.0 */
/* Rectangles of packed weights: numbers, zeros and scales of the rows and columns that are wanted,
 * unpacked and put together in float32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/read/packed.h"
#include "model/read/shared_reads.h"

/* What a rank wants of a weight. */
struct rectangle {
    int64_t first_row, first_column;
    size_t rows, columns;
};

static status grow(void **memory, size_t *capacity, size_t count, size_t size,
                   const struct tensor *tensor)
{
    return status_context(array_grow(memory, capacity, count, size), "tensor %s", tensor->name);
}

#define GROW(array, capacity, count, tensor)                                                       \
    do {                                                                                           \
        void *grown_ = (array);                                                                    \
        const status grow_status_ = grow(&grown_, &(capacity), (count), sizeof *(array), tensor);  \
        (array) = grown_;                                                                          \
        TRY(grow_status_);                                                                         \
    } while (0)

/* `rows` runs of `width` bytes of a tensor's rows of `row_bytes` each, from (row, byte) on, into
 * scratch->raw. */
static status stage(const struct tensor_table *table, const struct tensor *tensor, size_t row_bytes,
                    int64_t first_row, size_t rows, size_t first_byte, size_t width,
                    struct tensor_scratch *scratch)
{
    GROW(scratch->raw, scratch->raw_capacity, rows * width, tensor);
    uint64_t offset = tensor->offset + (uint64_t)first_row * row_bytes + first_byte;
    if (width == row_bytes) {
        return tensor_table_read(table, tensor->file, offset, scratch->raw, rows * width);
    }
    for (size_t row = 0; row < rows; row++, offset += row_bytes) {
        TRY(tensor_table_read(table, tensor->file, offset, scratch->raw + row * width, width));
    }
    return STATUS_OK;
}

/* ---- Numbers ---- */

/* What of a tensor of words was staged. */
struct staged_words {
    const uint8_t *raw;
    size_t width; /* words of a row */
    int64_t first_row, first_word;
};

static uint32_t word_at(const struct packed_numbers *numbers, const struct staged_words *staged,
                        int64_t row, int64_t word)
{
    const uint8_t *at = staged->raw + ((size_t)(row - staged->first_row) * staged->width +
                                       (size_t)(word - staged->first_word)) *
                                          (size_t)numbers->word_bytes;
    return numbers->word_bytes == 1
               ? at[0]
               : at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Number `place` of a line of words, the line being number `line` of the other dimension. */
static uint8_t number_at(const struct packed_numbers *numbers, const struct staged_words *staged,
                         int64_t place, int64_t line)
{
    const int word_bits = numbers->word_bytes * 8;
    if (numbers->order != NULL) {
        place = place / numbers->run * numbers->run + numbers->order[place % numbers->run];
    }
    const int64_t bit = place * numbers->bits, word = bit / word_bits;
    const int shift = (int)(bit % word_bits);
    uint32_t value = numbers->along_first ? word_at(numbers, staged, word, line)
                                          : word_at(numbers, staged, line, word);
    value >>= shift;
    if (shift + numbers->bits > word_bits) { /* three bits may lie in two words */
        value |= (numbers->along_first ? word_at(numbers, staged, word + 1, line)
                                       : word_at(numbers, staged, line, word + 1))
                 << (word_bits - shift);
    }
    return (uint8_t)(value & ((1u << numbers->bits) - 1));
}

/* The words, of a line of them, that numbers from `first` on lie in. */
static void span_words(const struct packed_numbers *numbers, int64_t first, size_t count,
                       int64_t *first_word, size_t *words)
{
    const int64_t run = numbers->order != NULL ? numbers->run : 1;
    const int64_t from = first / run * run, to = (first + (int64_t)count + run - 1) / run * run;
    const int64_t word_bits = (int64_t)numbers->word_bytes * 8;
    *first_word = from * numbers->bits / word_bits;
    *words = (size_t)((to * numbers->bits + word_bits - 1) / word_bits - *first_word);
}

/* out[rows, columns]; columns may be groups. */
static status read_numbers(const struct tensor_table *table, const struct packed_numbers *numbers,
                           const struct rectangle *want, struct tensor_scratch *scratch,
                           uint8_t *out)
{
    const bool rows_first = !numbers->by_columns;
    struct staged_words staged = {.first_row = rows_first ? want->first_row : want->first_column,
                                  .first_word = rows_first ? want->first_column : want->first_row,
                                  .width = rows_first ? want->columns : want->rows};
    size_t lines = rows_first ? want->rows : want->columns;
    if (numbers->along_first) {
        span_words(numbers, staged.first_row, lines, &staged.first_row, &lines);
    } else {
        span_words(numbers, staged.first_word, staged.width, &staged.first_word, &staged.width);
    }
    const size_t word_bytes = (size_t)numbers->word_bytes;
    TRY(stage(table, &numbers->tensor, (size_t)numbers->tensor.shape[1] * word_bytes,
              staged.first_row, lines, (size_t)staged.first_word * word_bytes,
              staged.width * word_bytes, scratch));
    staged.raw = scratch->raw;
    const bool along_columns = numbers->by_columns == numbers->along_first;
    for (size_t row = 0; row < want->rows; row++) {
        const int64_t r = want->first_row + (int64_t)row;
        for (size_t column = 0; column < want->columns; column++) {
            const int64_t c = want->first_column + (int64_t)column;
            out[row * want->columns + column] = along_columns ? number_at(numbers, &staged, c, r)
                                                              : number_at(numbers, &staged, r, c);
        }
    }
    return STATUS_OK;
}

/* ---- Scales ---- */

static status check_finite(const struct tensor_table *table, const struct tensor *tensor,
                           const float *scales, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(scales[i])) {
            return status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                               tensor_path(table, tensor), tensor->name, (double)scales[i]);
        }
    }
    return STATUS_OK;
}

/* Powers of two; 255 is OCP's NaN. */
static status read_exponents(const struct tensor_table *table, const struct tensor *tensor,
                             int64_t first, size_t count, struct tensor_scratch *scratch)
{
    TRY(stage(table, tensor, count, 0, 1, (size_t)first, count, scratch));
    for (size_t i = 0; i < count; i++) {
        scratch->scales[i] = scratch->raw[i] == UINT8_MAX ? NAN : ldexpf(1, scratch->raw[i] - 127);
    }
    return STATUS_OK;
}

/* Magnitudes that are codes: map[code] · scale of their block + offset. */
static status read_nested(const struct tensor_table *table, const struct packed_weight *packed,
                          int64_t first, size_t count, struct tensor_scratch *scratch)
{
    const struct packed_nested *nested = packed->nested;
    const int64_t first_block = first / nested->block;
    const int blocks = (int)((first + (int64_t)count - 1) / nested->block - first_block + 1);
    GROW(scratch->row_scales, scratch->row_scales_capacity, (size_t)blocks, &nested->scales);
    TRY(tensor_read_values(table, &nested->scales, first_block, blocks, scratch,
                           scratch->row_scales));
    TRY(stage(table, &packed->scales, count, 0, 1, (size_t)first, count, scratch));
    for (size_t i = 0; i < count; i++) {
        const float scale = scratch->row_scales[(first + (int64_t)i) / nested->block - first_block];
        const float product = nested->map[scratch->raw[i]] * scale;
        scratch->scales[i] = product + nested->offset;
    }
    return STATUS_OK;
}

/* Consecutive scales from `first` on. */
static status read_run(const struct tensor_table *table, const struct packed_weight *packed,
                       int64_t first, size_t count, struct tensor_scratch *scratch, float *out)
{
    switch (packed->kind) {
    case PACKED_SCALE_EXPONENT:
        return read_exponents(table, &packed->scales, first, count, scratch);
    case PACKED_SCALE_NESTED:
        return read_nested(table, packed, first, count, scratch);
    default:
        return tensor_read_values(table, &packed->scales, first, (int)count, scratch, out);
    }
}

static void apply_global(const struct packed_weight *packed, float *scales, size_t count)
{
    if (packed->kind == PACKED_SCALE_OVER_GLOBAL) {
        for (size_t i = 0; i < count; i++) {
            scales[i] /= packed->global;
        }
    } else if (packed->kind == PACKED_SCALE_BY_GLOBAL) {
        for (size_t i = 0; i < count; i++) {
            scales[i] *= packed->global;
        }
    }
}

/* Into scratch->scales: [rows, groups], or [groups, rows], or what follows each other from the
 * first row's first value on. */
static status read_scales(const struct tensor_table *table, const struct packed_weight *packed,
                          const struct rectangle *want, struct tensor_scratch *scratch)
{
    const int64_t first_value = want->first_row * packed->columns;
    const size_t flat =
        packed->is_flat
            ? (size_t)((first_value + (int64_t)want->rows * packed->columns - 1) / packed->group -
                       first_value / packed->group + 1)
            : 0;
    const size_t count = packed->is_flat ? flat : want->rows * (size_t)packed->groups;
    if (count > INT32_MAX) {
        return status_fail(STATUS_INVALID, "%s: tensor %s: too many scales",
                           tensor_path(table, &packed->scales), packed->scales.name);
    }
    GROW(scratch->scales, scratch->scales_capacity, count, &packed->scales);
    if (packed->is_flat) {
        TRY(read_run(table, packed, first_value / packed->group, count, scratch, scratch->scales));
    } else if (packed->scales_by_columns) {
        for (int64_t group = 0; group < packed->groups; group++) {
            TRY(read_run(table, packed, group * packed->rows + want->first_row, want->rows, scratch,
                         scratch->scales + (size_t)group * want->rows));
        }
    } else {
        TRY(read_run(table, packed, want->first_row * packed->groups, count, scratch,
                     scratch->scales));
    }
    apply_global(packed, scratch->scales, count);
    return check_finite(table, &packed->scales, scratch->scales, count);
}

/* ---- Groups ---- */

/* Into scratch->groups: the group of each wanted column. compressed-tensors writes -1 where columns
 * stand in order. */
static status read_groups(const struct tensor_table *table, const struct packed_weight *packed,
                          const struct rectangle *want, struct tensor_scratch *scratch)
{
    const struct tensor *order = &packed->order;
    GROW(scratch->groups, scratch->groups_capacity, want->columns, &packed->numbers.tensor);
    if (order->name != NULL) {
        TRY(stage(table, order, want->columns * sizeof(int32_t), 0, 1,
                  (size_t)want->first_column * sizeof(int32_t), want->columns * sizeof(int32_t),
                  scratch));
        memcpy(scratch->groups, scratch->raw, want->columns * sizeof(int32_t));
    }
    for (size_t i = 0; i < want->columns; i++) {
        if (order->name == NULL || scratch->groups[i] == -1) {
            scratch->groups[i] = (int32_t)((want->first_column + (int64_t)i) / packed->group);
        }
        if (scratch->groups[i] < 0 || scratch->groups[i] >= packed->groups) {
            return status_fail(STATUS_INVALID,
                               "%s: tensor %s: column %lld is of group %d, of %lld groups",
                               tensor_path(table, &packed->numbers.tensor),
                               order->name != NULL ? order->name : packed->numbers.tensor.name,
                               (long long)want->first_column + (long long)i, scratch->groups[i],
                               (long long)packed->groups);
        }
    }
    return STATUS_OK;
}

/* ---- Values ---- */

/* A row where every group has a scale and, it may be, a zero. */
static void expand_row(const struct packed_weight *packed, const struct rectangle *want, size_t row,
                       const struct tensor_scratch *scratch, float *out)
{
    const size_t groups = (size_t)packed->groups;
    const uint8_t *codes = scratch->codes + row * want->columns;
    const uint8_t *zeros = scratch->zero_codes == NULL ? NULL : scratch->zero_codes + row * groups;
    const int wrap = (1 << packed->numbers.bits) - 1;
    for (size_t i = 0; i < want->columns; i++) {
        const size_t group = (size_t)scratch->groups[i];
        const float scale = scratch->scales[packed->scales_by_columns ? group * want->rows + row
                                                                      : row * groups + group];
        if (packed->map != NULL) {
            out[i] = packed->map[codes[i]] * scale;
            continue;
        }
        const int zero =
            packed->zeros.tensor.name != NULL ? (zeros[group] + packed->zero) & wrap : packed->zero;
        out[i] = (float)(codes[i] - zero) * scale;
    }
}

/* A row of blocks that go through all rows. */
static void expand_flat_row(const struct packed_weight *packed, const struct rectangle *want,
                            size_t row, const struct tensor_scratch *scratch, float *out)
{
    const uint8_t *codes = scratch->codes + row * want->columns;
    const int64_t first_block = want->first_row * packed->columns / packed->group;
    const int64_t start = (want->first_row + (int64_t)row) * packed->columns + want->first_column;
    for (size_t i = 0; i < want->columns; i++) {
        out[i] = packed->map[codes[i]] *
                 scratch->scales[(start + (int64_t)i) / packed->group - first_block];
    }
}

status packed_read_rows(const struct tensor_table *table, const struct tensor_read *read,
                        struct tensor_scratch *scratch, struct weight_rows *out)
{
    const struct tensor *tensor = read->source.values;
    const struct packed_weight *packed = tensor->packed;
    if (read->first_row < 0 || read->row_count < 1 || read->first_column < 0 ||
        read->column_count < 1 || read->first_row + read->row_count > packed->rows ||
        (int64_t)read->first_column + read->column_count > packed->columns || read->as_it_is) {
        return status_fail(STATUS_INTERNAL, "%s: tensor %s: %d × %d values from %lld, %d",
                           tensor_path(table, tensor), tensor->name, read->row_count,
                           read->column_count, (long long)read->first_row, read->first_column);
    }
    const struct rectangle want = {read->first_row, read->first_column, (size_t)read->row_count,
                                   (size_t)read->column_count};
    const struct rectangle all_groups = {read->first_row, 0, want.rows, (size_t)packed->groups};
    const size_t count = want.rows * want.columns;
    GROW(scratch->codes, scratch->codes_capacity, count, tensor);
    GROW(scratch->expanded, scratch->expanded_capacity, count, tensor);
    TRY(read_scales(table, packed, &want, scratch));
    if (!packed->is_flat) {
        TRY(read_groups(table, packed, &want, scratch));
    }
    if (packed->zeros.tensor.name != NULL) {
        GROW(scratch->zero_codes, scratch->zero_codes_capacity, want.rows * all_groups.columns,
             tensor);
        TRY(read_numbers(table, &packed->zeros, &all_groups, scratch, scratch->zero_codes));
    }
    TRY(read_numbers(table, &packed->numbers, &want, scratch, scratch->codes));
    for (size_t row = 0; row < want.rows; row++) {
        (packed->is_flat ? expand_flat_row : expand_row)(packed, &want, row, scratch,
                                                         scratch->expanded + row * want.columns);
    }
    *out = (struct weight_rows){
        .data = scratch->expanded, .format = WEIGHT_FLOAT32, .stride = want.columns};
    return STATUS_OK;
}
