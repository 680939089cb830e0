/* SPDX-License-Identifier: Apache-2.0 */
/* Mixtures of experts in config.json: sizes, the router, the shared experts, and which layers are
 * dense. */
#include <stdio.h>

#include "model/read/config.h"

/* What families call the same thing; the first is named where none is there. */
static const char *const count_keys[] = {"num_experts", "num_local_experts", "n_routed_experts",
                                         "moe_num_experts"};
static const char *const used_keys[] = {"num_experts_per_tok", "moe_k"};

static const char *find_key(const struct json *object, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (config_has(object, keys[i])) {
            return keys[i];
        }
    }
    return keys[0];
}

/* ---- Which layers are dense ---- */

static status read_step(const struct json *object, struct model_config *config, uint8_t *dense)
{
    static const char key[] = "mlp_only_layers";
    int step;
    TRY(config_read_integer(object, "decoder_sparse_step", 1, CONFIG_MAX_LAYERS, 1, &step));
    for (int i = 0; i < config->layers; i++) {
        dense[i] = (i + 1) % step != 0;
    }
    const struct json *list = json_get(object, key);
    if (!config_has(object, key)) {
        return STATUS_OK;
    }
    if (list->type != JSON_ARRAY) {
        return config_expected(key, "an array of layers", list);
    }
    for (size_t i = 0; i < list->length; i++) {
        int64_t layer;
        if (!json_int64(list->items[i], &layer) || layer < 0) {
            return config_expected(key, "an array of layers", list->items[i]);
        }
        if (layer < config->layers) {
            dense[layer] = 1;
        }
    }
    return STATUS_OK;
}

static status read_first(const struct json *object, const struct family *family,
                         struct model_config *config, uint8_t *dense)
{
    int first;
    int step;
    TRY(config_read_integer(object, "first_k_dense_replace", 0, CONFIG_MAX_LAYERS,
                            family->defaults.first_dense_layers, &first));
    TRY(config_read_integer(object, "moe_layer_freq", 1, CONFIG_MAX_LAYERS, 1, &step));
    for (int i = 0; i < config->layers; i++) {
        dense[i] = i < first || i % step != 0;
    }
    return STATUS_OK;
}

static status read_range(const struct json *object, const struct family *family,
                         struct model_config *config, uint8_t *dense)
{
    static const char end_key[] = "moe_layer_end_index";
    int first, interval, last = config->layers - 1;
    int64_t end = -1;
    TRY(config_read_integer(object, "moe_layer_start_index", 0, CONFIG_MAX_LAYERS,
                            family->defaults.first_dense_layers, &first));
    TRY(config_read_integer(object, "moe_layer_interval", 1, CONFIG_MAX_LAYERS, 1, &interval));
    if (config_has(object, end_key) && (!json_int64(json_get(object, end_key), &end) || end < -1)) {
        return config_expected(end_key, "a layer, or -1", json_get(object, end_key));
    }
    last = end >= 0 && end < last ? (int)end : last;
    for (int i = 0; i < config->layers; i++) {
        dense[i] = (i + 1) % interval != 0 || i < first || i > last;
    }
    return STATUS_OK;
}

static status read_dense_layers(const struct json *object, const struct family *family,
                                struct arena *arena, struct model_config *out)
{
    uint8_t *dense = arena_allocate(arena, (size_t)out->layers);
    if (dense == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    switch (family->dense_rule) {
    case DENSE_NONE:
        return STATUS_OK;
    case DENSE_BY_STEP:
        TRY(read_step(object, out, dense));
        break;
    case DENSE_FIRST:
        TRY(read_first(object, family, out, dense));
        break;
    case DENSE_BY_RANGE:
        TRY(read_range(object, family, out, dense));
        break;
    }
    for (int i = 0; i < out->layers; i++) {
        out->layer_is_dense = dense[i] ? dense : out->layer_is_dense;
    }
    return STATUS_OK;
}

/* ---- The router ---- */

/* Names of what the family's router is or is not: `key` has to be one of the two, or absent. */
static status read_word(const struct json *object, const char *key, const char *is,
                        const char *is_not, bool *out)
{
    *out = !json_is_string(json_get(object, key), is_not);
    if (*out && config_has(object, key) && !json_is_string(json_get(object, key), is)) {
        char expected[96];
        snprintf(expected, sizeof expected, "%s or %s", is, is_not);
        return config_expected(key, expected, json_get(object, key));
    }
    return STATUS_OK;
}

/* What DeepSeek's configurations call their routers. A greedy one knows no groups. */
static status read_method(const struct json *object, const struct router_facts *router,
                          bool *has_groups)
{
    static const char score_key[] = "scoring_func";
    const bool is_sigmoid = router->score == ROUTER_SIGMOID;
    bool is_own;
    TRY(read_word(object, score_key, is_sigmoid ? "sigmoid" : "softmax",
                  is_sigmoid ? "softmax" : "sigmoid", &is_own));
    if (!is_own) {
        return status_fail(STATUS_UNSUPPORTED, "%s: not this one with this family's router",
                           score_key);
    }
    return read_word(object, "topk_method", is_sigmoid ? "noaux_tc" : "group_limited_greedy",
                     "greedy", has_groups);
}

static status read_groups(const struct json *object, struct model_config *config)
{
    struct router_facts *router = &config->router;
    TRY(config_read_integer(object, "n_group", 1, CONFIG_MAX_GROUPS, 1, &router->groups));
    TRY(config_read_integer(object, "topk_group", 1, CONFIG_MAX_GROUPS, 1, &router->top_groups));
    if (config->experts % router->groups != 0) {
        return status_fail(STATUS_INVALID, "n_group: %d does not divide the %d experts",
                           router->groups, config->experts);
    }
    if (router->top_groups > router->groups) {
        return status_fail(STATUS_INVALID, "topk_group: %d of %d groups", router->top_groups,
                           router->groups);
    }
    if (router->used > config->experts / router->groups * router->top_groups) {
        return status_fail(STATUS_INVALID,
                           "num_experts_per_tok: %d, of %d experts in the groups that are chosen",
                           router->used, config->experts / router->groups * router->top_groups);
    }
    if (router->groups == router->top_groups) {
        router->groups = router->top_groups = 0; /* all may be chosen */
    }
    return STATUS_OK;
}

static status read_router(const struct json *object, const struct family *family,
                          struct model_config *out)
{
    double number;
    out->router = family->router;
    out->router_bias = family->router_bias;
    out->router_correction = family->router_correction;
    const char *key = find_key(object, used_keys, COUNT_OF(used_keys));
    TRY(config_read_integer(object, key, 1, CONFIG_MAX_EXPERTS, family->defaults.experts_used,
                            &out->router.used));
    if (out->router.used > out->experts) {
        return status_fail(STATUS_INVALID, "%s: %d of %d experts", key, out->router.used,
                           out->experts);
    }
    out->router.normalize = true;
    if (!family->always_normalize_experts) {
        TRY(config_read_bool(object, "norm_topk_prob", family->defaults.normalize_experts,
                             &out->router.normalize));
    }
    if (family->least_sum_key != NULL) {
        TRY(config_read_positive(object, family->least_sum_key, 1, 1e-12, &number));
        out->router.least_sum = (float)number;
    }
    out->router.scale = 1;
    if (!family->router_groups) {
        return STATUS_OK;
    }
    TRY(config_read_positive(object, "routed_scaling_factor", 1e6, 1, &number));
    out->router.scale = (float)number;
    bool has_groups;
    TRY(read_method(object, &out->router, &has_groups));
    return has_groups ? read_groups(object, out) : STATUS_OK;
}

/* ---- Experts ---- */

/* Of the shared ones, in one MLP. */
static status read_shared(const struct json *object, const struct family *family,
                          struct model_config *out)
{
    const char *key = family->shared_width_key;
    out->shared_gate = family->shared_gate;
    if (key != NULL) {
        TRY(config_read_integer(object, key, 0, CONFIG_MAX_WIDTH, family->defaults.shared,
                                &out->shared_width));
    } else if ((key = family->shared_count_key) != NULL) {
        int count;
        TRY(config_read_integer(object, key, 0, CONFIG_MAX_EXPERTS, family->defaults.shared,
                                &count));
        out->shared_width = count * out->expert_intermediate;
    }
    out->shared_gate = out->shared_gate && out->shared_width > 0;
    return out->experts + model_shared_experts(out) > CONFIG_MAX_EXPERTS
               ? status_fail(STATUS_INVALID, "%s: %d columns beside experts of %d are too many",
                             key, out->shared_width, out->expert_intermediate)
               : STATUS_OK;
}

status config_read_experts(const struct json *object, const struct family *family,
                           struct arena *arena, struct model_config *out)
{
    double limit;
    if (!family->mixture) {
        return STATUS_OK;
    }
    TRY(config_read_integer(object, find_key(object, count_keys, COUNT_OF(count_keys)),
                            family->experts_may_lack ? 0 : 1, CONFIG_MAX_EXPERTS,
                            family->defaults.experts, &out->experts));
    if (out->experts == 0 && family->layer_rule == LAYERS_BLOCKS) {
        return STATUS_OK;
    }
    if (out->experts == 0) {
        return config_read_integer(object, family->shared_width_key, 1, CONFIG_MAX_WIDTH, 0,
                                   &out->intermediate);
    }
    out->expert_intermediate = out->intermediate;
    if (!family->experts_keep_width) {
        TRY(config_read_integer(object, "moe_intermediate_size", 1, CONFIG_MAX_WIDTH,
                                family->defaults.expert_intermediate, &out->expert_intermediate));
    }
    bool has_bias = false;
    if (family->bias_refused) {
        TRY(config_read_bool(object, "use_bias", false, &has_bias));
    }
    if (has_bias) {
        return status_fail(STATUS_UNSUPPORTED, "use_bias: experts with biases are not supported of "
                                               "this family");
    }
    if (family->clamped_experts) {
        TRY(config_read_positive(object, "swiglu_limit", 1e6, 7, &limit));
        out->expert_limit = (float)limit;
        out->expert_bias = true;
    }
    TRY(read_router(object, family, out));
    TRY(read_shared(object, family, out));
    return read_dense_layers(object, family, arena, out);
}
