/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory of the communicator over NCCL, without NCCL's own headers: plans ask as well. */
#ifndef SLUICE_COMM_NCCL_MEMORY_H
#define SLUICE_COMM_NCCL_MEMORY_H

enum {
    NCCL_LIBRARY_BYTES = 512 << 20, /* NCCL's own buffers, of a group or of a pipeline's links */
    NCCL_SCRATCH_BYTES = 32 << 20,  /* what a tensor-parallel group adds up and sorts in */
    NCCL_SLOTS = 2,                 /* sends under way, each with a copy of what is sent */
};

#endif
