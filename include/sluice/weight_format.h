/* SPDX-License-Identifier: Apache-2.0 */
/* The formats that weights have, in files and in memory: one table of facts that the readers of
 * files, the loader, the planner, the backends and `sluice help formats` go by. A new format is a
 * row of it: docs/adding.md. src/weights/. */
#ifndef SLUICE_WEIGHT_FORMAT_H
#define SLUICE_WEIGHT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/dtype.h"

enum weight_format {
    WEIGHT_FLOAT32,
    WEIGHT_BFLOAT16,
    WEIGHT_FLOAT16,
    WEIGHT_FP8,  /* E4M3 */
    WEIGHT_INT8, /* whole numbers, of channels or groups */
    WEIGHT_Q4_0, /* GGUF's blocks: src/weights/gguf_quants.c */
    WEIGHT_Q4_1,
    WEIGHT_Q5_0,
    WEIGHT_Q5_1,
    WEIGHT_Q8_0,
    WEIGHT_Q2_K,
    WEIGHT_Q3_K,
    WEIGHT_Q4_K,
    WEIGHT_Q5_K,
    WEIGHT_Q6_K,
    WEIGHT_IQ4_NL,
    WEIGHT_IQ4_XS,
    WEIGHT_MXFP4,           /* blocks of GGUF: FP4 with a power of two */
    WEIGHT_PACKED_INTEGERS, /* of 2, 3, 4 or 8 bits in words: GPTQ, AWQ, compressed-tensors */
    WEIGHT_PACKED_FP4,      /* E2M1, two in a byte: MXFP4, NVFP4 */
    WEIGHT_PACKED_CODES,    /* of 4 bits, of a map that lies beside them: NF4 */
    WEIGHT_NONE,            /* of a tensor that is no weights: integers and the like */
};

/* Where the scales are that the numbers of a format are multiplied by. */
enum weight_scales {
    SCALES_NONE,   /* the numbers are the values */
    SCALES_INSIDE, /* in each block, between its numbers */
    SCALES_BESIDE, /* in a tensor of their own: one for all, for each row, or for each rectangle */
    SCALES_BESIDE_OR_ONE, /* likewise; where there is none the numbers are the values */
};

/* A format's numbers lie in blocks of `elements` consecutive values of one row. */
struct weight_format_facts {
    const char *name;        /* of the type in a file: "BF16" */
    const char *safetensors; /* what a safetensors header calls it; NULL: it is not in one */
    const char *asked_as;    /* as model.dtype has it; NULL: no job can ask for it */
    int elements, bytes;     /* of a block */
    enum weight_scales scales;
    int group;      /* values that share a scale of their block; 0 where scales are not inside */
    bool symmetric; /* the scale says all; false: zero points or minima as well */
    bool is_packed; /* numbers lie in words as the checkpoint's method says, and `elements` and
                       `bytes` are but what they take: src/model/read/packed.h */
    enum dtype numbers; /* what the numbers are where they are not expanded; of blocks float32 */
    /* Who multiplies with it as it is: the CPU in a job; GPUs from this compute capability, times
     * ten (0: none). All others get its values expanded, at load. */
    bool on_cpu;
    int gpu_from;
    /* Whole blocks to float32, without scales that lie beside; NULL: plain numbers, which the
     * backends convert themselves. */
    void (*expand)(const uint8_t *blocks, size_t block_count, float *out);
};
const struct weight_format_facts *weight_format_facts(enum weight_format format);

/* The values of FP4 (OCP E2M1): sign, two bits of exponent with bias 1, one of fraction. */
extern const float weight_fp4_values[16];

/* The format of plain numbers of a type. */
enum weight_format weight_format_of(enum dtype dtype);
/* The type that values of a format have once they are expanded: float32, or the plain numbers'. */
enum dtype weight_format_expanded(enum weight_format format);
/* "float32": as a job asks for it, or else the type's name in a file. */
const char *weight_format_name(enum weight_format format);
/* Bits that a weight takes, with the scales inside of its block. */
double weight_format_bits(enum weight_format format);
/* Whether it has fewer bits than the 16 that activations have at least, so that choosing it
 * rounds. */
bool weight_format_is_quantized(enum weight_format format);

#endif
