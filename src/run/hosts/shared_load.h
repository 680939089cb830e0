/* SPDX-License-Identifier: Apache-2.0 */
/* Loading with one read a host. */
#ifndef SLUICE_RUN_SHARED_LOAD_H
#define SLUICE_RUN_SHARED_LOAD_H

#include "run/hosts/host_memory.h"
#include "sluice/model.h"

/* Until shared_load_end, reads of the model's weights go through memory that this host's ranks
 * share, where there is room for it. Both are collective over the world; all ranks fail or none. */
status shared_load_begin(struct model *model, struct host_memory *memory) MUST_CHECK;
status shared_load_end(struct model *model, struct host_memory *memory) MUST_CHECK;

#endif
