/* SPDX-License-Identifier: Apache-2.0 */
/* Conjunctions to expressions: a choice where one is open, else a choice of types. What recurs
 * becomes a rule. */
#include <stdlib.h>
#include <string.h>

#include "grammar/schema/compiler.h"

/* A conjunction that is compiled, or is being. */
struct compiled {
    struct conjunction set;
    uint64_t hash;
    bool is_done, is_rule;
    grammar_rule rule;
    grammar_node node;
};

/* ---- Choices ---- */

static status pair_is_empty(struct schema_compiler *self, const struct conjunction *set, int open,
                            const struct json *list, size_t i, size_t j, bool *out)
{
    struct conjunction both;
    TRY(conjunction_choose(self, set, open, true, i, &both));
    TRY(conjunction_add(self, &both, list->items[j], set->elements[open].schema, open));
    return conjunction_is_empty(self, &both, out);
}

status conjunction_check_disjoint(struct schema_compiler *self, const struct conjunction *set,
                                  int open)
{
    const struct json *schema = set->elements[open].schema, *list;
    TRY(schema_list(self, schema, "oneOf", &list));
    for (size_t i = 0; i < list->length; i++) {
        for (size_t j = i + 1; j < list->length; j++) {
            bool disjoint;
            TRY(compiler_enter(self));
            TRY(pair_is_empty(self, set, open, list, i, j, &disjoint));
            compiler_leave(self);
            if (!disjoint) {
                return schema_fail(self->document, schema, "oneOf", STATUS_UNSUPPORTED,
                                   "schemas %zu and %zu may both hold for one value; write anyOf, "
                                   "or require a property whose const differs",
                                   i, j);
            }
        }
    }
    return STATUS_OK;
}

static status compile_choice(struct schema_compiler *self, const struct conjunction *set, int open,
                             bool is_one, grammar_node *out)
{
    const struct json *list;
    TRY(schema_list(self, set->elements[open].schema, is_one ? "oneOf" : "anyOf", &list));
    if (is_one) {
        TRY(conjunction_check_disjoint(self, set, open));
    }
    grammar_node *ways = arena_allocate_array(self->arena, list->length, sizeof *ways);
    if (ways == NULL) {
        return schema_no_memory();
    }
    for (size_t i = 0; i < list->length; i++) {
        struct conjunction chosen;
        TRY(conjunction_choose(self, set, open, is_one, i, &chosen));
        TRY(conjunction_compile(self, &chosen, &ways[i]));
    }
    return grammar_choice(self->expressions, ways, list->length, out);
}

static status compile_values(struct schema_compiler *self, const struct conjunction *set,
                             const struct json *values, bool single, grammar_node *out)
{
    const size_t count = single ? 1 : values->type == JSON_ARRAY ? values->length : 0;
    grammar_node *ways = arena_allocate_array(self->arena, count + 1, sizeof *ways);
    size_t used = 0;
    if (ways == NULL) {
        return schema_no_memory();
    }
    if (!single && values->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "enum: expected a list, not %s", json_kind(values));
    }
    for (size_t i = 0; i < count; i++) {
        const struct json *value = single ? values : values->items[i];
        bool fits;
        TRY(conjunction_accepts_listed(self, set, values, single, i, &fits));
        TRY(fits ? value_node(self, value, &ways[used++]) : STATUS_OK);
    }
    return grammar_choice(self->expressions, ways, used, out);
}

/* ---- Types ---- */

static status word_node(struct schema_compiler *self, const char *word, grammar_node *out)
{
    return grammar_literal(self->expressions, word, strlen(word), out);
}

static status compile_types(struct schema_compiler *self, const struct conjunction *set,
                            grammar_node *out)
{
    struct schema_shape shape;
    grammar_node ways[8];
    size_t count = 0;
    TRY(shape_read(self, set, &shape));
    const unsigned numbers = shape.types & (TYPE_INTEGER | TYPE_FRACTION);
    if ((shape.types & TYPE_OBJECT) != 0) {
        TRY(object_node(self, set, &shape.members, &ways[count++]));
    }
    if ((shape.types & TYPE_ARRAY) != 0) {
        TRY(array_node(self, set, &shape.items, &ways[count++]));
    }
    if ((shape.types & TYPE_STRING) != 0) {
        TRY(text_node(self, set, &shape.text, &ways[count++]));
    }
    if (numbers != 0) {
        TRY(number_range_node(&shape.numbers, numbers == TYPE_INTEGER, self->expressions,
                              &ways[count++]));
    }
    if ((shape.types & TYPE_BOOLEAN) != 0) {
        TRY(word_node(self, "true", &ways[count++]));
        TRY(word_node(self, "false", &ways[count++]));
    }
    if ((shape.types & TYPE_NULL) != 0) {
        TRY(word_node(self, "null", &ways[count++]));
    }
    return grammar_choice(self->expressions, ways, count, out);
}

static status compile_body(struct schema_compiler *self, const struct conjunction *set,
                           grammar_node *out)
{
    bool single, is_one;
    const struct json *values = conjunction_values(set, &single);
    const int open = conjunction_open(set, &is_one);
    return values != NULL ? compile_values(self, set, values, single, out)
           : open >= 0    ? compile_choice(self, set, open, is_one, out)
                          : compile_types(self, set, out);
}

/* ---- Those that are known already ---- */

static uint64_t hash_set(const struct conjunction *set)
{
    uint64_t hash = (uint64_t)set->count;
    for (int i = 0; i < set->count; i++) {
        const struct element *element = &set->elements[i];
        const uintptr_t parts[] = {(uintptr_t)element->schema, element->any_chosen,
                                   element->one_chosen};
        hash = hash_bytes(parts, sizeof parts, hash);
    }
    return hash;
}

static bool same_set(const struct conjunction *a, const struct conjunction *b)
{
    bool same = a->count == b->count;
    for (int i = 0; same && i < a->count; i++) {
        const struct element *left = &a->elements[i], *right = &b->elements[i];
        same = left->schema == right->schema && left->any_chosen == right->any_chosen &&
               left->one_chosen == right->one_chosen;
    }
    return same;
}

static status find_compiled(struct schema_compiler *self, const struct conjunction *set,
                            size_t *index, bool *found)
{
    const uint64_t hash = hash_set(set);
    *found = true;
    for (*index = 0; *index < self->done_count; ++*index) {
        const struct compiled *entry = &self->done[*index];
        if (entry->hash == hash && same_set(&entry->set, set)) {
            return STATUS_OK;
        }
    }
    *found = false;
    void *grown = self->done;
    status s = array_grow(&grown, &self->done_capacity, self->done_count + 1, sizeof *self->done);
    self->done = grown;
    TRY(s);
    self->done[self->done_count] = (struct compiled){.hash = hash};
    return conjunction_copy(self, set, &self->done[self->done_count++].set);
}

static status make_rule(struct schema_compiler *self, struct compiled *entry)
{
    if (!entry->is_rule) {
        TRY(grammar_rule_declare(self->expressions, NULL, &entry->rule));
        entry->is_rule = true;
    }
    return grammar_reference(self->expressions, entry->rule, &entry->node);
}

/* What a document defines once and uses in several places is there once: its structures, that is.
 */
static status is_definition(struct schema_compiler *self, const struct conjunction *set, bool *out)
{
    unsigned mask;
    *out = set->count > 0 && json_get(set->elements[0].schema, "$ref") != NULL;
    for (int i = 0; *out && i < set->count; i++) {
        TRY(type_mask(self, set->elements[i].schema, &mask));
        *out = (mask & (TYPE_OBJECT | TYPE_ARRAY)) != 0;
    }
    return STATUS_OK;
}

static status finish_entry(struct schema_compiler *self, struct compiled *entry, grammar_node body)
{
    bool is_shared;
    TRY(is_definition(self, &entry->set, &is_shared));
    entry->node = body;
    if (entry->is_rule || is_shared) {
        TRY(make_rule(self, entry));
        TRY(grammar_rule_define(self->expressions, entry->rule, body));
    }
    entry->is_done = true;
    return STATUS_OK;
}

status conjunction_compile(struct schema_compiler *self, const struct conjunction *set,
                           grammar_node *out)
{
    size_t index;
    bool found;
    grammar_node body;
    if (set->is_never) {
        return grammar_choice(self->expressions, NULL, 0, out);
    }
    TRY(find_compiled(self, set, &index, &found));
    if (found) {
        struct compiled *entry = &self->done[index];
        TRY(entry->is_done ? STATUS_OK : make_rule(self, entry));
        *out = entry->node;
        return STATUS_OK;
    }
    TRY(compiler_enter(self));
    TRY(compile_body(self, set, &body));
    compiler_leave(self);
    TRY(finish_entry(self, &self->done[index], body)); /* the table may have moved: by index */
    *out = self->done[index].node;
    return STATUS_OK;
}
