/* SPDX-License-Identifier: Apache-2.0 */
/* Norms, with what is added to the residual stream before them.
 *
 * Bound by memory. The floor is what a row reads and writes once: the residual in and out in
 * float32, the partial sums in, the target out; 14 bytes a value with two slices in 16 bits and a
 * target in 16 bits, 13 with one in fp8. A row is one block, held as rows.cuh says; its sums run in
 * an order that its width decides. */
#include "backend/cuda/kernels/rows.cuh"

enum { MOST_GROUPS = 4 };

/* Parts of the sum for one token: part p is slice p % slices of rank p / slices. */
template <typename T, int PARTS> struct row_parts {
    const T *from[PARTS];
    const float *columns[PARTS], *row_scale[PARTS]; /* where they are scaled */

    template <typename Value>
    static __device__ __forceinline__ const Value *within(const void *from, size_t bytes)
    {
        return reinterpret_cast<const Value *>(static_cast<const char *>(from) + bytes);
    }

    __device__ __forceinline__ row_parts(const rows_norm &call, int token)
    {
        size_t slice = 0, block = 0; /* bytes */
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            const size_t row = slice * (size_t)call.tokens + (size_t)token;
            from[p] = within<T>(call.partials, block) + row * (size_t)call.hidden;
            columns[p] = within<float>(call.column_scale, block) + slice * (size_t)call.hidden;
            row_scale[p] = within<float>(call.row_scale, block) +
                           slice * (size_t)call.row_scale_stride + (size_t)token;
            if (++slice == (size_t)call.slices) {
                slice = 0;
                block += call.rank_bytes;
            }
        }
    }
};

/* sum = the pairwise tree over COUNT parts, a power of two, from FIRST on; read(p, values): part p.
 */
template <int FIRST, int COUNT, int N, typename Read>
__device__ __forceinline__ void sum_tree(Read read, float (&sum)[N])
{
    if constexpr (COUNT == 1) {
        read(FIRST, sum);
    } else {
        float upper[N];
        sum_tree<FIRST, COUNT / 2>(read, sum);
        sum_tree<FIRST + COUNT / 2, COUNT / 2>(read, upper);
#pragma unroll
        for (int k = 0; k < N; k++) {
            sum[k] = __fadd_rn(sum[k], upper[k]);
        }
    }
}

/* 1 / root of the mean square (or the deviation, with *mean) of the row. */
template <typename Values>
__device__ __forceinline__ float row_norm(const rows_norm &call, Values &values, float *mean,
                                          block_reducer &block)
{
    const float n = (float)call.hidden;
    *mean = 0.0f;
    if (call.layer_norm) {
        float sum = 0.0f;
        values.each([&](int, int, const float *x) {
#pragma unroll
            for (int k = 0; k < Values::N; k++) {
                sum = __fadd_rn(sum, x[k]);
            }
        });
        *mean = block.sum(sum) / n;
    }
    const float middle = *mean;
    float squares = 0.0f;
    values.each([&](int, int, const float *x) {
#pragma unroll
        for (int k = 0; k < Values::N; k++) {
            const float distance = __fsub_rn(x[k], middle);
            squares = __fmaf_rn(distance, distance, squares);
        }
    });
    return 1.0f / sqrtf(__fadd_rn(block.sum(squares) / n, call.epsilon));
}

/* x = norm(x) · weight + bias of N values from column i on. */
template <int N>
__device__ __forceinline__ void apply_norm(const rows_norm &call, const float *weight,
                                           const float *bias, int i, float mean, float factor,
                                           float *x)
{
    float weights[N], biases[N];
    read_vector<N>(weight, i, 1.0f, weights);
    read_vector<N>(bias, i, 0.0f, biases);
#pragma unroll
    for (int k = 0; k < N; k++) {
        const float normed = __fmul_rn(__fsub_rn(x[k], mean), factor);
        x[k] = __fmaf_rn(normed, __fadd_rn(weights[k], call.weight_offset), biases[k]);
    }
}

/* values = sum of parts + bias. */
template <typename T, int PARTS, typename Values>
__device__ __forceinline__ void add_parts(const rows_norm &call, Values &values, int token)
{
    constexpr int N = Values::N;
    /* as much as registers have room for */
    constexpr bool ahead = Values::AHEAD && PARTS * Values::HELD <= 8;
    const row_parts<T, PARTS> parts(call, token);
    chunk<T, N> raw[PARTS][Values::HELD];
    const auto read = [&](int g, int i) {
#pragma unroll
        for (int p = 0; p < PARTS; p++) {
            raw[p][g] = read_chunk<T, N>(parts.from[p] + i);
        }
    };
    if constexpr (ahead) {
        values.each([&](int g, int i, float *) { read(g, i); });
    }
    float row_scale[PARTS];
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        row_scale[p] = call.scaled ? *parts.row_scale[p] : 1.0f;
    }
    values.each([&](int g, int i, float *x) {
        if constexpr (!ahead) {
            read(g, i);
        }
        const auto read_part = [&](int p, float(&part)[N]) {
            unpack(raw[p][g], part);
            if (call.scaled) {
                float columns[N];
                read_vector<N>(parts.columns[p], i, 1.0f, columns);
#pragma unroll
                for (int k = 0; k < N; k++) {
                    part[k] = __fmul_rn(part[k], __fmul_rn(row_scale[p], columns[k]));
                }
            }
        };
        float sum[N], bias[N];
        sum_tree<0, PARTS>(read_part, sum);
        read_vector<N>(call.bias, i, 0.0f, bias);
#pragma unroll
        for (int k = 0; k < N; k++) {
            x[k] = __fadd_rn(sum[k], bias[k]);
        }
    });
}

/* values = the residual; with parts, residual += multiplier · f(their sum) before. */
template <typename T, int PARTS, typename Values>
__device__ __forceinline__ void read_row(const rows_norm &call, Values &values, int token,
                                         float *residual, block_reducer &block)
{
    constexpr int N = Values::N;
    chunk<float, N> before[Values::HELD];
    const auto read = [&](int g, int i) { before[g] = read_chunk<float, N>(residual + i); };
    if constexpr (Values::AHEAD) {
        values.each([&](int g, int i, float *) { read(g, i); });
    }
    if constexpr (PARTS > 0) {
        add_parts<T, PARTS>(call, values, token);
        if (call.post_weight != nullptr) {
            float mean;
            const float factor = row_norm(call, values, &mean, block);
            values.each([&](int, int i, float *x) {
                apply_norm<N>(call, call.post_weight, nullptr, i, mean, factor, x);
            });
        }
    }
    values.each([&](int g, int i, float *x) {
        if constexpr (!Values::AHEAD) {
            read(g, i);
        }
        if constexpr (PARTS > 0) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                x[k] = __fmaf_rn(call.multiplier, x[k], before[g].values[k]);
            }
            write_chunk<float, N>(residual + i, x);
        } else {
            unpack(before[g], x);
        }
    });
}

template <typename T, int G, int PARTS>
__global__ void __launch_bounds__(most_threads(G))
    norm_kernel(const __grid_constant__ rows_norm call)
{
    __shared__ float shared[2][32];
    block_reducer block(shared);
    const int token = (int)blockIdx.x;
    row_values<G> values(call.hidden);
    constexpr int N = row_values<G>::N;
    float *residual = call.residual + (size_t)token * (size_t)call.hidden;
    read_row<T, PARTS>(call, values, token, residual, block);
    if (!call.write) {
        return;
    }
    if (call.weight != nullptr) {
        float mean;
        const float factor = row_norm(call, values, &mean, block);
        values.each([&](int, int i, float *x) {
            apply_norm<N>(call, call.weight, call.norm_bias, i, mean, factor, x);
            if (call.in_place) {
                write_chunk<float, N>(residual + i, x);
            }
        });
    }
    if (call.target.packed == nullptr) {
        write_plain<T>(call.target, token, call.hidden, values, 0);
        return;
    }
    for (int slice = 0; slice < call.target.slices; slice++) {
        pack_slice(call.target, token, call.tokens, slice, values, 0, block);
    }
}

template <typename T, int G>
static cudaError_t launch_parts(cudaStream_t stream, const row_shape &shape, const rows_norm &call)
{
    const dim3 blocks((unsigned)call.tokens);
    switch (call.ranks * call.slices) {
    case 0:
        return launch_rows(stream, norm_kernel<T, G, 0>, blocks, shape, call);
    case 1:
        return launch_rows(stream, norm_kernel<T, G, 1>, blocks, shape, call);
    case 2:
        return launch_rows(stream, norm_kernel<T, G, 2>, blocks, shape, call);
    case 4:
        return launch_rows(stream, norm_kernel<T, G, 4>, blocks, shape, call);
    case 8:
        return launch_rows(stream, norm_kernel<T, G, 8>, blocks, shape, call);
    default:
        return cudaErrorInvalidValue;
    }
}

cudaError_t rows_norm_launch(cudaStream_t stream, const rows_norm *call)
{
    const bool wide = call->rank_bytes % 16 == 0 &&
                      all_aligned({call->residual, call->partials, call->column_scale, call->bias,
                                   call->post_weight, call->weight, call->norm_bias});
    const row_shape shape =
        shape_of(call->hidden, wide && is_wide(call->target, call->hidden), MOST_GROUPS);
    const bool adds = call->ranks > 0;
    const bool is_plain = call->write && call->target.packed == nullptr;
    if (adds && is_plain && call->target.dtype != call->partial_dtype) {
        return cudaErrorInvalidValue;
    }
    return with_type(
        adds ? call->partial_dtype : call->target.dtype, shape.groups, [&](auto type, auto groups) {
            constexpr int G = decltype(groups)::value;
            return launch_parts < decltype(type), G <= MOST_GROUPS ? G : 0 > (stream, shape, *call);
        });
}
