/* SPDX-License-Identifier: Apache-2.0 */
/* The warnings that a job ends with. */
#ifndef SLUICE_RUN_NOTES_WARN_H
#define SLUICE_RUN_NOTES_WARN_H

#include <mpi.h>

#include "run/report/notes.h"

/* Puts all ranks' notes together in those of rank 0, which logs a warning for each kind.
 * Collective. */
status notes_warn(struct notes *notes, MPI_Comm comm) MUST_CHECK;

#endif
