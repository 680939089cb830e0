/* SPDX-License-Identifier: Apache-2.0 */
/* The table of launchers, and what their variables mean beside the world's size. */
#include "run/ranks/launch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A launcher's variables. Where a size is of one host only, there are at least as many in all. */
static const struct launcher {
    const char *size, *rank;
    const char *only_with; /* set in what it starts, and not just somewhere around it; or NULL */
    bool is_batch_system;  /* others' processes inherit its variables, so theirs come first */
} launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", NULL, false}, /* Open MPI */
    {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", NULL, false},   /* MVAPICH2 */
    {"PMI_SIZE", "PMI_RANK", NULL, false},           /* MPICH, Intel MPI; srun --mpi=pmi2 */
    {"MPI_LOCALNRANKS", "PMI_RANK", NULL, false},    /* the same, of one host */
    {"PALS_LOCAL_SIZE", "PALS_RANKID", NULL, false}, /* HPE Cray's mpiexec, of one host */
    {"JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK", NULL, false}, /* jsrun */
    {"FLUX_JOB_SIZE", "FLUX_TASK_RANK", NULL, true},           /* flux run */
    /* In a batch script SLURM_NTASKS and SLURM_PROCID are set as well, but nothing of a step. */
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", NULL, true},
    {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID", true},
};

/* A number in the environment; -1 where there is none. */
static int read_variable(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0') {
        return -1;
    }
    char *end;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= 0 && value <= INT_MAX ? (int)value : -1;
}

static int read_size(const struct launcher *launcher)
{
    bool counts = launcher->only_with == NULL || getenv(launcher->only_with) != NULL;
    return counts ? read_variable(launcher->size) : -1;
}

/* The launcher that speaks of more processes than the world has, NULL where none does. One that
 * speaks of just as many is believed, since others may stand around it: mpirun within a step of
 * srun. */
static const struct launcher *find_contradiction(int world_size)
{
    const struct launcher *found = NULL;
    bool is_managed = false;
    for (size_t i = 0; i < COUNT_OF(launchers); i++) {
        const struct launcher *launcher = &launchers[i];
        int size = read_size(launcher);
        if (size < 0 || (launcher->is_batch_system && is_managed)) {
            continue;
        }
        is_managed = is_managed || !launcher->is_batch_system;
        if (size == world_size && (size > 1 || i == 0)) {
            return NULL;
        }
        if (found == NULL && (size > world_size || read_variable(launcher->rank) >= world_size)) {
            found = launcher;
        }
    }
    return found;
}

bool launch_sees_others(const char *mpi_version)
{
    bool is_open_mpi = strncmp(mpi_version, "Open MPI", strlen("Open MPI")) == 0;
    return !is_open_mpi || getenv("OMPI_COMM_WORLD_SIZE") != NULL ||
           getenv("PMIX_NAMESPACE") != NULL;
}

status launch_check(int world_size, const char *mpi_version, int *rank)
{
    const struct launcher *found = find_contradiction(world_size);
    const char *trust = getenv("SLUICE_ANY_LAUNCHER");
    *rank = 0;
    if (found == NULL || (trust != NULL && strcmp(trust, "1") == 0)) {
        return STATUS_OK;
    }
    int own = read_variable(found->rank);
    *rank = own > 0 ? own : 0;
    return status_fail(
        STATUS_INVALID,
        "%s is %s, but to MPI %s: each would run the whole job; start with the mpirun of the MPI "
        "that sluice was built with (%.*s), or under Slurm with srun --mpi=pmix "
        "(SLUICE_ANY_LAUNCHER=1 where separate jobs are meant)",
        found->size, getenv(found->size),
        world_size == 1 ? "every process is a world of its own" : "there are several worlds",
        (int)strcspn(mpi_version, ",\n"), mpi_version);
}
