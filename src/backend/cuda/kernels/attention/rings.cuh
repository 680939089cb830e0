/* SPDX-License-Identifier: Apache-2.0 */
/* How keys and values reach the warpgroups of group_kernel: rings of tiles in shared memory that a
 * warpgroup of copying threads fills, and barriers that say which tiles are full and which are
 * empty. An fp8 cache comes as it is and is widened to float16 on the way, with the dimensions of
 * keys in the order that tile.cuh gives them. */
#ifndef SLUICE_CUDA_ATTENTION_RINGS_CUH
#define SLUICE_CUDA_ATTENTION_RINGS_CUH

#include "backend/cuda/kernels/attention/work.cuh"
#include "backend/cuda/kernels/tile_product.cuh"

/* A block of group_kernel with GROUPS_ warpgroups that compute, and what it has of shared memory.
 */
template <typename Cache, int DIM, int GROUPS_> struct group_shape {
    typedef tile_shape<Cache, DIM> tile;
    static_assert(DIM == 64 || DIM == 128, "head size");
    static_assert(tile::TILE == ATTENTION_GROUP_BLOCK, "a tile is of whole blocks");
    static constexpr int GROUPS = GROUPS_, GROUP_ROWS = 64, ROWS = GROUPS * GROUP_ROWS;
    static constexpr int THREADS = 128 * GROUPS; /* that compute */
    static constexpr int COPIERS = 128;
    /* A tile in 16 bits: blocks of 64 dimensions, [keys][128 bytes] as piece_at places them. */
    static constexpr int BLOCKS = DIM / 64;
    static constexpr int BLOCK_BYTES = tile::TILE * STAGE_BYTES;
    static constexpr int TILE_BYTES = BLOCKS * BLOCK_BYTES;
    static constexpr int STAGES = 4; /* tiles of keys, and of values */
    static constexpr int LAG = 3;    /* copies that a copying thread has under way */
    static constexpr int RAW_SLOTS = Cache::BYTES == 1 ? LAG + 1 : 0; /* tiles as in the cache */
    static constexpr int RAW_BYTES = tile::TILE * tile::ROW_BYTES;
    static constexpr int RING_BYTES = 2 * STAGES * TILE_BYTES + RAW_SLOTS * RAW_BYTES;
    /* Queries stay in registers where there is room for them, which spares the way through shared
     * memory. */
    static constexpr bool HOLDS_QUERIES = GROUPS == 2;
    static constexpr int QUERY_BYTES = HOLDS_QUERIES ? 0 : BLOCKS * GROUP_ROWS * STAGE_BYTES;
    static constexpr int BARRIERS_AT = RING_BYTES + GROUPS * QUERY_BYTES;
    static constexpr int SHARED_BYTES = BARRIERS_AT + 4 * STAGES * 8;
    static_assert(LAG + 1 < 2 * STAGES, "a tile is shown before its place is wanted again");
};

enum { RING_KEYS, RING_VALUES };

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* ---- Rings ---- */

/* A block's shared memory, in bytes from `base`, its address there: keys' tiles, values' tiles, raw
 * tiles, queries, barriers. */
template <typename Cache, int DIM, int GROUPS> struct group_memory {
    typedef group_shape<Cache, DIM, GROUPS> shape;
    uint32_t base;

    __device__ __forceinline__ uint32_t tile(int ring, int stage) const
    {
        return base + (uint32_t)((ring * shape::STAGES + stage) * shape::TILE_BYTES);
    }
    __device__ __forceinline__ uint32_t raw(int slot) const
    {
        return base + (uint32_t)(2 * shape::STAGES * shape::TILE_BYTES + slot * shape::RAW_BYTES);
    }
    __device__ __forceinline__ uint32_t queries(int group) const
    {
        return base + (uint32_t)(shape::RING_BYTES + group * shape::QUERY_BYTES);
    }
    __device__ __forceinline__ uint32_t full(int ring, int stage) const
    {
        return base + (uint32_t)(shape::BARRIERS_AT + 8 * (ring * shape::STAGES + stage));
    }
    __device__ __forceinline__ uint32_t empty(int ring, int stage) const
    {
        return full(ring + 2, stage);
    }
};

/* The tiles that rows [first, end) of a chunk see; none where there are no such rows. */
template <int TILE>
__device__ __forceinline__ tile_range find_row_tiles(const attention_call &call,
                                                     const attention_chunk &chunk, int group,
                                                     int first, int end)
{
    tile_range none = {0, 0};
    return first < end
               ? find_tiles<TILE>(latest_of(call, chunk.query, chunk.context, first / group),
                                  latest_of(call, chunk.query, chunk.context, (end - 1) / group),
                                  call.window, 0, chunk.context)
               : none;
}

/* ---- Copies ---- */

/* What copying threads do, tile by tile, keys and values in turns: tile number n is begun, and tile
 * n - LAG is shown to those that compute. */
template <typename Cache, int DIM, int GROUPS> struct tile_copier {
    typedef group_shape<Cache, DIM, GROUPS> shape;
    typedef typename shape::tile tile;
    static constexpr int EACH = tile::TILE * tile::CHUNKS / shape::COPIERS; /* pieces a thread */
    static_assert(tile::TILE * tile::CHUNKS % shape::COPIERS == 0, "as many for each");

    static constexpr int STEP = shape::COPIERS / tile::CHUNKS; /* keys from a piece to the next */
    static_assert(STEP % 8 == 0, "pieces of a thread have one place in the swizzle");

    group_memory<Cache, DIM, GROUPS> memory;
    int row, chunk;        /* of the thread's first piece */
    uint32_t to;           /* bytes from a tile's (or raw tile's) start */
    int block[EACH];       /* of the tile's, by piece */
    uint32_t within[EACH]; /* 16 bytes from the block's start of the head */
    unsigned begun, shown; /* tiles of keys and values */

    __device__ __forceinline__ tile_copier(const group_memory<Cache, DIM, GROUPS> &rings,
                                           int block_shift, int thread)
        : memory(rings), row(thread / tile::CHUNKS), chunk(thread % tile::CHUNKS), begun(0),
          shown(0)
    {
        to = Cache::BYTES == 2
                 ? (uint32_t)(chunk / 8 * shape::BLOCK_BYTES + piece_at(row, chunk % 8))
                 : (uint32_t)thread * 16;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int key = row + i * STEP;
            block[i] = key >> block_shift;
            within[i] = (uint32_t)((key & ((1 << block_shift) - 1)) * tile::CHUNKS + chunk);
        }
    }

    __device__ __forceinline__ void locate(unsigned number, int *ring, int *stage,
                                           uint32_t *parity) const
    {
        const unsigned round = number / 2;
        *ring = (int)(number % 2);
        *stage = (int)(round % shape::STAGES);
        *parity = round / shape::STAGES % 2;
    }

    __device__ __forceinline__ void wait_until_empty(unsigned number) const
    {
        int ring, stage;
        uint32_t parity;
        locate(number, &ring, &stage, &parity);
        barrier_wait(memory.empty(ring, stage), parity ^ 1);
    }

    /* WHOLE: all positions of the tile are within the context. */
    template <bool WHOLE>
    __device__ __forceinline__ void copy(const char *from, const pages &p, int blocks, int first,
                                         uint32_t at) const
    {
        constexpr uint32_t DISTANCE = Cache::BYTES == 2 ? STEP * STAGE_BYTES : shape::COPIERS * 16;
        const char *head = from + p.head_offset;
        const uint32_t block_pieces = (uint32_t)(p.block_bytes / 16);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const uint32_t number = (uint32_t)__shfl_sync(0xffffffffu, blocks, block[i]);
            const uint32_t piece = number * block_pieces + within[i];
            copy_async(at + (uint32_t)i * DISTANCE, head + (uint64_t)piece * 16,
                       WHOLE || first + row + i * STEP < p.context);
        }
    }

    __device__ __forceinline__ void begin(const char *from, const pages &p, int blocks, int first)
    {
        int ring, stage;
        uint32_t parity;
        locate(begun, &ring, &stage, &parity);
        if (Cache::BYTES == 2) {
            wait_until_empty(begun);
        }
        const uint32_t at = to + (Cache::BYTES == 2 ? memory.tile(ring, stage)
                                                    : memory.raw((int)(begun % (shape::LAG + 1))));
        if (first + tile::TILE <= p.context) {
            copy<true>(from, p, blocks, first, at);
        } else {
            copy<false>(from, p, blocks, first, at);
        }
        copy_commit();
        begun++;
        if (begun > shape::LAG) {
            copy_wait<shape::LAG>();
            show();
        }
    }

    __device__ __forceinline__ void end()
    {
        copy_wait<0>();
        while (shown < begun) {
            show();
        }
    }

    /* The next tile, all of whose copies by this thread have arrived. */
    __device__ __forceinline__ void show()
    {
        int ring, stage;
        uint32_t parity;
        locate(shown, &ring, &stage, &parity);
        if (Cache::BYTES == 1) {
            wait_until_empty(shown);
            widen(ring, memory.raw((int)(shown % (shape::LAG + 1))), memory.tile(ring, stage));
        }
        show_copies();
        barrier_arrive(memory.full(ring, stage));
        shown++;
    }

    /* This thread's pieces of a raw tile, 16 fp8 values each, as two of float16. */
    __device__ __forceinline__ void widen(int ring, uint32_t raw, uint32_t whole) const
    {
        const bool keys = ring == RING_KEYS;
        /* Neighbours write their two pieces in different order, so that eight threads never meet on
         * a bank. */
        const int piece = chunk % 4 * 2, turn = chunk / 4 % 2;
        const uint32_t block = whole + (uint32_t)(chunk / 4 * shape::BLOCK_BYTES);
        const uint32_t one = block + (uint32_t)piece_at(row, piece + turn);
        const uint32_t two = block + (uint32_t)piece_at(row, piece + 1 - turn);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const uint4 bits = load_piece(raw + to + (uint32_t)(i * shape::COPIERS * 16));
            const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
            uint32_t low[4], high[4]; /* dimensions 4j, 4j + 1 and 4j + 2, 4j + 3 */
#pragma unroll
            for (int j = 0; j < 4; j++) {
                low[j] = widen_pair(words[j] & 0xffffu);
                high[j] = widen_pair(words[j] >> 16);
            }
            const uint4 front = make_uint4(low[0], keys ? low[1] : high[0], keys ? low[2] : low[1],
                                           keys ? low[3] : high[1]);
            const uint4 back = make_uint4(keys ? high[0] : low[2], keys ? high[1] : high[2],
                                          keys ? high[2] : low[3], high[3]);
            store_piece(one + (uint32_t)(i * STEP * STAGE_BYTES), turn == 0 ? front : back);
            store_piece(two + (uint32_t)(i * STEP * STAGE_BYTES), turn == 0 ? back : front);
        }
    }
};

template <typename Cache, int DIM, int GROUPS>
__device__ __forceinline__ void
copy_tiles(const attention_call &call, const group_memory<Cache, DIM, GROUPS> &memory, int thread)
{
    typedef group_shape<Cache, DIM, GROUPS> shape;
    constexpr int TILE = shape::tile::TILE;
    tile_copier<Cache, DIM, GROUPS> copier(memory, call.block_shift, thread);
    each_work<shape::ROWS>(call, [&](const attention_chunk &chunk, int kv, int row_block) {
        const int group = call.heads.start[kv + 1] - call.heads.start[kv];
        const int rows = chunk.query * group, first_row = row_block * shape::ROWS;
        const tile_range tiles =
            find_row_tiles<TILE>(call, chunk, group, first_row, min(first_row + shape::ROWS, rows));
        const pages p = find_pages<Cache, DIM>(call, chunk.sequence, chunk.context, kv);
        int blocks = load_blocks(p, tiles.first * TILE, thread % 32);
        for (int tile = tiles.first; tile < tiles.last; tile++) {
            const int next_blocks = load_blocks(p, (tile + 1) * TILE, thread % 32);
            copier.begin(static_cast<const char *>(call.keys), p, blocks, tile * TILE);
            copier.begin(static_cast<const char *>(call.values), p, blocks, tile * TILE);
            blocks = next_blocks;
        }
    });
    copier.end();
}

#endif

#endif
