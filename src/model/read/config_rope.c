/* SPDX-License-Identifier: Apache-2.0 */
/* Rope in config.json: rope_parameters (transformers 5, flat or one object a layer type) or
 * rope_theta and rope_scaling (transformers 4). */
#include <math.h>
#include <string.h>

#include "model/read/config.h"

int config_rotary_dimensions(const struct model_config *config)
{
    return config->latent_dim > 0 ? config->latent_rope_dim
                                  : (int)(config->head_dim * config->rotary_fraction);
}

struct rope_source {
    const struct json *config; /* the whole object, for keys that stand outside */
    const struct json
        *parameters; /* rope_parameters, rope_scaling or a part of them; may be NULL */
    const struct family *family;
    double theta; /* where `parameters` has none */
};

static status read_kind(const struct rope_source *source, struct rope_config *out)
{
    static const struct {
        const char *name;
        enum rope_kind kind;
    } known[] = {
        {"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR}, {"dynamic", ROPE_DYNAMIC},
        {"llama3", ROPE_LLAMA3},   {"yarn", ROPE_YARN},     {"longrope", ROPE_LONGROPE},
        {"su", ROPE_LONGROPE},
    };
    const char *key = config_has(source->parameters, "rope_type") ? "rope_type" : "type";
    out->kind = ROPE_DEFAULT;
    if (!config_has(source->parameters, key)) {
        return STATUS_OK;
    }
    const struct json *value = json_get(source->parameters, key);
    if (source->family->plain_mrope && json_is_string(value, "mrope")) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (json_is_string(value, known[i].name)) {
            out->kind = known[i].kind;
            if (source->family->su_is_longrope && out->kind == ROPE_YARN) {
                out->kind = ROPE_LONGROPE;
            }
            return STATUS_OK;
        }
    }
    return config_expected(key, "one of default, linear, dynamic, llama3, yarn, longrope", value);
}

static status read_original(const struct rope_source *source, const struct model_config *config,
                            struct rope_config *out)
{
    static const char key[] = "original_max_position_embeddings";
    int fallback = source->family->defaults.original_max_positions;
    const struct json *from = source->config;
    if (!config_has(from, key) && (fallback == 0 || config_has(source->parameters, key))) {
        from = source->parameters;
    }
    return config_read_integer(from, key, 1, CONFIG_MAX_POSITIONS,
                               fallback == 0 ? config->max_positions : fallback,
                               &out->original_max_positions);
}

static status read_factors(const struct json *parameters, const char *key, int count,
                           struct arena *arena, const double **out)
{
    const struct json *list = json_get(parameters, key);
    if (list == NULL || list->type != JSON_ARRAY || list->length != (size_t)count) {
        return status_fail(STATUS_INVALID, "%s: expected an array of %d numbers", key, count);
    }
    double *factors = arena_allocate_array(arena, (size_t)count, sizeof *factors);
    if (factors == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    for (int i = 0; i < count; i++) {
        if (!json_double(list->items[i], &factors[i]) || !(factors[i] > 0) || factors[i] > 1e9) {
            return config_expected(key, "positive numbers", list->items[i]);
        }
    }
    *out = factors;
    return STATUS_OK;
}

static status read_rope(const struct rope_source *source, struct arena *arena,
                        const struct model_config *config, struct rope_config *out)
{
    const struct json *from = source->parameters;
    TRY(read_kind(source, out));
    TRY(config_read_positive(from, "rope_theta", 1e15, source->theta, &out->theta));
    enum rope_kind kind = out->kind;
    if (kind == ROPE_DEFAULT) {
        return STATUS_OK;
    }
    if (kind == ROPE_LLAMA3 || kind == ROPE_YARN || kind == ROPE_LONGROPE) {
        TRY(read_original(source, config, out));
    }
    double factor = NAN;
    if (kind == ROPE_YARN || kind == ROPE_LONGROPE) {
        factor = (double)config->max_positions / out->original_max_positions;
    }
    TRY(config_read_positive(from, "factor", 1e6, factor, &out->factor));
    if (kind == ROPE_LLAMA3) {
        TRY(config_read_positive(from, "low_freq_factor", 1e6, NAN, &out->low_frequency_factor));
        TRY(config_read_positive(from, "high_freq_factor", 1e6, NAN, &out->high_frequency_factor));
        if (out->high_frequency_factor <= out->low_frequency_factor) {
            return status_fail(STATUS_INVALID,
                               "high_freq_factor: %g is not greater than low_freq_factor %g",
                               out->high_frequency_factor, out->low_frequency_factor);
        }
    }
    if (kind == ROPE_YARN) {
        TRY(config_read_positive(from, "beta_fast", 1e6, 32, &out->beta_fast));
        TRY(config_read_positive(from, "beta_slow", 1e6, 1, &out->beta_slow));
        TRY(config_read_positive(from, "mscale", 1e6, 0, &out->mscale));
        TRY(config_read_positive(from, "mscale_all_dim", 1e6, 0, &out->mscale_all_dim));
        TRY(config_read_bool(from, "truncate", true, &out->truncate));
    }
    if (kind == ROPE_YARN || kind == ROPE_LONGROPE) {
        TRY(config_read_positive(from, "attention_factor", 1e6, 0, &out->attention_factor));
    }
    if (kind == ROPE_LONGROPE) {
        out->factor_count = config_rotary_dimensions(config) / 2;
        TRY(read_factors(from, "short_factor", out->factor_count, arena, &out->short_factor));
        TRY(read_factors(from, "long_factor", out->factor_count, arena, &out->long_factor));
    }
    return STATUS_OK;
}

static const struct json *object_member(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);
    return value != NULL && value->type == JSON_OBJECT ? value : NULL;
}

/* A part of the head, or how many of its values (rotary_dim). */
static status read_fraction(const struct json *config, const struct json *parameters,
                            const struct family *family, int head_dim, double *out)
{
    static const char count_key[] = "rotary_dim";
    if (!config_has(parameters, "partial_rotary_factor") &&
        !config_has(config, "partial_rotary_factor") && config_has(config, count_key)) {
        int count;
        TRY(config_read_integer(config, count_key, 1, head_dim, 0, &count));
        *out = (count + 0.25) / head_dim; /* so that its product with head_dim is cut to count */
        return STATUS_OK;
    }
    const struct json *from = config_has(parameters, "partial_rotary_factor") ? parameters : config;
    const double fallback = family->defaults.rotary_fraction;
    return config_read_positive(from, "partial_rotary_factor", 1, fallback > 0 ? fallback : 1, out);
}

status config_read_rope(const struct json *object, const struct family *family, struct arena *arena,
                        struct model_config *out)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    const struct json *parameters = NULL;
    const char *used_key = keys[1];
    for (size_t i = 0; i < COUNT_OF(keys) && parameters == NULL; i++) {
        if (config_has(object, keys[i])) {
            parameters = json_get(object, keys[i]);
            used_key = keys[i];
            if (parameters->type != JSON_OBJECT) {
                return config_expected(keys[i], "an object", parameters);
            }
        }
    }
    const struct json *global = object_member(parameters, "full_attention");
    const struct json *local = object_member(parameters, "sliding_attention");
    bool is_nested = global != NULL || local != NULL;
    struct rope_source source = {
        .config = object, .parameters = is_nested ? global : parameters, .family = family};
    const char *theta_key = family->theta_key != NULL ? family->theta_key : "rope_theta";
    TRY(config_read_positive(object, theta_key, 1e15, family->defaults.theta, &source.theta));
    TRY(read_fraction(object, source.parameters, family, out->head_dim, &out->rotary_fraction));
    if (config_rotary_dimensions(out) < 2 || config_rotary_dimensions(out) % 2 != 0) {
        return status_fail(STATUS_INVALID,
                           "head_dim: %d of %d values are rotated; expected an "
                           "even number from 2",
                           config_rotary_dimensions(out), out->head_dim);
    }
    TRY(status_context(read_rope(&source, arena, out, &out->rope), "%s", used_key));
    if (!is_nested && family->scaled_in_full) {
        out->rope_local = (struct rope_config){.kind = ROPE_DEFAULT, .theta = out->rope.theta};
    } else if (!is_nested && !family->local_rope) {
        out->rope_local = out->rope;
    } else {
        double fraction;
        TRY(read_fraction(object, local, family, out->head_dim, &fraction));
        if (fraction != out->rotary_fraction) {
            return status_fail(STATUS_UNSUPPORTED,
                               "%s: layer types with different "
                               "partial_rotary_factor are not supported",
                               used_key);
        }
        source.parameters = local;
        if (family->local_rope) {
            const char *key =
                family->local_theta_key != NULL ? family->local_theta_key : "rope_local_base_freq";
            TRY(config_read_positive(object, key, 1e15, family->defaults.local_theta,
                                     &source.theta));
        }
        TRY(status_context(read_rope(&source, arena, out, &out->rope_local), "%s", used_key));
    }
    if (family->scaled_queries && config_has(source.parameters, "llama_4_scaling_beta")) {
        double beta;
        TRY(config_read_positive(source.parameters, "llama_4_scaling_beta", 1e3, 0, &beta));
        out->query_scale_beta = (float)beta;
        TRY(read_original(&source, out, &out->rope));
        out->query_scale_length = out->rope.original_max_positions;
    }
    if (out->rope.kind == ROPE_YARN) {
        /* Files in the older dialect keep the length before yarn stretched it. */
        double stretched = out->rope.original_max_positions * out->rope.factor;
        if (stretched > out->max_positions && stretched <= CONFIG_MAX_POSITIONS) {
            out->max_positions = (int)stretched;
        }
        if (out->latent_dim > 0 && out->rope.mscale_all_dim > 0) { /* DeepSeek's: on q·k, squared */
            const double scale = rope_yarn_scale(out->rope.factor, out->rope.mscale_all_dim);
            out->attention_scale *= (float)(scale * scale);
        }
    }
    return STATUS_OK;
}
