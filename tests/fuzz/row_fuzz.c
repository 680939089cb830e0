/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a record of any kind. What parses must be whole: its passthrough is JSON again, its
 * parameters are in range. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_processors(const struct generate_params *params)
{
    for (int i = 0; i < params->allowed_id_count; i++) {
        if (params->allowed_ids[i] < 0) {
            abort();
        }
    }
    for (int i = 0; i < params->bias_count; i++) {
        const struct logit_bias *bias = &params->biases[i];
        if (bias->id < 0 || (i > 0 && bias->id <= bias[-1].id) ||
            !(bias->bias >= -100 && bias->bias <= 100)) {
            abort();
        }
    }
}

static void check_row(const struct row *row)
{
    if (row->id == NULL || (row->kind == PROMPT_TEXT && row->text == NULL) ||
        (row->kind == PROMPT_MESSAGES && row->messages == NULL)) {
        abort();
    }
    for (size_t i = 0; row->kind == PROMPT_TOKENS && i < row->token_count; i++) {
        if (row->tokens[i] < 0) {
            abort();
        }
    }
    const struct generate_params *params = &row->params;
    if (params->max_new_tokens < 1 ||
        !(params->sampling.top_p > 0 && params->sampling.top_p <= 1) ||
        !(params->sampling.temperature >= 0) || params->samples < 1 || params->sampling.top_k < 0 ||
        params->sampling.logprobs < -1 || params->sampling.logprobs > SAMPLING_MAX_LOGPROBS ||
        params->stop_count > GENERATE_MAX_STOPS || params->stop_id_count > GENERATE_MAX_STOP_IDS) {
        abort();
    }
    for (int i = 0; i < params->stop_count; i++) {
        if (params->stop[i] == NULL || params->stop[i][0] == '\0') {
            abort();
        }
    }
    check_processors(params);
}

/* What a look at the record finds is what parsing finds, where names are written as they are. */
static void check_id(const struct record *record, const char *field, struct arena *arena,
                     const struct row *row, bool parsed)
{
    struct record_id id;
    if (!record_find_id(record, field, arena, &id)) {
        return;
    }
    if (id.text == NULL || id.text[id.length] != '\0') {
        abort();
    }
    if (parsed && memchr(record->bytes.data, '\\', record->bytes.length) == NULL &&
        (!row->has_id || id.length != row->id_length || memcmp(id.text, row->id, id.length) != 0 ||
         id.is_number != row->id_is_number)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const struct {
        struct row_format format;
        enum task task;
    } kinds[] = {
        {{.chat = CHAT_AUTO}, TASK_GENERATE},
        {{.chat = CHAT_ALWAYS}, TASK_GENERATE},
        {{.chat = CHAT_NEVER}, TASK_GENERATE},
        {{.prompt_field = "q", .id_field = "k"}, TASK_GENERATE},
        {{.chat = CHAT_AUTO}, TASK_EMBED},
        {{.columns_are_data = true}, TASK_GENERATE},
        {{.completion_field = "c"}, TASK_SCORE},
        {{.chat = CHAT_AUTO}, TASK_SCORE},
    };
    _Static_assert(COUNT_OF(kinds) == 8, "a kind for each value of the first byte's low bits");
    if (length < 1) {
        return 0;
    }
    struct arena arena = {0};
    struct buffer text = {0};
    struct generate_params defaults;
    struct row row;
    /* Mostly JSON: the other kinds have little to find. */
    struct record record = {.row = 5, .position = 6, .kind = RECORD_JSON};
    if ((bytes[0] & 0x30) == 0x30) {
        record.kind = (enum record_kind)(bytes[0] >> 6);
    }
    const int kind = bytes[0] & 7;
    generate_params_defaults(&defaults);
    defaults.task = kinds[kind].task;
    status s = buffer_append(&record.bytes, bytes + 1, length - 1);
    if (s == STATUS_OK) {
        s = row_parse(&record, &kinds[kind].format, &defaults, &arena, &row);
        if (s == STATUS_OK) {
            check_row(&row);
        } else if (s != STATUS_INVALID || strchr(status_message(), '\n') != NULL) {
            abort();
        }
        check_id(&record, kinds[kind].format.id_field, &arena, &row, s == STATUS_OK);
        if (row.passthrough != NULL) {
            struct json *again;
            if (json_write(row.passthrough, &text) != STATUS_OK ||
                json_parse(text.data, text.length, &arena, &again) != STATUS_OK) {
                abort();
            }
        }
    }
    buffer_destroy(&record.bytes);
    buffer_destroy(&text);
    arena_destroy(&arena);
    return 0;
}
