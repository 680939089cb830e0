/* SPDX-License-Identifier: Apache-2.0 */
/* Communication between GPUs: our sum in rank order and our gather beside NCCL's all-reduce and
 * all-gather, microseconds a call for messages of 8 KiB to 64 MiB.
 *
 *     mpirun -n 2 bench_gpu_allreduce
 *
 * The size is what a rank puts in: a sum of float32 and an all-reduce move the same message; a
 * gather leaves `ranks` times as much. Times are the slowest rank's, by events on the stream around
 * calls in a row, the best of some rounds. The last column is NCCL's all-gather again, its calls
 * captured into a graph, which the host starts once: what is left is the device's time. */
#include <mpi.h>
#include <nccl.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "run/ranks/world.h"
#include "sluice/comm_create.h"
#include "sluice/run.h"

enum { CALLS = 50, ROUNDS = 7, SMALLEST = 8 << 10, LARGEST = 64 << 20 };

struct bench {
    struct cuda_backend *cuda;
    struct communicator *comm;
    ncclComm_t nccl;
    struct device_buffer *own, *all;
    cudaEvent_t start, end;
    cudaGraphExec_t graph; /* of the calls in a row; NULL: called one by one */
};

static status check_nccl(ncclResult_t code)
{
    return code == ncclSuccess ? STATUS_OK
                               : status_fail(STATUS_IO, "NCCL: %s", ncclGetErrorString(code));
}

static status our_sum(struct bench *bench, size_t bytes)
{
    return bench->comm->sum(bench->comm, bench->own, bytes / sizeof(float));
}

static status our_gather(struct bench *bench, size_t bytes)
{
    return bench->comm->gather(bench->comm, bench->own, bench->all, bytes);
}

static status nccl_sum(struct bench *bench, size_t bytes)
{
    return check_nccl(ncclAllReduce(bench->own->data, bench->own->data, bytes / sizeof(float),
                                    ncclFloat32, ncclSum, bench->nccl, bench->cuda->stream));
}

static status nccl_gather(struct bench *bench, size_t bytes)
{
    return check_nccl(ncclAllGather(bench->own->data, bench->all->data, bytes, ncclInt8,
                                    bench->nccl, bench->cuda->stream));
}

static const struct {
    const char *name;
    status (*call)(struct bench *bench, size_t bytes);
    bool in_graph;
} kinds[] = {{"sum", our_sum, false},
             {"nccl-all-reduce", nccl_sum, false},
             {"gather", our_gather, false},
             {"nccl-all-gather", nccl_gather, false},
             {"in-a-graph", nccl_gather, true}};

static status call_in_a_row(struct bench *bench, size_t kind, size_t bytes)
{
    if (bench->graph != NULL) {
        return cuda_check(cudaGraphLaunch(bench->graph, bench->cuda->stream), "graph");
    }
    for (int i = 0; i < CALLS; i++) {
        TRY(kinds[kind].call(bench, bytes));
    }
    return STATUS_OK;
}

static status capture(struct bench *bench, size_t kind, size_t bytes)
{
    cudaStream_t stream = bench->cuda->stream;
    cudaGraph_t graph;
    TRY(cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "graph"));
    const status s = call_in_a_row(bench, kind, bytes);
    TRY(cuda_check(cudaStreamEndCapture(stream, &graph), "graph"));
    TRY(s);
    TRY(cuda_check(cudaGraphInstantiate(&bench->graph, graph, 0), "graph"));
    return cuda_check(cudaGraphDestroy(graph), "graph");
}

/* Microseconds a call. The first round warms up. */
static status measure(struct bench *bench, size_t kind, size_t bytes, double *best)
{
    *best = 1e30;
    if (kinds[kind].in_graph) {
        TRY(capture(bench, kind, bytes));
    }
    for (int round = 0; round <= ROUNDS; round++) {
        MPI_Barrier(MPI_COMM_WORLD);
        TRY(cuda_check(cudaEventRecord(bench->start, bench->cuda->stream), "time"));
        TRY(call_in_a_row(bench, kind, bytes));
        TRY(cuda_check(cudaEventRecord(bench->end, bench->cuda->stream), "time"));
        TRY(cuda_check(cudaEventSynchronize(bench->end), "time"));
        TRY(bench->comm->check(bench->comm));
        float milliseconds;
        TRY(cuda_check(cudaEventElapsedTime(&milliseconds, bench->start, bench->end), "time"));
        double taken = 1e3 * (double)milliseconds / CALLS;
        MPI_Allreduce(MPI_IN_PLACE, &taken, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        *best = round > 0 && taken < *best ? taken : *best;
    }
    if (bench->graph != NULL) {
        TRY(cuda_check(cudaGraphExecDestroy(bench->graph), "graph"));
        bench->graph = NULL;
    }
    return STATUS_OK;
}

static status measure_all(struct bench *bench)
{
    const bool prints = world_get()->rank == 0;
    if (prints) {
        printf("# %s, %d ranks; microseconds a call\n%10s", bench->cuda->name, world_get()->size,
               "bytes");
        for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
            printf(" %16s", kinds[kind].name);
        }
        printf("\n");
    }
    for (size_t bytes = SMALLEST; bytes <= LARGEST; bytes *= 2) {
        double times[COUNT_OF(kinds)];
        for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
            TRY(measure(bench, kind, bytes, &times[kind]));
        }
        if (prints) {
            printf("%10zu", bytes);
            for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
                printf(" %16.1f", times[kind]);
            }
            printf("\n");
            fflush(stdout);
        }
    }
    return STATUS_OK;
}

static status start(struct bench *bench)
{
    const struct world *world = world_get();
    struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = 16, .max_sequences = 16};
    const int count = backend_device_count("cuda");
    options.device = count > 0 ? world->host_rank % count : 0;
    struct device_facts facts;
    struct backend *backend = NULL;
    TRY(run_agree(backend_device_facts("cuda", options.device, &facts)));
    TRY(run_agree(backend_create("cuda", &options, &backend)));
    bench->cuda = cuda_of(backend);
    struct comm_options comm = {
        .use = COMM_TENSOR, .device_address = facts.address, .patience = 60};
    TRY(run_agree(comm_create(MPI_COMM_WORLD, backend, &comm, &bench->comm)));
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    TRY(run_agree(world->rank == 0 ? check_nccl(ncclGetUniqueId(&id)) : STATUS_OK));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    TRY(run_agree(check_nccl(ncclCommInitRank(&bench->nccl, world->size, id, world->rank))));
    TRY(backend->operations->buffer_create(backend, LARGEST, &bench->own));
    TRY(backend->operations->buffer_create(backend, (size_t)LARGEST * (size_t)world->size,
                                           &bench->all));
    TRY(cuda_check(cudaEventCreate(&bench->start), "event"));
    return cuda_check(cudaEventCreate(&bench->end), "event");
}

int main(int argc, char **argv)
{
    int rank, size;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    struct bench bench = {0};
    status s = start(&bench);
    if (s == STATUS_OK) {
        s = measure_all(&bench);
    }
    if (s != STATUS_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, status_message());
        run_abort(1);
    }
    run_end();
    return s == STATUS_OK ? 0 : 1;
}
