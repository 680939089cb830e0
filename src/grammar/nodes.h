/* SPDX-License-Identifier: Apache-2.0 */
/* The arena of expressions as those see it who build automata from it. */
#ifndef SLUICE_GRAMMAR_NODES_H
#define SLUICE_GRAMMAR_NODES_H

#include "grammar/automaton/automaton.h"
#include "grammar/expression.h"

enum expression_kind {
    NODE_NOTHING,   /* no text */
    NODE_EMPTY,     /* the empty text */
    NODE_BYTES,     /* one byte of a set */
    NODE_LITERAL,   /* two bytes or more */
    NODE_SEQUENCE,  /* children in order, two or more */
    NODE_CHOICE,    /* one of the children, two or more, ascending */
    NODE_REPEAT,    /* of child `first` */
    NODE_REFERENCE, /* to rule `first` */
    NODE_AUTOMATON, /* number `first` of the arena's automata */
};

struct expression {
    uint8_t kind;
    bool is_regular;  /* refers to no rule */
    bool is_nullable; /* matches the empty text; of references unknown, false */
    uint32_t first;   /* SEQUENCE, CHOICE: its children begin here; LITERAL: its bytes; BYTES: its
                         set; else as said above */
    uint32_t count;   /* of children or bytes */
    uint32_t least, most; /* REPEAT */
    uint32_t depth;
    uint64_t weight; /* about how many states it takes, saturating */
};

struct rule {
    char *name; /* "" where it has none */
    grammar_node node;
    bool is_defined;
};

struct byte_set {
    uint64_t words[4];
};

struct grammar_expressions {
    struct grammar_limits limits;
    uint64_t work_left;
    size_t states_used; /* of the automata of nodes */
    struct expression *nodes;
    size_t node_count, node_capacity;
    grammar_node *children;
    size_t child_count, child_capacity;
    char *bytes;
    size_t byte_count, byte_capacity;
    struct byte_set *sets;
    size_t set_count, set_capacity;
    struct rule *rules;
    size_t rule_count, rule_capacity;
    struct automaton **automata;
    size_t automaton_count, automaton_capacity;
    uint32_t *table; /* nodes by content, 0 free, else the node's number + 1 */
    size_t table_size;
    struct derived { /* results of both, without, json_string_of */
        uint32_t operation, a, b, result;
    } * derived;
    size_t derived_count, derived_capacity;
};

static inline bool byte_set_has(const struct byte_set *set, unsigned byte)
{
    return (set->words[byte / 64] >> (byte % 64) & 1) != 0;
}

static inline void byte_set_add(struct byte_set *set, unsigned first, unsigned last)
{
    for (unsigned byte = first; byte <= last; byte++) {
        set->words[byte / 64] |= UINT64_C(1) << (byte % 64);
    }
}

/* The limits with defaults in the place of zeros. */
struct grammar_limits grammar_limits_or_default(const struct grammar_limits *limits);

/* Takes `amount` from the work that is left; STATUS_LIMIT where there is not so much. */
status grammar_work(struct grammar_expressions *self, uint64_t amount) MUST_CHECK;

/* The node of an automaton, which is the arena's from here on, also on failure. One that matches
 * nothing becomes NODE_NOTHING. */
status grammar_automaton_node(struct grammar_expressions *self, struct automaton *automaton,
                              grammar_node *out) MUST_CHECK;

/* The automaton of a node without references, minimal. The caller destroys *out. */
status grammar_node_automaton(struct grammar_expressions *self, grammar_node node,
                              struct automaton **out) MUST_CHECK;

/* What operations on nodes came to before: each is computed once. */
enum derivation { DERIVED_BOTH, DERIVED_WITHOUT, DERIVED_JSON, DERIVED_MINIMAL };
bool grammar_find_derived(const struct grammar_expressions *self, enum derivation operation,
                          grammar_node a, grammar_node b, grammar_node *out);
status grammar_keep_derived(struct grammar_expressions *self, enum derivation operation,
                            grammar_node a, grammar_node b, grammar_node result) MUST_CHECK;

/* STATUS_UNSUPPORTED where the node refers to a rule. */
status grammar_require_regular(const struct grammar_expressions *self, grammar_node node,
                               const char *what) MUST_CHECK;

#endif
