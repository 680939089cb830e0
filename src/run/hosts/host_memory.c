/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory by POSIX: the host's first rank makes it, MPI hands out its name. */
#include "run/hosts/host_memory.h"

#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* The ranks of this host, for the duration of a call. */
static status split_host(MPI_Comm *host)
{
    *host = MPI_COMM_NULL;
    return run_agree(
        mpi_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, host),
                  "group the ranks of a host"));
}

static bool agree(MPI_Comm host, bool own)
{
    int mine = own, all = 0;
    return MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, host) == MPI_SUCCESS && all != 0;
}

/* -1 where there is no room; what is promised here is there when it is written to. */
static int try_segment(char name[40], size_t bytes)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return -1;
    }
    snprintf(name, 40, "/sluice-%016llx", (unsigned long long)random);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) != 0) {
        close(fd);
        shm_unlink(name);
        fd = -1;
    }
    return fd;
}

/* The largest that there is room for; *bytes says how large. */
static int create_segment(char name[40], size_t least, size_t *bytes)
{
    int fd = try_segment(name, *bytes);
    while (fd < 0 && *bytes > least) {
        *bytes = *bytes / 2 > least ? *bytes / 2 : least;
        fd = try_segment(name, *bytes);
    }
    return fd;
}

static void map_segment(MPI_Comm host, size_t least, struct host_memory *memory)
{
    char name[40] = "";
    int fd = memory->rank == 0 ? create_segment(name, least, &memory->bytes) : -1;
    const bool is_owner = fd >= 0;
    bool there = MPI_Bcast(name, sizeof name, MPI_CHAR, 0, host) == MPI_SUCCESS &&
                 MPI_Bcast(&memory->bytes, sizeof memory->bytes, MPI_BYTE, 0, host) == MPI_SUCCESS;
    there = agree(host, there && (memory->rank != 0 || is_owner));
    if (there && !is_owner) {
        fd = shm_open(name, O_RDWR, 0);
    }
    void *address = there && fd >= 0
                        ? mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                        : MAP_FAILED;
    if (fd >= 0) {
        close(fd);
    }
    const bool mapped = agree(host, address != MAP_FAILED); /* by all, before the name goes */
    if (is_owner) {
        shm_unlink(name);
    }
    if (mapped) {
        memory->address = address;
    } else if (address != MAP_FAILED) {
        munmap(address, memory->bytes);
    }
}

status host_memory_create(size_t most_bytes, size_t least_bytes, struct host_memory *out)
{
    MPI_Comm host;
    *out = (struct host_memory){.bytes = most_bytes};
    TRY(split_host(&host));
    MPI_Comm_rank(host, &out->rank);
    MPI_Comm_size(host, &out->size);
    if (out->size > 1) {
        map_segment(host, least_bytes, out);
    }
    MPI_Comm_free(&host);
    return STATUS_OK;
}

status host_memory_agree(bool own, bool *all)
{
    MPI_Comm host;
    TRY(split_host(&host));
    *all = agree(host, own);
    MPI_Comm_free(&host);
    return STATUS_OK;
}

void host_memory_destroy(struct host_memory *memory)
{
    if (memory->address != NULL) {
        munmap(memory->address, memory->bytes);
    }
    *memory = (struct host_memory){0};
}
