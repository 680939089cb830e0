/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of attention on the tensor cores, for one warp and one tile of keys. Every kernel
 * is made of these pieces, so that a query row has one result.
 *
 * Soft-max on line (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135). Keys
 * are cut at fixed positions into splits of ATTENTION_SPLIT and these into tiles of 64 (32 for
 * large heads). Over a split a row carries m, the largest score so far, l, the sum of its weights,
 * and O, the weighted sum of values; splits start from (-inf, 0, 0) and are joined in ascending
 * order by join_weights. A warp holds 16 · MT rows; a row is a (token, query head) pair of one
 * key/value head, token by token. Rows of an MMA know nothing of each other, and what a row does
 * not see changes nothing: a tile without a visible key leaves (m, l, O) as they are, so that it
 * may be computed or skipped. Hence a row's bits depend on its query, its position and the keys and
 * values that it sees.
 *
 * Cache types: in 16 bits as the MMA takes them; fp8 becomes float16, which is exact, and so do
 * then the queries, with a precision above bfloat16's (what is beyond float16's range is clamped).
 * Static scales of fp8 keys and values stand in the constants of the soft-max and at the end.
 *
 * Layout of fragments: MMA m16n8k16, lane = 4 · g + j. A: rows g, g + 8; C: the same rows, columns
 * 2j, 2j + 1. For fp8 the 16 head dimensions of a step stand in the order that the bytes come in:
 * k = {2j, 2j+1, 2j+8, 2j+9} is dimension {4j .. 4j+3}, for queries and keys alike; of values, two
 * tiles of 8 columns take the even and the odd dimensions of 16. */
#ifndef SLUICE_CUDA_ATTENTION_TILE_CUH
#define SLUICE_CUDA_ATTENTION_TILE_CUH

#include "backend/cuda/kernels/attention/attention.h"
#include "backend/cuda/kernels/numbers.cuh"

/* Element types of the cache, and what the MMA computes in. */
struct bfloat16_cache {
    typedef __nv_bfloat16 product;
    static constexpr int BYTES = 2;
};
struct float16_cache {
    typedef __half product;
    static constexpr int BYTES = 2;
};
struct float8_cache {
    typedef __half product;
    static constexpr int BYTES = 1;
};

/* A tile of keys or values in shared memory: [TILE][STRIDE bytes], a row in chunks of 16 bytes. The
 * 8 rows of a matrix that ldmatrix reads lie in different banks: where a row is whole lines of 128
 * bytes its chunks change places within them (TURNS), else STRIDE is an odd number of chunks. */
template <typename Cache, int DIM> struct tile_shape {
    static constexpr int TILE = DIM > 128 ? 32 : 64; /* keys */
    static constexpr int ROW_BYTES = DIM * Cache::BYTES;
    static constexpr int CHUNKS = ROW_BYTES / 16;
    static constexpr bool TURNS = CHUNKS % 8 == 0;
    static constexpr int STRIDE = TURNS ? ROW_BYTES : (CHUNKS | 1) * 16;
    static constexpr int BYTES = TILE * STRIDE;
    static constexpr int KEY_TILES = TILE / 8; /* MMA tiles of keys */
    static constexpr int COLUMNS = DIM / 8;    /* MMA tiles of output dimensions */
    static constexpr int STEPS = DIM / 16;     /* MMA steps over the head dimension */
    static constexpr int SPLIT_TILES = ATTENTION_SPLIT / TILE;
    static_assert(DIM % 16 == 0 && ATTENTION_SPLIT % TILE == 0, "head size");

    /* Bytes from the tile's start. */
    static __device__ __forceinline__ uint32_t place(int row, int chunk)
    {
        return (uint32_t)(row * STRIDE + (TURNS ? chunk ^ row % 8 : chunk) * 16);
    }
    /* `bytes` along its row from the place of chunk 0 or 1; tiles begin at multiples of
     * TILE_ALIGNMENT. */
    static __device__ __forceinline__ uint32_t along(uint32_t from, int bytes)
    {
        return TURNS ? from ^ (uint32_t)bytes : from + (uint32_t)bytes;
    }
};

enum { TILE_ALIGNMENT = 1024 };

/* ---- Instructions ---- */

__device__ __forceinline__ uint32_t shared_address(const void *pointer)
{
    return (uint32_t)__cvta_generic_to_shared(pointer);
}

/* 16 bytes, or zeros where `present` is false. */
__device__ __forceinline__ void copy_async(uint32_t to, const void *from, bool present)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from),
                 "r"(present ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

/* All but the latest `LEFT` groups of this thread have arrived. */
template <int LEFT> __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(LEFT) : "memory");
}

__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], uint32_t from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[4], uint32_t from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

template <typename T>
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint4 &a, uint32_t b0,
                                             uint32_t b1);
template <>
__device__ __forceinline__ void multiply_add<__nv_bfloat16>(float (&c)[4], const uint4 &a,
                                                            uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiply_add<__half>(float (&c)[4], const uint4 &a, uint32_t b0,
                                                     uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/* 2^x; 1 for 0, 0 for -inf. */
__device__ __forceinline__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

/* ---- Pairs of values ---- */

template <typename T> __device__ __forceinline__ uint32_t pack_pair(float low, float high);
template <> __device__ __forceinline__ uint32_t pack_pair<__nv_bfloat16>(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}
template <> __device__ __forceinline__ uint32_t pack_pair<__half>(float low, float high)
{
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

/* Two fp8 values in the low 16 bits as float16. */
__device__ __forceinline__ uint32_t widen_pair(uint32_t bits)
{
    const __half2_raw pair = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)bits, __NV_E4M3);
    return (uint32_t)pair.x | (uint32_t)pair.y << 16;
}

/* Two values of a query in `dtype` as the MMA takes them: as they are, or in float16, what is
 * beyond its range clamped (what is not a number stays none). */
template <typename Cache> __device__ __forceinline__ uint32_t query_pair(uint32_t bits, int dtype)
{
    if (Cache::BYTES == 2 || dtype == TYPE_FLOAT16) {
        return bits;
    }
    float pair[2] = {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)};
#pragma unroll
    for (int e = 0; e < 2; e++) {
        asm("max.NaN.f32 %0, %0, 0fC77FE000;\n\tmin.NaN.f32 %0, %0, 0f477FE000;" /* 65504 */
            : "+f"(pair[e]));
    }
    return pack_pair<__half>(pair[0], pair[1]);
}

template <typename Cache>
__device__ __forceinline__ void write_pair(void *to, size_t at, int dtype, float low, float high)
{
    uint32_t bits;
    if (Cache::BYTES == 2) {
        bits = pack_pair<typename Cache::product>(low, high);
    } else {
        bits = dtype == TYPE_FLOAT16 ? pack_pair<__half>(low, high)
                                     : pack_pair<__nv_bfloat16>(low, high);
    }
    *reinterpret_cast<uint32_t *>(static_cast<char *>(to) + 2 * at) = bits;
}

/* ---- Pages ---- */

/* Where a sequence's keys (and values) of one head lie. */
struct pages {
    const int32_t *table;
    int shift, last_block; /* block_tokens = 1 << shift */
    int context;
    size_t block_bytes, head_offset; /* of a block of all heads; of the head within */
};

template <typename Cache, int DIM>
__device__ __forceinline__ pages find_pages(const attention_call &call, int sequence, int context,
                                            int kv)
{
    const size_t head_bytes = (size_t)tile_shape<Cache, DIM>::ROW_BYTES << call.block_shift;
    pages p;
    p.table = call.block_table + (size_t)sequence * (size_t)call.block_table_stride;
    p.shift = call.block_shift;
    p.last_block = (context - 1) >> call.block_shift;
    p.context = context;
    p.block_bytes = head_bytes * (size_t)call.kv_heads;
    p.head_offset = head_bytes * (size_t)kv;
    return p;
}

/* Lane i: the i-th block of the tile that starts at position `first`. */
__device__ __forceinline__ int load_blocks(const pages &p, int first, int lane)
{
    const int block = (first >> p.shift) + lane;
    return __ldg(p.table + (block < p.last_block ? block : p.last_block));
}

/* Starts the copies of a tile out of each of COUNT memories of one layout, zeros beyond the context
 * (there, anything may stand, and 0 · NaN is not 0). `blocks` is load_blocks'. Taken by THREADS
 * threads; all lanes of a warp come along. */
template <typename Cache, int DIM, int THREADS, int COUNT>
__device__ __forceinline__ void copy_tile(const uint32_t (&to)[COUNT],
                                          const char *const (&from)[COUNT], const pages &p,
                                          int blocks, int first, int thread)
{
    typedef tile_shape<Cache, DIM> shape;
    constexpr int TOTAL = shape::TILE * shape::CHUNKS;
    static_assert(TOTAL % 32 == 0, "whole warps");
    const int first_block = first >> p.shift, mask = (1 << p.shift) - 1;
#pragma unroll(COUNT == 2 ? 8 : 4)
    for (int i = 0; i < (TOTAL + THREADS - 1) / THREADS; i++) {
        const int index = i * THREADS + thread;
        if (TOTAL % THREADS != 0 && index >= TOTAL) {
            break; /* a whole warp */
        }
        const int row = index / shape::CHUNKS, chunk = index % shape::CHUNKS;
        const int position = first + row;
        const int block = __shfl_sync(0xffffffffu, blocks, (position >> p.shift) - first_block);
        const size_t offset = (size_t)block * p.block_bytes + p.head_offset +
                              (size_t)((position & mask) * shape::ROW_BYTES + chunk * 16);
#pragma unroll
        for (int c = 0; c < COUNT; c++) {
            copy_async(to[c] + shape::place(row, chunk), from[c] + offset, position < p.context);
        }
    }
}

/* ---- Rows ---- */

/* Row `row` of a sequence's rows for one key/value head. */
struct query_row {
    int token; /* of the step */
    int head;
    int latest; /* position that it sees; -1: no such row */
};

/* The latest position that token `token` of a sequence's `query` tokens in the step sees. */
__device__ __forceinline__ int latest_of(const attention_call &call, int query, int context,
                                         int token)
{
    return call.bidirectional ? context - 1 : context - query + token;
}

__device__ __forceinline__ query_row find_row(const attention_call &call, int kv, int row,
                                              int first_token, int query, int context)
{
    const int first_head = call.heads.start[kv], group = call.heads.start[kv + 1] - first_head;
    const int token = row / group;
    query_row r = {0, 0, -1};
    if (token < query) {
        r.token = first_token + token;
        r.head = call.heads.head[first_head + row % group];
        r.latest = latest_of(call, query, context, token);
    }
    return r;
}

/* The lane's values of a row for each step: for fp8 four neighbours, else two pairs 8 apart. All
 * are asked for at once and behind no condition, as a kernel waits for them with nothing else to
 * do; where there is no such row find_row names one that can be read. */
template <typename Cache, int DIM>
__device__ __forceinline__ void read_queries(const attention_call &call, const query_row &row,
                                             uint2 (&to)[tile_shape<Cache, DIM>::STEPS], int lane)
{
    constexpr int EACH = Cache::BYTES == 2 ? 2 : 4;
    const size_t at =
        (size_t)row.token * (size_t)call.q_stride + (size_t)(row.head * DIM + EACH * (lane % 4));
    const char *from = static_cast<const char *>(call.q) + 2 * at;
#pragma unroll
    for (int t = 0; t < tile_shape<Cache, DIM>::STEPS; t++) {
        if constexpr (Cache::BYTES == 2) {
            to[t].x = *reinterpret_cast<const uint32_t *>(from + 32 * t);
            to[t].y = *reinterpret_cast<const uint32_t *>(from + 32 * t + 16);
        } else {
            to[t] = *reinterpret_cast<const uint2 *>(from + 32 * t);
        }
    }
}

/* Two values of a row as query_pair gives them, 0 where there is no such row. */
template <typename Cache>
__device__ __forceinline__ uint32_t query_pair_of(const query_row &row, uint32_t bits, int dtype)
{
    return row.latest < 0 ? 0 : query_pair<Cache>(bits, dtype);
}

/* The lane's fragments of the rows g and g + 8, at fragments[step · STRIDE]; only this lane reads
 * them. */
template <typename Cache, int DIM, int STRIDE = 32>
__device__ __forceinline__ void load_queries(const attention_call &call, const query_row &upper,
                                             const query_row &lower, uint4 *fragments, int lane)
{
    uint2 high[tile_shape<Cache, DIM>::STEPS], low[tile_shape<Cache, DIM>::STEPS];
    read_queries<Cache, DIM>(call, upper, high, lane);
    read_queries<Cache, DIM>(call, lower, low, lane);
#pragma unroll
    for (int t = 0; t < tile_shape<Cache, DIM>::STEPS; t++) {
        fragments[t * STRIDE] = make_uint4(query_pair_of<Cache>(upper, high[t].x, call.dtype),
                                           query_pair_of<Cache>(lower, low[t].x, call.dtype),
                                           query_pair_of<Cache>(upper, high[t].y, call.dtype),
                                           query_pair_of<Cache>(lower, low[t].y, call.dtype));
    }
}

/* What 16 · MT rows carry over a split. Index [..][2 · half + e]: row g + 8 · half, column 2j + e.
 */
template <typename Cache, int DIM, int MT> struct row_state {
    float sum[MT][tile_shape<Cache, DIM>::COLUMNS][4]; /* O */
    float largest[MT][2];                              /* m, of q·k (of the capped score) */
    float total[MT][2];                                /* l; until finish_split, this lane's part */
};

template <typename Cache, int DIM, int MT>
__device__ __forceinline__ void start_split(row_state<Cache, DIM, MT> &state)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < tile_shape<Cache, DIM>::COLUMNS; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                state.sum[m][n][i] = 0.0f;
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            state.largest[m][half] = -INFINITY;
            state.total[m][half] = 0.0f;
        }
    }
}

template <typename Cache, int DIM, int MT>
__device__ __forceinline__ void finish_split(row_state<Cache, DIM, MT> &state)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float x = state.total[m][half];
            x = __fadd_rn(x, __shfl_xor_sync(0xffffffffu, x, 1));
            state.total[m][half] = __fadd_rn(x, __shfl_xor_sync(0xffffffffu, x, 2));
        }
    }
}

/* ---- A tile ---- */

/* scores = queries · keysᵀ: [16 · MT][TILE]. `keys` is the tile's address in shared memory; the
 * queries' fragments are as load_queries leaves them. */
template <typename Cache, int DIM, int MT, int STRIDE = 32>
__device__ __forceinline__ void
score_tile(float (&scores)[MT][tile_shape<Cache, DIM>::KEY_TILES][4], const uint4 *fragments,
           uint32_t keys, int lane)
{
    typedef tile_shape<Cache, DIM> shape;
    typedef typename Cache::product product;
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < shape::KEY_TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[m][n][i] = 0.0f;
            }
        }
    }
    /* 16 bits: matrices (keys 0-7, dimensions 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15);
     * fp8: keys 0-7, 8-15, 16-23, 24-31 of 16 dimensions. */
    const int row = Cache::BYTES == 2 ? lane % 8 + lane / 16 * 8 : lane;
    const int chunk = Cache::BYTES == 2 ? lane / 8 % 2 : 0;
    const uint32_t from = keys + shape::place(row, chunk);
#pragma unroll
    for (int t = 0; t < shape::STEPS; t++) {
        const uint32_t step = shape::along(from, t * 16 * Cache::BYTES);
        uint4 a[MT];
#pragma unroll
        for (int m = 0; m < MT; m++) {
            a[m] = fragments[(m * shape::STEPS + t) * STRIDE];
        }
        if (Cache::BYTES == 2) {
#pragma unroll
            for (int n = 0; n < shape::TILE / 16; n++) {
                uint32_t b[4];
                load_matrices(b, step + (uint32_t)(n * 16 * shape::STRIDE));
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    multiply_add<product>(scores[m][2 * n], a[m], b[0], b[1]);
                    multiply_add<product>(scores[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        } else {
#pragma unroll
            for (int n = 0; n < shape::TILE / 32; n++) {
                uint32_t b[4];
                load_matrices(b, step + (uint32_t)(n * 32 * shape::STRIDE));
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const uint32_t low = widen_pair(b[i] & 0xffffu), high = widen_pair(b[i] >> 16);
#pragma unroll
                    for (int m = 0; m < MT; m++) {
                        multiply_add<product>(scores[m][4 * n + i], a[m], low, high);
                    }
                }
            }
        }
    }
}

/* cap · tanh(x / cap), times exponent_scale. */
template <int MT, int KEY_TILES>
__device__ __forceinline__ void cap_scores(float (&scores)[MT][KEY_TILES][4],
                                           const attention_call &call)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < KEY_TILES; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float e = power_of_two(__fmul_rn(scores[m][n][i], call.cap_in));
                const float tanh = __fmaf_rn(-2.0f, reciprocal(__fadd_rn(e, 1.0f)), 1.0f);
                scores[m][n][i] = __fmul_rn(call.cap_out, tanh);
            }
        }
    }
}

/* -inf where a row does not see a key: of positions up to its latest, the last `window`. */
template <int MT, int KEY_TILES>
__device__ __forceinline__ void mask_scores(float (&scores)[MT][KEY_TILES][4],
                                            const int (&last)[MT][2], int window, int first,
                                            int lane)
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int latest = last[m][half];
            const int oldest = window > 0 ? latest - window + 1 : 0;
#pragma unroll
            for (int n = 0; n < KEY_TILES; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int key = first + 8 * n + 2 * (lane % 4) + e;
                    if (key > latest || key < oldest) {
                        scores[m][n][2 * half + e] = -INFINITY;
                    }
                }
            }
        }
    }
}

/* Scores become weights; m and l move to the new largest score, O is to follow by the factors.
 * `halves`: 1 where rows g + 8 of the only 16 are none. */
template <typename Cache, int DIM, int MT>
__device__ __forceinline__ void
weigh_scores(float (&scores)[MT][tile_shape<Cache, DIM>::KEY_TILES][4],
             row_state<Cache, DIM, MT> &state, float exponent_scale, int halves,
             float (&factors)[MT][2])
{
    typedef tile_shape<Cache, DIM> shape;
#pragma unroll
    for (int m = 0; m < MT; m++) {
        float(&factor)[2] = factors[m];
        factor[0] = factor[1] = 1.0f;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (MT == 1 && half == 1 && halves == 1) {
#pragma unroll
                for (int n = 0; n < shape::KEY_TILES; n++) {
                    scores[m][n][2] = 0.0f;
                    scores[m][n][3] = 0.0f;
                }
                continue;
            }
            float most = state.largest[m][half];
#pragma unroll
            for (int n = 0; n < shape::KEY_TILES; n++) {
                most = fmaxf(most, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
            }
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            const float base = most == -INFINITY ? 0.0f : most; /* -inf - -inf is not a number */
            factor[half] =
                power_of_two(__fmul_rn(__fsub_rn(state.largest[m][half], base), exponent_scale));
            const float shift = -__fmul_rn(base, exponent_scale);
            float sum = 0.0f;
#pragma unroll
            for (int n = 0; n < shape::KEY_TILES; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const float weight =
                        power_of_two(__fmaf_rn(scores[m][n][2 * half + e], exponent_scale, shift));
                    scores[m][n][2 * half + e] = weight;
                    sum = __fadd_rn(sum, weight);
                }
            }
            state.total[m][half] = __fmaf_rn(state.total[m][half], factor[half], sum);
            state.largest[m][half] = most;
        }
    }
}

template <typename Cache, int DIM, int MT>
__device__ __forceinline__ void move_sums(row_state<Cache, DIM, MT> &state,
                                          const float (&factors)[MT][2])
{
#pragma unroll
    for (int m = 0; m < MT; m++) {
        if (__any_sync(0xffffffffu, factors[m][0] != 1.0f || factors[m][1] != 1.0f)) {
#pragma unroll
            for (int n = 0; n < tile_shape<Cache, DIM>::COLUMNS; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    state.sum[m][n][i] = __fmul_rn(state.sum[m][n][i], factors[m][i / 2]);
                }
            }
        }
    }
}

/* The weights of 16 keys, the `step`-th of a tile, as the MMA's first operand. */
template <typename Cache, int KEY_TILES>
__device__ __forceinline__ uint4 pack_weights(const float (&weights)[KEY_TILES][4], int step)
{
    typedef typename Cache::product product;
    const float(&low)[4] = weights[2 * step], (&high)[4] = weights[2 * step + 1];
    return make_uint4(pack_pair<product>(low[0], low[1]), pack_pair<product>(low[2], low[3]),
                      pack_pair<product>(high[0], high[1]), pack_pair<product>(high[2], high[3]));
}

/* O += weights · values. */
template <typename Cache, int DIM, int MT>
__device__ __forceinline__ void
add_values(const float (&weights)[MT][tile_shape<Cache, DIM>::KEY_TILES][4],
           row_state<Cache, DIM, MT> &state, uint32_t values, int lane)
{
    typedef tile_shape<Cache, DIM> shape;
    typedef typename Cache::product product;
    constexpr int KEYS = Cache::BYTES == 2 ? 16 : 32; /* that one ldmatrix takes */
    /* 16 bits: matrices (keys 0-7, dimensions 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15);
     * fp8: keys 0-7, 8-15, 16-23, 24-31 of 8 pairs of dimensions. */
    const int row = Cache::BYTES == 2 ? lane % 16 : lane;
    const int chunk = Cache::BYTES == 2 ? lane / 16 : 0;
    const uint32_t from = values + shape::place(row, chunk);
#pragma unroll
    for (int k = 0; k < shape::TILE / KEYS; k++) {
        uint4 a[MT][KEYS / 16];
#pragma unroll
        for (int m = 0; m < MT; m++) {
#pragma unroll
            for (int s = 0; s < KEYS / 16; s++) {
                a[m][s] = pack_weights<Cache>(weights[m], k * (KEYS / 16) + s);
            }
        }
#pragma unroll
        for (int d = 0; d < shape::STEPS; d++) {
            uint32_t b[4];
            load_matrices_transposed(b, shape::along(from, d * 16 * Cache::BYTES) +
                                            (uint32_t)(k * KEYS * shape::STRIDE));
            if (Cache::BYTES == 2) {
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    multiply_add<product>(state.sum[m][2 * d], a[m][0], b[0], b[1]);
                    multiply_add<product>(state.sum[m][2 * d + 1], a[m][0], b[2], b[3]);
                }
            } else {
#pragma unroll
                for (int s = 0; s < KEYS / 16; s++) {
                    /* bytes: (key 2j, even), (2j, odd), (2j + 1, even), (2j + 1, odd) */
                    const uint32_t low = __byte_perm(b[2 * s], 0, 0x3120);
                    const uint32_t high = __byte_perm(b[2 * s + 1], 0, 0x3120);
                    const uint32_t even[2] = {widen_pair(low & 0xffffu),
                                              widen_pair(high & 0xffffu)};
                    const uint32_t odd[2] = {widen_pair(low >> 16), widen_pair(high >> 16)};
#pragma unroll
                    for (int m = 0; m < MT; m++) {
                        multiply_add<product>(state.sum[m][2 * d], a[m][s], even[0], even[1]);
                        multiply_add<product>(state.sum[m][2 * d + 1], a[m][s], odd[0], odd[1]);
                    }
                }
            }
        }
    }
}

/* ---- Joining splits, results ---- */

/* Factors of what is there and of the next split; *largest moves to the larger of both. */
__device__ __forceinline__ void join_weights(float *largest, float next, float exponent_scale,
                                             float *keep, float *add)
{
    const float most = fmaxf(*largest, next);
    const float base = most == -INFINITY ? 0.0f : most;
    *keep = power_of_two(__fmul_rn(__fsub_rn(*largest, base), exponent_scale));
    *add = power_of_two(__fmul_rn(__fsub_rn(next, base), exponent_scale));
    *largest = most;
}

__device__ __forceinline__ float join_value(float value, float keep, float next, float add)
{
    return __fmaf_rn(next, add, __fmul_rn(value, keep));
}

/* l of all positions, and then the weight of the head's sink, which has no value. The sink comes
 * last, once, wherever a row ends: so it knows neither tiles nor splits nor which kernel adds it.
 * Far above all scores its weight is infinite, and the result 0. */
__device__ __forceinline__ float add_sink(const attention_call &call, int head, float largest,
                                          float total)
{
    if (call.sinks == nullptr) {
        return total;
    }
    const float sink = __fmul_rn(call.sinks[head], 1.44269504f); /* log2 e */
    const float shift = __fmul_rn(largest, call.exponent_scale);
    return __fadd_rn(total, power_of_two(__fsub_rn(sink, shift)));
}

/* A result: O / l, times the values' scale; never -0, whose sign could tell of tiles that changed
 * nothing. */
__device__ __forceinline__ float finish_value(float sum, float inverse)
{
    return __fadd_rn(__fmul_rn(sum, inverse), 0.0f);
}

/* write(dimension, value, value of dimension + 1) for the lane's values of one row, whose columns
 * stand as the products of `Cache` leave them. */
template <typename Cache, int DIM, typename Write>
__device__ __forceinline__ void each_pair(const float (&sum)[tile_shape<Cache, DIM>::COLUMNS][4],
                                          int half, int lane, Write write)
{
    const int j = lane % 4;
#pragma unroll
    for (int d = 0; d < tile_shape<Cache, DIM>::STEPS; d++) {
        const float(&a)[4] = sum[2 * d];
        const float(&b)[4] = sum[2 * d + 1];
        if (Cache::BYTES == 2) {
            write(16 * d + 2 * j, a[2 * half], a[2 * half + 1]);
            write(16 * d + 8 + 2 * j, b[2 * half], b[2 * half + 1]);
        } else {
            write(16 * d + 4 * j, a[2 * half], b[2 * half]);
            write(16 * d + 4 * j + 2, a[2 * half + 1], b[2 * half + 1]);
        }
    }
}

/* The lane's part of a row's result. `largest` and `total` are of all positions; `Order`: the cache
 * as whose the columns stand. */
template <typename Cache, int DIM, typename Order = Cache>
__device__ __forceinline__ void write_result(const attention_call &call, const query_row &row,
                                             const float (&sum)[tile_shape<Cache, DIM>::COLUMNS][4],
                                             float largest, float total, int half, int lane)
{
    if (row.latest < 0) {
        return;
    }
    total = add_sink(call, row.head, largest, total);
    const float inverse = __fmul_rn(__frcp_rn(total), call.value_scale);
    const size_t at = ((size_t)row.token * (size_t)call.query_heads + (size_t)row.head) * DIM;
    each_pair<Order, DIM>(sum, half, lane, [&](int d, float low, float high) {
        write_pair<Cache>(call.out, at + (size_t)d, call.dtype, finish_value(low, inverse),
                          finish_value(high, inverse));
    });
}

#endif
