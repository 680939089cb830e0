/* SPDX-License-Identifier: Apache-2.0 */
/* What rows ask for to grammars, with what the model may think before. */
#include "run/answers/row_forms.h"

#include <string.h>

#include "sluice/task.h"

void row_forms_start(struct row_forms *self, const struct model *model,
                     const struct answer_reader *answers)
{
    const struct reasoning_form *reasoning = answers->reasoning;
    *self = (struct row_forms){.model = model,
                               .tokenizer = answers->tokenizer,
                               .reasoning = reasoning,
                               .style = {.tokenizer = answers->tokenizer, .calls = answers->calls}};
    self->has_marker = reasoning != NULL &&
                       (reasoning->has_channels ||
                        tokenizer_is_special(self->tokenizer,
                                             tokenizer_token_id(self->tokenizer, reasoning->end)));
    self->style.reasoning = self->has_marker ? NULL : reasoning;
}

void row_forms_end(struct row_forms *self)
{
    structured_cache_destroy(self->cache);
    grammar_vocabulary_destroy(self->vocabulary);
    token_list_destroy(&self->marker);
    *self = (struct row_forms){0};
}

/* The tokens that end what is thought: of channels the beginning of the final one. */
static status encode_marker(struct row_forms *self)
{
    const char *text =
        self->reasoning->has_channels ? "<|channel|>final<|message|>" : self->reasoning->end;
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(self->tokenizer);
    if (scratch == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a marker");
    }
    status s = tokenizer_encode(self->tokenizer, scratch, text, strlen(text), false, &self->marker);
    tokenizer_scratch_destroy(scratch);
    return s != STATUS_OK || self->marker.count <= GENERATE_MAX_MARKER
               ? s
               : status_fail(STATUS_UNSUPPORTED, "model.reasoning: a marker of %zu tokens",
                             self->marker.count);
}

static status prepare(struct row_forms *self)
{
    const struct model_config *config = model_config(self->model);
    if (self->cache != NULL) {
        return STATUS_OK;
    }
    TRY(model_need_tokenizer(self->model));
    if (self->vocabulary == NULL) {
        TRY(grammar_vocabulary_of(self->tokenizer, (size_t)config->vocabulary, config->ends,
                                  (size_t)config->end_count, &self->vocabulary));
    }
    if (self->has_marker && self->marker.count == 0) {
        TRY(encode_marker(self));
    }
    return structured_cache_create(self->vocabulary, &self->style, &self->cache);
}

/* Special markers are known to come where the prompt has begun the thinking, or each answer has
 * channels. */
static void set_marker(const struct row_forms *self, bool is_thinking,
                       struct generate_params *params)
{
    if (self->has_marker && (is_thinking || self->reasoning->has_channels)) {
        memcpy(params->grammar_after, self->marker.ids,
               self->marker.count * sizeof *self->marker.ids);
        params->grammar_after_count = (int)self->marker.count;
    }
}

static enum thinking thinking_of(const struct row_forms *self, const struct token_list *prompt,
                                 bool is_thinking)
{
    const struct reasoning_form *form = self->style.reasoning;
    bool is_over =
        form != NULL && answer_ends_with(form->end, self->tokenizer, prompt->ids, prompt->count);
    return form == NULL || is_over ? THINKING_NONE
           : is_thinking           ? THINKING_OPEN
                                   : THINKING_OPTIONAL;
}

status row_forms_take(struct row_forms *self, const struct token_list *prompt,
                      struct generate_params *params, struct structured_entry **out)
{
    *out = NULL;
    if (params->structured.kind == STRUCTURED_NONE ||
        task_facts(params->task)->work != WORK_SAMPLE) {
        return STATUS_OK;
    }
    TRY(prepare(self));
    const bool is_thinking =
        answer_is_thinking(self->reasoning, self->tokenizer, prompt->ids, prompt->count);
    TRY(structured_take(self->cache, &params->structured, thinking_of(self, prompt, is_thinking),
                        out));
    params->grammar = structured_masks(*out);
    params->grammar_closes = params->structured.close;
    set_marker(self, is_thinking, params);
    return STATUS_OK;
}

void row_forms_release(struct row_forms *self, struct structured_entry *entry)
{
    if (entry != NULL) {
        structured_release(self->cache, entry);
    }
}
