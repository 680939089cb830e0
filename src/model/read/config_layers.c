/* SPDX-License-Identifier: Apache-2.0 */
/* Which layer of a model is of which kind: by the family's rule, or by the list that newer
 * configurations hold. */
#include <stdio.h>
#include <string.h>

#include "model/read/config.h"

/* What config.json's layer_types calls a kind. */
static const struct layer_type {
    const char *name;
    struct layer_kind kind;
} layer_types[] = {
    {"full_attention", {MIXER_ATTENTION, ATTENTION_FULL}},
    {"sliding_attention", {MIXER_ATTENTION, ATTENTION_WINDOWED}},
    {"conv", {MIXER_SHORT_CONVOLUTION, 0}},
    {"linear_attention", {MIXER_GATED_DELTA, 0}},
    {"linear_attention", {MIXER_STATE_SPACE, 0}},
    {"mamba", {MIXER_STATE_SPACE, 0}},
    {"attention", {MIXER_ATTENTION, ATTENTION_FULL}},
};

/* What a layer of one block is, as configurations of either dialect call it. */
static const struct block_type {
    char letter;
    const char *names[2];
    enum mixer_kind mixer;
    bool has_mlp, is_dense;
} block_types[] = {
    {'M', {"mamba", "linear_attention"}, MIXER_STATE_SPACE, false, false},
    {'*', {"attention", "full_attention"}, MIXER_ATTENTION, false, false},
    {'-', {"mlp", "mlp"}, MIXER_NONE, true, true},
    {'E', {"moe", "moe"}, MIXER_NONE, true, false},
};

static bool is_same_kind(struct layer_kind a, struct layer_kind b)
{
    return a.mixer == b.mixer && a.attention == b.attention;
}

/* Full attention in every layer, to begin with. */
static status create_kinds(const struct model_config *config, struct arena *arena,
                           struct layer_kind **out)
{
    *out = arena_allocate_array(arena, (size_t)config->layers, sizeof **out);
    return *out != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory");
}

/* Whether the rule, which a window may switch off, makes `layer` one of the other kind. */
static bool is_other(const struct model_config *config, const struct family *family,
                     enum layer_rule rule, int layer, int first, int pattern)
{
    bool is_on = family->other_layers.attention != ATTENTION_WINDOWED || config->window > 0;
    switch (rule) {
    case LAYERS_ALIKE:
    case LAYERS_BLOCKS:
    case LAYERS_LISTED:
        return false;
    case LAYERS_ALL:
    case LAYERS_NAMED:
    case LAYERS_BY_SWITCH:
        return is_on;
    case LAYERS_UPPER:
        return is_on && layer >= first;
    case LAYERS_PATTERN:
        return (layer + 1) % pattern != 0;
    case LAYERS_LOWER:
        return is_on && layer < first && layer % 2 == 0;
    case LAYERS_PATTERN_FROM_FIRST:
        return layer % pattern != 0;
    }
    return false;
}

status config_mark_layers(struct model_config *config, const struct family *family,
                          struct arena *arena, enum layer_rule rule, int first, int pattern)
{
    struct layer_kind *kinds;
    TRY(create_kinds(config, arena, &kinds));
    for (int i = 0; i < config->layers; i++) {
        if (is_other(config, family, rule, i, first, pattern)) {
            kinds[i] = family->other_layers;
        }
    }
    config->layer_kinds = kinds;
    return STATUS_OK;
}

/* The kind that a family's layer may be by this name; NULL: none. */
static const struct layer_type *find_layer_type(const struct family *family,
                                                const struct json *name)
{
    const struct layer_kind full = {MIXER_ATTENTION, ATTENTION_FULL};
    for (size_t i = 0; i < COUNT_OF(layer_types); i++) {
        const struct layer_type *type = &layer_types[i];
        const bool is_possible =
            is_same_kind(type->kind, full) || is_same_kind(type->kind, family->other_layers);
        if (is_possible && json_is_string(name, type->name)) {
            return type;
        }
    }
    return NULL;
}

static const char *name_of_kind(struct layer_kind kind)
{
    size_t i = 0;
    while (i + 1 < COUNT_OF(layer_types) && !is_same_kind(layer_types[i].kind, kind)) {
        i++;
    }
    return layer_types[i].name;
}

static status read_layer_types(const struct json *list, const struct family *family,
                               struct arena *arena, struct model_config *out)
{
    struct layer_kind *kinds;
    TRY(create_kinds(out, arena, &kinds));
    if (list->type != JSON_ARRAY || list->length != (size_t)out->layers) {
        return status_fail(STATUS_INVALID, "layer_types: expected an array of %d names",
                           out->layers);
    }
    for (int i = 0; i < out->layers; i++) {
        const struct layer_type *type = find_layer_type(family, list->items[i]);
        if (type == NULL) {
            char expected[128];
            snprintf(expected, sizeof expected, "full_attention or %s",
                     name_of_kind(family->other_layers));
            return config_expected("layer_types", expected, list->items[i]);
        }
        kinds[i] = type->kind;
    }
    out->layer_kinds = kinds;
    return STATUS_OK;
}

/* full_attn_idxs has the layers of full attention; where it is absent all are. */
static status read_full_layers(const struct json *object, const struct family *family,
                               struct arena *arena, struct model_config *out)
{
    static const char key[] = "full_attn_idxs";
    const struct json *list = json_get(object, key);
    if (!config_has(object, key)) {
        return STATUS_OK;
    }
    struct layer_kind *kinds;
    TRY(create_kinds(out, arena, &kinds));
    if (list->type != JSON_ARRAY) {
        return config_expected(key, "an array of layers", list);
    }
    for (int i = 0; i < out->layers; i++) {
        kinds[i] = family->other_layers;
    }
    for (size_t i = 0; i < list->length; i++) {
        int64_t layer;
        if (!json_int64(list->items[i], &layer) || layer < 0 || layer >= out->layers) {
            return config_expected(key, "layers of the model", list->items[i]);
        }
        kinds[layer] = (struct layer_kind){MIXER_ATTENTION, ATTENTION_FULL};
    }
    out->layer_kinds = kinds;
    return STATUS_OK;
}

/* ---- Layers without rope ---- */

/* no_rope_layers has a 0 for each layer without; where it is absent every no_rope_layer_interval-th
 * is one. */
static status read_rope_list(const struct json *object, const struct model_config *config,
                             uint8_t *lacks)
{
    static const char key[] = "no_rope_layers";
    int interval;
    TRY(config_read_integer(object, "no_rope_layer_interval", 1, CONFIG_MAX_LAYERS, 4, &interval));
    const struct json *list = config_has(object, key) ? json_get(object, key) : NULL;
    if (list != NULL && (list->type != JSON_ARRAY || list->length != (size_t)config->layers)) {
        return status_fail(STATUS_INVALID, "%s: expected an array of %d numbers", key,
                           config->layers);
    }
    for (int i = 0; i < config->layers; i++) {
        int64_t has = (i + 1) % interval != 0;
        if (list != NULL && (!json_int64(list->items[i], &has) || has < 0 || has > 1)) {
            return config_expected(key, "0 or 1 for each layer", list->items[i]);
        }
        lacks[i] = has == 0;
    }
    return STATUS_OK;
}

status config_read_layers_without_rope(const struct json *object, const struct family *family,
                                       struct arena *arena, struct model_config *out)
{
    const bool none = family->rope_by_type &&
                      !json_is_string(json_get(object, "position_embedding_type"), "rope");
    if (!family->full_without_rope && !family->rope_by_layer && !none) {
        return STATUS_OK;
    }
    uint8_t *lacks = arena_allocate(arena, (size_t)out->layers);
    if (lacks == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    for (int i = 0; (family->full_without_rope || none) && i < out->layers; i++) {
        lacks[i] = none || model_layer_kind(out, i).attention == ATTENTION_FULL;
    }
    if (family->rope_by_layer) {
        TRY(read_rope_list(object, out, lacks));
    }
    out->layer_lacks_rope = lacks;
    return STATUS_OK;
}

/* ---- Layers of one block ---- */

static const char names_key[] = "layers_block_type", letters_key[] = "hybrid_override_pattern";

/* How many layers are listed; 0: none are. */
static size_t count_blocks(const struct json *object)
{
    const struct json *list = json_get(object, names_key);
    const char *letters = json_string(json_get(object, letters_key));
    return letters != NULL                            ? strlen(letters)
           : list != NULL && list->type == JSON_ARRAY ? list->length
                                                      : 0;
}

int config_count_blocks(const struct json *object)
{
    const size_t count = count_blocks(object);
    return count <= CONFIG_MAX_LAYERS ? (int)count : 0;
}

static const struct block_type *find_block(const struct json *object, size_t layer)
{
    const struct json *list = json_get(object, names_key);
    const char *letters = json_string(json_get(object, letters_key));
    for (size_t i = 0; i < COUNT_OF(block_types); i++) {
        const struct block_type *type = &block_types[i];
        if (letters != NULL ? letters[layer] == type->letter
                            : json_is_string(list->items[layer], type->names[0]) ||
                                  json_is_string(list->items[layer], type->names[1])) {
            return type;
        }
    }
    return NULL;
}

static status read_blocks(const struct json *object, struct arena *arena, struct model_config *out)
{
    struct layer_kind *kinds;
    TRY(create_kinds(out, arena, &kinds));
    uint8_t *lacks = arena_allocate(arena, (size_t)out->layers);
    uint8_t *dense = arena_allocate(arena, (size_t)out->layers);
    if (lacks == NULL || dense == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    if (count_blocks(object) != (size_t)out->layers) {
        return status_fail(STATUS_INVALID, "%s: expected %d layers", letters_key, out->layers);
    }
    for (int i = 0; i < out->layers; i++) {
        const struct block_type *type = find_block(object, (size_t)i);
        if (type == NULL) {
            return status_fail(STATUS_INVALID,
                               "%s: layer %d is none of mamba (M), attention (*), mlp (-) and moe "
                               "(E)",
                               json_get(object, letters_key) != NULL ? letters_key : names_key, i);
        }
        kinds[i] = (struct layer_kind){type->mixer, ATTENTION_FULL};
        lacks[i] = !type->has_mlp;
        dense[i] = type->is_dense;
    }
    out->layer_kinds = kinds;
    out->layer_lacks_mlp = lacks;
    out->layer_is_dense = dense;
    return STATUS_OK;
}

/* ---- Kinds ---- */

status config_read_layers(const struct json *object, const struct family *family,
                          struct arena *arena, struct model_config *out)
{
    enum layer_rule rule = family->layer_rule;
    if (rule == LAYERS_BLOCKS) {
        return read_blocks(object, arena, out);
    }
    bool is_on = rule != LAYERS_ALIKE;
    const bool has_limit = rule == LAYERS_UPPER || rule == LAYERS_LOWER;
    if (rule == LAYERS_BY_SWITCH || has_limit) {
        TRY(config_read_bool(object, "use_sliding_window", false, &is_on));
    }
    bool is_null =
        json_get(object, "sliding_window") != NULL && !config_has(object, "sliding_window");
    if (is_on && !is_null &&
        (config_has(object, "sliding_window") || family->defaults.window > 0)) {
        TRY(config_read_integer(object, "sliding_window", 1, CONFIG_MAX_POSITIONS,
                                family->defaults.window, &out->window));
    }
    if (family->half_window) { /* on each side half, and the token itself */
        TRY(config_read_integer(object, "local_attention", 1, CONFIG_MAX_POSITIONS,
                                family->defaults.window, &out->window));
        out->window = out->window / 2 + 1;
    }
    bool may_list = has_limit || rule == LAYERS_PATTERN_FROM_FIRST || rule == LAYERS_PATTERN ||
                    rule == LAYERS_LISTED || rule == LAYERS_NAMED;
    if (may_list && config_has(object, "layer_types")) {
        return read_layer_types(json_get(object, "layer_types"), family, arena, out);
    }
    if (rule == LAYERS_LISTED) {
        return read_full_layers(object, family, arena, out);
    }
    int first = 0, pattern = family->defaults.window_pattern;
    if (has_limit) {
        TRY(config_read_integer(object, "max_window_layers", 0, CONFIG_MAX_POSITIONS,
                                family->defaults.first_window_layer, &first));
    }
    if (rule == LAYERS_PATTERN || rule == LAYERS_PATTERN_FROM_FIRST) {
        const char *key = family->pattern_key;
        TRY(config_read_integer(object, key != NULL ? key : "sliding_window_pattern", 1,
                                CONFIG_MAX_LAYERS, pattern, &pattern));
    }
    return config_mark_layers(out, family, arena, rule, first, pattern);
}
