/* SPDX-License-Identifier: Apache-2.0 */
/* An engine at work with each of its allocations failing in turn: the call says so, and what was
 * there is given back. */
#include "engine_fake.h"
#include "failing/failing.h"

enum { MODEL_LEN = 60, STEPS = 400, SEQUENCES = 6, WIDTH = 3 };

static const int32_t ends[] = {7};
static const char *const pieces[FAKE_VOCABULARY] = {"a", "b", "<c", "d ", "e", "f", "gh", "i"};
static struct tokenizer tokenizer;
static struct engine_options options;
static struct fake_device device;

/* Rows that have all that a row may have, two at once of each. */
static status add_rows(struct engine *engine)
{
    static const int32_t prompt[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, allowed[] = {1, 2, 3, 4};
    static const struct logit_bias biases[] = {{3, 1}, {4, -1}};
    struct generate_params params = {
        .max_new_tokens = 9,
        .samples = 3,
        .stop_count = 1,
        .stop = {"zz"},
        .stop_id_count = 1,
        .stop_ids = {90},
        .min_tokens = 2,
        .allowed_id_count = COUNT_OF(allowed),
        .allowed_ids = allowed,
        .bias_count = COUNT_OF(biases),
        .biases = biases,
        .sampling = {.top_p = 1, .repetition_penalty = 1.1, .logprobs = 2}};
    for (int row = 0; row < 2; row++) {
        TRY(engine_add(engine, row, prompt, COUNT_OF(prompt), &params, FAKE_VOCABULARY, NULL));
    }
    params = (struct generate_params){
        .task = TASK_SCORE, .max_new_tokens = 1, .samples = 1, .sampling = {.logprobs = 1}};
    return engine_add_scored(engine, 2, prompt, COUNT_OF(prompt), 2, &params, FAKE_VOCABULARY,
                             NULL);
}

static status add_texts(struct engine *engine)
{
    static const int32_t prompt[] = {1, 2, 3};
    const struct generate_params params = {.task = TASK_EMBED, .max_new_tokens = 1, .samples = 1};
    return engine_add(engine, 0, prompt, COUNT_OF(prompt), &params, FAKE_VOCABULARY, NULL);
}

static status run_step(struct engine *engine)
{
    static struct sample_result results[SEQUENCES];
    struct step_plan *plan;
    TRY(engine_plan_step(engine, &plan));
    assert_non_null(plan);
    TRY(engine_await_requests(engine, plan));
    if (options.embedding_width > 0) {
        memset(plan->embeddings, 0, WIDTH * sizeof(float));
    } else {
        fake_run(&device, plan, results);
    }
    TRY(engine_complete_step(engine, plan, results));
    struct finished_sample *sample = engine_next_finished(engine);
    if (sample != NULL) { /* others are left to the engine's end */
        engine_release(engine, sample);
    }
    return STATUS_OK;
}

static status run_all(struct engine *engine)
{
    TRY(options.embedding_width > 0 ? add_texts(engine) : add_rows(engine));
    for (int step = 0; engine_unfinished(engine) > 0; step++) {
        assert_in_range(step, 0, STEPS);
        TRY(run_step(engine));
    }
    return STATUS_OK;
}

static status act(void *context)
{
    (void)context;
    struct engine *engine;
    TRY(engine_create(&options, &engine));
    status s = run_all(engine);
    engine_destroy(engine);
    return s;
}

static void walk(const char *name)
{
    const struct failing_walk how = {.name = name,
                                     .kinds = FAIL_MEMORY | FAIL_ARENA | FAIL_THREAD,
                                     .act = act,
                                     .optional = FAIL_THREAD};
    device = fake_create(&options);
    assert_true(failing_walk(&how) > 10);
    fake_destroy(&device);
}

static void rows_of_all_kinds(void **state)
{
    (void)state;
    tokenizer = (struct tokenizer){pieces, FAKE_VOCABULARY};
    options = (struct engine_options){.max_sequences = SEQUENCES,
                                      .max_batch_tokens = 16,
                                      .kv_blocks = 40,
                                      .kv_block_tokens = 4,
                                      .max_model_len = MODEL_LEN,
                                      .steps_in_flight = 1,
                                      .prefix_cache = true,
                                      .tokenizer = &tokenizer,
                                      .ends = ends,
                                      .end_count = 1};
    walk("rows");
    options.steps_in_flight = 2;
    options.prefix_cache = false;
    options.kv_blocks = 15; /* sequences are preempted */
    options.admission = ADMIT_BY_ROOM;
    walk("rows in a small cache");
}

static void embeddings(void **state)
{
    (void)state;
    options = (struct engine_options){.max_sequences = SEQUENCES,
                                      .max_batch_tokens = MODEL_LEN,
                                      .kv_blocks = 40,
                                      .kv_block_tokens = 4,
                                      .max_model_len = MODEL_LEN,
                                      .steps_in_flight = 1,
                                      .embedding_width = WIDTH};
    walk("embeddings");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_all_kinds),
        cmocka_unit_test(embeddings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
