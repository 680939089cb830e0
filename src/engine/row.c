/* SPDX-License-Identifier: Apache-2.0 */
/* A row of the data set as it is queued: what of it is refused, and its copy. */
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"

static status check_params(const struct engine_options *options,
                           const struct generate_params *params)
{
    if (params->max_new_tokens < 1 || params->samples < 1 ||
        params->samples > GENERATE_MAX_SAMPLES || params->sampling.logprobs < -1 ||
        params->sampling.logprobs > SAMPLING_MAX_LOGPROBS || params->stop_count < 0 ||
        params->stop_count > GENERATE_MAX_STOPS || params->stop_id_count < 0 ||
        params->stop_id_count > GENERATE_MAX_STOP_IDS) {
        return status_fail(STATUS_INVALID, "generation parameters out of range");
    }
    const struct task_facts *task = task_facts(params->task);
    if ((task->work == WORK_POOL) != (options->embedding_width > 0)) {
        return status_fail(STATUS_INVALID, "engine: no text is %s here", task->done);
    }
    if (params->samples > 1 && task->work != WORK_SAMPLE) {
        return status_fail(STATUS_INVALID, "n: %d; a text is %s once", params->samples, task->done);
    }
    if (params->stop_count > 0 && options->tokenizer == NULL) {
        return status_fail(STATUS_INVALID,
                           "stop strings need a tokenizer, and the model has none; use "
                           "stop_token_ids");
    }
    for (int i = 0; i < params->stop_count; i++) {
        if (params->stop[i] == NULL || params->stop[i][0] == '\0') {
            return status_fail(STATUS_INVALID, "an empty stop string");
        }
    }
    return STATUS_OK;
}

static status check_prompt(const struct engine_options *options, const int32_t *prompt,
                           size_t prompt_count, bool is_answered, int vocabulary)
{
    if (prompt_count == 0) {
        return status_fail(STATUS_INVALID, "an empty prompt");
    }
    if (prompt_count + is_answered > (size_t)options->max_model_len) {
        return status_fail(STATUS_INVALID, "prompt of %zu tokens; the context holds %d",
                           prompt_count, options->max_model_len);
    }
    for (size_t i = 0; i < prompt_count; i++) {
        if (prompt[i] < 0 || prompt[i] >= vocabulary) {
            return status_fail(STATUS_INVALID, "prompt token %zu is %d; the vocabulary has %d", i,
                               (int)prompt[i], vocabulary);
        }
    }
    return STATUS_OK;
}

status engine_check_row(const struct engine_options *options, const int32_t *prompt,
                        size_t prompt_count, size_t first_scored,
                        const struct generate_params *params, int vocabulary)
{
    const enum task_work work = task_facts(params->task)->work;
    TRY(check_params(options, params));
    TRY(check_prompt(options, prompt, prompt_count, work == WORK_SAMPLE, vocabulary));
    if ((work == WORK_READ) != (first_scored > 0) || first_scored >= prompt_count) {
        return status_fail(STATUS_INVALID, "no token to score: the text has %zu, from %zu on",
                           prompt_count, first_scored);
    }
    if (work != WORK_SAMPLE) {
        return STATUS_OK;
    }
    TRY(processors_check(options, params, vocabulary));
    return constraint_check(params);
}

status engine_row_create(const struct engine_options *options, int64_t row, const int32_t *prompt,
                         size_t prompt_count, size_t first_scored,
                         const struct generate_params *params, int vocabulary, void *tag,
                         struct engine_row **out)
{
    TRY(engine_check_row(options, prompt, prompt_count, first_scored, params, vocabulary));
    size_t prompt_bytes = prompt_count * sizeof *prompt;
    size_t bytes = sizeof(struct engine_row) + prompt_bytes;
    for (int i = 0; i < params->stop_count; i++) {
        bytes += strlen(params->stop[i]) + 1;
    }
    struct engine_row *self = malloc(bytes);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row of %zu tokens", prompt_count);
    }
    char *behind = (char *)(self + 1);
    *self = (struct engine_row){
        .row = row,
        .tag = tag,
        .work = task_facts(params->task)->work,
        .params = *params,
        .prompt_count = (int)prompt_count,
        .prompt = memcpy(behind, prompt, prompt_bytes),
        .first_scored = (int)first_scored,
        .pools_last = options->pools_last,
        .needs_history = params->sampling.repetition_penalty != 1 ||
                         params->sampling.presence_penalty != 0 ||
                         params->sampling.frequency_penalty != 0,
    };
    self->top = params->sampling.logprobs;
    if (self->work == WORK_READ) { /* whether each token was the likeliest is asked in any case */
        self->top = self->top < 0 ? 0 : self->top;
        self->params.sampling.logprobs = self->top < 1 ? 1 : self->top;
    }
    behind += prompt_bytes;
    for (int i = 0; i < params->stop_count; i++) {
        size_t length = strlen(params->stop[i]) + 1;
        self->params.stop[i] = memcpy(behind, params->stop[i], length);
        behind += length;
    }
    if (self->work == WORK_SAMPLE) {
        status s = processors_create(options, params, vocabulary, &self->processors);
        if (s != STATUS_OK) {
            engine_row_destroy(self);
            return s;
        }
    }
    self->params.allowed_ids = NULL; /* the processors have what of them counts */
    self->params.biases = NULL;
    *out = self;
    return STATUS_OK;
}

void engine_row_destroy(struct engine_row *row)
{
    processors_destroy(&row->processors);
    free(row);
}
