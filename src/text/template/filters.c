/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of one value: text, numbers, defaults. A table of facts at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/template/internal.h"

/* str() of the operand, as nearly every text filter begins. */
static status self_text(struct render *r, const struct call *call, const struct string **out)
{
    struct value text;
    TRY(template_to_string(r, &call->self, &text));
    TRY(template_charge(r, text.string->length / 64));
    *out = text.string;
    return STATUS_OK;
}

static status filter_abs(struct render *r, const struct call *call, struct value *out)
{
    struct value zero = value_integer(0);
    double number;
    if (call->self.type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, &call->self);
    }
    if (!template_is_number(&call->self, &number)) {
        return template_fail("bad operand type for abs(): '%s'", template_type_name(&call->self));
    }
    if (call->self.type == VALUE_FLOAT) {
        *out = value_float(fabs(number));
        return STATUS_OK;
    }
    return template_binary(r, number < 0 ? TOKEN_SUBTRACT : TOKEN_ADD, &zero, &call->self, out);
}

static status filter_attr(struct render *r, const struct call *call, struct value *out)
{
    bool found;
    if (call->arguments[0].type != VALUE_STRING) {
        return template_fail("attribute name must be string, not '%s'",
                             template_type_name(&call->arguments[0]));
    }
    if (call->self.type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, &call->self);
    }
    TRY(template_find_attribute(r, &call->self, call->arguments[0].string, out, &found));
    return found ? STATUS_OK : template_undefined(r, NULL, &call->self, &call->arguments[0], out);
}

static status cased(struct render *r, const struct call *call, enum letter_case first,
                    enum letter_case rest, struct value *out)
{
    const struct string *text;
    TRY(self_text(r, call, &text));
    size_t mark = r->out.length;
    TRY(template_write_cased(r, text, first, rest));
    return template_take(r, mark, out);
}

static status filter_capitalize(struct render *r, const struct call *call, struct value *out)
{
    return cased(r, call, CASE_TITLE, CASE_LOWER, out);
}

static status filter_lower(struct render *r, const struct call *call, struct value *out)
{
    return cased(r, call, CASE_LOWER, CASE_LOWER, out);
}

static status filter_upper(struct render *r, const struct call *call, struct value *out)
{
    return cased(r, call, CASE_UPPER, CASE_UPPER, out);
}

static bool divides_words(int32_t c)
{
    return template_is_space(c) || (c > 0 && c < 0x80 && strchr("-({[<", c) != NULL);
}

/* Words begin after white space, "-" and opening brackets; each is cased by itself. */
static status filter_title(struct render *r, const struct call *call, struct value *out)
{
    const struct string *text;
    size_t size, mark = r->out.length;
    TRY(self_text(r, call, &text));
    for (size_t start = 0, end; start < text->length; start = end) {
        bool divides = false;
        for (end = start; end < text->length; end += size) {
            int32_t c = utf8_decode(text->text + end, text->length - end, &size);
            if (end > start && divides_words(c) != divides) {
                break;
            }
            divides = divides_words(c);
        }
        struct string word = {.text = text->text + start, .length = end - start};
        TRY(template_write_cased(r, &word, CASE_UPPER, CASE_LOWER));
    }
    return template_take(r, mark, out);
}

static status filter_center(struct render *r, const struct call *call, struct value *out)
{
    const struct string *text;
    int64_t width;
    size_t mark = r->out.length;
    TRY(self_text(r, call, &text));
    TRY(template_argument_integer(&call->arguments[0], 80, &width));
    size_t padding =
        width > 0 && (size_t)width > text->characters ? (size_t)width - text->characters : 0;
    size_t left = padding / 2 + (padding & (size_t)width & 1);
    TRY(template_write_repeated(r, ' ', left));
    TRY(template_write(r, text->text, text->length));
    TRY(template_write_repeated(r, ' ', padding - left));
    return template_take(r, mark, out);
}

static status filter_length(struct render *r, const struct call *call, struct value *out)
{
    size_t length;
    TRY(template_length(r, &call->self, &length));
    *out = value_integer((int64_t)length);
    return STATUS_OK;
}

static status filter_default(struct render *r, const struct call *call, struct value *out)
{
    bool boolean, truth = true;
    TRY(template_truth(r, &call->arguments[1], &boolean));
    if (boolean) {
        TRY(template_truth(r, &call->self, &truth));
    }
    if (call->self.type != VALUE_UNDEFINED && truth) {
        *out = call->self;
        return STATUS_OK;
    }
    if (!value_is_given(&call->arguments[0])) {
        return template_string_view(r, "", 0, out);
    }
    *out = call->arguments[0];
    return STATUS_OK;
}

static status mark_safe(struct render *r, const struct value *text, struct value *out)
{
    struct string *string;
    TRY(template_allocate(r, 1, sizeof *string, &string));
    *string = *text->string;
    string->growth = NULL;
    string->markup = true;
    *out = value_string(string);
    return STATUS_OK;
}

static status filter_safe(struct render *r, const struct call *call, struct value *out)
{
    struct value text;
    TRY(template_to_string(r, &call->self, &text));
    return mark_safe(r, &text, out);
}

static status filter_forceescape(struct render *r, const struct call *call, struct value *out)
{
    const struct string *text;
    struct value escaped;
    TRY(self_text(r, call, &text));
    size_t mark = r->out.length;
    TRY(template_write_escaped(r, text->text, text->length));
    TRY(template_take(r, mark, &escaped));
    return mark_safe(r, &escaped, out);
}

static status filter_escape(struct render *r, const struct call *call, struct value *out)
{
    if (call->self.type == VALUE_STRING && call->self.string->markup) {
        *out = call->self;
        return STATUS_OK;
    }
    return filter_forceescape(r, call, out);
}

static status filter_string(struct render *r, const struct call *call, struct value *out)
{
    return template_to_string(r, &call->self, out);
}

/* ---- Numbers ---- */

/* Copies a number's text without the white space around it and the underscores between digits;
 * false where it cannot be a number of this kind. */
static bool number_text(const struct string *string, char *out, size_t capacity)
{
    size_t start = template_space_prefix(string->text, string->length);
    size_t end =
        string->length - template_space_suffix(string->text + start, string->length - start);
    size_t used = 0;
    for (size_t i = start; i < end; i++) {
        char c = string->text[i];
        if (c == '_') {
            bool between = i > start && i + 1 < end && string->text[i - 1] != '_' &&
                           strchr("+-.", string->text[i - 1]) == NULL && string->text[i + 1] != '_';
            if (!between) {
                return false;
            }
            continue;
        }
        if (c == '\0' || used + 1 >= capacity) {
            return false;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return used > 0;
}

enum { NUMBER_TEXT_BYTES = 400 };

/* float() of a text. */
static bool text_to_float(const struct string *string, double *out)
{
    char text[NUMBER_TEXT_BYTES], *end;
    if (!number_text(string, text, sizeof text) || strpbrk(text, "xXpP()") != NULL) {
        return false; /* hexadecimal and "nan(…)" are strtod's, not Python's */
    }
    *out = strtod(text, &end);
    return *end == '\0';
}

/* int() of a text: 1 it is one, 0 it is none, -1 it is beyond 64 bits. */
static int text_to_integer(const struct string *string, int64_t base, int64_t *out)
{
    char text[NUMBER_TEXT_BYTES];
    if (!number_text(string, text, sizeof text)) {
        return 0;
    }
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    char letter = digits[0] == '0' ? (char)(digits[1] | 0x20) : '\0';
    int64_t prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == prefix || base == 0)) {
        base = prefix;
        digits += 2;
    }
    base = base == 0 ? 10 : base;
    int64_t value = 0;
    int result = *digits != '\0';
    for (; *digits != '\0' && result != 0; digits++) {
        int lower = *digits | 0x20;
        int digit = *digits >= '0' && *digits <= '9' ? *digits - '0'
                    : lower >= 'a' && lower <= 'z'   ? lower - 'a' + 10
                                                     : 99;
        if (digit >= base) {
            result = 0;
        } else if (__builtin_mul_overflow(value, base, &value) ||
                   __builtin_sub_overflow(value, (int64_t)digit, &value)) {
            result = -1; /* kept negative, where one more number fits */
        }
    }
    if (result == 1 && text[0] != '-' && __builtin_sub_overflow((int64_t)0, value, &value)) {
        result = -1;
    }
    *out = value;
    return result;
}

/* int() of a float; fails beyond 64 bits, false for NaN and infinities. */
static status truncate_float(double real, struct value *out, bool *done)
{
    *done = isfinite(real);
    if (!*done) {
        return STATUS_OK;
    }
    if (fabs(real) >= 9.2e18) {
        return status_fail(STATUS_LIMIT, "an integer beyond 64 bits");
    }
    *out = value_integer((int64_t)real);
    return STATUS_OK;
}

static status filter_int(struct render *r, const struct call *call, struct value *out)
{
    const struct value *self = &call->self;
    int64_t base, integer;
    double real;
    bool done;
    if (self->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, self);
    }
    TRY(template_argument_integer(&call->arguments[1], 10, &base));
    *out = value_is_given(&call->arguments[0]) ? call->arguments[0] : value_integer(0);
    if (self->type == VALUE_BIG_INTEGER) {
        *out = *self;
        return STATUS_OK;
    }
    if (template_is_integral(self, &integer)) {
        *out = value_integer(integer);
        return STATUS_OK;
    }
    if (self->type == VALUE_FLOAT) {
        return truncate_float(self->real, out, &done);
    }
    if (self->type != VALUE_STRING) {
        return STATUS_OK;
    }
    int found = text_to_integer(self->string, base, &integer);
    if (found < 0) {
        return status_fail(STATUS_LIMIT, "an integer beyond 64 bits");
    }
    if (found > 0) {
        *out = value_integer(integer);
        return STATUS_OK;
    }
    return text_to_float(self->string, &real) ? truncate_float(real, out, &done) : STATUS_OK;
}

static status filter_float(struct render *r, const struct call *call, struct value *out)
{
    double real;
    if (call->self.type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, &call->self);
    }
    if (template_is_number(&call->self, &real) ||
        ((call->self.type == VALUE_STRING || call->self.type == VALUE_BIG_INTEGER) &&
         text_to_float(call->self.string, &real))) {
        *out = value_float(real);
    } else {
        *out = value_is_given(&call->arguments[0]) ? call->arguments[0] : value_float(0);
    }
    return STATUS_OK;
}

/* To `precision` decimals, halves to even: of the exact binary value, as the text conversion is. */
static double round_half_even(double real, int64_t precision)
{
    char text[NUMBER_TEXT_BYTES];
    if (!isfinite(real) || precision > 22) {
        return real;
    }
    if (precision >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)precision, real);
        return strtod(text, NULL);
    }
    double unit = pow(10, precision < -308 ? 309 : (double)-precision);
    return isinf(unit) ? copysign(0, real) : rint(real / unit) * unit;
}

static status round_integer(struct render *r, int64_t value, int64_t precision, struct value *out)
{
    int64_t unit = 1;
    for (; precision < 0 && unit < INT64_MAX / 10; precision++) {
        unit *= 10;
    }
    int64_t rest = ((value % unit) + unit) % unit, down = value - rest;
    bool up = rest > unit / 2 || (rest == unit / 2 && unit > 1 && (down / unit) % 2 != 0);
    struct value low = value_integer(down), step = value_integer(up ? unit : 0);
    return template_binary(r, TOKEN_ADD, &low, &step, out);
}

static status filter_round(struct render *r, const struct call *call, struct value *out)
{
    int64_t precision, integer;
    double real;
    const struct value *method = &call->arguments[1];
    bool is_ceil = template_is_text(method, "ceil"), is_floor = template_is_text(method, "floor");
    if (value_is_given(method) && !is_ceil && !is_floor && !template_is_text(method, "common")) {
        return template_fail("method must be common, ceil or floor");
    }
    TRY(template_argument_integer(&call->arguments[0], 0, &precision));
    if (call->self.type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, &call->self);
    }
    if (!template_is_number(&call->self, &real)) {
        return template_fail("type %s doesn't define __round__ method",
                             template_type_name(&call->self));
    }
    if (is_ceil || is_floor) {
        double unit = pow(10, (double)precision);
        *out = value_float((is_ceil ? ceil(real * unit) : floor(real * unit)) / unit);
        return STATUS_OK;
    }
    if (template_is_integral(&call->self, &integer)) {
        return round_integer(r, integer, precision, out);
    }
    *out = value_float(round_half_even(real, precision));
    return STATUS_OK;
}

/* ---- Text ---- */

static status filter_format(struct render *r, const struct call *call, struct value *out)
{
    const struct string *text;
    struct value arguments;
    if (call->count > 0 && call->keyword_count > 0) {
        return template_fail("can't handle positional and keyword arguments at the same time");
    }
    TRY(self_text(r, call, &text));
    if (call->keyword_count > 0) {
        TRY(template_dict(r, call->keyword_count, &arguments));
        for (size_t i = 0; i < call->keyword_count; i++) {
            TRY(template_dict_put(r, arguments.dict, &call->keywords[i].name,
                                  &call->keywords[i].value));
        }
    } else {
        struct value *items;
        TRY(template_allocate(r, call->count, sizeof *items, &items));
        memcpy(items, call->arguments, call->count * sizeof *items);
        TRY(template_list(r, VALUE_TUPLE, items, call->count, &arguments));
    }
    return template_format_percent(r, text, &arguments, out);
}

static status write_indent(struct render *r, const struct value *width)
{
    int64_t count;
    if (width->type == VALUE_STRING) {
        return template_write_value(r, width);
    }
    TRY(template_argument_integer(width, 4, &count));
    return template_write_repeated(r, ' ', count > 0 ? (size_t)count : 0);
}

static status filter_indent(struct render *r, const struct call *call, struct value *out)
{
    bool first, blank;
    size_t end_size = 1, mark = r->out.length;
    if (call->self.type == VALUE_UNDEFINED && !template_is_no_content(&call->self)) {
        return template_fail_undefined(r, &call->self);
    }
    const struct string *text = template_text_of(&call->self);
    if (text == NULL) {
        return template_fail("unsupported operand type(s) for +=: '%s' and 'str'",
                             template_type_name(&call->self));
    }
    TRY(template_truth(r, &call->arguments[1], &first));
    TRY(template_truth(r, &call->arguments[2], &blank));
    if (first) {
        TRY(write_indent(r, &call->arguments[0]));
    }
    /* The text is taken as if one more newline ended it. */
    for (size_t offset = 0; end_size > 0 && offset <= text->length;) {
        size_t length = template_line_length(text->text + offset, text->length - offset, &end_size);
        TRY(template_charge(r, 1));
        if (offset > 0) {
            TRY(template_write_text(r, "\n"));
            if (blank || length > 0) {
                TRY(write_indent(r, &call->arguments[0]));
            }
        }
        TRY(template_write(r, text->text + offset, length));
        offset += length + end_size;
    }
    return template_take(r, mark, out);
}

static status filter_replace(struct render *r, const struct call *call, struct value *out)
{
    struct value text, old, new;
    int64_t count;
    TRY(template_to_string(r, &call->self, &text));
    TRY(template_to_string(r, &call->arguments[0], &old));
    TRY(template_to_string(r, &call->arguments[1], &new));
    TRY(template_argument_integer(&call->arguments[2], -1, &count));
    struct value name, arguments[3] = {old, new, value_integer(count)};
    struct call inner = {.self = text, .arguments = arguments, .count = 3};
    TRY(template_string_view(r, "replace", 7, &name));
    return template_native_call(
        r, "method", template_native_find(&template_splitting_methods, name.string), &inner, out);
}

static status filter_trim(struct render *r, const struct call *call, struct value *out)
{
    struct value text, name;
    TRY(template_to_string(r, &call->self, &text));
    struct call inner = {.self = text, .arguments = call->arguments, .count = 1};
    TRY(template_string_view(r, "strip", 5, &name));
    return template_native_call(
        r, "method", template_native_find(&template_string_methods, name.string), &inner, out);
}

static status filter_tojson(struct render *r, const struct call *call, struct value *out)
{
    size_t mark = r->out.length;
    TRY(template_write_json(r, call));
    return template_take(r, mark, out);
}

static status filter_truncate(struct render *r, const struct call *call, struct value *out)
{
    int64_t length, leeway, most;
    size_t size;
    bool kill_words;
    struct value end, stop, head;
    TRY(template_argument_integer(&call->arguments[0], 255, &length));
    TRY(template_truth(r, &call->arguments[1], &kill_words));
    TRY(template_string_view(r, "...", 3, &end));
    if (value_is_given(&call->arguments[2])) {
        TRY(template_to_string(r, &call->arguments[2], &end));
    }
    TRY(template_argument_integer(&call->arguments[3], 5, &leeway));
    if (length < (int64_t)end.string->characters) {
        return template_fail("expected length >= %zu, got %lld", end.string->characters,
                             (long long)length);
    }
    if (leeway < 0) {
        return template_fail("expected leeway >= 0, got %lld", (long long)leeway);
    }
    TRY(template_length(r, &call->self, &size));
    *out = call->self;
    if (__builtin_add_overflow(length, leeway, &most) || (int64_t)size <= most) {
        return STATUS_OK;
    }
    if (call->self.type != VALUE_STRING) {
        return template_fail("truncate: a str is required, not %s",
                             template_type_name(&call->self));
    }
    stop = value_integer(length - (int64_t)end.string->characters);
    TRY(template_slice(r, &call->self, NULL, &stop, NULL, &head));
    size_t keep = head.string->length;
    if (!kill_words) {
        const char *space = memrchr(head.string->text, ' ', keep);
        keep = space == NULL ? keep : (size_t)(space - head.string->text);
    }
    size_t mark = r->out.length;
    TRY(template_write(r, head.string->text, keep));
    TRY(template_write_value(r, &end));
    return template_take(r, mark, out);
}

static status write_quoted(struct render *r, const struct value *value, bool for_query)
{
    struct value text;
    TRY(template_to_string(r, value, &text));
    for (size_t i = 0; i < text.string->length; i++) {
        unsigned char c = (unsigned char)text.string->text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("_.-~", c) != NULL) || (c == '/' && !for_query);
        char quoted[4];
        snprintf(quoted, sizeof quoted, plain ? "%c" : c == ' ' && for_query ? "+" : "%%%02X", c);
        TRY(template_write_text(r, quoted));
    }
    return STATUS_OK;
}

static status filter_urlencode(struct render *r, const struct call *call, struct value *out)
{
    size_t mark = r->out.length, count, pair_count;
    struct value *items, *pair, pairs = call->self;
    if (call->self.type == VALUE_STRING || !template_is_iterable(&call->self)) {
        TRY(write_quoted(r, &call->self, false));
        return template_take(r, mark, out);
    }
    if (call->self.type == VALUE_DICT) {
        struct view *view;
        TRY(template_allocate(r, 1, sizeof *view, &view));
        *view = (struct view){call->self.dict, VIEW_ITEMS};
        pairs = (struct value){.type = VALUE_VIEW, .view = view};
    }
    TRY(template_items(r, &pairs, &items, &count));
    for (size_t i = 0; i < count; i++) {
        TRY(template_items(r, &items[i], &pair, &pair_count));
        if (pair_count != 2) {
            return template_fail("urlencode: expected pairs");
        }
        TRY(template_write_text(r, i == 0 ? "" : "&"));
        TRY(write_quoted(r, &pair[0], true));
        TRY(template_write_text(r, "="));
        TRY(write_quoted(r, &pair[1], true));
    }
    return template_take(r, mark, out);
}

static status filter_wordcount(struct render *r, const struct call *call, struct value *out)
{
    const struct string *text;
    int64_t count = 0;
    bool inside = false;
    size_t size;
    TRY(self_text(r, call, &text));
    for (size_t i = 0; i < text->length; i += size) {
        int32_t c = utf8_decode(text->text + i, text->length - i, &size);
        bool word = c == '_' || template_is_alphabetic(c) || template_is_numeric(c);
        count += word && !inside;
        inside = word;
    }
    *out = value_integer(count);
    return STATUS_OK;
}

static const struct native filters[] = {
    {"abs", filter_abs, 0, false, {NULL}},
    {"attr", filter_attr, 1, false, {"name"}},
    {"capitalize", filter_capitalize, 0, false, {NULL}},
    {"center", filter_center, 0, false, {"width"}},
    {"count", filter_length, 0, false, {NULL}},
    {"d", filter_default, 0, false, {"default_value", "boolean"}},
    {"default", filter_default, 0, false, {"default_value", "boolean"}},
    {"e", filter_escape, 0, false, {NULL}},
    {"escape", filter_escape, 0, false, {NULL}},
    {"float", filter_float, 0, false, {"default"}},
    {"forceescape", filter_forceescape, 0, false, {NULL}},
    {"format", filter_format, 0, true, {NULL}},
    {"indent", filter_indent, 0, false, {"width", "first", "blank"}},
    {"int", filter_int, 0, false, {"default", "base"}},
    {"length", filter_length, 0, false, {NULL}},
    {"lower", filter_lower, 0, false, {NULL}},
    {"replace", filter_replace, 2, false, {"old", "new", "count"}},
    {"round", filter_round, 0, false, {"precision", "method"}},
    {"safe", filter_safe, 0, false, {NULL}},
    {"string", filter_string, 0, false, {NULL}},
    {"title", filter_title, 0, false, {NULL}},
    {"tojson", filter_tojson, 0, false, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"trim", filter_trim, 0, false, {"chars"}},
    {"truncate", filter_truncate, 0, false, {"length", "killwords", "end", "leeway"}},
    {"upper", filter_upper, 0, false, {NULL}},
    {"urlencode", filter_urlencode, 0, false, {NULL}},
    {"wordcount", filter_wordcount, 0, false, {NULL}},
};

const struct native_table template_filters = {filters, COUNT_OF(filters)};
