/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a host's devices is near which of its ranks: on a host of several NUMA nodes a device
 * hangs on one of them, and a rank that runs on another reaches it through the link between. */
#ifndef SLUICE_RUN_NEAR_DEVICE_H
#define SLUICE_RUN_NEAR_DEVICE_H

#include "sluice/base.h"

enum { NEAR_ANYWHERE = -1 }; /* in place of a NUMA node's number: unknown, or several */

/* `sys`: where sysfs is, "/sys" everywhere but in tests. Its files are those of Linux,
 * Documentation/ABI: sysfs-devices-node and sysfs-bus-pci. */

/* The NUMA node of the PCI device at `address`, such as "0000:1B:00.0". */
int near_device_node(const char *sys, const char *address);
/* The one node on whose processors this thread may run. */
int near_own_node(const char *sys);
/* Keeps this thread, and threads that it starts from here on, to the processors of `node` among
 * those that it may use. false: nothing was changed, since there are none or it may not. */
bool near_stay(const char *sys, int node);

/* The device of each of a host's ranks, in out[ranks]: a rank that runs on one node takes the first
 * free device there, and those that find none, or may run anywhere, take what is left, in order.
 * Where ranks outnumber devices, devices go around the ranks in order. Depends on nothing but its
 * arguments: all ranks of a host come to the same. `devices` is at least 1. */
void near_devices_assign(const int *rank_nodes, int ranks, const int *device_nodes, int devices,
                         int *out);

#endif
