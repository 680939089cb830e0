/* SPDX-License-Identifier: Apache-2.0 */
/* What the schedule of a few jobs comes to: steps, tokens computed, blocks, and a number for all
 * plans. Answers never depend on the schedule, so a fault in it shows nowhere else: too few rows at
 * once, a prompt that is computed twice, the wrong one preempted.
 *
 * A schedule that is meant to change changes these numbers: look whether they are better, and put
 * the lines that the test prints in the place of those in `expected`. */
#include <stdio.h>

#include "engine_fake.h"

enum { ROWS = 120, MOST_PROMPT = 100, MOST_OUTPUT = 80, BLOCK = 4, END_TOKEN = 7, OPEN = 4 };

/* The facts of a job; the rows are drawn by its number. */
struct job {
    enum engine_admission admission;
    int max_sequences, max_batch_tokens, kv_blocks, steps_in_flight;
    bool prefix_cache;
    int long_rope_threshold;
    int most_samples, shared; /* tokens that a third of the prompts begin with */
    bool known;               /* no answer ends by itself */
    bool scored;              /* a fifth of the rows are */
};

static const struct job jobs[] = {
    {ADMIT_BY_NEED, 16, 64, 150, 1, true, 0, 1, 24, false, false},
    {ADMIT_BY_NEED, 64, 200, 400, 1, false, 0, 3, 24, true, false},
    {ADMIT_BY_NEED, 64, 100, 220, 2, true, 0, 4, 40, false, false},
    {ADMIT_BY_NEED, 24, 48, 90, 3, true, 60, 1, 70, false, false},
    {ADMIT_BY_NEED, 32, 64, 130, 1, true, 0, 1, 50, false, true},
    {ADMIT_BY_NEED, 100, 300, 60, 1, true, 0, 2, 0, true, true},
    {ADMIT_BY_ROOM, 16, 64, 150, 1, true, 0, 1, 24, false, false},
    {ADMIT_BY_ROOM, 64, 100, 220, 2, true, 0, 4, 40, false, false},
    {ADMIT_BY_ROOM, 64, 300, 400, 3, false, 60, 2, 24, true, true},
    {ADMIT_BY_ROOM, 40, 90, 50, 1, true, 0, 3, 30, false, false},
};

struct costs {
    int64_t steps, computed, preemptions, peak, cached, running;
    uint64_t plans;
};

static const struct costs expected[COUNT_OF(jobs)] = {
    {270, 7090, 2, 150, 984, 1904, 0x4cf0c8125bd1931u},
    {236, 16341, 0, 391, 0, 4058, 0xd7f345b9dcb52b9fu},
    {452, 9789, 21, 220, 11292, 8380, 0x545391e0b970cdb1u},
    {1401, 7454, 0, 90, 2304, 5712, 0x8262a077af73fa4u},
    {353, 7099, 0, 130, 1964, 1980, 0x429f08b2563af6e9u},
    {1129, 9343, 0, 60, 1808, 3113, 0x21bb71431e4faf17u},
    {321, 8246, 24, 150, 960, 2396, 0x5cc735021dfcab53u},
    {755, 14160, 151, 220, 10816, 13743, 0x4765cc7f2b963c69u},
    {651, 14827, 24, 400, 0, 10777, 0xdd9ec925827a5a2au},
    {1133, 10529, 87, 50, 5972, 3390, 0xba9e1095e76f3ec8u},
};

static const int32_t ends[] = {END_TOKEN};

static int below(uint64_t *seed, int limit)
{
    *seed = fake_mix(*seed, 29);
    return (int)(*seed % (uint64_t)limit);
}

static void add_row(struct engine *engine, const struct job *job, int row, uint64_t *seed)
{
    int32_t prompt[MOST_PROMPT];
    const bool alike = below(seed, 3) == 0;
    const int count =
        1 + (alike ? job->shared : 0) + below(seed, MOST_PROMPT - (alike ? job->shared : 0));
    for (int i = 0; i < count; i++) {
        const uint64_t key = alike && i < job->shared ? 1 : (uint64_t)row + 100;
        prompt[i] = (int32_t)(fake_mix(key, (uint64_t)i) % FAKE_VOCABULARY);
    }
    struct generate_params params = {
        .max_new_tokens = 1 + below(seed, below(seed, 3) == 0 ? MOST_OUTPUT : 20),
        .samples = 1 + below(seed, job->most_samples),
        .ignore_eos = job->known || below(seed, 4) == 0,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    params.sampling.stream = (uint64_t)row;
    if (job->scored && count > 2 && below(seed, 5) == 0) {
        params.task = TASK_SCORE;
        params.samples = 1;
        assert_int_equal(engine_add_scored(engine, row, prompt, (size_t)count, (size_t)count / 2,
                                           &params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
        return;
    }
    assert_int_equal(engine_add(engine, row, prompt, (size_t)count, &params, FAKE_VOCABULARY, NULL),
                     STATUS_OK);
}

static void note_plan(struct costs *costs, const struct step_plan *plan)
{
    const struct batch *batch = &plan->batch;
    const int facts[] = {batch->tokens,  batch->sequences,     batch->outputs,
                         batch->decodes, plan->prefill_tokens, batch->first_half};
    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        costs->plans = fake_mix(costs->plans, (uint64_t)facts[i]);
    }
    for (int i = 0; i < batch->sequences; i++) {
        costs->plans = fake_mix(costs->plans, (uint64_t)batch->context_length[i]);
    }
}

static void release_finished(struct engine *engine)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(engine)) != NULL) {
        engine_release(engine, sample);
    }
}

/* Rows come four at a step; plans complete in the order in which they were made. */
static struct costs run_job(int number)
{
    const struct job *job = &jobs[number];
    const struct engine_options options = {.admission = job->admission,
                                           .max_sequences = job->max_sequences,
                                           .max_batch_tokens = job->max_batch_tokens,
                                           .kv_blocks = job->kv_blocks,
                                           .kv_block_tokens = BLOCK,
                                           .max_model_len = MOST_PROMPT + MOST_OUTPUT,
                                           .steps_in_flight = job->steps_in_flight,
                                           .prefix_cache = job->prefix_cache,
                                           .long_rope_threshold = job->long_rope_threshold,
                                           .half_tokens = 12,
                                           .ends = ends,
                                           .end_count = 1};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct fake_device device = fake_create(&options);
    struct step_plan *open[OPEN];
    struct sample_result *results[OPEN];
    for (int i = 0; i < OPEN; i++) {
        results[i] = calloc((size_t)options.max_sequences, sizeof *results[i]);
    }
    struct costs costs = {.plans = (uint64_t)number};
    uint64_t seed = 77 + (uint64_t)number;
    int added = 0, open_count = 0;
    do {
        for (int i = 0; i < 4 && added < ROWS; i++) {
            add_row(engine, job, added++, &seed);
        }
        if (added == ROWS) {
            engine_end_supply(engine);
        }
        while (open_count < options.steps_in_flight) {
            assert_int_equal(engine_plan_step(engine, &open[open_count]), STATUS_OK);
            if (open[open_count] == NULL) {
                break;
            }
            note_plan(&costs, open[open_count]);
            costs.running += engine_counters(engine).running;
            fake_run(&device, open[open_count], results[open_count]);
            open_count++;
        }
        if (open_count > 0) {
            struct sample_result *first = results[0];
            assert_int_equal(engine_complete_step(engine, open[0], first), STATUS_OK);
            open_count--;
            memmove(open, open + 1, (size_t)open_count * sizeof *open);
            memmove(results, results + 1, (size_t)open_count * sizeof *results);
            results[open_count] = first;
        }
        release_finished(engine);
    } while (engine_unfinished(engine) > 0 || added < ROWS);
    const struct engine_counters counters = engine_counters(engine);
    costs.steps = counters.steps;
    costs.computed = counters.computed_tokens;
    costs.preemptions = counters.preemptions;
    costs.peak = counters.peak_blocks_used;
    costs.cached = counters.cached_prompt_tokens;
    engine_destroy(engine);
    fake_destroy(&device);
    for (int i = 0; i < OPEN; i++) {
        free(results[i]);
    }
    return costs;
}

static void jobs_cost_what_they_did(void **state)
{
    (void)state;
    int others = 0;
    for (int i = 0; i < (int)COUNT_OF(jobs); i++) {
        const struct costs costs = run_job(i);
        const bool same = memcmp(&costs, &expected[i], sizeof costs) == 0;
        others += !same;
        fprintf(same ? stdout : stderr, "    {%lld, %lld, %lld, %lld, %lld, %lld, 0x%llxu},%s\n",
                (long long)costs.steps, (long long)costs.computed, (long long)costs.preemptions,
                (long long)costs.peak, (long long)costs.cached, (long long)costs.running,
                (unsigned long long)costs.plans, same ? "" : " /* has changed */");
    }
#ifdef __x86_64__ /* elsewhere a compiler may round sums of guesses otherwise */
    assert_int_equal(others, 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jobs_cost_what_they_did)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
