/* SPDX-License-Identifier: Apache-2.0 */
/* What the notations of grammars share: names, alternatives, sequences, repetition. Each brings its
 * atoms and its definitions. */
#ifndef SLUICE_GRAMMAR_EBNF_PARSER_H
#define SLUICE_GRAMMAR_EBNF_PARSER_H

#include "grammar/expression.h"

enum { EBNF_MAX_DEPTH = 200 };

struct ebnf_name {
    const char *text; /* in the grammar's text */
    size_t length;
    grammar_rule rule;
    int line; /* where it is used first, for one that is never defined */
    bool is_defined;
};

struct ebnf_parser {
    struct grammar_expressions *arena;
    const char *text; /* well-formed UTF-8 */
    size_t length, position;
    int depth;
    const struct ebnf_notation *notation;
    struct ebnf_name *names;
    size_t name_count, name_capacity;
    uint32_t *table; /* names by text, 0 free, else the number + 1 */
    size_t table_size;
    /* Lark's: what is ignored between terminals. */
    bool has_ignored, in_terminal;
    grammar_rule ignored_rule;
    grammar_node ignored; /* any number of it: a reference, since it is known in the end only */
    grammar_node ignorable;
};

struct ebnf_notation {
    const char *name;
    /* What stands at the position, if anything does that is part of a sequence; *found false and
     * nothing is consumed else. */
    status (*atom)(struct ebnf_parser *parser, grammar_node *out, bool *found);
    /* What may stand behind an atom: repeats it. */
    status (*postfix)(struct ebnf_parser *parser, grammar_node *node, bool *found);
    /* Whether a definition begins at the position, which ends the one before. */
    bool (*at_definition)(const struct ebnf_parser *parser);
    /* One definition or directive at the position. */
    status (*definition)(struct ebnf_parser *parser);
    const char *comments[2]; /* how they begin, to the end of the line; NULL */
    const char *start;       /* the name of the first rule */
};

/* Reads all of `text`; *out is the start rule's node. `may_ignore`: there may be something that is
 * ignored between terminals. */
status ebnf_parse(struct grammar_expressions *arena, const struct ebnf_notation *notation,
                  const char *text, size_t length, bool may_ignore, grammar_node *out) MUST_CHECK;

/* A failure at the position: "GBNF, line 3: …". */
status ebnf_fail(const struct ebnf_parser *parser, status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool ebnf_at_end(const struct ebnf_parser *parser);
bool ebnf_looking_at(const struct ebnf_parser *parser, const char *text);
bool ebnf_take(struct ebnf_parser *parser, const char *text);
/* White space and comments, over lines. */
void ebnf_skip(struct ebnf_parser *parser);
/* White space within the line. */
void ebnf_skip_blanks(struct ebnf_parser *parser);
/* A name of letters, digits, _ and, where `dashes`, -; 0 where there is none. */
size_t ebnf_name_length(const struct ebnf_parser *parser, size_t at, bool dashes);
/* A decimal number; STATUS_INVALID where there is none. */
status ebnf_number(struct ebnf_parser *parser, uint32_t *out) MUST_CHECK;

/* The name's entry, made where it is new. */
status ebnf_find_name(struct ebnf_parser *parser, const char *text, size_t length,
                      struct ebnf_name **out) MUST_CHECK;
/* Defines a name as a node, once. */
status ebnf_define(struct ebnf_parser *parser, const char *text, size_t length,
                   grammar_node node) MUST_CHECK;

/* Alternatives up to something that is none of theirs. */
status ebnf_alternatives(struct ebnf_parser *parser, grammar_node *out) MUST_CHECK;

#endif
