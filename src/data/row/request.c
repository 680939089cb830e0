/* SPDX-License-Identifier: Apache-2.0 */
/* A line of JSON to a row: which field is the prompt, which are parameters, what travels on.
 *
 * Fields are sorted into what is understood and what is not first, so that a bad row still has its
 * id and its other fields; then the understood ones are read. */
#include "data/row/request.h"

#include <stdio.h>
#include <string.h>

#include "data/row/chat_prompt.h"
#include "data/row/extra_body.h"
#include "data/row/prompt_template.h"
#include "data/row/request_fields.h"
#include "data/row/structured.h"
#include "sluice/messages.h"
#include "sluice/task.h"

/* Where a row's request stands: the line itself, or the body of an OpenAI batch line. */
struct request {
    const struct json *line;   /* the object of the line */
    const struct json *body;   /* as it stands in the line; NULL where there is no envelope */
    const struct json *fields; /* the object with prompt and parameters, extra_body's among them */
    const struct json_member *clash; /* that extra_body has with another value than the body */
    const char *prefix;              /* of field names in messages: "body." or "" */
    const struct json_member *prompt, *id;
    const struct task_facts *task;
    const struct json_member *completion;  /* where the task takes one */
    const struct json_member *token_types; /* where the task pools */
    bool envelope;
    bool columns_are_data; /* of a plain row: none is a parameter */
    bool templated;        /* the prompt goes through the chat template */
};

static bool key_is(const struct json_member *member, const char *name)
{
    return member->key_length == strlen(name) && memcmp(member->key, name, member->key_length) == 0;
}

/* The member of this name, NULL where there is none or its value is null. */
static const struct json_member *find_member(const struct json *object, const char *name)
{
    for (size_t i = 0; i < object->length; i++) {
        if (key_is(&object->members[i], name)) {
            return object->members[i].value->type != JSON_NULL ? &object->members[i] : NULL;
        }
    }
    return NULL;
}

static const struct json_member *find_first(const struct json *object, const char *const *names,
                                            size_t count)
{
    const struct json_member *found = NULL;
    for (size_t i = 0; found == NULL && i < count; i++) {
        found = find_member(object, names[i]);
    }
    return found;
}

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
}

/* The name of a prompt that goes before the usual ones, since what stands beside it says what the
 * row is: a pair's query, the context of several continuations. NULL: none. */
static const char *own_prompt_name(const struct json *fields, const struct row_format *format,
                                   const struct task_facts *task)
{
    if (format->prompt_template != NULL || format->prompt_field != NULL) {
        return NULL;
    }
    if (task->encoding == ENCODE_PAIR) {
        return task->prompt_name;
    }
    const char *list =
        format->completion_field != NULL ? format->completion_field : task->completions_name;
    return task->list_prompt_name != NULL && find_member(fields, list) != NULL
               ? task->list_prompt_name
               : NULL;
}

static status find_request(const struct json *line, const struct row_format *format,
                           const struct task_facts *task, struct arena *arena,
                           struct request *request)
{
    const char *const prompt_names[] = {"prompt", "text", "messages", "prompt_token_ids",
                                        task->prompt_name};
    const size_t prompt_name_count = COUNT_OF(prompt_names) - (task->prompt_name == NULL);
    static const char *const id_names[] = {"id", "custom_id"};
    static const char *const envelope_names[] = {"custom_id", "method", "url"};
    *request = (struct request){.task = task,
                                .line = line,
                                .fields = line,
                                .prefix = "",
                                .columns_are_data = format->columns_are_data};
    const struct json_member *body = find_member(line, "body");
    if (body != NULL && body->value->type == JSON_OBJECT &&
        find_first(line, envelope_names, COUNT_OF(envelope_names)) != NULL) {
        request->envelope = true;
        request->body = request->fields = body->value;
        request->prefix = "body.";
        TRY(extra_body_merge(body->value, arena, &request->fields, &request->clash));
    }
    if (format->id_field != NULL) {
        request->id = find_member(line, format->id_field);
    } else if (request->envelope) {
        request->id = find_member(line, "custom_id");
    }
    if (request->id == NULL && format->id_field == NULL) {
        request->id = find_first(line, id_names, COUNT_OF(id_names));
    }
    const char *own = own_prompt_name(request->fields, format, task);
    const struct json_member *first = own != NULL ? find_member(request->fields, own) : NULL;
    request->prompt = first != NULL                     ? first
                      : format->prompt_template != NULL ? NULL
                      : format->prompt_field != NULL
                          ? find_member(request->fields, format->prompt_field)
                          : find_first(request->fields, prompt_names, prompt_name_count);
    if (task->takes_completion) {
        const char *several = task->completions_name;
        request->completion =
            find_member(request->fields, format->completion_field != NULL ? format->completion_field
                                                                          : task->completion_name);
        if (request->completion == NULL && format->completion_field == NULL && several != NULL) {
            request->completion = find_member(request->fields, several);
        }
    }
    if (task->work == WORK_POOL) {
        request->token_types = find_member(request->fields, "token_type_ids");
    }
    return STATUS_OK;
}

/* Whether a list is one of messages: what stands first decides. */
static bool is_message_list(const struct json *value)
{
    return value->type == JSON_ARRAY && value->length > 0 && value->items[0]->type == JSON_OBJECT;
}

/* What a member of the request asks for by the table: NULL where it is data. The lists that the
 * template sees, tools and documents, belong to the messages; all else of a plain row may be
 * columns that are only called so. */
static const struct request_field *field_of(const struct request *request,
                                            const struct json_member *member)
{
    if (member == request->prompt || member == request->completion ||
        member == request->token_types || member == request->id) {
        return NULL;
    }
    const struct request_field *field = request_field_find(member->key, member->key_length);
    if (field == NULL || request->envelope) {
        return field;
    }
    bool is_of_conversation = field->use == REQUEST_TEMPLATE && field->type == JSON_ARRAY;
    bool is_data = field->body_only || (request->columns_are_data && !is_of_conversation);
    return is_data ? NULL : field;
}

/* Whether a member of the request is understood, and so does not travel on. */
static bool is_consumed(const struct request *request, const struct json_member *member)
{
    if (member == request->prompt || member == request->completion ||
        member == request->token_types) {
        return true;
    }
    const struct request_field *field = field_of(request, member);
    return field != NULL &&
           (field->use == REQUEST_PARAMETER || field->use == REQUEST_MEMBER ||
            field->use == REQUEST_FORM || (field->use == REQUEST_TEMPLATE && request->templated));
}

/* The fields that are not understood, as an object; NULL where there are none. */
static status collect_rest(const struct request *request, struct arena *arena,
                           const struct json **out)
{
    *out = NULL;
    struct json *body = NULL;
    const struct json *levels[] = {request->line, request->envelope ? request->fields : NULL};
    for (size_t level = COUNT_OF(levels); level-- > 0;) {
        const struct json *object = levels[level];
        if (object == NULL) {
            continue;
        }
        struct json *rest = arena_allocate(arena, sizeof *rest);
        if (rest == NULL || (rest->members = arena_allocate_array(arena, object->length,
                                                                  sizeof *rest->members)) == NULL) {
            return no_memory();
        }
        rest->type = JSON_OBJECT;
        for (size_t i = 0; i < object->length; i++) {
            struct json_member member = object->members[i];
            bool is_body = request->envelope && member.value == request->body;
            if (is_body) {
                member.value = body;
            } else if (&object->members[i] == request->id) {
                continue;
            } else if (request->envelope && object == request->line) {
                if (key_is(&member, "method") || key_is(&member, "url")) {
                    continue;
                }
            } else if (is_consumed(request, &object->members[i])) {
                continue;
            }
            if (member.value != NULL) {
                rest->members[rest->length++] = member;
            }
        }
        if (object == request->line) {
            *out = rest->length > 0 ? rest : NULL;
        } else {
            body = rest->length > 0 ? rest : NULL;
        }
    }
    return STATUS_OK;
}

static status expected(const char *prefix, const struct json_member *member, const char *what)
{
    return status_fail(STATUS_INVALID, "%s%.60s: expected %s, not %s", prefix, member->key, what,
                       json_kind(member->value));
}

static status read_id(const struct json_member *member, struct row *row)
{
    if (member == NULL) {
        return STATUS_OK;
    }
    if (member->value->type != JSON_STRING && member->value->type != JSON_NUMBER) {
        return expected("", member, "a string or a number");
    }
    row->id = member->value->text;
    row->id_length = member->value->length;
    row->has_id = true;
    row->id_is_number = member->value->type == JSON_NUMBER;
    return STATUS_OK;
}

/* The endpoint that an envelope names, as far as one of ours. */
static enum endpoint named_endpoint(const struct request *request)
{
    static const struct {
        const char *end;
        enum endpoint endpoint;
    } known[] = {{"/chat/completions", ENDPOINT_CHAT},
                 {"/completions", ENDPOINT_COMPLETIONS},
                 {"/embeddings", ENDPOINT_EMBEDDINGS}};
    const struct json_member *url = find_member(request->line, "url");
    const char *text = request->envelope && url != NULL ? json_string(url->value) : NULL;
    size_t length = text != NULL ? strlen(text) : 0;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        size_t end = strlen(known[i].end);
        if (length >= end && strcmp(text + length - end, known[i].end) == 0) {
            return known[i].endpoint;
        }
    }
    return ENDPOINT_NONE;
}

static status check_extra_body(const struct request *request)
{
    const struct json_member *extra = find_member(request->fields, "extra_body");
    if (request->clash != NULL) {
        return status_fail(STATUS_INVALID,
                           "body.extra_body.%.60s: another value than body.%.60s has",
                           request->clash->key, request->clash->key);
    }
    if (extra != NULL && extra->value->type == JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "body.extra_body: has an extra_body of its own");
    }
    return extra == NULL ? STATUS_OK : expected(request->prefix, extra, "an object");
}

static status check_envelope(const struct request *request)
{
    TRY(check_extra_body(request));
    const struct json_member *method = find_member(request->line, "method");
    if (method != NULL && !json_is_string(method->value, "POST")) {
        return status_fail(STATUS_INVALID, "method: only POST is known");
    }
    const struct json_member *url = find_member(request->line, "url");
    if (url == NULL) {
        return STATUS_OK;
    }
    const char *end = request->task->url_end;
    const char *text = json_string(url->value);
    size_t length = url->value->length;
    if (text == NULL) {
        return expected("", url, "a string");
    }
    if (length < strlen(end) || strcmp(text + length - strlen(end), end) != 0) {
        return status_fail(STATUS_INVALID, "url: %.60s is not supported; only %s", text,
                           request->task->urls);
    }
    return STATUS_OK;
}

/* As many candidates as answers is what happens anyway. */
static bool is_best_of_n(const struct request *request, const struct json_member *member)
{
    const struct json_member *samples = find_member(request->fields, "n");
    int64_t best_of, n = 1;
    return key_is(member, "best_of") && json_int64(member->value, &best_of) &&
           (samples == NULL || json_int64(samples->value, &n)) && best_of == n;
}

/* What would change the answer and is not built in is refused, not overlooked. */
static status check_refused(const struct request *request)
{
    for (size_t i = 0; i < request->fields->length; i++) {
        const struct json_member *member = &request->fields->members[i];
        const struct request_field *field = field_of(request, member);
        if (field == NULL || field->use != REQUEST_REFUSED ||
            request_field_asks_nothing(field, member->value) || is_best_of_n(request, member)) {
            continue;
        }
        return status_fail(
            STATUS_INVALID, "%s%s: not supported; leave the field out%s", request->prefix,
            field->name,
            request->envelope ? "" : ", or set data.row_parameters=false where it is data");
    }
    return STATUS_OK;
}

static status check_messages(const char *prefix, const struct json_member *member)
{
    char name[80];
    snprintf(name, sizeof name, "%s%.60s", prefix, member->key);
    return messages_check(name, member->value);
}

static status read_token_list(const char *prefix, const struct json_member *member,
                              struct arena *arena, const int32_t **out, size_t *count)
{
    const struct json *list = member->value;
    int32_t *tokens = arena_allocate_array(arena, list->length, sizeof *tokens);
    if (tokens == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < list->length; i++) {
        const struct json *item = list->items[i];
        int64_t id;
        if (item->type == JSON_STRING || item->type == JSON_ARRAY) {
            return status_fail(STATUS_INVALID, "%s%.60s: a list of prompts; write one row for each",
                               prefix, member->key);
        }
        if (!json_int64(item, &id) || id < 0 || id > INT32_MAX) {
            return status_fail(STATUS_INVALID, "%s%.60s[%zu]: expected a token id, not %.40s",
                               prefix, member->key, i,
                               item->type == JSON_NUMBER ? item->text : json_kind(item));
        }
        tokens[i] = (int32_t)id;
    }
    *out = tokens;
    *count = list->length;
    return STATUS_OK;
}

/* data.prompt_template: the prompt is no field but made of some. */
static status make_prompt(const struct request *request, const struct row_format *format,
                          struct arena *arena, struct row *row)
{
    struct buffer prompt = {0};
    status s = prompt_template_apply(format->prompt_template, request->fields, &prompt);
    const char *text = s == STATUS_OK ? arena_copy(arena, prompt.data, prompt.length) : NULL;
    if (s == STATUS_OK) {
        s = text != NULL ? chat_prompt_set_text(text, prompt.length, format->chat, arena, row)
                         : no_memory();
    }
    buffer_destroy(&prompt);
    return s;
}

enum { PROMPT_HINT_BYTES = 80 };

/* What a row without a prompt may have been meant for: it has a field that a task's prompts are
 * called. "": nothing known. */
static const char *prompt_hint(const struct request *request, char hint[PROMPT_HINT_BYTES])
{
    hint[0] = '\0';
    for (int i = 0; i < TASKS && hint[0] == '\0'; i++) {
        const struct task_facts *task = task_facts((enum task)i);
        const char *name =
            task->list_prompt_name != NULL ? task->list_prompt_name : task->prompt_name;
        if (name == NULL || find_member(request->fields, name) == NULL) {
            continue;
        }
        if (task == request->task) {
            snprintf(hint, PROMPT_HINT_BYTES, "; %s goes with a list %s", name,
                     task->completions_name);
        } else {
            snprintf(hint, PROMPT_HINT_BYTES, "; %s is for rows to be %s", name, task->done);
        }
    }
    return hint;
}

static status read_prompt(const struct request *request, const struct row_format *format,
                          struct arena *arena, struct row *row)
{
    const struct json_member *member = request->prompt;
    if (format->prompt_template != NULL) {
        return make_prompt(request, format, arena, row);
    }
    if (member == NULL) {
        if (format->prompt_field != NULL) {
            return status_fail(STATUS_INVALID, "no field %s%.60s", request->prefix,
                               format->prompt_field);
        }
        char hint[PROMPT_HINT_BYTES];
        return status_fail(
            STATUS_INVALID,
            "no prompt: expected one of the fields prompt, text, messages, prompt_token_ids%s%s",
            request->envelope ? " in body" : "", prompt_hint(request, hint));
    }
    const struct json *value = member->value;
    if (value->type == JSON_STRING && !key_is(member, "messages")) {
        return chat_prompt_set_text(value->text, value->length, format->chat, arena, row);
    }
    if (value->type != JSON_ARRAY) {
        return expected(request->prefix, member,
                        key_is(member, "messages") ? "a list of messages"
                                                   : "a string, a list of messages or token ids");
    }
    if (value->length == 0) {
        return status_fail(STATUS_INVALID, "%s%.60s: an empty list", request->prefix, member->key);
    }
    if (!is_message_list(value) && !key_is(member, "messages")) {
        row->kind = PROMPT_TOKENS;
        return read_token_list(request->prefix, member, arena, &row->tokens, &row->token_count);
    }
    if (format->chat == CHAT_NEVER) {
        return status_fail(STATUS_INVALID, "%s%.60s: messages, though data.chat is never",
                           request->prefix, member->key);
    }
    row->kind = PROMPT_MESSAGES;
    row->messages = value;
    return check_messages(request->prefix, member);
}

/* What follows the prompt and is scored. */
static status read_completion(const struct request *request, const struct row_format *format,
                              struct arena *arena, struct row *row)
{
    const struct json_member *member = request->completion;
    if (member == NULL) {
        return format->completion_field == NULL || !request->task->takes_completion
                   ? STATUS_OK
                   : status_fail(STATUS_INVALID, "no field %s%.60s", request->prefix,
                                 format->completion_field);
    }
    if (member->value->type != JSON_STRING && member->value->type != JSON_ARRAY) {
        return expected(request->prefix, member, "a string or token ids");
    }
    if (member->value->length == 0) {
        return status_fail(STATUS_INVALID, "%s%.60s: empty: nothing to score", request->prefix,
                           member->key);
    }
    const bool is_list = member->value->type == JSON_ARRAY;
    const bool is_ids = is_list && request->task->completion_may_be_ids &&
                        !key_is(member, request->task->completions_name) &&
                        member->value->items[0]->type != JSON_STRING;
    if (is_list && request->task->completions_name != NULL && !is_ids) {
        row->completions = member->value;
        return row_take_part(row, 0);
    }
    if (is_list) {
        return read_token_list(request->prefix, member, arena, &row->completion_tokens,
                               &row->completion_token_count);
    }
    row->completion = member->value->text;
    row->completion_length = member->value->length;
    return STATUS_OK;
}

static const char *type_wanted(enum json_type type)
{
    return type == JSON_ARRAY ? "a list" : json_type_name(type);
}

/* What the template sees besides the messages, and other members of the row. */
static status read_members(const struct request *request, struct row *row)
{
    for (size_t i = 0; i < request->fields->length; i++) {
        const struct json_member *member = &request->fields->members[i];
        const struct request_field *field = field_of(request, member);
        if (field == NULL || member->value->type == JSON_NULL ||
            !(field->use == REQUEST_MEMBER ||
              (field->use == REQUEST_TEMPLATE && request->templated))) {
            continue;
        }
        if (member->value->type != field->type) {
            return expected(request->prefix, member, type_wanted(field->type));
        }
        *(const struct json **)((char *)row + field->offset) = member->value;
    }
    return STATUS_OK;
}

static status read_parameters(const struct request *request, struct arena *arena, struct row *row)
{
    const struct json *fields = request->fields;
    for (size_t i = 0; i < fields->length; i++) {
        const struct json_member *member = &fields->members[i];
        const struct request_field *field = field_of(request, member);
        if (field == NULL || field->use != REQUEST_PARAMETER) {
            continue;
        }
        bool known;
        status s = generate_params_set(&row->params, member->key, member->value, arena, &known);
        if (s != STATUS_OK) {
            return status_fail(s, "%s%s", request->prefix, status_message());
        }
    }
    return STATUS_OK;
}

/* The form of the answer. tool_choice speaks of the tools, whether or not they are rendered. */
static status read_form(const struct request *request, struct arena *arena, struct row *row)
{
    const struct json_member *tools = find_member(request->fields, "tools");
    bool may_call = tools != NULL && tools->value->type == JSON_ARRAY && tools->value->length > 0;
    for (size_t i = 0; i < request->fields->length; i++) {
        const struct json_member *member = &request->fields->members[i];
        const struct request_field *field = field_of(request, member);
        if (field == NULL || field->use != REQUEST_FORM) {
            continue;
        }
        may_call =
            may_call && !(key_is(member, "tool_choice") && json_is_string(member->value, "none"));
        status s =
            key_is(member, "tool_choice")
                ? structured_tool_choice(&row->params.structured, member->value,
                                         tools != NULL ? tools->value : NULL, arena)
                : structured_field_set(&row->params.structured, field->name, member->value, arena);
        if (s != STATUS_OK) {
            return status_fail(
                s, "%s%s%s", request->prefix, status_message(),
                request->envelope ? "" : "; or set data.row_parameters=false where it is data");
        }
    }
    row->may_call_tools = may_call && request->templated;
    return STATUS_OK;
}

/* "logprobs" as true or false says whether, "top_logprobs" how many: together, in any order. */
static status check_logprobs(const struct request *request)
{
    const struct json_member *whether = find_member(request->fields, "logprobs");
    const struct json_member *count = find_member(request->fields, "top_logprobs");
    int64_t k;
    if (whether != NULL && whether->value->type == JSON_BOOLEAN && !whether->value->boolean &&
        count != NULL && json_int64(count->value, &k) && k > 0) {
        return status_fail(STATUS_INVALID, "%stop_logprobs: logprobs is false", request->prefix);
    }
    return STATUS_OK;
}

static status name_list_add(struct name_list *list, const struct request *request,
                            struct arena *arena, const struct json_member *member)
{
    if (list->names == NULL) {
        list->names = arena_allocate_array(arena, request->fields->length, sizeof *list->names);
        if (list->names == NULL) {
            return no_memory();
        }
    }
    list->names[list->count++] = member->key;
    return STATUS_OK;
}

static bool is_in_prompt(const struct row_format *format, const struct json_member *member)
{
    return format->prompt_template != NULL &&
           prompt_template_names(format->prompt_template, member->key, member->key_length);
}

/* What its author may not have meant, for warnings: a plain row's columns that happen to be called
 * like parameters, a body's fields that nothing knows, another model. */
static status collect_remarks(const struct request *request, const struct row_format *format,
                              struct arena *arena, struct row *row)
{
    for (size_t i = 0; i < request->fields->length; i++) {
        const struct json_member *member = &request->fields->members[i];
        const struct request_field *field = field_of(request, member);
        bool taken = field != NULL && (field->use == REQUEST_PARAMETER ||
                                       field->use == REQUEST_MEMBER || field->use == REQUEST_FORM);
        if (member->value->type == JSON_NULL) {
            continue;
        }
        if (taken && !request->envelope) {
            TRY(name_list_add(&row->columns_taken, request, arena, member));
        } else if (field == NULL && request->envelope && !is_consumed(request, member) &&
                   member != request->id && !is_in_prompt(format, member)) {
            TRY(name_list_add(&row->unknown_fields, request, arena, member));
        } else if (field != NULL && request->envelope && key_is(member, "model")) {
            row->model = json_string(member->value);
        }
    }
    return STATUS_OK;
}

status request_parse(const struct json *line, const struct row_format *format, struct arena *arena,
                     struct row *row)
{
    if (line->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "expected an object, not %s", json_kind(line));
    }
    struct request request;
    TRY(find_request(line, format, task_facts(row->params.task), arena, &request));
    request.templated =
        request.prompt != NULL &&
        (is_message_list(request.prompt->value) ||
         (format->chat == CHAT_ALWAYS && request.prompt->value->type == JSON_STRING));
    request.templated |= format->prompt_template != NULL && format->chat == CHAT_ALWAYS;
    TRY(collect_rest(&request, arena, &row->passthrough));
    TRY(collect_remarks(&request, format, arena, row));
    TRY(read_id(request.id, row));
    row->endpoint = named_endpoint(&request);
    if (request.envelope) {
        TRY(check_envelope(&request));
    }
    TRY(read_prompt(&request, format, arena, row));
    TRY(read_completion(&request, format, arena, row));
    row->token_types = request.token_types != NULL ? request.token_types->value : NULL;
    TRY(read_members(&request, row));
    TRY(check_refused(&request));
    TRY(check_logprobs(&request));
    TRY(read_parameters(&request, arena, row));
    return read_form(&request, arena, row);
}
