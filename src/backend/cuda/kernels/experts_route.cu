/* SPDX-License-Identifier: Apache-2.0 */
/* Mixture of experts: the router, the plan of the products, and the sum over a token's experts.
 *
 * Floors: the router reads [tokens][H] and [experts][H] once and multiplies tokens · experts · H
 * times; choosing and sorting are bound by the latency of their launches; the sum reads
 * [slices][P][H] and writes [slices][tokens][H].
 *
 * Bits: a logit is one warp's sum in an order that H alone decides; what is chosen for a token
 * depends on its logits; rows are sorted by expert, then token, and a sum over experts runs in
 * ascending order. Counts are added up atomically in integers, whose order does not show. */
#include "backend/cuda/kernels/experts.h"
#include "backend/cuda/kernels/experts_rules.h"
#include "backend/cuda/kernels/vectors.cuh"

/* ---- Router ---- */

enum {
    ROUTER_WARP_TOKENS = 4,
    ROUTER_WARP_EXPERTS = 4,
    ROUTER_TOKEN_WARPS = 2,
    ROUTER_EXPERT_WARPS = 4,
    ROUTER_TOKENS = ROUTER_WARP_TOKENS * ROUTER_TOKEN_WARPS,    /* of a block */
    ROUTER_EXPERTS = ROUTER_WARP_EXPERTS * ROUTER_EXPERT_WARPS, /* likewise */
    ROUTER_THREADS = 32 * ROUTER_TOKEN_WARPS * ROUTER_EXPERT_WARPS,
};

/* A warp has 4 × 4 logits; lane l adds up the values 8 l to 8 l + 7 of every 256. */
template <typename In, typename Weight>
__global__ void __launch_bounds__(ROUTER_THREADS) router_kernel(experts_route call)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int experts = call.router_rows, hidden = call.hidden;
    const int first_token =
        (int)blockIdx.x * ROUTER_TOKENS + warp / ROUTER_EXPERT_WARPS * ROUTER_WARP_TOKENS;
    const int first_expert =
        (int)blockIdx.y * ROUTER_EXPERTS + warp % ROUTER_EXPERT_WARPS * ROUTER_WARP_EXPERTS;
    const In *in[ROUTER_WARP_TOKENS];
    const Weight *router[ROUTER_WARP_EXPERTS];
#pragma unroll
    for (int t = 0; t < ROUTER_WARP_TOKENS; t++) {
        const int token = min(first_token + t, call.tokens - 1);
        in[t] = static_cast<const In *>(call.in) + (size_t)token * (size_t)hidden;
    }
#pragma unroll
    for (int e = 0; e < ROUTER_WARP_EXPERTS; e++) {
        const int expert = min(first_expert + e, experts - 1);
        router[e] =
            static_cast<const Weight *>(call.router) + (size_t)expert * (size_t)call.router_stride;
    }
    const bool wide = hidden % 8 == 0;
    float sum[ROUTER_WARP_TOKENS][ROUTER_WARP_EXPERTS] = {};
    for (int k = 8 * lane; k < hidden; k += 256) {
        float x[ROUTER_WARP_TOKENS][8];
#pragma unroll
        for (int t = 0; t < ROUTER_WARP_TOKENS; t++) {
            load_eight(in[t] + k, wide, hidden - k, x[t]);
        }
#pragma unroll
        for (int e = 0; e < ROUTER_WARP_EXPERTS; e++) {
            float w[8];
            load_eight(router[e] + k, wide, hidden - k, w);
#pragma unroll
            for (int t = 0; t < ROUTER_WARP_TOKENS; t++) {
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    sum[t][e] = fmaf(x[t][i], w[i], sum[t][e]);
                }
            }
        }
    }
#pragma unroll
    for (int t = 0; t < ROUTER_WARP_TOKENS; t++) {
#pragma unroll
        for (int e = 0; e < ROUTER_WARP_EXPERTS; e++) {
            float logit = sum[t][e];
            for (int distance = 16; distance > 0; distance >>= 1) {
                logit += __shfl_xor_sync(0xffffffffu, logit, distance);
            }
            const int token = first_token + t, expert = first_expert + e;
            if (lane == 0 && token < call.tokens && expert < experts) {
                if (call.router_scale != nullptr) {
                    logit *= call.router_scale[expert];
                }
                if (call.router_bias != nullptr) {
                    logit = __fadd_rn(logit, call.router_bias[expert]);
                }
                call.logits[(size_t)token * (size_t)experts + (size_t)expert] = logit;
            }
        }
    }
}

template <typename In> static void launch_router(cudaStream_t stream, const experts_route *call)
{
    const dim3 grid((unsigned)(call->tokens + ROUTER_TOKENS - 1) / ROUTER_TOKENS,
                    (unsigned)(call->router_rows + ROUTER_EXPERTS - 1) / ROUTER_EXPERTS);
    if (call->router_dtype == TYPE_FLOAT8) {
        router_kernel<In, __nv_fp8_e4m3><<<grid, ROUTER_THREADS, 0, stream>>>(*call);
    } else {
        router_kernel<In, In><<<grid, ROUTER_THREADS, 0, stream>>>(*call);
    }
}

/* ---- Choice ---- */

enum { CHOICE_WARPS = 4 };

/* Soft-max in place, an expert a lane in turn. */
__device__ __forceinline__ void soft_max(float *values, int count, int lane)
{
    float most = -INFINITY;
    for (int i = lane; i < count; i += 32) {
        most = fmaxf(most, values[i]);
    }
    for (int distance = 16; distance > 0; distance >>= 1) {
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, distance));
    }
    float sum = 0.0f;
    for (int i = lane; i < count; i += 32) {
        values[i] = expf(values[i] - most);
        sum += values[i];
    }
    for (int distance = 16; distance > 0; distance >>= 1) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    }
    for (int i = lane; i < count; i += 32) {
        values[i] = values[i] / sum;
    }
}

/* The index of the largest value, the lowest of equal ones; all lanes get it. */
__device__ __forceinline__ int find_largest(const float *values, int count, int lane)
{
    float best = -INFINITY;
    int at = count;
    for (int i = lane; i < count; i += 32) {
        if (expert_goes_before(values[i], i, best, at)) {
            best = values[i];
            at = i;
        }
    }
    for (int distance = 16; distance > 0; distance >>= 1) {
        const float other = __shfl_xor_sync(0xffffffffu, best, distance);
        const int other_at = __shfl_xor_sync(0xffffffffu, at, distance);
        if (expert_goes_before(other, other_at, best, at)) {
            best = other;
            at = other_at;
        }
    }
    return at;
}

/* Takes the largest away: its index, and -infinity in its place. A barrier stands at both ends. */
__device__ __forceinline__ int take_largest(float *values, int count, int lane)
{
    __syncwarp();
    const int at = find_largest(values, count, lane);
    __syncwarp();
    if (lane == 0) {
        values[at] = -INFINITY;
    }
    __syncwarp();
    return at;
}

/* Only the experts of the best groups are left to be chosen. groups: [call.groups]. */
__device__ __forceinline__ void keep_groups(const experts_route &call, float *scores, int experts,
                                            float *groups, int lane)
{
    const int each = experts / call.groups;
    __syncwarp();
    for (int g = lane; g < call.groups; g += 32) {
        groups[g] = expert_group_order(scores + g * each, each, call.by_best);
    }
    for (int i = 0; i < call.top_groups; i++) {
        take_largest(groups, call.groups, lane);
    }
    for (int e = lane; e < experts; e += 32) {
        if (groups[e / each] != -INFINITY) { /* not taken */
            scores[e] = -INFINITY;
        }
    }
}

/* Floats of a warp in choice_kernel. */
static __host__ __device__ int choice_floats(const experts_route &call)
{
    return call.router_rows + (call.plan.experts - call.shared) + call.groups;
}

/* The logits of a token as probabilities, and its scores. */
__device__ __forceinline__ void score_experts(const experts_route &call, int experts, float *values,
                                              float *scores, int lane)
{
    __syncwarp();
    if (call.sigmoid) {
        for (int i = lane; i < experts; i += 32) {
            values[i] = expert_sigmoid(values[i]);
        }
    } else {
        soft_max(values, experts, lane);
    }
    for (int i = lane; i < experts; i += 32) { /* what this lane has written */
        const float more = call.correction != nullptr ? call.correction[i] : 0.0f;
        scores[i] = expert_order(__fadd_rn(values[i], more));
    }
}

/* A warp a token. `used` is at most 32: lane i keeps the i-th choice, then the shared experts. */
__global__ void __launch_bounds__(32 * CHOICE_WARPS) choice_kernel(experts_route call)
{
    extern __shared__ float memory[];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int token = (int)blockIdx.x * CHOICE_WARPS + warp;
    const int experts = call.plan.experts - call.shared, routed = call.used - call.shared;
    if (token >= call.tokens) {
        return;
    }
    float *values = memory + (size_t)warp * (size_t)choice_floats(call);
    float *scores = values + call.router_rows, *groups = scores + experts;
    for (int i = lane; i < call.router_rows; i += 32) {
        values[i] = call.logits[(size_t)token * (size_t)call.router_rows + (size_t)i];
    }
    score_experts(call, experts, values, scores, lane);
    if (call.groups > 0) {
        keep_groups(call, scores, experts, groups, lane);
    }
    int chosen = 0;
    float weight = 0.0f, total = 0.0f;
    for (int i = 0; i < routed; i++) {
        const int at = take_largest(scores, experts, lane);
        total += values[at];
        if (lane == i) {
            chosen = at;
            weight = values[at];
        }
    }
    int rank = 0;
    for (int i = 0; i < routed; i++) {
        rank += __shfl_sync(0xffffffffu, chosen, i) < chosen;
    }
    if (lane < routed) {
        weight = expert_weight(weight, total, call.least_sum, call.normalize, call.scale);
    } else if (lane < call.used) {
        chosen = experts + lane - routed;
        weight = call.router_rows > experts ? expert_sigmoid(values[experts]) : 1.0f;
        rank = lane;
    }
    if (lane < call.used) {
        const size_t pair = (size_t)token * (size_t)call.used + (size_t)rank;
        call.chosen[pair] = chosen;
        call.weight[pair] = weight;
    }
}

/* ---- Plan ---- */

enum { PLAN_THREADS = 512 };

/* Exclusive sums of counts and of tiles, in place, by the first warp; the totals at [experts]. */
__device__ __forceinline__ void sum_counts(int *start, int *tiles, int experts, int tile_rows)
{
    const int lane = (int)threadIdx.x;
    int rows_before = 0, tiles_before = 0;
    for (int first = 0; first < experts; first += 32) {
        const int expert = first + lane;
        const int rows = expert < experts ? start[expert] : 0;
        const int here = (rows + tile_rows - 1) / tile_rows;
        int rows_sum = rows, tiles_sum = here;
        for (int distance = 1; distance < 32; distance *= 2) {
            const int more_rows = __shfl_up_sync(0xffffffffu, rows_sum, distance);
            const int more_tiles = __shfl_up_sync(0xffffffffu, tiles_sum, distance);
            if (lane >= distance) {
                rows_sum += more_rows;
                tiles_sum += more_tiles;
            }
        }
        if (expert < experts) {
            start[expert] = rows_before + rows_sum - rows;
            tiles[expert] = tiles_before + tiles_sum - here;
        }
        rows_before += __shfl_sync(0xffffffffu, rows_sum, 31);
        tiles_before += __shfl_sync(0xffffffffu, tiles_sum, 31);
    }
    if (lane == 0) {
        start[experts] = rows_before;
        tiles[experts] = tiles_before;
    }
}

/* A block an expert. All count all experts' pairs, so that each knows its first row and tile; then
 * it finds its pairs in order. */
__global__ void __launch_bounds__(PLAN_THREADS) plan_kernel(experts_route call)
{
    __shared__ int start[EXPERTS_MOST + 1], tiles[EXPERTS_MOST + 1];
    __shared__ int warp_count[PLAN_THREADS / 32];
    const experts_plan &plan = call.plan;
    const int thread = (int)threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int expert = (int)blockIdx.x, experts = plan.experts;
    for (int i = thread; i < experts; i += PLAN_THREADS) {
        start[i] = 0;
    }
    __syncthreads();
    for (int pair = thread; pair < plan.rows; pair += PLAN_THREADS) {
        atomicAdd(&start[call.chosen[pair]], 1);
    }
    __syncthreads();
    if (warp == 0) {
        sum_counts(start, tiles, experts, plan.tile_rows);
    }
    __syncthreads();
    if (expert == 0) {
        for (int i = thread; i <= experts; i += PLAN_THREADS) {
            plan.start[i] = start[i];
            plan.first_tile[i] = tiles[i];
        }
    }
    for (int tile = tiles[expert] + thread; tile < tiles[expert + 1]; tile += PLAN_THREADS) {
        plan.tile_expert[tile] = expert;
    }
    if (start[expert] == start[expert + 1]) {
        return;
    }
    int row = start[expert];
    for (int first = 0; first < plan.rows; first += PLAN_THREADS) {
        const int pair = first + thread;
        const bool mine = pair < plan.rows && call.chosen[pair] == expert;
        const unsigned votes = __ballot_sync(0xffffffffu, mine);
        __syncthreads(); /* the counts of the round before have been read */
        if (lane == 0) {
            warp_count[warp] = __popc(votes);
        }
        __syncthreads();
        int before = 0, all = 0;
        for (int i = 0; i < PLAN_THREADS / 32; i++) {
            before += i < warp ? warp_count[i] : 0;
            all += warp_count[i];
        }
        if (mine) {
            const int at = row + before + __popc(votes & ((1u << lane) - 1u));
            plan.row_token[at] = pair / call.used;
            plan.row_expert[at] = expert;
            plan.row_weight[at] = call.weight[pair];
            plan.pair_row[pair] = at;
        }
        row += all;
    }
}

cudaError_t experts_route_launch(cudaStream_t stream, const experts_route *call)
{
    if (call->dtype == TYPE_FLOAT32) {
        launch_router<float>(stream, call);
    } else if (call->dtype == TYPE_BFLOAT16) {
        launch_router<__nv_bfloat16>(stream, call);
    } else {
        launch_router<__half>(stream, call);
    }
    choice_kernel<<<(unsigned)(call->tokens + CHOICE_WARPS - 1) / CHOICE_WARPS, 32 * CHOICE_WARPS,
                    CHOICE_WARPS *(size_t)choice_floats(*call) * sizeof(float), stream>>>(*call);
    plan_kernel<<<(unsigned)call->plan.experts, PLAN_THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Scales ---- */

__global__ void scales_kernel(experts_scales call)
{
    const int row = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (row < call.rows) {
        call.scale[row] = call.of_expert[call.row_expert[row]];
    }
}

cudaError_t experts_scales_launch(cudaStream_t stream, const experts_scales *call)
{
    scales_kernel<<<(unsigned)(call->rows + 255) / 256, 256, 0, stream>>>(*call);
    return cudaGetLastError();
}

/* ---- Sum over experts ---- */

enum { COMBINE_THREADS = 128 };

/* Block (token, part of the columns, slice); eight columns a thread. */
template <typename T>
__global__ void __launch_bounds__(COMBINE_THREADS) combine_kernel(experts_combine call)
{
    const int token = (int)blockIdx.x, slice = (int)blockIdx.z;
    const int column = 8 * ((int)blockIdx.y * COMBINE_THREADS + (int)threadIdx.x);
    const int left = call.columns - column;
    if (left <= 0) {
        return;
    }
    const size_t rows = (size_t)call.tokens * (size_t)call.used;
    const T *in = static_cast<const T *>(call.in) + (size_t)slice * rows * (size_t)call.columns +
                  (size_t)column;
    const int32_t *pair_row = call.pair_row + (size_t)token * (size_t)call.used;
    const bool wide = call.columns % 8 == 0;
    float sum[8] = {};
    for (int i = 0; i < call.used; i++) {
        float values[8];
        load_eight(in + (size_t)pair_row[i] * (size_t)call.columns, wide, left, values);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sum[j] += values[j];
        }
    }
    T *out = static_cast<T *>(call.out) +
             ((size_t)slice * (size_t)call.out_tokens + (size_t)token) * (size_t)call.hidden +
             (size_t)(call.first_column + column);
    store_eight(out, wide && call.hidden % 8 == 0, left, sum);
}

cudaError_t experts_combine_launch(cudaStream_t stream, const experts_combine *call)
{
    const unsigned parts =
        (unsigned)(call->columns + 8 * COMBINE_THREADS - 1) / (8 * COMBINE_THREADS);
    const dim3 grid((unsigned)call->tokens, parts, (unsigned)call->slices);
    if (call->dtype == TYPE_FLOAT32) {
        combine_kernel<float><<<grid, COMBINE_THREADS, 0, stream>>>(*call);
    } else if (call->dtype == TYPE_BFLOAT16) {
        combine_kernel<__nv_bfloat16><<<grid, COMBINE_THREADS, 0, stream>>>(*call);
    } else {
        combine_kernel<__half><<<grid, COMBINE_THREADS, 0, stream>>>(*call);
    }
    return cudaGetLastError();
}
