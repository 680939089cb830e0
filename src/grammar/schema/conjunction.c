/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of schemas that must hold together: what is added with a schema, which choices are open,
 * whether any value is left. */
#include <string.h>

#include "grammar/schema/compiler.h"
#include "grammar/schema/keywords.h"

/* ---- Work ---- */

status compiler_enter(struct schema_compiler *self)
{
    if (++self->steps > SCHEMA_MAX_CONJUNCTIONS) {
        return status_fail(STATUS_LIMIT, "the schema is too large: more than %d combinations",
                           SCHEMA_MAX_CONJUNCTIONS);
    }
    if (++self->nesting > SCHEMA_MAX_NESTING) {
        return status_fail(STATUS_LIMIT, "the schema is too deep: more than %d levels",
                           SCHEMA_MAX_NESTING);
    }
    return STATUS_OK;
}

void compiler_leave(struct schema_compiler *self)
{
    self->nesting--;
}

/* ---- Keywords ---- */

/* Refused keywords have a value that asks for nothing. */
static bool asks_nothing(const struct schema_keyword *keyword, const struct json *value)
{
    const bool wanted = strncmp(keyword->name, "unevaluated", strlen("unevaluated")) == 0;
    return value->type == JSON_BOOLEAN && value->boolean == wanted &&
           (wanted || strcmp(keyword->name, "uniqueItems") == 0 ||
            strcmp(keyword->name, "nullable") == 0 ||
            strcmp(keyword->name, "$recursiveAnchor") == 0);
}

status schema_check_keywords(struct schema_compiler *self, const struct json *schema)
{
    for (size_t i = 0; i < schema->length; i++) {
        const struct json_member *member = &schema->members[i];
        const struct schema_keyword *keyword = schema_keyword_find(member->key, member->key_length);
        if (keyword == NULL) {
            return schema_fail(self->document, schema, NULL, STATUS_UNSUPPORTED,
                               "%.60s: an unknown keyword", member->key);
        }
        if (keyword->use == KEYWORD_REFUSED && !asks_nothing(keyword, member->value)) {
            return schema_fail(self->document, schema, keyword->name, STATUS_UNSUPPORTED,
                               "not supported: %s", keyword->says);
        }
    }
    return STATUS_OK;
}

status schema_reference(struct schema_compiler *self, const struct json *schema,
                        const struct json **out)
{
    const struct json *reference = json_get(schema, "$ref");
    *out = NULL;
    if (reference == NULL) {
        return STATUS_OK;
    }
    if (reference->type != JSON_STRING) {
        return schema_fail(self->document, schema, "$ref", STATUS_INVALID,
                           "expected a string, not %s", json_kind(reference));
    }
    return schema_document_resolve(self->document, schema, reference->text, out);
}

/* A list of schemas, NULL where the keyword is not there. */
status schema_list(struct schema_compiler *self, const struct json *schema, const char *keyword,
                   const struct json **out)
{
    *out = json_get(schema, keyword);
    if (*out != NULL && ((*out)->type != JSON_ARRAY || (*out)->length == 0)) {
        return schema_fail(self->document, schema, keyword, STATUS_INVALID,
                           "expected a list of schemas");
    }
    return STATUS_OK;
}

/* ---- Sets ---- */

static bool is_ancestor(const struct conjunction *set, int element, const struct json *schema)
{
    for (; element >= 0; element = set->elements[element].parent) {
        if (set->elements[element].schema == schema) {
            return true;
        }
    }
    return false;
}

static int find_element(const struct conjunction *set, const struct json *schema)
{
    for (int i = 0; i < set->count; i++) {
        if (set->elements[i].schema == schema) {
            return i;
        }
    }
    return -1;
}

static status reserve(struct schema_compiler *self, struct conjunction *set)
{
    if (set->count < set->capacity) {
        return STATUS_OK;
    }
    const int capacity = set->capacity == 0 ? 4 : 2 * set->capacity;
    struct element *grown = arena_allocate_array(self->arena, (size_t)capacity, sizeof *grown);
    if (grown == NULL) {
        return schema_no_memory();
    }
    if (set->count > 0) {
        memcpy(grown, set->elements, (size_t)set->count * sizeof *grown);
    }
    set->elements = grown;
    set->capacity = capacity;
    return STATUS_OK;
}

/* What holds together with a schema. */
static status add_implied(struct schema_compiler *self, struct conjunction *set, int element)
{
    const struct json *schema = set->elements[element].schema, *target, *all;
    TRY(schema_reference(self, schema, &target));
    if (target != NULL) {
        TRY(conjunction_add(self, set, target, schema, element));
    }
    TRY(schema_list(self, schema, "allOf", &all));
    for (size_t i = 0; all != NULL && i < all->length; i++) {
        TRY(conjunction_add(self, set, all->items[i], schema, element));
    }
    return STATUS_OK;
}

status conjunction_add(struct schema_compiler *self, struct conjunction *set,
                       const struct json *schema, const struct json *holder, int parent)
{
    if (schema->type == JSON_BOOLEAN) {
        set->is_never = set->is_never || !schema->boolean;
        return STATUS_OK;
    }
    if (schema->type != JSON_OBJECT) {
        return schema_fail(self->document, holder != NULL ? holder : schema, NULL, STATUS_INVALID,
                           "expected a schema, not %s", json_kind(schema));
    }
    if (is_ancestor(set, parent, schema)) {
        return schema_fail(self->document, schema, NULL, STATUS_INVALID,
                           "the schema is defined as itself");
    }
    if (find_element(set, schema) >= 0 || schema->length == 0) {
        return STATUS_OK;
    }
    if (set->count == SCHEMA_MAX_ELEMENTS) {
        return schema_fail(self->document, schema, NULL, STATUS_LIMIT,
                           "more than %d schemas must hold together", SCHEMA_MAX_ELEMENTS);
    }
    TRY(schema_check_keywords(self, schema));
    TRY(reserve(self, set));
    set->elements[set->count++] = (struct element){.schema = schema, .parent = parent};
    return add_implied(self, set, set->count - 1);
}

status conjunction_copy(struct schema_compiler *self, const struct conjunction *from,
                        struct conjunction *out)
{
    *out = (struct conjunction){.is_never = from->is_never};
    for (int i = 0; i < from->count; i++) {
        TRY(reserve(self, out));
        out->elements[out->count++] = from->elements[i];
    }
    return STATUS_OK;
}

int conjunction_open(const struct conjunction *set, bool *is_one)
{
    for (int i = 0; i < set->count; i++) {
        const struct element *element = &set->elements[i];
        if (!element->any_chosen && json_get(element->schema, "anyOf") != NULL) {
            *is_one = false;
            return i;
        }
        if (!element->one_chosen && json_get(element->schema, "oneOf") != NULL) {
            *is_one = true;
            return i;
        }
    }
    return -1;
}

status conjunction_choose(struct schema_compiler *self, const struct conjunction *from, int open,
                          bool is_one, size_t i, struct conjunction *out)
{
    const struct json *list;
    TRY(conjunction_copy(self, from, out));
    struct element *element = &out->elements[open];
    TRY(schema_list(self, element->schema, is_one ? "oneOf" : "anyOf", &list));
    element->any_chosen = element->any_chosen || !is_one;
    element->one_chosen = element->one_chosen || is_one;
    return conjunction_add(self, out, list->items[i], element->schema, open);
}

const struct json *conjunction_values(const struct conjunction *set, bool *single)
{
    for (int i = 0; i < set->count; i++) {
        const struct json *value = json_get(set->elements[i].schema, "const");
        *single = value != NULL;
        value = value != NULL ? value : json_get(set->elements[i].schema, "enum");
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

status conjunction_accepts(struct schema_compiler *self, const struct conjunction *set,
                           const struct json *value, bool *out)
{
    *out = !set->is_never;
    for (int i = 0; *out && i < set->count; i++) {
        TRY(value_satisfies(self, set->elements[i].schema, value, out));
    }
    return STATUS_OK;
}

status conjunction_accepts_listed(struct schema_compiler *self, const struct conjunction *set,
                                  const struct json *values, bool single, size_t i, bool *out)
{
    const struct json *value = single ? values : values->items[i];
    self->listed = value;
    self->listed_in = values;
    const status s = conjunction_accepts(self, set, value, out);
    self->listed = self->listed_in = NULL;
    return s;
}

/* ---- Is anything left? ---- */

/* Deeper than this nobody looks: the answer is then that something may be left. */
enum { EMPTY_NESTING = 24, EMPTY_STEPS = 100000 };

static status no_value_fits(struct schema_compiler *self, const struct conjunction *set,
                            const struct json *values, bool single, bool *out)
{
    const size_t count = single ? 1 : values->type == JSON_ARRAY ? values->length : 0;
    *out = true;
    for (size_t i = 0; *out && i < count; i++) {
        bool fits;
        TRY(conjunction_accepts_listed(self, set, values, single, i, &fits));
        *out = !fits;
    }
    return STATUS_OK;
}

static status no_choice_fits(struct schema_compiler *self, const struct conjunction *set, int open,
                             bool is_one, bool *out)
{
    const struct json *list;
    TRY(schema_list(self, set->elements[open].schema, is_one ? "oneOf" : "anyOf", &list));
    *out = true;
    for (size_t i = 0; *out && i < list->length; i++) {
        struct conjunction chosen;
        TRY(conjunction_choose(self, set, open, is_one, i, &chosen));
        TRY(conjunction_is_empty(self, &chosen, out));
    }
    return STATUS_OK;
}

static status no_text_fits(struct schema_compiler *self, const struct conjunction *set,
                           const struct length_range *length, bool *out)
{
    grammar_node content;
    bool is_any;
    TRY(text_content(self, set, length, &content, &is_any));
    *out = false;
    return is_any ? STATUS_OK : grammar_is_empty(self->expressions, content, out);
}

static status no_type_fits(struct schema_compiler *self, const struct conjunction *set, bool *out)
{
    struct schema_shape shape;
    bool empty = true;
    TRY(shape_read(self, set, &shape));
    *out = (shape.types & (TYPE_NULL | TYPE_BOOLEAN)) == 0;
    if (*out && (shape.types & (TYPE_INTEGER | TYPE_FRACTION)) != 0) {
        *out = number_range_is_empty(&shape.numbers, (shape.types & TYPE_FRACTION) == 0);
    }
    if (*out && (shape.types & TYPE_STRING) != 0) {
        TRY(no_text_fits(self, set, &shape.text, &empty));
        *out = empty;
    }
    if (*out && (shape.types & TYPE_ARRAY) != 0) {
        TRY(array_is_empty(self, set, &shape.items, &empty));
        *out = empty;
    }
    if (*out && (shape.types & TYPE_OBJECT) != 0) {
        TRY(object_is_empty(self, set, &shape.members, &empty));
        *out = empty;
    }
    return STATUS_OK;
}

static status look_for_values(struct schema_compiler *self, const struct conjunction *set,
                              bool *out)
{
    bool single, is_one;
    const struct json *values = conjunction_values(set, &single);
    const int open = conjunction_open(set, &is_one);
    return values != NULL ? no_value_fits(self, set, values, single, out)
           : open >= 0    ? no_choice_fits(self, set, open, is_one, out)
                          : no_type_fits(self, set, out);
}

status conjunction_is_empty(struct schema_compiler *self, const struct conjunction *set, bool *out)
{
    *out = set->is_never;
    if (set->is_never || self->empty_nesting >= EMPTY_NESTING || self->empty_steps >= EMPTY_STEPS) {
        return STATUS_OK;
    }
    self->empty_nesting++;
    self->empty_steps++;
    status s = look_for_values(self, set, out);
    self->empty_nesting--;
    return s;
}
