/* SPDX-License-Identifier: Apache-2.0 */
/* One table of all rules' automata, with what a matcher asks of it: how far the end of a rule is,
 * how a rule can begin. States from which no text ends are cut off. */
#include "grammar/tables.h"

#include <stdlib.h>
#include <string.h>

enum { LEFT_DEPTH_MOST = 500 }; /* calls in calls before the first byte: the matcher recurses */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

/* ---- Classes of bytes ---- */

/* Bytes that no automaton tells apart. */
static void join_classes(struct grammar *self, struct automaton *const *automata, size_t count)
{
    self->class_count = 1;
    for (size_t i = 0; i < count; i++) {
        uint16_t made[256][2];
        uint32_t made_count = 0;
        for (int byte = 0; byte < 256; byte++) {
            const uint8_t old = self->classes[byte], class = automata[i]->classes[byte];
            uint32_t at = 0;
            while (at < made_count && (made[at][0] != old || made[at][1] != class)) {
                at++;
            }
            if (at == made_count) {
                made[at][0] = old;
                made[at][1] = class;
                made_count++;
            }
            self->classes[byte] = (uint8_t)at;
        }
        self->class_count = made_count;
    }
    memset(self->class_is_one, 0, sizeof self->class_is_one);
    int of_class[256] = {0};
    for (int byte = 0; byte < 256; byte++) {
        const uint8_t class = self->classes[byte];
        self->class_is_one[class] = ++of_class[class] == 1;
        self->only_byte[class] = (uint8_t)byte;
    }
}

/* ---- The table ---- */

static status allocate(struct grammar *self, size_t calls)
{
    const size_t states = self->state_count;
    self->next = malloc((states * self->class_count + 1) * sizeof *self->next);
    self->accepting = malloc(states + 1);
    self->has_ways = calloc(states + 1, 1);
    self->call_start = calloc(states + 1, sizeof *self->call_start);
    self->calls = malloc((calls + 1) * sizeof *self->calls);
    self->distance = malloc((states + 1) * sizeof *self->distance);
    self->only_class = malloc((states + 1) * sizeof *self->only_class);
    self->is_plain = malloc(states + 1);
    self->firsts = calloc(((size_t)self->rule_count + 1) * 4, sizeof *self->firsts);
    return self->next != NULL && self->accepting != NULL && self->has_ways != NULL &&
                   self->call_start != NULL && self->calls != NULL && self->distance != NULL &&
                   self->firsts != NULL && self->only_class != NULL && self->is_plain != NULL
               ? STATUS_OK
               : no_memory();
}

static void copy_rule(struct grammar *self, const struct automaton *automaton, uint32_t base,
                      const uint32_t *starts)
{
    uint8_t representative[256];
    for (int byte = 0; byte < 256; byte++) {
        representative[self->classes[byte]] = (uint8_t)byte;
    }
    uint32_t calls = self->call_start[base];
    for (uint32_t i = 0; i < automaton->state_count; i++) {
        uint32_t *row = self->next + (size_t)(base + i) * self->class_count;
        for (uint32_t class = 0; class < self->class_count; class ++) {
            const uint32_t to = automaton_step(automaton, i, representative[class]);
            row[class] = to == AUTOMATON_DEAD ? to : base + to;
        }
        self->accepting[base + i] = automaton->accepting[i];
        for (uint32_t j = automaton->call_start[i]; j < automaton->call_start[i + 1]; j++) {
            const struct automaton_call call = automaton->calls[j];
            self->calls[calls++] = (struct grammar_call){
                .start = starts[call.rule], .back = base + call.target, .rule = call.rule};
        }
        self->call_start[base + i + 1] = calls;
    }
}

/* ---- How far the end is ---- */

/* Ways that lead into a state, or, of a rule's first state, the calls of the rule. */
struct arrivals {
    uint32_t *byte_start, *byte_from;  /* [states + 1]: states a byte before */
    uint32_t *back_start, *back_calls; /* [states + 1]: calls that come back here */
    uint32_t *rule_start, *rule_calls; /* [states + 1]: calls that begin here */
    uint32_t *call_from;               /* [calls] the state that calls */
};

static void arrivals_destroy(struct arrivals *self)
{
    free(self->byte_start);
    free(self->byte_from);
    free(self->back_start);
    free(self->back_calls);
    free(self->rule_start);
    free(self->rule_calls);
    free(self->call_from);
}

/* Turns counts at [i + 1] into where the lists begin; fill with list[--start[i + 1]] and then
 * shift. */
static void sum_counts(uint32_t *starts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        starts[i + 1] += starts[i];
    }
}

static void shift_starts(uint32_t *starts, size_t count, uint32_t all)
{
    memmove(starts, starts + 1, count * sizeof *starts);
    starts[count] = all;
}

/* Each state's predecessor once, however many bytes lead over. */
static bool is_repeated(const uint32_t *row, uint32_t class)
{
    return class > 0 && row[class] == row[class - 1];
}

static status arrivals_of_bytes(struct arrivals *self, const struct grammar *grammar)
{
    const size_t states = grammar->state_count;
    size_t edges = 0;
    for (uint32_t state = 0; state < states; state++) {
        const uint32_t *row = grammar->next + (size_t)state * grammar->class_count;
        for (uint32_t class = 0; class < grammar->class_count; class ++) {
            if (row[class] != AUTOMATON_DEAD && !is_repeated(row, class)) {
                self->byte_start[row[class] + 1]++;
                edges++;
            }
        }
    }
    self->byte_from = malloc((edges + 1) * sizeof *self->byte_from);
    if (self->byte_from == NULL) {
        return no_memory();
    }
    sum_counts(self->byte_start, states);
    for (uint32_t state = 0; state < states; state++) {
        const uint32_t *row = grammar->next + (size_t)state * grammar->class_count;
        for (uint32_t class = 0; class < grammar->class_count; class ++) {
            if (row[class] != AUTOMATON_DEAD && !is_repeated(row, class)) {
                self->byte_from[--self->byte_start[row[class] + 1]] = state;
            }
        }
    }
    shift_starts(self->byte_start, states, (uint32_t)edges);
    return STATUS_OK;
}

static status arrivals_create(struct arrivals *self, const struct grammar *grammar)
{
    const size_t states = grammar->state_count, calls = grammar->call_start[states];
    self->byte_start = calloc(states + 2, sizeof *self->byte_start);
    self->back_start = calloc(states + 2, sizeof *self->back_start);
    self->rule_start = calloc(states + 2, sizeof *self->rule_start);
    self->back_calls = malloc((calls + 1) * sizeof *self->back_calls);
    self->rule_calls = malloc((calls + 1) * sizeof *self->rule_calls);
    self->call_from = malloc((calls + 1) * sizeof *self->call_from);
    if (self->byte_start == NULL || self->back_start == NULL || self->rule_start == NULL ||
        self->back_calls == NULL || self->rule_calls == NULL || self->call_from == NULL) {
        return no_memory();
    }
    for (uint32_t state = 0; state < states; state++) {
        for (uint32_t i = grammar->call_start[state]; i < grammar->call_start[state + 1]; i++) {
            self->call_from[i] = state;
            self->back_start[grammar->calls[i].back + 1]++;
            self->rule_start[grammar->calls[i].start + 1]++;
        }
    }
    sum_counts(self->back_start, states);
    sum_counts(self->rule_start, states);
    for (uint32_t i = (uint32_t)calls; i-- > 0;) {
        self->back_calls[--self->back_start[grammar->calls[i].back + 1]] = i;
        self->rule_calls[--self->rule_start[grammar->calls[i].start + 1]] = i;
    }
    shift_starts(self->back_start, states, (uint32_t)calls);
    shift_starts(self->rule_start, states, (uint32_t)calls);
    return arrivals_of_bytes(self, grammar);
}

/* States in order of distance: a binary heap, in which a state may stand several times. */
struct queue {
    struct queued {
        uint32_t distance, state;
    } * items;
    size_t count, capacity;
};

static bool is_before(struct queued a, struct queued b)
{
    return a.distance != b.distance ? a.distance < b.distance : a.state < b.state;
}

static status queue_push(struct queue *self, uint64_t distance, uint32_t state)
{
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items = items;
    TRY(s);
    const struct queued item = {distance < TABLES_NEVER ? (uint32_t)distance : TABLES_NEVER - 1,
                                state};
    size_t at = self->count++;
    for (; at > 0 && is_before(item, self->items[(at - 1) / 2]); at = (at - 1) / 2) {
        self->items[at] = self->items[(at - 1) / 2];
    }
    self->items[at] = item;
    return STATUS_OK;
}

static struct queued queue_pop(struct queue *self)
{
    const struct queued first = self->items[0], last = self->items[--self->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < self->count && is_before(self->items[child + 1], self->items[child])) {
            child++;
        }
        if (child >= self->count || !is_before(self->items[child], last)) {
            break;
        }
        self->items[at] = self->items[child];
        at = child;
    }
    if (self->count > 0) {
        self->items[at] = last;
    }
    return first;
}

/* A state's distance is known: those before it may have found theirs. */
static status spread(const struct grammar *self, const struct arrivals *arrivals, uint32_t state,
                     struct queue *queue)
{
    const uint64_t distance = self->distance[state];
    for (uint32_t i = arrivals->byte_start[state]; i < arrivals->byte_start[state + 1]; i++) {
        if (self->distance[arrivals->byte_from[i]] == TABLES_NEVER) {
            TRY(queue_push(queue, distance + 1, arrivals->byte_from[i]));
        }
    }
    for (uint32_t i = arrivals->back_start[state]; i < arrivals->back_start[state + 1]; i++) {
        const uint32_t call = arrivals->back_calls[i];
        const uint32_t within = self->distance[self->calls[call].start];
        if (within != TABLES_NEVER) {
            TRY(queue_push(queue, distance + within, arrivals->call_from[call]));
        }
    }
    for (uint32_t i = arrivals->rule_start[state]; i < arrivals->rule_start[state + 1]; i++) {
        const uint32_t call = arrivals->rule_calls[i];
        const uint32_t after = self->distance[self->calls[call].back];
        if (after != TABLES_NEVER) {
            TRY(queue_push(queue, distance + after, arrivals->call_from[call]));
        }
    }
    return STATUS_OK;
}

/* Knuth, "A generalization of Dijkstra's algorithm" (Information Processing Letters 6, 1977):
 * distances become known in ascending order, those of called rules like all others. */
static status find_distances(struct grammar *self, const struct arrivals *arrivals,
                             uint64_t *work_left)
{
    struct queue queue = {0};
    status s = STATUS_OK;
    for (uint32_t i = 0; i < self->state_count && s == STATUS_OK; i++) {
        self->distance[i] = TABLES_NEVER;
        if (self->accepting[i]) {
            s = queue_push(&queue, 0, i);
        }
    }
    while (s == STATUS_OK && queue.count > 0) {
        const struct queued first = queue_pop(&queue);
        s = automaton_work(work_left, 4);
        if (s == STATUS_OK && self->distance[first.state] == TABLES_NEVER) {
            self->distance[first.state] = first.distance;
            s = spread(self, arrivals, first.state, &queue);
        }
    }
    free(queue.items);
    return s;
}

/* ---- What leads nowhere ---- */

static void cut_dead_ends(struct grammar *self)
{
    uint32_t kept = 0;
    for (uint32_t state = 0, next_call = 0; state < self->state_count; state++) {
        uint32_t *row = self->next + (size_t)state * self->class_count;
        bool has_ways = false;
        for (uint32_t class = 0; class < self->class_count; class ++) {
            if (row[class] != AUTOMATON_DEAD && self->distance[row[class]] == TABLES_NEVER) {
                row[class] = AUTOMATON_DEAD;
            }
            has_ways = has_ways || row[class] != AUTOMATON_DEAD;
        }
        const uint32_t end = self->call_start[state + 1];
        self->call_start[state] = kept;
        for (; next_call < end; next_call++) {
            const struct grammar_call call = self->calls[next_call];
            if (self->distance[call.start] != TABLES_NEVER &&
                self->distance[call.back] != TABLES_NEVER) {
                self->calls[kept++] = call;
                has_ways = true;
            }
        }
        self->has_ways[state] = has_ways;
    }
    self->call_start[self->state_count] = kept;
    for (uint32_t i = 0; i < kept; i++) { /* a state without ways accepts: it is not cut off */
        self->calls[i].is_tail = !self->has_ways[self->calls[i].back];
    }
}

/* ---- How rules begin ---- */

struct first_search {
    struct grammar *grammar;
    const uint32_t *starts; /* of rules */
    uint32_t *depth;        /* [rules] calls in calls before the first byte; 0: not known yet */
};

/* Rules that begin with each other form no circle any more, so this ends; its depth is bounded. */
static status find_first(struct first_search *self, uint32_t rule, uint32_t depth)
{
    struct grammar *grammar = self->grammar;
    if (depth > LEFT_DEPTH_MOST) {
        return status_fail(STATUS_LIMIT, "rules that begin with each other more than %d deep",
                           LEFT_DEPTH_MOST);
    }
    if (self->depth[rule] > 0) {
        return depth + self->depth[rule] > LEFT_DEPTH_MOST
                   ? find_first(self, rule, LEFT_DEPTH_MOST + 1)
                   : STATUS_OK;
    }
    const uint32_t start = self->starts[rule];
    const uint32_t *row = grammar->next + (size_t)start * grammar->class_count;
    uint64_t *firsts = grammar->firsts + (size_t)rule * 4;
    for (uint32_t class = 0; class < grammar->class_count; class ++) {
        if (row[class] != AUTOMATON_DEAD) {
            firsts[class / 64] |= UINT64_C(1) << (class % 64);
        }
    }
    uint32_t deepest = 0;
    for (uint32_t i = grammar->call_start[start]; i < grammar->call_start[start + 1]; i++) {
        const uint32_t called = grammar->calls[i].rule;
        TRY(find_first(self, called, depth + 1));
        for (int word = 0; word < 4; word++) {
            firsts[word] |= grammar->firsts[(size_t)called * 4 + (size_t)word];
        }
        deepest = self->depth[called] > deepest ? self->depth[called] : deepest;
    }
    self->depth[rule] = deepest + 1;
    grammar->left_depth = deepest + 1 > grammar->left_depth ? deepest + 1 : grammar->left_depth;
    return STATUS_OK;
}

static status find_firsts(struct grammar *self, const uint32_t *starts)
{
    struct first_search search = {self, starts, calloc(self->rule_count + 1, sizeof(uint32_t))};
    status s = search.depth != NULL ? STATUS_OK : no_memory();
    for (uint32_t i = 0; i < self->rule_count && s == STATUS_OK; i++) {
        s = find_first(&search, i, 1);
    }
    free(search.depth);
    return s;
}

/* ---- States with one way on ---- */

static void add_class(const struct grammar *self, uint32_t class, uint16_t *only)
{
    *only = *only == TABLES_NONE && self->class_is_one[class] ? (uint16_t) class
            : *only == class                                  ? *only
                                                              : TABLES_MANY;
}

static void find_only_classes(struct grammar *self)
{
    for (uint32_t state = 0; state < self->state_count; state++) {
        const uint32_t *row = self->next + (size_t)state * self->class_count;
        uint16_t only = TABLES_NONE;
        for (uint32_t class = 0; class < self->class_count && only != TABLES_MANY; class ++) {
            if (row[class] != AUTOMATON_DEAD) {
                add_class(self, class, &only);
            }
        }
        const uint32_t first = self->call_start[state], past = self->call_start[state + 1];
        for (uint32_t i = first; i < past && only != TABLES_MANY; i++) {
            for (uint32_t class = 0; class < self->class_count; class ++) {
                if (grammar_first_has(self, self->calls[i].rule, (uint8_t) class)) {
                    add_class(self, class, &only);
                }
            }
        }
        self->only_class[state] = only;
        self->is_plain[state] = !self->accepting[state] && first == past;
    }
}

/* ---- All of it ---- */

static status fill(struct grammar *self, struct automaton *const *automata, const uint32_t *starts,
                   const struct grammar_limits *limits, uint64_t *work_left)
{
    size_t calls = 0;
    for (uint32_t i = 0; i < self->rule_count; i++) {
        calls += automata[i]->call_start[automata[i]->state_count];
    }
    join_classes(self, automata, self->rule_count);
    const size_t cells = (size_t)self->state_count * self->class_count;
    if (self->state_count > limits->states || cells * sizeof(uint32_t) > limits->bytes) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu states or %zu bytes",
                           limits->states, limits->bytes);
    }
    TRY(automaton_work(work_left, cells));
    TRY(allocate(self, calls));
    for (uint32_t i = 0; i < self->rule_count; i++) {
        copy_rule(self, automata[i], starts[i], starts);
    }
    struct arrivals arrivals = {0};
    status s = arrivals_create(&arrivals, self);
    if (s == STATUS_OK) {
        s = find_distances(self, &arrivals, work_left);
    }
    arrivals_destroy(&arrivals);
    TRY(s);
    cut_dead_ends(self);
    TRY(find_firsts(self, starts));
    find_only_classes(self);
    return STATUS_OK;
}

status tables_create(struct automaton *const *automata, size_t rule_count, size_t root,
                     const struct grammar_limits *limits, uint64_t *work_left, struct grammar **out)
{
    struct grammar *self = calloc(1, sizeof *self);
    uint32_t *starts = malloc((rule_count + 1) * sizeof *starts);
    status s = self != NULL && starts != NULL ? STATUS_OK : no_memory();
    size_t states = 0;
    for (size_t i = 0; i < rule_count && s == STATUS_OK; i++) {
        starts[i] = (uint32_t)states;
        states += automata[i]->state_count;
        if (states > limits->states) {
            s = status_fail(STATUS_LIMIT, "a grammar of more than %zu states", limits->states);
        }
    }
    if (s == STATUS_OK) {
        self->state_count = (uint32_t)states;
        self->rule_count = (uint32_t)rule_count;
        self->root = starts[root];
        s = fill(self, automata, starts, limits, work_left);
    }
    free(starts);
    if (s != STATUS_OK) {
        grammar_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void grammar_destroy(struct grammar *self)
{
    if (self != NULL) {
        free(self->next);
        free(self->accepting);
        free(self->has_ways);
        free(self->call_start);
        free(self->calls);
        free(self->distance);
        free(self->only_class);
        free(self->is_plain);
        free(self->firsts);
        free(self);
    }
}
