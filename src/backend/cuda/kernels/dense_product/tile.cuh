/* SPDX-License-Identifier: Apache-2.0 */
/* What the producing and the multiplying warps of dense_kernel share: the call, the variants'
 * measures, instructions, the order of tiles, and the block's shared memory. */
#ifndef SLUICE_CUDA_DENSE_PRODUCT_TILE_CUH
#define SLUICE_CUDA_DENSE_PRODUCT_TILE_CUH

#include <cuda.h>
#include <type_traits>

#include "backend/cuda/kernels/dense_product/dense_product.h"
#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/warpgroup.cuh"

/* What the kernel is called with: maps of both operands, and where its tiles are. */
struct dense_work {
    CUtensorMap weights, in;
    struct dense_product call;
    int steps;                     /* stages of a slice */
    int token_tiles, weight_tiles; /* of a whole cluster */
    int band; /* token tiles that go through the weights together, for the second-level cache */
};

/* A variant. SLICES: that one block adds up in its registers. */
template <typename T_, int GROUPS_, int SUBS_, int TOKENS_, int SLICES_, bool PAIR_, bool SPLIT_>
struct dense_shape {
    typedef T_ T;
    static constexpr int GROUPS = GROUPS_, SUBS = SUBS_, TOKENS = TOKENS_, SLICES = SLICES_;
    static constexpr bool PAIR = PAIR_, SPLIT = SPLIT_;
    static constexpr int BLOCKS = PAIR ? 2 : 1; /* that share a stage of tokens */
    static constexpr int GROUP_ROWS = 64 * SUBS, ROWS = GROUPS * GROUP_ROWS;
    static constexpr int THREADS = 128 * GROUPS; /* that multiply */
    static constexpr int PRODUCERS = GROUPS == 1 ? 32 : 128;
    /* Registers of a thread that multiplies, and of one that does not (several groups). */
    static constexpr int REGISTERS = GROUPS == 2 ? 232 : 160, FEW_REGISTERS = GROUPS == 2 ? 40 : 32;
    static constexpr int STAGE_WIDTH = 128; /* bytes of k */
    static constexpr int VALUES = STAGE_WIDTH / (int)sizeof(T);
    static constexpr int WEIGHT_BYTES = ROWS * STAGE_WIDTH;
    static constexpr int IN_BYTES = TOKENS * STAGE_WIDTH;
    static constexpr int STAGE_BYTES = WEIGHT_BYTES + IN_BYTES;
    /* A warp turns its results, 16 columns (32 bytes) by 16 tokens, in PLACES places. */
    static constexpr int PLACE_BYTES = 16 * 32;
    static constexpr int PLACES = TOKENS % 64 == 0 ? 4 : TOKENS % 32 == 0 ? 2 : 1;
    /* SPLIT: the block's own sums, and its share of all slices'. */
    static constexpr int RESULT_BYTES = SPLIT ? 2 * TOKENS * 128 : 4 * PLACES * PLACE_BYTES;
    /* Of each slice: scales of the tile's tokens, then of the warpgroup's weights. */
    static constexpr int SCALES = TOKENS + GROUP_ROWS;
    static constexpr int SCALE_BYTES = (SPLIT ? (int)DENSE_MAX_SLICES : SLICES) * SCALES * 4;
    static constexpr int GROUP_BYTES = (RESULT_BYTES + SCALE_BYTES + 127) / 128 * 128;
    static constexpr int MOST_SHARED = 227 * 1024 - 256;
    static constexpr int ROOM = (MOST_SHARED - GROUPS * GROUP_BYTES) / STAGE_BYTES;
    static constexpr int STAGES = ROOM < 12 ? ROOM : 12;
    static constexpr int RESULTS_AT = STAGES * STAGE_BYTES;
    static constexpr int BARRIERS_AT = RESULTS_AT + GROUPS * GROUP_BYTES;
    static constexpr int SHARED_BYTES = BARRIERS_AT + 8 * (2 * STAGES + 2 * GROUPS);
    static_assert(STAGES >= 4, "copies are under way while products are");
    static_assert(TOKENS % (8 * BLOCKS) == 0, "the swizzle repeats every eight rows");
    static_assert(!SPLIT || (SLICES == 1 && SUBS == 1 && !PAIR), "a block has one slice");
    /* Registers: accumulators, sums that wait in the tree, a rounded one. */
    static constexpr int SUMS = SUBS * TOKENS / 2;
    static constexpr int WAITING = SLICES == 1   ? 0
                                   : SLICES == 2 ? SUMS / 2
                                   : SLICES == 4 ? SUMS * 3 / 2
                                                 : SUMS * 5 / 2;
    static_assert(SUMS + WAITING <= REGISTERS - 40 || GROUPS == 1, "sums stay in registers");
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* ---- Instructions ---- */

/* 64 rows of 128 bytes and more in shared memory, as copies of tensors swizzle them: the half of a
 * descriptor that knows where, and the whole. */
__device__ __forceinline__ uint32_t dense_operand(uint32_t address)
{
    return address >> 4 | 1u << 16;
}

__device__ __forceinline__ uint64_t dense_descriptor(uint32_t operand)
{
    return (uint64_t)(1024 / 16 | 1u << 30) << 32 | operand;
}

#define DENSE_MULTIPLY(TOKENS, TYPES, MODES, NAMES, A, B, ADD, SUMS)                               \
    asm volatile("{ .reg .pred add; setp.ne.b32 add, " ADD ", 0; "                                 \
                 "wgmma.mma_async.sync.aligned.m64n" TOKENS TYPES " {" NAMES "}, " A ", " B        \
                 ", add, 1, 1" MODES "; }"                                                         \
                 : SUMS                                                                            \
                 : "l"(weights), "l"(in), "r"((int)add))

#define DENSE_MULTIPLY_TYPED(TYPES, MODES)                                                         \
    if constexpr (N == 2) {                                                                        \
        DENSE_MULTIPLY("16", TYPES, MODES, NAMES_16, "%8", "%9", "%10", SUMS_2(sum, 0));           \
    } else if constexpr (N == 4) {                                                                 \
        DENSE_MULTIPLY("32", TYPES, MODES, NAMES_32, "%16", "%17", "%18", SUMS_4(sum, 0));         \
    } else if constexpr (N == 8) {                                                                 \
        DENSE_MULTIPLY("64", TYPES, MODES, NAMES_64, "%32", "%33", "%34", SUMS_8(sum, 0));         \
    } else if constexpr (N == 12) {                                                                \
        DENSE_MULTIPLY("96", TYPES, MODES, NAMES_96, "%48", "%49", "%50", SUMS_12(sum, 0));        \
    } else if constexpr (N == 16) {                                                                \
        DENSE_MULTIPLY("128", TYPES, MODES, NAMES_128, "%64", "%65", "%66", SUMS_16(sum, 0));      \
    } else if constexpr (N == 20) {                                                                \
        DENSE_MULTIPLY("160", TYPES, MODES, NAMES_160, "%80", "%81", "%82", SUMS_20(sum, 0));      \
    } else if constexpr (N == 24) {                                                                \
        DENSE_MULTIPLY("192", TYPES, MODES, NAMES_192, "%96", "%97", "%98", SUMS_24(sum, 0));      \
    } else {                                                                                       \
        DENSE_MULTIPLY("256", TYPES, MODES, NAMES_256, "%128", "%129", "%130", SUMS_32(sum, 0));   \
    }

/* sum[64 × 8 N] += weights[64 × 32 bytes] · in[8 N × 32 bytes]ᵀ (= where not `add`). */
template <typename T, int N>
__device__ __forceinline__ void dense_multiply(float (&sum)[N][4], uint64_t weights, uint64_t in,
                                               bool add)
{
    static_assert(N == 2 || N == 4 || N == 8 || N == 12 || N == 16 || N == 20 || N == 24 || N == 32,
                  "no such instruction is written down here");
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        DENSE_MULTIPLY_TYPED("k16.f32.bf16.bf16", ", 0, 0")
    } else {
        DENSE_MULTIPLY_TYPED("k32.f32.e4m3.e4m3", "")
    }
}

/* Four 8 × 8 matrices of 16 bits, turned: lane 8 i + j has the address of row j of matrix i. */
__device__ __forceinline__ void store_turned(uint32_t to, uint32_t a, uint32_t b, uint32_t c,
                                             uint32_t d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
                 "r"(a), "r"(b), "r"(c), "r"(d)
                 : "memory");
}

__device__ __forceinline__ uint32_t round_pair(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

__device__ __forceinline__ float low_of(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

__device__ __forceinline__ float high_of(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

/* Eight values of 16 bits in one access, which the compiler would take apart behind a condition. */
__device__ __forceinline__ void write_piece(void *to, const uint4 &piece)
{
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(piece.x), "r"(piece.y),
                 "r"(piece.z), "r"(piece.w)
                 : "memory");
}

/* Starts to copy a float to shared memory, or zero. */
__device__ __forceinline__ void fetch_float(uint32_t to, const float *from, bool is_there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from),
                 "r"(is_there ? 4 : 0)
                 : "memory");
}

__device__ __forceinline__ float load_float(uint32_t from)
{
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(from) : "memory");
    return value;
}

__device__ __forceinline__ float2 load_floats(uint32_t from)
{
    float2 values;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(values.x), "=f"(values.y)
                 : "r"(from)
                 : "memory");
    return values;
}

/* The warps of a warpgroup meet. */
__device__ __forceinline__ void meet_group(int group)
{
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

/* ---- Tiles ---- */

/* f(token tile, weight tile of the cluster) for tile number `at`: bands of tokens go through the
 * weights. */
template <typename F> __device__ __forceinline__ void with_tile(const dense_work &work, int at, F f)
{
    const int whole = work.band * work.weight_tiles;
    const int first = at / whole * work.band, rest = at % whole;
    const int width = min(work.band, work.token_tiles - first);
    f(first + rest % width, rest / width);
}

/* The same for each tile of this cluster. */
template <typename F>
__device__ __forceinline__ void each_tile(const dense_work &work, int cluster, int clusters, F f)
{
    const int tiles = work.token_tiles * work.weight_tiles;
    for (int at = cluster; at < tiles; at += clusters) {
        with_tile(work, at, f);
    }
}

/* A block's shared memory: stages (weights, tokens), results and scales of each warpgroup,
 * barriers. */
template <class Shape> struct dense_memory {
    uint32_t base;

    __device__ __forceinline__ uint32_t weights(int stage) const
    {
        return base + (uint32_t)(stage * Shape::STAGE_BYTES);
    }
    __device__ __forceinline__ uint32_t tokens(int stage) const
    {
        return weights(stage) + (uint32_t)Shape::WEIGHT_BYTES;
    }
    __device__ __forceinline__ uint32_t result(int group) const
    {
        return base + (uint32_t)(Shape::RESULTS_AT + group * Shape::GROUP_BYTES);
    }
    __device__ __forceinline__ uint32_t scales(int group) const
    {
        return result(group) + (uint32_t)Shape::RESULT_BYTES;
    }
    __device__ __forceinline__ uint32_t full(int stage) const
    {
        return base + (uint32_t)(Shape::BARRIERS_AT + 8 * stage);
    }
    __device__ __forceinline__ uint32_t empty(int stage) const
    {
        return full(Shape::STAGES + stage);
    }
    /* SPLIT: sums that blocks of the cluster send to this one's warpgroup. */
    __device__ __forceinline__ uint32_t received(int group) const
    {
        return result(group) + (uint32_t)(Shape::TOKENS * 128);
    }
    /* SPLIT: all of them are there; all blocks have added up what they were sent. */
    __device__ __forceinline__ uint32_t ready(int group) const
    {
        return full(2 * Shape::STAGES + group);
    }
    __device__ __forceinline__ uint32_t taken(int group) const
    {
        return full(2 * Shape::STAGES + Shape::GROUPS + group);
    }

    __device__ __forceinline__ void create_barriers(int blocks) const
    {
        for (int i = 0; i < Shape::STAGES; i++) {
            barrier_create(full(i), 1);
            barrier_create(empty(i), Shape::BLOCKS * Shape::THREADS / 32);
        }
        for (int i = 0; i < Shape::GROUPS; i++) {
            barrier_create(ready(i), 1);
            barrier_create(taken(i), 4 * blocks);
        }
        show_barriers();
    }
};

/* Where a block stands. */
struct dense_place {
    int cluster, clusters, rank; /* rank: in the cluster */
};

#endif

#endif
