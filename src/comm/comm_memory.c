/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank's communicators take. On devices with memory of their own that is NCCL's part, since
 * plans give each rank one; MPI's copies lie in host memory, in what the host's share leaves. */
#include "comm/nccl/memory.h"
#include "sluice/comm.h"

size_t comm_largest_send(const struct step_shape *shape)
{
    return (size_t)shape->tokens * (size_t)shape->hidden * sizeof(float);
}

/* Rows of logits that the group's first rank gets from the others. MPI receives them whole; NCCL
 * passes them through its scratch, and they are room that stays free. */
static int64_t gathered_bytes(const struct step_shape *shape)
{
    const int64_t others = (int64_t)shape->vocabulary - shape->vocabulary_rows;
    return shape->vocabulary > 0 && shape->rank == 0
               ? shape->outputs * others * (int64_t)sizeof(float)
               : 0;
}

void comm_add_scratch(const struct backend_kind *kind, const struct step_shape *shape, int stages,
                      struct scratch_bytes *total)
{
    if (shape->ranks > 1) {
        total->rows += gathered_bytes(shape);
    }
    if (kind->has_own_memory && shape->ranks > 1) {
        total->work += NCCL_LIBRARY_BYTES + NCCL_SCRATCH_BYTES + PEER_ROOM_BYTES;
    }
    if (kind->has_own_memory && stages > 1) {
        total->work += NCCL_LIBRARY_BYTES + NCCL_SLOTS * (int64_t)comm_largest_send(shape);
    }
}
