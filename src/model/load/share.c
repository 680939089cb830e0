/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a model together with the other ranks of a host. */
#include <stdlib.h>
#include <sys/vfs.h>

#include "model/model_internal.h"
#include "model/read/shared_reads.h"

/* File systems behind a network, by statfs(2); FUSE, since what is behind it is not known. */
static bool is_remote(long type)
{
    static const uint32_t types[] = {
        0x6969,     /* NFS */
        0x0BD00BD0, /* Lustre */
        0x47504653, /* GPFS */
        0x19830326, /* BeeGFS */
        0x00C36400, /* Ceph */
        0xFF534D42, /* CIFS */
        0xFE534D42, /* SMB 2 */
        0x65735546, /* FUSE */
        0x01021997, /* 9P */
        0x5346414F, /* AFS */
        0x20030528, /* OrangeFS */
        0xAAD7AAEA, /* PanFS */
        0x01161970, /* GFS2 */
        0x7461636F, /* OCFS2 */
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if ((uint32_t)type == types[i]) {
            return true;
        }
    }
    return false;
}

bool model_is_remote(const struct model *model)
{
    struct statfs info;
    return model->tensors.file_count > 0 && fstatfs(model->tensors.files[0].fd, &info) == 0 &&
           is_remote((long)info.f_type);
}

size_t model_share_bytes(void)
{
    return shared_reads_bytes();
}

size_t model_share_least_bytes(void)
{
    return shared_reads_least_bytes();
}

status model_share_prepare(void *memory, size_t bytes, int readers)
{
    return shared_reads_prepare(memory, bytes, readers);
}

status model_share_begin(struct model *model, void *memory, int reader)
{
    struct shared_reads *shared = calloc(1, sizeof *shared);
    if (shared == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for shared reads");
    }
    shared_reads_attach(shared, memory, reader);
    model->tensors.shared = shared;
    return STATUS_OK;
}

uint64_t model_share_end(struct model *model)
{
    struct shared_reads *shared = model->tensors.shared;
    uint64_t bytes = 0;
    if (shared != NULL) {
        shared_reads_detach(shared);
        bytes = shared->bytes_read;
    }
    free(shared);
    model->tensors.shared = NULL;
    return bytes;
}
