/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the ranks of a host share. */
#ifndef SLUICE_RUN_HOST_MEMORY_H
#define SLUICE_RUN_HOST_MEMORY_H

#include "sluice/base.h"

struct host_memory {
    void *address;  /* zero-filled at the start; NULL: this host has no room, or one rank alone */
    size_t bytes;   /* of it */
    int rank, size; /* among the ranks that share it */
};

/* A piece of /dev/shm without a name that others could open, gone with the last rank; half as
 * large, and so on, where there is not more room, as in containers. On a host that has not the
 * least, address is NULL on all of its ranks. Collective over the world; all ranks fail or none. */
status host_memory_create(size_t most_bytes, size_t least_bytes,
                          struct host_memory *out) MUST_CHECK;
/* Whether every rank of the host says so. Collective over the world. */
status host_memory_agree(bool own, bool *all) MUST_CHECK;
void host_memory_destroy(struct host_memory *memory);

#endif
