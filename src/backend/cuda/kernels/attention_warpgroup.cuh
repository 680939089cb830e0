/* Attention of chunks (prefill) by sm_90a's warpgroups, for head sizes 64 and 128.
 *
 * group_kernel computes what chunk_kernel does, tile by tile and in the same order; on this chip a
 * warpgroup's products have the bits of mma.sync's, so a row has one result, whichever kernel takes
 * it. A block is three warpgroups of 64 rows each and a fourth that copies: keys and values come in
 * through rings in shared memory, an fp8 cache widened to float16 on the way, with the dimensions
 * of keys in the order that attention_tile.cuh gives them. While a tile's values are added, the
 * next tile's scores are on their way; while one warpgroup is at its soft-max, the other has the
 * tensor cores.
 *
 * Floor: 4 · head_dim operations a query row and visible key; an exponential each of a quarter of
 * the tensor cores' time at 128 dimensions. */
#ifndef SLUICE_CUDA_ATTENTION_WARPGROUP_CUH
#define SLUICE_CUDA_ATTENTION_WARPGROUP_CUH

#include "backend/cuda/kernels/attention_work.cuh"
#include "backend/cuda/kernels/tile_product.cuh"

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

/* ---- Instructions ------------------------------------------------------------------------------
 */

__device__ __forceinline__ void barrier_create(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* Until the phase of that parity has ended. */
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t ended;
    do {
        asm volatile("{ .reg .pred ended; "
                     "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; "
                     "selp.u32 %0, 1, 0, ended; }"
                     : "=r"(ended)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (ended == 0);
    __syncwarp();
}

__device__ __forceinline__ void begin_products()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void commit_products()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Shared memory by its address. */
__device__ __forceinline__ uint4 load_piece(uint32_t from)
{
    uint4 piece;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(piece.x), "=r"(piece.y), "=r"(piece.z), "=r"(piece.w)
                 : "r"(from)
                 : "memory");
    return piece;
}

__device__ __forceinline__ void store_piece(uint32_t to, const uint4 &piece)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(piece.x), "r"(piece.y),
                 "r"(piece.z), "r"(piece.w)
                 : "memory");
}

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

/* All but the latest commit. */
__device__ __forceinline__ void wait_for_earlier_products()
{
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
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

/* ---- Rings -------------------------------------------------------------------------------------
 */

/* A block's shared memory: keys' tiles, values' tiles, raw tiles, barriers. */
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

/* Where a ring is: the stage that is next, and the parity of its phase. */
template <int STAGES> struct ring_place {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance()
    {
        stage++;
        if (stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
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

/* ---- Copies ------------------------------------------------------------------------------------
 */

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

/* ---- Arithmetic --------------------------------------------------------------------------------
 */

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
        write_result<Cache, DIM, float16_cache>(call, upper, state.sum[0], state.total[0][0], 0,
                                                lane);
        write_result<Cache, DIM, float16_cache>(call, lower, state.sum[0], state.total[0][1], 1,
                                                lane);
    }
};

#endif

/* ---- The kernel --------------------------------------------------------------------------------
 */

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
