/* SPDX-License-Identifier: Apache-2.0 */
/* Attention kernels on the tensor cores, for one type of cache.
 *
 * split_kernel: sequences with few tokens in the step (decode). A warp alone takes up to 16 rows
 * (the query heads of one key/value head, of one token or a few) over one split, with its own ring
 * of two tiles. Floor: the bytes of keys and values, 2 · context · head_dim · bytes a sequence and
 * key/value head, each read once while a token's query heads of a key/value head are at most 16.
 *
 * chunk_kernel: prefill. A block of 4 warps takes 64 · MT rows over all their keys; keys and values
 * are loaded for all of its warps, values while scores are computed, the next keys while values are
 * added. Totals over earlier splits stay in global memory of the block (they are touched once in
 * ATTENTION_SPLIT keys). Floor: 4 · head_dim operations a query row and visible key. */
#ifndef SLUICE_CUDA_ATTENTION_TENSOR_CUH
#define SLUICE_CUDA_ATTENTION_TENSOR_CUH

#include "backend/cuda/kernels/attention/work.cuh"

/* ---- Short sequences ---- */

/* A block of split_kernel: a warp, and SLOTS places for tiles of keys and values by turns. */
template <typename Cache, int DIM, int SLOTS> struct split_shape {
    typedef tile_shape<Cache, DIM> tile;
    static constexpr bool HOLDS_QUERIES = DIM <= 128; /* in registers */
    static constexpr int QUERY_BYTES = HOLDS_QUERIES ? 0 : tile::STEPS * 32 * 16;
    static constexpr int SHARED_BYTES = SLOTS * tile::BYTES + QUERY_BYTES;
};

/* The tiles of an item on their way: copy number 2t is the keys of its tile t, 2t + 1 the values;
 * copy n goes to slot n % SLOTS once copy n - SLOTS has been read there. */
template <typename Cache, int DIM, int SLOTS> struct split_ring {
    typedef tile_shape<Cache, DIM> tile;
    const char *keys, *values;
    pages p;
    uint32_t first_slot, slot; /* in shared memory: the next one to be read */
    int end, lane;             /* one past the last tile */
    int near, far;             /* load_blocks' of the tiles SLOTS / 2 ahead of the one at hand, and
                                  of the next */

    __device__ __forceinline__ split_ring(const attention_call &call, const attention_item &item,
                                          int kv, uint32_t memory, int last, int thread)
        : keys(static_cast<const char *>(call.keys)),
          values(static_cast<const char *>(call.values)),
          p(find_pages<Cache, DIM>(call, item.sequence, item.context, kv)), first_slot(memory),
          slot(memory), end(last), lane(thread)
    {
    }

    /* Rows that a pass of the warp takes, which lie one behind the other in a block that has as
     * many; 0: no passes, as a row is no even share of one, or as registers are full (fp8). */
    static constexpr int ROWS = Cache::BYTES == 2 && 32 % tile::CHUNKS == 0 ? 32 / tile::CHUNKS : 0;

    /* copy_tile's work in passes of ROWS. WHOLE: all of the tile is within the context. */
    template <bool WHOLE>
    __device__ __forceinline__ void copy(const char *from, int blocks, int first) const
    {
        const char *head = from + p.head_offset + lane * 16;
        const uint32_t to = slot + tile::place(lane / tile::CHUNKS, lane % tile::CHUNKS);
        const int mask = (1 << p.shift) - 1, left = p.context - first - lane / tile::CHUNKS;
#pragma unroll
        for (int row = 0; row < tile::TILE; row += ROWS) {
            const int at = (first & mask) + row;
            const int block = __shfl_sync(0xffffffffu, blocks, at >> p.shift);
            const uint32_t turned = tile::TURNS ? to ^ (uint32_t)(row % 8 * 16) : to;
            copy_async(turned + (uint32_t)(row * tile::STRIDE),
                       head + (size_t)block * p.block_bytes +
                           (size_t)((at & mask) * tile::ROW_BYTES),
                       WHOLE || row < left);
        }
    }

    __device__ __forceinline__ void copy_any(const char *from, int blocks, int first) const
    {
        if constexpr (ROWS > 0) {
            if (ROWS <= 1 << p.shift) {
                if (first + tile::TILE <= p.context) {
                    copy<true>(from, blocks, first);
                } else {
                    copy<false>(from, blocks, first);
                }
                return;
            }
        }
        const uint32_t to[1] = {slot};
        const char *const memory[1] = {from};
        copy_tile<Cache, DIM, 32>(to, memory, p, blocks, first, lane);
    }

    __device__ __forceinline__ void begin(int number, int at, int blocks)
    {
        if (at < end) {
            copy_any(number % 2 == 0 ? keys : values, blocks, at * tile::TILE);
        }
        copy_commit();
        advance();
    }

    __device__ __forceinline__ void advance()
    {
        slot += tile::BYTES;
        if (slot == first_slot + SLOTS * tile::BYTES) {
            slot = first_slot;
        }
    }

    __device__ __forceinline__ int blocks_of(int at) const
    {
        return load_blocks(p, at * tile::TILE, lane);
    }

    __device__ __forceinline__ void fill(int first)
    {
        int blocks[SLOTS];
#pragma unroll
        for (int i = 0; i < SLOTS; i += 2) {
            blocks[i] = blocks_of(first + i / 2);
        }
        near = SLOTS % 2 == 0 ? blocks_of(first + SLOTS / 2) : blocks[SLOTS - 1];
        far = blocks_of(first + SLOTS / 2 + 1);
#pragma unroll
        for (int i = 0; i < SLOTS; i++) {
            begin(i, first + i / 2, blocks[i / 2 * 2]);
        }
    }

    /* The next slot to be read, once its tile is there. */
    __device__ __forceinline__ uint32_t wait() const
    {
        copy_wait<SLOTS - 1>();
        __syncwarp();
        return slot;
    }

    /* All lanes have read tile `at`'s keys, or values. */
    __device__ __forceinline__ void pass_keys(int at)
    {
        __syncwarp();
        begin(SLOTS, at + SLOTS / 2, near);
    }
    __device__ __forceinline__ void pass_values(int at)
    {
        __syncwarp();
        begin(SLOTS + 1, at + (SLOTS + 1) / 2, SLOTS % 2 == 0 ? near : far);
        near = far;
        far = blocks_of(at + SLOTS / 2 + 2);
    }
};

template <typename Cache, int DIM>
__device__ __forceinline__ void
write_partial(const attention_call &call, const attention_item &item, const query_row &row,
              const row_state<Cache, DIM, 1> &state, int half, int lane)
{
    if (row.latest < 0) {
        return;
    }
    const size_t at =
        (size_t)(item.slot + row.token - item.first_token) * (size_t)call.query_heads +
        (size_t)row.head;
    float *to = call.partials + at * DIM;
    each_pair<Cache, DIM>(state.sum[0], half, lane, [&](int d, float low, float high) {
        *reinterpret_cast<float2 *>(to + d) = make_float2(low, high);
    });
    if (lane % 4 == 0) {
        call.partial_sums[at] = make_float2(state.largest[0][half], state.total[0][half]);
    }
}

/* Block: (item, 16 rows, kv head), the latter fastest. */
template <typename Cache, int DIM, int SLOTS>
__global__ void __launch_bounds__(32, 8) split_kernel(const __grid_constant__ attention_call call)
{
    typedef tile_shape<Cache, DIM> shape;
    typedef split_shape<Cache, DIM, SLOTS> block;
    extern __shared__ __align__(TILE_ALIGNMENT) char memory[];
    const int lane = (int)threadIdx.x;
    const int row_tiles = (call.longest_short * call.largest_group + 15) / 16;
    const int kv = (int)(blockIdx.x % (unsigned)call.kv_heads);
    const unsigned rest = blockIdx.x / (unsigned)call.kv_heads;
    const int first_row = 16 * (int)(rest % (unsigned)row_tiles);
    const attention_item item = call.items[rest / (unsigned)row_tiles];

    const int group = call.heads.start[kv + 1] - call.heads.start[kv];
    const int rows = item.query * group - first_row < 16 ? item.query * group - first_row : 16;
    if (rows <= 0) {
        return;
    }
    const int first_latest = latest_of(call, item.query, item.context, first_row / group);
    const int last_latest =
        latest_of(call, item.query, item.context, (first_row + rows - 1) / group);
    const tile_range tiles =
        find_tiles<shape::TILE>(first_latest, last_latest, call.window,
                                item.split * ATTENTION_SPLIT, (item.split + 1) * ATTENTION_SPLIT);
    if (tiles.first >= tiles.last) {
        return; /* nothing that reads the partial results sees this split */
    }

    split_ring<Cache, DIM, SLOTS> ring(call, item, kv, shared_address(memory), tiles.last, lane);
    ring.fill(tiles.first);
    const query_row upper =
        find_row(call, kv, first_row + lane / 4, item.first_token, item.query, item.context);
    const query_row lower =
        find_row(call, kv, first_row + lane / 4 + 8, item.first_token, item.query, item.context);
    constexpr int STRIDE = block::HOLDS_QUERIES ? 1 : 32;
    uint4 held[block::HOLDS_QUERIES ? shape::STEPS : 1];
    uint4 *const queries = block::HOLDS_QUERIES
                               ? held
                               : reinterpret_cast<uint4 *>(memory + SLOTS * shape::BYTES) + lane;
    load_queries<Cache, DIM, STRIDE>(call, upper, lower, queries, lane);
    const int latest[1][2] = {{upper.latest, lower.latest}};

    row_state<Cache, DIM, 1> state;
    start_split(state);
    for (int tile = tiles.first; tile < tiles.last; tile++) {
        const int first = tile * shape::TILE;
        float scores[1][shape::KEY_TILES][4];
        score_tile<Cache, DIM, 1, STRIDE>(scores, queries, ring.wait(), lane);
        ring.pass_keys(tile);
        if (call.cap_out > 0.0f) {
            cap_scores(scores, call);
        }
        if (needs_mask(first, shape::TILE, first_latest, last_latest, call.window)) {
            mask_scores(scores, latest, call.window, first, lane);
        }
        float factors[1][2];
        weigh_scores<Cache, DIM, 1>(scores, state, call.exponent_scale, rows > 8 ? 2 : 1, factors);
        move_sums<Cache, DIM, 1>(state, factors);
        add_values<Cache, DIM, 1>(scores, state, ring.wait(), lane);
        ring.pass_values(tile);
    }
    finish_split(state);
    if (item.slot >= 0) {
        write_partial<Cache, DIM>(call, item, upper, state, 0, lane);
        write_partial<Cache, DIM>(call, item, lower, state, 1, lane);
    } else {
        write_result<Cache, DIM>(call, upper, state.sum[0], state.largest[0][0], state.total[0][0],
                                 0, lane);
        write_result<Cache, DIM>(call, lower, state.sum[0], state.largest[0][1], state.total[0][1],
                                 1, lane);
    }
}

/* ---- Prefill ---- */

enum { CHUNK_WARPS = 4, CHUNK_THREADS = 32 * CHUNK_WARPS };

template <typename Cache, int DIM> struct chunk_shape {
    typedef tile_shape<Cache, DIM> tile;
    static constexpr int MT = DIM > 128 ? 1 : 2; /* 16 rows each, of a warp */
    static constexpr int WARP_ROWS = 16 * MT;
    static constexpr int ROWS = CHUNK_WARPS * WARP_ROWS;
    static constexpr int QUERY_BYTES = CHUNK_WARPS * MT * tile::STEPS * 32 * 16;
    static constexpr int SHARED_BYTES = QUERY_BYTES + 2 * tile::BYTES;
    static constexpr int TOTALS = MT * (tile::COLUMNS + 1); /* of 4 floats, of a thread */
};

template <typename Cache, int DIM>
__device__ __forceinline__ void run_rows(const attention_call &call, const attention_chunk &chunk,
                                         int kv, int row_block, char *memory)
{
    typedef tile_shape<Cache, DIM> shape;
    typedef chunk_shape<Cache, DIM> block;
    constexpr int MT = block::MT;
    const int thread = (int)threadIdx.x, warp = thread / 32, lane = thread % 32;
    const int group = call.heads.start[kv + 1] - call.heads.start[kv];
    const int rows = chunk.query * group;

    /* Of the block, then of the warp; a warp without rows sees nothing. */
    const int first_row = row_block * block::ROWS;
    const int last_row = (first_row + block::ROWS < rows ? first_row + block::ROWS : rows) - 1;
    const tile_range tiles =
        find_tiles<shape::TILE>(latest_of(call, chunk.query, chunk.context, first_row / group),
                                latest_of(call, chunk.query, chunk.context, last_row / group),
                                call.window, 0, chunk.context);
    const int warp_row = first_row + warp * block::WARP_ROWS;
    const int warp_end = warp_row + block::WARP_ROWS < rows ? warp_row + block::WARP_ROWS : rows;
    const int first_latest = latest_of(call, chunk.query, chunk.context, warp_row / group);
    const int last_latest =
        warp_row < rows ? latest_of(call, chunk.query, chunk.context, (warp_end - 1) / group) : -1;
    const int oldest = call.window > 0 ? first_latest - call.window + 1 : 0;

    uint4 *fragments = reinterpret_cast<uint4 *>(memory) + warp * MT * shape::STEPS * 32 + lane;
    const uint32_t keys = shared_address(memory) + block::QUERY_BYTES;
    const uint32_t values = keys + shape::BYTES;
    const uint32_t to_keys[1] = {keys}, to_values[1] = {values};
    const char *const from_keys[1] = {static_cast<const char *>(call.keys)};
    const char *const from_values[1] = {static_cast<const char *>(call.values)};
    float4 *totals = reinterpret_cast<float4 *>(call.totals) +
                     (size_t)blockIdx.x * (size_t)(block::TOTALS * CHUNK_THREADS) + thread;

    const pages p = find_pages<Cache, DIM>(call, chunk.sequence, chunk.context, kv);
    int blocks = load_blocks(p, tiles.first * shape::TILE, lane);
    __syncthreads(); /* the rows before are done with both tiles */
    copy_tile<Cache, DIM, CHUNK_THREADS>(to_keys, from_keys, p, blocks, tiles.first * shape::TILE,
                                         thread);
    copy_commit();

    __shared__ int latest_of_rows[CHUNK_WARPS][MT][2][32];
    int *own = &latest_of_rows[warp][0][0][lane];
#pragma unroll
    for (int m = 0; m < MT; m++) {
        const int row = warp_row + 16 * m + lane / 4;
        const query_row upper =
            find_row(call, kv, row, chunk.first_token, chunk.query, chunk.context);
        const query_row lower =
            find_row(call, kv, row + 8, chunk.first_token, chunk.query, chunk.context);
        load_queries<Cache, DIM>(call, upper, lower, fragments + m * shape::STEPS * 32, lane);
        own[64 * m] = upper.latest;
        own[64 * m + 32] = lower.latest;
    }

    row_state<Cache, DIM, MT> state;
    start_split(state);
    bool first_split = true;
    for (int tile = tiles.first; tile < tiles.last; tile++) {
        const int first = tile * shape::TILE;
        const bool seen = first <= last_latest && first + shape::TILE > oldest;
        const int next_blocks = load_blocks(p, first + shape::TILE, lane);
        copy_wait<0>();
        __syncthreads(); /* keys are here; all are done with the values before */
        copy_tile<Cache, DIM, CHUNK_THREADS>(to_values, from_values, p, blocks, first, thread);
        copy_commit();
        float scores[MT][shape::KEY_TILES][4];
        if (seen) {
            score_tile<Cache, DIM, MT>(scores, fragments, keys, lane);
        }
        copy_wait<0>();
        __syncthreads(); /* values are here; all are done with the keys */
        if (tile + 1 < tiles.last) {
            copy_tile<Cache, DIM, CHUNK_THREADS>(to_keys, from_keys, p, next_blocks,
                                                 first + shape::TILE, thread);
        }
        copy_commit();
        if (seen) {
            if (call.cap_out > 0.0f) {
                cap_scores(scores, call);
            }
            if (needs_mask(first, shape::TILE, first_latest, last_latest, call.window)) {
                int latest[MT][2];
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    latest[m][0] = own[64 * m];
                    latest[m][1] = own[64 * m + 32];
                }
                mask_scores(scores, latest, call.window, first, lane);
            }
            float factors[MT][2];
            weigh_scores<Cache, DIM, MT>(scores, state, call.exponent_scale, 2, factors);
            move_sums<Cache, DIM, MT>(state, factors);
            add_values<Cache, DIM, MT>(scores, state, values, lane);
        }
        blocks = next_blocks;
        const bool last = tile + 1 == tiles.last;
        if (last || (tile + 1) % shape::SPLIT_TILES == 0) {
            finish_split(state);
            if (!first_split || !last) {
                join_split<Cache, DIM, MT, CHUNK_THREADS>(state, totals, call.exponent_scale,
                                                          first_split, last);
            }
            first_split = false;
            if (!last) {
                start_split(state);
            }
        }
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const query_row row = find_row(call, kv, warp_row + 16 * m + 8 * half + lane / 4,
                                           chunk.first_token, chunk.query, chunk.context);
            write_result<Cache, DIM>(call, row, state.sum[m], state.largest[m][half],
                                     state.total[m][half], half, lane);
        }
    }
}

template <typename Cache, int DIM>
__global__ void __launch_bounds__(CHUNK_THREADS, 2)
    chunk_kernel(const __grid_constant__ attention_call call)
{
    extern __shared__ __align__(TILE_ALIGNMENT) char memory[];
    each_work<chunk_shape<Cache, DIM>::ROWS>(
        call, [&](const attention_chunk &chunk, int kv, int row_block) {
            run_rows<Cache, DIM>(call, chunk, kv, row_block, memory);
        });
}

#endif
