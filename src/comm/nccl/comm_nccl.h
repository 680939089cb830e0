/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator over NCCL, for ranks that have a GPU each. */
#ifndef SLUICE_COMM_NCCL_H
#define SLUICE_COMM_NCCL_H

#include <mpi.h>

#include "sluice/comm_create.h"

/* As comm_create, for a CUDA backend. A group for COMM_TENSOR has a power of two of at most 8
 * ranks. */
status comm_nccl_create(MPI_Comm group, struct backend *backend, const struct comm_options *options,
                        struct communicator **out) MUST_CHECK;

/* The version for `sluice --version`, of the library as it is loaded. */
void nccl_version(char *out, size_t size);

#endif
