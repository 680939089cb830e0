/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass of every family, written once over the backend's operations.
 *
 * Pre-norm transformer (Vaswani et al., arXiv 1706.03762; Xiong et al., arXiv 2002.04745), or
 * post-norm (Devlin et al., arXiv 1810.04805), in which the residual takes each norm's value; cut
 * over ranks as in Megatron-LM (arXiv 1909.08053): the products into heads and intermediate columns
 * by output, the products out of them by input, one sum over ranks after each of these. Which of a
 * family's parts exist is said by which weights exist. */
#include <stdlib.h>

#include "model/forward_state.h"
#include "model/mixers/mixer.h"

/* ---- Creation ---- */

/* Where each buffer is kept. */
static void list_buffers(struct forward *forward, struct device_buffer **at[FORWARD_BUFFERS])
{
    at[FORWARD_RESIDUAL] = &forward->residual;
    at[FORWARD_NORMED] = &forward->normed;
    at[FORWARD_GATES] = &forward->gates;
    at[FORWARD_ACTIVE] = &forward->active;
    at[FORWARD_BRANCH] = &forward->branch;
    at[FORWARD_BRANCHES] = &forward->branches;
    at[FORWARD_RANK_LOGITS] = &forward->rank_logits;
    at[FORWARD_LOGITS] = &forward->logits;
}

/* The most that any layer's half leaves as partial sums. */
static size_t most_partial_bytes(const struct forward *forward)
{
    const struct forward_options *options = &forward->options;
    size_t most = 0;
    for (int layer = 0; layer < options->partition->layer_count; layer++) {
        const struct layer_weights *w = &options->weights->layers[layer];
        const struct matrix *matrices[] = {w->attention_output, w->space_output, w->down};
        for (size_t i = 0; i < COUNT_OF(matrices); i++) {
            const size_t bytes = matrices[i] == NULL
                                     ? 0
                                     : forward->operations->partial_bytes(
                                           options->backend, matrices[i], options->max_tokens);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

static status create_buffers(struct forward *forward)
{
    struct extent extents[FORWARD_BUFFERS];
    struct device_buffer **at[FORWARD_BUFFERS];
    forward_extents(&forward->shape, most_partial_bytes(forward), extents);
    list_buffers(forward, at);
    for (int i = 0; i < FORWARD_BUFFERS; i++) {
        TRY(forward_scratch(forward, &extents[i], at[i]));
    }
    return STATUS_OK;
}

static status create_widths(struct forward *forward)
{
    const struct forward_options *options = &forward->options;
    const struct partition *part = options->partition;

    forward->vocabulary_widths =
        arena_allocate_array(&forward->arena, (size_t)part->tp, sizeof(int));
    if (forward->vocabulary_widths == NULL) {
        return status_fail(STATUS_NO_MEMORY, "forward pass");
    }
    for (int rank = 0; rank < part->tp; rank++) {
        struct partition other;
        TRY(partition_create(options->config, part->tp, rank, part->pp, part->pp_rank, part->slices,
                             &other));
        forward->vocabulary_widths[rank] = other.vocabulary_row_count;
        partition_destroy(&other);
    }
    return STATUS_OK;
}

status forward_create(const struct forward_options *options, struct forward **out)
{
    *out = NULL;
    const struct partition *part = options->partition;
    if ((part->tp > 1 && (options->tensor == NULL || options->tensor->size != part->tp)) ||
        (part->pp > 1 && (options->pipeline == NULL || options->pipeline->size != part->pp))) {
        return status_fail(STATUS_INTERNAL, "forward pass: communicators for tp %d, pp %d",
                           part->tp, part->pp);
    }
    struct forward *forward = calloc(1, sizeof *forward);
    if (forward == NULL) {
        return status_fail(STATUS_NO_MEMORY, "forward pass");
    }
    forward->options = *options;
    forward->operations = options->backend->operations;
    const struct step_limits limits = {.compute =
                                           forward->operations->activation_dtype(options->backend),
                                       .tokens = options->max_tokens,
                                       .outputs = options->max_outputs};
    forward->shape = forward_step_shape(options->config, part, &limits);
    status s = create_widths(forward);
    if (s == STATUS_OK) {
        s = create_buffers(forward);
    }
    if (s == STATUS_OK) {
        s = mixers_create(forward);
    }
    if (s != STATUS_OK) {
        forward_destroy(forward);
        return s;
    }
    *out = forward;
    return STATUS_OK;
}

void forward_destroy(struct forward *forward)
{
    if (forward == NULL) {
        return;
    }
    mixers_destroy(forward);
    struct device_buffer **at[FORWARD_BUFFERS];
    list_buffers(forward, at);
    for (int i = 0; i < FORWARD_BUFFERS; i++) {
        forward->operations->buffer_destroy(forward->options.backend, *at[i]);
    }
    arena_destroy(&forward->arena);
    free(forward);
}

double forward_communication_seconds(const struct forward *forward)
{
    const struct communicator *tensor = forward->options.tensor;
    const struct communicator *pipeline = forward->options.pipeline;
    return (tensor != NULL ? tensor->seconds : 0.0) + (pipeline != NULL ? pipeline->seconds : 0.0);
}

uint64_t forward_communication_bytes(const struct forward *forward)
{
    const struct communicator *tensor = forward->options.tensor;
    const struct communicator *pipeline = forward->options.pipeline;
    return (tensor != NULL ? tensor->bytes : 0) + (pipeline != NULL ? pipeline->bytes : 0);
}

struct hidden_rows forward_hidden(const struct forward *forward)
{
    const bool in_place = forward->options.config->norm.in_place;
    return (struct hidden_rows){
        .values = in_place ? forward->residual : forward->normed,
        .dtype = in_place ? DTYPE_FLOAT32 : forward->shape.compute,
        .rows = forward->rows,
    };
}

status forward_check(struct forward *forward)
{
    struct communicator *communicators[] = {forward->options.tensor, forward->options.pipeline};
    for (size_t i = 0; i < COUNT_OF(communicators); i++) {
        if (communicators[i] != NULL) {
            TRY(communicators[i]->check(communicators[i]));
        }
    }
    return STATUS_OK;
}

/* ---- A step ---- */

/* Every rank's part of `data` [T, H] float32 added up. */
static status sum_over_ranks(struct forward *forward, struct device_buffer *data)
{
    struct communicator *tensor = forward->options.tensor;
    if (forward->options.partition->tp == 1) {
        return STATUS_OK;
    }
    return tensor->sum(tensor, data,
                       (size_t)forward->rows * (size_t)forward->options.config->hidden);
}

/* What add_norm takes: the partial sums of `parts` ranks. */
struct branch {
    struct device_buffer *partials;
    int parts;
};

/* The rest of the tree over all slices: what `matrix` left in forward->branch on every rank. */
static status join_ranks(struct forward *forward, const struct matrix *matrix, struct branch *out)
{
    struct communicator *tensor = forward->options.tensor;
    *out = (struct branch){.partials = forward->branch, .parts = 1};
    if (forward->options.partition->tp == 1) {
        return STATUS_OK;
    }
    const size_t bytes =
        forward->operations->partial_bytes(forward->options.backend, matrix, forward->rows);
    if (bytes == 0) {
        return sum_over_ranks(forward, forward->branch);
    }
    *out = (struct branch){.partials = forward->branches, .parts = tensor->size};
    return tensor->gather(tensor, forward->branch, forward->branches, bytes);
}

/* Whether nothing reads what this layer leaves but the vocabulary projection. */
static bool ends_in_outputs(const struct forward *forward, int layer)
{
    const struct partition *part = forward->options.partition;
    return layer + 1 == part->layer_count && part->has_head && !forward->options.config->whole_rows;
}

/* out = output · mixer(normed), over all ranks, of one of a layer's mixers. Where the layer ends in
 * outputs only their rows go on from its last mixer; with none of them (`is_read` is false) what
 * the cache keeps is all that is left to do. */
static status mixer_branch(struct forward *forward, const struct batch *batch, int layer,
                           enum mixer_kind part, bool is_last, bool is_read, struct branch *out)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct layer_weights *w = &forward->options.weights->layers[layer];
    const struct matrix *output = mixer_output(w, part);

    struct mixed mixed;
    TRY(mixer_run(forward, part, batch, layer, is_read, &mixed));
    if (!is_read) {
        return STATUS_OK;
    }
    /* A parallel MLP reads all rows of the norm that attention has read. */
    if (is_last && ends_in_outputs(forward, layer) && batch->outputs < batch->tokens &&
        !forward->options.config->parallel) {
        TRY(op->keep_outputs(backend, forward->residual, forward->options.config->hidden,
                             mixed.values, mixed.width));
        forward->rows = batch->outputs;
    }
    TRY(op->product_sliced(backend, output, mixed.values, forward->branch));
    return join_ranks(forward, output, out);
}

/* out = down · (activation(gate · normed) ∘ (up · normed)), or the experts' mixture of it, over
 * all ranks. */
static status mlp_branch(struct forward *forward, int layer, struct branch *out)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    const struct layer_weights *w = &forward->options.weights->layers[layer];

    if (w->router != NULL) {
        const struct expert_facts facts = {.router = config->router,
                                           .shared = model_shared_experts(config),
                                           .activation = config->activation,
                                           .limit = config->expert_limit};
        const struct expert_weights weights = {.router = w->router,
                                               .router_bias = w->router_bias,
                                               .correction = w->router_correction,
                                               .gate_up = w->gate_up,
                                               .gate_up_bias = w->gate_up_bias,
                                               .down = w->down,
                                               .down_bias = w->down_bias};
        TRY(op->experts(backend, &facts, &weights, forward->normed, forward->branch));
    } else {
        TRY(op->product(backend, w->gate_up, w->gate_up_bias, forward->normed, forward->gates));
        if (config->gate_multiplier != 1) {
            const int columns = forward->options.partition->column_count;
            TRY(op->scale(backend, 2 * columns, 0, columns, config->gate_multiplier,
                          forward->gates));
        }
        TRY(op->activate(backend, config->activation, config->gated,
                         forward->options.partition->column_count, forward->gates, w->down,
                         forward->active));
        TRY(op->product_sliced(backend, w->down, forward->active, forward->branch));
    }
    return join_ranks(forward, w->down, out);
}

/* The product that alone reads the norm before a layer; NULL where the MLP reads it too. */
static const struct matrix *next_reader(const struct forward *forward, int layer)
{
    return forward->options.config->parallel ? NULL : mixer_reader(forward, layer);
}

/* residual += what positions and token types add. */
static status add_positions(struct forward *forward, const struct batch *batch)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    const struct matrix *table = forward->options.weights->positions;
    if (config->position_rows > 0 && (batch->token_types == NULL || config->token_types < 2)) {
        return op->embed_positions(backend, table, config->position_offset, forward->residual);
    }
    if (op->embed_types == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: token types are not supported on this device; use the CPU",
                           config->architecture);
    }
    return op->embed_types(backend, table, config->position_offset, config->position_rows > 0,
                           config->position_rows > 0 ? config->position_rows : 1,
                           forward->residual);
}

/* residual = embeddings, or what the stage before leaves; normed = its norm for the first layer. */
static status begin_layers(struct forward *forward, const struct batch *batch)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    const struct partition *part = forward->options.partition;
    const struct model_weights *weights = forward->options.weights;

    if (part->has_embedding) {
        TRY(op->embed(backend, weights->embedding, part->first_vocabulary_row,
                      config->embedding_scale, forward->residual));
        TRY(sum_over_ranks(forward, forward->residual));
        if (weights->positions != NULL) {
            TRY(add_positions(forward, batch));
        }
    } else {
        struct communicator *pipeline = forward->options.pipeline;
        const size_t values = (size_t)batch->tokens * (size_t)config->hidden;
        TRY(pipeline->receive(pipeline, forward->residual, values * sizeof(float),
                              part->pp_rank - 1));
    }
    const struct layer_weights *first = &weights->layers[0];
    struct norm_facts norm = config->norm;
    norm.in_place = norm.in_place || (config->norm_embeddings && part->has_embedding);
    return op->norm(backend, &norm, first->attention_norm, first->attention_norm_bias,
                    forward->residual, config->hidden, next_reader(forward, 0), forward->normed);
}

/* What add_norm leaves for whoever comes next: the norm, and the product that alone reads it. */
struct next_norm {
    const struct vector *weight, *bias;
    const struct matrix *reader;
    struct device_buffer *normed; /* NULL: nothing; what is there is read again */
};

/* Behind a layer: the norm of the next one or the final norm; nothing for the next stage. */
static struct next_norm norm_behind(struct forward *forward, int layer)
{
    const struct partition *part = forward->options.partition;
    const struct model_weights *weights = forward->options.weights;
    const struct layer_weights *w = &weights->layers[layer];
    if (layer + 1 < part->layer_count) {
        return (struct next_norm){w[1].attention_norm, w[1].attention_norm_bias,
                                  next_reader(forward, layer + 1), forward->normed};
    }
    return (struct next_norm){weights->final_norm, weights->final_norm_bias, weights->head,
                              part->has_head ? forward->normed : NULL};
}

/* The layer's mixers, one after the other, all of the norm before it. */
static status run_mixers(struct forward *forward, const struct batch *batch, int layer,
                         bool is_read)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    const struct layer_weights *w = &forward->options.weights->layers[layer];
    const bool has_mlp = model_has_mlp(config, forward->options.partition->first_layer + layer);
    const struct next_norm to_mlp = {w->mlp_norm, w->mlp_norm_bias,
                                     w->router != NULL ? NULL : w->gate_up,
                                     config->parallel ? NULL : forward->normed};
    enum mixer_kind parts[MIXER_MOST_PARTS];
    const int count = mixer_parts(forward_layer_kind(forward, layer).mixer, parts);
    for (int i = 0; i < count; i++) {
        const bool is_last = i + 1 == count;
        const float own = i == 0 ? config->mixer_multiplier : config->space_multiplier;
        const struct next_norm next = !is_last  ? (struct next_norm){0}
                                      : has_mlp ? to_mlp
                                                : norm_behind(forward, layer);
        struct branch branch;
        TRY(mixer_branch(forward, batch, layer, parts[i], is_last, is_read, &branch));
        if (is_read) {
            TRY(op->add_norm(backend, &config->norm, branch.partials, branch.parts,
                             w->attention_output_bias, config->residual_multiplier * own,
                             w->attention_post_norm, forward->residual, config->hidden, next.weight,
                             next.bias, next.reader, next.normed));
        }
    }
    return STATUS_OK;
}

/* Each half of a layer adds its branch to the residual and leaves the norm that the next half
 * reads; the last leaves the final norm, or the bare residual for the next stage. */
static status run_layer(struct forward *forward, const struct batch *batch, int layer)
{
    const struct backend_operations *op = forward->operations;
    const struct model_config *config = forward->options.config;
    const struct layer_weights *w = &forward->options.weights->layers[layer];
    const bool is_read = !ends_in_outputs(forward, layer) || batch->outputs > 0;

    TRY(run_mixers(forward, batch, layer, is_read));
    if (!is_read) {
        forward->rows = 0;
        return STATUS_OK;
    }
    if (!model_has_mlp(config, forward->options.partition->first_layer + layer)) {
        return STATUS_OK;
    }
    const struct next_norm next = norm_behind(forward, layer);
    struct branch branch;
    TRY(mlp_branch(forward, layer, &branch));
    return op->add_norm(forward->options.backend, &config->norm, branch.partials, branch.parts,
                        w->router != NULL ? NULL : w->down_bias, /* experts have added theirs */
                        config->residual_multiplier * config->mlp_multiplier, w->mlp_post_norm,
                        forward->residual, config->hidden, next.weight, next.bias, next.reader,
                        next.normed);
}

/* logits = whole rows of the vocabulary projection of normed, on the first tensor rank. */
static status project_vocabulary(struct forward *forward, const struct batch *batch)
{
    const struct model_config *config = forward->options.config;
    const struct partition *part = forward->options.partition;
    struct communicator *tensor = forward->options.tensor;
    struct device_buffer *to = part->tp > 1 ? forward->rank_logits : forward->logits;

    TRY(forward->operations->logits(forward->options.backend, forward->options.weights->head,
                                    config->logit_scale, config->logit_soft_cap, forward->normed,
                                    to));
    if (part->tp == 1) {
        return STATUS_OK;
    }
    return tensor->gather_columns(tensor, forward->rank_logits, forward->logits, batch->outputs,
                                  forward->vocabulary_widths);
}

status forward_step(struct forward *forward, const struct batch *batch,
                    struct device_buffer **logits)
{
    const struct partition *part = forward->options.partition;
    *logits = NULL;
    if (batch->tokens > forward->options.max_tokens ||
        batch->outputs > forward->options.max_outputs) {
        return status_fail(STATUS_INTERNAL, "step of %d tokens and %d outputs; made for %d and %d",
                           batch->tokens, batch->outputs, forward->options.max_tokens,
                           forward->options.max_outputs);
    }
    forward->rows = batch->tokens;
    TRY(forward->operations->step_begin(forward->options.backend, batch));
    TRY(begin_layers(forward, batch));
    for (int layer = 0; layer < part->layer_count; layer++) {
        TRY(run_layer(forward, batch, layer));
    }
    if (!part->has_head) {
        struct communicator *pipeline = forward->options.pipeline;
        const size_t values = (size_t)batch->tokens * (size_t)forward->options.config->hidden;
        return pipeline->send(pipeline, forward->residual, values * sizeof(float),
                              part->pp_rank + 1);
    }
    if (batch->outputs > 0 && !forward->options.config->pools) {
        TRY(project_vocabulary(forward, batch));
    }
    *logits = forward->logits;
    return STATUS_OK;
}
