/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels on each row alone: rows.cu, rows_norm.cu, rows_weights.cu. Types are enum dtype's values
 * of sluice/backend.h, without fp8. */
#ifndef SLUICE_CUDA_ROWS_H
#define SLUICE_CUDA_ROWS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ROWS_MAX_SLICES = 8 };

/* Where rows of `width` values go: plain [rows][width] in `dtype`, which is that of the rows read,
 * or, where `packed` is set, as struct cuda_packed says. */
struct rows_target {
    void *plain;
    int dtype;
    void *packed;
    float *scale;
    int slices, padded, scale_stride;
    int32_t slice_start[ROWS_MAX_SLICES + 1];
    float static_scale;            /* 0: from each row's and slice's largest magnitude */
    const float *row_static_scale; /* [rows], the same of each row; NULL: static_scale */
};

/* Scales and bias of a raw product; see struct cuda_pending. */
struct rows_pending {
    const float *row_scale, *column_scale, *bias;
};

/* residual[T][hidden] = scale · table[row id - first_row], 0 where the table has no such row; added
 * to what is there instead where `is_added`. */
struct rows_embed {
    const void *table; /* [rows][hidden] of dtype */
    int dtype, first_row, rows, hidden, tokens;
    float scale;
    int is_added;
    const int32_t *row_ids; /* [T] token ids, or positions */
    /* With a step for types: row id · position_step + type · type_step in place of the row id. */
    int position_step, type_step; /* the latter 0: row ids as they are */
    const uint8_t *types;         /* [T] or NULL: all are 0 */
    float *residual;
};
cudaError_t rows_embed_launch(cudaStream_t stream, const struct rows_embed *call);

/* residual += multiplier · f(tree over partials + bias), then target = norm(residual). */
struct rows_norm {
    int tokens, hidden;
    float epsilon, weight_offset;
    int layer_norm, in_place; /* in_place: the residual becomes the norm, too */
    float *residual;          /* [T][hidden] */

    /* What is added before; parts 0: nothing. Part p of rank r is at partials + r · rank_bytes,
     * [slices][T][hidden] of partial_dtype; `scaled`: column scales [slices][hidden] and row scales
     * [slices][row_scale_stride], of rank r r · rank_bytes behind those of the first. */
    int ranks, slices;
    const void *partials;
    size_t rank_bytes;
    int partial_dtype, scaled;
    const float *column_scale, *row_scale;
    int row_scale_stride;
    const float *bias;        /* [hidden] or NULL */
    const float *post_weight; /* or NULL */
    float multiplier;

    const float *weight, *norm_bias; /* weight NULL: the row itself */
    int write;                       /* whether there is a target */
    struct rows_target target;
};
cudaError_t rows_norm_launch(cudaStream_t stream, const struct rows_norm *call);

/* target[T][width] = activation(gate) · up. */
struct rows_activate {
    int activation, gated; /* enum activation */
    int tokens, width;
    const void *in; /* [T][width, twice where gated] of dtype */
    int dtype;
    struct rows_pending pending;
    struct rows_target target;
};
cudaError_t rows_activate_launch(cudaStream_t stream, const struct rows_activate *call);

/* values [T][width], in place: what a raw product stands for. */
struct rows_settle {
    int tokens, width;
    void *values;
    int dtype;
    struct rows_pending pending;
};
cudaError_t rows_settle_launch(cudaStream_t stream, const struct rows_settle *call);

/* target = rows of `in` [rows][width]; row i is in[pick[i]] where pick is not NULL. */
struct rows_copy {
    int rows, width;
    const void *in;
    int dtype;
    const int32_t *pick;
    struct rows_target target;
};
cudaError_t rows_copy_launch(cudaStream_t stream, const struct rows_copy *call);

/* logits = cap(scale · logits), in place: soft_cap · tanh(x / soft_cap) where soft_cap > 0. */
cudaError_t rows_scale_cap_launch(cudaStream_t stream, float *logits, int rows, int width,
                                  float scale, float soft_cap);

/* Weights as they come from a file, [rows][columns] of source dtype (fp8 too: enum dtype), to their
 * place in a matrix: plain in `dtype`, or fp8 in parts. `row_scale` (or NULL) multiplies a row. fp8
 * from fp8 keeps the data and takes row_scale as the scale. */
struct rows_weights {
    const void *from;
    int source;
    size_t source_stride; /* elements */
    int rows, columns, first_row, matrix_rows;
    void *to; /* of the product */
    int dtype;
    int parts, padded; /* fp8 */
    int32_t slice_start[ROWS_MAX_SLICES + 1];
    float *scale; /* fp8: [parts][matrix_rows] */
    const float *row_scale;
};
cudaError_t rows_weights_launch(cudaStream_t stream, const struct rows_weights *call);

/* to[i] = the fp8 number from[i]. */
cudaError_t rows_widen_launch(cudaStream_t stream, const void *from, size_t count, float *to);

/* Values for trials of products: row i of [rows][columns] depends on min(i, rows - 1 - i) modulo
 * `period` alone, so that its first and last rows are the same ones for any `rows`. dtype may be
 * fp8. */
cudaError_t rows_probe_launch(cudaStream_t stream, void *to, int rows, int columns, int dtype,
                              int period);
/* hash[i] = a hash of the bits of row i. */
cudaError_t rows_hash_launch(cudaStream_t stream, const void *from, int rows, size_t row_bytes,
                             uint64_t *hash);

#ifdef __cplusplus
}
#endif

#endif
