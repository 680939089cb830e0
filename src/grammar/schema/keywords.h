/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of JSON Schema's keywords: which are compiled, which say nothing of a value, which
 * are refused. The compiler reads schemas by it; `sluice help structured` and
 * docs/structured-output.md are made from it. */
#ifndef SLUICE_GRAMMAR_SCHEMA_KEYWORDS_H
#define SLUICE_GRAMMAR_SCHEMA_KEYWORDS_H

#include "sluice/json.h"

enum keyword_use {
    KEYWORD_COMPILED,
    KEYWORD_ANNOTATION, /* says nothing of what a value may be: ignored */
    KEYWORD_REFUSED,    /* an automaton cannot hold it, or nobody has built it: an error */
};

/* What stands behind it, so that a document can be walked. */
enum keyword_holds {
    HOLDS_VALUE,
    HOLDS_SCHEMA,
    HOLDS_SCHEMAS,        /* a list of them */
    HOLDS_SCHEMA_OR_LIST, /* `items` as draft-07 has it */
    HOLDS_NAMED_SCHEMAS,  /* an object of them */
};

struct schema_keyword {
    const char *name;
    enum keyword_use use;
    enum keyword_holds holds;
    const char *says; /* for documentation; of a refused one why, or what to write instead */
};

/* NULL for a name that the table does not have. Names that begin with "x-" are annotations. */
const struct schema_keyword *schema_keyword_find(const char *name, size_t length);
/* By index, for documentation: NULL past the end. */
const struct schema_keyword *schema_keyword_at(size_t index);
const char *keyword_use_name(enum keyword_use use); /* "compiled", "ignored", "refused" */

#endif
