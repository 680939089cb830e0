/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels on weights and on trials of products, none of them in a step: weights as a file holds
 * them to their place in a matrix, made-up inputs, and hashes of rows. Bound by memory: a weight is
 * read once (twice where it is rounded to fp8: the second time from the cache) and written once. */
#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/rows.h"

enum { THREADS = 256 };

/* ---- Values of any type ---- */

__device__ __forceinline__ void write_value(void *to, int dtype, size_t at, float value)
{
    if (dtype == TYPE_FLOAT32) {
        static_cast<float *>(to)[at] = value;
    } else if (dtype == TYPE_BFLOAT16) {
        static_cast<__nv_bfloat16 *>(to)[at] = from_float<__nv_bfloat16>(value);
    } else {
        static_cast<__half *>(to)[at] = from_float<__half>(value);
    }
}

__device__ __forceinline__ float read_value(const void *from, int dtype, size_t at)
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

/* ---- Weights ---- */

/* Block (row, part). */
__global__ void weights_kernel(rows_weights call)
{
    __shared__ float shared[32];
    const int row = (int)blockIdx.x, part = (int)blockIdx.y, at_row = call.first_row + row;
    const size_t from = (size_t)row * call.source_stride;
    const float given = call.row_scale != nullptr ? call.row_scale[row] : 1.0f;
    if (call.dtype != TYPE_FLOAT8) {
        for (int i = (int)threadIdx.x; i < call.columns; i += THREADS) {
            write_value(call.to, call.dtype, (size_t)at_row * (size_t)call.columns + (size_t)i,
                        given * read_value(call.from, call.source, from + (size_t)i));
        }
        return;
    }
    const int first = call.slice_start[part], last = call.slice_start[part + 1];
    float scale = given, inverse = 1.0f;
    if (call.source != TYPE_FLOAT8) {
        float most = 0.0f;
        for (int i = first + (int)threadIdx.x; i < last; i += THREADS) {
            most = fmaxf(most, fabsf(read_value(call.from, call.source, from + (size_t)i)));
        }
        most = block_max(most, shared) * fabsf(given);
        scale = most > 0.0f ? most / FP8_MAX : 1.0f;
        inverse = given / scale;
    }
    __nv_fp8_e4m3 *to =
        static_cast<__nv_fp8_e4m3 *>(call.to) +
        ((size_t)part * (size_t)call.matrix_rows + (size_t)at_row) * (size_t)call.padded;
    for (int i = (int)threadIdx.x; i < call.padded; i += THREADS) {
        const float value = first + i < last
                                ? read_value(call.from, call.source, from + (size_t)(first + i))
                                : 0.0f;
        to[i] = from_float<__nv_fp8_e4m3>(value * inverse);
    }
    if (threadIdx.x == 0) {
        call.scale[(size_t)part * (size_t)call.matrix_rows + (size_t)at_row] = scale;
    }
}

cudaError_t rows_weights_launch(cudaStream_t stream, const rows_weights *call)
{
    if (call->rows == 0 || call->columns == 0) {
        return cudaSuccess;
    }
    const unsigned parts = call->dtype == TYPE_FLOAT8 ? (unsigned)call->parts : 1u;
    weights_kernel<<<dim3((unsigned)call->rows, parts), THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Widening ---- */

__global__ void widen_kernel(const __nv_fp8_e4m3 *from, size_t count, float *to)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS) {
        to[i] = to_float(from[i]);
    }
}

cudaError_t rows_widen_launch(cudaStream_t stream, const void *from, size_t count, float *to)
{
    const size_t blocks = (count + THREADS - 1) / THREADS;
    if (blocks == 0) {
        return cudaSuccess;
    }
    widen_kernel<<<(unsigned)(blocks < 65536 ? blocks : 65536), THREADS, 0, stream>>>(
        static_cast<const __nv_fp8_e4m3 *>(from), count, to);
    return cudaGetLastError();
}

/* ---- Trials of products ---- */

__device__ __forceinline__ uint64_t mix(uint64_t x) /* splitmix64's finaliser */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

__global__ void probe_kernel(void *to, int rows, int columns, int dtype, int period)
{
    const int row = (int)blockIdx.x;
    const int mirrored = row < rows - 1 - row ? row : rows - 1 - row;
    const uint64_t kind = (uint64_t)(mirrored % period) + 1;
    for (int i = (int)threadIdx.x; i < columns; i += THREADS) {
        const uint64_t bits = mix(kind << 32 | (uint32_t)i);
        const float value = (float)(int32_t)(bits >> 32) * 0x1p-31f;
        const size_t at = (size_t)row * (size_t)columns + (size_t)i;
        if (dtype == TYPE_FLOAT8) {
            static_cast<__nv_fp8_e4m3 *>(to)[at] = from_float<__nv_fp8_e4m3>(value * FP8_MAX);
        } else {
            write_value(to, dtype, at, value);
        }
    }
}

cudaError_t rows_probe_launch(cudaStream_t stream, void *to, int rows, int columns, int dtype,
                              int period)
{
    probe_kernel<<<(unsigned)rows, THREADS, 0, stream>>>(to, rows, columns, dtype, period);
    return cudaGetLastError();
}

/* Sums of mixed words are the same in any order. row_bytes is even. */
__global__ void hash_kernel(const uint16_t *from, size_t words, uint64_t *hash)
{
    __shared__ unsigned long long total;
    if (threadIdx.x == 0) {
        total = 0;
    }
    __syncthreads();
    const uint16_t *row = from + (size_t)blockIdx.x * words;
    unsigned long long sum = 0;
    for (size_t i = threadIdx.x; i < words; i += THREADS) {
        sum += mix((uint64_t)row[i] << 40 | (uint64_t)i);
    }
    atomicAdd(&total, sum);
    __syncthreads();
    if (threadIdx.x == 0) {
        hash[blockIdx.x] = total;
    }
}

cudaError_t rows_hash_launch(cudaStream_t stream, const void *from, int rows, size_t row_bytes,
                             uint64_t *hash)
{
    hash_kernel<<<(unsigned)rows, THREADS, 0, stream>>>(static_cast<const uint16_t *>(from),
                                                        row_bytes / 2, hash);
    return cudaGetLastError();
}
