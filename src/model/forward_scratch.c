/* SPDX-License-Identifier: Apache-2.0 */
/* What the forward pass works in, its mixers' buffers included: above both, for who plans. */
#include "model/forward_memory.h"
#include "model/mixers/mixer.h"

static status add_extents(const struct extent *extents, int count, struct scratch_bytes *total)
{
    for (int i = 0; i < count; i++) {
        int64_t bytes;
        TRY(extent_bytes(&extents[i], &bytes));
        total->rows += bytes;
    }
    return STATUS_OK;
}

/* Each kind of mixer that the rank's layers have, once. */
static status add_mixers(const struct model_config *config, const struct partition *partition,
                         const struct step_shape *shape, struct scratch_bytes *total)
{
    bool added[MIXER_KINDS] = {false};
    for (int layer = 0; layer < partition->layer_count; layer++) {
        enum mixer_kind parts[MIXER_MOST_PARTS];
        const int count =
            mixer_parts(model_layer_kind(config, partition->first_layer + layer).mixer, parts);
        for (int i = 0; i < count; i++) {
            if (!added[parts[i]]) {
                struct extent extents[MIXER_MOST_BUFFERS];
                const int buffers = mixer_operations_of(parts[i])->extents(shape, extents);
                TRY(add_extents(extents, buffers, total));
                added[parts[i]] = true;
            }
        }
    }
    return STATUS_OK;
}

status forward_add_scratch(const struct model_config *config, const struct partition *partition,
                           const struct backend_kind *kind, const struct step_shape *shape,
                           struct scratch_bytes *total)
{
    struct extent extents[FORWARD_BUFFERS];
    const size_t partials = kind->partial_bytes != NULL ? kind->partial_bytes(shape) : 0;
    forward_extents(shape, partials, extents);
    TRY(add_extents(extents, FORWARD_BUFFERS, total));
    return add_mixers(config, partition, shape, total);
}
