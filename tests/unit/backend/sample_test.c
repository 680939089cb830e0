/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling on the CPU: against plain double arithmetic with a full sort, by hand-computed values,
 * and by chi-square. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/sample.h"

static const struct sampling plain = {
    .top_p = 1,
    .repetition_penalty = 1,
    .logprobs = -1,
};

static struct sample_result sample_one(const float *logits, int vocabulary,
                                       const struct sample_request *request)
{
    struct sample_result result;
    float *copy = malloc((size_t)vocabulary * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, logits, (size_t)vocabulary * sizeof *copy);
    assert_int_equal(cpu_sample(copy, 1, vocabulary, request, &result), STATUS_OK);
    free(copy);
    return result;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance)) {
        fail_msg("%.9g, expected %.9g", value, expected);
    }
}

static uint64_t random_state;

static double random_unit(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(random_state >> 11) * 0x1p-53;
}

static float *random_logits(int vocabulary, double spread)
{
    float *logits = malloc((size_t)vocabulary * sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < vocabulary; i++) {
        logits[i] = (float)(spread * (random_unit() + random_unit() + random_unit() - 1.5));
    }
    return logits;
}

/* ---- Greedy and log-probabilities ---- */

static void greedy_takes_the_lowest_of_equals(void **state)
{
    (void)state;
    enum { VOCABULARY = 5000 };
    float *logits = malloc(VOCABULARY * sizeof *logits);
    assert_non_null(logits);
    struct sample_request request = {.params = &plain};
    const int places[] = {0, 1, 15, 16, 1023, 1024, 1025, 4095, 4096, 4998, 4999};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        for (int j = 0; j < VOCABULARY; j++) {
            logits[j] = j >= places[i] ? -1.5f : -INFINITY;
        }
        assert_int_equal(sample_one(logits, VOCABULARY, &request).token, places[i]);
        logits[places[i]] = 2;
        logits[VOCABULARY - 1] = 2;
        assert_int_equal(sample_one(logits, VOCABULARY, &request).token, places[i]);
    }
    free(logits);
    const float zeros[] = {-1, -0.0f, 0.0f};
    assert_int_equal(sample_one(zeros, 3, &request).token, 1);
    assert_true(isnan(sample_one(zeros, 3, &request).logprob));
}

static void logprobs_are_log_softmax(void **state)
{
    (void)state;
    const int vocabularies[] = {1, 2, 31, 1024, 1025, 50000};
    for (size_t v = 0; v < COUNT_OF(vocabularies); v++) {
        int vocabulary = vocabularies[v];
        random_state = v;
        float *logits = random_logits(vocabulary, 12);
        if (vocabulary > 30) {
            logits[7] = -INFINITY;
        }
        double sum = 0;
        for (int i = 0; i < vocabulary; i++) {
            sum += exp((double)logits[i]);
        }
        struct sampling params = plain;
        params.logprobs = 20;
        params.temperature = 1.7; /* the reported distribution is the model's all the same */
        struct sample_request request = {.params = &params};
        struct sample_result result = sample_one(logits, vocabulary, &request);
        assert_near(result.logprob, logits[result.token] - log(sum), 4e-6);
        assert_int_equal(result.top_count, vocabulary < 20 ? vocabulary : 20);
        for (int i = 0; i < result.top_count; i++) {
            int higher = 0;
            for (int j = 0; j < vocabulary; j++) {
                float x = logits[result.top_ids[i]];
                higher += logits[j] > x || (logits[j] == x && j < result.top_ids[i]);
            }
            assert_int_equal(higher, i);
            assert_near(result.top_logprobs[i], logits[result.top_ids[i]] - log(sum), 4e-6);
        }
        free(logits);
    }
}

/* The same number as a drawn token's, whatever the parameters of drawing are. */
static void scored_tokens_have_their_logprob(void **state)
{
    (void)state;
    enum { VOCABULARY = 1500 };
    random_state = 5;
    float *logits = random_logits(VOCABULARY, 12);
    double sum = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        sum += exp((double)logits[i]);
    }
    struct sampling params = plain;
    params.temperature = 1.5;
    params.repetition_penalty = 2;
    params.top_k = 1;
    for (int32_t token = 0; token < VOCABULARY; token += 7) {
        params.logprobs = token % 2 == 0 ? -1 : 3;
        struct sample_request request = {.params = &params,
                                         .is_scored = true,
                                         .scored = token,
                                         .history = (int32_t[]){token},
                                         .history_count = 1};
        struct sample_result result = sample_one(logits, VOCABULARY, &request);
        assert_int_equal(result.token, token);
        assert_near(result.logprob, logits[token] - log(sum), 4e-6);
        assert_int_equal(result.top_count, token % 2 == 0 ? 0 : 3);
    }
    logits[3] = NAN;
    struct sample_request request = {.params = &params, .is_scored = true, .scored = 8};
    assert_true(sample_one(logits, VOCABULARY, &request).not_finite);
    free(logits);
}

static void top_logprobs_of_equals_and_of_few(void **state)
{
    (void)state;
    const float logits[] = {1, 3, -INFINITY, 3, 1, 3};
    struct sampling params = plain;
    params.logprobs = 4;
    struct sample_request request = {.params = &params};
    struct sample_result result = sample_one(logits, 6, &request);
    const int32_t ids[] = {1, 3, 5, 0};
    assert_int_equal(result.top_count, 4);
    assert_memory_equal(result.top_ids, ids, sizeof ids);
    assert_int_equal(result.top_ids[4], -1);
    params.logprobs = 8;
    result = sample_one(logits, 6, &request);
    assert_int_equal(result.top_count, 5);
    assert_int_equal(result.top_ids[5], -1);
    assert_true(isnan(result.top_logprobs[5]));
}

static void not_finite_is_told(void **state)
{
    (void)state;
    float logits[40] = {0};
    struct sampling params = plain;
    struct sample_request request = {.params = &params};
    const float bad[] = {NAN, INFINITY, -NAN};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        for (int place = 0; place < 40; place++) {
            logits[place] = bad[i];
            params.temperature = place % 2;
            assert_true(sample_one(logits, 40, &request).not_finite);
            logits[place] = 0;
        }
    }
    assert_false(sample_one(logits, 40, &request).not_finite);
    logits[3] = -INFINITY;
    assert_false(sample_one(logits, 40, &request).not_finite);
    const float none[] = {-INFINITY, -INFINITY};
    assert_true(sample_one(none, 2, &request).not_finite);
    struct sample_result result;
    assert_int_equal(cpu_sample(logits, 1, 0, &request, &result), STATUS_INVALID);
}

/* ---- Penalties ---- */

static void penalties_by_hand(void **state)
{
    (void)state;
    /* Prompt 0 and 1, output 1, 2, 2: repetition on 0, 1, 2; frequency 1·0.5 on 1, 2·0.5 on 2;
     * presence 0.25 on both. */
    const int32_t history[] = {0, 1, 1, 2, 2};
    struct sampling params = plain;
    params.repetition_penalty = 2;
    params.frequency_penalty = 0.5;
    params.presence_penalty = 0.25;
    params.logprobs = 0;
    struct sample_request request = {
        .params = &params, .history = history, .history_count = 5, .prompt_count = 2};
    float logits[] = {4, -1, 3, 0.1f};
    struct sample_result result;
    assert_int_equal(cpu_sample(logits, 1, 4, &request, &result), STATUS_OK);
    assert_true(logits[0] == 4.0f / 2);
    assert_true(logits[1] == -1.0f * 2 - 0.5f - 0.25f);
    assert_true(logits[2] == 3.0f / 2 - 2 * 0.5f - 0.25f);
    assert_true(logits[3] == 0.1f);
    assert_int_equal(result.token, 0);
    double sum = exp(4) + exp(-1) + exp(3) + exp(0.1);
    assert_near(result.logprob, 4 - log(sum), 1e-6); /* raw */

    /* Marks of one row are gone in the next. */
    params.repetition_penalty = 10;
    float rows[] = {1, 2, 3, 4, 1, 2, 3, 4};
    const int32_t other[] = {3};
    struct sample_request requests[] = {
        request, {.params = &params, .history = other, .history_count = 1, .prompt_count = 1}};
    struct sample_result results[2];
    assert_int_equal(cpu_sample(rows, 2, 4, requests, results), STATUS_OK);
    assert_int_equal(results[0].token, 3);
    assert_int_equal(results[1].token, 2);
    assert_true(rows[4] == 1 && rows[7] == 4.0f / 10);
}

static void extreme_penalties_stay_finite(void **state)
{
    (void)state;
    const int32_t history[] = {0, 1, 2};
    struct sampling params = plain;
    const double penalties[] = {1e-300, 1e-38, 1e38, 1e300};
    for (size_t i = 0; i < COUNT_OF(penalties); i++) {
        for (int temperature = 0; temperature < 2; temperature++) {
            float logits[] = {0, 5, -5, 1};
            params.repetition_penalty = penalties[i];
            params.temperature = temperature;
            struct sample_request request = {
                .params = &params, .history = history, .history_count = 3};
            struct sample_result result;
            assert_int_equal(cpu_sample(logits, 1, 4, &request, &result), STATUS_OK);
            assert_int_equal(result.token, i < 2 ? 1 : result.token);
            assert_false(result.not_finite);
            for (int j = 0; j < 4; j++) {
                assert_true(isfinite(logits[j]));
            }
        }
    }
}

/* ---- Drawing ---- */

struct sorted_token {
    double logit;
    int id;
};

static int compare_tokens(const void *left, const void *right)
{
    const struct sorted_token *a = left, *b = right;
    return a->logit != b->logit ? (a->logit < b->logit ? 1 : -1) : a->id - b->id;
}

/* Probabilities after temperature, min_p, top_k and top_p: full sort, double arithmetic. */
static void reference_distribution(const float *logits, int vocabulary,
                                   const struct sampling *params, double *probability)
{
    struct sorted_token *sorted = malloc((size_t)vocabulary * sizeof *sorted);
    assert_non_null(sorted);
    for (int i = 0; i < vocabulary; i++) {
        sorted[i] = (struct sorted_token){logits[i], i};
        probability[i] = 0;
    }
    qsort(sorted, (size_t)vocabulary, sizeof *sorted, compare_tokens);
    int kept = 0;
    double total = 0;
    for (; kept < vocabulary; kept++) {
        double weight = exp((sorted[kept].logit - sorted[0].logit) / params->temperature);
        if (weight < params->min_p || (params->top_k > 0 && kept == params->top_k)) {
            break;
        }
        total += weight;
    }
    double mass = 0;
    for (int i = 0; i < kept && mass < params->top_p * total; i++) {
        double weight = exp((sorted[i].logit - sorted[0].logit) / params->temperature);
        probability[sorted[i].id] = weight;
        mass += weight;
    }
    for (int i = 0; i < vocabulary; i++) {
        probability[i] /= mass;
    }
    free(sorted);
}

/* Draws many times; Pearson's statistic against the reference. Tokens of no probability must not
 * come at all. The bound is the mean plus 5 standard deviations of the chi-square distribution. */
static void check_distribution(const float *logits, int vocabulary, const struct sampling *params,
                               int draws)
{
    double *probability = malloc((size_t)vocabulary * sizeof *probability);
    int *counts = calloc((size_t)vocabulary, sizeof *counts);
    assert_non_null(probability);
    assert_non_null(counts);
    reference_distribution(logits, vocabulary, params, probability);
    struct sample_request request = {.params = params, .sample = 1};
    for (request.position = 0; request.position < draws; request.position++) {
        struct sample_result result = sample_one(logits, vocabulary, &request);
        assert_in_range(result.token, 0, vocabulary - 1);
        if (probability[result.token] == 0) {
            fail_msg("token %d must not be drawn", (int)result.token);
        }
        counts[result.token]++;
    }
    double statistic = 0;
    int freedom = -1;
    for (int i = 0; i < vocabulary; i++) {
        double expected = probability[i] * draws;
        if (expected > 0) {
            statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
            freedom++;
        }
    }
    if (statistic > freedom + 5 * sqrt(2.0 * freedom) + 1e-9) {
        fail_msg("chi-square %g with %d degrees of freedom", statistic, freedom);
    }
    free(probability);
    free(counts);
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    const float logits[] = {0.5f, 2, -1, 2, 1.25f, -INFINITY, 0, -0.0f, 1, 0.5f};
    static const struct {
        double temperature, top_p, min_p;
        int top_k;
    } cases[] = {
        {1, 1, 0, 0},     {0.5, 1, 0, 0}, {3, 1, 0, 0},     {1, 1, 0, 3},
        {1, 1, 0, 1},     {1, 0.5, 0, 0}, {1, 0.9, 0, 0},   {2, 0.7, 0, 0},
        {1, 0.6, 0, 4},   {1, 1, 0.2, 0}, {1, 1e-9, 0, 0},  {1, 1, 1, 0},
        {1.5, 1, 0.3, 5}, {1, 1, 0, 100}, {1e300, 1, 0, 7}, {1, 0.8, 0.05, 6},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sampling params = plain;
        params.temperature = cases[i].temperature;
        params.top_p = cases[i].top_p;
        params.min_p = cases[i].min_p;
        params.top_k = cases[i].top_k;
        params.seed = 1000 + i;
        check_distribution(logits, 10, &params, 20000);
    }
}

/* Large vocabulary with many equal logits: only ids that the reference keeps, over many cuts. */
static void cuts_of_large_vocabularies(void **state)
{
    (void)state;
    enum { VOCABULARY = 3000 };
    double *probability = malloc(VOCABULARY * sizeof *probability);
    assert_non_null(probability);
    for (int trial = 0; trial < 60; trial++) {
        random_state = (uint64_t)trial;
        float *logits = random_logits(VOCABULARY, 4);
        for (int i = 0; i < VOCABULARY && trial % 2 == 0; i++) {
            logits[i] = roundf(logits[i]); /* ties, and -0 beside 0 */
        }
        struct sampling params = plain;
        params.temperature = 0.5 + random_unit();
        params.top_k = trial % 3 == 0 ? 0 : 1 + (int)(random_unit() * 200);
        params.top_p = trial % 3 == 1 ? 1 : 0.05 + 0.9 * random_unit();
        params.seed = (uint64_t)trial;
        reference_distribution(logits, VOCABULARY, &params, probability);
        struct sample_request request = {.params = &params};
        for (; request.position < 50; request.position++) {
            struct sample_result result = sample_one(logits, VOCABULARY, &request);
            assert_true(probability[result.token] > 0);
        }
        free(logits);
    }
    free(probability);
}

static void small_temperature_and_top_k_1_are_greedy(void **state)
{
    (void)state;
    random_state = 5;
    float *logits = random_logits(2000, 3);
    for (int i = 0; i < 2000; i++) {
        logits[i] = roundf(logits[i]);
    }
    struct sample_request request = {.params = &plain};
    int32_t greedy = sample_one(logits, 2000, &request).token;
    struct sampling cold = plain, single = plain, narrow = plain;
    single.temperature = 1;
    single.top_k = 1;
    narrow.temperature = 1;
    narrow.top_p = 1e-12;
    for (request.position = 0; request.position < 50; request.position++) {
        request.params = &single;
        assert_int_equal(sample_one(logits, 2000, &request).token, greedy);
        request.params = &narrow;
        assert_int_equal(sample_one(logits, 2000, &request).token, greedy);
        cold.temperature = pow(10, -6 - 6 * request.position);
        request.params = &cold;
        assert_int_equal(sample_one(logits, 2000, &request).token, greedy);
    }
    cold.temperature = 5e-324;
    request.params = &cold;
    assert_int_equal(sample_one(logits, 2000, &request).token, greedy);
    free(logits);
}

/* ---- Mask and biases ---- */

static void masks_and_biases_by_hand(void **state)
{
    (void)state;
    enum { VOCABULARY = 70 };
    float logits[VOCABULARY];
    for (int i = 0; i < VOCABULARY; i++) {
        logits[i] = (float)i / 10;
    }
    double sum = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        sum += exp((double)logits[i]);
    }
    struct sampling params = plain;
    params.logprobs = 1;
    const uint32_t mask[3] = {1u << 3 | 1u << 31, 1u << 8, 0}; /* 3, 31, 40 */
    const struct logit_bias biases[] = {{3, 5}, {40, -INFINITY}, {69, 100}};
    struct sample_request request = {.params = &params, .allowed = mask};
    struct sample_result result = sample_one(logits, VOCABULARY, &request);
    assert_int_equal(result.token, 40);
    /* What is reported is the model's distribution. */
    assert_near(result.logprob, 4.0 - log(sum), 4e-6);
    assert_int_equal(result.top_ids[0], 69);
    request.biases = biases;
    request.bias_count = 3;
    result = sample_one(logits, VOCABULARY, &request);
    assert_int_equal(result.token, 3); /* 0.3 + 5 beats 3.1; 69 is not allowed */
    assert_near(result.logprob, 0.3 - log(sum), 4e-6);
    request.allowed = NULL;
    assert_int_equal(sample_one(logits, VOCABULARY, &request).token, 69);

    /* Penalties come after biases: 0.3 + 5 halved is below 3.1. */
    static const int32_t history[] = {3};
    params.repetition_penalty = 2;
    request.allowed = mask;
    request.history = history;
    request.history_count = 1;
    result = sample_one(logits, VOCABULARY, &request);
    assert_int_equal(result.token, 31);
    params.repetition_penalty = 1.5;
    result = sample_one(logits, VOCABULARY, &request);
    assert_int_equal(result.token, 3);
    assert_near(result.logprob, 0.3 - log(sum), 4e-6);

    /* A scored token is left alone. */
    request.is_scored = true;
    request.scored = 40;
    assert_near(sample_one(logits, VOCABULARY, &request).logprob, 4.0 - log(sum), 4e-6);

    /* Nothing is left; the next row of the thread is whole. */
    request.is_scored = false;
    const struct logit_bias all[] = {{3, -INFINITY}, {31, -INFINITY}, {40, -INFINITY}};
    request.biases = all;
    result = sample_one(logits, VOCABULARY, &request);
    assert_true(result.not_finite && result.top_count == 0 && isnan(result.logprob));
    float two[2 * VOCABULARY];
    memcpy(two, logits, sizeof logits);
    memcpy(two + VOCABULARY, logits, sizeof logits);
    struct sample_request requests[2] = {request, request};
    requests[1].allowed = NULL;
    requests[1].bias_count = 0;
    struct sample_result results[2];
    assert_int_equal(cpu_sample(two, 2, VOCABULARY, requests, results), STATUS_OK);
    assert_true(results[0].not_finite && results[1].token == 69);
}

/* Draws come from what the mask leaves, in its own proportions. */
static void masked_draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    const float logits[] = {9, 1, 0, 9, 0, 9};
    const uint32_t mask[] = {1u << 1 | 1u << 2 | 1u << 4};
    const struct logit_bias bias[] = {{4, 0.5f}};
    struct sampling params = plain;
    params.temperature = 1;
    int counts[6] = {0};
    for (int i = 0; i < DRAWS; i++) {
        struct sample_request request = {
            .params = &params, .position = i, .allowed = mask, .biases = bias, .bias_count = 1};
        counts[sample_one(logits, 6, &request).token]++;
    }
    const double weights[] = {0, exp(1), 1, 0, exp(0.5), 0}, total = exp(1) + 1 + exp(0.5);
    for (int i = 0; i < 6; i++) {
        const double expected = DRAWS * weights[i] / total;
        assert_near(counts[i], expected, 4 * sqrt(expected));
    }
}

/* A row alone and among others, in any place. */
static void neighbours_do_not_matter(void **state)
{
    (void)state;
    enum { ROWS = 17, VOCABULARY = 1500 };
    random_state = 9;
    float *logits = random_logits(ROWS * VOCABULARY, 5);
    struct sampling params[ROWS];
    struct sample_request requests[ROWS];
    struct sample_result alone[ROWS], together[ROWS];
    static const int32_t history[] = {1, 5, 700, 5};
    static const struct logit_bias biases[] = {{5, 3}, {9, -INFINITY}, {1499, 100}};
    uint32_t mask[(VOCABULARY + 31) / 32];
    memset(mask, 0x35, sizeof mask);
    for (int i = 0; i < ROWS; i++) {
        params[i] = plain;
        params[i].temperature = i % 4 == 0 ? 0 : 0.3 * i;
        params[i].top_p = i % 3 == 0 ? 0.9 : 1;
        params[i].top_k = i % 5 == 0 ? 40 : 0;
        params[i].logprobs = i % 3 - 1;
        params[i].stream = (uint64_t)i << 31;
        params[i].repetition_penalty = i % 2 == 0 ? 1 : 1.3;
        requests[i] = (struct sample_request){.params = &params[i],
                                              .position = 3 * i,
                                              .history = i % 2 == 0 ? NULL : history,
                                              .history_count = i % 2 == 0 ? 0 : 4,
                                              .prompt_count = i % 2};
        requests[i].allowed = i % 3 == 1 ? mask : NULL;
        requests[i].biases = biases;
        requests[i].bias_count = i % 4;
        alone[i] = sample_one(logits + i * VOCABULARY, VOCABULARY, &requests[i]);
    }
    assert_int_equal(cpu_sample(logits, ROWS, VOCABULARY, requests, together), STATUS_OK);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(alone[i].token, together[i].token);
        assert_memory_equal(&alone[i].logprob, &together[i].logprob, sizeof(float));
        assert_memory_equal(alone[i].top_ids, together[i].top_ids, sizeof alone[i].top_ids);
        assert_memory_equal(alone[i].top_logprobs, together[i].top_logprobs,
                            (size_t)alone[i].top_count * sizeof(float));
    }
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_of_equals),
        cmocka_unit_test(logprobs_are_log_softmax),
        cmocka_unit_test(scored_tokens_have_their_logprob),
        cmocka_unit_test(top_logprobs_of_equals_and_of_few),
        cmocka_unit_test(not_finite_is_told),
        cmocka_unit_test(penalties_by_hand),
        cmocka_unit_test(extreme_penalties_stay_finite),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(cuts_of_large_vocabularies),
        cmocka_unit_test(small_temperature_and_top_k_1_are_greedy),
        cmocka_unit_test(masks_and_biases_by_hand),
        cmocka_unit_test(masked_draws_follow_the_distribution),
        cmocka_unit_test(neighbours_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
