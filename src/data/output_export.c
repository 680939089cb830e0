/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file as lines of JSON: ours, or OpenAI's batch output. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/output_layout.h"

typedef status (*line_writer)(void *context, const char *line, size_t length);

/* Line by line. In the OpenAI form a line is a row, whose samples come one after the other. */
struct exporter {
    const char *path; /* for messages */
    line_writer write;
    void *context;
    struct buffer line;
    struct arena arena; /* of a line's passthrough */
    struct buffer head; /* what a line begins with; a name */
    /* OpenAI form: */
    const char *model;
    int64_t created; /* Unix seconds */
    bool open;       /* a row's line is being written */
    int64_t row;
    int choices;
    int64_t prompt_tokens, completion_tokens;
    struct buffer error;
};

/* The shortest decimal that is the same float; null for NaN and infinities. */
static status write_float(float value, struct buffer *out)
{
    char text[32];
    if (!isfinite(value)) {
        return buffer_append_text(out, "null");
    }
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    return buffer_append_text(out, text);
}

/* `,"name":` and the opening of a value. */
static status begin_field(struct buffer *out, const char *name)
{
    return buffer_format(out, ",\"%s\":", name);
}

static status write_text_field(struct buffer *out, const char *name, const char *text,
                               size_t length)
{
    TRY(begin_field(out, name));
    return json_write_string(text != NULL ? text : "", text != NULL ? length : 0, out);
}

static status write_ids(struct buffer *out, const int32_t *ids, size_t count)
{
    TRY(buffer_append_byte(out, '['));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, "%s%d", i > 0 ? "," : "", ids[i]));
    }
    return buffer_append_byte(out, ']');
}

static status write_floats(struct buffer *out, const float *values, size_t count)
{
    TRY(buffer_append_byte(out, '['));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            TRY(buffer_append_byte(out, ','));
        }
        TRY(write_float(values[i], out));
    }
    return buffer_append_byte(out, ']');
}

/* How many of the top columns a token uses: the rest is filled with -1. */
static size_t top_count(const struct result *result, int32_t token)
{
    const int32_t *ids = result->top_ids + (size_t)token * (size_t)result->top_logprobs;
    size_t count = 0;
    while (count < (size_t)result->top_logprobs && ids[count] >= 0) {
        count++;
    }
    return count;
}

/* ---- JSON lines ---------------------------------------------------------------------------------
 */

static const char *const own_names[] = {"id",
                                        "row",
                                        "sample",
                                        "prompt",
                                        "text",
                                        "error",
                                        "token_ids",
                                        "logprobs",
                                        "top_logprob_ids",
                                        "top_logprob_values",
                                        "embedding",
                                        "logprob_sum",
                                        "logprob_mean",
                                        "finish_reason",
                                        "prompt_tokens",
                                        "completion_tokens"};

static bool is_own_name(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(own_names); i++) {
        if (strlen(own_names[i]) == length && memcmp(own_names[i], name, length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_member(const struct json *fields, const char *name, size_t length)
{
    for (size_t i = 0; i < fields->length; i++) {
        if (fields->members[i].key_length == length &&
            memcmp(fields->members[i].key, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* The name under which a field of the input is exported: its own, or with "input_" before it, as
 * often as it takes, where a field of ours has that name. */
static status choose_name(const struct json *fields, const struct json_member *member,
                          struct buffer *name)
{
    static const char prefix[] = "input_";
    TRY(buffer_append(name, member->key, member->key_length));
    if (!is_own_name(name->data, name->length)) {
        return STATUS_OK;
    }
    do {
        TRY(buffer_reserve(name, strlen(prefix)));
        memmove(name->data + strlen(prefix), name->data, name->length + 1);
        memcpy(name->data, prefix, strlen(prefix));
        name->length += strlen(prefix);
    } while (is_member(fields, name->data, name->length));
    return STATUS_OK;
}

static status parse_passthrough(struct exporter *exporter, const struct result *result,
                                const struct json **out)
{
    *out = NULL;
    arena_reset(&exporter->arena);
    if (result->passthrough == NULL || result->passthrough_length == 0) {
        return STATUS_OK;
    }
    struct json *fields;
    TRY(status_context(
        json_parse(result->passthrough, result->passthrough_length, &exporter->arena, &fields),
        "%s: row %lld: passthrough", exporter->path, (long long)result->row));
    if (fields->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "%s: row %lld: passthrough: expected an object, not %s",
                           exporter->path, (long long)result->row, json_type_name(fields->type));
    }
    *out = fields;
    return STATUS_OK;
}

static status write_passthrough(struct exporter *exporter, const struct result *result)
{
    const struct json *fields;
    TRY(parse_passthrough(exporter, result, &fields));
    for (size_t i = 0; fields != NULL && i < fields->length; i++) {
        struct buffer *name = &exporter->head;
        buffer_clear(name);
        TRY(choose_name(fields, &fields->members[i], name));
        TRY(buffer_append_byte(&exporter->line, ','));
        TRY(json_write_string(name->data, name->length, &exporter->line));
        TRY(buffer_append_byte(&exporter->line, ':'));
        TRY(json_write(fields->members[i].value, &exporter->line));
    }
    return STATUS_OK;
}

static status write_token_fields(struct buffer *line, const struct result *result)
{
    size_t tokens = (size_t)result->completion_tokens;
    if (result->embedding != NULL) {
        TRY(begin_field(line, "embedding"));
        TRY(write_floats(line, result->embedding, (size_t)result->embedding_width));
    }
    if (result->has_scores) {
        TRY(buffer_format(line, ",\"logprob_sum\":%.17g,\"logprob_mean\":%.17g",
                          result->logprob_sum, result->logprob_mean));
    }
    if (result->token_ids != NULL) {
        TRY(begin_field(line, "token_ids"));
        TRY(write_ids(line, result->token_ids, tokens));
    }
    if (result->logprobs != NULL) {
        TRY(begin_field(line, "logprobs"));
        TRY(write_floats(line, result->logprobs, tokens));
    }
    if (result->top_ids == NULL || result->top_values == NULL) {
        return STATUS_OK;
    }
    for (int values = 0; values < 2; values++) {
        TRY(begin_field(line, values == 0 ? "top_logprob_ids" : "top_logprob_values"));
        TRY(buffer_append_byte(line, '['));
        for (int32_t i = 0; i < result->completion_tokens; i++) {
            size_t at = (size_t)i * (size_t)result->top_logprobs;
            size_t count = top_count(result, i);
            if (i > 0) {
                TRY(buffer_append_byte(line, ','));
            }
            TRY(values == 0 ? write_ids(line, result->top_ids + at, count)
                            : write_floats(line, result->top_values + at, count));
        }
        TRY(buffer_append_byte(line, ']'));
    }
    return STATUS_OK;
}

static status export_line(void *context, const struct result *result)
{
    struct exporter *exporter = context;
    struct buffer *line = &exporter->line;
    buffer_clear(line);
    TRY(buffer_append_text(line, "{\"id\":"));
    TRY(json_write_string(result->id != NULL ? result->id : "", result->id_length, line));
    TRY(buffer_format(line, ",\"row\":%lld,\"sample\":%d", (long long)result->row, result->sample));
    if (result->prompt != NULL) {
        TRY(write_text_field(line, "prompt", result->prompt, result->prompt_length));
    }
    TRY(write_text_field(line, "text", result->text, result->text_length));
    TRY(buffer_format(line,
                      ",\"finish_reason\":\"%s\",\"prompt_tokens\":%d,\"completion_tokens\":%d",
                      finish_reason_name(result->finish_reason), result->prompt_tokens,
                      result->completion_tokens));
    if (result->error_length > 0) {
        TRY(write_text_field(line, "error", result->error, result->error_length));
    }
    TRY(write_token_fields(line, result));
    TRY(write_passthrough(exporter, result));
    TRY(buffer_append_text(line, "}\n"));
    return exporter->write(exporter->context, line->data, line->length);
}

/* ---- OpenAI batch output ------------------------------------------------------------------------
 */

/* There is no tokenizer here: a token's text is "token_id:N", as vLLM gives it on request. */
static status write_token_logprob(struct buffer *line, int32_t id, float logprob)
{
    TRY(buffer_format(line, "{\"token\":\"token_id:%d\",\"logprob\":", id));
    TRY(write_float(logprob, line));
    return buffer_append_text(line, ",\"bytes\":null");
}

static status write_choice_logprobs(struct buffer *line, const struct result *result)
{
    if (result->logprobs == NULL || result->token_ids == NULL) {
        return buffer_append_text(line, "null");
    }
    TRY(buffer_append_text(line, "{\"content\":["));
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        if (i > 0) {
            TRY(buffer_append_byte(line, ','));
        }
        TRY(write_token_logprob(line, result->token_ids[i], result->logprobs[i]));
        TRY(buffer_append_text(line, ",\"top_logprobs\":["));
        size_t at = (size_t)i * (size_t)result->top_logprobs;
        size_t count =
            result->top_ids != NULL && result->top_values != NULL ? top_count(result, i) : 0;
        for (size_t j = 0; j < count; j++) {
            if (j > 0) {
                TRY(buffer_append_byte(line, ','));
            }
            TRY(write_token_logprob(line, result->top_ids[at + j], result->top_values[at + j]));
            TRY(buffer_append_byte(line, '}'));
        }
        TRY(buffer_append_text(line, "]}"));
    }
    return buffer_append_text(line, "]}");
}

static status write_choice(struct exporter *exporter, const struct result *result)
{
    struct buffer *line = &exporter->line;
    TRY(buffer_format(line, "%s{\"index\":%d,\"message\":{\"role\":\"assistant\",\"content\":",
                      exporter->choices > 0 ? "," : "", result->sample));
    TRY(json_write_string(result->text != NULL ? result->text : "", result->text_length, line));
    TRY(buffer_append_text(line, "},\"logprobs\":"));
    TRY(write_choice_logprobs(line, result));
    TRY(buffer_format(line, ",\"finish_reason\":\"%s\"}",
                      finish_reason_name(result->finish_reason)));
    exporter->choices++;
    exporter->prompt_tokens = result->prompt_tokens;
    exporter->completion_tokens += result->completion_tokens;
    return STATUS_OK;
}

/* Ends the line of the row that is being written. */
static status end_row(struct exporter *exporter)
{
    struct buffer *line = &exporter->line;
    if (!exporter->open) {
        return STATUS_OK;
    }
    exporter->open = false;
    if (exporter->choices > 0) {
        TRY(buffer_format(line,
                          "],\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,"
                          "\"total_tokens\":%lld}}}",
                          (long long)exporter->prompt_tokens,
                          (long long)exporter->completion_tokens,
                          (long long)(exporter->prompt_tokens + exporter->completion_tokens)));
    } else {
        /* Nothing but errors: no response at all. */
        buffer_clear(line);
        TRY(buffer_append(line, exporter->head.data, exporter->head.length));
        TRY(buffer_append_text(line, "\"response\":null"));
    }
    TRY(buffer_append_text(line, ",\"error\":"));
    if (exporter->error.length > 0) {
        TRY(buffer_append_text(line, "{\"code\":\"row_error\",\"message\":"));
        TRY(json_write_string(exporter->error.data, exporter->error.length, line));
        TRY(buffer_append_byte(line, '}'));
    } else {
        TRY(buffer_append_text(line, "null"));
    }
    TRY(buffer_append_text(line, "}\n"));
    return exporter->write(exporter->context, line->data, line->length);
}

static status begin_row(struct exporter *exporter, const struct result *result)
{
    const struct json *fields;
    struct buffer *line = &exporter->line;
    exporter->open = true;
    exporter->row = result->row;
    exporter->choices = 0;
    exporter->prompt_tokens = exporter->completion_tokens = 0;
    buffer_clear(&exporter->error);
    buffer_clear(&exporter->head);
    buffer_clear(line);
    /* The model that the request asked for is the one that its sender looks for. */
    TRY(parse_passthrough(exporter, result, &fields));
    const char *model = json_string(json_get(json_get(fields, "body"), "model"));
    model = model != NULL ? model : exporter->model;
    TRY(buffer_format(&exporter->head,
                      "{\"id\":\"batch_req_%lld\",\"custom_id\":", (long long)result->row));
    TRY(json_write_string(result->id != NULL ? result->id : "", result->id_length,
                          &exporter->head));
    TRY(buffer_append_byte(&exporter->head, ','));
    TRY(buffer_append(line, exporter->head.data, exporter->head.length));
    TRY(buffer_format(line,
                      "\"response\":{\"status_code\":200,\"request_id\":\"row-%lld\",\"body\":{"
                      "\"id\":\"chatcmpl-%lld\",\"object\":\"chat.completion\",\"created\":%lld,"
                      "\"model\":",
                      (long long)result->row, (long long)result->row,
                      (long long)exporter->created));
    TRY(json_write_string(model, strlen(model), line));
    return buffer_append_text(line, ",\"choices\":[");
}

static status export_choice(void *context, const struct result *result)
{
    struct exporter *exporter = context;
    if (result->embedding != NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: holds embeddings, which are exported as jsonl alone",
                           exporter->path);
    }
    if (exporter->open && exporter->row != result->row) {
        TRY(end_row(exporter));
    }
    if (!exporter->open) {
        TRY(begin_row(exporter, result));
    }
    if (result->finish_reason != FINISH_ERROR) {
        return write_choice(exporter, result);
    }
    /* The first error of a row stands for it; samples that ended well stay. */
    if (exporter->error.length == 0) {
        TRY(result->error_length > 0
                ? buffer_append(&exporter->error, result->error, result->error_length)
                : buffer_append_text(&exporter->error, "unknown"));
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------------------------------------------
 */

/* "2026-01-31T12:00:00Z" as Unix seconds, 0 where it is not that. */
static int64_t unix_seconds(const char *text)
{
    struct tm utc = {0};
    if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &utc.tm_year, &utc.tm_mon,
                               &utc.tm_mday, &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6) {
        return 0;
    }
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    return (int64_t)timegm(&utc);
}

status output_export(struct output_reader *reader, enum export_format format, line_writer write,
                     void *context)
{
    struct exporter exporter = {
        .path = output_reader_path(reader), .write = write, .context = context};
    struct arena attributes = {0};
    const char *model = output_attribute_text(reader, "model_path", &attributes);
    exporter.model = model != NULL ? model : "";
    exporter.created = unix_seconds(output_attribute_text(reader, "created", &attributes));
    status s =
        output_visit(reader, format == EXPORT_OPENAI ? export_choice : export_line, &exporter);
    if (s == STATUS_OK) {
        s = end_row(&exporter);
    }
    buffer_destroy(&exporter.line);
    buffer_destroy(&exporter.error);
    buffer_destroy(&exporter.head);
    arena_destroy(&exporter.arena);
    arena_destroy(&attributes);
    return s;
}
