/* Norms, with what is added to the residual stream before them.
 *
 * Bound by memory. The floor is what a row reads and writes once: the residual in and out in
 * float32, the partial sums in, the target out; 22 bytes a value with two slices in 16 bits and a
 * target in 16 bits. A row is one block; its reductions run in an order that its width alone
 * decides. */
#include "backend/cuda/kernels/rows.cuh"

/* N values of part p of the sum: slice p % slices of rank p / slices. */
template <int N>
__device__ __forceinline__ void read_part(const rows_norm &call, int part, int token, int i,
                                          float *values)
{
    const int slice = part % call.slices;
    const char *block =
        static_cast<const char *>(call.partials) + (size_t)(part / call.slices) * call.rank_bytes;
    const size_t row = (size_t)slice * (size_t)call.tokens + (size_t)token;
    read_values<N>(block, call.partial_dtype, row * (size_t)call.hidden + (size_t)i, values);
    if (call.scaled) {
        const float *scales = reinterpret_cast<const float *>(block + call.scales_offset);
        const float *columns = scales + (size_t)call.slices * (size_t)call.tokens +
                               (size_t)slice * (size_t)call.hidden + (size_t)i;
        const float row_scale = scales[row];
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] *= row_scale * columns[k];
        }
    }
}

/* The pairwise tree over PARTS parts, a power of two. */
template <int N, int PARTS>
__device__ __forceinline__ void sum_parts(const rows_norm &call, int token, int i, float *sum)
{
    float tree[PARTS][N];
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        read_part<N>(call, p, token, i, tree[p]);
    }
#pragma unroll
    for (int width = 1; width < PARTS; width *= 2) {
#pragma unroll
        for (int p = 0; p + width < PARTS; p += 2 * width) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                tree[p][k] += tree[p + width][k];
            }
        }
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        sum[k] = tree[0][k] + (call.bias != nullptr ? call.bias[i + k] : 0.0f);
    }
}

/* A thread's part of a row: N values from N · threadIdx.x on, every N · THREADS. */
template <int N> struct row_part {
    int n;
    float *row; /* [n] shared memory */

    template <typename Each> __device__ __forceinline__ void each(Each each) const
    {
        for (int i = (int)threadIdx.x * N; i < n; i += THREADS * N) {
            each(i, row + i);
        }
    }
};

/* 1 / root of the mean square (or the deviation, with *mean) of the row. */
template <int N>
__device__ __forceinline__ float row_norm(const rows_norm &call, const row_part<N> &part,
                                          float *mean, float *shared)
{
    const float n = (float)call.hidden;
    *mean = 0.0f;
    if (call.layer_norm) {
        float sum = 0.0f;
        part.each([&](int, const float *x) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                sum += x[k];
            }
        });
        *mean = block_sum(sum, shared) / n;
    }
    const float middle = *mean;
    float squares = 0.0f;
    part.each([&](int, const float *x) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            squares += (x[k] - middle) * (x[k] - middle);
        }
    });
    return 1.0f / sqrtf(block_sum(squares, shared) / n + call.epsilon);
}

/* row = f(sum of parts + bias), residual += multiplier · row, row = residual. */
template <int N, int PARTS>
__device__ __forceinline__ void add_branch(const rows_norm &call, const row_part<N> &part,
                                           int token, float *residual, float *shared)
{
    part.each([&](int i, float *x) { sum_parts<N, PARTS>(call, token, i, x); });
    if (call.post_weight != nullptr) {
        float mean;
        const float factor = row_norm(call, part, &mean, shared);
        part.each([&](int i, float *x) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                x[k] = (x[k] - mean) * factor * (call.post_weight[i + k] + call.weight_offset);
            }
        });
    }
    part.each([&](int i, float *x) {
        float sum[N];
        read_values<N>(residual, TYPE_FLOAT32, (size_t)i, sum);
#pragma unroll
        for (int k = 0; k < N; k++) {
            sum[k] += call.multiplier * x[k];
            x[k] = sum[k];
        }
        write_values<N>(residual, TYPE_FLOAT32, (size_t)i, sum);
    });
}

/* The row stays in shared memory from the sum to the target. A thread reads only what it wrote
 * there itself, but for fp8 targets. */
template <int N, int PARTS> __global__ void norm_kernel(rows_norm call)
{
    extern __shared__ float4 row_memory[];
    __shared__ float shared[32];
    const int token = (int)blockIdx.x, n = call.hidden;
    const row_part<N> part = {n, reinterpret_cast<float *>(row_memory)};
    float *residual = call.residual + (size_t)token * (size_t)n;
    if (PARTS == 0) {
        part.each([&](int i, float *x) { read_values<N>(residual, TYPE_FLOAT32, (size_t)i, x); });
    } else {
        add_branch<N, PARTS == 0 ? 1 : PARTS>(call, part, token, residual, shared);
    }
    if (!call.write) {
        return;
    }
    if (call.weight != nullptr) {
        float mean;
        const float factor = row_norm(call, part, &mean, shared);
        part.each([&](int i, float *x) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                x[k] = (x[k] - mean) * factor * (call.weight[i + k] + call.weight_offset) +
                       (call.norm_bias != nullptr ? call.norm_bias[i + k] : 0.0f);
            }
        });
    }
    if (call.target.packed != nullptr) {
        __syncthreads(); /* slices are cut otherwise than threads */
        for (int slice = 0; slice < call.target.slices; slice++) {
            pack_row(call.target, token, call.tokens, slice, part.row, shared);
        }
        return;
    }
    part.each([&](int i, const float *x) {
        write_values<N>(call.target.plain, call.target.dtype, (size_t)token * (size_t)n + (size_t)i,
                        x);
    });
}

template <int N, int PARTS> static cudaError_t launch(cudaStream_t stream, const rows_norm *call)
{
    const size_t bytes = (size_t)call->hidden * sizeof(float);
    if (bytes > 47 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(
            norm_kernel<N, PARTS>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
        if (error != cudaSuccess) {
            return error;
        }
    }
    norm_kernel<N, PARTS><<<(unsigned)call->tokens, THREADS, bytes, stream>>>(*call);
    return cudaGetLastError();
}

template <int N> static cudaError_t launch_parts(cudaStream_t stream, const rows_norm *call)
{
    switch (call->ranks * call->slices) {
    case 0:
        return launch<N, 0>(stream, call);
    case 1:
        return launch<N, 1>(stream, call);
    case 2:
        return launch<N, 2>(stream, call);
    case 4:
        return launch<N, 4>(stream, call);
    case 8:
        return launch<N, 8>(stream, call);
    default:
        return cudaErrorInvalidValue;
    }
}

cudaError_t rows_norm_launch(cudaStream_t stream, const rows_norm *call)
{
    return is_wide(call->hidden) ? launch_parts<WIDE>(stream, call) : launch_parts<1>(stream, call);
}
