/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks' agreement on how things went. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>

#include "run/ranks/stop_request.h"
#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* Waits without keeping a processor busy, since others may be reading a model for minutes, and with
 * an open ear for signals. */
static status wait_for(MPI_Request *request)
{
    int done = 0;
    for (int round = 0;; round++) {
        TRY(mpi_check(MPI_Test(request, &done, MPI_STATUS_IGNORE), "agree on the outcome"));
        if (done) {
            return STATUS_OK;
        }
        stop_requested();
        world_pause(round);
    }
}

status run_agree(status own)
{
    struct {
        int code, rank;
    } mine = {own == STATUS_OK ? INT_MAX : 0, world_get()->rank}, first;
    MPI_Request request;
    TRY(mpi_check(MPI_Iallreduce(&mine, &first, 1, MPI_2INT, MPI_MINLOC, MPI_COMM_WORLD, &request),
                  "agree on the outcome"));
    TRY(wait_for(&request));
    if (first.code == INT_MAX) {
        return STATUS_OK;
    }
    struct {
        int code;
        char text[1024];
    } outcome = {.code = (int)own};
    snprintf(outcome.text, sizeof outcome.text, "%s", status_message());
    TRY(mpi_check(MPI_Bcast(&outcome, sizeof outcome, MPI_BYTE, first.rank, MPI_COMM_WORLD),
                  "agree on the outcome"));
    return status_fail((status)outcome.code, "%s", outcome.text);
}
