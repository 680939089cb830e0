/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a rendering: making them, comparing them, and what Python says they are. */
#include <stdio.h>
#include <stdlib.h>

#include "text/template_internal.h"

enum { GROWTH_LEAST_BYTES = 256 };

size_t template_count_characters(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return count;
}

status template_string_view(struct render *r, const char *text, size_t length, struct value *out)
{
    struct string *string;
    TRY(template_allocate(r, 1, sizeof *string, &string));
    *string = (struct string){
        .text = text, .length = length, .characters = template_count_characters(text, length)};
    *out = value_string(string);
    return STATUS_OK;
}

status template_string_copy(struct render *r, const char *text, size_t length, struct value *out)
{
    char *copy;
    TRY(template_charge(r, length / 64));
    TRY(template_allocate(r, length + 1, 1, &copy));
    if (length > 0) {
        memcpy(copy, text, length);
    }
    return template_string_view(r, copy, length, out);
}

/* Appends in place where `a` is the latest text of a growing buffer, so that a template which
 * builds its prompt with x = x + y takes linear memory. */
status template_concatenate(struct render *r, const struct string *a, const struct string *b,
                            struct value *out)
{
    size_t length = a->length + b->length;
    if (length > TEMPLATE_MAX_OUTPUT_BYTES) {
        return status_fail(STATUS_LIMIT, "a text of more than %d bytes",
                           (int)TEMPLATE_MAX_OUTPUT_BYTES);
    }
    TRY(template_charge(r, b->length / 64));
    struct string *string;
    struct growth *growth = a->growth;
    char *text = (char *)(uintptr_t)a->text;
    if (growth == NULL || growth->used != a->length ||
        growth->capacity - growth->used < b->length) {
        size_t capacity = length < GROWTH_LEAST_BYTES ? length : 2 * length;
        TRY(template_charge(r, a->length / 64));
        TRY(template_allocate(r, 1, sizeof *growth, &growth));
        TRY(template_allocate(r, capacity, 1, &text));
        memcpy(text, a->text, a->length);
        growth->capacity = capacity;
    }
    memcpy(text + a->length, b->text, b->length);
    growth->used = length;
    TRY(template_allocate(r, 1, sizeof *string, &string));
    *string = (struct string){.text = text,
                              .length = length,
                              .characters = a->characters + b->characters,
                              .growth = growth};
    *out = value_string(string);
    return STATUS_OK;
}

status template_list(struct render *r, enum value_type type, struct value *items, size_t count,
                     struct value *out)
{
    struct list *list;
    TRY(template_allocate(r, 1, sizeof *list, &list));
    list->items = items;
    list->count = count;
    *out = (struct value){.type = type, .list = list};
    return STATUS_OK;
}

status template_pair(struct render *r, struct value first, struct value second, struct value *out)
{
    struct value *items;
    TRY(template_allocate(r, 2, sizeof *items, &items));
    items[0] = first;
    items[1] = second;
    return template_list(r, VALUE_TUPLE, items, 2, out);
}

status template_dict(struct render *r, size_t capacity, struct value *out)
{
    struct dict *dict;
    TRY(template_allocate(r, 1, sizeof *dict, &dict));
    TRY(template_allocate(r, capacity, sizeof(struct value), &dict->keys));
    TRY(template_allocate(r, capacity, sizeof(struct value), &dict->values));
    dict->capacity = capacity;
    *out = (struct value){.type = VALUE_DICT, .dict = dict};
    return STATUS_OK;
}

static bool is_hashable(const struct value *key)
{
    if (key->type == VALUE_TUPLE) {
        for (size_t i = 0; i < key->list->count; i++) {
            if (!is_hashable(&key->list->items[i])) {
                return false;
            }
        }
    }
    return key->type != VALUE_LIST && key->type != VALUE_DICT;
}

status template_dict_get(struct render *r, const struct dict *dict, const struct value *key,
                         const struct value **out)
{
    *out = NULL;
    if (!is_hashable(key)) {
        return template_fail("unhashable type: '%s'", template_type_name(key));
    }
    TRY(template_charge(r, 1 + dict->count / 16));
    TRY(template_charge(r, key->type == VALUE_STRING ? key->string->length / 64 : 0));
    for (size_t i = 0; i < dict->count; i++) {
        const struct value *known = &dict->keys[i];
        bool equal;
        if (key->type == VALUE_STRING && known->type == VALUE_STRING) {
            equal = key->string->length == known->string->length &&
                    memcmp(key->string->text, known->string->text, key->string->length) == 0;
        } else {
            TRY(template_equal(r, key, known, &equal));
        }
        if (equal) {
            *out = &dict->values[i];
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

status template_dict_put(struct render *r, struct dict *dict, const struct value *key,
                         const struct value *value)
{
    const struct value *known;
    TRY(template_dict_get(r, dict, key, &known));
    if (known != NULL) {
        dict->values[known - dict->values] = *value;
        return STATUS_OK;
    }
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity < 4 ? 8 : 2 * dict->capacity;
        struct value *keys, *values;
        TRY(template_allocate(r, capacity, sizeof *keys, &keys));
        TRY(template_allocate(r, capacity, sizeof *values, &values));
        if (dict->count > 0) {
            memcpy(keys, dict->keys, dict->count * sizeof *keys);
            memcpy(values, dict->values, dict->count * sizeof *values);
        }
        dict->keys = keys;
        dict->values = values;
        dict->capacity = capacity;
    }
    dict->keys[dict->count] = *key;
    dict->values[dict->count++] = *value;
    return STATUS_OK;
}

/* ---- Undefined ---------------------------------------------------------------------------------
 */

status template_undefined(struct render *r, const char *hint, const struct value *object,
                          const struct value *name, struct value *out)
{
    struct undefined *undefined;
    TRY(template_allocate(r, 1, sizeof *undefined, &undefined));
    undefined->hint = hint;
    if (object != NULL) {
        undefined->object = object->type == VALUE_NONE ? "None" : template_type_name(object);
    }
    undefined->name = name == NULL ? value_none() : *name;
    *out = (struct value){.type = VALUE_UNDEFINED, .undefined = undefined};
    return STATUS_OK;
}

status template_undefined_format(struct render *r, struct value *out, const char *format, ...)
{
    char text[256];
    struct value hint;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    TRY(template_string_copy(r, text, strlen(text), &hint));
    return template_undefined(r, hint.string->text, NULL, NULL, out);
}

status template_fail_undefined(struct render *r, const struct value *value)
{
    const struct undefined *undefined = value->undefined;
    if (undefined->hint != NULL) {
        return template_fail("%s", undefined->hint);
    }
    size_t mark = r->out.length;
    struct value name;
    TRY(template_write_repr(r, &undefined->name));
    TRY(template_take(r, mark, &name));
    if (undefined->object == NULL) {
        return template_fail("%s is undefined", name.string->text);
    }
    bool is_none = strcmp(undefined->object, "None") == 0;
    if (undefined->name.type != VALUE_STRING) {
        return template_fail("%s%s has no element %s", undefined->object, is_none ? "" : " object",
                             name.string->text);
    }
    return template_fail("'%s%s' has no attribute %s", undefined->object, is_none ? "" : " object",
                         name.string->text);
}

/* ---- From JSON ---------------------------------------------------------------------------------
 */

static status from_json_number(struct render *r, const struct json *json, struct value *out)
{
    if (memchr(json->text, '.', json->length) != NULL ||
        memchr(json->text, 'e', json->length) != NULL ||
        memchr(json->text, 'E', json->length) != NULL) {
        double real;
        *out = json_double(json, &real)
                   ? value_float(real)
                   : value_float(json->text[0] == '-' ? -__builtin_inf() : __builtin_inf());
        return STATUS_OK;
    }
    int64_t integer;
    if (json_int64(json, &integer)) {
        *out = value_integer(integer);
        return STATUS_OK;
    }
    TRY(template_string_view(r, json->text, json->length, out));
    out->type = VALUE_BIG_INTEGER;
    return STATUS_OK;
}

/* The JSON outlives the rendering: strings point into it. Its depth is bounded by its parser. */
status template_from_json(struct render *r, const struct json *json, struct value *out)
{
    struct value *items;
    switch (json->type) {
    case JSON_NULL:
        *out = value_none();
        return STATUS_OK;
    case JSON_BOOLEAN:
        *out = value_boolean(json->boolean);
        return STATUS_OK;
    case JSON_NUMBER:
        return from_json_number(r, json, out);
    case JSON_STRING:
        return template_string_view(r, json->text, json->length, out);
    case JSON_ARRAY:
        TRY(template_allocate(r, json->length, sizeof *items, &items));
        for (size_t i = 0; i < json->length; i++) {
            TRY(template_from_json(r, json->items[i], &items[i]));
        }
        return template_list(r, VALUE_LIST, items, json->length, out);
    case JSON_OBJECT:
        TRY(template_dict(r, json->length, out));
        for (size_t i = 0; i < json->length; i++) {
            const struct json_member *member = &json->members[i];
            TRY(template_string_view(r, member->key, member->key_length, &out->dict->keys[i]));
            TRY(template_from_json(r, member->value, &out->dict->values[i]));
        }
        out->dict->count = json->length;
        return STATUS_OK;
    }
    return status_fail(STATUS_INTERNAL, "a JSON value of unknown type");
}

/* ---- What values are ---------------------------------------------------------------------------
 */

const char *template_type_name(const struct value *value)
{
    static const char *const names[] = {
        [VALUE_ABSENT] = "missing",
        [VALUE_UNDEFINED] = "Undefined",
        [VALUE_NONE] = "NoneType",
        [VALUE_BOOLEAN] = "bool",
        [VALUE_INTEGER] = "int",
        [VALUE_BIG_INTEGER] = "int",
        [VALUE_FLOAT] = "float",
        [VALUE_STRING] = "str",
        [VALUE_LIST] = "list",
        [VALUE_TUPLE] = "tuple",
        [VALUE_DICT] = "dict",
        [VALUE_RANGE] = "range",
        [VALUE_NAMESPACE] = "jinja2.utils.Namespace",
        [VALUE_MACRO] = "jinja2.runtime.Macro",
        [VALUE_LOOP] = "jinja2.runtime.LoopContext",
        [VALUE_FUNCTION] = "function",
        [VALUE_METHOD] = "builtin_function_or_method",
        [VALUE_CYCLER] = "jinja2.utils.Cycler",
        [VALUE_JOINER] = "jinja2.utils.Joiner",
    };
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    return value->type == VALUE_VIEW        ? views[value->view->kind]
           : value->type == VALUE_GENERATOR ? value->generator->written
                                            : names[value->type];
}

bool template_is_integral(const struct value *value, int64_t *out)
{
    if (value->type == VALUE_INTEGER) {
        *out = value->integer;
    } else if (value->type == VALUE_BOOLEAN) {
        *out = value->boolean;
    }
    return value->type == VALUE_INTEGER || value->type == VALUE_BOOLEAN;
}

bool template_is_number(const struct value *value, double *out)
{
    int64_t integer;
    if (template_is_integral(value, &integer)) {
        *out = (double)integer;
        return true;
    }
    if (value->type == VALUE_FLOAT) {
        *out = value->real;
    }
    return value->type == VALUE_FLOAT;
}

bool template_is_text(const struct value *value, const char *text)
{
    return value->type == VALUE_STRING && value->string->length == strlen(text) &&
           memcmp(value->string->text, text, value->string->length) == 0;
}

bool template_is_sized(const struct value *value)
{
    switch (value->type) {
    case VALUE_UNDEFINED:
    case VALUE_STRING:
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_DICT:
    case VALUE_VIEW:
    case VALUE_RANGE:
        return true;
    default:
        return false;
    }
}

bool template_is_iterable(const struct value *value)
{
    return template_is_sized(value) || value->type == VALUE_GENERATOR || value->type == VALUE_LOOP;
}

bool template_is_callable(const struct value *value)
{
    switch (value->type) {
    case VALUE_UNDEFINED:
    case VALUE_MACRO:
    case VALUE_LOOP:
    case VALUE_FUNCTION:
    case VALUE_METHOD:
    case VALUE_JOINER:
        return true;
    default:
        return false;
    }
}

status template_length(struct render *r, const struct value *value, size_t *out)
{
    (void)r;
    switch (value->type) {
    case VALUE_UNDEFINED:
        *out = 0;
        return STATUS_OK;
    case VALUE_STRING:
        *out = value->string->characters;
        return STATUS_OK;
    case VALUE_LIST:
    case VALUE_TUPLE:
        *out = value->list->count;
        return STATUS_OK;
    case VALUE_DICT:
        *out = value->dict->count;
        return STATUS_OK;
    case VALUE_VIEW:
        *out = value->view->dict->count;
        return STATUS_OK;
    case VALUE_RANGE:
        *out = value->range->count;
        return STATUS_OK;
    default:
        return template_fail("object of type '%s' has no len()", template_type_name(value));
    }
}

status template_truth(struct render *r, const struct value *value, bool *out)
{
    size_t length;
    switch (value->type) {
    case VALUE_ABSENT:
    case VALUE_NONE:
        *out = false;
        return STATUS_OK;
    case VALUE_BOOLEAN:
        *out = value->boolean;
        return STATUS_OK;
    case VALUE_INTEGER:
        *out = value->integer != 0;
        return STATUS_OK;
    case VALUE_FLOAT:
        *out = value->real != 0;
        return STATUS_OK;
    default:
        if (!template_is_sized(value)) {
            *out = true;
            return STATUS_OK;
        }
        TRY(template_length(r, value, &length));
        *out = length > 0;
        return STATUS_OK;
    }
}

/* ---- Comparison --------------------------------------------------------------------------------
 */

static bool same_type(const struct value *a, const struct value *b)
{
    return a->type == b->type;
}

static status equal_lists(struct render *r, const struct list *a, const struct list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        TRY(template_equal(r, &a->items[i], &b->items[i], out));
    }
    return STATUS_OK;
}

static status equal_dicts(struct render *r, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const struct value *other;
        TRY(template_dict_get(r, b, &a->keys[i], &other));
        *out = other != NULL;
        if (*out) {
            TRY(template_equal(r, &a->values[i], other, out));
        }
    }
    return STATUS_OK;
}

static bool equal_ranges(const struct range *a, const struct range *b)
{
    return a->count == b->count && (a->count == 0 || a->start == b->start) &&
           (a->count < 2 || a->step == b->step);
}

/* Numbers of different types compare by value. A long double holds every 64-bit integer exactly; of
 * longer ones it keeps enough for a comparison with those. */
static bool as_exact(const struct value *value, long double *out)
{
    int64_t integer;
    if (template_is_integral(value, &integer)) {
        *out = integer;
        return true;
    }
    if (value->type == VALUE_BIG_INTEGER) {
        *out = strtold(value->string->text, NULL); /* JSON's text, which ends with a NUL */
        return true;
    }
    *out = value->type == VALUE_FLOAT ? (long double)value->real : 0;
    return value->type == VALUE_FLOAT;
}

status template_equal(struct render *r, const struct value *a, const struct value *b, bool *out)
{
    long double x, y;
    TRY(template_charge(r, 1));
    bool both_big = a->type == VALUE_BIG_INTEGER && b->type == VALUE_BIG_INTEGER;
    if (!both_big && as_exact(a, &x) && as_exact(b, &y)) {
        *out = x == y;
        return STATUS_OK;
    }
    *out = false;
    if (!same_type(a, b)) {
        return STATUS_OK;
    }
    TRY(template_enter(r));
    status s = STATUS_OK;
    switch (a->type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        *out = true;
        break;
    case VALUE_STRING:
    case VALUE_BIG_INTEGER:
        s = template_charge(r, a->string->length / 256);
        *out = a->string->length == b->string->length &&
               memcmp(a->string->text, b->string->text, a->string->length) == 0;
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
        s = equal_lists(r, a->list, b->list, out);
        break;
    case VALUE_DICT:
        s = equal_dicts(r, a->dict, b->dict, out);
        break;
    case VALUE_RANGE:
        *out = equal_ranges(a->range, b->range);
        break;
    default:
        *out = a->list == b->list; /* the same object */
        break;
    }
    r->depth--;
    return s;
}

static bool ordered(enum token_type operation, int sign)
{
    switch (operation) {
    case TOKEN_LESS:
        return sign < 0;
    case TOKEN_LESS_EQUAL:
        return sign <= 0;
    case TOKEN_GREATER:
        return sign > 0;
    default:
        return sign >= 0;
    }
}

static status order_lists(struct render *r, enum token_type operation, const struct list *a,
                          const struct list *b, bool *out)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool equal;
        TRY(template_equal(r, &a->items[i], &b->items[i], &equal));
        if (!equal) {
            return template_order(r, operation, &a->items[i], &b->items[i], out);
        }
    }
    *out = ordered(operation, a->count < b->count ? -1 : a->count > b->count);
    return STATUS_OK;
}

status template_order(struct render *r, enum token_type operation, const struct value *a,
                      const struct value *b, bool *out)
{
    long double x, y;
    TRY(template_charge(r, 1));
    if (a->type == VALUE_UNDEFINED || b->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, a->type == VALUE_UNDEFINED ? a : b);
    }
    if (as_exact(a, &x) && as_exact(b, &y)) {
        *out = x != x || y != y ? false : ordered(operation, x < y ? -1 : x > y);
        return STATUS_OK;
    }
    if (a->type == VALUE_STRING && b->type == VALUE_STRING) {
        size_t shared =
            a->string->length < b->string->length ? a->string->length : b->string->length;
        TRY(template_charge(r, shared / 256));
        int sign = memcmp(a->string->text, b->string->text, shared);
        if (sign == 0) {
            sign =
                a->string->length < b->string->length ? -1 : a->string->length > b->string->length;
        }
        *out = ordered(operation, sign);
        return STATUS_OK;
    }
    if (same_type(a, b) && (a->type == VALUE_LIST || a->type == VALUE_TUPLE)) {
        TRY(template_enter(r));
        TRY(order_lists(r, operation, a->list, b->list, out));
        r->depth--;
        return STATUS_OK;
    }
    return template_fail("'%s' not supported between instances of '%s' and '%s'",
                         template_token_describe(operation), template_type_name(a),
                         template_type_name(b));
}

static status contains_range(struct render *r, const struct range *range, const struct value *item,
                             bool *out)
{
    (void)r;
    long double x;
    *out = false;
    if (range->count > 0 && as_exact(item, &x)) {
        long double steps = (x - range->start) / range->step;
        *out =
            steps >= 0 && steps < (long double)range->count && steps == (long double)(int64_t)steps;
    }
    return STATUS_OK;
}

status template_contains(struct render *r, const struct value *container, const struct value *item,
                         bool *out)
{
    const struct value *found;
    switch (container->type) {
    case VALUE_STRING:
        if (item->type == VALUE_UNDEFINED) {
            return template_fail("'in <string>' requires string as left operand, not Undefined");
        }
        if (item->type != VALUE_STRING) {
            return template_fail("'in <string>' requires string as left operand, not %s",
                                 template_type_name(item));
        }
        TRY(template_charge(r, container->string->length / 64));
        *out =
            item->string->length == 0 || memmem(container->string->text, container->string->length,
                                                item->string->text, item->string->length) != NULL;
        return STATUS_OK;
    case VALUE_DICT:
        TRY(template_dict_get(r, container->dict, item, &found));
        *out = found != NULL;
        return STATUS_OK;
    case VALUE_RANGE:
        return contains_range(r, container->range, item, out);
    case VALUE_VIEW:
        if (container->view->kind == VIEW_KEYS) {
            TRY(template_dict_get(r, container->view->dict, item, &found));
            *out = found != NULL;
            return STATUS_OK;
        }
        break;
    default:
        break;
    }
    if (!template_is_iterable(container)) {
        return template_fail("argument of type '%s' is not iterable",
                             container->type == VALUE_NAMESPACE ? "Namespace"
                                                                : template_type_name(container));
    }
    struct iterator iterator;
    struct value candidate;
    bool more;
    *out = false;
    TRY(template_iterator_start(r, container, &iterator));
    for (;;) {
        TRY(template_iterator_next(r, &iterator, &candidate, &more));
        if (!more || *out) {
            return STATUS_OK;
        }
        TRY(template_equal(r, item, &candidate, out));
        if (*out) {
            return STATUS_OK;
        }
    }
}
