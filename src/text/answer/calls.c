/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls out of a text, by the table of forms. What models write is tried, not trusted: white
 * space between markers may differ, and anything else that does makes it plain text. */
#include "text/answer/calls.h"

#include <string.h>

struct call_cursor {
    const char *at, *end;
};

static void skip_blank(struct call_cursor *cursor)
{
    while (cursor->at < cursor->end && strchr(" \n\r\t", *cursor->at) != NULL) {
        cursor->at++;
    }
}

/* A marker without the white space around it, which models leave out or add. */
static struct text_span core_of(const char *marker)
{
    struct text_span core = {marker, strlen(marker)};
    while (core.length > 0 && strchr(" \n", core.data[0]) != NULL) {
        core.data++;
        core.length--;
    }
    while (core.length > 0 && strchr(" \n", core.data[core.length - 1]) != NULL) {
        core.length--;
    }
    return core;
}

static bool skip_marker(struct call_cursor *cursor, const char *marker)
{
    const struct text_span core = core_of(marker);
    skip_blank(cursor);
    if ((size_t)(cursor->end - cursor->at) < core.length ||
        memcmp(cursor->at, core.data, core.length) != 0) {
        return false;
    }
    cursor->at += core.length;
    return true;
}

/* Where the JSON value that begins here ends: by its brackets. NULL where they do not close. */
static const char *value_end(const struct call_cursor *cursor)
{
    int depth = 0;
    bool in_text = false;
    for (const char *at = cursor->at; at < cursor->end; at++) {
        if (in_text) {
            at += *at == '\\';
            in_text = at < cursor->end && *at != '"';
        } else if (*at == '"') {
            in_text = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if ((*at == '}' || *at == ']') && --depth <= 0) {
            return depth == 0 ? at + 1 : NULL;
        }
    }
    return NULL;
}

static status read_value(struct call_cursor *cursor, struct arena *arena, const struct json **out)
{
    struct json *value = NULL;
    skip_blank(cursor);
    const char *end = value_end(cursor);
    *out = NULL;
    if (end == NULL) {
        return STATUS_OK;
    }
    status s = json_parse_last_counts(cursor->at, (size_t)(end - cursor->at), arena, &value);
    if (s == STATUS_OK) {
        cursor->at = end;
        *out = value;
    }
    return s == STATUS_INVALID ? STATUS_OK : s;
}

/* ---- The list ---- */

static status append_json(struct text_span name, const struct json *arguments, struct buffer *list)
{
    struct buffer text = {0};
    status s = json_write(arguments, &text);
    if (s == STATUS_OK) {
        s = buffer_append_text(list, list->length > 0 ? ",{\"name\":" : "[{\"name\":");
    }
    if (s == STATUS_OK) {
        s = json_write_string(name.data, name.length, list);
    }
    if (s == STATUS_OK) {
        s = buffer_append_text(list, ",\"arguments\":");
    }
    if (s == STATUS_OK) {
        s = json_write_string(text.data, text.length, list);
    }
    buffer_destroy(&text);
    return s == STATUS_OK ? buffer_append_byte(list, '}') : s;
}

status call_append(struct text_span name, struct text_span arguments, struct arena *arena,
                   struct buffer *list, bool *is_call)
{
    struct call_cursor cursor = {arguments.data, arguments.data + arguments.length};
    const struct json *value;
    TRY(read_value(&cursor, arena, &value));
    skip_blank(&cursor);
    *is_call =
        name.length > 0 && value != NULL && value->type == JSON_OBJECT && cursor.at == cursor.end;
    return *is_call ? append_json(name, value, list) : STATUS_OK;
}

/* {"name": …, "arguments": {…}}; some models write the arguments as a text of JSON. */
static status append_object(const struct tool_call_form *form, const struct json *call,
                            struct arena *arena, struct buffer *list, bool *is_call)
{
    const struct json *name = json_get(call, "name");
    const struct json *arguments = json_get(call, form->arguments);
    *is_call = false;
    if (json_string(name) == NULL || name->length == 0 || arguments == NULL) {
        return STATUS_OK;
    }
    const struct text_span called = {name->text, name->length};
    if (arguments->type == JSON_STRING) {
        return call_append(called, (struct text_span){arguments->text, arguments->length}, arena,
                           list, is_call);
    }
    *is_call = arguments->type == JSON_OBJECT;
    return *is_call ? append_json(called, arguments, list) : STATUS_OK;
}

/* ---- The forms ---- */

static status take_list(const struct tool_call_form *form, struct call_cursor *cursor,
                        struct arena *arena, struct buffer *list, bool *taken)
{
    const struct json *value;
    TRY(read_value(cursor, arena, &value));
    *taken = value != NULL && value->type == JSON_ARRAY && value->length > 0;
    for (size_t i = 0; *taken && i < value->length; i++) {
        TRY(append_object(form, value->items[i], arena, list, taken));
    }
    return STATUS_OK;
}

/* The name stands before the JSON. */
static status take_named(const struct tool_call_form *form, struct call_cursor *cursor,
                         struct arena *arena, struct buffer *list, bool *taken)
{
    const struct text_span core = core_of(form->name_end);
    const char *end =
        memmem(cursor->at, (size_t)(cursor->end - cursor->at), core.data, core.length);
    const struct json *value = NULL;
    *taken = end != NULL;
    if (end == NULL) {
        return STATUS_OK;
    }
    struct call_cursor name = {cursor->at, end};
    skip_blank(&name);
    while (name.end > name.at && strchr(" \n", name.end[-1]) != NULL) {
        name.end--;
    }
    cursor->at = end + core.length;
    TRY(read_value(cursor, arena, &value));
    *taken = value != NULL && value->type == JSON_OBJECT && name.end > name.at;
    const struct text_span called = {name.at, (size_t)(name.end - name.at)};
    return *taken ? append_json(called, value, list) : STATUS_OK;
}

static status take_call(const struct tool_call_form *form, struct call_cursor *cursor,
                        struct arena *arena, struct buffer *list, bool *taken)
{
    const struct json *value;
    *taken = skip_marker(cursor, form->call);
    if (!*taken) {
        return STATUS_OK;
    }
    if (form->name_end != NULL) {
        TRY(take_named(form, cursor, arena, list, taken));
    } else {
        TRY(read_value(cursor, arena, &value));
        TRY(append_object(form, value, arena, list, taken));
    }
    skip_marker(cursor, form->call_end);
    return STATUS_OK;
}

/* Whether another call begins here: its marker, or without one anything at all. */
static bool has_more(struct call_cursor *cursor, const struct tool_call_form *form)
{
    struct call_cursor ahead = *cursor;
    skip_blank(cursor);
    return cursor->at < cursor->end && skip_marker(&ahead, form->call);
}

static status take_all(const struct tool_call_form *form, struct call_cursor *cursor,
                       struct arena *arena, struct buffer *list, bool *taken)
{
    *taken = skip_marker(cursor, form->open);
    if (!*taken) {
        return STATUS_OK;
    }
    if (form->is_list) {
        TRY(take_list(form, cursor, arena, list, taken));
    }
    while (*taken && !form->is_list) {
        TRY(take_call(form, cursor, arena, list, taken));
        skip_marker(cursor, form->between);
        if (!has_more(cursor, form)) {
            break;
        }
    }
    if (*taken) {
        skip_marker(cursor, form->close);
        skip_blank(cursor);
        *taken = cursor->at == cursor->end;
    }
    return STATUS_OK;
}

/* Where the calls begin: at the first marker, or where there is none at the text's beginning. */
static const char *calls_begin(const struct tool_call_form *form, struct text_span text)
{
    struct text_span first = core_of(form->open);
    if (first.length == 0) {
        first = core_of(form->call);
    }
    if (first.length > 0) {
        return memmem(text.data, text.length, first.data, first.length);
    }
    struct call_cursor cursor = {text.data, text.data + text.length};
    skip_marker(&cursor, "<|python_tag|>"); /* Llama's, where it takes the tool for a program */
    skip_blank(&cursor);
    return cursor.at < cursor.end && *cursor.at == '{' ? cursor.at : NULL;
}

static size_t trimmed_length(const char *text, const char *end)
{
    while (end > text && strchr(" \n\r\t", end[-1]) != NULL) {
        end--;
    }
    return (size_t)(end - text);
}

status calls_take(const struct tool_call_form *form, struct arena *arena, struct text_span *text,
                  struct text_span *calls)
{
    const char *begin = calls_begin(form, *text);
    struct buffer list = {0};
    bool taken = false;
    if (begin == NULL) {
        return STATUS_OK;
    }
    struct call_cursor cursor = {begin, text->data + text->length};
    status s = take_all(form, &cursor, arena, &list, &taken);
    if (s == STATUS_OK && taken) {
        s = buffer_append_byte(&list, ']');
    }
    if (s == STATUS_OK && taken) {
        calls->data = arena_copy(arena, list.data, list.length);
        calls->length = list.length;
        bool has_marker = core_of(form->open).length + core_of(form->call).length > 0;
        text->length = has_marker ? trimmed_length(text->data, begin) : 0;
        s = calls->data != NULL ? STATUS_OK
                                : status_fail(STATUS_NO_MEMORY, "out of memory for tool calls");
    }
    buffer_destroy(&list);
    return s;
}
