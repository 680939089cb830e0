/* SPDX-License-Identifier: Apache-2.0 */
/* Sums and gathers through the memory of the group's other GPUs: peer_kernel.cu. */
#ifndef SLUICE_COMM_NCCL_PEER_KERNEL_H
#define SLUICE_COMM_NCCL_PEER_KERNEL_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/nccl/memory.h"
#include "comm/nccl/tree.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PEER_BLOCKS = 96, /* of a launch, at most; all of them are on the device at once */
    PEER_FLAG_BYTES = TREE_MAX_RANKS * PEER_BLOCKS * (int)sizeof(uint32_t),
};

/* What every rank of the group can reach: a room a rank, PEER_ROOM_BYTES of device memory each.
 * First flags, [rank][block]: the number of the last call whose part that block of that rank has
 * laid out. Then two slots of PEER_SLOT_BYTES, which calls use in turn. */
struct peer_rooms {
    char *at[TREE_MAX_RANKS]; /* as this rank's device addresses them */
    int rank, ranks;          /* a power of two */
    const int *stop;          /* in host memory; not 0: whoever waits gives up */
};

/* One call, the same on every rank: `number` counts calls from 1 on and may wrap around.
 *
 * gather: to[r · pitch + i] = rank r's own[i], i < bytes; the pitch is in bytes.
 * sum: to[i] = the pairwise tree over ranks of own[i], float32; `to` may be `own`.
 *
 * bytes <= PEER_SLOT_BYTES; bytes, pitch and both addresses are multiples of 16. A rank waits on
 * its device for the others. After `stop` what is in `to` is garbage. */
cudaError_t peer_gather_launch(cudaStream_t stream, const struct peer_rooms *rooms, uint32_t number,
                               const void *own, size_t bytes, void *to, size_t pitch);
cudaError_t peer_sum_launch(cudaStream_t stream, const struct peer_rooms *rooms, uint32_t number,
                            const float *own, size_t bytes, float *to);

#ifdef __cplusplus
}
#endif

#endif
