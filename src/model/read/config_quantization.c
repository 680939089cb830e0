/* SPDX-License-Identifier: Apache-2.0 */
/* Which quantised checkpoints can be read, by what their configuration says. */
#include <string.h>

#include "model/read/config.h"

static const struct quantization readable[] = {
    {"fp8", NULL, NULL, WEIGHT_FP8, "transformers, AutoFP8, models published in FP8 (Qwen 3)"},
    {"fbgemm_fp8", NULL, NULL, WEIGHT_FP8, "FBGEMM through transformers"},
    {"compressed-tensors", "format", "float-quantized", WEIGHT_FP8, "LLM Compressor"},
    /* what older files say of FP8 and of integers; the tensors tell which */
    {"compressed-tensors", "format", "naive-quantized", WEIGHT_FP8,
     "older LLM Compressor, where it is FP8"},
    {"compressed-tensors", "format", "int-quantized", WEIGHT_INT8,
     "LLM Compressor: W8A8, INT8 weights"},
    {"modelopt", "quant_algo", "FP8", WEIGHT_FP8, "TensorRT Model Optimizer"},
};

const struct quantization *config_quantization_at(size_t index)
{
    return index < COUNT_OF(readable) ? &readable[index] : NULL;
}

/* Where a method that is in no row of `readable` may say more of itself. */
static const char *const format_keys[] = {"format", "quant_algo"};

static status refuse(const char *key, const char *method, const char *format)
{
    return status_fail(STATUS_UNSUPPORTED,
                       "%s: weights quantised by \"%.40s%s%.40s\" are not supported; use the "
                       "model's checkpoint in 16 bits, in FP8 (by fp8, compressed-tensors or "
                       "modelopt) or as GGUF",
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

status config_read_quantization(const char *key, const struct json *object,
                                enum weight_format *published)
{
    const char *method = json_string(json_get(object, "quant_method"));
    const struct json *algorithm = json_get(object, "quant_algo");
    if (method == NULL) {
        method = algorithm != NULL ? "modelopt" : "";
    }
    if (algorithm != NULL && algorithm->type == JSON_NULL) {
        return STATUS_OK; /* nothing but, it may be, the cache */
    }
    for (size_t i = 0; i < COUNT_OF(readable); i++) {
        const char *format =
            readable[i].key == NULL ? NULL : json_string(json_get(object, readable[i].key));
        if (strcmp(method, readable[i].method) == 0 &&
            (readable[i].key == NULL ||
             (format != NULL && strcmp(format, readable[i].format) == 0))) {
            *published = readable[i].weights;
            TRY(check_blocks(key, object));
            return check_sparsity(key, method, object);
        }
    }
    const char *format = NULL;
    for (size_t i = 0; format == NULL && i < COUNT_OF(format_keys); i++) {
        format = json_string(json_get(object, format_keys[i]));
    }
    return refuse(key, method, format != NULL ? format : "");
}
