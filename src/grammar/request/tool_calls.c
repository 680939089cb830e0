/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls, written as src/text/answer reads them. Where the vocabulary has a marker as a special
 * token it is that token, which no other ones spell; else it is a text. */
#include "grammar/request/tool_calls.h"

#include <stdio.h>
#include <string.h>

#include "grammar/schema/schema.h"

struct calls {
    struct grammar_expressions *expressions;
    const struct tool_call_form *form;
    const struct schema_options *options;
    const struct tokenizer *tokenizer; /* NULL: no special tokens */
    const char *function;              /* the only one, or NULL */
};

/* The special token whose name stands at the beginning of a text, of several the longest; -1. */
static int32_t special_at(const struct calls *self, const char *text, size_t *length)
{
    char name[64];
    size_t most = strnlen(text, sizeof name - 1);
    for (*length = self->tokenizer != NULL ? most : 0; *length > 0; (*length)--) {
        memcpy(name, text, *length);
        name[*length] = '\0';
        const int32_t id = tokenizer_token_id(self->tokenizer, name);
        if (id >= 0 && tokenizer_is_special(self->tokenizer, id)) {
            return id;
        }
    }
    return -1;
}

/* A text of the form, in which the names of special tokens are these. */
static status append_marked(const struct calls *self, const char *text, struct buffer *out)
{
    while (*text != '\0') {
        char special[GRAMMAR_SPECIAL_BYTES];
        size_t length;
        const int32_t id = special_at(self, text, &length);
        if (id >= 0) {
            grammar_special_bytes(id, special);
            TRY(buffer_append(out, special, sizeof special));
        } else {
            TRY(buffer_append_byte(out, *text));
            length = 1;
        }
        text += length;
    }
    return STATUS_OK;
}

static status add_text(const struct calls *self, const char *text, grammar_node *out)
{
    struct buffer marked = {0};
    status s = append_marked(self, text, &marked);
    if (s == STATUS_OK) {
        s = grammar_literal(self->expressions, marked.data != NULL ? marked.data : "",
                            marked.length, out);
    }
    buffer_destroy(&marked);
    return s;
}

/* `before` and the name, as a JSON string where it stands in JSON, and `behind`. */
static status add_name(const struct calls *self, const char *before, const struct json *name,
                       const char *behind, grammar_node *out)
{
    struct buffer text = {0};
    status s = append_marked(self, before, &text);
    if (s == STATUS_OK) {
        s = self->form->name_end == NULL ? json_write_string(name->text, name->length, &text)
                                         : buffer_append(&text, name->text, name->length);
    }
    if (s == STATUS_OK) {
        s = append_marked(self, behind, &text);
    }
    if (s == STATUS_OK) {
        s = grammar_literal(self->expressions, text.data, text.length, out);
    }
    buffer_destroy(&text);
    return s;
}

static status add_arguments(const struct calls *self, const struct json *function,
                            grammar_node *out)
{
    static const char none[] = "{\"type\":\"object\",\"additionalProperties\":false}";
    const struct json *parameters = json_get(function, "parameters");
    return parameters != NULL && parameters->type != JSON_NULL
               ? schema_compile(self->expressions, parameters, self->options, out)
               : schema_compile_text(self->expressions, none, strlen(none), self->options, out);
}

static status add_call(const struct calls *self, const struct json *function,
                       const struct json *name, grammar_node *out)
{
    const struct tool_call_form *form = self->form;
    grammar_node parts[4];
    char behind[64];
    snprintf(behind, sizeof behind, ", \"%s\": ", form->name_end == NULL ? form->arguments : "");
    const bool is_json = form->name_end == NULL;
    TRY(add_text(self, form->call, &parts[0]));
    TRY(add_name(self, is_json ? "{\"name\": " : "", name, is_json ? behind : form->name_end,
                 &parts[1]));
    TRY(add_arguments(self, function, &parts[2]));
    char end[64];
    snprintf(end, sizeof end, "%s%s", is_json ? "}" : "", form->call_end);
    TRY(add_text(self, end, &parts[3]));
    return grammar_sequence(self->expressions, parts, 4, out);
}

/* A call of any of the tools that may be called. */
static status add_any(const struct calls *self, const struct json *tools, struct arena *arena,
                      grammar_node *out)
{
    grammar_node *ways = arena_allocate_array(arena, tools->length + 1, sizeof *ways);
    size_t count = 0;
    if (ways == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for tools");
    }
    for (size_t i = 0; tools->type == JSON_ARRAY && i < tools->length; i++) {
        const struct json *function = json_get(tools->items[i], "function");
        function = function != NULL ? function : tools->items[i];
        const struct json *name = json_get(function, "name");
        if (json_string(name) == NULL || name->length == 0) {
            return status_fail(STATUS_INVALID, "tools[%zu]: a function without a name", i);
        }
        if (self->function != NULL && !json_is_string(name, self->function)) {
            continue;
        }
        TRY(status_context(add_call(self, function, name, &ways[count++]),
                           "tools[%zu].function.parameters", i));
    }
    return grammar_choice(self->expressions, ways, count, out);
}

/* The first, and up to so many others. */
static status add_others(const struct calls *self, grammar_node call, grammar_node *out)
{
    grammar_node parts[2], more[2];
    parts[0] = call;
    more[1] = call;
    TRY(add_text(self, self->form->between, &more[0]));
    TRY(grammar_sequence(self->expressions, more, 2, &parts[1]));
    TRY(grammar_repeat(self->expressions, parts[1], 0,
                       self->function != NULL ? 0 : TOOL_CALLS_MOST - 1, &parts[1]));
    return grammar_sequence(self->expressions, parts, 2, out);
}

static status add_all(const struct calls *self, const struct json *tools, struct arena *arena,
                      grammar_node *out)
{
    const bool is_list = self->form->is_list;
    grammar_node call, parts[5];
    TRY(add_any(self, tools, arena, &call));
    TRY(add_text(self, self->form->open, &parts[0]));
    TRY(add_text(self, is_list ? "[" : "", &parts[1]));
    TRY(add_others(self, call, &parts[2]));
    TRY(add_text(self, is_list ? "]" : "", &parts[3]));
    TRY(add_text(self, self->form->close, &parts[4]));
    return grammar_sequence(self->expressions, parts, 5, out);
}

status tool_calls_node(struct grammar_expressions *expressions,
                       const struct structured_request *request, const struct call_style *style,
                       const struct schema_options *options, grammar_node *out)
{
    const struct tool_call_form *form = style->form;
    const struct calls calls = {.expressions = expressions,
                                .form = form,
                                .options = options,
                                .tokenizer = style->tokenizer,
                                .function = request->function};
    struct arena arena = {0};
    struct json *tools;
    if (form == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "the chat template calls tools in no form that is known; name one as "
                           "model.tool_calls");
    }
    status s = json_parse(request->text, request->text_length, &arena, &tools);
    if (s == STATUS_OK) {
        s = add_all(&calls, tools, &arena, out);
    }
    arena_destroy(&arena);
    return s;
}
