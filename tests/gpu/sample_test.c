/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling of the CUDA backend beside the CPU's, which it equals to the bit; the same bits for a
 * row whatever stands beside it; and draws that follow the distribution. */
#include "gpu/gpu_fixture.h"

enum { MOST_ROWS = 64, MOST_HISTORY = 300, MOST_BIASES = 40, MOST_MASK_WORDS = 8192 };

static int failures;

static const struct sampling plain = {
    .top_p = 1,
    .repetition_penalty = 1,
    .logprobs = -1,
};

/* ---- Logits ---- */

enum shape { BELL, FLAT, ROUNDED, ZEROS, HOLES, PEAKS, ENORMOUS, TINY, RAMP, SHAPES };
static const char *const shape_names[SHAPES] = {"bell",  "flat",     "rounded", "zeros", "holes",
                                                "peaks", "enormous", "tiny",    "ramp"};

static void fill_row(float *row, int vocabulary, enum shape shape, uint64_t seed)
{
    gpu_random(row, (size_t)vocabulary, seed, shape == FLAT ? 0.05f : 3.0f);
    for (int id = 0; id < vocabulary; id++) {
        const uint64_t bits = philox_token_bits(seed, id, 1, 0);
        switch (shape) {
        case ROUNDED: /* many equal ones, and -0 beside 0 */
            row[id] = roundf(row[id]);
            break;
        case ZEROS:
            row[id] = bits % 2 == 0 ? 0.0f : -0.0f;
            break;
        case HOLES:
            row[id] = bits % 3 == 0 ? row[id] : -INFINITY;
            break;
        case PEAKS:
            row[id] += bits % 997 == 0 ? 15.0f : -15.0f;
            break;
        case ENORMOUS:
            row[id] *= 3e37f;
            break;
        case TINY:
            row[id] *= 1e-40f;
            break;
        case RAMP: /* each logit higher than all before */
            row[id] = (float)id * 1e-3f;
            break;
        default:
            break;
        }
    }
}

/* ---- Requests ---- */

struct rows {
    int count, vocabulary;
    float *logits; /* [count][vocabulary] */
    enum shape shapes[MOST_ROWS];
    struct sampling params[MOST_ROWS];
    struct sample_request requests[MOST_ROWS];
    int32_t history[MOST_ROWS][MOST_HISTORY];
    uint32_t masks[MOST_ROWS][MOST_MASK_WORDS];
    struct logit_bias biases[MOST_ROWS][MOST_BIASES];
};

static const struct setting {
    double temperature;
    int top_k;
    double top_p, min_p, repetition, presence, frequency;
    int logprobs;
} settings[] = {
    {0, 0, 1, 0, 1, 0, 0, -1},          {0, 0, 1, 0, 1, 0, 0, 0},
    {0, 0, 1, 0, 1, 0, 0, 20},          {1, 0, 1, 0, 1, 0, 0, -1},
    {0.7, 0, 1, 0, 1, 0, 0, 1},         {1e300, 0, 1, 0, 1, 0, 0, -1},
    {1e-5, 0, 1, 0, 1, 0, 0, -1},       {1, 1, 1, 0, 1, 0, 0, -1},
    {1, 50, 1, 0, 1, 0, 0, -1},         {1, 384, 1, 0, 1, 0, 0, -1},
    {1, 385, 1, 0, 1, 0, 0, 3},         {1, 1000, 1, 0, 1, 0, 0, -1},
    {1.5, 30000, 1, 0, 1, 0, 0, -1},    {1, 1 << 30, 1, 0, 1, 0, 0, -1},
    {1, 0, 0.9, 0, 1, 0, 0, -1},        {1, 0, 0.5, 0, 1, 0, 0, 5},
    {2, 0, 0.999, 0, 1, 0, 0, -1},      {1, 0, 1e-9, 0, 1, 0, 0, -1},
    {3, 0, 0.9999999, 0, 1, 0, 0, -1},  {1, 0, 1, 0.05, 1, 0, 0, -1},
    {1, 0, 1, 1, 1, 0, 0, -1},          {1, 0, 1, 1e-7, 1, 0, 0, 2},
    {0.8, 50, 0.9, 0, 1, 0, 0, -1},     {0.8, 50, 0.9, 0, 1, 0, 0, 5},
    {0.8, 40, 0.95, 0.1, 1, 0, 0, -1},  {1.2, 2000, 0.97, 0.0001, 1, 0, 0, 20},
    {0, 0, 1, 0, 1.3, 0, 0, -1},        {0, 0, 1, 0, 1, 0.4, 0.6, 4},
    {0, 0, 1, 0, 0.7, -0.5, 0, 0},      {1, 0, 1, 0, 1.1, 0.2, 0.3, -1},
    {1, 50, 0.9, 0, 1.1, 0.2, 0.3, -1}, {0.9, 50, 0.9, 0.01, 1.2, 0, -0.5, 20},
    {1, 0, 0.9, 0, 1e30, 0, 0, 1},      {1, 700, 0.8, 0, 1e-300, 0, 0, 1},
};

static void describe_row(struct rows *rows, int i, const struct setting *setting, uint64_t seed)
{
    struct sampling *params = &rows->params[i];
    *params = plain;
    params->temperature = setting->temperature;
    params->top_k = setting->top_k;
    params->top_p = setting->top_p;
    params->min_p = setting->min_p;
    params->repetition_penalty = setting->repetition;
    params->presence_penalty = setting->presence;
    params->frequency_penalty = setting->frequency;
    params->logprobs = setting->logprobs;
    params->seed = seed;
    params->stream = (uint64_t)i << 31;
    struct sample_request *request = &rows->requests[i];
    *request = (struct sample_request){.params = params, .sample = i % 3, .position = 7 * i};
    if (setting->repetition != 1 || setting->presence != 0 || setting->frequency != 0) {
        request->history = rows->history[i];
        request->history_count = 1 + 37 * i % MOST_HISTORY;
        request->prompt_count = request->history_count / 3;
        for (int j = 0; j < request->history_count; j++) {
            rows->history[i][j] =
                (int32_t)(philox_token_bits(seed, j, 2, 0) % (uint64_t)rows->vocabulary);
        }
    }
}

/* Gives five rows of six a mask of their own or an earlier row's, biases or both: masks of every
 * bit, of half, of few and of one; biases that are finite and not, also of tokens that the mask
 * leaves out and of the history's. */
static void process_row(struct rows *rows, int i, uint64_t seed)
{
    struct sample_request *request = &rows->requests[i];
    const int vocabulary = rows->vocabulary, words = sampling_mask_words(vocabulary);
    const uint64_t kind = philox_token_bits(seed, i, 3, 0) % 6;
    if (kind == 1 || kind == 2) {
        const uint64_t density = philox_token_bits(seed, i, 3, 1) % 4;
        for (int word = 0; word < words; word++) {
            const uint32_t bits = (uint32_t)philox_token_bits(seed, word, 4, i);
            const uint32_t more = (uint32_t)philox_token_bits(seed, word, 5, i);
            rows->masks[i][word] = density == 0   ? ~0u
                                   : density == 1 ? bits
                                   : density == 2 ? bits & more & bits >> 7 & more >> 9
                                                  : 0;
        }
        const int32_t one = (int32_t)(seed * 31 % (uint64_t)vocabulary);
        rows->masks[i][one / 32] |= 1u << one % 32;
        request->allowed = rows->masks[i];
        request->allowed_serial = kind == 1 ? sampling_mask_serial() : 0; /* kept on the device */
    }
    for (int j = i - 1; kind == 5 && j >= 0 && request->allowed == NULL; j--) {
        request->allowed = rows->requests[j].allowed; /* as rows in one state of a grammar */
        request->allowed_serial = rows->requests[j].allowed_serial;
    }
    if (kind == 2 || kind == 3 || kind == 4) {
        const int step = vocabulary / MOST_BIASES + 1;
        for (int id = (int)(seed % (uint64_t)step); id < vocabulary; id += step) {
            const uint64_t bits = philox_token_bits(seed, id, 6, i);
            rows->biases[i][request->bias_count++] = (struct logit_bias){
                id, bits % 4 == 0 ? -INFINITY : (float)(bits % 20001) / 100.0f - 100.0f};
        }
        request->biases = rows->biases[i];
    }
}

/* Row i has setting first + i and a shape that changes with it. */
static struct rows *make_rows(int count, int vocabulary, int first, uint64_t seed)
{
    struct rows *rows = calloc(1, sizeof *rows);
    assert_non_null(rows);
    rows->count = count;
    rows->vocabulary = vocabulary;
    rows->logits = malloc((size_t)count * (size_t)vocabulary * sizeof(float));
    assert_non_null(rows->logits);
    for (int i = 0; i < count; i++) {
        rows->shapes[i] = (enum shape)((size_t)(first + i + (int)seed) % SHAPES);
        fill_row(rows->logits + (size_t)i * (size_t)vocabulary, vocabulary, rows->shapes[i],
                 seed * 1000 + (uint64_t)(first + i));
        describe_row(rows, i, &settings[(size_t)(first + i) % COUNT_OF(settings)],
                     seed + (uint64_t)i);
        process_row(rows, i, seed * 77 + (uint64_t)(first + i));
    }
    return rows;
}

static void free_rows(struct rows *rows)
{
    free(rows->logits);
    free(rows);
}

/* Samples rows [first, first + count); `after`, where not NULL, gets the logits as sampling left
 * them. */
static void sample_rows(struct backend *backend, const struct rows *rows, int first, int count,
                        struct sample_result *results, float *after)
{
    const size_t values = (size_t)count * (size_t)rows->vocabulary;
    struct device_buffer *buffer = gpu_buffer(
        backend, rows->logits + (size_t)first * (size_t)rows->vocabulary, values, DTYPE_FLOAT32);
    check(backend->operations->sample(backend, buffer, count, rows->vocabulary,
                                      rows->requests + first, results));
    if (after != NULL) {
        gpu_values(backend, buffer, values, DTYPE_FLOAT32, after);
    }
    backend->operations->buffer_destroy(backend, buffer);
}

/* ---- Comparison ---- */

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static bool same_result(const struct sample_result *a, const struct sample_result *b)
{
    if (a->not_finite || b->not_finite) {
        return a->not_finite == b->not_finite;
    }
    bool same =
        a->token == b->token && same_bits(a->logprob, b->logprob) && a->top_count == b->top_count;
    for (int i = 0; i < SAMPLING_MAX_LOGPROBS; i++) {
        same = same && a->top_ids[i] == b->top_ids[i] &&
               same_bits(a->top_logprobs[i], b->top_logprobs[i]);
    }
    return same;
}

static void print_result(const char *name, const struct sample_result *result)
{
    print_error("    %-8s token %d, logprob %.9g, not finite %d, top %d:", name, result->token,
                (double)result->logprob, result->not_finite, result->top_count);
    for (int i = 0; i < 5; i++) {
        print_error(" %d (%.9g)", result->top_ids[i], (double)result->top_logprobs[i]);
    }
    print_error("\n");
}

static void expect_same(const char *what, const struct rows *rows, int i,
                        const struct sample_result *result, const struct sample_result *expected)
{
    if (same_result(result, expected)) {
        return;
    }
    failures++;
    const struct sampling *p = &rows->params[i];
    const float *logits = rows->logits + (size_t)i * (size_t)rows->vocabulary;
    print_error("%s: row %d of %d, vocabulary %d, %s logits: temperature %g, top_k %d, top_p %g, "
                "min_p %g, penalties %g %g %g over %d, logprobs %d\n",
                what, i, rows->count, rows->vocabulary, shape_names[rows->shapes[i]],
                p->temperature, p->top_k, p->top_p, p->min_p, p->repetition_penalty,
                p->presence_penalty, p->frequency_penalty, rows->requests[i].history_count,
                p->logprobs);
    print_result("is", result);
    print_result("expected", expected);
    if (!result->not_finite && result->token >= 0 && result->token < rows->vocabulary &&
        !expected->not_finite) {
        print_error("    logits of the two tokens: %.9g, %.9g\n", (double)logits[result->token],
                    (double)logits[expected->token]);
    }
}

/* ---- Tests ---- */

static void equals_the_cpu(void **state)
{
    (void)state;
    static const int vocabularies[] = {1, 7, 97, 1000, 2049, 32000, 50257, 128256, 262144};
    static const int counts[] = {1, 3, MOST_ROWS};
    static struct sample_result result[MOST_ROWS], again[MOST_ROWS], expected[MOST_ROWS];
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_ROWS, MOST_ROWS);
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t v = 0; v < COUNT_OF(vocabularies); v++) {
        if (gpu_few() && vocabularies[v] != 97 && vocabularies[v] != 32000) {
            continue;
        }
        int compared = 0, first = 0;
        for (size_t c = 0; c < COUNT_OF(counts); c++, first += 11) {
            struct rows *rows = make_rows(counts[c], vocabularies[v], first, v);
            const size_t values = (size_t)counts[c] * (size_t)vocabularies[v];
            float *left = malloc(values * sizeof *left), *right = malloc(values * sizeof *right);
            assert_non_null(left);
            assert_non_null(right);
            sample_rows(cpu, rows, 0, counts[c], expected, left);
            sample_rows(gpu, rows, 0, counts[c], result, right);
            sample_rows(gpu, rows, 0, counts[c], again, NULL);
            for (int i = 0; i < counts[c]; i++) {
                const size_t at = (size_t)i * (size_t)vocabularies[v];
                expect_same("beside the CPU", rows, i, &result[i], &expected[i]);
                expect_same("a second time", rows, i, &again[i], &result[i]);
                if (!expected[i].not_finite &&
                    memcmp(left + at, right + at, (size_t)vocabularies[v] * sizeof(float)) != 0) {
                    failures++;
                    print_error("row %d of %d, vocabulary %d: other logits after penalties\n", i,
                                counts[c], vocabularies[v]);
                }
                compared++;
            }
            free(left);
            free(right);
            free_rows(rows);
        }
        print_message("vocabulary %d: %d rows compared, %d failures so far\n", vocabularies[v],
                      compared, failures);
    }
    gpu->operations->destroy(gpu);
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* Every shape under every setting, at one vocabulary that takes all ways through the kernel. */
static void every_shape_under_every_setting(void **state)
{
    (void)state;
    enum { VOCABULARY = 20011 };
    static struct sample_result result[MOST_ROWS], expected[MOST_ROWS];
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_ROWS, MOST_ROWS);
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (uint64_t seed = 0; seed < SHAPES; seed++) {
        if (gpu_leaves_out(seed, 0, 0)) {
            continue;
        }
        struct rows *rows = make_rows((int)COUNT_OF(settings), VOCABULARY, 0, seed);
        sample_rows(cpu, rows, 0, rows->count, expected, NULL);
        sample_rows(gpu, rows, 0, rows->count, result, NULL);
        for (int i = 0; i < rows->count; i++) {
            expect_same("beside the CPU", rows, i, &result[i], &expected[i]);
        }
        free_rows(rows);
    }
    gpu->operations->destroy(gpu);
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* By hand: the lowest of equal ids, in every place where reading changes its way. */
static void greedy_takes_the_lowest_of_equals(void **state)
{
    (void)state;
    enum { VOCABULARY = 40003, ROWS = 4 };
    static const int places[] = {0,    1,     3,     4,     127,   128,   511,           512,
                                 8191, 16384, 16385, 32767, 39999, 40001, VOCABULARY - 1};
    static float logits[ROWS * VOCABULARY];
    failures = 0;
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, 8, 8);
    for (size_t p = 0; p < COUNT_OF(places); p++) {
        if (gpu_leaves_out(p, 0, 0)) {
            continue;
        }
        struct sampling params[2] = {plain, plain};
        params[1].temperature = 1;
        params[1].top_k = 1;
        struct sample_request requests[ROWS];
        struct sample_result results[ROWS];
        for (int row = 0; row < ROWS; row++) { /* rows of an odd width start at all alignments */
            for (int id = 0; id < VOCABULARY; id++) {
                logits[row * VOCABULARY + id] = id >= places[p] ? -1.5f : -INFINITY;
            }
            requests[row] = (struct sample_request){.params = &params[row % 2]};
        }
        struct device_buffer *buffer = gpu_buffer(gpu, logits, COUNT_OF(logits), DTYPE_FLOAT32);
        check(gpu->operations->sample(gpu, buffer, ROWS, VOCABULARY, requests, results));
        gpu->operations->buffer_destroy(gpu, buffer);
        for (int row = 0; row < ROWS; row++) {
            if (results[row].token != places[p] || results[row].not_finite) {
                failures++;
                print_error("lowest of equals, row %d: %d, expected %d\n", row, results[row].token,
                            places[p]);
            }
        }
    }
    gpu->operations->destroy(gpu);
    assert_int_equal(failures, 0);
}

/* Rows with a NaN or an infinity, or nothing but -inf, are told and leave the others alone. */
static void not_finite_is_told(void **state)
{
    (void)state;
    enum { VOCABULARY = 30011, ROWS = 34 };
    static const int places[] = {0, 5, 513, 16000, VOCABULARY - 1};
    static const float bad[] = {NAN, INFINITY, -NAN};
    static struct sample_result clean[ROWS], result[ROWS];
    failures = 0;
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, ROWS, ROWS);
    struct rows *rows = make_rows(ROWS, VOCABULARY, 0, 0);
    sample_rows(gpu, rows, 0, ROWS, clean, NULL);
    for (int row = 1; row < ROWS; row += 2) {
        float *logits = rows->logits + (size_t)row * VOCABULARY;
        if (row % 8 == 7) {
            for (int id = 0; id < VOCABULARY; id++) {
                logits[id] = -INFINITY;
            }
        } else {
            logits[places[row % (int)COUNT_OF(places)]] = bad[row % (int)COUNT_OF(bad)];
        }
    }
    sample_rows(gpu, rows, 0, ROWS, result, NULL);
    for (int row = 0; row < ROWS; row++) {
        if (row % 2 == 0) {
            expect_same("beside rows that are not finite", rows, row, &result[row], &clean[row]);
        } else if (!result[row].not_finite) {
            failures++;
            print_error("row %d is not finite, and its token is %d\n", row, result[row].token);
        }
    }
    free_rows(rows);
    gpu->operations->destroy(gpu);
    assert_int_equal(failures, 0);
}

/* A row alone, in another place and in other company: other alignments, other launches. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    static const int vocabularies[] = {1001, 32000, 128257};
    static const struct {
        int first, count;
    } parts[] = {{0, 1}, {63, 1}, {30, 1}, {5, 7}, {17, 33}, {1, 63}};
    static struct sample_result whole[MOST_ROWS], part[MOST_ROWS];
    failures = 0;
    for (size_t v = 0; v < COUNT_OF(vocabularies); v++) {
        struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
        struct rows *rows = make_rows(MOST_ROWS, vocabularies[v], 3, 5);
        sample_rows(gpu, rows, 0, MOST_ROWS, whole, NULL);
        for (size_t p = 0; p < COUNT_OF(parts); p++) {
            sample_rows(gpu, rows, parts[p].first, parts[p].count, part, NULL);
            for (int i = 0; i < parts[p].count; i++) {
                expect_same("in smaller company", rows, parts[p].first + i, &part[i],
                            &whole[parts[p].first + i]);
            }
        }
        free_rows(rows);
        gpu->operations->destroy(gpu);
    }
    assert_int_equal(failures, 0);
}

/* Pearson's statistic of draws at many positions; the bound is the mean of the chi-square
 * distribution and 5 of its standard deviations. */
static void draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { VOCABULARY = 10, DRAWS = 20000, ROWS = 2000 };
    static const float logits[VOCABULARY] = {0.5f,      2,    -1,    2,    1.25f,
                                             -INFINITY, 0.0f, -0.5f, 1.0f, 0.5f};
    static const struct {
        double temperature;
        int top_k, kept;
    } cases[] = {{1, 0, VOCABULARY}, {0.5, 0, VOCABULARY}, {3, 0, VOCABULARY}, {1.5, 4, 4}};
    static const int order[VOCABULARY] = {1, 3, 4, 8, 0, 9, 6, 7, 2, 5}; /* by logit, then id */
    static float rows[ROWS * VOCABULARY];
    static struct sample_request requests[ROWS];
    static struct sample_result results[ROWS];
    failures = 0;
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, ROWS, ROWS);
    for (int i = 0; i < ROWS; i++) {
        memcpy(rows + i * VOCABULARY, logits, sizeof logits);
    }
    struct device_buffer *buffer = gpu_buffer(gpu, rows, COUNT_OF(rows), DTYPE_FLOAT32);
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct sampling params = plain;
        params.temperature = cases[c].temperature;
        params.top_k = cases[c].top_k;
        params.seed = 1000 + c;
        double probability[VOCABULARY] = {0}, sum = 0;
        for (int i = 0; i < cases[c].kept; i++) {
            probability[order[i]] = exp(logits[order[i]] / params.temperature);
            sum += probability[order[i]];
        }
        int counts[VOCABULARY] = {0};
        for (int start = 0; start < DRAWS; start += ROWS) {
            for (int i = 0; i < ROWS; i++) {
                requests[i] =
                    (struct sample_request){.params = &params, .sample = 1, .position = start + i};
            }
            check(gpu->operations->sample(gpu, buffer, ROWS, VOCABULARY, requests, results));
            for (int i = 0; i < ROWS; i++) {
                assert_in_range(results[i].token, 0, VOCABULARY - 1);
                counts[results[i].token]++;
            }
        }
        double statistic = 0;
        int freedom = -1;
        for (int id = 0; id < VOCABULARY; id++) {
            const double expected = probability[id] / sum * DRAWS;
            if (expected > 0) {
                statistic += (counts[id] - expected) * (counts[id] - expected) / expected;
                freedom++;
            } else if (counts[id] > 0) {
                failures++;
                print_error("case %zu: token %d was drawn %d times\n", c, id, counts[id]);
            }
        }
        print_message("draws, case %zu: chi-square %.2f with %d degrees of freedom\n", c, statistic,
                      freedom);
        if (statistic > freedom + 5 * sqrt(2.0 * freedom)) {
            failures++;
            print_error("case %zu: chi-square %g with %d degrees of freedom\n", c, statistic,
                        freedom);
        }
    }
    gpu->operations->buffer_destroy(gpu, buffer);
    gpu->operations->destroy(gpu);
    assert_int_equal(failures, 0);
}

/* What is wrong is said, and the backend samples on. */
static void errors_are_told(void **state)
{
    (void)state;
    struct backend *gpu = gpu_backend("cuda", DTYPE_BFLOAT16, 8, 8);
    struct rows *rows = make_rows(1, 97, 0, 0);
    struct sample_result result;
    static const int32_t outside[] = {3, 97}, negative[] = {-1};
    struct device_buffer *buffer = gpu_buffer(gpu, rows->logits, 97, DTYPE_FLOAT32);
    const struct backend_operations *op = gpu->operations;
    struct sample_request request = rows->requests[0];
    rows->params[0].repetition_penalty = 2;
    assert_int_equal(op->sample(gpu, buffer, 1, 0, &request, &result), STATUS_INVALID);
    assert_int_equal(op->sample(gpu, buffer, 2, 97, &request, &result), STATUS_INTERNAL);
    request.history = outside;
    request.history_count = 2;
    assert_int_equal(op->sample(gpu, buffer, 1, 97, &request, &result), STATUS_INTERNAL);
    request.history = negative;
    request.history_count = 1;
    assert_int_equal(op->sample(gpu, buffer, 1, 97, &request, &result), STATUS_INTERNAL);
    assert_int_equal(op->sample(gpu, buffer, 0, 97, NULL, NULL), STATUS_OK);
    request.history_count = 0;
    static const struct logit_bias far[] = {{3, 1}, {97, 1}}, twice[] = {{3, 1}, {3, 1}};
    request.bias_count = 2;
    request.biases = far;
    assert_int_equal(op->sample(gpu, buffer, 1, 97, &request, &result), STATUS_INTERNAL);
    request.biases = twice;
    assert_int_equal(op->sample(gpu, buffer, 1, 97, &request, &result), STATUS_INTERNAL);
    request.bias_count = 0;
    check(op->sample(gpu, buffer, 1, 97, &request, &result));
    static const uint32_t nothing[4];
    request.allowed = nothing;
    check(op->sample(gpu, buffer, 1, 97, &request, &result));
    assert_true(result.not_finite);
    op->buffer_destroy(gpu, buffer);
    free_rows(rows);
    op->destroy(gpu);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_of_equals),
        cmocka_unit_test(equals_the_cpu),
        cmocka_unit_test(every_shape_under_every_setting),
        cmocka_unit_test(not_finite_is_told),
        cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
