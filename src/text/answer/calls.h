/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls out of a text. */
#ifndef SLUICE_TEXT_ANSWER_CALLS_H
#define SLUICE_TEXT_ANSWER_CALLS_H

#include "sluice/answer.h"

/* Appends a call to a JSON list that has no closing bracket yet, empty for the first; *is_call
 * false where the arguments are no JSON object, and nothing is appended. */
status call_append(struct text_span name, struct text_span arguments, struct arena *arena,
                   struct buffer *list, bool *is_call) MUST_CHECK;

/* Takes the calls of a form out of a text: what stands before them is left. Where something in them
 * is not as the form has it, the text stays as it is and there are no calls. */
status calls_take(const struct tool_call_form *form, struct arena *arena, struct text_span *text,
                  struct text_span *calls) MUST_CHECK;

#endif
