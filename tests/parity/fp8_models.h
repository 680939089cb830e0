/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoints of tests/data/models_fp8. */
#ifndef SLUICE_FP8_MODELS_H
#define SLUICE_FP8_MODELS_H

#include <stdbool.h>

static const struct fp8_model {
    const char *name;
    int layers;
    bool has_cache_scales; /* and golden logits of an fp8 cache */
    bool has_experts;
} fp8_models[] = {
    {"models_fp8/llama_static", 2, true, false}, {"models_fp8/llama_channel", 2, true, false},
    {"models_fp8/phi3_channel", 1, true, false}, {"models_fp8/mistral_activation", 1, false, false},
    {"models_fp8/qwen3_block", 1, false, false}, {"models_fp8/mixtral_static", 2, true, true},
};

#endif
