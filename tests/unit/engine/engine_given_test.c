/* SPDX-License-Identifier: Apache-2.0 */
/* Rows whose tokens are all given: scored and embedded ones, with a fake device. */
#include "engine_fake.h"

#include <math.h>

enum { ROWS = 40, MAX_TOKENS = 90, BLOCK_TOKENS = 4, WIDTH = 3 };

struct given_row {
    int32_t tokens[MAX_TOKENS];
    int count, first_scored;
    bool seen;
};

static const struct generate_params scoring = {
    .task = TASK_SCORE,
    .max_new_tokens = 8,
    .samples = 1,
    .sampling = {.top_p = 1, .repetition_penalty = 1.5, .logprobs = -1}};

static struct engine_options usual_options(void)
{
    return (struct engine_options){.max_sequences = 7,
                                   .max_batch_tokens = 96,
                                   .kv_blocks = 400,
                                   .kv_block_tokens = BLOCK_TOKENS,
                                   .max_model_len = MAX_TOKENS,
                                   .steps_in_flight = 1,
                                   .prefix_cache = true};
}

/* A third of them begin with the same 24 tokens; two fill the context. */
static void make_rows(struct given_row *rows)
{
    for (int i = 0; i < ROWS; i++) {
        struct given_row *row = &rows[i];
        *row = (struct given_row){.count = i % 20 == 3 ? MAX_TOKENS
                                                       : 2 + (int)(fake_mix(1, (uint64_t)i) % 80)};
        for (int j = 0; j < row->count; j++) {
            uint64_t key = i % 3 == 0 && j < 24 ? 0 : i % 8 == 5 ? 5 : (uint64_t)i;
            row->tokens[j] = (int32_t)(fake_mix(key, (uint64_t)j) % FAKE_VOCABULARY);
        }
        row->first_scored =
            i % 4 == 0 ? 1 : 1 + (int)(fake_mix(9, (uint64_t)i) % (uint64_t)(row->count - 1));
    }
}

static void check_scores(const struct engine_options *options, const struct given_row *row,
                         const struct finished_sample *sample)
{
    bool long_rope = options->long_rope_threshold > 0 && row->count > options->long_rope_threshold;
    assert_int_equal(sample->reason, FINISH_STOP);
    assert_int_equal(sample->prompt_tokens, row->first_scored);
    assert_int_equal(sample->completion_tokens, row->count - row->first_scored);
    assert_memory_equal(sample->token_ids, row->tokens + row->first_scored,
                        (size_t)sample->completion_tokens * sizeof *row->tokens);
    assert_non_null(sample->logprobs);
    uint64_t chain = 0;
    for (int i = 0; i + 1 < row->count; i++) {
        chain = fake_chain(chain, row->tokens[i], i, long_rope);
        if (i + 1 >= row->first_scored) {
            assert_true(sample->logprobs[i + 1 - row->first_scored] ==
                        fake_score(chain, row->tokens[i + 1]).logprob);
        }
    }
}

/* The same scores for every size of cache, step and batch; plans in flight, in any order. */
static void score_all(const struct engine_options *options, struct given_row *rows)
{
    struct engine *engine;
    assert_int_equal(engine_create(options, &engine), STATUS_OK);
    struct fake_device device = fake_create(options);
    struct step_plan *plans[4];
    struct sample_result *results[4];
    int open = 0, added = 0, finished = 0;
    for (int i = 0; i < 4; i++) {
        results[i] = calloc((size_t)options->max_sequences, sizeof *results[i]);
        assert_non_null(results[i]);
    }
    while (finished < ROWS) {
        for (int i = 0; i < 5 && added < ROWS; i++, added++) {
            assert_int_equal(engine_add_scored(engine, added, rows[added].tokens,
                                               (size_t)rows[added].count,
                                               (size_t)rows[added].first_scored, &scoring,
                                               FAKE_VOCABULARY, &rows[added]),
                             STATUS_OK);
        }
        struct step_plan *plan = NULL;
        do {
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            if (plan != NULL) {
                assert_in_range(plan->batch.tokens, 1, options->max_batch_tokens);
                assert_true(plan->batch.outputs <= options->max_sequences);
                fake_run(&device, plan, results[open]);
                plans[open++] = plan;
            }
        } while (plan != NULL && open < options->steps_in_flight);
        assert_true(open > 0);
        assert_int_equal(engine_complete_step(engine, plans[0], results[0]), STATUS_OK);
        struct sample_result *first = results[0];
        open--;
        memmove(plans, plans + 1, (size_t)open * sizeof(struct step_plan *));
        memmove(results, results + 1, (size_t)open * sizeof *results);
        results[open] = first;
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            struct given_row *row = sample->tag;
            assert_false(row->seen);
            row->seen = true;
            check_scores(options, row, sample);
            engine_release(engine, sample);
            finished++;
        }
    }
    assert_int_equal(engine_counters(engine).blocks_used, 0);
    engine_destroy(engine);
    fake_destroy(&device);
    for (int i = 0; i < 4; i++) {
        free(results[i]);
    }
}

static void scores_depend_on_the_row_alone(void **state)
{
    (void)state;
    static struct given_row rows[ROWS];
    static const int sequences[] = {1, 7, 64};
    static const int batch_tokens[] = {1, 13, 512};
    static const int blocks[] = {(MAX_TOKENS + BLOCK_TOKENS - 1) / BLOCK_TOKENS, 50, 2000};
    for (int combination = 0; combination < 3 * 3 * 3 * 2 * 3 * 2; combination++) {
        struct engine_options options = usual_options();
        int rest = combination;
        options.max_sequences = sequences[rest % 3];
        rest /= 3;
        options.max_batch_tokens = batch_tokens[rest % 3] > options.max_sequences
                                       ? batch_tokens[rest % 3]
                                       : options.max_sequences;
        rest /= 3;
        options.kv_blocks = blocks[rest % 3];
        rest /= 3;
        options.prefix_cache = rest % 2;
        rest /= 2;
        options.steps_in_flight = 1 + rest % 3;
        options.long_rope_threshold = rest / 3 == 1 ? 40 : 0;
        make_rows(rows);
        score_all(&options, rows);
    }
}

/* A cached prefix is used as far as no scored token needs its logits. */
static void scored_tokens_are_computed_again(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    options.max_sequences = 64;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[64];
    static struct given_row rows[ROWS];
    make_rows(rows);
    const struct given_row *row = &rows[3]; /* the whole context */
    static const int first_scored[] = {1, 41, 42};
    static const int cached[] = {0, 40, 40};
    int64_t before = 0;
    for (size_t i = 0; i < COUNT_OF(cached); i++) {
        assert_int_equal(engine_add_scored(engine, (int64_t)i, row->tokens, MAX_TOKENS,
                                           (size_t)first_scored[i], &scoring, FAKE_VOCABULARY,
                                           NULL),
                         STATUS_OK);
        while (engine_unfinished(engine) > 0) {
            struct step_plan *plan;
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            assert_non_null(plan);
            fake_run(&device, plan, results);
            assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
            struct finished_sample *sample;
            while ((sample = engine_next_finished(engine)) != NULL) {
                engine_release(engine, sample);
            }
        }
        struct engine_counters counters = engine_counters(engine);
        assert_int_equal(counters.cached_prompt_tokens - before, cached[i]);
        before = counters.cached_prompt_tokens;
    }
    engine_destroy(engine);
    fake_destroy(&device);
}

static void what_cannot_be_scored_is_refused(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    int32_t tokens[MAX_TOKENS + 1] = {0};
    struct generate_params twice = scoring;
    twice.samples = 2;
    struct generate_params generating = scoring;
    generating.task = TASK_GENERATE;
    struct generate_params embedding = scoring;
    embedding.task = TASK_EMBED; /* of an engine without embeddings */
    const struct {
        size_t count, first;
        const struct generate_params *params;
    } refused[] = {
        {5, 5, &scoring}, {5, 0, &scoring},    {1, 1, &scoring},   {MAX_TOKENS + 1, 1, &scoring},
        {5, 1, &twice},   {5, 1, &generating}, {5, 0, &embedding},
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_int_equal(engine_add_scored(engine, 0, tokens, refused[i].count, refused[i].first,
                                           refused[i].params, FAKE_VOCABULARY, NULL),
                         STATUS_INVALID);
    }
    assert_int_equal(engine_unfinished(engine), 0);
    engine_destroy(engine);
}

static void wrong_and_not_finite_scores_are_told(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    for (int wrong = 0; wrong < 2; wrong++) {
        struct engine *engine;
        assert_int_equal(engine_create(&options, &engine), STATUS_OK);
        const int32_t tokens[] = {1, 2, 3, 4, 5};
        assert_int_equal(
            engine_add_scored(engine, 8, tokens, 5, 1, &scoring, FAKE_VOCABULARY, NULL), STATUS_OK);
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_int_equal(plan->batch.outputs, 4);
        struct sample_result results[4];
        for (int i = 0; i < 4; i++) {
            results[i] = (struct sample_result){.token = 2 + i, .logprob = -1};
        }
        results[2].not_finite = wrong == 0;
        results[2].token += wrong;
        assert_int_equal(engine_complete_step(engine, plan, results),
                         wrong ? STATUS_INTERNAL : STATUS_OK);
        if (!wrong) {
            struct finished_sample *sample = engine_next_finished(engine);
            assert_non_null(sample);
            assert_int_equal(sample->reason, FINISH_ERROR);
            assert_string_equal(sample->error,
                                "row 8: a NaN or an infinity among the logits before token 3");
            assert_int_equal(sample->completion_tokens, 2);
            engine_release(engine, sample);
        }
        engine_destroy(engine);
    }
}

/* A row whose text takes several steps ends with the first of them that has a NaN. The others of
 * the batch go on, and it holds no memory. */
static void a_nan_before_the_last_chunk_ends_its_row_alone(void **state)
{
    (void)state;
    enum { LENGTH = 24, CHUNK = 8 };
    static struct given_row rows[2];
    struct engine_options options = usual_options();
    options.max_sequences = 2;
    options.max_batch_tokens = CHUNK;
    options.prefix_cache = false;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    for (int i = 0; i < 2; i++) {
        rows[i] = (struct given_row){.count = LENGTH, .first_scored = 1};
        for (int j = 0; j < LENGTH; j++) {
            rows[i].tokens[j] = (i * 31 + j * 7) % FAKE_VOCABULARY;
        }
        assert_int_equal(engine_add_scored(engine, i, rows[i].tokens, LENGTH, 1, &scoring,
                                           FAKE_VOCABULARY, &rows[i]),
                         STATUS_OK);
    }
    for (int step = 0; engine_unfinished(engine) > 0; step++) {
        assert_in_range(step, 0, 2 * LENGTH);
        struct step_plan *plan;
        struct sample_result results[CHUNK];
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        fake_run(&device, plan, results);
        results[0].not_finite = step == 0; /* of the first row's first chunk */
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    }
    for (int i = 0; i < 2; i++) {
        struct finished_sample *sample = engine_next_finished(engine);
        assert_non_null(sample);
        if (sample->row == 0) {
            assert_int_equal(sample->reason, FINISH_ERROR);
            assert_string_equal(sample->error,
                                "row 0: a NaN or an infinity among the logits before token 1");
        } else {
            check_scores(&options, &rows[1], sample);
        }
        engine_release(engine, sample);
    }
    assert_int_equal(engine_counters(engine).blocks_used, 0);
    engine_destroy(engine);
    fake_destroy(&device);
}

/* ---- Embeddings ---- */

static float embedded_value(const struct given_row *row, int column)
{
    uint64_t chain = (uint64_t)column;
    for (int i = 0; i < row->count; i++) {
        chain = fake_chain(chain, row->tokens[i], i, false);
    }
    return (float)(chain >> 44);
}

/* Every row whole in one step, whatever the sizes; the embedding is the row's own. */
static void rows_are_embedded_whole(void **state)
{
    (void)state;
    static struct given_row rows[ROWS];
    static const int sequences[] = {1, 7, 64};
    static const int batch_tokens[] = {MAX_TOKENS, 200};
    for (int combination = 0; combination < 3 * 2 * 2 * 2; combination++) {
        struct engine_options options = usual_options();
        options.max_sequences = sequences[combination % 3];
        options.max_batch_tokens = batch_tokens[combination / 3 % 2];
        options.kv_blocks = combination / 6 % 2 ? 2000 : 30;
        options.steps_in_flight = 1 + combination / 12;
        options.prefix_cache = false;
        options.embedding_width = WIDTH;
        struct engine *engine;
        assert_int_equal(engine_create(&options, &engine), STATUS_OK);
        make_rows(rows);
        struct generate_params params = scoring;
        params.task = TASK_EMBED;
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(engine_add(engine, i, rows[i].tokens, (size_t)rows[i].count, &params,
                                        FAKE_VOCABULARY, &rows[i]),
                             STATUS_OK);
        }
        int finished = 0;
        while (finished < ROWS) {
            struct step_plan *plan;
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            assert_non_null(plan);
            const struct batch *batch = &plan->batch;
            assert_int_equal(batch->outputs, 0);
            assert_true(batch->tokens <= options.max_batch_tokens);
            for (int s = 0; s < batch->sequences; s++) {
                int first = batch->query_start[s];
                assert_int_equal(batch->positions[first], 0);
                struct given_row read = {.count = batch->query_start[s + 1] - first};
                memcpy(read.tokens, batch->token_ids + first,
                       (size_t)read.count * sizeof *read.tokens);
                for (int i = 0; i < WIDTH; i++) {
                    plan->embeddings[s * WIDTH + i] = embedded_value(&read, i);
                }
            }
            assert_int_equal(engine_complete_step(engine, plan, NULL), STATUS_OK);
            struct finished_sample *sample;
            while ((sample = engine_next_finished(engine)) != NULL) {
                const struct given_row *row = sample->tag;
                assert_int_equal(sample->reason, FINISH_STOP);
                assert_int_equal(sample->prompt_tokens, row->count);
                assert_int_equal(sample->completion_tokens, 0);
                for (int i = 0; i < WIDTH; i++) {
                    assert_true(sample->embedding[i] == embedded_value(row, i));
                }
                engine_release(engine, sample);
                finished++;
            }
        }
        assert_int_equal(engine_counters(engine).blocks_used, 0);
        engine_destroy(engine);
    }
}

static void embedding_options_and_values_are_checked(void **state)
{
    (void)state;
    struct engine *engine;
    struct engine_options options = usual_options();
    options.embedding_width = WIDTH;
    assert_int_equal(engine_create(&options, &engine), STATUS_INVALID); /* prefix cache */
    options.prefix_cache = false;
    options.max_batch_tokens = MAX_TOKENS - 1;
    assert_int_equal(engine_create(&options, &engine), STATUS_INVALID);
    options.max_batch_tokens = MAX_TOKENS;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    const int32_t tokens[] = {1, 2, 3};
    struct generate_params params = scoring;
    params.task = TASK_GENERATE;
    assert_int_equal(engine_add(engine, 3, tokens, 3, &params, FAKE_VOCABULARY, NULL),
                     STATUS_INVALID); /* there are no logits to draw from */
    params.task = TASK_EMBED;
    assert_int_equal(engine_add(engine, 4, tokens, 3, &params, FAKE_VOCABULARY, NULL), STATUS_OK);
    struct step_plan *plan;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    plan->embeddings[0] = plan->embeddings[1] = 1;
    plan->embeddings[2] = NAN;
    assert_int_equal(engine_complete_step(engine, plan, NULL), STATUS_OK);
    struct finished_sample *sample = engine_next_finished(engine);
    assert_non_null(sample);
    assert_int_equal(sample->reason, FINISH_ERROR);
    assert_string_equal(sample->error, "row 4: a NaN or an infinity in the embedding");
    assert_null(sample->embedding);
    engine_release(engine, sample);
    engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_depend_on_the_row_alone),
        cmocka_unit_test(scored_tokens_are_computed_again),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
        cmocka_unit_test(wrong_and_not_finite_scores_are_told),
        cmocka_unit_test(a_nan_before_the_last_chunk_ends_its_row_alone),
        cmocka_unit_test(rows_are_embedded_whole),
        cmocka_unit_test(embedding_options_and_values_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
