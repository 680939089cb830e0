/* SPDX-License-Identifier: Apache-2.0 */
/* Norms over all heads of a token, over groups of its values, gates, and queries scaled by their
 * position. Floor of each: the rows, read and written once.
 *
 * Bits: squares are added in an order that a head's size, or a group's part in a slice, alone
 * decides, then as the pairwise tree over slices, which ranks go on with. */
#include "backend/cuda/kernels/states/heads.h"
#include "backend/cuda/kernels/states/states.cuh"

enum {
    SUM_THREADS = 128,
    SUM_WARPS = SUM_THREADS / 32,
    EACH_THREADS = 256,
};

/* ((0 + 1) + (2 + 3)) + …, in place; `count` is a power of two. */
__device__ __forceinline__ float tree_sum(float (&parts)[HEADS_MAX_SLICES], int count)
{
#pragma unroll
    for (int step = 1; step < HEADS_MAX_SLICES; step *= 2) {
#pragma unroll
        for (int i = 0; i + step < HEADS_MAX_SLICES; i += 2 * step) {
            if (i + step < count) {
                parts[i] = __fadd_rn(parts[i], parts[i + step]);
            }
        }
    }
    return parts[0];
}

template <typename T>
__device__ __forceinline__ float head_squares(const T *values, int count, int lane)
{
    float sum = 0.0f;
    for (int i = lane; i < count; i += 32) {
        const float x = to_float(values[i]);
        sum = __fmaf_rn(x, x, sum);
    }
    for (int distance = 16; distance > 0; distance >>= 1) {
        sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, distance));
    }
    return sum;
}

/* A block a token, its warps a head in turn; then a thread for q and one for k. */
template <typename T>
__global__ void __launch_bounds__(SUM_THREADS)
    squares_kernel(const __grid_constant__ heads_squares call)
{
    __shared__ float of_head[2][HEADS_MOST];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, dim = call.head_dim;
    const size_t width = (size_t)(call.query_heads + 2 * call.kv_heads) * (size_t)dim;
    const T *row = static_cast<const T *>(call.qkv) + (size_t)blockIdx.x * width;
    for (int head = warp; head < call.query_heads; head += SUM_WARPS) {
        const int kv = call.counted[head];
        const float q = head_squares(row + (size_t)head * (size_t)dim, dim, lane);
        const T *key = row + (size_t)(call.query_heads + (kv < 0 ? 0 : kv)) * (size_t)dim;
        const float k = kv < 0 ? 0.0f : head_squares(key, dim, lane);
        if (lane == 0) {
            of_head[0][head] = q;
            of_head[1][head] = k;
        }
    }
    __syncthreads();
    if (threadIdx.x >= 2) {
        return;
    }
    float parts[HEADS_MAX_SLICES];
#pragma unroll
    for (int slice = 0; slice < HEADS_MAX_SLICES; slice++) {
        parts[slice] = 0.0f;
        if (slice < call.slices) {
            for (int head = call.slice_head[slice]; head < call.slice_head[slice + 1]; head++) {
                parts[slice] = __fadd_rn(parts[slice], of_head[threadIdx.x][head]);
            }
        }
    }
    call.sums[2 * (size_t)blockIdx.x + threadIdx.x] = tree_sum(parts, call.slices);
}

cudaError_t heads_squares_launch(cudaStream_t stream, const heads_squares *call)
{
    return with_number(call->dtype, [&](auto number) {
        squares_kernel<decltype(number)><<<(unsigned)call->tokens, SUM_THREADS, 0, stream>>>(*call);
    });
}

/* ---- A value a thread ---- */

static dim3 grid_each(int tokens, int width)
{
    return dim3((unsigned)tokens, (unsigned)(width + EACH_THREADS - 1) / EACH_THREADS);
}

__device__ __forceinline__ int column_of_thread()
{
    return (int)blockIdx.y * EACH_THREADS + (int)threadIdx.x;
}

__device__ __forceinline__ float norm_factor(float sum, float count, float epsilon)
{
    return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(sum, count), epsilon)));
}

template <typename T>
__global__ void __launch_bounds__(EACH_THREADS)
    normalize_kernel(const __grid_constant__ heads_normalize call)
{
    const int i = column_of_thread();
    const bool is_k = i >= call.q_width;
    if (i >= call.q_width + call.k_width) {
        return;
    }
    const float sum = call.sums[2 * (size_t)blockIdx.x + (is_k ? 1 : 0)];
    const float factor = norm_factor(sum, is_k ? call.k_count : call.q_count, call.epsilon);
    const float weight = is_k ? call.k_weight[i - call.q_width] : call.q_weight[i];
    T *at = static_cast<T *>(call.qkv) + (size_t)blockIdx.x * (size_t)call.stride + (size_t)i;
    *at = from_float<T>(
        __fmul_rn(__fmul_rn(to_float(*at), factor), __fadd_rn(weight, call.weight_offset)));
}

cudaError_t heads_normalize_launch(cudaStream_t stream, const heads_normalize *call)
{
    const dim3 grid = grid_each(call->tokens, call->q_width + call->k_width);
    return grid.y == 0 ? cudaSuccess : with_number(call->dtype, [&](auto number) {
        normalize_kernel<decltype(number)><<<grid, EACH_THREADS, 0, stream>>>(*call);
    });
}

template <typename T>
__global__ void __launch_bounds__(EACH_THREADS)
    scale_kernel(const __grid_constant__ heads_scale call)
{
    const int i = column_of_thread();
    if (i >= call.width) {
        return;
    }
    const int times = call.positions[blockIdx.x] / call.length;
    const float scale = __fadd_rn(1.0f, __fmul_rn(call.beta, (float)log((double)(1 + times))));
    T *at = static_cast<T *>(call.qkv) + (size_t)blockIdx.x * (size_t)call.stride + (size_t)i;
    *at = from_float<T>(__fmul_rn(to_float(*at), scale));
}

cudaError_t heads_scale_launch(cudaStream_t stream, const heads_scale *call)
{
    const dim3 grid = grid_each(call->tokens, call->width);
    return grid.y == 0 ? cudaSuccess : with_number(call->dtype, [&](auto number) {
        scale_kernel<decltype(number)><<<grid, EACH_THREADS, 0, stream>>>(*call);
    });
}

template <typename T>
__global__ void __launch_bounds__(EACH_THREADS) gate_kernel(const __grid_constant__ heads_gate call)
{
    const int i = column_of_thread();
    if (i >= call.width) {
        return;
    }
    const size_t at = (size_t)blockIdx.x * (size_t)call.width + (size_t)i;
    T *value = static_cast<T *>(call.values) + at;
    const float gate = to_float(static_cast<const T *>(call.gates)[at]);
    *value = from_float<T>(__fdiv_rn(to_float(*value), __fadd_rn(1.0f, expf(-gate))));
}

cudaError_t heads_gate_launch(cudaStream_t stream, const heads_gate *call)
{
    const dim3 grid = grid_each(call->tokens, call->width);
    return grid.y == 0 ? cudaSuccess : with_number(call->dtype, [&](auto number) {
        gate_kernel<decltype(number)><<<grid, EACH_THREADS, 0, stream>>>(*call);
    });
}

/* ---- Groups ---- */

/* Block (token, group), over the group's part of each slice in turn. */
template <typename T>
__global__ void __launch_bounds__(SUM_THREADS)
    group_squares_kernel(const __grid_constant__ heads_groups call)
{
    __shared__ float shared[32];
    const int group = (int)blockIdx.y, from = group * call.group_width - call.first;
    const T *row = static_cast<const T *>(call.values) + (size_t)blockIdx.x * (size_t)call.width;
    float parts[HEADS_MAX_SLICES];
#pragma unroll
    for (int slice = 0; slice < HEADS_MAX_SLICES; slice++) {
        parts[slice] = 0.0f;
        if (slice < call.slices) {
            const int begin = max(call.slice_start[slice], from);
            const int end = min(call.slice_start[slice + 1], from + call.group_width);
            float sum = 0.0f;
            for (int i = begin + (int)threadIdx.x; i < end; i += SUM_THREADS) {
                const float x = to_float(row[i]);
                sum = __fmaf_rn(x, x, sum);
            }
            parts[slice] = block_sum(sum, shared);
        }
    }
    if (threadIdx.x == 0) {
        call.sums[(size_t)blockIdx.x * (size_t)call.groups + (size_t)group] =
            tree_sum(parts, call.slices);
    }
}

cudaError_t heads_group_squares_launch(cudaStream_t stream, const heads_groups *call)
{
    const dim3 grid((unsigned)call->tokens, (unsigned)call->groups);
    return grid.y == 0 ? cudaSuccess : with_number(call->dtype, [&](auto number) {
        group_squares_kernel<decltype(number)><<<grid, SUM_THREADS, 0, stream>>>(*call);
    });
}

template <typename T>
__global__ void __launch_bounds__(EACH_THREADS)
    group_normalize_kernel(const __grid_constant__ heads_groups call)
{
    const int i = column_of_thread();
    if (i >= call.width) {
        return;
    }
    const size_t group = (size_t)((call.first + i) / call.group_width);
    const float sum = call.sums[(size_t)blockIdx.x * (size_t)call.groups + group];
    const float factor = norm_factor(sum, (float)call.group_width, call.epsilon);
    T *at = static_cast<T *>(call.values) + (size_t)blockIdx.x * (size_t)call.width + (size_t)i;
    float value = __fmul_rn(__fmul_rn(to_float(*at), factor), call.weight[i]);
    if (call.gates != nullptr) {
        const T *gates = static_cast<const T *>(call.gates);
        value = __fmul_rn(silu(to_float(gates[(size_t)blockIdx.x * call.gate_stride + (size_t)i])),
                          value);
    }
    *at = from_float<T>(value);
}

cudaError_t heads_group_normalize_launch(cudaStream_t stream, const heads_groups *call)
{
    const dim3 grid = grid_each(call->tokens, call->width);
    return grid.y == 0 ? cudaSuccess : with_number(call->dtype, [&](auto number) {
        group_normalize_kernel<decltype(number)><<<grid, EACH_THREADS, 0, stream>>>(*call);
    });
}
