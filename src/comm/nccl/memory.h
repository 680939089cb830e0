/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory of the communicator over NCCL, without NCCL's own headers: plans ask as well. */
#ifndef SLUICE_COMM_NCCL_MEMORY_H
#define SLUICE_COMM_NCCL_MEMORY_H

enum {
    NCCL_LIBRARY_BYTES = 512 << 20, /* NCCL's own buffers, of a group or of a pipeline's links */
    NCCL_SCRATCH_BYTES = 32 << 20,  /* what a tensor-parallel group adds up and sorts in */
    NCCL_SLOTS = 2,                 /* sends under way, each with a copy of what is sent */

    PEER_SLOT_BYTES = 8 << 20, /* what a launch through memory that GPUs share can move */
    /* A rank's part of a call that goes that way: from 32 MiB on NCCL is quicker. */
    PEER_MOST_BYTES = 16 << 20,
    PEER_ROOM_BYTES = 2 * PEER_SLOT_BYTES + (64 << 10), /* a rank's */
};

#endif
