/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling from rows of logits; sample.h says what is computed and why sums are integers. */
#include "backend/cpu/sample.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/philox.h"
#include "backend/sample_arithmetic.h"

enum {
    CHUNK = 1024,    /* logits whose weights are on the stack at once */
    DIGIT_BITS = 11, /* of a candidate's key, a histogram */
};

/* A token that may still be drawn. */
struct candidate {
    uint32_t key; /* ascending as the logits are */
    int32_t id;
    uint64_t weight;
};

struct penalty_mark {
    int32_t state; /* 0: not in the history; else 1 + 2 · occurrences in the output */
    float raw;     /* the logit before penalties */
};

/* Of one thread; each part is there once a row needed it. */
struct scratch {
    struct candidate *candidates; /* [vocabulary] */
    struct penalty_mark *marks;   /* [vocabulary], all zero between rows */
    float *unbiased;              /* [unbiased_capacity] logits of a row's biased tokens, raw */
    int32_t unbiased_capacity;
    uint64_t histogram[1 << DIGIT_BITS];
};

static void compute_weights(const float *logits, int count, float highest, float inverse,
                            float *weights)
{
#pragma omp simd
    for (int i = 0; i < count; i++) {
        weights[i] = sample_weight(logits[i], highest, inverse);
    }
}

/* The sum of sample_fixed_point over at most CHUNK weights. Vectorises: upper and lower half are
 * 32-bit integers, and so are their sums. */
static uint64_t sum_fixed_point(const float *weights, int count)
{
    const float half = 1 << (SAMPLE_FRACTION_BITS / 2);
    int32_t upper_sum = 0, lower_sum = 0;
#pragma omp simd reduction(+ : upper_sum, lower_sum)
    for (int i = 0; i < count; i++) {
        float scaled = weights[i] * half;
        int32_t upper = (int32_t)scaled;
        upper_sum += upper;
        lower_sum += (int32_t)((scaled - (float)upper) * half);
    }
    return ((uint64_t)upper_sum << (SAMPLE_FRACTION_BITS / 2)) + (uint64_t)lower_sum;
}

/* The highest logit and the lowest id that has it; false where no distribution is there. */
static bool find_highest(const float *logits, int vocabulary, float *highest, int32_t *id)
{
    float best = -INFINITY;
    int best_start = -1;
    int invalid = 0;
    for (int start = 0; start < vocabulary; start += CHUNK) {
        int count = vocabulary - start < CHUNK ? vocabulary - start : CHUNK;
        const float *chunk = logits + start;
        float chunk_best = -INFINITY;
#pragma omp simd reduction(max : chunk_best) reduction(| : invalid)
        for (int i = 0; i < count; i++) {
            chunk_best = chunk[i] > chunk_best ? chunk[i] : chunk_best;
            invalid |= !(chunk[i] <= FLT_MAX); /* NaN or +inf */
        }
        if (chunk_best > best) {
            best = chunk_best;
            best_start = start;
        }
    }
    if (invalid || best_start < 0) {
        return false;
    }
    /* In a row of nothing but -inf there may be no such value: a compiler may begin a maximum with
     * the least finite number. */
    int32_t first = best_start;
    while (first < vocabulary && logits[first] != best) {
        first++;
    }
    if (first == vocabulary) {
        return false;
    }
    *highest = best;
    *id = first;
    return true;
}

/* log(sum over the row of e^(logit - highest)). */
static double log_sum_weights(const float *logits, int vocabulary, float highest)
{
    float weights[CHUNK];
    uint64_t total = 0;
    for (int start = 0; start < vocabulary; start += CHUNK) {
        int count = vocabulary - start < CHUNK ? vocabulary - start : CHUNK;
        compute_weights(logits + start, count, highest, 1, weights);
        total += sum_fixed_point(weights, count);
    }
    return sample_log_sum(total);
}

static void fill_top(const float *logits, int vocabulary, int wanted, float highest, double log_sum,
                     struct sample_result *result)
{
    float values[SAMPLING_MAX_LOGPROBS];
    int count = 0;
    assert(wanted > 0);
    for (int32_t id = 0; id < vocabulary; id++) {
        float x = logits[id];
        if (x < -FLT_MAX || (count == wanted && !(x > values[count - 1]))) {
            continue;
        }
        int place = count < wanted ? count++ : count - 1;
        for (; place > 0 && x > values[place - 1]; place--) {
            values[place] = values[place - 1];
            result->top_ids[place] = result->top_ids[place - 1];
        }
        values[place] = x;
        result->top_ids[place] = id;
    }
    for (int i = 0; i < count; i++) {
        result->top_logprobs[i] = (float)((double)values[i] - highest - log_sum);
    }
    result->top_count = count;
}

static bool has_penalty(const struct sampling *params)
{
    return params->repetition_penalty != 1 || params->presence_penalty != 0 ||
           params->frequency_penalty != 0;
}

/* The mask, then the biases; scratch->unbiased keeps the raw logits of what is biased. */
static void apply_processors(float *logits, int vocabulary, const struct sample_request *request,
                             struct scratch *scratch)
{
    const struct logit_bias *biases = request->biases;
    for (int32_t i = 0; i < request->bias_count; i++) {
        assert(biases[i].id >= 0 && biases[i].id < vocabulary);
        scratch->unbiased[i] = logits[biases[i].id];
    }
    for (int32_t id = 0; request->allowed != NULL && id < vocabulary; id++) {
        logits[id] = sample_is_allowed(request->allowed, id) ? logits[id] : -INFINITY;
    }
    for (int32_t i = 0; i < request->bias_count; i++) {
        float *logit = &logits[biases[i].id];
        *logit = sample_biased(*logit, biases[i].bias);
    }
}

static void apply_penalties(float *logits, int vocabulary, const struct sample_request *request,
                            struct penalty_mark *marks)
{
    (void)vocabulary;
    for (int32_t i = 0; i < request->history_count; i++) {
        int32_t id = request->history[i];
        assert(id >= 0 && id < vocabulary);
        marks[id].state = (marks[id].state | 1) + (i >= request->prompt_count ? 2 : 0);
        marks[id].raw = logits[id];
    }
    const struct sampling *params = request->params;
    float repetition = fmaxf((float)params->repetition_penalty, FLT_MIN); /* 0 / 0 is no logit */
    float frequency = (float)params->frequency_penalty;
    float presence = (float)params->presence_penalty;
    for (int32_t i = 0; i < request->history_count; i++) {
        int32_t id = request->history[i];
        logits[id] =
            sample_penalised(marks[id].raw, marks[id].state >> 1, repetition, frequency, presence);
    }
}

/* Tokens that temperature and min_p leave, ids ascending. */
static int gather_candidates(const float *logits, int vocabulary, float highest, float inverse,
                             float min_weight, struct candidate *candidates)
{
    float weights[CHUNK];
    int kept = 0;
    for (int start = 0; start < vocabulary; start += CHUNK) {
        int count = vocabulary - start < CHUNK ? vocabulary - start : CHUNK;
        compute_weights(logits + start, count, highest, inverse, weights);
        for (int i = 0; i < count; i++) {
            uint64_t weight = sample_fixed_point(weights[i]);
            /* Written always and counted where it stays: no branch to mispredict. */
            candidates[kept] = (struct candidate){sample_key(logits[start + i]), start + i, weight};
            kept += weight > 0 && weights[i] >= min_weight;
        }
    }
    return kept;
}

enum measure { MEASURE_COUNT, MEASURE_WEIGHT };

static uint64_t measure_of(const struct candidate *candidate, enum measure measure)
{
    return measure == MEASURE_WEIGHT ? candidate->weight : 1;
}

/* Keeps the shortest head, in the order (key descending, id ascending), whose measures add up to at
 * least `target`, which is from 1 to the sum over all. What stays keeps its order by id. */
static int keep_head(struct candidate *candidates, int count, enum measure measure, uint64_t target,
                     uint64_t *histogram)
{
    static const struct {
        int shift, bits;
    } digits[] = {{21, 11}, {10, 11}, {0, 10}};
    uint32_t threshold = 0, mask = 0; /* leading digits of the last key that stays */
    uint64_t before = 0;              /* measure of higher keys */
    for (size_t level = 0; level < COUNT_OF(digits); level++) {
        int shift = digits[level].shift;
        uint32_t digit_mask = (1u << digits[level].bits) - 1;
        memset(histogram, 0, ((size_t)digit_mask + 1) * sizeof *histogram);
        for (int i = 0; i < count; i++) {
            if ((candidates[i].key & mask) == threshold) {
                histogram[candidates[i].key >> shift & digit_mask] +=
                    measure_of(&candidates[i], measure);
            }
        }
        uint32_t digit = digit_mask;
        while (before + histogram[digit] < target) {
            assert(digit > 0);
            before += histogram[digit--];
        }
        threshold |= digit << shift;
        mask |= digit_mask << shift;
        int kept = 0;
        for (int i = 0; i < count; i++) {
            struct candidate candidate = candidates[i];
            candidates[kept] = candidate;
            kept += candidate.key >= threshold; /* its lower digits are 0 still */
        }
        count = kept;
    }
    int kept = 0;
    for (int i = 0; i < count; i++) { /* of equal keys the lowest ids */
        struct candidate candidate = candidates[i];
        if (candidate.key > threshold || before < target) {
            before += candidate.key > threshold ? 0 : measure_of(&candidate, measure);
            candidates[kept++] = candidate;
        }
    }
    return kept;
}

static uint64_t sum_weights(const struct candidate *candidates, int count)
{
    uint64_t total = 0;
    for (int i = 0; i < count; i++) {
        total += candidates[i].weight;
    }
    return total;
}

/* Steps 4 and 5 of sample.h. */
static int32_t draw(const float *logits, int vocabulary, float highest,
                    const struct sample_request *request, struct scratch *scratch)
{
    const struct sampling *params = request->params;
    struct candidate *candidates = scratch->candidates;
    int count = gather_candidates(logits, vocabulary, highest, (float)(1 / params->temperature),
                                  (float)params->min_p, candidates);
    if (params->top_k > 0 && params->top_k < count) {
        count = keep_head(candidates, count, MEASURE_COUNT, (uint64_t)params->top_k,
                          scratch->histogram);
    }
    uint64_t total = sum_weights(candidates, count);
    if (params->top_p < 1) {
        uint64_t target = (uint64_t)ceil(params->top_p * (double)total);
        target = target < 1 ? 1 : target > total ? total : target;
        count = keep_head(candidates, count, MEASURE_WEIGHT, target, scratch->histogram);
        total = sum_weights(candidates, count);
    }
    uint64_t bits =
        philox_token_bits(params->seed, params->stream, request->sample, request->position);
    uint64_t point = (uint64_t)((unsigned __int128)bits * total >> 64);
    int i = 0;
    for (uint64_t sum = candidates[0].weight; sum <= point; sum += candidates[i].weight) {
        i++;
        assert(i < count);
    }
    return candidates[i].id;
}

/* The logit that a token had before anything was done to it. */
static float raw_logit(const float *logits, const struct sample_request *request, bool processed,
                       bool penalties, const struct scratch *scratch, int32_t id)
{
    const int32_t bias = processed ? sample_find_id(request->biases, sizeof *request->biases,
                                                    request->bias_count, id)
                                   : -1;
    return bias >= 0                                    ? scratch->unbiased[bias]
           : penalties && scratch->marks[id].state != 0 ? scratch->marks[id].raw
                                                        : logits[id];
}

/* Room for the raw logits of `count` biased tokens. */
static bool prepare_unbiased(struct scratch *scratch, int32_t count)
{
    if (count > scratch->unbiased_capacity) {
        free(scratch->unbiased);
        scratch->unbiased = malloc((size_t)count * sizeof *scratch->unbiased);
        scratch->unbiased_capacity = scratch->unbiased != NULL ? count : 0;
    }
    return count <= scratch->unbiased_capacity;
}

/* False when memory runs out. */
static bool prepare_scratch(struct scratch *scratch, int vocabulary, bool penalties, bool drawing)
{
    if (penalties && scratch->marks == NULL) {
        scratch->marks = calloc((size_t)vocabulary, sizeof *scratch->marks);
    }
    if (drawing && scratch->candidates == NULL) {
        scratch->candidates = malloc((size_t)vocabulary * sizeof *scratch->candidates);
    }
    return (!penalties || scratch->marks != NULL) && (!drawing || scratch->candidates != NULL);
}

static void clear_result(struct sample_result *result)
{
    *result = (struct sample_result){.logprob = NAN};
    for (int i = 0; i < SAMPLING_MAX_LOGPROBS; i++) {
        result->top_ids[i] = -1;
        result->top_logprobs[i] = NAN;
    }
}

/* False when memory runs out. */
static bool sample_row(float *logits, int vocabulary, const struct sample_request *request,
                       struct scratch *scratch, struct sample_result *result)
{
    const struct sampling *params = request->params;
    clear_result(result);
    float highest;
    if (!find_highest(logits, vocabulary, &highest, &result->token)) {
        result->not_finite = true;
        return true;
    }
    bool penalties = !request->is_scored && has_penalty(params) && request->history != NULL;
    bool drawing = !request->is_scored && params->temperature >= SAMPLE_GREEDY_BELOW;
    bool logprobs = request->is_scored || params->logprobs >= 0;
    bool processed = !request->is_scored && (request->allowed != NULL || request->bias_count > 0);
    if (!prepare_scratch(scratch, vocabulary, penalties, drawing) ||
        (processed && !prepare_unbiased(scratch, request->bias_count))) {
        return false;
    }
    float raw_highest = highest;
    double log_sum = 0;
    if (logprobs) {
        log_sum = log_sum_weights(logits, vocabulary, highest);
        int wanted =
            params->logprobs < SAMPLING_MAX_LOGPROBS ? params->logprobs : SAMPLING_MAX_LOGPROBS;
        if (wanted > 0) {
            fill_top(logits, vocabulary, wanted, highest, log_sum, result);
        }
    }
    if (processed) {
        apply_processors(logits, vocabulary, request, scratch);
    }
    if (penalties) {
        apply_penalties(logits, vocabulary, request, scratch->marks);
    }
    if ((processed || penalties) && !find_highest(logits, vocabulary, &highest, &result->token)) {
        clear_result(result);
        result->not_finite = true; /* nothing is left to draw */
    } else if (request->is_scored) {
        assert(request->scored >= 0 && request->scored < vocabulary);
        result->token = request->scored;
    } else if (drawing) {
        result->token = draw(logits, vocabulary, highest, request, scratch);
    }
    if (logprobs && !result->not_finite) {
        float raw = raw_logit(logits, request, processed, penalties, scratch, result->token);
        result->logprob = (float)((double)raw - raw_highest - log_sum);
    }
    if (penalties) {
        for (int32_t i = 0; i < request->history_count; i++) {
            scratch->marks[request->history[i]].state = 0;
        }
    }
    return true;
}

status cpu_sample(float *logits, int count, int vocabulary, const struct sample_request *requests,
                  struct sample_result *results)
{
    if (vocabulary < 1 || vocabulary > SAMPLE_MAX_VOCABULARY) {
        return status_fail(STATUS_INVALID, "a vocabulary of %d; sampling takes 1 to %d", vocabulary,
                           SAMPLE_MAX_VOCABULARY);
    }
    bool out_of_memory = false;
#pragma omp parallel if (count > 1) reduction(|| : out_of_memory)
    {
        struct scratch scratch = {0};
#pragma omp for schedule(static)
        for (int i = 0; i < count; i++) {
            float *row = logits + (size_t)i * (size_t)vocabulary;
            if (!sample_row(row, vocabulary, &requests[i], &scratch, &results[i])) {
                out_of_memory = true;
            }
        }
        free(scratch.candidates);
        free(scratch.marks);
        free(scratch.unbiased);
    }
    return out_of_memory ? status_fail(STATUS_NO_MEMORY,
                                       "out of memory for sampling from %d tokens", vocabulary)
                         : STATUS_OK;
}
