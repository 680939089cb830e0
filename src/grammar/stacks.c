/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of places in a grammar and their steps by a byte. */
#include "grammar/stacks.h"

#include <stdlib.h>
#include <string.h>

/* ---- Stacks ---- */

status stacks_create(struct stacks *self)
{
    *self = (struct stacks){.table_size = 64};
    self->table = calloc(self->table_size, sizeof *self->table);
    void *items = NULL;
    status s = self->table != NULL
                   ? array_grow(&items, &self->capacity, 64, sizeof *self->items)
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's stacks");
    self->items = items;
    if (s == STATUS_OK) {
        self->items[STACK_BOTTOM] = self->items[STACK_UNKNOWN] = (struct stack){0};
        self->count = STACK_FIRST;
    }
    return s;
}

void stacks_destroy(struct stacks *self)
{
    free(self->items);
    free(self->table);
}

static size_t stack_place(const struct stacks *self, uint32_t back, uint32_t parent)
{
    const uint64_t key = ((uint64_t)back << 32 | parent) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(key >> 32) & (self->table_size - 1);
    while (self->table[at] != 0 && (self->items[self->table[at]].back != back ||
                                    self->items[self->table[at]].parent != parent)) {
        at = (at + 1) & (self->table_size - 1);
    }
    return at;
}

/* The latest goes first: nothing was put behind it in the table since. */
void stacks_cut(struct stacks *self, uint32_t count)
{
    while (self->count > count) {
        const struct stack *last = &self->items[self->count - 1];
        self->table[stack_place(self, last->back, last->parent)] = 0;
        self->count--;
    }
}

static status grow_table(struct stacks *self)
{
    uint32_t *table = calloc(self->table_size * 2, sizeof *table);
    if (table == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's stacks");
    }
    free(self->table);
    self->table = table;
    self->table_size *= 2;
    for (uint32_t i = STACK_FIRST; i < self->count; i++) {
        self->table[stack_place(self, self->items[i].back, self->items[i].parent)] = i;
    }
    return STATUS_OK;
}

status stacks_push(struct stacks *self, const struct grammar *grammar, uint32_t back,
                   uint32_t parent, uint32_t *out)
{
    if (((size_t)self->count + 1) * 2 > self->table_size) {
        TRY(grow_table(self));
    }
    const size_t at = stack_place(self, back, parent);
    if (self->table[at] != 0) {
        *out = self->table[at];
        return STATUS_OK;
    }
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, (size_t)self->count + 1, sizeof *self->items);
    self->items = items;
    TRY(s);
    const uint64_t length = (uint64_t)grammar->distance[back] + self->items[parent].length;
    *out = self->table[at] = self->count;
    self->items[self->count++] =
        (struct stack){back, parent, length < UINT32_MAX / 2 ? (uint32_t)length : UINT32_MAX / 2};
    return STATUS_OK;
}

/* ---- Places ---- */

static bool has_place(const struct places *self, size_t start, struct grammar_place place)
{
    for (size_t i = start; i < self->count; i++) {
        if (self->items[i].state == place.state && self->items[i].stack == place.stack) {
            return true;
        }
    }
    return false;
}

status places_add(struct places *self, size_t start, struct stacks *stacks,
                  const struct grammar *grammar, struct grammar_place place,
                  struct step_outcome *outcome)
{
    for (;;) {
        if (grammar->has_ways[place.state] && !has_place(self, start, place)) {
            if (self->count - start == PLACES_MOST) {
                outcome->too_many = true;
                break;
            }
            void *items = self->items;
            status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
            self->items = items;
            TRY(s);
            self->items[self->count++] = place;
        }
        if (!grammar->accepting[place.state] || place.stack < STACK_FIRST) {
            break;
        }
        const struct stack below = stacks->items[place.stack];
        place = (struct grammar_place){below.back, below.parent};
    }
    if (grammar->accepting[place.state]) {
        outcome->at_end = outcome->at_end || place.stack == STACK_BOTTOM;
        outcome->at_unknown = outcome->at_unknown || place.stack == STACK_UNKNOWN;
    }
    return STATUS_OK;
}

/* Recursion ends: rules begin with each other at most left_depth deep. */
static status step_place(struct places *self, size_t into, struct stacks *stacks,
                         const struct grammar *grammar, struct grammar_place place, uint8_t class,
                         struct step_outcome *outcome)
{
    const uint32_t to = grammar->next[(size_t)place.state * grammar->class_count + class];
    if (to != AUTOMATON_DEAD) {
        TRY(places_add(self, into, stacks, grammar, (struct grammar_place){to, place.stack},
                       outcome));
    }
    for (uint32_t i = grammar->call_start[place.state];
         i < grammar->call_start[place.state + 1] && !outcome->too_many; i++) {
        const struct grammar_call *call = &grammar->calls[i];
        if (!grammar_first_has(grammar, call->rule, class)) {
            continue;
        }
        struct grammar_place called = {call->start, place.stack};
        if (!call->is_tail) {
            TRY(stacks_push(stacks, grammar, call->back, place.stack, &called.stack));
        }
        TRY(step_place(self, into, stacks, grammar, called, class, outcome));
    }
    return STATUS_OK;
}

status places_step(struct places *self, size_t start, size_t count, struct stacks *stacks,
                   const struct grammar *grammar, uint8_t class, struct step_outcome *outcome)
{
    const size_t into = self->count;
    *outcome = (struct step_outcome){0};
    for (size_t i = 0; i < count && !outcome->too_many; i++) {
        const struct grammar_place place = self->items[start + i];
        TRY(step_place(self, into, stacks, grammar, place, class, outcome));
    }
    return STATUS_OK;
}
