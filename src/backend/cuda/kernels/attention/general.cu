/* SPDX-License-Identifier: Apache-2.0 */
/* Attention for any head size and types, in float32: a block takes one token and query head over
 * all its keys, in tiles of 128 at fixed positions, a thread a key for the scores and a thread a
 * dimension for the sum of values. Keys and values are read once for each query head (mostly from
 * the L2 cache): meant for float32 models and unusual head sizes. Floor: 4 · head_dim operations a
 * query row and visible key, 2 · head_dim values of the cache. */
#include "backend/cuda/kernels/attention/attention.h"
#include "backend/cuda/kernels/numbers.cuh"

enum { GENERAL_THREADS = 128 };

/* q·k, added up in the order of the dimensions. */
template <typename KV>
__device__ __forceinline__ float dot(const float *query, const KV *key, int dim)
{
    constexpr int WIDE = 16 / (int)sizeof(KV);
    float sum = 0.0f;
    if (dim % WIDE == 0) {
        for (int d = 0; d < dim; d += WIDE) {
            union {
                uint4 word;
                KV value[WIDE];
            } wide;
            wide.word = *reinterpret_cast<const uint4 *>(key + d);
#pragma unroll
            for (int k = 0; k < WIDE; k++) {
                sum = __fmaf_rn(query[d + k], to_float(wide.value[k]), sum);
            }
        }
        return sum;
    }
    for (int d = 0; d < dim; d++) {
        sum = __fmaf_rn(query[d], to_float(key[d]), sum);
    }
    return sum;
}

/* Block (token, query head). Shared: query and sum [head_dim], weights and places [128]. */
template <typename T, typename KV>
__global__ void __launch_bounds__(GENERAL_THREADS)
    general_kernel(const __grid_constant__ attention_call call)
{
    extern __shared__ float memory[];
    __shared__ float weights[GENERAL_THREADS], shared[32];
    __shared__ size_t places[GENERAL_THREADS];
    const int token = (int)blockIdx.x, head = (int)blockIdx.y, thread = (int)threadIdx.x;
    const int dim = call.head_dim, kv = call.heads.kv_head[head];
    const int sequence = call.token_sequence[token];
    const int latest =
        call.bidirectional ? call.context_length[sequence] - 1 : call.positions[token];
    const int oldest = call.window > 0 && latest >= call.window ? latest - call.window + 1 : 0;
    const int32_t *table = call.block_table + (size_t)sequence * (size_t)call.block_table_stride;
    const KV *keys = static_cast<const KV *>(call.keys);
    const KV *values = static_cast<const KV *>(call.values);
    const T *q = static_cast<const T *>(call.q) + (size_t)token * (size_t)call.q_stride +
                 (size_t)head * (size_t)dim;
    float *query = memory, *sum = memory + dim;
    for (int d = thread; d < dim; d += GENERAL_THREADS) {
        query[d] = to_float(q[d]);
        sum[d] = 0.0f;
    }
    float largest = -INFINITY, total = 0.0f;
    for (int first = oldest / GENERAL_THREADS * GENERAL_THREADS; first <= latest;
         first += GENERAL_THREADS) {
        __syncthreads(); /* the query is there; weights and places are read */
        const int key = first + thread;
        const bool seen = key >= oldest && key <= latest;
        float score = -INFINITY;
        if (seen) {
            const size_t block = (size_t)table[key >> call.block_shift];
            const size_t within = (size_t)(key & ((1 << call.block_shift) - 1));
            const size_t place =
                (((block * (size_t)call.kv_heads + (size_t)kv) << call.block_shift) + within) *
                (size_t)dim;
            places[thread] = place;
            score = dot(query, keys + place, dim) * call.scale;
            if (call.soft_cap > 0.0f) {
                score = call.soft_cap * tanhf(score / call.soft_cap);
            }
        }
        const float most = fmaxf(largest, block_max(score, shared));
        const float weight = seen ? expf(score - most) : 0.0f;
        weights[thread] = weight;
        const float factor = expf(largest - most);
        total = __fmaf_rn(total, factor, block_sum(weight, shared)); /* a barrier: weights stand */
        largest = most;
        const int from = oldest > first ? oldest - first : 0;
        const int to = latest - first < GENERAL_THREADS - 1 ? latest - first : GENERAL_THREADS - 1;
        for (int d = thread; d < dim; d += GENERAL_THREADS) {
            float x = sum[d] * factor;
            for (int k = from; k <= to; k++) {
                x = __fmaf_rn(weights[k], to_float(values[places[k] + (size_t)d]), x);
            }
            sum[d] = x;
        }
    }
    if (call.sinks != nullptr) {
        total += expf(call.sinks[head] - largest); /* last, as in the other kernels */
    }
    T *out = static_cast<T *>(call.out) +
             ((size_t)token * (size_t)call.query_heads + (size_t)head) * (size_t)dim;
    for (int d = thread; d < dim; d += GENERAL_THREADS) {
        out[d] = from_float<T>(sum[d] / total * call.value_scale);
    }
}

template <typename T, typename KV>
static cudaError_t general(cudaStream_t stream, const attention_call &call)
{
    const size_t bytes = 2 * (size_t)call.head_dim * sizeof(float);
    const dim3 blocks((unsigned)call.tokens, (unsigned)call.query_heads);
    general_kernel<T, KV><<<blocks, GENERAL_THREADS, bytes, stream>>>(call);
    return cudaGetLastError();
}

template <typename T>
static cudaError_t general_cache(cudaStream_t stream, const attention_call &call)
{
    switch (call.kv_dtype) {
    case TYPE_FLOAT32:
        return general<T, float>(stream, call);
    case TYPE_BFLOAT16:
        return general<T, __nv_bfloat16>(stream, call);
    case TYPE_FLOAT16:
        return general<T, __half>(stream, call);
    case TYPE_FLOAT8:
        return general<T, __nv_fp8_e4m3>(stream, call);
    default:
        return cudaErrorInvalidValue;
    }
}

cudaError_t attention_general_launch(cudaStream_t stream, const attention_call *call)
{
    switch (call->dtype) {
    case TYPE_FLOAT32:
        return general_cache<float>(stream, *call);
    case TYPE_BFLOAT16:
        return general_cache<__nv_bfloat16>(stream, *call);
    case TYPE_FLOAT16:
        return general_cache<__half>(stream, *call);
    default:
        return cudaErrorInvalidValue;
    }
}
