/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation as its template takes it: content as a list of parts or as one text, arguments of
 * tool calls as objects.
 *
 * What was changed for the template's sake remembers the text that it was (template_text_of), so
 * that a template that prints it, or joins it with a text, never writes Python's form of a list or
 * dict into a prompt. */
#include "sluice/messages.h"
#include "text/template/tree.h"

/* ---- Content ---- */

/* The text parts, joined with newlines. */
static status join_parts(struct render *r, const struct json *parts, struct value *out)
{
    size_t mark = r->out.length;
    bool first = true;
    for (size_t i = 0; i < parts->length; i++) {
        const struct json *text = message_part_text(parts->items[i]);
        if (text != NULL) {
            TRY(template_write_text(r, first ? "" : "\n"));
            TRY(template_write(r, text->text, text->length));
            first = false;
        }
    }
    return template_take(r, mark, out);
}

/* {"type": "text", "text": …}, whichever way the text was given. */
static status from_part(struct render *r, const struct json *part, struct value *out)
{
    const struct json *text = message_part_text(part);
    if (text == NULL || json_is_string(json_get(part, "type"), "text")) {
        return template_from_json(r, part, out);
    }
    TRY(template_dict(r, 2, out));
    TRY(template_string_view(r, "type", 4, &out->dict->keys[0]));
    TRY(template_string_view(r, "text", 4, &out->dict->values[0]));
    TRY(template_string_view(r, "text", 4, &out->dict->keys[1]));
    TRY(template_string_view(r, text->text, text->length, &out->dict->values[1]));
    out->dict->count = 2;
    return STATUS_OK;
}

static status from_content(struct render *r, const struct json *content, struct value *out)
{
    struct value text, *items;
    if (content->type == JSON_NULL) {
        *out = value_none();
        out->boolean = true; /* a message's content */
        return STATUS_OK;
    }
    if (content->type != JSON_ARRAY) {
        return template_from_json(r, content, out);
    }
    TRY(join_parts(r, content, &text));
    if (!r->template_->uses.iterates_content) {
        *out = text;
        return STATUS_OK;
    }
    TRY(template_allocate(r, content->length, sizeof *items, &items));
    for (size_t i = 0; i < content->length; i++) {
        TRY(from_part(r, content->items[i], &items[i]));
    }
    struct list *list;
    TRY(template_allocate(r, 1, sizeof *list, &list));
    *list = (struct list){.items = items, .count = content->length, .written = text.string};
    *out = (struct value){.type = VALUE_LIST, .list = list};
    return STATUS_OK;
}

/* ---- Tool calls ---- */

static status no_arguments(struct render *r, const struct json *written, struct value *out)
{
    struct value text;
    TRY(written == NULL ? template_string_view(r, "{}", 2, &text)
                        : template_string_view(r, written->text, written->length, &text));
    if (r->arguments_stay) {
        *out = text;
        return STATUS_OK;
    }
    TRY(template_dict(r, 0, out));
    out->dict->written = text.string;
    r->arguments_read = true;
    return STATUS_OK;
}

static bool is_blank(const struct json *text)
{
    return template_space_prefix(text->text, text->length) == text->length;
}

/* The text of a JSON object is that object; nothing is the empty one; anything else stays. */
static status from_arguments(struct render *r, const struct json *arguments, struct value *out)
{
    struct json *object;
    struct value text;
    if (arguments == NULL || arguments->type == JSON_NULL) {
        return no_arguments(r, NULL, out);
    }
    if (arguments->type == JSON_STRING && is_blank(arguments)) {
        return no_arguments(r, arguments, out);
    }
    size_t space = arguments->type == JSON_STRING
                       ? template_space_prefix(arguments->text, arguments->length)
                       : 0;
    if (arguments->type != JSON_STRING || r->arguments_stay || arguments->text[space] != '{') {
        return template_from_json(r, arguments, out);
    }
    TRY(template_charge(r, arguments->length / 16));
    status s = json_parse_last_counts(arguments->text, arguments->length, &r->arena, &object);
    if (s == STATUS_NO_MEMORY) {
        return s;
    }
    if (s != STATUS_OK || object->type != JSON_OBJECT) {
        return template_from_json(r, arguments, out);
    }
    TRY(template_string_view(r, arguments->text, arguments->length, &text));
    TRY(template_from_json(r, object, out));
    out->dict->written = text.string;
    r->arguments_read = true;
    return STATUS_OK;
}

/* Members of an object, some of them in a form of their own; room for two more. */
typedef status member_reader(struct render *r, const struct json *value, struct value *out);

struct member_form {
    const char *key;
    member_reader *read;
};

static status put(struct render *r, struct dict *dict, const char *key, const struct value *value)
{
    struct value name;
    TRY(template_string_view(r, key, strlen(key), &name));
    return template_dict_put(r, dict, &name, value);
}

static status from_object(struct render *r, const struct json *object,
                          const struct member_form *forms, size_t count, struct value *out)
{
    TRY(template_dict(r, object->length + 2, out));
    for (size_t i = 0; i < object->length; i++) {
        const struct json_member *member = &object->members[i];
        member_reader *read = template_from_json;
        for (size_t j = 0; j < count; j++) {
            if (strcmp(member->key, forms[j].key) == 0) {
                read = forms[j].read;
            }
        }
        struct dict *dict = out->dict;
        TRY(template_string_view(r, member->key, member->key_length, &dict->keys[dict->count]));
        TRY(read(r, member->value, &dict->values[dict->count]));
        dict->count++;
    }
    return STATUS_OK;
}

/* {"name": …, "arguments": …} */
static status from_function(struct render *r, const struct json *function, struct value *out)
{
    static const struct member_form forms[] = {{"arguments", from_arguments}};
    if (function->type != JSON_OBJECT) {
        return template_from_json(r, function, out);
    }
    TRY(from_object(r, function, forms, COUNT_OF(forms), out));
    if (json_get(function, "arguments") == NULL && json_get(function, "name") != NULL) {
        struct value none;
        TRY(from_arguments(r, NULL, &none));
        TRY(put(r, out->dict, "arguments", &none));
    }
    return STATUS_OK;
}

/* {"id": …, "name": …, "arguments": …} as {"id": …, "type": "function", "function": {…}}. */
static status wrap_call(struct render *r, const struct json *call, struct value *out)
{
    struct value function, value;
    TRY(template_dict(r, call->length + 2, out));
    TRY(template_dict(r, 2, &function));
    for (size_t i = 0; i < call->length; i++) {
        const struct json_member *member = &call->members[i];
        bool is_arguments = strcmp(member->key, "arguments") == 0;
        bool is_inner = is_arguments || strcmp(member->key, "name") == 0;
        TRY(is_arguments ? from_arguments(r, member->value, &value)
                         : template_from_json(r, member->value, &value));
        TRY(put(r, is_inner ? function.dict : out->dict, member->key, &value));
    }
    if (json_get(call, "arguments") == NULL) {
        TRY(from_arguments(r, NULL, &value));
        TRY(put(r, function.dict, "arguments", &value));
    }
    TRY(template_string_view(r, "function", strlen("function"), &value));
    TRY(json_get(call, "type") == NULL ? put(r, out->dict, "type", &value) : STATUS_OK);
    return put(r, out->dict, "function", &function);
}

/* {"function": {…}}. What stands inside may also stand in the call itself: such a call is wrapped
 * where the template looks for `function`. */
static status from_call(struct render *r, const struct json *call, struct value *out)
{
    static const struct member_form forms[] = {{"function", from_function}};
    bool is_bare = json_get(call, "function") == NULL && json_get(call, "name") != NULL;
    if (!is_bare) {
        return call->type == JSON_OBJECT ? from_object(r, call, forms, COUNT_OF(forms), out)
                                         : template_from_json(r, call, out);
    }
    return r->template_->uses.calls_have_function ? wrap_call(r, call, out)
                                                  : from_function(r, call, out);
}

static status from_calls(struct render *r, const struct json *calls, struct value *out)
{
    struct value *items;
    if (calls->type != JSON_ARRAY) {
        return template_from_json(r, calls, out);
    }
    TRY(template_allocate(r, calls->length, sizeof *items, &items));
    for (size_t i = 0; i < calls->length; i++) {
        TRY(from_call(r, calls->items[i], &items[i]));
    }
    return template_list(r, VALUE_LIST, items, calls->length, out);
}

/* The call of a message in OpenAI's older form as a list of one, for templates that know tool_calls
 * alone. */
static status add_older_call(struct render *r, const struct json *message, struct dict *dict)
{
    const struct json *call = json_get(message, "function_call");
    const struct json *calls = json_get(message, "tool_calls");
    bool has_calls = calls != NULL && calls->type == JSON_ARRAY && calls->length > 0;
    if (call == NULL || call->type != JSON_OBJECT || has_calls ||
        r->template_->uses.reads_function_call) {
        return STATUS_OK;
    }
    struct value *items, list;
    TRY(template_allocate(r, 1, sizeof *items, &items));
    TRY(from_call(r, call, &items[0]));
    TRY(template_list(r, VALUE_LIST, items, 1, &list));
    return put(r, dict, "tool_calls", &list);
}

/* ---- Messages ---- */

static bool is_nothing(const struct json *value)
{
    return value->type == JSON_NULL || (value->type == JSON_ARRAY && value->length == 0);
}

/* Tool calls that are null or none at all are left out, as vLLM does: templates ask whether the key
 * is there. */
static void drop_empty_calls(const struct json *message, struct dict *dict)
{
    static const char *const names[] = {"tool_calls", "function_call"};
    size_t kept = 0;
    for (size_t i = 0; i < message->length; i++) {
        bool is_call = strcmp(message->members[i].key, names[0]) == 0 ||
                       strcmp(message->members[i].key, names[1]) == 0;
        if (!is_call || !is_nothing(message->members[i].value)) {
            dict->keys[kept] = dict->keys[i];
            dict->values[kept++] = dict->values[i];
        }
    }
    dict->count = kept;
}

static status from_message(struct render *r, const struct json *message, struct value *out)
{
    static const struct member_form forms[] = {
        {"content", from_content}, {"tool_calls", from_calls}, {"function_call", from_function}};
    if (message->type != JSON_OBJECT) {
        return template_from_json(r, message, out);
    }
    TRY(from_object(r, message, forms, COUNT_OF(forms), out));
    drop_empty_calls(message, out->dict);
    out->dict->is_message = true;
    return add_older_call(r, message, out->dict);
}

status template_from_messages(struct render *r, const struct json *json, struct value *out)
{
    struct value *items;
    if (json == NULL || json->type != JSON_ARRAY) {
        *out = value_none();
        return json == NULL ? STATUS_OK : template_from_json(r, json, out);
    }
    TRY(template_allocate(r, json->length, sizeof *items, &items));
    for (size_t i = 0; i < json->length; i++) {
        TRY(from_message(r, json->items[i], &items[i]));
    }
    return template_list(r, VALUE_LIST, items, json->length, out);
}
