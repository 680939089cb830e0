/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of ranks and of samples over time. */
#include "data/output/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/output/column.h"
#include "data/output/layout.h"

/* A whole dataset of compounds, replaced where it is there already. */
static status write_compounds(hid_t file, const char *path, hid_t memory, const void *items,
                              size_t count)
{
    hid_t dataset = H5I_BADID;
    hid_t packed = memory >= 0 ? H5Tcopy(memory) : H5I_BADID;
    status s = STATUS_OK;
    if (packed < 0 || H5Tpack(packed) < 0 ||
        (hdf5_path_exists(file, path) && H5Ldelete(file, path, H5P_DEFAULT) < 0)) {
        s = hdf5_fail(STATUS_IO, "%s: cannot be written", path);
    } else {
        s = output_dataset_create(file, path, packed, OUTPUT_BATCH_ROWS, 0, &dataset);
    }
    if (s == STATUS_OK) {
        s = output_dataset_append(dataset, memory, 0, (int64_t)count, 0, items);
    }
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    if (packed >= 0) {
        H5Tclose(packed);
    }
    if (memory >= 0) {
        H5Tclose(memory);
    }
    return s;
}

status metrics_write_ranks(hid_t file, const struct rank_metrics *ranks, size_t count)
{
    return write_compounds(file, OUTPUT_RANKS_PATH, output_rank_type(), ranks, count);
}

status metrics_write_timeline(hid_t file, const struct timeline_point *points, size_t count)
{
    struct timeline_point *of_rank = malloc((count > 0 ? count : 1) * sizeof *of_rank);
    bool *done = calloc(count > 0 ? count : 1, sizeof *done);
    status s = STATUS_OK;
    if (of_rank == NULL || done == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for a timeline of %zu points", count);
    }
    for (size_t i = 0; s == STATUS_OK && i < count; i++) {
        if (done[i]) {
            continue;
        }
        size_t found = 0;
        for (size_t j = i; j < count; j++) {
            if (points[j].rank == points[i].rank) {
                of_rank[found++] = points[j];
                done[j] = true;
            }
        }
        char path[64];
        snprintf(path, sizeof path, OUTPUT_TIMELINE_PATH "/rank_%d", (int)points[i].rank);
        s = write_compounds(file, path, output_timeline_type(), of_rank, found);
    }
    free(of_rank);
    free(done);
    return s;
}
