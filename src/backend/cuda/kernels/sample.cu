/* Sampling from rows of logits [rows][vocabulary] float32: what cpu/sample.h says, to the last bit.
 *
 * A row is one block. Floor: the logits once, 4 · rows · vocabulary bytes, for greedy rows without
 * log-probabilities; twice for the others, as weights need the highest logit first. That is all the
 * usual row takes:
 *   1. scan_row: the highest logit, and the highest that each thread met. The k-th highest of the
 *      latter is a bound that at least k logits of the row reach, and few more.
 *   2. gather: logits from the bound up go to a list in shared memory; weights are summed, those
 *      that may be drawn by stretches of consecutive ids too.
 *   3. The cuts of top_k and top_p and the draw then need the list alone, or without cuts one
 *      stretch of the row.
 * Where the list cannot hold what must stay (a top_p of a flat distribution, many equal logits) the
 * cut is found over the row instead, in four more passes, six where equal logits are cut apart.
 *
 * Results cannot depend on launch or order: sums are of integers, and all else are comparisons. The
 * file is compiled without fused multiply-adds, as sample_arithmetic.h wants. */
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
    ID_BITS = 22, /* of SAMPLE_MAX_VOCABULARY */
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

/* ---- The block together: every thread calls these ----------------------------------------------
 */

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

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* Calls visit(id, logit) for the row, a warp's lanes together; -inf and ids out of range fill up.
 * A thread meets ids in ascending order. After a warp's TILE consecutive logits it calls
 * finish(tile). */
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
        finish(tile);
    }
}

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

__device__ __forceinline__ void list_clear()
{
    __syncthreads();
    if (threadIdx.x == 0) {
        shared.list_count = 0;
    }
    __syncthreads();
}

/* ---- Order and weights -------------------------------------------------------------------------
 */

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
        const float weight = sample_weight(logit, highest, inverse);
        return weight >= cut && ordinal_of(id, logit) <= limit ? sample_fixed_point(weight) : 0;
    }
};

/* All logits but -inf. */
__device__ __forceinline__ filter filter_of_finite(float highest)
{
    return {highest, 0.0f, SAMPLE_LEAST_WEIGHT, NO_LIMIT};
}

/* ---- Passes over the row -----------------------------------------------------------------------
 */

struct scan {
    float highest;
    int32_t token; /* the lowest id that has it */
    float thread_highest;
};

/* False where no distribution is there: a NaN or +inf, or nothing but -inf. */
__device__ __noinline__ bool scan_row(const float *row, int vocabulary, scan *out)
{
    float highest = -INFINITY;
    int32_t token = INT32_MAX;
    bool invalid = false;
    for_each_logit(
        row, vocabulary,
        [&](int32_t id, float logit) {
            const bool higher = logit > highest;
            highest = higher ? logit : highest;
            token = higher ? id : token;
            invalid = invalid || !(logit <= FLT_MAX);
        },
        [](int) {});
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

struct sums {
    uint64_t log_total; /* weights of all raw logits at temperature 1 */
    uint64_t total;     /* of what the filter leaves */
    uint64_t count;
    float lowest; /* logit that the filter leaves */
};

/* One pass. LOG: log_total. WEIGH: the other sums, and the histogram gets the weights by stretches
 * of tiles_per_bin tiles. Logits from `bound` up are added to the list. */
template <bool LOG, bool WEIGH>
__device__ __noinline__ void gather_row(const float *row, int vocabulary, const filter &what,
                                        float raw_highest, float bound, sums *out)
{
    const filter left = what;
    const int bin_tiles = tiles_per_bin(row, vocabulary);
    if (WEIGH) {
        histogram_clear();
    }
    uint64_t log_total = 0, total = 0, tile_total = 0;
    int count = 0;
    float lowest = INFINITY;
    for_each_logit(
        row, vocabulary,
        [&](int32_t id, float logit) {
            if (LOG) {
                log_total += sample_fixed_point(sample_weight(logit, raw_highest, 1.0f));
            }
            if (WEIGH) {
                const uint64_t weight = left.weigh(id, logit);
                tile_total += weight;
                count += weight > 0 ? 1 : 0;
                lowest = weight > 0 ? fminf(lowest, logit) : lowest;
            }
            list_append(logit >= bound, id, logit);
        },
        [&](int tile) {
            if (WEIGH) {
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
    if (WEIGH) {
        out->total = block_sum(total);
        out->count = block_sum((uint64_t)count);
        out->lowest = block_min(lowest);
    }
    __syncthreads(); /* the list is whole */
}

__device__ void gather(const float *row, int vocabulary, const filter &left, bool log, bool weigh,
                       float raw_highest, float bound, sums *out)
{
    if (log && weigh) {
        gather_row<true, true>(row, vocabulary, left, raw_highest, bound, out);
    } else if (log) {
        gather_row<true, false>(row, vocabulary, left, raw_highest, bound, out);
    } else if (weigh) {
        gather_row<false, true>(row, vocabulary, left, raw_highest, bound, out);
    } else {
        gather_row<false, false>(row, vocabulary, left, raw_highest, bound, out);
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

/* ---- Cuts --------------------------------------------------------------------------------------
 */

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
            for_each_logit(row, vocabulary, visit, [](int) {});
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
        if (level == 2) { /* the logit is known: do all that equal it stay? */
            const float logit = value_of_key(~(uint32_t)prefix);
            const uint64_t each =
                measure_of(sample_fixed_point(sample_weight(logit, left.highest, left.inverse)));
            const uint64_t needed = (target - before + each - 1) / each;
            if (needed * each >= found.content) {
                return prefix << ID_BITS | ((1u << ID_BITS) - 1);
            }
        }
    }
    return prefix;
}

/* ---- The draw ----------------------------------------------------------------------------------
 */

/* The first id, ascending over what the filter leaves of the list, at which the running sum of
 * weights exceeds `point`. */
__device__ int32_t draw_from_list(const filter &left, uint64_t point)
{
    uint64_t before = 0;
    int32_t prefix = 0;
    for (int shift = BIN_BITS; shift >= 0; shift -= BIN_BITS) {
        histogram_clear();
        for_each_listed([&](int32_t id, float logit) {
            if (id >> (shift + BIN_BITS) == prefix) {
                const uint64_t weight = left.weigh(id, logit);
                if (weight > 0) {
                    histogram_add(id >> shift & (BINS - 1), weight);
                }
            }
        });
        const found_bin found = histogram_find(point + 1 - before);
        before += found.before;
        prefix = prefix << BIN_BITS | found.bin;
    }
    return prefix;
}

/* The same over the row, whose weights gather_row has just left in the histogram. */
__device__ int32_t draw_from_row(const float *row, int vocabulary, const filter &left,
                                 uint64_t point)
{
    const int shift = (int)(reinterpret_cast<uintptr_t>(row) / sizeof(float) % 4);
    const found_bin found = histogram_find(point + 1);
    uint64_t before = found.before;
    int first = found.bin * tiles_per_bin(row, vocabulary) * TILE - shift;
    for (; first < vocabulary && before <= point; first += THREADS) {
        const int id = first + (int)threadIdx.x;
        const uint64_t weight = id >= 0 && id < vocabulary ? left.weigh(id, row[id]) : 0;
        uint64_t total;
        const uint64_t sum = before + block_scan(weight, &total);
        if (sum <= point && point < sum + weight) {
            shared.token = id;
        }
        before += total;
    }
    __syncthreads();
    return shared.token;
}

/* What drawing finds when it starts: the list and, where `weighed`, the sums and the histogram. */
struct gathered {
    bool weighed;
    bool complete; /* the list has all that may be drawn, if it fits */
    sums row;
};

/* Steps 4 and 5 of cpu/sample.h. */
__device__ __noinline__ int32_t draw(const float *row, int vocabulary, const sample_row &asked,
                                     float highest, const gathered &start)
{
    filter left = {highest, asked.inverse, asked.cut, NO_LIMIT};
    sums list = {}, all = start.row;
    const bool fits = shared.list_count <= LIST;
    if (fits) {
        sum_list(left, &list);
    }
    bool listed =
        fits && (start.complete || (asked.top_k > 0 && list.count >= (uint64_t)asked.top_k));
    if (listed) {
        all = list;
    } else if (!start.weighed) {
        gather(row, vocabulary, left, false, true, highest, NOWHERE, &all);
    }
    auto cut = [&](measure by, uint64_t target) {
        if (listed) {
            left.limit = find_head<true>(row, vocabulary, left, 1.0f, by, target);
            sum_list(left, &all);
        } else {
            left.limit = find_head<false>(row, vocabulary, left, highest - all.lowest, by, target);
            gather(row, vocabulary, left, false, true, highest, NOWHERE, &all);
        }
    };
    if (asked.top_k > 0 && all.count > (uint64_t)asked.top_k) {
        cut(MEASURE_COUNT, (uint64_t)asked.top_k);
    }
    if (asked.top_p < 1) {
        uint64_t target = (uint64_t)ceil(asked.top_p * (double)all.total);
        target = target < 1 ? 1 : target > all.total ? all.total : target;
        listed = listed || list.total >= target;
        cut(MEASURE_WEIGHT, target);
    }
    const uint64_t point = __umul64hi(asked.random, all.total);
    return listed ? draw_from_list(left, point) : draw_from_row(row, vocabulary, left, point);
}

/* ---- The top -----------------------------------------------------------------------------------
 */

/* Writes the `wanted` highest of the raw logits, of which the list has those from `bound` up if it
 * fits; returns how many there are. Changes the list where it did not fit. */
__device__ __noinline__ int write_tops(const float *row, int vocabulary, float highest, float bound,
                                       int wanted, sample_top *to)
{
    filter left = filter_of_finite(highest);
    if (shared.list_count > LIST) {
        left.limit = find_head<false>(row, vocabulary, left, highest - bound, MEASURE_COUNT,
                                      (uint64_t)wanted);
        list_clear();
        for_each_logit(
            row, vocabulary,
            [&](int32_t id, float logit) { list_append(left.weigh(id, logit) > 0, id, logit); },
            [](int) {});
        __syncthreads();
    }
    sums all;
    sum_list(left, &all);
    if (all.count > (uint64_t)wanted) {
        left.limit = find_head<true>(row, vocabulary, left, 1.0f, MEASURE_COUNT, (uint64_t)wanted);
    }
    if (threadIdx.x == 0) {
        shared.top_count = 0;
    }
    __syncthreads();
    for_each_listed([&](int32_t id, float logit) {
        if (left.weigh(id, logit) > 0) {
            const int place = atomicAdd(&shared.top_count, 1);
            if (place < SAMPLE_MAX_TOPS) {
                shared.tops[place] = {ordinal_of(id, logit), logit};
            }
        }
    });
    __syncthreads();
    const int count = min(shared.top_count, (int)SAMPLE_MAX_TOPS);
    if ((int)threadIdx.x < count) {
        const top_entry own = shared.tops[threadIdx.x];
        int place = 0;
        for (int i = 0; i < count; i++) {
            place += shared.tops[i].ordinal < own.ordinal ? 1 : 0;
        }
        to[place] = {(int32_t)(own.ordinal & ((1u << ID_BITS) - 1)), own.logit};
    }
    return count;
}

/* ---- Penalties ---------------------------------------------------------------------------------
 */

__device__ __forceinline__ uint32_t first_slot(int32_t id, int bits)
{
    return (uint32_t)id * 2654435769u >> (32 - bits); /* 2^32 / golden ratio */
}

__device__ void apply_penalties(const sample_call &call, const sample_row &asked, float *row)
{
    sample_slot *table = call.tables + asked.table_first;
    const int32_t *history = call.history + asked.history_first;
    const uint32_t slots = 1u << asked.table_bits;
    for (uint32_t i = threadIdx.x; i < slots; i += THREADS) {
        table[i] = {0, 0, 0.0f};
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < asked.history_count; i += THREADS) {
        const int32_t key = history[i] + 1;
        uint32_t slot = first_slot(history[i], asked.table_bits);
        for (;; slot = (slot + 1) & (slots - 1)) {
            const int32_t old = atomicCAS(&table[slot].key, 0, key);
            if (old == 0 || old == key) {
                break;
            }
        }
        if (i >= asked.prompt_count) {
            atomicAdd(&table[slot].occurrences, 1);
        }
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < slots; i += THREADS) {
        if (table[i].key > 0) {
            const int32_t id = table[i].key - 1;
            const float raw = row[id];
            table[i].raw = raw;
            row[id] = sample_penalised(raw, table[i].occurrences, asked.repetition, asked.frequency,
                                       asked.presence);
        }
    }
    __syncthreads();
}

/* The token's logit before penalties. */
__device__ float raw_logit(const sample_call &call, const sample_row &asked, const float *row,
                           int32_t id)
{
    if (asked.history_count > 0) {
        const sample_slot *table = call.tables + asked.table_first;
        const uint32_t slots = 1u << asked.table_bits;
        uint32_t slot = first_slot(id, asked.table_bits);
        for (; table[slot].key != 0; slot = (slot + 1) & (slots - 1)) {
            if (table[slot].key == id + 1) {
                return table[slot].raw;
            }
        }
    }
    return row[id];
}

/* ---- A row -------------------------------------------------------------------------------------
 */

/* Which logits to list and what to sum for a draw, or for tops, or for both at once. */
struct gather_plan {
    float bound;
    bool weigh, complete;
};

__device__ gather_plan plan_gather(const sample_row &asked, const scan &found, bool drawing,
                                   int wanted)
{
    gather_plan plan = {NOWHERE, false, false};
    const bool few = asked.top_k > 0 && asked.top_k <= MOST_EXACT_RANK;
    int rank = wanted;
    if (drawing) {
        rank = max(rank, few ? asked.top_k : (int)DEEP_RANK);
    }
    if (rank == 0) {
        return plan;
    }
    plan.bound = bound_of_rank(found.thread_highest, rank);
    if (!drawing) {
        return plan;
    }
    const float cut = bound_of_cut(asked, found.highest);
    plan.complete = plan.bound <= cut;
    if (plan.complete && wanted == 0) {
        plan.bound = cut;
    }
    plan.weigh = !plan.complete && !few;
    if (plan.weigh && wanted == 0 && asked.top_k == 0 && asked.top_p >= 1) {
        plan.bound = NOWHERE; /* nothing will be cut */
    }
    return plan;
}

/* Gathers once and takes from it what is asked for: tops and the sum of log-probabilities from
 * logits that are raw still, the draw, or both. */
__device__ int32_t take(const sample_call &call, const sample_row &asked, const float *row,
                        const scan &found, bool log, bool drawing, sample_outcome *outcome)
{
    const int wanted = log ? asked.tops : 0;
    const gather_plan plan = plan_gather(asked, found, drawing, wanted);
    const filter left = {found.highest, asked.inverse, asked.cut, NO_LIMIT};
    gathered start = {plan.weigh, plan.complete, {}};
    list_clear();
    gather(row, call.vocabulary, left, log, plan.weigh, found.highest, plan.bound, &start.row);
    const int32_t token =
        drawing ? draw(row, call.vocabulary, asked, found.highest, start) : found.token;
    if (log) {
        outcome->total = start.row.log_total;
        outcome->top_count = 0;
        if (wanted > 0) {
            outcome->top_count = write_tops(row, call.vocabulary, found.highest, plan.bound, wanted,
                                            call.tops + asked.top_first);
        }
    }
    return token;
}

__global__ void __launch_bounds__(THREADS, 2) sample_kernel(sample_call call)
{
    const sample_row &asked = call.asked[blockIdx.x];
    float *row = call.logits + (size_t)blockIdx.x * (size_t)call.vocabulary;
    const bool log = asked.tops >= 0, drawing = asked.drawing != 0;
    sample_outcome outcome = {};
    scan found;
    if (!scan_row(row, call.vocabulary, &found)) {
        outcome.not_finite = 1;
        if (threadIdx.x == 0) {
            call.outcomes[blockIdx.x] = outcome;
        }
        return;
    }
    outcome.highest = found.highest;
    if (asked.history_count > 0) {
        if (log) {
            (void)take(call, asked, row, found, true, false, &outcome);
        }
        apply_penalties(call, asked, row);
        (void)scan_row(row, call.vocabulary, &found);
        outcome.token =
            drawing ? take(call, asked, row, found, false, true, &outcome) : found.token;
    } else if (log || drawing) {
        outcome.token = take(call, asked, row, found, log, drawing, &outcome);
    } else {
        outcome.token = found.token;
    }
    if (threadIdx.x == 0) {
        outcome.raw = raw_logit(call, asked, row, outcome.token);
        call.outcomes[blockIdx.x] = outcome;
    }
}

cudaError_t sample_launch(cudaStream_t stream, const sample_call *call)
{
    sample_kernel<<<(unsigned)call->rows, THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}
