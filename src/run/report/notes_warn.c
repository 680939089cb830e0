/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of all ranks, gathered and said. */
#include "run/report/notes_warn.h"

#include <stdlib.h>
#include <string.h>

#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* Puts the ranks' notes together at rank 0. Collective. */
static status gather(struct notes *notes, MPI_Comm comm, int rank, int size)
{
    struct buffer packed = {0}, all = {0};
    int own = 0;
    int *counts = calloc(2 * (size_t)size, sizeof *counts);
    int *starts = counts != NULL ? counts + size : NULL;
    status s = counts != NULL ? notes_pack(notes, &packed)
                              : status_fail(STATUS_NO_MEMORY, "out of memory for warnings");
    own = (int)packed.length; /* bounded: NOTE_MAX_NAMES */
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Gather(&own, 1, MPI_INT, counts, 1, MPI_INT, 0, comm), "gather warnings");
    }
    if (s == STATUS_OK && rank == 0) {
        for (int i = 1; i < size; i++) {
            starts[i] = starts[i - 1] + counts[i - 1];
        }
        s = buffer_reserve(&all, (size_t)starts[size - 1] + (size_t)counts[size - 1]);
    }
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = mpi_check(
            MPI_Gatherv(packed.data, own, MPI_BYTE, all.data, counts, starts, MPI_BYTE, 0, comm),
            "gather warnings");
    }
    for (int i = 1; s == STATUS_OK && rank == 0 && i < size; i++) {
        s = notes_merge(notes, all.data + starts[i], (size_t)counts[i]);
    }
    free(counts);
    buffer_destroy(&packed);
    buffer_destroy(&all);
    return run_agree(s);
}

status notes_warn(struct notes *notes, MPI_Comm comm)
{
    struct buffer lines = {0};
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    TRY(gather(notes, comm, rank, size));
    status s = rank == 0 ? notes_describe(notes, &lines) : STATUS_OK;
    char *rest = lines.data;
    for (char *line = strsep(&rest, "\n"); s == STATUS_OK && line != NULL && *line != '\0';
         line = strsep(&rest, "\n")) {
        log_write(LOG_WARNING, "%s", line);
    }
    buffer_destroy(&lines);
    return run_agree(s);
}
