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
#include "backend/cuda/kernels/vectors.cuh"

enum {
    STAGE_BYTES = 128,                  /* of k, of each row */
    PIECE_BYTES = 16,                   /* what one copy moves */
    PIECES = STAGE_BYTES / PIECE_BYTES, /* of a row in a stage */
    STEPS = STAGE_BYTES / 32,           /* tensor core steps in a stage */
    GROUP = 8,                          /* tiles of rows that go through the weights together */
    TILE_PADDING = 4,                   /* floats, keeps columns of the result off one bank */
};

/* A tile and how the warps of its block share it. */
template <int ROWS_, int TOKENS_, int ROW_WARPS_, int TOKEN_WARPS_, int STAGES_, int BLOCKS_>
struct tile_shape {
    static constexpr int ROWS = ROWS_, TOKENS = TOKENS_;
    static constexpr int TOKEN_WARPS = TOKEN_WARPS_;
    static constexpr int STAGES = STAGES_;
    static constexpr int BLOCKS = BLOCKS_; /* on a multiprocessor together, for registers */
    static constexpr int THREADS = 32 * ROW_WARPS_ * TOKEN_WARPS_;
    static constexpr int WARP_ROWS = ROWS / ROW_WARPS_, WARP_TOKENS = TOKENS / TOKEN_WARPS_;
    static constexpr int M = WARP_ROWS / 16, N = WARP_TOKENS / 8; /* tensor core tiles */
    static constexpr int PITCH = ROWS + TILE_PADDING;             /* of the result */
    static constexpr int RING_BYTES = STAGES * (ROWS + TOKENS) * STAGE_BYTES;
    static constexpr int RESULT_BYTES = TOKENS * PITCH * (int)sizeof(float);
    static constexpr int SHARED_BYTES = RING_BYTES > RESULT_BYTES ? RING_BYTES : RESULT_BYTES;
    static_assert(N % 2 == 0, "rows are read from shared memory in pairs of tiles");
};
using small_tile = tile_shape<64, 16, 4, 1, 5, 4>;
using medium_tile = tile_shape<128, 64, 4, 2, 3, 2>;
using large_tile = tile_shape<128, 128, 2, 4, 3, 2>;

/* ---- Shared memory -----------------------------------------------------------------------------
 */

/* Offset of a piece of a row; eight neighbouring rows have a piece in eight different places, so
 * that neither copies nor reads meet on a bank. */
__device__ __forceinline__ int piece_at(int row, int piece)
{
    return row * STAGE_BYTES + (piece ^ (row & 7)) * PIECE_BYTES;
}

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

/* ---- Arithmetic --------------------------------------------------------------------------------
 */

__device__ __forceinline__ void read_matrices(uint32_t (&to)[4], const char *from)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(from);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/* sum[16 × 8] += weights[16 × 32 bytes] · rows[8 × 32 bytes]ᵀ */
template <typename T>
__device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else if constexpr (std::is_same<T, __half>::value) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
#if __CUDA_ARCH__ >= 890
        asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
        __trap(); /* no fp8 weights are made for such a device */
#endif
    }
}

/* Adds one stage to the warp's sums. sum[m][n] lies as tensor cores leave it: lane l has weight
 * rows l / 4 (values 0, 1) and l / 4 + 8 (2, 3) by rows 2 (l % 4) (0, 2) and 2 (l % 4) + 1 (1, 3).
 */
template <typename T, int M, int N>
__device__ __forceinline__ void multiply_stage(const char *weights, const char *rows,
                                               float (&sum)[M][N][4])
{
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        uint32_t b[N / 2][4];
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            read_matrices(
                b[n], rows + piece_at(n * 16 + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
            uint32_t a[4];
            read_matrices(a, weights + piece_at(m * 16 + lane % 16, 2 * step + lane / 16));
#pragma unroll
            for (int n = 0; n < N; n++) {
                multiply<T>(sum[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
            }
        }
    }
}

__device__ __forceinline__ void multiply_four(float &sum, const float4 &a, const float4 &b)
{
    sum = fmaf(a.x, b.x, sum);
    sum = fmaf(a.y, b.y, sum);
    sum = fmaf(a.z, b.z, sum);
    sum = fmaf(a.w, b.w, sum);
}

template <int M, int N>
__device__ __forceinline__ void multiply_stage_float(const char *weights, const char *rows,
                                                     float (&sum)[M][N][4])
{
    const int lane = (int)threadIdx.x % 32;
#pragma unroll 1
    for (int piece = 0; piece < PIECES; piece++) {
        float4 b[N][2];
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                b[n][i] = *reinterpret_cast<const float4 *>(
                    rows + piece_at(n * 8 + lane % 4 * 2 + i, piece));
            }
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float4 a = *reinterpret_cast<const float4 *>(
                    weights + piece_at(m * 16 + lane / 4 + 8 * i, piece));
#pragma unroll
                for (int n = 0; n < N; n++) {
                    multiply_four(sum[m][n][2 * i], a, b[n][0]);
                    multiply_four(sum[m][n][2 * i + 1], a, b[n][1]);
                }
            }
        }
    }
}

/* ---- Tiles -------------------------------------------------------------------------------------
 */

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

    __device__ __forceinline__ void copy(char *to, const char *from, int bytes) const
    {
        if (aligned) {
            copy_piece(to, from, bytes);
        } else {
            copy_values<T>(to, from, bytes);
        }
    }

    /* Stage number `stage` of the product into its place in the ring. */
    __device__ __forceinline__ void start(char *ring, int stage) const
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
};

/* ---- Results -----------------------------------------------------------------------------------
 */

/* The warp's sums, scaled and activated, into the block's result [TOKENS][PITCH]. */
template <class Shape>
__device__ __forceinline__ void
finish_sums(const experts_product &call, const tile_place &place, int warp_row, int warp_token,
            const float (&sum)[Shape::M][Shape::N][4], float *result)
{
    const int lane = (int)threadIdx.x % 32;
    const bool gated = call.gate_distance > 0, scaled = call.weight_scale != nullptr;
    const float *scales =
        scaled ? call.weight_scale +
                     ((size_t)place.expert * (size_t)call.slices + (size_t)place.slice) *
                         (size_t)call.matrix_rows +
                     call.first_row
               : nullptr;
    float factor[Shape::N][2], input_scale[Shape::N][2];
#pragma unroll
    for (int n = 0; n < Shape::N; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int token = warp_token + n * 8 + lane % 4 * 2 + i;
            const bool there = token < place.rows;
            const int row = place.first_row + token;
            factor[n][i] = there && call.row_weight != nullptr ? call.row_weight[row] : 1.0f;
            input_scale[n][i] =
                there && scaled
                    ? call.in_scale[(size_t)place.slice * (size_t)call.in_scale_stride +
                                    (size_t)(call.source != nullptr ? call.source[row] : row)]
                    : 1.0f;
        }
    }
#pragma unroll
    for (int m = 0; m < Shape::M; m++) {
        const int local = gated ? (warp_row / 16 + m) * 8 + lane / 4 : warp_row + m * 16 + lane / 4;
        const int column = place.column + local;
        const int other = gated ? column + call.gate_distance : column + 8;
        float scale = 1.0f, other_scale = 1.0f;
        if (scaled) {
            scale = column < call.columns ? scales[column] : 0.0f;
            other_scale = (gated ? column : other) < call.columns ? scales[other] : 0.0f;
        }
#pragma unroll
        for (int n = 0; n < Shape::N; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float *to = result + (warp_token + n * 8 + lane % 4 * 2 + i) * Shape::PITCH + local;
                float first = sum[m][n][i], second = sum[m][n][2 + i];
                if (scaled) {
                    first *= input_scale[n][i] * scale;
                    second *= input_scale[n][i] * other_scale;
                }
                if (call.activation >= 0) {
                    first = activation_of(call.activation, first);
                    second = gated ? second : activation_of(call.activation, second);
                }
                if (gated) {
                    *to = first * second * factor[n][i];
                } else {
                    to[0] = first * factor[n][i];
                    to[8] = second * factor[n][i];
                }
            }
        }
    }
}

/* The block's result to its place, eight columns of a row a thread. */
template <class Shape, typename Out>
__device__ __forceinline__ void write_result(const experts_product &call, const tile_place &place,
                                             int tile_columns, const float *result)
{
    const int vectors = tile_columns / 8;
    const bool wide = call.columns % 8 == 0;
    Out *out = static_cast<Out *>(call.out) +
               ((size_t)place.slice * (size_t)call.plan.rows + (size_t)place.first_row) *
                   (size_t)call.columns;
    for (int i = (int)threadIdx.x; i < place.rows * vectors; i += Shape::THREADS) {
        const int token = i / vectors, local = i % vectors * 8;
        const int left = call.columns - place.column - local;
        if (left <= 0) {
            continue;
        }
        const float4 *from =
            reinterpret_cast<const float4 *>(result + token * Shape::PITCH + local);
        const float4 a = from[0], b = from[1];
        const float values[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
        store_eight(out + (size_t)token * (size_t)call.columns + (size_t)(place.column + local),
                    wide, left, values);
    }
}

/* ---- The kernel --------------------------------------------------------------------------------
 */

template <class Shape, typename T>
__global__ void __launch_bounds__(Shape::THREADS, Shape::BLOCKS)
    product_kernel(const __grid_constant__ experts_product call)
{
    extern __shared__ __align__(128) char shared[];
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
    const int warp = (int)threadIdx.x / 32;
    const int warp_row = warp / Shape::TOKEN_WARPS * Shape::WARP_ROWS;
    const int warp_token = warp % Shape::TOKEN_WARPS * Shape::WARP_TOKENS;
    float sum[Shape::M][Shape::N][4] = {};
    int now = 0, next = Shape::STAGES - 1; /* places in the ring */
    for (int stage = 0; stage < stages; stage++) {
        wait_for_copies<Shape::STAGES - 2>();
        __syncthreads();
        if (stage + Shape::STAGES - 1 < stages) {
            copies.start(shared + next * RING_STAGE, stage + Shape::STAGES - 1);
        }
        end_copies();
        const char *weights = shared + now * RING_STAGE + warp_row * STAGE_BYTES;
        const char *rows = shared + now * RING_STAGE + (Shape::ROWS + warp_token) * STAGE_BYTES;
        if constexpr (std::is_same<T, float>::value) {
            multiply_stage_float(weights, rows, sum);
        } else {
            multiply_stage<T>(weights, rows, sum);
        }
        now = now + 1 == Shape::STAGES ? 0 : now + 1;
        next = next + 1 == Shape::STAGES ? 0 : next + 1;
    }
    wait_for_copies<0>();
    __syncthreads(); /* the ring is free for the result */

    float *result = reinterpret_cast<float *>(shared);
    finish_sums<Shape>(call, place, warp_row, warp_token, sum, result);
    __syncthreads();
    if (call.out_dtype == TYPE_FLOAT32) {
        write_result<Shape, float>(call, place, tile_columns, result);
    } else if (call.out_dtype == TYPE_BFLOAT16) {
        write_result<Shape, __nv_bfloat16>(call, place, tile_columns, result);
    } else {
        write_result<Shape, __half>(call, place, tile_columns, result);
    }
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
