/* SPDX-License-Identifier: Apache-2.0 */
/* What the block of one row shares while it samples: sums over the block, a histogram, the list of
 * logits, and the reading of the row. Included by sample_launch.cu alone, whose head tells the
 * whole. */
#ifndef SLUICE_CUDA_SAMPLE_BLOCK_CUH
#define SLUICE_CUDA_SAMPLE_BLOCK_CUH

#include "backend/cuda/kernels/sample.h"
#include "backend/sample_arithmetic.h"

enum {
    THREADS = 512,
    WARPS = THREADS / 32,
    UNROLL = 4,
    TILE = 32 * 4 * UNROLL, /* consecutive logits that a warp reads at once */
    BINS = 2048,
    BIN_BITS = 11,
    BINS_PER_THREAD = BINS / THREADS,
    LIST = 2048,
    /* Of the threads' highest logits: how far down a bound goes. The list gets about
     * -512 · ln(1 - rank / 512) logits. */
    MOST_EXACT_RANK = 384, /* top_k up to it is read off the list */
    DEEP_RANK = 448,
    START = 16 * THREADS, /* logits that give a bound before the whole row is read */
    ID_BITS = 22,         /* of SAMPLE_MAX_VOCABULARY */
};
static constexpr unsigned ALL_LANES = 0xffffffffu;
static constexpr uint64_t NO_LIMIT = ~0ull;
static constexpr float NOWHERE = INFINITY; /* a bound that no logit reaches */

struct found_bin {
    int bin;
    uint64_t before, content; /* sums of the bins before it and in it */
};

struct top_entry {
    uint64_t ordinal;
    float logit;
};

struct block_memory {
    uint32_t low[BINS], high[BINS]; /* halves of 64-bit sums */
    float list_logit[LIST];
    int32_t list_id[LIST];
    int list_count; /* beyond LIST: it did not fit */
    uint64_t words[WARPS];
    float warp_logit[WARPS];
    int32_t warp_id[WARPS];
    found_bin found;
    int32_t token;
    int top_count;
    top_entry tops[SAMPLE_MAX_TOPS];
};
__shared__ __align__(16) block_memory shared;

/* ---- The block together: every thread calls these ---- */

__device__ __forceinline__ int lane_of_thread()
{
    return (int)threadIdx.x % 32;
}

__device__ __forceinline__ int warp_of_thread()
{
    return (int)threadIdx.x / 32;
}

__device__ __forceinline__ uint64_t warp_sum(uint64_t x)
{
    for (int distance = 16; distance > 0; distance >>= 1) {
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    }
    return x;
}

__device__ uint64_t block_sum(uint64_t x)
{
    x = warp_sum(x);
    __syncthreads();
    if (lane_of_thread() == 0) {
        shared.words[warp_of_thread()] = x;
    }
    __syncthreads();
    uint64_t sum = 0;
    for (int i = 0; i < WARPS; i++) {
        sum += shared.words[i];
    }
    return sum;
}

__device__ float block_min(float x)
{
    for (int distance = 16; distance > 0; distance >>= 1) {
        x = fminf(x, __shfl_xor_sync(ALL_LANES, x, distance));
    }
    __syncthreads();
    if (lane_of_thread() == 0) {
        shared.warp_logit[warp_of_thread()] = x;
    }
    __syncthreads();
    float least = shared.warp_logit[0];
    for (int i = 1; i < WARPS; i++) {
        least = fminf(least, shared.warp_logit[i]);
    }
    return least;
}

/* The sum over lower threads, and over all. */
__device__ uint64_t block_scan(uint64_t x, uint64_t *total)
{
    uint64_t inclusive = x;
    for (int distance = 1; distance < 32; distance *= 2) {
        const uint64_t lower = __shfl_up_sync(ALL_LANES, inclusive, distance);
        inclusive += lane_of_thread() >= distance ? lower : 0;
    }
    __syncthreads();
    if (lane_of_thread() == 31) {
        shared.words[warp_of_thread()] = inclusive;
    }
    __syncthreads();
    uint64_t before = 0, sum = 0;
    for (int i = 0; i < WARPS; i++) {
        before += i < warp_of_thread() ? shared.words[i] : 0;
        sum += shared.words[i];
    }
    *total = sum;
    return before + inclusive - x;
}

__device__ void histogram_clear()
{
    for (int i = (int)threadIdx.x; i < BINS; i += THREADS) {
        shared.low[i] = 0;
        shared.high[i] = 0;
    }
    __syncthreads();
}

/* By one thread. */
__device__ __forceinline__ void histogram_add(int bin, uint64_t amount)
{
    const uint32_t low = (uint32_t)amount;
    const uint32_t old = atomicAdd(&shared.low[bin], low);
    const uint32_t high = (uint32_t)(amount >> 32) + (old + low < old ? 1u : 0u);
    if (high > 0) {
        atomicAdd(&shared.high[bin], high);
    }
}

/* The first bin at which the running sum over bins reaches `target`, from 1 to the whole sum. */
__device__ found_bin histogram_find(uint64_t target)
{
    __syncthreads();
    const int first = (int)threadIdx.x * BINS_PER_THREAD;
    uint64_t content[BINS_PER_THREAD], own = 0, total;
#pragma unroll
    for (int i = 0; i < BINS_PER_THREAD; i++) {
        content[i] = (uint64_t)shared.high[first + i] << 32 | shared.low[first + i];
        own += content[i];
    }
    uint64_t before = block_scan(own, &total);
    if (before < target && (target <= before + own || threadIdx.x == THREADS - 1)) {
        bool done = false;
#pragma unroll
        for (int i = 0; i < BINS_PER_THREAD; i++) {
            if (!done && (target <= before + content[i] || i == BINS_PER_THREAD - 1)) {
                shared.found = {first + i, before, content[i]};
                done = true;
            }
            before += content[i];
        }
    }
    __syncthreads();
    return shared.found;
}

/* ---- Reading ---- */

/* Calls visit(id, logit) for the row, a warp's lanes together; -inf and ids out of range fill up.
 * A thread meets ids in ascending order. After the TILE consecutive logits of a warp it calls
 * finish(tile, id of values[0][0], values): values[u][i] is 128 · u + i further. */
template <typename Visit, typename Finish>
__device__ __forceinline__ void for_each_logit(const float *row, int vocabulary, Visit visit,
                                               Finish finish)
{
    /* Places count from the last multiple of 16 bytes. */
    const int shift = (int)(reinterpret_cast<uintptr_t>(row) / sizeof(float) % 4);
    const float *aligned = row - shift;
    const int end = vocabulary + shift;
    for (int tile = warp_of_thread(); tile * TILE < end; tile += WARPS) {
        const int first = tile * TILE + 4 * lane_of_thread();
        float values[UNROLL][4];
        if (tile * TILE >= shift && (tile + 1) * TILE <= end) {
#pragma unroll
            for (int u = 0; u < UNROLL; u++) {
                const float4 four = *reinterpret_cast<const float4 *>(aligned + first + 128 * u);
                values[u][0] = four.x;
                values[u][1] = four.y;
                values[u][2] = four.z;
                values[u][3] = four.w;
            }
        } else {
#pragma unroll
            for (int u = 0; u < UNROLL; u++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int place = first + 128 * u + i;
                    values[u][i] = place >= shift && place < end ? aligned[place] : -INFINITY;
                }
            }
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                visit(first + 128 * u + i - shift, values[u][i]);
            }
        }
        finish(tile, first - shift, values);
    }
}

struct no_finish {
    __device__ __forceinline__ void operator()(int, int32_t, const float (&)[UNROLL][4]) const
    {
    }
};

__device__ __forceinline__ int tiles_per_bin(const float *row, int vocabulary)
{
    const int shift = (int)(reinterpret_cast<uintptr_t>(row) / sizeof(float) % 4);
    return (vocabulary + shift + TILE * BINS - 1) / (TILE * BINS);
}

template <typename Visit> __device__ __forceinline__ void for_each_listed(Visit visit)
{
    const int count = min(shared.list_count, (int)LIST);
    for (int i = (int)threadIdx.x; i < count; i += THREADS) {
        visit(shared.list_id[i], shared.list_logit[i]);
    }
}

/* Appends a logit of each lane that has a hit; a warp's lanes together. */
__device__ __forceinline__ void list_append(bool hit, int32_t id, float logit)
{
    const unsigned hits = __ballot_sync(ALL_LANES, hit);
    if (hits == 0) {
        return;
    }
    int first = 0;
    if (lane_of_thread() == 0) {
        first = atomicAdd(&shared.list_count, __popc(hits));
    }
    first = __shfl_sync(ALL_LANES, first, 0);
    const int place = first + __popc(hits & ((1u << lane_of_thread()) - 1));
    if (hit && place < LIST) {
        shared.list_logit[place] = logit;
        shared.list_id[place] = id;
    }
}

/* Appends the logits from `bound` up; a warp's lanes together, as for_each_logit finishes a tile.
 */
__device__ __forceinline__ void list_append_tile(float bound, int32_t first,
                                                 const float (&values)[UNROLL][4])
{
    float most = -INFINITY;
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            most = fmaxf(most, values[u][i]);
        }
    }
    if (!__any_sync(ALL_LANES, most >= bound)) {
        return;
    }
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            list_append(values[u][i] >= bound, first + 128 * u + i, values[u][i]);
        }
    }
}

__device__ __forceinline__ void list_clear()
{
    __syncthreads();
    if (threadIdx.x == 0) {
        shared.list_count = 0;
    }
    __syncthreads();
}

#endif
