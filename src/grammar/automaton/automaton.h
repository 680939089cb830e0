/* SPDX-License-Identifier: Apache-2.0 */
/* Finite automata over bytes and calls: what one rule of a grammar, or an expression without rules,
 * becomes.
 *
 * An nfa is built from expressions back to front; an automaton is deterministic over bytes and
 * calls, and minimal. A call is an edge that is gone through by a text of another rule. */
#ifndef SLUICE_GRAMMAR_AUTOMATON_H
#define SLUICE_GRAMMAR_AUTOMATON_H

#include "sluice/base.h"

#define AUTOMATON_DEAD UINT32_MAX

struct automaton_call {
    uint32_t rule, target;
};

/* State 0 is the start. Every state can reach an accepting one, but for the start of one that
 * matches nothing. */
struct automaton {
    uint8_t classes[256]; /* bytes that no state tells apart have one class */
    uint32_t class_count;
    uint32_t state_count;
    uint32_t *next;               /* [state_count, class_count] */
    uint8_t *accepting;           /* [state_count] */
    uint32_t *call_start;         /* [state_count + 1] into calls */
    struct automaton_call *calls; /* of a state ascending by rule, each once */
};
void automaton_destroy(struct automaton *self);

/* Whether no accepting state has a way on: no text is the beginning of another. */
bool automaton_is_closed(const struct automaton *self);

status automaton_copy(const struct automaton *self, struct automaton **out) MUST_CHECK;

/* The texts of a byte, then a unit from `least` to `most` times (at least once), then a byte. */
struct chain {
    const struct automaton *unit;
    uint32_t least, most;
    uint8_t first, last;
};
/* Whether units may follow each other in a chain that ends with `last`: nothing can be added to a
 * text of the unit so that it is another one, none begins with `last`, and no state of it is its
 * first one again. */
bool automaton_can_chain(const struct automaton *unit, uint8_t last);
/* The minimal automaton of a chain whose unit can be one's. The caller destroys *out. */
status automaton_chain(const struct chain *chain, size_t most_states, uint64_t *work_left,
                       struct automaton **out) MUST_CHECK;

static inline uint32_t automaton_step(const struct automaton *self, uint32_t state, uint8_t byte)
{
    return self->next[(size_t)state * self->class_count + self->classes[byte]];
}

/* ---- Automata that are not deterministic ---- */

struct nfa_edge {
    uint8_t low, high;     /* bytes */
    uint32_t target, next; /* next edge of the state, NFA_NONE at the end */
};

#define NFA_NONE UINT32_MAX

struct nfa_state {
    uint32_t edges;   /* first of them */
    uint32_t empties; /* first of the edges that take nothing (low, high unused) */
    uint32_t calls;   /* likewise, `low` and `high` unused; rule in nfa.call_rules by edge */
    bool accepting;
};

struct nfa {
    struct nfa_state *states;
    size_t state_count, state_capacity;
    struct nfa_edge *edges;
    size_t edge_count, edge_capacity;
    uint32_t *rules; /* [edge_count]: of a call */
    size_t rule_capacity;
    size_t most_states;
    uint64_t *work_left; /* borrowed; counted down */
};

void nfa_destroy(struct nfa *self);
status nfa_add_state(struct nfa *self, bool accepting, uint32_t *out) MUST_CHECK;
status nfa_add_edge(struct nfa *self, uint32_t from, uint8_t low, uint8_t high,
                    uint32_t target) MUST_CHECK;
status nfa_add_empty(struct nfa *self, uint32_t from, uint32_t target) MUST_CHECK;
status nfa_add_call(struct nfa *self, uint32_t from, uint32_t rule, uint32_t target) MUST_CHECK;

/* Copies the states of an automaton; state i becomes *base + i, and none accepts. */
status nfa_add_automaton(struct nfa *self, const struct automaton *automaton,
                         uint32_t *base) MUST_CHECK;

/* The minimal automaton of the texts from `start` on. The caller destroys *out. */
status nfa_determinize(struct nfa *self, uint32_t start, struct automaton **out) MUST_CHECK;

/* Replaces *self by the minimal automaton of its texts. */
status automaton_minimize(struct automaton **self, uint64_t *work_left) MUST_CHECK;

/* Takes states away that are not reached or lead nowhere. `productive` NULL: every call can be gone
 * through; else [rules]. */
status automaton_trim(struct automaton *self, const uint8_t *productive) MUST_CHECK;

/* Texts of a that are (or, `negate`, are not) in b; neither calls. The caller destroys *out. */
status automaton_product(const struct automaton *a, const struct automaton *b, bool negate,
                         size_t most_states, uint64_t *work_left,
                         struct automaton **out) MUST_CHECK;

/* Counts work; STATUS_LIMIT where none is left. */
status automaton_work(uint64_t *work_left, uint64_t amount) MUST_CHECK;

#endif
