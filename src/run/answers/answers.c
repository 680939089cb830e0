/* SPDX-License-Identifier: Apache-2.0 */
/* Answers into parts, as the job says or the model suggests. */
#include "run/answers/answers.h"

#include <string.h>

#include "sluice/chat.h"

void answer_reader_start(struct answer_reader *reader, const struct job *job,
                         const struct model *model)
{
    const struct tokenizer *tokenizer = model_tokenizer(model);
    *reader = (struct answer_reader){.tokenizer = tokenizer};
    if (tokenizer == NULL) {
        return; /* there are no texts */
    }
    reader->reasoning = job->model.reasoning == -1 ? reasoning_form_of(tokenizer)
                        : job->model.reasoning >= 0
                            ? reasoning_form_at((size_t)job->model.reasoning)
                            : NULL;
    reader->calls = job->model.tool_calls == -1  ? model_tool_call_form(model)
                    : job->model.tool_calls >= 0 ? tool_call_form_at((size_t)job->model.tool_calls)
                                                 : NULL;
    reader->special[0] = answer_needs_special(reader->reasoning, NULL, tokenizer);
    reader->special[1] = answer_needs_special(reader->reasoning, reader->calls, tokenizer);
}

void answer_reader_end(struct answer_reader *reader)
{
    buffer_destroy(&reader->text);
}

bool answer_reader_is_thinking(const struct answer_reader *reader, const struct token_list *prompt)
{
    return answer_is_thinking(reader->reasoning, reader->tokenizer, prompt->ids, prompt->count);
}

/* The tokens' text holds the stop string that ended the answer: its last occurrence. */
static void cut_stop(const struct row *row, const struct finished_sample *sample,
                     struct buffer *text)
{
    const struct generate_params *params = &row->params;
    if (sample->reason != FINISH_STOP || params->include_stop) {
        return;
    }
    size_t cut = text->length;
    for (int i = 0; i < params->stop_count; i++) {
        size_t length = strlen(params->stop[i]);
        for (size_t at = text->length - (length < text->length ? length : text->length);
             length <= text->length; at--) {
            if (memcmp(text->data + at, params->stop[i], length) == 0) {
                cut = at < cut ? at : cut;
                break;
            }
            if (at == 0) {
                break;
            }
        }
    }
    text->length = cut;
}

static status marked_text(struct answer_reader *reader, const struct row *row,
                          const struct tool_call_form *calls, const struct finished_sample *sample,
                          struct text_span *out)
{
    if (!reader->special[calls != NULL] || row->params.keep_special_tokens) {
        return STATUS_OK; /* the text has all markers */
    }
    buffer_clear(&reader->text);
    TRY(answer_decode(reader->reasoning, calls, reader->tokenizer, sample->token_ids,
                      (size_t)sample->completion_tokens, &reader->text));
    cut_stop(row, sample, &reader->text);
    *out = (struct text_span){reader->text.data, reader->text.length};
    return STATUS_OK;
}

static status keep(struct arena *arena, struct text_span part, const char **text, size_t *length)
{
    if (part.data == NULL) {
        return STATUS_OK;
    }
    *text = arena_copy(arena, part.data, part.length);
    *length = part.length;
    return *text != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for a result");
}

status answer_reader_take(struct answer_reader *reader, const struct row *row, bool is_thinking,
                          const struct finished_sample *sample, struct arena *arena,
                          struct result *result)
{
    const struct tool_call_form *calls = row->may_call_tools ? reader->calls : NULL;
    struct text_span whole = {result->text, result->text_length};
    struct answer_parts parts;
    if (reader->reasoning == NULL && calls == NULL) {
        return STATUS_OK;
    }
    TRY(marked_text(reader, row, calls, sample, &whole));
    if (whole.data == NULL) {
        return STATUS_OK;
    }
    TRY(answer_split(reader->reasoning, calls, is_thinking, whole.data, whole.length, arena,
                     &parts));
    if (parts.reasoning.data == NULL && parts.tool_calls.data == NULL) {
        return STATUS_OK; /* the text is the answer, as it was decoded */
    }
    TRY(keep(arena, parts.reasoning, &result->reasoning, &result->reasoning_length));
    TRY(keep(arena, parts.tool_calls, &result->tool_calls, &result->tool_calls_length));
    return keep(arena, parts.text, &result->text, &result->text_length);
}
