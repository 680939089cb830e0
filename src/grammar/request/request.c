/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of answers to expressions, by their kind. */
#include "grammar/request/request.h"

#include <string.h>

#include "grammar/ebnf_front.h"
#include "grammar/regex_front.h"
#include "grammar/request/tool_calls.h"
#include "grammar/schema/schema.h"

enum { BLANK_BEHIND_THINKING = 4 };

static struct schema_options schema_options_of(const struct structured_request *request)
{
    return (struct schema_options){.any_white_space = request->any_white_space,
                                   .closed_objects = request->closed_objects};
}

static status add_schema(struct grammar_expressions *expressions,
                         const struct structured_request *request, grammar_node *out)
{
    static const char any_object[] = "{\"type\":\"object\"}";
    const struct schema_options options = schema_options_of(request);
    return request->kind == STRUCTURED_JSON_OBJECT
               ? schema_compile_text(expressions, any_object, strlen(any_object), &options, out)
               : schema_compile_text(expressions, request->text, request->text_length, &options,
                                     out);
}

static status add_choices(struct grammar_expressions *expressions, const struct json *list,
                          struct arena *arena, grammar_node *out)
{
    grammar_node *ways = arena_allocate_array(arena, list->length + 1, sizeof *ways);
    if (ways == NULL || list->type != JSON_ARRAY) {
        return status_fail(ways == NULL ? STATUS_NO_MEMORY : STATUS_INVALID,
                           ways == NULL ? "out of memory for choices" : "expected a list");
    }
    for (size_t i = 0; i < list->length; i++) {
        const char *text = json_string(list->items[i]);
        if (text == NULL) {
            return status_fail(STATUS_INVALID, "expected a list of strings");
        }
        TRY(grammar_literal(expressions, text, list->items[i]->length, &ways[i]));
    }
    return grammar_choice(expressions, ways, list->length, out);
}

static status add_choice(struct grammar_expressions *expressions,
                         const struct structured_request *request, grammar_node *out)
{
    struct arena arena = {0};
    struct json *list;
    status s = json_parse(request->text, request->text_length, &arena, &list);
    if (s == STATUS_OK) {
        s = add_choices(expressions, list, &arena, out);
    }
    arena_destroy(&arena);
    return s;
}

static status add_regex(struct grammar_expressions *expressions,
                        const struct structured_request *request, grammar_node *out)
{
    const struct grammar_regex_options options = {.dialect = GRAMMAR_REGEX_PYTHON};
    return grammar_regex(expressions, request->text, request->text_length, options, out);
}

static status add_form(struct grammar_expressions *expressions,
                       const struct structured_request *request, const struct answer_style *style,
                       grammar_node *out)
{
    const struct schema_options options = schema_options_of(request);
    switch (request->kind) {
    case STRUCTURED_JSON_OBJECT:
    case STRUCTURED_JSON_SCHEMA:
        return add_schema(expressions, request, out);
    case STRUCTURED_REGEX:
        return add_regex(expressions, request, out);
    case STRUCTURED_CHOICE:
        return add_choice(expressions, request, out);
    case STRUCTURED_GRAMMAR:
        return grammar_ebnf(expressions, request->text, request->text_length, out);
    case STRUCTURED_TOOL_CALL:
        return tool_calls_node(expressions, request,
                               &(struct call_style){style->calls, style->tokenizer}, &options, out);
    case STRUCTURED_NONE:
        break;
    }
    return status_fail(STATUS_INTERNAL, "no form to compile");
}

/* Text without the end marker, the marker, and some white space. */
static status add_thinking(struct grammar_expressions *expressions,
                           const struct reasoning_form *reasoning, grammar_node *out)
{
    static const struct code_point_range all = {0, 0x10FFFF};
    static const struct code_point_range blank[] = {{' ', ' '}, {'\n', '\n'}};
    grammar_node any, parts[3];
    TRY(grammar_code_points(expressions, &all, 1, &any));
    TRY(grammar_repeat(expressions, any, 0, GRAMMAR_UNBOUNDED, &any));
    TRY(grammar_literal(expressions, reasoning->end, strlen(reasoning->end), &parts[1]));
    const grammar_node with_end[] = {any, parts[1], any};
    TRY(grammar_sequence(expressions, with_end, 3, &parts[0]));
    TRY(grammar_without(expressions, any, parts[0], &parts[0]));
    TRY(grammar_code_points(expressions, blank, 2, &parts[2]));
    TRY(grammar_repeat(expressions, parts[2], 0, BLANK_BEHIND_THINKING, &parts[2]));
    return grammar_sequence(expressions, parts, 3, out);
}

/* The form behind what is thought. */
static status put_thinking(struct grammar_expressions *expressions,
                           const struct reasoning_form *reasoning, enum thinking thinking,
                           grammar_node *form)
{
    grammar_node parts[2], begin[2];
    if (reasoning == NULL || thinking == THINKING_NONE) {
        return STATUS_OK;
    }
    TRY(add_thinking(expressions, reasoning, &parts[0]));
    parts[1] = *form;
    if (thinking == THINKING_OPTIONAL) {
        TRY(grammar_literal(expressions, reasoning->begin, strlen(reasoning->begin), &begin[0]));
        begin[1] = parts[0];
        TRY(grammar_sequence(expressions, begin, 2, &parts[0]));
        TRY(grammar_repeat(expressions, parts[0], 0, 1, &parts[0]));
    }
    return grammar_sequence(expressions, parts, 2, form);
}

status structured_compile(const struct structured_request *request,
                          const struct answer_style *style, enum thinking thinking,
                          struct grammar **out)
{
    const struct grammar_limits limits = {.seconds = request->compile_limit};
    struct grammar_expressions *expressions;
    grammar_node root;
    TRY(grammar_expressions_create(&limits, &expressions));
    status s = add_form(expressions, request, style, &root);
    if (s == STATUS_OK) {
        s = put_thinking(expressions, style->reasoning, thinking, &root);
    }
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, &limits, out);
    }
    grammar_expressions_destroy(expressions);
    return status_context(s, "%s", structured_kind_name(request->kind));
}
