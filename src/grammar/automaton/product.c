/* SPDX-License-Identifier: Apache-2.0 */
/* Two automata side by side: texts of one that are, or are not, texts of the other. */
#include <stdlib.h>

#include "grammar/automaton/automaton.h"

struct pairs {
    const struct automaton *a, *b;
    struct pair {
        uint32_t a, b; /* b AUTOMATON_DEAD: the second has no such text any more */
    } * items;
    size_t count, capacity, most;
    uint32_t *table; /* pairs by content, 0 free, else the pair + 1 */
    size_t table_size;
    uint8_t class_a[256], class_b[256]; /* of a joint class */
    uint32_t class_count;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

static size_t hash_pair(struct pair pair, size_t size)
{
    return hash_bytes(&pair, sizeof pair, 0) & (size - 1);
}

static status grow_table(struct pairs *self)
{
    const size_t size = self->table_size > 0 ? self->table_size * 2 : 256;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < self->count; i++) {
        size_t at = hash_pair(self->items[i], size);
        while (table[at] != 0) {
            at = (at + 1) & (size - 1);
        }
        table[at] = (uint32_t)i + 1;
    }
    free(self->table);
    self->table = table;
    self->table_size = size;
    return STATUS_OK;
}

static status find_pair(struct pairs *self, struct pair pair, uint32_t *out)
{
    if ((self->count + 1) * 2 > self->table_size) {
        TRY(grow_table(self));
    }
    size_t at = hash_pair(pair, self->table_size);
    for (; self->table[at] != 0; at = (at + 1) & (self->table_size - 1)) {
        const struct pair *found = &self->items[self->table[at] - 1];
        if (found->a == pair.a && found->b == pair.b) {
            *out = self->table[at] - 1;
            return STATUS_OK;
        }
    }
    if (self->count == self->most) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu states", self->most);
    }
    void *items = self->items;
    status s = array_grow(&items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items = items;
    TRY(s);
    *out = (uint32_t)self->count;
    self->table[at] = (uint32_t)self->count + 1;
    self->items[self->count++] = pair;
    return STATUS_OK;
}

/* Bytes that neither tells apart have one joint class. */
static void join_classes(struct pairs *self, uint8_t classes[256])
{
    for (int byte = 0; byte < 256; byte++) {
        uint32_t i = 0;
        while (i < self->class_count && (self->class_a[i] != self->a->classes[byte] ||
                                         self->class_b[i] != self->b->classes[byte])) {
            i++;
        }
        if (i == self->class_count) {
            self->class_a[i] = self->a->classes[byte];
            self->class_b[i] = self->b->classes[byte];
            self->class_count++;
        }
        classes[byte] = (uint8_t)i;
    }
}

static struct pair step_pair(const struct pairs *self, struct pair from, uint32_t class)
{
    const struct automaton *a = self->a, *b = self->b;
    return (struct pair){
        .a = a->next[(size_t)from.a * a->class_count + self->class_a[class]],
        .b = from.b == AUTOMATON_DEAD
                 ? AUTOMATON_DEAD
                 : b->next[(size_t)from.b * b->class_count + self->class_b[class]],
    };
}

static status walk(struct pairs *self, bool negate, uint64_t *work_left, struct automaton *out)
{
    join_classes(self, out->classes);
    out->class_count = self->class_count;
    size_t next_capacity = 0;
    uint32_t ignored;
    TRY(find_pair(self, (struct pair){0, 0}, &ignored));
    for (size_t i = 0; i < self->count; i++) {
        TRY(automaton_work(work_left, self->class_count));
        void *next = out->next;
        status s =
            array_grow(&next, &next_capacity, (i + 1) * self->class_count, sizeof *out->next);
        out->next = next;
        TRY(s);
        for (uint32_t c = 0; c < self->class_count; c++) {
            const struct pair to = step_pair(self, self->items[i], c);
            uint32_t *cell = &out->next[i * self->class_count + c];
            *cell = AUTOMATON_DEAD;
            if (to.a != AUTOMATON_DEAD && (negate || to.b != AUTOMATON_DEAD)) {
                TRY(find_pair(self, to, cell));
            }
        }
    }
    out->state_count = (uint32_t)self->count;
    out->accepting = malloc(self->count);
    out->call_start = calloc(self->count + 1, sizeof *out->call_start);
    if (out->accepting == NULL || out->call_start == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < self->count; i++) {
        const struct pair pair = self->items[i];
        const bool in_b = pair.b != AUTOMATON_DEAD && self->b->accepting[pair.b];
        out->accepting[i] = self->a->accepting[pair.a] && in_b != negate;
    }
    return STATUS_OK;
}

status automaton_product(const struct automaton *a, const struct automaton *b, bool negate,
                         size_t most_states, uint64_t *work_left, struct automaton **out)
{
    struct pairs pairs = {.a = a, .b = b, .most = most_states};
    struct automaton *made = calloc(1, sizeof *made);
    status s = made != NULL ? walk(&pairs, negate, work_left, made) : no_memory();
    free(pairs.items);
    free(pairs.table);
    if (s == STATUS_OK) {
        s = automaton_trim(made, NULL);
    }
    if (s == STATUS_OK) {
        s = automaton_minimize(&made, work_left);
    }
    if (s != STATUS_OK) {
        automaton_destroy(made);
        return s;
    }
    *out = made;
    return STATUS_OK;
}
