/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of mixers that are no attention over keys and values. */
#include "model/read/config.h"

#include <math.h>

enum { MOST_CONVOLUTION_TAPS = 8 };

/* The MLP's width as LFM2's own code derives it from what is written. */
static status adjust_width(const struct json *object, struct model_config *out)
{
    bool is_adjusted;
    TRY(config_read_bool(object, "block_auto_adjust_ff_dim", true, &is_adjusted));
    if (!is_adjusted) {
        return STATUS_OK;
    }
    double factor;
    int multiple;
    TRY(config_read_positive(object, "block_ffn_dim_multiplier", 1e3, 1, &factor));
    TRY(config_read_integer(object, "block_multiple_of", 1, CONFIG_MAX_WIDTH, 256, &multiple));
    const double wide = factor * (double)(2 * (int64_t)out->intermediate / 3);
    const int64_t width = ((int64_t)wide + multiple - 1) / multiple * multiple;
    if (width < 1 || width > CONFIG_MAX_WIDTH) {
        return status_fail(STATUS_INVALID,
                           "intermediate_size: adjusted to %lld, which is not "
                           "plausible",
                           (long long)width);
    }
    out->intermediate = (int)width;
    return STATUS_OK;
}

static status read_short_convolutions(const struct json *object, struct model_config *out)
{
    TRY(config_read_integer(object, "conv_L_cache", 1, MOST_CONVOLUTION_TAPS, 3,
                            &out->convolution_taps));
    TRY(config_read_bool(object, "conv_bias", false, &out->convolution_bias));
    return adjust_width(object, out);
}

static status read_gated_delta(const struct json *object, struct model_config *out)
{
    TRY(config_read_integer(object, "linear_conv_kernel_dim", 1, MOST_CONVOLUTION_TAPS, 4,
                            &out->convolution_taps));
    TRY(config_read_integer(object, "linear_num_key_heads", 1, CONFIG_MAX_HEADS, 16,
                            &out->delta_key_heads));
    TRY(config_read_integer(object, "linear_num_value_heads", 1, CONFIG_MAX_HEADS, 32,
                            &out->delta_value_heads));
    TRY(config_read_integer(object, "linear_key_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128,
                            &out->delta_key_dim));
    TRY(config_read_integer(object, "linear_value_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128,
                            &out->delta_value_dim));
    if (out->delta_value_heads % out->delta_key_heads != 0) {
        return status_fail(STATUS_INVALID,
                           "linear_num_key_heads: %d does not divide the %d value heads "
                           "(linear_num_value_heads)",
                           out->delta_key_heads, out->delta_value_heads);
    }
    const int64_t keys = 2 * (int64_t)out->delta_key_heads * out->delta_key_dim;
    const int64_t values = (int64_t)out->delta_value_heads * (out->delta_value_dim + 1);
    if (keys + 2 * values > CONFIG_MAX_WIDTH) {
        return status_fail(STATUS_INVALID,
                           "linear_num_value_heads: %d of %d values are more than is plausible",
                           out->delta_value_heads, out->delta_value_dim);
    }
    return STATUS_OK;
}

/* The shortest and the longest step; an infinity is no limit. */
static status read_step_limit(const struct json *object, struct model_config *out)
{
    static const char key[] = "time_step_limit";
    const struct json *list = config_has(object, key) ? json_get(object, key) : NULL;
    double least = 0, most = INFINITY;
    if (list != NULL && (list->type != JSON_ARRAY || list->length != 2)) {
        return config_expected(key, "two numbers", list);
    }
    if (list != NULL && json_double(list->items[0], &least) && !(least >= 0 && least < 1e6)) {
        return config_expected(key, "two numbers from 0", list->items[0]);
    }
    if (list != NULL && json_double(list->items[1], &most) && !(most > least)) {
        return config_expected(key, "two ascending numbers", list->items[1]);
    }
    out->scan_least_step = (float)least;
    out->scan_most_step = (float)most;
    return STATUS_OK;
}

/* Heads, groups, sizes that belong together. */
static status check_state_spaces(const struct model_config *config)
{
    const int64_t inner = (int64_t)config->scan_heads * config->scan_head_dim;
    const int64_t groups = 2 * (int64_t)config->scan_groups * config->scan_state_dim;
    if (config->scan_heads % config->scan_groups != 0) {
        return status_fail(STATUS_INVALID, "mamba_n_groups: %d does not divide the %d heads",
                           config->scan_groups, config->scan_heads);
    }
    return 2 * inner + groups + config->scan_heads <= CONFIG_MAX_WIDTH
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "mamba_n_heads: %d of %d values are more than is plausible",
                             config->scan_heads, config->scan_head_dim);
}

/* What families call the facts of state spaces; NULL: it has none of its own. */
struct scan_keys {
    const char *heads, *head_dim, *groups, *state, *taps, *convolution_bias, *bias;
};

static const struct scan_keys common_keys = {"mamba_n_heads",  "mamba_d_head", "mamba_n_groups",
                                             "mamba_d_state",  "mamba_d_conv", "mamba_conv_bias",
                                             "mamba_proj_bias"};
static const struct scan_keys nemotron_keys = {"mamba_num_heads", "mamba_head_dim", "n_groups",
                                               "ssm_state_size",  "conv_kernel",    "use_conv_bias",
                                               "use_bias"};

static status read_sizes(const struct json *object, const struct scan_keys *keys,
                         struct model_config *out)
{
    TRY(config_read_integer(object, keys->heads, 1, CONFIG_MAX_HEADS, 128, &out->scan_heads));
    TRY(config_read_integer(object, keys->groups, 1, CONFIG_MAX_HEADS, 1, &out->scan_groups));
    TRY(config_read_integer(object, keys->state, 1, CONFIG_MAX_HEAD_DIM, 256,
                            &out->scan_state_dim));
    TRY(config_read_integer(object, keys->taps, 1, MOST_CONVOLUTION_TAPS, 4,
                            &out->convolution_taps));
    TRY(config_read_bool(object, keys->convolution_bias, true, &out->convolution_bias));
    TRY(config_read_bool(object, keys->bias, false, &out->scan_input_bias));
    out->scan_output_bias = out->scan_input_bias;
    return config_has(object, keys->head_dim) &&
                   !json_is_string(json_get(object, keys->head_dim), "auto")
               ? config_read_integer(object, keys->head_dim, 1, CONFIG_MAX_HEAD_DIM, 0,
                                     &out->scan_head_dim)
               : STATUS_OK;
}

/* Of Granite 4: the heads' values are a multiple of the hidden size, and the norm is over all. */
static status read_state_spaces(const struct json *object, struct model_config *out)
{
    int expand;
    TRY(config_read_integer(object, "mamba_expand", 1, 64, 2, &expand));
    TRY(read_sizes(object, &common_keys, out));
    if (out->scan_head_dim == 0) {
        out->scan_head_dim = (int)((int64_t)expand * out->hidden / out->scan_heads);
    }
    if ((int64_t)out->scan_head_dim * out->scan_heads != (int64_t)expand * out->hidden) {
        return status_fail(STATUS_INVALID,
                           "mamba_d_head: %d heads of %d values are not mamba_expand %d times the "
                           "hidden size of %d",
                           out->scan_heads, out->scan_head_dim, expand, out->hidden);
    }
    out->scan_norm_groups = 1;
    TRY(read_step_limit(object, out));
    return check_state_spaces(out);
}

/* Of Nemotron-H: of any width, with a norm of each group. */
static status read_nemotron_spaces(const struct json *object, struct model_config *out)
{
    if (config_has(object, "moe_latent_size")) {
        return status_fail(STATUS_UNSUPPORTED,
                           "moe_latent_size: experts of a latent are not supported");
    }
    TRY(read_sizes(object, &nemotron_keys, out));
    if (out->scan_head_dim == 0) {
        out->scan_head_dim = 64;
    }
    out->scan_norm_groups = out->scan_groups;
    TRY(read_step_limit(object, out));
    return check_state_spaces(out);
}

static status read_factor(const struct json *object, const char *key, float *out)
{
    double number;
    TRY(config_read_positive(object, key, 1e6, 1, &number));
    *out = (float)number;
    return STATUS_OK;
}

/* `count` positive numbers; all 1 where the key is absent. */
static status read_factors(const struct json *object, const char *key, int count, float *out)
{
    const struct json *list = config_has(object, key) ? json_get(object, key) : NULL;
    if (list != NULL && (list->type != JSON_ARRAY || list->length != (size_t)count)) {
        return status_fail(STATUS_INVALID, "%s: expected an array of %d numbers", key, count);
    }
    for (int i = 0; i < count; i++) {
        double number = 1;
        if (list != NULL &&
            (!json_double(list->items[i], &number) || !(number > 0) || number > 1e6)) {
            return config_expected(key, "positive numbers", list->items[i]);
        }
        out[i] = (float)number;
    }
    return STATUS_OK;
}

/* What Falcon-H1 multiplies. What attention reads and its keys are multiplied by goes into the
 * scale of q·k and into what it adds; so nothing before it may have biases. */
static status read_falcon_factors(const struct json *object, struct model_config *out)
{
    float in, key, scan_in, mlp[2];
    TRY(read_factor(object, "embedding_multiplier", &out->embedding_scale));
    TRY(read_factor(object, "lm_head_multiplier", &out->logit_scale));
    TRY(read_factor(object, "attention_in_multiplier", &in));
    TRY(read_factor(object, "attention_out_multiplier", &out->mixer_multiplier));
    TRY(read_factor(object, "key_multiplier", &key));
    TRY(read_factor(object, "ssm_in_multiplier", &scan_in));
    TRY(read_factor(object, "ssm_out_multiplier", &out->space_multiplier));
    TRY(read_factors(object, "ssm_multipliers", (int)COUNT_OF(out->scan_scales), out->scan_scales));
    TRY(read_factors(object, "mlp_multipliers", (int)COUNT_OF(mlp), mlp));
    const int head_dim = out->head_dim > 0 ? out->head_dim : out->hidden / out->heads;
    out->attention_scale = (float)((double)in * in * key / sqrt(head_dim));
    out->mixer_multiplier *= in;
    for (size_t i = 0; i < COUNT_OF(out->scan_scales); i++) {
        out->scan_scales[i] *= scan_in;
    }
    out->gate_multiplier = mlp[0];
    out->mlp_multiplier = mlp[1];
    return STATUS_OK;
}

/* Of Falcon-H1: of a width of their own, with a norm of groups or none. */
static status read_falcon_spaces(const struct json *object, struct model_config *out)
{
    static const char *const biases[] = {"attention_bias", "mamba_proj_bias", "mlp_bias",
                                         "projectors_bias"};
    int expand, inner;
    bool has_norm;
    for (size_t i = 0; i < COUNT_OF(biases); i++) {
        bool has_bias;
        TRY(config_read_bool(object, biases[i], false, &has_bias));
        if (has_bias) {
            return status_fail(STATUS_UNSUPPORTED, "%s: not supported of this family", biases[i]);
        }
    }
    TRY(config_read_integer(object, "mamba_expand", 1, 64, 2, &expand));
    TRY(read_sizes(object, &common_keys, out));
    const int64_t wide = (int64_t)expand * out->hidden;
    TRY(config_read_integer(object, "mamba_d_ssm", 1, CONFIG_MAX_WIDTH,
                            wide < CONFIG_MAX_WIDTH ? (int)wide : CONFIG_MAX_WIDTH, &inner));
    if (out->scan_head_dim == 0) {
        out->scan_head_dim = inner / out->scan_heads;
    }
    if ((int64_t)out->scan_head_dim * out->scan_heads != inner) {
        return status_fail(STATUS_INVALID, "mamba_d_ssm: %d is not %d heads of %d values", inner,
                           out->scan_heads, out->scan_head_dim);
    }
    TRY(config_read_bool(object, "mamba_rms_norm", false, &has_norm));
    TRY(config_read_bool(object, "mamba_norm_before_gate", true, &out->scan_norm_first));
    out->scan_norm_groups = has_norm ? out->scan_groups : 0;
    out->scan_norm_first = out->scan_norm_first && has_norm;
    TRY(read_step_limit(object, out));
    TRY(check_state_spaces(out));
    return read_falcon_factors(object, out);
}

/* Sizes of latent attention. Of `head_dim` configurations have the rotary part, or nothing. */
static status read_latent_attention(const struct json *object, struct model_config *out)
{
    bool has_bias;
    TRY(config_read_bool(object, "attention_bias", false, &has_bias));
    if (has_bias) {
        return status_fail(STATUS_UNSUPPORTED,
                           "attention_bias: latent attention is only supported without biases");
    }
    TRY(config_read_integer(object, "kv_lora_rank", 1, CONFIG_MAX_WIDTH, 512, &out->latent_dim));
    TRY(config_read_integer(object, "q_lora_rank", 0, CONFIG_MAX_WIDTH, 0, &out->query_latent_dim));
    TRY(config_read_integer(object, "qk_rope_head_dim", 1, CONFIG_MAX_HEAD_DIM, 64,
                            &out->latent_rope_dim));
    TRY(config_read_integer(object, "qk_nope_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128,
                            &out->latent_key_dim));
    TRY(config_read_integer(object, "v_head_dim", 1, CONFIG_MAX_HEAD_DIM, 128, &out->head_dim));
    TRY(config_read_bool(object, "rope_interleave", true, &out->rope_pairs));
    const int key_dim = out->latent_key_dim + out->latent_rope_dim;
    const int64_t wide = (int64_t)out->heads * ((int64_t)out->latent_dim + out->latent_rope_dim);
    if ((int64_t)out->heads * (key_dim + out->head_dim) > CONFIG_MAX_WIDTH ||
        wide > CONFIG_MAX_HEADS * (int64_t)CONFIG_MAX_HEAD_DIM) {
        return status_fail(STATUS_INVALID,
                           "kv_lora_rank: %d for %d heads of %d values is more than is plausible",
                           out->latent_dim, out->heads, key_dim);
    }
    out->kv_heads = 1;
    out->attention_scale = (float)(1 / sqrt(key_dim));
    return STATUS_OK;
}

status mixer_facts_read(const struct json *object, const struct family *family,
                        struct model_config *out)
{
    if (family->gated_attention && out->qkv_bias) {
        return status_fail(STATUS_UNSUPPORTED,
                           "attention_bias: attention with gates is only supported without biases");
    }
    return family->short_convolutions            ? read_short_convolutions(object, out)
           : family->gated_delta                 ? read_gated_delta(object, out)
           : family->latent_attention            ? read_latent_attention(object, out)
           : family->falcon_multipliers          ? read_falcon_spaces(object, out)
           : family->layer_rule == LAYERS_BLOCKS ? read_nemotron_spaces(object, out)
           : family->state_spaces                ? read_state_spaces(object, out)
                                                 : STATUS_OK;
}
