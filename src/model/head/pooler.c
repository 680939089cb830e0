/* SPDX-License-Identifier: Apache-2.0 */
/* What a task makes of a model that pools, and a pooled row's answer: an embedding, or scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/head/head.h"
#include "sluice/task.h"

/* ---- What the task makes of the model ---- */

unsigned head_abilities(const struct model *model)
{
    const struct model_config *config = &model->config;
    switch (config->head) {
    case HEAD_VOCABULARY:
        return ABLE_LOGITS | ABLE_VECTORS | (model->embedding.is_described ? ABLE_BEST : 0u) |
               (head_words_of(model) != NULL ? ABLE_RANK : 0u);
    case HEAD_LABELS:
        return ABLE_VECTORS | ABLE_LABELS | (config->labels == 1 ? ABLE_RANK | ABLE_VALUE : 0u);
    case HEAD_NONE:
        break;
    }
    return ABLE_VECTORS;
}

static enum model_answer answer_of(const struct model *model, enum task task)
{
    switch (task) {
    case TASK_CLASSIFY:
        return ANSWER_LABELS;
    case TASK_RERANK:
        return model->config.head == HEAD_VOCABULARY ? ANSWER_WORDS : ANSWER_RANK;
    case TASK_REWARD:
        return ANSWER_VALUE;
    default:
        return ANSWER_EMBEDDING;
    }
}

static int embedding_width(const struct model *model)
{
    return model->module_count > 0 ? model->modules[model->module_count - 1].outputs
                                   : model->config.hidden;
}

static enum pooling pooling_of(const struct model *model)
{
    return model->answer == ANSWER_EMBEDDING ? model->embedding.pooling
           : model->answer == ANSWER_WORDS   ? POOLING_LAST
                                             : model->config.head_pooling;
}

status model_prepare(struct model *model, enum task task)
{
    struct model_config *config = &model->config;
    TRY(task_check_model(task, config->abilities, config->architecture));
    config->pools = task_facts(task)->work == WORK_POOL;
    if (!config->pools) {
        return STATUS_OK;
    }
    model->answer = answer_of(model, task);
    config->answer_width = model->answer == ANSWER_EMBEDDING ? embedding_width(model)
                           : model->answer == ANSWER_LABELS  ? config->labels
                                                             : 1;
    config->whole_rows = config->encoder || pooling_of(model) != POOLING_LAST;
    if (model->answer != ANSWER_WORDS && model->most_embedded > 0 &&
        model->most_embedded < config->max_positions) {
        config->max_positions = model->most_embedded;
    }
    return STATUS_OK;
}

/* ---- The pooler ---- */

struct pooler {
    const struct model *model;
    enum pooling pooling;
    struct dense_layer *layers; /* [count] */
    int count;
    float *vectors[2]; /* [the widest] what goes from layer to layer */
};

static int widest(const struct pooler *self)
{
    int most = self->model->config.hidden;
    for (int i = 0; i < self->count; i++) {
        most = self->layers[i].outputs > most ? self->layers[i].outputs : most;
    }
    return most;
}

status pooler_create(struct model *model, struct pooler **out)
{
    *out = NULL;
    struct pooler *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    self->model = model;
    self->pooling = pooling_of(model);
    status s = head_load(model, &self->layers, &self->count);
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(self->vectors); i++) {
        self->vectors[i] = calloc((size_t)widest(self), sizeof(float));
        s = self->vectors[i] != NULL ? STATUS_OK
                                     : status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    if (s != STATUS_OK) {
        pooler_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void pooler_destroy(struct pooler *pooler)
{
    if (pooler == NULL) {
        return;
    }
    head_destroy(pooler->layers, pooler->count);
    free(pooler->vectors[0]);
    free(pooler->vectors[1]);
    free(pooler);
}

/* ---- Answers ---- */

static float logistic(double x)
{
    return (float)(1 / (1 + exp(-x)));
}

static void softmax(const float *logits, int count, float *out)
{
    double largest = (double)logits[0], sum = 0;
    for (int i = 1; i < count; i++) {
        largest = (double)logits[i] > largest ? (double)logits[i] : largest;
    }
    for (int i = 0; i < count; i++) {
        sum += exp((double)logits[i] - largest);
    }
    for (int i = 0; i < count; i++) {
        out[i] = (float)(exp((double)logits[i] - largest) / sum);
    }
}

static void make_scores(enum score_function function, const float *logits, int count, float *out)
{
    switch (function) {
    case SCORES_SOFTMAX:
        softmax(logits, count, out);
        return;
    case SCORES_LOGISTIC:
        for (int i = 0; i < count; i++) {
            out[i] = logistic((double)logits[i]);
        }
        return;
    case SCORES_AS_THEY_ARE:
        memcpy(out, logits, (size_t)count * sizeof *out);
        return;
    }
}

static void make_answer(const struct pooler *self, const float *values, float *out)
{
    const struct model_config *config = &self->model->config;
    switch (self->model->answer) {
    case ANSWER_EMBEDDING:
        memcpy(out, values, (size_t)config->answer_width * sizeof *out);
        if (self->model->embedding.normalize) {
            embedding_normalize(out, config->answer_width);
        }
        return;
    case ANSWER_LABELS:
        make_scores(config->class_scores, values, config->labels, out);
        return;
    case ANSWER_RANK:
        make_scores(config->rank_scores, values, 1, out);
        return;
    case ANSWER_VALUE:
        make_scores(SCORES_AS_THEY_ARE, values, 1, out);
        return;
    case ANSWER_WORDS: /* the second of two in a soft-max */
        out[0] = logistic((double)values[1] - (double)values[0]);
        return;
    }
}

void pooler_run(struct pooler *pooler, const float *hidden, int tokens, float *out)
{
    float *from = pooler->vectors[0], *to = pooler->vectors[1];
    embedding_pool(pooler->pooling, hidden, tokens, pooler->model->config.hidden, from);
    for (int i = 0; i < pooler->count; i++) {
        dense_run(&pooler->layers[i], from, to);
        float *swap = from;
        from = to;
        to = swap;
    }
    make_answer(pooler, from, out);
}
