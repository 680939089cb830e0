/* SPDX-License-Identifier: Apache-2.0 */
/* From a parsed row to the token ids that the model is given. */
#ifndef SLUICE_RUN_PROMPT_H
#define SLUICE_RUN_PROMPT_H

#include "sluice/job.h"

/* Zero-initialise, then prompt_encoder_start. One thread. */
struct prompt_encoder {
    const struct model *model; /* borrowed */
    int max_tokens; /* an encoder's texts are cut to so many; 0: not known, nothing is cut */
    int64_t now;    /* for strftime_now in templates, Unix seconds */
    struct chat_cache *templates;      /* that rows bring along */
    struct tokenizer_scratch *scratch; /* NULL where the model has no tokenizer */
    struct buffer text;                /* of the latest prompt as the tokenizer got it; empty for
                                          PROMPT_TOKENS */
    struct token_list tokens;          /* of the latest prompt, and of what is scored after it */
    size_t second_text;                /* of these; 0 where there is no second text */
    size_t first_scored;               /* of these; 0 where nothing is scored */
    struct buffer whole;               /* scratch */
    struct token_list content;         /* scratch */
};
status prompt_encoder_start(struct prompt_encoder *encoder, const struct model *model,
                            int max_tokens, int64_t now) MUST_CHECK;
void prompt_encoder_end(struct prompt_encoder *encoder);

/* How a job's rows are read. */
struct row_format prompt_row_format(const struct job *job);

/* Whether a row's answers keep their token ids: where the job or their log-probabilities ask for
 * them, where they are what was scored, and where nothing turns them into text. */
bool prompt_keeps_token_ids(const struct job *job, const struct model *model,
                            const struct row *row);

/* Renders what goes through the chat template and tokenizes: encoder->text and encoder->tokens.
 *
 * Where rows are scored, a completion's text is tokenized together with the prompt's, and scored
 * from the first token on that differs from those of the prompt alone: a token that begins in the
 * prompt and ends in the completion is the completion's. Without a completion all tokens but the
 * first, which nothing precedes.
 *
 * For an encoder texts that are too long are cut at their end; the tokens that the post-processor
 * puts around them stay. STATUS_INVALID speaks of the row. */
status prompt_encode(struct prompt_encoder *encoder, const struct row *row) MUST_CHECK;

/* Refuses a job none of whose rows can run because the model has no tokenizer: reads the data set
 * until a row of token ids comes, and not at all where there is a tokenizer. */
status prompt_check_tokenizer(const struct job *job, const struct input_files *files,
                              const struct model *model) MUST_CHECK;

#endif
