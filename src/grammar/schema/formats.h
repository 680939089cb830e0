/* SPDX-License-Identifier: Apache-2.0 */
/* The table of formats of texts that are compiled, each a regular expression. */
#ifndef SLUICE_GRAMMAR_SCHEMA_FORMATS_H
#define SLUICE_GRAMMAR_SCHEMA_FORMATS_H

#include "grammar/expression.h"

struct text_format {
    const char *name;
    const char *pattern; /* of the whole text, ECMA-262; NULL: says nothing of texts */
    const char *says;    /* for documentation */
};

const struct text_format *text_format_find(const char *name); /* NULL: not in the table */
const struct text_format *text_format_at(size_t index);       /* NULL past the end */

/* The JSON strings whose texts have the format, as one automaton: made once a process, by whichever
 * thread needs it first, and charged to every grammar alike. */
status text_format_strings(const struct text_format *format,
                           struct grammar_expressions *expressions, grammar_node *out) MUST_CHECK;

#endif
