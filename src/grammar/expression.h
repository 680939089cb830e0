/* SPDX-License-Identifier: Apache-2.0 */
/* What a text may be, said in an arena of hash-consed nodes: the one language that the front ends
 * (JSON schema, regular expressions, EBNF) are written in and that grammar_compile reads.
 *
 * A node stands for a set of texts, which are bytes. Equal expressions are the same node. Nothing
 * here is checked for meaning but for limits: work and memory are counted, never timed, so the same
 * input gives the same outcome on every machine. */
#ifndef SLUICE_GRAMMAR_EXPRESSION_H
#define SLUICE_GRAMMAR_EXPRESSION_H

#include "sluice/base.h"

struct grammar_expressions; /* the arena; one per grammar being built, used by one thread */
typedef uint32_t grammar_node;
typedef uint32_t grammar_rule;

#define GRAMMAR_UNBOUNDED UINT32_MAX

/* 0 takes the default. What passes a limit is STATUS_LIMIT. */
struct grammar_limits {
    size_t nodes;   /* of the arena */
    size_t states;  /* of all automata of the grammar */
    size_t depth;   /* of expressions in each other */
    double seconds; /* of compiling, counted as work of a fixed speed (GRAMMAR_WORK_A_SECOND) */
    size_t bytes;   /* of tables and cached masks */
};
#define GRAMMAR_WORK_A_SECOND 5e7

struct code_point_range {
    uint32_t first, last; /* both inclusive */
};

/* `limits` NULL: the defaults. The caller destroys *out. */
status grammar_expressions_create(const struct grammar_limits *limits,
                                  struct grammar_expressions **out) MUST_CHECK;
void grammar_expressions_destroy(struct grammar_expressions *self);

/* ---- Expressions; STATUS_LIMIT and STATUS_NO_MEMORY from each ---- */

/* These bytes; count 0 is the empty text. */
status grammar_literal(struct grammar_expressions *self, const char *bytes, size_t count,
                       grammar_node *out) MUST_CHECK;
/* One byte of a set: bit b % 64 of set[b / 64]. */
status grammar_byte_set(struct grammar_expressions *self, const uint64_t set[4],
                        grammar_node *out) MUST_CHECK;
/* One code point of the ranges, as UTF-8; in any order, may overlap. Surrogates are left out.
 * STATUS_INVALID past U+10FFFF. */
status grammar_code_points(struct grammar_expressions *self, const struct code_point_range *ranges,
                           size_t count, grammar_node *out) MUST_CHECK;
status grammar_sequence(struct grammar_expressions *self, const grammar_node *nodes, size_t count,
                        grammar_node *out) MUST_CHECK;
/* One of the nodes; of none nothing matches. */
status grammar_choice(struct grammar_expressions *self, const grammar_node *nodes, size_t count,
                      grammar_node *out) MUST_CHECK;
/* `least` to `most` times, GRAMMAR_UNBOUNDED for any number; where least is more than most nothing
 * matches. */
status grammar_repeat(struct grammar_expressions *self, grammar_node node, uint32_t least,
                      uint32_t most, grammar_node *out) MUST_CHECK;

/* Texts that are in `a` and in `b`, and those in `a` and not in `b`. STATUS_UNSUPPORTED where one
 * has a reference to a rule. */
status grammar_both(struct grammar_expressions *self, grammar_node a, grammar_node b,
                    grammar_node *out) MUST_CHECK;
status grammar_without(struct grammar_expressions *self, grammar_node a, grammar_node b,
                       grammar_node *out) MUST_CHECK;

/* The JSON string whose value is a text of `node`: quotation marks around it, and the characters
 * that must be escaped in their one canonical form: \" \\ \b \t \n \f \r, else \u00XX with small
 * hexadecimal digits. STATUS_UNSUPPORTED where the node has a reference to a rule. */
status grammar_json_string_of(struct grammar_expressions *self, grammar_node node,
                              grammar_node *out) MUST_CHECK;

/* Of the JSON string of a character many times: the same texts, without a state for each character.
 * Any other node stays as it is. */
status grammar_split_long_text(struct grammar_expressions *self, grammar_node node,
                               grammar_node *out) MUST_CHECK;

/* ---- Rules: what may refer to itself ---- */

/* `name` is for messages and may be NULL. A rule that is never defined matches nothing. */
status grammar_rule_declare(struct grammar_expressions *self, const char *name,
                            grammar_rule *out) MUST_CHECK;
/* STATUS_INVALID for a second time. */
status grammar_rule_define(struct grammar_expressions *self, grammar_rule rule,
                           grammar_node node) MUST_CHECK;
status grammar_reference(struct grammar_expressions *self, grammar_rule rule,
                         grammar_node *out) MUST_CHECK;

/* ---- Questions about expressions without references, else STATUS_UNSUPPORTED ---- */

/* Does it match nothing at all? */
status grammar_is_empty(struct grammar_expressions *self, grammar_node node, bool *out) MUST_CHECK;
/* Do two of them share a text? */
status grammar_overlap(struct grammar_expressions *self, grammar_node a, grammar_node b,
                       bool *out) MUST_CHECK;
/* Is a text one of its own? */
status grammar_matches(struct grammar_expressions *self, grammar_node node, const char *text,
                       size_t length, bool *out) MUST_CHECK;

#endif
