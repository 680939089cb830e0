/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels on rows are made of: how a block holds a row, reads and writes it, and rounds it
 * to fp8.
 *
 * A block takes a row, or a piece of one, of at most 32,768 values. Where the row can be taken
 * eight values at a time each thread holds 1, 2, 4 or 8 groups of eight in registers
 * (row_values<G>): every access is one of 16 bytes, and all that a row reads is asked for before
 * the first value is used. Other rows (odd widths, wider ones) are taken value by value and wait in
 * shared memory (row_values<0>). Which of them, and the threads of a block, the row's width decides
 * alone. What is done to a value is written in single operations, so that every variant rounds
 * alike. */
#ifndef SLUICE_CUDA_ROWS_CUH
#define SLUICE_CUDA_ROWS_CUH

#include <initializer_list>
#include <type_traits>

#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/rows.h"

enum { THREADS_WITHOUT_GROUPS = 256 };

/* Threads of a block at most, where each holds so many groups: two groups a thread keep more bytes
 * under way than one with twice the threads. */
__host__ __device__ constexpr int most_threads(int groups)
{
    return groups == 0 ? THREADS_WITHOUT_GROUPS : groups == 1 ? 128 : 512;
}

/* ---- Neighbouring values ---- */

/* N values as memory has them: N = 1, or N = 8 at an address that 16 divides (8 for fp8). */
template <typename T, int N> union chunk {
    static constexpr int WORDS = N * (int)sizeof(T) / 16;
    T values[N];
    uint4 words[WORDS > 0 ? WORDS : 1];
};

/* Reads past the first-level cache, which is for what all rows share. */
template <typename T, int N> __device__ __forceinline__ chunk<T, N> read_chunk(const T *from)
{
    chunk<T, N> chunk;
    if constexpr (N == 1) {
        chunk.values[0] = from[0];
    } else {
#pragma unroll
        for (int w = 0; w < chunk.WORDS; w++) {
            chunk.words[w] = __ldcg(reinterpret_cast<const uint4 *>(from) + w);
        }
    }
    return chunk;
}

template <typename T, int N>
__device__ __forceinline__ void unpack(const chunk<T, N> &chunk, float *values)
{
#pragma unroll
    for (int k = 0; k < N; k++) {
        values[k] = to_float(chunk.values[k]);
    }
}

/* One operation a value. */
__device__ __forceinline__ void unpack(const chunk<__nv_bfloat16, 8> &chunk, float *values)
{
    const uint4 words = chunk.words[0];
    const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        values[2 * k] = __uint_as_float(pairs[k] << 16);
        values[2 * k + 1] = __uint_as_float(pairs[k] & 0xffff0000u);
    }
}

template <typename T, int N> __device__ __forceinline__ void write_chunk(T *to, const float *values)
{
    chunk<T, N> chunk;
#pragma unroll
    for (int k = 0; k < N; k++) {
        chunk.values[k] = from_float<T>(values[k]);
    }
    if constexpr (N == 1) {
        to[0] = chunk.values[0];
    } else {
#pragma unroll
        for (int w = 0; w < chunk.WORDS; w++) {
            reinterpret_cast<uint4 *>(to)[w] = chunk.words[w];
        }
    }
}

/* N values of a vector that all rows read. */
template <int N>
__device__ __forceinline__ void read_shared_vector(const float *from, float (&values)[N])
{
    if constexpr (N == 1) {
        values[0] = __ldg(from);
    } else {
#pragma unroll
        for (int w = 0; w < N / 4; w++) {
            const float4 four = __ldg(reinterpret_cast<const float4 *>(from) + w);
            values[4 * w] = four.x;
            values[4 * w + 1] = four.y;
            values[4 * w + 2] = four.z;
            values[4 * w + 3] = four.w;
        }
    }
}

/* The same from column i on; `otherwise` where there is no vector. */
template <int N>
__device__ __forceinline__ void read_vector(const float *from, int i, float otherwise,
                                            float (&values)[N])
{
    if (from == nullptr) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = otherwise;
        }
    } else {
        read_shared_vector<N>(from + i, values);
    }
}

template <int N>
__device__ __forceinline__ void write_fp8(__nv_fp8_e4m3 *to, const float *values, float inverse)
{
    if constexpr (N == 1) {
        to[0] = from_float<__nv_fp8_e4m3>(values[0] * inverse);
    } else {
        union {
            uint2 word;
            __nv_fp8x2_storage_t pairs[4];
        } eight;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float2 pair = {values[2 * k] * inverse, values[2 * k + 1] * inverse};
            eight.pairs[k] = __nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3);
        }
        *reinterpret_cast<uint2 *>(to) = eight.word;
    }
}

/* ---- A block's row ---- */

/* The row's values: thread t has eight from 8 · t on, G times, 8 · blockDim.x apart. each(f) calls
 * f(g, column, values) for each group g that the row has. AHEAD: what the groups are made of is to
 * be read for all HELD of them before the first is finished. */
template <int G> struct row_values {
    static constexpr bool AHEAD = true;
    static constexpr int N = 8, HELD = G;
    int width;
    float values[G][N];

    __device__ __forceinline__ row_values(int columns) : width(columns)
    {
    }

    template <typename Each> __device__ __forceinline__ void each(Each each)
    {
#pragma unroll
        for (int g = 0; g < G; g++) {
            const int i = (g * (int)blockDim.x + (int)threadIdx.x) * N;
            if (i < width) {
                each(g, i, values[g]);
            }
        }
    }
};

/* In dynamic shared memory, of which a thread reads what it wrote itself alone. */
template <> struct row_values<0> {
    static constexpr bool AHEAD = false;
    static constexpr int N = 1, HELD = 1;
    int width;
    float *values;

    __device__ __forceinline__ row_values(int columns) : width(columns)
    {
        extern __shared__ float row_memory[];
        values = row_memory;
    }

    template <typename Each> __device__ __forceinline__ void each(Each each)
    {
        for (int i = (int)threadIdx.x; i < width; i += (int)blockDim.x) {
            each(0, i, values + i);
        }
    }
};

/* ---- Sums and maxima over a block ---- */

/* Of a block of whole warps. One barrier each: a thread writes to the place of the last but one
 * only when all are past the barrier of the last, so have read it. */
struct block_reducer {
    float (*places)[32]; /* [2], shared */
    int turn;

    __device__ __forceinline__ block_reducer(float (*memory)[32]) : places(memory), turn(0)
    {
    }

    /* The x of each warp's first lane, by warp. */
    __device__ __forceinline__ const float *exchange(float x)
    {
        float *place = places[turn];
        turn ^= 1;
        if (threadIdx.x % 32 == 0) {
            place[threadIdx.x / 32] = x;
        }
        __syncthreads();
        return place;
    }

    /* The same on every thread, in an order that the block's size alone decides. */
    __device__ __forceinline__ float sum(float x)
    {
        for (int distance = 16; distance > 0; distance >>= 1) {
            x += __shfl_xor_sync(0xffffffffu, x, distance);
        }
        const float *of_warps = exchange(x);
        float sum = of_warps[0];
        for (int i = 1; i < (int)blockDim.x / 32; i++) {
            sum += of_warps[i];
        }
        return sum;
    }

    /* Of magnitudes, whose bits compare as they do. */
    __device__ __forceinline__ float most(float magnitude)
    {
        const unsigned of_warp = __reduce_max_sync(0xffffffffu, __float_as_uint(magnitude));
        const float *of_warps = exchange(__uint_as_float(of_warp));
        const int lane = (int)threadIdx.x % 32;
        const float other = lane < (int)blockDim.x / 32 ? of_warps[lane] : 0.0f;
        return __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(other)));
    }
};

/* ---- Targets ---- */

/* The scale of values whose largest magnitude is `most`. */
__device__ __forceinline__ float fp8_scale(float most)
{
    return most > 0.0f ? most / FP8_MAX : 1.0f;
}

/* The block writes a slice of a row in fp8, its scale, and zeros behind it. `values` are the row's
 * from column `origin` on. */
template <typename Values>
__device__ __forceinline__ void pack_slice(const rows_target &target, int row, int rows, int slice,
                                           Values &values, int origin, block_reducer &block)
{
    const int first = target.slice_start[slice] - origin;
    const int last = target.slice_start[slice + 1] - origin;
    float scale =
        target.row_static_scale != nullptr ? target.row_static_scale[row] : target.static_scale;
    if (scale == 0.0f) {
        float most = 0.0f; /* a NaN is passed over here, and stays one below */
        values.each([&](int, int i, const float *x) {
            if (i >= first && i < last) {
#pragma unroll
                for (int k = 0; k < Values::N; k++) {
                    most = fmaxf(most, fabsf(x[k]));
                }
            }
        });
        most = block.most(most);
        scale = fp8_scale(most);
    }
    const float inverse = 1.0f / scale;
    const size_t at = (size_t)slice * (size_t)rows + (size_t)row;
    __nv_fp8_e4m3 *to = static_cast<__nv_fp8_e4m3 *>(target.packed) + at * (size_t)target.padded;
    values.each([&](int, int i, const float *x) {
        if (i >= first && i < last) {
            write_fp8<Values::N>(to + (i - first), x, inverse);
        }
    });
    for (int i = last - first + (int)threadIdx.x; i < target.padded; i += (int)blockDim.x) {
        to[i] = from_float<__nv_fp8_e4m3>(0.0f);
    }
    if (threadIdx.x == 0) {
        target.scale[(size_t)slice * (size_t)target.scale_stride + (size_t)row] = scale;
    }
}

/* The block writes its values, which begin at column `first` of the row, as they are. */
template <typename T, typename Values>
__device__ __forceinline__ void write_plain(const rows_target &target, int row, int width,
                                            Values &values, int first)
{
    T *to = static_cast<T *>(target.plain) + (size_t)row * (size_t)width + (size_t)first;
    values.each([&](int, int i, const float *x) { write_chunk<T, Values::N>(to + i, x); });
}

/* ---- Launches ---- */

/* How blocks hold `width` values: G of row_values, and what they are launched with. */
struct row_shape {
    int groups, threads;
    size_t shared_bytes;
};

/* Threads for `eights` values eight at a time, `groups` to a thread. */
static inline int threads_of(int eights, int groups)
{
    const int threads = ((eights + groups - 1) / groups + 31) / 32 * 32;
    return threads > 0 ? threads : 32;
}

/* `wide`: whether they can be taken eight at a time. */
static inline row_shape shape_of(int width, bool wide, int most_groups)
{
    const int eights = (width + 7) / 8;
    for (int groups = 1; wide && groups <= most_groups; groups *= 2) {
        const int threads = threads_of(eights, groups);
        if (threads <= most_threads(groups)) {
            return {groups, threads, 0};
        }
    }
    return {0, THREADS_WITHOUT_GROUPS, (size_t)width * sizeof(float)};
}

static inline bool all_aligned(std::initializer_list<const void *> pointers)
{
    uintptr_t bits = 0;
    for (const void *pointer : pointers) {
        bits |= reinterpret_cast<uintptr_t>(pointer);
    }
    return bits % 16 == 0;
}

/* Whether a target takes rows of `width` values eight at a time. */
static inline bool is_wide(const rows_target &target, int width)
{
    int bits = width;
    for (int i = 0; target.packed != nullptr && i <= target.slices; i++) {
        bits |= target.slice_start[i];
    }
    return bits % 8 == 0 && all_aligned({target.plain, target.packed});
}

/* launch(type, groups) with a value of the type, and the groups as a constant of the compiler's. */
template <typename T, typename Launch> static cudaError_t with_groups(int groups, Launch launch)
{
    switch (groups) {
    case 0:
        return launch(T(), std::integral_constant<int, 0>());
    case 1:
        return launch(T(), std::integral_constant<int, 1>());
    case 2:
        return launch(T(), std::integral_constant<int, 2>());
    case 4:
        return launch(T(), std::integral_constant<int, 4>());
    default:
        return launch(T(), std::integral_constant<int, 8>());
    }
}

template <typename Launch> static cudaError_t with_type(int dtype, int groups, Launch launch)
{
    switch (dtype) {
    case TYPE_FLOAT32:
        return with_groups<float>(groups, launch);
    case TYPE_BFLOAT16:
        return with_groups<__nv_bfloat16>(groups, launch);
    case TYPE_FLOAT16:
        return with_groups<__half>(groups, launch);
    default:
        return cudaErrorInvalidValue;
    }
}

template <typename Kernel, typename... Call>
static cudaError_t launch_rows(cudaStream_t stream, Kernel kernel, dim3 blocks,
                               const row_shape &shape, const Call &...call)
{
    if (shape.shared_bytes > 47 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shape.shared_bytes);
        if (error != cudaSuccess) {
            return error;
        }
    }
    kernel<<<blocks, (unsigned)shape.threads, shape.shared_bytes, stream>>>(call...);
    return cudaGetLastError();
}

#endif
