/* SPDX-License-Identifier: Apache-2.0 */
/* config.json to facts, in both dialects. Every value is checked: the file is a stranger's. */
#include "model/read/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Typed reads ---- */

bool config_has(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);
    return value != NULL && value->type != JSON_NULL;
}

status config_expected(const char *key, const char *what, const struct json *value)
{
    struct buffer text = {0};
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT ||
        json_write(value, &text) != STATUS_OK) {
        buffer_destroy(&text);
        return status_fail(STATUS_INVALID, "%s: expected %s, not %s", key, what, json_kind(value));
    }
    status s = status_fail(STATUS_INVALID, "%s: expected %s, not %.60s", key, what, text.data);
    buffer_destroy(&text);
    return s;
}

static status missing(const char *key)
{
    return status_fail(STATUS_INVALID, "%s: missing", key);
}

status config_read_integer(const struct json *object, const char *key, int minimum, int maximum,
                           int fallback, int *out)
{
    if (!config_has(object, key)) {
        *out = fallback;
        return fallback == 0 && minimum > 0 ? missing(key) : STATUS_OK;
    }
    const struct json *value = json_get(object, key);
    int64_t number;
    if (!json_int64(value, &number) || number < minimum) {
        return config_expected(key, minimum > 0 ? "a positive integer" : "an integer from 0",
                               value);
    }
    if (number > maximum) {
        return status_fail(STATUS_INVALID, "%s: %lld is more than the %d that is plausible", key,
                           (long long)number, maximum);
    }
    *out = (int)number;
    return STATUS_OK;
}

status config_read_positive(const struct json *object, const char *key, double maximum,
                            double fallback, double *out)
{
    if (!config_has(object, key)) {
        *out = fallback;
        return isnan(fallback) ? missing(key) : STATUS_OK;
    }
    const struct json *value = json_get(object, key);
    double number;
    bool zero_is_off = fallback == 0;
    if (!json_double(value, &number) || !(number > 0 || (zero_is_off && number == 0))) {
        return config_expected(key, "a positive number", value);
    }
    if (number > maximum) {
        return status_fail(STATUS_INVALID, "%s: %g is more than the %g that is plausible", key,
                           number, maximum);
    }
    *out = number;
    return STATUS_OK;
}

status config_read_bool(const struct json *object, const char *key, bool fallback, bool *out)
{
    *out = fallback;
    if (config_has(object, key) && !json_bool(json_get(object, key), out)) {
        return config_expected(key, "true or false", json_get(object, key));
    }
    return STATUS_OK;
}

/* ---- Which family ---- */

static status unsupported(const char *key, const char *name)
{
    struct buffer list = {0};
    status s = family_list(false, &list);
    if (s == STATUS_OK) {
        s = status_fail(STATUS_UNSUPPORTED, "%s: \"%.80s\" is not supported (supported: %s)", key,
                        name, list.data);
    }
    buffer_destroy(&list);
    return s;
}

/* Architectures that hold a text model of any family: text_config says which. */
static const char *const wrappers[] = {"Mistral3ForConditionalGeneration"};

static const struct family *find_wrapped(const struct json *root, const char *architecture)
{
    const char *model_type = json_string(json_get(json_get(root, "text_config"), "model_type"));
    for (size_t i = 0; i < COUNT_OF(wrappers) && model_type != NULL; i++) {
        if (strcmp(wrappers[i], architecture) == 0) {
            return family_find(NULL, model_type);
        }
    }
    return NULL;
}

static status find_family(const struct json *root, struct arena *arena,
                          const struct family **family, const char **architecture)
{
    const struct json *list = json_get(root, "architectures");
    const char *key = "architectures", *name = NULL;
    if (config_has(root, key)) {
        if (list->type != JSON_ARRAY || list->length == 0 || json_string(list->items[0]) == NULL) {
            return config_expected(key, "an array of names", list);
        }
        name = json_string(list->items[0]);
        *family = family_find(name, NULL);
        *family = *family == NULL ? config_family_by_stem(name) : *family;
        *family = *family == NULL ? find_wrapped(root, name) : *family;
    } else {
        key = "model_type";
        name = json_string(json_get(root, key));
        if (name == NULL) {
            return status_fail(STATUS_INVALID,
                               "architectures: missing, and there is no model_type either");
        }
        *family = family_find(NULL, name);
    }
    if (*family == NULL) {
        return unsupported(key, name);
    }
    *architecture = arena_copy(arena, name, strlen(name));
    return *architecture == NULL ? status_fail(STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

const struct json *config_text_object(const struct json *root, const struct family *family)
{
    const char *key = family->text_config != NULL       ? family->text_config
                      : config_has(root, "hidden_size") ? NULL
                                                        : "text_config";
    const struct json *text = key == NULL ? NULL : json_get(root, key);
    return text != NULL && text->type == JSON_OBJECT ? text : root;
}

void config_set_family(const struct family *family, struct model_config *out)
{
    out->family = family->name;
    out->encoder = family->encoder;
    out->norm.weight_offset = family->norm_weight_offset;
    out->norm.in_place = family->encoder && !family->pre_norm_encoder;
    out->norm.layer_norm = family->encoder || family->layer_norm;
    out->norm_bias = (family->encoder && !family->norm_bias_by_key) || family->norm_bias;
    out->norm_embeddings = family->norm_embeddings;
    out->parallel = family->parallel;
    out->rope_pairs = family->rope_pairs;
    out->activation = family->activation;
    out->gated = family->encoder ? family->gated_encoder : !family->ungated;
    out->post_norm = family->post_norm;
    out->pre_norm = !family->no_pre_norm;
    out->gated_attention = family->gated_attention;
    out->delta_fused = family->delta_fused;
    out->qk_norm = family->qk_norm;
    out->wide_qk_norm = family->wide_qk_norm;
    out->sinks = family->sinks;
    out->qkv_bias = family->qkv_bias == BIAS_ALWAYS;
    out->attention_output_bias = family->attention_output_bias == BIAS_ALWAYS;
    out->mlp_bias = family->mlp_bias == BIAS_ALWAYS;
    out->embedding_scale = 1;
    out->residual_multiplier = 1;
    out->mixer_multiplier = out->space_multiplier = 1;
    out->gate_multiplier = out->mlp_multiplier = 1;
    out->logit_scale = 1;
    out->rotary_fraction = 1;
    out->bos = -1;
}

/* ---- Parts ---- */

static const char *key_or(const char *key, const char *otherwise)
{
    return key != NULL ? key : otherwise;
}

static status read_sizes(const struct json *object, const struct family *family,
                         struct model_config *out)
{
    TRY(config_read_integer(object, key_or(family->layers_key, "num_hidden_layers"), 1,
                            CONFIG_MAX_LAYERS, config_count_blocks(object), &out->layers));
    TRY(config_read_integer(object, key_or(family->hidden_key, "hidden_size"), 1, CONFIG_MAX_WIDTH,
                            0, &out->hidden));
    TRY(config_read_integer(object, key_or(family->heads_key, "num_attention_heads"), 1,
                            CONFIG_MAX_HEADS, family->defaults.heads, &out->heads));
    bool kv_is_null = json_get(object, "num_key_value_heads") != NULL &&
                      !config_has(object, "num_key_value_heads");
    int kv_default =
        family->defaults.kv_heads == 0 || kv_is_null ? out->heads : family->defaults.kv_heads;
    TRY(config_read_integer(object, "num_key_value_heads", 1, CONFIG_MAX_HEADS, kv_default,
                            &out->kv_heads));
    bool dim_is_null = json_get(object, "head_dim") != NULL && !config_has(object, "head_dim");
    out->head_dim = dim_is_null ? 0 : family->defaults.head_dim;
    if (config_has(object, "head_dim")) {
        TRY(config_read_integer(object, "head_dim", 1, CONFIG_MAX_HEAD_DIM, 0, &out->head_dim));
    }
    const char *older = family->intermediate_key;
    TRY(config_read_integer(
        object, older != NULL && config_has(object, older) ? older : "intermediate_size", 1,
        CONFIG_MAX_WIDTH, 0, &out->intermediate));
    TRY(config_read_integer(object, "vocab_size", 1, CONFIG_MAX_VOCABULARY,
                            family->defaults.vocabulary, &out->vocabulary));
    return config_read_integer(object, "max_position_embeddings", 1, CONFIG_MAX_POSITIONS,
                               family->defaults.max_positions, &out->max_positions);
}

static status read_activation(const struct json *object, const struct family *family,
                              struct model_config *out)
{
    static const struct {
        const char *name;
        enum activation activation;
    } known[] = {
        {"silu", ACTIVATION_SILU},
        {"swish", ACTIVATION_SILU},
        {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
        {"gelu_new", ACTIVATION_GELU_TANH},
        {"gelu_fast", ACTIVATION_GELU_TANH},
        {"gelu", ACTIVATION_GELU},
        {"relu", ACTIVATION_RELU},
        {"relu2", ACTIVATION_RELU_SQUARED},
    };
    if (!config_has(object, family->activation_key)) {
        return STATUS_OK;
    }
    const struct json *value = json_get(object, family->activation_key);
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (json_is_string(value, known[i].name)) {
            out->activation = known[i].activation;
            return STATUS_OK;
        }
    }
    return config_expected(family->activation_key,
                           "one of silu, gelu_pytorch_tanh, gelu_new, gelu, relu, relu2", value);
}

static status read_bias(const struct json *object, const char *key, enum bias_rule rule, bool *out)
{
    return rule == BIAS_BY_KEY || rule == BIAS_UNLESS_KEY
               ? config_read_bool(object, key, rule == BIAS_UNLESS_KEY, out)
               : STATUS_OK;
}

static status read_biases(const struct json *object, const struct family *family,
                          struct model_config *out)
{
    static const char attention[] = "attention_bias";
    TRY(read_bias(object, key_or(family->qkv_bias_key, attention), family->qkv_bias,
                  &out->qkv_bias));
    TRY(read_bias(object, key_or(family->output_bias_key, attention), family->attention_output_bias,
                  &out->attention_output_bias));
    return read_bias(object, key_or(family->mlp_bias_key, "mlp_bias"), family->mlp_bias,
                     &out->mlp_bias);
}

/* A cap that may be null (off) where the class has a default. */
static status read_soft_cap(const struct json *object, const char *key, double fallback, float *out)
{
    bool is_null = json_get(object, key) != NULL && !config_has(object, key);
    double cap;
    TRY(config_read_positive(object, key, 1e6, is_null ? 0 : fallback, &cap));
    *out = (float)cap;
    return STATUS_OK;
}

static status read_scales(const struct json *object, const struct family *family,
                          struct model_config *out)
{
    double number;
    TRY(config_read_positive(
        object, key_or(family->epsilon_key, family->encoder ? "layer_norm_eps" : "rms_norm_eps"), 1,
        family->defaults.epsilon, &number));
    out->norm.epsilon = (float)number;
    if (family->scaled_embedding) {
        out->embedding_scale = (float)sqrt(out->hidden);
    }
    if (family->query_scalar) {
        TRY(config_read_positive(object, "query_pre_attn_scalar", 1e9,
                                 family->defaults.query_scalar, &number));
        out->attention_scale = (float)(1 / sqrt(number));
        TRY(read_soft_cap(object, "attn_logit_softcapping", family->defaults.attention_soft_cap,
                          &out->attention_soft_cap));
        TRY(read_soft_cap(object, "final_logit_softcapping", family->defaults.logit_soft_cap,
                          &out->logit_soft_cap));
    }
    if (family->logit_scale) {
        TRY(config_read_positive(object, "logit_scale", 1e6, family->defaults.logit_scale,
                                 &number));
        out->logit_scale = (float)number;
    }
    if (family->multipliers) {
        TRY(config_read_positive(object, "embedding_multiplier", 1e6, 1, &number));
        out->embedding_scale = (float)number;
        TRY(config_read_positive(object, "residual_multiplier", 1e6, 1, &number));
        out->residual_multiplier = (float)number;
        TRY(config_read_positive(object, "attention_multiplier", 1e6, 1, &number));
        out->attention_scale = (float)number;
        TRY(config_read_positive(object, "logits_scaling", 1e6, 1, &number));
        out->logit_scale = (float)(1 / number);
    }
    return STATUS_OK;
}

static status read_dtype(const struct json *root, const struct json *object,
                         struct model_config *out)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } known[] = {
        {"float32", DTYPE_FLOAT32},         {"bfloat16", DTYPE_BFLOAT16},
        {"float16", DTYPE_FLOAT16},         {"torch.float32", DTYPE_FLOAT32},
        {"torch.bfloat16", DTYPE_BFLOAT16}, {"torch.float16", DTYPE_FLOAT16},
    };
    static const char *const keys[] = {"dtype", "torch_dtype"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct json *from = config_has(object, keys[i]) ? object : root;
        if (!config_has(from, keys[i])) {
            continue;
        }
        const struct json *value = json_get(from, keys[i]);
        for (size_t j = 0; j < COUNT_OF(known); j++) {
            if (json_is_string(value, known[j].name)) {
                out->dtype = known[j].dtype;
                return STATUS_OK;
            }
        }
        return config_expected(keys[i], "float32, bfloat16 or float16", value);
    }
    return STATUS_OK;
}

/* ---- Encoders ---- */

/* Positions and token types; and what an encoder of another kind would say. */
static status read_encoder(const struct json *object, const struct family *family,
                           struct model_config *out)
{
    static const char key[] = "position_embedding_type";
    const struct json *kind = json_get(object, key);
    if (config_has(object, key) && !json_is_string(kind, "absolute")) {
        return json_string(kind) == NULL
                   ? config_expected(key, "a word", kind)
                   : status_fail(STATUS_UNSUPPORTED,
                                 "%s: \"%.40s\" is not supported; only absolute is", key,
                                 json_string(kind));
    }
    bool is_decoder;
    TRY(config_read_bool(object, "is_decoder", false, &is_decoder));
    if (is_decoder) {
        return status_fail(STATUS_UNSUPPORTED, "is_decoder: an encoder is expected of this family");
    }
    enum { MOST_TYPES = 16 }; /* each has a table of positions */
    if (!family->no_token_types) {
        TRY(config_read_integer(object, "type_vocab_size", 0, MOST_TYPES, 2, &out->token_types));
    }
    if (family->norm_bias_by_key) {
        TRY(config_read_bool(object, "norm_bias", false, &out->norm_bias));
    }
    if (family->relative_bias) {
        TRY(config_read_integer(object, "relative_attention_num_buckets", 4, 4096, 32,
                                &out->relative_buckets));
    }
    if (family->encoder_rope) {
        return config_finish(out);
    }
    out->position_rows = out->max_positions;
    if (family->positions_after_padding) {
        TRY(config_read_integer(object, "pad_token_id", 0, CONFIG_MAX_POSITIONS, 1,
                                &out->position_offset));
        out->position_offset++;
    }
    if (out->position_offset >= out->position_rows) {
        return status_fail(STATUS_INVALID,
                           "max_position_embeddings: %d, of which the first %d are not used",
                           out->position_rows, out->position_offset);
    }
    out->max_positions -= out->position_offset;
    return config_finish(out);
}

/* ---- Tokens ---- */

status config_add_end(struct model_config *config, int64_t id)
{
    if (id < 0 || id >= config->vocabulary) {
        return STATUS_OK; /* can never be generated */
    }
    for (int i = 0; i < config->end_count; i++) {
        if (config->ends[i] == id) {
            return STATUS_OK;
        }
    }
    if (config->end_count == (int)COUNT_OF(config->ends)) {
        return status_fail(STATUS_LIMIT, "eos_token_id: more than %zu end tokens",
                           COUNT_OF(config->ends));
    }
    config->ends[config->end_count++] = (int32_t)id;
    return STATUS_OK;
}

static status read_ends(const struct json *value, struct model_config *out)
{
    int64_t id;
    if (json_int64(value, &id)) {
        return config_add_end(out, id);
    }
    if (value->type != JSON_ARRAY) {
        return config_expected("eos_token_id", "an integer or an array of them", value);
    }
    for (size_t i = 0; i < value->length; i++) {
        if (!json_int64(value->items[i], &id)) {
            return config_expected("eos_token_id", "an integer or an array of them",
                                   value->items[i]);
        }
        TRY(config_add_end(out, id));
    }
    return STATUS_OK;
}

static const struct json *first_value(const struct json *found, const struct json *next)
{
    return next != NULL && (found == NULL || found->type == JSON_NULL) ? next : found;
}

/* The first of these that has a value decides: generation_config.json, config.json, the text
 * model's part of it; then the class's default, where none has the key. A null says that there is
 * none, until another says more. */
static status read_tokens(const struct json *generation, const struct json *root,
                          const struct json *object, const struct family *family,
                          struct model_config *out)
{
    const struct json *const sources[] = {generation, root, object};
    const struct json *end = NULL, *bos = NULL;
    for (size_t i = 0; i < COUNT_OF(sources); i++) {
        end = first_value(end, json_get(sources[i], "eos_token_id"));
        bos = first_value(bos, json_get(sources[i], "bos_token_id"));
    }
    int64_t id = family->defaults.bos;
    if (bos != NULL && !json_int64(bos, &id)) {
        if (bos->type != JSON_NULL) {
            return config_expected("bos_token_id", "an integer", bos);
        }
        id = -1;
    }
    out->bos = id >= 0 && id < out->vocabulary ? (int32_t)id : -1;
    if (end == NULL) {
        return config_add_end(out, family->defaults.end);
    }
    return end->type == JSON_NULL ? STATUS_OK : read_ends(end, out);
}

/* ---- Whole ---- */

/* Of the whole or of the text model in it; older compressed-tensors files have another name. */
static status read_quantization(const struct json *root, const struct json *object,
                                struct model_config *out)
{
    static const char *const keys[] = {"quantization_config", "compression_config"};
    const struct json *const places[] = {root, object};
    for (size_t i = 0; i < COUNT_OF(keys) * COUNT_OF(places); i++) {
        const char *key = keys[i % COUNT_OF(keys)];
        const struct json *place = places[i / COUNT_OF(keys)];
        if (config_has(place, key)) {
            return config_read_quantization(key, json_get(place, key), out);
        }
    }
    return STATUS_OK;
}

status config_finish(struct model_config *config)
{
    if (config->head_dim == 0) {
        if (config->hidden % config->heads != 0) {
            return status_fail(STATUS_INVALID,
                               "hidden_size: %d is not a multiple of the %d attention heads, and "
                               "there is no head_dim",
                               config->hidden, config->heads);
        }
        config->head_dim = config->hidden / config->heads;
    }
    if (config->heads % config->kv_heads != 0) {
        return status_fail(STATUS_INVALID,
                           "num_key_value_heads: %d does not divide the %d attention heads",
                           config->kv_heads, config->heads);
    }
    if (config->head_dim > CONFIG_MAX_HEAD_DIM ||
        (int64_t)config->heads * config->head_dim > CONFIG_MAX_WIDTH) {
        return status_fail(STATUS_INVALID, "head_dim: %d for %d heads is more than is plausible",
                           config->head_dim, config->heads);
    }
    if (config->attention_scale == 0) {
        config->attention_scale = (float)(1 / sqrt(config->head_dim));
    }
    return STATUS_OK;
}

status config_from_json(const struct json *root, const struct json *generation, struct arena *arena,
                        struct model_config *out)
{
    const char *tied = "tie_word_embeddings";
    memset(out, 0, sizeof *out);
    if (root->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "expected an object");
    }
    const struct family *family = NULL;
    TRY(find_family(root, arena, &family, &out->architecture));
    const struct json *object = config_text_object(root, family);
    config_set_family(family, out);
    TRY(read_quantization(root, object, out));
    TRY(read_sizes(object, family, out));
    TRY(read_activation(object, family, out));
    TRY(read_biases(object, family, out));
    if (family->qk_norm_by_key) {
        TRY(config_read_bool(object, "use_qk_norm", false, &out->qk_norm));
    }
    if (family->tied_key != NULL && config_has(object, family->tied_key)) {
        tied = family->tied_key;
    }
    TRY(config_read_bool(config_has(object, tied) ? object : root, tied,
                         family->defaults.tied_embeddings, &out->tied_embeddings));
    bool is_bidirectional;
    TRY(config_read_bool(object, "use_bidirectional_attention", false, &is_bidirectional));
    if (is_bidirectional) {
        return status_fail(STATUS_UNSUPPORTED,
                           "use_bidirectional_attention: only causal attention is supported");
    }
    TRY(read_scales(object, family, out));
    TRY(config_read_head(root, family, arena, out));
    if (family->encoder) {
        TRY(read_dtype(root, object, out));
        TRY(read_encoder(object, family, out));
        if (family->encoder_rope) {
            TRY(config_read_layers(object, family, arena, out));
            TRY(config_read_rope(object, family, arena, out));
        }
        return read_tokens(generation, root, object, family, out);
    }
    TRY(config_read_layers(object, family, arena, out));
    TRY(mixer_facts_read(object, family, out));
    TRY(config_read_layers_without_rope(object, family, arena, out));
    TRY(config_read_experts(object, family, arena, out));
    TRY(read_dtype(root, object, out));
    TRY(config_finish(out));
    TRY(config_read_rope(object, family, arena, out));
    return read_tokens(generation, root, object, family, out);
}
