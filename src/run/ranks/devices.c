/* SPDX-License-Identifier: Apache-2.0 */
/* Devices over ranks. */
#include "run/ranks/devices.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "run/ranks/near_device.h"
#include "run/ranks/world.h"
#include "sluice/comm_create.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* What ranks tell each other; the least of each is what all of them have. */
struct common {
    int64_t has_own_memory, capability, memory_bytes;
};

static status least_of_all(struct common *common)
{
    return mpi_check(MPI_Allreduce(MPI_IN_PLACE, common, 3, MPI_INT64_T, MPI_MIN, MPI_COMM_WORLD),
                     "compare devices");
}

/* ---- Sharing out a host's devices ---- */

static const char SYSFS[] = "/sys";

/* What ranks tell each other for it. */
struct seat {
    int host_leader;
    int node;         /* that the rank runs on */
    uint64_t devices; /* a hash of those that it sees, in their order */
};

/* The nodes of all devices that this rank sees, and their hash. */
static status look_at_devices(const struct backend_kind *kind, int count, int *nodes,
                              uint64_t *hash)
{
    *hash = (uint64_t)count;
    for (int i = 0; i < count; i++) {
        char address[32] = "";
        TRY(kind->device_address(i, address));
        nodes[i] = near_device_node(SYSFS, address);
        *hash = hash_bytes(address, sizeof address, *hash);
    }
    return STATUS_OK;
}

/* This rank's device of `count`, by the seats of all ranks. Where a host's ranks see different
 * ones, each its own perhaps, nobody can share them out, and they go around. */
static int choose_seat(const struct seat *seats, const int *device_nodes, int count, int *nodes,
                       int *chosen)
{
    const struct world *world = world_get();
    int ranks = 0, own = 0;
    bool are_alike = true;
    for (int i = 0; i < world->size; i++) {
        if (seats[i].host_leader == world->host_leader) {
            own = i == world->rank ? ranks : own;
            are_alike = are_alike && seats[i].devices == seats[world->rank].devices;
            nodes[ranks++] = seats[i].node;
        }
    }
    if (!are_alike) {
        return world->host_rank % count;
    }
    near_devices_assign(nodes, ranks, device_nodes, count, chosen);
    return chosen[own];
}

/* A rank that nothing binds stays where its device is, its memory and threads with it. */
static void stay_near(int device, int own_node, int device_node)
{
    if (own_node == NEAR_ANYWHERE && near_stay(SYSFS, device_node)) {
        log_write(LOG_DEBUG, "rank %d stays on NUMA node %d, near device %d", world_get()->rank,
                  device_node, device);
    }
}

/* Collective over the world. */
static status take_device(const struct backend_kind *kind, int *index)
{
    const struct world *world = world_get();
    const int count = backend_kind_device_count(kind);
    const size_t ranks = (size_t)world->size;
    struct seat own = {.host_leader = world->host_leader, .node = near_own_node(SYSFS)};
    struct seat *seats = calloc(ranks, sizeof *seats);
    int *numbers = calloc(2 * ranks + (size_t)count, sizeof *numbers);
    int *device_nodes = numbers != NULL ? numbers + 2 * ranks : NULL;
    status s = seats != NULL && numbers != NULL
                   ? look_at_devices(kind, count, device_nodes, &own.devices)
                   : status_fail(STATUS_NO_MEMORY, "out of memory for %d ranks", world->size);
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = mpi_check(
            MPI_Allgather(&own, sizeof own, MPI_BYTE, seats, sizeof own, MPI_BYTE, MPI_COMM_WORLD),
            "share out devices");
    }
    if (s == STATUS_OK) {
        *index = choose_seat(seats, device_nodes, count, numbers, numbers + ranks);
        stay_near(*index, own.node, device_nodes[*index]);
    }
    free(seats);
    free(numbers);
    return s;
}

/* ---- One device ---- */

/* Opens this rank's device, and once all ranks have opened theirs sees what memory that left. */
static status measure_device(struct plan_device *device)
{
    const char *kind = device->kind->name;
    struct device_facts facts;
    int sharers, most;
    TRY(run_agree(backend_device_facts(kind, device->index, &facts)));
    TRY(run_agree(comm_device_sharers(MPI_COMM_WORLD, facts.address, &sharers, &most)));
    TRY(run_agree(backend_device_facts(kind, device->index, &facts)));
    device->capability = facts.capability;
    device->memory_bytes = facts.free_bytes / sharers;
    memcpy(device->arithmetic, facts.arithmetic, sizeof device->arithmetic);
    if (world_get()->rank == 0 && most > 1) {
        log_write(LOG_WARNING,
                  "%d ranks share %s: it does their work one after the other, and they "
                  "communicate through host memory; start one rank a GPU",
                  most, device->kind->place);
    }
    return STATUS_OK;
}

/* Every rank without a device of its own takes the others' away, where the job leaves that open. */
static status agree_on_kind(const struct job *job, struct plan_device *device)
{
    const bool has_own_memory = device->kind->has_own_memory;
    struct common common = {.has_own_memory = has_own_memory};
    TRY(least_of_all(&common));
    if (!has_own_memory || common.has_own_memory) {
        return STATUS_OK;
    }
    const struct backend_kind *host = backend_kind_host();
    log_write(LOG_WARNING, "host %s has %s, another rank has none: all ranks compute on %s",
              world_get()->host, device->kind->devices, host->devices);
    struct job on_host = *job; /* borrows the arena */
    on_host.engine.device = host;
    return plan_find_device(&on_host, world_get()->host_size, 0, device);
}

/* Whether every block of `ranks` ranks lies on one host. */
static bool blocks_are_whole(const int *leaders, int count, int ranks)
{
    for (int i = 0; i < count; i++) {
        if (leaders[i] != leaders[i - i % ranks]) {
            return false;
        }
    }
    return true;
}

static status find_near_ranks(int *out)
{
    const struct world *world = world_get();
    int *leaders = calloc((size_t)world->size, sizeof *leaders);
    status s = run_agree(
        leaders != NULL ? STATUS_OK
                        : status_fail(STATUS_NO_MEMORY, "out of memory for %d ranks", world->size));
    if (s == STATUS_OK) {
        s = mpi_check(
            MPI_Allgather(&world->host_leader, 1, MPI_INT, leaders, 1, MPI_INT, MPI_COMM_WORLD),
            "compare hosts");
    }
    *out = 1;
    while (s == STATUS_OK && *out < MOST_TENSOR_RANKS &&
           blocks_are_whole(leaders, world->size, 2 * *out)) {
        *out *= 2;
    }
    free(leaders);
    return s;
}

status devices_choose(const struct job *job, struct plan_device *out)
{
    const struct world *world = world_get();
    status s = plan_find_device(job, world->host_size, 0, out);
    if (world->size > 1) {
        s = status_context(s, "rank %d on %s", world->rank, world->host);
    }
    TRY(run_agree(s));
    TRY(run_agree(agree_on_kind(job, out)));
    if (out->kind->has_own_memory) {
        TRY(take_device(out->kind, &out->index));
        TRY(measure_device(out));
    }
    TRY(run_agree(find_near_ranks(&out->near_ranks)));
    struct common common = {.capability = out->capability, .memory_bytes = out->memory_bytes};
    TRY(least_of_all(&common));
    out->capability = (int)common.capability;
    out->memory_bytes = common.memory_bytes;
    return STATUS_OK;
}

status devices_plan(const struct job *job, const struct model *model, struct plan *out)
{
    const struct world *world = world_get();
    struct plan_device device;
    TRY(devices_choose(job, &device));
    TRY(run_agree(world->rank == 0 ? plan_create_on(job, model, world->size, &device, NULL, out)
                                   : STATUS_OK));
    TRY(mpi_check(MPI_Bcast(out, sizeof *out, MPI_BYTE, 0, MPI_COMM_WORLD), "send the plan"));
    out->kind = device.kind;
    out->device_index = device.index;
    memcpy(out->arithmetic, device.arithmetic, sizeof out->arithmetic);
    return STATUS_OK;
}

/* Of `texts`, one of each rank: whether this rank's is that of `other`. */
static status compare_with(const char (*texts)[sizeof((struct plan *)NULL)->arithmetic], int other,
                           const char *advice)
{
    const struct world *world = world_get();
    if (strcmp(texts[world->rank], texts[other]) == 0) {
        return STATUS_OK;
    }
    return status_fail(STATUS_INVALID,
                       "rank %d on %s computes with \"%s\", rank %d with \"%s\": rows would have "
                       "the bits of one or the other; %s",
                       world->rank, world->host, texts[world->rank], other, texts[other], advice);
}

status devices_compare(const struct plan *plan, bool keep_mixed)
{
    const struct world *world = world_get();
    char(*texts)[sizeof plan->arithmetic] = calloc((size_t)world->size, sizeof *texts);
    status s = run_agree(
        texts != NULL ? STATUS_OK
                      : status_fail(STATUS_NO_MEMORY, "out of memory for %d ranks", world->size));
    if (s != STATUS_OK) {
        free(texts); /* of a rank that had it */
        return s;
    }
    int first = world->rank - world->rank % (plan->tp * plan->pp);
    int bytes = sizeof *texts;
    s = mpi_check(
        MPI_Allgather(plan->arithmetic, bytes, MPI_BYTE, texts, bytes, MPI_BYTE, MPI_COMM_WORLD),
        "compare devices");
    if (s == STATUS_OK) {
        s = compare_with(texts, first, "a replica's ranks need devices of one kind");
    }
    if (s == STATUS_OK && !keep_mixed) {
        s = compare_with(texts, 0, "give the job devices of one kind, or keep both: --keep-mixed");
    }
    free(texts);
    return run_agree(s);
}
