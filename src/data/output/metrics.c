/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of ranks and of samples over time. */
#include "data/output/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/output/dataset.h"
#include "data/output/layout.h"

/* ---- Types ---- */

struct member {
    const char *name;
    size_t offset;
    enum { MEMBER_TEXT, MEMBER_INT32, MEMBER_INT64, MEMBER_DOUBLE } kind;
};

static hid_t member_type(const struct member *member)
{
    switch (member->kind) {
    case MEMBER_INT32:
        return H5Tcopy(H5T_NATIVE_INT32);
    case MEMBER_INT64:
        return H5Tcopy(H5T_NATIVE_INT64);
    case MEMBER_DOUBLE:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case MEMBER_TEXT:
        break;
    }
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && (H5Tset_size(type, sizeof((struct rank_metrics *)NULL)->host) < 0 ||
                      H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

static hid_t compound_type(size_t size, const struct member *members, size_t count)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, size);
    for (size_t i = 0; type >= 0 && i < count; i++) {
        hid_t part = member_type(&members[i]);
        if (part < 0 || H5Tinsert(type, members[i].name, members[i].offset, part) < 0) {
            H5Tclose(type);
            type = -1;
        }
        if (part >= 0) {
            H5Tclose(part);
        }
    }
    return type;
}

/* clang-format off */
#define RANK(name, kind) {#name, offsetof(struct rank_metrics, name), kind}
#define POINT(name, kind) {#name, offsetof(struct timeline_point, name), kind}
/* clang-format on */

hid_t metrics_rank_type(void)
{
    static const struct member members[] = {
        RANK(rank, MEMBER_INT32),
        RANK(host, MEMBER_TEXT),
        RANK(device, MEMBER_TEXT),
        RANK(dp, MEMBER_INT32),
        RANK(tp, MEMBER_INT32),
        RANK(pp, MEMBER_INT32),
        RANK(rows, MEMBER_INT64),
        RANK(prompt_tokens, MEMBER_INT64),
        RANK(output_tokens, MEMBER_INT64),
        RANK(steps, MEMBER_INT64),
        RANK(preemptions, MEMBER_INT64),
        RANK(seconds_total, MEMBER_DOUBLE),
        RANK(seconds_prefill, MEMBER_DOUBLE),
        RANK(seconds_decode, MEMBER_DOUBLE),
        RANK(seconds_communication, MEMBER_DOUBLE),
        RANK(seconds_idle, MEMBER_DOUBLE),
        RANK(peak_memory_bytes, MEMBER_INT64),
        RANK(kv_bytes, MEMBER_INT64),
        RANK(kv_peak_use, MEMBER_DOUBLE),
        RANK(energy_joules, MEMBER_DOUBLE),
    };
    return compound_type(sizeof(struct rank_metrics), members, COUNT_OF(members));
}

hid_t metrics_timeline_type(void)
{
    static const struct member members[] = {
        POINT(seconds, MEMBER_DOUBLE),      POINT(running, MEMBER_INT32),
        POINT(waiting, MEMBER_INT32),       POINT(kv_blocks_used, MEMBER_INT32),
        POINT(output_tokens, MEMBER_INT64), POINT(prompt_tokens, MEMBER_INT64),
        POINT(rows, MEMBER_INT64),
    };
    return compound_type(sizeof(struct timeline_point), members, COUNT_OF(members));
}

/* ---- Writing ---- */

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
    return write_compounds(file, OUTPUT_RANKS_PATH, metrics_rank_type(), ranks, count);
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
        s = write_compounds(file, path, metrics_timeline_type(), of_rank, found);
    }
    free(of_rank);
    free(done);
    return s;
}
