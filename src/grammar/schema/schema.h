/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema to expressions: the texts of all values for which a schema holds, each in one
 * canonical form.
 *
 * Members stand in the order in which the schema declares them, names that it does not declare
 * after all others; texts have only the escapes that JSON demands; values of enum and const are as
 * the schema writes them. No text is accepted for which the schema does not hold. What cannot be
 * said so is an error with the JSON pointer and the keyword; docs/structured-output.md has the
 * table of keywords. */
#ifndef SLUICE_GRAMMAR_SCHEMA_H
#define SLUICE_GRAMMAR_SCHEMA_H

#include "grammar/expression.h"
#include "grammar/schema/options.h"
#include "sluice/json.h"

/* The texts of a schema's values. STATUS_INVALID: no schema; STATUS_UNSUPPORTED: a keyword that is
 * refused; STATUS_LIMIT: too large. The message begins with the place: "#/properties/a/not: …". */
status schema_compile(struct grammar_expressions *expressions, const struct json *schema,
                      const struct schema_options *options, grammar_node *out) MUST_CHECK;
/* The same of a text. */
status schema_compile_text(struct grammar_expressions *expressions, const char *text, size_t length,
                           const struct schema_options *options, grammar_node *out) MUST_CHECK;

/* Whether a schema holds for a value, for tests: what the compiled keywords say. */
status schema_accepts(struct grammar_expressions *expressions, const struct json *schema,
                      const struct json *value, bool *out) MUST_CHECK;

/* Appends the tables of keywords and formats in Markdown: what `sluice help structured` prints and
 * docs/structured-output.md holds. */
status schema_describe(struct buffer *out) MUST_CHECK;

#endif
