/* SPDX-License-Identifier: Apache-2.0 */
/* Automata that are not deterministic: states and edges, one after the other. */
#include <stdlib.h>

#include "grammar/automaton/automaton.h"

status automaton_work(uint64_t *work_left, uint64_t amount)
{
    if (amount > *work_left) {
        *work_left = 0;
        return status_fail(STATUS_LIMIT, "a grammar that takes too much work to compile; "
                                         "structured.compile_limit allows more");
    }
    *work_left -= amount;
    return STATUS_OK;
}

void nfa_destroy(struct nfa *self)
{
    free(self->states);
    free(self->edges);
    free(self->rules);
    *self = (struct nfa){0};
}

status nfa_add_state(struct nfa *self, bool accepting, uint32_t *out)
{
    if (self->state_count >= self->most_states) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu states", self->most_states);
    }
    TRY(automaton_work(self->work_left, 1));
    void *states = self->states;
    status s =
        array_grow(&states, &self->state_capacity, self->state_count + 1, sizeof *self->states);
    self->states = states;
    TRY(s);
    *out = (uint32_t)self->state_count;
    self->states[self->state_count++] = (struct nfa_state){
        .edges = NFA_NONE, .empties = NFA_NONE, .calls = NFA_NONE, .accepting = accepting};
    return STATUS_OK;
}

static status add_edge(struct nfa *self, uint32_t *list, struct nfa_edge edge, uint32_t rule)
{
    const uint32_t at = (uint32_t)self->edge_count;
    TRY(automaton_work(self->work_left, 1));
    void *edges = self->edges, *rules = self->rules;
    status s = array_grow(&edges, &self->edge_capacity, self->edge_count + 1, sizeof *self->edges);
    self->edges = edges;
    TRY(s);
    s = array_grow(&rules, &self->rule_capacity, self->edge_count + 1, sizeof *self->rules);
    self->rules = rules;
    TRY(s);
    edge.next = *list;
    self->edges[at] = edge;
    self->rules[at] = rule;
    self->edge_count++;
    *list = at;
    return STATUS_OK;
}

status nfa_add_edge(struct nfa *self, uint32_t from, uint8_t low, uint8_t high, uint32_t target)
{
    return add_edge(self, &self->states[from].edges,
                    (struct nfa_edge){.low = low, .high = high, .target = target}, 0);
}

status nfa_add_empty(struct nfa *self, uint32_t from, uint32_t target)
{
    return add_edge(self, &self->states[from].empties, (struct nfa_edge){.target = target}, 0);
}

status nfa_add_call(struct nfa *self, uint32_t from, uint32_t rule, uint32_t target)
{
    return add_edge(self, &self->states[from].calls, (struct nfa_edge){.target = target}, rule);
}

/* The edges of a state by bytes: runs of one target are one edge. */
static status add_row(struct nfa *self, const struct automaton *automaton, uint32_t state,
                      uint32_t base)
{
    for (unsigned low = 0; low < 256;) {
        const uint32_t target = automaton_step(automaton, state, (uint8_t)low);
        unsigned high = low;
        while (high < 255 && automaton_step(automaton, state, (uint8_t)(high + 1)) == target) {
            high++;
        }
        if (target != AUTOMATON_DEAD) {
            TRY(nfa_add_edge(self, base + state, (uint8_t)low, (uint8_t)high, base + target));
        }
        low = high + 1;
    }
    return automaton_work(self->work_left, 32);
}

status nfa_add_automaton(struct nfa *self, const struct automaton *automaton, uint32_t *base)
{
    *base = (uint32_t)self->state_count;
    for (uint32_t i = 0; i < automaton->state_count; i++) {
        uint32_t state;
        TRY(nfa_add_state(self, false, &state));
    }
    for (uint32_t i = 0; i < automaton->state_count; i++) {
        TRY(add_row(self, automaton, i, *base));
        for (uint32_t j = automaton->call_start[i]; j < automaton->call_start[i + 1]; j++) {
            const struct automaton_call *call = &automaton->calls[j];
            TRY(nfa_add_call(self, *base + i, call->rule, *base + call->target));
        }
    }
    return STATUS_OK;
}
