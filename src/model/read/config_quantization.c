/* SPDX-License-Identifier: Apache-2.0 */
/* Which quantised checkpoints can be read, by what their configuration says. */
#include <string.h>
#include <strings.h>

#include "model/read/config.h"

static const struct quantization readable[] = {
    {.method = "fp8",
     .weights = WEIGHT_FP8,
     .writers = "transformers, AutoFP8, models published in FP8 (Qwen 3)"},
    {.method = "fbgemm_fp8", .weights = WEIGHT_FP8, .writers = "FBGEMM through transformers"},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "float-quantized",
     .weights = WEIGHT_FP8,
     .writers = "LLM Compressor",
     .packing = PACKING_COMPRESSED_TENSORS},
    /* what older files say of FP8 and of integers; the tensors tell which */
    {.method = "compressed-tensors",
     .key = "format",
     .format = "naive-quantized",
     .weights = WEIGHT_FP8,
     .writers = "older LLM Compressor, where it is FP8",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "int-quantized",
     .weights = WEIGHT_INT8,
     .writers = "LLM Compressor: W8A8, INT8 weights",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "pack-quantized",
     .weights = WEIGHT_PACKED_INTEGERS,
     .writers = "LLM Compressor: W4A16, W8A16, of groups or channels",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "nvfp4-pack-quantized",
     .weights = WEIGHT_PACKED_FP4,
     .writers = "LLM Compressor: NVFP4",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "mxfp4-pack-quantized",
     .weights = WEIGHT_PACKED_FP4,
     .writers = "LLM Compressor: MXFP4",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "compressed-tensors",
     .key = "format",
     .format = "mixed-precision",
     .weights = WEIGHT_FP8,
     .writers = "LLM Compressor: several of these, by target",
     .packing = PACKING_COMPRESSED_TENSORS},
    {.method = "gptq",
     .key = "checkpoint_format",
     .format = "gptq",
     .weights = WEIGHT_PACKED_INTEGERS,
     .writers = "AutoGPTQ, GPTQModel: 2, 3, 4 or 8 bits",
     .packing = PACKING_GPTQ,
     .is_default = true},
    {.method = "gptq",
     .key = "checkpoint_format",
     .format = "gptq_v2",
     .weights = WEIGHT_PACKED_INTEGERS,
     .writers = "GPTQModel",
     .packing = PACKING_GPTQ_V2},
    {.method = "awq",
     .key = "version",
     .format = "gemm",
     .weights = WEIGHT_PACKED_INTEGERS,
     .writers = "AutoAWQ",
     .packing = PACKING_AWQ,
     .is_default = true},
    {.method = "bitsandbytes",
     .weights = WEIGHT_PACKED_CODES,
     .writers = "bitsandbytes: NF4 and FP4, double quantised too, and INT8",
     .packing = PACKING_BITSANDBYTES},
    {.method = "mxfp4",
     .weights = WEIGHT_PACKED_FP4,
     .writers = "gpt-oss",
     .packing = PACKING_MXFP4},
    {.method = "modelopt",
     .key = "quant_algo",
     .format = "FP8",
     .weights = WEIGHT_FP8,
     .writers = "TensorRT Model Optimizer"},
    {.method = "modelopt",
     .key = "quant_algo",
     .format = "NVFP4",
     .weights = WEIGHT_PACKED_FP4,
     .writers = "TensorRT Model Optimizer",
     .packing = PACKING_MODELOPT_FP4},
};

const struct quantization *config_quantization_at(size_t index)
{
    return index < COUNT_OF(readable) ? &readable[index] : NULL;
}

/* Where a method that is in no row of `readable` may say more of itself. */
static const char *const format_keys[] = {"format", "quant_algo", "checkpoint_format", "version"};

static status refuse(const char *key, const char *method, const char *format)
{
    return status_fail(STATUS_UNSUPPORTED,
                       "%s: weights quantised by \"%.40s%s%.40s\" are not supported; use the "
                       "model's checkpoint in 16 bits, as GGUF, or quantised in a way that "
                       "`sluice help formats` names",
                       key, method, *format == '\0' ? "" : " ", format);
}

/* Weights with zeros left out are packed otherwise. */
static status check_sparsity(const char *key, const char *method, const struct json *object)
{
    const char *format = json_string(json_get(json_get(object, "sparsity_config"), "format"));
    return format == NULL || strcmp(format, "dense") == 0 ? STATUS_OK : refuse(key, method, format);
}

/* The tensors of scales tell how large blocks are, as far as a side is a power of two. */
static status check_blocks(const char *key, const struct json *object)
{
    const struct json *sides = json_get(object, "weight_block_size");
    if (sides == NULL || sides->type != JSON_ARRAY) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < sides->length; i++) {
        int64_t side;
        if (!json_int64(sides->items[i], &side) || side < 1 || (side & (side - 1)) != 0) {
            return status_fail(STATUS_UNSUPPORTED,
                               "%s: weight_block_size: only powers of two are supported", key);
        }
    }
    return STATUS_OK;
}

/* What a row's key says; GPTQModel has another name for its own. NULL where it says nothing. */
static const char *said(const struct json *object, const struct quantization *row)
{
    if (row->key == NULL) {
        return NULL;
    }
    const char *format = json_string(json_get(object, row->key));
    return format == NULL && strcmp(row->method, "gptq") == 0
               ? json_string(json_get(object, "format"))
               : format;
}

static bool is_row(const struct json *object, const char *method, const struct quantization *row)
{
    const char *format = said(object, row);
    return strcmp(method, row->method) == 0 &&
           (row->key == NULL || (format == NULL ? row->is_default && !config_has(object, row->key)
                                                : strcasecmp(format, row->format) == 0));
}

static const struct quantization *find_row(const struct json *object, const char *method)
{
    for (size_t i = 0; i < COUNT_OF(readable); i++) {
        if (is_row(object, method, &readable[i])) {
            return &readable[i];
        }
    }
    return NULL;
}

/* compressed-tensors: each target's weights may have a format of their own, and be rotated. */
static status check_targets(const char *key, const char *method, const struct json *object)
{
    const struct json *groups = json_get(object, "config_groups");
    for (size_t i = 0; groups != NULL && groups->type == JSON_OBJECT && i < groups->length; i++) {
        const struct json *group = groups->members[i].value;
        if (config_has(group, "format") && find_row(group, method) == NULL) {
            const char *format = json_string(json_get(group, "format"));
            return refuse(key, method, format == NULL ? "" : format);
        }
    }
    const struct json *rotations = json_get(json_get(object, "transform_config"), "config_groups");
    return rotations != NULL && rotations->length > 0 ? refuse(key, method, "with transform_config")
                                                      : STATUS_OK;
}

/* Layers with a size of group of their own show it by their shapes. */
static status read_group(const struct json *object, struct weight_packing *packing)
{
    static const char key[] = "group_size";
    const bool varies = config_has(object, "dynamic");
    int64_t group = 0;
    if (packing->method != PACKING_GPTQ && packing->method != PACKING_GPTQ_V2 &&
        packing->method != PACKING_AWQ) {
        return STATUS_OK;
    }
    if (config_has(object, key) && (!json_int64(json_get(object, key), &group) || group == 0 ||
                                    group < GROUP_OF_ALL || group > CONFIG_MAX_WIDTH)) {
        return config_expected(key, "columns of a group, or -1", json_get(object, key));
    }
    packing->group = varies ? 0 : (int)group;
    return STATUS_OK;
}

status config_read_quantization(const char *key, const struct json *object,
                                struct model_config *out)
{
    const char *method = json_string(json_get(object, "quant_method"));
    const struct json *algorithm = json_get(object, "quant_algo");
    if (method == NULL) {
        method = algorithm != NULL ? "modelopt" : "";
    }
    if (algorithm != NULL && algorithm->type == JSON_NULL) {
        return STATUS_OK; /* nothing but, it may be, the cache */
    }
    const struct quantization *row = find_row(object, method);
    if (row != NULL) {
        out->published = row->weights;
        out->packing.method = row->packing;
        TRY(read_group(object, &out->packing));
        TRY(check_blocks(key, object));
        TRY(check_targets(key, method, object));
        return check_sparsity(key, method, object);
    }
    const char *format = NULL;
    for (size_t i = 0; format == NULL && i < COUNT_OF(format_keys); i++) {
        format = json_string(json_get(object, format_keys[i]));
    }
    return refuse(key, method, format != NULL ? format : "");
}
