/* SPDX-License-Identifier: Apache-2.0 */
/* The choice between MPI and NCCL. */
#include "sluice/comm_create.h"

#include <stdlib.h>
#include <unistd.h>

#include "comm/comm_mpi.h"
#include "sluice/mpi_check.h"
#ifdef SLUICE_CUDA
#include "comm/nccl/comm_nccl.h"
#endif

/* A number for a device of a host, the same for every rank that sees that device; 0 for none. The
 * host is named by more than its name, which hosts made from one image may share. */
static status device_key(const char *device_address, uint64_t *key)
{
    *key = 0;
    if (device_address[0] == '\0') {
        return STATUS_OK;
    }
    struct buffer text = {0};
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    status s = buffer_format(&text, "%s %s ", host, device_address);
    if (s == STATUS_OK &&
        file_read("/proc/sys/kernel/random/boot_id", 4096, &text) == STATUS_NO_MEMORY) {
        s = STATUS_NO_MEMORY;
    }
    if (s == STATUS_OK) {
        *key = hash_bytes(text.data, text.length, 0) | 1;
    }
    buffer_destroy(&text);
    return s;
}

status comm_device_sharers(MPI_Comm group, const char *device_address, int *own, int *most)
{
    int size;
    MPI_Comm_size(group, &size);
    *own = *most = 0;
    uint64_t key;
    status s = device_key(device_address, &key);
    uint64_t *keys = calloc((size_t)size, sizeof *keys);
    if (s == STATUS_OK && keys == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for a group of %d ranks", size);
    }
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Allgather(&key, 1, MPI_UINT64_T, keys, 1, MPI_UINT64_T, group),
                      "compare devices");
    }
    for (int i = 0; s == STATUS_OK && key != 0 && i < size; i++) {
        *own += keys[i] == key;
    }
    free(keys);
    TRY(s);
    return mpi_check(MPI_Allreduce(own, most, 1, MPI_INT, MPI_MAX, group), "compare devices");
}

status comm_create(MPI_Comm group, struct backend *backend, const struct comm_options *options,
                   struct communicator **out)
{
    *out = NULL;
    int own, most;
    TRY(comm_device_sharers(group, options->device_address, &own, &most));
#ifdef SLUICE_CUDA
    if (most == 1) {
        return comm_nccl_create(group, backend, options, out);
    }
#endif
    return comm_mpi_create(group, backend, out);
}
