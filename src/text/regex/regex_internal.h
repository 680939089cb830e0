/* SPDX-License-Identifier: Apache-2.0 */
/* The regular expression's program, between its compiler and its matcher. */
#ifndef SLUICE_TEXT_TOKENIZER_REGEX_INTERNAL_H
#define SLUICE_TEXT_TOKENIZER_REGEX_INTERNAL_H

#include "text/regex/regex.h"
#include "text/unicode/unicode.h"

enum regex_operation {
    REGEX_SET,        /* one character of set `a` */
    REGEX_LOOP,       /* `low` to `high` characters of set `a`; `mode` */
    REGEX_SPLIT,      /* go on at `a`, on failure at `b` */
    REGEX_JUMP,       /* to `a` */
    REGEX_MARK,       /* register `a` = position */
    REGEX_PROGRESS,   /* to `b` if nothing was consumed since MARK of register `a` */
    REGEX_ATOMIC,     /* runs what follows up to its ACCEPT once, then goes on at `a` */
    REGEX_LOOKAHEAD,  /* the same without consuming; `mode` is whether it is negated */
    REGEX_LOOKBEHIND, /* the same for `low` to `high` characters that end here */
    REGEX_ASSERT,     /* `a`: enum regex_assertion */
    REGEX_ACCEPT,
};

enum regex_assertion {
    REGEX_LINE_START,
    REGEX_LINE_END,
    REGEX_TEXT_START,
    REGEX_TEXT_END,
    REGEX_TEXT_END_OR_NEWLINE,
    REGEX_WORD_BOUNDARY,
    REGEX_NOT_WORD_BOUNDARY
};

enum regex_mode { REGEX_GREEDY, REGEX_LAZY, REGEX_POSSESSIVE };

enum { REGEX_UNBOUNDED = UINT32_MAX, REGEX_MAX_REGISTERS = 32, REGEX_MAX_ALTERNATIVES = 64 };

struct regex_instruction {
    uint8_t operation, mode;
    uint32_t a, b, low, high;
};

struct regex {
    struct regex_instruction *program;
    size_t program_count, program_capacity;
    struct unicode_set *sets;
    size_t set_count, set_capacity;
    uint32_t word_set; /* for the boundaries; UINT32_MAX where none is asked for */
    uint32_t register_count;
    /* The alternatives at the top are tried in order, but only those that can begin with the byte
     * at hand: bit i of first[byte] stands for alternatives[i]. */
    uint32_t alternatives[REGEX_MAX_ALTERNATIVES]; /* where each begins in the program */
    size_t alternative_count;
    uint64_t first[256];
    uint64_t first_at_end; /* those that may match nothing */
};

/* ---- The tree between parser and compiler (in an arena) ---- */

enum regex_node_kind {
    REGEX_NODE_EMPTY,
    REGEX_NODE_SET,
    REGEX_NODE_SEQUENCE,    /* children in order */
    REGEX_NODE_ALTERNATIVE, /* one of the children */
    REGEX_NODE_REPEAT,
    REGEX_NODE_ATOMIC,
    REGEX_NODE_LOOKAHEAD,
    REGEX_NODE_LOOKBEHIND,
    REGEX_NODE_ASSERT,
};

struct regex_node {
    enum regex_node_kind kind;
    uint32_t set;               /* SET */
    uint32_t low, high;         /* REPEAT */
    enum regex_mode mode;       /* REPEAT */
    bool negated;               /* LOOK… */
    enum regex_assertion which; /* ASSERT */
    struct regex_node *child;   /* first */
    struct regex_node *next;    /* sibling */
};

/* Whose syntax a pattern is in, and whose classes. Patterns of the last two are for grammars
 * (src/grammar/regex_front.h), which have no matcher of this folder. */
enum regex_dialect {
    REGEX_ONIGURUMA, /* tokenizer.json */
    REGEX_ECMA,      /* ECMA-262 with the flag u, and unknown escapes of punctuation */
    REGEX_PYTHON,    /* Python's re, for str; \p{…} as well */
};

/* Parses into *out; sets go into `regex`. */
status regex_parse(const char *pattern, size_t length, enum regex_dialect dialect,
                   struct regex *regex, struct arena *arena, struct regex_node **out) MUST_CHECK;

/* The same of any bytes, into a regex without a program that is the caller's to destroy. */
status regex_read(const char *pattern, size_t length, enum regex_dialect dialect,
                  struct arena *arena, struct regex **out, struct regex_node **root) MUST_CHECK;

/* ---- Parser (regex_parse.c, and regex_class.c for classes) ---- */

enum { REGEX_MAX_DEPTH = 64 };

struct regex_parser {
    const char *pattern;
    size_t length, position;
    struct regex *regex;
    struct arena *arena;
    enum regex_dialect dialect;
    int depth;
    bool ignore_case, dot_all, extended; /* (?i) (?m) (?x) */
};

/* A failure at the parser's position. */
status regex_parser_fail(const struct regex_parser *parser, status code, const char *why);
bool regex_parser_at_end(const struct regex_parser *parser);
bool regex_parser_looking_at(const struct regex_parser *parser, const char *text);
/* Consumes `text` if it is what comes next. */
bool regex_parser_take(struct regex_parser *parser, const char *text);
/* Up to `most` digits. */
uint32_t regex_parser_digits(struct regex_parser *parser, int base, int most);

/* Completes a set that lacks only case and negation. */
status regex_parser_finish_set(struct regex_parser *parser, struct unicode_set *set,
                               bool negate) MUST_CHECK;
/* What stands behind a backslash, where it is a class: adds it to `set`. `bare`: not in brackets.
 */
status regex_parser_escaped_class(struct regex_parser *parser, struct unicode_set *set, bool bare,
                                  bool *was_class) MUST_CHECK;
/* What stands behind a backslash, where it is one character. */
status regex_parser_escaped_character(struct regex_parser *parser, uint32_t *out) MUST_CHECK;
/* Behind "[": the whole class with its "]", into the empty set `out`. */
status regex_parser_class(struct regex_parser *parser, struct unicode_set *out) MUST_CHECK;

/* Adds an empty set; its number in *index. */
status regex_set_new(struct regex *regex, uint32_t *index) MUST_CHECK;

/* Adds the set of a property's name ("L", "Han", "Alpha") to `set`. `bracket`: as in [[:punct:]],
 * where punct has the symbols too. */
status regex_set_add_property(struct unicode_set *set, const char *name, size_t length,
                              bool bracket) MUST_CHECK;

/* \d, \w or \s (`letter` in lower case) of a dialect other than Oniguruma's. */
status regex_set_add_letter(struct unicode_set *set, enum regex_dialect dialect,
                            char letter) MUST_CHECK;

/* \w as the regular expressions have it; `bare`: outside of brackets. */
status regex_set_add_word(struct unicode_set *set, bool bare) MUST_CHECK;
status regex_set_add_space(struct unicode_set *set) MUST_CHECK;

#endif
