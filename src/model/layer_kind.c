/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer of a model is, asked of the facts. */
#include "sluice/model.h"

struct layer_kind model_layer_kind(const struct model_config *config, int layer)
{
    return config->layer_kinds != NULL ? config->layer_kinds[layer]
                                       : (struct layer_kind){MIXER_ATTENTION, ATTENTION_FULL};
}

bool model_keeps_states(const struct model_config *config)
{
    for (int i = 0; i < config->layers; i++) {
        switch (model_layer_kind(config, i).mixer) {
        case MIXER_ATTENTION:
        case MIXER_LATENT:
            break;
        case MIXER_SHORT_CONVOLUTION:
        case MIXER_GATED_DELTA:
        case MIXER_STATE_SPACE:
            return true;
        }
    }
    return false;
}

int model_layer_window(const struct model_config *config, int layer)
{
    return model_layer_kind(config, layer).attention == ATTENTION_WINDOWED ? config->window : 0;
}
