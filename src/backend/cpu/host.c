/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend asks of its host: memory, processors, a name. */
#include <omp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/cpu/cpu.h"

enum {
    ALIGNMENT = 64,
    MAPPED_BYTES = 4 << 20, /* from here on regions are mapped, in huge pages where the host can */
    CHECKED_BYTES = 64 << 20, /* from here on held against the free memory before */
};

status cpu_region_create(struct cpu_region *region, size_t bytes, const char *what)
{
    *region = (struct cpu_region){0};
    if (bytes > SIZE_MAX / 2) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for %zu bytes", what, bytes);
    }
    if (bytes >= CHECKED_BYTES) {
        int64_t total_bytes = 0, free_bytes = 0;
        TRY(cpu_host_memory(&total_bytes, &free_bytes));
        if (bytes > (uint64_t)free_bytes) {
            return status_fail(STATUS_NO_MEMORY, "%s: %.1f GiB of host memory, %.1f GiB are free",
                               what, (double)bytes / (1 << 30), (double)free_bytes / (1 << 30));
        }
    }
    if (bytes >= MAPPED_BYTES) {
        void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data != MAP_FAILED) {
            region->data = data;
            (void)madvise(data, bytes, MADV_HUGEPAGE); /* a wish */
        }
    } else {
        size_t rounded = (bytes + ALIGNMENT) & ~(size_t)(ALIGNMENT - 1);
        region->data = aligned_alloc(ALIGNMENT, rounded);
        if (region->data != NULL) {
            memset(region->data, 0, rounded);
        }
    }
    if (region->data == NULL) {
        return status_fail(STATUS_NO_MEMORY, "%s: out of memory for %zu bytes", what, bytes);
    }
    region->bytes = bytes;
    return STATUS_OK;
}

void cpu_region_destroy(struct cpu_region *region)
{
    if (region->bytes >= MAPPED_BYTES) {
        munmap(region->data, region->bytes);
    } else {
        free(region->data);
    }
    *region = (struct cpu_region){0};
}

status cpu_region_grow(struct cpu_region *region, size_t bytes, const char *what)
{
    if (region->data != NULL && region->bytes >= bytes) {
        return STATUS_OK;
    }
    cpu_region_destroy(region);
    return cpu_region_create(region, bytes, what);
}

status cpu_size(size_t *bytes, const char *what, int count, ...)
{
    size_t product = 1;
    bool overflow = false;
    va_list sizes;
    va_start(sizes, count);
    for (int i = 0; i < count; i++) {
        overflow |= __builtin_mul_overflow(product, va_arg(sizes, size_t), &product);
    }
    va_end(sizes);
    if (overflow || product > INT64_MAX) {
        return status_fail(STATUS_LIMIT, "%s: more bytes than can be addressed", what);
    }
    *bytes = product;
    return STATUS_OK;
}

/* ---- Memory ---- */

/* A file of the host's, looked for below `root`. */
static FILE *open_below(const char *root, const char *path)
{
    char whole[1400];
    const int length = snprintf(whole, sizeof whole, "%s%s", root, path);
    return length < (int)sizeof whole ? fopen(whole, "r") : NULL;
}

/* The number after `key` in a file of "key value" lines (key "": the file's first number), or -1.
 */
static int64_t number_in_file(const char *root, const char *path, const char *key)
{
    FILE *file = open_below(root, path);
    if (file == NULL) {
        return -1;
    }
    int64_t value = -1;
    char line[512];
    const size_t length = strlen(key);
    while (fgets(line, sizeof line, file) != NULL) {
        long long number;
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%lld", &number) == 1) {
            value = number;
            break;
        }
    }
    fclose(file);
    return value;
}

/* A control group's limit and what it leaves; file cache that can be dropped counts as free. */
static void apply_group(const char *root, const char *directory, const char *limit_file,
                        const char *usage_file, const char *cache_key, int64_t *total_bytes,
                        int64_t *free_bytes)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", directory, limit_file);
    const int64_t limit = number_in_file(root, path, "");
    snprintf(path, sizeof path, "%s/%s", directory, usage_file);
    const int64_t usage = number_in_file(root, path, "");
    if (limit < 0 || usage < 0) {
        return;
    }
    snprintf(path, sizeof path, "%s/memory.stat", directory);
    const int64_t cache = number_in_file(root, path, cache_key);
    const int64_t left = limit - usage + (cache > 0 ? cache : 0);
    *total_bytes = limit < *total_bytes ? limit : *total_bytes;
    *free_bytes = left < *free_bytes ? left : *free_bytes;
}

/* The groups named in /proc/self/cgroup and all above them: "0::/path" is version 2,
 * "5:memory:/path" version 1. */
static void apply_groups(const char *root, int64_t *total_bytes, int64_t *free_bytes)
{
    FILE *file = open_below(root, "/proc/self/cgroup");
    if (file == NULL) {
        return;
    }
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *name = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (name == NULL) {
            continue;
        }
        *name++ = '\0';
        const bool unified = strcmp(controllers + 1, "") == 0;
        if (!unified && strcmp(controllers + 1, "memory") != 0) {
            continue;
        }
        for (;;) {
            char directory[1024];
            snprintf(directory, sizeof directory, "/sys/fs/cgroup%s%s", unified ? "" : "/memory",
                     name);
            if (unified) {
                apply_group(root, directory, "memory.max", "memory.current", "inactive_file ",
                            total_bytes, free_bytes);
            } else {
                apply_group(root, directory, "memory.limit_in_bytes", "memory.usage_in_bytes",
                            "total_inactive_file ", total_bytes, free_bytes);
            }
            char *slash = strrchr(name, '/');
            if (slash == NULL) {
                break;
            }
            *slash = '\0';
        }
    }
    fclose(file);
}

status cpu_host_memory_below(const char *root, int64_t *total_bytes, int64_t *free_bytes)
{
    int64_t total = number_in_file(root, "/proc/meminfo", "MemTotal:");
    int64_t available = number_in_file(root, "/proc/meminfo", "MemAvailable:");
    if (total < 0 || available < 0) {
        return status_fail(STATUS_IO, "/proc/meminfo: no MemTotal and MemAvailable");
    }
    *total_bytes = total * 1024;
    *free_bytes = available * 1024;
    apply_groups(root, total_bytes, free_bytes);
    *free_bytes = *free_bytes > 0 ? *free_bytes : 0;
    return STATUS_OK;
}

status cpu_host_memory(int64_t *total_bytes, int64_t *free_bytes)
{
    return cpu_host_memory_below("", total_bytes, free_bytes);
}

/* ---- Processors ---- */

/* A positive number in the environment, or 0. */
static int environment_number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    const long value = text != NULL ? strtol(text, &end, 10) : 0;
    return value > 0 && value < 1 << 20 ? (int)value : 0;
}

/* Processors' worth of time that the control group grants ("max 100000", "200000 100000"), or 0. */
static int quota_processors(const char *root)
{
    FILE *file = open_below(root, "/sys/fs/cgroup/cpu.max");
    if (file == NULL) {
        return 0;
    }
    long long quota = 0, period = 0;
    const bool limited = fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0;
    fclose(file);
    const long long processors = limited ? (quota + period - 1) / period : 0;
    return processors < 1 << 20 ? (int)processors : 0;
}

/* Of `processors`, those that the launcher's other ranks on this host leave. */
static int without_ranks(int processors)
{
    static const char *const local_ranks[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                              "PMI_LOCAL_SIZE"};
    for (size_t i = 0; i < COUNT_OF(local_ranks); i++) {
        const int ranks = environment_number(local_ranks[i]);
        if (ranks > 0) {
            return processors / ranks;
        }
    }
    return processors;
}

int cpu_host_share(const char *root, int processors, bool bound)
{
    const int quota = quota_processors(root);
    int share = quota > 0 && quota < processors ? quota : processors;
    share = bound ? share : without_ranks(share);
    return share > 0 ? share : 1;
}

int cpu_host_threads(void)
{
    if (environment_number("OMP_NUM_THREADS") > 0) {
        return omp_get_max_threads();
    }
    const int processors = omp_get_num_procs(); /* those of the affinity mask */
    return cpu_host_share("", processors, processors < sysconf(_SC_NPROCESSORS_ONLN));
}

void cpu_host_name_below(const char *root, char *name, size_t size)
{
    snprintf(name, size, "CPU");
    FILE *file = open_below(root, "/proc/cpuinfo");
    if (file == NULL) {
        return;
    }
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strstr(line, ": ") : NULL;
        if (value != NULL) {
            snprintf(name, size, "%s", value + 2);
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    }
    fclose(file);
}

void cpu_host_name(char *name, size_t size)
{
    cpu_host_name_below("", name, size);
}
