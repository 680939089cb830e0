/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, items and calls: how a template reaches what values can do. */
#include "text/template/tree.h"

/* ---- Built-in functions ---- */

const struct native *template_native_find(const struct native_table *table,
                                          const struct string *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strlen(table->rows[i].name) == name->length &&
            memcmp(table->rows[i].name, name->text, name->length) == 0) {
            return &table->rows[i];
        }
    }
    return NULL;
}

const struct native *template_filter_find(const struct string *name)
{
    const struct native *native = template_native_find(&template_filters, name);
    return native != NULL ? native : template_native_find(&template_sequence_filters, name);
}

static status bind_keyword(const char *what, const struct native *native,
                           const struct keyword *keyword, struct value *bound)
{
    for (size_t i = 0; i < TEMPLATE_MAX_PARAMETERS && native->parameters[i] != NULL; i++) {
        if (template_is_text(&keyword->name, native->parameters[i])) {
            if (value_is_given(&bound[i])) {
                return template_fail("%s '%s' got multiple values for argument '%s'", what,
                                     native->name, native->parameters[i]);
            }
            bound[i] = keyword->value;
            return STATUS_OK;
        }
    }
    return template_fail("%s '%s' got an unexpected keyword argument '%.*s'", what, native->name,
                         STRING_ARGUMENTS(keyword->name.string));
}

status template_native_call(struct render *r, const char *what, const struct native *native,
                            const struct call *call, struct value *out)
{
    if (native->variadic) {
        return native->call(r, call, out);
    }
    struct value bound[TEMPLATE_MAX_PARAMETERS] = {0};
    size_t count = 0;
    while (count < TEMPLATE_MAX_PARAMETERS && native->parameters[count] != NULL) {
        count++;
    }
    if (call->count > count) {
        return template_fail("%s '%s' takes at most %zu arguments (%zu given)", what, native->name,
                             count, call->count);
    }
    for (size_t i = 0; i < call->count; i++) {
        bound[i] = call->arguments[i];
    }
    for (size_t i = 0; i < call->keyword_count; i++) {
        TRY(bind_keyword(what, native, &call->keywords[i], bound));
    }
    for (size_t i = 0; i < native->required; i++) {
        if (!value_is_given(&bound[i])) {
            return template_fail("%s '%s' misses its argument '%s'", what, native->name,
                                 native->parameters[i]);
        }
    }
    struct call complete = {.self = call->self, .arguments = bound, .count = count};
    return native->call(r, &complete, out);
}

status template_argument_integer(const struct value *value, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (value_is_some(value) && !template_is_integral(value, out)) {
        return template_fail("'%s' object cannot be interpreted as an integer",
                             template_type_name(value));
    }
    return STATUS_OK;
}

status template_argument_string(const char *method, const struct value *value,
                                const struct string **out)
{
    *out = template_text_of(value);
    return *out != NULL
               ? STATUS_OK
               : template_fail("%s: a str is required, not %s", method, template_type_name(value));
}

status template_filter_apply(struct render *r, const struct value *name, const struct call *call,
                             struct value *out)
{
    const struct native *native =
        name->type == VALUE_STRING ? template_filter_find(name->string) : NULL;
    if (native == NULL) {
        struct value text;
        TRY(template_to_string(r, name, &text));
        return template_fail("No filter named '%.*s'.", STRING_ARGUMENTS(text.string));
    }
    TRY(template_enter(r));
    TRY(template_native_call(r, "filter", native, call, out));
    r->depth--;
    return STATUS_OK;
}

status template_test_apply(struct render *r, const struct value *name, const struct call *call,
                           bool *out)
{
    const struct native *native =
        name->type == VALUE_STRING ? template_native_find(&template_tests, name->string) : NULL;
    if (native == NULL) {
        struct value text;
        TRY(template_to_string(r, name, &text));
        return template_fail("No test named '%.*s'.", STRING_ARGUMENTS(text.string));
    }
    struct value result;
    TRY(template_native_call(r, "test", native, call, &result));
    return template_truth(r, &result, out);
}

status template_call_value(struct render *r, const struct value *callee, const struct call *call,
                           struct value *out)
{
    struct call with_self;
    switch (callee->type) {
    case VALUE_UNDEFINED:
        return template_fail_undefined(r, callee);
    case VALUE_MACRO:
        return template_call_macro(r, callee->macro, call, out);
    case VALUE_LOOP:
        if (call->count != 1 || call->keyword_count > 0) {
            return template_fail("loop() takes exactly one argument (%zu given)", call->count);
        }
        return template_call_loop(r, callee->loop, &call->arguments[0], out);
    case VALUE_FUNCTION:
        return template_native_call(r, "function", callee->function, call, out);
    case VALUE_METHOD:
        with_self = *call;
        with_self.self = callee->method->self;
        return template_native_call(r, "method", callee->method->native, &with_self, out);
    case VALUE_JOINER:
        if (!callee->joiner->used) {
            callee->joiner->used = true;
            return template_string_view(r, "", 0, out);
        }
        *out = callee->joiner->separator;
        return STATUS_OK;
    default:
        return template_fail("'%s' object is not callable", template_type_name(callee));
    }
}

/* ---- Attributes ---- */

/* Methods that would change a list or dict: the sandbox hides them. */
static const char *const list_changers[] = {"append", "clear",  "pop",    "reverse", "insert",
                                            "sort",   "extend", "remove", NULL};
static const char *const dict_changers[] = {"clear",      "pop",    "popitem",
                                            "setdefault", "update", NULL};

static bool is_among(const char *const *names, const struct string *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strlen(*names) == name->length && memcmp(*names, name->text, name->length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_dunder(const struct string *name)
{
    return name->length > 4 && memcmp(name->text, "__", 2) == 0 &&
           memcmp(name->text + name->length - 2, "__", 2) == 0;
}

static status find_method(struct render *r, const struct value *object,
                          const struct native_table *methods, const struct string *name,
                          struct value *out, bool *found)
{
    struct method *method;
    const struct native *native = template_native_find(methods, name);
    *found = native != NULL;
    if (*found) {
        TRY(template_allocate(r, 1, sizeof *method, &method));
        method->self = *object;
        method->native = native;
        *out = (struct value){.type = VALUE_METHOD, .method = method};
    }
    return STATUS_OK;
}

/* Attributes that are values: of macros, groups, cyclers. */
static status find_plain_attribute(struct render *r, const struct value *object,
                                   const struct string *name, struct value *out, bool *found)
{
    struct value key = value_string(name);
    *found = true;
    if (object->type == VALUE_TUPLE && object->list->is_group) {
        if (template_is_text(&key, "grouper") || template_is_text(&key, "list")) {
            *out = object->list->items[template_is_text(&key, "list")];
            return STATUS_OK;
        }
    } else if (object->type == VALUE_CYCLER && template_is_text(&key, "current")) {
        *out = object->cycler->items[object->cycler->position];
        return STATUS_OK;
    } else if (object->type == VALUE_MACRO) {
        const struct node *node = object->macro->node;
        if (template_is_text(&key, "name")) {
            *out =
                node->macro.name == NULL ? value_none() : value_string(&node->macro.name->string);
            return STATUS_OK;
        }
        if (template_is_text(&key, "arguments")) {
            struct value *items;
            TRY(template_allocate(r, node->macro.count, sizeof *items, &items));
            for (size_t i = 0; i < node->macro.count; i++) {
                items[i] = value_string(&node->macro.parameters[i]->string);
            }
            return template_list(r, VALUE_TUPLE, items, node->macro.count, out);
        }
    }
    *found = false;
    return STATUS_OK;
}

status template_find_attribute(struct render *r, const struct value *object,
                               const struct string *name, struct value *out, bool *found)
{
    static const struct {
        enum value_type type;
        const struct native_table *methods;
        const char *const *changers;
    } types[] = {
        {VALUE_STRING, &template_string_methods, NULL},
        {VALUE_STRING, &template_splitting_methods, NULL},
        {VALUE_LIST, &template_list_methods, list_changers},
        {VALUE_TUPLE, &template_tuple_methods, NULL},
        {VALUE_DICT, &template_dict_methods, dict_changers},
        {VALUE_CYCLER, &template_cycler_methods, NULL},
    };
    if (object->type == VALUE_NAMESPACE) {
        const struct value key = value_string(name), *member;
        TRY(template_dict_get(r, object->dict, &key, &member));
        *found = member != NULL;
        if (*found) {
            *out = *member;
        }
        return STATUS_OK;
    }
    if (object->type == VALUE_LOOP) {
        TRY(template_loop_attribute(r, object->loop, name, out, found));
        return *found ? STATUS_OK
                      : find_method(r, object, &template_loop_methods, name, out, found);
    }
    const char *const *changers = NULL;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (types[i].type == object->type) {
            TRY(find_method(r, object, types[i].methods, name, out, found));
            if (*found) {
                return STATUS_OK;
            }
            changers = types[i].changers;
        }
    }
    if (is_among(changers, name) || is_dunder(name)) {
        *found = true;
        return template_undefined_format(r, out,
                                         "access to attribute '%.*s' of '%s' object is unsafe.",
                                         STRING_ARGUMENTS(name), template_type_name(object));
    }
    return find_plain_attribute(r, object, name, out, found);
}

/* ---- Items ---- */

/* object[key] where there is one; *found = false for what Python answers with a TypeError or
 * LookupError. */
static status find_item(struct render *r, const struct value *object, const struct value *key,
                        struct value *out, bool *found)
{
    int64_t index;
    size_t length;
    *found = false;
    if (object->type == VALUE_DICT) {
        const struct value *member;
        if (key->type == VALUE_LIST || key->type == VALUE_DICT) {
            return STATUS_OK;
        }
        TRY(template_dict_get(r, object->dict, key, &member));
        *found = member != NULL;
        if (*found) {
            *out = *member;
        }
        return STATUS_OK;
    }
    if ((object->type != VALUE_LIST && object->type != VALUE_TUPLE &&
         object->type != VALUE_STRING && object->type != VALUE_RANGE) ||
        !template_is_integral(key, &index)) {
        return STATUS_OK;
    }
    TRY(template_length(r, object, &length));
    index += index < 0 ? (int64_t)length : 0;
    *found = index >= 0 && (uint64_t)index < length;
    if (!*found) {
        return STATUS_OK;
    }
    if (object->type == VALUE_STRING) {
        struct value start = value_integer(index), stop = value_integer(index + 1);
        TRY(template_charge(r, object->string->characters == object->string->length
                                   ? 0
                                   : object->string->length / 64));
        return template_slice(r, object, &start, &stop, NULL, out);
    }
    *out = object->type == VALUE_RANGE
               ? value_integer(object->range->start + index * object->range->step)
               : object->list->items[index];
    return STATUS_OK;
}

/* A message's content that is not there. */
static status undefined_member(struct render *r, const struct value *object,
                               const struct value *name, struct value *out)
{
    TRY(template_undefined(r, NULL, object, name, out));
    if (object->type == VALUE_DICT && object->dict->is_message &&
        template_is_text(name, "content")) {
        struct undefined *undefined;
        TRY(template_allocate(r, 1, sizeof *undefined, &undefined));
        *undefined = *out->undefined;
        undefined->is_content = true;
        out->undefined = undefined;
    }
    return STATUS_OK;
}

status template_get_attribute(struct render *r, const struct value *given, const struct value *name,
                              struct value *out)
{
    bool found;
    const struct value self = template_or_empty(given), *object = &self;
    if (object->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, object);
    }
    TRY(template_find_attribute(r, object, name->string, out, &found));
    if (!found) {
        TRY(find_item(r, object, name, out, &found));
    }
    return found ? STATUS_OK : undefined_member(r, object, name, out);
}

status template_get_item(struct render *r, const struct value *given, const struct value *key,
                         struct value *out)
{
    bool found;
    const struct value self = template_or_empty(given), *object = &self;
    if (object->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, object);
    }
    TRY(find_item(r, object, key, out, &found));
    if (!found && key->type == VALUE_STRING) {
        TRY(template_find_attribute(r, object, key->string, out, &found));
    }
    return found ? STATUS_OK : undefined_member(r, object, key, out);
}
