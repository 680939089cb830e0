/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates: creating them, rendering them, and the bounds of a rendering. */
#include <stdio.h>
#include <stdlib.h>

#include "sluice/chat_template.h"
#include "text/template/tree.h"

/* ---- The rendering's ground ---- */

status template_fail(const char *format, ...)
{
    struct buffer text = {0};
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    status s = length < 0 ? STATUS_INTERNAL : buffer_reserve(&text, (size_t)length);
    if (s == STATUS_OK) {
        vsnprintf(text.data, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(arguments);
    s = status_fail(STATUS_INVALID, "%s", s == STATUS_OK ? text.data : "out of memory");
    buffer_destroy(&text);
    return s;
}

status template_charge(struct render *r, size_t steps)
{
    r->steps += steps;
    return r->steps <= TEMPLATE_MAX_STEPS
               ? STATUS_OK
               : status_fail(STATUS_LIMIT, "more than %d steps", (int)TEMPLATE_MAX_STEPS);
}

status template_enter(struct render *r)
{
    return ++r->depth <= TEMPLATE_MAX_DEPTH
               ? STATUS_OK
               : status_fail(STATUS_LIMIT, "nested more than %d levels deep",
                             (int)TEMPLATE_MAX_DEPTH);
}

status template_allocate(struct render *r, size_t count, size_t size, void *out)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > TEMPLATE_MAX_MEMORY_BYTES ||
        r->arena.used_bytes + bytes > TEMPLATE_MAX_MEMORY_BYTES) {
        return status_fail(STATUS_LIMIT, "more than %d bytes of values",
                           (int)TEMPLATE_MAX_MEMORY_BYTES);
    }
    void *memory = arena_allocate(&r->arena, bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu bytes", bytes);
    }
    memcpy(out, &memory, sizeof memory);
    return STATUS_OK;
}

status template_write(struct render *r, const char *text, size_t length)
{
    if (length > TEMPLATE_MAX_OUTPUT_BYTES || r->out.length + length > TEMPLATE_MAX_OUTPUT_BYTES) {
        return status_fail(STATUS_LIMIT, "a text of more than %d bytes",
                           (int)TEMPLATE_MAX_OUTPUT_BYTES);
    }
    TRY(template_charge(r, length / 64));
    return buffer_append(&r->out, text, length);
}

status template_write_text(struct render *r, const char *text)
{
    return template_write(r, text, strlen(text));
}

status template_write_repeated(struct render *r, char byte, size_t count)
{
    char block[256];
    memset(block, byte, sizeof block);
    while (count > 0) {
        size_t length = count < sizeof block ? count : sizeof block;
        TRY(template_write(r, block, length));
        count -= length;
    }
    return STATUS_OK;
}

status template_write_character(struct render *r, int32_t code_point)
{
    char bytes[4];
    return template_write(r, bytes, utf8_encode(code_point, bytes));
}

status template_take(struct render *r, size_t mark, struct value *out)
{
    TRY(template_string_copy(r, r->out.length > mark ? r->out.data + mark : "",
                             r->out.length - mark, out));
    r->out.length = mark;
    return STATUS_OK;
}

/* ---- Creating ---- */

static status parse_text(struct chat_template *template_, const char *text, size_t length)
{
    struct template_tokens tokens = {0};
    size_t bad_offset;
    if (length > TEMPLATE_MAX_TEXT_BYTES) {
        return status_fail(STATUS_LIMIT, "a template of more than %d bytes",
                           (int)TEMPLATE_MAX_TEXT_BYTES);
    }
    if (!utf8_valid(text, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "byte %zu: not UTF-8", bad_offset);
    }
    status s = template_lex(text, length, &template_->arena, &tokens);
    s = s != STATUS_OK ? s : template_parse(template_, &tokens);
    free(tokens.tokens);
    return s != STATUS_OK ? s : template_analyze(template_);
}

status chat_template_create(const char *name, const char *text, size_t length,
                            struct chat_template **out)
{
    *out = NULL;
    struct chat_template *template_ = calloc(1, sizeof *template_);
    if (template_ == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for a template", name);
    }
    template_->name = arena_copy(&template_->arena, name, strlen(name));
    status s = template_->name == NULL
                   ? status_fail(STATUS_NO_MEMORY, "out of memory for a template")
                   : parse_text(template_, text, length);
    if (s != STATUS_OK) {
        chat_template_destroy(template_);
        return status_context(s, "%s", name);
    }
    *out = template_;
    return STATUS_OK;
}

void chat_template_destroy(struct chat_template *template_)
{
    if (template_ != NULL) {
        arena_destroy(&template_->arena);
        free(template_);
    }
}

size_t chat_template_bytes(const struct chat_template *template_)
{
    return sizeof *template_ + template_->arena.used_bytes;
}

/* ---- Rendering ---- */

/* What a name means before the template has set anything, VALUE_ABSENT if nothing. */
static status initial_value(struct render *r, const struct chat_variables *variables,
                            const struct name *name, struct value *out)
{
    const struct {
        const char *name;
        const struct json *json;
    } trees[] = {{"messages", variables->messages},
                 {"tools", variables->tools},
                 {"documents", variables->documents}};
    const struct {
        const char *name, *text;
    } tokens[] = {{"bos_token", variables->bos_token},
                  {"eos_token", variables->eos_token},
                  {"pad_token", variables->pad_token},
                  {"unk_token", variables->unk_token},
                  {"reasoning_effort", variables->reasoning_effort}};
    const struct value key = value_string(&name->string);
    const struct json *extra =
        variables->extra != NULL && variables->extra->type == JSON_OBJECT ? variables->extra : NULL;
    *out = (struct value){0};
    for (size_t i = 0; extra != NULL && i < extra->length; i++) {
        if (extra->members[i].key_length == name->string.length &&
            memcmp(extra->members[i].key, name->string.text, name->string.length) == 0) {
            return template_from_json(r, extra->members[i].value, out);
        }
    }
    if (template_is_text(&key, "messages") && !variables->as_given) {
        return template_from_messages(r, variables->messages, out);
    }
    for (size_t i = 0; i < COUNT_OF(trees); i++) {
        if (template_is_text(&key, trees[i].name)) {
            *out = value_none();
            return trees[i].json == NULL ? STATUS_OK : template_from_json(r, trees[i].json, out);
        }
    }
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        if (template_is_text(&key, tokens[i].name)) {
            return tokens[i].text == NULL
                       ? STATUS_OK
                       : template_string_copy(r, tokens[i].text, strlen(tokens[i].text), out);
        }
    }
    if (template_is_text(&key, "add_generation_prompt")) {
        *out = value_boolean(variables->add_generation_prompt);
        return STATUS_OK;
    }
    const struct native *function = template_native_find(&template_functions, &name->string);
    if (function != NULL) {
        *out = (struct value){.type = VALUE_FUNCTION, .function = function};
    }
    return STATUS_OK;
}

static status render_body(struct render *r, const struct chat_variables *variables)
{
    const struct chat_template *template_ = r->template_;
    enum flow flow = FLOW_NEXT;
    TRY(template_allocate(r, template_->name_count, sizeof *r->root_values, &r->root_values));
    for (size_t i = 0; i < TEMPLATE_NAME_BUCKETS; i++) {
        for (const struct name *name = template_->buckets[i]; name != NULL; name = name->next) {
            TRY(initial_value(r, variables, name, &r->root_values[name->index]));
        }
    }
    return template_execute(r, &template_->body, &r->root, &flow);
}

/* The text, or why there is none; *again where the arguments of tool calls may be to blame. */
static status render_once(const struct chat_template *template_,
                          const struct chat_variables *variables, bool arguments_stay,
                          struct buffer *out, bool *again)
{
    struct render r = {
        .template_ = template_, .now = variables->now, .arguments_stay = arguments_stay};
    status s = render_body(&r, variables);
    *again = (s == STATUS_INVALID || s == STATUS_UNSUPPORTED) && r.arguments_read;
    if (s != STATUS_OK && !r.raised) {
        s = r.error_line > 0 ? status_context(s, "%s: line %d", template_->name, r.error_line)
                             : status_context(s, "%s", template_->name);
    }
    s = s != STATUS_OK ? s : buffer_append(out, r.out.data, r.out.length);
    buffer_destroy(&r.out);
    arena_destroy(&r.arena);
    return s;
}

/* A template may take the arguments of tool calls for texts in a way that no object can follow
 * (arguments[1:-1]): where it fails with objects it is given the texts. If that fails as well, the
 * first failure is the one to tell. */
status chat_template_render(const struct chat_template *template_,
                            const struct chat_variables *variables, struct buffer *out)
{
    bool again;
    if (variables->continue_final_message) {
        return template_render_continued(template_, template_->name, variables, out);
    }
    status s = render_once(template_, variables, template_->uses.arguments_as_text, out, &again);
    if (s == STATUS_OK || !again) {
        return s;
    }
    char *message = strdup(status_message());
    if (message == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory", template_->name);
    }
    if (render_once(template_, variables, true, out, &again) == STATUS_OK) {
        s = STATUS_OK;
    } else {
        s = status_fail(s, "%s", message);
    }
    free(message);
    return s;
}
