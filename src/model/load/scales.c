/* SPDX-License-Identifier: Apache-2.0 */
/* Static scales: what they are for a product, and of a layer's cache also their names. */
#include "model/load/scales.h"

#include <math.h>

#include "model/load/names.h"

/* Where a layer's scales of the cache are: compressed-tensors, ModelOpt (of fused layers too),
 * Quark, older exports with one for both. */
static const char *const key_scale_names[] = {
    "model.layers.{layer}.self_attn.k_scale",
    "model.layers.{layer}.self_attn.attn.k_scale",
    "model.layers.{layer}.self_attn.k_proj.k_scale",
    "model.layers.{layer}.self_attn.qkv_proj.k_scale",
    "model.layers.{layer}.self_attn.k_proj.output_scale",
    "model.layers.{layer}.self_attn.kv_scale",
};
static const char *const value_scale_names[] = {
    "model.layers.{layer}.self_attn.v_scale",
    "model.layers.{layer}.self_attn.attn.v_scale",
    "model.layers.{layer}.self_attn.v_proj.v_scale",
    "model.layers.{layer}.self_attn.qkv_proj.v_scale",
    "model.layers.{layer}.self_attn.v_proj.output_scale",
    "model.layers.{layer}.self_attn.kv_scale",
};

/* The largest value of a tensor of scales: it holds all values that any of them does. */
static status read_largest(const struct tensor_table *table, const struct tensor *tensor,
                           float *out)
{
    enum { MOST = 1024 };
    uint64_t count;
    if (!tensor_count_elements(tensor->shape, tensor->rank, &count) || count < 1 || count > MOST) {
        return status_fail(STATUS_INVALID, "%s: tensor %s: its shape is not one of static scales",
                           tensor_path(table, tensor), tensor->name);
    }
    float values[MOST];
    struct tensor_scratch scratch = {0};
    const status s = tensor_read_values(table, tensor, 0, (int)count, &scratch, values);
    tensor_scratch_destroy(&scratch);
    TRY(s);
    float most = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!(values[i] > 0) || !isfinite(values[i])) {
            return status_fail(STATUS_INVALID, "%s: tensor %s: %g is no scale",
                               tensor_path(table, tensor), tensor->name, (double)values[i]);
        }
        most = values[i] > most ? values[i] : most;
    }
    *out = most;
    return STATUS_OK;
}

/* ---- Inputs ---- */

/* The largest over the parts that are of the format. */
static status read_input_scale(const struct model *model, const struct weight_item *item,
                               enum weight_format format, int index, float *out)
{
    *out = 0;
    for (int i = 0; i < item->part_count; i++) {
        struct tensor_source source;
        TRY(weight_source_find(model, &item->parts[i], false, item->layer, index, item->count,
                               &source));
        float here = 0;
        if (source.input_scale != NULL && source.values->format == format) {
            TRY(read_largest(&model->tensors, source.input_scale, &here));
        }
        *out = here > *out ? here : *out;
    }
    return STATUS_OK;
}

status load_input_scales(const struct model *model, const struct weight_item *item,
                         enum weight_format format, float *out)
{
    bool all = true;
    for (int index = 0; index < item->count; index++) {
        TRY(read_input_scale(model, item, format, index, &out[index]));
        all = all && out[index] > 0;
    }
    for (int index = 0; !all && index < item->count; index++) {
        out[index] = 0;
    }
    return STATUS_OK;
}

/* ---- The cache ---- */

static status read_cache_scale(const struct model *model, const char *const *names, size_t count,
                               int layer, float *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct tensor *tensor = tensor_find_in_layer(model, names[i], layer);
        if (tensor != NULL) {
            return read_largest(&model->tensors, tensor, out);
        }
    }
    return STATUS_OK;
}

status load_cache_scales(const struct model *model, int layer, float *key, float *value)
{
    TRY(read_cache_scale(model, key_scale_names, COUNT_OF(key_scale_names), layer, key));
    return read_cache_scale(model, value_scale_names, COUNT_OF(value_scale_names), layer, value);
}
