/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays: items with schemas of their own at the front, any number of others behind them. */
#include <string.h>

#include "grammar/schema/compiler.h"

static bool is_list(const struct json *value)
{
    return value != NULL && value->type == JSON_ARRAY;
}

/* prefixItems, or `items` where that is a list. */
static const struct json *prefix_list(const struct json *schema)
{
    const struct json *prefix = json_get(schema, "prefixItems");
    const struct json *items = json_get(schema, "items");
    return prefix != NULL ? prefix : is_list(items) ? items : NULL;
}

size_t item_prefix(const struct json *schema)
{
    const struct json *prefix = prefix_list(schema);
    return is_list(prefix) ? prefix->length : 0;
}

const struct json *item_schema(const struct json *schema, size_t i)
{
    const struct json *prefix = prefix_list(schema);
    if (is_list(prefix) && i < prefix->length) {
        return prefix->items[i];
    }
    const struct json *items = json_get(schema, "items");
    return is_list(items) ? json_get(schema, "additionalItems") : items;
}

static status item_conjunction(struct schema_compiler *self, const struct conjunction *set,
                               size_t i, struct conjunction *out)
{
    *out = (struct conjunction){0};
    for (int j = 0; j < set->count; j++) {
        const struct json *holder = set->elements[j].schema;
        const struct json *schema = item_schema(holder, i);
        if (schema != NULL) {
            TRY(conjunction_add(self, out, schema, holder, -1));
        }
    }
    return STATUS_OK;
}

static status longest_prefix(struct schema_compiler *self, const struct conjunction *set,
                             size_t *out)
{
    *out = 0;
    for (int i = 0; i < set->count; i++) {
        const struct json *schema = set->elements[i].schema;
        const struct json *list = json_get(schema, "prefixItems");
        if (list != NULL && list->type != JSON_ARRAY) {
            return schema_fail(self->document, schema, "prefixItems", STATUS_INVALID,
                               "expected a list of schemas");
        }
        const size_t prefix = item_prefix(schema);
        *out = prefix > *out ? prefix : *out;
    }
    return STATUS_OK;
}

static status item_node(struct schema_compiler *self, const struct conjunction *set, size_t i,
                        grammar_node *out)
{
    struct conjunction item;
    TRY(item_conjunction(self, set, i, &item));
    return conjunction_compile(self, &item, out);
}

/* A separator, and an item behind it. */
static status next_item(struct schema_compiler *self, const struct conjunction *set, size_t i,
                        grammar_node *out)
{
    grammar_node parts[2];
    TRY(spaced_node(self, ",", &parts[0]));
    TRY(item_node(self, set, i, &parts[1]));
    return grammar_sequence(self->expressions, parts, 2, out);
}

/* What follows the first item: each item with its own schema only after those before it. */
static status items_behind(struct schema_compiler *self, const struct conjunction *set,
                           size_t prefix, const struct length_range *length, grammar_node *out)
{
    const uint32_t front = prefix > 1 ? (uint32_t)prefix : 1;
    const bool is_bounded = length->most != GRAMMAR_UNBOUNDED;
    const uint32_t most = !is_bounded            ? GRAMMAR_UNBOUNDED
                          : length->most > front ? length->most - front
                                                 : 0;
    TRY(next_item(self, set, front, out));
    TRY(grammar_repeat(self->expressions, *out, length->least > front ? length->least - front : 0,
                       most, out));
    for (size_t i = front; i-- > 1;) {
        grammar_node parts[2] = {0, *out};
        if (is_bounded && i >= length->most) {
            TRY(grammar_literal(self->expressions, "", 0, out));
            continue;
        }
        TRY(next_item(self, set, i, &parts[0]));
        TRY(grammar_sequence(self->expressions, parts, 2, out));
        TRY(grammar_repeat(self->expressions, *out, i < length->least ? 1 : 0, 1, out));
    }
    return STATUS_OK;
}

status array_node(struct schema_compiler *self, const struct conjunction *set,
                  const struct length_range *length, grammar_node *out)
{
    grammar_node parts[2], body;
    size_t prefix;
    if (length->least > length->most) {
        return grammar_choice(self->expressions, NULL, 0, out);
    }
    if (length->most == 0) {
        return enclosed_node(self, "[", "]", NULL, true, out);
    }
    TRY(longest_prefix(self, set, &prefix));
    TRY(item_node(self, set, 0, &parts[0]));
    TRY(items_behind(self, set, prefix, length, &parts[1]));
    TRY(grammar_sequence(self->expressions, parts, 2, &body));
    return enclosed_node(self, "[", "]", &body, length->least == 0, out);
}

status array_is_empty(struct schema_compiler *self, const struct conjunction *set,
                      const struct length_range *length, bool *out)
{
    size_t prefix;
    *out = length->least > length->most;
    TRY(longest_prefix(self, set, &prefix));
    for (size_t i = 0; !*out && i < length->least && i <= prefix; i++) {
        struct conjunction item;
        TRY(item_conjunction(self, set, i, &item));
        TRY(conjunction_is_empty(self, &item, out));
    }
    return STATUS_OK;
}
