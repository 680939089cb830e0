/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer of a model is, asked of the facts. */
#include "sluice/model.h"

struct layer_kind model_layer_kind(const struct model_config *config, int layer)
{
    return config->layer_kinds != NULL ? config->layer_kinds[layer]
                                       : (struct layer_kind){MIXER_ATTENTION, ATTENTION_FULL};
}

int mixer_parts(enum mixer_kind kind, enum mixer_kind parts[MIXER_MOST_PARTS])
{
    if (kind == MIXER_ATTENTION_AND_SPACE) {
        parts[0] = MIXER_ATTENTION;
        parts[1] = MIXER_STATE_SPACE;
        return 2;
    }
    parts[0] = kind;
    return kind == MIXER_NONE ? 0 : 1;
}

bool mixer_has_part(enum mixer_kind kind, enum mixer_kind part)
{
    enum mixer_kind parts[MIXER_MOST_PARTS];
    const int count = mixer_parts(kind, parts);
    return (count > 0 && parts[0] == part) || (count > 1 && parts[1] == part);
}

bool model_has_mlp(const struct model_config *config, int layer)
{
    return config->layer_lacks_mlp == NULL || config->layer_lacks_mlp[layer] == 0;
}

bool model_keeps_states(const struct model_config *config)
{
    static const enum mixer_kind kinds[] = {MIXER_SHORT_CONVOLUTION, MIXER_GATED_DELTA,
                                            MIXER_STATE_SPACE};
    for (int i = 0; i < config->layers; i++) {
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            if (mixer_has_part(model_layer_kind(config, i).mixer, kinds[k])) {
                return true;
            }
        }
    }
    return false;
}

int model_layer_window(const struct model_config *config, int layer)
{
    return model_layer_kind(config, layer).attention == ATTENTION_WINDOWED ? config->window : 0;
}
