/* SPDX-License-Identifier: Apache-2.0 */
/* The weights of what follows the pooling. */
#include "model/head/head.h"

#include <stdlib.h>
#include <string.h>

#include "model/formats/safetensors.h"
#include "model/load/names.h"

/* ---- Tensors ---- */

/* Where layers are read from; `is_dry`: shapes alone. */
struct head_reader {
    struct model *model;
    const struct tensor_table *table;
    struct tensor_scratch scratch;
    bool is_dry;
};

static status fail_shape(const struct head_reader *reader, const struct tensor *tensor,
                         const char *wanted)
{
    return status_fail(STATUS_INVALID, "%s: tensor %s: expected %s",
                       tensor_path(reader->table, tensor), tensor->name, wanted);
}

/* [outputs, inputs]; *outputs is the file's where it is 0. */
static status read_weight(struct head_reader *reader, const struct tensor *tensor, int inputs,
                          int *outputs, float **out)
{
    enum { MOST_OUTPUTS = 1 << 20 };
    if (tensor->rank != 2 || tensor->shape[1] != inputs || tensor->shape[0] < 1 ||
        tensor->shape[0] > MOST_OUTPUTS || (*outputs > 0 && tensor->shape[0] != *outputs)) {
        return fail_shape(reader, tensor, "a matrix that fits the configuration");
    }
    *outputs = (int)tensor->shape[0];
    if (reader->is_dry) {
        return STATUS_OK;
    }
    struct tensor_source source;
    TRY(tensor_source_find(reader->table, tensor, &source));
    float *values = calloc((size_t)*outputs * (size_t)inputs, sizeof *values);
    if (values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    *out = values;
    for (int row = 0; row < *outputs; row++) {
        TRY(tensor_read_row(reader->table, &source, row, &reader->scratch,
                            values + (size_t)row * (size_t)inputs));
    }
    return STATUS_OK;
}

static status read_vector(struct head_reader *reader, const struct tensor *tensor, int length,
                          float **out)
{
    if (tensor->rank != 1 || tensor->shape[0] != length) {
        return fail_shape(reader, tensor, "a value for each output");
    }
    if (reader->is_dry) {
        return STATUS_OK;
    }
    float *values = calloc((size_t)length, sizeof *values);
    if (values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    *out = values;
    return tensor_read_values(reader->table, tensor, 0, length, &reader->scratch, values);
}

static status fail_missing(const struct model *model, const char *name)
{
    return status_fail(STATUS_INVALID, "%s: tensor %s is missing", model->path, name);
}

/* ---- A classifier's head ---- */

static const struct tensor *find(const struct head_reader *reader, const char *pattern)
{
    return pattern != NULL ? tensor_find_in_layer(reader->model, pattern, 0) : NULL;
}

/* A vector that counts where it is there. */
static status read_optional(struct head_reader *reader, const char *pattern, int length,
                            float **out)
{
    const struct tensor *tensor = find(reader, pattern);
    return tensor != NULL ? read_vector(reader, tensor, length, out) : STATUS_OK;
}

static status read_layer(struct head_reader *reader, const struct head_layer *shape, int inputs,
                         int outputs, struct dense_layer *out)
{
    const struct tensor *weight = find(reader, shape->weight);
    if (weight == NULL) {
        return fail_missing(reader->model, shape->weight);
    }
    out->inputs = inputs;
    out->outputs = outputs;
    out->activation = shape->activation;
    TRY(read_weight(reader, weight, inputs, &out->outputs, &out->weight));
    TRY(read_optional(reader, shape->bias, out->outputs, &out->bias));
    if (shape->norm == NULL) {
        return STATUS_OK;
    }
    const struct tensor *norm = find(reader, shape->norm);
    out->epsilon = reader->model->config.norm.epsilon;
    TRY(norm != NULL ? read_vector(reader, norm, out->outputs, &out->norm)
                     : fail_missing(reader->model, shape->norm));
    return read_optional(reader, shape->norm_bias, out->outputs, &out->norm_bias);
}

static int count_layers(const struct head_shape *shape)
{
    int count = 0;
    while (count < HEAD_MAX_LAYERS && shape->layers[count].weight != NULL) {
        count++;
    }
    return count;
}

static const struct head_shape *shape_of(const struct model *model)
{
    const struct family *family = model->family;
    return family->head != NULL || family->encoder ? family->head : &family_score_head;
}

static status read_head(struct head_reader *reader, struct dense_layer *layers, int count)
{
    const struct head_shape *shape = shape_of(reader->model);
    int width = reader->model->config.hidden;
    for (int i = 0; i < count; i++) {
        const int outputs = i + 1 == count ? reader->model->config.labels : 0;
        TRY(read_layer(reader, &shape->layers[i], width, outputs, &layers[i]));
        width = layers[i].outputs;
    }
    return STATUS_OK;
}

/* ---- Words as labels ---- */

static const struct head_words words[] = {
    /* The model card of Qwen3-Reranker, arXiv 2506.05176. */
    {"qwen3", "no", "yes",
     "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
     "the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n"
     "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that "
     "answer "
     "the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
     "<|im_start|>assistant\n<think>\n\n</think>\n\n"},
};

const struct head_words *head_words_of(const struct model *model)
{
    for (size_t i = 0; i < COUNT_OF(words) && model->tokenizer != NULL; i++) {
        if (strcmp(words[i].family, model->config.family) == 0 &&
            tokenizer_token_id(model->tokenizer, words[i].no) >= 0 &&
            tokenizer_token_id(model->tokenizer, words[i].yes) >= 0) {
            return &words[i];
        }
    }
    return NULL;
}

const char *model_rank_prompt(const struct model *model)
{
    const struct head_words *asked =
        model->config.pools && model->answer == ANSWER_WORDS ? head_words_of(model) : NULL;
    return asked != NULL ? asked->prompt : NULL;
}

/* The two words' rows of the vocabulary projection. */
static status read_words(struct head_reader *reader, struct dense_layer *out)
{
    struct model *model = reader->model;
    const struct model_config *config = &model->config;
    const struct head_words *asked = head_words_of(model);
    if (asked == NULL) {
        return status_fail(STATUS_INTERNAL, "a head of words that the model has not");
    }
    const char *const names[] = {asked->no, asked->yes};
    struct weight_part part = {.role = config->tied_embeddings ? ROLE_EMBEDDING : ROLE_HEAD,
                               .rows = config->vocabulary,
                               .columns = config->hidden};
    struct tensor_source source;
    TRY(weight_source_find(model, &part, false, 0, 0, 1, &source));
    out->inputs = config->hidden;
    out->outputs = (int)COUNT_OF(names);
    if (reader->is_dry) {
        return STATUS_OK;
    }
    out->weight = calloc(COUNT_OF(names) * (size_t)config->hidden, sizeof *out->weight);
    if (out->weight == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const int32_t id = tokenizer_token_id(model->tokenizer, names[i]);
        if (id >= config->vocabulary) {
            return status_fail(STATUS_INVALID, "token \"%s\" is %d; the vocabulary has %d",
                               names[i], (int)id, config->vocabulary);
        }
        TRY(tensor_read_row(reader->table, &source, id, &reader->scratch,
                            out->weight + i * (size_t)config->hidden));
    }
    return STATUS_OK;
}

/* ---- Dense modules ---- */

static status read_module_tensors(struct head_reader *reader, const struct dense_module *module,
                                  struct dense_layer *out)
{
    static const char weight_name[] = "linear.weight", bias_name[] = "linear.bias";
    const struct tensor *weight = tensor_table_find(reader->table, weight_name);
    const struct tensor *bias = tensor_table_find(reader->table, bias_name);
    if (weight == NULL || (bias == NULL && module->has_bias)) {
        return status_fail(STATUS_INVALID, "%s/%s: tensor %s is missing", reader->model->path,
                           module->folder, weight == NULL ? weight_name : bias_name);
    }
    out->inputs = module->inputs;
    out->outputs = module->outputs;
    out->activation = module->activation;
    TRY(read_weight(reader, weight, module->inputs, &out->outputs, &out->weight));
    return module->has_bias ? read_vector(reader, bias, module->outputs, &out->bias) : STATUS_OK;
}

static status read_module(struct head_reader *reader, const struct dense_module *module,
                          struct dense_layer *out)
{
    struct tensor_table table = {0};
    struct buffer path = {0};
    bool found = false;
    status s = buffer_format(&path, "%s/%s", reader->model->path, module->folder);
    if (s == STATUS_OK) {
        s = safetensors_open_directory(&table, path.data, &found);
    }
    if (s == STATUS_OK && !found) {
        s = status_fail(STATUS_NOT_FOUND,
                        "%s: no model.safetensors is there; older files (pytorch_model.bin) are "
                        "not read",
                        path.data);
    }
    if (s == STATUS_OK) {
        s = tensor_table_finish(&table);
    }
    if (s == STATUS_OK) {
        struct head_reader own = {
            .model = reader->model, .table = &table, .is_dry = reader->is_dry};
        s = read_module_tensors(&own, module, out);
        tensor_scratch_destroy(&own.scratch);
    }
    tensor_table_destroy(&table);
    buffer_destroy(&path);
    return s;
}

/* ---- Whole ---- */

static status read_layers(struct head_reader *reader, struct dense_layer *layers, int count)
{
    struct model *model = reader->model;
    switch (model->answer) {
    case ANSWER_EMBEDDING:
        for (int i = 0; i < count; i++) {
            TRY(read_module(reader, &model->modules[i], &layers[i]));
        }
        return STATUS_OK;
    case ANSWER_WORDS:
        return read_words(reader, &layers[0]);
    case ANSWER_LABELS:
    case ANSWER_RANK:
    case ANSWER_VALUE:
        break;
    }
    return read_head(reader, layers, count);
}

static status load(struct model *model, bool is_dry, struct dense_layer **out, int *count)
{
    const struct head_shape *shape = shape_of(model);
    const bool is_labels = model->answer != ANSWER_EMBEDDING && model->answer != ANSWER_WORDS;
    *out = NULL;
    *count = 0;
    if (is_labels && shape == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: the heads of classifiers of this family are not known",
                           model->config.architecture);
    }
    const int layers = is_labels                           ? count_layers(shape)
                       : model->answer == ANSWER_EMBEDDING ? model->module_count
                                                           : 1;
    *out = calloc((size_t)layers + 1, sizeof **out);
    if (*out == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a head");
    }
    *count = layers;
    struct head_reader reader = {.model = model, .table = &model->tensors, .is_dry = is_dry};
    const status s = read_layers(&reader, *out, layers);
    tensor_scratch_destroy(&reader.scratch);
    return s;
}

status head_load(struct model *model, struct dense_layer **out, int *count)
{
    return load(model, false, out, count);
}

status head_check(struct model *model)
{
    struct dense_layer *layers;
    int count;
    const status s = load(model, true, &layers, &count);
    head_destroy(layers, count);
    return s;
}

void head_destroy(struct dense_layer *layers, int count)
{
    for (int i = 0; i < count; i++) {
        dense_destroy(&layers[i]);
    }
    free(layers);
}
