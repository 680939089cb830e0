/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls as expressions: a family's form around the schemas of the functions' arguments. */
#ifndef SLUICE_GRAMMAR_REQUEST_TOOL_CALLS_H
#define SLUICE_GRAMMAR_REQUEST_TOOL_CALLS_H

#include "grammar/expression.h"
#include "grammar/request/request.h"
#include "grammar/schema/options.h"

enum { TOOL_CALLS_MOST = 16 }; /* of one answer */

/* One call of request->function, or where that is NULL one to TOOL_CALLS_MOST of any of the tools.
 * STATUS_UNSUPPORTED where style->calls is NULL. */
status tool_calls_node(struct grammar_expressions *expressions,
                       const struct structured_request *request, const struct answer_style *style,
                       const struct schema_options *options, grammar_node *out) MUST_CHECK;

#endif
