/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mixers, and the way from a layer to its own. */
#include "model/mixers/mixer.h"

static const struct mixer_operations *const mixers[MIXER_KINDS] = {
    [MIXER_ATTENTION] = &mixer_attention,     [MIXER_SHORT_CONVOLUTION] = &mixer_short_convolution,
    [MIXER_GATED_DELTA] = &mixer_gated_delta, [MIXER_STATE_SPACE] = &mixer_state_space,
    [MIXER_LATENT] = &mixer_latent,
};

const struct mixer_operations *mixer_operations_of(enum mixer_kind kind)
{
    return mixers[kind];
}

status mixers_create(struct forward *forward)
{
    for (int layer = 0; layer < forward->options.partition->layer_count; layer++) {
        const enum mixer_kind kind = forward_layer_kind(forward, layer).mixer;
        if (forward->mixers[kind] == NULL) {
            TRY(mixers[kind]->create(forward, &forward->mixers[kind]));
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

status mixer_run(struct forward *forward, const struct batch *batch, int layer, bool is_read,
                 struct mixed *out)
{
    struct mixer *mixer = forward->mixers[forward_layer_kind(forward, layer).mixer];
    return mixer->operations->run(forward, mixer, batch, layer, is_read, out);
}

const struct matrix *mixer_reader(const struct forward *forward, int layer)
{
    const struct mixer_operations *mixer = mixers[forward_layer_kind(forward, layer).mixer];
    return mixer->reader(&forward->options.weights->layers[layer]);
}
