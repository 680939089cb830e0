/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor of weights with everything that belongs to it: found once, then read in rectangles.
 *
 * tensor_source.c is the one place that knows under which names and in which layouts a checkpoint
 * has what belongs to a weight. */
#ifndef SLUICE_TENSOR_SOURCE_H
#define SLUICE_TENSOR_SOURCE_H

#include "model/read/model_tensors.h"
#include "sluice/backend.h"
#include "sluice/model.h"

/* Numbers of which each belongs to a rectangle of a tensor: that of (row, column) is at [row /
 * block_rows][column / block_columns]. */
struct tensor_grid {
    const struct tensor *tensor; /* NULL: there is none */
    int64_t block_rows;
    int64_t block_columns; /* the group: values of a row that share a number */
    int64_t columns;       /* of the grid */
    float factor;          /* of scales: what a value is multiplied by after them */
};

/* value = (number − zero) · scale, where these are tensors beside the numbers. */
struct tensor_source {
    const struct tensor *values;
    /* Where the logical tensor is in the file's, seen as rows of its last dimension. */
    int64_t first_row; /* vectors: first value */
    int first_column;
    int row_step;      /* from one of its rows to the next, or value of a vector; 0 is 1 */
    bool is_turned;    /* its rows are the file's columns: the first has its first column at
                          (first_row, first_column), and its rows lie row_step columns apart */
    int rows, columns; /* what is beyond them is 0; 0: there is no end */
    struct tensor_grid scales, zeros;
    const struct tensor *input_scale; /* static scale of the product's input; NULL: none */
};

/* What belongs to `values`, by its format; first_row is 0. STATUS_INVALID where scales are missing
 * that the format needs, or do not fit its shape; nothing but shapes is looked at. */
status tensor_source_find(const struct tensor_table *table, const struct tensor *values,
                          struct tensor_source *out) MUST_CHECK;

/* Whether rows can be handed on with one scale each, as they are. */
bool tensor_source_is_by_rows(const struct tensor_source *source);

/* A rectangle of a source; rows and columns count from the logical tensor's first. */
struct tensor_read {
    struct tensor_source source;
    int64_t first_row;
    int row_count, first_column, column_count;
    bool as_it_is; /* not expanded, for a matrix of its format: tensor_source_is_by_rows */
};

/* Working memory for reads: grows on demand, reused. Zero-initialise before first use. */
struct tensor_scratch {
    uint8_t *raw;
    size_t raw_capacity;
    float *expanded;
    size_t expanded_capacity;
    uint8_t *moved; /* of sources that are no plain part of the file's rows */
    size_t moved_capacity;
    float *scales, *zeros, *row_scales;
    size_t scales_capacity, zeros_capacity, row_scales_capacity;
    uint8_t *codes, *zero_codes; /* of packed weights */
    int32_t *groups;
    size_t codes_capacity, zero_codes_capacity, groups_capacity;
};
void tensor_scratch_destroy(struct tensor_scratch *scratch);

/* Reads no more than is needed: whole rows, or the column range where that is far less, and the
 * scales and zeros of these rows. Quantised formats are expanded to float32 unless they are wanted
 * as they are. *out lives until the next read with the same scratch. */
status tensor_read_rows(const struct tensor_table *table, const struct tensor_read *read,
                        struct tensor_scratch *scratch, struct weight_rows *out) MUST_CHECK;

/* How many rows fit into a read of about `bytes` bytes of staging, at least 1. */
int tensor_rows_within(const struct tensor_source *source, size_t bytes);

/* One row of a source in float32: out[its columns]. */
status tensor_read_row(const struct tensor_table *table, const struct tensor_source *source,
                       int64_t row, struct tensor_scratch *scratch, float *out) MUST_CHECK;

/* Values [first, first + count) of a vector, as float32. */
status tensor_read_vector(const struct tensor_table *table, const struct tensor_source *source,
                          int first, int count, struct tensor_scratch *scratch,
                          float *out) MUST_CHECK;

/* `count` numbers from `first` of a tensor seen as one row, as float32: of vectors and scales, to
 * which nothing else belongs. */
status tensor_read_values(const struct tensor_table *table, const struct tensor *tensor,
                          int64_t first, int count, struct tensor_scratch *scratch,
                          float *out) MUST_CHECK;

#endif
