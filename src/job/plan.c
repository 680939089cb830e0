/* The plan: types, layout and sizes that the job leaves to auto, decided from the model's shapes
 * and the memory that a rank may use. */
#include <stdio.h>
#include <string.h>

#include "job/host_memory.h"
#include "sluice/job.h"

static const int64_t CPU_KV_BYTES = (int64_t)4 << 30;
/* Of the memory that the system calls available: the rest is for what no plan counts. */
static const double MEMORY_SHARE = 0.9;
/* A layout chosen for memory has room for a sequence of this length at least, where neither the job
 * nor the model asks for less. */
enum { USEFUL_CONTEXT = 4096 };

/* What a layout needs: maxima over the ranks of a replica. */
struct needs {
    int64_t weights, activations;
    int64_t fixed;       /* weights and activations of the rank that has most of both */
    int64_t block_bytes; /* of the rank whose blocks are largest */
    int64_t blocks;      /* that fit beside `fixed` on every rank */
};

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t maximum(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t divide_up(int64_t count, int64_t by)
{
    return (count + by - 1) / by;
}

static double gigabytes(int64_t bytes)
{
    return (double)bytes / 1e9;
}

/* ---- Types ---- */

static status choose_types(const struct job *job, const struct model_config *config,
                           struct plan *plan)
{
    int dtype = job->model.dtype, kv = job->model.kv_dtype;
    if (strcmp(plan->device, "cpu") == 0) {
        if (dtype != -1 && dtype != DTYPE_FLOAT32 && dtype != DTYPE_BFLOAT16) {
            return status_fail(STATUS_UNSUPPORTED,
                               "model.dtype: the CPU backend computes in float32; use auto, "
                               "float32, or bfloat16 for weights rounded to 16 bits");
        }
        if (kv == DTYPE_FLOAT8_E4M3) {
            return status_fail(STATUS_UNSUPPORTED, "model.kv_dtype: fp8 needs a GPU; use auto");
        }
        plan->compute = DTYPE_FLOAT32;
        plan->stored = dtype == -1 ? DTYPE_FLOAT32 : (enum dtype)dtype;
        plan->kv_dtype = kv == -1 ? DTYPE_FLOAT32 : (enum dtype)kv;
        return STATUS_OK;
    }
    enum dtype suggested = config->dtype == DTYPE_FLOAT16 ? DTYPE_FLOAT16 : DTYPE_BFLOAT16;
    plan->stored = dtype == -1 ? suggested : (enum dtype)dtype;
    plan->compute = plan->stored == DTYPE_FLOAT8_E4M3 ? DTYPE_BFLOAT16 : plan->stored;
    plan->kv_dtype = kv == -1 ? plan->compute : (enum dtype)kv;
    return STATUS_OK;
}

/* ---- Sizes ---- */

static int64_t choose(int64_t asked, int64_t otherwise)
{
    return asked == -1 ? otherwise : asked;
}

/* Whether the job asks for what this model is. */
static status check_task(const struct job *job, const struct model_config *config)
{
    if (config->encoder && job->task == TASK_GENERATE) {
        return status_fail(
            STATUS_UNSUPPORTED,
            "task: %s is an encoder: it embeds and does not generate; use task: embed",
            config->architecture);
    }
    if (!config->encoder && job->task == TASK_EMBED) {
        return status_fail(STATUS_UNSUPPORTED,
                           "task: %s generates; embed is for encoders (BERT, RoBERTa)",
                           config->architecture);
    }
    if (config->encoder && job->generate.mode == MODE_SCORE) {
        return status_fail(STATUS_UNSUPPORTED,
                           "generate.mode: score: %s is an encoder, which gives tokens no "
                           "probabilities",
                           config->architecture);
    }
    return STATUS_OK;
}

static status choose_sizes(const struct job *job, const struct model_config *config,
                           struct plan *plan)
{
    bool cpu = strcmp(plan->device, "cpu") == 0;
    int64_t tokens = job->engine.max_batch_tokens, sequences = job->engine.max_sequences;
    sequences = choose(sequences, minimum(cpu ? 64 : 512, choose(tokens, INT32_MAX)));
    tokens = choose(tokens, maximum(cpu ? 512 : 8192, sequences));
    if (tokens < sequences) {
        return status_fail(STATUS_INVALID,
                           "engine.max_batch_tokens: %lld is less than engine.max_sequences, %lld: "
                           "every running sequence takes a token of a step",
                           (long long)tokens, (long long)sequences);
    }
    int64_t longest = choose(job->model.max_model_len, config->max_positions);
    if (config->encoder && tokens < longest) {
        if (job->engine.max_batch_tokens != -1) {
            return status_fail(
                STATUS_INVALID,
                "engine.max_batch_tokens: %lld; an encoder takes whole rows, of up to "
                "%lld tokens (model.max_model_len)",
                (long long)tokens, (long long)longest);
        }
        tokens = longest;
    }
    plan->max_batch_tokens = (int)tokens;
    plan->max_sequences = (int)sequences;
    plan->kv_block_tokens = (int)choose(job->engine.kv_block_tokens, 16);
    int64_t tp = job->layout.tp;
    plan->slices = (int)choose(job->layout.tp_slices, cpu ? 8 : maximum(2, tp));
    if (tp > plan->slices) {
        return status_fail(STATUS_INVALID,
                           "layout.tp: %lld does not divide layout.tp_slices, which is %d",
                           (long long)tp, plan->slices);
    }
    return STATUS_OK;
}

/* ---- Memory ---- */

/* Scratch of a forward pass on this rank, after the buffers that src/model/forward.c keeps: the
 * residual and the sums in float32, the rest in the activation type, logits once for the rank's
 * rows and once gathered. */
static int64_t activation_bytes(const struct plan *plan, const struct model_config *config,
                                const struct partition *partition)
{
    int64_t width = (int64_t)dtype_bytes(plan->compute);
    int64_t tokens = plan->max_batch_tokens, outputs = plan->max_sequences;
    int64_t heads = partition->head_count, kv_heads = partition->kv_head_count;
    int64_t columns = maximum(partition->column_count, (int64_t)partition->expert_column_count *
                                                           maximum(config->experts_used, 1));
    int64_t float_values = 3 * (int64_t)config->hidden;
    int64_t values = config->hidden + (2 * heads + 2 * kv_heads) * config->head_dim + 3 * columns;
    int64_t bytes = tokens * (4 * float_values + width * values);
    if (partition->has_head && !config->encoder) {
        int64_t copies = plan->tp > 1 ? 2 : 1;
        bytes += copies * outputs * 4 * (int64_t)config->vocabulary;
    }
    return bytes + bytes / 8;
}

static status measure(const struct plan *plan, const struct model *model, struct backend *backend,
                      struct needs *out)
{
    const struct model_config *config = model_config(model);
    *out = (struct needs){.blocks = INT32_MAX};
    for (int slot = 0; slot < plan->tp * plan->pp; slot++) {
        struct partition partition;
        TRY(partition_create(config, plan->tp, slot % plan->tp, plan->pp, slot / plan->tp,
                             plan->slices, &partition));
        int64_t weights = model_weight_bytes(model, &partition, backend, plan->stored);
        int64_t activations = activation_bytes(plan, config, &partition);
        int64_t block = backend->operations->kv_block_bytes(
            backend, partition.layer_count, partition.kv_head_count, config->head_dim,
            plan->kv_block_tokens, plan->kv_dtype);
        partition_destroy(&partition);
        int64_t left = plan->memory_bytes - weights - activations;
        out->weights = maximum(out->weights, weights);
        out->activations = maximum(out->activations, activations);
        out->fixed = maximum(out->fixed, weights + activations);
        out->block_bytes = maximum(out->block_bytes, block);
        out->blocks = minimum(out->blocks, left > 0 ? left / maximum(block, 1) : 0);
    }
    return STATUS_OK;
}

/* Tokens that a sequence must have room for before a layout counts as fitting. */
static int64_t needed_context(const struct job *job, const struct model_config *config)
{
    return choose(job->model.max_model_len, minimum(config->max_positions, USEFUL_CONTEXT));
}

/* Whether memory has room for `context` tokens; where not, the message says what is short. */
static status check_fit(const struct job *job, const struct plan *plan, const struct needs *needs,
                        int64_t context)
{
    int64_t blocks = divide_up(context, plan->kv_block_tokens);
    if (needs->fixed > plan->memory_bytes) {
        return status_fail(STATUS_INVALID,
                           "weights take %.2f GB and activations %.2f GB a rank (tp %d, pp %d), "
                           "%.2f GB are there",
                           gigabytes(needs->weights), gigabytes(needs->activations), plan->tp,
                           plan->pp, gigabytes(plan->memory_bytes));
    }
    int64_t asked = job->engine.kv_memory;
    if (asked != -1 && needs->fixed + asked > plan->memory_bytes) {
        return status_fail(STATUS_INVALID,
                           "engine.kv_memory: %.2f GB beside %.2f GB of weights and activations a "
                           "rank (tp %d, pp %d), %.2f GB are there",
                           gigabytes(asked), gigabytes(needs->fixed), plan->tp, plan->pp,
                           gigabytes(plan->memory_bytes));
    }
    if (asked != -1 && asked / maximum(needs->block_bytes, 1) < blocks) {
        return status_fail(STATUS_INVALID,
                           "engine.kv_memory: a sequence of %lld tokens takes %.3f GB a rank (tp "
                           "%d, pp %d), more than the %.3f GB; lower model.max_model_len",
                           (long long)context, gigabytes(blocks * needs->block_bytes), plan->tp,
                           plan->pp, gigabytes(asked));
    }
    if (needs->blocks < blocks) {
        return status_fail(STATUS_INVALID,
                           "a sequence of %lld tokens takes %.2f GB of KV cache a rank (tp %d, pp "
                           "%d), %.2f GB are left beside weights and activations; lower "
                           "model.max_model_len",
                           (long long)context, gigabytes(blocks * needs->block_bytes), plan->tp,
                           plan->pp, gigabytes(plan->memory_bytes - needs->fixed));
    }
    return STATUS_OK;
}

/* ---- Layout ---- */

/* Layouts from the least cut to the most: all tensor parallelism before any pipeline, since stages
 * need several steps in flight to be busy. False past the last. */
static bool next_layout(const struct job *job, const struct model_config *config, struct plan *plan)
{
    int most_tp = (int)choose(job->layout.tp, plan->slices);
    int most_pp = (int)choose(job->layout.pp, config->layers);
    if (plan->tp < most_tp) {
        plan->tp *= 2;
        return true;
    }
    plan->pp++;
    return plan->pp <= most_pp;
}

/* The first layout that fits in memory, whatever the number of ranks: for a message's advice. */
static status advise_layout(const struct job *job, const struct model *model,
                            struct backend *backend, const struct plan *plan, status s)
{
    char why[900];
    snprintf(why, sizeof why, "%s", status_message());
    const struct model_config *config = model_config(model);
    int64_t context = needed_context(job, config);
    struct job free_job = *job; /* borrows the arena */
    free_job.layout.tp = free_job.layout.pp = -1;
    struct plan trial = *plan;
    trial.tp = trial.pp = 1;
    do {
        struct needs needs;
        if (measure(&trial, model, backend, &needs) == STATUS_OK &&
            check_fit(job, &trial, &needs, context) == STATUS_OK) {
            return trial.pp > 1
                       ? status_fail(s, "%s; use tp >= %d with pp >= %d", why, trial.tp, trial.pp)
                       : status_fail(s, "%s; use tp >= %d", why, trial.tp);
        }
    } while (next_layout(&free_job, config, &trial));
    return status_fail(s, "%s; no layout of this model fits", why);
}

/* The least cut layout that divides the ranks and fits in memory. */
static status choose_layout(const struct job *job, const struct model *model,
                            struct backend *backend, struct plan *plan, struct needs *needs)
{
    const struct model_config *config = model_config(model);
    int64_t context = needed_context(job, config);
    plan->tp = (int)choose(job->layout.tp, 1);
    plan->pp = (int)choose(job->layout.pp, 1);
    int first_tp = plan->tp, first_pp = plan->pp;
    status s = STATUS_OK;
    bool divided = false;
    do {
        if (plan->ranks % (plan->tp * plan->pp) != 0) {
            continue;
        }
        divided = true;
        TRY(measure(plan, model, backend, needs));
        s = check_fit(job, plan, needs, context);
        if (s == STATUS_OK) {
            return STATUS_OK;
        }
    } while (next_layout(job, config, plan) && plan->tp * plan->pp <= plan->ranks);
    if (!divided) {
        return status_fail(STATUS_INVALID,
                           "layout: %d ranks cannot be divided into replicas of tp %d x pp %d = %d "
                           "ranks",
                           plan->ranks, first_tp, first_pp, first_tp * first_pp);
    }
    return advise_layout(job, model, backend, plan, s);
}

/* Context length and KV blocks for the chosen layout. */
static void choose_cache(const struct job *job, const struct model_config *config,
                         const struct needs *needs, struct plan *plan)
{
    int64_t block_bytes = maximum(needs->block_bytes, 1);
    int64_t blocks = needs->blocks;
    if (job->engine.kv_memory != -1) {
        blocks = minimum(blocks, job->engine.kv_memory / block_bytes);
    } else if (strcmp(plan->device, "cpu") == 0) {
        int64_t budget = minimum(CPU_KV_BYTES, plan->memory_bytes / 4) / block_bytes;
        int64_t least = divide_up(needed_context(job, config), plan->kv_block_tokens);
        blocks = minimum(blocks, maximum(budget, least));
    }
    plan->max_model_len = (int)choose(
        job->model.max_model_len, minimum(config->max_positions, blocks * plan->kv_block_tokens));
    int64_t useful = plan->max_sequences * divide_up(plan->max_model_len, plan->kv_block_tokens);
    plan->kv_blocks = (int)minimum(blocks, useful);
    plan->kv_bytes = plan->kv_blocks * needs->block_bytes;
    plan->weight_bytes = needs->weights;
    plan->activation_bytes = needs->activations;
}

static status choose_memory(struct backend *backend, int ranks_per_host, int64_t host_memory,
                            struct plan *plan)
{
    int64_t available;
    if (strcmp(plan->device, "cpu") == 0) {
        available = (host_memory > 0 ? host_memory : host_memory_available()) / ranks_per_host;
        if (available == 0) {
            return status_fail(STATUS_IO, "cannot tell how much memory this host has");
        }
    } else {
        int64_t total;
        TRY(backend->operations->memory(backend, &total, &available));
    }
    plan->memory_bytes = (int64_t)((double)available * MEMORY_SHARE);
    return STATUS_OK;
}

static status plan_with_backend(const struct job *job, const struct model *model,
                                int ranks_per_host, int64_t host_memory, struct backend *backend,
                                struct plan *plan)
{
    const struct model_config *config = model_config(model);
    int64_t asked = job->model.max_model_len;
    if (asked > config->max_positions) {
        return status_fail(STATUS_INVALID, "model.max_model_len: %lld; the model has %d positions",
                           (long long)asked, config->max_positions);
    }
    TRY(choose_types(job, config, plan));
    TRY(check_task(job, config));
    TRY(choose_sizes(job, config, plan));
    TRY(choose_memory(backend, ranks_per_host, host_memory, plan));
    struct needs needs;
    TRY(choose_layout(job, model, backend, plan, &needs));
    plan->dp = plan->ranks / (plan->tp * plan->pp);
    choose_cache(job, config, &needs, plan);
    return STATUS_OK;
}

/* "auto" takes a GPU where the program was built for one and one is there. */
static const char *device_name(enum device_choice choice)
{
    bool cuda = choice == DEVICE_CUDA || (choice == DEVICE_AUTO && backend_is_built("cuda") &&
                                          backend_device_count("cuda") > 0);
    return cuda ? "cuda" : "cpu";
}

status plan_create(const struct job *job, const struct model *model, int ranks, int ranks_per_host,
                   int64_t host_memory, struct backend *backend, struct plan *out)
{
    if (model_config(model) == NULL) {
        return status_fail(STATUS_NOT_FOUND, "%s: no config.json: not a model", job->model.path);
    }
    struct plan plan = {.device = device_name(job->engine.device), .ranks = ranks};
    struct backend *opened = NULL;
    if (backend == NULL) {
        struct backend_options probe = {
            .compute = DTYPE_FLOAT32, .max_tokens = 1, .max_sequences = 1};
        TRY(backend_create(plan.device, &probe, &opened));
        backend = opened;
    }
    status s = plan_with_backend(job, model, ranks_per_host, host_memory, backend, &plan);
    if (opened != NULL) {
        opened->operations->destroy(opened);
    }
    *out = plan;
    return s;
}
