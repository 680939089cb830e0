/* SPDX-License-Identifier: Apache-2.0 */
/* Scales and bias of the raw product, norms of heads, rotary embedding (Su et al., arXiv
 * 2104.09864, halves rotated against each other) and the append to the paged cache, in one pass.
 *
 * Bound by memory: the floor is a row of qkv read and its q and k written once (v too where it
 * changes), and k and v written to the cache. A head is a few lanes, 8 values each (append_kernel),
 * or a warp (append_general_kernel: any head size and type); its sums run in an order that head_dim
 * alone decides. */
#include "backend/cuda/kernels/kv_cache.h"
#include "backend/cuda/kernels/numbers.cuh"

/* ---- Angles ---- */

/* The angle is rounded to float32 as the models' own code does, its cosine is not approximated
 * further. */
__global__ void angles_kernel(const __grid_constant__ kv_angles call)
{
    const int index = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (index >= call.tokens * call.count) {
        return;
    }
    const int token = index / call.count, i = index % call.count;
    const bool is_long =
        call.long_rope != nullptr && call.long_rope[call.token_sequence[token]] != 0;
    const float frequency = is_long ? call.long_frequency[i] : call.frequency[i];
    const float magnitude = is_long ? call.long_magnitude : call.magnitude;
    double s, c;
    sincos((double)__fmul_rn((float)call.positions[token], frequency), &s, &c);
    const size_t at = (size_t)token * (size_t)call.half + (size_t)(call.first + i);
    call.cosine[at] = (float)c * magnitude;
    call.sine[at] = (float)s * magnitude;
}

cudaError_t kv_angles_launch(cudaStream_t stream, const kv_angles *call)
{
    const unsigned angles = (unsigned)call->tokens * (unsigned)call->count;
    if (angles == 0) {
        return cudaSuccess;
    }
    angles_kernel<<<(angles + 127) / 128, 128, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- The cache ---- */

/* Element index of a token's key (or value) of one head. */
__device__ __forceinline__ size_t find_place(const kv_append &call, int token, int kv)
{
    const int position = call.positions[token];
    const int block =
        call.block_table[(size_t)call.token_sequence[token] * (size_t)call.block_table_stride +
                         (size_t)(position >> call.block_shift)];
    const size_t head = (size_t)block * (size_t)call.kv_heads + (size_t)kv;
    const int within = position & ((1 << call.block_shift) - 1);
    return ((head << call.block_shift) + (size_t)within) * (size_t)call.head_dim;
}

__device__ __forceinline__ void store_cached(void *to, int dtype, size_t at, float value)
{
    if (dtype == TYPE_FLOAT32) {
        static_cast<float *>(to)[at] = value;
    } else if (dtype == TYPE_BFLOAT16) {
        static_cast<__nv_bfloat16 *>(to)[at] = from_float<__nv_bfloat16>(value);
    } else if (dtype == TYPE_FLOAT16) {
        static_cast<__half *>(to)[at] = from_float<__half>(value);
    } else {
        static_cast<__nv_fp8_e4m3 *>(to)[at] = from_float<__nv_fp8_e4m3>(value);
    }
}

template <typename T, typename Word>
__device__ __forceinline__ void store_word(void *to, size_t at, const float (&values)[8])
{
    union {
        Word word;
        T value[8];
    } eight;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        eight.value[k] = from_float<T>(values[k]);
    }
    *reinterpret_cast<Word *>(static_cast<T *>(to) + at) = eight.word;
}

__device__ __forceinline__ void store_eight(void *to, int dtype, size_t at,
                                            const float (&values)[8])
{
    if (dtype == TYPE_BFLOAT16) {
        store_word<__nv_bfloat16, uint4>(to, at, values);
    } else if (dtype == TYPE_FLOAT16) {
        store_word<__half, uint4>(to, at, values);
    } else if (dtype == TYPE_FLOAT8) {
        store_word<__nv_fp8_e4m3, uint2>(to, at, values);
    } else {
        float4 *four = reinterpret_cast<float4 *>(static_cast<float *>(to) + at);
        four[0] = make_float4(values[0], values[1], values[2], values[3]);
        four[1] = make_float4(values[4], values[5], values[6], values[7]);
    }
}

/* ---- Eight values a lane ---- */

enum { APPEND_THREADS = 256 };

__device__ __forceinline__ void load_eight(const float *from, float (&values)[8])
{
    const float4 a = reinterpret_cast<const float4 *>(from)[0];
    const float4 b = reinterpret_cast<const float4 *>(from)[1];
    values[0] = a.x, values[1] = a.y, values[2] = a.z, values[3] = a.w;
    values[4] = b.x, values[5] = b.y, values[6] = b.z, values[7] = b.w;
}

/* The sum over a head's lanes, the same on each. */
__device__ __forceinline__ float sum_lanes(float x, int lanes)
{
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    return x;
}

__device__ __forceinline__ void norm_eight(const kv_append &call, const float *weight, int first,
                                           bool active, int lanes, float (&values)[8])
{
    float sum = 0.0f, mean = 0.0f;
    if (call.layer_norm) {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            sum += values[k];
        }
        mean = sum_lanes(active ? sum : 0.0f, lanes) / (float)call.head_dim;
    }
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        values[k] -= mean;
        squares += values[k] * values[k];
    }
    squares = sum_lanes(active ? squares : 0.0f, lanes);
    const float factor = 1.0f / sqrtf(squares / (float)call.head_dim + call.epsilon);
    if (active && weight != nullptr) {
        float weights[8];
        load_eight(weight + first, weights);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            values[k] = values[k] * factor * (weights[k] + call.weight_offset);
        }
    }
}

/* The values at `first` of the head turn with those half a rotation away, which another lane has.
 */
__device__ __forceinline__ void rotate_eight(const kv_append &call, int token, int first, int lane,
                                             bool turns, float (&values)[8])
{
    const bool upper = first >= call.half;
    const bool inside = turns && first < 2 * call.half;
    const int partner = inside ? lane + (upper ? -call.half / 8 : call.half / 8) : lane;
    const size_t at =
        (size_t)token * (size_t)call.half + (size_t)(upper ? first - call.half : first);
    float cosine[8], sine[8];
    if (inside) {
        load_eight(call.cosine + at, cosine);
        load_eight(call.sine + at, sine);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float other = __shfl_sync(0xffffffffu, values[k], partner);
        if (inside) {
            values[k] = __fmaf_rn(upper ? other : -other, sine[k], __fmul_rn(values[k], cosine[k]));
        }
    }
}

/* head_dim and half are multiples of 8, head_dim at most 256. `lanes`, a power of two, for a head.
 */
template <typename T>
__global__ void __launch_bounds__(APPEND_THREADS)
    append_kernel(const __grid_constant__ kv_append call, int lanes)
{
    const int lane = (int)threadIdx.x % 32;
    const int heads = call.query_heads + 2 * call.kv_heads;
    const unsigned index = (blockIdx.x * APPEND_THREADS + threadIdx.x) / (unsigned)lanes;
    const int token = (int)(index / (unsigned)heads), head = (int)(index % (unsigned)heads);
    const int first = lane % lanes * 8;
    const bool active = token < call.tokens && first < call.head_dim;
    const bool is_query = head < call.query_heads;
    const bool is_value = head >= call.query_heads + call.kv_heads;
    const int column = head * call.head_dim + first;
    const size_t at = (size_t)token * (size_t)(heads * call.head_dim) + (size_t)column;
    T *const qkv = static_cast<T *>(call.qkv);

    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (active) {
        union {
            uint4 word;
            T value[8];
        } eight;
        eight.word = *reinterpret_cast<const uint4 *>(qkv + at);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            values[k] = to_float(eight.value[k]);
        }
        if (call.column_scale != nullptr) {
            const float row_scale = call.row_scale != nullptr ? call.row_scale[token] : 1.0f;
            float scales[8];
            load_eight(call.column_scale + column, scales);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] *= row_scale * scales[k];
            }
        }
        if (call.bias != nullptr) {
            float bias[8];
            load_eight(call.bias + column, bias);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] += bias[k];
            }
        }
    }
    const bool q_normed = call.q_norm != nullptr, k_normed = call.k_norm != nullptr;
    if (q_normed || k_normed) { /* all lanes come along; what is not normed stays */
        float normed[8];
#pragma unroll
        for (int k = 0; k < 8; k++) {
            normed[k] = values[k];
        }
        norm_eight(call, is_query ? call.q_norm : call.k_norm, first, active, lanes, normed);
        if (is_query ? q_normed : !is_value && k_normed) {
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] = normed[k];
            }
        }
    }
    if (call.half > 0) {
        rotate_eight(call, token, first, lane, active && !is_value, values);
    }
    if (!active) {
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) { /* the cache holds what the buffer holds */
        values[k] = to_float(from_float<T>(values[k]));
    }
    if (!is_value || call.column_scale != nullptr || call.bias != nullptr) {
        store_word<T, uint4>(qkv, at, values);
    }
    if (!is_query) {
        const int kv = head - call.query_heads - (is_value ? call.kv_heads : 0);
        const float scale = is_value ? call.value_scale : call.key_scale;
        if (scale != 1.0f) {
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] = __fdiv_rn(values[k], scale);
            }
        }
        store_eight(is_value ? call.values : call.keys, call.kv_dtype,
                    find_place(call, token, kv) + (size_t)first, values);
    }
}

/* ---- Any head size and type ---- */

enum { GENERAL_WARPS = 4 };

template <typename T>
__global__ void __launch_bounds__(32 * GENERAL_WARPS)
    append_general_kernel(const __grid_constant__ kv_append call)
{
    extern __shared__ float memory[];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, dim = call.head_dim;
    const int heads = call.query_heads + 2 * call.kv_heads;
    const unsigned index = blockIdx.x * GENERAL_WARPS + (unsigned)warp;
    const int token = (int)(index / (unsigned)heads), head = (int)(index % (unsigned)heads);
    if (token >= call.tokens) {
        return;
    }
    float *values = memory + warp * dim;
    const bool is_query = head < call.query_heads;
    const bool is_value = head >= call.query_heads + call.kv_heads;
    T *qkv =
        static_cast<T *>(call.qkv) + ((size_t)token * (size_t)heads + (size_t)head) * (size_t)dim;
    const float row_scale = call.row_scale != nullptr ? call.row_scale[token] : 1.0f;
    float sum = 0.0f;
    for (int i = lane; i < dim; i += 32) {
        float value = to_float(qkv[i]);
        if (call.column_scale != nullptr) {
            value *= row_scale * call.column_scale[head * dim + i];
        }
        if (call.bias != nullptr) {
            value += call.bias[head * dim + i];
        }
        values[i] = value;
        sum += value;
    }
    const float *weight = is_query ? call.q_norm : is_value ? nullptr : call.k_norm;
    if (weight != nullptr) {
        const float mean = call.layer_norm ? sum_lanes(sum, 32) / (float)dim : 0.0f;
        float squares = 0.0f;
        for (int i = lane; i < dim; i += 32) {
            values[i] -= mean;
            squares += values[i] * values[i];
        }
        const float factor = 1.0f / sqrtf(sum_lanes(squares, 32) / (float)dim + call.epsilon);
        for (int i = lane; i < dim; i += 32) {
            values[i] = values[i] * factor * (weight[i] + call.weight_offset);
        }
    }
    __syncwarp();
    if (!is_value) {
        const size_t at = (size_t)token * (size_t)call.half;
        for (int i = lane; i < call.half; i += 32) {
            const float x = values[i], y = values[call.half + i];
            const float c = call.cosine[at + (size_t)i], s = call.sine[at + (size_t)i];
            values[i] = __fmaf_rn(-y, s, __fmul_rn(x, c));
            values[call.half + i] = __fmaf_rn(x, s, __fmul_rn(y, c));
        }
    }
    __syncwarp();
    const int kv = head - call.query_heads - (is_value ? call.kv_heads : 0);
    const float scale = is_value ? call.value_scale : call.key_scale;
    const size_t place = is_query ? 0 : find_place(call, token, kv);
    for (int i = lane; i < dim; i += 32) {
        const T rounded = from_float<T>(values[i]);
        qkv[i] = rounded;
        if (!is_query) {
            store_cached(is_value ? call.values : call.keys, call.kv_dtype, place + (size_t)i,
                         __fdiv_rn(to_float(rounded), scale));
        }
    }
}

template <typename T> static cudaError_t append(cudaStream_t stream, const kv_append &call)
{
    const unsigned heads = (unsigned)call.tokens * (unsigned)(call.query_heads + 2 * call.kv_heads);
    if (heads == 0) {
        return cudaSuccess;
    }
    if (sizeof(T) == 2 && call.head_dim % 8 == 0 && call.half % 8 == 0 && call.head_dim <= 256) {
        int lanes = 1;
        while (lanes * 8 < call.head_dim) {
            lanes *= 2;
        }
        const unsigned blocks = (heads * (unsigned)lanes + APPEND_THREADS - 1) / APPEND_THREADS;
        append_kernel<T><<<blocks, APPEND_THREADS, 0, stream>>>(call, lanes);
    } else {
        const size_t bytes = GENERAL_WARPS * (size_t)call.head_dim * sizeof(float);
        append_general_kernel<T>
            <<<(heads + GENERAL_WARPS - 1) / GENERAL_WARPS, 32 * GENERAL_WARPS, bytes, stream>>>(
                call);
    }
    return cudaGetLastError();
}

cudaError_t kv_append_launch(cudaStream_t stream, const kv_append *call)
{
    switch (call->dtype) {
    case TYPE_FLOAT32:
        return append<float>(stream, *call);
    case TYPE_BFLOAT16:
        return append<__nv_bfloat16>(stream, *call);
    case TYPE_FLOAT16:
        return append<__half>(stream, *call);
    default:
        return cudaErrorInvalidValue;
    }
}
