/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's schedule without a device: what it costs in steps, preemptions and tokens computed.
 *
 *     bench_scheduler [NAME-OF-LOAD…]
 *
 * Plays loads of docs/performance.md in blocks of a KV cache and prints for each schedule steps,
 * rows a step, use of the cache, preemptions, tokens computed beside those needed, and the seconds
 * and output tokens a second that a step's model gives, which was fitted to steps measured on one
 * H200 (struct machine). The model ranks schedules; a device's own figures are `sluice bench`'s. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/drawn_length.h"
#include "sluice/engine.h"

enum { BLOCK = 16, VOCABULARY = 128256, END_TOKEN = 1, OTHER_TOKEN = 2 };

/* Milliseconds of a step: `fixed`, those of its tokens' products and row kernels (a line through
 * points), `position` a position of the cache that a decode reads; of chunks `chunk` a token and
 * `pair` a pair of query and key. */
struct machine {
    const char *name;
    int cache_tokens;
    double fixed, position, chunk, pair;
    struct row_costs rows;
};
static const struct machine machines[] = {
    {"8B fp8",
     2000000,
     0.7,
     1.0 / 51000,
     0.0009,
     1.27e-6,
     {9,
      {{1, 4.5},
       {128, 5.5},
       {256, 7.5},
       {380, 11.3},
       {939, 19.1},
       {1319, 26.9},
       {2048, 32.4},
       {5000, 63.2},
       {8192, 105.5}}}},
    {"70B fp8", 370000, 1.0, 1.0 / 19000, 0.0023, 3.2e-6, {3, {{1, 12}, {256, 40.6}, {8192, 916}}}},
};

static double row_milliseconds(const struct row_costs *costs, int rows)
{
    int i = 1;
    while (i + 1 < costs->count && costs->points[i].rows < rows) {
        i++;
    }
    const struct row_cost *a = &costs->points[i - 1], *b = &costs->points[i];
    return a->seconds + (b->seconds - a->seconds) * (rows - a->rows) / (b->rows - a->rows);
}

struct load {
    const char *name;
    int machine, prompt, output, requests, at_once;
    bool is_spread;       /* lengths are log-normal about those means */
    bool length_is_known; /* to the engine */
    int prefix, prefixes; /* tokens that the prompts of so many groups have in common */
    int group;            /* rows of a group that follow each other */
    bool long_first;      /* as a job that knows lengths has them */
};
static const struct load loads[] = {
    {"128/128", 0, 128, 128, 8192, 2048, false, true, 0, 0, 0, false},
    {"128/2048", 0, 128, 2048, 3000, 2048, false, true, 0, 0, 0, false},
    {"500/2000", 0, 500, 2000, 3000, 2048, false, true, 0, 0, 0, false},
    {"1000/1000", 0, 1000, 1000, 3000, 2048, false, true, 0, 0, 0, false},
    {"1000/1000-12000", 0, 1000, 1000, 12000, 2048, false, true, 0, 0, 0, false},
    {"1000/1000-1536", 0, 1000, 1000, 1536, 2048, false, true, 0, 0, 0, false},
    {"1000/2000", 0, 1000, 2000, 1500, 2048, false, true, 0, 0, 0, false},
    {"2048/128", 0, 2048, 128, 3000, 2048, false, true, 0, 0, 0, false},
    {"2048/2048", 0, 2048, 2048, 1500, 2048, false, true, 0, 0, 0, false},
    {"5000/500", 0, 5000, 500, 1500, 2048, false, true, 0, 0, 0, false},
    {"20000/2000", 0, 20000, 2000, 300, 512, false, true, 0, 0, 0, false},
    {"70B-1000/1000", 1, 1000, 1000, 1000, 512, false, true, 0, 0, 0, false},
    {"70B-128/2048", 1, 128, 2048, 1000, 512, false, true, 0, 0, 0, false},
    {"spread-oracle", 0, 220, 200, 20000, 4096, true, true, 0, 0, 0, false},
    {"spread-unknown", 0, 220, 200, 20000, 4096, true, false, 0, 0, 0, false},
    {"spread-long-first", 0, 220, 200, 20000, 4096, true, true, 0, 0, 0, true},
    {"spread-oracle-2048", 0, 220, 200, 20000, 2048, true, true, 0, 0, 0, false},
    {"spread-unknown-2048", 0, 220, 200, 20000, 2048, true, false, 0, 0, 0, false},
    {"spread-long-first-2048", 0, 220, 200, 20000, 2048, true, true, 0, 0, 0, true},
    {"70B-spread-oracle", 1, 220, 200, 20000, 4096, true, true, 0, 0, 0, false},
    {"70B-spread-unknown", 1, 220, 200, 20000, 4096, true, false, 0, 0, 0, false},
    {"70B-spread-long-first", 1, 220, 200, 20000, 4096, true, true, 0, 0, 0, true},
    {"1-prefix", 0, 1700, 64, 10000, 2048, false, true, 1500, 1, 1, false},
    {"2000-prefixes", 0, 1700, 64, 10000, 2048, false, true, 1500, 2000, 1, false},
    {"2000-prefixes-ordered", 0, 1700, 64, 10000, 2048, false, true, 1500, 2000, 5, false},
};
enum { SPREAD_MOST = 2048 };

struct outcome {
    struct engine_counters counters;
    double seconds, rows, cache_use, planning;
    int64_t needed, outputs;
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_scheduler: %s\n", status_message());
        exit(1);
    }
}

static int prompt_length(const struct load *load, int64_t row)
{
    return load->is_spread ? drawn_length(row, 0, load->prompt, SPREAD_MOST) : load->prompt;
}

static int output_length(const struct load *load, int64_t row)
{
    return load->is_spread ? drawn_length(row, 2, load->output, SPREAD_MOST) : load->output;
}

static const int32_t ends[] = {END_TOKEN};

static struct engine *create(const struct load *load, enum engine_admission admission)
{
    const struct machine *machine = &machines[load->machine];
    const struct engine_options options = {
        .admission = admission,
        .max_sequences = load->at_once,
        .max_batch_tokens = 8192,
        .kv_blocks = machine->cache_tokens / BLOCK,
        .kv_block_tokens = BLOCK,
        .max_model_len = load->is_spread ? 2 * SPREAD_MOST : load->prompt + load->output,
        .steps_in_flight = 1,
        .prefix_cache = true,
        .ends = ends,
        .end_count = 1,
    };
    struct engine *engine;
    check(engine_create(&options, &engine));
    return engine;
}

static void add_row(struct engine *engine, const struct load *load, int64_t row, int32_t *prompt,
                    struct outcome *outcome)
{
    struct generate_params params = {.samples = 1, .sampling = {.top_p = 1, .logprobs = -1}};
    params.sampling.repetition_penalty = 1;
    const int count = prompt_length(load, row), output = output_length(load, row);
    params.max_new_tokens = load->length_is_known ? output : SPREAD_MOST;
    params.ignore_eos = load->length_is_known;
    params.sampling.stream = (uint64_t)row;
    const int group = load->prefixes > 0 ? (int)(row / load->group) % load->prefixes : 0;
    for (int i = 0; i < count; i++) {
        int64_t key[2] = {i < load->prefix ? -1 - group : row, i};
        prompt[i] = (int32_t)(hash_bytes(key, sizeof key, 0) % VOCABULARY);
    }
    check(engine_add(engine, row, prompt, (size_t)count, &params, VOCABULARY, NULL));
    outcome->needed += count + output - 1;
    outcome->outputs += output;
}

static double step_seconds(const struct machine *machine, const struct batch *batch)
{
    double milliseconds = machine->fixed + row_milliseconds(&machine->rows, batch->tokens);
    for (int i = 0; i < batch->sequences; i++) {
        double tokens = batch->query_start[i + 1] - batch->query_start[i];
        double context = batch->context_length[i];
        milliseconds +=
            tokens == 1 ? machine->position * context
                        : machine->chunk * tokens + machine->pair * tokens * (context - tokens / 2);
    }
    return milliseconds / 1000;
}

static void run_step(struct engine *engine, const struct load *load, struct sample_result *results,
                     struct outcome *outcome)
{
    struct step_plan *plan;
    double start = clock_seconds();
    check(engine_plan_step(engine, &plan));
    double planned = clock_seconds();
    for (int i = 0; i < plan->batch.outputs; i++) {
        const struct sample_request *request = &plan->requests[i];
        bool is_last =
            request->position + 1 == output_length(load, (int64_t)request->params->stream);
        results[i].token = is_last ? END_TOKEN : OTHER_TOKEN;
    }
    outcome->seconds += step_seconds(&machines[load->machine], &plan->batch);
    double answered = clock_seconds();
    check(engine_complete_step(engine, plan, results));
    outcome->planning += clock_seconds() - answered + planned - start;
    outcome->cache_use += engine_counters(engine).blocks_used;
    struct finished_sample *sample;
    while ((sample = engine_next_finished(engine)) != NULL) {
        engine_release(engine, sample);
    }
}

/* The order in which rows come: as rank 0 would have them (src/run/order/row_batch.c), those of
 * more than four times the mean first, the longest in front. */
static int64_t *order_rows(const struct load *load)
{
    const int64_t least = load->long_first ? 4 * (load->prompt + load->output) : INT64_MAX;
    int64_t *rows = calloc((size_t)load->requests, sizeof *rows), count = 0;
    for (int tokens = 2 * SPREAD_MOST; tokens > least; tokens--) {
        for (int64_t row = 0; row < load->requests; row++) {
            if (prompt_length(load, row) + output_length(load, row) == tokens) {
                rows[count++] = row;
            }
        }
    }
    for (int64_t row = 0; row < load->requests; row++) {
        if (prompt_length(load, row) + output_length(load, row) <= least) {
            rows[count++] = row;
        }
    }
    return rows;
}

/* Rows are queued as a job's are: an eighth of a batch waits. */
static struct outcome play(const struct load *load, enum engine_admission admission, bool gathers)
{
    struct outcome outcome = {0};
    struct engine *engine = create(load, admission);
    if (gathers) {
        engine_set_row_costs(engine, &machines[load->machine].rows);
    }
    struct sample_result *results = calloc((size_t)load->at_once, sizeof *results);
    int32_t *prompt = calloc((size_t)load->prompt + SPREAD_MOST, sizeof *prompt);
    const int waiting = load->at_once / 8 + 1;
    int64_t row = 0, *order = order_rows(load);
    while (row < load->requests || engine_unfinished(engine) > 0) {
        while (row < load->requests && engine_waiting(engine) < waiting) {
            add_row(engine, load, order[row++], prompt, &outcome);
        }
        if (row == load->requests) {
            engine_end_supply(engine);
        }
        run_step(engine, load, results, &outcome);
    }
    outcome.counters = engine_counters(engine);
    engine_destroy(engine);
    free(results);
    free(order);
    free(prompt);
    return outcome;
}

static void print(const struct load *load, const char *schedule, const struct outcome *outcome)
{
    const struct engine_counters *counters = &outcome->counters;
    const double steps = (double)counters->steps;
    const int blocks = machines[load->machine].cache_tokens / BLOCK;
    printf("%-20s %-5s %7.0f %9.0f %6.1f%% %6.1f%% %8lld %9.4f %9.1f %9.0f %8.0f\n", load->name,
           schedule, steps, (double)counters->computed_tokens / steps,
           100 * outcome->cache_use / steps / blocks, 100.0 * counters->peak_blocks_used / blocks,
           (long long)counters->preemptions,
           (double)counters->computed_tokens / (double)outcome->needed, outcome->seconds,
           (double)outcome->outputs / outcome->seconds, outcome->planning / steps * 1e6);
    fflush(stdout);
}

static bool is_asked_for(const struct load *load, int count, char **names)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], load->name) == 0) {
            return true;
        }
    }
    return count == 0;
}

int main(int argc, char **argv)
{
    printf("%-20s %-5s %7s %9s %7s %7s %8s %9s %9s %9s %8s\n", "load", "by", "steps", "rows/step",
           "cache", "peak", "preempt", "comp/need", "s(model)", "tok/s", "us/step");
    for (size_t i = 0; i < COUNT_OF(loads); i++) {
        if (is_asked_for(&loads[i], argc - 1, argv + 1)) {
            struct outcome room = play(&loads[i], ADMIT_BY_ROOM, false);
            print(&loads[i], "room", &room);
            struct outcome need = play(&loads[i], ADMIT_BY_NEED, false);
            print(&loads[i], "need", &need);
            struct outcome gathered = play(&loads[i], ADMIT_BY_NEED, true);
            print(&loads[i], "rows", &gathered);
        }
    }
    return 0;
}
