/* SPDX-License-Identifier: Apache-2.0 */
/* The table of formats of texts that are compiled, each a regular expression. */
#ifndef SLUICE_GRAMMAR_SCHEMA_FORMATS_H
#define SLUICE_GRAMMAR_SCHEMA_FORMATS_H

#include <stddef.h>

struct text_format {
    const char *name;
    const char *pattern; /* of the whole text, ECMA-262; NULL: says nothing of texts */
    const char *says;    /* for documentation */
};

const struct text_format *text_format_find(const char *name); /* NULL: not in the table */
const struct text_format *text_format_at(size_t index);       /* NULL past the end */

#endif
