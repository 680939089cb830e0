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

/* Where a token's keys and values go. */
struct token_place {
    int block, within; /* the block of the cache, and the position in it */

    __device__ __forceinline__ token_place(const kv_append &call, int token)
    {
        const int position = call.positions[token];
        block =
            call.block_table[(size_t)call.token_sequence[token] * (size_t)call.block_table_stride +
                             (size_t)(position >> call.block_shift)];
        within = position & ((1 << call.block_shift) - 1);
    }

    /* Element index of one head's key (or value). */
    __device__ __forceinline__ size_t of_head(const kv_append &call, int kv) const
    {
        const size_t head = (size_t)block * (size_t)call.kv_heads + (size_t)kv;
        return ((head << call.block_shift) + (size_t)within) * (size_t)call.head_dim;
    }
};

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

/* FEW_TOKENS do not fill the device with a block each. */
enum { APPEND_THREADS = 256, FEW_TOKENS = 128 };

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

/* Cosines and sines of a lane's values, which are those of every head of the token. */
struct lane_angles {
    float cosine[8], sine[8];
    bool inside, upper; /* values of the head that turn; of its upper half */
    int partner;        /* the lane with those half a rotation away */

    __device__ __forceinline__ lane_angles(const kv_append &call, int token, int first, int lane)
        : inside(first < 2 * call.half && first < call.head_dim), upper(first >= call.half),
          partner(lane)
    {
        if (inside) {
            const size_t at =
                (size_t)token * (size_t)call.half + (size_t)(upper ? first - call.half : first);
            partner += upper ? -call.half / 8 : call.half / 8;
            load_eight(call.cosine + at, cosine);
            load_eight(call.sine + at, sine);
        }
    }

    /* All lanes of a warp come along. */
    __device__ __forceinline__ void turn(bool turns, float (&values)[8]) const
    {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float other = __shfl_sync(0xffffffffu, values[k], partner);
            if (inside && turns) {
                values[k] =
                    __fmaf_rn(upper ? other : -other, sine[k], __fmul_rn(values[k], cosine[k]));
            }
        }
    }
};

/* A lane's eight values of a head of the raw product as its scales and bias make them. */
template <typename T>
__device__ __forceinline__ void finish_eight(const kv_append &call, const uint4 &raw,
                                             float row_scale, int column, float (&values)[8])
{
    union {
        uint4 word;
        T value[8];
    } eight;
    eight.word = raw;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        values[k] = to_float(eight.value[k]);
    }
    if (call.column_scale != nullptr) {
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

/* A token's heads by the blocks of one x, a head by `lanes` lanes, a power of two; a lane asks for
 * all of its values of HELD heads before it works on the first. head_dim and half are multiples of
 * 8, head_dim at most 256. */
template <typename T>
__global__ void __launch_bounds__(APPEND_THREADS, 4)
    append_kernel(const __grid_constant__ kv_append call, int lanes)
{
    constexpr int HELD = 3;
    const int token = (int)blockIdx.x, lane = (int)threadIdx.x % 32;
    const int heads = call.query_heads + 2 * call.kv_heads;
    const int first = lane % lanes * 8, block_heads = (int)blockDim.x / lanes;
    const int step = block_heads * (int)gridDim.y;
    T *const row = static_cast<T *>(call.qkv) + (size_t)token * (size_t)(heads * call.head_dim);
    const bool q_normed = call.q_norm != nullptr, k_normed = call.k_norm != nullptr;
    const int own =
        lane / lanes; /* a warp's heads are neighbours; all its lanes go round as often */
    int base = (int)blockIdx.y * block_heads + (int)threadIdx.x / lanes - own;
    uint4 raw[HELD];
    const auto ask = [&]() {
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            const int head = base + h * step + own;
            raw[h] = make_uint4(0, 0, 0, 0);
            if (head < heads && first < call.head_dim) {
                raw[h] =
                    __ldcg(reinterpret_cast<const uint4 *>(row + (head * call.head_dim + first)));
            }
        }
    };
    ask();
    const lane_angles angles(call, token, first, lane);
    const float row_scale = call.row_scale != nullptr ? call.row_scale[token] : 1.0f;
    const token_place place(call, token);
    while (base < heads) {
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            const int head = base + h * step + own;
            const bool active = head < heads && first < call.head_dim;
            const bool is_query = head < call.query_heads;
            const bool is_value = head >= call.query_heads + call.kv_heads;
            const int column = head * call.head_dim + first;
            float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            if (active) {
                finish_eight<T>(call, raw[h], row_scale, column, values);
            }
            if (q_normed || k_normed) { /* all lanes come along; what is not normed stays */
                float normed[8];
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    normed[k] = values[k];
                }
                norm_eight(call, is_query ? call.q_norm : call.k_norm, first, active, lanes,
                           normed);
                if (is_query ? q_normed : !is_value && k_normed) {
#pragma unroll
                    for (int k = 0; k < 8; k++) {
                        values[k] = normed[k];
                    }
                }
            }
            angles.turn(active && !is_value, values);
            if (!active) {
                continue;
            }
#pragma unroll
            for (int k = 0; k < 8; k++) { /* the cache holds what the buffer holds */
                values[k] = to_float(from_float<T>(values[k]));
            }
            if (!is_value || call.column_scale != nullptr || call.bias != nullptr) {
                store_word<T, uint4>(row, (size_t)column, values);
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
                            place.of_head(call, kv) + (size_t)first, values);
            }
        }
        base += HELD * step;
        ask();
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
    const size_t place = is_query ? 0 : token_place(call, token).of_head(call, kv);
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
        const int all = (call.query_heads + 2 * call.kv_heads) * lanes;
        const int threads = all < APPEND_THREADS ? (all + 31) / 32 * 32 : APPEND_THREADS;
        const int parts = call.tokens < FEW_TOKENS ? (all + threads - 1) / threads : 1;
        append_kernel<T>
            <<<dim3((unsigned)call.tokens, (unsigned)parts), (unsigned)threads, 0, stream>>>(call,
                                                                                             lanes);
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
