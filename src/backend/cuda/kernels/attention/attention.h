/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a step over the paged key/value cache. Which kernel computes what, and the
 * arithmetic that they share, stand at the head of tile.cuh. Types are enum dtype's
 * values. */
#ifndef SLUICE_CUDA_ATTENTION_H
#define SLUICE_CUDA_ATTENTION_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ATTENTION_SPLIT = 1024, /* positions of a split; splits lie at multiples of it */
    ATTENTION_SHORT = 16,   /* sequences with at most so many tokens in the step are taken split by
                               split, others row by row over all their splits */
    ATTENTION_GROUP_BLOCK = 64,
    ATTENTION_MAX_HEADS = 256
};

/* One split of a short sequence. */
struct attention_item {
    int32_t sequence, split;
    int32_t first_token, query; /* its tokens in the step */
    int32_t context;
    int32_t
        slot; /* partial results of its tokens: slots [slot, slot + query); -1: the only split */
    int32_t unused[2];
};

/* A longer sequence. */
struct attention_chunk {
    int32_t sequence;
    int32_t first_token, query;
    int32_t context;
    int32_t tokens_before; /* of the chunks before this one */
    int32_t unused[3];
};

/* A token of a short sequence with several splits: split i lies in slot + i · stride. */
struct attention_join {
    int32_t token, position, slot, stride;
};

/* Query heads sorted by the key/value head that they read: kv head k has head[start[k]] to
 * head[start[k + 1] - 1]. */
struct attention_heads {
    uint16_t start[ATTENTION_MAX_HEADS + 1];
    uint16_t head[ATTENTION_MAX_HEADS];
    uint16_t kv_head[ATTENTION_MAX_HEADS]; /* of each query head */
};

struct attention_call {
    struct attention_heads heads;
    int query_heads, kv_heads, head_dim;
    int largest_group; /* query heads of a key/value head, at most */
    int dtype;         /* of q and out */

    const void *q; /* [T][q_stride], the query heads first */
    int q_stride;  /* elements */
    void *out;     /* [T][query_heads · head_dim] */

    const void *keys, *values; /* of the layer: [block][kv head][block_tokens][head_dim] */
    int kv_dtype, block_shift; /* block_tokens = 1 << block_shift */
    const int32_t *block_table;
    int block_table_stride;

    /* A weight is 2^(exponent_scale · x), x = q·k, or cap_out · tanh(y) where cap_out > 0, with
     * e^(2y) = 2^(cap_in · q·k); k as the cache holds it. */
    float exponent_scale, cap_in, cap_out;
    float scale, soft_cap; /* as in struct attention_facts, for k as the cache holds it */
    float value_scale;     /* of the cache's values */
    int window;            /* 0 where it is bidirectional */
    int bidirectional;     /* tokens see the whole context; then each sequence's is in the step */
    const float *sinks;    /* [query_heads] or NULL: in a sum of weights, behind all positions */

    const struct attention_item *items;
    const struct attention_chunk *chunks;
    const struct attention_join *joins;
    int item_count, chunk_count, join_count;
    int longest_short; /* tokens of an item, at most */
    int chunk_tokens;  /* of all chunks */

    float *partials;      /* [slots][query_heads][head_dim]: not divided by the sum of weights */
    float2 *partial_sums; /* [slots][query_heads]: the largest q·k, the sum of weights */
    float *totals;        /* of chunk_blocks blocks; NULL where no chunk has several splits */
    int chunk_blocks;     /* blocks that take chunks in turn */
    int by_warpgroups;    /* chunks go to warpgroups: compute capability 9.0, compiled for as such,
                             and blocks of at most ATTENTION_GROUP_BLOCK positions */

    int tokens; /* attention_general alone: */
    const int32_t *positions, *token_sequence, *context_length;
};

/* Whether the tensor-core kernels know the head size and types; the activation is bfloat16 or
 * float16, the cache in the same type or fp8. */
int attention_tensor_knows(int head_dim, int dtype, int kv_dtype);
/* Floats of `totals` for a block. */
size_t attention_total_floats(int head_dim);
/* Items, chunks and joins of a call that attention_tensor_knows. */
cudaError_t attention_bfloat16_launch(cudaStream_t stream, const struct attention_call *call);
cudaError_t attention_float16_launch(cudaStream_t stream, const struct attention_call *call);
cudaError_t attention_float8_launch(cudaStream_t stream, const struct attention_call *call);
cudaError_t attention_join_launch(cudaStream_t stream, const struct attention_call *call);

/* Any head size and types, token by token: general.cu. */
cudaError_t attention_general_launch(cudaStream_t stream, const struct attention_call *call);

#ifdef __cplusplus
}
#endif

#endif
