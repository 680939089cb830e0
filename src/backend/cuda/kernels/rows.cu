/* Kernels on each row alone: embedding, activation, rounding to fp8, logits.
 *
 * All are bound by memory; the floor of each is the bytes that it reads and writes once. A row is
 * one block, or one block a slice; its reductions run in an order that depends on the row's width
 * alone, so that its bits depend on nothing beside it. */
#include "backend/cuda/kernels/activation.cuh"
#include "backend/cuda/kernels/rows.cuh"

/* ---- Embedding ---------------------------------------------------------------------------------
 */

template <int N> __global__ void embed_kernel(rows_embed call)
{
    const int token = (int)blockIdx.x;
    const int64_t row = (int64_t)call.token_ids[token] - call.first_row;
    const bool here = row >= 0 && row < call.rows;
    float *to = call.residual + (size_t)token * (size_t)call.hidden;
    for (int i = (int)threadIdx.x * N; i < call.hidden; i += THREADS * N) {
        float values[N] = {};
        if (here) {
            read_values<N>(call.table, call.dtype, (size_t)row * (size_t)call.hidden + (size_t)i,
                           values);
        }
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = values[k] * call.scale + 0.0f; /* -0 becomes 0, as in a sum over ranks */
        }
        write_values<N>(to, TYPE_FLOAT32, (size_t)i, values);
    }
}

cudaError_t rows_embed_launch(cudaStream_t stream, const rows_embed *call)
{
    if (is_wide(call->hidden)) {
        embed_kernel<WIDE><<<(unsigned)call->tokens, THREADS, 0, stream>>>(*call);
    } else {
        embed_kernel<1><<<(unsigned)call->tokens, THREADS, 0, stream>>>(*call);
    }
    return cudaGetLastError();
}

/* ---- Activation --------------------------------------------------------------------------------
 */

/* N finished values of a raw product's row from column i on. */
template <int N>
__device__ __forceinline__ void read_pending(const rows_activate &call, size_t row, int i,
                                             float row_scale, float *values)
{
    read_values<N>(call.in, call.dtype, row + (size_t)i, values);
#pragma unroll
    for (int k = 0; k < N; k++) {
        if (call.pending.column_scale != nullptr) {
            values[k] *= row_scale * call.pending.column_scale[i + k];
        }
        if (call.pending.bias != nullptr) {
            values[k] += call.pending.bias[i + k];
        }
    }
}

template <int N>
__device__ __forceinline__ void activated(const rows_activate &call, int token, float row_scale,
                                          int i, float *values)
{
    const size_t in_width = (size_t)call.width * (call.gated ? 2 : 1);
    const size_t row = (size_t)token * in_width;
    read_pending<N>(call, row, i, row_scale, values);
    float up[N];
    if (call.gated) {
        read_pending<N>(call, row, i + call.width, row_scale, up);
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        values[k] = activation_of(call.activation, values[k]);
        values[k] = call.gated ? values[k] * up[k] : values[k];
    }
}

/* What activate_kernel and copy_kernel share: values<N>(i, out) are N of a row from column i on. To
 * a plain target the row's `gridDim.y` blocks take turns; of a packed one each makes a slice, whose
 * values wait in shared memory for their scale (N = 1 where slices begin anywhere). */
template <int N, typename Values>
__device__ __forceinline__ void write_row(const rows_target &target, int row, int rows, int width,
                                          Values values)
{
    extern __shared__ float4 slice_memory[];
    __shared__ float shared[32];
    const int part = (int)blockIdx.y;
    float several[N];
    if (target.packed == nullptr) {
        for (int i = (part * THREADS + (int)threadIdx.x) * N; i < width;
             i += (int)gridDim.y * THREADS * N) {
            values(i, several);
            write_values<N>(target.plain, target.dtype, (size_t)row * (size_t)width + (size_t)i,
                            several);
        }
        return;
    }
    float *slice = reinterpret_cast<float *>(slice_memory);
    const int first = target.slice_start[part], last = target.slice_start[part + 1];
    float most = 0.0f;
    for (int i = first + (int)threadIdx.x * N; i < last; i += THREADS * N) {
        values(i, several);
#pragma unroll
        for (int k = 0; k < N; k++) {
            most = fmaxf(most, fabsf(several[k]));
        }
        write_values<N>(slice, TYPE_FLOAT32, (size_t)(i - first), several);
    }
    const float scale = packed_scale(target, row, most, shared);
    __syncthreads();
    write_packed(target, row, rows, part, scale, [&](int i) { return slice[i]; });
}

template <int N> __global__ void activate_kernel(rows_activate call)
{
    const int token = (int)blockIdx.x;
    const float row_scale =
        call.pending.row_scale != nullptr ? call.pending.row_scale[token] : 1.0f;
    write_row<N>(call.target, token, call.tokens, call.width,
                 [&](int i, float *out) { activated<N>(call, token, row_scale, i, out); });
}

template <int N> __global__ void copy_kernel(rows_copy call)
{
    const int row = (int)blockIdx.x;
    const size_t from = (size_t)(call.pick != nullptr ? call.pick[row] : row) * (size_t)call.width;
    write_row<N>(call.target, row, call.rows, call.width, [&](int i, float *out) {
        read_values<N>(call.in, call.dtype, from + (size_t)i, out);
    });
}

/* How write_row is launched for a target. */
struct row_grid {
    bool wide;
    dim3 blocks;
    size_t shared_bytes;
};

static row_grid grid_of(const rows_target &target, int rows, int width)
{
    row_grid grid = {is_wide(width), dim3((unsigned)rows), 0};
    if (target.packed == nullptr) {
        grid.blocks.y = (unsigned)(width + 8 * THREADS - 1) / (8 * THREADS);
        return grid;
    }
    grid.blocks.y = (unsigned)target.slices;
    for (int i = 0; i < target.slices; i++) {
        const int first = target.slice_start[i], last = target.slice_start[i + 1];
        const size_t bytes = (size_t)(last - first) * sizeof(float);
        grid.wide = grid.wide && is_wide(first) && is_wide(last);
        grid.shared_bytes = bytes > grid.shared_bytes ? bytes : grid.shared_bytes;
    }
    return grid;
}

template <typename Call>
static cudaError_t launch_rows(cudaStream_t stream, void (*kernel)(Call), const row_grid &grid,
                               const Call *call)
{
    if (grid.shared_bytes > 47 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)grid.shared_bytes);
        if (error != cudaSuccess) {
            return error;
        }
    }
    kernel<<<grid.blocks, THREADS, grid.shared_bytes, stream>>>(*call);
    return cudaGetLastError();
}

cudaError_t rows_activate_launch(cudaStream_t stream, const rows_activate *call)
{
    const row_grid grid = grid_of(call->target, call->tokens, call->width);
    if (call->tokens == 0 || grid.blocks.y == 0) {
        return cudaSuccess;
    }
    return launch_rows(stream, grid.wide ? activate_kernel<WIDE> : activate_kernel<1>, grid, call);
}

cudaError_t rows_copy_launch(cudaStream_t stream, const rows_copy *call)
{
    const row_grid grid = grid_of(call->target, call->rows, call->width);
    if (call->rows == 0 || grid.blocks.y == 0) {
        return cudaSuccess;
    }
    return launch_rows(stream, grid.wide ? copy_kernel<WIDE> : copy_kernel<1>, grid, call);
}

/* ---- Logits ------------------------------------------------------------------------------------
 */

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
