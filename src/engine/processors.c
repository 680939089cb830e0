/* SPDX-License-Identifier: Apache-2.0 */
/* allowed_token_ids becomes a mask, logit_bias a list. min_tokens makes a second list, for the
 * positions before it: the same, with tokens that would end the sample at -infinity. */
#include "engine/processors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Parameters ---- */

static status check_id(const char *name, int32_t id, int vocabulary)
{
    return id >= 0 && id < vocabulary
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: token %d; the vocabulary has %d", name, (int)id,
                             vocabulary);
}

/* Whether a token would end a sample. End tokens count also where they are ignored: before
 * min_tokens vLLM does not draw them either. */
static bool is_end(const struct engine_options *options, const struct generate_params *params,
                   int32_t id)
{
    for (int i = 0; i < options->end_count; i++) {
        if (options->ends[i] == id) {
            return true;
        }
    }
    for (int i = 0; i < params->stop_id_count; i++) {
        if (params->stop_ids[i] == id) {
            return true;
        }
    }
    return false;
}

status processors_check(const struct engine_options *options, const struct generate_params *params,
                        int vocabulary)
{
    bool is_left = params->min_tokens == 0 || params->allowed_id_count == 0;
    for (int i = 0; i < params->allowed_id_count; i++) {
        TRY(check_id("allowed_token_ids", params->allowed_ids[i], vocabulary));
        is_left = is_left || !is_end(options, params, params->allowed_ids[i]);
    }
    for (int i = 0; i < params->bias_count; i++) {
        TRY(check_id("logit_bias", params->biases[i].id, vocabulary));
    }
    if (params->min_tokens > params->max_new_tokens) {
        return status_fail(STATUS_INVALID, "min_tokens: %d is more than max_new_tokens, %d",
                           params->min_tokens, params->max_new_tokens);
    }
    return is_left ? STATUS_OK
                   : status_fail(STATUS_INVALID,
                                 "min_tokens: all of allowed_token_ids would end the answer");
}

/* ---- Lists ---- */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row's logits processors");
}

static status create_mask(const struct generate_params *params, int vocabulary, uint32_t **out)
{
    *out = calloc((size_t)sampling_mask_words(vocabulary), sizeof **out);
    if (*out == NULL) {
        return no_memory();
    }
    for (int i = 0; i < params->allowed_id_count; i++) {
        const int32_t id = params->allowed_ids[i];
        (*out)[id / 32] |= UINT32_C(1) << (id % 32);
    }
    return STATUS_OK;
}

static int compare_biases(const void *a, const void *b)
{
    const struct logit_bias *left = a, *right = b;
    return left->id != right->id ? (left->id > right->id) - (left->id < right->id)
                                 : (left->bias > right->bias) - (left->bias < right->bias);
}

/* Adds the banned tokens to a copy of the biases; each id stays once, with its lowest bias. */
static status create_early(const struct engine_options *options,
                           const struct generate_params *params, int vocabulary,
                           struct processors *out)
{
    const size_t most =
        (size_t)params->bias_count + (size_t)options->end_count + (size_t)params->stop_id_count;
    out->early = malloc((most + 1) * sizeof *out->early);
    if (out->early == NULL) {
        return no_memory();
    }
    int count = params->bias_count;
    if (count > 0) {
        memcpy(out->early, params->biases, (size_t)count * sizeof *out->early);
    }
    for (int i = 0; i < options->end_count + params->stop_id_count; i++) {
        const int32_t id =
            i < options->end_count ? options->ends[i] : params->stop_ids[i - options->end_count];
        if (id >= 0 && id < vocabulary) { /* others are never drawn */
            out->early[count++] = (struct logit_bias){id, -INFINITY};
        }
    }
    qsort(out->early, (size_t)count, sizeof *out->early, compare_biases);
    for (int i = 0; i < count; i++) {
        if (out->early_count == 0 || out->early[out->early_count - 1].id != out->early[i].id) {
            out->early[out->early_count++] = out->early[i];
        }
    }
    return STATUS_OK;
}

status processors_create(const struct engine_options *options, const struct generate_params *params,
                         int vocabulary, struct processors *out)
{
    *out = (struct processors){.min_tokens = params->min_tokens};
    if (params->allowed_id_count > 0) {
        TRY(create_mask(params, vocabulary, &out->allowed));
        out->allowed_serial = sampling_mask_serial();
    }
    if (params->bias_count > 0) {
        const size_t bytes = (size_t)params->bias_count * sizeof *out->biases;
        out->biases = malloc(bytes);
        if (out->biases == NULL) {
            return no_memory();
        }
        memcpy(out->biases, params->biases, bytes);
        out->bias_count = params->bias_count;
    }
    return params->min_tokens > 0 ? create_early(options, params, vocabulary, out) : STATUS_OK;
}

void processors_destroy(struct processors *self)
{
    free(self->allowed);
    free(self->biases);
    free(self->early);
    *self = (struct processors){0};
}

void processors_apply(const struct processors *self, struct sample_request *request)
{
    const bool is_early = request->position < self->min_tokens;
    request->allowed = self->allowed;
    request->allowed_serial = self->allowed_serial;
    request->biases = is_early ? self->early : self->biases;
    request->bias_count = is_early ? self->early_count : self->bias_count;
}
