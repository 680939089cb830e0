/* SPDX-License-Identifier: Apache-2.0 */
/* The step loop's contract on any number of ranks, on the small model: what is supplied comes out
 * whole, rank for rank the same steps, hooks in their order, and an orderly end when the supply
 * says stop. Exit status 0 when all holds. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/request/request.h"
#include "run/ranks/devices.h"
#include "run/ranks/world.h"
#include "run/steps/engine_setup.h"
#include "run/steps/step_loop.h"
#include "sluice/run.h"

enum { ROWS = 12, A_TIME = 3, PROMPT = 20, NEW = 5, FORM_ROWS = 20, FORM_TOKENS = 40 };

/* What is compared of an answer. */
struct form_sum {
    int count, reason, valid;
    uint64_t tokens, logprobs;
};

static int failures;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "rank %d: %s\n", world_get()->rank, what);
        failures++;
    }
}

/* A supply of a few rows at a time, as a coordinator's is. */
struct feed {
    struct engine *engine;
    int stop_after;   /* calls of supply; 0: never */
    bool is_endless;  /* supplies rows as long as it is asked */
    int signal_after; /* steps, after which rank 0 is asked to stop; 0: never */
    int supplied, calls, finished, rounds, ran;
    int steps, tokens, prefill_tokens;
    int64_t sum; /* of the tokens that came out */
    bool ended, collected;

    /* Rows with a form, all at once, in place of the usual ones: */
    struct grammar_masks *masks;
    bool always_ahead;
    struct form_sum *sums; /* [FORM_ROWS] of answers */
    int64_t preemptions;
};

static status supply(void *context, enum supply *supply)
{
    struct feed *self = context;
    check(!self->ended, "asked for more after the end");
    struct generate_params params;
    generate_params_defaults(&params);
    params.sampling.temperature = 0;
    params.max_new_tokens = NEW;
    params.ignore_eos = true;
    const bool is_full = self->is_endless && engine_waiting(self->engine) >= ROWS;
    for (int i = 0; i < A_TIME && !is_full; i++, self->supplied++) {
        int32_t prompt[PROMPT];
        for (int j = 0; j < PROMPT; j++) {
            prompt[j] = (self->supplied * 31 + j * 7) % 1000;
        }
        TRY(engine_add(self->engine, self->supplied, prompt, PROMPT, &params, 1024, NULL));
    }
    bool stop = ++self->calls == self->stop_after;
    bool end = self->supplied == ROWS && !self->is_endless;
    *supply = stop ? SUPPLY_STOP : end ? SUPPLY_END : SUPPLY_SOME;
    self->ended = *supply != SUPPLY_SOME;
    return STATUS_OK;
}

/* Rows of all kinds: some without a form, some closed in time, some with a stop string, some with
 * log-probabilities. */
static status supply_forms(void *context, enum supply *supply)
{
    struct feed *self = context;
    for (int i = 0; i < FORM_ROWS; i++) {
        struct generate_params params;
        int32_t prompt[PROMPT];
        generate_params_defaults(&params);
        params.max_new_tokens = FORM_TOKENS - i % 5;
        params.sampling.logprobs = i % 3 == 0 ? 2 : -1;
        params.sampling.stream = (uint64_t)i;
        params.grammar = i % 7 != 0 ? self->masks : NULL;
        params.grammar_closes = i % 7 != 0 && i % 2 == 0;
        params.stop[0] = "7";
        params.stop_count = i % 11 == 0;
        for (int j = 0; j < PROMPT; j++) {
            prompt[j] = (i / 2 * 31 + j * 7) % 1000;
        }
        TRY(engine_add(self->engine, i, prompt, PROMPT, &params, 1024, NULL));
    }
    *supply = SUPPLY_END;
    return STATUS_OK;
}

static status collect_forms(void *context)
{
    struct feed *self = context;
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        struct form_sum *sum = &self->sums[sample->row];
        sum->count = sample->completion_tokens;
        sum->reason = sample->reason;
        sum->valid = sample->is_valid;
        for (int i = 0; i < sample->completion_tokens; i++) {
            sum->tokens = sum->tokens * 1021 + (uint64_t)sample->token_ids[i];
            if (sample->logprobs != NULL) {
                uint32_t bits;
                memcpy(&bits, &sample->logprobs[i], sizeof bits);
                sum->logprobs = sum->logprobs * 1000003 + bits;
            }
        }
        self->finished++;
        engine_release(self->engine, sample);
    }
    self->collected = true;
    return STATUS_OK;
}

static status collect(void *context)
{
    struct feed *self = context;
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        check(sample->completion_tokens == NEW, "a sample is not whole");
        for (int i = 0; i < sample->completion_tokens; i++) {
            self->sum += (int64_t)sample->token_ids[i] * (sample->row + 1) * (i + 1);
        }
        self->finished++;
        engine_release(self->engine, sample);
    }
    self->collected = true;
    return STATUS_OK;
}

static status note(void *context, const struct step_seconds *seconds)
{
    struct feed *self = context;
    check(self->engine == NULL || self->collected, "a step was noted before its samples came out");
    check(seconds->launch + seconds->wait >= seconds->communication,
          "ranks waited longer than the step took");
    self->collected = false;
    self->steps++;
    self->tokens += seconds->tokens;
    self->prefill_tokens += seconds->prefill_tokens;
    if (self->steps == self->signal_after && world_get()->rank == 0) {
        raise(SIGTERM);
    }
    return STATUS_OK;
}

static status publish(void *context, bool ran)
{
    struct feed *self = context;
    self->rounds++;
    self->ran += ran;
    return STATUS_OK;
}

static status run_loop(const struct job *job, struct stage *stage, MPI_Comm replica,
                       struct feed *feed)
{
    if (stage_is_leader(stage)) {
        struct engine_options options = engine_setup(job, stage->model, stage->plan);
        options.always_ahead = feed->always_ahead;
        TRY(engine_create(&options, &feed->engine));
    }
    const bool forms = feed->masks != NULL;
    const struct step_loop_options loop = {.stage = stage,
                                           .replica = replica,
                                           .engine = feed->engine,
                                           .hooks = {.context = feed,
                                                     .supply = forms ? supply_forms : supply,
                                                     .collect = forms ? collect_forms : collect,
                                                     .note = note,
                                                     .publish = publish}};
    return step_loop_run(&loop);
}

/* The leader's steps, at every rank of the replica. */
static int of_leader(const struct stage *stage, MPI_Comm replica, int value)
{
    MPI_Bcast(&value, 1, MPI_INT, (stage->plan->pp - 1) * stage->plan->tp, replica);
    return value;
}

static void everything_comes_out(const struct job *job, struct stage *stage, MPI_Comm replica,
                                 int64_t *sum)
{
    struct feed feed = {0};
    check(run_loop(job, stage, replica, &feed) == STATUS_OK, "the loop failed");
    check(feed.steps == of_leader(stage, replica, feed.steps), "ranks ran different steps");
    check(feed.tokens == ROWS * (PROMPT + NEW - 1), "tokens went missing");
    check(feed.prefill_tokens == ROWS * PROMPT, "prompts' tokens went missing");
    if (feed.engine != NULL) {
        check(feed.finished == ROWS, "samples went missing");
        check(feed.ran == feed.steps && feed.rounds >= feed.ran, "rounds are not counted");
        check(engine_unfinished(feed.engine) == 0, "rows stay");
    } else {
        check(feed.calls == 0 && feed.rounds == 0, "only the leader is asked for rows");
    }
    *sum = feed.sum;
    engine_destroy(feed.engine);
}

/* Rows with a form: in how many steps, planned ahead or not, with how large a cache does not
 * count. */
static void forms_in_steps(const struct job *job, struct stage *stage, MPI_Comm replica,
                           struct plan *plan, struct grammar_masks *masks)
{
    static const int at_once[] = {64, 7, 1, 64};
    struct form_sum expected[FORM_ROWS] = {{0}};
    const struct plan usual = *plan;
    int steps[2] = {0};
    int64_t preemptions = 0;
    for (int i = 0; i < 2 * 4; i++) {
        struct form_sum sums[FORM_ROWS] = {{0}};
        struct feed feed = {.masks = masks, .always_ahead = i / 4 == 1, .sums = sums};
        plan->plans_ahead = i / 4 == 1;
        plan->max_sequences = at_once[i % 4];
        plan->kv_blocks = i % 4 == 3 ? 64 / usual.kv_block_tokens * 4 : usual.kv_blocks;
        struct job other = *job;
        other.engine.admission = i % 4 == 3 ? ADMIT_BY_ROOM : ADMIT_BY_NEED;
        check(run_loop(&other, stage, replica, &feed) == STATUS_OK, "the loop failed with forms");
        check(feed.finished == FORM_ROWS, "samples with forms went missing");
        if (i == 0) {
            memcpy(expected, sums, sizeof expected);
        }
        check(memcmp(sums, expected, sizeof expected) == 0, "answers with forms differ");
        steps[i / 4] += feed.steps;
        preemptions += engine_counters(feed.engine).preemptions;
        engine_destroy(feed.engine);
    }
    check(steps[1] > steps[0], "no token was forced in a step ahead");
    check(preemptions > 0, "nothing was preempted");
    int valid = 0, scored = 0;
    for (int i = 0; i < FORM_ROWS; i++) {
        valid += expected[i].valid;
        scored += expected[i].logprobs != 0;
    }
    check(valid > FORM_ROWS / 4 && scored > FORM_ROWS / 4, "answers are not what they should be");
    *plan = usual;
}

static status forms_come_out_alike(const struct job *job, struct stage *stage, MPI_Comm replica,
                                   struct plan *plan)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"number\":{\"type\":\"integer\",\"minimum\":0,"
        "\"maximum\":99},\"kind\":{\"enum\":[\"small\",\"large\"]},\"words\":{\"type\":\"string\","
        "\"maxLength\":12}},\"required\":[\"number\",\"kind\",\"words\"],"
        "\"additionalProperties\":false}";
    const struct model_config *config = model_config(stage->model);
    const struct structured_request request = {.kind = STRUCTURED_JSON_SCHEMA,
                                               .text = schema,
                                               .text_length = sizeof schema - 1,
                                               .compile_limit = STRUCTURED_COMPILE_LIMIT};
    const struct answer_style style = {0};
    struct grammar *grammar;
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks;
    TRY(structured_compile(&request, &style, THINKING_NONE, &grammar));
    TRY(grammar_vocabulary_of(model_tokenizer(stage->model), (size_t)config->vocabulary,
                              config->ends, (size_t)config->end_count, &vocabulary));
    TRY(grammar_masks_create(grammar, vocabulary, 0, &masks));
    forms_in_steps(job, stage, replica, plan, masks);
    grammar_masks_destroy(masks);
    grammar_vocabulary_destroy(vocabulary);
    grammar_destroy(grammar);
    return STATUS_OK;
}

static void a_stop_ends_all_ranks(const struct job *job, struct stage *stage, MPI_Comm replica)
{
    struct feed feed = {.stop_after = 2};
    check(run_loop(job, stage, replica, &feed) == STATUS_OK, "the loop failed when stopped");
    check(feed.steps == of_leader(stage, replica, feed.steps), "ranks stopped at different steps");
    check(feed.steps <= 1 + stage->plan->pp, "steps were planned after the stop");
    check(feed.engine == NULL || engine_unfinished(feed.engine) > 0, "nothing was left to stop");
    engine_destroy(feed.engine);
}

/* Rank 0 leads where it is alone and follows elsewhere. The last test: a process that was asked to
 * stop stays so. */
static void a_signal_to_one_rank_ends_all(const struct job *job, struct stage *stage,
                                          MPI_Comm replica)
{
    struct feed feed = {.is_endless = true, .signal_after = 2};
    check(run_loop(job, stage, replica, &feed) == STATUS_OK, "the loop failed after a signal");
    check(feed.steps == of_leader(stage, replica, feed.steps), "ranks stopped at different steps");
    check(feed.engine == NULL || engine_unfinished(feed.engine) > 0, "nothing was left to stop");
    engine_destroy(feed.engine);
}

/* Replicas are given the same rows: their tokens are the same, whatever the layout. */
static void replicas_agree(const struct stage *stage, int64_t sum)
{
    int64_t least = stage_is_leader(stage) ? sum : INT64_MAX, most = sum, all[2];
    MPI_Allreduce(&least, &all[0], 1, MPI_INT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(&most, &all[1], 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    check(all[0] == all[1] && all[0] > 0, "replicas' tokens differ");
}

static status test_steps(int rank, int size)
{
    struct job job;
    struct model *model;
    struct plan plan;
    struct stage stage;
    MPI_Comm replica;
    TRY(job_initialize(&job));
    job.model.path = SLUICE_SOURCE_DIR "/data/small-model";
    job.model.max_model_len = 64;
    job.engine.device = backend_kind_host();
    job.engine.max_sequences = 64;
    job.engine.max_batch_tokens = 256; /* no prompt is cut */
    job.layout.pp = size > 1 ? 2 : 1;
    job.layout.tp = size > 2 ? 2 : 1;
    TRY(model_open(job.model.path, &model));
    TRY(devices_plan(&job, model, &plan));
    int ranks = plan.tp * plan.pp;
    MPI_Comm_split(MPI_COMM_WORLD, rank / ranks, rank, &replica);
    status s = stage_create(&plan, model, replica, rank % ranks, &stage);
    if (s == STATUS_OK) {
        int64_t sum, sum_ahead;
        everything_comes_out(&job, &stage, replica, &sum);
        replicas_agree(&stage, sum);
        if (ranks == 1) { /* as on a GPU: what comes out is the same */
            plan.plans_ahead = true;
            everything_comes_out(&job, &stage, replica, &sum_ahead);
            check(sum == sum_ahead, "steps planned ahead draw other tokens");
            s = forms_come_out_alike(&job, &stage, replica, &plan);
        }
        a_stop_ends_all_ranks(&job, &stage, replica);
        a_signal_to_one_rank_ends_all(&job, &stage, replica);
    }
    stage_destroy(&stage);
    MPI_Comm_free(&replica);
    model_close(model);
    job_destroy(&job);
    return s;
}

int main(int argc, char **argv)
{
    int rank, size;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    check(test_steps(rank, size) == STATUS_OK, status_message());
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
