/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule beside a model of a page: random rows come, run, end and lose their blocks; blocks
 * are counted by hand, and answers are the same whatever the schedule. */
#include "engine_fake.h"

enum { ROWS = 160, MOST_PROMPT = 120, MOST_OUTPUT = 140, BLOCK_TOKENS = 4, END_TOKEN = 7 };
enum { MOST_SEQUENCES = 64, JOBS = 12 };

struct test_row {
    int32_t prompt[MOST_PROMPT];
    int prompt_count;
    struct generate_params params;
};

/* What is known of a row from plans and ends alone. */
struct seen_row {
    bool runs, has_ended;
    int blocks; /* that it must hold */
    uint64_t answer;
};

struct run {
    const struct engine_options *options;
    const struct test_row *rows;
    struct seen_row seen[ROWS];
    struct engine_counters counters;
    int64_t needed; /* tokens computed where none is computed twice */
    bool lengths_are_known, gathers;
};

/* Rows beside others cost half of what they cost by themselves. */
static const struct row_costs costs = {3, {{1, 1}, {MOST_SEQUENCES, 65}, {500, 300}}};

static const int32_t ends[] = {END_TOKEN};

static int below(uint64_t *seed, int limit)
{
    *seed = fake_mix(*seed, 11);
    return (int)(*seed % (uint64_t)limit);
}

/* `known`: every length is known beforehand. A quarter of the prompts share their beginning. */
static void make_rows(struct test_row *rows, uint64_t seed, bool known)
{
    for (int i = 0; i < ROWS; i++) {
        struct test_row *row = &rows[i];
        row->prompt_count = 1 + below(&seed, below(&seed, 5) == 0 ? MOST_PROMPT : 30);
        for (int j = 0; j < row->prompt_count; j++) {
            row->prompt[j] =
                (int32_t)(fake_mix(i % 4 == 0 && j < 17 ? 0 : seed, (uint64_t)j) % FAKE_VOCABULARY);
        }
        row->params = (struct generate_params){
            .max_new_tokens = 1 + below(&seed, below(&seed, 3) == 0 ? MOST_OUTPUT : 40),
            .samples = 1,
            .ignore_eos = known || below(&seed, 2) == 0,
            .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
        row->params.sampling.stream = (uint64_t)i;
    }
}

static int blocks_of(int tokens)
{
    return (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
}

/* Sequences of the plan run from now on, and hold blocks for all tokens known of them. */
static void note_plan(struct run *self, const struct step_plan *plan)
{
    const struct batch *batch = &plan->batch;
    assert_in_range(batch->tokens, 1, self->options->max_batch_tokens);
    int output = 0;
    for (int s = 0; s < batch->sequences; s++) {
        int end = batch->query_start[s + 1] - 1;
        bool has_output = output < batch->outputs && batch->output_rows[output] == end;
        if (has_output) { /* its row is in the request; others hold what they did at their start */
            struct seen_row *seen = &self->seen[plan->requests[output++].params->stream];
            seen->blocks = blocks_of(batch->context_length[s]);
            seen->runs = true;
        }
    }
}

static void note_finished(struct run *self, struct engine *engine)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(engine)) != NULL) {
        struct seen_row *seen = &self->seen[sample->row];
        assert_false(seen->has_ended);
        *seen = (struct seen_row){.has_ended = true, .answer = 1};
        for (int i = 0; i < sample->completion_tokens; i++) {
            seen->answer = fake_mix(seen->answer, (uint64_t)sample->token_ids[i]);
        }
        self->needed += sample->prompt_tokens + sample->completion_tokens - 1;
        engine_release(engine, sample);
    }
}

/* Blocks in use are at least those of the rows that decode, and exactly these where no prompt is
 * half computed and nothing is shared; never more than there are. */
static void check_blocks(const struct run *self, const struct engine *engine)
{
    const struct engine_counters counters = engine_counters(engine);
    int decoding = 0, blocks = 0;
    for (int i = 0; i < ROWS; i++) {
        decoding += self->seen[i].runs;
        blocks += self->seen[i].runs ? self->seen[i].blocks : 0;
    }
    assert_true(counters.blocks_used <= self->options->kv_blocks);
    if (self->options->prefix_cache || counters.preemptions > 0) {
        return; /* shared ones count once, and who was preempted cannot be seen from here */
    }
    assert_true(decoding <= counters.running && blocks <= counters.blocks_used);
    assert_true(decoding < counters.running || blocks == counters.blocks_used);
}

static void add_rows(const struct run *self, struct engine *engine, int *added, uint64_t *seed)
{
    for (int i = below(seed, 12); i > 0 && *added < ROWS; i--, ++*added) {
        const struct test_row *row = &self->rows[*added];
        assert_int_equal(engine_add(engine, *added, row->prompt, (size_t)row->prompt_count,
                                    &row->params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    if (*added == ROWS) {
        engine_end_supply(engine);
    }
}

static void run_rows(struct run *self, uint64_t seed)
{
    struct engine *engine;
    assert_int_equal(engine_create(self->options, &engine), STATUS_OK);
    if (self->gathers) {
        engine_set_row_costs(engine, &costs);
    }
    struct fake_device device = fake_create(self->options);
    struct sample_result results[MOST_SEQUENCES];
    int added = 0;
    while (added < ROWS || engine_unfinished(engine) > 0) {
        add_rows(self, engine, &added, &seed);
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        if (plan == NULL) {
            assert_int_equal(engine_unfinished(engine), 0);
            continue;
        }
        note_plan(self, plan);
        check_blocks(self, engine);
        fake_run(&device, plan, results);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        note_finished(self, engine);
    }
    self->counters = engine_counters(engine);
    assert_int_equal(self->counters.blocks_used, 0); /* none is lost */
    assert_int_equal(self->counters.running, 0);
    engine_destroy(engine);
    fake_destroy(&device);
}

static void answer(struct engine *engine, const struct fake_device *device, struct step_plan *plan,
                   struct sample_result *results)
{
    assert_int_equal(engine_await_requests(engine, plan), STATUS_OK);
    fake_answer(device, plan, results);
}

/* The same with each step planned while the one before is open. */
static void run_rows_ahead(struct run *self, uint64_t seed)
{
    struct engine *engine;
    assert_int_equal(engine_create(self->options, &engine), STATUS_OK);
    if (self->gathers) {
        engine_set_row_costs(engine, &costs);
    }
    struct fake_device device = fake_create(self->options);
    struct sample_result results[MOST_SEQUENCES];
    struct step_plan *open[2];
    int added = 0, count = 0;
    int64_t ahead = 0;
    while (added < ROWS || engine_unfinished(engine) > 0) {
        add_rows(self, engine, &added, &seed);
        while (count < 2) {
            assert_int_equal(engine_plan_step(engine, &open[count]), STATUS_OK);
            if (open[count] == NULL) {
                break;
            }
            fake_write(&device, &open[count]->batch, count > 0 ? results : NULL);
            if (count == 0) {
                answer(engine, &device, open[0], results);
            }
            ahead += count++;
        }
        if (count == 0) {
            assert_int_equal(engine_unfinished(engine), 0);
            continue;
        }
        assert_int_equal(engine_complete_step(engine, open[0], results), STATUS_OK);
        open[0] = open[1];
        if (--count > 0) {
            answer(engine, &device, open[0], results);
        }
        note_finished(self, engine);
    }
    assert_int_equal(count, 0);
    assert_true(ahead > 0);
    self->counters = engine_counters(engine);
    assert_int_equal(self->counters.blocks_used, 0);
    engine_destroy(engine);
    fake_destroy(&device);
}

static struct engine_options draw_options(uint64_t *seed)
{
    const int most = MOST_PROMPT + MOST_OUTPUT;
    return (struct engine_options){.max_sequences = 1 + below(seed, MOST_SEQUENCES),
                                   .max_batch_tokens = MOST_SEQUENCES + below(seed, 200),
                                   .kv_blocks = blocks_of(most) + below(seed, 600),
                                   .kv_block_tokens = BLOCK_TOKENS,
                                   .max_model_len = most,
                                   .steps_in_flight = 1,
                                   .ends = ends,
                                   .end_count = 1};
}

/* Runs one job under every schedule. */
static void check_job(uint64_t seed, bool known, int64_t *preemptions)
{
    static struct test_row rows[ROWS];
    make_rows(rows, seed, known);
    struct engine_options options = draw_options(&seed);
    uint64_t answers[ROWS] = {0};
    for (int schedule = 0; schedule < 16; schedule++) {
        options.plans_ahead = schedule / 8 == 1;
        options.admission = schedule % 2 == 0 ? ADMIT_BY_NEED : ADMIT_BY_ROOM;
        options.prefix_cache = schedule / 2 % 2 == 1;
        static struct run run;
        run = (struct run){.options = &options,
                           .rows = rows,
                           .lengths_are_known = known,
                           .gathers = schedule / 4 % 2 == 1};
        (options.plans_ahead ? run_rows_ahead : run_rows)(&run, seed);
        for (int i = 0; i < ROWS; i++) {
            assert_true(run.seen[i].has_ended);
            assert_true(schedule == 0 || run.seen[i].answer == answers[i]);
            answers[i] = run.seen[i].answer;
        }
        preemptions[options.admission] += run.counters.preemptions;
        if (options.admission == ADMIT_BY_NEED && known) {
            assert_int_equal(run.counters.preemptions, 0);
            assert_true(run.counters.computed_tokens <= run.needed);
            assert_true(options.prefix_cache || run.counters.computed_tokens == run.needed);
        }
    }
}

/* Where all lengths are known nothing is ever preempted or computed twice. */
static void known_lengths_are_never_preempted(void **state)
{
    (void)state;
    int64_t preemptions[2] = {0};
    for (uint64_t job = 0; job < JOBS; job++) {
        check_job(fake_mix(job, 1), true, preemptions);
    }
    assert_true(preemptions[ADMIT_BY_ROOM] > 100); /* the rows are such that it matters */
}

/* Where they are not, the risk is what it is said to be: seldom, and far less than by room. */
static void unknown_lengths_are_seldom_preempted(void **state)
{
    (void)state;
    int64_t preemptions[2] = {0};
    for (uint64_t job = 0; job < JOBS; job++) {
        check_job(fake_mix(job, 2), false, preemptions);
    }
    assert_true(preemptions[ADMIT_BY_NEED] * 4 < preemptions[ADMIT_BY_ROOM]);
    assert_true(preemptions[ADMIT_BY_NEED] < 2 * JOBS * ROWS / 20);
}

/* Equal rows, many more than fit: starts are spread, so that more run at once than fit at once if
 * all start together, and the cache stays fuller. */
static void starts_are_spread(void **state)
{
    (void)state;
    enum { PROMPT = 80, OUTPUT = 400, EQUAL = 300, FIT = 20 };
    const struct engine_options options = {.max_sequences = MOST_SEQUENCES,
                                           .max_batch_tokens = 256,
                                           .kv_blocks = FIT * (PROMPT + OUTPUT) / BLOCK_TOKENS,
                                           .kv_block_tokens = BLOCK_TOKENS,
                                           .max_model_len = PROMPT + OUTPUT,
                                           .steps_in_flight = 1};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    static struct sample_result results[MOST_SEQUENCES];
    struct generate_params params = {
        .max_new_tokens = OUTPUT,
        .samples = 1,
        .ignore_eos = true,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    const int32_t prompt[PROMPT] = {0};
    for (int i = 0; i < EQUAL; i++) {
        assert_int_equal(engine_add(engine, i, prompt, PROMPT, &params, 9, NULL), STATUS_OK);
    }
    int64_t steps = 0, running = 0, blocks = 0;
    while (engine_unfinished(engine) > EQUAL / 4) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        struct engine_counters counters = engine_counters(engine);
        steps++;
        running += counters.running;
        blocks += counters.blocks_used;
        struct finished_sample *sample;
        while ((sample = engine_next_finished(engine)) != NULL) {
            engine_release(engine, sample);
        }
    }
    assert_int_equal(engine_counters(engine).preemptions, 0);
    assert_true(running > steps * FIT * 5 / 4); /* 34 if nothing were lost, as in the first 400 */
    assert_true(blocks > steps * options.kv_blocks * 7 / 10); /* 58% in waves */
    engine_destroy(engine);
}

/* Rows that trickle into a full cache: with costs that say so they come together, and steps that
 * have prompts have many. */
static void prompts_are_gathered(void **state)
{
    (void)state;
    enum { PROMPT = 20, OUTPUT = 200, EQUAL = 2000, MOST = 512 };
    const struct engine_options options = {.max_sequences = MOST,
                                           .max_batch_tokens = 2000,
                                           .kv_blocks = 200 * (PROMPT + OUTPUT) / BLOCK_TOKENS,
                                           .kv_block_tokens = BLOCK_TOKENS,
                                           .max_model_len = PROMPT + OUTPUT,
                                           .steps_in_flight = 1};
    const struct row_costs flat = {2, {{1, 1}, {600, 600}}};
    const struct row_costs steep = {3, {{1, 1}, {MOST, 512}, {2000, 900}}};
    struct generate_params params = {
        .max_new_tokens = OUTPUT,
        .samples = 1,
        .ignore_eos = true,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    const int32_t prompt[PROMPT] = {0};
    int64_t steps[3] = {0}, with_prompts[3] = {0};
    for (int how = 0; how < 3;
         how++) { /* without costs, with those of nothing to gain, with ours */
        struct engine *engine;
        static struct sample_result results[MOST];
        assert_int_equal(engine_create(&options, &engine), STATUS_OK);
        if (how > 0) {
            engine_set_row_costs(engine, how == 1 ? &flat : &steep);
        }
        for (int i = 0; i < EQUAL; i++) {
            assert_int_equal(engine_add(engine, i, prompt, PROMPT, &params, 9, NULL), STATUS_OK);
        }
        while (engine_unfinished(engine) > 0) {
            struct step_plan *plan;
            struct finished_sample *sample;
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            steps[how]++;
            with_prompts[how] += plan->prefill_tokens > 0;
            assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
            while ((sample = engine_next_finished(engine)) != NULL) {
                engine_release(engine, sample);
            }
        }
        assert_int_equal(engine_counters(engine).computed_tokens,
                         EQUAL * (PROMPT + OUTPUT - 1)); /* nothing twice */
        engine_destroy(engine);
    }
    assert_int_equal(with_prompts[0], with_prompts[1]);
    assert_true(with_prompts[2] * 2 < with_prompts[0]);
    assert_true(steps[2] < steps[0] * 103 / 100); /* and the cache stays as full */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_lengths_are_never_preempted),
        cmocka_unit_test(unknown_lengths_are_seldom_preempted),
        cmocka_unit_test(starts_are_spread),
        cmocka_unit_test(prompts_are_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
