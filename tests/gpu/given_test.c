/* SPDX-License-Identifier: Apache-2.0 */
/* What scoring and encoders ask of the CUDA backend, beside the CPU's: log-probabilities of given
 * tokens, added positions, norms that the residual takes. */
#include "gpu/gpu_fixture.h"

static int failures;

static void expect(bool right, const char *what, const char *type, double figure)
{
    if (!right) {
        failures++;
        print_error("%s in %s: %g\n", what, type, figure);
    }
}

enum { TOKENS = 21, HIDDEN = 72, ROWS = 40, OFFSET = 2 };

static void begin_step(struct backend *backend)
{
    static int32_t ids[TOKENS], positions[TOKENS], blocks[TOKENS];
    static int32_t start[2] = {0, TOKENS}, context = TOKENS;
    static struct batch batch;
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (7 * i + 3) % ROWS;
        positions[i] = i;
    }
    batch = (struct batch){.tokens = TOKENS,
                           .sequences = 1,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = TOKENS};
    check(backend->operations->step_begin(backend, &batch));
}

static struct matrix *make_table(struct backend *backend, const float *values)
{
    struct matrix *matrix;
    const struct backend_operations *op = backend->operations;
    check(op->matrix_create(backend, 1, ROWS, HIDDEN, NULL, 0, WEIGHT_FLOAT32, &matrix));
    check(op->matrix_write(
        backend, matrix, 0, 0, ROWS,
        &(const struct weight_rows){.data = values, .format = WEIGHT_FLOAT32, .stride = HIDDEN}));
    check(op->matrix_finish(backend, matrix));
    return matrix;
}

static const struct {
    const char *name;
    enum dtype compute;
    double most; /* distance of what is in the activation type */
} types[] = {{"float32", DTYPE_FLOAT32, 1e-6},
             {"bfloat16", DTYPE_BFLOAT16, 4e-3},
             {"float16", DTYPE_FLOAT16, 6e-4}};

/* Token and position added up, then a layer norm that the residual takes. */
static void encoders_begin_right(void **state)
{
    (void)state;
    static float table[ROWS * HIDDEN], positions[ROWS * HIDDEN], weight[HIDDEN], bias[HIDDEN];
    static float sum[2][TOKENS * HIDDEN], stream[2][TOKENS * HIDDEN], normed[2][TOKENS * HIDDEN];
    const struct norm_facts facts = {.epsilon = 1e-12f, .layer_norm = true, .in_place = true};
    failures = 0;
    gpu_random(table, COUNT_OF(table), 1, 1.0f);
    gpu_random(positions, COUNT_OF(positions), 2, 0.5f);
    gpu_random(weight, COUNT_OF(weight), 3, 1.0f);
    gpu_random(bias, COUNT_OF(bias), 4, 1.0f);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        gpu_round(table, COUNT_OF(table), types[t].compute); /* tables are kept in that type */
        gpu_round(positions, COUNT_OF(positions), types[t].compute);
        for (int side = 0; side < 2; side++) {
            struct backend *backend = gpu_backend(
                side == 0 ? "cpu" : "cuda", side == 0 ? DTYPE_FLOAT32 : types[t].compute, 64, 64);
            const struct backend_operations *op = backend->operations;
            const enum dtype act = op->activation_dtype(backend);
            struct matrix *tokens = make_table(backend, table);
            struct matrix *places = make_table(backend, positions);
            struct vector *scale, *shift;
            check(op->vector_create(backend, HIDDEN, weight, &scale));
            check(op->vector_create(backend, HIDDEN, bias, &shift));
            begin_step(backend);
            struct device_buffer *residual =
                gpu_buffer(backend, NULL, TOKENS * HIDDEN, DTYPE_FLOAT32);
            struct device_buffer *out = gpu_buffer(backend, NULL, TOKENS * HIDDEN, act);
            check(op->embed(backend, tokens, 0, 1.0f, residual));
            check(op->embed_positions(backend, places, OFFSET, residual));
            gpu_values(backend, residual, TOKENS * HIDDEN, DTYPE_FLOAT32, sum[side]);
            check(op->norm(backend, &facts, scale, shift, residual, HIDDEN, NULL, out));
            gpu_values(backend, residual, TOKENS * HIDDEN, DTYPE_FLOAT32, stream[side]);
            gpu_values(backend, out, TOKENS * HIDDEN, act, normed[side]);
            op->buffer_destroy(backend, residual);
            op->buffer_destroy(backend, out);
            op->vector_destroy(backend, scale);
            op->vector_destroy(backend, shift);
            op->matrix_destroy(backend, tokens);
            op->matrix_destroy(backend, places);
            op->destroy(backend);
        }
        const char *name = types[t].name;
        double error = gpu_distance(sum[1], sum[0], COUNT_OF(sum[0]));
        print_message("%s: token and position %.2e, ", name, error);
        expect(error < 1e-7, "token and position", name, error);
        error = gpu_distance(stream[1], stream[0], COUNT_OF(stream[0]));
        print_message("residual %.2e, ", error);
        expect(error < 1e-6, "residual that takes the norm", name, error);
        error = gpu_distance(normed[1], stream[0], COUNT_OF(stream[0]));
        print_message("norm %.2e\n", error);
        expect(error < types[t].most, "norm", name, error);
    }
    assert_int_equal(failures, 0);
}

/* The same bits as on the CPU, beside rows that draw. */
static void given_tokens_are_scored(void **state)
{
    (void)state;
    enum { VOCABULARY = 5003, COUNT = 12 };
    static float logits[COUNT * VOCABULARY];
    struct sample_result results[2][COUNT];
    struct sample_request requests[COUNT];
    struct sampling scoring = {.top_p = 1, .repetition_penalty = 1.5, .logprobs = -1};
    struct sampling tops = scoring, drawing = scoring;
    static const int32_t history[] = {3, 4, 5};
    tops.logprobs = 4;
    drawing.temperature = 0.8;
    failures = 0;
    gpu_random(logits, COUNT_OF(logits), 9, 3.0f);
    logits[5 * VOCABULARY + 77] = NAN;
    for (int i = 0; i < COUNT; i++) {
        requests[i] = (struct sample_request){.params = i % 3 == 0   ? &scoring
                                                        : i % 3 == 1 ? &tops
                                                                     : &drawing,
                                              .is_scored = i % 4 != 3,
                                              .scored = i * 401,
                                              .history = history,
                                              .history_count = 3,
                                              .prompt_count = 3};
    }
    for (int side = 0; side < 2; side++) {
        struct backend *backend = gpu_backend(
            side == 0 ? "cpu" : "cuda", side == 0 ? DTYPE_FLOAT32 : DTYPE_BFLOAT16, COUNT, COUNT);
        struct device_buffer *buffer = gpu_buffer(backend, logits, COUNT_OF(logits), DTYPE_FLOAT32);
        check(backend->operations->sample(backend, buffer, COUNT, VOCABULARY, requests,
                                          results[side]));
        backend->operations->buffer_destroy(backend, buffer);
        backend->operations->destroy(backend);
    }
    for (int i = 0; i < COUNT; i++) {
        const struct sample_result *cpu = &results[0][i], *gpu = &results[1][i];
        bool same = cpu->not_finite == gpu->not_finite;
        if (same && !cpu->not_finite) {
            same = cpu->token == gpu->token && cpu->top_count == gpu->top_count &&
                   memcmp(&cpu->logprob, &gpu->logprob, sizeof cpu->logprob) == 0 &&
                   memcmp(cpu->top_ids, gpu->top_ids, sizeof cpu->top_ids) == 0;
        }
        if (!same) {
            failures++;
            print_error("row %d, scored %d: CPU token %d, %.9g, %d tops, not finite %d; GPU token "
                        "%d, %.9g, %d tops, not finite %d\n",
                        i, requests[i].is_scored, cpu->token, (double)cpu->logprob, cpu->top_count,
                        cpu->not_finite, gpu->token, (double)gpu->logprob, gpu->top_count,
                        gpu->not_finite);
        }
        if (requests[i].is_scored && !gpu->not_finite && gpu->token != requests[i].scored) {
            failures++;
            print_error("row %d: token %d in place of %d\n", i, gpu->token, requests[i].scored);
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_begin_right),
        cmocka_unit_test(given_tokens_are_scored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
