/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a model's weights beside reading the same bytes and copying them to the device.
 *
 *     bench_load MODEL [DEVICE [TP [RANK [TYPE [THREADS]]]]]
 *
 * DEVICE: cpu or cuda; RANK of TP tensor-parallel ranks; TYPE: float32, bfloat16 or fp8. Prints, in
 * this order, the loader's seconds with the process's peak memory beside the rank's slice, then the
 * seconds of the plainest program that puts the same share of the files where the weights go: large
 * reads into (pinned) memory, each followed by its copy; by one thread and by THREADS (8), each
 * with its own files' parts. All are run twice; the first round finds the files as they are, the
 * second in the page cache as far as there is room. For other ranks than all of them the plain
 * program reads 1 / TP of each file. */
#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/model_internal.h"
#include "sluice/backend.h"
#include "sluice/model.h"
#ifdef SLUICE_CUDA
#include <cuda_runtime_api.h>
#endif

enum { ROUNDS = 2, MOST_THREADS = 32 };
static const size_t piece_bytes = 32u << 20;

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_load: %s\n", status_message());
        exit(1);
    }
}

static int64_t peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

/* ---- The plain program ---- */

/* Where a piece is read to, and where it goes. On a CPU reading it is all. */
struct place {
    void *host, *device;
};

static void place_create(bool on_gpu, struct place *place)
{
    place->device = NULL;
#ifdef SLUICE_CUDA
    if (on_gpu) {
        if (cudaMallocHost(&place->host, piece_bytes) != cudaSuccess ||
            cudaMalloc(&place->device, piece_bytes) != cudaSuccess) {
            check(status_fail(STATUS_NO_MEMORY, "no memory for a piece on the GPU"));
        }
        return;
    }
#endif
    (void)on_gpu;
    place->host = malloc(piece_bytes);
    if (place->host == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "no memory for a piece"));
    }
}

static void place_copy(const struct place *place, size_t bytes)
{
#ifdef SLUICE_CUDA
    if (place->device != NULL &&
        cudaMemcpy(place->device, place->host, bytes, cudaMemcpyHostToDevice) != cudaSuccess) {
        check(status_fail(STATUS_IO, "copy to the GPU"));
    }
#endif
    (void)place, (void)bytes;
}

static void place_destroy(const struct place *place)
{
#ifdef SLUICE_CUDA
    if (place->device != NULL) {
        (void)cudaFree(place->device);
        (void)cudaFreeHost(place->host);
        return;
    }
#endif
    free(place->host);
}

/* The first 1 / tp of every file. */
static double read_plainly(const struct tensor_table *table, int tp, int threads, bool on_gpu,
                           uint64_t *total)
{
    struct place places[MOST_THREADS];
    for (int i = 0; i < threads; i++) {
        place_create(on_gpu, &places[i]);
    }
    uint64_t sum = 0;
    const double start = clock_seconds();
    for (size_t f = 0; f < table->file_count; f++) {
        const struct tensor_file *file = &table->files[f];
        const uint64_t bytes = file->size / (uint64_t)tp;
        const int64_t pieces = (int64_t)((bytes + piece_bytes - 1) / piece_bytes);
        sum += bytes;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int64_t i = 0; i < pieces; i++) {
            const uint64_t at = (uint64_t)i * piece_bytes;
            const size_t length = (size_t)(bytes - at < piece_bytes ? bytes - at : piece_bytes);
            const struct place *place = &places[omp_get_thread_num()];
            check(tensor_file_read(file, at, place->host, length));
            place_copy(place, length);
        }
    }
    const double seconds = clock_seconds() - start;
    for (int i = 0; i < threads; i++) {
        place_destroy(&places[i]);
    }
    *total = sum;
    return seconds;
}

/* ---- The loader ---- */

struct loaded {
    double seconds;
    int64_t slice_bytes;
};

static void load(struct model *model, const char *device, int tp, int rank,
                 enum weight_format stored, struct loaded *out)
{
    const bool cpu = strcmp(device, "cpu") == 0;
    const struct backend_options options = {
        .compute = cpu ? DTYPE_FLOAT32 : DTYPE_BFLOAT16, .max_tokens = 1, .max_sequences = 1};
    const struct model_config *config = model_config(model);
    struct backend *backend;
    struct partition partition;
    struct model_weights *weights;
    check(backend_create(device, &options, &backend));
    check(partition_create(config, tp, rank, 1, 0, MAX_SLICES, &partition));
    out->slice_bytes = model_weight_bytes(model, &partition, backend, stored);
    if (out->slice_bytes < 0) {
        check(STATUS_INVALID);
    }
    const double start = clock_seconds();
    check(model_load(model, &partition, backend, stored, &weights));
    check(backend->operations->synchronize(backend));
    out->seconds = clock_seconds() - start;
    model_weights_destroy(weights, &partition, backend);
    partition_destroy(&partition);
    backend->operations->destroy(backend);
}

static void print_row(const char *what, double seconds, uint64_t bytes, double plain)
{
    printf("%-34s %9.3f %9.2f", what, seconds, (double)bytes / 1e9 / seconds);
    if (plain > 0) {
        printf(" %9.2f", seconds / plain);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    const char *device = argc > 2 ? argv[2] : "cpu", *type = argc > 5 ? argv[5] : "bfloat16";
    const int tp = argc > 3 ? atoi(argv[3]) : 1, rank = argc > 4 ? atoi(argv[4]) : 0;
    const int threads = argc > 6 ? atoi(argv[6]) : 8;
    enum weight_format stored = WEIGHT_FLOAT32;
    while (stored != WEIGHT_FP8 && strcmp(type, weight_format_name(stored)) != 0) {
        stored++;
    }
    if (argc < 2 || argc > 7 || strcmp(type, weight_format_name(stored)) != 0 || tp < 1 ||
        tp > MAX_SLICES || rank < 0 || rank >= tp || threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "usage: bench_load MODEL [cpu|cuda [TP [RANK [TYPE [THREADS]]]]]\n");
        return 2;
    }
    struct model *model;
    check(model_open(argv[1], &model));
    const bool on_gpu = strcmp(device, "cuda") == 0;
    printf("%s, %s weights on %s, rank %d of %d\n", argv[1], type, device, rank, tp);
    printf("%-34s %9s %9s %9s\n", "", "seconds", "GB/s", "x plain");
    for (int round = 0; round < ROUNDS; round++) {
        struct loaded loaded;
        const int64_t before = peak_memory();
        load(model, device, tp, rank, stored, &loaded);
        const int64_t peak = peak_memory();
        uint64_t bytes;
        char shared[64];
        const double plain = read_plainly(&model->tensors, tp, 1, on_gpu, &bytes);
        const double plain_shared = read_plainly(&model->tensors, tp, threads, on_gpu, &bytes);
        snprintf(shared, sizeof shared, "plain read and copy, %d threads", threads);
        print_row("loader", loaded.seconds, bytes, plain);
        print_row("plain read and copy, 1 thread", plain, bytes, 0);
        print_row(shared, plain_shared, bytes, plain);
        if (round == 0) {
            printf(
                "host memory: peak %.3f GiB, %.3f before; the rank's slice %.3f GiB; over it %.3f "
                "GiB\n",
                (double)peak / 0x1p30, (double)before / 0x1p30, (double)loaded.slice_bytes / 0x1p30,
                (double)(peak - loaded.slice_bytes) / 0x1p30);
        }
    }
    model_close(model);
    return 0;
}
