/* SPDX-License-Identifier: Apache-2.0 */
/* What form an answer must have, as a job or a row asks for it: src/data/row/structured.c reads it,
 * src/grammar/request/request.h makes a grammar of it. */
#ifndef SLUICE_STRUCTURED_H
#define SLUICE_STRUCTURED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRUCTURED_COMPILE_LIMIT 10.0 /* seconds, where nobody says another */

enum structured_kind {
    STRUCTURED_NONE,
    STRUCTURED_JSON_OBJECT, /* any object */
    STRUCTURED_JSON_SCHEMA,
    STRUCTURED_REGEX,
    STRUCTURED_CHOICE,
    STRUCTURED_GRAMMAR,   /* GBNF or Lark */
    STRUCTURED_TOOL_CALL, /* calls of tools, in the form that the model's family has for them */
};

/* Plain data, copied by assignment. Texts live as long as the job, or the row's arena. */
struct structured_request {
    enum structured_kind kind;
    bool is_own; /* a row's, not the job's */
    /* The schema, the expression or the grammar; of a choice a JSON list of strings, of tool calls
     * the row's tools. JSON is compact, so that equal schemas are equal texts. */
    const char *text;
    size_t text_length;
    const char *function; /* of a tool call: the one function that may be called; NULL: any */
    bool any_white_space; /* between the parts of JSON; else none */
    bool closed_objects;  /* see src/grammar/schema/schema.h */
    bool close;           /* the last tokens of max_new_tokens go to closing what is open */
    double compile_limit; /* seconds, as work of a fixed speed */
};

/* "json_schema", "regex"…, "none". */
const char *structured_kind_name(enum structured_kind kind);

#endif
