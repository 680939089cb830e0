/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels on each row alone: embedding, activation, rounding to fp8, logits.
 *
 * All are bound by memory; the floor of each is the bytes that it reads and writes once: gate and
 * up in 16 bits and the result in fp8, 5 bytes a value; rounding, 3. Scales and biases of columns
 * are the same for all rows and stay in the first-level cache, which rows pass by. A block takes a
 * slice of a row (a piece where nothing is rounded to fp8), held as rows.cuh says; the largest
 * magnitude of a slice is exact in any order, so that a value's bits depend on its slice alone. */
#include "backend/cuda/kernels/activation.cuh"
#include "backend/cuda/kernels/rows.cuh"

/* ---- Embedding ---- */

enum { EMBED_THREADS = 256 };

__device__ __forceinline__ int64_t row_of(const rows_embed &call, int token)
{
    int64_t row = call.row_ids[token];
    if (call.type_step != 0) {
        row *= call.position_step;
        row += call.types != nullptr ? (int64_t)call.types[token] * call.type_step : 0;
    }
    return row - call.first_row;
}

template <typename T, int N>
__global__ void __launch_bounds__(EMBED_THREADS)
    embed_kernel(const __grid_constant__ rows_embed call)
{
    const int token = (int)blockIdx.x;
    const int64_t row = row_of(call, token);
    const bool here = row >= 0 && row < call.rows;
    const T *from = static_cast<const T *>(call.table) + (size_t)row * (size_t)call.hidden;
    float *to = call.residual + (size_t)token * (size_t)call.hidden;
    for (int i = (int)threadIdx.x * N; i < call.hidden; i += EMBED_THREADS * N) {
        chunk<float, N> before = {};
        chunk<T, N> entry = {};
        if (call.is_added) {
            before = read_chunk<float, N>(to + i);
        }
        if (here) {
            entry = read_chunk<T, N>(from + i);
        }
        float values[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            /* -0 becomes 0, as in a sum over ranks */
            values[k] = __fmaf_rn(to_float(entry.values[k]), call.scale, before.values[k]);
        }
        write_chunk<float, N>(to + i, values);
    }
}

cudaError_t rows_embed_launch(cudaStream_t stream, const rows_embed *call)
{
    const bool wide = call->hidden % 8 == 0 && all_aligned({call->table, call->residual});
    return with_type(call->dtype, wide, [&](auto type, auto groups) {
        using T = decltype(type);
        constexpr int N = decltype(groups)::value > 0 ? 8 : 1;
        embed_kernel<T, N><<<(unsigned)call->tokens, EMBED_THREADS, 0, stream>>>(*call);
        return cudaGetLastError();
    });
}

/* ---- Pieces of rows ---- */

/* How a grid goes over rows: block (row, part) takes a slice, or the columns from part · piece on.
 */
struct row_grid {
    row_shape shape;
    dim3 blocks;
    int piece; /* 0: slices */
};

/* Columns of a piece at most. */
enum { MOST_PIECE = 4096, MOST_GROUPS = 8 };

static row_grid grid_of(const rows_target &target, int rows, int width, bool wide)
{
    row_grid grid = {{}, dim3((unsigned)rows), 0};
    int widest = 0;
    if (target.packed != nullptr) {
        grid.blocks.y = (unsigned)target.slices;
        for (int i = 0; i < target.slices; i++) {
            const int slice = target.slice_start[i + 1] - target.slice_start[i];
            widest = slice > widest ? slice : widest;
        }
    } else {
        const int pieces = (width + MOST_PIECE - 1) / MOST_PIECE;
        grid.blocks.y = (unsigned)pieces;
        widest = pieces > 0 ? ((width + pieces - 1) / pieces + 7) / 8 * 8 : 0;
        grid.piece = widest;
    }
    grid.shape = shape_of(widest, wide && is_wide(target, width), MOST_GROUPS);
    return grid;
}

/* First column of the block's part, and how many it has. */
__device__ __forceinline__ int part_start(const rows_target &target, int piece, int width,
                                          int *columns)
{
    const int part = (int)blockIdx.y;
    const int first = piece > 0 ? part * piece : target.slice_start[part];
    const int last = piece > 0 ? min(first + piece, width) : target.slice_start[part + 1];
    *columns = last - first;
    return first;
}

template <typename T, typename Values>
__device__ __forceinline__ void write_part(const rows_target &target, int row, int rows, int width,
                                           Values &values, int first)
{
    if (target.packed != nullptr) {
        __shared__ float shared[2][32];
        block_reducer block(shared);
        pack_slice(target, row, rows, (int)blockIdx.y, values, first, block);
    } else {
        write_plain<T>(target, row, width, values, first);
    }
}

/* Whether the target is for rows of this type. */
static bool has_type(const rows_target &target, int dtype)
{
    return target.packed != nullptr || target.dtype == dtype;
}

/* ---- Activation ---- */

/* Finishes N values of a raw product's row from column i on. */
template <int N>
__device__ __forceinline__ void finish_pending(const rows_pending &pending, float row_scale, int i,
                                               float *values)
{
    float vector[N];
    if (pending.column_scale != nullptr) {
        read_vector<N>(pending.column_scale, i, 1.0f, vector);
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = __fmul_rn(values[k], __fmul_rn(row_scale, vector[k]));
        }
    }
    if (pending.bias != nullptr) {
        read_vector<N>(pending.bias, i, 0.0f, vector);
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = __fadd_rn(values[k], vector[k]);
        }
    }
}

template <int N> __device__ __forceinline__ void activate_any(int activation, float *values)
{
    switch (activation) {
    case SILU:
        return activate<SILU, N>(values);
    case GELU_TANH:
        return activate<GELU_TANH, N>(values);
    case GELU:
        return activate<GELU, N>(values);
    case RELU_SQUARED:
        return activate<RELU_SQUARED, N>(values);
    default:
        return activate<RELU, N>(values);
    }
}

/* Registers of a thread: three blocks of 448 threads, or two where a thread holds four groups, find
 * room on a multiprocessor. */
constexpr int activate_registers(int groups, int value_bytes)
{
    return value_bytes > 2 || groups > 4 ? 128 : groups == 4 ? 72 : 48;
}

template <typename T, int G>
__global__ void __maxnreg__(activate_registers(G, sizeof(T)))
    activate_kernel(const __grid_constant__ rows_activate call, int piece)
{
    using Values = row_values<G>;
    constexpr int N = Values::N;
    const int token = (int)blockIdx.x;
    int columns;
    const int first = part_start(call.target, piece, call.width, &columns);
    const T *from = static_cast<const T *>(call.in) + (size_t)first +
                    (size_t)token * (size_t)(call.gated ? 2 * call.width : call.width);
    Values values(columns);
    chunk<T, N> gate[Values::HELD], up[Values::HELD];
    const auto read = [&](int g, int i) {
        gate[g] = read_chunk<T, N>(from + i);
        if (call.gated) {
            up[g] = read_chunk<T, N>(from + call.width + i);
        }
    };
    if constexpr (Values::AHEAD) {
        values.each([&](int g, int i, float *) { read(g, i); });
    }
    const float row_scale =
        call.pending.row_scale != nullptr ? call.pending.row_scale[token] : 1.0f;
    values.each([&](int g, int i, float *x) {
        if constexpr (!Values::AHEAD) {
            read(g, i);
        }
        unpack(gate[g], x);
        finish_pending<N>(call.pending, row_scale, first + i, x);
        activate_any<N>(call.activation, x);
        if (call.gated) {
            float factor[N];
            unpack(up[g], factor);
            finish_pending<N>(call.pending, row_scale, call.width + first + i, factor);
#pragma unroll
            for (int k = 0; k < N; k++) {
                x[k] = __fmul_rn(x[k], factor[k]);
            }
        }
    });
    write_part<T>(call.target, token, call.tokens, call.width, values, first);
}

enum { SETTLE_THREADS = 128 };

template <typename T, int N>
__global__ void __launch_bounds__(SETTLE_THREADS)
    settle_kernel(const __grid_constant__ rows_settle call)
{
    const int i = N * ((int)blockIdx.y * SETTLE_THREADS + (int)threadIdx.x);
    if (i >= call.width) {
        return;
    }
    const size_t token = blockIdx.x;
    T *at = static_cast<T *>(call.values) + token * (size_t)call.width + (size_t)i;
    float values[N];
    unpack(read_chunk<T, N>(at), values);
    finish_pending<N>(call.pending,
                      call.pending.row_scale != nullptr ? call.pending.row_scale[token] : 1.0f, i,
                      values);
    write_chunk<T, N>(at, values);
}

cudaError_t rows_settle_launch(cudaStream_t stream, const rows_settle *call)
{
    const bool wide = call->width % 8 == 0 &&
                      all_aligned({call->values, call->pending.column_scale, call->pending.bias});
    return with_type(call->dtype, wide, [&](auto type, auto groups) {
        using T = decltype(type);
        constexpr int N = decltype(groups)::value > 0 ? 8 : 1;
        const unsigned parts =
            (unsigned)(call->width + N * SETTLE_THREADS - 1) / (N * SETTLE_THREADS);
        if (parts > 0) {
            settle_kernel<T, N>
                <<<dim3((unsigned)call->tokens, parts), SETTLE_THREADS, 0, stream>>>(*call);
        }
        return cudaGetLastError();
    });
}

/* x = raw · (row scale · column scale), one operation each. */
template <typename T, int N>
__device__ __forceinline__ void scale_chunk(const chunk<T, N> &raw, float row_scale,
                                            const float *column_scale, float (&x)[N])
{
    float columns[N];
    read_shared_vector<N>(column_scale, columns);
    unpack(raw, x);
#pragma unroll
    for (int k = 0; k < N; k++) {
        x[k] = __fmul_rn(x[k], __fmul_rn(row_scale, columns[k]));
    }
}

/* activate_kernel as most models have it: SILU of a gate, scales and no bias, to fp8 in slices of
 * as many values as the block's threads have. Nothing stands behind a condition here, which spares
 * a third of the instructions, and it is these that activate_kernel is bound by. */
template <typename T, int G>
__global__ void __maxnreg__(activate_registers(G, sizeof(T)))
    gated_silu_kernel(const __grid_constant__ rows_activate call)
{
    constexpr int N = 8;
    __shared__ float shared[2][32];
    block_reducer block(shared);
    const rows_target &target = call.target;
    const int token = (int)blockIdx.x, slice = (int)blockIdx.y;
    const int own = (int)threadIdx.x * N, apart = (int)blockDim.x * N;
    const int column = target.slice_start[slice] + own;
    const T *from =
        static_cast<const T *>(call.in) + (size_t)token * (size_t)(2 * call.width) + (size_t)column;
    chunk<T, N> gate[G], up[G];
#pragma unroll
    for (int g = 0; g < G; g++) {
        gate[g] = read_chunk<T, N>(from + g * apart);
        up[g] = read_chunk<T, N>(from + call.width + g * apart);
    }
    const float row_scale = call.pending.row_scale[token];
    __syncwarp(); /* else the compiler asks for a group when it is done with the one before */
    const float *scales = call.pending.column_scale + column;
    float x[G][N], most = 0.0f; /* a NaN is passed over here, and stays one below */
#pragma unroll
    for (int g = 0; g < G; g++) {
        float factor[N];
        scale_chunk(gate[g], row_scale, scales + g * apart, x[g]);
        activate<SILU, N>(x[g]);
        scale_chunk(up[g], row_scale, scales + call.width + g * apart, factor);
#pragma unroll
        for (int k = 0; k < N; k++) {
            x[g][k] = __fmul_rn(x[g][k], factor[k]);
            most = fmaxf(most, fabsf(x[g][k]));
        }
    }
    const float scale = fp8_scale(block.most(most)), inverse = 1.0f / scale;
    const size_t row = (size_t)slice * (size_t)call.tokens + (size_t)token;
    __nv_fp8_e4m3 *to =
        static_cast<__nv_fp8_e4m3 *>(target.packed) + row * (size_t)target.padded + (size_t)own;
#pragma unroll
    for (int g = 0; g < G; g++) {
        write_fp8<N>(to + g * apart, x[g], inverse);
    }
    if (threadIdx.x == 0) {
        target.scale[(size_t)slice * (size_t)target.scale_stride + (size_t)token] = scale;
    }
}

/* Whether it is that, for blocks that hold `columns` values. */
static bool is_gated_silu(const rows_activate &call, int columns)
{
    const rows_target &target = call.target;
    bool fits = target.packed != nullptr && target.padded == columns;
    for (int i = 0; i < target.slices; i++) {
        fits = fits && target.slice_start[i + 1] - target.slice_start[i] == columns;
    }
    return fits && call.activation == SILU && call.gated && call.pending.row_scale != nullptr &&
           call.pending.column_scale != nullptr && call.pending.bias == nullptr &&
           target.row_static_scale == nullptr && target.static_scale == 0.0f;
}

/* What a thread does once for all its values, meeting the others above all, is a third of the work
 * with two groups where values are rounded to fp8. With four it is a sixth, where there are blocks
 * enough for as many warps. */
static void use_four_groups(row_grid *grid)
{
    enum { MANY_BLOCKS = 1024 };
    if (grid->shape.groups == 2 && grid->piece == 0 &&
        grid->blocks.x * grid->blocks.y >= MANY_BLOCKS) {
        grid->shape.groups = 4;
        grid->shape.threads = threads_of(2 * grid->shape.threads, 4);
    }
}

cudaError_t rows_activate_launch(cudaStream_t stream, const rows_activate *call)
{
    const bool wide = all_aligned({call->in, call->pending.column_scale, call->pending.bias});
    row_grid grid = grid_of(call->target, call->tokens, call->width, wide);
    use_four_groups(&grid);
    if (call->tokens == 0 || grid.blocks.y == 0) {
        return cudaSuccess;
    }
    if (!has_type(call->target, call->dtype)) {
        return cudaErrorInvalidValue;
    }
    return with_type(call->dtype, grid.shape.groups, [&](auto type, auto groups) {
        using T = decltype(type);
        constexpr int G = decltype(groups)::value;
        if constexpr (sizeof(T) == 2 && (G == 2 || G == 4)) {
            if (is_gated_silu(*call, 8 * G * grid.shape.threads)) {
                return launch_rows(stream, gated_silu_kernel<T, G>, grid.blocks, grid.shape, *call);
            }
        }
        return launch_rows(stream, activate_kernel<T, G>, grid.blocks, grid.shape, *call,
                           grid.piece);
    });
}

/* ---- Copies ---- */

template <typename T, int G>
__global__ void __launch_bounds__(most_threads(G))
    copy_kernel(const __grid_constant__ rows_copy call, int piece)
{
    using Values = row_values<G>;
    constexpr int N = Values::N;
    const int row = (int)blockIdx.x;
    int columns;
    const int first = part_start(call.target, piece, call.width, &columns);
    const T *from = static_cast<const T *>(call.in) + (size_t)first +
                    (size_t)(call.pick != nullptr ? call.pick[row] : row) * (size_t)call.width;
    Values values(columns);
    chunk<T, N> raw[Values::HELD];
    const auto read = [&](int g, int i) { raw[g] = read_chunk<T, N>(from + i); };
    if constexpr (Values::AHEAD) {
        values.each([&](int g, int i, float *) { read(g, i); });
    }
    values.each([&](int g, int i, float *x) {
        if constexpr (!Values::AHEAD) {
            read(g, i);
        }
        unpack(raw[g], x);
    });
    write_part<T>(call.target, row, call.rows, call.width, values, first);
}

cudaError_t rows_copy_launch(cudaStream_t stream, const rows_copy *call)
{
    const row_grid grid = grid_of(call->target, call->rows, call->width, all_aligned({call->in}));
    if (call->rows == 0 || grid.blocks.y == 0) {
        return cudaSuccess;
    }
    if (!has_type(call->target, call->dtype)) {
        return cudaErrorInvalidValue;
    }
    return with_type(call->dtype, grid.shape.groups, [&](auto type, auto groups) {
        return launch_rows(stream, copy_kernel<decltype(type), decltype(groups)::value>,
                           grid.blocks, grid.shape, *call, grid.piece);
    });
}

/* ---- Logits ---- */

enum { LOGITS_THREADS = 256 };

__global__ void scale_cap_kernel(float *logits, size_t count, float scale, float soft_cap)
{
    for (size_t i = (size_t)blockIdx.x * LOGITS_THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * LOGITS_THREADS) {
        const float x = logits[i] * scale;
        logits[i] = soft_cap > 0.0f ? soft_cap * tanhf(x / soft_cap) : x;
    }
}

cudaError_t rows_scale_cap_launch(cudaStream_t stream, float *logits, int rows, int width,
                                  float scale, float soft_cap)
{
    const size_t count = (size_t)rows * (size_t)width;
    const size_t blocks = (count + 4 * LOGITS_THREADS - 1) / (4 * LOGITS_THREADS);
    if (blocks == 0) {
        return cudaSuccess;
    }
    scale_cap_kernel<<<(unsigned)(blocks < 65536 ? blocks : 65536), LOGITS_THREADS, 0, stream>>>(
        logits, count, scale, soft_cap);
    return cudaGetLastError();
}
