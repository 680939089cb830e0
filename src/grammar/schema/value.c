/* SPDX-License-Identifier: Apache-2.0 */
/* Values that a schema lists: whether its other keywords hold for them, and how they are written.
 */
#include <string.h>

#include "grammar/nodes.h"
#include "grammar/schema/compiler.h"

static status holds_type(struct schema_compiler *self, const struct json *schema,
                         const struct json *value, bool *out)
{
    static const unsigned masks[] = {
        [JSON_NULL] = TYPE_NULL,   [JSON_BOOLEAN] = TYPE_BOOLEAN, [JSON_STRING] = TYPE_STRING,
        [JSON_ARRAY] = TYPE_ARRAY, [JSON_OBJECT] = TYPE_OBJECT,   [JSON_NOT_FINITE] = 0};
    unsigned mask, own = value->type == JSON_NUMBER ? TYPE_FRACTION : masks[value->type];
    struct decimal number;
    if (value->type == JSON_NUMBER) {
        TRY(decimal_read(value, self->arena, &number));
        own = decimal_is_integer(&number) ? TYPE_INTEGER : TYPE_FRACTION;
    }
    TRY(type_mask(self, schema, &mask));
    *out = (mask & own) != 0;
    return STATUS_OK;
}

static status holds_values(struct schema_compiler *self, const struct json *schema,
                           const struct json *value, bool *out)
{
    const struct json *only = json_get(schema, "const"), *list = json_get(schema, "enum");
    *out = true;
    if (only != NULL) {
        TRY(values_equal(self, only, value, out));
    }
    if (!*out || list == NULL) {
        return STATUS_OK;
    }
    if (list->type != JSON_ARRAY) {
        return schema_fail(self->document, schema, "enum", STATUS_INVALID,
                           "expected a list, not %s", json_kind(list));
    }
    *out = list == self->listed_in && value == self->listed; /* it was taken from there */
    for (size_t i = 0; !*out && i < list->length; i++) {
        TRY(values_equal(self, list->items[i], value, out));
    }
    return STATUS_OK;
}

static status holds_number(struct schema_compiler *self, const struct json *schema,
                           const struct json *value, bool *out)
{
    struct number_range range = {0};
    struct decimal number;
    bool is_whole;
    TRY(schema_numbers(self, schema, &range));
    TRY(schema_is_whole(self, schema, &is_whole));
    TRY(decimal_read(value, self->arena, &number));
    number_range_raise(&range, &number, false);
    number_range_lower(&range, &number, false);
    *out = !number_range_is_empty(&range, false) && (!is_whole || decimal_is_integer(&number));
    return STATUS_OK;
}

static status holds_length(struct schema_compiler *self, const struct json *schema,
                           const char *least, const char *most, size_t count, bool *out)
{
    uint32_t bound;
    bool there;
    TRY(count_keyword(self, schema, least, &bound, &there));
    *out = *out && (!there || count >= bound);
    TRY(count_keyword(self, schema, most, &bound, &there));
    *out = *out && (!there || count <= bound);
    return STATUS_OK;
}

static size_t count_characters(const struct json *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->length; i++) {
        count += ((unsigned char)text->text[i] & 0xC0) != 0x80;
    }
    return count;
}

static status holds_text(struct schema_compiler *self, const struct json *schema,
                         const struct json *value, bool *out)
{
    const struct json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format");
    grammar_node node;
    bool found = true;
    *out = true;
    TRY(holds_length(self, schema, "minLength", "maxLength", count_characters(value), out));
    if (*out && pattern != NULL && pattern->type == JSON_STRING) {
        TRY(pattern_content(self, schema, pattern->text, pattern->length, &node));
        TRY(grammar_matches(self->expressions, node, value->text, value->length, out));
    }
    if (*out && format != NULL && format->type == JSON_STRING) {
        TRY(format_content(self, schema, format->text, &node, &found));
        TRY(found ? grammar_matches(self->expressions, node, value->text, value->length, out)
                  : STATUS_OK);
    }
    return STATUS_OK;
}

static status holds_items(struct schema_compiler *self, const struct json *schema,
                          const struct json *value, bool *out)
{
    *out = true;
    TRY(holds_length(self, schema, "minItems", "maxItems", value->length, out));
    for (size_t i = 0; *out && i < value->length; i++) {
        const struct json *item = item_schema(schema, i);
        TRY(item != NULL ? value_satisfies(self, item, value->items[i], out) : STATUS_OK);
    }
    return STATUS_OK;
}

static status holds_required(struct schema_compiler *self, const struct json *schema,
                             const struct json *value, bool *out)
{
    const struct json *required;
    TRY(schema_required(self, schema, &required));
    for (size_t i = 0; *out && required != NULL && i < required->length; i++) {
        bool there = false;
        TRY(grammar_work(self->expressions, 1 + value->length / 4));
        for (size_t j = 0; !there && j < value->length; j++) {
            const struct json_member *member = &value->members[j];
            there = member->key_length == required->items[i]->length &&
                    memcmp(member->key, required->items[i]->text, member->key_length) == 0;
        }
        *out = there;
    }
    return STATUS_OK;
}

/* The schemas of a member are those that an object of this one schema gives its name. */
static status holds_members(struct schema_compiler *self, const struct json *schema,
                            const struct json *value, bool *out)
{
    struct element own = {.schema = schema, .parent = -1};
    const struct conjunction set = {.elements = &own, .count = 1};
    *out = true;
    TRY(holds_length(self, schema, "minProperties", "maxProperties", value->length, out));
    TRY(holds_required(self, schema, value, out));
    for (size_t i = 0; *out && i < value->length; i++) {
        const struct json_member *member = &value->members[i];
        struct conjunction allowed;
        TRY(member_conjunction(self, &set, member->key, member->key_length, &allowed));
        TRY(conjunction_accepts(self, &allowed, member->value, out));
    }
    return STATUS_OK;
}

static status holds_structure(struct schema_compiler *self, const struct json *schema,
                              const struct json *value, bool *out)
{
    *out = true;
    switch (value->type) {
    case JSON_NUMBER:
        return holds_number(self, schema, value, out);
    case JSON_STRING:
        return holds_text(self, schema, value, out);
    case JSON_ARRAY:
        return holds_items(self, schema, value, out);
    case JSON_OBJECT:
        return holds_members(self, schema, value, out);
    case JSON_NULL:
    case JSON_BOOLEAN:
    case JSON_NOT_FINITE:
        break;
    }
    return STATUS_OK;
}

/* How many schemas of a list hold; SIZE_MAX where there is no list. */
static status count_holding(struct schema_compiler *self, const struct json *schema,
                            const char *keyword, const struct json *value, size_t *out)
{
    const struct json *list;
    TRY(schema_list(self, schema, keyword, &list));
    *out = list == NULL ? SIZE_MAX : 0;
    for (size_t i = 0; list != NULL && i < list->length; i++) {
        bool holds;
        TRY(value_satisfies(self, list->items[i], value, &holds));
        *out += holds;
    }
    return STATUS_OK;
}

static status holds_applicators(struct schema_compiler *self, const struct json *schema,
                                const struct json *value, bool *out)
{
    const struct json *target;
    size_t all, any, one;
    TRY(schema_reference(self, schema, &target));
    *out = true;
    if (target != NULL) {
        TRY(value_satisfies(self, target, value, out));
    }
    TRY(count_holding(self, schema, "allOf", value, &all));
    TRY(count_holding(self, schema, "anyOf", value, &any));
    TRY(count_holding(self, schema, "oneOf", value, &one));
    const struct json *list = json_get(schema, "allOf");
    *out =
        *out && (list == NULL || all == list->length) && any > 0 && (one == SIZE_MAX || one == 1);
    return STATUS_OK;
}

static status all_hold(struct schema_compiler *self, const struct json *schema,
                       const struct json *value, bool *out)
{
    static status (*const parts[])(struct schema_compiler *, const struct json *,
                                   const struct json *, bool *) = {
        holds_type, holds_values, holds_structure, holds_applicators};
    TRY(schema_check_keywords(self, schema));
    *out = true;
    for (size_t i = 0; *out && i < COUNT_OF(parts); i++) {
        TRY(parts[i](self, schema, value, out));
    }
    return STATUS_OK;
}

enum { MAX_CHECKS = 2000000, MAX_CHECK_NESTING = 400 };

status value_satisfies(struct schema_compiler *self, const struct json *schema,
                       const struct json *value, bool *out)
{
    if (schema->type == JSON_BOOLEAN) {
        *out = schema->boolean;
        return STATUS_OK;
    }
    if (schema->type != JSON_OBJECT) {
        return schema_fail(self->document, schema, NULL, STATUS_INVALID,
                           "expected a schema, not %s", json_kind(schema));
    }
    if (++self->checks > MAX_CHECKS || self->check_nesting >= MAX_CHECK_NESTING) {
        return schema_fail(self->document, schema, NULL, STATUS_LIMIT,
                           "too much work for the values of enum and const");
    }
    TRY(grammar_work(self->expressions, 1 + schema->length));
    self->check_nesting++;
    status s = all_hold(self, schema, value, out);
    self->check_nesting--;
    return s;
}

/* ---- Writing ---- */

/* An integer that the schema writes with a fraction or an exponent may be written without, too. */
static status number_node(struct schema_compiler *self, const struct json *value, grammar_node *out)
{
    struct decimal number;
    grammar_node ways[2], parts[2];
    TRY(decimal_read(value, self->arena, &number));
    TRY(grammar_literal(self->expressions, value->text, value->length, &ways[0]));
    if (!decimal_is_integer(&number)) {
        *out = ways[0];
        return STATUS_OK;
    }
    TRY(grammar_literal(self->expressions, "-", number.negative, &parts[0]));
    TRY(grammar_literal(self->expressions, number.whole, number.whole_count, &parts[1]));
    TRY(grammar_sequence(self->expressions, parts, 2, &ways[1]));
    return grammar_choice(self->expressions, ways, 2, out);
}

static status plain_node(struct schema_compiler *self, const struct json *value, grammar_node *out)
{
    struct buffer text = {0};
    status s = json_write(value, &text);
    if (s == STATUS_OK) {
        s = grammar_literal(self->expressions, text.data, text.length, out);
    }
    buffer_destroy(&text);
    return s;
}

static status key_node(struct schema_compiler *self, const struct json_member *member,
                       grammar_node *out)
{
    const struct json key = {
        .type = JSON_STRING, .text = member->key, .length = member->key_length};
    return plain_node(self, &key, out);
}

/* An item, or a member with its name. */
static status part_node(struct schema_compiler *self, const struct json *value, size_t i,
                        grammar_node *out)
{
    grammar_node parts[3];
    if (value->type == JSON_ARRAY) {
        return value_node(self, value->items[i], out);
    }
    TRY(key_node(self, &value->members[i], &parts[0]));
    TRY(spaced_node(self, ":", &parts[1]));
    TRY(value_node(self, value->members[i].value, &parts[2]));
    return grammar_sequence(self->expressions, parts, 3, out);
}

static status structure_node(struct schema_compiler *self, const struct json *value,
                             const char *open, const char *close, grammar_node *out)
{
    grammar_node body, comma;
    if (value->length == 0) {
        return enclosed_node(self, open, close, NULL, true, out);
    }
    TRY(spaced_node(self, ",", &comma));
    TRY(part_node(self, value, 0, &body));
    for (size_t i = 1; i < value->length; i++) {
        grammar_node parts[3] = {body, comma, 0};
        TRY(part_node(self, value, i, &parts[2]));
        TRY(grammar_sequence(self->expressions, parts, 3, &body));
    }
    return enclosed_node(self, open, close, &body, false, out);
}

status value_node(struct schema_compiler *self, const struct json *value, grammar_node *out)
{
    return value->type == JSON_NUMBER   ? number_node(self, value, out)
           : value->type == JSON_ARRAY  ? structure_node(self, value, "[", "]", out)
           : value->type == JSON_OBJECT ? structure_node(self, value, "{", "}", out)
                                        : plain_node(self, value, out);
}
