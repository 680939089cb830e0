/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary embedding and the append to the key/value cache: kv_cache.cu. Types are enum dtype's
 * values. */
#ifndef SLUICE_CUDA_KV_CACHE_H
#define SLUICE_CUDA_KV_CACHE_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KV_ANGLES = 256, KV_MAX_HEAD_DIM = 2048 };

/* cosine and sine [tokens][half], times the magnitude, of angles [first, first + count). */
struct kv_angles {
    int tokens, half, first, count;
    const int32_t *positions, *token_sequence; /* [T] */
    const uint8_t *long_rope;                  /* [S] or NULL: none uses the long frequencies */
    float magnitude, long_magnitude;
    float frequency[KV_ANGLES], long_frequency[KV_ANGLES]; /* of the angles, by value */
    float *cosine, *sine;
};
cudaError_t kv_angles_launch(cudaStream_t stream, const struct kv_angles *call);

/* qkv [T][(query_heads + 2 · kv_heads) · head_dim], in place: value = raw · row_scale ·
 * column_scale
 * + bias, then the norm of each head of q and k, then the rotation, rounded to dtype; keys and
 * values of the result, divided by their scales and rounded to kv_dtype, go to the cache. */
struct kv_append {
    int tokens, query_heads, kv_heads, head_dim;
    void *qkv;
    int dtype;
    const float *row_scale, *column_scale, *bias; /* or NULL */
    const float *q_norm, *k_norm;                 /* [head_dim] or NULL */
    float epsilon, weight_offset;
    int layer_norm; /* subtract the mean */
    int half;       /* half of the rotated dimensions; 0: none */
    const float *cosine, *sine;
    void *keys, *values; /* of the layer: [block][kv head][block_tokens][head_dim] */
    int kv_dtype, block_shift;
    float key_scale, value_scale;
    const int32_t *positions, *token_sequence, *block_table;
    int block_table_stride;
};
cudaError_t kv_append_launch(cudaStream_t stream, const struct kv_append *call);

#ifdef __cplusplus
}
#endif

#endif
