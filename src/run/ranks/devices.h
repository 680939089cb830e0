/* SPDX-License-Identifier: Apache-2.0 */
/* Which device each rank takes, and the plan that follows. */
#ifndef SLUICE_RUN_DEVICES_H
#define SLUICE_RUN_DEVICES_H

#include "sluice/job.h"

/* This rank's device, on rank 0 with what a plan for all ranks may count on. A rank that runs on
 * one NUMA node takes a GPU there, else GPUs of a host go around its ranks in their order (see
 * near_devices_assign); a rank that may run anywhere stays on its GPU's node from here on. Ranks
 * that share a GPU share its memory, with a warning. Where the
 * job leaves it to auto, all ranks take GPUs or none. Collective over the world; all ranks fail or
 * none. */
status devices_choose(const struct job *job, struct plan_device *out) MUST_CHECK;

/* The plan for all ranks of the world on the devices that they take: rank 0 makes it, so that no
 * two ranks can come to different ones; `device_index` is each rank's own. Collective
 * over the world; all ranks fail or none. */
status devices_plan(const struct job *job, const struct model *model, struct plan *out) MUST_CHECK;

/* Refuses devices whose results have different bits (plan->arithmetic of each rank): within a
 * replica always, between replicas unless `keep_mixed`. Collective over the world; all ranks fail
 * or none. */
status devices_compare(const struct plan *plan, bool keep_mixed) MUST_CHECK;

#endif
