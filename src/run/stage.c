/* One rank's part of a replica. */
#include "run/stage.h"

#include "comm/comm_mpi.h"

/* Ranks of one stage form the tensor-parallel group; ranks of one tensor index form the pipeline.
 */
static status create_communicators(struct stage *stage, MPI_Comm replica, int replica_rank)
{
    int tp = stage->plan->tp, pp = stage->plan->pp;
    int tp_rank = replica_rank % tp, pp_rank = replica_rank / tp;
    MPI_Comm group;
    if (tp > 1) {
        TRY(mpi_check(MPI_Comm_split(replica, pp_rank, tp_rank, &group), "group a stage's ranks"));
        status s = comm_mpi_create(group, stage->backend, &stage->tensor);
        MPI_Comm_free(&group);
        TRY(s);
    }
    if (pp > 1) {
        TRY(mpi_check(MPI_Comm_split(replica, tp_rank, pp_rank, &group),
                      "group a pipeline's ranks"));
        status s = comm_mpi_create(group, stage->backend, &stage->pipeline);
        MPI_Comm_free(&group);
        TRY(s);
    }
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
                                      .max_sequences = plan->max_sequences};
    TRY(backend_create(plan->device, &backend, &stage->backend));
    TRY(create_communicators(stage, replica, replica_rank));
    double start = clock_seconds();
    TRY(plan->random_weights
            ? model_load_random(config, &stage->partition, stage->backend, plan->stored, 0,
                                &stage->weights)
            : model_load(model, &stage->partition, stage->backend, plan->stored, &stage->weights));
    stage->load_seconds = clock_seconds() - start;
    TRY(stage->backend->operations->kv_create(
        stage->backend, stage->partition.layer_count, stage->partition.kv_head_count,
        config->head_dim, plan->kv_block_tokens, plan->kv_blocks, plan->kv_dtype, &stage->cache));
    struct forward_options forward = {.config = config,
                                      .partition = &stage->partition,
                                      .weights = stage->weights,
                                      .backend = stage->backend,
                                      .cache = stage->cache,
                                      .tensor = stage->tensor,
                                      .pipeline = stage->pipeline,
                                      .max_tokens = plan->max_batch_tokens,
                                      .max_outputs = plan->max_sequences,
                                      .max_model_len = plan->max_model_len};
    return forward_create(&forward, &stage->forward);
}

void stage_destroy(struct stage *stage)
{
    if (stage->forward != NULL) {
        forward_destroy(stage->forward);
    }
    if (stage->cache != NULL) {
        stage->backend->operations->kv_destroy(stage->backend, stage->cache);
    }
    if (stage->weights != NULL) {
        model_weights_destroy(stage->weights, &stage->partition, stage->backend);
    }
    if (stage->tensor != NULL) {
        stage->tensor->destroy(stage->tensor);
    }
    if (stage->pipeline != NULL) {
        stage->pipeline->destroy(stage->pipeline);
    }
    if (stage->backend != NULL) {
        stage->backend->operations->destroy(stage->backend);
    }
    partition_destroy(&stage->partition);
    *stage = (struct stage){0};
}
