/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls as expressions: a family's form around the schemas of the functions' arguments. */
#ifndef SLUICE_GRAMMAR_REQUEST_TOOL_CALLS_H
#define SLUICE_GRAMMAR_REQUEST_TOOL_CALLS_H

#include "grammar/expression.h"
#include "grammar/grammar.h"
#include "grammar/schema/options.h"
#include "sluice/answer.h"
#include "sluice/structured.h"

enum { TOOL_CALLS_MOST = 16 }; /* of one answer */

/* How a model writes a call. */
struct call_style {
    const struct tool_call_form *form; /* NULL: not known */
    const struct tokenizer *tokenizer; /* whose special tokens are meant where the form's markers
                                          have their names; NULL: markers are texts */
};

/* One call of request->function, or where that is NULL one to TOOL_CALLS_MOST of any of the tools.
 * STATUS_UNSUPPORTED where the style has no form. */
status tool_calls_node(struct grammar_expressions *expressions,
                       const struct structured_request *request, const struct call_style *style,
                       const struct schema_options *options, grammar_node *out) MUST_CHECK;

#endif
