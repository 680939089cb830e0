/* SPDX-License-Identifier: Apache-2.0 */
/* This process among the ranks: who it is, and where. */
#ifndef SLUICE_RUN_WORLD_H
#define SLUICE_RUN_WORLD_H

#include "sluice/base.h"

struct world {
    int rank, size;
    int host_rank, host_size; /* among the ranks of this host */
    int host_leader;          /* its first rank */
    char host[64];
};
/* Starts MPI and finds out who this rank is; run_start of sluice/run.h says of *rank what it is
 * where this fails. Collective. */
status world_start(int *argc, char ***argv, int *rank) MUST_CHECK;
/* The world as world_start left it. */
const struct world *world_get(void);

/* A pause for a rank that found nothing to do: grows from nothing to 1 ms with `idle_rounds`. */
void world_pause(int idle_rounds);

#endif
