/* How kernels on rows read and write: several values at a time, in any type, and rounded to fp8. */
#ifndef SLUICE_CUDA_ROWS_CUH
#define SLUICE_CUDA_ROWS_CUH

#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/rows.h"

enum { THREADS = 256, WIDE = 4 }; /* WIDE: values that a thread takes at once */

__device__ __forceinline__ void write_plain(void *to, int dtype, size_t at, float value)
{
    if (dtype == TYPE_FLOAT32) {
        static_cast<float *>(to)[at] = value;
    } else if (dtype == TYPE_BFLOAT16) {
        static_cast<__nv_bfloat16 *>(to)[at] = from_float<__nv_bfloat16>(value);
    } else {
        static_cast<__half *>(to)[at] = from_float<__half>(value);
    }
}

__device__ __forceinline__ float read_plain(const void *from, int dtype, size_t at)
{
    if (dtype == TYPE_FLOAT32) {
        return static_cast<const float *>(from)[at];
    }
    if (dtype == TYPE_BFLOAT16) {
        return to_float(static_cast<const __nv_bfloat16 *>(from)[at]);
    }
    if (dtype == TYPE_FLOAT16) {
        return to_float(static_cast<const __half *>(from)[at]);
    }
    return to_float(static_cast<const __nv_fp8_e4m3 *>(from)[at]);
}

template <typename T>
__device__ __forceinline__ void read_four(const void *from, size_t at, float *values)
{
    union {
        uint2 word;
        T value[4];
    } four;
    four.word = *reinterpret_cast<const uint2 *>(static_cast<const T *>(from) + at);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        values[k] = to_float(four.value[k]);
    }
}

template <typename T>
__device__ __forceinline__ void write_four(void *to, size_t at, const float *values)
{
    union {
        uint2 word;
        T value[4];
    } four;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        four.value[k] = from_float<T>(values[k]);
    }
    *reinterpret_cast<uint2 *>(static_cast<T *>(to) + at) = four.word;
}

/* N values from element `at` on: N = 1, or N = WIDE and `at` a multiple of it. Not fp8. */
template <int N>
__device__ __forceinline__ void read_values(const void *from, int dtype, size_t at, float *values)
{
    if (N == 1) {
        values[0] = read_plain(from, dtype, at);
    } else if (dtype == TYPE_FLOAT32) {
        const float4 four =
            *reinterpret_cast<const float4 *>(static_cast<const float *>(from) + at);
        values[0] = four.x;
        values[1] = four.y;
        values[2] = four.z;
        values[3] = four.w;
    } else if (dtype == TYPE_BFLOAT16) {
        read_four<__nv_bfloat16>(from, at, values);
    } else {
        read_four<__half>(from, at, values);
    }
}

template <int N>
__device__ __forceinline__ void write_values(void *to, int dtype, size_t at, const float *values)
{
    if (N == 1) {
        write_plain(to, dtype, at, values[0]);
    } else if (dtype == TYPE_FLOAT32) {
        *reinterpret_cast<float4 *>(static_cast<float *>(to) + at) =
            make_float4(values[0], values[1], values[2], values[3]);
    } else if (dtype == TYPE_BFLOAT16) {
        write_four<__nv_bfloat16>(to, at, values);
    } else {
        write_four<__half>(to, at, values);
    }
}

/* Whether rows of this width can be taken WIDE values at a time, wherever they start in memory that
 * is aligned to 16 bytes. */
__host__ __device__ __forceinline__ bool is_wide(int width)
{
    return width % WIDE == 0;
}

/* ---- Targets -----------------------------------------------------------------------------------
 */

/* The scale of one slice of a row: the target's or the row's own, or from the largest magnitude
 * that this thread has seen of it. The same on every thread. */
__device__ __forceinline__ float packed_scale(const rows_target &target, int row, float most,
                                              float *shared)
{
    const float given =
        target.row_static_scale != nullptr ? target.row_static_scale[row] : target.static_scale;
    if (given != 0.0f) {
        return given;
    }
    most = block_max(most, shared);
    return most > 0.0f ? most / FP8_MAX : 1.0f;
}

/* Writes one slice of a row in fp8, its scale, and zeros behind it; value(i): of the slice's i-th
 * column. */
template <typename Value>
__device__ __forceinline__ void write_packed(const rows_target &target, int row, int rows,
                                             int slice, float scale, Value value)
{
    const int width = target.slice_start[slice + 1] - target.slice_start[slice];
    const float inverse = 1.0f / scale;
    __nv_fp8_e4m3 *to = static_cast<__nv_fp8_e4m3 *>(target.packed) +
                        ((size_t)slice * (size_t)rows + (size_t)row) * (size_t)target.padded;
    for (int i = (int)threadIdx.x * WIDE; i < target.padded; i += (int)blockDim.x * WIDE) {
        union {
            uint32_t word;
            __nv_fp8_e4m3 value[WIDE];
        } four;
#pragma unroll
        for (int k = 0; k < WIDE; k++) {
            four.value[k] =
                from_float<__nv_fp8_e4m3>(i + k < width ? value(i + k) * inverse : 0.0f);
        }
        *reinterpret_cast<uint32_t *>(to + i) = four.word;
    }
    if (threadIdx.x == 0) {
        target.scale[(size_t)slice * (size_t)target.scale_stride + (size_t)row] = scale;
    }
}

/* The same from shared memory, where the whole row's values stand; a barrier must stand between
 * their writing and this. */
__device__ __forceinline__ void pack_row(const rows_target &target, int row, int rows, int slice,
                                         const float *values, float *shared)
{
    const int first = target.slice_start[slice], last = target.slice_start[slice + 1];
    float most = 0.0f;
    for (int i = first + (int)threadIdx.x; i < last; i += (int)blockDim.x) {
        most = fmaxf(most, fabsf(values[i]));
    }
    const float scale = packed_scale(target, row, most, shared);
    write_packed(target, row, rows, slice, scale, [&](int i) { return values[first + i]; });
}

#endif
