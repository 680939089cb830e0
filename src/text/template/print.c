/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text: str(), repr() and JSON as Python writes them, and HTML escapes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/template/tree.h"

/* Python's repr of a float: the fewest digits that read back as the same number, in scientific form
 * below 1e-4 and from 1e16 on. */
void template_float_text(double real, char text[TEMPLATE_FLOAT_BYTES])
{
    if (isnan(real) || isinf(real)) {
        snprintf(text, TEMPLATE_FLOAT_BYTES, "%s", isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    char scientific[32];
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(scientific, sizeof scientific, "%.*e", precision, real);
        if (strtod(scientific, NULL) == real) {
            break;
        }
    }
    char *mark = strchr(scientific, 'e');
    int exponent = (int)strtol(mark + 1, NULL, 10);
    *mark = '\0';
    bool negative = scientific[0] == '-';
    char digits[24];
    int count = 0;
    for (const char *c = scientific + negative; *c != '\0'; c++) {
        if (*c != '.') {
            digits[count++] = *c;
        }
    }
    digits[count] = '\0';
    const char *sign = negative ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, TEMPLATE_FLOAT_BYTES, "%s%c%s%se%c%02d", sign, digits[0],
                 count > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        snprintf(text, TEMPLATE_FLOAT_BYTES, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    } else if (count <= exponent + 1) {
        snprintf(text, TEMPLATE_FLOAT_BYTES, "%s%s%.*s.0", sign, digits, exponent + 1 - count,
                 "0000000000000000");
    } else {
        snprintf(text, TEMPLATE_FLOAT_BYTES, "%s%.*s.%s", sign, exponent + 1, digits,
                 digits + exponent + 1);
    }
}

static status write_format(struct render *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static status write_format(struct render *r, const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return template_write_text(r, text);
}

static status write_string_repr(struct render *r, const struct string *string)
{
    static const char escapes[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\\', '\\'}};
    char quote = memchr(string->text, '\'', string->length) != NULL &&
                         memchr(string->text, '"', string->length) == NULL
                     ? '"'
                     : '\'';
    size_t size;
    TRY(template_write_text(r, string->markup ? "Markup(" : ""));
    TRY(template_write(r, &quote, 1));
    for (size_t offset = 0; offset < string->length; offset += size) {
        const char *text = string->text + offset;
        int32_t c = utf8_decode(text, string->length - offset, &size);
        char escape = c == quote ? quote : '\0';
        for (size_t i = 0; i < COUNT_OF(escapes); i++) {
            escape = c == escapes[i][0] ? escapes[i][1] : escape;
        }
        if (escape != '\0') {
            TRY(write_format(r, "\\%c", escape));
        } else if (template_is_printable(c)) {
            TRY(template_write(r, text, size));
        } else {
            TRY(write_format(r,
                             c < 0x100     ? "\\x%02x"
                             : c < 0x10000 ? "\\u%04x"
                                           : "\\U%08x",
                             (unsigned)c));
        }
    }
    TRY(template_write(r, &quote, 1));
    return template_write_text(r, string->markup ? ")" : "");
}

static status write_items(struct render *r, const struct value *items, size_t count,
                          const char *opening, const char *closing)
{
    TRY(template_write_text(r, opening));
    for (size_t i = 0; i < count; i++) {
        TRY(template_write_text(r, i == 0 ? "" : ", "));
        TRY(template_write_repr(r, &items[i]));
    }
    return template_write_text(r, closing);
}

static status write_dict(struct render *r, const struct dict *dict)
{
    TRY(template_write_text(r, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        TRY(template_write_text(r, i == 0 ? "" : ", "));
        TRY(template_write_repr(r, &dict->keys[i]));
        TRY(template_write_text(r, ": "));
        TRY(template_write_repr(r, &dict->values[i]));
    }
    return template_write_text(r, "}");
}

static status write_view(struct render *r, const struct value *value)
{
    struct value *items;
    size_t count;
    TRY(template_items(r, value, &items, &count));
    TRY(template_write_text(r, template_type_name(value)));
    return write_items(r, items, count, "([", "])");
}

static status write_range(struct render *r, const struct range *range)
{
    TRY(write_format(r, "range(%lld, %lld", (long long)range->start, (long long)range->stop));
    return range->step == 1 ? template_write_text(r, ")")
                            : write_format(r, ", %lld)", (long long)range->step);
}

/* What has an address in Python has none here: nobody can depend on it. */
static status write_object(struct render *r, const struct value *value)
{
    const struct macro *macro = value->macro;
    switch (value->type) {
    case VALUE_NAMESPACE:
        TRY(template_write_text(r, "<Namespace "));
        TRY(write_dict(r, value->dict));
        return template_write_text(r, ">");
    case VALUE_MACRO:
        if (macro->node->macro.name == NULL) {
            return template_write_text(r, "<Macro anonymous>");
        }
        TRY(template_write_text(r, "<Macro "));
        TRY(write_string_repr(r, &macro->node->macro.name->string));
        return template_write_text(r, ">");
    default:
        return write_format(r, "<%s object>", template_type_name(value));
    }
}

static status write_compound_repr(struct render *r, const struct value *value)
{
    switch (value->type) {
    case VALUE_LIST:
        return write_items(r, value->list->items, value->list->count, "[", "]");
    case VALUE_TUPLE:
        return write_items(r, value->list->items, value->list->count, "(",
                           value->list->count == 1 ? ",)" : ")");
    case VALUE_DICT:
        return write_dict(r, value->dict);
    case VALUE_VIEW:
        return write_view(r, value);
    case VALUE_RANGE:
        return write_range(r, value->range);
    default:
        return write_object(r, value);
    }
}

status template_write_repr(struct render *r, const struct value *value)
{
    char text[TEMPLATE_FLOAT_BYTES];
    TRY(template_charge(r, 1));
    switch (value->type) {
    case VALUE_UNDEFINED:
        return template_write_text(r, "Undefined");
    case VALUE_ABSENT:
    case VALUE_NONE:
        return template_write_text(r, "None");
    case VALUE_BOOLEAN:
        return template_write_text(r, value->boolean ? "True" : "False");
    case VALUE_INTEGER:
        return write_format(r, "%lld", (long long)value->integer);
    case VALUE_BIG_INTEGER:
        return template_write(r, value->string->text, value->string->length);
    case VALUE_FLOAT:
        template_float_text(value->real, text);
        return template_write_text(r, text);
    case VALUE_STRING:
        return write_string_repr(r, value->string);
    default:
        if (value->type == VALUE_DICT && value->dict->written != NULL && value->dict->count > 0) {
            return write_string_repr(r, value->dict->written); /* as what it came as */
        }
        TRY(template_enter(r));
        TRY(write_compound_repr(r, value));
        r->depth--;
        return STATUS_OK;
    }
}

status template_write_value(struct render *r, const struct value *value)
{
    const struct string *text = template_text_of(value);
    if (text != NULL) {
        return template_write(r, text->text, text->length);
    }
    switch (value->type) {
    case VALUE_UNDEFINED:
        return STATUS_OK;
    default:
        return template_write_repr(r, value);
    }
}

status template_to_string(struct render *r, const struct value *value, struct value *out)
{
    if (value->type == VALUE_STRING) {
        *out = *value;
        return STATUS_OK;
    }
    size_t mark = r->out.length;
    TRY(template_write_value(r, value));
    return template_take(r, mark, out);
}

status template_write_escaped(struct render *r, const char *text, size_t length)
{
    static const struct {
        char byte;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        for (size_t j = 0; j < COUNT_OF(entities); j++) {
            if (text[i] == entities[j].byte) {
                TRY(template_write(r, text + start, i - start));
                TRY(template_write_text(r, entities[j].entity));
                start = i + 1;
            }
        }
    }
    return template_write(r, text + start, length - start);
}

/* ---- JSON as Python's json.dumps writes it ---- */

struct json_style {
    bool ensure_ascii, sort_keys;
    bool indented;
    struct value indent; /* what one level adds, a string */
    struct value item_separator, key_separator;
};

static status write_json_value(struct render *r, const struct json_style *style,
                               const struct value *value, size_t level);

static status write_json_escape(struct render *r, int32_t c)
{
    static const char short_forms[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
                                          {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};
    for (size_t i = 0; i < COUNT_OF(short_forms); i++) {
        if (c == short_forms[i][0]) {
            return write_format(r, "\\%c", short_forms[i][1]);
        }
    }
    if (c >= 0x10000) {
        return write_format(r, "\\u%04x\\u%04x", 0xD800u + ((unsigned)(c - 0x10000) >> 10),
                            0xDC00u + ((unsigned)c & 0x3FF));
    }
    return write_format(r, "\\u%04x", (unsigned)c);
}

static status write_json_string(struct render *r, const struct json_style *style,
                                const struct string *string)
{
    size_t size, start = 0;
    TRY(template_write_text(r, "\""));
    for (size_t offset = 0; offset < string->length; offset += size) {
        int32_t c = utf8_decode(string->text + offset, string->length - offset, &size);
        if (c == '"' || c == '\\' || c < 0x20 || (c >= 0x7F && style->ensure_ascii && c != 0x7F)) {
            TRY(template_write(r, string->text + start, offset - start));
            TRY(write_json_escape(r, c));
            start = offset + size;
        }
    }
    TRY(template_write(r, string->text + start, string->length - start));
    return template_write_text(r, "\"");
}

static status write_line_break(struct render *r, const struct json_style *style, size_t level)
{
    if (!style->indented) {
        return STATUS_OK;
    }
    TRY(template_write_text(r, "\n"));
    for (size_t i = 0; i < level; i++) {
        TRY(template_write_value(r, &style->indent));
    }
    return STATUS_OK;
}

static status write_json_list(struct render *r, const struct json_style *style,
                              const struct list *list, size_t level)
{
    if (list->count == 0) {
        return template_write_text(r, "[]");
    }
    TRY(template_write_text(r, "["));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) {
            TRY(template_write_value(r, &style->item_separator));
        }
        TRY(write_line_break(r, style, level + 1));
        TRY(write_json_value(r, style, &list->items[i], level + 1));
    }
    TRY(write_line_break(r, style, level));
    return template_write_text(r, "]");
}

static status write_json_number(struct render *r, double real)
{
    char text[TEMPLATE_FLOAT_BYTES];
    template_float_text(real, text);
    return template_write_text(r, isnan(real)   ? "NaN"
                                  : isinf(real) ? (real < 0 ? "-Infinity" : "Infinity")
                                                : text);
}

static status write_json_key(struct render *r, const struct json_style *style,
                             const struct value *key)
{
    switch (key->type) {
    case VALUE_STRING:
        return write_json_string(r, style, key->string);
    case VALUE_NONE:
    case VALUE_BOOLEAN:
    case VALUE_INTEGER:
    case VALUE_BIG_INTEGER:
    case VALUE_FLOAT:
        TRY(template_write_text(r, "\""));
        TRY(write_json_value(r, style, key, 0));
        return template_write_text(r, "\"");
    default:
        return template_fail("keys must be str, int, float, bool or None, not %s",
                             template_type_name(key));
    }
}

static status write_json_dict(struct render *r, const struct json_style *style,
                              const struct dict *dict, size_t level)
{
    if (dict->count == 0) {
        return template_write_text(r, "{}");
    }
    struct value *keys = dict->keys, *values = dict->values;
    if (style->sort_keys) {
        TRY(template_allocate(r, dict->count, sizeof *keys, &keys));
        TRY(template_allocate(r, dict->count, sizeof *values, &values));
        memcpy(keys, dict->keys, dict->count * sizeof *keys);
        memcpy(values, dict->values, dict->count * sizeof *values);
        TRY(template_sort(r, values, keys, dict->count, false));
    }
    TRY(template_write_text(r, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) {
            TRY(template_write_value(r, &style->item_separator));
        }
        TRY(write_line_break(r, style, level + 1));
        TRY(write_json_key(r, style, &keys[i]));
        TRY(template_write_value(r, &style->key_separator));
        TRY(write_json_value(r, style, &values[i], level + 1));
    }
    TRY(write_line_break(r, style, level));
    return template_write_text(r, "}");
}

static status write_json_value(struct render *r, const struct json_style *style,
                               const struct value *value, size_t level)
{
    TRY(template_charge(r, 1));
    TRY(template_enter(r));
    status s;
    switch (template_is_no_content(value) ? VALUE_NONE : value->type) {
    case VALUE_NONE:
        s = template_write_text(r, "null");
        break;
    case VALUE_BOOLEAN:
        s = template_write_text(r, value->boolean ? "true" : "false");
        break;
    case VALUE_INTEGER:
    case VALUE_BIG_INTEGER:
        s = template_write_repr(r, value);
        break;
    case VALUE_FLOAT:
        s = write_json_number(r, value->real);
        break;
    case VALUE_STRING:
        s = write_json_string(r, style, value->string);
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
        s = write_json_list(r, style, value->list, level);
        break;
    case VALUE_DICT:
        s = write_json_dict(r, style, value->dict, level);
        break;
    default: {
        /* Python names the class alone, without its module. */
        const char *name = template_type_name(value), *dot = strrchr(name, '.');
        s = template_fail("Object of type %s is not JSON serializable",
                          dot == NULL ? name : dot + 1);
        break;
    }
    }
    r->depth--;
    return s;
}

/* Parameters: ensure_ascii, indent, separators, sort_keys. */
status template_write_json(struct render *r, const struct call *bound)
{
    const struct value *indent = &bound->arguments[1], *separators = &bound->arguments[2];
    struct json_style style = {0};
    TRY(template_truth(r, &bound->arguments[0], &style.ensure_ascii));
    TRY(template_truth(r, &bound->arguments[3], &style.sort_keys));
    style.indented = value_is_given(indent) && indent->type != VALUE_NONE;
    if (style.indented && indent->type != VALUE_STRING) {
        int64_t width;
        size_t mark = r->out.length;
        if (!template_is_integral(indent, &width)) {
            return template_fail("can't multiply sequence by non-int of type '%s'",
                                 template_type_name(indent));
        }
        TRY(template_write_repeated(r, ' ', width > 0 ? (size_t)width : 0));
        TRY(template_take(r, mark, &style.indent));
    } else {
        style.indent = *indent;
    }
    if (value_is_given(separators) && separators->type != VALUE_NONE) {
        struct value *items;
        size_t count;
        TRY(template_items(r, separators, &items, &count));
        if (count != 2 || items[0].type != VALUE_STRING || items[1].type != VALUE_STRING) {
            return template_fail("tojson: separators must be two strings");
        }
        style.item_separator = items[0];
        style.key_separator = items[1];
    } else {
        TRY(template_string_view(r, ", ", style.indented ? 1 : 2, &style.item_separator));
        TRY(template_string_view(r, ": ", 2, &style.key_separator));
    }
    return write_json_value(r, &style, &bound->self, 0);
}
