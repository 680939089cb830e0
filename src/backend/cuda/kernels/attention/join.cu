/* SPDX-License-Identifier: Apache-2.0 */
/* Joins the partial results of a short sequence's splits in ascending order, for every token and
 * query head: the arithmetic of join_split in tensor.cuh. Floor: (head_dim + 2) · 4 bytes
 * a split, read once. Also what the tensor-core kernels know. */
#include "backend/cuda/kernels/attention/tile.cuh"

enum { JOIN_WARPS = 4, JOIN_MOST = 256 / 32 };

/* A warp for each (token, query head); a lane has the dimensions lane, lane + 32, … */
__global__ void __launch_bounds__(32 * JOIN_WARPS)
    join_kernel(const __grid_constant__ attention_call call)
{
    const int head = (int)blockIdx.y * JOIN_WARPS + (int)threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32, dim = call.head_dim;
    if (head >= call.query_heads) {
        return;
    }
    const attention_join join = call.joins[blockIdx.x];
    const int oldest =
        call.window > 0 && join.position >= call.window ? join.position - call.window + 1 : 0;
    const int first = oldest / ATTENTION_SPLIT, last = join.position / ATTENTION_SPLIT;

    float value[JOIN_MOST] = {0.0f}, total = 0.0f, largest = -INFINITY;
#pragma unroll 2
    for (int split = first; split <= last; split++) {
        const size_t at =
            (size_t)(join.slot + split * join.stride) * (size_t)call.query_heads + (size_t)head;
        const float2 next = call.partial_sums[at];
        float keep, add;
        join_weights(&largest, next.x, call.exponent_scale, &keep, &add);
        total = join_value(total, keep, next.y, add);
#pragma unroll
        for (int i = 0; i < JOIN_MOST; i++) {
            if (i * 32 + lane < dim) {
                value[i] = join_value(
                    value[i], keep, call.partials[at * (size_t)dim + (size_t)(i * 32 + lane)], add);
            }
        }
    }
    total = add_sink(call, head, largest, total);
    const float inverse = __fmul_rn(__frcp_rn(total), call.value_scale);
    const size_t to = ((size_t)join.token * (size_t)call.query_heads + (size_t)head) * (size_t)dim;
#pragma unroll
    for (int i = 0; i < JOIN_MOST; i++) {
        if (i * 32 + lane < dim) {
            const float result = finish_value(value[i], inverse);
            const size_t at = to + (size_t)(i * 32 + lane);
            if (call.dtype == TYPE_BFLOAT16) {
                static_cast<__nv_bfloat16 *>(call.out)[at] = from_float<__nv_bfloat16>(result);
            } else {
                static_cast<__half *>(call.out)[at] = from_float<__half>(result);
            }
        }
    }
}

cudaError_t attention_join_launch(cudaStream_t stream, const attention_call *call)
{
    if (call->join_count == 0) {
        return cudaSuccess;
    }
    const unsigned heads = (unsigned)(call->query_heads + JOIN_WARPS - 1) / JOIN_WARPS;
    join_kernel<<<dim3((unsigned)call->join_count, heads), 32 * JOIN_WARPS, 0, stream>>>(*call);
    return cudaGetLastError();
}

size_t attention_total_floats(int head_dim)
{
    const int row_tiles = head_dim > 128 ? 1 : 2; /* chunk_shape's MT and TOTALS */
    return (size_t)(row_tiles * (head_dim / 8 + 1)) * 4 * 128;
}

int attention_tensor_knows(int head_dim, int dtype, int kv_dtype)
{
    return (head_dim == 32 || head_dim == 64 || head_dim == 80 || head_dim == 96 ||
            head_dim == 128 || head_dim == 256) &&
           (dtype == TYPE_BFLOAT16 || dtype == TYPE_FLOAT16) &&
           (kv_dtype == dtype || kv_dtype == TYPE_FLOAT8);
}
