/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels on a token's heads together, and on groups of its values: heads.cu. Types are enum
 * dtype's values of sluice/backend.h, without fp8. Rows are plain. */
#ifndef SLUICE_CUDA_HEADS_H
#define SLUICE_CUDA_HEADS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HEADS_MOST = 256, HEADS_MAX_SLICES = 8 };

/* sums[T][2]: squares of q and of k, added head by head in a slice, then as the pairwise tree over
 * slices. */
struct heads_squares {
    int tokens, query_heads, kv_heads, head_dim, slices;
    const void *qkv; /* [T][(query_heads + 2 · kv_heads) · head_dim] of dtype */
    int dtype;
    float *sums;
    int16_t slice_head[HEADS_MAX_SLICES + 1]; /* first query head of each slice */
    int16_t counted[HEADS_MOST]; /* key/value head that counts beside a query head; -1: none */
};
cudaError_t heads_squares_launch(cudaStream_t stream, const struct heads_squares *call);

/* q and k, in place: · 1 / sqrt(sum / count + epsilon) · (weight + weight_offset). */
struct heads_normalize {
    int tokens, q_width, k_width, stride; /* of a row, in values */
    float q_count, k_count;               /* of values on all ranks */
    float epsilon, weight_offset;
    const float *q_weight, *k_weight, *sums; /* sums: [T][2] */
    void *qkv;
    int dtype;
};
cudaError_t heads_normalize_launch(cudaStream_t stream, const struct heads_normalize *call);

/* The first `width` values of each row, in place: · (1 + beta · log(1 + position / length)). */
struct heads_scale {
    int tokens, width, stride, length;
    float beta;
    const int32_t *positions;
    void *qkv;
    int dtype;
};
cudaError_t heads_scale_launch(cudaStream_t stream, const struct heads_scale *call);

/* values[T][width] *= sigmoid(gates[T][width]). */
struct heads_gate {
    int tokens, width;
    const void *gates;
    void *values;
    int dtype;
};
cudaError_t heads_gate_launch(cudaStream_t stream, const struct heads_gate *call);

/* A row's values `first` to first + width - 1 of groups of group_width values. sums[T][groups]: of
 * squares in a slice and group, then as the pairwise tree over slices. */
struct heads_groups {
    int tokens, groups, group_width, first, width, slices;
    int32_t slice_start[HEADS_MAX_SLICES + 1];
    void *values; /* [T][width] of dtype */
    int dtype;
    float *sums;
    /* of normalize: values · 1 / sqrt(sum / group_width + epsilon) · weight [width], · SiLU(gates
     * [T][gate_stride]) where these are given */
    const float *weight;
    const void *gates;
    size_t gate_stride;
    float epsilon;
};
cudaError_t heads_group_squares_launch(cudaStream_t stream, const struct heads_groups *call);
cudaError_t heads_group_normalize_launch(cudaStream_t stream, const struct heads_groups *call);

#ifdef __cplusplus
}
#endif

#endif
