/* SPDX-License-Identifier: Apache-2.0 */
/* NUMA nodes of devices and ranks, from sysfs and the affinity mask. */
#include "run/ranks/near_device.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sysfs ---- */

/* The first line of a file, without its end; false where it cannot be read. */
static bool read_line(const char *path, char *out, int size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool read = fgets(out, size, file) != NULL;
    fclose(file);
    if (read) {
        out[strcspn(out, "\n")] = '\0';
    }
    return read;
}

/* "0-3,8" as a set; false where the text is none, or names what no set holds. */
static bool parse_list(const char *text, cpu_set_t *out)
{
    CPU_ZERO(out);
    while (*text != '\0') {
        char *end;
        const long first = strtol(text, &end, 10);
        long last = first;
        if (end == text) {
            return false;
        }
        if (*end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
            if (end == text) {
                return false;
            }
        }
        if (first < 0 || last < first || last >= CPU_SETSIZE || (*end != '\0' && *end != ',')) {
            return false;
        }
        for (long i = first; i <= last; i++) {
            CPU_SET((int)i, out);
        }
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

static bool read_list(const char *path, cpu_set_t *out)
{
    char line[4096];
    return read_line(path, line, sizeof line) && parse_list(line, out);
}

/* The processors of a node that this thread may use; false where there are none. */
static bool allowed_of_node(const char *sys, int node, cpu_set_t *out)
{
    char path[512];
    cpu_set_t own;
    snprintf(path, sizeof path, "%s/devices/system/node/node%d/cpulist", sys, node);
    if (sched_getaffinity(0, sizeof own, &own) != 0 || !read_list(path, out)) {
        return false;
    }
    CPU_AND(out, out, &own);
    return CPU_COUNT(out) > 0;
}

int near_device_node(const char *sys, const char *address)
{
    char path[512], line[32], *end;
    int length = snprintf(path, sizeof path, "%s/bus/pci/devices/", sys);
    for (; *address != '\0' && length < (int)sizeof path - 16; address++) {
        path[length++] = (char)tolower((unsigned char)*address);
    }
    snprintf(path + length, sizeof path - (size_t)length, "/numa_node");
    if (!read_line(path, line, sizeof line)) {
        return NEAR_ANYWHERE;
    }
    const long node = strtol(line, &end, 10);
    return end != line && node >= 0 && node < CPU_SETSIZE ? (int)node : NEAR_ANYWHERE;
}

int near_own_node(const char *sys)
{
    char path[512];
    cpu_set_t nodes, allowed;
    int own = NEAR_ANYWHERE;
    snprintf(path, sizeof path, "%s/devices/system/node/online", sys);
    if (!read_list(path, &nodes)) {
        return NEAR_ANYWHERE;
    }
    for (int node = 0; node < CPU_SETSIZE; node++) {
        if (CPU_ISSET(node, &nodes) && allowed_of_node(sys, node, &allowed)) {
            if (own != NEAR_ANYWHERE) {
                return NEAR_ANYWHERE;
            }
            own = node;
        }
    }
    return own;
}

bool near_stay(const char *sys, int node)
{
    cpu_set_t allowed;
    return node != NEAR_ANYWHERE && allowed_of_node(sys, node, &allowed) &&
           sched_setaffinity(0, sizeof allowed, &allowed) == 0;
}

/* ---- Who takes which ---- */

/* Whether one of the first `ranks` has it. */
static bool is_taken(const int *out, int ranks, int device)
{
    for (int i = 0; i < ranks; i++) {
        if (out[i] == device) {
            return true;
        }
    }
    return false;
}

/* The first free device, of `node` or, NEAR_ANYWHERE, of any; -1 where there is none. */
static int find_free(const int *device_nodes, int devices, int node, const int *out, int ranks)
{
    for (int device = 0; device < devices; device++) {
        if ((node == NEAR_ANYWHERE || device_nodes[device] == node) &&
            !is_taken(out, ranks, device)) {
            return device;
        }
    }
    return -1;
}

void near_devices_assign(const int *rank_nodes, int ranks, const int *device_nodes, int devices,
                         int *out)
{
    for (int i = 0; i < ranks; i++) {
        out[i] = ranks > devices ? i % devices : -1;
    }
    for (int i = 0; i < ranks && ranks <= devices; i++) {
        if (rank_nodes[i] != NEAR_ANYWHERE) {
            out[i] = find_free(device_nodes, devices, rank_nodes[i], out, ranks);
        }
    }
    for (int i = 0; i < ranks; i++) {
        if (out[i] < 0) {
            out[i] = find_free(device_nodes, devices, NEAR_ANYWHERE, out, ranks);
        }
    }
}
