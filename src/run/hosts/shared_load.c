/* SPDX-License-Identifier: Apache-2.0 */
/* The model's shared reads on the host's shared memory. */
#include "run/hosts/shared_load.h"

#include <mpi.h>

#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

status shared_load_begin(struct model *model, struct host_memory *memory)
{
    TRY(host_memory_create(model_share_bytes(), model_share_least_bytes(), memory));
    const bool prepares = memory->address != NULL && memory->rank == 0;
    const bool prepared =
        !prepares || model_share_prepare(memory->address, memory->bytes, memory->size) == STATUS_OK;
    bool all;
    TRY(host_memory_agree(prepared, &all));
    if (!all) {
        host_memory_destroy(memory);
    }
    return run_agree(memory->address != NULL
                         ? model_share_begin(model, memory->address, memory->rank)
                         : STATUS_OK);
}

/* How much came from the files: of a part of the model, once for each rank or once for each host.
 */
static status log_bytes(uint64_t own)
{
    uint64_t total = 0;
    char text[24];
    TRY(mpi_check(MPI_Reduce(&own, &total, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD),
                  "add up what was read"));
    if (world_get()->rank == 0 && total > 0) {
        log_write(LOG_INFO,
                  "weights: %s were read from the files, for all ranks of a host together",
                  format_bytes((int64_t)total, text));
    }
    return STATUS_OK;
}

status shared_load_end(struct model *model, struct host_memory *memory)
{
    const uint64_t bytes = model_share_end(model);
    host_memory_destroy(memory);
    TRY(run_agree(STATUS_OK)); /* waits for the others without keeping a processor busy */
    return run_agree(log_bytes(bytes));
}
