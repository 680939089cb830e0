/* SPDX-License-Identifier: Apache-2.0 */
/* How large the buffers of a forward pass are. Who makes them and who plans for them ask here. */
#ifndef SLUICE_MODEL_FORWARD_MEMORY_H
#define SLUICE_MODEL_FORWARD_MEMORY_H

#include "sluice/model.h"

/* A buffer of `rows` rows of `width` values of `value_bytes` bytes; rows -1: there is none. */
struct extent {
    int64_t rows, width, value_bytes;
};

/* Its bytes, 0 where there is none. STATUS_LIMIT where they have no place in 64 bits. */
status extent_bytes(const struct extent *extent, int64_t *bytes) MUST_CHECK;

/* Of struct forward; mixers have buffers of their own. */
enum forward_buffer {
    FORWARD_RESIDUAL,
    FORWARD_NORMED,
    FORWARD_GATES,
    FORWARD_ACTIVE,
    FORWARD_BRANCH,
    FORWARD_BRANCHES,
    FORWARD_RANK_LOGITS,
    FORWARD_LOGITS,
    FORWARD_BUFFERS
};

/* `partial_bytes`: the most that the backend leaves as partial sums of a layer's half, 0 where it
 * leaves one sum in float32. */
void forward_extents(const struct step_shape *shape, size_t partial_bytes,
                     struct extent extents[FORWARD_BUFFERS]);

#endif
