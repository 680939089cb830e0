/* SPDX-License-Identifier: Apache-2.0 */
/* What a model needs of its devices beyond what every backend has. */
#include "sluice/backend_needs.h"
#include "sluice/model.h"

static bool has_mixer(const struct model_config *config, enum mixer_kind mixer)
{
    for (int i = 0; i < config->layers; i++) {
        if (mixer_has_part(model_layer_kind(config, i).mixer, mixer)) {
            return true;
        }
    }
    return false;
}

static bool has_wide_norms(const struct model_config *config)
{
    return config->wide_qk_norm;
}

static bool has_scaled_queries(const struct model_config *config)
{
    return config->query_scale_beta > 0;
}

static bool has_gated_attention(const struct model_config *config)
{
    return config->gated_attention;
}

static bool has_sinks(const struct model_config *config)
{
    return config->sinks;
}

static bool has_short_convolutions(const struct model_config *config)
{
    return has_mixer(config, MIXER_SHORT_CONVOLUTION);
}

static bool has_gated_delta(const struct model_config *config)
{
    return has_mixer(config, MIXER_GATED_DELTA);
}

static bool has_state_spaces(const struct model_config *config)
{
    return has_mixer(config, MIXER_STATE_SPACE);
}

static bool has_latent_attention(const struct model_config *config)
{
    return has_mixer(config, MIXER_LATENT);
}

static bool has_expert_rules(const struct model_config *config)
{
    const struct router_facts *router = &config->router;
    return config->experts > 0 &&
           (router->score != ROUTER_SOFT_MAX || router->groups > 0 || router->least_sum > 0 ||
            router->scale != 1 || config->router_bias || config->router_correction ||
            config->expert_limit > 0 || config->expert_bias || config->shared_width > 0);
}

static bool has_bias_by_distance(const struct model_config *config)
{
    return config->relative_buckets > 0;
}

static bool has_two_sided_windows(const struct model_config *config)
{
    return config->encoder && config->layer_kinds != NULL && config->window > 0;
}

static bool has_types_alone(const struct model_config *config)
{
    return config->token_types > 0 && config->position_rows == 0;
}

static const struct {
    const char *what;
    bool (*has)(const struct model_config *config);
} needs[BACKEND_NEEDS] = {
    [NEED_WIDE_NORMS] = {"norms of q and k over all heads", has_wide_norms},
    [NEED_SCALED_QUERIES] = {"queries scaled by their position", has_scaled_queries},
    [NEED_GATED_ATTENTION] = {"attention with gates", has_gated_attention},
    [NEED_SINKS] = {"sinks in attention", has_sinks},
    [NEED_SHORT_CONVOLUTIONS] = {"short convolutions", has_short_convolutions},
    [NEED_GATED_DELTA] = {"the gated delta rule", has_gated_delta},
    [NEED_STATE_SPACES] = {"state spaces", has_state_spaces},
    [NEED_LATENT_ATTENTION] = {"latent attention", has_latent_attention},
    [NEED_BIAS_BY_DISTANCE] = {"biases by distance", has_bias_by_distance},
    [NEED_TWO_SIDED_WINDOWS] = {"windows to both sides", has_two_sided_windows},
    [NEED_TYPES_ALONE] = {"token types without positions", has_types_alone},
    [NEED_EXPERT_RULES] = {"this router, its shared experts or their biases", has_expert_rules},
};

status model_check_kind(const struct model_config *config, const struct backend_kind *kind)
{
    for (int need = 0; need < BACKEND_NEEDS; need++) {
        if (backend_kind_lacks(kind, (enum backend_need)need) && needs[need].has(config)) {
            return status_fail(
                STATUS_UNSUPPORTED, "%s: %s cannot be computed on %s yet; set engine.device: %s",
                config->architecture, needs[need].what, kind->place, backend_kind_host()->name);
        }
    }
    return STATUS_OK;
}
