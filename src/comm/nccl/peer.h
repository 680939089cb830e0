/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that the GPUs of a tensor-parallel group share, where they can: CUDA's handles between
 * processes, on one host. What it is for is in peer_kernel.h. */
#ifndef SLUICE_COMM_NCCL_PEER_H
#define SLUICE_COMM_NCCL_PEER_H

#include <mpi.h>

#include "comm/nccl/peer_kernel.h"
#include "sluice/base.h"

/* Zeroed: there is none, and nothing to end. */
struct peer_memory {
    struct peer_rooms rooms; /* ranks is 0 where there is none */
    int *stop;               /* host memory that the device reads */
    uint32_t number;         /* of the last call */
};

/* Collective over `group`, a power of two of ranks up to TREE_MAX_RANKS, each with a device of its
 * own: gives memory->rooms.ranks > 0 on all ranks or on none. There is none across hosts, where a
 * driver refuses, where NCCL_P2P_DISABLE says so, and where a trial does not give the right values
 * in time. Fails where MPI does. */
status peer_memory_create(MPI_Comm group, cudaStream_t stream,
                          struct peer_memory *memory) MUST_CHECK;
/* Kernels that wait for other ranks return; any thread. */
void peer_memory_stop(struct peer_memory *memory);
/* Not collective; no kernel may use it any more. */
void peer_memory_destroy(struct peer_memory *memory);

/* Whether such a call goes through it: the same on every rank, since it follows from what all pass
 * alike. */
bool peer_memory_takes(const struct peer_memory *memory, size_t bytes);

/* The calls of peer_kernel.h for any multiple of 16 bytes, a launch a slot. */
cudaError_t peer_gather(struct peer_memory *memory, cudaStream_t stream, const void *own,
                        size_t bytes, void *to);
cudaError_t peer_sum(struct peer_memory *memory, cudaStream_t stream, float *data, size_t bytes);

#endif
