/* SPDX-License-Identifier: Apache-2.0 */
/* Mixture of experts: the grouped product, out[row] = in[source(row)] · weights[expert of row]ᵀ.
 *
 * A block makes a tile: `ROWS` rows of an expert's weights by `TOKENS` of its rows. The weights are
 * the tensor cores' first operand (m16), the rows their second (n8), so that a tile of few rows
 * wastes little. Both come through a ring of stages in shared memory, 128 bytes of k each, copied
 * asynchronously; the rows are gathered on the way. float32 has the same tiles and fused
 * multiply-adds in place of tensor cores.
 *
 * Floors: the weights of the experts that have rows are read once (bytes / memory bandwidth: few
 * rows an expert), or 2 · P · columns · k operations at the tensor cores' rate (many). Blocks that
 * share weights and rows run next to each other, so that both are read from memory once.
 *
 * Bits: an output is one chain over k in steps of 32 bytes, in ascending order, whatever the tile;
 * tiles differ in how many outputs they hold. */
#include <type_traits>

#include "backend/cuda/kernels/activation.cuh"
#include "backend/cuda/kernels/experts.h"
#include "backend/cuda/kernels/experts_rules.h"
#include "backend/cuda/kernels/tile_product.cuh"
#include "backend/cuda/kernels/vectors.cuh"

enum {
    GROUP = 8,        /* tiles of rows that go through the weights together */
    TILE_PADDING = 4, /* floats, keeps columns of the result off one bank */
};

/* A tile and how the warps of its block share it. */
template <int ROWS_, int TOKENS_, int ROW_WARPS_, int TOKEN_WARPS_, int STAGES_, int BLOCKS_>
struct tile_shape {
    static constexpr int ROWS = ROWS_, TOKENS = TOKENS_;
    static constexpr int TOKEN_WARPS = TOKEN_WARPS_;
    static constexpr int STAGES = STAGES_;
    static constexpr int BLOCKS = BLOCKS_; /* on a multiprocessor together, for registers */
    static constexpr int THREADS = 32 * ROW_WARPS_ * TOKEN_WARPS_;
    static constexpr int PITCH = ROWS + TILE_PADDING; /* of the result */
    static constexpr int RING_BYTES = STAGES * (ROWS + TOKENS) * STAGE_BYTES;
    static constexpr int RESULT_BYTES = TOKENS * PITCH * (int)sizeof(float);
    static constexpr int SHARED_BYTES = RING_BYTES > RESULT_BYTES ? RING_BYTES : RESULT_BYTES;
};
using small_tile = tile_shape<64, 16, 4, 1, 5, 4>;
using medium_tile = tile_shape<128, 64, 4, 2, 3, 2>;
using large_tile = tile_shape<128, 128, 2, 4, 3, 2>;

/* Whether T is multiplied by warpgroups, and how the warps of a block share a tile. */
template <class Shape, typename T> struct tile_share {
    static constexpr bool WARPGROUPS = HAS_WARPGROUPS && !std::is_same<T, float>::value;
    static constexpr int TOKEN_WARPS = WARPGROUPS ? 1 : Shape::TOKEN_WARPS;
    static constexpr int WARP_ROWS = Shape::ROWS * TOKEN_WARPS / (Shape::THREADS / 32);
    static constexpr int WARP_TOKENS = Shape::TOKENS / TOKEN_WARPS;
    static constexpr int M = WARP_ROWS / 16, N = WARP_TOKENS / 8; /* tensor core tiles */
    static_assert(N % 2 == 0, "rows are read from shared memory in pairs of tiles");
    static_assert(!WARPGROUPS || M == 1, "a warp has sixteen of its warpgroup's rows");
};

/* ---- Copies ---- */

/* Copies `bytes` (at most 16) to one piece and zeros behind them; where there are none, nothing is
 * read. */
__device__ __forceinline__ void copy_piece(char *to, const char *from, int bytes)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
}

/* The same for addresses that are aligned to a value only. */
template <typename T>
__device__ __forceinline__ void copy_values(char *to, const char *from, int bytes)
{
#pragma unroll 1
    for (int i = 0; i < PIECE_BYTES / (int)sizeof(T); i++) {
        T value{};
        if (i * (int)sizeof(T) < bytes) {
            value = reinterpret_cast<const T *>(from)[i];
        }
        reinterpret_cast<T *>(to)[i] = value;
    }
}

__device__ __forceinline__ void end_copies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int LEFT> __device__ __forceinline__ void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* ---- Tiles ---- */

/* What a block works on. */
struct tile_place {
    int expert, slice;
    int first_row, rows; /* of the rows sorted by expert */
    int column;          /* first of the result */
};

/* Tiles of an expert's rows go through its weights in groups, so that the weights pass once and the
 * group's rows stay in cache. */
__device__ __forceinline__ tile_place find_place(const experts_product &call, int tile,
                                                 int tiles_each, int column_tiles, int tile_columns)
{
    const experts_plan &plan = call.plan;
    const int expert = plan.tile_expert[tile];
    const int first = plan.first_tile[expert], tiles = plan.first_tile[expert + 1] - first;
    int at = (int)blockIdx.x - first * tiles_each;
    const int group = at / (GROUP * tiles_each) * GROUP;
    at -= group * tiles_each;
    const int together = min(GROUP, tiles - group);
    const int row_tile = group + at % together, rest = at / together;
    const int row = plan.start[expert] + row_tile * plan.tile_rows;
    return {expert, rest / column_tiles, row, min(plan.tile_rows, plan.start[expert + 1] - row),
            rest % column_tiles * tile_columns};
}

/* The copies that one thread makes for each stage: one piece of every `STRIDE`-th row. */
template <typename T, class Shape> struct tile_copies {
    static constexpr int STRIDE = Shape::THREADS / PIECES;
    static constexpr int WEIGHTS = Shape::ROWS / STRIDE, TOKENS = Shape::TOKENS / STRIDE;
    const char *weights;
    size_t weights_stride;
    int weights_left; /* rows that are there, counted in strides from this thread's first */
    const char *rows[TOKENS];
    unsigned rows_there; /* a bit each */
    int k_bytes, row, piece;
    bool aligned;

    __device__ __forceinline__ tile_copies(const experts_product &call, const tile_place &place)
    {
        row = (int)threadIdx.x / PIECES;
        piece = (int)threadIdx.x % PIECES;
        k_bytes = call.slice_bytes[place.slice];
        aligned = call.aligned != 0;

        /* Gated: rows 0 to 7 of sixteen are gates and the others what they gate. */
        const bool gated = call.gate_distance > 0;
        int column = place.column + row, stride = STRIDE;
        int matrix_row = call.first_row + column;
        if (gated) {
            column = place.column + row / 16 * 8 + row % 8;
            matrix_row = column + (row % 16 < 8 ? 0 : call.gate_distance);
            stride = STRIDE / 2;
        }
        weights = call.weights + (size_t)place.expert * call.expert_bytes +
                  call.weight_slice[place.slice] + (size_t)matrix_row * call.weight_row_bytes +
                  piece * PIECE_BYTES;
        weights_stride = (size_t)stride * call.weight_row_bytes;
        weights_left = (call.columns - column + stride - 1) / stride;
        rows_there = 0;
#pragma unroll
        for (int i = 0; i < TOKENS; i++) {
            const int at = row + i * STRIDE;
            const bool there = at < place.rows;
            int source = there ? place.first_row + at : place.first_row;
            if (call.source != nullptr) {
                source = call.source[source];
            }
            rows[i] = call.in + call.in_slice[place.slice] + (size_t)source * call.in_row_bytes +
                      piece * PIECE_BYTES;
            rows_there |= there ? 1u << i : 0u;
        }
    }

    /* copy(to, from, bytes) for each piece of a stage. */
    template <typename Copy>
    __device__ __forceinline__ void for_pieces(char *ring, int stage, Copy copy) const
    {
        const int offset = stage * STAGE_BYTES;
        const int bytes = max(0, min(PIECE_BYTES, k_bytes - offset - piece * PIECE_BYTES));
#pragma unroll
        for (int i = 0; i < WEIGHTS; i++) {
            copy(ring + piece_at(row + i * STRIDE, piece),
                 weights + (size_t)i * weights_stride + offset, i < weights_left ? bytes : 0);
        }
        char *tokens = ring + Shape::ROWS * STAGE_BYTES;
#pragma unroll
        for (int i = 0; i < TOKENS; i++) {
            copy(tokens + piece_at(row + i * STRIDE, piece), rows[i] + offset,
                 (rows_there >> i & 1) != 0 ? bytes : 0);
        }
    }

    /* Stage number `stage` of the product into its place in the ring. */
    __device__ __forceinline__ void start(char *ring, int stage) const
    {
        if (aligned) {
            for_pieces(ring, stage, copy_piece);
        } else {
            for_pieces(ring, stage, copy_values<T>);
        }
    }
};

/* ---- Results ---- */

/* The warp's sums, scaled, into the block's result [TOKENS][PITCH]. Gated: gates, then what they
 * gate. */
template <class Shape, int M, int N>
__device__ __forceinline__ void write_sums(const experts_product &call, const tile_place &place,
                                           int warp_row, int warp_token,
                                           const float (&sum)[M][N][4], float *result)
{
    const int lane = (int)threadIdx.x % 32;
    const bool gated = call.gate_distance > 0, scaled = call.weight_scale != nullptr;
    float scale[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int local =
                (gated ? (warp_row / 16 + m) * 8 : warp_row + m * 16 + i * 8) + lane / 4;
            const int column = place.column + local;
            const size_t at =
                ((size_t)place.expert * (size_t)call.slices + (size_t)place.slice) *
                    (size_t)call.matrix_rows +
                (size_t)(call.first_row + column + (gated ? i * call.gate_distance : 0));
            scale[m][i] = scaled && column < call.columns ? call.weight_scale[at] : 1.0f;
        }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int token = warp_token + n * 8 + lane % 4 * 2 + j;
            float row_scale = 1.0f;
            if (scaled && token < place.rows) {
                const int row = place.first_row + token;
                row_scale =
                    call.in_scale[(size_t)place.slice * (size_t)call.in_scale_stride +
                                  (size_t)(call.source != nullptr ? call.source[row] : row)];
            }
            float *to = result + token * Shape::PITCH + lane / 4;
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int local = gated ? (warp_row / 16 + m) * 8 + i * Shape::ROWS / 2
                                            : warp_row + m * 16 + i * 8;
                    const float raw = sum[m][n][2 * i + j];
                    to[local] = scaled ? raw * (row_scale * scale[m][i]) : raw;
                }
            }
        }
    }
}

__device__ __forceinline__ void read_result(const float *from, float (&to)[8])
{
    const float4 a = reinterpret_cast<const float4 *>(from)[0];
    const float4 b = reinterpret_cast<const float4 *>(from)[1];
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
    to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

/* Eight sums of columns from `first` on, of which `left` are there, and their expert's bias. */
__device__ __forceinline__ void add_bias(const experts_product &call, const tile_place &place,
                                         int first, int left, float (&values)[8])
{
    if (call.bias == nullptr || place.slice > 0) {
        return;
    }
    const float *bias = call.bias + (size_t)place.expert * (size_t)call.matrix_rows +
                        (size_t)(call.first_row + first);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        values[j] = __fadd_rn(values[j], j < left ? bias[j] : 0.0f);
    }
}

/* The activation of the block's result in `values`, and what it gates. */
__device__ __forceinline__ void activate_sums(const experts_product &call, const tile_place &place,
                                              int column, int left, const float *ups,
                                              float (&values)[8])
{
    if (call.gate_distance == 0) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            values[j] = activation_of(call.activation, values[j]);
        }
        return;
    }
    float up[8];
    read_result(ups, up);
    add_bias(call, place, column + call.gate_distance, left, up);
    if (call.limit > 0.0f) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            values[j] = expert_clamped(values[j], up[j], call.limit);
        }
        return;
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        values[j] = activation_of(call.activation, values[j]) * up[j];
    }
}

/* The block's result, activated and weighted, to its place: eight columns of a row a thread. */
template <class Shape>
__device__ __forceinline__ void finish_result(const experts_product &call, const tile_place &place,
                                              int tile_columns, const float *result)
{
    const int vectors = tile_columns / 8;
    const bool wide = call.columns % 8 == 0;
    for (int i = (int)threadIdx.x; i < place.rows * vectors; i += Shape::THREADS) {
        const int token = i / vectors, local = i % vectors * 8;
        const int left = call.columns - place.column - local, row = place.first_row + token;
        if (left <= 0) {
            continue;
        }
        float values[8];
        const float *from = result + token * Shape::PITCH + local;
        read_result(from, values);
        add_bias(call, place, place.column + local, left, values);
        if (call.activation >= 0) {
            activate_sums(call, place, place.column + local, left, from + Shape::ROWS / 2, values);
        }
        if (call.row_weight != nullptr) {
            const float weight = call.row_weight[row];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                values[j] *= weight;
            }
        }
        const size_t at =
            ((size_t)place.slice * (size_t)call.plan.rows + (size_t)row) * (size_t)call.columns +
            (size_t)(place.column + local);
        if (call.out_dtype == TYPE_FLOAT32) {
            store_eight(static_cast<float *>(call.out) + at, wide, left, values);
        } else if (call.out_dtype == TYPE_BFLOAT16) {
            store_eight(static_cast<__nv_bfloat16 *>(call.out) + at, wide, left, values);
        } else {
            store_eight(static_cast<__half *>(call.out) + at, wide, left, values);
        }
    }
}

/* ---- The kernel ---- */

template <class Shape, typename T>
__global__ void __launch_bounds__(Shape::THREADS, Shape::BLOCKS)
    product_kernel(const __grid_constant__ experts_product call)
{
    extern __shared__ __align__(1024) char shared[]; /* as wgmma's swizzle wants it */
    const int tile_columns = call.gate_distance > 0 ? Shape::ROWS / 2 : Shape::ROWS;
    const int column_tiles = (call.columns + tile_columns - 1) / tile_columns;
    const int tiles_each = call.slices * column_tiles;
    const int tile = (int)blockIdx.x / tiles_each;
    if (tile >= call.plan.first_tile[call.plan.experts]) {
        return; /* the grid is made for the most that there can be */
    }
    const tile_place place = find_place(call, tile, tiles_each, column_tiles, tile_columns);
    const tile_copies<T, Shape> copies(call, place);
    const int stages = (call.slice_bytes[place.slice] + STAGE_BYTES - 1) / STAGE_BYTES;
    constexpr int RING_STAGE = (Shape::ROWS + Shape::TOKENS) * STAGE_BYTES;

    for (int stage = 0; stage < Shape::STAGES - 1; stage++) {
        if (stage < stages) {
            copies.start(shared + stage * RING_STAGE, stage);
        }
        end_copies();
    }
    using share = tile_share<Shape, T>;
    const int warp = (int)threadIdx.x / 32;
    const int warp_row = warp / share::TOKEN_WARPS * share::WARP_ROWS;
    const int warp_token = warp % share::TOKEN_WARPS * share::WARP_TOKENS;
    float sum[share::M][share::N][4] = {};
    int now = 0, next = Shape::STAGES - 1; /* places in the ring */
    for (int stage = 0; stage < stages; stage++) {
        wait_for_copies<Shape::STAGES - 2>();
        if constexpr (share::WARPGROUPS) {
            show_copies();
            wait_for_products(); /* which read the place that is filled next */
        }
        __syncthreads();
        const char *weights = shared + now * RING_STAGE;
        const char *rows = weights + (Shape::ROWS + warp_token) * STAGE_BYTES;
        if constexpr (share::WARPGROUPS) {
            start_stage<T>(weights + warp_row / 64 * 64 * STAGE_BYTES, rows, sum);
        }
        if (stage + Shape::STAGES - 1 < stages) {
            copies.start(shared + next * RING_STAGE, stage + Shape::STAGES - 1);
        }
        end_copies();
        if constexpr (std::is_same<T, float>::value) {
            multiply_stage_float(weights + warp_row * STAGE_BYTES, rows, sum);
        } else if constexpr (!share::WARPGROUPS) {
            multiply_stage<T>(weights + warp_row * STAGE_BYTES, rows, sum);
        }
        now = now + 1 == Shape::STAGES ? 0 : now + 1;
        next = next + 1 == Shape::STAGES ? 0 : next + 1;
    }
    wait_for_copies<0>();
    if constexpr (share::WARPGROUPS) {
        wait_for_products();
        pin_sums(sum);
    }
    __syncthreads(); /* the ring is free for the result */

    float *result = reinterpret_cast<float *>(shared);
    write_sums<Shape>(call, place, warp_row, warp_token, sum, result);
    __syncthreads();
    finish_result<Shape>(call, place, tile_columns, result);
}

template <class Shape, typename T>
static cudaError_t launch_product(cudaStream_t stream, const experts_product *call)
{
    const int tile_columns = call->gate_distance > 0 ? Shape::ROWS / 2 : Shape::ROWS;
    const int column_tiles = (call->columns + tile_columns - 1) / tile_columns;
    const size_t blocks =
        (size_t)call->plan.most_tiles * (size_t)call->slices * (size_t)column_tiles;
    if (blocks == 0) {
        return cudaSuccess;
    }
    if (blocks > INT32_MAX) {
        return cudaErrorInvalidConfiguration;
    }
    const cudaError_t error = cudaFuncSetAttribute(
        product_kernel<Shape, T>, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::SHARED_BYTES);
    if (error != cudaSuccess) {
        return error;
    }
    product_kernel<Shape, T>
        <<<(unsigned)blocks, Shape::THREADS, Shape::SHARED_BYTES, stream>>>(*call);
    return cudaGetLastError();
}

template <typename T>
static cudaError_t launch_type(cudaStream_t stream, const experts_product *call)
{
    if (call->plan.tile_rows == small_tile::TOKENS) {
        return launch_product<small_tile, T>(stream, call);
    }
    if (call->plan.tile_rows == medium_tile::TOKENS) {
        return launch_product<medium_tile, T>(stream, call);
    }
    return launch_product<large_tile, T>(stream, call);
}

/* Few rows an expert: the smallest tile that mostly holds them, so that weights pass once. */
int experts_tile_rows(int rows, int experts)
{
    const int each = rows / experts;
    return each <= 8 ? small_tile::TOKENS : each <= 40 ? medium_tile::TOKENS : large_tile::TOKENS;
}

cudaError_t experts_product_launch(cudaStream_t stream, const experts_product *call)
{
    switch (call->dtype) {
    case TYPE_FLOAT32:
        return launch_type<float>(stream, call);
    case TYPE_BFLOAT16:
        return launch_type<__nv_bfloat16>(stream, call);
    case TYPE_FLOAT16:
        return launch_type<__half>(stream, call);
    default:
        return launch_type<__nv_fp8_e4m3>(stream, call);
    }
}
