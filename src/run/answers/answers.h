/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer consists of: thinking and tool calls out of its text, in the model's forms. */
#ifndef SLUICE_RUN_ANSWERS_ANSWERS_H
#define SLUICE_RUN_ANSWERS_ANSWERS_H

#include "sluice/answer.h"
#include "sluice/engine.h"
#include "sluice/job.h"

struct answer_reader {
    const struct tokenizer *tokenizer;
    const struct reasoning_form *reasoning; /* NULL: answers do not think */
    const struct tool_call_form *calls;     /* of rows with tools; NULL: none */
    bool special[2]; /* some markers are special tokens, which texts lack: without calls, with */
    struct buffer text;
};

/* Zeroes and fills it: nothing can fail. Job and model outlive it. */
void answer_reader_start(struct answer_reader *reader, const struct job *job,
                         const struct model *model);
void answer_reader_end(struct answer_reader *reader);

bool answer_reader_is_thinking(const struct answer_reader *reader, const struct token_list *prompt);

/* Sets reasoning, tool_calls and text of a result whose text is the whole answer's; what it points
 * to lives in the arena. */
status answer_reader_take(struct answer_reader *reader, const struct row *row, bool is_thinking,
                          const struct finished_sample *sample, struct arena *arena,
                          struct result *result) MUST_CHECK;

#endif
