/* SPDX-License-Identifier: Apache-2.0 */
/* From an automaton that is not deterministic to one that is: each state of the new one stands for
 * a set of the old one's (the subset construction of Rabin and Scott). */
#include <stdlib.h>
#include <string.h>

#include "grammar/automaton/automaton.h"

struct state_list {
    uint32_t *items;
    size_t count, capacity;
};

/* The new automaton while it grows. Sets lie one after the other in `members`, sorted. */
struct subsets {
    struct nfa *nfa;
    uint16_t interval_of[256]; /* bytes that no edge tells apart lie in intervals */
    uint32_t interval_count;
    struct state_list members;
    struct state_list starts; /* [state_count + 1] into members */
    struct state_list next;   /* [state_count, interval_count] */
    struct state_list calls;  /* pairs of rule and target */
    struct state_list call_starts;
    uint32_t state_count;
    uint32_t *table; /* sets by content, 0 free, else the state + 1 */
    size_t table_size;
    uint32_t *stamps; /* [nfa states]: when it was last put in a set */
    uint32_t stamp;
    struct state_list stack, set;
    struct state_list buckets[256]; /* targets by interval of the state at hand */
    struct state_list rules;        /* pairs of rule and target of the state at hand */
};

static status push(struct state_list *list, uint32_t item)
{
    void *items = list->items;
    status s = array_grow(&items, &list->capacity, list->count + 1, sizeof *list->items);
    list->items = items;
    if (s == STATUS_OK) {
        list->items[list->count++] = item;
    }
    return s;
}

static void subsets_destroy(struct subsets *self)
{
    struct state_list *lists[] = {&self->members,     &self->starts, &self->next, &self->calls,
                                  &self->call_starts, &self->stack,  &self->set,  &self->rules};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        free(lists[i]->items);
    }
    for (size_t i = 0; i < COUNT_OF(self->buckets); i++) {
        free(self->buckets[i].items);
    }
    free(self->table);
    free(self->stamps);
}

/* Intervals of bytes between which some edge begins or ends. */
static void find_intervals(struct subsets *self)
{
    bool begins[257] = {true};
    for (size_t i = 0; i < self->nfa->state_count; i++) {
        for (uint32_t e = self->nfa->states[i].edges; e != NFA_NONE; e = self->nfa->edges[e].next) {
            begins[self->nfa->edges[e].low] = true;
            begins[self->nfa->edges[e].high + 1] = true;
        }
    }
    uint16_t interval = 0;
    for (int byte = 0; byte < 256; byte++) {
        interval = (uint16_t)(interval + (byte > 0 && begins[byte]));
        self->interval_of[byte] = interval;
    }
    self->interval_count = interval + 1U;
}

static int compare_states(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void sort_states(uint32_t *items, size_t count)
{
    if (count > 16) {
        qsort(items, count, sizeof *items, compare_states);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        const uint32_t item = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1] > item; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
}

/* Whether a state does more than lead on for nothing. */
static bool is_of_weight(const struct nfa_state *state)
{
    return state->edges != NFA_NONE || state->calls != NFA_NONE || state->accepting;
}

/* self->set becomes what is reached from `targets` for nothing, sorted. */
static status close_set(struct subsets *self, const uint32_t *targets, size_t count)
{
    self->stamp++;
    self->set.count = self->stack.count = 0;
    for (size_t i = 0; i < count; i++) {
        TRY(push(&self->stack, targets[i]));
    }
    uint64_t work = count;
    while (self->stack.count > 0) {
        const uint32_t at = self->stack.items[--self->stack.count];
        if (self->stamps[at] == self->stamp) {
            continue;
        }
        self->stamps[at] = self->stamp;
        const struct nfa_state *state = &self->nfa->states[at];
        if (is_of_weight(state)) {
            TRY(push(&self->set, at));
        }
        for (uint32_t e = state->empties; e != NFA_NONE; e = self->nfa->edges[e].next, work++) {
            TRY(push(&self->stack, self->nfa->edges[e].target));
        }
    }
    sort_states(self->set.items, self->set.count);
    return automaton_work(self->nfa->work_left, work + 2 * self->set.count);
}

static status grow_table(struct subsets *self)
{
    const size_t size = self->table_size > 0 ? self->table_size * 2 : 256;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    for (uint32_t i = 0; i < self->state_count; i++) {
        const uint32_t start = self->starts.items[i], end = self->starts.items[i + 1];
        size_t at = hash_bytes(self->members.items + start, (end - start) * sizeof(uint32_t), 0) &
                    (size - 1);
        while (table[at] != 0) {
            at = (at + 1) & (size - 1);
        }
        table[at] = i + 1;
    }
    free(self->table);
    self->table = table;
    self->table_size = size;
    return STATUS_OK;
}

/* The new automaton's state for the set at hand, added where there is none. The empty set is none.
 */
static status find_state(struct subsets *self, uint32_t *out)
{
    const size_t count = self->set.count, bytes = count * sizeof(uint32_t);
    if (count == 0) {
        *out = AUTOMATON_DEAD;
        return STATUS_OK;
    }
    if (((size_t)self->state_count + 1) * 2 > self->table_size) {
        TRY(grow_table(self));
    }
    size_t at = hash_bytes(self->set.items, bytes, 0) & (self->table_size - 1);
    for (; self->table[at] != 0; at = (at + 1) & (self->table_size - 1)) {
        *out = self->table[at] - 1;
        const uint32_t start = self->starts.items[*out], end = self->starts.items[*out + 1];
        if (end - start == count &&
            memcmp(self->members.items + start, self->set.items, bytes) == 0) {
            return STATUS_OK;
        }
    }
    if (self->state_count >= self->nfa->most_states ||
        self->members.count > 64 * self->nfa->most_states) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu states",
                           self->nfa->most_states);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(push(&self->members, self->set.items[i]));
    }
    TRY(push(&self->starts, (uint32_t)self->members.count));
    self->table[at] = self->state_count + 1;
    *out = self->state_count++;
    return STATUS_OK;
}

/* Sorts the targets of a state's edges into buckets. */
static status fill_buckets(struct subsets *self, uint32_t state)
{
    for (uint32_t i = 0; i < self->interval_count; i++) {
        self->buckets[i].count = 0;
    }
    self->rules.count = 0;
    uint64_t work = self->interval_count;
    for (uint32_t m = self->starts.items[state]; m < self->starts.items[state + 1]; m++) {
        const struct nfa_state *member = &self->nfa->states[self->members.items[m]];
        for (uint32_t e = member->edges; e != NFA_NONE; e = self->nfa->edges[e].next) {
            const struct nfa_edge edge = self->nfa->edges[e];
            const unsigned last = self->interval_of[edge.high];
            for (unsigned i = self->interval_of[edge.low]; i <= last; i++, work++) {
                struct state_list *bucket = &self->buckets[i];
                if (bucket->count == 0 || bucket->items[bucket->count - 1] != edge.target) {
                    TRY(push(bucket, edge.target));
                }
            }
        }
        for (uint32_t e = member->calls; e != NFA_NONE; e = self->nfa->edges[e].next, work++) {
            TRY(push(&self->rules, self->nfa->rules[e]));
            TRY(push(&self->rules, self->nfa->edges[e].target));
        }
    }
    return automaton_work(self->nfa->work_left, work);
}

static bool equal_lists(const struct state_list *a, const struct state_list *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof *a->items) == 0);
}

static status step_bytes(struct subsets *self)
{
    uint32_t target = AUTOMATON_DEAD;
    for (uint32_t i = 0; i < self->interval_count; i++) {
        const struct state_list *bucket = &self->buckets[i];
        if (i == 0 || !equal_lists(bucket, &self->buckets[i - 1])) {
            TRY(close_set(self, bucket->items, bucket->count));
            TRY(find_state(self, &target));
        }
        TRY(push(&self->next, target));
    }
    return STATUS_OK;
}

static int compare_pairs(const void *a, const void *b)
{
    return compare_states(a, b) != 0
               ? compare_states(a, b)
               : compare_states((const uint32_t *)a + 1, (const uint32_t *)b + 1);
}

static status step_calls(struct subsets *self)
{
    struct state_list *rules = &self->rules;
    if (rules->count > 2) {
        qsort(rules->items, rules->count / 2, 2 * sizeof(uint32_t), compare_pairs);
    }
    for (size_t i = 0; i < rules->count;) {
        const uint32_t rule = rules->items[i];
        struct state_list targets = {0};
        status s = STATUS_OK;
        for (; i < rules->count && rules->items[i] == rule && s == STATUS_OK; i += 2) {
            s = push(&targets, rules->items[i + 1]);
        }
        if (s == STATUS_OK) {
            s = close_set(self, targets.items, targets.count);
        }
        free(targets.items);
        TRY(s);
        uint32_t target;
        TRY(find_state(self, &target));
        if (target != AUTOMATON_DEAD) {
            TRY(push(&self->calls, rule));
            TRY(push(&self->calls, target));
        }
    }
    return push(&self->call_starts, (uint32_t)(self->calls.count / 2));
}

static bool is_accepting(const struct subsets *self, uint32_t state)
{
    for (uint32_t m = self->starts.items[state]; m < self->starts.items[state + 1]; m++) {
        if (self->nfa->states[self->members.items[m]].accepting) {
            return true;
        }
    }
    return false;
}

/* The tables so far as an automaton of their own. */
static status to_automaton(struct subsets *self, struct automaton **out)
{
    struct automaton *made = calloc(1, sizeof *made);
    *out = made;
    if (made == NULL || (made->accepting = malloc(self->state_count)) == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    made->state_count = self->state_count;
    made->class_count = self->interval_count;
    for (int byte = 0; byte < 256; byte++) {
        made->classes[byte] = (uint8_t)self->interval_of[byte];
    }
    for (uint32_t i = 0; i < self->state_count; i++) {
        made->accepting[i] = is_accepting(self, i);
    }
    made->next = self->next.items;
    made->call_start = self->call_starts.items;
    made->calls = (struct automaton_call *)self->calls.items; /* pairs are laid out as these */
    self->next = self->call_starts = self->calls = (struct state_list){0};
    return STATUS_OK;
}

static status construct(struct subsets *self, uint32_t start, struct automaton **out)
{
    self->stamps = calloc(self->nfa->state_count, sizeof *self->stamps);
    if (self->stamps == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    TRY(automaton_work(self->nfa->work_left, self->nfa->state_count / 4));
    find_intervals(self);
    TRY(push(&self->starts, 0));
    TRY(push(&self->call_starts, 0));
    TRY(close_set(self, &start, 1));
    if (self->set.count == 0) {
        TRY(push(&self->set, start)); /* matches nothing, but there is a first state */
    }
    uint32_t first;
    TRY(find_state(self, &first));
    for (uint32_t state = 0; state < self->state_count; state++) {
        TRY(fill_buckets(self, state));
        TRY(step_bytes(self));
        TRY(step_calls(self));
    }
    return to_automaton(self, out);
}

status nfa_determinize(struct nfa *self, uint32_t start, struct automaton **out)
{
    struct subsets subsets = {.nfa = self};
    struct automaton *made = NULL;
    status s = construct(&subsets, start, &made);
    subsets_destroy(&subsets);
    if (s == STATUS_OK) {
        s = automaton_trim(made, NULL);
    }
    if (s == STATUS_OK) {
        s = automaton_minimize(&made, self->work_left);
    }
    if (s != STATUS_OK) {
        automaton_destroy(made);
        return s;
    }
    *out = made;
    return STATUS_OK;
}
