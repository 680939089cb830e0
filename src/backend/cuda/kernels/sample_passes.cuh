/* SPDX-License-Identifier: Apache-2.0 */
/* Passes over a row of logits or over its list: the highest, sums of weights, and where a cut
 * falls. Included by sample_launch.cu alone, whose head tells the whole. */
#ifndef SLUICE_CUDA_SAMPLE_PASSES_CUH
#define SLUICE_CUDA_SAMPLE_PASSES_CUH

#include "backend/cuda/kernels/sample_block.cuh"

/* ---- Order and weights ---- */

__device__ __forceinline__ float value_of_key(uint32_t key)
{
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

/* Ascending in the order (logit descending, id ascending). */
__device__ __forceinline__ uint64_t ordinal_of(int32_t id, float logit)
{
    return (uint64_t)~sample_key(logit) << ID_BITS | (uint32_t)id;
}

/* What may be drawn of a row, or be among its top. */
struct filter {
    float highest, inverse, cut;
    uint64_t limit; /* the last ordinal that stays */

    /* The fixed-point weight, at least 1, or 0 for what goes. */
    __device__ __forceinline__ uint64_t weigh(int32_t id, float logit) const
    {
        return ordinal_of(id, logit) <= limit ? weigh_unlimited(logit) : 0;
    }

    __device__ __forceinline__ uint64_t weigh_unlimited(float logit) const
    {
        const float weight = sample_weight(logit, highest, inverse);
        return weight >= cut ? sample_fixed_point(weight) : 0;
    }
};

/* All logits but -inf. */
__device__ __forceinline__ filter filter_of_finite(float highest)
{
    return {highest, 0.0f, SAMPLE_LEAST_WEIGHT, NO_LIMIT};
}

/* ---- Passes over the row ---- */

/* A finite value that at least `rank` of the threads' highest logits reach, or all finite logits;
 * the leading 20 bits of its key are those of the rank-th. */
__device__ float bound_of_rank(float thread_highest, int rank)
{
    const uint32_t key = sample_key(thread_highest);
    uint32_t bound = 0;
    for (int bit = 31; bit >= 12; bit--) {
        const uint32_t next = bound | 1u << bit;
        if (__syncthreads_count(key >= next) >= rank) {
            bound = next;
        }
    }
    return value_of_key(max(bound, sample_key(-FLT_MAX)));
}

/* Logits below have weights below asked.cut, also once all is rounded. */
__device__ float bound_of_cut(const sample_row &asked, float highest)
{
    const float value = highest - asked.reach;
    if (!(value >= -FLT_MAX)) {
        return -FLT_MAX;
    }
    return value_of_key(max(sample_key(value) - 2, sample_key(-FLT_MAX)));
}

/* The bound that the first logits of the row give. */
__device__ __noinline__ float bound_of_start(const float *row, int vocabulary, int rank)
{
    float highest = -INFINITY;
    for_each_logit(
        row, min(vocabulary, (int)START),
        [&](int32_t, float logit) { highest = fmaxf(highest, logit); }, no_finish());
    return bound_of_rank(highest, rank);
}

struct scan {
    float highest;
    int32_t token; /* the lowest id that has it */
    float thread_highest;
    float bound; /* the list has the logits from it up, if they fit */
};

/* LISTS: lists the logits from out->bound up, which the caller has set. MASKS: what the mask leaves
 * out becomes -inf on the way; not with LISTS. False where no distribution is there: a NaN or +inf
 * among all logits, or nothing but -inf among those that are left. */
template <bool LISTS, bool MASKS>
__device__ __noinline__ bool scan_row(float *row, int vocabulary, const uint32_t *mask, scan *out)
{
    static_assert(!LISTS || !MASKS, "what is listed would be there before it is left out");
    const float bound = out->bound;
    float highest = -INFINITY;
    int32_t token = INT32_MAX;
    bool invalid = false;
    for_each_logit(
        row, vocabulary,
        [&](int32_t id, float logit) {
            const bool masked = MASKS && logit > -INFINITY && !sample_is_allowed(mask, id);
            if (masked) { /* ids out of range are -inf, and have no bit */
                row[id] = -INFINITY;
            }
            const bool higher = logit > highest && !masked;
            highest = higher ? logit : highest;
            token = higher ? id : token;
            invalid = invalid || !(logit <= FLT_MAX);
        },
        [&](int, int32_t first, const float(&values)[UNROLL][4]) {
            if (LISTS) {
                list_append_tile(bound, first, values);
            }
        });
    out->thread_highest = highest;
    auto take = [&](float other, int32_t other_token) {
        if (other > highest || (other == highest && other_token < token)) {
            highest = other;
            token = other_token;
        }
    };
    for (int distance = 16; distance > 0; distance >>= 1) {
        const float other = __shfl_xor_sync(ALL_LANES, highest, distance);
        const int32_t other_token = __shfl_xor_sync(ALL_LANES, token, distance);
        take(other, other_token);
    }
    __syncthreads();
    if (lane_of_thread() == 0) {
        shared.warp_logit[warp_of_thread()] = highest;
        shared.warp_id[warp_of_thread()] = token;
    }
    invalid = __syncthreads_or(invalid) != 0;
    for (int i = 0; i < WARPS; i++) {
        take(shared.warp_logit[i], shared.warp_id[i]);
    }
    out->highest = highest;
    out->token = token;
    return !invalid && highest >= -FLT_MAX;
}

struct sums {
    uint64_t log_total; /* weights of all logits at temperature 1 */
    uint64_t total;     /* of what the filter leaves */
    uint64_t count;
    float lowest; /* logit that the filter leaves */
};

enum weighing { WEIGH_NONE, WEIGH_UNLIMITED, WEIGH_LIMITED };

/* One pass. LOG: log_total. WEIGH, with or without the filter's limit: the other sums, and the
 * histogram gets the weights by stretches of tiles_per_bin tiles. Logits from `bound` up are added
 * to the list. */
template <bool LOG, weighing WEIGH>
__device__ __noinline__ void gather_row(const float *row, int vocabulary, const filter &what,
                                        float bound, sums *out)
{
    const filter left = what;
    const int bin_tiles = tiles_per_bin(row, vocabulary);
    if (WEIGH != WEIGH_NONE) {
        histogram_clear();
    }
    uint64_t log_total = 0, total = 0, tile_total = 0;
    int count = 0;
    float lowest = INFINITY;
    for_each_logit(
        row, vocabulary,
        [&](int32_t id, float logit) {
            if (LOG) {
                log_total += sample_fixed_point(sample_weight(logit, left.highest, 1.0f));
            }
            if (WEIGH != WEIGH_NONE) {
                const uint64_t weight =
                    WEIGH == WEIGH_LIMITED ? left.weigh(id, logit) : left.weigh_unlimited(logit);
                tile_total += weight;
                count += weight > 0 ? 1 : 0;
                lowest = weight > 0 ? fminf(lowest, logit) : lowest;
            }
        },
        [&](int tile, int32_t first, const float(&values)[UNROLL][4]) {
            list_append_tile(bound, first, values);
            if (WEIGH != WEIGH_NONE) {
                total += tile_total;
                const uint64_t sum = warp_sum(tile_total);
                if (lane_of_thread() == 0 && sum > 0) {
                    histogram_add(tile / bin_tiles, sum);
                }
                tile_total = 0;
            }
        });
    if (LOG) {
        out->log_total = block_sum(log_total);
    }
    if (WEIGH != WEIGH_NONE) {
        out->total = block_sum(total);
        out->count = block_sum((uint64_t)count);
        out->lowest = block_min(lowest);
    }
    __syncthreads(); /* the list is whole */
}

__device__ void gather(const float *row, int vocabulary, const filter &left, bool log, bool weigh,
                       float bound, sums *out)
{
    if (log && weigh) {
        gather_row<true, WEIGH_UNLIMITED>(row, vocabulary, left, bound, out);
    } else if (log) {
        gather_row<true, WEIGH_NONE>(row, vocabulary, left, bound, out);
    } else if (weigh) {
        gather_row<false, WEIGH_UNLIMITED>(row, vocabulary, left, bound, out);
    } else {
        gather_row<false, WEIGH_NONE>(row, vocabulary, left, bound, out);
    }
}

__device__ __noinline__ void sum_list(const filter &what, sums *out)
{
    const filter left = what;
    uint64_t total = 0;
    int count = 0;
    for_each_listed([&](int32_t id, float logit) {
        const uint64_t weight = left.weigh(id, logit);
        total += weight;
        count += weight > 0 ? 1 : 0;
    });
    out->total = block_sum(total);
    out->count = block_sum((uint64_t)count);
}

/* ---- Cuts ---- */

enum measure { MEASURE_COUNT, MEASURE_WEIGHT };

/* The ordinal of the last of the shortest head, in the order of ordinals, whose measures add up to
 * at least `target`, which is from 1 to the sum over all that the filter leaves: of the list, or of
 * the row. Digit by digit from the leading one, through histograms. Over a row the first histogram
 * is of the logits themselves, between the highest and `span` below it: leading digits of floats
 * are too few to spread many logits over the bins. */
template <bool LISTED>
__device__ __noinline__ uint64_t find_head(const float *row, int vocabulary, const filter &what,
                                           float span, measure by, uint64_t target)
{
    const filter left = what;
    const float scale = (float)(BINS - 1) / span;
    /* Never falls as the logit falls; a NaN (0 · inf, inf · 0) becomes 0. */
    auto window_of = [&](float logit) {
        return min(__float2int_rz((left.highest - logit) * scale), BINS - 1);
    };
    auto for_each = [&](auto visit) {
        if (LISTED) {
            for_each_listed(visit);
        } else {
            for_each_logit(row, vocabulary, visit, no_finish());
        }
    };
    auto measure_of = [&](uint64_t weight) {
        return by == MEASURE_WEIGHT || weight == 0 ? weight : 1;
    };

    uint64_t before = 0; /* measures of all that comes before the place found so far */
    int window = 0;
    if (!LISTED) {
        histogram_clear();
        for_each([&](int32_t id, float logit) {
            const uint64_t amount = measure_of(left.weigh(id, logit));
            if (amount > 0) {
                histogram_add(window_of(logit), amount);
            }
        });
        const found_bin found = histogram_find(target);
        window = found.bin;
        before = found.before;
    }

    /* The digits of an ordinal: three of the key, two of the id. */
    uint64_t prefix = 0;
    int shift = 32 + ID_BITS;
    for (int level = 0; level < 5; level++) {
        const int bits = level == 2 ? 10 : BIN_BITS;
        shift -= bits;
        histogram_clear();
        for_each([&](int32_t id, float logit) {
            if (!LISTED && window_of(logit) != window) {
                return;
            }
            const uint64_t ordinal = ordinal_of(id, logit);
            if (ordinal >> (shift + bits) != prefix) {
                return;
            }
            const uint64_t amount = measure_of(left.weigh(id, logit));
            if (amount > 0) {
                histogram_add((int)(ordinal >> shift & ((1u << bits) - 1)), amount);
            }
        });
        const found_bin found = histogram_find(target - before);
        before += found.before;
        prefix = prefix << bits | (uint64_t)found.bin;
        if (level == 2) { /* the logit is known: do all stay that equal it and passed the filter? */
            const float logit = value_of_key(~(uint32_t)prefix);
            const uint64_t each =
                measure_of(sample_fixed_point(sample_weight(logit, left.highest, left.inverse)));
            const uint64_t needed = (target - before + each - 1) / each;
            if (needed * each >= found.content) {
                return min(left.limit, prefix << ID_BITS | ((1u << ID_BITS) - 1));
            }
        }
    }
    return prefix;
}

#endif
