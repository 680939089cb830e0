/* SPDX-License-Identifier: Apache-2.0 */
/* The sampling values that a model brings: generation_config.json of a directory, or GGUF's
 * general.sampling.*. Those that vLLM takes as well. */
#include "model/read/sampling_defaults.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name; /* of job files and of generation_config.json */
    const char *gguf; /* or NULL */
} sampling_table[MODEL_SAMPLING_DEFAULTS] = {
    {"temperature", "general.sampling.temp"},
    {"top_k", "general.sampling.top_k"},
    {"top_p", "general.sampling.top_p"},
    {"min_p", "general.sampling.min_p"},
    {"repetition_penalty", "general.sampling.penalty_repeat"},
    {"max_new_tokens", NULL},
};

static status keep(struct model *model, size_t index, enum json_type type, const char *text,
                   size_t length)
{
    struct json *value = arena_allocate(&model->arena, sizeof *value);
    const char *copy = arena_copy(&model->arena, text, length);
    if (value == NULL || copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a model's sampling values");
    }
    *value = (struct json){.type = type, .text = copy, .length = length};
    model->sampling[index] = value;
    return STATUS_OK;
}

status sampling_defaults_read(struct model *model, const struct json *generation)
{
    for (size_t i = 0; i < COUNT_OF(sampling_table); i++) {
        const struct json *value = json_get(generation, sampling_table[i].name);
        if (value != NULL && value->type == JSON_NUMBER) {
            TRY(keep(model, i, JSON_NUMBER, value->text, value->length));
        } else if (value != NULL && value->type != JSON_NULL) {
            TRY(keep(model, i, value->type, "", 0)); /* named when it is refused */
        }
    }
    return STATUS_OK;
}

status sampling_defaults_read_gguf(struct model *model)
{
    for (size_t i = 0; i < COUNT_OF(sampling_table); i++) {
        double number;
        char text[40];
        if (sampling_table[i].gguf != NULL &&
            gguf_real(&model->gguf, sampling_table[i].gguf, &number)) {
            /* Seven digits: what a float32, the type of the file, was written from. */
            int length = snprintf(text, sizeof text, "%.7g", number);
            TRY(keep(model, i, JSON_NUMBER, text, (size_t)length));
        }
    }
    return STATUS_OK;
}

bool model_sampling_default(const struct model *model, size_t index, const char **name,
                            const struct json **value)
{
    if (index >= COUNT_OF(sampling_table)) {
        return false;
    }
    *name = sampling_table[index].name;
    *value = model->sampling[index];
    return true;
}
