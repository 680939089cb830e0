/* SPDX-License-Identifier: Apache-2.0 */
/* The serial bound: output tokens a second that a model's shapes, the lengths and a device's
 * ceilings allow when nothing overlaps and nothing is lost. */
#include <math.h>

#include "sluice/bench.h"

/* Weights of the linear layers of one layer: those that every row uses, and those of one expert. */
struct layer_values {
    double shared, expert;
    int experts, used;
};

/* Of a layer's first half. */
static double mixer_values(const struct model_config *config, enum mixer_kind kind)
{
    double hidden = config->hidden, heads = config->heads, kv_heads = config->kv_heads;
    switch (kind) {
    case MIXER_ATTENTION:
        break;
    case MIXER_ATTENTION_AND_SPACE:
        return mixer_values(config, MIXER_ATTENTION) + mixer_values(config, MIXER_STATE_SPACE);
    case MIXER_NONE:
        return 0;
    case MIXER_SHORT_CONVOLUTION:
        return hidden * 4 * hidden; /* B, C and x, and the output */
    case MIXER_STATE_SPACE:
        return hidden * (3 * config->scan_heads * config->scan_head_dim + config->scan_heads +
                         2 * config->scan_groups * config->scan_state_dim);
    case MIXER_LATENT: {
        const double key = config->latent_key_dim + config->latent_rope_dim;
        const double latent = config->latent_dim, query = config->query_latent_dim;
        return (query > 0 ? query * (hidden + heads * key) : hidden * heads * key) +
               hidden * (latent + config->latent_rope_dim) +
               heads * latent * (config->latent_key_dim + config->head_dim) +
               hidden * config->head_dim * heads;
    }
    case MIXER_GATED_DELTA:
        return hidden * (2 * config->delta_key_heads * config->delta_key_dim +
                         config->delta_value_heads * (3 * config->delta_value_dim + 2));
    }
    return hidden * config->head_dim * (heads + 2 * kv_heads) /* q, k, v */
           + (config->gated_attention ? hidden * config->head_dim * heads : 0) +
           hidden * config->head_dim * heads; /* output */
}

static struct layer_values layer_values(const struct model_config *config, int layer)
{
    double hidden = config->hidden;
    double mixer = mixer_values(config, model_layer_kind(config, layer).mixer);
    double sides = config->gated ? 3 : 2;
    if (!model_has_mlp(config, layer)) {
        return (struct layer_values){.shared = mixer};
    }
    bool dense = config->experts == 0 ||
                 (config->layer_is_dense != NULL && config->layer_is_dense[layer] != 0);
    if (dense) {
        return (struct layer_values){.shared = mixer + sides * hidden * config->intermediate};
    }
    const double router = hidden * config->experts, shared = hidden * config->shared_width;
    return (struct layer_values){.shared = mixer + router + sides * shared,
                                 .expert = sides * hidden * config->expert_intermediate,
                                 .experts = config->experts,
                                 .used = config->router.used};
}

double model_weight_values(const struct model_config *config)
{
    double vocabulary = (double)config->hidden * config->vocabulary;
    double sum = config->tied_embeddings ? vocabulary : 2 * vocabulary;
    for (int i = 0; i < config->layers; i++) {
        struct layer_values values = layer_values(config, i);
        sum += values.shared + values.expert * values.experts;
    }
    return sum;
}

/* ---- Products ---- */

/* Seconds of one step of `rows` rows, `outputs` of them through the vocabulary projection. */
static double step_products(const struct model_config *config,
                            const struct device_ceilings *ceilings, double rows, double outputs)
{
    double vocabulary = (double)config->hidden * config->vocabulary;
    double seconds = vocabulary * ceilings_product_seconds(ceilings, outputs);
    double row_seconds = ceilings_product_seconds(ceilings, rows);
    for (int i = 0; i < config->layers; i++) {
        struct layer_values values = layer_values(config, i);
        seconds += values.shared * row_seconds;
        if (values.experts > 0) { /* rows choose their experts independently and evenly */
            double share = (double)values.used / values.experts;
            double touched = values.experts * (1 - pow(1 - share, rows));
            seconds += values.expert * touched *
                       ceilings_product_seconds(ceilings, rows * values.used / touched);
        }
    }
    return seconds;
}

/* ---- Attention ---- */

/* The mean of min(window, context) over contexts from `prompt` to prompt + new. */
static double mean_context(double prompt, double new, double window)
{
    double whole = prompt + new / 2;
    if (window <= 0 || window >= prompt + new) {
        return whole;
    }
    if (window <= prompt) {
        return window;
    }
    double growing = (window - prompt) / new;
    return growing * (prompt + window) / 2 + (1 - growing) * window;
}

/* Pairs of a query and a key of one prompt. */
static double prompt_pairs(double prompt, double window)
{
    return window <= 0 || window >= prompt ? prompt * prompt / 2
                                           : window * prompt - window * window / 2;
}

/* Numbers that a layer keeps of a position. */
static double position_values(const struct model_config *config, enum mixer_kind kind)
{
    if (kind == MIXER_LATENT) {
        return config->latent_dim + config->latent_rope_dim;
    }
    return mixer_has_part(kind, MIXER_ATTENTION) ? 2.0 * config->kv_heads * config->head_dim : 0;
}

/* And of a sequence, whatever its length: its states, in float32. */
static double state_values(const struct model_config *config, enum mixer_kind kind)
{
    const double before = config->convolution_taps - 1;
    if (kind == MIXER_SHORT_CONVOLUTION) {
        return before * config->hidden;
    }
    if (kind == MIXER_GATED_DELTA) {
        const double values = (double)config->delta_value_heads * config->delta_value_dim;
        const double keys = 2.0 * config->delta_key_heads * config->delta_key_dim;
        return before * (keys + values) + values * config->delta_key_dim;
    }
    if (mixer_has_part(kind, MIXER_STATE_SPACE)) {
        const double inner = (double)config->scan_heads * config->scan_head_dim;
        const double groups = 2.0 * config->scan_groups * config->scan_state_dim;
        return before * (inner + groups) + inner * config->scan_state_dim;
    }
    return 0;
}

/* Multiply-adds of a query head with one position: with keys and values of its own, which prompts
 * could be computed with, however they are. */
static double pair_products(const struct model_config *config, enum mixer_kind kind)
{
    return kind == MIXER_LATENT
               ? config->latent_key_dim + config->latent_rope_dim + config->head_dim
               : 2.0 * config->head_dim;
}

void serial_bound_compute(const struct model_config *config, const struct bound_load *load,
                          const struct device_ceilings *ceilings, struct serial_bound *out)
{
    double prompt = load->prompt_tokens, new = load->new_tokens;
    double read = 0, pair_work = 0, kept = 0, states = 0;
    for (int i = 0; i < config->layers; i++) {
        const enum mixer_kind kind = model_layer_kind(config, i).mixer;
        const double position = position_values(config, kind) * load->kv_value_bytes;
        const int window = model_layer_window(config, i);
        kept += position;
        read += position * mean_context(prompt, new, window);
        states += state_values(config, kind) * (double)sizeof(float);
        if (position > 0) {
            pair_work += pair_products(config, kind) * prompt_pairs(prompt, window);
        }
    }
    read += 2 * states; /* and written again */
    double weights = model_weight_values(config) * load->weight_value_bytes;
    double sequence = kept * mean_context(prompt, new, 0) + states;
    double fitting = floor(((double)load->memory_bytes - weights) / fmax(1, sequence));
    double batch = fmax(1, fmin(fitting, (double)load->requests));

    /* Each sequence gives a token a step, but for its prompt, whose last row gives the first one;
     * the prompts' rows are spread over the steps. */
    double devices = load->devices;
    double rows = (prompt + new - 1) / new;
    out->batch = (int64_t)batch;
    out->products = step_products(config, ceilings, batch * rows, batch) / (batch * devices);
    out->prefill_attention = 2.0 * config->heads * pair_work / new /
                             (devices * ceilings_attention_rate(ceilings, prompt));
    out->decode_attention = (new - 1) / new *read / (devices * ceilings->bytes_per_second);
    out->tokens_per_second = 1 / (out->products + out->prefill_attention + out->decode_attention);
}
