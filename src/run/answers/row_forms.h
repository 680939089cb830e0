/* SPDX-License-Identifier: Apache-2.0 */
/* The forms that rows ask for, as grammars for the engine. */
#ifndef SLUICE_RUN_ANSWERS_ROW_FORMS_H
#define SLUICE_RUN_ANSWERS_ROW_FORMS_H

#include "grammar/request/request.h"
#include "run/answers/answers.h"
#include "sluice/model.h"

struct row_forms {
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct reasoning_form *reasoning; /* NULL: answers do not think */
    struct answer_style style;
    bool has_marker; /* thinking ends with tokens that no text has: */
    struct token_list marker;
    struct grammar_vocabulary *vocabulary; /* made for the first row that needs it */
    struct structured_cache *cache;
};

/* Zeroes and fills it: nothing can fail. Model and reader outlive it. */
void row_forms_start(struct row_forms *forms, const struct model *model,
                     const struct answer_reader *answers);
/* After the engine that has the rows is gone. */
void row_forms_end(struct row_forms *forms);

/* Makes what a row's params ask for as a form a grammar in these params; *out NULL where they ask
 * for none, or nothing is generated. STATUS_INVALID, STATUS_UNSUPPORTED and STATUS_LIMIT are the
 * row's own. The caller releases *out once the engine has let go of the row. */
status row_forms_take(struct row_forms *forms, const struct token_list *prompt,
                      struct generate_params *params, struct structured_entry **out) MUST_CHECK;
void row_forms_release(struct row_forms *forms, struct structured_entry *entry); /* NULL is fine */

#endif
