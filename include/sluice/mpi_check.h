/* SPDX-License-Identifier: Apache-2.0 */
/* MPI's return codes as statuses. */
#ifndef SLUICE_MPI_CHECK_H
#define SLUICE_MPI_CHECK_H

#include "sluice/status.h"

/* STATUS_OK for MPI_SUCCESS, STATUS_IO with MPI's own text for anything else; `what` names the
 * operation for the message ("send"). Not collective. */
status mpi_check(int code, const char *what) MUST_CHECK;

#endif
