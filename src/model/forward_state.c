/* SPDX-License-Identifier: Apache-2.0 */
/* What any part of the forward pass asks of its state. */
#include "model/forward_state.h"

status forward_scratch(struct forward *forward, struct device_buffer **out, int rows, int64_t width,
                       size_t value_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow((size_t)rows, (size_t)width, &bytes) ||
        __builtin_mul_overflow(bytes, value_bytes, &bytes)) {
        return status_fail(STATUS_LIMIT, "scratch of %d rows of %lld", rows, (long long)width);
    }
    return forward->operations->buffer_create(forward->options.backend, bytes, out);
}

struct layer_kind forward_layer_kind(const struct forward *forward, int layer)
{
    return model_layer_kind(forward->options.config,
                            forward->options.partition->first_layer + layer);
}
