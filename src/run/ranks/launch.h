/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what started this process and the MPI that it was built with agree on how many there are.
 *
 * A launcher of another MPI starts N processes, each of which MPI takes for a world of its own: N
 * jobs on one output. The environment says what the launcher meant. */
#ifndef SLUICE_RUN_LAUNCH_H
#define SLUICE_RUN_LAUNCH_H

#include "sluice/base.h"

/* To be called before MPI starts, with size 1, where launch_sees_others says no: such an MPI may
 * end the process itself, with a page of advice. And afterwards with the world's size.
 * STATUS_INVALID: the environment says that there are more; *rank is this process's among them. Not
 * collective. */
status launch_check(int world_size, const char *mpi_version, int *rank) MUST_CHECK;

/* Whether MPI has a way to find other processes: an Open MPI without mpirun or PMIx has none. Of
 * another MPI that is not known before it starts. */
bool launch_sees_others(const char *mpi_version);

#endif
