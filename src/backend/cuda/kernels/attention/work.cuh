/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of attention share beside the arithmetic: which tiles rows see, how work is
 * spread over blocks, and splits joined in global memory. */
#ifndef SLUICE_CUDA_ATTENTION_WORK_CUH
#define SLUICE_CUDA_ATTENTION_WORK_CUH

#include "backend/cuda/kernels/attention/tile.cuh"

/* First and one past the last tile that rows whose latest positions are in [first, last] see,
 * within positions [from, to). */
struct tile_range {
    int first, last;
};

template <int TILE>
__device__ __forceinline__ tile_range find_tiles(int first, int last, int window, int from, int to)
{
    int oldest = window > 0 ? first - window + 1 : 0;
    oldest = oldest > from ? oldest : from;
    const int end = last + 1 < to ? last + 1 : to;
    tile_range range;
    range.first = oldest / TILE;
    range.last = oldest < end ? (end + TILE - 1) / TILE : range.first;
    return range;
}

/* Whether a row with its latest position in [first, last] does not see all of the tile at `at`. */
__device__ __forceinline__ bool needs_mask(int at, int tile, int first, int last, int window)
{
    return at + tile - 1 > first || (window > 0 && at <= last - window);
}

/* ---- Prefill ---- */

/* Joins the split in `state` to what earlier splits left at `totals` (nothing: `first`), and leaves
 * the whole in `state`, and there where more is to come. */
template <typename Cache, int DIM, int MT, int THREADS>
__device__ __forceinline__ void join_split(row_state<Cache, DIM, MT> &state, float4 *totals,
                                           float exponent_scale, bool first, bool last)
{
    constexpr int COLUMNS = tile_shape<Cache, DIM>::COLUMNS;
#pragma unroll
    for (int m = 0; m < MT; m++) {
        float4 *sums = totals + m * COLUMNS * THREADS;
        float4 *facts = totals + (MT * COLUMNS + m) * THREADS;
        if (!first) {
            const float4 fact = *facts; /* m of both halves, l of both */
            float largest[2] = {fact.x, fact.y}, keep[2], add[2];
            const float total[2] = {fact.z, fact.w};
#pragma unroll
            for (int half = 0; half < 2; half++) {
                join_weights(&largest[half], state.largest[m][half], exponent_scale, &keep[half],
                             &add[half]);
                state.largest[m][half] = largest[half];
                state.total[m][half] =
                    join_value(total[half], keep[half], state.total[m][half], add[half]);
            }
#pragma unroll
            for (int n = 0; n < COLUMNS; n++) {
                const float4 sum = sums[n * THREADS];
                float(&next)[4] = state.sum[m][n];
                next[0] = join_value(sum.x, keep[0], next[0], add[0]);
                next[1] = join_value(sum.y, keep[0], next[1], add[0]);
                next[2] = join_value(sum.z, keep[1], next[2], add[1]);
                next[3] = join_value(sum.w, keep[1], next[3], add[1]);
            }
        }
        if (!last) {
#pragma unroll
            for (int n = 0; n < COLUMNS; n++) {
                const float(&sum)[4] = state.sum[m][n];
                sums[n * THREADS] = make_float4(sum[0], sum[1], sum[2], sum[3]);
            }
            *facts = make_float4(state.largest[m][0], state.largest[m][1], state.total[m][0],
                                 state.total[m][1]);
        }
    }
}

/* The chunk and the block of its rows that work item `index` of one key/value head is: chunk i has
 * the items from tokens_before · group / ROWS + i, its last rows first. False: no such rows. */
template <int ROWS>
__device__ __forceinline__ bool find_work(const attention_call &call, int group, int index,
                                          attention_chunk *chunk, int *row_block)
{
    int low = 0, high = call.chunk_count;
    int base = 0;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        const int start = call.chunks[middle].tokens_before * group / ROWS + middle;
        if (start <= index) {
            low = middle;
            base = start;
        } else {
            high = middle;
        }
    }
    *chunk = call.chunks[low];
    *row_block = (chunk->query * group + ROWS - 1) / ROWS - 1 - (index - base);
    return *row_block >= 0;
}

__host__ __device__ inline int chunk_works(const attention_call &call, int rows)
{
    return call.kv_heads * (call.chunk_tokens * call.largest_group / rows + call.chunk_count);
}

/* each(chunk, key/value head, block of its rows) for this block's work. Blocks take it in turns,
 * back and forth, so that the longest rows are spread. */
template <int ROWS, typename Each>
__device__ __forceinline__ void each_work(const attention_call &call, Each each)
{
    const int works = chunk_works(call, ROWS), blocks = (int)gridDim.x;
    for (int round = 0; round * blocks < works; round++) {
        const int turn = round % 2 == 0 ? (int)blockIdx.x : blocks - 1 - (int)blockIdx.x;
        const int work = round * blocks + turn;
        const int kv = work % call.kv_heads;
        const int group = call.heads.start[kv + 1] - call.heads.start[kv];
        attention_chunk chunk;
        int row_block;
        if (work < works && group > 0 &&
            find_work<ROWS>(call, group, work / call.kv_heads, &chunk, &row_block)) {
            each(chunk, kv, row_block);
        }
    }
}

#endif
