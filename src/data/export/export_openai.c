/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file as OpenAI's batch output has them: a line a row, whose samples are its
 * choices, in the form of the endpoint that the row was written for.
 *
 * Where OpenAI's documentation is silent it is as vLLM's run-batch writes it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "data/export/export.h"

/* What differs from endpoint to endpoint around the choices. */
struct form {
    const char *id;     /* what a body's id begins with */
    const char *object; /* the name of the body */
    const char *list;   /* the member that the choices stand in */
};

struct openai_exporter {
    const struct export_job *job;
    const char *model;
    int64_t created; /* Unix seconds */
    struct vocabulary vocabulary;
    /* The row whose line is being written: */
    bool open;
    int64_t row;
    enum endpoint endpoint;
    struct buffer line, head; /* head: what the line begins with */
    bool is_base64;
    int choices;
    int64_t prompt_tokens, completion_tokens;
    struct buffer error; /* of the first sample that has one */
    int error_code;
    struct buffer text; /* scratch: one token's name */
};

static const struct form *form_of(enum endpoint endpoint)
{
    static const struct form forms[] = {
        [ENDPOINT_NONE] = {"chatcmpl-", "chat.completion", "choices"},
        [ENDPOINT_CHAT] = {"chatcmpl-", "chat.completion", "choices"},
        [ENDPOINT_COMPLETIONS] = {"cmpl-", "text_completion", "choices"},
        [ENDPOINT_EMBEDDINGS] = {"embd-", "list", "data"},
    };
    return &forms[endpoint];
}

/* ---- Tokens ---- */

/* A token's text in self->text. A part of a character is U+FFFD there; a token that the file does
 * not know is "token_id:N", as vLLM gives it on request. NULL where its bytes are not known. */
static status name_token(struct openai_exporter *self, int32_t id, const char **bytes,
                         size_t *length)
{
    buffer_clear(&self->text);
    *bytes = vocabulary_find(&self->vocabulary, id, length);
    return *bytes != NULL ? buffer_append(&self->text, *bytes, *length)
                          : buffer_format(&self->text, "token_id:%d", id);
}

/* JSON has no infinity; both servers give this number in its place. */
static status write_logprob(float logprob, struct buffer *line)
{
    return export_float(logprob < -9999.0f ? -9999.0f : logprob, line);
}

static status write_bytes(const char *bytes, size_t length, struct buffer *line)
{
    if (bytes == NULL) {
        return buffer_append_text(line, "null");
    }
    TRY(buffer_append_byte(line, '['));
    for (size_t i = 0; i < length; i++) {
        TRY(buffer_format(line, "%s%d", i > 0 ? "," : "", (int)(unsigned char)bytes[i]));
    }
    return buffer_append_byte(line, ']');
}

/* Leaves the object open. */
static status write_chat_token(struct openai_exporter *self, int32_t id, float logprob)
{
    struct buffer *line = &self->line;
    const char *bytes;
    size_t length;
    TRY(name_token(self, id, &bytes, &length));
    TRY(buffer_append_text(line, "{\"token\":"));
    TRY(export_text(self->text.data, self->text.length, line));
    TRY(buffer_append_text(line, ",\"logprob\":"));
    TRY(write_logprob(logprob, line));
    TRY(buffer_append_text(line, ",\"bytes\":"));
    return write_bytes(bytes, length, line);
}

static status separate(struct buffer *line, bool first)
{
    return first ? STATUS_OK : buffer_append_byte(line, ',');
}

/* How many of the most likely tokens a token has: the rest is filled with -1. */
static size_t top_count(const struct result *result, int32_t token)
{
    size_t count = 0;
    if (result->top_ids == NULL || result->top_values == NULL) {
        return 0;
    }
    const int32_t *ids = result->top_ids + (size_t)token * (size_t)result->top_logprobs;
    while (count < (size_t)result->top_logprobs && ids[count] >= 0) {
        count++;
    }
    return count;
}

static bool has_logprobs(const struct result *result)
{
    return result->logprobs != NULL && result->token_ids != NULL;
}

/* {"content": [{token, logprob, bytes, top_logprobs}…]} */
static status write_chat_logprobs(struct openai_exporter *self, const struct result *result)
{
    struct buffer *line = &self->line;
    if (!has_logprobs(result)) {
        return buffer_append_text(line, "null");
    }
    TRY(buffer_append_text(line, "{\"content\":["));
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        TRY(separate(line, i == 0));
        TRY(write_chat_token(self, result->token_ids[i], result->logprobs[i]));
        TRY(buffer_append_text(line, ",\"top_logprobs\":["));
        size_t at = (size_t)i * (size_t)result->top_logprobs;
        for (size_t j = 0; j < top_count(result, i); j++) {
            TRY(separate(line, j == 0));
            TRY(write_chat_token(self, result->top_ids[at + j], result->top_values[at + j]));
            TRY(buffer_append_byte(line, '}'));
        }
        TRY(buffer_append_text(line, "]}"));
    }
    return buffer_append_text(line, "]}");
}

/* ---- Log-probabilities of /v1/completions: four lists ---- */

static status write_token_names(struct openai_exporter *self, const struct result *result)
{
    const char *bytes;
    size_t length;
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        TRY(separate(&self->line, i == 0));
        TRY(name_token(self, result->token_ids[i], &bytes, &length));
        TRY(export_text(self->text.data, self->text.length, &self->line));
    }
    return STATUS_OK;
}

/* Whether the text that stands for these bytes says which they are: parts of characters are all
 * U+FFFD. */
static bool is_distinct(const char *bytes, size_t length)
{
    return utf8_valid(bytes, length, NULL) && memmem(bytes, length, "\xEF\xBF\xBD", 3) == NULL;
}

/* Whether an earlier one of these ids has the same text, so that its name is taken. */
static bool name_is_taken(const struct openai_exporter *self, const int32_t *ids, size_t count,
                          int32_t id)
{
    size_t length, other;
    const char *bytes = vocabulary_find(&self->vocabulary, id, &length);
    bool distinct = bytes != NULL && is_distinct(bytes, length);
    for (size_t i = 0; bytes != NULL && i < count; i++) {
        const char *earlier = vocabulary_find(&self->vocabulary, ids[i], &other);
        if (earlier == NULL) {
            continue;
        }
        if (distinct ? other == length && memcmp(earlier, bytes, length) == 0
                     : !is_distinct(earlier, other)) {
            return true;
        }
    }
    return false;
}

/* `"text": logprob` of the i-th of these ids; a text that an earlier one has already is
 * "token_id:N", so that the object keeps both. */
static status write_named_logprob(struct openai_exporter *self, const int32_t *ids, size_t i,
                                  int32_t id, float logprob)
{
    const char *bytes;
    size_t length;
    if (name_is_taken(self, ids, i, id)) {
        buffer_clear(&self->text);
        TRY(buffer_format(&self->text, "token_id:%d", id));
    } else {
        TRY(name_token(self, id, &bytes, &length));
    }
    TRY(separate(&self->line, i == 0));
    TRY(export_text(self->text.data, self->text.length, &self->line));
    TRY(buffer_append_byte(&self->line, ':'));
    return write_logprob(logprob, &self->line);
}

/* The most likely tokens, and the chosen one where it is not among them. */
static status write_top_objects(struct openai_exporter *self, const struct result *result)
{
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        size_t at = (size_t)i * (size_t)result->top_logprobs;
        size_t count = top_count(result, i);
        const int32_t *ids = count > 0 ? result->top_ids + at : NULL;
        bool chosen_is_there = false;
        TRY(separate(&self->line, i == 0));
        TRY(buffer_append_byte(&self->line, '{'));
        for (size_t j = 0; j < count; j++) {
            chosen_is_there |= ids[j] == result->token_ids[i];
            TRY(write_named_logprob(self, ids, j, ids[j], result->top_values[at + j]));
        }
        if (!chosen_is_there) {
            TRY(write_named_logprob(self, ids, count, result->token_ids[i], result->logprobs[i]));
        }
        TRY(buffer_append_byte(&self->line, '}'));
    }
    return STATUS_OK;
}

/* Where each token's text begins in the answer, in characters of the texts given. */
static status write_text_offsets(struct openai_exporter *self, const struct result *result)
{
    const char *bytes;
    size_t length;
    int64_t offset = 0;
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        TRY(buffer_format(&self->line, "%s%lld", i > 0 ? "," : "", (long long)offset));
        TRY(name_token(self, result->token_ids[i], &bytes, &length));
        for (size_t at = 0, size = 1; at < self->text.length; at += size, offset++) {
            if (utf8_decode(self->text.data + at, self->text.length - at, &size) < 0) {
                size = 1;
            }
        }
    }
    return STATUS_OK;
}

static status write_text_logprobs(struct openai_exporter *self, const struct result *result)
{
    struct buffer *line = &self->line;
    if (!has_logprobs(result)) {
        return buffer_append_text(line, "null");
    }
    TRY(buffer_append_text(line, "{\"text_offset\":["));
    TRY(write_text_offsets(self, result));
    TRY(buffer_append_text(line, "],\"token_logprobs\":["));
    for (int32_t i = 0; i < result->completion_tokens; i++) {
        TRY(separate(line, i == 0));
        TRY(write_logprob(result->logprobs[i], line));
    }
    TRY(buffer_append_text(line, "],\"tokens\":["));
    TRY(write_token_names(self, result));
    TRY(buffer_append_text(line, "],\"top_logprobs\":["));
    TRY(write_top_objects(self, result));
    return buffer_append_text(line, "]}");
}

/* ---- Choices ---- */

/* One call; its id says where it stands, so that it is the same in every export. */
static status write_tool_call(const struct result *result, size_t i, const struct json *call,
                              struct buffer *line)
{
    const struct json *name = json_get(call, "name"), *arguments = json_get(call, "arguments");
    if (name == NULL || arguments == NULL) {
        return status_fail(STATUS_INVALID, "row %lld: tool_calls: no list of calls",
                           (long long)result->row);
    }
    TRY(buffer_format(line,
                      "{\"id\":\"call_%lld_%d_%zu\",\"type\":\"function\",\"function\":{\"name\":",
                      (long long)result->row, result->sample, i));
    TRY(json_write(name, line));
    TRY(buffer_append_text(line, ",\"arguments\":"));
    TRY(json_write(arguments, line));
    return buffer_append_text(line, "}}");
}

static status write_calls(const struct result *result, const struct json *calls,
                          struct buffer *line)
{
    TRY(buffer_append_text(line, ",\"tool_calls\":["));
    for (size_t i = 0; calls->type == JSON_ARRAY && i < calls->length; i++) {
        TRY(separate(line, i == 0));
        TRY(write_tool_call(result, i, calls->items[i], line));
    }
    return buffer_append_byte(line, ']');
}

static status write_tool_calls(struct openai_exporter *self, const struct result *result)
{
    struct arena arena = {0};
    struct json *calls;
    status s = json_parse(result->tool_calls, result->tool_calls_length, &arena, &calls);
    if (s == STATUS_OK) {
        s = write_calls(result, calls, &self->line);
    }
    arena_destroy(&arena);
    return s;
}

/* Beside calls an empty text is null, as both servers have it. */
static status write_message(struct openai_exporter *self, const struct result *result)
{
    const bool is_null = result->tool_calls_length > 0 && result->text_length == 0;
    TRY(buffer_append_text(&self->line, "\"message\":{\"role\":\"assistant\",\"content\":"));
    TRY(is_null ? buffer_append_text(&self->line, "null")
                : export_text(result->text, result->text_length, &self->line));
    if (result->reasoning_length > 0) {
        TRY(buffer_append_text(&self->line, ",\"reasoning_content\":"));
        TRY(export_text(result->reasoning, result->reasoning_length, &self->line));
    }
    if (result->tool_calls_length > 0) {
        TRY(write_tool_calls(self, result));
    }
    TRY(buffer_append_text(&self->line, "},\"logprobs\":"));
    return write_chat_logprobs(self, result);
}

static status write_text(struct openai_exporter *self, const struct result *result)
{
    TRY(buffer_append_text(&self->line, "\"text\":"));
    TRY(export_text(result->text, result->text_length, &self->line));
    TRY(buffer_append_text(&self->line, ",\"logprobs\":"));
    return write_text_logprobs(self, result);
}

static status write_embedding(struct openai_exporter *self, const struct result *result)
{
    TRY(buffer_append_text(&self->line, "\"object\":\"embedding\",\"embedding\":"));
    return export_vector(result->embedding, (size_t)result->embedding_width, self->is_base64,
                         &self->line);
}

/* What else the table of columns has for a choice. */
static status write_columns(struct openai_exporter *self, const struct result *result)
{
    const struct stored_result stored = {.result = *result};
    for (size_t i = 0; i < result_column_count; i++) {
        const struct result_column *column = &result_columns[i];
        if (result->tool_calls_length > 0 && result->finish_reason == FINISH_STOP &&
            column->member == offsetof(struct stored_result, result.finish_reason)) {
            TRY(buffer_format(&self->line, ",\"%s\":\"tool_calls\"", column->name));
        } else if (column->is_choice && output_reader_has(self->job->reader, column) &&
                   column_is_there(column, &stored)) {
            TRY(buffer_format(&self->line, ",\"%s\":", column->name));
            TRY(export_value(column, &stored, self->is_base64, &self->line));
        }
    }
    return STATUS_OK;
}

static status write_choice(struct openai_exporter *self, const struct result *result)
{
    struct buffer *line = &self->line;
    TRY(separate(line, self->choices == 0));
    TRY(buffer_format(line, "{\"index\":%d,", result->sample));
    if (self->endpoint == ENDPOINT_EMBEDDINGS) {
        TRY(write_embedding(self, result));
    } else {
        TRY(self->endpoint == ENDPOINT_COMPLETIONS ? write_text(self, result)
                                                   : write_message(self, result));
        TRY(write_columns(self, result));
    }
    self->choices++;
    self->prompt_tokens = result->prompt_tokens;
    self->completion_tokens += result->completion_tokens;
    return buffer_append_byte(line, '}');
}

/* ---- Rows ---- */

static status begin_row(struct openai_exporter *self, const struct result *result,
                        const struct json *fields)
{
    self->open = true;
    self->row = result->row;
    self->endpoint = result->embedding != NULL ? ENDPOINT_EMBEDDINGS : result->endpoint;
    self->choices = 0;
    self->prompt_tokens = self->completion_tokens = 0;
    buffer_clear(&self->error);
    buffer_clear(&self->head);
    buffer_clear(&self->line);
    /* The model that the request asked for is the one that its sender looks for. */
    const char *model = json_string(json_get(json_get(fields, "body"), "model"));
    model = model != NULL ? model : self->model;
    self->is_base64 = export_asks_base64(fields);
    long long row = result->row;
    TRY(buffer_format(&self->head, "{\"id\":\"batch_req_%lld\",\"custom_id\":", row));
    TRY(export_id(result, &self->head));
    TRY(buffer_append(&self->line, self->head.data, self->head.length));
    const struct form *form = form_of(self->endpoint);
    TRY(buffer_format(&self->line,
                      ",\"response\":{\"status_code\":200,\"request_id\":\"row-%lld\",\"body\":{"
                      "\"id\":\"%s%lld\",\"object\":\"%s\",\"created\":%lld,\"model\":",
                      row, form->id, row, form->object, (long long)self->created));
    TRY(json_write_string(model, strlen(model), &self->line));
    return buffer_format(&self->line, ",\"%s\":[", form->list);
}

static status write_usage(struct openai_exporter *self)
{
    struct buffer *line = &self->line;
    TRY(buffer_format(line, "],\"usage\":{\"prompt_tokens\":%lld", (long long)self->prompt_tokens));
    if (self->endpoint != ENDPOINT_EMBEDDINGS) {
        TRY(buffer_format(line, ",\"completion_tokens\":%lld", (long long)self->completion_tokens));
    }
    return buffer_format(line, ",\"total_tokens\":%lld}}}",
                         (long long)(self->prompt_tokens + self->completion_tokens));
}

static status write_error(const struct openai_exporter *self, struct buffer *line)
{
    TRY(buffer_append_text(line, "{\"message\":"));
    TRY(json_write_string(self->error.data, self->error.length, line));
    return buffer_format(line, ",\"type\":\"%s\",\"param\":null,\"code\":%d}",
                         self->error_code < 500 ? "BadRequestError" : "InternalServerError",
                         self->error_code);
}

/* A row of which no sample ended well: the body that a server would have answered with. */
static status write_refusal(struct openai_exporter *self)
{
    struct buffer *line = &self->line;
    buffer_clear(line);
    TRY(buffer_append(line, self->head.data, self->head.length));
    TRY(buffer_format(line,
                      ",\"response\":{\"status_code\":%d,\"request_id\":\"row-%lld\",\"body\":{"
                      "\"error\":",
                      self->error_code, (long long)self->row));
    TRY(write_error(self, line));
    return buffer_append_text(line, "}}");
}

static status end_row(struct openai_exporter *self)
{
    struct buffer *line = &self->line;
    if (!self->open) {
        return STATUS_OK;
    }
    self->open = false;
    TRY(self->choices > 0 ? write_usage(self) : write_refusal(self));
    TRY(buffer_append_text(line, ",\"error\":"));
    TRY(self->error.length > 0 ? write_error(self, line) : buffer_append_text(line, "null"));
    TRY(buffer_append_text(line, "}\n"));
    return self->job->write(self->job->context, line->data, line->length);
}

/* The first error of a row stands for it; samples that ended well stay. */
static status note_error(struct openai_exporter *self, const struct result *result)
{
    if (self->error.length > 0) {
        return STATUS_OK;
    }
    self->error_code = result_status_code(result);
    return result->error_length > 0
               ? buffer_append(&self->error, result->error, result->error_length)
               : buffer_append_text(&self->error, "unknown");
}

static status export_result(void *context, const struct stored_result *stored,
                            const struct json *fields)
{
    struct openai_exporter *self = context;
    const struct result *result = &stored->result;
    if (self->open && self->row != result->row) {
        TRY(end_row(self));
    }
    if (!self->open) {
        TRY(begin_row(self, result, fields));
    }
    return result->finish_reason == FINISH_ERROR ? note_error(self, result)
                                                 : write_choice(self, result);
}

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

status export_openai(const struct export_job *job)
{
    struct openai_exporter self = {.job = job};
    struct arena arena = {0};
    const char *model = output_attribute_text(job->reader, "model_path", &arena);
    self.model = model != NULL ? model : "";
    self.created = unix_seconds(output_attribute_text(job->reader, "created", &arena));
    status s = output_reader_vocabulary(job->reader, &arena, &self.vocabulary);
    if (s == STATUS_OK) {
        s = export_visit(job, NULL, export_result, &self);
    }
    if (s == STATUS_OK) {
        s = end_row(&self);
    }
    buffer_destroy(&self.line);
    buffer_destroy(&self.head);
    buffer_destroy(&self.error);
    buffer_destroy(&self.text);
    arena_destroy(&arena);
    return s;
}
