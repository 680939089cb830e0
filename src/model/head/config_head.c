/* SPDX-License-Identifier: Apache-2.0 */
/* What config.json says of the head: labels, and what their scores are made of.
 *
 * As transformers' text classification pipeline has it: no function where problem_type says
 * regression, the logistic one for multi_label_classification or a single label, else soft-max. A
 * reranker's is that of sentence-transformers' CrossEncoder. */
#include <stdio.h>
#include <string.h>

#include "model/read/config.h"

enum { MAX_LABELS = 1 << 16 };

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

enum model_head config_head_of(const char *architecture, bool is_encoder)
{
    if (ends_with(architecture, "ForSequenceClassification")) {
        return HEAD_LABELS;
    }
    return is_encoder || ends_with(architecture, "Model") ? HEAD_NONE : HEAD_VOCABULARY;
}

/* The architecture of the same family that the table may have instead, which has other ends. */
const struct family *config_family_by_stem(const char *architecture)
{
    static const char *const ends[] = {"ForSequenceClassification", "TextModel", "Model"};
    static const char *const others[] = {"ForCausalLM", "Model"};
    char name[96];
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        if (!ends_with(architecture, ends[i])) {
            continue;
        }
        const int stem = (int)(strlen(architecture) - strlen(ends[i]));
        for (size_t j = 0; j < COUNT_OF(others); j++) {
            const int length = snprintf(name, sizeof name, "%.*s%s", stem, architecture, others[j]);
            const struct family *family =
                length < (int)sizeof name ? family_find(name, NULL) : NULL;
            if (family != NULL) {
                return family;
            }
        }
    }
    return NULL;
}

/* ---- Labels ---- */

static status read_name(const struct json *names, int label, struct arena *arena, const char **out)
{
    char key[16];
    snprintf(key, sizeof key, "%d", label);
    const struct json *name = names != NULL ? json_get(names, key) : NULL;
    if (names != NULL && (name == NULL || name->type != JSON_STRING)) {
        return status_fail(STATUS_INVALID, "id2label: expected a name for each of 0 to %d",
                           (int)names->length - 1);
    }
    char usual[32];
    const int length = snprintf(usual, sizeof usual, "LABEL_%d", label);
    *out = name != NULL ? arena_copy(arena, name->text, name->length)
                        : arena_copy(arena, usual, (size_t)length);
    return *out != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
}

static status read_labels(const struct json *root, struct arena *arena, struct model_config *out)
{
    const struct json *names = config_has(root, "id2label") ? json_get(root, "id2label") : NULL;
    if (names != NULL && names->type != JSON_OBJECT) {
        return config_expected("id2label", "an object", names);
    }
    if (names != NULL && (names->length == 0 || names->length > MAX_LABELS)) {
        return status_fail(STATUS_INVALID, "id2label: expected 1 to %d labels", MAX_LABELS);
    }
    out->labels = names != NULL ? (int)names->length : 0;
    if (names == NULL) {
        TRY(config_read_integer(root, "num_labels", 1, MAX_LABELS, 2, &out->labels));
    }
    const char **labels = arena_allocate_array(arena, (size_t)out->labels, sizeof *labels);
    if (labels == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    for (int i = 0; i < out->labels; i++) {
        TRY(read_name(names, i, arena, &labels[i]));
    }
    out->label_names = labels;
    return STATUS_OK;
}

/* ---- Scores ---- */

static status read_problem(const struct json *root, struct model_config *out)
{
    static const char key[] = "problem_type";
    static const struct {
        const char *name;
        enum score_function function;
    } known[] = {{"regression", SCORES_AS_THEY_ARE},
                 {"multi_label_classification", SCORES_LOGISTIC},
                 {"single_label_classification", SCORES_SOFTMAX}};
    out->class_scores = out->labels == 1 ? SCORES_LOGISTIC : SCORES_SOFTMAX;
    if (!config_has(root, key)) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (json_is_string(json_get(root, key), known[i].name)) {
            /* A soft-max over one label says nothing: transformers takes the logistic function. */
            out->class_scores = known[i].function == SCORES_SOFTMAX && out->labels == 1
                                    ? SCORES_LOGISTIC
                                    : known[i].function;
            return STATUS_OK;
        }
    }
    return config_expected(key,
                           "regression, multi_label_classification or single_label_classification",
                           json_get(root, key));
}

/* The name of a torch class, as CrossEncoder saves it. */
static status read_rank_function(const struct json *root, struct model_config *out)
{
    static const char old_key[] = "sbert_ce_default_activation_function";
    const struct json *own = json_get(root, "sentence_transformers");
    const struct json *value = own != NULL ? json_get(own, "activation_fn") : NULL;
    value = value != NULL ? value : json_get(root, old_key);
    out->rank_scores = SCORES_LOGISTIC;
    if (value == NULL || value->type == JSON_NULL) {
        return STATUS_OK;
    }
    const char *name = json_string(value);
    const bool is_identity = name != NULL && ends_with(name, ".Identity");
    if (!is_identity && (name == NULL || !ends_with(name, ".Sigmoid"))) {
        return config_expected(own != NULL ? "sentence_transformers.activation_fn" : old_key,
                               "torch's Sigmoid or Identity", value);
    }
    out->rank_scores = is_identity ? SCORES_AS_THEY_ARE : SCORES_LOGISTIC;
    return STATUS_OK;
}

static status read_head_pooling(const struct json *root, const struct family *family,
                                struct model_config *out)
{
    static const char key[] = "classifier_pooling";
    out->head_pooling = family->encoder ? POOLING_CLS : POOLING_LAST;
    if (!family->head_pooling_by_key || !config_has(root, key)) {
        return STATUS_OK;
    }
    const struct json *value = json_get(root, key);
    if (!json_is_string(value, "cls") && !json_is_string(value, "mean")) {
        return config_expected(key, "cls or mean", value);
    }
    out->head_pooling = json_is_string(value, "cls") ? POOLING_CLS : POOLING_MEAN;
    return STATUS_OK;
}

status config_read_head(const struct json *root, const struct family *family, struct arena *arena,
                        struct model_config *out)
{
    out->head = config_head_of(out->architecture, family->encoder);
    out->pools = out->head != HEAD_VOCABULARY;
    out->whole_rows = family->encoder;
    out->answer_width = out->pools ? out->hidden : 0;
    if (out->head != HEAD_LABELS) {
        return STATUS_OK;
    }
    TRY(read_labels(root, arena, out));
    TRY(read_problem(root, out));
    TRY(read_rank_function(root, out));
    return read_head_pooling(root, family, out);
}
