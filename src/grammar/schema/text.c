/* SPDX-License-Identifier: Apache-2.0 */
/* What texts may be: lengths, patterns, formats. */
#include <string.h>

#include "grammar/regex_front.h"
#include "grammar/schema/compiler.h"
#include "grammar/schema/formats.h"

status any_content(struct schema_compiler *self, const struct length_range *length,
                   grammar_node *out)
{
    static const struct code_point_range all = {0, 0x10FFFF};
    grammar_node character;
    TRY(grammar_code_points(self->expressions, &all, 1, &character));
    return grammar_repeat(self->expressions, character, length->least, length->most, out);
}

status pattern_content(struct schema_compiler *self, const struct json *schema, const char *pattern,
                       size_t length, grammar_node *out)
{
    const struct grammar_regex_options options = {.dialect = GRAMMAR_REGEX_ECMA, .is_search = true};
    status s = grammar_regex(self->expressions, pattern, length, options, out);
    return s == STATUS_OK ? s
                          : schema_context(self->document, schema, NULL,
                                           status_context(s, "pattern \"%.60s\"", pattern));
}

status format_content(struct schema_compiler *self, const struct json *schema, const char *name,
                      grammar_node *out, bool *found)
{
    const struct grammar_regex_options options = {.dialect = GRAMMAR_REGEX_ECMA};
    const struct text_format *format = text_format_find(name);
    if (format == NULL) {
        return schema_fail(self->document, schema, "format", STATUS_UNSUPPORTED,
                           "%.60s is not supported", name);
    }
    *found = format->pattern != NULL;
    return !*found ? STATUS_OK
                   : schema_context(self->document, schema, "format",
                                    grammar_regex(self->expressions, format->pattern,
                                                  strlen(format->pattern), options, out));
}

static status join(struct schema_compiler *self, grammar_node node, grammar_node *content,
                   bool *is_any)
{
    if (!*is_any) {
        return grammar_both(self->expressions, *content, node, content);
    }
    *content = node;
    *is_any = false;
    return STATUS_OK;
}

static status join_schema(struct schema_compiler *self, const struct json *schema,
                          grammar_node *content, bool *is_any)
{
    const struct json *pattern = json_get(schema, "pattern");
    const struct json *format = json_get(schema, "format");
    grammar_node node;
    bool found;
    if ((pattern != NULL && pattern->type != JSON_STRING) ||
        (format != NULL && format->type != JSON_STRING)) {
        return schema_fail(self->document, schema, NULL, STATUS_INVALID,
                           "pattern and format: expected a string");
    }
    if (pattern != NULL) {
        TRY(pattern_content(self, schema, pattern->text, pattern->length, &node));
        TRY(join(self, node, content, is_any));
    }
    if (format != NULL) {
        TRY(format_content(self, schema, format->text, &node, &found));
        TRY(found ? join(self, node, content, is_any) : STATUS_OK);
    }
    return STATUS_OK;
}

status text_content(struct schema_compiler *self, const struct conjunction *set,
                    const struct length_range *length, grammar_node *out, bool *is_any)
{
    grammar_node node;
    *is_any = true;
    for (int i = 0; i < set->count; i++) {
        TRY(join_schema(self, set->elements[i].schema, out, is_any));
    }
    if (length->least > 0 || length->most != GRAMMAR_UNBOUNDED) {
        TRY(any_content(self, length, &node));
        return join(self, node, out, is_any);
    }
    return *is_any ? any_content(self, length, out) : STATUS_OK;
}

/* The one format that says what the texts of a conjunction are; NULL where there is more to them.
 */
static const struct text_format *only_format(const struct conjunction *set,
                                             const struct length_range *length)
{
    const struct text_format *only = NULL;
    int formats = 0;
    for (int i = 0; i < set->count; i++) {
        const struct json *format = json_get(set->elements[i].schema, "format");
        const struct text_format *found =
            format != NULL && format->type == JSON_STRING ? text_format_find(format->text) : NULL;
        const bool has_more = json_get(set->elements[i].schema, "pattern") != NULL ||
                              (format != NULL && found == NULL);
        formats += has_more ? 2 : 0;
        if (found != NULL && found->pattern != NULL) {
            only = found;
            formats++;
        }
    }
    const bool is_any_length = length->least == 0 && length->most == GRAMMAR_UNBOUNDED;
    return formats == 1 && is_any_length ? only : NULL;
}

status text_node(struct schema_compiler *self, const struct conjunction *set,
                 const struct length_range *length, grammar_node *out)
{
    const struct text_format *format = only_format(set, length);
    bool is_any;
    if (format != NULL) {
        return text_format_strings(format, self->expressions, out);
    }
    TRY(text_content(self, set, length, out, &is_any));
    TRY(grammar_json_string_of(self->expressions, *out, out));
    return grammar_split_long_text(self->expressions, *out, out);
}

/* ---- The texts among a conjunction's values ---- */

static status listed_content(struct schema_compiler *self, const struct conjunction *set,
                             const struct json *values, bool single, grammar_node *out)
{
    const size_t count = single ? 1 : values->type == JSON_ARRAY ? values->length : 0;
    grammar_node *nodes = arena_allocate_array(self->arena, count + 1, sizeof *nodes);
    size_t used = 0;
    if (nodes == NULL) {
        return schema_no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        const struct json *value = single ? values : values->items[i];
        bool fits = false;
        if (value->type == JSON_STRING) {
            TRY(conjunction_accepts(self, set, value, &fits));
        }
        if (fits) {
            TRY(grammar_literal(self->expressions, value->text, value->length, &nodes[used++]));
        }
    }
    return grammar_choice(self->expressions, nodes, used, out);
}

static status chosen_content(struct schema_compiler *self, const struct conjunction *set, int open,
                             bool is_one, grammar_node *out)
{
    const struct json *list;
    TRY(schema_list(self, set->elements[open].schema, is_one ? "oneOf" : "anyOf", &list));
    if (is_one) {
        TRY(conjunction_check_disjoint(self, set, open));
    }
    TRY(grammar_choice(self->expressions, NULL, 0, out));
    for (size_t i = 0; i < list->length; i++) {
        struct conjunction chosen;
        grammar_node nodes[2] = {*out, 0};
        TRY(conjunction_choose(self, set, open, is_one, i, &chosen));
        TRY(conjunction_content(self, &chosen, &nodes[1]));
        TRY(grammar_choice(self->expressions, nodes, 2, out));
    }
    return STATUS_OK;
}

static status plain_content(struct schema_compiler *self, const struct conjunction *set,
                            grammar_node *out)
{
    struct schema_shape shape;
    bool is_any;
    TRY(shape_read(self, set, &shape));
    return (shape.types & TYPE_STRING) != 0 ? text_content(self, set, &shape.text, out, &is_any)
                                            : grammar_choice(self->expressions, NULL, 0, out);
}

status conjunction_content(struct schema_compiler *self, const struct conjunction *set,
                           grammar_node *out)
{
    bool single, is_one;
    const struct json *values = conjunction_values(set, &single);
    const int open = conjunction_open(set, &is_one);
    if (set->is_never) {
        return grammar_choice(self->expressions, NULL, 0, out);
    }
    TRY(compiler_enter(self));
    status s = values != NULL ? listed_content(self, set, values, single, out)
               : open >= 0    ? chosen_content(self, set, open, is_one, out)
                              : plain_content(self, set, out);
    compiler_leave(self);
    return s;
}
