/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a rendering: making them, and what Python says they are. */
#include <stdio.h>
#include <stdlib.h>

#include "text/template/internal.h"

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

/* ---- Undefined ---- */

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

/* ---- From JSON ---- */

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
    case JSON_NOT_FINITE: /* a float of Python's */
        *out = value_float(strtod(json->text, NULL));
        return STATUS_OK;
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

/* ---- What values are ---- */

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

static const struct string empty_text = {.text = ""};

bool template_is_no_content(const struct value *value)
{
    return (value->type == VALUE_NONE && value->boolean) ||
           (value->type == VALUE_UNDEFINED && value->undefined->is_content);
}

struct value template_or_empty(const struct value *value)
{
    return template_is_no_content(value) ? value_string(&empty_text) : *value;
}

const struct string *template_text_of(const struct value *value)
{
    switch (value->type) {
    case VALUE_STRING:
        return value->string;
    case VALUE_LIST:
        return value->list->written;
    case VALUE_DICT:
        return value->dict->written;
    default:
        return template_is_no_content(value) ? &empty_text : NULL;
    }
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
    case VALUE_NONE:
        if (value->boolean) {
            *out = 0;
            return STATUS_OK;
        }
        return template_fail("object of type 'NoneType' has no len()");
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
