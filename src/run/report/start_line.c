/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts and devices from all ranks, and the lines about them. */
#include "run/report/start_line.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/ranks/world.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* Where a rank runs. */
struct rank_place {
    char host[64], device[64];
};

static int compare_hosts(const void *a, const void *b)
{
    return strcmp(((const struct rank_place *)a)->host, ((const struct rank_place *)b)->host);
}

static int compare_devices(const void *a, const void *b)
{
    return strcmp(((const struct rank_place *)a)->device, ((const struct rank_place *)b)->device);
}

/* Ranks in a row that run on the same as the first of them. */
static int run_length(const struct rank_place *places, int count,
                      int (*compare)(const void *, const void *))
{
    int length = 1;
    while (length < count && compare(places, places + length) == 0) {
        length++;
    }
    return length;
}

/* How many hosts there are, and "node17 (4 ranks), node18 (4) and 6 more" appended. */
static status describe_hosts(struct rank_place *places, int count, int *hosts, struct buffer *out)
{
    enum { SHOWN = 8 };
    *hosts = 0;
    qsort(places, (size_t)count, sizeof *places, compare_hosts);
    for (int i = 0, same; i < count; i += same, ++*hosts) {
        same = run_length(places + i, count - i, compare_hosts);
        if (*hosts < SHOWN) {
            TRY(buffer_format(out, "%s%s (%d%s)", i > 0 ? ", " : "", places[i].host, same,
                              i > 0       ? ""
                              : same == 1 ? " rank"
                                          : " ranks"));
        }
    }
    return *hosts > SHOWN ? buffer_format(out, " and %d more", *hosts - SHOWN) : STATUS_OK;
}

/* "NVIDIA H200", or "6 ranks on NVIDIA H200, 2 on NVIDIA H100" where they differ. */
static status describe_devices(struct rank_place *places, int count, struct buffer *out)
{
    qsort(places, (size_t)count, sizeof *places, compare_devices);
    for (int i = 0, same; i < count; i += same) {
        same = run_length(places + i, count - i, compare_devices);
        if (same == count) {
            return buffer_append_text(out, places->device);
        }
        TRY(buffer_format(out, "%s%d%s on %s", i > 0 ? ", " : "", same, i > 0 ? "" : " ranks",
                          places[i].device));
    }
    return STATUS_OK;
}

/* A path's last part, without the slashes behind it. */
static status append_name(const char *path, struct buffer *out)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    size_t start = length;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    return buffer_append(out, path + start, length - start);
}

static status describe_model(const struct job *job, const struct model *model,
                             const struct plan *plan, struct buffer *out)
{
    TRY(buffer_append_text(out, "model "));
    TRY(append_name(job->model.path, out));
    return buffer_format(out, " (%s): computes in %s, weights %s, KV cache %s",
                         model_config(model)->family, dtype_name(plan->compute),
                         weight_format_name(plan->stored), dtype_name(plan->kv_dtype));
}

static status describe_data(const struct job *job, int64_t rows, struct buffer *out)
{
    TRY(buffer_format(out, "data %s", job->data.input.text));
    int64_t limit = job->data.limit;
    if (rows >= 0 && (limit < 0 || rows <= limit)) {
        return buffer_format(out, ", %lld rows", (long long)rows);
    }
    return limit < 0 ? STATUS_OK
                     : buffer_format(out, ", %s%lld rows", rows >= 0 ? "the first " : "at most ",
                                     (long long)limit);
}

/* The end of a line of the block. */
static status end_line(status s, struct buffer *line)
{
    if (s == STATUS_OK) {
        log_write(LOG_INFO, "%s", line->data);
    }
    buffer_clear(line);
    return s;
}

static status describe_ranks(const struct plan *plan, int hosts, struct rank_place *places,
                             struct buffer *out)
{
    TRY(buffer_format(out, "%d %s on %d %s (dp %d x tp %d x pp %d), %s: ", plan->ranks,
                      plan->ranks == 1 ? "rank" : "ranks", hosts, hosts == 1 ? "host" : "hosts",
                      plan->dp, plan->tp, plan->pp, plan->kind->name));
    return describe_devices(places, plan->ranks, out);
}

static status log_job(const struct job *job, const struct model *model, const struct plan *plan,
                      int64_t rows, struct rank_place *places, struct buffer *line)
{
    struct buffer hosts = {0};
    int host_count;
    status s = describe_hosts(places, plan->ranks, &host_count, &hosts);
    char now[21];
    clock_timestamp(now);
    if (s == STATUS_OK) {
        s = end_line(describe_ranks(plan, host_count, places, line), line);
    }
    if (s == STATUS_OK) {
        log_write(LOG_INFO, "hosts %s; it is %s", hosts.data, now);
    }
    buffer_destroy(&hosts);
    TRY(s);
    TRY(end_line(describe_model(job, model, plan, line), line));
    return end_line(describe_data(job, rows, line), line);
}

/* The processors' model where the system tells it in these words (x86). */
static void read_processor(char name[64])
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = sscanf(line, "model name : %63[^\n]", name) == 1;
    }
    if (file != NULL) {
        fclose(file);
    }
}

static status find_place(const struct plan *plan, struct rank_place *out)
{
    struct device_facts facts;
    TRY(backend_device_facts(plan->kind->name, plan->device_index, &facts));
    snprintf(out->host, sizeof out->host, "%s", world_get()->host);
    snprintf(out->device, sizeof out->device, "%s", facts.name);
    if (facts.address[0] == '\0') {
        read_processor(out->device);
    }
    return STATUS_OK;
}

status start_line_log(const struct job *job, const struct model *model, const struct plan *plan,
                      int64_t rows)
{
    const struct world *world = world_get();
    struct rank_place place = {0}, *places = NULL;
    TRY(run_agree(find_place(plan, &place)));
    status s = STATUS_OK;
    if (world->rank == 0) {
        places = calloc((size_t)world->size, sizeof *places);
        s = places != NULL ? STATUS_OK
                           : status_fail(STATUS_NO_MEMORY, "out of memory for the list of ranks");
    }
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Gather(&place, sizeof place, MPI_BYTE, places, sizeof place, MPI_BYTE, 0,
                                 MPI_COMM_WORLD),
                      "gather devices");
    }
    if (s == STATUS_OK && world->rank == 0) {
        struct buffer line = {0};
        s = log_job(job, model, plan, rows, places, &line);
        buffer_destroy(&line);
    }
    free(places);
    return run_agree(s);
}
