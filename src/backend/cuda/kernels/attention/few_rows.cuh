/* SPDX-License-Identifier: Apache-2.0 */
/* Decode over an fp8 cache where at most 8 rows (query heads of a key/value head, of all tokens of
 * a sequence in the step) read a split.
 *
 * few_rows_kernel computes what split_kernel does, in the same order, with the operands of both
 * products exchanged: an MMA m16n8k16 is of 16 keys, or dimensions, and 8 rows. That is half the
 * MMAs and half the registers, so that twice the warps hide each other's way through a tile, which
 * is what bounds this kernel where it does not read at the memory's speed. A row's bits are those
 * of split_kernel: a product of two numbers is the same either way, a sum's terms come in the same
 * order, and what the four lanes of a row add up there, four lanes add up here.
 *
 * Fragments: lane = 4 · g + j. Scores: keys 8n + g, rows 2j, 2j + 1. Sums: dimensions 16d + 2g and
 * 16d + 2g + 1, the same rows. Queries: of row g. */
#ifndef SLUICE_CUDA_ATTENTION_FEW_ROWS_CUH
#define SLUICE_CUDA_ATTENTION_FEW_ROWS_CUH

#include "backend/cuda/kernels/attention/tensor.cuh"

enum { FEW_ROWS = 8 };

/* A warp to a block, as many as shared memory (of 228 KB) and registers have room for. */
template <int DIM, int SLOTS> struct few_rows_shape {
    static constexpr int SHARED_BYTES = SLOTS * tile_shape<float8_cache, DIM>::BYTES;
    static constexpr int FITTING = (228 << 10) / (SHARED_BYTES + 1024);
    static constexpr int BLOCKS = FITTING < 12 ? FITTING : FITTING < 16 ? 12 : 16;
};

/* Matrix [8][8] of 16 bits with row g, columns 2j, 2j + 1 in a lane, turned. */
__device__ __forceinline__ uint32_t turn_matrix(uint32_t from)
{
    uint32_t to;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;\n" : "=r"(to) : "r"(from));
    return to;
}

template <int DIM, int SLOTS> struct few_rows_warp {
    typedef float8_cache cache;
    typedef tile_shape<cache, DIM> shape;
    static constexpr int KEYS = shape::TILE / 16; /* MMA tiles of keys */

    int lane;
    uint2 queries[shape::STEPS];
    int latest[2]; /* of rows 2j, 2j + 1 */
    float sum[shape::STEPS][4];
    float largest[2]; /* of rows 2j, 2j + 1 */
    float total;      /* of row 2j + g % 2: of keys 8n + g / 2 · 2 and the next; all of it after
                         finish */

    __device__ __forceinline__ void start()
    {
#pragma unroll
        for (int d = 0; d < shape::STEPS; d++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sum[d][i] = 0.0f;
            }
        }
        largest[0] = largest[1] = -INFINITY;
        total = 0.0f;
    }

    __device__ __forceinline__ void load_queries(const attention_call &call, const query_row &row)
    {
        read_queries<cache, DIM>(call, row, queries, lane);
#pragma unroll
        for (int t = 0; t < shape::STEPS; t++) {
            queries[t] = make_uint2(query_pair_of<cache>(row, queries[t].x, call.dtype),
                                    query_pair_of<cache>(row, queries[t].y, call.dtype));
        }
    }

    /* scores = keys · queriesᵀ. */
    __device__ __forceinline__ void score(float (&scores)[KEYS][4], uint32_t keys) const
    {
#pragma unroll
        for (int n = 0; n < KEYS; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[n][i] = 0.0f;
            }
        }
        const uint32_t from = keys + shape::place(lane, 0);
#pragma unroll
        for (int t = 0; t < shape::STEPS; t++) {
#pragma unroll
            for (int n = 0; n < KEYS / 2; n++) {
                uint32_t b[4];
                load_matrices(b, shape::along(from, t * 16) + (uint32_t)(n * 32 * shape::STRIDE));
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const uint32_t one = b[2 * i], two = b[2 * i + 1];
                    const uint4 a = make_uint4(widen_pair(one & 0xffffu), widen_pair(two & 0xffffu),
                                               widen_pair(one >> 16), widen_pair(two >> 16));
                    multiply_add<__half>(scores[2 * n + i], a, queries[t].x, queries[t].y);
                }
            }
        }
    }

    __device__ __forceinline__ void mask(float (&scores)[KEYS][4], int window, int first) const
    {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int oldest = window > 0 ? latest[e] - window + 1 : 0;
#pragma unroll
            for (int n = 0; n < 2 * KEYS; n++) {
                const int key = first + 8 * n + lane / 4;
                if (key > latest[e] || key < oldest) {
                    scores[n / 2][n % 2 * 2 + e] = -INFINITY;
                }
            }
        }
    }

    /* The sum of a row's weights over keys 8n + 2k, 8n + 2k + 1, where this lane's g is 2k or 2k +
     * 1, in that order; of row 2j in lanes of even g, of row 2j + 1 in the others. */
    __device__ __forceinline__ float sum_weights(const float (&weights)[KEYS][4]) const
    {
        const bool odd = lane / 4 % 2 != 0;
        float add = 0.0f;
#pragma unroll
        for (int n = 0; n < 2 * KEYS; n++) {
            const float upper = weights[n / 2][n % 2 * 2], lower = weights[n / 2][n % 2 * 2 + 1];
            const float own = odd ? lower : upper;
            const float other = __shfl_xor_sync(0xffffffffu, odd ? upper : lower, 4);
            add = __fadd_rn(__fadd_rn(add, odd ? other : own), odd ? own : other);
        }
        return add;
    }

    /* weigh_scores. */
    __device__ __forceinline__ void weigh(float (&scores)[KEYS][4], float exponent_scale,
                                          float (&factors)[2])
    {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float most = largest[e];
#pragma unroll
            for (int n = 0; n < KEYS; n++) {
                most = fmaxf(most, fmaxf(scores[n][e], scores[n][2 + e]));
            }
#pragma unroll
            for (int distance = 4; distance < 32; distance *= 2) {
                most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, distance));
            }
            const float base = most == -INFINITY ? 0.0f : most;
            factors[e] = power_of_two(__fmul_rn(__fsub_rn(largest[e], base), exponent_scale));
            const float shift = -__fmul_rn(base, exponent_scale);
#pragma unroll
            for (int n = 0; n < KEYS; n++) {
                scores[n][e] = power_of_two(__fmaf_rn(scores[n][e], exponent_scale, shift));
                scores[n][2 + e] = power_of_two(__fmaf_rn(scores[n][2 + e], exponent_scale, shift));
            }
            largest[e] = most;
        }
        total = __fmaf_rn(total, lane / 4 % 2 != 0 ? factors[1] : factors[0], sum_weights(scores));
    }

    __device__ __forceinline__ void move(const float (&factors)[2])
    {
        if (__any_sync(0xffffffffu, factors[0] != 1.0f || factors[1] != 1.0f)) {
#pragma unroll
            for (int d = 0; d < shape::STEPS; d++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    sum[d][i] = __fmul_rn(sum[d][i], factors[i % 2]);
                }
            }
        }
    }

    /* O += weights · values. */
    __device__ __forceinline__ void add_values(const float (&weights)[KEYS][4], uint32_t values)
    {
        const uint32_t from = values + shape::place(lane, 0);
#pragma unroll
        for (int k = 0; k < KEYS / 2; k++) {
            uint2 b[2];
#pragma unroll
            for (int s = 0; s < 2; s++) {
                const float(&w)[4] = weights[2 * k + s];
                b[s] = make_uint2(turn_matrix(pack_pair<__half>(w[0], w[1])),
                                  turn_matrix(pack_pair<__half>(w[2], w[3])));
            }
#pragma unroll
            for (int d = 0; d < shape::STEPS; d++) {
                uint32_t bytes[4];
                load_matrices_transposed(bytes, shape::along(from, d * 16) +
                                                    (uint32_t)(k * 32 * shape::STRIDE));
#pragma unroll
                for (int s = 0; s < 2; s++) {
                    /* (key 2j, even), (2j + 1, even), (2j, odd), (2j + 1, odd) dimension */
                    const uint32_t low = __byte_perm(bytes[2 * s], 0, 0x3120);
                    const uint32_t high = __byte_perm(bytes[2 * s + 1], 0, 0x3120);
                    const uint4 a = make_uint4(widen_pair(low & 0xffffu), widen_pair(low >> 16),
                                               widen_pair(high & 0xffffu), widen_pair(high >> 16));
                    multiply_add<__half>(sum[d], a, b[s].x, b[s].y);
                }
            }
        }
    }

    __device__ __forceinline__ void finish()
    {
        total = __fadd_rn(total, __shfl_xor_sync(0xffffffffu, total, 8));
        total = __fadd_rn(total, __shfl_xor_sync(0xffffffffu, total, 16));
    }

    /* The row's result over a split, or over all. `row`: that of 2j + e; all lanes come along. */
    __device__ __forceinline__ void write(const attention_call &call, const attention_item &item,
                                          const query_row &row, int e) const
    {
        const float whole = __shfl_sync(0xffffffffu, total, lane % 4 + 4 * e);
        if (row.latest < 0) {
            return;
        }
        const int first = 2 * (lane / 4);
        if (item.slot < 0) {
            const float all = add_sink(call, row.head, largest[e], whole);
            const float inverse = __fmul_rn(__frcp_rn(all), call.value_scale);
            const size_t at =
                ((size_t)row.token * (size_t)call.query_heads + (size_t)row.head) * DIM;
#pragma unroll
            for (int d = 0; d < shape::STEPS; d++) {
                write_pair<cache>(call.out, at + (size_t)(16 * d + first), call.dtype,
                                  finish_value(sum[d][e], inverse),
                                  finish_value(sum[d][2 + e], inverse));
            }
            return;
        }
        const size_t at =
            (size_t)(item.slot + row.token - item.first_token) * (size_t)call.query_heads +
            (size_t)row.head;
        float *to = call.partials + at * DIM + first;
#pragma unroll
        for (int d = 0; d < shape::STEPS; d++) {
            *reinterpret_cast<float2 *>(to + 16 * d) = make_float2(sum[d][e], sum[d][2 + e]);
        }
        if (lane < 4) {
            call.partial_sums[at] = make_float2(largest[e], whole);
        }
    }
};

/* Block: (item, kv head), the latter fastest. */
template <int DIM, int SLOTS>
__global__ void __launch_bounds__(32, few_rows_shape<DIM, SLOTS>::BLOCKS)
    few_rows_kernel(const __grid_constant__ attention_call call)
{
    typedef tile_shape<float8_cache, DIM> shape;
    extern __shared__ __align__(TILE_ALIGNMENT) char memory[];
    const int lane = (int)threadIdx.x;
    const int kv = (int)(blockIdx.x % (unsigned)call.kv_heads);
    const attention_item item = call.items[blockIdx.x / (unsigned)call.kv_heads];
    const int group = call.heads.start[kv + 1] - call.heads.start[kv];
    if (group == 0) {
        return;
    }
    const int first_latest = latest_of(call, item.query, item.context, 0);
    const int last_latest = latest_of(call, item.query, item.context, item.query - 1);
    const tile_range tiles =
        find_tiles<shape::TILE>(first_latest, last_latest, call.window,
                                item.split * ATTENTION_SPLIT, (item.split + 1) * ATTENTION_SPLIT);
    if (tiles.first >= tiles.last) {
        return; /* nothing that reads the partial results sees this split */
    }
    split_ring<float8_cache, DIM, SLOTS> ring(call, item, kv, shared_address(memory), tiles.last,
                                              lane);
    ring.fill(tiles.first);
    const auto row_of = [&](int row) {
        return find_row(call, kv, row, item.first_token, item.query, item.context);
    };
    few_rows_warp<DIM, SLOTS> warp;
    warp.lane = lane;
    warp.load_queries(call, row_of(lane / 4));
    const query_row upper = row_of(lane % 4 * 2), lower = row_of(lane % 4 * 2 + 1);
    warp.latest[0] = upper.latest;
    warp.latest[1] = lower.latest;
    warp.start();
    for (int tile = tiles.first; tile < tiles.last; tile++) {
        const int first = tile * shape::TILE;
        float scores[1][shape::TILE / 16][4];
        warp.score(scores[0], ring.wait());
        ring.pass_keys(tile);
        if (call.cap_out > 0.0f) {
            cap_scores(scores, call);
        }
        if (needs_mask(first, shape::TILE, first_latest, last_latest, call.window)) {
            warp.mask(scores[0], call.window, first);
        }
        float factors[2];
        warp.weigh(scores[0], call.exponent_scale, factors);
        warp.move(factors);
        warp.add_values(scores[0], ring.wait());
        ring.pass_values(tile);
    }
    warp.finish();
    warp.write(call, item, upper, 0);
    warp.write(call, item, lower, 1);
}

#endif
