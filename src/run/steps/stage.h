/* SPDX-License-Identifier: Apache-2.0 */
/* One rank's part of a replica, ready to run steps: model facts, partition, backend, weights, KV
 * cache, forward pass. */
#ifndef SLUICE_RUN_STEPS_STAGE_H
#define SLUICE_RUN_STEPS_STAGE_H

#include <mpi.h>

#include "sluice/comm.h"
#include "sluice/job.h"
#include "sluice/model.h"

struct stage {
    const struct plan *plan;
    struct model *model; /* borrowed */
    struct partition partition;
    struct backend *backend;
    struct model_weights *weights;
    struct kv_cache *cache;
    struct communicator *tensor, *pipeline; /* NULL where of size 1 */
    struct forward *forward;
    struct pooler *pooler; /* the leader's, where the model pools */
    double load_seconds;
    double stagger; /* seconds; see stage_note_steps */
};

/* Loads rank `tp_rank` of `tp` at stage `pp_rank` of `pp` as the plan says. `replica`: the
 * replica's ranks in the order stage · tp + tensor rank, or MPI_COMM_NULL for one rank without MPI.
 * Collective over the world, but for what follows the communicators: the caller agrees on the
 * outcome. Ends with stage_destroy, also after a failure. */
status stage_create(const struct plan *plan, struct model *model, MPI_Comm replica,
                    int replica_rank, struct stage *stage) MUST_CHECK;
/* What its forward pass is made of, for another one over the same weights and cache; borrows from
 * the stage. */
struct forward_options stage_forward_options(const struct stage *stage);
/* Whether this rank leads its replica: tensor rank 0 of the last stage, where the logits are. */
bool stage_is_leader(const struct stage *stage);
/* Tells the communicators, after this rank's step number `steps`, how long they may wait for the
 * other ranks. */
void stage_note_steps(struct stage *stage, int64_t steps);
void stage_destroy(struct stage *stage);

#endif
