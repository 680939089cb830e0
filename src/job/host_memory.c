/* SPDX-License-Identifier: Apache-2.0 */
/* Available memory: /proc/meminfo, bounded by the cgroup (v2, then v1) that batch systems put jobs
 * in. */
#include "job/host_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sluice/base.h"

enum { SMALL_FILE = 64 << 10 };

/* The number behind `key` at the start of a line of the file; with an empty key the file's first
 * number. -1 where there is none, as in a limit of "max". */
static int64_t read_number(const char *path, const char *key)
{
    char text[SMALL_FILE];
    FILE *file = fopen(path, "re"); /* the files of /proc have no size to read by */
    if (file == NULL) {
        return -1;
    }
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, strlen(key)) == 0) {
            char *end;
            const char *digits = line + strlen(key);
            long long number = strtoll(digits, &end, 10);
            return end != digits && number >= 0 ? number : -1;
        }
    }
    return -1;
}

/* What is left under a limit: page cache that the kernel can drop counts as free. */
static int64_t left_under_limit(const char *limit_path, const char *usage_path,
                                const char *stat_path, const char *cache_key)
{
    int64_t limit = read_number(limit_path, "");
    int64_t usage = read_number(usage_path, "");
    int64_t cache = read_number(stat_path, cache_key);
    if (limit < 0 || usage < 0) {
        return -1;
    }
    int64_t used = usage - (cache > 0 ? cache : 0);
    return used > limit ? 0 : limit - used;
}

/* The folder of this process's own group below `root`; the root itself in most containers. */
static void own_group(const char *controller, const char *root, char *path, size_t size)
{
    char text[4096];
    snprintf(path, size, "%s", root);
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) {
        return;
    }
    while (fgets(text, sizeof text, file) != NULL) {
        char *name = strchr(text, ':');
        char *group = name != NULL ? strchr(name + 1, ':') : NULL;
        if (group == NULL) {
            continue;
        }
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        char probe[4600];
        snprintf(probe, sizeof probe, "%s%s", root, group);
        if (strcmp(name + 1, controller) == 0 && access(probe, R_OK) == 0) {
            snprintf(path, size, "%s", probe);
        }
    }
    fclose(file);
}

int64_t host_memory_available(void)
{
    static const struct {
        const char *controller, *root, *limit, *usage, *cache;
    } versions[] = {
        {"", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "},
        {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
         "total_inactive_file "},
    };
    int64_t kilobytes = read_number("/proc/meminfo", "MemAvailable:");
    int64_t available = kilobytes > 0 ? kilobytes * 1024 : 0;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        char group[4608], limit[4700], usage[4700], stat[4700];
        own_group(versions[i].controller, versions[i].root, group, sizeof group);
        snprintf(limit, sizeof limit, "%s/%s", group, versions[i].limit);
        snprintf(usage, sizeof usage, "%s/%s", group, versions[i].usage);
        snprintf(stat, sizeof stat, "%s/memory.stat", group);
        int64_t left = left_under_limit(limit, usage, stat, versions[i].cache);
        if (left >= 0 && (available == 0 || left < available)) {
            available = left;
        }
    }
    return available;
}
