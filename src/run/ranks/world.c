/* SPDX-License-Identifier: Apache-2.0 */
/* MPI's start, and what a rank knows of its world. */
#include "run/ranks/world.h"

#include <mpi.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "run/ranks/launch.h"
#include "sluice/mpi_check.h"

/* One process is one rank of one world: this is the only state of its kind, and it is written once,
 * by world_start. */
static struct world world;

/* Threads of this rank: OMP_NUM_THREADS where it is set, else this rank's share of the processors
 * it may run on. */
static void choose_threads(void)
{
    if (getenv("OMP_NUM_THREADS") != NULL) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)processors;
    /* A rank that was bound to a part of the host has that part for itself. */
    int threads = allowed < processors ? allowed : allowed / world.host_size;
    omp_set_num_threads(threads < 1 ? 1 : threads);
}

/* Refuses to start where several processes are, or would be, separate worlds; *rank is then this
 * one's among them. */
static status check_launch(int *rank)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length, started = 0;
    MPI_Get_library_version(version, &length);
    MPI_Initialized(&started);
    if (!started && launch_sees_others(version)) {
        return STATUS_OK; /* not known yet */
    }
    return launch_check(started ? world.size : 1, version, rank);
}

status world_start(int *argc, char ***argv, int *rank)
{
    int provided;
    TRY(check_launch(rank));
    TRY(mpi_check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "start"));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &world.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world.size);
    status s = check_launch(rank);
    if (s != STATUS_OK) {
        MPI_Finalize();
        return s;
    }
    MPI_Comm host;
    TRY(mpi_check(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &host),
        "group the ranks of a host"));
    MPI_Comm_rank(host, &world.host_rank);
    MPI_Comm_size(host, &world.host_size);
    world.host_leader = world.rank;
    TRY(mpi_check(MPI_Bcast(&world.host_leader, 1, MPI_INT, 0, host), "find a host's first rank"));
    MPI_Comm_free(&host);
    gethostname(world.host, sizeof world.host - 1);
    choose_threads();
    return STATUS_OK;
}

const struct world *world_get(void)
{
    return &world;
}

void world_pause(int idle_rounds)
{
    if (idle_rounds < 100) {
        sched_yield();
        return;
    }
    struct timespec pause = {.tv_nsec = idle_rounds < 1000 ? 50000 : 1000000};
    nanosleep(&pause, NULL);
}
