/* SPDX-License-Identifier: Apache-2.0 */
/* Plans that are made while a step is open: whom they hold, what stands in for tokens that are not
 * drawn yet, and what becomes of a sequence that ends meanwhile. That no answer changes is tested
 * in engine_test.c. */
#include "engine_fake.h"

enum { END = 5, PROMPT = 6, BLOCK = 4 };

static const int32_t ends[] = {END};

static struct engine_options usual_options(void)
{
    return (struct engine_options){.max_sequences = 2,
                                   .max_batch_tokens = 32,
                                   .kv_blocks = 40,
                                   .kv_block_tokens = BLOCK,
                                   .max_model_len = 32,
                                   .steps_in_flight = 1,
                                   .plans_ahead = true,
                                   .ends = ends,
                                   .end_count = 1};
}

static struct engine *make_engine(const struct engine_options *options)
{
    struct engine *engine;
    assert_int_equal(engine_create(options, &engine), STATUS_OK);
    return engine;
}

static const int32_t prompt[PROMPT] = {11, 12, 13, 14, 15, 16};

static void add(struct engine *engine, int64_t row, int new_tokens, size_t first_scored)
{
    struct generate_params params = {
        .max_new_tokens = new_tokens,
        .samples = 1,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    if (first_scored > 0) {
        params.task = TASK_SCORE;
        assert_int_equal(engine_add_scored(engine, row, prompt, PROMPT, first_scored, &params,
                                           FAKE_VOCABULARY, NULL),
                         STATUS_OK);
        return;
    }
    assert_int_equal(engine_add(engine, row, prompt, PROMPT, &params, FAKE_VOCABULARY, NULL),
                     STATUS_OK);
}

static struct step_plan *plan(struct engine *engine)
{
    struct step_plan *out;
    assert_int_equal(engine_plan_step(engine, &out), STATUS_OK);
    return out;
}

/* The step draws these tokens. */
static void complete(struct engine *engine, struct step_plan *step, int32_t first, int32_t second)
{
    const struct sample_result results[] = {{.token = first}, {.token = second}};
    assert_int_equal(engine_await_requests(engine, step), STATUS_OK);
    assert_int_equal(engine_complete_step(engine, step, results), STATUS_OK);
}

static void tokens_to_come_are_named_by_their_output(void **state)
{
    (void)state;
    const struct engine_options options = usual_options();
    struct engine *engine = make_engine(&options);
    add(engine, 0, 8, 0);
    add(engine, 1, 8, 0);
    struct step_plan *open = plan(engine), *ahead = plan(engine);
    assert_int_equal(open->batch.tokens, 2 * PROMPT);
    assert_int_equal(ahead->batch.tokens, 2);
    assert_int_equal(ahead->batch.decodes, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ahead->batch.token_ids[i], batch_drawn(i));
        assert_int_equal(ahead->batch.positions[i], PROMPT);
        assert_int_equal(ahead->batch.context_length[i], PROMPT + 1);
    }
    assert_null(plan(engine)); /* one more at most */
    complete(engine, open, 20, 21);
    assert_int_equal(engine_await_requests(engine, ahead), STATUS_OK);
    assert_int_equal(ahead->requests[0].position, 1);
    assert_int_equal(ahead->requests[1].position, 1);
    engine_destroy(engine);
}

static void who_is_sure_to_end_gives_its_place_away(void **state)
{
    (void)state;
    const struct engine_options options = usual_options();
    struct engine *engine = make_engine(&options);
    add(engine, 0, 1, 0);
    add(engine, 1, 8, 0);
    add(engine, 2, 8, 0); /* no place for it yet */
    struct step_plan *open = plan(engine), *ahead = plan(engine);
    assert_int_equal(open->batch.sequences, 2);
    assert_int_equal(ahead->batch.sequences, 2);
    assert_int_equal(ahead->batch.token_ids[0], batch_drawn(1));
    assert_int_equal(ahead->batch.tokens, 1 + PROMPT);
    assert_int_equal(engine_counters(engine).running, 2);
    complete(engine, open, 20, 21);
    struct finished_sample *sample = engine_next_finished(engine);
    assert_non_null(sample);
    assert_int_equal(sample->row, 0);
    engine_release(engine, sample);
    assert_int_equal(engine_counters(engine).running, 2);
    engine_destroy(engine);
}

static void who_has_ended_stays_for_the_step_ahead(void **state)
{
    (void)state;
    const struct engine_options options = usual_options();
    struct engine *engine = make_engine(&options);
    add(engine, 0, 8, 0);
    add(engine, 1, 8, 0);
    struct step_plan *open = plan(engine), *ahead = plan(engine);
    complete(engine, open, END, 21);
    assert_null(engine_next_finished(engine)); /* its blocks are in use */
    struct step_plan *next = plan(engine);
    assert_int_equal(next->batch.sequences, 1);
    assert_int_equal(next->batch.token_ids[0], batch_drawn(1));
    complete(engine, ahead, 30, 31);
    struct finished_sample *sample = engine_next_finished(engine);
    assert_non_null(sample);
    assert_int_equal(sample->row, 0);
    assert_int_equal(sample->reason, FINISH_STOP);
    assert_int_equal(sample->completion_tokens, 1); /* what was drawn in vain is not there */
    assert_int_equal(sample->token_ids[0], END);
    engine_release(engine, sample);
    assert_int_equal(engine_counters(engine).output_tokens, 3);
    assert_int_equal(engine_unfinished(engine), 1);
    complete(engine, next, END, 0);
    engine_destroy(engine);
}

static void what_is_not_foreseen_waits(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    struct engine *engine = make_engine(&options);
    add(engine, 0, 1, 2); /* given tokens */
    struct step_plan *open = plan(engine);
    assert_non_null(open);
    add(engine, 1, 8, 0);
    assert_null(plan(engine));
    engine_destroy(engine);

    options.kv_blocks = 8; /* of one sequence at its longest */
    engine = make_engine(&options);
    for (int i = 0; i < 2; i++) {
        add(engine, i, 26, 0);
    }
    int refused = 0;
    for (int i = 0; i < 40 && engine_unfinished(engine) > 0; i++) {
        open = plan(engine);
        assert_non_null(open);
        struct step_plan *ahead = plan(engine);
        refused += ahead == NULL && open->batch.sequences == 2;
        complete(engine, open, 20, 21);
        if (ahead != NULL) {
            complete(engine, ahead, 20, 21);
        }
    }
    assert_true(refused > 0);
    assert_true(engine_counters(engine).preemptions > 0);
    engine_destroy(engine);

    options = usual_options();
    options.long_rope_threshold = PROMPT;
    engine = make_engine(&options);
    add(engine, 0, 8, 0);
    open = plan(engine);
    assert_null(plan(engine)); /* its first token makes all keys others */
    complete(engine, open, 20, 0);
    assert_non_null(plan(engine));
    assert_non_null(plan(engine));
    engine_destroy(engine);
}

static void a_pipeline_has_no_step_ahead(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    options.steps_in_flight = 2;
    assert_int_equal(engine_check_options(&options), STATUS_INVALID);
    options.plans_ahead = false;
    assert_int_equal(engine_check_options(&options), STATUS_OK);
}

/* Ends with two steps open, one of them with a sequence that is over. The sanitizers look. */
static void destroyed_with_open_steps(void **state)
{
    (void)state;
    const struct engine_options options = usual_options();
    for (int steps = 0; steps < 6; steps++) {
        struct engine *engine = make_engine(&options);
        for (int i = 0; i < 5; i++) {
            add(engine, i, 3 + i, 0);
        }
        struct step_plan *open = plan(engine);
        for (int i = 0; i < steps; i++) {
            struct step_plan *ahead = plan(engine);
            complete(engine, open, i == 2 ? END : 20, 21);
            open = ahead != NULL ? ahead : plan(engine);
        }
        (void)plan(engine);
        engine_destroy(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_to_come_are_named_by_their_output),
        cmocka_unit_test(who_is_sure_to_end_gives_its_place_away),
        cmocka_unit_test(who_has_ended_stays_for_the_step_ahead),
        cmocka_unit_test(what_is_not_foreseen_waits),
        cmocka_unit_test(a_pipeline_has_no_step_ahead),
        cmocka_unit_test(destroyed_with_open_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
