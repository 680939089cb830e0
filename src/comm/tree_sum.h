/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over MPI's ranks as one tree, whatever way the numbers take. */
#ifndef SLUICE_COMM_TREE_SUM_H
#define SLUICE_COMM_TREE_SUM_H

#include <mpi.h>

#include "sluice/base.h"

struct tree_sum {
    MPI_Comm comm;
    int rank, size;  /* size: a power of two */
    float *scratch;  /* [count] */
    uint64_t *bytes; /* what this rank sends is added to it */
};

/* data[count] becomes the sum over ranks, ((0+1)+(2+3))+((4+5)+(6+7)), with the same bits on every
 * rank and for every count. Collective. */
status tree_sum(const struct tree_sum *sum, float *data, size_t count) MUST_CHECK;

#endif
