/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mixers, and the way from a layer to its own. */
#include "model/mixers/mixer.h"

static const struct mixer_operations *const mixers[MIXER_KINDS] = {
    [MIXER_ATTENTION] = &mixer_attention,     [MIXER_SHORT_CONVOLUTION] = &mixer_short_convolution,
    [MIXER_GATED_DELTA] = &mixer_gated_delta, [MIXER_STATE_SPACE] = &mixer_state_space,
    [MIXER_LATENT] = &mixer_latent,
};

const struct mixer_operations *mixer_operations_of(enum mixer_kind part)
{
    return mixers[part];
}

struct cache_store mixer_store(const struct model_config *config, const struct partition *partition,
                               struct layer_kind kind)
{
    struct cache_store all = {.kind = STORE_NO_POSITIONS};
    enum mixer_kind parts[MIXER_MOST_PARTS];
    const int count = mixer_parts(kind.mixer, parts);
    for (int i = 0; i < count; i++) {
        const struct cache_store own = mixers[parts[i]]->store(config, partition, kind);
        const int64_t states = all.state_values + own.state_values;
        all = own.kind == STORE_NO_POSITIONS ? all : own;
        all.state_values = states;
    }
    return all;
}

status mixers_create(struct forward *forward)
{
    for (int layer = 0; layer < forward->options.partition->layer_count; layer++) {
        enum mixer_kind parts[MIXER_MOST_PARTS];
        const int count = mixer_parts(forward_layer_kind(forward, layer).mixer, parts);
        for (int i = 0; i < count; i++) {
            if (forward->mixers[parts[i]] == NULL) {
                TRY(mixers[parts[i]]->create(forward, &forward->mixers[parts[i]]));
            }
        }
    }
    return STATUS_OK;
}

void mixers_destroy(struct forward *forward)
{
    for (int kind = 0; kind < MIXER_KINDS; kind++) {
        if (forward->mixers[kind] != NULL) {
            mixers[kind]->destroy(forward, forward->mixers[kind]);
        }
    }
}

status mixer_run(struct forward *forward, enum mixer_kind part, const struct batch *batch,
                 int layer, bool is_read, struct mixed *out)
{
    return mixers[part]->run(forward, forward->mixers[part], batch, layer, is_read, out);
}

const struct matrix *mixer_output(const struct layer_weights *weights, enum mixer_kind part)
{
    return part == MIXER_STATE_SPACE && weights->space_output != NULL ? weights->space_output
                                                                      : weights->attention_output;
}

const struct matrix *mixer_reader(const struct forward *forward, int layer)
{
    const struct layer_weights *weights = &forward->options.weights->layers[layer];
    enum mixer_kind parts[MIXER_MOST_PARTS];
    const int count = mixer_parts(forward_layer_kind(forward, layer).mixer, parts);
    if (count == 0) {
        return weights->router != NULL ? NULL : weights->gate_up;
    }
    return count > 1 ? NULL : mixers[parts[0]]->reader(weights);
}
