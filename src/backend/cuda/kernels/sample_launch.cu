/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling from rows of logits [rows][vocabulary] float32: what cpu/sample.h says, to the last bit.
 *
 * A row is one block. Floor: the logits once, 4 · rows · vocabulary bytes, for greedy rows and
 * those of a small top_k, without log-probabilities; twice for the others, as weights need the
 * highest logit first. That is all the usual row takes:
 *   1. scan_row: the highest logit, and the highest that each thread met. The k-th highest of the
 *      latter is a bound that at least k logits of the row reach, and few more. For a small top_k
 *      a bound from the row's start is there before, and what reaches it is listed (2.) in the same
 *      pass. A mask is applied in it, too: what it leaves out is written over as it is read.
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

#include "backend/cuda/kernels/sample_passes.cuh"

/* ---- The draw ---- */

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
        gather(row, vocabulary, left, false, true, NOWHERE, &all);
    }
    auto cut = [&](measure by, uint64_t target) {
        if (listed) {
            left.limit = find_head<true>(row, vocabulary, left, 1.0f, by, target);
            sum_list(left, &all);
        } else {
            left.limit = find_head<false>(row, vocabulary, left, highest - all.lowest, by, target);
            gather_row<false, WEIGH_LIMITED>(row, vocabulary, left, NOWHERE, &all);
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

/* ---- The top ---- */

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
            no_finish());
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

/* ---- Mask, biases and penalties ---- */

__device__ __forceinline__ bool is_processed(const sample_row &asked)
{
    return asked.mask != nullptr || asked.bias_count > 0;
}

/* The mask, then the biases, whose tokens' raw logits are kept. */
__device__ __noinline__ void apply_processors(const sample_call &call, const sample_row &asked,
                                              float *row)
{
    sample_bias *biases = call.biases + asked.bias_first;
    for (int i = (int)threadIdx.x; i < asked.bias_count; i += THREADS) {
        biases[i].raw = row[biases[i].id];
    }
    __syncthreads();
    if (asked.mask != nullptr) {
        for (int id = (int)threadIdx.x; id < call.vocabulary; id += THREADS) {
            if (!sample_is_allowed(asked.mask, id)) {
                row[id] = -INFINITY;
            }
        }
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < asked.bias_count; i += THREADS) {
        row[biases[i].id] = sample_biased(row[biases[i].id], biases[i].bias);
    }
    __syncthreads();
}

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

/* The token's logit before anything was done to it. */
__device__ float raw_logit(const sample_call &call, const sample_row &asked, const float *row,
                           int32_t id)
{
    if (asked.bias_count > 0) {
        const sample_bias *biases = call.biases + asked.bias_first;
        const int32_t place = sample_find_id(biases, sizeof *biases, asked.bias_count, id);
        if (place >= 0) {
            return biases[place].raw;
        }
    }
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

/* ---- A row ---- */

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

/* Whether the row can be drawn from what is listed while it is scanned: top_k is small enough for
 * the bound of the row's start to let few logits pass. */
__device__ bool lists_in_scan(const sample_row &asked, int vocabulary)
{
    return asked.drawing != 0 && asked.top_k > 0 && asked.top_k <= MOST_EXACT_RANK &&
           (int64_t)asked.top_k * vocabulary <= (int64_t)START * LIST / 2;
}

__device__ bool scan_for(const sample_row &asked, float *row, int vocabulary, bool lists,
                         scan *found)
{
    found->bound = NOWHERE;
    if (!lists || !lists_in_scan(asked, vocabulary)) {
        return scan_row<false, false>(row, vocabulary, nullptr, found);
    }
    list_clear();
    found->bound = bound_of_start(row, vocabulary, asked.top_k);
    return scan_row<true, false>(row, vocabulary, nullptr, found);
}

/* Whether a mask is all that changes the row: then it is applied while the row is scanned. */
__device__ __forceinline__ bool is_masked_alone(const sample_row &asked)
{
    return asked.mask != nullptr && asked.bias_count == 0 && asked.history_count == 0;
}

/* Applies what changes the row, and scans what is left of it. */
__device__ bool scan_changed(const sample_call &call, const sample_row &asked, float *row,
                             scan *found)
{
    if (is_masked_alone(asked)) {
        found->bound = NOWHERE;
        return scan_row<false, true>(row, call.vocabulary, asked.mask, found);
    }
    if (is_processed(asked)) {
        apply_processors(call, asked, row);
    }
    if (asked.history_count > 0) {
        apply_penalties(call, asked, row);
    }
    return scan_for(asked, row, call.vocabulary, true, found);
}

/* Gathers once and takes from it what is asked for: tops and the sum of log-probabilities from
 * logits that are raw still, the draw, or both. */
__device__ int32_t take(const sample_call &call, const sample_row &asked, const float *row,
                        const scan &found, bool log, bool drawing, sample_outcome *outcome)
{
    if (!log && found.bound < NOWHERE && shared.list_count <= LIST) {
        const gathered start = {false, found.bound <= bound_of_cut(asked, found.highest), {}};
        return draw(row, call.vocabulary, asked, found.highest, start);
    }
    const int wanted = log ? asked.tops : 0;
    const gather_plan plan = plan_gather(asked, found, drawing, wanted);
    const filter left = {found.highest, asked.inverse, asked.cut, NO_LIMIT};
    gathered start = {plan.weigh, plan.complete, {}};
    list_clear();
    gather(row, call.vocabulary, left, log, plan.weigh, plan.bound, &start.row);
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
    const bool changed = asked.history_count > 0 || is_processed(asked);
    bool is_there = true;
    if (log || !is_masked_alone(asked)) { /* else one scan looks at the row before and after */
        is_there = scan_for(asked, row, call.vocabulary, !log && !changed, &found);
        outcome.highest = found.highest;
    }
    if (is_there && changed) {
        if (log) {
            (void)take(call, asked, row, found, true, false, &outcome);
        }
        __syncthreads(); /* all have read the row */
        is_there = scan_changed(call, asked, row, &found);
    }
    if (!is_there) {
        outcome.not_finite = 1;
        if (threadIdx.x == 0) {
            call.outcomes[blockIdx.x] = outcome;
        }
        return;
    }
    if (changed) {
        outcome.token =
            drawing ? take(call, asked, row, found, false, true, &outcome) : found.token;
    } else if (log || drawing) {
        outcome.token = take(call, asked, row, found, log, drawing, &outcome);
    } else {
        outcome.token = found.token;
    }
    if (threadIdx.x == 0) {
        outcome.token = asked.scored >= 0 ? asked.scored : outcome.token;
        outcome.raw = raw_logit(call, asked, row, outcome.token);
        call.outcomes[blockIdx.x] = outcome;
    }
}

cudaError_t sample_launch(cudaStream_t stream, const sample_call *call)
{
    sample_kernel<<<(unsigned)call->rows, THREADS, 0, stream>>>(*call);
    return cudaGetLastError();
}

__global__ void fill_drawn_kernel(int tokens, int32_t *token_ids, const sample_outcome *outcomes)
{
    const int token = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (token < tokens && token_ids[token] < 0) {
        token_ids[token] = outcomes[-1 - token_ids[token]].token;
    }
}

cudaError_t sample_fill_drawn(cudaStream_t stream, int tokens, int32_t *token_ids,
                              const sample_outcome *outcomes)
{
    fill_drawn_kernel<<<(unsigned)(tokens + 255) / 256, 256, 0, stream>>>(tokens, token_ids,
                                                                          outcomes);
    return cudaGetLastError();
}
