/* SPDX-License-Identifier: Apache-2.0 */
/* Which way the sums over ranks take: messages and bytes of a rank, for sizes around the one from
 * which on a sum is scattered and gathered. Exit status 0 when all holds. */
#include "comm/tree_sum.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "sluice/run.h"

static int messages; /* that this rank has sent */

/* In the library's place, which has it under a second name for this. */
int MPI_Sendrecv(const void *own, int own_count, MPI_Datatype own_type, int to, int own_tag,
                 void *other, int other_count, MPI_Datatype other_type, int from, int other_tag,
                 MPI_Comm comm, MPI_Status *result)
{
    messages++;
    return PMPI_Sendrecv(own, own_count, own_type, to, own_tag, other, other_count, other_type,
                         from, other_tag, comm, result);
}

/* Of a sum of `count` floats: log2 P messages with all of it while it is less than 16 KiB or
 * between two ranks, which send as much either way; else twice as many, 2 (P - 1) / P of it. */
static bool sends_as_it_should(int rank, int size, size_t count)
{
    int rounds = 0;
    while (1 << rounds < size) {
        rounds++;
    }
    const bool is_long = size > 2 && count >= 4096;
    const uint64_t parts = (uint64_t)size, whole = count * sizeof(float);
    const uint64_t expected =
        is_long ? 2 * (parts - 1) * (whole / parts) : (uint64_t)rounds * whole;
    float *data = calloc(count, sizeof *data), *scratch = calloc(count, sizeof *scratch);
    uint64_t bytes = 0;
    const struct tree_sum sum = {
        .comm = MPI_COMM_WORLD, .rank = rank, .size = size, .scratch = scratch, .bytes = &bytes};
    messages = 0;
    const status s = tree_sum(&sum, data, count);
    free(data);
    free(scratch);
    if (s == STATUS_OK && messages == (is_long ? 2 : 1) * rounds && bytes == expected) {
        return true;
    }
    fprintf(stderr, "rank %d of %d, %zu floats: %d messages, %llu bytes\n", rank, size, count,
            messages, (unsigned long long)bytes);
    return false;
}

int main(int argc, char **argv)
{
    static const size_t counts[] = {1, 4088, 4096, 4104}; /* parts of 8 ranks are equal */
    int rank, size, failures = 0, total = 0;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        failures += !sends_as_it_should(rank, size, counts[i]);
    }
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
