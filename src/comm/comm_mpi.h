/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator over MPI in host memory. */
#ifndef SLUICE_COMM_MPI_H
#define SLUICE_COMM_MPI_H

#include <mpi.h>

#include "sluice/comm.h"

/* Wraps `comm` (duplicated; collective over it) for buffers of a backend; where its memory is not
 * the host's they pass through host memory. The caller ends it with (*out)->destroy. */
status comm_mpi_create(MPI_Comm comm, struct backend *backend,
                       struct communicator **out) MUST_CHECK;

#endif
