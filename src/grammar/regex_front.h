/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions as nodes of a grammar. */
#ifndef SLUICE_GRAMMAR_REGEX_FRONT_H
#define SLUICE_GRAMMAR_REGEX_FRONT_H

#include "grammar/expression.h"

enum grammar_regex_dialect {
    GRAMMAR_REGEX_ECMA,   /* JSON schema's `pattern`: ECMA-262 with the flag u */
    GRAMMAR_REGEX_PYTHON, /* `guided_regex`: as Python's re */
};

struct grammar_regex_options {
    enum grammar_regex_dialect dialect;
    bool is_search; /* the pattern may match anywhere within the text, as `pattern` of JSON schema
                       has it; else the whole text is to match, and `^` and `$` are allowed at its
                       ends */
};

/* `pattern` is anything; the node is without references. STATUS_INVALID for what is no regular
 * expression, STATUS_UNSUPPORTED for what is none of a finite automaton's (back references, word
 * boundaries, look-around within the text); the message has the byte's number. */
status grammar_regex(struct grammar_expressions *self, const char *pattern, size_t length,
                     struct grammar_regex_options options, grammar_node *out) MUST_CHECK;

#endif
