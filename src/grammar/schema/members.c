/* SPDX-License-Identifier: Apache-2.0 */
/* What an object's schemas say of its members: by name, by pattern, and of all others. */
#include <string.h>

#include "grammar/schema/members.h"

status schema_object(struct schema_compiler *self, const struct json *schema, const char *keyword,
                     const struct json **out)
{
    *out = json_get(schema, keyword);
    return *out == NULL || (*out)->type == JSON_OBJECT
               ? STATUS_OK
               : schema_fail(self->document, schema, keyword, STATUS_INVALID,
                             "expected an object of schemas, not %s", json_kind(*out));
}

status schema_required(struct schema_compiler *self, const struct json *schema,
                       const struct json **out)
{
    *out = json_get(schema, "required");
    bool is_list = *out == NULL || (*out)->type == JSON_ARRAY;
    for (size_t i = 0; is_list && *out != NULL && i < (*out)->length; i++) {
        is_list = (*out)->items[i]->type == JSON_STRING;
    }
    return is_list ? STATUS_OK
                   : schema_fail(self->document, schema, "required", STATUS_INVALID,
                                 "expected a list of names");
}

status pattern_finds(struct schema_compiler *self, const struct json *schema,
                     const struct json_member *pattern, const char *name, size_t length, bool *out)
{
    grammar_node node;
    TRY(pattern_content(self, schema, pattern->key, pattern->key_length, &node));
    return grammar_matches(self->expressions, node, name, length, out);
}

static const struct json *find_member(const struct json *object, const char *name, size_t length)
{
    for (size_t i = 0; object != NULL && i < object->length; i++) {
        if (object->members[i].key_length == length &&
            memcmp(object->members[i].key, name, length) == 0) {
            return object->members[i].value;
        }
    }
    return NULL;
}

/* What holds for a member that neither properties nor a pattern names. */
static status add_additional(struct schema_compiler *self, const struct json *schema,
                             struct conjunction *out)
{
    const struct json *additional = json_get(schema, "additionalProperties");
    if (additional != NULL) {
        return conjunction_add(self, out, additional, schema, -1);
    }
    out->is_never =
        out->is_never || (self->options.closed_objects && json_get(schema, "properties") != NULL);
    return STATUS_OK;
}

static status add_member(struct schema_compiler *self, const struct json *schema, const char *name,
                         size_t length, struct conjunction *out)
{
    const struct json *properties, *patterns;
    TRY(schema_object(self, schema, "properties", &properties));
    TRY(schema_object(self, schema, "patternProperties", &patterns));
    const struct json *own = find_member(properties, name, length);
    bool is_named = own != NULL;
    if (own != NULL) {
        TRY(conjunction_add(self, out, own, schema, -1));
    }
    for (size_t i = 0; patterns != NULL && i < patterns->length; i++) {
        bool found;
        TRY(pattern_finds(self, schema, &patterns->members[i], name, length, &found));
        if (found) {
            is_named = true;
            TRY(conjunction_add(self, out, patterns->members[i].value, schema, -1));
        }
    }
    return is_named ? STATUS_OK : add_additional(self, schema, out);
}

static status add_names(struct schema_compiler *self, const struct json *schema, const char *name,
                        size_t length, struct conjunction *out)
{
    const struct json *names = json_get(schema, "propertyNames");
    const struct json value = {.type = JSON_STRING, .text = name, .length = length};
    bool fits = true;
    if (names != NULL) {
        TRY(value_satisfies(self, names, &value, &fits));
    }
    out->is_never = out->is_never || !fits;
    return STATUS_OK;
}

status member_conjunction(struct schema_compiler *self, const struct conjunction *set,
                          const char *name, size_t length, struct conjunction *out)
{
    *out = (struct conjunction){0};
    for (int i = 0; i < set->count; i++) {
        TRY(add_member(self, set->elements[i].schema, name, length, out));
        TRY(add_names(self, set->elements[i].schema, name, length, out));
    }
    return STATUS_OK;
}

/* ---- Declared names ---- */

static bool is_listed(const struct member_names *names, const char *name, size_t length)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].length == length && memcmp(names->items[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

static void list_name(struct member_names *names, const char *name, size_t length)
{
    if (!is_listed(names, name, length)) {
        names->items[names->count++] = (struct member_name){name, length, false};
    }
}

static void mark_required(struct member_names *names, const struct json *required)
{
    for (size_t i = 0; required != NULL && i < required->length; i++) {
        const struct json *name = required->items[i];
        list_name(names, name->text, name->length);
        for (size_t j = 0; j < names->count; j++) {
            struct member_name *item = &names->items[j];
            item->is_required |=
                item->length == name->length && memcmp(item->name, name->text, item->length) == 0;
        }
    }
}

status member_names_read(struct schema_compiler *self, const struct conjunction *set,
                         struct member_names *out)
{
    const struct json *properties, *required;
    size_t most = 0;
    for (int i = 0; i < set->count; i++) {
        TRY(schema_object(self, set->elements[i].schema, "properties", &properties));
        TRY(schema_required(self, set->elements[i].schema, &required));
        most += (properties != NULL ? properties->length : 0) +
                (required != NULL ? required->length : 0);
    }
    *out = (struct member_names){
        .items = arena_allocate_array(self->arena, most + 1, sizeof *out->items)};
    if (out->items == NULL) {
        return schema_no_memory();
    }
    for (int i = 0; i < set->count; i++) {
        TRY(schema_object(self, set->elements[i].schema, "properties", &properties));
        for (size_t j = 0; properties != NULL && j < properties->length; j++) {
            list_name(out, properties->members[j].key, properties->members[j].key_length);
        }
    }
    for (int i = 0; i < set->count; i++) {
        TRY(schema_required(self, set->elements[i].schema, &required));
        mark_required(out, required);
    }
    return STATUS_OK;
}

/* ---- All other names ---- */

struct name_patterns {
    struct {
        int element;
        const struct json *schema; /* of the values */
        grammar_node names;
    } items[SCHEMA_MAX_PATTERNS];
    unsigned count;
};

static status read_patterns(struct schema_compiler *self, const struct conjunction *set,
                            struct name_patterns *out)
{
    const struct json *patterns;
    *out = (struct name_patterns){0};
    for (int i = 0; i < set->count; i++) {
        const struct json *schema = set->elements[i].schema;
        TRY(schema_object(self, schema, "patternProperties", &patterns));
        for (size_t j = 0; patterns != NULL && j < patterns->length; j++) {
            if (out->count == SCHEMA_MAX_PATTERNS) {
                return schema_fail(self->document, schema, "patternProperties", STATUS_LIMIT,
                                   "more than %d patterns meet", SCHEMA_MAX_PATTERNS);
            }
            const struct json_member *member = &patterns->members[j];
            TRY(pattern_content(self, schema, member->key, member->key_length,
                                &out->items[out->count].names));
            out->items[out->count].element = i;
            out->items[out->count++].schema = member->value;
        }
    }
    return STATUS_OK;
}

/* What holds for a name that exactly the patterns of a set of bits match. */
static status other_conjunction(struct schema_compiler *self, const struct conjunction *set,
                                const struct name_patterns *patterns, unsigned matched,
                                struct conjunction *out)
{
    *out = (struct conjunction){0};
    for (int i = 0; i < set->count; i++) {
        bool is_named = false;
        for (unsigned j = 0; j < patterns->count; j++) {
            if (patterns->items[j].element == i && (matched >> j & 1) != 0) {
                is_named = true;
                TRY(conjunction_add(self, out, patterns->items[j].schema, set->elements[i].schema,
                                    -1));
            }
        }
        if (!is_named) {
            TRY(add_additional(self, set->elements[i].schema, out));
        }
    }
    return STATUS_OK;
}

/* All names that may be, but for the declared ones. */
static status other_names(struct schema_compiler *self, const struct conjunction *set,
                          const struct member_names *declared, grammar_node *out)
{
    const struct length_range any = {0, GRAMMAR_UNBOUNDED};
    struct conjunction names = {0};
    for (int i = 0; i < set->count; i++) {
        const struct json *schema = json_get(set->elements[i].schema, "propertyNames");
        if (schema != NULL) {
            TRY(conjunction_add(self, &names, schema, set->elements[i].schema, -1));
        }
    }
    TRY(names.count > 0 || names.is_never ? conjunction_content(self, &names, out)
                                          : any_content(self, &any, out));
    grammar_node *literals =
        arena_allocate_array(self->arena, declared->count + 1, sizeof *literals);
    if (literals == NULL) {
        return schema_no_memory();
    }
    for (size_t i = 0; i < declared->count; i++) {
        TRY(grammar_literal(self->expressions, declared->items[i].name, declared->items[i].length,
                            &literals[i]));
    }
    if (declared->count == 0) {
        return STATUS_OK;
    }
    grammar_node known;
    TRY(grammar_choice(self->expressions, literals, declared->count, &known));
    return grammar_without(self->expressions, *out, known, out);
}

/* Of these names those that exactly the patterns of a set of bits match. */
static status matched_names(struct schema_compiler *self, const struct name_patterns *patterns,
                            unsigned matched, grammar_node *names)
{
    for (unsigned i = 0; i < patterns->count; i++) {
        const grammar_node pattern = patterns->items[i].names;
        TRY((matched >> i & 1) != 0 ? grammar_both(self->expressions, *names, pattern, names)
                                    : grammar_without(self->expressions, *names, pattern, names));
    }
    return STATUS_OK;
}

static status other_member(struct schema_compiler *self, const struct conjunction *value,
                           grammar_node names, grammar_node *out)
{
    grammar_node parts[3];
    TRY(grammar_json_string_of(self->expressions, names, &parts[0]));
    TRY(spaced_node(self, ":", &parts[1]));
    TRY(conjunction_compile(self, value, &parts[2]));
    return grammar_sequence(self->expressions, parts, 3, out);
}

status other_members(struct schema_compiler *self, const struct conjunction *set,
                     const struct member_names *declared, grammar_node *out, bool *there)
{
    struct name_patterns patterns;
    grammar_node ways[1u << SCHEMA_MAX_PATTERNS], names = 0;
    size_t count = 0;
    TRY(read_patterns(self, set, &patterns));
    for (unsigned matched = 0; matched < 1u << patterns.count; matched++) {
        struct conjunction value;
        bool is_empty;
        TRY(other_conjunction(self, set, &patterns, matched, &value));
        if (value.is_never) {
            continue;
        }
        TRY(other_names(self, set, declared, &names));
        TRY(matched_names(self, &patterns, matched, &names));
        TRY(grammar_is_empty(self->expressions, names, &is_empty));
        if (!is_empty) {
            TRY(other_member(self, &value, names, &ways[count++]));
        }
    }
    *there = count > 0;
    return grammar_choice(self->expressions, ways, count, out);
}
