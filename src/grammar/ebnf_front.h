/* SPDX-License-Identifier: Apache-2.0 */
/* Context-free grammars as people have them, in two notations: GBNF (llama.cpp) and Lark (the
 * Python library, as vLLM and llguidance take it). docs/structured-output.md lists what of them is
 * understood. */
#ifndef SLUICE_GRAMMAR_EBNF_FRONT_H
#define SLUICE_GRAMMAR_EBNF_FRONT_H

#include "grammar/expression.h"

/* The node of the start rule (`root` in GBNF, `start` in Lark). `text` is anything. STATUS_INVALID
 * and STATUS_UNSUPPORTED name the line and what mends it. */
status grammar_gbnf(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out) MUST_CHECK;
status grammar_lark(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out) MUST_CHECK;

/* One of the two, by what defines its rules: `::=` is GBNF's, `:` Lark's. */
status grammar_ebnf(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out) MUST_CHECK;

#endif
