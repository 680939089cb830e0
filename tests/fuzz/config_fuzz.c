/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as config.json: what is accepted can be cut into ranks and has finite frequencies. */
#include <math.h>
#include <stdlib.h>

#include "model/read/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(const struct model_config *config, struct arena *arena)
{
    if (config->heads % config->kv_heads != 0 ||
        (config->layer_kinds == NULL && !config->encoder) || config->layers < 1 ||
        config->vocabulary < 1 || config->end_count > 16) {
        abort();
    }
    struct partition part;
    if (partition_create(config, 8, 7, config->layers, config->layers - 1, 8, &part) != STATUS_OK) {
        abort();
    }
    partition_destroy(&part);
    for (int local = 0; local < 2; local++) {
        struct rope_facts facts;
        const struct rope_config *rope = local == 1 ? &config->rope_local : &config->rope;
        if (rope->kind == ROPE_NONE) { /* as the forward pass does */
            continue;
        }
        if (rope_facts_create(config, local == 1, 4096, arena, &facts) != STATUS_OK) {
            continue;
        }
        if (facts.dimensions < 2 || facts.dimensions > config->head_dim || isnan(facts.magnitude)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct arena arena = {0};
    struct json *root;
    struct model_config config;
    if (json_parse((const char *)bytes, length, &arena, &root) == STATUS_OK &&
        config_from_json(root, root, &arena, &config) == STATUS_OK) {
        check(&config, &arena);
    }
    arena_destroy(&arena);
    return 0;
}
