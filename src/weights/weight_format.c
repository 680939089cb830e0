/* SPDX-License-Identifier: Apache-2.0 */
/* The table of weight formats. */
#include "sluice/weight_format.h"

#include <string.h>

#include "weights/gguf_quants.h"

/* OCP FP8 E4M3 (the "FN" form): bias 7, no infinities, NaN where all of exponent and fraction is
 * set. */
static void expand_fp8(const uint8_t *blocks, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t sign = (uint32_t)(blocks[i] & 0x80u) << 24;
        uint32_t exponent = (blocks[i] >> 3) & 15u, fraction = blocks[i] & 7u;
        uint32_t bits;
        if (exponent == 15 && fraction == 7) {
            bits = sign | 0x7fc00000u;
        } else if (exponent != 0) {
            bits = sign | (exponent + 120) << 23 | fraction << 20;
        } else {
            float value = (float)fraction * 0x1p-9f;
            memcpy(&bits, &value, sizeof bits);
            bits |= sign;
        }
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void expand_int8(const uint8_t *blocks, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(int8_t)blocks[i];
    }
}

const float weight_fp4_values[16] = {0,     0.5f,  1,     1.5f,  2,     3,     4,     6,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/* Packed weights are expanded where they are unpacked: src/model/read/packed_read.c. */
static void expand_nothing(const uint8_t *blocks, size_t count, float *out)
{
    (void)blocks;
    memset(out, 0, count * 2 * sizeof *out);
}

/* A format that lies in words or bytes beside its scales, in no rows of blocks: about so many bits
 * a weight. */
#define PACKED(type, about_bits, is_symmetric)                                                     \
    {                                                                                              \
        .name = type, .elements = 2, .bytes = about_bits / 4, .scales = SCALES_BESIDE,             \
        .symmetric = is_symmetric, .numbers = DTYPE_FLOAT32, .is_packed = true,                    \
        .expand = expand_nothing                                                                   \
    }

/* Every GPU that the program runs on. */
enum { ANY_GPU = 1 };

/* A format of GGUF: blocks with their scales inside, which nobody multiplies with as they are. */
#define GGUF_BLOCKS(type, block_elements, block_bytes, in_group, is_symmetric, expansion)          \
    {                                                                                              \
        .name = type, .elements = block_elements, .bytes = block_bytes, .scales = SCALES_INSIDE,   \
        .group = in_group, .symmetric = is_symmetric, .numbers = DTYPE_FLOAT32,                    \
        .expand = expansion                                                                        \
    }

static const struct weight_format_facts table[] = {
    [WEIGHT_FLOAT32] = {.name = "F32",
                        .safetensors = "F32",
                        .asked_as = "float32",
                        .elements = 1,
                        .bytes = 4,
                        .symmetric = true,
                        .numbers = DTYPE_FLOAT32,
                        .on_cpu = true,
                        .gpu_from = ANY_GPU},
    [WEIGHT_BFLOAT16] = {.name = "BF16",
                         .safetensors = "BF16",
                         .asked_as = "bfloat16",
                         .elements = 1,
                         .bytes = 2,
                         .symmetric = true,
                         .numbers = DTYPE_BFLOAT16,
                         .on_cpu = true,
                         .gpu_from = ANY_GPU},
    [WEIGHT_FLOAT16] = {.name = "F16",
                        .safetensors = "F16",
                        .asked_as = "float16",
                        .elements = 1,
                        .bytes = 2,
                        .symmetric = true,
                        .numbers = DTYPE_FLOAT16,
                        .gpu_from = ANY_GPU},
    [WEIGHT_FP8] = {.name = "F8_E4M3",
                    .safetensors = "F8_E4M3",
                    .asked_as = "fp8",
                    .elements = 1,
                    .bytes = 1,
                    .scales = SCALES_BESIDE_OR_ONE,
                    .symmetric = true,
                    .numbers = DTYPE_FLOAT8_E4M3,
                    .gpu_from = 89,
                    .expand = expand_fp8},
    [WEIGHT_INT8] = {.name = "I8",
                     .safetensors = "I8",
                     .elements = 1,
                     .bytes = 1,
                     .scales = SCALES_BESIDE,
                     .expand = expand_int8},
    [WEIGHT_Q4_0] = GGUF_BLOCKS("Q4_0", 32, 18, 32, true, gguf_expand_q4_0),
    [WEIGHT_Q4_1] = GGUF_BLOCKS("Q4_1", 32, 20, 32, false, gguf_expand_q4_1),
    [WEIGHT_Q5_0] = GGUF_BLOCKS("Q5_0", 32, 22, 32, true, gguf_expand_q5_0),
    [WEIGHT_Q5_1] = GGUF_BLOCKS("Q5_1", 32, 24, 32, false, gguf_expand_q5_1),
    [WEIGHT_Q8_0] = GGUF_BLOCKS("Q8_0", 32, 34, 32, true, gguf_expand_q8_0),
    [WEIGHT_Q2_K] = GGUF_BLOCKS("Q2_K", 256, 84, 16, false, gguf_expand_q2_k),
    [WEIGHT_Q3_K] = GGUF_BLOCKS("Q3_K", 256, 110, 16, true, gguf_expand_q3_k),
    [WEIGHT_Q4_K] = GGUF_BLOCKS("Q4_K", 256, 144, 32, false, gguf_expand_q4_k),
    [WEIGHT_Q5_K] = GGUF_BLOCKS("Q5_K", 256, 176, 32, false, gguf_expand_q5_k),
    [WEIGHT_Q6_K] = GGUF_BLOCKS("Q6_K", 256, 210, 16, true, gguf_expand_q6_k),
    [WEIGHT_IQ4_NL] = GGUF_BLOCKS("IQ4_NL", 32, 18, 32, true, gguf_expand_iq4_nl),
    [WEIGHT_IQ4_XS] = GGUF_BLOCKS("IQ4_XS", 256, 136, 32, true, gguf_expand_iq4_xs),
    [WEIGHT_MXFP4] = GGUF_BLOCKS("MXFP4", 32, 17, 32, true, gguf_expand_mxfp4),
    [WEIGHT_PACKED_INTEGERS] = PACKED("I32, packed", 4, false),
    [WEIGHT_PACKED_FP4] = PACKED("U8, FP4 (E2M1)", 4, true),
    [WEIGHT_PACKED_CODES] = PACKED("U8, codes of a map (NF4)", 4, true),
    [WEIGHT_NONE] = {.name = "other", .elements = 1, .bytes = 1, .numbers = DTYPE_FLOAT32},
};

const struct weight_format_facts *weight_format_facts(enum weight_format format)
{
    return &table[format];
}

enum weight_format weight_format_of(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return WEIGHT_FLOAT32;
    case DTYPE_BFLOAT16:
        return WEIGHT_BFLOAT16;
    case DTYPE_FLOAT16:
        return WEIGHT_FLOAT16;
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return WEIGHT_FP8;
}

enum dtype weight_format_expanded(enum weight_format format)
{
    return table[format].expand == NULL ? table[format].numbers : DTYPE_FLOAT32;
}

const char *weight_format_name(enum weight_format format)
{
    return table[format].asked_as != NULL ? table[format].asked_as : table[format].name;
}

double weight_format_bits(enum weight_format format)
{
    return 8.0 * table[format].bytes / table[format].elements;
}

bool weight_format_is_quantized(enum weight_format format)
{
    return weight_format_bits(format) < 16;
}
