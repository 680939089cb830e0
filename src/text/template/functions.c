/* SPDX-License-Identifier: Apache-2.0 */
/* Global functions, and the methods of everything but strings: tables of facts at the end. */
#include <time.h>

#include "text/template/internal.h"

/* ---- Lists, tuples, dicts ---- */

static status method_list_index(struct render *r, const struct call *call, struct value *out)
{
    const struct list *self = call->self.list;
    bool equal = false;
    for (size_t i = 0; i < self->count; i++) {
        TRY(template_equal(r, &self->items[i], &call->arguments[0], &equal));
        if (equal) {
            *out = value_integer((int64_t)i);
            return STATUS_OK;
        }
    }
    struct value text;
    size_t mark = r->out.length;
    TRY(template_write_repr(r, &call->arguments[0]));
    TRY(template_take(r, mark, &text));
    return call->self.type == VALUE_LIST
               ? template_fail("%.*s is not in list", STRING_ARGUMENTS(text.string))
               : template_fail("tuple.index(x): x not in tuple");
}

static status method_list_count(struct render *r, const struct call *call, struct value *out)
{
    const struct list *self = call->self.list;
    int64_t count = 0;
    bool equal;
    for (size_t i = 0; i < self->count; i++) {
        TRY(template_equal(r, &self->items[i], &call->arguments[0], &equal));
        count += equal;
    }
    *out = value_integer(count);
    return STATUS_OK;
}

/* Lists and dicts never change, so that a copy may share what it is a copy of. */
static status method_copy(struct render *r, const struct call *call, struct value *out)
{
    if (call->self.type == VALUE_LIST) {
        return template_list(r, VALUE_LIST, call->self.list->items, call->self.list->count, out);
    }
    struct dict *dict;
    TRY(template_allocate(r, 1, sizeof *dict, &dict));
    *dict = *call->self.dict;
    *out = (struct value){.type = VALUE_DICT, .dict = dict};
    return STATUS_OK;
}

static status method_dict_get(struct render *r, const struct call *call, struct value *out)
{
    const struct value *found;
    TRY(template_dict_get(r, call->self.dict, &call->arguments[0], &found));
    *out = found != NULL                         ? *found
           : value_is_given(&call->arguments[1]) ? call->arguments[1]
                                                 : value_none();
    if (found == NULL && !value_is_given(&call->arguments[1])) {
        out->boolean =
            call->self.dict->is_message && template_is_text(&call->arguments[0], "content");
    }
    return STATUS_OK;
}

static status make_view(struct render *r, const struct call *call, enum view_kind kind,
                        struct value *out)
{
    struct view *view;
    TRY(template_allocate(r, 1, sizeof *view, &view));
    *view = (struct view){call->self.dict, kind};
    *out = (struct value){.type = VALUE_VIEW, .view = view};
    return STATUS_OK;
}

static status method_dict_items(struct render *r, const struct call *call, struct value *out)
{
    return make_view(r, call, VIEW_ITEMS, out);
}

static status method_dict_keys(struct render *r, const struct call *call, struct value *out)
{
    return make_view(r, call, VIEW_KEYS, out);
}

static status method_dict_values(struct render *r, const struct call *call, struct value *out)
{
    return make_view(r, call, VIEW_VALUES, out);
}

/* ---- loop and cycler ---- */

static status method_loop_cycle(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    if (call->count == 0) {
        return template_fail("no items for cycling given");
    }
    *out = call->arguments[call->self.loop->index0 % (int64_t)call->count];
    return STATUS_OK;
}

static status method_loop_changed(struct render *r, const struct call *call, struct value *out)
{
    struct loop *loop = call->self.loop;
    struct value now, *items;
    bool equal = false;
    TRY(template_allocate(r, call->count, sizeof *items, &items));
    memcpy(items, call->arguments, call->count * sizeof *items);
    TRY(template_list(r, VALUE_TUPLE, items, call->count, &now));
    if (value_is_given(&loop->changed)) {
        TRY(template_equal(r, &loop->changed, &now, &equal));
    }
    loop->changed = now;
    *out = value_boolean(!equal);
    return STATUS_OK;
}

static status method_cycler_next(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    struct cycler *cycler = call->self.cycler;
    *out = cycler->items[cycler->position];
    cycler->position = (cycler->position + 1) % cycler->count;
    return STATUS_OK;
}

static status method_cycler_reset(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    call->self.cycler->position = 0;
    *out = value_none();
    return STATUS_OK;
}

/* ---- Global functions ---- */

static status function_range(struct render *r, const struct call *call, struct value *out)
{
    int64_t numbers[3] = {0, 0, 1};
    struct range *range;
    if (call->count < 1 || call->count > 3 || call->keyword_count > 0) {
        return template_fail("range expected 1 to 3 arguments, got %zu", call->count);
    }
    for (size_t i = 0; i < call->count; i++) {
        if (call->arguments[i].type == VALUE_UNDEFINED) {
            return template_fail_undefined(r, &call->arguments[i]);
        }
        if (!template_is_integral(&call->arguments[i], &numbers[call->count == 1 ? 1 : i])) {
            return template_fail("'%s' object cannot be interpreted as an integer",
                                 template_type_name(&call->arguments[i]));
        }
    }
    int64_t start = numbers[0], stop = numbers[1], step = numbers[2];
    if (step == 0) {
        return template_fail("range() arg 3 must not be zero");
    }
    /* Unsigned: the distance may be more than the greatest signed number. */
    uint64_t distance = step > 0 ? (stop > start ? (uint64_t)stop - (uint64_t)start : 0)
                                 : (start > stop ? (uint64_t)start - (uint64_t)stop : 0);
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step;
    uint64_t count = distance / stride + (distance % stride != 0);
    if (count > TEMPLATE_MAX_RANGE) {
        return template_fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                             (int)TEMPLATE_MAX_RANGE);
    }
    TRY(template_allocate(r, 1, sizeof *range, &range));
    *range = (struct range){start, stop, step, (size_t)count};
    *out = (struct value){.type = VALUE_RANGE, .range = range};
    return STATUS_OK;
}

/* dict(pairs or mapping, key=value…) */
static status function_dict(struct render *r, const struct call *call, struct value *out)
{
    TRY(template_dict(r, call->keyword_count, out));
    if (call->count > 1) {
        return template_fail("dict expected at most 1 argument, got %zu", call->count);
    }
    const struct value *source = call->count == 1 ? &call->arguments[0] : NULL;
    if (source != NULL && (source->type == VALUE_DICT || source->type == VALUE_NAMESPACE)) {
        for (size_t i = 0; i < source->dict->count; i++) {
            TRY(template_dict_put(r, out->dict, &source->dict->keys[i], &source->dict->values[i]));
        }
    } else if (source != NULL) {
        struct value *items, *pair;
        size_t count, pair_count;
        TRY(template_items(r, source, &items, &count));
        for (size_t i = 0; i < count; i++) {
            TRY(template_items(r, &items[i], &pair, &pair_count));
            if (pair_count != 2) {
                return template_fail("dictionary update sequence element #%zu has length %zu; 2 is "
                                     "required",
                                     i, pair_count);
            }
            TRY(template_dict_put(r, out->dict, &pair[0], &pair[1]));
        }
    }
    for (size_t i = 0; i < call->keyword_count; i++) {
        TRY(template_dict_put(r, out->dict, &call->keywords[i].name, &call->keywords[i].value));
    }
    return STATUS_OK;
}

static status function_namespace(struct render *r, const struct call *call, struct value *out)
{
    TRY(function_dict(r, call, out));
    out->type = VALUE_NAMESPACE;
    return STATUS_OK;
}

static status function_cycler(struct render *r, const struct call *call, struct value *out)
{
    struct cycler *cycler;
    if (call->count == 0) {
        return template_fail("at least one item has to be provided");
    }
    TRY(template_allocate(r, 1, sizeof *cycler, &cycler));
    *cycler = (struct cycler){.items = call->arguments, .count = call->count};
    *out = (struct value){.type = VALUE_CYCLER, .cycler = cycler};
    return STATUS_OK;
}

static status function_joiner(struct render *r, const struct call *call, struct value *out)
{
    struct joiner *joiner;
    TRY(template_allocate(r, 1, sizeof *joiner, &joiner));
    joiner->separator = call->arguments[0];
    if (!value_is_given(&joiner->separator)) {
        TRY(template_string_view(r, ", ", 2, &joiner->separator));
    }
    *out = (struct value){.type = VALUE_JOINER, .joiner = joiner};
    return STATUS_OK;
}

static status function_raise_exception(struct render *r, const struct call *call, struct value *out)
{
    (void)out;
    struct value text;
    TRY(template_to_string(r, &call->arguments[0], &text));
    r->raised = true;
    return template_fail("%.*s", STRING_ARGUMENTS(text.string));
}

enum { TIME_FORMAT_BYTES = 256, TIME_TEXT_BYTES = 1024 };

/* Copies a template's time format, of which only conversions from a list reach the C library: no
 * widths, no modifiers but the "-" of "%-d". Python's time has no zone: %f is microseconds, %z and
 * %Z are empty. */
static status copy_time_format(const struct string *given, char format[TIME_FORMAT_BYTES])
{
    static const char conversions[] = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%";
    size_t used = 0;
    for (size_t i = 0; i < given->length; i++) {
        if (used + 8 > TIME_FORMAT_BYTES || given->text[i] == '\0') {
            return template_fail("strftime_now: a format that is too long");
        }
        format[used++] = given->text[i];
        if (given->text[i] != '%') {
            continue;
        }
        i++;
        if (i < given->length && given->text[i] == '-') {
            format[used++] = '-';
            i++;
        }
        char conversion = i < given->length ? given->text[i] : '\0';
        if (conversion == 'f' || conversion == 'z' || conversion == 'Z') {
            while (format[--used] != '%') { /* nothing of it is left */
            }
            memcpy(format + used, "000000", conversion == 'f' ? 6 : 0);
            used += conversion == 'f' ? 6 : 0;
        } else if (conversion != '\0' && strchr(conversions, conversion) != NULL) {
            format[used++] = conversion;
        } else {
            return template_fail("strftime_now: an unknown format");
        }
    }
    format[used] = '\0';
    return STATUS_OK;
}

static status function_strftime_now(struct render *r, const struct call *call, struct value *out)
{
    char format[TIME_FORMAT_BYTES], text[TIME_TEXT_BYTES];
    if (call->arguments[0].type != VALUE_STRING) {
        return template_fail("strftime() argument 1 must be str, not %s",
                             template_type_name(&call->arguments[0]));
    }
    TRY(copy_time_format(call->arguments[0].string, format));
    time_t now = (time_t)r->now;
    struct tm parts;
    /* Not the local time, as in Python: all hosts are to make the same prompt of a row. */
    if (gmtime_r(&now, &parts) == NULL) {
        return template_fail("strftime_now: the time is out of range");
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t length = strftime(text, sizeof text, format, &parts);
#pragma GCC diagnostic pop
    if (!utf8_valid(text, length, NULL)) {
        return template_fail("strftime_now: the locale's text is not UTF-8");
    }
    return template_string_copy(r, text, length, out);
}

static const struct native list_methods[] = {
    {"copy", method_copy, 0, false, {NULL}},
    {"count", method_list_count, 1, false, {"value"}},
    {"index", method_list_index, 1, false, {"value"}},
};
const struct native_table template_list_methods = {list_methods, COUNT_OF(list_methods)};

static const struct native tuple_methods[] = {
    {"count", method_list_count, 1, false, {"value"}},
    {"index", method_list_index, 1, false, {"value"}},
};
const struct native_table template_tuple_methods = {tuple_methods, COUNT_OF(tuple_methods)};

static const struct native dict_methods[] = {
    {"copy", method_copy, 0, false, {NULL}},
    {"get", method_dict_get, 1, false, {"key", "default"}},
    {"items", method_dict_items, 0, false, {NULL}},
    {"keys", method_dict_keys, 0, false, {NULL}},
    {"values", method_dict_values, 0, false, {NULL}},
};
const struct native_table template_dict_methods = {dict_methods, COUNT_OF(dict_methods)};

static const struct native loop_methods[] = {
    {"changed", method_loop_changed, 0, true, {NULL}},
    {"cycle", method_loop_cycle, 0, true, {NULL}},
};
const struct native_table template_loop_methods = {loop_methods, COUNT_OF(loop_methods)};

static const struct native cycler_methods[] = {
    {"next", method_cycler_next, 0, false, {NULL}},
    {"reset", method_cycler_reset, 0, false, {NULL}},
};
const struct native_table template_cycler_methods = {cycler_methods, COUNT_OF(cycler_methods)};

static const struct native functions[] = {
    {"cycler", function_cycler, 0, true, {NULL}},
    {"dict", function_dict, 0, true, {NULL}},
    {"joiner", function_joiner, 0, false, {"sep"}},
    {"namespace", function_namespace, 0, true, {NULL}},
    {"raise_exception", function_raise_exception, 1, false, {"message"}},
    {"range", function_range, 0, true, {NULL}},
    {"strftime_now", function_strftime_now, 1, false, {"format"}},
};
const struct native_table template_functions = {functions, COUNT_OF(functions)};
