/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of one replica: a queue of rows in, steps to run out, finished samples back.
 *
 * Continuous batching over a paged KV cache: each step takes the running sequences' next tokens and
 * fills up with chunks of waiting prompts. Deterministic, single-threaded, knows no MPI and no
 * device: the caller runs each planned step and hands its sampled tokens back. What a row answers
 * depends on the row alone; the order in which rows finish does not matter. */
#ifndef SLUICE_ENGINE_H
#define SLUICE_ENGINE_H

#include "sluice/backend.h"
#include "sluice/base.h"
#include "sluice/generate.h"
#include "sluice/tokenizer.h"

struct engine;

/* When a sequence may start beside others. */
enum engine_admission {
    ADMIT_BY_NEED, /* all that run will fit until they end, as far as lengths are known; steps are
                      of about equal size */
    ADMIT_BY_ROOM, /* what it needs at once fits; steps are as large as may be */
};

struct engine_options {
    enum engine_admission admission;
    int max_sequences;    /* running at once, over all steps in flight */
    int max_batch_tokens; /* T at most in a step; at least max_sequences */
    int kv_blocks;        /* blocks of the cache */
    int kv_block_tokens;  /* positions a block */
    int max_model_len;    /* prompt and output together at most */
    int steps_in_flight;  /* 1, or pp: steps planned before the first of them completes; sequences
                             are spread over them */
    bool plans_ahead;  /* with one step in flight: a second one may be planned behind it, in which
                          its sequences go on */
    bool always_ahead; /* it is so also for rows with grammars of which so many tokens follow
                          without being drawn that it costs more than it saves; for tests */
    bool has_states;   /* of sequences, beside their blocks: plans name a place for each, below
                          max_sequences + kept_states */
    int kept_states; /* at most so many are kept at ends of blocks, for the prefix cache: a sequence
                        goes on from its state, which no block holds */
    bool prefix_cache; /* keep full blocks of finished prompts and reuse them by content hash */
    int long_rope_threshold; /* longrope: a sequence longer than this uses the long frequencies, and
                                is recomputed when it grows past it; 0: never */
    const struct tokenizer
        *tokenizer; /* borrowed; NULL: text stays empty and rows with stop strings are refused */
    const int32_t *ends; /* end tokens, borrowed */
    int end_count;
    int half_tokens; /* a step is offered in two halves where each has so many tokens; 0: never */
    int embedding_width; /* 0: rows are generated from or scored. Else rows are pooled: each is
                            answered with so many values */
    bool pools_last;     /* made of its last token's vector, whose row is then an output. Else (an
                            encoder) a row runs whole in one step, so max_batch_tokens is at least
                            max_model_len and prefix_cache is off */
};

/* STATUS_INVALID where options contradict each other or the cache cannot hold one sequence of
 * max_model_len. */
status engine_create(const struct engine_options *options, struct engine **out) MUST_CHECK;
void engine_destroy(struct engine *engine);

/* Whether engine_create would take these options. */
status engine_check_options(const struct engine_options *options) MUST_CHECK;
/* Whether engine_add, or with `first_scored` above 0 engine_add_scored, would take this row. */
status engine_check_row(const struct engine_options *options, const int32_t *prompt,
                        size_t prompt_count, size_t first_scored,
                        const struct generate_params *params, int vocabulary) MUST_CHECK;

/* Queues a row: params.samples sequences. Copies what it needs. `tag` comes back with each finished
 * sample. STATUS_INVALID (row-level: the row becomes an error row) for an empty prompt, ids outside
 * of `vocabulary`, a prompt of max_model_len tokens or more ("prompt of 5000 tokens; the context
 * holds 4096"). */
status engine_add(struct engine *engine, int64_t row, const int32_t *prompt, size_t prompt_count,
                  const struct generate_params *params, int vocabulary, void *tag) MUST_CHECK;

/* Queues a row whose tokens from `first_scored` on (at least 1, less than `count`) get their
 * log-probabilities, each after all before it; params.task is one that reads (WORK_READ). Its
 * finished sample has these tokens as its token_ids. STATUS_INVALID as engine_add says, but all of
 * max_model_len may be used, and for more than one sample. */
status engine_add_scored(struct engine *engine, int64_t row, const int32_t *tokens, size_t count,
                         size_t first_scored, const struct generate_params *params, int vocabulary,
                         void *tag) MUST_CHECK;

/* Seconds that the rows of a step cost on the device, without what each sequence reads of the
 * cache: so many points of a line, rows ascending. Fewer than two: not known. */
enum { ROW_COSTS_MOST = 40 };
struct row_costs {
    int count;
    struct row_cost {
        int rows;
        double seconds;
    } points[ROW_COSTS_MOST];
};
/* Tells the engine, which then gathers prompts where more rows at once cost less each. Plans depend
 * on it; no row's bits do. */
void engine_set_row_costs(struct engine *engine, const struct row_costs *costs);

/* Says that no more rows will be added: what waits need not be spread over time any longer. */
void engine_end_supply(struct engine *engine);

/* Rows queued or running. */
int engine_unfinished(const struct engine *engine);
/* Prompts not yet started: what the caller watches to fetch more rows in time. */
int engine_waiting(const struct engine *engine);

/* One planned step. Arrays are owned by the plan and valid until engine_complete_step.
 *
 * Sequences that decode come first (batch.decodes of them), then chunks of prompts, oldest first
 * among themselves. A sequence is in a step once, and in one open plan at most: open plans are the
 * micro-batches of a pipeline, steps_in_flight of them, with max_batch_tokens for each. Two halves
 * of a step (batch.first_half) are over disjoint sequences, too; they are cut where their tokens
 * are most alike, so decodes and chunks may share one. */
struct step_plan {
    struct batch batch;
    struct sample_request *requests; /* [batch.outputs]; history and params point into the engine */
    int prefill_tokens;              /* of batch.tokens */
    float *embeddings; /* [batch.sequences, embedding_width], for the caller to fill in before
                          engine_complete_step, with pools_last those of sequences with an output;
                          NULL without embeddings */
};

/* Plans the next step; *out is NULL when nothing can run now (no rows, or all of them are in steps
 * in flight). At most steps_in_flight plans may be open. When blocks run out, the youngest running
 * sequence is preempted: its blocks are freed and it is computed again later, prompt and output so
 * far. Greedy progress: the oldest sequence is never preempted.
 *
 * With plans_ahead one more plan may be made while one is open: behind that, on the same device and
 * with its sequences one token on, as if none of them ended. A token that the open step is yet to
 * draw stands in batch.token_ids as struct batch says. A sequence that does end has been computed
 * in vain, which shows in nothing but counters; so has one whose drawn token is followed by tokens
 * that its grammar forces, but for the drawn token's own keys and values. *out is NULL where the
 * plan needs to know what is drawn: where blocks are short, where given tokens are read, and where
 * so many tokens are forced that the step ahead costs more than it saves. */
status engine_plan_step(struct engine *engine, struct step_plan **out) MUST_CHECK;

/* Returns when a plan's requests are there: with the tokens of the plan before, which has been
 * completed, and with masks, which are computed while the device is at the step. To be called
 * before its requests are read. */
status engine_await_requests(struct engine *engine, struct step_plan *plan) MUST_CHECK;

/* Takes results[batch.outputs] of a plan, in any order of plans (with plans_ahead, in the order
 * planned); the plan is gone afterwards.
 * Applies end tokens, stop strings (also across token boundaries: text is cut before the stop
 * string), lengths. */
status engine_complete_step(struct engine *engine, struct step_plan *plan,
                            const struct sample_result *results) MUST_CHECK;

/* A finished sample, until engine_release. */
struct finished_sample {
    int64_t row;
    int32_t sample;
    void *tag;
    enum finish_reason reason;
    const char *error; /* FINISH_ERROR: e.g. a NaN in the logits; else NULL */
    const char *text;  /* UTF-8, special tokens skipped, cut before a stop string */
    size_t text_length;
    int prompt_tokens, completion_tokens;
    const int32_t *token_ids; /* [completion_tokens], with the end token where one was generated */
    const float *logprobs;    /* [completion_tokens] or NULL */
    int top_count;            /* k of the two below */
    const int32_t *top_ids;   /* [completion_tokens, k] or NULL */
    const float *top_logprobs;
    const float *embedding; /* [embedding_width] or NULL */
    bool is_greedy;         /* each scored token was the likeliest at its place */
    bool has_form;          /* the row had a grammar; is_valid: the text is one of its own */
    bool is_valid;
    double seconds; /* from its first step to its last */
};
/* The next finished sample in order of finishing, or NULL. */
struct finished_sample *engine_next_finished(struct engine *engine);
void engine_release(struct engine *engine, struct finished_sample *sample);

struct engine_counters {
    int64_t steps, prompt_tokens, cached_prompt_tokens, output_tokens, preemptions;
    int64_t computed_tokens; /* of all steps; what was computed again or in vain counts */
    int running, waiting, blocks_used, peak_blocks_used;
};
struct engine_counters engine_counters(const struct engine *engine);

#endif
