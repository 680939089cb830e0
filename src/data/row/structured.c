/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of answers as OpenAI's API, vLLM's extensions of it and our own key ask for them: one table
 * of forms, which each of the fields reads by its own names. */
#include "data/row/structured.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
}

static status expected(const char *name, const char *what, const struct json *value)
{
    return status_fail(STATUS_INVALID, "%s: expected %s, not %s", name, what, json_kind(value));
}

const char *structured_kind_name(enum structured_kind kind)
{
    static const char *const names[] = {
        [STRUCTURED_NONE] = "none",
        [STRUCTURED_JSON_OBJECT] = "json_object",
        [STRUCTURED_JSON_SCHEMA] = "json_schema",
        [STRUCTURED_REGEX] = "regex",
        [STRUCTURED_CHOICE] = "choice",
        [STRUCTURED_GRAMMAR] = "grammar",
        [STRUCTURED_TOOL_CALL] = "tool_call",
    };
    return names[kind];
}

/* ---- Forms ---- */

/* One form a row, and one a job: the row's replaces the job's. */
static status claim(struct structured_request *request, const char *name, enum structured_kind kind)
{
    if (request->is_own) {
        return status_fail(STATUS_INVALID,
                           "%s: the row asks for another form of its answer, too; leave one out",
                           name);
    }
    request->is_own = true;
    request->kind = kind;
    request->text = NULL;
    request->text_length = 0;
    request->function = NULL;
    return STATUS_OK;
}

static status keep_text(struct structured_request *request, const char *text, size_t length,
                        struct arena *arena)
{
    request->text = arena_copy(arena, text, length);
    request->text_length = length;
    return request->text != NULL ? STATUS_OK : no_memory();
}

static status keep_json(struct structured_request *request, const struct json *value,
                        struct arena *arena)
{
    struct buffer text = {0};
    status s = json_write(value, &text);
    if (s == STATUS_OK) {
        s = keep_text(request, text.data, text.length, arena);
    }
    buffer_destroy(&text);
    return s;
}

/* A schema, or the text of one. */
static status take_schema(struct structured_request *request, const char *name,
                          const struct json *value, struct arena *arena)
{
    struct json *parsed;
    if (value->type == JSON_STRING) {
        TRY(status_context(json_parse(value->text, value->length, arena, &parsed), "%s", name));
        value = parsed;
    }
    if (value->type != JSON_OBJECT && value->type != JSON_BOOLEAN) {
        return expected(name, "a JSON schema", value);
    }
    TRY(claim(request, name, STRUCTURED_JSON_SCHEMA));
    return keep_json(request, value, arena);
}

static status take_object(struct structured_request *request, const char *name,
                          const struct json *value, struct arena *arena)
{
    bool wanted;
    (void)arena;
    if (!json_bool(value, &wanted)) {
        return expected(name, "a boolean", value);
    }
    return wanted ? claim(request, name, STRUCTURED_JSON_OBJECT) : STATUS_OK;
}

static status take_text(struct structured_request *request, const char *name,
                        const struct json *value, enum structured_kind kind, struct arena *arena)
{
    if (value->type != JSON_STRING) {
        return expected(name, "a string", value);
    }
    if (value->length == 0) {
        return STATUS_OK;
    }
    TRY(claim(request, name, kind));
    return keep_text(request, value->text, value->length, arena);
}

static status take_regex(struct structured_request *request, const char *name,
                         const struct json *value, struct arena *arena)
{
    return take_text(request, name, value, STRUCTURED_REGEX, arena);
}

static status take_grammar(struct structured_request *request, const char *name,
                           const struct json *value, struct arena *arena)
{
    return take_text(request, name, value, STRUCTURED_GRAMMAR, arena);
}

static status take_choice(struct structured_request *request, const char *name,
                          const struct json *value, struct arena *arena)
{
    bool is_list = value->type == JSON_ARRAY && value->length > 0;
    for (size_t i = 0; is_list && i < value->length; i++) {
        is_list = value->items[i]->type == JSON_STRING;
    }
    if (!is_list) {
        return status_fail(STATUS_INVALID, "%s: expected a list of strings", name);
    }
    TRY(claim(request, name, STRUCTURED_CHOICE));
    return keep_json(request, value, arena);
}

static status refuse(struct structured_request *request, const char *name, const struct json *value,
                     struct arena *arena)
{
    (void)request;
    (void)arena;
    bool asks = value->type != JSON_BOOLEAN || value->boolean;
    return asks ? status_fail(STATUS_INVALID, "%s: not supported; leave it out", name) : STATUS_OK;
}

/* ---- Settings ---- */

static status set_white_space(struct structured_request *request, const char *name,
                              const struct json *value, struct arena *arena)
{
    (void)arena;
    request->any_white_space = json_is_string(value, "any");
    return request->any_white_space || json_is_string(value, "compact")
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: expected compact or any", name);
}

static status set_compact(struct structured_request *request, const char *name,
                          const struct json *value, struct arena *arena)
{
    bool compact;
    (void)arena;
    if (!json_bool(value, &compact)) {
        return expected(name, "a boolean", value);
    }
    request->any_white_space = request->any_white_space && !compact;
    return STATUS_OK;
}

static status set_closed(struct structured_request *request, const char *name,
                         const struct json *value, struct arena *arena)
{
    (void)arena;
    return json_bool(value, &request->closed_objects) ? STATUS_OK
                                                      : expected(name, "a boolean", value);
}

static status set_close(struct structured_request *request, const char *name,
                        const struct json *value, struct arena *arena)
{
    (void)arena;
    return json_bool(value, &request->close) ? STATUS_OK : expected(name, "a boolean", value);
}

static status set_limit(struct structured_request *request, const char *name,
                        const struct json *value, struct arena *arena)
{
    (void)arena;
    double seconds;
    if (!json_double(value, &seconds) || !(seconds > 0) || seconds > 3600) {
        return status_fail(STATUS_INVALID, "%s: expected a number in (0, 3600]", name);
    }
    request->compile_limit = seconds;
    return STATUS_OK;
}

static status ignore(struct structured_request *request, const char *name, const struct json *value,
                     struct arena *arena)
{
    (void)request;
    (void)name;
    (void)value;
    (void)arena;
    return STATUS_OK;
}

/* ---- Fields that are maps ---- */

struct map_key {
    const char *name;
    status (*set)(struct structured_request *request, const char *name, const struct json *value,
                  struct arena *arena);
};

static const struct map_key own_keys[] = {
    {"json_schema", take_schema},   {"json_object", take_object}, {"regex", take_regex},
    {"choice", take_choice},        {"grammar", take_grammar},    {"white_space", set_white_space},
    {"closed_objects", set_closed}, {"close", set_close},         {"compile_limit", set_limit},
};

/* vLLM's StructuredOutputsParams, and GuidedDecodingParams before it. */
static const struct map_key vllm_keys[] = {
    {"json", take_schema},
    {"json_object", take_object},
    {"regex", take_regex},
    {"choice", take_choice},
    {"grammar", take_grammar},
    {"disable_any_whitespace", set_compact},
    {"disable_additional_properties", set_closed},
    {"whitespace_pattern", refuse},
    {"structural_tag", refuse},
    {"disable_fallback", ignore},
    {"backend", ignore},
};

static const struct map_key *find_key(const struct map_key *keys, size_t count,
                                      const struct json_member *member)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(keys[i].name) == member->key_length &&
            memcmp(keys[i].name, member->key, member->key_length) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static status unknown_key(const char *name, const struct map_key *keys, size_t count)
{
    char known[256] = "";
    for (size_t i = 0; i < count; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", keys[i].name);
    }
    return status_fail(STATUS_INVALID, "%s: unknown; there are %s", name, known);
}

static status read_map(struct structured_request *request, const char *field,
                       const struct json *value, const struct map_key *keys, size_t count,
                       struct arena *arena)
{
    struct json *parsed;
    if (value->type == JSON_STRING && value->length > 0) { /* of a column of texts */
        TRY(status_context(json_parse(value->text, value->length, arena, &parsed), "%s", field));
        value = parsed;
    }
    if (value->type != JSON_OBJECT) {
        return expected(field, "a map", value);
    }
    for (size_t i = 0; i < value->length; i++) {
        const struct json_member *member = &value->members[i];
        const struct map_key *key = find_key(keys, count, member);
        char name[96];
        snprintf(name, sizeof name, "%s.%.40s", field, member->key);
        if (key == NULL) {
            return unknown_key(name, keys, count);
        }
        if (member->value->type != JSON_NULL) {
            TRY(key->set(request, name, member->value, arena));
        }
    }
    return STATUS_OK;
}

status structured_set(struct structured_request *request, const struct json *value,
                      struct arena *arena)
{
    return read_map(request, "structured", value, own_keys, COUNT_OF(own_keys), arena);
}

static status read_vllm(struct structured_request *request, const char *name,
                        const struct json *value, struct arena *arena)
{
    return read_map(request, name, value, vllm_keys, COUNT_OF(vllm_keys), arena);
}

/* ---- OpenAI's response_format ---- */

static status read_response_format(struct structured_request *request, const char *name,
                                   const struct json *value, struct arena *arena)
{
    struct json *parsed;
    if (value->type == JSON_STRING && value->length > 0 && value->text[0] == '{') {
        TRY(status_context(json_parse(value->text, value->length, arena, &parsed), "%s", name));
        value = parsed;
    }
    const struct json *type = value->type == JSON_OBJECT ? json_get(value, "type") : value;
    if (json_is_string(type, "text")) {
        return claim(request, name, STRUCTURED_NONE);
    }
    if (json_is_string(type, "json_object")) {
        return claim(request, name, STRUCTURED_JSON_OBJECT);
    }
    if (!json_is_string(type, "json_schema")) {
        const char *text = json_string(type);
        return status_fail(STATUS_INVALID,
                           "%s.type: %.40s; expected text, json_object or json_schema", name,
                           text != NULL ? text : "missing");
    }
    const struct json *schema = json_get(json_get(value, "json_schema"), "schema");
    return schema != NULL
               ? take_schema(request, "response_format.json_schema.schema", schema, arena)
               : status_fail(STATUS_INVALID, "%s.json_schema.schema: missing", name);
}

/* ---- The table of fields ---- */

static const struct map_key fields[] = {
    {"response_format", read_response_format},
    {"structured_outputs", read_vllm},
    {"guided_decoding", read_vllm},
    {"guided_json", take_schema},
    {"guided_regex", take_regex},
    {"guided_choice", take_choice},
    {"guided_grammar", take_grammar},
};

static const struct map_key *find_field(const char *name)
{
    const struct json_member member = {.key = name, .key_length = strlen(name)};
    return find_key(fields, COUNT_OF(fields), &member);
}

bool structured_field_known(const char *name)
{
    return find_field(name) != NULL;
}

/* Of what is empty nothing is asked: columns of texts have no other way to say so. */
static bool is_empty(const struct json *value)
{
    return value->type == JSON_NULL || (value->type == JSON_BOOLEAN && !value->boolean) ||
           (value->type == JSON_STRING && value->length == 0) ||
           (value->type == JSON_ARRAY && value->length == 0);
}

status structured_field_set(struct structured_request *request, const char *name,
                            const struct json *value, struct arena *arena)
{
    const struct map_key *field = find_field(name);
    if (field == NULL) {
        return status_fail(STATUS_INTERNAL, "%s: no field that asks for a form", name);
    }
    return is_empty(value) ? STATUS_OK : field->set(request, name, value, arena);
}

/* ---- Tool calls ---- */

/* The name of a tool, NULL where it has none. */
static const char *tool_name(const struct json *tool)
{
    const struct json *function = json_get(tool, "function");
    return json_string(json_get(function != NULL ? function : tool, "name"));
}

static status named_function(struct structured_request *request, const char *name,
                             const struct json *tools, struct arena *arena)
{
    for (size_t i = 0; i < tools->length; i++) {
        const char *there = tool_name(tools->items[i]);
        if (there != NULL && strcmp(there, name) == 0) {
            request->function = arena_copy(arena, name, strlen(name));
            return request->function != NULL ? STATUS_OK : no_memory();
        }
    }
    return status_fail(STATUS_INVALID, "tool_choice: no tool is called %.60s", name);
}

status structured_tool_choice(struct structured_request *request, const struct json *value,
                              const struct json *tools, struct arena *arena)
{
    bool is_none =
        is_empty(value) || json_is_string(value, "none") || json_is_string(value, "auto");
    if (is_none) {
        return STATUS_OK;
    }
    const char *name = json_string(json_get(json_get(value, "function"), "name"));
    name = name != NULL ? name : json_string(json_get(value, "name"));
    if (name == NULL && !json_is_string(value, "required")) {
        return status_fail(STATUS_INVALID,
                           "tool_choice: expected none, auto, required, or the name of a function");
    }
    if (tools == NULL || tools->type != JSON_ARRAY || tools->length == 0) {
        return status_fail(STATUS_INVALID, "tool_choice: the row has no tools");
    }
    TRY(claim(request, "tool_choice", STRUCTURED_TOOL_CALL));
    TRY(name != NULL ? named_function(request, name, tools, arena) : STATUS_OK);
    return keep_json(request, tools, arena);
}
