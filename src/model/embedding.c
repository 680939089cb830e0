/* SPDX-License-Identifier: Apache-2.0 */
/* From vectors to a row's embedding: what the files of sentence-transformers beside a
 * model say, and the pooling itself.
 *
 * modules.json lists what the vectors go through: Transformer (with sentence_bert_config.json),
 * Pooling (its folder's config.json), Dense (likewise, with its weights), Normalize. Other modules
 * are refused. */
#include "model/embedding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/read/config.h"

static const struct {
    const char *name, *key;
} poolings[] = {
    [POOLING_MEAN] = {"mean", "pooling_mode_mean_tokens"},
    [POOLING_CLS] = {"cls", "pooling_mode_cls_token"},
    [POOLING_MAX] = {"max", "pooling_mode_max_tokens"},
    [POOLING_MEAN_SQRT] = {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"},
    [POOLING_LAST] = {"lasttoken", "pooling_mode_lasttoken"},
};

const char *pooling_name(enum pooling pooling)
{
    return poolings[pooling].name;
}

/* ---- Files ---- */

struct embedding_files {
    struct model *model;
    struct arena arena;
    struct buffer path; /* of the file that is being read */
};

/* model/folder/name; *out is NULL where it is not there. */
static status read_file(struct embedding_files *files, const char *folder, const char *name,
                        struct json **out)
{
    buffer_clear(&files->path);
    TRY(buffer_format(&files->path, "%s/%s%s%s", files->model->path, folder,
                      folder[0] == '\0' ? "" : "/", name));
    return model_read_json(files->path.data, &files->arena, NULL, out);
}

static status in_file(const struct embedding_files *files, status s)
{
    return status_context(s, "%s", files->path.data);
}

/* "pooling_mode": "mean" of newer files, or one true among the older ones' switches. */
static status read_pooling(const struct json *config, enum pooling *out)
{
    const struct json *mode = json_get(config, "pooling_mode");
    if (config_has(config, "pooling_mode")) {
        for (size_t i = 0; i < COUNT_OF(poolings); i++) {
            if (json_is_string(mode, poolings[i].name)) {
                *out = (enum pooling)i;
                return STATUS_OK;
            }
        }
        return json_string(mode) == NULL
                   ? config_expected("pooling_mode", "a word", mode)
                   : status_fail(STATUS_UNSUPPORTED, "pooling_mode: \"%.40s\" is not supported",
                                 json_string(mode));
    }
    int found = 0;
    for (size_t i = 0; i < config->length; i++) {
        static const char prefix[] = "pooling_mode_";
        const struct json_member *member = &config->members[i];
        if (member->key_length <= strlen(prefix) ||
            memcmp(member->key, prefix, strlen(prefix)) != 0) {
            continue;
        }
        bool is_on;
        TRY(config_read_bool(config, member->key, false, &is_on));
        size_t known = 0;
        while (known < COUNT_OF(poolings) && strcmp(poolings[known].key, member->key) != 0) {
            known++;
        }
        if (is_on && known == COUNT_OF(poolings)) {
            return status_fail(STATUS_UNSUPPORTED, "%.60s is not supported", member->key);
        }
        if (is_on) {
            *out = (enum pooling)known;
            found++;
        }
    }
    return found == 1 ? STATUS_OK
                      : status_fail(STATUS_UNSUPPORTED,
                                    "%d pooling modes are true; one is supported", found);
}

static status read_pooling_module(struct embedding_files *files, const char *folder,
                                  struct embedding_facts *facts)
{
    struct json *config;
    TRY(read_file(files, folder, "config.json", &config));
    if (config == NULL) {
        return status_fail(STATUS_NOT_FOUND, "%s: is not there", files->path.data);
    }
    return in_file(files, config->type == JSON_OBJECT
                              ? read_pooling(config, &facts->pooling)
                              : status_fail(STATUS_INVALID, "expected an object"));
}

/* A folder of the model's own, not a way out of it. */
static bool is_plain_folder(const char *folder)
{
    return folder != NULL && folder[0] != '/' && strstr(folder, "..") == NULL &&
           strlen(folder) < 200;
}

/* The name of a torch class of activation functions. */
static status read_dense_activation(const struct json *config, int *out)
{
    static const char key[] = "activation_function";
    static const struct {
        const char *name;
        int activation;
    } known[] = {{"torch.nn.modules.linear.Identity", HEAD_LINEAR},
                 {"torch.nn.modules.activation.Tanh", HEAD_TANH},
                 {"torch.nn.modules.activation.ReLU", HEAD_RELU},
                 {"torch.nn.modules.activation.GELU", HEAD_GELU}};
    *out = HEAD_TANH; /* of the class */
    if (!config_has(config, key)) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (json_is_string(json_get(config, key), known[i].name)) {
            *out = known[i].activation;
            return STATUS_OK;
        }
    }
    return config_expected(key, "torch's Identity, Tanh, ReLU or GELU", json_get(config, key));
}

static status read_dense(struct embedding_files *files, const struct json *config, int width,
                         struct dense_module *out)
{
    (void)files;
    TRY(config_read_integer(config, "in_features", 1, CONFIG_MAX_WIDTH, 0, &out->inputs));
    TRY(config_read_integer(config, "out_features", 1, CONFIG_MAX_WIDTH, 0, &out->outputs));
    TRY(config_read_bool(config, "bias", true, &out->has_bias));
    TRY(read_dense_activation(config, &out->activation));
    return out->inputs == width
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "in_features: %d where the vectors have %d",
                             out->inputs, width);
}

static status read_dense_module(struct embedding_files *files, const char *folder)
{
    struct model *model = files->model;
    struct json *config;
    if (model->module_count == MODEL_MAX_MODULES || model->embedding.normalize) {
        return in_file(files, status_fail(STATUS_UNSUPPORTED,
                                          "a Dense module behind Normalize, or more than %d of "
                                          "them, are not supported",
                                          MODEL_MAX_MODULES));
    }
    TRY(read_file(files, folder, "config.json", &config));
    if (config == NULL) {
        return status_fail(STATUS_NOT_FOUND, "%s: is not there", files->path.data);
    }
    struct dense_module *module = &model->modules[model->module_count];
    *module = (struct dense_module){.folder = arena_copy(&model->arena, folder, strlen(folder))};
    if (module->folder == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    const int before = model->module_count;
    const int width = before > 0 ? model->modules[before - 1].outputs : model->config.hidden;
    TRY(in_file(files, config->type == JSON_OBJECT
                           ? read_dense(files, config, width, module)
                           : status_fail(STATUS_INVALID, "expected an object")));
    model->module_count++;
    return STATUS_OK;
}

static status read_module(struct embedding_files *files, const struct json *module,
                          struct embedding_facts *facts)
{
    const char *type = json_string(json_get(module, "type"));
    const char *folder = json_string(json_get(module, "path"));
    if (type == NULL || !is_plain_folder(folder)) {
        return in_file(files, status_fail(STATUS_INVALID, "expected modules with type and path"));
    }
    const char *name = strrchr(type, '.') != NULL ? strrchr(type, '.') + 1 : type;
    if (strcmp(name, "Transformer") == 0) {
        return STATUS_OK;
    }
    if (strcmp(name, "Pooling") == 0) {
        return read_pooling_module(files, folder, facts);
    }
    if (strcmp(name, "Dense") == 0) {
        return read_dense_module(files, folder);
    }
    if (strcmp(name, "Normalize") == 0) {
        facts->normalize = true;
        return STATUS_OK;
    }
    return in_file(files, status_fail(STATUS_UNSUPPORTED,
                                      "module \"%.60s\" is not supported (supported: Transformer, "
                                      "Pooling, Dense, Normalize)",
                                      type));
}

static status read_modules(struct embedding_files *files, struct embedding_facts *facts)
{
    struct json *modules;
    TRY(read_file(files, "", "modules.json", &modules));
    if (modules != NULL && modules->type != JSON_ARRAY) {
        return in_file(files, status_fail(STATUS_INVALID, "expected a list of modules"));
    }
    facts->is_described = modules != NULL;
    for (size_t i = 0; modules != NULL && i < modules->length; i++) {
        TRY(read_module(files, modules->items[i], facts));
    }
    return STATUS_OK;
}

/* max_seq_length, or else what the tokenizer was made for, where they are less than the positions.
 */
static status read_length(struct embedding_files *files, struct embedding_facts *facts)
{
    struct model_config *config = &files->model->config;
    struct json *transformer, *tokenizer;
    int length = config->max_positions;
    TRY(read_file(files, "", "sentence_bert_config.json", &transformer));
    if (transformer != NULL) {
        TRY(in_file(files,
                    config_read_bool(transformer, "do_lower_case", false, &facts->lower_case)));
        TRY(in_file(files, config_read_integer(transformer, "max_seq_length", 1,
                                               CONFIG_MAX_POSITIONS, length, &length)));
    }
    if (transformer == NULL || !config_has(transformer, "max_seq_length")) {
        TRY(read_file(files, "", "tokenizer_config.json", &tokenizer));
        int64_t most; /* "no limit" is written as 1e30 */
        if (json_int64(json_get(tokenizer, "model_max_length"), &most) && most > 0 &&
            most < length) {
            length = (int)most;
        }
    }
    files->model->most_embedded = length;
    if (config->encoder && length < config->max_positions) {
        config->max_positions = length;
    }
    return STATUS_OK;
}

static status read_prompt(struct embedding_files *files, struct embedding_facts *facts)
{
    static const char key[] = "default_prompt_name";
    struct json *config;
    TRY(read_file(files, "", "config_sentence_transformers.json", &config));
    if (config == NULL || !config_has(config, key)) {
        return STATUS_OK;
    }
    const char *name = json_string(json_get(config, key));
    const struct json *prompt = name != NULL ? json_get(json_get(config, "prompts"), name) : NULL;
    if (prompt == NULL || prompt->type != JSON_STRING) {
        return in_file(files, status_fail(STATUS_INVALID, "%s: names none of the prompts", key));
    }
    facts->prompt = arena_copy(&files->model->arena, prompt->text, prompt->length);
    return facts->prompt != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
}

status embedding_open(struct model *model)
{
    struct embedding_files files = {.model = model};
    struct embedding_facts *facts = &model->embedding;
    *facts =
        (struct embedding_facts){.pooling = model->config.encoder ? POOLING_MEAN : POOLING_LAST};
    const bool must_pool = model->config.head != HEAD_VOCABULARY || model->config.encoder;
    status s = read_modules(&files, facts);
    if (s == STATUS_UNSUPPORTED && !must_pool) { /* made for something else: it has its logits */
        facts->is_described = false;
        model->module_count = 0;
        s = STATUS_OK;
    }
    if (s == STATUS_OK && !must_pool && !facts->is_described) {
        buffer_destroy(&files.path);
        arena_destroy(&files.arena);
        return STATUS_OK;
    }
    if (s == STATUS_OK) {
        s = read_length(&files, facts);
    }
    if (s == STATUS_OK) {
        s = read_prompt(&files, facts);
    }
    buffer_destroy(&files.path);
    arena_destroy(&files.arena);
    return s;
}

const struct embedding_facts *model_embedding(const struct model *model)
{
    return model->has_config && model->config.pools ? &model->embedding : NULL;
}

/* ---- Pooling ---- */

/* Sums are taken over tokens in their order, in float64: no rounding is left to choose. */
static float pool_column(enum pooling pooling, const float *hidden, int tokens, size_t width)
{
    double sum = 0;
    float largest = hidden[0];
    for (int token = 0; token < tokens; token++) {
        float value = hidden[(size_t)token * width];
        sum += value;
        largest = value > largest ? value : largest;
    }
    switch (pooling) {
    case POOLING_CLS:
        return hidden[0];
    case POOLING_LAST:
        return hidden[(size_t)(tokens - 1) * width];
    case POOLING_MAX:
        return largest;
    case POOLING_MEAN_SQRT:
        return (float)(sum / sqrt(tokens));
    case POOLING_MEAN:
        break;
    }
    return (float)(sum / tokens);
}

void embedding_pool(enum pooling pooling, const float *hidden, int tokens, int width, float *out)
{
    for (int i = 0; i < width; i++) {
        out[i] = pool_column(pooling, hidden + i, tokens, (size_t)width);
    }
}

void embedding_normalize(float *values, int width)
{
    double squares = 0;
    for (int i = 0; i < width; i++) {
        squares += (double)values[i] * (double)values[i];
    }
    const double length = sqrt(squares) > 1e-12 ? sqrt(squares) : 1e-12; /* as torch has it */
    for (int i = 0; i < width; i++) {
        values[i] = (float)((double)values[i] / length);
    }
}
