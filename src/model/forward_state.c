/* SPDX-License-Identifier: Apache-2.0 */
/* What any part of the forward pass asks of its state. */
#include "model/forward_state.h"

status forward_scratch(struct forward *forward, const struct extent *extent,
                       struct device_buffer **out)
{
    int64_t bytes;
    TRY(extent_bytes(extent, &bytes));
    return extent->rows >= 0
               ? forward->operations->buffer_create(forward->options.backend, (size_t)bytes, out)
               : STATUS_OK;
}

struct layer_kind forward_layer_kind(const struct forward *forward, int layer)
{
    return model_layer_kind(forward->options.config,
                            forward->options.partition->first_layer + layer);
}
