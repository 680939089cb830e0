/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that begin with themselves, rewritten so that none does.
 *
 * Rules A1 .. An that begin with each other have texts of this form: something that begins with
 * none of them and makes an Ai; then, again and again, something that makes an Aj of what was an
 * Ai before. That is an automaton over "what we have is an Ai", which is built here of the rules'
 * own automata: the ways out of their first states that are calls of A1 .. An are taken away, and
 * where a text of Ai ends it goes on behind these calls. */
#include <stdlib.h>

#include "grammar/tables.h"

/* The first state's calls: which rules a rule begins with. */
static status begin_graph(struct automaton *const *automata, size_t rule_count, uint32_t **starts,
                          uint32_t **targets)
{
    size_t edges = 0;
    for (size_t i = 0; i < rule_count; i++) {
        edges += automata[i]->call_start[1];
    }
    *starts = calloc(rule_count + 1, sizeof **starts);
    *targets = malloc((edges + 1) * sizeof **targets);
    if (*starts == NULL || *targets == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    for (size_t i = 0; i < rule_count; i++) {
        uint32_t at = (*starts)[i];
        for (uint32_t j = 0; j < automata[i]->call_start[1]; j++) {
            (*targets)[at++] = automata[i]->calls[j].rule;
        }
        (*starts)[i + 1] = at;
    }
    return STATUS_OK;
}

struct circle {
    struct automaton **automata;
    const uint32_t *component_of;
    uint32_t component;
    const uint32_t *rules; /* [count]: its members */
    size_t count;
    struct nfa nfa;
    uint32_t start;
    uint32_t *bases; /* [count] first state of a member's automaton in the nfa */
    uint32_t *have;  /* [count] the state "what we have is a text of this member" */
};

static size_t member_of(const struct circle *self, uint32_t rule)
{
    size_t i = 0;
    while (self->rules[i] != rule) {
        i++;
    }
    return i;
}

/* Ways out of a member's first state: those by members lead on from what we have, the others begin
 * the whole. */
static status add_first(struct circle *self, size_t member)
{
    const struct automaton *automaton = self->automata[self->rules[member]];
    const uint32_t base = self->bases[member];
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint32_t target = automaton_step(automaton, 0, (uint8_t)byte);
        if (target != AUTOMATON_DEAD) {
            TRY(nfa_add_edge(&self->nfa, self->start, (uint8_t)byte, (uint8_t)byte, base + target));
        }
    }
    for (uint32_t i = 0; i < automaton->call_start[1]; i++) {
        const struct automaton_call call = automaton->calls[i];
        if (self->component_of[call.rule] == self->component) {
            TRY(automaton_work(self->nfa.work_left, self->count));
            TRY(nfa_add_empty(&self->nfa, self->have[member_of(self, call.rule)],
                              base + call.target));
        } else {
            TRY(nfa_add_call(&self->nfa, self->start, call.rule, base + call.target));
        }
    }
    return STATUS_OK;
}

static status build(struct circle *self)
{
    TRY(nfa_add_state(&self->nfa, false, &self->start));
    for (size_t i = 0; i < self->count; i++) {
        const struct automaton *automaton = self->automata[self->rules[i]];
        TRY(nfa_add_state(&self->nfa, false, &self->have[i]));
        TRY(nfa_add_automaton(&self->nfa, automaton, &self->bases[i]));
        for (uint32_t state = 0; state < automaton->state_count; state++) {
            if (automaton->accepting[state]) {
                TRY(nfa_add_empty(&self->nfa, self->bases[i] + state, self->have[i]));
            }
        }
    }
    for (size_t i = 0; i < self->count; i++) {
        TRY(add_first(self, i));
    }
    return STATUS_OK;
}

/* Each member's new automaton is the same but for what we must have at the end. */
static status rewrite(struct circle *self, struct automaton **made)
{
    TRY(build(self));
    for (size_t i = 0; i < self->count; i++) {
        self->nfa.states[self->have[i]].accepting = true;
        TRY(nfa_determinize(&self->nfa, self->start, &made[i]));
        self->nfa.states[self->have[i]].accepting = false;
    }
    for (size_t i = 0; i < self->count; i++) {
        automaton_destroy(self->automata[self->rules[i]]);
        self->automata[self->rules[i]] = made[i];
        made[i] = NULL;
    }
    return STATUS_OK;
}

static status rewrite_circle(struct circle *self)
{
    struct automaton **made = calloc(self->count, sizeof(struct automaton *));
    self->bases = calloc(self->count, sizeof *self->bases);
    self->have = calloc(self->count, sizeof *self->have);
    status s = made != NULL && self->bases != NULL && self->have != NULL
                   ? rewrite(self, made)
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    for (size_t i = 0; made != NULL && i < self->count; i++) {
        automaton_destroy(made[i]);
    }
    free(made);
    free(self->bases);
    free(self->have);
    nfa_destroy(&self->nfa);
    return s;
}

static bool begins_with_itself(const struct automaton *automaton, uint32_t rule)
{
    for (uint32_t i = 0; i < automaton->call_start[1]; i++) {
        if (automaton->calls[i].rule == rule) {
            return true;
        }
    }
    return false;
}

/* Rules sorted by component, so that each one's members stand together. */
static uint32_t *sort_rules(const uint32_t *component_of, size_t rule_count, size_t components,
                            uint32_t **starts)
{
    uint32_t *rules = malloc((rule_count + 1) * sizeof *rules);
    *starts = calloc(components + 2, sizeof **starts);
    if (rules == NULL || *starts == NULL) {
        free(rules);
        return NULL;
    }
    for (size_t i = 0; i < rule_count; i++) {
        (*starts)[component_of[i] + 2]++;
    }
    for (size_t i = 2; i < components + 2; i++) {
        (*starts)[i] += (*starts)[i - 1];
    }
    for (size_t i = 0; i < rule_count; i++) {
        rules[(*starts)[component_of[i] + 1]++] = (uint32_t)i;
    }
    return rules;
}

static status rewrite_all(struct automaton **automata, size_t rule_count,
                          const uint32_t *component_of, size_t components, size_t most_states,
                          uint64_t *work_left)
{
    uint32_t *starts = NULL;
    uint32_t *rules = sort_rules(component_of, rule_count, components, &starts);
    status s =
        rules != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    for (size_t i = 0; i < components && s == STATUS_OK; i++) {
        struct circle circle = {.automata = automata,
                                .component_of = component_of,
                                .component = (uint32_t)i,
                                .rules = rules + starts[i],
                                .count = starts[i + 1] - starts[i],
                                .nfa = {.most_states = most_states, .work_left = work_left}};
        if (circle.count > 1 || begins_with_itself(automata[circle.rules[0]], circle.rules[0])) {
            s = rewrite_circle(&circle);
        }
    }
    free(rules);
    free(starts);
    return s;
}

status left_recursion_remove(struct automaton **automata, size_t rule_count, size_t most_states,
                             uint64_t *work_left)
{
    uint32_t *starts = NULL, *targets = NULL;
    uint32_t *component_of = malloc((rule_count + 1) * sizeof *component_of);
    size_t components;
    status s = component_of != NULL ? begin_graph(automata, rule_count, &starts, &targets)
                                    : status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    if (s == STATUS_OK) {
        s = graph_components(rule_count, starts, targets, component_of, &components);
    }
    if (s == STATUS_OK) {
        s = rewrite_all(automata, rule_count, component_of, components, most_states, work_left);
    }
    free(starts);
    free(targets);
    free(component_of);
    return s;
}
