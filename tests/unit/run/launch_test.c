/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers leave in the environment, and which of it contradicts the world's size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run/ranks/launch.h"

static const char open_mpi[] = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4";
static const char mpich[] = "MPICH Version:      4.0.2\nMPICH Release date: Thu Apr  7 2022";

static const char *const variables[] = {
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_RANK",
    "PMI_SIZE",
    "PMI_RANK",
    "MPI_LOCALNRANKS",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_SIZE",
    "PALS_RANKID",
    "JSM_NAMESPACE_SIZE",
    "JSM_NAMESPACE_RANK",
    "FLUX_JOB_SIZE",
    "FLUX_TASK_RANK",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_PROCID",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_JOB_ID",
    "PMIX_NAMESPACE",
    "PMIX_RANK",
    "SLUICE_ANY_LAUNCHER",
};

/* "NAME=VALUE NAME=VALUE …" and nothing else. */
static void set_environment(const char *assignments)
{
    char text[512], *rest = text;
    for (size_t i = 0; i < COUNT_OF(variables); i++) {
        unsetenv(variables[i]);
    }
    strncpy(text, assignments, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (char *one = strsep(&rest, " "); one != NULL; one = strsep(&rest, " ")) {
        char *equals = strchr(one, '=');
        if (equals != NULL) {
            *equals = '\0';
            setenv(one, equals + 1, 1);
        }
    }
}

static const struct launch_case {
    const char *environment;
    int world;
    int rank; /* -1: nothing contradicts */
} cases[] = {
    {"", 1, -1},
    {"", 8, -1},
    /* Started alone, by its own mpirun, by another's. */
    {"OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3", 4, -1},
    {"OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0", 1, -1},
    {"OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0", 1, 0},
    {"OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3", 1, 3},
    {"MV2_COMM_WORLD_SIZE=2 MV2_COMM_WORLD_RANK=1", 1, 1},
    {"PMI_SIZE=4 PMI_RANK=2", 1, 2},
    {"PMI_SIZE=4 PMI_RANK=2", 4, -1},
    {"PMI_SIZE=1 PMI_RANK=0", 1, -1},
    {"PMI_SIZE=4", 1, 0},
    {"PMI_RANK=2 MPI_LOCALNRANKS=4 MPI_LOCALRANKID=2", 1, 2},
    {"MPI_LOCALNRANKS=2 PMI_SIZE=4 PMI_RANK=0", 4, -1},
    {"PALS_LOCAL_SIZE=1 PALS_RANKID=3", 1, 3},
    {"PALS_LOCAL_SIZE=8 PALS_RANKID=8", 16, -1},
    {"JSM_NAMESPACE_SIZE=6 JSM_NAMESPACE_RANK=5", 1, 5},
    {"FLUX_JOB_SIZE=2 FLUX_TASK_RANK=0", 1, 0},
    {"FLUX_JOB_SIZE=2 FLUX_TASK_RANK=0", 2, -1},
    /* Alone in a batch script; by srun without PMIx, and with it. */
    {"SLURM_JOB_ID=7 SLURM_NTASKS=8 SLURM_NPROCS=8 SLURM_PROCID=0", 1, -1},
    {"SLURM_NTASKS=8 SLURM_PROCID=5 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=8", 1, 5},
    {"SLURM_NTASKS=8 SLURM_PROCID=5 SLURM_STEP_ID=0", 1, 5},
    {"SLURM_NTASKS=8 SLURM_PROCID=5 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=8", 8, -1},
    {"SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1", 1, -1},
    /* mpirun within a batch script or a step, whose daemons are a step of their own. */
    {"OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=3", 2, -1},
    {"OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=3", 1, -1},
    {"PMI_SIZE=4 PMI_RANK=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1", 1, 1},
    {"PMI_SIZE=4 PMI_RANK=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2", 4, -1},
    /* What is no number says nothing; who means it is believed. */
    {"PMI_SIZE=many PMI_RANK=few", 1, -1},
    {"PMI_SIZE= PMI_RANK=", 1, -1},
    {"PMI_SIZE=-4", 1, -1},
    {"PMI_SIZE=99999999999999999999", 1, -1},
    {"PMI_SIZE=4 PMI_RANK=2 SLUICE_ANY_LAUNCHER=1", 1, -1},
    {"PMI_SIZE=4 PMI_RANK=2 SLUICE_ANY_LAUNCHER=0", 1, 2},
};

static void contradictions_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int rank = -1;
        set_environment(cases[i].environment);
        status s = launch_check(cases[i].world, open_mpi, &rank);
        if ((s == STATUS_INVALID) != (cases[i].rank >= 0) || rank != (s ? cases[i].rank : 0)) {
            fail_msg("\"%s\" in a world of %d: status %d, rank %d", cases[i].environment,
                     cases[i].world, (int)s, rank);
        }
    }
}

static void the_message_says_what_to_do(void **state)
{
    (void)state;
    int rank;
    set_environment("PMI_SIZE=4 PMI_RANK=0");
    assert_int_equal(launch_check(1, mpich, &rank), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "PMI_SIZE is 4"));
    assert_non_null(strstr(status_message(), "(MPICH Version:      4.0.2)"));
    assert_non_null(strstr(status_message(), "srun --mpi=pmix"));
}

/* Before it starts, only an Open MPI that nobody helps is known to be alone. */
static void who_sees_others(void **state)
{
    (void)state;
    set_environment("SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2");
    assert_false(launch_sees_others(open_mpi));
    assert_true(launch_sees_others(mpich));
    set_environment("PMIX_NAMESPACE=slurm.pmix.2.0");
    assert_true(launch_sees_others(open_mpi));
    set_environment("OMPI_COMM_WORLD_SIZE=2");
    assert_true(launch_sees_others(open_mpi));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions_are_found),
        cmocka_unit_test(the_message_says_what_to_do),
        cmocka_unit_test(who_sees_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
