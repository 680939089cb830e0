/* SPDX-License-Identifier: Apache-2.0 */
/* What rows with forms cost the host in a step, without a device.
 *
 *     bench_forms TOKENIZER.json ROWS.jsonl [AT_ONCE [MAX_TOKENS [ahead | always]]]
 *
 * ROWS have a prompt, a form of the answer (response_format and the like), and max_tokens where not
 * all have MAX_TOKENS. The engine takes them as in a job; each token is drawn by chance among all
 * that are allowed, as random weights would. Prints what a step takes on the engine's thread (in
 * seconds of that thread, since others may have the machine's cores), how many masks differ in it,
 * and how many tokens were not drawn. `ahead`: steps are planned ahead where that pays, as on a
 * GPU; `always`: wherever they can be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/row/structured.h"
#include "draw.h"
#include "grammar/request/request.h"
#include "sluice/data.h"
#include "sluice/engine.h"
#include "sluice/json.h"

enum { BLOCK = 16, MODEL_LENGTH = 2048, FILE_LIMIT = 1 << 30 };

struct bench {
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct grammar_vocabulary *vocabulary;
    struct structured_cache *cache;
    struct engine *engine;
    struct sample_result *results;
    struct step_plan *ahead; /* planned behind the one before, which is complete */
    int size, at_once, most_tokens;
    uint64_t random;
    double planning, waiting, completing;
    int64_t masks, drawn, rows, ahead_count;
    bool plans_ahead, always_ahead;
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_forms: %s\n", status_message());
        exit(1);
    }
}

static double thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The row of a line, queued. */
static void add_row(struct bench *self, const char *text, size_t length)
{
    struct arena arena = {0};
    struct json *line;
    struct token_list prompt = {0};
    struct structured_entry *entry;
    struct generate_params params;
    generate_params_defaults(&params);
    params.sampling.temperature = 1;
    params.max_new_tokens = self->most_tokens;
    check(json_parse(text, length, &arena, &line));
    for (size_t i = 0; i < line->length; i++) {
        if (structured_field_known(line->members[i].key)) {
            check(structured_field_set(&params.structured, line->members[i].key,
                                       line->members[i].value, &arena));
        }
    }
    const struct json *words = json_get(line, "prompt"), *most = json_get(line, "max_tokens");
    if (most != NULL) {
        params.max_new_tokens = atoi(most->text);
    }
    check(tokenizer_encode(self->tokenizer, self->scratch, words != NULL ? words->text : "a",
                           words != NULL ? words->length : 1, false, &prompt));
    if (params.structured.kind != STRUCTURED_NONE) {
        check(structured_take(self->cache, &params.structured, THINKING_NONE, &entry));
        params.grammar = structured_masks(entry); /* kept: the cache ends with the program */
    }
    check(engine_add(self->engine, self->rows++, prompt.ids, prompt.count, &params, self->size,
                     NULL));
    token_list_destroy(&prompt);
    arena_destroy(&arena);
}

/* How many masks of a step differ: rows in the same state point at one. */
static int count_masks(const struct step_plan *plan)
{
    int count = 0;
    for (int i = 0; i < plan->batch.outputs; i++) {
        bool is_new = plan->requests[i].allowed != NULL;
        for (int j = 0; is_new && j < i; j++) {
            is_new = plan->requests[j].allowed != plan->requests[i].allowed;
        }
        count += is_new;
    }
    return count;
}

static void run_step(struct bench *self)
{
    struct step_plan *plan = self->ahead;
    const double start = thread_seconds();
    if (plan == NULL) {
        check(engine_plan_step(self->engine, &plan));
    }
    const double planned = thread_seconds();
    if (plan == NULL) {
        return;
    }
    check(engine_await_requests(self->engine, plan));
    const double ready = thread_seconds();
    self->masks += count_masks(plan);
    for (int i = 0; i < plan->batch.outputs; i++) {
        const struct sample_request *request = &plan->requests[i];
        self->results[i] = (struct sample_result){.token = request->scored};
        if (!request->is_scored) {
            self->results[i].token =
                request->allowed != NULL
                    ? draw_allowed(&self->random, request->allowed, sampling_mask_words(self->size))
                    : (int32_t)(draw(&self->random) % (uint64_t)self->size);
            self->drawn++;
        }
    }
    const double answered = thread_seconds();
    self->ahead = NULL;
    if (self->plans_ahead) {
        check(engine_plan_step(self->engine, &self->ahead));
        self->ahead_count += self->ahead != NULL;
    }
    const double ahead = thread_seconds();
    check(engine_complete_step(self->engine, plan, self->results));
    self->completing += thread_seconds() - ahead;
    self->planning += planned - start + ahead - answered;
    self->waiting += ready - planned;
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        engine_release(self->engine, sample);
    }
}

static void create(struct bench *self, const char *path)
{
    struct buffer text = {0};
    check(file_read(path, FILE_LIMIT, &text));
    check(tokenizer_create(text.data, text.length, NULL, 0, &self->tokenizer));
    buffer_destroy(&text);
    self->scratch = tokenizer_scratch_create(self->tokenizer);
    self->size = (int)tokenizer_vocabulary_size(self->tokenizer);
    const int32_t end = self->size++;
    check(grammar_vocabulary_of(self->tokenizer, (size_t)self->size, &end, 1, &self->vocabulary));
    const struct answer_style style = {0};
    check(structured_cache_create(self->vocabulary, &style, &self->cache));
    const struct engine_options options = {
        .admission = ADMIT_BY_NEED,
        .max_sequences = self->at_once,
        .max_batch_tokens = 8192,
        .kv_blocks = self->at_once * MODEL_LENGTH / BLOCK,
        .kv_block_tokens = BLOCK,
        .max_model_len = MODEL_LENGTH,
        .steps_in_flight = 1,
        .plans_ahead = self->plans_ahead,
        .always_ahead = self->always_ahead,
        .tokenizer = self->tokenizer,
        .ends = &end,
        .end_count = 1,
    };
    self->results = calloc((size_t)self->at_once, sizeof *self->results);
    check(engine_create(&options, &self->engine));
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr,
                "usage: bench_forms TOKENIZER.json ROWS.jsonl [AT_ONCE [MAX_TOKENS [ahead | "
                "always]]]\n");
        return 2;
    }
    struct bench bench = {.at_once = argc > 3 ? atoi(argv[3]) : 1024,
                          .most_tokens = argc > 4 ? atoi(argv[4]) : 192,
                          .plans_ahead = argc > 5,
                          .always_ahead = argc > 5 && strcmp(argv[5], "always") == 0,
                          .random = 1};
    struct buffer rows = {0};
    create(&bench, argv[1]);
    check(file_read(argv[2], FILE_LIMIT, &rows));
    char *rest = rows.data;
    for (char *text = strsep(&rest, "\n"); text != NULL; text = strsep(&rest, "\n")) {
        while (engine_waiting(bench.engine) > bench.at_once / 8) {
            run_step(&bench);
        }
        if (text[0] != '\0') {
            add_row(&bench, text, strlen(text));
        }
    }
    engine_end_supply(bench.engine);
    while (engine_unfinished(bench.engine) > 0) {
        run_step(&bench);
    }
    const struct engine_counters counters = engine_counters(bench.engine);
    const double steps = (double)counters.steps, outputs = (double)counters.output_tokens;
    printf("%lld rows, %.0f steps (%lld planned ahead), %.0f output tokens, %.1f%% of them not "
           "drawn, %.1f tokens and %.1f masks a step\n",
           (long long)bench.rows, steps, (long long)bench.ahead_count, outputs,
           100 * (1 - (double)bench.drawn / outputs), (double)counters.computed_tokens / steps,
           (double)bench.masks / steps);
    printf(
        "us a step: plan %.0f, wait for masks %.0f, complete %.0f; complete a token drawn %.2f\n",
        bench.planning / steps * 1e6, bench.waiting / steps * 1e6, bench.completing / steps * 1e6,
        bench.completing / (double)bench.drawn * 1e6);
    engine_destroy(bench.engine);
    free(bench.results);
    buffer_destroy(&rows);
    tokenizer_scratch_destroy(bench.scratch);
    structured_cache_destroy(bench.cache);
    grammar_vocabulary_destroy(bench.vocabulary);
    tokenizer_destroy(bench.tokenizer);
    return 0;
}
