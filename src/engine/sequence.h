/* SPDX-License-Identifier: Apache-2.0 */
/* A row (row.c) and its samples (sequence.c): tokens, blocks, text so far, and when a sample ends.
 * Knows nothing of what else runs. */
#ifndef SLUICE_SEQUENCE_H
#define SLUICE_SEQUENCE_H

#include "engine/admission/forecast.h"
#include "engine/constraint.h"
#include "engine/kv_blocks.h"
#include "engine/processors.h"
#include "sluice/engine.h"
#include "sluice/task.h"

/* A row of the data set as queued: one allocation, the prompt and copies of the stop strings are
 * behind it. Lives until its last sample is released. */
struct engine_row {
    struct engine_row *next; /* in a queue of the scheduler */
    int64_t row;
    void *tag;
    enum task_work work;
    struct generate_params params;
    int prompt_count;
    const int32_t *prompt; /* [prompt_count] */
    int first_scored;      /* of the prompt's tokens; 0 where none is read (WORK_READ) */
    int top;               /* likeliest tokens that the row asks for; -1: no log-probabilities */
    bool pools_last;       /* of a row that is pooled: its last token is all that counts */
    bool needs_history;    /* a penalty is on */
    struct processors processors;
    struct constraint_tools *tools; /* of its grammar; set before its first sample begins */
    bool started;                   /* a sample of it has been admitted */
    bool held_back; /* further samples wait until the first one's prompt is in the cache */
    int samples_begun, samples_finished, samples_released;
};

/* STATUS_INVALID as engine_add says. */
status engine_row_create(const struct engine_options *options, int64_t row, const int32_t *prompt,
                         size_t prompt_count, size_t first_scored,
                         const struct generate_params *params, int vocabulary, void *tag,
                         struct engine_row **out) MUST_CHECK;
void engine_row_destroy(struct engine_row *row);

/* One sample. `count` tokens are known (prompt and output); the first `computed` of them have keys
 * and values in the blocks. While it runs, computed < count: the last token is always still to be
 * computed, since its logits choose the next one. A scored row's last token is none of them:
 * nothing is asked of what follows it. */
struct sequence {
    struct finished_sample finished; /* first: engine_release finds the sequence by it */
    struct sequence *previous, *next;
    struct engine_row *row;
    int32_t sample;
    int64_t order; /* age: the lower, the older */
    struct forecast_need
        need; /* of the cache, and the next that ends about when it does: both as */
    struct sequence *next_ending; /* of the last forecast */
    int open_steps;               /* that it is in */
    int under_way;                /* tokens that these compute, behind `computed` */
    int to_come;                  /* tokens that they will draw, behind `count` */
    int asked;                    /* of their outputs, those whose results it will take */
    int drawn_as;                 /* output of the latest of them that draws */
    int joining, joining_draws;   /* of the two above, what is the plan's in the making */
    bool is_over;                 /* it has ended, and stays as long as it is in an open step */
    bool long_rope;
    int32_t *tokens; /* [count] */
    size_t token_capacity;
    int count, computed;
    int scored;      /* tokens whose log-probabilities are there already */
    int greedy;      /* of these, those that were the likeliest */
    int32_t *blocks; /* [block_count], room for the longest that it may become */
    int block_count;
    int32_t state_place; /* while it runs, of a model that keeps states */
    int32_t state_from;  /* where its states are: its place, or that of a kept one */
    int32_t state_entry; /* the kept one that it begins with or has left; or -1 */
    int keep_at; /* blocks of its prompt behind which others go on otherwise: states are kept there,
                    and behind the last that an equal prompt could share; 0: nowhere else */
    int published;              /* leading blocks that are in the prefix cache */
    struct sequence *parked_on; /* it waits for blocks of a prompt that this one is computing, */
    int parked_until;           /* until so many are published */
    uint64_t prefix;            /* ending with the last of those */
    struct token_stream stream;
    struct buffer text, error;
    struct constraint *constraint; /* NULL: the row has no grammar */
    int reported;   /* output tokens whose log-probabilities are there, where the row asks for them:
                       what was not drawn gets them with the next step */
    bool is_ending; /* all tokens are there; it ends with its next step, for this reason: */
    enum finish_reason end_reason;
    bool text_is_whole; /* cut at a stop string */
    float *logprobs;    /* [output tokens] */
    size_t logprob_capacity;
    int32_t *top_ids; /* [output tokens, row->top] */
    size_t top_id_capacity;
    float *top_logprobs;
    size_t top_logprob_capacity;
    float *embedding;
    double first_step; /* clock; 0: none yet */
};

status sequence_create(const struct engine_options *options, struct engine_row *row, int32_t sample,
                       int64_t order, struct sequence **out) MUST_CHECK;
void sequence_destroy(struct sequence *self);

/* Takes the `count` results of its last step: log-probabilities of tokens that were not drawn, and,
 * where the step reached its end, the token that was chosen. Appends that and what follows from it,
 * extends the text. *ended: the sample is over and self->finished is filled. */
status sequence_accept(struct sequence *self, const struct engine_options *options,
                       const struct sample_result *results, int count, bool *ended) MUST_CHECK;

/* Takes `count` results of its next scored tokens; *ended as above. */
status sequence_accept_scores(struct sequence *self, const struct sample_result *results, int count,
                              bool *ended) MUST_CHECK;

/* Takes its embedding [width], which ends it. */
status sequence_accept_embedding(struct sequence *self, const float *embedding,
                                 int width) MUST_CHECK;

/* The first position whose logits no step has asked for yet and which are wanted: its last, for a
 * scored row the one before the next token to score; past the end where none are. */
int sequence_first_output(const struct sequence *self);

/* Tokens that have been or are being computed, and all that are there when open steps are done. */
static inline int sequence_reached(const struct sequence *self)
{
    return self->computed + self->under_way;
}
static inline int sequence_known(const struct sequence *self)
{
    return self->count + self->to_come;
}
/* Prompt and output together at most. */
int sequence_longest(const struct sequence *self, const struct engine_options *options);
/* Whether it is not in the step after the open one for certain: it has ended, or what that draws is
 * its last token. */
bool sequence_leaves(const struct sequence *self, const struct engine_options *options);

/* Whether its keys are to be computed with long rope frequencies. */
bool sequence_wants_long_rope(const struct sequence *self, const struct engine_options *options);

#endif
