/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest automaton of the same texts: states that lead nowhere go, states that nothing tells
 * apart become one, and so do bytes.
 *
 * States are told apart by refining a partition of states and one of edges by turns, as in Valmari,
 * "Fast brief practical DFA minimization" (Information Processing Letters 112, 2012): it takes
 * O(edges log states) and is at home with edges that are missing. */
#include <stdlib.h>
#include <string.h>

#include "grammar/automaton/automaton.h"

void automaton_destroy(struct automaton *self)
{
    if (self != NULL) {
        free(self->next);
        free(self->accepting);
        free(self->call_start);
        free(self->calls);
        free(self);
    }
}

bool automaton_is_closed(const struct automaton *self)
{
    for (size_t i = 0; i < self->state_count; i++) {
        bool has_ways = self->call_start[i] < self->call_start[i + 1];
        for (size_t j = 0; j < self->class_count && !has_ways; j++) {
            has_ways = self->next[i * self->class_count + j] != AUTOMATON_DEAD;
        }
        if (self->accepting[i] && has_ways) {
            return false;
        }
    }
    return true;
}

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

/* ---- A partition of 0 .. count-1 whose sets are split by marking ---- */

struct refinement {
    uint32_t sets;
    uint32_t *elements; /* by set */
    uint32_t *place;    /* of an element in elements */
    uint32_t *set_of;
    uint32_t *first, *past; /* of a set in elements */
    uint32_t *marked;       /* how many of a set are, at its beginning */
    uint32_t *touched;      /* sets with marks */
    uint32_t touched_count;
};

static void partition_destroy(struct refinement *self)
{
    free(self->elements);
    free(self->place);
    free(self->set_of);
    free(self->first);
    free(self->past);
    free(self->marked);
    free(self->touched);
}

static status partition_create(struct refinement *self, uint32_t count)
{
    uint32_t **arrays[] = {&self->elements, &self->place,  &self->set_of, &self->first,
                           &self->past,     &self->marked, &self->touched};
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        *arrays[i] = calloc((size_t)count + 1, sizeof **arrays[i]);
        if (*arrays[i] == NULL) {
            return no_memory();
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        self->elements[i] = self->place[i] = i;
    }
    self->past[0] = count;
    self->sets = count > 0;
    return STATUS_OK;
}

static void partition_mark(struct refinement *self, uint32_t element)
{
    const uint32_t set = self->set_of[element];
    const uint32_t from = self->place[element], to = self->first[set] + self->marked[set];
    if (from < to) {
        return; /* is already */
    }
    self->elements[from] = self->elements[to];
    self->place[self->elements[from]] = from;
    self->elements[to] = element;
    self->place[element] = to;
    if (self->marked[set]++ == 0) {
        self->touched[self->touched_count++] = set;
    }
}

/* Each set with marks becomes two; the smaller one gets the new number. */
static void partition_split(struct refinement *self)
{
    while (self->touched_count > 0) {
        const uint32_t set = self->touched[--self->touched_count];
        const uint32_t middle = self->first[set] + self->marked[set];
        if (middle == self->past[set]) {
            self->marked[set] = 0;
            continue;
        }
        const uint32_t made = self->sets++;
        if (self->marked[set] <= self->past[set] - middle) {
            self->first[made] = self->first[set];
            self->past[made] = self->first[set] = middle;
        } else {
            self->past[made] = self->past[set];
            self->first[made] = self->past[set] = middle;
        }
        for (uint32_t i = self->first[made]; i < self->past[made]; i++) {
            self->set_of[self->elements[i]] = made;
        }
        self->marked[set] = self->marked[made] = 0;
    }
}

/* ---- Edges as a list ---- */

struct edges {
    uint32_t count;
    uint32_t *from, *label, *to;
    uint32_t *into, *into_start; /* edges by the state that they lead to, [states + 1] */
};

static void edges_destroy(struct edges *self)
{
    free(self->from);
    free(self->label);
    free(self->to);
    free(self->into);
    free(self->into_start);
}

static size_t count_edges(const struct automaton *automaton)
{
    size_t count = automaton->call_start[automaton->state_count];
    const size_t cells = (size_t)automaton->state_count * automaton->class_count;
    for (size_t i = 0; i < cells; i++) {
        count += automaton->next[i] != AUTOMATON_DEAD;
    }
    return count;
}

static void add_edge(struct edges *self, uint32_t from, uint32_t label, uint32_t to)
{
    self->from[self->count] = from;
    self->label[self->count] = label;
    self->to[self->count++] = to;
    self->into_start[to + 1]++;
}

static void fill_edges(struct edges *self, const struct automaton *automaton)
{
    const uint32_t classes = automaton->class_count;
    for (uint32_t state = 0; state < automaton->state_count; state++) {
        for (uint32_t i = 0; i < classes; i++) {
            const uint32_t to = automaton->next[(size_t)state * classes + i];
            if (to != AUTOMATON_DEAD) {
                add_edge(self, state, i, to);
            }
        }
        for (uint32_t i = automaton->call_start[state]; i < automaton->call_start[state + 1]; i++) {
            add_edge(self, state, classes + automaton->calls[i].rule, automaton->calls[i].target);
        }
    }
}

static status edges_create(struct edges *self, const struct automaton *automaton)
{
    const size_t count = count_edges(automaton), states = automaton->state_count;
    if (count > UINT32_MAX / 2) {
        return status_fail(STATUS_LIMIT, "a grammar of too many edges");
    }
    self->from = malloc((count + 1) * sizeof *self->from);
    self->label = malloc((count + 1) * sizeof *self->label);
    self->to = malloc((count + 1) * sizeof *self->to);
    self->into = malloc((count + 1) * sizeof *self->into);
    self->into_start = calloc(states + 2, sizeof *self->into_start);
    if (self->from == NULL || self->label == NULL || self->to == NULL || self->into == NULL ||
        self->into_start == NULL) {
        return no_memory();
    }
    fill_edges(self, automaton);
    for (size_t i = 0; i < states; i++) {
        self->into_start[i + 1] += self->into_start[i];
    }
    for (uint32_t i = self->count; i-- > 0;) { /* from the end of each list to its beginning */
        self->into[--self->into_start[self->to[i] + 1]] = i;
    }
    for (size_t i = 0; i < states; i++) { /* each start has sunk to its list's, one place on */
        self->into_start[i] = self->into_start[i + 1];
    }
    self->into_start[states] = self->count;
    return STATUS_OK;
}

/* ---- States that lead nowhere ---- */

/* Marks in `alive` what reaches an accepting state. */
static status find_alive(const struct automaton *self, const uint8_t *productive, uint8_t *alive)
{
    struct edges edges = {0};
    uint32_t *stack = malloc(((size_t)self->state_count + 1) * sizeof *stack), count = 0;
    status s = stack != NULL ? edges_create(&edges, self) : no_memory();
    for (uint32_t i = 0; i < self->state_count && s == STATUS_OK; i++) {
        alive[i] = self->accepting[i];
        if (alive[i]) {
            stack[count++] = i;
        }
    }
    while (s == STATUS_OK && count > 0) {
        const uint32_t state = stack[--count];
        for (uint32_t i = edges.into_start[state]; i < edges.into_start[state + 1]; i++) {
            const uint32_t edge = edges.into[i], from = edges.from[edge];
            const bool is_open = edges.label[edge] < self->class_count || productive == NULL ||
                                 productive[edges.label[edge] - self->class_count];
            if (is_open && !alive[from]) {
                alive[from] = true;
                stack[count++] = from;
            }
        }
    }
    edges_destroy(&edges);
    free(stack);
    return s;
}

/* Numbers the alive states that are reached from the first one in `number`; the rest get
 * AUTOMATON_DEAD. */
static status number_states(const struct automaton *self, const uint8_t *productive,
                            const uint8_t *alive, uint32_t *number, uint32_t *count)
{
    uint32_t *order = malloc(((size_t)self->state_count + 1) * sizeof *order);
    if (order == NULL) {
        return no_memory();
    }
    memset(number, 0xFF, (size_t)self->state_count * sizeof *number);
    *count = 1;
    order[0] = 0;
    number[0] = 0;
    for (uint32_t i = 0; i < *count; i++) {
        const uint32_t *row = self->next + (size_t)order[i] * self->class_count;
        for (uint32_t j = 0; j < self->class_count; j++) {
            const uint32_t to = row[j];
            if (to != AUTOMATON_DEAD && alive[to] && number[to] == AUTOMATON_DEAD) {
                number[to] = *count;
                order[(*count)++] = to;
            }
        }
        for (uint32_t j = self->call_start[order[i]]; j < self->call_start[order[i] + 1]; j++) {
            const struct automaton_call call = self->calls[j];
            if ((productive == NULL || productive[call.rule]) && alive[call.target] &&
                number[call.target] == AUTOMATON_DEAD) {
                number[call.target] = *count;
                order[(*count)++] = call.target;
            }
        }
    }
    free(order);
    return STATUS_OK;
}

/* A copy in which state i is number[i]; of those with one number the first says what it does. */
static status renumber(const struct automaton *self, const uint8_t *productive,
                       const uint32_t *number, uint32_t count, struct automaton *out)
{
    const size_t classes = self->class_count;
    *out = *self;
    out->state_count = count;
    out->next = malloc(((size_t)count * classes + 1) * sizeof *out->next);
    out->accepting = calloc(count, 1);
    out->call_start = calloc((size_t)count + 1, sizeof *out->call_start);
    out->calls = malloc(((size_t)self->call_start[self->state_count] + 1) * sizeof *out->calls);
    uint32_t *source = malloc(((size_t)count + 1) * sizeof *source);
    if (out->next == NULL || out->accepting == NULL || out->call_start == NULL ||
        out->calls == NULL || source == NULL) {
        free(source);
        return no_memory();
    }
    for (uint32_t i = self->state_count; i-- > 0;) {
        if (number[i] != AUTOMATON_DEAD) {
            source[number[i]] = i;
        }
    }
    uint32_t calls = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t from = source[i];
        for (size_t j = 0; j < classes; j++) {
            const uint32_t to = self->next[from * classes + j];
            out->next[i * classes + j] = to == AUTOMATON_DEAD ? to : number[to];
        }
        out->accepting[i] = self->accepting[from];
        for (uint32_t j = self->call_start[from]; j < self->call_start[from + 1]; j++) {
            const struct automaton_call call = self->calls[j];
            if ((productive == NULL || productive[call.rule]) &&
                number[call.target] != AUTOMATON_DEAD) {
                out->calls[calls++] = (struct automaton_call){call.rule, number[call.target]};
            }
        }
        out->call_start[i + 1] = calls;
    }
    free(source);
    return STATUS_OK;
}

static void replace(struct automaton *self, const struct automaton *by)
{
    free(self->next);
    free(self->accepting);
    free(self->call_start);
    free(self->calls);
    *self = *by;
}

/* self := its renumbered copy. */
static status apply_numbers(struct automaton *self, const uint8_t *productive,
                            const uint32_t *number, uint32_t count)
{
    struct automaton made;
    status s = renumber(self, productive, number, count, &made);
    if (s == STATUS_OK) {
        replace(self, &made);
    } else {
        free(made.next);
        free(made.accepting);
        free(made.call_start);
        free(made.calls);
    }
    return s;
}

status automaton_trim(struct automaton *self, const uint8_t *productive)
{
    uint8_t *alive = calloc(self->state_count, 1);
    uint32_t *number = malloc((size_t)self->state_count * sizeof *number), count;
    status s = alive != NULL && number != NULL ? find_alive(self, productive, alive) : no_memory();
    if (s == STATUS_OK) {
        s = number_states(self, productive, alive, number, &count);
    }
    if (s == STATUS_OK) {
        s = apply_numbers(self, productive, number, count);
    }
    free(alive);
    free(number);
    return s;
}

/* ---- Bytes that nothing tells apart ---- */

static bool equal_columns(const struct automaton *self, uint32_t a, uint32_t b)
{
    const size_t classes = self->class_count;
    for (size_t i = 0; i < self->state_count; i++) {
        if (self->next[i * classes + a] != self->next[i * classes + b]) {
            return false;
        }
    }
    return true;
}

static uint64_t hash_column(const struct automaton *self, uint32_t column)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < self->state_count; i++) {
        const uint32_t to = self->next[i * self->class_count + column];
        hash = (hash ^ to) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return hash;
}

static void join_classes(struct automaton *self)
{
    uint32_t joined[256], kept[256], kept_count = 0;
    uint64_t hashes[256];
    for (uint32_t i = 0; i < self->class_count; i++) {
        hashes[i] = hash_column(self, i);
        uint32_t at = 0;
        while (at < kept_count &&
               (hashes[kept[at]] != hashes[i] || !equal_columns(self, kept[at], i))) {
            at++;
        }
        joined[i] = at;
        if (at == kept_count) {
            kept[kept_count++] = i;
        }
    }
    for (int byte = 0; byte < 256; byte++) {
        self->classes[byte] = (uint8_t)joined[self->classes[byte]];
    }
    uint32_t *to = self->next; /* columns move to the front of what was there */
    for (size_t i = 0; i < self->state_count; i++) {
        const uint32_t *row = self->next + i * self->class_count;
        for (uint32_t j = 0; j < kept_count; j++) {
            *to++ = row[kept[j]];
        }
    }
    self->class_count = kept_count;
}

/* ---- States that nothing tells apart ---- */

static int compare_labels(const void *a, const void *b, void *labels)
{
    const uint32_t left = ((const uint32_t *)labels)[*(const uint32_t *)a];
    const uint32_t right = ((const uint32_t *)labels)[*(const uint32_t *)b];
    return (left > right) - (left < right);
}

/* The first partition of edges: by label. */
static void split_by_label(struct refinement *cords, const struct edges *edges)
{
    if (edges->count == 0) {
        return;
    }
    qsort_r(cords->elements, edges->count, sizeof *cords->elements, compare_labels, edges->label);
    cords->sets = 0;
    for (uint32_t i = 0; i < edges->count; i++) {
        const uint32_t edge = cords->elements[i];
        if (i > 0 && edges->label[edge] != edges->label[cords->elements[i - 1]]) {
            cords->past[cords->sets++] = i;
            cords->first[cords->sets] = i;
        }
        cords->set_of[edge] = cords->sets;
        cords->place[edge] = i;
    }
    cords->past[cords->sets++] = edges->count;
}

static void refine(struct refinement *blocks, struct refinement *cords, const struct edges *edges)
{
    uint32_t block = 1;
    for (uint32_t cord = 0; cord < cords->sets; cord++) {
        for (uint32_t i = cords->first[cord]; i < cords->past[cord]; i++) {
            partition_mark(blocks, edges->from[cords->elements[i]]);
        }
        partition_split(blocks);
        for (; block < blocks->sets; block++) {
            for (uint32_t i = blocks->first[block]; i < blocks->past[block]; i++) {
                const uint32_t state = blocks->elements[i];
                for (uint32_t j = edges->into_start[state]; j < edges->into_start[state + 1]; j++) {
                    partition_mark(cords, edges->into[j]);
                }
            }
            partition_split(cords);
        }
    }
}

/* Blocks numbered by their first state in order, so that the start keeps number 0. */
static uint32_t number_blocks(const struct refinement *blocks, uint32_t states, uint32_t *number,
                              uint32_t *of_block)
{
    uint32_t count = 0;
    memset(of_block, 0xFF, (size_t)blocks->sets * sizeof *of_block);
    for (uint32_t i = 0; i < states; i++) {
        uint32_t *block = &of_block[blocks->set_of[i]];
        if (*block == UINT32_MAX) {
            *block = count++;
        }
        number[i] = *block;
    }
    return count;
}

static status merge_states(struct automaton *self)
{
    struct edges edges = {0};
    struct refinement blocks = {0}, cords = {0};
    uint32_t *number = malloc(((size_t)self->state_count + 1) * sizeof *number);
    uint32_t *of_block = malloc(((size_t)self->state_count + 1) * sizeof *of_block);
    status s = number != NULL && of_block != NULL ? edges_create(&edges, self) : no_memory();
    if (s == STATUS_OK) {
        s = partition_create(&blocks, self->state_count);
    }
    if (s == STATUS_OK) {
        s = partition_create(&cords, edges.count);
    }
    if (s == STATUS_OK) {
        for (uint32_t i = 0; i < self->state_count; i++) {
            if (self->accepting[i]) {
                partition_mark(&blocks, i);
            }
        }
        partition_split(&blocks);
        split_by_label(&cords, &edges);
        refine(&blocks, &cords, &edges);
        const uint32_t count = number_blocks(&blocks, self->state_count, number, of_block);
        s = count < self->state_count ? apply_numbers(self, NULL, number, count) : STATUS_OK;
    }
    edges_destroy(&edges);
    partition_destroy(&blocks);
    partition_destroy(&cords);
    free(number);
    free(of_block);
    return s;
}

status automaton_minimize(struct automaton **self, uint64_t *work_left)
{
    const uint64_t cells = (uint64_t)(*self)->state_count * (*self)->class_count;
    TRY(automaton_work(work_left, cells));
    join_classes(*self);
    TRY(automaton_work(work_left, 4 * count_edges(*self)));
    TRY(merge_states(*self));
    join_classes(*self);
    return STATUS_OK;
}
