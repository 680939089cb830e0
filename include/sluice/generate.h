/* SPDX-License-Identifier: Apache-2.0 */
/* What a row asks of generation: sampling, stopping, what to report. One struct for the job's
 * defaults and a row's own.
 *
 * The names, ranges and defaults stand once, in generate_field_table (src/data/row/generate.c): the
 * job file, a row's overrides, the error messages and docs/job-file.md are all made from it. */
#ifndef SLUICE_GENERATE_H
#define SLUICE_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/sampling.h"
#include "sluice/structured.h"

struct grammar_masks; /* src/grammar/grammar.h */

enum {
    GENERATE_MAX_MARKER = 8,       /* tokens before which a grammar does not count */
    GENERATE_MAX_STOPS = 16,       /* stop strings of a row */
    GENERATE_MAX_STOP_BYTES = 256, /* of one stop string */
    GENERATE_MAX_STOP_IDS = 64,
    GENERATE_MAX_BIASES = 1024,
    GENERATE_MAX_SAMPLES = 1024,
};

/* What is done with a row; sluice/task.h has the table. Those of `generate.mode` come first. */
enum task {
    TASK_GENERATE, /* tokens are generated after its prompt */
    TASK_SCORE,    /* given tokens get their log-probabilities */
    TASK_CLASSIFY, /* its labels get scores */
    TASK_RERANK,   /* how well documents answer a query */
    TASK_REWARD,   /* how good an answer is: one value */
    TASK_EMBED,    /* it becomes a vector */
    TASKS
};

/* Where sampling values come from that neither job nor row sets: the model's own
 * (generation_config.json), or the table's. */
enum generate_defaults { DEFAULTS_MODEL, DEFAULTS_NONE };

/* Plain data: copied by assignment. Strings and lists point into memory that outlives the struct (a
 * job or a row's arena). */
struct generate_params {
    enum task task; /* of the whole job: a row cannot set it. job_task says what it comes to */
    enum generate_defaults defaults; /* likewise */
    int max_new_tokens;              /* at least 1 */
    struct sampling sampling;
    bool seed_is_own; /* the row's, not the job's */
    int samples;      /* n: answers a prompt */
    int stop_count;
    const char *stop[GENERATE_MAX_STOPS];
    int stop_id_count;
    int32_t stop_ids[GENERATE_MAX_STOP_IDS];
    int min_tokens; /* before so many are generated neither end tokens nor stop_ids are drawn, and
                       stop strings do not count */
    int allowed_id_count;
    const int32_t *allowed_ids; /* [allowed_id_count] no other token is drawn; 0 of them: all may */
    int bias_count;
    const struct logit_bias *biases; /* [bias_count] ids ascending, each once */
    bool continue_final_message; /* of a conversation: the answer goes on with its last message */
    struct structured_request structured; /* the form that an answer must have */
    struct grammar_masks *grammar; /* what the answer must be: set by who adds the row to an engine,
                                      borrowed until its last sample is released; NULL: anything */
    bool grammar_closes;           /* the last of max_new_tokens go to closing what is open */
    int grammar_after_count;
    int32_t grammar_after[GENERATE_MAX_MARKER]; /* [grammar_after_count] the grammar counts from
                                                   behind these tokens on: thinking comes before */
    bool ignore_eos; /* the model's end tokens do not stop; stop strings and stop_token_ids still do
                      */
    bool include_stop;        /* the text keeps the stop string, and the end token's text */
    bool keep_special_tokens; /* the text keeps special tokens; the field is skip_special_tokens */
    int second_text; /* the token at which a pair's second text begins; 0: none has token type 1 */
    int truncate_prompt; /* k > 0: of the prompt the last k tokens (an encoder's first), -1: as many
                            as leave room for the answer, 0: all, and too many are an error */
};

/* Why a sample ended. Stored as an HDF5 enum with these values and the names of finish_reason_name.
 */
enum finish_reason {
    FINISH_STOP,   /* an end token, a stop token id or a stop string; the end of a given text */
    FINISH_LENGTH, /* max_new_tokens, or the context is full */
    FINISH_ERROR,  /* the row could not be run; the error column says why */
};
const char *finish_reason_name(enum finish_reason reason); /* "stop", "length", "error" */

#endif
