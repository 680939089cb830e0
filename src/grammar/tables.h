/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled grammar: the automata of its rules in one table. */
#ifndef SLUICE_GRAMMAR_TABLES_H
#define SLUICE_GRAMMAR_TABLES_H

#include "grammar/automaton/automaton.h"
#include "grammar/grammar.h"

#define TABLES_NEVER UINT32_MAX

enum { TABLES_NONE = 256, TABLES_MANY };

/* A way on through a text of another rule. */
struct grammar_call {
    uint32_t start; /* the rule's first state */
    uint32_t back;  /* where it goes on afterwards */
    uint32_t rule;  /* for its first bytes */
    bool is_tail;   /* nothing can follow: there is nothing to come back for */
};

/* No rule matches the empty text: where one may be left out its caller has a way around it. So
 * every call takes a byte at least, and the calls that a state can begin with end. */
struct grammar {
    uint8_t classes[256];
    uint32_t class_count;
    uint32_t state_count, rule_count;
    uint32_t *next;       /* [state_count, class_count] or AUTOMATON_DEAD */
    uint8_t *accepting;   /* [state_count]: a text of its rule ends here */
    uint8_t *has_ways;    /* [state_count]: it can go on within its rule */
    uint32_t *call_start; /* [state_count + 1] */
    struct grammar_call *calls;
    uint16_t *only_class; /* [state_count] the one class that it goes on by, TABLES_NONE or _MANY */
    uint8_t *is_plain;    /* [state_count] neither accepts nor calls */
    uint32_t *distance;   /* [state_count] bytes at least to the end of its rule */
    uint64_t *firsts;     /* [rule_count, 4] by class: how a text of the rule can begin */
    uint32_t root;        /* first state of the whole */
    bool is_nullable;     /* the empty text is one */
    uint8_t only_byte[256]; /* of a class */
    bool class_is_one[256]; /* whether it has one byte */
    uint32_t left_depth;    /* calls that begin with each other, at most */
};

/* The table of `automata` [rule_count], which stay the caller's. */
status tables_create(struct automaton *const *automata, size_t rule_count, size_t root,
                     const struct grammar_limits *limits, uint64_t *work_left,
                     struct grammar **out) MUST_CHECK;

/* Rewrites automata in which rules begin with themselves, directly or by way of others. */
status left_recursion_remove(struct automaton **automata, size_t rule_count, size_t most_states,
                             uint64_t *work_left) MUST_CHECK;

/* Strongly connected components of a graph: component_of[v] is the number of v's, and components
 * are numbered so that an edge leads to a lower or the same number. Edges of v are
 * targets[starts[v]] up to starts[v + 1]. */
status graph_components(size_t count, const uint32_t *starts, const uint32_t *targets,
                        uint32_t *component_of, size_t *components) MUST_CHECK;

static inline bool grammar_first_has(const struct grammar *self, uint32_t rule, uint8_t class)
{
    return (self->firsts[(size_t)rule * 4 + class / 64] >> (class % 64) & 1) != 0;
}

#endif
