/* SPDX-License-Identifier: Apache-2.0 */
/* Which communicator a group of ranks gets. */
#ifndef SLUICE_COMM_CREATE_H
#define SLUICE_COMM_CREATE_H

#include <mpi.h>

#include "sluice/comm.h"

enum comm_use {
    COMM_TENSOR,   /* sum, gather, gather_columns */
    COMM_PIPELINE, /* send to the next rank, receive from the one before */
};

struct comm_options {
    enum comm_use use;
    size_t largest_bytes;       /* that one send moves */
    const char *device_address; /* struct device_facts' of the backend's device */
    double patience;            /* seconds; see sluice/comm.h */
};

/* NCCL where every rank has a GPU of its own, MPI through host memory otherwise: NCCL refuses two
 * ranks on one GPU. Collective over `group`, which is not kept. The caller ends it with
 * (*out)->destroy. */
status comm_create(MPI_Comm group, struct backend *backend, const struct comm_options *options,
                   struct communicator **out) MUST_CHECK;

/* How many ranks of the group have this rank's device, itself included, and how many have the
 * most popular one; 0 where devices have no address. Collective. */
status comm_device_sharers(MPI_Comm group, const char *device_address, int *own,
                           int *most) MUST_CHECK;

#endif
