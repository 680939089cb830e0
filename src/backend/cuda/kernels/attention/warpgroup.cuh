/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of chunks (prefill) by sm_90a's warpgroups, for head sizes 64 and 128.
 *
 * group_kernel computes what chunk_kernel does, tile by tile and in the same order; on this chip a
 * warpgroup's products have the bits of mma.sync's, so a row has one result, whichever kernel takes
 * it. A block is two or three warpgroups of 64 rows each, and one that copies
 * (rings.cuh). While a tile's values are added, the next tile's scores are on their way;
 * while one warpgroup is at its soft-max, another has the tensor cores.
 *
 * Floor: 4 · head_dim operations a query row and visible key; an exponential each, which takes a
 * quarter of the tensor cores' time at 128 dimensions. */
#ifndef SLUICE_CUDA_ATTENTION_WARPGROUP_CUH
#define SLUICE_CUDA_ATTENTION_WARPGROUP_CUH

#include "backend/cuda/kernels/attention/rings.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* ---- Instructions ---- */

__device__ __forceinline__ void store_word(uint32_t to, uint32_t word)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(word) : "memory");
}

/* An operand in shared memory as describe_operand has it; `distance` bytes from 64 dimensions of
 * values to the next. */
__device__ __forceinline__ uint32_t operand_at(uint32_t address, int distance)
{
    return address >> 4 | (uint32_t)(distance / 16) << 16;
}

__device__ __forceinline__ uint64_t operand_of(uint32_t low)
{
    constexpr uint32_t HIGH = (uint32_t)(8 * STAGE_BYTES / 16) | 1u << 30;
    return (uint64_t)HIGH << 32 | low;
}

#define MULTIPLY_ROWS(COLUMNS, TYPES, TURN, NAMES, A0, A1, A2, A3, B, ADD, SUMS)                   \
    asm volatile("{ .reg .pred add; setp.ne.b32 add, " ADD ", 0; "                                 \
                 "wgmma.mma_async.sync.aligned.m64n" COLUMNS "k16.f32." TYPES " {" NAMES "}, "     \
                 "{" A0 ", " A1 ", " A2 ", " A3 "}, " B ", add, 1, 1, " TURN "; }"                 \
                 : SUMS                                                                            \
                 : "r"(rows.x), "r"(rows.y), "r"(rows.z), "r"(rows.w), "l"(other), "r"((int)add))

#define MULTIPLY_ROWS_TYPED(TYPES, TURN)                                                           \
    if constexpr (N == 8) {                                                                        \
        MULTIPLY_ROWS("64", TYPES, TURN, NAMES_64, "%32", "%33", "%34", "%35", "%36", "%37",       \
                      SUMS_8(sum, 0));                                                             \
    } else {                                                                                       \
        MULTIPLY_ROWS("128", TYPES, TURN, NAMES_128, "%64", "%65", "%66", "%67", "%68", "%69",     \
                      SUMS_16(sum, 0));                                                            \
    }

/* sum[64 × 64] += rows[64 × 16] · other[64][16]ᵀ (= where not `add`), both in shared memory. */
#define MULTIPLY_SHARED(TYPES)                                                                     \
    asm volatile("{ .reg .pred add; setp.ne.b32 add, %34, 0; "                                     \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPES " {" NAMES_64                 \
                 "}, %32, %33, add, 1, 1, 0, 0; }"                                                 \
                 : SUMS_8(sum, 0)                                                                  \
                 : "l"(rows), "l"(other), "r"((int)add))

template <typename T>
__device__ __forceinline__ void multiply_shared(float (&sum)[8][4], uint64_t rows, uint64_t other,
                                                bool add)
{
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        MULTIPLY_SHARED("bf16.bf16");
    } else {
        MULTIPLY_SHARED("f16.f16");
    }
}

/* sum[64 × 8 N] += rows[64 × 16] · other (= where not `add`): rows in the registers of a warpgroup,
 * the other operand in shared memory: [8 N][16] (keys), or turned [16][8 N] (values). */
template <typename T, bool TURNED, int N>
__device__ __forceinline__ void multiply_rows(float (&sum)[N][4], const uint4 &rows, uint64_t other,
                                              bool add)
{
    static_assert(N == 8 || N == 16, "no such instruction is written down here");
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        if constexpr (TURNED) {
            MULTIPLY_ROWS_TYPED("bf16.bf16", "1")
        } else {
            MULTIPLY_ROWS_TYPED("bf16.bf16", "0")
        }
    } else {
        if constexpr (TURNED) {
            MULTIPLY_ROWS_TYPED("f16.f16", "1")
        } else {
            MULTIPLY_ROWS_TYPED("f16.f16", "0")
        }
    }
}

/* The warps of a warpgroup meet; named barriers from 1 on. */
__device__ __forceinline__ void meet(int group)
{
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

/* ---- Arithmetic ---- */

/* A warp of a warpgroup, its rows and where it is in the rings. */
template <typename Cache, int DIM, int GROUPS> struct group_warp {
    typedef group_shape<Cache, DIM, GROUPS> shape;
    typedef typename shape::tile tile;
    typedef typename Cache::product product;
    typedef float tile_scores[1][tile::KEY_TILES][4];

    group_memory<Cache, DIM, GROUPS> memory;
    ring_place<shape::STAGES> keys, values;
    int warp, lane;

    /* Of the rows at hand. Queries: the lane's, or as the warpgroup's operand. */
    uint4 queries[shape::HOLDS_QUERIES ? tile::STEPS : 1];
    uint32_t shared_queries;
    int latest[1][2], first_latest, last_latest;
    row_state<Cache, DIM, 1> state;

    __device__ __forceinline__ void release(int ring, ring_place<shape::STAGES> *place) const
    {
        if (lane == 0) {
            barrier_arrive(memory.empty(ring, place->stage));
        }
        place->advance();
    }

    __device__ __forceinline__ void pass(int ring, ring_place<shape::STAGES> *place) const
    {
        barrier_wait(memory.full(ring, place->stage), place->parity);
        release(ring, place);
    }

    __device__ __forceinline__ void start_scores(tile_scores &scores) const
    {
        barrier_wait(memory.full(RING_KEYS, keys.stage), keys.parity);
        const uint32_t other = operand_at(memory.tile(RING_KEYS, keys.stage), 16);
        uint32_t rows = shared_queries; /* sums of it are cheaper than registers for them */
        asm volatile("" : "+r"(rows));
        begin_products();
#pragma unroll
        for (int t = 0; t < tile::STEPS; t++) {
            const uint32_t step = (uint32_t)(t / 4 * (shape::BLOCK_BYTES / 16) + t % 4 * 2);
            if constexpr (shape::HOLDS_QUERIES) {
                multiply_rows<product, false>(scores[0], queries[t], operand_of(other + step),
                                              t > 0);
            } else {
                multiply_shared<product>(scores[0], operand_of(rows + step),
                                         operand_of(other + step), t > 0);
            }
        }
        commit_products();
    }

    __device__ __forceinline__ void start_values(const uint4 (&weights)[tile::TILE / 16])
    {
        barrier_wait(memory.full(RING_VALUES, values.stage), values.parity);
        const uint32_t other =
            operand_at(memory.tile(RING_VALUES, values.stage), shape::BLOCK_BYTES);
        begin_products();
#pragma unroll
        for (int k = 0; k < tile::TILE / 16; k++) {
            multiply_rows<product, true>(state.sum[0], weights[k],
                                         operand_of(other + (uint32_t)(k * STAGE_BYTES)), true);
        }
        commit_products();
    }

    __device__ __forceinline__ void weigh(const attention_call &call, tile_scores &scores, int at,
                                          float (&factors)[1][2])
    {
        const int first = at * tile::TILE;
        if (call.cap_out > 0.0f) {
            cap_scores(scores, call);
        }
        if (needs_mask(first, tile::TILE, first_latest, last_latest, call.window)) {
            mask_scores(scores, latest, call.window, first, lane);
        }
        weigh_scores<Cache, DIM, 1>(scores, state, call.exponent_scale, 2, factors);
    }

    /* O moves by the factors once the values under way are added. The branch hangs on all weights
     * (their sum), so that no compiler puts them behind the wait; a row that is not a number moves
     * by 1. */
    __device__ __forceinline__ void move_when_added(const float (&factors)[1][2])
    {
        const bool moves = factors[0][0] != 1.0f || factors[0][1] != 1.0f ||
                           state.total[0][0] != state.total[0][0] ||
                           state.total[0][1] != state.total[0][1];
        if (__any_sync(0xffffffffu, moves)) {
            wait_for_products();
            pin_sums(state.sum);
#pragma unroll
            for (int n = 0; n < tile::COLUMNS; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    state.sum[0][n][i] = __fmul_rn(state.sum[0][n][i], factors[0][i / 2]);
                }
            }
        } else {
            asm volatile("wgmma.wait_group.sync.aligned 0; // nothing moves" ::: "memory");
            pin_sums(state.sum);
        }
    }

    static __device__ __forceinline__ void pack(const tile_scores &scores,
                                                uint4 (&weights)[tile::TILE / 16])
    {
#pragma unroll
        for (int k = 0; k < tile::TILE / 16; k++) {
            weights[k] = pack_weights<Cache>(scores[0], k);
        }
    }

    /* Tiles [first, last) of one split, at least one. */
    __device__ __forceinline__ void add_tiles(const attention_call &call, int first, int last)
    {
        tile_scores scores;
        float factors[1][2];
        uint4 weights[tile::TILE / 16];
        start_scores(scores);
        wait_for_products();
        pin_sums(scores);
        release(RING_KEYS, &keys);
        weigh(call, scores, first, factors); /* O is 0 yet */
        pack(scores, weights);
        for (int at = first + 1; at < last; at++) {
            start_scores(scores);
            start_values(weights);
            wait_for_earlier_products();
            pin_sums(scores);
            release(RING_KEYS, &keys);
            weigh(call, scores, at, factors);
            move_when_added(factors);
            release(RING_VALUES, &values);
            pack(scores, weights);
        }
        start_values(weights);
        wait_for_products();
        pin_sums(state.sum);
        release(RING_VALUES, &values);
    }

    __device__ __forceinline__ void pass_tiles(int first, int last)
    {
        for (int at = first; at < last; at++) {
            pass(RING_KEYS, &keys);
            pass(RING_VALUES, &values);
        }
    }

    /* The warp's queries to where its warpgroup's products find them, once all of it are done with
     * those before. */
    __device__ __forceinline__ void store_queries(const attention_call &call,
                                                  const query_row &upper, const query_row &lower)
    {
        uint4 fragments[tile::STEPS];
        load_queries<Cache, DIM, 1>(call, upper, lower, fragments, lane);
        meet(warp / 4);
        const int row = warp % 4 * 16 + lane / 4;
        const uint32_t to = memory.queries(warp / 4) + (uint32_t)(lane % 4 * 4);
#pragma unroll
        for (int t = 0; t < tile::STEPS; t++) {
            const uint32_t block = to + (uint32_t)(t / 4 * shape::BLOCK_BYTES);
            const int piece = t % 4 * 2;
            store_word(block + (uint32_t)piece_at(row, piece), fragments[t].x);
            store_word(block + (uint32_t)piece_at(row + 8, piece), fragments[t].y);
            store_word(block + (uint32_t)piece_at(row, piece + 1), fragments[t].z);
            store_word(block + (uint32_t)piece_at(row + 8, piece + 1), fragments[t].w);
        }
        show_copies();
        meet(warp / 4);
    }

    __device__ __forceinline__ void run(const attention_call &call, const attention_chunk &chunk,
                                        int kv, int row_block)
    {
        const int group = call.heads.start[kv + 1] - call.heads.start[kv];
        const int rows = chunk.query * group, first_row = row_block * shape::ROWS;
        const tile_range tiles = find_row_tiles<tile::TILE>(call, chunk, group, first_row,
                                                            min(first_row + shape::ROWS, rows));
        const int group_row = first_row + warp / 4 * shape::GROUP_ROWS;
        const tile_range own = find_row_tiles<tile::TILE>(call, chunk, group, group_row,
                                                          min(group_row + shape::GROUP_ROWS, rows));

        const int warp_row = first_row + warp * 16, row = warp_row + lane / 4;
        const int warp_end = min(warp_row + 16, rows);
        first_latest = last_latest = -1;
        if (warp_row < warp_end) {
            first_latest = latest_of(call, chunk.query, chunk.context, warp_row / group);
            last_latest = latest_of(call, chunk.query, chunk.context, (warp_end - 1) / group);
        }
        const query_row upper =
            find_row(call, kv, row, chunk.first_token, chunk.query, chunk.context);
        const query_row lower =
            find_row(call, kv, row + 8, chunk.first_token, chunk.query, chunk.context);
        if constexpr (shape::HOLDS_QUERIES) {
            load_queries<Cache, DIM, 1>(call, upper, lower, queries, lane);
        } else {
            store_queries(call, upper, lower);
        }
        latest[0][0] = upper.latest;
        latest[0][1] = lower.latest;

        constexpr int TOTALS = tile::COLUMNS + 1; /* of 4 floats, of a thread */
        float4 *totals = reinterpret_cast<float4 *>(call.totals) +
                         (size_t)blockIdx.x * (size_t)(TOTALS * shape::THREADS) + warp * 32 + lane;
        bool first_split = true;
        for (int first = tiles.first; first < tiles.last;) {
            const int end = min(tiles.last, (first / tile::SPLIT_TILES + 1) * tile::SPLIT_TILES);
            const int from = min(max(first, own.first), end), to = min(max(from, own.last), end);
            start_split(state);
            pass_tiles(first, from);
            if (from < to) {
                add_tiles(call, from, to);
            }
            pass_tiles(to, end);
            finish_split(state);
            const bool last = end == tiles.last;
            if (!first_split || !last) {
                join_split<Cache, DIM, 1, shape::THREADS>(state, totals, call.exponent_scale,
                                                          first_split, last);
            }
            first_split = false;
            first = end;
        }
        write_result<Cache, DIM, float16_cache>(call, upper, state.sum[0], state.largest[0][0],
                                                state.total[0][0], 0, lane);
        write_result<Cache, DIM, float16_cache>(call, lower, state.sum[0], state.largest[0][1],
                                                state.total[0][1], 1, lane);
    }
};

#endif

/* ---- The kernel ---- */

template <typename Cache, int DIM, int GROUPS>
__global__ void __launch_bounds__(group_shape<Cache, DIM, GROUPS>::THREADS +
                                      group_shape<Cache, DIM, GROUPS>::COPIERS,
                                  1) group_kernel(const __grid_constant__ attention_call call)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    typedef group_shape<Cache, DIM, GROUPS> shape;
    extern __shared__ __align__(1024) char rings[]; /* as the swizzle of warpgroups wants it */
    group_memory<Cache, DIM, GROUPS> memory;
    /* not to be worked out again and again */
    asm volatile("mov.u32 %0, %1;" : "=r"(memory.base) : "r"(shared_address(rings)));
    const int thread = (int)threadIdx.x;
    if (thread < 2 * shape::STAGES) {
        const int ring = thread / shape::STAGES, stage = thread % shape::STAGES;
        barrier_create(memory.full(ring, stage), shape::COPIERS);
        barrier_create(memory.empty(ring, stage), shape::THREADS / 32);
    }
    __syncthreads();
    if (thread >= shape::THREADS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        copy_tiles<Cache, DIM, GROUPS>(call, memory, thread - shape::THREADS);
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 224 : 152));
    group_warp<Cache, DIM, GROUPS> warp;
    warp.memory = memory;
    warp.warp = thread / 32;
    warp.lane = thread % 32;
    warp.shared_queries = operand_at(memory.queries(warp.warp / 4), 16);
    each_work<shape::ROWS>(call, [&](const attention_chunk &chunk, int kv, int row_block) {
        warp.run(call, chunk, kv, row_block);
    });
#else
    __trap(); /* not launched on such a device */
#endif
}

#endif
