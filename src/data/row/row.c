/* SPDX-License-Identifier: Apache-2.0 */
/* Records to rows: a line of JSON, a text or token ids, with the job's parameters. */
#include <stdio.h>
#include <string.h>

#include "data/row/chat_prompt.h"
#include "data/row/request.h"
#include "sluice/task.h"

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
}

static status parse_json_row(const struct record *record, const struct row_format *format,
                             struct arena *arena, struct row *row)
{
    struct json *line;
    TRY(json_parse(record->bytes.data != NULL ? record->bytes.data : "", record->bytes.length,
                   arena, &line));
    return request_parse(line, format, arena, row);
}

static status parse_text_row(const struct record *record, const struct row_format *format,
                             struct arena *arena, struct row *row)
{
    size_t bad_offset;
    if (!utf8_valid(record->bytes.data, record->bytes.length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "byte %zu: not valid UTF-8", bad_offset);
    }
    char *text = arena_copy(arena, record->bytes.data, record->bytes.length);
    return text != NULL ? chat_prompt_set_text(text, record->bytes.length, format->chat, arena, row)
                        : no_memory();
}

static status parse_token_row(const struct record *record, struct arena *arena, struct row *row)
{
    size_t count = record->bytes.length / sizeof(int32_t);
    if (record->bytes.length % sizeof(int32_t) != 0) {
        return status_fail(STATUS_INVALID, "token ids of %zu bytes", record->bytes.length);
    }
    int32_t *tokens = arena_allocate_array(arena, count, sizeof *tokens);
    if (tokens == NULL) {
        return no_memory();
    }
    if (count > 0) {
        memcpy(tokens, record->bytes.data, record->bytes.length);
    }
    for (size_t i = 0; i < count; i++) {
        if (tokens[i] < 0) {
            return status_fail(STATUS_INVALID, "%d is no token id", tokens[i]);
        }
    }
    row->kind = PROMPT_TOKENS;
    row->tokens = tokens;
    row->token_count = count;
    return STATUS_OK;
}

/* The row with the job's parameters, and its index as its id. */
static status begin_row(int64_t index, const struct generate_params *defaults, struct arena *arena,
                        struct row *row)
{
    *row = (struct row){.index = index, .params = *defaults};
    row->params.seed_is_own = false;
    row->params.structured.is_own = false;
    char number[24];
    int length = snprintf(number, sizeof number, "%lld", (long long)index);
    row->id = arena_copy(arena, number, (size_t)length);
    row->id_length = (size_t)length;
    return row->id != NULL ? STATUS_OK : no_memory();
}

status row_parse_json(const struct json *line, const struct row_format *format,
                      const struct generate_params *defaults, struct arena *arena, struct row *row)
{
    TRY(begin_row(0, defaults, arena, row));
    return request_parse(line, format, arena, row);
}

static status parse_record(const struct record *record, const struct row_format *format,
                           const struct generate_params *defaults, struct arena *arena,
                           struct row *row)
{
    TRY(begin_row(record->row, defaults, arena, row));
    switch (record->kind) {
    case RECORD_JSON:
        return parse_json_row(record, format, arena, row);
    case RECORD_TEXT:
        return parse_text_row(record, format, arena, row);
    case RECORD_TOKENS:
        return parse_token_row(record, arena, row);
    case RECORD_BAD:
        break;
    }
    return status_fail(STATUS_INVALID, "%.*s", (int)record->bytes.length,
                       record->bytes.data != NULL ? record->bytes.data : "unreadable");
}

/* The endpoint that takes such a prompt. */
static enum endpoint implied_endpoint(const struct row *row)
{
    const enum endpoint only = task_facts(row->params.task)->endpoint;
    return only != ENDPOINT_NONE          ? only
           : row->kind == PROMPT_MESSAGES ? ENDPOINT_CHAT
                                          : ENDPOINT_COMPLETIONS;
}

status row_parse(const struct record *record, const struct row_format *format,
                 const struct generate_params *defaults, struct arena *arena, struct row *row)
{
    TRY(parse_record(record, format, defaults, arena, row));
    if (format->system != NULL) {
        TRY(chat_prompt_add_system(format->system, arena, row));
    }
    if (row->endpoint == ENDPOINT_NONE) {
        row->endpoint = implied_endpoint(row);
    }
    return STATUS_OK;
}

int row_answers(const struct row *row)
{
    return row->completions != NULL ? (int)row->completions->length : row->params.samples;
}

status row_take_part(struct row *row, int part)
{
    if (row->completions == NULL) {
        return STATUS_OK;
    }
    const struct json *text = row->completions->items[part];
    const char *name = task_facts(row->params.task)->completions_name;
    if (row->completions->length > GENERATE_MAX_SAMPLES) {
        return status_fail(STATUS_INVALID, "%s: %zu of them; a row has at most %d", name,
                           row->completions->length, GENERATE_MAX_SAMPLES);
    }
    if (text->type != JSON_STRING || text->length == 0) {
        return status_fail(STATUS_INVALID, "%s[%d]: expected a text", name, part);
    }
    row->completion = text->text;
    row->completion_length = text->length;
    return STATUS_OK;
}
