/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of this host that a process may still take. */
#ifndef SLUICE_JOB_HOST_MEMORY_H
#define SLUICE_JOB_HOST_MEMORY_H

#include <stdint.h>

/* Bytes: what the kernel calls available, or what is left of the control group's limit where that
 * is less; 0 where the system does not tell. */
int64_t host_memory_available(void);

#endif
