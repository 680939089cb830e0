/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as a whole with a fake device: what a row answers depends on the row alone. */
#include "engine_fake.h"

enum { ROWS = 48, MAX_PROMPT = 89, MAX_MODEL_LEN = 90, BLOCK_TOKENS = 4, MAX_SAMPLES = 5 };
enum { END_TOKEN = 7 };

struct test_row {
    int32_t prompt[MAX_PROMPT];
    int prompt_count;
    struct generate_params params;
};

struct answer {
    int32_t tokens[MAX_MODEL_LEN];
    struct sample_result results[MAX_MODEL_LEN];
    int count;
    enum finish_reason reason;
    bool seen;
};

static const int32_t ends[] = {END_TOKEN};

static const struct generate_params plain = {
    .max_new_tokens = 8,
    .samples = 1,
    .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};

static struct engine_options usual_options(void)
{
    return (struct engine_options){.max_sequences = 7,
                                   .max_batch_tokens = 64,
                                   .kv_blocks = 400,
                                   .kv_block_tokens = BLOCK_TOKENS,
                                   .max_model_len = MAX_MODEL_LEN,
                                   .steps_in_flight = 1,
                                   .prefix_cache = true,
                                   .half_tokens = 10,
                                   .ends = ends,
                                   .end_count = 1};
}

/* Rows of many lengths; a third of them begin with the same 24 tokens, some are equal. */
static void make_rows(struct test_row *rows)
{
    for (int i = 0; i < ROWS; i++) {
        struct test_row *row = &rows[i];
        *row = (struct test_row){.prompt_count = 1 + (int)(fake_mix(1, i) % MAX_PROMPT),
                                 .params = plain};
        for (int j = 0; j < row->prompt_count; j++) {
            uint64_t key = i % 3 == 0 && j < 24 ? 0 : i % 8 == 5 ? 5 : (uint64_t)i;
            row->prompt[j] = (int32_t)(fake_mix(key, (uint64_t)j) % FAKE_VOCABULARY);
        }
        row->params.max_new_tokens = i % 11 == 0 ? 1000 : 1 + (int)(fake_mix(2, i) % 30);
        row->params.sampling.stream = fake_mix(3, i);
        row->params.samples = i % 6 == 0 ? MAX_SAMPLES : 1 + i % 2;
        row->params.ignore_eos = i % 4 == 1;
        row->params.sampling.logprobs = i % 5 - 1;
        row->params.sampling.presence_penalty = i % 7 == 0;
        row->params.stop_id_count = i % 9 == 0;
        row->params.stop_ids[0] = 11;
    }
}

/* What must come out, computed without any engine. */
static void expect_answer(const struct engine_options *options, const struct test_row *row,
                          int32_t sample, struct answer *answer)
{
    int32_t tokens[MAX_MODEL_LEN];
    memcpy(tokens, row->prompt, (size_t)row->prompt_count * sizeof *tokens);
    *answer = (struct answer){.reason = FINISH_LENGTH};
    int count = row->prompt_count;
    while (answer->count < row->params.max_new_tokens && count < options->max_model_len) {
        bool long_rope = options->long_rope_threshold > 0 && count > options->long_rope_threshold;
        uint64_t chain = 0;
        for (int i = 0; i < count; i++) {
            chain = fake_chain(chain, tokens[i], i, long_rope);
        }
        struct sample_result next = fake_next(chain, sample, answer->count, &row->params.sampling);
        answer->results[answer->count] = next;
        answer->tokens[answer->count++] = tokens[count++] = next.token;
        if ((next.token == END_TOKEN && !row->params.ignore_eos) ||
            (row->params.stop_id_count > 0 && next.token == row->params.stop_ids[0])) {
            answer->reason = FINISH_STOP;
            break;
        }
    }
}

static void check_finished(const struct finished_sample *sample, const struct test_row *rows,
                           struct answer (*answers)[MAX_SAMPLES])
{
    assert_in_range(sample->row, 0, ROWS - 1);
    const struct test_row *row = &rows[sample->row];
    assert_in_range(sample->sample, 0, row->params.samples - 1);
    struct answer *answer = &answers[sample->row][sample->sample];
    assert_false(answer->seen);
    answer->seen = true;
    assert_ptr_equal(sample->tag, row);
    assert_int_equal(sample->reason, answer->reason);
    assert_null(sample->error);
    assert_int_equal(sample->text_length, 0);
    assert_string_equal(sample->text, "");
    assert_int_equal(sample->prompt_tokens, row->prompt_count);
    assert_int_equal(sample->completion_tokens, answer->count);
    assert_memory_equal(sample->token_ids, answer->tokens,
                        (size_t)answer->count * sizeof *answer->tokens);
    int top = row->params.sampling.logprobs;
    assert_int_equal(sample->logprobs != NULL, top >= 0);
    assert_int_equal(sample->top_ids != NULL, top > 0);
    assert_int_equal(sample->top_count, top > 0 ? top : 0);
    for (int i = 0; i < answer->count && top >= 0; i++) {
        assert_true(sample->logprobs[i] == answer->results[i].logprob);
        for (int j = 0; j < top; j++) {
            assert_int_equal(sample->top_ids[i * top + j], answer->results[i].top_ids[j]);
            assert_true(sample->top_logprobs[i * top + j] == answer->results[i].top_logprobs[j]);
        }
    }
}

/* Decodes come first, and halves are as large as they must be and no border between others is
 * nearer to the middle. */
static void check_cut(const struct engine_options *options, const struct batch *batch)
{
    const int32_t *start = batch->query_start;
    assert_in_range(batch->decodes, 0, batch->sequences);
    for (int s = 0; s < batch->decodes; s++) {
        assert_int_equal(start[s + 1] - start[s], 1);
    }
    int best = 0, best_distance = batch->tokens + 1;
    for (int s = 1; s < batch->sequences && options->half_tokens > 0; s++) {
        int left = start[s], right = batch->tokens - start[s];
        int smaller = left < right ? left : right;
        if (smaller >= options->half_tokens && abs(left - right) < best_distance) {
            best = s;
            best_distance = abs(left - right);
        }
    }
    assert_int_equal(batch->first_half, best);
}

static void check_plan(const struct engine_options *options, const struct step_plan *plan,
                       struct engine_counters counters)
{
    assert_in_range(plan->batch.tokens, 1, options->max_batch_tokens);
    assert_in_range(plan->batch.sequences, 1, options->max_sequences);
    assert_true(counters.running <= options->max_sequences);
    assert_true(counters.blocks_used <= options->kv_blocks);
    check_cut(options, &plan->batch);
}

static int64_t plans_ahead; /* made behind an open one, in all runs */

/* A plan goes to the device. One that is made behind another, which is open still, finds tokens
 * there that only the device knows, and is answered once that one is complete. */
static void run_plan(struct engine *engine, struct fake_device *device, struct step_plan *plan,
                     const struct sample_result *drawn, struct sample_result *results)
{
    fake_write(device, &plan->batch, drawn);
    if (drawn == NULL) {
        assert_int_equal(engine_await_requests(engine, plan), STATUS_OK);
        fake_answer(device, plan, results);
    }
}

static void answer_plan(struct engine *engine, const struct fake_device *device,
                        struct step_plan *plan, struct sample_result *results)
{
    assert_int_equal(engine_await_requests(engine, plan), STATUS_OK);
    fake_answer(device, plan, results);
}

/* Runs all rows under `options` and compares every answer. `shuffle`: plans complete in another
 * order than they were made in. */
static struct engine_counters run_all(const struct engine_options *options,
                                      const struct test_row *rows,
                                      struct answer (*answers)[MAX_SAMPLES], bool shuffle)
{
    struct engine *engine;
    assert_int_equal(engine_create(options, &engine), STATUS_OK);
    struct fake_device device = fake_create(options);
    struct {
        struct step_plan *plan;
        struct sample_result *results;
    } open[4] = {{0}};
    int open_count = 0, added = 0, finished = 0, expected = 0;
    for (int i = 0; i < 4; i++) {
        open[i].results = calloc((size_t)options->max_sequences, sizeof *open[i].results);
        assert_non_null(open[i].results);
    }
    uint64_t step = 0;
    do {
        /* Rows come in while others run. */
        for (int i = 0; i < 5 && added < ROWS; i++, added++) {
            assert_int_equal(engine_add(engine, added, rows[added].prompt,
                                        (size_t)rows[added].prompt_count, &rows[added].params,
                                        FAKE_VOCABULARY, (void *)&rows[added]),
                             STATUS_OK);
            expected += rows[added].params.samples;
        }
        while (open_count < options->steps_in_flight + options->plans_ahead) {
            struct step_plan *plan;
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            if (plan == NULL) {
                break;
            }
            check_plan(options, plan, engine_counters(engine));
            open[open_count].plan = plan;
            const bool is_ahead = options->plans_ahead && open_count > 0;
            run_plan(engine, &device, plan, is_ahead ? open[0].results : NULL,
                     open[open_count].results);
            open_count++;
            plans_ahead += is_ahead;
        }
        assert_true(open_count > 0);
        int which = shuffle && !options->plans_ahead
                        ? (int)(fake_mix(step++, 3) % (uint64_t)open_count)
                        : 0;
        assert_int_equal(engine_complete_step(engine, open[which].plan, open[which].results),
                         STATUS_OK);
        struct sample_result *results = open[which].results;
        open_count--;
        memmove(&open[which], &open[which + 1], (size_t)(open_count - which) * sizeof *open);
        open[open_count].results = results;
        if (options->plans_ahead && open_count > 0) {
            answer_plan(engine, &device, open[0].plan, open[0].results);
        }
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            check_finished(sample, rows, answers);
            engine_release(engine, sample);
            finished++;
        }
    } while (engine_unfinished(engine) > 0 || added < ROWS);
    assert_int_equal(finished, expected);
    assert_int_equal(open_count, 0);
    struct step_plan *plan;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    assert_null(plan);
    struct engine_counters counters = engine_counters(engine);
    assert_int_equal(counters.blocks_used, 0);
    assert_int_equal(counters.running, 0);
    assert_int_equal(counters.waiting, 0);
    engine_destroy(engine);
    for (int i = 0; i < 4; i++) {
        free(open[i].results);
    }
    fake_destroy(&device);
    return counters;
}

static void answers_depend_on_the_row_alone(void **state)
{
    (void)state;
    static struct test_row rows[ROWS];
    static struct answer answers[ROWS][MAX_SAMPLES];
    make_rows(rows);
    static const int sequences[] = {1, 7, 64};
    static const int batch_tokens[] = {1, 13, 64, 512};
    static const int blocks[] = {(MAX_MODEL_LEN + BLOCK_TOKENS - 1) / BLOCK_TOKENS, 50, 2000};
    static const int thresholds[] = {0, 40};
    int64_t preemptions[COUNT_OF(blocks)] = {0}, cached = 0, cached_with_states = 0;
    for (size_t t = 0; t < 2 * COUNT_OF(thresholds); t++) {
        struct engine_options options = usual_options();
        options.admission = t % 2 == 0 ? ADMIT_BY_NEED : ADMIT_BY_ROOM;
        options.long_rope_threshold = thresholds[t / 2];
        int64_t output_tokens = 0, prompt_tokens = 0;
        for (int i = 0; i < ROWS; i++) {
            for (int sample = 0; sample < rows[i].params.samples; sample++) {
                expect_answer(&options, &rows[i], sample, &answers[i][sample]);
                output_tokens += answers[i][sample].count;
                prompt_tokens += rows[i].prompt_count;
            }
        }
        const int stride = options.admission == ADMIT_BY_ROOM ? 5 : 1;
        for (int combination = 0; combination < 3 * 4 * 3 * 2 * 5; combination += stride) {
            int rest = combination;
            options.max_sequences = sequences[rest % 3];
            rest /= 3;
            options.max_batch_tokens = batch_tokens[rest % 4] > options.max_sequences
                                           ? batch_tokens[rest % 4]
                                           : options.max_sequences;
            rest /= 4;
            int small = rest % 3;
            options.kv_blocks = blocks[small];
            rest /= 3;
            options.prefix_cache = rest % 2;
            options.has_states = combination % 3 != 1;
            options.kept_states = combination % 7;
            options.plans_ahead = rest / 2 == 4;
            options.steps_in_flight = options.plans_ahead ? 1 : 1 + rest / 2;
            for (int i = 0; i < ROWS; i++) {
                for (int sample = 0; sample < MAX_SAMPLES; sample++) {
                    answers[i][sample].seen = false;
                }
            }
            struct engine_counters counters =
                run_all(&options, rows, answers, combination % 5 == 0);
            preemptions[small] += counters.preemptions;
            cached += counters.cached_prompt_tokens;
            cached_with_states += options.has_states ? counters.cached_prompt_tokens : 0;
            assert_true(counters.cached_prompt_tokens == 0 || !options.has_states ||
                        (options.prefix_cache && options.kept_states > 0));
            assert_int_equal(counters.output_tokens, output_tokens);
            assert_int_equal(counters.prompt_tokens, prompt_tokens);
            assert_true(options.prefix_cache || counters.cached_prompt_tokens == 0);
        }
    }
    assert_true(preemptions[0] > 0 && preemptions[1] > 0);
    assert_int_equal(preemptions[2], 0);
    assert_true(cached > 0 && cached_with_states > 0);
    assert_true(plans_ahead > 10000);
}

/* ---- Prefix cache ---- */

static void finish_all(struct engine *engine, struct fake_device *device,
                       struct sample_result *results)
{
    while (engine_unfinished(engine) > 0) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        fake_run(device, plan, results);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            engine_release(engine, sample);
        }
    }
}

static void samples_and_repeated_prompts_share_blocks(void **state)
{
    (void)state;
    enum { PROMPT = 40, SAMPLES = 6 };
    struct engine_options options = usual_options();
    options.max_sequences = 64;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[64];
    int32_t prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) {
        prompt[i] = i;
    }
    struct generate_params params = plain;
    params.samples = SAMPLES;
    params.ignore_eos = true;
    /* The block with the last prompt token is always computed. */
    const int64_t shared = (PROMPT - 1) / BLOCK_TOKENS * BLOCK_TOKENS;
    assert_int_equal(engine_add(engine, 0, prompt, PROMPT, &params, FAKE_VOCABULARY, NULL),
                     STATUS_OK);
    finish_all(engine, &device, results);
    struct engine_counters counters = engine_counters(engine);
    assert_int_equal(counters.cached_prompt_tokens, (SAMPLES - 1) * shared);
    assert_int_equal(counters.prompt_tokens, SAMPLES * PROMPT);
    /* The prompt once, and for each sample what it does not share. */
    assert_true(counters.peak_blocks_used <= PROMPT / BLOCK_TOKENS + SAMPLES * 3);

    params.samples = 1;
    assert_int_equal(engine_add(engine, 1, prompt, PROMPT, &params, FAKE_VOCABULARY, NULL),
                     STATUS_OK);
    finish_all(engine, &device, results);
    assert_int_equal(engine_counters(engine).cached_prompt_tokens, SAMPLES * shared);
    engine_destroy(engine);
    fake_destroy(&device);
}

/* Rows that are queued together and begin alike: one computes the beginning, the others wait for
 * it, and rows behind them do not. */
static void what_rows_begin_with_is_computed_once(void **state)
{
    (void)state;
    enum { ALIKE = 6, HEAD = 40, TAIL = 5, OTHER = 20, TOGETHER = ALIKE + 2 };
    struct engine_options options = usual_options();
    options.max_sequences = 64;
    options.max_batch_tokens = 128;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[64];
    struct generate_params params = plain;
    params.max_new_tokens = 1;
    for (int i = 0; i < TOGETHER; i++) {
        int32_t prompt[HEAD + TAIL];
        for (int j = 0; j < HEAD + TAIL; j++) {
            prompt[j] = i < ALIKE && j < HEAD ? j : i * 7 + j % 5;
        }
        const size_t count = i < ALIKE ? HEAD + TAIL : OTHER;
        assert_int_equal(engine_add(engine, i, prompt, count, &params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    struct step_plan *plan;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    assert_int_equal(plan->batch.sequences, 1 + TOGETHER - ALIKE);
    assert_int_equal(plan->batch.tokens, HEAD + TAIL + (TOGETHER - ALIKE) * OTHER);
    fake_run(&device, plan, results);
    assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    assert_int_equal(plan->batch.sequences, ALIKE - 1);
    assert_int_equal(plan->batch.tokens, (ALIKE - 1) * TAIL);
    fake_run(&device, plan, results);
    assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    assert_int_equal(engine_unfinished(engine), 0);
    engine_destroy(engine);
    fake_destroy(&device);
}

/* What must go goes from the end of a prompt: its beginning stays useful. */
static void prompts_are_forgotten_from_their_end(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    options.kv_blocks = 23;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[7];
    struct generate_params params = plain;
    params.max_new_tokens = 1;
    int32_t prompts[2][57];
    for (int i = 0; i < 57; i++) {
        prompts[0][i] = i;
        prompts[1][i] = i + 10;
    }
    /* 10 full blocks stay of the first prompt; the second takes 15 where 13 are free. */
    static const int lengths[] = {41, 57, 41};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(engine_add(engine, i, prompts[i % 2], (size_t)lengths[i], &params,
                                    FAKE_VOCABULARY, NULL),
                         STATUS_OK);
        finish_all(engine, &device, results);
    }
    assert_int_equal(engine_counters(engine).cached_prompt_tokens, 8 * BLOCK_TOKENS);
    engine_destroy(engine);
    fake_destroy(&device);
}

/* ---- Order of work ---- */

/* Long prompts come in while others decode: each decoding sequence gets its token every step. */
static void decoding_never_starves(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    struct engine_options options = usual_options();
    options.max_sequences = COUNT;
    options.max_batch_tokens = COUNT + 2;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[COUNT];
    struct generate_params params = plain;
    params.max_new_tokens = 25;
    params.ignore_eos = true;
    for (int i = 0; i < COUNT; i++) {
        int32_t prompt[MAX_PROMPT];
        for (int j = 0; j < MAX_PROMPT; j++) {
            prompt[j] = (i * 31 + j) % FAKE_VOCABULARY;
        }
        params.sampling.stream = (uint64_t)i;
        assert_int_equal(
            engine_add(engine, i, prompt, i % 2 == 0 ? 3 : 60, &params, FAKE_VOCABULARY, NULL),
            STATUS_OK);
    }
    int next[COUNT] = {0}, last_step[COUNT] = {0};
    for (int step = 1; engine_unfinished(engine) > 0; step++) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        for (int i = 0; i < plan->batch.outputs; i++) {
            const struct sample_request *request = &plan->requests[i];
            assert_int_equal(request->position, next[request->params->stream]++);
            assert_true(request->position == 0 || last_step[request->params->stream] == step - 1);
            last_step[request->params->stream] = step;
        }
        fake_run(&device, plan, results);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    }
    assert_int_equal(engine_counters(engine).preemptions, 0);
    engine_destroy(engine); /* with finished samples that nobody took */
    fake_destroy(&device);
}

/* However small the cache: the oldest sequence gets a token every step. Returns the tokens computed
 * in all. */
static int64_t run_in_small_cache(bool prefix_cache)
{
    enum { COUNT = 8 };
    struct engine_options options = usual_options();
    options.prefix_cache = prefix_cache;
    options.admission = ADMIT_BY_ROOM; /* or there would be nothing to preempt */
    options.max_sequences = COUNT;
    options.kv_blocks = (MAX_MODEL_LEN + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct sample_result results[COUNT];
    struct generate_params params = plain;
    params.max_new_tokens = 80;
    params.ignore_eos = true;
    for (int32_t i = 0; i < COUNT; i++) {
        const int32_t prompt[] = {i, i, i};
        params.sampling.stream = (uint64_t)i;
        assert_int_equal(engine_add(engine, i, prompt, 3, &params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    int64_t oldest = 0, tokens = 0;
    while (engine_unfinished(engine) > 0) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        bool has_oldest = false;
        for (int i = 0; i < plan->batch.outputs; i++) {
            has_oldest = has_oldest || plan->requests[i].params->stream == (uint64_t)oldest;
        }
        assert_true(has_oldest);
        tokens += plan->batch.tokens;
        fake_run(&device, plan, results);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            assert_int_equal(sample->row, oldest++); /* as all are of one length */
            engine_release(engine, sample);
        }
    }
    assert_true(engine_counters(engine).preemptions > 0);
    engine_destroy(engine);
    fake_destroy(&device);
    return tokens;
}

static void oldest_is_never_preempted(void **state)
{
    (void)state;
    /* What a preempted sequence leaves in the cache need not be computed again. */
    assert_true(run_in_small_cache(true) < run_in_small_cache(false));
}

static void plans_in_flight_share_evenly(void **state)
{
    (void)state;
    static const struct {
        int rows, steps, expected[5];
    } cases[] = {
        {8, 4, {2, 2, 2, 2, 0}}, {4, 3, {2, 1, 1, 0}}, {1, 2, {1, 0}},
        {7, 2, {4, 3, 0}},       {2, 4, {1, 1, 0}},
    };
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct engine_options options = usual_options();
        options.steps_in_flight = cases[c].steps;
        options.max_sequences = 20;
        struct engine *engine;
        assert_int_equal(engine_create(&options, &engine), STATUS_OK);
        const int32_t prompt[] = {1, 2, 3};
        for (int i = 0; i < cases[c].rows; i++) {
            assert_int_equal(engine_add(engine, i, prompt, 3, &plain, FAKE_VOCABULARY, NULL),
                             STATUS_OK);
        }
        for (int i = 0; i <= cases[c].steps; i++) {
            struct step_plan *plan;
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            assert_int_equal(plan != NULL ? plan->batch.sequences : 0, cases[c].expected[i]);
            if (plan == NULL) {
                break;
            }
        }
        engine_destroy(engine); /* with open plans */
    }
}

/* A full cache and a long queue: the two that fit are in different plans all the same. */
static void full_cache_does_not_empty_a_plan(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    options.steps_in_flight = 2;
    options.kv_blocks = 23;
    options.prefix_cache = false;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct generate_params params = plain;
    params.max_new_tokens = 4; /* 11 blocks with 40 of prompt */
    int32_t prompt[40] = {0};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(engine_add(engine, i, prompt, 40, &params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    struct sample_result results[7] = {{0}};
    struct step_plan *plan, *other;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    for (int step = 0; step < 2; step++) {
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_int_equal(engine_plan_step(engine, &other), STATUS_OK);
        assert_int_equal(plan->batch.sequences, 1);
        assert_int_equal(other->batch.sequences, 1);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        assert_int_equal(engine_complete_step(engine, other, results), STATUS_OK);
    }
    engine_destroy(engine);
}

static void many_rows_are_cheap(void **state)
{
    (void)state;
    enum { MANY = 20000, QUEUED = 100000, SEQUENCES = 256 };
    struct engine_options options = usual_options();
    options.max_sequences = SEQUENCES;
    options.max_batch_tokens = 2048;
    options.kv_blocks = 4000;
    options.kv_block_tokens = 16;
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    int32_t prompt[20] = {0};
    struct generate_params params = plain;
    params.max_new_tokens = 10;
    for (int i = 0; i < QUEUED; i++) {
        prompt[0] = i % FAKE_VOCABULARY;
        assert_int_equal(engine_add(engine, i, prompt, 20, &params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    assert_int_equal(engine_waiting(engine), QUEUED);
    static struct sample_result results[SEQUENCES]; /* token 0 for ever */
    while (engine_unfinished(engine) > QUEUED - MANY) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            engine_release(engine, sample);
        }
    }
    assert_true(engine_waiting(engine) >= QUEUED - MANY - SEQUENCES);
    engine_destroy(engine);
}

/* ---- Refusals and errors ---- */

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct engine *engine;
    struct engine_options options = usual_options();
    options.max_batch_tokens = 6;
    assert_int_equal(engine_create(&options, &engine), STATUS_INVALID);
    options = usual_options();
    options.kv_blocks = MAX_MODEL_LEN / BLOCK_TOKENS;
    assert_int_equal(engine_create(&options, &engine), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "max_model_len 90"));
    options = usual_options();
    options.steps_in_flight = 0;
    assert_int_equal(engine_create(&options, &engine), STATUS_INVALID);
}

static void bad_rows_are_refused(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    int32_t prompt[MAX_MODEL_LEN] = {0};
    struct generate_params stops = plain, none = plain;
    stops.stop_count = 1;
    stops.stop[0] = "x";
    none.max_new_tokens = 0;
    assert_int_equal(engine_add(engine, 0, prompt, 0, &plain, 9, NULL), STATUS_INVALID);
    assert_int_equal(engine_add(engine, 0, prompt, MAX_MODEL_LEN, &plain, 9, NULL), STATUS_INVALID);
    assert_string_equal(status_message(), "prompt of 90 tokens; the context holds 90");
    assert_int_equal(engine_add(engine, 0, prompt, 3, &stops, 9, NULL), STATUS_INVALID);
    assert_int_equal(engine_add(engine, 0, prompt, 3, &none, 9, NULL), STATUS_INVALID);
    prompt[2] = 9;
    assert_int_equal(engine_add(engine, 0, prompt, 3, &plain, 9, NULL), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "prompt token 2 is 9"));
    prompt[2] = -1;
    assert_int_equal(engine_add(engine, 0, prompt, 3, &plain, 9, NULL), STATUS_INVALID);
    assert_int_equal(engine_unfinished(engine), 0);
    struct step_plan *plan;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    assert_null(plan);
    engine_destroy(engine);
}

static void not_finite_logits_end_one_sample(void **state)
{
    (void)state;
    struct engine_options options = usual_options();
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    const int32_t prompt[] = {1, 2, 3};
    struct generate_params params = plain;
    params.max_new_tokens = 4;
    params.sampling.stream = 17;
    assert_int_equal(engine_add(engine, 17, prompt, 3, &params, 9, NULL), STATUS_OK);
    params.sampling.stream = 18;
    assert_int_equal(engine_add(engine, 18, prompt, 3, &params, 9, NULL), STATUS_OK);
    int errors = 0, lengths = 0;
    for (int step = 0; engine_unfinished(engine) > 0; step++) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        struct sample_result results[2] = {{.token = 1}, {.token = 1}};
        for (int i = 0; i < plan->batch.outputs; i++) {
            results[i].not_finite = step == 2 && plan->requests[i].params->stream == 17;
        }
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            if (sample->reason == FINISH_ERROR) {
                assert_int_equal(sample->row, 17);
                assert_non_null(strstr(sample->error, "row 17, sample 0"));
                assert_int_equal(sample->completion_tokens, 2);
                errors++;
            } else {
                assert_int_equal(sample->completion_tokens, 4);
                lengths++;
            }
            engine_release(engine, sample);
        }
    }
    assert_int_equal(errors, 1);
    assert_int_equal(lengths, 1);
    engine_destroy(engine);
}

/* Ends at any moment without a leak; the sanitizers look. */
static void destroyed_at_any_moment(void **state)
{
    (void)state;
    static struct test_row rows[ROWS];
    make_rows(rows);
    for (int steps = 0; steps < 60; steps++) {
        struct engine_options options = usual_options();
        options.kv_blocks = 60;
        options.steps_in_flight = 1 + steps % 3;
        struct engine *engine;
        assert_int_equal(engine_create(&options, &engine), STATUS_OK);
        struct fake_device device = fake_create(&options);
        struct sample_result results[64];
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(engine_add(engine, i, rows[i].prompt, (size_t)rows[i].prompt_count,
                                        &rows[i].params, FAKE_VOCABULARY, NULL),
                             STATUS_OK);
        }
        struct step_plan *plan;
        for (int step = 0; step < steps; step++) {
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            assert_non_null(plan);
            fake_run(&device, plan, results);
            assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
            struct finished_sample *sample = engine_next_finished(engine);
            if (sample != NULL) { /* others stay where they are */
                engine_release(engine, sample);
            }
        }
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        engine_destroy(engine);
        fake_destroy(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_depend_on_the_row_alone),
        cmocka_unit_test(samples_and_repeated_prompts_share_blocks),
        cmocka_unit_test(what_rows_begin_with_is_computed_once),
        cmocka_unit_test(prompts_are_forgotten_from_their_end),
        cmocka_unit_test(decoding_never_starves),
        cmocka_unit_test(oldest_is_never_preempted),
        cmocka_unit_test(plans_in_flight_share_evenly),
        cmocka_unit_test(full_cache_does_not_empty_a_plan),
        cmocka_unit_test(many_rows_are_cheap),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(bad_rows_are_refused),
        cmocka_unit_test(not_finite_logits_end_one_sample),
        cmocka_unit_test(destroyed_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
