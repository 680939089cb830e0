/* Kernels on each row alone: embedding, norms with the residual, activations, rounding to fp8.
 *
 * All are bound by memory; the floor of each is the bytes that it reads and writes once (rows_norm:
 * residual in and out in float32, partials in, target out). A row is one block, or one block a
 * slice; its reductions run in an order that depends on the row's width alone, so that its bits
 * depend on nothing beside it. */
#include "backend/cuda/kernels/activation.cuh"
#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/rows.h"

enum { THREADS = 256 };

/* ---- Targets -----------------------------------------------------------------------------------
 */

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

/* Writes one slice of a row in fp8: value(column) is asked twice where the scale is the row's. */
template <typename Value>
__device__ __forceinline__ void write_packed(const rows_target &target, int row, int rows,
                                             int slice, float *shared, Value value)
{
    const int first = target.slice_start[slice], last = target.slice_start[slice + 1];
    float scale =
        target.row_static_scale != nullptr ? target.row_static_scale[row] : target.static_scale;
    if (scale == 0.0f) {
        float most = 0.0f;
        for (int i = first + (int)threadIdx.x; i < last; i += (int)blockDim.x) {
            most = fmaxf(most, fabsf(value(i)));
        }
        most = block_max(most, shared);
        scale = most > 0.0f ? most / FP8_MAX : 1.0f;
    }
    const float inverse = 1.0f / scale;
    __nv_fp8_e4m3 *to = static_cast<__nv_fp8_e4m3 *>(target.packed) +
                        ((size_t)slice * (size_t)rows + (size_t)row) * (size_t)target.padded;
    for (int i = (int)threadIdx.x; i < target.padded; i += (int)blockDim.x) {
        to[i] = from_float<__nv_fp8_e4m3>(first + i < last ? value(first + i) * inverse : 0.0f);
    }
    if (threadIdx.x == 0) {
        target.scale[(size_t)slice * (size_t)target.scale_stride + (size_t)row] = scale;
    }
}

/* ---- Embedding ---------------------------------------------------------------------------------
 */

__global__ void embed_kernel(rows_embed call)
{
    const int token = (int)blockIdx.x;
    const int64_t row = (int64_t)call.token_ids[token] - call.first_row;
    const bool here = row >= 0 && row < call.rows;
    float *to = call.residual + (size_t)token * (size_t)call.hidden;
    for (int i = (int)threadIdx.x; i < call.hidden; i += THREADS) {
        const size_t at = (size_t)(here ? row : 0) * (size_t)call.hidden + (size_t)i;
        /* -0 becomes 0, as it does in a sum over ranks */
        to[i] = here ? read_plain(call.table, call.dtype, at) * call.scale + 0.0f : 0.0f;
    }
}

cudaError_t rows_embed_launch(cudaStream_t stream, const rows_embed *call)
{
    embed_kernel<<<(unsigned)call->tokens, THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Norm --------------------------------------------------------------------------------------
 */

/* The pairwise tree over ranks · slices parts (a power of two, at most 8) of one value. */
__device__ __forceinline__ float sum_parts(const rows_norm &call, int token, int i)
{
    const int parts = call.ranks * call.slices;
    const size_t plane = (size_t)call.tokens * (size_t)call.hidden;
    float tree[ROWS_MAX_SLICES];
#pragma unroll
    for (int p = 0; p < ROWS_MAX_SLICES; p++) {
        if (p < parts) {
            const int slice = p % call.slices;
            const char *block = static_cast<const char *>(call.partials) +
                                (size_t)(p / call.slices) * call.rank_bytes;
            float value =
                read_plain(block, call.partial_dtype,
                           (size_t)slice * plane + (size_t)token * (size_t)call.hidden + (size_t)i);
            if (call.scaled) {
                const float *scales = reinterpret_cast<const float *>(block + call.scales_offset);
                const float row = scales[(size_t)slice * (size_t)call.tokens + (size_t)token];
                const float *columns = scales + (size_t)call.slices * (size_t)call.tokens;
                value *= row * columns[(size_t)slice * (size_t)call.hidden + (size_t)i];
            }
            tree[p] = value;
        } else {
            tree[p] = 0.0f;
        }
    }
#pragma unroll
    for (int width = 1; width < ROWS_MAX_SLICES; width *= 2) {
#pragma unroll
        for (int p = 0; p + width < ROWS_MAX_SLICES; p += 2 * width) {
            if (p + width < parts) {
                tree[p] += tree[p + width];
            }
        }
    }
    return tree[0];
}

/* 1 / root of the mean square (or the deviation, with *mean) of row[0..n). */
__device__ __forceinline__ float row_norm(const rows_norm &call, const float *row, float *mean,
                                          float *shared)
{
    const int n = call.hidden;
    *mean = 0.0f;
    if (call.layer_norm) {
        float sum = 0.0f;
        for (int i = (int)threadIdx.x; i < n; i += THREADS) {
            sum += row[i];
        }
        *mean = block_sum(sum, shared) / (float)n;
    }
    float squares = 0.0f;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        const float x = row[i] - *mean;
        squares += x * x;
    }
    return 1.0f / sqrtf(block_sum(squares, shared) / (float)n + call.epsilon);
}

/* The row stays in shared memory from the sum to the target. A thread reads only what it wrote
 * there itself. */
__global__ void norm_kernel(rows_norm call)
{
    extern __shared__ float row[];
    __shared__ float shared[32];
    const int token = (int)blockIdx.x, n = call.hidden;
    float *residual = call.residual + (size_t)token * (size_t)n;
    float mean;
    if (call.ranks == 0) {
        for (int i = (int)threadIdx.x; i < n; i += THREADS) {
            row[i] = residual[i];
        }
    } else {
        for (int i = (int)threadIdx.x; i < n; i += THREADS) {
            row[i] = sum_parts(call, token, i) + (call.bias != nullptr ? call.bias[i] : 0.0f);
        }
        if (call.post_weight != nullptr) {
            const float factor = row_norm(call, row, &mean, shared);
            for (int i = (int)threadIdx.x; i < n; i += THREADS) {
                row[i] = (row[i] - mean) * factor * (call.post_weight[i] + call.weight_offset);
            }
        }
        for (int i = (int)threadIdx.x; i < n; i += THREADS) {
            row[i] = residual[i] + call.multiplier * row[i];
            residual[i] = row[i];
        }
    }
    if (!call.write) {
        return;
    }
    if (call.weight != nullptr) {
        const float factor = row_norm(call, row, &mean, shared);
        for (int i = (int)threadIdx.x; i < n; i += THREADS) {
            row[i] = (row[i] - mean) * factor * (call.weight[i] + call.weight_offset) +
                     (call.norm_bias != nullptr ? call.norm_bias[i] : 0.0f);
        }
    }
    if (call.target.packed != nullptr) {
        __syncthreads(); /* slices are cut otherwise than threads */
        for (int slice = 0; slice < call.target.slices; slice++) {
            write_packed(call.target, token, call.tokens, slice, shared,
                         [&](int i) { return row[i]; });
        }
        return;
    }
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        write_plain(call.target.plain, call.target.dtype, (size_t)token * (size_t)n + (size_t)i,
                    row[i]);
    }
}

cudaError_t rows_norm_launch(cudaStream_t stream, const rows_norm *call)
{
    const size_t bytes = (size_t)call->hidden * sizeof(float);
    if (bytes > 47 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(
            norm_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
        if (error != cudaSuccess) {
            return error;
        }
    }
    norm_kernel<<<(unsigned)call->tokens, THREADS, bytes, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Activation --------------------------------------------------------------------------------
 */

__device__ __forceinline__ float pending_value(const rows_pending &pending, float row_scale,
                                               float raw, int column)
{
    if (pending.column_scale != nullptr) {
        raw *= row_scale * pending.column_scale[column];
    }
    return pending.bias != nullptr ? raw + pending.bias[column] : raw;
}

__device__ __forceinline__ float activated(const rows_activate &call, int token, float row_scale,
                                           int i)
{
    const int in_width = call.gated ? 2 * call.width : call.width;
    const size_t at = (size_t)token * (size_t)in_width + (size_t)i;
    const float gate =
        activation_of(call.activation, pending_value(call.pending, row_scale,
                                                     read_plain(call.in, call.dtype, at), i));
    if (!call.gated) {
        return gate;
    }
    const float up =
        pending_value(call.pending, row_scale,
                      read_plain(call.in, call.dtype, at + (size_t)call.width), i + call.width);
    return gate * up;
}

/* Block (token, slice); plain: the slices are equal parts of the row. */
__global__ void activate_kernel(rows_activate call)
{
    __shared__ float shared[32];
    const int token = (int)blockIdx.x, slice = (int)blockIdx.y;
    const float row_scale =
        call.pending.row_scale != nullptr ? call.pending.row_scale[token] : 1.0f;
    if (call.target.packed != nullptr) {
        write_packed(call.target, token, call.tokens, slice, shared,
                     [&](int i) { return activated(call, token, row_scale, i); });
        return;
    }
    for (int i = slice * THREADS + (int)threadIdx.x; i < call.width;
         i += (int)gridDim.y * THREADS) {
        write_plain(call.target.plain, call.target.dtype,
                    (size_t)token * (size_t)call.width + (size_t)i,
                    activated(call, token, row_scale, i));
    }
}

cudaError_t rows_activate_launch(cudaStream_t stream, const rows_activate *call)
{
    unsigned parts = (unsigned)((call->width + 8 * THREADS - 1) / (8 * THREADS));
    if (call->target.packed != nullptr) {
        parts = (unsigned)call->target.slices;
    }
    if (call->width == 0 && call->target.packed == nullptr) {
        return cudaSuccess;
    }
    activate_kernel<<<dim3((unsigned)call->tokens, parts), THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Copies ------------------------------------------------------------------------------------
 */

__global__ void copy_kernel(rows_copy call)
{
    __shared__ float shared[32];
    const int row = (int)blockIdx.x;
    const size_t from = (size_t)(call.pick != nullptr ? call.pick[row] : row) * (size_t)call.width;
    if (call.target.packed != nullptr) {
        write_packed(call.target, row, call.rows, (int)blockIdx.y, shared,
                     [&](int i) { return read_plain(call.in, call.dtype, from + (size_t)i); });
        return;
    }
    for (int i = (int)threadIdx.x; i < call.width; i += THREADS) {
        write_plain(call.target.plain, call.target.dtype,
                    (size_t)row * (size_t)call.width + (size_t)i,
                    read_plain(call.in, call.dtype, from + (size_t)i));
    }
}

cudaError_t rows_copy_launch(cudaStream_t stream, const rows_copy *call)
{
    if (call->rows == 0) {
        return cudaSuccess;
    }
    const unsigned parts = call->target.packed != nullptr ? (unsigned)call->target.slices : 1u;
    copy_kernel<<<dim3((unsigned)call->rows, parts), THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

__global__ void scale_cap_kernel(float *logits, size_t count, float scale, float soft_cap)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS) {
        const float x = logits[i] * scale;
        logits[i] = soft_cap > 0.0f ? soft_cap * tanhf(x / soft_cap) : x;
    }
}

cudaError_t rows_scale_cap_launch(cudaStream_t stream, float *logits, int rows, int width,
                                  float scale, float soft_cap)
{
    const size_t count = (size_t)rows * (size_t)width;
    const size_t blocks = (count + 4 * THREADS - 1) / (4 * THREADS);
    if (blocks == 0) {
        return cudaSuccess;
    }
    scale_cap_kernel<<<(unsigned)(blocks < 65536 ? blocks : 65536), THREADS, 0, stream>>>(
        logits, count, scale, soft_cap);
    return cudaGetLastError();
}

/* ---- Weights -----------------------------------------------------------------------------------
 */

/* Block (row, part). */
__global__ void weights_kernel(rows_weights call)
{
    __shared__ float shared[32];
    const int row = (int)blockIdx.x, part = (int)blockIdx.y, at_row = call.first_row + row;
    const size_t from = (size_t)row * call.source_stride;
    const float given = call.row_scale != nullptr ? call.row_scale[row] : 1.0f;
    if (call.dtype != TYPE_FLOAT8) {
        for (int i = (int)threadIdx.x; i < call.columns; i += THREADS) {
            write_plain(call.to, call.dtype, (size_t)at_row * (size_t)call.columns + (size_t)i,
                        given * read_plain(call.from, call.source, from + (size_t)i));
        }
        return;
    }
    const int first = call.slice_start[part], last = call.slice_start[part + 1];
    float scale = given, inverse = 1.0f;
    if (call.source != TYPE_FLOAT8) {
        float most = 0.0f;
        for (int i = first + (int)threadIdx.x; i < last; i += THREADS) {
            most = fmaxf(most, fabsf(read_plain(call.from, call.source, from + (size_t)i)));
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
                                ? read_plain(call.from, call.source, from + (size_t)(first + i))
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

/* ---- Trials of products ------------------------------------------------------------------------
 */

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
            write_plain(to, dtype, at, value);
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
