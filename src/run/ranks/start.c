/* SPDX-License-Identifier: Apache-2.0 */
/* A rank's start and end: MPI, and around it the signals. */
#include <mpi.h>

#include "run/hosts/heartbeat.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/world.h"
#include "sluice/run.h"

status run_start(int *argc, char ***argv, int *rank, int *size)
{
    TRY(world_start(argc, argv, rank));
    TRY(stop_start());
    TRY(heartbeat_start());
    *rank = world_get()->rank;
    *size = world_get()->size;
    return STATUS_OK;
}

void run_end(void)
{
    stop_end();
    heartbeat_end();
    MPI_Finalize();
}

void run_abort(int exit_status)
{
    int started = 0;
    MPI_Initialized(&started);
    if (started && world_get()->size > 1) {
        MPI_Abort(MPI_COMM_WORLD, exit_status);
    }
}
