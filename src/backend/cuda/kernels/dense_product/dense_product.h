/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products of our own on compute capability 9.0: launch.cu, whose head has the
 * arithmetic. Types are enum dtype's values of sluice/backend.h. */
#ifndef SLUICE_CUDA_DENSE_PRODUCT_H
#define SLUICE_CUDA_DENSE_PRODUCT_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DENSE_MAX_SLICES = 8, DENSE_BY_COST = -1 };

/* out[r][c] = Σ over slices s, as a pairwise tree, of
 *     in_scale[s][r] · weight_scale[s][c] · Σ_k in[s][r][k] · weights[s][c][k],  + bias[c]
 * with `width` values of k a slice. With several slices the inner sums are rounded to bfloat16, as
 * ranks send them. Without scales they count as 1.
 *
 * Device pointers: in, weights and out to 16 bytes, scales and bias too, row and slice strides
 * multiples of 16 bytes, columns a multiple of 8; rows, columns and width are at least 1. A slice's
 * values end where they end: what lies behind them is not read. */
struct dense_product {
    int dtype; /* of both operands: bfloat16 or fp8 */
    int rows, columns, width;
    int slices; /* 1, 2, 4 or 8 */

    const void *in; /* [slices][rows][width] */
    size_t in_row_bytes, in_slice_bytes;
    const void *weights; /* [slices][columns][width] */
    size_t weight_row_bytes, weight_slice_bytes;

    const float *in_scale; /* [slices][in_scale_stride], NULL together with weight_scale */
    int in_scale_stride;
    const float *weight_scale; /* [slices][columns] */
    const float *bias;         /* [columns] or NULL */

    void *out;     /* [rows][columns] of out_dtype */
    int out_dtype; /* bfloat16 or float32 */
    int adds;      /* float32: out += multiplier · the sum, rounded once */
    float multiplier;

    int multiprocessors; /* that it may use; 0: all */
    int starts_early; /* where the stream's work before it leaves room; it waits for its end before
                         it reads anything but weights, or writes */
    int variant;      /* of the kernel, or DENSE_BY_COST; bits are the same */
};

/* cudaErrorNotSupported where the device is not of compute capability 9.0 or the build has no
 * kernels for it; cudaErrorInvalidValue where a shape, type or alignment above is violated, or the
 * variant does not know the slices. */
cudaError_t dense_product_launch(cudaStream_t stream, const struct dense_product *call);

/* Variants are numbered from 0; what one is, for people, and whether it takes so many slices. */
int dense_product_variants(void);
int dense_product_takes(int variant, int slices);
void dense_product_describe(int variant, char *text, size_t bytes);
/* Cycles that it would take, roughly; INFINITY where it cannot. */
double dense_product_cost(const struct dense_product *call, int variant, int multiprocessors);
/* The variant that costs least, -1 where none can. */
int dense_product_choose(const struct dense_product *call, int multiprocessors);

#ifdef __cplusplus
}
#endif

#endif
