/* SPDX-License-Identifier: Apache-2.0 */
/* One rank's part of a replica. */
#include "run/steps/stage.h"

#include <stdio.h>

#include "run/hosts/shared_load.h"
#include "run/ranks/world.h"
#include "sluice/comm_create.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

/* Seconds that a rank waits for the others before it calls them stuck: somewhat more than a host
 * may be silent, so that one that is lost is named as such. In the first steps a GPU's ranks choose
 * the algorithms of their products, stage after stage, which may take minutes. Ranks lose patience
 * one after the other, so that the first to do so ends the job, with one message. */
static const double AFTER_SILENCE = 10, FIRST_PATIENCE = 900, STAGGER = 0.5, FOREVER = 1e9;
enum { FIRST_STEPS = 64 };

static double patience_of(const struct stage *stage, int64_t steps)
{
    const double limit = stage->plan->silence_limit;
    const double usual = limit < 0 ? FOREVER : limit + AFTER_SILENCE;
    return stage->stagger +
           (steps < FIRST_STEPS && usual < FIRST_PATIENCE ? FIRST_PATIENCE : usual);
}

/* All ranks fail or none, so that nobody waits in MPI for one that has given up. */
static status agree(MPI_Comm replica, status own)
{
    return replica == MPI_COMM_NULL ? own : run_agree(own);
}

static status is_within_host(MPI_Comm group, bool *within)
{
    int ends[] = {world_get()->host_leader, -world_get()->host_leader};
    TRY(mpi_check(MPI_Allreduce(MPI_IN_PLACE, ends, 2, MPI_INT, MPI_MIN, group), "compare hosts"));
    *within = ends[0] == -ends[1];
    return STATUS_OK;
}

/* The slowest way from any rank's device to the next rank's, of a group on one host. */
static status find_link(MPI_Comm group, const struct stage *stage, const char *address,
                        enum device_link *out)
{
    enum { BYTES = sizeof((struct device_facts *)NULL)->address, TAG = 1 };
    char own[BYTES], next[BYTES];
    int rank, size;
    snprintf(own, sizeof own, "%s", address);
    MPI_Comm_rank(group, &rank);
    MPI_Comm_size(group, &size);
    TRY(mpi_check(MPI_Sendrecv(own, BYTES, MPI_BYTE, (rank + size - 1) % size, TAG, next, BYTES,
                               MPI_BYTE, (rank + 1) % size, TAG, group, MPI_STATUS_IGNORE),
                  "compare devices"));
    int link = (int)backend_kind_link(stage->plan->kind, stage->plan->device_index, next);
    TRY(mpi_check(MPI_Allreduce(MPI_IN_PLACE, &link, 1, MPI_INT, MPI_MIN, group),
                  "compare devices"));
    *out = (enum device_link)link;
    return STATUS_OK;
}

static status create_communicator(const struct stage *stage, MPI_Comm replica, int color, int key,
                                  const struct comm_options *options, struct communicator **out)
{
    MPI_Comm group;
    TRY(mpi_check(MPI_Comm_split(replica, color, key, &group), "group a replica's ranks"));
    bool within = false;
    enum device_link link = DEVICE_LINK_UNKNOWN;
    status s = is_within_host(group, &within);
    if (s == STATUS_OK && within) {
        s = find_link(group, stage, options->device_address, &link);
    }
    if (s == STATUS_OK) {
        s = comm_create(group, stage->backend, options, out);
    }
    MPI_Comm_free(&group);
    if (s == STATUS_OK && world_get()->rank == 0) {
        log_write(LOG_INFO, "%s over %s%s",
                  options->use == COMM_TENSOR ? "tensor parallelism" : "pipeline", (*out)->name,
                  within ? backend_link_text(link) : ", across hosts");
    }
    return s;
}

/* Ranks of one stage form the tensor-parallel group; ranks of one tensor index form the pipeline.
 */
static status create_communicators(struct stage *stage, MPI_Comm replica, int replica_rank)
{
    const struct plan *plan = stage->plan;
    const int tp_rank = replica_rank % plan->tp, pp_rank = replica_rank / plan->tp;
    if (plan->tp * plan->pp == 1) {
        return STATUS_OK;
    }
    struct device_facts device;
    TRY(agree(replica, backend_device_facts(plan->kind->name, plan->device_index, &device)));
    const struct step_shape shape =
        plan_step_shape(plan, model_config(stage->model), &stage->partition);
    stage->stagger = STAGGER * replica_rank;
    struct comm_options options = {.use = COMM_TENSOR,
                                   .largest_bytes = comm_largest_send(&shape),
                                   .device_address = device.address,
                                   .patience = patience_of(stage, 0)};
    if (plan->tp > 1) {
        TRY(agree(replica,
                  create_communicator(stage, replica, pp_rank, tp_rank, &options, &stage->tensor)));
    }
    if (plan->pp > 1) {
        options.use = COMM_PIPELINE;
        TRY(agree(replica, create_communicator(stage, replica, tp_rank, pp_rank, &options,
                                               &stage->pipeline)));
    }
    return STATUS_OK;
}

bool stage_is_leader(const struct stage *stage)
{
    return stage->partition.tp_rank == 0 && stage->partition.pp_rank + 1 == stage->partition.pp;
}

void stage_note_steps(struct stage *stage, int64_t steps)
{
    const double patience = patience_of(stage, steps);
    if (stage->tensor != NULL) {
        stage->tensor->patience = patience;
    }
    if (stage->pipeline != NULL) {
        stage->pipeline->patience = patience;
    }
}

struct forward_options stage_forward_options(const struct stage *stage)
{
    const struct plan *plan = stage->plan;
    return (struct forward_options){.config = model_config(stage->model),
                                    .partition = &stage->partition,
                                    .weights = stage->weights,
                                    .backend = stage->backend,
                                    .cache = stage->cache,
                                    .tensor = stage->tensor,
                                    .pipeline = stage->pipeline,
                                    .max_tokens = plan->max_batch_tokens,
                                    .max_outputs = plan->max_sequences,
                                    .max_model_len = plan->max_model_len};
}

/* From the files, alone or together with the host's other ranks. */
static status load_model(struct stage *stage, MPI_Comm replica)
{
    const struct plan *plan = stage->plan;
    struct host_memory memory;
    if (!plan->share_reads || replica == MPI_COMM_NULL) {
        return model_load(stage->model, &stage->partition, stage->backend, plan->stored,
                          &stage->weights);
    }
    TRY(shared_load_begin(stage->model, &memory));
    const status s =
        model_load(stage->model, &stage->partition, stage->backend, plan->stored, &stage->weights);
    const status ended = shared_load_end(stage->model, &memory); /* keeps the message */
    return s != STATUS_OK ? s : ended;
}

static status load_weights(struct stage *stage, MPI_Comm replica)
{
    const struct plan *plan = stage->plan;
    const double start = clock_seconds();
    TRY(plan->random_weights ? model_load_random(model_config(stage->model), &stage->partition,
                                                 stage->backend, plan->stored, 0, &stage->weights)
                             : load_model(stage, replica));
    stage->load_seconds = clock_seconds() - start;
    return STATUS_OK;
}

status stage_create(const struct plan *plan, struct model *model, MPI_Comm replica,
                    int replica_rank, struct stage *stage)
{
    *stage = (struct stage){.plan = plan, .model = model};
    const struct model_config *config = model_config(model);
    TRY(partition_create(config, plan->tp, replica_rank % plan->tp, plan->pp,
                         replica_rank / plan->tp, plan->slices, &stage->partition));
    struct backend_options backend = {.compute = plan->compute,
                                      .max_tokens = plan->max_batch_tokens,
                                      .max_sequences = plan->max_sequences,
                                      .device = plan->device_index,
                                      .is_alone = plan->tp == 1};
    TRY(agree(replica, backend_create(plan->kind->name, &backend, &stage->backend)));
    TRY(create_communicators(stage, replica, replica_rank));
    TRY(load_weights(stage, replica));
    const struct cache_layout cache = partition_cache(&stage->partition, plan->kv_block_tokens,
                                                      plan->kv_dtype, plan->state_places);
    TRY(stage->backend->operations->kv_create(stage->backend, &cache, plan->kv_blocks,
                                              &stage->cache));
    struct forward_options forward = stage_forward_options(stage);
    TRY(forward_create(&forward, &stage->forward));
    return config->pools && stage_is_leader(stage) ? pooler_create(model, &stage->pooler)
                                                   : STATUS_OK;
}

void stage_destroy(struct stage *stage)
{
    /* First: freeing device memory waits for the device, which may wait for a rank that is gone. */
    if (stage->tensor != NULL) {
        stage->tensor->destroy(stage->tensor);
    }
    if (stage->pipeline != NULL) {
        stage->pipeline->destroy(stage->pipeline);
    }
    pooler_destroy(stage->pooler);
    if (stage->forward != NULL) {
        forward_destroy(stage->forward);
    }
    if (stage->cache != NULL) {
        stage->backend->operations->kv_destroy(stage->backend, stage->cache);
    }
    if (stage->weights != NULL) {
        model_weights_destroy(stage->weights, &stage->partition, stage->backend);
    }
    if (stage->backend != NULL) {
        stage->backend->operations->destroy(stage->backend);
    }
    partition_destroy(&stage->partition);
    *stage = (struct stage){0};
}
