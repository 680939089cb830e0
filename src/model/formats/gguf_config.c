/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF metadata to facts. Keys are "ARCHITECTURE.key"; what the format leaves to the reader
 * (windows, attention scales) is as in llama.cpp's llama_model::load_hparams and graph builders. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/formats/gguf.h"
#include "model/read/config.h"
#include "model/read/tensor_source.h"

struct facts {
    const struct gguf *gguf;
    const char *architecture;
    char key[160]; /* of the latest read */
};

static const char *full_key(struct facts *facts, const char *key)
{
    snprintf(facts->key, sizeof facts->key, "%s.%s", facts->architecture, key);
    return facts->key;
}

/* As config_read_integer: `fallback` 0 is required. */
static status read_integer(struct facts *facts, const char *key, int maximum, int fallback,
                           int *out)
{
    full_key(facts, key);
    *out = fallback;
    if (gguf_find(facts->gguf, facts->key) == NULL) {
        return fallback == 0 ? status_fail(STATUS_INVALID, "%s: missing", facts->key) : STATUS_OK;
    }
    int64_t value;
    if (!gguf_integer(facts->gguf, facts->key, &value) || value < 1 || value > maximum) {
        return status_fail(STATUS_INVALID, "%s: expected an integer from 1 to %d", facts->key,
                           maximum);
    }
    *out = (int)value;
    return STATUS_OK;
}

static status read_real(struct facts *facts, const char *key, double fallback, double *out)
{
    full_key(facts, key);
    *out = fallback;
    if (gguf_find(facts->gguf, facts->key) == NULL) {
        return isnan(fallback) ? status_fail(STATUS_INVALID, "%s: missing", facts->key) : STATUS_OK;
    }
    if (!gguf_real(facts->gguf, facts->key, out) || !(*out > 0) || *out > 1e15) {
        return status_fail(STATUS_INVALID, "%s: expected a positive number", facts->key);
    }
    return STATUS_OK;
}

static bool has(struct facts *facts, const char *key)
{
    return gguf_find(facts->gguf, full_key(facts, key)) != NULL;
}

static status unsupported_architecture(const char *architecture)
{
    struct buffer list = {0};
    status s = family_list(true, &list);
    if (s == STATUS_OK) {
        s = status_fail(STATUS_UNSUPPORTED,
                        "general.architecture: \"%.80s\" is not supported (supported: %s)",
                        architecture, list.data);
    }
    buffer_destroy(&list);
    return s;
}

/* The vocabulary is as large as the embedding table is. */
static status read_vocabulary(const struct tensor_table *table, struct model_config *out)
{
    const struct tensor *embedding = tensor_table_find(table, "token_embd.weight");
    if (embedding == NULL || embedding->rank != 2 || embedding->shape[0] < 1 ||
        embedding->shape[0] > CONFIG_MAX_VOCABULARY) {
        return status_fail(STATUS_INVALID, "tensor token_embd.weight: expected a table of tokens");
    }
    out->vocabulary = (int)embedding->shape[0];
    return STATUS_OK;
}

static status read_sizes(struct facts *facts, const struct family *family, struct model_config *out)
{
    TRY(read_integer(facts, "block_count", CONFIG_MAX_LAYERS, 0, &out->layers));
    TRY(read_integer(facts, "embedding_length", CONFIG_MAX_WIDTH, 0, &out->hidden));
    TRY(read_integer(facts, "attention.head_count", CONFIG_MAX_HEADS, 0, &out->heads));
    TRY(read_integer(facts, "attention.head_count_kv", CONFIG_MAX_HEADS, out->heads,
                     &out->kv_heads));
    TRY(read_integer(facts, "feed_forward_length", CONFIG_MAX_WIDTH, 0, &out->intermediate));
    TRY(read_integer(facts, "context_length", CONFIG_MAX_POSITIONS, family->defaults.max_positions,
                     &out->max_positions));
    if (has(facts, "attention.key_length")) {
        int value_length;
        TRY(read_integer(facts, "attention.key_length", CONFIG_MAX_HEAD_DIM, 0, &out->head_dim));
        TRY(read_integer(facts, "attention.value_length", CONFIG_MAX_HEAD_DIM, out->head_dim,
                         &value_length));
        if (value_length != out->head_dim) {
            return status_fail(STATUS_UNSUPPORTED, "%s: %d differs from the key length %d",
                               facts->key, value_length, out->head_dim);
        }
    }
    if (family->mixture) {
        TRY(read_integer(facts, "expert_count", CONFIG_MAX_EXPERTS, 0, &out->experts));
        TRY(read_integer(facts, "expert_used_count", out->experts, family->defaults.experts_used,
                         &out->router.used));
        TRY(read_integer(facts, "expert_feed_forward_length", CONFIG_MAX_WIDTH, out->intermediate,
                         &out->expert_intermediate));
        out->router.normalize = true;
        out->router.scale = 1;
    }
    return STATUS_OK;
}

static status read_scales(struct facts *facts, const struct family *family,
                          struct model_config *out)
{
    double number;
    TRY(read_real(facts, "attention.layer_norm_rms_epsilon", family->defaults.epsilon, &number));
    out->norm.epsilon = (float)number;
    out->norm.weight_offset = 0; /* the writer has added it to the weights */
    if (family->scaled_embedding) {
        out->embedding_scale = (float)sqrt(out->hidden);
    }
    if (family->query_scalar) {
        /* The format does not say query_pre_attn_scalar. It is the head size but for the 27B
         * models of both generations, which have 46 and 62 layers. */
        bool is_large = out->layers == (strcmp(family->name, "gemma2") == 0 ? 46 : 62);
        double scalar = is_large ? (double)out->hidden / out->heads : out->head_dim;
        out->attention_scale = (float)(1 / sqrt(scalar));
        TRY(read_real(facts, "attn_logit_softcapping", family->defaults.attention_soft_cap,
                      &number));
        out->attention_soft_cap = (float)number;
        TRY(read_real(facts, "final_logit_softcapping", family->defaults.logit_soft_cap, &number));
        out->logit_soft_cap = (float)number;
    }
    if (family->multipliers) {
        TRY(read_real(facts, "embedding_scale", 1, &number));
        out->embedding_scale = (float)number;
        TRY(read_real(facts, "residual_scale", 1, &number));
        out->residual_multiplier = (float)number;
        TRY(read_real(facts, "logit_scale", 1, &number));
        out->logit_scale = (float)(1 / number);
        TRY(read_real(facts, "attention.scale", 1 / sqrt(out->head_dim), &number));
        out->attention_scale = (float)number;
    }
    return STATUS_OK;
}

/* The factors of a rope_*.weight tensor, or NULL where there is none. */
static status read_factors(const struct tensor_table *table, const char *name, int count,
                           struct arena *arena, const double **out)
{
    *out = NULL;
    const struct tensor *tensor = tensor_table_find(table, name);
    if (tensor == NULL) {
        return STATUS_OK;
    }
    if (tensor->rank != 1 || tensor->shape[0] != count) {
        return status_fail(STATUS_INVALID, "tensor %s: expected %d values", name, count);
    }
    double *factors = arena_allocate_array(arena, (size_t)count, sizeof *factors);
    float *values = arena_allocate_array(arena, (size_t)count, sizeof *values);
    if (factors == NULL || values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    struct tensor_scratch scratch = {0};
    status s = tensor_read_values(table, tensor, 0, count, &scratch, values);
    tensor_scratch_destroy(&scratch);
    for (int i = 0; s == STATUS_OK && i < count; i++) {
        factors[i] = values[i];
        if (!(values[i] > 0) || isinf(values[i])) {
            s = status_fail(STATUS_INVALID, "tensor %s: expected positive numbers", name);
        }
    }
    *out = factors;
    return s;
}

/* Factors that the frequencies are divided by: two sets (Phi-3's longrope), or one for all lengths,
 * which is how Llama 3's scaling is stored. Either is a longrope. */
static status read_rope_factors(struct facts *facts, const struct tensor_table *table,
                                struct arena *arena, struct model_config *out)
{
    struct rope_config *rope = &out->rope;
    int count = config_rotary_dimensions(out) / 2;
    const double *all, *short_factor, *long_factor;
    TRY(read_factors(table, "rope_freqs.weight", count, arena, &all));
    TRY(read_factors(table, "rope_factors_short.weight", count, arena, &short_factor));
    TRY(read_factors(table, "rope_factors_long.weight", count, arena, &long_factor));
    if (all != NULL) {
        rope->attention_factor = 1;
        short_factor = long_factor = all;
    }
    if (short_factor == NULL || long_factor == NULL) {
        return rope->kind != ROPE_LONGROPE
                   ? STATUS_OK
                   : status_fail(STATUS_INVALID, "tensor rope_factors_long.weight: missing");
    }
    rope->kind = ROPE_LONGROPE;
    rope->factor_count = count;
    rope->short_factor = short_factor;
    rope->long_factor = long_factor;
    TRY(read_integer(facts, "rope.scaling.original_context_length", CONFIG_MAX_POSITIONS,
                     out->max_positions, &rope->original_max_positions));
    rope->factor = (double)out->max_positions / rope->original_max_positions;
    if (all == NULL) {
        TRY(read_real(facts, "rope.scaling.attn_factor", 0, &rope->attention_factor));
    }
    return STATUS_OK;
}

static status read_rope(struct facts *facts, const struct family *family,
                        const struct tensor_table *table, struct arena *arena,
                        struct model_config *out)
{
    struct rope_config *rope = &out->rope;
    int rotated;
    rope->kind = ROPE_DEFAULT;
    TRY(read_integer(facts, "rope.dimension_count", out->head_dim, out->head_dim, &rotated));
    if (rotated < 2 || rotated % 2 != 0) {
        return status_fail(STATUS_INVALID, "%s: %d; expected an even number", facts->key, rotated);
    }
    if (family->permuted_in_gguf && rotated != out->head_dim) {
        return status_fail(STATUS_UNSUPPORTED, "%s: %d of %d; only whole heads are supported",
                           facts->key, rotated, out->head_dim);
    }
    out->rotary_fraction = (double)rotated / out->head_dim;
    TRY(read_real(facts, "rope.freq_base", family->defaults.theta, &rope->theta));
    out->rope_local = out->rope;
    if (family->local_rope) {
        TRY(read_real(facts, "rope.freq_base_swa", family->defaults.local_theta,
                      &out->rope_local.theta));
    }
    const char *type = gguf_text(facts->gguf, full_key(facts, "rope.scaling.type"));
    if (type == NULL && has(facts, "rope.scale_linear")) {
        type = "linear";
        TRY(read_real(facts, "rope.scale_linear", NAN, &rope->factor));
    } else if (type != NULL && strcmp(type, "none") != 0) {
        TRY(read_real(facts, "rope.scaling.factor", 1, &rope->factor));
    }
    if (type != NULL && strcmp(type, "linear") == 0) {
        rope->kind = ROPE_LINEAR;
    } else if (type != NULL && strcmp(type, "yarn") == 0) {
        rope->kind = ROPE_YARN;
        rope->beta_fast = 32;
        rope->beta_slow = 1;
        rope->truncate = true;
        TRY(read_integer(facts, "rope.scaling.original_context_length", CONFIG_MAX_POSITIONS,
                         out->max_positions, &rope->original_max_positions));
    } else if (type != NULL && strcmp(type, "longrope") == 0) {
        rope->kind = ROPE_LONGROPE;
    } else if (type != NULL && strcmp(type, "none") != 0) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s.rope.scaling.type: \"%.40s\" is not supported (supported: none, "
                           "linear, yarn, longrope)",
                           facts->architecture, type);
    }
    TRY(read_rope_factors(facts, table, arena, out));
    if (!family->local_rope) {
        out->rope_local = out->rope;
    }
    return STATUS_OK;
}

static status read_tokens(const struct gguf *gguf, struct model_config *out)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int64_t id;
    if (gguf_integer(gguf, "tokenizer.ggml.bos_token_id", &id) && id >= 0 && id < out->vocabulary) {
        out->bos = (int32_t)id;
    }
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        if (gguf_integer(gguf, ends[i], &id)) {
            TRY(config_add_end(out, id));
        }
    }
    return STATUS_OK;
}

static bool has_tensor(const struct tensor_table *table, const char *name)
{
    return tensor_table_find(table, name) != NULL;
}

status gguf_read_config(const struct gguf *gguf, const struct tensor_table *table,
                        struct arena *arena, struct model_config *out)
{
    memset(out, 0, sizeof *out);
    struct facts facts = {.gguf = gguf, .architecture = gguf_text(gguf, "general.architecture")};
    if (facts.architecture == NULL) {
        return status_fail(STATUS_INVALID, "general.architecture: missing");
    }
    bool is_mixture = has(&facts, "expert_count");
    int64_t experts;
    if (is_mixture && gguf_integer(gguf, facts.key, &experts) && experts == 0) {
        is_mixture = false;
    }
    const struct family *family = family_find_gguf(facts.architecture, is_mixture);
    if (family == NULL) {
        return unsupported_architecture(facts.architecture);
    }
    config_set_family(family, out);
    out->architecture = arena_copy(arena, facts.architecture, strlen(facts.architecture));
    if (out->architecture == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    TRY(read_vocabulary(table, out));
    TRY(read_sizes(&facts, family, out));
    TRY(config_finish(out));
    TRY(read_scales(&facts, family, out));
    out->qkv_bias = has_tensor(table, "blk.0.attn_q.bias");
    out->attention_output_bias = has_tensor(table, "blk.0.attn_output.bias");
    out->mlp_bias = has_tensor(table, "blk.0.ffn_down.bias");
    out->tied_embeddings = !has_tensor(table, "output.weight");

    int pattern = family->defaults.window_pattern;
    enum layer_rule rule = family->layer_rule == LAYERS_PATTERN ? LAYERS_PATTERN : LAYERS_ALL;
    if (rule == LAYERS_PATTERN) {
        TRY(read_integer(&facts, "attention.sliding_window", CONFIG_MAX_POSITIONS,
                         family->defaults.window, &out->window));
    } else if (family->layer_rule != LAYERS_ALIKE && has(&facts, "attention.sliding_window")) {
        TRY(read_integer(&facts, "attention.sliding_window", CONFIG_MAX_POSITIONS, 0,
                         &out->window));
    }
    TRY(config_mark_layers(out, family, arena, rule, 0, pattern));
    TRY(read_rope(&facts, family, table, arena, out));
    return read_tokens(gguf, out);
}
