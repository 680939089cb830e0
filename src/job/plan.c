/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: types, layout and sizes that the job leaves to auto, decided from the model's shapes
 * and the memory that a rank may use. */
#include <stdio.h>
#include <string.h>

#include "job/host_memory.h"
#include "sluice/backend_needs.h"
#include "sluice/comm.h"
#include "sluice/job.h"
#include "sluice/task.h"

/* A layout chosen for memory has room for a sequence of this length at least, where neither the job
 * nor the model asks for less. */
enum { USEFUL_CONTEXT = 4096 };

/* What a layout needs: maxima over the ranks of a replica. */
struct needs {
    int64_t weights, activations;
    int64_t states;      /* of all sequences that run at once */
    int64_t fixed;       /* weights, activations and states of the rank that has most of them */
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

/* ---- Types ---- */

/* Where activations are float32 whatever the weights' type. */
static status choose_wide_types(int dtype, int kv, struct plan *plan)
{
    if (dtype != -1 && !weight_format_facts((enum weight_format)dtype)->on_cpu) {
        return status_fail(STATUS_UNSUPPORTED,
                           "model.dtype: %s backend computes in float32; use auto, "
                           "float32, or bfloat16 for weights rounded to 16 bits",
                           plan->kind->place);
    }
    if (kv != -1 && weight_format_is_quantized(weight_format_of((enum dtype)kv))) {
        return status_fail(STATUS_UNSUPPORTED, "model.kv_dtype: %s needs a GPU; use auto",
                           dtype_name((enum dtype)kv));
    }
    plan->compute = DTYPE_FLOAT32;
    plan->stored = dtype == -1 ? WEIGHT_FLOAT32 : (enum weight_format)dtype;
    plan->kv_dtype = kv == -1 ? DTYPE_FLOAT32 : (enum dtype)kv;
    return STATUS_OK;
}

/* Whether a GPU multiplies with a format as it is, or attends over a cache of its numbers. */
static bool takes_format(const struct plan_device *device, enum weight_format format)
{
    const int from = weight_format_facts(format)->gpu_from;
    return from > 0 && device->capability >= from;
}

/* What a job asks for under `key`. */
static status check_format(const struct plan_device *device, const char *key,
                           enum weight_format format)
{
    const int from = weight_format_facts(format)->gpu_from;
    return takes_format(device, format)
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED,
                             "model.%s: %s needs a GPU of compute capability %d.%d or later, %s is "
                             "older; use auto",
                             key, weight_format_name(format), from / 10, from % 10,
                             device->description);
}

static status choose_types(const struct job *job, const struct model_config *config,
                           const struct plan_device *device, struct plan *plan)
{
    const int dtype = job->model.dtype, kv = job->model.kv_dtype;
    if (!plan->kind->has_narrow_types) {
        return choose_wide_types(dtype, kv, plan);
    }
    if (dtype != -1) {
        TRY(check_format(device, "dtype", (enum weight_format)dtype));
    }
    if (kv != -1) {
        TRY(check_format(device, "kv_dtype", weight_format_of((enum dtype)kv)));
    }
    enum weight_format suggested =
        config->dtype == DTYPE_FLOAT16 ? WEIGHT_FLOAT16 : WEIGHT_BFLOAT16;
    if (weight_format_is_quantized(config->published) && takes_format(device, config->published)) {
        suggested = config->published;
    }
    plan->stored = dtype == -1 ? suggested : (enum weight_format)dtype;
    plan->compute = weight_format_is_quantized(plan->stored)
                        ? DTYPE_BFLOAT16
                        : weight_format_facts(plan->stored)->numbers;
    plan->kv_dtype = kv == -1 ? plan->compute : (enum dtype)kv;
    return STATUS_OK;
}

/* ---- Sizes ---- */

static int64_t choose(int64_t asked, int64_t otherwise)
{
    return asked == -1 ? otherwise : asked;
}

/* What the kind's cache is laid out for. */
static status check_block_tokens(const struct plan *plan)
{
    const struct backend_kind *kind = plan->kind;
    return kind->takes_block_tokens(plan->kv_block_tokens)
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "engine.kv_block_tokens: %d; on %s it has to be %s",
                             plan->kv_block_tokens, kind->place, kind->block_tokens);
}

static status choose_sizes(const struct job *job, const struct model_config *config,
                           struct plan *plan)
{
    const struct backend_kind *kind = plan->kind;
    int64_t tokens = job->engine.max_batch_tokens, sequences = job->engine.max_sequences;
    const int64_t usual = plan->memory_bytes >= kind->large_memory_bytes
                              ? kind->usual_sequences_large
                              : kind->usual_sequences;
    sequences = choose(sequences, minimum(usual, choose(tokens, INT32_MAX)));
    tokens = choose(tokens, maximum(kind->usual_tokens, sequences));
    if (tokens < sequences) {
        return status_fail(STATUS_INVALID,
                           "engine.max_batch_tokens: %lld is less than engine.max_sequences, %lld: "
                           "every running sequence takes a token of a step",
                           (long long)tokens, (long long)sequences);
    }
    int64_t longest = choose(job->model.max_model_len, config->max_positions);
    if (config->pools && config->whole_rows && tokens < longest) {
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
    /* Devices that run behind their host do not begin with kept states yet. */
    plan->kept_states = model_keeps_states(config) && job->engine.prefix_cache && !kind->runs_behind
                            ? (int)maximum(4, plan->max_sequences / 4)
                            : 0;
    plan->state_places = model_keeps_states(config) ? plan->max_sequences + plan->kept_states : 0;
    plan->kv_block_tokens = (int)choose(job->engine.kv_block_tokens, 16);
    TRY(check_block_tokens(plan));
    int64_t tp = job->layout.tp;
    plan->slices = (int)choose(job->layout.tp_slices, maximum(kind->usual_slices, tp));
    if (tp > plan->slices) {
        return status_fail(STATUS_INVALID,
                           "layout.tp: %lld does not divide layout.tp_slices, which is %d",
                           (long long)tp, plan->slices);
    }
    return STATUS_OK;
}

/* ---- Memory ---- */

struct step_shape plan_step_shape(const struct plan *plan, const struct model_config *config,
                                  const struct partition *partition)
{
    const struct step_limits limits = {.compute = plan->compute,
                                       .stored = plan->stored,
                                       .tokens = plan->max_batch_tokens,
                                       .outputs = plan->max_sequences};
    return forward_step_shape(config, partition, &limits);
}

/* What a rank's steps work in: each room says its part. */
static status measure_scratch(const struct plan *plan, const struct model_config *config,
                              const struct partition *partition, int64_t *bytes)
{
    const struct backend_kind *kind = plan->kind;
    struct step_shape shape = plan_step_shape(plan, config, partition);
    shape.rank = 0; /* a group's ranks are planned alike, as the one that gathers the logits */
    struct scratch_bytes total = {0};
    TRY(forward_add_scratch(config, partition, kind, &shape, &total));
    kind->add_scratch(&shape, &total);
    comm_add_scratch(kind, &shape, plan->pp, &total);
    *bytes = total.rows + total.rows / kind->row_margin + total.work;
    return STATUS_OK;
}

/* States of all sequences that run at once, on a rank with that cache. */
static status measure_states(struct backend *backend, const struct model_config *config,
                             const struct cache_layout *cache, int64_t *bytes)
{
    if (cache->places == 0) {
        return STATUS_OK;
    }
    if (backend->operations->state_bytes == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: layers that keep states (%s) are not supported on this device; use "
                           "the CPU",
                           config->architecture, config->family);
    }
    const int64_t place = backend->operations->state_bytes(backend, cache);
    return __builtin_mul_overflow(place, (int64_t)cache->places, bytes)
               ? status_fail(STATUS_INVALID,
                             "engine.max_sequences: states of %d sequences are "
                             "more than can be addressed",
                             cache->places)
               : STATUS_OK;
}

/* The rank of a layout that has that part of the model: weights, scratch and a block of its KV
 * cache. */
static status measure_rank(const struct plan *plan, const struct model *model,
                           struct backend *backend, const struct partition *partition,
                           struct needs *needs)
{
    const struct model_config *config = model_config(model);
    int64_t activations;
    TRY(measure_scratch(plan, config, partition, &activations));
    int64_t weights = model_weight_bytes(model, partition, backend, plan->stored);
    if (weights < 0) {
        return STATUS_INVALID; /* the message is model_weight_bytes's */
    }
    const struct cache_layout cache =
        partition_cache(partition, plan->kv_block_tokens, plan->kv_dtype, plan->state_places);
    int64_t states = 0;
    TRY(measure_states(backend, config, &cache, &states));
    int64_t block = backend->operations->kv_block_bytes(backend, &cache);
    int64_t left = plan->memory_bytes - weights - activations - states;
    needs->weights = maximum(needs->weights, weights);
    needs->activations = maximum(needs->activations, activations);
    needs->states = maximum(needs->states, states);
    needs->fixed = maximum(needs->fixed, weights + activations + states);
    needs->block_bytes = maximum(needs->block_bytes, block);
    needs->blocks = minimum(needs->blocks, left > 0 ? left / maximum(block, 1) : 0);
    return STATUS_OK;
}

static status measure(const struct plan *plan, const struct model *model, struct backend *backend,
                      struct needs *out)
{
    *out = (struct needs){.blocks = INT32_MAX};
    for (int slot = 0; slot < plan->tp * plan->pp; slot++) {
        struct partition partition;
        TRY(partition_create(model_config(model), plan->tp, slot % plan->tp, plan->pp,
                             slot / plan->tp, plan->slices, &partition));
        status s = measure_rank(plan, model, backend, &partition, out);
        partition_destroy(&partition);
        TRY(s);
    }
    return STATUS_OK;
}

/* Tokens that a sequence must have room for before a layout counts as fitting. */
static int64_t needed_context(const struct job *job, const struct model_config *config)
{
    return choose(job->model.max_model_len, minimum(config->max_positions, USEFUL_CONTEXT));
}

/* Where not even these fit. */
static status fail_fixed(const struct plan *plan, const struct needs *needs)
{
    char weights[24], activations[24], states[24], there[24], more[64] = "";
    format_bytes(plan->memory_bytes, there);
    if (needs->states > 0) {
        snprintf(more, sizeof more, " and states of %d sequences %s", plan->max_sequences,
                 format_bytes(needs->states, states));
    }
    return status_fail(
        STATUS_INVALID, "weights take %s and activations %s%s a rank (tp %d, pp %d), %s are there",
        format_bytes(needs->weights, weights), format_bytes(needs->activations, activations), more,
        plan->tp, plan->pp, there);
}

/* Whether memory has room for `context` tokens; where not, the message says what is short. */
static status check_fit(const struct job *job, const struct plan *plan, const struct needs *needs,
                        int64_t context)
{
    int64_t blocks = divide_up(context, plan->kv_block_tokens), asked = job->engine.kv_memory;
    char need[24], beside[24], there[24];
    format_bytes(plan->memory_bytes, there);
    if (needs->fixed > plan->memory_bytes) {
        return fail_fixed(plan, needs);
    }
    if (asked != -1 && needs->fixed + asked > plan->memory_bytes) {
        return status_fail(STATUS_INVALID,
                           "engine.kv_memory: %s beside %s of weights and activations a rank (tp "
                           "%d, pp %d), %s are there",
                           format_bytes(asked, need), format_bytes(needs->fixed, beside), plan->tp,
                           plan->pp, there);
    }
    format_bytes(blocks * needs->block_bytes, need);
    if (asked != -1 && asked / maximum(needs->block_bytes, 1) < blocks) {
        return status_fail(STATUS_INVALID,
                           "engine.kv_memory: a sequence of %lld tokens takes %s a rank (tp %d, pp "
                           "%d), more than the %s; lower model.max_model_len",
                           (long long)context, need, plan->tp, plan->pp,
                           format_bytes(asked, beside));
    }
    if (needs->blocks < blocks) {
        return status_fail(STATUS_INVALID,
                           "a sequence of %lld tokens takes %s of KV cache a rank (tp %d, pp %d), "
                           "%s are left beside weights and activations; lower model.max_model_len",
                           (long long)context, need, plan->tp, plan->pp,
                           format_bytes(plan->memory_bytes - needs->fixed, beside));
    }
    return STATUS_OK;
}

/* ---- Layout ---- */

/* Layouts from the least cut to the most: all tensor parallelism of at most `most_auto_tp` ranks
 * before any pipeline, since stages need several steps in flight to be busy. False past the last.
 */
static bool next_layout(const struct job *job, const struct model_config *config, int most_auto_tp,
                        struct plan *plan)
{
    int most_tp = (int)choose(job->layout.tp, minimum(plan->slices, most_auto_tp));
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
    } while (next_layout(&free_job, config, plan->slices, &trial));
    return status_fail(s, "%s; no layout of this model fits", why);
}

/* The least cut layout that divides the ranks and fits in memory, with tensor parallelism over at
 * most so many ranks where the job leaves it to auto. */
static status try_layouts(const struct job *job, const struct model *model, struct backend *backend,
                          int most_auto_tp, struct plan *plan, struct needs *needs)
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
    } while (next_layout(job, config, most_auto_tp, plan) && plan->tp * plan->pp <= plan->ranks);
    if (!divided) {
        return status_fail(
            STATUS_INVALID,
            "layout: %d rank%s cannot be divided into replicas of tp %d x pp %d = %d "
            "ranks",
            plan->ranks, plan->ranks == 1 ? "" : "s", first_tp, first_pp, first_tp * first_pp);
    }
    return advise_layout(job, model, backend, plan, s);
}

/* Every layer waits for tensor parallelism's sums twice, and a stage sends once a step: so sums
 * stay within hosts and stages go across them, where any such layout fits. */
static status choose_layout(const struct job *job, const struct model *model,
                            struct backend *backend, int near_ranks, struct plan *plan,
                            struct needs *needs)
{
    if (near_ranks < plan->slices) {
        const status s = try_layouts(job, model, backend, near_ranks, plan, needs);
        if (s != STATUS_INVALID) {
            return s;
        }
    }
    return try_layouts(job, model, backend, plan->slices, plan, needs);
}

/* Context length and KV blocks for the chosen layout. */
static void choose_cache(const struct job *job, const struct model_config *config,
                         const struct needs *needs, struct plan *plan)
{
    int64_t block_bytes = maximum(needs->block_bytes, 1);
    int64_t blocks = needs->blocks;
    if (job->engine.kv_memory != -1) {
        blocks = minimum(blocks, job->engine.kv_memory / block_bytes);
    } else if (plan->kind->usual_cache_bytes > 0) {
        int64_t budget =
            minimum(plan->kind->usual_cache_bytes, plan->memory_bytes / 4) / block_bytes;
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
    plan->state_bytes = needs->states;
}

static void choose_memory(const struct plan_device *device, struct plan *plan)
{
    const struct backend_kind *kind = plan->kind;
    const double usable = (double)device->memory_bytes * kind->memory_share;
    plan->memory_bytes = maximum((int64_t)usable - kind->reserve_bytes, 0);
}

static status plan_with_backend(const struct job *job, const struct model *model,
                                struct backend *backend, int near_ranks, struct plan *plan)
{
    const struct model_config *config = model_config(model);
    struct needs needs;
    TRY(choose_layout(job, model, backend, near_ranks, plan, &needs));
    plan->dp = plan->ranks / (plan->tp * plan->pp);
    plan->plans_ahead = plan->kind->runs_behind && plan->tp * plan->pp == 1;
    choose_cache(job, config, &needs, plan);
    return STATUS_OK;
}

/* All that does not need a backend. */
static status begin_plan(const struct job *job, const struct model *model,
                         const struct plan_device *device, struct plan *plan)
{
    const struct model_config *config = model_config(model);
    if (config == NULL) {
        return status_fail(STATUS_NOT_FOUND, "%s: no config.json: not a model", job->model.path);
    }
    int64_t asked = job->model.max_model_len;
    if (asked > config->max_positions) {
        return status_fail(STATUS_INVALID, "model.max_model_len: %lld; the model has %d positions",
                           (long long)asked, config->max_positions);
    }
    TRY(choose_types(job, config, device, plan));
    TRY(job_check_task(job, config));
    choose_memory(device, plan);
    TRY(choose_sizes(job, config, plan));
    return STATUS_OK;
}

static bool shares_reads(const struct job *job, const struct model *model)
{
    return job->run.share_reads == SHARE_AUTO ? model_is_remote(model)
                                              : job->run.share_reads == SHARE_ALWAYS;
}

status plan_create_on(const struct job *job, const struct model *model, int ranks,
                      const struct plan_device *device, struct backend *backend, struct plan *out)
{
    struct plan plan = {.kind = device->kind,
                        .device_index = device->index,
                        .ranks = ranks,
                        .share_reads = shares_reads(job, model),
                        .silence_limit = (double)job->run.silence_limit};
    memcpy(plan.arithmetic, device->arithmetic, sizeof plan.arithmetic);
    if (model_config(model) != NULL) {
        TRY(model_check_kind(model_config(model), device->kind));
    }
    TRY(begin_plan(job, model, device, &plan));
    struct backend *opened = NULL;
    if (backend == NULL) {
        struct backend_options probe = {
            .compute = plan.compute, .max_tokens = 1, .max_sequences = 1, .device = device->index};
        TRY(backend_create(plan.kind->name, &probe, &opened));
        backend = opened;
    }
    status s = plan_with_backend(job, model, backend, device->near_ranks, &plan);
    if (opened != NULL) {
        opened->operations->destroy(opened);
    }
    *out = plan;
    return s;
}

/* ---- This host's device ---- */

/* "auto": the last kind of the table that was built in and has a device here. */
static const struct backend_kind *choose_auto(void)
{
    const struct backend_kind *best = backend_kind_host();
    for (size_t i = 0; backend_kind_at(i) != NULL; i++) {
        best = backend_kind_device_count(backend_kind_at(i)) > 0 ? backend_kind_at(i) : best;
    }
    return best;
}

static status choose_kind(const struct job *job, const struct backend_kind **out)
{
    const struct backend_kind *asked = job->engine.device;
    *out = asked != NULL ? asked : choose_auto();
    if (!backend_kind_is_built(*out)) {
        return status_fail(STATUS_UNSUPPORTED, "engine.device: %s", (*out)->not_built);
    }
    return backend_kind_device_count(*out) > 0
               ? STATUS_OK
               : status_fail(STATUS_NOT_FOUND, "engine.device: %s", (*out)->not_there);
}

status plan_find_device(const struct job *job, int ranks_per_host, int64_t host_memory,
                        struct plan_device *out)
{
    *out = (struct plan_device){.near_ranks = 1};
    while (out->near_ranks < MOST_TENSOR_RANKS && ranks_per_host % (2 * out->near_ranks) == 0) {
        out->near_ranks *= 2;
    }
    TRY(choose_kind(job, &out->kind));
    struct device_facts facts;
    TRY(backend_device_facts(out->kind->name, 0, &facts));
    snprintf(out->description, sizeof out->description, "%s", facts.name);
    snprintf(out->arithmetic, sizeof out->arithmetic, "%s", facts.arithmetic);
    out->capability = facts.capability;
    if (out->kind->has_own_memory) {
        out->memory_bytes =
            facts.free_bytes / divide_up(ranks_per_host, backend_kind_device_count(out->kind));
        return STATUS_OK;
    }
    out->memory_bytes = (host_memory > 0 ? host_memory : host_memory_available()) / ranks_per_host;
    return out->memory_bytes > 0
               ? STATUS_OK
               : status_fail(STATUS_IO, "cannot tell how much memory this host has");
}

status plan_create(const struct job *job, const struct model *model, int ranks, int ranks_per_host,
                   int64_t host_memory, struct backend *backend, struct plan *out)
{
    struct plan_device device;
    TRY(plan_find_device(job, ranks_per_host, host_memory, &device));
    return plan_create_on(job, model, ranks, &device, backend, out);
}
